"""Recurrent layers as ONNX's operators RNN, LSTM and GRU.

B: batch, T: time steps, D: features, H: units, N: directions. Sequences are (B, T, D) between layers and (T, B, D) at
the operators, whose batchwise layout few programs know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import layers
from ...autograd import Variable
from ...layers.rnn.base import RNNCell, RNNLayer
from .graph_builder import Export, GraphBuilder, Value
from .weights import activations_to_onnx, weights_to_onnx

_OPERATORS = {
    layers.SimpleRNNCell: "RNN",
    layers.ContextRNNCell: "RNN",
    layers.LSTMCell: "LSTM",
    layers.GRUCell: "GRU",
}


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


def _valid_steps(graph: GraphBuilder, x: Value) -> _Steps | None:
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


def convert_recurrent(export: Export, layer: Any, x: Value) -> list[Value]:
    """The outputs of a recurrent layer or a Bidirectional."""
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


def _zero_if_masked(graph: GraphBuilder, last: str, x: Value, layer: RNNLayer) -> str:
    """The last output, zero where the last step of the walk is masked."""
    step = graph.constant(0 if layer.go_backwards else -1)
    valid = graph.unsqueeze(graph.node("Gather", x.mask or "", step, axis=1), 1)
    return graph.node("Mul", last, graph.cast(valid, layer.dtype))


def _in_processing_order(graph: GraphBuilder, y: Value, outputs: str) -> tuple[Value, list[str]]:
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


def _start_states(export: Export, part: RNNLayer, x: Value) -> list[str]:
    """The states at the start as inputs of the graph, none where they are zero."""
    if not export.states:
        return []
    return [
        export.graph.input(f"{part.name}.{letter}_0", part.dtype, (x.shape[0], size))
        for letter, size in zip(_state_letters(part), part.cell.state_sizes(), strict=True)
    ]


def _add_finals(export: Export, layer: Any, parts: list[RNNLayer], states: list[str], batch: Any) -> None:
    """Make the final states outputs of the graph, if they are asked for in either way."""
    if not (export.states or layer.return_state):
        return
    values = iter(states)
    for part in parts:
        for letter, size in zip(_state_letters(part), part.cell.state_sizes(), strict=True):
            export.finals.append((f"{part.name}.{letter}_n", Value(next(values), (batch, size), part.dtype)))


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
    op = _OPERATORS[type(cell)]
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
