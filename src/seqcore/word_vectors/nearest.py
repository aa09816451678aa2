"""Nearest rows by cosine: blocks of one product, and a partial sort.

Shapes: V rows of D dimensions, Q queries, n wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..typing import Floats

Rows = NDArray[np.intp]

BLOCK = 1 << 22  # numbers in one block of scores: 16 MB


def norms_of(vectors: Floats, words: Sequence[str]) -> Floats:
    """Lengths (V,) of the rows.

    Raises:
        ValueError: a row that is not finite, naming its word.
    """
    result: Floats = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)).astype(np.float32)
    if not np.isfinite(result).all():
        word = words[int(np.argmin(np.isfinite(result)))]
        raise ValueError(f"vectors: expected finite rows, got NaN, infinity or too large numbers for {word!r}")
    return result


def unit_rows(vectors: Any, norms: Floats) -> Floats:
    """``vectors`` (N, D) over ``norms`` (N,); rows of zeros stay as they are."""
    safe = np.where(norms > 0, norms, np.float32(1))
    return np.asarray(np.divide(vectors, safe[:, None], dtype=np.float32))


def top_columns(scores: Floats, n: int) -> Rows:
    """Columns (Q, min(n, N)) of the largest scores (Q, N) of each row, in no order.

    >>> np.sort(top_columns(np.array([[3, 1, 2, 5]], np.float32), 2)).tolist()
    [[0, 3]]
    """
    columns = scores.shape[1]
    if n >= columns:
        return np.broadcast_to(np.arange(columns), scores.shape)
    return np.argpartition(scores, columns - n, axis=1)[:, columns - n :]


def nearest(vectors: Floats, norms: Floats, queries: Floats, n: int, begin: int, end: int) -> tuple[Rows, Floats]:
    """The n rows of ``vectors[begin:end]`` with the largest cosine to each query.

    Args:
        vectors: (V, D), perhaps mapped from a file: each block is read once.
        norms: (V,) their lengths.
        queries: (Q, D) of length 1.
        n: how many; fewer where there are not as many rows.

    Returns:
        Row numbers and cosines (Q, n), the largest first, of equal ones the smaller number first.
    """
    count, many = len(queries), max(1, min(len(queries), 256))
    step = max(n, BLOCK // max(many, vectors.shape[1]), 1)
    rows, values = np.empty((count, 0), np.intp), np.empty((count, 0), np.float32)
    for start in range(begin, end, step):
        stop = min(start + step, end)
        block = unit_rows(vectors[start:stop], norms[start:stop]).T
        new_rows, new_values = [], []
        for first in range(0, count, many):
            scores = queries[first : first + many] @ block
            best = top_columns(scores, n)
            new_rows.append(best + start)
            new_values.append(np.take_along_axis(scores, best, axis=1))
        rows = np.concatenate([rows, np.concatenate(new_rows)], axis=1)
        values = np.concatenate([values, np.concatenate(new_values)], axis=1)
        order = np.lexsort((rows, -values), axis=1)[:, :n]
        rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
    return rows, values
