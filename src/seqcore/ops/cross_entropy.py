"""The last matrix product of a model, its softmax and the cross-entropy as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core.dense import linear_softmax
from ..autograd import Gradient, GradientBuffers, Tensor, is_recording, record
from ..autograd.tape import Backward, pop_once
from ..typing import Array
from ._broadcast import flatten_like, flatten_steps, float_tensor
from .targets import class_ids, mask_of, standard_reduction, step_weights


def linear_softmax_cross_entropy(
    x: Any,
    kernel: Any,
    bias: Any,
    targets: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str = "mean",
    *,
    return_correct: bool = False,
    out: Sequence[Array | None] | None = None,
    mixed: bool = False,
) -> Any:
    """Cross-entropy of softmax(x · kernel + bias) with bounded memory: never all logits at once.

    Args:
        x: (..., K) float.
        kernel: (K, V).
        bias: (V,) or None.
        targets: (...) integers 0...V-1.
        sample_weight: weight of each sequence or each step.
        mask: (...) bool, the steps that count; by default ``x.mask`` or ``x.lengths``.
        reduction: "mean" (over the steps that count), "sum", "batch_mean" (summed over time, averaged over the batch)
            or "none".
        return_correct: also return where the largest logit is the target, (...) bool.
        out: arrays for the gradients of (kernel, bias), to be filled in the forward call (a model's gradient buffers).
        mixed: products of bfloat16 pairs; needs float32 and a processor with AVX-512 BF16.

    Returns:
        The scalar loss as a Tensor, or (...) losses for "none"; with ``return_correct`` the pair (loss, correct).

    Raises:
        ValueError: for shapes that do not fit and targets out of range.

    >>> loss = linear_softmax_cross_entropy(np.zeros((2, 3)), np.zeros((3, 4)), None, [0, 1])
    >>> f"{loss:.4f}"
    '1.3863'
    """
    t = float_tensor(x)
    k = kernel if isinstance(kernel, Tensor) else Tensor(kernel, t.dtype)
    b = bias if bias is None or isinstance(bias, Tensor) else Tensor(bias, t.dtype)
    if t.ndim < 2 or k.ndim != 2 or t.shape[-1] != k.shape[0]:
        raise ValueError(
            f"kernel: expected shape ({t.shape[-1] if t.ndim else 'K'}, V) for x of shape {t.shape}, got {k.shape}"
        )
    lead = t.shape[:-1]
    mask = mask_of(t, lead, mask)
    by_row = standard_reduction(reduction) == "none"
    weights = step_weights(reduction, lead, sample_weight, mask, t.dtype)
    ids = class_ids(targets, k.shape[1], lead, mask, "targets")
    inputs = (t, k, b)
    recording = is_recording(inputs)
    value, correct, backward = linear_softmax_on_arrays(
        t._array, k, b, ids, weights, recording, recording and is_recording((t,)), by_row, out, mixed
    )
    loss = Tensor(value)
    record((loss,), inputs, backward, takes_buffers=True)
    return (loss, Tensor(correct)) if return_correct else loss


def linear_softmax_on_arrays(
    x: Array,
    kernel: Tensor,
    bias: Tensor | None,
    ids: Array,
    weights: Array,
    need_gradients: bool,
    need_dx: bool,
    by_row: bool = False,
    out: Sequence[Array | None] | None = None,
    mixed: bool = False,
) -> tuple[Array, Array, Backward]:
    """The computation of :func:`linear_softmax_cross_entropy` on arrays, for the tape and for steps without one.

    Args:
        x: (..., K).
        kernel, bias: (K, V), and (V,) or None.
        ids: (...) checked class ids.
        weights: (...) factors of the losses.
        need_gradients, need_dx: whether gradients are asked for, and that of x among them.
        by_row: return the losses instead of their sum.
        out, mixed: see there.

    Returns:
        The loss, whether the largest logit is the target (...), and the backward function.
    """
    flat, restore = flatten_steps(x)
    flat_weights = flatten_like(weights, x)
    flat_ids = flatten_like(ids, x).astype(np.int32, copy=False)
    core = (flat, kernel._array, None if bias is None else bias._array, flat_ids)
    fused = need_gradients and not by_row
    per_row, correct, *gradients = linear_softmax(
        *core, flat_weights, gradients=fused, need_dx=need_dx, out=out if fused else None, mixed=mixed
    )
    # Given away by the first backward pass; the later ones of a persistent tape compute them again.
    fresh = [gradients]
    # A weight of 0 leaves a step out even where its loss is not finite.
    weighted = np.where(flat_weights == 0, 0, per_row * flat_weights)
    value: Any = restore(weighted[:, None])[..., 0] if by_row else x.dtype.type(weighted.sum(dtype=np.float64))

    def backward_scalar(g: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
        dx, dkernel, dbias = pop_once(fresh) or linear_softmax(*core, flat_weights, need_dx=need_dx, mixed=mixed)[2:]
        return (
            None if dx is None else _scaled(restore(dx), g, None),
            _scaled(dkernel, g, buffers.take(kernel)),
            None if bias is None else _scaled(dbias, g, buffers.take(bias)),
        )

    def backward_rows(g: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
        each = flatten_like(np.broadcast_to(g, ids.shape), x) * flat_weights
        _, _, dx, dkernel, dbias = linear_softmax(*core, each, need_dx=need_dx, mixed=mixed)
        return None if dx is None else restore(dx), dkernel, dbias

    return np.asarray(value), restore(correct[:, None])[..., 0], backward_rows if by_row else backward_scalar


def _scaled(gradient: Array | None, factor: Array, buffer: Array | None) -> Array | None:
    """gradient * factor, in ``buffer`` if there is one, copied only where it must be."""
    if gradient is None:
        return None
    if buffer is not None and buffer is not gradient:
        return np.multiply(gradient, factor, out=buffer)
    return gradient if factor == 1 else gradient * factor
