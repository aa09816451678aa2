"""ContextRNN, the recurrent network with contextual features (RNN-CF), and its cell.

B: batch, T: time steps, D: input features, H: units, C: context units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import initializers as _initializers
from ... import ops
from ..._core.context import context_scan_backward, context_scan_forward
from ..._validation import boolean, integer, real
from ...autograd import Gradient, Tensor, Variable, is_recording, record, recorded, unchecked_tensor
from ...ops.matmul import dense
from ...typing import Array
from ..registry import register
from .base import RNNCell, RNNLayer, cell_attribute
from .run import SequenceOptions, contiguous_features
from .weights import ARGUMENTS, DropoutMasks


@register()
class ContextRNNCell(RNNCell):
    """One step of a ContextRNN; the states are h and s, the output is [h, s] in one array.

    The arguments are those of :class:`ContextRNN`. Call: ``output, states = cell(x, states, training)`` with x (B, D)
    and the states as a list of (B, H) and (B, C), zeros by default; ``get_initial_state(batch_size)`` gives them. In
    training the dropout masks stay the same from step to step until ``reset_dropout_mask()``; a model's call begins
    with it.

    Raises:
        ValueError: for wrong shapes.

    >>> out, [h, s] = ContextRNNCell(4, 2)(np.zeros((2, 3)))
    >>> out.shape, h.shape, s.shape
    ((2, 6), (2, 4), (2, 2))
    """

    _config_arguments = (*ARGUMENTS, "context_units", "alpha", "context_initializer", "learn_alpha")
    # dL/dz of every step, (B, T, C), for z = x · context_kernel.
    last_context_gradients: Array | None = None
    context_kernel: Variable
    context_recurrent_kernel: Variable
    # log(alpha / (1 - alpha)), (1,), where alpha is learned.
    alpha_logit: Variable | None = None

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
        learn_alpha: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self._set_initializers(kernel_initializer, recurrent_initializer, bias_initializer)
        self.context_units = integer("context_units", context_units, 1)
        self.alpha = real("alpha", alpha, 0.0, 1.0)
        self.learn_alpha = boolean("learn_alpha", learn_alpha)
        if self.learn_alpha and not 0 < self.alpha < 1:
            raise ValueError(f"alpha: expected a number between 0 and 1 to learn from, got {alpha}")
        self.context_initializer = _initializers.get(context_initializer, "context_initializer")

    def state_sizes(self) -> tuple[int, ...]:
        return self.units, self.context_units

    @property
    def output_size(self) -> int:
        return self.units + self.context_units

    @property
    def current_alpha(self) -> float:
        """The given alpha, or the learned one."""
        return self.alpha if self.alpha_logit is None else 1 / (1 + math.exp(-float(self.alpha_logit._array[0])))

    def _add_variables(self, features: int) -> None:
        h, c = self.units, self.context_units
        self.context_kernel = self.add_weight((features, c), self.context_initializer, name="context_kernel")
        self.kernel = self.add_weight((features, h), self.kernel_initializer, name="kernel")
        self.context_recurrent_kernel = self.add_weight(
            (c, h), self.kernel_initializer, name="context_recurrent_kernel"
        )
        self.recurrent_kernel = self.add_weight((h, h), self.recurrent_initializer, name="recurrent_kernel")
        if self.learn_alpha:
            logit = _initializers.Constant(math.log(self.alpha / (1 - self.alpha)))
            self.alpha_logit = self.add_weight((1,), logit, name="alpha_logit")

    def core_variables(self) -> tuple[Any, Any, Any]:
        """Those of the simple recurrent layer that h is over [x_t, s_t]; its kernel is [A; P]."""
        return _join(self.kernel, self.context_recurrent_kernel, 0), self.recurrent_kernel, self.bias

    def packed_weights(self, variables: Sequence[Any]) -> None:
        # The joined kernel is new in each call, so nothing is packed.
        return None

    def run(
        self,
        x: Tensor,
        initial: Sequence[Tensor] | None,
        options: SequenceOptions,
        mask: Array | None = None,
        lengths: Array | None = None,
        dropout_masks: DropoutMasks | None = None,
    ) -> tuple[Tensor, Sequence[Array], list[Tensor]]:
        """As :func:`run_sequence`. The context does not depend on h: s takes one product and one scan over time."""
        x_mask, h_mask = dropout_masks or (None, None)
        # One tensor for the two uses of x: their gradients are added before those of other layers.
        x = recorded(x._array, (x,), lambda g: (g,)) if x_mask is None else ops.multiply(x, x_mask[:, None, :])
        h0, s0 = ([initial[0]], initial[1]) if initial else (None, None)
        reverse = options.reverse[0]
        z = dense(x, self.context_kernel, mixed=self.uses_bfloat16)
        s, s_last = self._scan_context(z, s0, mask, lengths, reverse)
        masks = None if h_mask is None else (None, h_mask)
        h, finals, states = super().run(_join(x, s), h0, options, mask, lengths, masks)
        shown = _shown(mask, reverse, options.zero_masked, initial is not None)
        if options.sequences:
            s = s if shown is None else ops.multiply(s, shown)
            if options.processing_order:
                s = recorded(_flip(s._array, lengths), (s,), lambda g: (_flip(g, lengths),))
        elif shown is None:
            s = s_last
        else:
            s = ops.multiply(s_last, shown[:, 0 if reverse else -1])
        return _join(h, s), [*finals, s_last._array], [*states, s_last] if states else []

    def _scan_context(
        self, z: Tensor, initial: Tensor | None, mask: Array | None, lengths: Array | None, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        """s_t = (1 - alpha) z_t + alpha s_{t-1} at every step (B, T, C), and the last s (B, C), as one operation."""
        alpha, start = self.current_alpha, None if initial is None else np.ascontiguousarray(initial._array)
        s, last = context_scan_forward(z._array, alpha, start, lengths, mask, reverse)

        need_alpha = is_recording((self.alpha_logit,))

        def backward(ds: Array | None, dlast: Array | None) -> tuple[Gradient, ...]:
            ds = None if ds is None else contiguous_features(ds)
            dlast = None if dlast is None else np.ascontiguousarray(dlast)
            dz, dinitial = context_scan_backward(ds, dlast, alpha, s.shape, lengths, mask, reverse, self.dtype)
            if self.step_gradients and alpha < 1:
                # dz_t = (1 - alpha) dL/ds_t; with alpha = 1 the context never changes, and dz says nothing about it.
                self.last_context_gradients = np.asarray(dz) / (1 - alpha)
            dlogit = None
            if need_alpha:
                # alpha (1 - alpha) times the sum of (s_{t-1} - z_t) dL/ds_t; dz is 0 where s is carried.
                moved = np.multiply(s - z._array, dz)
                dlogit = np.array([moved.sum(dtype=np.float64)], s.dtype)
            return dz, dinitial, dlogit

        outputs = unchecked_tensor(s), unchecked_tensor(last)
        record(outputs, (z, initial, self.alpha_logit), backward)
        return outputs

    def _add_to_stream(self, stream: Any) -> None:
        variables = (self.context_kernel, self.kernel, self.context_recurrent_kernel, self.recurrent_kernel, self.bias)
        arrays = [None if variable is None else variable._array for variable in variables]
        stream.add_context(*arrays, self.current_alpha, self.activation, mixed=self.uses_bfloat16)


@register()
class ContextRNN(RNNLayer):
    """Recurrent network with contextual features: a slow context next to the fast state.

    s_t = (1 - alpha) x_t·B + alpha s_{t-1}; h_t = activation(x_t·A + s_t·P + h_{t-1}·R + bias); output [h_t, s_t].

    Args:
        units: number of units H.
        context_units: number of context units C.
        alpha: how slowly the context changes, 0...1, 0.9 by default.
        activation: of h, "tanh" by default, or "relu", "sigmoid", "linear", "hard_sigmoid".
        use_bias: whether h has a bias, True by default.
        kernel_initializer: initial values of A (D, H) and P (C, H).
        recurrent_initializer: initial values of R (H, H).
        bias_initializer: initial values of the bias (H,).
        context_initializer: initial values of B (D, C).
        learn_alpha: train alpha too, from the given value on, as the logistic function of the weight ``alpha_logit``
            (1,); ``current_alpha`` tells its value. The paper learns one for each context unit. False by default.
        dropout: share of the input features that a call in training leaves out, 0 <= dropout < 1.
        recurrent_dropout: share of h. Both have one mask for all time steps of a call.
        return_sequences: return all outputs (B, T, H + C) instead of the last (B, H + C).
        return_state: also return the final states h (B, H) and s (B, C).
        go_backwards: walk from the last step to the first; outputs come in the order of processing.
        stateful: carry the states from call to call; the first call fixes the batch size.
        unroll: accepted, without effect.
        seed: of the dropout masks, None or an integer.

    Call: ``(x, initial_state=None, mask=None, training=False, *, lengths=None)`` with x (B, T, D).

    Raises:
        ValueError: for wrong shapes, for mask and lengths together, and for an alpha of 0 or 1 that is to be learned.

    Source: Mikolov et al., Learning longer memory in recurrent neural networks, 2014.

    >>> ContextRNN(4, 3, return_sequences=True)(np.zeros((2, 5, 6))).shape
    (2, 5, 7)
    """

    _config_arguments = (*ContextRNNCell._config_arguments, *RNNLayer._config_arguments)
    cell: ContextRNNCell
    context_units: int = cell_attribute()
    alpha: float = cell_attribute()
    context_initializer: Any = cell_attribute()
    context_kernel: Variable = cell_attribute()
    context_recurrent_kernel: Variable = cell_attribute()
    last_context_gradients: Array | None = cell_attribute()
    learn_alpha: bool = cell_attribute()
    alpha_logit: Variable | None = cell_attribute()
    current_alpha: float = cell_attribute()

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
        learn_alpha: bool = False,
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
        initial = kernel_initializer, recurrent_initializer, bias_initializer, context_initializer
        dropouts = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "seed": seed}
        arguments = units, context_units, alpha, activation, use_bias, *initial
        self._make_cell(ContextRNNCell, *arguments, learn_alpha=learn_alpha, **dropouts)


def _join(a: Tensor, b: Tensor, axis: int = -1) -> Tensor:
    """Two tensors one after another along ``axis``, without the checks of ``ops.concat``."""
    size = a._array.shape[axis]

    def backward(g: Array) -> tuple[Gradient, ...]:
        return (g[..., :size], g[..., size:]) if axis else (g[:size], g[size:])

    return recorded(_concatenate(a._array, b._array, axis), (a, b), backward)


def _concatenate(a: Array, b: Array, axis: int = -1) -> Array:
    """Two arrays one after another along ``axis``; sequences come time-major, as the core walks them."""
    out = None
    if a.ndim == 3:
        (batch, steps, n), m = a.shape, b.shape[2]
        out = np.empty((steps, batch, n + m), a.dtype).transpose(1, 0, 2)
    return np.concatenate((a, b), axis, out)


def _flip(array: Array, lengths: Array | None) -> Array:
    """(B, T, N) with the steps of each sequence in reverse order; padding stays."""
    if lengths is None:
        return array[:, ::-1]
    steps = np.arange(array.shape[1])
    order = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    flipped: Array = np.take_along_axis(array, order[:, :, None], axis=1)
    return flipped


def _shown(mask: Array | None, reverse: bool, zero_masked: bool, has_start: bool) -> Array | None:
    """(B, T, 1): the steps whose output is not zero; None for all.

    Keras shows zeros before the first step that is not masked; there s is zero anyway unless it starts elsewhere.
    """
    if mask is None or not (zero_masked or has_start):
        return None
    if zero_masked:
        return mask[:, :, None]
    walked = mask[:, ::-1] if reverse else mask
    begun: Array = np.logical_or.accumulate(walked, axis=1)
    return np.expand_dims(begun[:, ::-1] if reverse else begun, 2)
