"""seqcore run word2vec: the book's program learns, repeats itself and writes what it should; its vocabulary."""

import collections
import gzip
import hashlib
import json
import zipfile

import numpy as np
import pytest

import seqcore as sc
from seqcore import KeyedVectors, cli
from seqcore.datasets import relations
from seqcore.experiments import word2vec
from tests.helpers import runs

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch):
    monkeypatch.delenv("SEQCORE_DATA", raising=False)


def run(*words):
    return cli.main(["run", "word2vec", *map(str, words)])


def figures(folder):
    results = json.loads((folder / "metrics.json").read_text())
    timed = {"words_per_second", "steps_per_second", "training_seconds", "seconds"}
    drop = [{key: value for key, value in row.items() if key not in timed} for row in results["history"]]
    return {key: value for key, value in results["metrics"].items() if key not in timed}, drop


def test_settings_of_the_book():
    book = word2vec.BOOK
    assert (book.vocabulary_size, book.embedding_size, book.skip_window, book.num_skips) == (50_000, 128, 1, 2)
    assert (book.batch_size, book.num_sampled, book.learning_rate, book.steps) == (128, 64, 1.0, 100_000)
    assert (book.report_steps, book.nearest_steps, book.valid_size, book.valid_window) == (2_000, 10_000, 16, 100)


@pytest.mark.parametrize(("architecture", "accuracy"), [("skipgram", 0.5), ("cbow", 0.5)])
def test_the_book_learns_the_relations(tmp_path, capsys, architecture, accuracy):
    """A fifth of the book's steps: the loss falls, and far more questions are answered than by chance (1 in 460)."""
    words = ("--preset", "book", "--architecture", architecture, "--steps", 24_000, "--seed", 1)
    assert run(*words, "--out", tmp_path, "--json", tmp_path / "figures.json") == 0
    out = capsys.readouterr().out
    assert out.startswith("data: built-in sentences with known relations") and "nearest to " in out
    results = json.loads((tmp_path / "metrics.json").read_text())
    assert results == json.loads((tmp_path / "figures.json").read_text())
    assert (results["experiment"], results["preset"], results["architecture"]) == ("word2vec", "book", architecture)
    metrics, history = results["metrics"], results["history"]
    assert [row["step"] for row in history] == list(range(2000, 24_001, 2000))
    assert metrics["average_loss"] == history[-1]["average_loss"] < 0.8 * history[0]["average_loss"]
    assert metrics["analogy_accuracy"] > accuracy and metrics["analogy_questions"] == 534
    assert set(metrics["analogy_sections"]) == set(relations.PAIRS)
    kv = KeyedVectors.load(tmp_path / "vectors.safetensors")
    assert kv.evaluate_word_analogies(relations.questions())[0] == metrics["analogy_accuracy"]
    assert kv.vector_size == 128 and (np.diff(kv.counts) <= 0).all()
    nearest = (tmp_path / "nearest.txt").read_text().splitlines()
    assert nearest[::17] == ["step 0", "step 10,000", "step 20,000", "step 24,000"] and len(nearest) == 4 * 17
    # Neighbors by chance before the training, by meaning after it.
    assert [line.split(": ")[0] for line in nearest[1:17]] == [line.split(": ")[0] for line in nearest[-16:]]
    assert not set(nearest[1:17]) & set(nearest[-16:])
    for name in ("loss.png", "words.png", "relations.png"):
        pytest.importorskip("matplotlib")
        assert (tmp_path / name).read_bytes()[:8] == PNG


def test_runs_repeat_themselves(tmp_path):
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        words = ("--preset", "book", "--steps", 300, "--seed", seed, "--threads", threads, "--plot-words", 5)
        assert run(*words, "--out", tmp_path / name) == 0
    assert figures(tmp_path / "a") == figures(tmp_path / "b") != figures(tmp_path / "c")
    vectors = [(tmp_path / name / "vectors.safetensors").read_bytes() for name in "abc"]
    assert vectors[0] == vectors[1] != vectors[2]


def test_the_step_is_that_of_plain_numpy():
    """Loss and update of one step, written out: sigmoid cross-entropy with corrected logits, SGD."""
    from seqcore.ops import candidate_samplers as sampling

    sc.set_seed(5)
    settings = word2vec.Settings(embedding_size=6, num_sampled=4)
    model = word2vec.SkipGram(30, settings)
    table, w, b = (variable.numpy().astype(np.float64) for variable in model.variables)
    inputs, labels = np.array([3, 3, 7, 1], np.int32), np.array([[2], [4], [2], [29]], np.int32)
    state = sc.random.get_state()
    drawn, true, noise = sampling.log_uniform_candidate_sampler(labels, 1, 4, True, 30)
    sc.random.set_state(state)
    loss = model.step(inputs, labels)
    x, rows = table[inputs], np.concatenate([labels, np.tile(drawn, (4, 1))], axis=1)
    logits = np.einsum("bd,bsd->bs", x, w[rows]) + b[rows] - np.log(np.column_stack([true, np.tile(noise, (4, 1))]))
    target = np.eye(5)[0]
    expected = (np.logaddexp(0, logits) - logits * target).sum(axis=1).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    g = (1 / (1 + np.exp(-logits)) - target) / 4
    new = [array.copy() for array in (table, w, b)]
    np.subtract.at(new[0], inputs, np.einsum("bs,bsd->bd", g, w[rows]))
    np.subtract.at(new[1], rows, g[:, :, None] * x[:, None])
    np.subtract.at(new[2], rows, g)
    for variable, value in zip(model.variables, new):
        np.testing.assert_allclose(variable.numpy(), value, atol=1e-5)


def source(tmp_path, text, packed=False):
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return word2vec.load_source(str(path), "book", 0)


@pytest.mark.parametrize("packed", [False, True])
def test_vocabulary(tmp_path, rng, packed):
    words = [f"w{i}" for i in rng.zipf(1.3, 5000) % 500]
    text, counts = source(tmp_path, " ".join(words), packed), collections.Counter(words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary, ids = word2vec.build_dataset(text, 1000)
    assert list(vocabulary.words) == ranked and vocabulary.decode(ids) == words
    assert vocabulary.counts.tolist() == [counts[word] for word in ranked]
    vocabulary, ids = word2vec.build_dataset(text, 50)
    assert list(vocabulary.words) == ["UNK", *ranked[:49]] and ids.dtype == np.int32
    assert vocabulary.decode(ids) == [word if word in ranked[:49] else "UNK" for word in words]
    assert vocabulary.counts.tolist() == np.bincount(ids, minlength=50).tolist()


def test_a_folder_with_tests(tmp_path):
    """Layout of a data folder: text, questions, word pairs; a file of pairs without known words is skipped."""
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "wordsim").mkdir(parents=True)
    text = " ".join(word for sentence in relations.sentences(20_000) for word in sentence)
    (data / "text8.gz").write_bytes(gzip.compress(text.encode()))
    relations.write_questions(data / "wordsim" / "questions-words.txt")
    (data / "wordsim" / "MEN-x.txt").write_text("king\tqueen\t5\nking\tvery\t1\nqueen\tprince\t4\n")
    (data / "wordsim" / "none.tsv").write_text("x\ty\t5\n")
    assert run("--preset", "book", "--data", data, "--epochs", 1, "--out", out, "--plot-words", 3) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert -1 <= metrics["men_x_spearman"] <= 1 and "none_spearman" not in metrics
    assert metrics["steps"] == 20_000 // 64 and metrics["analogy_questions"] == 534


def test_downloaded_text(tmp_path, monkeypatch, capsys):
    """text8 from the cache; counts, numbers and pairs of its words as the book prints them."""
    pytest.importorskip("pooch")
    (tmp_path / "text8").mkdir()
    with zipfile.ZipFile(tmp_path / "text8" / "text8.zip", "w") as archive:
        archive.writestr("text8", " b a b c b a d b" * 40)
    sha256 = hashlib.sha256((tmp_path / "text8" / "text8.zip").read_bytes()).hexdigest()
    entry = {"file": "text8.zip", "url": "http://127.0.0.1:9/", "sha256": sha256}
    (tmp_path / "sources.json").write_text(json.dumps({"text8": [entry]}))
    monkeypatch.setenv("SEQCORE_CACHE", str(tmp_path))
    monkeypatch.setenv("SEQCORE_SOURCES", str(tmp_path / "sources.json"))
    monkeypatch.setenv("SEQCORE_DATA", "download")
    monkeypatch.setattr(word2vec, "BOOK", word2vec.Settings(vocabulary_size=3))
    assert run("--preset", "book", "--steps", 2, "--out", tmp_path / "book") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "counts: UNK 80, b 160, a 80" in lines
    assert "first words: b 1, a 2, b 1, UNK 0, b 1, a 2, UNK 0, b 1, b 1, a 2" in lines
    pairs = next(line for line in lines if line.startswith("skip-gram pairs: "))
    pairs = [tuple(pair.split(" -> ")) for pair in pairs.removeprefix("skip-gram pairs: ").split(", ")]
    text = "b a b UNK b a UNK b".split()
    assert [sorted(pairs[2 * i : 2 * i + 2]) for i in range(4)] == [
        sorted([(text[i + 1], text[i]), (text[i + 1], text[i + 2])]) for i in range(4)
    ]
    assert runs.results(tmp_path / "book")["data"] == "download"
    assert run("--epochs", 1, "--out", tmp_path / "quick") == 0
    assert {"a", "b", "c", "d"} == set(KeyedVectors.load(tmp_path / "quick" / "vectors.safetensors").index_to_key)


def test_pictures(rng):
    vectors = rng.normal(size=(20, 5)).astype(np.float32)
    points, method = word2vec.flatten(vectors, 0, 1000)
    assert points.shape == (20, 2) and np.isfinite(points).all()
    try:
        import sklearn  # noqa: F401
    except ImportError:
        assert method == "PCA"
    else:
        assert method == "t-SNE"
    assert word2vec.flatten(vectors[:2], 0, 5000)[0].shape == (2, 2)


def test_pairs_of_the_picture():
    """Of the file's relations the book's three, the pairs of the most frequent words, whatever their case."""
    words = "paris france boy girl son daughter oslo norway athens greece".split()
    kv = KeyedVectors(np.eye(len(words), dtype=np.float32), words)
    capitals = [("Athens", "Greece", "Oslo", "Norway"), ("Oslo", "Norway", "Paris", "France")]
    family = [("boy", "girl", "son", "daughter"), ("boy", "girl", "nephew", "niece")]
    asked = {"capital-common-countries": capitals, "city-in-state": capitals, "family": family}
    asked["gram7-past-tense"] = [("go", "went", "see", "saw")]
    drawn = word2vec.pairs_to_draw(kv, asked, most=2)
    assert drawn == {
        "family": [("boy", "girl"), ("son", "daughter")],
        "capital-common-countries": [("paris", "france"), ("oslo", "norway")],
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "no/such/place"], "--data: expected builtin, download, a folder or a text file"),
        (["--steps", "1"], "--steps: expected an integer >= 2"),
        (["--steps", "10", "--epochs", "1"], "--steps: expected --preset book and no --epochs"),
        (["--plot-words", "0"], "--plot-words: expected an integer >= 2"),
        (["--seed", "-1"], "--seed: expected"),
        (["--json", "no/such/folder/x"], "--json: expected a file in an existing folder"),
        (["--architecture", "glove"], "--architecture"),
    ],
)
def test_errors_are_one_line(capsys, words, expected):
    assert run("--preset", "book", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "got an empty one"), (b" \n", "got an empty one"), (b"\xff\xfe", "UTF-8"), (b"one two", "at least 3 words")],
)
def test_bad_texts(tmp_path, capsys, content, expected):
    (tmp_path / "text").write_bytes(content)
    (tmp_path / "folder").mkdir()
    assert run("--preset", "book", "--data", tmp_path / "text", "--out", tmp_path / "out") == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert run("--preset", "book", "--data", tmp_path / "folder", "--out", tmp_path / "out") == 2
    assert "text8" in capsys.readouterr().err


def test_quick_trains_the_estimator(tmp_path):
    assert run("--out", tmp_path) == 0
    results = json.loads((tmp_path / "metrics.json").read_text())
    assert results["preset"] == "quick" and results["metrics"]["analogy_accuracy"] > 0.9
    assert (tmp_path / "vectors.safetensors").exists() and (tmp_path / "nearest.txt").exists()
    losses = [row["loss"] for row in results["history"]]
    assert losses[-1] < losses[0] and results["metrics"]["loss"] == losses[-1]
