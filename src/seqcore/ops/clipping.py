"""Clipping of values (with a gradient), and of gradients by value, by norm and by their global norm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._core.optimizer import sum_squares
from .._validation import default_only, no_name, positive
from ..autograd import Gradient, IndexedSlices, Tensor, as_array, floatx, recorded
from ..typing import Array
from ._broadcast import as_tensor, float_tensor, unbroadcast

__all__ = ["clip", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def clip(x: Any, x_min: Any, x_max: Any) -> Tensor:
    """x, at least ``x_min`` and at most ``x_max``; the gradient is 0 where x was changed."""
    return _clip(as_tensor(x), _bound("x_min", x_min), _bound("x_max", x_max))


def _clip(a: Tensor, low: Array, high: Array) -> Tensor:
    if a.dtype.kind != "f" and "f" in (low.dtype.kind, high.dtype.kind):
        # Integers between fractions, or infinite bounds, become floats, as in Keras.
        a = float_tensor(a)
    p = a._array
    if p.dtype.kind == "f":
        low, high = low.astype(p.dtype, copy=False), high.astype(p.dtype, copy=False)
    inside = (p >= low) & (p <= high)
    clipped = np.minimum(np.maximum(p, low), high).astype(p.dtype, copy=False)
    return recorded(clipped, (a,), lambda g: (unbroadcast(np.where(inside, g, 0), a),))


def _bound(name: str, value: Any) -> Array:
    """A number or an array of numbers; infinite for no bound."""
    bound = as_array(value, name=name)
    if np.isnan(bound).any():
        raise ValueError(f"{name}: expected numbers, got NaN")
    return bound


def clip_by_value(t: Any, clip_value_min: float, clip_value_max: float, name: None = None) -> Any:
    """Each element at least ``clip_value_min`` and at most ``clip_value_max``.

    Args:
        t: a tensor or array; IndexedSlices stay such.
        clip_value_min, clip_value_max: the bounds.
        name: accepted only as None, here and below.

    >>> clip_by_value([-7.0, 0.5], -5, 5).numpy()
    array([-5. ,  0.5], dtype=float32)
    """
    no_name(name)
    low, high = _bound("clip_value_min", clip_value_min), _bound("clip_value_max", clip_value_max)
    if isinstance(t, IndexedSlices):
        t = t.unique()
        return t.with_values(np.clip(t.values, low.astype(t.dtype), high.astype(t.dtype)))
    return _clip(as_tensor(t), low, high)


def clip_by_norm(t: Any, clip_norm: float, axes: None = None, name: None = None) -> Any:
    """t times min(1, clip_norm / norm(t)), with the Euclidean norm of all elements.

    Args:
        t: a tensor or array; IndexedSlices stay such.
        clip_norm: positive number.
        axes: accepted only as None.

    >>> clip_by_norm([3.0, 4.0], 1.0).numpy().round(2)
    array([0.6, 0.8], dtype=float32)
    """
    no_name(name)
    default_only("axes", axes, None, "the norm is that of all elements")
    clip_norm = positive("clip_norm", clip_norm)
    if isinstance(t, IndexedSlices):
        t = t.unique()
        return t.with_values(t.values * t.dtype.type(finite_clip_scale(_norm([t.values]), clip_norm)))
    a = float_tensor(t)
    p = a._array
    norm = _norm([p])
    scale = a.dtype.type(finite_clip_scale(norm, clip_norm))

    def backward(g: Array) -> tuple[Gradient, ...]:
        dx = g * scale
        if norm > clip_norm:
            dx -= p * a.dtype.type(clip_norm * float((p * g).sum()) / norm**3)
        return (dx,)

    return recorded(p * scale, (a,), backward)


def global_norm(t_list: Iterable[Any], name: None = None) -> Tensor:
    """Euclidean norm of all elements of several gradients together; None is skipped. It has no gradient.

    >>> float(global_norm([[3.0], None, [4.0]]))
    5.0
    """
    no_name(name)
    return Tensor(np.asarray(_norm([_values(gradient) for gradient in t_list if gradient is not None]), floatx()))


def clip_by_global_norm(
    t_list: Iterable[Any], clip_norm: float, use_norm: Any = None, name: None = None
) -> tuple[list[Any], Tensor]:
    """Gradients times clip_norm / max(norm of all together, clip_norm).

    Args:
        t_list: tensors, arrays, IndexedSlices and None.
        clip_norm: positive number.
        use_norm: the global norm where the caller knows it already.

    Returns:
        The list in the same order, and the norm. A norm that is not finite makes every gradient NaN.

    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013.

    >>> clipped, norm = clip_by_global_norm([np.array([6.0]), np.array([8.0])], 5.0)
    >>> float(norm), [gradient.item() for gradient in clipped]
    (10.0, [3.0, 4.0])
    """
    no_name(name)
    clip_norm = positive("clip_norm", clip_norm)
    items = [item.unique() if isinstance(item, IndexedSlices) else item for item in t_list]
    norm = global_norm(items) if use_norm is None else as_tensor(use_norm)
    scale = finite_clip_scale(float(norm), clip_norm)

    def scaled(gradient: Any) -> Any:
        if gradient is None:
            return None
        values = _values(gradient)
        values = values * values.dtype.type(scale)
        return gradient.with_values(values) if isinstance(gradient, IndexedSlices) else Tensor(values)

    return [scaled(gradient) for gradient in items], norm


def clip_scale(norm: float, limit: float) -> float:
    """limit / max(norm, limit); NaN stays NaN."""
    return 1.0 if norm <= limit else limit / norm


def finite_clip_scale(norm: float, limit: float) -> float:
    """As :func:`clip_scale`, but NaN for every norm that is not finite."""
    return clip_scale(norm, limit) if math.isfinite(norm) else math.nan


def _values(gradient: Any) -> Array:
    """The values of a gradient as floats; duplicate rows are summed."""
    values = gradient.unique().values if isinstance(gradient, IndexedSlices) else as_array(gradient)
    return values if values.dtype.kind == "f" else values.astype(floatx())


def _norm(arrays: Sequence[Array]) -> float:
    total = 0.0
    # The core sums float32 and float64; other floats, such as float16, are widened first.
    known = [a if a.dtype in (np.float32, np.float64) else a.astype(np.float64) for a in arrays]
    for dtype in (np.float32, np.float64):
        same = [np.ascontiguousarray(a) for a in known if a.dtype == dtype and a.size]
        if same:
            total += sum_squares(same)
    return float(np.sqrt(total))
