"""Interrupts: Ctrl-C is held back until a piece of work is whole."""

from __future__ import annotations

import importlib
import signal
import threading
from types import FrameType
from typing import Any

# The functions behind those of the same name in the module signal, which convert numbers to enums: 0.3 instead of 7 us
# a call, and there are two in each step.
_signal: Any = importlib.import_module("_signal")
_SIGINT = int(signal.SIGINT)


class defer_sigint:
    """Context that holds Ctrl-C back until its end, so that a model is never left half-updated.

    Outside the main thread, the only one that gets signals, it does nothing.
    """

    __slots__ = ("_pending", "_handler")

    def __enter__(self) -> None:
        self._pending: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            handler = _signal.getsignal(_SIGINT)
            if callable(handler):
                self._handler = handler
                _signal.signal(_SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending = (number, frame)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            _signal.signal(_SIGINT, self._handler)
            if self._pending is not None:
                self._handler(*self._pending)
