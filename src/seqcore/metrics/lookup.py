"""Metrics by name, from a loss, and as configurations for files."""

from __future__ import annotations

import inspect
from typing import Any, cast

from .. import losses
from .._validation import class_and_config, class_named, from_config, made_from_class
from .accuracy import (
    Accuracy,
    AccuracyByShape,
    BinaryAccuracy,
    CategoricalAccuracy,
    SequenceAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .metric import Mean, MeanMetricWrapper, Metric
from .regression import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Crossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
)

_CLASSES: dict[str, type[Metric]] = {
    "mean": Mean,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sequence_accuracy": SequenceAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "perplexity": Perplexity,
    "mean_squared_error": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
}
_ALIASES = {
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "cce": "categorical_crossentropy",
}
_BY_CLASS: dict[str, type[Metric]] = {cls.__name__: cls for cls in (*_CLASSES.values(), Accuracy)}


def _from_loss(name: str, loss: losses.Loss | None) -> Metric:
    """The accuracy that fits a loss."""
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(name)
    if isinstance(loss, losses.CategoricalCrossentropy):
        return CategoricalAccuracy(name)
    if isinstance(loss, losses.BinaryCrossentropy):
        # A probability above 1/2 is a logit above 0.
        return BinaryAccuracy(name, threshold=0.0 if loss.from_logits else 0.5)
    return AccuracyByShape(name)


def get(identifier: Any, loss: losses.Loss | None = None) -> Metric:
    """The metric meant by a name, a class, a function, a configuration or a metric.

    Args:
        identifier: "accuracy" and "acc" become the accuracy that fits ``loss``; without a loss, or with one that does
            not say, the shapes of the first batch decide as in Keras. Names of cross-entropies and "perplexity" take
            ``from_logits``, ``ignore_class`` and ``axis`` from a loss of that kind.
        loss: the loss of the model.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> type(get("acc", losses.BinaryCrossentropy())).__name__
    'BinaryAccuracy'
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        if identifier.lower() in ("accuracy", "acc"):
            return _from_loss(identifier, loss)
        name = _ALIASES.get(identifier.lower(), identifier)
        found = _CLASSES.get(name) or _BY_CLASS.get(name)
        if found is None:
            raise ValueError(f"metric: expected one of accuracy, {', '.join(sorted(_CLASSES))}, got {identifier!r}")
        made: Metric = found(name=identifier)
        if isinstance(made, Crossentropy) and isinstance(loss, type(made.loss)):
            known = ("from_logits", "ignore_class", "axis")
            made = found(name=identifier, **{name: getattr(loss, name) for name in known if hasattr(loss, name)})
        return made
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        return cast(Metric, made_from_class("metric", identifier))
    if hasattr(identifier, "update_state"):
        # As a function it would give its own running value, which must not be averaged again.
        origin = type(identifier).__module__.partition(".")[0]
        raise TypeError(f"metric: expected a Metric of seqcore, got {type(identifier).__name__} of {origin}")
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    raise TypeError(f"metric: expected a name, a Metric or a function, got {type(identifier).__name__}")


def serialize(metric: Metric) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a metric, without its state; JSON-able.

    >>> serialize(Perplexity(from_logits=True))["config"]["from_logits"]
    True
    """
    return {"class_name": type(metric).__name__, "config": metric.get_config()}


def deserialize(config: dict[str, Any], custom_objects: dict[str, type[Metric]] | None = None) -> Metric:
    """The metric that :func:`serialize` described.

    Args:
        config: what :func:`serialize` gave.
        custom_objects: further classes by name.

    Raises:
        ValueError: for a class that neither has.
    """
    name, arguments = class_and_config("metric", config)
    # Files of version 0.1 have the underscore.
    by_shape = name in ("AccuracyByShape", "_AccuracyByShape")
    cls = AccuracyByShape if by_shape else class_named("metric", name, _BY_CLASS, custom_objects)
    metric: Metric = from_config(cls, arguments)
    return metric
