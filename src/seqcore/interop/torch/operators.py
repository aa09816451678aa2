"""The recurrent layers as two operators of PyTorch, ``seqcore::recurrent`` and its backward pass.

B: batch, T: time steps, R: rows (time steps of all sequences together), D: input features, H: units, L: layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...layers.rnn.run import contiguous_features
from ...typing import Array
from .stack import Stack, StackCall, stack_columns

# The cell and the activation of each `torch.nn.RNNBase.mode`.
_CELLS = {"LSTM": ("lstm", "tanh"), "GRU": ("gru", "tanh"), "RNN_TANH": ("rnn", "tanh"), "RNN_RELU": ("rnn", "relu")}


@cache
def _stack(mode: str, bidirectional: bool) -> Stack:
    cell, activation = _CELLS[mode]
    return Stack(cell, 2 if bidirectional else 1, activation)


def _parts(weights: Sequence[Tensor]) -> int:
    """Parameters of each direction of each layer: biases follow the first two, if there are any."""
    return 4 if len(weights) > 2 and weights[2].dim() == 1 else 2


def _call(
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    batch_sizes: Tensor | None,
    mode: str,
    bidirectional: bool,
    batch_first: bool,
) -> StackCall:
    """The call of the stack with the arguments of an operator: with their memory, wherever the core reads it."""
    arrays: list[Array] = [np.ascontiguousarray(weight.numpy()) for weight in weights]
    parts = _parts(weights)
    none = (None,) * (4 - parts)
    return StackCall(
        _stack(mode, bidirectional),
        _sequence(x, batch_sizes, batch_first),
        [(*arrays[i : i + parts], *none) for i in range(0, len(arrays), parts)],
        [np.ascontiguousarray(state.numpy()) for state in states] or None,
        None if batch_sizes is None else np.ascontiguousarray(batch_sizes.numpy()),
    )


def _sequence(x: Tensor, batch_sizes: Tensor | None, batch_first: bool) -> Array:
    """A sequence as the core reads it, (B, T, features) of any strides but contiguous features, or (R, features)."""
    array: Array = x.numpy()
    if batch_sizes is not None:
        return np.ascontiguousarray(array)
    return contiguous_features(array if batch_first else array.transpose(1, 0, 2))


def _tensor(array: Array, batch_first: bool = True) -> Tensor:
    """An array that nobody else holds as a tensor; a sequence with its axes in PyTorch's order."""
    return torch.from_numpy(array if batch_first or array.ndim == 2 else array.transpose(1, 0, 2))


def _recurrent(
    x: Tensor,
    weights: list[Tensor],
    states: list[Tensor],
    batch_sizes: Tensor | None,
    mode: str,
    bidirectional: bool,
    batch_first: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A stack of layers: its output, its states h and c (of the LSTM, else empty), the reserve (empty unless ``save``).

    Args:
        x: (T, B, D), (B, T, D) with batch_first, (R, D) with batch_sizes.
        weights: PyTorch's parameters, ``torch.nn.RNNBase._flat_weights``.
        states: (L * directions, B, H) h, or h and c, or nothing for zeros.
        batch_sizes: (T,) int64, of a PackedSequence.
        mode: as in ``torch.nn.RNNBase``.
        save: whether a backward pass follows.
    """
    call = _call(x, weights, states, batch_sizes, mode, bidirectional, batch_first)
    y, finals, reserve = call.forward(save)
    h, c = finals if len(finals) == 2 else (finals[0], None)
    return (
        _tensor(y, batch_first),
        torch.from_numpy(h),
        x.new_empty(0) if c is None else torch.from_numpy(c),
        x.new_empty(0) if reserve is None else torch.from_numpy(reserve),
    )


def _fake_recurrent(
    x: Tensor,
    weights: list[Tensor],
    states: list[Tensor],
    batch_sizes: Tensor | None,
    mode: str,
    bidirectional: bool,
    batch_first: bool,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    stack = _stack(mode, bidirectional)
    numbers, units = len(weights) // _parts(weights), int(weights[1].shape[1])
    columns = stack.directions * units
    if batch_sizes is None:
        batch, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
        rows, y = batch * steps, x.new_empty(steps, batch, columns)
        y = y.transpose(0, 1) if batch_first else y
    else:
        batch = states[0].shape[1] if states else torch.library.get_ctx().new_dynamic_size()
        rows, y = x.shape[0], x.new_empty(x.shape[0], columns)
    h = x.new_empty(numbers, batch, units)
    c = torch.empty_like(h) if mode == "LSTM" else x.new_empty(0)
    _, elements = stack_columns(stack, numbers // stack.directions, units, str(x.dtype).removeprefix("torch."))
    return y, h, c, x.new_empty((rows + batch) * elements if save else 0)


def _recurrent_backward(
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    reserve: Tensor,
    x: Tensor,
    weights: list[Tensor],
    states: list[Tensor],
    batch_sizes: Tensor | None,
    mode: str,
    bidirectional: bool,
    batch_first: bool,
    need_dx: bool,
    need_weights: bool,
    need_states: bool,
) -> list[Tensor]:
    """The gradients of x, of the weights and of the states, those that are needed, in this order."""
    call = _call(x, weights, states, batch_sizes, mode, bidirectional, batch_first)
    dx, dweights, dstates = call.backward(
        reserve.numpy(),
        None if dy is None else _sequence(dy, batch_sizes, batch_first),
        [None if d is None else np.ascontiguousarray(d.numpy()) for d in (dh, dc)[: 1 + (mode == "LSTM")]],
        need_dx,
        need_weights,
        need_states,
    )
    gradients = [] if dx is None else [_tensor(dx, batch_first)]
    gradients += [torch.from_numpy(array) for each in dweights for array in each if array is not None]
    return gradients + [torch.from_numpy(array) for array in dstates]


def _fake_recurrent_backward(
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    reserve: Tensor,
    x: Tensor,
    weights: list[Tensor],
    states: list[Tensor],
    batch_sizes: Tensor | None,
    mode: str,
    bidirectional: bool,
    batch_first: bool,
    need_dx: bool,
    need_weights: bool,
    need_states: bool,
) -> list[Tensor]:
    gradients = []
    if need_dx:
        gradients.append(
            x.new_empty(x.shape[1], x.shape[0], x.shape[2]).transpose(0, 1)
            if batch_first and batch_sizes is None
            else x.new_empty(x.shape)
        )
    gradients += [weight.new_empty(weight.shape) for weight in weights] if need_weights else []
    return gradients + ([state.new_empty(state.shape) for state in states] if need_states else [])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weights, states, batch_sizes, *ctx.options, _ = inputs
    ctx.counts = len(weights), len(states)
    ctx.save_for_backward(output[3], batch_sizes, x, *weights, *states)
    # Gradients that are zero stay None.
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[3])


def _backward(ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, _: None) -> tuple[Any, ...]:
    reserve, batch_sizes, x, *rest = ctx.saved_tensors
    count, state_count = ctx.counts
    need_dx, *needs = ctx.needs_input_grad[:3]
    need_weights, need_states = map(any, needs)
    gradients = recurrent_backward(
        dy,
        dh,
        dc,
        reserve,
        x,
        rest[:count],
        rest[count:],
        batch_sizes,
        *ctx.options,
        need_dx,
        need_weights,
        need_states,
    )
    each = iter(gradients)
    dx = next(each) if need_dx else None
    dweights = [next(each) if need_weights else None for _ in range(count)]
    dstates = [next(each) if need_states else None for _ in range(state_count)]
    return dx, dweights, dstates, None, None, None, None, None


def _refuse_second_derivatives(ctx: Any, *dgradients: Any) -> Any:
    raise NotImplementedError("create_graph: seqcore's layers have no second derivatives, got True")


_forward_operator: Any = torch.library.custom_op("seqcore::recurrent", _recurrent, mutates_args=(), device_types="cpu")
_forward_operator.register_fake(_fake_recurrent)
_forward_operator.register_autograd(_backward, setup_context=_setup_context)
_backward_operator: Any = torch.library.custom_op(
    "seqcore::recurrent_backward", _recurrent_backward, mutates_args=(), device_types="cpu"
)
_backward_operator.register_fake(_fake_recurrent_backward)
_backward_operator.register_autograd(_refuse_second_derivatives)
recurrent: Any = torch.ops.seqcore.recurrent.default
recurrent_backward: Any = torch.ops.seqcore.recurrent_backward.default
