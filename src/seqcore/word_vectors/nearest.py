"""Nearest rows by cosine: blocks of one product, and a partial sort in two steps.

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
_GROUP = 32  # columns of one maximum


def norms_of(vectors: Floats, words: Sequence[str]) -> Floats:
    """Lengths (V,) of the rows.

    Raises:
        ValueError: a row that is not finite, naming its word.
    """
    result = np.empty(len(vectors), np.float32)
    step = max(1, BLOCK // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        block = np.asarray(vectors[start : start + step])
        result[start : start + step] = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
    if not np.isfinite(result).all():
        word = words[int(np.argmin(np.isfinite(result)))]
        raise ValueError(f"vectors: expected finite rows, got NaN, infinity or too large numbers for {word!r}")
    return result


def unit_rows(vectors: Any, norms: Floats) -> Floats:
    """``vectors`` (N, D) over ``norms`` (N,); rows of zeros stay as they are."""
    safe: Floats = np.where(norms > 0, norms, np.float32(1))
    result: Floats = np.divide(vectors, safe[:, None], dtype=np.float32)
    return result


def top_columns(scores: Floats, n: int) -> Rows:
    """Columns (Q, min(n, N)) of the largest scores (Q, N) of each row, in no order.

    The largest n numbers lie in the n groups of columns with the largest maxima, so only these are searched.

    >>> np.sort(top_columns(np.array([[3, 1, 2, 5]], np.float32), 2)).tolist()
    [[0, 3]]
    """
    rows, columns = scores.shape
    groups = columns // _GROUP
    if n >= columns:
        return np.broadcast_to(np.arange(columns), scores.shape)
    if n * 4 > groups:
        return np.argpartition(scores, columns - n, axis=1)[:, columns - n :]
    whole = groups * _GROUP
    # Group g holds the columns g, g + groups, ...: the maxima are then taken between whole vectors.
    most = scores[:, :whole].reshape(rows, _GROUP, groups).max(axis=1)
    best = np.argpartition(most, groups - n, axis=1)[:, groups - n :]
    inside = (best[:, None, :] + groups * np.arange(_GROUP)[:, None]).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(whole, columns), (rows, columns - whole))
    candidates = np.concatenate([inside, rest], axis=1)
    values = np.take_along_axis(scores, candidates, axis=1)
    chosen = np.argpartition(values, values.shape[1] - n, axis=1)[:, values.shape[1] - n :]
    return np.take_along_axis(candidates, chosen, axis=1)


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
