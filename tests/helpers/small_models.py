"""Small models and data for the tests of training."""

import numpy as np

from seqcore import layers, losses, models

V = 11


def language_model(stateful=False, dropout=0.0, mask_zero=False, dtype="float64"):
    stack = [
        layers.Embedding(V, 6, mask_zero=mask_zero, dtype=dtype),
        layers.LSTM(5, return_sequences=True, stateful=stateful, dropout=dropout, dtype=dtype),
        layers.Dropout(dropout, dtype=dtype),
        layers.GRU(4, return_sequences=True, stateful=stateful, dtype=dtype),
        layers.Dense(V, dtype=dtype),
    ]
    return models.Sequential(stack)


def ids(rng, *shape, low=0):
    return rng.integers(low, V, shape, dtype=np.int32)


def dense_model(**arguments):
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile(arguments.pop("optimizer", "sgd"), "mse", **arguments)
    return model


def logits_loss(**arguments):
    return losses.SparseCategoricalCrossentropy(from_logits=True, **arguments)
