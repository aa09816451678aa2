"""Metrics: running means over batches, with sample weights and masks; names and formulas of Keras 3.

Every metric is the weighted mean of its per-sample values over all batches since ``reset_state``, or a function of it.
"""

from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SequenceAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .crossentropy import BinaryCrossentropy, CategoricalCrossentropy, Perplexity, SparseCategoricalCrossentropy
from .lookup import deserialize, get, serialize
from .metric import Mean, MeanMetricWrapper, Metric
from .regression import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "RootMeanSquaredError",
    "SequenceAccuracy",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "deserialize",
    "get",
    "serialize",
]
