"""The compiled core, a submodule for each topic. Arrays are float32 or float64, all of one type within a call.

B, T, D, H: batch, time steps, input features, units. R: rows of a matrix; K, N: its input and output columns; V:
classes.
A sequence (B, T, D) may have any strides for batch and time (a time-major view costs nothing); its features are
contiguous. Other arrays are C-contiguous. Nothing is converted: an array is a NumPy array of the named type, a list of
arrays a list or tuple, an integer an int or NumPy integer and no bool. Whatever is wrong raises ValueError or
TypeError, one line that names the argument, and changes nothing; MemoryError says how much was asked for. Arrays that
are written share memory with no other array of the call.
"""

from . import context, corpus, dense, embedding, optimizer, random, recurrent, sampling, stream, system, word2vec

__all__ = [
    "context",
    "corpus",
    "dense",
    "embedding",
    "optimizer",
    "random",
    "recurrent",
    "sampling",
    "stream",
    "system",
    "word2vec",
]
