"""Place of a running ``fit``, and the state from which another process continues it bit by bit."""

from __future__ import annotations

from typing import Any, Protocol

from .._validation import MAX_INT64, boolean, integer
from ..callbacks import CallbackList
from ..metrics import Metric
from .data_adapters import DataAdapter
from .processes import OneProcess


class FitModel(Protocol):
    """The part of a model that the state of a fit consists of."""

    stop_training: bool

    @property
    def metrics(self) -> list[Metric]: ...


class FitState:
    """Epoch, batch, data, metrics and callbacks of a running ``fit``; ``model.fit_state`` while it runs.

    Args:
        model: the model that is trained; its weights, optimizer, carried states and the random state are
            saved by ``model.save_checkpoint``.
        data: adapter of the training data.
        validation: adapter of the validation data, or None.
        callbacks: all callbacks of the fit.
        epoch: number of the first epoch.
        processes: those that share the work.

    Attributes:
        epoch: number of the running epoch, from 0.
        batch: its batches that have been trained on.
        logs: what an overridden ``train_step`` returned for the last batch; once all batches are done, the logs of the
            epoch without those of validation; None where the logs come from the metrics.
        stopped: no more batches are trained on: ``model.stop_training`` was set in an earlier epoch or before the
            checkpoint that was resumed.
    """

    def __init__(
        self,
        model: FitModel,
        data: DataAdapter,
        validation: DataAdapter | None,
        callbacks: CallbackList,
        epoch: int,
        processes: OneProcess,
    ) -> None:
        self._model, self.data, self.validation, self.callbacks = model, data, validation, callbacks
        self.processes = processes
        self.initial_epoch = self.epoch = epoch
        self.batch, self.stopped = 0, False
        self.logs: dict[str, float] | None = None

    def count_batch(self, logs: dict[str, float] | None) -> None:
        """Count a batch that has been trained on, with the logs that ``train_step`` returned for it."""
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
        epoch, batch, logs, stopped = _checked_position(state)
        self._set_sums(state)
        if data:
            for adapter, saved, number in self._adapters(state, batch):
                adapter.set_state(saved, number)
        self.epoch, self.batch, self.logs, self.stopped = epoch, batch, logs, stopped
        self._model.stop_training = stopped

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise what :meth:`set_state` would raise for the state of another fit; nothing is changed."""
        _, batch, _, _ = _checked_position(state)
        for adapter, saved, number in self._adapters(state, batch):
            adapter.check_state(saved, number)
        sums = [(metric, metric.get_state()) for metric in self._model.metrics]
        # Attributes: the state before may be one that set_state of a callback refuses.
        attributes = [(callback, dict(vars(callback))) for callback in self.callbacks]
        try:
            self._set_sums(state)
        finally:
            for metric, saved in sums:
                metric.set_state(saved)
            for callback, before in attributes:
                vars(callback).clear()
                vars(callback).update(before)

    def _set_sums(self, state: dict[str, Any]) -> None:
        """Set the states of the metrics and of the callbacks."""
        for metric, saved in zip(self._model.metrics, state["metrics"], strict=True):
            metric.set_state(saved)
        self.callbacks.set_state(state["callbacks"])

    def _adapters(self, state: dict[str, Any], batch: int) -> list[tuple[DataAdapter, Any, int]]:
        """The adapters that continue, the state of each, and its batch in the epoch."""
        adapters: list[tuple[DataAdapter, Any, int]] = [(self.data, state["data"], batch)]
        if self.validation is not None and state["validation"] is not None:
            adapters.append((self.validation, state["validation"], 0))
        return adapters


def _checked_position(state: dict[str, Any]) -> tuple[int, int, dict[str, float] | None, bool]:
    """Epoch, batch, logs and ``stopped`` of a state."""
    epoch, batch = (integer(name, state[name], 0, MAX_INT64) for name in ("epoch", "batch"))
    logs = None if state["logs"] is None else {name: float(value) for name, value in state["logs"].items()}
    return epoch, batch, logs, boolean("stop", state["stop"])
