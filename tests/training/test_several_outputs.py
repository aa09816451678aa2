"""Models with several inputs and outputs: data, losses, weights, metrics and names by output."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, models, optimizers

N = 10


@models.register("tests.outputs/Two")
class Two(models.Model):
    """Two inputs, "text" (ids) and "size", and two outputs, "kind" (classes, one per step) and "price"."""

    def __init__(self, inputs="list", outputs="list", dropout=0.0):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.embed = layers.Embedding(9, 3, mask_zero=True)
        self.cell = layers.LSTM(4, return_sequences=True, dropout=dropout)
        self.kind, self.price = layers.Dense(3, "softmax"), layers.Dense(1)

    def call(self, inputs, training=False):
        text, size = (inputs["text"], inputs["size"]) if self.inputs == "dict" else inputs
        hidden = self.cell(self.embed(text), training=training)
        kind = self.kind(hidden)
        price = self.price(sc.ops.concat([sc.ops.reduce_sum(hidden, axis=1), size], axis=-1))
        return {"kind": kind, "price": price} if self.outputs == "dict" else [kind, price]


def rows(rng, inputs="list", outputs="list"):
    text = rng.integers(1, 9, (N, 5))
    text[:, 3:] *= rng.integers(0, 2, (N, 1))
    parts = {"text": text, "size": rng.normal(size=(N, 2)).astype(np.float32)}
    targets = {"kind": rng.integers(0, 3, (N, 5)), "price": rng.normal(size=(N, 1)).astype(np.float32)}
    form = {"dict": dict, "list": lambda d: list(d.values()), "tuple": lambda d: tuple(d.values())}
    return form[inputs](parts), form[outputs](targets)


LOSSES = {"kind": "sparse_categorical_crossentropy", "price": "mse"}


def compiled(inputs="list", outputs="list", weights=None, optimizer="sgd", **metrics):
    sc.set_seed(5)
    model = Two("dict" if inputs == "dict" else "list", "dict" if outputs == "dict" else "list")
    start = {"text": np.ones((1, 5), np.int32), "size": np.ones((1, 2))}
    model(start if inputs == "dict" else list(start.values()))
    by_name = outputs == "dict"
    loss = LOSSES if by_name else list(LOSSES.values())
    values = {name: value if by_name or value is None else list(value.values()) for name, value in metrics.items()}
    if weights is not None:
        weights = weights if by_name else list(weights.values())
    model.compile(optimizer, loss, weights, **values)
    return model


FORMS = ("list", "tuple", "dict")


@pytest.mark.parametrize("outputs", FORMS)
@pytest.mark.parametrize("inputs", FORMS)
def test_every_form_of_data_trains_with_the_same_bits(rng, inputs, outputs):
    numbers = rng.bit_generator.state
    results = []
    for forms in (("list", "list"), (inputs, outputs)):
        rng.bit_generator.state = numbers
        x, y = rows(rng, *forms)
        model = compiled(*forms, optimizer="adam", metrics={"kind": ["accuracy"], "price": None})
        history = model.fit(x, y, 4, 2, verbose=0, validation_data=(x, y)).history
        predicted = model.predict(x, 3, verbose=0)
        assert isinstance(predicted, dict if forms[1] == "dict" else list)
        batches = [(x, y)] * 2
        losses = model.evaluate(batches, verbose=0), model.evaluate(x, y, 4, verbose=0), model.train_on_batch(x, y)
        values = predicted.values() if forms[1] == "dict" else predicted
        results.append(([*history.values()], [value.tolist() for value in values], losses, model.get_weights()))
    first, second = results
    assert first[:2] == second[:2]
    np.testing.assert_array_equal(first[2][0], second[2][0])
    np.testing.assert_array_equal(first[2][1:], second[2][1:])
    for a, b in zip(first[3], second[3], strict=True):
        np.testing.assert_array_equal(a, b)


def reference(model, x, y, weight=None):
    """Loss of each output by its formula, masked steps left out."""
    kind, price = (np.asarray(part, np.float64) for part in model.predict(x, verbose=0).values())
    mask = x["text"] != 0
    steps = -np.log(np.take_along_axis(kind, y["kind"][..., None], -1))[..., 0]
    errors = ((price - y["price"]) ** 2).mean(-1)
    if weight is not None:
        steps, errors = steps * weight["kind"][:, None], errors * weight["price"]
    return steps[mask].sum() / mask.sum(), errors.mean()


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_and_their_weighted_sum(rng, weighted):
    x, y = rows(rng, "dict", "dict")
    model = compiled("dict", "dict", {"kind": 0.25, "price": 2.0})
    weight = {name: rng.uniform(0.5, 2, N) for name in y} if weighted else None
    logs = model.evaluate(x, y, 4, sample_weight=weight, verbose=0, return_dict=True)
    kind, price = reference(model, x, y, weight)
    assert list(logs) == ["loss", "kind_loss", "price_loss"]
    np.testing.assert_allclose(list(logs.values()), [0.25 * kind + 2 * price, kind, price], rtol=1e-5)
    # However the rows are cut, masks included.
    np.testing.assert_allclose(
        list(logs.values()), list(model.evaluate(x, y, 3, sample_weight=weight, verbose=0)), rtol=1e-5
    )


def test_the_gradient_is_that_of_the_weighted_sum(rng):
    x, y = rows(rng, "dict", "dict")
    model, other = (compiled("dict", "dict", {"kind": 0.25, "price": 2.0}, optimizers.SGD(0.5)) for _ in range(2))
    model.train_on_batch(x, y)
    with sc.GradientTape() as tape:
        outputs = other({name: sc.Tensor(part) for name, part in x.items()}, training=True)
        kind = sc.losses.SparseCategoricalCrossentropy()(y["kind"], outputs["kind"])
        total = 0.25 * kind + 2.0 * sc.losses.MeanSquaredError()(y["price"], outputs["price"])
    other.optimizer.apply_gradients(zip(tape.gradient(total, other.trainable_weights), other.trainable_weights))
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_one_array_of_sample_weights_is_for_all_outputs(rng):
    x, y = rows(rng, "dict", "dict")
    model, weight = compiled("dict", "dict"), rng.uniform(size=N)
    every = model.evaluate(x, y, sample_weight=dict.fromkeys(y, weight), verbose=0)
    assert model.evaluate(x, y, sample_weight=weight, verbose=0) == every
    alone = model.evaluate(x, y, sample_weight={"price": weight, "kind": None}, verbose=0)
    assert alone[1] != every[1] and alone[2] == every[2]


def test_names_of_the_logs(rng):
    x, y = rows(rng, "list", "dict")
    metrics = {"kind": ["accuracy"], "price": ["mae", "mse"]}
    model = compiled("list", "dict", metrics=metrics, weighted_metrics={"kind": "acc", "price": ["mae"]})
    names = ["loss", "kind_loss", "price_loss", "kind_accuracy", "kind_acc", "price_mae", "price_mse"]
    history = model.fit(x, y, verbose=0, validation_split=0.3).history
    assert model.metrics_names == [*names, "price_weighted_mae"]
    assert list(history) == [*model.metrics_names, *(f"val_{name}" for name in model.metrics_names)]
    assert [metric.name for metric in model.metrics[:3]] == names[:3]
    # A list has no names of outputs: those of the losses and metrics, as in Keras.
    x, y = rows(rng)
    model = compiled(metrics={"kind": ["accuracy"], "price": ["mae"]})
    assert model.metrics_names == ["loss", "sparse_categorical_crossentropy_loss", "mse_loss", "accuracy", "mae"]
    model.compile("sgd", [sc.losses.MeanSquaredError(), "mean_squared_error"], metrics=["mae", "mae"])
    assert model.metrics_names == ["loss", "mean_squared_error_loss", "mean_squared_error_loss_1", "mae", "mae_1"]


def test_an_output_without_a_loss(rng):
    x, y = rows(rng, "list", "list")
    model = compiled()
    model.compile("sgd", ["sparse_categorical_crossentropy", None], metrics=[None, "mae"])
    before = model.price.get_weights()
    history = model.fit(x, y, verbose=0).history
    assert list(history) == ["loss", "mae"]
    for a, b in zip(before, model.price.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.compile("sgd", ["sparse_categorical_crossentropy", None])
    assert model.evaluate(x, y[:1], verbose=0) == model.evaluate(x, y, verbose=0)  # targets of the trained one only
    model.compile("sgd", ["sparse_categorical_crossentropy", None], metrics=[None, "mae"])
    before = model.get_weights()
    with pytest.raises(ValueError, match="y: expected targets for the output 1, which has metrics, got none"):
        model.fit(x, [y[0], None], verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_keeps_the_sums_of_a_single_loss(rng):
    """Of the one output that has a loss, whose mean has no name of its own in the logs."""
    x, y = rows(rng)
    model = compiled()
    model.compile("sgd", ["sparse_categorical_crossentropy", None])
    model.evaluate(x, y, verbose=0)
    loss = model.get_metrics_result()["loss"]
    twin = copy.deepcopy(model)
    assert twin.get_metrics_result() == {"loss": loss} and loss > 0 and twin.metrics_names == ["loss"]


def test_files_and_pickles_keep_how_it_was_compiled(rng, tmp_path):
    x, y = rows(rng, "dict", "dict")
    model = compiled("dict", "dict", {"kind": 0.5, "price": 3.0}, metrics={"kind": "accuracy"})
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.safetensors")
    for twin in (sc.load_model(tmp_path / "model.safetensors"), copy.deepcopy(model)):
        assert twin.metrics_names == model.metrics_names
        assert twin.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    model.save_checkpoint(tmp_path / "checkpoint.safetensors")
    twin = compiled("dict", "dict", {"kind": 0.5, "price": 3.0}, metrics={"kind": "accuracy"})
    twin.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert twin.train_on_batch(x, y) == model.train_on_batch(x, y)


def test_custom_steps_see_the_same_forms(rng):
    class Own(Two):
        def train_step(self, data):
            x, y, weight = data
            assert list(x) == ["text", "size"] and list(y) == list(weight) == ["kind", "price"]
            return super().train_step(data)

    x, y = rows(rng, "dict", "dict")
    sc.set_seed(5)
    own = Own("dict", "dict")
    own({name: part[:1] for name, part in x.items()})
    own.compile("sgd", LOSSES)
    model = compiled("dict", "dict")
    weight = dict.fromkeys(y, np.ones(N))
    assert own.fit(x, y, sample_weight=weight, verbose=0, shuffle=False).history == (
        model.fit(x, y, sample_weight=weight, verbose=0, shuffle=False).history
    )

    class Sum(Two):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return sc.reduce_sum(y_pred[1]) - float(np.sum(y[1]))

    x, y = rows(rng)
    summed = Sum()
    summed.compile("sgd")
    assert list(summed.fit(x, y, verbose=0).history) == ["loss"]


def test_class_weight_is_refused(rng):
    x, y = rows(rng)
    with pytest.raises(ValueError, match="class_weight: expected None for a model with several outputs; pass sample_w"):
        compiled().fit(x, y, class_weight={0: 1.0}, verbose=0)


def test_several_processes_are_refused(rng):
    x, y = rows(rng)
    names = ("Allgather", "Allgatherv", "Alltoallv", "allgather", "bcast", "Abort")
    comm = SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: 2, **dict.fromkeys(names, lambda *_: None))
    with pytest.raises(ValueError, match="distribute: expected a model with one loss, got a loss for each of several"):
        compiled().fit(x, y, verbose=0, distribute=comm)


@pytest.mark.parametrize(
    ("outputs", "change", "message"),
    [
        ("list", lambda y: y[:1], "y: expected 2 entries, one per output, got 1"),
        ("list", lambda y: dict(zip("ab", y)), "y: expected a list, one entry per output.*got dict"),
        ("list", lambda y: y[1], "y: expected a list, one entry per output.*got ndarray"),
        ("list", lambda y: [y[0], y[1][:3]], r"y: expected 10 rows as in x, got shape \(3, 1\)"),
        ("list", lambda y: [y[0], None], "y: expected targets for the output 1, which has a loss, got none"),
        (
            "dict",
            lambda y: {"kind": y["kind"]},
            "y: expected targets for the output 'price', which has a loss, got none",
        ),
        ("dict", lambda y: {**y, "other": y["kind"]}, "y: expected the outputs 'kind', 'price', got 'other'"),
        ("dict", lambda y: list(y.values()), r"y: expected a dict by output \('kind', 'price'\), .*got list"),
        ("dict", lambda y: {**y, "price": "a"}, "y: expected numbers"),
    ],
)
def test_targets_that_do_not_fit_are_named(rng, outputs, change, message):
    x, y = rows(rng, "list", outputs)
    model = compiled("list", outputs)
    model.evaluate(x, y, verbose=0)
    before = model.get_weights()
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises((TypeError, ValueError), match=message) as refused:
            call(x, change(y))
        assert "\n" not in str(refused.value)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "mse",
            "y: expected (10 rows as in x, got a list of 2|an array, got a dict); a model with one loss",
        ),
        (["mse"] * 3, "y: expected 3 entries|y: expected a list, one entry per output, .*got dict"),
        ({"a": "mse", "b": "mse"}, "model: expected call to return a dict, .*got a list of 2|y: expected a dict"),
    ],
)
def test_a_loss_that_does_not_fit_the_outputs(rng, loss, message):
    x, y = rows(rng)
    model = compiled()
    model.compile("sgd", loss)
    for target in (y, dict(zip("ab", y))):
        with pytest.raises((TypeError, ValueError), match=message):
            model.fit(x, target, verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="expected call to return one Tensor .*pass a loss for each, loss="):
        model.fit(x, y[1], verbose=0)
