"""NumPy: the reference for all others, and a contender itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from . import networks
from .task import Array, Runner, Task, classified, streamed, trained, two_steps


def start(threads: int) -> str:
    # Its BLAS takes the threads from the environment.
    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{np.__version__} ({blas['name']} {blas['version']})"
    except (KeyError, TypeError):
        return str(np.__version__)


def recurrent(task: Task) -> Runner:
    """Whole sequences. With lengths the padded steps are computed like the others, and their output is set to zero."""
    network = networks.Network(task.cell, task.stack, task.steps, task.batch)
    x, dy = (np.ascontiguousarray(task.arrays[name].swapaxes(0, 1)) for name in ("x", "dy"))

    # Past its length a sequence is zero, and has no gradient: dy is zero there already.
    lengths = task.arrays.get("lengths")
    real = None if lengths is None else (np.arange(task.steps)[:, None] < lengths)[..., None]

    def forward() -> Array:
        y = network.forward(x)
        if real is not None:
            y *= real
        return y

    def gradients() -> Array:
        forward()
        return network.backward(dy)

    def train() -> Array:
        dx = gradients()
        network.update(task.rate)
        return dx

    def answer() -> dict[str, Array]:
        output = forward().copy()
        dx = network.backward(dy).copy()
        gradients = [gradient.copy() for gradient in network.gradients]
        network.update(task.rate)
        return trained(task, output.swapaxes(0, 1), dx.swapaxes(0, 1), network.weights, gradients)

    return Runner({"forward": forward, "train": train, "gradients": gradients}, answer)


def stream(task: Task) -> Runner:
    """One layer step by step."""
    step, x = networks.Stepper(task.cell, task.stack[0][0], task.batch).step, task.arrays["x"][0]
    return Runner({"step": lambda: step(x)}, lambda: streamed(task, step))


def ptb(task: Task) -> Runner:
    """The language model's training step."""
    weights = [weight.copy() for weight in task.weights]
    model = networks.LanguageModel(weights, task.steps, task.batch, task.clip, task.rate)
    words, targets = (np.ascontiguousarray(task.arrays[name].T) for name in ("words", "targets"))
    train = partial(model.step, words, targets)
    return Runner({"train": train}, lambda: two_steps(task, train, lambda: model.weights))


def imdb(task: Task) -> Runner:
    """One plain update of the book's model of film reviews: what is checked, without the dropout that is timed."""
    model = networks.Classifier(
        [weight.copy() for weight in task.weights], task.cell, task.steps, task.batch, task.rate
    )
    words, labels = task.arrays["words"], task.arrays["labels"]

    def answer() -> dict[str, Array]:
        probabilities, loss = model.step(words[: task.batch].T, labels[: task.batch])
        return classified(task, probabilities, loss, model.weights)

    return Runner({}, answer)


PARTS = {"recurrent": recurrent, "ragged": recurrent, "stream": stream, "ptb": ptb}
REFERENCE = {**PARTS, "imdb": imdb}
