"""Texts as rows of ids.

N: texts, T: time steps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .._pickling import Pickled
from .._validation import boolean, choice, default_only, integer, ordered, refuse_masked, short_repr
from ..typing import Ids, PathLike
from .files import encoding_name, read_lines
from .sequences import pad_sequences
from .vocabulary import Vocabulary, check_format

_FORMAT = "seqcore text vectorization"
_PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
_DELETED = str.maketrans("", "", _PUNCTUATION)
_SPACED = str.maketrans({character: " " for character in _PUNCTUATION.replace("'", "") + "\t\n"})

#: Ways of cleaning a text, the values of ``standardize``.
#: "lower_and_split_punctuation" is the one of Keras's Tokenizer: an apostrophe stays.
STANDARDIZE: dict[str | None, Callable[[str], str]] = {
    None: lambda text: text,
    "lower": str.lower,
    "strip_punctuation": lambda text: text.translate(_DELETED),
    "lower_and_strip_punctuation": lambda text: text.lower().translate(_DELETED),
    "lower_and_split_punctuation": lambda text: text.lower().translate(_SPACED),
    "alphanumeric": lambda text: re.sub("[^0-9a-z]+", " ", text.lower()),
}
_SPLIT: dict[str, Callable[[str], list[str]]] = {"whitespace": str.split, "character": list}


# The most steps that a file can have every text padded to: a number of a few bytes must not cost gigabytes.
_MAX_STEPS = 1_000_000

_OPTIONS = (
    "max_tokens", "standardize", "split", "output_sequence_length", "encoding", "oov_token", "start_token", "padding",
    "truncating",
)  # fmt: skip


class TextVectorization(Pickled):
    """Texts to ids and back; names and defaults as in ``keras.layers.TextVectorization``, with integers as its output.

    Args:
        max_tokens: largest size of the vocabulary, special tokens included.
        standardize: how a text is cleaned, a key of :data:`STANDARDIZE`: "lower", "strip_punctuation" (deletes it),
            "lower_and_strip_punctuation", "lower_and_split_punctuation" (it becomes white space; apostrophes stay),
            "alphanumeric" (lower case; all but a-z and 0-9 becomes white space) or None.
        split: "whitespace" or "character".
        output_sequence_length: T of every row; None takes the longest text of a call.
        vocabulary: the words in the order of their ids, instead of :meth:`adapt`, or the path of a text file with one
            word a line. The special tokens are put in front of it, unless it begins with "" and so has them.
        ngrams, output_mode, pad_to_max_tokens, idf_weights, sparse, ragged: accepted only at their defaults.
        encoding: of texts given as bytes, and of the file of a vocabulary.
        name: of the object.
        stop_words: words that are left out, after the cleaning.
        oov_token: replaces words outside the vocabulary; None leaves them out.
        start_token: put in front of each text; None puts nothing.
        padding: where short rows are filled up with 0: "post" (at the end) or "pre".
        truncating: where long texts lose words: "post" or "pre".

    The id 0 is padding, the empty token "". ``vectorize(texts)`` gives (N, T) int32 for N strings (or bytes, UTF-8) in
    a list, an array (N,) or (N, 1) or any other iterable.

    Raises:
        ValueError: another word than the ones above, a vocabulary without its special tokens or of more than
            ``max_tokens`` words, a file that is none.

    >>> vectorize = TextVectorization(output_sequence_length=4)
    >>> vectorize.adapt(["The cat sat.", "The dog!"])
    >>> vectorize.get_vocabulary()
    ['', '[UNK]', 'the', 'sat', 'dog', 'cat']
    >>> vectorize(["the bird sat"])
    array([[2, 1, 3, 0]], dtype=int32)
    >>> vectorize.decode([2, 1, 3, 0])
    ['the', '[UNK]', 'sat']
    """

    _pickle_family = "text_vectorization"

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | None = "lower_and_strip_punctuation",
        split: str = "whitespace",
        ngrams: None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Iterable[str] | PathLike | None = None,
        idf_weights: None = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        *,
        stop_words: Iterable[str] = (),
        oov_token: str | None = "[UNK]",
        start_token: str | None = None,
        padding: str = "post",
        truncating: str = "post",
    ) -> None:
        default_only("ngrams", ngrams, None, "single words are numbered")
        default_only("output_mode", output_mode, "int", "texts become ids")
        default_only("pad_to_max_tokens", pad_to_max_tokens, False, "texts become ids")
        default_only("idf_weights", idf_weights, None, "texts become ids")
        default_only("sparse", sparse, False, "texts become ids")
        default_only("ragged", ragged, False, "rows are padded")
        choice("standardize", standardize, STANDARDIZE)
        choice("split", split, _SPLIT)
        choice("padding", padding, ("pre", "post"))
        choice("truncating", truncating, ("pre", "post"))
        self.name, self.encoding = str(name) if name else "text_vectorization", encoding_name(encoding)
        if isinstance(stop_words, str):
            raise TypeError("stop_words: expected a sequence of words, got one string")
        for argument, token in (("oov_token", oov_token), ("start_token", start_token)):
            if token is not None and not isinstance(token, str):
                raise ValueError(f"{argument}: expected a string or None, got {short_repr(token)}")
        sizes = {"max_tokens": max_tokens, "output_sequence_length": output_sequence_length}
        self.max_tokens, self.output_sequence_length = (
            None if size is None else integer(argument, size, 1, alternative="None") for argument, size in sizes.items()
        )
        self.standardize, self.split, self.stop_words = standardize, split, frozenset(stop_words)
        self.oov_token, self.start_token = oov_token, start_token
        self.padding, self.truncating = padding, truncating
        self._vocabulary: Vocabulary | None = None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @property
    def _specials(self) -> list[str]:
        return ["", *(token for token in (self.start_token, self.oov_token) if token is not None)]

    @property
    def vocabulary(self) -> Vocabulary:
        """The numbering of the words.

        Raises:
            ValueError: before :meth:`adapt` or :meth:`set_vocabulary`.
        """
        if self._vocabulary is None:
            raise ValueError("vocabulary: expected one; call adapt(texts) or set_vocabulary(words) first")
        return self._vocabulary

    def adapt(self, data: Iterable[str], batch_size: None = None, steps: None = None) -> None:
        """Take the vocabulary from texts: the most frequent word first, words of equal count from z to a, as in Keras.

        Args:
            data: the texts.
            batch_size, steps: accepted only as None.

        Raises:
            ValueError: no words, or ``max_tokens`` too small for the special tokens.
        """
        default_only("batch_size", batch_size, None, "all texts are read, one by one")
        default_only("steps", steps, None, "all texts are read, one by one")
        if self.max_tokens is not None and self.max_tokens < len(self._specials):
            raise ValueError(f"max_tokens: expected at least {len(self._specials)}, got {self.max_tokens}")
        words = (word for text in as_texts(data, self.encoding) for word in self.tokens(text))
        self._vocabulary = Vocabulary.from_tokens(
            words, max_size=self.max_tokens, specials=self._specials, unknown=self.oov_token, ties="z to a"
        )

    def set_vocabulary(self, vocabulary: Iterable[str] | PathLike, idf_weights: None = None) -> None:
        """Number the words in the order given, or the lines of a text file; see ``vocabulary`` of the class."""
        default_only("idf_weights", idf_weights, None, "texts become ids")
        if isinstance(vocabulary, (str, bytes, os.PathLike)):
            words = _read_vocabulary(vocabulary, self.encoding)
        else:
            ordered("vocabulary", vocabulary)
            words = list(vocabulary)
        if not words:
            raise ValueError("vocabulary: expected at least one word, got none")
        if words[:1] != [""]:
            words = self._specials + words
        missing = [token for token in self._specials if token not in words]
        if missing:
            raise ValueError(f"vocabulary: expected the special tokens {missing} in it, got none of them")
        if self.max_tokens is not None and len(words) > self.max_tokens:
            raise ValueError(
                f"vocabulary: expected at most max_tokens={self.max_tokens} words, special tokens included, got "
                f"{len(words)}"
            )
        self._vocabulary = Vocabulary(words, self.oov_token)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words in the order of their ids."""
        with_specials = boolean("include_special_tokens", include_special_tokens)
        words, specials = list(self.vocabulary.words), set() if with_specials else set(self._specials)
        return [word for word in words if word not in specials]

    def vocabulary_size(self) -> int:
        """Number of ids: words, special tokens and padding."""
        return self.vocabulary.size

    def tokens(self, text: str) -> list[str]:
        """The words of a text after cleaning and splitting, known or not."""
        words = _SPLIT[self.split](STANDARDIZE[self.standardize](as_text("text", text, self.encoding)))
        return [word for word in words if word not in self.stop_words] if self.stop_words else words

    def encode(self, text: str) -> Ids:
        """(number of words,) int32 ids of a text, neither padded nor cut."""
        vocabulary, words = self.vocabulary, self.tokens(text)
        if self.oov_token is None:
            words = [word for word in words if word in vocabulary]
        return vocabulary.encode(words if self.start_token is None else [self.start_token, *words])

    def __call__(self, texts: Iterable[str]) -> Ids:
        """(N, T) int32 ids of N texts."""
        return self.pad([self.encode(text) for text in as_texts(texts, self.encoding)])

    def pad(self, sequences: Sequence[Any]) -> Ids:
        """(N, T) int32: the ids of N texts from :meth:`encode`, padded and truncated."""
        return pad_sequences(sequences, self.output_sequence_length, "int32", self.padding, self.truncating)

    def decode(self, ids: Any) -> list[str]:
        """Words of one row of ids, without the padding.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        return [word for word in self.vocabulary.decode(ids) if word != ""]

    def to_dict(self) -> dict[str, Any]:
        """A description for :meth:`from_dict`, of values that JSON can hold."""
        return {
            "format": _FORMAT,
            "version": 1,
            **{name: getattr(self, name) for name in _OPTIONS},
            "stop_words": sorted(self.stop_words),
            "vocabulary": None if self._vocabulary is None else list(self._vocabulary.words),
        }

    @classmethod
    def from_dict(cls, config: Any) -> TextVectorization:
        """The preprocessing that :meth:`to_dict` described.

        Raises:
            ValueError: not such a description.
        """
        check_format(config, _FORMAT)
        given = {key: value for key, value in config.items() if key not in ("format", "version")}
        # A path would make a model file read another one.
        if not (given.get("vocabulary") is None or isinstance(given["vocabulary"], list)):
            raise ValueError("config: expected a list of words or null as vocabulary")
        length = given.get("output_sequence_length")
        if isinstance(length, (int, float)) and length > _MAX_STEPS:
            raise ValueError(f"config: expected at most {_MAX_STEPS} as output_sequence_length, got {length!r}")
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"config: expected the options of a TextVectorization ({error})") from None


def _read_vocabulary(path: PathLike | bytes, encoding: str) -> list[str]:
    """The lines of a text file."""
    place = os.fsdecode(path)
    if not os.path.isfile(place):
        raise ValueError(
            f"vocabulary: expected a list of words, or the path of a file with one word a line, got {place!r}, "
            "which is no file"
        )
    return [line.removesuffix("\r") for line in read_lines(place, encoding=encoding)]


def as_text(name: str, text: Any, encoding: str = "utf-8") -> str:
    """One text; bytes are decoded.

    Raises:
        TypeError: for anything but a string, such as the NaN of a missing value.
    """
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        try:
            return text.decode(encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: expected {encoding.upper()}, got other bytes ({error.reason})") from None
    missing = "; leave missing values out" if text is None or text != text else ""
    raise TypeError(f"{name}: expected a string, got {short_repr(text)}{missing}")


def as_texts(texts: Any, encoding: str = "utf-8") -> list[str]:
    """N texts as strings, from a list, an array (N,) or (N, 1), a column of a data frame or any other iterable.

    Raises:
        TypeError: a single text, and anything but a string, naming its position.
        ValueError: an array with more columns.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts: expected a sequence of texts, got one string; use [text]")
    if isinstance(texts, dict) or not isinstance(texts, Iterable):
        raise TypeError(f"texts: expected a sequence of texts, got {short_repr(texts)}")
    if hasattr(texts, "__array__"):
        refuse_masked("texts", texts)
        array = np.asarray(texts)
        if array.ndim == 0 or array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
            raise ValueError(f"texts: expected shape (N,) or (N, 1), got {array.shape}")
        texts = array.reshape(-1)
    single = (text[0] if isinstance(text, (list, tuple, np.ndarray)) and len(text) == 1 else text for text in texts)
    return [as_text(f"texts[{number}]", text, encoding) for number, text in enumerate(single)]
