"""Deprecated: old names of :mod:`seqcore.language_model`, and the trainer that ``fit`` has replaced."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import random
from ._validation import MALFORMED, integer, one_line, positive, short_repr
from .callbacks import Callback, EpochDecay, Logs
from .language_model import *  # noqa: F403
from .language_model import ValidationPerplexity, perplexity
from .losses import SampledLoss
from .models import Sequential
from .text.bptt import bptt_batches


class Schedule(EpochDecay):
    """Old form of :class:`seqcore.callbacks.EpochDecay`.

    >>> [Schedule(1.0, hold=2, decay=0.5).at(epoch) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, learning_rate: float = 1.0, hold: int = 4, decay: float = 0.5) -> None:
        self.decay = positive("decay", decay)
        super().__init__(positive("learning_rate", learning_rate), hold, decay)


class Interrupted(Exception):
    """Raised out of a run by its ``on_batch`` or ``check`` hook to stop it at a place it can be resumed from."""


class Trainer(Callback):
    """Deprecated: trains a stateful language model by ``fit``; use ``fit`` with ``BackupAndRestore``.

    Args:
        model: a compiled Sequential whose loss is summed over time and averaged over the batch ("batch_mean").
        train, valid: (N,) ids of the texts.
        batch_size: rows B.
        steps: words T per window.
        epochs: passes over the text.
        schedule: the learning rate of each epoch.
        callbacks: further callbacks of ``fit``.
        on_batch, on_epoch: called with the trainer after each batch and after each epoch with its validation; may raise
            :class:`Interrupted`.
        check: called without arguments during validation; may raise :class:`Interrupted`.

    Attributes: ``epoch`` and ``batch`` (what comes next, from 0), ``history`` (a dict per epoch), ``batches``.
    """

    def __init__(
        self,
        model: Sequential,
        train: Any,
        valid: Any,
        *,
        batch_size: int,
        steps: int,
        epochs: int,
        schedule: EpochDecay,
        callbacks: Iterable[Callback] = (),
        on_batch: Callable[[Trainer], None] | None = None,
        on_epoch: Callable[[Trainer], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        warnings.warn(
            "seqcore.language.Trainer: use model.fit(bptt_batches(...)) with callbacks.BackupAndRestore, EpochDecay, "
            "ResetStates and language_model.ValidationPerplexity",
            DeprecationWarning,
            stacklevel=2,
        )
        if model.optimizer is None:
            raise ValueError("model: expected a compiled model; call compile(optimizer, loss)")
        self.model, self.schedule, self.epochs = model, schedule, integer("epochs", epochs, 0)
        self.batches = bptt_batches(train, batch_size, steps)
        self.epoch = self.batch = 0
        self.history: list[dict[str, Any]] = []
        self.sampled = isinstance(model.loss, SampledLoss)
        self._costs = self._begin = 0.0
        self._validation = ValidationPerplexity(valid, batch_size, steps, check)
        self._callbacks, self._on_batch, self._on_epoch = list(callbacks), on_batch, on_epoch

    @property
    def learning_rate(self) -> float:
        """Learning rate of the current epoch."""
        return self.schedule.at(min(self.epoch, self.epochs - 1))

    @property
    def loss_per_word(self) -> float:
        """Training loss of the current epoch so far."""
        return self._costs / (self.batch * self.batches.steps) if self.batch else float("nan")

    @property
    def perplexity(self) -> float:
        """Training perplexity of the current epoch so far; without meaning where the loss is ``sampled``."""
        return perplexity(self.loss_per_word)

    @property
    def words_per_second(self) -> float:
        """Words trained on per second since the epoch (or the resumed part of it) began."""
        return self._validation.words_per_second

    def position(self) -> dict[str, Any]:
        """Place of the run, for ``model.save_checkpoint``."""
        return {"epoch": self.epoch, "batch": self.batch, "costs": self._costs, "history": self.history}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Continue from a :meth:`position`; the model's own state comes from its checkpoint.

        Raises:
            ValueError: not a position of such a run; nothing is changed then.
        """
        train = "train_loss" if self.sampled else "train_perplexity"
        try:
            history = [dict(row) for row in position["history"]]
            for number, row in enumerate(history):
                integer("epoch", row["epoch"], number + 1, number + 1)
                for key in ("learning_rate", train, "valid_perplexity", "words_per_second", "seconds"):
                    _number(key, row[key])
            epoch = integer("epoch", position["epoch"], len(history), len(history))
            batch = integer("batch", position["batch"], 0, len(self.batches))
            costs = _number("costs", position["costs"])
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"position: expected what Trainer.position gave, got another ({reason})") from None
        self.epoch, self.batch, self._costs, self.history = epoch, batch, costs, history

    def run(self) -> list[dict[str, Any]]:
        """Train to the end and return the history.

        Raises:
            FloatingPointError: the loss is no finite number.
            Interrupted: a hook stopped the run; :meth:`position` tells where.
        """
        callbacks = [self.schedule, self._validation, self, *self._callbacks]
        self.model.fit(self.batches, epochs=self.epochs, verbose=0, callbacks=callbacks)
        return self.history

    def on_train_begin(self, logs: Logs | None = None) -> None:
        fit, loss, rows = self.model.fit_state, self.model.metrics[0], self.batches.batch_size
        fit.epoch, fit.batch = self.epoch, self.batch
        fit.data.set_state({"taken": self.batch, "random": random.get_state(), "exhausted": False}, self.batch)
        loss.total, loss.count = self._costs * rows, float(self.batch * rows)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin = time.perf_counter()
        if self.batch == 0:
            self.model.reset_states()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batch, self._costs = batch + 1, self.model.metrics[0].total / self.batches.batch_size
        if self._on_batch is not None:
            self._on_batch(self)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        train = {"train_loss": self.loss_per_word} if self.sampled else {"train_perplexity": self.perplexity}
        row = {"epoch": epoch + 1, "learning_rate": logs["learning_rate"], **train}
        row |= {"valid_perplexity": logs["val_perplexity"], "words_per_second": logs["words_per_second"]}
        self.history.append({**row, "seconds": time.perf_counter() - self._begin})
        self.epoch, self.batch, self._costs = epoch + 1, 0, 0.0
        if self._on_epoch is not None:
            self._on_epoch(self)


def _number(name: str, value: Any) -> float:
    """A float of any size: a run may have diverged."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ValueError(f"{name}: expected a number, got {short_repr(value)}")
    return float(value)
