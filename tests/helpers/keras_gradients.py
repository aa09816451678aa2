"""Results and gradients of a function of Keras, on the backend of the run."""

import keras

BACKEND = keras.config.backend()


def results_and_gradients(function, inputs, variables, compiled=False):
    """The results of a function and the gradients of the sum of their weighted squares, as arrays.

    Args:
        function: gets tensors, returns a list of tensors.
        inputs: arrays; they have gradients, and come first.
        variables: those of Keras that have gradients.
        compiled: inside ``tf.function`` or ``jax.jit``; torch has none of the kind here.
    """
    results, gradients = _BACKENDS[BACKEND](function, inputs, variables, compiled)
    as_array = keras.ops.convert_to_numpy
    return [as_array(result) for result in results], [None if g is None else as_array(g) for g in gradients]


def _loss(results):
    return sum(keras.ops.sum(result * result) * (i + 1) for i, result in enumerate(results))


def _torch(function, inputs, variables, compiled):
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in inputs]
    results = function(*tensors)
    parameters = [*tensors, *(variable.value for variable in variables)]
    return results, torch.autograd.grad(_loss(results), parameters, allow_unused=True)


def _tensorflow(function, inputs, variables, compiled):
    import tensorflow as tf

    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            results = function(*tensors)
            loss = _loss(results)
        return results, tape.gradient(loss, [*tensors, *(variable.value for variable in variables)])

    return (tf.function(run) if compiled else run)(*map(tf.constant, inputs))


def _jax(function, inputs, variables, compiled):
    import jax

    def run(tensors, values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            results = function(*tensors)
        return _loss(results), results

    run = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
    values = [variable.value for variable in variables]
    (_, results), (dinputs, dvalues) = (jax.jit(run) if compiled else run)([*map(jax.numpy.asarray, inputs)], values)
    return results, [*dinputs, *dvalues]


_BACKENDS = {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}
