"""Streams: step by step equals the whole sequence, state, refusals."""

import json
import sys
import threading
import time

import numpy as np
import pytest

from seqcore import _core, layers, models

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
    "conv1d": lambda d: [layers.Conv1D(5, 3, padding="causal", activation="tanh", dtype=d)],
    "conv1d dilated": lambda d: [
        layers.Conv1D(5, 2, padding="causal", dilation_rate=3, use_bias=False, dtype=d),
        layers.Conv1D(4, 3, padding=(4, 0), dilation_rate=2, activation="softmax", dtype=d),
        layers.Conv1D(3, 1, padding="same", dtype=d),
    ],
    "conv1d and more": lambda d: [
        layers.Conv1D(8, 4, padding="causal", activation="relu", dtype=d),
        layers.GRU(7, return_sequences=True, dtype=d),
        layers.Conv1D(4, 2, padding="causal", dtype=d),
        layers.Dense(2, dtype=d),
    ],
    "normalized": lambda d: [
        layers.LayerNormalization(dtype=d),
        layers.LSTM(5, return_sequences=True, dtype=d),
        layers.LayerNormalization(epsilon=0.1, center=False, dtype=d),
        layers.TimeDistributed(layers.LayerNormalization(scale=False, center=False, dtype=d)),
    ],
    "time distributed": lambda d: [
        layers.LSTM(5, return_sequences=True, dtype=d),
        layers.TimeDistributed(layers.Dense(4, "relu", dtype=d)),
        layers.TimeDistributed(models.Sequential([layers.Dense(3, dtype=d), layers.Softmax(1, dtype=d)])),
        layers.Softmax(2, dtype=d),
    ],
}


@pytest.mark.parametrize(
    "policy",
    [
        "float32",
        "float64",
        pytest.param(
            "mixed_bfloat16",
            marks=pytest.mark.skipif(not _core.system.info()["bfloat16"], reason="no AVX-512 BF16"),
        ),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", STACKS)
def test_stream_equals_the_whole_sequence(rng, name, batch, policy):
    model = models.Sequential(STACKS[name](policy))
    dtype = model.layers[0].dtype
    x = rng.normal(size=(batch, 14, 6)).astype(dtype)
    model(x)
    model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
    whole = model(x).numpy()
    stream = model.stream(batch_size=batch)
    for _ in range(2):
        outputs = np.stack([stream.step(x[:, t]) for t in range(14)], axis=1)
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
    model = models.Sequential(
        [layers.Input((None, 3), dtype=dtype), *STACKS["context"](dtype), *STACKS["conv1d dilated"](dtype)]
    )
    x = rng.normal(size=(4, 1, 3)).astype(dtype)
    stream = model.stream()
    for step in x:
        stream.step(step)
    state = stream.get_state()
    assert [list(map(np.shape, parts)) for parts in state] == [[(1, 5), (1, 3)], [(1, 3, 4)], [(1, 4, 5)]]
    kept = json.loads(json.dumps([[part.tolist() for part in parts] for parts in state]))
    expected = stream.step(x[0])
    for n in range(2):
        stream.set_state(kept if n else state)
        for parts, again in zip(state, stream.get_state(), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
        np.testing.assert_array_equal(stream.step(x[0]), expected)
    stream.set_state(state)
    (h, s), *rest = state
    first = [None, h, (h,), (h, h), (h, None), (h, [["a"] * 3]), (h, [[1.0], [1.0, 2.0]]), (h, s[0])]
    first += [(h, s.astype(complex)), (np.ma.masked_array(h), s)]
    flat = [(h, s), (rest[0][0].reshape(1, -1),), rest[1]]
    for wrong in [None, 3, [], state * 2, state[:1], flat, *([parts, *rest] for parts in first)]:
        with pytest.raises((ValueError, TypeError), match=r"^state\S*: expected [^\n]*$"):
            stream.set_state(wrong)
    np.testing.assert_array_equal(stream.step(x[0]), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_form_of_a_step(rng, dtype):
    """Types, strides and axes of the input, and arrays to write to, change no bit of the output."""
    x = rng.normal(size=(7, 3)).astype("float32")
    model = models.Sequential([layers.Input((None, 3), dtype=dtype), *STACKS["conv1d and more"](dtype)])
    stream, plain = model.stream(), model.stream()
    spaced, flipped = np.zeros((7, 6), "float32"), np.zeros((7, 3), "float64")
    spaced[:, ::2], flipped[:, ::-1] = x, x
    memory = np.zeros(3 * 4 + 1, np.uint8)
    misaligned = np.frombuffer(memory.data, "float32", 3, 1)
    for t in range(7):
        memory[1:] = x[t].view(np.uint8)
        state = plain.get_state()
        y = plain.step(x[t : t + 1].astype(dtype))
        batches = x[t : t + 1], x[t : t + 1].astype("float64"), spaced[t : t + 1, ::2]
        for given in (*batches, x[t], spaced[t, ::2], flipped[t, ::-1], x.T[:, t], misaligned):
            for out in (None, np.zeros((1, 2)[2 - given.ndim :], dtype)):
                stream.set_state(state)
                got = stream.step(given, out=out)
                assert out is None or got is out
                assert got.shape == ((2,) if given.ndim == 1 else (1, 2)) and got.dtype == dtype
                np.testing.assert_array_equal(got.reshape(1, 2), y)


def test_a_step_may_write_over_its_input(rng):
    model = models.Sequential([layers.Input((None, 3)), layers.LSTM(3)])
    stream, x = model.stream(2), rng.normal(size=(2, 3)).astype("float32")
    expected = model.stream(2).step(x)
    assert stream.step(x, x) is x
    np.testing.assert_array_equal(x, expected)


def test_ids_with_strides(rng):
    model = models.Sequential([layers.Embedding(20, 4), layers.Conv1D(3, 2, padding="causal")])
    for dtype in ("int32", "int64"):
        ids = rng.integers(0, 20, (2, 9)).astype(dtype)
        whole, stream = model(ids).numpy(), model.stream(2)
        np.testing.assert_allclose(np.stack([stream.step(ids[:, t]) for t in range(9)], 1), whole, atol=1e-6)


@pytest.mark.parametrize("rows", [1, [1], [2, 0, 2], np.array([1, 2], np.int32), [True, False, True], [], [1.0]])
def test_reset_of_some_sequences(rng, rows):
    """Those begin anew, the others go on."""
    model = models.Sequential([layers.Input((None, 3)), *STACKS["conv1d and more"]("float32"), layers.ContextRNN(2, 3)])
    x = rng.normal(size=(3, 12, 3)).astype("float32")
    whole, later = model(x).numpy(), model(x[:, 7:]).numpy()
    stream = model.stream(3)
    for t in range(7):
        stream.step(x[:, t])
    stream.reset(rows=rows)
    for t in range(7, 12):
        y = stream.step(x[:, t])
    anew = np.zeros(3, bool)
    anew[np.asarray(rows, None if np.size(rows) and np.asarray(rows).dtype == bool else int)] = True
    np.testing.assert_allclose(y, np.where(anew[:, None], later, whole), atol=1e-6)


@pytest.mark.parametrize("rows", [3, -1, [0, 3], [0.5], [True, False], "a", [[None]], np.ones((3, 3), bool)])
def test_refused_rows(rng, rows):
    model = models.Sequential([layers.Input((None, 3)), layers.GRU(2)])
    stream = model.stream(3)
    stream.step(np.ones((3, 3), np.float32))
    before = stream.get_state()
    with pytest.raises((ValueError, TypeError), match=r"^rows: expected [^\n]*$"):
        stream.reset(rows)
    np.testing.assert_array_equal(before[0][0], stream.get_state()[0][0])


@pytest.mark.parametrize(("units", "lets_run"), [(8, False), (1000, True)])
def test_a_long_step_lets_other_threads_run(units, lets_run):
    """Without switches by time, another thread runs only where the step gives up the GIL."""
    model = models.Sequential([layers.Input((None, units)), layers.Dense(units)])
    stream, x = model.stream(), np.zeros((1, units), np.float32)
    count, stop, interval = [0], threading.Event(), sys.getswitchinterval()

    def work():
        while not stop.is_set():
            count[0] += 1
            time.sleep(1e-6)

    thread = threading.Thread(target=work)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        time.sleep(0.01)
        before, end = count[0], time.monotonic() + 30
        for _ in range(200):
            stream.step(x)
        # A busy machine may take a while to wake the other thread up.
        while lets_run and count[0] == before and time.monotonic() < end:
            stream.step(x)
        counted = count[0] - before
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert (counted > 0) == lets_run


@pytest.mark.parametrize("units", [4, 600])
def test_steps_of_several_threads_come_one_after_the_other(units):
    """A layer that counts: every call sees a number of its own, and none is lost."""
    model = models.Sequential([layers.Input((None, units)), layers.SimpleRNN(units, activation="linear")])
    model.set_weights([np.eye(units), np.eye(units), np.zeros(units)])
    stream, x, steps = model.stream(), np.ones((1, units), np.float32), 100
    seen = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(stream.step(x) for _ in range(steps))) for mine in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [y[0, 0] for mine in seen for y in mine]
    assert all((y == y[0, 0]).all() for mine in seen for y in mine)
    assert sorted(numbers) == list(range(1, 4 * steps + 1))


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
        (layers.Conv1D(2, 2, name="conv"), "'conv': a Conv1D with padding='valid' cannot be streamed"),
        (layers.Conv1D(2, 2, padding="same", name="conv"), "'conv': a Conv1D with padding='same' cannot be"),
        (layers.Conv1D(2, 3, padding=(1, 1), name="conv"), r"'conv': a Conv1D with padding=\(1, 1\) cannot be"),
        (layers.Conv1D(2, 2, 2, "causal", name="conv"), "'conv': a Conv1D with strides=2 cannot be streamed"),
        (layers.Conv1D(2, 1, activation="gelu", name="conv"), "'conv': a Conv1D cannot be streamed"),
        (layers.Softmax(1, name="over time"), "over time"),
    ]:
        with pytest.raises(ValueError, match=message):
            stack(layer).stream()
    words = models.Sequential([layers.Input((None, 5, 3)), layers.TimeDistributed(layers.LSTM(2), name="words")])
    with pytest.raises(ValueError, match="'words': a TimeDistributed cannot be streamed"):
        words.stream()
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
