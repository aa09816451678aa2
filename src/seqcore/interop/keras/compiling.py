"""Optimizers, losses and metrics in Keras's files.

What one of the two libraries does not have is left out, with a warning that names it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import losses, metrics, optimizers
from ..._registry import Registry
from ..._validation import MALFORMED, default_only, one_line, short_repr
from ...losses.loss import LOSSES
from ...metrics.metric import METRICS
from ...models.model import Model
from ...optimizers.optimizer import OPTIMIZERS, Optimizer
from ...typing import Array
from .config import builtin, described, function_name
from .hdf5 import Hdf5File

# Settings of Keras's optimizers without an effect on the numbers.
_NO_EFFECT = ("jit_compile", "is_legacy_optimizer")
# Names that stand for the accuracy that fits the loss, on both sides.
_ACCURACY = ("accuracy", "acc")
# The classes that both sides have, with the same arguments.
_SHARED = frozenset(
    """
    Adagrad Adam RMSprop SGD
    CosineDecay ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay
    BinaryCrossentropy CategoricalCrossentropy MeanSquaredError SparseCategoricalCrossentropy
    Accuracy BinaryAccuracy CategoricalAccuracy Mean MeanAbsoluteError RootMeanSquaredError SparseCategoricalAccuracy
    SparseTopKCategoricalAccuracy TopKCategoricalAccuracy
    """.split()
)
# Keras's names of the reductions of a loss.
_REDUCTIONS = {"mean": "sum_over_batch_size", "sum": "sum", "none": "none"}


def compile_from_keras(model: Model, config: Any, place: str) -> None:
    """Compile a model as the file says.

    Args:
        config: optimizer, loss and metrics; without an optimizer the model is not compiled.
        place: the file, for warnings.
    """
    if not isinstance(config, dict) or not config.get("optimizer"):
        return
    refused: list[str] = []
    optimizer = _known(refused, "optimizer", config["optimizer"], _optimizer)
    loss = None if config.get("loss") is None else _known(refused, "loss", config["loss"], _loss)
    try:
        default_only("loss_weights", config.get("loss_weights"), None, "a model has one loss")
    except ValueError as error:
        refused.append(one_line(error))
    if refused:
        warnings.warn(f"{place}: the model is not compiled: {'; '.join(refused)}", stacklevel=4)
        return
    plain, weighted = (_metrics(refused, name, config.get(name)) for name in ("metrics", "weighted_metrics"))
    model.compile(optimizer, loss, metrics=plain, weighted_metrics=weighted)
    if refused:
        warnings.warn(f"{place}: the model is compiled without {'; '.join(refused)}", stacklevel=4)


def _known(refused: list[str], name: str, value: Any, make: Callable[[str, Any], Any]) -> Any:
    """What ``make`` makes of a description; None with a line in ``refused`` where it cannot."""
    try:
        return make(name, value)
    except MALFORMED as error:
        refused.append(one_line(error) if str(error).startswith(name) else f"{name}: {one_line(error)}")
        return None


def _check_known(name: str, registry: Registry[Any], class_name: str) -> None:
    if registry.find(class_name) is None:
        raise ValueError(f"{name}: seqcore has no {short_repr(class_name)}")


def _optimizer(name: str, value: Any) -> Any:
    class_name, config = builtin(name, value)
    _check_known(name, OPTIMIZERS, class_name)
    for key in _NO_EFFECT:
        config.pop(key, None)
    default_only("decay", config.pop("decay", 0.0), 0.0, "a learning rate that falls is a schedule")
    rate = config.get("learning_rate")
    if isinstance(rate, dict):
        schedule, arguments = builtin("learning_rate", rate)
        config["learning_rate"] = {"class_name": schedule, "config": arguments}
    return optimizers.deserialize({"class_name": class_name, "config": config})


def _loss(name: str, value: Any) -> Any:
    value = function_name(name, value)
    if isinstance(value, str):
        _check_known(name, LOSSES, value)
        return losses.get(value)
    class_name, config = builtin(name, value)
    _check_known(name, LOSSES, class_name)
    # Files of Keras 2 hold "auto", which is the mean over the batch.
    if config.get("reduction") == "auto":
        del config["reduction"]
    config.pop("fn", None)
    return losses.deserialize({"class_name": class_name, "config": config})


def _metrics(refused: list[str], name: str, value: Any) -> list[Any]:
    """The metrics that are known; a list in a list, for the only output, counts as one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if value is None:
        return []
    if not isinstance(value, list):
        refused.append(f"{name}: expected a list, got {short_repr(value)}")
        return []
    made = [_known(refused, name, item, _metric) for item in value if item is not None]
    return [metric for metric in made if metric is not None]


def _metric(name: str, value: Any) -> Any:
    value = function_name(name, value)
    if isinstance(value, str):
        if value in _ACCURACY:
            return value
        _check_known(name, METRICS, value)
        return metrics.get(value)
    class_name, config = builtin(name, value)
    if class_name == "MeanMetricWrapper" and isinstance(config.get("fn"), str):
        # Keras 2 writes a metric that was given by name in this way.
        _check_known(name, METRICS, config["fn"])
        metric = metrics.get(config["fn"])
        return metrics.deserialize(
            {"class_name": type(metric).__name__, "config": {**metric.get_config(), "name": config.get("name")}}
        )
    _check_known(name, METRICS, class_name)
    return metrics.deserialize({"class_name": class_name, "config": config})


# --- writing ----------------------------------------------------------------------------------------------------------


def compile_to_keras(model: Model) -> dict[str, Any] | None:
    """The optimizer, the loss and the metrics as Keras reads them; None for a model that is not compiled."""
    own = model.get_compile_config()
    if own is None:
        return None
    refused: list[str] = []
    config = {
        "optimizer": _known(refused, "optimizer", own["optimizer"], _optimizer_to_keras),
        "loss": None if own["loss"] is None else _known(refused, "loss", own["loss"], _loss_to_keras),
    }
    if refused:
        warnings.warn(f"save_keras: the optimizer and the loss are left out: {'; '.join(refused)}", stacklevel=3)
        return None
    for name in ("metrics", "weighted_metrics"):
        made = [_known(refused, name, metric, _metric_to_keras) for metric in own[name]]
        config[name] = [metric for metric in made if metric is not None]
    if refused:
        warnings.warn(f"save_keras: metrics are left out: {'; '.join(refused)}", stacklevel=3)
    return config | {"loss_weights": None, "run_eagerly": False, "steps_per_execution": 1, "jit_compile": False}


def _to_keras(name: str, value: dict[str, Any], module: Any) -> dict[str, Any]:
    """The description of an object of ``module`` for Keras, without the arguments that are None.

    Raises:
        ValueError: Keras has no such class.
    """
    class_name = value["class_name"]
    if class_name not in _SHARED:
        raise ValueError(f"{name}: Keras has no {class_name}")
    config = {key: item for key, item in value["config"].items() if item is not None}
    return described(module.__name__.replace("seqcore", "keras"), class_name, config)


def _optimizer_to_keras(name: str, value: dict[str, Any]) -> dict[str, Any]:
    made = _to_keras(name, value, optimizers)
    config = made["config"]
    default_only("lazy", config.pop("lazy", False), False, "Keras updates all rows of a table")
    if isinstance(config["learning_rate"], dict):
        config["learning_rate"] = _to_keras("learning_rate", config["learning_rate"], optimizers.schedules)
    return made


def _loss_to_keras(name: str, value: dict[str, Any]) -> dict[str, Any]:
    made = _to_keras(name, value, losses)
    reduction = made["config"]["reduction"]
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name}: Keras has no reduction {reduction!r}")
    made["config"]["reduction"] = _REDUCTIONS[reduction]
    return made


def _metric_to_keras(name: str, value: dict[str, Any]) -> Any:
    if value["class_name"] == "AccuracyByShape":
        return value["config"]["name"] if value["config"]["name"] in _ACCURACY else "accuracy"
    made = _to_keras(name, value, metrics)
    if value["class_name"] == "BinaryCrossentropy":
        default_only("axis", made["config"].pop("axis", -1), -1, "that of Keras is the last one")
    return made


# --- the state of the optimizer ---------------------------------------------------------------------------------------


def _slot_order(model: Model, optimizer: Optimizer) -> list[tuple[Any, str]]:
    """The slots in Keras's order: a variable and the name of one of its slots."""
    names = list(optimizer.slot_values())
    # The two means of Adam stand side by side, its maximum apart.
    groups = [names[:2], names[2:]] if isinstance(optimizer, optimizers.Adam) else [[name] for name in names]
    return [(variable, name) for group in groups for variable in model.trainable_weights for name in group]


def optimizer_arrays(model: Model) -> list[Array]:
    """The state of the optimizer in the order of Keras's variables: the count, the learning rate, the slots."""
    optimizer = model.optimizer
    assert optimizer is not None
    state, initial = optimizer.get_state(), optimizer.slot_values()
    numbers = {id(variable): number for number, variable in enumerate(optimizer.variables)}
    arrays = [np.asarray(optimizer.iterations, np.int32)]
    if "learning_rate" in state:
        arrays.append(state["learning_rate"].astype(np.float32))
    for variable, name in _slot_order(model, optimizer):
        slot = state.get(f"{numbers.get(id(variable))}/{name}")
        arrays.append(np.full(variable.shape, initial[name], variable.dtype) if slot is None else slot)
    return arrays


def read_optimizer(file: Hdf5File, paths: list[str], model: Model, place: str) -> None:
    """Put the optimizer of a compiled model into the state that the arrays at ``paths`` hold in Keras's order.

    An optimizer that had made no step has no slots in a file, and starts anew.
    """
    optimizer = model.optimizer
    if optimizer is None:
        return
    own = optimizer_arrays(model)
    if len(paths) < min(len(own), 3):
        return
    if len(paths) != len(own):
        expected = f"expected {len(own)} arrays of the optimizer, got {len(paths)}"
        warnings.warn(f"{place}: the optimizer starts without its state: {expected}", stacklevel=4)
        return
    values = [file.array(path, array.shape) for path, array in zip(paths, own)]
    model.prepare_training()
    state = optimizer.get_state()
    numbers = {id(variable): number for number, variable in enumerate(optimizer.variables)}
    order = _slot_order(model, optimizer)
    state["iterations"] = values[0]
    state |= {f"{numbers[id(variable)]}/{name}": x for (variable, name), x in zip(order, values[-len(order) :])}
    # The learning rate stands in the config too, in full precision.
    optimizer.set_state(state)
