"""Calls of layers: ``training`` of the running call, the outermost call of a model, layers in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from .._validation import is_array


class _CallContext(threading.local):
    """The calls that are running in this thread."""

    # `training` of the innermost call; inherited by inner layers.
    training: bool | None = None
    # The outermost call of a model; None where no model is running.
    call: CallScope | None = None


context = _CallContext()


class CallScope:
    """Context of a call of a model. Cells draw their dropout masks once per outermost call."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> None:
        self._outermost = context.call is None
        if self._outermost:
            context.call = self

    def __exit__(self, *_: object) -> None:
        if self._outermost:
            context.call = None


def call_in_order(
    layers: Iterable[Callable[..., Any]], x: Any, training: bool | None = None, mask: Any = None, lengths: Any = None
) -> Any:
    """The output of layers that are called one after the other; the first takes ``mask`` or ``lengths``."""
    x = single_input(x)
    given = {key: value for key, value in (("mask", mask), ("lengths", lengths)) if value is not None}
    for layer in layers:
        x = layer(x, training=training, **given)
        given = {}
    return x


def single_input(x: Any) -> Any:
    """The array of a list of one array, which Keras takes too; anything else as it is."""
    return x[0] if isinstance(x, (list, tuple)) and len(x) == 1 and is_array(x[0]) else x
