"""Callbacks that set the learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import NoneType

from .._validation import integer, real, verbosity
from .callback import Callback, Logs
from .monitor import MonitorCallback
from .progress_bar import write


class ReduceLROnPlateau(MonitorCallback):
    """Reduce the learning rate when a monitored metric has stopped improving.

    Args:
        monitor: name of the metric in the logs, "val_loss" by default.
        factor: factor of the learning rate, below 1; 0.1 by default.
        patience: number of epochs without improvement after which the rate is reduced, 10 by default.
        verbose: 1 prints a line, 0 (the default) none.
        mode: "min", "max" or "auto" (the default), which knows losses and the metrics of this package.
        min_delta: smallest change that counts as an improvement, 1e-4 by default.
        cooldown: number of epochs after a reduction that do not count, 0 by default.
        min_lr: lower bound of the learning rate, 0 by default.

    The logs of each epoch get ``learning_rate``.

    Raises:
        ValueError: naming the argument; at the end of an epoch, for a metric whose direction is not known.
    """

    _state = {"best": (float, int, NoneType), "wait": int, "_cooling": int}

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, None)
        self.factor = real("factor", factor, 0.0, 1.0, open_high=True)
        self.patience, self.cooldown = integer("patience", patience, 0), integer("cooldown", cooldown, 0)
        self.verbose, self.min_lr = verbosity(verbose), real("min_lr", min_lr, 0.0)
        self.wait = self._cooling = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best, self.wait, self._cooling = None, 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        rate = self.model.optimizer.learning_rate
        if logs is not None:
            logs["learning_rate"] = rate
        current = self._current(logs)
        if current is None:
            return
        if self._cooling:
            self._cooling, self.wait = self._cooling - 1, 0
        if self._better(current, self.best):
            self.best, self.wait = current, 0
        elif not self._cooling:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                lower = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = lower
                self._cooling, self.wait = self.cooldown, 0
                if self.verbose:
                    write(f"Epoch {epoch + 1}: learning rate reduced to {lower:g}\n")


class LearningRateScheduler(Callback):
    """Set the learning rate at the start of each epoch.

    Args:
        schedule: function ``f(epoch, learning_rate)`` or ``f(epoch)`` of the epoch, from 0, and the current rate that
            returns the new one.
        verbose: 1 prints a line, 0 (the default) none.

    The logs of each epoch get ``learning_rate``.

    Raises:
        TypeError: a schedule that is not a function.
        ValueError: at the start of an epoch, for a rate that is not a number >= 0.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function of the epoch, got {type(schedule).__name__}")
        self.schedule, self.verbose = schedule, verbosity(verbose)
        try:
            inspect.signature(schedule).bind(0, 0.0)
            self._takes_rate = True
        except TypeError:
            self._takes_rate = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        rate = self.schedule(epoch, optimizer.learning_rate) if self._takes_rate else self.schedule(epoch)
        optimizer.learning_rate = real("schedule", rate, 0.0)
        if self.verbose:
            write(f"Epoch {epoch + 1}: learning rate {float(rate):g}\n")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


class EpochDecay(LearningRateScheduler):
    """Hold the learning rate for some epochs, then multiply it by a factor each epoch.

    rate(epoch) = learning_rate * factor ** max(epoch + 1 - hold, 0), epoch from 0.

    Args:
        learning_rate: the rate that is held.
        hold: number of epochs at it.
        factor: factor of the rate at the start of each later epoch.
        verbose: 1 prints a line.

    Source: Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014.

    >>> decay = EpochDecay(1.0, hold=4, factor=0.5)
    >>> [decay.at(epoch) for epoch in (0, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, learning_rate: float, hold: int, factor: float, verbose: int = 0) -> None:
        self.learning_rate = real("learning_rate", learning_rate, 0.0)
        self.hold, self.factor = integer("hold", hold, 0), real("factor", factor, 0.0)
        super().__init__(self.at, verbose)

    def at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.learning_rate * math.pow(self.factor, max(epoch + 1 - self.hold, 0))
