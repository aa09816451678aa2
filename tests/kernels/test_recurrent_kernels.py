"""Recurrent kernels against the reference: float64 to 1e-10, float32 to 1e-5, over odd sizes and every option.

B, T, D, H: batch, time steps, input features, units.
"""

import itertools

import numpy as np
import pytest

from seqcore import _core
from tests.helpers import cases, reference
from tests.helpers.cases import Case
from tests.helpers.kernels import ACTIVATIONS, close, dtypes

SIZES = (1, 2, 7, 9, 17, 40, 65, 200)
BATCHES = (1, 2, 5, 7, 20, 33)
RAGGED = ("none", "lengths", "mask", "zero_masked")

cells = pytest.mark.parametrize("cell", cases.CELLS)


def mixed_cases():
    """For each cell a list in which every pair of options meets, drawn once."""
    rng = np.random.default_rng(11)
    for cell in cases.CELLS:
        for n in range(60):
            sequences = bool(rng.random() < 0.7)
            yield Case(
                cell,
                units=int(rng.choice(SIZES[:7])),
                features=int(rng.choice((1, 2, 3, 5, 9, 17, 40, 65))),
                batch=int(rng.choice(BATCHES)),
                steps=int(rng.choice((1, 2, 3, 5, 8))),
                directions=str(rng.choice(list(cases.DIRECTIONS))),
                ragged=str(rng.choice(RAGGED)),
                initial=bool(rng.random() < 0.6),
                bias=bool(rng.random() < 0.75),
                input_dropout=bool(rng.random() < 0.35),
                state_dropout=bool(rng.random() < 0.35),
                sequences=sequences,
                processing_order=sequences and bool(rng.random() < 0.3),
                seed=n,
            )


# Recurrent layers -----------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("batch", BATCHES, ids=lambda n: f"batch{n}")
@pytest.mark.parametrize("units", SIZES, ids=lambda n: f"units{n}")
@cells
def test_shapes(cell, units, batch, dtype):
    """Every size with every batch: whole and partial vectors, panels and tiles."""
    case = Case(cell, units=units, features=(units * 5) % 23 + 1, batch=batch, steps=3)
    problem = cases.make(case, dtype)
    cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)


@dtypes
@pytest.mark.parametrize("case", list(mixed_cases()), ids=str)
def test_options(case, dtype):
    """Mixed options: forward, backward, and dL/dh of each step."""
    problem = cases.make(case, dtype)
    cases.check(cases.run_core(problem, True), cases.run_reference(problem, True), dtype)


@dtypes
@pytest.mark.parametrize("ragged", RAGGED)
@pytest.mark.parametrize("directions", cases.DIRECTIONS)
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@cells
def test_directions(cell, sequences, directions, ragged, dtype):
    """Directions with lengths and masks, in time order and in the order of processing."""
    for processing_order in (False, True) if sequences else (False,):
        case = Case(
            cell,
            batch=9,
            steps=6,
            directions=directions,
            ragged=ragged,
            sequences=sequences,
            processing_order=processing_order,
        )
        problem = cases.make(case, dtype)
        cases.check(cases.run_core(problem, True), cases.run_reference(problem, True), dtype)


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
@cells
def test_activations(cell, activation, dtype):
    """Each activation inside and, where there are gates, each at the gates."""
    gates = ACTIVATIONS if cell not in ("tanh", "relu") else ("sigmoid",)
    for gate in gates:
        case = Case(cell, units=17, batch=6, steps=4, activation=activation, recurrent_activation=gate)
        problem = cases.make(case, dtype)
        problem.weights = [tuple(w / 3 for w in weights) for weights in problem.weights]  # unbounded gates stay small
        cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)


@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@pytest.mark.parametrize(("units", "batch"), [(300, 1), (1030, 3)])
@cells
def test_wide_layers(cell, units, batch, ragged):
    """Layers whose units, not rows, are shared out among threads."""
    _core.system.set_num_threads(2)
    case = Case(
        cell, units, 33, batch, steps=3, directions="both", ragged=ragged, input_dropout=True, state_dropout=True
    )
    problem = cases.make(case, "float64")
    cases.check(cases.run_core(problem), cases.run_reference(problem), "float64")


@dtypes
@cells
def test_long_sequence(cell, dtype):
    """Many steps, so that errors would add up."""
    problem = cases.make(Case(cell, units=20, features=8, batch=4, steps=120, directions="both"), dtype)
    cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)


@dtypes
@cells
def test_lengths_of_zero(cell, dtype):
    """All lengths zero: outputs zero, the state untouched, gradients zero."""
    problem = cases.make(Case(cell, batch=3, directions="both", ragged="lengths"), dtype)
    problem.options["lengths"][:] = 0
    got = cases.run_core(problem)
    cases.check(got, cases.run_reference(problem), dtype)
    assert not got["y"].any() and not got["dkernel[0]"].any()
    assert np.array_equal(got["h[0]"], problem.options["initial"][0][0])


@dtypes
@cells
def test_padded_steps_are_never_read(cell, dtype):
    """NaN past the lengths and any number at masked steps stays without effect, in the backward pass too."""
    for ragged in ("lengths", "mask", "zero_masked"):
        problem = cases.make(Case(cell, batch=7, steps=6, directions="both", ragged=ragged), dtype)
        expected = cases.run_core(problem)
        if ragged == "lengths":
            outside = np.arange(6)[None] >= problem.options["lengths"][:, None]
        else:
            outside = ~problem.options["mask"]
        problem.x[outside] = np.nan if ragged == "lengths" else 100.0
        if ragged == "lengths":
            problem.dy[outside] = np.nan
        cases.identical(cases.run_core(problem), expected)


@dtypes
@cells
def test_one_direction_without_options(cell, dtype):
    """A direction may go without initial state or masks while the other has them."""
    case = Case(cell, directions="both", input_dropout=True, state_dropout=True)
    problem = cases.make(case, dtype)
    for name, direction in (("initial", 0), ("input_dropout", 1), ("state_dropout", 0)):
        problem.options[name][direction] = None
    problem.dstates[1] = None
    cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)


@dtypes
@cells
def test_partial_gradients(cell, dtype):
    """Without dy, without dstates, with one of the states' gradients alone."""
    problem = cases.make(Case(cell, directions="both"), dtype)
    dy, dstates = problem.dy, problem.dstates
    for problem.dy, problem.dstates in (
        (dy, None),
        (None, dstates),
        (None, None),
        (dy, [(None,) * (len(dstates[0]) - 1) + (dstates[0][-1],), None]),
    ):
        cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)


@dtypes
@cells
def test_what_is_not_needed(cell, dtype):
    """need_dx and need_weights leave out and change nothing else; `out` receives the weights' gradients."""
    problem = cases.make(Case(cell, directions="both"), dtype)
    expected = cases.run_core(problem)

    def back(**options):
        saved = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)[2]
        return _core.recurrent.recurrent_backward(saved, problem.dy, problem.dstates, **options)

    dx, weights, states, steps = back(need_dx=False)
    assert dx is None and steps is None
    assert np.array_equal(weights[0][0], expected["dkernel[0]"])
    dx, weights, states, _ = back(need_weights=False)
    assert weights is None
    assert np.array_equal(dx, expected["dx"]) and np.array_equal(states[1][0], expected["dh0[1]"])
    out = [tuple(np.full_like(w, 7.0) for w in ws) for ws in problem.weights]
    weights = back(out=out)[1]
    for n, direction in enumerate(out):
        for name, array, returned in zip(("dkernel", "drecurrent", "dbias"), direction, weights[n], strict=True):
            assert np.array_equal(array, expected[f"{name}[{n}]"]), name
            assert np.shares_memory(array, returned)


@dtypes
@cells
def test_without_save(cell, dtype):
    """save=False returns the same outputs and nothing to go back with."""
    problem = cases.make(Case(cell, batch=20, units=40, directions="both", ragged="lengths"), dtype)
    y, states, saved = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)
    problem.options["save"] = False
    z, others, nothing = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)
    assert nothing is None and saved.nbytes > 0
    assert np.array_equal(y, z)
    for a, b in zip(itertools.chain(*states), itertools.chain(*others), strict=True):
        assert np.array_equal(a, b)


@cells
@pytest.mark.parametrize("directions", ["forward", "both"])
def test_without_states(cell, directions):
    """Final states and gradients of the initial states are left out where not asked for; the rest stays."""
    problem = cases.make(Case(cell, batch=5, units=20, directions=directions), "float32")
    back = problem.dy, None
    y, _, saved = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)
    dx, weights, _, _ = _core.recurrent.recurrent_backward(saved, *back)
    z, states, saved = _core.recurrent.recurrent_forward(
        problem.cell, problem.x, problem.weights, states=False, **problem.options
    )
    dz, others, initial, _ = _core.recurrent.recurrent_backward(saved, *back, need_initial=False)
    assert states == [] and initial is None
    assert np.array_equal(y, z) and np.array_equal(dx, dz)
    for a, b in zip(itertools.chain(*weights), itertools.chain(*others), strict=True):
        assert np.array_equal(a, b)


@cells
def test_inputs_stay_unchanged(cell):
    """Nothing a caller hands over is written to, and results share no memory with it."""
    problem = cases.make(
        Case(cell, directions="both", ragged="mask", input_dropout=True, state_dropout=True), "float32"
    )
    arrays = [problem.x, problem.dy, *itertools.chain(*problem.weights), *itertools.chain(*problem.dstates)]
    arrays += [
        *itertools.chain(*problem.options["initial"]),
        *problem.options["input_dropout"],
        *problem.options["state_dropout"],
    ]
    before = [a.copy() for a in arrays]
    got = cases.run_core(problem)
    for array, copy in zip(arrays, before, strict=True):
        assert np.array_equal(array, copy)
        assert not any(np.shares_memory(array, value) for value in got.values())


@cells
def test_backward_pass_after_the_weights_changed(cell):
    """Saved values belong to the call: later calls of other shapes do not disturb it."""
    first, second = (cases.make(Case(cell, units=n, batch=b), "float64") for n, b in ((9, 7), (40, 33)))
    saved = [_core.recurrent.recurrent_forward(p.cell, p.x, p.weights, **p.options)[2] for p in (first, second)]
    for problem, kept in zip((first, second), saved, strict=True):
        dx = _core.recurrent.recurrent_backward(kept, problem.dy, problem.dstates)[0]
        close(dx, cases.run_reference(problem)["dx"], "float64")


def rows_of(problem, rows):
    """The problem of some sequences of a batch alone."""
    options = {**problem.options, "initial": [tuple(s[rows].copy() for s in problem.options["initial"][0])]}
    states = [tuple(s[rows].copy() for s in problem.dstates[0])]
    return cases.Problem(
        problem.cell, problem.x[rows].copy(), problem.weights, options, problem.dy[rows].copy(), states
    )


@dtypes
@pytest.mark.parametrize("batch", [2, 5, 7, 20, 33])
@cells
def test_rows_do_not_depend_on_the_batch(cell, batch, dtype):
    """Each row alone, through a tile of one row, gives bit by bit what it gives in its batch."""
    problem = cases.make(Case(cell, units=65, features=17, batch=batch, steps=4), dtype)
    whole = cases.run_core(problem)
    for b in sorted({0, batch // 2, batch - 1}):
        row = slice(b, b + 1)
        got = cases.run_core(rows_of(problem, row))
        for name in ("y", "dx", "h[0]", "dh0[0]"):
            assert got[name].tobytes() == whole[name][row].tobytes(), name


@dtypes
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (1, 3), (2, 2), (3, 1), (4, 1), (4, 3)])
@pytest.mark.parametrize("units", [1, 9, 16, 40, 65, 130])
@cells
def test_few_rows(cell, units, batch, steps, dtype):
    """Weights that are read where they lie, and gradients that are written as they are computed, give bit by bit what
    the same rows give in a batch of 20, whose weights are packed and whose other rows have no gradient."""
    problem = cases.make(Case(cell, units=units, features=19, batch=20, steps=steps), dtype)
    for gradient in (problem.dy, *problem.dstates[0]):
        gradient[batch:] = 0
    rows = slice(0, batch)
    whole, got = cases.run_core(problem), cases.run_core(rows_of(problem, rows))
    for name, value in got.items():
        expected = whole[name][rows] if len(whole[name]) == 20 else whole[name]
        np.testing.assert_array_equal(value, expected, err_msg=name)


@dtypes
@cells
def test_any_strides_of_batch_and_time(cell, dtype):
    """Time-major views, every second row, reversed time, broadcast rows: equal to a contiguous copy."""
    problem = cases.make(Case(cell, batch=6, steps=5, units=17), dtype)
    x, dy, expected = problem.x, problem.dy, cases.run_core(problem)
    features, width = x.shape[2], dy.shape[2]
    wide = np.full((12, 10, features + 3), np.nan, dtype)
    wide[::2, ::2, 2 : features + 2] = x
    time_major, backwards = x.transpose(1, 0, 2).copy().transpose(1, 0, 2), x[:, ::-1].copy()[:, ::-1]
    for problem.x in (time_major, backwards, wide[::2, ::2, 2 : features + 2]):
        cases.identical(cases.run_core(problem), expected)
    problem.x, problem.dy = x, dy.transpose(1, 0, 2).copy().transpose(1, 0, 2)
    cases.identical(cases.run_core(problem), expected)
    problem.dy = np.broadcast_to(np.ones((width,), dtype), dy.shape)
    got = cases.run_core(problem)
    problem.dy = np.ones_like(dy)
    cases.identical(got, cases.run_core(problem))
    problem.x = np.broadcast_to(x[:1], x.shape)
    got = cases.run_core(problem)
    problem.x = np.repeat(x[:1], 6, axis=0)
    cases.identical(got, cases.run_core(problem))


def unaligned(array):
    """A copy of the array that starts one element past an aligned address."""
    raw = np.zeros(array.nbytes + 64 + array.itemsize, np.uint8)
    start = -raw.ctypes.data % 64 + array.itemsize
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@dtypes
@cells
def test_unaligned_memory(cell, dtype):
    """Arrays that start at any element."""
    problem = cases.make(Case(cell, units=16, features=16, batch=5), dtype)
    expected = cases.run_core(problem)
    problem.x, problem.dy = unaligned(problem.x), unaligned(problem.dy)
    problem.weights = [tuple(unaligned(w) for w in ws) for ws in problem.weights]
    problem.options["initial"] = [tuple(unaligned(s) for s in state) for state in problem.options["initial"]]
    problem.dstates = [tuple(unaligned(s) for s in state) for state in problem.dstates]
    cases.identical(cases.run_core(problem), expected)


def test_output_is_time_major():
    """y is a view of time-major memory, as the documentation of the core says."""
    problem = cases.make(Case("lstm"), "float32")
    y = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)[0]
    assert y.transpose(1, 0, 2).flags.c_contiguous


@pytest.mark.parametrize("dropped", [False, True])
def test_output_outlives_the_forward_pass(rng, dropped):
    """It is a view of what is saved, whose memory no later call may get while the view lives."""
    x, kernel, recurrent = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 6, 5), (5, 9), (9, 9)))
    given = {"state_dropout": [np.ones((4, 9), np.float32)]} if dropped else {}

    def run(x):
        return _core.recurrent.recurrent_forward("rnn", x, [(kernel, recurrent, None)], **given)[0]

    y = run(x)
    before = y.copy()
    others = [run(-x) for _ in range(9)]
    np.testing.assert_array_equal(y, before)
    assert not any(np.shares_memory(y, other) for other in others)


# NaN, infinities, denormals -------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
@cells
def test_nan_in_one_row(cell, activation, dtype):
    """NaN in a row of x comes out in that row, from its step on, and in no other row."""
    case = Case(cell, units=17, batch=7, steps=5, activation=activation, recurrent_activation="hard_sigmoid")
    problem = cases.make(case, dtype)
    expected = cases.run_core(problem)
    problem.x[3, 2, 1] = np.nan
    got = cases.run_core(problem)
    others = [0, 1, 2, 4, 5, 6]
    for name in ("y", "dx", "h[0]", "dh0[0]"):
        assert np.array_equal(got[name][others], expected[name][others]), name
    assert np.isnan(got["y"][3, 2:]).all() and np.isnan(got["h[0]"][3]).all()
    assert np.array_equal(got["y"][3, :2], expected["y"][3, :2])
    assert np.isnan(got["dkernel[0]"][1]).any()


@dtypes
@pytest.mark.parametrize("which", [0, 1, 2], ids=["kernel", "recurrent", "bias"])
@cells
def test_nan_in_weights(cell, which, dtype):
    """NaN among the weights reaches the outputs."""
    problem = cases.make(Case(cell, units=17, batch=5), dtype)
    problem.weights[0][which].reshape(-1)[3] = np.nan
    got = cases.run_core(problem)
    assert np.isnan(got["y"][:, -1]).any(axis=1).all()
    if cell != "relu":  # whose slope is 0 where its value is no number above 0
        assert np.isnan(got["dx"]).any()


@dtypes
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, -1e30], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_infinite_inputs(activation, value, dtype):
    """Infinite and huge arguments of the activations give their limits, not NaN."""
    x = np.array([[[value], [0.5]]], dtype)
    weights = [(np.ones((1, 3), dtype), np.zeros((3, 3), dtype), None)]
    y = _core.recurrent.recurrent_forward("rnn", x, weights, activation=activation, save=False)[0]
    expected = reference.activate(activation, np.array([value, 0.5], dtype).astype(float))
    dense = _core.dense.dense_forward(x[0], np.ones((1, 3), dtype), None, activation)
    close(dense[1], np.full(3, expected[1]), dtype)
    if np.isfinite(expected[0]):
        close(dense[0], np.full(3, expected[0]), dtype)
        close(y[0], dense, dtype)
    else:
        assert (y[0, 0] == expected[0]).all() and (dense[0] == expected[0]).all()


@dtypes
@cells
def test_saturated_gates(cell, dtype):
    """Arguments of +-1000 saturate without NaN, forward and back."""
    problem = cases.make(Case(cell, units=9, features=5, activation="tanh"), dtype)
    problem.x[...] = 1000 * np.sign(problem.x)
    problem.weights = [(np.sign(w[0]), *w[1:]) for w in problem.weights]
    got = cases.run_core(problem)
    assert all(np.isfinite(value).all() for value in got.values())
    close(got["y"], cases.run_reference(problem)["y"], dtype)


@dtypes
@cells
def test_denormals(cell, dtype):
    """Denormal inputs count as zeros or as what they are, and the caller's arithmetic keeps its denormals."""
    tiny = np.finfo(dtype).tiny
    problem = cases.make(Case(cell, units=9, batch=4, initial=False), dtype)
    problem.x[...] = tiny / 8
    cases.check(cases.run_core(problem), cases.run_reference(problem), dtype)
    small = np.full(3, tiny, dtype) / np.asarray(4, dtype)
    assert (small > 0).all() and (small * np.asarray(2, dtype) > small).all()


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_values(activation, dtype):
    """The activations over their whole range, in every place of a vector."""
    special = [0.0, -0.0, 3.0, -3.0, 88.0, -88.0, 745.0, -745.0]
    x = np.concatenate([np.linspace(-30, 30, 1001), np.linspace(-1e-3, 1e-3, 101), special])[:, None].astype(dtype)
    for columns in (1, 7, 16):
        y = _core.dense.dense_forward(x, np.ones((1, columns), dtype), None, activation)
        close(y, np.repeat(reference.activate(activation, x.astype(float)), columns, axis=1), dtype)
    if activation == "tanh":  # close to zero the relative error counts too
        expected = np.tanh(x.astype(float))
        assert (np.abs(y[:, :1] - expected) <= cases.TOLERANCE[dtype] * np.abs(expected)).all()


# RNN-CF ---------------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("ragged", ["none", "lengths", "mask"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (7, 4, 40), (20, 6, 17)], ids=str)
def test_context_scan(shape, ragged, reverse, dtype, rng):
    """The context's scan and its backward pass."""
    batch, steps, columns = shape
    z = rng.normal(size=shape).astype(dtype)
    start = rng.normal(size=(batch, columns)).astype(dtype)
    options = {"reverse": reverse}
    if ragged == "lengths":
        options["lengths"] = cases.random_lengths(rng, batch, steps)
    elif ragged == "mask":
        options["mask"] = cases.random_mask(rng, batch, steps)
    for initial in (start, None):
        got = _core.context.context_scan_forward(z, 0.9, initial, **options)
        for a, b in zip(got, reference.scan_forward(z.astype(float), 0.9, initial, **options), strict=True):
            close(a, b, dtype)
    ds, ds_last = rng.normal(size=shape).astype(dtype), rng.normal(size=(batch, columns)).astype(dtype)
    for pair in ((ds, ds_last), (ds, None), (None, ds_last)):
        got = _core.context.context_scan_backward(*pair, 0.9, shape, **options, dtype=dtype)
        for a, b in zip(got, reference.scan_backward(*pair, 0.9, shape, **options), strict=True):
            close(a, b, dtype)


@dtypes
def test_context_scan_of_a_time_major_view(dtype, rng):
    """z and ds may have any strides for batch and time."""
    z = rng.normal(size=(5, 7, 9)).astype(dtype)
    view = z.transpose(1, 0, 2).copy().transpose(1, 0, 2)
    for a, b in zip(
        _core.context.context_scan_forward(view, 0.5), _core.context.context_scan_forward(z, 0.5), strict=True
    ):
        assert np.array_equal(a, b)
    back = [_core.context.context_scan_backward(d, None, 0.5, z.shape, dtype=dtype) for d in (view, z)]
    assert np.array_equal(back[0][0], back[1][0]) and np.array_equal(back[0][1], back[1][1])


@dtypes
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("ragged", ["none", "lengths"])
@pytest.mark.parametrize(("units", "columns"), [(1, 1), (9, 4), (17, 40)])
def test_context_cell(units, columns, ragged, reverse, dtype):
    """RNN-CF composed of a dense product, the scan and the recurrence, against the cell's own equations."""
    problem = cases.make_context(units, columns, 6, 5, 4, reverse, ragged, dtype)
    cases.check(cases.run_context_core(problem), cases.run_context_reference(problem), dtype)


# Streams --------------------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("units", [1, 9, 17, 64])
@cells
def test_stream_equals_sequence(cell, units, batch, dtype):
    """Step by step, two stacked layers and a softmax give what the whole sequence gives."""
    problem = cases.make(Case(cell, units=units, batch=batch, steps=6, initial=False), dtype)
    above = cases.make(Case(cell, units=5, features=units, batch=batch, seed=1), dtype).weights
    activation = problem.options["activation"]
    kernel = np.random.default_rng(1).normal(size=(5, 4)).astype(dtype)
    stream = _core.stream.Stream(batch, dtype)
    for weights in (problem.weights[0], above[0]):
        stream.add_recurrent(problem.cell, *weights, activation)
    stream.add_dense(kernel, None, "softmax")
    y = reference.forward(problem.cell, problem.x, problem.weights, activation=activation)[0]
    y = reference.forward(problem.cell, y, above, activation=activation)[0]
    expected = reference.softmax(y @ kernel.astype(float))
    for _ in range(2):
        for t in range(6):
            close(stream.step(problem.x[:, t].copy()), expected[:, t], dtype)
        stream.reset()


@dtypes
def test_stream_of_every_layer(dtype, rng):
    """Embedding, RNN-CF, dense and activation in one stream; the state can be taken out and put back."""
    table = rng.normal(size=(11, 6)).astype(dtype)
    shapes = ((6, 4), (6, 9), (4, 9), (9, 9), (9,))
    weights = [(rng.normal(size=s) / np.sqrt(s[0])).astype(dtype) for s in shapes]
    kernel, bias = rng.normal(size=(13, 5)).astype(dtype), rng.normal(size=5).astype(dtype)
    stream = _core.stream.Stream(2, dtype)
    stream.add_embedding(table)
    stream.add_context(*weights, 0.9)
    stream.add_dense(kernel, bias, "tanh")
    stream.add_activation("relu")
    ids = rng.integers(0, 11, (2, 8)).astype(np.int32)
    y = reference.forward(reference.ContextRNN(0.9), table[ids], [weights])[0]
    expected = np.maximum(reference.dense_forward(y, kernel, bias, "tanh"), 0)
    for t in range(4):
        close(stream.step(ids[:, t].copy()), expected[:, t], dtype)
    state = stream.get_state()
    assert [s.shape for s in state[0]] == [(2, 9), (2, 4)]
    ahead = [stream.step(ids[:, t].copy()) for t in range(4, 8)]
    stream.set_state(state)
    for t in range(4, 8):
        again = stream.step(ids[:, t].copy())
        close(again, expected[:, t], dtype)
        assert np.array_equal(again, ahead[t - 4])
    stream.reset()
    close(stream.step(ids[:, 0].copy()), expected[:, 0], dtype)


def test_stream_results_are_new_arrays(rng):
    """Each step returns an array of its own; later steps do not change it, nor do weights changed from outside."""
    weights = cases.random_weights(rng, "lstm", 3, 4, True, "float32")
    stream = _core.stream.Stream(1)
    stream.add_recurrent("lstm", *weights)
    x = np.ones((1, 3), np.float32)
    first = stream.step(x)
    copy = first.copy()
    stream.step(x)
    assert np.array_equal(first, copy)
    weights[0][...] = 0
    stream.reset()
    assert np.array_equal(stream.step(x), copy)
