"""Models in the words of the books' listings, here and in TensorFlow where it is installed."""

import numpy as np
import pytest

import seqcore.tf as sc_tf


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


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
