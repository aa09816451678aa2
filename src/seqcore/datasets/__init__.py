"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .images import Digits, drawn_batches, load_digits, load_mnist, read_idx, shifted
from .imdb_ids import load_imdb_ids, load_imdb_word_index
from .sentiment import LabelledTexts, SentimentData, load_airline, load_imdb, sentiment_corpus
from .stories import BIGRAMS, Stories, builtin_stories, load_stories, load_text, make_stories, tell
from .tagged import TaggedCorpus, TagPosteriors, tagged_corpus, tagged_grammar, tagged_sentences

__all__ = [
    "BIGRAMS",
    "Corpus",
    "Digits",
    "LabelledTexts",
    "SOURCES",
    "SPLITS",
    "SentimentData",
    "Source",
    "Stories",
    "TagPosteriors",
    "TaggedCorpus",
    "UNKNOWN",
    "builtin_stories",
    "cache_folder",
    "download",
    "drawn_batches",
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
    "read_idx",
    "sentiment_corpus",
    "shifted",
    "tagged_corpus",
    "tagged_grammar",
    "tagged_sentences",
    "tell",
]
