"""Word2Vec as its users meet it: gensim's ways, exact resume, files, learning, Ctrl-C, fork."""

import collections
import copy
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcore import KeyedVectors, Word2Vec, saving
from seqcore.datasets import relations
from seqcore.word_vectors import word2vec
from tests.helpers.refusals import refused
from tests.helpers.word2vec_state import state

try:
    from gensim.models import Word2Vec as GensimWord2Vec
except ImportError:
    GensimWord2Vec = None

SMALL = dict(vector_size=12, min_count=2, window=3, workers=1, alpha=0.05, epochs=4, seed=3)


@pytest.fixture(scope="module")
def sentences():
    return relations.sentences(5_000)


@pytest.fixture
def corpus_file(sentences, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in sentences), encoding="utf-8")
    return path


# As in gensim ---------------------------------------------------------------------------------------------------------


def test_every_way_in_gives_the_same_bits(sentences, corpus_file):
    """Lists, a generator, a file, and build_vocab with train, the totals given or not."""

    def in_two_calls(totals, **source):
        model = Word2Vec(**SMALL)
        model.build_vocab(**source)
        if totals:
            totals = dict(total_examples=model.corpus_count, total_words=model.corpus_total_words)
        found = model.train(**source, epochs=model.epochs, **(totals or {}))
        words = sum(map(len, sentences))
        assert found == (4 * int(model.counts.sum()), 4 * words) and model.corpus_total_words == words
        return model

    models = [
        Word2Vec(sentences, **SMALL),
        Word2Vec((list(sentence) for sentence in sentences), **SMALL),
        Word2Vec(sentences=[tuple(sentence) for sentence in sentences], **SMALL),
        Word2Vec(corpus_file=str(corpus_file), **SMALL),
        Word2Vec(corpus_file=corpus_file, **SMALL),
        Word2Vec(corpus_file=os.fsencode(corpus_file), **SMALL),
        in_two_calls(False, corpus_file=corpus_file),
        in_two_calls(True, corpus_file=corpus_file),
        in_two_calls(True, corpus_iterable=sentences),
    ]
    encoded = Word2Vec(**SMALL)
    encoded.build_vocab(sentences)
    corpus = encoded.encode(corpus_file=corpus_file)
    encoded.train(corpus, epochs=4)
    first, *others = map(state, [*models, encoded])
    assert all(other == first for other in others)
    encoded.train(corpus, epochs=1)  # the corpus as numbers serves again
    assert len(encoded.history) == 5


def test_one_stream(sentences):
    """One long sentence: windows reach over what were line ends."""
    stream = [word for sentence in sentences for word in sentence]
    model = Word2Vec([stream], **{**SMALL, "shrink_windows": False, "sg": 1, "sample": 0, "min_count": 1, "epochs": 1})
    assert model.corpus_count == 1
    assert model.history[0]["pairs"] == sum(min(i, 3) + min(len(stream) - 1 - i, 3) for i in range(len(stream)))


def test_vocabulary(sentences):
    """Order and counts are Counter's; min_count leaves out the rarest, max_final_vocab raises it."""
    ranked = collections.Counter(word for sentence in sentences for word in sentence).most_common()
    for min_count, most in ((1, None), (0, None), (5, None), (5, 20), (1, 7), (1, 10**9)):
        model = Word2Vec(vector_size=2, min_count=min_count, max_final_vocab=most)
        model.build_vocab(sentences)
        least = min_count if most is None or most >= len(ranked) else max(min_count, ranked[most][1] + 1)
        assert list(zip(model.words, model.counts.tolist())) == [pair for pair in ranked if pair[1] >= least]
        assert model.corpus_total_words == sum(map(len, sentences)) and model.effective_min_count == least
    assert model.wv.index_to_key == model.words and model.wv.get_vecattr(ranked[0][0], "count") == ranked[0][1]


def expected_vocabulary(sentences, before, min_count, most, sample, rule):
    """{word: (count, sample_int)} after a corpus, from the rules of gensim 4.4 in plain Python."""
    raw = collections.Counter(word for sentence in sentences for word in sentence)
    least = min_count
    if most is not None and most < len(raw):
        least = max(least, sorted(raw.values(), reverse=True)[most] + 1)
    answers = {word: rule(word, count, least) if rule else 0 for word, count in raw.items()}
    taken = [word for word, count in raw.items() if answers[word] == 2 or (answers[word] != 1 and count >= least)]
    total = sum(raw[word] for word in taken)
    limit = total if not sample else sample * total if sample < 1 else int(sample * (3 + 5**0.5) / 2)
    after = {word: (count + raw[word], keep) for word, (count, keep) in before.items()}
    for word in taken:
        chance = min(1.0, ((raw[word] / limit) ** 0.5 + 1) * (limit / raw[word]))
        after[word] = (after.get(word, (raw[word],))[0], int(chance * (2**32 - 1)))
    return after


def vocabulary(model):
    return {
        word: tuple(int(model.wv.get_vecattr(word, name)) for name in ("count", "sample_int")) for word in model.words
    }


CORPORA = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "dd", "e1", "f2", "g0"]), max_size=9), min_size=1, max_size=12
)


def by_last_letter(word, count, min_count):
    return {"1": 1, "2": 2, "0": 0}.get(word[-1])


@given(
    CORPORA,
    CORPORA,
    st.sampled_from([0, 1, 2, 4]),
    st.sampled_from([None, None, 1, 2, 3, 6]),
    st.sampled_from([0, 1e-3, 0.2, 1, 2, 3.7, 10]),
    st.sampled_from([None, None, by_last_letter]),
)
def test_vocabulary_is_gensims(first, second, min_count, most, sample, rule):
    """Kept words, counts and the chance to stay, of a new vocabulary and after an update; gensim itself where it is."""
    settings = dict(vector_size=2, min_count=min_count, max_final_vocab=most, sample=sample)
    expected = expected_vocabulary(first, {}, min_count, most, sample, rule)
    model = Word2Vec(**settings)
    if not expected:
        refused("min_count" if any(first) else "corpus_iterable", model.build_vocab, first, trim_rule=rule)
        return
    model.build_vocab(first, trim_rule=rule)
    assert vocabulary(model) == expected
    if not any(second):
        return
    model.build_vocab(second, update=True, trim_rule=rule)
    assert vocabulary(model) == expected_vocabulary(second, expected, min_count, most, sample, rule)
    counts = Word2Vec(**settings)
    counts.build_vocab_from_freq(collections.Counter(itertools.chain(*first)), trim_rule=rule)
    counts.build_vocab_from_freq(collections.Counter(itertools.chain(*second)), trim_rule=rule, update=True)
    assert vocabulary(counts) == vocabulary(model) and counts.words == model.words
    if GensimWord2Vec is not None:
        theirs = GensimWord2Vec(**settings, workers=1)
        theirs.build_vocab(first, trim_rule=rule)
        theirs.build_vocab(second, trim_rule=rule, update=True)
        names = theirs.wv.index_to_key
        assert model.effective_min_count == theirs.effective_min_count
        assert vocabulary(model) == {
            word: tuple(int(theirs.wv.get_vecattr(word, name)) for name in ("count", "sample_int")) for word in names
        }


def test_reset_from(sentences):
    """The vocabulary of another model: from then on the bits of one that counted the text itself."""
    settings = {**SMALL, "vector_size": 5, "sample": 0.01}
    fresh, model = Word2Vec(sentences, **settings), Word2Vec([["x", "y"]] * 9, **settings)
    other = Word2Vec(sentences, **SMALL)
    other.wv.set_vecattr(other.words[0], "score", 2.5)
    before = state(other)
    for source in (other, model):  # a model can be reset from itself
        model.reset_from(source)
        assert (model.corpus_count, model.corpus_total_words) == (len(sentences), sum(map(len, sentences)))
        assert model.wv.get_vecattr(model.words[0], "score") == 2.5 and model.history == []
        assert model.effective_min_count == 2 and model.get_latest_training_loss() == 0
        model.train(sentences)
        np.testing.assert_array_equal(model.wv.vectors, fresh.wv.vectors)
        np.testing.assert_array_equal(model.syn1neg, fresh.syn1neg)
    model.wv.set_vecattr(model.words[0], "count", 1)
    assert state(other) == before
    kept = state(model)
    refused("other_model", model.reset_from, other.wv)
    with pytest.raises(ValueError, match="expected a vocabulary, got none"):
        model.reset_from(Word2Vec(**SMALL))
    assert state(model) == kept


@pytest.mark.parametrize("mean", [0, 1])
def test_predict_output_word(mean, rng):
    """The softmax of the targets with the contexts' sum or mean."""
    model = Word2Vec([["a", "b", "c", "d", "e"]] * 9, **{**SMALL, "cbow_mean": mean})
    model.wv.vectors, model.syn1neg = rng.normal(size=(2, 5, 12))
    rows = [model.wv.get_index(word) for word in ("b", "d")]
    context = model.wv.vectors[rows].astype(np.float64).sum(axis=0) / (2 if mean else 1)
    logits = model.syn1neg @ context
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    for topn in (0, 2, 9):
        predicted = model.predict_output_word(["b", "none", "d"], topn)
        assert [word for word, _ in predicted] == [model.words[row] for row in np.argsort(-chances)[:topn]]
        np.testing.assert_allclose([chance for _, chance in predicted], np.sort(chances)[::-1][:topn], rtol=1e-4)
    assert model.predict_output_word(["none"]) is None
    refused("context_words_list", model.predict_output_word, "b")
    refused("topn", model.predict_output_word, ["b"], -1)


def test_max_final_vocab_that_leaves_nothing():
    """Two words that tie at the border both fall."""
    text = refused("min_count", Word2Vec, [["a", "b"] * 3], max_final_vocab=1, min_count=1)
    assert "max_final_vocab=1" in text


def test_trim_rule_and_settings_for_one_vocabulary(sentences):
    told = []
    model = Word2Vec(**SMALL)
    model.build_vocab(sentences, trim_rule=lambda *asked: told.append(asked) or 0, min_count=4, sample=0)
    counter = collections.Counter(word for sentence in sentences for word in sentence)
    assert sorted(told) == sorted((word, count, 4) for word, count in counter.items())
    assert model.min_count == 4 and model.sample == 0
    assert Word2Vec(sentences, **SMALL, trim_rule=lambda word, *_: 2 - (word != "paris")).words == ["paris"]
    refused("trim_rule", Word2Vec, sentences, trim_rule=lambda *asked: "keep")
    for name, value in (("trim_rule", by_last_letter), ("callbacks", [1]), ("verbose", 1)):
        refused(name, Word2Vec, **{name: value})


@pytest.mark.parametrize("source", ["lists", "file"])
def test_added_words(source, tmp_path):
    """update=True keeps the vectors there are, adds words behind them and adds up the counts."""
    more = [["b", "new", "new"], ["c", "c", "other", "new"], ["other"]]
    if source == "file":
        (tmp_path / "more").write_text("\n".join(map(" ".join, more)))
    given = {"corpus_file": tmp_path / "more"} if source == "file" else {"corpus_iterable": more}
    model = Word2Vec([["a", "b", "a", "b", "a", "c", "c"]] * 5, **SMALL, sample=0)
    vectors, targets = model.wv.vectors.copy(), model.syn1neg.copy()
    model.build_vocab(**given, update=True)
    assert model.words == ["a", "b", "c", "new", "other"]
    assert model.counts.tolist() == [15, 11, 12, 3, 2]  # b comes once in the new text, and is counted all the same
    np.testing.assert_array_equal(model.wv.vectors[:3], vectors)
    np.testing.assert_array_equal(model.syn1neg[:3], targets)
    fresh = model.wv.vectors[3:].copy()
    assert fresh.any(axis=1).all() and np.abs(fresh).max() <= 1 / 12 and not model.syn1neg[3:].any()
    assert not (fresh[:, None] == vectors[None]).all(axis=2).any()
    model.train(more, epochs=2)
    assert not np.array_equal(model.wv["new"], fresh[0]) and np.array_equal(model.wv["a"], vectors[0])


def test_wv_is_the_table_that_is_trained(sentences, tmp_path):
    """A wv held from before the vocabulary shows it, training and update; what is written into it is trained."""
    seen = []
    model = Word2Vec(**SMALL)
    wv = model.wv
    assert len(wv) == 0
    model.build_vocab(sentences)
    assert model.wv is wv and wv.index_to_key == model.words and wv.counts is model.counts
    model.train(sentences, on_progress=lambda now: seen.append(wv.vectors.copy()))
    assert len({look.tobytes() for look in seen}) == len(seen) >= 4
    # Rows are padded to whole cache lines, with zeros.
    assert np.count_nonzero(wv.vectors.base) == np.count_nonzero(wv.vectors) and wv.vectors.base.size > wv.vectors.size
    wv.vectors[0] = 7.0
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Word2Vec.load(tmp_path / "model").wv.vectors, wv.vectors)
    model.train(sentences, epochs=1, start_alpha=1e-9, end_alpha=1e-9)
    np.testing.assert_allclose(wv.vectors[0], 7.0, atol=1e-5)
    before = wv.vectors.copy()
    model.build_vocab([["new"] * 9], update=True)
    assert model.wv is wv and "new" in wv and len(wv.vectors) == len(before) + 1
    np.testing.assert_array_equal(wv.vectors[:-1], before)
    wv[["new", model.words[0]]] = np.ones((2, 12))
    model.train(sentences, epochs=1, start_alpha=1e-9, end_alpha=1e-9)
    np.testing.assert_allclose(wv["new"], 1.0)
    np.testing.assert_allclose(wv.vectors[0], 1.0, atol=1e-5)
    assert model.vector_size == 12 and model.epochs == 4 and "CBOW" in repr(model)


GIVEN = {
    "rows written": lambda model, vectors: model.wv.vectors.__setitem__(slice(None), vectors),
    "another array": lambda model, vectors: setattr(model.wv, "vectors", vectors),
    "float64": lambda model, vectors: setattr(model.wv, "vectors", vectors.astype(np.float64)),
    "every second column": lambda model, vectors: setattr(model.wv, "vectors", np.repeat(vectors, 2, axis=1)[:, ::2]),
    "by words": lambda model, vectors: model.wv.__setitem__(list(model.words), vectors),
    "another wv": lambda model, vectors: setattr(model, "wv", KeyedVectors(vectors, model.words, model.counts)),
}


@pytest.mark.parametrize("size", [12, 16])
@pytest.mark.parametrize("how", GIVEN)
def test_training_starts_from_given_vectors(how, size, sentences):
    """Given in any way: the bits of a model whose table held them from the first."""
    vectors = np.random.default_rng(2).normal(size=(460, size)).astype(np.float32) / size
    results = []
    for give in (lambda model, vectors: model.wv.vectors.__setitem__(slice(None), vectors), GIVEN[how]):
        model = Word2Vec(**{**SMALL, "vector_size": size, "epochs": 1})
        model.build_vocab(sentences)
        give(model, vectors[: len(model.words)])
        model.train(sentences)
        assert model.wv.vectors.ctypes.data % 64 == 0
        results.append(state(model))
    assert results[0] == results[1]


def test_vectors_that_do_not_fit(sentences):
    model = Word2Vec(**SMALL)
    model.build_vocab(sentences)
    before, size = state(model), len(model.words)
    for wrong in (np.zeros((size, 11)), np.zeros((size + 1, 12)), np.zeros(12), 3.0):
        with pytest.raises(ValueError, match=r"^vectors: expected shape"):
            model.wv.vectors = wrong
        with pytest.raises(ValueError, match=r"^syn1neg: expected numbers of shape"):
            model.syn1neg = wrong
    with pytest.raises(TypeError, match="vectors: expected numbers"):
        model.wv.vectors = [["a"] * 12] * size
    for wrong in (
        np.zeros((size, 12)),
        None,
        KeyedVectors(np.ones((1, 12)), ["a"]),
        KeyedVectors(np.ones((1, 3)), ["a"], [1]),
    ):
        with pytest.raises((TypeError, ValueError), match="^wv: expected"):
            model.wv = wrong
    assert state(model) == before


def test_targets_follow_their_words(sentences):
    """Words added by hand, another order, another wv: each word keeps its row of targets, new ones begin with zeros."""
    model = Word2Vec(sentences, **SMALL)
    targets = dict(zip(model.words, model.syn1neg.copy()))
    model.wv.add_vectors(["by hand", "too"], np.ones((2, 12)))
    model.wv.set_vecattr("too", "count", 10**6)
    model.wv.sort_by_descending_frequency()
    assert model.words[0] == "too" and model.syn1neg.shape == (len(targets) + 2, 12)
    for word, row in zip(model.words, model.syn1neg):
        np.testing.assert_array_equal(row, targets.get(word, np.zeros(12)))
    assert model.wv.get_vecattr("by hand", "count") == 1
    model.train([["by hand", "too", model.words[3]]] * 20)
    assert not np.array_equal(model.wv["by hand"], np.ones(12)) and model.syn1neg[0].any()
    model.syn1neg[0] = 5.0
    assert (model.syn1neg[0] == 5.0).all()
    model.syn1neg = np.zeros_like(model.syn1neg)
    assert not model.syn1neg.any()


def test_vectors_that_are_held_fast(sentences, tmp_path):
    """vectors_lockf and the vectors of a file survive files, updates and sorting, word by word."""
    path = tmp_path / "vectors"
    model = Word2Vec(**SMALL)
    model.build_vocab(sentences)
    held = ["paris", "rome", "italy"]
    KeyedVectors(np.full((4, 12), 3.0), [*held, "nowhere"]).save_word2vec_format(path)
    assert model.wv.intersect_word2vec_format(path) == 3
    model.save(path)
    model = Word2Vec.load(path)
    model.build_vocab([["zzz"] * 9], update=True)
    model.wv.sort_by_descending_frequency()
    model.train([*sentences, ["zzz", "paris"] * 20])
    np.testing.assert_array_equal(model.wv[held], np.full((3, 12), 3.0))
    free = [row for row, word in enumerate(model.words) if word not in held]
    assert (model.wv.vectors_lockf[free] == 1).all() and model.syn1neg[free].any(axis=1).all()
    model.wv.vectors_lockf = 1
    model.train(sentences, epochs=1)
    assert (model.wv[held] != 3.0).any(axis=1).all()
    before = state(model)
    for wrong in (np.ones(2), [np.nan] * len(model.words)):
        refused("vectors_lockf", setattr, model.wv, "vectors_lockf", wrong)
    KeyedVectors(np.ones((1, 5)), ["paris"]).save_word2vec_format(path)
    refused("fname", model.wv.intersect_word2vec_format, path)
    refused("lockf", model.wv.intersect_word2vec_format, path, "no")
    assert state(model) == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_train_alike_and_apart(copied, sentences):
    model = Word2Vec(sentences, **SMALL)
    other = copied(model)
    assert other.wv is not model.wv
    other.train(sentences, epochs=1)
    after = state(other)
    assert after != state(model) and not np.shares_memory(other.wv.vectors, model.wv.vectors)
    model.train(sentences, epochs=1)
    assert state(model) == after
    assert len(pickle.dumps(model)) < 1.3 * (model.syn1neg.nbytes + model.wv.vectors.nbytes) + 50_000


def test_norms_are_never_those_of_before_training(sentences):
    model = Word2Vec(**SMALL)
    model.build_vocab(sentences)

    def compare(*_):
        expected = np.linalg.norm(model.wv.vectors.astype(np.float64), axis=1)
        np.testing.assert_allclose(model.wv.norms, expected, rtol=1e-6)

    compare()
    model.train(sentences, on_progress=compare)
    compare()
    model.build_vocab([["new"] * 9], update=True)
    compare()
    model.wv.vectors = model.wv.vectors * 2
    compare()
    model.wv["new"] = np.ones(12)
    compare()
    model.wv.unit_normalize_all()
    compare()
    model.wv.vectors[0] = 9
    model.wv.fill_norms(force=True)
    compare()
    model.wv.vectors[0] = 8
    model.wv.norms = None
    compare()


# Settings as attributes -----------------------------------------------------------------------------------------------

CHANGED = dict(
    alpha=1e-9, min_alpha=0.5, window=1, negative=20, sg=1, sample=1e-5, cbow_mean=0, epochs=2, seed=4, loss="nce",
    ns_exponent=-1.0, shrink_windows=False,
)  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_a_setting_is_used_from_the_next_training_on(name, sentences):
    """Set as an attribute after the vocabulary: the bits of a model that was made with it, from the same vectors."""
    start = np.random.default_rng(2).normal(size=(500, 12)).astype(np.float32) / 12
    models = [Word2Vec(**{**SMALL, name: CHANGED[name]}), Word2Vec(**SMALL), Word2Vec(**SMALL)]
    assert getattr(models[0], name) == CHANGED[name] != getattr(models[1], name)
    for model in models:
        model.build_vocab(sentences)
    setattr(models[1], name, CHANGED[name])
    assert getattr(models[1], name) == CHANGED[name] == getattr(models[1].settings, name)
    for model in models:
        model.wv.vectors = start[: len(model.words)]
        model.train(sentences)
    assert state(models[0]) == state(models[1])
    assert not np.array_equal(models[1].wv.vectors, models[2].wv.vectors)


def test_settings_of_the_vocabulary(sentences):
    """min_count, max_final_vocab and vector_size work as attributes until there is a vocabulary."""
    expected = Word2Vec(vector_size=5, min_count=9, max_final_vocab=20)
    model = Word2Vec()
    model.vector_size, model.min_count, model.max_final_vocab = 5, 9, 20
    for either in (expected, model):
        either.build_vocab(sentences)
    assert state(expected) == state(model) and model.wv.vectors.shape[1] == 5
    assert "vector_size: expected 5" in refused("vector_size", setattr, model, "vector_size", 6)
    model.vector_size = 5
    model.workers, model.deterministic, model.comment = 2, True, "second try"
    assert (model.workers, model.deterministic, model.comment) == (2, True, "second try")


def test_the_usual_loop_of_falling_rates(sentences):
    """train for one epoch, alpha lowered by hand, as many programs do: the rates are those that were set."""
    model = Word2Vec(**{**SMALL, "sample": 0})
    model.build_vocab(sentences)
    other = copy.deepcopy(model)
    for number in range(3):
        model.train(sentences, total_examples=model.corpus_count, epochs=1)
        other.train(
            sentences,
            epochs=1,
            start_alpha=0.05 - number * 0.01,
            end_alpha=0.0001 if not number else 0.05 - number * 0.01,
        )
        model.alpha = 0.05 - (number + 1) * 0.01
        model.min_alpha = model.alpha
    np.testing.assert_array_equal(model.wv.vectors, other.wv.vectors)


@pytest.mark.parametrize(
    ("total", "scale"), [("total_examples", 2.0), ("total_words", 2.0), ("total_examples", 0.5), ("total_words", 0.5)]
)
def test_totals_set_the_fall_of_the_rate(total, scale, sentences, monkeypatch):
    """As in gensim: the rate of a pass goes as far as its share of the total says, and never below the end."""
    monkeypatch.setattr(word2vec, "WORDS_PER_CALL", 500)
    rates = []

    def train_word2vec(*arguments, rate_begin, rate_end, **options):
        rates.append((rate_begin, rate_end))
        return 0.0, 1, 1

    model = Word2Vec(**{**SMALL, "epochs": 2, "alpha": 0.1, "min_alpha": 0.02})
    model.build_vocab(sentences)
    monkeypatch.setattr(word2vec, "train_word2vec", train_word2vec)
    there = {"total_examples": model.corpus_count, "total_words": model.corpus_total_words}[total]
    model.train(sentences, **{total: int(there * scale)})
    pieces = len(rates) // 2
    assert pieces > 5 and rates[0][0] == 0.1
    end_of_first = 0.1 - 0.04 / scale
    assert rates[pieces - 1][1] == pytest.approx(end_of_first, rel=1e-3)
    assert rates[pieces][0] == pytest.approx(0.06)
    assert rates[-1][1] == pytest.approx(max(0.02, 0.06 - 0.04 / scale), rel=1e-3)
    assert all(begin >= end >= 0.02 for begin, end in rates)
    exact = copy.deepcopy(rates)
    rates.clear()
    model.train(sentences, **{total: there})
    unscaled = copy.deepcopy(rates)
    rates.clear()
    model.train(sentences)
    assert rates == unscaled != exact


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wnidow", 3), ("size", 100), ("iter", 5), ("syn1", 0), ("words", []), ("counts", []), ("random", 0),
        ("cum_table", None), ("layer1_size", 3), ("corpus_counts", 0), ("callbacks", ()), ("trim_rule", None),
    ],
)  # fmt: skip
def test_unknown_attributes_are_refused(name, value):
    model = Word2Vec()
    with pytest.raises(AttributeError, match=name) as caught:
        setattr(model, name, value)
    assert "\n" not in str(caught.value)
    assert name in ("words", "counts") or not hasattr(model, name)
    with pytest.raises(AttributeError, match="did you mean window"):
        model.wnidow  # noqa: B018

    class Mine(Word2Vec):
        pass

    mine = Mine()
    if name not in ("words", "counts"):
        setattr(mine, name, value)
        assert getattr(mine, name) == value


@pytest.mark.parametrize("name", ["max_vocab_size", "hs", "hashfxn", "null_word", "sorted_vocab", "batch_words"])
def test_constant_settings(name):
    """gensim's settings with one value here: read, set to it, and refused with the reason otherwise."""
    model = Word2Vec()
    value = getattr(model, name)
    setattr(model, name, value)
    text = refused(name, setattr, model, name, 77)
    assert text == refused(name, Word2Vec, **{name: 77}) and "(" in text
    assert getattr(Word2Vec(**{name: value}), name) == value


# Loss -----------------------------------------------------------------------------------------------------------------


def test_training_loss_is_the_sum_over_all_passes(sentences, tmp_path):
    """The sum over the pairs of the run so far, also for a pass without pairs; from zero with each train."""
    model, seen = Word2Vec(**SMALL), []
    assert model.get_latest_training_loss() == 0

    class Listener:
        def on_epoch_end(self, model):
            seen.append(model.get_latest_training_loss())

    model.build_vocab(sentences)
    model.train(sentences, callbacks=[Listener()])
    sums = np.cumsum([entry["loss"] * entry["pairs"] for entry in model.history])
    np.testing.assert_allclose(seen, sums)
    model.train(sentences, epochs=1)
    assert model.get_latest_training_loss() == pytest.approx(model.history[-1]["loss"] * model.history[-1]["pairs"])
    model.running_training_loss = 0.0
    assert model.get_latest_training_loss() == 0
    tiny = [["human", "interface", "computer"], ["survey", "user", "computer", "system"], ["trees"], ["graph", "trees"]]
    last = [0]
    for seed in range(1, 9):
        model = Word2Vec(tiny, min_count=1, sg=1, workers=1, seed=seed, vector_size=4)
        pairs = [entry["pairs"] for entry in model.history]
        last.append(pairs[-1] == 0 < sum(pairs))
        loss = model.get_latest_training_loss()
        assert loss > 0 if sum(pairs) else loss == 0
        # Log 2 for each of the logits near 0 of a pair, 6 but for noise that is the word itself.
        assert 1 < loss / max(1, sum(pairs)) / np.log(2) < 6.1 or not sum(pairs)
    assert any(last), "a last pass without pairs is what the test is for"


def test_looking_between_pieces(sentences, monkeypatch):
    monkeypatch.setattr(word2vec, "WORDS_PER_CALL", 500)
    monkeypatch.setattr(word2vec.time, "perf_counter", itertools.count().__next__)
    model = Word2Vec(**{**SMALL, "epochs": 1})
    model.build_vocab(sentences)
    looks = []

    def look(now):
        if now.share < 1:
            looks.append(model.wv.vectors)

    model.train(sentences, on_progress=look)
    assert len(looks) > 5
    assert all(np.shares_memory(look, model.wv.vectors) for look in looks)


class Listener:
    def __init__(self):
        self.told = []

    def on_train_begin(self, model):
        self.told.append("begin")

    def on_epoch_begin(self, model):
        self.told.append(f"epoch {len(model.history)}")

    def on_epoch_end(self, model):
        self.told.append(f"end {len(model.history)}")

    def on_train_end(self, model):
        self.told.append("done")


def test_callbacks_and_progress(sentences, capsys):
    first, second, told = Listener(), Listener(), []
    model = Word2Vec(sentences, **{**SMALL, "epochs": 2}, callbacks=[first, object(), second], verbose=1)
    order = ["begin", "epoch 0", "end 1", "epoch 1", "end 2", "done"]
    assert first.told == second.told == order
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines):
        assert re.fullmatch(rf"epoch {number + 1}/2  100%  loss \d\.\d+  [\d,]+ words/s  \d+ s left", line), line
    model.train(sentences, callbacks=[first], on_progress=told.append)
    assert first.told == order + ["begin", "epoch 2", "end 3", "epoch 3", "end 4", "done"]
    assert capsys.readouterr().out == ""
    assert [(now.epoch, now.epochs, now.share) for now in told if now.share == 1] == [(0, 2, 1.0), (1, 2, 1.0)]
    assert all(now.words_per_second > 0 and now.loss > 0 and now.seconds_left >= 0 for now in told)
    assert told[-1].seconds_left == 0
    assert [entry["epoch"] for entry in model.history] == [1, 2, 3, 4]
    assert all(entry["seconds"] > 0 and entry["words_per_second"] > 0 for entry in model.history)


def test_progress_in_pieces(sentences, monkeypatch):
    """The share rises to 1 in each pass; rate and time left follow from the words done and the seconds so far."""
    monkeypatch.setattr(word2vec, "WORDS_PER_CALL", 500)
    monkeypatch.setattr(word2vec.time, "perf_counter", itertools.count().__next__)
    told = []
    model = Word2Vec(**{**SMALL, "epochs": 2})
    model.build_vocab(sentences)
    model.train(sentences, on_progress=told.append)
    position = [now.epoch + now.share for now in told]
    assert len(told) >= 18 and (np.diff(position) > 0).all() and position[-1] == 2.0
    words = int(model.counts.sum())
    for now, done in zip(told, position):
        seconds = done * words / now.words_per_second
        assert seconds == pytest.approx(round(seconds), rel=1e-6)  # the clock above ticks once per look
        assert now.seconds_left == pytest.approx((2 - done) * words / now.words_per_second)


# Exact resume, files --------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("how", ["callback", "progress"])
@pytest.mark.parametrize("settings", [{}, {"sg": 1, "loss": "nce"}, {"workers": 2, "deterministic": True}])
def test_exact_resume(settings, how, sentences, tmp_path):
    """Stopped after two of four passes or within the third, loaded and resumed: the bits of a run never stopped."""
    path, settings = tmp_path / "model", {**SMALL, **settings}
    whole = Word2Vec(sentences, **settings)

    class Stopper:
        def on_epoch_end(self, model):
            if how == "callback" and len(model.history) == 2:
                raise Stop

    def stop(now):
        if how == "progress" and now.epoch == 2:
            raise Stop

    part = Word2Vec(**settings)
    part.build_vocab(sentences)
    with pytest.raises(Stop):
        part.train(sentences, callbacks=[Stopper()], checkpoint=path, on_progress=stop)
    loaded = Word2Vec.load(path)
    assert len(loaded.history) == 2 and state(loaded) != state(whole)
    count = int(loaded.counts.sum())
    assert loaded.train(sentences, resume=True, checkpoint=path)[0] == 2 * count
    assert state(loaded) == state(whole) == state(Word2Vec.load(path))
    refused("resume", loaded.train, sentences, resume=True)
    # A new run continues from there, as it would have without the stop.
    whole.train(sentences, epochs=1)
    loaded.train(sentences, epochs=1)
    assert state(loaded) == state(whole)


def test_exact_resume_with_shards(tmp_path):
    """deterministic, a text of several shards: resumed with another number of workers."""
    path, sentences = tmp_path / "model", relations.sentences(30_000)
    settings = {**SMALL, "deterministic": True, "epochs": 3}
    whole = Word2Vec(sentences, **{**settings, "workers": 3})

    class Stopper:
        def on_epoch_end(self, model):
            raise Stop

    part = Word2Vec(**settings)
    part.build_vocab(sentences)
    with pytest.raises(Stop):
        part.train(sentences, callbacks=[Stopper()], checkpoint=path)
    loaded = Word2Vec.load(path)
    loaded.workers = 2
    loaded.train(sentences, resume=True)
    np.testing.assert_array_equal(loaded.wv.vectors, whole.wv.vectors)
    np.testing.assert_array_equal(loaded.syn1neg, whole.syn1neg)
    assert [entry["loss"] for entry in loaded.history] == [entry["loss"] for entry in whole.history]


def test_save_and_load(sentences, tmp_path):
    path = tmp_path / "model"
    settings = dict(
        vector_size=np.int64(20), window=4, min_count=3, max_final_vocab=50, sample=np.float32(0.01), seed=2**62,
        workers=2, alpha=np.float32(0.03), min_alpha=0.01, sg=np.int8(1), negative=7, ns_exponent=0.5, cbow_mean=0,
        epochs=np.int32(1), shrink_windows=np.bool_(False), loss="nce", deterministic=True,
    )  # fmt: skip
    model = Word2Vec([*sentences, ["größe", "東京", "\U0001f600", "\ud83d", ""] * 40], **settings)
    model.save(path)
    loaded = Word2Vec.load(path)
    assert state(loaded) == state(model) and loaded.settings == model.settings and loaded.history == model.history
    assert "\ud83d" in loaded.wv and "" in loaded.wv and loaded.wv.vectors.ctypes.data % 64 == 0
    first = Word2Vec(**SMALL)
    first.build_vocab(sentences)
    first.save(path)
    assert state(Word2Vec.load(path)) == state(first)
    refused("Word2Vec", Word2Vec().save, path)


def tampered(change):
    """A file of ``save`` with its texts and tensors changed."""

    def write(path):
        tensors, texts = saving.read_tensors(path)
        before = texts["state"]
        found = {"state": json.loads(before), "texts": texts, "tensors": tensors}
        change(found)
        if texts["state"] == before:
            texts["state"] = json.dumps(found["state"])
        saving.write_tensors(path, tensors, texts)

    return write


def setting(name, value):
    return tampered(lambda found: found["state"]["settings"].__setitem__(name, value))


def entry(name, value):
    return tampered(lambda found: found["state"].__setitem__(name, value))


def tensor(name, change):
    return tampered(lambda found: found["tensors"].__setitem__(name, change(found["tensors"][name])))


def text_as(data):
    return tensor("words", lambda _: np.frombuffer(data, np.uint8))


DAMAGED = {
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"what is this?" * 100),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a header of 10^12 bytes": lambda path: path.write_bytes((10**12).to_bytes(8, "little") + path.read_bytes()[8:]),
    "other safetensors": lambda path: saving.write_tensors(path, {"a": np.zeros(3)}, {"seqcore": "other"}),
    "no metadata": lambda path: saving.write_tensors(path, {"a": np.zeros(3)}, {}),
    "another version": tampered(lambda found: found["texts"].__setitem__("version", "2")),
    "no JSON": tampered(lambda found: found["texts"].__setitem__("state", "{")),
    "deep JSON": tampered(lambda found: found["texts"].__setitem__("state", "[" * 100_000)),
    "a list": tampered(lambda found: found["texts"].__setitem__("state", "[1]")),
    "no tensor": tampered(lambda found: found["tensors"].pop("output")),
    "setting of 10^12": setting("vector_size", 10**12),
    "setting not finite": setting("alpha", float("nan")),
    "setting of 400 digits": setting("alpha", 10**400),
    "unknown setting": setting("unknown", 1),
    "a corpus to train on": setting("corpus_file", "/etc/passwd"),
    "settings as a list": entry("settings", [1]),
    "corpus of one number": entry("corpus", [1]),
    "history of numbers": entry("history", [1, 2]),
    "history without loss": entry("history", [{}]),
    "passes below 0": entry("passes", -1),
    "schedule of texts": entry("schedule", {"epochs": "x", "start_alpha": 1, "end_alpha": 1, "done": 0}),
    "schedule unknown": entry("schedule", {"other": 1}),
    "words of another number": text_as(b'["a"]'),
    "words no list": text_as(b'{"a": 1}'),
    "words of numbers": text_as(b"[1, 2]"),
    "words not UTF-8": text_as(b'["\xff"]'),
    "words of lists": text_as(b"[[1]]"),
    "no words": text_as(b"[]"),
    "a word twice": text_as(b'["b", "b", "c"]'),
    "rows cut": tensor("input", lambda array: array[:-1].copy()),
    "columns cut": tensor("output", lambda array: array[:, :8].copy()),
    "float64": tensor("input", lambda array: array.astype(np.float64)),
    "counts of 0": tensor("counts", lambda array: array * 0),
    "counts as floats": tensor("counts", lambda array: array.astype(np.float64)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name, tmp_path):
    path = tmp_path / "model"
    Word2Vec([["a", "b", "a", "c", "b", "c"]], **{**SMALL, "epochs": 1}).save(path)
    before = path.read_bytes()
    DAMAGED[name](path)
    assert path.read_bytes() != before
    with pytest.raises(ValueError) as caught:
        Word2Vec.load(path)
    text = str(caught.value)
    assert str(path) in text and "expected" in text and "\n" not in text and len(text) < 1000, text


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_one_byte_changed(tmp_path_factory, at, value):
    """With any byte changed, a file raises ValueError or is read into a model that can train."""
    path = tmp_path_factory.getbasetemp() / "bytes"
    Word2Vec([["a", "b", "a", "c", "b", "c"]], **{**SMALL, "epochs": 1, "vector_size": 2}).save(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data)
    try:
        model = Word2Vec.load(path)
    except ValueError as error:
        assert str(path) in str(error)
        return
    if model.settings.window < 100 and model.settings.epochs < 100:
        model.train([model.words], epochs=1)


# It learns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "accuracy"), [({"sg": 1}, 0.9), ({"sg": 0}, 0.9), ({"sg": 1, "loss": "nce"}, 0.9)]
)
def test_it_learns(settings, accuracy):
    """Relations that hold in the text by construction; chance answers one of 460 questions."""
    sentences = relations.sentences(200_000)
    model = Word2Vec(sentences, vector_size=64, window=5, min_count=1, epochs=5, alpha=0.05, workers=2, **settings)
    found = model.wv.evaluate_word_analogies(relations.questions())[0]
    assert found > accuracy, found
    losses = [entry["loss"] for entry in model.history]
    assert losses[-1] < 0.8 * losses[0]
    assert model.wv.most_similar(positive=["italy", "paris"], negative=["rome"], topn=1)[0][0] == "france"


# Ctrl-C, fork ---------------------------------------------------------------------------------------------------------


def interrupted(call):
    """Seconds from a Ctrl-C until the call has ended by it."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    return time.monotonic() - sent[0]


def test_workers_are_threads(sentences, monkeypatch):
    """Also where the result is to be deterministic."""
    used, train = [], word2vec.train_word2vec

    def count(*arguments, threads, **options):
        used.append(threads)
        return train(*arguments, threads=threads, **options)

    monkeypatch.setattr(word2vec, "train_word2vec", count)
    for workers, deterministic in ((3, False), (1, False), (3, True)):
        Word2Vec(sentences[:9], min_count=1, vector_size=4, epochs=1, workers=workers, deterministic=deterministic)
    assert used == [3, 1, 3]


@pytest.mark.parametrize("workers, deterministic", [(1, False), (2, False), (1, True), (2, True)])
def test_interrupt(workers, deterministic, tmp_path):
    """Ctrl-C ends training within a second; what was learnt stays, and the model can be used, saved and trained."""
    sentences = relations.sentences(20_000 if deterministic else 5_000)  # two shards
    settings = {"workers": workers, "deterministic": deterministic, "vector_size": 200, "negative": 20}
    model = Word2Vec(**{**SMALL, **settings})
    model.build_vocab(sentences)
    start = model.wv.vectors.copy()
    assert interrupted(lambda: model.train(sentences, epochs=100_000)) < 1.0
    assert np.isfinite(model.wv.vectors).all() and not np.array_equal(model.wv.vectors, start)
    assert (model.history or deterministic) and len(model.history) == model._passes
    model.save(tmp_path / "model")
    assert state(Word2Vec.load(tmp_path / "model")) == state(model)
    done = len(model.history)
    model.train(sentences, epochs=1)
    assert len(model.history) == done + 1


def test_interrupt_within_a_sentence():
    """A sentence of 10,000 words with the widest window, 100 million pairs, need not be waited for."""
    words = [f"w{n}" for n in np.random.default_rng(0).integers(0, 500, 10_000)]
    model = Word2Vec(vector_size=100, window=10_000, shrink_windows=False, sg=1, min_count=1, sample=0, workers=1)
    model.build_vocab([words])
    assert interrupted(lambda: model.train([words])) < 1.0
    assert not model.history and np.isfinite(model.wv.vectors).all()


FORK = """
import os, sys
import seqcore as sc
from seqcore import Word2Vec
from seqcore.datasets import relations
text = relations.sentences(20_000)
settings = dict(min_count=1, vector_size=16, epochs=1, workers=2)
Word2Vec(text, **settings)
child = os.fork()
if child == 0:
    model = Word2Vec(text, **settings)
    os._exit(0 if model.history[0]["loss"] > 0 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_fork():
    """A forked child trains, though its parent's threads do not exist there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FORK], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
