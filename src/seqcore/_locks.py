"""A lock that survives a fork, in objects that can be copied and pickled."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class ForkSafeLock:
    """A re-entrant lock for ``with``, free in a forked child unless the child's own thread held it; a copy is new."""

    __slots__ = ("_lock", "_owner", "_depth", "__weakref__")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(self, *_: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._lock.release()

    def __reduce__(self) -> Any:
        return ForkSafeLock, ()

    def _free(self) -> None:
        """In a forked child: free the lock if a thread held it that does not exist here."""
        if self._owner != threading.get_ident():
            self._lock, self._owner, self._depth = threading.RLock(), None, 0


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _free_all() -> None:
    for lock in list(_locks):
        lock._free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
