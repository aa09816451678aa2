"""CompiledMetrics: the running mean of the loss, and the metrics of ``compile``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..autograd import Tensor
from ..losses import Loss
from ..metrics import Mean, Metric
from ..metrics import get as get_metric
from ..ops.targets import same_rank


class CompiledMetrics:
    """The running mean of the loss, and the metrics.

    Args:
        metrics: pairs of a metric and whether it takes sample weights.

    The mean of the loss weighs each batch by its size; where a mask or lengths leave steps out of a mean, by the number
    of valid steps, so that the result does not depend on how the data were cut.
    """

    def __init__(self, metrics: Sequence[tuple[Metric, bool]] = ()) -> None:
        self.metrics = list(metrics)
        # Names in the logs.
        self.names = ["loss"]
        for metric, _ in self.metrics:
            name, count = metric.name, 1
            while name in self.names:
                name, count = f"{metric.name}_{count}", count + 1
            self.names.append(name)
        self.loss = Mean("loss")
        # The running mean of the loss, then the metrics.
        self.all: list[Metric] = [self.loss, *(metric for metric, _ in self.metrics)]
        # True where all results are Python numbers.
        self.plain = all(_is_built_in(metric) for metric, _ in self.metrics)

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.all:
            metric.reset_state()

    def add_loss(self, loss: float, weight: float) -> None:
        """Add the loss of one batch to the running mean."""
        self.loss.total += loss * weight
        self.loss.count += weight

    def update(self, y: Any, y_pred: Any, weight: Any) -> None:
        """Update the metrics with one batch; custom ones get targets and predictions of one rank."""
        for metric, weighted in self.metrics:
            pair = (y, y_pred) if self.plain or _is_built_in(metric) else _with_one_rank(y, y_pred)
            # As in Keras, a metric that is not weighted may have no argument for weights.
            metric.update_state(*pair, **({"sample_weight": weight} if weighted else {}))

    def logs(self) -> dict[str, float]:
        """{"loss": ..., metric: ...}"""
        return {name: metric.result() for name, metric in zip(self.names, self.all)}


def compile_metrics(metrics: Any, weighted_metrics: Any, loss: Loss | None) -> CompiledMetrics:
    """The metrics of ``compile``.

    Args:
        metrics: a metric, its name, or a list of them.
        weighted_metrics: the same, for metrics that take sample weights.
        loss: the loss of ``compile``, on which the meaning of "accuracy" depends.

    Raises:
        ValueError, TypeError: naming the argument.
    """
    return CompiledMetrics(
        [
            (_checked_metric(get_metric(metric, loss=loss), loss), weighted)
            for name, given, weighted in (("metrics", metrics, False), ("weighted_metrics", weighted_metrics, True))
            for metric in _listed(name, given)
        ]
    )


def _listed(name: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, dict):
        raise TypeError(f"{name}: expected a list of metrics, got a dict; a model has one output here")
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(listed) == 1 and isinstance(listed[0], (list, tuple)):
        listed = list(listed[0])
    if any(isinstance(item, (list, tuple)) for item in listed):
        raise TypeError(f"{name}: expected a list of metrics, got a list of lists; a model has one output here")
    return listed


def _checked_metric(metric: Metric, loss: Loss | None) -> Metric:
    """A metric of targets and predictions that does not take logits where the loss takes probabilities."""
    if getattr(type(metric), "update_state") is Mean.update_state:  # noqa: B009
        raise TypeError(
            f"metrics: expected metrics of targets and predictions, got {metric.name!r}, which takes values"
        )
    own = getattr(metric, "loss", None)
    if own is not None and isinstance(loss, type(own)):
        metric_logits, loss_logits = getattr(own, "from_logits", None), getattr(loss, "from_logits", None)
        if metric_logits != loss_logits:
            raise ValueError(
                f"metrics: expected {metric.name!r} with from_logits={loss_logits} as in the loss, "
                f"got from_logits={metric_logits}"
            )
    return metric


def _is_built_in(metric: Metric) -> bool:
    return type(metric).__module__.startswith("seqcore.")


def _with_one_rank(y: Any, y_pred: Any) -> tuple[Any, Any]:
    """:func:`same_rank`, with the mask or lengths of ``y_pred`` on the predictions that it returns."""
    targets, outputs = same_rank(y, y_pred)
    if outputs is not y_pred and isinstance(outputs, Tensor):
        outputs.mask, outputs.lengths = y_pred.mask, y_pred.lengths
    return targets, outputs


def metrics_inside(layers: Iterable[Any], known: Iterable[Metric]) -> list[Metric]:
    """Metrics that layers hold as attributes, also in lists, each once and without those ``known``."""
    seen = set(map(id, known))
    metrics: list[Metric] = []
    for layer in layers:
        for value in layer.__dict__.values():
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, Metric) and id(item) not in seen:
                    seen.add(id(item))
                    metrics.append(item)
    return metrics
