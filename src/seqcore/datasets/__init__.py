"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .images import Digits, drawn_batches, load_digits, load_mnist, read_idx, shifted
from .sentiment import LabelledTexts, SentimentData, load_airline, load_imdb, sentiment_corpus
from .stories import BIGRAMS, Stories, builtin_stories, load_stories, load_text, make_stories, tell
from .tagged import TaggedCorpus, TagPosteriors, tagged_corpus, tagged_grammar, tagged_sentences

__all__ = [
    "BIGRAMS",
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Digits",
    "LabelledTexts",
    "SentimentData",
    "Source",
    "TagPosteriors",
    "TaggedCorpus",
    "Stories",
    "builtin_stories",
    "cache_folder",
    "download",
    "drawn_batches",
    "grammar_corpus",
    "load_digits",
    "load_mnist",
    "load_ptb",
    "load_sources",
    "tagged_corpus",
    "tagged_grammar",
    "tagged_sentences",
    "read_idx",
    "shifted",
    "load_airline",
    "load_imdb",
    "load_ptb",
    "load_sources",
    "sentiment_corpus",
    "load_stories",
    "load_text",
    "make_stories",
    "tell",
]
