"""Base class of the callbacks that monitor a metric."""

from __future__ import annotations

import math
import warnings

from .._validation import choice, real
from .callback import Callback, Logs


class MonitorCallback(Callback):
    """Compare a value of the logs with its best so far."""

    def __init__(self, monitor: str, mode: str, min_delta: float, best: float | None) -> None:
        choice("mode", mode, ("auto", "min", "max"))
        if not isinstance(monitor, str):
            raise TypeError(f"monitor: expected a name, got {type(monitor).__name__}")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(real("min_delta", min_delta))
        self.best = best

    def _direction(self) -> int:
        """1 for a metric that is to be maximized, -1 for one to be minimized."""
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
        raise ValueError(f"monitor: expected mode='min' or 'max' for {self.monitor!r}, whose direction is not known")

    def _better(self, value: float, than: float | None) -> bool:
        """True for a value that is better than another by more than ``min_delta``; NaN never is."""
        direction = self._direction()
        return not math.isnan(value) and (than is None or direction * (value - than) > self.min_delta)

    def _current(self, logs: Logs | None) -> float | None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            known = ", ".join(logs or {}) or "nothing"
            warnings.warn(f"{type(self).__name__}: no {self.monitor!r} in the logs, which hold {known}", stacklevel=3)
            return None
        return float(value)
