"""seqcore run attend: pairs of digits and their windows, names, the attention by hand, what it looks at, a run."""

from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.datasets.images import Part
from seqcore.experiments import attend
from tests.helpers import runs

run = partial(runs.run, "attend")


@pytest.fixture
def part(rng):
    """Images whose pixels are their label."""
    labels = rng.integers(10, size=50).astype(np.int32)
    return Part(np.broadcast_to((labels[:, None, None] + 1) / 10, (50, 8, 8)).astype(np.float32), labels)


def test_pairs_stand_side_by_side(part, rng):
    pairs = attend.draw_pairs(part, 200, rng)
    assert pairs.images.shape == (200, 8, 24) and len({tuple(row) for row in pairs.starts.tolist()}) > 15
    for image, labels, (a, b) in zip(pairs.images, pairs.labels, pairs.starts):
        assert 0 <= a <= 4 and a + 8 <= b <= 16
        for label, start in zip(labels, (a, b)):
            np.testing.assert_allclose(image[:, start : start + 8], (label + 1) / 10)
        assert np.count_nonzero(image) == 2 * 64


def test_windows(rng):
    images = rng.normal(size=(2, 8, 24)).astype(np.float32)
    seen = attend.windows(images)
    assert seen.shape == (2, 9, 64)
    for place in range(9):
        np.testing.assert_array_equal(seen[:, place].reshape(2, 8, 8), images[:, :, 2 * place : 2 * place + 8])


def test_every_pair_of_names_is_spelt():
    labels = np.array([(a, b) for a in range(10) for b in range(10)])
    before, letters = attend.spell(labels)
    assert before.shape == letters.shape == (100, attend.LONGEST) and len({tuple(row) for row in letters}) == 100
    for (a, b), seen, row in zip(labels, before, letters):
        text = "".join(attend.VOCABULARY.decode(row)).partition("<end>")[0]
        assert text == f"{attend.NAMES[a]} {attend.NAMES[b]}"
        assert seen[0] == attend.VOCABULARY.id("<end>") and (seen[1:][row[1:] > 0] == row[:-1][row[1:] > 0]).all()
        assert ((seen > 0) == (row > 0)).all()


def test_model_by_hand(rng):
    """Attention, context and probabilities from the weights, for the LSTM's own outputs."""
    model, seen = attend.Attender(4, units=5), rng.normal(size=(3, 4, 6)).astype(np.float32)
    before = rng.integers(1, attend.VOCABULARY.size, (3, 7))
    p, weights = (np.asarray(part) for part in model.attend(seen, before))
    (w, b), (e,), (a,), (k,), (scale,), (v, c) = (
        [weight.numpy() for weight in layer.weights]
        for layer in (model.see, model.places, model.query, model.key, model.attention, model.head)
    )
    values = np.maximum(seen @ w + b + e, 0)
    q = np.asarray(model.speller(model.letters(before)))
    scores = np.tanh((q @ a)[:, :, None] + (values @ k)[:, None]) @ scale
    expected = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    logits = np.concatenate([q, expected @ values], axis=2) @ v + c
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True), atol=1e-6)
    equal = attend.Attender(4, units=5, look="mean").attend(seen, before)[1].numpy()
    np.testing.assert_allclose(equal, 0.25)


def test_the_likeliest_letter_each_time(rng):
    """Read out step by step, each letter is the likeliest one after those before it."""
    sc.set_seed(4)
    model, seen = attend.Attender(9, units=8), rng.normal(size=(5, 9, 64)).astype(np.float32)
    texts, weights = attend.read_out(model, seen)
    assert weights.shape == (5, attend.LONGEST, 9) and len(texts) == 5
    end = attend.VOCABULARY.id("<end>")
    letters = np.full((5, 1), end, np.int32)
    for _ in range(attend.LONGEST):
        nearest = np.asarray(model([seen, letters]))[:, -1].argmax(axis=1)
        letters = np.concatenate([letters, nearest[:, None].astype(np.int32)], axis=1)
    said = ["".join(attend.VOCABULARY.decode(row)).partition("<end>")[0].replace("<pad>", "") for row in letters[:, 1:]]
    assert said == texts


def test_weight_on_the_digit(part, rng):
    pairs = attend.draw_pairs(part, 40, rng)
    weights = np.zeros((40, attend.LONGEST, 9), np.float32)
    rows, second = np.arange(40), [len(attend.NAMES[label]) + 1 for label in pairs.labels[:, 0]]
    weights[rows, 0, pairs.starts[:, 0] // 2], weights[rows, second, pairs.starts[:, 1] // 2] = 1, 1
    assert attend.attention_on_the_digit(weights, pairs) == 1
    weights[rows, 0] = weights[rows, second]
    assert attend.attention_on_the_digit(weights, pairs) == pytest.approx(0.5)


def test_attention_learns_where_to_look(tmp_path, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert run("--epochs", 5, "--seed", 1, "--out", tmp_path) == 0
    assert "both names right" in capsys.readouterr().out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["test_exact_match"] > 0.7 and metrics["attention_on_the_digit"] > 0.9
    assert (tmp_path / "attention.png").read_bytes()[:8] == runs.PNG
    lines = [line.split("\t") for line in (tmp_path / "names.txt").read_text().splitlines()]
    assert lines[0] == ["true", "said"] and len(lines) == 1001
    assert np.mean([a == b for a, b in lines[1:]]) == pytest.approx(metrics["test_exact_match"])
    pairs = attend.draw_pairs(sc.datasets.load_digits().test, 4, np.random.default_rng(0))
    np.save(tmp_path / "x.npy", pairs.images)
    assert cli.main(["predict", str(tmp_path), "--input", str(tmp_path / "x.npy")]) == 0
    names = attend.describe(sc.load_model(tmp_path / "model.safetensors"), pairs.images)
    assert capsys.readouterr().out.splitlines() == [f"{i}: {name}" for i, name in enumerate(names)]


def test_bad_options(capsys):
    assert run("--units", 0) == 2
    assert "--units: expected an integer >= 1, got 0" in capsys.readouterr().err
