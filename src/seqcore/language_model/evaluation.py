"""Per-word losses and perplexity of a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._validation import at_least, boolean
from ..text.vocabulary import check_ids

if TYPE_CHECKING:
    from ..models import Sequential
from .model import _WINDOW, _activation_name, _exp


def word_losses(
    model: Sequential,
    ids: Any,
    batch_size: int = 1,
    steps: int = 1,
    drop_tail: bool = False,
    check: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """-log p of each word given all words before it in its row, in nats.

    The text is cut into ``batch_size`` rows; within a row the state is carried from the first word to the last,
    starting at zero, so how the row is cut into windows changes nothing: with batch 1 this is exactly the evaluation
    word by word (batch 1, one step). The model's own carried state is left alone.

    Args:
        model: a Sequential whose last layer is Dense over the V words.
        ids: (N,) integers 0...V-1.
        batch_size: rows B; N % B words at the end are not read.
        steps: used with ``drop_tail`` alone.
        drop_tail: reads whole windows of ``steps`` words only, as training does.
        check: called between windows.

    Returns:
        (B, words per row) float64.

    Raises:
        ValueError: too few words, ids outside, a model that does not end in Dense.
    """
    from ..layers import Dense
    from ..ops import linear_softmax_cross_entropy

    output = model.layers[-1]
    activation = _activation_name(output)
    if not isinstance(output, Dense) or activation not in ("linear", "softmax"):
        raise ValueError("model: expected a Sequential that ends in Dense, linear or softmax, over the words")
    stream = check_ids(ids, output.units)
    rows = at_least("batch_size", batch_size, 1)
    length = len(stream) // rows
    steps = at_least("steps", steps, 1)
    width = steps if boolean("drop_tail", drop_tail) else 1
    covered = (length - 1) // width * width
    if covered < 1:
        raise ValueError(f"ids: expected at least {rows * (width + 1)} words for {rows} rows, got {len(stream)}")
    table = stream[: rows * length].reshape(rows, length)
    window = max(1, _WINDOW // rows)
    losses = np.empty((rows, covered))
    with model.state_scope():
        for begin in range(0, covered, window):
            end = min(begin + window, covered)
            hidden: Any = np.ascontiguousarray(table[:, begin:end])
            for layer in model.layers[:-1]:
                hidden = layer(hidden, training=False)
            targets = np.ascontiguousarray(table[:, begin + 1 : end + 1])
            losses[:, begin:end] = np.asarray(
                linear_softmax_cross_entropy(
                    hidden, output.kernel, output.bias, targets, reduction="none", mixed=output._mixed
                )
            )
            if check is not None:
                check()
    return losses


def evaluate_perplexity(
    model: Sequential,
    ids: Any,
    batch_size: int = 1,
    steps: int = 1,
    drop_tail: bool = False,
    check: Callable[[], None] | None = None,
) -> float:
    """exp(mean of :func:`word_losses`): by default over the whole text as one stream, word by word."""
    return _exp(float(np.mean(word_losses(model, ids, batch_size, steps, drop_tail, check))))
