"""KeyedVectors: word vectors with the queries, tests and files that gensim's users know, and as an Embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from .. import layers
from .. import random as _random
from .._validation import at_least, boolean, default_only, real, short_repr
from ..text.files import path_of
from ..text.vocabulary import Vocabulary
from ..typing import PathLike
from . import evaluation as word_tests
from . import file_formats as vector_files
from .file_formats import VectorTable
from .keyed_table import Floats, KeyedTable, as_float32, as_floats, as_list, one_file
from .nearest import nearest, norms_of, top_columns, unit_rows


class KeyedVectors(KeyedTable):
    """A vector for each word; names and meaning as in gensim 4.

    Args:
        vectors: (V, D) numbers, row i for word i; a float32 array is used as it is, without a copy.
        index_to_key: V words, each once, best the most frequent first.
        counts: (V,) integers, how often each word was seen, if known.
        vector_size: D of a table that is empty as yet, in place of ``vectors`` (or as the first argument).
        count, dtype, mapfile_path: arguments of gensim's, at their defaults alone.

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

    _attributes = frozenset({"expandos", "duplicates"})

    @classmethod
    def _from_table(cls, table: VectorTable) -> KeyedVectors:
        found = cls(table.vectors, table.words, table.counts)
        found.expandos |= table.attributes
        found.duplicates = table.duplicates
        return found

    # --- words and their vectors ---

    def __getitem__(self, key_or_keys: str | int | Sequence[str | int]) -> Floats:
        """The vector (D,) of a word, or (N, D) of a list of words.

        Raises:
            KeyError: naming the word that is not there.
        """
        if isinstance(key_or_keys, (str, int, np.integer)):
            return self.get_vector(key_or_keys)
        rows = [self.get_index(key) for key in as_list("key_or_keys", key_or_keys)]
        return np.asarray(self.vectors[rows]) if rows else np.empty((0, self.vector_size), np.float32)

    def get_vector(self, key: str | int | np.integer[Any], norm: bool = False) -> Floats:
        """(D,) the vector of a word, read-only; with ``norm`` scaled to length 1."""
        row = self.get_index(key)
        vector: Floats = self.unit_vectors([row])[0] if boolean("norm", norm) else np.asarray(self.vectors[row])
        vector.flags.writeable = False
        return vector

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
        items: list[Any] = as_list("keys", keys)
        if not items:
            raise ValueError("keys: expected at least one, got none")
        pre_normalize, post_normalize = (
            boolean("pre_normalize", pre_normalize),
            boolean("post_normalize", post_normalize),
        )
        ignore_missing = boolean("ignore_missing", ignore_missing)
        scales = np.ones(len(items)) if weights is None else np.asarray(weights)
        if scales.dtype.kind not in "fiu" or not np.isfinite(scales).all():
            raise ValueError(f"weights: expected finite numbers, got {short_repr(weights)}")
        if scales.shape != (len(items),):
            raise ValueError(f"weights: expected {len(items)}, one for each key, got shape {scales.shape}")
        total, size = np.zeros(self.vector_size), 0.0
        for key, scale in zip(items, scales.tolist()):
            if isinstance(key, (str, int, np.integer)):
                if ignore_missing and self.get_index(key, -1) < 0:
                    continue
                total += scale * self.get_vector(key, norm=pre_normalize)
            else:
                total += scale * self._check_vector("keys", key)
            size += abs(scale)
        if size:
            total /= size
        if boolean("post_normalize", post_normalize):
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
        indexer: Any = None,
    ) -> Any:
        """The words nearest to the sum of some vectors minus others, the words asked for left out.

        Args:
            positive, negative: a word, a vector (D,), or a list of words, vectors and pairs (word or vector, weight).
            topn: how many; None gives the cosines of all rows instead.
            clip_start, clip_end: rows to search.
            restrict_vocab: searches the first rows only.
            indexer: an index of other vectors or an approximate one: what its ``most_similar(vector, topn)`` gives
                is returned.

        Returns:
            ``topn`` pairs (word, cosine), the nearest first; or (rows,) float32 cosines.

        Raises:
            KeyError: naming a word that is not there.
            ValueError: nothing asked for, or numbers out of range.
        """
        items = [(item, 1.0) for item in _asked("positive", positive)] + [
            (item, -1.0) for item in _asked("negative", negative)
        ]
        keys = [item[0] if isinstance(item, tuple) else item for item, _ in items]
        weights = [item[1] if isinstance(item, tuple) else sign for item, sign in items]
        if not keys:
            raise ValueError("positive: expected words or vectors, got none")
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        if indexer is not None and not callable(getattr(indexer, "most_similar", None)):
            raise TypeError(f"indexer: expected an object with most_similar, got {short_repr(indexer)}")
        if indexer is not None and topn is not None:
            return indexer.most_similar(mean, topn)
        asked = {self.get_index(cast(str, key)) for key in keys if isinstance(key, (str, int, np.integer))}
        return self._similar(mean, topn, asked, clip_start, clip_end, restrict_vocab)

    def similar_by_word(self, word: str | int, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of one word."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_key(self, key: str | int, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of one word."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_vector(self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of a vector (D,)."""
        return self.most_similar([self._check_vector("vector", vector)], topn=topn, restrict_vocab=restrict_vocab)

    def _similar(
        self, unit: Floats, topn: int | None, left_out: set[int], begin: int, end: int | None, restrict: int | None
    ) -> Any:
        begin, end = self._range(begin, end, restrict)
        if topn is None:
            part = slice(begin, end)
            return unit_rows(self.vectors[part], self.norms[part]) @ unit
        if not isinstance(topn, (int, np.integer)):
            raise TypeError(f"topn: expected an integer or None, got {short_repr(topn)}")
        if topn < 1 or begin >= end:
            return []
        rows, cosines = nearest(self.vectors, self.norms, unit[None], int(topn) + len(left_out), begin, end)
        found = zip(rows[0].tolist(), cosines[0].tolist())
        return [(self.index_to_key[row], cosine) for row, cosine in found if row not in left_out][:topn]

    def _range(self, begin: int, end: int | None, restrict: int | None) -> tuple[int, int]:
        """First and last row to search."""
        if restrict is not None:
            begin, end = 0, restrict
        if end is not None:
            end = at_least("clip_end" if restrict is None else "restrict_vocab", end, 0)
        return at_least("clip_start", begin, 0), len(self) if end is None else min(end, len(self))

    def most_similar_cosmul(
        self, positive: Any = None, negative: Any = None, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """The words for which the product of the cosines with ``positive``, over that with ``negative``, is largest.

        Cosines are moved to 0...1 before ("3CosMul", Levy & Goldberg 2014, equation 4), 1e-6 is added to the divisor.

        Args:
            positive, negative: a word, a vector (D,) of length 1, or a list of these.
            topn: how many; None gives the numbers of all rows instead.
            restrict_vocab: searches the first rows only.

        Raises:
            KeyError: naming a word that is not there.
            ValueError: nothing asked for.

        >>> kv = KeyedVectors([[1, 0], [0.9, 0.1], [0, 1]], ["cat", "dog", "car"])
        >>> kv.most_similar_cosmul("cat", topn=1)[0][0]
        'dog'
        """
        _, end = self._range(0, None, restrict_vocab)
        if topn is not None and not isinstance(topn, (int, np.integer)):
            raise TypeError(f"topn: expected an integer or None, got {short_repr(topn)}")
        terms, asked = [], set()
        for name, items in (("positive", _asked("positive", positive)), ("negative", _asked("negative", negative))):
            if name == "positive" and not items:
                raise ValueError("positive: expected words or vectors, got none")
            product = np.ones(end, np.float32)
            for item in items:
                if isinstance(item, (str, int, np.integer)):
                    asked.add(row := self.get_index(cast(str, item)))
                    vector = self.unit_vectors([row])[0]
                else:
                    vector = self._check_vector(name, item)
                norms = np.where(self.norms[:end] > 0, self.norms[:end], np.float32(1))
                product *= (1 + self.vectors[:end] @ vector / norms) / 2
            terms.append(product)
        scores: Floats = terms[0] / (terms[1] + np.float32(1e-6))
        if topn is None:
            return scores
        best = top_columns(scores[None], min(max(int(topn), 0) + len(asked), end))[0] if topn > 0 and end else []
        order = sorted((row for row in best if row not in asked), key=lambda row: (-scores[row], row))
        return [(self.index_to_key[row], float(scores[row])) for row in order[:topn]]

    def nearest_rows(self, queries: Any, topn: int, restrict_vocab: int | None = None) -> tuple[Any, Floats]:
        """Rows and cosines (Q, topn) of the vectors nearest to each of many queries (Q, D), the nearest first."""
        wanted = np.ascontiguousarray(as_floats("queries", queries))
        if wanted.ndim != 2 or wanted.shape[1] != self.vector_size:
            raise ValueError(f"queries: expected shape (Q, {self.vector_size}), got {wanted.shape}")
        topn, (_, end) = at_least("topn", topn, 1), self._range(0, None, restrict_vocab)
        unit = unit_rows(wanted, norms_of(wanted, [f"query {number}" for number in range(len(wanted))]))
        return nearest(self.vectors, self.norms, unit, topn, 0, end)

    # --- single numbers ---

    def similarity(self, w1: str | int, w2: str | int) -> float:
        """The cosine between two words."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: str | int, w2: str | int) -> float:
        """1 - :meth:`similarity`."""
        return 1.0 - self.similarity(w1, w2)

    @staticmethod
    def cosine_similarities(vector_1: Any, vectors_all: Any) -> Floats:
        """(N,) cosines between a vector (D,) and rows (N, D); 0 for rows of zeros."""
        vector, rows = as_floats("vector_1", vector_1), as_floats("vectors_all", vectors_all)
        if vector.ndim != 1:
            raise ValueError(f"vector_1: expected shape (D,), got {vector.shape}")
        if rows.ndim != 2 or rows.shape[1] != len(vector):
            raise ValueError(f"vectors_all: expected rows of {vector.size} numbers as vector_1, got shape {rows.shape}")
        unit = unit_rows(vector[None], np.linalg.norm(vector[None], axis=1))[0]
        cosines: Floats = unit_rows(rows, np.linalg.norm(rows, axis=1)) @ unit
        return cosines

    def relative_cosine_similarity(self, wa: str | int, wb: str | int, topn: int = 10) -> float:
        """The cosine of two words over the sum of those of the ``topn`` words nearest to ``wa``.

        After Leeuwenberg et al. 2016, equation 1.
        """
        nearest_words = self.similar_by_key(wa, at_least("topn", topn, 1))
        return self.similarity(wa, wb) / float(sum(cosine for _, cosine in nearest_words))

    def distances(self, word_or_vector: Any, other_words: Iterable[str | int] | None = ()) -> Floats:
        """1 - cosine from a word or vector to ``other_words``, or to all words."""
        known = isinstance(word_or_vector, (str, int, np.integer))
        vector = self.get_vector(word_or_vector) if known else self._check_vector("word_or_vector", word_or_vector)
        unit = unit_rows(vector[None], np.linalg.norm(vector[None], axis=1))[0]
        rows = [self.get_index(word) for word in ([] if other_words is None else as_list("other_words", other_words))]
        others = self.unit_vectors(rows) if rows else self.get_normed_vectors()
        result: Floats = 1 - others @ unit
        return result

    def n_similarity(self, ws1: Sequence[str | int], ws2: Sequence[str | int]) -> float:
        """The cosine between the means of two lists of words; unknown words are left out, 0 where none is known.

        Raises:
            ValueError: an empty list.
        """
        means = []
        for name, words in (("ws1", as_list("ws1", ws1)), ("ws2", as_list("ws2", ws2))):
            if not words:
                raise ValueError(f"{name}: expected at least one word, got none")
            means.append(self.get_mean_vector(words, pre_normalize=False, post_normalize=True))
        return float(means[0] @ means[1])

    def rank_by_centrality(self, words: Sequence[str | int], use_norm: bool = True) -> list[tuple[float, str]]:
        """Pairs (cosine to the mean of all, word), the nearest first; unknown words are left out.

        Args:
            words: words to rank.
            use_norm: scales their vectors to length 1 before; otherwise the numbers are dot products with the mean
                scaled to length 1.

        Raises:
            ValueError: no known word.
        """
        known = [word for word in as_list("words", words) if word in self]
        if not known:
            raise ValueError(f"words: expected words of the vocabulary, got {short_repr(list(words))}")
        rows = [self.get_index(word) for word in known]
        vectors = self.unit_vectors(rows) if boolean("use_norm", use_norm) else np.asarray(self.vectors[rows])
        mean = self.get_mean_vector(list(vectors), post_normalize=True)
        return sorted(zip((vectors @ mean).tolist(), cast("list[str]", known)), reverse=True)

    def doesnt_match(self, words: Sequence[str | int]) -> str:
        """The word furthest from the mean of all; unknown ones are left out.

        Raises:
            ValueError: no known word.
        """
        return self.rank_by_centrality(words)[-1][1]

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
        words: list[str] = as_list("keys_list", keys_list)
        if not words:
            raise ValueError("keys_list: expected at least one word, got none")
        return words[int(np.argmin(self.distances(key1, words)))]

    # --- tests ---

    def evaluate_word_analogies(
        self,
        analogies: PathLike | word_tests.Questions,
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
        *,
        max_bytes: int | None = None,
    ) -> tuple[float, list[dict[str, Any]]]:
        """The share of questions "a is to b as c is to ?" that the word nearest to b - a + c answers.

        Args:
            analogies: a file in the format of questions-words.txt, plain or gzip, or {section: [(a, b, c, d), ...]}.
            restrict_vocab: uses the first words only; questions with others count as unknown.
            case_insensitive: compares words in upper case; of several spellings the first one's vector counts.
            dummy4unknown: questions with unknown words count as wrong instead of being left out.
            similarity_function: "most_similar", the one that gensim uses.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        Returns:
            The score, and for each section and for "Total accuracy" a dict of section, correct and incorrect.

        Raises:
            ValueError: no such file of questions.
        """
        default_only("similarity_function", similarity_function, "most_similar", "questions are answered by cosines")
        return word_tests.evaluate_analogies(
            self, analogies, restrict_vocab, case_insensitive, dummy4unknown, max_bytes=max_bytes
        )

    def evaluate_word_pairs(
        self,
        pairs: PathLike,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        *,
        max_bytes: int | None = None,
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The correlation of cosines with human scores.

        Args:
            pairs: lines of word, word, score, plain or gzip; lines that start with # and others are left out.
            delimiter: between the three.
            encoding: of the file.
            restrict_vocab, case_insensitive: as in :meth:`evaluate_word_analogies`.
            dummy4unknown: pairs with unknown words count with cosine 0 instead of being left out.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        Returns:
            Pearson's and Spearman's correlation, each with its two-sided p-value (NaN unless SciPy is installed), and
            the percentage of pairs with unknown words.

        Raises:
            ValueError: no pair left, or a score that is not finite.
        """
        return word_tests.evaluate_pairs(
            self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown, max_bytes=max_bytes
        )

    # --- files ---

    def save(
        self,
        fname: PathLike,
        separately: None = None,
        sep_limit: int = 10 * 1024**2,
        ignore: frozenset[str] = frozenset(),
        pickle_protocol: int = 4,
    ) -> None:
        """Writes vectors, words and attributes as safetensors; a kill at any moment leaves the old file or the new one.

        Args:
            fname: the file.
            separately, sep_limit, ignore, pickle_protocol: arguments of gensim's, at their defaults alone.

        Raises:
            ValueError: no words, or an attribute that holds objects.
            OSError: it cannot be written; the old file is untouched.
        """
        one_file(separately, sep_limit, ignore, pickle_protocol)
        if not len(self):
            raise ValueError("vectors: expected at least one word, got none")
        table = VectorTable(np.asarray(self.vectors), self.index_to_key, self.counts)
        table.attributes = self.numeric_attributes()
        vector_files.write_table(path_of(fname, "fname"), table)

    @classmethod
    def load(cls, fname: PathLike, mmap: bool | str | None = None) -> KeyedVectors:
        """Reads what :meth:`save` wrote.

        Args:
            fname: the file.
            mmap: True or "r" leaves the vectors in the file; they are read (and checked for NaN) when they are used.

        Raises:
            ValueError: naming the file and what is wrong with it.
            OSError: it cannot be read.
        """
        if not (mmap is None or isinstance(mmap, (bool, str))) or mmap not in (None, False, True, "r"):
            raise ValueError(f"mmap: expected None or 'r' (a mapped file is only read), got {short_repr(mmap)}")
        return cls._from_table(vector_files.read_table(path_of(fname, "fname"), bool(mmap)))

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
        """Writes word2vec's text or binary format, GloVe's without ``write_header``.

        Args:
            fname: the file, packed if its name ends in ``.gz`` or ``.bz2``.
            fvocab: also writes ``sort_attr`` (the counts), as lines of word and number.
            binary: float32 numbers instead of text.
            total_vec: V or None; more rows than there are cannot follow.
            write_header: False: without the line "V D".
            prefix: stands before each word.
            append: False; files are written whole or not at all.
            sort_attr: the rows with the largest values of this attribute come first; without it they keep their order.

        Raises:
            ValueError: a word that the format cannot hold, or ``fvocab`` without the attribute.
        """
        default_only("append", append, False, "files are written whole or not at all")
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
        words, vectors = [prefix + word for word in self.index_to_key], np.asarray(self.vectors)
        if values is not None and (values[1:] > values[:-1]).any():
            order = np.argsort(-values.astype(np.float64), kind="stable")
            words, vectors, values = [words[row] for row in order], vectors[order], values[order]
        if fvocab is not None:
            vector_files.check_count_words(words)
        fname, binary = path_of(fname, "fname"), boolean("binary", binary)
        fvocab = None if fvocab is None else path_of(fvocab, "fvocab")
        vector_files.write_word2vec(fname, vectors, words, binary, boolean("write_header", write_header))
        if fvocab is not None and values is not None:
            vector_files.write_counts(fvocab, words, values.tolist())

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
        """Reads word2vec's text or binary format, plain or packed by gzip or bzip2.

        Args:
            fname: the file.
            fvocab: file with the counts, lines of word and count.
            binary: float32 numbers instead of text.
            encoding, unicode_errors: of the words, as in ``bytes.decode``.
            limit: reads the first rows only.
            datatype: float32, the type of all vectors here.
            no_header: text without the line "V D", as GloVe's.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        A word that comes twice keeps its first vector; ``duplicates`` says how many rows were left out.

        Raises:
            ValueError: naming file and line or byte and what is wrong there.
            OSError: it cannot be read.
        """
        as_float32("datatype", datatype)
        fname, binary, no_header = path_of(fname, "fname"), boolean("binary", binary), boolean("no_header", no_header)
        fvocab = None if fvocab is None else path_of(fvocab, "fvocab")
        counts = None if fvocab is None else vector_files.read_counts(fvocab, encoding, unicode_errors, max_bytes)
        table = vector_files.read_word2vec(fname, binary, limit, encoding, unicode_errors, not no_header, max_bytes)
        if counts is not None:
            missing = next((word for word in table.words if word not in counts), None)
            if missing is not None:
                raise ValueError(f"fvocab: expected a count for every word, got none for {missing!r}")
            table.counts = np.array([counts[word] for word in table.words], np.int64)
        return cls._from_table(table)

    @classmethod
    def load_glove(cls, path: PathLike, limit: int | None = None, *, max_bytes: int | None = None) -> KeyedVectors:
        """Reads GloVe's text: ``load_word2vec_format(path, no_header=True, limit=limit, max_bytes=max_bytes)``."""
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
        """Takes the vectors of known words from a file in word2vec's format; other words of the file are left out.

        Args:
            fname: the file.
            lockf: ``vectors_lockf`` of these words: 0 holds them fast in training, 1 trains them on.
            binary, encoding, unicode_errors, max_bytes: as for :meth:`load_word2vec_format`.

        Returns:
            How many words there were in both.

        Raises:
            ValueError: vectors of another size, or a damaged file. Nothing is changed then.
        """
        factor = real("lockf", lockf)
        binary = boolean("binary", binary)
        place = path_of(fname, "fname")
        table = vector_files.read_word2vec(place, binary, None, encoding, unicode_errors, max_bytes=max_bytes)
        if table.vectors.shape[1] != self.vector_size:
            size = table.vectors.shape[1]
            raise ValueError(f"fname: expected vectors of {self.vector_size} numbers, got {size} in {fname!s}")
        there = [row for row, word in enumerate(table.words) if word in self]
        rows = [self.get_index(table.words[row]) for row in there]
        if rows:
            self.add_vectors([table.words[row] for row in there], table.vectors[there], replace=True)
            self.vectors_lockf[rows] = factor
        return len(rows)

    def vectors_for_all(
        self, keys: Iterable[str | int], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> KeyedVectors:
        """The vectors of some words, each once and in their order, as new :class:`KeyedVectors`.

        Args:
            keys: words; unknown ones are left out.
            allow_inference: also takes row numbers for the words of these rows.
            copy_vecattrs: takes the attributes along.

        >>> kv = KeyedVectors([[1, 2], [3, 4]], ["cat", "dog"])
        >>> kv.vectors_for_all(["dog", "bird"]).index_to_key
        ['dog']
        """
        rows_too = boolean("allow_inference", allow_inference)
        known = (key for key in as_list("keys", keys) if key in self and (rows_too or isinstance(key, str)))
        rows = list(dict.fromkeys(self.get_index(key) for key in known))
        chosen = KeyedVectors(vector_size=self.vector_size)
        chosen.add_vectors([self.index_to_key[row] for row in rows], self.vectors[rows])
        if boolean("copy_vecattrs", copy_vecattrs):
            chosen.expandos = {name: array[rows] for name, array in self.expandos.items()}
        return chosen

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
            raise ValueError(f"missing: expected 'zero' or 'random', got {short_repr(missing)}")
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


def _asked(name: str, items: Any) -> list[Any]:
    """One word, number, vector or weighted pair as a list of one; None as an empty one."""
    if items is None:
        return []
    single = isinstance(items, (str, int, np.integer)) or (isinstance(items, np.ndarray) and items.ndim == 1)
    if single or (isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], (float, int))):
        return [items]
    return as_list(name, items)
