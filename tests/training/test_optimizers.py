"""Optimizers, clipping and schedules against their formulas in float64; sparse gradients, flat parameters, state."""

from __future__ import annotations

import copy
import itertools
import json
import math

import numpy as np
import pytest

from seqcore import optimizers
from seqcore.autograd.tensor import IndexedSlices, Tensor, Variable
from seqcore.optimizers import SGD, Adagrad, Adam, Optimizer, RMSprop, schedules
from seqcore.optimizers.flat_parameters import FlatParameters

TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}


# --- the formulas: one parameter array, one gradient a step -----------------------------------------------------------


def sgd(w, gs, lr=0.01, momentum=0.0, nesterov=False):
    v = np.zeros_like(w)
    for g in gs:
        v = momentum * v - lr * g
        w = w + (momentum * v - lr * g if nesterov and momentum else v)
    return w


def adam(w, gs, lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    m, v, largest = (np.zeros_like(w) for _ in range(3))
    for t, g in enumerate(gs, 1):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        largest = np.maximum(largest, v)
        rate = lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - rate * m / (np.sqrt(largest if amsgrad else v) + epsilon)
    return w


def rmsprop(w, gs, lr=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    v, a, m = (np.zeros_like(w) for _ in range(3))
    for g in gs:
        v, a = rho * v + (1 - rho) * g**2, rho * a + (1 - rho) * g
        m = momentum * m + lr * g / np.sqrt(v - (a**2 if centered else 0) + epsilon)
        w = w - m
    return w


def adagrad(w, gs, lr=0.001, initial_accumulator_value=0.1, epsilon=1e-7):
    a = np.full_like(w, initial_accumulator_value)
    for g in gs:
        a = a + g**2
        w = w - lr * g / np.sqrt(a + epsilon)
    return w


CASES = [
    (SGD, sgd, {}),
    (SGD, sgd, {"momentum": 0.9}),
    (SGD, sgd, {"momentum": 0.8, "nesterov": True}),
    (SGD, sgd, {"nesterov": True}),
    (Adam, adam, {}),
    (Adam, adam, {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-3}),
    (Adam, adam, {"amsgrad": True, "beta_2": 0.5}),
    (RMSprop, rmsprop, {}),
    (RMSprop, rmsprop, {"momentum": 0.9, "rho": 0.5}),
    (RMSprop, rmsprop, {"centered": True, "epsilon": 1e-3}),
    (RMSprop, rmsprop, {"centered": True, "momentum": 0.5, "epsilon": 1e-3}),
    (Adagrad, adagrad, {}),
    (Adagrad, adagrad, {"initial_accumulator_value": 0.0, "epsilon": 1e-3}),
]
NAMES = [f"{cls.__name__}-{'-'.join(map(str, k.values()))}" for cls, _, k in CASES]
by_case = pytest.mark.parametrize(("cls", "formula", "arguments"), CASES, ids=NAMES)
SHAPES = [(7, 5), (3,), (1, 1), (2, 3, 4), (65,), ()]


def data(steps=5, dtype="float64", shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=s).astype(dtype) for s in shapes]
    gradients = [[rng.normal(size=s).astype(dtype) for s in shapes] for _ in range(steps)]
    return weights, gradients


def variables(weights):
    return [Variable(w, name=f"w{i}") for i, w in enumerate(weights)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@by_case
def test_formula(cls, formula, arguments, dtype):
    weights, gradients = data(dtype=dtype)
    ws = variables(weights)
    optimizer = cls(0.1, **arguments)
    for step, gs in enumerate(gradients, 1):
        assert optimizer.apply_gradients(zip(gs, ws, strict=True)) == step == optimizer.iterations
    for i, w in enumerate(ws):
        wide = [np.asarray(g[i], np.float64) for g in gradients]
        expected = formula(np.asarray(weights[i], np.float64), wide, lr=0.1, **arguments)
        np.testing.assert_allclose(w.numpy(), expected, **TOLERANCE[dtype])
        assert w.version == 5 and w.dtype == dtype


@by_case
def test_defaults(cls, formula, arguments):
    weights, gradients = data()
    ws = variables(weights)
    optimizer = cls()
    for gs in gradients:
        optimizer.apply_gradients(zip(gs, ws, strict=True))
    for i, w in enumerate(ws):
        np.testing.assert_allclose(w.numpy(), formula(weights[i], [g[i] for g in gradients]), rtol=1e-12)


# --- clipping ---------------------------------------------------------------------------------------------------------


def clip_by_value(gs, limit):
    return [np.clip(g, -limit, limit) for g in gs]


def clip_by_norm(gs, limit):
    return [g * limit / max(limit, np.sqrt((g**2).sum())) for g in gs]


def clip_globally(gs, limit):
    norm = np.sqrt(sum((g**2).sum() for g in gs))
    return [g * limit / max(limit, norm) for g in gs]


CLIPS = [("clipvalue", clip_by_value), ("clipnorm", clip_by_norm), ("global_clipnorm", clip_globally)]


@pytest.mark.parametrize("limit", [0.5, 2.0, 1000.0])
@pytest.mark.parametrize(("name", "clip"), CLIPS, ids=[c[0] for c in CLIPS])
@by_case
def test_clipping(cls, formula, arguments, name, clip, limit):
    weights, gradients = data(3)
    ws = variables(weights)
    before = [[g.copy() for g in gs] for gs in gradients]
    optimizer = cls(0.1, **{name: limit}, **arguments)
    for gs in gradients:
        optimizer.apply_gradients(zip(gs, ws, strict=True))
    clipped = [clip(gs, limit) for gs in before]
    for i, w in enumerate(ws):
        expected = formula(weights[i], [g[i] for g in clipped], lr=0.1, **arguments)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-12, atol=1e-13)
    # The gradients given belong to the caller.
    for a, b in zip(itertools.chain(*gradients), itertools.chain(*before), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sparse", [False, True])
@by_case
def test_weight_decay_is_decoupled(cls, formula, arguments, sparse):
    weights, gradients = data(steps=4, shapes=[(7, 5), ()][: 1 if sparse else 2])
    variables = [Variable(w, dtype="float64") for w in weights]
    optimizer = cls(0.1, weight_decay=0.3, **arguments)
    expected = list(weights)
    for t, step in enumerate(gradients):
        for i, shape in enumerate([w.shape for w in weights]):
            past = [g[i] for g in gradients[: t + 1]]
            # No step depends on the weights, so that each is the same from zero.
            zero = np.zeros(shape)
            move = formula(zero, past, lr=0.1, **arguments) - formula(zero, past[:-1], lr=0.1, **arguments)
            expected[i] = expected[i] * (1 - 0.3 * 0.1) + move
        if sparse:
            step = [IndexedSlices(step[0], np.arange(7), (7, 5))]
        optimizer.apply_gradients(zip(step, variables, strict=True))
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-12, atol=1e-13)
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert again.weight_decay == 0.3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_spoils_everything(bad):
    ws = variables([np.ones(3), np.ones((2, 2))])
    SGD(0.1, global_clipnorm=1.0).apply_gradients(zip([np.array([1.0, bad, 1.0]), np.ones((2, 2))], ws, strict=True))
    assert all(np.isnan(w.numpy()).all() for w in ws)
    ws = variables([np.ones(3), np.ones((2, 2))])
    SGD(0.1, clipnorm=1.0).apply_gradients(zip([np.array([1.0, bad, 1.0]), np.ones((2, 2))], ws, strict=True))
    assert np.isnan(ws[0].numpy()[1]) and np.isfinite(ws[1].numpy()).all()


# --- sparse gradients -------------------------------------------------------------------------------------------------


def slices(rng, rows, shape, dtype="float64"):
    return IndexedSlices(rng.normal(size=(len(rows), *shape[1:])).astype(dtype), np.array(rows), shape)


@pytest.mark.parametrize("clip", [{}, {"clipvalue": 0.3}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}])
@pytest.mark.parametrize("shape", [(6, 3), (6,), (6, 2, 2)])
@by_case
def test_sparse_equals_dense(cls, formula, arguments, shape, clip):
    """Without lazy: the same as the dense gradient, repeated rows summed before anything else."""
    rng = np.random.default_rng(1)
    table, other = rng.normal(size=shape), rng.normal(size=4)
    steps = [(slices(rng, rows, shape), rng.normal(size=4)) for rows in ([3, 1, 3], [0, 5], [1, 1, 1, 1], [2])]
    sparse, dense = variables([table, other]), variables([table, other])
    one, two = cls(0.1, **clip, **arguments), cls(0.1, **clip, **arguments)
    for g, h in steps:
        one.apply_gradients(zip([g, h], sparse, strict=True))
        two.apply_gradients(zip([np.asarray(g), h], dense, strict=True))
    for a, b in zip(sparse, dense, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-13)
        assert a.version == 4


def test_plain_sgd_leaves_other_rows_bitwise_alone():
    rng = np.random.default_rng(2)
    table = Variable(rng.normal(size=(5, 3)).astype(np.float32))
    before = table.numpy()
    for optimizer in (SGD(0.5), Adagrad(0.5)):
        optimizer.apply_gradients([(slices(rng, [4, 1, 4], (5, 3), "float32"), table)])
    np.testing.assert_array_equal(table.numpy()[[0, 2, 3]], before[[0, 2, 3]])
    assert (table.numpy()[[1, 4]] != before[[1, 4]]).all()


LAZY = [c for c in CASES if c[0] is not Adagrad and (c[0] is not SGD or c[2].get("momentum"))]


@pytest.mark.parametrize(("cls", "formula", "arguments"), LAZY)
def test_lazy_updates_the_touched_rows_only(cls, formula, arguments):
    rng = np.random.default_rng(3)
    table = rng.normal(size=(6, 3))
    rows = [[1, 4], [4, 0, 4], [1, 4]]
    gradients = [slices(rng, r, (6, 3)) for r in rows]
    w = Variable(table)
    optimizer = cls(0.1, lazy=True, **arguments)
    for g in gradients:
        optimizer.apply_gradients([(g, w)])
    np.testing.assert_array_equal(w.numpy()[[2, 3, 5]], table[[2, 3, 5]])
    # Row 4 has a gradient in each step, so it moves as if dense.
    expected = formula(table[4], [np.asarray(g)[4] for g in gradients], lr=0.1, **arguments)
    np.testing.assert_allclose(w.numpy()[4], expected, rtol=1e-12)
    # Row 1 is untouched in step 2: its running means stand still, where they would decay if dense.
    if cls is not Adam:
        expected = formula(table[1], [np.asarray(gradients[i])[1] for i in (0, 2)], lr=0.1, **arguments)
        np.testing.assert_allclose(w.numpy()[1], expected, rtol=1e-12)
    dense = Variable(table)
    plain = cls(0.1, **arguments)
    for g in gradients:
        plain.apply_gradients([(g, dense)])
    assert not np.array_equal(dense.numpy()[1], w.numpy()[1])


def test_no_rows_at_all():
    w, b = variables([np.ones((4, 2)), np.ones(2)])
    empty = IndexedSlices(np.zeros((0, 2)), np.zeros(0, np.int64), (4, 2))
    for optimizer in (SGD(0.1, global_clipnorm=1.0), Adam(0.1, lazy=True, clipnorm=1.0), Adam(0.1)):
        optimizer.apply_gradients([(empty, w), (np.ones(2), b)])
    assert (w.numpy() == 1).all() and (b.numpy() < 1).all()


# --- flat parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [{}, {"clipvalue": 0.3}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}])
@by_case
def test_flat_parameters_equal_single_arrays(cls, formula, arguments, clip):
    """Updates through the flat arrays, then without, then through them again: one state for both ways."""
    weights, gradients = data(5)
    rng = np.random.default_rng(4)
    table = rng.normal(size=(5, 3))
    sparse = [slices(rng, [1, 3, 1], (5, 3)) for _ in gradients]
    plain, inside, outside = variables([*weights, table]), variables(weights), Variable(table)
    flat = FlatParameters([*inside, outside], [outside])
    one, two = cls(0.1, **clip, **arguments), cls(0.1, **clip, **arguments)
    for step, (gs, rows) in enumerate(zip(gradients, sparse, strict=True)):
        one.apply_gradients(zip([*gs, rows], plain, strict=True))
        if step in (1, 2):
            two.apply_gradients(zip([*gs, rows], [*inside, outside], strict=True))
            continue
        for buffer, g in zip(flat.buffers, gs):
            buffer[...] = g
        two.apply_flat(flat, [*flat.buffers[:-1], rows])
    for a, b in zip(plain, [*inside, outside], strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-13)
        assert a.version == b.version == 5
    (params,) = flat.parameters
    used = np.zeros(params.shape, bool)
    for _, number, elements in flat.locations:
        assert number == 0
        used[elements] = True
    assert used.sum() == sum(w.size for w in inside) and (params[~used] == 0).all()
    assert one.get_state().keys() == two.get_state().keys()
    for key, value in one.get_state().items():
        np.testing.assert_allclose(two.get_state()[key], value, rtol=1e-11, atol=1e-13)


def test_flat_parameters_of_two_types_and_none_at_all():
    narrow, wide = Variable(np.ones(3, np.float32)), Variable(np.ones(2))
    flat = FlatParameters([narrow, wide])
    optimizer = SGD(0.5, global_clipnorm=1.0)
    for gradients in flat.buffers:
        gradients[...] = 2.0
    optimizer.apply_flat(flat, flat.buffers)
    expected = 1 - 0.5 * 2 / math.sqrt(5 * 4)
    np.testing.assert_allclose(narrow.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(wide.numpy(), expected, rtol=1e-12)
    assert optimizer.iterations == 1
    table = Variable(np.ones((3, 2)), name="t")
    table.sparse = True
    empty = FlatParameters([table])
    assert empty.parameters == [] and empty.buffers == [None]
    optimizer.apply_flat(empty, [IndexedSlices(np.ones((1, 2)), np.array([1]), (3, 2))])
    assert (table.numpy()[[0, 2]] == 1).all() and (table.numpy()[1] < 1).all()
    with pytest.raises(ValueError, match="gradients: "):
        optimizer.apply_flat(empty, [np.ones((2, 2))])


def test_flat_parameters_know_when_they_are_stale():
    kernel, bias = Variable(np.ones((2, 2))), Variable(np.ones(2))
    flat = FlatParameters([kernel, bias])
    assert not flat.stale and flat.holds([kernel, bias]) and not flat.holds([bias, kernel])
    bias.trainable = True
    kernel.assign_add(np.ones((2, 2)))
    assert not flat.stale and (flat.parameters[0][:4] == 2).all()
    bias.trainable = False
    assert flat.stale and flat.holds([kernel, bias])
    flat.depend_on([kernel, bias])
    other = FlatParameters([bias])
    assert flat.stale and not flat.holds([kernel, bias]) and not other.stale
    assert not FlatParameters([kernel, bias], [bias]).holds([kernel, bias])
    copied = copy.deepcopy(bias)
    copied.trainable = True
    assert copied.trainable and not bias.trainable and not other.stale


# --- what comes in ----------------------------------------------------------------------------------------------------


def test_kinds_of_gradients():
    start = np.ones((2, 3), np.float32)
    g = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given in (g, Tensor(g), g.astype(np.float64), np.asfortranarray(g), g.tolist(), Tensor(g.astype(np.float64))):
        w = Variable(start)
        SGD(0.5).apply_gradients([(given, w)])
        np.testing.assert_array_equal(w.numpy(), start - 0.5 * g)
        assert w.dtype == np.float32


def test_none_is_left_out():
    a, b = variables([np.ones(2), np.ones(2)])
    optimizer = SGD(0.5)
    with pytest.warns(UserWarning, match="w1"):
        optimizer.apply_gradients([(np.ones(2), a), (None, b)])
    assert (a.numpy() == 0.5).all() and (b.numpy() == 1).all() and b.version == 0
    with pytest.raises(ValueError, match="w0, w1"):
        optimizer.apply_gradients([(None, a), (None, b)])
    with pytest.raises(ValueError, match="gradients: "):
        optimizer.apply_gradients([])
    assert optimizer.iterations == 1


def test_apply_and_new_variables_later():
    a, b = variables([np.ones(2), np.ones(2)])
    optimizer = Adam(0.1)
    optimizer.build([a])
    assert optimizer.apply([np.ones(2)]) == 1
    optimizer.apply([np.ones(2), np.ones(2)], [a, b])
    assert [v.name for v in optimizer.variables] == ["w0", "w1"]
    with pytest.raises(ValueError, match="grads: "):
        optimizer.apply([np.ones(2)])


@pytest.mark.parametrize(
    ("gradient", "kind", "message"),
    [
        (np.ones(3), ValueError, r"gradients: .*\(2, 2\).*'w1'.*\(3,\)"),
        (np.ones((2, 2), int), TypeError, "gradients: .*float64.*'w1'.*int64"),
        (np.ones((2, 2), complex), TypeError, "gradients: .*complex"),
        ("text", TypeError, "value: "),
        (IndexedSlices(np.ones((1, 3)), [0], (2, 3)), ValueError, r"gradients: .*\(2, 3\)"),
        (IndexedSlices(np.ones((1, 2)), [2], (2, 2)), ValueError, r"gradients: .*0\.\.\.1.*got 2"),
        (IndexedSlices(np.ones((2, 2)), [-1, 0], (2, 2)), ValueError, "gradients: .*got -1"),
        (IndexedSlices(np.ones((1, 2), int), [0], (2, 2)), TypeError, "gradients: .*int64"),
    ],
)
@pytest.mark.parametrize("make", [lambda: SGD(0.5), lambda: Adam(0.5), lambda: RMSprop(0.5, lazy=True)])
def test_a_bad_gradient_changes_nothing(make, gradient, kind, message):
    a, b = variables([np.ones((2, 2)), np.ones((2, 2))])
    optimizer = make()
    with pytest.raises(kind, match=message):
        optimizer.apply_gradients([(np.ones((2, 2)), a), (gradient, b)])
    assert (a.numpy() == 1).all() and (b.numpy() == 1).all() and optimizer.iterations == a.version == b.version == 0


def test_bad_variables():
    a = Variable(np.ones(2))
    for bad, kind in ((np.ones(2), TypeError), (Variable(np.ones(2, int)), TypeError)):
        with pytest.raises(kind, match="variables: "):
            SGD().apply_gradients([(np.ones(2), bad)])
    with pytest.raises(ValueError, match="variables: .*twice"):
        SGD().apply_gradients([(np.ones(2), a), (np.ones(2), a)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-1.0), "learning_rate: .*-1.0"),
        (lambda: SGD(float("nan")), "learning_rate: .*nan"),
        (lambda: SGD("fast"), "learning_rate: .*'fast'"),
        (lambda: SGD(True), "learning_rate: .*True"),
        (lambda: SGD(None), "learning_rate: .*None"),
        (lambda: SGD(momentum=1.1), "momentum: .*1.1"),
        (lambda: SGD(momentum=-0.1), "momentum: "),
        (lambda: SGD(clipnorm=-1.0), "clipnorm: "),
        (lambda: SGD(clipvalue=0.0), "clipvalue: .*0.0"),
        (lambda: SGD(global_clipnorm="x"), "global_clipnorm: "),
        (lambda: SGD(clipnorm=1.0, clipvalue=1.0), "clipnorm, clipvalue: "),
        (lambda: Adam(beta_1=1.0), "beta_1: .*1.0"),
        (lambda: Adam(beta_2=-0.5), "beta_2: "),
        (lambda: Adam(epsilon=-1e-8), "epsilon: "),
        (lambda: RMSprop(rho=1.0), "rho: "),
        (lambda: RMSprop(momentum=2.0), "momentum: "),
        (lambda: Adagrad(initial_accumulator_value=-0.1), "initial_accumulator_value: "),
        (lambda: optimizers.get("newton"), "optimizer: .*'newton'"),
        (lambda: optimizers.get({"class_name": "x"}), "optimizer: "),
        (lambda: SGD({"class_name": "x"}), "learning_rate: "),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_get_and_configurations():
    names = {"sgd": SGD, "SGD": SGD, "Adam": Adam, "rmsprop": RMSprop, "adagrad": Adagrad, Adam: Adam}
    for name, cls in names.items():
        assert type(optimizers.get(name)) is cls
    with pytest.raises(TypeError, match="optimizer: "):
        optimizers.get(3)
    for optimizer in (
        SGD(0.5, 0.9, True, clipnorm=1.0, lazy=True),
        SGD(schedules.ExponentialDecay(0.1, 10, 0.5)),
        Adam(amsgrad=True, global_clipnorm=5.0, name="mine"),
        RMSprop(centered=True, clipvalue=0.5),
        Adagrad(initial_accumulator_value=0.5),
    ):
        again = optimizers.get(json.loads(json.dumps(optimizers.serialize(optimizer))))
        assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
        assert again.learning_rate == optimizer.learning_rate
        assert optimizers.get(optimizer) is optimizer
    with pytest.raises(ValueError, match="learning_rate: "):
        SGD(lambda: 0.1).get_config()
    with pytest.raises(TypeError, match="_update"):
        Optimizer(0.1).apply_gradients([(np.ones(1), Variable(np.ones(1)))])


# --- learning rates ---------------------------------------------------------------------------------------------------


def test_learning_rate():
    optimizer, w = SGD(1), Variable(np.zeros(1))
    assert optimizer.learning_rate == 1.0
    optimizer.learning_rate = 0.25
    optimizer.apply_gradients([(np.ones(1), w)])
    assert w.numpy() == -0.25
    with pytest.raises(ValueError, match="learning_rate: "):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.25
    rates = iter([0.5, 0.125])
    optimizer.learning_rate = lambda: next(rates)
    optimizer.apply_gradients([(np.ones(1), w)])
    optimizer.apply_gradients([(np.ones(1), w)])
    assert w.numpy() == -0.875
    with pytest.raises(ValueError, match="iterations: "):
        optimizer.iterations = -1


def test_schedule_counts_updates():
    optimizer, w = SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 0.5, 0.25])), Variable(np.zeros(1))
    for expected in (-1.0, -1.5, -1.75, -2.0):
        optimizer.apply_gradients([(np.ones(1), w)])
        assert w.numpy() == expected
    with pytest.raises(TypeError, match="learning_rate: "):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.CosineDecay(0.5, 10)
    assert optimizer.learning_rate < 0.5


def polynomial(step, initial, steps, end=0.0001, power=1.0, cycle=False):
    if cycle:
        steps *= max(1, math.ceil(step / steps))
    else:
        step = min(step, steps)
    return (initial - end) * (1 - step / steps) ** power + end


def cosine(step, initial, steps, alpha=0.0, warmup_target=None, warmup_steps=0):
    if warmup_target is not None:
        if step < warmup_steps:
            return (warmup_target - initial) * step / warmup_steps + initial
        initial, step = warmup_target, step - warmup_steps
    share = min(step, steps) / steps
    return initial * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * share)) + alpha)


SCHEDULES = [
    (schedules.ExponentialDecay(0.3, 7, 0.9), lambda s: 0.3 * 0.9 ** (s / 7)),
    (schedules.ExponentialDecay(0.3, 7, 0.9, staircase=True), lambda s: 0.3 * 0.9 ** (s // 7)),
    (schedules.InverseTimeDecay(0.3, 7, 0.9), lambda s: 0.3 / (1 + 0.9 * s / 7)),
    (schedules.InverseTimeDecay(0.3, 7, 0.9, staircase=True), lambda s: 0.3 / (1 + 0.9 * (s // 7))),
    (schedules.PiecewiseConstantDecay([3, 9], [1, 0.5, 0.1]), lambda s: 1 if s <= 3 else 0.5 if s <= 9 else 0.1),
    (schedules.PolynomialDecay(0.3, 7), lambda s: polynomial(s, 0.3, 7)),
    (schedules.PolynomialDecay(0.3, 7, 0.01, 2.0), lambda s: polynomial(s, 0.3, 7, 0.01, 2.0)),
    (schedules.PolynomialDecay(0.3, 7, 0.01, 0.5, True), lambda s: polynomial(s, 0.3, 7, 0.01, 0.5, True)),
    (schedules.CosineDecay(0.3, 7), lambda s: cosine(s, 0.3, 7)),
    (schedules.CosineDecay(0.3, 7, 0.1), lambda s: cosine(s, 0.3, 7, 0.1)),
    (
        schedules.CosineDecay(0.0, 7, 0.1, warmup_target=0.3, warmup_steps=5),
        lambda s: cosine(s, 0.0, 7, 0.1, 0.3, 5),
    ),
]


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES)
def test_schedules(schedule, formula):
    for step in (0, 1, 3, 4, 6, 7, 8, 9, 10, 14, 15, 100):
        assert schedule(step) == pytest.approx(formula(step), rel=1e-12, abs=1e-15)
    again = schedules.deserialize(json.loads(json.dumps(schedules.serialize(schedule))))
    assert [again(s) for s in range(20)] == [schedule(s) for s in range(20)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps: .*0"),
        (lambda: schedules.ExponentialDecay(-0.1, 1, 0.5), "initial_learning_rate: "),
        (lambda: schedules.InverseTimeDecay(0.1, 1, "x"), "decay_rate: "),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), "values: .*2"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "boundaries: "),
        (lambda: schedules.PolynomialDecay(0.1, -5), "decay_steps: "),
        (lambda: schedules.CosineDecay(0.1, 10, warmup_steps=-1), "warmup_steps: "),
    ],
)
def test_bad_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- state ------------------------------------------------------------------------------------------------------------


@by_case
def test_resume_is_bitwise(cls, formula, arguments):
    weights, gradients = data(6, "float32")
    whole, ws = cls(0.1, **arguments), variables(weights)
    for gs in gradients:
        whole.apply_gradients(zip(gs, ws, strict=True))
    first, parts = cls(0.1, **arguments), variables(weights)
    for gs in gradients[:3]:
        first.apply_gradients(zip(gs, parts, strict=True))
    state = first.get_state()
    second, rest = cls(0.7, **arguments), variables([v.numpy() for v in parts])
    second.build(rest)
    second.set_state(state)
    assert second.iterations == 3 and second.learning_rate == 0.1
    for gs in gradients[3:]:
        second.apply_gradients(zip(gs, rest, strict=True))
    for a, b in zip(ws, rest, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    # The state is a copy.
    assert state["iterations"] == 3


def test_a_bad_state_changes_nothing():
    ws = variables([np.ones((2, 2)), np.ones(3)])
    optimizer = Adam(0.1)
    optimizer.apply_gradients(zip([np.ones((2, 2)), np.ones(3)], ws, strict=True))
    good = optimizer.get_state()
    fresh = Adam(0.2)
    with pytest.raises(ValueError, match="state: "):
        fresh.set_state(good)
    fresh.build(ws)
    for change in (
        {"0/momentum": np.zeros(3)},
        {"0/momentum": np.zeros((2, 2), int)},
        {"iterations": np.int64(-1)},
        {"learning_rate": np.float64(-1)},
        {"extra": np.zeros(1)},
    ):
        with pytest.raises(ValueError, match="state: |iterations: |learning_rate: "):
            fresh.set_state({**good, **change})
        assert fresh.iterations == 0 and fresh.learning_rate == 0.2
        assert (fresh.get_state()["1/velocity"] == 0).all()
    fresh.set_state(good)
    assert fresh.iterations == 1
