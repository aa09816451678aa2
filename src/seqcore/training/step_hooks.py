"""Hooks of one step that a subclass of a model may override, as in Keras: training, testing, predicting, loss, metrics.

``fit``, ``evaluate``, ``predict`` and their forms for one batch call what is overridden; where nothing is, the
:class:`TrainStep` runs without these methods in between.
"""

from __future__ import annotations

from typing import Any

from ..layers.base import Layer
from ..losses import Loss, OutputLosses
from ..metrics import Metric
from ..optimizers import Optimizer
from .batch import Batch, make_batch, pack_batch, unpack_batch
from .custom_hooks import as_logs
from .train_step import TrainStep


class StepHooks(Layer):
    """The methods of one step; ``data`` is x, (x, y) or (x, y, sample_weight) of one batch as arrays.

    An x with lengths or a mask is a Tensor that carries them.
    """

    optimizer: Optimizer | None
    loss: Loss | OutputLosses | None
    _step: TrainStep

    _never_called = Layer._never_called | {
        "make_train_function": "train_step",
        "make_test_function": "test_step",
        "make_predict_function": "predict_step",
        "stateless_compute_loss": "compute_loss",
    }

    def overrides(self, hook: str) -> bool:
        """True where the class or the object itself overrides the hook of that name."""
        return getattr(type(self), hook) is not getattr(StepHooks, hook) or hook in self.__dict__

    def require_compiled(self, hook: str = "compute_loss") -> TrainStep:
        """The step of a compiled model, with a loss unless ``hook`` does without.

        Raises:
            RuntimeError: the model is not compiled.
        """
        if self.optimizer is None:
            raise RuntimeError(f"model: expected {self.name!r} to be compiled; call compile(optimizer, loss)")
        if self.loss is None and not self.overrides(hook) and not self.overrides("compute_loss"):
            raise self._no_loss()
        return self._step

    def _no_loss(self) -> RuntimeError:
        return RuntimeError(f"model: expected {self.name!r} to be compiled with a loss; call compile(optimizer, loss)")

    # ------------------------------------------------------------ steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update on one batch. An override returns the logs, a dict of names and numbers.

        >>> import numpy as np
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
        return self._logs(self.require_compiled("train_step").train(self._as_batch(data)))

    def test_step(self, data: Any) -> dict[str, Any]:
        """Loss and metrics of one batch. An override returns the logs."""
        return self._logs(self.require_compiled("test_step").test(self._as_batch(data)))

    def predict_step(self, data: Any) -> Any:
        """Output of one batch."""
        return self(make_batch(unpack_batch(data)[0]).x, training=False)

    def _as_batch(self, data: Any) -> Batch:
        return make_batch(*unpack_batch(data), several=self._step.inspection.several)

    def _run_step(self, name: str, batch: Batch) -> dict[str, float]:
        """The logs that an override of ``train_step`` or ``test_step`` returns."""
        return as_logs(name, getattr(self, name)(pack_batch(batch)))

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
            raise self._no_loss()
        if y is None:
            raise ValueError("y: expected targets to compare the output with, got None")
        loss = self.loss(y, y_pred, sample_weight=sample_weight)
        if loss.ndim:
            raise ValueError(
                f"loss: expected a scalar, got shape {loss.shape}; the reduction 'none' is for custom loops"
            )
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the metrics of ``compile`` with one batch and return the logs, as :meth:`get_metrics_result` does."""
        self._step.metrics.update(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[Metric]:
        """The running mean of the loss, the metrics of ``compile``, and those held as attributes of the model."""
        return [*self._step.metrics.all, *self._step.inspection.attribute_metrics]

    def get_metrics_result(self) -> dict[str, Any]:
        """The logs: names and values of :attr:`metrics`."""
        if type(self).metrics is not StepHooks.metrics:
            return {metric.name: metric.result() for metric in self.metrics}
        logs: dict[str, Any] = self._step.metrics.logs()
        return logs | {metric.name: metric.result() for metric in self._step.inspection.attribute_metrics}

    def reset_metrics(self) -> None:
        """Reset all metrics; called when an epoch and an evaluation begin."""
        for metric in self.metrics:
            metric.reset_state()

    def _reset_metrics(self) -> None:
        self._step.metrics.reset()
        if not self._step.inspection.plain_logs:
            self.reset_metrics()

    def _logs(self, returned: dict[str, float] | None) -> dict[str, float]:
        """Logs that a hook returned, or those of the metrics."""
        if returned is not None:
            return returned
        if self._step.inspection.plain_logs:
            return self._step.metrics.logs()
        return as_logs("get_metrics_result", self.get_metrics_result())
