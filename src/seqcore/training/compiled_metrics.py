"""CompiledMetrics: the running mean of the loss, and the metrics of ``compile``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..autograd import Tensor
from ..losses import Loss, OutputLosses
from ..losses.several import Key, by_output
from ..metrics import Mean, Metric, serialize
from ..metrics import get as get_metric
from ..ops.targets import same_rank
from .loss_weight import counted_steps, loss_weight

_ONE_OUTPUT = "for a model with several outputs, pass a loss for each, loss=[...] or {...}"


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
        self.names = ["loss", *log_names([("", metric.name, weighted) for metric, weighted in self.metrics], ["loss"])]
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

    def serialize(self) -> dict[str, Any]:
        """The arguments ``metrics`` and ``weighted_metrics`` of ``compile``; JSON-able."""
        plain, weighted = ([serialize(m) for m, takes in self.metrics if takes is wanted] for wanted in (False, True))
        return {"metrics": plain, "weighted_metrics": weighted}

    def logs(self) -> dict[str, float]:
        """{"loss": ..., metric: ...}"""
        return {name: metric.result() for name, metric in zip(self.names, self.all)}


class TotalLoss(Mean):
    """The weighted sum of the means of the losses of several outputs; of a custom loss the mean itself."""

    def __init__(self, parts: Sequence[tuple[float, Mean]]) -> None:
        super().__init__("loss")
        # A tuple, which is no part of the state.
        self._parts = tuple(parts)

    def result(self) -> float:
        return super().result() if self.count else sum(weight * mean.result() for weight, mean in self._parts)


class OutputMetrics(CompiledMetrics):
    """The running means of the losses of several outputs, and the metrics of each.

    Args:
        loss: the losses.
        outputs: the metrics of each output that has a loss or metrics.

    Names as in Keras: ``name_loss`` and ``name_metric`` with the name of an output of a dict, the name of the loss or
    the metric alone for one of a list. Where Keras's names are not unique, a number is added.
    """

    def __init__(self, loss: OutputLosses, outputs: Mapping[Key, CompiledMetrics]) -> None:
        super().__init__([pair for metrics in outputs.values() for pair in metrics.metrics])
        self._loss, self._outputs = loss, dict(outputs)
        means = [(key, outputs[key].loss) for key in loss.losses]
        self.loss = TotalLoss([(loss.weights[key], mean) for key, mean in means])
        described = [
            (key if loss.named else "", metric.name, weighted)
            for key, metrics in outputs.items()
            for metric, weighted in metrics.metrics
        ]
        shown = means if len(means) > 1 else []
        names = [(str(key) if loss.named else loss.losses[key].name, "loss", False) for key, _ in shown]
        self.names = ["loss", *log_names([*names, *described], ["loss"])]
        for name, (_, mean) in zip(self.names[1:], shown):
            mean.name = name
        # A single mean has no name in the logs, but a state.
        hidden = [] if shown else [mean for _, mean in means]
        self.all = [self.loss, *(mean for _, mean in shown), *(metric for metric, _ in self.metrics), *hidden]

    def targets(self, y: Any) -> dict[Key, Any]:
        """The targets by output. Raises ValueError where an output with a loss or metrics has none."""
        targets = self._loss.select("y", y)
        for key, metrics in self._outputs.items():
            if targets.get(key) is None and (key in self._loss.losses or metrics.metrics):
                has = "a loss" if key in self._loss.losses else "metrics"
                raise ValueError(f"y: expected targets for the output {key!r}, which has {has}, got none")
        return targets

    def add_losses(self, losses: Mapping[Key, Tensor], y: Any, y_pred: Any, size: int) -> None:
        """Add the losses of the outputs for one batch of ``size`` rows to their running means."""
        targets = self.targets(y)
        for key, value in losses.items():
            loss = self._loss.losses[key]
            weight = loss_weight(loss, size, counted_steps(loss, targets[key], y_pred[key]))
            self._outputs[key].add_loss(float(value), weight)

    def serialize(self) -> dict[str, Any]:
        by_key = {key: metrics.serialize() for key, metrics in self._outputs.items()}
        arguments = {}
        for name in ("metrics", "weighted_metrics"):
            values = {key: described[name] for key, described in by_key.items()}
            arguments[name] = values if self._loss.named else list(values.values())
        return arguments

    def update(self, y: Any, y_pred: Any, weight: Any) -> None:
        targets, outputs = self.targets(y), self._loss.predictions(y_pred)
        weights = self._loss.sample_weights(weight)
        for key, metrics in self._outputs.items():
            if metrics.metrics:
                metrics.update(targets[key], outputs[key], weights.get(key))


def log_names(metrics: Iterable[tuple[Key, str, bool]], taken: Iterable[str]) -> list[str]:
    """Different names of metrics, those that take weights last to be named.

    Args:
        metrics: prefix (the name of an output, or ""), name, and whether the metric takes weights, of each.
        taken: names that are taken.
    """
    used, names = set(taken), {}
    for number, (prefix, name, weighted) in sorted(enumerate(metrics), key=lambda item: item[1][2]):
        start = f"{prefix}_" if prefix else ""
        full = f"{start}weighted_{name}" if weighted and start + name in used else start + name
        unique, count = full, 1
        while unique in used:
            unique, count = f"{full}_{count}", count + 1
        used.add(unique)
        names[number] = unique
    return [names[number] for number in sorted(names)]


def compile_metrics(metrics: Any, weighted_metrics: Any, loss: Loss | OutputLosses | None) -> CompiledMetrics:
    """The metrics of ``compile``.

    Args:
        metrics: a metric, its name, or a list of them; for several outputs a list or dict of such by output.
        weighted_metrics: the same, for metrics that take sample weights.
        loss: the loss of ``compile``, on which the meaning of "accuracy" depends.

    Raises:
        ValueError, TypeError: naming the argument.
    """
    if isinstance(loss, OutputLosses):
        plain, weighted = (
            by_output(name, given, loss.named, loss.outputs) if given else {}
            for name, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics))
        )
        return OutputMetrics(
            loss,
            {key: compile_metrics(plain.get(key), weighted.get(key), loss.losses.get(key)) for key in loss.outputs},
        )
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
        raise TypeError(f"{name}: expected a list of metrics, got a dict; {_ONE_OUTPUT}")
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(listed) == 1 and isinstance(listed[0], (list, tuple)):
        listed = list(listed[0])
    if any(isinstance(item, (list, tuple)) for item in listed):
        raise TypeError(f"{name}: expected a list of metrics, got a list of lists; {_ONE_OUTPUT}")
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
