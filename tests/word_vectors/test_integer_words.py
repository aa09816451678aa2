"""Integers as words, such as the numbers of nodes: an integer that is no word means a row, as in gensim."""

import itertools

import numpy as np
import pytest

from seqcore import KeyedVectors, Word2Vec, saving
from tests.helpers.refusals import refused

SMALL = dict(vector_size=6, min_count=1, workers=1, epochs=2, window=2)


@pytest.fixture
def walks(rng):
    return rng.integers(0, 20, (40, 12)) ** 2


def test_integers_train_as_their_texts_do(walks):
    """The same vocabulary, vectors and answers, whatever integers the words are."""
    texts = [[str(node) for node in walk] for walk in walks]
    strings = Word2Vec(texts, **SMALL)
    for given in (walks, walks.tolist(), iter(walks), walks.astype(np.uint16)):
        model = Word2Vec(given, **SMALL)
        assert model.words == [int(word) for word in strings.words]
        assert set(map(type, model.words)) == {int}
        np.testing.assert_array_equal(model.wv.vectors, strings.wv.vectors)
        np.testing.assert_array_equal(model.counts, strings.counts)
    for node in (0, np.int64(81)):
        np.testing.assert_array_equal(model.wv[node], strings.wv[str(node)])
        near = [(str(word), cosine) for word, cosine in model.wv.most_similar(node, topn=5)]
        assert near == strings.wv.most_similar(str(node), topn=5)
    predicted = strings.predict_output_word(["0", "4"], topn=3)
    assert model.predict_output_word([0, 4], topn=3) == [(int(word), chance) for word, chance in predicted]
    counts = dict(zip(model.words, model.counts.tolist()))
    fresh = Word2Vec(**SMALL)
    fresh.build_vocab_from_freq(counts)
    assert fresh.words == model.words
    fresh.build_vocab([[-5, -5, 0]], update=True)
    assert fresh.words == [*model.words, -5] and fresh.wv.get_vecattr(0, "count") == counts[0] + 1


def test_words_and_integers_are_different_words(tmp_path):
    model = Word2Vec([[1, "1", 2, "a"], [1, 2, 1, " 1", "\xff1"]] * 5, **SMALL)
    assert len(model.words) == 6 and {1, "1", " 1", 2} <= set(model.words)
    assert model.wv.get_vecattr(1, "count") == 15 and model.wv.get_vecattr("1", "count") == 5
    (tmp_path / "corpus").write_text("1 a 1\n")
    corpus = model.encode(corpus_file=tmp_path / "corpus")
    assert [model.words[row] for row in corpus.ids] == ["1", "a", "1"]  # words of a text are never integers


def test_rules_see_integers(walks):
    seen = []
    Word2Vec(walks, **SMALL, trim_rule=lambda word, count, least: seen.append(type(word)))
    assert set(seen) == {int}


def test_integers_come_before_rows():
    kv = KeyedVectors([[1, 0], [0, 1], [1, 1]], ["a", 0, 7])
    assert kv[0].tolist() == [0, 1] and kv[1].tolist() == [0, 1] and kv[2].tolist() == [1, 1] == kv[7].tolist()
    assert [key in kv for key in (0, 2, 3, 7, -1, "0")] == [True, True, False, True, False, False]
    assert kv.get_index(0) == 1 and kv.get_index(np.int64(7)) == 2 and kv.get_index(3, -1) == -1
    kv[2] = [5, 5]
    assert kv.index_to_key == ["a", 0, 7, 2] and kv[2].tolist() == [5, 5]
    kv[np.array([0, 9])] = [[2, 2], [3, 3]]
    assert kv.index_to_key == ["a", 0, 7, 2, 9] and kv[[0, 9]].tolist() == [[2, 2], [3, 3]]
    assert kv.add_vector(11, [0, 1]) == 5 and kv.vectors_for_all([11, "a"]).index_to_key == [11, "a"]
    assert "got 11; vectors[11] = vector" in refused("key", kv.add_vector, 11, [0, 1])
    refused("keys", kv.add_vectors, [12, 12], [[0, 1], [0, 1]])
    for wrong in (1.5, None, True, b"a", (1, 2)):
        refused("keys", kv.add_vectors, [wrong], [[0, 1]])
        refused("sentences", Word2Vec, [[1, wrong]], min_count=1)


def test_files_keep_integers(walks, tmp_path):
    mixed = [[*walk, "end"] for walk in walks.tolist()]
    model = Word2Vec(mixed, **SMALL)
    words = model.words
    assert {type(word) for word in words} == {int, str}
    model.save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    assert again.words == words and list(map(type, again.words)) == list(map(type, words))
    model.wv.save(tmp_path / "kv")
    for mmap in (None, "r"):
        kv = KeyedVectors.load(tmp_path / "kv", mmap=mmap)
        assert kv.index_to_key == words and list(map(type, kv.index_to_key)) == list(map(type, words))
    model.wv.save_word2vec_format(tmp_path / "text", tmp_path / "counts", prefix="n")  # which has texts only
    kv = KeyedVectors.load_word2vec_format(tmp_path / "text", tmp_path / "counts")
    assert kv.index_to_key == [f"n{word}" for word in words] and kv.counts.tolist() == model.counts.tolist()
    huge = KeyedVectors([[1], [2]], [10**30, -1])
    huge.save(tmp_path / "huge")
    assert KeyedVectors.load(tmp_path / "huge").index_to_key == [10**30, -1]


@pytest.mark.parametrize("rows", [np.array([0.5]), np.array([9]), np.array([[0]]), np.array([1])])
def test_damaged_rows_of_integers(rows, tmp_path):
    """Rows that are not there, and a row whose word is no number."""
    KeyedVectors([[1], [2]], [5, "a"]).save(tmp_path / "kv")
    tensors, tags = saving.read_tensors(tmp_path / "kv")
    saving.write_tensors(tmp_path / "bad", {**tensors, "integer_words": rows}, tags)
    with pytest.raises(ValueError, match="bad: expected integers in the rows of 'integer_words'"):
        KeyedVectors.load(tmp_path / "bad")


def test_evaluation_leaves_out_integers(tmp_path):
    kv = KeyedVectors(np.eye(3), ["a", 1, "b"])
    (tmp_path / "pairs").write_text("a\tB\t1\na\t1\t2\nb\ta\t3\n")
    assert kv.evaluate_word_pairs(tmp_path / "pairs")[2] == pytest.approx(100 / 3)
    assert kv.evaluate_word_analogies({"one": [("a", "b", "a", "1")]})[0] == 0
    matrix, missing = kv.embedding_matrix(["b", 1, 2])
    assert matrix.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]] and missing == [2]


def test_a_graph_of_two_communities():
    """Vectors of nodes from random walks: most neighbours of a node are of its own community."""
    rng = np.random.default_rng(1)
    community = np.arange(40) // 20
    chance = np.where(community[:, None] == community, 0.3, 0.01)
    edges = np.triu(rng.random((40, 40)) < chance, 1)
    near = [np.flatnonzero(row) for row in edges | edges.T]
    walks = []
    for start in itertools.chain(*[range(40)] * 30):
        walk = [start]
        while len(walk) < 20 and len(near[walk[-1]]):
            walk.append(int(rng.choice(near[walk[-1]])))
        walks.append(walk)
    model = Word2Vec(walks, vector_size=16, min_count=1, sg=1, workers=1, epochs=5, seed=1)
    same = [community[word] == community[node] for node in range(40) for word, _ in model.wv.most_similar(node, topn=5)]
    assert np.mean(same) > 0.95
