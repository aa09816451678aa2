"""Word vectors with gensim's names, their evaluation, and batches of windows of a text."""

from . import pickles as _pickles  # noqa: F401  # makes word vectors pickle
from .corpus import Corpus
from .evaluation import read_questions
from .keyed_vectors import KeyedVectors
from .reporting import Progress
from .sentences import LineSentence, PathLineSentences, Text8Corpus
from .window_batches import WindowBatches, cbow_batches, skipgram_batches
from .word2vec import Word2Vec

__all__ = [
    "Corpus",
    "KeyedVectors",
    "LineSentence",
    "PathLineSentences",
    "Progress",
    "Text8Corpus",
    "WindowBatches",
    "Word2Vec",
    "cbow_batches",
    "read_questions",
    "skipgram_batches",
]
