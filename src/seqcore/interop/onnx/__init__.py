"""ONNX files out of a model and into the kernels; needs the extra ``onnx``."""

from .export import export_onnx
from .importing import OnnxGraph, import_onnx

__all__ = ["OnnxGraph", "export_onnx", "import_onnx"]
