"""Film reviews as Keras's ids, against the rules written out."""

import json

import numpy as np
import pytest

from seqcore.datasets import load_imdb_ids, load_imdb_word_index

WORDS = ["the", "a", "film", "good", "it's", "bad"]
TRAIN = [(1, "A good film!"), (0, "The film: it's bad, bad."), (1, "Good <unheard>")]
TEST = [(0, "bad"), (1, "the the the the")]


@pytest.fixture
def folder(tmp_path):
    for split, rows in (("train", TRAIN), ("test", TEST)):
        (tmp_path / f"{split}.tsv").write_text("".join(f"{label}\t5\tname\t{text}\n" for label, text in rows))
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS, 1)}))
    return tmp_path


def shuffled(rows, seed=113):
    """The rows in the order of NumPy's old generator, as Keras draws it."""
    order = np.arange(len(rows))
    np.random.RandomState(seed).shuffle(order)
    return [rows[i] for i in order]


def ids_of(part):
    x, y = part
    assert x.dtype == object and y.dtype == np.int64
    return x.tolist(), y.tolist()


CASES = {
    "as Keras's defaults": ({}, [[1, 5, 7, 6], [1, 4, 6, 8, 9, 9], [1, 7, 2]]),
    "fewer words": ({"num_words": 7}, [[1, 5, 2, 6], [1, 4, 6, 2, 2, 2], [1, 2, 2]]),
    "without the first": ({"skip_top": 6}, [[2, 2, 7, 6], [2, 2, 6, 8, 9, 9], [2, 7, 2]]),
    "words left out are dropped": ({"num_words": 7, "oov_char": None}, [[1, 5, 6], [1, 4, 6], [1]]),
    "no start": ({"start_char": None}, [[5, 7, 6], [4, 6, 8, 9, 9], [7, 2]]),
    "ranks": ({"start_char": None, "index_from": 0, "oov_char": 0}, [[2, 4, 3], [1, 3, 5, 6, 6], [4, 0]]),
}


@pytest.mark.parametrize("name", CASES)
def test_ids(folder, name):
    options, rows = CASES[name]
    train, test = load_imdb_ids(folder, **options)
    expected = shuffled(list(zip(rows, [label for label, _ in TRAIN])))
    assert ids_of(train) == tuple(map(list, zip(*expected)))
    assert len(test[0]) == 2


def test_seed_and_longest(folder):
    rows = list(zip(CASES["as Keras's defaults"][1], [1, 0, 1]))
    for seed in range(4):
        assert ids_of(load_imdb_ids(folder, seed=seed)[0]) == tuple(map(list, zip(*shuffled(rows, seed))))
    train, test = load_imdb_ids(folder, maxlen=5)
    assert ids_of(train)[0] == [ids for ids, _ in shuffled(rows) if len(ids) < 5]
    assert ids_of(test) == ([[1, 9]], [0])


def test_kerass_file_gives_its_own_ids(folder, tmp_path):
    """imdb.npz holds ranks; they come back, whatever the words look like."""
    place = tmp_path / "npz"
    place.mkdir()
    ranks = [[2, 4, 3], [1, 3, 5, 6, 6], [4]]
    rows = np.empty(3, object)
    rows[:] = ranks
    labels = np.array([0, 1, 0])
    np.savez(place / "imdb.npz", x_train=rows, y_train=labels, x_test=rows[:2], y_test=labels[:2])
    with pytest.raises(ValueError, match=r"\Apath: expected imdb_word_index.json[^\n]*\Z"):
        load_imdb_ids(place)
    (place / "imdb_word_index.json").write_bytes((folder / "imdb_word_index.json").read_bytes())
    train, _ = load_imdb_ids(place)
    assert ids_of(train)[0] == shuffled([[1, *(rank + 3 for rank in row)] for row in ranks])


def test_word_index(folder):
    assert load_imdb_word_index(folder) == {word: i for i, word in enumerate(WORDS, 1)}


def test_built_in_reviews():
    (x, y), (x_test, y_test) = load_imdb_ids("builtin", num_words=10)
    assert len(x) == len(y) == 4000 and len(x_test) == len(y_test) == 1000
    ranks = load_imdb_word_index("builtin")
    assert sorted(ranks.values()) == list(range(1, len(ranks) + 1))
    assert {min(row) for row in x} == {1} and max(map(max, x)) == 9
    counts = np.bincount(np.concatenate(load_imdb_ids("builtin")[0][0]))
    assert (np.diff(counts[4:]) <= 0).all()


def test_the_place_of_the_reviews(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("SEQCORE_DATA", str(folder))
    assert load_imdb_word_index()["film"] == 3
    monkeypatch.setenv("SEQCORE_DATA", "builtin")
    assert load_imdb_word_index() == load_imdb_word_index("builtin") != load_imdb_word_index(folder)
    monkeypatch.delenv("SEQCORE_DATA")
    monkeypatch.setenv("SEQCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEQCORE_SOURCES", str(tmp_path / "sources.json"))
    source = {"file": "imdb.npz", "url": "http://127.0.0.1:9/imdb.npz", "sha256": "0" * 64}
    (tmp_path / "sources.json").write_text(json.dumps({"imdb": [source]}))
    pytest.importorskip("pooch")
    with pytest.raises(OSError, match=r"\Aimdb.npz: cannot download [^\n]*; SEQCORE_DATA=DIR names a folder[^\n]*\Z"):
        load_imdb_ids()


@pytest.mark.parametrize(
    "options",
    [{"num_words": 0}, {"skip_top": -1}, {"maxlen": 0}, {"maxlen": 1}, {"seed": -1}, {"start_char": "x"},
     {"oov_char": 1.5}, {"index_from": -1}],
    ids=str,
)  # fmt: skip
def test_misuse_is_told_in_one_line(folder, options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"\A{name}: expected [^\n]*\Z"):
        load_imdb_ids(folder, **options)
