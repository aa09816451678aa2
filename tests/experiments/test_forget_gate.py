"""seqcore run forget_gate: the layer against its equations and finite differences, its first bias, its file, a run."""

from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore.experiments import forget_gate
from tests.helpers import runs
from tests.helpers.cases import central_difference

run = partial(runs.run, "forget_gate")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(layer, x):
    kernel, recurrent, bias = (weight.numpy() for weight in layer.weights)
    units, h, outputs = recurrent.shape[0], np.zeros((len(x), recurrent.shape[0])), []
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent + bias
        f = sigmoid(z[:, :units])
        h = f * h + (1 - f) * np.tanh(z[:, units:])
        outputs.append(h)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
def test_equations(rng, dtype, tolerance):
    layer = forget_gate.ForgetGateLSTM(5, return_sequences=True, dtype=dtype)
    x = rng.normal(size=(3, 7, 4))
    layer(x)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    np.testing.assert_allclose(layer(x), by_hand(layer, x), atol=tolerance)
    lengths = np.array([7, 0, 4])
    ragged = np.asarray(layer(x, lengths=lengths))
    np.testing.assert_allclose(ragged[2, :4], by_hand(layer, x)[2, :4], atol=tolerance)
    assert not ragged[1].any() and not ragged[2, 4:].any()


def test_gradients_by_central_differences(rng):
    layer = forget_gate.ForgetGateLSTM(3, return_sequences=True, dtype="float64")
    x = sc.Tensor(rng.normal(size=(2, 6, 2)))
    layer(x)

    def loss():
        return sc.reduce_sum(layer(x) ** 2)

    with sc.GradientTape() as tape:
        tape.watch(x)
        total = loss()
    tensors = [*layer.trainable_variables, x]
    for tensor, gradient in zip(tensors, tape.gradient(total, tensors), strict=True):
        for place in np.ndindex(tensor.shape):
            numeric = central_difference(loss, tensor, place)
            assert gradient.numpy()[place] == pytest.approx(numeric, abs=1e-8), place


def test_first_bias_for_long_memories(rng):
    """Time constants spread over 1...T steps; in the LSTM the input gate is the complement of the forget gate."""
    f, c = np.split(forget_gate.chrono_bias("forget_gate", 1000, 50, rng), 2)
    lasting = 1 / (1 - sigmoid(f))
    assert 2 <= lasting.min() < 3 and 49 < lasting.max() <= 50 and not c.any()
    i, f, c, o = np.split(forget_gate.chrono_bias("lstm", 1000, 50, rng), 4)
    np.testing.assert_array_equal(i, -f)
    assert f.min() >= 0 and not c.any() and not o.any()


def test_half_the_weights_of_an_lstm(rng):
    sizes = {column: forget_gate.make_layer(column, 9, 6, rng).count_params() for column in forget_gate.COLUMNS}
    assert sizes["lstm"] == 2 * sizes["forget_gate"] == 4 * (6 + 32 + 1) * 32
    assert sizes["forget_gate"] < sizes["gru"] < sizes["lstm"]


def test_run(tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert run("--repeats", 1, "--epochs", 1, "--steps", 4, "--out", tmp_path) == 0
    assert "forget gate alone, chrono" in capsys.readouterr().out
    metrics, history = runs.results(tmp_path)["metrics"], runs.results(tmp_path)["history"]
    assert metrics["digits_lstm_parameters"] == 2 * metrics["digits_forget_gate_chrono_parameters"] == 4352
    # A symbol three steps back is easy for each of them.
    assert min(metrics["recall_accuracy"].values()) > 0.9
    for task in ("recall", "digits"):
        rows = [row for row in history if row["part"] == task]
        assert {row["layer"]: row["test_accuracy"] for row in rows} == metrics[f"{task}_accuracy"]
        assert [row["layer"] for row in rows] == list(forget_gate.COLUMNS)
    assert (tmp_path / "accuracy.png").read_bytes()[:8] == runs.PNG
    model = sc.load_model(tmp_path / "model.safetensors")
    images = sc.datasets.load_digits().test.images.reshape(300, 64, 1)
    right = np.asarray(model.predict(images, verbose=0)).argmax(axis=1) == sc.datasets.load_digits().test.labels
    assert right.mean() == pytest.approx(metrics["digits_accuracy"]["forget_gate, chrono"])


def test_bad_options(capsys):
    assert run("--steps", 2) == 2
    assert "--steps: expected an integer >= 3, got 2" in capsys.readouterr().err
