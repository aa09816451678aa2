"""Checks of numbers that many functions take: the value in its Python type, or one line that names the argument."""

from __future__ import annotations

import math
import operator
from typing import Any, SupportsFloat


def at_least(name: str, value: Any, least: int) -> int:
    """``value`` as an int.

    Raises:
        ValueError: it is smaller, or no integer.

    >>> at_least("steps", 0, 1)
    Traceback (most recent call last):
    ValueError: steps: expected an integer >= 1, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    return number


def seed_or_none(seed: Any) -> int | None:
    """A seed as an int, or None.

    Raises:
        ValueError: anything but None or an integer from 0.
    """
    try:
        return None if seed is None else at_least("seed", seed, 0)
    except ValueError:
        raise ValueError(f"seed: expected None or an integer >= 0, got {seed!r}") from None


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf, open_high: bool = False) -> float:
    """``value`` as a finite float in low...high, or a ValueError that names the argument."""
    wanted = "a finite number" if low == -math.inf else f"a number >= {low:g}"
    if high != math.inf:
        wanted = f"a number in {low:g}...{high:g}" + (f", {high:g} excluded" if open_high else "")
    try:
        if isinstance(value, (bool, str)) or not isinstance(value, SupportsFloat):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}") from None
    if not (math.isfinite(number) and low <= number <= high) or (open_high and number == high):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number
