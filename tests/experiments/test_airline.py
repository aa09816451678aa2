"""The experiment on tweets: the book's sizes, its split, what is learnt, its options."""

import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.datasets import LabelledTexts
from seqcore.experiments import airline
from tests.helpers import runs

selection = pytest.importorskip("sklearn.model_selection")


run = partial(runs.run, "airline")


def write_tweets(folder, count=100):
    generator = np.random.default_rng(0)
    lines = ["airline_sentiment,text"]
    for _ in range(count):
        good = generator.random() < 0.3
        lines.append(f"{int(good)},@fly {generator.choice(['flight', 'seat'])} was {'great' if good else 'late'}!")
    (folder / "airline_sentiment.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("rnn", [401_056, 2_920, 82]),
        ("lstm", [401_056, 11_680, 82]),
        ("lstm2", [401_056, 11_680, 12_960, 82]),
        ("gru", [401_056, 8_880, 82]),  # 3 (32 x 40 + 40 x 40 + 2 x 40)
    ],
)
def test_parameters_of_the_book(model, weights):
    """At the book's vocabulary the summary shows the book's numbers."""
    lines = []
    built = airline.build_model(model, airline.BOOK_WORDS)
    built.summary(print_fn=lines.append)
    assert [layer.count_params() for layer in built.layers] == weights
    assert all(any(line.endswith(f" {count:,}") for line in lines) for count in weights)


def test_split_of_the_book():
    """The parts are scikit-learn's, in its order."""
    tweets = LabelledTexts([str(i) for i in range(101)], np.arange(101, dtype=np.int32))
    train, test = airline.split_book(tweets)
    expected = selection.train_test_split(tweets.texts, test_size=0.3, random_state=42)
    assert [train.texts, test.texts] == list(expected) and train.labels.tolist() == [int(text) for text in train.texts]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rnn", "lstm", "lstm2", "gru"])
def test_learns_word_order(tmp_path, model):
    """Near the best accuracy possible, where the words without their order say nothing."""
    assert run("--model", model, "--out", tmp_path) == 0
    found = runs.results(tmp_path)
    metrics = found["metrics"]
    assert metrics["test_accuracy"] > 0.9 and metrics["tfidf_accuracy"] < 0.56 and found["model"] == model
    for picture in ("accuracy.png", "loss.png", "reading.png"):
        assert (tmp_path / picture).read_bytes().startswith(runs.PNG)
    found = sc.text.classify_texts(sc.load_model(tmp_path / "model.safetensors"), airline.SAME_WORDS)
    assert [one.prediction for one in found] == ["positive", "negative"]


def test_tweets_of_a_file(tmp_path, capsys):
    """Cleaned, padded at the end to 26 steps; the summary, the baselines and the result are printed."""
    write_tweets(tmp_path)
    out = tmp_path / "out"
    assert run("--data", tmp_path, "--model", "lstm", "--epochs", 2, "--out", out, "--json", tmp_path / "f.json") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("data: airline tweets from")
    assert (
        "train 63, valid 7, test 30; scikit-learn's ENGLISH_STOP_WORDS (318) left out: 5 words, the longest" in printed
    )
    assert "(None, 26, 32)" in printed and "TF-IDF" in printed and "always the more frequent label" in printed
    metrics = runs.results(out)["metrics"]
    assert metrics["vocabulary"] == 5 and metrics["longest"] == 3 and metrics["tfidf_accuracy"] == 1.0
    assert runs.results(tmp_path / "f.json")["metrics"] == metrics
    assert cli.main(["predict", str(out), "--text", "a great seat"]) == 0
    assert capsys.readouterr().out.split()[0] in ("positive", "negative")


def test_stop_words(tmp_path):
    """None, or those of a file."""
    write_tweets(tmp_path)
    (tmp_path / "stop.txt").write_text("fly\nseat flight\n")
    options = ["--data", tmp_path, "--epochs", 1, "--model", "rnn", "--out", tmp_path / "out"]
    for name, words in (("none", 6), (tmp_path / "stop.txt", 3)):
        assert run(*options, "--stop-words", name) == 0
        assert runs.results(tmp_path / "out")["metrics"]["vocabulary"] == words


def test_stop_words_of_nltk(tmp_path, capsys, monkeypatch):
    """Those of an installed NLTK; without it, or without its list, a line says how to get them."""
    write_tweets(tmp_path)

    def install(read):
        nltk, corpus = ModuleType("nltk"), ModuleType("nltk.corpus")
        corpus.stopwords = SimpleNamespace(words=read)
        monkeypatch.setitem(sys.modules, "nltk", nltk)
        monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)

    def missing(language):
        raise LookupError("a text of\nseveral lines")

    options = ["--data", tmp_path, "--epochs", 1, "--model", "rnn", "--stop-words", "nltk", "--out", tmp_path / "out"]
    install({"english": ["was", "fly", "isn't"]}.get)
    assert run(*options) == 0 and "NLTK's English stop words (3) left out: 4 words" in capsys.readouterr().out
    assert runs.results(tmp_path / "out")["stop_words"] == "nltk"
    install(missing)
    absent = partial(monkeypatch.setitem, sys.modules, "nltk.corpus", None)
    for change in (lambda: None, absent):
        change()
        assert run(*options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("needs NLTK and its list: pip install nltk && python -m nltk.downloader stopwords")


def test_words_and_ids(tmp_path, capsys):
    """The most frequent words with their counts, and a tweet next to its ids, agree with a count by hand."""
    lines = ["airline_sentiment,text", *["1,great seat great", "0,late seat", "0,late late seat"] * 20]
    (tmp_path / "Tweets.csv").write_text("\n".join(lines) + "\n")
    options = ["--stop-words", "none", "--epochs", 1, "--units", 3]
    assert run("--data", tmp_path, *options, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    table = [line.split() for line in printed.partition("  word\n")[2].splitlines()[:3]]
    assert {word: int(count) for _, count, word in table} == {"seat": 60, "late": 60, "great": 40}
    ids = {word: number for number, _, word in table}
    assert f"a tweet: late late seat\nits ids: {ids['late']} {ids['late']} {ids['seat']}\n" in printed
    assert [int(number) for number, *_ in table] == [1, 2, 3]


def test_same_seed_same_result(tmp_path):
    write_tweets(tmp_path)
    found = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(number)
        assert run("--data", tmp_path, "--epochs", 2, "--seed", seed, "--out", out) == 0
        found.append([row["loss"] for row in runs.results(out)["history"]])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "lstm3"], "--model"),
        (["--data", "download"], "--data: expected builtin or a folder, since Kaggle"),
        (["--data", "EMPTY"], "folder: expected airline_sentiment.csv or Tweets.csv"),
        (["--stop-words", "spacy"], "--stop-words: expected sklearn, nltk, none or a file, got 'spacy'"),
        (["--samples", "5000"], "--samples: expected at most 4,900 for these data, got 5,000"),
        (["--samples", "19"], "--samples: expected an integer >= 20, got 19"),
        (["--validate", "valid"], "--validate"),
        (["--stop-words", "BLANK"], "--stop-words: expected words in it, got the empty file"),
        (["--data", "OTHER"], "columns airline_sentiment and text, got no 'text'"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, words, expected):
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "Tweets.csv").write_text("airline_sentiment,tweet\n1,hi\n")
    (tmp_path / "blank.txt").write_text("\n")
    places = {"EMPTY": tmp_path / "empty", "OTHER": tmp_path / "other", "BLANK": tmp_path / "blank.txt"}
    assert run(*(places.get(word, word) for word in words), "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0]
