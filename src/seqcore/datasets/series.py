"""Time series: two made here, whose best forecast is known, and columns of CSV files.

N: values, T: time steps of a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._validation import integer, short_repr
from ..text.files import path_of, read_csv
from ..typing import PathLike

Values = NDArray[np.float64]

_NIGHT = 20.0, 24, 37, 0.8
_SWING = 6.0, 11


@dataclass(frozen=True)
class Series:
    """values: (N,) float64, one per time step; ``description`` is one line about them.

    ``best``: (N,) the best forecast of each value, by the one who made the series, where it is known.
    """

    name: str
    description: str
    values: Values
    best: Values | None = None


def seasonal_series(count: int = 5000, seed: int = 1, noise: float = 1.0) -> Series:
    """Noisy sums of seasons: two that count only where their sum is positive, like the sun by day, and a third.

    value_t = 40 + 20·max(0, sin(2πt/24) + 0.8·sin(2πt/37)) + 6·sin(2πt/11) + noise·N(0, 1)

    The maximum makes it more than a linear forecast can follow. Nobody can foretell the noise: the best forecast is the
    rest, and its root-mean-square error is ``noise``.

    Args:
        count: N.
        seed: same seed, same noise; a longer series starts with the shorter one.
        noise: its standard deviation.

    >>> series = seasonal_series(1000)
    >>> round(float(np.std(series.values - series.best)), 1)
    1.0
    """
    t = np.arange(integer("count", count, 2))
    height, first, second, share = _NIGHT
    seasons = np.sin(2 * np.pi * t / first) + share * np.sin(2 * np.pi * t / second)
    clean = 40 + height * np.maximum(0, seasons) + _SWING[0] * np.sin(2 * np.pi * t / _SWING[1])
    drawn = np.random.Generator(np.random.Philox(seed)).standard_normal(count)
    description = f"built-in noisy sums of seasons, {count:,} values, noise of standard deviation {noise:g}"
    return Series("seasonal", description, clean + noise * drawn, clean)


def price_series(count: int = 5000, seed: int = 1, volatility: float = 0.01) -> Series:
    """A series like a price: a random walk of its logarithm, whose steps come in calm and in wild times.

    log value_t = log value_{t-1} + s_t·N(0, 1), log s_t = log volatility + v_t, v_t = 0.97·v_{t-1} + 0.1·N(0, 1)

    The steps are independent of the past but for their size, so that the last value is the best forecast there is, but
    for a factor exp(s_t²/2) that is hardly more than 1.

    Args:
        count: N.
        seed: same seed, same series.
        volatility: typical size of a step, relative to the value.

    >>> series = price_series(1000)
    >>> bool(abs(series.best[1:] / series.values[:-1] - 1).max() < 0.001)
    True
    """
    steps, sizes = np.random.Generator(np.random.Philox(seed)).standard_normal((2, integer("count", count, 2)))
    log_size = np.empty(count)
    level = 0.0
    for t in range(count):
        level = 0.97 * level + 0.1 * sizes[t]
        log_size[t] = level
    size = volatility * np.exp(log_size)
    log_values = math.log(100) + np.cumsum(size * steps)
    before = np.concatenate([[math.log(100)], log_values[:-1]])
    description = f"built-in series like a price, {count:,} values: a random walk"
    return Series("price", description, np.exp(log_values), np.exp(before + size**2 / 2))


def read_column(path: PathLike, column: str, *, max_bytes: int | None = None) -> Series:
    """One column of a CSV file with a line of names at its top, plain or gzip.

    Args:
        path: the file; its cells are separated by commas, semicolons or tabs, whichever the first line has most of.
        column: the name of a column of numbers.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: naming the file and the line: no such column, text or nothing where a number belongs, no rows.
        OSError: it cannot be read.
    """
    name, rows = path_of(path), read_csv(path, None, max_bytes=max_bytes)
    names = [cell.strip() for cell in next(rows, (0, []))[1]]
    if not names:
        raise ValueError(f"{name}: expected a CSV file, got an empty one")
    if names.count(column) != 1:
        listed = short_repr(", ".join(names), 200)[1:-1]
        raise ValueError(f"{name}: expected one column {column!r}, got the columns {listed}")
    place = names.index(column)
    values = np.fromiter((_number(name, line, column, row, place, len(names)) for line, row in rows), np.float64)
    if not len(values):
        raise ValueError(f"{name}: expected rows below the names of the columns, got none")
    return Series(column, f"column {column!r} of {name}, {len(values):,} values", values)


def _number(name: str, line: int, column: str, row: Sequence[str], place: int, width: int) -> float:
    cell = row[place] if place < len(row) else ""
    try:
        value = math.nan if "_" in cell else float(cell)  # float() takes 1_000
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a number in column {column!r} in line {line}, got {short_repr(cell)}")
    if any(row[width:]):
        raise ValueError(f"{name}: expected {width} cells in line {line}, as the first line has, got {len(row)}")
    return value


def windows(values: Values, steps: int) -> tuple[Values, Values]:
    """Each stretch of ``steps`` values with the one that follows it.

    Args:
        values: (N,).
        steps: T.

    Returns:
        (N - T, T), a view, and (N - T,).

    >>> x, y = windows(np.arange(5.0), 3)
    >>> x.tolist(), y.tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [3.0, 4.0])
    """
    if not 0 < steps < len(values):
        raise ValueError(f"steps: expected 1...{len(values) - 1}, fewer than the values, got {steps}")
    return np.lib.stride_tricks.sliding_window_view(values, steps)[:-1], values[steps:]
