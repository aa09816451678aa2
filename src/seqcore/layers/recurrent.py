"""SimpleRNN, LSTM and GRU over whole sequences: one call of the core forward, one tape node, one call backward.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .. import random as _random
from .._validation import boolean, default_only, real
from ..autograd.tape import GradientBuffers, is_recording, record
from ..autograd.tensor import Gradient, Tensor, Variable, unchecked_tensor
from ..typing import Array
from .arguments import Shape, as_lengths, as_mask
from .parameters import GRUWeights, LSTMWeights, RecurrentWeights
from .registry import register

Scales = Sequence[tuple[Array | None, Array | None]]


def run(
    parts: Sequence[RecurrentWeights],
    x: Tensor,
    initial: Sequence[Sequence[Tensor] | None],
    *,
    reverse: Sequence[bool] = (False,),
    mask: Array | None = None,
    lengths: Array | None = None,
    scales: Scales | None = None,
    sequences: bool = False,
    scan_order: bool = False,
    zero_masked: bool = False,
    states: int = 0,
) -> tuple[Tensor, list[tuple[Array, ...]], list[Tensor]]:
    """Runs one layer, or the two directions of one, and records it.

    Args:
        parts: the layers, one per direction; built, of one class and configuration.
        x: (B, T, D) of their type, contiguous features.
        initial: per direction the states at the start, or None for zeros.
        reverse, mask, lengths, sequences, scan_order, zero_masked: as in the core.
        scales: per direction the dropout masks of the input (B, D) and the state (B, H).
        states: which final states become tensors: 0 none, 1 all, 2 all but h (of a cell, whose h is its output).

    Returns:
        The output, per direction the final states as arrays (if the layer is stateful or ``states`` asks for some), and
        the tensors of those asked for.
    """
    first = parts[0]
    weights: list[Any] = []
    arrays = []
    for part in parts:
        kernel, recurrent, bias = part._variables()
        weights += (kernel, recurrent, bias)
        arrays.append((kernel._array, recurrent._array, None if bias is None else bias._array))
    inputs: list[Any] = [x, *weights]
    # Arguments that have their default value are left out: each costs time on the way into the core.
    options: dict[str, Any] = {}
    need_initial = any(initial)
    if need_initial:
        starts: list[tuple[Array, ...] | None] = []
        for given in initial:
            starts.append(None if given is None else tuple([np.ascontiguousarray(one._array) for one in given]))
            inputs += given or ()
        options["initial"] = starts
    need_dx, need_weights = is_recording((x,)), is_recording(weights)
    save = need_dx or need_weights or (need_initial and is_recording(inputs))
    if len(parts) > 1 or reverse[0]:
        options["reverse"] = reverse
        options["scan_order"] = scan_order
    if mask is not None:
        options["mask"] = mask
        options["zero_masked"] = zero_masked
    elif lengths is not None:
        options["lengths"] = lengths
    if scales is not None:
        options["x_scale"] = [one[0] for one in scales]
        options["h_scale"] = [one[1] for one in scales]
    if first.activation != "tanh":
        options["activation"] = first.activation
    if first._gated and first.recurrent_activation != "sigmoid":
        options["recurrent_activation"] = first.recurrent_activation
    if first._mixed:
        options["mixed"] = True
    y, finals, saved = _core.recurrent_forward(
        first._core_cell,
        x._array,
        arrays,
        sequences,
        save,
        states != 0 or first.stateful,
        None if save else first._packed_weights(weights),
        **options,
    )
    out = unchecked_tensor(y)
    skipped = 1 if states == 2 else 0
    tensors = [unchecked_tensor(one) for final in finals for one in final[skipped:]] if states else []
    if saved is None:
        return out, finals, tensors

    def backward(dy: Array | None, *dstates: Array | None, buffers: GradientBuffers) -> list[Gradient]:
        dfinals = None
        if dstates and any([one is not None for one in dstates]):
            each = iter([None if one is None else np.ascontiguousarray(one) for one in dstates])
            dfinals = [tuple([None] * skipped + [next(each) for _ in final[skipped:]]) for final in finals]
        steps = False
        for part in parts:
            steps = steps or part.step_gradients
        dy = None if dy is None else with_features(dy)
        out: Any = None
        if need_weights and buffers:
            out = [tuple([buffers.take(variable) for variable in part._variables()]) for part in parts]
        dx, dweights, dstarts, dsteps = _core.recurrent_backward(
            saved, dy, dfinals, need_dx, need_weights, need_initial, steps, out
        )
        if dsteps is not None:
            for part, steps_of_part in zip(parts, dsteps, strict=True):
                part.last_step_gradients = steps_of_part
        gradients: list[Gradient] = [dx]
        for i in range(len(parts)):
            gradients += (None, None, None) if dweights is None else dweights[i]
        if dstarts is not None:
            for given, dstart in zip(initial, dstarts, strict=True):
                if given is not None:
                    gradients += dstart
        return gradients

    record((out, *tensors), inputs, backward, takes_buffers=True)
    return out, finals, tensors


def with_features(array: Array) -> Array:
    """``array`` with contiguous features: any strides for the other axes of (B, T, D), none else."""
    if array.ndim == 3 and (array.shape[2] == 1 or array.strides[2] == array.itemsize):
        # A broadcast gradient has strides of 0, which the core need not know.
        return array if array.strides[0] and array.strides[1] else np.array(array, order="C")
    return np.ascontiguousarray(array)


class CarriedState(Variable):
    """One state of a stateful layer; ``assign`` writes into the layer."""

    __slots__ = ("_layer", "_index")

    def __init__(self, layer: RecurrentLayer, index: int, array: Array) -> None:
        super().__init__(array, trainable=False, name=f"{layer.name}/state_{index}")
        self._layer, self._index = layer, index

    def assign(self, value: Any) -> CarriedState:
        states = self._layer._state
        if states is None or states[self._index].shape != self.shape:
            raise ValueError(f"value: expected a state that {self.name!r} still carries; read layer.states again")
        super().assign(value)
        self._layer._state = [self._array.copy() if i == self._index else one for i, one in enumerate(states)]
        return self


class RecurrentLayer(RecurrentWeights):
    """What the sequence layers share: arguments of Keras's RNN layers, masks, lengths, carried states."""

    supports_masking = True

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        input_length: int | None = None,
        input_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        if input_dim is not None:
            kwargs.setdefault("input_shape", (input_length, input_dim))
        super().__init__(units, **kwargs)
        self.return_sequences = boolean("return_sequences", return_sequences)
        self.return_state = boolean("return_state", return_state)
        self.go_backwards, self.stateful = boolean("go_backwards", go_backwards), boolean("stateful", stateful)
        self.unroll = boolean("unroll", unroll)
        self.zero_output_for_mask = boolean("zero_output_for_mask", zero_output_for_mask)
        self._state: list[Array] | None = None
        self._stddev = 0.0

    def _features(self, input_shape: Any) -> int:
        if isinstance(input_shape, list) or len(input_shape) != 3 or input_shape[2] is None:
            flat = not isinstance(input_shape, list) and len(input_shape) == 2
            hint = "; put an Embedding before it for ids, or return_sequences=True into the recurrent layer before it"
            hint = hint if flat else ""
            got = f"{_text(input_shape)}{hint}"
            raise ValueError(f"inputs: expected shape (batch, time, features) for layer {self.name!r}, got {got}")
        return int(input_shape[2])

    def build(self, sequences_shape: Any, initial_state_shape: None = None) -> None:
        default_only("initial_state_shape", initial_state_shape, None, "the states follow from the units")
        super().build(sequences_shape)

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
        x = self._check_input(sequences)
        if sequences.mask is not None or sequences.lengths is not None or mask is not None or lengths is not None:
            mask, lengths = self._check_masks(sequences, mask, lengths)
        initial = None
        if self.stateful or initial_state is not None:
            initial = self._initial_state(initial_state, x._array.shape[0])
        y, finals, states = self._run(
            x,
            initial,
            training,
            mask,
            lengths,
            self.return_sequences,
            self.go_backwards,
            self.go_backwards,
            self.zero_output_for_mask,
            self.return_state,
        )
        if self.stateful:
            self._state = list(finals)
        return [y, *states] if self.return_state else y

    def _run(
        self,
        x: Tensor,
        initial: list[Tensor] | None,
        training: Any,
        mask: Array | None,
        lengths: Array | None,
        sequences: bool,
        reverse: bool,
        scan_order: bool,
        zero_masked: bool,
        return_state: bool,
    ) -> tuple[Tensor, Sequence[Array], list[Tensor]]:
        """One direction: the output, the final states as arrays and, if asked for, as tensors."""
        drop = bool(training) and self._source is not None
        scales = [self._draw(x.shape[0], x.shape[2])] if drop else None
        y, finals, states = run(
            (self,),
            x,
            (initial,),
            reverse=(reverse,),
            mask=mask,
            lengths=lengths,
            scales=scales,
            sequences=sequences,
            scan_order=scan_order and sequences,
            zero_masked=zero_masked,
            states=int(return_state),
        )
        if drop:
            self._drawn()
        return y, finals[0] if finals else (), states

    def _input_width(self) -> int:
        return self.kernel.shape[0]

    def _check_input(self, inputs: Tensor) -> Tensor:
        array = inputs._array
        if array.ndim != 3 or array.shape[2] != self._input_width():
            expected = f"(batch, time, {self._input_width()})"
            raise ValueError(f"inputs: expected shape {expected} for layer {self.name!r}, got {array.shape}")
        if array.strides[2] == array.itemsize or array.shape[2] == 1:
            return inputs
        x = Tensor(np.ascontiguousarray(array))
        record((x,), (inputs,), lambda g: (g,))
        return x

    def _check_masks(self, inputs: Tensor, mask: Any, lengths: Any) -> tuple[Array | None, Array | None]:
        mask = inputs.mask if inputs.mask is not None else mask
        lengths = inputs.lengths if inputs.lengths is not None else lengths
        if mask is None and lengths is None:
            return None, None
        if mask is not None and lengths is not None:
            raise ValueError(f"mask, lengths: expected at most one of them for layer {self.name!r}, got both")
        return (
            None if mask is None else as_mask(mask, inputs.shape),
            None if lengths is None else as_lengths(lengths, inputs.shape),
        )

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
        return [y, *((batch, n) for n in self._state_sizes())] if self.return_state else y

    # --- the carried state ---

    def _initial_state(self, given: Any, batch: int) -> list[Tensor] | None:
        if self.stateful and self._state is not None and self._state[0].shape[0] != batch:
            raise ValueError(
                f"inputs: expected the batch size {self._state[0].shape[0]} of the first call for the stateful layer "
                f"{self.name!r}, got {batch}"
            )
        if given is not None:
            return self._given_state("initial_state", given, batch)
        if not self.stateful:
            return None
        return [Tensor(one) for one in (self._noise(batch) if self._state is None else self._state)]

    def _noise(self, batch: int) -> list[Array]:
        shapes = [(batch, n) for n in self._state_sizes()]
        if not self._stddev:
            return [np.zeros(shape, self._dtype) for shape in shapes]
        return [_random.generator().normal(0, self._stddev, shape).astype(self._dtype) for shape in shapes]

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
        self._state = None if states is None else self._checked_states(states)
        self._reset_predict_state(states is not None)

    def _checked_states(self, states: Any) -> list[Array]:
        """States of a user as arrays of the layer's own, or the error; nothing is changed."""
        if not self.stateful:
            raise ValueError(f"states: expected a layer with stateful=True, got {self.name!r}")
        if np.isscalar(states):
            raise ValueError(f"states: expected a list of arrays for {self.name!r}, got {states!r}; noise is stddev=")
        given = states if isinstance(states, (list, tuple)) else [states]
        batch = None if self._state is None else self._state[0].shape[0]
        if batch is None:
            shape = np.shape(given[0]) if given else ()
            batch = shape[0] if len(shape) == 2 else 1
        return [np.array(one._array, order="C") for one in self._given_state("states", given, batch)]

    def reset_states(self, states: Any = None, stddev: float = 0.0) -> None:
        """Sets the carried state to zero, to normal noise of that standard deviation, or to the given states.

        Args:
            states: one array (B, units) per state, for instance [h, c].
            stddev: of the noise; at most one of the two.

        Raises:
            ValueError: for states that do not fit (nothing is changed then), and for a negative ``stddev``.
        """
        stddev = real("stddev", stddev, 0)
        if states is not None:
            given = self._checked_states(states)
            if stddev:
                raise ValueError("states, stddev: expected at most one of them, got both")
            self._state = given
        elif self._state is not None:
            self._stddev = stddev
            self._state = self._noise(self._state[0].shape[0])
        self._stddev = stddev
        self._reset_predict_state(states is not None or stddev > 0)

    def _reset_predict_state(self, given: bool) -> None:
        """Lets the next ``predict`` start from the new state too: from zero, or from what was given."""
        copied = None if self._state is None else [array.copy() for array in self._state]
        self._predict_state = (copied, self._stddev) if given else None

    def _take_state(self) -> Any:
        taken = self._state, self._stddev
        self._state, self._stddev = None, 0.0
        return taken

    def _put_state(self, state: Any) -> None:
        self._state, self._stddev = state

    def _get_own_state(self) -> dict[str, Any]:
        own = super()._get_own_state()
        if self.stateful:
            own["state"] = None if self._state is None else [one.copy() for one in self._state]
            own["stddev"] = self._stddev
        return own

    def _set_own_state(self, state: dict[str, Any]) -> None:
        super()._set_own_state(state)
        if not self.stateful:
            return
        arrays, stddev = state["state"], real("stddev", state["stddev"], 0.0)
        if arrays is not None:
            arrays = [np.array(array, self._dtype, order="C") for array in arrays]
            batch = len(arrays[0]) if arrays and arrays[0].ndim else 0
            shapes, expected = [array.shape for array in arrays], [(batch, size) for size in self._state_sizes()]
            if not batch or shapes != expected:
                raise ValueError(f"state: expected states of shapes {expected} for {self.name!r}, got {shapes}")
        self._state, self._stddev = arrays, stddev

    # --- config and streams ---

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
        }

    def _add_to_stream(self, stream: Any) -> None:
        self._check_stream()
        stream.add_recurrent(self._core_cell, *self._arrays(), *self._core_activations)

    def _check_stream(self) -> None:
        if self.go_backwards or self.return_state:
            name = "go_backwards" if self.go_backwards else "return_state"
            raise ValueError(f"layer {self.name!r}: a {type(self).__name__} with {name}=True cannot be streamed")


def _text(shape: Any) -> str:
    return f"{len(shape)} inputs" if isinstance(shape, list) else str(tuple(shape))


_ARGUMENTS = """

    Args:
        units: H.
        activation: of the output: "tanh", "relu", "sigmoid", "linear" or "hard_sigmoid".
        {gate}use_bias: whether a bias is added.
        kernel_initializer, recurrent_initializer, bias_initializer: initial values.
        {own}dropout, recurrent_dropout: rates for the input and the state; one mask each for all time steps of a call.
        return_sequences: all outputs (B, T, H) instead of the last (B, H).
        return_state: also return the final state.
        go_backwards: from the last step to the first; outputs in the order of processing.
        stateful: the state is carried from call to call; the first call fixes the batch size.
        seed: of the dropout masks.
        unroll: accepted, without effect.
        zero_output_for_mask: the output of a masked step is zero, instead of the output before it.
        kernel_regularizer, ..., bias_constraint: accepted as None alone, as ``use_cudnn`` is as "auto" or False.

    Call: ``(x, initial_state=None, mask=None, training=False, *, lengths=None)`` with x (B, T, D), mask (B, T) bool,
    lengths (B,) in 0...T. A masked step repeats the last output and carries the state; steps past a length are zero.

    Raises:
        ValueError: for wrong shapes, and for mask and lengths together.
"""
_GATE = 'recurrent_activation: of the gates: "sigmoid" and the others.\n        '


def _document(cls: Any, gate: bool = False, own: str = "") -> None:
    """Puts the arguments that all recurrent layers have into the docstring, in place of the line ARGUMENTS."""
    text = _ARGUMENTS.format(gate=_GATE if gate else "", own=own)
    cls.__doc__ = (cls.__doc__ or "").replace("\n\n    ARGUMENTS\n", text)


@register()
class SimpleRNN(RecurrentLayer):
    """h_t = activation(x_t · kernel + h_{t-1} · recurrent_kernel + bias).

    ARGUMENTS

    Source: Elman, Finding structure in time, 1990.

    >>> SimpleRNN(4)(np.zeros((2, 3, 5))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: None = None,
        recurrent_regularizer: None = None,
        bias_regularizer: None = None,
        activity_regularizer: None = None,
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_arguments(locals()), **kwargs)


@register()
class LSTM(RecurrentLayer, LSTMWeights):
    """Long short-term memory: c_t = f∘c_{t-1} + i∘tanh(...), h_t = o∘tanh(c_t); gates in the order i, f, c, o.

    ARGUMENTS

    Source: Hochreiter and Schmidhuber, Long short-term memory, 1997; Gers et al., Learning to forget, 2000.

    >>> y, h, c = LSTM(4, return_sequences=True, return_state=True)(np.zeros((2, 3, 5)))
    >>> y.shape, h.shape, c.shape
    ((2, 3, 4), (2, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: None = None,
        recurrent_regularizer: None = None,
        bias_regularizer: None = None,
        activity_regularizer: None = None,
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        zero_output_for_mask: bool = False,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        self.unit_forget_bias = boolean("unit_forget_bias", unit_forget_bias)
        _on_cpu(use_cudnn)
        super().__init__(**_arguments(locals(), "unit_forget_bias", "use_cudnn"), **kwargs)


@register()
class GRU(RecurrentLayer, GRUWeights):
    """Gated recurrent unit: h_t = z∘h_{t-1} + (1 - z)∘tanh(...); gates in the order z, r, h.

    ARGUMENTS

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.

    >>> GRU(4, return_sequences=True)(np.zeros((2, 3, 5))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: None = None,
        recurrent_regularizer: None = None,
        bias_regularizer: None = None,
        activity_regularizer: None = None,
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        *,
        zero_output_for_mask: bool = False,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        self.reset_after = boolean("reset_after", reset_after)
        _on_cpu(use_cudnn)
        super().__init__(**_arguments(locals(), "reset_after", "use_cudnn"), **kwargs)


def _on_cpu(use_cudnn: Any) -> None:
    default_only("use_cudnn", use_cudnn, ("auto", False), "layers run on the CPU")


def _arguments(scope: dict[str, Any], *own: str) -> dict[str, Any]:
    """The arguments of a constructor for the one above it: its locals without what it keeps to itself."""
    return {key: value for key, value in scope.items() if key not in ("self", "kwargs", "__class__", *own)}


_document(SimpleRNN)
_document(LSTM, True, "unit_forget_bias: the bias of the forget gate starts at one.\n        ")
_document(
    GRU, True, "reset_after: the reset gate acts after the product with the state (two biases) or before it.\n        "
)
