"""The single losses and their gradients, forward and backward side by side.

ids: (S) int32; t, x: (S, V); weights: (S), gradient of the scalar loss by each single loss. All keep the memory order
of x, so that a time-major view stays one. Formulas are those of Keras 3; probabilities are clipped to [1e-7, 1 - 1e-7].
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..ops.activations import shifted_exp
from ..typing import Array

EPSILON = 1e-7


def _at(x: Array, ids: Array) -> Array:
    return np.take_along_axis(x, ids[..., None], -1)[..., 0]


def _inside(x: Array) -> Array:
    """Where clipping to [EPSILON, 1 - EPSILON] lets the gradient pass; NaN passes."""
    return ~((x < EPSILON) | (x > 1.0 - EPSILON))


def sparse_logits_forward(ids: Array, x: Array) -> tuple[Array, Any]:
    """log(sum_j exp(x_j)) - x_id."""
    shifted, exps, total = shifted_exp(x)
    total = total[..., 0]
    return np.log(total) - _at(shifted, ids), (ids, exps, total)


def sparse_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (softmax(x) - onehot(id))."""
    ids, exps, total = saved
    dx = np.empty_like(exps)
    np.multiply(exps, (weights / total)[..., None], out=dx)
    np.put_along_axis(dx, ids[..., None], (_at(dx, ids) - weights)[..., None], -1)
    return cast(Array, dx)


def sparse_probabilities_forward(ids: Array, x: Array) -> tuple[Array, Any]:
    """-log(clip(q_id)) with q = x / sum(x)."""
    total = x.sum(axis=-1)
    q = _at(x, ids) / total
    return -np.log(np.clip(q, EPSILON, 1.0 - EPSILON)), (ids, q, total, x)


def sparse_probabilities_backward(saved: Any, weights: Array) -> Array:
    """d(-log q_id)/dx_j = 1/sum(x) - [j = id] / x_id."""
    ids, q, total, x = saved
    share = np.where(_inside(q), weights, 0) / total
    dx = np.empty_like(x)
    dx[...] = share[..., None]
    np.put_along_axis(dx, ids[..., None], (share - np.where(share == 0, 0, share / q))[..., None], -1)
    return cast(Array, dx)


def categorical_logits_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """-sum_j t_j * log_softmax(x)_j."""
    shifted, exps, total = shifted_exp(x)
    shifted -= np.log(total)
    return -(t * shifted).sum(axis=-1), (t, exps, total[..., 0])


def categorical_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (softmax(x) * sum(t) - t)."""
    t, exps, total = saved
    dx = np.empty_like(exps)
    np.multiply(exps, (weights * t.sum(axis=-1) / total)[..., None], out=dx)
    dx -= t * weights[..., None]
    return cast(Array, dx)


def categorical_probabilities_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """-sum_j t_j * log(clip(q_j)) with q = x / sum(x)."""
    total = x.sum(axis=-1, keepdims=True)
    q = x / total
    return -(t * np.log(np.clip(q, EPSILON, 1.0 - EPSILON))).sum(axis=-1), (t, q, total)


def categorical_probabilities_backward(saved: Any, weights: Array) -> Array:
    """With g_j = -t_j / q_j: (g - sum(g * q)) / sum(x)."""
    t, q, total = saved
    g = np.empty_like(q)
    np.multiply(t, -weights[..., None], out=g)
    g /= q
    g[~_inside(q)] = 0
    g -= (g * q).sum(axis=-1, keepdims=True)
    g /= total
    return cast(Array, g)


def binary_logits_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j max(x, 0) - x * t + log(1 + exp(-|x|))."""
    small = np.exp(-np.abs(x))
    return (np.maximum(x, 0) - x * t + np.log1p(small)).mean(axis=-1), (t, x, small)


def binary_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (sigmoid(x) - t) / n."""
    t, x, small = saved
    dx = np.where(x >= 0, 1, small) / (1 + small)
    dx -= t
    dx *= (weights / x.shape[-1])[..., None]
    return cast(Array, dx)


def binary_probabilities_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j -(t * log(p) + (1 - t) * log(1 - p)) with p = clip(x)."""
    p = np.clip(x, EPSILON, 1.0 - EPSILON)
    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean(axis=-1), (t, x, p)


def binary_probabilities_backward(saved: Any, weights: Array) -> Array:
    """weights * ((1 - t) / (1 - p) - t / p) / n."""
    t, x, p = saved
    dx = np.empty_like(p)
    np.subtract((1 - t) / (1 - p), t / p, out=dx)
    dx *= (weights / x.shape[-1])[..., None]
    dx[~_inside(x)] = 0
    return cast(Array, dx)


def squared_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j (x - t)^2."""
    difference = np.empty_like(x)
    np.subtract(x, t, out=difference)
    return np.square(difference).mean(axis=-1), difference


def squared_backward(saved: Any, weights: Array) -> Array:
    """2 * weights * (x - t) / n."""
    dx = np.empty_like(saved)
    np.multiply(saved, (2.0 / saved.shape[-1] * weights)[..., None], out=dx)
    return cast(Array, dx)
