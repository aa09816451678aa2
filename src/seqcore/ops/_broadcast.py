"""Shared helpers of the operations: conversion to tensors, types and broadcasting, steps as rows, ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._validation import check_range, check_whole, plain_array
from ..autograd import Tensor, floatx, recorded
from ..typing import Array

Axis = int | Sequence[int] | None


def as_tensor(x: Any) -> Tensor:
    """``x`` itself if it is a tensor, else a new one."""
    return x if isinstance(x, Tensor) else Tensor(x)


def float_tensor(x: Any) -> Tensor:
    """As :func:`as_tensor`; integers and booleans become ``floatx``."""
    t = x if isinstance(x, Tensor) else Tensor(x)
    return t if t._array.dtype.kind == "f" else Tensor(t._array, floatx())


def unary(a: Tensor, function: Callable[[Array], Any], backward: Callable[[Array, Array, Array], Array]) -> Tensor:
    """function(a), elementwise; ``backward`` maps (gradient of the result, a, result) to the gradient of a."""
    p = a._array
    y = function(p)
    return recorded(y, (a,), lambda g: (backward(g, p, y),))


def unbroadcast(gradient: Array, x: Tensor) -> Array:
    """The gradient of a broadcast ``x``: summed over the axes that were stretched, in the type of ``x``."""
    shape, g = x.shape, gradient
    if g.shape != shape:
        if g.ndim > len(shape):
            g = g.sum(axis=tuple(range(g.ndim - len(shape))))
        stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
        if stretched:
            g = g.sum(axis=stretched, keepdims=True)
    return g if g.dtype == x.dtype else g.astype(x.dtype)


def promote(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one type: that of the tensor among them, or the wider one."""
    x, y = isinstance(a, Tensor), isinstance(b, Tensor)
    s, t = as_tensor(a), as_tensor(b)
    if s.dtype != t.dtype:
        if t.dtype.kind != "f" and s.dtype.kind == "f" or x and not y and s.dtype.kind == "f":
            t = Tensor(t._array, s.dtype)
        elif s.dtype.kind != "f" and t.dtype.kind == "f" or y and not x and t.dtype.kind == "f":
            s = Tensor(s._array, t.dtype)
    return s, t


# --- steps as rows ---------------------------------------------------------------------------------------------------


def _is_time_major(array: Array) -> bool:
    return array.ndim == 3 and not array.flags.c_contiguous and array.transpose(1, 0, 2).flags.c_contiguous


def flatten_steps(array: Array) -> tuple[Array, Callable[[Array], Array]]:
    """All steps of a batch as the rows of a matrix, without a copy where memory allows.

    Args:
        array: (..., K), for instance (B, T, K) in C order or as a time-major view.

    Returns:
        The C-contiguous matrix (R, K), whose rows follow memory (a time-major view gives row t * B + b), and a function
        that gives a matrix (R, N) the shape (..., N) again.

    Raises:
        ValueError: for an array without axes or with one axis.

    >>> x = np.zeros((5, 3, 2)).transpose(1, 0, 2)
    >>> flat, restore = flatten_steps(x)
    >>> flat.shape, np.shares_memory(flat, x), restore(flat).shape
    ((15, 2), True, (3, 5, 2))
    """
    if array.ndim == 2:
        return np.ascontiguousarray(array), _as_it_is
    if array.ndim < 2:
        raise ValueError(f"array: expected at least 2 axes, got shape {array.shape}")
    if _is_time_major(array):
        b, t, k = array.shape
        return array.transpose(1, 0, 2).reshape(t * b, k), lambda m: m.reshape(t, b, m.shape[1]).transpose(1, 0, 2)
    lead = array.shape[:-1]
    return np.ascontiguousarray(array).reshape(-1, array.shape[-1]), lambda m: m.reshape(*lead, m.shape[1])


def _as_it_is(matrix: Array) -> Array:
    return matrix


def flatten_like(values: Array, array: Array) -> Array:
    """``values`` (targets, weights, gradients) flattened in the row order of ``flatten_steps(array)``.

    Args:
        values: (...) or (..., N) with the leading axes of ``array``.
        array: (..., K), the array given to :func:`flatten_steps`.

    Returns:
        (R,) or C-contiguous (R, N).

    >>> x = np.zeros((2, 2, 1)).transpose(1, 0, 2)
    >>> flatten_like(np.array([[0, 1], [2, 3]]), x)
    array([0, 2, 1, 3])
    """
    lead = array.shape[:-1]
    if values.shape[: len(lead)] != lead or values.ndim > len(lead) + 1:
        raise ValueError(f"values: expected leading axes {lead}, got shape {values.shape}")
    if len(lead) == 1:
        return np.ascontiguousarray(values)
    if _is_time_major(array):
        values = values.swapaxes(0, 1)
    return np.ascontiguousarray(values).reshape((-1, *values.shape[len(lead) :]))


# --- ids -------------------------------------------------------------------------------------------------------------


def as_ids(value: Any, name: str, bound: int) -> Array:
    """Whole numbers 0...bound-1 as an int64 (or the given int32) array; floats must be integral.

    Raises:
        ValueError: naming ``name`` for NaN, fractions and numbers out of range.
        TypeError: for anything but numbers.
    """
    # Not as_array: float32 holds no large ids.
    ids = plain_array(name, value)
    is_known = ids.dtype in (np.int64, np.int32)
    if not is_known:
        if ids.size and ids.dtype.kind not in "iuf":
            raise TypeError(f"{name}: expected whole numbers 0...{bound - 1}, got type {ids.dtype}")
        check_whole(name, ids, f"whole numbers 0...{bound - 1}")
    check_range(name, ids, bound)
    return ids if is_known else ids.astype(np.int64)
