"""Text: files, vocabularies, tokenizers, and sequences of ids in batches."""

from .bptt import BPTTBatches, bptt_batches, evaluation_windows
from .classification import TextPrediction, classify_texts
from .files import iterate_lines, iterate_words, open_plain, read_csv, read_json, read_lines, read_text, read_words
from .sequences import pad_sequences, to_categorical
from .tokenizer import Tokenizer
from .vectorization import TextVectorization
from .vocabulary import Vocabulary, check_ids, number_words

__all__ = [
    "BPTTBatches",
    "TextPrediction",
    "TextVectorization",
    "Tokenizer",
    "Vocabulary",
    "bptt_batches",
    "check_ids",
    "classify_texts",
    "evaluation_windows",
    "iterate_lines",
    "iterate_words",
    "number_words",
    "open_plain",
    "pad_sequences",
    "read_csv",
    "read_json",
    "read_lines",
    "read_text",
    "read_words",
    "to_categorical",
]
