"""Data sets: their elements, here and in TensorFlow where it is installed, and training on them."""

import numpy as np
import pytest

import seqcore as sc
import seqcore.tf as sc_tf

X = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
Y = np.abs(np.random.default_rng(2).normal(size=(3, 4)).astype("float32")) + 0.1


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


class Interrupt(sc.callbacks.Callback):
    """Ctrl-C after some batches."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_fit_continues_in_the_same_order(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4, 2)).astype("float32"), rng.normal(size=(40, 1)).astype("float32")

    def fit(*callbacks, draws=0):
        sc.set_seed(5)
        model = sc.Sequential([sc.layers.Input((4, 2)), sc.layers.GRU(3, dropout=0.3), sc.layers.Dense(1)])
        model.compile("adam", "mse")
        sc.random.generator().random(draws)
        batches = sc_tf.data.Dataset.from_tensor_slices((x, y)).shuffle(12).batch(8)
        model.fit(batches, epochs=3, verbose=0, callbacks=list(callbacks))
        return model.get_weights()

    whole = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(sc.callbacks.BackupAndRestore(tmp_path, save_freq=1), Interrupt(8))
    continued = fit(sc.callbacks.BackupAndRestore(tmp_path, save_freq=1), draws=9)
    for first, second in zip(whole, continued, strict=True):
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
