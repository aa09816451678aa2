"""What a subclass of a model may override of one step: training, testing, predicting, loss and metrics, as in Keras.

``fit``, ``evaluate``, ``predict`` and their forms for one batch call what is overridden; where nothing is, the steps in
``steps`` run without these methods in between.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.tensor import Tensor
from ..layers.base import Layer
from ..metrics import Metric
from .data_adapters import Batch, data_of, make_batch, parts_of, plain
from .train_step import as_logs, structure

if TYPE_CHECKING:
    from ..losses import Loss
    from .train_step import Step, Tracker


def _call_by_name(name: str, hook: Callable[..., Any], arguments: dict[str, Any], newer: dict[str, Any]) -> Any:
    """Calls an override by the names of its arguments, as Keras does; by their order where it names them otherwise.

    Args:
        name: of the hook, for the error.
        hook: the bound method.
        arguments: by name, in order.
        newer: arguments that overrides for older versions of Keras do not have.
    """
    signature = inspect.signature(hook)
    for args, kwargs in (((), arguments | newer), ((), arguments), (tuple(arguments.values()), {})):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return hook(*args, **kwargs)
    raise TypeError(f"{name}: expected a method that takes {', '.join(arguments)}, got one that takes {signature}")


class StepHooks(Layer):
    """The methods of one step; ``data`` is x, (x, y) or (x, y, sample_weight) of one batch as arrays.

    An x with lengths or a mask is a Tensor that carries them.
    """

    loss: Loss | None
    _tracker: Tracker
    _noted_metrics: tuple[object, list[Metric], bool]

    _never_called = Layer._never_called | {
        "make_train_function": "train_step",
        "make_test_function": "test_step",
        "make_predict_function": "predict_step",
        "stateless_compute_loss": "compute_loss",
    }

    def _overrides(self, name: str) -> bool:
        """Whether the class or the object itself has a hook of its own."""
        return getattr(type(self), name) is not getattr(StepHooks, name) or name in self.__dict__

    def _compiled(self, hook: str = "compute_loss") -> Step:
        """The step of a compiled model, with a loss unless ``hook`` does without."""
        raise TypeError(f"{type(self).__name__}: a trainable layer must define _compiled")

    # ------------------------------------------------------------ steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on one batch. An override returns the logs, a dict of names and numbers.

        >>> import seqcore as sc
        >>> class Doubled(sc.Sequential):
        ...     def train_step(self, data):
        ...         x, y = data
        ...         with sc.GradientTape() as tape:
        ...             loss = 2 * self.compute_loss(x, y, self(x, training=True))
        ...         gradients = tape.gradient(loss, self.trainable_variables)
        ...         self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        ...         return {"loss": loss}
        >>> model = Doubled([sc.layers.Input((1,)), sc.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.fit(np.ones((4, 1)), np.ones(4), verbose=0).history
        {'loss': [2.0]}
        """
        return self._logs(self._compiled("train_step").train(make_batch(*parts_of(data))))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Loss and metrics of one batch. An override returns the logs."""
        return self._logs(self._compiled("test_step").test(make_batch(*parts_of(data))))

    def predict_step(self, data: Any) -> Any:
        """Output of one batch."""
        return self(make_batch(parts_of(data)[0]).x, training=False)

    def _run_step(self, name: str, batch: Batch) -> dict[str, float]:
        """The logs that an override of ``train_step`` or ``test_step`` returns."""
        return as_logs(name, getattr(self, name)(data_of(batch)))

    # ------------------------------------------------------------ loss and metrics

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The scalar loss of one batch, by the loss of ``compile``.

        Args:
            x: the inputs; not used here.
            y: the targets.
            y_pred: the output of the model.
            sample_weight: weights of the samples or of their steps.
            training: not used here.
        """
        if self.loss is None:
            raise RuntimeError(
                f"model: expected {self.name!r} to be compiled with a loss; call compile(optimizer, loss)"
            )
        if y is None:
            raise ValueError("y: expected targets to compare the output with, got None")
        loss = self.loss(y, y_pred, sample_weight=sample_weight)
        if loss.ndim:
            raise ValueError(
                f"loss: expected a scalar, got shape {loss.shape}; the reduction 'none' is for custom loops"
            )
        return loss

    def _own_loss(self, batch: Batch, y_pred: Any, training: bool) -> Tensor:
        """What an override of ``compute_loss`` returns; older ones have no ``training``."""
        arguments = {"x": plain(batch.x), "y": batch.y, "y_pred": y_pred, "sample_weight": batch.weight}
        loss = _call_by_name("compute_loss", self.compute_loss, arguments, {"training": training})
        if not isinstance(loss, Tensor):
            if training or np.ndim(loss):
                raise TypeError(f"compute_loss: expected a scalar Tensor, got {type(loss).__name__}")
            loss = Tensor(loss)
        if loss.ndim:
            raise ValueError(f"compute_loss: expected a scalar, got shape {loss.shape}")
        return loss

    def _own_logs(self, batch: Batch, y_pred: Any) -> dict[str, float]:
        """The logs that an override of ``compute_metrics`` returns."""
        arguments = {"x": plain(batch.x), "y": batch.y, "y_pred": y_pred, "sample_weight": batch.weight}
        return as_logs("compute_metrics", _call_by_name("compute_metrics", self.compute_metrics, arguments, {}))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Takes one batch into the metrics of ``compile`` and returns the logs, as :meth:`get_metrics_result` does."""
        self._tracker.update(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[Metric]:
        """The running mean of the loss, the metrics of ``compile``, and those held as attributes of the model."""
        return [*self._tracker.all, *self._own_metrics()]

    def _own_metrics(self) -> list[Metric]:
        """Metrics that the model and the layers inside hold as attributes, also in lists."""
        return self._note_metrics()[1]

    def _note_metrics(self) -> tuple[object, list[Metric], bool]:
        """What holds while the structure stays: the own metrics, and whether those of ``compile`` are all there are."""
        if self._noted_metrics[0] is not structure.changes:
            known = {id(metric) for metric in self._tracker.all}
            own: dict[int, Metric] = {}
            for layer in [self, *self.layers_inside()]:
                # A model inside has metrics for its own training.
                if layer is self or not isinstance(layer, StepHooks):
                    for value in layer.__dict__.values():
                        for item in value if isinstance(value, (list, tuple)) else (value,):
                            if isinstance(item, Metric) and id(item) not in known:
                                own.setdefault(id(item), item)
            hooks = any(map(self._overrides, ("get_metrics_result", "reset_metrics", "metrics")))
            plain = not own and not hooks and self._tracker.plain
            object.__setattr__(self, "_noted_metrics", (structure.changes, list(own.values()), plain))
        return self._noted_metrics

    def get_metrics_result(self) -> dict[str, Any]:
        """The logs: names and values of :attr:`metrics`."""
        if type(self).metrics is not StepHooks.metrics:
            return {metric.name: metric.result() for metric in self.metrics}
        logs: dict[str, Any] = self._tracker.logs()
        for metric in self._own_metrics():
            logs[metric.name] = metric.result()
        return logs

    def reset_metrics(self) -> None:
        """Lets the metrics forget all batches; called when an epoch and an evaluation begin."""
        for metric in self.metrics:
            metric.reset_state()

    def _reset_metrics(self) -> None:
        self._tracker.reset()
        if self._note_metrics()[2]:
            return
        if self._overrides("reset_metrics") or type(self).metrics is not StepHooks.metrics:
            self.reset_metrics()
        else:
            for metric in self._own_metrics():
                metric.reset_state()

    def _logs(self, returned: dict[str, float] | None) -> dict[str, float]:
        """Logs that a hook returned, or those of the metrics."""
        if returned is not None:
            return returned
        if self._note_metrics()[2]:
            return self._tracker.logs()
        return as_logs("get_metrics_result", self.get_metrics_result())
