"""Losses by name, and as configs in files."""

from __future__ import annotations

from typing import Any

from .loss import FUNCTIONS, LOSSES, Loss, LossFunctionWrapper


def get(identifier: Any) -> Loss:
    """Loss from a name, a class, a function, a config or a loss; a list of one element is unwrapped.

    Raises:
        ValueError: for an unknown name, and for several losses.
        TypeError: for anything else.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, (list, tuple)) and len(identifier) == 1:
        return get(identifier[0])
    if isinstance(identifier, (list, tuple)) or (isinstance(identifier, dict) and "class_name" not in identifier):
        got = f"a {type(identifier).__name__} of {len(identifier)}"
        raise ValueError(f"loss: expected one loss, got {got}")
    loss = LOSSES.get(identifier)
    if loss is not None:
        return loss
    if callable(identifier):
        cls = FUNCTIONS.get(identifier) if getattr(identifier, "__hash__", None) else None
        return cls() if cls else LossFunctionWrapper(identifier)
    raise TypeError(f"loss: expected a name, a Loss or a function, got {type(identifier).__name__}")


def serialize(loss: Loss) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a loss; JSON-able.

    >>> serialize(get("mse"))["class_name"]
    'MeanSquaredError'
    """
    return LOSSES.serialize(loss)


def deserialize(name: dict[str, Any], custom_objects: dict[str, type[Loss]] | None = None) -> Loss:
    """The loss that :func:`serialize` described.

    Args:
        name: the result of :func:`serialize`; named as in Keras.
        custom_objects: more classes by name.

    Raises:
        ValueError: for an unknown class.
    """
    return LOSSES.deserialize(name, custom_objects)
