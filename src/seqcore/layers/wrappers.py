"""Layers around layers: Bidirectional and TimeDistributed.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from .._registry import custom_object_scope
from .._validation import NUMBERS, check_shape, default_only, plain_array, real
from ..autograd.tensor import Tensor, Variable
from ..typing import Array
from .arguments import as_mask, not_a_layer
from .base import Layer
from .building import output_shape
from .context import ContextRNN
from .recurrent import RecurrentLayer, run
from .registry import deserialize, register, serialize

_MERGES = ("sum", "mul", "concat", "ave", None)


@register()
class Bidirectional(Layer):
    """A recurrent layer in both directions of time, at the same time.

    Args:
        layer: SimpleRNN, LSTM, GRU or ContextRNN; it is the pattern of the forward layer and has no part in the result.
        merge_mode: how the outputs become one: "concat", "sum", "mul", "ave", or None for a list of both.
        weights: initial values, in the order of ``weights`` once it is built.
        backward_layer: a pattern of its own for the way from the end to the beginning.

    Call as the layer's own, with ``initial_state`` as the states of the forward layer, then those of the backward
    layer; so are the states with ``return_state``. Sequences come in the order of time, with zeros at masked steps.

    Raises:
        ValueError: for a layer that is not recurrent, and for two layers that do not fit together.

    Source: Schuster and Paliwal, Bidirectional recurrent neural networks, 1997.

    >>> import numpy as np
    >>> from seqcore.layers import LSTM
    >>> Bidirectional(LSTM(4))(np.zeros((2, 3, 5))).shape
    (2, 8)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        for name, one in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(one, RecurrentLayer) and not (one is None and name == "backward_layer"):
                raise ValueError(f"{name}: expected a recurrent layer, got {not_a_layer(one)}")
        if merge_mode not in _MERGES:
            raise ValueError(f"merge_mode: expected 'concat', 'sum', 'mul', 'ave' or None, got {merge_mode!r}")
        kwargs.setdefault("dtype", layer.dtype_policy)
        if layer._batch_input_shape is not None and "input_shape" not in kwargs:
            kwargs.setdefault("batch_input_shape", layer._batch_input_shape)
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer: RecurrentLayer = _copy(layer, "forward_")
        if backward_layer is None:
            self.backward_layer: RecurrentLayer = _copy(layer, "backward_")
            self.backward_layer.go_backwards = not layer.go_backwards
        else:
            self.backward_layer = _copy(backward_layer, "" if backward_layer.name != layer.name else "backward_")
        self._given_backward = backward_layer is not None
        self._check_pair()
        for part in (self.forward_layer, self.backward_layer):
            part.trainable = self._trainable and part.trainable
            part.step_gradients = layer.step_gradients
        source = self.backward_layer._source
        if source is not None and source.seed is not None:
            # One seed, two streams: the directions draw different masks.
            source.stream = 1
        self._initial_weights = weights

    def _check_pair(self) -> None:
        first, second = self.forward_layer, self.backward_layer
        for name in ("return_sequences", "return_state", "stateful", "dtype"):
            if getattr(first, name) != getattr(second, name):
                expected, got = getattr(first, name), getattr(second, name)
                raise ValueError(f"backward_layer: expected {name}={expected!r} as in layer, got {got!r}")
        if first.go_backwards == second.go_backwards:
            raise ValueError(
                f"backward_layer: expected go_backwards={not first.go_backwards}, got {second.go_backwards}"
            )
        if self.merge_mode in ("sum", "mul", "ave") and first.output_size != second.output_size:
            raise ValueError(
                f"backward_layer: expected {first.output_size} outputs for merge_mode {self.merge_mode!r}, "
                f"got {second.output_size}"
            )

    @property
    def return_sequences(self) -> bool:
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        return self.forward_layer.return_state

    @property
    def stateful(self) -> bool:
        return self.forward_layer.stateful

    @property
    def states(self) -> list[Variable] | None:
        """The carried states of the forward layer, then those of the backward layer; see ``LSTM.states``."""
        first, second = self.forward_layer.states, self.backward_layer.states
        return None if first is None or second is None else [*first, *second]

    @states.setter
    def states(self, states: Any) -> None:
        layers = (self.forward_layer, self.backward_layer)
        given = self._split_state(states, "states")
        checked = [None if one is None else layer._checked_states(one) for layer, one in zip(layers, given)]
        for layer, state in zip(layers, checked):
            layer._state = state

    def reset_states(self, states: Any = None, stddev: float = 0.0) -> None:
        """As the recurrent layers' own; states are those of the forward layer, then those of the backward layer."""
        stddev = real("stddev", stddev, 0)
        if states is None:
            super().reset_states(stddev=stddev)
        elif stddev:
            raise ValueError("states, stddev: expected at most one of them, got both")
        else:
            self.states = states

    @property
    def step_gradients(self) -> bool:
        """Whether the way back stores dL/dh_t in ``last_step_gradients`` of both layers."""
        return self.forward_layer.step_gradients

    @step_gradients.setter
    def step_gradients(self, value: bool) -> None:
        self.forward_layer.step_gradients = self.backward_layer.step_gradients = bool(value)

    def build(self, sequences_shape: Any, initial_state_shape: None = None) -> None:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer._build_with(sequences_shape)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
        self.built = True

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: Any = False,
        *,
        lengths: Any = None,
    ) -> Any:
        first, second = self.forward_layer, self.backward_layer
        x = first._check_input(sequences)
        mask, lengths = first._check_masks(sequences, mask, lengths)
        given = self._split_state(initial_state)
        starts = [layer._initial_state(one, x.shape[0]) for layer, one in zip((first, second), given, strict=True)]
        if self._is_joint():
            y, finals, states = self._run_joint(x, starts, training, mask, lengths)
        else:
            y, finals, states = self._run_apart(x, starts, training, mask, lengths)
        if self.stateful:
            for layer, final in zip((first, second), finals, strict=True):
                layer._state = list(final)
        if not self.return_state:
            return y
        return [*y, *states] if isinstance(y, list) else [y, *states]

    def _split_state(self, given: Any, name: str = "initial_state") -> tuple[Any, Any]:
        if given is None:
            return None, None
        n, m = len(self.forward_layer._state_sizes()), len(self.backward_layer._state_sizes())
        if not isinstance(given, (list, tuple)) or len(given) != n + m:
            got = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
            raise ValueError(f"{name}: expected a list of {n + m} states for layer {self.name!r}, got {got}")
        return list(given[:n]), list(given[n:])

    def _is_joint(self) -> bool:
        """Whether one call of the core can do both directions."""
        first, second = self.forward_layer, self.backward_layer
        return type(first) is type(second) and not isinstance(first, ContextRNN) and _kernel(first) == _kernel(second)

    def _run_joint(
        self, x: Tensor, starts: list[Any], training: Any, mask: Array | None, lengths: Array | None
    ) -> tuple[Any, Any, list[Tensor]]:
        parts = (self.forward_layer, self.backward_layer)
        drop = bool(training) and any(part._source is not None for part in parts)
        y, finals, states = run(
            parts,
            x,
            starts,
            reverse=[part.go_backwards for part in parts],
            mask=mask,
            lengths=lengths,
            scales=[part._draw(x.shape[0], x.shape[2]) for part in parts] if drop else None,
            sequences=self.return_sequences,
            zero_masked=self.return_sequences,
            states=int(self.return_state),
        )
        if drop:
            for part in parts:
                part._drawn()
        if self.merge_mode == "concat":
            return y, finals, states
        units = parts[0].units
        return self._merge(y[..., :units], y[..., units:]), finals, states  # type: ignore[index]  # ops adds __getitem__

    def _run_apart(
        self, x: Tensor, starts: list[Any], training: Any, mask: Array | None, lengths: Array | None
    ) -> tuple[Any, Any, list[Tensor]]:
        outputs, finals, states = [], [], []
        for layer, start in zip((self.forward_layer, self.backward_layer), starts, strict=True):
            sequences = self.return_sequences
            y, final, tensors = layer._run(
                x, start, training, mask, lengths, sequences, layer.go_backwards, False, sequences, self.return_state
            )
            outputs.append(y)
            finals.append(final)
            states.extend(tensors)
        return self._merge(*outputs), finals, states

    def _merge(self, a: Tensor, b: Tensor) -> Any:
        if self.merge_mode is None:
            return [a, b]
        if self.merge_mode == "concat":
            return ops.concat([a, b], axis=-1)
        if self.merge_mode == "mul":
            return ops.multiply(a, b)
        total = ops.add(a, b)
        return total if self.merge_mode == "sum" else ops.multiply(total, 0.5)

    def _keeps_time(self) -> bool:
        return self.return_sequences

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if self.return_sequences else None

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: None = None) -> Any:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        lead = tuple(sequences_shape[:2]) if self.return_sequences else (sequences_shape[0],)
        a, b = self.forward_layer.output_size, self.backward_layer.output_size
        if self.merge_mode is None:
            y: list[Any] = [(*lead, a), (*lead, b)]
        else:
            y = [(*lead, a + b if self.merge_mode == "concat" else a)]
        if self.return_state:
            sizes = (*self.forward_layer._state_sizes(), *self.backward_layer._state_sizes())
            y = [*y, *((sequences_shape[0], n) for n in sizes)]
        return y if len(y) > 1 else y[0]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "layer": serialize(self.forward_layer), "merge_mode": self.merge_mode}
        if self._given_backward:
            config["backward_layer"] = serialize(self.backward_layer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Bidirectional:
        """A new layer from a config; ``custom_objects`` holds further classes of layers by name."""
        config = dict(config)
        # The pattern's own name, from which those of both layers are made again.
        layer = {**config["layer"], "config": dict(config["layer"]["config"])}
        layer["config"]["name"] = layer["config"]["name"].removeprefix("forward_")
        with custom_object_scope(custom_objects):
            config["layer"] = deserialize(layer)
            if config.get("backward_layer") is not None:
                config["backward_layer"] = deserialize(config["backward_layer"])
        return cls(**config)


def _copy(layer: RecurrentLayer, prefix: str) -> RecurrentLayer:
    config = layer.get_config()
    config["name"] = prefix + config["name"]
    config.pop("batch_input_shape", None)
    copied: RecurrentLayer = type(layer).from_config(config)
    return copied


def _kernel(layer: RecurrentLayer) -> tuple[Any, ...]:
    """What two layers must have in common to run in one call."""
    return layer.units, layer.use_bias, layer._core_cell, layer._core_activations


@register()
class TimeDistributed(Layer):
    """One layer applied to every time step.

    Args:
        layer: takes (B * T, ...).

    Call: ``layer(x, mask=None, training=False)``; x (B, T, ...) gives (B, T, ...). A mask (B, T) belongs to the steps
    and goes on; of a mask (B, T, S), that of words in sentences for instance, the layer inside gets (B * T, S), and
    steps without anything valid are masked in what follows.

    >>> import numpy as np
    >>> from seqcore.layers import Dense
    >>> TimeDistributed(Dense(2))(np.zeros((3, 4, 5))).shape
    (3, 4, 2)
    """

    supports_masking = True
    _takes_several = False

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"layer: expected a Layer, got {not_a_layer(layer)}")
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(**kwargs)
        self.layer = layer
        if not self._trainable:
            layer.trainable = False
        self._input_kinds = layer._input_kinds

    def _step_shape(self, input_shape: Any) -> Any:
        """The shape that the layer inside gets."""
        check_shape("input_shape", input_shape)
        if len(input_shape) < 2:
            raise ValueError(
                f"inputs: expected shape (batch, time, ...) for layer {self.name!r}, got {tuple(input_shape)}"
            )
        return (None, *input_shape[2:])

    def build(self, input_shape: Any) -> None:
        shape = self._step_shape(input_shape)
        try:
            self.layer._build_with(shape)
        except ValueError as error:
            raise ValueError(f"{error} (one step of {tuple(input_shape)} in layer {self.name!r})") from None
        self.built = True

    def call(self, inputs: Tensor, training: Any = False, mask: Any = None) -> Any:
        self._step_shape(inputs.shape)
        x = ops.reshape(inputs, (-1, *inputs.shape[2:]))
        if mask is not None and mask.ndim > 2:
            x.mask = mask.reshape(-1, *mask.shape[2:])
        return _with_steps(self.layer(x, training=training), inputs.shape[:2], mask)

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        array = plain_array("mask", mask)
        if array.ndim < 3 or array.dtype.kind not in NUMBERS:
            return as_mask(array, shape)
        if array.shape != shape[: array.ndim]:
            raise ValueError(f"mask: expected booleans of shape {shape[: array.ndim]}, got shape {array.shape}")
        return np.ascontiguousarray(array, bool)

    def compute_output_shape(self, input_shape: Any) -> Any:
        inner = output_shape(self.layer, self._step_shape(input_shape))
        if isinstance(inner, list):
            return [(*input_shape[:2], *one[1:]) for one in inner]
        return (*input_shape[:2], *inner[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> TimeDistributed:
        """A new layer from a config; ``custom_objects`` holds further classes of layers by name."""
        with custom_object_scope(custom_objects):
            return cls(**{**config, "layer": deserialize(config["layer"])})


def _with_steps(y: Any, lead: tuple[int, ...], mask: Array | None) -> Any:
    """The outputs of B * T rows as (B, T, ...), with the mask of what is inside a step, or of the steps themselves.

    A step that had a mask inside and lost it (a sentence that became one vector) counts if anything in it did.
    """
    if isinstance(y, (list, tuple)):
        return [_with_steps(one, lead, mask) for one in y]
    out = ops.reshape(y, (*lead, *y.shape[1:]))
    if y.mask is not None:
        out.mask = y.mask.reshape(*lead, *y.mask.shape[1:])
    elif mask is not None:
        out.mask = np.asarray(mask.reshape(*lead, -1).any(axis=2))
    return out
