"""Losses: cross-entropies and mean squared error, one tape node each, with sample weights, masks and four reductions.

B, T, V: batch, time steps, classes. S: shape of the single losses, which is that of y_pred without its last axis: (B,)
or (B, T). Names, formulas and defaults are those of Keras 3; probabilities are clipped to [1e-7, 1 - 1e-7] as there.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from .autograd import Array, Gradient, Tensor, as_array, float_dtype, is_recording, record

EPSILON = 1e-7
REDUCTIONS = ("mean", "sum", "batch_mean", "none")

# What a built-in loss hands over: the single losses (S), the way back from the weight of each single loss in the scalar
# (S) to the gradients of (y_true, y_pred), and which single losses count (S, bool; None: all).
Singles = tuple[Array, Callable[[Array], tuple[Gradient, Array]], "Array | None"]


# --- weights and masks ------------------------------------------------------------------------------------------------


def standard_reduction(reduction: str | None) -> str:
    """The canonical name of a ``reduction=`` argument.

    >>> standard_reduction("sum_over_batch_size")
    'mean'
    """
    name = {None: "none", "sum_over_batch_size": "mean"}.get(reduction, reduction)
    if name not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}")
    return name


def expand_to(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """``value`` as an array that broadcasts to ``shape``: leading axes, all axes, or all axes and one of size 1."""
    array = as_array(value)
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    found = array.shape
    if array.ndim < len(shape):
        array = array.reshape(found + (1,) * (len(shape) - array.ndim))
    if array.ndim != len(shape) or any(a not in (1, b) for a, b in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name}: expected shape {shape} or its leading axes, got {found}")
    return array


def mask_of(y_pred: Any, shape: tuple[int, ...], mask: Any = None) -> Array | None:
    """The mask of a loss or metric whose single values have ``shape``: bool of that shape, or None.

    ``mask`` wins over what rides along with the tensor ``y_pred`` (its ``mask``, or the steps within its ``lengths``).
    """
    if mask is None and isinstance(y_pred, Tensor):
        mask = y_pred.mask
        if mask is None and y_pred.lengths is not None:
            if len(shape) < 2:
                raise ValueError(f"lengths: expected y_pred with a time axis, got single losses of shape {shape}")
            mask = np.arange(shape[1]) < np.asarray(y_pred.lengths)[:, None]
    if mask is None:
        return None
    return np.broadcast_to(expand_to("mask", mask, shape).astype(bool, copy=False), shape)


def step_weights(
    reduction: str | None,
    shape: tuple[int, ...],
    sample_weight: Any = None,
    mask: Any = None,
    dtype: DTypeLike | None = None,
) -> Array:
    """The weight of each single loss in the scalar loss: ``loss = sum(weights * single losses)``.

    Args:
        reduction: "mean" divides by the number of single losses, with a mask by the number of valid ones; "batch_mean"
            by the batch size; "sum" and "none" by nothing.
        shape: S, the shape of the single losses.
        sample_weight: S or its leading axes.
        mask: S or its leading axes, bool; False leaves a single loss out.
        dtype: type of the result; ``floatx`` by default.

    Returns:
        (S) float array, C-contiguous. A mask without any valid step gives zeros.

    >>> step_weights("mean", (2, 2), mask=[[True, True], [True, False]], dtype="float64").round(3)
    array([[0.333, 0.333],
           [0.333, 0.   ]])
    """
    reduction = standard_reduction(reduction)
    kept = None if mask is None else np.broadcast_to(expand_to("mask", mask, shape).astype(bool, copy=False), shape)
    divisor = 1
    if reduction == "mean":
        divisor = int(np.prod(shape)) if kept is None else int(np.count_nonzero(kept))
    elif reduction == "batch_mean" and shape:
        divisor = shape[0]
    weights = np.full(shape, 1.0 / max(divisor, 1), float_dtype(dtype))
    if sample_weight is not None:
        weights *= expand_to("sample_weight", sample_weight, shape)
    if kept is not None:
        weights[~kept] = 0
    return weights


# --- targets ----------------------------------------------------------------------------------------------------------


def class_ids(y_true: Any, classes: int, shape: tuple[int, ...], mask: Array | None = None) -> Array:
    """Checked class ids of ``shape``, int32.

    Args:
        y_true: ids 0...classes-1 of ``shape`` or ``shape + (1,)``; floats must be whole numbers.
        mask: bool of ``shape``; where it is False any id is allowed and becomes 0.

    Raises:
        ValueError: for another shape, for fractions and NaN, and for ids out of range.

    >>> class_ids([[2.0], [0.0]], 3, (2,))
    array([2, 0], dtype=int32)
    """
    ids = as_array(y_true)
    if ids.ndim == len(shape) + 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.shape != shape:
        raise ValueError(f"y_true: expected class ids of shape {shape}, got shape {ids.shape}")
    if mask is not None:
        ids = np.where(mask, ids, 0)
    if ids.dtype.kind == "f":
        whole = np.isfinite(ids) & (ids == np.floor(ids))
        if not whole.all():
            raise ValueError(f"y_true: expected whole numbers as class ids, got {ids[~whole].flat[0]}")
    if ids.size:
        low, high = ids.min(), ids.max()
        if low < 0 or high >= classes:
            bad = low if low < 0 else high
            raise ValueError(f"y_true: expected class ids 0...{classes - 1}, got {int(bad)}")
    return ids.astype(np.int32, copy=False)


def same_shape(y_true: Any, y_pred: Array) -> tuple[Array, Array]:
    """Targets and predictions of one shape and type; a last axis of size 1 may be missing from either."""
    t = as_array(y_true)
    x = y_pred[:, None] if y_pred.ndim == 1 else y_pred
    if t.ndim == x.ndim - 1 and x.shape[-1] == 1:
        t = t[..., None]
    elif t.ndim == x.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    if t.shape != x.shape:
        raise _wrong_shape(as_array(y_true), y_pred)
    return t.astype(x.dtype, copy=False), x


def _wrong_shape(t: Array, x: Array) -> ValueError:
    ids = t.dtype.kind in "iu" and t.shape in (x.shape[:-1], (*x.shape[:-1], 1))
    hint = "; class ids need sparse_categorical_crossentropy" if ids else ""
    return ValueError(f"y_true: expected the shape of y_pred, {x.shape}, got {t.shape}{hint}")


def _float_array(value: Any) -> Array:
    array = as_array(value)
    if array.dtype.kind == "c":
        raise TypeError(f"y_pred: expected real numbers, got {array.dtype}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(float_dtype(None))


# --- single losses: forward and backward side by side -----------------------------------------------------------------
# ids: (S) int32; t, x: (S, V); weights: (S), gradient of the scalar loss by each single loss. All keep the memory order
# of x, so that a time-major view stays one.


def _at(x: Array, ids: Array) -> Array:
    return np.take_along_axis(x, ids[..., None], -1)[..., 0]


def _inside(x: Array) -> Array:
    """Where clipping to [EPSILON, 1 - EPSILON] lets the gradient pass; NaN passes."""
    return ~((x < EPSILON) | (x > 1.0 - EPSILON))


def _shifted_exp(x: Array) -> tuple[Array, Array, Array]:
    """x - max(x), its exponential and the sum of that: log-sum-exp without overflow."""
    shifted = np.empty_like(x)
    np.subtract(x, x.max(axis=-1, keepdims=True), out=shifted)
    exps = np.exp(shifted)
    return shifted, exps, exps.sum(axis=-1)


def sparse_logits_forward(ids: Array, x: Array) -> tuple[Array, Any]:
    """log(sum_j exp(x_j)) - x_id."""
    shifted, exps, total = _shifted_exp(x)
    return np.log(total) - _at(shifted, ids), (ids, exps, total)


def sparse_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (softmax(x) - onehot(id))."""
    ids, exps, total = saved
    dx = np.empty_like(exps)
    np.multiply(exps, (weights / total)[..., None], out=dx)
    np.put_along_axis(dx, ids[..., None], (_at(dx, ids) - weights)[..., None], -1)
    return cast(Array, dx)


def sparse_probabilities_forward(ids: Array, x: Array) -> tuple[Array, Any]:
    """-log(clip(q_id)) with q = x / sum(x)."""
    total = x.sum(axis=-1)
    q = _at(x, ids) / total
    return -np.log(np.clip(q, EPSILON, 1.0 - EPSILON)), (ids, q, total, x)


def sparse_probabilities_backward(saved: Any, weights: Array) -> Array:
    """d(-log q_id)/dx_j = 1/sum(x) - [j = id] / x_id."""
    ids, q, total, x = saved
    share = np.where(_inside(q), weights, 0) / total
    dx = np.empty_like(x)
    dx[...] = share[..., None]
    np.put_along_axis(dx, ids[..., None], (share - np.where(share == 0, 0, share / q))[..., None], -1)
    return cast(Array, dx)


def categorical_logits_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """-sum_j t_j * log_softmax(x)_j."""
    shifted, exps, total = _shifted_exp(x)
    shifted -= np.log(total)[..., None]
    return -(t * shifted).sum(axis=-1), (t, exps, total)


def categorical_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (softmax(x) * sum(t) - t)."""
    t, exps, total = saved
    dx = np.empty_like(exps)
    np.multiply(exps, (weights * t.sum(axis=-1) / total)[..., None], out=dx)
    dx -= t * weights[..., None]
    return cast(Array, dx)


def categorical_probabilities_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """-sum_j t_j * log(clip(q_j)) with q = x / sum(x)."""
    total = x.sum(axis=-1, keepdims=True)
    q = x / total
    return -(t * np.log(np.clip(q, EPSILON, 1.0 - EPSILON))).sum(axis=-1), (t, q, total)


def categorical_probabilities_backward(saved: Any, weights: Array) -> Array:
    """With g_j = -t_j / q_j: (g - sum(g * q)) / sum(x)."""
    t, q, total = saved
    g = np.empty_like(q)
    np.multiply(t, -weights[..., None], out=g)
    g /= q
    g[~_inside(q)] = 0
    g -= (g * q).sum(axis=-1, keepdims=True)
    g /= total
    return cast(Array, g)


def binary_logits_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j max(x, 0) - x * t + log(1 + exp(-|x|))."""
    small = np.exp(-np.abs(x))
    return (np.maximum(x, 0) - x * t + np.log1p(small)).mean(axis=-1), (t, x, small)


def binary_logits_backward(saved: Any, weights: Array) -> Array:
    """weights * (sigmoid(x) - t) / n."""
    t, x, small = saved
    dx = np.where(x >= 0, 1, small) / (1 + small)
    dx -= t
    dx *= (weights / x.shape[-1])[..., None]
    return cast(Array, dx)


def binary_probabilities_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j -(t * log(p) + (1 - t) * log(1 - p)) with p = clip(x)."""
    p = np.clip(x, EPSILON, 1.0 - EPSILON)
    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean(axis=-1), (t, x, p)


def binary_probabilities_backward(saved: Any, weights: Array) -> Array:
    """weights * ((1 - t) / (1 - p) - t / p) / n."""
    t, x, p = saved
    dx = np.empty_like(p)
    np.subtract((1 - t) / (1 - p), t / p, out=dx)
    dx *= (weights / x.shape[-1])[..., None]
    dx[~_inside(x)] = 0
    return cast(Array, dx)


def squared_forward(t: Array, x: Array) -> tuple[Array, Any]:
    """mean_j (x - t)^2."""
    difference = np.empty_like(x)
    np.subtract(x, t, out=difference)
    return np.square(difference).mean(axis=-1), difference


def squared_backward(saved: Any, weights: Array) -> Array:
    """2 * weights * (x - t) / n."""
    dx = np.empty_like(saved)
    np.multiply(saved, (2.0 / saved.shape[-1] * weights)[..., None], out=dx)
    return cast(Array, dx)


# --- classes ----------------------------------------------------------------------------------------------------------


class Loss:
    """A scalar that measures how far predictions are from targets.

    Args:
        reduction: "mean" (also "sum_over_batch_size": over all single losses, with a mask over the valid ones), "sum",
            "batch_mean" (summed over time, averaged over the batch) or "none" (the weighted single losses).
        name: name in logs.

    A subclass defines ``call(y_true, y_pred)``, which returns the single losses as a Tensor.

    >>> from seqcore.autograd import Tensor
    >>> class Doubled(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return Tensor(2 * abs(y_true - y_pred.numpy()))
    >>> float(Doubled()(np.array([1.0, 2.0]), Tensor([1.0, 4.0])))
    2.0
    """

    def __init__(self, reduction: str | None = "mean", name: str | None = None) -> None:
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
        y_pred = y_pred if isinstance(y_pred, Tensor) else Tensor(_float_array(y_pred))
        singles = self.call(y_true, y_pred)
        if not isinstance(singles, Tensor):
            raise TypeError(f"{self.name}: expected call to return a Tensor, got {type(singles).__name__}")
        losses = singles.numpy()
        kept = mask_of(y_pred, losses.shape, mask)
        result, weights = self._reduce(losses, sample_weight, kept)
        record((result,), (singles,), lambda dy: (_weigh(weights, dy),))
        return result

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
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{k}={v!r}' for k, v in self.get_config().items())}>"


def _weigh(weights: Array, dy: Gradient) -> Array:
    return cast(Array, weights * np.asarray(dy))


class _BuiltIn(Loss):
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
        return self._run(y_true, y_pred, (sample_weight, mask))

    def _run(self, y_true: Any, y_pred: Any, weighting: tuple[Any, Any] | None) -> Tensor:
        x = _float_array(y_pred)
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


class _Axis(_BuiltIn):
    """A loss over the classes of one axis."""

    def __init__(self, axis: int, reduction: str | None, name: str | None) -> None:
        super().__init__(reduction, name)
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise TypeError(f"axis: expected an int, got {axis!r}")
        self.axis = int(axis)

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


def _check_smoothing(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"label_smoothing: expected 0...1, got {value!r}")
    return float(value)


class BinaryCrossentropy(_Axis):
    """Cross-entropy of independent yes/no targets, averaged over ``axis``.

    Args:
        from_logits: y_pred are logits x instead of probabilities sigmoid(x).
        label_smoothing: 0...1; moves the targets towards 1/2.
        axis: the axis averaged over.
        reduction, name: see :class:`Loss`.

    y_true and y_pred: (B, n) or (B, T, n), of one shape; a last axis of size 1 may be missing.

    >>> loss = BinaryCrossentropy()
    >>> round(float(loss([[0.0], [1.0]], [[0.5], [0.5]])), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "mean",
        name: str | None = "binary_crossentropy",
    ) -> None:
        super().__init__(axis, reduction, name)
        self.from_logits, self.label_smoothing = bool(from_logits), _check_smoothing(label_smoothing)

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        t, x = same_shape(self._targets_to_last(y_true, y_pred), self._to_last(y_pred))
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        forward, backward = (
            (binary_logits_forward, binary_logits_backward)
            if self.from_logits
            else (binary_probabilities_forward, binary_probabilities_backward)
        )
        losses, saved = forward(t, x)
        return losses, lambda weights: (None, self._from_last(backward(saved, weights))), None

    def _shape(self, y_pred: Array) -> tuple[int, ...]:
        return y_pred.shape if y_pred.ndim == 1 else super()._shape(y_pred)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return super().get_config() | own


class CategoricalCrossentropy(_Axis):
    """Cross-entropy of one-hot (or any) class distributions.

    Args:
        from_logits: y_pred are logits; otherwise probabilities, divided by their sum and clipped.
        label_smoothing: 0...1; mixes the targets with the uniform distribution.
        axis: the axis of the classes.
        reduction, name: see :class:`Loss`.

    y_true and y_pred: (B, V) or (B, T, V).

    >>> loss = CategoricalCrossentropy(from_logits=True)
    >>> round(float(loss([[0.0, 1.0]], [[0.0, 0.0]])), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "mean",
        name: str | None = "categorical_crossentropy",
    ) -> None:
        super().__init__(axis, reduction, name)
        self.from_logits, self.label_smoothing = bool(from_logits), _check_smoothing(label_smoothing)

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        x = self._to_last(y_pred)
        t = as_array(self._targets_to_last(y_true, y_pred))
        if t.shape != x.shape:
            raise _wrong_shape(as_array(y_true), y_pred)
        t = t.astype(x.dtype, copy=False)
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + self.label_smoothing / x.shape[-1]
        forward, backward = (
            (categorical_logits_forward, categorical_logits_backward)
            if self.from_logits
            else (categorical_probabilities_forward, categorical_probabilities_backward)
        )
        losses, saved = forward(t, x)
        return losses, lambda weights: (None, self._from_last(backward(saved, weights))), None

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return super().get_config() | own


class SparseCategoricalCrossentropy(_Axis):
    """Cross-entropy of class ids.

    Args:
        from_logits: y_pred are logits; otherwise probabilities, divided by their sum and clipped.
        ignore_class: an id whose single losses are left out as if masked.
        axis: the axis of the classes.
        reduction, name: see :class:`Loss`.

    y_true: (B,) or (B, T) ids 0...V-1, also with a last axis of size 1; y_pred: (B, V) or (B, T, V).

    >>> loss = SparseCategoricalCrossentropy(from_logits=True)
    >>> round(float(loss([1], [[0.0, 0.0]])), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "mean",
        name: str | None = "sparse_categorical_crossentropy",
    ) -> None:
        super().__init__(axis, reduction, name)
        self.from_logits = bool(from_logits)
        self.ignore_class = None if ignore_class is None else int(ignore_class)

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        x = self._to_last(y_pred)
        ids, valid = as_array(y_true), None
        if ids.ndim == y_pred.ndim and ids.shape[self.axis] == 1:
            ids = np.squeeze(ids, self.axis)
        if self.ignore_class is not None and ids.shape == x.shape[:-1]:
            valid = ids != self.ignore_class
        known = mask if valid is None else valid if mask is None else valid & mask
        ids = class_ids(ids, x.shape[-1], x.shape[:-1], known)
        forward, backward = (
            (sparse_logits_forward, sparse_logits_backward)
            if self.from_logits
            else (sparse_probabilities_forward, sparse_probabilities_backward)
        )
        losses, saved = forward(ids, x)
        return losses, lambda weights: (None, self._from_last(backward(saved, weights))), valid

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"from_logits": self.from_logits, "ignore_class": self.ignore_class}


class SampledLoss(SparseCategoricalCrossentropy):
    """Base of the losses that train a last Dense layer on sampled classes.

    Args:
        num_sampled: S, classes that are sampled for each batch, by the log-uniform distribution without replacement:
            ids must be ranks by frequency, as vocabularies have them.
        remove_accidental_hits: leaves samples that are a row's target out.
        ignore_class, reduction, name: see :class:`SparseCategoricalCrossentropy`.

    In ``fit`` and ``train_on_batch`` the loss is the sampled one; the model must end in a Dense layer without
    activation. ``evaluate``, and every call on logits, is the cross-entropy of the full softmax. Metrics are those of
    the full softmax too and cost as much as it does: for speed compile without them.
    """

    # The formula in seqcore.sampled.
    formula = ""

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool,
        ignore_class: int | None,
        reduction: str | None,
        name: str | None,
    ) -> None:
        super().__init__(True, ignore_class, -1, reduction, name)
        if isinstance(num_sampled, bool) or not isinstance(num_sampled, (int, np.integer)) or num_sampled < 1:
            raise ValueError(f"num_sampled: expected an integer from 1, got {num_sampled!r}")
        self.num_sampled, self.remove_accidental_hits = int(num_sampled), bool(remove_accidental_hits)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_sampled": self.num_sampled,
            "remove_accidental_hits": self.remove_accidental_hits,
            "ignore_class": self.ignore_class,
            "reduction": self.reduction,
            "name": self.name,
        }


class NCELoss(SampledLoss):
    """Noise-contrastive estimation in training, the full softmax elsewhere; see :class:`SampledLoss`.

    >>> NCELoss(64).num_sampled
    64
    """

    formula = "nce"

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        name: str | None = "nce_loss",
    ) -> None:
        super().__init__(num_sampled, remove_accidental_hits, ignore_class, reduction, name)


class SampledSoftmaxLoss(SampledLoss):
    """Sampled softmax in training, the full softmax elsewhere; see :class:`SampledLoss`.

    >>> round(float(SampledSoftmaxLoss(64)([1], [[0.0, 0.0]])), 4)
    0.6931
    """

    formula = "sampled_softmax"

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool = True,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        name: str | None = "sampled_softmax_loss",
    ) -> None:
        super().__init__(num_sampled, remove_accidental_hits, ignore_class, reduction, name)


class MeanSquaredError(_BuiltIn):
    """Squared differences, averaged over the last axis.

    y_true and y_pred: (B, n) or (B, T, n), of one shape; a last axis of size 1 may be missing. Both get gradients.

    >>> float(MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]]))
    2.0
    """

    _both = True

    def __init__(self, reduction: str | None = "mean", name: str | None = "mean_squared_error") -> None:
        super().__init__(reduction, name)

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        t, x = same_shape(y_true, y_pred)
        losses, saved = squared_forward(t, x)
        target: Tensor | None = y_true if is_recording((y_true,)) else None

        def way_back(weights: Array) -> tuple[Gradient, Array]:
            dx = squared_backward(saved, weights)
            if target is None:
                return None, dx
            dt = -dx if mask is None else np.where(mask[..., None], -dx, 0)
            return dt.reshape(target.shape).astype(target.dtype, copy=False), dx

        return losses, way_back, None

    def _shape(self, y_pred: Array) -> tuple[int, ...]:
        return y_pred.shape if y_pred.ndim == 1 else super()._shape(y_pred)


class LossFunctionWrapper(Loss):
    """A function ``f(y_true, y_pred, **arguments)`` that returns single losses, as a loss.

    Args:
        fn: called with the targets and the predictions as a Tensor; it must return a Tensor.
        reduction, name: see :class:`Loss`.
        kwargs: passed on to ``fn``.
    """

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "mean", name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(reduction, name or getattr(fn, "__name__", "loss"))
        self.fn, self._kwargs = fn, kwargs

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return cast(Tensor, self.fn(y_true, y_pred, **self._kwargs))

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"loss: the function {self.name!r} cannot be written to a file; use a Loss class")


# --- functions --------------------------------------------------------------------------------------------------------


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The single losses (S) of :class:`BinaryCrossentropy`.

    >>> binary_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The single losses (S) of :class:`CategoricalCrossentropy`.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """The single losses (S) of :class:`SparseCategoricalCrossentropy`.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis).call(y_true, y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """The single losses (S) of :class:`MeanSquaredError`.

    >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]]).numpy()
    array([2.], dtype=float32)
    """
    return MeanSquaredError().call(y_true, y_pred)


_CLASSES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "mean_squared_error": MeanSquaredError,
}
_ALIASES = {"bce": "binary_crossentropy", "cce": "categorical_crossentropy", "mse": "mean_squared_error"}
_FUNCTIONS: dict[Any, str] = {
    binary_crossentropy: "binary_crossentropy",
    categorical_crossentropy: "categorical_crossentropy",
    sparse_categorical_crossentropy: "sparse_categorical_crossentropy",
    mean_squared_error: "mean_squared_error",
}


def get(identifier: Any) -> Loss:
    """The loss meant by a name, a class, a function, a configuration or a loss.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        name = _ALIASES.get(identifier.lower(), identifier)
        by_class = {cls.__name__: cls for cls in _CLASSES.values()}
        found = _CLASSES.get(name) or by_class.get(name)
        if found is None:
            raise ValueError(f"loss: expected one of {', '.join(sorted(_CLASSES))}, got {identifier!r}")
        return found()
    if inspect.isclass(identifier) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        known = _FUNCTIONS.get(identifier) if getattr(identifier, "__hash__", None) else None
        return _CLASSES[known]() if known else LossFunctionWrapper(identifier)
    raise TypeError(f"loss: expected a name, a Loss or a function, got {type(identifier).__name__}")


def serialize(loss: Loss) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a loss; JSON-able.

    >>> serialize(MeanSquaredError())["class_name"]
    'MeanSquaredError'
    """
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def deserialize(config: dict[str, Any]) -> Loss:
    """The loss that :func:`serialize` described.

    Raises:
        ValueError: for a class this module does not have.
    """
    by_class: dict[str, type[Loss]] = {cls.__name__: cls for cls in (*_CLASSES.values(), NCELoss, SampledSoftmaxLoss)}
    found = by_class.get(config.get("class_name", ""))
    if found is None:
        raise ValueError(f"loss: expected a class name out of {', '.join(by_class)}, got {config.get('class_name')!r}")
    return found.from_config(config.get("config", {}))
