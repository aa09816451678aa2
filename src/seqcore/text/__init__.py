"""Words and batches: vocabularies, padding, one-hot labels, and truncated-BPTT batches of one long stream."""

from __future__ import annotations

import json
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._validation import NUMBERS, as_dtype, at_least, check_fits, integer, ordered, refuse_masked, short_repr
from ..saving.files import atomic_write
from .files import PathLike, iterate_words, open_plain, read_json, read_lines, read_text, read_words

Array = NDArray[Any]
Ids = NDArray[np.int32]

__all__ = [
    "BPTTBatches",
    "Ids",
    "PathLike",
    "Vocabulary",
    "bptt_batches",
    "check_ids",
    "evaluation_windows",
    "iterate_words",
    "open_plain",
    "pad_sequences",
    "read_json",
    "read_lines",
    "read_text",
    "read_words",
    "to_categorical",
]

_FORMAT = "seqcore vocabulary"


class Vocabulary:
    """A numbering of words: ``words[i]`` has the id i.

    Args:
        words: the words in the order of their ids; each once.
        unknown: the word (one of ``words``) that stands for every word outside; None makes those an error.
        counts: (size,) integers, how often each word was seen, if known.

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

    def __init__(self, words: Iterable[str], unknown: str | None = None, counts: Iterable[int] | None = None) -> None:
        ordered("words", words)
        self._words = tuple(words)
        if not self._words:
            raise ValueError("words: expected at least one word, got none")
        self._ids: dict[str, int] = {}
        for number, word in enumerate(self._words):
            if not isinstance(word, str):
                raise TypeError(f"words: expected strings, got {word!r} at position {number}")
            if self._ids.setdefault(word, number) != number:
                raise ValueError(f"words: expected each word once, got {word!r} at {self._ids[word]} and {number}")
        if unknown is not None and unknown not in self._ids:
            raise ValueError(f"unknown: expected one of the words, got {unknown!r}")
        self._unknown = unknown
        self._counts = None if counts is None else _word_counts(list(counts), len(self._words))

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
        """Numbers the words of a text, the most frequent first.

        Args:
            tokens: the text, word by word.
            max_size: keeps at most this many words, specials included.
            min_count: leaves out words seen fewer times.
            specials: words that get the first ids whether they occur or not.
            unknown: stands for words outside; put after the specials if the text does not have it.
            ties: order of words of equal count, "a to z" or "z to a" (Keras's).

        Raises:
            ValueError: an empty text, or ``max_size`` too small for the specials.
            TypeError: a token that is no string.
        """
        if isinstance(tokens, (str, bytes)):
            raise TypeError("tokens: expected a sequence of words, got one string; use text.split()")
        if ties not in ("a to z", "z to a"):
            raise ValueError(f"ties: expected 'a to z' or 'z to a', got {short_repr(ties)}")
        least = at_least("min_count", min_count, 0)
        counts = Counter(tokens)
        if not counts:
            raise ValueError("tokens: expected at least one word, got none")
        wrong = next((token for token in counts if not isinstance(token, str)), "")
        if not isinstance(wrong, str):
            raise TypeError(f"tokens: expected strings, got {short_repr(wrong)}")
        first = list(dict.fromkeys(specials))
        if unknown is not None and unknown not in counts and unknown not in first:
            first.append(unknown)
        room = len(counts) + len(first) if max_size is None else integer("max_size", max_size)
        if room < max(1, len(first)):
            raise ValueError(f"max_size: expected at least {max(1, len(first))}, got {max_size}")
        reserved = set(first)
        words = sorted((word for word in counts if word not in reserved), reverse=ties == "z to a")
        frequent = sorted((word for word in words if counts[word] >= least), key=counts.__getitem__, reverse=True)
        kept = frequent[: room - len(first)]
        if unknown is not None and unknown not in reserved and unknown not in kept:
            kept = [*kept[: max(0, room - len(first) - 1)], unknown]
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
    def words(self) -> tuple[str, ...]:
        """The words in the order of their ids."""
        return self._words

    @property
    def unknown(self) -> str | None:
        """The word that stands for words outside, or None."""
        return self._unknown

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """(size,) how often each word was seen, or None if not known."""
        return self._counts

    @property
    def size(self) -> int:
        """Number of words."""
        return len(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self._words, self._unknown) == (other._words, other._unknown)

    def __hash__(self) -> int:
        return hash((self._words, self._unknown))

    def __repr__(self) -> str:
        return f"<Vocabulary size={self.size} unknown={self._unknown!r}>"

    def id(self, word: str) -> int:
        """The id of one word, or that of ``unknown``.

        Raises:
            ValueError: the word is outside the vocabulary and no unknown word is set.
        """
        found = self._ids.get(word)
        if found is not None:
            return found
        if self._unknown is None:
            raise ValueError(f"word: expected one of the {self.size} words of the vocabulary, got {word!r}")
        return self._ids[self._unknown]

    def encode(self, tokens: str | Iterable[str]) -> Ids:
        """Ids (N,) int32 of words; a string is split at white space.

        Raises:
            ValueError: a word outside the vocabulary where no unknown word is set.
        """
        listed = _tokens(tokens)
        if self._unknown is not None:
            other = repeat(self._ids[self._unknown])
            return np.fromiter(map(self._ids.get, listed, other), np.int32, len(listed))
        try:
            return np.fromiter(map(self._ids.__getitem__, listed), np.int32, len(listed))
        except KeyError:
            return np.fromiter(map(self.id, listed), np.int32, len(listed))

    def decode(self, ids: Any) -> list[str]:
        """Words of ids, any array-like of integers with one axis.

        Raises:
            ValueError: an id outside 0 ... size - 1.
        """
        array = _integers("ids", ids)
        if array.ndim != 1:
            raise ValueError(f"ids: expected one axis, got shape {array.shape}")
        _check_range("ids", array, self.size)
        return [self._words[i] for i in array.tolist()]

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` needs, as JSON can hold it."""
        counts = None if self._counts is None else self._counts.tolist()
        return {"format": _FORMAT, "version": 1, "words": list(self._words), "unknown": self._unknown, "counts": counts}

    @classmethod
    def from_dict(cls, config: Any) -> Vocabulary:
        """The vocabulary that :meth:`to_dict` described.

        Raises:
            ValueError: not such a description.
        """
        if not isinstance(config, dict) or config.get("format") != _FORMAT or config.get("version") != 1:
            raise ValueError(f"config: expected a {_FORMAT} of version 1, got {str(config)[:60]!r}")
        words, unknown, counts = config.get("words"), config.get("unknown"), config.get("counts")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("config: expected a list of strings as words")
        if not (unknown is None or isinstance(unknown, str)):
            raise ValueError(f"config: expected a string or null as unknown, got {unknown!r}")
        if not (counts is None or (isinstance(counts, list) and all(type(n) is int for n in counts))):
            raise ValueError("config: expected a list of integers or null as counts")
        return cls(words, unknown, counts)

    def save(self, path: PathLike) -> None:
        """Writes a JSON file; a kill at any moment leaves the old file or the new one."""
        atomic_write(path, [json.dumps(self.to_dict(), ensure_ascii=False).encode(), b"\n"])

    @classmethod
    def load(cls, path: PathLike) -> Vocabulary:
        """Reads what :meth:`save` wrote.

        Raises:
            ValueError: the file is damaged or no vocabulary.
            OSError: it cannot be read.
        """
        try:
            return cls.from_dict(read_json(path))
        except ValueError as error:
            raise ValueError(f"path: expected a vocabulary file, got {str(path)!r} ({error})") from None


def _word_counts(counts: list[int], words: int) -> NDArray[np.int64]:
    array = np.asarray(counts)
    if array.shape != (words,):
        raise ValueError(f"counts: expected {words} integers, one per word, got {len(counts)}")
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"counts: expected integers 0...{np.iinfo(np.int64).max}, got {short_repr(counts)}")
    return array.astype(np.int64)


def _tokens(tokens: Any) -> list[Any]:
    """Words in a list; a string is split at white space."""
    if isinstance(tokens, str):
        return tokens.split()
    if isinstance(tokens, (bytes, dict)) or not isinstance(tokens, Iterable):
        raise TypeError(f"tokens: expected a text or a sequence of words, got {short_repr(tokens)}")
    return list(tokens)


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Brings sequences to one length, as Keras does.

    Args:
        sequences: N sequences, each of shape (length, ...) with the same trailing axes.
        maxlen: length T of the result; None takes the longest sequence's.
        dtype: type of the result.
        padding: where short sequences are filled up: "pre" (at the front) or "post".
        truncating: where long ones lose elements: "pre" (the first go) or "post".
        value: what fills up; a number, a word (with ``dtype=object`` or a type of strings), or an array of the trailing
            shape.

    Returns:
        (N, T, ...) array.

    Raises:
        ValueError: a sequence that is none, trailing axes that differ, another word than pre / post, and numbers that
            the type would change: out of its range, fractions and NaN where it holds integers.

    >>> pad_sequences([[1, 2, 3], [4]], maxlen=2)
    array([[2, 3],
           [0, 4]], dtype=int32)
    """
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ValueError(f"{name}: expected 'pre' or 'post', got {choice!r}")
    kind = as_dtype("dtype", dtype, NUMBERS + "OSU")
    length = None if maxlen is None else integer("maxlen", maxlen)
    if length is not None and length < 0:
        raise ValueError(f"maxlen: expected an integer >= 0 or None, got {maxlen}")
    numbers = kind.kind in NUMBERS
    rows = [_as_row(i, sequence, length, truncating, numbers) for i, sequence in enumerate(_iterate(sequences))]
    if length is None:
        length = max(map(len, rows), default=0)
    shapes = {row.shape[1:] for row in rows if len(row)}
    if len(shapes) > 1:
        raise ValueError(f"sequences: expected elements of one shape, got {' and '.join(map(str, sorted(shapes)))}")
    filling = _padding_value(value, kind)
    if kind.kind in "SU" and not kind.itemsize:
        # "str" names no length: that of the longest word.
        kind = np.result_type(filling.astype(kind), *(row.astype(kind) for row in rows if len(row)))
    for number, row in enumerate(rows):
        if row.dtype != kind and len(row):
            _check_fits(f"sequences[{number}]", row, kind)
    tail = shapes.pop() if shapes else ()
    result = np.full((len(rows), length, *tail), filling, kind)
    for out, row in zip(result, rows, strict=True):
        if padding == "post":
            out[: len(row)] = row
        elif len(row):
            out[-len(row) :] = row
    return result


def _iterate(sequences: Any) -> Iterable[Any]:
    if isinstance(sequences, (str, bytes, dict)) or not isinstance(sequences, Iterable):
        raise ValueError(f"sequences: expected a list of sequences, got {short_repr(sequences)}")
    refuse_masked("sequences", sequences)
    return sequences


def _as_row(number: int, sequence: Any, length: int | None, truncating: str, numbers: bool) -> Array:
    """One sequence as an array, cut to the length."""
    if isinstance(sequence, (str, bytes, dict, set)) or not hasattr(sequence, "__len__"):
        raise ValueError(f"sequences: expected a sequence at position {number}, got {short_repr(sequence)}")
    refuse_masked(f"sequences[{number}]", sequence)
    try:
        row = np.asarray(sequence)
        if row.dtype == object and numbers:
            row = np.asarray(row.tolist())
    except ValueError:
        raise ValueError(f"sequences: expected elements of one shape in sequence {number}, got ragged ones") from None
    if not row.ndim:
        raise ValueError(f"sequences: expected a sequence at position {number}, got {short_repr(sequence)}")
    if length is None:
        return row
    return row[:length] if truncating == "post" else row[max(len(row) - length, 0) :]


def _padding_value(value: Any, kind: np.dtype[Any]) -> Array:
    """The value that fills up, as an array; it must fit the type."""
    filling = np.asarray(value)
    if filling.dtype.kind in "SU" and kind.kind in NUMBERS:
        raise ValueError(
            f"value: expected a number for dtype {kind}, got {short_repr(value)}; use dtype=object for words"
        )
    _check_fits("value", filling, kind)
    return filling


def _check_fits(name: str, values: Array, kind: np.dtype[Any]) -> None:
    """Refuses values that the type would change: integers out of its range, fractions and NaN as integers, words."""
    if kind.kind == "O" or np.can_cast(values.dtype, kind) or not values.size:
        return
    if kind.kind in "SU":
        longest = max((str(one) for one in values.ravel().tolist()), key=len)
        if values.dtype.kind in "SU" and len(longest) > kind.itemsize // (4 if kind.kind == "U" else 1):
            raise ValueError(f"{name}: expected words that fit dtype {kind}, got {short_repr(longest)}")
        return
    if values.dtype.kind not in NUMBERS:
        example = short_repr(values.flat[0].item() if hasattr(values.flat[0], "item") else values.flat[0])
        raise ValueError(f"{name}: expected numbers for dtype {kind}, got {example}; use dtype=object for words")
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            lost = np.isfinite(values) & ~np.isfinite(values.astype(kind))
        if lost.any():
            raise ValueError(f"{name}: expected numbers that fit dtype {kind}, got {values[lost][0]}")
    check_fits(name, values, kind)


def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float32]:
    """Class numbers as one-hot rows.

    Args:
        x: whole numbers 0 ... num_classes - 1 (or booleans) of any shape; a last axis of length 1 is dropped.
        num_classes: number of classes C; None takes the largest number plus one.

    Returns:
        x.shape + (C,) float32.

    Raises:
        ValueError: a number outside, or none at all without ``num_classes``.

    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = _integers("x", x, whole=True)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if not labels.size:
            raise ValueError("num_classes: expected a number, since x is empty")
        classes = int(labels.max()) + 1
    else:
        classes = at_least("num_classes", num_classes, 1)
    _check_range("x", labels, classes)
    if 4 * labels.size * classes > np.iinfo(np.intp).max:
        raise ValueError(f"num_classes: expected a table that memory can hold, got {classes} classes")
    result = np.zeros((labels.size, classes), np.float32)
    result[np.arange(labels.size), labels.ravel()] = 1
    return result.reshape(*labels.shape, classes)


class BPTTBatches(Sequence[tuple[Ids, Ids]]):
    """Batches of one long stream for truncated back-propagation through time; made by :func:`bptt_batches`.

    ``len(batches)`` batches; ``batches[i]`` is the pair (inputs, targets), both (B, T) int32 views of the stream,
    targets one word ahead. Row b of batch i + 1 continues row b of batch i, so a stateful model carries its state over.
    ``position`` is the number of the batch that comes next; ``batches.resume(n)`` iterates from batch n on.
    """

    def __init__(self, ids: Any, batch_size: int, steps: int, vocabulary_size: int | None = None) -> None:
        self.batch_size, self.steps = at_least("batch_size", batch_size, 1), at_least("steps", steps, 1)
        stream = check_ids(ids, vocabulary_size)
        row = len(stream) // self.batch_size
        self._count = (row - 1) // self.steps if row else 0
        if self._count < 1:
            need = self.batch_size * (self.steps + 1)
            raise ValueError(
                f"ids: expected at least {need} words for one batch of {self.batch_size} x {self.steps} "
                f"(batch_size * (steps + 1)), got {len(stream)}"
            )
        self._rows = stream[: row * self.batch_size].reshape(self.batch_size, row)
        self.position = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        number = operator.index(index)
        if not -self._count <= number < self._count:
            raise IndexError(f"index: expected less than {self._count} batches, got {number}")
        start = number % self._count * self.steps
        stop = start + self.steps
        return self._rows[:, start:stop], self._rows[:, start + 1 : stop + 1]

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        return self.resume(0)

    def resume(self, position: int) -> Iterator[tuple[Ids, Ids]]:
        """Iterates from batch ``position`` (0 ... len) to the end, keeping ``self.position`` up to date.

        Raises:
            ValueError: a position outside.
        """
        start = integer("position", position)
        if not 0 <= start <= self._count:
            raise ValueError(f"position: expected 0...{self._count}, got {position}")
        self.position = start
        return self._from(start)

    def _from(self, start: int) -> Iterator[tuple[Ids, Ids]]:
        for number in range(start, self._count):
            self.position = number + 1
            yield self[number]


def bptt_batches(ids: Any, batch_size: int, steps: int, vocabulary_size: int | None = None) -> BPTTBatches:
    """Cuts one long stream of words into ``batch_size`` rows, and these into windows of ``steps`` words.

    There are ``(N // batch_size - 1) // steps`` batches; the words left over at the end of each row are not used. An
    int32 array is not copied.

    Args:
        ids: (N,) integers, the text.
        batch_size: rows B read side by side.
        steps: words T per window.
        vocabulary_size: if given, ids must be below it.

    Raises:
        ValueError: a text too short for one batch, or ids outside.

    >>> batches = bptt_batches(np.arange(13), batch_size=2, steps=2)
    >>> len(batches)
    2
    >>> x, y = batches[1]
    >>> x.tolist(), y.tolist()
    ([[2, 3], [8, 9]], [[3, 4], [9, 10]])
    """
    return BPTTBatches(ids, batch_size, steps, vocabulary_size)


def evaluation_windows(ids: Any, steps: int = 1000) -> Iterator[tuple[Ids, Ids]]:
    """Inputs and targets (1, <= steps) that cover a whole text, the shorter last window included.

    A model that carries its state from window to window computes for every word the same log-probability as with
    windows of one word: a recurrent layer's step depends on the state before it and on the word alone, and nothing is
    back-propagated. So batch 1 with long windows is exactly the evaluation with batch 1 and one step, only faster.

    Args:
        ids: (N,) integers, at least two.
        steps: words per window.

    Raises:
        ValueError: fewer than two words.
    """
    stream = check_ids(ids)
    width = at_least("steps", steps, 1)
    if len(stream) < 2:
        raise ValueError(f"ids: expected at least 2 words to predict one, got {len(stream)}")
    return (
        (stream[None, i : min(i + width, len(stream) - 1)], stream[None, i + 1 : i + 1 + width])
        for i in range(0, len(stream) - 1, width)
    )


def check_ids(ids: Any, vocabulary_size: int | None = None) -> Ids:
    """``ids`` as a contiguous (N,) int32 array, itself if it is one.

    Raises:
        TypeError: not integers.
        ValueError: more than one axis, or an id outside 0 ... vocabulary_size - 1.
    """
    array = _integers("ids", ids)
    if array.ndim != 1:
        raise ValueError(f"ids: expected one axis, got shape {array.shape}")
    _check_range("ids", array, 2**31 - 1 if vocabulary_size is None else vocabulary_size)
    return np.ascontiguousarray(array, np.int32)


def _integers(name: str, values: Any, whole: bool = False) -> Array:
    """An array of integers; ``whole`` takes floats without fractions and booleans too."""
    refuse_masked(name, values)
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length, got ragged ones") from None
    if whole and array.dtype.kind == "b":
        return array.astype(np.int32)
    if whole and array.dtype.kind == "f" and array.size:
        wrong = ~(np.abs(array.astype(np.float64)) < 2.0**63) | (array != np.floor(array))
        if wrong.any():
            raise ValueError(f"{name}: expected whole numbers, got {array[wrong][0]}")
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"{name}: expected integers, got {array.dtype}")
        array = array.astype(np.int32)
    return array


def _check_range(name: str, array: Array, size: int) -> None:
    if array.size and (int(array.min()) < 0 or int(array.max()) >= size):
        outside = int(array.min()) if int(array.min()) < 0 else int(array.max())
        raise ValueError(f"{name}: expected integers 0...{size - 1}, got {outside}")
