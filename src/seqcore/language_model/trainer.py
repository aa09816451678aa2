"""Training of a language model with exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._validation import MALFORMED, at_least, integer, one_line, positive
from ..text.bptt import bptt_batches
from ..text.vocabulary import check_ids

if TYPE_CHECKING:
    from ..callbacks import Callback
    from ..models import Sequential
from .evaluation import evaluate_perplexity
from .model import _exp, _number


@dataclass(frozen=True)
class Schedule:
    """A learning rate that is held for ``hold`` epochs and then multiplied by ``decay`` each epoch.

    >>> [Schedule(1.0, hold=2, decay=0.5).at(epoch) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    learning_rate: float = 1.0
    hold: int = 4
    decay: float = 0.5

    def __post_init__(self) -> None:
        for name in ("learning_rate", "decay"):
            positive(name, getattr(self, name))
        at_least("hold", self.hold, 0)

    def at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.decay ** max(epoch + 1 - self.hold, 0)


class Interrupted(Exception):
    """Raised out of a run by its ``on_batch`` or ``check`` hook to stop it at a place it can be resumed from."""


class Trainer:
    """Trains a stateful language model epoch by epoch over one text; where it stands can be saved at any batch.

    Args:
        model: a compiled Sequential with stateful recurrent layers and a Dense output over V words; its loss must be
            summed over time and averaged over the batch ("batch_mean"), as :func:`build_model` sets it. With a sampled
            loss the history has ``train_loss`` (per word) in place of ``train_perplexity``.
        train, valid: (N,) ids of the texts.
        batch_size: rows B read side by side.
        steps: words T per window, the reach of the gradient.
        epochs: passes over the text.
        schedule: the learning rate of each epoch.
        callbacks: objects of ``seqcore.callbacks``; logs have loss, perplexity, learning_rate and, at the end of an
            epoch, val_perplexity. Setting ``model.stop_training`` ends the run after the epoch.
        on_batch: called with the trainer after each batch; may raise :class:`Interrupted`.
        on_epoch: called with the trainer after each epoch and its validation; the epoch's figures are ``history[-1]``.
        check: called with nothing now and then while the validation text is read; may raise :class:`Interrupted`.

    Attributes: ``epoch`` and ``batch`` (what comes next, from 0), ``history`` (one dict per epoch), ``batches``.

    The model's state is zeroed at the start of each epoch. Perplexities are exp(loss per word); the validation's is
    computed as in training, B rows and windows of T words, with the words left over at the end of each row left out.

    Raises:
        ValueError: a text too short for one batch.
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
        schedule: Schedule,
        callbacks: Iterable[Callback] = (),
        on_batch: Callable[[Trainer], None] | None = None,
        on_epoch: Callable[[Trainer], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        from ..callbacks import CallbackList

        if model.optimizer is None:
            raise ValueError("model: expected a compiled model; call compile(optimizer, loss)")
        self.model, self.schedule, self.epochs = model, schedule, at_least("epochs", epochs, 0)
        self._optimizer = model.optimizer
        self.batches = bptt_batches(train, batch_size, steps)
        bptt_batches(valid, batch_size, steps)
        self.valid = check_ids(valid)
        self.epoch = self.batch = 0
        self.history: list[dict[str, Any]] = []
        self._costs = 0.0
        self._clock = _Clock()
        self._callbacks = CallbackList(callbacks, model=model, epochs=self.epochs, steps=len(self.batches), verbose=0)
        self._on_batch, self._on_epoch, self._check = on_batch, on_epoch, check

    @property
    def learning_rate(self) -> float:
        """Of the current epoch."""
        return self.schedule.at(min(self.epoch, self.epochs - 1))

    @property
    def sampled(self) -> bool:
        """Whether the model trains on sampled classes, so that its training loss is no perplexity."""
        from ..losses import SampledLoss

        return isinstance(self.model.loss, SampledLoss)

    @property
    def loss_per_word(self) -> float:
        """Training loss of the current epoch so far."""
        return self._costs / (self.batch * self.batches.steps) if self.batch else math.nan

    @property
    def perplexity(self) -> float:
        """Training perplexity of the current epoch so far; without meaning where the loss is ``sampled``."""
        return _exp(self.loss_per_word)

    @property
    def words_per_second(self) -> float:
        """Words trained on per second since the epoch (or the resumed part of it) began."""
        return self._clock.rate()

    def position(self) -> dict[str, Any]:
        """Where the run stands, as JSON can hold it: for ``model.save_checkpoint``."""
        return {"epoch": self.epoch, "batch": self.batch, "costs": self._costs, "history": self.history}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Goes on from a :meth:`position`; the model's own state comes from its checkpoint.

        Raises:
            ValueError: not a position of such a run; nothing is changed then.
        """
        try:
            history = [self._entry(number, entry) for number, entry in enumerate(position["history"])]
            epoch = integer("epoch", position["epoch"], len(history), len(history))
            batch = integer("batch", position["batch"], 0, len(self.batches))
            costs = _number("costs", position["costs"])
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"position: expected what Trainer.position gave, got another ({reason})") from None
        self.epoch, self.batch, self._costs, self.history = epoch, batch, costs, history

    def _entry(self, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The figures of an epoch, as :meth:`run` notes them; those of others are kept."""
        train = "train_loss" if self.sampled else "train_perplexity"
        for key in ("learning_rate", train, "valid_perplexity", "words_per_second", "seconds"):
            _number(key, entry[key])
        integer("epoch", entry["epoch"], number + 1, number + 1)
        return dict(entry)

    def run(self) -> list[dict[str, Any]]:
        """Trains to the end and returns the history.

        Raises:
            FloatingPointError: the loss is no finite number.
            Interrupted: a hook stopped the run; :meth:`position` tells where.
        """
        self.model.stop_training = False
        self._callbacks.on_train_begin()
        while self.epoch < self.epochs and not self.model.stop_training:
            self._callbacks.on_epoch_begin(self.epoch)
            self._run_epoch()
        self._callbacks.on_train_end()
        return self.history

    def _run_epoch(self) -> None:
        rate = self.learning_rate
        self._optimizer.learning_rate = rate
        if self.batch == 0:
            self.model.reset_states()
            self._costs = 0.0
        sampled, begin, words = self.sampled, time.perf_counter(), self.batches.batch_size * self.batches.steps
        self._clock.start()
        for x, y in self.batches.resume(self.batch):
            self._callbacks.on_train_batch_begin(self.batch)
            loss = float(self.model.train_on_batch(x, y))
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"loss: got {loss} in epoch {self.epoch + 1}, batch {self.batch + 1}; try a lower learning rate"
                )
            self._costs += loss
            self.batch = self.batches.position
            self._clock.count(words)
            logs = {"loss": loss} if sampled else {"loss": loss, "perplexity": self.perplexity}
            self._callbacks.on_train_batch_end(self.batch - 1, logs)
            if self._on_batch is not None:
                self._on_batch(self)
        speed = self.words_per_second
        train = {"train_loss": self.loss_per_word} if sampled else {"train_perplexity": self.perplexity}
        valid = evaluate_perplexity(
            self.model, self.valid, self.batches.batch_size, self.batches.steps, drop_tail=True, check=self._check
        )
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "learning_rate": rate,
                **train,
                "valid_perplexity": valid,
                "words_per_second": speed,
                "seconds": time.perf_counter() - begin,
            }
        )
        self.epoch, self.batch = self.epoch + 1, 0
        logs = {"loss": self._costs / len(self.batches), "val_perplexity": valid, "learning_rate": rate}
        if not sampled:
            logs["perplexity"] = train["train_perplexity"]
        self._costs = 0.0
        if self._on_epoch is not None:
            self._on_epoch(self)
        self._callbacks.on_epoch_end(self.epoch - 1, logs)


class _Clock:
    """Counts words against time."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._begin, self._words = time.perf_counter(), 0

    def count(self, words: int) -> None:
        self._words += words

    def rate(self) -> float:
        return self._words / max(time.perf_counter() - self._begin, 1e-9)
