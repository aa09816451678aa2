"""TextVectorization: cleaning, vocabulary, ids and back, files; labels of texts by a saved model."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqcore as sc
from seqcore import cli
from seqcore.vectorization import STANDARDIZE, TextVectorization, classify_texts

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


def test_vocabulary_by_count_then_alphabet():
    vectorize = TextVectorization(max_tokens=5)
    vectorize.adapt(TEXTS)
    assert vectorize.get_vocabulary() == ["", "[UNK]", "a", "cat", "dog"]
    assert vectorize.get_vocabulary(include_special_tokens=False) == ["a", "cat", "dog"]
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
    assert vectorize.get_vocabulary()[:3] == ["", "cat", "dog"]
    assert vectorize(["The bird and the dog"]).tolist() == [[2]]
    assert vectorize(["the"]).shape == (1, 0)


@given(st.lists(st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), max_size=6), min_size=1, max_size=4))
def test_ids_lead_back_to_the_words(texts):
    """For texts of known words without padding in between, decode undoes encode."""
    vectorize = TextVectorization(vocabulary=["ab", "cd", "ef", "gh"])
    for words, row in zip(texts, vectorize([" ".join(words) for words in texts])):
        assert vectorize.decode(row) == words


def test_saved_and_read():
    vectorize = TextVectorization(
        9, "alphanumeric", "whitespace", 6, stop_words=["the"], oov_token=None, start_token="<s>", padding="pre"
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
        (lambda: TextVectorization(max_tokens=0), ValueError, "max_tokens: expected an integer >= 1 or None, got 0"),
        (lambda: TextVectorization(output_sequence_length=2.0), ValueError, "output_sequence_length: expected an int"),
        (lambda: TextVectorization(stop_words="the"), TypeError, "stop_words: expected a sequence"),
        (lambda: TextVectorization()(["a"]), ValueError, "vocabulary: expected one; call adapt"),
        (lambda: TextVectorization(vocabulary=["a"])("a"), TypeError, "texts: expected a sequence of texts"),
        (lambda: TextVectorization(vocabulary=["a", "a"]), ValueError, "words: expected each word once"),
        (lambda: TextVectorization(vocabulary=["", "a"]), ValueError, r"expected the special tokens \['\[UNK\]'\]"),
        (lambda: TextVectorization().adapt([]), ValueError, "tokens: expected at least one word"),
        (lambda: TextVectorization(vocabulary=["a"]).decode([7]), ValueError, "ids: expected integers 0...2, got 7"),
        (lambda: TextVectorization.from_dict({"format": "x"}), ValueError, "config: expected a seqcore text vector"),
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
