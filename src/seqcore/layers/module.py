"""Module, the base of Layer: the variables and layers that it holds, their weights and their state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._pickling import Pickled
from .._validation import MALFORMED, boolean, check_fits, one_line, real, short_repr
from ..autograd import Tensor, Variable, as_array
from ..autograd.staleness import Cached
from ..typing import Array


class Module(Pickled):
    """Base of :class:`Layer`: what holds variables and layers as attributes, in lists, tuples and dicts too.

    Args:
        trainable: False keeps the variables of the layer itself off all tapes.
    """

    _pickle_family = "layer"
    name: str
    built: bool
    # Objects computed from the weights and the layers inside, which become stale when those change.
    _dependents: tuple[Cached, ...] = ()
    # Attributes that are not searched for layers and variables.
    _not_tracked = frozenset(("_own_variables", "_dependents"))

    def __init__(self, trainable: bool) -> None:
        self._trainable = boolean("trainable", trainable)
        # The variables that add_weight made, each with its own argument trainable.
        self._own_variables: list[tuple[Variable, bool]] = []

    # --- weights ---

    @property
    def trainable(self) -> bool:
        """True where tapes follow the weights; setting it reaches all layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = boolean("trainable", value)
        known = {id(variable) for variable, _ in self._own_variables}
        self._own_variables += [(weight, weight.trainable) for weight in self.own_weights() if id(weight) not in known]
        for variable, free in self._own_variables:
            variable.trainable = self._trainable and free
        for layer in self._sublayers:
            layer.trainable = value

    def _members(self) -> tuple[dict[int, Variable], dict[int, tuple[str, Any]]]:
        """Variables and layers (with their paths) held as attributes, by identity."""
        variables: dict[int, Variable] = {id(variable): variable for variable, _ in self._own_variables}
        layers: dict[int, tuple[str, Any]] = {}
        # A copy, since another thread may be building.
        for key, value in self.__dict__.copy().items():
            if type(value) not in _PLAIN and key not in self._not_tracked:
                _collect(value, key, variables, layers)
        layers.pop(id(self), None)
        return variables, layers

    def named_sublayers(self) -> list[tuple[str, Any]]:
        """The layers held directly with their paths: an attribute, or attribute.index in lists and dicts."""
        return list(self._members()[1].values())

    @property
    def _sublayers(self) -> list[Any]:
        """The layers held directly, each once."""
        return [layer for _, layer in self.named_sublayers()]

    def own_weights(self) -> list[Variable]:
        """The variables of the layer itself, without those of layers inside."""
        return list(self._members()[0].values())

    def layers_inside(self) -> list[Any]:
        """All layers held directly or deeper, in order, each once."""
        layers: dict[int, Any] = {}
        for layer in self._sublayers:
            for inner in [layer, *layer.layers_inside()]:
                layers.setdefault(id(inner), inner)
        return list(layers.values())

    @property
    def weights(self) -> list[Variable]:
        """All variables: the layer's own, then those of the layers inside, each once."""
        variables, layers = self._members()
        for _, layer in layers.values():
            for variable in layer.weights:
                variables.setdefault(id(variable), variable)
        return list(variables.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        return [weight for weight in self.weights if weight._trainable]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return [weight for weight in self.weights if not weight.trainable]

    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Copies of all weights, in the order of :attr:`weights`."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write arrays in the order of :attr:`weights`.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        variables = self.weights
        if not isinstance(weights, (Iterable, np.ndarray)) or isinstance(weights, (str, bytes, dict)):
            raise TypeError(f"weights: expected a list of arrays for layer {self.name!r}, got {short_repr(weights)}")
        given = list(weights)
        if len(given) != len(variables):
            hint = "" if self.built else " (the layer has no weights before its first call)"
            raise ValueError(
                f"weights: expected {len(variables)} arrays for layer {self.name!r}{hint}, got {len(given)}"
            )
        arrays = [as_array(x, v.dtype if v.dtype.kind == "f" else None, "weights") for v, x in zip(variables, given)]
        for variable, array in zip(variables, arrays, strict=True):
            if variable.shape != array.shape:
                raise ValueError(f"weights: expected shape {variable.shape} for {variable.name!r}, got {array.shape}")
            check_fits("weights", array, variable.dtype)
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array.astype(variable.dtype, copy=False))

    def count_params(self) -> int:
        """Number of weights.

        Raises:
            ValueError: before the layer is built.
        """
        if not self.built and not self.weights:
            raise ValueError(f"count_params: expected a built layer; call {self.name!r} on data first")
        return sum(weight.size for weight in self.weights)

    # --- state other than the weights ---

    def reset_states(self, states: Any = None, stddev: float = 0.0) -> None:
        """Set the states of stateful layers inside to zero, or to normal noise of that standard deviation.

        Raises:
            ValueError: for ``states``, which a recurrent layer takes.
        """
        if states is not None:
            raise ValueError(f"states: expected None for {self.name!r}, which has none itself; set its layers' states")
        real("stddev", stddev, 0)
        for layer in self._sublayers:
            layer.reset_states(stddev=stddev)

    def reset_state(self) -> None:
        """:meth:`reset_states` under Keras's name: set the states of stateful layers inside to zero."""
        self.reset_states()

    def reset_dropout_masks(self) -> None:
        """Let cells inside draw new dropout masks at their next step, as the call of a model does."""
        for layer in self._sublayers:
            layer.reset_dropout_masks()

    # The state, as _take_state gives it, that the last ``predict`` of a model left.
    _predict_state: Any = None

    def _take_state(self) -> Any:
        """Remove and return the carried state."""
        return None

    def _put_state(self, state: Any) -> None:
        """Bring back the state that :meth:`_take_state` returned."""

    @contextmanager
    def state_scope(self) -> Iterator[None]:
        """Context in which stateful layers start from zero states; the old ones come back afterwards."""
        taken = [(layer, layer._take_state()) for layer in [self, *self.layers_inside()]]
        try:
            yield
        finally:
            for layer, state in taken:
                layer._put_state(state)

    @contextmanager
    def predict_scope(self) -> Iterator[None]:
        """Context in which stateful layers inside work on the state of ``predict``; an error leaves it as it was."""
        stateful = [layer for layer in self.layers_inside() if getattr(layer, "stateful", False)]
        with self.state_scope():
            for layer in stateful:
                if layer._predict_state is not None:
                    layer._put_state(layer._predict_state)
            yield
            for layer in stateful:
                layer._predict_state = layer._take_state()

    def get_layer_state(self) -> dict[str, Any]:
        """State for an exact resume, next to the weights: dropout counters and carried states, of layers inside too."""
        return {"own": self.get_own_state(), "inside": [layer.get_layer_state() for layer in self._sublayers]}

    def set_layer_state(self, state: dict[str, Any]) -> None:
        """Bring back a state that :meth:`get_layer_state` returned.

        Raises:
            ValueError: if it comes from a layer of another structure, or is damaged; nothing is changed then.
        """
        before = self.get_layer_state()
        try:
            self._set_layer_state(state)
        except BaseException as error:
            self._set_layer_state(before)
            if isinstance(error, MALFORMED):
                raise ValueError(
                    f"state: expected the state of layer {self.name!r}, got another ({one_line(error)})"
                ) from error
            raise

    def _set_layer_state(self, state: Any) -> None:
        layers = self._sublayers
        inside = state.get("inside") if isinstance(state, dict) else None
        if not isinstance(inside, list) or len(inside) != len(layers) or not isinstance(state.get("own"), dict):
            raise ValueError(f"expected own and inside, a list of {len(layers)} states, for {self.name!r}")
        for layer, part in zip(layers, inside, strict=True):
            layer._set_layer_state(part)
        self.set_own_state(state["own"])

    def get_own_state(self) -> dict[str, Any]:
        """State of the layer itself, without the layers inside: a dropout counter, a carried state."""
        return {}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Bring back the result of :meth:`get_own_state`."""


# Types of attributes that hold neither layers nor variables.
_PLAIN = frozenset((str, int, float, bool, type(None), np.ndarray, Tensor))


def _collect(value: Any, path: str, variables: dict[int, Variable], layers: dict[int, tuple[str, Any]]) -> None:
    """Add the variables and layers of an attribute, those in lists, tuples and dicts included."""
    if isinstance(value, Variable):
        variables.setdefault(id(value), value)
    elif isinstance(value, Module):
        layers.setdefault(id(value), (path, value))
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if type(item) not in _PLAIN:
                _collect(item, f"{path}.{key}", variables, layers)
