"""Losses: cross-entropies and mean squared error, with sample weights, masks and four reductions."""

from .base import Loss
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
from .targets import class_ids, expand_to, ids_of, mask_of, same_shape, standard_reduction, step_weights

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
    "class_ids",
    "deserialize",
    "expand_to",
    "get",
    "ids_of",
    "mask_of",
    "mean_squared_error",
    "same_shape",
    "serialize",
    "sparse_categorical_crossentropy",
    "standard_reduction",
    "step_weights",
]
