"""ONNX Runtime: only inference, of a graph made for the task."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .task import OUTPUT, Array, Runner, Task, streamed

_GATES = {"SimpleRNN": ("RNN", (0,)), "LSTM": ("LSTM", (0, 3, 1, 2)), "GRU": ("GRU", (0, 1, 2))}


def start(threads: int) -> str:
    """Imports it."""
    import_module("onnx")
    return str(import_module("onnxruntime").__version__)


def _layer(task: Task, weights: Sequence[Sequence[Array]], names: Sequence[str], outputs: Sequence[str]) -> Any:
    """The node of one layer, and its weights as initializers; names: of x and the initial states, "" for zeros."""
    onnx: Any = import_module("onnx")
    operator, order = _GATES[task.cell]
    label = outputs[0] or outputs[1]

    def gates(array: Array) -> Array:
        blocks = np.split(array, len(order), axis=-1)
        return np.concatenate([blocks[i] for i in order], axis=-1)

    def biases(bias: Array) -> Array:
        two = bias if task.cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
        return gates(two).reshape(-1)

    values = {
        f"{label}.W": np.stack([gates(kernel).T for kernel, _, _ in weights]),
        f"{label}.R": np.stack([gates(recurrent).T for _, recurrent, _ in weights]),
        f"{label}.B": np.stack([biases(bias) for _, _, bias in weights]),
    }
    options: dict[str, Any] = {"hidden_size": task.units}
    if len(weights) > 1:
        options["direction"] = "bidirectional"
    if task.cell == "GRU":
        options["linear_before_reset"] = 1
    node = onnx.helper.make_node(operator, [names[0], *values, "", *names[1:]], list(outputs), **options)
    initializers = [onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in values.items()]
    return node, initializers


def _session(task: Task, nodes: Any, inputs: Any, outputs: Any, initializers: Any) -> Any:
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")
    dtype = onnx.TensorProto.DOUBLE if task.dtype == "float64" else onnx.TensorProto.FLOAT

    def values(shapes: dict[str, tuple[int, ...]]) -> list[Any]:
        return [onnx.helper.make_tensor_value_info(name, dtype, shape) for name, shape in shapes.items()]

    graph = onnx.helper.make_graph(nodes, "bench", values(inputs), values(outputs), initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def recurrent(task: Task) -> Runner:
    """Whole sequences, only the forward pass."""
    onnx: Any = import_module("onnx")
    nodes, initializers, width = [], [], task.units * (1 + task.both)
    shape = np.array([task.steps, task.batch, width], np.int64)
    initializers.append(onnx.numpy_helper.from_array(shape, "shape"))
    name = "x"
    for i, weights in enumerate(task.stack):
        node, values = _layer(task, weights, [name], [f"y{i}"])
        nodes += [node, onnx.helper.make_node("Transpose", [f"y{i}"], [f"t{i}"], perm=[0, 2, 1, 3])]
        nodes.append(onnx.helper.make_node("Reshape", [f"t{i}", "shape"], [f"z{i}"]))
        initializers += values
        name = f"z{i}"
    inputs, outputs = {"x": (task.steps, task.batch, task.inputs)}, {name: (task.steps, task.batch, width)}
    session = _session(task, nodes, inputs, outputs, initializers)
    feed = {"x": np.ascontiguousarray(task.arrays["x"].swapaxes(0, 1))}

    def forward() -> Any:
        return session.run(None, feed)[0]

    return Runner({"forward": forward}, lambda: {OUTPUT: forward().swapaxes(0, 1)})


def stream(task: Task) -> Runner:
    """One layer step by step."""
    states = ["h", "c"] if task.cell == "LSTM" else ["h"]
    outputs = [f"{name}_after" for name in states]
    node, initializers = _layer(task, task.stack[0], ["x", *states], ["", *outputs])
    state = (1, task.batch, task.units)
    inputs = {"x": (1, task.batch, task.inputs), **dict.fromkeys(states, state)}
    session = _session(task, [node], inputs, dict.fromkeys(outputs, state), initializers)
    feed = {name: np.zeros(state, task.dtype) for name in states}

    def step(x: Array) -> Any:
        feed["x"] = x
        feed.update(zip(states, session.run(None, feed), strict=True))
        return feed["h"]

    first = task.arrays["x"][0][None]
    return Runner({"step": lambda: step(first)}, lambda: streamed(task, lambda x: step(x[None])[0]))


PARTS = {"recurrent": recurrent, "stream": stream}
