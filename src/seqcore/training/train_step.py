"""One step of training or testing: the flat arenas of parameters and gradients, loss and metrics, fused or eager."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses, ops
from ..autograd.tape import GradientTape, record
from ..autograd.tensor import Gradient, Tensor, Variable, as_array
from ..layers import Activation, Dense, Softmax
from ..layers.base import Layer
from ..layers.calling import CallScope, call_in_order
from ..metrics import Mean, Metric, Perplexity, SparseCategoricalAccuracy
from ..ops import _targets
from ..ops import sampled_losses as sampled
from ..ops._broadcast import flatten_like, flatten_steps
from ..optimizers import Optimizer
from ..typing import Array
from .data_adapters import Batch

if TYPE_CHECKING:
    from .trainer import Trainable


# ---------------------------------------------------------------- arenas

_ALIGNMENT = 64


def _aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that start at a multiple of 64 bytes."""
    raw = np.zeros(size * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


class Arena:
    """Dense trainable variables in one flat array per type, their gradients in others of the same layout.

    Each variable starts at a multiple of 64 bytes; the gaps hold zeros in both arrays and stay so. Variables marked
    ``sparse`` (tables whose gradients touch few rows) stand beside the arena.

    >>> kernel, bias = Variable(np.ones((3, 2), np.float32)), Variable(np.zeros(2, np.float32))
    >>> arena = Arena([kernel, bias])
    >>> arena.parameters[0].shape, np.shares_memory(arena.parameters[0], kernel._array)
    ((32,), True)
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables = list(variables)
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []
        self._homes: dict[int, Array] = {}
        dense = [v for v in self.variables if not v.sparse]
        for kind in sorted({v.dtype for v in dense}, key=str):
            self._lay_out([v for v in dense if v.dtype == kind], kind)
        self._places = [v._array for v in self.variables]
        self.buffers: list[Array | None] = [self._homes.get(id(v)) for v in self.variables]
        self._beside = [(i, v) for i, v in enumerate(self.variables) if id(v) not in self._homes]

    def _lay_out(self, variables: list[Variable], kind: np.dtype[Any]) -> None:
        step = _ALIGNMENT // kind.itemsize
        starts = [0, *np.cumsum([-(-v.size // step) * step for v in variables]).tolist()]
        parameters, gradients = (_aligned_zeros(starts[-1], kind) for _ in range(2))
        for variable, start in zip(variables, starts):
            here = slice(start, start + variable.size)
            variable._move(parameters[here].reshape(variable.shape))
            self._homes[id(variable)] = gradients[here].reshape(variable.shape)
        self.parameters.append(parameters)
        self.gradients.append(gradients)

    def holds(self, variables: Sequence[Variable]) -> bool:
        """Whether the arena is still the home of exactly these variables; another model's arena may have taken one."""
        mine = self.variables
        return len(mine) == len(variables) and all(
            v is w and v._array is place for v, w, place in zip(mine, variables, self._places)
        )

    def home(self, variable: Variable) -> Array | None:
        """Where the gradient of ``variable`` is kept, or None if it has no place here."""
        return self._homes.get(id(variable))

    def apply(self, optimizer: Optimizer, gradients: Sequence[Gradient]) -> None:
        """One update; ``gradients`` in the order of ``variables``."""
        if optimizer._own_apply is not None:
            given = [Tensor(g) if isinstance(g, np.ndarray) else g for g in gradients]
            if optimizer._own_apply == "apply":
                optimizer.apply(given, self.variables)
            else:
                optimizer.apply_gradients(zip(given, self.variables))
            return
        optimizer.apply_arena(
            self.parameters, self.gradients, [(v, gradients[i]) for i, v in self._beside], self.variables
        )


# ---------------------------------------------------------------- one step


# Without the conversion to enums, which costs more than the switch itself.
_get_handler, _set_handler = inspect.unwrap(signal.getsignal), inspect.unwrap(signal.signal)


class uninterrupted:
    """Context that holds Ctrl-C back until its end, so that a model is never left half-updated."""

    def __enter__(self) -> uninterrupted:
        self._pending: tuple[int, FrameType | None] | None = None
        self._old: Any = None
        if threading.current_thread() is threading.main_thread():
            old = _get_handler(signal.SIGINT)
            if callable(old):
                self._old = old
                _set_handler(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending = (number, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._old is not None:
            _set_handler(signal.SIGINT, self._old)
            if self._pending is not None:
                self._old(*self._pending)


# ---------------------------------------------------------------- loss and metrics of an epoch


class Tracker:
    """Running mean of the loss, and the metrics.

    Args:
        metrics: pairs of a metric and whether it takes sample weights.

    The mean of the loss weighs each batch by its size; where a mask or lengths leave steps out of a mean, by the number
    of valid steps, so that the result does not depend on how the data were cut.
    """

    def __init__(self, metrics: Sequence[tuple[Metric, bool]] = ()) -> None:
        self.metrics = list(metrics)
        self.names: list[str] = []
        for metric, _ in self.metrics:
            name, count = metric.name, 1
            while name in self.names or name == "loss":
                name, count = f"{metric.name}_{count}", count + 1
            self.names.append(name)
        self.loss = Mean("loss")
        # Whether the results are Python numbers.
        self.plain = all(_is_built_in(metric) for metric, _ in self.metrics)

    @property
    def all(self) -> list[Metric]:
        """The running mean of the loss, then the metrics."""
        return [self.loss, *(metric for metric, _ in self.metrics)]

    def reset(self) -> None:
        self.loss.total = self.loss.count = 0.0
        for metric, _ in self.metrics:
            metric.reset_state()

    def add_loss(self, loss: float, weight: float) -> None:
        self.loss.total, self.loss.count = self.loss.total + loss * weight, self.loss.count + weight

    def update(self, y: Any, y_pred: Any, weight: Any) -> None:
        """Takes one batch into the metrics; those of the user get targets and predictions of one rank."""
        for metric, weighted in self.metrics:
            pair = (y, y_pred) if self.plain or _is_built_in(metric) else _pair(y, y_pred)
            # As in Keras, a metric that is not weighted may have no argument for weights.
            metric.update_state(*pair, **({"sample_weight": weight} if weighted else {}))

    def logs(self) -> dict[str, float]:
        """{"loss": ..., metric: ...}"""
        loss = self.loss
        logs = {"loss": loss.total / loss.count if loss.count else 0.0}
        logs.update((name, metric.result()) for name, (metric, _) in zip(self.names, self.metrics))
        return logs


def _is_built_in(metric: Metric) -> bool:
    return type(metric).__module__.startswith("seqcore.")


def _pair(y: Any, y_pred: Any) -> tuple[Any, Any]:
    """:func:`_targets.same_rank` with the mask or lengths of ``y_pred`` on what comes out."""
    targets, outputs = _targets.same_rank(y, y_pred)
    if outputs is not y_pred and isinstance(outputs, Tensor):
        outputs.mask, outputs.lengths = y_pred.mask, y_pred.lengths
    return targets, outputs


def as_logs(hook: str, logs: Any) -> dict[str, float]:
    """What a hook returned as names and Python numbers; a dict in it is laid out flat, as in Keras.

    Raises:
        TypeError: for anything but a dict of numbers.
    """
    if not isinstance(logs, Mapping):
        raise TypeError(f"{hook}: expected a dict of logs, got {type(logs).__name__}")
    numbers: dict[str, float] = {}
    for name, value in logs.items():
        if type(value) is float:
            numbers[name] = value
        elif isinstance(value, Mapping):
            numbers |= as_logs(hook, value)
        else:
            array = as_array(value, name=hook)
            if array.size != 1:
                raise TypeError(f"{hook}: expected a number for {name!r}, got shape {array.shape}")
            numbers[str(name)] = float(array.item())
    return numbers


def _counted(loss: losses.Loss, y: Any, y_pred: Tensor) -> Array | None:
    """Which single losses count: those that neither a mask nor lengths nor the loss itself leave out; None for all."""
    shape = y_pred.shape[:-1]
    mask = None if y_pred.mask is None and y_pred.lengths is None else _targets.mask_of(y_pred, shape)
    ignored = getattr(loss, "ignore_class", None)
    ids = None if ignored is None else _plain_targets(y, shape)
    if ids is None:
        return mask
    counted: Array = ids != ignored
    return counted if mask is None else mask & counted


def _loss_weight(loss: losses.Loss, batch: Batch, mask: Array | None) -> float:
    return float(np.count_nonzero(mask)) if mask is not None and loss.reduction == "mean" else float(batch.size)


# ---------------------------------------------------------------- one step


def fused_tail(model: Trainable) -> tuple[list[Layer], Dense, list[Layer]] | None:
    """Layers before the last Dense, that layer, and the softmax after it, if they and the loss can be one operation."""
    loss = model.loss
    known = (losses.SparseCategoricalCrossentropy, losses.NCELoss, losses.SampledSoftmaxLoss)
    if model._overrides("compute_loss") or model._overrides("compute_metrics"):
        return None
    if type(loss) not in known or loss.axis != -1 or loss.reduction == "none":  # type: ignore[union-attr]
        return None
    assert isinstance(loss, losses.SparseCategoricalCrossentropy)
    for metric, _ in model._tracker.metrics:
        if type(metric) is not SparseCategoricalAccuracy and not _same_entropy(metric, loss):
            return None
    layers = model._chain()
    after: list[Layer] = []
    if layers and not loss.from_logits and _is_softmax(layers[-1]):
        after = [layers.pop()]
    dense = layers.pop() if len(layers) > 1 else None
    if not isinstance(dense, Dense) or type(dense) is not Dense:
        return None
    if dense.activation != ("linear" if loss.from_logits or after else "softmax"):
        return None
    # The fused operation computes in the type of the layer.
    if {loss.dtype, *(metric.dtype for metric, _ in model._tracker.metrics)} - {None, dense.dtype}:
        return None
    return layers, dense, after


def _same_entropy(metric: Metric, loss: losses.SparseCategoricalCrossentropy) -> bool:
    """Whether ``metric`` is the perplexity that belongs to ``loss``."""
    return type(metric) is Perplexity and metric.loss.get_config()["ignore_class"] == loss.ignore_class


def _is_softmax(layer: Layer) -> bool:
    if type(layer) is Activation:
        return layer.activation == "softmax"
    return type(layer) is Softmax and layer.axis == -1


def _plain_targets(y: Any, shape: tuple[int, ...]) -> Array | None:
    """Class ids of ``shape``, or None where ``y`` is something else, which the loss then explains."""
    ids = as_array(y)
    if ids.ndim == len(shape) + 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    return ids if ids.shape == shape and ids.dtype.kind in "iuf" else None


def _count(layers: Sequence[Layer]) -> int:
    """Number of weights that the layers have made so far."""
    return sum([len(layer._own) for layer in layers])


class _Structure:
    """Notes changes to the structure of any model, after which nothing noted about one may be relied on.

    ``changes`` is another object after each: threads that change models at the same time cannot undo each other's note.
    """

    changes = object()


structure = _Structure()


# Enters one batch into the metrics, and returns the logs of an overridden ``compute_metrics``.
Update = Callable[[], "dict[str, float] | None"]


class Step:
    """One step of training or testing of a compiled model: the fused or the eager way, and the arena.

    Args:
        model: a compiled model.

    The fused way: where the model ends in a Dense layer under a sparse categorical cross-entropy that means the same
    softmax, and no metric asks for predictions, that layer and the loss are one operation that never holds all logits.
    """

    def __init__(self, model: Trainable) -> None:
        self._model = model
        self._arena: Arena | None = None
        self._tail: tuple[list[Layer], Dense, list[Layer]] | None = None
        # What was noted when arena and tail were prepared, and must still be so.
        self._own_loss = self._own_metrics = False
        self._arena_changes: object = None
        self._tail_changes: object = None
        self._watched: list[tuple[Variable, bool]] = []
        self._inside: list[Layer] = []
        self._unbuilt: list[Layer] = []
        self._stateful: list[Layer] = []
        self._weight_count = 0

    def arena(self, thorough: bool = False) -> Arena:
        """The arena, laid out anew if variables came, went, were frozen or thawed, or moved into another model's.

        Args:
            thorough: look at the whole model instead of what was noted last time.
        """
        arena = self._arena
        if arena is not None and not thorough and self._is_current(arena):
            return arena
        self._arena_changes = structure.changes
        self._place_beside()
        variables = self._model.trainable_variables
        if arena is None or not arena.holds(variables):
            arena = self._arena = Arena(variables)
        inside = self._model.layers_inside()
        self._inside, self._weight_count = inside, _count(inside)
        self._watched = [(v, v.trainable) for v in self._model.weights]
        self._unbuilt = [layer for layer in inside if not layer.built]
        self._stateful = [layer for layer in inside if layer._get_own_state()]
        return arena

    def _place_beside(self) -> None:
        """Weights of which a sampled loss touches few columns stand beside the arena."""
        tail = fused_tail(self._model) if isinstance(self._model.loss, losses.SampledLoss) else None
        for layer in self._model.layers_inside():
            if type(layer) is Dense and layer.built:
                for variable in (layer.kernel, layer.bias):
                    if variable is not None:
                        variable.sparse = tail is not None and layer is tail[1]

    def _is_current(self, arena: Arena) -> bool:
        return (
            self._arena_changes == structure.changes
            and arena.holds(arena.variables)
            and all(variable.trainable is trainable for variable, trainable in self._watched)
            and not any(layer.built for layer in self._unbuilt)
            and _count(self._inside) == self._weight_count
        )

    def train(self, batch: Batch) -> dict[str, float] | None:
        """One update of the weights. A failure or Ctrl-C on the way leaves the model as it was.

        Returns:
            The logs that an overridden ``compute_metrics`` returned; None means those of the metrics.
        """
        model, optimizer = self._model, self._model.optimizer
        assert optimizer is not None
        if batch.y is None and not model._overrides("compute_loss"):
            raise ValueError("y: expected targets to train on, got None")
        if not model.built:
            model._build_for(batch.x)
        arena = self.arena()
        before = [(layer, layer._get_own_state()) for layer in self._stateful]
        try:
            with GradientTape() as tape:
                loss, update = self._loss(batch, True, arena)
            if any(layer.built for layer in self._unbuilt):
                arena = self.arena()
            if id(loss) not in tape._tracked and arena.variables and type(loss) is not Variable:
                raise ValueError(
                    "loss: expected a loss that depends on the weights, got one that does not; functions of NumPy "
                    "leave the tape, those of seqcore.ops stay on it"
                )
            gradients = tape.gradients_into_buffers(loss, arena.variables, arena.buffers)
        except BaseException:
            for layer, state in before:
                layer._set_own_state(state)
            raise
        with uninterrupted():
            arena.apply(optimizer, gradients)
            return update()

    def test(self, batch: Batch) -> dict[str, float] | None:
        """Loss and metrics of one batch; returns what :meth:`train` does."""
        if batch.y is None and not self._model._overrides("compute_loss"):
            raise ValueError("y: expected targets to test against, got None")
        if not self._model.built:
            self._model._build_for(batch.x)
        _, update = self._loss(batch, False, None)
        return update()

    def _loss(self, batch: Batch, training: bool, arena: Arena | None) -> tuple[Tensor, Update]:
        """The loss of a batch, and what enters it into the metrics."""
        if self._tail_changes != structure.changes:
            self._tail, self._tail_changes = fused_tail(self._model), structure.changes
            self._own_loss = self._model._overrides("compute_loss")
            self._own_metrics = self._model._overrides("compute_metrics")
        if self._tail is None:
            self._refuse_sampled(training)
            return self._eager(batch, self._model(batch.x, training=training), training)
        layers, dense, after = self._tail
        with CallScope():
            hidden = call_in_order(layers, batch.x, training)
            targets = _plain_targets(batch.y, hidden.shape[:-1])
            if targets is None or not self._metrics_can_follow(batch):
                self._refuse_sampled(training)
                return self._eager(batch, call_in_order([dense, *after], hidden, training), training)
        return self._fused(batch, hidden, dense, targets, arena, training)

    def _refuse_sampled(self, training: bool) -> None:
        """A sampled loss is never replaced by another one silently."""
        if training and isinstance(self._model.loss, losses.SampledLoss) and not self._own_loss:
            raise ValueError(
                f"loss: expected for {type(self._model.loss).__name__} a model that ends in a Dense layer without "
                "activation, class ids as targets, no metrics but accuracy and perplexity, and no own compute_metrics"
            )

    def _metrics_can_follow(self, batch: Batch) -> bool:
        """Perplexity without sample weights cannot be had from a loss that contains them."""
        metrics = self._model._tracker.metrics
        return batch.weight is None or all(weighted or type(metric) is not Perplexity for metric, weighted in metrics)

    def _eager(self, batch: Batch, y_pred: Any, training: bool) -> tuple[Tensor, Update]:
        model, tracker, function = self._model, self._model._tracker, self._model.loss
        if self._own_loss:
            loss = model._own_loss(batch, y_pred, training)
        else:
            if not isinstance(y_pred, Tensor):
                got = type(y_pred).__name__
                raise TypeError(f"model: expected call to return one Tensor to compare with y, got {got}")
            loss = model.compute_loss(None, batch.y, y_pred, batch.weight)

        def update() -> dict[str, float] | None:
            if self._own_loss or function is None:
                weight = float(batch.size)
            else:
                weight = _loss_weight(function, batch, _counted(function, batch.y, y_pred))
            tracker.add_loss(float(loss), weight)
            if self._own_metrics:
                return model._own_logs(batch, y_pred)
            tracker.update(batch.y, y_pred, batch.weight)
            return None

        return loss, update

    def _fused(
        self, batch: Batch, hidden: Tensor, dense: Dense, targets: Array, arena: Arena | None, training: bool
    ) -> tuple[Tensor, Update]:
        tracker, function = self._model._tracker, self._model.loss
        assert isinstance(function, losses.SparseCategoricalCrossentropy)
        sampled = function if training and isinstance(function, losses.SampledLoss) else None
        steps = mask = _targets.mask_of(hidden, targets.shape)
        ignored = function.ignore_class
        # The class at steps that do not count, where padding may be any number.
        filling = ignored if ignored is not None and 0 <= ignored < dense.units else 0
        if ignored is not None:
            mask = _counted(function, targets, hidden)
        if mask is not None:
            targets = np.where(mask, targets, filling)
        sampled_loss = _sampled_loss(sampled, hidden, dense, targets, batch.weight, mask) if sampled else None
        if sampled_loss is not None and not tracker.metrics:
            return sampled_loss, lambda: tracker.add_loss(float(sampled_loss), _loss_weight(function, batch, mask))
        out = None
        if arena is not None and sampled_loss is None:
            out = [arena.home(dense.kernel), None if dense.bias is None else arena.home(dense.bias)]
            if out[0] is None or (dense.bias is not None and out[1] is None):
                out = None
        # The metrics of a sampled loss are those of the full softmax, without gradients.
        values = (lambda t: t) if sampled_loss is None else _without_tape
        weighting = (batch.weight, mask, function.reduction)
        if ignored is not None:
            # An accuracy counts the steps that the loss ignores: their class must reach the kernel, with weight 0.
            weights = _targets.step_weights(function.reduction, targets.shape, batch.weight, mask, hidden.dtype)
            weighting = (weights, None, "sum")
        loss, correct = ops.linear_softmax_cross_entropy(
            values(hidden),
            values(dense.kernel),
            values(dense.bias),
            targets,
            *weighting,
            return_correct=True,
            out=out,
            mixed=dense._mixed,
        )

        def update() -> None:
            value = float(loss)
            trained = value if sampled_loss is None else float(sampled_loss)
            tracker.add_loss(trained, _loss_weight(function, batch, mask))
            for metric, weighted in tracker.metrics:
                sample_weight = batch.weight if weighted else None
                if isinstance(metric, SparseCategoricalAccuracy):
                    right = correct.numpy()
                    if ignored is not None and ignored != filling:
                        # A class that does not exist is never the right one.
                        right = right & mask
                    metric.update_values(right, _fused_weight(steps, sample_weight, targets.shape))
                elif isinstance(metric, Perplexity):
                    weight = _fused_weight(mask, sample_weight, targets.shape)
                    total = float(targets.size if weight is None else weight.sum())
                    divisors = {"mean": targets.size if mask is None else np.count_nonzero(mask), "sum": 1}
                    summed = value * float(divisors.get(function.reduction, len(targets)))
                    metric.update_values(np.array([summed / total if total else 0.0]), np.array([total]))

        return loss if sampled_loss is None else sampled_loss, update


def _without_tape(tensor: Tensor | None) -> Tensor | None:
    """The values of ``tensor`` alone."""
    if tensor is None:
        return None
    plain = Tensor(tensor._array)
    plain.mask, plain.lengths = tensor.mask, tensor.lengths
    return plain


def _sampled_loss(
    function: losses.SampledLoss, hidden: Tensor, dense: Dense, targets: Array, weight: Any, mask: Array | None
) -> Tensor:
    """The scalar loss over sampled classes; gradients touch the columns of the kernel that were used."""
    array = hidden._array
    weights = _targets.step_weights(function.reduction, targets.shape, weight, mask, hidden.dtype)
    ids = _targets.class_ids(targets, dense.units, targets.shape, mask)
    flat, restore = flatten_steps(array)
    x = Tensor(flat)
    record((x,), (hidden,), lambda g: (restore(g),))
    return sampled.rows_loss(
        sampled.NCE if function.formula == "nce" else sampled.SAMPLED_SOFTMAX,
        x,
        dense.kernel,
        dense.bias,
        flatten_like(ids, array)[:, None],
        function.num_sampled,
        1,
        None,
        function.remove_accidental_hits,
        None,
        by_columns=True,
        row_weights=flatten_like(weights, array),
    )


def _fused_weight(mask: Array | None, weight: Array | None, shape: tuple[int, ...]) -> Array | None:
    """Weight of each step (shape) in a metric, or None for ones."""
    if weight is None:
        return mask
    full = np.broadcast_to(_targets.expand_to("sample_weight", weight, shape), shape)
    return full if mask is None else full * mask
