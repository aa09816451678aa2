"""Losses against their formulas in float64, against central differences, with weights, masks and every reduction."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from seqcore import Sequential, layers, losses, metrics, ops, random
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor, Variable
from tests.helpers.fused import fused_head_of

EPS = 1e-7
REDUCTIONS = ["mean", "sum", "batch_mean", "none"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def binary(t, x, logits, smoothing=0.0):
    t = t * (1 - smoothing) + 0.5 * smoothing
    p = 1 / (1 + np.exp(-x)) if logits else np.clip(x, EPS, 1 - EPS)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(-1)


def categorical(t, x, logits, smoothing=0.0):
    t = t * (1 - smoothing) + smoothing / x.shape[-1]
    p = softmax(x) if logits else np.clip(x / x.sum(-1, keepdims=True), EPS, 1 - EPS)
    return -(t * np.log(p)).sum(-1)


def sparse(ids, x, logits):
    return categorical(np.eye(x.shape[-1])[ids], x, logits)


def squared(t, x):
    return ((t - x) ** 2).mean(-1)


def reduced(single, reduction, weight=None, mask=None):
    total = single * (1 if weight is None else weight) * (1 if mask is None else mask)
    if reduction == "mean":
        return total.sum() / (single.size if mask is None else np.broadcast_to(mask, single.shape).sum())
    return {"sum": total.sum(), "batch_mean": total.sum() / len(single), "none": total}[reduction]


def cases():
    """name, loss class with arguments, formula, targets, predictions."""
    rng = np.random.default_rng(3)
    b, t, v = 3, 4, 5
    logits, probabilities = rng.normal(size=(b, t, v)) * 2, rng.uniform(0.05, 0.95, (b, t, v))
    ids, yes = rng.integers(0, v, (b, t)), rng.integers(0, 2, (b, t, v)).astype(float)
    hot, soft = np.eye(v)[ids], softmax(rng.normal(size=(b, t, v)))
    for from_logits, x in ((True, logits), (False, probabilities)):
        kind = "logits" if from_logits else "probabilities"
        for smoothing in (0.0, 0.2):
            arguments = {"from_logits": from_logits, "label_smoothing": smoothing}
            yield (
                f"binary-{kind}-{smoothing}",
                lambda arguments=arguments, **k: losses.BinaryCrossentropy(**arguments, **k),
                lambda t, x, f=from_logits, s=smoothing: binary(t, x, f, s),
                yes,
                x,
            )
            for name, target in (("hot", hot), ("soft", soft)):
                yield (
                    f"categorical-{name}-{kind}-{smoothing}",
                    lambda arguments=arguments, **k: losses.CategoricalCrossentropy(**arguments, **k),
                    lambda t, x, f=from_logits, s=smoothing: categorical(t, x, f, s),
                    target,
                    x,
                )
        yield (
            f"sparse-{kind}",
            lambda f=from_logits, **k: losses.SparseCategoricalCrossentropy(f, **k),
            lambda t, x, f=from_logits: sparse(t, x, f),
            ids,
            x,
        )
    yield "squared", losses.MeanSquaredError, squared, probabilities[::-1], logits


CASES = list(cases())
by_case = pytest.mark.parametrize(("make", "formula", "target", "x"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


def gradient(loss, target, x, **arguments):
    x = Tensor(np.array(x))
    with GradientTape() as tape:
        tape.watch(x)
        value = loss(target, x, **arguments)
    return value, tape.gradient(value, x).numpy()


def differences(function, x, h=1e-6):
    dx = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        dx[i] = (function(up) - function(down)) / (2 * h)
    return dx


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighting", ["plain", "weight", "mask", "both"])
@by_case
def test_value_follows_the_formula(make, formula, target, x, reduction, weighting):
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2, x.shape[:2]) if weighting in ("weight", "both") else None
    mask = rng.random(x.shape[:2]) < 0.6 if weighting in ("mask", "both") else None
    expected = reduced(formula(target, x), reduction, weight, mask)
    value = make(reduction=reduction)(target, x, sample_weight=weight, mask=mask)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12, atol=1e-12)
    single = make(reduction=reduction)(target, x.astype(np.float32), sample_weight=weight, mask=mask)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "batch_mean"])
@by_case
def test_gradient_by_central_differences(make, formula, target, x, reduction):
    rng = np.random.default_rng(2)
    weight, mask = rng.uniform(0.5, 2, x.shape[:2]), rng.random(x.shape[:2]) < 0.7
    loss = make(reduction=reduction)
    _, dx = gradient(loss, target, x, sample_weight=weight, mask=mask)
    expected = differences(lambda z: reduced(formula(target, z), reduction, weight, mask), x)
    np.testing.assert_allclose(dx, expected, rtol=2e-7, atol=2e-8)


@by_case
def test_gradient_of_single_losses(make, formula, target, x):
    """The reduction none and the function form, with a gradient from above."""
    above = np.random.default_rng(4).normal(size=x.shape[:2])
    expected = differences(lambda z: (above * formula(target, z)).sum(), x)
    for run in (make(reduction="none"), make().call):
        watched = Tensor(x.copy())
        with GradientTape() as tape:
            tape.watch(watched)
            value = run(target, watched)
        dx = tape.gradient(value, watched, output_gradients=above)
        np.testing.assert_allclose(dx.numpy(), expected, rtol=2e-7, atol=2e-8)


@by_case
def test_time_major_views_give_the_same_and_stay_views(make, formula, target, x):
    view = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    plain, turned = gradient(make(), target, x), gradient(make(), target, x)
    watched = Tensor(view)
    with GradientTape() as tape:
        tape.watch(watched)
        value = make()(target, watched)
    dx = tape.gradient(value, watched).numpy()
    assert dx.swapaxes(0, 1).flags.c_contiguous
    np.testing.assert_array_equal(dx, plain[1])
    np.testing.assert_allclose(value.numpy(), turned[0].numpy(), rtol=1e-15)


@by_case
def test_persistent_tape_twice(make, formula, target, x):
    watched = Tensor(x.copy())
    with GradientTape(persistent=True) as tape:
        tape.watch(watched)
        value = make()(target, watched)
    first = tape.gradient(value, watched).numpy().copy()
    np.testing.assert_array_equal(tape.gradient(value, watched).numpy(), first)


@by_case
def test_two_axes(make, formula, target, x):
    value, dx = gradient(make(), target[:, 0], x[:, 0])
    np.testing.assert_allclose(value.numpy(), formula(target[:, 0], x[:, 0]).mean(), rtol=1e-12)
    assert dx.shape == x[:, 0].shape


@by_case
def test_masked_steps_may_hold_anything(make, formula, target, x):
    mask = np.array([[True, True, False, False]] * 3)
    spoiled, ruined = x.copy(), np.array(target)
    spoiled[:, 2:] = np.nan
    ruined[:, 2:] = -7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, dx = gradient(make(), ruined, spoiled, mask=mask)
    np.testing.assert_allclose(value.numpy(), formula(target[:, :2], x[:, :2]).mean(), rtol=1e-12)
    assert (dx[:, 2:] == 0).all() and np.isfinite(dx).all()


@by_case
def test_nan_is_not_hidden(make, formula, target, x):
    x = x.copy()
    x[0, 0, 0] = np.nan
    value, dx = gradient(make(), target, x)
    assert np.isnan(value.numpy()) and np.isnan(dx[0, 0]).any() and np.isfinite(dx[1:]).all()


@by_case
def test_mask_and_lengths_ride_on_the_tensor(make, formula, target, x):
    lengths = np.array([4, 0, 2])
    mask = np.arange(4) < lengths[:, None]
    expected = reduced(formula(target, x), "mean", None, mask)
    masked, ragged = Tensor(x), Tensor(x)
    masked.mask, ragged.lengths = mask, lengths
    np.testing.assert_allclose(make()(target, masked).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(make()(target, ragged).numpy(), expected, rtol=1e-12)
    # A mask that is given wins.
    np.testing.assert_allclose(
        make()(target, masked, mask=np.ones((3, 4), bool)).numpy(), formula(target, x).mean(), rtol=1e-12
    )
    nothing = make()(target, x, mask=np.zeros((3, 4), bool))
    assert nothing.numpy() == 0


@by_case
def test_weights_of_samples(make, formula, target, x):
    weight = np.array([0.5, 2.0, 0.0])
    expected = (formula(target, x) * weight[:, None]).mean()
    for form in (weight, weight[:, None], weight[:, None, None] * np.ones((3, 4, 1)), np.tile(weight[:, None], 4)):
        np.testing.assert_allclose(make()(target, x, sample_weight=form).numpy(), expected, rtol=1e-12)


def test_extreme_logits_stay_finite():
    for scale in (80.0, 1e4, 1e30):
        x = np.array([[scale, -scale, 0.0]], np.float32)
        for make, target in (
            (losses.SparseCategoricalCrossentropy, [0]),
            (losses.CategoricalCrossentropy, [[1.0, 0.0, 0.0]]),
            (losses.BinaryCrossentropy, [[1.0, 0.0, 0.0]]),
        ):
            value, dx = gradient(make(from_logits=True), target, x)
            assert 0 <= value.numpy() < 1 and np.isfinite(dx).all()
    value, dx = gradient(losses.SparseCategoricalCrossentropy(True), [1], np.array([[0.0, -np.inf, 0.0]]))
    assert value.numpy() == np.inf and np.isfinite(dx).all()


def test_probabilities_are_clipped():
    x = np.array([[1.0, 0.0]], np.float32)
    for make, target in (
        (losses.SparseCategoricalCrossentropy, [1]),
        (losses.CategoricalCrossentropy, [[0.0, 1.0]]),
        (losses.BinaryCrossentropy, [[0.0, 1.0]]),
    ):
        value, dx = gradient(make(), target, x)
        np.testing.assert_allclose(value.numpy(), -np.log(EPS), rtol=2e-2)
        assert (dx == 0).all()


def test_probabilities_are_divided_by_their_sum():
    value = losses.SparseCategoricalCrossentropy()([1], [[2.0, 6.0]])
    np.testing.assert_allclose(value.numpy(), -np.log(0.75), rtol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_ignore_class(from_logits):
    x = softmax(np.random.default_rng(5).normal(size=(3, 4, 5)))
    ids = np.array([[0, -1, 2, 3], [-1, -1, 4, 1], [0, 1, 2, -1]])
    valid = ids != -1
    loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class=-1)
    value, dx = gradient(loss, ids, x)
    safe = np.where(valid, ids, 0)
    np.testing.assert_allclose(value.numpy(), reduced(sparse(safe, x, from_logits), "mean", None, valid), rtol=1e-12)
    assert (dx[~valid] == 0).all()
    single = losses.sparse_categorical_crossentropy(ids, x, from_logits, ignore_class=-1).numpy()
    assert (single[~valid] == 0).all() and (single[valid] > 0).all()
    mask = np.array([[True, True, False, False]] * 3)
    both = reduced(sparse(safe, x, from_logits), "mean", None, valid & mask)
    np.testing.assert_allclose(loss(ids, x, mask=mask).numpy(), both, rtol=1e-12)


@pytest.mark.parametrize("axis", [1, -2])
def test_axis(axis):
    rng = np.random.default_rng(6)
    x, yes = rng.uniform(0.1, 0.9, (2, 5, 3)), rng.integers(0, 2, (2, 5, 3)).astype(float)
    ids = rng.integers(0, 5, (2, 3))
    turned = x.swapaxes(1, 2)
    for loss, target, formula in (
        (losses.SparseCategoricalCrossentropy(axis=axis), ids, lambda z: sparse(ids, z.swapaxes(1, 2), False)),
        (
            losses.CategoricalCrossentropy(axis=axis),
            np.eye(5)[ids].swapaxes(1, 2),
            lambda z: sparse(ids, z.swapaxes(1, 2), False),
        ),
        (losses.BinaryCrossentropy(axis=axis), yes, lambda z: binary(yes.swapaxes(1, 2), z.swapaxes(1, 2), False)),
    ):
        value, dx = gradient(loss, target, x)
        np.testing.assert_allclose(value.numpy(), formula(x).mean(), rtol=1e-12)
        np.testing.assert_allclose(dx, differences(lambda z: formula(z).mean(), x), rtol=2e-7, atol=2e-8)  # noqa: B023
    np.testing.assert_allclose(
        losses.SparseCategoricalCrossentropy(axis=axis)(ids[:, None], x).numpy(), sparse(ids, turned, False).mean()
    )


def test_missing_last_axes():
    x = np.array([[0.2], [0.7], [0.9]])
    t = np.array([0.0, 1.0, 1.0])
    for loss, formula in ((losses.BinaryCrossentropy, binary), (losses.MeanSquaredError, squared)):
        arguments = (False,) if formula is binary else ()
        expected = formula(t[:, None], x, *arguments)
        for target, y in ((t, x), (t[:, None], x), (t, x[:, 0]), (t[:, None], x[:, 0])):
            value, dx = gradient(loss(reduction="none"), target, y)
            np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12)
            assert dx.shape == y.shape
        weighted = loss()(t, x[:, 0], sample_weight=[1.0, 0.0, 2.0])
        np.testing.assert_allclose(weighted.numpy(), (expected * [1, 0, 2]).mean(), rtol=1e-6)
    per_step = losses.MeanSquaredError(reduction="batch_mean")(np.zeros((2, 3)), np.ones((2, 3, 1)))
    assert per_step.numpy() == 3.0


def test_squared_error_gives_gradients_to_both_sides():
    rng = np.random.default_rng(7)
    a, b = Variable(rng.normal(size=(3, 2))), Variable(rng.normal(size=(3, 2)))
    with GradientTape() as tape:
        value = losses.mean_squared_error(a, b)
    da, db = tape.gradient(value, [a, b])
    np.testing.assert_allclose(db.numpy(), b.numpy() - a.numpy(), rtol=1e-12)
    np.testing.assert_allclose(da.numpy(), -db.numpy())
    with GradientTape(), pytest.raises(TypeError, match="y_true"):
        losses.BinaryCrossentropy(from_logits=True)(a, b)


def test_step_weights_give_the_loss():
    rng = np.random.default_rng(8)
    single, weight, mask = rng.random((4, 3)), rng.random(4), rng.random((4, 3)) < 0.5
    for reduction in ("mean", "sum", "batch_mean", "none"):
        weights = losses.step_weights(reduction, (4, 3), weight, mask, "float64")
        expected = reduced(single, reduction, weight[:, None], mask)
        total = weights * single if reduction == "none" else (weights * single).sum()
        np.testing.assert_allclose(total, expected, rtol=1e-12)
        assert weights.flags.c_contiguous and weights.dtype == np.float64
    assert losses.step_weights("mean", (2,)).dtype == np.float32
    assert (losses.step_weights("mean", (2, 2), mask=np.zeros((2, 2), bool)) == 0).all()


def test_own_loss_class_and_function():
    class Cubed(losses.Loss):
        def call(self, y_true, y_pred):
            return losses.mean_squared_error(y_true, y_pred)

    x, t = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))
    mask = np.array([True, False])
    for loss in (Cubed(), losses.get(lambda t, y: losses.mean_squared_error(t, y))):
        value, dx = gradient(loss, t, x, mask=mask)
        assert value.numpy() == 2.5
        np.testing.assert_allclose(dx, [[1.0, 2.0], [0.0, 0.0]])
    assert Cubed().name == "cubed"
    with pytest.raises(TypeError, match="call"):
        losses.Loss()(t, x)
    with pytest.raises(TypeError, match="Tensor"):
        losses.get(lambda t, y: 3.0)(t, x)


def test_names_and_configurations():
    for name, cls in (
        ("mse", losses.MeanSquaredError),
        ("mean_squared_error", losses.MeanSquaredError),
        ("binary_crossentropy", losses.BinaryCrossentropy),
        ("bce", losses.BinaryCrossentropy),
        ("categorical_crossentropy", losses.CategoricalCrossentropy),
        ("sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy),
        ("SparseCategoricalCrossentropy", losses.SparseCategoricalCrossentropy),
        (losses.binary_crossentropy, losses.BinaryCrossentropy),
        (losses.MeanSquaredError, losses.MeanSquaredError),
    ):
        assert type(losses.get(name)) is cls
    for loss in (
        losses.BinaryCrossentropy(True, 0.1, reduction="sum", name="mine"),
        losses.CategoricalCrossentropy(True, 0.1, axis=1),
        losses.SparseCategoricalCrossentropy(True, -1, reduction="batch_mean"),
        losses.MeanSquaredError(None),
    ):
        again = losses.get(json.loads(json.dumps(losses.serialize(loss))))
        assert type(again) is type(loss) and again.get_config() == loss.get_config()
        assert losses.get(loss) is loss
    assert losses.SparseCategoricalCrossentropy(reduction="sum_over_batch_size").reduction == "mean"
    assert losses.SparseCategoricalCrossentropy().name == "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        (lambda: losses.get("nonsense"), ValueError, "loss: .*'nonsense'"),
        (lambda: losses.get(3), TypeError, "loss: .*int"),
        (lambda: losses.get({"class_name": "os"}), ValueError, "loss: "),
        (lambda: losses.MeanSquaredError("average"), ValueError, "reduction: .*'average'"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1.5), ValueError, "label_smoothing: .*1.5"),
        (lambda: losses.CategoricalCrossentropy(axis=1.5), ValueError, "axis: "),
        (lambda: losses.CategoricalCrossentropy(axis=3)(np.eye(2), np.eye(2)), ValueError, "axis: .*3"),
        (lambda: losses.mean_squared_error(np.zeros((2, 3)), np.zeros((2, 4))), ValueError, r"y_true: .*\(2, 4\)"),
        (lambda: losses.mean_squared_error(np.zeros(()), np.zeros(())), ValueError, "y_pred: "),
        (lambda: losses.mean_squared_error(np.zeros((2, 3)), ["a", "b"]), TypeError, "y_pred: "),
        (lambda: losses.mean_squared_error(np.zeros((0, 3)), np.zeros((0, 3))), ValueError, "y_pred: "),
        (lambda: losses.mean_squared_error(np.zeros((1, 1)), np.ones((1, 1)) * 1j), TypeError, "y_pred: .*complex"),
        (lambda: losses.categorical_crossentropy([0, 1], np.eye(2)), ValueError, "y_true: .*sparse_categorical"),
        (lambda: losses.sparse_categorical_crossentropy([0, 2], np.eye(2)), ValueError, r"y_true: .*0\.\.\.1, got 2"),
        (lambda: losses.sparse_categorical_crossentropy([0, -1], np.eye(2)), ValueError, "y_true: .*got -1"),
        (lambda: losses.sparse_categorical_crossentropy([0, 0.5], np.eye(2)), ValueError, "y_true: .*0.5"),
        (lambda: losses.sparse_categorical_crossentropy([0, np.nan], np.eye(2)), ValueError, "y_true: .*nan"),
        (lambda: losses.sparse_categorical_crossentropy([0], np.eye(2)), ValueError, r"y_true: .*\(2,\)"),
        (lambda: losses.get("mse")(np.eye(2), np.eye(2), sample_weight=[1, 2, 3]), ValueError, "sample_weight: "),
        (lambda: losses.get("mse")(np.eye(2), np.eye(2), mask=[[True, True]] * 2), ValueError, "mask: "),
    ],
)
def test_bad_input(run, kind, message):
    with pytest.raises(kind, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64"])
def test_dtype_of_a_loss_is_that_of_its_result(dtype, given):
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(given)
    pred = Variable(x, dtype=given)
    with GradientTape() as tape:
        value = losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)([0, 1, 2], pred)
    assert value.dtype == dtype
    dx = tape.gradient(value, pred)
    assert np.asarray(dx).dtype == given
    expected = losses.SparseCategoricalCrossentropy(from_logits=True)([0, 1, 2], x.astype(dtype))
    assert float(value) == float(expected)
    assert losses.MeanSquaredError(dtype=dtype)(x, x.astype(given) + 1).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_the_layers_type_is_fused(dtype):
    model = Sequential([layers.Input((3,)), layers.Dense(5), layers.Dense(4, dtype=dtype)])
    for own, fused in ((None, True), (dtype, True), ({"float32": "float64", "float64": "float32"}[dtype], False)):
        loss = losses.SparseCategoricalCrossentropy(from_logits=True, dtype=own)
        model.compile("sgd", loss, metrics=[metrics.SparseCategoricalAccuracy(dtype=own)])
        assert (fused_head_of(model) is not None) is fused


def test_fit_computes_the_loss_in_its_type():
    x, y = np.random.default_rng(1).normal(size=(8, 3)), np.arange(8) % 4
    results = []
    for dtype in (None, "float64"):
        random.set_seed(0)
        model = Sequential([layers.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(4)])
        model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype))
        results.append(model.train_on_batch(x, y))
    assert results[1] != float(np.float32(results[1]))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


# --- targets, predictions, weights and masks of different ranks -------------------------------------------------------


class Own(losses.Loss):
    def call(self, y_true, y_pred):
        return (y_true - y_pred) ** 2


RANKS = [((6,), (6, 1)), ((6, 1), (6,)), ((6, 1), (6, 1)), ((6,), (6,)), ((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3))]
WAYS = {
    "function": lambda t, p: (t - p) ** 2,
    "class": Own(),
    "scalar": lambda t, p: ops.reduce_mean((t - p) ** 2),
    "mse": "mse",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint8", "int8", "bool"])
@pytest.mark.parametrize("target, output", RANKS, ids=str)
def test_ranks_that_differ_by_an_axis_of_one(target, output, kind, way):
    """(B,) targets of a (B, 1) output are compared element by element, never as a (B, B) table."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, target).astype(kind)
    p = Tensor(rng.normal(size=output))
    flat, wanted = p.numpy().ravel(), y.ravel().astype(float)
    loss = losses.get(WAYS[way])
    with GradientTape() as tape:
        tape.watch(p)
        value = loss(y, p)
    assert value.shape == () and float(value) == pytest.approx(np.mean((flat - wanted) ** 2), rel=1e-6)
    np.testing.assert_allclose(tape.gradient(value, p).numpy().ravel(), 2 * (flat - wanted) / 6, rtol=1e-6)
    # Weights of the samples; a loss that is a mean already is multiplied by their mean, as in Keras.
    weight = rng.uniform(1, 2, target[0])
    each = np.repeat(weight, 6 // target[0])
    right = np.mean((flat - wanted) ** 2) * weight.mean() if way == "scalar" else np.mean(each * (flat - wanted) ** 2)
    for shaped in (weight, weight[:, None]):
        assert float(loss(y, p, sample_weight=shaped)) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum", "batch_mean", "none"])
@pytest.mark.parametrize("carried", ["mask", "lengths", "argument", None])
@pytest.mark.parametrize("weighted", [None, "rows", "steps"])
def test_a_scalar_under_weights_and_masks(reduction, carried, weighted):
    """A function that returns the mean itself: times the reduced weights of the valid steps, as in Keras."""
    rng = np.random.default_rng(2)
    y, p = rng.normal(size=(2, 5, 1)), Tensor(rng.normal(size=(2, 5, 1)))
    kept = np.arange(5) < np.array([[3], [5]])
    if carried == "mask":
        p.mask = kept
    if carried == "lengths":
        p.lengths = np.array([3, 5])
    weight = {None: None, "rows": np.array([2.0, 3.0]), "steps": rng.uniform(1, 2, (2, 5))}[weighted]
    loss = losses.LossFunctionWrapper(WAYS["scalar"], reduction)
    with GradientTape() as tape:
        tape.watch(p)
        value = loss(y, p, sample_weight=weight, mask=kept if carried == "argument" else None)
    mean = np.mean((y - p.numpy()) ** 2)
    if carried is None and weight is None:
        factor = np.array(1.0)
    else:
        # Without a mask the weights count as they were given.
        factor = np.ones((2, 5)) if weight is None else weight if carried is None else np.broadcast_to(
            weight if weight.ndim == 2 else weight[:, None], (2, 5)
        )  # fmt: skip
        factor = factor if carried is None else np.where(kept, factor, 0)
        count = factor.size if carried is None else kept.sum()
        factor = {"mean": factor.sum() / count, "sum": factor.sum(), "batch_mean": factor.sum() / 2}.get(
            reduction, factor
        )
    np.testing.assert_allclose(value.numpy(), mean * factor, rtol=1e-6)
    gradient = tape.gradient(value, p).numpy()
    np.testing.assert_allclose(gradient, np.sum(factor) * 2 * (p.numpy() - y) / 10, rtol=1e-6)


def test_a_loss_of_each_row_under_a_mask_is_named():
    p = Tensor(np.zeros((2, 5, 1)))
    p.mask = np.ones((2, 5), bool)
    loss = losses.get(lambda t, q: ops.reduce_sum((t - q) ** 2, axis=(1, 2)))
    with pytest.raises(ValueError, match=r"one loss per step, \(2, 5\), under a mask or lengths, got shape \(2,\)"):
        loss(np.zeros((2, 5, 1)), p)


@pytest.mark.parametrize("ids", [[0.0, 1.5], [0.0, np.nan], [np.inf, 1.0]])
@pytest.mark.parametrize("masked", [False, True])
def test_class_ids_are_whole_numbers(ids, masked):
    """In losses and metrics alike; what a mask hides may be anything."""

    p = np.full((2, 3), 1 / 3)
    for make in (
        losses.SparseCategoricalCrossentropy(),
        metrics.SparseCategoricalAccuracy(),
        metrics.SparseTopKCategoricalAccuracy(1),
        metrics.SparseCategoricalCrossentropy(),
    ):
        hidden = np.isfinite(ids) & (np.floor(ids) == ids)
        if masked:
            assert np.isfinite(float(make(ids, p, mask=hidden)))
        else:
            with pytest.raises(ValueError, match="y_true: expected whole numbers as class ids"):
                make(ids, p)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=1.5), "ignore_class: "),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class="pad"), "ignore_class: "),
        (lambda: losses.SampledSoftmaxLoss(5, ignore_class=True), "ignore_class: "),
        (lambda: losses.SampledSoftmaxLoss(2.5), "num_sampled: "),
        (lambda: losses.CategoricalCrossentropy(label_smoothing="much"), "label_smoothing: "),
        (lambda: losses.BinaryCrossentropy(label_smoothing=np.nan), "label_smoothing: "),
    ],
)
def test_numbers_of_losses(make, message):
    with pytest.raises(ValueError, match=f"^{message}expected"):
        make()
