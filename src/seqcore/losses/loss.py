"""What a loss is: weights, masks, reduction, and one node on the tape.

S: shape of the single losses, which is that of y_pred without its last axis: (B,) or (B, T).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from .._registry import Registry
from .._validation import as_dtype, integer
from ..autograd.tape import is_recording, record
from ..autograd.tensor import Gradient, Tensor, as_array
from ..ops._targets import expand_to, float_array, mask_of, same_rank, standard_reduction, step_weights
from ..typing import Array

# What a built-in loss hands over: the single losses (S), the way back from the weight of each single loss in the scalar
# (S) to the gradients of (y_true, y_pred), and which single losses count (S, bool; None: all).
Singles = tuple[Array, Callable[[Array], tuple[Gradient, Array]], "Array | None"]


class Loss:
    """A scalar that measures how far predictions are from targets.

    Args:
        reduction: "mean" (also "sum_over_batch_size": over all single losses, with a mask over the valid ones), "sum",
            "batch_mean" (summed over time, averaged over the batch) or "none" (the weighted single losses).
        name: name in logs.
        dtype: "float32" or "float64": predictions are cast to it first, and the result has it; by default that of the
            predictions, so that a float64 model has a float64 loss (in Keras it is ``floatx``).

    A subclass defines ``call(y_true, y_pred)``, which returns the single losses as a Tensor, or one number. Where the
    ranks of the two differ by a last axis of size 1, ``call`` gets them with one rank, as functions do in Keras: (B,)
    targets of a (B, 1) output come as (B, 1).

    >>> class Doubled(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return 2 * (y_true - y_pred) ** 2
    >>> float(Doubled()(np.array([1.0, 2.0]), [1.0, 4.0]))
    4.0
    """

    # The type of its own, if it has one.
    dtype: str | None = None

    def __init__(self, name: str | None = None, reduction: str | None = "mean", dtype: DTypeLike | None = None) -> None:
        self.dtype = None if dtype is None else as_dtype("dtype", dtype).name
        self.reduction = standard_reduction(reduction)
        self.name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """The single losses (S) of one batch, without weights and masks."""
        raise TypeError(f"{type(self).__name__}: a loss must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        """The loss of one batch.

        Args:
            y_true: the targets.
            y_pred: (S, V) predictions; its ``mask`` or ``lengths`` leave steps out unless ``mask`` is given.
            sample_weight: S or its leading axes; multiplies the single losses.
            mask: S or its leading axes, bool.

        Returns:
            A scalar Tensor, or one of shape S for the reduction "none".
        """
        y_pred = self._cast(y_pred if isinstance(y_pred, Tensor) else Tensor(float_array(y_pred)))
        singles = self.call(*same_rank(y_true, y_pred))
        if not isinstance(singles, Tensor):
            library, name = type(singles).__module__.partition(".")[0], type(singles).__name__
            got = f"a Tensor of {library}" if name == "Tensor" else name
            raise TypeError(
                f"{self.name}: expected call to return a Tensor, got {got}; functions of "
                "seqcore.ops give one, those of NumPy leave the tape"
            )
        losses = singles.numpy()
        if not losses.ndim:
            return self._weigh_scalar(singles, sample_weight, mask_of(y_pred, y_pred.shape[:2], mask))
        masked = mask is not None or y_pred.mask is not None or y_pred.lengths is not None
        if masked and losses.ndim == 1 and y_pred.ndim > 2:
            raise ValueError(
                f"{self.name}: expected one loss per step, {y_pred.shape[:2]}, under a mask or lengths, got shape "
                f"{losses.shape}; let the reduction add the steps up"
            )
        kept = mask_of(y_pred, losses.shape, mask)
        result, weights = self._reduce(losses, sample_weight, kept)
        record((result,), (singles,), lambda dy: (_weigh(weights, dy),))
        return result

    def _weigh_scalar(self, loss: Tensor, sample_weight: Any, kept: Array | None) -> Tensor:
        """A loss that is reduced already, times the reduced weights, as in Keras: their mean over the valid steps, or
        their sum."""
        if sample_weight is None and kept is None:
            return loss
        shape = np.shape(sample_weight) if kept is None else kept.shape
        weights = np.ones(shape) if sample_weight is None else expand_to("sample_weight", sample_weight, shape)
        weights = np.broadcast_to(weights, shape).astype(np.float64)
        if kept is not None:
            weights[~kept] = 0
        if self.reduction != "none":
            valid = weights.size if kept is None else int(np.count_nonzero(kept))
            divisor = {"mean": valid, "batch_mean": shape[0] if shape else 1}.get(self.reduction, 1)
            weights = np.asarray(weights.sum() / max(divisor, 1))
        weights = weights.astype(loss.dtype)
        result = Tensor(np.asarray(loss.numpy() * weights))
        record((result,), (loss,), lambda dy: (np.asarray(_weigh(weights, dy).sum()),))
        return result

    def _cast(self, y_pred: Any) -> Any:
        """The predictions in the type of the loss, if it has one of its own."""
        if self.dtype is None:
            return y_pred
        given = y_pred if isinstance(y_pred, Tensor) else Tensor(float_array(y_pred))
        if given.dtype == self.dtype:
            return given
        y = Tensor(given._array.astype(self.dtype))
        y.mask, y.lengths = given.mask, given.lengths
        record((y,), (given,), lambda dy: (np.asarray(dy).astype(given.dtype),))
        return y

    def _reduce(self, losses: Array, sample_weight: Any, kept: Array | None) -> tuple[Tensor, Array]:
        """The result and the weight of each single loss in it."""
        if not losses.size:
            raise ValueError("y_pred: expected at least one prediction, got an empty batch")
        weights = step_weights(self.reduction, losses.shape, sample_weight, kept, losses.dtype)
        if kept is not None:
            losses = np.where(kept, losses, 0)
        weighted = losses * weights
        if self.reduction == "none":
            return Tensor(weighted), weights
        return Tensor(np.asarray(weighted.sum(dtype=np.float64), losses.dtype)), weights

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same loss again; JSON-able."""
        return {"name": self.name, "reduction": self.reduction, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{k}={v!r}' for k, v in self.get_config().items())}>"


LOSSES = Registry("loss", Loss)


def _weigh(weights: Array, dy: Gradient) -> Array:
    return cast(Array, weights * np.asarray(dy))


class BuiltIn(Loss):
    """A loss with its own way back: one node on the tape."""

    # Whether a gradient of y_true is known (otherwise it is refused, never dropped silently).
    _both = False

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        """The single losses; targets where ``mask`` is False are not looked at."""
        raise TypeError(f"{type(self).__name__}: a built-in loss must define _singles")

    def _shape(self, y_pred: Array) -> tuple[int, ...]:
        return y_pred.shape[:-1]

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self._run(y_true, y_pred, None)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Tensor:
        return self._run(y_true, self._cast(y_pred), (sample_weight, mask))

    def _run(self, y_true: Any, y_pred: Any, weighting: tuple[Any, Any] | None) -> Tensor:
        x = float_array(y_pred)
        if not self._both and is_recording((y_true,)):
            raise TypeError(f"y_true: {self.name} has no gradient for its targets; pass an array (y_true.numpy())")
        if not x.size or not x.ndim:
            raise ValueError(f"y_pred: expected at least one prediction along a last axis, got shape {x.shape}")
        kept = None if weighting is None else mask_of(y_pred, self._shape(x), weighting[1])
        with np.errstate(all="ignore"):
            losses, way_back, valid = self._singles(y_true, x, kept)
        if weighting is None:
            weights = None
            result = Tensor(losses if valid is None else np.where(valid, losses, 0))
        else:
            kept = valid if kept is None else kept if valid is None else kept & valid
            result, weights = self._reduce(losses, weighting[0], kept)
        off = valid if weighting is None else kept

        def backward(dy: Gradient) -> tuple[Gradient, Array]:
            scale = np.asarray(dy) if weights is None else weights * np.asarray(dy)
            with np.errstate(all="ignore"):
                dt, dx = way_back(scale)
            dx = dx.reshape(x.shape)
            if off is not None:
                dx[~off] = 0
            return dt, dx

        record((result,), (y_true if self._both else None, y_pred), backward)
        return result


class OverAxis(BuiltIn):
    """A loss over the classes of one axis."""

    def __init__(self, axis: int, name: str | None, reduction: str | None, dtype: DTypeLike | None) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = integer("axis", axis)

    def _to_last(self, y_pred: Array) -> Array:
        if not -y_pred.ndim <= self.axis < y_pred.ndim:
            raise ValueError(f"axis: expected {-y_pred.ndim}...{y_pred.ndim - 1} for this shape, got {self.axis}")
        return np.moveaxis(y_pred, self.axis, -1)

    def _from_last(self, gradient: Array) -> Array:
        return np.moveaxis(gradient, -1, self.axis)

    def _shape(self, y_pred: Array) -> tuple[int, ...]:
        return self._to_last(y_pred).shape[:-1]

    def _targets_to_last(self, y_true: Any, y_pred: Array) -> Any:
        """Dense targets with the axis of the classes moved to the end, as in ``y_pred``."""
        t = as_array(y_true)
        return self._to_last(t) if self.axis not in (-1, y_pred.ndim - 1) and t.ndim == y_pred.ndim else t

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"axis": self.axis}
