"""Recurrent problems for the proofs: random arrays for any options, run by the core and by the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from seqcore.autograd.tensor import Tensor, Variable
from tests.helpers import reference

# Name of the case: cell and activation. Every cell of the reference is a case.
_NAMES = {"rnn": "tanh", "gru_reset_before": "gru_before"}
CELLS = {_NAMES.get(cell, cell): (cell, "tanh") for cell in reference.CELLS} | {"relu": ("rnn", "relu")}
GATES = {cell: math.gates for cell, math in reference.CELLS.items()}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "both": (False, True)}
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@dataclass(frozen=True)
class Case:
    """One recurrent layer: a key of CELLS, its shape and its options; `ragged`: none, lengths, mask or zero_masked."""

    cell: str
    units: int = 9
    features: int = 5
    batch: int = 7
    steps: int = 5
    directions: str = "forward"
    ragged: str = "none"
    initial: bool = True
    bias: bool = True
    input_dropout: bool = False
    state_dropout: bool = False
    sequences: bool = True
    processing_order: bool = False
    activation: str | None = None
    recurrent_activation: str = "sigmoid"
    seed: int = 0

    def __str__(self):
        parts = [f"{self.cell}-units{self.units}"]
        for item in fields(self)[2:]:
            value = getattr(self, item.name)
            if value != item.default:
                parts.append(item.name if value is True else f"{item.name}={value}")
        return "-".join(parts)


@dataclass
class Problem:
    """Arguments of one forward call, and the gradients that its backward pass starts from."""

    cell: str
    x: np.ndarray
    weights: list
    options: dict
    dy: np.ndarray
    dstates: list
    results: dict = field(default_factory=dict)


def random_weights(rng, cell, features, units, bias, dtype):
    """(kernel, recurrent, bias or None) of a core cell, with entries that keep the cell away from saturation."""
    columns = GATES[cell] * units
    kernel = rng.uniform(-1.5, 1.5, (features, columns)) / np.sqrt(features)
    recurrent = rng.uniform(-1.2, 1.2, (units, columns)) / np.sqrt(units)
    b = rng.uniform(-0.5, 0.5, (2, columns) if cell == "gru" else columns)
    return kernel.astype(dtype), recurrent.astype(dtype), b.astype(dtype) if bias else None


def random_lengths(rng, batch, steps):
    """Lengths 0...T in no order, both ends among them where the batch has room."""
    lengths = rng.integers(0, steps + 1, batch).astype(np.int32)
    if batch > 1:
        lengths[rng.permutation(batch)[:2]] = 0, steps
    return lengths


def random_mask(rng, batch, steps):
    """A mask with a row without any valid step and a row that starts masked, where the batch has room."""
    mask = rng.random((batch, steps)) < 0.6
    if batch > 1:
        mask[rng.integers(batch)] = False
    mask[rng.integers(batch), 0] = False
    return mask


def make(case, dtype):
    """The random arrays of a case."""
    rng = np.random.default_rng([case.seed, case.units, case.features, case.batch, case.steps])
    cell, activation = CELLS[case.cell]
    reverse = DIRECTIONS[case.directions]
    n, b, t, d, h = len(reverse), case.batch, case.steps, case.features, case.units

    def array(*shape):
        return rng.normal(0, 0.7, shape).astype(dtype)

    def scale(size):
        return ((rng.random((b, size)) < 0.7) / 0.7).astype(dtype)

    states = reference.CELLS[cell].states
    x = array(b, t, d)
    weights = [random_weights(rng, cell, d, h, case.bias, dtype) for _ in reverse]
    options = {
        "reverse": reverse,
        "activation": case.activation or activation,
        "recurrent_activation": case.recurrent_activation,
        "sequences": case.sequences,
        "processing_order": case.processing_order,
        "zero_masked": case.ragged == "zero_masked",
    }
    if case.initial:
        options["initial"] = [tuple(array(b, h) for _ in range(states)) for _ in reverse]
    if case.ragged == "lengths":
        options["lengths"] = random_lengths(rng, b, t)
    elif case.ragged != "none":
        options["mask"] = random_mask(rng, b, t)
    if case.input_dropout:
        options["input_dropout"] = [scale(d) for _ in reverse]
    if case.state_dropout:
        options["state_dropout"] = [scale(h) for _ in reverse]
    dy = array(b, t, n * h) if case.sequences else array(b, n * h)
    dstates = [tuple(array(b, h) for _ in range(states)) for _ in reverse]
    return Problem(cell, x, weights, options, dy, dstates)


def named(y, states, dx=None, weights=None, dstates=None, steps=None):
    """One dictionary of everything a forward and a backward call return."""
    found = {"y": y}
    for n, state in enumerate(states):
        found |= {f"{name}[{n}]": value for name, value in zip(("h", "c"), state, strict=False)}
    if dx is not None:
        found["dx"] = dx
    for n, gradients in enumerate(weights or ()):
        names = ("dkernel", "drecurrent", "dbias")
        found |= {f"{k}[{n}]": g for k, g in zip(names, gradients, strict=True) if g is not None}
    for n, state in enumerate(dstates or ()):
        found |= {f"{name}[{n}]": value for name, value in zip(("dh0", "dc0"), state, strict=False)}
    for n, step in enumerate(steps or ()):
        found[f"steps[{n}]"] = step
    return found


def run_core(problem, step_gradients=False):
    """Forward and backward by the compiled core."""
    from seqcore import _core

    y, states, saved = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)
    back = _core.recurrent.recurrent_backward(saved, problem.dy, problem.dstates, step_gradients=step_gradients)
    return named(y, states, *back)


def run_reference(problem, step_gradients=False):
    """Forward and backward by the reference."""
    y, states, tape = reference.forward(problem.cell, problem.x, problem.weights, **problem.options)
    dx, weights, dstates, steps = reference.backward(tape, problem.dy, problem.dstates)
    return named(y, states, dx, weights, dstates, steps if step_gradients else None)


@dataclass
class ContextProblem:
    """RNN-CF in one direction: weights (B, A, P, R, bias), initial (h, s), and the gradients of the outputs."""

    x: np.ndarray
    weights: list
    initial: tuple
    reverse: bool
    lengths: np.ndarray | None
    dy: np.ndarray
    dlast: tuple
    alpha: float = 0.9
    names: tuple = ("db_kernel", "da_kernel", "dp", "dr", "dbias")


def make_context(units, columns, features, batch, steps, reverse, ragged, dtype, seed=0):
    """The random arrays of RNN-CF with `columns` context units."""
    rng = np.random.default_rng([seed, units, columns, features, batch, steps])

    def array(*shape):
        return rng.normal(0, 0.7, shape).astype(np.float32).astype(dtype)

    shapes = ((features, columns), (features, units), (columns, units), (units, units))
    weights = [(rng.uniform(-1.2, 1.2, s) / np.sqrt(s[0])).astype(np.float32).astype(dtype) for s in shapes]
    return ContextProblem(
        array(batch, steps, features),
        [*weights, array(units)],
        (array(batch, units), array(batch, columns)),
        reverse,
        random_lengths(rng, batch, steps) if ragged == "lengths" else None,
        array(batch, steps, units + columns),
        (array(batch, units), array(batch, columns)),
    )


def context_core_forward(problem, save=False):
    """RNN-CF by the core: a dense product, the scan, the recurrence over [x, s]. Returns y, (h, s), what to keep."""
    from seqcore import _core

    x, (b, a, p, r, bias) = problem.x, problem.weights
    options = {"lengths": problem.lengths}
    z = _core.dense.dense_forward(x.reshape(-1, x.shape[2]), b)
    s, s_last = _core.context.context_scan_forward(
        z.reshape(*x.shape[:2], -1), problem.alpha, problem.initial[1], reverse=problem.reverse, **options
    )
    joined = np.concatenate([x, s], axis=2)
    h, last, saved = _core.recurrent.recurrent_forward(
        "rnn",
        joined,
        [(np.concatenate([a, p]), r, bias)],
        initial=[problem.initial[:1]],
        reverse=(problem.reverse,),
        save=save,
        **options,
    )
    return np.concatenate([h, s], axis=2), (last[0][0], s_last), (z, saved)


def run_context_core(problem):
    """Forward and backward of RNN-CF by the core."""
    from seqcore import _core

    x, units, features = problem.x, problem.initial[0].shape[1], problem.x.shape[2]
    y, (h, s), (z, saved) = context_core_forward(problem, save=True)
    dh = np.ascontiguousarray(problem.dy[..., :units])
    djoined, weights, start, _ = _core.recurrent.recurrent_backward(saved, dh, [problem.dlast[:1]])
    ds = djoined[..., features:] + problem.dy[..., units:]
    dz, ds0 = _core.context.context_scan_backward(
        ds, problem.dlast[1], problem.alpha, ds.shape, problem.lengths, reverse=problem.reverse, dtype=str(x.dtype)
    )
    rows = x.reshape(-1, features)
    dz_rows = np.ascontiguousarray(dz).reshape(len(rows), -1)
    dx, db, _ = _core.dense.dense_backward(rows, problem.weights[0], z, dz_rows, use_bias=False)
    dkernel, dr, dbias = weights[0]
    gradients = dict(zip(problem.names, (db, dkernel[:features], dkernel[features:], dr, dbias), strict=True))
    dx = djoined[..., :features] + dx.reshape(x.shape)
    return {"y": y, "h": h, "s": s, "dx": dx, "dh0": start[0][0], "ds0": ds0, **gradients}


def run_context_reference(problem):
    """Forward and backward of RNN-CF by its equations."""
    cell, options = reference.ContextRNN(problem.alpha), {"reverse": (problem.reverse,), "lengths": problem.lengths}
    y, states, tape = reference.forward(cell, problem.x, [problem.weights], initial=[problem.initial], **options)
    dx, weights, start, _ = reference.backward(tape, problem.dy, [problem.dlast])
    gradients = dict(zip(problem.names, weights[0], strict=True))
    return {"y": y, "h": states[0][0], "s": states[0][1], "dx": dx, "dh0": start[0][0], "ds0": start[0][1], **gradients}


def deviation(got, expected):
    """Largest deviation relative to max(1, |expected|), element by element; infinite where only one is a number."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    if got.size == 0:
        return 0.0
    difference = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def deviations(got, expected):
    """The deviation of each named array."""
    assert got.keys() == expected.keys(), f"{sorted(got)} != {sorted(expected)}"
    found = {}
    for name in got:
        assert got[name].shape == expected[name].shape, f"{name}: {got[name].shape}, expected {expected[name].shape}"
        found[name] = deviation(got[name], expected[name])
    return found


def check(got, expected, dtype):
    """Asserts that every named array has the type and, to the type's tolerance, the values expected."""
    wrong = {name: value for name, value in deviations(got, expected).items() if not value <= TOLERANCE[dtype]}
    assert not wrong, f"deviations above {TOLERANCE[dtype]}: {wrong}"
    types = {name: str(value.dtype) for name, value in got.items() if value.dtype != np.dtype(dtype)}
    assert not types, f"expected {dtype}: {types}"


def identical(first, second):
    """Asserts that two dictionaries of arrays are equal bit by bit."""
    assert first.keys() == second.keys()
    differing = [name for name in first if first[name].tobytes() != second[name].tobytes()]
    assert not differing, f"not bitwise equal: {differing}"


def central_difference(value: Callable[[], Any], tensor: Tensor, place: tuple[int, ...], eps: float = 1e-6) -> float:
    """Derivative of value() by one element of ``tensor``; a variable counts its changes, as with ``assign``."""
    array, found = np.asarray(tensor), []
    old = array[place]
    try:
        for moved in (old + eps, old - eps):
            array[place] = moved
            if isinstance(tensor, Variable):
                tensor.version += 1
            found.append(float(value()))
    finally:
        array[place] = old
        if isinstance(tensor, Variable):
            tensor.version += 1
    return (found[0] - found[1]) / (2 * eps)
