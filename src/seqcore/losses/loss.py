"""Loss base classes: sample weights, masks, reductions, and losses by name.

B, T, V: batch, time steps, classes. S: shape of the per-sample losses, which is that of y_pred without its last axis:
(B,) or (B, T). Names, formulas and defaults are those of Keras 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from .._registry import Configurable, Registry, snake_case
from .._validation import as_dtype, axis_of, class_of
from ..autograd import Gradient, Tensor, is_recording, record
from ..ops.targets import as_float_array, mask_of, same_rank, standard_reduction, step_weights
from ..typing import Array

# The outcome of a fused loss: the per-sample losses (S), the backward function from their gradients (S) to that of
# y_pred, or to those of (y_true, y_pred) where both have one, and which of them count (S, bool; None: all).
PerSample = tuple[Array, Callable[[Array], Any], "Array | None"]


class Loss(Configurable):
    """A scalar that measures how far predictions are from targets.

    Args:
        name: name in logs; by default the class's name in snake case.
        reduction: "mean" (also "sum_over_batch_size": over all per-sample losses, with a mask over the valid ones),
            "sum", "batch_mean" (summed over time, averaged over the batch) or "none" (the weighted per-sample losses).
        dtype: "float32" or "float64": predictions are cast to it first, and the result has it; by default that of the
            predictions, so that a float64 model has a float64 loss (in Keras it is ``floatx``).

    A subclass defines ``call(y_true, y_pred)``, which returns the per-sample losses as a Tensor, or one number. Where
    the ranks of the two differ by a last axis of size 1, ``call`` gets them with one rank, as functions do in Keras:
    (B,) targets of a (B, 1) output come as (B, 1).

    >>> class Doubled(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return 2 * (y_true - y_pred) ** 2
    >>> float(Doubled()(np.array([1.0, 2.0]), [1.0, 4.0]))
    4.0
    """

    _pickle_family = "loss"
    dtype: str | None = None
    _config_names: tuple[str, ...] = ("name", "reduction", "dtype")

    def __init__(self, name: str | None = None, reduction: str | None = "mean", dtype: DTypeLike | None = None) -> None:
        self.dtype = None if dtype is None else as_dtype("dtype", dtype).name
        self.reduction = standard_reduction(reduction)
        self.name = name or snake_case(type(self).__name__)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The per-sample losses (S) of one batch, without weights and masks."""
        raise TypeError(f"{type(self).__name__}: a loss must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        """The loss of one batch.

        Args:
            y_true: the targets.
            y_pred: (S, V) predictions; its ``mask`` or ``lengths`` leave steps out unless ``mask`` is given.
            sample_weight: S or its leading axes; multiplies the per-sample losses.
            mask: S or its leading axes, bool.

        Returns:
            A scalar Tensor, or one of shape S for the reduction "none".
        """
        y_pred = self._cast(y_pred if isinstance(y_pred, Tensor) else Tensor(as_float_array(y_pred)))
        per_sample = self.call(*same_rank(y_true, y_pred))
        if not isinstance(per_sample, Tensor):
            raise TypeError(
                f"{self.name}: expected call to return a Tensor, got {class_of(per_sample)}; functions of "
                "seqcore.ops give one, those of NumPy leave the tape"
            )
        losses = per_sample.numpy()
        if not losses.ndim:
            return self._weigh_scalar(per_sample, sample_weight, mask_of(y_pred, y_pred.shape[:2], mask))
        masked = mask is not None or y_pred.mask is not None or y_pred.lengths is not None
        if masked and losses.ndim == 1 and y_pred.ndim > 2:
            raise ValueError(
                f"{self.name}: expected one loss per step, {y_pred.shape[:2]}, under a mask or lengths, got shape "
                f"{losses.shape}; let the reduction add the steps up"
            )
        kept = mask_of(y_pred, losses.shape, mask)
        value, weights = self._reduce(losses, sample_weight, kept)
        result = Tensor(value)
        record((result,), (per_sample,), lambda dy: (_weigh(weights, dy),))
        return result

    def _weigh_scalar(self, loss: Tensor, sample_weight: Any, kept: Array | None) -> Tensor:
        """A loss that is reduced already, times the reduced weights, as in Keras: their mean over the valid steps, or
        their sum."""
        if sample_weight is None and kept is None:
            return loss
        shape = np.shape(sample_weight) if kept is None else kept.shape
        weights = step_weights("none", shape, sample_weight, kept, np.float64)
        if self.reduction != "none":
            valid = weights.size if kept is None else int(np.count_nonzero(kept))
            divisor = {"mean": valid, "batch_mean": shape[0] if shape else 1}.get(self.reduction, 1)
            weights = np.asarray(weights.sum() / max(divisor, 1))
        weights = weights.astype(loss.dtype)
        result = Tensor(np.asarray(loss.numpy() * weights))
        record((result,), (loss,), lambda dy: (np.asarray(_weigh(weights, dy).sum()),))
        return result

    def _cast(self, y_pred: Any) -> Any:
        """The predictions in the dtype of the loss, if it has one."""
        if self.dtype is None:
            return y_pred
        given = y_pred if isinstance(y_pred, Tensor) else Tensor(as_float_array(y_pred))
        if given.dtype == self.dtype:
            return given
        y = Tensor(given._array.astype(self.dtype))
        y.mask, y.lengths = given.mask, given.lengths
        record((y,), (given,), lambda dy: (np.asarray(dy).astype(given.dtype),))
        return y

    def _reduce(self, losses: Array, sample_weight: Any, kept: Array | None) -> tuple[Array, Array]:
        """The result and the weight of each per-sample loss in it."""
        if not losses.size:
            raise ValueError("y_pred: expected at least one prediction, got an empty batch")
        weights = step_weights(self.reduction, losses.shape, sample_weight, kept, losses.dtype)
        if kept is not None:
            losses = np.where(kept, losses, 0)
        weighted = losses * weights
        if self.reduction == "none":
            return weighted, weights
        return np.asarray(np.add.reduce(weighted, None, np.float64), losses.dtype), weights

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{k}={v!r}' for k, v in self.get_config().items())}>"


def _weigh(weights: Array, dy: Gradient) -> Array:
    return cast(Array, weights * np.asarray(dy))


class FusedLoss(Loss):
    """A loss with its own backward function: formula, weights and reduction are one operation on the tape."""

    # The axis of y_pred that a per-sample loss reduces.
    axis = -1
    # True where y_true may have a gradient; otherwise one that needs it is refused.
    _differentiates_targets = False
    # True where a y_pred with one axis holds one number for each sample, not the classes of one sample.
    _elementwise = False

    def _per_sample(self, y_true: Any, y_pred: Array, mask: Array | None) -> PerSample:
        """The per-sample losses of predictions whose ``axis`` is the last; targets are ignored where ``mask`` is False.

        The gradient of y_pred comes back in the shape of ``y_pred``, with axes of size 1 added or not.
        """
        raise TypeError(f"{type(self).__name__}: a fused loss must define _per_sample")

    def sample_shape(self, y_pred: Array) -> tuple[int, ...]:
        """S."""
        return y_pred.shape if y_pred.ndim == 1 and self._elementwise else self._to_last(y_pred).shape[:-1]

    def _to_last(self, array: Array) -> Array:
        """A view of ``array`` with ``axis`` as its last."""
        return array if self.axis == -1 else np.moveaxis(array, axis_of(self.axis, array.ndim), -1)

    def per_sample(self, y_true: Any, x: Array, kept: Array | None) -> PerSample:
        """The per-sample losses of predictions x, their backward function, and which of them count of those kept."""
        if not x.size or not x.ndim:
            raise ValueError(f"y_pred: expected at least one prediction along a last axis, got shape {x.shape}")
        with np.errstate(all="ignore"):
            losses, backward, valid = self._per_sample(y_true, self._to_last(x), kept)
        return losses, backward, valid if kept is None else kept if valid is None else kept & valid

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self._run(y_true, y_pred, None)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        return self._run(y_true, self._cast(y_pred), (sample_weight, mask))

    def _run(self, y_true: Any, y_pred: Any, weighting: tuple[Any, Any] | None) -> Tensor:
        x = as_float_array(y_pred)
        if not self._differentiates_targets and is_recording((y_true,)):
            raise TypeError(f"y_true: {self.name} has no gradient for its targets; pass an array (y_true.numpy())")
        kept = None if weighting is None else mask_of(y_pred, self.sample_shape(x), weighting[1])
        losses, backward_per_sample, kept = self.per_sample(y_true, x, kept)
        if weighting is None:
            weights, value = None, losses if kept is None else np.where(kept, losses, 0)
        else:
            value, weights = self._reduce(losses, weighting[0], kept)

        def backward(dy: Gradient) -> tuple[Gradient, Array]:
            with np.errstate(all="ignore"):
                gradients = backward_per_sample(np.asarray(dy) if weights is None else _weigh(weights, dy))
            dt, dx = gradients if self._differentiates_targets else (None, gradients)
            return dt, self._settled(dx, x, kept)

        result = Tensor(value)
        record((result,), (y_true if self._differentiates_targets else None, y_pred), backward)
        return result

    def _settled(self, dx: Array, x: Array, kept: Array | None) -> Array:
        """The gradient of predictions x from that of ``_per_sample``."""
        dx = dx.reshape(self._to_last(x).shape)
        if kept is not None:
            dx[~kept] = 0
        return dx if self.axis == -1 else np.moveaxis(dx, -1, self.axis)

    def value_and_gradient(self, y_true: Any, x: Array) -> tuple[Array, Array]:
        """The loss of one batch of predictions x without sample weights and mask, and its gradient."""
        with np.errstate(all="ignore"):
            losses, backward, kept = self._per_sample(y_true, self._to_last(x), None)
            value, weights = self._reduce(losses, None, kept)
            dx = backward(weights)
        return value, self._settled(dx[1] if self._differentiates_targets else dx, x, kept)


class LossFunctionWrapper(Loss):
    """A function ``f(y_true, y_pred, **arguments)`` that returns per-sample losses, as a loss.

    Args:
        fn: called with the targets and the predictions as a Tensor; it must return a Tensor.
        reduction, name: see :class:`Loss`.
        kwargs: passed on to ``fn``.
    """

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "mean", name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", "loss"), reduction)
        self.fn, self._kwargs = fn, kwargs

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return cast(Tensor, self.fn(y_true, y_pred, **self._kwargs))

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"loss: the function {self.name!r} cannot be written to a file; use a Loss class")


LOSSES = Registry("loss", Loss)
# The class of each loss function of this package.
FUNCTIONS: dict[Any, type[Loss]] = {}
