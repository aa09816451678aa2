"""Callbacks that act on a number of the logs, or set the learning rate by epoch."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable

from .._validation import as_path, at_least, boolean, real, verbosity
from ..autograd import Array
from ..saving.files import refuse_foreign_suffix
from .base import Callback, Logs
from .progress import write


class _Monitor(Callback):
    """Compares a number of the logs with its best so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float, best: float | None) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {mode!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"monitor: expected a name, got {type(monitor).__name__}")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(real("min_delta", min_delta))
        self.best = best
        self._sign: int | None = None

    def _direction(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        name = self.monitor.removeprefix("val_")
        if self.mode != "auto":
            return 1 if self.mode == "max" else -1
        for metric in getattr(self.model, "metrics", None) or ():
            if getattr(metric, "name", None) == name and getattr(metric, "direction", None):
                return 1 if metric.direction == "up" else -1
        words = name.lower().split("_")
        if {"loss", "perplexity", "error", "crossentropy", "mse", "mae", "rmse"} & set(words):
            return -1
        if {"acc", "accuracy"} & set(words):
            return 1
        raise ValueError(f"monitor: whether {self.monitor!r} shall rise or fall is not known; pass mode='min' or 'max'")

    def _better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` is better by more than min_delta; NaN never is."""
        if self._sign is None:
            self._sign = self._direction()
        if math.isnan(value):
            return False
        return than is None or self._sign * (value - than) > self.min_delta

    def _current(self, logs: Logs | None) -> float | None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            known = ", ".join(logs or {}) or "nothing"
            warnings.warn(f"{type(self).__name__}: no {self.monitor!r} in the logs, which hold {known}", stacklevel=3)
            return None
        return float(value)


class EarlyStopping(_Monitor):
    """Stops training when a number stops improving.

    Args:
        monitor: name in the logs.
        min_delta: an improvement must be larger than this.
        patience: epochs without improvement before training stops.
        verbose: 1 prints a line.
        mode: "min", "max" or "auto" (known for losses and for this package's metrics).
        baseline: the number must beat this too, or patience runs on.
        restore_best_weights: at the end give the model the weights of the best epoch.
        start_from_epoch: epochs before this one do not count.

    NaN is no improvement. ``stopped_epoch`` is the epoch training stopped at (0: it did not), ``best_epoch`` the best.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, None)
        self.patience = at_least("patience", patience, 0)
        self.verbose, self.baseline = verbosity(verbose), None if baseline is None else real("baseline", baseline)
        self.restore_best_weights = boolean("restore_best_weights", restore_best_weights)
        self.start_from_epoch = at_least("start_from_epoch", start_from_epoch, 0)
        self.best_weights: list[Array] | None = None
        self.wait = self.stopped_epoch = self.best_epoch = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = self.best_weights = None
        self.wait = self.stopped_epoch = self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._better(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            write(f"Epoch {self.stopped_epoch + 1}: early stopping\n")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                write(f"Restoring the weights of epoch {self.best_epoch + 1}\n")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Saves the model after each epoch, or after some batches.

    Args:
        filepath: path with placeholders such as ``{epoch:02d}`` (from 1), ``{batch}`` (from 1, with a ``save_freq`` in
            batches) and the names of the logs: ``"model-{epoch:02d}-{val_loss:.2f}.seqcore"``. Folders are made.
        monitor: name in the logs, for ``save_best_only``.
        verbose: 1 prints a line.
        save_best_only: save only when the number improved; NaN is no improvement.
        save_weights_only: ``model.save_weights`` instead of ``model.save``.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: the number to beat at first.

    Raises:
        ValueError: a path that ends like another program's files, such as ``.keras``.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        best = None if initial_value_threshold is None else real("initial_value_threshold", initial_value_threshold)
        super().__init__(monitor, mode, 0.0, best)
        whole = isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0
        if save_freq != "epoch" and not whole:
            raise ValueError(f"save_freq: expected 'epoch' or a number of batches > 0, got {save_freq!r}")
        self.filepath, self.verbose = as_path(filepath, "filepath"), verbosity(verbose)
        refuse_foreign_suffix(self.filepath, "filepath")
        self.save_best_only = boolean("save_best_only", save_best_only)
        self.save_weights_only = boolean("save_weights_only", save_weights_only)
        self.save_freq = save_freq
        self._epoch = self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if isinstance(self.save_freq, int) and self._batches >= self.save_freq:
            self._batches = 0
            self._save({"epoch": self._epoch + 1, "batch": batch + 1}, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save({"epoch": epoch + 1}, logs)

    def _save(self, place: dict[str, int], logs: Logs | None) -> None:
        try:
            path = self.filepath.format(**{**(logs or {}), **place})
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            known = ", ".join([*place, *(logs or {})])
            got = f"{self.filepath!r} ({error})"
            raise ValueError(f"filepath: expected placeholders out of {known}, got {got}") from None
        if os.path.isdir(path):
            raise ValueError(f"filepath: expected a file, got the folder {path!r}")
        current = self._current(logs) if self.save_best_only else None
        # As in Keras a number that is missing does not stop the saving; _current has warned.
        if current is not None and not self._better(current, self.best):
            if self.verbose:
                write(f"Epoch {place['epoch']}: {self.monitor} {current:.5f} did not improve on {self.best}\n")
            return
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        self.best = self.best if current is None else current
        if self.verbose:
            write(f"Epoch {place['epoch']}: saved {path}\n")


class ReduceLROnPlateau(_Monitor):
    """Lowers the learning rate when a number stops improving.

    Args:
        monitor: name in the logs.
        factor: below 1; the learning rate is multiplied by it.
        patience: epochs without improvement before it is.
        verbose: 1 prints a line.
        mode: "min", "max" or "auto".
        min_delta: an improvement must be larger than this.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the learning rate does not go below this.
    """

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
        self.patience, self.cooldown = at_least("patience", patience, 0), at_least("cooldown", cooldown, 0)
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


# --- learning rates by epoch ------------------------------------------------------------------------------------------


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Args:
        schedule: ``f(epoch, learning_rate)`` or ``f(epoch)``, epoch from 0, returns the rate.
        verbose: 1 prints a line.

    The logs of each epoch get ``learning_rate``.
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
    """Holds the learning rate for some epochs, then multiplies it by a factor each epoch.

    rate(epoch) = learning_rate * factor ** max(epoch + 1 - hold, 0), epoch from 0.

    Args:
        learning_rate: the rate held.
        hold: number of epochs at it.
        factor: multiplies the rate at the start of each later epoch.
        verbose: 1 prints a line.

    Source: Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014.

    >>> decay = EpochDecay(1.0, hold=4, factor=0.5)
    >>> [decay.schedule(epoch) for epoch in (0, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(self, learning_rate: float, hold: int, factor: float, verbose: int = 0) -> None:
        self.learning_rate = real("learning_rate", learning_rate, 0.0)
        self.hold, self.factor = at_least("hold", hold, 0), real("factor", factor, 0.0)
        super().__init__(self._at, verbose)

    def _at(self, epoch: int) -> float:
        return self.learning_rate * math.pow(self.factor, max(epoch + 1 - self.hold, 0))
