"""The fused head: a last Dense layer and its cross-entropy as one operation that never holds all logits.

B: batch, T: time steps, V: classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import losses, ops
from ..autograd import Tensor, Variable, record, stop_recording, unchecked_tensor
from ..autograd.tape import Backward
from ..layers import Activation, Dense, Layer, Softmax
from ..metrics import Perplexity, SparseCategoricalAccuracy
from ..ops import flatten_like, flatten_steps, targets
from ..ops import sampled_losses as sampled
from ..ops.cross_entropy import linear_softmax_on_arrays
from ..optimizers.flat_parameters import FlatParameters
from ..typing import Array
from .batch import Batch
from .compiled_metrics import CompiledMetrics
from .loss_weight import class_ids_or_none, counted_steps, loss_weight


class _Counted(NamedTuple):
    """The targets of a batch, and what counts of them.

    Attributes:
        ids: (B, ...) class ids, those that do not count replaced by a class that exists.
        weights: (B, ...) factors of the per-sample losses in the loss.
        steps: (B, ...) bool, the steps that mask and lengths leave in; None for all.
        mask: ``steps`` without those of the ignored class.
        has_no_class: whether the ignored class does not exist.
        loss_weight: weight of the loss in its running mean.
    """

    ids: Array
    weights: Array
    steps: Array | None
    mask: Array | None
    has_no_class: bool
    loss_weight: float


class FusedHead:
    """The end of a model that runs as one operation with the loss, and the layers before it.

    Args:
        before: the layers before the last Dense layer.
        dense: that layer.
        after: the softmax layer after it, if there is one.
        loss: a sparse categorical cross-entropy over the same softmax, perhaps a sampled one.
        metrics: accuracies and perplexities, which follow from what the operation returns.
    """

    def __init__(
        self,
        before: list[Layer],
        dense: Dense,
        after: list[Layer],
        loss: losses.SparseCategoricalCrossentropy,
        metrics: CompiledMetrics,
    ) -> None:
        self.before, self.dense, self.after, self._loss, self._metrics = before, dense, after, loss, metrics
        self._settings = self._current_settings()

    def _current_settings(self) -> tuple[Any, ...]:
        softmax = self.after[0] if self.after else None
        loss = self._loss
        return (
            self.dense.activation,
            getattr(softmax, "activation", None),
            getattr(softmax, "axis", None),
            loss.from_logits,
            loss.reduction,
            loss.ignore_class,
            loss.axis,
        )

    def holds(self) -> bool:
        """False where an attribute has changed since, so that layer and loss may not be one operation any more."""
        return self._current_settings() == self._settings

    @property
    def sparse_variables(self) -> list[Variable]:
        """The variables of which a sampled loss touches few columns."""
        return self.dense.own_weights() if isinstance(self._loss, losses.SampledLoss) else []

    def class_ids(self, batch: Batch, hidden: Tensor) -> Array | None:
        """The targets as class ids, or None for a batch that needs the logits."""
        # The perplexity without sample weights does not follow from a loss that contains them.
        unweighted = (type(metric) is Perplexity for metric, weighted in self._metrics.metrics if not weighted)
        if batch.weight is not None and any(unweighted):
            return None
        return class_ids_or_none(batch.y, hidden.shape[:-1])

    def loss(
        self, batch: Batch, hidden: Tensor, ids: Array, training: bool, flat: FlatParameters | None
    ) -> tuple[Tensor, Callable[[], None]]:
        """The loss of a batch, and the function that updates the metrics with it.

        Args:
            batch: the data.
            hidden: (B, ..., D) output of the layers before.
            ids: (B, ...) class ids.
            training: a sampled loss is sampled only in training.
            flat: where the gradients of the layer are written to; None for new arrays.
        """
        loss, metrics = self._loss, self._metrics
        counted = self._count(batch, hidden, ids)
        trained: Tensor | None = None
        if training and isinstance(loss, losses.SampledLoss):
            trained = self._sampled_loss(loss, hidden, counted.ids, counted.weights)
            if not metrics.metrics:
                return trained, lambda: metrics.add_loss(float(trained), counted.loss_weight)
            # The metrics are those of the full softmax.
            with stop_recording():
                full, correct = self._linear_softmax(hidden, counted.ids, counted.weights, None)
        else:
            full, correct = self._linear_softmax(hidden, counted.ids, counted.weights, flat)
        value = full if trained is None else trained
        return value, partial(self._update, batch, counted, full, value, correct.numpy())

    def loss_on_array(
        self, batch: Batch, x: Array, ids: Array, flat: FlatParameters, need_dx: bool
    ) -> tuple[Array, Callable[[], None], Backward]:
        """:meth:`loss` in training, for a step without a tape: the backward function comes with it."""
        dense = self.dense
        counted = self._count(batch, unchecked_tensor(x), ids)
        checked = targets.class_ids(counted.ids, dense.units, ids.shape, name="targets")
        value, correct, backward = linear_softmax_on_arrays(
            x,
            dense.kernel,
            dense.bias,
            checked,
            counted.weights,
            True,
            need_dx,
            out=self._buffers(flat),
            mixed=dense.uses_bfloat16,
        )
        return value, partial(self._update, batch, counted, value, value, correct), backward

    def _count(self, batch: Batch, hidden: Tensor, ids: Array) -> _Counted:
        loss, units = self._loss, self.dense.units
        steps, mask = targets.mask_of(hidden, ids.shape), counted_steps(loss, ids, hidden)
        ignored = loss.ignore_class
        # The class at steps that do not count, where padding may be any number.
        filling = ignored if ignored is not None and 0 <= ignored < units else 0
        if mask is not None:
            ids = np.where(mask, ids, filling)
        # An accuracy counts the steps that the loss ignores: their class must reach the kernel, with weight 0.
        weights = targets.step_weights(loss.reduction, ids.shape, batch.weight, mask, hidden.dtype)
        has_no_class = ignored is not None and ignored != filling
        return _Counted(ids, weights, steps, mask, has_no_class, loss_weight(loss, batch.size, mask))

    def _update(self, batch: Batch, counted: _Counted, full: Any, trained: Any, correct: Array) -> None:
        """Update the metrics with one batch: its loss over all classes, the one of training, the right classes."""
        metrics, shape, mask = self._metrics, counted.ids.shape, counted.mask
        metrics.add_loss(float(trained), counted.loss_weight)
        for metric, weighted in metrics.metrics:
            sample_weight = batch.weight if weighted else None
            if isinstance(metric, SparseCategoricalAccuracy):
                # A class that does not exist is never the right one.
                right = correct & mask if counted.has_no_class else correct
                metric.update_values(right, _step_weights(counted.steps, sample_weight, shape))
            elif isinstance(metric, Perplexity):
                weights = _step_weights(mask, sample_weight, shape)
                size = counted.ids.size
                total = float(size if weights is None else weights.sum())
                divisors = {"mean": size if mask is None else int(np.count_nonzero(mask)), "sum": 1}
                summed = float(full) * float(divisors.get(self._loss.reduction, len(counted.ids)))
                metric.update_values(np.array([summed / total if total else 0.0]), np.array([total]))

    def _buffers(self, flat: FlatParameters) -> list[Array | None]:
        dense = self.dense
        return [flat.buffer(dense.kernel), None if dense.bias is None else flat.buffer(dense.bias)]

    def _linear_softmax(
        self, hidden: Tensor, ids: Array, weights: Array, flat: FlatParameters | None
    ) -> tuple[Tensor, Tensor]:
        """The loss over all classes, and whether each prediction was right."""
        dense = self.dense
        total, correct = ops.linear_softmax_cross_entropy(
            hidden,
            dense.kernel,
            dense.bias,
            ids,
            weights,
            reduction="sum",
            return_correct=True,
            out=None if flat is None else self._buffers(flat),
            mixed=dense.uses_bfloat16,
        )
        return total, correct

    def _sampled_loss(self, loss: losses.SampledLoss, hidden: Tensor, ids: Array, weights: Array) -> Tensor:
        """The scalar loss over sampled classes; gradients touch the columns of the kernel that were used."""
        dense, array = self.dense, hidden._array
        checked = targets.class_ids(ids, dense.units, ids.shape)
        flat, restore = flatten_steps(array)
        x = Tensor(flat)
        record((x,), (hidden,), lambda g: (restore(g),))
        return sampled.sampled_loss(
            loss.formula,
            dense.kernel,
            dense.bias,
            flatten_like(checked, array)[:, None],
            x,
            loss.num_sampled,
            dense.units,
            1,
            None,
            loss.remove_accidental_hits,
            None,
            by_columns=True,
            row_weights=flatten_like(weights, array),
        )


def find_fused_head(
    layers: Sequence[Layer], loss: losses.Loss | losses.OutputLosses | None, metrics: CompiledMetrics
) -> FusedHead | None:
    """The fused head of a model, or None if its end, the loss or a metric does not allow one.

    Args:
        layers: the layers of the model in order; none where it does more than to call them in order.
        loss: the loss of ``compile``.
        metrics: the metrics of ``compile``.
    """
    known = (losses.SparseCategoricalCrossentropy, losses.NCELoss, losses.SampledSoftmaxLoss)
    if type(loss) not in known or loss.axis != -1 or loss.reduction == "none":  # type: ignore[union-attr]
        return None
    assert isinstance(loss, losses.SparseCategoricalCrossentropy)
    for metric, _ in metrics.metrics:
        perplexity = type(metric) is Perplexity and metric.loss.ignore_class == loss.ignore_class
        if not perplexity and type(metric) is not SparseCategoricalAccuracy:
            return None
    before, after = list(layers), []
    if before and not loss.from_logits and _is_softmax(before[-1]):
        after = [before.pop()]
    dense = before.pop() if len(before) > 1 else None
    if not isinstance(dense, Dense) or type(dense) is not Dense:
        return None
    if dense.activation != ("linear" if loss.from_logits or after else "softmax"):
        return None
    # The fused operation computes in the type of the layer.
    if {loss.dtype, *(metric.dtype for metric, _ in metrics.metrics)} - {None, dense.dtype}:
        return None
    return FusedHead(before, dense, after, loss, metrics)


def _is_softmax(layer: Layer) -> bool:
    if type(layer) is Activation:
        return layer.activation == "softmax"
    return type(layer) is Softmax and layer.axis == -1


def _step_weights(mask: Array | None, weight: Array | None, shape: tuple[int, ...]) -> Array | None:
    """Weight of each step (shape) in a metric, or None for ones."""
    if weight is None:
        return mask
    full = np.broadcast_to(targets.expand_to("sample_weight", weight, shape), shape)
    return full if mask is None else full * mask
