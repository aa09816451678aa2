"""KeyedVectors: word vectors with the queries, tests and files that gensim's users know, and as an Embedding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import layers, vector_files, word_tests
from . import random as _random
from .nearest import nearest, norms_of, unit_rows
from .text import PathLike, Vocabulary
from .vector_files import VectorTable

Floats = NDArray[np.float32]


class KeyedVectors:
    """A vector for each word; names and meaning as in gensim 4.

    Args:
        vectors: (V, D) numbers, row i for word i; a float32 array is used as it is, without a copy.
        index_to_key: V words, each once, best the most frequent first.
        counts: (V,) integers, how often each word was seen, if known.

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

    def __init__(self, vectors: Any, index_to_key: Iterable[str], counts: Any = None) -> None:
        table = np.asanyarray(vectors)
        if table.dtype.kind not in "fiu":
            raise TypeError(f"vectors: expected numbers, got {table.dtype}")
        words = list(index_to_key)
        if table.ndim != 2 or len(table) != len(words) or not table.size:
            raise ValueError(f"vectors: expected shape ({len(words)}, D), a row for each word, got {table.shape}")
        rows: dict[str, int] = {}
        for row, word in enumerate(words):
            if not isinstance(word, str):
                raise TypeError(f"index_to_key: expected strings, got {word!r} at position {row}")
            if rows.setdefault(word, row) != row:
                raise ValueError(f"index_to_key: expected each word once, got {word!r} at {rows[word]} and {row}")
        if counts is not None:
            counts = np.asarray(counts)
            if counts.shape != (len(words),) or counts.dtype.kind not in "iu":
                raise ValueError(f"counts: expected {len(words)} integers, got {counts.dtype} of shape {counts.shape}")
            counts = counts.astype(np.int64)
        self.vectors: Floats = table if table.dtype == np.float32 else table.astype(np.float32)
        self.index_to_key = words
        self.key_to_index = rows
        self.counts: NDArray[np.int64] | None = counts
        self.duplicates = 0
        """How many rows of the file were left out because their word had come before."""
        self._norms: Floats | None = None

    @classmethod
    def _from_table(cls, table: VectorTable) -> KeyedVectors:
        found = cls(table.vectors, table.words, table.counts)
        found.duplicates = table.duplicates
        return found

    # --- words and their vectors ---

    @property
    def vector_size(self) -> int:
        """D, numbers per vector."""
        return int(self.vectors.shape[1])

    @property
    def norms(self) -> Floats:
        """(V,) lengths of the vectors, computed once; :meth:`fill_norms` after a change of ``vectors``."""
        if self._norms is None:
            self.fill_norms()
        return cast(Floats, self._norms)

    def fill_norms(self, force: bool = False) -> None:
        """Computes the lengths of the vectors; anew, with ``force``, after ``vectors`` were changed."""
        if self._norms is None or force or len(self._norms) != len(self.vectors):
            self._norms = norms_of(self.vectors, self.index_to_key)

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return key in self.key_to_index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index_to_key)

    def __repr__(self) -> str:
        return f"<KeyedVectors {len(self)} words, vector_size={self.vector_size}>"

    def __getitem__(self, key_or_keys: str | int | Sequence[str | int]) -> Floats:
        """The vector (D,) of a word, or (N, D) of a list of words.

        Raises:
            KeyError: naming the word that is not there.
        """
        if isinstance(key_or_keys, (str, int, np.integer)):
            return self.get_vector(key_or_keys)
        rows = [self.get_index(key) for key in key_or_keys]
        return np.asarray(self.vectors[rows]) if rows else np.empty((0, self.vector_size), np.float32)

    def get_index(self, key: str | int, default: int | None = None) -> int:
        """The row of a word; a row number stands for itself.

        Raises:
            KeyError: a word that is not there, unless there is a ``default``.
        """
        if isinstance(key, str):
            row = self.key_to_index.get(key, default)
        else:
            row = int(key) if isinstance(key, (int, np.integer)) and 0 <= key < len(self) else default
        if row is None:
            raise KeyError(f"key: expected a word of the vocabulary, got {key!r}")
        return row

    def get_vector(self, key: str | int, norm: bool = False) -> Floats:
        """(D,) the vector of a word, read-only; with ``norm`` scaled to length 1."""
        row = self.get_index(key)
        vector: Floats = self.unit_vectors([row])[0] if norm else np.asarray(self.vectors[row])
        vector.flags.writeable = False
        return vector

    def get_vecattr(self, key: str | int, attr: str) -> int:
        """``get_vecattr(word, "count")``: how often the word was seen.

        Raises:
            KeyError: an unknown word, another attribute, or counts that are not known.
        """
        row = self.get_index(key)
        if attr != "count" or self.counts is None:
            known = "count" if self.counts is not None else "none, since the counts are not known"
            raise KeyError(f"attr: expected {known}, got {attr!r}")
        return int(self.counts[row])

    def get_normed_vectors(self) -> Floats:
        """(V, D) all vectors scaled to length 1."""
        return unit_rows(self.vectors, self.norms)

    def unit_vectors(self, rows: Any) -> Floats:
        """(N, D) the vectors of some rows scaled to length 1."""
        chosen = np.asarray(rows, np.intp)
        return unit_rows(self.vectors[chosen], self.norms[chosen])

    def get_mean_vector(
        self,
        keys: Sequence[str | int | Floats],
        weights: Any = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> Floats:
        """(D,) weighted mean of vectors, divided by the sum of the absolute weights.

        Args:
            keys: words, row numbers or vectors (D,).
            weights: (len(keys),), 1 without it.
            pre_normalize: scales the vectors of words to length 1 before.
            post_normalize: scales the mean to length 1.
            ignore_missing: leaves out unknown words instead of raising.

        Raises:
            KeyError: an unknown word, unless they are ignored.
            ValueError: no keys, other weights, or a vector of another size.
        """
        if not len(keys):
            raise ValueError("keys: expected at least one, got none")
        scales = np.ones(len(keys)) if weights is None else np.asarray(weights, np.float64)
        if scales.shape != (len(keys),):
            raise ValueError(f"weights: expected {len(keys)}, one for each key, got shape {scales.shape}")
        total, size = np.zeros(self.vector_size), 0.0
        for key, scale in zip(keys, scales.tolist()):
            if isinstance(key, (str, int, np.integer)):
                if ignore_missing and self.get_index(key, -1) < 0:
                    continue
                total += scale * self.get_vector(key, norm=pre_normalize)
            else:
                total += scale * self._check_vector("keys", key)
            size += abs(scale)
        if size:
            total /= size
        if post_normalize:
            total /= float(np.linalg.norm(total)) or 1.0
        return total.astype(np.float32)

    def _check_vector(self, name: str, vector: Any) -> Floats:
        array = np.asarray(vector)
        if array.dtype.kind not in "fiu" or array.shape != (self.vector_size,) or not np.isfinite(array).all():
            raise ValueError(
                f"{name}: expected words or vectors of {self.vector_size} finite numbers, "
                f"got {array.dtype} of shape {array.shape}"
            )
        return array.astype(np.float32)

    # --- neighbours ---

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The words nearest to the sum of some vectors minus others, the words asked for left out.

        Args:
            positive, negative: a word, a vector (D,), or a list of words, vectors and pairs (word or vector, weight).
            topn: how many; None gives the cosines of all rows instead.
            clip_start, clip_end: rows to search.
            restrict_vocab: searches the first rows only.

        Returns:
            ``topn`` pairs (word, cosine), the nearest first; or (rows,) float32 cosines.

        Raises:
            KeyError: naming a word that is not there.
            ValueError: nothing asked for, or numbers out of range.
        """
        items = [(item, 1.0) for item in _as_list(positive)] + [(item, -1.0) for item in _as_list(negative)]
        keys = [item[0] if isinstance(item, tuple) else item for item, _ in items]
        weights = [item[1] if isinstance(item, tuple) else sign for item, sign in items]
        if not keys:
            raise ValueError("positive: expected words or vectors, got none")
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        asked = {self.get_index(cast(str, key)) for key in keys if isinstance(key, (str, int, np.integer))}
        return self._similar(mean, topn, asked, clip_start, clip_end, restrict_vocab)

    def similar_by_word(self, word: str | int, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of one word."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    similar_by_key = similar_by_word

    def similar_by_vector(self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of a vector (D,)."""
        return self.most_similar([self._check_vector("vector", vector)], topn=topn, restrict_vocab=restrict_vocab)

    def _similar(
        self, unit: Floats, topn: int | None, left_out: set[int], begin: int, end: int | None, restrict: int | None
    ) -> Any:
        if restrict is not None:
            begin, end = 0, restrict
        for name, value in (("clip_start", begin), ("clip_end" if restrict is None else "restrict_vocab", end)):
            if value is not None and (not isinstance(value, (int, np.integer)) or value < 0):
                raise ValueError(f"{name}: expected an integer >= 0 or None, got {value!r}")
        end = len(self) if end is None else min(end, len(self))
        if topn is None:
            part = slice(begin, end)
            return unit_rows(self.vectors[part], self.norms[part]) @ unit
        if not isinstance(topn, (int, np.integer)):
            raise TypeError(f"topn: expected an integer or None, got {topn!r}")
        if topn < 1 or begin >= end:
            return []
        rows, cosines = nearest(self.vectors, self.norms, unit[None], int(topn) + len(left_out), begin, end)
        found = zip(rows[0].tolist(), cosines[0].tolist())
        return [(self.index_to_key[row], cosine) for row, cosine in found if row not in left_out][:topn]

    def nearest_rows(self, queries: Any, topn: int, restrict_vocab: int | None = None) -> tuple[Any, Floats]:
        """Rows and cosines (Q, topn) of the vectors nearest to each of many queries (Q, D), the nearest first."""
        wanted = np.ascontiguousarray(queries, np.float32)
        unit = unit_rows(wanted, norms_of(wanted, [f"query {number}" for number in range(len(wanted))]))
        end = len(self) if restrict_vocab is None else min(restrict_vocab, len(self))
        return nearest(self.vectors, self.norms, unit, topn, 0, end)

    # --- single numbers ---

    def similarity(self, w1: str | int, w2: str | int) -> float:
        """The cosine between two words."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: str | int, w2: str | int) -> float:
        """1 - :meth:`similarity`."""
        return 1.0 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Any, other_words: Iterable[str] = ()) -> Floats:
        """1 - cosine from a word or vector to ``other_words``, or to all words."""
        known = isinstance(word_or_vector, (str, int, np.integer))
        vector = self.get_vector(word_or_vector) if known else self._check_vector("word_or_vector", word_or_vector)
        unit = unit_rows(vector[None], np.linalg.norm(vector[None], axis=1))[0]
        rows = [self.get_index(word) for word in other_words]
        others = self.unit_vectors(rows) if rows else self.get_normed_vectors()
        result: Floats = 1 - others @ unit
        return result

    def n_similarity(self, ws1: Sequence[str], ws2: Sequence[str]) -> float:
        """The cosine between the means of two lists of words.

        Raises:
            KeyError: naming a word that is not there.
            ValueError: an empty list.
        """
        for name, words in (("ws1", ws1), ("ws2", ws2)):
            if not len(words):
                raise ValueError(f"{name}: expected at least one word, got none")
        one, other = (self.get_mean_vector(list(ws), None, False, True, ignore_missing=False) for ws in (ws1, ws2))
        return float(one @ other)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word furthest from the mean of all; unknown ones are left out.

        Raises:
            ValueError: no known word.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError(f"words: expected words of the vocabulary, got {list(words)!r}")
        unit = self.unit_vectors([self.get_index(word) for word in known])
        # gensim sorts pairs (cosine, word) and takes the last in falling order: of equal ones the first by name.
        return min(zip((unit @ unit.mean(axis=0)).tolist(), known))[1]

    def closer_than(self, key1: str, key2: str) -> list[str]:
        """Words closer to ``key1`` than ``key2`` is."""
        distances = self.distances(key1)
        row = self.get_index(key1)
        closer = np.flatnonzero(distances < distances[self.get_index(key2)]).tolist()
        return [self.index_to_key[one] for one in closer if one != row]

    def rank(self, key1: str, key2: str) -> int:
        """1 for the word nearest to ``key1``, 2 for the next, ...: where ``key2`` stands."""
        return len(self.closer_than(key1, key2)) + 1

    def most_similar_to_given(self, key1: str, keys_list: Sequence[str]) -> str:
        """The one of ``keys_list`` nearest to ``key1``."""
        if not len(keys_list):
            raise ValueError("keys_list: expected at least one word, got none")
        return keys_list[int(np.argmin(self.distances(key1, keys_list)))]

    # --- tests ---

    def evaluate_word_analogies(
        self,
        analogies: PathLike | word_tests.Questions,
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[float, list[dict[str, Any]]]:
        """The share of questions "a is to b as c is to ?" that the word nearest to b - a + c answers.

        Args:
            analogies: a file in the format of questions-words.txt, plain or gzip, or {section: [(a, b, c, d), ...]}.
            restrict_vocab: uses the first words only; questions with others count as unknown.
            case_insensitive: compares words in upper case; of several spellings the first one's vector counts.
            dummy4unknown: questions with unknown words count as wrong instead of being left out.

        Returns:
            The score, and for each section and for "Total accuracy" a dict of section, correct and incorrect.

        Raises:
            ValueError: no such file of questions.
        """
        return word_tests.evaluate_analogies(self, analogies, restrict_vocab, case_insensitive, dummy4unknown)

    def evaluate_word_pairs(
        self,
        pairs: PathLike,
        delimiter: str = "\t",
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The correlation of cosines with human scores.

        Args:
            pairs: lines of word, word, score, plain or gzip; lines that start with # and others are left out.
            delimiter: between the three.
            restrict_vocab, case_insensitive: as in :meth:`evaluate_word_analogies`.
            dummy4unknown: pairs with unknown words count with cosine 0 instead of being left out.

        Returns:
            Pearson's and Spearman's correlation, each with its two-sided p-value (NaN unless SciPy is installed), and
            the percentage of pairs with unknown words.

        Raises:
            ValueError: no pair left.
        """
        return word_tests.evaluate_pairs(self, pairs, delimiter, restrict_vocab, case_insensitive, dummy4unknown)

    # --- files ---

    def save(self, path: PathLike) -> None:
        """Writes vectors, words and counts as safetensors; a kill at any moment leaves the old file or the new one."""
        table = VectorTable(np.asarray(self.vectors), self.index_to_key, self.counts)
        vector_files.write_table(path, table)

    @classmethod
    def load(cls, path: PathLike, mmap: bool = False) -> KeyedVectors:
        """Reads what :meth:`save` wrote.

        Args:
            path: the file.
            mmap: leaves the vectors in the file; they are read (and checked for NaN) when they are used.

        Raises:
            ValueError: naming the file and what is wrong with it.
            OSError: it cannot be read.
        """
        return cls._from_table(vector_files.read_table(path, mmap))

    def save_word2vec_format(
        self, path: PathLike, fvocab: PathLike | None = None, binary: bool = False, write_header: bool = True
    ) -> None:
        """Writes word2vec's text or binary format, GloVe's without ``write_header``; gzip for names in ``.gz``.

        Args:
            path: the file.
            fvocab: also writes the counts, as lines of word and count.
            binary: float32 numbers instead of text.
            write_header: False: without the line "V D".

        Raises:
            ValueError: a word that the format cannot hold, or no counts for ``fvocab``.
        """
        if fvocab is not None and self.counts is None:
            raise ValueError("fvocab: expected vectors with counts, got some without")
        vector_files.write_word2vec(path, self.vectors, self.index_to_key, binary, write_header)
        if fvocab is not None and self.counts is not None:
            vector_files.write_counts(fvocab, self.index_to_key, self.counts.tolist())

    @classmethod
    def load_word2vec_format(
        cls,
        path: PathLike,
        fvocab: PathLike | None = None,
        binary: bool = False,
        encoding: str = "utf-8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        no_header: bool = False,
    ) -> KeyedVectors:
        """Reads word2vec's text or binary format, plain or gzip.

        Args:
            path: the file.
            fvocab: file with the counts, lines of word and count.
            binary: float32 numbers instead of text.
            encoding, unicode_errors: of the words, as in ``bytes.decode``.
            limit: reads the first rows only.
            no_header: text without the line "V D", as GloVe's.

        A word that comes twice keeps its first vector; ``duplicates`` says how many rows were left out.

        Raises:
            ValueError: naming file and line or byte and what is wrong there.
            OSError: it cannot be read.
        """
        counts = None if fvocab is None else vector_files.read_counts(fvocab, encoding, unicode_errors)
        table = vector_files.read_word2vec(path, binary, limit, encoding, unicode_errors, not no_header)
        if counts is not None:
            missing = next((word for word in table.words if word not in counts), None)
            if missing is not None:
                raise ValueError(f"fvocab: expected a count for every word, got none for {missing!r}")
            table.counts = np.array([counts[word] for word in table.words], np.int64)
        return cls._from_table(table)

    @classmethod
    def load_glove(cls, path: PathLike, limit: int | None = None) -> KeyedVectors:
        """Reads GloVe's text, plain or gzip: ``load_word2vec_format(path, no_header=True, limit=limit)``."""
        return cls.load_word2vec_format(path, no_header=True, limit=limit)

    # --- as a layer ---

    def embedding_matrix(
        self, words: Vocabulary | Iterable[str], missing: str = "zero", seed: int | None = None
    ) -> tuple[Floats, list[str]]:
        """The rows for the words of a model, in its order.

        Args:
            words: N words, or a vocabulary.
            missing: "zero" or "random": what stands for words without a vector; random rows are normal with the
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
        if missing not in ("zero", "random"):
            raise ValueError(f"missing: expected 'zero' or 'random', got {missing!r}")
        if isinstance(words, str):
            raise TypeError("words: expected a sequence of words, got one string")
        listed = list(words)
        if not listed:
            raise ValueError("words: expected at least one, got none")
        rows = np.fromiter((self.key_to_index.get(word, -1) for word in listed), np.intp, len(listed))
        matrix = np.zeros((len(listed), self.vector_size), np.float32)
        known = rows >= 0
        matrix[known] = self.vectors[rows[known]]
        if missing == "random" and not known.all():
            generator = _random.generator() if seed is None else np.random.Generator(np.random.Philox(seed))
            deviation = np.std(matrix[known] if known.any() else self.vectors, axis=0)
            matrix[~known] = generator.normal(size=(int((~known).sum()), self.vector_size)) * deviation
        return matrix, [word for word, row in zip(listed, rows.tolist()) if row < 0]

    def to_embedding(self, trainable: bool = False, **options: Any) -> layers.Embedding:
        """An ``Embedding`` of all words with these vectors, ids as in ``key_to_index``; a copy, frozen by default.

        >>> layer = KeyedVectors([[1, 2], [3, 4]], ["cat", "dog"]).to_embedding()
        >>> layer([1]).numpy().tolist(), layer.trainable
        ([[3.0, 4.0]], False)
        """
        shape = len(self), self.vector_size
        return layers.Embedding(*shape, weights=np.asarray(self.vectors), trainable=trainable, **options)


def _as_list(items: Any) -> list[Any]:
    """One word, number, vector or weighted pair as a list of one; None as an empty one."""
    if items is None:
        return []
    single = isinstance(items, (str, int, np.integer)) or (isinstance(items, np.ndarray) and items.ndim == 1)
    if single or (isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], (float, int))):
        return [items]
    return list(items)
