"""Layers with Keras's names, arguments and semantics."""

from .activations import Activation, ReLU, Softmax
from .attention import AdditiveAttention
from .base import Layer
from .core import Dense, Flatten, Input, InputLayer
from .dropout import Dropout
from .embedding import Embedding
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D, GlobalSumPooling1D
from .registry import register
from .rnn import (
    GRU,
    LSTM,
    Bidirectional,
    ContextRNN,
    ContextRNNCell,
    GRUCell,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
)
from .time_distributed import TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "AdditiveAttention",
    "Bidirectional",
    "ContextRNN",
    "ContextRNNCell",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GlobalSumPooling1D",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Layer",
    "ReLU",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "TimeDistributed",
    "register",
]
