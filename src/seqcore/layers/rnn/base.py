"""RNNCell, one step for loops written by hand, and RNNLayer, a cell over whole sequences.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import random as _random
from ..._validation import as_lengths, as_mask, boolean, default_only, integer, real
from ...autograd import Tensor, Variable, recorded
from ...initializers import TruncatedNormal
from ...typing import Array, Shape
from ..base import ArrayCall, Layer, NumericLayer, any_trainable
from ..calling import CallScope, context
from .run import SequenceOptions, run_sequence, sequence_on_arrays, sequence_options
from .weights import DropoutMasks, RNNWeights, check_implementation

_STEP = sequence_options(return_state=True)


class RNNCell(RNNWeights):
    """Base of the cells: one step, with dropout masks that stay the same until they are reset."""

    _masks: DropoutMasks | None = None
    # The call of a model in which they were drawn.
    _masks_call: CallScope | None = None

    def build(self, input_shape: Any) -> None:
        if isinstance(input_shape, list) or len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                f"inputs: expected shape (batch, features) for cell {self.name!r}, got {_shape_text(input_shape)}"
            )
        super().build(input_shape)

    def call(self, inputs: Tensor, states: Any = None, training: Any = False) -> tuple[Tensor, list[Tensor]]:
        shape, features = inputs.shape, self.kernel.shape[0]
        if len(shape) != 2 or shape[1] != features:
            raise ValueError(f"inputs: expected shape (batch, {features}) for cell {self.name!r}, got {shape}")
        given = self.get_initial_state(shape[0]) if states is None else self.check_states("states", states, shape[0])
        x = recorded(np.ascontiguousarray(inputs._array)[:, None, :], (inputs,), lambda g: (g[:, 0, :],))
        masks = self._step_masks(*shape) if training else None
        y, _, new_states = self.run(x, given, _STEP, dropout_masks=masks)
        # Where the output is h, both are one tensor, whose gradients the tape adds.
        return y, [y, *new_states[1:]] if self.output_size == self.units else new_states

    def _step_masks(self, batch: int, features: int) -> DropoutMasks | None:
        """The masks of this call of the model, drawn at its first step."""
        call, masks = context.call, self._masks
        new_call = call is not None and call is not self._masks_call
        if new_call or masks is None or any(mask is not None and mask.shape[0] != batch for mask in masks):
            masks = self._masks = self.sample_dropout_masks(batch, features)
            self._masks_call = call
            self.advance_dropout()
        return masks

    def run(
        self,
        x: Tensor,
        initial: Sequence[Tensor] | None,
        options: SequenceOptions,
        mask: Array | None = None,
        lengths: Array | None = None,
        dropout_masks: DropoutMasks | None = None,
    ) -> tuple[Tensor, Sequence[Array], list[Tensor]]:
        """One direction of :func:`run_sequence`: the output, the final states as arrays and as tensors."""
        masks = None if dropout_masks is None else (dropout_masks,)
        y, finals, states = run_sequence((self,), x, (initial,), options, mask, lengths, masks)
        return y, finals[0] if finals else (), states

    def reset_dropout_mask(self) -> None:
        """Draw new masks, of the input and of the state, at the next step in training."""
        self._masks = None

    reset_recurrent_dropout_mask = reset_dropout_mask
    reset_dropout_masks = reset_dropout_mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_size)


class _CellAttribute:
    """An attribute of the cell that is also the layer's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: RNNLayer | None, owner: type) -> Any:
        return self if layer is None else getattr(layer.cell, self._name)

    def __set__(self, layer: RNNLayer, value: Any) -> None:
        setattr(layer.cell, self._name, value)


def cell_attribute() -> Any:
    """Declare an attribute of a layer that its cell holds."""
    return _CellAttribute()


class CarriedState(Variable):
    """One state of a stateful layer; ``assign`` writes into the layer."""

    __slots__ = ("_layer", "_index")

    def __init__(self, layer: RNNLayer, index: int, array: Array) -> None:
        super().__init__(array, trainable=False, name=f"{layer.name}/state_{index}")
        self._layer, self._index = layer, index

    def assign(self, value: Any) -> CarriedState:
        states = self._layer._state
        if states is None or states[self._index].shape != self.shape:
            raise ValueError(f"value: expected a state that {self.name!r} still carries; read layer.states again")
        super().assign(value)
        self._layer._state = [self._array.copy() if i == self._index else state for i, state in enumerate(states)]
        return self


class RNNLayer(NumericLayer):
    """Base of the layers over sequences: a cell, Keras's arguments of RNN layers, masks, lengths, carried states.

    The weights of the cell are the layer's own weights, under the layer's name.

    Args:
        return_sequences: return all outputs (B, T, H) instead of the last (B, H).
        return_state: also return the final states.
        go_backwards: walk from the last step to the first; outputs come in the order of processing.
        stateful: carry the state from call to call; the first call fixes the batch size.
        unroll: accepted, without effect.
        zero_output_for_mask: make the output of a masked step zero, instead of the output before it.
        input_length, input_dim: T and D, for the first layer of a Sequential.
    """

    _config_arguments: tuple[str, ...] = (
        "return_sequences",
        "return_state",
        "go_backwards",
        "stateful",
        "unroll",
        "zero_output_for_mask",
    )
    _not_tracked = Layer._not_tracked | {"cell"}
    cell: RNNCell

    units: int = cell_attribute()
    activation: str = cell_attribute()
    use_bias: bool = cell_attribute()
    kernel_initializer: Any = cell_attribute()
    recurrent_initializer: Any = cell_attribute()
    bias_initializer: Any = cell_attribute()
    dropout: float = cell_attribute()
    recurrent_dropout: float = cell_attribute()
    seed: int | None = cell_attribute()
    kernel: Variable = cell_attribute()
    recurrent_kernel: Variable = cell_attribute()
    bias: Variable | None = cell_attribute()
    state_size: Any = cell_attribute()
    output_size: int = cell_attribute()
    step_gradients: bool = cell_attribute()
    last_step_gradients: Array | None = cell_attribute()

    def __init__(
        self,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        input_length: int | None = None,
        input_dim: int | None = None,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        check_implementation(implementation)
        if input_dim is not None:
            kwargs.setdefault("input_shape", (input_length, input_dim))
        super().__init__(**kwargs)
        self.return_sequences = boolean("return_sequences", return_sequences)
        self.return_state = boolean("return_state", return_state)
        self.go_backwards, self.stateful = boolean("go_backwards", go_backwards), boolean("stateful", stateful)
        self.unroll = boolean("unroll", unroll)
        self.zero_output_for_mask = boolean("zero_output_for_mask", zero_output_for_mask)
        self._state: list[Array] | None = None
        self._stddev = 0.0

    def _make_cell(self, cell_class: type[RNNCell], *arguments: Any, **options: Any) -> None:
        """Make the cell; its variables become the layer's own: one list for both."""
        self.cell = cell_class(*arguments, name=self.name, dtype=self.dtype_policy, **options)
        self.cell._own_variables = self._own_variables

    def _parts(self) -> tuple[Layer, ...]:
        return self, self.cell

    def build(self, sequences_shape: Any, initial_state_shape: None = None) -> None:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        shape = sequences_shape
        if isinstance(shape, list) or len(shape) != 3 or shape[2] is None:
            flat = not isinstance(shape, list) and len(shape) == 2
            hint = "; put an Embedding before it for ids, or return_sequences=True into the recurrent layer before it"
            got = f"{_shape_text(shape)}{hint if flat else ''}"
            raise ValueError(f"inputs: expected shape (batch, time, features) for layer {self.name!r}, got {got}")
        self.cell._trainable = self._trainable
        self.cell.build((shape[0], int(shape[2])))
        self.built = True

    # --- calling ---

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: Any = False,
        *,
        lengths: Any = None,
    ) -> Any:
        x = self.check_input(sequences)
        if mask is not None or lengths is not None:
            mask, lengths = check_masks(x, mask, lengths)
        initial = None
        if self.stateful or initial_state is not None:
            initial = self.start_states(initial_state, x._array.shape[0])
        cell = self.cell
        masks = cell.sample_dropout_masks(x.shape[0], x.shape[2]) if training else None
        y, finals, states = cell.run(x, initial, self._options(), mask, lengths, masks)
        if masks is not None:
            cell.advance_dropout()
        if self.stateful:
            self.carry(finals)
        return [y, *states] if self.return_state else y

    def _options(self) -> SequenceOptions:
        all_steps, reverse = self.return_sequences, self.go_backwards
        return sequence_options(
            all_steps, self.return_state, self.stateful, (reverse,), reverse and all_steps, self.zero_output_for_mask
        )

    def check_input(self, inputs: Tensor) -> Tensor:
        array = inputs._array
        if self._has_contiguous_features(array):
            return inputs
        return recorded(np.ascontiguousarray(array), (inputs,), lambda g: (g,))

    def _has_contiguous_features(self, x: Array) -> bool:
        features = self.cell.kernel._array.shape[0]
        if x.ndim != 3 or x.shape[2] != features:
            expected = f"(batch, time, {features})"
            raise ValueError(f"inputs: expected shape {expected} for layer {self.name!r}, got {x.shape}")
        return x.strides[2] == x.itemsize or features == 1

    def takes_arrays(self) -> bool:
        cell = type(self.cell)
        own = cell.run is RNNCell.run and cell.core_variables is RNNCell.core_variables
        return own and not (self.stateful or self.return_state)

    def call_on_array(self, x: Array, need_dx: bool) -> ArrayCall:
        if not self._has_contiguous_features(x):
            x = np.ascontiguousarray(x)
        cell = self.cell
        variables = cell.core_variables()
        masks = cell.sample_dropout_masks(x.shape[0], x.shape[2])
        y, _, backward = sequence_on_arrays(
            (cell,),
            variables,
            x,
            self._options(),
            need_dx,
            any_trainable(variables),
            dropout_masks=None if masks is None else (masks,),
        )
        if masks is not None:
            cell.advance_dropout()
        return y, variables, backward

    def _keeps_time(self) -> bool:
        return self.return_sequences

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output; with ``go_backwards`` in the order of processing, as the output is."""
        if mask is None or not self.return_sequences:
            return None
        return np.ascontiguousarray(np.asarray(mask)[:, ::-1]) if self.go_backwards else mask

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: None = None) -> Any:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        batch, steps = sequences_shape[0], sequences_shape[1]
        y: Shape = (batch, steps, self.output_size) if self.return_sequences else (batch, self.output_size)
        return [y, *((batch, size) for size in self.cell.state_sizes())] if self.return_state else y

    # --- the carried state ---

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros, one (B, units) tensor per state."""
        return self.cell.get_initial_state(batch_size)

    def start_states(self, given: Any, batch: int) -> list[Tensor] | None:
        if self.stateful and self._state is not None and self._state[0].shape[0] != batch:
            raise ValueError(
                f"inputs: expected the batch size {self._state[0].shape[0]} of the first call for the stateful layer "
                f"{self.name!r}, got {batch}"
            )
        if given is not None:
            return self.cell.check_states("initial_state", given, batch)
        if not self.stateful:
            return None
        return [Tensor(state) for state in (self._first_states(batch) if self._state is None else self._state)]

    def _first_states(self, batch: int) -> list[Array]:
        """Zeros, or noise after a reset with ``stddev``."""
        shapes = [(batch, size) for size in self.cell.state_sizes()]
        if not self._stddev:
            return [np.zeros(shape, self._dtype) for shape in shapes]
        rows = _random.get_rows() or _random.Rows(0, batch, batch)
        noise = TruncatedNormal(stddev=self._stddev)
        part = slice(rows.first, rows.first + batch)
        return [noise((rows.whole, size), self._dtype)[part] for _, size in shapes]

    @property
    def states(self) -> list[Variable] | None:
        """The carried state of a stateful layer, None before its first call.

        ``layer.states = [h, c]`` and ``layer.states[0].assign(h)`` write it; arrays (B, units), all or none of them.
        """
        if self._state is None:
            return None
        return [CarriedState(self, i, array) for i, array in enumerate(self._state)]

    @states.setter
    def states(self, states: Any) -> None:
        self.put_states(None if states is None else self.checked_states(states))

    def put_states(self, states: list[Array] | None) -> None:
        """Carry the given states from now on, in ``predict`` too."""
        self._state = states
        self._reset_predict_state(states is not None)

    def carry(self, finals: Sequence[Array]) -> None:
        """Carry the final states of a call to the next one."""
        self._state = list(finals)

    def checked_states(self, states: Any) -> list[Array]:
        """Copies of a user's states as arrays, or the error; nothing is changed."""
        if not self.stateful:
            raise ValueError(f"states: expected a layer with stateful=True, got {self.name!r}")
        if np.isscalar(states):
            raise ValueError(f"states: expected a list of arrays for {self.name!r}, got {states!r}; noise is stddev=")
        given = states if isinstance(states, (list, tuple)) else [states]
        known = self._state or given
        shape = np.shape(known[0]) if known else ()
        return self._copied_states("states", given, shape[0] if len(shape) == 2 else 1)

    def _copied_states(self, name: str, states: Any, batch: int) -> list[Array]:
        return [np.array(state._array, order="C") for state in self.cell.check_states(name, states, batch)]

    def reset_states(self, states: Any = None, stddev: float = 0.0) -> None:
        """Set the carried state to zero, to small noise, or to the given states.

        Args:
            states: one array (B, units) per state, for instance [h, c].
            stddev: standard deviation of normal noise, before it is truncated at two of them; at most one of the two.

        Raises:
            ValueError: for states that do not fit (nothing is changed then), and for a negative ``stddev``.
        """
        stddev = real("stddev", stddev, 0)
        if states is not None:
            given = self.checked_states(states)
            if stddev:
                raise ValueError("states, stddev: expected at most one of them, got both")
            self._state = given
        elif self._state is not None:
            self._stddev = stddev
            self._state = self._first_states(self._state[0].shape[0])
        self._stddev = stddev
        self._reset_predict_state(states is not None or stddev > 0)

    def _reset_predict_state(self, given: bool) -> None:
        """Let the next ``predict`` start from the new state too: from zero, or from the given state."""
        copied = None if self._state is None else [array.copy() for array in self._state]
        self._predict_state = (copied, self._stddev) if given else None

    def _take_state(self) -> Any:
        taken = self._state, self._stddev
        self._state, self._stddev = None, 0.0
        return taken

    def _put_state(self, state: Any) -> None:
        self._state, self._stddev = state

    def get_own_state(self) -> dict[str, Any]:
        own = self.cell.get_own_state()
        if self.stateful:
            own["state"] = None if self._state is None else [array.copy() for array in self._state]
            own["stddev"] = self._stddev
        return own

    def set_own_state(self, state: dict[str, Any]) -> None:
        self.cell.set_own_state(state)
        if not self.stateful:
            return
        arrays, stddev = state["state"], real("stddev", state["stddev"], 0.0)
        if arrays is not None:
            arrays = self._copied_states("state", arrays, integer("state", len(arrays[0]), 1))
        self._state, self._stddev = arrays, stddev

    # --- streams ---

    def _add_to_stream(self, stream: Any) -> None:
        if self.go_backwards or self.return_state:
            name = "go_backwards" if self.go_backwards else "return_state"
            raise ValueError(f"layer {self.name!r}: a {type(self).__name__} with {name}=True cannot be streamed")
        self.cell._add_to_stream(stream)


def _shape_text(shape: Any) -> str:
    return f"{len(shape)} inputs" if isinstance(shape, list) else str(tuple(shape))


def check_masks(x: Tensor, mask: Any, lengths: Any) -> tuple[Array | None, Array | None]:
    """Mask and lengths of a call as arrays that fit x (B, T, D); the caller has refused both together."""
    mask = None if mask is None else as_mask(mask, x.shape)
    return mask, None if lengths is None else as_lengths(lengths, x.shape)
