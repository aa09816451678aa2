"""TextVectorization: cleaning, vocabulary, ids and back, files; labels of texts by a saved model."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqcore as sc
from seqcore import cli
from seqcore.text import TextVectorization, classify_texts
from seqcore.text.vectorization import STANDARDIZE

TEXTS = ["The cat, the dog!", "A cat isn't a dog.", "Cats & dogs\tcost 10% more"]


@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        (None, ["It's", "(not)", "GOOD-ish", "5*", "café"]),
        ("lower", ["it's", "(not)", "good-ish", "5*", "café"]),
        ("strip_punctuation", ["Its", "not", "GOODish", "5", "café"]),
        ("lower_and_strip_punctuation", ["its", "not", "goodish", "5", "café"]),
        ("lower_and_split_punctuation", ["it's", "not", "good", "ish", "5", "café"]),
        ("alphanumeric", ["it", "s", "not", "good", "ish", "5", "caf"]),
    ],
)
def test_cleaning(standardize, expected):
    assert TextVectorization(standardize=standardize).tokens("It's (not)  GOOD-ish 5*\ncafé") == expected
    assert standardize in STANDARDIZE


def test_characters():
    vectorize = TextVectorization(standardize="lower", split="character")
    vectorize.adapt(["abA"])
    assert vectorize.get_vocabulary() == ["", "[UNK]", "a", "b"]
    assert vectorize(["bac"]).tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("texts", "max_tokens", "expected"),
    [
        # Keras 3.15, text_vectorization_test.py: test_adapt_flow, and its rules for special tokens.
        (["foo bar", "bar baz", "baz bada boom"], None, ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]),
        (["foo bar", "bar baz", "baz bada boom"], 3, ["", "[UNK]", "baz"]),
        (["foo bar", "bar baz", "baz bada boom"], 5, ["", "[UNK]", "baz", "bar", "foo"]),
        (["é z a", "b"], None, ["", "[UNK]", "é", "z", "b", "a"]),
        (["[UNK] a [UNK]"], None, ["", "[UNK]", "a"]),
    ],
)
def test_ids_of_keras(texts, max_tokens, expected):
    vectorize = TextVectorization(max_tokens, standardize=None)
    vectorize.adapt(texts)
    assert vectorize.get_vocabulary() == expected


def test_vocabulary_by_count_then_from_z_to_a():
    vectorize = TextVectorization(max_tokens=5)
    vectorize.adapt(TEXTS)
    assert vectorize.get_vocabulary() == ["", "[UNK]", "the", "dog", "cat"]
    assert vectorize.get_vocabulary(include_special_tokens=False) == ["the", "dog", "cat"]
    assert vectorize.vocabulary_size() == 5


def test_start_token_and_sides():
    """The start is the first word of each text, and cut off where the front is."""
    words = ["", "<START>", "<UNK>", "<UNUSED>", "the", "cat"]
    options = {"start_token": "<START>", "oov_token": "<UNK>", "output_sequence_length": 4}
    front = TextVectorization(vocabulary=words, padding="pre", truncating="pre", **options)
    back = TextVectorization(vocabulary=words, **options)
    assert front(["the bird", "the cat the cat the"]).tolist() == [[0, 1, 4, 2], [5, 4, 5, 4]]
    assert back(["the bird", "the cat the cat the"]).tolist() == [[1, 4, 2, 0], [1, 4, 5, 4]]
    assert front.decode([0, 1, 4, 2]) == ["<START>", "the", "<UNK>"]
    assert front.encode("the cat the cat the").tolist() == [1, 4, 5, 4, 5, 4]


def test_words_left_out():
    """Stop words, and without an oov_token those outside the vocabulary."""
    vectorize = TextVectorization(stop_words=["the", "a"], oov_token=None)
    vectorize.adapt(TEXTS)
    assert vectorize.get_vocabulary()[:3] == ["", "dog", "cat"]
    assert vectorize(["The bird and the dog"]).tolist() == [[1]]
    assert vectorize(["the"]).shape == (1, 0)


@pytest.mark.parametrize("path", [str, lambda path: path, lambda path: os.fsencode(path)], ids=["str", "Path", "bytes"])
def test_vocabulary_from_a_file(tmp_path, path):
    """One word a line; a file of get_vocabulary() brings the special tokens along."""
    for text, expected in (
        ("hello\nworld\n", ["", "[UNK]", "hello", "world"]),
        ("hello\r\ntwo words\r\nende", ["", "[UNK]", "hello", "two words", "ende"]),
        ("\n[UNK]\nhello\n", ["", "[UNK]", "hello"]),
    ):
        file = tmp_path / "words"
        file.write_bytes(text.encode())
        given = TextVectorization(vocabulary=path(file))
        later = TextVectorization()
        later.set_vocabulary(path(file))
        assert given.get_vocabulary() == later.get_vocabulary() == expected
        again = TextVectorization.from_dict(json.loads(json.dumps(given.to_dict())))
        assert again.get_vocabulary() == expected
    file.write_bytes(b"")
    for wrong, message in (
        (file, "vocabulary: expected at least one word, got none"),
        (
            tmp_path / "absent.txt",
            "vocabulary: expected a list of words, or the path of a file .*absent.txt', which is no",
        ),
        (tmp_path, "vocabulary: expected a list of words, or the path of a file with one word a line"),
    ):
        with pytest.raises(ValueError, match=message):
            TextVectorization(vocabulary=path(wrong))


def test_a_model_file_names_no_file(tmp_path):
    (tmp_path / "words").write_text("secret\n")
    config = {**TextVectorization(vocabulary=["a"]).to_dict(), "vocabulary": str(tmp_path / "words")}
    with pytest.raises(ValueError, match="config: expected a list of words or null as vocabulary"):
        TextVectorization.from_dict(config)


@pytest.mark.parametrize(
    "texts",
    [
        lambda texts: texts,
        tuple,
        np.array,
        lambda texts: np.array(texts, object),
        lambda texts: np.array(texts)[:, None],
        lambda texts: [[text] for text in texts],
        lambda texts: [text.encode() for text in texts],
        lambda texts: np.array([text.encode() for text in texts]),
        lambda texts: np.array([text.encode() for text in texts], object)[:, None],
        iter,
    ],
    ids=["list", "tuple", "array", "objects", "(N, 1)", "lists", "bytes", "array of bytes", "(N, 1) bytes", "iterator"],
)
def test_forms_of_texts(texts):
    plain, other = TextVectorization(), TextVectorization()
    plain.adapt(TEXTS)
    other.adapt(texts(TEXTS))
    assert other.get_vocabulary() == plain.get_vocabulary()
    np.testing.assert_array_equal(other(texts(TEXTS)), plain(TEXTS))
    found = classify_texts(classifier(), texts(["Not good!", "bad"]))
    assert [one.prediction for one in found] == ["positive", "negative"] and found[0].text == "Not good!"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", float("nan")], r"texts\[1\]: expected a string, got nan; leave missing values out"),
        (np.array(["a", np.nan], object), r"texts\[1\]: expected a string, got nan; leave missing values out"),
        (["a", None], r"texts\[1\]: expected a string, got None; leave missing values out"),
        ([1, 2], r"texts\[0\]: expected a string, got 1"),
        ([["a", "b"]], r"texts\[0\]: expected a string, got \['a', 'b'\]"),
        ([b"\xff"], r"texts\[0\]: expected UTF-8, got other bytes"),
        (np.array([["a", "b"]]), r"texts: expected shape \(N,\) or \(N, 1\), got \(1, 2\)"),
        (np.array("a"), r"texts: expected shape \(N,\) or \(N, 1\), got \(\)"),
        ("a b", r"texts: expected a sequence of texts, got one string; use \[text\]"),
        (b"a b", r"texts: expected a sequence of texts, got one string; use \[text\]"),
        ({"a": 1}, r"texts: expected a sequence of texts, got \{'a': 1\}"),
        (3, r"texts: expected a sequence of texts, got 3"),
        (None, r"texts: expected a sequence of texts, got None"),
    ],
)
def test_what_is_no_text(texts, message):
    vectorize = TextVectorization(vocabulary=["a"])
    before = vectorize.get_vocabulary()
    for call in (vectorize, vectorize.adapt, lambda texts: classify_texts(classifier(), texts)):
        with pytest.raises((TypeError, ValueError), match=rf"\A{message}[^\n]*\Z"):
            call(texts)
    assert vectorize.get_vocabulary() == before


@given(st.lists(st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), max_size=6), min_size=1, max_size=4))
def test_ids_lead_back_to_the_words(texts):
    """For texts of known words without padding in between, decode undoes encode."""
    vectorize = TextVectorization(vocabulary=["ab", "cd", "ef", "gh"])
    for words, row in zip(texts, vectorize([" ".join(words) for words in texts])):
        assert vectorize.decode(row) == words


def test_saved_and_read():
    vectorize = TextVectorization(
        9,
        "alphanumeric",
        "whitespace",
        output_sequence_length=6,
        stop_words=["the"],
        oov_token=None,
        start_token="<s>",
        padding="pre",
    )
    vectorize.adapt(TEXTS)
    again = TextVectorization.from_dict(json.loads(json.dumps(vectorize.to_dict())))
    assert again.to_dict() == vectorize.to_dict()
    np.testing.assert_array_equal(again(TEXTS), vectorize(TEXTS))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TextVectorization(standardize="upper"), ValueError, "standardize: expected None, 'lower'"),
        (lambda: TextVectorization(split="words"), ValueError, "split: expected 'whitespace' or 'character'"),
        (lambda: TextVectorization(padding="left"), ValueError, "padding: expected 'pre' or 'post', got 'left'"),
        (lambda: TextVectorization(truncating="left"), ValueError, "truncating: expected 'pre' or 'post'"),
        (lambda: TextVectorization(max_tokens=0), ValueError, "max_tokens: expected None or an integer >= 1, got 0"),
        (
            lambda: TextVectorization(max_tokens=True),
            ValueError,
            "max_tokens: expected None or an integer >= 1, got True",
        ),
        (lambda: TextVectorization(2, vocabulary=["a"]), ValueError, "vocabulary: expected at most max_tokens=2 words"),
        (lambda: TextVectorization(vocabulary=[]), ValueError, "vocabulary: expected at least one word, got none"),
        (lambda: TextVectorization(oov_token=1), ValueError, "oov_token: expected a string or None, got 1"),
        (lambda: TextVectorization(start_token=np.nan), ValueError, "start_token: expected a string or None, got nan"),
        (lambda: TextVectorization(standardize=["lower"]), ValueError, "standardize: expected None, 'lower'"),
        (lambda: TextVectorization().tokens(np.nan), TypeError, "text: expected a string, got nan; leave missing"),
        (
            lambda: TextVectorization(output_sequence_length=2.0),
            ValueError,
            "output_sequence_length: expected None or",
        ),
        (lambda: TextVectorization(stop_words="the"), TypeError, "stop_words: expected a sequence"),
        (lambda: TextVectorization()(["a"]), ValueError, "vocabulary: expected one; call adapt"),
        (lambda: TextVectorization(vocabulary=["a"])("a"), TypeError, "texts: expected a sequence of texts"),
        (lambda: TextVectorization(vocabulary=["a", "a"]), ValueError, "words: expected each word once"),
        (lambda: TextVectorization(vocabulary=["", "a"]), ValueError, r"expected the special tokens \['\[UNK\]'\]"),
        (lambda: TextVectorization().adapt([]), ValueError, "tokens: expected at least one word"),
        (lambda: TextVectorization(vocabulary=["a"]).decode([7]), ValueError, "ids: expected integers 0...2, got 7"),
        (lambda: TextVectorization.from_dict({"format": "x"}), ValueError, "config: expected a seqcore text vector"),
        (
            lambda: TextVectorization.from_dict({**TextVectorization().to_dict(), "output_sequence_length": 10**9}),
            ValueError,
            "config: expected at most 1000000 as output_sequence_length, got 1000000000",
        ),
        (
            lambda: TextVectorization.from_dict({**TextVectorization().to_dict(), "more": 1}),
            ValueError,
            "config: expected the options of a TextVectorization",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------- labels of texts


def classifier(outputs=1, activation="sigmoid"):
    """Says positive where the last word is "good"; the file of a user's own model looks like this."""
    vectorize = TextVectorization(vocabulary=["good", "bad"], output_sequence_length=3, padding="pre", truncating="pre")
    table = np.array([[0.0], [0.0], [4.0], [-4.0]])
    model = sc.Sequential(
        [
            sc.layers.Embedding(4, 1, weights=table, input_length=3),
            sc.layers.SimpleRNN(1, "linear"),
            sc.layers.Dense(outputs, activation),
        ]
    )
    kernel = np.ones((1, 1)) if outputs == 1 else np.array([[-0.5, 0.5]])
    model.set_weights([table, np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1), kernel, np.zeros(outputs)])
    model.extra = {"text_vectorization": vectorize.to_dict(), "labels": ["negative", "positive"]}
    return model


@pytest.mark.parametrize(("outputs", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_classify_texts(outputs, activation):
    found = classify_texts(classifier(outputs, activation), ["Not good!", "good, then bad"])
    assert [(one.prediction, one.words, one.unknown) for one in found] == [("positive", 2, 1), ("negative", 3, 1)]
    np.testing.assert_allclose([one.probability for one in found], 1 / (1 + np.exp(-4.0)), rtol=1e-5)


def test_classify_texts_refuses():
    with pytest.raises(ValueError, match="text: expected words after the cleaning, got none in ' ! '"):
        classify_texts(classifier(), ["good", " ! "])
    with pytest.raises(TypeError, match="texts: expected a sequence of texts"):
        classify_texts(classifier(), "good")
    with pytest.raises(ValueError, match="model: expected probabilities of 2 labels, got an output of shape"):
        classify_texts(classifier(1, "linear"), ["good"])
    model = classifier()
    model.extra = {}
    with pytest.raises(ValueError, match="model: expected one saved with text_vectorization and labels"):
        classify_texts(model, ["good"])


def test_predict_on_the_command_line(tmp_path, capsys):
    """Texts as words, by --text and from the lines of a file; as lines and as JSON."""
    path = str(tmp_path / "model.safetensors")
    classifier().save(path)
    assert cli.main(["predict", path, "--text", "Good one", "--text", "so bad"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["negative", "0.5000", "Good", "one"],
        ["negative", "0.9820", "so", "bad"],
    ]
    (tmp_path / "texts.txt").write_text("a good\n\nbad\n")
    assert cli.main(["predict", path, "--file", str(tmp_path / "texts.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["text"], one["prediction"], one["unknown"]) for one in found] == [
        ("a good", "positive", 1),
        ("bad", "negative", 0),
    ]
    assert cli.main(["predict", path, "good"]) == 0
    assert capsys.readouterr().out.startswith("positive  0.9820  good")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--text", ""], "text: expected words after the cleaning, got none in ''"),
        (["good", "--file", "x"], "predict: expected one of TEXT or --text, --file and --input, got 2"),
        (["--file", "no-such-file"], "no-such-file: No such file"),
        (["--file", "EMPTY"], "--file: expected a text in each line, got the empty"),
    ],
)
def test_predict_errors(tmp_path, capsys, words, expected):
    path = str(tmp_path / "model.safetensors")
    classifier().save(path)
    (tmp_path / "empty.txt").write_text("\n")
    words = [str(tmp_path / "empty.txt") if word == "EMPTY" else word for word in words]
    assert cli.main(["predict", path, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and expected in error


def test_several_texts_need_labels(tmp_path, capsys):
    """A language model reads one text."""
    model = sc.Sequential([sc.layers.Embedding(3, 2), sc.layers.LSTM(2, return_sequences=True), sc.layers.Dense(3)])
    model.build((None, None))
    path = str(tmp_path / "model.safetensors")
    model.save(path, vocabulary=sc.text.Vocabulary(["a", "b", "c"]).to_dict())
    assert cli.main(["predict", path, "--text", "a b", "--text", "b"]) == 2
    assert "--text: expected one text for a language model, got 2" in capsys.readouterr().err
    assert cli.main(["predict", path, "--text", "a b c"]) == 0
    assert "perplexity" in capsys.readouterr().out
