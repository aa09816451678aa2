"""Every method of KeyedVectors, and the rest of a user's program, give gensim's numbers and errors on the same vectors.

The NumPy references of the same methods, which need no gensim, stand in tests/word_vectors.
"""

import contextlib
import io
import itertools
import re
import warnings

import numpy as np
import pytest

import seqcore
from seqcore import word_vectors

gensim = pytest.importorskip("gensim")
pytestmark = pytest.mark.filterwarnings("ignore")  # gensim warns of single vectors and of its deprecated methods

V, D = 40, 7
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(V, D)).astype(np.float32)
X = RNG.normal(size=D).astype(np.float32)
ROWS = RNG.normal(size=(2, D)).astype(np.float32)
TEXT = [["a", "b", "c", "a", "d"], ["b", "a", "c", "c", "e", "a"]] * 8


def table(cls):
    """The same words, vectors and attributes in either library, by the calls of a user."""
    kv = cls(D)
    kv.add_vectors([f"w{row}" for row in range(V)], TABLE)
    for row in range(V):
        kv.set_vecattr(f"w{row}", "count", V - row + row % 3)
        kv.set_vecattr(f"w{row}", "score", row * 7 % 11 / 2)
    return kv


def after(change):
    """The table after a change."""
    return lambda kv: (change(kv), kv)[1]


ASKED = {
    # neighbours
    "a word": lambda kv: kv.most_similar("w1"),
    "lists": lambda kv: kv.most_similar(["w1", "w2"], ["w3"], topn=5),
    "weights": lambda kv: kv.most_similar([("w1", 0.3), "w2", X], [("w5", -2.0)]),
    "negative only": lambda kv: kv.most_similar(negative=["w1"]),
    "twice": lambda kv: kv.most_similar(["w1", "w1"]),
    "a matrix": lambda kv: kv.most_similar(TABLE[:2]),
    "a row": lambda kv: [kv.most_similar(3), kv.most_similar(np.int64(3))],
    "topn": lambda kv: [kv.most_similar("w1", topn=n) for n in (0, -3, 1000, None)],
    "clip": lambda kv: kv.most_similar("w1", clip_start=5, clip_end=20),
    "restrict": lambda kv: [kv.most_similar("w1", restrict_vocab=n) for n in (10, 1000)],
    "nothing": lambda kv: kv.most_similar(),
    "unknown": lambda kv: kv.most_similar("bird"),
    "unknown row": lambda kv: kv.most_similar(99),
    "row -1": lambda kv: kv.most_similar(-1),
    "short vector": lambda kv: kv.most_similar(np.ones(3)),
    "by word": lambda kv: kv.similar_by_word("w1", 3),
    "by key": lambda kv: kv.similar_by_key("w4", topn=3, restrict_vocab=9),
    "by vector": lambda kv: kv.similar_by_vector(X, topn=4),
    "by unknown word": lambda kv: kv.similar_by_word("bird"),
    "cosmul": lambda kv: kv.most_similar_cosmul("w1"),
    "cosmul lists": lambda kv: kv.most_similar_cosmul(["w1", "w2"], ["w3", "w4"], topn=7),
    "cosmul vector": lambda kv: kv.most_similar_cosmul(X, "w1"),
    "cosmul all": lambda kv: kv.most_similar_cosmul("w1", "w2", topn=None),
    "cosmul unknown": lambda kv: kv.most_similar_cosmul("bird"),
    "cosmul nothing": lambda kv: kv.most_similar_cosmul(),
    "cosmul negative only": lambda kv: kv.most_similar_cosmul(negative="w1"),
    "to given": lambda kv: kv.most_similar_to_given("w1", ["w3", "w4", "w5"]),
    "to given unknown": lambda kv: kv.most_similar_to_given("w1", ["bird"]),
    "to given nothing": lambda kv: kv.most_similar_to_given("w1", []),
    "closer": lambda kv: [kv.closer_than("w1", "w2"), kv.rank("w1", "w2"), kv.rank(1, 2)],
    "closer unknown": lambda kv: kv.closer_than("w1", "bird"),
    # single numbers
    "similarity": lambda kv: [kv.similarity("w1", "w2"), kv.similarity(1, "w2"), kv.distance("w1", "w2")],
    "similarity unknown": lambda kv: kv.similarity("w1", "bird"),
    "distances": lambda kv: [kv.distances("w1"), kv.distances("w1", None), kv.distances(X, ["w1", 2])],
    "distances unknown": lambda kv: kv.distances("bird"),
    "distances to unknown": lambda kv: kv.distances("w1", ["bird"]),
    "n_similarity": lambda kv: [kv.n_similarity(["w1", "w2", "bird"], ["w3"]), kv.n_similarity(["bird"], ["w3"])],
    "cosines": lambda kv: kv.cosine_similarities(X, TABLE),
    "relative": lambda kv: [kv.relative_cosine_similarity("w1", "w2", *n) for n in ((), (3,))],
    "relative to none": lambda kv: kv.relative_cosine_similarity("w1", "w2", topn=0),
    "relative unknown": lambda kv: kv.relative_cosine_similarity("bird", "w2"),
    "centrality": lambda kv: [kv.rank_by_centrality(["w1", "bird", "w2", "w9"], use_norm=use) for use in (True, False)],
    "centrality of none": lambda kv: kv.rank_by_centrality([]),
    "centrality unknown": lambda kv: kv.rank_by_centrality(["bird"]),
    "doesnt_match": lambda kv: [kv.doesnt_match(["w1", "w2", "w9", "bird"]), kv.doesnt_match([1, 2, 9])],
    "doesnt_match of none": lambda kv: kv.doesnt_match([]),
    # words and vectors
    "index": lambda kv: [kv.get_index("w3"), kv.get_index(3), kv.get_index("bird", -1), kv.get_index("bird", 0)],
    "index unknown": lambda kv: kv.get_index("bird"),
    "index -1": lambda kv: kv.get_index(-1),
    "index too large": lambda kv: kv.get_index(V),
    "index None": lambda kv: kv.get_index(None),
    "vector": lambda kv: [kv.get_vector("w3"), kv.get_vector("w3", norm=True), kv["w3"], kv[2]],
    "vectors": lambda kv: [kv[["w3", 4, "w5"]], kv["w1", "w2"], kv[np.array([1, 2])]],
    "vector unknown": lambda kv: kv["bird"],
    "vectors unknown": lambda kv: kv[["w1", "bird"]],
    "vector -1": lambda kv: kv[-1],
    "mean": lambda kv: kv.get_mean_vector(["w1", "w2"]),
    "mean weighted": lambda kv: kv.get_mean_vector(["w1", "bird", X], [1.0, 2.0, -3.0], pre_normalize=False),
    "mean scaled": lambda kv: kv.get_mean_vector(["w1", 3], post_normalize=True),
    "mean of unknown": lambda kv: kv.get_mean_vector(["bird"], ignore_missing=False),
    "mean without known": lambda kv: kv.get_mean_vector(["bird"]),
    "mean of none": lambda kv: kv.get_mean_vector([]),
    "mean weights": lambda kv: kv.get_mean_vector(["w1"], [1.0, 2.0]),
    "contains": lambda kv: [(kv.has_index_for(key), key in kv) for key in ("w1", "bird", 0, V, -1, np.int32(3))],
    "length": len,
    "normed": lambda kv: kv.get_normed_vectors(),
    # attributes
    "attribute": lambda kv: [kv.get_vecattr("w1", "count"), kv.get_vecattr(2, "score")],
    "attribute unknown word": lambda kv: kv.get_vecattr("bird", "count"),
    "attribute unknown": lambda kv: kv.get_vecattr("w1", "none"),
    "attribute of unknown": lambda kv: kv.set_vecattr("bird", "new", 5),
    "attribute of another type": lambda kv: kv.set_vecattr("w1", "count", 1.5),
    "new attribute": after(lambda kv: kv.set_vecattr("w1", "new", 5)),
    # changes
    "add_vector": after(lambda kv: kv.add_vector("new", X)),
    "add_vector row": lambda kv: kv.add_vector("new", X),
    "add_vectors": after(lambda kv: kv.add_vectors(["w1", "new"], ROWS)),
    "add_vectors list": after(lambda kv: kv.add_vectors(["w1", "new"], list(ROWS))),
    "add_vectors replace": after(lambda kv: kv.add_vectors(["w1", "new"], ROWS, replace=True)),
    "add_vectors one": after(lambda kv: kv.add_vectors("new", X)),
    "add_vectors short": lambda kv: kv.add_vectors(["new"], [np.ones(3)]),
    "assign": after(lambda kv: kv.__setitem__("w1", X)),
    "assign new": after(lambda kv: kv.__setitem__("new", X)),
    "assign matrix": after(lambda kv: kv.__setitem__(["w1", "new"], ROWS)),
    "unit_normalize_all": after(lambda kv: kv.unit_normalize_all()),
    "init_sims": after(lambda kv: kv.init_sims()),
    "init_sims replace": after(lambda kv: kv.init_sims(replace=True)),
    "after unit_normalize_all": lambda kv: (kv.unit_normalize_all(), kv.most_similar("w1"))[1],
    "sorted": after(lambda kv: kv.sort_by_descending_frequency()),
    "part": lambda kv: words_of(kv.vectors_for_all(["w5", "bird", "w2", "w5", 3])),
    "part words only": lambda kv: words_of(kv.vectors_for_all(["w5", "w2", 3], allow_inference=False)),
    "part of nothing": lambda kv: words_of(kv.vectors_for_all(["bird"])),
    "part with attributes": lambda kv: kv.vectors_for_all((f"w{row}" for row in (9, 3)), copy_vecattrs=True),
    # integers as words
    "integer words": after(lambda kv: kv.add_vectors([3, 77], ROWS)),
    "integer before row": lambda kv: (
        kv.add_vectors([3, 77], ROWS),
        [kv[3], kv[77], kv[4], kv.get_index(3), 77 in kv, 78 in kv, kv.similarity(3, "w3"), kv[np.int64(77)]],
        [kv.most_similar(3, topn=3), kv.most_similar_cosmul("w1"), kv.doesnt_match([3, 77, "w1"]), kv.rank(3, 77)],
    )[1:],
    "assign integer": after(lambda kv: kv.__setitem__(3, X)),
}


def words_of(kv):
    """Words and vectors; gensim makes up counts where attributes are not copied."""
    return [list(kv.index_to_key), kv.vectors]


def plain(result):
    """A result as lists, numbers, texts and arrays."""
    if isinstance(result, (gensim.models.KeyedVectors, seqcore.KeyedVectors)):
        if hasattr(result, "allocate_vecattrs") and isinstance(result, gensim.models.KeyedVectors):
            result.allocate_vecattrs()  # gensim leaves the attributes behind where rows are added
        return [
            list(result.index_to_key),
            result.vectors,
            sorted(result.expandos),
            *map(plain, result.expandos.values()),
        ]
    if isinstance(result, (list, tuple)):
        return [plain(item) for item in result]
    return result.item() if isinstance(result, np.generic) else result


def outcome(ask, kv):
    """The result of a request, or the type of its error."""
    try:
        return plain(ask(kv))
    except Exception as error:
        return type(error)


def assert_alike(ours, theirs):
    if isinstance(theirs, list):
        assert isinstance(ours, list) and len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_alike(one, other)
    elif isinstance(theirs, (float, np.ndarray)) and not isinstance(ours, type):
        assert np.shape(ours) == np.shape(theirs)
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", ASKED)
def test_results_and_errors(name):
    """Of float32 sums in another order the last digits differ."""
    ours, theirs = (outcome(ASKED[name], table(cls)) for cls in (seqcore.KeyedVectors, gensim.models.KeyedVectors))
    assert_alike(ours, theirs)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("lockf", [0.0, 0.5])
def test_intersect_word2vec_format(binary, lockf, tmp_path):
    other = seqcore.KeyedVectors(ROWS, ["b", "none"])
    other.save_word2vec_format(tmp_path / "v", binary=binary)
    results = []
    for cls in (seqcore.Word2Vec, gensim.models.Word2Vec):
        model = cls(vector_size=D, min_count=1)
        model.build_vocab(TEXT)
        model.wv.vectors_lockf = np.ones(len(model.wv), np.float32)
        with contextlib.suppress(ValueError):  # gensim 4.4 reads the binary format by a function that NumPy removed
            model.wv.intersect_word2vec_format(str(tmp_path / "v"), lockf, binary)
            row = model.wv.get_index("b")
            results.append([model.wv["b"], model.wv.vectors_lockf[row], model.wv.vectors_lockf.sum()])
    for result in results:
        np.testing.assert_allclose(np.hstack(result), np.hstack([ROWS[0], lockf, 4 + lockf]), rtol=1e-6)
    assert len(results) == 2 or binary


@pytest.mark.parametrize("text", [TEXT, [[3, 1, 2, 3, 5], [1, 3, "a", 2]] * 9], ids=["words", "integers"])
@pytest.mark.parametrize("mean", [0, 1])
def test_predict_output_word(text, mean):
    theirs = gensim.models.Word2Vec(text, vector_size=6, min_count=1, cbow_mean=mean, epochs=30, alpha=0.1, workers=1)
    ours = seqcore.Word2Vec(vector_size=6, min_count=1, cbow_mean=mean)
    ours.build_vocab(text)
    assert sorted(map(str, ours.words)) == sorted(map(str, theirs.wv.index_to_key))
    ours.wv.vectors, ours.syn1neg = (
        table[[theirs.wv.key_to_index[word] for word in ours.words]] for table in (theirs.wv.vectors, theirs.syn1neg)
    )
    words = ours.words
    for context, topn in itertools.product((words[:1], words[1:3], ["none", words[2]], ["none"]), (10, 2)):
        mine, other = (model.predict_output_word(context, topn) for model in (ours, theirs))
        assert (mine is None) == (other is None)
        if other is not None:
            assert [word for word, _ in mine] == [word for word, _ in other]
            np.testing.assert_allclose([p for _, p in mine], [p for _, p in other], rtol=1e-4)


def test_integer_tokens():
    """Vocabulary, counts and rows of integers, from lists and from rows of an array."""
    walks = np.random.default_rng(0).zipf(1.5, (50, 12)).clip(max=30)
    for text in (walks.tolist(), walks, [[*walk, "end"] for walk in walks.tolist()]):
        ours, theirs = (cls(vector_size=4, min_count=2) for cls in (seqcore.Word2Vec, gensim.models.Word2Vec))
        for model in (ours, theirs):
            model.build_vocab(text)
        ours.train(text, epochs=1)
        if text is not walks:  # gensim counts the words of arrays, but hangs when it trains on them
            theirs.train(text, total_examples=theirs.corpus_count, epochs=1)
        counts = {word: ours.wv.get_vecattr(word, "count") for word in ours.wv.index_to_key}
        assert counts == {word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key}
        assert [3 in ours.wv, ours.wv[3].shape] == [3 in theirs.wv, theirs.wv[3].shape]
        assert ours.wv.get_index(1) == theirs.wv.get_index(1) == 0


def test_sentences(tmp_path):
    """Readers of texts, packed or not, of folders, and of open files."""
    import bz2
    import gzip

    lines = "the cat  saw\tthe dog \n\n a \xe9 b\r\nlast line without end".encode()
    (tmp_path / "f").mkdir()
    for name, data in (("b.txt", lines), ("a.gz", gzip.compress(lines)), ("c.bz2", bz2.compress(lines))):
        (tmp_path / "f" / name).write_bytes(data)
    theirs = gensim.models.word2vec
    for options in ({}, {"max_sentence_length": 2}, {"limit": 2}, {"limit": 0}):
        for path in (tmp_path / "f" / "a.gz", tmp_path / "f" / "b.txt"):
            mine, other = (m.LineSentence(str(path), **options) for m in (word_vectors, theirs))
            assert list(mine) == list(mine) == list(other)
        mine, other = (m.LineSentence(io.BytesIO(lines), **options) for m in (word_vectors, theirs))
        assert list(mine) == list(mine) == list(other)
        mine, other = (m.PathLineSentences(str(tmp_path / "f"), **options) for m in (word_vectors, theirs))
        assert list(mine) == list(mine) == list(other) and mine.input_files == other.input_files
    long = " ".join(map(str, range(30_000)))
    (tmp_path / "text8").write_text(long)
    for options in ({}, {"max_sentence_length": 700}):
        mine, other = (m.Text8Corpus(str(tmp_path / "text8"), **options) for m in (word_vectors, theirs))
        assert list(mine) == list(mine) == list(other)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["Word2Vec", "FastText", "Doc2Vec", "KeyedVectors"])
def test_the_lines_for_pickled_files(name, protocol, tmp_path, monkeypatch):
    """The lines in the message make a file that is read with the same vectors."""
    monkeypatch.chdir(tmp_path)
    if name == "Doc2Vec":
        text = [gensim.models.doc2vec.TaggedDocument(words, [row]) for row, words in enumerate(TEXT)]
    else:
        text = TEXT
    cls = gensim.models.Word2Vec if name == "KeyedVectors" else getattr(gensim.models, name)
    model = cls(text, vector_size=4, min_count=1)
    (model.wv if name == "KeyedVectors" else model).save("it's a file", pickle_protocol=protocol)
    for load in (seqcore.KeyedVectors.load, seqcore.Word2Vec.load, seqcore.KeyedVectors.load_word2vec_format):
        with pytest.raises(ValueError, match=r"it's a file: expected .* \(pickle\)") as caught:
            load("it's a file")
        assert "\n" not in str(caught.value)
        *lines, reader = re.findall(r"`(.*?)`|by (KeyedVectors\.load_word2vec_format\(.*\))$", str(caught.value))
        assert len(lines) == 2
        exec("\n".join(line for line, _ in lines), {})
        kv = eval(reader[1], {"KeyedVectors": seqcore.KeyedVectors})
        np.testing.assert_array_equal(kv.vectors, model.wv.vectors[[model.wv.get_index(word) for word in kv]])
        assert name == "KeyedVectors" or kv.get_vecattr("a", "count") == model.wv.get_vecattr("a", "count")


def test_a_users_program(tmp_path, monkeypatch):
    """The steps of the usual tutorial, in both: the same names, shapes and vocabulary."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("\n".join(map(" ".join, TEXT)))
    seen = []
    for models, line_sentence in (
        (word_vectors, word_vectors.LineSentence),
        (gensim.models, gensim.models.word2vec.LineSentence),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = models.Word2Vec(vector_size=5, window=2, min_count=2, workers=1, sg=1, hs=0, negative=3, epochs=3)
            sentences = line_sentence("corpus.txt")
            model.build_vocab(sentences)
            model.train(sentences, total_examples=model.corpus_count, epochs=model.epochs)
            fresh = models.Word2Vec(vector_size=5, min_count=2)
            fresh.build_vocab_from_freq({word: model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key})
            other = models.Word2Vec(vector_size=6, min_count=2)
            other.reset_from(model)
            other.wv.vectors_lockf = np.ones(1, np.float32)  # gensim's reset_from leaves it out
            other.train(sentences, total_examples=other.corpus_count, epochs=1)
            settings = [
                getattr(model, name)
                for name in (
                    "vector_size", "window", "min_count", "workers", "sg", "hs", "negative", "epochs", "alpha",
                    "min_alpha", "sample", "cbow_mean", "seed", "ns_exponent", "corpus_count", "corpus_total_words",
                    "max_final_vocab", "shrink_windows", "null_word", "sorted_vocab", "batch_words", "comment",
                )
            ]  # fmt: skip
            model.wv.save("words.kv")
            model.save("model")
            again = models.Word2Vec.load("model")
            again.train([["a", "b"]], total_examples=1, epochs=1)
            kv = models.KeyedVectors.load("words.kv", mmap="r")
            model.wv = kv
            words = [sorted(m.wv.index_to_key) for m in (model, fresh, other, again)]
            shapes = [m.wv.vectors.shape for m in (model, fresh, other)]
            seen.append([settings, words, shapes, kv["a"].shape, model.wv.get_vecattr("a", "count")])
    assert seen[0] == seen[1]
