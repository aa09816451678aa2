"""Language models: the network, perplexity, generation, beam search, and translation."""

from .beam_search import beam_search
from .evaluation import evaluate_perplexity, word_losses
from .generation import generate, next_words
from .model import build_model, encode_text
from .seq2seq import PairBatches, Seq2Seq, Translation
from .trainer import Interrupted, Schedule, Trainer

__all__ = [
    "Interrupted",
    "PairBatches",
    "Schedule",
    "Seq2Seq",
    "Trainer",
    "Translation",
    "beam_search",
    "build_model",
    "encode_text",
    "evaluate_perplexity",
    "generate",
    "next_words",
    "word_losses",
]
