"""Staleness: invalidation of values computed from variables and layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._locks import ForkSafeLock

_lock = ForkSafeLock()


class Cached:
    """Base of objects that are computed from variables and layers, and again when one of them changes.

    >>> from seqcore import Variable
    >>> weights, cached = Variable([1.0, 2.0]), Cached()
    >>> cached.depend_on([weights])
    >>> weights.trainable = False
    >>> cached.stale
    True
    """

    stale = True

    def depend_on(self, items: Iterable[Any]) -> None:
        """Mark as up to date until one of ``items`` (variables and layers) changes."""
        with _lock:
            self.stale = False
            for item in items:
                others = (other for other in item._dependents if not other.stale and other is not self)
                object.__setattr__(item, "_dependents", (*others, self))

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of a variable or layer belongs to nothing that was computed from the original.
        return Cached, ()


def mark_stale(item: Any) -> None:
    """Mark all that was computed from ``item``, a variable or a layer, as stale."""
    if item._dependents:
        with _lock:
            for cached in item._dependents:
                cached.stale = True
            object.__setattr__(item, "_dependents", ())
