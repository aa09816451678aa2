"""Building from shapes alone: layers that hold layers make all weights before the first call, those of files too."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import random as _random
from .._validation import short_repr
from ..autograd.staleness import mark_stale
from ..autograd.tape import stop_recording

if TYPE_CHECKING:
    from .base import Layer

# The most zeros that a file can have a layer called on.
MOST_ZEROS = 1 << 18


class FileLimits:
    """What a model that comes from a file may still make, so that a short file costs little.

    Args:
        weight_bytes: all its weights together, as the file holds them.
        layers: number of layers.
    """

    def __init__(self, weight_bytes: int, layers: int) -> None:
        self._weight_bytes, self._layers = weight_bytes, layers

    def count_layer(self) -> None:
        """Takes one layer off."""
        self._layers -= 1
        if self._layers < 0:
            raise ValueError("layers: expected as many as a file of this size can describe, got more")

    def zeros(self, name: str, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The start of a weight whose values are in the file."""
        size = math.prod(sizes) * dtype.itemsize
        if size > self._weight_bytes:
            raise ValueError(
                f"{name}: expected its weights in the file, got one that is too short for shape {short_repr(sizes)}"
            )
        self._weight_bytes -= size
        return np.zeros(sizes, dtype)


class _File(threading.local):
    """Limits of the file whose model this thread is making."""

    limits: FileLimits | None = None


_file = _File()


def file_limits() -> FileLimits | None:
    """Those of the file whose model is being made in this thread; None where there is none."""
    return _file.limits


@contextmanager
def within(limits: FileLimits) -> Iterator[None]:
    """Inside, layers are those of a file: weights start at zero instead of being drawn, within ``limits``."""
    before, _file.limits = _file.limits, limits
    try:
        yield
    finally:
        _file.limits = before


def zeros(shape: Any, size: int = 1) -> Any:
    """Zeros of a shape (or several), ``size`` standing for None."""
    if isinstance(shape, dict):
        raise TypeError("input_shape: expected a shape or a list of shapes, got a dict")
    if isinstance(shape, (list, tuple)) and shape and isinstance(shape[0], (list, tuple)):
        return [zeros(one, size) for one in shape]
    return plain_zeros([size if n is None else n for n in shape], np.dtype(np.float32))


def plain_zeros(sizes: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros, not many where the sizes come from a file."""
    if _file.limits is not None and math.prod(sizes) > MOST_ZEROS:
        raise ValueError(
            f"inputs: expected at most {MOST_ZEROS} numbers to build the model of a file on, got shape "
            f"{short_repr(list(sizes))}; build the model yourself and use load_weights"
        )
    return np.zeros(sizes, dtype)


def call_on_zeros(layer: Layer, shape: Any, size: int = 1) -> Any:
    """What the layer makes of zeros: no tape, no state and no dropout counter sees the call.

    The random numbers go on where they were, unless the call draws weights.
    """
    layers = [layer, *layer.layers_inside()]
    states = [(one, one._get_own_state()) for one in layers]
    generator, weights = _random.generator().bit_generator, sum(len(one._own) for one in layers)
    numbers = generator.state
    try:
        with layer.state_scope(), stop_recording():
            return layer(zeros(shape, size), training=False)
    finally:
        for one, state in states:
            one._set_own_state(state)
        if sum(len(one._own) for one in layers) == weights:
            generator.state = numbers


def build_layer(layer: Layer, shape: Any) -> Any:
    """Builds ``layer`` for inputs of ``shape``, unless it is built, and returns the shape of its outputs."""
    layer._build_with(shape)
    return output_shape(layer, shape)


def build_inside(layer: Layer, shape: Any) -> None:
    """Builds the layers inside that ``build`` has left, by a call on zeros.

    Raises:
        ValueError: for a shape with None where a weight needs a number.
    """
    if all(inner.built for inner in layer.layers_inside()):
        return
    layer.built = True
    call_on_zeros(layer, shape)
    check_free_sizes(layer, shape)


def check_free_sizes(layer: Layer, shape: Any) -> None:
    """Refuses None in the place of a size that a weight has: what was built for 1 there must take any other size."""
    if not isinstance(shape, tuple) or None not in shape[1:]:
        return
    try:
        call_on_zeros(layer, shape, 2)
    except (ValueError, TypeError):
        raise ValueError(
            f"input_shape: expected sizes that layer {layer.name!r} can be built for, got {shape}"
        ) from None


def output_shape(layer: Layer, shape: Any) -> Any:
    """What the layer says, or for a class of the user that says nothing, what a call on zeros shows."""
    from .base import Layer

    own = type(layer).compute_output_shape is not Layer.compute_output_shape
    if own or type(layer).__module__.startswith("seqcore."):
        return layer.compute_output_shape(shape)
    batch = shape[0][0] if isinstance(shape[0], (list, tuple)) else shape[0]
    y = call_on_zeros(layer, shape)
    shapes = [(batch, *one.shape[1:]) for one in (y if isinstance(y, (list, tuple)) else [y])]
    return shapes if isinstance(y, (list, tuple)) else shapes[0]


class Build(NamedTuple):
    """The thread that builds a layer, and what the layer had before: the number of its weights, its attributes."""

    thread: int
    weights: int
    attributes: frozenset[str]

    @classmethod
    def of(cls, layer: Layer) -> Build:
        return cls(threading.get_ident(), len(layer._own), frozenset((*layer.__dict__, "_building")))

    def undo(self, layer: Layer) -> None:
        layer.built = False
        mark_stale(layer)
        del layer._own[self.weights :]
        for name in layer.__dict__.keys() - self.attributes:
            delattr(layer, name)


def not_built(layers: Sequence[Layer]) -> list[tuple[Layer, Build]]:
    """The layers that are not built, each with what it has nevertheless."""
    return [(layer, Build.of(layer)) for layer in layers if not layer.built]


def unbuild(layers: Sequence[tuple[Layer, Build]]) -> None:
    """Takes back what a failing build has made."""
    for layer, before in layers:
        before.undo(layer)
