"""Calls of the methods of a model that a subclass overrides: arguments by name, results checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..autograd import Tensor, as_array
from .batch import Batch, plain


def call_by_name(name: str, hook: Callable[..., Any], arguments: dict[str, Any], optional: dict[str, Any]) -> Any:
    """Call an override by the names of its arguments, as Keras does; positionally where its names differ.

    Args:
        name: of the hook, for the error.
        hook: the bound method.
        arguments: by name, in order.
        optional: arguments that overrides for older versions of Keras do not have.
    """
    signature = inspect.signature(hook)
    for args, kwargs in (((), arguments | optional), ((), arguments), (tuple(arguments.values()), {})):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return hook(*args, **kwargs)
    raise TypeError(f"{name}: expected a method that takes {', '.join(arguments)}, got one that takes {signature}")


def custom_loss(compute_loss: Callable[..., Any], batch: Batch, y_pred: Any, training: bool) -> Tensor:
    """The scalar that an override of ``compute_loss`` returns; older overrides have no ``training``."""
    loss = call_by_name("compute_loss", compute_loss, _arguments(batch, y_pred), {"training": training})
    if not isinstance(loss, Tensor):
        if training or np.ndim(loss):
            raise TypeError(f"compute_loss: expected a scalar Tensor, got {type(loss).__name__}")
        loss = Tensor(loss)
    if loss.ndim:
        raise ValueError(f"compute_loss: expected a scalar, got shape {loss.shape}")
    return loss


def custom_logs(compute_metrics: Callable[..., Any], batch: Batch, y_pred: Any) -> dict[str, float]:
    """The logs that an override of ``compute_metrics`` returns."""
    return as_logs("compute_metrics", call_by_name("compute_metrics", compute_metrics, _arguments(batch, y_pred), {}))


def _arguments(batch: Batch, y_pred: Any) -> dict[str, Any]:
    return {"x": plain(batch.x), "y": batch.y, "y_pred": y_pred, "sample_weight": batch.weight}


def as_logs(hook: str, logs: Any) -> dict[str, float]:
    """The logs that a hook returned, as names and Python numbers; a dict inside is flattened, as in Keras.

    Raises:
        TypeError: for anything but a dict of numbers.
    """
    if not isinstance(logs, Mapping):
        raise TypeError(f"{hook}: expected a dict of logs, got {type(logs).__name__}")
    numbers: dict[str, float] = {}
    for name, value in logs.items():
        if type(value) is float:
            numbers[name] = value
        elif isinstance(value, Mapping):
            numbers |= as_logs(hook, value)
        else:
            array = as_array(value, name=hook)
            if array.size != 1:
                raise TypeError(f"{hook}: expected a number for {name!r}, got shape {array.shape}")
            numbers[str(name)] = float(array.item())
    return numbers
