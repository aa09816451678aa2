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


def default_only(name: str, value: Any, default: Any, reason: str) -> None:
    """Accepts an argument of Keras or gensim at the one value that it can have here.

    ``default`` may be a tuple: then each of its elements is accepted, and the first is named in the message. Type and
    value must be the default's; only numbers are compared across types (True is 1, as both libraries have it).

    Raises:
        ValueError: any other value; the message names the argument and the reason.

    >>> default_only("jit_compile", True, (False, "auto"), "nothing is compiled")
    Traceback (most recent call last):
    ValueError: jit_compile: expected False (nothing is compiled), got True
    """
    accepted = default if isinstance(default, tuple) else (default,)
    for allowed in accepted:
        if value is allowed:
            return
        numbers = isinstance(value, (int, float)) and isinstance(allowed, (int, float))
        if (numbers or type(value) is type(allowed)) and value == allowed:
            return
    raise ValueError(f"{name}: expected {accepted[0]!r} ({reason}), got {short_repr(value)}")


def short_repr(value: Any, limit: int = 80) -> str:
    """``repr(value)`` in one line of at most ``limit`` characters, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
