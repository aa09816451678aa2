"""Cross-entropies of class ids, of class distributions and of yes/no targets.

B, T, V: batch, time steps, classes. S: shape of the per-sample losses, (B,) or (B, T). Each formula returns the losses
(S) and their backward function from the gradient of each, ``weights`` (S), to that of the predictions x (S, V), both in
the memory order of x, so that a time-major view stays one. Formulas are those of Keras 3; probabilities are clipped to
[1e-7, 1 - 1e-7].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._validation import boolean, integer, real
from ..autograd import Tensor, as_array
from ..ops.activations import shifted_exp
from ..ops.targets import class_ids, same_shape, shape_error
from ..typing import Array
from .loss import FUNCTIONS, LOSSES, FusedLoss, PerSample

EPSILON = 1e-7

Formula = tuple[Array, Callable[[Array], Array]]


def _outside(x: Array) -> Array:
    """True where clipping stops the gradient; NaN passes."""
    return (x < EPSILON) | (x > 1.0 - EPSILON)


class _Crossentropy(FusedLoss):
    """Base of the cross-entropies: of logits or of probabilities, over one axis."""

    _config_names: tuple[str, ...] = (*FusedLoss._config_names, "axis", "from_logits")

    def __init__(
        self, from_logits: bool, axis: int, reduction: str | None, name: str | None, dtype: DTypeLike | None
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis, self.from_logits = integer("axis", axis), boolean("from_logits", from_logits)


class _DenseCrossentropy(_Crossentropy):
    """Base of the cross-entropies whose targets have the shape of the predictions and may be smoothed."""

    _config_names: tuple[str, ...] = (*_Crossentropy._config_names, "label_smoothing")

    def __init__(
        self,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: DTypeLike | None,
    ) -> None:
        super().__init__(from_logits, axis, reduction, name, dtype)
        self.label_smoothing = real("label_smoothing", label_smoothing, 0, 1)

    def _targets(self, y_true: Any, ndim: int) -> Array:
        """Targets with ``axis`` as their last, as the predictions have it."""
        t = as_array(y_true)
        return self._to_last(t) if t.ndim == ndim else t


# --- yes/no targets ---------------------------------------------------------------------------------------------------


@LOSSES.register("binary_crossentropy", "bce")
class BinaryCrossentropy(_DenseCrossentropy):
    """Cross-entropy of independent yes/no targets, averaged over ``axis``.

    Args:
        from_logits: y_pred are logits x instead of probabilities sigmoid(x).
        label_smoothing: 0...1; moves the targets towards 1/2.
        axis: the axis averaged over.
        reduction, name, dtype: see :class:`Loss`.

    y_true and y_pred: (B, n) or (B, T, n), of one shape; a last axis of size 1 may be missing.

    >>> loss = BinaryCrossentropy()
    >>> round(float(loss([[0.0], [1.0]], [[0.5], [0.5]])), 4)
    0.6931
    """

    _elementwise = True

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "mean",
        name: str | None = "binary_crossentropy",
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def _per_sample(self, y_true: Any, y_pred: Array, mask: Array | None) -> PerSample:
        t, x = same_shape(self._targets(y_true, y_pred.ndim), y_pred)
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return *(_binary_logits if self.from_logits else _binary_probabilities)(t, x), None


def _binary_logits(t: Array, x: Array) -> Formula:
    """mean_j max(x, 0) - x * t + log(1 + exp(-|x|)); backward: weights * (sigmoid(x) - t) / n."""
    small = np.exp(-np.abs(x))

    def backward(weights: Array) -> Array:
        dx: Array = np.where(x >= 0, 1, small) / (1 + small)
        dx -= t
        dx *= (weights / x.shape[-1])[..., None]
        return dx

    return (np.maximum(x, 0) - x * t + np.log1p(small)).mean(axis=-1), backward


def _binary_probabilities(t: Array, x: Array) -> Formula:
    """mean_j -(t * log(p) + (1 - t) * log(1 - p)), p = clip(x); backward: weights * ((1 - t) / (1 - p) - t / p) / n."""
    p = np.clip(x, EPSILON, 1.0 - EPSILON)

    def backward(weights: Array) -> Array:
        dx = np.empty_like(p)
        np.subtract((1 - t) / (1 - p), t / p, out=dx)
        dx *= (weights / x.shape[-1])[..., None]
        dx[_outside(x)] = 0
        return dx

    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean(axis=-1), backward


# --- class distributions ----------------------------------------------------------------------------------------------


@LOSSES.register("categorical_crossentropy", "cce")
class CategoricalCrossentropy(_DenseCrossentropy):
    """Cross-entropy of one-hot (or any) class distributions.

    Args:
        from_logits: y_pred are logits; otherwise probabilities, divided by their sum and clipped.
        label_smoothing: 0...1; mixes the targets with the uniform distribution.
        axis: the axis of the classes.
        reduction, name, dtype: see :class:`Loss`.

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
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def _per_sample(self, y_true: Any, y_pred: Array, mask: Array | None) -> PerSample:
        t = self._targets(y_true, y_pred.ndim)
        if t.shape != y_pred.shape:
            raise shape_error(t, y_pred)
        t = t.astype(y_pred.dtype, copy=False)
        if self.label_smoothing:
            t = t * (1.0 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        return *(_categorical_logits if self.from_logits else _categorical_probabilities)(t, y_pred), None


def _categorical_logits(t: Array, x: Array) -> Formula:
    """-sum_j t_j * log_softmax(x)_j; backward: weights * (softmax(x) * sum(t) - t)."""
    shifted, exps, total = shifted_exp(x)
    shifted -= np.log(total)

    def backward(weights: Array) -> Array:
        dx = np.empty_like(exps)
        np.multiply(exps, (weights * t.sum(axis=-1) / total[..., 0])[..., None], out=dx)
        dx -= t * weights[..., None]
        return dx

    return -(t * shifted).sum(axis=-1), backward


def _categorical_probabilities(t: Array, x: Array) -> Formula:
    """-sum_j t_j * log(clip(q_j)) with q = x / sum(x); backward, with g_j = -t_j / q_j: (g - sum(g * q)) / sum(x)."""
    total = x.sum(axis=-1, keepdims=True)
    q = x / total

    def backward(weights: Array) -> Array:
        dx: Array = np.empty_like(q)
        np.multiply(t, -weights[..., None], out=dx)
        dx /= q
        dx[_outside(q)] = 0
        dx -= (dx * q).sum(axis=-1, keepdims=True)
        dx /= total
        return dx

    return -(t * np.log(np.clip(q, EPSILON, 1.0 - EPSILON))).sum(axis=-1), backward


# --- class ids --------------------------------------------------------------------------------------------------------


@LOSSES.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_Crossentropy):
    """Cross-entropy of class ids.

    Args:
        from_logits: y_pred are logits; otherwise probabilities, divided by their sum and clipped.
        ignore_class: an id whose per-sample losses are left out as if masked.
        axis: the axis of the classes.
        reduction, name, dtype: see :class:`Loss`.

    y_true: (B,) or (B, T) ids 0...V-1, also with a last axis of size 1; y_pred: (B, V) or (B, T, V).

    >>> loss = SparseCategoricalCrossentropy(from_logits=True)
    >>> round(float(loss([1], [[0.0, 0.0]])), 4)
    0.6931
    """

    _config_names: tuple[str, ...] = (*_Crossentropy._config_names, "ignore_class")

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(from_logits, axis, reduction, name, dtype)
        self.ignore_class = None if ignore_class is None else integer("ignore_class", ignore_class)

    def _per_sample(self, y_true: Any, y_pred: Array, mask: Array | None) -> PerSample:
        ids, valid = as_array(y_true), None
        if ids.ndim == y_pred.ndim and ids.shape[self.axis] == 1:
            ids = np.squeeze(ids, self.axis)
        if self.ignore_class is not None and ids.shape == y_pred.shape[:-1]:
            valid = ids != self.ignore_class
        known = mask if valid is None else valid if mask is None else valid & mask
        ids = class_ids(ids, y_pred.shape[-1], y_pred.shape[:-1], known)
        return *(_sparse_logits if self.from_logits else _sparse_probabilities)(ids, y_pred), valid


def _at(x: Array, ids: Array) -> Array:
    return np.take_along_axis(x, ids[..., None], -1)[..., 0]


def _sparse_logits(ids: Array, x: Array) -> Formula:
    """log(sum_j exp(x_j)) - x_id; backward: weights * (softmax(x) - onehot(id))."""
    shifted, exps, total = shifted_exp(x)
    total = total[..., 0]

    def backward(weights: Array) -> Array:
        dx = np.empty_like(exps)
        np.multiply(exps, (weights / total)[..., None], out=dx)
        np.put_along_axis(dx, ids[..., None], (_at(dx, ids) - weights)[..., None], -1)
        return dx

    return np.log(total) - _at(shifted, ids), backward


def _sparse_probabilities(ids: Array, x: Array) -> Formula:
    """-log(clip(q_id)) with q = x / sum(x); backward: weights * (1 / sum(x) - [j = id] / x_id)."""
    total = x.sum(axis=-1)
    q = _at(x, ids) / total

    def backward(weights: Array) -> Array:
        share = np.where(_outside(q), 0, weights) / total
        dx = np.empty_like(x)
        dx[...] = share[..., None]
        np.put_along_axis(dx, ids[..., None], (share - np.where(share == 0, 0, share / q))[..., None], -1)
        return dx

    return -np.log(np.clip(q, EPSILON, 1.0 - EPSILON)), backward


# --- functions --------------------------------------------------------------------------------------------------------


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The per-sample losses (S) of :class:`BinaryCrossentropy`.

    >>> binary_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """The per-sample losses (S) of :class:`CategoricalCrossentropy`.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """The per-sample losses (S) of :class:`SparseCategoricalCrossentropy`.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(y_true, y_pred)


FUNCTIONS |= {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
