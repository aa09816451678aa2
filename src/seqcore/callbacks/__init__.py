"""Callbacks of training, with the names, arguments and rules of Keras 3."""

from .base import Callback, CallbackList, History, Logs
from .monitors import EarlyStopping, EpochDecay, LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from .progress import ProgressBar
from .records import CSVLogger, GradientNorms, TensorBoard, gradient_norms

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "EpochDecay",
    "GradientNorms",
    "History",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TensorBoard",
    "gradient_norms",
]
