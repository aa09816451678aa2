"""A Sequential as an ONNX graph: one function for each layer.

B: batch, T: time steps, D: features, H: units, N: directions. Sequences are (B, T, D) between layers and (T, B, D) at
the operators RNN, LSTM and GRU, whose batchwise layout few programs know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ... import layers
from ..._core import system
from ..._files import Path, atomic_write
from ..._validation import as_path, boolean, integer
from ...autograd import Variable
from ...layers import Layer
from ...layers.rnn.base import RNNCell, RNNLayer
from ...models.sequential import Sequential
from .graph_builder import GraphBuilder
from .weights import activations_to_onnx, weights_to_onnx

# Shape takes a start and an end since 15; the operators used here were the same up to 24.
_OPSETS = (15, 24)
_OPERATORS = {
    layers.SimpleRNNCell: "RNN",
    layers.ContextRNNCell: "RNN",
    layers.LSTMCell: "LSTM",
    layers.GRUCell: "GRU",
}


@dataclass(frozen=True)
class _Value:
    """A value of the graph, with the mask or the lengths that go on with it.

    Args:
        name: of the value.
        shape: its sizes; a text for a free one.
        dtype: name of the type of its elements.
        mask: name of a mask of booleans, and
        mask_rank: its number of axes: 2, or more for sequences within sequences.
        lengths: name of the lengths, (B,) int32.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: str
    mask: str | None = None
    mask_rank: int = 2
    lengths: str | None = None


@dataclass(frozen=True)
class _Export:
    """An export in progress.

    Args:
        graph: the graph so far.
        states: whether hidden states are inputs and outputs of it.
        finals: the final states that become outputs, each as its name there and its value.
    """

    graph: GraphBuilder
    states: bool
    finals: list[tuple[str, _Value]] = field(default_factory=list)


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
        lengths: a second input ``lengths`` (batch,) int32, the valid steps of each row, as in ``model(x, lengths=...)``.
        opset: version of ONNX's operators, 15...24.

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
    opset = integer("opset", opset, *_OPSETS)
    if not isinstance(model, Sequential):
        raise TypeError(f"model: expected a Sequential, got {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected {model.name!r} to be built before it is exported; call it or build it")
    export = _Export(GraphBuilder(opset), states)
    outputs = _chain(export, model, _input(export, model, with_lengths))
    if states and not export.finals:
        raise ValueError(f"states: expected False for model {model.name!r} without recurrent layers, got True")
    for name, value in [*(("output", value) for value in outputs), *export.finals]:
        export.graph.output(name, value.name, value.dtype, value.shape)
    proto = export.graph.model(model.name, system.info()["version"])
    try:
        content = proto.SerializeToString()
    except ValueError as error:
        raise ValueError(
            f"model: expected at most 2 GB, the limit of an ONNX file, got {model.name!r}: {error}"
        ) from None
    atomic_write(path, [content])


# --- the input, and layers in order -----------------------------------------------------------------------------------


def _input(export: _Export, model: Sequential, with_lengths: bool) -> _Value:
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
    return _Value(name, tuple(shape), dtype, lengths=lengths)


def _layers_of(model: Sequential) -> list[Layer]:
    chain = model.layer_chain()
    if not chain:
        raise ValueError(f"model: expected Sequential models without a call of their own, got {model.name!r}")
    return chain


def _chain(export: _Export, model: Sequential, x: _Value) -> list[_Value]:
    """The outputs of a Sequential."""
    values = [x]
    for layer in _layers_of(model):
        if len(values) > 1:
            raise ValueError(f"layer {layer.name!r}: expected one input, got the {len(values)} outputs of a layer")
        values = _layer(export, layer, values[0])
    return values


def _layer(export: _Export, layer: Layer, x: _Value) -> list[_Value]:
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
    outputs = convert(export, layer, x)
    if not layer.supports_masking:
        return [replace(y, mask=None, lengths=None) for y in outputs]
    return outputs


# --- layers without time ----------------------------------------------------------------------------------------------


def _embedding(export: _Export, layer: layers.Embedding, x: _Value) -> list[_Value]:
    graph = export.graph
    if np.dtype(x.dtype).kind != "i":
        raise ValueError(f"layer {layer.name!r}: expected ids of a whole-number type for ONNX, got {x.dtype}")
    table = graph.constant(layer.embeddings._array, layer.dtype, f"{layer.name}.embeddings")
    y = _Value(
        graph.node("Gather", table, x.name), (*x.shape, layer.output_dim), layer.dtype, x.mask, x.mask_rank, x.lengths
    )
    if layer.mask_zero:
        if x.lengths is not None:
            raise ValueError(f"mask_zero, lengths: expected at most one of them for layer {layer.name!r}, got both")
        own = graph.node("Not", graph.node("Equal", x.name, graph.constant(0, x.dtype)))
        y = replace(y, mask=own, mask_rank=len(x.shape))
    return [y]


def _dense(export: _Export, layer: layers.Dense, x: _Value) -> list[_Value]:
    graph = export.graph
    y = graph.node("MatMul", x.name, graph.constant(layer.kernel._array, layer.dtype, f"{layer.name}.kernel"))
    if layer.bias is not None:
        y = graph.node("Add", y, graph.constant(layer.bias._array, layer.dtype, f"{layer.name}.bias"))
    y = _activated(graph, layer.activation, y)
    return [replace(x, name=y, shape=(*x.shape[:-1], layer.units))]


def _activated(graph: GraphBuilder, activation: str, value: str) -> str:
    if activation == "linear":
        return value
    if activation == "hard_sigmoid":
        return graph.node("HardSigmoid", value, alpha=1 / 6, beta=0.5)
    names = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax", "log_softmax": "LogSoftmax"}
    attributes = {"axis": -1} if activation.endswith("softmax") else {}
    return graph.node(names[activation], value, **attributes)


def _activation(export: _Export, layer: layers.Activation, x: _Value) -> list[_Value]:
    return [replace(x, name=_activated(export.graph, layer.activation, x.name))]


def _relu(export: _Export, layer: layers.ReLU, x: _Value) -> list[_Value]:
    graph, threshold = export.graph, export.graph.constant(layer.threshold, x.dtype)
    if layer._is_plain():
        return [replace(x, name=graph.node("Relu", x.name))]
    slope = graph.constant(layer.negative_slope, x.dtype)
    below = graph.node("Mul", graph.node("Sub", x.name, threshold), slope)
    y = graph.node("Where", graph.node("LessOrEqual", x.name, threshold), below, x.name)
    if layer.max_value is not None:
        y = graph.node("Min", y, graph.constant(layer.max_value, x.dtype))
    return [replace(x, name=y)]


def _softmax(export: _Export, layer: layers.Softmax, x: _Value) -> list[_Value]:
    graph, axis = export.graph, layer.axis
    if len(x.shape) == 2 and (x.mask or x.lengths):
        raise ValueError(f"layer {layer.name!r}: a Softmax over the time steps of a mask cannot be exported to ONNX")
    if isinstance(axis, int):
        return [replace(x, name=graph.node("Softmax", x.name, axis=axis))]
    shifted = graph.node("Sub", x.name, graph.reduce("ReduceMax", x.name, axis, 1))
    exps = graph.node("Exp", shifted)
    return [replace(x, name=graph.node("Div", exps, graph.reduce("ReduceSum", exps, axis, 1)))]


def _unchanged(export: _Export, layer: Layer, x: _Value) -> list[_Value]:
    return [x]


def _flatten(export: _Export, layer: layers.Flatten, x: _Value) -> list[_Value]:
    sizes = [size for size in x.shape[1:] if isinstance(size, int)]
    width = int(np.prod(sizes)) if len(sizes) == len(x.shape) - 1 else "features"
    name = export.graph.node("Reshape", x.name, export.graph.constant([0, -1]))
    return [replace(x, name=name, shape=(x.shape[0], width))]


# --- layers over time -------------------------------------------------------------------------------------------------


def _step_mask(graph: GraphBuilder, x: _Value) -> str | None:
    """(B, T) booleans: the steps that are neither masked nor past a length; None for all."""
    if x.lengths is None:
        return x.mask
    return graph.node("Less", graph.steps(x.name), graph.unsqueeze(graph.cast(x.lengths, np.int64), 1))


def _pooling(export: _Export, layer: Any, x: _Value) -> list[_Value]:
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


def _time_distributed(export: _Export, layer: layers.TimeDistributed, x: _Value) -> list[_Value]:
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
    inside = _Value(rows(x.name), ("rows", *x.shape[2:]), x.dtype, mask, x.mask_rank - 1)
    inner = _Export(graph, False)
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


# --- recurrent layers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Steps:
    """The valid steps of a sequence: where they stand after those of each row are moved to its front.

    Args:
        lengths: (B,) int32, the number of valid steps of each row.
        order: (B, T, 1) int64, the steps in their new order; None where they stand at the front already.
        mask: (B, T) int64, 1 at the valid steps, and
        count: (B, T) int64, the number of valid steps up to each, itself included; both only with ``order``.
    """

    lengths: str
    order: str = ""
    mask: str = ""
    count: str = ""


def _valid_steps(graph: GraphBuilder, x: _Value) -> _Steps | None:
    """The valid steps of x, None for all of them.

    ONNX's sequence_lens knows padding at the end only. A masked step carries the state, as if it were not there: the
    valid steps of each row, moved to its front, have the same states.
    """
    if x.lengths is not None:
        return _Steps(x.lengths)
    if x.mask is None:
        return None
    mask = graph.cast(x.mask, np.int64)
    size = graph.size(x.name, 1)
    # Largest first: valid steps have 1...T, others -T+1...0, both falling with time.
    keys = graph.node("Sub", graph.node("Mul", mask, size), graph.steps(x.name))
    _, order = graph.nodes("TopK", keys, size, outputs=2, axis=1, largest=1, sorted=1)
    lengths = graph.cast(graph.reduce("ReduceSum", mask, [1], 0), np.int32)
    return _Steps(lengths, graph.unsqueeze(order, 2), mask, graph.node("CumSum", mask, graph.constant(1)))


def _at_steps(graph: GraphBuilder, y: str, steps: _Steps, dtype: str, reverse: bool, zero_masked: bool) -> str:
    """Outputs of the moved steps at their old places; a masked step repeats the output before it, or is zero."""
    if not steps.order:
        return y
    # Walking backwards, the output before a masked step is that of the next valid one. Outputs past the length are
    # zero, and so is the one at -1, the last: it is past the length wherever a row begins with a masked step.
    before = steps.mask if reverse and not zero_masked else graph.constant(1)
    index = graph.node("Sub", steps.count, before)
    y = graph.node("GatherND", y, graph.unsqueeze(index, 2), batch_dims=1)
    if zero_masked:
        y = graph.node("Mul", y, graph.unsqueeze(graph.cast(steps.mask, dtype), 2))
    return y


@dataclass(frozen=True)
class _Walk:
    """The result of one direction of a layer, or of both in one operator.

    Args:
        outputs: (B, T, N H) in the order of time.
        last: (B, N H), the last output of each direction.
        states: (B, H), the final states, direction by direction.
    """

    outputs: str
    last: str
    states: list[str]


def _recurrent(export: _Export, layer: Any, x: _Value) -> list[_Value]:
    both = isinstance(layer, layers.Bidirectional)
    parts: list[RNNLayer] = [layer.forward_layer, layer.backward_layer] if both else [layer]
    if layer.stateful and not export.states:
        raise ValueError(f"layer {layer.name!r}: stateful=True needs states=True, and no TimeDistributed around it")
    graph, steps = export.graph, _valid_steps(export.graph, x)
    source = x.name
    if steps is not None and steps.order:
        source = graph.node("GatherND", source, steps.order, batch_dims=1)
    starts = [_start_states(export, part, x) for part in parts]
    joint = both and layer._is_joint() and not layer.forward_layer.go_backwards
    groups = [[0, 1]] if joint else [[number] for number in range(len(parts))]
    walks = [
        _walk(graph, [parts[i] for i in group], source, steps, [state for i in group for state in starts[i]])
        for group in groups
    ]
    sequences = layer.return_sequences
    zero_masked = both or layer.zero_output_for_mask
    outputs = []
    for group, walk in zip(groups, walks):
        value = walk.last
        if sequences:
            reverse = parts[group[0]].go_backwards
            value = walk.outputs
            if steps is not None:
                value = _at_steps(graph, value, steps, layer.dtype, reverse, zero_masked)
        outputs.append(value)
    _add_finals(export, layer, parts, [state for walk in walks for state in walk.states], x.shape[0])
    y = replace(x, shape=(*x.shape[:2], 0) if sequences else (x.shape[0], 0))
    if not sequences:
        y = replace(y, mask=None, lengths=None)
        if not both and layer.zero_output_for_mask and steps is not None and steps.order:
            outputs = [_zero_if_masked(graph, outputs[0], x, layer)]
    elif not both and layer.go_backwards:
        y, outputs = _in_processing_order(graph, y, outputs[0])
    widths = [part.cell.output_size for part in parts]
    names = _merged(graph, layer.merge_mode, outputs, widths, layer.dtype) if both else outputs
    total = sum(widths) if not both or layer.merge_mode == "concat" else widths[0]
    sizes = widths if both and layer.merge_mode is None else [total]
    return [replace(y, name=name, shape=(*y.shape[:-1], size)) for name, size in zip(names, sizes)]


def _zero_if_masked(graph: GraphBuilder, last: str, x: _Value, layer: RNNLayer) -> str:
    """The last output, zero where the last step of the walk is masked."""
    step = graph.constant(0 if layer.go_backwards else -1)
    valid = graph.unsqueeze(graph.node("Gather", x.mask or "", step, axis=1), 1)
    return graph.node("Mul", last, graph.cast(valid, layer.dtype))


def _in_processing_order(graph: GraphBuilder, y: _Value, outputs: str) -> tuple[_Value, list[str]]:
    """Outputs of a layer that walks backwards, the last step first, with their mask."""
    if y.lengths is not None:
        lengths = graph.cast(y.lengths, np.int64)
        return y, [graph.node("ReverseSequence", outputs, lengths, batch_axis=0, time_axis=1)]
    mask = None if y.mask is None else graph.flip_time(y.mask)
    return replace(y, mask=mask), [graph.flip_time(outputs)]


def _merged(graph: GraphBuilder, mode: str | None, outputs: list[str], widths: list[int], dtype: str) -> list[str]:
    """The outputs of both directions, of one operator or of two, as ``merge_mode`` says."""
    if mode == "concat":
        return outputs if len(outputs) == 1 else [graph.node("Concat", *outputs, axis=-1)]
    if len(outputs) == 1:
        outputs = graph.nodes("Split", outputs[0], graph.constant(widths), outputs=2, axis=-1)
    if mode is None:
        return outputs
    y = graph.node("Mul" if mode == "mul" else "Add", *outputs)
    return [graph.node("Mul", y, graph.constant(0.5, dtype)) if mode == "ave" else y]


def _state_letters(part: RNNLayer) -> str:
    """The names of the states of a layer."""
    return {layers.LSTM: "hc", layers.ContextRNN: "hs"}.get(type(part), "h")


def _start_states(export: _Export, part: RNNLayer, x: _Value) -> list[str]:
    """The states at the start as inputs of the graph, none where they are zero."""
    if not export.states:
        return []
    return [
        export.graph.input(f"{part.name}.{letter}_0", part.dtype, (x.shape[0], size))
        for letter, size in zip(_state_letters(part), part.cell.state_sizes(), strict=True)
    ]


def _add_finals(export: _Export, layer: Any, parts: list[RNNLayer], states: list[str], batch: Any) -> None:
    """Make the final states outputs of the graph, if they are asked for in either way."""
    if not (export.states or layer.return_state):
        return
    values = iter(states)
    for part in parts:
        for letter, size in zip(_state_letters(part), part.cell.state_sizes(), strict=True):
            export.finals.append((f"{part.name}.{letter}_n", _Value(next(values), (batch, size), part.dtype)))


def _walk(graph: GraphBuilder, parts: list[RNNLayer], x: str, steps: _Steps | None, starts: list[str]) -> _Walk:
    """One layer, or both directions of one, over x (B, T, D), whose valid steps stand at the front."""
    cells = [part.cell for part in parts]
    reverse = [part.go_backwards for part in parts]
    lengths = "" if steps is None else steps.lengths
    cell = cells[0]
    time_major = graph.node("Transpose", x, perm=[1, 0, 2])
    if isinstance(cell, layers.ContextRNNCell):
        outputs, last, states = _context(graph, cell, reverse, time_major, lengths, starts)
    else:
        weights = [[_array(variable) for variable in cell.core_variables()] for cell in cells]
        outputs, last, states = _operator(graph, cells, weights, cell.name, reverse, time_major, lengths, starts)
    if starts and lengths:
        # A row without any valid step keeps its state, which with lengths is its output too; with a mask that is zero.
        has_steps = graph.unsqueeze(graph.node("Greater", lengths, graph.constant(0, np.int32)), 1)
        states = [graph.node("Where", has_steps, *pair) for pair in zip(states, starts, strict=True)]
        if steps is not None and steps.order:
            last = graph.node("Where", has_steps, last, graph.constant(0, cell.dtype))
        else:
            shown = states if isinstance(cell, layers.ContextRNNCell) else states[:: len(states) // len(cells)]
            last = graph.node("Concat", *shown, axis=-1)
    return _Walk(outputs, last, states)


def _array(variable: Variable | None) -> Any:
    return None if variable is None else variable._array


def _context(
    graph: GraphBuilder, cell: layers.ContextRNNCell, reverse: list[bool], x: str, lengths: str, starts: list[str]
) -> tuple[str, str, list[str]]:
    """A ContextRNN as two operators: the context is a linear RNN, and h is one over [x, s]."""
    alpha, size = cell.current_alpha, cell.context_units
    h_0, s_0 = (starts[:1], starts[1:]) if starts else ([], [])
    scan = [[(1 - alpha) * cell.context_kernel._array, alpha * np.eye(size), None]]
    activations = {"activation": "linear"}
    s, s_last, _ = _operator(graph, [cell], scan, f"{cell.name}.context", reverse, x, lengths, s_0, **activations)
    joined = graph.node("Concat", x, graph.node("Transpose", s, perm=[1, 0, 2]), axis=-1)
    weights = [[_array(variable) for variable in cell.core_variables()]]
    h, h_last, _ = _operator(graph, [cell], weights, cell.name, reverse, joined, lengths, h_0)
    outputs, last = (graph.node("Concat", *pair, axis=-1) for pair in ((h, s), (h_last, s_last)))
    return outputs, last, [h_last, s_last]


def _operator(
    graph: GraphBuilder,
    cells: Sequence[RNNCell],
    weights: Sequence[Sequence[Any]],
    name: str,
    reverse: list[bool],
    x: str,
    lengths: str,
    starts: list[str],
    activation: str | None = None,
) -> tuple[str, str, list[str]]:
    """One operator RNN, LSTM or GRU over x (T, B, D).

    Args:
        weights: kernel, recurrent kernel and bias of each direction.
        name: the beginning of the names of the weights.
        starts: the states at the start, direction by direction, none for zeros.
        activation: of the output, instead of the cell's.

    Returns:
        The outputs (B, T, N H), the last outputs (B, N H) and the final states (B, H), direction by direction.
    """
    cell = cells[0]
    op = _OPERATORS[type(cell)]  # type: ignore[index]  # a subclass has been refused
    functions = [activation or cell.activation] * (2 if op == "LSTM" else 1)
    if cell.recurrent_activation is not None:
        functions.insert(0, cell.recurrent_activation)
    attributes = activations_to_onnx(functions * len(cells))
    if op == "GRU":
        attributes["linear_before_reset"] = int(cell.core_cell == "gru")
    direction = "bidirectional" if len(cells) > 1 else "reverse" if reverse[0] else "forward"
    arrays = zip(*(weights_to_onnx(op, *arrays) for arrays in weights))
    constants = [graph.constant(np.stack(array), cell.dtype, f"{name}.{part}") for part, array in zip("WRB", arrays)]
    count = len(starts) // len(cells)
    initial = [
        graph.node("Concat", *(graph.unsqueeze(state, 0) for state in starts[i::count]), axis=0) for i in range(count)
    ]
    units = weights[0][1].shape[0]
    inputs = [x, *constants, *([lengths, *initial] if lengths or initial else [])]
    y, *finals = graph.nodes(
        op, *inputs, outputs=3 if op == "LSTM" else 2, hidden_size=units, direction=direction, **attributes
    )
    outputs = graph.node("Reshape", graph.node("Transpose", y, perm=[2, 0, 1, 3]), graph.constant([0, 0, -1]))
    last = graph.node("Reshape", graph.node("Transpose", finals[0], perm=[1, 0, 2]), graph.constant([0, -1]))
    parts = [
        graph.nodes("Split", final, graph.constant([1] * len(cells)), outputs=len(cells), axis=0) for final in finals
    ]
    states = [graph.squeeze(part[i], 0) for i in range(len(cells)) for part in parts]
    return outputs, last, states


_CONVERTERS: dict[type[Layer], Callable[[_Export, Any, _Value], list[_Value]]] = {
    layers.Activation: _activation,
    layers.Bidirectional: _recurrent,
    layers.ContextRNN: _recurrent,
    layers.Dense: _dense,
    layers.Dropout: _unchanged,
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.GRU: _recurrent,
    layers.GlobalAveragePooling1D: _pooling,
    layers.GlobalMaxPooling1D: _pooling,
    layers.GlobalSumPooling1D: _pooling,
    layers.LSTM: _recurrent,
    layers.ReLU: _relu,
    layers.SimpleRNN: _recurrent,
    layers.Softmax: _softmax,
    layers.TimeDistributed: _time_distributed,
}
