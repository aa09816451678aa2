"""A step on arrays gives the bits of the same step under a tape, and is left where it could not."""

import numpy as np
import pytest

import seqcore as sc
from seqcore.training import array_step, train_step

LAYERS = sc.layers
ROWS, STEPS, FEATURES, CLASSES = 5, 7, 3, 4


def sequences(seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, STEPS, FEATURES)).astype("float32")


def ids():
    return np.random.default_rng(1).integers(0, 9, (ROWS, STEPS))


def numbers(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def classes(*shape):
    return np.random.default_rng(3).integers(0, CLASSES, shape)


def one_hot(*shape):
    return np.eye(CLASSES, dtype="float32")[classes(*shape)]


def logits():
    return sc.losses.SparseCategoricalCrossentropy(from_logits=True)


def frozen(layer):
    layer.trainable = False
    return layer


def tied(*layers):
    """Layers of one size that share a kernel."""
    for layer in layers:
        layer.build((None, CLASSES))
        layer.kernel = layers[0].kernel
    return list(layers)


# name: layers, loss, x, y, metrics
CASES = {
    "lstm mse": lambda: ([LAYERS.LSTM(6), LAYERS.Dense(2)], "mse", sequences(), numbers(ROWS, 2), ["mae"]),
    "gru, one number a row": lambda: ([LAYERS.GRU(6), LAYERS.Dense(1, "tanh")], "mse", sequences(), numbers(ROWS), []),
    "rnn of steps, summed": lambda: (
        [LAYERS.SimpleRNN(6, return_sequences=True), LAYERS.Dense(2)],
        sc.losses.MeanSquaredError("sum"),
        sequences(),
        numbers(ROWS, STEPS, 2),
        [],
    ),
    "backwards": lambda: (
        [LAYERS.LSTM(6, go_backwards=True, return_sequences=True), LAYERS.GRU(5, go_backwards=True), LAYERS.Dense(1)],
        "mse",
        sequences(),
        numbers(ROWS, 1),
        [],
    ),
    "dropout, both kinds": lambda: (
        [LAYERS.Dropout(0.3), LAYERS.LSTM(6, dropout=0.2, recurrent_dropout=0.3), LAYERS.Dropout(0.4), LAYERS.Dense(1)],
        sc.losses.BinaryCrossentropy(from_logits=True),
        sequences(),
        classes(ROWS, 1) % 2,
        ["accuracy"],
    ),
    "ids, fused head": lambda: (
        [LAYERS.Embedding(9, 4), LAYERS.GRU(6), LAYERS.Dense(CLASSES)],
        logits(),
        ids(),
        classes(ROWS),
        ["accuracy"],
    ),
    "a padding row, ids of three axes": lambda: (
        [LAYERS.Embedding(9, 4, padding_idx=2), LAYERS.Dense(1, "sigmoid")],
        "mse",
        ids()[:, :, None],
        numbers(ROWS, STEPS, 1, 1),
        [],
    ),
    "classes of steps, perplexity": lambda: (
        [LAYERS.Embedding(9, 4), LAYERS.LSTM(6, return_sequences=True), LAYERS.Dense(CLASSES, "softmax")],
        sc.losses.SparseCategoricalCrossentropy(reduction="batch_mean", ignore_class=1),
        ids(),
        classes(ROWS, STEPS),
        [sc.metrics.Perplexity(ignore_class=1), "accuracy"],
    ),
    "softmax and one-hot targets": lambda: (
        [LAYERS.LSTM(6), LAYERS.Dense(CLASSES, "softmax")],
        "categorical_crossentropy",
        sequences(),
        one_hot(ROWS),
        ["accuracy"],
    ),
    "head and targets that it does not take": lambda: (
        [LAYERS.LSTM(6), LAYERS.Dense(CLASSES)],
        logits(),
        sequences(),
        classes(ROWS).astype(bool),
        [],
    ),
    "frozen first layer": lambda: (
        [frozen(LAYERS.LSTM(6, return_sequences=True)), LAYERS.LSTM(5), LAYERS.Dense(1)],
        "mse",
        sequences(),
        numbers(ROWS, 1),
        [],
    ),
    "frozen middle": lambda: (
        [LAYERS.LSTM(6), frozen(LAYERS.Dense(5, "relu")), LAYERS.Dense(1)],
        "mse",
        sequences(),
        numbers(ROWS, 1),
        [],
    ),
    "float64, without bias": lambda: (
        [
            LAYERS.LSTM(6, use_bias=False, activation="relu", dtype="float64"),
            LAYERS.Dense(1, use_bias=False, dtype="float64"),
        ],
        "mse",
        sequences().astype("float64"),
        numbers(ROWS, 1),
        [],
    ),
    "tied kernels": lambda: (
        tied(LAYERS.Dense(4, "tanh"), LAYERS.Dense(4, "tanh")),
        "mse",
        numbers(ROWS, 4),
        numbers(ROWS, 4),
        [],
    ),
    "a head with the kernel of another layer": lambda: (
        tied(LAYERS.Dense(CLASSES, "tanh"), LAYERS.Dense(CLASSES)),
        logits(),
        numbers(ROWS, CLASSES),
        classes(ROWS),
        [],
    ),
    "nested": lambda: (
        [sc.Sequential([LAYERS.LSTM(6, return_sequences=True), LAYERS.GRU(5)]), LAYERS.Dense(1)],
        "mse",
        sequences()[:, ::-1],
        numbers(ROWS, 1),
        [],
    ),
}


def made(case, clip=None):
    sc.set_seed(7)
    layers, loss, x, y, metrics = CASES[case]()
    model = sc.Sequential(layers)
    model.compile(sc.optimizers.Adam(0.05, global_clipnorm=clip), loss, metrics=metrics)
    return model, x, y


def counted(monkeypatch):
    """The number of steps on arrays so far, as a list of one element each."""
    steps = []
    run = array_step.run_on_arrays

    def counting(*arguments):
        steps.append(1)
        return run(*arguments)

    monkeypatch.setattr(train_step, "run_on_arrays", counting)
    return steps


def trained(model, x, y, steps=4):
    return [model.train_on_batch(x, y, return_dict=True) for _ in range(steps)]


@pytest.mark.parametrize("case", CASES)
def test_step_on_arrays_gives_the_bits_of_the_tape(case, monkeypatch):
    steps = counted(monkeypatch)
    model, x, y = made(case, clip=1.0)
    on_arrays = trained(model, x, y)
    # The first call builds some of the models.
    assert len(steps) >= 3
    del steps[:]
    with monkeypatch.context() as patched:
        patched.setattr(train_step, "takes_batch", lambda *_: False)
        reference, x, y = made(case, clip=1.0)
        taped = trained(reference, x, y)
    assert not steps
    assert on_arrays == taped
    for weight, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert taped[0]["loss"] != taped[-1]["loss"]


def shown_steps(monkeypatch, model, x, y, **arguments):
    steps = counted(monkeypatch)
    model.train_on_batch(x, y)
    del steps[:]
    model.train_on_batch(x, y, **arguments)
    return len(steps)


def test_what_needs_the_tape_gets_it(monkeypatch):
    model, x, y = made("lstm mse")
    assert shown_steps(monkeypatch, model, x, y) == 1
    assert shown_steps(monkeypatch, model, x, y, sample_weight=np.arange(ROWS)) == 0
    assert shown_steps(monkeypatch, model, x, y, lengths=np.full(ROWS, 2)) == 0
    masked = sc.Tensor(x)
    masked.mask = np.ones((ROWS, STEPS), bool)
    assert shown_steps(monkeypatch, model, masked, y) == 0
    with sc.GradientTape():
        assert shown_steps(monkeypatch, model, x, y) == 0
    assert shown_steps(monkeypatch, model, x.astype("float64"), y) == 0


def test_an_attribute_that_changes_is_noticed(monkeypatch):
    model, x, y = made("lstm mse")
    assert shown_steps(monkeypatch, model, x, y) == 1
    model.layers[0].stateful = True
    assert shown_steps(monkeypatch, model, x, y) == 0
    model.layers[0].stateful = False
    model.layers[1].activation = "gelu"
    assert shown_steps(monkeypatch, model, x, y) == 0


def test_a_call_that_is_replaced_is_called(monkeypatch):
    model, x, y = made("lstm mse")
    assert shown_steps(monkeypatch, model, x, y) == 1
    inputs = []
    plain = model.layers[1].call
    model.layers[1].call = lambda given, training=None: inputs.append(given.shape) or plain(given)
    assert shown_steps(monkeypatch, model, x, y) == 0
    assert inputs == [(ROWS, 6)] * 2


@pytest.mark.parametrize("attribute", ["activation", "from_logits"])
def test_a_head_whose_meaning_changes_is_left(attribute):
    """The step is that of a new model with the same weights and settings."""
    model, x, y = made("ids, fused head")
    model.optimizer = sc.optimizers.SGD(0.1)
    model.train_on_batch(x, y)
    sc.set_seed(7)
    layers, loss, _, _, metrics = CASES["ids, fused head"]()
    fresh = sc.Sequential(layers)
    fresh.build(x.shape)
    fresh.set_weights(model.get_weights())
    for one, function in ((model, model.loss), (fresh, loss)):
        if attribute == "activation":
            one.layers[-1].activation = "relu"
        else:
            function.from_logits, one.layers[-1].activation = False, "sigmoid"
    fresh.compile(sc.optimizers.SGD(0.1), loss, metrics=metrics)
    for one in (model, fresh):
        one.train_on_batch(x, y)
    for weight, expected in zip(model.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_an_input_that_is_not_cast():
    sc.set_seed(7)
    model = sc.Sequential([LAYERS.Dropout(0.2, autocast=False), LAYERS.LSTM(4), LAYERS.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((2, 3, 2))
    assert np.isfinite(model.train_on_batch(x, np.ones((2, 1))))


class Doubled(LAYERS.Dense):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    "last", [lambda: Doubled(1), lambda: LAYERS.TimeDistributed(LAYERS.Dense(1)), lambda: LAYERS.Activation("tanh")]
)
def test_layers_without_a_form_on_arrays_need_the_tape(last, monkeypatch):
    sc.set_seed(7)
    model = sc.Sequential([LAYERS.LSTM(1, return_sequences=True), last()])
    model.compile("sgd", "mse")
    assert shown_steps(monkeypatch, model, sequences(), numbers(ROWS, STEPS, 1)) == 0


def test_ids_within_a_model_need_the_tape(monkeypatch):
    model = sc.Sequential([LAYERS.Dropout(0.5), LAYERS.Embedding(9, 3), LAYERS.GRU(2), LAYERS.Dense(1)])
    model.compile("sgd", "mse")
    assert shown_steps(monkeypatch, model, np.zeros((ROWS, STEPS)), numbers(ROWS, 1)) == 0


def test_custom_losses_and_hooks_need_the_tape(monkeypatch):
    class Half(sc.losses.MeanSquaredError):
        def __call__(self, y_true, y_pred, sample_weight=None, mask=None):
            return 0.5 * super().__call__(y_true, y_pred)

    class Own(sc.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 0.5 * super().compute_loss(x, y, y_pred)

    for model_class, loss in ((sc.Sequential, Half()), (sc.Sequential, lambda t, y: (t - y) ** 2), (Own, "mse")):
        sc.set_seed(7)
        model = model_class([LAYERS.LSTM(4), LAYERS.Dense(1)])
        model.compile("sgd", loss)
        assert shown_steps(monkeypatch, model, sequences(), numbers(ROWS, 1)) == 0


def test_a_failing_step_changes_nothing():
    model, x, y = made("dropout, both kinds")
    model.train_on_batch(x, y)
    weights, states = model.get_weights(), model.get_layer_state()
    with pytest.raises(ValueError, match="y_true: expected the shape of y_pred"):
        model.train_on_batch(x, np.zeros((ROWS, 3)))
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, time, 3\) for layer 'lstm"):
        model.train_on_batch(x[:, :, :2].copy(), y)
    for weight, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.get_layer_state() == states


def test_nothing_is_said_about_numbers_that_are_not_finite(recwarn):
    model, x, y = made("lstm mse")
    model.train_on_batch(x, y)
    model.train_on_batch(x, np.full_like(y, np.inf))
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]
