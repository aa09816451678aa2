"""Reductions, sample weights, masks and checked targets, as losses and metrics share them.

S: shape of the per-sample losses, which is that of y_pred without its last axis: (B,) or (B, T).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._validation import check_range, check_whole, choice
from ..autograd import Tensor, as_array, float_dtype, tensor_mask
from ..typing import Array

REDUCTIONS = ("mean", "sum", "batch_mean", "none")


# --- weights and masks ------------------------------------------------------------------------------------------------


def standard_reduction(reduction: str | None) -> str:
    """The canonical name of a ``reduction=`` argument.

    >>> standard_reduction("sum_over_batch_size")
    'mean'
    """
    if reduction in REDUCTIONS:
        return str(reduction)
    name = {None: "none", "sum_over_batch_size": "mean"}.get(reduction, reduction)
    return str(choice("reduction", name, REDUCTIONS))


def drop_last_axis(array: Array, ndim: int) -> Array:
    """``array`` without a last axis of size 1 that it has beyond ``ndim`` axes."""
    return array[..., 0] if array.ndim == ndim + 1 and array.shape[-1] == 1 else array


def expand_to(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """``value`` as an array that broadcasts to ``shape``: leading axes, all axes, or all axes and one of size 1."""
    array = drop_last_axis(as_array(value), len(shape))
    given = array.shape
    if array.ndim < len(shape):
        array = array.reshape(given + (1,) * (len(shape) - array.ndim))
    if array.ndim != len(shape) or any(a not in (1, b) for a, b in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name}: expected shape {shape} or its leading axes, got {given}")
    return array


def mask_of(y_pred: Any, shape: tuple[int, ...], mask: Any = None) -> Array | None:
    """The mask of a loss or metric whose per-sample values have ``shape``: bool of that shape, or None.

    ``mask`` wins over the one that the tensor ``y_pred`` carries: its ``mask``, or the steps within its ``lengths``.
    """
    if mask is None and isinstance(y_pred, Tensor):
        if y_pred.lengths is not None and len(shape) < 2:
            raise ValueError(f"lengths: expected y_pred with a time axis, got per-sample losses of shape {shape}")
        mask = tensor_mask(y_pred)
    if mask is None:
        return None
    return np.broadcast_to(expand_to("mask", mask, shape).astype(bool, copy=False), shape)


def step_weights(
    reduction: str | None,
    shape: tuple[int, ...],
    sample_weight: Any = None,
    mask: Any = None,
    dtype: DTypeLike | None = None,
) -> Array:
    """The weight of each per-sample loss in the scalar loss: ``loss = sum(weights * per-sample losses)``.

    Args:
        reduction: "mean" divides by the number of per-sample losses, with a mask by the number of valid ones;
            "batch_mean" by the batch size; "sum" and "none" by nothing.
        shape: S, the shape of the per-sample losses.
        sample_weight: S or its leading axes.
        mask: S or its leading axes, bool; False leaves a per-sample loss out.
        dtype: type of the result; ``floatx`` by default.

    Returns:
        (S) float array, C-contiguous. A mask without any valid step gives zeros.

    >>> step_weights("mean", (2, 2), mask=[[True, True], [True, False]], dtype="float64").round(3)
    array([[0.333, 0.333],
           [0.333, 0.   ]])
    """
    reduction = standard_reduction(reduction)
    kept = None if mask is None else mask_of(None, shape, mask)
    divisor = 1
    if reduction == "mean":
        divisor = math.prod(shape) if kept is None else int(np.count_nonzero(kept))
    elif reduction == "batch_mean" and shape:
        divisor = shape[0]
    weights = np.full(shape, 1.0 / max(divisor, 1), float_dtype(dtype))
    if sample_weight is not None:
        weights *= expand_to("sample_weight", sample_weight, shape)
    if kept is not None:
        weights[~kept] = 0
    return weights


# --- targets ----------------------------------------------------------------------------------------------------------


def squeeze_ids(y_true: Any, shape: tuple[int, ...], name: str = "y_true") -> Array:
    """Class ids of that shape, from ids that may have a last axis of size 1."""
    ids = drop_last_axis(as_array(y_true), len(shape))
    if ids.shape != shape:
        hint = "; one-hot targets need categorical_crossentropy" if ids.shape[:-1] == shape else ""
        raise ValueError(f"{name}: expected class ids of shape {shape}, got shape {ids.shape}{hint}")
    return ids


def whole_class_ids(y_true: Any, shape: tuple[int, ...], mask: Array | None = None, name: str = "y_true") -> Array:
    """Class ids of that shape that are whole numbers; those where ``mask`` is False may be any.

    Raises:
        ValueError: for fractions and NaN.
    """
    ids = squeeze_ids(y_true, shape, name)
    check_whole(name, ids, "whole numbers as class ids", mask)
    return ids


def class_ids(
    y_true: Any, classes: int, shape: tuple[int, ...], mask: Array | None = None, name: str = "y_true"
) -> Array:
    """Checked class ids of ``shape``, int32.

    Args:
        y_true: ids 0...classes-1 of ``shape`` or ``shape + (1,)``; floats must be whole numbers.
        mask: bool of ``shape``; where it is False any id is allowed and becomes 0.
        name: of the argument, for errors.

    Raises:
        ValueError: for another shape, for fractions and NaN, and for ids out of range.

    >>> class_ids([[2.0], [0.0]], 3, (2,))
    array([2, 0], dtype=int32)
    """
    ids = whole_class_ids(y_true, shape, mask, name)
    if mask is not None:
        ids = np.where(mask, ids, 0)
    check_range(name, ids, classes, "class ids")
    return ids.astype(np.int32, copy=False)


def same_rank(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Targets and predictions of one rank for custom functions, which would broadcast (B,) and (B, 1) to a table.

    Args:
        y_true: targets; a last axis of size 1 may be missing or superfluous. Booleans and integers whose arithmetic
            would wrap around become numbers of the type of y_pred.
        y_pred: the predictions, a Tensor or an array.

    Returns:
        Both with one rank where they differ by such an axis, otherwise as they are.

    >>> [array.shape for array in same_rank(np.zeros(3), np.zeros((3, 1)))]
    [(3, 1), (3, 1)]
    """
    t: Any = y_true if isinstance(y_true, Tensor) else as_array(y_true, name="y_true")
    if t.dtype.kind in "bu" or (t.dtype.kind == "i" and t.dtype.itemsize < 4):
        t = as_array(t).astype(y_pred.dtype)
    if t.ndim == y_pred.ndim + 1 and t.shape[-1] == 1:
        return (t, y_pred[:, None]) if y_pred.ndim == 1 else (t[..., 0], y_pred)
    if y_pred.ndim == t.ndim + 1 and y_pred.shape[-1] == 1:
        return (t[:, None], y_pred) if t.ndim == 1 else (t, y_pred[..., 0])
    return t, y_pred


def same_shape(y_true: Any, y_pred: Array) -> tuple[Array, Array]:
    """Targets and predictions of one shape and type; a last axis of size 1 may be missing from either."""
    x = y_pred[:, None] if y_pred.ndim == 1 else y_pred
    t = drop_last_axis(as_array(y_true), x.ndim)
    if t.ndim == x.ndim - 1 and x.shape[-1] == 1:
        t = t[..., None]
    if t.shape != x.shape:
        raise shape_error(as_array(y_true), y_pred)
    return t.astype(x.dtype, copy=False), x


def shape_error(t: Array, x: Array) -> ValueError:
    """The error for targets ``t`` that do not have the shape of the predictions ``x``."""
    ids = t.dtype.kind in "iu" and t.shape in (x.shape[:-1], (*x.shape[:-1], 1))
    hint = "; class ids need sparse_categorical_crossentropy" if ids else ""
    return ValueError(f"y_true: expected the shape of y_pred, {x.shape}, got {t.shape}{hint}")


def as_float_array(value: Any) -> Array:
    """Predictions as a float32 or float64 array; other types are cast to ``floatx``."""
    array = as_array(value, name="y_pred")
    return array if array.dtype in (np.float32, np.float64) else array.astype(float_dtype(None))
