"""SimpleRNN and its cell.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from typing import Any

from ..._validation import no_regularizers
from ...autograd import Tensor
from ..registry import register
from .base import RNNCell, RNNLayer
from .weights import no_rnn_constraints, no_rnn_regularizers


@register()
class SimpleRNNCell(RNNCell):
    """One step of a SimpleRNN; the state is h.

    The arguments are those of :class:`SimpleRNN`. Call: ``output, states = cell(x, states, training)`` with x (B, D)
    and the states as a list of (B, H), zeros by default; ``get_initial_state(batch_size)`` gives them. In training
    the dropout masks stay the same from step to step until ``reset_dropout_mask()``; a model's call begins with it.

    Raises:
        ValueError: for wrong shapes.

    >>> import numpy as np
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
        no_rnn_regularizers(kernel_regularizer, recurrent_regularizer, bias_regularizer)
        no_rnn_constraints(kernel_constraint, recurrent_constraint, bias_constraint)
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self._set_initializers(kernel_initializer, recurrent_initializer, bias_initializer)

    def call(self, sequence: Tensor, states: Any = None, training: Any = False) -> tuple[Tensor, list[Tensor]]:
        # Keras calls the input of this one cell so.
        return super().call(sequence, states, training)


@register()
class SimpleRNN(RNNLayer):
    """h_t = activation(x_t · kernel + h_{t-1} · recurrent_kernel + bias).

    Args:
        units: number of units H.
        activation: of the output, "tanh" by default, or "relu", "sigmoid", "linear", "hard_sigmoid".
        use_bias: whether a bias is added, True by default.
        kernel_initializer: initial values of the kernel (D, H).
        recurrent_initializer: initial values of the recurrent kernel (H, H).
        bias_initializer: initial values of the bias, (H,).
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
        zero_output_for_mask: make the output of a masked step zero, instead of the output before it.

    Call: ``(x, initial_state=None, mask=None, training=False, *, lengths=None)`` with x (B, T, D), mask (B, T) bool,
    lengths (B,) in 0...T. A masked step repeats the last output and carries the state; steps past a length are zero.

    Raises:
        ValueError: for wrong shapes, and for mask and lengths together.

    Source: Elman, Finding structure in time, 1990.

    >>> import numpy as np
    >>> SimpleRNN(4)(np.zeros((2, 3, 5))).shape
    (2, 4)
    """

    _config_arguments = (*SimpleRNNCell._config_arguments, *RNNLayer._config_arguments)
    cell: SimpleRNNCell

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
        **kwargs: Any,
    ) -> None:
        super().__init__(return_sequences, return_state, go_backwards, stateful, unroll, **kwargs)
        no_regularizers(activity_regularizer=activity_regularizer)
        no_rnn_regularizers(kernel_regularizer, recurrent_regularizer, bias_regularizer)
        no_rnn_constraints(kernel_constraint, recurrent_constraint, bias_constraint)
        initial = kernel_initializer, recurrent_initializer, bias_initializer
        dropouts = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "seed": seed}
        self._make_cell(SimpleRNNCell, units, activation, use_bias, *initial, **dropouts)
