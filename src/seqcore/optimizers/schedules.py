"""Learning rates that depend on the number of updates made so far: formulas, names and defaults of Keras 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .._registry import Configurable, Registry
from .._validation import boolean, positive, real


class LearningRateSchedule(Configurable):
    """A learning rate as a function of the number of updates; subclasses define ``__call__(step)``.

    >>> class Halves(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.5**step
    >>> Halves()(2)
    0.25
    """

    _pickle_family = "schedule"

    def __call__(self, step: int) -> float:
        raise TypeError(f"{type(self).__name__}: a schedule must define __call__(step)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same schedule again; JSON-able."""
        return dict(vars(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


SCHEDULES = Registry("learning_rate", LearningRateSchedule)


class _PeriodicDecay(LearningRateSchedule):
    """A rate that falls by so much in each period of ``decay_steps``."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive("decay_steps", decay_steps)
        self.decay_rate = real("decay_rate", decay_rate, 0.0)
        self.staircase, self.name = boolean("staircase", staircase), name or type(self).__name__

    def _periods(self, step: int) -> float:
        periods = step / self.decay_steps
        return math.floor(periods) if self.staircase else periods


@SCHEDULES.register()
class ExponentialDecay(_PeriodicDecay):
    """initial_learning_rate * decay_rate ** (step / decay_steps); with ``staircase`` the exponent is rounded down.

    >>> ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)(5)
    0.25
    """

    def __call__(self, step: int) -> float:
        rate: float = self.initial_learning_rate * self.decay_rate ** self._periods(step)
        return rate


@SCHEDULES.register()
class InverseTimeDecay(_PeriodicDecay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); with ``staircase`` the quotient is rounded down.

    >>> InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)(10)
    0.25
    """

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self._periods(step))


@SCHEDULES.register()
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[i] for the first step <= boundaries[i], the last value after all boundaries.

    >>> [PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])(step) for step in (10, 11, 21)]
    [1.0, 0.5, 0.1]
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        self.boundaries = [real("boundaries", b) for b in boundaries]
        self.values = [real("values", v, 0.0) for v in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(f"values: expected {len(self.boundaries) + 1}, boundaries and one, got {len(self.values)}")
        if self.boundaries != sorted(set(self.boundaries)):
            raise ValueError(f"boundaries: expected ascending numbers, got {list(boundaries)}")
        self.name = name

    def __call__(self, step: int) -> float:
        for boundary, value in zip(self.boundaries, self.values[:-1], strict=True):
            if step <= boundary:
                return value
        return self.values[-1]


@SCHEDULES.register()
class PolynomialDecay(LearningRateSchedule):
    """(initial - end) * (1 - step / decay_steps) ** power + end, then ``end_learning_rate``.

    With ``cycle`` the decay_steps are multiplied by the first whole number that brings them up to step.

    >>> PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.0)(5)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive("decay_steps", decay_steps)
        self.end_learning_rate = real("end_learning_rate", end_learning_rate, 0.0)
        self.power = real("power", power, 0.0)
        self.cycle, self.name = boolean("cycle", cycle), name

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * (max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1)
        left = math.pow(1.0 - min(step, steps) / steps, self.power)
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


@SCHEDULES.register()
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to ``alpha`` times it over decay_steps, after an optional linear warm-up.

    With ``warmup_target`` the rate first rises (or falls) in a line from ``initial_learning_rate`` to it over
    ``warmup_steps``; the cosine then starts from the target. Loshchilov and Hutter, "SGDR", 2017.

    >>> round(CosineDecay(1.0, decay_steps=10)(5), 12)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = real("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = positive("decay_steps", decay_steps)
        self.alpha = real("alpha", alpha, 0.0)
        self.name = name
        self.warmup_target = None if warmup_target is None else real("warmup_target", warmup_target, 0.0)
        self.warmup_steps = real("warmup_steps", warmup_steps, 0.0)

    def __call__(self, step: int) -> float:
        start, passed = self.initial_learning_rate, float(step)
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return start + (self.warmup_target - start) * (step / self.warmup_steps)
            start, passed = self.warmup_target, step - self.warmup_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(passed, self.decay_steps) / self.decay_steps))
        return start * ((1.0 - self.alpha) * cosine + self.alpha)


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a schedule; JSON-able.

    >>> serialize(CosineDecay(0.1, 100))["class_name"]
    'CosineDecay'
    """
    return SCHEDULES.serialize(learning_rate_schedule)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, type[LearningRateSchedule]] | None = None
) -> LearningRateSchedule:
    """The schedule that :func:`serialize` described.

    Args:
        config: what :func:`serialize` gave.
        custom_objects: more classes by name.

    Raises:
        ValueError: for an unknown class.
    """
    return SCHEDULES.deserialize(config, custom_objects)
