"""Overrides of a subclass: steps, loss and metrics of a model, apply of an optimizer. Each is called, or refused."""

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, losses, metrics, models, optimizers
from seqcore.autograd.tensor import Tensor
from tests.helpers.fused import fused_head_of


class Linear(models.Model):
    """y = x w + b with known weights."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs):
        return self.dense(inputs)


class LinearSequence(models.Sequential):
    def __init__(self):
        super().__init__([layers.Input((2,)), layers.Dense(1, kernel_initializer="ones")])


BASES = pytest.mark.parametrize("base", [Linear, LinearSequence])


def data(rows=8):
    rng = np.random.default_rng(4)
    return rng.normal(size=(rows, 2)).astype(np.float32), rng.normal(size=(rows, 1)).astype(np.float32)


def keras_step(base, factor=1.0):
    """The training step of Keras's guide, with the loss times ``factor``."""

    class Custom(base):
        def train_step(self, data):
            x, y = data
            with sc.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = factor * self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            self.metrics[0].update_state(self.compute_loss(y=y, y_pred=y_pred))
            for metric in self.metrics[1:]:
                metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    return Custom


@BASES
def test_the_step_of_the_guide_is_the_step_of_fit(base):
    """Written out by hand it gives the weights, losses and metrics that fit gives by itself."""
    x, y = data(24)
    results = []
    for make in (base, keras_step(base)):
        sc.set_seed(2)
        model = make()
        model.compile(optimizers.Adam(0.05), "mse", metrics=["mae"])
        history = model.fit(x, y, epochs=3, batch_size=8, validation_data=(x, y), verbose=0).history
        results.append([history, model.evaluate(x, y, batch_size=8, verbose=0), model.get_weights()])
        results[-1].append(model.train_on_batch(x, y, return_dict=True))
        results[-1].append(model.test_on_batch(x, y))
    own, custom = results
    assert list(own[0]) == list(custom[0]) == ["loss", "mae", "val_loss", "val_mae"]
    for name, values in own[0].items():
        np.testing.assert_allclose(custom[0][name], values, rtol=1e-6)
    np.testing.assert_allclose(custom[1], own[1], rtol=1e-6)
    for one, other in zip(custom[2], own[2]):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert custom[3] == pytest.approx(own[3], rel=1e-6) and custom[4] == pytest.approx(own[4], rel=1e-6)


@BASES
def test_what_a_step_is_given_and_what_becomes_of_its_logs(base, capsys):
    seen = []

    class Custom(base):
        def train_step(self, data):
            seen.append(("train", data))
            return {"loss": np.float32(0.5), "mine": Tensor(10.0), "inner": {"deep": 2}}

        def test_step(self, data):
            seen.append(("test", data))
            return {"other": 3}

        def predict_step(self, data):
            seen.append(("predict", data))
            return [np.asarray(data)[:, :1], {"double": 2 * np.asarray(data)}]

    x, y = data()
    weight = np.arange(8.0)
    model = Custom()
    model.compile()
    batches = []

    class Watch(sc.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(logs)

        def on_test_batch_end(self, batch, logs=None):
            batches.append(logs)

    history = model.fit(x, y, batch_size=4, shuffle=False, validation_data=(x, y), callbacks=[Watch()]).history
    assert history == {"loss": [0.5], "mine": [10.0], "deep": [2.0], "val_other": [3.0]}
    assert all(type(value) is float for values in history.values() for value in values)
    assert batches == [{"loss": 0.5, "mine": 10.0, "deep": 2.0}] * 2 + [{"other": 3.0}] * 2
    assert "mine: 10.0000" in capsys.readouterr().out
    assert [kind for kind, _ in seen] == ["train", "train", "test", "test"]
    for _, (a, b) in seen:
        assert type(a) is np.ndarray and type(b) is np.ndarray and len(a) == len(b) == 4
    np.testing.assert_array_equal(seen[1][1][0], x[4:])

    seen.clear()
    model.fit(x, verbose=0)
    model.fit(x, y, sample_weight=weight, verbose=0, shuffle=False)
    model.fit(iter([x]), verbose=0)
    model.fit(iter([[x, y]]), verbose=0)
    model.fit([x, x], y, verbose=0)
    assert type(seen[0][1]) is np.ndarray and len(seen[1][1]) == 3 and type(seen[2][1]) is np.ndarray
    np.testing.assert_array_equal(seen[1][1][2], weight)
    assert len(seen[3][1]) == 2 and isinstance(seen[4][1][0], list)
    # A tensor with lengths keeps them.
    seen.clear()
    model.fit(np.ones((3, 4, 2)), np.ones(3), lengths=[4, 2, 3], shuffle=False, verbose=0)
    np.testing.assert_array_equal(seen[0][1][0].lengths, [4, 2, 3])

    assert model.train_on_batch(x, y, return_dict=True) == {"loss": 0.5, "mine": 10.0, "deep": 2.0}
    # Known names in order, then the others by name.
    assert model.train_on_batch(x, y) == [0.5, 2.0, 10.0]
    assert model.test_on_batch(x, y) == model.evaluate(x, y, verbose=0) == 3.0
    first, second = model.predict(x, batch_size=4, verbose=0)
    np.testing.assert_array_equal(first, x[:, :1])
    np.testing.assert_array_equal(second["double"], 2 * x)
    np.testing.assert_array_equal(model.predict_on_batch(x)[0], x[:, :1])


@BASES
def test_super_and_the_own_loss(base):
    """super().train_step does what fit does; compute_loss by itself changes the loss of both steps."""

    class Both(base):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "twice": 2 * logs["loss"]}

        def test_step(self, data):
            return {"tested": super().test_step(data)["loss"]}

        def predict_step(self, data):
            return super().predict_step(data) + 1

    class OwnLoss(base):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 3 * super().compute_loss(x, y, y_pred, sample_weight) + (0.0 if training else 1.0)

    class OldLoss(base):
        def compute_loss(self, x, y, y_pred, sample_weight):
            assert type(x) is np.ndarray and isinstance(y_pred, Tensor)
            return sc.reduce_mean((y_pred - y) ** 2)

    x, y = data()
    plain = base()
    plain.compile(optimizers.SGD(0.1), "mse")
    before = plain.evaluate(x, y, verbose=0)
    assert plain.train_on_batch(x, y) == pytest.approx(before)
    model = Both()
    model.compile(optimizers.SGD(0.1), "mse")
    assert model.fit(x, y, verbose=0, shuffle=False).history == {
        "loss": [pytest.approx(before)],
        "twice": [pytest.approx(2 * before)],
    }
    for one, other in zip(model.get_weights(), plain.get_weights()):
        np.testing.assert_array_equal(one, other)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"tested": plain.evaluate(x, y, verbose=0)}
    np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(x, verbose=0) + 1, rtol=1e-6)

    model = OwnLoss()
    model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    weights = np.arange(8.0)
    expected = np.mean(weights * ((x.sum(1) - y[:, 0]) ** 2))
    assert model.evaluate(x, y, sample_weight=weights, verbose=0)[0] == pytest.approx(3 * expected + 1, rel=1e-5)
    assert model.train_on_batch(x, y)[0] == pytest.approx(3 * before, rel=1e-5)
    # Three times the gradient.
    moved = [a - b for a, b in zip(model.get_weights(), base_weights())]
    for one, other in zip(moved, [a - b for a, b in zip(plain.get_weights(), base_weights())]):
        np.testing.assert_allclose(one, 3 * other, rtol=1e-4)

    model = OldLoss()
    model.compile("sgd")
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(before, rel=1e-6)


def test_overrides_are_called_by_name():
    """As in Keras: with arguments only by name, with **arguments, or in their order under other names."""

    class Named(LinearSequence):
        def compute_loss(self, *, x=None, y=None, y_pred=None, sample_weight=None):
            return 3 * super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

        def compute_metrics(self, x, y, y_pred, *, sample_weight=None):
            return {"rows": float(len(x)), "weight": float(np.sum(sample_weight))}

    class Open(LinearSequence):
        def compute_loss(self, **arguments):
            assert list(arguments) == ["x", "y", "y_pred", "sample_weight", "training"]
            return 3 * super().compute_loss(**arguments)

    class Renamed(LinearSequence):
        def compute_loss(self, inputs, targets, outputs, weights):
            return 3 * super().compute_loss(inputs, targets, outputs, weights)

    class Short(LinearSequence):
        def compute_loss(self, y, y_pred):
            return sc.reduce_mean(y - y_pred)

        def compute_metrics(self, y, y_pred):
            return {}

    x, y = data()
    weights = np.arange(8.0)
    plain = LinearSequence()
    plain.compile("sgd", "mse")
    expected = 3 * plain.evaluate(x, y, sample_weight=weights, verbose=0)
    for base in (Named, Open, Renamed):
        model = base()
        model.compile("sgd", "mse")
        logs = model.fit(x, y, sample_weight=weights, verbose=0).history
        if base is Named:
            assert logs == {"rows": [8.0], "weight": [28.0]}
        else:
            assert logs["loss"][0] == pytest.approx(expected)
    model = Short()
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="^compute_loss: expected a method that takes x, y, y_pred, sample_weight, got"):
        model.fit(x, y, verbose=0)


def base_weights():
    return [np.ones((2, 1), np.float32), np.zeros(1, np.float32)]


def test_metrics_of_the_model_itself():
    """Held as attributes, returned by the property, updated by compute_metrics or call: reset and logged."""
    x, y = data()

    class Held(Linear):
        def __init__(self):
            super().__init__()
            self.largest, self.many = metrics.Mean("largest"), [metrics.Mean("first")]

        def call(self, inputs):
            self.many[0].update_state(np.asarray(inputs)[0, 0])
            return super().call(inputs)

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            self.largest.update_state(np.max(np.asarray(y_pred)))
            return logs | {"largest": self.largest.result(), "extra": 7}

    model = Held()
    model.compile(optimizers.SGD(0.0), "mse", metrics=["mae"])
    model(x)
    assert [metric.name for metric in model.metrics] == ["loss", "mae", "largest", "first"]
    assert model.metrics_names == ["loss", "mae", "largest", "first"]
    history = model.fit(x, y, epochs=2, batch_size=4, shuffle=False, validation_data=(x, y), verbose=0).history
    outputs = x.sum(1)
    right = (outputs[:4].max() + outputs[4:].max()) / 2
    np.testing.assert_allclose(history["largest"], [right, right], rtol=1e-5)
    np.testing.assert_allclose(history["first"], [x[[0, 4], 0].mean()] * 2, rtol=1e-5)
    np.testing.assert_allclose(history["mae"], [np.abs(outputs - y[:, 0]).mean()] * 2, rtol=1e-5)
    assert history["extra"] == [7.0, 7.0] and history["val_largest"][0] == pytest.approx(right, rel=1e-5)

    class Low(Linear):
        """The other guide: metrics, loss and their reset are the model's own business."""

        def __init__(self):
            super().__init__()
            self.tracker = metrics.Mean("loss")
            self.error = metrics.MeanAbsoluteError("mae")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = sc.reduce_mean((y_pred - y) ** 2)
            self.tracker.update_state(loss)
            self.error.update_state(y, y_pred)
            return loss

        @property
        def metrics(self):
            return [self.tracker, self.error]

    model = Low()
    model.compile(optimizers.SGD(0.0))
    history = model.fit(x, y, epochs=2, batch_size=4, verbose=0).history
    np.testing.assert_allclose(history["loss"], [np.mean((outputs - y[:, 0]) ** 2)] * 2, rtol=1e-5)
    np.testing.assert_allclose(history["mae"], [np.abs(outputs - y[:, 0]).mean()] * 2, rtol=1e-5)
    assert model.metrics_names == ["loss", "mae"]

    class Reset(Linear):
        calls = 0

        def reset_metrics(self):
            self.calls += 1
            super().reset_metrics()

        def get_metrics_result(self):
            return {"own": 1.5}

    model = Reset()
    model.compile("sgd", "mse")
    assert model.fit(x, y, epochs=2, verbose=0).history == {"own": [1.5, 1.5]} and model.calls == 2
    assert model.evaluate(x, y, verbose=0) == 1.5 and model.calls == 3


def test_a_layer_inside_may_hold_metrics():
    class Noting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.mean = metrics.Mean("input_mean")

        def call(self, inputs):
            self.mean.update_state(inputs)
            return inputs

    x, y = data()
    model = models.Sequential([layers.Input((2,)), Noting(), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert model.fit(x, y, epochs=2, verbose=0).history["input_mean"][1] == pytest.approx(x.mean(), rel=1e-5)


def test_a_model_without_call_trains_by_its_step():
    """Two networks, two optimizers, a compile of its own, as in Keras's guide on adversarial networks."""

    class Pair(models.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = layers.Dense(1), layers.Dense(1)

        def compile(self, first, second, loss_fn):
            super().compile()
            self.first, self.second, self.loss_fn = first, second, loss_fn

        def train_step(self, real):
            logs = {}
            for name, net, optimizer in (("one", self.one, self.first), ("two", self.two, self.second)):
                with sc.GradientTape() as tape:
                    loss = self.loss_fn(np.ones((len(real), 1)), net(real))
                optimizer.apply_gradients(zip(tape.gradient(loss, net.trainable_weights), net.trainable_weights))
                logs[name] = loss
            return logs

    x, _ = data()
    model = Pair()
    model.compile(optimizers.SGD(0.1), optimizers.Adam(0.1), losses.MeanSquaredError())
    history = model.fit(x, epochs=20, verbose=0).history
    assert history["one"][-1] < history["one"][0] and history["two"][-1] < history["two"][0]
    with pytest.warns(UserWarning, match="save: .* overrides compile"):
        assert model.get_compile_config() is None


@pytest.mark.parametrize("hook", ["train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"])
def test_a_hook_on_the_object_itself_counts_too(hook):
    """Replaced after compiling, and taken back again."""
    x, y = np.ones((4, 3), np.float32), np.zeros(4, int)
    model = models.Sequential([layers.Input((3,)), layers.Dense(5), layers.Dense(4)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    calls = []

    def replacement(*arguments, **named):
        calls.append(hook)
        return {"compute_loss": Tensor(1.0), "predict_step": x}.get(hook, {"loss": 1.0})

    original = getattr(model, hook)
    setattr(model, hook, replacement)
    if hook == "compute_loss":
        model.evaluate(x, y, verbose=0)
    else:
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert calls == [hook] * (2 if hook == "compute_metrics" else 1)
    setattr(model, hook, original)
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(model.test_on_batch(x, y)[0])


def test_the_fused_way_is_left_only_for_what_is_overridden():
    def model(**body):
        made = type("Custom", (models.Sequential,), body)([layers.Input((3,)), layers.Dense(5), layers.Dense(4)])
        made.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
        return made

    def own(self, *arguments, **named):
        raise AssertionError

    assert fused_head_of(model()) is not None and fused_head_of(model(train_step=own)) is not None
    assert fused_head_of(model(compute_loss=own)) is None and fused_head_of(model(compute_metrics=own)) is None


def test_nothing_in_between_where_nothing_is_overridden(monkeypatch):
    """A plain model's step calls neither of the hooks."""

    def refuse(self, *arguments, **named):
        raise AssertionError("called")

    for name in ("train_step", "test_step", "predict_step", "compute_metrics", "_run_step"):
        monkeypatch.setattr(sc.training.step_hooks.StepHooks, name, refuse)
    x, y = data()
    model = LinearSequence()
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, y, validation_data=(x, y), verbose=0)
    model.train_on_batch(x, y)
    model.predict(x, verbose=0)


@pytest.mark.parametrize(
    "hook, result, message",
    [
        ("train_step", None, "train_step: expected a dict of logs, got NoneType"),
        ("train_step", {"loss": np.ones(3)}, r"train_step: expected a number for 'loss', got shape \(3,\)"),
        ("train_step", {"loss": "low"}, "train_step: expected numbers, got 'low'"),
        ("test_step", [1.0], "test_step: expected a dict of logs, got list"),
        ("compute_metrics", 1.0, "compute_metrics: expected a dict of logs, got float"),
        ("compute_loss", 1.0, "compute_loss: expected a scalar Tensor, got float"),
        ("compute_loss", Tensor([1.0, 2.0]), r"compute_loss: expected a scalar, got shape \(2,\)"),
        ("get_metrics_result", 3, "get_metrics_result: expected a dict of logs, got int"),
    ],
)
def test_wrong_results_are_named(hook, result, message):
    x, y = data()
    model = type("Custom", (LinearSequence,), {hook: lambda self, *arguments, **named: result})()
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        model.fit(x, y, validation_data=(x, y), verbose=0)
    if hook == "compute_loss":
        for one, other in zip(model.get_weights(), before):
            np.testing.assert_array_equal(one, other)


def test_what_has_no_loss_is_named():
    x, y = data()
    model = keras_step(Linear)()
    with pytest.raises(RuntimeError, match="to be compiled; call compile"):
        model.fit(x, y, verbose=0)
    model.compile("sgd")
    with pytest.raises(RuntimeError, match="to be compiled with a loss"):
        model.fit(x, y, verbose=0)
    plain = Linear()
    plain.compile("sgd")
    for call in (plain.fit, plain.evaluate, plain.train_on_batch, plain.test_on_batch):
        with pytest.raises(RuntimeError, match="to be compiled with a loss"):
            call(x, y)


MODEL_METHODS = ["make_train_function", "make_test_function", "make_predict_function", "stateless_compute_loss"]
LAYER_METHODS = [
    "get_build_config", "build_from_config", "save_own_variables", "load_own_variables", "save_assets", "load_assets",
    "compute_output_spec", "stateless_call", "symbolic_call",
]  # fmt: skip


@pytest.mark.parametrize("name", MODEL_METHODS + LAYER_METHODS)
def test_methods_that_nothing_calls_are_refused_with_the_class(name):
    for base in (models.Model, models.Sequential, *([layers.Layer, layers.Dense] if name in LAYER_METHODS else [])):
        with pytest.raises(TypeError, match=f"Own.{name}: expected no override, since nothing calls it; use "):
            type("Own", (base,), {name: lambda self: None})


def test_the_other_overrides_are_called(tmp_path):
    calls = set()

    def note(name, result=None):
        def method(self, *arguments, **named):
            calls.add(name)
            return getattr(super(Own, self), name)(*arguments, **named) if result is None else result

        return method

    names = ["build", "call", "get_config", "compile", "save", "get_compile_config", "compile_from_config", "summary"]

    class Own(models.Sequential):
        pass

    for name in names:
        setattr(Own, name, note(name))
    Own.__init_subclass__()
    models.register("tests/Own")(Own)
    model = Own([layers.Dense(1)])
    model.build((None, 2))
    model.compile("sgd", "mse")
    x, y = data()
    model.fit(x, y, verbose=0)
    with pytest.warns(UserWarning, match="save: .* overrides compile"):
        model.save(tmp_path / "m.safetensors")
    model.summary(print_fn=len)
    models.load_model(tmp_path / "m.safetensors")
    assert calls >= set(names) - {"call", "compile_from_config"}


# ---------------------------------------------------------------- masks


class Made(layers.Layer):
    """Makes a mask as Keras's Masking does; the output is the input itself."""

    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, mask=None):
        made = np.any(np.asarray(inputs) != 0, axis=-1)
        return made if mask is None else made & mask


class Halved(layers.Layer):
    """Every second step, with every second step of the mask."""

    def call(self, inputs):
        return inputs[:, ::2]

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[:, ::2]


class Forgotten(layers.Layer):
    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, mask=None):
        return None


def test_masks_that_layers_compute():
    """compute_mask of a class of the user is called with and without a mask, and heeded behind it."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 6, 2)).astype(np.float32)
    x[1, 4:] = x[2, 2:] = 0
    kept = np.any(x != 0, axis=-1)
    given = Tensor(x)
    made = Made()(given)
    np.testing.assert_array_equal(made.mask, kept)
    assert given.mask is None
    np.testing.assert_array_equal(Halved()(made).mask, kept[:, ::2])
    assert Halved()(x).mask is None and Forgotten()(made).mask is None and made.mask is not None
    # From lengths too.
    np.testing.assert_array_equal(Made()(x, lengths=[6, 3, 1]).mask, kept & (np.arange(6) < [[6], [3], [1]]))
    model = models.Sequential([Made(), Halved(), layers.LSTM(4)])
    outputs = model(x).numpy()
    for row, steps in enumerate((6, 4, 2)):
        np.testing.assert_allclose(outputs[row], model.layers[2](x[row : row + 1, :steps:2]).numpy()[0], rtol=1e-5)

    class Whole(models.Sequential):
        def compute_mask(self, inputs, mask=None):
            return kept

    np.testing.assert_array_equal(Whole([layers.Dense(2)])(x).mask, kept)
    with sc.GradientTape() as tape:
        tape.watch(given)
        loss = sc.reduce_sum(Made()(given) * 2)
    np.testing.assert_array_equal(tape.gradient(loss, given).numpy(), np.full(x.shape, 2.0))


# ---------------------------------------------------------------- optimizers


@pytest.mark.parametrize("name", ["apply_gradients", "apply"])
@pytest.mark.parametrize("loop", ["fit", "train_on_batch", "tape"])
def test_updates_of_an_optimizer_of_ones_own(name, loop):
    """An override is called in training and in a loop written by hand: here it doubles every gradient."""
    calls = []

    class Doubled(optimizers.SGD):
        pass

    def apply(self, grads, trainable_variables=None):
        calls.append(len(grads))
        return optimizers.SGD.apply(self, [2 * g for g in grads], trainable_variables)

    def apply_gradients(self, grads_and_vars):
        pairs = list(grads_and_vars)
        calls.append(len(pairs))
        return optimizers.SGD.apply_gradients(self, [(2 * g, v) for g, v in pairs])

    doubled = type("Doubled", (optimizers.SGD,), {name: {"apply": apply, "apply_gradients": apply_gradients}[name]})
    x, y = data()
    weights = []
    for optimizer in (optimizers.SGD(0.1), doubled(0.05)):
        model = LinearSequence()
        model.compile(optimizer, "mse")
        if loop == "fit":
            model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        elif loop == "train_on_batch":
            model.train_on_batch(x, y)
        else:
            with sc.GradientTape() as tape:
                loss = model.compute_loss(x, y, model(x))
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        weights.append(model.get_weights())
    assert calls == [2] * (2 if loop == "fit" else 1) and optimizer.iterations == len(calls)
    for one, other in zip(*weights):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_update_step_is_refused():
    with pytest.raises(TypeError, match="Own.update_step: expected no override"):
        type("Own", (optimizers.SGD,), {"update_step": lambda self: None})


def test_metrics_without_weights():
    """As in Keras, update_state of a metric in ``metrics`` is called only with targets and outputs."""

    class Rows(metrics.Metric):
        def update_state(self, y_true, y_pred):
            self.rows += len(y_true)

        def result(self):
            return self.rows

        def reset_state(self):
            self.rows = 0

    x, y = data()
    model = LinearSequence()
    model.compile("sgd", "mse", metrics=[Rows()])
    history = model.fit(x, y, sample_weight=np.ones(8), batch_size=3, epochs=2, verbose=0).history
    assert history["rows"] == [8, 8]


@pytest.mark.parametrize("pairs", [3, [(1.0,)], [1.0], [(1.0, 2.0, 3.0)]])
def test_pairs_of_gradients_and_variables(pairs):
    with pytest.raises(TypeError, match="^grads_and_vars: expected pairs of gradient and variable, got"):
        optimizers.SGD().apply_gradients(pairs)
