"""Logs of all epochs."""

from __future__ import annotations

from typing import Any

from .callback import Callback, Logs


class History(Callback):
    """Record the logs of each epoch; ``fit`` returns one.

    Attributes:
        history: name -> list of the values, one per epoch.
        epoch: numbers of the epochs, from 0.
    """

    _state = {"history": dict, "epoch": list}

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state({**state, "history": {name: list(values) for name, values in state["history"].items()}})

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)
