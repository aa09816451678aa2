"""One recorded call of a recurrent layer: one call of the core forward, one tape node, one call backward.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..._core.recurrent import recurrent_backward, recurrent_forward
from ...autograd import Gradient, GradientBuffers, Tensor, is_recording, record, unchecked_tensor
from ...autograd.tape import NO_BUFFERS, Backward
from ...typing import Array
from .weights import DropoutMasks, RNNWeights


@dataclass(frozen=True)
class SequenceOptions:
    """Order of the time steps of a call, and its results.

    Args:
        sequences: return the outputs of all steps, (B, T, H), instead of the last, (B, H).
        return_state: return the final states as tensors of the tape.
        keep_state: return the final states as arrays, for a stateful layer.
        reverse: per direction, whether it walks from the last step to the first.
        processing_order: return the steps of the output in the order of processing.
        zero_masked: the output of a masked step is zero instead of the output before it.
    """

    sequences: bool = False
    return_state: bool = False
    keep_state: bool = False
    reverse: tuple[bool, ...] = (False,)
    processing_order: bool = False
    zero_masked: bool = False


# A frozen dataclass takes 1.3 us to make, which is a tenth of a small call; there are few different ones.
sequence_options = cache(SequenceOptions)


def run_sequence(
    cells: Sequence[RNNWeights],
    x: Tensor,
    initial: Sequence[Sequence[Tensor] | None],
    options: SequenceOptions,
    mask: Array | None = None,
    lengths: Array | None = None,
    dropout_masks: Sequence[DropoutMasks] | None = None,
) -> tuple[Tensor, list[tuple[Array, ...]], list[Tensor]]:
    """Run one layer, or the two directions of one, and record it.

    Args:
        cells: one per direction; built, of one class and configuration.
        x: (B, T, D) of their dtype, contiguous features.
        initial: per direction the states at the start, or None for zeros.
        options: see SequenceOptions.
        mask: (B, T) bool, the valid steps.
        lengths: (B,) int32, the valid steps of each row; at most one of the two.
        dropout_masks: per direction those of the input and the state.

    Returns:
        The output, per direction the final states as arrays (if ``options`` ask for them in either form), and the
        final states as tensors.
    """
    weights = sequence_variables(cells)
    inputs: list[Any] = [x, *weights]
    arrays = None
    if any(initial):
        arrays = [
            None if states is None else tuple([np.ascontiguousarray(state._array) for state in states])
            for states in initial
        ]
        for states in initial:
            inputs += states or ()
    y, finals, backward = sequence_on_arrays(
        cells,
        weights,
        x._array,
        options,
        is_recording((x,)),
        is_recording(weights),
        arrays,
        arrays is not None and is_recording(inputs),
        mask,
        lengths,
        dropout_masks,
    )
    out = unchecked_tensor(y)
    states = [unchecked_tensor(state) for final in finals for state in final] if options.return_state else []
    if backward is not None:
        record((out, *states), inputs, backward, takes_buffers=True)
    return out, finals, states


def sequence_variables(cells: Sequence[RNNWeights]) -> list[Any]:
    """Kernel, recurrent kernel and bias of each direction."""
    return [variable for cell in cells for variable in cell.core_variables()]


def sequence_on_arrays(
    cells: Sequence[RNNWeights],
    weights: Sequence[Any],
    x: Array,
    options: SequenceOptions,
    need_dx: bool,
    need_weights: bool,
    initial: Sequence[tuple[Array, ...] | None] | None = None,
    need_initial: bool = False,
    mask: Array | None = None,
    lengths: Array | None = None,
    dropout_masks: Sequence[DropoutMasks] | None = None,
) -> tuple[Array, list[tuple[Array, ...]], Backward | None]:
    """The computation of :func:`run_sequence` on arrays, for the tape and for steps without one.

    Args:
        weights: :func:`sequence_variables` of the cells.
        need_dx, need_weights, need_initial: the gradients that are asked for.
        cells, x, options, initial, mask, lengths, dropout_masks: those of :func:`run_sequence`, as arrays.

    Returns:
        The output, the final states, and the backward function from the gradients of the output and of the final states
        to those of x, the weights and the initial states; None where no gradient is asked for.
    """
    first = cells[0]
    arrays = [
        (weights[i]._array, weights[i + 1]._array, None if weights[i + 2] is None else weights[i + 2]._array)
        for i in range(0, len(weights), 3)
    ]
    # Arguments that have their default value are left out: each costs time on the way into the core.
    given: dict[str, Any] = {}
    if initial is not None:
        given["initial"] = initial
    save = need_dx or need_weights or need_initial
    if len(cells) > 1 or options.reverse[0]:
        given["reverse"] = options.reverse
        given["processing_order"] = options.processing_order
    if mask is not None:
        given["mask"] = mask
        given["zero_masked"] = options.zero_masked
    elif lengths is not None:
        given["lengths"] = lengths
    if dropout_masks is not None:
        given["input_dropout"], given["state_dropout"] = zip(*dropout_masks)
    if first.activation != "tanh":
        given["activation"] = first.activation
    if (first.recurrent_activation or "sigmoid") != "sigmoid":
        given["recurrent_activation"] = first.recurrent_activation
    if first.uses_bfloat16:
        given["mixed"] = True
    y, finals, saved = recurrent_forward(
        first.core_cell,
        x,
        arrays,
        options.sequences,
        save,
        options.return_state or options.keep_state,
        None if save else first.packed_weights(weights),
        **given,
    )
    if saved is None:
        return y, finals, None

    def backward(dy: Array | None, *dstates: Array | None, buffers: GradientBuffers) -> list[Gradient]:
        dfinals = None
        if dstates and any([dstate is not None for dstate in dstates]):
            each = iter([None if dstate is None else np.ascontiguousarray(dstate) for dstate in dstates])
            dfinals = [tuple([next(each) for _ in final]) for final in finals]
        dy = None if dy is None else contiguous_features(dy)
        step_gradients = cells[0].step_gradients or cells[-1].step_gradients
        out: Any = None
        if need_weights and buffers is not NO_BUFFERS:
            taken = [buffers.take(variable) for variable in weights]
            out = [tuple(taken[i : i + 3]) for i in range(0, len(taken), 3)]
        dx, dweights, dstarts, dsteps = recurrent_backward(
            saved, dy, dfinals, need_dx, need_weights, initial is not None, step_gradients, out
        )
        if dsteps is not None:
            for cell, steps in zip(cells, dsteps, strict=True):
                cell.last_step_gradients = steps
        gradients: list[Gradient] = [dx]
        for i in range(len(cells)):
            gradients += (None, None, None) if dweights is None else dweights[i]
        if dstarts is not None:
            for start, dstart in zip(initial or (), dstarts, strict=True):
                gradients += () if start is None else dstart
        return gradients

    return y, finals, backward


def contiguous_features(array: Array) -> Array:
    """``array`` with contiguous features: any strides for the other axes of (B, T, D), none else."""
    if array.ndim == 3 and (array.shape[2] == 1 or array.strides[2] == array.itemsize):
        # A broadcast gradient has strides of 0, which the core does not handle.
        return array if array.strides[0] and array.strides[1] else np.array(array, order="C")
    return np.ascontiguousarray(array)
