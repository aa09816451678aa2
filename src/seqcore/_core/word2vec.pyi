"""word2vec: training over the sentences of a corpus."""

from ..typing import Array
from .sampling import AliasTable

def train_word2vec(
    words: Array,
    sentences: Array,
    first: int,
    last: int,
    input: Array,
    output: Array,
    size: int,
    keep: Array | None,
    noise: AliasTable,
    shift: Array | None,
    *,
    window: int,
    negatives: int,
    shrink: bool,
    cbow: bool,
    mean: bool,
    rate_begin: float,
    rate_end: float,
    seed: int,
    threads: int,
    lock: Array | None = None,
) -> tuple[float, int, int]:
    """Goes over sentences first...last-1 of `encode_words` once and changes input and output (V, stride) in place.

    stride: a multiple of 16, numbers past `size` being zero. keep: (V,) uint32, a word stays where a draw of 32 bits
    is not above it. shift: (V,) what is taken off a word's logits. The learning rate falls from rate_begin to
    rate_end. lock: (V,) float32, factors of the steps of the words' vectors. Returns (loss summed over the pairs looked
    at, how many those were, how many pairs were learnt).
    """
