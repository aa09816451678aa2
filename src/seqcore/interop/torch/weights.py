"""Weights of PyTorch's recurrent layers, to and from the layout of seqcore.

D: input features, H: units, g: gates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._files import Path
from ..._validation import as_path, boolean, choice, short_repr
from ...autograd import as_array
from ...saving.safetensors import read_tensors
from ...typing import Array

# The place of each of our gates (i f c o; z r h) in PyTorch (i f g o; r z n).
_TORCH_GATES = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
# prefix.name_l0_reverse: the names of the arrays of a recurrent module; a cell has no _l0.
_TORCH_NAME = re.compile(
    r"(?:(?P<prefix>.*)\.)?(?P<part>(?:weight|bias)_(?:ih|hh|hr))"
    r"(?:_l(?P<layer>0|[1-9][0-9]{0,3})(?P<back>_reverse)?)?"
)
# Ends of the names of files that torch.save writes; others are safetensors.
_TORCH_SUFFIXES = (".pt", ".pth", ".bin")


def from_torch(
    weights: Mapping[str, Any] | Path | Any, cell: str | None = None, prefix: str | None = None
) -> list[list[Array]]:
    """Weights of a ``torch.nn.RNN``, ``LSTM`` or ``GRU``, or of one of their cells, for layers of seqcore.

    Args:
        weights: a ``state_dict()``, that of a model that holds the recurrent module too, with tensors or arrays by
            name: ``weight_ih_l0`` (gH, D), ``weight_hh_l0`` (gH, H), ``bias_ih_l0`` and ``bias_hh_l0`` (gH,), ... with
            ``_reverse`` for the second direction, and without ``_l0`` for a cell. Or the module itself, or the path
            of a file: ``.pt``, ``.pth`` and ``.bin`` are read by ``torch.load(weights_only=True)``, which runs no code
            of the file, all others as safetensors, without PyTorch. Half precision (float16, bfloat16) is widened to
            float32.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"``; by default from the shape of ``weight_hh_l0``.
        prefix: the start of the names, such as ``"encoder.lstm"``; ``""`` for nothing. By default the only one
            that there is; other modules of the model are left out.

    Returns:
        One list for each layer, in the order of ``layer.set_weights``: kernel (D, gH), recurrent kernel (H, gH), bias
        (gH,), for the GRU (2, 3H); for two directions the forward ones first. PyTorch's two biases are added where the
        equations add them. The weights of an RNN with ``nonlinearity="relu"`` are those of a
        ``SimpleRNN(activation="relu")``.

    Raises:
        ImportError: for a file of PyTorch without PyTorch.
        OSError: where there is no such file.
        ValueError: for an unknown cell, several modules without a ``prefix``, arrays that are missing or unknown,
            shapes that do not fit, and a file with anything but tensors and plain Python values.

    >>> arrays = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> [array.shape for array in from_torch(arrays, "lstm")[0]]
    [(3, 8), (2, 8)]
    """
    if cell is not None:
        choice("cell", cell, _TORCH_GATES)
    arrays = _module_arrays(_state_dict(weights), prefix)
    suffixes, parts = _layers_of(arrays)
    cell = cell or _cell_of("weights", arrays[parts[1] + suffixes[0][0]].shape)
    layers: list[list[Array]] = []
    width = None
    for layer in suffixes:
        directions = [
            _direction_from_torch([arrays[part + suffix] for part in parts], parts[0] + suffix, width, cell)
            for suffix in layer
        ]
        width = len(directions[0][1]) * len(directions)
        layers.append([array for direction in directions for array in direction])
    return layers


def _state_dict(weights: Any) -> Mapping[str, Any]:
    """Tensors by name, of a mapping, a module or a file."""
    if isinstance(weights, (str, bytes, os.PathLike)):
        place = as_path(weights)
        is_torch = os.path.splitext(place)[1].lower() in _TORCH_SUFFIXES
        weights = _load_with_torch(place) if is_torch else read_tensors(place)[0]
    elif not isinstance(weights, Mapping) and callable(getattr(weights, "state_dict", None)):
        weights = weights.state_dict()
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise TypeError(f"weights: expected a state_dict, a module or a path, got {type(weights).__name__}")
    return weights


def _load_with_torch(place: str) -> Any:
    """The content of a file of ``torch.save``."""
    with open(place, "rb"):
        pass
    try:
        import torch
    except ImportError:
        raise ImportError(f"{place}: a file of PyTorch needs PyTorch, pip install torch; safetensors do not") from None
    try:
        return torch.load(place, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch promises no type of error for damaged files; the cause stands between its advice on unsafe loading.
        text = " ".join(str(error).split())
        # A KeyError says its key alone, an EOFError nothing.
        text = text if " " in text else f"{type(error).__name__} {text}".strip()
        text = text.partition("WeightsUnpickler error: ")[2] or text
        cause = re.split(r" was not an allowed| Check the|\. ", text)[0]
        raise ValueError(
            f"{place}: expected a file of torch.save(module.state_dict(), ...), "
            f"got one that torch.load(weights_only=True) refuses: {cause[:160]}"
        ) from None


def _module_arrays(weights: Mapping[str, Any], prefix: str | None) -> dict[str, Array]:
    """The arrays of one module, by their names without its prefix."""
    if prefix is not None and not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a text or None, got {short_repr(prefix)}")
    matches = [_TORCH_NAME.fullmatch(name) for name in weights]
    known = list(dict.fromkeys(match["prefix"] or "" for match in matches if match))
    if not known:
        raise ValueError(
            f"weights: expected arrays named 'weight_ih_l0', 'weight_hh_l0', ..., got {short_repr(list(weights))}"
        )
    chosen = known[0] if prefix is None else prefix.removesuffix(".")
    if prefix is None and len(known) > 1:
        raise ValueError(f"weights: expected one recurrent module, or its prefix, got {', '.join(map(repr, known))}")
    if chosen not in known:
        raise ValueError(f"prefix: expected one of {', '.join(map(repr, known))}, got {prefix!r}")
    start = f"{chosen}." if chosen else ""
    return {
        name[len(start) :]: wide_array(f"weights[{name!r}]", value)
        for name, value in weights.items()
        if name.startswith(start) and "." not in name[len(start) :]
    }


def wide_array(name: str, value: Any) -> Array:
    """A tensor or array of any library; half precision, in which sums would lose digits, as float32."""
    if hasattr(value, "detach"):
        # A parameter of PyTorch; NumPy has neither bfloat16 nor its floats of one byte.
        value = value.detach()
        if value.is_meta:
            raise ValueError(f"{name}: expected a tensor with values, got one of the device meta")
        value = value.float() if str(value.dtype).startswith(("torch.bfloat16", "torch.float8")) else value
        value = value.cpu()
    array = as_array(value, name=name)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.itemsize < 4 else array


def _layers_of(arrays: Mapping[str, Array]) -> tuple[list[list[str]], list[str]]:
    """Ends of the names of each layer, by direction, and beginnings of the names; all together are those of arrays."""
    matches = []
    for name in arrays:
        match = _TORCH_NAME.fullmatch(name)
        if match is None or match["part"] == "weight_hr":
            reason = "a projection" if match else "another array"
            raise ValueError(f"weights: expected weights and biases of layers without {reason}, got {name!r}")
        matches.append(match)
    ends = ["", "_reverse"] if any(match["back"] for match in matches) else [""]
    numbers = [int(match["layer"]) for match in matches if match["layer"]]
    suffixes = [[f"_l{number}{end}" for end in ends] for number in range(max(numbers) + 1)] if numbers else [[""]]
    parts = ["weight_ih", "weight_hh"]
    parts += ["bias_ih", "bias_hh"] if any(name.startswith("bias") for name in arrays) else []
    expected = [part + suffix for layer in suffixes for suffix in layer for part in parts]
    for name in expected:
        if name not in arrays:
            raise ValueError(f"weights: expected {name!r} next to {min(arrays)!r}, got none")
    for name in arrays:
        if name not in expected:
            raise ValueError(f"weights: expected layers or one cell, got {name!r} next to {expected[0]!r}")
    return suffixes, parts


def _cell_of(name: str, shape: tuple[int, ...]) -> str:
    """The cell whose recurrent kernel has the shape (gH, H)."""
    for cell, gates in _TORCH_GATES.items():
        if len(shape) == 2 and shape[0] == len(gates) * shape[1] > 0:
            return cell
    raise ValueError(f"{name}: expected a recurrent kernel of H units and 1, 3 or 4 gates, got shape {shape}")


def _reorder(array: Array, gates: Sequence[int]) -> Array:
    """Blocks of the last axis in another order."""
    blocks = np.split(array, len(gates), axis=-1)
    return np.concatenate([blocks[gate] for gate in gates], axis=-1)


def _direction_from_torch(arrays: Sequence[Array], name: str, width: int | None, cell: str) -> list[Array]:
    """The arrays of one direction of a layer that reads ``width`` features, where that is known; ``name``: of one."""
    gates = _TORCH_GATES[cell]
    kernel, recurrent, *biases = arrays
    rows = len(gates) * recurrent.shape[-1] if recurrent.ndim == 2 else -1
    fits = kernel.ndim == 2 and recurrent.shape[:1] == (rows,) and len(kernel) == rows
    if not fits or width not in (None, kernel.shape[1]):
        high = "gH" if rows < 0 else rows
        raise ValueError(
            f"weights: expected ({high}, {width or 'D'}) and ({high}, H) for {cell!r}, "
            f"got {kernel.shape}, {recurrent.shape} for {name!r}"
        )
    layer = [np.ascontiguousarray(_reorder(kernel.T, gates)), np.ascontiguousarray(_reorder(recurrent.T, gates))]
    if biases:
        if any(bias.shape != (rows,) for bias in biases):
            shapes = ", ".join(str(bias.shape) for bias in biases)
            raise ValueError(f"weights: expected biases of shape ({rows},) for {name!r}, got {shapes}")
        layer.append(_reorder(np.stack(biases) if cell == "gru" else biases[0] + biases[1], gates))
    return layer


def to_torch(
    layers: Sequence[Sequence[Any]], cell: str | None = None, prefix: str = "", numbered: bool = True
) -> dict[str, Array]:
    """The inverse of :func:`from_torch`: a ``state_dict`` of a ``torch.nn.RNN``, ``LSTM``, ``GRU`` or cell, as arrays.

    ``module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(...).items()})`` takes it, in
    any precision of the module.

    Args:
        layers: ``layer.get_weights()`` of each layer; six arrays (four without biases) mean two directions.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"`` (with ``reset_after=True``); by default from the shape of the recurrent
            kernel.
        prefix: the start of the names, such as ``"encoder.lstm"``.
        numbered: False for a cell, whose names end without ``_l0``.

    Returns:
        name -> array; the second bias of RNN and LSTM is zero.

    Raises:
        ValueError: for shapes that do not fit, and for more than one layer and direction with ``numbered=False``.

    >>> kernel, recurrent, bias = np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)
    >>> sorted(to_torch([[kernel, recurrent, bias]], "lstm"))
    ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']
    """
    if cell is not None:
        choice("cell", cell, _TORCH_GATES)
    if not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a text, got {short_repr(prefix)}")
    start = f"{prefix.removesuffix('.')}." if prefix else ""
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"layers: expected a list of layer.get_weights(), got {short_repr(layers)}")
    if not boolean("numbered", numbered) and (len(layers) != 1 or len(layers[0]) > 3):
        raise ValueError("numbered: expected True for more than one layer and direction, got False")
    state: dict[str, Array] = {}
    for number, layer in enumerate(layers):
        arrays = [wide_array(f"layers[{number}]", array) for array in layer]
        if len(arrays) not in (2, 3, 4, 6):
            raise ValueError(f"layers: expected 2, 3, 4 or 6 arrays for layer {number}, got {len(arrays)}")
        size = 3 if len(arrays) in (3, 6) else 2
        for first, back in zip(range(0, len(arrays), size), ("", "_reverse")):
            suffix = f"_l{number}{back}" if numbered else ""
            for part, array in _direction_to_torch(arrays[first : first + size], cell).items():
                state[f"{start}{part}{suffix}"] = array
    return state


def _direction_to_torch(arrays: Sequence[Array], cell: str | None) -> dict[str, Array]:
    """The arrays of one direction, by the names of PyTorch without layer and direction."""
    kernel, recurrent, *biases = arrays
    units = len(recurrent) if recurrent.ndim == 2 else 0
    cell = cell or _cell_of("layers", recurrent.shape[::-1])
    gates = _TORCH_GATES[cell]
    back = [gates.index(gate) for gate in range(len(gates))]
    columns = len(gates) * units
    if kernel.shape[1:] != (columns,) or recurrent.shape[1:] != (columns,):
        raise ValueError(
            f"layers: expected kernels of {columns} columns for {cell!r}, got {kernel.shape}, {recurrent.shape}"
        )
    names = {"weight_ih": kernel, "weight_hh": recurrent}
    state = {name: np.ascontiguousarray(_reorder(array, back).T) for name, array in names.items()}
    for bias in biases:
        if bias.shape != ((2, columns) if cell == "gru" else (columns,)):
            wanted = f"(2, {columns}) (reset_after=True)" if cell == "gru" else f"({columns},)"
            raise ValueError(f"layers: expected a bias of shape {wanted}, got {bias.shape}")
        bias = _reorder(bias, back)
        state["bias_ih"], state["bias_hh"] = bias if cell == "gru" else (bias, np.zeros_like(bias))
    return state
