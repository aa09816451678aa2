"""Layers with Keras's names, arguments and semantics."""

from . import rnn
from .activations import Activation, ReLU, Softmax
from .attention import AdditiveAttention
from .base import Layer
from .conv1d import Conv1D
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .flatten import Flatten
from .input import Input, InputLayer
from .layer_normalization import LayerNormalization
from .masking import Masking
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D, GlobalSumPooling1D
from .registry import register
from .rnn import *  # noqa: F403
from .time_distributed import TimeDistributed

__all__ = [
    "Activation",
    "AdditiveAttention",
    "Conv1D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GlobalSumPooling1D",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "Masking",
    "ReLU",
    "Softmax",
    "TimeDistributed",
    "register",
]
__all__ += rnn.__all__
