"""Optimizers by name, and as configs in files."""

from __future__ import annotations

from typing import Any

from .._validation import class_of
from .optimizer import OPTIMIZERS, Optimizer


def get(identifier: Any) -> Optimizer:
    """Optimizer from a name, a class, a config or an optimizer.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> get("adam").learning_rate
    0.001
    """
    optimizer = None if identifier is Optimizer else OPTIMIZERS.get(identifier)
    if optimizer is None:
        raise TypeError(f"optimizer: expected a name or an Optimizer, got {class_of(identifier)}")
    return optimizer


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """``{"class_name", "config"}`` of an optimizer; JSON-able.

    >>> serialize(get({"class_name": "SGD", "config": {"learning_rate": 0.5}}))["config"]["learning_rate"]
    0.5
    """
    return OPTIMIZERS.serialize(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, type[Optimizer]] | None = None) -> Optimizer:
    """The optimizer that :func:`serialize` described, without its state.

    Args:
        config: what :func:`serialize` gave.
        custom_objects: more classes by name.

    Raises:
        ValueError: for an unknown class.
    """
    return OPTIMIZERS.deserialize(config, custom_objects)
