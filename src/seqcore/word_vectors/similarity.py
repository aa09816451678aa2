"""Queries of word vectors by cosine: neighbours, analogies, similarities and means.

V: words, D: dimensions of a vector, N: words of a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._validation import boolean, integer, short_repr
from ..typing import Floats
from .keyed_table import KeyedTable, as_floats
from .keys import Key, as_list, is_key
from .nearest import nearest, norms_of, top_columns, unit_rows


class SimilarityQueries(KeyedTable):
    """The queries of :class:`seqcore.KeyedVectors`."""

    # --- words and their vectors ---

    def __getitem__(self, key_or_keys: Key | Sequence[Key]) -> Floats:
        """The vector (D,) of a word, or (N, D) of a list of words.

        Raises:
            KeyError: naming the word that is not there.
        """
        if is_key(key_or_keys):
            return self.get_vector(key_or_keys)
        rows = [self.get_index(key) for key in as_list("key_or_keys", key_or_keys)]
        return np.asarray(self.vectors[rows]) if rows else np.empty((0, self.vector_size), np.float32)

    def get_vector(self, key: Key | np.integer[Any], norm: bool = False) -> Floats:
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
        keys: Sequence[Key | Floats],
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
        items = as_list("keys", keys, needed=True)
        pre_normalize = boolean("pre_normalize", pre_normalize)
        post_normalize = boolean("post_normalize", post_normalize)
        ignore_missing = boolean("ignore_missing", ignore_missing)
        scales = np.ones(len(items)) if weights is None else np.asarray(weights)
        if scales.dtype.kind not in "fiu" or not np.isfinite(scales).all():
            raise ValueError(f"weights: expected finite numbers, got {short_repr(weights)}")
        if scales.shape != (len(items),):
            raise ValueError(f"weights: expected {len(items)}, one for each key, got shape {scales.shape}")
        total, size = np.zeros(self.vector_size), 0.0
        for key, scale in zip(items, scales.tolist()):
            if not (ignore_missing and is_key(key) and self.get_index(key, -1) < 0):
                total += scale * self._vector_of("keys", key, norm=pre_normalize)
                size += abs(scale)
        if size:
            total /= size
        if post_normalize:
            total /= float(np.linalg.norm(total)) or 1.0
        return total.astype(np.float32)

    def _vector_of(self, name: str, item: Any, norm: bool = False) -> Floats:
        """(D,) the vector of a word, with ``norm`` scaled to length 1; or ``item`` itself, which must be a vector."""
        if is_key(item):
            return self.get_vector(item, norm)
        array = np.asarray(item)
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
            indexer: an index of other vectors or an approximate one; the result is that of its
                ``most_similar(vector, topn)``.

        Returns:
            ``topn`` pairs (word, cosine), the nearest first; or (rows,) float32 cosines.

        Raises:
            KeyError: naming a word that is not there.
            ValueError: nothing asked for, or numbers out of range.
        """
        items = [(item, 1.0) for item in _asked("positive", positive)]
        items += [(item, -1.0) for item in _asked("negative", negative)]
        keys = [item[0] if isinstance(item, tuple) else item for item, _ in items]
        weights = [item[1] if isinstance(item, tuple) else sign for item, sign in items]
        if not keys:
            raise ValueError("positive: expected words or vectors, got none")
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        if indexer is not None and not callable(getattr(indexer, "most_similar", None)):
            raise TypeError(f"indexer: expected an object with most_similar, got {short_repr(indexer)}")
        if indexer is not None and topn is not None:
            return indexer.most_similar(mean, topn)
        begin, end = self._range(clip_start, clip_end, restrict_vocab)
        if topn is None:
            return unit_rows(self.vectors[begin:end], self.norms[begin:end]) @ mean
        if integer("topn", topn, alternative="None") < 1 or begin >= end:
            return []
        left_out = {self.get_index(key) for key in keys if is_key(key)}
        rows, cosines = nearest(self.vectors, self.norms, mean[None], int(topn) + len(left_out), begin, end)
        nearest_first = zip(rows[0].tolist(), cosines[0].tolist())
        return [(self.index_to_key[row], cosine) for row, cosine in nearest_first if row not in left_out][:topn]

    def similar_by_word(self, word: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of one word."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_key(self, key: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of one word."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_vector(self, vector: Any, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`most_similar` of a vector (D,)."""
        return self.most_similar([self._vector_of("vector", vector)], topn=topn, restrict_vocab=restrict_vocab)

    def _range(self, begin: int, end: int | None, restrict: int | None) -> tuple[int, int]:
        """First and last row to search."""
        if restrict is not None:
            begin, end = 0, restrict
        if end is not None:
            end = integer("clip_end" if restrict is None else "restrict_vocab", end, 0)
        return integer("clip_start", begin, 0), len(self) if end is None else min(end, len(self))

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

        >>> kv = SimilarityQueries([[1, 0], [0.9, 0.1], [0, 1]], ["cat", "dog", "car"])
        >>> kv.most_similar_cosmul("cat", topn=1)[0][0]
        'dog'
        """
        _, end = self._range(0, None, restrict_vocab)
        count = None if topn is None else integer("topn", topn, alternative="None")
        asked = {"positive": _asked("positive", positive), "negative": _asked("negative", negative)}
        if not asked["positive"]:
            raise ValueError("positive: expected words or vectors, got none")
        norms = np.where(self.norms[:end] > 0, self.norms[:end], np.float32(1))
        products = {name: np.ones(end, np.float32) for name in asked}
        for name, items in asked.items():
            for item in items:
                products[name] *= (1 + self.vectors[:end] @ self._vector_of(name, item, norm=True) / norms) / 2
        scores: Floats = products["positive"] / (products["negative"] + np.float32(1e-6))
        if count is None:
            return scores
        left_out = {self.get_index(item) for items in asked.values() for item in items if is_key(item)}
        best = top_columns(scores[None], min(count + len(left_out), end))[0] if count > 0 and end else []
        order = sorted((row for row in best if row not in left_out), key=lambda row: (-scores[row], row))
        return [(self.index_to_key[row], float(scores[row])) for row in order[:count]]

    def nearest_rows(self, queries: Any, topn: int, restrict_vocab: int | None = None) -> tuple[Any, Floats]:
        """Rows and cosines (Q, topn) of the vectors nearest to each of many queries (Q, D), the nearest first."""
        wanted = np.ascontiguousarray(as_floats("queries", queries))
        if wanted.ndim != 2 or wanted.shape[1] != self.vector_size:
            raise ValueError(f"queries: expected shape (Q, {self.vector_size}), got {wanted.shape}")
        topn, (_, end) = integer("topn", topn, 1), self._range(0, None, restrict_vocab)
        unit = unit_rows(wanted, norms_of(wanted, [f"query {number}" for number in range(len(wanted))]))
        return nearest(self.vectors, self.norms, unit, topn, 0, end)

    # --- single numbers ---

    def similarity(self, w1: Key, w2: Key) -> float:
        """The cosine between two words."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: Key, w2: Key) -> float:
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
        return np.asarray(_units(rows) @ _units(vector[None])[0])

    def relative_cosine_similarity(self, wa: Key, wb: Key, topn: int = 10) -> float:
        """The cosine of two words over the sum of those of the ``topn`` words nearest to ``wa``.

        After Leeuwenberg et al. 2016, equation 1.
        """
        nearest_words = self.similar_by_key(wa, integer("topn", topn, 1))
        return self.similarity(wa, wb) / float(sum(cosine for _, cosine in nearest_words))

    def distances(self, word_or_vector: Any, other_words: Iterable[Key] | None = ()) -> Floats:
        """1 - cosine from a word or vector to ``other_words``, or to all words."""
        vector = self._vector_of("word_or_vector", word_or_vector)
        rows = [self.get_index(word) for word in as_list("other_words", () if other_words is None else other_words)]
        others = self.unit_vectors(rows) if rows else self.get_normed_vectors()
        return np.asarray(1 - others @ _units(vector[None])[0])

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """The cosine between the means of two lists of words; unknown words are left out, 0 where none is known.

        Raises:
            ValueError: an empty list.
        """
        lists = as_list("ws1", ws1, needed=True), as_list("ws2", ws2, needed=True)
        first, second = (self.get_mean_vector(words, pre_normalize=False, post_normalize=True) for words in lists)
        return float(first @ second)

    def rank_by_centrality(self, words: Sequence[Key], use_norm: bool = True) -> list[tuple[float, Any]]:
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
        return sorted(zip((vectors @ mean).tolist(), known), reverse=True)

    def doesnt_match(self, words: Sequence[Key]) -> Any:
        """The word furthest from the mean of all; unknown ones are left out.

        Raises:
            ValueError: no known word.
        """
        return self.rank_by_centrality(words)[-1][1]

    def closer_than(self, key1: Key, key2: Key) -> list[Any]:
        """Words closer to ``key1`` than ``key2`` is."""
        distances = self.distances(key1)
        row = self.get_index(key1)
        closer = np.flatnonzero(distances < distances[self.get_index(key2)]).tolist()
        return [self.index_to_key[other] for other in closer if other != row]

    def rank(self, key1: Key, key2: Key) -> int:
        """The place of ``key2`` among the neighbours of ``key1``: 1 for the nearest, 2 for the next, ..."""
        return len(self.closer_than(key1, key2)) + 1

    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Any:
        """The word of ``keys_list`` nearest to ``key1``."""
        words = as_list("keys_list", keys_list, needed=True)
        return words[int(np.argmin(self.distances(key1, words)))]


def _units(rows: Floats) -> Floats:
    """(N, D) rows scaled to length 1; rows of zeros stay."""
    return unit_rows(rows, np.linalg.norm(rows, axis=1))


def _asked(name: str, items: Any) -> list[Any]:
    """A single word, number, vector or weighted pair as a list; None as an empty list."""
    if items is None:
        return []
    single = is_key(items) or (isinstance(items, np.ndarray) and items.ndim == 1)
    if single or (isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], (float, int))):
        return [items]
    return as_list(name, items)
