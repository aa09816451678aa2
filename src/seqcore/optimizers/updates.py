"""Updates as the core takes them: gradients checked against their variables, clipped by norm, grouped by type."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._core.optimizer import is_sorted_unique, sum_squares
from ..autograd import IndexedSlices, Variable, as_array
from ..ops.clipping import clip_scale
from ..typing import Array, Arrays


class Update(NamedTuple):
    """One array to update: parameters, their gradient (an array or an ``IndexedSlices``), and the optimizer's slots of
    the same shape."""

    param: Array
    gradient: Any
    slots: Arrays


def by_dtype(updates: list[Update]) -> list[list[Update]]:
    """The updates in groups of one type."""
    groups: dict[Any, list[Update]] = {}
    for update in updates:
        groups.setdefault(update.param.dtype, []).append(update)
    return list(groups.values())


def checked_gradient(gradient: Any, variable: Variable) -> Array | IndexedSlices:
    """The gradient in the variable's type and shape, contiguous; slices with ascending rows.

    Raises:
        ValueError: for another shape, and for rows that the variable does not have.
        TypeError: for a type that is not real.
    """
    shape, dtype = variable._array.shape, variable._array.dtype
    if type(gradient) is IndexedSlices and gradient.shape == shape and gradient.values.dtype is dtype:
        # Slices as the kernels make them, the usual case.
        if gradient._sorted_indices is gradient.indices:
            return gradient
    values = gradient if isinstance(gradient, (IndexedSlices, np.ndarray)) else as_array(gradient)
    if values.shape != shape:
        raise ValueError(f"gradients: expected shape {shape} for variable {variable.name!r}, got {values.shape}")
    if values.dtype is not dtype and values.dtype.kind != "f":
        raise TypeError(f"gradients: expected {dtype} for variable {variable.name!r}, got {values.dtype}")
    if isinstance(values, IndexedSlices):
        return _checked_slices(values, variable)
    return np.asarray(values, dtype, order="C")


def _checked_slices(gradient: IndexedSlices, variable: Variable) -> IndexedSlices:
    rows, bound = gradient.indices, variable.shape[gradient.axis]
    if rows.ndim != 1:
        raise ValueError(f"gradients: expected indices with one axis for variable {variable.name!r}, got {rows.shape}")
    if not is_sorted_unique(np.ascontiguousarray(rows), bound):
        gradient = gradient.unique()
        rows = gradient.indices
        if rows[0] < 0 or rows[-1] >= bound:
            lines = "columns" if gradient.axis else "rows"
            bad = rows[0] if rows[0] < 0 else rows[-1]
            raise ValueError(f"gradients: expected {lines} 0...{bound - 1} of {variable.name!r}, got {bad}")
    return IndexedSlices(np.ascontiguousarray(gradient.values, variable.dtype), rows, gradient.shape, gradient.axis)


def stored_values(gradient: Array | IndexedSlices) -> Array:
    """All elements of a gradient that may differ from zero."""
    return gradient.values if isinstance(gradient, IndexedSlices) else gradient


def clip_gradient(gradient: Array | IndexedSlices, clipnorm: float) -> Array | IndexedSlices:
    """The gradient, scaled to at most this norm."""
    values = stored_values(gradient)
    scale = clip_scale(math.sqrt(sum_squares([values])), clipnorm)
    if scale == 1.0:
        return gradient
    with np.errstate(all="ignore"):
        # An array even where it has no axes: NumPy's product is then a scalar, which the core does not take.
        scaled: Array = np.asarray(values * values.dtype.type(scale))
    return gradient.with_values(scaled) if isinstance(gradient, IndexedSlices) else scaled
