"""Sequences of a long data frame.

N: sequences, T: time steps, D: features of a time step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...typing import Array


def sequences_from_frame(
    frame: Any, group: str, order: str | None = None, columns: Sequence[str] | None = None
) -> list[Array]:
    """Sequences of a long data frame, which has a row for each time step.

    Args:
        frame: a pandas or polars data frame, or anything else that gives a column for its name (a dict of arrays).
        group: the column that tells the sequences apart.
        order: the column by whose ascending values the time steps of a sequence are sorted; where they are equal, or
            for None (the default), the rows stay in their order.
        columns: names of the D columns with the features; None (the default) takes all others.

    Returns:
        A list of N arrays (T, D), in ascending order of the group. That is the order of pandas's ``groupby``:
        ``frame.groupby(group)["label"].first()`` has the labels that belong to them.

    Raises:
        ValueError: naming the argument: an unknown column, a missing value in ``group`` or ``order``, values that are
            no numbers in ``columns``, columns of other lengths.
        TypeError: ``frame`` is no data frame.

    >>> frame = {"id": ["b", "a", "b"], "day": [2, 1, 1], "x": [0.5, 1.5, 2.5], "y": [1, 2, 3]}
    >>> for sequence in sequences_from_frame(frame, "id", "day", ["x", "y"]):
    ...     print(sequence.tolist())
    [[1.5, 2.0]]
    [[2.5, 3.0], [0.5, 1.0]]
    """
    if not hasattr(frame, "columns") and not isinstance(frame, Mapping):
        raise TypeError(f"frame: expected a data frame or a dict of columns, got {type(frame).__name__}")
    names = list(frame.columns if hasattr(frame, "columns") else frame)

    def column(argument: str, name: Any) -> Array:
        if name not in names:
            raise ValueError(f"{argument}: expected one of the columns {', '.join(map(str, names))}, got {name!r}")
        values = np.asarray(frame[name])
        if values.ndim != 1:
            raise ValueError(f"{argument}: expected a value for each row in column {name!r}, got shape {values.shape}")
        rows = len(frame[group])
        if len(values) != rows:
            raise ValueError(
                f"{argument}: expected {rows} values in column {name!r}, as in {group!r}, got {len(values)}"
            )
        return values

    keys = column("group", group)
    _refuse_missing("group", keys)
    times = None if order is None else column("order", order)
    if columns is None:
        columns = [name for name in names if name not in (group, order)]
    if isinstance(columns, str) or not len(columns):
        raise ValueError(f"columns: expected a list of at least one column, got {columns!r}")
    features = np.stack([_as_feature(name, column("columns", name)) for name in columns], axis=1)
    try:
        # Stable sorts: of the time steps first, then of the groups.
        rows = np.arange(len(keys))
        if times is not None:
            _refuse_missing("order", times)
            rows = np.argsort(times, kind="stable")
        rows = rows[np.argsort(keys[rows], kind="stable")]
    except TypeError as error:
        raise ValueError(f"group, order: expected values that can be sorted ({error})") from None
    keys = keys[rows]
    borders = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.split(features[rows], borders) if len(keys) else []


def _refuse_missing(name: str, values: Array) -> None:
    """Refuse NaN, NaT, None and pandas's NA, which have no place in an order."""
    if values.dtype.kind == "O":
        missing = np.array([_is_missing(value) for value in values], bool)
    else:
        missing = values != values
    if missing.any():
        raise ValueError(f"{name}: expected a value in every row, got a missing one in row {missing.argmax()}")


def _is_missing(value: Any) -> bool:
    # NaN and NaT are not equal to themselves; a comparison with pandas's NA is neither true nor false.
    equal = value is not None and value == value
    return not (isinstance(equal, (bool, np.bool_)) and bool(equal))


def _as_feature(name: Any, values: Array) -> Array:
    """A column of numbers."""
    if values.dtype.kind == "O":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            pass
    if values.dtype.kind not in "biuf":
        raise ValueError(f"columns: expected numbers in column {name!r}, got {values.dtype}")
    return values
