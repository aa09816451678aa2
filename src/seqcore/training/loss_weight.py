"""Weight of the loss of a batch in its running mean, by the per-sample losses that count.

B: batch, T: time steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor, as_array
from ..losses import Loss
from ..ops.targets import drop_last_axis, mask_of
from ..typing import Array


def class_ids_or_none(y: Any, shape: tuple[int, ...]) -> Array | None:
    """Class ids of ``shape``, or None for anything else, which the loss then refuses."""
    ids = drop_last_axis(as_array(y), len(shape))
    return ids if ids.shape == shape and ids.dtype.kind in "iuf" else None


def counted_steps(loss: Loss, y: Any, y_pred: Tensor) -> Array | None:
    """Mask (B,) or (B, T) of the per-sample losses that a mask, lengths and ``ignore_class`` leave in; None for all."""
    shape = y_pred.shape[:-1]
    mask = None if y_pred.mask is None and y_pred.lengths is None else mask_of(y_pred, shape)
    ignored = getattr(loss, "ignore_class", None)
    ids = None if ignored is None else class_ids_or_none(y, shape)
    if ids is None:
        return mask
    counted: Array = ids != ignored
    return counted if mask is None else mask & counted


def loss_weight(loss: Loss, batch_size: int, mask: Array | None) -> float:
    """Weight of the loss of a batch in the running mean; see :class:`CompiledMetrics`."""
    return float(np.count_nonzero(mask)) if mask is not None and loss.reduction == "mean" else float(batch_size)
