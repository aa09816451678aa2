"""Recurrent calls as operations of JAX, with a gradient, inside ``jax.jit`` and outside.

They are primitives that call the core on the host. ``jax.pure_callback`` would make JAX arrays of the inputs, on
threads that may all wait for the callback: on one or two processors it hangs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir, xla

from .recurrent_call import RecurrentCall, numbered_backward, numbered_forward


def run(call: RecurrentCall, tensors: Sequence[Any]) -> list[Any]:
    """The output and the final states of a call."""
    output, *states = _recurrent(call, *tensors)
    if "mask" in call.inputs and not call.zero_masked:
        given = dict(zip(call.inputs, tensors))
        output = _from_first_state(call, output, given["mask"], given["h"])
    return [output, *states]


def _from_first_state(call: RecurrentCall, output: Any, mask: Any, h: Any) -> Any:
    """The output where the initial state h (B, H) stands for the output before the first step.

    It is zero on Keras's other backends; a masked step repeats it.
    """
    if call.sequences:
        begun = jax.lax.cummax((jnp.flip(mask, 1) if call.go_backwards else mask).astype("int8"), axis=1) > 0
        return jnp.where(begun[:, :, None], output, h[:, None, :])
    return jnp.where(mask.any(1)[:, None], output, h)


def _host_primitive(name: str, compute: Any, result_shapes: Any) -> Primitive:
    """A primitive whose results NumPy code computes.

    Args:
        name: its name.
        compute: gets the inputs as arrays and the primitive's parameters, and returns the results as arrays.
        result_shapes: gets the inputs' ShapedArray and the parameters, and returns those of the results.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(partial(xla.apply_primitive, primitive))
    primitive.def_abstract_eval(result_shapes)

    def lower(ctx: Any, *inputs: Any, **parameters: Any) -> Any:
        results, _, _ = mlir.emit_python_callback(
            ctx,
            lambda *arrays: tuple(compute(*arrays, **parameters)),
            None,
            list(inputs),
            ctx.avals_in,
            ctx.avals_out,
            has_side_effect=False,
            returns_token=False,
        )
        return results

    mlir.register_lowering(primitive, lower)
    return primitive


def _forward(*arrays: Any, call: RecurrentCall, save: bool) -> Any:
    return numbered_forward(call, arrays, save)


def _forward_shapes(*inputs: Any, call: RecurrentCall, save: bool) -> list[Any]:
    shapes = call.result_shapes([x.shape for x in inputs])
    return [*(ShapedArray(shape, inputs[0].dtype) for shape in shapes), ShapedArray((), np.dtype(np.int32))]


def _backward(*arrays: Any, call: RecurrentCall) -> Any:
    count = len(call.inputs)
    return numbered_backward(call, arrays[:count], arrays[count], arrays[count + 1 :])


def _backward_shapes(*inputs: Any, call: RecurrentCall) -> list[Any]:
    return [ShapedArray(x.shape, x.dtype) for x in inputs[: len(call.variables)]]


_forward_primitive = _host_primitive("seqcore_recurrent_forward", _forward, _forward_shapes)
_backward_primitive = _host_primitive("seqcore_recurrent_backward", _backward, _backward_shapes)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrent(call: RecurrentCall, *tensors: Any) -> list[Any]:
    results: list[Any] = _forward_primitive.bind(*tensors, call=call, save=False)
    return results[:-1]


def _recurrent_forward(call: RecurrentCall, *tensors: Any) -> tuple[list[Any], Any]:
    *results, number = _forward_primitive.bind(*tensors, call=call, save=True)
    return results, (tensors, number)


def _recurrent_backward(call: RecurrentCall, residuals: Any, dresults: Sequence[Any]) -> tuple[Any, ...]:
    tensors, number = residuals
    gradients = _backward_primitive.bind(*tensors, number, *dresults, call=call)
    return *gradients, *[None] * (len(tensors) - len(gradients))


_recurrent.defvjp(_recurrent_forward, _recurrent_backward)
