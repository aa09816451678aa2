"""Cross-entropies as metrics, and perplexity."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import DTypeLike

from .. import losses
from ..losses.loss import FusedLoss
from ..ops.targets import as_float_array, mask_of
from .metric import METRICS, WeightedMean


class LossMetric(WeightedMean):
    """The mean of the per-sample losses of ``loss``."""

    direction = "down"

    def __init__(self, loss: FusedLoss, name: str | None, dtype: DTypeLike | None) -> None:
        super().__init__(name, dtype)
        self.loss = loss

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Update with one batch; see :meth:`MeanOfPairs.update_state`."""
        x = as_float_array(self._cast(y_pred))
        kept = mask_of(y_pred, self.loss.sample_shape(x), mask) if x.ndim else None
        losses, _, counted = self.loss.per_sample(y_true, x, kept)
        self.update_values(losses, sample_weight, counted)

    def get_config(self) -> dict[str, Any]:
        config = self.loss.get_config() | super().get_config()
        del config["reduction"]
        return config


@METRICS.register("binary_crossentropy", "bce")
class BinaryCrossentropy(LossMetric):
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
        super().__init__(losses.BinaryCrossentropy(from_logits, label_smoothing, axis), name, dtype)


@METRICS.register("categorical_crossentropy", "cce")
class CategoricalCrossentropy(LossMetric):
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
        super().__init__(losses.CategoricalCrossentropy(from_logits, label_smoothing, axis), name, dtype)


@METRICS.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(LossMetric):
    """Mean of :class:`seqcore.losses.SparseCategoricalCrossentropy`.

    Targets of ``ignore_class`` are left out of the mean, as the loss does; Keras's metric counts them as zeros.

    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    loss: losses.SparseCategoricalCrossentropy

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DTypeLike | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis), name, dtype)


@METRICS.register("perplexity")
class Perplexity(SparseCategoricalCrossentropy):
    """exp of the mean cross-entropy of class ids: the effective number of equally likely classes.

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
