"""Optimizer: learning rate, clipping, slots, dense and sparse updates of variables and of a model's arena."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .._registry import Registry
from .._validation import MAX_SEED, at_least, default_only, integer, real, short_repr
from ..autograd.tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, slice_view
from ..ops.clipping import clip_scale, finite_clip_scale
from ..typing import Array
from . import schedules
from .schedules import LearningRateSchedule

Rate = float | LearningRateSchedule | Callable[[], float] | dict[str, Any]


class Work(NamedTuple):
    """One array to update: parameters, their gradient, the optimizer's slots of the same shape."""

    param: Array
    gradient: Array
    slots: Sequence[Array]


class Rows(NamedTuple):
    """A table of which only some rows (or columns) are updated."""

    param: Array
    gradient: IndexedSlices
    slots: Sequence[Array]


class _Arena(NamedTuple):
    """Where a model's variables and their slots lie in flat arrays."""

    flat: list[Array]
    ids: tuple[int, ...]
    inside: list[Variable]
    # Per variable inside: which flat array, first element, end.
    places: list[tuple[int, int, int]]
    # Per flat array: one flat array for each slot.
    slots: list[list[Array]]


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
            the touched rows become NaN, which is seen, rather than some of them, which is not.
        use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps: accepted at
            Keras's defaults alone.
        name: name in configurations.

    At most one of the three clips may be given. A gradient that is an ``IndexedSlices`` is used densely, as Keras does,
    unless the optimizer says otherwise (``lazy``).
    """

    # Whether updating the rows of an IndexedSlices alone is what this optimizer does.
    _by_rows = False
    # The method of a subclass that training must call with gradients and variables instead of updating the arena.
    _own_apply: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_step" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__}.update_step: expected no override, since nothing calls it; use apply_gradients"
            )
        names = ("apply_gradients", "apply")
        cls._own_apply = next((name for name in names if getattr(cls, name) is not getattr(Optimizer, name)), None)

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
        for key, argument, default, reason in (
            ("use_ema", use_ema, False, "no moving averages of the weights are kept"),
            ("ema_momentum", ema_momentum, 0.99, "no moving averages of the weights are kept"),
            ("ema_overwrite_frequency", ema_overwrite_frequency, None, "no moving averages of the weights are kept"),
            ("loss_scale_factor", loss_scale_factor, None, "float32, float64 and bfloat16 need no scaled loss"),
            ("gradient_accumulation_steps", gradient_accumulation_steps, None, "each call updates the weights"),
        ):
            default_only(key, argument, default, reason)
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
        self._arena: _Arena | None = None
        # Zeros of a table's shape, into which the rows of a sparse gradient are written for one update.
        self._scratch: dict[int, Array] = {}

    # --- what a subclass defines ---

    def _slot_values(self) -> dict[str, float]:
        """Name and initial value of each slot."""
        return {}

    def _update(self, work: list[Work], learning_rate: float, scale: float) -> None:
        """One call of the core for arrays of one type; ``scale`` multiplies the gradients."""
        raise TypeError(f"{type(self).__name__}: an optimizer must define _update")

    def _update_rows(self, tables: list[Rows], learning_rate: float, scale: float) -> None:
        """The same update for some rows of tables of one type: gathered, updated, scattered back."""
        for rows in tables:
            where, axis = rows.gradient.indices, rows.gradient.axis
            arrays = [slice_view(one, axis) for one in (rows.param, *rows.slots)]
            param, *slots = (one[where] for one in arrays)
            self._update([Work(param, rows.gradient.values, slots)], learning_rate, scale)
            for array, part in zip(arrays, (param, *slots), strict=True):
                array[where] = part

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
        """Registers ``variables``; their order is that of the state. Further ones may follow later."""
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
            slots = [np.full(variable.shape, value, variable.dtype) for value in self._slot_values().values()]
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
            TypeError: for gradients that are no real numbers.
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

    def apply_arena(
        self,
        params: Array | Sequence[Array],
        grads: Array | Sequence[Array],
        sparse: Sequence[tuple[Variable, Gradient]],
        variables: Sequence[Variable],
    ) -> None:
        """The same update for a model whose variables live in flat arrays.

        Args:
            params: (P,) the parameters of all dense variables; gaps between them hold zeros. Several types: one each.
            grads: (P,) their gradients in the same layout. With ``clipnorm`` they are scaled in place.
            sparse: variables beside the arena with their gradients; None leaves one out.
            variables: the model's variables in the order of the state; those that lie in ``params`` are found by
                their address.
        """
        flat = [params] if isinstance(params, np.ndarray) else list(params)
        flat_grads = [grads] if isinstance(grads, np.ndarray) else list(grads)
        arena = self._arena
        if (
            arena is None
            or len(arena.flat) != len(flat)
            or any(a is not b for a, b in zip(arena.flat, flat, strict=True))
            or arena.ids != tuple(map(id, variables))
        ):
            arena = self._place(flat, variables)
        if [(p.size, p.dtype) for p in flat] != [(g.size, g.dtype) for g in flat_grads]:
            wanted, found = ([f"{a.dtype} {a.shape}" for a in arrays] for arrays in (flat, flat_grads))
            raise ValueError(f"grads: expected arrays like params, {wanted}, got {found}")
        beside = [(v, self._checked(g, v)) for v, g in sparse if g is not None]
        if any(id(v) not in self._index for v, _ in beside):
            self.build(v for v, _ in beside)
        work = [Work(p, g, s) for p, g, s in zip(flat, flat_grads, arena.slots, strict=True) if p.size]
        if self.clipnorm is not None:
            for k, start, end in arena.places:
                part = flat_grads[k][start:end]
                factor = clip_scale(math.sqrt(_core.optimizer.sum_squares([part])), self.clipnorm)
                if factor != 1.0:
                    with np.errstate(all="ignore"):
                        part *= factor
        self._apply(work, beside)
        for v in arena.inside:
            v.version += 1

    def _place(self, flat: list[Array], variables: Sequence[Variable]) -> _Arena:
        """Lays the slots of the variables inside ``flat`` out like them, keeping their values."""
        for p in flat:
            if p.ndim != 1 or not p.flags.c_contiguous:
                raise ValueError(f"params: expected flat contiguous arrays, got shape {p.shape}")
        self.build(variables)
        inside, places = [], []
        for v in variables:
            array = v._array
            address = array.ctypes.data
            for k, p in enumerate(flat):
                start = address - p.ctypes.data
                if p.dtype == array.dtype and array.size and 0 <= start < p.nbytes:
                    first = start // p.itemsize
                    inside.append(v)
                    places.append((k, first, first + array.size))
        slots = [[np.full(p.size, value, p.dtype) for value in self._slot_values().values()] for p in flat]
        for v, (k, start, end) in zip(inside, places, strict=True):
            views = [slot[start:end].reshape(v.shape) for slot in slots[k]]
            old = self._slots[self._index[id(v)]]
            if old is not None:
                for view, value in zip(views, old, strict=True):
                    view[...] = value
            self._slots[self._index[id(v)]] = views
        self._arena = _Arena(flat, tuple(map(id, variables)), inside, places, slots)
        return self._arena

    @staticmethod
    def _checked(gradient: Any, variable: Variable) -> Array | IndexedSlices:
        """The gradient in the variable's type and shape, contiguous; slices with rising rows."""
        array = variable._array
        if isinstance(gradient, IndexedSlices):
            return _checked_slices(gradient, variable)
        if isinstance(gradient, Tensor):
            found = gradient._array
        else:
            found = gradient if type(gradient) is np.ndarray else as_array(gradient)
        if found.shape != array.shape:
            raise ValueError(f"gradients: expected shape {array.shape} for {variable.name!r}, got {found.shape}")
        if found.dtype is not array.dtype and found.dtype != array.dtype:
            if found.dtype.kind != "f":
                raise TypeError(f"gradients: expected {array.dtype} for {variable.name!r}, got {found.dtype}")
            return found.astype(array.dtype, order="C")
        return found if found.flags.c_contiguous else np.ascontiguousarray(found)

    def _apply(self, flat: list[Work], pairs: list[tuple[Variable, Array | IndexedSlices]]) -> None:
        """Clips and updates ``flat`` (parts of an arena, clipped already) and ``pairs``."""
        learning_rate = self.learning_rate
        work, rows = list(flat), []
        spread: list[tuple[Array, Array]] = []
        try:
            for v, g in pairs:
                slots = self._slots[self._index[id(v)]]
                if slots is None:
                    slots = self._slots_of(v)
                if self.clipnorm is not None:
                    g = _scaled(g, clip_scale(math.sqrt(_core.optimizer.sum_squares([_values(g)])), self.clipnorm))
                if not isinstance(g, IndexedSlices):
                    work.append(Work(v._array, g, slots))
                elif self._by_rows:
                    if len(g.indices):
                        rows.append(Rows(v._array, g, slots))
                else:
                    dense = self._scratch.get(id(v))
                    if dense is None:
                        dense = self._scratch[id(v)] = np.zeros(v.shape, v.dtype)
                    lines = slice_view(dense, g.axis)
                    spread.append((lines, g.indices))
                    lines[g.indices] = g.values
                    work.append(Work(v._array, dense, slots))
            scale = 1.0
            if self.global_clipnorm is not None:
                gradients = [w.gradient for w in flat] + [_values(g) for _, g in pairs]
                same_type = _by_type(gradients, [g.dtype for g in gradients])
                norm = math.sqrt(sum(map(_core.optimizer.sum_squares, same_type)))
                scale = finite_clip_scale(norm, self.global_clipnorm)
            if self.weight_decay:
                self._decay([w.param for w in flat] + [v._array for v, _ in pairs], learning_rate)
            for same in _by_type(work, [w.param.dtype for w in work]):
                self._update(same, learning_rate, scale)
            for tables in _by_type(rows, [one.param.dtype for one in rows]):
                self._update_rows(tables, learning_rate, scale)
        finally:
            for dense, where in spread:
                dense[where] = 0
        self._iterations += 1
        for v, _ in pairs:
            v.version += 1

    def _decay(self, params: list[Array], learning_rate: float) -> None:
        """Decoupled weight decay: the same for every optimizer, and no part of the gradient."""
        assert self.weight_decay is not None
        for param in params:
            param *= param.dtype.type(1.0 - self.weight_decay * learning_rate)

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
            for key, slot in zip(self._slot_values(), self._slots_of(v), strict=True):
                state[f"{i}/{key}"] = slot.copy()
        return state

    def set_state(self, state: dict[str, Array]) -> None:
        """Restores what :meth:`get_state` gave, after :meth:`build` with the same variables.

        Raises:
            ValueError: for missing, foreign or misshapen entries; nothing is changed then.
        """
        slots = {
            f"{i}/{key}": slot
            for i, v in enumerate(self._variables)
            for key, slot in zip(self._slot_values(), self._slots_of(v), strict=True)
        }
        expected = {"iterations", *slots} | ({"learning_rate"} if isinstance(self._rate, float) else set())
        if not isinstance(state, Mapping):
            raise ValueError(f"state: expected a dict of get_state(), got {short_repr(state)}")
        if set(state) != expected:
            odd = sorted(map(str, expected.symmetric_difference(state)))
            raise ValueError(
                f"state: expected the {len(expected)} entries of this {self.name}, wrong are {short_repr(odd[:4])}"
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
        iterations = integer("iterations", numbers["iterations"], 0, MAX_SEED)
        if "learning_rate" in numbers:
            self._rate = real("learning_rate", numbers["learning_rate"], 0.0)
        self._iterations = iterations
        for key, slot in slots.items():
            slot[...] = arrays[key]

    @contextmanager
    def build_undone(self) -> Iterator[None]:
        """Takes back what was built inside if that fails."""
        before = list(self._variables), dict(self._index), list(self._slots), self._arena
        try:
            yield
        except BaseException:
            self._variables, self._index, self._slots, self._arena = before
            raise

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same optimizer again, without its state; JSON-able."""
        rate: Any = self._rate
        if isinstance(rate, LearningRateSchedule):
            rate = schedules.serialize(rate)
        elif not isinstance(rate, float):
            raise ValueError("learning_rate: a function cannot be written to a configuration; use a schedule class")
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
        """A new optimizer from a config; ``custom_objects`` holds further classes of schedules by name."""
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
    if not _core.optimizer.rising_below(np.ascontiguousarray(rows), bound):
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


def _by_type(items: list[Any], types: list[Any]) -> list[list[Any]]:
    """The items in groups of one type."""
    if not items:
        return []
    if types.count(types[0]) == len(types):
        return [items]
    groups: dict[Any, list[Any]] = {}
    for item, kind in zip(items, types, strict=True):
        groups.setdefault(kind, []).append(item)
    return list(groups.values())
