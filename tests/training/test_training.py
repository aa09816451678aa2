"""Training: the fused path, flat parameters, fit, evaluate and predict, interrupts, odd data."""

import functools
import os
import signal
import threading
import warnings

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, losses, metrics, models, optimizers
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor
from seqcore.optimizers.flat_parameters import FlatParameters
from tests.helpers.fused import fused_head_of
from tests.helpers.small_models import V, dense_model, ids, language_model, logits_loss

# ---------------------------------------------------------------- the fused path


def step_of(model, x, y, fused, weight=None, lengths=None):
    """Loss, metrics and gradients of one batch by one of the two ways; the weights come back afterwards."""
    if not fused:
        # An override is always called.
        model.compute_loss = functools.partial(models.Sequential.compute_loss, model)
    assert (fused_head_of(model) is not None) is fused
    before = model.get_weights()
    logs = model.train_on_batch(x, y, weight, return_dict=True, lengths=lengths)
    gradients = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    model.set_weights(before)
    return logs["loss"], logs, gradients


@pytest.mark.parametrize("reduction", ["mean", "sum", "batch_mean"])
@pytest.mark.parametrize(
    "case", ["plain", "softmax", "activation", "lengths", "mask", "weights", "ignored", "ignored outside", "nested"]
)
def test_fused_equals_eager(rng, reduction, case):
    model = language_model(mask_zero=case == "mask")
    probabilities = case in ("softmax", "activation")
    if probabilities:
        model.pop()
        model.add(layers.Dense(V, dtype="float64", activation="softmax" if case == "softmax" else None))
    if case == "activation":
        model.add(layers.Activation("softmax", dtype="float64"))
    if case == "nested":
        last = model.pop()
        model.add(models.Sequential([last]))
    x, y = ids(rng, 4, 6), ids(rng, 4, 6)
    model(x)
    ignore = {"ignored": 3, "ignored outside": -1}.get(case)
    if case == "ignored outside":
        y[0, 1:3] = y[2, 0] = -1
    model.compile(
        optimizers.SGD(1.0),
        losses.SparseCategoricalCrossentropy(from_logits=not probabilities, reduction=reduction, ignore_class=ignore),
        metrics=["perplexity"] * (case != "weights") + ["accuracy"],
        weighted_metrics=[metrics.SparseCategoricalAccuracy("weighted")] + ["perplexity"] * case.startswith("ignored"),
    )
    given = {}
    if case == "lengths":
        given["lengths"] = np.array([6, 0, 3, 5], np.int32)
        y[1] = -1
    if case == "weights":
        given["weight"] = rng.uniform(0, 2, (4, 6))
    fused, eager = (step_of(model, x, y, way, **given) for way in (True, False))
    np.testing.assert_allclose(fused[0], eager[0], rtol=1e-10)
    assert fused[1].keys() == eager[1].keys()
    for name in fused[1]:
        np.testing.assert_allclose(fused[1][name], eager[1][name], rtol=1e-6 if probabilities else 1e-10, err_msg=name)
    for one, other in zip(fused[2], eager[2]):
        np.testing.assert_allclose(one, other, rtol=1e-6 if probabilities else 1e-9, atol=1e-12)


def test_when_the_fused_path_is_taken():
    def head(model, loss, wanted=()):
        model.compile("sgd", loss, metrics=list(wanted))
        return fused_head_of(model)

    model = language_model()
    assert head(model, logits_loss()) is not None
    assert head(model, logits_loss(), ["accuracy"]) is not None
    assert head(model, losses.SparseCategoricalCrossentropy()) is None
    assert head(model, logits_loss(reduction="none")) is None
    assert head(model, logits_loss(), [metrics.SparseTopKCategoricalAccuracy()]) is None
    assert head(model, logits_loss(axis=1)) is None
    assert head(model, logits_loss(ignore_class=0), ["perplexity"]) is not None
    assert head(model, logits_loss(ignore_class=0), ["accuracy"]) is not None

    class Own(models.Sequential):
        def call(self, inputs, training=None, mask=None, lengths=None):
            return 2 * super().call(inputs, training, mask, lengths)

    assert head(Own([layers.Dense(2), layers.Dense(2)]), logits_loss()) is None
    assert (
        head(models.Sequential([layers.Dense(3, activation="tanh"), layers.Dense(3, activation="relu")]), logits_loss())
        is None
    )


def test_wrong_targets_are_named_on_the_fused_path(rng):
    model = language_model()
    model.compile("sgd", logits_loss())
    x = ids(rng, 2, 4)
    for y in (np.full((2, 4), V), np.full((2, 4), -1), np.zeros((2, 3), int), np.full((2, 4), np.nan)):
        with pytest.raises(ValueError, match="y_true|targets"):
            model.train_on_batch(x, y)
    model.train_on_batch(x, ids(rng, 2, 4)[..., None])
    model.train_on_batch(x, ids(rng, 2, 4).astype(np.float32))


# ---------------------------------------------------------------- flat parameters


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(0.1, momentum=0.9),
        lambda: optimizers.Adam(0.01),
        lambda: optimizers.RMSprop(0.01, clipvalue=0.02),
        lambda: optimizers.Adagrad(0.1),
    ],
)
def test_flat_parameters_equal_plain_updates_bitwise(rng, make):
    data = [(ids(rng, 3, 5), ids(rng, 3, 5)) for _ in range(4)]
    results = []
    for flat in (True, False):
        sc.set_seed(5)
        model = language_model(dtype="float32")
        model.compile(make(), logits_loss())
        model(data[0][0])
        for x, y in data:
            if flat:
                model.train_on_batch(x, y)
                continue
            with GradientTape() as tape:
                hidden = x
                for layer in model.layers[:-1]:
                    hidden = layer(hidden, training=True)
                dense = model.layers[-1]
                loss = sc.ops.linear_softmax_cross_entropy(hidden, dense.kernel, dense.bias, y)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        results.append(model.get_weights())
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_flat_parameters_layout_and_views(rng):
    model = language_model(dtype="float32")
    model.compile("sgd", logits_loss())
    model(ids(rng, 2, 3))
    before = model.get_weights()
    flat = model.flat_parameters
    for one, other in zip(model.get_weights(), before):
        np.testing.assert_array_equal(one, other)
    assert len(flat.parameters) == 1 and flat.parameters[0].shape == flat.gradients[0].shape
    table = model.layers[0].embeddings
    for variable, buffer in zip(flat.variables, flat.buffers, strict=True):
        assert (buffer is None) is (variable is table)
        if buffer is not None:
            array = np.asarray(variable)
            assert np.shares_memory(array, flat.parameters[0]) and array.ctypes.data % 64 == 0
            assert np.shares_memory(buffer, flat.gradients[0]) and buffer.ctypes.data % 64 == 0
    model.train_on_batch(ids(rng, 2, 3), ids(rng, 2, 3))
    assert model.flat_parameters is flat and model.arena is flat  # its name in version 0.1


def test_frozen_layers_added_layers_and_shared_layers(rng):
    sc.set_seed(0)
    x, y = ids(rng, 4, 3), ids(rng, 4, 3)
    model = language_model(dtype="float32")
    model.compile(optimizers.Adam(0.01), logits_loss())
    model.train_on_batch(x, y)
    lstm = model.layers[1]
    lstm.trainable = False
    kernel, table = lstm.kernel.numpy(), model.layers[0].embeddings.numpy()
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(lstm.kernel.numpy(), kernel)
    assert not np.array_equal(model.layers[0].embeddings.numpy(), table)
    assert all(v is not lstm.kernel for v in model.flat_parameters.variables)
    lstm.trainable = True
    model.train_on_batch(x, y)
    assert not np.array_equal(lstm.kernel.numpy(), kernel)
    other = models.Sequential([*model.layers[:3], layers.LSTM(3, return_sequences=True), layers.Dense(V)])
    other(x)
    other.compile(optimizers.Adam(0.01), logits_loss())
    for _ in range(2):
        for one in (other, model):
            before = [layer.kernel.numpy() for layer in (lstm, one.layers[-1])]
            one.train_on_batch(x, y)
            after = [layer.kernel.numpy() for layer in (lstm, one.layers[-1])]
            assert not any(np.array_equal(a, b) for a, b in zip(before, after))
    inner = models.Sequential([layers.Dense(V)], name="inner")
    model.add(inner)
    model.train_on_batch(x, y)
    inner.add(layers.Dense(V, name="more"))
    count = len(model.weights)
    model.train_on_batch(x, y)
    assert len(model.trainable_variables) == len(model.weights) == count
    assert any(v is inner.layers[-1].kernel for v in model.flat_parameters.variables)


class Scale(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale


def test_what_changes_after_compile_is_trained_at_the_next_step(rng):
    """Weights frozen or thawed one by one, added to a layer, and attributes of a model that are replaced."""
    x, y = regression(rng)

    class Nested(models.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.head = models.Sequential([layers.Dense(3), Scale()]), layers.Dense(1)
            self.parts = []

        def call(self, inputs):
            inputs = self.inner(inputs)
            for part in self.parts:
                inputs = part(inputs)
            return self.head(inputs)

    model = Nested()
    model.compile("sgd", "mse")
    model.train_on_batch(x, y)
    flat = model.flat_parameters

    def trained():
        before = {id(v): v.numpy() for v in model.weights}
        model.train_on_batch(x, y)
        return [v for v in model.weights if not np.array_equal(v.numpy(), before.get(id(v)))]

    assert len(trained()) == 5 and model.flat_parameters is flat
    kernel, scale = model.inner.layers[0].kernel, model.inner.layers[1].scale
    kernel.trainable = False
    assert all(v is not kernel for v in trained()) and model.flat_parameters is not flat
    kernel.trainable = True
    assert any(v is kernel for v in trained())
    model.inner.layers[1].shift = model.inner.layers[1].add_weight(shape=(1,), initializer="zeros", name="shift")
    assert len(model.flat_parameters.variables) == 6 and len(trained()) == 5
    old, model.head = model.head, layers.Dense(1)
    assert len(trained()) == 5 and any(v is model.head.kernel for v in model.flat_parameters.variables)
    assert all(v is not old.kernel for v in model.flat_parameters.variables)
    model.inner.add(layers.Dense(3, name="more"))
    assert len(trained()) == 7
    model.parts.append(layers.Dense(3, name="part"))
    model.fit(x, y, verbose=0)
    assert len(model.flat_parameters.variables) == 10 and any(v is scale for v in trained())


def test_a_variable_of_two_models_is_trained_by_both(rng):
    x, y = regression(rng)
    shared = layers.Dense(3, name="shared")
    first, second = (models.Sequential([layers.Input((3,)), shared, layers.Dense(1)]) for _ in range(2))
    for model in (first, second):
        model.compile("sgd", "mse")
    for _ in range(2):
        for model in (first, second, second):
            before = shared.kernel.numpy()
            model.train_on_batch(x, y)
            assert not np.array_equal(shared.kernel.numpy(), before)
            assert np.shares_memory(np.asarray(shared.kernel), model.flat_parameters.parameters[0])
    shared.trainable = False
    for model in (first, second):
        before = shared.kernel.numpy()
        model.train_on_batch(x, y)
        assert np.array_equal(shared.kernel.numpy(), before) and len(model.flat_parameters.variables) == 2


def test_two_threads_train_two_models(rng):
    x, y = regression(rng)
    weights = [rng.normal(size=shape) for shape in ((3, 3), (3,), (3, 1), (1,))]
    trained = []

    def work():
        model = models.Sequential([layers.Input((3,)), layers.Dense(3), layers.Dense(1)])
        model.set_weights(weights)
        model.compile(optimizers.Adam(0.01), "mse")
        for _ in range(20):
            model.train_on_batch(x, y)
        trained.append(model.get_weights())

    work()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 3
    for other in trained[1:]:
        for one, two in zip(trained[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_optimizer_slots_follow_into_new_flat_parameters(rng):
    """Adam must continue with its means after an interlude that lays the flat parameters out again."""
    x, y = ids(rng, 4, 3), ids(rng, 4, 3)
    results = []
    for interlude in (False, True):
        sc.set_seed(4)
        model = language_model(dtype="float32")
        model.compile(optimizers.Adam(0.01), logits_loss())
        for number in range(4):
            model.train_on_batch(x, y)
            if interlude and number == 1:
                FlatParameters(model.trainable_variables[2:4])
        results.append(model.get_weights())
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_layers_of_two_types_in_one_model(rng):
    model = models.Sequential([layers.Dense(4, dtype="float64"), layers.Dense(1, dtype="float32")])
    model.compile(optimizers.SGD(0.1), "mse")
    x = rng.normal(size=(16, 3))
    found = model.fit(x, x[:, :1], epochs=20, verbose=0).history["loss"]
    assert len(model.flat_parameters.parameters) == 2 and found[-1] < found[0]


# ---------------------------------------------------------------- fit, evaluate, predict


def regression(rng, rows=40):
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return x, x @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def test_fit_is_seeded_and_shuffles(rng):
    x, y = regression(rng)
    runs = []
    for shuffle in (True, True, False):
        sc.set_seed(9)
        model = dense_model()
        model.fit(x, y, epochs=2, batch_size=7, verbose=0, shuffle=shuffle)
        runs.append(model.get_weights()[0])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_history_validation_and_evaluate_agree(rng):
    x, y = regression(rng)
    model = dense_model(metrics=["mae"])
    history = model.fit(x, y, epochs=2, validation_split=0.25, batch_size=8, verbose=0)
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"} and history.epoch == [0, 1]
    assert model.history is history
    loss, mae = model.evaluate(x[30:], y[30:], verbose=0)
    np.testing.assert_allclose(
        [loss, mae], [history.history["val_loss"][-1], history.history["val_mae"][-1]], rtol=1e-6
    )
    by_name = model.evaluate(x[30:], y[30:], verbose=0, return_dict=True)
    assert by_name["loss"] == loss and list(by_name) == model.metrics_names
    np.testing.assert_allclose(model.predict(x, batch_size=7, verbose=0), model(x).numpy(), rtol=1e-6)
    again = model.fit(x, y, epochs=3, initial_epoch=2, validation_data=(x[30:], y[30:]), verbose=0)
    assert again.epoch == [2]


def test_validation_sees_each_second_epoch(rng):
    x, y = regression(rng)
    history = dense_model().fit(x, y, epochs=4, validation_split=0.5, validation_freq=2, verbose=0).history
    assert len(history["loss"]) == 4 and len(history["val_loss"]) == 2


@models.register("tests/FixedBatch")
class FixedBatch(models.Model):
    """The books' way of cells: the first states are made once, for one batch size."""

    def __init__(self, batch=8, units=3):
        super().__init__()
        self.state = [np.zeros((batch, units), np.float32)]
        self.embedding = layers.Embedding(V, 4, input_length=5)
        self.cell = layers.SimpleRNNCell(units, dropout=0.5)
        self.head = models.Sequential([layers.Dense(4), layers.Dropout(rate=0.5), layers.ReLU(), layers.Dense(1)])

    def call(self, inputs, training=None):
        state = self.state
        for x in sc.unstack(self.embedding(inputs), axis=1):
            out, state = self.cell(x, state, training)
        return sc.sigmoid(self.head(out, training))


def test_states_of_a_fixed_batch_size(rng, tmp_path):
    """Such a model is built by its first batch, trained on a list of batches, saved and loaded."""
    x, y = ids(rng, 32, 5), rng.integers(0, 2, 32)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
    model = FixedBatch()
    model.compile(optimizers.Adam(0.01), losses.BinaryCrossentropy(), metrics=["accuracy"])
    history = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    assert history["val_loss"][1] == pytest.approx(model.evaluate(x, y, batch_size=8, verbose=0)[0], rel=1e-6)
    model.save(tmp_path / "model.safetensors")
    again = models.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x[:8], verbose=0), model.predict(x[:8], verbose=0))
    with pytest.raises(ValueError, match=r"states: expected states of shape \(5, 3\)"):
        model.predict(x[:5], verbose=0)


def test_fit_with_generators_and_iterables(rng):
    x, y = regression(rng)
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 40, 10)]
    sc.set_seed(1)
    whole = dense_model()
    whole.fit(x, y, batch_size=10, epochs=3, shuffle=False, verbose=0)

    def endless():
        while True:
            yield from batches

    for data, count in ((batches_of(batches), None), (endless(), 4), (batches_of(batches), 4), (batches, None)):
        sc.set_seed(1)
        model = dense_model()
        model.fit(data, epochs=3, steps_per_epoch=count, verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0], whole.get_weights()[0])
    np.testing.assert_allclose(
        model.evaluate(batches_of(batches), verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6
    )
    assert model.predict((one for one, _ in batches), verbose=0).shape == (40, 1)
    with pytest.raises(ValueError, match="walked once"):
        model.fit(iter(batches), epochs=2, verbose=0)
    with pytest.warns(UserWarning, match="expected 3 batches per epoch, got 1"):
        history = model.fit(iter(batches), epochs=5, steps_per_epoch=3, verbose=0)
    assert history.epoch == [0, 1]
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit(batches_of([]), verbose=0)


class batches_of:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_bad_data_is_named(rng):
    x, y = regression(rng)
    model = dense_model()
    for arguments, message in [
        (((x, y[:39]), {}), "y: expected 40 rows"),
        (((x, y), {"sample_weight": np.ones(3)}), "sample_weight: expected 40 rows"),
        (((x[:0], y[:0]), {}), "x: expected at least one row"),
        (((x, y), {"batch_size": 0}), "batch_size: expected an integer >= 1, got 0"),
        (((x, y), {"epochs": -1}), "epochs: expected an integer >= 0"),
        (((x, y), {"validation_split": 1.5}), "validation_split"),
        (((x, y), {"validation_data": (x, y[:3])}), "validation_data: y: expected 40 rows"),
        (((x, y), {"verbose": 7}), "verbose"),
        (((x,), {}), "y: expected targets"),
        (((x, y), {"lengths": np.full(40, 4)}), "lengths: expected integers 0...3"),
        (((batches_of([(x, y)]), y), {}), "y: expected None"),
    ]:
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            model.fit(*arguments[0], **{"verbose": 0, **arguments[1]})
    for bad in ({"a": x}, "text", 3.0, object(), np.array(["a"])):
        with pytest.raises((TypeError, ValueError), match="(x|inputs): expected"):
            model.fit(bad, y, verbose=0)
    with pytest.raises(TypeError, match="callbacks"):
        model.fit(x, y, callbacks=[3], verbose=0)


def test_sample_and_class_weights(rng):
    x = rng.normal(size=(30, 4)).astype(np.float32)
    y = rng.integers(0, 3, 30)
    weights = np.array([1.0, 0.0, 2.0])
    model = models.Sequential([layers.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3)])
    model.compile("sgd", logits_loss(), metrics=["accuracy"], weighted_metrics=["accuracy"])
    start = model.get_weights()
    results = []
    for arguments in (
        {"sample_weight": weights[y]},
        {"class_weight": {1: 0.0, 2: 2.0}},
        {"class_weight": {0: 1, 1: 0, 2: 1}, "sample_weight": np.where(y == 2, 2.0, 1.0)},
    ):
        model.set_weights(start)
        results.append(model.train_on_batch(x, y, **arguments))
        results.append(model.get_weights()[0])
    assert results[0] == results[2] == results[4]
    np.testing.assert_array_equal(results[1], results[3])
    np.testing.assert_array_equal(results[1], results[5])
    right = model(x).numpy().argmax(-1) == y
    _, plain, weighted = model.test_on_batch(x, y, sample_weight=weights[y])
    np.testing.assert_allclose([plain, weighted], [right.mean(), np.average(right, weights=weights[y])])
    one_hot = np.eye(3)[y]
    model.compile("sgd", losses.CategoricalCrossentropy(from_logits=True))
    a = model.test_on_batch(x, one_hot, sample_weight=weights[y])
    model.set_weights(model.get_weights())
    b = model.train_on_batch(x, one_hot, class_weight={1: 0.0, 2: 2.0})
    np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(ValueError, match="class_weight: expected targets"):
        model.train_on_batch(x, None, class_weight={0: 1.0})


def test_a_masked_loss_counts_valid_steps_only(rng):
    model = language_model()
    model.compile("sgd", logits_loss(), metrics=["accuracy", "perplexity"])
    x, y, lengths = ids(rng, 6, 5), ids(rng, 6, 5), np.array([5, 1, 3, 0, 2, 4])
    whole = model.evaluate(x, y, lengths=lengths, batch_size=6, verbose=0)
    for size in (1, 4):
        np.testing.assert_allclose(model.evaluate(x, y, lengths=lengths, batch_size=size, verbose=0), whole, rtol=1e-10)
    logits = model(x).numpy()
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    single = -np.take_along_axis(logits, y[..., None], -1)[..., 0]
    kept = np.arange(5) < lengths[:, None]
    np.testing.assert_allclose(whole[0], single[kept].mean(), rtol=1e-10)
    np.testing.assert_allclose(whole[2], np.exp(single[kept].mean()), rtol=1e-10)
    carried = Tensor(x)
    carried.lengths = lengths
    np.testing.assert_allclose(model.evaluate(carried, y, batch_size=4, verbose=0), whole, rtol=1e-10)
    outputs = model.predict(x, lengths=lengths, batch_size=4, verbose=0)
    np.testing.assert_allclose(outputs[kept], model(x).numpy()[kept], rtol=1e-10)
    model.fit(x, y, lengths=lengths, batch_size=2, epochs=1, verbose=0)


def test_train_on_batch_returns_this_batch_alone(rng):
    x, y = regression(rng)
    model = dense_model(optimizer=optimizers.SGD(0.0), metrics=["mae"])
    first = model.train_on_batch(x[:5], y[:5])
    model.train_on_batch(x[5:20], y[5:20])
    assert model.train_on_batch(x[:5], y[:5]) == first
    assert model.train_on_batch(x[:5], y[:5], return_dict=True) == dict(zip(["loss", "mae"], first))
    assert isinstance(dense_model().test_on_batch(x, y), float)
    assert model.predict_on_batch(x[:5]).shape == (5, 1)


def test_stateful_models(rng):
    sc.set_seed(0)
    x, y = ids(rng, 8, 6), ids(rng, 8, 6)
    model = language_model(stateful=True)
    model.compile("sgd", logits_loss())
    with pytest.raises(ValueError, match="batch_size: expected a divisor of the 8 rows"):
        model.fit(x, y, batch_size=3, verbose=0)
    state = sc.random.get_state()
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    state_after = model.layers[1].states[0].numpy()
    sc.random.set_state(state)
    before = model.get_layer_state()
    whole = model.evaluate(x, y, batch_size=2, verbose=0)
    assert whole == model.evaluate(x, y, batch_size=2, verbose=0)
    model.predict(x, batch_size=1, verbose=0)
    after = model.get_layer_state()
    np.testing.assert_array_equal(model.layers[1].states[0].numpy(), state_after)
    assert str(before) == str(after)
    # predict continues from the state that it left; reset_states lets it start again, with another batch size too.
    with pytest.raises(ValueError, match="expected the batch size 1"):
        model.predict(x, batch_size=2, verbose=0)
    model.reset_states()
    outputs = model.predict(np.concatenate([x[:2, :3], x[:2, 3:]]), batch_size=2, verbose=0)
    plain = language_model()
    plain.build((None, None))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(np.concatenate([outputs[:2], outputs[2:]], axis=1), plain(x[:2]).numpy(), rtol=1e-10)


def test_a_failing_step_changes_nothing(rng):
    model = language_model(stateful=True, dropout=0.3)
    model.compile(optimizers.Adam(), logits_loss())
    x, y = ids(rng, 2, 4), ids(rng, 2, 4)
    model.train_on_batch(x, y)
    weights, state, count = model.get_weights(), str(model.get_layer_state()), model.optimizer.iterations
    with pytest.raises(ValueError, match="y_true|targets"):
        model.train_on_batch(x, np.full((2, 4), V))
    assert str(model.get_layer_state()) == state and model.optimizer.iterations == count
    for one, other in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(one, other)


def test_interrupts_stop_between_whole_updates(rng, monkeypatch):
    x, y = regression(rng)
    model = dense_model(optimizer=optimizers.Adam(0.1))
    apply = optimizers.Adam.apply_flat
    finished = []

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        apply(self, *arguments)
        finished.append(self.iterations)

    monkeypatch.setattr(optimizers.Adam, "apply_flat", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, epochs=3, verbose=0)
    assert finished == [1] and model.optimizer.iterations == 1
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


def test_callbacks_are_called_in_order_and_can_stop(rng):
    x, y = regression(rng)
    seen = []

    class Watch(sc.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")

        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            assert set(logs) == {"loss"}

        def on_test_end(self, logs=None):
            seen.append("test")

        def on_epoch_end(self, epoch, logs=None):
            seen.append(f"epoch {epoch}")
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs=None):
            seen.append("end")

    dense_model().fit(x, y, batch_size=20, epochs=5, validation_split=0.1, callbacks=[Watch()], verbose=0)
    assert seen == ["begin", 0, 1, "test", "epoch 0", 0, 1, "test", "epoch 1", "end"]


def test_float64_models_and_integer_data(rng):
    model = models.Sequential([layers.Input((3,)), layers.Dense(2, dtype="float64")])
    model.compile("sgd", "mse")
    model.fit(np.arange(12).reshape(4, 3), np.ones((4, 2)), verbose=0, batch_size=2)
    assert model.predict([[1, 2, 3]], verbose=0).dtype == np.float64


def test_a_custom_layer_without_an_output_shape(rng):
    class Twice(layers.Layer):
        def call(self, inputs):
            return sc.ops.concat([inputs, inputs], axis=-1)

    model = models.Sequential([layers.Input((3,)), Twice(), layers.Dense(2)])
    assert model.layers[1].kernel.shape == (6, 2)
    deferred = models.Sequential([Twice(), layers.Dense(2)])
    assert deferred(rng.normal(size=(2, 3))).shape == (2, 2)


def test_no_warning_on_the_way(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = language_model(dropout=0.2)
        model.compile("adam", logits_loss(), metrics=["accuracy"])
        model.fit(ids(rng, 8, 4), ids(rng, 8, 4), batch_size=3, verbose=0)


@pytest.mark.parametrize("make", [
    lambda: [layers.LSTM(4, stateful=True)],
    lambda: [layers.GRU(4, stateful=True, return_sequences=True), layers.SimpleRNN(3, stateful=True)],
    lambda: [models.Sequential([layers.ContextRNN(3, 2, stateful=True)])],
], ids=["lstm", "two", "nested"])  # fmt: skip
def test_predict_goes_on_from_its_own_state(make, rng):
    """As in Keras: step by step it gives the whole sequence; training and evaluation have states of their own."""
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    y = rng.normal(size=(2, 1)).astype(np.float32)
    model = models.Sequential([layers.Input((None, 3)), *make(), layers.Dense(1)])
    model.compile(optimizers.SGD(0.0), "mse")
    stateful = [layer for layer in model.layers_inside() if getattr(layer, "stateful", False)]
    whole = model.predict(x, batch_size=2, verbose=0)
    for _ in range(2):
        model.reset_states()
        parts = []
        for t in range(6):
            parts.append(model.predict(x[:, t : t + 1], batch_size=2, verbose=0))
            # Neither training nor evaluation nor a failing predict moves the state.
            if t == 2:
                before = model.evaluate(x, y, verbose=0)
                model.train_on_batch(x, y)
                assert model.evaluate(x, y, verbose=0) == before
                with pytest.raises(ValueError):
                    model.predict(iter([x[:, :1], x[:, :1, :2]]), verbose=0)
        np.testing.assert_allclose(parts[-1], whole, rtol=1e-5, atol=1e-6)
    # The state of training is left alone.
    trained = [[one.numpy() for one in layer.states] for layer in stateful]
    model.predict(x, batch_size=2, verbose=0)
    for layer, states in zip(stateful, trained):
        for one, other in zip(layer.states, states):
            np.testing.assert_array_equal(one.numpy(), other)
    # A state that is given is the one that predict starts from.
    first = stateful[0]
    states = [rng.normal(size=one.shape).astype(np.float32) for one in first.states]
    first.reset_states(states)
    others = [layer for layer in stateful if layer is not first]
    for layer in others:
        layer.reset_states()
    given = model.predict(x, batch_size=2, verbose=0)
    assert not np.allclose(given, whole)
    first.reset_states(states)
    for layer in others:
        layer.reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=2, verbose=0), given)
    model.reset_states()
    np.testing.assert_allclose(model.predict(x, batch_size=2, verbose=0), whole, rtol=1e-6)
