"""Squared and absolute errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import losses
from ..ops.targets import same_shape
from ..typing import Array
from .crossentropy import LossMetric
from .metric import METRICS, MeanOfPairs


@METRICS.register("mean_squared_error", "mse")
class MeanSquaredError(LossMetric):
    """Mean of the squared differences.

    >>> MeanSquaredError()([[0.0, 1.0]], [[0.0, 3.0]])
    2.0
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: DTypeLike | None = None) -> None:
        super().__init__(losses.MeanSquaredError(), name, dtype)


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
class MeanAbsoluteError(MeanOfPairs):
    """Mean of the absolute differences.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[0.0, 3.0]])
    1.0
    """

    direction = "down"

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(np.abs(x - t).mean(axis=-1))
