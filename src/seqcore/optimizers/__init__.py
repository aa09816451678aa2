"""Optimizers and learning rates that change, with the names, formulas and defaults of Keras 3."""

from . import schedules
from .adagrad import Adagrad
from .adam import Adam
from .lookup import deserialize, get, serialize
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from .sgd import SGD

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
