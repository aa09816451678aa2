"""Language models: the network, perplexity, generation, beam search, and translation."""

from .beam_search import beam_search
from .evaluation import ValidationPerplexity, evaluate_perplexity, perplexity, word_losses
from .generation import generate, next_words
from .model import build_model, encode_text
from .seq2seq import PairBatches, Seq2Seq, Translation

__all__ = [
    "PairBatches",
    "Seq2Seq",
    "Translation",
    "ValidationPerplexity",
    "beam_search",
    "build_model",
    "encode_text",
    "evaluate_perplexity",
    "generate",
    "next_words",
    "perplexity",
    "word_losses",
]
