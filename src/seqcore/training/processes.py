"""Processes of a fit: one by itself, or several that share each batch.

B: rows of a batch. A part: the rows of one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..autograd import IndexedSlices, Variable
from ..autograd.tensor import Gradient, slice_view
from ..callbacks import Callback, CallbackList
from ..distributed import Ranks, Refused, digest, installation
from ..layers.base import Layer
from ..losses import Loss, OutputLosses
from ..metrics import Metric
from ..metrics.metric import WeightedMean
from ..optimizers.flat_parameters import FlatParameters
from ..typing import Array
from .batch import Batch, batch_arrays, cut_batch
from .data_adapters import DataAdapter

Run = Callable[[Batch], "dict[str, float] | None"]


class OneProcess:
    """The process of a fit that is not distributed."""

    is_main = True

    def any(self, value: bool) -> bool:
        """True if a process says so."""
        return value

    def broadcast(self, value: Any) -> Any:
        """The value of the main process."""
        return value

    @contextmanager
    def file(self, path: str) -> Iterator[str]:
        """Context with a path at which this process finds the main process's file ``path``."""
        yield path

    @contextmanager
    def whole_states(self) -> Iterator[None]:
        """Context in which layers carry the states of all rows of a batch."""
        yield

    def begin(self, data: DataAdapter, validation: DataAdapter | None, callbacks: CallbackList, epochs: range) -> None:
        """Called before the first batch."""

    def end(self) -> None:
        """Called after the last batch."""

    def runner(self, run: Run, trains: bool) -> Run:
        """The function for one batch, from that for a part of it."""
        return run


class DataParallel(OneProcess):
    """Processes that each take their rows of every batch, and one sum of the gradients per step.

    Args:
        ranks: the processes.
        model: a compiled model.

    Within a fit stateful layers carry the states of this process's rows; before and after it, and in checkpoints, those
    of all rows. A process without rows, where a batch has fewer than there are processes, computes the first row, so
    that it draws the same random numbers, and counts it as nothing.
    """

    def __init__(self, ranks: Ranks, model: Any) -> None:
        self._ranks, self._model, self.is_main = ranks, model, ranks.is_main
        self._started = False
        # The rows of the last batch that was trained on.
        self._rows: random.Rows | None = None
        # True where layers carry the states of all rows.
        self._carries_whole = True
        # True for data that are not known, and compared, before the first batch.
        self._compares_batches = False
        for hook in ("train_step", "test_step", "compute_metrics", "get_metrics_result", "reset_metrics", "metrics"):
            if model.overrides(hook):
                raise ValueError(f"distribute: expected a model without its own {hook}, got {type(model).__name__}")
        if isinstance(model.loss, OutputLosses):
            raise ValueError("distribute: expected a model with one loss, got a loss for each of several outputs")
        for metric in model.metrics:
            if not isinstance(metric, WeightedMean):
                raise ValueError(f"distribute: expected metrics that are means (WeightedMean), got {metric.name!r}")

    def any(self, value: bool) -> bool:
        return self._ranks.any(value)

    def broadcast(self, value: Any) -> Any:
        return self._ranks.broadcast(value)

    # ------------------------------------------------------------ begin and end

    def begin(self, data: DataAdapter, validation: DataAdapter | None, callbacks: CallbackList, epochs: range) -> None:
        model = self._model
        described = [None if adapter is None else adapter.describe() for adapter in (data, validation)]
        self._compares_batches = "" in described
        self._ranks.refuse_differences(
            {
                **installation(),
                "kinds of layers": " ".join(type(layer).__name__ for layer in model.layers_inside()),
                "optimizer": _description(model.optimizer),
                "loss": _description(model.loss),
                "metrics": " ".join(map(_description, model.metrics)),
                "epochs": str(epochs),
                "callbacks of seqcore": " ".join(type(c).__name__ for c in callbacks if _is_shared(c)),
                "steps per epoch": data.steps,
                "data": described[0],
                "validation data": described[1],
            }
        )
        random.set_state(self.broadcast(random.get_state()))

    def _start(self, batch: Batch) -> None:
        """Take the weights and states of the main process, once the model is built."""
        model = self._model
        if not model.built:
            with model.state_scope():
                model(batch.x)
        model.prepare_training()
        weights: list[Variable] = model.weights
        self._ranks.refuse_differences({"weights": " ".join(f"{v.shape} {v.dtype}" for v in weights)})
        optimizer, states, values = self.broadcast(
            (model.optimizer.get_state(), model.get_layer_state(), [v._array for v in weights])
        )
        if not self.is_main:
            model.optimizer.set_state(optimizer)
            model.set_layer_state(states)
            for variable, value in zip(weights, values, strict=True):
                variable.assign(value)
        self._started = True

    def end(self) -> None:
        if self._rows is not None and not self._carries_whole:
            self._put_states(self._gathered_states())
            self._carries_whole = True

    @contextmanager
    def file(self, path: str) -> Iterator[str]:
        content = None
        if self.is_main:
            with open(path, "rb") as file:
                content = file.read()
        content = self.broadcast(content)
        # What is loaded from it may be the states of all rows.
        self._carries_whole = True
        if self.is_main:
            yield path
            return
        # Too slow to import with the package.
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, os.path.basename(path))
            with open(copy, "wb") as file:
                file.write(content)
            yield copy

    # ------------------------------------------------------------ carried states

    def _carrying(self) -> list[tuple[Layer, dict[str, Any]]]:
        """Layers that carry a state, and their own state."""
        states = [(layer, layer.get_own_state()) for layer in self._model.layers_inside()]
        return [(layer, own) for layer, own in states if isinstance(own.get("state"), list)]

    def _cut_states(self, rows: random.Rows) -> None:
        """Let the layers carry the states of these rows instead of all."""
        part = _part(rows)
        for layer, own in self._carrying():
            if len(own["state"][0]) == rows.whole:
                layer.set_own_state({**own, "state": [array[part] for array in own["state"]]})
        self._carries_whole = False

    def _gathered_states(self) -> list[list[Array]]:
        """The states of all rows, of each layer that carries some."""
        assert self._rows is not None
        size = self._rows.size
        own = [[array[:size] for array in own["state"]] for _, own in self._carrying()]
        everyone = self._ranks.gather_objects(own)
        return [[np.concatenate(parts) for parts in zip(*layer)] for layer in zip(*everyone)]

    def _put_states(self, states: list[list[Array]]) -> None:
        for (layer, own), arrays in zip(self._carrying(), states, strict=True):
            layer.set_own_state({**own, "state": arrays})

    @contextmanager
    def whole_states(self) -> Iterator[None]:
        if self._rows is None or self._carries_whole:
            yield
            return
        before = [own["state"] for _, own in self._carrying()]
        self._put_states(self._gathered_states())
        try:
            yield
        finally:
            self._put_states(before)

    # ------------------------------------------------------------ one batch

    def runner(self, run: Run, trains: bool) -> Run:
        def train(batch: Batch) -> None:
            if not self._started:
                self._start(batch)
            rows = self._rows = self._ranks.rows(batch.size)
            if self._carries_whole:
                self._cut_states(rows)
            step = self._model.require_compiled("train_step")
            with self._sums(batch, rows) as add:
                step.exchange = lambda flat, gradients: self._sum_gradients(flat, gradients, add())
                try:
                    run(cut_batch(batch, _part(rows)))
                finally:
                    step.exchange = None

        def test(batch: Batch) -> None:
            rows, before = self._ranks.rows(batch.size), random.get_rows()
            with self._sums(batch, rows) as add:
                run(cut_batch(batch, _part(rows)))
                add()
            random.set_rows(before)

        return train if trains else test

    @contextmanager
    def _sums(self, batch: Batch, rows: random.Rows) -> Iterator[Callable[[], float]]:
        """Context of the step on a part of a batch, with the function that adds the sums of all parts to the metrics.

        It returns the share of the part in the loss of the batch. The rows stay set: callbacks may draw noise for them.
        """
        metrics: list[Metric] = self._model.metrics
        means = [metric for metric in metrics if isinstance(metric, WeightedMean)]
        before = [(mean.total, mean.count) for mean in means]
        for mean in means:
            mean.total = mean.count = 0.0
        # A process without rows computes the first one.
        random.set_rows(rows if rows.size else random.Rows(0, 1, rows.whole))
        yield lambda: self._add_sums(batch, rows, means, before)

    def _add_sums(
        self, batch: Batch, rows: random.Rows, means: list[WeightedMean], before: list[tuple[float, float]]
    ) -> float:
        own = [number for mean in means for number in (mean.total, mean.count)]
        checks = [_checksum(*batch_arrays(batch)) if self._compares_batches else 0.0, _random_checksum()]
        everyone = self._ranks.gather(np.array([*checks, float(rows.size), *own]))
        for rank, theirs in enumerate(everyone[:, :2].tolist()):
            for name, expected, got in zip(("batch", "state of the random generator"), everyone[0].tolist(), theirs):
                if expected != got:
                    raise Refused(f"distribute: expected the same {name} in all processes, got another in rank {rank}")
        parts = everyone[everyone[:, 2] > 0, 3:]
        totals, weights = parts[:, 0], parts[:, 1]
        weight = _in_order(weights)
        loss: Loss | None = self._model.loss
        added = loss is not None and loss.reduction == "sum" and not self._model.overrides("compute_loss")
        for number, (mean, (total, count)) in enumerate(zip(means, before)):
            mean.total = total + _in_order(parts[:, 2 * number])
            mean.count = count + _in_order(parts[:, 2 * number + 1])
        if added:
            # The losses of the parts add up, and the sum counts once for each row of the batch.
            losses = np.divide(totals, weights, out=np.zeros_like(totals), where=weights != 0)
            means[0].total = before[0][0] + _in_order(losses) * weight
        if not rows.size or not weight:
            return 0.0
        return 1.0 if added else own[1] / weight

    # ------------------------------------------------------------ gradients

    def _sum_gradients(self, flat: FlatParameters, gradients: list[Gradient], share: float) -> list[Gradient]:
        """The gradients of the whole batch from those of the parts, in the same buffers."""
        for array in flat.gradients:
            _scale(array, share)
            self._ranks.sum(array)
        outside = [number for number, buffer in enumerate(flat.buffers) if buffer is None]
        if not outside:
            return gradients
        slices = self._sum_slices([flat.variables[n] for n in outside], [gradients[n] for n in outside], share)
        result = list(gradients)
        for number, gradient in zip(outside, slices, strict=True):
            result[number] = gradient
        return result

    def _sum_slices(
        self, variables: list[Variable], gradients: list[Gradient], share: float
    ) -> list[IndexedSlices | None]:
        """The sums of gradients that touch few rows, of which only the rows that a process touches are sent."""
        parts = [_as_slices(gradient) for gradient in gradients]
        own = np.array([[-1, 0] if part is None else [part.axis, len(part.indices)] for part in parts], np.int64)
        everyone = self._ranks.gather(own)
        counts = everyone[:, :, 1]
        touched = np.concatenate([np.zeros(0, np.int64), *(part.indices for part in parts if part is not None)])
        indices = [
            np.split(array, np.cumsum(n)[:-1])
            for array, n in zip(self._ranks.gather_varying(touched, counts.sum(axis=1)), counts)
        ]
        sums: list[IndexedSlices | None] = []
        tables: dict[np.dtype[Any], list[Array]] = {}
        for number, (variable, part) in enumerate(zip(variables, parts)):
            axes = set(everyone[:, number, 0].tolist()) - {-1}
            if not axes:
                sums.append(None)
                continue
            if len(axes) > 1:
                raise Refused(f"distribute: expected rows of {variable.name!r} or columns in all processes, got both")
            axis = axes.pop()
            rows = np.unique(np.concatenate([array[number] for array in indices]))
            table = np.zeros((len(rows), *slice_view(variable._array, axis).shape[1:]), variable.dtype)
            if part is not None:
                table[np.searchsorted(rows, part.indices)] = part.values
            tables.setdefault(variable.dtype, []).append(table)
            sums.append(IndexedSlices.from_sorted(table, rows, variable.shape, axis))
        for group in tables.values():
            joined = np.concatenate([table.reshape(-1) for table in group])
            _scale(joined, share)
            self._ranks.sum(joined)
            for table, values in zip(group, np.split(joined, np.cumsum([table.size for table in group])[:-1])):
                table[...] = values.reshape(table.shape)
        return sums


def _part(rows: random.Rows) -> slice:
    """The rows that are computed: the first one where there are none."""
    return slice(rows.first, rows.first + rows.size) if rows.size else slice(0, 1)


def _in_order(values: Array) -> float:
    """The sum, added in the order of the ranks."""
    return float(sum(values.tolist()))


def _scale(array: Array, share: float) -> None:
    """Multiply by the share; what does not count may be NaN."""
    if not share:
        array[...] = 0
    elif share != 1.0:
        array *= array.dtype.type(share)


def _as_slices(gradient: Gradient) -> IndexedSlices | None:
    """The slices of a gradient with ascending indices; a dense one touches all rows."""
    if gradient is None or isinstance(gradient, IndexedSlices):
        return None if gradient is None else gradient.unique()
    return IndexedSlices.from_sorted(gradient, np.arange(len(gradient)), gradient.shape)


def _checksum(*arrays: Array | None) -> float:
    """A whole number that differs where the arrays do."""
    return float(int(digest(*arrays)[:12], 16))


def _random_checksum() -> float:
    """A number that differs where the global random generator does."""
    state = random.generator().bit_generator.state
    return _checksum(state["state"]["counter"], np.array(state["buffer_pos"]))


def _is_shared(callback: Callback) -> bool:
    """True for a callback that all processes must have, since it changes the training or talks to the others."""
    return type(callback).__module__.startswith("seqcore.") and not callback.main_only


def _description(part: Any) -> str:
    """Class and configuration of an optimizer, a loss or a metric, as far as it can be written down."""
    try:
        return f"{type(part).__name__} {part.get_config()}"
    except (AttributeError, TypeError, ValueError):
        return type(part).__name__
