"""Compilable: the optimizer, the loss and the metrics of a model, and its flat parameters."""

from __future__ import annotations

import warnings
from typing import Any

from numpy.typing import DTypeLike

from .. import losses, optimizers
from .. import metrics as _metrics
from .._validation import default_only
from ..autograd import Variable
from ..autograd.staleness import mark_stale
from ..layers.base import Layer
from ..losses.several import is_per_output
from ..optimizers.flat_parameters import FlatParameters
from .compiled_metrics import CompiledMetrics, compile_metrics
from .step_hooks import StepHooks
from .train_step import TrainStep

# Attributes of a model that change its steps: hooks set on the object itself, and the loss.
HOOKS = frozenset(
    "train_step test_step predict_step compute_loss compute_metrics get_metrics_result reset_metrics loss".split()
)


class Compilable(StepHooks):
    """A layer with an optimizer, a loss and metrics."""

    def __init__(self, *, name: str | None, trainable: bool, dtype: DTypeLike | None, **unknown: Any) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        self._step = TrainStep(self, CompiledMetrics())
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | losses.OutputLosses | None = None

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        if key not in self._not_tracked:
            if isinstance(value, (Layer, Variable, list, tuple, dict, _metrics.Metric)) or key in HOOKS:
                mark_stale(self)

    def layer_chain(self) -> list[Layer]:
        """The layers in order, where calling the model means calling them one after the other; an empty list
        otherwise."""
        return []

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Set the optimizer, the loss and the metrics of training.

        Args:
            optimizer: an ``Optimizer`` or its name.
            loss: a ``Loss``, its name or a function of (y_true, y_pred). For a model with several outputs a list of
                losses, or a dict by the names of the outputs; None for an output that is not trained.
            loss_weights: the factors of these losses in their sum, in the same form; ones by default.
            metrics: metrics or names ("accuracy", ...); they do not see sample weights, but masks and lengths count.
                For several outputs a list with one entry (a metric, a list, None) per output, or a dict.
            weighted_metrics: metrics that do.
            run_eagerly: everything runs eagerly, asked for or not.
            steps_per_execution, jit_compile, auto_scale_loss: accepted only at Keras's defaults.

        Raises:
            ValueError, TypeError: naming the argument; the model stays compiled as it was.

        >>> from seqcore import Sequential, layers
        >>> model = Sequential([layers.Input((3,)), layers.Dense(2)])
        >>> model.compile("adam", "mse", metrics=["mae"])
        >>> model.metrics_names
        ['loss', 'mae']
        """
        default_only("run_eagerly", run_eagerly, (False, True), "everything runs eagerly")
        default_only("steps_per_execution", steps_per_execution, 1, "each step is one call")
        default_only("jit_compile", jit_compile, ("auto", False), "nothing is compiled")
        default_only(
            "auto_scale_loss", auto_scale_loss, (True, False), "float32, float64 and bfloat16 need no scaled loss"
        )
        new_optimizer = optimizers.get(optimizer)
        if is_per_output(loss):
            new_loss: losses.Loss | losses.OutputLosses | None = losses.OutputLosses(loss, loss_weights)
        else:
            default_only("loss_weights", loss_weights, None, "they are factors of several losses, loss=[...] or {...}")
            new_loss = None if loss is None else losses.get(loss)
        new_metrics = compile_metrics(metrics, weighted_metrics, new_loss)
        self.optimizer, self.loss, self._step = new_optimizer, new_loss, TrainStep(self, new_metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` and ``train_on_batch`` return, in order."""
        if type(self).metrics is not StepHooks.metrics:
            return [metric.name for metric in self.metrics]
        attribute_metrics = self._step.inspection.attribute_metrics
        return [*self._step.metrics.names, *(metric.name for metric in attribute_metrics)]

    @property
    def flat_parameters(self) -> FlatParameters:
        """The flat arrays of parameters and gradients of the compiled, built model."""
        step = self.require_compiled()
        if not self.built:
            raise ValueError(f"flat_parameters: expected a built model; call {self.name!r} or build it")
        step.stale = True
        return step.flat_parameters()

    # The name in version 0.1.
    arena = flat_parameters

    def prepare_training(self) -> None:
        """Lay out the flat parameters and register the variables with the optimizer, as the first step would."""
        if self.optimizer is not None:
            self._step.stale = True
            self.optimizer.build(self._step.flat_parameters().variables)

    def get_compile_config(self) -> Any:
        """Optimizer, loss and metrics, or None (with a warning if they cannot be serialized)."""
        try:
            return self._compile_config()
        except (TypeError, ValueError) as error:
            warnings.warn(f"save: optimizer, loss and metrics are left out: {error}", stacklevel=2)
            return None

    def require_compile_config(self) -> Any:
        """:meth:`get_compile_config`; raises ValueError or TypeError where that warns."""
        own = type(self).get_compile_config is not Compilable.get_compile_config
        return self.get_compile_config() if own else self._compile_config()

    def _compile_config(self) -> Any:
        if self.optimizer is None:
            return None
        if type(self).compile is not Compilable.compile:
            raise ValueError("its class overrides compile; give it get_compile_config and compile_from_config too")
        config = {"optimizer": optimizers.serialize(self.optimizer), **self._step.metrics.serialize()}
        if isinstance(self.loss, losses.OutputLosses):
            config["loss"], config["loss_weights"] = self.loss.serialize()
        else:
            config["loss"] = None if self.loss is None else losses.serialize(self.loss)
        return config

    def compile_from_config(self, config: Any) -> None:
        """Compile with the config of :meth:`get_compile_config`; None leaves the model as it is."""
        if config is not None:
            names = ("optimizer", "loss", "metrics", "weighted_metrics")
            self.compile(**{name: config[name] for name in names}, loss_weights=config.get("loss_weights"))
