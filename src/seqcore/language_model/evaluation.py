"""Per-word losses and perplexity of a language model.

B: rows of the text that are read in parallel, T: words per window, V: words of the vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import boolean, integer
from ..callbacks import Callback, Logs
from ..layers import Dense
from ..losses import SampledLoss
from ..models import Sequential
from ..ops import linear_softmax_cross_entropy
from ..text.bptt import bptt_batches
from ..text.vocabulary import check_ids
from .model import output_activation

# Words of a window, over all rows: enough for fast products, few enough to keep memory small.
_WINDOW = 1000


def perplexity(loss: float) -> float:
    """exp of a loss per word in nats; infinite where a model that learned nothing would overflow it.

    >>> perplexity(0.0), perplexity(1e9)
    (1.0, inf)
    """
    return math.exp(loss) if loss < 700 else math.inf


def word_losses(
    model: Sequential,
    ids: Any,
    batch_size: int = 1,
    steps: int = 1,
    drop_tail: bool = False,
    check: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """Negative log-probability of each word given all words before it in its row, in nats.

    The text is cut into ``batch_size`` rows; within a row the state is carried from the first word to the last,
    starting at zero, so the cuts between windows change nothing: with batch 1 this equals the evaluation word by word
    (batch 1, one step). The model's own carried state is left alone.

    Args:
        model: a Sequential whose last layer is Dense over the V words.
        ids: (N,) integers 0...V-1, the text.
        batch_size: rows B, 1 by default; N % B words at the end are not read.
        steps: words T of a window, used with ``drop_tail`` alone.
        drop_tail: read whole windows of ``steps`` words only, as training does.
        check: called without arguments between windows; an exception that it raises ends the evaluation.

    Returns:
        (B, words per row) float64, the losses.

    Raises:
        ValueError: too few words, ids outside, or a model that does not end in Dense.
    """
    output = model.layers[-1]
    activation = output_activation(model)
    if not isinstance(output, Dense) or activation not in ("linear", "softmax"):
        raise ValueError("model: expected a Sequential that ends in Dense, linear or softmax, over the words")
    stream = check_ids(ids, output.units)
    rows = integer("batch_size", batch_size, 1)
    length = len(stream) // rows
    steps = integer("steps", steps, 1)
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
                    hidden, output.kernel, output.bias, targets, reduction="none", mixed=output.uses_bfloat16
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
    """Perplexity exp(mean of :func:`word_losses`), by default over the whole text as one stream, word by word.

    Arguments and errors are those of :func:`word_losses`.
    """
    return perplexity(float(np.mean(word_losses(model, ids, batch_size, steps, drop_tail, check))))


class ValidationPerplexity(Callback):
    """Evaluate the perplexity of a validation text after each epoch, and measure the training per word.

    The logs of an epoch get ``val_perplexity``, ``words_per_second`` of the training, and ``perplexity`` of the
    training text or, under a sampled loss, which tells no perplexity, ``loss_per_word``.

    Args:
        ids: (N,) integers 0...V-1, the validation text. It is read as in training, B rows and windows of T words; words
            left over at the end of each row are left out.
        batch_size: rows B.
        steps: words T per window, as in training.
        check: called without arguments now and then during the evaluation; it may raise an exception.

    Raises:
        ValueError: a text too short for one batch, or ids outside.
        FloatingPointError: in the training, when the loss is no finite number.
    """

    def __init__(self, ids: Any, batch_size: int, steps: int, check: Callable[[], None] | None = None) -> None:
        self.batches, self.ids, self._check = bptt_batches(ids, batch_size, steps), check_ids(ids), check
        self._epoch, self._words, self._begin, self._end = 0, 0, 0.0, 0.0

    @property
    def loss_per_word(self) -> float:
        """Mean training loss of the words of the epoch so far, in nats; NaN before the first batch."""
        loss = self.model.metrics[0]
        words = self.batches.steps if self.model.loss.reduction == "batch_mean" else 1
        return loss.total / (loss.count * words) if loss.count else math.nan

    @property
    def words_per_second(self) -> float:
        """Words trained on per second since the epoch, or the resumed part of it, began."""
        return self._words / max(self._end - self._begin, 1e-9)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._words, self._begin = epoch, 0, time.perf_counter()
        self._end = self._begin

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._words += self.batches.batch_size * self.batches.steps
        self._end = time.perf_counter()
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            place = f"epoch {self._epoch + 1}, batch {batch + 1}"
            raise FloatingPointError(f"loss: got {loss} in {place}; try a lower learning rate")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        if isinstance(self.model.loss, SampledLoss):
            logs["loss_per_word"] = self.loss_per_word
        else:
            logs["perplexity"] = perplexity(self.loss_per_word)
        logs["words_per_second"] = self.words_per_second
        logs["val_perplexity"] = evaluate_perplexity(
            self.model, self.ids, self.batches.batch_size, self.batches.steps, drop_tail=True, check=self._check
        )
