"""Sampled losses against their formulas, central differences, TensorFlow; the same bits for any number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seqcore as sc
from seqcore import _core
from seqcore.ops import candidate_samplers as sampling
from tests.helpers import reference

FUNCTIONS = {"nce": sc.nce_loss, "softmax": sc.sampled_softmax_loss, "negative": sc.negative_sampling_loss}
# V, K, B, N, S: sizes around those of vectors, panels and tiles, more rows than go through together, few classes.
SIZES = [
    (5, 1, 1, 1, 1),
    (9, 3, 2, 2, 9),
    (50, 7, 5, 3, 17),
    (40, 17, 13, 1, 33),
    (300, 65, 33, 2, 130),
    (1000, 128, 130, 1, 64),
    (90, 33, 300, 1, 65),
    (700, 130, 20, 20, 600),
]


def problem(size, dtype, seed=0):
    V, K, B, N, S = size
    rng = np.random.default_rng(seed)
    w, b, x = (rng.normal(0, 0.5, shape).astype(dtype) for shape in ((V, K), (V,), (B, K)))
    # Ids repeat, within a row too, and hit the samples.
    labels, sampled = rng.integers(0, V, (B, N)), rng.integers(0, min(V, 2 * S), S)
    labels[0, 0] = sampled[0]
    expected = rng.uniform(0.05, 2, (B, N)), rng.uniform(0.05, 2, S)
    return w, b, labels, x, (sampled, *expected)


def run(kind, size, problem, dy=None, **options):
    """Losses and the gradients of sum(dy * losses), of their mean without dy."""
    V, _, _, N, S = size
    w, b, labels, x, values = problem
    w, b, x = sc.Variable(w), None if b is None else sc.Variable(b), sc.Variable(x)
    with sc.GradientTape(persistent=True) as tape:
        losses = FUNCTIONS[kind](w, b, labels, x, S, V, N, values, **options)
        total = sc.reduce_mean(losses) if dy is None else sc.reduce_sum(losses * dy.astype(losses.dtype))
    found = tape.gradient(total, [w, x] if b is None else [w, b, x])
    return losses.numpy(), found


def close(found, expected, dtype):
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(
        np.asarray(found, float) / scale, expected / scale, atol=1e-10 if dtype == "float64" else 1e-5
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_losses_and_gradients_by_their_formulas(size, remove, kind, dtype):
    w, b, labels, x, values = whole = problem(size, dtype)
    exact = [one.astype(float) for one in (w, b, x)]
    corrections = (None, None) if kind == "negative" else values[1:]
    losses, slopes = reference.sampled_loss(
        kind, exact[0], exact[1], labels, exact[2], values[0], *corrections, remove=remove
    )
    rows = np.random.default_rng(5).normal(size=len(x))
    for dy, weights in ((None, np.full(len(x), 1 / len(x))), (rows, rows), (np.ones(len(x)), np.ones(len(x)))):
        found, gradients = run(kind, size, whole, dy, remove_accidental_hits=remove)
        close(found, losses, dtype)
        expected = reference.sampled_gradients(slopes, weights, exact[0], labels, exact[2], values[0])
        for one, other in zip(gradients, expected, strict=True):
            close(one, other, dtype)
        used = np.unique(np.concatenate([labels.ravel(), values[0]]))
        for one in gradients[:2]:
            assert isinstance(one, sc.IndexedSlices)
            np.testing.assert_array_equal(one.indices, used)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_gradients_by_central_differences(kind):
    size = (12, 5, 4, 2, 7)
    w, b, labels, x, values = whole = problem(size, "float64")
    _, gradients = run(kind, size, whole, np.ones(4), remove_accidental_hits=True)

    def total(w, b, x):
        return FUNCTIONS[kind](w, b, labels, x, 7, 12, 2, values, remove_accidental_hits=True).numpy().sum()

    for place, gradient in enumerate(gradients):
        dense, arrays = np.asarray(gradient), [w, b, x]
        for index in np.ndindex(dense.shape):
            shifted = []
            for step in (1e-6, -1e-6):
                moved = [one.copy() for one in arrays]
                moved[place][index] += step
                shifted.append(total(*moved))
            assert abs((shifted[0] - shifted[1]) / 2e-6 - dense[index]) < 1e-7


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_by_columns_gives_the_same(kind):
    """Weights (K, V), as a Dense layer has them."""
    V, K, B, N, S = 70, 37, 19, 2, 21
    w, b, labels, x, values = problem((V, K, B, N, S), "float64")
    options = {"softmax": kind == "softmax", "correct": kind != "negative", "weight": 0.5, "remove_hits": True}
    by_row = _core.sampling.sampled_loss(w, b, labels, x, values, S, **options)
    by_column = _core.sampling.sampled_loss(
        np.ascontiguousarray(w.T), b, labels, x, values, S, by_columns=True, **options
    )
    for one, other in zip(by_row, by_column, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("by_columns", [False, True])
def test_the_same_bits_for_any_number_of_threads(by_columns, kind, dtype):
    for size in ((3000, 130, 300, 2, 200), (500, 64, 64, 1, 512)):
        w, b, labels, x, values = problem(size, dtype)
        w = np.ascontiguousarray(w.T) if by_columns else w
        found = []
        for threads in (1, 2, 7):
            _core.system.set_num_threads(threads)
            found.append(
                _core.sampling.sampled_loss(
                    w, b, labels, x, values, size[4], softmax=kind == "softmax", by_columns=by_columns, weight=0.1
                )
            )
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(one, two)


def test_extreme_logits_and_nan():
    x = np.array([[300.0], [-300.0], [0.0], [np.nan], [np.inf]], "float32")
    w, values = np.ones((3, 1), "float32"), ([1, 2], np.ones((5, 1)), np.ones(2))
    nce = sc.nce_loss(w, None, np.zeros((5, 1), int), x, 2, 3, sampled_values=values).numpy()
    np.testing.assert_allclose(nce[:3], [600, 300, 3 * np.log(2)], rtol=1e-6)
    assert np.isnan(nce[3]) and not np.isfinite(nce[4])
    soft = sc.sampled_softmax_loss(w, None, np.zeros((5, 1), int), x, 2, 3, sampled_values=values).numpy()
    np.testing.assert_allclose(soft[:3], np.log(3), rtol=1e-6)
    assert np.isnan(soft[3])


def test_sampled_softmax_over_all_classes_is_the_softmax():
    w, b, labels, x, _ = problem((30, 9, 8, 1, 5), "float64")
    values = np.arange(30), np.ones((8, 1)), np.ones(30)
    found = sc.sampled_softmax_loss(w, b, labels, x, 30, 30, sampled_values=values).numpy()
    logits = x @ w.T + b
    expected = np.log(np.exp(logits).sum(1)) - np.take_along_axis(logits, labels, 1)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 3, 50, 50_000])
@pytest.mark.parametrize("function", ["nce_loss", "sampled_softmax_loss"])
def test_the_default_sampler_is_log_uniform_without_replacement(function, classes):
    rng = np.random.default_rng(1)
    samples = min(classes, 40)
    w, b, x = rng.normal(size=(classes, 6)), rng.normal(size=classes), rng.normal(size=(9, 6))
    labels = rng.integers(0, classes, (9, 2))
    before = sc.floatx()
    sc.set_floatx("float64")
    values = sampling.log_uniform_candidate_sampler(labels, 2, samples, True, classes, seed=(3, 4))
    sc.set_floatx(before)
    loss = getattr(sc, function)
    found = loss(w, b, labels, x, samples, classes, 2, seed=(3, 4)).numpy()
    np.testing.assert_allclose(found, loss(w, b, labels, x, samples, classes, 2, values).numpy(), rtol=1e-12)


def test_the_global_seed_and_exact_resume():
    w, b, labels, x, _ = problem((50, 7, 5, 1, 9), "float32")
    sc.set_seed(4)
    first, state = sc.nce_loss(w, b, labels, x, 9, 50).numpy(), sc.random.get_state()
    second = sc.nce_loss(w, b, labels, x, 9, 50).numpy()
    assert (first != second).any()
    sc.random.set_state(state)
    np.testing.assert_array_equal(second, sc.nce_loss(w, b, labels, x, 9, 50).numpy())


def test_weights_and_inputs_that_no_tape_follows():
    w, b, labels, x, values = problem((50, 7, 5, 1, 9), "float32")
    frozen, table = sc.Variable(w, trainable=False), sc.Variable(x)
    with sc.GradientTape() as tape:
        loss = sc.reduce_mean(sc.nce_loss(frozen, b, labels, table, 9, 50, sampled_values=values))
    dw, dx = tape.gradient(loss, [frozen, table])
    expected = run("nce", (50, 7, 5, 1, 9), (w, b, labels, x, values))[1][2]
    assert dw is None
    np.testing.assert_array_equal(dx.numpy(), expected.numpy())


def test_learns_to_predict_a_permutation():
    """Every loss, by itself, makes the full softmax right."""
    rng = np.random.default_rng(0)
    classes = 200
    target = rng.permutation(classes)
    for loss, rate in ((sc.nce_loss, 3.0), (sc.sampled_softmax_loss, 6.0), (sc.negative_sampling_loss, 3.0)):
        sc.set_seed(1)
        table, w = (sc.Variable(rng.normal(0, 0.3, (classes, 16)).astype("float32")) for _ in range(2))
        b, optimizer = sc.Variable(np.zeros(classes, "float32")), sc.optimizers.SGD(rate)
        for _ in range(1500):
            ids = rng.integers(0, classes, 64)
            with sc.GradientTape() as tape:
                x = sc.ops.gather(table, ids)
                value = sc.reduce_mean(loss(w, b, target[ids][:, None], x, 20, classes, remove_accidental_hits=True))
            optimizer.apply_gradients(zip(tape.gradient(value, [table, w, b]), [table, w, b], strict=True))
        logits = table.numpy() @ w.numpy().T + b.numpy()
        assert (logits.argmax(1) == target).mean() > 0.95, loss.__name__


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_sampled": 0}, "num_sampled: expected an integer 1"),
        ({"num_sampled": -1}, "num_sampled: expected an integer 1"),
        ({"num_sampled": 11}, "num_sampled: expected an integer 1...10, got 11"),
        ({"num_classes": 9}, "num_classes: expected 10"),
        ({"labels": [[10], [0]]}, "labels: expected whole numbers 0...9, got 10"),
        ({"labels": np.array([[10], [0]])}, "labels: expected class numbers 0...9, got 10"),
        ({"labels": np.array([[-1], [0]], "int32")}, "labels: expected class numbers 0...9, got -1"),
        ({"labels": [0, 1]}, r"labels: expected shape \(batch, 1\), got \(2,\)"),
        ({"labels": np.zeros((3, 1), int)}, r"labels: expected shape \(2, 1\), got \(3, 1\)"),
        ({"num_true": 2}, r"labels: expected shape \(batch, 2\), got \(2, 1\)"),
        ({"weights": np.zeros((10, 3), "float32")}, r"weights: expected shape \(num_classes, K\)"),
        ({"inputs": np.zeros((0, 4), "float32")}, r"weights: expected shape"),
        ({"inputs": np.zeros(4, "float32")}, r"weights: expected shape"),
        ({"biases": np.zeros(9, "float32")}, r"biases: expected shape \(10,\)"),
        ({"weights": sc.Tensor(np.zeros((10, 4), "float64"))}, "weights: expected float32 like the inputs"),
        ({"sampled_values": 3}, "sampled_values: expected"),
        ({"sampled_values": ([1, 2], [[1.0], [1.0]], [1.0, 1.0])}, r"sampled_candidates: expected shape \(3,\)"),
        (
            {"sampled_values": ([1, 2, 10], [[1.0], [1.0]], [1.0] * 3)},
            "sampled_candidates: expected class numbers 0...9",
        ),
        ({"sampled_values": ([1, 2, 3], [[1.0]], [1.0] * 3)}, "true_expected_count: expected numbers of shape"),
        (
            {"sampled_values": ([1, 2, 3], [[1.0], [0.0]], [1.0] * 3)},
            "true_expected_count: expected numbers > 0, got 0.0",
        ),
        (
            {"sampled_values": ([1, 2, 3], [[1.0], [1.0]], [1.0, np.nan, 1.0])},
            "sampled_expected_count: expected numbers > 0",
        ),
        ({"seed": -3}, "seed: expected"),
    ],
)
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_bad_input(kind, change, text):
    good = {
        "weights": np.zeros((10, 4), "float32"),
        "biases": np.zeros(10, "float32"),
        "labels": [[0], [1]],
        "inputs": np.zeros((2, 4), "float32"),
        "num_sampled": 3,
        "num_classes": 10,
    }
    FUNCTIONS[kind](**good)
    with pytest.raises((ValueError, TypeError), match=text):
        FUNCTIONS[kind](**(good | change))


# --- as losses of a model ---------------------------------------------------------------------------------------------


def model_of(loss, optimizer=None, metrics=None, classes=60, **options):
    sc.set_seed(5)
    stack = [
        sc.layers.Embedding(classes, 8),
        sc.layers.LSTM(8, return_sequences=True),
        sc.layers.Dense(classes, **options),
    ]
    model = sc.Sequential(stack)
    model.compile(optimizer or sc.optimizers.SGD(0.5), loss, metrics=metrics)
    return model


MODEL_LOSSES = {"nce": sc.losses.NCELoss, "softmax": sc.losses.SampledSoftmaxLoss}
IDS = np.random.default_rng(8).integers(0, 60, (6, 7))


@pytest.mark.parametrize("reduction", ["mean", "sum", "batch_mean"])
@pytest.mark.parametrize("kind", MODEL_LOSSES)
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_step_of_fit_is_the_function_by_hand(use_bias, kind, reduction):
    """Masked, weighted, with each reduction: weights after one step against a tape over the function."""
    loss = MODEL_LOSSES[kind](12, remove_accidental_hits=True, ignore_class=3, reduction=reduction)
    weight = np.random.default_rng(1).uniform(0.5, 2, 6).astype("float32")
    model, other = (model_of(loss, use_bias=use_bias) for _ in range(2))
    model.build((None, None))
    other.build((None, None))
    other.set_weights(model.get_weights())
    variables = other.trainable_variables
    sc.set_seed(9)
    model.train_on_batch(IDS, IDS, sample_weight=weight)
    sc.set_seed(9)
    with sc.GradientTape() as tape:
        hidden = other.layers[1](other.layers[0](IDS))
        # The rows of a sequence are taken in the order of memory, which is time-major.
        flat, ids = sc.ops.reshape(sc.ops.transpose(hidden, (1, 0, 2)), (-1, 8)), IDS.T.reshape(-1, 1)
        counted = (IDS != 3).T.reshape(-1)
        w, b = sc.ops.transpose(other.layers[2].kernel), other.layers[2].bias
        losses = FUNCTIONS[kind](w, b, np.where(counted[:, None], ids, 0), flat, 12, 60, remove_accidental_hits=True)
        divisor = {"mean": counted.sum(), "sum": 1, "batch_mean": 6}[reduction]
        each = (np.tile(weight, 7) * counted / divisor).astype("float32")
        total = sc.reduce_sum(losses * each)
    gradients = [sc.Tensor(np.asarray(g)) for g in tape.gradient(total, variables)]
    sc.optimizers.SGD(0.5).apply_gradients(zip(gradients, variables, strict=True))
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-6 * max(1, np.abs(two).max()))


@pytest.mark.parametrize("kind", MODEL_LOSSES)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_only_columns_used_change_under_sgd_and_evaluation_is_the_full_softmax(optimizer, kind):
    model = model_of(MODEL_LOSSES[kind](5), getattr(sc.optimizers, optimizer)(0.1), classes=60)
    model.build((None, None))
    before = model.layers[2].kernel.numpy()
    model.train_on_batch(IDS[:1, :2], IDS[:1, :2])
    changed = (model.layers[2].kernel.numpy() != before).any(0).sum()
    assert 2 <= changed <= 7
    full = model_of(sc.losses.SparseCategoricalCrossentropy(from_logits=True))
    full.build((None, None))
    full.set_weights(model.get_weights())
    assert model.evaluate(IDS, IDS, verbose=0) == full.evaluate(IDS, IDS, verbose=0)


@pytest.mark.parametrize("kind", MODEL_LOSSES)
def test_fit_learns_and_has_the_same_bits_for_any_number_of_threads(kind):
    found = []
    for threads in (1, 2, 7):
        _core.system.set_num_threads(threads)
        model = model_of(MODEL_LOSSES[kind](20, remove_accidental_hits=True), sc.optimizers.SGD(1.0, clipnorm=5.0))
        start = model.evaluate(IDS, IDS, verbose=0)
        model.fit(IDS, IDS, epochs=300, batch_size=3, verbose=0)
        assert model.evaluate(IDS, IDS, verbose=0) < start / 2
        found.append(model.get_weights())
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_metrics_are_those_of_the_full_softmax():
    model = model_of(
        sc.losses.NCELoss(20), sc.optimizers.SGD(0.0), metrics=["accuracy", sc.metrics.Perplexity(from_logits=True)]
    )
    logs = model.fit(IDS, IDS, verbose=0).history
    loss, accuracy, perplexity = model.evaluate(IDS, IDS, verbose=0)
    assert abs(logs["accuracy"][0] - accuracy) < 1e-6
    assert abs(logs["perplexity"][0] / perplexity - 1) < 1e-5 and abs(np.exp(loss) / perplexity - 1) < 1e-5
    assert logs["loss"][0] > 2 * loss


@pytest.mark.parametrize("ignored", [0, 7, -1])
@pytest.mark.parametrize("kind", MODEL_LOSSES)
def test_accuracy_counts_the_steps_that_the_loss_ignores(kind, ignored):
    """As with every other loss, and in training as in evaluation."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 30, (4, 6)), rng.integers(0, 30, (4, 6))
    y[rng.random((4, 6)) < 0.4] = ignored
    model = sc.Sequential([sc.layers.Embedding(30, 8), sc.layers.LSTM(8, return_sequences=True), sc.layers.Dense(30)])
    model.compile(
        sc.optimizers.SGD(0.0), MODEL_LOSSES[kind](10, ignore_class=ignored), metrics=["accuracy", "perplexity"]
    )
    model(x)
    # Predictions that are often right, at ignored steps too.
    logits = model(x).numpy()
    y = np.where(rng.random((4, 6)) < 0.5, np.where(y == ignored, y, logits.argmax(-1)), y)
    shifted = -10.0 * np.arange(30) if ignored < 0 else 10.0 * (np.arange(30) == ignored)
    model.layers[-1].bias.assign(shifted.astype(np.float32))
    logits = model(x).numpy().astype(np.float64)
    right = (logits.argmax(-1) == y).mean()
    kept = y != ignored
    losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.where(kept, y, 0)[..., None], -1)[..., 0]
    for row in (
        model.train_on_batch(x, y),
        model.evaluate(x, y, verbose=0),
        model.evaluate(x, y, batch_size=1, verbose=0),
    ):
        assert row[1] == pytest.approx(right) and row[2] == pytest.approx(np.exp(losses[kept].mean()), rel=1e-4)


def test_another_loss_after_a_sampled_one():
    model = model_of(sc.losses.NCELoss(20))
    model.train_on_batch(IDS, IDS)
    model.compile(sc.optimizers.SGD(0.5), sc.losses.SparseCategoricalCrossentropy(from_logits=True))
    other = model_of(sc.losses.SparseCategoricalCrossentropy(from_logits=True))
    other.build((None, None))
    other.set_weights(model.get_weights())
    assert model.train_on_batch(IDS, IDS) == other.train_on_batch(IDS, IDS)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_sampled_loss_is_never_replaced_silently():
    refused = [model_of(sc.losses.NCELoss(5), activation="softmax"), model_of(sc.losses.NCELoss(5), metrics=["mse"])]
    for model in refused:
        model.build((None, None))
        before = model.get_weights()
        with pytest.raises(ValueError, match="loss: expected for NCELoss a model that ends in a Dense layer"):
            model.train_on_batch(IDS, IDS)
        for one, two in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="num_sampled: expected an integer 1...60, got 61"):
        model_of(sc.losses.NCELoss(61)).train_on_batch(IDS, IDS)
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="num_sampled: expected an integer >= 1"):
            sc.losses.SampledSoftmaxLoss(bad)


def test_losses_in_files():
    for loss in (sc.losses.NCELoss(7, True, 2, "sum"), sc.losses.SampledSoftmaxLoss(9, False)):
        again = sc.losses.deserialize(sc.losses.serialize(loss))
        assert type(again) is type(loss) and again.get_config() == loss.get_config()


@pytest.mark.parametrize("isa", _core.system.info()["isas"])
def test_every_instruction_set(isa):
    """The proofs above, on each instruction set that this processor has."""
    if isa == _core.system.info()["isa"]:
        pytest.skip("the one in use")
    names = "formulas and (size2 or size4 or size6) or columns or extreme or default or bits"
    command = [
        sys.executable,
        "-m",
        "pytest",
        __file__,
        "-q",
        "-k",
        names,
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
    ]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(command, env={**os.environ, "SEQCORE_ISA": isa}, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("name", ["nce_loss", "sampled_softmax_loss"])
@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("size", SIZES[1:])
def test_tensorflow_gives_the_same(size, remove, name):
    tf = pytest.importorskip("tensorflow")
    V, _, _, N, S = size
    w, b, labels, x, values = problem(size, "float32")
    # Of samples that are drawn twice TensorFlow removes but one: hits are compared on different ones.
    sampled = np.random.default_rng(2).permutation(V)[:S] if remove else values[0]
    values = (sampled, values[1].astype("float32"), values[2].astype("float32"))
    theirs = [tf.Variable(one) for one in (w, b, x)]
    with tf.GradientTape() as tape:
        losses = getattr(tf.nn, name)(
            theirs[0], theirs[1], labels, theirs[2], S, V, N, tuple(map(tf.constant, values)), remove
        )
        mean = tf.reduce_mean(losses)
    expected = [np.asarray(tf.convert_to_tensor(one)) for one in tape.gradient(mean, theirs)]
    kind = "nce" if name == "nce_loss" else "softmax"
    found, gradients = run(kind, size, (w, b, labels, x, values), remove_accidental_hits=remove)
    close(found, losses.numpy(), "float32")
    for one, other in zip(gradients, expected, strict=True):
        close(one, other, "float32")
