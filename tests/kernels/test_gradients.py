"""Gradients against central differences in float64: every parameter, dx, dh0 and dc0 of stacks of recurrent layers.

Every element is tried up to 9 units, 64 elements of each array above. The inputs' gradients are tried for the whole
batch at once, since the rows of a batch do not meet.
"""

import itertools

import numpy as np
import pytest

from seqcore import _core
from tests.helpers import cases, reference

SIZES = (1, 2, 7, 9, 17, 65)
LAYERS = (1, 2, 3)
RAGGED = ("none", "lengths", "mask", "zero_masked")
BATCH, STEPS, FEATURES = 3, 4, 3
SAMPLED = 64
TOLERANCE = 1e-7


@pytest.fixture(autouse=True)
def _one_thread():
    """Many tiny calls: waking threads would cost more than they do. The results are the same for any number."""
    _core.system.set_num_threads(1)


class Stack:
    """Recurrent layers on top of each other, and the loss sum(dy * y) + sum(dstates * states)."""

    def __init__(self, cell, units, layers, directions, ragged, dtype="float64", sequences=True, seed=0):
        rng = np.random.default_rng([seed, units, layers])
        self.cell, self.activation = cases.CELLS[cell]
        self.reverse = cases.DIRECTIONS[directions]
        self.sequences = [True] * (layers - 1) + [sequences]
        n, states = len(self.reverse), 2 if self.cell == "lstm" else 1
        self.options = {"reverse": self.reverse, "activation": self.activation, "zero_masked": ragged == "zero_masked"}
        if ragged == "lengths":
            self.options["lengths"] = np.array([2, 0, STEPS], np.int32)
        elif ragged != "none":
            self.options["mask"] = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
        self.dtype = np.dtype(dtype)

        def array(*shape):  # rounded to float32, so that both types can start from the same numbers
            return rng.normal(0, 0.7, shape).astype(np.float32).astype(dtype)

        self.x = array(BATCH, STEPS, FEATURES)
        self.weights, self.initial, self.dstates = [], [], []
        features = FEATURES
        for _ in range(layers):
            drawn = [cases.random_weights(rng, self.cell, features, units, True, np.float32) for _ in self.reverse]
            self.weights.append([tuple(w.astype(dtype) for w in ws) for ws in drawn])
            self.initial.append([tuple(array(BATCH, units) for _ in range(states)) for _ in self.reverse])
            self.dstates.append([tuple(array(BATCH, units) for _ in range(states)) for _ in self.reverse])
            features = n * units
        self.dy = array(BATCH, STEPS, features) if sequences else array(BATCH, features)

    def forward(self, save):
        """Inputs of each layer, outputs, what is saved."""
        xs, x, kept = [], self.x, []
        for weights, initial, sequences in zip(self.weights, self.initial, self.sequences, strict=True):
            xs.append(x)
            x, _, saved = _core.recurrent.recurrent_forward(
                self.cell, x, weights, initial=initial, sequences=sequences, save=save, **self.options
            )
            kept.append(saved)
        return xs, x, kept

    def gradients(self):
        """The core's gradients by name, in the order of `arrays`."""
        kept = self.forward(save=True)[2]
        found, dy = {}, self.dy
        for layer in reversed(range(len(kept))):
            dy, weights, states, _ = _core.recurrent.recurrent_backward(kept[layer], dy, self.dstates[layer])
            found |= self.by_name(layer, weights, states)
        return {**found, "x": dy}

    def arrays(self):
        """Every array the loss depends on, by name."""
        found = {}
        for layer in reversed(range(len(self.weights))):
            found |= self.by_name(layer, self.weights[layer], self.initial[layer])
        return {**found, "x": self.x}

    @staticmethod
    def by_name(layer, weights, states):
        found = {}
        for n, (ws, state) in enumerate(zip(weights, states, strict=True)):
            found |= {f"{name}.{layer}.{n}": w for name, w in zip(("kernel", "recurrent", "bias"), ws, strict=True)}
            found |= {f"{name}.{layer}.{n}": s for name, s in zip("hc", state, strict=False)}
        return found

    def row_losses(self, first, x, initial, copies=1):
        """Loss of each row from layer `first` on, whose input is x; `initial` replaces that layer's initial states."""
        total = np.zeros(len(x))
        options = dict(self.options)
        for name in {"lengths", "mask"} & options.keys():
            options[name] = np.concatenate([options[name]] * copies)
        for layer in range(first, len(self.weights)):
            start = initial if layer == first else self.repeat(self.initial[layer], copies)
            x, states, _ = _core.recurrent.recurrent_forward(
                self.cell, x, self.weights[layer], initial=start, sequences=self.sequences[layer], save=False, **options
            )
            for state, ds in zip(states, self.repeat(self.dstates[layer], copies), strict=True):
                for s, d in zip(state, ds, strict=True):
                    total += (s * d).sum(axis=1)
        axes = tuple(range(1, x.ndim))
        return total + (x * np.concatenate([self.dy] * copies)).sum(axis=axes)

    @staticmethod
    def repeat(states, copies):
        return [tuple(np.concatenate([s] * copies) for s in state) for state in states] if copies > 1 else states

    def differences(self, step, every):
        """For each array: its chosen elements (flat indices) and their central differences."""
        rng = np.random.default_rng(5)
        xs = self.forward(save=False)[0]
        found = {}
        for name, array in self.arrays().items():
            kind, _, place = name.partition(".")
            layer, n = (int(p) for p in place.split(".")) if place else (0, 0)
            if kind in ("kernel", "recurrent", "bias"):
                count = array.size
                chosen = np.arange(count) if every or count <= SAMPLED else rng.choice(count, SAMPLED, replace=False)
                flat, values = array.reshape(-1), []
                for i in chosen:
                    before, losses = flat[i], []
                    for value in (before + step, before - step):
                        flat[i] = value
                        losses.append(self.row_losses(layer, xs[layer], self.initial[layer]))
                    flat[i] = before
                    values.append((losses[0] - losses[1]).sum() / (2 * step))
                found[name] = chosen, np.array(values)
                continue
            count = array[0].size
            columns = np.arange(count) if every or count <= SAMPLED else rng.choice(count, SAMPLED, replace=False)
            copies = 2 * len(columns)
            moved = np.concatenate([array] * copies).reshape(copies, BATCH, count)
            for k, column in enumerate(columns):
                moved[2 * k, :, column] += step
                moved[2 * k + 1, :, column] -= step
            moved = moved.reshape(copies * BATCH, *array.shape[1:])
            initial = self.repeat(self.initial[layer], copies)
            if kind == "x":
                losses = self.row_losses(0, moved, initial, copies)
            else:
                state = list(initial[n])
                state["hc".index(kind)] = moved
                initial = [*initial[:n], tuple(state), *initial[n + 1 :]]
                losses = self.row_losses(layer, np.concatenate([xs[layer]] * copies), initial, copies)
            losses = losses.reshape(len(columns), 2, BATCH)
            chosen = (np.arange(BATCH)[None] * count + columns[:, None]).reshape(-1)
            found[name] = chosen, ((losses[:, 0] - losses[:, 1]) / (2 * step)).reshape(-1)
        return found

    def clearance(self):
        """Smallest distance of a relu from its kink, over all steps, by the reference."""
        if self.activation != "relu":
            return np.inf
        smallest, x = np.inf, self.x
        for weights, initial in zip(self.weights, self.initial, strict=True):
            options = {**self.options, "initial": initial}
            linear = []

            class Watched(reference.SimpleRNN):
                @staticmethod
                def step(x, state, scale, w, act, gate, linear=linear):
                    linear.append(np.abs(reference.SimpleRNN.step(x, state, scale, w, "linear", gate)[0][0]))
                    return reference.SimpleRNN.step(x, state, scale, w, act, gate)

            x = reference.forward(Watched, x, weights, **options)[0]
            smallest = min(smallest, *(a.min() for a in linear if a.size))
        return smallest


def differentiable(*args, **kwargs):
    """A stack whose relus stay on their side of the kink while one element moves by the step."""
    for seed in range(50):
        stack = Stack(*args, seed=seed, **kwargs)
        if stack.clearance() > 2e-5:
            return stack
    raise AssertionError("no stack away from the kinks")


def largest_error(stack, units):
    """Largest deviation of the core's gradients from central differences, relative to max(1, |difference|)."""
    step = 1e-6 if stack.activation == "relu" else 1e-5
    gradients = stack.gradients()
    worst = {}
    for name, (chosen, values) in stack.differences(step, every=units <= 9).items():
        worst[name] = cases.deviation(gradients[name].reshape(-1)[chosen], values)
    return worst


@pytest.mark.parametrize("units", SIZES, ids=lambda n: f"units{n}")
@pytest.mark.parametrize("ragged", RAGGED)
@pytest.mark.parametrize("directions", cases.DIRECTIONS)
@pytest.mark.parametrize("layers", LAYERS, ids=lambda n: f"layers{n}")
@pytest.mark.parametrize("cell", cases.CELLS)
def test_central_differences(cell, layers, directions, ragged, units):
    """The outputs of the whole sequence; for every second size those of the last step alone."""
    stack = differentiable(cell, units, layers, directions, ragged, sequences=SIZES.index(units) % 2 == 0)
    wrong = {name: error for name, error in largest_error(stack, units).items() if not error < TOLERANCE}
    assert not wrong


def context_errors(units, reverse, ragged):
    """Deviations of the core's gradients of RNN-CF from central differences."""
    problem = cases.make_context(units, (units + 1) // 2, FEATURES, BATCH, STEPS, reverse, ragged, "float64")
    rng = np.random.default_rng(5)

    def loss():
        y, last, _ = cases.context_core_forward(problem)
        return (y * problem.dy).sum() + sum((s * d).sum() for s, d in zip(last, problem.dlast, strict=True))

    gradients, worst = cases.run_context_core(problem), {}
    arrays = dict(zip(problem.names, problem.weights, strict=True))
    arrays |= {"dx": problem.x, "dh0": problem.initial[0], "ds0": problem.initial[1]}
    for name, array in arrays.items():
        few = units <= 9 or array.size <= SAMPLED
        chosen = np.arange(array.size) if few else rng.choice(array.size, SAMPLED, replace=False)
        flat, values, step = array.reshape(-1), [], 1e-5
        for i in chosen:
            before, losses = flat[i], []
            for flat[i] in (before + step, before - step):
                losses.append(loss())
            flat[i] = before
            values.append((losses[0] - losses[1]) / (2 * step))
        worst[name] = cases.deviation(gradients[name].reshape(-1)[chosen], values)
    return worst


@pytest.mark.parametrize("units", SIZES, ids=lambda n: f"units{n}")
@pytest.mark.parametrize("ragged", ["none", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_context_central_differences(reverse, ragged, units):
    """RNN-CF: every weight, the inputs and both initial states."""
    wrong = {name: error for name, error in context_errors(units, reverse, ragged).items() if not error < TOLERANCE}
    assert not wrong


@pytest.mark.parametrize("units", SIZES, ids=lambda n: f"units{n}")
@pytest.mark.parametrize("ragged", RAGGED)
@pytest.mark.parametrize("directions", cases.DIRECTIONS)
@pytest.mark.parametrize("cell", cases.CELLS)
def test_float32_against_float64(cell, directions, ragged, units):
    """The float32 kernels' gradients of two layers, checked against the float64 gradients."""
    for seed in range(50):
        stacks = [Stack(cell, units, 2, directions, ragged, dtype=dtype, seed=seed) for dtype in cases.DTYPES]
        if stacks[1].clearance() > 1e-6:
            break
    single, double = (stack.gradients() for stack in stacks)
    wrong = {name: cases.deviation(single[name], double[name]) for name in double}
    wrong = {name: error for name, error in wrong.items() if not error < 1e-5}
    assert not wrong


def _difference(loss, array, step=1e-6):
    """Central differences of loss() by every element of an array."""
    found = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        before = array[i]
        array[i] = before + step
        high = loss()
        array[i] = before - step
        found[i] = (high - loss()) / (2 * step)
        array[i] = before
    return found


@pytest.mark.parametrize(
    ("directions", "ragged", "sequences", "scales"),
    [
        *itertools.product(cases.DIRECTIONS, RAGGED, [True], [False]),
        ("both", "lengths", False, True),
        ("both", "mask", False, True),
        ("both", "zero_masked", False, True),
        ("reverse", "lengths", True, True),
    ],
)
@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru", "gru_before"])
def test_reference_by_differences(cell, directions, ragged, sequences, scales):
    """The reference's own backward pass against central differences of its forward pass."""
    case = cases.Case(
        cell,
        units=2,
        features=2,
        batch=3,
        steps=3,
        directions=directions,
        ragged=ragged,
        sequences=sequences,
        processing_order=scales and sequences,
        input_dropout=scales,
        state_dropout=scales,
    )
    problem = cases.make(case, "float64")

    def loss():
        y, states, _ = reference.forward(problem.cell, problem.x, problem.weights, **problem.options)
        pairs = zip(states, problem.dstates, strict=True)
        return (y * problem.dy).sum() + sum((s * d).sum() for pair in pairs for s, d in zip(*pair, strict=True))

    found = cases.run_reference(problem)
    arrays = {"dx": problem.x}
    for n, (weights, state) in enumerate(zip(problem.weights, problem.options["initial"], strict=True)):
        arrays |= {f"{k}[{n}]": w for k, w in zip(("dkernel", "drecurrent", "dbias"), weights, strict=True)}
        arrays |= {f"{k}[{n}]": s for k, s in zip(("dh0", "dc0"), state, strict=False)}
    for name, array in arrays.items():
        assert cases.deviation(found[name], _difference(loss, array)) < 1e-7, name


@pytest.mark.parametrize("kind", ["none", "lengths", "mask"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_reference_context_by_differences(kind, reverse, rng):
    """RNN-CF and its scan in the reference: their ways back against central differences."""
    options = {"lengths": {"lengths": np.array([0, 3, 2])}, "mask": {"mask": rng.random((3, 3)) < 0.5}}.get(kind, {})
    cell = reference.ContextRNN(0.8)
    x = rng.normal(size=(3, 3, 2))
    weights = [rng.normal(size=shape) for shape in ((2, 2), (2, 3), (2, 3), (3, 3), (3,))]
    initial, dstates = ((rng.normal(size=(3, 3)), rng.normal(size=(3, 2))) for _ in range(2))
    dy = rng.normal(size=(3, 3, 5))

    def run():
        return reference.forward(cell, x, [weights], initial=[initial], reverse=(reverse,), **options)

    def loss():
        y, states, _ = run()
        return (y * dy).sum() + sum((s * d).sum() for s, d in zip(states[0], dstates, strict=True))

    dx, dweights, dinitial, _ = reference.backward(run()[2], dy, [dstates])
    gradients = [dx, *dweights[0], *dinitial[0]]
    for array, gradient in zip([x, *weights, *initial], gradients, strict=True):
        assert cases.deviation(gradient, _difference(loss, array)) < 1e-7

    z, start = rng.normal(size=(3, 3, 2)), rng.normal(size=(3, 2))
    ds, ds_last = rng.normal(size=z.shape), rng.normal(size=start.shape)

    def scan_loss():
        s, last = reference.scan_forward(z, 0.8, start, reverse=reverse, **options)
        return (s * ds).sum() + (last * ds_last).sum()

    dz, dstart = reference.scan_backward(ds, ds_last, 0.8, z.shape, reverse=reverse, **options)
    assert cases.deviation(dz, _difference(scan_loss, z)) < 1e-7
    assert cases.deviation(dstart, _difference(scan_loss, start)) < 1e-7
