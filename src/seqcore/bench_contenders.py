"""The contenders of a benchmark, each in a process of its own: seqcore, NumPy, PyTorch, TensorFlow, JAX, ONNX Runtime.

The process is started by ``seqcore.bench`` and does what it is told line by line (:func:`main`). It may run under an
interpreter that has no seqcore: this file needs NumPy and, of the libraries, only the one it measures.

T: time steps, B: batch, D: input features, H: units, V: words. Arrays come as (B, T, ...) and Keras's weights; each
contender turns them into the layout it likes best before anything is timed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bench_numpy

Array = NDArray[Any]
OUTPUT, INPUT_GRADIENT, GRADIENT, UPDATE, LOSS = "output", "gradient of the input", "gradient of ", "update of ", "loss"


@dataclass(frozen=True)
class Task:
    """What is to be computed: a cell, its sizes, and the arrays that all contenders share.

    Arrays by name: recurrent x (B, T, D), dy (B, T, directions * H); stream x (N, B, D); ptb words, targets (B, T).
    ``weights`` in Keras's order and layout; ``rate`` and ``clip`` belong to the update.
    """

    cell: str
    batch: int
    steps: int
    inputs: int
    units: int
    layers: int
    both: bool
    threads: int
    rate: float
    clip: float
    arrays: dict[str, Array]
    weights: list[Array]

    @property
    def stack(self) -> list[list[bench_numpy.Weights]]:
        """Per layer, per direction: copies of (kernel, recurrent, bias)."""
        parts = [
            (self.weights[i].copy(), self.weights[i + 1].copy(), self.weights[i + 2].copy())
            for i in range(0, 3 * self.layers * (1 + self.both), 3)
        ]
        width = 1 + self.both
        return [parts[i : i + width] for i in range(0, len(parts), width)]


@dataclass(frozen=True)
class Runner:
    """What one contender can do for a task: functions to time by name, and its results under the names above."""

    measures: dict[str, Callable[[], Any]]
    answer: Callable[[], dict[str, Array]]


def weight_names(what: str, layers: int, both: bool) -> list[str]:
    """Names of the weights of a task in their order.

    >>> weight_names("recurrent", 1, True)[3:]
    ['layer 1 backward kernel', 'layer 1 backward recurrent', 'layer 1 backward bias']
    """
    directions = (" forward", " backward") if both else ("",)
    inside = [
        f"layer {i + 1}{direction} {kind}"
        for i in range(layers)
        for direction in directions
        for kind in ("kernel", "recurrent", "bias")
    ]
    return ["embeddings", *inside, "softmax kernel", "softmax bias"] if what == "ptb" else inside


def _trained(
    task: Task,
    output: Any,
    dx: Any,
    weights: Sequence[Any],
    gradients: Sequence[Any] | None = None,
) -> dict[str, Array]:
    """The results of a recurrent task: weights after one update, in Keras's layout."""
    names = weight_names("recurrent", task.layers, task.both)
    answer = {OUTPUT: np.array(output), INPUT_GRADIENT: np.array(dx)}
    if gradients is not None:
        answer.update({GRADIENT + name: np.array(one) for name, one in zip(names, gradients, strict=True)})
    return {**answer, **_updates(names, task.weights, weights)}


def _updates(names: Sequence[str], before: Sequence[Array], after: Sequence[Any]) -> dict[str, Array]:
    pairs = zip(names, before, after, strict=True)
    return {UPDATE + name: np.asarray(new) - old for name, old, new in pairs}


def _two_steps(task: Task, train: Callable[[], Any], weights: Callable[[], Sequence[Any]]) -> dict[str, Array]:
    """The results of a ptb task: two losses, the second from the carried states, and the first update."""
    first = float(train())
    updates = _updates(weight_names("ptb", task.layers, False), task.weights, [np.array(one) for one in weights()])
    return {LOSS: np.array([first, float(train())]), **updates}


def _streamed(task: Task, step: Callable[[Array], Any]) -> dict[str, Array]:
    return {OUTPUT: np.stack([np.array(step(x)) for x in task.arrays["x"]])}


# seqcore --------------------------------------------------------------------------------------------------------------


def _seqcore_start(threads: int) -> str:
    seqcore = import_module("seqcore")
    seqcore.set_num_threads(threads)
    return str(seqcore.__version__)


def _seqcore_recurrent(task: Task) -> Runner:
    sc: Any = import_module("seqcore")

    def layer() -> Any:
        one = getattr(sc.layers, task.cell)(task.units, return_sequences=True)
        return sc.layers.Bidirectional(one) if task.both else one

    model = sc.Sequential([layer() for _ in range(task.layers)])
    x, dy = sc.Tensor(task.arrays["x"]), task.arrays["dy"]
    model(x)
    model.set_weights(task.weights)
    variables = model.trainable_variables
    optimizer = sc.optimizers.SGD(task.rate)

    def train() -> tuple[Any, list[Any]]:
        with sc.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        dx, *gradients = tape.gradient(y, [x, *variables], output_gradients=dy)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return dx, gradients

    def forward() -> Any:
        return model(x, training=False)

    def answer() -> dict[str, Array]:
        output = np.array(forward())
        dx, gradients = train()
        return _trained(task, output, dx, model.get_weights(), gradients)

    return Runner({"forward": forward, "train": train}, answer)


def _seqcore_stream(task: Task) -> Runner:
    sc: Any = import_module("seqcore")
    model = sc.Sequential([sc.layers.Input((None, task.inputs)), getattr(sc.layers, task.cell)(task.units)])
    model.set_weights(task.weights)
    step, x = model.stream(batch_size=task.batch).step, task.arrays["x"][0]
    return Runner({"step": lambda: step(x)}, lambda: _streamed(task, step))


def _seqcore_ptb(task: Task) -> Runner:
    language: Any = import_module("seqcore.language")
    model = language.build_model(task.inputs, task.units, task.layers, clip=task.clip, learning_rate=task.rate)
    model.build((None, None))
    model.set_weights(task.weights)
    train = partial(model.train_on_batch, task.arrays["words"], task.arrays["targets"])
    return Runner({"train": train}, lambda: _two_steps(task, train, model.get_weights))


# NumPy ----------------------------------------------------------------------------------------------------------------


def _numpy_start(threads: int) -> str:
    # Its BLAS takes the threads from the environment.
    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{np.__version__} ({blas['name']} {blas['version']})"
    except (KeyError, TypeError):
        return str(np.__version__)


def numpy_recurrent(task: Task) -> Runner:
    """Whole sequences in NumPy: the answer that the others are held against."""
    network = bench_numpy.Network(task.cell, task.stack, task.steps, task.batch)
    x, dy = (np.ascontiguousarray(task.arrays[name].swapaxes(0, 1)) for name in ("x", "dy"))

    def train() -> Array:
        network.forward(x)
        dx = network.backward(dy)
        network.update(task.rate)
        return dx

    def answer() -> dict[str, Array]:
        output = network.forward(x).copy()
        dx = network.backward(dy).copy()
        gradients = [one.copy() for one in network.gradients]
        network.update(task.rate)
        return _trained(task, output.swapaxes(0, 1), dx.swapaxes(0, 1), network.weights, gradients)

    return Runner({"forward": lambda: network.forward(x), "train": train}, answer)


def numpy_stream(task: Task) -> Runner:
    """One layer step by step in NumPy."""
    step, x = bench_numpy.Stepper(task.cell, task.stack[0][0], task.batch).step, task.arrays["x"][0]
    return Runner({"step": lambda: step(x)}, lambda: _streamed(task, step))


def numpy_ptb(task: Task) -> Runner:
    """The language model's training step in NumPy."""
    weights = [one.copy() for one in task.weights]
    model = bench_numpy.LanguageModel(weights, task.steps, task.batch, task.clip, task.rate)
    words, targets = (np.ascontiguousarray(task.arrays[name].T) for name in ("words", "targets"))
    train = partial(model.step, words, targets)
    return Runner({"train": train}, lambda: _two_steps(task, train, lambda: model.weights))


# PyTorch --------------------------------------------------------------------------------------------------------------


def _torch_start(threads: int) -> str:
    torch = import_module("torch")
    torch.set_num_threads(threads)
    return str(torch.__version__)


def _swap_gates(cell: str, weight: Array) -> Array:
    """Rows of a GRU's weight between Keras's order z r h and PyTorch's r z h; others as they are."""
    if cell != "GRU":
        return weight
    z, r, h = np.split(weight, 3)
    return np.concatenate([r, z, h])


def _to_torch(cell: str, weights: Sequence[Array]) -> list[Array]:
    """Keras's (kernel, recurrent, bias) as PyTorch's (W_ih, W_hh, b_ih, b_hh)."""
    kernel, recurrent, bias = weights
    biases = bias if cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
    return [_swap_gates(cell, one) for one in (kernel.T, recurrent.T, *biases)]


def _from_torch(cell: str, parameters: Sequence[Any]) -> list[Array]:
    """The inverse of `_to_torch`; where Keras has one bias, it is b_ih."""
    w_ih, w_hh, b_ih, b_hh = (_swap_gates(cell, one.detach().numpy()) for one in parameters)
    return [w_ih.T, w_hh.T, np.stack([b_ih, b_hh]) if cell == "GRU" else b_ih.copy()]


def _torch_network(task: Task, inputs: int, weights: Sequence[Array]) -> Any:
    torch: Any = import_module("torch")
    name = {"SimpleRNN": "RNN"}.get(task.cell, task.cell)
    network = getattr(torch.nn, name)(inputs, task.units, task.layers, bidirectional=task.both)
    values = [one for i in range(0, len(weights), 3) for one in _to_torch(task.cell, weights[i : i + 3])]
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return network


def _torch_weights(cell: str, network: Any) -> list[Array]:
    parameters = list(network.parameters())
    return [one for i in range(0, len(parameters), 4) for one in _from_torch(cell, parameters[i : i + 4])]


def _torch_recurrent(task: Task) -> Runner:
    torch: Any = import_module("torch")
    network = _torch_network(task, task.inputs, task.weights)
    parameters = list(network.parameters())
    x, dy = (torch.from_numpy(task.arrays[name].swapaxes(0, 1).copy()) for name in ("x", "dy"))
    x.requires_grad_()

    def forward() -> Any:
        with torch.inference_mode():
            return network(x)[0]

    def train() -> Any:
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        network(x)[0].backward(dy)
        with torch.no_grad():
            torch._foreach_add_(parameters, [parameter.grad for parameter in parameters], alpha=-task.rate)
        return x.grad

    def answer() -> dict[str, Array]:
        output = forward().numpy().swapaxes(0, 1).copy()
        dx = train().numpy().swapaxes(0, 1)
        return _trained(task, output, dx, _torch_weights(task.cell, network))

    return Runner({"forward": forward, "train": train}, answer)


def _torch_stream(task: Task) -> Runner:
    torch: Any = import_module("torch")
    name = {"SimpleRNN": "RNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}[task.cell]
    cell = getattr(torch.nn, name)(task.inputs, task.units)
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), _to_torch(task.cell, task.weights), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    zero = torch.zeros(task.batch, task.units)
    state: Any = (zero, zero) if task.cell == "LSTM" else zero
    first = torch.from_numpy(task.arrays["x"][0])

    def step(x: Any) -> Any:
        nonlocal state
        with torch.inference_mode():
            state = cell(x, state)
        return state[0] if task.cell == "LSTM" else state

    return Runner({"step": lambda: step(first)}, lambda: _streamed(task, lambda x: step(torch.from_numpy(x)).numpy()))


def _torch_ptb(task: Task) -> Runner:
    torch: Any = import_module("torch")
    embeddings, *inside, kernel, bias = task.weights
    embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(embeddings.copy()), freeze=False)
    network, dense = _torch_network(task, task.units, inside), torch.nn.Linear(task.units, task.inputs)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(kernel.T.copy()))
        dense.bias.copy_(torch.from_numpy(bias))
    every = [one for module in (embedding, network, dense) for one in module.named_parameters()]
    # Keras has one bias where PyTorch has two; the second stays as it is and out of the norm.
    parameters = [parameter for name, parameter in every if not name.startswith("bias_hh")]
    words, targets = (torch.from_numpy(task.arrays[name].T.astype(np.int64)) for name in ("words", "targets"))
    state: Any = None

    def train() -> Any:
        nonlocal state
        for _, parameter in every:
            parameter.grad = None
        y, after = network(embedding(words), state)
        state = tuple(one.detach() for one in after)
        logits = dense(y).view(-1, task.inputs)
        loss = torch.nn.functional.cross_entropy(logits, targets.reshape(-1), reduction="sum") / task.batch
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, task.clip)
        with torch.no_grad():
            torch._foreach_add_(parameters, [parameter.grad for parameter in parameters], alpha=-task.rate)
        return loss.detach()

    def weights() -> list[Any]:
        ends = [embedding.weight, dense.weight.T, dense.bias]
        table, *softmax = (one.detach().numpy() for one in ends)
        return [table, *_torch_weights(task.cell, network), *softmax]

    return Runner({"train": train}, lambda: _two_steps(task, train, weights))


# TensorFlow -----------------------------------------------------------------------------------------------------------


def _tensorflow_start(threads: int) -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf: Any = import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return str(tf.__version__)


def _tensorflow_recurrent(task: Task, xla: bool = False) -> Runner:
    tf: Any = import_module("tensorflow")
    keras = tf.keras

    def layer() -> Any:
        one = getattr(keras.layers, task.cell)(task.units, return_sequences=True)
        return keras.layers.Bidirectional(one) if task.both else one

    model = keras.Sequential([keras.layers.Input((task.steps, task.inputs)), *(layer() for _ in range(task.layers))])
    model.set_weights(task.weights)
    x, dy = tf.constant(task.arrays["x"]), tf.constant(task.arrays["dy"])
    variables = model.trainable_variables

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def run(x: Any) -> Any:
        return model(x, training=False)

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def update(x: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        dx, *gradients = tape.gradient(y, [x, *variables], output_gradients=dy)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.value.assign_sub(task.rate * gradient)
        return dx

    def answer() -> dict[str, Array]:
        output = run(x).numpy()
        dx = update(x, dy).numpy()
        return _trained(task, output, dx, model.get_weights())

    return Runner({"forward": lambda: run(x).numpy(), "train": lambda: update(x, dy).numpy()}, answer)


def _tensorflow_ptb(task: Task, xla: bool = False) -> Runner:
    tf: Any = import_module("tensorflow")
    keras = tf.keras
    lstms = [
        keras.layers.LSTM(task.units, return_sequences=True, return_state=True, unit_forget_bias=False)
        for _ in range(task.layers)
    ]
    embedding, dense = keras.layers.Embedding(task.inputs, task.units), keras.layers.Dense(task.inputs)
    words, targets = (tf.constant(task.arrays[name].astype(np.int32)) for name in ("words", "targets"))
    variables: list[Any] = []
    for layer in (embedding, *lstms, dense):
        layer.build((task.batch, task.steps) if layer is embedding else (task.batch, task.steps, task.units))
        variables += layer.trainable_variables
    for variable, value in zip(variables, task.weights, strict=True):
        variable.assign(value)
    zero = tf.zeros((task.batch, task.units))
    states: Any = [(zero, zero) for _ in lstms]

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def update(words: Any, targets: Any, states: Any) -> Any:
        after = []
        with tf.GradientTape() as tape:
            y = embedding(words)
            for lstm, state in zip(lstms, states, strict=True):
                y, *final = lstm(y, initial_state=list(state))
                after.append(tuple(final))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, dense(y))
            loss = tf.reduce_sum(losses) / task.batch
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), task.clip)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.value.assign_sub(task.rate * tf.convert_to_tensor(gradient))
        return loss, after

    def train() -> Any:
        nonlocal states
        loss, states = update(words, targets, states)
        return loss.numpy()

    return Runner({"train": train}, lambda: _two_steps(task, train, lambda: [one.numpy() for one in variables]))


# JAX ------------------------------------------------------------------------------------------------------------------


def _jax_start(threads: int) -> str:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        # XLA has a thread for each processor that the process may use; there is no other switch.
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    return str(import_module("jax").__version__)


def _jax_cell(cell: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
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


def _jax_state(task: Task) -> Any:
    zero = import_module("jax").numpy.zeros((task.batch, task.units), "float32")
    return (zero, zero) if task.cell == "LSTM" else zero


def _jax_recurrent(task: Task) -> Runner:
    jax: Any = import_module("jax")
    jnp = jax.numpy
    product, one_step = _jax_cell(task.cell)
    start = _jax_state(task)
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
    def update(weights: Any, x: Any, dy: Any) -> Any:
        _, back = jax.vjp(network, weights, x)
        gradients, dx = back(dy)
        return jax.tree.map(lambda weight, gradient: weight - task.rate * gradient, weights, gradients), dx

    run = jax.jit(network)

    def train() -> Any:
        nonlocal weights
        weights, dx = jax.block_until_ready(update(weights, x, dy))
        return dx

    def answer() -> dict[str, Array]:
        output = np.array(run(weights, x)).swapaxes(0, 1)
        dx = np.array(train()).swapaxes(0, 1)
        return _trained(task, output, dx, [np.array(one) for layer in weights for part in layer for one in part])

    return Runner({"forward": lambda: jax.block_until_ready(run(weights, x)), "train": train}, answer)


def _jax_stream(task: Task) -> Runner:
    jax: Any = import_module("jax")
    product, one_step = _jax_cell(task.cell)
    weights = jax.tree.map(jax.numpy.asarray, task.stack)[0][0]
    state, first = _jax_state(task), task.arrays["x"][0]
    run = jax.jit(lambda weights, state, x: one_step(weights, state, product(x, weights)))

    def step(x: Array) -> Any:
        nonlocal state
        state, h = run(weights, state, x)
        return np.asarray(h)

    return Runner({"step": lambda: step(first)}, lambda: _streamed(task, step))


def _jax_ptb(task: Task) -> Runner:
    jax: Any = import_module("jax")
    jnp = jax.numpy
    product, one_step = _jax_cell("LSTM")
    weights = [jnp.asarray(one) for one in task.weights]
    words, targets = (jnp.asarray(np.ascontiguousarray(task.arrays[name].T)) for name in ("words", "targets"))
    states = [_jax_state(task) for _ in range(task.layers)]

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
        norm = jnp.sqrt(sum(jnp.vdot(one, one) for one in gradients))
        rate = task.rate * jnp.minimum(1.0, task.clip / norm)
        return value, after, [weight - rate * one for weight, one in zip(weights, gradients, strict=True)]

    def train() -> Any:
        nonlocal weights, states
        value, states, weights = jax.block_until_ready(update(weights, states))
        return value

    return Runner({"train": train}, lambda: _two_steps(task, train, lambda: weights))


# ONNX Runtime ---------------------------------------------------------------------------------------------------------

_ONNX_GATES = {"SimpleRNN": ("RNN", (0,)), "LSTM": ("LSTM", (0, 3, 1, 2)), "GRU": ("GRU", (0, 1, 2))}


def _onnxruntime_start(threads: int) -> str:
    import_module("onnx")
    return str(import_module("onnxruntime").__version__)


def _onnx_layer(task: Task, weights: Sequence[Sequence[Array]], names: Sequence[str], outputs: Sequence[str]) -> Any:
    """The node of one layer, and its weights as initializers; names: of x and the initial states, "" for zeros."""
    onnx: Any = import_module("onnx")
    operator, order = _ONNX_GATES[task.cell]
    label = outputs[0] or outputs[1]

    def gates(array: Array) -> Array:
        blocks = np.split(array, len(order), axis=-1)
        return np.concatenate([blocks[i] for i in order], axis=-1)

    def biases(bias: Array) -> Array:
        two = bias if task.cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
        return gates(two).reshape(-1)

    values = {
        f"{label}.W": np.stack([gates(kernel).T for kernel, _, _ in weights]),
        f"{label}.R": np.stack([gates(recurrent).T for _, recurrent, _ in weights]),
        f"{label}.B": np.stack([biases(bias) for _, _, bias in weights]),
    }
    options: dict[str, Any] = {"hidden_size": task.units}
    if len(weights) > 1:
        options["direction"] = "bidirectional"
    if task.cell == "GRU":
        options["linear_before_reset"] = 1
    node = onnx.helper.make_node(operator, [names[0], *values, "", *names[1:]], list(outputs), **options)
    initializers = [onnx.numpy_helper.from_array(np.ascontiguousarray(one), name) for name, one in values.items()]
    return node, initializers


def _onnx_session(task: Task, nodes: Any, inputs: Any, outputs: Any, initializers: Any) -> Any:
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")

    def values(shapes: dict[str, tuple[int, ...]]) -> list[Any]:
        return [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, one) for name, one in shapes.items()]

    graph = onnx.helper.make_graph(nodes, "bench", values(inputs), values(outputs), initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _onnxruntime_recurrent(task: Task) -> Runner:
    onnx: Any = import_module("onnx")
    nodes, initializers, width = [], [], task.units * (1 + task.both)
    shape = np.array([task.steps, task.batch, width], np.int64)
    initializers.append(onnx.numpy_helper.from_array(shape, "shape"))
    name = "x"
    for i, weights in enumerate(task.stack):
        node, values = _onnx_layer(task, weights, [name], [f"y{i}"])
        nodes += [node, onnx.helper.make_node("Transpose", [f"y{i}"], [f"t{i}"], perm=[0, 2, 1, 3])]
        nodes.append(onnx.helper.make_node("Reshape", [f"t{i}", "shape"], [f"z{i}"]))
        initializers += values
        name = f"z{i}"
    inputs, outputs = {"x": (task.steps, task.batch, task.inputs)}, {name: (task.steps, task.batch, width)}
    session = _onnx_session(task, nodes, inputs, outputs, initializers)
    feed = {"x": np.ascontiguousarray(task.arrays["x"].swapaxes(0, 1))}

    def forward() -> Any:
        return session.run(None, feed)[0]

    return Runner({"forward": forward}, lambda: {OUTPUT: forward().swapaxes(0, 1)})


def _onnxruntime_stream(task: Task) -> Runner:
    states = ["h", "c"] if task.cell == "LSTM" else ["h"]
    outputs = [f"{name}_after" for name in states]
    node, initializers = _onnx_layer(task, task.stack[0], ["x", *states], ["", *outputs])
    state = (1, task.batch, task.units)
    inputs = {"x": (1, task.batch, task.inputs), **dict.fromkeys(states, state)}
    session = _onnx_session(task, [node], inputs, dict.fromkeys(outputs, state), initializers)
    feed = {name: np.zeros(state, np.float32) for name in states}

    def step(x: Array) -> Any:
        feed["x"] = x
        feed.update(zip(states, session.run(None, feed), strict=True))
        return feed["h"]

    first = task.arrays["x"][0][None]
    return Runner({"step": lambda: step(first)}, lambda: _streamed(task, lambda x: step(x[None])[0]))


# The process ----------------------------------------------------------------------------------------------------------

Maker = Callable[[Task], Runner]
# name: (how it starts: threads -> version, what it can do)
CONTENDERS: dict[str, tuple[Callable[[int], str], dict[str, Maker]]] = {
    "seqcore": (
        _seqcore_start,
        {"recurrent": _seqcore_recurrent, "stream": _seqcore_stream, "ptb": _seqcore_ptb},
    ),
    "numpy": (_numpy_start, {"recurrent": numpy_recurrent, "stream": numpy_stream, "ptb": numpy_ptb}),
    "torch": (_torch_start, {"recurrent": _torch_recurrent, "stream": _torch_stream, "ptb": _torch_ptb}),
    "tensorflow": (_tensorflow_start, {"recurrent": _tensorflow_recurrent, "ptb": _tensorflow_ptb}),
    "tensorflow-xla": (
        _tensorflow_start,
        {"recurrent": partial(_tensorflow_recurrent, xla=True), "ptb": partial(_tensorflow_ptb, xla=True)},
    ),
    "jax": (_jax_start, {"recurrent": _jax_recurrent, "stream": _jax_stream, "ptb": _jax_ptb}),
    "onnxruntime": (_onnxruntime_start, {"recurrent": _onnxruntime_recurrent, "stream": _onnxruntime_stream}),
}


def load_task(folder: str | Path, **sizes: Any) -> Task:
    """The task whose arrays were left in ``folder`` (``w0.npy`` ... are the weights)."""
    files = sorted(Path(folder).glob("*.npy"))
    arrays = {one.stem: np.load(one) for one in files}
    weights = [arrays.pop(f"w{i}") for i in range(sum(one.stem[:1] == "w" and one.stem[1:].isdigit() for one in files))]
    return Task(arrays=arrays, weights=weights, **sizes)


def timed(function: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Calls a function for about ``seconds`` after a warm-up: the times of a call in microseconds.

    At least twice without looking at the clock, then at least three times with it.

    >>> sorted(timed(lambda: None, 0.001))
    ['calls', 'median_us', 'min_us', 'p99_us']
    """
    clock = time.perf_counter
    start, warm = clock(), 0
    while warm < 2 or clock() - start < seconds / 4:
        function()
        warm += 1
    times: list[float] = []
    start = clock()
    while len(times) < 3 or clock() - start < seconds:
        before = clock()
        function()
        times.append(clock() - before)
    micro = 1e6 * np.array(times)
    return {
        "min_us": float(micro.min()),
        "median_us": float(np.median(micro)),
        "p99_us": float(np.percentile(micro, 99)),
        "calls": len(times),
    }


class _Worker:
    """One contender's side of the conversation: a JSON line in, a JSON line out."""

    def __init__(self, name: str) -> None:
        self.name, self.start, self.makers = name, *CONTENDERS[name]
        self.runner: Runner | None = None

    def hello(self, threads: int) -> dict[str, Any]:
        """Imports the library."""
        return {"version": self.start(threads), "python": ".".join(map(str, sys.version_info[:3]))}

    def open(self, what: str, folder: str, answer: str, **sizes: Any) -> dict[str, Any]:
        """Makes a task's runner and leaves its results as arrays in the folder ``answer``."""
        self.runner = self.makers[what](load_task(folder, **sizes))
        names = []
        for i, (name, array) in enumerate(self.runner.answer().items()):
            np.save(Path(answer) / f"{i}.npy", array)
            names.append(name)
        return {"measures": list(self.runner.measures), "names": names}

    def time(self, measure: str, seconds: float) -> dict[str, Any]:
        """Times one of the runner's functions."""
        if self.runner is None:
            raise ValueError("time: expected an open task, got none")
        return timed(self.runner.measures[measure], seconds)

    def peak(self, seconds: float) -> dict[str, Any]:
        """The multiply-add peak of one thread in GFLOP/s."""
        return {"gflops": import_module("seqcore._core").peak_gflops(seconds=seconds)}

    def close(self) -> dict[str, Any]:
        """Forgets the task."""
        self.runner = None
        return {}


def main(name: str) -> None:
    """Serves one contender over standard input and output until the input ends."""
    # What a library prints must not get between the answers: standard output becomes standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = _Worker(name)
    for line in sys.stdin:
        message = json.loads(line)
        try:
            reply = getattr(worker, message.pop("do"))(**message)
        except ImportError as error:
            reply = {"missing": _one_line(error)}
        except Exception as error:
            reply = {"error": _one_line(error)}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")[:300]
