"""Accuracies: of each prediction, among the k largest, and of whole sequences.

B, T, V: batch, time steps, classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._validation import boolean, integer, real
from ..autograd import as_array
from ..ops.targets import mask_of, same_shape, whole_class_ids
from ..typing import Array
from .metric import METRICS, MeanOfPairs, WeightedMean


@METRICS.register()
class Accuracy(MeanOfPairs):
    """Share of the elements of y_pred that equal those of y_true.

    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    direction = "up"

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        return same_shape(y_true, y_pred)[1].shape

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(t == x)


@METRICS.register("binary_accuracy")
class BinaryAccuracy(MeanOfPairs):
    """Share of the elements where ``y_pred > threshold`` equals y_true.

    Args:
        name, dtype: see :class:`Metric`.
        threshold: 0.5 for probabilities; 0 for logits.

    y_true and y_pred: (B, n) or (B, T, n); a last axis of size 1 may be missing.

    >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
    0.75
    """

    direction = "up"
    _config_names: tuple[str, ...] = (*MeanOfPairs._config_names, "threshold")

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: DTypeLike | None = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name, dtype)
        self.threshold = real("threshold", threshold)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(((x > self.threshold) == t).mean(axis=-1))


@METRICS.register("categorical_accuracy")
class CategoricalAccuracy(MeanOfPairs):
    """Share of the samples whose largest prediction is at the class of the (one-hot) target.

    y_true and y_pred: (B, V) or (B, T, V).

    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"
    _elementwise = False

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        return np.asarray(_largest(y_true, y_pred) == y_pred.argmax(axis=-1))


@METRICS.register("sparse_categorical_accuracy")
class SparseCategoricalAccuracy(MeanOfPairs):
    """Share of the samples whose largest prediction is at the class id.

    y_true: (B,) or (B, T) ids, also with a last axis of size 1; y_pred: (B, V) or (B, T, V).

    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"
    _elementwise = False

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        return np.asarray(whole_class_ids(y_true, y_pred.shape[:-1], mask) == y_pred.argmax(axis=-1))


@METRICS.register("sequence_accuracy")
class SequenceAccuracy(WeightedMean):
    """Share of the sequences whose largest predictions are at the class ids in all steps.

    y_true: (B, T) ids; y_pred: (B, T, V), whose ``lengths`` or ``mask`` leave steps out.

    For a decoder under teacher forcing it is the exact match of greedy decoding: while all letters before it are right,
    a letter is chosen from the same state either way.

    >>> SequenceAccuracy()([[1, 0], [1, 1]], [[[0, 1], [1, 0]], [[0, 1], [1, 0]]])
    0.5
    """

    direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Update with one batch; ``sample_weight``: (B,), ``mask``: (B, T) bool, which replaces that of y_pred."""
        x = as_array(y_pred)
        if x.ndim != 3:
            raise ValueError(f"y_pred: expected shape (batch, time, classes), got {x.shape}")
        kept = mask_of(y_pred, x.shape[:2], mask)
        right = whole_class_ids(y_true, x.shape[:2], kept) == x.argmax(axis=-1)
        self.update_values((right if kept is None else right | ~kept).all(axis=1), sample_weight)


def _largest(y_true: Any, y_pred: Array) -> Array:
    """Class ids of one-hot targets of the predictions' shape."""
    t = as_array(y_true)
    if t.shape != y_pred.shape:
        raise ValueError(f"y_true: expected the shape of y_pred, {y_pred.shape}, got {t.shape}")
    return np.asarray(t.argmax(axis=-1))


def _among_top(ids: Array, y_pred: Array, k: int) -> Array:
    """True where fewer than k classes score above class ``ids``; ids out of range and scores that are not finite are
    never among the top."""
    inside = (ids >= 0) & (ids < y_pred.shape[-1])
    score = np.take_along_axis(y_pred, np.where(inside, ids, 0).astype(np.int64)[..., None], -1)
    return np.asarray(inside & np.isfinite(score[..., 0]) & ((y_pred > score).sum(axis=-1) < k))


@METRICS.register("sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(SparseCategoricalAccuracy):
    """Share of the samples whose class id is among the k largest predictions.

    Args:
        k: how many predictions count.
        name, dtype: see :class:`Metric`.
        from_sorted_ids: y_pred (B, n) or (B, T, n) are class ids, the most likely first, instead of scores.

    >>> SparseTopKCategoricalAccuracy(k=2)([2, 0], [[0.1, 0.6, 0.3], [0.01, 0.95, 0.04]])
    0.5
    """

    _config_names: tuple[str, ...] = (*SparseCategoricalAccuracy._config_names, "k", "from_sorted_ids")

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: DTypeLike | None = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.k, self.from_sorted_ids = integer("k", k, 1), boolean("from_sorted_ids", from_sorted_ids)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        ids = whole_class_ids(y_true, y_pred.shape[:-1], mask)
        if self.from_sorted_ids:
            return np.asarray((y_pred[..., : self.k] == ids[..., None]).any(axis=-1))
        return _among_top(ids, y_pred, self.k)


@METRICS.register("top_k_categorical_accuracy")
class TopKCategoricalAccuracy(CategoricalAccuracy):
    """Share of the samples whose (one-hot) target is among the k largest predictions.

    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1]], [[0.1, 0.6, 0.3]])
    1.0
    """

    _config_names: tuple[str, ...] = (*CategoricalAccuracy._config_names, "k")

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(name, dtype)
        self.k = integer("k", k, 1)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        return _among_top(_largest(y_true, y_pred), y_pred, self.k)


class AccuracyByShape(WeightedMean):
    """Accuracy in the form that fits the first batch: sparse, binary or categorical, as Keras chooses."""

    direction = "up"
    _registered_name = "accuracy"

    def __init__(self, name: str | None = "accuracy", dtype: DTypeLike | None = None) -> None:
        super().__init__(name, dtype)
        self._form: MeanOfPairs | None = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        if self._form is None:
            t, x = as_array(y_true).shape, as_array(y_pred).shape
            if len(x) < 2 or x[-1] == 1:
                self._form = BinaryAccuracy(dtype=self.dtype)
            else:
                sparse = len(t) < len(x) or t[-1] == 1
                self._form = (SparseCategoricalAccuracy if sparse else CategoricalAccuracy)(dtype=self.dtype)
        self._form.total, self._form.count = self.total, self.count
        self._form.update_state(y_true, y_pred, sample_weight, mask)
        self.total, self.count = self._form.total, self._form.count


METRICS.add("accuracy", AccuracyByShape)
