"""The order of PyTorch's weights, rows without padding and the reserve change no bit of a recurrent layer."""

import itertools

import numpy as np
import pytest

from seqcore import _core
from seqcore._core.recurrent import new_reserve, recurrent_backward, recurrent_forward, reserve_columns

GATES = {"rnn": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}
# Batch, steps, features, units: around vectors, panels and parts of rows.
SIZES = [(1, 1, 1, 1), (2, 3, 5, 7), (3, 6, 16, 17), (5, 4, 33, 40), (4, 70, 9, 65), (2, 3, 800, 24), (7, 2, 70, 200)]

each_cell = pytest.mark.parametrize("cell", GATES)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def to_torch(cell, weight):
    """(n, gH) in Keras's order as (gH, n) in PyTorch's."""
    parts = np.split(weight, len(GATES[cell]), axis=-1)
    return np.ascontiguousarray(np.concatenate([parts[gate] for gate in GATES[cell]], axis=-1).T)


class Problem:
    """Random arguments of a layer in both layouts, and the gradient of its output."""

    def __init__(self, rng, cell, sizes, dtype, directions=1, bias=True):
        batch, steps, features, units = self.sizes = sizes
        self.cell, self.dtype = cell, np.dtype(dtype).name

        def random(*shape):
            return rng.normal(0, 0.5, shape).astype(dtype)

        columns = len(GATES[cell]) * units
        self.x = random(batch, steps, features)
        self.keras, self.torch = [], []
        for _ in range(directions):
            kernel, recurrent = random(features, columns), random(units, columns)
            biases = random(2, columns) if cell == "gru" else np.stack([random(columns), np.zeros(columns, dtype)])
            given = (biases if cell == "gru" else biases[0]) if bias else None
            self.keras.append((kernel, recurrent, given))
            pair = [to_torch(cell, row) for row in biases] if bias else [None, None]
            self.torch.append((to_torch(cell, kernel), to_torch(cell, recurrent), *pair))
        states = 2 if cell == "lstm" else 1
        self.options = {
            "initial": [tuple(random(batch, units) for _ in range(states)) for _ in range(directions)],
            "reverse": [False, True][:directions],
        }
        self.dy = random(batch, steps, directions * units)
        self.dstates = [tuple(random(batch, units) for _ in range(states)) for _ in range(directions)]

    def reserve(self, rows, own_y=True):
        columns = reserve_columns(self.cell, self.sizes[3], len(self.keras), own_y, self.dtype)
        return new_reserve((rows + self.sizes[0]) * columns, self.dtype)


def flat(*values):
    """All arrays in nested tuples and lists."""
    return [array for value in values for array in ([value] if isinstance(value, np.ndarray) else flat(*(value or ())))]


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@each_cell
@each_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    "directions, bias, mixed", [(1, True, False), (2, True, False), (1, False, False), (1, True, True)]
)
def test_the_layout_of_the_weights_changes_no_bit(rng, cell, dtype, sizes, directions, bias, mixed):
    if mixed and not (_core.system.info()["bfloat16"] and dtype == np.float32):
        pytest.skip("this instruction set has no bfloat16")
    problem = Problem(rng, cell, sizes, dtype, directions, bias)
    results = []
    for layout, weights in (("keras", problem.keras), ("torch", problem.torch)):
        y, states, saved = recurrent_forward(cell, problem.x, weights, layout=layout, mixed=mixed, **problem.options)
        dx, dweights, dinitial, _ = recurrent_backward(saved, problem.dy, problem.dstates)
        results.append((flat(y, states, dx, dinitial), dweights))
    (expected, by_keras), (found, by_torch) = results
    assert_equal(expected, found)
    for (kernel, recurrent, both), (of_input, of_state, *biases) in zip(by_keras, by_torch, strict=True):
        assert_equal([to_torch(cell, kernel), to_torch(cell, recurrent)], [of_input, of_state])
        if bias:
            rows = both if cell == "gru" else [both, both]
            assert_equal([to_torch(cell, row) for row in rows], biases)
        else:
            assert biases == [None, None]


def test_both_biases_of_pytorch_are_added(rng):
    problem = Problem(rng, "lstm", (2, 3, 4, 5), np.float64)
    ((of_input, of_state, first, _),) = problem.torch
    second = rng.normal(size=first.shape)
    y = recurrent_forward("lstm", problem.x, [(of_input, of_state, first, second)], layout="torch")[0]
    expected = recurrent_forward("lstm", problem.x, [(of_input, of_state, first + second, 0 * second)], layout="torch")[
        0
    ]
    np.testing.assert_array_equal(y, expected)


@each_cell
@each_dtype
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_without_padding_change_no_bit(rng, cell, dtype, directions, threads):
    """PyTorch's PackedSequence against the same sequences padded, with lengths."""
    _core.system.set_num_threads(threads)
    problem = Problem(rng, cell, (6, 9, 10, 18), dtype, directions)
    lengths = np.array([9, 9, 7, 4, 4, 1], np.int32)
    valid = np.arange(9)[:, None] < lengths

    def rows(padded):
        return np.ascontiguousarray(padded.swapaxes(0, 1)[valid])

    y, states, saved = recurrent_forward(cell, problem.x, problem.keras, lengths=lengths, **problem.options)
    expected = recurrent_backward(saved, problem.dy, problem.dstates)
    sizes = valid.sum(1)
    packed, finals, saved = recurrent_forward(
        cell, rows(problem.x), problem.keras, batch_sizes=sizes, **problem.options
    )
    found = recurrent_backward(saved, rows(problem.dy), problem.dstates)
    assert_equal(flat(rows(y), states), flat(packed, finals))
    assert_equal(flat(rows(expected[0]), expected[1:3]), flat(found[0], found[1:3]))


@each_cell
@each_dtype
@pytest.mark.parametrize("directions, own_y, unpadded", list(itertools.product([1, 2], [False, True], [False, True])))
def test_a_reserve_holds_all_of_a_forward_pass(rng, cell, dtype, directions, own_y, unpadded):
    problem = Problem(rng, cell, (5, 6, 9, 20), dtype, directions)
    x, dy, options = problem.x, problem.dy, dict(problem.options, layout="torch")
    if unpadded:
        options["batch_sizes"] = sizes = np.array([5, 5, 3, 3, 2, 1])
        x, dy = (rng.normal(size=(sizes.sum(), array.shape[2])).astype(dtype) for array in (x, dy))
    arguments = (cell, x, problem.torch)
    y, states, saved = recurrent_forward(*arguments, **options)
    expected = flat(recurrent_backward(saved, dy, problem.dstates))
    reserve = problem.reserve(len(x) if unpadded else 5 * 6, own_y)
    options |= {"reserve": reserve, "own_y": own_y}
    found, finals, nothing = recurrent_forward(*arguments, **options)
    assert nothing is None
    assert np.shares_memory(found, reserve) != own_y
    assert_equal(flat(y, states), flat(found, finals))
    copied = reserve.copy()
    for given in (reserve, reserve, copied):
        options["reserve"] = given
        again, finals, saved = recurrent_forward(*arguments, restore=True, **options)
        assert finals == [] and (again is None) == own_y
        if not own_y:
            assert_equal([y], [again])
        assert_equal(expected, flat(recurrent_backward(saved, dy, problem.dstates)))
    # The passes before took the gates of both reserves: these find them gone, at once or one after the other.
    pair = [recurrent_forward(*arguments, restore=True, **options)[2] for _ in range(2)]
    for saved in (*pair, pair[0]):
        assert_equal(expected, flat(recurrent_backward(saved, dy, problem.dstates)))


def call(problem, **options):
    return recurrent_forward(problem.cell, problem.x, problem.torch, layout="torch", **options)


REFUSED = {
    "layout": (lambda p: recurrent_forward("gru", p.x, p.keras, layout="jax"), "layout: expected 'keras' or 'torch'"),
    "reset before": (
        lambda p: recurrent_forward("gru_reset_before", p.x, p.torch, layout="torch"),
        "layout: expected 'keras' for gru_reset_before, got 'torch'",
    ),
    "arrays": (
        lambda p: recurrent_forward("gru", p.x, p.keras, layout="torch"),
        "weights: expected 4 arrays .*, got 3",
    ),
    "biases": (
        lambda p: recurrent_forward("gru", p.x, [(*p.torch[0][:3], None)], layout="torch"),
        "weights: expected two biases or none, got one",
    ),
    "rising": (
        lambda p: recurrent_forward("gru", p.x[0], p.keras, batch_sizes=np.array([1, 2])),
        "batch_sizes: expected numbers from 1 that do not rise, got 2 at 1",
    ),
    "zero": (
        lambda p: recurrent_forward("gru", p.x[0], p.keras, batch_sizes=np.array([3, 0])),
        "batch_sizes: expected numbers from 1 that do not rise, got 0 at 1",
    ),
    "sum": (
        lambda p: recurrent_forward("gru", p.x[0], p.keras, batch_sizes=np.array([2, 2])),
        "batch_sizes: expected numbers whose sum is 3, got 4",
    ),
    "both": (
        lambda p: recurrent_forward(
            "gru", p.x, p.keras, batch_sizes=np.array([2, 2, 2]), lengths=np.array([3, 3], np.int32)
        ),
        "batch_sizes: expected None next to lengths or a mask",
    ),
    "size": (lambda p: call(p, reserve=new_reserve(16)), r"reserve: expected shape \(\d+,\), got float32 of shape"),
    "read-only": (lambda p: call(p, reserve=read_only(p.reserve(6))), "reserve: expected a writeable array"),
    "nothing saved": (lambda p: call(p, reserve=p.reserve(6), save=False), "reserve: expected None without save"),
    "nothing restored": (lambda p: call(p, restore=True), "reserve: expected an array to restore from, got None"),
    "y of some steps": (
        lambda p: call(p, reserve=p.reserve(6), lengths=np.array([3, 1], np.int32)),
        "own_y: expected True for a reserve",
    ),
}


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_argument(rng, name):
    function, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        function(Problem(rng, "gru", (2, 3, 4, 5), np.float32))
