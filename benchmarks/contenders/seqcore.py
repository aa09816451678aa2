"""seqcore itself, through its public functions, and for the overhead of Python through the core."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from .task import (
    IMDB_BATCHES,
    IMDB_DROPOUT,
    IMDB_RATE,
    IMDB_WIDTH,
    Array,
    Runner,
    Task,
    classified,
    streamed,
    trained,
    two_steps,
)


def start(threads: int) -> str:
    """Imports it."""
    seqcore = import_module("seqcore")
    seqcore.set_num_threads(threads)
    return str(seqcore.__version__)


def _model(task: Task) -> Any:
    sc: Any = import_module("seqcore")

    def layer() -> Any:
        layer = getattr(sc.layers, task.cell)(task.units, return_sequences=True, dtype=task.dtype)
        return sc.layers.Bidirectional(layer, dtype=task.dtype) if task.both else layer

    model = sc.Sequential([layer() for _ in range(task.layers)])
    model.build((None, None, task.inputs))
    model.set_weights(task.weights)
    return model


def recurrent(task: Task) -> Runner:
    """Whole sequences; "gradients" is a training step without update, also with the layer and the core alone."""
    sc: Any = import_module("seqcore")
    model = _model(task)
    x, dy = sc.Tensor(task.arrays["x"]), task.arrays["dy"]
    lengths = task.arrays.get("lengths")
    variables = model.trainable_variables
    optimizer = sc.optimizers.SGD(task.rate)

    def gradients(call: Callable[..., Any] = model, **options: Any) -> list[Any]:
        with sc.GradientTape() as tape:
            tape.watch(x)
            y = call(x, training=True, **options)
        result: list[Any] = tape.gradient(y, [x, *variables], output_gradients=dy)
        return result

    def train(**options: Any) -> tuple[Any, list[Any]]:
        dx, *dweights = gradients(**options)
        optimizer.apply_gradients(zip(dweights, variables, strict=True))
        return dx, dweights

    def forward(**options: Any) -> Any:
        return model(x, training=False, **options)

    given = {} if lengths is None else {"lengths": lengths}

    def answer() -> dict[str, Array]:
        output = np.array(forward(**given))
        dx, dweights = train(**given)
        return trained(task, output, dx, model.get_weights(), dweights)

    measures: dict[str, Callable[[], Any]] = {"forward": partial(forward, **given), "train": partial(train, **given)}
    if given:
        return Runner({**measures, "full forward": forward, "full train": train}, answer)
    measures["gradients"] = gradients
    if task.layers == 1 and not task.both:
        measures["gradients/layer"] = partial(gradients, model.layers[0])
        measures["gradients/core"] = _core_calls(task)
    return Runner(measures, answer)


def _core_calls(task: Task) -> Callable[[], Any]:
    """Forward and backward pass of one layer in the core, without layer and tape: the least that `gradients` needs."""
    core: Any = import_module("seqcore._core.recurrent")
    cell = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}[task.cell]
    weights, x, dy = [tuple(task.weights)], task.arrays["x"], task.arrays["dy"]
    buffers = [tuple(np.empty_like(weight) for weight in task.weights)]

    def call() -> Any:
        _, _, saved = core.recurrent_forward(cell, x, weights)
        return core.recurrent_backward(saved, dy, out=buffers)

    return call


def stream(task: Task) -> Runner:
    """One layer step by step."""
    sc: Any = import_module("seqcore")
    layer = getattr(sc.layers, task.cell)(task.units, dtype=task.dtype)
    model = sc.Sequential([sc.layers.Input((None, task.inputs)), layer])
    model.set_weights(task.weights)
    step, x = model.stream(batch_size=task.batch).step, task.arrays["x"][0]
    return Runner({"step": lambda: step(x)}, lambda: streamed(task, step))


def ptb(task: Task) -> Runner:
    """The language model's training step."""
    language: Any = import_module("seqcore.language_model")
    options = {"clip": task.clip, "learning_rate": task.rate, "dtype": task.dtype}
    model = language.build_model(task.inputs, task.units, task.layers, **options)
    model.build((None, None))
    model.set_weights(task.weights)
    train = partial(model.train_on_batch, task.arrays["words"], task.arrays["targets"])
    return Runner({"train": train}, lambda: two_steps(task, train, model.get_weights))


def imdb(task: Task) -> Runner:
    """The book's model of film reviews; checked without dropout and with plain gradient descent."""
    sc: Any = import_module("seqcore")
    experiment: Any = import_module("seqcore.experiments.imdb")
    cell = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}[task.cell]
    words, labels = task.arrays["words"], task.arrays["labels"]

    def build(dropout: float, optimizer: Any) -> Any:
        settings = experiment.Settings(task.inputs, task.steps, IMDB_WIDTH, task.units, dropout)
        model = experiment.build_layers(settings, cell)
        model.compile(optimizer=optimizer, loss="binary_crossentropy")
        model.build((None, task.steps))
        model.set_weights(task.weights)
        return model

    model = build(IMDB_DROPOUT, sc.optimizers.Adam(IMDB_RATE))

    def answer() -> dict[str, Array]:
        plain, first = build(0.0, sc.optimizers.SGD(task.rate)), slice(task.batch)
        output = plain.predict(words[first], batch_size=task.batch, verbose=0)
        loss = plain.train_on_batch(words[first], labels[first])
        return classified(task, output, np.ravel(loss)[0], plain.get_weights())

    fit = partial(model.fit, words, labels, batch_size=task.batch, epochs=1, verbose=0, shuffle=False)
    assert len(words) == IMDB_BATCHES * task.batch
    return Runner({"fit": fit}, answer)


PARTS = {"recurrent": recurrent, "ragged": recurrent, "stream": stream, "ptb": ptb, "imdb": imdb}
