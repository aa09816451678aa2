"""What Word2Vec is told: the settings of the estimator, the passes of a run, and the checks of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Settings:
    """The arguments of the estimator that its files keep; see :class:`seqcore.Word2Vec`."""

    vector_size: int
    alpha: float
    window: int
    min_count: int
    max_final_vocab: int | None
    sample: float
    seed: int
    workers: int | None
    min_alpha: float
    sg: int
    negative: int
    ns_exponent: float
    cbow_mean: int
    epochs: int
    shrink_windows: bool
    loss: str
    deterministic: bool

    def check(self) -> None:
        """Raises ValueError or TypeError for a setting out of range."""
        for name, low, high in (
            ("vector_size", 1, 4096),
            ("window", 1, 10_000),
            ("min_count", 0, None),
            ("seed", 0, 2**63 - 1),
            ("negative", 1, 64),
            ("epochs", 1, None),
            *((("max_final_vocab", 1, None),) if self.max_final_vocab is not None else ()),
            *((("workers", 1, 1024),) if self.workers is not None else ()),
        ):
            setattr(self, name, integer(name, getattr(self, name), low, high))
        for name in ("alpha", "min_alpha", "sample"):
            setattr(self, name, number(name, getattr(self, name), 0))
        self.ns_exponent = number("ns_exponent", self.ns_exponent, -100, 100)
        for name in ("sg", "cbow_mean"):
            value = getattr(self, name)
            if not isinstance(value, (bool, int, np.integer, np.bool_)) or value not in (0, 1):
                raise ValueError(f"{name}: expected 0 or 1, got {value!r}")
            setattr(self, name, int(value))
        if self.loss not in ("negative_sampling", "nce"):
            raise ValueError(f"loss: expected 'negative_sampling' or 'nce', got {self.loss!r}")


@dataclass
class Schedule:
    """A run of passes with a falling learning rate, and how many of them are done."""

    epochs: int
    start_alpha: float
    end_alpha: float
    done: int = 0

    def check(self) -> None:
        """Raises ValueError or TypeError for what makes no sense."""
        self.epochs = integer("epochs", self.epochs, 1)
        self.done = integer("done", self.done, 0)
        self.start_alpha = number("start_alpha", self.start_alpha, 0)
        self.end_alpha = number("end_alpha", self.end_alpha, 0)


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """``value`` as an int in low...high; TypeError for what is none, ValueError outside."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {value!r:.60}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}: expected an integer {f'{low}...{high}' if high else f'>= {low}'}, got {value}")
    return int(value)


def number(name: str, value: Any, low: float, high: float | None = None) -> float:
    """``value`` as a finite float in low...high; TypeError for what is none, ValueError outside."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {value!r:.60}")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not np.isfinite(found) or found < low or (high is not None and found > high):
        reach = f"number {low}...{high}" if high is not None else f"finite number >= {low}"
        raise ValueError(f"{name}: expected a {reach}, got {found}")
    return found
