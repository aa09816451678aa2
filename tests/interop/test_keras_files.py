"""Keras's files: what Keras writes gives its numbers here, and what is written here gives the same in Keras.

Last run in full with Keras 3.15.1 and h5py 3.16.0 on PyTorch 2.13.0 (KERAS_BACKEND=torch).
"""

import json
import os
import warnings
import zipfile

import numpy as np
import pytest

import seqcore as sc
from seqcore.interop.keras import load_keras, save_keras

os.environ.setdefault("KERAS_BACKEND", "torch")
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras", minversion="3.15")
K = keras.layers

B, T, D, V = 3, 6, 4, 9
CELLS = ("SimpleRNN", "LSTM", "GRU")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype(np.float32)
# Padding at the end, at the beginning and in between, and a row without any.
IDS = np.array([[3, 1, 4, 1, 0, 0], [0, 0, 5, 0, 8, 2], [6, 5, 3, 5, 8, 1]], np.int32)


@pytest.fixture(autouse=True)
def quiet():
    """Keras warns about the format .h5 and about metrics that are not built."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="keras")
        keras.utils.set_random_seed(1)
        yield


def sequential(*stack, shape=(None, D), dtype=None, **options):
    return keras.Sequential([keras.Input(shape, dtype=dtype, **options), *stack])


def functional(*stack, shape=(None, D), dtype=None):
    x = first = keras.Input(shape, dtype=dtype)
    for layer in stack:
        x = layer(x)
        x = x[0] if isinstance(x, (list, tuple)) else x
    return keras.Model(first, x)


def of_ids(*stack, make=sequential, **options):
    return make(K.Embedding(V, D, mask_zero=True, **options), *stack, shape=(None,), dtype="int32")


def randomize(model):
    """Other weights than the initial ones, in which biases are zero."""
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape, scale=0.6).astype(w.dtype) for w in model.get_weights()])
    return model


def numbers(outputs):
    parts = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [np.asarray(keras.ops.convert_to_numpy(p)) if not isinstance(p, sc.Tensor) else p.numpy() for p in parts]


def assert_same(model, other, x, bound=1e-6):
    a, b = numbers(model(x)), numbers(other(x))
    assert [p.shape for p in a] == [p.shape for p in b] and [p.dtype for p in a] == [p.dtype for p in b]
    for got, expected in zip(a, b):
        assert np.abs(got - expected).max() <= bound * max(1.0, np.abs(expected).max())


def zeroed(model):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    return model


def check(original, x, folder):
    """All ways from Keras to seqcore and back."""
    # Keras's SimpleRNN, and its layers with a mask, compute in float32 in between.
    exact = x.dtype == np.float64 and not any(isinstance(layer, K.SimpleRNN) for layer in original.layers)
    bound = 1e-12 if exact else 1e-6
    randomize(original)
    paths = {end: str(folder / f"m{end}") for end in (".keras", ".h5", ".weights.h5")}
    original.save(paths[".keras"])
    original.save(paths[".h5"])
    original.save_weights(paths[".weights.h5"])
    for end in (".keras", ".h5"):
        model = load_keras(paths[end])
        assert_same(model, original, x, bound)
    for path in paths.values():
        assert_same(load_keras(path, zeroed(model)), original, x, bound)
        save_keras(model, path)
    for end in (".keras", ".h5"):
        assert_same(keras.saving.load_model(paths[end]), original, x, bound)
    zeroed(original).load_weights(paths[".weights.h5"])
    assert_same(original, model, x, bound)
    return model


RECURRENT = [
    {},
    {"return_sequences": True},
    {"go_backwards": True},
    {"go_backwards": True, "return_sequences": True},
    {"use_bias": False},
    {"activation": "relu"},
    {"activation": "linear", "return_sequences": True},
    {"activation": "hard_sigmoid"},
    {"dropout": 0.2, "recurrent_dropout": 0.3, "seed": 4},
    {"zero_output_for_mask": True, "return_sequences": True},
    {"return_state": True},
    {"return_state": True, "return_sequences": True},
    {"kernel_initializer": "he_normal", "recurrent_initializer": keras.initializers.Identity(0.5)},
    {"bias_initializer": keras.initializers.Constant(0.1), "trainable": False},
    {"dtype": "float64", "return_sequences": True},
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", RECURRENT, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent(cell, options, masked, tmp_path):
    layer = getattr(K, cell)(5, **options)
    if masked:
        check(of_ids(layer, dtype=options.get("dtype")), IDS, tmp_path)
    else:
        check(sequential(layer, dtype=options.get("dtype")), X.astype(options.get("dtype", "float32")), tmp_path)


GATES = [
    ("LSTM", {"recurrent_activation": "hard_sigmoid"}),
    ("LSTM", {"recurrent_activation": "tanh", "unit_forget_bias": False}),
    ("GRU", {"recurrent_activation": "relu"}),
    *[("GRU", {"reset_after": after, "use_bias": bias}) for after in (True, False) for bias in (True, False)],
]


@pytest.mark.parametrize("cell, options", GATES, ids=str)
def test_gates(cell, options, tmp_path):
    layer = getattr(K, cell)(5, return_sequences=True, **options)
    model = check(of_ids(layer), IDS, tmp_path)
    for name, value in options.items():
        assert getattr(model.layers[1], name) == value


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None], ids=str)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_bidirectional(cell, sequences, merge, masked, tmp_path):
    layer = K.Bidirectional(getattr(K, cell)(3, return_sequences=sequences), merge_mode=merge)
    check(of_ids(layer), IDS, tmp_path) if masked else check(sequential(layer), X, tmp_path)


def test_bidirectional_of_two_layers(tmp_path):
    back = K.GRU(4, return_sequences=True, go_backwards=True, reset_after=False, name="way_back")
    layer = K.Bidirectional(K.LSTM(3, return_sequences=True), backward_layer=back)
    model = check(of_ids(layer), IDS, tmp_path)
    assert type(model.layers[1].backward_layer) is sc.layers.GRU
    check(sequential(K.Bidirectional(K.LSTM(3, return_state=True))), X, tmp_path)


def test_bidirectional_that_begins_backwards(tmp_path):
    """Keras returns the sequence of the first layer in the order of processing, which is refused."""
    forward, back = K.GRU(3, go_backwards=True, return_sequences=True), K.GRU(3, return_sequences=True)
    sequential(K.Bidirectional(forward, backward_layer=back)).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="layer 'bidirectional.*: expected go_backwards=False"):
        load_keras(tmp_path / "m.keras")
    forward, back = K.GRU(3, go_backwards=True), K.GRU(3)
    check(sequential(K.Bidirectional(forward, backward_layer=back)), X, tmp_path)


OTHERS = {
    "dense": lambda: [K.Dense(5, activation="tanh"), K.Dense(3, use_bias=False), K.Dense(2, activation="softmax")],
    "activations": lambda: [K.Activation(n) for n in ("linear", "tanh", "relu", "sigmoid", "hard_sigmoid", "softmax")],
    "more_activations": lambda: [
        *[K.Activation(name) for name in ("elu", "gelu", "leaky_relu", "silu", "softplus", "log_softmax")],
        *[K.Dense(3, activation=name) for name in ("elu", "gelu", "leaky_relu", "silu", "softplus")],
    ],
    "normalization": lambda: [
        K.LayerNormalization(epsilon=0.01),
        K.LSTM(4, return_sequences=True),
        K.LayerNormalization(center=False),
        K.LayerNormalization(scale=False),
    ],
    "relu": lambda: [K.ReLU(max_value=0.7, negative_slope=0.1, threshold=0.2), K.ReLU()],
    "softmax": lambda: [K.Softmax(), K.Softmax(axis=1), K.Softmax(axis=[1, 2])],
    "dropout": lambda: [K.Dropout(0.4, noise_shape=(None, 1, D), seed=3)],
    "time_distributed": lambda: [K.TimeDistributed(K.Dense(3)), K.TimeDistributed(K.Activation("tanh"))],
    "average": lambda: [K.GlobalAveragePooling1D(keepdims=True), K.GlobalAveragePooling1D()],
    "maximum": lambda: [K.GlobalMaxPooling1D(keepdims=True), K.Flatten(), K.Dense(2)],
    "nested": lambda: [sequential(K.GRU(3), K.Dense(2), name="inside"), K.Dense(2)],
    "names": lambda: [K.Dense(2, name="z"), K.LSTM(2, name="a b", return_sequences=True), K.Dense(2, name="a")],
    **{
        f"conv_{padding}": lambda padding=padding: [
            K.Conv1D(3, 2, padding=padding, activation="relu"),
            K.Conv1D(2, 2, padding=padding, dilation_rate=2, use_bias=False),
            K.Conv1D(2, 2, strides=2, padding=padding),
        ]
        for padding in ("valid", "same", "causal")
    },
}


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name, make, tmp_path):
    check(make(*OTHERS[name]()), X, tmp_path)


MASKED = {
    "flat": lambda: [K.LSTM(3, return_sequences=True), K.Dropout(0.1), K.Dense(4), K.GRU(2)],
    "average": lambda: [K.Activation("tanh"), K.GlobalAveragePooling1D()],
    "steps": lambda: [K.TimeDistributed(K.Dense(3)), K.SimpleRNN(3, return_sequences=True), K.GRU(3)],
    "backwards": lambda: [K.LSTM(3, return_sequences=True, go_backwards=True), K.LayerNormalization(), K.Dense(3)],
    "both": lambda: [K.Bidirectional(K.LSTM(3, return_sequences=True)), K.GRU(2), K.Dense(2)],
    "conv": lambda: [K.Conv1D(3, 2), K.GRU(2)],
    "state": lambda: [K.LSTM(3, return_sequences=True, return_state=True), K.GRU(2)],
}


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("name", MASKED)
def test_masks(name, make, tmp_path):
    if (name, make) != ("state", sequential):
        check(of_ids(*MASKED[name](), make=make), IDS, tmp_path)


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("name", MASKED)
def test_masking(name, make, tmp_path):
    """Masked steps of numbers instead of ids."""
    if (name, make) != ("state", sequential):
        check(make(K.Masking(0.5), *MASKED[name]()), np.where(IDS[:, :, None] == 0, np.float32(0.5), X), tmp_path)


@pytest.mark.parametrize("make", [sequential, functional])
def test_rnn_around_a_cell(make, tmp_path):
    """It is read as the layer of that cell."""
    cells = {
        sc.layers.LSTM: K.LSTMCell(3, dropout=0.1),
        sc.layers.SimpleRNN: K.SimpleRNNCell(2, activation="relu"),
        sc.layers.GRU: K.GRUCell(2, reset_after=False),
    }
    stack = [K.RNN(cell, return_sequences=True, name=cls.__name__) for cls, cell in cells.items()]
    original = randomize(of_ids(*stack, K.Dense(2), make=make))
    for end in ("keras", "h5"):
        original.save(tmp_path / f"m.{end}")
        model = load_keras(tmp_path / f"m.{end}")
        assert [type(layer) for layer in model.layers[1:-1]] == list(cells) and model.layers[1].dropout == 0.1
        assert [layer.name for layer in model.layers[1:-1]] == [cls.__name__ for cls in cells]
        assert_same(model, original, IDS)


def test_a_cell_keeps_its_own_settings(tmp_path):
    """A frozen cell is a frozen layer; a cell of another type than its layer is refused."""
    sequential(K.RNN(K.GRUCell(3, trainable=False))).save(tmp_path / "m.keras")
    assert not load_keras(tmp_path / "m.keras").trainable_weights
    sequential(K.RNN(K.GRUCell(3, dtype="float64"))).save(tmp_path / "m.keras")
    with pytest.raises(
        ValueError, match="layer 'rnn.*: cell: expected the dtype 'float32' of the layer, got 'float64'"
    ):
        load_keras(tmp_path / "m.keras")
    original = randomize(sequential(K.Bidirectional(K.RNN(K.LSTMCell(2), return_sequences=True)), K.GRU(2)))
    original.save(tmp_path / "m.keras")
    assert_same(load_keras(tmp_path / "m.keras"), original, X)


def test_layers_of_the_other_door(tmp_path):
    """Layers of seqcore.interop.keras in a model of Keras are read as those of seqcore itself."""
    own = pytest.importorskip("seqcore.interop.keras.layers")
    stack = [K.Bidirectional(own.LSTM(3, return_sequences=True)), own.SimpleRNN(2, return_sequences=True), own.GRU(3)]
    original = randomize(of_ids(*stack, K.Dense(2)))
    for end in ("keras", "h5"):
        original.save(tmp_path / f"m.{end}")
        model = load_keras(tmp_path / f"m.{end}")
        assert [type(layer) for layer in model.layers[2:4]] == [sc.layers.SimpleRNN, sc.layers.GRU]
        assert_same(model, original, IDS, 1e-5)


def test_a_mask_of_reversed_steps_is_refused(tmp_path):
    """Keras leaves the mask in the order of time, though the steps are in the order of processing."""
    of_ids(K.LSTM(3, return_sequences=True, go_backwards=True), K.Dense(2), K.GRU(3)).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="layer 'gru.*expected no mask of steps in reverse order"):
        load_keras(tmp_path / "m.keras")


def test_a_maximum_of_masked_steps_is_refused(tmp_path):
    """Keras takes the maximum over padding too."""
    of_ids(K.GlobalMaxPooling1D()).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="layer 'global_max_pooling1d.*expected no mask before a GlobalMaxPooling1D"):
        load_keras(tmp_path / "m.keras")
    stack = [sc.layers.Embedding(V, D, mask_zero=True), sc.layers.GlobalMaxPooling1D()]
    with pytest.raises(ValueError, match="expected no mask"):
        save_keras(sc.Sequential([sc.layers.Input((None,), dtype="int32"), *stack]), tmp_path / "m.keras")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_stateful(bidirectional, tmp_path):
    layer = K.LSTM(3, stateful=True, return_sequences=True)
    layer = K.Bidirectional(layer) if bidirectional else layer
    original = randomize(keras.Sequential([keras.Input(batch_shape=(B, T, D)), layer, K.Dense(2)]))
    original.save(tmp_path / "m.keras")
    model = load_keras(tmp_path / "m.keras")
    save_keras(model, tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    for _ in range(3):
        expected = numbers(original(X))[0]
        for other in (model, again):
            assert np.abs(numbers(other(X))[0] - expected).max() < 1e-6


def test_states_as_outputs(tmp_path):
    """All outputs of the last layer of a functional model are those of the model."""
    x = keras.Input((None, D))
    original = randomize(keras.Model(x, list(K.LSTM(3, return_state=True, return_sequences=True)(x))))
    for end in ("keras", "h5"):
        original.save(tmp_path / f"m.{end}")
        assert_same(load_keras(tmp_path / f"m.{end}"), original, X)


def test_mixed_bfloat16(tmp_path):
    original = randomize(sequential(K.LSTM(3), K.Dense(2), dtype="float32"))
    policy = sequential(K.LSTM(3, dtype="mixed_bfloat16"), K.Dense(2, dtype="mixed_bfloat16"))
    policy.set_weights(original.get_weights())
    policy.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        # Of processors that cannot multiply bfloat16.
        warnings.simplefilter("ignore")
        model = load_keras(tmp_path / "m.keras")
        save_keras(model, tmp_path / "m.keras")
    assert [layer.dtype_policy for layer in model.layers] == ["mixed_bfloat16"] * 2
    assert np.abs(model(X).numpy() - numbers(original(X))[0]).max() < 0.05
    assert keras.saving.load_model(tmp_path / "m.keras").layers[0].dtype_policy.name == "mixed_bfloat16"


def test_subclassed_models_share_weights(tmp_path):
    class Theirs(keras.Model):
        def __init__(self):
            super().__init__()
            self.cell, self._head = K.LSTMCell(3), K.Dense(2)
            self.stack, self.blocks = [K.Dense(3), K.Dense(3)], [K.Dense(3), K.GRU(3), K.Dense(3)]
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, x):
            h = [keras.ops.zeros((B, 3))] * 2
            y, _ = self.cell(x[:, 0], h)
            for layer in (*self.stack, *self.blocks[:2]):
                x = layer(x)
            y = y + self.blocks[2](x)
            return self._head(y) * self.scale

    class Ours(sc.Model):
        def __init__(self):
            super().__init__()
            self.cell, self._head = sc.layers.LSTMCell(3), sc.layers.Dense(2)
            self.stack = [sc.layers.Dense(3), sc.layers.Dense(3)]
            self.blocks = [sc.layers.Dense(3), sc.layers.GRU(3), sc.layers.Dense(3)]
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, x):
            y, _ = self.cell(x[:, 0])
            for layer in (*self.stack, *self.blocks[:2]):
                x = layer(x)
            y = y + self.blocks[2](x)
            return self._head(y) * self.scale

    theirs, ours = Theirs(), Ours()
    theirs(X), ours(X)
    theirs.compile("adam", "mse")
    randomize(theirs).fit(X, np.zeros((B, 2)), verbose=0)
    theirs.save_weights(tmp_path / "m.weights.h5")
    assert_same(load_keras(tmp_path / "m.weights.h5", ours), theirs, X)
    save_keras(ours, tmp_path / "m.weights.h5")
    zeroed(theirs).load_weights(tmp_path / "m.weights.h5")
    assert_same(ours, theirs, X)


# --- how a model was compiled -----------------------------------------------------------------------------------------

Y = np.array([0, 2, 1])


def classifier():
    return sequential(K.GRU(4), K.Dense(3, activation="softmax"))


OPTIMIZERS = {
    "sgd": lambda o: o.SGD(0.1),
    "momentum": lambda o: o.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0),
    "adam": lambda o: o.Adam(0.01, beta_1=0.8, epsilon=1e-5),
    "amsgrad": lambda o: o.Adam(0.01, amsgrad=True, weight_decay=0.01),
    "rmsprop": lambda o: o.RMSprop(0.01, rho=0.8, momentum=0.5, centered=True),
    "adagrad": lambda o: o.Adagrad(0.1, global_clipnorm=1.0),
    "exponential": lambda o: o.SGD(o.schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True)),
    "cosine": lambda o: o.Adam(o.schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3)),
    "piecewise": lambda o: o.Adam(o.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.05, 0.01])),
    "polynomial": lambda o: o.Adam(o.schedules.PolynomialDecay(0.1, 10, cycle=True)),
    "inverse": lambda o: o.SGD(o.schedules.InverseTimeDecay(0.1, 10, 0.5)),
}


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_continues(name, end, tmp_path):
    """Three steps, then as many on the other side: the state of the optimizer comes along; into .keras, too.

    Keras itself cannot train a Sequential of an .h5 file with that state.
    """
    path = str(tmp_path / f"m{end}")
    original = randomize(classifier())
    original.compile(OPTIMIZERS[name](keras.optimizers), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for _ in range(3):
        original.train_on_batch(X, Y)
    original.save(path)
    model = load_keras(path)
    assert int(model.optimizer.iterations) == 3
    save_keras(model, path)
    others = [model, *([keras.saving.load_model(path)] if end == ".keras" else [])]
    for _ in range(3):
        expected = original.train_on_batch(X, Y)
        for other in others:
            np.testing.assert_allclose(other.train_on_batch(X, Y), expected, rtol=1e-4, atol=1e-5)
    for other in others:
        for a, b in zip(other.get_weights(), original.get_weights()):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


LOSSES = {
    "name": ("mse", ["mae", "mse"]),
    "sparse": (lambda m: m.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1), ["accuracy"]),
    "categorical": (
        lambda m: m.CategoricalCrossentropy(label_smoothing=0.1, reduction="sum"),
        ["categorical_accuracy"],
    ),
    "binary": (lambda m: m.BinaryCrossentropy(), [lambda m: m.BinaryAccuracy(threshold=0.4), "binary_crossentropy"]),
    "squares": (lambda m: m.MeanSquaredError(), [lambda m: m.RootMeanSquaredError(name="root")]),
    "top": (
        lambda m: m.SparseCategoricalCrossentropy(),
        [lambda m: m.SparseTopKCategoricalAccuracy(k=2), lambda m: m.SparseCategoricalCrossentropy()],
    ),
}


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_metrics(name, end, tmp_path):
    path = str(tmp_path / f"m{end}")
    loss, metrics = LOSSES[name]
    original = randomize(classifier())
    made = [metric if isinstance(metric, str) else metric(keras.metrics) for metric in metrics]
    original.compile("sgd", loss if isinstance(loss, str) else loss(keras.losses), metrics=made)
    one_hot = name in ("name", "categorical", "binary", "squares")
    y = np.eye(3, dtype=np.float32)[Y] if one_hot else Y
    expected = original.evaluate(X, y, verbose=0)
    original.save(path)
    model = load_keras(path)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5, atol=1e-6)
    save_keras(model, path)
    again = keras.saving.load_model(path)
    np.testing.assert_allclose(again.evaluate(X, y, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_what_seqcore_lacks_is_named(tmp_path):
    path = tmp_path / "m.keras"
    original = classifier()
    original.compile("adamax", "sparse_categorical_crossentropy")
    original.save(path)
    with pytest.warns(UserWarning, match="m.keras: the model is not compiled: optimizer: .*Adamax"):
        assert load_keras(path).optimizer is None
    original.compile("adam", "huber")
    original.save(path)
    with pytest.warns(UserWarning, match="the model is not compiled: loss: .*huber"):
        assert load_keras(path).optimizer is None
    original.compile("adam", "mse", metrics=["mae", "cosine_similarity", keras.metrics.Precision()])
    original.save(path)
    with pytest.warns(UserWarning, match="compiled without .*cosine_similarity.*Precision"):
        assert load_keras(path).metrics_names == ["loss", "mae"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_keras(path, compile=False).optimizer is None


def test_what_keras_lacks_is_named(tmp_path):
    layers = sc.layers
    model = sc.Sequential([layers.Input((None, D)), layers.GRU(3), layers.Dense(2)])
    path = tmp_path / "m.keras"
    model.compile("adam", sc.losses.SparseCategoricalCrossentropy(True, reduction="batch_mean"))
    with pytest.warns(UserWarning, match="optimizer and the loss are left out: loss: Keras has no reduction"):
        save_keras(model, path)
    assert not keras.saving.load_model(path).compiled
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", "perplexity"])
    with pytest.warns(UserWarning, match="metrics are left out: metrics: Keras has no Perplexity"):
        save_keras(model, path)
    again = keras.saving.load_model(path)
    assert len(again.evaluate(X, np.array([0, 1, 1]), verbose=0)) == 2
    model.compile(sc.optimizers.Adam(lazy=True), "mse")
    with pytest.warns(UserWarning, match="lazy"):
        save_keras(model, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_keras(model, path, include_optimizer=False)


# --- what Keras writes and seqcore cannot express ---------------------------------------------------------------------


@keras.saving.register_keras_serializable("mine")
class Doubled(K.Layer):
    def call(self, x):
        return 2 * x


REFUSED = {
    "UnitNormalization": (lambda: [K.UnitNormalization()], "layer 'unit_norm.*got the class 'UnitNormalization'"),
    "regularizer": (lambda: [K.LSTM(2, kernel_regularizer="l2")], r"layer 'lstm.*\(LSTM\): kernel_regularizer"),
    "constraint": (lambda: [K.Dense(2, kernel_constraint="non_neg")], r"\(Dense\): kernel_constraint"),
    "activity": (lambda: [K.GRU(2, activity_regularizer="l1")], r"\(GRU\): activity_regularizer"),
    "activation": (lambda: [K.Dense(2, activation="selu")], r"\(Dense\): activation: .*'selu'"),
    "gates": (lambda: [K.LSTM(2, recurrent_activation="softplus")], r"\(LSTM\): recurrent_activation: .*'softplus'"),
    "lambda": (lambda: [K.Lambda(lambda x: x * 2)], "layer 'lambda.*is code"),
    "custom": (lambda: [Doubled()], "layer 'doubled.*custom objects are not read"),
    "float16": (lambda: [K.LSTM(2, dtype="float16")], r"\(LSTM\): dtype: .*'float16'"),
    "mixed": (lambda: [K.Dense(2, dtype="mixed_float16")], r"\(Dense\): dtype: .*'mixed_float16'"),
    "stacked": (lambda: [K.RNN([K.LSTMCell(2), K.LSTMCell(2)])], "cell: expected one of .*'StackedRNNCells'"),
    "groups": (lambda: [K.Conv1D(4, 2, groups=2)], r"\(Conv1D\): groups"),
    "quantized": (lambda: [quantized()], r"\(Dense\): dtype: .*QuantizedDTypePolicy|quantization_config"),
}


def quantized():
    layer = K.Dense(2)
    layer.build((None, None, D))
    layer.quantize("int8")
    return layer


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    stack, message = REFUSED[name]
    model = sequential(*stack())
    for end in ("keras", "h5"):
        if (name, end) not in (("quantized", "h5"), ("custom", "h5")):
            path = tmp_path / f"m.{end}"
            model.save(path)
            with pytest.raises(ValueError, match=message) as caught:
                load_keras(path)
            assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def two_inputs():
    a, b = keras.Input((D,)), keras.Input((D,))
    return keras.Model([a, b], K.Dense(2)(K.Concatenate()([a, b])))


def two_outputs():
    a = keras.Input((D,))
    return keras.Model(a, [K.Dense(2)(a), K.Dense(3)(a)])


def a_sum():
    a = keras.Input((D,))
    return keras.Model(a, K.Add()([a, K.Dense(D)(a)]))


def shared():
    a, layer = keras.Input((D,)), K.Dense(D)
    return keras.Model(a, layer(layer(a)))


def states_given():
    a = keras.Input((None, D))
    _, *states = K.LSTM(3, return_state=True, name="encoder")(a)
    return keras.Model(a, K.LSTM(3)(a, initial_state=states))


def last_state():
    a = keras.Input((None, D))
    return keras.Model(a, K.LSTM(3, return_state=True)(a)[1])


def own_mask():
    a = keras.Input((None,), dtype="int32")
    return keras.Model(a, K.GRU(3)(K.Embedding(V, D)(a), mask=keras.ops.not_equal(a, 0)))


@pytest.mark.parametrize("make", [two_inputs, two_outputs, a_sum, shared, states_given, last_state, own_mask])
def test_graphs_that_are_no_chain_are_refused(make, tmp_path):
    for end in ("keras", "h5"):
        make().save(tmp_path / f"m.{end}")
        with pytest.raises(
            ValueError, match=r"m\.(keras|h5): .*(chain|once|output|no argument|no mask|one input|a tensor)"
        ) as caught:
            load_keras(tmp_path / f"m.{end}")
        assert "\n" not in str(caught.value)


def test_what_is_read_stands_in_keras_config(tmp_path):
    """Every argument that Keras writes for a layer is one that the reader has seen: a new one must not pass unseen."""
    model = sequential(
        K.Conv1D(D, 1), K.LSTM(D, return_sequences=True), K.GRU(D, return_sequences=True), K.Softmax(), K.ReLU(),
        K.SimpleRNN(D, return_sequences=True), K.Dropout(0.1), K.TimeDistributed(K.Dense(D)), K.Activation("tanh"),
        K.Bidirectional(K.LSTM(D, return_sequences=True)), K.GlobalMaxPooling1D(keepdims=True), K.Flatten(),
    )  # fmt: skip
    path = tmp_path / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    for layer in config["config"]["layers"]:
        layer["config"]["novelty"] = 1
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**parts, "config.json": json.dumps(config)}.items():
                archive.writestr(name, content)
        with pytest.raises(ValueError, match="novelty"):
            load_keras(path)
        del layer["config"]["novelty"]
