"""TensorFlow: Keras's layers in one graph, compiled by XLA or not."""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from .task import (
    IMDB_DROPOUT,
    IMDB_RATE,
    IMDB_WIDTH,
    Array,
    Runner,
    Task,
    classified,
    trained,
    two_steps,
)


def start(threads: int) -> str:
    """Imports it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf: Any = import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return str(tf.__version__)


def recurrent(task: Task, xla: bool = False) -> Runner:
    """Whole sequences."""
    tf: Any = import_module("tensorflow")
    keras = tf.keras

    def layer() -> Any:
        layer = getattr(keras.layers, task.cell)(task.units, return_sequences=True, dtype=task.dtype)
        return keras.layers.Bidirectional(layer, dtype=task.dtype) if task.both else layer

    first = keras.layers.Input((task.steps, task.inputs), dtype=task.dtype)
    model = keras.Sequential([first, *(layer() for _ in range(task.layers))])
    model.set_weights(task.weights)
    x, dy = tf.constant(task.arrays["x"]), tf.constant(task.arrays["dy"])
    variables = model.trainable_variables

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def run(x: Any) -> Any:
        return model(x, training=False)

    def by_tape(x: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return tape.gradient(y, [x, *variables], output_gradients=dy)

    back = tf.function(by_tape, jit_compile=xla)

    @tf.function(jit_compile=xla)  # type: ignore[untyped-decorator]
    def update(x: Any, dy: Any) -> Any:
        dx, *gradients = by_tape(x, dy)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.value.assign_sub(task.rate * gradient)
        return dx

    def answer() -> dict[str, Array]:
        output = run(x).numpy()
        dx = update(x, dy).numpy()
        return trained(task, output, dx, model.get_weights())

    return Runner(
        {
            "forward": lambda: run(x).numpy(),
            "train": lambda: update(x, dy).numpy(),
            "gradients": lambda: back(x, dy)[0].numpy(),
        },
        answer,
    )


def ptb(task: Task, xla: bool = False) -> Runner:
    """The language model's training step."""
    tf: Any = import_module("tensorflow")
    keras = tf.keras
    lstms = [
        keras.layers.LSTM(task.units, return_sequences=True, return_state=True, dtype=task.dtype)
        for _ in range(task.layers)
    ]
    embedding = keras.layers.Embedding(task.inputs, task.units, dtype=task.dtype)
    dense = keras.layers.Dense(task.inputs, dtype=task.dtype)
    words, targets = (tf.constant(task.arrays[name].astype(np.int32)) for name in ("words", "targets"))
    variables: list[Any] = []
    for layer in (embedding, *lstms, dense):
        layer.build((task.batch, task.steps) if layer is embedding else (task.batch, task.steps, task.units))
        variables += layer.trainable_variables
    for variable, value in zip(variables, task.weights, strict=True):
        variable.assign(value)
    zero = tf.zeros((task.batch, task.units), task.dtype)
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

    return Runner(
        {"train": train}, lambda: two_steps(task, train, lambda: [variable.numpy() for variable in variables])
    )


def imdb(task: Task, xla: bool = False) -> Runner:
    """The book's model of film reviews; checked without dropout and with plain gradient descent."""
    keras: Any = import_module("tensorflow").keras
    words, labels = task.arrays["words"], task.arrays["labels"]
    recurrent_layer = partial(getattr(keras.layers, task.cell), task.units)

    def build(dropout: float, optimizer: Any) -> Any:
        model = keras.Sequential(
            [
                keras.layers.Input((task.steps,)),
                keras.layers.Embedding(task.inputs, IMDB_WIDTH),
                recurrent_layer(dropout=dropout, return_sequences=True),
                recurrent_layer(dropout=dropout),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(optimizer=optimizer, loss="binary_crossentropy", jit_compile=xla)
        model.set_weights(task.weights)
        return model

    model = build(IMDB_DROPOUT, keras.optimizers.Adam(IMDB_RATE))

    def answer() -> dict[str, Array]:
        plain, first = build(0.0, keras.optimizers.SGD(task.rate)), slice(task.batch)
        output = plain.predict(words[first], batch_size=task.batch, verbose=0)
        loss = plain.train_on_batch(words[first], labels[first])
        return classified(task, output, np.ravel(loss)[0], plain.get_weights())

    fit = partial(model.fit, words, labels, batch_size=task.batch, epochs=1, verbose=0, shuffle=False)
    return Runner({"fit": fit}, answer)


PARTS = {"recurrent": recurrent, "ptb": ptb, "imdb": imdb}
XLA_PARTS = {name: partial(make, xla=True) for name, make in PARTS.items()}
