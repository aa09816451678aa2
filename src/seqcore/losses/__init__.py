"""Losses: cross-entropies and mean squared error, with sample weights, masks and four reductions."""

from ..ops._targets import step_weights
from .classes import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    LossFunctionWrapper,
    MeanSquaredError,
    NCELoss,
    SampledLoss,
    SampledSoftmaxLoss,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    deserialize,
    get,
    mean_squared_error,
    serialize,
    sparse_categorical_crossentropy,
)
from .loss import Loss

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "LossFunctionWrapper",
    "MeanSquaredError",
    "NCELoss",
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
