"""Cross-entropies, sampled losses, mean squared error; losses by name.

B, T, V: batch, time steps, classes. S: shape of the single losses, which is that of y_pred without its last axis: (B,)
or (B, T). Names, formulas and defaults are those of Keras 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from .._validation import at_least, boolean, integer, real
from ..autograd.tape import is_recording
from ..autograd.tensor import Gradient, Tensor, as_array
from ..ops._targets import class_ids, same_shape, wrong_shape
from ..typing import Array
from .formulas import (
    binary_logits_backward,
    binary_logits_forward,
    binary_probabilities_backward,
    binary_probabilities_forward,
    categorical_logits_backward,
    categorical_logits_forward,
    categorical_probabilities_backward,
    categorical_probabilities_forward,
    sparse_logits_backward,
    sparse_logits_forward,
    sparse_probabilities_backward,
    sparse_probabilities_forward,
    squared_backward,
    squared_forward,
)
from .loss import LOSSES, BuiltIn, Loss, OverAxis, Singles


class _Smoothed(OverAxis):
    """A cross-entropy of targets that may be smoothed."""

    def __init__(
        self,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: DTypeLike | None,
    ) -> None:
        super().__init__(axis, name, reduction, dtype)
        self.label_smoothing = real("label_smoothing", label_smoothing, 0, 1)
        self.from_logits = boolean("from_logits", from_logits)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}
        return super().get_config() | own


@LOSSES.register("binary_crossentropy", "bce")
class BinaryCrossentropy(_Smoothed):
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


@LOSSES.register("categorical_crossentropy", "cce")
class CategoricalCrossentropy(_Smoothed):
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

    def _singles(self, y_true: Any, y_pred: Array, mask: Array | None) -> Singles:
        x = self._to_last(y_pred)
        t = as_array(self._targets_to_last(y_true, y_pred))
        if t.shape != x.shape:
            raise wrong_shape(as_array(y_true), y_pred)
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


@LOSSES.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(OverAxis):
    """Cross-entropy of class ids.

    Args:
        from_logits: y_pred are logits; otherwise probabilities, divided by their sum and clipped.
        ignore_class: an id whose single losses are left out as if masked.
        axis: the axis of the classes.
        reduction, name, dtype: see :class:`Loss`.

    y_true: (B,) or (B, T) ids 0...V-1, also with a last axis of size 1; y_pred: (B, V) or (B, T, V).

    >>> loss = SparseCategoricalCrossentropy(from_logits=True)
    >>> round(float(loss([1], [[0.0, 0.0]])), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(axis, name, reduction, dtype)
        self.from_logits = boolean("from_logits", from_logits)
        self.ignore_class = None if ignore_class is None else integer("ignore_class", ignore_class)

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

    # The formula in seqcore.ops.sampled_losses.
    formula = ""

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool,
        ignore_class: int | None,
        reduction: str | None,
        name: str | None,
    ) -> None:
        super().__init__(True, ignore_class, reduction, name=name)
        self.num_sampled = at_least("num_sampled", num_sampled, 1)
        self.remove_accidental_hits = boolean("remove_accidental_hits", remove_accidental_hits)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_sampled": self.num_sampled,
            "remove_accidental_hits": self.remove_accidental_hits,
            "ignore_class": self.ignore_class,
            "reduction": self.reduction,
            "name": self.name,
        }


@LOSSES.register("nce_loss")
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


@LOSSES.register("sampled_softmax_loss")
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


@LOSSES.register("mean_squared_error", "mse")
class MeanSquaredError(BuiltIn):
    """Squared differences, averaged over the last axis.

    y_true and y_pred: (B, n) or (B, T, n), of one shape; a last axis of size 1 may be missing. Both get gradients.

    >>> float(MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]]))
    2.0
    """

    _both = True

    def __init__(
        self,
        reduction: str | None = "mean",
        name: str | None = "mean_squared_error",
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

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
        super().__init__(name or getattr(fn, "__name__", "loss"), reduction)
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
    return SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis).call(y_true, y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """The single losses (S) of :class:`MeanSquaredError`.

    >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]]).numpy()
    array([2.], dtype=float32)
    """
    return MeanSquaredError().call(y_true, y_pred)


_CLASS_OF: dict[Any, type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    mean_squared_error: MeanSquaredError,
}


def get(identifier: Any) -> Loss:
    """The loss meant by a name, a class, a function, a configuration or a loss; also by a list of one of these.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, (list, tuple)) and len(identifier) == 1:
        return get(identifier[0])
    if isinstance(identifier, (list, tuple)) or (isinstance(identifier, dict) and "class_name" not in identifier):
        got = f"a {type(identifier).__name__} of {len(identifier)}"
        raise ValueError(f"loss: expected one loss, got {got}; a model has one output here, so pass the loss itself")
    loss = LOSSES.get(identifier)
    if loss is not None:
        return loss
    if callable(identifier):
        cls = _CLASS_OF.get(identifier) if getattr(identifier, "__hash__", None) else None
        return cls() if cls else LossFunctionWrapper(identifier)
    raise TypeError(f"loss: expected a name, a Loss or a function, got {type(identifier).__name__}")


def serialize(loss: Loss) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a loss; JSON-able.

    >>> serialize(MeanSquaredError())["class_name"]
    'MeanSquaredError'
    """
    return LOSSES.serialize(loss)


def deserialize(name: dict[str, Any], custom_objects: dict[str, type[Loss]] | None = None) -> Loss:
    """The loss that :func:`serialize` described.

    Args:
        name: what :func:`serialize` gave; called so in Keras.
        custom_objects: further classes by name.

    Raises:
        ValueError: for a class that neither has.
    """
    return LOSSES.deserialize(name, custom_objects)
