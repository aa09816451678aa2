"""Text: files, vocabularies, tokenizers, and sequences of ids in batches."""

from .bptt import BPTTBatches, bptt_batches, evaluation_windows
from .files import PathLike, iterate_words, open_plain, read_json, read_lines, read_text, read_words
from .sequences import pad_sequences, to_categorical
from .tokenizer import Tokenizer
from .vocabulary import Ids, Vocabulary, check_ids

__all__ = [
    "BPTTBatches",
    "Ids",
    "PathLike",
    "Tokenizer",
    "Vocabulary",
    "bptt_batches",
    "check_ids",
    "evaluation_windows",
    "iterate_words",
    "open_plain",
    "pad_sequences",
    "read_json",
    "read_lines",
    "read_text",
    "read_words",
    "to_categorical",
]
