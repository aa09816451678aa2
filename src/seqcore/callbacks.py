"""Callbacks of training: history, progress, stopping, saving, learning rates, logs, gradients over time.

Names, arguments and rules are those of Keras 3. T: time steps.
"""

from __future__ import annotations

import csv
import inspect
import io
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, TextIO

import numpy as np

from .autograd import Array
from .schedules import real

Logs = dict[str, Any]


class Callback:
    """Base of the callbacks: hooks that do nothing. ``fit`` sets ``model`` and ``params`` (epochs, steps, verbose).

    ``logs`` maps names to numbers; what a callback adds to the logs of ``on_epoch_end`` reaches those after it.
    """

    model: Any = None
    params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...

    def on_train_end(self, logs: Logs | None = None) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None: ...

    def on_test_end(self, logs: Logs | None = None) -> None: ...

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_begin(self, logs: Logs | None = None) -> None: ...

    def on_predict_end(self, logs: Logs | None = None) -> None: ...

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


_HOOKS = [name for name in vars(Callback) if name.startswith("on_") and not name.startswith("on_batch_")]


def _defines(callback: Callback, name: str) -> bool:
    hook = getattr(callback, name)
    return getattr(hook, "__func__", hook) is not getattr(Callback, name)


class CallbackList:
    """Several callbacks as one. A hook costs nothing where no callback defines it.

    Args:
        callbacks: called in this order.
        model: passed to each.
        params: epochs, steps (per epoch, or None), verbose, ...

    >>> history = History()
    >>> callbacks = CallbackList([history], model=None, epochs=1)
    >>> callbacks.on_train_begin()
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    def __init__(self, callbacks: Iterable[Callback] = (), model: Any = None, **params: Any) -> None:
        self.callbacks: list[Callback] = []
        self.model, self.params = model, params
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        for callback in callbacks:
            self.append(callback)

    def append(self, callback: Callback) -> None:
        """Adds a callback at the end."""
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: expected Callback objects, got {type(callback).__name__}")
        self.callbacks.append(callback)
        callback.set_params(self.params)
        callback.set_model(self.model)
        for name in _HOOKS:
            if _defines(callback, name) or _defines(callback, name.replace("_train_batch_", "_batch_")):
                self._hooks.setdefault(name, []).append(getattr(callback, name))

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def __iter__(self) -> Any:
        return iter(self.callbacks)

    def has(self, hook: str) -> bool:
        """Whether some callback defines this hook, so that its logs are worth computing."""
        return hook in self._hooks

    def _call(self, hook: str, *args: Any) -> None:
        for function in self._hooks.get(hook, ()):
            function(*args)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._call("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._call("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._call("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_end", batch, logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._call("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_end", batch, logs)


class History(Callback):
    """Keeps the logs of each epoch: ``history`` maps names to lists, ``epoch`` holds the epochs' numbers from 0."""

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)


# --- progress ---------------------------------------------------------------------------------------------------------


def _duration(seconds: float) -> str:
    """
    >>> _duration(75), _duration(3700)
    ('1:15', '1:01:40')
    """
    whole = int(seconds + 0.5)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _number(value: Any) -> str:
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    number = float(value)
    return f"{number:.4e}" if 0 < abs(number) < 1e-3 else f"{number:.4f}"


class ProgressBar(Callback):
    """Shows progress, rate and time left.

    Args:
        stream: where to write; standard output by default.
        unit: what the rate counts.
        per_step: how many units one step is, such as the words of a batch.
        width: length of the bar in characters.
        interval: seconds between two updates.

    On a terminal one line per epoch is drawn over and over; elsewhere one plain line is written at the end of each
    epoch. ``params["verbose"]`` 0 is silence, 2 asks for plain lines. ``evaluate`` and ``predict`` are shown likewise.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        unit: str = "step",
        per_step: float = 1,
        width: int = 20,
        interval: float = 0.1,
    ) -> None:
        self._given, self.unit = stream, unit
        self.per_step = real("per_step", per_step, 0.0)
        self.width, self.interval = int(real("width", width, 1.0)), real("interval", interval, 0.0)
        self._training = False
        self._total: int | None = None
        self._start("")

    # --- hooks ---

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._training, self._total = True, self.params.get("steps")

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._training = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        epochs = self.params.get("epochs")
        self._start(f"Epoch {epoch + 1}/{epochs}" if epochs else f"Epoch {epoch + 1}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._advance(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finish(logs)
        # A generator's length is known after its first epoch.
        self._total = self.params.get("steps") or self._done or None

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._start_alone("Test")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._advance_alone(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._finish_alone(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._start_alone("Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._advance_alone(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish_alone(None)

    # --- drawing ---

    @property
    def _stream(self) -> TextIO:
        return sys.stdout if self._given is None else self._given

    def _drawn(self) -> bool:
        return self.params.get("verbose", 1) not in (0, 2) and self._stream.isatty()

    def _start_alone(self, title: str) -> None:
        if not self._training:
            self._total = self.params.get("steps")
            self._start(title)

    def _advance_alone(self, batch: int, logs: Logs | None) -> None:
        if not self._training:
            self._advance(batch, logs)

    def _finish_alone(self, logs: Logs | None) -> None:
        if not self._training:
            self._finish(logs)

    def _start(self, title: str) -> None:
        self._title, self._done, self._shown = title, 0, -math.inf
        # The clock of the steps stops before validation, which the line of the epoch includes.
        self._began = self._last = time.perf_counter()

    def _advance(self, batch: int, logs: Logs | None) -> None:
        self._done, self._last = batch + 1, time.perf_counter()
        if self._last - self._shown >= self.interval and self._drawn():
            self._shown = self._last
            self._draw(self._bar(logs))

    def _finish(self, logs: Logs | None) -> None:
        if self.params.get("verbose", 1) == 0:
            return
        parts = [self._title, f"{time.perf_counter() - self._began:.1f}s", *self._rate(), *self._values(logs)]
        line = " - ".join(part for part in parts if part)
        if self._drawn():
            self._draw(line)
            self._stream.write("\n")
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _draw(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        self._stream.write("\r" + line[:columns].ljust(columns))
        self._stream.flush()

    def _bar(self, logs: Logs | None) -> str:
        parts = self._rate()
        place = str(self._done)
        if self._total:
            filled = min(self.width, self.width * self._done // self._total)
            place = f"{self._done}/{self._total} [{'=' * filled}{'.' * (self.width - filled)}]"
            left = (self._last - self._began) / self._done * max(self._total - self._done, 0)
            parts.append(f"{_duration(left)} left")
        return f"{self._title} {place} " + " - ".join([", ".join(parts), *self._values(logs)])

    def _rate(self) -> list[str]:
        elapsed = self._last - self._began
        if not self._done or elapsed <= 0:
            return []
        rate = self._done * self.per_step / elapsed
        return [f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s"]

    @staticmethod
    def _values(logs: Logs | None) -> list[str]:
        return [f"{key}: {_number(value)}" for key, value in (logs or {}).items()]


# --- callbacks that watch one number ----------------------------------------------------------------------------------


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

    def _say(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


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
        self.patience = int(real("patience", patience, 0.0))
        self.verbose, self.baseline = verbose, None if baseline is None else real("baseline", baseline)
        self.restore_best_weights = bool(restore_best_weights)
        self.start_from_epoch = int(real("start_from_epoch", start_from_epoch, 0.0))
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
            self._say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                self._say(f"Restoring the weights of epoch {self.best_epoch + 1}")
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
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = bool(save_best_only), bool(save_weights_only)
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
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join([*place, *(logs or {})])
            got = f"{self.filepath!r} ({error})"
            raise ValueError(f"filepath: expected placeholders out of {known}, got {got}") from None
        if os.path.isdir(path):
            raise ValueError(f"filepath: expected a file, got the folder {path!r}")
        current = self._current(logs) if self.save_best_only else None
        # As in Keras a number that is missing does not stop the saving; _current has warned.
        if current is not None and not self._better(current, self.best):
            if self.verbose:
                self._say(f"Epoch {place['epoch']}: {self.monitor} {current:.5f} did not improve on {self.best}")
            return
        if os.path.dirname(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        self.best = self.best if current is None else current
        if self.verbose:
            self._say(f"Epoch {place['epoch']}: saved {path}")


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
        self.patience, self.cooldown = int(real("patience", patience, 0.0)), int(real("cooldown", cooldown, 0.0))
        self.verbose, self.min_lr = verbose, real("min_lr", min_lr, 0.0)
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
                    self._say(f"Epoch {epoch + 1}: learning rate reduced to {lower:g}")


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
        self.schedule, self.verbose = schedule, verbose
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
            sys.stdout.write(f"Epoch {epoch + 1}: learning rate {float(rate):g}\n")

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
        self.hold, self.factor = int(real("hold", hold, 0.0)), real("factor", factor, 0.0)
        super().__init__(self._at, verbose)

    def _at(self, epoch: int) -> float:
        return self.learning_rate * math.pow(self.factor, max(epoch + 1 - self.hold, 0))


# --- logs on disk -----------------------------------------------------------------------------------------------------


class CSVLogger(Callback):
    """Writes the logs of each epoch to a CSV file with the columns epoch and the names of the logs.

    Args:
        filename: the file; its folder is made.
        separator: between columns, one character.
        append: keep what is in the file; otherwise it starts anew.

    The whole file is replaced at the end of each epoch, so that a kill leaves the old one or the new one. Names that
    turn up later become new columns; where a value is missing stands NA.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.filename, self.sep, self.append = os.fspath(filename), separator, bool(append)
        self._columns: list[str] = ["epoch"]
        self._rows: list[dict[str, Any]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._columns, self._rows = ["epoch"], []
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, delimiter=self.sep)
                self._rows = list(reader)
                names = list(reader.fieldnames or ["epoch"])
            if "epoch" not in names or None in names or any(None in row for row in self._rows):
                raise ValueError(f"filename: expected a CSV file with a column epoch, got {self.filename!r}")
            self._columns = names

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        found = {k: v.item() if isinstance(v, np.generic) else v for k, v in (logs or {}).items()}
        self._columns += sorted(set(found) - set(self._columns))
        self._rows.append({**found, "epoch": epoch})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="NA", delimiter=self.sep, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        _replace(self.filename, text.getvalue())


def _replace(path: str, text: str) -> None:
    """Writes a text file so that a kill leaves the old one or the new one."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


class _EventFile:
    """Scalars in a TensorBoard event file, through tensorboardX or TensorBoard's own writer."""

    def __init__(self, folder: str) -> None:
        try:
            self._writer = import_module("tensorboardX").SummaryWriter(folder)
            self._event: Any = None
        except ImportError:
            try:
                self._event = import_module("tensorboard.compat.proto.event_pb2").Event
                self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
                writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter
            except ImportError:
                raise ImportError(
                    "TensorBoard: expected tensorboardX or tensorboard, got neither; pip install 'seqcore[tensorboard]'"
                ) from None
            self._writer = writer(folder)

    def scalar(self, tag: str, value: float, step: int) -> None:
        if self._event is None:
            self._writer.add_scalar(tag, value, step)
            return
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class TensorBoard(Callback):
    """Writes the logs for TensorBoard: ``log_dir/train`` and ``log_dir/validation``.

    Args:
        log_dir: the folder.
        update_freq: "epoch", "batch" (each batch too), or a number of batches.

    Tags are ``epoch_<name>`` by epoch and ``batch_<name>`` by batch, as in Keras. Needs tensorboardX or tensorboard.

    Raises:
        ImportError: at the start of training, where neither is installed.
    """

    def __init__(self, log_dir: str | os.PathLike[str] = "logs", update_freq: str | int = "epoch") -> None:
        if update_freq == "batch":
            update_freq = 1
        whole = isinstance(update_freq, int) and not isinstance(update_freq, bool) and update_freq > 0
        if update_freq != "epoch" and not whole:
            raise ValueError(f"update_freq: expected 'epoch', 'batch' or a number of batches > 0, got {update_freq!r}")
        self.log_dir, self.update_freq = os.fspath(log_dir), update_freq
        self._files: dict[str, _EventFile] = {}
        self._batches = 0

    def _file(self, kind: str) -> _EventFile:
        if kind not in self._files:
            self._files[kind] = _EventFile(os.path.join(self.log_dir, kind))
        return self._files[kind]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        self._file("train")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if isinstance(self.update_freq, int) and self._batches % self.update_freq == 0:
            for key, value in (logs or {}).items():
                self._file("train").scalar(f"batch_{key}", float(value), self._batches - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        found = {"learning_rate": optimizer.learning_rate} if optimizer is not None else {}
        for key, value in {**found, **(logs or {})}.items():
            if isinstance(value, (int, float, np.number)):
                kind = "validation" if key.startswith("val_") else "train"
                self._file(kind).scalar(f"epoch_{key.removeprefix('val_')}", float(value), epoch)
        for file in self._files.values():
            file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


# --- gradients over time ----------------------------------------------------------------------------------------------


class GradientNorms(Callback):
    """Collects, for each recurrent layer, the norm of dL/dh_t over batch and units at every time step t.

    Args:
        per: "epoch" (mean over its batches) or "batch".
        layers: names of the layers; all recurrent ones by default.

    ``norms`` maps a layer's name to a list of (T,) float64 arrays, one per epoch or batch; index t is the time step.
    Where the norms fall towards t = 0 gradients vanish, where they rise they explode. Batches may differ in T: the mean
    of a step is over the batches that have it.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """

    def __init__(self, per: str = "epoch", layers: Sequence[str] | None = None) -> None:
        if per not in ("epoch", "batch"):
            raise ValueError(f"per: expected 'epoch' or 'batch', got {per!r}")
        if isinstance(layers, str):
            raise TypeError("layers: expected a list of names, got one name")
        self.per, self.layers = per, None if layers is None else list(layers)
        self.norms: dict[str, list[Array]] = {}
        self._watched: dict[str, Any] = {}
        self._before: dict[str, bool] = {}
        self._sums: dict[str, tuple[Array, Array]] = {}

    def _find(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for layer in self.model.layers_inside():
            if hasattr(layer, "step_gradients") and hasattr(layer, "last_step_gradients"):
                name, count = layer.name, 1
                while name in found:
                    name, count = f"{layer.name}_{count}", count + 1
                found[name] = layer
        if self.layers is not None:
            missing = [name for name in self.layers if name not in found]
            if missing:
                known = ", ".join(found) or "none"
                raise ValueError(f"layers: expected names of recurrent layers ({known}), got {missing[0]!r}")
            return {name: found[name] for name in self.layers}
        if not found:
            raise ValueError("GradientNorms: expected a model with a recurrent layer, got none")
        return found

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._watched = self._find()
        self.norms = {name: [] for name in self._watched}
        self._before = {name: layer.step_gradients for name, layer in self._watched.items()}
        for layer in self._watched.values():
            layer.step_gradients = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._sums = {}

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for name, layer in self._watched.items():
            if layer.last_step_gradients is None:
                continue
            gradients = np.asarray(layer.last_step_gradients)
            norms = np.sqrt(np.square(gradients, dtype=np.float64).sum(axis=(0, 2)))
            layer.last_step_gradients = None
            if self.per == "batch":
                self.norms[name].append(norms)
            else:
                self._add(name, norms)

    def _add(self, name: str, norms: Array) -> None:
        total, count = self._sums.get(name, (np.zeros(0), np.zeros(0)))
        if len(norms) > len(total):
            longer = len(norms) - len(total)
            total, count = np.pad(total, (0, longer)), np.pad(count, (0, longer))
        total[: len(norms)] += norms
        count[: len(norms)] += 1
        self._sums[name] = total, count

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, (total, count) in self._sums.items():
            self.norms[name].append(total / count)
        self._sums = {}

    def on_train_end(self, logs: Logs | None = None) -> None:
        for name, layer in self._watched.items():
            layer.step_gradients = self._before[name]
        self._watched = {}
