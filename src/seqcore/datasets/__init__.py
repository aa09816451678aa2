"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .stories import BIGRAMS, Stories, builtin_stories, load_stories, load_text, make_stories, tell

__all__ = [
    "BIGRAMS",
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Source",
    "Stories",
    "builtin_stories",
    "cache_folder",
    "download",
    "grammar_corpus",
    "load_ptb",
    "load_sources",
    "load_stories",
    "load_text",
    "make_stories",
    "tell",
]
