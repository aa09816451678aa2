"""Checks of arguments that several layers take: sizes, rates, activations, masks, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import default_only, integer, plain_array, real
from ..typing import Array

Shape = tuple[int | None, ...]


def check_rate(name: str, rate: Any) -> float:
    """A dropout rate as a float.

    Raises:
        ValueError: outside 0 <= rate < 1.
    """
    return real(name, rate, 0.0, 1.0, open_high=True)


def no_regularizers(**given: Any) -> None:
    """Accepts Keras's regularizers and constraints as None alone.

    Raises:
        ValueError: for another one, by name.
    """
    for name, value in given.items():
        default_only(name, value, None, "regularizers and constraints are not supported")


def channels_last(data_format: Any) -> None:
    """Accepts Keras's ``data_format`` where it means features along the last axis."""
    default_only("data_format", data_format, (None, "channels_last"), "features lie along the last axis")


def not_a_layer(value: Any) -> str:
    """What stands in the place of a layer, and what to do about it, for an error."""
    if isinstance(value, type):
        return f"the class {value.__name__}; call it"
    name = type(value).__name__
    return f"{name}; give the model its ids" if name == "TextVectorization" else name


def as_mask(mask: Any, shape: tuple[int, ...]) -> Array:
    """A mask as (B, T) booleans for a sequence (or ids) of ``shape`` (B, T, ...)."""
    array = plain_array("mask", mask)
    if array.shape != shape[:2] or len(shape) < 2 or array.dtype.kind not in "buif":
        raise ValueError(f"mask: expected booleans of shape {shape[:2]}, got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("mask: expected booleans, got NaN")
    return np.ascontiguousarray(array, bool)


def as_lengths(lengths: Any, shape: tuple[int, ...]) -> Array:
    """Lengths as (B,) int32 for a sequence (or ids) of ``shape`` (B, T, ...)."""
    array = plain_array("lengths", lengths)
    steps = shape[1] if len(shape) > 1 else 0
    expected = f"lengths: expected integers 0...{steps} of shape {shape[:1]}, got"
    if array.shape != shape[:1] or array.dtype.kind not in "iuf":
        raise ValueError(f"{expected} {array.dtype} of shape {array.shape}")
    with np.errstate(invalid="ignore"):
        wrong = ~((array >= 0) & (array <= steps) & (array == np.floor(array)))
    if wrong.any():
        raise ValueError(f"{expected} {array[wrong][0]}")
    return np.ascontiguousarray(array, np.int32)


def as_sizes(name: str, shape: Any) -> Shape:
    try:
        if isinstance(shape, (str, bytes)):
            raise TypeError
        sizes = tuple(None if n is None else integer(name, n) for n in shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected a tuple of sizes, got {shape!r}") from None
    if any(n is not None and n < 1 for n in sizes):
        raise ValueError(f"{name}: expected positive sizes or None, got {shape!r}")
    return sizes
