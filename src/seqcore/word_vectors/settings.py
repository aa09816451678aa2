"""Settings of Word2Vec and the schedule of a training run, with their checks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._validation import MAX_SEED, boolean, choice, default_only, integer, real, short_repr


@dataclass(slots=True)
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
    comment: str | None = None

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raise ValueError or TypeError for a setting out of range; numbers become Python's own."""
        for name, low, high in (
            ("vector_size", 1, 4096), ("window", 1, 10_000), ("min_count", 0, None), ("max_final_vocab", 1, None),
            ("seed", 0, MAX_SEED), ("workers", 1, 1024), ("negative", 1, 64), ("epochs", 1, None),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None or name not in ("max_final_vocab", "workers"):
                setattr(self, name, integer(name, value, low, high))
        for name in ("alpha", "min_alpha", "sample"):
            setattr(self, name, real(name, getattr(self, name), 0))
        self.ns_exponent = real("ns_exponent", self.ns_exponent, -100, 100)
        for name in ("sg", "cbow_mean"):
            setattr(self, name, int(boolean(name, getattr(self, name))))
        for name in ("shrink_windows", "deterministic"):
            setattr(self, name, boolean(name, getattr(self, name)))
        choice("loss", self.loss, ("negative_sampling", "nce"))
        if self.comment is not None and not isinstance(self.comment, str):
            raise TypeError(f"comment: expected a text or None, got {short_repr(self.comment)}")


class Setting:
    """Attribute of the estimator for one of its settings: checked when it is set, used from then on."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        return self if model is None else getattr(model.settings, self.name)

    def __set__(self, model: Any, value: Any) -> None:
        model._take_settings(replace(model.settings, **{self.name: value}))


class Constant(Setting):
    """Attribute of the estimator for a setting of gensim's that can have one value, or the first of some.

    Args:
        value: the value, or a tuple of those that are accepted.
        reason: for the message that refuses others.
    """

    def __init__(self, value: Any, reason: str) -> None:
        self.value, self.reason = value, reason

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        return self if model is None else self.value[0] if isinstance(self.value, tuple) else self.value

    def __set__(self, model: Any, value: Any) -> None:
        default_only(self.name, value, self.value, self.reason)


@dataclass
class RateSchedule:
    """A run of passes with a falling learning rate, and how many of them are done.

    ``scale``: the share of the way to the next pass that the learning rate has gone at the end of one; 1 unless the
    caller says that the corpus has more or fewer words than it has.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int
    start_alpha: float
    end_alpha: float
    done: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        self.epochs, self.done = integer("epochs", self.epochs, 1), integer("done", self.done, 0)
        for name in ("start_alpha", "end_alpha", "scale"):
            setattr(self, name, real(name, getattr(self, name), 0))

    def rate(self, epoch: int, share: float) -> float:
        """The learning rate where a share of a pass is done."""
        fall = (self.end_alpha - self.start_alpha) / self.epochs
        if self.scale == 1:
            return self.start_alpha + fall * (epoch + share)
        low, high = sorted((self.start_alpha, self.end_alpha))
        return min(max(self.start_alpha + fall * (epoch + share * self.scale), low), high)


def keep_limits(counts: Any, sample: float) -> Any:
    """gensim's ``sample_int`` (V,) uint32: a word stays where a draw of 32 bits is not above it.

    A word that comes c times stays with probability (sqrt(c/t) + 1)·t/c, where t is ``sample`` times the number of
    all words; from 1 on, ``sample`` is a count: words that come more often are left out by chance.
    """
    total = counts.sum()
    limit = sample * total if 0 < sample < 1 else int(sample * (3 + np.sqrt(5)) / 2) if sample else total
    chance = (np.sqrt(counts / limit) + 1) * (limit / counts)
    return (np.minimum(chance, 1.0) * (2**32 - 1)).astype(np.uint32)
