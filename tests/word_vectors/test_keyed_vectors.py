"""KeyedVectors against slow references and, where it is installed, against gensim."""

import math

import numpy as np
import pytest

import seqcore as sc
from seqcore import KeyedVectors
from seqcore.text.vocabulary import Vocabulary
from seqcore.word_vectors import evaluation, nearest

V, D = 300, 12


@pytest.fixture
def kv(rng):
    vectors = rng.normal(size=(V, D)).astype(np.float32)
    vectors[7] = vectors[11]  # a tie
    return KeyedVectors(vectors, [f"w{i}" for i in range(V)], np.arange(V, 0, -1))


def cosines(kv, query):
    """All cosines in float64."""
    table = kv.vectors.astype(np.float64)
    return table @ query / np.linalg.norm(table, axis=1) / np.linalg.norm(query)


def test_words_and_vectors(kv):
    assert len(kv) == V and kv.vector_size == D and "w3" in kv and "x" not in kv and list(kv)[:2] == ["w0", "w1"]
    assert kv.key_to_index["w5"] == kv.get_index("w5") == 5 and kv.get_index("x", -1) == -1
    np.testing.assert_array_equal(kv["w5"], kv.vectors[5])
    np.testing.assert_array_equal(kv[["w5", "w1"]], kv.vectors[[5, 1]])
    np.testing.assert_array_equal(kv[5], kv.vectors[5])
    assert kv[[]].shape == (0, D)
    assert np.linalg.norm(kv.get_vector("w5", norm=True)) == pytest.approx(1)
    assert kv.get_vecattr("w0", "count") == V
    with pytest.raises(ValueError, match="read-only"):
        kv["w5"][0] = 1
    np.testing.assert_allclose(np.linalg.norm(kv.get_normed_vectors(), axis=1), 1, rtol=1e-6)
    assert kv.vectors.flags.writeable


def test_norms_follow_a_change_when_told(kv):
    before = kv.norms[0]
    kv.vectors[0] *= 2
    kv.fill_norms(force=True)
    assert kv.norms[0] == pytest.approx(2 * before)


@pytest.mark.parametrize("vectors", [V, 5])
def test_most_similar(kv, vectors):
    kv = KeyedVectors(kv.vectors[:vectors], kv.index_to_key[:vectors])
    u = kv.get_normed_vectors().astype(np.float64)
    expected = cosines(kv, u[1] + u[2] - 0.5 * u[3])
    order = [i for i in np.argsort(-expected, kind="stable") if i not in (1, 2, 3)][:10]
    found = kv.most_similar(["w1", ("w2", 1.0), ("w3", -0.5)])
    assert [word for word, _ in found] == [f"w{i}" for i in order]
    np.testing.assert_allclose([value for _, value in found], expected[order], atol=1e-6)
    np.testing.assert_allclose(
        kv.most_similar(["w1", "w2"], ["w3"], topn=None), cosines(kv, u[1] + u[2] - u[3]), atol=1e-6
    )
    assert kv.most_similar("w1", topn=0) == []
    assert kv.similar_by_word("w1") == kv.most_similar(["w1"]) == kv.similar_by_key("w1")
    assert kv.similar_by_vector(kv["w1"], topn=1)[0][0] == "w1"


def test_ties_go_to_the_first(kv):
    assert [word for word, _ in kv.similar_by_vector(kv["w7"], topn=2)] == ["w7", "w11"]
    assert kv.most_similar("w11", topn=1)[0][0] == "w7"


def test_parts_of_the_vocabulary(kv):
    assert {word for word, _ in kv.most_similar("w1", topn=50, restrict_vocab=5)} == {"w0", "w2", "w3", "w4"}
    assert {word for word, _ in kv.most_similar("w1", topn=50, clip_start=296)} == {f"w{i}" for i in range(296, V)}
    assert len(kv.most_similar("w1", topn=None, clip_start=10, clip_end=30)) == 20
    assert kv.most_similar("w1", topn=5, restrict_vocab=0) == []
    assert len(kv.most_similar("w1", topn=10**6)) == V - 1


@pytest.mark.parametrize("n", [1, 3, 40, 400])
@pytest.mark.parametrize("columns", [1, 37, 320, 4099])
def test_partial_sort(rng, n, columns):
    scores = rng.integers(0, 50, (5, columns)).astype(np.float32)
    found = nearest.top_columns(scores, n)
    assert found.shape == (5, min(n, columns)) and all(len(set(row)) == len(row) for row in found.tolist())
    values = np.sort(np.take_along_axis(scores, found, 1), axis=1)
    np.testing.assert_array_equal(values, np.sort(scores, axis=1)[:, max(0, columns - n) :])


@pytest.mark.parametrize("block", [1, 100, 1 << 12, 1 << 22])
def test_blocks_do_not_change_neighbours(kv, rng, monkeypatch, block):
    queries = rng.normal(size=(5, D))
    expected = np.array([np.argsort(-cosines(kv, query), kind="stable")[:9] for query in queries])
    monkeypatch.setattr(nearest, "BLOCK", block)
    rows, values = kv.nearest_rows(queries, 9)
    # Rows 7 and 11 are the same vector: only their order may differ in float64.
    np.testing.assert_array_equal(np.where(rows == 11, 7, rows), np.where(expected == 11, 7, expected))
    assert (np.diff(values, axis=1) <= 0).all()
    assert kv.nearest_rows(queries, 3, restrict_vocab=2)[0].shape == (5, 2)


def test_rows_of_zeros_have_cosine_zero():
    kv = KeyedVectors([[0, 0], [1, 0], [-1, 0]], ["zero", "one", "minus"])
    assert kv.similarity("zero", "one") == 0
    assert kv.most_similar("one") == [("zero", 0.0), ("minus", -1.0)]
    assert kv.most_similar("zero") == [("one", 0.0), ("minus", 0.0)]


def test_single_numbers(kv):
    u = kv.get_normed_vectors().astype(np.float64)
    assert kv.similarity("w1", "w2") == pytest.approx(u[1] @ u[2], abs=1e-6)
    assert kv.distance("w1", "w2") == pytest.approx(1 - u[1] @ u[2], abs=1e-6)
    np.testing.assert_allclose(kv.distances("w1"), 1 - u @ u[1], atol=1e-6)
    np.testing.assert_allclose(kv.distances(kv["w1"], ["w4"]), [1 - u[4] @ u[1]], atol=1e-6)
    one, other = kv.vectors[[1, 2]].mean(axis=0), kv.vectors[3]
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert kv.n_similarity(["w1", "w2"], ["w3"]) == pytest.approx(expected, abs=1e-6)
    order = [f"w{i}" for i in np.argsort(-(u @ u[1])) if i != 1]
    assert kv.rank("w1", order[0]) == 1 and kv.rank("w1", order[20]) == 21
    assert kv.closer_than("w1", order[1]) == [order[0]]
    assert kv.most_similar_to_given("w1", [order[5], order[2], order[9]]) == order[2]


@pytest.mark.parametrize(
    "ask",
    [
        lambda kv: kv["bird"],
        lambda kv: kv[["w1", "bird"]],
        lambda kv: kv.get_vector("bird", norm=True),
        lambda kv: kv.get_vecattr("bird", "count"),
        lambda kv: kv.most_similar("bird"),
        lambda kv: kv.most_similar("w1", ["w2", "bird"]),
        lambda kv: kv.similar_by_word("bird"),
        lambda kv: kv.similarity("w1", "bird"),
        lambda kv: kv.distance("bird", "w1"),
        lambda kv: kv.distances("bird"),
        lambda kv: kv.rank("w1", "bird"),
        lambda kv: kv.most_similar_to_given("w1", ["bird"]),
        lambda kv: kv.doesnt_match(["bird"]),
        lambda kv: kv.get_mean_vector(["bird"], ignore_missing=False),
    ],
)
def test_unknown_words(kv, ask):
    with pytest.raises((KeyError, ValueError), match="expected .*bird") as error:
        ask(kv)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda kv: kv[V], "key: expected a word"),
        (lambda kv: kv[-1], "key: expected a word"),
        (lambda kv: kv.get_vecattr("w1", "sample_int"), "attr: expected count"),
        (lambda kv: kv.most_similar(), "positive: expected"),
        (lambda kv: kv.most_similar([np.ones(3)]), "keys: expected words or vectors of 12"),
        (lambda kv: kv.similar_by_vector(np.full(D, np.nan)), "vector: expected"),
        (lambda kv: kv.most_similar("w1", restrict_vocab=-1), "restrict_vocab: expected"),
        (lambda kv: kv.most_similar("w1", topn=1.5), "topn: expected"),
        (lambda kv: kv.doesnt_match([]), "words: expected"),
        (lambda kv: kv.n_similarity([], ["w1"]), "ws1: expected"),
        (lambda kv: kv.get_mean_vector([]), "keys: expected"),
        (lambda kv: kv.get_mean_vector(["w1"], [1, 2]), "weights: expected"),
        (lambda kv: kv.embedding_matrix([]), "words: expected"),
        (lambda kv: kv.embedding_matrix("w1"), "words: expected"),
        (lambda kv: kv.embedding_matrix(["w1"], "mean"), "missing: expected"),
        (lambda kv: KeyedVectors(kv.vectors, ["a"]), "vectors: expected shape"),
        (lambda kv: KeyedVectors(np.ones((2, 0)), ["a", "b"]), "vectors: expected shape"),
        (lambda kv: KeyedVectors([["x"]], ["a"]), "vectors: expected numbers"),
        (lambda kv: KeyedVectors([[1], [2]], ["a", "a"]), "index_to_key: expected each word once"),
        (lambda kv: KeyedVectors([[1]], [1.5]), "index_to_key: expected words or integers, got 1.5"),
        (lambda kv: KeyedVectors([[1]], [True]), "index_to_key: expected words or integers, got True"),
        (lambda kv: KeyedVectors([[1]], "a"), "index_to_key: expected a list of words"),
        (lambda kv: KeyedVectors([[1]], ["a"], [1.5]), "counts: expected"),
        (lambda kv: KeyedVectors([[1]], ["a"]).get_vecattr("a", "count"), "counts are not known"),
    ],
)
def test_bad_requests(kv, ask, expected):
    with pytest.raises((KeyError, ValueError, TypeError), match=expected):
        ask(kv)


def test_doesnt_match_leaves_out_unknown_words():
    kv = KeyedVectors([[1, 0], [0.9, 0.2], [0, 1]], ["cat", "dog", "car"])
    assert kv.doesnt_match(["cat", "bird", "dog", "car"]) == "car"


# ---------------------------------------------------------------- growing, attributes


def test_a_table_that_grows():
    """Empty at first, by one word, by many; known words keep their vectors unless they are replaced."""
    kv = KeyedVectors(vector_size=2)
    assert (
        len(kv) == 0 and "a" not in kv and 0 not in kv and kv.vectors.shape == (0, 2) == KeyedVectors(2).vectors.shape
    )
    with pytest.raises(KeyError, match="key: expected a word"):
        kv.most_similar("a")
    assert kv.add_vector("a", [1, 2]) == 0
    kv.add_vectors(["b", "a"], [[3, 4], [9, 9]])
    assert (
        kv.index_to_key == ["a", "b"]
        and kv.vectors.tolist() == [[1, 2], [3, 4]]
        and kv.norms[0] == pytest.approx(5**0.5)
    )
    kv.add_vectors(["b", "c"], np.array([[5, 6], [7, 8]]), extras={"count": [2, 3], "weight": [0.5, 1.5]}, replace=True)
    assert kv.vectors.tolist() == [[1, 2], [5, 6], [7, 8]] and kv.norms[1] == pytest.approx(61**0.5)
    assert (
        kv.counts.tolist() == [0, 2, 3] and kv.get_vecattr("c", "weight") == 1.5 and kv.get_vecattr("a", "weight") == 0
    )
    kv["d"] = [1, 0]
    kv[["a", "e"]] = [[0, 1], [1, 1]]
    assert kv.index_to_key == list("abcde") and kv["a"].tolist() == [0, 1] and 4 in kv and 5 not in kv and -1 not in kv
    assert kv.counts.tolist() == [0, 2, 3, 0, 0] and kv.most_similar("d", topn=1)[0][0] == "e"
    kv.set_vecattr("a", "count", 9)
    kv.sort_by_descending_frequency()
    assert kv.index_to_key == ["a", "c", "b", "e", "d"] and kv["e"].tolist() == [1, 1] and kv.get_index("b") == 2


def test_a_mapped_table_is_copied_when_it_changes(kv, tmp_path):
    kv.save(tmp_path / "v")
    before = (tmp_path / "v").read_bytes()
    for change in (
        lambda mapped: mapped.__setitem__("w0", np.ones(D)),
        lambda mapped: mapped.add_vector("new", np.ones(D)),
        lambda mapped: mapped.unit_normalize_all(),
        lambda mapped: setattr(mapped, "vectors", np.ones((V, D))),
    ):
        mapped = KeyedVectors.load(tmp_path / "v", mmap="r")
        assert isinstance(mapped.vectors, np.memmap)
        change(mapped)
        assert not np.array_equal(mapped.vectors, kv.vectors)
    assert (tmp_path / "v").read_bytes() == before
    with pytest.raises(ValueError, match="mmap: expected"):
        KeyedVectors.load(tmp_path / "v", mmap="w+")


def test_attributes_of_words(kv, tmp_path):
    kv.set_vecattr("w1", "score", 0.5)
    kv.set_vecattr(2, "flag", True)
    assert kv.get_vecattr("w1", "score") == 0.5 and kv.get_vecattr("w0", "score") == 0.0
    assert kv.get_vecattr("w2", "flag") is True and kv.get_vecattr("w1", "flag") is False
    kv.save(tmp_path / "v")
    for mmap in (None, "r"):
        found = KeyedVectors.load(tmp_path / "v", mmap=mmap)
        assert {n: a.tolist() for n, a in found.expandos.items()} == {n: a.tolist() for n, a in kv.expandos.items()}
    kv.save_word2vec_format(tmp_path / "t", tmp_path / "scores", sort_attr="score", prefix="p:")
    assert (tmp_path / "scores").read_text().startswith("p:w1 0.5\np:w0 0.0\n")
    kv.set_vecattr("w1", "note", "seen")
    assert kv.get_vecattr("w1", "note") == "seen" and kv.get_vecattr("w0", "note") is None
    with pytest.raises(ValueError, match="note: expected numbers"):
        kv.save(tmp_path / "v")


CHANGES = {
    "keys: expected words or integers": lambda kv: kv.add_vectors(["new", 3.0], np.ones((2, D))),
    "keys: expected each word once": lambda kv: kv.add_vectors(["new", "new"], np.ones((2, D))),
    r"weights: expected shape \(2, 12\)": lambda kv: kv.add_vectors(["new", "w0"], np.ones((2, 5)), replace=True),
    "weights: expected numbers": lambda kv: kv.add_vectors(["new"], [["x"] * D]),
    "weights: expected rows of one length": lambda kv: kv.add_vectors(["new", "newer"], [[1], [1, 2]]),
    "weights: expected finite float32 numbers for 'newer'": lambda kv: kv.add_vectors(
        ["new", "newer"], [np.ones(D), np.full(D, np.nan)]
    ),
    "weights: expected finite float32 numbers for 'new'": lambda kv: kv.add_vector("new", np.full(D, np.inf)),
    "weights: expected finite float32 numbers for 'w0'": lambda kv: kv.__setitem__("w0", np.full(D, -np.inf)),
    "extras: expected 1 values": lambda kv: kv.add_vectors(["new"], np.ones((1, D)), {"count": [1, 2]}),
    "extras: expected an integer": lambda kv: kv.add_vectors(["new"], np.ones((1, D)), {"count": [1.5]}),
    "key: expected a new word": lambda kv: kv.add_vector("w0", np.ones(D)),
    "keys: expected words or integers, got None": lambda kv: kv.__setitem__([None], np.ones(D)),
    "val: expected an integer as the count": lambda kv: kv.set_vecattr("w0", "count", 2.5),
    "val: expected an integer >= 0": lambda kv: kv.set_vecattr("w0", "count", -1),
    "val: expected one number": lambda kv: kv.set_vecattr("w0", "score", [1, 2]),
    "key: expected a word": lambda kv: kv.set_vecattr("bird", "score", 1),
    "vectors: expected shape": lambda kv: setattr(kv, "vectors", np.ones((V, D + 1))),
    "norms: expected None": lambda kv: setattr(kv, "norms", np.ones(V)),
    "counts: expected": lambda kv: setattr(kv, "counts", [1]),
    "counts: expected integers >= 0, got -2": lambda kv: setattr(kv, "counts", np.arange(-2, V - 2)),
    "index_to_key: expected to be read only": lambda kv: setattr(kv, "index_to_key", []),
    "vector_size: expected to be read only": lambda kv: setattr(kv, "vector_size", 5),
    "vectors_norm: expected an attribute": lambda kv: setattr(kv, "vectors_norm", None),
    "vector: expected an attribute .*vectors": lambda kv: setattr(kv, "vector", None),
    "count: expected 0": lambda kv: KeyedVectors(3, 5),
    "dtype: expected float32": lambda kv: KeyedVectors(vector_size=3, dtype="float16"),
    "vectors, vector_size: expected one of the two, got both": lambda kv: KeyedVectors(
        kv.vectors, ["a"], vector_size=3
    ),
    "vectors, vector_size: expected one of the two, got neither": lambda kv: KeyedVectors(),
    "index_to_key: expected None": lambda kv: KeyedVectors(vector_size=3, index_to_key=["a"]),
    "vector_size: expected an integer >= 1": lambda kv: KeyedVectors(vector_size=0),
    "topn: expected": lambda kv: kv.nearest_rows(np.ones((2, D)), 0),
    "queries: expected shape": lambda kv: kv.nearest_rows(np.ones(D), 2),
    "weights: expected finite": lambda kv: kv.get_mean_vector(["w0"], [np.nan]),
    "positive: expected": lambda kv: kv.most_similar_cosmul(),
    "vectors_all: expected": lambda kv: kv.cosine_similarities(np.ones(3), np.ones((2, 4))),
    "append: expected False": lambda kv: kv.save_word2vec_format("x", append=True),
    "fvocab: expected": lambda kv: kv.save_word2vec_format("x", fvocab="y", sort_attr="none"),
}


@pytest.mark.parametrize("expected", CHANGES)
def test_a_change_that_is_refused_changes_nothing(kv, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [kv.index_to_key.copy(), kv.vectors.copy(), {n: a.copy() for n, a in kv.expandos.items()}]
    with pytest.raises((KeyError, ValueError, TypeError, AttributeError), match=expected) as error:
        CHANGES[expected](kv)
    assert "\n" not in str(error.value)
    assert kv.index_to_key == before[0] and list(kv.key_to_index) == before[0] and not list(tmp_path.iterdir())
    np.testing.assert_array_equal(kv.vectors, before[1])
    np.testing.assert_equal(kv.expandos, before[2])


def test_queries_of_gensim(kv):
    u = kv.get_normed_vectors().astype(np.float64)
    shifted = (1 + u @ u.T) / 2
    expected = shifted[1] * shifted[2] / (shifted[3] + 1e-6)
    order = [i for i in np.argsort(-expected, kind="stable") if i not in (1, 2, 3)][:5]
    found = kv.most_similar_cosmul(["w1", "w2"], "w3", topn=5)
    assert [word for word, _ in found] == [f"w{i}" for i in order]
    np.testing.assert_allclose([score for _, score in found], expected[order], rtol=1e-4)
    np.testing.assert_allclose(kv.most_similar_cosmul(["w1", "w2"], "w3", topn=None), expected, rtol=1e-3)
    assert {word for word, _ in kv.most_similar_cosmul(u[0], topn=9, restrict_vocab=4)} == {"w0", "w1", "w2", "w3"}
    assert kv.most_similar_cosmul("w1", topn=0) == []
    mean = u[[1, 2, 3]].mean(axis=0)
    ranked = kv.rank_by_centrality(["w1", "none", "w2", "w3"])
    np.testing.assert_allclose(
        [value for value, _ in ranked], np.sort(u[1:4] @ mean / np.linalg.norm(mean))[::-1], atol=1e-6
    )
    near = np.sort(np.delete(u @ u[1], 1))[::-1][:10].sum()
    assert kv.relative_cosine_similarity("w1", "w2") == pytest.approx(u[1] @ u[2] / near, abs=1e-6)
    np.testing.assert_allclose(kv.cosine_similarities(kv["w1"], kv.vectors), u @ u[1], atol=1e-6)
    assert kv.n_similarity(["w1", "none"], ["w3"]) == kv.n_similarity(["w1"], ["w3"])
    assert kv.n_similarity(["none"], ["w3"]) == 0.0
    part = kv.vectors_for_all(["w5", "none", "w2", "w5", 3], copy_vecattrs=True)
    assert part.index_to_key == ["w5", "w2", 3] and part.counts.tolist() == kv.counts[[5, 2, 3]].tolist()
    np.testing.assert_array_equal(part.vectors, kv.vectors[[5, 2, 3]])
    before = kv.vectors.copy()
    kv.init_sims()
    np.testing.assert_array_equal(kv.vectors, before)
    for normalize in (lambda: kv.init_sims(replace=True), kv.unit_normalize_all):
        kv.vectors = before.copy()
        normalize()
        np.testing.assert_allclose(kv.vectors, u, atol=1e-6)


# ---------------------------------------------------------------- tests of vectors


@pytest.fixture
def grid():
    """Vectors whose analogies are known: a row for each pair, a column for the role."""
    topics = np.eye(4)
    rows = [np.append(topic, role) for topic in topics for role in (0.0, 1.0)]
    words = [f"{name}{role}" for name in "PQRS" for role in ("", "s")]
    return KeyedVectors(np.array(rows), words)


def test_analogies(grid, tmp_path):
    path = tmp_path / "questions"
    path.write_text(": plural\nP Ps Q Qs\nr rs s ss\nP Ps Q Rs\nP Ps X Xs\nnot four\n: empty\n: other\nPs P Qs Q\n")
    score, sections = grid.evaluate_word_analogies(path)
    assert [one["section"] for one in sections] == ["plural", "empty", "other", "Total accuracy"]
    assert sections[0]["correct"] == [("P", "PS", "Q", "QS"), ("R", "RS", "S", "SS")]
    assert sections[0]["incorrect"] == [("P", "PS", "Q", "RS")]
    assert score == 3 / 4 == len(sections[-1]["correct"]) / 4
    assert grid.evaluate_word_analogies(path, dummy4unknown=True)[0] == 3 / 5
    assert grid.evaluate_word_analogies(path, case_insensitive=False)[0] == 2 / 3
    assert grid.evaluate_word_analogies(path, restrict_vocab=4)[1][0]["correct"] == [("P", "PS", "Q", "QS")]
    assert grid.evaluate_word_analogies({"one": [("P", "Ps", "R", "Rs")]})[0] == 1
    assert grid.evaluate_word_analogies({"one": [("X", "Ps", "R", "Rs")]})[0] == 0


def test_other_spellings_are_no_answers():
    """ROME, the capital of nothing, is nearest to the query but is another spelling of c."""
    kv = KeyedVectors(
        [[1, 0, 0], [1, 0, 1], [0, 1, 0], [0.1, 1, 0.98], [0, 1, 1.0]], ["Greece", "Athens", "Italy", "Rome", "ITALY"]
    )
    question = {"capitals": [("Greece", "Athens", "Italy", "Rome")]}
    assert kv.evaluate_word_analogies(question)[0] == 1
    assert kv.evaluate_word_analogies(question, case_insensitive=False)[0] == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a b c d\n", "line 1: expected ': section' before"),
        (b": x\na b\n", "expected lines of four words, got none"),
        (b"", "expected lines of four words, got none"),
        (b": x\n\xff\n", "expected UTF-8 text"),
    ],
)
def test_bad_questions(grid, tmp_path, content, expected):
    (tmp_path / "questions").write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        grid.evaluate_word_analogies(tmp_path / "questions")


def test_pairs(kv, tmp_path):
    path = tmp_path / "pairs"
    lines = [
        "# comment",
        "w1\tw2\t1.5",
        "W3\tw4\t2",
        "w5\tw6\t9",
        "w7\tnone\t5",
        "head\tline\tscore",
        "bad",
        "w8\tw9\t2",
    ]
    path.write_text("\n".join(lines))
    gold, model = [1.5, 2, 9, 2], [kv.similarity(f"w{i}", f"w{i + 1}") for i in (1, 3, 5, 8)]
    linear, ranked, unknown = kv.evaluate_word_pairs(path)
    assert unknown == 20 and linear[0] == pytest.approx(np.corrcoef(gold, model)[0, 1])
    ranks = [1, 2.5, 4, 2.5], [sorted(model).index(one) + 1 for one in model]
    assert ranked[0] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    linear, _, unknown = kv.evaluate_word_pairs(path, dummy4unknown=True)
    gold, model = [*gold, 5], [*model, 0]
    assert unknown == 20 and linear[0] == pytest.approx(np.corrcoef(gold, model)[0, 1])
    assert kv.evaluate_word_pairs(path, case_insensitive=False)[2] == 40
    path.write_text("x\ty\t1\n")
    with pytest.raises(ValueError, match=r"got none \(1 with unknown words\)"):
        kv.evaluate_word_pairs(path)
    path.write_text("w1;w2;1\nw3;w4;2\n")
    assert abs(kv.evaluate_word_pairs(path, delimiter=";")[0][0]) == pytest.approx(1)


def test_correlations():
    assert math.isnan(evaluation.pearson([1, 1], [1, 2])[0]) and math.isnan(evaluation.pearson([1], [1])[0])
    assert evaluation.spearman([1, 2, 3], [1, 4, 9])[0] == pytest.approx(1)
    stats = pytest.importorskip("scipy.stats")
    x, y = np.random.default_rng(0).normal(size=(2, 30)).round(1)
    np.testing.assert_allclose(evaluation.pearson(x, y), tuple(stats.pearsonr(x, y)), rtol=1e-9)
    np.testing.assert_allclose(evaluation.spearman(x, y), tuple(stats.spearmanr(x, y)), rtol=1e-9)


# ---------------------------------------------------------------- as a layer


def test_embedding_matrix(kv):
    matrix, missing = kv.embedding_matrix(Vocabulary(["w3", "bird", "w1"]))
    np.testing.assert_array_equal(matrix, [kv["w3"], np.zeros(D), kv["w1"]])
    assert missing == ["bird"]
    words = [f"w{i}" for i in range(V)] + [f"x{i}" for i in range(5000)]
    one, other = (kv.embedding_matrix(words, "random", seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one[V:].std(axis=0), kv.vectors.std(axis=0), rtol=0.05)
    assert one.dtype == np.float32 and kv.embedding_matrix(["x"], "random")[0].any()


def test_embedding_learns_only_if_it_may(kv):
    for trainable in (False, True):
        layer = kv.to_embedding(trainable=trainable)
        model = sc.Sequential([layer, sc.layers.Flatten(), sc.layers.Dense(1)])
        model.compile(sc.optimizers.SGD(0.1), "mse")
        before = kv.vectors.copy()
        model.fit(np.array([[1, 2], [3, 4]]), np.ones((2, 1), np.float32), epochs=1, verbose=0)
        changed = (layer.embeddings.numpy() != before).any(axis=1)
        assert set(np.flatnonzero(changed)) == ({1, 2, 3, 4} if trainable else set())
        np.testing.assert_array_equal(kv.vectors, before)


# ---------------------------------------------------------------- gensim


@pytest.fixture
def both(kv, tmp_path):
    gensim = pytest.importorskip("gensim")
    kv.vectors[7] += 0.1  # gensim leaves the order of ties to chance
    kv.save_word2vec_format(tmp_path / "v")
    return kv, gensim.models.KeyedVectors.load_word2vec_format(str(tmp_path / "v"))


def test_gensim_reads_and_writes_the_same_files(both, tmp_path):
    ours, theirs = both
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)
    for binary in (False, True):
        theirs.save_word2vec_format(str(tmp_path / "t"), binary=binary)
        found = KeyedVectors.load_word2vec_format(tmp_path / "t", binary=binary)
        np.testing.assert_array_equal(found.vectors, ours.vectors)
        ours.save_word2vec_format(tmp_path / "o", binary=binary)
        back = type(theirs).load_word2vec_format(str(tmp_path / "o"), binary=binary)
        np.testing.assert_array_equal(back.vectors, ours.vectors)


def test_gensim_says_the_same(both, tmp_path, rng):
    ours, theirs = both
    for options in (
        {"positive": ["w1", "w2"], "negative": ["w3"]},
        {"positive": [("w1", 0.5), "w2"], "negative": [np.ones(D, np.float32)], "restrict_vocab": 100},
        {"positive": "w9", "topn": 3, "clip_start": 20, "clip_end": 50},
    ):
        one, other = ours.most_similar(**options), theirs.most_similar(**options)
        assert [word for word, _ in one] == [word for word, _ in other]
        np.testing.assert_allclose([v for _, v in one], [v for _, v in other], atol=1e-6)
    words = ["w1", "w20", "w33", "none", "w4"]
    assert ours.doesnt_match(words) == theirs.doesnt_match(words)
    assert ours.rank("w1", "w2") == theirs.rank("w1", "w2")
    assert ours.n_similarity(words[:3], ["w5"]) == pytest.approx(
        float(theirs.n_similarity(words[:3], ["w5"])), abs=1e-6
    )
    (tmp_path / "pairs").write_text("".join(f"w{i}\t{'wW'[i % 2]}{i + 1}\t{i * 7 % 11}\n" for i in range(310)))
    (tmp_path / "questions").write_text(
        ": one\n" + "".join(f"w{a} {'wW'[a % 2]}{b} w{c} w{d}\n" for a, b, c, d in rng.integers(0, 310, (300, 4)))
    )
    for options in ({}, {"dummy4unknown": True}, {"case_insensitive": False}, {"restrict_vocab": 100}):
        one, other = (kv.evaluate_word_pairs(str(tmp_path / "pairs"), **options) for kv in both)
        np.testing.assert_allclose(
            np.hstack(one), np.hstack([tuple(part) if np.ndim(part) else part for part in other]), rtol=1e-5
        )
        one, other = (kv.evaluate_word_analogies(str(tmp_path / "questions"), **options) for kv in both)
        assert one == other
