"""Tokenizer: words, characters and bigrams, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcore.text.tokenizer import Tokenizer
from seqcore.text.vocabulary import Vocabulary


@given(st.text(), st.integers(1, 5))
def test_characters_there_and_back(text, size):
    tokens = Tokenizer(size).split(text)
    joined = Tokenizer(size).join(tokens)
    assert all(len(one) == size for one in tokens)
    padding = len(joined) - len(text)
    assert 0 <= padding < size and joined == " " * padding + text


@given(st.lists(st.text("abc", min_size=1)))
def test_words_there_and_back(words):
    assert Tokenizer().split("  ".join(words)) == words
    assert Tokenizer().split(Tokenizer().join(words)) == words


def test_lower_case_comes_first():
    assert Tokenizer(2, lower=True).split("The END") == [" t", "he", " e", "nd"]
    assert Tokenizer(0, lower=True).split("The END") == ["the", "end"]


def test_unknown_runs_are_named():
    vocabulary = Vocabulary(["<unk>", "th", "e "], "<unk>")
    assert Tokenizer(2).known("the the ", vocabulary) == ["th", "e ", "th", "e "]
    with pytest.raises(ValueError, match="^--prompt: expected bigrams that the model knows, got 'xy'$"):
        Tokenizer(2).known("the xy", vocabulary, "--prompt")
    with pytest.raises(ValueError, match="runs of 3 characters"):
        Tokenizer(3).known("the", vocabulary)
    assert Tokenizer().known("words outside", vocabulary) == ["words", "outside"]


def test_config():
    for one in (Tokenizer(), Tokenizer(2, lower=True)):
        assert Tokenizer.from_dict(one.to_dict()) == one
    assert Tokenizer.from_dict(None) == Tokenizer()
    for bad in ("x", {}, {"characters": -1, "lower": False}, {"characters": "2", "lower": False}):
        with pytest.raises(ValueError, match="expected"):
            Tokenizer.from_dict(bad)
