OnnxGraph = import_onnx = None
