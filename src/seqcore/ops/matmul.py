"""Matrix products with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.dense import dense_backward, dense_forward, softmax
from ..autograd import Gradient, GradientBuffers, Tensor, is_recording, record, recorded, unchecked_tensor
from ..autograd.tape import Backward
from ..typing import Array
from ._broadcast import flatten_like, flatten_steps, promote, unbroadcast
from .activations import ACTIVATIONS, STREAM_ACTIVATIONS, softmax_backward


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
        if not q.flags.c_contiguous:
            b = recorded(np.ascontiguousarray(q), (b,), lambda g: (g,))
        return dense(a, b)
    p2 = p[None, :] if p.ndim == 1 else p
    q2 = q[:, None] if q.ndim == 1 else q
    squeezed = ((-2,) if p.ndim == 1 else ()) + ((-1,) if q.ndim == 1 else ())

    def backward(g: Array) -> tuple[Gradient, ...]:
        g = np.expand_dims(g, squeezed)
        dp, dq = np.matmul(g, q2.swapaxes(-1, -2)), np.matmul(p2.swapaxes(-1, -2), g)
        dp = dp[..., 0, :] if p.ndim == 1 else dp
        return unbroadcast(dp, a), unbroadcast(dq[..., 0] if q.ndim == 1 else dq, b)

    return recorded(np.matmul(p, q), (a, b), backward)


def dense(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None = None, activation: str = "linear", mixed: bool = False
) -> Tensor:
    """activation(x · kernel + bias) for x (..., K) and a kernel (K, N), as one operation of the tape."""
    if activation not in STREAM_ACTIVATIONS:
        return ACTIVATIONS[activation](dense(inputs, kernel, bias, "linear", mixed))
    tensors = (inputs, kernel, bias)
    y, backward = dense_on_arrays(
        inputs._array, kernel, bias, activation, mixed, is_recording((inputs,)), is_recording((kernel, bias))
    )
    outputs = unchecked_tensor(y)
    if backward is not None:
        record((outputs,), tensors, backward, takes_buffers=True)
    return outputs


def dense_on_arrays(
    x: Array, kernel: Tensor, bias: Tensor | None, activation: str, mixed: bool, need_dx: bool, need_weights: bool
) -> tuple[Array, Backward | None]:
    """The computation of :func:`dense` on an array, for an activation that is one operation with the product.

    Returns:
        The output and the backward function, from its gradient to those of x, kernel and bias; None where no gradient
        is asked for.
    """
    flat, restore = flatten_steps(x)
    # A softmax runs over the logits; its backward pass gives the gradient of the logits, and the rest is linear.
    is_softmax = activation == "softmax"
    fused = "linear" if is_softmax else activation
    y = dense_forward(flat, kernel._array, None if bias is None else bias._array, fused, mixed=mixed)
    if is_softmax:
        y = softmax(y)
    if not (need_dx or need_weights):
        return restore(y), None

    def backward(dy: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
        flat_dy = flatten_like(dy, x)
        if is_softmax:
            flat_dy = softmax_backward(y, flat_dy)
        dx, dkernel, dbias = dense_backward(
            flat,
            kernel._array,
            y,
            flat_dy,
            fused,
            use_bias=bias is not None,
            need_dx=need_dx,
            need_weights=need_weights,
            out=(buffers.take(kernel), buffers.take(bias)) if need_weights else None,
            mixed=mixed,
        )
        return None if dx is None else restore(dx), dkernel, dbias

    return restore(y), backward
