"""ModelCheckpoint."""

from __future__ import annotations

import os

from .._files import refuse_foreign_suffix
from .._validation import as_path, boolean, real, verbosity
from ._monitor import _Monitor
from .callback import Logs
from .progress_bar import write


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
