"""The interface of a contender: its task, the functions to time, the names of the results.

T: time steps, B: batch, D: input features, H: units, V: words. Arrays come as (B, T, ...) and Keras's weights; each
contender converts them to its best layout before the timing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .networks import Weights

Array = NDArray[Any]
OUTPUT, INPUT_GRADIENT, GRADIENT, UPDATE, LOSS = "output", "gradient of the input", "gradient of ", "update of ", "loss"
# Width of a word vector of the IMDB model, its dropout, its learning rate of Adam, and batches of one call of fit.
IMDB_WIDTH, IMDB_DROPOUT, IMDB_RATE, IMDB_BATCHES = 100, 0.5, 1e-3, 8


@dataclass(frozen=True)
class Task:
    """A computation: a cell, its sizes, and the arrays that all contenders share.

    Arrays by name: recurrent x (B, T, D), dy (B, T, directions * H); ragged the same and lengths (B,) int32, dy being
    zero past them; stream x (N, B, D); ptb words, targets (B, T); imdb words (N, T), labels (N, 1). ``weights`` in
    Keras's order and layout; ``rate`` and ``clip`` belong to the update; ``dtype`` is that of arrays and weights.
    """

    cell: str
    batch: int
    steps: int
    inputs: int
    units: int
    layers: int
    both: bool
    threads: int
    dtype: str
    rate: float
    clip: float
    arrays: dict[str, Array]
    weights: list[Array]

    @property
    def stack(self) -> list[list[Weights]]:
        """Per layer, per direction: copies of (kernel, recurrent, bias)."""
        parts = [
            (self.weights[i].copy(), self.weights[i + 1].copy(), self.weights[i + 2].copy())
            for i in range(0, 3 * self.layers * (1 + self.both), 3)
        ]
        width = 1 + self.both
        return [parts[i : i + width] for i in range(0, len(parts), width)]


@dataclass(frozen=True)
class Runner:
    """A contender's functions to time, by name, and its results under the names above.

    "train/sorted" is a variant of "train" with a separate row in the tables.
    """

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
    head = {"ptb": "softmax", "imdb": "dense"}.get(what)
    return ["embeddings", *inside, f"{head} kernel", f"{head} bias"] if head else inside


def trained(
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
        answer.update({GRADIENT + name: np.array(gradient) for name, gradient in zip(names, gradients, strict=True)})
    return {**answer, **updates(names, task.weights, weights)}


def updates(names: Sequence[str], before: Sequence[Array], after: Sequence[Any]) -> dict[str, Array]:
    """The changes of one update."""
    pairs = zip(names, before, after, strict=True)
    return {UPDATE + name: np.asarray(new) - old for name, old, new in pairs}


def two_steps(task: Task, train: Callable[[], Any], weights: Callable[[], Sequence[Any]]) -> dict[str, Array]:
    """The results of a ptb task: two losses, the second from the carried states, and the first update."""
    first = float(train())
    changes = updates(weight_names("ptb", task.layers, False), task.weights, [np.array(weight) for weight in weights()])
    return {LOSS: np.array([first, float(train())]), **changes}


def streamed(task: Task, step: Callable[[Array], Any]) -> dict[str, Array]:
    """The results of a stream task."""
    return {OUTPUT: np.stack([np.array(step(x)) for x in task.arrays["x"]])}


def classified(task: Task, output: Any, loss: Any, weights: Sequence[Any]) -> dict[str, Array]:
    """The results of an imdb task: probabilities, loss and one plain update, all without dropout."""
    names = weight_names("imdb", task.layers, False)
    return {OUTPUT: np.array(output), LOSS: np.array([float(loss)]), **updates(names, task.weights, weights)}


def load_task(folder: str | Path, **sizes: Any) -> Task:
    """The task whose arrays were left in ``folder`` (``w0.npy`` ... are the weights)."""
    files = sorted(Path(folder).glob("*.npy"))
    arrays = {path.stem: np.load(path) for path in files}
    weights = [
        arrays.pop(f"w{i}") for i in range(sum(path.stem[:1] == "w" and path.stem[1:].isdigit() for path in files))
    ]
    return Task(arrays=arrays, weights=weights, **sizes)
