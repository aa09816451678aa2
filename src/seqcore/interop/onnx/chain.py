"""The layers of a graph whose nodes follow one after the other.

B: batch, T: time steps, D: features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import layers
from ...layers import Layer
from ...typing import Array
from .operators import ConvOperator, Operator
from .recurrent_from_onnx import RecurrentOperator


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Args:
        name: for messages.
        op: the operator.
        function: of the inputs.
        inputs, outputs: names of values; ``""`` for one that is left out.
        attributes: of the node.
    """

    name: str
    op: str
    function: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


# Operators that move numbers without a change, as exporters put them between layers. Their layout is checked by numbers
# in the end, not node by node.
_MOVES = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_ACTIVATIONS = {
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
# The weights come from the file: no random numbers are drawn.
_ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}


@dataclass
class LayerWeights:
    """A layer in the making.

    Args:
        make: its class; None for zeros in front of a Conv, whose name and pads are then the options.
        options: the arguments.
        weights: in the order of ``set_weights``.
        features: of the input; None for ids.
        both: whether it stands in a Bidirectional.
    """

    make: Any
    options: dict[str, Any]
    weights: list[Array]
    features: int | None = None
    both: bool = False


def chain_of(nodes: Sequence[Node], constants: Mapping[str, Array | None], data: str, output: str) -> list[Layer]:
    """Layers with their weights, built, from the nodes between the input ``data`` and ``output``.

    Raises:
        ValueError: naming the node that is not a layer, or part of one.
    """
    needed = {output}
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(name for name in node.inputs if name)
    flow = {data}
    chain: list[LayerWeights] = []
    for node in nodes:
        # Sizes and states at the start do not come from the data.
        if not flow.intersection(node.inputs) or not needed.intersection(node.outputs) or node.op == "Shape":
            continue
        _read(node, constants, flow, needed, chain)
        flow.update(name for name in node.outputs if name)
    if output not in flow:
        raise ValueError(f"expected layers between {data!r} and {output!r}, got none")
    for entry in chain:
        if entry.make is None:
            raise ValueError(f"{entry.options['name']}: expected a Conv behind a Pad")
    dtype = next((entry.weights[0].dtype.name for entry in chain if entry.weights), "float32")
    return [_built(entry, dtype) for entry in chain]


def _read(
    node: Node, constants: Mapping[str, Array | None], flow: set[str], needed: set[str], chain: list[LayerWeights]
) -> None:
    """Add the layer of a node to the chain, or change the last one."""
    given = [constants.get(name) for name in node.inputs]
    if isinstance(node.function, RecurrentOperator):
        chain.append(_recurrent(node, node.function, given, flow, needed))
    elif node.op in _MOVES:
        pass
    elif node.op in _ACTIVATIONS:
        if node.attributes.get("approximate", "none") != "none":
            raise ValueError(f"{node.name}: the approximate Gelu is no activation of a layer")
        name = _ACTIVATIONS[node.op]
        if (
            chain
            and chain[-1].make in (layers.Conv1D, layers.Dense)
            and "activation" not in chain[-1].options
            and node.op != "LogSoftmax"
        ):
            chain[-1].options["activation"] = name
        else:
            chain.append(LayerWeights(layers.Activation, {"activation": name}, []))
    elif node.op == "Gather" and given[0] is not None and given[0].ndim == 2:
        table = given[0]
        sizes = dict(zip(("input_dim", "output_dim"), table.shape))
        chain.append(LayerWeights(layers.Embedding, {**sizes, "embeddings_initializer": "zeros"}, [table]))
    elif node.op == "Gather" and given[1] is not None and chain and "return_sequences" in chain[-1].options:
        if given[1].size != 1 or given[1].item() != -1:
            raise ValueError(f"{node.name}: expected the last time step, got {given[1].tolist()}")
        chain[-1].options["return_sequences"] = False
    elif node.op in ("MatMul", "Gemm") and node.inputs[0] in flow and given[1] is not None and given[1].ndim == 2:
        attributes = dict(node.attributes)
        kernel = given[1].T if attributes.pop("transB", 0) else given[1]
        if any(value != (0 if name == "transA" else 1) for name, value in attributes.items()):
            raise ValueError(f"{node.name}: expected a Gemm without factors, got {attributes}")
        options = {"units": kernel.shape[1], "kernel_initializer": "zeros"}
        chain.append(LayerWeights(layers.Dense, options, [kernel], kernel.shape[0]))
        if len(given) > 2:
            _add_bias(node, given[2], chain)
    elif isinstance(node.function, ConvOperator) and node.inputs[0] in flow and given[1] is not None:
        front = chain.pop().options["pads"] if chain and chain[-1].make is None else (0, 0)
        chain.append(_convolution(node.name, node.function, given[1], front))
        if len(given) > 2:
            _add_bias(node, given[2], chain)
    elif node.op == "LayerNormalization" and node.inputs[0] in flow:
        chain.append(_normalization(node, given))
    elif node.op == "Pad":
        chain.append(LayerWeights(None, {"name": node.name, "pads": _zeros(node, given)}, []))
    elif node.op == "Add":
        _add_bias(node, next((array for array in given if array is not None), None), chain)
    else:
        raise ValueError(f"{node.name}: the operator {node.op} is no layer of a Sequential")


def _add_bias(node: Node, bias: Array | None, chain: list[LayerWeights]) -> None:
    last = chain[-1] if chain else None
    fits = last is not None and last.make in (layers.Conv1D, layers.Dense) and len(last.weights) == 1
    # One number for each output, among axes of size 1.
    units = last.weights[0].shape[-1] if last is not None and fits else 0
    if last is None or not fits or bias is None or not units == bias.size == max(bias.shape, default=0):
        raise ValueError(f"{node.name}: expected the bias of a Dense or Conv1D layer, got another sum")
    last.weights.append(bias.reshape(-1))


def _normalization(node: Node, given: list[Array | None]) -> LayerWeights:
    """The layer of a LayerNormalization."""
    arrays = [array for array in given[1:] if array is not None]
    if len(arrays) != sum(map(bool, node.inputs[1:])) or any(array.ndim != 1 for array in arrays):
        raise ValueError(f"{node.name}: expected constants over the last axis as scale and bias")
    options = {"epsilon": node.attributes.get("epsilon", 1e-5), "center": len(arrays) > 1}
    # The bias, beta, is the second of the layer's weights, as in the node.
    return LayerWeights(layers.LayerNormalization, options, arrays, arrays[0].size)


def _zeros(node: Node, given: list[Array | None]) -> tuple[int, int]:
    """The zeros that a Pad puts in front of the steps and behind them."""
    pads, value, *_ = (*given[1:], None)
    rows = np.ones((2, 2)) if pads is None else pads.reshape(2, -1)
    before, after = rows[:, rows.any(axis=0)].sum(axis=1).tolist()
    zeros = node.attributes.get("mode", "constant") == "constant" and (value is None or not value.item())
    if rows.any(axis=0).sum() > 1 or not zeros:
        raise ValueError(f"{node.name}: expected a Pad of zeros along the time steps")
    return before, after


def _convolution(name: str, function: ConvOperator, w: Array, front: tuple[int, int]) -> LayerWeights:
    """The layer of a Conv, with the zeros of a Pad in front of it."""
    kernel = w.transpose(2, 1, 0)
    size, features, filters = kernel.shape
    span = (size - 1) * function.dilation + 1
    pads = function.pads[0] + front[0], function.pads[1] + front[1]
    if function.auto_pad.startswith("SAME"):
        if any(front):
            raise ValueError(f"{name}: auto_pad={function.auto_pad} behind a Pad is no padding of a layer")
        if function.auto_pad == "SAME_LOWER" and function.stride > 1:
            raise ValueError(f"{name}: auto_pad=SAME_LOWER with strides is no padding of a layer")
        # Without strides they are the same for any number of steps.
        pads = function.pads_for(span, size)
    padding: Any = {(0, 0): "valid", (span - 1, 0): "causal"}.get(pads, pads)
    if function.auto_pad == "SAME_UPPER":
        padding = "same"
    options = {
        "filters": filters,
        "kernel_size": size,
        "strides": function.stride,
        "padding": padding,
        "dilation_rate": function.dilation,
        "kernel_initializer": "zeros",
    }
    return LayerWeights(layers.Conv1D, options, [kernel], features)


def _recurrent(
    node: Node, function: RecurrentOperator, given: list[Array | None], flow: set[str], needed: set[str]
) -> LayerWeights:
    w, r, b = (*given[1:4], None)[:3]
    if node.inputs[0] not in flow or w is None or r is None or (len(node.inputs) > 3 and node.inputs[3] and b is None):
        raise ValueError(f"{node.name}: expected data as X and constants as weights")
    if len(node.inputs) > 4 and node.inputs[4]:
        raise ValueError(f"{node.name}: sequence_lens is no argument of a layer; lengths are given with each call")
    cells = function.cells(w, r, b)
    sequences = node.outputs[0] in needed
    classes: dict[str, Any] = {"RNN": layers.SimpleRNN, "LSTM": layers.LSTM, "GRU": layers.GRU}
    cell = cells[0]
    options = {name: getattr(cell, name) for name in ("units", "activation", "use_bias")}
    options |= {"go_backwards": function.reverse[0], "return_sequences": sequences, **_ZEROS}
    if cell.recurrent_activation is not None:
        options["recurrent_activation"] = cell.recurrent_activation
    if node.op == "GRU":
        options["reset_after"] = cell.core_cell == "gru"
    weights = [array for cell in cells for array in cell.get_weights()]
    return LayerWeights(classes[node.op], options, weights, w.shape[-1], len(cells) > 1)


def _built(entry: LayerWeights, dtype: str) -> Layer:
    """The layer, with its weights."""
    options = {**entry.options, "dtype": dtype}
    layer: Layer
    if entry.both:
        layer = layers.Bidirectional(entry.make(**options))
    elif entry.make in (layers.Conv1D, layers.Dense):
        layer = entry.make(**options, use_bias=len(entry.weights) > 1)
    else:
        layer = entry.make(**options)
    if entry.weights:
        over_time = entry.make is layers.Conv1D or "return_sequences" in options
        layer._build_with((None, None, entry.features) if over_time else (None, entry.features))
        layer.set_weights(entry.weights)
    return layer
