"""Recurrent calls as operations of TensorFlow, with a gradient, inside ``tf.function`` and outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .recurrent_call import RecurrentCall, numbered_backward, numbered_forward


def run(call: RecurrentCall, tensors: Sequence[Any]) -> list[Any]:
    """The output and the final states of a call."""
    form = _eager if tf.executing_eagerly() else _in_graph
    results: list[Any] = tf.custom_gradient(form(call))(*tensors)
    return results


def _eager(call: RecurrentCall) -> Callable[..., Any]:
    def recurrent(*inputs: Any) -> Any:
        results, saved = call.forward([np.asarray(x) for x in inputs], save=True)

        def backward(*given: Any) -> list[Any]:
            dresults = [np.asarray(dresult) for dresult in given[len(inputs) :]]
            return [*map(tf.convert_to_tensor, call.backward(saved, dresults))]

        def gradient(*dresults: Any) -> list[Any]:
            return _once(backward, len(inputs), *inputs, *dresults)

        return [*map(tf.convert_to_tensor, results)], gradient

    return recurrent


def _in_graph(call: RecurrentCall) -> Callable[..., Any]:
    # Set by the first request for a gradient, which comes before the graph runs.
    wanted = False

    def recurrent(*inputs: Any) -> Any:
        dtype = inputs[0].dtype
        shapes = call.result_shapes([x.shape for x in inputs])

        def forward(*arrays: Any) -> list[Any]:
            return numbered_forward(call, arrays, save=wanted)

        *results, number = _on_host(forward, inputs, [*shapes, ()], [*[dtype] * len(shapes), tf.int32])

        def backward_on_host(*arrays: Any) -> list[Any]:
            count = len(inputs)
            return numbered_backward(call, arrays[:count], arrays[count], arrays[count + 1 :])

        def backward(*given: Any) -> list[Any]:
            shapes = [x.shape for x in given[: len(call.variables)]]
            return _on_host(backward_on_host, given, shapes, [dtype] * len(shapes))

        def gradient(*dresults: Any) -> list[Any]:
            nonlocal wanted
            wanted = True
            return _once(backward, len(inputs), *inputs, number, *dresults)

        return results, gradient

    return recurrent


def _once(backward: Callable[..., list[Any]], count: int, *given: Any) -> list[Any]:
    """The gradients of ``count`` inputs, None for masks; TensorFlow would take their own gradients for zero."""

    def refuse(*_: Any) -> None:
        raise NotImplementedError("gradient: seqcore's layers have no second derivatives")

    gradients = tf.custom_gradient(lambda *given: (backward(*given), refuse))(*given)
    return [*gradients, *[None] * (count - len(gradients))]


def _on_host(
    function: Callable[..., Any], inputs: Sequence[Any], shapes: Sequence[Any], dtypes: Sequence[Any]
) -> list[Any]:
    """The results of a function of arrays, as tensors of known shapes."""
    results = list(tf.numpy_function(function, list(inputs), list(dtypes)))
    for result, shape in zip(results, shapes, strict=True):
        result.set_shape(shape)
    return results
