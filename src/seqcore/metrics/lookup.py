"""Metrics by name, for a loss, and as configs in files."""

from __future__ import annotations

from typing import Any

from .. import losses
from .._validation import class_of
from .accuracy import AccuracyByShape, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from .crossentropy import LossMetric
from .metric import METRICS, MeanMetricWrapper, Metric


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
    """Metric from a name, a class, a function, a config or a metric.

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
    if isinstance(identifier, str):
        if identifier.lower() in ("accuracy", "acc"):
            return _from_loss(identifier, loss)
        cls: Any = METRICS.require(identifier)
        metric: Metric = cls(name=identifier)
        if isinstance(metric, LossMetric) and isinstance(loss, type(metric.loss)):
            shared = metric.get_config().keys() & {"from_logits", "ignore_class", "axis"}
            metric = cls(name=identifier, **{name: getattr(loss, name) for name in shared})
        return metric
    known = deserialize(identifier) if isinstance(identifier, dict) else METRICS.get(identifier)
    if known is not None:
        return known
    if hasattr(identifier, "update_state"):
        # As a function it would give its own running value, which must not be averaged again.
        raise TypeError(f"metric: expected a Metric of seqcore, got {class_of(identifier)}")
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    raise TypeError(f"metric: expected a name, a Metric or a function, got {type(identifier).__name__}")


def serialize(metric: Metric) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a metric, without its state; JSON-able.

    >>> serialize(get("perplexity"))["config"]["from_logits"]
    False
    """
    return METRICS.serialize(metric)


def deserialize(config: dict[str, Any], custom_objects: dict[str, type[Metric]] | None = None) -> Metric:
    """The metric that :func:`serialize` described.

    Args:
        config: the result of :func:`serialize`.
        custom_objects: more classes by name.

    Raises:
        ValueError: for an unknown class.
    """
    # Older files have the class of "accuracy" without a loss; those of version 0.1 with an underscore.
    by_shape = {"AccuracyByShape": AccuracyByShape, "_AccuracyByShape": AccuracyByShape}
    return METRICS.deserialize(config, by_shape | (custom_objects or {}))
