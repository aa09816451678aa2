"""Texts with labels: the loaders on small files, the built-in texts and why a bag of words must lose on them."""

import io
import json
import os
import pickle
import zipfile
from collections import Counter

import numpy as np
import pytest

from seqcore.datasets import load_airline, load_imdb, sentiment_corpus
from seqcore.datasets.sentiment import REVIEWS, TWEETS, LabelledTexts, contrast_pair

REVIEW_ROWS = {
    "train": [
        (0, 2, "neg/0_2", "Bad.\tReally <br />bad\x85"),
        (1, 9, "pos/0_9", "Good!"),
        (0, 1, "neg/1_1", "so dull"),
    ],
    "test": [(1, 7, "pos/0_7", "good enough"), (0, 4, "neg/0_4", "dull")],
}


def write_tables(folder):
    folder.mkdir(exist_ok=True)
    for split, rows in REVIEW_ROWS.items():
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8", newline="")


def write_reviews(folder):
    for split, rows in REVIEW_ROWS.items():
        for _, _, name, text in rows:
            path = folder / split / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())


def write_npz(path, lists, protocol=2):
    """Arrays of lists in a pickle, as Keras's file has them."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, (x, y) in lists.items():
            array = np.empty(len(x), object)
            array[:] = x
            buffer = io.BytesIO()
            header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
            np.lib.format.write_array_header_1_0(buffer, header)
            pickle.dump(array, buffer, protocol=protocol)
            archive.writestr(f"x_{split}.npy", buffer.getvalue())
            buffer = io.BytesIO()
            np.save(buffer, np.array(y))
            archive.writestr(f"y_{split}.npy", buffer.getvalue())


LISTS = {"train": ([[2, 1, 3], [1, 1]], [1, 0]), "test": ([[3], [2, 2, 1]], [0, 1])}


# ---------------------------------------------------------------- IMDB reviews


@pytest.mark.parametrize("place", [".", "imdb"])
def test_reviews_of_tables(tmp_path, place):
    """Fields are cut at the first three tabs, lines at the newline character alone."""
    write_tables(tmp_path / place)
    data = load_imdb(tmp_path)
    assert data.train.texts == [row[3] for row in REVIEW_ROWS["train"]] and data.train.labels.tolist() == [0, 1, 0]
    assert len(data.test) == 2 and data.ranked is None and data.bayes is None
    (tmp_path / place / "imdb_word_index.json").write_text(json.dumps({"bad": 2, "good": 1}))
    assert load_imdb(tmp_path).ranked == ["good", "bad"]


@pytest.mark.parametrize("place", [".", "aclImdb"])
def test_reviews_of_the_archive(tmp_path, place):
    """The folders of the original archive give the same reviews in the same order."""
    write_reviews(tmp_path / place)
    write_tables(tmp_path / "other")
    files, tables = load_imdb(tmp_path), load_imdb(tmp_path / "other")
    assert files.train.texts == tables.train.texts and files.train.labels.tolist() == [0, 1, 0]
    assert sorted(files.test.texts) == sorted(tables.test.texts)


@pytest.mark.parametrize("protocol", [2, 4])
def test_reviews_of_ids(tmp_path, protocol):
    """Keras's lists of ranks become words again; without the table of ranks, the ranks as words."""
    write_npz(tmp_path / "imdb.npz", LISTS, protocol)
    assert load_imdb(tmp_path).train.texts == ["2 1 3", "1 1"]
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"good": 2, "the": 1, "film": 3}))
    data = load_imdb(tmp_path)
    assert data.train.texts == ["good the film", "the the"] and data.test.labels.tolist() == [0, 1]


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_a_pickle_with_code_is_refused(tmp_path, monkeypatch):
    """Nothing of it is run."""
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "imdb.npz", {**LISTS, "train": ([_Evil(), [1]], [0, 1])})
    with pytest.raises(ValueError, match=r"imdb.npz: expected Keras's imdb.npz, got another file \((posix|nt).mkdir"):
        load_imdb(tmp_path)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.tsv", "2\t1\tx\ttext\n", r"train.tsv, line 1: expected label 0 or 1, rating, name, text, got '2"),
        ("train.tsv", "1\t1\tx\n", "train.tsv, line 1: expected label 0 or 1"),
        ("train.tsv", "1\t1\tx\tgood\n", "train.tsv: expected texts of both labels, got 1 texts of 1"),
        ("train.tsv", "", "train.tsv: expected texts of both labels, got 0 texts of 0"),
        ("imdb_word_index.json", "[1]", "imdb_word_index.json: expected a JSON object of words and their ranks"),
        ("imdb_word_index.json", '{"a": 1, "b": 3}', r"imdb_word_index.json: .*\(ranks that are not 1, 2, 3"),
    ],
)
def test_damaged_tables(tmp_path, file, content, message):
    write_tables(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_imdb(tmp_path)


def test_other_damage(tmp_path):
    with pytest.raises(ValueError, match="folder: expected train.tsv and test.tsv"):
        load_imdb(tmp_path)
    (tmp_path / "imdb.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="expected Keras's imdb.npz, got another file"):
        load_imdb(tmp_path)
    write_npz(tmp_path / "imdb.npz", LISTS)
    (tmp_path / "imdb_word_index.json").write_text('{"the": 1}')
    with pytest.raises(ValueError, match="imdb.npz: expected Keras's imdb.npz"):
        load_imdb(tmp_path)
    write_reviews(tmp_path)
    (tmp_path / "train" / "pos" / "7_7.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="7_7.txt: expected UTF-8 text"):
        load_imdb(tmp_path)


# ---------------------------------------------------------------- airline tweets


@pytest.mark.parametrize("name", ["airline_sentiment.csv", "Tweets.csv"])
@pytest.mark.parametrize("place", [".", "airline"])
def test_tweets(tmp_path, name, place):
    """Words and numbers as labels, quoted texts over two lines, neutral rows left out."""
    (tmp_path / place).mkdir(exist_ok=True)
    text = '\ufeffid,airline_sentiment,text\n1,positive,"thanks, @fly\nagain"\n2,neutral,\n3,0,late\n4,Negative,bad\n'
    (tmp_path / place / name).write_text(text, encoding="utf-8")
    tweets = load_airline(tmp_path)
    assert tweets.texts == ["thanks, @fly\nagain", "late", "bad"] and tweets.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentiment,text\n1,a\n", "columns airline_sentiment and text, got no 'airline_sentiment'"),
        ("airline_sentiment\n1\n", "got no 'text'"),
        ("", "got no 'airline_sentiment'"),
        (
            "airline_sentiment,text\nhappy,a\n",
            "line 2: expected positive, negative, neutral, 1 or 0 and a text, got 'h",
        ),
        ("airline_sentiment,text\n1\n", "line 2: expected positive"),
        ("airline_sentiment,text\n1,a\n1,b\n", "expected texts of both labels, got 2 texts of 1"),
    ],
)
def test_damaged_tweets(tmp_path, content, message):
    (tmp_path / "airline_sentiment.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_airline(tmp_path)
    assert "airline_sentiment.csv" in str(caught.value)


def test_no_tweets(tmp_path):
    with pytest.raises(ValueError, match="folder: expected airline_sentiment.csv or Tweets.csv"):
        load_airline(tmp_path)
    (tmp_path / "Tweets.csv").write_bytes(b"airline_sentiment,text\n1,\xff\n")
    with pytest.raises(ValueError, match=r"Tweets.csv: .*utf-8"):
        load_airline(tmp_path)


# ---------------------------------------------------------------- built-in texts


@pytest.mark.parametrize("style", [REVIEWS, TWEETS], ids=["reviews", "tweets"])
def test_pairs_have_the_same_words(style):
    """The two texts of a pair differ, and only in the order of their words."""
    generator = np.random.default_rng(0)
    for _ in range(500):
        negative, positive = contrast_pair(style, generator)
        assert negative != positive
        strip = str.maketrans("", "", ",.:")
        assert Counter(negative.translate(strip).split()) == Counter(positive.translate(strip).split())


def judged(text, style):
    """The label as a reader finds it: which statement decides, what its adjective says, whether it is negated."""
    contrast = next(word for word in ("but", "although", "tho", "despite") if word in text.split())
    before, after = text.split(contrast, 1)
    if contrast == "but":
        decides = after
    elif contrast == "tho" or "," in after:  # "a, b tho"; "although a , b"
        decides = (before if contrast == "tho" else after).rsplit(",", 1)[1]
    else:
        decides = before
    words = {word.strip(".,:") for word in decides.split()}
    good = len(words & set(style.good)) == 1
    assert good != (len(words & set(style.bad)) == 1)
    return good != bool(words & {"not", "never", "nobody", "far", "wasnt", "hardly", "didnt"})


@pytest.mark.parametrize("style", [REVIEWS, TWEETS], ids=["reviews", "tweets"])
def test_labels_mean_what_the_words_say(style):
    generator = np.random.default_rng(6)
    for _ in range(500):
        negative, positive = contrast_pair(style, generator)
        assert judged(positive, style) and not judged(negative, style), (negative, positive)


def test_tweets_survive_the_stop_words():
    """Cleaned as in the experiment, the two texts of a pair still differ in order alone."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from seqcore import TextVectorization

    clean = TextVectorization(standardize="alphanumeric", stop_words=text.ENGLISH_STOP_WORDS).tokens
    generator = np.random.default_rng(1)
    for _ in range(500):
        negative, positive = (clean(one) for one in contrast_pair(TWEETS, generator))
        assert negative != positive and sorted(negative) == sorted(positive)
    cleaned = {word for form in TWEETS.negated for word in clean(form.format(subject="seat", word="great"))}
    assert {"wasnt", "hardly", "didnt"} <= cleaned


def test_corpus():
    """Same seed, same texts; labels even; the share of wrong ones is the noise."""
    data, again, other = (sentiment_corpus(2000, 500, seed=seed) for seed in (3, 3, 4))
    assert data.train.texts == again.train.texts and data.train.texts != other.train.texts
    assert np.array_equal(data.test.labels, again.test.labels) and data.bayes == 0.95
    assert abs(data.train.labels.mean() - 0.5) < 0.04
    clean = sentiment_corpus(2000, 500, noise=0.0, seed=3)
    assert clean.train.texts == data.train.texts and clean.bayes == 1.0
    assert abs(np.mean(clean.train.labels != data.train.labels) - 0.05) < 0.02
    longer = sentiment_corpus(10, 500, seed=3)
    assert longer.test.texts == data.test.texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 1}, "train: expected an integer >= 2, got 1"),
        ({"noise": 0.5}, "noise: expected a share"),
    ],
)
def test_corpus_errors(options, message):
    with pytest.raises(ValueError, match=message):
        sentiment_corpus(**options)


def test_rows_of_labelled_texts():
    texts = LabelledTexts(["a", "b", "c"], np.array([0, 1, 0], np.int32))
    assert texts[1:].texts == ["b", "c"] and texts[np.array([2, 0])].labels.tolist() == [0, 0] and len(texts) == 3
