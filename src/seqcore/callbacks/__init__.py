"""Callbacks of training, with the names, arguments and rules of Keras 3."""

from .callback import Callback, Logs
from .callback_list import CallbackList
from .checkpoint import BackupAndRestore, ModelCheckpoint
from .csv_logger import CSVLogger
from .early_stopping import EarlyStopping
from .history import History
from .learning_rate import EpochDecay, LearningRateScheduler, ReduceLROnPlateau
from .progress_bar import ProgressBar
from .reset_states import ResetStates
from .tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "EpochDecay",
    "History",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "ResetStates",
    "TensorBoard",
]
