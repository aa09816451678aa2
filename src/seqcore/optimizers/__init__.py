"""Optimizers and learning rates that change, with the names, formulas and defaults of Keras 3."""

from . import schedules
from .optimizer import Optimizer
from .rules import SGD, Adagrad, Adam, RMSprop, deserialize, get, serialize
from .schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

__all__ = [
    "Adagrad",
    "Adam",
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "Optimizer",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "RMSprop",
    "SGD",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
