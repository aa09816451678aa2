"""Matrix products with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.dense import dense_backward, dense_forward
from ..autograd.tape import GradientBuffers, is_recording, record
from ..autograd.tensor import Gradient, Tensor
from ..typing import Array
from ._broadcast import flatten_like, flatten_steps, promote, recorded, unbroadcast


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
    a, b = promote(x, y)
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
        return unbroadcast(dp, a), unbroadcast(dq[..., 0] if q.ndim == 1 else dq, b)

    return recorded(np.matmul(p, q), (a, b), backward)


def _matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """(..., K) times (K, N), by the core: the same result whatever the number of threads."""
    x = a._array
    flat, restore = flatten_steps(x)
    kernel = np.ascontiguousarray(b._array)
    y = dense_forward(flat, kernel)

    def backward(g: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
        need = is_needed(a), is_needed(b)
        out = (buffers.take(b), None)
        dx, dk, _ = dense_backward(
            flat, kernel, y, flatten_like(g, x), use_bias=False, need_dx=need[0], need_weights=need[1], out=out
        )
        return None if dx is None else restore(dx), dk

    followed = is_recording((a,)), is_recording((b,))

    def is_needed(t: Tensor) -> bool:
        return followed[0] if t is a else followed[1]

    product = Tensor(restore(y))
    record((product,), (a, b), backward, takes_buffers=True)
    return product
