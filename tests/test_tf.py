"""TensorFlow's names: values against NumPy, and the same assertions against TensorFlow where it is installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seqcore as sc
import seqcore.tf as sc_tf
from tests.helpers.cases import central_difference

ROOT = Path(__file__).parents[1]
X = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
Y = np.abs(np.random.default_rng(2).normal(size=(3, 4)).astype("float32")) + 0.1
SQUARE = (X[:, :3] + X[:, :3].T).astype("float32")


@pytest.fixture(params=["seqcore", "tensorflow"])
def tf(request):
    """The module under test, and the one that it takes its names from."""
    return sc_tf if request.param == "seqcore" else pytest.importorskip("tensorflow")


@pytest.fixture(autouse=True)
def _seed():
    sc.set_seed(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- operations ------------------------------------------------------------------------------------------------------

# Name -> arguments, value by NumPy.
OPERATIONS = {
    "abs": ((X,), abs(X)),
    "add": ((X, Y), X + Y),
    "divide": ((X, Y), X / Y),
    "exp": ((X,), np.exp(X)),
    "maximum": ((X, Y), np.maximum(X, Y)),
    "minimum": ((X, Y), np.minimum(X, Y)),
    "multiply": ((X, Y), X * Y),
    "negative": ((X,), -X),
    "pow": ((Y, 1.5), Y**1.5),
    "sqrt": ((Y,), np.sqrt(Y)),
    "square": ((X,), X * X),
    "subtract": ((X, Y), X - Y),
    "sigmoid": ((X,), sigmoid(X)),
    "tanh": ((X,), np.tanh(X)),
    "equal": ((X, X), np.ones_like(X, bool)),
    "greater": ((X, 0.0), X > 0),
    "greater_equal": ((X, X), np.ones_like(X, bool)),
    "less": ((X, 0.0), X < 0),
    "less_equal": ((X, Y), X <= Y),
    "not_equal": ((X, Y), X != Y),
    "where": ((X > 0, X, Y), np.where(X > 0, X, Y)),
    "cast": (([1.7, -1.7], "int32"), np.array([1, -1], "int32")),
    "matmul": ((X, Y.T.copy()), X @ Y.T),
    "concat": (([X, Y], 1), np.concatenate([X, Y], 1)),
    "expand_dims": ((X, 1), X[:, None]),
    "gather": ((X, [2, 0, 2]), X[[2, 0, 2]]),
    "reshape": ((X, [2, -1]), X.reshape(2, 6)),
    "split": ((X, 2, 1), [X[:, :2], X[:, 2:]]),
    "squeeze": ((X[:, :1], 1), X[:, 0]),
    "stack": (([X, Y], 1), np.stack([X, Y], 1)),
    "transpose": ((X, [1, 0]), X.T),
    "unstack": ((X, 4, 1), list(X.T)),
    "ones": (([2, 3],), np.ones((2, 3), "float32")),
    "ones_like": ((X,), np.ones_like(X)),
    "zeros": (([2, 3],), np.zeros((2, 3), "float32")),
    "zeros_like": ((X,), np.zeros_like(X)),
    "reduce_max": ((X, 1), X.max(1)),
    "reduce_mean": ((X, 0), X.mean(0)),
    "reduce_min": ((X,), X.min()),
    "reduce_sum": ((X, -1), X.sum(-1)),
    "clip_by_value": ((X, -0.5, 0.5), X.clip(-0.5, 0.5)),
    "clip_by_norm": ((X, 1.0), X / np.linalg.norm(X)),
    "norm": ((X,), np.linalg.norm(X)),
    "constant": ((X,), X),
    "range": ((2, 9, 3), np.array([2, 5, 8], "int32")),
    "linalg.norm": ((X, "euclidean", 1, True), np.linalg.norm(X, axis=1, keepdims=True)),
    "linalg.matmul": ((X.T.copy(), X), X.T @ X),
    "linalg.eigh": ((SQUARE,), None),
    "math.log": ((Y,), np.log(Y)),
    "nn.relu": ((X,), X.clip(0)),
    "nn.sigmoid": ((X,), sigmoid(X)),
    "nn.tanh": ((X,), np.tanh(X)),
    "nn.softmax": ((X,), softmax(X)),
    "nn.log_softmax": ((X,), np.log(softmax(X))),
    **{f"math.{name}": None for name in dir(sc_tf.math) if name != "log"},
}
# Tested below, one by one.
OTHERS = {"GradientTape", "IndexedSlices", "Tensor", "Variable", "clip_by_global_norm", "data", "keras", "linalg",
          "math", "nn", "random", "float32", "float64", "int32", "int64",
          "nn.nce_loss", "nn.sampled_softmax_loss"}  # fmt: skip


def test_every_name_is_tested():
    names = {
        *dir(sc_tf),
        *(f"{part}.{name}" for part in ("linalg", "math", "nn") for name in dir(getattr(sc_tf, part))),
    }
    assert names == set(OPERATIONS) | OTHERS


def named(module, path):
    for name in path.split("."):
        module = getattr(module, name)
    return module


def test_the_page_lists_the_names():
    page = (ROOT / "docs/guide/tensorflow.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(tf[\w.]*)` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 8
    for owner, cell in rows:
        offered = {name for name in dir(named(sc, owner)) if not name.startswith("_")}
        assert set(re.findall(r"`(\w+)`", cell)) == offered, owner


@pytest.mark.parametrize("name", [name for name, case in OPERATIONS.items() if case and case[1] is not None])
def test_values(tf, name):
    arguments, expected = OPERATIONS[name]
    result = named(tf, name)(*arguments)
    if isinstance(expected, list):
        assert len(result) == len(expected)
        for part, want in zip(result, expected):
            np.testing.assert_allclose(part.numpy(), want, rtol=1e-5)
        return
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert result.dtype == expected.dtype and result.shape == expected.shape


@pytest.mark.parametrize("name", dir(sc_tf.math))
def test_math_has_the_operations_of_the_top(name):
    if name != "log":
        assert getattr(sc_tf.math, name) is getattr(sc_tf, name)


def test_eigenvalues(tf):
    values, vectors = (part.numpy() for part in tf.linalg.eigh(SQUARE))
    np.testing.assert_allclose(vectors * values @ vectors.T, SQUARE, atol=1e-5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(SQUARE), atol=1e-5)
    upper = np.tril(SQUARE) + 7 * np.triu(np.ones_like(SQUARE), 1)
    np.testing.assert_allclose(tf.linalg.eigh(upper)[0].numpy(), values, atol=1e-5)


def test_norms_of_powers_of_a_matrix(tf):
    """The list grows by a product with a list of one tensor, which gets one axis more each time."""
    for factor in (1.0, 0.4):
        w = tf.ones([2, 2]) * factor
        powers = [w]
        for _ in range(5):
            powers.append([powers[-1] @ w])
        largest = tf.linalg.eigh(w)[0].numpy().max()
        norms = [tf.norm(power).numpy() for power in powers]
        np.testing.assert_allclose(norms, largest ** np.arange(1, 7), rtol=1e-5)


def test_norm_has_its_gradient():
    x = sc.Variable(X.astype("float64"))
    with sc.GradientTape() as tape:
        total = sc_tf.reduce_sum(sc_tf.norm(x, axis=1))
    gradient = tape.gradient(total, x)

    def value():
        return float(sc_tf.reduce_sum(sc_tf.norm(x, axis=1)))

    for place in np.ndindex(x.shape):
        np.testing.assert_allclose(gradient.numpy()[place], central_difference(value, x, place), rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, dtype, values",
    [
        (([1, 2],), "int32", [1, 2]),
        ((3,), "int32", 3),
        (([1.5, 2],), "float32", [1.5, 2]),
        ((True,), "bool", True),
        ((np.arange(2),), "int64", [0, 1]),
        ((np.ones(2),), "float64", [1, 1]),
        (([0.1], "float64"), "float64", [0.1]),
        (([1, 2], "float32"), "float32", [1, 2]),
        ((0.5, None, [2, 2]), "float32", [[0.5, 0.5], [0.5, 0.5]]),
        (([1, 2, 3, 4], None, [2, 2]), "int32", [[1, 2], [3, 4]]),
    ],
)
def test_constants(tf, arguments, dtype, values):
    result = tf.constant(*arguments).numpy()
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.array(values, dtype))


def test_an_integer_beyond_int32_keeps_its_value():
    assert int(sc_tf.constant(2**40)) == 2**40


@pytest.mark.parametrize("arguments", [(4,), (0,), (1, 5), (7, 1, -2), (3.0,), (0, 1, 0.25), (0.5, 2), (2, 2)], ids=str)
def test_ranges(tf, arguments):
    result = tf.range(*arguments).numpy()
    expected = np.arange(*arguments)
    assert result.dtype == ("int32" if expected.dtype.kind == "i" else "float32")
    np.testing.assert_allclose(result, expected)
    assert tf.range(3, dtype=tf.int64).numpy().dtype == "int64"


def test_types(tf):
    for name in ("float32", "float64", "int32", "int64"):
        assert tf.zeros([1], getattr(tf, name)).dtype == name
        assert tf.cast([1.0], getattr(tf, name)).numpy().dtype == name


def test_operations_are_followed_by_the_tape(tf):
    w = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sigmoid(tf.matmul(tf.ones([1, 2]), w)) ** 2)
    s = sigmoid(np.array([4.0, 6.0]))
    np.testing.assert_allclose(tape.gradient(loss, w).numpy(), np.tile(2 * s * s * (1 - s), (2, 1)), rtol=1e-4)


def test_global_norm(tf):
    first, second = tf.random.normal([3, 3]), tf.random.normal([3, 3])
    before = tf.math.sqrt(tf.norm(first) ** 2 + tf.norm(second) ** 2)
    (a, b), norm = tf.clip_by_global_norm([first, second], 2)
    np.testing.assert_allclose(norm.numpy(), before.numpy(), rtol=1e-5)
    after = np.sqrt(tf.norm(a).numpy() ** 2 + tf.norm(b).numpy() ** 2)
    np.testing.assert_allclose(after, min(2, before.numpy()), rtol=1e-5)


@pytest.mark.parametrize("name", ["nce_loss", "sampled_softmax_loss"])
def test_sampled_losses(tf, name):
    """With candidates given, so that nothing is drawn."""
    rng = np.random.default_rng(3)
    table, biases, inputs = (rng.normal(size=shape).astype("float32") for shape in ((6, 4), (6,), (2, 4)))
    labels = np.array([[1], [5]])
    candidates = np.array([0, 3, 2]), np.full((2, 1), 0.5, "float32"), np.array([0.5, 0.25, 0.125], "float32")
    loss = getattr(tf.nn, name)(
        table, biases, labels, inputs, 3, 6, sampled_values=candidates, remove_accidental_hits=False
    ).numpy()
    rows = [np.array([labels[i, 0], 0, 3, 2]) for i in range(2)]
    logits = [table[row] @ x + biases[row] - np.log([0.5, 0.5, 0.25, 0.125]) for row, x in zip(rows, inputs)]
    if name == "nce_loss":
        expected = [np.log1p(np.exp(-z[0])) + np.log1p(np.exp(z[1:])).sum() for z in logits]
    else:
        expected = [np.log(np.exp(z).sum()) - z[0] for z in logits]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


# --- random numbers --------------------------------------------------------------------------------------------------


def test_random_tensors(tf):
    tf.random.set_seed(3)
    normal = tf.random.normal([200, 300], 2.0, 0.5).numpy()
    assert normal.dtype == "float32" and abs(normal.mean() - 2) < 0.02 and abs(normal.std() - 0.5) < 0.02
    cut = tf.random.truncated_normal([200, 300], stddev=3.0).numpy()
    # The standard deviation of a standard normal cut at +-2 is 0.8796.
    assert abs(cut).max() <= 6 and abs(cut.std() / 3 - 0.8796) < 0.02 and abs(cut.mean()) < 0.05
    uniform = tf.random.uniform([200, 300], maxval=4.0).numpy()
    assert 0 <= uniform.min() and uniform.max() < 4 and abs(uniform.mean() - 2) < 0.05
    assert 0 <= tf.random.uniform([100]).numpy().min() <= tf.random.uniform([100]).numpy().max() < 1
    whole = tf.random.uniform([1000], 2, 5, tf.int32).numpy()
    assert whole.dtype == "int32" and set(whole.tolist()) == {2, 3, 4}
    assert tf.random.normal([2], dtype=tf.float64).numpy().dtype == "float64"


def test_shuffle(tf):
    order = tf.random.shuffle(tf.range(50)).numpy()
    assert sorted(order.tolist()) == list(range(50)) and order.tolist() != list(range(50))
    rows = tf.random.shuffle(X).numpy()
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, X.tolist()))


def test_a_seed_restarts_every_draw(tf):
    def draws():
        tf.random.set_seed(7)
        return [
            tf.random.normal([3]).numpy(), tf.random.truncated_normal([3]).numpy(), tf.random.uniform([3]).numpy(),
            tf.random.uniform([3], 0, 1000, tf.int64).numpy(), tf.random.shuffle(tf.range(9)).numpy(),
        ]  # fmt: skip

    for first, second in zip(draws(), draws()):
        np.testing.assert_array_equal(first, second)


# --- data sets -------------------------------------------------------------------------------------------------------


def numbers(tf, count=10):
    return tf.data.Dataset.from_tensor_slices(np.arange(count))


def values(dataset):
    return [element.numpy().tolist() for element in dataset]


def test_slices(tf):
    pairs = tf.data.Dataset.from_tensor_slices((X, np.arange(3)))
    for i, (x, y) in enumerate(pairs):
        np.testing.assert_array_equal(x.numpy(), X[i])
        assert int(y) == i and y.numpy().dtype == "int64"
    assert len(pairs) == 3 and len(list(pairs)) == 3
    assert values(tf.data.Dataset.from_tensor_slices([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]


def test_batches(tf):
    assert values(numbers(tf).batch(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    whole = numbers(tf).batch(4, drop_remainder=True)
    assert values(whole) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(numbers(tf).batch(4)) == 3 and len(whole) == 2
    x, y = next(iter(tf.data.Dataset.from_tensor_slices((X, np.arange(3))).batch(2)))
    assert x.shape == (2, 4) and y.numpy().tolist() == [0, 1]
    assert values(numbers(tf, 4).batch(2).batch(2)) == [[[0, 1], [2, 3]]]


def test_methods(tf):
    assert values(numbers(tf).map(lambda x: 2 * x).take(3)) == [0, 2, 4]
    both = tf.data.Dataset.from_tensor_slices((X, Y)).map(lambda x, y: (x + y, y))
    np.testing.assert_allclose(next(iter(both))[0].numpy(), X[0] + Y[0], rtol=1e-6)
    assert values(numbers(tf).take(-1)) == list(range(10))
    assert values(numbers(tf, 2).repeat(3)) == [0, 1, 0, 1, 0, 1] and len(numbers(tf, 2).repeat(3)) == 6
    assert values(numbers(tf, 3).repeat().take(7)) == [0, 1, 2, 0, 1, 2, 0]
    assert values(numbers(tf, 3).repeat(2).batch(4)) == [[0, 1, 2, 0], [1, 2]]
    assert values(numbers(tf, 3).take(9)) == [0, 1, 2] and len(numbers(tf, 3).take(9)) == 3


def test_a_shuffled_data_set(tf):
    shuffled = numbers(tf, 100).shuffle(100)
    first, second = values(shuffled), values(shuffled)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second and first != list(range(100))
    assert len(shuffled) == 100
    # An element comes at most a buffer too early.
    assert all(value < place + 5 for place, value in enumerate(values(numbers(tf, 100).shuffle(5))))
    assert values(numbers(tf, 5).shuffle(1)) == [0, 1, 2, 3, 4]


def test_every_order_is_equally_likely():
    """Chi-square test over the 24 orders of four elements, from a buffer as large and from a larger one."""
    for size in (4, 9):
        dataset = numbers(sc_tf, 4).shuffle(size)
        orders = [tuple(values(dataset)) for _ in range(2400)]
        counts = np.array([orders.count(order) for order in set(orders)])
        assert len(counts) == 24
        # 23 degrees of freedom: 49.7 is the limit of one in a thousand.
        assert ((counts - 100) ** 2 / 100).sum() < 49.7


def test_a_pass_can_be_repeated_from_the_random_state():
    """So that an interrupted fit continues in the same order; numbers drawn in between change nothing."""
    dataset = numbers(sc_tf, 40).shuffle(8).batch(4)
    state = sc.random.get_state()
    first = values(dataset)
    sc.random.set_state(state)
    elements = iter(dataset)
    second = []
    for element in elements:
        sc.random.generator().random(3)
        second.append(element.numpy().tolist())
    assert first == second


def test_fit_takes_batches_of_a_data_set():
    """The same weights, to the bit, as from arrays in their order."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5, 3)).astype("float32"), rng.integers(0, 2, (20, 1))
    results = []
    for data in ((x, y), (sc_tf.data.Dataset.from_tensor_slices((x, y)).batch(8),)):
        sc.set_seed(1)
        model = sc_tf.keras.Sequential([sc.layers.GRU(4, dropout=0.5), sc.layers.Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        options = {"batch_size": 8, "shuffle": False} if len(data) == 2 else {"validation_data": data[0]}
        model.fit(*data, epochs=3, verbose=0, **options)
        evaluation = model.evaluate(*data, verbose=0, **({"batch_size": 8} if len(data) == 2 else {}))
        results.append([*model.get_weights(), np.array(evaluation)])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_fit_on_data_without_end():
    x, y = np.zeros((6, 4, 3), "float32"), np.zeros((6, 1), "float32")
    endless = sc_tf.data.Dataset.from_tensor_slices((x, y)).batch(2).repeat()
    model = sc.Sequential([sc.layers.SimpleRNN(2), sc.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"\Acount: expected a number in repeat [^\n]+\Z"):
        model.fit(endless, verbose=0)
    model.fit(endless, steps_per_epoch=5, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 10


# --- models in the words of the listings -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_cells_in_a_loop(tf, kind):
    """A cell called step by step gives what its layer gives; the output is the first state itself."""
    layers = tf.keras.layers
    x = tf.random.normal([2, 7, 5])
    cell, layer = getattr(layers, f"{kind}Cell")(4), getattr(layers, kind)(4, return_sequences=True)
    outputs = layer(x)
    cell.build(input_shape=(None, 5))
    cell.set_weights(layer.get_weights())
    assert len(cell.trainable_variables) == 3
    state = [tf.zeros([2, 4]) for _ in range(2 if kind == "LSTM" else 1)]
    for t, xt in enumerate(tf.unstack(x, axis=1)):
        out, state = cell(xt, state)
        np.testing.assert_allclose(out.numpy(), outputs.numpy()[:, t], atol=1e-5)
        assert out is state[0]
    np.testing.assert_allclose(
        cell(x[:, 0, :], [tf.zeros([2, 4])] * len(state))[0].numpy(), outputs.numpy()[:, 0], atol=1e-5
    )


def test_an_embedding_and_its_table(tf):
    net = tf.keras.layers.Embedding(10, 4)
    out = net(tf.random.shuffle(tf.range(10)))
    assert out.shape == (10, 4) and net.embeddings.trainable
    table = np.arange(40, dtype="float32").reshape(10, 4)
    net.set_weights([table])
    np.testing.assert_array_equal(net(tf.range(10)).numpy(), table)
    net.trainable = False
    assert not net.trainable_variables


def build_sentiment_model(tf, batch, units, words, steps):
    """Two cells in a loop over the words, as a subclass of Model that keeps its first states as attributes."""
    keras, layers = tf.keras, tf.keras.layers

    class Sentiment(keras.Model):
        def __init__(self):
            super(Sentiment, self).__init__()  # noqa: UP008  # as listings write it
            self.start0 = [tf.zeros([batch, units]), tf.zeros([batch, units])]
            self.start1 = [tf.zeros([batch, units])]
            self.embedding = layers.Embedding(words, 6, input_length=steps)
            self.cell0, self.cell1 = layers.LSTMCell(units, dropout=0.1), layers.GRUCell(units, dropout=0.1)
            self.head = keras.Sequential(
                [layers.Dense(units), layers.Dropout(rate=0.1), layers.ReLU(), layers.Dense(1)]
            )

        def call(self, inputs, training=None):
            state0, state1 = self.start0, self.start1
            for word in tf.unstack(self.embedding(inputs), axis=1):
                out0, state0 = self.cell0(word, state0, training)
                out1, state1 = self.cell1(out0, state1, training)
            return tf.sigmoid(self.head(out1, training))

    return Sentiment()


def test_a_model_of_cells_learns_from_data_sets():
    """Texts are positive where the word 1 comes before the word 2."""
    tf = sc_tf
    rng = np.random.default_rng(0)
    x = rng.integers(3, 8, (512, 6))
    places = np.array([rng.permutation(6)[:2] for _ in x])
    x[np.arange(512), places[:, 0]], x[np.arange(512), places[:, 1]] = 1, 2
    y = (places[:, 0] < places[:, 1]).astype("int64")
    train = tf.data.Dataset.from_tensor_slices((x[:448], y[:448])).shuffle(1000).batch(32, drop_remainder=True)
    test = tf.data.Dataset.from_tensor_slices((x[448:], y[448:])).batch(32, drop_remainder=True)
    assert int(tf.reduce_max(y)) == 1 and int(tf.reduce_min(y)) == 0
    model = build_sentiment_model(tf, 32, 16, 8, 6)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(0.01), loss=tf.keras.losses.BinaryCrossentropy(), metrics=["accuracy"]
    )
    model.fit(train, epochs=12, validation_data=test, verbose=0)
    assert model.evaluate(test, verbose=0)[1] > 0.9


def test_a_custom_loop_with_clipping(tf):
    """Gradients clipped by their global norm before the update: the step of SGD has at most the length rate * limit."""
    keras = tf.keras
    model = keras.Sequential([keras.layers.SimpleRNN(3), keras.layers.Dense(1)])
    x, y = tf.random.normal([4, 6, 2]), 100 * tf.ones([4, 1])
    model(x)
    optimizer, criterion = keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError()
    before = model.get_weights()
    with tf.GradientTape() as tape:
        loss = criterion(y, model(x))
    gradients = tape.gradient(loss, model.trainable_variables)
    gradients, norm = tf.clip_by_global_norm(gradients, 25)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    assert float(norm) > 25
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(model.get_weights(), before)))
    np.testing.assert_allclose(moved, 0.1 * 25, rtol=1e-4)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM"])
def test_a_toy_model_recomputed_from_its_weights(tf, kind):
    """add, input_shape, initializers and metrics by name; predict against NumPy."""
    keras = tf.keras
    x = keras.utils.pad_sequences([[3, 1], [2]], maxlen=2, padding="pre").reshape(2, 2, 1)
    y = keras.utils.to_categorical([[2], [4]], num_classes=5)
    gates = {"recurrent_activation": "sigmoid"} if kind == "LSTM" else {}
    model = keras.Sequential()
    model.add(
        getattr(keras.layers, kind)(
            1, activation="tanh", return_sequences=False, recurrent_initializer="Zeros", unroll=True, **gates
        )
    )
    model.add(keras.layers.Dense(5, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["acc"])
    history = model.fit(x, np.array(y), epochs=3, verbose=0).history
    assert {"loss", "acc"} <= set(history) and len(history["loss"]) == 3
    w, u, b, kernel, bias = model.get_weights()
    h = c = np.zeros(1)
    for value in x[0, :, 0]:
        z = value * w[0] + h * u[0] + b
        if kind == "LSTM":
            i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
            c = f * c + i * g
            h = o * np.tanh(c)
        else:
            h = np.tanh(z)
    np.testing.assert_allclose(
        model.predict(x[0].reshape(1, 2, 1), verbose=0), softmax(h * kernel[0] + bias)[None], rtol=1e-4
    )
    assert [tuple(v.shape) for v in model.weights] == [w.shape, u.shape, b.shape, kernel.shape, bias.shape]


# --- imports and refusals --------------------------------------------------------------------------------------------


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "import seqcore.tf as tf",
        "from seqcore.tf import keras",
        "import seqcore.tf.keras as keras",
        "from seqcore.tf.keras import Model, Sequential, Input, layers, losses, metrics, optimizers, callbacks",
        "from seqcore.tf.keras.layers import LSTM, Dense, Embedding",
        "from seqcore.tf.keras.models import Sequential, load_model",
        "from seqcore.tf.keras.utils import to_categorical, pad_sequences, set_random_seed",
        "from seqcore.tf.keras.preprocessing.sequence import pad_sequences",
        "from seqcore.tf.keras.datasets import imdb",
        "from seqcore.tf.keras.datasets.imdb import load_data, get_word_index",
        "from seqcore.tf.keras.initializers import Zeros",
    ],
)
def test_import_lines(line):
    """Each in a process of its own: nothing was imported before."""
    run_python(line)


def test_keras_is_seqcore():
    from seqcore.tf.keras import layers

    assert layers is sc.layers and sc.tf is sc_tf and sc_tf.keras.Model is sc.Model
    assert sc_tf.keras.utils.pad_sequences is sc_tf.keras.preprocessing.sequence.pad_sequences is sc.pad_sequences
    assert sc_tf.Tensor is sc.Tensor and sc_tf.IndexedSlices is sc.IndexedSlices


def test_seqcore_alone_does_not_import_it():
    assert run_python("import sys, seqcore; print('seqcore.tf' in sys.modules, 'seqcore.datasets' in sys.modules)") == (
        "False False\n"
    )


@pytest.mark.parametrize(
    "owner, name, hint",
    [
        ("tf", "einsum", r"dir\(tf\) lists them"),
        ("tf", "reduce_maximum", "did you mean 'reduce_max'"),
        ("tf", "placeholder", "it belongs to TensorFlow 1"),
        ("tf.keras", "applications", r"dir\(tf.keras\)"),
        ("tf.keras.datasets", "cifar10", "dir"),
        ("tf.keras.preprocessing", "text", "dir"),
        ("tf.data", "TFRecordDataset", "dir"),
        ("tf.linalg", "eig", "did you mean 'eigh'"),
        ("tf.math", "lgamma", "dir"),
        ("tf.nn", "conv2d", "dir"),
        ("tf.random", "gamma", "dir"),
    ],
)
def test_missing_names_are_refused(owner, name, hint):
    place = named(sc, owner)
    with pytest.raises(
        AttributeError, match=rf"\A{re.escape(owner)}: expected [^\n]+, got '{name}'; [^\n]*{hint}[^\n]*\Z"
    ):
        getattr(place, name)
    assert not hasattr(place, name) and name not in dir(place)


def test_missing_methods_of_a_data_set_are_refused():
    with pytest.raises(AttributeError, match="tf.data.Dataset: expected .*, got 'prefetch'"):
        numbers(sc_tf).prefetch(1)
    with pytest.raises(AttributeError, match="did you mean 'shuffle'"):
        numbers(sc_tf).suffle(1)


RAGGED = np.empty(2, object)
RAGGED[:] = [[1, 2], [3]]
slices = sc_tf.data.Dataset.from_tensor_slices
MISUSES = {
    "strings": (lambda: sc_tf.constant("a"), TypeError, "value: expected numbers"),
    "fractions as integers": (lambda: sc_tf.constant([1.5], "int32"), ValueError, "value: expected whole numbers"),
    "an unknown type": (lambda: sc_tf.constant([1], "int99"), ValueError, "dtype: expected"),
    "a shape that does not fit": (lambda: sc_tf.constant([1, 2, 3], shape=[2]), ValueError, "shape: expected 3"),
    "a step of 0": (lambda: sc_tf.range(0, 5, 0), ValueError, "delta: expected a step from 0 towards 5"),
    "a step away": (lambda: sc_tf.range(5, 2), ValueError, "delta: expected a step"),
    "no number": (lambda: sc_tf.range("a"), ValueError, "limit: expected"),
    "a matrix that is not square": (lambda: sc_tf.linalg.eigh(X), ValueError, "tensor: expected square"),
    "another norm": (lambda: sc_tf.norm(X, 1), ValueError, "ord: expected 'euclidean'"),
    "an axis too far": (lambda: sc_tf.norm(X, axis=2), ValueError, "axis: expected"),
    "normal integers": (lambda: sc_tf.random.normal([2], dtype="int32"), ValueError, "dtype: expected"),
    "a seed of an operation": (lambda: sc_tf.random.normal([2], seed=1), ValueError, "seed: expected None"),
    "integers without end": (lambda: sc_tf.random.uniform([2], dtype="int32"), ValueError, "maxval: expected"),
    "an empty interval": (lambda: sc_tf.random.uniform([2], 3, 3, "int64"), ValueError, "maxval: expected"),
    "one number shuffled": (lambda: sc_tf.random.shuffle(3), ValueError, "value: expected"),
    "ragged rows": (lambda: slices([[1], [2, 3]]), ValueError, "tensors: expected rows of one length"),
    "lists in an array": (lambda: slices(RAGGED), TypeError, "tensors: expected numbers"),
    "different lengths": (lambda: slices(([1, 2], [3])), ValueError, "tensors: expected arrays of one length"),
    "nothing": (lambda: slices(()), ValueError, "tensors: expected arrays"),
    "a number": (lambda: slices(3), ValueError, "tensors: expected arrays"),
    "batches of 0": (lambda: slices([1]).batch(0), ValueError, "batch_size: expected"),
    "a word for True": (lambda: slices([1]).batch(1, drop_remainder="yes"), ValueError, "drop_remainder: expected"),
    "an empty buffer": (lambda: slices([1]).shuffle(0), ValueError, "buffer_size: expected"),
    "a seed of a shuffle": (lambda: slices([1]).shuffle(1, seed=2), ValueError, "seed: expected None"),
    "no function": (lambda: slices([1]).map(3), TypeError, "map_func: expected a function"),
    "a function without result": (lambda: values(slices([1]).map(print)), TypeError, "map_func: expected numbers"),
    "elements of two shapes": (lambda: values(slices([1, 2]).map(sc_tf.range).batch(2)), ValueError, "batch: expected"),
    "take without number": (lambda: slices([1]).take("all"), ValueError, "count: expected"),
    "a list without end": (lambda: list(slices([1]).repeat()), ValueError, "count: expected a number in repeat"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_told_in_one_line(name, capsys):
    call, kind, message = MISUSES[name]
    with pytest.raises(kind, match=rf"\A{message}[^\n]*\Z"):
        call()


def test_film_reviews_by_keras_names(tmp_path, monkeypatch):
    """SEQCORE_DATA names the folder, as for seqcore run."""
    rows = ["1\t9\ta\tGood film, good!", "0\t2\tb\tBad film."]
    for split in ("train", "test"):
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"film": 1, "good": 2, "bad": 3}))
    monkeypatch.setenv("SEQCORE_DATA", str(tmp_path))
    imdb = sc_tf.keras.datasets.imdb
    (x, y), _ = imdb.load_data()
    assert sorted(zip(map(tuple, x), y.tolist())) == [((1, 5, 4, 5), 1), ((1, 6, 4), 0)]
    assert imdb.get_word_index() == {"film": 1, "good": 2, "bad": 3}
    padded = sc_tf.keras.preprocessing.sequence.pad_sequences(x, maxlen=3)
    assert sorted(padded.tolist()) == [[1, 6, 4], [5, 4, 5]]
