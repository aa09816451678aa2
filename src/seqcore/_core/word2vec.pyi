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
    subsample_threshold: Array | None,
    noise: AliasTable,
    log_noise: Array | None,
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
    deterministic: bool = False,
) -> tuple[float, int, int]:
    """Trains input and output (V, stride) in place on sentences first...last-1 of `encode_words`, once.

    stride: a multiple of 16; columns from `size` on are zero. subsample_threshold: (V,) uint32, a word stays where a
    draw of 32 bits is not above it. log_noise: (V,), subtracted from the logits of each word (NCE). The learning rate
    falls from rate_begin to rate_end. lock: (V,) float32, factors of the steps of the words' vectors. deterministic:
    at most 16 shards with rows of their own, merged in a fixed order, so that the result is the same for any number of
    threads; with fewer than 16,384 words it is that of one thread. Returns (loss summed over the measured pairs, number
    of measured pairs, number of trained pairs).
    """
