"""Texts as numbers for Word2Vec: sentences from lists or from a file, counted and renumbered.

N, S: words and sentences of a text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._files import describe_foreign_file
from .._validation import short_repr
from ..text.files import path_of
from ..typing import Array

Sentences = Iterable[Sequence[str]]
TrimRule = Callable[[str, int, int], int | None]

LONGEST = 10_000
"""Words of a sentence; longer ones are cut."""


@dataclass
class Corpus:
    """Sentences as numbers.

    Attributes:
        ids: (N,) int32, the words that are in the vocabulary, sentence after sentence.
        offsets: (S + 1,) int64, where each sentence starts and the last one ends.
        total_words: words of the text, those outside the vocabulary included.
        total_sentences: sentences of the text; None counts those here, without words of the vocabulary there are none.
    """

    ids: Array
    offsets: Array
    total_words: int
    total_sentences: int | None = None

    @property
    def sentences(self) -> int:
        """Sentences of the text."""
        return len(self.offsets) - 1 if self.total_sentences is None else self.total_sentences

    def check(self, words: int) -> None:
        """Raises ValueError unless this is a text over a vocabulary of so many words."""
        for name, array, dtype in (("ids", self.ids, np.int32), ("offsets", self.offsets, np.int64)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise ValueError(f"corpus: expected {name} as encode makes them, got {short_repr(array)}")
        if not len(self.ids):
            raise ValueError("corpus: expected words of the vocabulary, got none")
        low, high = int(self.ids.min()), int(self.ids.max())
        if low < 0 or high >= words:
            raise ValueError(f"corpus: expected word numbers 0...{words - 1} of this vocabulary, got {low}...{high}")
        ends = self.offsets[[0, -1]].tolist() if len(self.offsets) else []
        if ends != [0, len(self.ids)] or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"corpus: expected offsets that rise from 0 to {len(self.ids)}, got others")


@dataclass
class Text:
    """A text whose words are counted, before there is a vocabulary.

    Attributes:
        words, counts: its different words and how often they come.
        path: the file it stands in; without one:
        ids, offsets: (N,) numbers into ``words``, (S + 1,) where its sentences start and end.
    """

    words: list[str]
    counts: Array
    path: str | None = None
    ids: Array | None = None
    offsets: Array | None = None

    def encode(self, vocabulary: list[str]) -> Corpus:
        """The text as numbers of a vocabulary; other words are left out."""
        if self.path is not None:
            corpus = encode_file(self.path, vocabulary)
            counted, total = int(self.counts.sum()), corpus.total_words
            if total != counted:
                raise ValueError(
                    f"corpus_file: expected a file that stays as it is, got {self.path!r} of {counted} words and "
                    f"then {total}"
                )
            return corpus
        assert self.ids is not None and self.offsets is not None
        known = {word: row for row, word in enumerate(vocabulary)}
        found = np.array([known.get(word, -1) for word in self.words], np.int32)[self.ids]
        kept = np.concatenate([[0], np.cumsum(found >= 0)])
        return Corpus(found[found >= 0], _cut(kept[self.offsets]), len(self.ids), len(self.offsets) - 1)


def kept(rule: TrimRule, word: str, count: int, least: int) -> bool:
    """Whether a word stays: the rule says 1 (no), 2 (yes) or 0 or None (if it comes often enough)."""
    if not callable(rule):
        raise TypeError(f"trim_rule: expected a function of word, count and min_count, got {short_repr(rule)}")
    answer = rule(word, count, least)
    if answer is not None and answer not in (0, 1, 2):
        raise ValueError(
            f"trim_rule: expected 0, 1 or 2 as gensim.utils has them, got {short_repr(answer)} for {short_repr(word)}"
        )
    return answer == 2 or (answer != 1 and count >= least)


def read(sentences: Any, corpus_file: Any, name: str = "sentences") -> Text:
    """Counts the words of lists, or of a file; ``name`` is that of the argument with the lists.

    Raises:
        TypeError: both or neither, or something other than lists of words.
        ValueError: no words, or a file that is no text or cannot be read.
    """
    check_one(sentences, corpus_file, name)
    if corpus_file is None:
        return _number(sentences, name)
    path = path_of(corpus_file, "corpus_file")
    try:
        raw, counts = _core.count_words(path)
    except ValueError:
        foreign = describe_foreign_file(path) if os.path.exists(path) else None
        if foreign is None:
            raise
        raise ValueError(f"corpus_file: expected plain text, got {path!r}, {foreign}") from None
    if not raw:
        raise ValueError(f"corpus_file: expected words, got none in {path!r}")
    try:
        return Text([word.decode() for word in raw], counts, path)
    except UnicodeDecodeError as error:
        raise ValueError(f"corpus_file: expected UTF-8 text, got {error.object[:20]!r} in {path!r}") from None


def encode_file(path: str, vocabulary: list[str]) -> Corpus:
    """A file as numbers of a vocabulary."""
    # Words from lists may hold what no UTF-8 text does: a lone surrogate, white space.
    return Corpus(*_core.encode_words(path, [word.encode("utf-8", "surrogatepass") for word in vocabulary], LONGEST))


def check_one(sentences: Any, corpus_file: Any, name: str) -> None:
    """Raises TypeError unless one of the two is given."""
    if (sentences is None) == (corpus_file is None):
        given = "neither" if sentences is None else "both"
        raise TypeError(f"{name}, corpus_file: expected one of the two, got {given}")


def _number(sentences: Any, name: str) -> Text:
    """Numbers words in the order of their first appearance."""
    if isinstance(sentences, (str, bytes)):
        raise TypeError(f"{name}: expected lists of words, got one text; split it, or give corpus_file")
    numbers: dict[str, int] = {}
    ids: list[int] = []
    offsets = [0]
    try:
        walk = iter(sentences)
    except TypeError:  # an array of rank 0
        raise TypeError(f"{name}: expected lists of words, got {short_repr(sentences)}") from None
    for sentence in walk:
        if isinstance(sentence, (str, bytes)):
            raise TypeError(f"{name}: expected lists of words, got the text {sentence[:30]!r}; split it into words")
        if not isinstance(sentence, Iterable):
            raise TypeError(f"{name}: expected lists of words, got {short_repr(sentence)} as number {len(offsets) - 1}")
        for word in sentence:
            if not isinstance(word, str):
                raise TypeError(f"{name}: expected words, got {short_repr(word)} in sentence {len(offsets) - 1}")
            ids.append(numbers.setdefault(word, len(numbers)))
        offsets.append(len(ids))
    if not ids:
        raise ValueError(f"{name}: expected words, got none")
    text = np.array(ids, np.int64)
    return Text(list(numbers), np.bincount(text).astype(np.int64), None, text, np.array(offsets, np.int64))


def _cut(offsets: Array) -> Array:
    """Offsets without empty sentences, those of long ones cut."""
    found = [0]
    for end in np.unique(offsets)[1:].tolist():
        found += range(found[-1] + LONGEST, end, LONGEST)
        found.append(end)
    return np.array(found, np.int64)
