"""seqcore run toy: the sentence is learned, each prediction is computed again by hand, pictures and files are there."""

import json
import math
import re
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.experiments import toy
from tests.helpers import reference, runs

run = partial(runs.run, "toy")


def test_the_samples_are_the_book_s():
    numbers = toy.number_words()
    assert numbers == {"is": 1, "an": 2, "this": 3, "example": 4}
    x, y = toy.make_samples(numbers)
    assert x.tolist() == [[[3], [1]], [[1], [2]]] and y.argmax(1).tolist() == [2, 4] and y.shape == (2, 5)


def test_all_cells_learn_the_sentence(tmp_path, capsys):
    assert run("--seed", 3, "--out", tmp_path, "--json", tmp_path / "figures.json") == 0
    out = capsys.readouterr().out
    assert "[3, 1] (this is) -> 2 (an)\n[1, 2] (is an) -> 4 (example)" in out
    for name, count in (("SimpleRNN", "3 + 10 = 13"), ("LSTM", "12 + 10 = 22"), ("GRU", "12 + 10 = 22")):
        assert f"{name}(1), Dense(5, softmax): {count} parameters" in out
    lines = out.splitlines()
    by_model = [line.split()[3:] for line in lines if line.startswith("    by the model")]
    by_hand = [line.split()[2:] for line in lines if line.startswith("    by hand")]
    assert by_model == by_hand and len(by_hand) == 6
    assert all(sum(map(float, row)) == pytest.approx(1, abs=5e-6) for row in by_hand)
    page = (runs.ROOT / "docs" / "experiments" / "toy.md").read_text(encoding="utf-8")
    (listing,) = re.findall(r"```text\n(.*?)\n *largest difference", page, re.S)
    assert set(listing.splitlines()) <= set(lines)
    results = json.loads((tmp_path / "metrics.json").read_text())
    assert results == json.loads((tmp_path / "figures.json").read_text())
    found, history = results["metrics"], results["history"]
    for cell in ("rnn", "lstm", "gru"):
        assert found[f"{cell}_accuracy"] == 1.0 and found[f"{cell}_loss"] < 0.02
        assert found[f"{cell}_largest_difference"] < 1e-12
        assert len([row for row in history if row["cell"] == cell]) == 50
    assert found["rnn_constant_loss"] == pytest.approx(math.log(2), rel=1e-5)
    assert found["lstm_constant_loss"] == pytest.approx(2 * math.log(2) / 5, rel=1e-5)
    for name in ("gates.png", "loss.png"):
        pytest.importorskip("matplotlib")
        assert (tmp_path / name).read_bytes()[:8] == runs.PNG
    model = sc.load_model(tmp_path / "model-lstm.safetensors")
    x, _ = toy.make_samples(toy.number_words())
    words = [model.extra["words"][i] for i in model.predict(x, verbose=0).argmax(1)]
    assert words == ["an", "example"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_by_hand_equals_the_reference(cell, rng):
    """Of any width and length, with recurrent weights that are not zero."""
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    x, weights = rng.normal(size=(5, 1)), [rng.normal(size=s) for s in ((1, 4 * gates), (4, 4 * gates))]
    bias = rng.normal(size=(2, 4 * gates) if cell == "gru" else 4 * gates)
    head = [rng.normal(size=(4, 5)), rng.normal(size=5)]
    steps, p = toy.recompute(cell, [*weights, bias, *head], x)
    y, _, _ = reference.forward(cell, x[None], [(*weights, bias)])
    states = np.array([step["h"] for step in steps])
    np.testing.assert_allclose(states, y[0], rtol=1e-12)
    np.testing.assert_allclose(p, reference.softmax(states[-1] @ head[0] + head[1]), rtol=1e-12)


def test_one_cell_with_another_loss(tmp_path, capsys):
    """One model can be used again; a saturated unit is called so (this seed's)."""
    assert run("--cell", "rnn", "--loss", "binary_crossentropy", "--epochs", 20, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert "parameters, binary_crossentropy" in out and "LSTM" not in out and "the unit is saturated" in out
    x, _ = toy.make_samples(toy.number_words())
    np.save(tmp_path / "x.npy", x)
    assert cli.main(["predict", str(tmp_path), "--input", str(tmp_path / "x.npy"), "--json"]) == 0
    np.testing.assert_allclose(np.sum(json.loads(capsys.readouterr().out), axis=1), 1, rtol=1e-6)


def test_the_book_s_rate_is_slower_and_runs_repeat_themselves(tmp_path):
    found = []
    for name, words in (("a", ()), ("b", ()), ("c", ("--preset", "book"))):
        assert run("--cell", "gru", "--epochs", 100, "--seed", 3, "--out", tmp_path / name, *words) == 0
        found.append(json.loads((tmp_path / name / "metrics.json").read_text())["metrics"])
    assert found[0] == found[1] and found[2]["gru_loss"] > 2 * found[0]["gru_loss"]


def test_a_prediction_that_differs_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(toy, "rnn_step", lambda x, state, w, u, b: {"h": np.tanh(x @ w + b) * (1 + 1e-9)})
    assert run("--cell", "rnn", "--epochs", 3, "--out", tmp_path) == 2
    assert "rnn: expected predictions equal to 1e-12, got a difference of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cell", "cnn"], "--cell: invalid choice"),
        (["--data", "download"], "--data: expected builtin"),
        (["--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
    ],
)
def test_wrong_options_end_before_any_work(words, message, tmp_path, capsys):
    assert run(*words, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
