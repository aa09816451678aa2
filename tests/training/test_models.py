"""Models: building, calling, summaries, what compile checks."""

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, losses, metrics, models, optimizers
from tests.helpers.small_models import dense_model, ids, language_model, logits_loss


class Regressor(models.Model):
    """A cell stepped by hand over time, then a Dense layer."""

    def __init__(self, units=3, dropout=0.0):
        super().__init__()
        self.cell = layers.LSTMCell(units, dropout=dropout)
        self.head = layers.Dense(1)

    def call(self, inputs, training=False):
        state = self.cell.get_initial_state(inputs.shape[0])
        for x in sc.ops.unstack(inputs, axis=1):
            out, state = self.cell(x, state, training=training)
        return self.head(out)


# ---------------------------------------------------------------- building and calling


def test_input_and_input_shape_build_at_once():
    for first in ([layers.Input((4, 3)), layers.LSTM(2)], [layers.LSTM(2, input_shape=(4, 3))]):
        model = models.Sequential(first)
        assert model.built and model.count_params() == 48
        model.add(layers.Dense(2))
        assert model.count_params() == 54


def test_deferred_build_and_explicit_build_agree(rng):
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    sc.set_seed(3)
    called = models.Sequential([layers.LSTM(4, return_sequences=True), layers.GRU(3), layers.Dense(2)])
    assert not called.built and called.weights == []
    y = called(x)
    sc.set_seed(3)
    built = models.Sequential([layers.LSTM(4, return_sequences=True), layers.GRU(3), layers.Dense(2)])
    built.build((None, None, 3))
    np.testing.assert_array_equal(built(x).numpy(), y.numpy())


def test_a_failing_first_call_leaves_the_model_unbuilt(rng):
    model = models.Sequential([layers.Dense(3), layers.LSTM(2)])
    with pytest.raises(ValueError, match="inputs"):
        model(np.zeros((2, 3), np.float32))
    assert not model.built and not model.layers[0].built
    assert model(np.zeros((2, 4, 7), np.float32)).shape == (2, 2)


def test_sequential_refuses(rng):
    with pytest.raises(TypeError, match="layer: expected a Layer, got int"):
        models.Sequential([3])
    with pytest.raises(ValueError, match="new name"):
        models.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="a")])
    with pytest.raises(ValueError, match="at the front"):
        models.Sequential([layers.Dense(2), layers.Input((3,))])
    with pytest.raises(ValueError, match="expected layers"):
        models.Sequential()(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="functional API"):
        models.Model(layers.Input((3,)), layers.Dense(2))


def test_get_layer_pop_and_layers():
    model = models.Sequential([layers.Input((3,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")])
    assert [layer.name for layer in model.layers] == ["one", "two"]
    assert model.get_layer("two") is model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match="name: expected one of one, two"):
        model.get_layer("three")
    assert model.pop().name == "two"
    assert model(np.zeros((1, 3))).shape == (1, 4)
    model.add(layers.Dense(5, name="three"))
    assert model(np.zeros((1, 3))).shape == (1, 5) and len(model.weights) == 4


def test_nested_sequential_and_summary(rng):
    inner = models.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(3)], name="inner")
    model = models.Sequential([layers.Input((5,)), inner, layers.Dense(2, name="out")], name="outer")
    assert model.count_params() == 5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2
    lines = []
    model.summary(print_fn=lines.append)
    assert lines[0] == "Model: outer" and any("inner (Sequential)" in line and "(None, 3)" in line for line in lines)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    np.testing.assert_array_equal(model(x).numpy(), model.layers[1](inner(x)).numpy())


def test_lengths_and_mask_through_a_stack(rng):
    model = language_model()
    x, lengths = ids(rng, 3, 6), np.array([6, 2, 4])
    y = model(x, lengths=lengths)
    assert y.lengths is not None and list(y.lengths) == [6, 2, 4]
    single = model(x[1:2, :2]).numpy()
    np.testing.assert_allclose(y.numpy()[1:2, :2], single, rtol=1e-12)
    with pytest.raises(ValueError, match="lengths: expected integers 0...6 of shape"):
        model(x, lengths=[1, 2, 7])
    masked = model(x, mask=np.arange(6) < lengths[:, None])
    np.testing.assert_allclose(masked.numpy()[1, :2], single[0], rtol=1e-12)


def test_subclass_with_a_cell_over_time_learns(rng):
    sc.set_seed(1)
    x = rng.normal(size=(64, 4, 2)).astype(np.float32)
    y = x.sum(axis=(1, 2), keepdims=True)[:, 0]
    model = Regressor(8)
    model.compile(optimizers.Adam(0.02), "mse")
    found = model.fit(x, y, batch_size=16, epochs=15, verbose=0).history["loss"]
    assert found[-1] < 0.5 * found[0]
    assert model.predict(x, verbose=0).shape == (64, 1)
    lines = []
    model.summary(print_fn=lines.append)
    assert any("cell" in line for line in lines)


def test_cells_share_their_dropout_mask_within_one_call():
    sc.set_seed(2)
    cell = layers.SimpleRNNCell(4, activation="linear", dropout=0.5, recurrent_initializer="zeros")

    class Twice(models.Model):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def call(self, inputs, training=False):
            return [self.cell(inputs, training=training)[0] for _ in range(2)]

    model, x = Twice(), np.ones((2, 50), np.float32)
    first, second = model(x, training=True)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert not np.array_equal(model(x, training=True)[0].numpy(), first.numpy())


def test_weights_made_late_are_trained_too(rng):
    class Late(models.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = layers.Dense(1), layers.Dense(1)

        def call(self, inputs, training=False):
            return self.one(inputs) + self.two(inputs) if training else self.one(inputs)

    model = Late()
    model.compile("sgd", "mse")
    x = rng.normal(size=(4, 3)).astype(np.float32)
    model(x)
    assert not model.two.built
    model.train_on_batch(x, x[:, :1])
    first = model.two.bias.numpy()
    assert first != 0
    model.train_on_batch(x, x[:, :1])
    assert model.two.bias.numpy() != first


def test_a_failing_first_call_of_a_subclass_keeps_what_was_there():
    class Own(models.Model):
        def __init__(self):
            super().__init__()
            self.scale = self.add_weight((1,), "ones", name="scale")
            self.head = layers.Dense(2)

        def call(self, inputs):
            y = self.head(inputs) * self.scale
            if y.shape[0] == 3:
                raise ValueError("three")
            return y

    model = Own()
    with pytest.raises(ValueError, match="three"):
        model(np.zeros((3, 2)))
    assert not model.built and not model.head.built
    assert model(np.zeros((2, 5))).shape == (2, 2)
    assert len(model.weights) == 3
    model.build((None, 5))


def test_model_without_call_and_with_a_wrong_output(rng):
    with pytest.raises(TypeError, match="must define call"):
        models.Model()(np.zeros((1, 2)))

    class Pair(models.Model):
        def call(self, inputs):
            return inputs, inputs

    model = Pair()
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="one Tensor"):
        model.train_on_batch(np.zeros((2, 2)), np.zeros((2, 2)))
    first, second = model.predict(np.ones((3, 2)), batch_size=2, verbose=0)
    assert first.shape == second.shape == (3, 2)


def test_several_inputs(rng):
    class Sum(models.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = layers.Dense(1), layers.Dense(1)

        def call(self, inputs):
            return self.one(inputs[0]) + self.two(inputs[1])

    a, b = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    model = Sum()
    model.compile(optimizers.SGD(0.1), "mse")
    found = model.fit([a, b], a[:, :1] + b[:, :1], epochs=20, batch_size=5, verbose=0).history["loss"]
    assert found[-1] < 0.3 * found[0]
    assert model.predict([a, b], verbose=0).shape == (10, 1)
    with pytest.raises(ValueError, match="same number of rows"):
        model.fit([a, b[:9]], a[:, :1], verbose=0)


# ---------------------------------------------------------------- compile


def test_compile_checks_before_it_changes():
    model = language_model()
    model.compile("adam", "mse", metrics=["mse"])
    before = model.optimizer, model.loss, model.metrics
    for arguments in (("nope", "mse"), ("sgd", "nope"), ("sgd", "mse", ["nope"]), ("sgd", "mse", {"a": "mse"})):
        with pytest.raises((ValueError, TypeError), match="optimizer|loss|metric"):
            model.compile(*arguments)
    assert (model.optimizer, model.loss, model.metrics) == before
    with pytest.raises(ValueError, match="from_logits=True"):
        model.compile("sgd", logits_loss(), metrics=[metrics.Perplexity()])


def test_use_before_compile(rng):
    model = language_model()
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(RuntimeError, match="compile"):
            call(ids(rng, 2, 3), ids(rng, 2, 3))
    model.compile("sgd")
    with pytest.raises(RuntimeError, match="compiled with a loss"):
        model.train_on_batch(ids(rng, 2, 3), ids(rng, 2, 3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"loss": []}, r"loss: expected a loss for at least one output, got \[\]"),
        ({"loss": {"out": None}}, "loss: expected a loss for at least one output, got {'out': None}"),
        ({"loss": {1: "mse"}}, "loss: expected names of outputs, got 1"),
        ({"loss": ["mse", "msee"]}, "loss: expected one of binary_crossentropy, .*, got 'msee'"),
        ({"loss": ["mse", losses.NCELoss(2)]}, "loss: expected losses of whole outputs, got NCELoss"),
        (
            {"loss": ["mse", "mse"], "loss_weights": 0.5},
            "loss_weights: expected a list, .*got float",
        ),
        ({"loss": ["mse", "mse"], "loss_weights": [0.5]}, "loss_weights: expected 2 entries, one per output, got 1"),
        ({"loss": ["mse", "mse"], "loss_weights": [1, None]}, "loss_weights: expected a number for each loss"),
        ({"loss": ["mse", "mse"], "loss_weights": [1, "a"]}, "loss_weights: expected a finite number, got 'a'"),
        ({"loss": ["mse", "mse"], "metrics": ["mae"]}, "metrics: expected 2 entries, one per output, got 1"),
        ({"loss": ["mse", "mse"], "metrics": {"a": "mae"}}, "metrics: expected a list, .*got dict"),
        ({"loss": {"a": "mse"}, "metrics": {"b": "mae"}}, "metrics: expected the outputs 'a', got 'b'"),
        ({"loss": {"a": "mse"}, "metrics": ["mae"]}, r"metrics: expected a dict by output \('a'\), .*got list"),
        (
            {"loss": {"a": "mse"}, "metrics": {"a": [["mae"]]}, "weighted_metrics": {"a": "f1"}},
            "metric: expected one of",
        ),
        ({"loss": "msee"}, "loss: expected one of binary_crossentropy, .*, got 'msee'"),
        ({"loss": 3}, "loss: expected a name, a Loss or a function, got int"),
        ({"loss": losses.SampledSoftmaxLoss}, "loss: expected an object, got the class SampledSoftmaxLoss, .*make it"),
        (
            {"metrics": {"out": ["acc"]}},
            "metrics: expected a list of metrics, got a dict; for a model with several outputs",
        ),
        ({"metrics": [["acc"], ["mae"]]}, "metrics: expected a list of metrics, got a list of lists"),
        ({"weighted_metrics": {"out": "acc"}}, "weighted_metrics: expected a list of metrics, got a dict"),
        ({"metrics": ["f1"]}, "metric: expected one of accuracy, .*, got 'f1'"),
        ({"metrics": [None]}, "metric: expected a name, a Metric or a function, got NoneType"),
        ({"metrics": ["mean"]}, "metrics: expected metrics of targets and predictions, got 'mean', which takes values"),
        ({"metrics": [metrics.Mean()]}, "metrics: expected metrics of targets and predictions, got 'mean'"),
        ({"optimizer": "adamm"}, "optimizer: expected one of adagrad, .*sgd, got 'adamm'"),
        ({"optimizer": 0.1}, "optimizer: expected a name or an Optimizer, got float"),
        ({"optimizer": None}, "optimizer: expected a name or an Optimizer, got NoneType"),
        ({"optimizer": optimizers.Optimizer}, "optimizer: expected a name or an Optimizer"),
        ({"loss_weights": [1.0]}, "loss_weights: expected None"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_compile_names_what_it_cannot_take(arguments, message):
    model = dense_model()
    before = model.optimizer, model.loss, model.metrics
    with pytest.raises((TypeError, ValueError), match=f"^{message}") as caught:
        model.compile(**arguments)
    assert "\n" not in str(caught.value) and (model.optimizer, model.loss, model.metrics) == before


def test_lists_of_one_loss_and_of_one_list_of_metrics():
    """As Keras programs write them for one output."""
    x, y = np.ones((4, 3)), np.ones(4)
    model = dense_model()
    expected = model.evaluate(x, y, verbose=0)
    model.compile(optimizers.Adam, ["mse"], metrics=[["mae"]])
    assert model.evaluate(x, y, verbose=0)[0] == expected and model.metrics_names == ["loss", "mae"]


@pytest.mark.parametrize(
    "call, loss, message",
    [
        (lambda self, x: None, "mse", "model: expected call to return one Tensor to compare with y, got NoneType"),
        (lambda self, x: np.asarray(x), "mse", "model: expected call to return one Tensor .*, got ndarray"),
        (lambda self, x: [x, x], "mse", "model: expected call to return one Tensor .*, got list"),
        (None, lambda t, p: 1.0, "<lambda>: expected call to return a Tensor, got float; functions of seqcore.ops"),
        (None, lambda t, p: np.mean(np.asarray(p)), "<lambda>: expected call to return a Tensor, got float"),
        (None, lambda t, p: sc.Tensor(1.0), "loss: expected a loss that depends on the weights"),
        (
            None,
            lambda t, p: sc.reduce_mean(sc.Tensor(np.asarray(p))),
            "loss: expected a loss that depends on the weights",
        ),
    ],
)
def test_what_cannot_be_trained_is_named(call, loss, message):
    """A loss that left the tape would train nothing without a word."""
    model = dense_model() if call is None else type("Own", (models.Model,), {"call": call})()
    model.compile("sgd", loss)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    if call is not None and message.endswith("NoneType"):
        with pytest.raises(TypeError, match="model: expected call to return a Tensor, .*, got None"):
            model.predict(np.ones((4, 3)), verbose=0)
