"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .sentiment import LabelledTexts, SentimentData, load_airline, load_imdb, sentiment_corpus

__all__ = [
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "LabelledTexts",
    "SentimentData",
    "Source",
    "cache_folder",
    "download",
    "grammar_corpus",
    "load_airline",
    "load_imdb",
    "load_ptb",
    "load_sources",
    "sentiment_corpus",
]
