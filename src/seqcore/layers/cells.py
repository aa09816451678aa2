"""Cells: one time step of a recurrent layer, for loops written by hand. Each runs the layer's core on one step.

B: batch, D: input features, H: units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import boolean
from ..autograd.tape import record
from ..autograd.tensor import Tensor
from ..typing import Array
from .calling import CallScope, context
from .context import ContextWeights, run_context
from .parameters import GRUWeights, LSTMWeights, RecurrentWeights
from .recurrent import _arguments, _text, run
from .registry import register


class Cell(RecurrentWeights):
    """What the cells share: the step, and dropout masks that stay the same until they are reset."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self._masks: tuple[Array | None, Array | None] | None = None
        # The call of a model in which they were drawn.
        self._masks_call: CallScope | None = None

    def _features(self, input_shape: Any) -> int:
        if isinstance(input_shape, list) or len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                f"inputs: expected shape (batch, features) for cell {self.name!r}, got {_text(input_shape)}"
            )
        return int(input_shape[1])

    def call(self, inputs: Tensor, states: Any = None, training: Any = False) -> tuple[Tensor, list[Tensor]]:
        batch, features = self._check_step(inputs)
        given = self.get_initial_state(batch) if states is None else self._given_state("states", states, batch)
        return self._step(_with_time(inputs), given, self._step_masks(batch, features) if training else (None, None))

    def _check_step(self, inputs: Tensor) -> tuple[int, int]:
        shape, features = inputs.shape, self.kernel.shape[0]
        if len(shape) != 2 or shape[1] != features:
            raise ValueError(f"inputs: expected shape (batch, {features}) for cell {self.name!r}, got {shape}")
        return shape[0], shape[1]

    def _step_masks(self, batch: int, features: int) -> tuple[Array | None, Array | None]:
        """The masks of this call of the model, drawn at its first step."""
        if self._source is None:
            return None, None
        call, masks = context.call, self._masks
        new_call = call is not None and call is not self._masks_call
        if new_call or masks is None or any(mask is not None and mask.shape[0] != batch for mask in masks):
            masks = self._masks = self._draw(batch, features)
            self._masks_call = call
            self._drawn()
        return masks

    def _step(
        self, x: Tensor, states: list[Tensor], scales: tuple[Array | None, Array | None]
    ) -> tuple[Tensor, list[Tensor]]:
        """x (B, 1, D) and states to the output and the new states."""
        y, _, others = run((self,), x, (states,), scales=[scales], states=2)
        return y, [y, *others]

    def reset_dropout_mask(self) -> None:
        """Lets the next step in training draw new masks, of the input and of the state."""
        self._masks = None

    reset_recurrent_dropout_mask = reset_dropout_mask

    def reset_dropout_masks(self) -> None:
        self._masks = None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.output_size)


def _with_time(inputs: Tensor) -> Tensor:
    """(B, D) as (B, 1, D)."""
    x = Tensor(np.ascontiguousarray(inputs._array)[:, None, :])
    record((x,), (inputs,), lambda g: (g[:, 0, :],))
    return x


_ARGUMENTS = """

    Arguments as in the layer {layer}. Call: ``output, states = cell(x, states, training)`` with x (B, D) and the states
    as a list of (B, H), zeros by default; ``get_initial_state(batch_size)`` gives them. In training the dropout masks
    stay the same from step to step until ``reset_dropout_mask()``; a model's call begins with it.

    Raises:
        ValueError: for wrong shapes.
"""


def _document(cls: Any, layer: str) -> None:
    cls.__doc__ = (cls.__doc__ or "").replace("\n\n    ARGUMENTS\n", _ARGUMENTS.format(layer=layer))


@register()
class SimpleRNNCell(Cell):
    """One step of a SimpleRNN.

    ARGUMENTS

    >>> out, [h] = SimpleRNNCell(4)(np.zeros((2, 3)))
    >>> out.shape, h.shape
    ((2, 4), (2, 4))
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
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_arguments(locals()), **kwargs)

    def call(self, sequence: Tensor, states: Any = None, training: Any = False) -> tuple[Tensor, list[Tensor]]:
        # Keras calls the input of this one cell so.
        return super().call(sequence, states, training)


@register()
class LSTMCell(Cell, LSTMWeights):
    """One step of an LSTM; the states are h and c.

    ARGUMENTS

    >>> cell = LSTMCell(4)
    >>> out, [h, c] = cell(np.zeros((2, 3)), cell.get_initial_state(2))
    >>> out.shape, c.shape
    ((2, 4), (2, 4))
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
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        self.unit_forget_bias = boolean("unit_forget_bias", unit_forget_bias)
        super().__init__(**_arguments(locals(), "unit_forget_bias"), **kwargs)


@register()
class GRUCell(Cell, GRUWeights):
    """One step of a GRU.

    ARGUMENTS

    >>> out, [h] = GRUCell(4)(np.zeros((2, 3)))
    >>> out.shape
    (2, 4)
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
        kernel_constraint: None = None,
        recurrent_constraint: None = None,
        bias_constraint: None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        *,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        self.reset_after = boolean("reset_after", reset_after)
        super().__init__(**_arguments(locals(), "reset_after"), **kwargs)


@register()
class ContextRNNCell(Cell, ContextWeights):
    """One step of a ContextRNN; the states are h and s, the output is [h, s] in one array.

    ARGUMENTS

    >>> out, [h, s] = ContextRNNCell(4, 2)(np.zeros((2, 3)))
    >>> out.shape, h.shape, s.shape
    ((2, 6), (2, 4), (2, 2))
    """

    def __init__(
        self,
        units: int,
        context_units: int,
        alpha: float = 0.9,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        context_initializer: Any = "glorot_uniform",
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_context(context_units, alpha, context_initializer)
        super().__init__(**_arguments(locals(), "context_units", "alpha", "context_initializer"), **kwargs)

    def _step(
        self, x: Tensor, states: list[Tensor], scales: tuple[Array | None, Array | None]
    ) -> tuple[Tensor, list[Tensor]]:
        y, _, new = run_context(
            self,
            x,
            states,
            reverse=False,
            mask=None,
            lengths=None,
            scales=scales,
            sequences=False,
            scan_order=False,
            zero_masked=False,
            states=True,
        )
        return y, new


_document(SimpleRNNCell, "SimpleRNN")
_document(LSTMCell, "LSTM")
_document(GRUCell, "GRU")
_document(ContextRNNCell, "ContextRNN")
