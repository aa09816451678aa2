"""Word vectors, with gensim's names."""

from .keyed_vectors import KeyedVectors
from .word2vec import Word2Vec

__all__ = [
    "KeyedVectors",
    "Word2Vec",
]
