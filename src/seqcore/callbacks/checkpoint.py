"""Saving of models during training, and backups from which an interrupted training resumes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import NoneType
from typing import Any

from .._foreign_files import refuse_foreign_suffix
from .._validation import MALFORMED, as_path, boolean, default_only, integer, one_line, positive, real, verbosity
from .callback import Callback, Logs
from .monitor import MonitorCallback
from .progress_bar import write


def _save_freq(value: Any) -> str | int:
    return "epoch" if value == "epoch" else integer("save_freq", value, 1, alternative="'epoch'")


class ModelCheckpoint(MonitorCallback):
    """Save the model after each epoch, or after some batches.

    Args:
        filepath: path with placeholders such as ``{epoch:02d}`` (from 1), ``{batch}`` (from 1, with a ``save_freq`` in
            batches) and the names of the logs: ``"model-{epoch:02d}-{val_loss:.2f}.seqcore"``. Folders are made.
        monitor: name of a metric in the logs, for ``save_best_only``; "val_loss" by default.
        verbose: 1 prints a line, 0 (the default) none.
        save_best_only: save only when the metric has improved; NaN is not an improvement. False by default.
        save_weights_only: call ``model.save_weights`` instead of ``model.save``; False by default.
        mode: "min", "max" or "auto" (the default), which knows losses and the metrics of this package.
        save_freq: "epoch" (the default), or a number of batches.
        initial_value_threshold: value that the first saved model must beat; None by default.

    Raises:
        ValueError: a path that ends like another program's files, such as ``.keras``, other arguments out of range,
            or, when the model is to be saved, placeholders that are not in the logs.
        OSError: a file that cannot be written.
    """

    main_only = True
    _state = {"best": (float, int, NoneType), "_batches": int}

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
        self.save_freq = _save_freq(save_freq)
        self.filepath, self.verbose = as_path(filepath, "filepath"), verbosity(verbose)
        refuse_foreign_suffix(self.filepath, "filepath")
        self.save_best_only = boolean("save_best_only", save_best_only)
        self.save_weights_only = boolean("save_weights_only", save_weights_only)
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
        # As in Keras, a metric that is missing does not stop the saving; _current has warned.
        if current is not None and not self._better(current, self.best):
            if self.verbose:
                write(f"Epoch {place['epoch']}: {self.monitor} {current:.5f} did not improve on {self.best}\n")
            return
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        self.best = self.best if current is None else current
        if self.verbose:
            write(f"Epoch {place['epoch']}: saved {path}\n")


class BackupAndRestore(Callback):
    """Resume an interrupted ``fit`` as if it had never stopped, bit by bit.

    The same ``fit`` in a new process, with the same data and callbacks, continues from the last backup: weights,
    optimizer, random state, carried states of stateful layers, the place in the epoch and in the order of its batches,
    the sums of its metrics, and the state of the other callbacks (:meth:`Callback.get_state`). A kill at any moment
    leaves the old backup or the new one. It is called after all other callbacks, whatever its position in the list.

    Batches that come from an iterator or a generator are read again up to that place; data that shuffle by themselves
    must do so in the same order in each process.

    Args:
        backup_dir: folder of the backup, the file ``checkpoint.safetensors``; it is made if need be.
        save_freq: "epoch" (the default) saves after each epoch, an integer after that many batches.
        double_checkpoint: accepted only as False, since a backup is replaced as a whole.
        delete_checkpoint: delete the backup when the training has ended, as by default. If it is kept, the same ``fit``
            with more epochs continues from it.
        save_every: minutes; also save after each epoch, and at the end of a batch when so much time has passed since
            the last backup. None, the default, saves only by ``save_freq``.
        extra: other values for the backup: numbers, texts, arrays, lists and dicts; ``saving.read_position`` returns
            them.

    Raises:
        ValueError: naming the argument; at the start of the training, naming the file, for a backup of another model or
            of another fit; the model is then unchanged.

    >>> import os, tempfile
    >>> import numpy as np
    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((2,)), layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> folder = tempfile.mkdtemp()
    >>> backup = BackupAndRestore(folder, save_every=5, delete_checkpoint=False)
    >>> model.fit(x, y, epochs=2, verbose=0, callbacks=[backup]).epoch
    [0, 1]
    >>> model.fit(x, y, epochs=3, verbose=0, callbacks=[backup]).epoch
    [0, 1, 2]
    """

    runs_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        save_every: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        default_only("double_checkpoint", double_checkpoint, False, "a backup is replaced as a whole")
        self.backup_dir, self.save_freq = as_path(backup_dir, "backup_dir"), _save_freq(save_freq)
        if not self.backup_dir or (os.path.exists(self.backup_dir) and not os.path.isdir(self.backup_dir)):
            raise ValueError(f"backup_dir: expected a folder, got {self.backup_dir!r}")
        self.delete_checkpoint = boolean("delete_checkpoint", delete_checkpoint)
        self.save_every = None if save_every is None else positive("save_every", save_every)
        if extra is not None and not isinstance(extra, Mapping):
            raise TypeError(f"extra: expected a dict, got {type(extra).__name__}")
        self.extra = dict(extra or {})
        self.path = os.path.join(self.backup_dir, "checkpoint.safetensors")
        self._fit: Any = None
        self._batches, self._saved = 0, 0.0

    def save(self) -> None:
        """Save a backup now: during ``fit``, or after an error or a signal has ended it early."""
        if self._fit is None:
            raise RuntimeError("save: expected a fit with this callback that has begun and not come to its end")
        self._save()

    def _save(self, after_epoch: bool = False) -> None:
        with self._fit.processes.whole_states():
            if self._fit.processes.is_main:
                os.makedirs(self.backup_dir, exist_ok=True)
                self.model.save_checkpoint(self.path, {**self.extra, "fit": self._fit.get_state(after_epoch)})
        self._batches, self._saved = 0, time.monotonic()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._fit, self._batches, self._saved = self.model.fit_state, 0, time.monotonic()
        if self._fit.processes.broadcast(os.path.exists(self.path)):
            self._load()

    def _load(self, **options: bool) -> None:
        """Load the backup into the model and the running fit."""
        with self._fit.processes.file(self.path) as path:
            position = self.model.load_checkpoint(path, check=self._check)
        self._fit.set_state(position["fit"], **options)

    def _check(self, position: dict[str, Any]) -> None:
        """Refuse the backup of another fit, before the model changes."""
        try:
            self._fit.check_state(position["fit"])
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"{self.path}: expected a backup of a fit like this one, got another ({reason})") from None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # An epoch that is resumed begins for the second time: what other callbacks then change is undone.
        if self._fit.batch:
            self._load(data=False)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        by_count = isinstance(self.save_freq, int) and self._batches >= self.save_freq
        # The clocks of several processes differ.
        if by_count or (self.save_every is not None and self._fit.processes.any(self._is_late(self.save_every))):
            self._save()

    def _is_late(self, minutes: float) -> bool:
        return time.monotonic() - self._saved > 60 * minutes

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch" or self.save_every is not None:
            self._save(after_epoch=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        is_main, self._fit = self._fit.processes.is_main, None
        if is_main and self.delete_checkpoint and os.path.exists(self.path):
            os.remove(self.path)
