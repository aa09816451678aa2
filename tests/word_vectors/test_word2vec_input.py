"""Bad input to Word2Vec and its binding: errors of one line that name the argument, and nothing is changed."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcore import Word2Vec, _core
from seqcore.word_vectors.corpus import Corpus
from tests.helpers.refusals import refused
from tests.helpers.word2vec_state import state

# Bad input ------------------------------------------------------------------------------------------------------------

SETTINGS = {
    "vector_size": [0, -1, 4097, 10**12, 10**400, True, 2.0, "10", None],
    "window": [0, -5, 10**9, True, 1.5, None],
    "min_count": [-1, True, 2.5, "5", None],
    "max_final_vocab": [0, -3, True, 1e3],
    "seed": [-1, 2**63, 10**400, True, 1.0, None],
    "negative": [0, -1, 65, 10**9, True, 5.0, None],
    "epochs": [0, -1, True, 1.0, None],
    "workers": [0, -2, 1025, True, 2.0, "all"],
    "alpha": [-0.1, float("nan"), float("inf"), 10**400, True, "0.1", None, 1j],
    "min_alpha": [-0.1, float("nan"), float("-inf"), True, None],
    "sample": [-1e-3, float("nan"), float("inf"), True, "1e-3", None],
    "ns_exponent": [float("nan"), float("inf"), 1e300, -101, True, None],
    "sg": [2, -1, 0.5, 1.0, "1", None, [1]],
    "cbow_mean": [2, -1, "mean", None],
    "loss": ["softmax", "", None, 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in SETTINGS for value in SETTINGS[name]])
def test_settings_out_of_range(name, value):
    refused(name, Word2Vec, **{name: value})
    refused(name, Word2Vec, [["a", "b"]], **{"min_count": 1, name: value})


WORDS = [["a", "b"]]
SOURCES = {
    "both": ("corpus_file", dict(sentences=WORDS, corpus_file="file")),
    "one text": ("sentences", dict(sentences="a b c")),
    "bytes": ("sentences", dict(sentences=b"a b c")),
    "texts": ("sentences", dict(sentences=["a b", "c d"])),
    "a number": ("sentences", dict(sentences=3)),
    "numbers": ("sentences", dict(sentences=[1, 2])),
    "sentences of numbers": ("sentences", dict(sentences=[["a"], [1.5, 2]])),
    "words in bytes": ("sentences", dict(sentences=[[b"a", b"b"]])),
    "None among the words": ("sentences", dict(sentences=[["a", None]])),
    "None among the sentences": ("sentences", dict(sentences=[["a"], None])),
    "an array of texts": ("sentences", dict(sentences=np.array(["a b", "c"]))),
    "no sentences": ("sentences", dict(sentences=[])),
    "no words": ("sentences", dict(sentences=[[], []])),
    "rare words": ("min_count", dict(sentences=[["a", "b", "a"]])),
    "rare words of a file": ("min_count", dict(corpus_file="file")),
    "empty file": ("corpus_file", dict(corpus_file="empty")),
    "missing file": ("corpus_file", dict(corpus_file="none")),
    "folder": ("corpus_file", dict(corpus_file=".")),
    "binary file": ("corpus_file", dict(corpus_file="binary")),
    "not UTF-8": ("corpus_file", dict(corpus_file="latin")),
    "path of another kind": ("corpus_file", dict(corpus_file=3)),
    "path with NUL": ("corpus_file", dict(corpus_file="file\0x")),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("file", b"a b c d"),
        ("empty", b""),
        ("binary", bytes(range(256)) * 9),
        ("latin", b"stra\xdfe " * 9),
        ("unknown", b"x y z"),
    ):
        (tmp_path / name).write_bytes(data)


@pytest.mark.parametrize("name", SOURCES)
def test_wrong_sources(name, files):
    """Refused by the constructor, build_vocab, update, encode and train; the model is as before."""
    argument, source = SOURCES[name]
    later = {"corpus_iterable" if key == "sentences" else key: value for key, value in source.items()}
    refused(argument, Word2Vec, **source)
    argument = "corpus_iterable" if argument == "sentences" else argument
    new = Word2Vec()
    refused(argument, new.build_vocab, **later)
    assert not new.words and not new.corpus_count and not new.counts.size
    model = Word2Vec([["a", "b"] * 6], min_count=5, vector_size=4, epochs=1)
    before = state(model)
    refused("update", model.build_vocab, [["new"] * 9])
    if argument != "min_count":  # an update may add nothing
        refused(argument, model.build_vocab, **later, update=True)
        # A text is searched for known words, whatever else it holds.
        unknown = name in ("empty file", "not UTF-8")
        refused("corpus" if unknown else argument, model.train, **later)
    assert state(model) == before
    model.train([["a", "b"] * 6])


TRAIN = {
    "nothing known": ("corpus", dict(corpus_iterable=[["x", "y"]])),
    "nothing known in the file": ("corpus", dict(corpus_file="unknown")),
    "not UTF-8, nothing known": ("corpus", dict(corpus_file="latin")),
    "neither": ("corpus_file", dict()),
    "both": ("corpus_file", dict(corpus_iterable=WORDS, corpus_file="file")),
    "no epochs": ("epochs", dict(corpus_iterable=WORDS, epochs=0)),
    "half an epoch": ("epochs", dict(corpus_iterable=WORDS, epochs=0.5)),
    "epochs True": ("epochs", dict(corpus_iterable=WORDS, epochs=True)),
    "rate nan": ("start_alpha", dict(corpus_iterable=WORDS, start_alpha=float("nan"))),
    "rate as text": ("start_alpha", dict(corpus_iterable=WORDS, start_alpha="0.1")),
    "rate below 0": ("end_alpha", dict(corpus_iterable=WORDS, end_alpha=-1)),
    "rate infinite": ("end_alpha", dict(corpus_iterable=WORDS, end_alpha=float("inf"))),
    "no examples": ("total_examples", dict(corpus_iterable=WORDS, total_examples=0)),
    "words below 0": ("total_words", dict(corpus_iterable=WORDS, total_words=-4)),
    "words as text": ("total_words", dict(corpus_iterable=WORDS, total_words="many")),
    "nothing to resume": ("resume", dict(corpus_iterable=WORDS, resume=True)),
    "resume with epochs": ("resume", dict(corpus_iterable=WORDS, resume=True, epochs=2)),
    "resume with a rate": ("resume", dict(corpus_iterable=WORDS, resume=True, end_alpha=0.1)),
    "checkpoint no path": ("checkpoint", dict(corpus_iterable=WORDS, checkpoint=7)),
    "numbers of another vocabulary": (
        "corpus",
        dict(corpus_iterable=Corpus(np.array([0, 2], np.int32), np.array([0, 2]), 2)),
    ),
    "numbers below 0": ("corpus", dict(corpus_iterable=Corpus(np.array([0, -1], np.int32), np.array([0, 2]), 2))),
    "numbers of another type": ("corpus", dict(corpus_iterable=Corpus(np.array([0, 1.0]), np.array([0, 2]), 2))),
    "offsets that fall": ("corpus", dict(corpus_iterable=Corpus(np.zeros(4, np.int32), np.array([0, 3, 2, 4]), 4))),
    "offsets past the end": ("corpus", dict(corpus_iterable=Corpus(np.zeros(4, np.int32), np.array([0, 5]), 4))),
    "no offsets": ("corpus", dict(corpus_iterable=Corpus(np.zeros(4, np.int32), np.zeros(0, np.int64), 4))),
}


@pytest.mark.parametrize("name", TRAIN)
def test_wrong_training(name, files):
    argument, arguments = TRAIN[name]
    model = Word2Vec([["a", "b"] * 6], min_count=5, vector_size=4, epochs=1)
    before = state(model)
    refused(argument, model.train, **arguments)
    assert state(model) == before


def test_before_there_is_a_vocabulary():
    model = Word2Vec()
    refused("Word2Vec", model.train, WORDS)
    refused("Word2Vec", model.encode, WORDS)
    refused("Word2Vec", model.build_vocab, WORDS, update=True)
    assert len(model.wv) == 0 and "a" not in model.wv and model.wv.vectors.shape == (0, 100)
    assert model.get_latest_training_loss() == 0 and "0 words" in repr(model)
    assert model.syn1neg.shape == (0, 100)


@pytest.mark.parametrize("place", ["none/model", "."])
def test_checkpoint_that_cannot_be_written(place, files):
    """Known before the first pass, not after hours."""
    model = Word2Vec([["a", "b"] * 6], min_count=5, vector_size=4, epochs=1)
    before = state(model)
    with pytest.raises(OSError, match="checkpoint: expected"):
        model.train([["a", "b"]], checkpoint=place)
    assert state(model) == before and not [name for name in os.listdir() if name.endswith(".tmp")]


# The binding ----------------------------------------------------------------------------------------------------------


def arguments(**changed):
    """Arguments of _core.word2vec.train_word2vec for five words, some of them changed."""
    usual = dict(
        words=np.array([0, 1, 2, 3, 4, 0], np.int32), sentences=np.array([0, 3, 6], np.int64), first=0, last=2,
        input=np.zeros((5, 16), np.float32), output=np.zeros((5, 16), np.float32), size=10,
        subsample_threshold=np.full(5, 2**32 - 1, np.uint32), noise=_core.sampling.AliasTable(np.ones(5)),
        log_noise=np.zeros(5, np.float32), lock=np.ones(5, np.float32),
        window=2, negatives=3, shrink=True, cbow=False, mean=True, rate_begin=0.1, rate_end=0.1, seed=1, threads=1,
    )  # fmt: skip
    return {**usual, **changed}


FROZEN = np.zeros((5, 16), np.float32)
FROZEN.flags.writeable = False
STRIDED = np.zeros((5, 32), np.float32)[:, ::2]
BINDING = {
    "words": [None, [0, 1], np.zeros(6, np.int64), np.zeros((2, 3), np.int32), np.array([0, 1, 2, 5, 0, 0], np.int32),
              np.array([0, -1, 2, 3, 0, 0], np.int32), np.zeros(12, np.int32)[::2]],
    "sentences": [None, np.array([0, 3, 6], np.int32), np.array([0, 4, 3]), np.array([0, 3, 7]), np.array([-1, 3, 6]),
                  np.array([0, 2**62, 2**63 - 1])],
    "first": [-1, 3, None, "0"],
    "last": [3, -1, 10**30],
    "input": [None, FROZEN, STRIDED, np.zeros((5, 16)), np.zeros(80, np.float32), np.zeros((5, 10), np.float32),
              np.zeros((5, 0), np.float32), np.zeros((5, 4112), np.float32)],
    "output": [None, FROZEN, STRIDED, np.zeros((4, 16), np.float32), np.zeros((5, 32), np.float32)],
    "size": [None, 1.5],
    "subsample_threshold": [np.zeros(4, np.uint32), np.zeros(5, np.int32), "x"],
    "noise": [None, np.ones(5), _core.sampling.AliasTable(np.ones(6)), _core.sampling.AliasTable(np.ones(1))],
    "log_noise": [np.zeros(6, np.float32), np.zeros(5), 3],
    "lock": [np.zeros(6, np.float32), np.zeros(5), 3],
    "window": [0, -1, None, 1.5],
    "negatives": [0, 65, -1, None],
    "threads": [0, -1, None],
    "seed": [None, "1"],
    "rate_begin": [None, "1"],
    "cbow": [None],
}  # fmt: skip


@pytest.mark.parametrize("name", BINDING)
def test_binding_refuses(name):
    for value in BINDING[name]:
        given = arguments(**{name: value})
        before = [np.copy(given[key]) for key in ("input", "output") if isinstance(given[key], np.ndarray)]
        with pytest.raises((ValueError, TypeError)) as caught:
            _core.word2vec.train_word2vec(**given)
        text = str(caught.value)
        assert "\n" not in text and "expected" in text, text
        assert name in text or isinstance(value, np.ndarray), text
        after = [given[key] for key in ("input", "output") if isinstance(given[key], np.ndarray)]
        assert all(np.array_equal(a, b) for a, b in zip(before, after))


DTYPES = st.sampled_from([np.float32] * 6 + [np.int32] * 3 + [np.int64] * 3 + [np.uint32, np.float64, np.int8, object])
SHAPES = st.sampled_from([(5, 16), (5,), (6,), (3,), (0,), (5, 0), (4, 16), (5, 32), (1, 1), (2, 3, 4), ()])
ARRAYS = st.builds(
    lambda shape, dtype, value: np.full(shape, value, dtype), SHAPES, DTYPES, st.sampled_from([0, 1, 4, 7])
)
NUMBERS = st.integers(-3, 20) | st.sampled_from([10**9, 2**31 - 1, -(2**31)])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                ["words", "sentences", "input", "output", "subsample_threshold", "log_noise", "lock"], ARRAYS
            ),
            **dict.fromkeys(["first", "last", "size", "window", "negatives"], NUMBERS),
            "threads": st.integers(-1, 3),
            "cbow": st.booleans(),
            "rate_begin": st.floats(),
            "rate_end": st.floats(),
        },
    )
)
def test_binding_never_crashes(changed):
    try:
        loss, looked_at, pairs = _core.word2vec.train_word2vec(**arguments(**changed))
    except (ValueError, TypeError) as error:
        assert "\n" not in str(error)
    else:
        assert 0 <= looked_at <= pairs <= 36
