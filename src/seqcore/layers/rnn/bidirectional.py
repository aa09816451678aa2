"""Bidirectional.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from ... import ops
from ..._registry import custom_object_scope
from ..._validation import choice, default_only, real
from ...autograd import Tensor, Variable
from ..base import NumericLayer, not_a_layer
from ..registry import deserialize, register, serialize
from .base import RNNLayer, check_masks
from .context_rnn import ContextRNN
from .run import run_sequence, sequence_options

_MERGES = ("sum", "mul", "concat", "ave", None)


@register()
class Bidirectional(NumericLayer):
    """A recurrent layer in both directions of time, at the same time.

    Args:
        layer: SimpleRNN, LSTM, GRU or ContextRNN, the pattern of the forward layer; it is copied and not used itself.
        merge_mode: how the outputs become one: "concat" by default, "sum", "mul", "ave", or None for a list of both.
        weights: initial values, in the order of ``weights`` once the layer is built.
        backward_layer: pattern of the layer from the end to the beginning, ``layer`` by default.

    Call: as the layer, with ``initial_state`` as the states of the forward layer, then those of the backward layer; so
    are the states with ``return_state``. Sequences come in the order of time, with zeros at masked steps.

    Raises:
        ValueError: for a layer that is not recurrent, and for two layers that do not fit together.

    Source: Schuster and Paliwal, Bidirectional recurrent neural networks, 1997.

    >>> import numpy as np
    >>> from seqcore.layers import LSTM
    >>> Bidirectional(LSTM(4))(np.zeros((2, 3, 5))).shape
    (2, 8)
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        for name, pattern in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(pattern, RNNLayer) and not (pattern is None and name == "backward_layer"):
                raise ValueError(f"{name}: expected a recurrent layer, got {not_a_layer(pattern)}")
        choice("merge_mode", merge_mode, _MERGES)
        kwargs.setdefault("dtype", layer.dtype_policy)
        if layer._batch_input_shape is not None and "input_shape" not in kwargs:
            kwargs.setdefault("batch_input_shape", layer._batch_input_shape)
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer: RNNLayer = _copy(layer, "forward_")
        if backward_layer is None:
            self.backward_layer: RNNLayer = _copy(layer, "backward_")
            self.backward_layer.go_backwards = not layer.go_backwards
        else:
            self.backward_layer = _copy(backward_layer, "" if backward_layer.name != layer.name else "backward_")
        self._given_backward = backward_layer is not None
        self._check_pair()
        for part in self._directions():
            part.trainable = self._trainable and part.trainable
            part.step_gradients = layer.step_gradients
        dropout = self.backward_layer.cell.dropout_generator
        if dropout is not None and dropout.seed is not None:
            # One seed, two streams: the directions draw different masks.
            dropout.stream = 1
        self._initial_weights = weights

    def _directions(self) -> tuple[RNNLayer, RNNLayer]:
        return self.forward_layer, self.backward_layer

    def _check_pair(self) -> None:
        first, second = self._directions()
        for name in ("return_sequences", "return_state", "stateful", "dtype"):
            expected, got = getattr(first, name), getattr(second, name)
            if expected != got:
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

    return_sequences = property(attrgetter("forward_layer.return_sequences"))
    return_state = property(attrgetter("forward_layer.return_state"))
    stateful = property(attrgetter("forward_layer.stateful"))

    @property
    def states(self) -> list[Variable] | None:
        """The carried states of the forward layer, then those of the backward layer; see ``LSTM.states``."""
        first, second = self.forward_layer.states, self.backward_layer.states
        return None if first is None or second is None else [*first, *second]

    @states.setter
    def states(self, states: Any) -> None:
        layers, given = self._directions(), self._split_state(states, "states")
        checked = [None if part is None else layer.checked_states(part) for layer, part in zip(layers, given)]
        for layer, state in zip(layers, checked):
            layer.put_states(state)

    def reset_states(self, states: Any = None, stddev: float = 0.0) -> None:
        """As that of the recurrent layers; states are those of the forward layer, then those of the backward layer."""
        stddev = real("stddev", stddev, 0)
        if states is None:
            super().reset_states(stddev=stddev)
        elif stddev:
            raise ValueError("states, stddev: expected at most one of them, got both")
        else:
            self.states = states

    @property
    def step_gradients(self) -> bool:
        """True to keep dL/dh_t of the backward pass in ``last_step_gradients`` of both layers."""
        return self.forward_layer.step_gradients

    @step_gradients.setter
    def step_gradients(self, value: bool) -> None:
        self.forward_layer.step_gradients = self.backward_layer.step_gradients = bool(value)

    def build(self, sequences_shape: Any, initial_state_shape: None = None) -> None:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        for layer in self._directions():
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
        layers = self._directions()
        x = layers[0].check_input(sequences)
        mask, lengths = check_masks(x, mask, lengths)
        given = self._split_state(initial_state)
        starts = [layer.start_states(start, x.shape[0]) for layer, start in zip(layers, given, strict=True)]
        reverse = (layers[0].go_backwards, layers[1].go_backwards)
        options = sequence_options(
            self.return_sequences, self.return_state, self.stateful, reverse, False, self.return_sequences
        )
        cells = [layer.cell for layer in layers]
        masks = None
        if training and any(cell.dropout_generator for cell in cells):
            masks = [cell.sample_dropout_masks(x.shape[0], x.shape[2]) or (None, None) for cell in cells]
        if self._is_joint():
            y, finals, states = run_sequence(cells, x, starts, options, mask, lengths, masks)
            if self.merge_mode != "concat":
                units = cells[0].units
                y = self._merge(y[..., :units], y[..., units:])  # type: ignore[index]  # ops adds __getitem__
        else:
            a, b = (
                cell.run(x, start, replace(options, reverse=(reverse,)), mask, lengths, masks_of_cell)
                for cell, start, reverse, masks_of_cell in zip(cells, starts, options.reverse, masks or (None, None))
            )
            y, finals, states = self._merge(a[0], b[0]), [tuple(a[1]), tuple(b[1])], [*a[2], *b[2]]
        if masks is not None:
            for cell in cells:
                cell.advance_dropout()
        if self.stateful:
            for layer, final in zip(layers, finals, strict=True):
                layer.carry(final)
        if not self.return_state:
            return y
        return [*y, *states] if isinstance(y, list) else [y, *states]

    def _split_state(self, given: Any, name: str = "initial_state") -> tuple[Any, Any]:
        if given is None:
            return None, None
        n, m = len(self.forward_layer.cell.state_sizes()), len(self.backward_layer.cell.state_sizes())
        if not isinstance(given, (list, tuple)) or len(given) != n + m:
            got = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
            raise ValueError(f"{name}: expected a list of {n + m} states for layer {self.name!r}, got {got}")
        return list(given[:n]), list(given[n:])

    def _is_joint(self) -> bool:
        """True where one call of the core can run both directions."""
        first, second = self._directions()
        return (
            type(first) is type(second)
            and not isinstance(first, ContextRNN)
            and _core_form(first) == _core_form(second)
        )

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
        return bool(self.return_sequences)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if self.return_sequences else None

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: None = None) -> Any:
        shapes = [layer.compute_output_shape(sequences_shape, initial_state_shape) for layer in self._directions()]
        (a, *first), (b, *second) = shapes if self.return_state else [[shape] for shape in shapes]
        y = [a, b] if self.merge_mode is None else [(*a[:-1], a[-1] + b[-1] if self.merge_mode == "concat" else a[-1])]
        y += [*first, *second]
        return y if len(y) > 1 else y[0]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "layer": serialize(self.forward_layer), "merge_mode": self.merge_mode}
        if self._given_backward:
            config["backward_layer"] = serialize(self.backward_layer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Bidirectional:
        """A new layer from a config; ``custom_objects`` holds additional layer classes by name."""
        with custom_object_scope(custom_objects):
            names = [name for name in ("layer", "backward_layer") if config.get(name) is not None]
            layers = {name: deserialize(config[name]) for name in names}
        # The pattern's own name, from which those of both layers are made again.
        layers["layer"].name = layers["layer"].name.removeprefix("forward_")
        return cls(**{**config, **layers})


def _copy(layer: RNNLayer, prefix: str) -> RNNLayer:
    config = layer.get_config()
    config["name"] = prefix + config["name"]
    config.pop("batch_input_shape", None)
    copied: RNNLayer = type(layer).from_config(config)
    return copied


def _core_form(layer: RNNLayer) -> tuple[Any, ...]:
    """The settings in which two layers must agree to run in one call."""
    cell = layer.cell
    return cell.units, cell.use_bias, cell.core_cell, cell.activation, cell.recurrent_activation
