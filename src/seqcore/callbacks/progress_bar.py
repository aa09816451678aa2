"""The progress bar: rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import Any, TextIO

import numpy as np

from .._validation import at_least, real
from .callback import Callback, Logs


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    >>> duration(75), duration(3700)
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


def is_terminal(stream: Any) -> bool:
    """Whether ``stream`` is a terminal; what has no ``isatty`` (a text box, a logger, None) is none."""
    asked = getattr(stream, "isatty", None)
    return bool(callable(asked) and asked())


def write(text: str, stream: Any = None) -> None:
    """Writes to ``stream``, by default standard output, and flushes it if it can; None (no console) takes nothing."""
    stream = sys.stdout if stream is None else stream
    if stream is not None:
        stream.write(text)
        flush = getattr(stream, "flush", None)
        if callable(flush):
            flush()


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
        self.width, self.interval = at_least("width", width, 1), real("interval", interval, 0.0)
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

    def _drawn(self) -> bool:
        stream = sys.stdout if self._given is None else self._given
        return self.params.get("verbose", 1) not in (0, 2) and is_terminal(stream)

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
            write("\n", self._given)
        else:
            write(line + "\n", self._given)

    def _draw(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns - 1
        write("\r" + line[:columns].ljust(columns), self._given)

    def _bar(self, logs: Logs | None) -> str:
        parts = self._rate()
        place = str(self._done)
        if self._total:
            filled = min(self.width, self.width * self._done // self._total)
            place = f"{self._done}/{self._total} [{'=' * filled}{'.' * (self.width - filled)}]"
            left = (self._last - self._began) / self._done * max(self._total - self._done, 0)
            parts.append(f"{duration(left)} left")
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
