"""Word vectors with gensim's queries, evaluation and files, and as an Embedding layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import layers
from .. import random as _random
from .._pickling import Pickled
from .._validation import boolean, choice, default_only, real, short_repr
from ..text.files import path_of
from ..text.vocabulary import Vocabulary
from ..typing import Floats, PathLike
from . import file_formats
from .evaluation import Evaluation
from .keyed_table import as_float32, one_file
from .keys import Key, as_list, is_key
from .safetensors_format import read_vectors, write_vectors


class KeyedVectors(Evaluation, Pickled):
    """A vector for each word; names and meaning as in gensim 4.

    Args:
        vectors: (V, D) numbers, row i for word i; a float32 array is used as it is, without a copy.
        index_to_key: V words or integers, each once, best the most frequent first.
        counts: (V,) integers, how often each word was seen, if known.
        vector_size: D of a table that is empty as yet, in place of ``vectors`` (or as the first argument).
        count, dtype, mapfile_path: arguments of gensim's, only at their defaults.

    Cosines with a row of zeros are 0. Rows are found by products of blocks and a partial sort; a memory-mapped file
    is read block by block.

    Raises:
        ValueError: no words, a word twice, shapes that do not fit.

    >>> kv = KeyedVectors([[1, 0], [0.9, 0.1], [0, 1]], ["cat", "dog", "car"])
    >>> kv.most_similar("cat", topn=1)[0][0], round(kv.similarity("cat", "dog"), 3)
    ('dog', 0.994)
    >>> kv.doesnt_match(["cat", "dog", "car"])
    'car'
    >>> kv["bird"]
    Traceback (most recent call last):
    KeyError: "key: expected a word of the vocabulary, got 'bird'"
    """

    _pickle_family = "keyed_vectors"
    _attributes = frozenset({"expandos", "duplicates"})

    # --- files ---

    def save(
        self,
        fname: PathLike,
        separately: None = None,
        sep_limit: int = 10 * 1024**2,
        ignore: frozenset[str] = frozenset(),
        pickle_protocol: int = 4,
    ) -> None:
        """Write vectors, words and attributes as safetensors; a kill at any moment leaves the old file or the new one.

        Args:
            fname: the file.
            separately, sep_limit, ignore, pickle_protocol: arguments of gensim's, only at their defaults.

        Raises:
            ValueError: no words, or an attribute that holds objects.
            OSError: it cannot be written; the old file is untouched.
        """
        one_file(separately, sep_limit, ignore, pickle_protocol)
        if not len(self):
            raise ValueError("vectors: expected at least one word, got none")
        write_vectors(path_of(fname, "fname"), self)

    @classmethod
    def load(cls, fname: PathLike, mmap: bool | str | None = None) -> KeyedVectors:
        """Read a file of :meth:`save`.

        Args:
            fname: the file.
            mmap: True or "r" leaves the vectors in the file; they are read (and checked for NaN) when they are used.

        Raises:
            ValueError: naming the file and the damage.
            OSError: it cannot be read.
        """
        if not (mmap is None or isinstance(mmap, (bool, str))) or mmap not in (None, False, True, "r"):
            raise ValueError(f"mmap: expected None or 'r' (a mapped file is only read), got {short_repr(mmap)}")
        vectors, words, attributes = read_vectors(path_of(fname, "fname"), bool(mmap))
        kv = cls(vectors, words)
        kv.expandos |= attributes
        return kv

    def save_word2vec_format(
        self,
        fname: PathLike,
        fvocab: PathLike | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write word2vec's text or binary format, GloVe's without ``write_header``.

        Args:
            fname: the file, packed if its name ends in ``.gz`` or ``.bz2``.
            fvocab: also writes ``sort_attr`` (the counts), as lines of word and number.
            binary: float32 numbers instead of text.
            total_vec: V or None; more rows than there are cannot follow.
            write_header: False: without the line "V D".
            prefix: put before each word.
            append: False; writes are atomic.
            sort_attr: the rows with the largest values of this attribute come first; without it they keep their order.

        Raises:
            ValueError: a word that the format cannot hold, or ``fvocab`` without the attribute.
        """
        default_only("append", append, False, "writes are atomic")
        default_only("total_vec", total_vec, (None, len(self)), "the first line says how many rows there are")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix: expected a text, got {short_repr(prefix)}")
        if not isinstance(sort_attr, str):
            raise TypeError(f"sort_attr: expected the name of an attribute, got {short_repr(sort_attr)}")
        values = self.expandos.get(sort_attr)
        if values is not None and values.dtype.kind == "O":
            raise ValueError(f"sort_attr: expected an attribute of numbers, got objects in {sort_attr!r}")
        if fvocab is not None and values is None:
            raise ValueError(f"fvocab: expected vectors with the attribute {sort_attr!r}, got some without")
        words, vectors = [f"{prefix}{word}" for word in self.index_to_key], np.asarray(self.vectors)
        if values is not None and (values[1:] > values[:-1]).any():
            order = np.argsort(-values.astype(np.float64), kind="stable")
            words, vectors, values = [words[row] for row in order], vectors[order], values[order]
        fname, binary, header = (
            path_of(fname, "fname"),
            boolean("binary", binary),
            boolean("write_header", write_header),
        )
        if binary and not header:
            raise ValueError("write_header: expected True for a binary file, got False")
        if fvocab is not None and values is not None:
            file_formats.write_counts(path_of(fvocab, "fvocab"), words, values.tolist())
        file_formats.write_word2vec(fname, vectors, words, binary, header)

    @classmethod
    def load_word2vec_format(
        cls,
        fname: PathLike,
        fvocab: PathLike | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
        *,
        max_bytes: int | None = None,
    ) -> KeyedVectors:
        """Read word2vec's text or binary format, plain or packed by gzip or bzip2.

        Args:
            fname: the file.
            fvocab: file with the counts, lines of word and count.
            binary: float32 numbers instead of text.
            encoding, unicode_errors: of the words, as in ``bytes.decode``.
            limit: reads the first rows only.
            datatype: float32, the type of all vectors here.
            no_header: text without the line "V D", as GloVe's.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        A word that occurs twice keeps its first vector; ``duplicates`` counts the rows that were left out.

        Raises:
            ValueError: naming the file, the line or byte, and the error there.
            OSError: it cannot be read.
        """
        as_float32("datatype", datatype)
        fname, binary, no_header = path_of(fname, "fname"), boolean("binary", binary), boolean("no_header", no_header)
        counts: dict[str, int] = {}
        if fvocab is not None:
            counts = file_formats.read_counts(path_of(fvocab, "fvocab"), encoding, unicode_errors, max_bytes)
        vectors, words, duplicates = file_formats.read_word2vec(
            fname, binary, limit, encoding, unicode_errors, not no_header, max_bytes
        )
        missing = next((word for word in words if fvocab is not None and word not in counts), None)
        if missing is not None:
            raise ValueError(f"fvocab: expected a count for every word, got none for {missing!r}")
        kv = cls(vectors, words, None if fvocab is None else [counts[word] for word in words])
        kv.duplicates = duplicates
        return kv

    @classmethod
    def load_glove(cls, path: PathLike, limit: int | None = None, *, max_bytes: int | None = None) -> KeyedVectors:
        """Read GloVe's text: ``load_word2vec_format(path, no_header=True, limit=limit, max_bytes=max_bytes)``."""
        return cls.load_word2vec_format(path_of(path), no_header=True, limit=limit, max_bytes=max_bytes)

    def intersect_word2vec_format(
        self,
        fname: PathLike,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        *,
        max_bytes: int | None = None,
    ) -> int:
        """Take the vectors of known words from a file in word2vec's format; other words of the file are left out.

        Args:
            fname: the file.
            lockf: ``vectors_lockf`` of these words: 0 freezes them, 1 trains them.
            binary, encoding, unicode_errors, max_bytes: as for :meth:`load_word2vec_format`.

        Returns:
            How many words there were in both.

        Raises:
            ValueError: vectors of another size, or a damaged file. Nothing is changed then.
        """
        factor = real("lockf", lockf)
        binary = boolean("binary", binary)
        place = path_of(fname, "fname")
        vectors, words, _ = file_formats.read_word2vec(
            place, binary, None, encoding, unicode_errors, max_bytes=max_bytes
        )
        if vectors.shape[1] != self.vector_size:
            size = vectors.shape[1]
            raise ValueError(f"fname: expected vectors of {self.vector_size} numbers, got {size} in {fname!s}")
        rows = self.rows_of(words)
        known = rows >= 0
        self.add_vectors([word for word in words if word in self.key_to_index], vectors[known], replace=True)
        self.vectors_lockf[rows[known]] = factor
        return int(known.sum())

    def vectors_for_all(
        self, keys: Iterable[Key], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> KeyedVectors:
        """The vectors of some words, each once and in their order, as new :class:`KeyedVectors`.

        Args:
            keys: words; unknown ones are left out.
            allow_inference: also takes row numbers, which become words of the result.
            copy_vecattrs: takes the attributes along.

        >>> kv = KeyedVectors([[1, 2], [3, 4]], ["cat", "dog"])
        >>> kv.vectors_for_all(["dog", "bird"]).index_to_key
        ['dog']
        """
        rows_too = boolean("allow_inference", allow_inference)
        among = self if rows_too else self.key_to_index
        words = dict.fromkeys(key for key in as_list("keys", keys) if is_key(key))
        rows: dict[Any, int] = {word: self.get_index(word) for word in words if word in among}
        chosen = KeyedVectors(vector_size=self.vector_size)
        chosen.add_vectors(list(rows), self.vectors[list(rows.values())])
        if boolean("copy_vecattrs", copy_vecattrs):
            chosen.expandos = {name: array[list(rows.values())] for name, array in self.expandos.items()}
        return chosen

    # --- as a layer ---

    def embedding_matrix(
        self, words: Vocabulary | Iterable[str], missing: str = "zero", seed: int | None = None
    ) -> tuple[Floats, list[str]]:
        """The rows for the words of a model, in its order.

        Args:
            words: N words, or a vocabulary.
            missing: "zero" or "random": the rows of words without a vector; random rows are normal with the
                standard deviation that the found rows have in each column.
            seed: of the random rows; None takes the global generator.

        Returns:
            (N, D) float32, and the words without a vector.

        Raises:
            ValueError: another word than zero or random, or no words.

        >>> kv = KeyedVectors([[1, 2], [3, 4]], ["cat", "dog"])
        >>> matrix, unknown = kv.embedding_matrix(["dog", "bird"])
        >>> matrix.tolist(), unknown
        ([[3.0, 4.0], [0.0, 0.0]], ['bird'])
        """
        choice("missing", missing, ("zero", "random"))
        listed = as_list("words", words, needed=True)
        rows = self.rows_of(listed)
        matrix = np.zeros((len(listed), self.vector_size), np.float32)
        known = rows >= 0
        matrix[known] = self.vectors[rows[known]]
        if missing == "random" and not known.all():
            deviation = np.std(matrix[known] if known.any() else self.vectors, axis=0)
            matrix[~known] = _random.generator(seed).normal(size=(int((~known).sum()), self.vector_size)) * deviation
        return matrix, [word for word, row in zip(listed, rows.tolist()) if row < 0]

    def to_embedding(self, trainable: bool = False, **options: Any) -> layers.Embedding:
        """An ``Embedding`` of all words with these vectors, ids as in ``key_to_index``; a copy, frozen by default.

        >>> layer = KeyedVectors([[1, 2], [3, 4]], ["cat", "dog"]).to_embedding()
        >>> layer([1]).numpy().tolist(), layer.trainable
        ([[3.0, 4.0]], False)
        """
        shape = len(self), self.vector_size
        return layers.Embedding(*shape, weights=np.asarray(self.vectors), trainable=trainable, **options)
