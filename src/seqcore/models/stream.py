"""Stream: a model run one time step at a time.

B: batch, D: features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._pickling import Pickled
from .._validation import NUMBERS, integer, plain_array, short_repr
from ..layers.base import Layer
from ..ops import as_ids
from ..typing import Array


class Stream(Pickled):
    """Step-by-step inference of a Sequential: ``step``, ``reset``, ``get_state``, ``set_state``.

    Args:
        model: a built Sequential of layers of one dtype: recurrent ones, Conv1D (causal, with strides of 1), Embedding,
            LayerNormalization, Dense, Dropout, activations, TimeDistributed of the last four, and Sequential of such
            layers.
        batch_size: B.

    ``step(x, out=None)`` takes one time step and returns (B, outputs): a new array, or ``out``, which has the dtype of
    the model and C order. x is (B, D), float32 or float64 with any strides, or ids (B,) under an Embedding; with B = 1
    it may be (D,), and then the output is (outputs,). It is the compiled core's own method, without Python in between.

    ``get_state()`` copies the state: for each layer that has one a tuple of arrays, (B, units) of recurrent layers, of
    a Conv1D the last inputs (B, (K - 1) dilation, D). Pickles and copies go on with the same states as long as the
    model has the weights that were packed.

    Threads may share a stream: each method call is one step to the others. A long step, from a quarter of a million
    multiplications on, lets other threads run Python meanwhile.
    """

    __slots__ = ("step", "get_state", "batch_size", "model", "_core", "_versions")
    _pickle_family = "stream"

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
        self.step: Callable[..., Array] = core.step
        self.get_state: Callable[[], list[tuple[Array, ...]]] = core.get_state
        self._core, self.model = core, model
        self._versions = [variable.version for variable in model.weights]

    def is_current(self) -> bool:
        """True as long as the weights of :attr:`model` are those that the stream has packed."""
        return self._versions == [variable.version for variable in self.model.weights]

    def reset(self, rows: Any = None) -> None:
        """Zero the state, of all sequences or of some.

        Args:
            rows: their numbers, 0...B-1, or a mask of B booleans.

        Raises:
            ValueError, TypeError: for anything else; the state stays as it is.
        """
        if rows is None:
            self._core.reset()
            return
        chosen = np.atleast_1d(plain_array("rows", rows))
        if chosen.dtype.kind == "b":
            if chosen.shape != (self.batch_size,):
                raise ValueError(f"rows: expected {self.batch_size} booleans, got shape {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        ids = as_ids(chosen, "rows", self.batch_size).astype(np.int64).reshape(-1)
        self._core.reset(ids)

    def set_state(self, state: Sequence[Sequence[Any]]) -> None:
        """Bring back a state of ``get_state``: arrays, or lists of numbers as a JSON file keeps them.

        Raises:
            ValueError, TypeError: it is not like what ``get_state`` gives; the state stays as it is.
        """
        own = self._core.get_state()
        if not isinstance(state, (list, tuple)):
            raise TypeError(f"state: expected one tuple per layer with a state, got {short_repr(state)}")
        if len(state) != len(own):
            raise ValueError(f"state: expected {len(own)} entries, one per layer with a state, got {len(state)}")
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
