"""Recurrent layers and their cells: a cell and its layer in one file each, what they share in weights, run and base."""

from .bidirectional import Bidirectional
from .context_rnn import ContextRNN, ContextRNNCell
from .gru import GRU, GRUCell
from .lstm import LSTM, LSTMCell
from .simple_rnn import SimpleRNN, SimpleRNNCell

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "ContextRNN",
    "ContextRNNCell",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
]
