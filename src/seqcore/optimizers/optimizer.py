"""Optimizer: learning rate, clipping, slots, dense and sparse updates of variables and of flat parameters."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._core.optimizer import sum_squares
from .._pickling import Pickled
from .._registry import Registry
from .._validation import MAX_INT64, class_of, default_only, integer, real, short_repr
from ..autograd.tensor import Gradient, IndexedSlices, Tensor, Variable, slice_view
from ..ops.clipping import finite_clip_scale
from ..typing import Array, Arrays
from . import schedules
from .flat_parameters import FlatParameters
from .schedules import LearningRateSchedule
from .updates import Update, by_dtype, checked_gradient, clip_gradient, stored_values

Rate = float | LearningRateSchedule | Callable[[], float] | dict[str, Any]


def _needs_no_arguments(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # a builtin function that does not tell its arguments
        pass
    return True


class Optimizer(Pickled):
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

    _pickle_family = "optimizer"
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
        # By id, the variables in the order of the state; the slots of those that have been updated.
        self._variables: dict[int, Variable] = {}
        self._slots: dict[int, list[Array]] = {}
        # By position, the slots for variables that are still to come, of an optimizer from a pickle.
        self._waiting_slots: dict[int, list[Array]] = {}
        # The flat parameters whose slots are in flat arrays too, and the updates of these arrays.
        self._flat: FlatParameters | None = None
        self._flat_updates: list[Update] = []
        # Zeros of a table's shape and type, into which the rows of a sparse gradient are written for one update.
        self._zeros: dict[tuple[tuple[int, ...], np.dtype[Any]], Array] = {}

    # --- defined by subclasses ---

    def slot_values(self) -> dict[str, float]:
        """Name and initial value of each slot."""
        return {}

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], **common: Any) -> None:
        """Update arrays of one type by one call of the core.

        Args:
            params: the arrays.
            grads: the gradient of each; the core multiplies them by ``scale``.
            slots: for each slot one array per parameter.
            common: arguments of the core that all optimizers have: ``learning_rate`` of this update, ``scale``, the
                factor of clipping by the global norm, and ``clipvalue``.
        """
        raise TypeError(f"{type(self).__name__}: an optimizer must define _update")

    def _update_rows(self, tables: list[Update], **common: Any) -> None:
        """The same update for some rows of tables of one type: gathered, updated, scattered back."""
        for param, gradient, slots in tables:
            views = [slice_view(array, gradient.axis) for array in (param, *slots)]
            rows = [view[gradient.indices] for view in views]
            self._update(rows[:1], [gradient.values], [[slot] for slot in rows[1:]], **common)
            for view, updated in zip(views, rows, strict=True):
                view[gradient.indices] = updated

    def _update_tables(self, tables: list[Update], **common: Any) -> None:
        """The same update for whole tables, in which the other rows have zero gradients."""
        for param, gradient, slots in tables:
            key = param.shape, param.dtype
            if key not in self._zeros:
                self._zeros[key] = np.zeros(*key)
            table = self._zeros[key]
            rows = slice_view(table, gradient.axis)
            try:
                rows[gradient.indices] = gradient.values
                self._update([param], [table], [[slot] for slot in slots], **common)
            finally:
                rows[gradient.indices] = 0

    # --- learning rate and count ---

    @staticmethod
    def _checked_rate(value: Any) -> float | LearningRateSchedule | Callable[[], float]:
        if isinstance(value, dict):
            return schedules.deserialize(value)
        schedule = isinstance(value, LearningRateSchedule)
        if schedule or (callable(value) and not inspect.isclass(value)):
            if not schedule and not _needs_no_arguments(value):
                raise TypeError(
                    "learning_rate: expected a number, a schedule of seqcore or a function without arguments, "
                    f"got {class_of(value)}"
                )
            rate: LearningRateSchedule | Callable[[], float] = value
            return rate
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
        self._iterations = integer("iterations", value, 0)

    # --- variables and slots ---

    @property
    def variables(self) -> list[Variable]:
        """The variables seen so far, in the order of the state."""
        return list(self._variables.values())

    def build(self, variables: Iterable[Variable]) -> None:
        """Register ``variables``; their order is that of the state. More may follow later."""
        new = list(variables)
        for v in new:
            if not isinstance(v, Variable):
                raise TypeError(f"variables: expected Variables, got {type(v).__name__}")
            if v.dtype.kind != "f":
                raise TypeError(f"variables: expected float variables, got {v.dtype} for {v.name!r}")
        unknown = {id(v): v for v in new if id(v) not in self._variables}
        first = len(self._variables)
        waiting = [self._waiting_slots.get(i, []) for i in range(first, first + len(unknown))]
        for v, slots in zip(unknown.values(), waiting):
            if any(slot.shape != v.shape or slot.dtype != v.dtype for slot in slots):
                raise ValueError(
                    f"variables: expected {slots[0].dtype} of shape {slots[0].shape} in the place of {v.name!r}, as "
                    f"when the optimizer was pickled, got {v.dtype} of shape {v.shape}"
                )
        self._variables |= unknown
        self._slots |= {key: slots for key, slots in zip(unknown, waiting) if slots}
        self._waiting_slots = {i: slots for i, slots in self._waiting_slots.items() if i >= len(self._variables)}

    def _slots_of(self, variable: Variable) -> list[Array]:
        slots = self._slots.get(id(variable))
        if slots is None:
            slots = [np.full(variable.shape, value, variable.dtype) for value in self.slot_values().values()]
            self._slots[id(variable)] = slots
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
        # hasattr: isinstance of an abstract class takes longer.
        pairs: list[Any] = list(grads_and_vars) if hasattr(grads_and_vars, "__iter__") else [grads_and_vars]
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"grads_and_vars: expected pairs of gradient and variable, got {short_repr(pair)}")
        return self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> int:
        """:meth:`apply_gradients` for a list of gradients and one of variables (by default those of :meth:`build`)."""
        variables = self.variables if trainable_variables is None else trainable_variables
        if len(grads) != len(variables):
            raise ValueError(f"grads: expected {len(variables)}, one per variable, got {len(grads)}")
        kept = [(v, g) for g, v in zip(grads, variables) if g is not None]
        if len(kept) < len(variables):
            missing = ", ".join(v.name for g, v in zip(grads, variables) if g is None)
            if not kept:
                raise ValueError(f"gradients: expected at least one besides None, got None for {missing}")
            warnings.warn(f"gradients: None for {missing}; these variables stay as they are", stacklevel=2)
        elif not kept:
            raise ValueError("gradients: expected at least one pair of gradient and variable, got none")
        ids = {id(v) for v, _ in kept}
        if not ids <= self._variables.keys():
            self.build(v for v, _ in kept)
        if len(ids) != len(kept):
            raise ValueError("variables: expected each variable once, got one twice; add its gradients up first")
        self._apply([], [(v, checked_gradient(g, v)) for v, g in kept])
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
            (variable, checked_gradient(gradient, variable))
            for variable, gradient, buffer in zip(flat.variables, gradients, flat.buffers)
            # The norm of each variable is clipped by itself.
            if gradient is not None and (buffer is None or self.clipnorm is not None)
        ]
        if self.clipnorm is not None:
            self._apply([], pairs)
            return
        self._apply(self._flat_updates, pairs)
        for location in flat.locations:
            location.variable.version += 1

    def _lay_out_slots(self, flat: FlatParameters) -> None:
        """Lay the slots out in flat arrays like those of the parameters; their values stay."""
        self.build(flat.variables)
        values = self.slot_values().values()
        slots = [[np.full(p.size, value, p.dtype) for value in values] for p in flat.parameters]
        for variable, number, elements in flat.locations:
            views = [slot[elements].reshape(variable.shape) for slot in slots[number]]
            for view, old in zip(views, self._slots.get(id(variable), ())):
                view[...] = old
            self._slots[id(variable)] = views
        arrays = zip(flat.parameters, flat.gradients, slots)
        self._flat_updates = [Update(*parts) for parts in arrays if parts[0].size]
        self._flat = flat

    def _apply(self, flat: list[Update], pairs: list[tuple[Variable, Array | IndexedSlices]]) -> None:
        """Clip and update the flat arrays of a model, and single variables."""
        learning_rate, scale = self.learning_rate, 1.0
        if self.clipnorm is not None:
            pairs = [(v, clip_gradient(g, self.clipnorm)) for v, g in pairs]
        updates = flat + [Update(v._array, g, self._slots_of(v)) for v, g in pairs]
        if self.global_clipnorm is not None:
            sums = [sum_squares([stored_values(gradient) for _, gradient, _ in group]) for group in by_dtype(updates)]
            scale = finite_clip_scale(math.sqrt(sum(sums)), self.global_clipnorm)
        if self.weight_decay:
            # Decoupled: the same for every optimizer, and no part of the gradient.
            for param, _, _ in updates:
                param *= param.dtype.type(1.0 - self.weight_decay * learning_rate)
        common = {"learning_rate": learning_rate, "scale": scale, "clipvalue": self.clipvalue}
        dense, sparse = updates, []
        if pairs:
            sparse = [update for update in updates if isinstance(update.gradient, IndexedSlices)]
            dense = [update for update in updates if not isinstance(update.gradient, IndexedSlices)]
        for group in by_dtype(dense):
            params, grads, slots = zip(*group)
            self._update(params, grads, list(zip(*slots)), **common)
        update_sparse = self._update_rows if self._updates_sparse_rows else self._update_tables
        for group in by_dtype(sparse):
            update_sparse(group, **common)
        self._iterations += 1
        for v, _ in pairs:
            v.version += 1

    # --- state and configuration ---

    def _named_slots(self) -> dict[str, Array]:
        """Every slot as "<position>/<slot>"."""
        slots = dict(enumerate(map(self._slots_of, self.variables))) | self._waiting_slots
        return {f"{i}/{name}": slot for i in slots for name, slot in zip(self.slot_values(), slots[i], strict=True)}

    def get_state(self) -> dict[str, Array]:
        """Copies of everything a resumed run needs.

        Returns:
            "iterations", "learning_rate" (unless a schedule or function gives it), and "<position>/<slot>" for each
            variable in the order of :meth:`build`.
        """
        state = {"iterations": np.asarray(self._iterations, np.int64)}
        if isinstance(self._rate, float):
            state["learning_rate"] = np.asarray(self._rate, np.float64)
        return state | {name: slot.copy() for name, slot in self._named_slots().items()}

    def set_state(self, state: dict[str, Array]) -> None:
        """Restore what :meth:`get_state` gave, after :meth:`build` with the same variables.

        Raises:
            ValueError: for missing, foreign or misshapen entries; nothing is changed then.
        """
        slots = self._named_slots()
        expected = ["iterations", *(["learning_rate"] if isinstance(self._rate, float) else []), *slots]
        if not isinstance(state, Mapping):
            raise ValueError(f"state: expected a dict of get_state(), got {short_repr(state)}")
        odd = sorted(map(str, state.keys() ^ set(expected)))
        if odd:
            raise ValueError(
                f"state: expected the {len(expected)} entries of this {self.name}, "
                f"got unexpected or missing: {short_repr(odd[:4])}"
            )
        arrays = {key: np.asarray(value) for key, value in state.items()}
        for key in expected:
            value, slot = arrays[key], slots.get(key)
            if slot is None and value.size != 1:
                raise ValueError(f"state: expected one number for {key!r}, got shape {value.shape}")
            if slot is not None and (value.shape != slot.shape or value.dtype.kind != "f"):
                got = f"{value.dtype} {value.shape}"
                raise ValueError(f"state: expected {slot.dtype} {slot.shape} for {key!r}, got {got}")
        iterations = integer("iterations", arrays["iterations"].item(), 0, MAX_INT64)
        if "learning_rate" in arrays:
            self._rate = real("learning_rate", arrays["learning_rate"].item(), 0.0)
        self._iterations = iterations
        for key, slot in slots.items():
            slot[...] = arrays[key]

    def set_state_without_variables(self, state: Mapping[str, Array]) -> None:
        """Continue a new optimizer from a :meth:`get_state` whose variables are not known.

        :meth:`build`, and so the first update, gives their slots to as many variables in the same order.
        """
        rows = [int(key.partition("/")[0]) for key in state if "/" in key]
        names = list(self.slot_values())
        self._waiting_slots = {i: [state[f"{i}/{name}"] for name in names] for i in dict.fromkeys(rows)}
        self.set_state(dict(state))

    @contextmanager
    def build_undone(self) -> Iterator[None]:
        """Context that undoes on failure what was built inside it."""
        before = dict(self._variables), dict(self._slots), dict(self._waiting_slots), self._flat, self._flat_updates
        try:
            yield
        except BaseException:
            self._variables, self._slots, self._waiting_slots, self._flat, self._flat_updates = before
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
