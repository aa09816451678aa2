"""Weights of PyTorch's recurrent layers, to and from the layout of seqcore."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._validation import choice, short_repr
from ...autograd import as_array
from ...typing import Array

# ---------------------------------------------------------------- weight maps

# The place of each of our gates (i f c o; z r h) in PyTorch (i f g o; r z n).
_TORCH_GATES = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}


def _reorder(array: Array, gates: Sequence[int]) -> Array:
    """Blocks of the last axis in another order."""
    blocks = np.split(array, len(gates), axis=-1)
    return np.concatenate([blocks[gate] for gate in gates], axis=-1)


# prefix.name_l0_reverse: the names of the arrays of a recurrent module.
_TORCH_NAME = re.compile(
    r"(?:(?P<prefix>.*)\.)?(?P<part>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>0|[1-9][0-9]{0,3})(?P<back>_reverse)?"
)


def from_torch(weights: Mapping[str, Any], cell: str, prefix: str | None = None) -> list[list[Array]]:
    """Weights of a ``torch.nn.RNN``, ``LSTM`` or ``GRU`` for layers of seqcore.

    Args:
        weights: its ``state_dict()``, or that of a model that holds it, as tensors or arrays: ``weight_ih_l0`` (gH, D),
            ``weight_hh_l0`` (gH, H), ``bias_ih_l0`` and ``bias_hh_l0`` (gH,), ... with ``_reverse`` for the second
            direction. Half precision (float16, bfloat16) is widened to float32.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"``.
        prefix: the start of the names, such as ``"encoder.lstm"``; ``""`` for nothing. By default the only one
            that there is; other modules of the model are left out.

    Returns:
        One list for each layer, in the order of ``layer.set_weights``: kernel (D, gH), recurrent kernel (H, gH), bias
        (gH,), for the GRU (2, 3H); for two directions the forward ones first. PyTorch's two biases are added where the
        equations add them.

    Raises:
        ValueError: for an unknown cell, several modules without a ``prefix``, arrays that are missing or unknown, and
            shapes that do not fit.

    >>> arrays = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> [array.shape for array in from_torch(arrays, "lstm")[0]]
    [(3, 8), (2, 8)]
    """
    gates = _TORCH_GATES[choice("cell", cell, _TORCH_GATES)]
    arrays = _torch_module(weights, prefix)
    names = {name: _TORCH_NAME.fullmatch(name) for name in arrays}
    for name, match in names.items():
        if match is None or match["part"] == "weight_hr":
            reason = "a projection" if match else "another array"
            raise ValueError(f"weights: expected weights and biases of layers without {reason}, got {name!r}")
    count = 1 + max(int(match["layer"]) for match in names.values() if match)
    ends = ["", "_reverse"] if any(match["back"] for match in names.values() if match) else [""]
    parts = ["weight_ih", "weight_hh"]
    parts += ["bias_ih", "bias_hh"] if any(name.startswith("bias") for name in names) else []
    layers: list[list[Array]] = []
    width = None
    for number in range(count):
        layer: list[Array] = []
        for suffix in (f"_l{number}{end}" for end in ends):
            for part in parts:
                if part + suffix not in arrays:
                    raise ValueError(f"weights: expected {part + suffix!r} next to {min(names)!r}, got none")
            layer += _one_from_torch([arrays[part + suffix] for part in parts], suffix, width, gates, cell)
        width = len(layer[1]) * len(ends)
        layers.append(layer)
    return layers


def _torch_module(weights: Any, prefix: str | None) -> dict[str, Array]:
    """The arrays of one module, by their names without its prefix."""
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise TypeError(f"weights: expected a state_dict, arrays by name, got {type(weights).__name__}")
    if prefix is not None and not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a text or None, got {short_repr(prefix)}")
    matches = [_TORCH_NAME.fullmatch(name) for name in weights]
    known = list(dict.fromkeys(match["prefix"] or "" for match in matches if match))
    if not known:
        raise ValueError("weights: expected arrays named 'weight_ih_l0', 'weight_hh_l0', ..., got none of these names")
    chosen = known[0] if prefix is None else prefix.removesuffix(".")
    if prefix is None and len(known) > 1:
        raise ValueError(f"weights: expected one recurrent module, or its prefix, got {', '.join(map(repr, known))}")
    if chosen not in known:
        raise ValueError(f"prefix: expected one of {', '.join(map(repr, known))}, got {prefix!r}")
    start = f"{chosen}." if chosen else ""
    return {
        name[len(start) :]: _torch_array(f"weights[{name!r}]", value)
        for name, value in weights.items()
        if name.startswith(start) and "." not in name[len(start) :]
    }


def _torch_array(name: str, value: Any) -> Array:
    """A tensor or array of any library; half precision, in which sums would lose digits, as float32."""
    if hasattr(value, "detach"):
        # A parameter of PyTorch; NumPy knows no bfloat16.
        value = value.detach()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        value = value.cpu()
    array = as_array(value, name=name)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.itemsize < 4 else array


def _one_from_torch(
    arrays: Sequence[Array], suffix: str, width: int | None, gates: Sequence[int], cell: str
) -> list[Array]:
    """The arrays of one direction of a layer that reads ``width`` features, where that is known."""
    kernel, recurrent, *biases = arrays
    rows = len(gates) * recurrent.shape[-1] if recurrent.ndim == 2 else -1
    fits = kernel.ndim == 2 and recurrent.shape[:1] == (rows,) and len(kernel) == rows
    if not fits or width not in (None, kernel.shape[1]):
        high = "gH" if rows < 0 else rows
        raise ValueError(
            f"weights: expected ({high}, {width or 'D'}) and ({high}, H) for {cell!r}, "
            f"got {kernel.shape}, {recurrent.shape} for {suffix!r}"
        )
    layer = [np.ascontiguousarray(_reorder(kernel.T, gates)), np.ascontiguousarray(_reorder(recurrent.T, gates))]
    if biases:
        if any(bias.shape != (rows,) for bias in biases):
            shapes = ", ".join(str(bias.shape) for bias in biases)
            raise ValueError(f"weights: expected biases of shape ({rows},) for {suffix!r}, got {shapes}")
        layer.append(_reorder(np.stack(biases) if cell == "gru" else biases[0] + biases[1], gates))
    return layer


def to_torch(layers: Sequence[Sequence[Any]], cell: str) -> dict[str, Array]:
    """The inverse of :func:`from_torch`: arrays for ``load_state_dict`` of a ``torch.nn.RNN``, ``LSTM`` or ``GRU``.

    Args:
        layers: ``layer.get_weights()`` of each layer; six arrays (four without biases) mean two directions.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"`` (with ``reset_after=True``).

    Returns:
        name -> array; the second bias of RNN and LSTM is zero.

    >>> kernel, recurrent, bias = np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)
    >>> sorted(to_torch([[kernel, recurrent, bias]], "lstm"))
    ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']
    """
    gates = _TORCH_GATES[choice("cell", cell, _TORCH_GATES)]
    back = [gates.index(gate) for gate in range(len(gates))]
    found: dict[str, Array] = {}
    for number, layer in enumerate(layers):
        arrays = [_torch_array(f"layers[{number}]", array) for array in layer]
        if len(arrays) not in (2, 3, 4, 6):
            raise ValueError(f"layers: expected 2, 3, 4 or 6 arrays for layer {number}, got {len(arrays)}")
        each = 3 if len(arrays) in (3, 6) else 2
        for start, suffix in zip(range(0, len(arrays), each), (f"_l{number}", f"_l{number}_reverse")):
            kernel, recurrent = arrays[start], arrays[start + 1]
            width = len(gates) * len(recurrent) if recurrent.ndim == 2 else -1
            if kernel.shape[1:] != (width,) or recurrent.shape[1:] != (width,):
                raise ValueError(
                    f"layers: expected kernels of {width} columns for {cell!r}, got {kernel.shape}, {recurrent.shape}"
                )
            found[f"weight_ih{suffix}"] = np.ascontiguousarray(_reorder(kernel, back).T)
            found[f"weight_hh{suffix}"] = np.ascontiguousarray(_reorder(recurrent, back).T)
            if each == 3:
                bias = arrays[start + 2]
                if bias.shape != ((2, width) if cell == "gru" else (width,)):
                    wanted = f"(2, {width}) (reset_after=True)" if cell == "gru" else f"({width},)"
                    raise ValueError(f"layers: expected a bias of shape {wanted}, got {bias.shape}")
                bias = _reorder(bias, back)
                pair = bias if cell == "gru" else (bias, np.zeros_like(bias))
                found[f"bias_ih{suffix}"], found[f"bias_hh{suffix}"] = pair[0], pair[1]
    return found
