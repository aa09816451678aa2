"""Word2Vec as its users meet it: gensim's ways, exact resume, files, learning, Ctrl-C, fork."""

import collections
import itertools
import json
import os
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

from seqcore import Word2Vec, io, relations, word2vec
from tests.test_robustness import refused

SMALL = dict(vector_size=12, min_count=2, window=3, workers=1, alpha=0.05, epochs=4, seed=3)


@pytest.fixture(scope="module")
def sentences():
    return relations.sentences(5_000)


@pytest.fixture
def corpus_file(sentences, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(sentence) for sentence in sentences), encoding="utf-8")
    return path


def state(model):
    """All that training changes, in bits."""
    losses = [(entry["loss"], entry["pairs"], entry["epoch"]) for entry in model.history]
    arrays = model._input.tobytes(), model._output.tobytes(), model.counts.tobytes()
    schedule = vars(model._schedule).copy() if model._schedule else None
    return arrays, list(model.words), losses, model.corpus_count, model.corpus_total_words, model._passes, schedule


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
    """Order and counts are Counter's; min_count and max_final_vocab leave out the rarest."""
    ranked = collections.Counter(word for sentence in sentences for word in sentence).most_common()
    for min_count, most in ((1, None), (0, None), (5, None), (5, 20), (1, 7), (1, 10**9)):
        model = Word2Vec(vector_size=2, min_count=min_count, max_final_vocab=most)
        model.build_vocab(sentences)
        expected = [pair for pair in ranked if pair[1] >= min_count][:most]
        assert list(zip(model.words, model.counts.tolist())) == expected
        assert model.corpus_total_words == sum(map(len, sentences))
    assert model.wv.index_to_key == model.words and model.wv.get_vecattr(ranked[0][0], "count") == ranked[0][1]


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
    assert model.counts.tolist() == [15, 10, 12, 3, 2]  # b comes once in the new text: below min_count
    np.testing.assert_array_equal(model.wv.vectors[:3], vectors)
    np.testing.assert_array_equal(model.syn1neg[:3], targets)
    fresh = model.wv.vectors[3:]
    assert fresh.any(axis=1).all() and np.abs(fresh).max() <= 1 / 12 and not model.syn1neg[3:].any()
    assert not (fresh[:, None] == vectors[None]).all(axis=2).any()
    model.train(more, epochs=2)
    assert not np.array_equal(model.wv["new"], fresh[0]) and np.array_equal(model.wv["a"], vectors[0])


def test_wv_is_what_there_is_now(sentences):
    """wv is a copy of the current vectors, also after someone looked in the middle of training."""
    seen = []
    model = Word2Vec(**SMALL)
    model.build_vocab(sentences)
    assert model.wv is model.wv
    model.train(sentences, on_progress=lambda now: seen.append(model.wv.vectors.copy()))
    assert len({one.tobytes() for one in seen}) == len(seen) >= 4
    np.testing.assert_array_equal(model.wv.vectors, model._input[:, :12])
    np.testing.assert_array_equal(model.wv.vectors, seen[-1])
    assert not model._input[:, 12:].any() and not model.syn1neg.flags.writeable
    model.wv.vectors[:] = 0
    assert model._input.any()
    assert model.vector_size == 12 and model.epochs == 4 and "CBOW" in repr(model)
    assert model.get_latest_training_loss() == model.history[-1]["loss"] > 0


def test_looking_between_pieces(sentences, monkeypatch):
    monkeypatch.setattr(word2vec, "_PIECE", 500)
    monkeypatch.setattr(word2vec.time, "perf_counter", itertools.count().__next__)
    model = Word2Vec(**{**SMALL, "epochs": 1})
    model.build_vocab(sentences)
    looks = []

    def look(now):
        if now.share < 1:
            looks.append(model.wv)

    model.train(sentences, on_progress=look)
    assert len(looks) > 5
    np.testing.assert_array_equal(model.wv.vectors, model._input[:, :12])


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
    monkeypatch.setattr(word2vec, "_PIECE", 500)
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
    # A new run goes on from there, as it would have without the stop.
    whole.train(sentences, epochs=1)
    loaded.train(sentences, epochs=1)
    assert state(loaded) == state(whole)


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
    assert "\ud83d" in loaded.wv and "" in loaded.wv and loaded._input.ctypes.data % 64 == 0
    first = Word2Vec(**SMALL)
    first.build_vocab(sentences)
    first.save(path)
    assert state(Word2Vec.load(path)) == state(first)
    refused("Word2Vec", Word2Vec().save, path)


def tampered(change):
    """A file of ``save`` with its texts and tensors changed."""

    def write(path):
        tensors, texts = io.read_tensors(path)
        before = texts["state"]
        found = {"state": json.loads(before), "texts": texts, "tensors": tensors}
        change(found)
        if texts["state"] == before:
            texts["state"] = json.dumps(found["state"])
        io.write_tensors(path, tensors, texts)

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
    "other safetensors": lambda path: io.write_tensors(path, {"a": np.zeros(3)}, {"seqcore": "other"}),
    "no metadata": lambda path: io.write_tensors(path, {"a": np.zeros(3)}, {}),
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
    """Whatever byte is changed, a file is refused by a ValueError, or read into a model that can train."""
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


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupt(workers, sentences, tmp_path):
    """Ctrl-C ends training within a second; what was learnt stays, and the model can be used, saved and trained."""
    model = Word2Vec(**{**SMALL, "workers": workers, "vector_size": 200, "negative": 20})
    model.build_vocab(sentences)
    start = model.wv.vectors.copy()
    assert interrupted(lambda: model.train(sentences, epochs=100_000)) < 1.0
    assert np.isfinite(model.wv.vectors).all() and not np.array_equal(model.wv.vectors, start)
    assert model.history and len(model.history) == model._passes
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
from seqcore import Word2Vec, relations
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
