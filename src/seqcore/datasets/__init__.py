"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources

__all__ = [
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Source",
    "cache_folder",
    "download",
    "grammar_corpus",
    "load_ptb",
    "load_sources",
]
