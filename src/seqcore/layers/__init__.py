"""Layers with Keras's names, arguments and semantics."""

from .activations import Activation, ReLU, Softmax
from .attention import AdditiveAttention
from .base import Layer
from .cells import ContextRNNCell, GRUCell, LSTMCell, SimpleRNNCell
from .context import ContextRNN
from .core import Dense, Flatten, Input, InputLayer
from .dropout import Dropout
from .embedding import Embedding
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D, GlobalSumPooling1D
from .recurrent import GRU, LSTM, SimpleRNN
from .registry import register
from .wrappers import Bidirectional, TimeDistributed

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
