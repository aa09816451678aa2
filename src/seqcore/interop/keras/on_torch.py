"""Recurrent calls as operations of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...typing import Array
from .recurrent_call import RecurrentCall


def run(call: RecurrentCall, tensors: Sequence[Any]) -> list[Any]:
    """The output and the final states of a call.

    Raises:
        ValueError: for tensors of another device than the CPU.
    """
    devices = {tensor.device.type for tensor in tensors}
    if "meta" in devices:
        shapes = call.result_shapes([tensor.shape for tensor in tensors])
        return [torch.empty(shape, dtype=tensors[0].dtype, device="meta") for shape in shapes]
    if devices != {"cpu"}:
        raise ValueError(f"device: expected tensors of the CPU, got {', '.join(sorted(devices))}")
    results: tuple[Any, ...] = _Recurrent.apply(call, torch.is_grad_enabled(), *tensors)
    return list(results)


class _Recurrent(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, call: RecurrentCall, recording: bool, *tensors: Any) -> tuple[Any, ...]:
        ctx.set_materialize_grads(False)
        save = recording and any(ctx.needs_input_grad)
        results, saved = call.forward([tensor.detach().numpy() for tensor in tensors], save)
        outputs = tuple(torch.from_numpy(_writable(result)) for result in results)
        if save:
            ctx.call, ctx.saved = call, saved
            # The saved pass shares memory with the inputs and the output: torch then refuses a backward pass after a
            # change in place.
            ctx.save_for_backward(outputs[0], *tensors)
        return outputs

    @staticmethod
    def backward(ctx: Any, *dresults: Any) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError("create_graph: seqcore's layers have no second derivatives, got True")
        _ = ctx.saved_tensors
        arrays = [None if dresult is None else dresult.numpy() for dresult in dresults]
        gradients = ctx.call.backward(ctx.saved, arrays, ctx.needs_input_grad[2:])
        masks = [None] * (len(ctx.needs_input_grad) - 2 - len(gradients))
        return None, None, *(None if g is None else torch.from_numpy(_writable(g)) for g in gradients), *masks


class _Memory:
    """Memory of an array, without the mark that it may only be read."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def _writable(array: Array) -> Array:
    """The array on the same memory, writable: torch has no other tensors."""
    return array if array.flags.writeable else np.asarray(_Memory(array))
