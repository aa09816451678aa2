"""Beam search over any model that gives probabilities of the next token, many searches at once.

N: searches, K: width of the beam, V: tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._validation import integer, short_repr
from ..ops.activations import shifted_exp
from ..typing import Array, Ids

State = TypeVar("State")

# Wider beams find no likelier sequences in practice, and every step costs time and memory in proportion.
WIDEST = 1000


class Beam(NamedTuple):
    """A sequence that a search found.

    Attributes:
        tokens: its tokens, the end token included.
        log_probability: natural logarithm of its probability.
        finished: True if it has the end token, False if it is of full length.
    """

    tokens: list[int]
    log_probability: float
    finished: bool


def beam_search(
    log_p: Array,
    state: State,
    step: Callable[[Ids, State], tuple[Array, State]],
    *,
    width: int,
    length: int,
    end: int | None = None,
) -> list[Beam]:
    """The likeliest sequence of each search, among those whose beginnings stay within the best K of their length.

    A finished sequence leaves the beam and is remembered; a search is over when the best finished one is as likely as
    any beginning that is still alive, since probabilities only fall. I. Sutskever, O. Vinyals, Q. Le,
    Sequence to sequence learning with neural networks, 2014, without a correction for the length. Width 1 is greedy
    search, the likeliest token each time; a width of all beginnings there are is exhaustive.

    Args:
        log_p: (N, V) float64, of the first token; -inf for one that must not come.
        state: of the model before the first token: an array with N rows, or lists and tuples of such arrays.
        step: called with the latest tokens (N·K,) int32, those of a search one after the other, and the state of as
            many rows; returns log p (N·K, V) of the next token and the next state. Tokens of beams that have died may
            be anything.
        width: K, 1...1000.
        length: most tokens of a sequence.
        end: the token that ends a sequence; None for sequences of full length alone.

    Returns:
        For each search its best sequence, finished or of full length.

    Raises:
        ValueError: a width, a length or an end out of range, and ``log_p`` of another shape.

    >>> from math import log
    >>> # "a" is the likelier beginning, "b" that of the likelier whole: 0.4 · 0.9 against 0.6 · 0.5.
    >>> first, then = np.log([[0.6, 0.4]]), np.log([[0.5, 0.5], [0.1, 0.9]])
    >>> for width in (1, 2):
    ...     [best] = beam_search(first, (), lambda tokens, state: (then[tokens], state), width=width, length=2)
    ...     print(best.tokens, round(np.exp(best.log_probability), 2))
    [0, 0] 0.3
    [1, 1] 0.36
    """
    if not isinstance(log_p, np.ndarray) or log_p.ndim != 2 or not log_p.shape[1]:
        raise ValueError(f"log_p: expected an array (searches, tokens), got {short_repr(log_p)}")
    width, length = integer("width", width, 1, WIDEST), integer("length", length, 0)
    count, size = log_p.shape
    if end is not None:
        end = integer("end", end, 0, size - 1)
    groups = np.arange(count)[:, None]
    finished = [Beam([], -np.inf, False)] * count
    # All beams of a search begin alike: only the first one counts, until it has branched.
    scores = np.where(np.arange(width) == 0, 0.0, -np.inf) * np.ones((count, 1))
    sequences = np.empty((count, width, 0), np.int32)
    log_p, state = np.repeat(log_p, width, axis=0), _take(state, np.repeat(groups, width))
    for position in range(length):
        totals = (scores[:, :, None] + log_p.reshape(count, width, size)).reshape(count, -1)
        best = np.argsort(-totals, axis=1, kind="stable")[:, :width]
        scores = np.take_along_axis(totals, best, axis=1)
        parents, tokens = best // size, (best % size).astype(np.int32)
        sequences = np.concatenate([sequences[groups, parents], tokens[:, :, None]], axis=2)
        if end is not None:
            for number, beam in np.argwhere((tokens == end) & (scores > -np.inf)).tolist():
                if scores[number, beam] > finished[number].log_probability:
                    finished[number] = Beam(sequences[number, beam].tolist(), float(scores[number, beam]), True)
            scores[tokens == end] = -np.inf
        alive = scores.max(axis=1)
        if position == length - 1 or all(beam.log_probability >= top for beam, top in zip(finished, alive)):
            break
        log_p, state = step(tokens.reshape(-1), _take(state, (groups * width + parents).reshape(-1)))
    return [
        best_finished if best_finished.log_probability >= row[k] else Beam(tokens[k].tolist(), float(row[k]), False)
        for best_finished, row, tokens, k in zip(finished, scores, sequences, scores.argmax(axis=1))
    ]


def log_softmax(logits: Array) -> Array:
    """log of the softmax over the last axis, in float64.

    >>> np.exp(log_softmax(np.array([0.0, 0.0]))).round(3).tolist()
    [0.5, 0.5]
    """
    shifted, _, total = shifted_exp(logits.astype(np.float64))
    return np.asarray(shifted - np.log(total))


def _take(state: Any, rows: Array) -> Any:
    """Rows of each array of a state."""
    if isinstance(state, (list, tuple)):
        return type(state)([_take(part, rows) for part in state])
    return np.take(np.asarray(state), rows, axis=0)
