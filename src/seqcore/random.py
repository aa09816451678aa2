"""The one source of random numbers: a global seed, a generator for weights and shuffles, streams for dropout, draws."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from ._locks import ForkSafeLock


class _State:
    """Seed, number of the next stream and of the next draw of classes, and the generator."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.stream = 0
        self.draw = 0
        self.generator = np.random.Generator(np.random.Philox(seed))


_state = _State(secrets.randbits(32))
# Two threads must not get the same number.
_lock = ForkSafeLock()


def set_seed(seed: int) -> None:
    """Starts all random numbers anew from ``seed`` (0...2**63 - 1): initial weights, shuffles, dropout, samples.

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
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(f"seed: expected an integer 0...2**63-1, got {seed!r}")
    _state = _State(int(seed))


def seed() -> int:
    """The seed in use; drawn by chance when the package was imported, unless :func:`set_seed` was called."""
    return _state.seed


def generator() -> np.random.Generator:
    """The global generator (Philox) behind initial weights and shuffles."""
    return _state.generator


def next_stream() -> int:
    """A new stream number; each layer with dropout takes one when it is made."""
    with _lock:
        _state.stream += 1
        return _state.stream


def next_draw() -> tuple[int, int]:
    """Seed and number of the next draw of candidate classes; each call of a sampler takes one."""
    with _lock:
        _state.draw += 1
        return _state.seed, _state.draw


def get_state() -> dict[str, Any]:
    """Everything needed to go on exactly, as numbers, strings, lists and dicts alone (fit for JSON).

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
    """Goes back to a state of :func:`get_state`.

    Raises:
        ValueError: if ``state`` does not come from there; nothing is changed then.
    """
    global _state
    try:
        new = _State(int(state["seed"]))
        new.stream = int(state["stream"])
        # States written before there were samplers have no draws.
        new.draw = int(state.get("draw", 0))
        found = dict(state["generator"])
        found["state"] = {key: np.array(value, np.uint64) for key, value in found["state"].items()}
        found["buffer"] = np.array(found["buffer"], np.uint64)
        new.generator.bit_generator.state = found
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"state: expected a dict of random.get_state(), got {type(state).__name__} ({error})"
        ) from None
    _state = new


def _plain(value: Any) -> Any:
    """Arrays as lists, inside dicts too."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return [int(one) for one in value]
    return int(value) if isinstance(value, np.integer) else value
