"""Optimizer: learning rate, clipping, slots, dense and sparse updates of variables and of flat parameters."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._core.optimizer import is_sorted_unique, sum_squares
from .._registry import Registry
from .._validation import MAX_INT64, at_least, default_only, integer, real, short_repr
from ..autograd.tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, slice_view
from ..ops.clipping import clip_scale, finite_clip_scale
from ..typing import Array, Arrays
from . import schedules
from .flat_parameters import FlatParameters
from .schedules import LearningRateSchedule

Item = TypeVar("Item")
Rate = float | LearningRateSchedule | Callable[[], float] | dict[str, Any]


class DenseUpdate(NamedTuple):
    """One array to update: parameters, their gradient, the optimizer's slots of the same shape."""

    param: Array
    gradient: Array
    slots: Arrays


class SparseUpdate(NamedTuple):
    """A table of which only some rows (or columns) are updated."""

    param: Array
    gradient: IndexedSlices
    slots: Arrays


class Optimizer:
    """Base of the optimizers; holds the learning rate, the clipping and the slots of each variable.

    Args:
        learning_rate: a number >= 0, a schedule called with the number of updates so far, or a function without
            arguments.
        weight_decay: before an update each of its variables shrinks by the factor ``1 - weight_decay * learning_rate``.
        clipnorm: the gradient of each variable is scaled to at most this norm.
        clipvalue: every element of a gradient is clipped to +-clipvalue.
        global_clipnorm: all gradients together are scaled to at most this norm; repeated rows of an ``IndexedSlices``
            are summed first. As in Keras a norm that is not finite makes every gradient NaN: all dense variables and
            the touched rows become NaN, so that the failure is visible in all of them.
        use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps: accepted
            only at Keras's defaults.
        name: name in configurations.

    At most one of the three clips may be given. A gradient that is an ``IndexedSlices`` is used densely, as Keras does,
    unless the optimizer says otherwise (``lazy``).
    """

    # Arguments of a subclass that belong to its configuration; each is an attribute.
    _config_names: tuple[str, ...] = ()
    # True where an IndexedSlices updates only the rows that it touches.
    _updates_sparse_rows = False
    # The method of a subclass that training must call with gradients and variables instead of a flat update.
    _custom_apply: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_step" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__}.update_step: expected no override, since nothing calls it; use apply_gradients"
            )
        names = ("apply_gradients", "apply")
        cls._custom_apply = next((name for name in names if getattr(cls, name) is not getattr(Optimizer, name)), None)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        averages = "no moving averages of the weights are kept"
        default_only("use_ema", use_ema, False, averages)
        default_only("ema_momentum", ema_momentum, 0.99, averages)
        default_only("ema_overwrite_frequency", ema_overwrite_frequency, None, averages)
        default_only("loss_scale_factor", loss_scale_factor, None, "float32, float64 and bfloat16 need no scaled loss")
        default_only("gradient_accumulation_steps", gradient_accumulation_steps, None, "each call updates the weights")
        self.weight_decay = None if weight_decay is None else real("weight_decay", weight_decay, 0.0)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"{', '.join(given)}: expected at most one kind of clipping, got {len(given)}")
        for key, value in given.items():
            if real(key, value, 0.0) == 0.0:
                raise ValueError(f"{key}: expected a number > 0, got {value!r}")
        self.clipnorm, self.clipvalue, self.global_clipnorm = (None if c is None else float(c) for c in clips.values())
        self.name = name or type(self).__name__.lower()
        self._rate: float | LearningRateSchedule | Callable[[], float] = self._checked_rate(learning_rate)
        self._iterations = 0
        self._variables: list[Variable] = []
        self._index: dict[int, int] = {}
        self._slots: list[list[Array] | None] = []
        # The flat parameters whose slots are in flat arrays too, and those arrays: per array of parameters, per slot.
        self._flat: FlatParameters | None = None
        self._flat_slots: list[list[Array]] = []
        # Zeros of a table's shape, into which the rows of a sparse gradient are written for one update.
        self._scratch: dict[int, Array] = {}

    # --- defined by subclasses ---

    def slot_values(self) -> dict[str, float]:
        """Name and initial value of each slot."""
        return {}

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], learning_rate: float, scale: float) -> None:
        """Update arrays of one type by one call of the core.

        Args:
            params: the arrays.
            grads: the gradient of each; the core multiplies them by ``scale``.
            slots: for each slot one array per parameter.
            learning_rate: that of this update.
            scale: the factor of clipping by the global norm.
        """
        raise TypeError(f"{type(self).__name__}: an optimizer must define _update")

    def _update_rows(self, tables: list[SparseUpdate], learning_rate: float, scale: float) -> None:
        """The same update for some rows of tables of one type: gathered, updated, scattered back."""
        for param, gradient, slots in tables:
            views = [slice_view(array, gradient.axis) for array in (param, *slots)]
            rows = [view[gradient.indices] for view in views]
            self._update(rows[:1], [gradient.values], [[slot] for slot in rows[1:]], learning_rate, scale)
            for view, updated in zip(views, rows, strict=True):
                view[gradient.indices] = updated

    # --- learning rate and count ---

    @staticmethod
    def _checked_rate(value: Any) -> float | LearningRateSchedule | Callable[[], float]:
        if isinstance(value, dict):
            return schedules.deserialize(value)
        if isinstance(value, LearningRateSchedule) or (callable(value) and not inspect.isclass(value)):
            return value
        return real("learning_rate", value, 0.0)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update. It can be set to a number or another schedule."""
        rate = self._rate
        if type(rate) is float:
            return rate
        if isinstance(rate, LearningRateSchedule):
            return real("learning_rate", rate(self._iterations), 0.0)
        return real("learning_rate", rate(), 0.0)  # type: ignore[operator]

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        rate = self._checked_rate(value)
        if isinstance(rate, float) and isinstance(self._rate, LearningRateSchedule):
            raise TypeError("learning_rate: this optimizer follows a schedule; create it with a number to set another")
        self._rate = rate

    @property
    def iterations(self) -> int:
        """Number of updates made."""
        return self._iterations

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._iterations = at_least("iterations", value, 0)

    # --- variables and slots ---

    @property
    def variables(self) -> list[Variable]:
        """The variables seen so far, in the order of the state."""
        return list(self._variables)

    def build(self, variables: Iterable[Variable]) -> None:
        """Register ``variables``; their order is that of the state. More may follow later."""
        new = list(variables)
        for v in new:
            if not isinstance(v, Variable):
                raise TypeError(f"variables: expected Variables, got {type(v).__name__}")
            if v.dtype.kind != "f":
                raise TypeError(f"variables: expected float variables, got {v.dtype} for {v.name!r}")
        for v in new:
            if id(v) not in self._index:
                self._index[id(v)] = len(self._variables)
                self._variables.append(v)
                self._slots.append(None)

    def _slots_of(self, variable: Variable) -> list[Array]:
        i = self._index[id(variable)]
        slots = self._slots[i]
        if slots is None:
            slots = [np.full(variable.shape, value, variable.dtype) for value in self.slot_values().values()]
            self._slots[i] = slots
        return slots

    # --- updates ---

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> int:
        """One update.

        Args:
            grads_and_vars: pairs (gradient, variable). A gradient is a Tensor, an array or an ``IndexedSlices`` of the
                variable's shape; float gradients of another width are cast to the variable's type. Pairs whose gradient
                is None are left out, with a warning.

        Returns:
            The number of updates made.

        Raises:
            ValueError: if no pair has a gradient, and for shapes that do not fit.
            TypeError: for gradients that are not real.
        """
        pairs = list(grads_and_vars) if isinstance(grads_and_vars, Iterable) else [grads_and_vars]
        odd = [pair for pair in pairs if not isinstance(pair, (tuple, list)) or len(pair) != 2]
        if odd:
            raise TypeError(f"grads_and_vars: expected pairs of gradient and variable, got {short_repr(odd[0])}")
        if not pairs:
            raise ValueError("gradients: expected at least one pair of gradient and variable, got none")
        return self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> int:
        """:meth:`apply_gradients` for a list of gradients and one of variables (by default those of :meth:`build`)."""
        variables = self._variables if trainable_variables is None else trainable_variables
        if len(grads) != len(variables):
            raise ValueError(f"grads: expected {len(variables)}, one per variable, got {len(grads)}")
        pairs = list(zip(grads, variables, strict=True))
        kept = [pair for pair in pairs if pair[0] is not None]
        if len(kept) != len(pairs):
            missing = [v.name for g, v in pairs if g is None]
            if not kept:
                raise ValueError(f"gradients: expected at least one besides None, got None for {', '.join(missing)}")
            warnings.warn(f"gradients: None for {', '.join(missing)}; these variables stay as they are", stacklevel=2)
        elif not kept:
            raise ValueError("gradients: expected at least one pair of gradient and variable, got none")
        ids = {id(v) for _, v in kept}
        if not ids <= self._index.keys():
            self.build(v for _, v in kept)
        if len(ids) != len(kept):
            raise ValueError("variables: expected each variable once, got one twice; add its gradients up first")
        self._apply([], [(v, self._checked(g, v)) for g, v in kept])
        return self._iterations

    def apply_flat(self, flat: FlatParameters, gradients: Sequence[Gradient]) -> None:
        """The same update for a model whose variables are views of flat arrays: one call of the core for each array.

        Args:
            flat: the parameters; ``flat.gradients`` hold the gradients of the variables that have a place.
            gradients: one per variable of ``flat``, their buffers among them; None leaves a variable without a place
                as it is.
        """
        if self._custom_apply is not None:
            tensors = [Tensor(g) if isinstance(g, np.ndarray) else g for g in gradients]
            if self._custom_apply == "apply":
                self.apply(tensors, flat.variables)
            else:
                self.apply_gradients(zip(tensors, flat.variables))
            return
        if self._flat is not flat:
            self._lay_out_slots(flat)
        pairs = [
            (variable, self._checked(gradient, variable))
            for variable, gradient, buffer in zip(flat.variables, gradients, flat.buffers)
            # The norm of each variable is clipped by itself.
            if gradient is not None and (buffer is None or self.clipnorm is not None)
        ]
        if self.clipnorm is not None:
            self._apply([], pairs)
            return
        arrays = zip(flat.parameters, flat.gradients, self._flat_slots, strict=True)
        self._apply([DenseUpdate(*parts) for parts in arrays if parts[0].size], pairs)
        for location in flat.locations:
            location.variable.version += 1

    def _lay_out_slots(self, flat: FlatParameters) -> None:
        """Lay the slots out in flat arrays like those of the parameters; their values stay."""
        self.build(flat.variables)
        values = self.slot_values().values()
        self._flat_slots = [[np.full(p.size, value, p.dtype) for value in values] for p in flat.parameters]
        for variable, number, elements in flat.locations:
            index = self._index[id(variable)]
            views = [slot[elements].reshape(variable.shape) for slot in self._flat_slots[number]]
            for view, old in zip(views, self._slots[index] or ()):
                view[...] = old
            self._slots[index] = views
        self._flat = flat

    @staticmethod
    def _checked(gradient: Any, variable: Variable) -> Array | IndexedSlices:
        """The gradient in the variable's type and shape, contiguous; slices with ascending rows."""
        if isinstance(gradient, IndexedSlices):
            return _checked_slices(gradient, variable)
        array = gradient if type(gradient) is np.ndarray else as_array(gradient)
        shape, dtype = variable._array.shape, variable._array.dtype
        if array.shape != shape:
            raise ValueError(f"gradients: expected shape {shape} for {variable.name!r}, got {array.shape}")
        if array.dtype is not dtype and array.dtype != dtype:
            if array.dtype.kind != "f":
                raise TypeError(f"gradients: expected {dtype} for {variable.name!r}, got {array.dtype}")
            return array.astype(dtype, order="C")
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def _apply(self, flat: list[DenseUpdate], pairs: list[tuple[Variable, Array | IndexedSlices]]) -> None:
        """Clip and update the flat arrays of a model, and single variables."""
        learning_rate = self.learning_rate
        dense, sparse = list(flat), []
        scattered: list[tuple[Array, Array]] = []
        try:
            for v, g in pairs:
                slots = self._slots[self._index[id(v)]]
                if slots is None:
                    slots = self._slots_of(v)
                if self.clipnorm is not None:
                    g = _scaled(g, clip_scale(math.sqrt(sum_squares([_values(g)])), self.clipnorm))
                if not isinstance(g, IndexedSlices):
                    dense.append(DenseUpdate(v._array, g, slots))
                elif self._updates_sparse_rows:
                    if len(g.indices):
                        sparse.append(SparseUpdate(v._array, g, slots))
                else:
                    table = self._scratch.get(id(v))
                    if table is None:
                        table = self._scratch[id(v)] = np.zeros(v.shape, v.dtype)
                    view = slice_view(table, g.axis)
                    scattered.append((view, g.indices))
                    view[g.indices] = g.values
                    dense.append(DenseUpdate(v._array, table, slots))
            scale = 1.0
            if self.global_clipnorm is not None:
                gradients = [update.gradient for update in flat] + [_values(g) for _, g in pairs]
                norm = math.sqrt(sum(map(sum_squares, _by_dtype(gradients, gradients))))
                scale = finite_clip_scale(norm, self.global_clipnorm)
            if self.weight_decay:
                # Decoupled: the same for every optimizer, and no part of the gradient.
                for param in [update.param for update in flat] + [v._array for v, _ in pairs]:
                    param *= param.dtype.type(1.0 - self.weight_decay * learning_rate)
            for updates in _by_dtype(dense, [update.param for update in dense]):
                params, grads, slots_of = zip(*updates)
                self._update(params, grads, list(zip(*slots_of)), learning_rate, scale)
            for tables in _by_dtype(sparse, [update.param for update in sparse]):
                self._update_rows(tables, learning_rate, scale)
        finally:
            for view, indices in scattered:
                view[indices] = 0
        self._iterations += 1
        for v, _ in pairs:
            v.version += 1

    # --- state and configuration ---

    def get_state(self) -> dict[str, Array]:
        """Copies of everything a resumed run needs.

        Returns:
            "iterations", "learning_rate" (unless a schedule or function gives it), and "<position>/<slot>" for each
            variable in the order of :meth:`build`.
        """
        state: dict[str, Array] = {"iterations": np.asarray(self._iterations, np.int64)}
        if isinstance(self._rate, float):
            state["learning_rate"] = np.asarray(self._rate, np.float64)
        for i, v in enumerate(self._variables):
            for key, slot in zip(self.slot_values(), self._slots_of(v), strict=True):
                state[f"{i}/{key}"] = slot.copy()
        return state

    def set_state(self, state: dict[str, Array]) -> None:
        """Restore what :meth:`get_state` gave, after :meth:`build` with the same variables.

        Raises:
            ValueError: for missing, foreign or misshapen entries; nothing is changed then.
        """
        slots = {
            f"{i}/{key}": slot
            for i, v in enumerate(self._variables)
            for key, slot in zip(self.slot_values(), self._slots_of(v), strict=True)
        }
        expected = {"iterations", *slots} | ({"learning_rate"} if isinstance(self._rate, float) else set())
        if not isinstance(state, Mapping):
            raise ValueError(f"state: expected a dict of get_state(), got {short_repr(state)}")
        if set(state) != expected:
            odd = sorted(map(str, expected.symmetric_difference(state)))
            raise ValueError(
                f"state: expected the {len(expected)} entries of this {self.name}, "
                f"got unexpected or missing: {short_repr(odd[:4])}"
            )
        arrays = {key: np.asarray(value) for key, value in state.items()}
        for key, slot in slots.items():
            value = arrays[key]
            if value.shape != slot.shape or value.dtype.kind != "f":
                got = f"{value.dtype} {value.shape}"
                raise ValueError(f"state: expected {slot.dtype} {slot.shape} for {key!r}, got {got}")
        numbers = {}
        for key in expected - set(slots):
            if arrays[key].size != 1:
                raise ValueError(f"state: expected one number for {key!r}, got shape {arrays[key].shape}")
            numbers[key] = arrays[key].item()
        iterations = integer("iterations", numbers["iterations"], 0, MAX_INT64)
        if "learning_rate" in numbers:
            self._rate = real("learning_rate", numbers["learning_rate"], 0.0)
        self._iterations = iterations
        for key, slot in slots.items():
            slot[...] = arrays[key]

    @contextmanager
    def build_undone(self) -> Iterator[None]:
        """Context that undoes on failure what was built inside it."""
        before = list(self._variables), dict(self._index), list(self._slots), self._flat, self._flat_slots
        try:
            yield
        except BaseException:
            self._variables, self._index, self._slots, self._flat, self._flat_slots = before
            raise

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same optimizer again, without its state; JSON-able."""
        rate: Any = self._rate
        if isinstance(rate, LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif not isinstance(rate, float):
            raise ValueError("learning_rate: a function cannot be written to a configuration; use a schedule class")
        names = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", *self._config_names)
        return {"name": self.name, "learning_rate": rate, **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
        """A new optimizer from a config; ``custom_objects`` holds more classes of schedules by name."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = {**config, "learning_rate": schedules.deserialize(rate, custom_objects)}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} learning_rate={self._rate!r} iterations={self._iterations}>"


OPTIMIZERS = Registry("optimizer", Optimizer)


def _checked_slices(gradient: IndexedSlices, variable: Variable) -> IndexedSlices:
    if gradient.shape != variable.shape:
        raise ValueError(
            f"gradients: expected shape {variable.shape} for variable {variable.name!r}, got {gradient.shape}"
        )
    if gradient.dtype.kind != "f":
        raise TypeError(f"gradients: expected {variable.dtype} for variable {variable.name!r}, got {gradient.dtype}")
    if gradient.is_sorted_unique and gradient.values.dtype == variable._array.dtype:
        return gradient
    rows, bound = gradient.indices, variable.shape[gradient.axis]
    if rows.ndim != 1:
        raise ValueError(f"gradients: expected indices with one axis for variable {variable.name!r}, got {rows.shape}")
    if not is_sorted_unique(np.ascontiguousarray(rows), bound):
        gradient = gradient.unique()
        rows = gradient.indices
        if rows[0] < 0 or rows[-1] >= bound:
            lines = "columns" if gradient.axis else "rows"
            bad = rows[0] if rows[0] < 0 else rows[-1]
            raise ValueError(f"gradients: expected {lines} 0...{bound - 1} of {variable.name!r}, got {bad}")
    values = np.ascontiguousarray(gradient.values, variable.dtype)
    return gradient if values is gradient.values else IndexedSlices(values, rows, gradient.shape, gradient.axis)


def _values(gradient: Array | IndexedSlices) -> Array:
    return gradient.values if isinstance(gradient, IndexedSlices) else gradient


def _scaled(gradient: Array | IndexedSlices, scale: float) -> Array | IndexedSlices:
    if scale == 1.0:
        return gradient
    values = _values(gradient)
    with np.errstate(all="ignore"):
        # An array even where it has no axes: NumPy's product is then a scalar, which the core does not take.
        scaled: Array = np.asarray(values * values.dtype.type(scale))
    if isinstance(gradient, IndexedSlices):
        return gradient.with_values(scaled)
    return scaled


def _by_dtype(items: list[Item], arrays: Sequence[Array]) -> list[list[Item]]:
    """The items in groups of one type, that of the array of each."""
    dtypes = [array.dtype for array in arrays]
    if items and dtypes.count(dtypes[0]) == len(items):  # the usual case, without a dict
        return [items]
    groups: dict[Any, list[Item]] = {}
    for item, dtype in zip(items, dtypes, strict=True):
        groups.setdefault(dtype, []).append(item)
    return list(groups.values())
