"""Reports of a training run of Word2Vec: to callbacks, to ``on_progress``, and on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..callbacks.progress_bar import ProgressLine
from .settings import RateSchedule


@dataclass
class Progress:
    """The argument of ``on_progress``.

    Attributes:
        epoch, epochs: the current pass, from 0, and the number of passes.
        share: the part of the current pass that is done, 0...1.
        loss: mean loss per pair of the latest piece.
        words_per_second: since ``train`` began.
        seconds_left: until the last pass ends, at this rate.
    """

    epoch: int
    epochs: int
    share: float
    loss: float
    words_per_second: float
    seconds_left: float


Report = Callable[[Progress], None]


class RunProgress:
    """Measurement of a training run, reported a few times per second and at the end of each pass.

    Args:
        words: of the corpus.
        schedule: the passes of the run.
        report: takes the progress; None reports nothing.
        verbose: also shows the progress in a line on a terminal, and writes a line for each pass.
    """

    def __init__(self, words: int, schedule: RateSchedule, report: Report | None, verbose: bool) -> None:
        self._words, self._first, self._epochs, self._report = words, schedule.done, schedule.epochs, report
        self._line = ProgressLine() if verbose else None
        self._started = self._reported = time.perf_counter()

    def update(self, epoch: int, share: float, loss: float) -> None:
        """Report the share of a pass that is done and the latest loss, if it is time."""
        now = time.perf_counter()
        if now - self._reported <= 0.2 and share < 1:
            return
        self._reported = now
        rate = (epoch - self._first + share) * self._words / max(now - self._started, 1e-9)
        left = (self._epochs - epoch - share) * self._words / max(rate, 1e-9)
        if self._report:
            self._report(Progress(epoch, self._epochs, share, loss, rate, left))
        title, speed = f"epoch {epoch + 1}/{self._epochs}", f"{rate:,.0f} words/s"
        if self._line and share < 1:
            self._line.update(int(100 * share), 100, speed, left, f"loss {loss:.3f}", title=title)
        elif self._line:
            self._line.line(f"{title}  100%  loss {loss:.3f}  {speed}  {left:,.0f} s left")


def notify(listeners: list[Any], method: str, model: Any) -> None:
    """Call a method of those listeners that have it."""
    for listener in listeners:
        if hasattr(listener, method):
            getattr(listener, method)(model)
