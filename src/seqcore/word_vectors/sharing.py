"""Training of Word2Vec by several processes: each has a part of the corpus, and the tables are averaged.

V: words of the vocabulary, D: dimensions of a vector, with those that fill up a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..distributed import Ranks, digest, installation
from ..typing import Array
from .corpus import Corpus
from .settings import RateSchedule, Settings


class SharedTables:
    """Tables that each process trains with its part of the corpus, and that :meth:`average` makes one again.

    Args:
        ranks: the processes.
        tables: (V, D) each; from here on those of rank 0 in all processes.

    A row becomes the mean of the rows of those processes that have changed it: a rare word, which one process has read,
    is not held back by the others, and a frequent one does not move n times as far.
    """

    def __init__(self, ranks: Ranks, tables: Sequence[Array]) -> None:
        self._ranks = ranks
        for table in tables:
            table[...] = ranks.broadcast(table)
        self._before = [table.copy() for table in tables]

    def sentences(self, corpus: Corpus, first: int, last: int) -> tuple[int, int]:
        """The part of this process of the sentences ``first`` up to ``last``, by their words."""
        start = int(corpus.offsets[first])
        words = self._ranks.rows(int(corpus.offsets[last]) - start)
        marks = [start + words.first, start + words.first + words.size]
        begin, end = np.searchsorted(corpus.offsets[first:last], marks) + first
        return int(begin), int(end)

    def average(self, tables: Sequence[Array]) -> None:
        """Average tables that have been trained since the last time."""
        if self._ranks.size == 1:
            return
        for table, before in zip(tables, self._before, strict=True):
            table -= before
            changed = table.any(axis=1).astype(table.dtype)
            self._ranks.sum(changed)
            self._ranks.sum(table.reshape(-1))
            table /= np.maximum(changed, 1)[:, None]
            table += before
            before[...] = table

    def sum(self, *numbers: float) -> list[float]:
        """The sum over the processes of each number."""
        return [float(sum(values)) for values in self._ranks.gather(np.array(numbers)).T.tolist()]


def check_alike(ranks: Ranks, corpus: Corpus, settings: Settings, schedule: RateSchedule, **others: Any) -> None:
    """Refuse processes with another corpus, version, settings or values of ``others`` than rank 0."""
    ranks.refuse_differences(
        {
            **installation(),
            "settings": str({**asdict(settings), "workers": None}),
            "schedule": str(asdict(schedule)),
            "corpus": digest(corpus.ids, corpus.offsets),
            **others,
        }
    )
