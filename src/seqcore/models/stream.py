"""Stream: a model run one time step at a time.

B: batch, D: features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .. import _core
from .._validation import at_least

if TYPE_CHECKING:
    from .sequential import Sequential

Array = NDArray[Any]


class Stream:
    """Step-by-step inference of a Sequential: ``step``, ``reset``, ``get_state``, ``set_state``.

    Args:
        model: a built Sequential of recurrent, Embedding, Dense, Dropout and activation layers of one dtype.
        batch_size: B.

    ``step(x)`` takes one time step, x (B, D) of the model's dtype or ids (B,) under an Embedding, and returns a new
    (B, outputs) array; it is the compiled core's own method, without Python in between. ``reset()`` zeroes the state,
    ``get_state()`` copies it, one tuple per recurrent layer, ``set_state(state)`` brings it back.
    """

    __slots__ = ("step", "reset", "get_state", "set_state", "batch_size")

    def __init__(self, model: Sequential, batch_size: int = 1) -> None:
        self.batch_size = at_least("batch_size", batch_size, 1)
        if not model.built:
            raise ValueError(f"stream: expected model {model.name!r} to be built; call it or build it")
        kinds = {one.dtype.name for one in model.weights}
        if len(kinds) > 1:
            raise ValueError(
                f"stream: expected layers of one dtype in model {model.name!r}, got {', '.join(sorted(kinds))}"
            )
        core = _core.Stream(self.batch_size, kinds.pop() if kinds else model.dtype)
        model._add_to_stream(core)
        self.step: Callable[[Any], Array] = core.step
        self.reset: Callable[[], None] = core.reset
        self.get_state: Callable[[], list[tuple[Array, ...]]] = core.get_state
        self.set_state: Callable[[Sequence[tuple[Array, ...]]], None] = core.set_state
