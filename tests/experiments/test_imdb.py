"""The experiment on film reviews: it learns word order, its two styles agree, its model labels texts again."""

import json
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore.experiments import imdb
from seqcore.experiments._run import majority_accuracy
from seqcore.experiments._sentiment import tfidf_accuracy
from tests.helpers import runs

pytest.importorskip("sklearn")
SMALL = imdb.Settings(words=12, steps=7, width=5, units=4, dropout=0.0)


run = partial(runs.run, "imdb")


def write_reviews(folder, count=60):
    """A small file of reviews in the layout of the data set: their last word is the label."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        rows = []
        for number in range(count):
            words = [str(word) for word in generator.choice(["the", "plot", "was", "told", "twice"], 5)]
            rows.append(f"{number % 2}\t5\tpos/{number}_5\t{' '.join([*words, ('bad', 'good')[number % 2]])}.\n")
        (folder / f"{split}.tsv").write_text("".join(rows))


# ---------------------------------------------------------------- the two styles


def first_step(model, x, y):
    """Loss and gradients of one step in training, in the order of the weights."""
    loss_of = sc.losses.BinaryCrossentropy()
    with sc.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    return float(loss), [np.asarray(one) for one in tape.gradient(loss, model.trainable_variables)]


@pytest.mark.parametrize("pool", ["last", "mean", "max", "sum"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_layers_and_cells_agree(cell, pool):
    """The same weights: loss and gradients of the first step to 1e-5."""
    sc.set_seed(4)
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 12, (6, 7)), generator.integers(0, 2, (6, 1))
    one, other = imdb.build_layers(SMALL, cell, "simple", pool), imdb.build_cells(SMALL, cell, "simple", pool)
    other.set_weights(one.get_weights())
    (loss, gradients), (loss_of_cells, gradients_of_cells) = first_step(one, x, y), first_step(other, x, y)
    assert abs(loss - loss_of_cells) < 1e-5
    for mine, theirs in zip(gradients, gradients_of_cells, strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-5)
    assert all(np.abs(one).max() > 1e-4 for one in gradients)


def set_streams(model, stream):
    """Let all dropout masks of a model come from one stream, from its first draw; returns the number of generators."""

    def set_in(state):
        if isinstance(state, dict) and "stream" in state:
            state.update(stream=stream, call=0)
            return 1
        inside = state.values() if isinstance(state, dict) else state if isinstance(state, list) else []
        return sum(map(set_in, inside))

    state = model.get_layer_state()
    count = set_in(state)
    model.set_layer_state(state)
    return count


def test_layers_and_cells_agree_with_dropout():
    """With the same seeds of dropout the masks are the same too: one for all time steps."""
    settings = imdb.Settings(words=12, steps=7, width=5, units=4, dropout=0.5)
    generator = np.random.default_rng(2)
    x, y = generator.integers(0, 12, (6, 7)), generator.integers(0, 2, (6, 1))
    found = []
    for build in (imdb.build_layers, imdb.build_cells):
        sc.set_seed(4)
        found.append(build(settings, "lstm", "mlp"))
    found[1].set_weights(found[0].get_weights())
    streams = [set_streams(model, 9) for model in found]
    assert streams[0] == streams[1] > 0
    (loss, gradients), (loss_of_cells, gradients_of_cells) = (first_step(model, x, y) for model in found)
    assert abs(loss - loss_of_cells) < 1e-5
    for mine, theirs in zip(gradients, gradients_of_cells, strict=True):
        np.testing.assert_allclose(theirs, mine, atol=1e-5)
    without = first_step(imdb.build_layers(SMALL, "lstm", "mlp"), x, y)[0]
    assert abs(without - loss) > 1e-6


@pytest.mark.parametrize(
    ("cell", "head", "weights"),
    [
        ("rnn", "simple", 1_018_881),
        ("lstm", "simple", 1_075_329),
        ("gru", "simple", 1_056_897),
        ("rnn", "mlp", 1_023_041),
    ],
)
def test_parameters_of_the_book(cell, head, weights):
    """10,000 words of 100 numbers, two layers of 64, counted by hand; both styles."""
    assert imdb.build_layers(imdb.Settings(), cell, head).count_params() == weights
    assert imdb.build_cells(imdb.Settings(), cell, head).count_params() == weights


# ---------------------------------------------------------------- whole runs


@pytest.mark.slow
def test_learns_word_order(tmp_path):
    """Near the best accuracy possible, where the words without their order say nothing."""
    assert run("--cell", "gru", "--epochs", 5, "--out", tmp_path) == 0
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["test_accuracy"] > 0.9 and metrics["bayes_accuracy"] == 0.95
    assert metrics["tfidf_accuracy"] < 0.56 and 0.44 < metrics["majority_accuracy"] < 0.56
    assert metrics["valid_accuracy"] == max(row["val_accuracy"] for row in runs.results(tmp_path)["history"])
    for picture in ("accuracy.png", "loss.png", "reading.png"):
        assert (tmp_path / picture).read_bytes().startswith(runs.PNG)
    model = sc.load_model(tmp_path / "model.safetensors")
    texts = ["the plot was great but the cast was awful", "the plot was awful but the cast was great"]
    assert [one.prediction for one in sc.text.classify_texts(model, texts)] == ["negative", "positive"]


def test_cells_run_and_load(tmp_path, capsys):
    """The model with cells is found by its name when its file is read, in a process of its own too."""
    import os
    import subprocess
    import sys

    write_reviews(tmp_path)
    options = ["--style", "cells", "--head", "mlp", "--pool", "mean", "--epochs", 2, "--data", tmp_path]
    assert run(*options, "--out", tmp_path / "out") == 0
    assert "CellLoop" not in capsys.readouterr().err
    found = runs.results(tmp_path / "out")
    assert (found["style"], found["head"], found["pool"]) == ("cells", "mlp", "mean")
    model = sc.load_model(tmp_path / "out" / "model.safetensors")
    assert isinstance(model, imdb.CellLoop) and model.head.layers[0].units == 64
    command = [
        sys.executable,
        "-m",
        "seqcore",
        "predict",
        str(tmp_path / "out"),
        "--text",
        "the plot was good",
        "--json",
    ]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    (mine,) = sc.text.classify_texts(model, ["the plot was good"])
    assert json.loads(done.stdout) == [mine.to_dict()]


def test_same_seed_same_result(tmp_path):
    """For one and two threads; another seed holds other reviews back."""
    write_reviews(tmp_path)
    found = []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        out = tmp_path / f"{seed}{threads}"
        assert run("--epochs", 2, "--data", tmp_path, "--seed", seed, "--threads", threads, "--out", out) == 0
        rows = [{key: row[key] for key in ("loss", "val_loss")} for row in runs.results(out)["history"]]
        found.append((rows, runs.results(out)["metrics"]["test_loss"]))
    assert found[0] == found[1] != found[2]


def test_validation_on_the_test_reviews(tmp_path, capsys):
    """As in the books: all training reviews are trained on, the test reviews choose the epoch; lines say so."""
    write_reviews(tmp_path)
    options = ["--validate", "test", "--epochs", 3, "--data", tmp_path, "--cell", "rnn", "--out", tmp_path / "out"]
    assert run(*options) == 0
    found, printed = runs.results(tmp_path / "out"), capsys.readouterr().out
    assert "NOTE: --validate test: the test reviews choose the epoch" in printed
    assert "reviews: train 60, test 60;" in printed and found["validate"] == "test"
    metrics, accuracies = found["metrics"], [row["val_accuracy"] for row in found["history"]]
    assert metrics["test_accuracy"] == metrics["valid_accuracy"] == max(accuracies)
    assert metrics["last_epoch_test_accuracy"] == accuracies[-1]
    assert "test accuracy, SimpleRNN, after the last epoch" in printed

    assert run("--epochs", 1, "--data", tmp_path, "--out", tmp_path / "default") == 0
    found, printed = runs.results(tmp_path / "default"), capsys.readouterr().out
    assert "reviews: train 54, valid 6, test 60;" in printed and "NOTE" not in printed
    assert found["validate"] == "train" and "last_epoch_test_accuracy" not in found["metrics"]


def test_samples_and_units(tmp_path, capsys):
    """A part of the reviews, with as many words; another number of units."""
    write_reviews(tmp_path)
    assert run("--samples", 20, "--units", 5, "--epochs", 1, "--data", tmp_path, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "reviews: train 18, valid 2, test 60; 10 words" in printed
    model = sc.load_model(tmp_path / "out" / "model.safetensors")
    assert [layer.units for layer in model.layers if isinstance(layer, sc.layers.LSTM)] == [5, 5]
    found = runs.results(tmp_path / "out")
    assert (found["samples"], found["units"]) == (20, 5)


def test_samples_of_one_label(tmp_path, capsys):
    """Refused by the option's name, before anything is trained."""
    write_reviews(tmp_path)
    lines = (tmp_path / "train.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "train.tsv").write_text("".join([lines[1], *lines[::2] * 20]))
    assert run("--samples", 20, "--data", tmp_path, "--out", tmp_path / "out") == 2
    assert "--samples: expected train texts of both labels, got 18 of one label" in capsys.readouterr().err


def test_demonstration_reads_texts_of_the_data(tmp_path, capsys):
    """A negative and a positive test review; the built-in pair only for the built-in reviews."""
    write_reviews(tmp_path)
    assert run("--epochs", 1, "--data", tmp_path, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    shown = [
        line.rpartition(": ")[2] for line in printed.splitlines() if line.lstrip()[:2] == "0." and "tive: " in line
    ]
    tests = (tmp_path / "test.tsv").read_text()
    assert len(shown) == 2 and all(text in tests for text in shown)
    assert shown[0].endswith("bad.") and shown[1].endswith("good.")
    assert not any(text in printed for text in imdb.SAME_WORDS)
    assert printed.splitlines()[-2].endswith(f"--text '{shown[0]}'")


def test_glove_beside_random_vectors(tmp_path, capsys):
    """Words without a vector get zeros and are counted; a frozen table stays, a tuned one moves."""
    write_reviews(tmp_path)
    vectors = "good 1 0 0.5\nbad -1 0 -0.5\nthe 0 1 0\nplot 0 0.5 0\n"
    (tmp_path / "glove.txt").write_text(vectors)
    kinds = ["frozen", "tuned", "random"]
    out = tmp_path / "out"
    options = ["--glove", tmp_path / "glove.txt", "--data", tmp_path, "--epochs", 2, "--cell", "rnn", "--out", out]
    assert run(*options, "--embedding", *kinds) == 0
    found, printed = runs.results(out)["metrics"], capsys.readouterr().out
    assert found["words_without_vector"] == 6  # padding, start, unknown, told, twice, was
    assert "GloVe: 4 vectors of 3 dimensions; 6 of 10 words have none" in printed
    for kind in kinds:
        assert f"word vectors: {kind}" in printed and f"test accuracy, SimpleRNN, {kind} (epoch" in printed
    assert [row["embedding"] for row in runs.results(out)["history"]] == ["frozen"] * 2 + ["tuned"] * 2 + ["random"] * 2
    assert {"test_accuracy", "tuned_test_loss", "random_test_loss"} <= set(found)
    model = sc.load_model(out / "model.safetensors")
    table, words = imdb.embedding_of(model), model.extra["text_vectorization"]["vocabulary"]
    assert not table.trainable
    np.testing.assert_array_equal(table.embeddings.numpy()[words.index("good")], np.float32([1, 0, 0.5]))
    assert not table.embeddings.numpy()[words.index("told")].any()

    assert run(*options, "--embedding", "tuned") == 0
    tuned = imdb.embedding_of(sc.load_model(out / "model.safetensors"))
    assert tuned.trainable and tuned.embeddings.numpy()[words.index("good")].tolist() != [1, 0, 0.5]


def test_ids_of_keras(tmp_path):
    """With the table of ranks: rank + 3, after padding, start, out of vocabulary and the unused one."""
    write_reviews(tmp_path)
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"the": 1, "good": 2, "plot": 3}))
    data = imdb.load_data(str(tmp_path), "quick")
    vectorize = imdb.make_vectorizer(data, imdb.Settings(steps=6))
    assert vectorize(["The good plot, twice"]).tolist() == [[0, 1, 4, 5, 6, 2]]
    assert vectorize.decode([0, 1, 4, 5]) == ["<START>", "the", "good"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--cell", "elman"], "--cell"),
        (["--pool", "first"], "--pool"),
        (["--embedding", "frozen"], "--embedding: expected --glove FILE with it, got frozen without"),
        (["--glove", "no-such-file"], "no-such-file: No such file"),
        (["--glove", "x", "--embedding", "tuned", "tuned"], "--embedding: expected each kind once, got tuned tuned"),
        (["--glove", "BAD"], "bad.txt"),
        (["--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["--data", "EMPTY"], "folder: expected train.tsv and test.tsv"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, words, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.txt").write_text("good 1 2\nbad 1\n")
    places = {"EMPTY": str(tmp_path / "empty"), "BAD": str(tmp_path / "bad.txt")}
    assert run(*(places.get(word, word) for word in words), "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0]


# ---------------------------------------------------------------- baselines


def test_majority():
    assert majority_accuracy(np.array([1, 1, 0]), np.array([1, 0, 0, 0])) == 0.25


def test_tfidf_sees_words_but_not_their_order():
    """Ids that tell the label are found, the same ids in another order are not, padding does not count."""
    generator = np.random.default_rng(0)
    labels = np.array([0, 1] * 100)
    telling = [np.append(generator.integers(3, 9, 5), 9 + label).astype(np.int32) for label in labels]
    assert tfidf_accuracy(telling[:100], labels[:100], telling[100:], labels[100:], 11) == 1.0
    ordered = [np.array([3, 4] if label else [4, 3], np.int32) for label in labels]
    assert tfidf_accuracy(ordered[:100], labels[:100], ordered[100:], labels[100:], 11) == 0.5
    padded = [np.array([0, 0, 3] if label else [0, 3], np.int32) for label in labels]
    assert tfidf_accuracy(padded[:100], labels[:100], padded[100:], labels[100:], 11) == 0.5
