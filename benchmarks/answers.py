"""The arrays of the contenders, and the check of their results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cases import CELLS, Case
from .contenders.numpy import REFERENCE
from .contenders.task import GRADIENT, IMDB_BATCHES, IMDB_WIDTH, LOSS, OUTPUT, UPDATE, load_task, weight_names

Array = NDArray[Any]

# Largest deviation from NumPy relative to the largest element: a correct result is a hundred times below it.
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
# PyTorch adds 1e-6 to a norm before clipping.
_CLIPPED = 1e-5
# A learning rate that hardly changes the weights in minutes of timing, but shows every gradient in one update.
_RATE = 2e-6


def make_arrays(case: Case) -> dict[str, Array]:
    """The arrays of a case by name, in its type, drawn with a fixed seed."""
    rng = np.random.default_rng(20161121)
    b, t, d, h, layers, both = case.shape
    directions, gates = 1 + both, CELLS[case.cell]

    def uniform(bound: float, *shape: int) -> Array:
        drawn: Array = (2 * rng.random(shape, np.dtype(case.dtype).type) - 1) * np.dtype(case.dtype).type(bound)
        return drawn

    bound = 0.1 if case.what == "ptb" else 1 / math.sqrt(h)
    first = {"ptb": h, "imdb": IMDB_WIDTH}.get(case.what, d)
    weights = [uniform(bound, d, first)] if case.what in ("ptb", "imdb") else []
    for width in [first] + [h * directions] * (layers - 1):
        for _ in range(directions):
            weights += [uniform(bound, width, gates * h), uniform(bound, h, gates * h)]
            weights.append(uniform(bound, *((2, 3 * h) if case.cell == "GRU" else (gates * h,))))
    if case.what == "ptb":
        weights += [uniform(bound, h, d), uniform(bound, d)]
        arrays = {name: rng.integers(0, d, (b, t), dtype=np.int32) for name in ("words", "targets")}
    elif case.what == "imdb":
        weights += [uniform(1, h, 1), uniform(bound, 1)]
        arrays = {
            "words": rng.integers(0, d, (b * IMDB_BATCHES, t), dtype=np.int32),
            "labels": rng.integers(0, 2, (b * IMDB_BATCHES, 1)).astype(case.dtype),
        }
    elif case.what == "stream":
        arrays = {"x": uniform(1, 8, b, d)}
    else:
        arrays = {"x": uniform(1, b, t, d), "dy": uniform(1, b, t, h * directions)}
    if case.what == "ragged":
        arrays["lengths"] = rng.permutation(np.array(case.lengths, np.int32))
        arrays["dy"] *= (np.arange(t) < arrays["lengths"][:, None])[..., None]
    return {**arrays, **{f"w{i}": weight for i, weight in enumerate(weights)}}


def task_sizes(case: Case, threads: int) -> dict[str, Any]:
    """The arguments of a task apart from its arrays."""
    # The norm of a first ptb gradient exceeds 1, so that the clipping is checked too.
    update = {"rate": 1.0, "clip": 1.0} if case.what == "ptb" else {"rate": _RATE, "clip": math.inf}
    if case.what == "imdb":
        update["rate"] = 1.0
    return {"cell": case.cell, **case.shape._asdict(), "threads": threads, "dtype": case.dtype, **update}


def reference(case: Case, folder: str | Path) -> dict[str, Array]:
    """NumPy's results for the arrays in ``folder``."""
    return REFERENCE[case.kind.work](load_task(folder, **task_sizes(case, 1))).answer()


def check_answer(
    who: str, case: Case, expected: Mapping[str, Array], got: Mapping[str, Array], weights: Sequence[Array] = ()
) -> float:
    """Check a contender's results against NumPy's.

    Args:
        who: the contender.
        case: the case.
        expected, got: arrays by name; ``got`` may lack the gradients of the weights, which the updates show, and all
            results of training if it has no update.
        weights: before the update, which is known to two units of their last place.

    Returns:
        The largest deviation of the outputs and gradients relative to the largest element of each array.

    Raises:
        ValueError: naming contender, case and array.
    """
    tolerance = max(TOLERANCE[case.dtype], _CLIPPED if case.what == "ptb" else 0.0)
    last_place = float(np.finfo(case.dtype).eps)
    names = weight_names(case.what, case.shape.layers, case.shape.both)
    sizes = dict(zip(names, (float(np.abs(weight).max(initial=0)) for weight in weights), strict=False))
    trains = any(name.startswith(UPDATE) for name in got)
    for name in expected:
        if name not in got and (name in (OUTPUT, LOSS) or (trains and name not in map(GRADIENT.__add__, names))):
            raise ValueError(f"{who} at {case.label}: wrong answer: expected its {name}, got none")
    worst = 0.0
    for name, array in got.items():
        if name not in expected or array.shape != expected[name].shape:
            there = expected[name].shape if name in expected else "no such array"
            raise ValueError(f"{who} at {case.label}: wrong answer: {name}: expected shape {there}, got {array.shape}")
        largest = float(np.abs(expected[name]).max(initial=0))
        difference = float(np.abs(array - expected[name]).max(initial=0))
        allowed = tolerance * largest
        if name.startswith(UPDATE):
            allowed = 10 * tolerance * largest + 2.1 * last_place * sizes.get(name.removeprefix(UPDATE), 1.0)
        if not difference <= allowed:
            raise ValueError(
                f"{who} at {case.label}: wrong answer: {name}: expected NumPy's to {allowed:.1e}, "
                f"got {difference:.1e} off"
            )
        if not name.startswith(UPDATE) and largest:
            worst = max(worst, difference / largest)
    return worst
