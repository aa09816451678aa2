"""Stream: a model run one time step at a time.

B: batch, D: features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._validation import NUMBERS, integer, plain_array, short_repr
from ..layers.base import Layer
from ..typing import Array


class Stream:
    """Step-by-step inference of a Sequential: ``step``, ``reset``, ``get_state``, ``set_state``.

    Args:
        model: a built Sequential of recurrent, Embedding, Dense, Dropout and activation layers of one dtype.
        batch_size: B.

    ``step(x)`` takes one time step, x (B, D) of the model's dtype or ids (B,) under an Embedding, and returns a new
    (B, outputs) array; it is the compiled core's own method, without Python in between. ``reset()`` zeroes the state,
    ``get_state()`` copies it, one tuple of (B, units) arrays per recurrent layer, ``set_state(state)`` brings it back.
    """

    __slots__ = ("step", "reset", "get_state", "batch_size", "_core")

    def __init__(self, model: Layer, batch_size: int = 1) -> None:
        self.batch_size = integer("batch_size", batch_size, 1)
        if not model.built:
            raise ValueError(f"stream: expected model {model.name!r} to be built; call it or build it")
        dtypes = {variable.dtype.name for variable in model.weights}
        if len(dtypes) > 1:
            raise ValueError(
                f"stream: expected layers of one dtype in model {model.name!r}, got {', '.join(sorted(dtypes))}"
            )
        core = _core.stream.Stream(self.batch_size, dtypes.pop() if dtypes else model.dtype)
        model._add_to_stream(core)
        self.step: Callable[[Any], Array] = core.step
        self.reset: Callable[[], None] = core.reset
        self.get_state: Callable[[], list[tuple[Array, ...]]] = core.get_state
        self._core = core

    def set_state(self, state: Sequence[Sequence[Any]]) -> None:
        """Bring back a state of ``get_state``: arrays, or lists of numbers as a JSON file keeps them.

        Raises:
            ValueError, TypeError: it is not like what ``get_state`` gives; the state stays as it is.
        """
        own = self._core.get_state()
        if not isinstance(state, (list, tuple)):
            raise TypeError(f"state: expected one tuple per recurrent layer, got {short_repr(state)}")
        if len(state) != len(own):
            raise ValueError(f"state: expected {len(own)} entries, one per recurrent layer, got {len(state)}")
        arrays = []
        for n, (given, parts) in enumerate(zip(state, own, strict=True)):
            if not isinstance(given, (list, tuple)) or len(given) != len(parts):
                raise ValueError(f"state[{n}]: expected {len(parts)} arrays, got {short_repr(given)}")
            arrays.append(tuple([_like(f"state[{n}]", *pair) for pair in zip(given, parts, strict=True)]))
        self._core.set_state(arrays)


def _like(name: str, value: Any, other: Array) -> Array:
    """Numbers as an array of the shape and type of ``other``."""
    array = plain_array(name, value)
    if array.dtype.kind not in NUMBERS or array.shape != other.shape:
        got = short_repr(value) if array.dtype.kind not in NUMBERS else f"shape {array.shape}"
        raise ValueError(f"{name}: expected numbers of shape {other.shape}, got {got}")
    return np.ascontiguousarray(array, other.dtype)
