"""Streams: step by step equals the whole sequence, state, refusals."""

import json

import numpy as np
import pytest

from seqcore import layers, models

STACKS = {
    "lstm": lambda d: [layers.LSTM(7, return_sequences=True, dtype=d)],
    "gru": lambda d: [layers.GRU(5, return_sequences=True, dtype=d), layers.Dense(3, "tanh", dtype=d)],
    "gru before": lambda d: [layers.GRU(5, return_sequences=True, reset_after=False, dtype=d)],
    "rnn": lambda d: [layers.SimpleRNN(5, activation="relu", return_sequences=True, dtype=d)],
    "context": lambda d: [layers.ContextRNN(5, 3, return_sequences=True, dtype=d), layers.Dense(4, "softmax", dtype=d)],
    "deep": lambda d: [
        layers.LSTM(65, return_sequences=True, dtype=d),
        layers.Dropout(0.5, dtype=d),
        layers.Activation("relu", dtype=d),
        models.Sequential([layers.GRU(17, return_sequences=True, dtype=d), layers.Dense(9, dtype=d)]),
        layers.Softmax(dtype=d),
    ],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", STACKS)
def test_stream_equals_the_whole_sequence(rng, name, batch, dtype):
    model = models.Sequential(STACKS[name](dtype))
    x = rng.normal(size=(batch, 8, 6)).astype(dtype)
    whole = model(x).numpy()
    stream = model.stream(batch_size=batch)
    for _ in range(2):
        outputs = np.stack([stream.step(np.ascontiguousarray(x[:, t])) for t in range(8)], axis=1)
        np.testing.assert_allclose(outputs, whole, atol=1e-6)
        assert outputs.dtype == dtype
        stream.reset()


def test_ids_and_state(rng):
    model = models.Sequential([layers.Embedding(20, 4), layers.LSTM(6, return_sequences=True), layers.Dense(20)])
    ids = rng.integers(0, 20, (2, 9), dtype=np.int32)
    whole = model(ids).numpy()
    stream = model.stream(batch_size=2)
    for t in range(4):
        stream.step(ids[:, t].copy())
    state = stream.get_state()
    assert [[part.shape for part in one] for one in state] == [[(2, 6), (2, 6)]]
    later = [stream.step(ids[:, t].copy()) for t in range(4, 9)]
    np.testing.assert_allclose(np.stack(later, 1), whole[:, 4:], atol=1e-6)
    stream.set_state(state)
    for t, before in zip(range(4, 9), later):
        np.testing.assert_array_equal(stream.step(ids[:, t].copy()), before)
    with pytest.raises(ValueError):
        stream.step(np.array([0, 20], np.int32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_from_lists(rng, dtype):
    """A state that went through JSON comes back bit by bit, and what is no state changes nothing."""
    model = models.Sequential([layers.Input((None, 3), dtype=dtype), *STACKS["context"](dtype)])
    x = rng.normal(size=(4, 1, 3)).astype(dtype)
    stream = model.stream()
    for step in x:
        stream.step(step)
    state = stream.get_state()
    kept = json.loads(json.dumps([[part.tolist() for part in parts] for parts in state]))
    expected = stream.step(x[0])
    for n in range(2):
        stream.set_state(kept if n else state)
        assert all(np.array_equal(a, b) for a, b in zip(state[0], stream.get_state()[0], strict=True))
        np.testing.assert_array_equal(stream.step(x[0]), expected)
    stream.set_state(state)
    (h, s), *_ = state
    mistakes = [None, 3, [], state * 2, [(h,)], [(h, h)], [(h, None)], [(h, [["a"] * 3])], [(h, [[1.0], [1.0, 2.0]])]]
    for wrong in [*mistakes, [h], [(h, s[0])], [(h, s.astype(complex))], [(np.ma.masked_array(h), s)]]:
        with pytest.raises((ValueError, TypeError), match=r"^state\S*: expected [^\n]*$"):
            stream.set_state(wrong)
    np.testing.assert_array_equal(stream.step(x[0]), expected)


def test_last_layer_without_sequences_gives_the_output_so_far(rng):
    model = models.Sequential([layers.GRU(4)])
    x = rng.normal(size=(1, 5, 3)).astype(np.float32)
    model(x)
    stream = model.stream()
    for t in range(5):
        y = stream.step(np.ascontiguousarray(x[:, t]))
        np.testing.assert_allclose(y, model(x[:, : t + 1]).numpy(), atol=1e-6)


def test_step_is_the_cores_own_method():
    model = models.Sequential([layers.Input((None, 3)), layers.LSTM(2)])
    stream = model.stream()
    assert type(stream.step.__self__).__module__ == "seqcore._core.stream"


def test_weights_are_packed_once(rng):
    model = models.Sequential([layers.Input((None, 3)), layers.LSTM(2)])
    x, stream = np.ones((1, 3), np.float32), model.stream()
    before = stream.step(x)
    model.set_weights([2 * one for one in model.get_weights()])
    stream.reset()
    np.testing.assert_array_equal(stream.step(x), before)
    assert not np.array_equal(model.stream().step(x), before)


def test_refusals_name_the_layer():
    class Own(models.Model):
        def call(self, inputs):
            return inputs

    def stack(layer):
        return models.Sequential([layers.Input((4, 3)), layer])

    for layer, message in [
        (layers.Bidirectional(layers.LSTM(2), name="both"), "both"),
        (layers.LSTM(2, go_backwards=True, name="back"), "back.*go_backwards"),
        (Own(name="mine"), "mine"),
        (layers.Flatten(name="flat"), "flat"),
    ]:
        with pytest.raises(ValueError, match=message):
            stack(layer).stream()
    with pytest.raises(ValueError, match="expected a Sequential, got model 'alone'"):
        Own(name="alone").stream()
    with pytest.raises(ValueError, match="to be built"):
        models.Sequential([layers.LSTM(2)]).stream()
    with pytest.raises(ValueError, match="one dtype"):
        models.Sequential(
            [layers.Input((4, 3)), layers.LSTM(2, return_sequences=True, dtype="float64"), layers.Dense(2)]
        ).stream()
    with pytest.raises(ValueError, match="batch_size"):
        stack(layers.LSTM(2)).stream(batch_size=0)
