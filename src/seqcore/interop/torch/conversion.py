"""Conversion of a module of PyTorch into a Sequential.

B: batch, T: time steps, D: features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ... import layers
from ..._validation import one_line, plain_array
from ...layers import Layer
from ...models.sequential import Sequential
from ...typing import Array
from .weights import from_torch, wide_array

# B and T of the random inputs, and how many times the weights are random.
_SIZES = ((16, 5), (17, 4))
_PROBES = 4
# The weights come from the module: no random numbers are drawn.
_ZEROS = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
# A layer and its weights in the order of ``set_weights``.
_Entry = tuple[Layer, list[Array]]


class _Plan(NamedTuple):
    """The parts of a model that the children do not decide.

    sequences: whether the last recurrent child passes on its sequence. inputs, outputs: the axes that are swapped
    between module and model.
    """

    sequences: bool
    inputs: tuple[int, int] | None
    outputs: tuple[int, int] | None


def convert(module: Any, example: Any = None) -> Sequential:
    """A Sequential with the layers, the weights and the outputs of a module of PyTorch.

    The children of the module, and theirs in turn, are taken as one chain in the order in which they were registered.
    ``forward`` is not read: the module and the chain are called with the same inputs, with random weights and with the
    weights that it has, and a module with other outputs is refused. Of the last recurrent child the chain passes on the
    sequence or the output at the end, whichever gives the outputs of the module. Children without weights whose class
    is not PyTorch's, such as one that takes the output of an LSTM from its tuple, are left to this comparison.

    Args:
        module: a ``torch.nn.Sequential``, one recurrent module, or a module of your own class. It stays as it is:
            copies in ``eval`` mode are called. Where it returns a tuple, the first tensor counts.
        example: an input of the module for the comparison. By default random ones, as its first child with weights
            takes them.

    Returns:
        The model, built, in float64 where the module is, otherwise in float32. Sequences are (B, T, D) whatever
        ``batch_first`` is. A child whose parameters have no ``requires_grad`` becomes a layer with ``trainable=False``;
        each of two children that share a parameter gets a copy.

    Raises:
        TypeError: for anything but a module.
        ValueError: naming the child, and its argument, that has no counterpart, and for a module that does more than
            its children one after the other.

    >>> module = nn.Sequential(nn.Embedding(10, 4), nn.GRU(4, 3, num_layers=2, batch_first=True))
    >>> [type(layer).__name__ for layer in convert(module).layers]
    ['Embedding', 'GRU', 'GRU']
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    # The module that torch.compile wraps.
    module = getattr(module, "_orig_mod", module)
    children = _chain(module)
    dtype = "float64" if any(value.dtype == torch.float64 for value in module.parameters()) else "float32"
    # Children without a counterpart are named before anything else is said.
    _entries(children, True, dtype)
    inputs = _random_inputs(children) if example is None else [plain_array("example", example)]
    inputs = [data.astype(dtype) if data.dtype.kind == "f" else data for data in inputs]
    own = copy.deepcopy(module).to("cpu", getattr(torch, dtype)).eval()
    probe = copy.deepcopy(own)
    reasons = []
    for plan in _plans(children):
        for twin in _twins(own, probe):
            model, reason = _attempt(plan, twin, inputs, example is not None, dtype)
            if reason:
                reasons.append(reason)
                break
        else:
            return model
    if all(reason.startswith("example") for reason in reasons):
        raise ValueError(reasons[0])
    # Other numbers tell more than another shape.
    reason = max(reasons, key=lambda text: (text.startswith("numbers"), not text.startswith("example")))
    raise ValueError(
        f"module: expected the outputs of its children one after the other, "
        f"got others from the forward of {type(module).__name__}: {reason}"
    )


# --- the module -------------------------------------------------------------------------------------------------------


def _chain(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that are layers, in order, with their names for messages."""
    chain: list[tuple[str, nn.Module]] = []
    for path, child in module.named_modules(remove_duplicate=False):
        name = f"{path} ({type(child).__name__})" if path else type(child).__name__
        own = dict(child.named_parameters(recurse=False))
        for parameter, value in own.items():
            if nn.parameter.is_lazy(value) or value.is_meta:
                raise ValueError(f"module: expected parameters with values, got none in {parameter!r} of {name}")
        inner = next(child.named_children(), None)
        if isinstance(child, tuple(_LAYERS)):
            if inner is not None:
                raise ValueError(f"module: {name}: the {inner[0]!r} of a layer cannot be converted")
            chain.append((name, child))
        elif own:
            raise ValueError(f"module: {name} cannot be converted, it has the parameter {next(iter(own))!r}")
        elif inner is None and type(child).__module__.startswith("torch.") and not isinstance(child, nn.Identity):
            raise ValueError(f"module: {name} cannot be converted")
    if not chain:
        raise ValueError(f"module: expected children that are layers, got none in {type(module).__name__}")
    return chain


def _random_inputs(children: list[tuple[str, nn.Module]]) -> list[Array]:
    """Inputs (B, T, ...) for the first child that has weights."""
    rng = np.random.default_rng(0)
    first = next((child for _, child in children if next(child.parameters(), None) is not None), None)
    # Of so many steps, convolutions without padding leave T.
    least, stride = 1, 1
    for _, child in reversed(children):
        if isinstance(child, nn.Conv1d):
            least = (least - 1) * child.stride[0] + (child.kernel_size[0] - 1) * child.dilation[0] + 1
            stride *= child.stride[0]
    sizes = [(batch, least + (steps - 1) * stride) for batch, steps in _SIZES]
    if isinstance(first, nn.Embedding):
        ids = [rng.integers(0, first.num_embeddings, size) for size in sizes]
        # Padding, which a forward may treat in its own way.
        ids[-1][-1, -2:] = first.padding_idx or 0
        return ids
    if isinstance(first, _RECURRENT):
        return [rng.normal(size=(*size, first.input_size)) for size in sizes]
    if isinstance(first, nn.Conv1d):
        return [rng.normal(size=(*size, first.in_channels)) for size in sizes]
    if isinstance(first, (nn.Linear, nn.LayerNorm)):
        has_time = any(isinstance(child, (*_RECURRENT, nn.Conv1d)) for _, child in children)
        features = first.in_features if isinstance(first, nn.Linear) else first.normalized_shape[-1]
        return [rng.normal(size=(*(size if has_time else size[:1]), features)) for size in sizes]
    raise ValueError("example: expected an input of the module, whose children do not tell its shape, got None")


def _twins(module: nn.Module, probe: nn.Module) -> Iterator[nn.Module]:
    """A copy of the module with random weights, under which no two chains agree by chance; and the module.

    By chance agree, for instance, chains with and without a ReLU whose inputs all are above zero.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(_PROBES):
        with torch.no_grad():
            for value in probe.parameters():
                scale = value[0].numel() ** -0.5 if value.ndim > 1 else 0.1
                value.normal_(0, scale, generator=generator)
        yield probe
    yield module


def _output(module: nn.Module, data: Array) -> Array:
    """The first tensor of the output.

    Raises:
        _RefusedInput: the module does not take ``data``.
    """
    try:
        with torch.no_grad():
            output = module(torch.from_numpy(data))
    except Exception as error:
        raise _RefusedInput(
            f"example: expected an input of {type(module).__name__}, "
            f"got shape {data.shape} of {data.dtype}, which it refuses: {one_line(error, 160)}"
        ) from None
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"module: expected a tensor or a tuple of them as output, got {type(output).__name__}")
    return wide_array("module", output)


class _RefusedInput(Exception):
    """A module does not take an input."""


# --- the model --------------------------------------------------------------------------------------------------------


def _entries(children: list[tuple[str, nn.Module]], sequences: bool, dtype: str) -> list[_Entry]:
    """New layers for the children, with ``return_sequences`` of the last recurrent one."""
    last = max((number for number, (_, child) in enumerate(children) if isinstance(child, _RECURRENT)), default=None)
    entries: list[_Entry] = []
    for number, (name, child) in enumerate(children):
        try:
            others = [own for own, _ in child.named_parameters() if own not in ("weight", "bias")]
            if others and not isinstance(child, _RECURRENT):
                raise ValueError(f"expected a weight and a bias, got the parameter {others[0]!r}")
            make = next(make for classes, make in _LAYERS.items() if isinstance(child, classes))
            made = make(child, sequences or number != last, dtype)
            trained = {parameter.requires_grad for parameter in child.parameters()}
            if len(trained) > 1:
                raise ValueError("requires_grad: expected one value for all parameters, got both")
        except ValueError as error:
            raise ValueError(f"module: {name}: {error}") from None
        if trained == {False}:
            for layer, _ in made:
                layer.trainable = False
        entries += made
    return entries


def _plans(children: list[tuple[str, nn.Module]]) -> list[_Plan]:
    """The models that may have the outputs of a module."""
    modules = [child for _, child in children]
    recurrent = any(isinstance(child, _RECURRENT) for child in modules)
    axes: list[tuple[int, int] | None] = [None]
    if recurrent:
        axes.append((0, 1))
    if any(isinstance(child, nn.Conv1d) for child in modules):
        axes.append((1, 2))
    return [_Plan(*plan) for plan in product((True, False) if recurrent else (True,), axes, axes)]


def _attempt(plan: _Plan, module: nn.Module, inputs: list[Array], in_order: bool, dtype: str) -> tuple[Sequential, str]:
    """The model by a plan, and the difference of its outputs from those of the module, or an empty text.

    Args:
        inputs: in the order of the module if ``in_order``, else in that of the model.
    """
    model = Sequential()
    turned = [_swapped(data, plan.inputs) for data in inputs]
    given, own = (inputs, turned) if in_order else (turned, inputs)
    try:
        expected = [_output(module, data) for data in given]
    except _RefusedInput as error:
        return model, str(error)
    entries = _entries(_chain(module), plan.sequences, dtype)
    try:
        model = _model(entries, own[0])
        results = [_swapped(model(data).numpy(), plan.outputs) for data in own]
    except ValueError as error:
        return model, one_line(error)
    return model, _difference(expected, results)


def _swapped(data: Array, axes: tuple[int, int] | None) -> Array:
    """(T, B, ...) or (B, D, T) as (B, T, ...), and back; arrays without a time axis as they are."""
    has_time = data.ndim > (2 if data.dtype.kind == "f" else 1)
    return np.ascontiguousarray(data.swapaxes(*axes)) if axes and has_time and data.ndim > max(axes) else data


def _model(entries: list[_Entry], data: Array) -> Sequential:
    """The Sequential for inputs such as ``data``, in the order of seqcore."""
    shape: list[int | None] = list(data.shape[1:])
    has_time = len(shape) > (1 if data.dtype.kind == "f" else 0)
    if has_time and not any(isinstance(layer, layers.Flatten) for layer, _ in entries):
        shape[0] = None
    model = Sequential([layers.Input(tuple(shape), dtype=data.dtype.name), *(layer for layer, _ in entries)])
    for layer, weights in entries:
        layer.set_weights(weights)
    return model


def _difference(expected: list[Array], results: list[Array]) -> str:
    """The first difference of two lists of outputs, or an empty text."""
    for array, other in zip(expected, results):
        if array.shape != other.shape:
            return f"a shape of {array.shape}, not {other.shape}"
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        distance = float(np.abs(array - other).max(initial=0))
        if not distance <= 1e-5 * scale:
            return f"numbers that differ by {distance:.2g}"
    return ""


# --- layers -----------------------------------------------------------------------------------------------------------


def _only(child: Any, **expected: Any) -> None:
    """Refuse arguments of a child that are not the expected ones."""
    for name, value in expected.items():
        got = getattr(child, name)
        if got != value:
            raise ValueError(f"{name}: expected {value!r}, got {got!r}")


def _recurrent(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    if getattr(child, "proj_size", 0):
        _only(child, proj_size=0)
    stack = from_torch(child)
    units, columns = stack[0][1].shape
    options: dict[str, Any] = {"use_bias": bool(child.bias), "dtype": dtype, **_ZEROS}
    if columns == units:
        options["activation"] = child.nonlinearity
    make: Any = {1: layers.SimpleRNN, 3: layers.GRU, 4: layers.LSTM}[columns // units]
    entries: list[_Entry] = []
    for number, weights in enumerate(stack):
        after = number < len(stack) - 1
        layer: Layer = make(units, return_sequences=sequences or after, **options)
        entries.append((layers.Bidirectional(layer) if getattr(child, "bidirectional", False) else layer, weights))
        if after and child.dropout:
            entries.append((layers.Dropout(child.dropout, dtype=dtype), []))
    return entries


def _embedding(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    _only(child, max_norm=None)
    if child.weight.requires_grad:
        _only(child, scale_grad_by_freq=False)
    table = wide_array("weight", child.weight)
    rows, columns = table.shape
    options: dict[str, Any] = {"padding_idx": child.padding_idx, "embeddings_initializer": "zeros", "dtype": dtype}
    return [(layers.Embedding(rows, columns, **options), [table])]


def _kernel_and_bias(child: Any, dtype: str) -> tuple[list[Array], dict[str, Any]]:
    """The weights of a Linear or a Conv1d, and the arguments of a layer for them."""
    weights = [wide_array("weight", child.weight).T]
    if child.bias is not None:
        weights.append(wide_array("bias", child.bias))
    return weights, {"use_bias": child.bias is not None, "kernel_initializer": "zeros", "dtype": dtype}


def _linear(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    weights, options = _kernel_and_bias(child, dtype)
    return [(layers.Dense(len(child.weight), **options), weights)]


def _conv1d(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    _only(child, groups=1, padding_mode="zeros")
    weights, options = _kernel_and_bias(child, dtype)
    padding = child.padding if isinstance(child.padding, str) else child.padding * 2
    layer = layers.Conv1D(
        len(child.weight), child.kernel_size, child.stride, padding, dilation_rate=child.dilation, **options
    )
    return [(layer, weights)]


def _flatten(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    _only(child, start_dim=1, end_dim=-1)
    return [(layers.Flatten(dtype=dtype), [])]


def _log_softmax(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    if child.dim not in (-1, 1, 2):
        raise ValueError(f"dim: expected the last one, got {child.dim}")
    return [(layers.Activation("log_softmax", dtype=dtype), [])]


def _softmax(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    if child.dim is None:
        raise ValueError("dim: expected a number, got None")
    return [(layers.Softmax(child.dim, dtype=dtype), [])]


def _activation(name: str, **expected: Any) -> Callable[[Any, bool, str], list[_Entry]]:
    """An activation without arguments, or with the expected ones alone."""

    def make(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
        _only(child, **expected)
        return [(layers.Activation(name, dtype=dtype), [])]

    return make


def _layer_norm(child: Any, sequences: bool, dtype: str) -> list[_Entry]:
    if len(child.normalized_shape) > 1:
        raise ValueError(f"normalized_shape: expected the last axis alone, got {child.normalized_shape}")
    gamma, beta = child.weight, child.bias
    options: dict[str, Any] = {"center": beta is not None, "scale": gamma is not None, "dtype": dtype}
    weights = [wide_array(name, value) for name, value in (("weight", gamma), ("bias", beta)) if value is not None]
    return [(layers.LayerNormalization(epsilon=child.eps, **options), weights)]


_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_LAYERS: dict[Any, Callable[[Any, bool, str], list[_Entry]]] = {
    **dict.fromkeys(_RECURRENT, _recurrent),
    nn.Conv1d: _conv1d,
    nn.Embedding: _embedding,
    nn.Linear: _linear,
    nn.Dropout: lambda child, sequences, dtype: [(layers.Dropout(child.p, dtype=dtype), [])],
    nn.ELU: _activation("elu", alpha=1.0),
    nn.Flatten: _flatten,
    nn.GELU: _activation("gelu", approximate="none"),
    nn.Hardsigmoid: _activation("hard_sigmoid"),
    nn.LayerNorm: _layer_norm,
    nn.LeakyReLU: lambda child, sequences, dtype: [(layers.ReLU(None, child.negative_slope, dtype=dtype), [])],
    nn.LogSoftmax: _log_softmax,
    nn.ReLU: _activation("relu"),
    nn.ReLU6: lambda child, sequences, dtype: [(layers.ReLU(6.0, dtype=dtype), [])],
    nn.SiLU: _activation("silu"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.Softmax: _softmax,
    nn.Softplus: _activation("softplus", beta=1.0, threshold=20.0),
    nn.Tanh: _activation("tanh"),
}
