"""The built-in corpus of word vectors: seeded, its words, its questions, and that its relations are in the text."""

import collections

import numpy as np
import pytest

from seqcore import KeyedVectors
from seqcore.datasets import relations
from seqcore.word_vectors import evaluation

WORDS = 200_000


@pytest.fixture(scope="module")
def text():
    return relations.sentences(WORDS, seed=3)


def test_seeded(text):
    assert relations.sentences(WORDS, seed=3) == text
    assert relations.sentences(1000, seed=4) != relations.sentences(1000, seed=3)
    short = relations.sentences(1000, seed=3)
    assert text[: len(short)] == short
    for sentences, words in ((text, WORDS), (short, 1000)):
        count = sum(map(len, sentences))
        assert words <= count < words + len(sentences[-1])


def test_words_have_one_meaning():
    """No word belongs to two lists: a relation that fails would otherwise be the corpus's fault."""
    names, tables = relations._tables()
    roles = sum((lists.split() for pair in relations._ROLES.values() for lists in pair), [])
    pairs = [word for members in relations.PAIRS.values() for pair in members for word in pair]
    topics = [word for pair in range(len(pairs) // 2) for word in relations.topic_words(pair)]
    everything = roles + pairs + topics + relations._FILLERS
    assert len(set(everything)) == len(everything) == len(names)
    assert set(names) == set(everything) and len(pairs) >= 80 and len(tables["X"]) == len(pairs) // 2


def test_every_word_occurs(text):
    counts = collections.Counter(word for sentence in text for word in sentence)
    asked = {word for section in relations.questions().values() for question in section for word in question}
    assert min(counts[word] for word in asked) > 100
    assert set(counts) == set(relations._tables()[0])


def test_questions(tmp_path):
    asked = relations.questions()
    assert sum(map(len, asked.values())) > 500 and set(asked) == set(relations.PAIRS)
    for name, section in asked.items():
        truth = dict(relations.PAIRS[name])
        assert len(set(section)) == len(section) == len(truth) * (len(truth) - 1)
        assert all(truth[a] == b and truth[c] == d and a != c for a, b, c, d in section)
    relations.write_questions(tmp_path / "questions")
    assert evaluation.read_questions(tmp_path / "questions") == asked


def test_file(tmp_path):
    relations.write_sentences(tmp_path / "text", 5000, seed=3)
    lines = (tmp_path / "text").read_text().split("\n")
    assert lines.pop() == "" and [line.split(" ") for line in lines] == relations.sentences(5000, seed=3)


def test_relations_are_in_the_text(text):
    """Vectors of counted neighbours (PMI, windows of one word) answer the questions: the truth is there to be found."""
    names = sorted({word for sentence in text for word in sentence})
    number = {word: i for i, word in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    for sentence in text:
        ids = [number[word] for word in sentence]
        np.add.at(counts, (ids[:-1], ids[1:]), 1)
    counts += counts.T
    expected = np.outer(counts.sum(axis=0), counts.sum(axis=0)) / counts.sum()
    pmi = np.log(np.maximum(counts / expected, 1e-9)).clip(0)
    score, sections = KeyedVectors(pmi, names).evaluate_word_analogies(relations.questions())
    assert score > 0.9, [(one["section"], len(one["correct"]), len(one["incorrect"])) for one in sections]


@pytest.mark.parametrize(("words", "seed"), [(0, 1), (10, -1)])
def test_bad_arguments(words, seed):
    with pytest.raises(ValueError, match="expected an integer"):
        relations.sentences(words, seed)
