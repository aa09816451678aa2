"""The source of all random numbers: a global seed, a generator for weights and shuffles, streams and draws."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._locks import ForkSafeLock
from ._validation import MALFORMED, MAX_SEED, integer, one_line, short_repr


class _State:
    """The seed, the numbers of the last dropout stream and of the last draw of classes, and the generator."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.stream = 0
        self.draw = 0
        self.generator = np.random.Generator(np.random.Philox(seed))


_state = _State(secrets.randbits(32))
# Two threads must not get the same stream or draw.
_lock = ForkSafeLock()


def set_seed(seed: int) -> None:
    """Restart all random numbers from ``seed`` (0...2**63 - 1): initial weights, shuffles, dropout, samples.

    Layers made afterwards count their dropout streams from the beginning: the same program gives the same result.

    Raises:
        ValueError: for anything but an integer in that range.

    >>> set_seed(7)
    >>> a = generator().random()
    >>> set_seed(7)
    >>> a == generator().random()
    True
    """
    global _state
    _state = _State(integer("seed", seed, 0, MAX_SEED))


def seed() -> int:
    """The seed in use: that of :func:`set_seed`, or one from the operating system at import."""
    return _state.seed


def generator(seed: int | None = None) -> np.random.Generator:
    """The global generator (Philox) behind initial weights and shuffles, or a new one from a seed >= 0."""
    return _state.generator if seed is None else np.random.Generator(np.random.Philox(integer("seed", seed, 0)))


# True in the threads that make layers whose stream numbers they know.
_streams_known: ContextVar[bool] = ContextVar("streams_known", default=False)


@contextmanager
def known_streams() -> Iterator[None]:
    """Context in which this thread makes layers whose stream numbers are set afterwards, and takes no new ones."""
    token = _streams_known.set(True)
    try:
        yield
    finally:
        _streams_known.reset(token)


def next_stream() -> int:
    """A new stream number; each layer with dropout takes one when it is made."""
    if _streams_known.get():
        return 0
    with _lock:
        _state.stream += 1
        return _state.stream


def next_draw() -> tuple[int, int]:
    """Seed and number of the next draw of candidate classes; each call of a sampler takes one."""
    with _lock:
        _state.draw += 1
        return _state.seed, _state.draw


class Rows(NamedTuple):
    """The rows of a batch that this process works on: ``size`` of ``whole`` rows, from row number ``first`` on."""

    first: int
    size: int
    whole: int


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)


def set_rows(rows: Rows | None) -> None:
    """Say which rows of a batch the next calls of layers get; None, as at first: a whole batch.

    Dropout and noise are drawn for the row of the whole batch: processes that share a batch draw the same as one.
    """
    _rows.set(rows)


def get_rows() -> Rows | None:
    """The rows of :func:`set_rows`."""
    return _rows.get()


def get_state() -> dict[str, Any]:
    """The state from which all random numbers continue exactly; JSON-able.

    >>> before = get_state()
    >>> a = generator().random()
    >>> set_state(before)
    >>> a == generator().random()
    True
    """
    return {
        "seed": _state.seed,
        "stream": _state.stream,
        "draw": _state.draw,
        "generator": _plain(_state.generator.bit_generator.state),
    }


def set_state(state: dict[str, Any]) -> None:
    """Go back to a state of :func:`get_state`.

    Raises:
        ValueError: if ``state`` does not come from there; nothing is changed then.
    """
    global _state
    _state = _checked(state)


def _checked(state: Any) -> _State:
    """A new state as :func:`get_state` described it; NumPy itself checks no number of a generator's state."""
    try:
        new = _State(integer("seed", state["seed"], 0, MAX_SEED))
        new.stream = integer("stream", state["stream"], 0, MAX_SEED)
        # States of version 0.1 may have no draws.
        new.draw = integer("draw", state.get("draw", 0), 0, MAX_SEED)
        parts = state["generator"]
        if parts["bit_generator"] != "Philox":
            raise ValueError(f"bit_generator: expected 'Philox', got {short_repr(parts['bit_generator'])}")
        new.generator.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {name: _words(name, parts["state"][name], count) for name, count in (("counter", 4), ("key", 2))},
            "buffer": _words("buffer", parts["buffer"], 4),
            "buffer_pos": integer("buffer_pos", parts["buffer_pos"], 0, 4),
            "has_uint32": integer("has_uint32", parts["has_uint32"], 0, 1),
            "uinteger": integer("uinteger", parts["uinteger"], 0, 2**32 - 1),
        }
    except MALFORMED as error:
        raise ValueError(
            f"state: expected a dict of random.get_state(), got {type(state).__name__} ({one_line(error)})"
        ) from None
    return new


def _words(name: str, values: Any, count: int) -> NDArray[np.uint64]:
    """A list of ``count`` numbers of 64 bits."""
    if not isinstance(values, (list, tuple, np.ndarray)) or len(values) != count:
        raise ValueError(f"{name}: expected {count} integers, got {short_repr(values)}")
    return np.array([integer(name, value, 0, 2**64 - 1) for value in values], np.uint64)


def _plain(value: Any) -> Any:
    """Arrays as lists, inside dicts too."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return int(value) if isinstance(value, np.integer) else value
