"""Metrics against their formulas over several batches, with weights, masks and the names Keras gives them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from seqcore import losses, metrics
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor
from tests.helpers.small_models import dense_model

B, T, V = 3, 4, 5


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def data(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, V, (B, T))
    return {
        "ids": ids,
        "hot": np.eye(V)[ids],
        "yes": rng.integers(0, 2, (B, T, V)).astype(float),
        "scores": softmax(rng.normal(size=(B, T, V))),
        "logits": rng.normal(size=(B, T, V)),
        "weight": rng.uniform(0.5, 2, (B, T)),
        "mask": rng.random((B, T)) < 0.6,
    }


def entropy(d):
    return -np.log((d["hot"] * d["scores"]).sum(-1))


def logit_entropy(d):
    return -np.log((d["hot"] * softmax(d["logits"])).sum(-1))


def binary_entropy(d):
    return -(d["yes"] * np.log(d["scores"]) + (1 - d["yes"]) * np.log(1 - d["scores"])).mean(-1)


def among(d, k):
    rank = (-d["scores"]).argsort(-1)
    return (rank[..., :k] == d["ids"][..., None]).any(-1)


# metric, targets, predictions, per-sample values, what the mean of these becomes
CASES = [
    (metrics.BinaryAccuracy, {}, "yes", "scores", lambda d: ((d["scores"] > 0.5) == d["yes"]).mean(-1), None),
    (
        metrics.BinaryAccuracy,
        {"threshold": 0.2},
        "yes",
        "scores",
        lambda d: ((d["scores"] > 0.2) == d["yes"]).mean(-1),
        None,
    ),
    (metrics.CategoricalAccuracy, {}, "hot", "scores", lambda d: d["scores"].argmax(-1) == d["ids"], None),
    (metrics.SparseCategoricalAccuracy, {}, "ids", "scores", lambda d: d["scores"].argmax(-1) == d["ids"], None),
    (metrics.TopKCategoricalAccuracy, {"k": 2}, "hot", "scores", lambda d: among(d, 2), None),
    (metrics.SparseTopKCategoricalAccuracy, {"k": 3}, "ids", "scores", lambda d: among(d, 3), None),
    (metrics.BinaryCrossentropy, {}, "yes", "scores", binary_entropy, None),
    (metrics.CategoricalCrossentropy, {}, "hot", "scores", entropy, None),
    (metrics.SparseCategoricalCrossentropy, {}, "ids", "scores", entropy, None),
    (metrics.SparseCategoricalCrossentropy, {"from_logits": True}, "ids", "logits", logit_entropy, None),
    (metrics.Perplexity, {}, "ids", "scores", entropy, math.exp),
    (metrics.Perplexity, {"from_logits": True}, "ids", "logits", logit_entropy, math.exp),
    (metrics.MeanSquaredError, {}, "yes", "logits", lambda d: ((d["yes"] - d["logits"]) ** 2).mean(-1), None),
    (
        metrics.RootMeanSquaredError,
        {},
        "yes",
        "logits",
        lambda d: ((d["yes"] - d["logits"]) ** 2).mean(-1),
        math.sqrt,
    ),
    (metrics.MeanAbsoluteError, {}, "yes", "logits", lambda d: np.abs(d["yes"] - d["logits"]).mean(-1), None),
]


@pytest.mark.parametrize("weighting", ["plain", "weight", "samples", "mask", "tensor", "lengths", "both"])
@pytest.mark.parametrize(
    ("cls", "arguments", "target", "prediction", "single", "after"), CASES, ids=[c[0].__name__ for c in CASES]
)
def test_formula_over_batches(cls, arguments, target, prediction, single, after, weighting):
    metric, total, count = cls(**arguments), 0.0, 0.0
    metric.update_state(data(9)[target], data(9)[prediction])
    metric.reset_state()
    lengths = np.array([4, 0, 2])
    for seed in range(3):
        d = data(seed)
        y_pred, call, weight = d[prediction], {}, np.ones((B, T))
        if weighting in ("weight", "both"):
            call["sample_weight"] = weight = d["weight"]
        if weighting == "samples":
            call["sample_weight"], weight = d["weight"][:, 0], np.tile(d["weight"][:, :1], T)
        if weighting in ("mask", "both"):
            call["mask"], weight = d["mask"], weight * d["mask"]
        if weighting == "tensor":
            y_pred, weight = Tensor(y_pred), weight * d["mask"]
            y_pred.mask = d["mask"]
        if weighting == "lengths":
            y_pred, weight = Tensor(y_pred), weight * (np.arange(T) < lengths[:, None])
            y_pred.lengths = lengths
        metric.update_state(d[target], y_pred, **call)
        total, count = total + (single(d) * weight).sum(), count + weight.sum()
    expected = total / count
    assert metric.result() == pytest.approx(after(expected) if after else expected, rel=1e-10)
    assert isinstance(metric.result(), float)


def test_accuracy():
    metric = metrics.Accuracy()
    metric.update_state([[1], [2], [3], [4]], [[0], [2], [3], [4]])
    assert metric.result() == 0.75
    metric.reset_state()
    metric.update_state([[1], [2], [3], [4]], [[0], [2], [3], [4]], sample_weight=[1, 1, 0, 0])
    assert metric.result() == 0.5
    assert metrics.Accuracy()(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]])) == 0.75


def test_mean():
    metric = metrics.Mean()
    assert metric.result() == 0.0
    metric.update_state([1, 3, 5, 7])
    assert metric.result() == 4.0
    metric.reset_state()
    metric.update_state([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
    metric.update_state(10.0)
    assert metric.result() == pytest.approx(14 / 3)


def test_shapes_with_a_last_axis_of_one():
    assert metrics.SparseCategoricalAccuracy()([[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]]) == 0.5
    assert metrics.BinaryAccuracy()([1, 0, 1], [[0.9], [0.6], [0.8]]) == pytest.approx(2 / 3)
    assert metrics.BinaryAccuracy()([1, 0, 1], [0.9, 0.6, 0.8]) == pytest.approx(2 / 3)
    assert metrics.MeanSquaredError()([1, 0, 1], [[1.0], [3.0], [1.0]]) == 3.0
    assert metrics.MeanSquaredError()([1, 0, 1], [1.0, 3.0, 1.0], sample_weight=[1, 0, 1]) == 0.0


def test_fused_path_gives_the_same():
    d = data(1)
    accuracy, perplexity = metrics.SparseCategoricalAccuracy(), metrics.Perplexity()
    for weight in (None, d["weight"], d["mask"]):
        accuracy.reset_state()
        perplexity.reset_state()
        accuracy.update_values(d["scores"].argmax(-1) == d["ids"], weight)
        perplexity.update_values(entropy(d).astype(np.float32), weight)
        assert accuracy.result() == metrics.SparseCategoricalAccuracy()(d["ids"], d["scores"], weight)
        assert perplexity.result() == pytest.approx(metrics.Perplexity()(d["ids"], d["scores"], weight), rel=1e-6)


def test_perplexity_at_its_ends():
    metric = metrics.Perplexity(from_logits=True)
    assert math.isnan(metric.result())
    metric.update_state([0], [[-1e6, 0.0]])
    assert metric.result() == math.inf
    ignoring = metrics.Perplexity(ignore_class=0)
    ignoring.update_state([0, 1], [[0.1, 0.9], [0.75, 0.25]])
    assert ignoring.result() == pytest.approx(4.0)


def test_masked_steps_may_hold_anything():
    d = data(2)
    scores, ids = d["scores"].copy(), d["ids"].copy()
    scores[~d["mask"]], ids[~d["mask"]] = np.nan, 99
    for cls in (metrics.SparseCategoricalAccuracy, metrics.SparseCategoricalCrossentropy, metrics.Perplexity):
        assert cls()(ids, scores, mask=d["mask"]) == cls()(d["ids"], d["scores"], mask=d["mask"])
    single = metrics.SparseCategoricalCrossentropy(ignore_class=-1)(np.where(d["mask"], ids, -1), d["scores"])
    assert single == pytest.approx(metrics.SparseCategoricalCrossentropy()(d["ids"], d["scores"], mask=d["mask"]))


def test_no_tape_records_a_metric():
    x = Tensor(np.array([[0.5, 0.5]]))
    with GradientTape() as tape:
        tape.watch(x)
        metrics.Perplexity()([1], x)
        metrics.CategoricalCrossentropy()([[0.0, 1.0]], x)
    assert not tape.operations


def test_ties_and_bad_scores_in_the_top_k():
    assert metrics.SparseTopKCategoricalAccuracy(k=1)([1], [[0.5, 0.5]]) == 1.0
    assert metrics.SparseTopKCategoricalAccuracy(k=2)([0], [[np.nan, 0.5]]) == 0.0
    assert metrics.SparseTopKCategoricalAccuracy(k=2)([7], [[0.1, 0.5]]) == 0.0


@pytest.mark.parametrize(
    ("loss", "cls"),
    [
        (losses.BinaryCrossentropy(), metrics.BinaryAccuracy),
        (losses.CategoricalCrossentropy(), metrics.CategoricalAccuracy),
        (losses.SparseCategoricalCrossentropy(), metrics.SparseCategoricalAccuracy),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "acc"])
def test_accuracy_follows_the_loss(name, loss, cls):
    metric = metrics.get(name, loss)
    assert type(metric) is cls and metric.name == name


def test_accuracy_of_logits_and_by_shape():
    assert metrics.get("acc", losses.BinaryCrossentropy(from_logits=True)).threshold == 0.0
    d = data(3)
    by_shape = metrics.get("accuracy", losses.MeanSquaredError())
    assert by_shape(d["hot"], d["scores"]) == metrics.CategoricalAccuracy()(d["hot"], d["scores"])
    assert metrics.get("accuracy")(d["ids"], d["scores"]) == metrics.SparseCategoricalAccuracy()(d["ids"], d["scores"])
    assert metrics.get("accuracy")([1, 0], [[0.7], [0.8]]) == 0.5
    by_shape.reset_state()
    assert by_shape.result() == 0.0 and by_shape.name == "accuracy"


def test_names_functions_and_configurations():
    for name, cls in (
        ("mse", metrics.MeanSquaredError),
        ("mae", metrics.MeanAbsoluteError),
        ("binary_accuracy", metrics.BinaryAccuracy),
        ("perplexity", metrics.Perplexity),
        ("Perplexity", metrics.Perplexity),
        (metrics.Perplexity, metrics.Perplexity),
    ):
        assert type(metrics.get(name)) is cls
    assert metrics.get("mse").name == "mse"
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=3)
    assert metrics.get("perplexity", sparse).get_config()["from_logits"] is True
    assert metrics.get("perplexity", sparse).get_config()["ignore_class"] == 3
    own = metrics.get(lambda t, y: np.abs(t - y).max(axis=-1))
    own.update_state(np.zeros((2, 2)), [[1.0, 2.0], [3.0, 0.0]], sample_weight=[1, 3])
    assert own.result() == 2.75
    taped = metrics.get(losses.mean_squared_error)
    assert taped([[0.0, 1.0]], Tensor([[0.0, 3.0]])) == 2.0 and taped.name == "mean_squared_error"
    for metric in [cls(**arguments) for cls, arguments, *_ in CASES] + [metrics.Accuracy(), metrics.Mean(name="mine")]:
        again = metrics.get(json.loads(json.dumps(metrics.serialize(metric))))
        assert type(again) is type(metric) and again.get_config() == metric.get_config()
        assert metrics.get(metric) is metric


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        (lambda: metrics.get("auc2"), ValueError, "metric: .*'auc2'"),
        (lambda: metrics.get(3), TypeError, "metric: .*int"),
        (lambda: metrics.get({"class_name": "x"}), ValueError, "metric: "),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), ValueError, "k: .*0"),
        (lambda: metrics.SparseCategoricalAccuracy()([1], np.eye(2)), ValueError, r"y_true: .*\(2,\).*\(1,\)"),
        (lambda: metrics.CategoricalAccuracy()([1, 0], np.eye(2)), ValueError, "y_true: "),
        (lambda: metrics.MeanSquaredError()(np.eye(3), np.eye(2)), ValueError, "y_true: "),
        (lambda: metrics.Perplexity()([5, 0], np.eye(2)), ValueError, "y_true: .*got 5"),
        (lambda: metrics.Accuracy()(1, 1), ValueError, "y_pred: "),
        (lambda: metrics.MeanSquaredError()(np.eye(2), np.eye(2), [1, 2, 3]), ValueError, "sample_weight: "),
        (lambda: metrics.MeanSquaredError()(np.eye(2), np.eye(2), mask=[True] * 3), ValueError, "mask: "),
        (lambda: metrics.Metric().update_state(1, 1), TypeError, "update_state"),
    ],
)
def test_bad_input(run, kind, message):
    with pytest.raises(kind, match=message):
        run()


@pytest.mark.parametrize("name", ["AccuracyByShape", "_AccuracyByShape"])
def test_an_accuracy_without_a_loss_comes_back_from_files_of_any_version(name):
    made = metrics.deserialize({"class_name": name, "config": {"name": "acc"}})
    assert made.name == "acc" and made([[1], [0]], [[0.9], [0.2]]) == 1.0
    assert metrics.serialize(made) == metrics.serialize(metrics.get("acc"))
    with pytest.raises(ValueError, match="metric: expected one of"):
        metrics.get(name)


@pytest.mark.parametrize("make", [metrics.MeanSquaredError, metrics.RootMeanSquaredError, metrics.MeanAbsoluteError])
def test_dtype_of_a_metric(make):
    t, x = np.full((3, 1), 0.1), np.full((3, 1), 1 / 3)
    exact, rounded = make()(t, x), make(dtype="float32")(t, x)
    assert rounded == float(np.float32(rounded)) != exact
    assert make(dtype="float64")(t, x.astype("float32")) != make()(t, x.astype("float32"))
    assert rounded == pytest.approx(exact, rel=1e-6)
    again = metrics.deserialize(metrics.serialize(make(dtype="float32")))
    assert again.dtype == "float32"


def test_top_k_of_sorted_ids():
    top = metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)
    assert top([3, 0, 1], [[3, 1, 2], [1, 0, 2], [0, 2, 1]]) == pytest.approx(2 / 3)
    scores = np.random.default_rng(0).normal(size=(20, 5))
    ids = np.arange(20) % 5
    plain = metrics.SparseTopKCategoricalAccuracy(k=3)(ids, scores)
    assert metrics.SparseTopKCategoricalAccuracy(k=3, from_sorted_ids=True)(ids, np.argsort(-scores, -1)) == plain


@pytest.mark.parametrize(
    "target, output", [((6,), (6, 1)), ((6, 1), (6,)), ((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3))], ids=str
)
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_the_user_never_compare_a_table(target, output, weighted):
    """Functions and classes get targets and predictions of one rank, also where there is a mask."""
    import seqcore as sc

    rng = np.random.default_rng(5)
    y, p = rng.normal(size=target), rng.normal(size=output)

    class Absolute(metrics.Metric):
        total = count = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
            error = np.abs(np.asarray(y_true) - np.asarray(y_pred))
            assert error.size == np.size(y_true) == np.size(y_pred) and (sample_weight is not None) is weighted
            self.total, self.count = self.total + error.sum(), self.count + error.size

        def result(self):
            return self.total / self.count

        def reset_state(self):
            self.total = self.count = 0.0

    class Given(sc.Model):
        def call(self, inputs):
            return inputs

    model = Given()
    function = lambda t, q: np.abs(t - q)  # noqa: E731
    model.compile("sgd", "mse", **{"weighted_metrics" if weighted else "metrics": [function, Absolute(name="own")]})
    weight = rng.uniform(1, 2, target[0])
    given = {"sample_weight": weight} if weighted else {}
    _, by_function, by_class = model.evaluate(p, y, verbose=0, batch_size=2, **given)
    errors = np.abs(y.ravel() - p.ravel())
    each = np.repeat(weight, 6 // target[0]) if weighted else np.ones(6)
    assert by_function == pytest.approx(np.average(errors, weights=each), rel=1e-5)
    assert by_class == pytest.approx(errors.mean(), rel=1e-5)


def test_one_number_cannot_be_weighted():
    import seqcore as sc

    model = sc.Sequential([sc.layers.Input((2,)), sc.layers.Dense(1)])
    model.compile("sgd", "mse", weighted_metrics=[lambda t, p: np.abs(t - p).mean()])
    assert np.isfinite(model.evaluate(np.ones((4, 2)), np.ones(4), verbose=0)).all()
    with pytest.raises(ValueError, match="weighted_metrics: expected '<lambda>' to return a value to weight"):
        model.evaluate(np.ones((4, 2)), np.ones(4), sample_weight=np.ones(4), verbose=0)


def test_ignored_classes_and_types_are_those_of_the_loss():
    """On purpose not Keras's: its metric counts what is ignored as zeros, and its losses are float32."""
    y = np.array([-1, 1, 2])
    p = np.array([[0.1, 0.1, 0.8], [0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    right = (-np.log(0.95) - np.log(0.1)) / 2
    assert metrics.SparseCategoricalCrossentropy(ignore_class=-1)(y, p) == pytest.approx(right)
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)(y, p)
    assert float(loss) == pytest.approx(right, rel=1e-12) and loss.dtype == np.float64
    assert losses.MeanSquaredError()(np.ones((2, 1)), np.zeros((2, 1))).dtype == np.float64


class OwnError(metrics.Metric):
    """A mean absolute error, written as for Keras."""

    def __init__(self, name="own_error", **options):
        super().__init__(name=name, **options)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_weight(name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = np.abs(np.asarray(y_true) - np.asarray(y_pred))
        self.total.assign_add(errors.sum())
        self.count.assign_add(errors.size)

    def result(self):
        return self.total / self.count


def test_variables_of_a_metric(rng):
    """They begin anew with each epoch and validation, and copies go on from their values."""
    x, y = rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=(12, 1)).astype("float32")
    model = dense_model()
    model.compile("sgd", "mse", metrics=[OwnError(), "mae"])
    history = model.fit(x, y, epochs=3, batch_size=5, validation_split=0.25, verbose=0).history
    np.testing.assert_allclose(history["own_error"], history["mae"], rtol=1e-6)
    np.testing.assert_allclose(history["val_own_error"], history["val_mae"], rtol=1e-6)
    metric = OwnError(dtype="float64")
    metric.update_state([1.0, 2.0], [0.0, 0.0])
    state = metric.get_state()
    assert [variable.name for variable in metric.variables] == ["total", "count"]
    assert metric.total.dtype == "float64" and not metric.total.trainable
    metric.reset_state()
    assert [float(variable) for variable in metric.variables] == [0.0, 0.0]
    metric.set_state(state)
    assert float(metric.result()) == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": 3.5}, "shape: expected a tuple of sizes, got 3.5"),
        ({"shape": (2, None)}, "shape: expected sizes"),
        ({"initializer": "zero"}, "initializer: expected one of"),
        ({"dtype": "text"}, "dtype: expected"),
        ({"aggregation": "mean"}, "aggregation: expected 'sum'"),
    ],
)
def test_variables_that_are_refused(arguments, message):
    metric = OwnError()
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        metric.add_variable(**{"shape": (), "initializer": "zeros", **arguments})
    assert len(metric.variables) == 2
