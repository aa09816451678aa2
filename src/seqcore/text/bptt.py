"""Batches of a long text for truncated backpropagation through time."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

from .._validation import integer
from ..typing import Ids
from .vocabulary import check_ids


class BPTTBatches(Sequence[tuple[Ids, Ids]]):
    """Batches of one long stream for truncated backpropagation through time; made by :func:`bptt_batches`.

    ``len(batches)`` batches; ``batches[i]`` is the pair (inputs, targets), both (B, T) int32 views of the stream,
    targets one word ahead. Row b of batch i + 1 continues row b of batch i, so a stateful model carries its state over.
    ``position`` is the number of the batch that comes next; ``batches.resume(n)`` iterates from batch n on.
    """

    def __init__(self, ids: Any, batch_size: int, steps: int, vocabulary_size: int | None = None) -> None:
        self.batch_size, self.steps = integer("batch_size", batch_size, 1), integer("steps", steps, 1)
        stream = check_ids(ids, vocabulary_size)
        row = len(stream) // self.batch_size
        self._count = (row - 1) // self.steps if row else 0
        if self._count < 1:
            need = self.batch_size * (self.steps + 1)
            raise ValueError(
                f"ids: expected at least {need} words for one batch of {self.batch_size} x {self.steps} "
                f"(batch_size * (steps + 1)), got {len(stream)}"
            )
        self._rows = stream[: row * self.batch_size].reshape(self.batch_size, row)
        self.position = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        number = operator.index(index)
        if not -self._count <= number < self._count:
            raise IndexError(f"index: expected less than {self._count} batches, got {number}")
        start = number % self._count * self.steps
        stop = start + self.steps
        return self._rows[:, start:stop], self._rows[:, start + 1 : stop + 1]

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        return self.resume(0)

    def resume(self, position: int) -> Iterator[tuple[Ids, Ids]]:
        """Iterate from batch ``position`` (0 ... len) to the end, keeping ``self.position`` up to date.

        Raises:
            ValueError: a position outside.
        """
        start = integer("position", position)
        if not 0 <= start <= self._count:
            raise ValueError(f"position: expected 0...{self._count}, got {position}")
        self.position = start
        return self._from(start)

    def _from(self, start: int) -> Iterator[tuple[Ids, Ids]]:
        for number in range(start, self._count):
            self.position = number + 1
            yield self[number]


def bptt_batches(ids: Any, batch_size: int, steps: int, vocabulary_size: int | None = None) -> BPTTBatches:
    """Cut one long stream of words into ``batch_size`` rows, and these into windows of ``steps`` words.

    There are ``(N // batch_size - 1) // steps`` batches; the words left over at the end of each row are not used. An
    int32 array is not copied.

    Args:
        ids: (N,) integers, the text.
        batch_size: rows B read side by side.
        steps: words T per window.
        vocabulary_size: if given, ids must be below it.

    Raises:
        ValueError: a text too short for one batch, or ids outside.

    >>> import numpy as np
    >>> batches = bptt_batches(np.arange(13), batch_size=2, steps=2)
    >>> len(batches)
    2
    >>> x, y = batches[1]
    >>> x.tolist(), y.tolist()
    ([[2, 3], [8, 9]], [[3, 4], [9, 10]])
    """
    return BPTTBatches(ids, batch_size, steps, vocabulary_size)


def evaluation_windows(ids: Any, steps: int = 1000) -> Iterator[tuple[Ids, Ids]]:
    """Inputs and targets (1, <= steps) that cover a whole text, the shorter last window included.

    A model that carries its state from window to window computes for every word the same log-probability as with
    windows of one word: a recurrent layer's step depends only on the state before it and on the word, and nothing is
    back-propagated. So batch 1 with long windows is exactly the evaluation with batch 1 and one step, only faster.

    Args:
        ids: (N,) integers, at least two.
        steps: words per window.

    Raises:
        ValueError: fewer than two words.
    """
    stream = check_ids(ids)
    width = integer("steps", steps, 1)
    if len(stream) < 2:
        raise ValueError(f"ids: expected at least 2 words to predict one, got {len(stream)}")
    return (
        (stream[None, i : min(i + width, len(stream) - 1)], stream[None, i + 1 : i + 1 + width])
        for i in range(0, len(stream) - 1, width)
    )
