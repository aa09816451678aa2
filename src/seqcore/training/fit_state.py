"""Place of a running ``fit``, and the state from which another process continues it bit by bit."""

from __future__ import annotations

from typing import Any, Protocol

from .._validation import boolean, integer
from ..callbacks import CallbackList
from ..metrics import Metric
from .data_adapters import DataAdapter


class FitModel(Protocol):
    """The part of a model that the state of a fit consists of."""

    stop_training: bool

    @property
    def metrics(self) -> list[Metric]: ...


class FitState:
    """Epoch, batch, data, metrics and callbacks of a running ``fit``; ``model.fit_state`` while it runs.

    Args:
        model: the model that is trained; its weights, optimizer, carried states and the random state are the business
            of ``model.save_checkpoint``.
        data: adapter of the training data.
        validation: adapter of the validation data, or None.
        callbacks: all callbacks of the fit.
        epoch: number of the first epoch.

    Attributes:
        epoch: number of the running epoch, from 0.
        batch: its batches that have been trained on.
        logs: what an overridden ``train_step`` returned for the last batch; once all batches are done, the logs of the
            epoch without those of validation; None where the metrics tell.
        stopped: no more batches are trained on: ``model.stop_training`` was set in an earlier epoch or before the
            checkpoint that was resumed.
    """

    def __init__(
        self, model: FitModel, data: DataAdapter, validation: DataAdapter | None, callbacks: CallbackList, epoch: int
    ) -> None:
        self._model, self.data, self.validation, self.callbacks = model, data, validation, callbacks
        self.initial_epoch = self.epoch = epoch
        self.batch, self.stopped = 0, False
        self.logs: dict[str, float] | None = None

    def count_batch(self, logs: dict[str, float] | None) -> None:
        """Note that one more batch has been trained on, and what ``train_step`` returned for it."""
        self.batch, self.logs = self.batch + 1, logs
        self.data.taken += 1

    def next_epoch(self) -> None:
        """Move on to the next epoch; a callback that stopped the training ends the fit."""
        self.epoch, self.batch, self.logs = self.epoch + 1, 0, None
        self.stopped = self._model.stop_training

    def get_state(self, after_epoch: bool = False) -> dict[str, Any]:
        """State of the fit: numbers, texts, arrays, lists and dicts.

        Args:
            after_epoch: the running epoch is complete, all callbacks included; by default it is continued after the
                last batch that was trained on.
        """
        validation = self.validation
        return {
            "epoch": self.epoch + after_epoch,
            "batch": 0 if after_epoch else self.batch,
            "logs": self.logs,
            "stop": self._model.stop_training,
            "metrics": [metric.get_state() for metric in self._model.metrics],
            "data": self.data.get_state(),
            "validation": validation.get_state() if validation is not None and validation.once else None,
            "callbacks": self.callbacks.get_state(),
        }

    def set_state(self, state: dict[str, Any], data: bool = True) -> None:
        """Continue from a :meth:`get_state`.

        Args:
            state: of a fit with the same metrics, callbacks and data.
            data: the place in the data too; it must be set once, since an iterator cannot go back.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: for the state of another fit.
        """
        epoch, batch = (integer(name, state[name], 0, 2**63 - 1) for name in ("epoch", "batch"))
        stopped = boolean("stop", state["stop"])
        logs = None if state["logs"] is None else {name: float(value) for name, value in state["logs"].items()}
        for metric, saved in zip(self._model.metrics, state["metrics"], strict=True):
            metric.set_state(saved)
        self.callbacks.set_state(state["callbacks"])
        if data:
            self.data.set_state(state["data"], batch)
        if data and self.validation is not None and state["validation"] is not None:
            self.validation.set_state(state["validation"], 0)
        self.epoch, self.batch, self.logs, self.stopped = epoch, batch, logs, stopped
        self._model.stop_training = stopped
