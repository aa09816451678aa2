"""Early stopping."""

from __future__ import annotations

from types import NoneType

from .._validation import boolean, integer, real, verbosity
from ..typing import Array
from .callback import Logs
from .monitor import MonitorCallback
from .progress_bar import write


class EarlyStopping(MonitorCallback):
    """Stop training when a monitored metric has stopped improving.

    Args:
        monitor: name of the metric in the logs, "val_loss" by default.
        min_delta: smallest change that counts as an improvement, 0 by default.
        patience: number of epochs without improvement after which training stops, 0 by default.
        verbose: 1 prints a line, 0 (the default) none.
        mode: "min", "max" or "auto" (the default), which knows losses and the metrics of this package.
        baseline: value that the metric must also beat for an epoch to reset the patience; None by default.
        restore_best_weights: give the model the weights of the best epoch at the end; False by default.
        start_from_epoch: number of the first epoch that counts, 0 by default.

    Attributes:
        best, best_epoch: the best value and its epoch, from 0.
        stopped_epoch: the epoch at which training stopped; 0 if it did not.

    NaN is not an improvement. A metric missing from the logs causes a warning.

    Raises:
        ValueError: naming the argument; at the end of an epoch, for a metric whose direction is not known.

    >>> import numpy as np
    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((2,)), layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> stopping = EarlyStopping("loss", min_delta=100, patience=2)
    >>> model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=9, verbose=0, callbacks=[stopping]).epoch
    [0, 1, 2]
    """

    _state = {
        "best": (float, int, NoneType),
        "best_weights": (list, NoneType),
        "wait": int,
        "stopped_epoch": int,
        "best_epoch": int,
    }

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
        self.patience = integer("patience", patience, 0)
        self.verbose, self.baseline = verbosity(verbose), None if baseline is None else real("baseline", baseline)
        self.restore_best_weights = boolean("restore_best_weights", restore_best_weights)
        self.start_from_epoch = integer("start_from_epoch", start_from_epoch, 0)
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
