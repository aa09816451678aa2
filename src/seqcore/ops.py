"""Differentiable operations on tensors and arrays, each with its gradient beside it.

Every function takes tensors, arrays or numbers and returns a Tensor. Where a tensor meets a plain array or number, the
tensor's float type wins; of two tensors the wider type does. Masks and lengths belong to layers: operations drop them.
"""

from __future__ import annotations

from builtins import slice as _slice
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._validation import NUMBERS, as_dtype, boolean, integer, short_repr
from .autograd import Gradient, IndexedSlices, Tensor, Variable, as_array, floatx, gradient_home, is_recording, record
from .clipping import clip as clip
from .clipping import clip_by_global_norm as clip_by_global_norm
from .clipping import clip_by_norm as clip_by_norm
from .clipping import clip_by_value as clip_by_value
from .clipping import global_norm as global_norm
from .fused import linear_softmax_cross_entropy as linear_softmax_cross_entropy
from .tensors import Axis, axes_of, axis_of, fit, float_tensor, pair, wrap
from .tensors import as_ids as as_ids
from .tensors import as_tensor as as_tensor
from .tensors import rows as rows
from .tensors import rows_like as rows_like

Array = NDArray[Any]


def _elementwise(function: Callable[[Array, Array], Any], a: Tensor, b: Tensor) -> Any:
    """NumPy's function of two arrays with broadcasting, with an error that names the second operand."""
    try:
        return function(a._array, b._array)
    except ValueError:
        raise ValueError(f"y: expected a shape that broadcasts with {a.shape}, got {b.shape}") from None


# --- arithmetic ------------------------------------------------------------------------------------------------------


def add(x: Any, y: Any) -> Tensor:
    """x + y with broadcasting."""
    a, b = pair(x, y)
    return wrap(_elementwise(np.add, a, b), (a, b), lambda g: (fit(g, a), fit(g, b)))


def subtract(x: Any, y: Any) -> Tensor:
    """x - y with broadcasting."""
    a, b = pair(x, y)
    return wrap(_elementwise(np.subtract, a, b), (a, b), lambda g: (fit(g, a), fit(-g, b)))


def multiply(x: Any, y: Any) -> Tensor:
    """x * y with broadcasting.

    >>> multiply([1.0, 2.0], 3).numpy()
    array([3., 6.], dtype=float32)
    """
    a, b = pair(x, y)
    p, q = a._array, b._array
    return wrap(_elementwise(np.multiply, a, b), (a, b), lambda g: (fit(g * q, a), fit(g * p, b)))


def divide(x: Any, y: Any) -> Tensor:
    """x / y with broadcasting; a quotient of integers has the type ``floatx``."""
    a, b = pair(x, y)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        a, b = Tensor(a._array, floatx()), Tensor(b._array, floatx())
    p, q = a._array, b._array
    return wrap(_elementwise(np.divide, a, b), (a, b), lambda g: (fit(g / q, a), fit(-g * p / (q * q), b)))


def negative(x: Any) -> Tensor:
    """-x."""
    a = as_tensor(x)
    return wrap(-a._array, (a,), lambda g: (-g,))


def power(x: Any, y: Any) -> Tensor:
    """x ** y; the gradient of the exponent counts bases above 0 alone."""
    a, b = pair(x, y)
    p, q = a._array, b._array
    z = _elementwise(np.power, a, b)

    def backward(g: Array) -> tuple[Gradient, ...]:
        dx = fit(g * q * p ** np.where(q == 0, np.ones_like(q), q - 1), a)
        if not isinstance(y, Tensor):
            return dx, None
        return dx, fit(g * z * np.log(np.where(p > 0, p, np.ones_like(p))), b)

    return wrap(z, (a, b), backward)


def matmul(x: Any, y: Any) -> Tensor:
    """Matrix product over the last axis of x and the last but one of y; leading axes broadcast.

    Args:
        x: (..., M, K) or (K,).
        y: (..., K, N) or (K,).

    Raises:
        ValueError: if the inner axes differ.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]]).numpy()
    array([[11.]], dtype=float32)
    """
    a, b = pair(x, y)
    p, q = a._array, b._array
    if not p.ndim or not q.ndim or p.shape[-1] != q.shape[max(q.ndim - 2, 0)]:
        raise ValueError(
            f"y: expected {p.shape[-1:] or 'axes'} as the inner axis for x of shape {p.shape}, got shape {q.shape}"
        )
    if p.ndim >= 2 and q.ndim == 2 and p.dtype == q.dtype and p.dtype.kind == "f" and p.size and q.size:
        return _matrix_product(a, b)
    p2 = p[None, :] if p.ndim == 1 else p
    q2 = q[:, None] if q.ndim == 1 else q
    squeezed = ((-2,) if p.ndim == 1 else ()) + ((-1,) if q.ndim == 1 else ())

    def backward(g: Array) -> tuple[Gradient, ...]:
        g = np.expand_dims(g, squeezed)
        dp, dq = np.matmul(g, q2.swapaxes(-1, -2)), np.matmul(p2.swapaxes(-1, -2), g)
        dp = dp[..., 0, :] if p.ndim == 1 else dp
        return fit(dp, a), fit(dq[..., 0] if q.ndim == 1 else dq, b)

    return wrap(np.matmul(p, q), (a, b), backward)


def _matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """(..., K) times (K, N), by the core: the same result whatever the number of threads."""
    x = a._array
    flat, restore = rows(x)
    kernel = np.ascontiguousarray(b._array)
    y = _core.dense_forward(flat, kernel)

    def backward(g: Array) -> tuple[Gradient, ...]:
        need = is_needed(a), is_needed(b)
        home = gradient_home(b)
        dx, dk, _ = _core.dense_backward(
            flat, kernel, y, rows_like(g, x), use_bias=False, need_dx=need[0], need_weights=need[1], out=(home, None)
        )
        return None if dx is None else restore(dx), dk

    followed = is_recording((a,)), is_recording((b,))

    def is_needed(t: Tensor) -> bool:
        return followed[0] if t is a else followed[1]

    return wrap(restore(y), (a, b), backward)


# --- elementwise functions -------------------------------------------------------------------------------------------


def square(x: Any) -> Tensor:
    """x * x."""
    a = as_tensor(x)
    p = a._array
    return wrap(p * p, (a,), lambda g: (2 * g * p,))


def sqrt(x: Any) -> Tensor:
    """Square root."""
    a = float_tensor(x)
    y = np.sqrt(a._array)
    return wrap(y, (a,), lambda g: (g / (2 * y),))


def exp(x: Any) -> Tensor:
    """e ** x."""
    a = float_tensor(x)
    y = np.exp(a._array)
    return wrap(y, (a,), lambda g: (g * y,))


def log(x: Any) -> Tensor:
    """Natural logarithm."""
    a = float_tensor(x)
    p = a._array
    return wrap(np.log(p), (a,), lambda g: (g / p,))


def abs(x: Any) -> Tensor:
    """Absolute value; its gradient at 0 is 0."""
    a = as_tensor(x)
    p = a._array
    return wrap(np.abs(p), (a,), lambda g: (g * np.sign(p),))


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of two; where they are equal the gradient goes to x."""
    a, b = pair(x, y)
    first = _elementwise(np.greater_equal, a, b)
    return wrap(
        np.maximum(a._array, b._array),
        (a, b),
        lambda g: (fit(np.where(first, g, 0), a), fit(np.where(first, 0, g), b)),
    )


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of two; where they are equal the gradient goes to x."""
    a, b = pair(x, y)
    first = _elementwise(np.less_equal, a, b)
    return wrap(
        np.minimum(a._array, b._array),
        (a, b),
        lambda g: (fit(np.where(first, g, 0), a), fit(np.where(first, 0, g), b)),
    )


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where ``condition`` holds, else y."""
    c = as_array(condition, name="condition").astype(bool, copy=False)
    a, b = pair(x, y)
    try:
        chosen = np.where(c, a._array, b._array)
    except ValueError:
        raise ValueError(
            f"x, y: expected shapes that broadcast with condition {c.shape}, got {a.shape} and {b.shape}"
        ) from None
    return wrap(chosen, (a, b), lambda g: (fit(np.where(c, g, 0), a), fit(np.where(c, 0, g), b)))


def relu(x: Any) -> Tensor:
    """max(x, 0)."""
    a = as_tensor(x)
    y = np.maximum(a._array, 0)
    return wrap(y, (a,), lambda g: (g * (y > 0),))


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    a = float_tensor(x)
    y = np.tanh(a._array)
    return wrap(y, (a,), lambda g: (g * (1 - y * y),))


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), without overflow."""
    a = float_tensor(x)
    e = np.exp(-np.abs(a._array))
    y = np.where(a._array >= 0, 1, e) / (1 + e)
    y = y.astype(a.dtype, copy=False)
    return wrap(y, (a,), lambda g: (g * y * (1 - y),))


def hard_sigmoid(x: Any) -> Tensor:
    """x / 6 + 1/2, at least 0 and at most 1."""
    a = float_tensor(x)
    p = a._array
    y = np.clip(p / 6 + a.dtype.type(0.5), 0, 1)
    return wrap(y, (a,), lambda g: (g * ((p > -3) & (p < 3)) / 6,))


def linear(x: Any) -> Tensor:
    """x itself."""
    return as_tensor(x)


def softmax(x: Any, axis: Axis = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along one axis, over several together, or over all of them (None).

    >>> softmax([0.0, 0.0]).numpy()
    array([0.5, 0.5], dtype=float32)
    """
    a = float_tensor(x)
    axes = axes_of(axis, a.ndim)
    if a.ndim >= 2 and axes == (a.ndim - 1,) and a.size:
        flat, restore = rows(a._array)
        y = restore(_core.softmax(flat))
    else:
        e = np.exp(a._array - a._array.max(axes, keepdims=True, initial=-np.inf))
        y = e / e.sum(axes, keepdims=True)
    return wrap(y, (a,), lambda g: (softmax_backward(y, g, axes),))


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
    shifted = a._array - a._array.max(axes, keepdims=True, initial=-np.inf)
    y = shifted - np.log(np.exp(shifted).sum(axes, keepdims=True))
    return wrap(y, (a,), lambda g: (g - np.exp(y) * g.sum(axes, keepdims=True),))


# --- reductions ------------------------------------------------------------------------------------------------------


def _spread(gradient: Array, axes: tuple[int, ...], shape: tuple[int, ...], keepdims: bool) -> Array:
    """The gradient of a sum over ``axes`` as a read-only view of ``shape``, the same for all that was summed."""
    if gradient.size == 1 and len(axes) == len(shape):
        # All of one number: np.broadcast_to takes longer than a whole small step can spare.
        view: Array = np.ndarray(shape, gradient.dtype, np.ascontiguousarray(gradient), 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    return np.broadcast_to(gradient if keepdims else np.expand_dims(gradient, axes), shape)


def reduce_sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis`` (all axes by default).

    >>> reduce_sum([[1.0, 2.0], [3.0, 4.0]], axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    keepdims = boolean("keepdims", keepdims)
    a = as_tensor(x)
    shape = a._array.shape
    axes = axes_of(axis, len(shape))
    total = a._array.sum(axes, keepdims=keepdims)
    return wrap(total, (a,), lambda g: (_spread(g, axes, shape, keepdims),))


def reduce_mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over ``axis`` (all axes by default)."""
    keepdims = boolean("keepdims", keepdims)
    a = float_tensor(x)
    shape = a._array.shape
    axes = axes_of(axis, len(shape))
    count = 1
    for i in axes:
        count *= shape[i]
    if not count:
        raise ValueError(f"x: expected at least one element to average, got shape {shape}")
    mean = a._array.sum(axes, keepdims=keepdims) / count
    return wrap(mean, (a,), lambda g: (_spread(np.asarray(g / count), axes, shape, keepdims),))


def reduce_max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Maximum over ``axis`` (all axes by default); equal maxima share the gradient."""
    keepdims = boolean("keepdims", keepdims)
    a = as_tensor(x)
    axes = axes_of(axis, a.ndim)
    top = a._array.max(axis=axes, keepdims=True)

    def backward(g: Array) -> tuple[Gradient, ...]:
        chosen = (a._array == top).astype(a.dtype)
        g = g if keepdims else np.expand_dims(g, axes)
        return (g * chosen / chosen.sum(axis=axes, keepdims=True),)

    return wrap(top if keepdims else top.squeeze(axes), (a,), backward)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first maximum along ``axis`` (of the flattened tensor by default); no gradient."""
    array = as_array(x)
    if not array.size:
        raise ValueError(f"x: expected at least one element, got shape {array.shape}")
    return Tensor(
        np.argmax(array, None if axis is None else axis_of(axis, array.ndim), keepdims=boolean("keepdims", keepdims))
    )


# --- shapes ----------------------------------------------------------------------------------------------------------


def _sizes(shape: Any, least: int = 0) -> tuple[int, ...]:
    """The sizes of a shape, a number alone for one axis."""
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
    return wrap(y, (a,), lambda g: (g.reshape(before),))


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
    return wrap(a._array.transpose(order), (a,), lambda g: (g.transpose(back),))


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """New axes of size 1."""
    a = as_tensor(x)
    before = a.shape
    chosen = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = axes_of(chosen, a.ndim + len(chosen))
    return wrap(np.expand_dims(a._array, axes), (a,), lambda g: (g.reshape(before),))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Without the given axes of size 1 (all such axes by default)."""
    a = as_tensor(x)
    before = a.shape
    axes = tuple(i for i, n in enumerate(before) if n == 1) if axis is None else axes_of(axis, a.ndim)
    if any(before[i] != 1 for i in axes):
        raise ValueError(f"axis: expected axes of size 1 for x of shape {before}, got {axis!r}")
    return wrap(a._array.squeeze(axes), (a,), lambda g: (g.reshape(before),))


def _tensors(values: Any) -> list[Tensor]:
    if not isinstance(values, Iterable):
        raise TypeError(f"values: expected a list of tensors, got {short_repr(values)}")
    return [as_tensor(one) for one in values]


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
        y = np.concatenate([one._array for one in parts], axis)
    except ValueError:
        shapes = ", ".join(str(one.shape) for one in parts)
        raise ValueError(f"values: expected shapes that agree outside axis {axis}, got {shapes}") from None
    cuts = np.cumsum([one.shape[axis] for one in parts])[:-1]

    def backward(g: Array) -> Sequence[Gradient]:
        return [fit(piece, one) for piece, one in zip(np.split(g, cuts, axis), parts, strict=True)]

    return wrap(y, parts, backward)


def stack(values: Sequence[Any], axis: int = 0) -> Tensor:
    """Several tensors of one shape along a new axis."""
    parts = _tensors(values)
    if not parts or any(one.shape != parts[0].shape for one in parts):
        raise ValueError(f"values: expected tensors of one shape, got {[one.shape for one in parts]}")
    axis = axis_of(axis, parts[0].ndim + 1)
    y = np.stack([one._array for one in parts], axis)

    def backward(g: Array) -> Sequence[Gradient]:
        return [fit(piece, one) for piece, one in zip(np.moveaxis(g, axis, 0), parts, strict=True)]

    return wrap(y, parts, backward)


def _pieces(a: Tensor, arrays: list[Array], join: Callable[[list[Array]], Array]) -> list[Tensor]:
    """Tensors cut from one; the gradients of pieces that were not used are zero."""
    pieces = [Tensor(one) for one in arrays]

    def backward(*gradients: Gradient) -> tuple[Gradient, ...]:
        dense = [np.zeros_like(p) if g is None else np.asarray(g) for p, g in zip(arrays, gradients, strict=True)]
        return (join(dense),)

    record(pieces, (a,), backward)
    return pieces


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The slices along ``axis`` as a list, for instance the steps of a sequence with axis 1.

    ``num`` is their number; it is known from x, and checked if given.

    >>> [float(one) for one in unstack([1.0, 2.0])]
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


def cast(x: Any, dtype: DTypeLike) -> Tensor:
    """The values as another type; gradients flow between float types."""
    a = as_tensor(x)
    if a.dtype is dtype:
        return a
    new = as_dtype("dtype", dtype, NUMBERS)
    if a.dtype == new:
        return a
    y = a._array.astype(new)
    if new.kind != "f" or a.dtype.kind != "f":
        return Tensor(y)
    return wrap(y, (a,), lambda g: (g.astype(a.dtype),))


def gather(params: Any, indices: Any, axis: int = 0) -> Tensor:
    """The slices ``indices`` of ``params`` along ``axis``; a variable gets its gradient as IndexedSlices (axis 0).

    Raises:
        ValueError: for indices that are no integers, or out of range.
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

    return wrap(np.take(a._array, ids, axis), (a,), backward)


def slice(x: Any, key: Any) -> Tensor:
    """x[key] with NumPy's indexing: slices, integers, None, index arrays."""
    a = as_tensor(x)
    key = tuple(_index(one) for one in key) if isinstance(key, tuple) else _index(key)
    basic = all(
        one is None or one is Ellipsis or isinstance(one, (int, np.integer, _slice))
        for one in (key if isinstance(key, tuple) else (key,))
    )

    def backward(g: Array) -> tuple[Gradient, ...]:
        dx = np.zeros_like(a._array)
        if basic:
            dx[key] = g
        else:
            np.add.at(dx, key, g)
        return (dx,)

    return wrap(a._array[key], (a,), backward)


def _index(one: Any) -> Any:
    return one._array if isinstance(one, Tensor) else one


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


def _comparison(name: str, function: Callable[[Array, Array], Any], text: str) -> Callable[[Any, Any], Tensor]:
    def compare(x: Any, y: Any) -> Tensor:
        return Tensor(_elementwise(function, as_tensor(x), as_tensor(y)))

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"x {text} y, elementwise; no gradient."
    return compare


equal = _comparison("equal", np.equal, "==")
not_equal = _comparison("not_equal", np.not_equal, "!=")
less = _comparison("less", np.less, "<")
less_equal = _comparison("less_equal", np.less_equal, "<=")
greater = _comparison("greater", np.greater, ">")
greater_equal = _comparison("greater_equal", np.greater_equal, ">=")


# --- Python's operators on tensors -----------------------------------------------------------------------------------


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda x, y: function(y, x)


def _equality(function: Callable[[Any, Any], Tensor], of_none: bool) -> Callable[[Any, Any], Any]:
    return lambda x, y: of_none if y is None else function(x, y)


def _attach_operators() -> None:
    for name, function in (
        ("add", add),
        ("sub", subtract),
        ("mul", multiply),
        ("truediv", divide),
        ("pow", power),
        ("matmul", matmul),
    ):
        setattr(Tensor, f"__{name}__", function)
        setattr(Tensor, f"__r{name}__", _reflected(function))
    for name, unary in (("neg", negative), ("abs", abs), ("getitem", slice)):
        setattr(Tensor, f"__{name}__", unary)
    for name, compare in (("lt", less), ("le", less_equal), ("gt", greater), ("ge", greater_equal)):
        setattr(Tensor, f"__{name}__", compare)
    # Tensors stay hashable by identity: tapes and tables know them by it.
    setattr(Tensor, "__eq__", _equality(equal, False))  # noqa: B010
    setattr(Tensor, "__ne__", _equality(not_equal, True))  # noqa: B010


_attach_operators()
