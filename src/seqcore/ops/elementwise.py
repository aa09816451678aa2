"""Elementwise operations and comparisons, each with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._validation import NUMBERS, as_dtype
from ..autograd import Gradient, Tensor, as_array, floatx, recorded
from ..typing import Array
from ._broadcast import as_tensor, float_tensor, promote, unary, unbroadcast

__all__ = [
    "abs",
    "add",
    "cast",
    "divide",
    "equal",
    "exp",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "sqrt",
    "square",
    "subtract",
    "where",
]


def _elementwise(function: Callable[[Array, Array], Any], a: Tensor, b: Tensor) -> Any:
    """A broadcasting function of NumPy, whose error names the second operand."""
    try:
        return function(a._array, b._array)
    except ValueError:
        raise ValueError(f"y: expected a shape that broadcasts with {a.shape}, got {b.shape}") from None


# --- arithmetic ------------------------------------------------------------------------------------------------------


def add(x: Any, y: Any) -> Tensor:
    """x + y with broadcasting."""
    a, b = promote(x, y)
    return recorded(_elementwise(np.add, a, b), (a, b), lambda g: (unbroadcast(g, a), unbroadcast(g, b)))


def subtract(x: Any, y: Any) -> Tensor:
    """x - y with broadcasting."""
    a, b = promote(x, y)
    return recorded(_elementwise(np.subtract, a, b), (a, b), lambda g: (unbroadcast(g, a), unbroadcast(-g, b)))


def multiply(x: Any, y: Any) -> Tensor:
    """x * y with broadcasting.

    >>> multiply([1.0, 2.0], 3).numpy()
    array([3., 6.], dtype=float32)
    """
    a, b = promote(x, y)
    p, q = a._array, b._array
    return recorded(_elementwise(np.multiply, a, b), (a, b), lambda g: (unbroadcast(g * q, a), unbroadcast(g * p, b)))


def divide(x: Any, y: Any) -> Tensor:
    """x / y with broadcasting; a quotient of integers has the type ``floatx``."""
    a, b = promote(x, y)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        a, b = Tensor(a._array, floatx()), Tensor(b._array, floatx())
    p, q = a._array, b._array
    return recorded(
        _elementwise(np.divide, a, b), (a, b), lambda g: (unbroadcast(g / q, a), unbroadcast(-g * p / (q * q), b))
    )


def negative(x: Any) -> Tensor:
    """-x."""
    return unary(as_tensor(x), np.negative, lambda g, p, y: -g)


def power(x: Any, y: Any) -> Tensor:
    """x ** y; the exponent has a gradient where the base is above 0."""
    a, b = promote(x, y)
    p, q = a._array, b._array
    z = _elementwise(np.power, a, b)

    def backward(g: Array) -> tuple[Gradient, ...]:
        dx = unbroadcast(g * q * p ** np.where(q == 0, np.ones_like(q), q - 1), a)
        if not isinstance(y, Tensor):
            return dx, None
        return dx, unbroadcast(g * z * np.log(np.where(p > 0, p, np.ones_like(p))), b)

    return recorded(z, (a, b), backward)


# --- elementwise functions -------------------------------------------------------------------------------------------


def square(x: Any) -> Tensor:
    """x * x."""
    return unary(as_tensor(x), lambda p: p * p, lambda g, p, y: 2 * g * p)


def sqrt(x: Any) -> Tensor:
    """Square root."""
    return unary(float_tensor(x), np.sqrt, lambda g, p, y: g / (2 * y))


def exp(x: Any) -> Tensor:
    """e ** x."""
    return unary(float_tensor(x), np.exp, lambda g, p, y: g * y)


def log(x: Any) -> Tensor:
    """Natural logarithm."""
    return unary(float_tensor(x), np.log, lambda g, p, y: g / p)


def abs(x: Any) -> Tensor:
    """Absolute value; its gradient at 0 is 0."""
    return unary(as_tensor(x), np.abs, lambda g, p, y: g * np.sign(p))


def _selected(values: Array, first: Array, a: Tensor, b: Tensor) -> Tensor:
    """``values``, which are a's where ``first`` is True and b's elsewhere, with that gradient."""

    def backward(g: Array) -> tuple[Gradient, ...]:
        return unbroadcast(np.where(first, g, 0), a), unbroadcast(np.where(first, 0, g), b)

    return recorded(values, (a, b), backward)


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of two; where they are equal the gradient goes to x."""
    a, b = promote(x, y)
    first = _elementwise(np.greater_equal, a, b)
    return _selected(np.maximum(a._array, b._array), first, a, b)


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of two; where they are equal the gradient goes to x."""
    a, b = promote(x, y)
    first = _elementwise(np.less_equal, a, b)
    return _selected(np.minimum(a._array, b._array), first, a, b)


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where ``condition`` holds, else y."""
    c = as_array(condition, name="condition").astype(bool, copy=False)
    a, b = promote(x, y)
    try:
        chosen = np.where(c, a._array, b._array)
    except ValueError:
        raise ValueError(
            f"x, y: expected shapes that broadcast with condition {c.shape}, got {a.shape} and {b.shape}"
        ) from None
    return _selected(chosen, c, a, b)


def cast(x: Any, dtype: DTypeLike) -> Tensor:
    """The values in another type; gradients flow between float types."""
    a = as_tensor(x)
    if a.dtype is dtype:
        return a
    new = as_dtype("dtype", dtype, NUMBERS)
    if a.dtype == new:
        return a
    y = a._array.astype(new)
    if new.kind != "f" or a.dtype.kind != "f":
        return Tensor(y)
    return recorded(y, (a,), lambda g: (g.astype(a.dtype),))


def _compare(function: Callable[[Array, Array], Any], x: Any, y: Any) -> Tensor:
    return Tensor(_elementwise(function, as_tensor(x), as_tensor(y)))


def equal(x: Any, y: Any) -> Tensor:
    """x == y, elementwise; no gradient."""
    return _compare(np.equal, x, y)


def not_equal(x: Any, y: Any) -> Tensor:
    """x != y, elementwise; no gradient."""
    return _compare(np.not_equal, x, y)


def less(x: Any, y: Any) -> Tensor:
    """x < y, elementwise; no gradient."""
    return _compare(np.less, x, y)


def less_equal(x: Any, y: Any) -> Tensor:
    """x <= y, elementwise; no gradient."""
    return _compare(np.less_equal, x, y)


def greater(x: Any, y: Any) -> Tensor:
    """x > y, elementwise; no gradient."""
    return _compare(np.greater, x, y)


def greater_equal(x: Any, y: Any) -> Tensor:
    """x >= y, elementwise; no gradient."""
    return _compare(np.greater_equal, x, y)
