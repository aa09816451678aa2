"""seqcore run caption: names of digits are spelt, greedily and by beam search; repeats itself; bad options."""

import itertools
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.experiments import caption
from tests.helpers import runs

pytest.importorskip("sklearn")


run = partial(runs.run, "caption")


def test_names_are_spelt_with_their_end():
    before, letters = caption.spell(np.arange(10))
    for name, seen, said in zip(caption.NAMES, before.tolist(), letters.tolist(), strict=True):
        known = caption.VOCABULARY.decode(said)
        assert "".join(known[: len(name)]) == name and known[len(name)] == "<end>"
        assert set(known[len(name) + 1 :]) <= {"<pad>"}
        assert seen == [1, *said[: len(name)], *[0] * (5 - len(name))]
    assert caption.VOCABULARY.size == 2 + 15


@pytest.mark.parametrize("encoder", ["lstm", "dense"])
def test_names_are_learnt(tmp_path, capsys, encoder):
    assert run("--encoder", encoder, "--seed", 1, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("data: digits of scikit-learn") and "whole names right on the test images" in out
    metrics, history = runs.results(tmp_path)["metrics"], runs.results(tmp_path)["history"]
    assert metrics["test_exact_match"] > 0.93 and metrics["test_exact_match_greedy"] > 0.93
    assert metrics["majority_accuracy"] < 0.15 and history[-1]["loss"] < 0.1 * history[0]["loss"]
    pytest.importorskip("matplotlib")
    assert (tmp_path / "captions.png").read_bytes()[:8] == runs.PNG
    lines = (tmp_path / "captions.txt").read_text().splitlines()
    assert lines[0] == "true\tsaid" and len(lines) == 301
    assert sum(len(set(line.split("\t"))) == 1 for line in lines[1:]) == round(300 * metrics["test_exact_match"])
    images = sc.datasets.load_digits().test.images
    model = sc.load_model(tmp_path / "model.safetensors")
    names = caption.describe(model, images[:5])
    assert names == [line.split("\t")[1] for line in lines[1:6]]
    np.save(tmp_path / "x.npy", images[:5])
    assert cli.main(["predict", str(tmp_path), "--input", str(tmp_path / "x.npy")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{i}: {name}" for i, name in enumerate(names)]


def log_p(model, image, ids):
    """Log-probability of whole words (N, L), by teacher forcing."""
    before = np.concatenate([np.full((len(ids), 1), 1, np.int32), ids[:, :-1]], axis=1)
    p = model([np.repeat(image[None], len(ids), 0), before]).numpy().astype(float)
    return np.log(np.take_along_axis(p, ids[:, :, None], 2))[:, :, 0]


def spelt(ids):
    return "".join(caption.VOCABULARY.words[i] for i in ids if i != 1)


def test_greedy_and_beam_agree_with_enumeration(monkeypatch):
    """Over all words of up to three letters: greedy takes the likeliest letter, a wide beam finds the best word."""
    monkeypatch.setattr(caption, "LONGEST", 3)
    differ = 0
    for seed in range(6):
        sc.set_seed(seed)
        model = caption.Captioner(6, "dense", 4)
        images = np.random.default_rng(seed).normal(size=(3, 4, 4)).astype(np.float32)
        model([images, np.ones((3, 1), np.int32)])
        # Larger weights make decided probabilities.
        model.set_weights([4 * w for w in model.get_weights()])
        end, letters = 1, range(2, caption.VOCABULARY.size)
        words = [[*w, end] for n in range(3) for w in itertools.product(letters, repeat=n)]
        words += [list(w) for w in itertools.product(letters, repeat=3)]
        ids = np.array([w + [end] * (3 - len(w)) for w in words], np.int32)
        counted = np.arange(3) < np.array([len(w) for w in words])[:, None]
        for image in images:
            scores = (log_p(model, image, ids) * counted).sum(1)
            found = caption.describe(model, image[None], 400)
            assert found == [spelt(words[scores.argmax()])]
            greedy = []
            while len(greedy) < 3 and end not in greedy:
                before = np.array([[end, *greedy]], np.int32)
                p = model([image[None], before]).numpy()[0, -1]
                p[0] = 0
                greedy.append(int(p.argmax()))
            assert caption.describe(model, image[None], 1) == [spelt(greedy)]
            differ += [spelt(greedy)] != found
    assert differ  # there were words that greedy choice misses


def test_many_images_are_named_as_one_by_one():
    sc.set_seed(0)
    model = caption.Captioner(5, "lstm", 4)
    images = np.random.default_rng(0).normal(size=(7, 4, 4)).astype(np.float32)
    together = caption.describe(model, images, 3)
    assert together == caption.describe(model, images, 3, batch_size=2)
    assert together == [caption.describe(model, image[None], 3)[0] for image in images]
    with pytest.raises(ValueError, match=r"images: expected shape \(N, rows, columns\), got \(4, 4\)"):
        caption.describe(model, images[0])


def test_runs_repeat_themselves(tmp_path):
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        words = ("--epochs", 1, "--units", 8, "--seed", seed, "--threads", threads, "--out", tmp_path / name)
        assert run(*words) == 0
    a, b, c = (runs.results(tmp_path / name) for name in "abc")
    assert a == b and a["history"] != c["history"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--units", 0), "--units: expected an integer >= 1, got 0"),
        (("--beam", 0), "--beam: expected an integer >= 1, got 0"),
        (("--encoder", "cnn"), "invalid choice: 'cnn'"),
        (("--data", "{empty}"), "missing train-images-idx3-ubyte"),
    ],
)
def test_bad_options_and_files(tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    assert run(*(str(word).format(empty=tmp_path / "empty") for word in words), "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
