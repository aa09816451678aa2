"""Activation functions and softmax, each with its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._validation import axes_of, boolean, real
from ..autograd import Gradient, Tensor, recorded
from ..typing import Array
from ._broadcast import Axis, as_tensor, flatten_steps, float_tensor, unary

__all__ = [
    "elu",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_backward",
    "softplus",
    "tanh",
]


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


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """x where it is above 0, else negative_slope * x.

    >>> leaky_relu([-1.0, 2.0]).numpy()
    array([-0.2,  2. ], dtype=float32)
    """
    slope = real("negative_slope", negative_slope)
    return unary(
        float_tensor(x), lambda p: np.where(p > 0, p, slope * p), lambda g, p, y: np.where(p > 0, g, slope * g)
    )


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where it is above 0, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by ELUs, 2015.
    """
    factor = real("alpha", alpha)
    return unary(
        float_tensor(x),
        lambda p: np.where(p > 0, p, factor * np.expm1(np.minimum(p, 0))),
        lambda g, p, y: np.where(p > 0, g, g * (y + factor)),
    )


def softplus(x: Any) -> Tensor:
    """log(exp(x) + 1), without overflow."""
    return unary(float_tensor(x), lambda p: np.logaddexp(p, p.dtype.type(0)), lambda g, p, y: g * _sigmoid(p))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, 2017.
    """

    def backward(g: Array, p: Array, y: Array) -> Array:
        s = _sigmoid(p)
        dx: Array = g * (s + y * (1 - s))
        return dx

    return unary(float_tensor(x), lambda p: p * _sigmoid(p), backward)


def gelu(x: Any, approximate: bool = True) -> Tensor:
    """x times the probability that a number of the standard normal distribution is below x.

    Args:
        x: numbers.
        approximate: whether that probability is (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2, as by default
            here and in Keras's operation; the activation ``"gelu"`` of a layer is exact.

    Source: Hendrycks and Gimpel, Gaussian error linear units, 2016.

    >>> gelu([-1.0, 0.0, 2.0], approximate=False).numpy().round(4)
    array([-0.1587,  0.    ,  1.9545], dtype=float32)
    """
    return _gelu_tanh(x) if boolean("approximate", approximate) else _gelu_exact(x)


def _gelu_exact(x: Any) -> Tensor:
    a = float_tensor(x)
    p = a._array
    cdf = _core.dense.normal_cdf(np.ascontiguousarray(p).reshape(-1)).reshape(p.shape)

    def backward(g: Array) -> tuple[Gradient, ...]:
        return (g * (cdf + p * np.exp(-p * p / 2) / math.sqrt(2 * math.pi)),)

    return recorded(p * cdf, (a,), backward)


def _gelu_tanh(x: Any) -> Tensor:
    a = float_tensor(x)
    p = a._array
    factor, cubic = math.sqrt(2 / math.pi), 0.044715
    cdf = (1 + np.tanh(factor * (p + cubic * p**3))) / 2

    def backward(g: Array) -> tuple[Gradient, ...]:
        return (g * (cdf + 2 * p * cdf * (1 - cdf) * factor * (1 + 3 * cubic * p * p)),)

    return recorded(p * cdf, (a,), backward)


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
    **{function.__name__: function for function in (linear, tanh, relu, sigmoid, hard_sigmoid, softmax, log_softmax)},
    **{function.__name__: function for function in (elu, leaky_relu, silu, softplus)},
    # Not the operation, whose default is the approximation.
    "gelu": _gelu_exact,
}

# Those that the kernels compute within a layer.
FUSED_ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "hard_sigmoid")
# Those that follow a layer in a stream.
STREAM_ACTIVATIONS = (*FUSED_ACTIVATIONS, "softmax")


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
