"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .images import Digits, drawn_batches, load_digits, load_mnist, read_idx, shifted

__all__ = [
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Digits",
    "Source",
    "cache_folder",
    "download",
    "drawn_batches",
    "grammar_corpus",
    "load_digits",
    "load_mnist",
    "load_ptb",
    "load_sources",
    "read_idx",
    "shifted",
]
