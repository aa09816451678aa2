"""Padding of sequences and one-hot encoding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._validation import NUMBERS, as_dtype, check_fits, check_range, choice, integer, refuse_masked, short_repr
from ..typing import Array
from .vocabulary import as_integers


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Bring sequences to one length, as Keras does.

    Args:
        sequences: N sequences, each of shape (length, ...) with the same trailing axes.
        maxlen: length T of the result; None takes the longest sequence's.
        dtype: type of the result.
        padding: where short sequences are filled up: "pre" (at the front) or "post".
        truncating: where long ones lose elements: "pre" (the first go) or "post".
        value: the padding: a number, a word (with ``dtype=object`` or a type of strings), or an array of the trailing
            shape.

    Returns:
        (N, T, ...) array.

    Raises:
        ValueError: a sequence that is none, trailing axes that differ, another word than pre / post, and numbers that
            the type would change: out of its range, fractions and NaN where it holds integers.

    >>> pad_sequences([[1, 2, 3], [4]], maxlen=2)
    array([[2, 3],
           [0, 4]], dtype=int32)
    """
    choice("padding", padding, ("pre", "post"))
    choice("truncating", truncating, ("pre", "post"))
    dtype = as_dtype("dtype", dtype, NUMBERS + "OSU")
    length = None if maxlen is None else integer("maxlen", maxlen, 0, alternative="None")
    if isinstance(sequences, (str, bytes, dict)) or not isinstance(sequences, Iterable):
        raise ValueError(f"sequences: expected a list of sequences, got {short_repr(sequences)}")
    refuse_masked("sequences", sequences)
    numbers = dtype.kind in NUMBERS
    rows = [_as_row(i, sequence, length, truncating, numbers) for i, sequence in enumerate(sequences)]
    if length is None:
        length = max(map(len, rows), default=0)
    shapes = {row.shape[1:] for row in rows if len(row)}
    if len(shapes) > 1:
        raise ValueError(f"sequences: expected elements of one shape, got {' and '.join(map(str, sorted(shapes)))}")
    filling = np.asarray(value)
    _check_fits("value", filling, dtype)
    if dtype.kind in "SU" and not dtype.itemsize:
        # "str" names no length: that of the longest word.
        dtype = np.result_type(filling.astype(dtype), *(row.astype(dtype) for row in rows if len(row)))
    for number, row in enumerate(rows):
        if row.dtype != dtype and len(row):
            _check_fits(f"sequences[{number}]", row, dtype)
    tail = shapes.pop() if shapes else ()
    result = np.full((len(rows), length, *tail), filling, dtype)
    for out, row in zip(result, rows, strict=True):
        if padding == "post":
            out[: len(row)] = row
        elif len(row):
            out[-len(row) :] = row
    return result


def _as_row(number: int, sequence: Any, length: int | None, truncating: str, numbers: bool) -> Array:
    """One sequence as an array, cut to the length."""
    if isinstance(sequence, (str, bytes, dict, set)) or not hasattr(sequence, "__len__"):
        raise ValueError(f"sequences: expected a sequence at position {number}, got {short_repr(sequence)}")
    refuse_masked(f"sequences[{number}]", sequence)
    try:
        row = np.asarray(sequence)
        if row.dtype == object and numbers:
            row = np.asarray(row.tolist())
    except ValueError:
        raise ValueError(f"sequences: expected elements of one shape in sequence {number}, got ragged ones") from None
    if not row.ndim:
        raise ValueError(f"sequences: expected a sequence at position {number}, got {short_repr(sequence)}")
    if length is None:
        return row
    return row[:length] if truncating == "post" else row[max(len(row) - length, 0) :]


def _check_fits(name: str, values: Array, dtype: np.dtype[Any]) -> None:
    """Refuse values that the type would change: integers out of its range, fractions and NaN as integers, words."""
    if dtype.kind == "O" or np.can_cast(values.dtype, dtype) or not values.size:
        return
    if dtype.kind in "SU":
        longest = max(map(str, values.ravel().tolist()), key=len)
        if values.dtype.kind in "SU" and len(longest) > dtype.itemsize // (4 if dtype.kind == "U" else 1):
            raise ValueError(f"{name}: expected words that fit dtype {dtype}, got {short_repr(longest)}")
        return
    if values.dtype.kind not in NUMBERS:
        example = short_repr(values.flat[0].item() if hasattr(values.flat[0], "item") else values.flat[0])
        raise ValueError(f"{name}: expected a number for dtype {dtype}, got {example}; use dtype=object for words")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            lost = np.isfinite(values) & ~np.isfinite(values.astype(dtype))
        if lost.any():
            raise ValueError(f"{name}: expected numbers that fit dtype {dtype}, got {values[lost][0]}")
    check_fits(name, values, dtype)


def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float32]:
    """Class numbers as one-hot rows.

    Args:
        x: whole numbers 0 ... num_classes - 1 (or booleans) of any shape; a last axis of length 1 is dropped.
        num_classes: number of classes C; None takes the largest number plus one.

    Returns:
        x.shape + (C,) float32.

    Raises:
        ValueError: a number outside, or none at all without ``num_classes``.

    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = as_integers("x", x, whole=True)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if not labels.size:
            raise ValueError("num_classes: expected a number, since x is empty")
        classes = int(labels.max()) + 1
    else:
        classes = integer("num_classes", num_classes, 1)
    check_range("x", labels, classes, "integers")
    if 4 * labels.size * classes > np.iinfo(np.intp).max:
        raise ValueError(f"num_classes: expected a table that memory can hold, got {classes} classes")
    result = np.zeros((labels.size, classes), np.float32)
    result[np.arange(labels.size), labels.ravel()] = 1
    return result.reshape(*labels.shape, classes)
