"""Losses as metrics: cross-entropies and perplexity, squared and absolute errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import losses
from ..autograd.tensor import as_array
from ..ops._targets import ids_of, mask_of, same_shape
from ..typing import Array
from .metric import METRICS, PairMean


class LossMean(PairMean):
    """The mean of a loss's single values."""

    direction = "down"
    loss: losses.Loss

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        single = isinstance(self.loss, (losses.BinaryCrossentropy, losses.MeanSquaredError))
        return y_pred.shape if y_pred.ndim == 1 and single else y_pred.shape[:-1]

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        if mask is not None and isinstance(self.loss, losses.SparseCategoricalCrossentropy):
            # Ids of steps left out are not looked at.
            y_true = np.where(mask, ids_of(y_true, y_pred.shape[:-1]), 0)
        return self.loss.call(y_true, y_pred).numpy()

    def update_losses(self, values: Any, weights: Any = None) -> None:
        """Takes single losses (S) in, where a fused operation knows them already."""
        self.update_values(values, weights)

    def get_config(self) -> dict[str, Any]:
        return self.loss.get_config() | super().get_config()


class Crossentropy(LossMean):
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["reduction"]
        return config


@METRICS.register("binary_crossentropy", "bce")
class BinaryCrossentropy(Crossentropy):
    """Mean of :class:`seqcore.losses.BinaryCrossentropy`.

    >>> round(BinaryCrossentropy()([[0.0], [1.0]], [[0.5], [0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: DTypeLike | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.loss = losses.BinaryCrossentropy(from_logits, label_smoothing, axis)


@METRICS.register("categorical_crossentropy", "cce")
class CategoricalCrossentropy(Crossentropy):
    """Mean of :class:`seqcore.losses.CategoricalCrossentropy`.

    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: DTypeLike | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        self.loss = losses.CategoricalCrossentropy(from_logits, label_smoothing, axis)


class _SparseMean(Crossentropy):
    def __init__(
        self, name: str | None, dtype: DTypeLike | None, from_logits: bool, ignore_class: int | None, axis: int
    ) -> None:
        super().__init__(name, dtype)
        self.loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        assert isinstance(self.loss, losses.SparseCategoricalCrossentropy)
        if self.loss.ignore_class is not None:
            shape = as_array(y_pred).shape[:-1]
            kept = mask_of(y_pred, shape, mask)
            counted = ids_of(y_true, shape) != self.loss.ignore_class
            mask = counted if kept is None else counted & kept
        super().update_state(y_true, y_pred, sample_weight, mask)


@METRICS.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_SparseMean):
    """Mean of :class:`seqcore.losses.SparseCategoricalCrossentropy`.

    Targets of ``ignore_class`` are left out of the mean, as the loss does; Keras's metric counts them as zeros.

    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DTypeLike | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, from_logits, ignore_class, axis)


@METRICS.register("perplexity")
class Perplexity(_SparseMean):
    """exp of the mean cross-entropy of class ids: among how many classes the model hesitates.

    Args:
        name, dtype: see :class:`Metric`.
        from_logits: y_pred are logits instead of probabilities.
        ignore_class: an id that is left out.
        axis: the axis of the classes.

    Before the first update it is NaN; overflow gives inf.

    >>> round(Perplexity()([1, 0], [[0.5, 0.5], [0.5, 0.5]]), 4)
    2.0
    """

    def __init__(
        self,
        name: str | None = "perplexity",
        dtype: DTypeLike | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype, from_logits, ignore_class, axis)

    def result(self) -> float:
        if not self.count:
            return math.nan
        try:
            return self._rounded(math.exp(self.total / self.count))
        except OverflowError:
            return math.inf


@METRICS.register("mean_squared_error", "mse")
class MeanSquaredError(LossMean):
    """Mean of the squared differences.

    >>> MeanSquaredError()([[0.0, 1.0]], [[0.0, 3.0]])
    2.0
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: DTypeLike | None = None) -> None:
        super().__init__(name, dtype)
        self.loss = losses.MeanSquaredError()

    def get_config(self) -> dict[str, Any]:
        return PairMean.get_config(self)


@METRICS.register("root_mean_squared_error", "rmse")
class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean of the squared differences.

    >>> RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [3.0]])
    3.0
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: DTypeLike | None = None) -> None:
        super().__init__(name, dtype)

    def result(self) -> float:
        return self._rounded(math.sqrt(super().result()))


@METRICS.register("mean_absolute_error", "mae")
class MeanAbsoluteError(PairMean):
    """Mean of the absolute differences.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[0.0, 3.0]])
    1.0
    """

    direction = "down"

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(np.abs(x - t).mean(axis=-1))
