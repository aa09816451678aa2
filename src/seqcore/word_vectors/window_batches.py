"""Windows of a text for word2vec: skip-gram pairs as the books' programs draw them, and CBOW's contexts.

B: pairs (skip-gram) or centres (CBOW) in a batch; w: words on each side, so that a window spans 2w + 1 words.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._validation import boolean, integer
from ..text.vocabulary import check_ids
from ..typing import Ids

Batch = tuple[Ids, Ids]

_PREPARED = 1 << 15  # pairs made at once


class WindowBatches:
    """Endless batches of a text read as a ring: after its last word comes its first.

    ``position`` is the number of the batch that comes next; batch i does not depend on the batches taken before.
    Made by :func:`skipgram_batches` and :func:`cbow_batches`.
    """

    def __init__(
        self, ids: Any, centres: int, width: int, step: int, num_skips: int | None = None, seed: int = 0
    ) -> None:
        self._ids, self._centres, self._width, self._step = check_ids(ids), centres, width, step
        self._num_skips, self._seed = num_skips, seed
        span = 2 * width + 1
        if len(self._ids) < span:
            raise ValueError(f"ids: expected at least {span} words, the width of a window, got {len(self._ids)}")
        self.position = 0
        self._block = max(1, _PREPARED // centres)
        self._ready: tuple[int, Ids, Ids] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = self[self.position]
        self.position += 1
        return batch

    def __getitem__(self, index: int) -> Batch:
        """Batch ``index`` >= 0: inputs and labels (B, 1), both int32."""
        number = operator.index(index)
        if number < 0:
            raise IndexError(f"index: expected an integer >= 0, got {index}")
        block, row = divmod(number, self._block)
        if self._ready is None or self._ready[0] != block:
            self._ready = (block, *self._make(block))
        return self._ready[1][row], self._ready[2][row]

    def _make(self, block: int) -> Batch:
        """Inputs and labels of a block of batches, (batches, ...) each: skip-grams, or contexts without num_skips."""
        first = np.arange(block * self._block, (block + 1) * self._block, dtype=np.int64) * self._step + self._width
        places = (first[:, None] + np.arange(self._centres)) % len(self._ids)
        width, centres = self._width, self._ids[places]
        order = np.arange(2 * width)
        if self._num_skips is not None:
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, block))))
            # The order of random numbers is a random order of the 2w neighbours; the first of them are taken.
            order = generator.random((*places.shape, 2 * width), np.float32).argsort(axis=2)[:, :, : self._num_skips]
        near = self._ids.take(places[:, :, None] + order - width + (order >= width), mode="wrap")
        if self._num_skips is None:
            return near, centres[:, :, None]
        return np.repeat(centres, self._num_skips, axis=1), near.reshape(len(places), -1, 1)


def skipgram_batches(
    ids: Any, batch_size: int, num_skips: int, skip_window: int, seed: int = 0, continuous: bool = False
) -> WindowBatches:
    """Pairs of a centre word and a word near it, as the TensorFlow programs of the books draw them.

    Each centre gives ``num_skips`` pairs in a row, with different neighbours drawn from the ``2 * skip_window`` around
    it. The centres of a batch are consecutive. Between two batches the books' program fills its window again, so that
    ``2 * skip_window + 1`` words are never a centre in that round; ``continuous=True`` leaves none out.

    Args:
        ids: (N,) integers, the text, at least a window long; it is a ring: past its end comes its beginning.
        batch_size: B, a multiple of ``num_skips``.
        num_skips: pairs per centre, 1 ... 2 * skip_window.
        skip_window: words on each side.
        seed: same seed, same pairs.
        continuous: no gap between batches.

    Returns:
        An endless iterator over pairs of arrays: centres (B,) and labels (B, 1), int32.

    Raises:
        ValueError: sizes that do not fit.

    >>> batches = skipgram_batches(np.arange(10), batch_size=4, num_skips=2, skip_window=1)
    >>> centres, labels = next(batches)
    >>> centres.tolist(), sorted(labels.ravel().tolist())
    ([1, 1, 2, 2], [0, 1, 2, 3])
    >>> next(batches)[0].tolist()
    [6, 6, 7, 7]
    """
    sizes = {"batch_size": batch_size, "num_skips": num_skips, "skip_window": skip_window}
    batch, skips, width = (integer(name, value, 1) for name, value in sizes.items())
    if skips > 2 * width:
        raise ValueError(f"num_skips: expected at most 2 * skip_window = {2 * width}, got {num_skips}")
    if batch % skips:
        raise ValueError(f"batch_size: expected a multiple of num_skips = {skips}, got {batch_size}")
    centres = batch // skips
    step = centres + (0 if boolean("continuous", continuous) else 2 * width + 1)
    return WindowBatches(ids, centres, width, step, skips, integer("seed", seed, 0))


def cbow_batches(ids: Any, batch_size: int, skip_window: int) -> WindowBatches:
    """The words around each word of a text, for predicting it: every word is a centre once per round.

    Args:
        ids: (N,) integers, the text, a ring as in :func:`skipgram_batches`.
        batch_size: B centres.
        skip_window: words on each side.

    Returns:
        An endless iterator over pairs of arrays: contexts (B, 2 * skip_window) and labels (B, 1), int32.

    >>> contexts, labels = next(cbow_batches(np.arange(9), 3, 1))
    >>> contexts.tolist(), labels.ravel().tolist()
    ([[0, 2], [1, 3], [2, 4]], [1, 2, 3])
    """
    batch, width = integer("batch_size", batch_size, 1), integer("skip_window", skip_window, 1)
    return WindowBatches(ids, batch, width, batch)
