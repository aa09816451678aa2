"""Activation functions and softmax, each with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._validation import axes_of
from ..autograd import Tensor, recorded
from ..typing import Array
from ._broadcast import Axis, as_tensor, flatten_steps, float_tensor, unary

__all__ = ["hard_sigmoid", "linear", "log_softmax", "relu", "sigmoid", "softmax", "softmax_backward", "tanh"]


def relu(x: Any) -> Tensor:
    """max(x, 0)."""
    return unary(as_tensor(x), lambda p: np.maximum(p, 0), lambda g, p, y: g * (y > 0))


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    return unary(float_tensor(x), np.tanh, lambda g, p, y: g * (1 - y * y))


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), without overflow."""
    return unary(float_tensor(x), _sigmoid, lambda g, p, y: g * y * (1 - y))


def _sigmoid(p: Array) -> Array:
    e = np.exp(-np.abs(p))
    y: Array = np.where(p >= 0, 1, e) / (1 + e)
    return y.astype(p.dtype, copy=False)


def hard_sigmoid(x: Any) -> Tensor:
    """x / 6 + 1/2, at least 0 and at most 1."""
    return unary(
        float_tensor(x),
        lambda p: np.clip(p / 6 + p.dtype.type(0.5), 0, 1),
        lambda g, p, y: g * ((p > -3) & (p < 3)) / 6,
    )


def linear(x: Any) -> Tensor:
    """x itself."""
    return as_tensor(x)


def shifted_exp(x: Array, axes: int | tuple[int, ...] = -1) -> tuple[Array, Array, Array]:
    """x - max(x), its exponentials and their sum along ``axes``: a softmax without overflow.

    All three have the memory order of x; the sum keeps ``axes`` with size 1.
    """
    shifted = np.empty_like(x)
    np.subtract(x, x.max(axes, keepdims=True, initial=-np.inf), out=shifted)
    exps = np.exp(shifted)
    return shifted, exps, exps.sum(axes, keepdims=True)


def softmax(x: Any, axis: Axis = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along one axis, over several together, or over all of them (None).

    >>> softmax([0.0, 0.0]).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    a = float_tensor(x)
    axes = axes_of(axis, a.ndim)
    if a.ndim >= 2 and axes == (a.ndim - 1,) and a.size:
        flat, restore = flatten_steps(a._array)
        y = restore(_core.dense.softmax(flat))
    else:
        _, exps, total = shifted_exp(a._array, axes)
        y = exps / total
    return recorded(y, (a,), lambda g: (softmax_backward(y, g, axes),))


def softmax_backward(y: Array, dy: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """Gradient of the logits for probabilities ``y`` and their gradient: y * (dy - sum(dy * y))."""
    dx = dy * y
    total = dx.sum(axis, keepdims=True)
    dx -= total * y
    return dx


def log_softmax(x: Any, axis: Axis = -1) -> Tensor:
    """log(softmax(x)) along one axis, over several together, or over all of them (None)."""
    a = float_tensor(x)
    axes = axes_of(axis, a.ndim)
    shifted, _, total = shifted_exp(a._array, axes)
    y = shifted - np.log(total)
    return recorded(y, (a,), lambda g: (g - np.exp(y) * g.sum(axes, keepdims=True),))


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (linear, tanh, relu, sigmoid, hard_sigmoid, softmax, log_softmax)
}

# Those that the kernels compute within a layer.
FUSED_ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "hard_sigmoid")


def activation_name(name: str, value: Any, allowed: Sequence[str]) -> str:
    """The name of an activation given as a name, as None (linear) or as a function of ``ops``.

    Raises:
        ValueError: for one that is not among ``allowed``; the message names the argument ``name``.
    """
    if value is None:
        return "linear"
    activation = value if isinstance(value, str) else str(getattr(value, "__name__", None))
    known = isinstance(value, str) or value is ACTIVATIONS.get(activation)
    if not known or activation not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    return activation
