"""JAX: a scan over the time steps after the product of the input, gates in one product, everything under jit."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from .task import Array, Runner, Task, streamed, trained, two_steps


def start(threads: int) -> str:
    """Imports it."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        # XLA has one thread for each processor of the process; there is no other setting.
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    return str(import_module("jax").__version__)


def _cell(cell: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The input's product for all steps, and one step (state, z_t) -> (state, h)."""
    jax: Any = import_module("jax")
    jnp, sigmoid, tanh = jax.numpy, jax.nn.sigmoid, jax.numpy.tanh

    def product(x: Any, weights: Any) -> Any:
        kernel, _, bias = weights
        return x @ kernel + (bias[0] if cell == "GRU" else bias)

    def simple(weights: Any, h: Any, z: Any) -> Any:
        h = tanh(z + h @ weights[1])
        return h, h

    def lstm(weights: Any, state: Any, z: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(z + h @ weights[1], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    def gru(weights: Any, h: Any, z: Any) -> Any:
        zz, zr, zn = jnp.split(z, 3, axis=-1)
        qz, qr, qn = jnp.split(h @ weights[1] + weights[2][1], 3, axis=-1)
        n = tanh(zn + sigmoid(zr + qr) * qn)
        h = n + sigmoid(zz + qz) * (h - n)
        return h, h

    return product, {"SimpleRNN": simple, "LSTM": lstm, "GRU": gru}[cell]


def _state(task: Task) -> Any:
    jax: Any = import_module("jax")
    jax.config.update("jax_enable_x64", task.dtype == "float64")
    zero = jax.numpy.zeros((task.batch, task.units), task.dtype)
    return (zero, zero) if task.cell == "LSTM" else zero


def recurrent(task: Task) -> Runner:
    """Whole sequences."""
    jax: Any = import_module("jax")
    jnp = jax.numpy
    product, one_step = _cell(task.cell)
    start = _state(task)
    weights = jax.tree.map(jnp.asarray, task.stack)
    x, dy = (jnp.asarray(np.ascontiguousarray(task.arrays[name].swapaxes(0, 1))) for name in ("x", "dy"))

    def network(weights: Any, x: Any) -> Any:
        for layer in weights:
            runs = [
                jax.lax.scan(partial(one_step, part), start, product(x, part), reverse=bool(i))[1]
                for i, part in enumerate(layer)
            ]
            x = jnp.concatenate(runs, axis=-1)
        return x

    @jax.jit  # type: ignore[untyped-decorator]
    def back(weights: Any, x: Any, dy: Any) -> Any:
        return jax.vjp(network, weights, x)[1](dy)

    @jax.jit  # type: ignore[untyped-decorator]
    def update(weights: Any, x: Any, dy: Any) -> Any:
        gradients, dx = back(weights, x, dy)
        return jax.tree.map(lambda weight, gradient: weight - task.rate * gradient, weights, gradients), dx

    run = jax.jit(network)

    def train() -> Any:
        nonlocal weights
        weights, dx = jax.block_until_ready(update(weights, x, dy))
        return dx

    def answer() -> dict[str, Array]:
        output = np.array(run(weights, x)).swapaxes(0, 1)
        dx = np.array(train()).swapaxes(0, 1)
        return trained(task, output, dx, [np.array(weight) for layer in weights for part in layer for weight in part])

    return Runner(
        {
            "forward": lambda: jax.block_until_ready(run(weights, x)),
            "train": train,
            "gradients": lambda: jax.block_until_ready(back(weights, x, dy)),
        },
        answer,
    )


def stream(task: Task) -> Runner:
    """One layer step by step."""
    jax: Any = import_module("jax")
    product, one_step = _cell(task.cell)
    state, first = _state(task), task.arrays["x"][0]
    weights = jax.tree.map(jax.numpy.asarray, task.stack)[0][0]
    run = jax.jit(lambda weights, state, x: one_step(weights, state, product(x, weights)))

    def step(x: Array) -> Any:
        nonlocal state
        state, h = run(weights, state, x)
        return np.asarray(h)

    return Runner({"step": lambda: step(first)}, lambda: streamed(task, step))


def ptb(task: Task) -> Runner:
    """The language model's training step."""
    jax: Any = import_module("jax")
    jnp = jax.numpy
    product, one_step = _cell("LSTM")
    states = [_state(task) for _ in range(task.layers)]
    weights = [jnp.asarray(weight) for weight in task.weights]
    words, targets = (jnp.asarray(np.ascontiguousarray(task.arrays[name].T)) for name in ("words", "targets"))

    def loss(weights: Any, states: Any) -> Any:
        embeddings, *inside, kernel, bias = weights
        y, after = embeddings[words], []
        for i, state in enumerate(states):
            part = inside[3 * i : 3 * i + 3]
            state, y = jax.lax.scan(partial(one_step, part), state, product(y, part))
            after.append(state)
        logits = jax.nn.log_softmax(y @ kernel + bias)
        return -jnp.take_along_axis(logits, targets[..., None], axis=-1).sum() / task.batch, after

    @jax.jit  # type: ignore[untyped-decorator]
    def update(weights: Any, states: Any) -> Any:
        (value, after), gradients = jax.value_and_grad(loss, has_aux=True)(weights, states)
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients))
        rate = task.rate * jnp.minimum(1.0, task.clip / norm)
        return value, after, [weight - rate * gradient for weight, gradient in zip(weights, gradients, strict=True)]

    def train() -> Any:
        nonlocal weights, states
        value, states, weights = jax.block_until_ready(update(weights, states))
        return value

    return Runner({"train": train}, lambda: two_steps(task, train, lambda: weights))


PARTS = {"recurrent": recurrent, "stream": stream, "ptb": ptb}
