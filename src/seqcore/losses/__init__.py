"""Losses: cross-entropies and mean squared error, with sample weights, masks and four reductions."""

from ..ops.targets import step_weights
from .crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from .lookup import deserialize, get, serialize
from .loss import Loss, LossFunctionWrapper
from .mean_squared import MeanSquaredError, mean_squared_error
from .sampled import NCELoss, SampledLoss, SampledSoftmaxLoss
from .several import OutputLosses

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "LossFunctionWrapper",
    "MeanSquaredError",
    "NCELoss",
    "OutputLosses",
    "SampledLoss",
    "SampledSoftmaxLoss",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "deserialize",
    "get",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_crossentropy",
    "step_weights",
]
