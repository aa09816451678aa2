"""The numbering of words: a vocabulary, and the words of a text numbered in the order of their appearance."""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._pickling import Pickled
from .._validation import check_fits, check_range, choice, integer, ordered, plain_array, short_repr
from ..typing import Array, Ids, PathLike
from .files import read_json, read_words

_FORMAT = "seqcore vocabulary"


class Vocabulary(Pickled):
    """A numbering of words: ``words[i]`` has the id i.

    Args:
        words: the words in the order of their ids; each once.
        unknown: the word (one of ``words``) that replaces every word outside; None makes those an error.
        counts: (size,) integers, how often each word was seen, if known.

    Attributes:
        words: the words in the order of their ids.
        unknown: the word that replaces words outside, or None.
        counts: (size,) int64, how often each word was seen, or None if not known.

    Raises:
        ValueError: no words, a word twice, ``unknown`` not among them, counts that do not fit.

    >>> v = Vocabulary.from_tokens("the cat saw the dog".split())
    >>> v.words
    ('the', 'cat', 'dog', 'saw')
    >>> v.encode("dog saw the").tolist()
    [2, 3, 0]
    >>> v.decode([1, 3])
    ['cat', 'saw']
    """

    _pickle_family = "vocabulary"

    def __init__(self, words: Iterable[str], unknown: str | None = None, counts: Iterable[int] | None = None) -> None:
        ordered("words", words)
        self._ids = index_words("words", words)
        self.words: Final = tuple(self._ids)
        if not self.words:
            raise ValueError("words: expected at least one word, got none")
        if unknown is not None and unknown not in self._ids:
            raise ValueError(f"unknown: expected one of the words, got {unknown!r}")
        self.unknown: Final = unknown
        self.counts: Final = None if counts is None else _word_counts(counts, len(self.words))

    @classmethod
    def from_tokens(
        cls,
        tokens: Iterable[str],
        max_size: int | None = None,
        min_count: int = 1,
        specials: Sequence[str] = (),
        unknown: str | None = None,
        ties: str = "a to z",
    ) -> Vocabulary:
        """Number the words of a text, the most frequent first.

        Args:
            tokens: the text, word by word.
            max_size: keeps at most this many words, specials included.
            min_count: leaves out words seen fewer times.
            specials: words that get the first ids whether they occur or not.
            unknown: replaces words outside; put after the specials if the text does not have it.
            ties: order of words of equal count, "a to z" or "z to a" (Keras's).

        Raises:
            ValueError: an empty text, or ``max_size`` too small for the specials.
            TypeError: a token that is not a string.
        """
        if isinstance(tokens, (str, bytes)):
            raise TypeError("tokens: expected a sequence of words, got one string; use text.split()")
        choice("ties", ties, ("a to z", "z to a"))
        least = integer("min_count", min_count, 0)
        counts = Counter(tokens)
        if not counts:
            raise ValueError("tokens: expected at least one word, got none")
        wrong = next((token for token in counts if not isinstance(token, str)), "")
        if not isinstance(wrong, str):
            raise TypeError(f"tokens: expected strings, got {short_repr(wrong)}")
        first = list(dict.fromkeys(specials))
        if unknown is not None and unknown not in counts and unknown not in first:
            first.append(unknown)
        limit = len(counts) + len(first) if max_size is None else integer("max_size", max_size)
        if limit < max(1, len(first)):
            raise ValueError(f"max_size: expected at least {max(1, len(first))}, got {max_size}")
        reserved = set(first)
        words = sorted((word for word in counts if word not in reserved), reverse=ties == "z to a")
        frequent = sorted((word for word in words if counts[word] >= least), key=counts.__getitem__, reverse=True)
        kept = frequent[: limit - len(first)]
        if unknown is not None and unknown not in reserved and unknown not in kept:
            kept = [*kept[: max(0, limit - len(first) - 1)], unknown]
        return cls(first + kept, unknown, (counts[word] for word in first + kept))

    @classmethod
    def from_file(
        cls, path: PathLike, end_of_line: str | None = None, *, max_bytes: int | None = None, **options: Any
    ) -> Vocabulary:
        """:meth:`from_tokens` of the words of a text file; for ``max_bytes`` see :func:`open_plain`."""
        tokens = read_words(path, end_of_line, max_bytes=max_bytes)
        if not tokens:
            raise ValueError(f"path: expected a text with words, got the empty {str(path)!r}")
        return cls.from_tokens(tokens, **options)

    @property
    def size(self) -> int:
        """Number of words."""
        return len(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self.words, self.unknown) == (other.words, other.unknown)

    def __hash__(self) -> int:
        return hash((self.words, self.unknown))

    def __repr__(self) -> str:
        return f"<Vocabulary size={self.size} unknown={self.unknown!r}>"

    def id(self, word: str) -> int:
        """The id of one word, or that of ``unknown``.

        Raises:
            ValueError: the word is outside the vocabulary and no unknown word is set.
        """
        number = self._ids.get(word)
        if number is not None:
            return number
        if self.unknown is None:
            raise ValueError(f"word: expected one of the {self.size} words of the vocabulary, got {word!r}")
        return self._ids[self.unknown]

    def encode(self, tokens: str | Iterable[str], default: int | None = None) -> Ids:
        """Ids (N,) int32 of words.

        Args:
            tokens: N words, or a string, which is split at white space.
            default: the id of words outside the vocabulary; None takes that of ``unknown``.

        Raises:
            ValueError: a word outside the vocabulary where there is neither.

        >>> Vocabulary(["cat", "dog"]).encode("cat saw dog", default=-1).tolist()
        [0, -1, 1]
        """
        listed = split_words("tokens", tokens)
        if default is None and self.unknown is not None:
            default = self._ids[self.unknown]
        ids = np.fromiter(map(self._ids.get, listed, repeat(-1 if default is None else default)), np.int32, len(listed))
        if default is None and (ids < 0).any():
            self.id(listed[ids.argmin()])  # raises
        return ids

    def decode(self, ids: Any) -> list[str]:
        """Words of ids, any array-like of integers with one axis.

        Raises:
            ValueError: an id outside 0 ... size - 1.
        """
        return [self.words[i] for i in check_ids(ids, self.size).tolist()]

    def to_dict(self) -> dict[str, Any]:
        """A description for :meth:`from_dict`, of values that JSON can hold."""
        counts = None if self.counts is None else self.counts.tolist()
        return {"format": _FORMAT, "version": 1, "words": list(self.words), "unknown": self.unknown, "counts": counts}

    @classmethod
    def from_dict(cls, config: Any) -> Vocabulary:
        """The vocabulary that :meth:`to_dict` described.

        Raises:
            ValueError: not such a description.
        """
        check_format(config, _FORMAT)
        words, unknown, counts = config.get("words"), config.get("unknown"), config.get("counts")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("config: expected a list of strings as words")
        if not (unknown is None or isinstance(unknown, str)):
            raise ValueError(f"config: expected a string or null as unknown, got {unknown!r}")
        if not (counts is None or (isinstance(counts, list) and all(type(n) is int for n in counts))):
            raise ValueError("config: expected a list of integers or null as counts")
        return cls(words, unknown, counts)

    def save(self, path: PathLike) -> None:
        """Write a JSON file; a kill at any moment leaves the old file or the new one."""
        atomic_write(path, [json.dumps(self.to_dict(), ensure_ascii=False).encode(), b"\n"])

    @classmethod
    def load(cls, path: PathLike) -> Vocabulary:
        """Read a file of :meth:`save`.

        Raises:
            ValueError: the file is damaged or no vocabulary.
            OSError: it cannot be read.
        """
        try:
            return cls.from_dict(read_json(path))
        except ValueError as error:
            raise ValueError(f"path: expected a vocabulary file, got {str(path)!r} ({error})") from None


def check_format(config: Any, tag: str) -> None:
    """Raise ValueError unless a description from a file is of version 1 of that format."""
    if not isinstance(config, dict) or config.get("format") != tag or config.get("version") != 1:
        raise ValueError(f"config: expected a {tag} of version 1, got {str(config)[:60]!r}")


def index_words(name: str, words: Iterable[str]) -> dict[str, int]:
    """The position of each word in a list.

    Args:
        name: of the argument, for messages.
        words: different strings.

    Raises:
        TypeError: something other than a string.
        ValueError: a word twice.
    """
    ids: dict[str, int] = {}
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"{name}: expected strings, got {short_repr(word)} at position {number}")
        if ids.setdefault(word, number) != number:
            raise ValueError(f"{name}: expected each word once, got {word!r} at {ids[word]} and {number}")
    return ids


def number_words(pieces: Iterable[Iterable[str]]) -> tuple[Vocabulary, Ids, NDArray[np.int64]]:
    """Number the words of a text in the order of their first appearance.

    Args:
        pieces: P lists of words, such as sentences; each is read once.

    Returns:
        The vocabulary with the counts of its words; the text as ids (N,) int32; and offsets (P + 1,) int64, where each
        piece starts and the last one ends.

    Raises:
        ValueError: a text without words.

    >>> vocabulary, ids, offsets = number_words([["to", "be"], [], ["or", "not", "to", "be"]])
    >>> vocabulary.words, vocabulary.counts.tolist(), ids.tolist(), offsets.tolist()
    (('to', 'be', 'or', 'not'), [2, 2, 1, 1], [0, 1, 2, 3, 0, 1], [0, 2, 2, 6])
    """
    words, counts, ids, offsets = number_tokens(pieces)
    return Vocabulary(words, counts=counts), ids, offsets


def number_tokens(pieces: Iterable[Iterable[Any]]) -> tuple[list[Any], NDArray[np.int64], Ids, NDArray[np.int64]]:
    """Number any hashable tokens as :func:`number_words` does words.

    Returns:
        The different tokens, their counts, the text as ids, and the offsets of its pieces.
    """
    numbers: defaultdict[Any, int] = defaultdict(count().__next__)
    ids, offsets = array("i"), [0]
    for piece in pieces:
        ids.extend(map(numbers.__getitem__, piece))
        offsets.append(len(ids))
    counts = np.bincount(ids, minlength=len(numbers))
    return list(numbers), counts, np.array(ids, np.int32), np.array(offsets, np.int64)


def _word_counts(counts: Iterable[int], words: int) -> NDArray[np.int64]:
    result = counts if isinstance(counts, np.ndarray) else np.asarray(list(counts))
    if result.shape != (words,):
        raise ValueError(f"counts: expected {words} integers, one per word, got {len(result)}")
    if result.dtype.kind not in "iu" or result.min() < 0 or result.max() > np.iinfo(np.int64).max:
        raise ValueError(f"counts: expected integers 0...{np.iinfo(np.int64).max}, got {short_repr(counts)}")
    return result.astype(np.int64)


def split_words(name: str, text: Any) -> list[Any]:
    """The words of a text, split at white space, or of any iterable of words, in a list."""
    if isinstance(text, str):
        return text.split()
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise TypeError(f"{name}: expected a text or a sequence of words, got {short_repr(text)}")
    return list(text)


def check_ids(ids: Any, vocabulary_size: int | None = None) -> Ids:
    """``ids`` as a contiguous (N,) int32 array, itself if it is one.

    Raises:
        TypeError: not integers.
        ValueError: more than one axis, or an id outside 0 ... vocabulary_size - 1.
    """
    values = as_integers("ids", ids)
    if values.ndim != 1:
        raise ValueError(f"ids: expected one axis, got shape {values.shape}")
    check_range("ids", values, 2**31 - 1 if vocabulary_size is None else vocabulary_size, "integers")
    return np.ascontiguousarray(values, np.int32)


def as_integers(name: str, values: Any, whole: bool = False) -> Array:
    """An array of integers; ``whole`` takes floats without fractions and booleans too."""
    result = plain_array(name, values)
    if whole and result.dtype.kind == "b":
        return result.astype(np.int32)
    if whole and result.dtype.kind == "f" and result.size:
        check_fits(name, result, np.dtype(np.int64))
        return result.astype(np.int64)
    if result.dtype.kind not in "iu":
        if result.size:
            raise TypeError(f"{name}: expected integers, got {result.dtype}")
        result = result.astype(np.int32)
    return result
