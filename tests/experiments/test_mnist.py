"""seqcore run mnist: learns the built-in digits, repeats itself, reads as the book does; bad options and files."""

import argparse
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.experiments import mnist
from seqcore.experiments._run import add_options
from tests.helpers import runs
from tests.helpers.mnist_files import idx, write_mnist

pytest.importorskip("sklearn")


run = partial(runs.run, "mnist")


def test_settings_of_the_book():
    book = mnist.BOOK
    assert (book.units, book.layers, book.read, book.batch_size, book.learning_rate) == (256, 1, "last", 128, 0.01)
    # The book's loop goes on while the images so far, those of the next batch included, are fewer than 400,000.
    steps = book.epochs * book.steps
    assert steps * book.batch_size < 400_000 <= (steps + 1) * book.batch_size
    assert not book.cosine and not book.shift
    model = mnist.build_model((28, 28), book)
    # Two LSTMs of 4·256·(28 + 256 + 1), and 512·10 + 10 weights from N(0, 1).
    assert model.count_params() == 2 * 4 * 256 * (28 + 256 + 1) + 512 * 10 + 10
    kernel, bias = model.layers[-1].get_weights()
    assert abs(kernel.std() - 1) < 0.05 and bias.std() > 0.3
    # Glorot's limit for one matrix of (28 + 256, 4·256).
    for drawn in (weight for weight in model.layers[0].get_weights() if weight.ndim == 2):
        assert abs(drawn).max() == pytest.approx((6 / (28 + 256 + 4 * 256)) ** 0.5, rel=1e-3)


def test_presets():
    """The best preset keeps its shifts small where the images are; options stand over any preset."""

    def settings(*words):
        parser = argparse.ArgumentParser()
        add_options(parser, mnist.OPTIONS, presets=mnist.PRESETS)
        return mnist.settings_of(parser.parse_args(words))

    assert settings("--preset", "book") == mnist.BOOK and settings("--preset", "best", "--data", "x") == mnist.BEST
    assert settings("--preset", "best").shift == 1 < mnist.BEST.shift == 2
    given = settings("--preset", "best", "--read", "mean", "--layers", "2", "--units", "7", "--epochs", "3")
    assert (given.read, given.layers, given.units, given.epochs, given.dropout) == ("mean", 2, 7, 3, mnist.BEST.dropout)
    assert settings("--data", "x").epochs == 2 < settings().epochs


def test_the_digits_are_learnt(tmp_path, capsys):
    """Better than logistic regression on the pixels, with the order of rows as the only structure that is given."""
    assert run("--out", tmp_path, "--json", tmp_path / "figures.json", "--seed", 1) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "data: digits of scikit-learn, 1,797 images of 8 x 8 pixels; train 1,197, valid 300, test 300"
    )
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == json.loads((tmp_path / "figures.json").read_text())
    metrics, history = found["metrics"], found["history"]
    assert metrics["test_accuracy"] > max(0.95, metrics["logistic_accuracy"] - 0.01)
    assert metrics["majority_accuracy"] < 0.15 < 0.9 < metrics["logistic_accuracy"] < 1
    assert len(history) == 20 and history[-1]["loss"] < 0.2 * history[0]["loss"]
    assert metrics["valid_accuracy"] == max(row["val_accuracy"] for row in history)
    assert history[metrics["best_epoch"] - 1]["val_accuracy"] == metrics["valid_accuracy"]
    for name in ("accuracy.png", "mistakes.png"):
        pytest.importorskip("matplotlib")
        assert (tmp_path / name).read_bytes()[:8] == runs.PNG
    digits = sc.datasets.load_digits()
    model = sc.load_model(tmp_path / "model.safetensors")
    assert mnist.accuracy(model, digits.test)[0] == metrics["test_accuracy"]
    np.save(tmp_path / "x.npy", digits.test.images[:3])
    assert cli.main(["predict", str(tmp_path), "--input", str(tmp_path / "x.npy"), "--top", "1"]) == 0
    said = [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert said == mnist.accuracy(model, digits.test)[1][:3].tolist()


def test_a_model_brings_its_classes_along(tmp_path):
    """A new process reads a model with the experiment's own layer, wherever and by whomever it was saved."""
    model = mnist.build_model((4, 3), mnist.Settings(units=2))
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((2, 4, 3)))
    words = ("predict", tmp_path / "model.safetensors", "--input", tmp_path / "x.npy", "--json")
    done = subprocess.run([sys.executable, "-m", "seqcore", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), model.predict(np.zeros((2, 4, 3)), verbose=0), rtol=1e-6)


@pytest.mark.parametrize(
    "words", [("--read", "last"), ("--read", "mean"), ("--layers", 2), ("--cell", "gru"), ("--cell", "rnn")]
)
def test_every_way_of_reading_learns(tmp_path, words):
    assert run("--out", tmp_path, "--epochs", 6, "--units", 32, *words) == 0
    assert runs.results(tmp_path)["metrics"]["test_accuracy"] > 0.75
    model = sc.load_model(tmp_path / "model.safetensors")
    assert (
        mnist.accuracy(model, sc.datasets.load_digits().test)[0] == runs.results(tmp_path)["metrics"]["test_accuracy"]
    )


def test_the_book_s_lines(tmp_path, capsys):
    """A line after every ten batches with their means, which together give the logs of the epoch."""
    words = ("--preset", "book", "--data", tmp_path / "mnist", "--epochs", 2, "--units", 3, "--cell", "gru")
    write_mnist(tmp_path / "mnist", train=5100, test=20)
    assert run(*words, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "model: 1 bidirectional GRU layer of 2 x 3 units" in out
    lines = [line.split() for line in out.splitlines() if " samples  loss" in line]
    assert [int(line[0].replace(",", "")) for line in lines] == [
        128 * (142 * epoch + 10 * batch) for epoch in (0, 1) for batch in range(1, 15)
    ]
    found = runs.results(tmp_path / "out")
    assert found["cell"] == "gru" and out.count("valid accuracy 0.") == 2
    for epoch, row in enumerate(found["history"]):
        shown = [[float(line[at]) for line in lines[14 * epoch : 14 * epoch + 14]] for at in (3, 5)]
        # Two of the 142 batches are in no line.
        assert np.mean(shown[0]) == pytest.approx(row["loss"], rel=0.05)
        assert np.mean(shown[1]) == pytest.approx(row["accuracy"], abs=0.02)


def test_the_last_output_has_read_one_row_backwards():
    """With --read last the backward half hangs on the last row only, with --read states on all rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 4)).astype(np.float32)
    other = x.copy()
    other[:, :-1] = rng.normal(size=(1, 5, 4))
    for read, same in (("last", True), ("states", False), ("mean", False)):
        model = mnist.build_model((6, 4), mnist.Settings(units=3, read=read))
        seen = []
        for one in (x, other):
            for layer in model.layers[:-1]:
                one = layer(one)
            seen.append(one.numpy()[0])
        assert np.array_equal(seen[0][3:], seen[1][3:]) == same and not np.array_equal(seen[0][:3], seen[1][:3])


def test_runs_repeat_themselves(tmp_path):
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        words = ("--preset", "best", "--epochs", 2, "--units", 8, "--seed", seed, "--threads", threads)
        assert run(*words, "--out", tmp_path / name) == 0
    a, b, c = (runs.results(tmp_path / name) for name in "abc")
    assert a == b and a["history"] != c["history"]


def test_files_of_mnist(tmp_path, capsys, monkeypatch):
    """A folder in MNIST's layout, named by --data or by the environment."""
    monkeypatch.setattr("seqcore.experiments.mnist.load_mnist", lambda folder: sc.datasets.load_mnist(folder, valid=20))
    write_mnist(tmp_path / "mnist", train=80, test=20)
    assert run("--data", tmp_path, "--epochs", 1, "--units", 4, "--out", tmp_path / "out") == 0
    assert f"MNIST from {tmp_path / 'mnist'}; train 60, valid 20, test 20" in capsys.readouterr().out
    monkeypatch.setenv("SEQCORE_DATA", str(tmp_path))
    assert run("--epochs", 1, "--units", 4, "--out", tmp_path / "out") == 0
    assert runs.results(tmp_path / "out")["data"] == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--units", 0), "--units: expected an integer >= 1, got 0"),
        (("--epochs", 0), "--epochs: expected an integer >= 1, got 0"),
        (("--layers", 3), "invalid choice: 3"),
        (("--read", "first"), "invalid choice: 'first'"),
        (("--cell", "cfc"), "invalid choice: 'cfc'"),
        (("--data", "nowhere"), "--data: expected builtin, download or a folder, got 'nowhere'"),
        (("--data", "{empty}"), "missing train-images-idx3-ubyte"),
        (("--data", "{damaged}"), "expected 10 values as its header says, got 9"),
    ],
)
def test_bad_options_and_files(tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    write_mnist(tmp_path / "damaged", train_labels=idx(np.zeros(10))[:-1])
    places = {name: tmp_path / name for name in ("empty", "damaged")}
    assert run(*(str(word).format(**places) for word in words), "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "out" / "model.safetensors").exists()
