"""Operations that change the shape of tensors or pick elements, with their gradients."""

from __future__ import annotations

from builtins import slice as _slice
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._validation import NUMBERS, as_dtype, axes_of, axis_of, integer, short_repr
from ..autograd import Gradient, IndexedSlices, Tensor, Variable, as_array, floatx, record, recorded
from ..typing import Array
from ._broadcast import Axis, as_ids, as_tensor, unbroadcast

__all__ = [
    "concat",
    "expand_dims",
    "gather",
    "ones",
    "ones_like",
    "reshape",
    "slice",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "unstack",
    "zeros",
    "zeros_like",
]

# --- shapes ----------------------------------------------------------------------------------------------------------


def _sizes(shape: Any, least: int = 0) -> tuple[int, ...]:
    """The sizes of a shape; a single number is a shape with one axis."""
    sizes = tuple(integer("shape", n) for n in (shape if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)))
    if any(n < least for n in sizes):
        raise ValueError(f"shape: expected sizes >= {least}, got {sizes}")
    return sizes


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The same elements in another shape; one size may be -1.

    Raises:
        ValueError: if the number of elements does not fit.
    """
    a = as_tensor(x)
    before, sizes = a.shape, _sizes(shape, -1)
    try:
        y = a._array.reshape(sizes)
    except ValueError:
        raise ValueError(f"shape: expected {a.size} elements for x of shape {before}, got {sizes}") from None
    return recorded(y, (a,), lambda g: (g.reshape(before),))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, reversed by default."""
    a = as_tensor(x)
    if axes is None:
        order = tuple(range(a.ndim))[::-1]
    else:
        if not isinstance(axes, (tuple, list, np.ndarray)) or not np.ndim(axes):
            raise TypeError(f"axes: expected a sequence of integers, got {short_repr(axes)}")
        order = tuple(axis_of(i, a.ndim, "axes") for i in axes)
        if len(order) != a.ndim or len(set(order)) < a.ndim:
            raise ValueError(f"axes: expected an order of {a.ndim} axes, got {tuple(axes)}")
    back = tuple(np.argsort(order))
    return recorded(a._array.transpose(order), (a,), lambda g: (g.transpose(back),))


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """New axes of size 1."""
    a = as_tensor(x)
    before = a.shape
    chosen = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = axes_of(chosen, a.ndim + len(chosen))
    return recorded(np.expand_dims(a._array, axes), (a,), lambda g: (g.reshape(before),))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Without the given axes of size 1 (all such axes by default)."""
    a = as_tensor(x)
    before = a.shape
    axes = tuple(i for i, n in enumerate(before) if n == 1) if axis is None else axes_of(axis, a.ndim)
    if any(before[i] != 1 for i in axes):
        raise ValueError(f"axis: expected axes of size 1 for x of shape {before}, got {axis!r}")
    return recorded(a._array.squeeze(axes), (a,), lambda g: (g.reshape(before),))


def _tensors(values: Any) -> list[Tensor]:
    if not isinstance(values, Iterable):
        raise TypeError(f"values: expected a list of tensors, got {short_repr(values)}")
    return [as_tensor(value) for value in values]


def concat(values: Sequence[Any], axis: int = -1) -> Tensor:
    """Several tensors one after another along ``axis``.

    >>> concat([[[1.0]], [[2.0]]], axis=1).numpy()
    array([[1., 2.]], dtype=float32)
    """
    parts = _tensors(values)
    if not parts:
        raise ValueError("values: expected at least one tensor, got none")
    axis = axis_of(axis, parts[0].ndim)
    try:
        y = np.concatenate([part._array for part in parts], axis)
    except ValueError:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"values: expected shapes that agree outside axis {axis}, got {shapes}") from None
    cuts = np.cumsum([part.shape[axis] for part in parts])[:-1]

    def backward(g: Array) -> Sequence[Gradient]:
        return [unbroadcast(piece, part) for piece, part in zip(np.split(g, cuts, axis), parts, strict=True)]

    return recorded(y, parts, backward)


def stack(values: Sequence[Any], axis: int = 0) -> Tensor:
    """Several tensors of one shape along a new axis."""
    parts = _tensors(values)
    if not parts or any(part.shape != parts[0].shape for part in parts):
        raise ValueError(f"values: expected tensors of one shape, got {[part.shape for part in parts]}")
    axis = axis_of(axis, parts[0].ndim + 1)
    y = np.stack([part._array for part in parts], axis)

    def backward(g: Array) -> Sequence[Gradient]:
        return [unbroadcast(piece, part) for piece, part in zip(np.moveaxis(g, axis, 0), parts, strict=True)]

    return recorded(y, parts, backward)


def _pieces(a: Tensor, arrays: list[Array], join: Callable[[list[Array]], Array]) -> list[Tensor]:
    """Tensors cut from one; the gradients of pieces that were not used are zero."""
    pieces = [Tensor(array) for array in arrays]

    def backward(*gradients: Gradient) -> tuple[Gradient, ...]:
        dense = [np.zeros_like(p) if g is None else np.asarray(g) for p, g in zip(arrays, gradients, strict=True)]
        return (join(dense),)

    record(pieces, (a,), backward)
    return pieces


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The slices along ``axis`` as a list, for instance the steps of a sequence with axis 1.

    ``num``, their number, is known from x and checked if given.

    >>> [float(piece) for piece in unstack([1.0, 2.0])]
    [1.0, 2.0]
    """
    a = as_tensor(x)
    axis = axis_of(axis, a.ndim)
    if num is not None and num != a.shape[axis]:
        raise ValueError(f"num: expected None or {a.shape[axis]}, the size of axis {axis}, got {num!r}")
    return _pieces(a, list(np.moveaxis(a._array, axis, 0)), lambda gs: np.stack(gs, axis) if gs else a._array)


def split(x: Any, num_or_size_splits: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Pieces along ``axis``: that many equal ones, or pieces of the given sizes."""
    a = as_tensor(x)
    axis = axis_of(axis, a.ndim)
    n = a.shape[axis]
    if not isinstance(num_or_size_splits, (tuple, list, np.ndarray)):
        count = integer("num_or_size_splits", num_or_size_splits)
        if count < 1 or n % count:
            raise ValueError(f"num_or_size_splits: expected a divisor of {n}, got {count}")
        sizes = [n // count] * count
    else:
        sizes = [integer("num_or_size_splits", size) for size in num_or_size_splits]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise ValueError(f"num_or_size_splits: expected sizes that sum to {n}, got {sizes}")
    return _pieces(a, np.split(a._array, np.cumsum(sizes)[:-1], axis), lambda gs: np.concatenate(gs, axis))


def gather(params: Any, indices: Any, axis: int = 0) -> Tensor:
    """The slices ``indices`` of ``params`` along ``axis``; a variable gets its gradient as IndexedSlices (axis 0).

    Raises:
        ValueError: for indices that are not integers or out of range.
    """
    a = as_tensor(params)
    axis = axis_of(axis, a.ndim)
    ids = as_ids(indices, "indices", a.shape[axis])

    def backward(g: Array) -> tuple[Gradient, ...]:
        if axis == 0 and isinstance(a, Variable):
            return (IndexedSlices(g.reshape((-1, *a.shape[1:])), ids.reshape(-1), a.shape).unique(),)
        dx = np.zeros(a.shape, a.dtype)
        place: Any = (_slice(None),) * axis + (ids,)
        np.add.at(dx, place, g)
        return (dx,)

    return recorded(np.take(a._array, ids, axis), (a,), backward)


def slice(x: Any, key: Any) -> Tensor:
    """x[key] with NumPy's indexing: slices, integers, None, index arrays."""
    a = as_tensor(x)
    parts = key if isinstance(key, tuple) else (key,)
    key = tuple(part._array if isinstance(part, Tensor) else part for part in parts)
    basic = all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, _slice)) for part in key)

    def backward(g: Array) -> tuple[Gradient, ...]:
        dx = np.zeros_like(a._array)
        if basic:
            dx[key] = g
        else:
            np.add.at(dx, key, g)
        return (dx,)

    return recorded(a._array[key], (a,), backward)


# --- new tensors and comparisons -------------------------------------------------------------------------------------


def zeros(shape: int | Sequence[int], dtype: DTypeLike | None = None) -> Tensor:
    """Zeros of ``floatx`` or the given type."""
    return Tensor(np.zeros(_sizes(shape), floatx() if dtype is None else as_dtype("dtype", dtype, NUMBERS)))


def ones(shape: int | Sequence[int], dtype: DTypeLike | None = None) -> Tensor:
    """Ones of ``floatx`` or the given type."""
    return Tensor(np.ones(_sizes(shape), floatx() if dtype is None else as_dtype("dtype", dtype, NUMBERS)))


def zeros_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros in the shape of x."""
    return Tensor(np.zeros_like(as_array(x), None if dtype is None else as_dtype("dtype", dtype, NUMBERS)))


def ones_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Ones in the shape of x."""
    return Tensor(np.ones_like(as_array(x), None if dtype is None else as_dtype("dtype", dtype, NUMBERS)))
