"""EarlyStopping."""

from __future__ import annotations

from .._validation import at_least, boolean, real, verbosity
from ..typing import Array
from ._monitor import _Monitor
from .callback import Logs
from .progress_bar import write


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

    _state = ("best", "best_weights", "wait", "stopped_epoch", "best_epoch")

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
