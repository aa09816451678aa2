"""Building layers: from shapes, within the limits of a file, undone where it fails."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import random as _random
from .._validation import short_repr
from ..autograd import stop_recording
from ..autograd.staleness import mark_stale

# Limit of the zeros on which a layer of a file is called.
MAX_ZEROS = 1 << 18


class FileLimits:
    """Limits of a model that comes from a file, so that a short file costs little.

    Args:
        weight_bytes: all its weights together, as the file holds them.
        layers: number of layers.
    """

    def __init__(self, weight_bytes: int, layers: int) -> None:
        self._weight_bytes, self._layers = weight_bytes, layers

    def count_layer(self) -> None:
        """Count one layer more."""
        self._layers -= 1
        if self._layers < 0:
            raise ValueError("layers: expected as many as a file of this size can describe, got more")

    def zeros(self, name: str, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Initial value of a weight whose values are in the file."""
        size = math.prod(sizes) * dtype.itemsize
        if size > self._weight_bytes:
            raise ValueError(
                f"{name}: expected its weights in the file, got one that is too short for shape {short_repr(sizes)}"
            )
        self._weight_bytes -= size
        return np.zeros(sizes, dtype)


class _FileContext(threading.local):
    """Limits of the file whose model this thread is making; None where there is none."""

    limits: FileLimits | None = None


file_context = _FileContext()


@contextmanager
def file_limits_scope(limits: FileLimits) -> Iterator[None]:
    """Context in which layers belong to a file: weights start at zero instead of being drawn, within ``limits``."""
    before, file_context.limits = file_context.limits, limits
    try:
        yield
    finally:
        file_context.limits = before


def zeros(shape: Any, size: int = 1) -> Any:
    """Zeros of a shape (or several), with ``size`` in place of None."""
    if isinstance(shape, dict):
        raise TypeError("input_shape: expected a shape or a list of shapes, got a dict")
    if isinstance(shape, (list, tuple)) and shape and isinstance(shape[0], (list, tuple)):
        return [zeros(item, size) for item in shape]
    return plain_zeros([size if n is None else n for n in shape], np.dtype(np.float32))


def plain_zeros(sizes: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros; a limited number where the sizes come from a file."""
    if file_context.limits is not None and math.prod(sizes) > MAX_ZEROS:
        raise ValueError(
            f"inputs: expected at most {MAX_ZEROS} numbers to build the model of a file on, got shape "
            f"{short_repr(list(sizes))}; build the model yourself and use load_weights"
        )
    return np.zeros(sizes, dtype)


def call_on_zeros(layer: Any, shape: Any, size: int = 1) -> Any:
    """The layer's output for zeros of ``shape``, with ``size`` in place of None.

    No tape, no state and no dropout counter sees the call; the random numbers continue where they were, unless the call
    draws weights.
    """
    layers = [layer, *layer.layers_inside()]
    states = [(inner, inner.get_own_state()) for inner in layers]
    generator, weights = _random.generator().bit_generator, sum(len(inner._own_variables) for inner in layers)
    numbers = generator.state
    try:
        with layer.state_scope(), stop_recording():
            return layer(zeros(shape, size), training=False)
    finally:
        for inner, state in states:
            inner.set_own_state(state)
        if sum(len(inner._own_variables) for inner in layers) == weights:
            generator.state = numbers


def build_inside(layer: Any, shape: Any) -> None:
    """Build the layers inside that ``build`` has left, by a call on zeros.

    Raises:
        ValueError: for a shape with None where a weight needs a number.
    """
    if all(inner.built for inner in layer.layers_inside()):
        return
    layer.built = True
    call_on_zeros(layer, shape)
    check_free_sizes(layer, shape)


def check_free_sizes(layer: Any, shape: Any) -> None:
    """Refuse None in the place of a size that a weight has: the layer built for 1 there must take any other size."""
    if not isinstance(shape, tuple) or None not in shape[1:]:
        return
    try:
        call_on_zeros(layer, shape, 2)
    except (ValueError, TypeError):
        raise ValueError(
            f"input_shape: expected sizes that layer {layer.name!r} can be built for, got {shape}"
        ) from None


class Build:
    """Context of a build: if it fails, the layers that were not built are as before, in weights and attributes.

    Args:
        layers: the layer that is built and those inside it.
    """

    def __init__(self, layers: Iterable[Any]) -> None:
        self.thread = threading.get_ident()
        parts = [part for layer in layers if not layer.built for part in layer._parts()]
        self._before = [(part, len(part._own_variables), dict(part.__dict__)) for part in parts]

    def undo(self) -> None:
        for part, weights, attributes in self._before:
            mark_stale(part)
            del part._own_variables[weights:]
            part.__dict__.update(attributes)
            for name in part.__dict__.keys() - attributes.keys():
                delattr(part, name)

    def __enter__(self) -> Build:
        return self

    def __exit__(self, error: Any, *_: object) -> None:
        if error is not None:
            self.undo()
