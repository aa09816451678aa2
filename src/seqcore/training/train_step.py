"""TrainStep: one step of training or testing of a compiled model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .. import losses
from ..autograd import GradientTape, Tensor, Variable
from ..autograd.staleness import Cached
from ..autograd.tensor import Gradient
from ..layers.base import Layer
from ..layers.calling import CallScope, call_in_order
from ..losses.loss import FusedLoss
from ..metrics import Metric
from ..optimizers import Optimizer
from ..optimizers.flat_parameters import FlatParameters
from .array_step import array_chain, run_on_arrays, takes_batch
from .batch import Batch
from .compiled_metrics import CompiledMetrics, OutputMetrics, metrics_inside
from .custom_hooks import custom_logs, custom_loss
from .fused_head import FusedHead, find_fused_head
from .interrupts import defer_sigint
from .loss_weight import counted_steps, loss_weight

# Updates the metrics with one batch, and returns the logs of an overridden ``compute_metrics``.
Update = Callable[[], "dict[str, float] | None"]


class TrainableModel(Protocol):
    """The members of a model that a step uses."""

    built: bool
    optimizer: Optimizer | None
    loss: losses.Loss | losses.OutputLosses | None

    @property
    def weights(self) -> list[Variable]: ...

    @property
    def trainable_variables(self) -> list[Variable]: ...

    def __call__(self, x: Any, *, training: bool | None = None) -> Any: ...

    def layers_inside(self) -> list[Layer]: ...

    def layer_chain(self) -> list[Layer]: ...

    def state_scope(self) -> AbstractContextManager[None]: ...

    def overrides(self, hook: str) -> bool: ...

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any: ...

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any: ...


class Inspection(NamedTuple):
    """State of a model that holds until one of its layers changes.

    Attributes:
        stateful: the layers that have states of their own.
        several: true with a loss for each output, false with one loss, None where a hook of the model's class takes the
            targets.
        custom_loss, custom_logs: true where the model overrides ``compute_loss`` or ``compute_metrics``.
        head: the end of the model that runs as one operation with the loss; None where all runs eagerly.
        array_chain: the layers in order where a step needs no tape, see :mod:`.array_step`; otherwise empty.
        attribute_metrics: the metrics that the model and its layers hold as attributes.
        plain_logs: true where the logs are those of the metrics of ``compile``, and these give Python numbers.
    """

    stateful: list[Layer]
    several: bool | None
    custom_loss: bool
    custom_logs: bool
    head: FusedHead | None
    array_chain: list[Layer]
    attribute_metrics: list[Metric]
    plain_logs: bool


class TrainStep(Cached):
    """One step of training or testing of a compiled model.

    Args:
        model: the model.
        metrics: those of ``compile``.

    Where the model ends in a Dense layer under a sparse categorical cross-entropy that means the same softmax, and no
    metric asks for predictions, that layer and the loss are one operation (:class:`FusedHead`). The step is ``stale``
    once layers or weights of the model have come or gone.
    """

    def __init__(self, model: TrainableModel, metrics: CompiledMetrics) -> None:
        self._model, self.metrics = model, metrics
        self._flat: FlatParameters | None = None
        # Makes the gradients of a whole batch of those of the rows that this process has of it.
        self.exchange: Callable[[FlatParameters, list[Gradient]], list[Gradient]] | None = None

    @property
    def inspection(self) -> Inspection:
        """What is known of the model, looked up again once a layer has changed."""
        if self.stale:
            self._inspection = self._inspect()
            if self._flat is not None:
                self._flat.stale = True
        return self._inspection

    def _inspect(self) -> Inspection:
        model, metrics = self._model, self.metrics
        inside = model.layers_inside()
        self.depend_on([model, *inside])
        custom_loss, custom_logs = model.overrides("compute_loss"), model.overrides("compute_metrics")
        # A model inside has metrics for its own training.
        holders = [model, *(layer for layer in inside if not hasattr(layer, "compute_metrics"))]
        attribute_metrics = metrics_inside(holders, metrics.all)
        several = isinstance(model.loss, losses.OutputLosses)
        custom, chain = custom_loss or custom_logs, model.layer_chain()
        head = None if custom else find_fused_head(chain, model.loss, metrics)
        takes_targets = any(map(model.overrides, ("train_step", "test_step", "compute_loss")))
        hooks = any(map(model.overrides, ("get_metrics_result", "reset_metrics", "metrics")))
        return Inspection(
            stateful=[layer for layer in inside if layer.get_own_state()],
            several=None if takes_targets and not several else several,
            custom_loss=custom_loss,
            custom_logs=custom_logs,
            head=head,
            array_chain=[] if custom else array_chain(chain, model.loss, head),
            attribute_metrics=attribute_metrics,
            plain_logs=metrics.plain and not attribute_metrics and not hooks,
        )

    def flat_parameters(self) -> FlatParameters:
        """The trainable variables in flat arrays, laid out again if they are not the same or have been moved."""
        head, flat = self.inspection.head, self._flat
        if flat is None or flat.stale:
            variables = self._model.trainable_variables
            outside = [] if head is None else head.sparse_variables
            if flat is None or not flat.holds(variables, outside):
                flat = self._flat = FlatParameters(variables, outside)
            # Frozen ones too, which may be thawed.
            flat.depend_on(self._model.weights)
        return flat

    def train(self, batch: Batch) -> dict[str, float] | None:
        """One update of the weights. A failure or Ctrl-C during it leaves the model as it was.

        Returns:
            The logs that an overridden ``compute_metrics`` returned; None means those of the metrics.
        """
        optimizer = self._model.optimizer
        assert optimizer is not None
        self._check(batch, "train on")
        flat = self.flat_parameters()
        before = [(layer, layer.get_own_state()) for layer in self.inspection.stateful]
        try:
            chain = self.inspection.array_chain
            if chain and takes_batch(chain, batch):
                update, gradients = self._pass_on_arrays(batch, flat)
            else:
                flat, update, gradients = self._taped_pass(batch, flat)
        except BaseException:
            for layer, state in before:
                layer.set_own_state(state)
            raise
        with defer_sigint():
            if self.exchange is not None:
                # It adds up the metrics as well.
                logs = update()
                optimizer.apply_flat(flat, self.exchange(flat, gradients))
                return logs
            optimizer.apply_flat(flat, gradients)
            return update()

    def _taped_pass(self, batch: Batch, flat: FlatParameters) -> tuple[FlatParameters, Update, list[Gradient]]:
        """Forward and backward pass under a tape: the flat parameters, the update of the metrics, the gradients."""
        with GradientTape() as tape:
            loss, update = self._loss(batch, flat)
        # The call may have built layers.
        flat = self.flat_parameters()
        if flat.variables and not tape.follows([loss]):
            raise ValueError(
                "loss: expected a loss that depends on the weights, got one that does not; functions of NumPy "
                "leave the tape, those of seqcore.ops stay on it"
            )
        return flat, update, tape.gradients_into_buffers(loss, flat.variables, flat.buffers)

    def _pass_on_arrays(self, batch: Batch, flat: FlatParameters) -> tuple[Update, list[Gradient]]:
        """Forward and backward pass of built-in layers and a built-in loss, without a tape."""
        inspection, function = self.inspection, self._model.loss
        assert isinstance(function, FusedLoss)
        done = run_on_arrays(inspection.array_chain, function, inspection.head, batch, flat)

        def update() -> None:
            self._add_loss(function, batch, done.loss, done.y_pred)
            self.metrics.update(batch.y, done.y_pred, None)

        return done.update or update, done.gradients

    def _add_loss(self, function: Any, batch: Batch, loss: Any, y_pred: Any) -> None:
        """Add the loss of a batch to the running mean; ``function`` is a loss that may leave steps out."""
        weight = float(batch.size)
        if isinstance(function, losses.Loss):
            weight = loss_weight(function, batch.size, counted_steps(function, batch.y, y_pred))
        self.metrics.add_loss(float(loss), weight)

    def test(self, batch: Batch) -> dict[str, float] | None:
        """Loss and metrics of one batch; returns what :meth:`train` does."""
        self._check(batch, "test against")
        _, update = self._loss(batch, None)
        return update()

    def _check(self, batch: Batch, purpose: str) -> None:
        """Refuse a batch without targets, and build the model by a first one, without a trace in the states.

        Settings of a layer or loss mark nothing stale, so those that the fused head depends on are compared here.
        """
        model, head = self._model, self.inspection.head
        if head is not None and not head.holds():
            self.stale = True
        if batch.y is None and not model.overrides("compute_loss"):
            raise ValueError(f"y: expected targets to {purpose}, got None")
        if not model.built:
            with model.state_scope():
                model(batch.x)

    def _loss(self, batch: Batch, flat: FlatParameters | None) -> tuple[Tensor, Update]:
        """The loss of a batch, and the function that updates the metrics with it; with ``flat`` in training."""
        head, training = self.inspection.head, flat is not None
        if head is None:
            self._refuse_sampled(training)
            return self._eager_loss(batch, self._model(batch.x, training=training), training)
        with CallScope():
            hidden = call_in_order(head.before, batch.x, training)
            ids = head.class_ids(batch, hidden)
            if ids is None:
                self._refuse_sampled(training)
                y_pred = call_in_order([head.dense, *head.after], hidden, training)
                return self._eager_loss(batch, y_pred, training)
        return head.loss(batch, hidden, ids, training, flat)

    def _refuse_sampled(self, training: bool) -> None:
        """A sampled loss is never replaced by another one silently."""
        if training and isinstance(self._model.loss, losses.SampledLoss) and not self.inspection.custom_loss:
            raise ValueError(
                f"loss: expected for {type(self._model.loss).__name__} a model that ends in a Dense layer without "
                "activation, class ids as targets, no metrics but accuracy and perplexity, and no own compute_metrics"
            )

    def _eager_loss(self, batch: Batch, y_pred: Any, training: bool) -> tuple[Tensor, Update]:
        model, metrics, function, inspection = self._model, self.metrics, self._model.loss, self.inspection
        parts: dict[Any, Tensor] | None = None
        if inspection.custom_loss:
            loss = custom_loss(model.compute_loss, batch, y_pred, training)
        elif isinstance(function, losses.OutputLosses):
            assert isinstance(metrics, OutputMetrics)
            # Also those that only metrics need: nothing may fail after the update.
            metrics.targets(batch.y)
            parts = function.of_outputs(batch.y, y_pred, batch.weight)
            loss = function.total(parts)
        else:
            if not isinstance(y_pred, Tensor):
                got = type(y_pred).__name__
                raise TypeError(
                    f"model: expected call to return one Tensor to compare with y, got {got}; for several outputs pass "
                    "a loss for each, loss=[...] or {...}"
                )
            loss = model.compute_loss(None, batch.y, y_pred, batch.weight)

        def update() -> dict[str, float] | None:
            if parts is not None:
                assert isinstance(metrics, OutputMetrics)
                metrics.add_losses(parts, batch.y, y_pred, batch.size)
            else:
                self._add_loss(None if inspection.custom_loss else function, batch, loss, y_pred)
            if inspection.custom_logs:
                return custom_logs(model.compute_metrics, batch, y_pred)
            metrics.update(batch.y, y_pred, batch.weight)
            return None

        return loss, update
