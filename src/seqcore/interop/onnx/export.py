"""A Sequential as an ONNX graph: one function for each layer.

B: batch, T: time steps, D: features. Sequences are (B, T, D) between layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ... import layers
from ..._core import system
from ..._files import Path, atomic_write
from ..._validation import as_path, boolean, integer
from ...layers import Layer
from ...models.sequential import Sequential
from .graph_builder import Export, GraphBuilder, Value
from .library import onnx_module
from .recurrent_to_onnx import convert_recurrent

# Shape takes a start and an end since 15; the operators used here were the same up to 24.
_OPSETS = (15, 24)
# A protocol buffer has at most 2 GB; a MB is left for all but the weights.
_MAX_BYTES = (1 << 31) - (1 << 20)


def export_onnx(model: Sequential, path: Path, *, states: bool = False, lengths: bool = False, opset: int = 17) -> None:
    """Write a Sequential as an ONNX model, for inference: dropout is left out.

    The input is named ``input``, with the shape of the first layer's input, (batch, time, ...); the output is
    ``output``, or ``output``, ``output_1`` for a ``Bidirectional`` with ``merge_mode=None``. Batch and time are free
    unless an ``Input`` fixes them. Masks (``mask_zero``) become part of the graph.

    Args:
        model: a built Sequential of layers of this package; layers inside may be Sequential too.
        path: the file, replaced as a whole.
        states: let each hidden state at the start be an input and that at the end an output, ``lstm.h_0`` (batch,
            units) and ``lstm.h_n`` for the h of a layer called ``lstm``; c, and s of a ``ContextRNN``, likewise. Feed
            whole sequences, or one time step after the other. With False they start at zero.
        lengths: add an input ``lengths`` (batch,) int32, the valid steps of each row, as in ``model(x, lengths=...)``.
        opset: version of ONNX's operators, 15...24, at most that of the installed ``onnx``.

    Raises:
        ImportError: without the library ``onnx``.
        TypeError: for anything but a Sequential.
        ValueError: for a model that is not built, and naming the layer and the argument that ONNX cannot express.
        OSError: the file cannot be written.

    >>> import os, tempfile
    >>> import seqcore as sc
    >>> model = sc.Sequential([sc.layers.Input((None, 3)), sc.layers.LSTM(4, name="lstm")])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> export_onnx(model, path, states=True)
    >>> import onnx
    >>> [value.name for value in onnx.load(path).graph.input]
    ['input', 'lstm.h_0', 'lstm.c_0']
    """
    as_path(path)
    states, with_lengths = boolean("states", states), boolean("lengths", lengths)
    newest = onnx_module("onnx.defs").onnx_opset_version()
    opset = integer("opset", opset, _OPSETS[0], min(_OPSETS[1], newest))
    if not isinstance(model, Sequential):
        raise TypeError(f"model: expected a Sequential of seqcore, got {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected {model.name!r} to be built before it is exported; call it or build it")
    size = sum(variable._array.nbytes for variable in model.weights)
    if size > _MAX_BYTES:
        raise ValueError(f"model: expected at most {_MAX_BYTES} bytes of weights in an ONNX file, got {size}")
    export = Export(GraphBuilder(opset), states)
    outputs = _chain(export, model, _input(export, model, with_lengths))
    if states and not export.finals:
        raise ValueError(f"states: expected False for model {model.name!r} without recurrent layers, got True")
    for name, value in [*(("output", value) for value in outputs), *export.finals]:
        export.graph.output(name, value.name, value.dtype, value.shape)
    proto = export.graph.model(model.name, system.info()["version"])
    atomic_write(path, [proto.SerializeToString()])


# --- the input, and layers in order -----------------------------------------------------------------------------------


def _input(export: Export, model: Sequential, with_lengths: bool) -> Value:
    """The inputs of the graph, states left out."""
    first: Layer = model
    while isinstance(first, Sequential) or isinstance(first, layers.TimeDistributed):
        first = first.layer if isinstance(first, layers.TimeDistributed) else _layers_of(first)[0]
    front = model._input_layer
    declared = model.layers[0]._batch_input_shape if front is None else front.batch_shape
    shape: list[Any] = list(model._build_shape if declared is None else declared)
    is_ids = isinstance(first, layers.Embedding)
    for axis, size in enumerate(shape):
        # A first call, unlike an Input, says nothing about the sizes to come; states are fed with any number of steps.
        is_feature = not is_ids and axis == len(shape) - 1
        if not is_feature and (declared is None or size is None or (axis == 1 and export.states)):
            shape[axis] = ("batch", "time")[axis] if axis < 2 else f"size_{axis}"
    dtype = "int64" if is_ids else first.dtype
    if front is not None and is_ids and np.dtype(front.data_type).kind == "i":
        dtype = front.data_type
    name = export.graph.input("input", dtype, shape)
    lengths = export.graph.input("lengths", np.int32, shape[:1]) if with_lengths else None
    return Value(name, tuple(shape), dtype, lengths=lengths)


def _layers_of(model: Sequential) -> list[Layer]:
    chain = model.layer_chain()
    if not chain:
        raise ValueError(f"model: expected Sequential models without a call of their own, got {model.name!r}")
    return chain


def _chain(export: Export, model: Sequential, x: Value) -> list[Value]:
    """The outputs of a Sequential."""
    values = [x]
    for layer in _layers_of(model):
        if len(values) > 1:
            raise ValueError(f"layer {layer.name!r}: expected one input, got the {len(values)} outputs of a layer")
        values = _layer(export, layer, values[0])
    return values


def _layer(export: Export, layer: Layer, x: Value) -> list[Value]:
    """The outputs of one layer."""
    if isinstance(layer, Sequential):
        return _chain(export, layer, x)
    convert = _CONVERTERS.get(type(layer))
    if convert is None:
        raise ValueError(f"layer {layer.name!r}: a {type(layer).__name__} cannot be exported to ONNX")
    if layer.dtype_policy != layer.dtype:
        raise ValueError(
            f"layer {layer.name!r}: expected dtype {layer.dtype!r}, got {layer.dtype_policy!r}; "
            "set_weights brings the weights into a layer of that dtype"
        )
    if x.dtype != layer.dtype and layer._casts(np.dtype(x.dtype)):
        x = replace(x, name=export.graph.cast(x.name, layer.dtype), dtype=layer.dtype)
    return convert(export, layer, x)


# --- layers without time ----------------------------------------------------------------------------------------------


def _embedding(export: Export, layer: layers.Embedding, x: Value) -> list[Value]:
    graph = export.graph
    if np.dtype(x.dtype).kind != "i":
        raise ValueError(f"layer {layer.name!r}: expected ids of a whole-number type for ONNX, got {x.dtype}")
    table = graph.constant(layer.embeddings._array, layer.dtype, f"{layer.name}.embeddings")
    y = Value(
        graph.node("Gather", table, x.name), (*x.shape, layer.output_dim), layer.dtype, x.mask, x.mask_rank, x.lengths
    )
    if layer.mask_zero:
        if x.lengths is not None:
            raise ValueError(f"mask_zero, lengths: expected at most one of them for layer {layer.name!r}, got both")
        own = graph.node("Not", graph.node("Equal", x.name, graph.constant(0, x.dtype)))
        y = replace(y, mask=own, mask_rank=len(x.shape))
    return [y]


def _dense(export: Export, layer: layers.Dense, x: Value) -> list[Value]:
    graph = export.graph
    y = graph.node("MatMul", x.name, graph.constant(layer.kernel._array, layer.dtype, f"{layer.name}.kernel"))
    if layer.bias is not None:
        y = graph.node("Add", y, graph.constant(layer.bias._array, layer.dtype, f"{layer.name}.bias"))
    y = _activated(graph, layer.activation, y, layer.dtype)
    return [replace(x, name=y, shape=(*x.shape[:-1], layer.units))]


def _activated(graph: GraphBuilder, activation: str, value: str, dtype: str) -> str:
    if activation == "linear":
        return value
    if activation == "hard_sigmoid":
        return graph.node("HardSigmoid", value, alpha=1 / 6, beta=0.5)
    if activation == "leaky_relu":
        return graph.node("LeakyRelu", value, alpha=0.2)
    if activation == "silu":
        return graph.node("Mul", value, graph.node("Sigmoid", value))
    if activation == "gelu":
        # Gelu itself came with opset 20.
        scaled = graph.node("Mul", value, graph.constant(0.5**0.5, dtype))
        twice = graph.node("Add", graph.node("Erf", scaled), graph.constant(1, dtype))
        return graph.node("Mul", graph.node("Mul", value, graph.constant(0.5, dtype)), twice)
    names = {
        "elu": "Elu",
        "softplus": "Softplus",
        "tanh": "Tanh",
        "relu": "Relu",
        "sigmoid": "Sigmoid",
        "softmax": "Softmax",
        "log_softmax": "LogSoftmax",
    }
    attributes = {"axis": -1} if activation.endswith("softmax") else {}
    return graph.node(names[activation], value, **attributes)


def _activation(export: Export, layer: layers.Activation, x: Value) -> list[Value]:
    return [replace(x, name=_activated(export.graph, layer.activation, x.name, layer.dtype))]


def _relu(export: Export, layer: layers.ReLU, x: Value) -> list[Value]:
    graph, threshold = export.graph, export.graph.constant(layer.threshold, x.dtype)
    if layer._is_plain():
        return [replace(x, name=graph.node("Relu", x.name))]
    slope = graph.constant(layer.negative_slope, x.dtype)
    below = graph.node("Mul", graph.node("Sub", x.name, threshold), slope)
    y = graph.node("Where", graph.node("LessOrEqual", x.name, threshold), below, x.name)
    if layer.max_value is not None:
        y = graph.node("Min", y, graph.constant(layer.max_value, x.dtype))
    return [replace(x, name=y)]


def _softmax(export: Export, layer: layers.Softmax, x: Value) -> list[Value]:
    graph, axis = export.graph, layer.axis
    if len(x.shape) == 2 and (x.mask or x.lengths):
        raise ValueError(f"layer {layer.name!r}: a Softmax over the time steps of a mask cannot be exported to ONNX")
    if isinstance(axis, int):
        return [replace(x, name=graph.node("Softmax", x.name, axis=axis))]
    shifted = graph.node("Sub", x.name, graph.reduce("ReduceMax", x.name, axis, 1))
    exps = graph.node("Exp", shifted)
    return [replace(x, name=graph.node("Div", exps, graph.reduce("ReduceSum", exps, axis, 1)))]


def _unchanged(export: Export, layer: Layer, x: Value) -> list[Value]:
    return [x]


def _layer_normalization(export: Export, layer: layers.LayerNormalization, x: Value) -> list[Value]:
    # LayerNormalization itself came with opset 17.
    graph = export.graph
    centered = graph.node("Sub", x.name, graph.reduce("ReduceMean", x.name, [-1], 1))
    variance = graph.reduce("ReduceMean", graph.node("Mul", centered, centered), [-1], 1)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(layer.epsilon, layer.dtype)))
    y = graph.node("Div", centered, deviation)
    for op, name, variable in (("Mul", "gamma", layer.gamma), ("Add", "beta", layer.beta)):
        if variable is not None:
            y = graph.node(op, y, graph.constant(variable._array, layer.dtype, f"{layer.name}.{name}"))
    return [replace(x, name=y)]


def _flatten(export: Export, layer: layers.Flatten, x: Value) -> list[Value]:
    sizes = [size for size in x.shape[1:] if isinstance(size, int)]
    width = int(np.prod(sizes)) if len(sizes) == len(x.shape) - 1 else "features"
    name = export.graph.node("Reshape", x.name, export.graph.constant([0, -1]))
    return [replace(x, name=name, shape=(x.shape[0], width), mask=None, lengths=None)]


# --- layers over time -------------------------------------------------------------------------------------------------


def _step_mask(graph: GraphBuilder, x: Value) -> str | None:
    """(B, T) booleans: the steps that are neither masked nor past a length; None for all."""
    if x.lengths is None:
        return x.mask
    return graph.node("Less", graph.steps(x.name), graph.unsqueeze(graph.cast(x.lengths, np.int64), 1))


def _pooling(export: Export, layer: Any, x: Value) -> list[Value]:
    graph, keepdims = export.graph, int(layer.keepdims)
    mask = _step_mask(graph, x)
    if mask is not None and x.mask_rank != 2:
        raise ValueError(f"layer {layer.name!r}: expected a mask of time steps, got one of {x.mask_rank} axes")
    value, valid = x.name, None if mask is None else graph.unsqueeze(mask, 2)
    reduction = {layers.GlobalMaxPooling1D: "ReduceMax", layers.GlobalSumPooling1D: "ReduceSum"}.get(
        type(layer), "ReduceMean"
    )
    if valid is None:
        y = graph.reduce(reduction, value, [1], keepdims)
    elif reduction == "ReduceMax":
        zero, lowest = graph.constant(0, x.dtype), graph.constant(np.finfo(x.dtype).min, x.dtype)
        top = graph.reduce("ReduceMax", graph.node("Where", valid, value, lowest), [1], keepdims)
        count = graph.reduce("ReduceSum", graph.cast(valid, np.int64), [1], keepdims)
        y = graph.node("Where", graph.node("Greater", count, graph.constant(0)), top, zero)
    else:
        numbers = graph.cast(valid, x.dtype)
        y = graph.reduce("ReduceSum", graph.node("Mul", value, numbers), [1], keepdims)
        if reduction == "ReduceMean":
            count = graph.reduce("ReduceSum", numbers, [1], keepdims)
            y = graph.node("Div", y, graph.node("Max", count, graph.constant(1, x.dtype)))
    shape = (x.shape[0], 1, x.shape[2]) if keepdims else (x.shape[0], x.shape[2])
    return [replace(x, name=y, shape=shape, mask=None, lengths=None)]


def _conv1d(export: Export, layer: layers.Conv1D, x: Value) -> list[Value]:
    """Conv over (B, D, T), between two Transpose."""
    graph, (stride,), (dilation,) = export.graph, layer.strides, layer.dilation_rate
    value, valid = x.name, None if x.lengths is None else _step_mask(graph, x)
    zero = graph.constant(0, x.dtype)
    attributes: dict[str, Any] = {"strides": [stride], "dilations": [dilation]}
    if layer.padding != "same" or stride == 1:
        # The pads are the same for any number of steps.
        attributes["pads"] = list(layer._pads(1))
    elif dilation == 1:
        attributes["auto_pad"] = "SAME_UPPER"
    if valid is not None:
        value = graph.node("Where", graph.unsqueeze(valid, 2), value, zero)
    if layer.padding == "same" and stride > 1 and dilation > 1:
        # onnxruntime has no auto_pad with dilations.
        value = graph.node("Pad", value, _same_pads(graph, layer, value))
    kernel = graph.constant(layer.kernel._array.transpose(2, 1, 0), layer.dtype, f"{layer.name}.kernel")
    weights = [kernel]
    if layer.bias is not None:
        weights.append(graph.constant(layer.bias._array, layer.dtype, f"{layer.name}.bias"))
    y = graph.node("Conv", graph.node("Transpose", value, perm=[0, 2, 1]), *weights, **attributes)
    y = _activated(graph, layer.activation, graph.node("Transpose", y, perm=[0, 2, 1]), layer.dtype)
    steps = x.shape[1]
    count = layer._output_steps(steps) if isinstance(steps, int) else f"{layer.name}.time"
    out = replace(x, name=y, shape=(x.shape[0], count, layer.filters), mask=None)
    if x.lengths is None:
        return [out]
    out = replace(out, lengths=_lengths_after(graph, layer, x.lengths))
    return [replace(out, name=graph.node("Where", graph.unsqueeze(_step_mask(graph, out) or "", 2), y, zero))]


def _same_pads(graph: GraphBuilder, layer: layers.Conv1D, value: str) -> str:
    """The pads of a value (B, T, D) for padding="same": both sides of time, the larger half behind."""
    (stride,) = layer.strides
    steps, one, two = graph.size(value, 1), graph.constant([1]), graph.constant([2])
    last = graph.node("Div", graph.node("Sub", steps, one), graph.constant([stride]))
    needed = graph.node("Add", graph.node("Mul", last, graph.constant([stride])), graph.constant([layer._span]))
    total = graph.node("Max", graph.node("Sub", needed, steps), graph.constant([0]))
    before = graph.node("Div", total, two)
    none = graph.constant([0])
    return graph.node("Concat", none, before, none, none, graph.node("Sub", total, before), none, axis=0)


def _lengths_after(graph: GraphBuilder, layer: layers.Conv1D, lengths: str) -> str:
    """The lengths (B,) int32 of the output: that many windows begin within the steps of a row."""
    (stride,) = layer.strides
    if layer.padding == "same" and stride > 1:
        raise ValueError(
            f"layer {layer.name!r}: lengths of a Conv1D with padding='same' and strides > 1 cannot be exported to ONNX"
        )
    zero = graph.constant(0, np.int32)
    reach = graph.node("Add", lengths, graph.constant(sum(layer._pads(1)) - layer._span + stride, np.int32))
    count = graph.node("Div", graph.node("Max", reach, zero), graph.constant(stride, np.int32))
    return graph.node("Where", graph.node("Greater", lengths, zero), count, zero)


def _time_distributed(export: Export, layer: layers.TimeDistributed, x: Value) -> list[Value]:
    """The layer inside over (B T, ...), its outputs as (B, T, ...)."""
    graph = export.graph
    lead, minus_one = graph.node("Shape", x.name, start=0, end=2), graph.constant([-1])

    def rows(value: str) -> str:
        return graph.node(
            "Reshape", value, graph.node("Concat", minus_one, graph.node("Shape", value, start=2), axis=0)
        )

    def steps(value: str) -> str:
        return graph.node("Reshape", value, graph.node("Concat", lead, graph.node("Shape", value, start=1), axis=0))

    mask = rows(x.mask) if x.mask is not None and x.mask_rank > 2 else None
    inside = Value(rows(x.name), ("rows", *x.shape[2:]), x.dtype, mask, x.mask_rank - 1)
    inner = Export(graph, False)
    outputs = []
    for y in _layer(inner, layer.layer, inside):
        out = replace(y, name=steps(y.name), shape=(*x.shape[:2], *y.shape[1:]), mask_rank=2, lengths=x.lengths)
        if y.mask is not None:
            out = replace(out, mask=steps(y.mask), mask_rank=y.mask_rank + 1)
        elif mask is not None:
            flat = graph.node(
                "Reshape", graph.cast(x.mask or "", np.int64), graph.node("Concat", lead, minus_one, axis=0)
            )
            out = replace(out, mask=graph.node("Greater", graph.reduce("ReduceSum", flat, [2], 0), graph.constant(0)))
        else:
            out = replace(out, mask=x.mask)
        outputs.append(out)
    if inner.finals:
        raise ValueError(f"layer {layer.layer.name!r}: expected return_state=False inside TimeDistributed for ONNX")
    return outputs


_CONVERTERS: dict[type[Layer], Callable[[Export, Any, Value], list[Value]]] = {
    layers.Activation: _activation,
    layers.Bidirectional: convert_recurrent,
    layers.ContextRNN: convert_recurrent,
    layers.Conv1D: _conv1d,
    layers.Dense: _dense,
    layers.Dropout: _unchanged,
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.GRU: convert_recurrent,
    layers.GlobalAveragePooling1D: _pooling,
    layers.GlobalMaxPooling1D: _pooling,
    layers.GlobalSumPooling1D: _pooling,
    layers.LSTM: convert_recurrent,
    layers.LayerNormalization: _layer_normalization,
    layers.ReLU: _relu,
    layers.SimpleRNN: convert_recurrent,
    layers.Softmax: _softmax,
    layers.TimeDistributed: _time_distributed,
}
