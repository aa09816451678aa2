"""Batch: the checked data of one step.

B: batch, T: time steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._validation import NUMBERS, as_lengths, check_whole, is_array, real
from ..autograd import Tensor, as_array
from ..typing import Array

_ONE_OUTPUT = "; a model with one loss has one output, one with several has a loss for each, loss=[...] or {...}"


class Batch(NamedTuple):
    """One step's data.

    Attributes:
        x: a Tensor (lengths and mask on it), or a list or dict of them.
        y: targets, an array or None; a list or dict of such for a model with several outputs.
        weight: sample weights, in the same forms.
    """

    x: Any
    y: Any
    weight: Any

    @property
    def inputs(self) -> list[Tensor]:
        """``x`` as a list, also of a single input."""
        x = self.x
        return [x] if isinstance(x, Tensor) else list(x.values()) if isinstance(x, dict) else x

    @property
    def size(self) -> int:
        x = self.x
        return int((x if isinstance(x, Tensor) else self.inputs[0]).shape[0])


def map_parts(function: Callable[[Any], Any], value: Any) -> Any:
    """``function`` of an array, or of each in a list or dict; None stays None."""
    if isinstance(value, list):
        return [map_parts(function, part) for part in value]
    if isinstance(value, dict):
        return {key: map_parts(function, part) for key, part in value.items()}
    return None if value is None else function(value)


def batch_arrays(batch: Batch) -> list[Array | None]:
    """All arrays of a batch: inputs with their lengths and masks, targets, weights."""
    arrays: list[Any] = [part for x in batch.inputs for part in (x._array, x.lengths, x.mask)]
    for value in (batch.y, batch.weight):
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        arrays += [None if part is None else as_array(part) for part in parts]
    return arrays


def cut_batch(batch: Batch, rows: Any) -> Batch:
    """Some rows of a batch, lengths and masks of its inputs included."""
    x, y, weight = batch
    parts = _cut_tensor(x, rows) if isinstance(x, Tensor) else map_parts(lambda part: _cut_tensor(part, rows), x)
    if isinstance(y, (list, dict)) or isinstance(weight, (list, dict)):
        return Batch(parts, *(map_parts(lambda part: as_array(part)[rows], value) for value in (y, weight)))
    y = None if y is None else as_array(y)[rows]
    return Batch(parts, y, None if weight is None else weight[rows])


def _cut_tensor(x: Tensor, rows: Any) -> Tensor:
    part = Tensor(x._array[rows])
    part.lengths = None if x.lengths is None else x.lengths[rows]
    part.mask = None if x.mask is None else x.mask[rows]
    return part


def _rows(name: str, value: Any) -> Array | Tensor:
    """``value`` as numbers with at least one axis."""
    plain = (type(value) is np.ndarray and value.dtype.kind in NUMBERS) or isinstance(value, Tensor)
    array = value if plain else as_array(value, name=name)
    if array.ndim == 0:
        raise ValueError(f"{name}: expected an array with a batch axis, got a single number")
    return array


def _are_arrays(values: Any) -> bool:
    """True for a list or tuple of arrays, each with a batch axis."""
    if not isinstance(values, (list, tuple)) or not values:
        return False
    return all(is_array(item) and getattr(item, "shape", True) for item in values)


def is_part(value: Any) -> bool:
    """True for x, y or weights of a batch: an array, or a list or dict of them."""
    return is_array(value) or isinstance(value, Mapping) or _are_arrays(value)


def as_inputs(value: Any) -> Any:
    """Input of a model: one array or, for models with several inputs, a list or dict of arrays."""
    if type(value) is np.ndarray:
        return _rows("x", value)
    if _are_arrays(value):
        return [_rows("x", item) for item in value]
    if isinstance(value, Mapping):
        if not value:
            raise ValueError("x: expected at least one input, got an empty dict")
        return {key: _rows(f"x[{key!r}]", item) for key, item in value.items()}
    if hasattr(value, "toarray"):
        raise TypeError(f"x: expected a dense array, got a {type(value).__name__}; pass x.toarray()")
    return _rows("x", value)


def _as_targets(name: str, value: Any, rows: int, several: bool | None) -> Any:
    """Targets or weights with one row for each row of x; ``several`` as in :func:`make_batch`.

    A list of one array is that array unless there are several outputs.
    """
    if type(value) is np.ndarray:
        return _one_target(name, value, rows)
    form = _ONE_OUTPUT if several is False else ""
    if isinstance(value, Mapping):
        if several is False:
            raise TypeError(f"{name}: expected an array, got a dict{form}")
        return map_parts(lambda part: _one_target(name, part, rows), dict(value))
    if isinstance(value, (list, tuple)):
        arrays = _are_arrays([part for part in value if part is not None])
        if arrays and several is not False and (several or len(value) != rows):
            return map_parts(lambda part: _one_target(name, part, rows), list(value))
        if arrays and len(value) not in (1, rows):
            raise ValueError(
                f"{name}: expected {rows} rows as in x, got a {type(value).__name__} of {len(value)}{form}"
            )
    if isinstance(value, (list, tuple)) and len(value) == 1 and _are_arrays(value) and len(value[0]) == rows:
        value = value[0]
    return _one_target(name, value, rows)


def _one_target(name: str, value: Any, rows: int) -> Array | Tensor:
    array = _rows(name, value)
    if array.shape[0] != rows:
        raise ValueError(f"{name}: expected {rows} rows as in x, got shape {array.shape}")
    return array


def _tensor(value: Any, lengths: Array | None) -> Tensor:
    """A tensor of the caller's array; a tensor stays itself unless lengths are added."""
    if isinstance(value, Tensor) and lengths is None:
        return value
    tensor = Tensor(value)
    tensor.lengths = lengths
    return tensor


def make_batch(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    lengths: Any = None,
    sparse: bool | None = None,
    several: bool | None = None,
) -> Batch:
    """Checked data of one step as the caller gave them.

    Args:
        x, y, sample_weight, class_weight, lengths: the arguments of ``train_on_batch``.
        sparse: as in :func:`_class_weights`.
        several: true for a model with several outputs, whose targets are lists or dicts; false for one with one output;
            None where that is not known.
    """
    inputs = as_inputs(x)
    parts = inputs if isinstance(inputs, list) else list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    rows = parts[0].shape[0]
    if rows == 0:
        raise ValueError(f"x: expected at least one row, got shape {parts[0].shape}")
    target = None if y is None else _as_targets("y", y, rows, several)
    weight = None
    if sample_weight is not None:
        weight = map_parts(_finite, _as_targets("sample_weight", sample_weight, rows, several))
    for part in parts[1:]:
        if part.shape[0] != rows:
            raise ValueError(f"x: expected inputs with the same number of rows, got {rows} and {part.shape[0]}")
    if class_weight is not None:
        if several or isinstance(target, (list, dict)) or isinstance(weight, (list, dict)):
            raise ValueError(
                "class_weight: expected None for a model with several outputs; pass sample_weight, one array per output"
            )
        weight = _class_weights(class_weight, target, weight, sparse)
    checked = None if lengths is None else as_lengths(lengths, parts[0].shape)
    if len(parts) == 1 and parts[0] is inputs:
        return Batch(_tensor(inputs, checked), target, weight)
    return Batch(map_parts(lambda part: _tensor(part, checked), inputs), target, weight)


def _finite(weight: Any) -> Array:
    """Sample weights, which must be finite numbers."""
    array = np.asarray(weight)
    if not np.isfinite(array).all():
        raise ValueError(f"sample_weight: expected finite numbers, got {array[~np.isfinite(array)].flat[0]}")
    return array


def plain(x: Any) -> Any:
    """The array of an input that carries neither lengths nor a mask."""
    if isinstance(x, (list, dict)):
        return map_parts(plain, x)
    return x._array if isinstance(x, Tensor) and x.mask is None and x.lengths is None else x


def pack_batch(batch: Batch) -> Any:
    """The argument ``data`` of a hook: x, (x, y) or (x, y, sample_weight)."""
    x = plain(batch.x)
    if batch.y is None and batch.weight is None:
        return (x,) if isinstance(x, list) else x
    y = map_parts(np.asarray, batch.y)
    return (x, y) if batch.weight is None else (x, y, batch.weight)


def _class_weights(
    class_weight: Mapping[int, float], y: Any, weight: Array | None, sparse: bool | None = None
) -> Array:
    """Sample weights times the weight of each target's class (1 for classes that are not named).

    Args:
        class_weight: class number -> weight.
        y: class ids, also one per step, or one-hot targets.
        weight: sample weights or None.
        sparse: whether y holds ids (True) or one number per class (False); None: targets with several numbers along
            their last axis are one-hot if they look so.
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight: expected a dict class -> weight, got {type(class_weight).__name__}")
    if y is None:
        raise ValueError("class_weight: expected targets y to weight, got none")
    table: dict[int, float] = {}
    for number, value in class_weight.items():
        if not isinstance(number, (int, float, np.number)) or not number >= 0 or number % 1:
            raise ValueError(f"class_weight: expected class numbers from 0, got {number!r}")
        table[int(number)] = real("class_weight", value)
    ids, places = np.unique(_classes(as_array(y), sparse), return_inverse=True)
    weights = np.array([table.get(int(number), 1.0) for number in ids])[places]
    if weight is None:
        return weights
    axes = max(weights.ndim, weight.ndim)
    first, second = (array.reshape(array.shape + (1,) * (axes - array.ndim)) for array in (weights, weight))
    try:
        return np.asarray(first * second)
    except ValueError:
        raise ValueError(
            f"sample_weight: expected shape {weights.shape}, as class_weight gives it for y, or its leading axes, got "
            f"{weight.shape}"
        ) from None


def _classes(y: Array, sparse: bool | None) -> Array:
    """Class number of each target; see :func:`_class_weights`."""
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    elif y.ndim > 1 and not sparse:
        zeros_and_ones = ((y == 0) | (y == 1)).all() and (y.sum(axis=-1) == 1).all()
        # Targets that are not whole numbers are probabilities of the classes.
        if sparse is False or zeros_and_ones or (y.dtype.kind == "f" and (y % 1 != 0).any()):
            return np.asarray(y.argmax(-1))
    check_whole("y", y, "class numbers that class_weight can name")
    return y


def unpack_batch(item: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight (None where there are none) of a batch in a tuple, or in a list of arrays."""
    if isinstance(item, list) and any(map(is_part, item)):
        item = tuple(item)
    if not isinstance(item, tuple):
        return item, None, None
    if not 1 <= len(item) <= 3:
        raise ValueError(f"x: expected batches x, (x, y) or (x, y, sample_weight), got {len(item)} parts")
    x, y, weight = (*item, None, None)[:3]
    return x, y, weight
