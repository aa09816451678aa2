"""The other kernels against the reference: dense, softmax and its loss, embeddings, dropout, optimizer steps.

R, K, N, V: rows, input columns, output columns, classes.
"""

import numpy as np
import pytest

from seqcore import _core
from tests.helpers import reference
from tests.helpers.kernels import ACTIVATIONS, close, dtypes

# Dense ----------------------------------------------------------------------------------------------------------------

DENSE_SHAPES = [(1, 1, 1), (2, 3, 5), (7, 9, 17), (33, 40, 65), (20, 200, 130), (300, 17, 9)]


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", DENSE_SHAPES, ids=str)
def test_dense(shape, activation, dtype, rng):
    """Dense layers with each activation, with and without bias."""
    rows, inputs, outputs = shape
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    kernel = (rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)).astype(dtype)
    dy = (rng.normal(size=(rows, outputs)) / np.sqrt(rows)).astype(dtype)
    for bias in (rng.normal(size=outputs).astype(dtype), None):
        y = _core.dense.dense_forward(x, kernel, bias, activation)
        close(y, reference.dense_forward(x, kernel, bias, activation), dtype)
        got = _core.dense.dense_backward(x, kernel, y, dy, activation, use_bias=bias is not None)
        expected = reference.dense_backward(x, kernel, y, dy, activation)
        for found, value in zip(got[: 2 + (bias is not None)], expected, strict=False):
            close(found, value, dtype)
        assert (got[2] is None) == (bias is None)


@dtypes
def test_dense_what_is_not_needed(dtype, rng):
    """need_dx, need_weights and `out` of the dense layer."""
    x, kernel, dy = (rng.normal(size=s).astype(dtype) for s in ((7, 9), (9, 5), (7, 5)))
    y = _core.dense.dense_forward(x, kernel)
    expected = _core.dense.dense_backward(x, kernel, y, dy)
    dx, dkernel, dbias = _core.dense.dense_backward(x, kernel, y, dy, need_weights=False)
    assert dkernel is None and dbias is None and np.array_equal(dx, expected[0])
    out = (np.full_like(kernel, 3), np.full(5, 3, dtype))
    dx, dkernel, dbias = _core.dense.dense_backward(x, kernel, y, dy, need_dx=False, out=out)
    assert dx is None
    for array, returned, value in zip(out, (dkernel, dbias), expected[1:], strict=True):
        assert np.array_equal(array, value) and np.shares_memory(array, returned)


@dtypes
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_nan(activation, dtype, rng):
    """NaN stays in its row."""
    x, kernel = rng.normal(size=(9, 5)).astype(dtype), rng.normal(size=(5, 20)).astype(dtype)
    expected = _core.dense.dense_forward(x, kernel, None, activation)
    x[4, 2] = np.nan
    y = _core.dense.dense_forward(x, kernel, None, activation)
    assert np.isnan(y[4]).all() and np.array_equal(np.delete(y, 4, 0), np.delete(expected, 4, 0))


# Softmax and its loss -------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (7, 17), (5, 1000), (65, 40)], ids=str)
def test_softmax(shape, dtype, rng):
    """Softmax of rows, with large and with infinite arguments."""
    x = (10 * rng.normal(size=shape)).astype(dtype)
    y = _core.dense.softmax(x)
    close(y, reference.softmax(x.astype(float)), dtype)
    close(y.sum(axis=1), np.ones(shape[0]), dtype)
    x += np.asarray(1e4, dtype)
    close(_core.dense.softmax(x), reference.softmax(x.astype(float)), dtype)
    if shape[1] > 1:
        x[0, 0] = -np.inf
        assert _core.dense.softmax(x)[0, 0] == 0
        x[-1, 1] = np.nan
        assert np.isnan(_core.dense.softmax(x)[-1]).all()


@dtypes
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (2, 3, 2),
        (7, 9, 17),
        (33, 40, 65),
        (100, 17, 1000),
        (400, 20, 9),
        (260, 64, 310),
        (5, 70, 1537),
        (140, 2, 65000),
    ],
    ids=str,
)
def test_linear_softmax(shape, bias, weighted, dtype, rng):
    """Losses, hits and gradients of dense + softmax cross-entropy."""
    rows, inputs, classes = shape
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    kernel = (rng.normal(size=(inputs, classes)) / np.sqrt(inputs)).astype(dtype)
    b = rng.normal(size=classes).astype(dtype) if bias else None
    targets = rng.integers(0, classes, rows).astype(np.int32)
    weights = (rng.random(rows) / rows * (rng.random(rows) < 0.8)).astype(dtype) if weighted else None
    losses, correct, *gradients = _core.dense.linear_softmax(x, kernel, b, targets, weights)
    expected = reference.linear_softmax(x, kernel, b, targets, weights)
    close(losses, expected[0], dtype)
    assert correct.dtype == bool and np.array_equal(correct, expected[1])
    assert (gradients[2] is None) == (b is None)
    for got, value in zip(gradients[: 2 + bias], expected[2:], strict=False):
        close(got, value, dtype)
    alone = _core.dense.linear_softmax(x, kernel, b, targets, weights, gradients=False)
    assert alone[2:] == (None, None, None)
    assert np.array_equal(alone[0], losses) and np.array_equal(alone[1], correct)
    out = (np.full_like(kernel, 5), np.full_like(b, 5) if bias else None)
    _, _, dx, dkernel, dbias = _core.dense.linear_softmax(x, kernel, b, targets, weights, need_dx=False, out=out)
    assert dx is None and np.array_equal(out[0], gradients[1]) and np.shares_memory(out[0], dkernel)
    if bias:
        assert np.array_equal(out[1], gradients[2]) and np.shares_memory(out[1], dbias)


@dtypes
def test_linear_softmax_extremes(dtype, rng):
    """Large logits, a certain and an impossible target, ties, NaN in one row."""
    x, kernel = np.eye(4, dtype=dtype), np.zeros((4, 5), dtype)
    kernel[0, 1], kernel[1, 1] = 1000.0, 1000.0
    losses, correct, dx, dkernel, _ = _core.dense.linear_softmax(x, kernel, None, np.array([1, 0, 2, 0], np.int32))
    assert losses[0] == 0 and losses[1] == 1000
    close(losses[2:], np.full(2, np.log(5)), dtype)
    assert correct.tolist() == [True, False, False, True]
    assert np.isfinite(dx).all() and np.isfinite(dkernel).all()
    x[2, 2] = np.nan
    losses, _, dx, dkernel, _ = _core.dense.linear_softmax(x, kernel, None, np.zeros(4, np.int32))
    assert np.isnan(losses).tolist() == [False, False, True, False]
    assert np.isnan(dx[2]).all() and np.isfinite(np.delete(dx, 2, 0)).all()
    assert np.isnan(dkernel[2]).all()


@dtypes
def test_linear_softmax_slices(dtype, rng):
    """Classes in several slices: logits that grow and fall along them, slices of -inf, ties between slices."""
    classes, rows = 2000, 9
    x, kernel = rng.normal(size=(rows, 6)).astype(dtype), rng.normal(size=(6, classes)).astype(dtype)
    targets = rng.integers(0, classes, rows).astype(np.int32)
    with np.errstate(invalid="ignore"):
        for bias in (
            np.linspace(-90, 90, classes),
            np.linspace(90, -90, classes),
            np.where(np.arange(classes) < 1100, -np.inf, 0),
        ):
            aimed = np.where(np.isinf(bias[targets]), targets % 900 + 1100, targets).astype(np.int32)
            got = _core.dense.linear_softmax(x, kernel, bias.astype(dtype), aimed)
            expected = reference.linear_softmax(x, kernel, bias.astype(dtype), aimed)
            assert np.array_equal(got[1], expected[1])
            for mine, value in zip((got[0], *got[2:]), (expected[0], *expected[2:]), strict=True):
                close(mine, value, dtype)
    flat, ones = np.zeros((1, classes), dtype), np.ones((4, 1), dtype)
    flat[0, [3, 700, 1500]] = 5
    aimed = np.array([3, 700, 1500, 4], np.int32)
    assert _core.dense.linear_softmax(ones, flat, None, aimed)[1].tolist() == [True, False, False, False]


# Embedding and dropout ------------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("ids_type", [np.int32, np.int64])
def test_embedding(ids_type, dtype, rng):
    """Rows for ids of no, one and two axes; two axes give a time-major view."""
    table = rng.normal(size=(11, 6)).astype(dtype)
    for shape in ((), (7,), (4, 5)):
        ids = np.asarray(rng.integers(0, 11, shape), ids_type)
        y = _core.embedding.embedding_forward(table, ids)
        assert y.dtype == np.dtype(dtype) and np.array_equal(y, table[ids])
    assert y.transpose(1, 0, 2).flags.c_contiguous


@dtypes
@pytest.mark.parametrize("ids_type", [np.int32, np.int64])
@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (20, 7, 5), (500, 40, 17), (64, 10000, 33)])
def test_embedding_backward(count, rows, columns, ids_type, dtype, rng):
    """Gradients of the rows used, indices ascending, duplicates summed in their order."""
    ids = rng.integers(0, rows, count).astype(ids_type)
    dy = rng.normal(size=(count, columns)).astype(dtype)
    values, indices = _core.embedding.embedding_backward(ids, dy, rows)
    assert indices.dtype == np.int64 and np.array_equal(indices, np.unique(ids))
    close(values, reference.embedding_backward(ids, dy, rows)[indices], dtype)
    in_order = np.zeros((rows, columns), dtype)
    for i, d in zip(ids, dy, strict=True):
        in_order[i] += d
    assert np.array_equal(values, in_order[indices])


@dtypes
@pytest.mark.parametrize("rows", [2**31 - 1, 2**31, 2**31 + 5, 2**32, 2**32 + 1, 2**40, 2**63 - 1], ids="{:#x}".format)
def test_embedding_backward_of_large_ids(rows, dtype, rng):
    """Ids whose low 32 bits or whose sign as int32 would say something else stay apart and in order."""
    ids = np.unique([n % rows for k in (7, 31, 32, 33, 40, 62) for n in (0, 2**k - 1, 2**k, 2**k + 5, rows - 1)])
    ids = rng.permutation(np.concatenate([ids, ids[::2]])).astype(np.int64)
    dy = rng.normal(size=(len(ids), 3)).astype(dtype)
    values, indices = _core.embedding.embedding_backward(ids, dy, rows)
    expected = np.unique(ids)
    assert indices.tolist() == expected.tolist()
    np.testing.assert_allclose(values, [dy[ids == one].sum(axis=0) for one in expected], rtol=1e-6)


@dtypes
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.65])
def test_dropout_rate(rate, dtype):
    """Values 0 and 1 / (1 - rate), at the rate, without correlation between neighbours."""
    count = 200_000
    mask = _core.random.dropout_mask((count,), rate, 3, 1, 4, dtype)
    assert mask.dtype == np.dtype(dtype)
    assert np.array_equal(np.unique(mask), np.array([0, 1 / (1 - rate)]).astype(dtype))
    dropped = mask == 0
    deviation = np.sqrt(rate * (1 - rate) / count)
    assert abs(dropped.mean() - rate) < 4 * deviation
    for lag in (1, 2, 4, 8, 16, 64):
        centred = dropped - rate
        correlation = (centred[lag:] * centred[:-lag]).mean() / (rate * (1 - rate))
        assert abs(correlation) < 4.5 / np.sqrt(count), lag


def test_dropout_keys():
    """The same key gives the same mask; seed, stream and call each change it; the shape does not."""
    mask = _core.random.dropout_mask((64, 50), 0.5, 7, 2, 9)
    assert np.array_equal(mask, _core.random.dropout_mask((64, 50), 0.5, 7, 2, 9))
    for key in ((8, 2, 9), (7, 3, 9), (7, 2, 10), (2, 7, 9), (7, 9, 2)):
        other = _core.random.dropout_mask((64, 50), 0.5, *key)
        agreement = (mask == other).mean()
        assert abs(agreement - 0.5) < 0.05, key
    assert np.array_equal(mask.reshape(-1), _core.random.dropout_mask((3200,), 0.5, 7, 2, 9))
    assert np.array_equal(mask.reshape(-1)[:77], _core.random.dropout_mask((7, 11), 0.5, 7, 2, 9).reshape(-1))
    assert np.array_equal(mask == 0, _core.random.dropout_mask((64, 50), 0.5, 7, 2, 9, "float64") == 0)


@dtypes
@pytest.mark.parametrize("first", [0, 1, 3, 4, 6, 50, 999])
def test_a_part_of_a_dropout_mask(first, dtype):
    """A mask that starts at an element is that part of the whole one, whatever its size."""
    whole = _core.random.dropout_mask((1010,), 0.5, 7, 2, 9, dtype)
    for count in (1, 2, 5, 11):
        part = _core.random.dropout_mask((count,), 0.5, 7, 2, 9, dtype, first)
        assert np.array_equal(part, whole[first : first + count])
    assert _core.random.dropout_mask((0,), 0.5, 7, 2, 9, dtype, first).shape == (0,)


def test_dropout_nothing_dropped():
    """Rate 0 keeps everything."""
    assert (_core.random.dropout_mask((100,), 0.0, 1, 1, 1) == 1).all()


# Optimizers -----------------------------------------------------------------------------------------------------------

ARENAS = [(1,), (7,), (16, 1, 33), (1000, 257)]


def optimizer_run(name, slots, options, lengths, dtype, rng, scale, clipvalue, steps=3):
    """Runs the core and the reference side by side over a few steps and compares every array."""
    params = [rng.normal(size=n).astype(dtype) for n in lengths]
    state = [[np.zeros(n, dtype) for n in lengths] for _ in range(slots)]
    expected = [p.astype(float) for p in params]
    expected_state = [[s.astype(float) for s in ss] for ss in state]
    for step in range(1, steps + 1):
        grads = [rng.normal(size=n).astype(dtype) for n in lengths]
        kept = [g.copy() for g in grads]
        extra = {**options, "step": step} if name == "adam" else options
        slots_given = state_arguments(name, state, options)
        getattr(_core.optimizer, name)(params, grads, *slots_given, **extra, scale=scale, clipvalue=clipvalue)
        for k, gradient in enumerate(grads):
            assert np.array_equal(gradient, kept[k])
            g = reference.prepared(gradient, scale, clipvalue)
            slot = [ss[k] for ss in state_arguments(name, expected_state, options, each=True)]
            getattr(reference, name)(expected[k], g, *slot, **extra)
    for found, value in zip(params, expected, strict=True):
        close(found, value, dtype)
    for ss, values in zip(state, expected_state, strict=True):
        for found, value in zip(ss, values, strict=True):
            close(found, value, dtype)


def state_arguments(name, state, options, each=False):
    """The optimizer's slots in the order of its signature; RMSprop skips the momentums it does not use."""
    if name == "rmsprop" and len(state) == 2 and not options.get("momentum"):
        return [state[0], [None] * len(state[0]) if each else None, state[1]]
    return state


@dtypes
@pytest.mark.parametrize(
    ("scale", "clipvalue"), [(1.0, None), (0.25, None), (2.0, 0.5)], ids=["plain", "scale", "clip"]
)
@pytest.mark.parametrize("lengths", ARENAS, ids=str)
@pytest.mark.parametrize(
    ("name", "slots", "options"),
    [
        ("sgd", 0, {"learning_rate": 0.1}),
        ("sgd", 1, {"learning_rate": 0.1, "momentum": 0.9}),
        ("sgd", 1, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
        ("adam", 2, {"learning_rate": 0.01}),
        ("adam", 3, {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}),
        ("rmsprop", 1, {"learning_rate": 0.01}),
        ("rmsprop", 2, {"learning_rate": 0.01, "momentum": 0.5, "rho": 0.8}),
        ("rmsprop", 2, {"learning_rate": 0.01, "epsilon": 1e-3}),
        ("rmsprop", 3, {"learning_rate": 0.01, "momentum": 0.9, "epsilon": 1e-3}),
        ("adagrad", 1, {"learning_rate": 0.1}),
        ("adagrad", 1, {"learning_rate": 0.1, "epsilon": 1e-3}),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, dict) else str(value),
)
def test_optimizers(name, slots, options, lengths, scale, clipvalue, dtype, rng):
    """Three steps of each optimizer by its formula, over one and several arrays."""
    optimizer_run(name, slots, options, lengths, dtype, rng, scale, clipvalue)


@dtypes
@pytest.mark.parametrize("clipvalue", [None, 0.5])
def test_sgd_slices(clipvalue, dtype, rng):
    """SGD on a few rows of one array and columns of another leaves the others untouched, bit by bit."""
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((20, 9), (37, 20), (20,))]
    before = [one.copy() for one in arrays]
    indices = np.array([0, 3, 11, 19])
    values = [rng.normal(size=shape).astype(dtype) for shape in ((4, 9), (4, 37), (4,))]
    _core.optimizer.sgd_slices(
        arrays,
        values,
        [indices] * 3,
        learning_rate=0.5,
        scale=1.5,
        clipvalue=clipvalue,
        columns=[False, True, False],
    )
    others = np.setdiff1d(np.arange(20), indices)
    for array, old, gradient, columns in zip(arrays, before, values, (False, True, False), strict=True):
        lines, expected = (array.T, old.T.astype(float)) if columns else (array, old.astype(float))
        expected[indices] -= 0.5 * reference.prepared(gradient, 1.5, clipvalue)
        close(lines, expected, dtype)
        assert np.array_equal(lines[others], (old.T if columns else old)[others])


@dtypes
def test_sum_squares(dtype, rng):
    """The sum of squares in float64 whatever the arrays' type; NaN and Inf come through."""
    arrays = [rng.normal(size=n).astype(dtype) for n in (1, 7, 1000, 33333)]
    found = _core.optimizer.sum_squares(arrays)
    expected = sum((a.astype(float) ** 2).sum() for a in arrays)
    assert isinstance(found, float) and abs(found - expected) <= 1e-12 * expected
    assert _core.optimizer.sum_squares([]) == 0.0
    large = np.full(10, 1e30, dtype)
    assert abs(_core.optimizer.sum_squares([large]) / (10 * float(large[0]) ** 2) - 1) < 1e-12
    arrays[2][5] = np.nan
    assert np.isnan(_core.optimizer.sum_squares(arrays))
    arrays[2][5] = np.inf
    assert _core.optimizer.sum_squares(arrays) == np.inf


@dtypes
def test_nan_in_gradients_reaches_parameters(dtype):
    """Optimizers pass NaN on, also where they clip, instead of hiding it."""
    for clipvalue in (None, 1.0):
        param, grad = np.zeros(20, dtype), np.ones(20, dtype)
        grad[7] = np.nan
        _core.optimizer.sgd([param], [grad], learning_rate=0.1, clipvalue=clipvalue)
        assert np.isnan(param[7]) and np.isfinite(np.delete(param, 7)).all()
