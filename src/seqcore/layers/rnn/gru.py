"""GRU and its cell.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from typing import Any

from ..._validation import boolean, default_only, no_regularizers
from ...autograd import Variable
from ...ops.activations import FUSED_ACTIVATIONS, activation_name
from ..registry import register
from .base import RNNCell, RNNLayer, cell_attribute
from .weights import GATED_ARGUMENTS, no_rnn_constraints, no_rnn_regularizers


@register()
class GRUCell(RNNCell):
    """One step of a GRU; the state is h.

    The arguments are those of :class:`GRU`. Call: ``output, states = cell(x, states, training)`` with x (B, D) and
    the states as a list of (B, H), zeros by default; ``get_initial_state(batch_size)`` gives them. In training the
    dropout masks stay the same from step to step until ``reset_dropout_mask()``; a model's call begins with it.

    Raises:
        ValueError: for wrong shapes.

    >>> import numpy as np
    >>> out, [h] = GRUCell(4)(np.zeros((2, 3)))
    >>> out.shape
    (2, 4)
    """

    _config_arguments = (*GATED_ARGUMENTS, "reset_after")
    _gates = 3

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
        **kwargs: Any,
    ) -> None:
        no_rnn_regularizers(kernel_regularizer, recurrent_regularizer, bias_regularizer)
        no_rnn_constraints(kernel_constraint, recurrent_constraint, bias_constraint)
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self._set_initializers(kernel_initializer, recurrent_initializer, bias_initializer)
        self.recurrent_activation = activation_name("recurrent_activation", recurrent_activation, FUSED_ACTIVATIONS)
        self.reset_after = boolean("reset_after", reset_after)
        self.core_cell = "gru" if self.reset_after else "gru_reset_before"

    def _make_bias(self) -> Variable:
        if not self.reset_after:
            return super()._make_bias()
        return self.add_weight((2, 3 * self.units), self.bias_initializer, name="bias")


@register()
class GRU(RNNLayer):
    """Gated recurrent unit: h_t = z∘h_{t-1} + (1 - z)∘tanh(...); gates in the order z, r, h.

    Args:
        units: number of units H.
        activation: of the output, "tanh" by default, or "relu", "sigmoid", "linear", "hard_sigmoid".
        recurrent_activation: of the gates, "sigmoid" by default, or one of the others.
        use_bias: whether a bias is added, True by default.
        kernel_initializer: initial values of the kernel (D, 3 H).
        recurrent_initializer: initial values of the recurrent kernel (H, 3 H).
        bias_initializer: initial values of the bias (2, 3 H), one row for the input and one for the state, or
            (3 H,) with ``reset_after=False``.
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer: accepted only as None.
        kernel_constraint, recurrent_constraint, bias_constraint: accepted only as None.
        dropout: share of the input features that a call in training leaves out, 0 <= dropout < 1.
        recurrent_dropout: share of the state. Both have one mask for all time steps of a call.
        seed: of the dropout masks, None or an integer.
        return_sequences: return all outputs (B, T, H) instead of the last (B, H).
        return_state: also return the final state h (B, H).
        go_backwards: walk from the last step to the first; outputs come in the order of processing.
        stateful: carry the state from call to call; the first call fixes the batch size.
        unroll: accepted, without effect.
        reset_after: whether the reset gate acts after the product with the state (two biases), True by default, or
            before it.
        use_cudnn: accepted only as "auto" or False.
        zero_output_for_mask: make the output of a masked step zero, instead of the output before it.

    Call: ``(x, initial_state=None, mask=None, training=False, *, lengths=None)`` with x (B, T, D), mask (B, T) bool,
    lengths (B,) in 0...T. A masked step repeats the last output and carries the state; steps past a length are zero.

    Raises:
        ValueError: for wrong shapes, and for mask and lengths together.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.

    >>> import numpy as np
    >>> GRU(4, return_sequences=True)(np.zeros((2, 3, 5))).shape
    (2, 3, 4)
    """

    _config_arguments = (*GRUCell._config_arguments, *RNNLayer._config_arguments)
    cell: GRUCell
    recurrent_activation: str = cell_attribute()
    reset_after: bool = cell_attribute()

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
        **kwargs: Any,
    ) -> None:
        super().__init__(return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)
        no_regularizers(activity_regularizer=activity_regularizer)
        no_rnn_regularizers(kernel_regularizer, recurrent_regularizer, bias_regularizer)
        no_rnn_constraints(kernel_constraint, recurrent_constraint, bias_constraint)
        default_only("use_cudnn", use_cudnn, ("auto", False), "layers run on the CPU")
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        dropouts = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "seed": seed}
        arguments = units, activation, recurrent_activation, use_bias, *initial
        self._make_cell(GRUCell, *arguments, reset_after=reset_after, **dropouts)
