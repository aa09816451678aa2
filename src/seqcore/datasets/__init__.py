"""Data sets: built in, read from a folder, or downloaded."""

from .corpora import SPLITS, UNKNOWN, Corpus, grammar_corpus, load_ptb
from .downloads import SOURCES, Source, cache_folder, download, load_sources
from .tagged import TaggedCorpus, TagPosteriors, tagged_corpus, tagged_grammar, tagged_sentences

__all__ = [
    "SOURCES",
    "SPLITS",
    "UNKNOWN",
    "Corpus",
    "Source",
    "TagPosteriors",
    "TaggedCorpus",
    "cache_folder",
    "download",
    "grammar_corpus",
    "load_ptb",
    "load_sources",
    "tagged_corpus",
    "tagged_grammar",
    "tagged_sentences",
]
