"""RNNWeights: arguments, variables, dropout masks and states of a cell.

B: batch, T: time steps, D: input features, H: units, G: gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import initializers as _initializers
from ... import ops
from ..._core.recurrent import PackedWeights
from ..._validation import boolean, default_only, dropout_rate, integer, no_regularizers, seed_or_none
from ...autograd import Tensor, Variable
from ...ops.activations import FUSED_ACTIVATIONS, activation_name
from ...typing import Array
from ..base import NumericLayer
from ..dropout import DropoutGenerator

# Arguments of every cell, as configs hold them, and those of a cell with gates.
ARGUMENTS = (
    "units",
    "activation",
    "use_bias",
    "kernel_initializer",
    "recurrent_initializer",
    "bias_initializer",
    "dropout",
    "recurrent_dropout",
    "seed",
)
GATED_ARGUMENTS = (*ARGUMENTS[:2], "recurrent_activation", *ARGUMENTS[2:])

# Masks of one call: (B, D) of the input and (B, H) of the state, each None for none.
DropoutMasks = tuple[Array | None, Array | None]


def no_rnn_regularizers(kernel: None, recurrent: None, bias: None) -> None:
    """Accept only None as the regularizers of a recurrent layer."""
    no_regularizers(kernel_regularizer=kernel, recurrent_regularizer=recurrent, bias_regularizer=bias)


def no_rnn_constraints(kernel: None, recurrent: None, bias: None) -> None:
    """Accept only None as the constraints of a recurrent layer."""
    no_regularizers(kernel_constraint=kernel, recurrent_constraint=recurrent, bias_constraint=bias)


def check_implementation(implementation: int) -> None:
    """Check Keras's choice between ways to compute the same values."""
    default_only("implementation", implementation, (2, 1, 0), "there is one implementation")


class _Packed(NamedTuple):
    """Packed weights of the core, with the variables and versions that they were made from."""

    variables: tuple[Any, ...] = ()
    versions: tuple[int, ...] = ()
    weights: Any = None


class RNNWeights(NumericLayer):
    """Kernel (D, G * H), recurrent kernel (H, G * H), bias (G * H,), and the arguments that they depend on.

    Subclasses name the cell of the core, and add their own arguments, variables and states.
    """

    _config_arguments: tuple[str, ...] = ARGUMENTS
    supports_masking = False
    _gates = 1
    # Name of the cell in the core.
    core_cell: str = "rnn"
    # Of the gates; None in a cell without.
    recurrent_activation: str | None = None
    # True to keep dL/dh of every step of the backward pass, (B, T, H), in `last_step_gradients`.
    step_gradients = False
    last_step_gradients: Array | None = None
    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        *,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_implementation(implementation)
        self.units = integer("units", units, 1)
        self.activation = activation_name("activation", activation, FUSED_ACTIVATIONS)
        self.use_bias = boolean("use_bias", use_bias)
        self.dropout = dropout_rate("dropout", dropout)
        self.recurrent_dropout = dropout_rate("recurrent_dropout", recurrent_dropout)
        self.seed = seed_or_none(seed)
        self.dropout_generator = DropoutGenerator(seed) if dropout or recurrent_dropout else None
        # Exchanged as a whole: several threads may call the layer.
        self._packed = _Packed()

    def _set_initializers(self, kernel_initializer: Any, recurrent_initializer: Any, bias_initializer: Any) -> None:
        self.kernel_initializer = _initializers.get(kernel_initializer, "kernel_initializer")
        self.recurrent_initializer = _initializers.get(recurrent_initializer, "recurrent_initializer")
        self.bias_initializer = _initializers.get(bias_initializer, "bias_initializer")

    # --- variables ---

    def build(self, input_shape: Any) -> None:
        self._add_variables(input_shape[-1])
        self.bias = self._make_bias() if self.use_bias else None
        self.built = True

    def _add_variables(self, features: int) -> None:
        """Make all variables but the bias."""
        h, columns = self.units, self._gates * self.units
        self.kernel = self.add_weight((features, columns), self.kernel_initializer, name="kernel")
        self.recurrent_kernel = self.add_weight((h, columns), self.recurrent_initializer, name="recurrent_kernel")

    def _make_bias(self) -> Variable:
        return self.add_weight((self._gates * self.units,), self.bias_initializer, name="bias")

    def core_variables(self) -> tuple[Any, Any, Any]:
        """Kernel, recurrent kernel and bias, in the core's order."""
        return self.kernel, self.recurrent_kernel, self.bias

    def packed_weights(self, variables: Sequence[Any]) -> Any:
        """Packed weights of the core (of both directions), made again once a weight has changed."""
        packed, versions, weights = self._packed
        if len(packed) == len(variables):
            for known, version, variable in zip(packed, versions, variables):
                if known is not variable or (variable is not None and variable.version != version):
                    break
            else:
                return weights
        versions = tuple([0 if variable is None else variable.version for variable in variables])
        self._packed = _Packed(tuple(variables), versions, PackedWeights())
        return self._packed.weights

    # --- dropout masks ---

    def sample_dropout_masks(self, batch: int, features: int) -> DropoutMasks | None:
        """The masks of one call in training; :meth:`advance_dropout` follows once the call has succeeded."""
        generator, rate = self.dropout_generator, self.recurrent_dropout
        if generator is None:
            return None
        x = generator.mask((batch, features), self.dropout, self.dtype) if self.dropout else None
        return x, generator.mask((batch, self.units), rate, self.dtype, 1) if rate else None

    def advance_dropout(self) -> None:
        if self.dropout_generator is not None:
            self.dropout_generator.call += 2

    def get_own_state(self) -> dict[str, Any]:
        return {} if self.dropout_generator is None else {"dropout": self.dropout_generator.get_state()}

    def set_own_state(self, state: dict[str, Any]) -> None:
        if self.dropout_generator is not None and "dropout" in state:
            self.dropout_generator.set_state(state["dropout"])

    # --- states ---

    @property
    def state_size(self) -> Any:
        """Units of the state: a number, or one per state."""
        sizes = self.state_sizes()
        return sizes[0] if len(sizes) == 1 else list(sizes)

    @property
    def output_size(self) -> int:
        """Units of the output of one step."""
        return self.units

    def state_sizes(self) -> tuple[int, ...]:
        return (self.units,)

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros, one (B, units) tensor per state."""
        batch = integer("batch_size", batch_size, 1)
        return [Tensor(np.zeros((batch, size), self._dtype)) for size in self.state_sizes()]

    def check_states(self, name: str, given: Any, batch: int) -> list[Tensor]:
        """States from an argument of that name, checked and cast."""
        sizes = self.state_sizes()
        items = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(items) != len(sizes):
            raise ValueError(f"{name}: expected {len(sizes)} states for layer {self.name!r}, got {len(items)}")
        states = [ops.cast(item, self._dtype) for item in items]
        for state, size in zip(states, sizes, strict=True):
            if state.shape != (batch, size):
                raise ValueError(
                    f"{name}: expected states of shape {(batch, size)} for layer {self.name!r}, got {state.shape}"
                )
        return states

    # --- streams ---

    def _add_to_stream(self, stream: Any) -> None:
        weights = [None if variable is None else variable._array for variable in self.core_variables()]
        activations = self.activation, self.recurrent_activation or "sigmoid"
        stream.add_recurrent(self.core_cell, *weights, *activations, mixed=self.uses_bfloat16)
