"""Progress bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from .._validation import integer, real
from .callback import Callback, Logs


def duration(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss.

    >>> duration(75), duration(3700)
    ('1:15', '1:01:40')
    """
    whole = int(seconds + 0.5)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def write(text: str, stream: Any = None) -> None:
    """Write to ``stream``, by default standard output, and flush it if it can; None (no console) takes nothing."""
    stream = sys.stdout if stream is None else stream
    if stream is not None:
        stream.write(text)
        flush = getattr(stream, "flush", None)
        if callable(flush):
            flush()


class ProgressLine:
    """Status line that is redrawn on a terminal, between lines of text that stay; elsewhere only the text.

    Args:
        stream: output stream; standard output by default.
        width: length of the bar in characters, 20 by default.
        interval: seconds between two updates, 0.1 by default.
    """

    def __init__(self, stream: TextIO | None = None, width: int = 20, interval: float = 0.1) -> None:
        self._stream, self._width, self._interval = stream, width, interval
        self._drawn, self._last = 0, -math.inf

    def is_live(self) -> bool:
        """True where the line is drawn: on a terminal. A stream without ``isatty`` (a text box, a logger) is none."""
        isatty = getattr(sys.stdout if self._stream is None else self._stream, "isatty", None)
        return bool(callable(isatty) and isatty())

    def update(
        self, done: int, total: int | None, rate: str, seconds_left: float | None, *values: str, title: str = ""
    ) -> None:
        """Draw the line, unless the last update was less than the interval ago.

        Args:
            done, total: steps done, and steps in all or None.
            rate: the rate, such as ``"5 words/s"``.
            seconds_left: time left, or None.
            values: other texts.
            title: text in front of the bar.
        """
        now = time.perf_counter()
        if now - self._last < self._interval or not self.is_live():
            return
        self._last, place = now, str(done)
        if total:
            filled = min(self._width, self._width * done // total)
            place = f"{done}/{total} [{'=' * filled}{'.' * (self._width - filled)}]"
        left = [] if seconds_left is None else [f"{duration(seconds_left)} left"]
        line = f"{title} {place} " + " - ".join([", ".join([*filter(None, [rate]), *left]), *values])
        columns = shutil.get_terminal_size().columns - 1
        write("\r" + line.lstrip()[:columns].ljust(self._drawn), self._stream)
        self._drawn = min(columns, len(line.lstrip()))

    def line(self, text: str = "") -> None:
        """Write a line of text in the place of the drawn one."""
        write(("\r" if self._drawn else "") + text.ljust(self._drawn) + "\n", self._stream)
        self._drawn, self._last = 0, -math.inf


class ProgressBar(Callback):
    """Show progress, rate and time left.

    On a terminal one line per epoch is drawn again and again; elsewhere one plain line is written at the end of each
    epoch. ``params["verbose"]`` 0 is silence, 2 asks for plain lines. ``evaluate`` and ``predict`` are shown likewise.

    Args:
        stream: output stream; standard output by default.
        unit: unit of the rate, "step" by default.
        per_step: units per step, such as the words of a batch; 1 by default.
        width: length of the bar in characters, 20 by default.
        interval: seconds between two updates, 0.1 by default.
    """

    main_only = True

    def __init__(
        self,
        stream: TextIO | None = None,
        unit: str = "step",
        per_step: float = 1,
        width: int = 20,
        interval: float = 0.1,
    ) -> None:
        self.unit, self.per_step = unit, real("per_step", per_step, 0.0)
        self.width, self.interval = integer("width", width, 1), real("interval", interval, 0.0)
        self._line = ProgressLine(stream, self.width, self.interval)
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
        self._alone(self._start, "Test")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._alone(self._advance, batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._alone(self._finish, logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._alone(self._start, "Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._alone(self._advance, batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._alone(self._finish, None)

    # --- drawing ---

    def _alone(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call a method outside ``fit``, whose line includes the validation."""
        if not self._training:
            self._total = self.params.get("steps")
            action(*arguments)

    def _start(self, title: str) -> None:
        self._title, self._done, self._steps = title, 0, 0
        # The clock of the steps stops before validation, which the line of the epoch includes.
        self._began = self._last = time.perf_counter()

    def _advance(self, batch: int, logs: Logs | None) -> None:
        # A resumed epoch begins with a later batch.
        self._done, self._steps, self._last = batch + 1, self._steps + 1, time.perf_counter()
        if self.params.get("verbose", 1) not in (0, 2):
            left = None
            if self._total:
                left = (self._last - self._began) / self._steps * max(self._total - self._done, 0)
            self._line.update(self._done, self._total, self._rate(), left, *_values(logs), title=self._title)

    def _finish(self, logs: Logs | None) -> None:
        if self.params.get("verbose", 1) != 0:
            parts = [self._title, f"{time.perf_counter() - self._began:.1f}s", self._rate(), *_values(logs)]
            self._line.line(" - ".join(part for part in parts if part))

    def _rate(self) -> str:
        elapsed = self._last - self._began
        if not self._steps or elapsed <= 0:
            return ""
        rate = self._steps * self.per_step / elapsed
        return f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s"


def _values(logs: Logs | None) -> list[str]:
    return [f"{name}: {_format(value)}" for name, value in (logs or {}).items()]


def _format(value: Any) -> str:
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    number = float(value)
    return f"{number:.4e}" if 0 < abs(number) < 1e-3 else f"{number:.4f}"
