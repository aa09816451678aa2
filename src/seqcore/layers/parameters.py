"""What a recurrent layer and its cell share: arguments, weights, dropout masks, states.

B: batch, T: time steps, D: input features, H: units, G: gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core, ops
from .. import initializers as _initializers
from .._validation import at_least, boolean, default_only, seed_or_none
from ..autograd.tensor import Tensor, Variable
from ..ops.activations import FUSED_ACTIVATIONS, activation_name
from ..typing import Array
from .arguments import check_rate, no_regularizers
from .base import DropoutSource, Layer


class _Packed:
    """Packed weights for calls without a backward pass, and the variables and versions they were made of.

    One tuple, exchanged as a whole: several threads may call the layer.
    """

    __slots__ = ("entry",)

    def __init__(self) -> None:
        self.entry: tuple[tuple[Any, ...], list[int], Any] = ((), [], None)


class RecurrentWeights(Layer):
    """Kernel (D, G * H), recurrent kernel (H, G * H), bias; subclasses say which cell of the core they are."""

    _input_kinds = "fiub"
    _takes_several = False
    _gates = 1
    # Whether the cell has recurrent_activation.
    _gated = False
    # Name of the cell in the core.
    _core_cell: str = "rnn"
    # Whether the final state is the next call's first one.
    stateful = False
    # Whether the way back keeps dL/dh of every step, (B, T, H), in `last_step_gradients`.
    step_gradients = False
    last_step_gradients: Array | None = None
    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        units: int,
        *,
        activation: Any,
        recurrent_activation: Any = None,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: None = None,
        recurrent_regularizer: None = None,
        bias_regularizer: None = None,
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        no_regularizers(
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        # Keras's choice between two ways of computing the same.
        default_only("implementation", implementation, (2, 1, 0), "there is one implementation")
        self.units = at_least("units", units, 1)
        self.activation = activation_name("activation", activation, FUSED_ACTIVATIONS)
        if self._gated:
            self.recurrent_activation = activation_name("recurrent_activation", recurrent_activation, FUSED_ACTIVATIONS)
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = _initializers.get(kernel_initializer, "kernel_initializer")
        self.recurrent_initializer = _initializers.get(recurrent_initializer, "recurrent_initializer")
        self.bias_initializer = _initializers.get(bias_initializer, "bias_initializer")
        self.dropout = check_rate("dropout", dropout)
        self.recurrent_dropout = check_rate("recurrent_dropout", recurrent_dropout)
        self.seed = seed_or_none(seed)
        self._source = DropoutSource(seed) if dropout or recurrent_dropout else None
        self._packed = _Packed()

    @property
    def _core_activations(self) -> tuple[str, str]:
        return self.activation, self.recurrent_activation if self._gated else "sigmoid"

    @property
    def state_size(self) -> Any:
        """Units of the state: a number, or one per state."""
        sizes = self._state_sizes()
        return sizes[0] if len(sizes) == 1 else list(sizes)

    @property
    def output_size(self) -> int:
        """Units of the output of one step."""
        return self.units

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.units,)

    # --- weights ---

    def _features(self, input_shape: Any) -> int:
        """D of an input shape, or the error."""
        raise TypeError(f"{type(self).__name__}: a recurrent class must define _features")

    def build(self, input_shape: Any) -> None:
        features, columns = self._features(input_shape), self._gates * self.units
        self.kernel = self.add_weight((features, columns), self.kernel_initializer, name="kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, columns), self.recurrent_initializer, name="recurrent_kernel"
        )
        self.bias = self._make_bias() if self.use_bias else None
        self.built = True

    def _make_bias(self) -> Variable:
        return self.add_weight((self._gates * self.units,), self.bias_initializer, name="bias")

    def _variables(self) -> tuple[Any, ...]:
        return self.kernel, self.recurrent_kernel, self.bias

    def _arrays(self) -> tuple[Array, Array, Array | None]:
        bias = self.bias
        return self.kernel._array, self.recurrent_kernel._array, None if bias is None else bias._array

    def _packed_weights(self, variables: list[Any]) -> Any:
        """The core's packed copy of these weights (of both directions), a new one once a weight has changed."""
        packed, versions, weights = self._packed.entry
        if len(packed) == len(variables):
            for known, version, one in zip(packed, versions, variables):
                if known is not one or (one is not None and one.version != version):
                    break
            else:
                return weights
        versions = [0 if one is None else one.version for one in variables]
        weights = _core.PackedWeights()
        self._packed.entry = tuple(variables), versions, weights
        return weights

    # --- dropout and states ---

    def _draw(self, batch: int, features: int) -> tuple[Array | None, Array | None]:
        """Masks (B, D) of the input and (B, H) of the state for one call in training."""
        source = self._source
        if source is None:
            return None, None
        x = source.mask((batch, features), self.dropout, self.dtype) if self.dropout else None
        h = source.mask((batch, self.units), self.recurrent_dropout, self.dtype, 1) if self.recurrent_dropout else None
        return x, h

    def _drawn(self) -> None:
        """Counts a draw, once the call that used it has succeeded."""
        if self._source is not None:
            self._source.call += 2

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros, one (B, units) tensor per state."""
        batch = at_least("batch_size", batch_size, 1)
        return [Tensor(np.zeros((batch, n), self._dtype)) for n in self._state_sizes()]

    def _given_state(self, name: str, given: Any, batch: int) -> list[Tensor]:
        """States from a call's argument, checked and cast."""
        sizes = self._state_sizes()
        items = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(items) != len(sizes):
            raise ValueError(f"{name}: expected {len(sizes)} states for layer {self.name!r}, got {len(items)}")
        states = []
        for one, size in zip(items, sizes, strict=True):
            state = ops.cast(one, self._dtype)
            if state.shape != (batch, size):
                raise ValueError(
                    f"{name}: expected states of shape {(batch, size)} for layer {self.name!r}, got {state.shape}"
                )
            states.append(state)
        return states

    def _get_own_state(self) -> dict[str, Any]:
        return {} if self._source is None else {"dropout": self._source.get_state()}

    def _set_own_state(self, state: dict[str, Any]) -> None:
        if self._source is not None and "dropout" in state:
            self._source.set_state(state["dropout"])

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "units": self.units, "activation": self.activation}
        if self._gated:
            config["recurrent_activation"] = self.recurrent_activation
        return {
            **config,
            "use_bias": self.use_bias,
            "kernel_initializer": _initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": _initializers.serialize(self.recurrent_initializer),
            "bias_initializer": _initializers.serialize(self.bias_initializer),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }


class LSTMWeights(RecurrentWeights):
    """Four gates, in the order i, f, c, o."""

    _gates = 4
    _gated = True
    _core_cell = "lstm"
    unit_forget_bias: bool

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.units, self.units)

    def _make_bias(self) -> Variable:
        if not self.unit_forget_bias:
            return super()._make_bias()
        h, initial = self.units, self.bias_initializer

        def values(shape: tuple[int, ...], dtype: Any) -> Array:
            return np.concatenate([initial((h,), dtype), np.ones(h, dtype), initial((2 * h,), dtype)])

        return self.add_weight((4 * h,), values, name="bias")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class GRUWeights(RecurrentWeights):
    """Three gates, in the order z, r, h; with ``reset_after`` the bias has rows for the input and for the state."""

    _gates = 3
    _gated = True
    reset_after: bool

    @property
    def _core_cell(self) -> str:  # type: ignore[override]
        return "gru" if self.reset_after else "gru_reset_before"

    def _make_bias(self) -> Variable:
        if not self.reset_after:
            return super()._make_bias()
        return self.add_weight((2, 3 * self.units), self.bias_initializer, name="bias")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reset_after": self.reset_after}
