"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .dates import DatePairs, date_pairs
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .grammar import Grammar, english
from .images import Digits, drawn_batches, load_digits, load_mnist, read_idx, shifted
from .imdb_ids import load_imdb_ids, load_imdb_word_index
from .sentiment import LabelledTexts, SentimentData, load_airline, load_imdb, sentiment_corpus
from .series import Series, price_series, read_column, seasonal_series, windows
from .stories import BIGRAMS, Stories, builtin_stories, load_stories, load_text, make_stories, tell
from .tagged import TaggedCorpus, TagPosteriors, tagged_corpus, tagged_grammar, tagged_sentences

__all__ = [
    "BIGRAMS",
    "Corpus",
    "DatePairs",
    "Digits",
    "Grammar",
    "LabelledTexts",
    "SOURCES",
    "SPLITS",
    "SentimentData",
    "Series",
    "Source",
    "Stories",
    "TagPosteriors",
    "TaggedCorpus",
    "UNKNOWN",
    "builtin_stories",
    "cache_folder",
    "date_pairs",
    "download",
    "drawn_batches",
    "english",
    "grammar_corpus",
    "load_airline",
    "load_digits",
    "load_imdb",
    "load_imdb_ids",
    "load_imdb_word_index",
    "load_mnist",
    "load_ptb",
    "load_sources",
    "load_stories",
    "load_text",
    "make_stories",
    "price_series",
    "read_column",
    "read_idx",
    "seasonal_series",
    "sentiment_corpus",
    "shifted",
    "tagged_corpus",
    "tagged_grammar",
    "tagged_sentences",
    "tell",
    "windows",
]
