"""Corpora of Word2Vec: sentences from lists or from a file, counted, and as ids of a vocabulary.

N: words of a text, S: its sentences.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from .._core.corpus import count_words, encode_words
from .._foreign_files import describe_foreign_file
from .._validation import short_repr
from ..text.files import path_of
from ..text.vocabulary import number_tokens
from ..typing import Array, Ids
from .keys import Key, as_keys
from .settings import Settings

Sentences = Iterable[Sequence[Key]]
TrimRule = Callable[[Any, int, int], int | None]

LONGEST = 10_000
"""Words of a sentence; longer ones are cut."""


@dataclass
class Corpus:
    """Sentences as ids of a vocabulary.

    Attributes:
        ids: (N,) int32, the words that are in the vocabulary, sentence after sentence.
        offsets: (S + 1,) int64, where each sentence starts and the last one ends.
        total_words: words of the text, those outside the vocabulary included.
        total_sentences: sentences of the text; None counts those here, without words of the vocabulary there are none.
    """

    ids: Ids
    offsets: Array
    total_words: int
    total_sentences: int | None = None

    @property
    def sentences(self) -> int:
        """Sentences of the text."""
        return len(self.offsets) - 1 if self.total_sentences is None else self.total_sentences

    def check(self, size: int) -> None:
        """Raise ValueError unless this is a corpus over a vocabulary of that size."""
        for name, array, dtype in (("ids", self.ids, np.int32), ("offsets", self.offsets, np.int64)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise ValueError(f"corpus: expected {name} as encode makes them, got {short_repr(array)}")
        if not len(self.ids):
            raise ValueError("corpus: expected words of the vocabulary, got none")
        low, high = int(self.ids.min()), int(self.ids.max())
        if low < 0 or high >= size:
            raise ValueError(f"corpus: expected word numbers 0...{size - 1} of this vocabulary, got {low}...{high}")
        ends = self.offsets[[0, -1]].tolist() if len(self.offsets) else []
        if ends != [0, len(self.ids)] or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"corpus: expected offsets that rise from 0 to {len(self.ids)}, got others")


@dataclass
class CountedText:
    """A text whose words are counted, before the model has its vocabulary.

    Attributes:
        words, counts: its different words in the order of their first appearance, and how often each comes.
        ids, offsets: (N,) rows of ``words``, (S + 1,) where its sentences start and end; None for a file:
        path: the file that contains it.
    """

    words: list[Any]
    counts: Array
    ids: Ids | None = None
    offsets: Array | None = None
    path: str | None = None

    def encode(self, words: Sequence[Key]) -> Corpus:
        """The text as ids of a vocabulary; words outside are left out."""
        if self.path is not None:
            corpus = encode_file(self.path, words)
            counted, total = int(self.counts.sum()), corpus.total_words
            if total != counted:
                raise ValueError(
                    f"corpus_file: expected a file that stays as it is, got {self.path!r} of {counted} words and "
                    f"then {total}"
                )
            return corpus
        assert self.ids is not None and self.offsets is not None
        rows = dict(zip(words, range(len(words))))
        ids = np.fromiter(map(rows.get, self.words, repeat(-1)), np.int32, len(self.words))[self.ids]
        known = np.concatenate([[0], np.cumsum(ids >= 0)])
        return Corpus(ids[ids >= 0], _split_long(known[self.offsets]), len(ids), len(self.offsets) - 1)


def read(sentences: Any, corpus_file: Any, name: str = "sentences") -> CountedText:
    """Count the words of lists, or of a file; ``name`` is that of the argument with the lists.

    Raises:
        TypeError: both or neither, or something other than lists of words.
        ValueError: no words, or a file that is not text or cannot be read.
    """
    check_one(sentences, corpus_file, name)
    if corpus_file is None:
        words, counted, ids, offsets = number_tokens(_checked(sentences, name))
        return CountedText(words, counted, ids, offsets)
    path = path_of(corpus_file, "corpus_file")
    try:
        raw, counts = count_words(path)
    except ValueError:
        foreign = describe_foreign_file(path) if os.path.exists(path) else None
        if foreign is None:
            raise
        raise ValueError(f"corpus_file: expected plain text, got {path!r}, {foreign}") from None
    if not raw:
        raise ValueError(f"corpus_file: expected words, got none in {path!r}")
    try:
        words = [word.decode() for word in raw]
    except UnicodeDecodeError as error:
        raise ValueError(f"corpus_file: expected UTF-8 text, got {error.object[:20]!r} in {path!r}") from None
    return CountedText(words, counts, path=path)


def encode_file(path: str, words: Sequence[Key]) -> Corpus:
    """A file as ids of a vocabulary."""
    # Unlike those of a UTF-8 text, words from lists may hold a lone surrogate or white space. An integer is no word of
    # a file: its bytes have white space, as no word of a file has, and \xff, as no text has.
    texts = [word.encode("utf-8", "surrogatepass") if isinstance(word, str) else b" \xff%d" % word for word in words]
    return Corpus(*encode_words(path, texts, LONGEST))


def check_one(sentences: Any, corpus_file: Any, name: str) -> None:
    """Raise TypeError unless one of the two is given."""
    if (sentences is None) == (corpus_file is None):
        given = "neither" if sentences is None else "both"
        raise TypeError(f"{name}, corpus_file: expected one of the two, got {given}")


def choose_words(text: CountedText, settings: Settings, rule: TrimRule | None, needed: bool) -> tuple[list[int], int]:
    """The words of a text that make a vocabulary.

    Args:
        text: the text.
        settings: ``min_count`` and ``max_final_vocab``.
        rule: decides on single words (``trim_rule``).
        needed: no words are an error.

    Returns:
        Rows of ``text.words``, the most frequent word first, words of equal count in the order of their first
        appearance; and the count that they must have.

    Raises:
        ValueError: no words, where they are needed.
    """
    words, counts, least, most = text.words, text.counts, settings.min_count, settings.max_final_vocab
    order = np.argsort(-counts, kind="stable")
    if most is not None:
        # Of words that come equally often all stay or none.
        least = max(1, least, int(counts[order[most]]) + 1 if most < len(words) else 0)
    if rule is None:
        chosen = order[counts[order] >= least].tolist()
    else:
        chosen = [n for n in order.tolist() if _stays(rule, words[n], int(counts[n]), least)]
    if needed and not chosen:
        raised = f", as max_final_vocab={most} wants" if least > settings.min_count else ""
        raise ValueError(
            f"min_count: expected words that come {least} times{raised}, got none; the most frequent, "
            f"{short_repr(words[order[0]])}, comes {int(counts[order[0]])} times"
        )
    return chosen, least


def _stays(rule: TrimRule, word: Key, count: int, least: int) -> bool:
    """The rule's answer: 1 (no), 2 (yes), or 0 or None (if the word comes often enough)."""
    if not callable(rule):
        raise TypeError(f"trim_rule: expected a function of word, count and min_count, got {short_repr(rule)}")
    answer = rule(word, count, least)
    if answer is not None and answer not in (0, 1, 2):
        raise ValueError(
            f"trim_rule: expected 0, 1 or 2 as gensim.utils has them, got {short_repr(answer)} for {short_repr(word)}"
        )
    return answer == 2 or (answer != 1 and count >= least)


def _checked(sentences: Any, name: str) -> Iterator[list[Any]]:
    """The sentences as lists of words; errors name the argument."""
    if isinstance(sentences, (str, bytes)):
        raise TypeError(f"{name}: expected lists of words, got one text; split it, or give corpus_file")
    try:
        numbered = enumerate(sentences)
    except TypeError:  # an array of rank 0
        raise TypeError(f"{name}: expected lists of words, got {short_repr(sentences)}") from None
    empty = True
    for number, sentence in numbered:
        if isinstance(sentence, (str, bytes)):
            raise TypeError(f"{name}: expected lists of words, got the text {sentence[:30]!r}; split it into words")
        if not isinstance(sentence, Iterable):
            raise TypeError(f"{name}: expected lists of words, got {short_repr(sentence)} as number {number}")
        words = as_keys(name, sentence, f" in sentence {number}")
        empty = empty and not words
        yield words
    if empty:
        raise ValueError(f"{name}: expected words, got none")


def _split_long(offsets: Array) -> Array:
    """Offsets without empty sentences, those of long ones split."""
    ends = [0]
    for end in np.unique(offsets)[1:].tolist():
        ends += range(ends[-1] + LONGEST, end, LONGEST)
        ends.append(end)
    return np.array(ends, np.int64)
