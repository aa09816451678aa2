"""ContextRNN, the recurrent network with contextual features (RNN-CF), over whole sequences.

B: batch, T: time steps, D: input features, H: units, C: context units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core, ops
from .. import initializers as _initializers
from .._validation import at_least, real
from ..autograd.tape import GradientBuffers, is_recording, record
from ..autograd.tensor import Gradient, Tensor, Variable
from ..typing import Array
from .parameters import RecurrentWeights
from .recurrent import RecurrentLayer, _arguments, with_features
from .registry import register


class ContextWeights(RecurrentWeights):
    """context_kernel B (D, C), kernel A (D, H), context_recurrent_kernel P (C, H), recurrent_kernel R (H, H), bias."""

    context_units: int
    alpha: float
    context_kernel: Variable
    context_recurrent_kernel: Variable

    def _set_context(self, context_units: Any, alpha: Any, initializer: Any) -> None:
        self.context_units = at_least("context_units", context_units, 1)
        self.alpha = real("alpha", alpha, 0.0, 1.0)
        self.context_initializer = _initializers.get(initializer, "context_initializer")

    def _state_sizes(self) -> tuple[int, ...]:
        return self.units, self.context_units

    @property
    def output_size(self) -> int:
        return self.units + self.context_units

    def build(self, input_shape: Any) -> None:
        features = self._features(input_shape)
        self.context_kernel = self.add_weight(
            (features, self.context_units), self.context_initializer, name="context_kernel"
        )
        self.kernel = self.add_weight((features, self.units), self.kernel_initializer, name="kernel")
        self.context_recurrent_kernel = self.add_weight(
            (self.context_units, self.units), self.kernel_initializer, name="context_recurrent_kernel"
        )
        self.recurrent_kernel = self.add_weight(
            (self.units, self.units), self.recurrent_initializer, name="recurrent_kernel"
        )
        self.bias = self._make_bias() if self.use_bias else None
        self.built = True

    def _variables(self) -> tuple[Any, ...]:
        return self.context_kernel, self.kernel, self.context_recurrent_kernel, self.recurrent_kernel, self.bias

    def _all_arrays(self) -> tuple[Array, Array, Array, Array, Array | None]:
        b, a, p, r = (one._array for one in self._variables()[:4])
        return b, a, p, r, None if self.bias is None else self.bias._array

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "context_units": self.context_units,
            "alpha": self.alpha,
            "context_initializer": _initializers.serialize(self.context_initializer),
        }


def _flip(array: Array, lengths: Array | None) -> Array:
    """(B, T, N) with the steps of each sequence in reverse order; padding stays. Its own inverse."""
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
    turned = mask[:, ::-1] if reverse else mask
    begun: Array = np.logical_or.accumulate(turned, axis=1)
    return np.expand_dims(begun[:, ::-1] if reverse else begun, 2)


def _time_major(batch: int, steps: int, features: int, dtype: np.dtype[Any]) -> Array:
    view: Array = np.empty((steps, batch, features), dtype).transpose(1, 0, 2)
    return view


def run_context(
    layer: ContextWeights,
    x: Tensor,
    initial: Sequence[Tensor] | None,
    *,
    reverse: bool,
    mask: Array | None,
    lengths: Array | None,
    scales: tuple[Array | None, Array | None],
    sequences: bool,
    scan_order: bool,
    zero_masked: bool,
    states: bool,
) -> tuple[Tensor, list[Array], list[Tensor]]:
    """One direction as one tape node; arguments and results as in ``recurrent.run``.

    The context does not depend on h: s comes from one product and one scan. Then h is a simple recurrent layer over
    [x_t, s_t] with the kernel [A; P].
    """
    variables = layer._variables()
    context_kernel, kernel, context_recurrent, recurrent, bias = layer._all_arrays()
    x_scale, h_scale = scales
    array = x._array if x_scale is None else x._array * x_scale[:, None, :]
    (batch, steps, features), h, c, alpha = array.shape, layer.units, layer.context_units, layer.alpha
    inputs: list[Any] = [x, *variables, *(initial or ())]
    start = None if initial is None else [np.ascontiguousarray(one._array) for one in initial]
    shown = _shown(mask, reverse, zero_masked, start is not None)

    flat, restore = ops.flatten_steps(array)
    z = _core.dense_forward(flat, context_kernel, mixed=layer._mixed)
    s, s_last = _core.context_scan_forward(
        restore(z), alpha, None if start is None else start[1], lengths, mask, reverse
    )
    joined = _time_major(batch, steps, features + c, array.dtype)
    joined[:, :, :features] = array
    joined[:, :, features:] = s
    weights = [(np.concatenate([kernel, context_recurrent]), recurrent, bias)]

    h_out, ((h_last,),), saved = _core.recurrent_forward(
        "rnn",
        joined,
        weights,
        initial=[None if start is None else (start[0],)],
        reverse=(reverse,),
        lengths=lengths,
        mask=mask,
        h_scale=[h_scale],
        activation=layer.activation,
        sequences=sequences,
        zero_masked=zero_masked,
        save=is_recording(inputs),
        mixed=layer._mixed,
    )
    if sequences:
        y = _time_major(batch, steps, h + c, array.dtype)
        y[:, :, :h] = h_out
        y[:, :, h:] = s if shown is None else s * shown
        y = _flip(y, lengths) if scan_order else y
    else:
        last_shown = None if shown is None else shown[:, 0 if reverse else -1]
        y = np.concatenate([h_out, s_last if last_shown is None else s_last * last_shown], axis=1)
    out = Tensor(y)
    tensors = [Tensor(h_last), Tensor(s_last)] if states else []
    if saved is None:
        return out, [h_last, s_last], tensors
    need_dx = is_recording((x,))
    need_weights = is_recording(variables)

    def backward(dy: Array | None, *dstates: Array | None, buffers: GradientBuffers) -> list[Gradient]:
        dh_last, ds_last = dstates if dstates else (None, None)
        dh, ds_out = None, None
        if dy is not None:
            dy = with_features(_flip(dy, lengths) if scan_order and sequences else dy)
            dh, ds_out = with_features(dy[..., :h]), dy[..., h:]
            if not sequences:
                ds_out = ds_out if last_shown is None else ds_out * last_shown
                ds_last = ds_out if ds_last is None else ds_last + ds_out
                ds_out = None
        djoined, dweights, dstarts, dsteps = _core.recurrent_backward(
            saved,
            dh,
            None if dh_last is None else [(np.ascontiguousarray(dh_last),)],
            need_weights=need_weights,
            step_gradients=layer.step_gradients,
        )
        if dsteps is not None:
            layer.last_step_gradients = dsteps[0]
        assert djoined is not None and dstarts is not None
        dh0 = dstarts[0][0]
        ds = djoined[:, :, features:]
        if ds_out is not None:
            ds = ds + (ds_out if shown is None else ds_out * shown)
        ds_last = None if ds_last is None else np.ascontiguousarray(ds_last)
        dz, ds0 = _core.context_scan_backward(
            with_features(ds), ds_last, alpha, (batch, steps, c), lengths, mask, reverse, array.dtype.name
        )
        if layer.step_gradients and alpha < 1:
            # dz_t = (1 - alpha) dL/ds_t; with alpha = 1 the context never changes, and dz says nothing about it.
            layer.last_context_gradients = np.asarray(dz) / (1 - alpha)  # type: ignore[attr-defined]
        buffer = (buffers.take(variables[0]), None) if need_weights else None
        dflat, dcontext, _ = _core.dense_backward(
            flat,
            context_kernel,
            z,
            ops.flatten_like(dz, array),
            use_bias=False,
            need_dx=need_dx,
            need_weights=need_weights,
            out=buffer,
            mixed=layer._mixed,
        )
        gradients: list[Gradient] = [None, dcontext, None, None, None, None]
        if need_dx:
            assert dflat is not None
            dx = djoined[:, :, :features] + restore(dflat)
            gradients[0] = dx if x_scale is None else dx * x_scale[:, None, :]
        if dweights is not None:
            dkernel, drecurrent, dbias = dweights[0]
            gradients[2:] = [dkernel[:features], dkernel[features:], drecurrent, dbias]
        return gradients if initial is None else [*gradients, dh0, ds0]

    record((out, *tensors), inputs, backward, takes_buffers=True)
    return out, [h_last, s_last], tensors


@register()
class ContextRNN(RecurrentLayer, ContextWeights):
    """Recurrent network with contextual features: a slow context beside the fast state.

    s_t = (1 - alpha) x_t·B + alpha s_{t-1}; h_t = activation(x_t·A + s_t·P + h_{t-1}·R + bias); output [h_t, s_t].

    Args:
        units: H.
        context_units: C.
        alpha: 0...1, how slowly the context changes.
        activation: of h: "tanh", "relu", "sigmoid", "linear" or "hard_sigmoid".
        use_bias: whether h has a bias.
        kernel_initializer: of A and P; recurrent_initializer: of R; context_initializer: of B; bias_initializer.
        dropout, recurrent_dropout: rates for the input and for h; one mask each for all time steps of a call.
        return_sequences, return_state, go_backwards, stateful, unroll, seed: as in SimpleRNN; the states are h and s.

    Call: ``(x, initial_state=None, mask=None, training=False, *, lengths=None)`` with x (B, T, D) gives (B, T, H + C)
    or (B, H + C).

    Raises:
        ValueError: for wrong shapes, and for mask and lengths together.

    Source: Mikolov et al., Learning longer memory in recurrent neural networks, 2014.

    >>> ContextRNN(4, 3, return_sequences=True)(np.zeros((2, 5, 6))).shape
    (2, 5, 7)
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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._set_context(context_units, alpha, context_initializer)
        super().__init__(**_arguments(locals(), "context_units", "alpha", "context_initializer"), **kwargs)
        self.last_context_gradients: Array | None = None

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
        drop = bool(training) and self._source is not None
        found = run_context(
            self,
            x,
            initial,
            reverse=reverse,
            mask=mask,
            lengths=lengths,
            scales=self._draw(x.shape[0], x.shape[2]) if drop else (None, None),
            sequences=sequences,
            scan_order=scan_order and sequences,
            zero_masked=zero_masked,
            states=return_state,
        )
        if drop:
            self._drawn()
        return found

    def _add_to_stream(self, stream: Any) -> None:
        self._check_stream()
        stream.add_context(*self._all_arrays(), self.alpha, self.activation)
