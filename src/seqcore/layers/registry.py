"""Layers and models by name, for files without pickle: registering, configs and back."""

from __future__ import annotations

from typing import Any, TypeVar

from .._registry import Registry, class_and_config, from_config, registry_of
from .._validation import short_repr
from .base import Layer

Class = TypeVar("Class", bound="type[Any]")

LAYERS = Registry("class_name", Layer)


def register(name: Any = None) -> Any:
    """Class decorator: files and pickles know the class by ``name`` (its own name by default).

    The class is one of layers, models, losses, metrics, optimizers, schedules or initializers.

    >>> @register("mine/Double")
    ... class Double(Layer):
    ...     def call(self, inputs):
    ...         return inputs * 2
    >>> get_class("mine/Double") is Double
    True
    """
    if isinstance(name, type):
        return _enter(name.__name__, name)
    return lambda cls: _enter(name or cls.__name__, cls)


def _enter(name: str, cls: Class) -> Class:
    registry = registry_of(cls)
    if registry is None:
        raise TypeError(f"register: expected a subclass of Layer, Loss, Metric, Optimizer, ..., got {cls!r}")
    registry.add(name, cls)
    cls._registered_name = name
    return cls


def get_class(name: str) -> type[Layer]:
    """The class registered under ``name``.

    That of an experiment is called after its module, ``seqcore.experiments.imdb/CellLoop``, which is imported if need
    be. No other name imports anything: names come from files.

    Raises:
        ValueError: if there is none.
    """
    cls = LAYERS.find(name)
    if cls is None:
        raise ValueError(
            f"class_name: expected a registered layer, got {short_repr(name)}; decorate the class with @register()"
        )
    return cls


def serialize(layer: Layer) -> dict[str, Any]:
    """Registered name and config of a layer.

    Raises:
        ValueError: if its class is not registered.
    """
    name = type(layer).__dict__.get("_registered_name")
    if name is None or LAYERS.find(name) is not type(layer):
        raise ValueError(
            f"layer {layer.name!r}: class {type(layer).__name__} is not registered; decorate it with @register()"
        )
    return {"class_name": name, "config": layer.get_config()}


def deserialize(config: dict[str, Any]) -> Any:
    """A new layer from what :func:`serialize` returned.

    Raises:
        ValueError: for an unknown class or a config that is none.
    """
    class_name, arguments = class_and_config("config", config)
    return from_config(get_class(class_name), arguments)
