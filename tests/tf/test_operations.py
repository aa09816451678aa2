"""Operations and random tensors: values against NumPy; the same assertions against TensorFlow where it is installed."""

import numpy as np
import pytest

import seqcore as sc
import seqcore.tf as sc_tf
from tests.helpers.cases import central_difference

X = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
Y = np.abs(np.random.default_rng(2).normal(size=(3, 4)).astype("float32")) + 0.1
SQUARE = (X[:, :3] + X[:, :3].T).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


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
