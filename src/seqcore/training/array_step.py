"""Forward and backward pass of one step on arrays, for a chain of built-in layers: no tape, no tensors.

On a few rows most of a step is Python. Layers and losses compute on arrays, and give the backward function with the
result; a tape records that, and here it is called directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Gradient, GradientBuffers, Tensor, unchecked_tensor
from ..autograd.tape import Backward, add_gradients, any_tape, filled_buffers
from ..layers.base import Layer
from ..losses import SampledLoss
from ..losses.loss import FusedLoss
from ..optimizers.flat_parameters import FlatParameters
from ..typing import Array
from .batch import Batch
from .fused_head import FusedHead
from .loss_weight import class_ids_or_none


class ArrayPass(NamedTuple):
    """The outcome of a forward and a backward pass.

    Attributes:
        loss: the scalar.
        y_pred: the output of the model; None where a fused head gave ``update``.
        update: updates the metrics with the batch; None where the caller does it.
        gradients: one per variable of the flat parameters.
    """

    loss: Array
    y_pred: Tensor | None
    update: Callable[[], None] | None
    gradients: list[Gradient]


def array_chain(layers: Sequence[Layer], loss: Any, head: FusedHead | None) -> list[Layer]:
    """The layers in order, where :func:`run_on_arrays` may run them and the loss; an empty list otherwise."""
    dtypes = {layer._dtype for layer in layers}
    for layer in layers:
        if not type(layer).__module__.startswith("seqcore.layers.") or not layer._autocast:
            return []
    # Only a first layer may take what has no gradient.
    if len(dtypes) != 1 or not all(layer._input_kinds for layer in layers[1:]):
        return []
    if len(set(map(id, layers))) < len(layers) or (head is not None and head.after):
        return []
    built_in = isinstance(loss, FusedLoss) and type(loss).__module__.startswith("seqcore.losses.")
    if not built_in or isinstance(loss, SampledLoss) or loss.reduction == "none":
        return []
    return list(layers) if {loss.dtype, None} <= {None, *(dtype.name for dtype in dtypes)} else []


def takes_batch(chain: Sequence[Layer], batch: Batch) -> bool:
    """True where the layers, as they are set now, take the batch as arrays, and no tape follows what they do."""
    x, first = batch.x, chain[0]
    if batch.weight is not None or type(x) is not Tensor or x.mask is not None or x.lengths is not None:
        return False
    if type(batch.y) is not np.ndarray or any_tape() or not x._array.size:
        return False
    if x._array.dtype is not first._dtype and first._casts(x._array.dtype):
        return False
    for layer in chain:
        if "call" in layer.__dict__ or not layer.takes_arrays():
            return False
    return True


def run_on_arrays(
    chain: Sequence[Layer], loss: FusedLoss, head: FusedHead | None, batch: Batch, flat: FlatParameters
) -> ArrayPass:
    """Forward and backward pass of a step in training, the gradients written into their buffers.

    Raises:
        ValueError: what calls of the layers and the loss raise.
    """
    x = batch.x._array
    calls: list[tuple[Sequence[Any], Backward | None]] = []
    ids: Array | None = None
    backward: Backward | None = None
    for layer in chain:
        if head is not None and layer is head.dense:
            ids = class_ids_or_none(batch.y, x.shape[:-1])
            if ids is not None:
                break
        x, variables, backward = layer.call_on_array(x, backward is not None)
        calls.append((variables, backward))
    buffers = GradientBuffers(flat.buffer_by_id)
    dx: Any
    y_pred = update = None
    if head is not None and ids is not None:
        value, update, backward = head.loss_on_array(batch, x, ids, flat, backward is not None)
        calls.append(((head.dense.kernel, head.dense.bias), backward))
        dx = np.ones((), value.dtype)
    else:
        value, dx = loss.value_and_gradient(batch.y, x)
        y_pred = unchecked_tensor(x)
    # Added as on the tape: two layers may share a variable.
    found: dict[int, Gradient] = {}
    for variables, backward in reversed(calls):
        if backward is None:
            break
        dx, *gradients = backward(dx, buffers=buffers)
        for variable, gradient in zip(variables, gradients):
            key = id(variable)
            found[key] = add_gradients(found[key], gradient) if key in found else gradient
    return ArrayPass(value, y_pred, update, filled_buffers(flat.buffers, [found.get(id(v)) for v in flat.variables]))
