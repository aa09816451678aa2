"""The table under KeyedVectors: words, the vector of each, and attributes such as counts.

V: words, D: dimensions of a vector.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from .._validation import NUMBERS, as_dtype, boolean, default_only, integer, plain_array, short_repr
from ..typing import Array, Floats
from .fixed_attributes import FixedAttributes
from .keys import Key, as_keys, index_keys, is_key
from .nearest import norms_of, unit_rows


class KeyedTable(FixedAttributes):
    """Words with a vector and attributes each; see :class:`seqcore.KeyedVectors`."""

    _elsewhere: ClassVar[Mapping[str, str]] = {
        "index_to_key": "add_vectors and sort_by_descending_frequency change the words",
        "key_to_index": "add_vectors and sort_by_descending_frequency change the words",
        "vector_size": "KeyedVectors(vector_size=...) makes a table of vectors of another size",
        "word_vec": "get_vector",
        "words_closer_than": "closer_than",
        "vectors_norm": "get_normed_vectors()",
        **dict.fromkeys(("index2word", "index2entity"), "index_to_key"),
        "vocab": "key_to_index, index_to_key, get_vecattr and set_vecattr",
        "allocate_vecattrs": "set_vecattr makes room by itself",
        "resize_vectors": "add_vectors makes room by itself",
        "next_index": "len(): every row has a word",
        "mapfile_path": "load(path, mmap=True)",
        "wmdistance": "n_similarity; there is no solver of optimal transport here",
        "similarity_unseen_docs": "there are no vectors of documents here",
        "log_accuracy": "evaluate_word_analogies returns what it would log",
        "log_evaluate_word_pairs": "evaluate_word_pairs returns what it would log",
        **dict.fromkeys(("add_lifecycle_event", "lifecycle_events"), "nothing is logged here"),
    }

    def __init__(
        self,
        vectors: Any = None,
        index_to_key: Iterable[Key] | None = None,
        counts: Any = None,
        *,
        vector_size: int | None = None,
        count: int = 0,
        dtype: Any = np.float32,
        mapfile_path: None = None,
    ) -> None:
        if isinstance(vectors, (int, np.integer)):  # gensim's KeyedVectors(vector_size, count)
            vectors, vector_size = None, int(vectors) if vector_size is None else vector_size
            if isinstance(index_to_key, int):
                index_to_key, count = None, index_to_key
        default_only("count", count, 0, "rows come with their words, by add_vectors")
        as_float32("dtype", dtype)
        default_only("mapfile_path", mapfile_path, None, "load(path, mmap=True) maps a file")
        if (vectors is None) == (vector_size is None):
            given = "neither" if vectors is None else "both"
            raise TypeError(f"vectors, vector_size: expected one of the two, got {given}")
        if vector_size is not None:
            if index_to_key is not None or counts is not None:
                raise TypeError("index_to_key: expected None for a table without vectors, got words")
            if integer("vector_size", vector_size, 1) > 100_000:
                raise ValueError(f"vector_size: expected an integer 1...100000, got {vector_size}")
            vectors, index_to_key = np.empty((0, vector_size), np.float32), ()
        words = as_keys("index_to_key", index_to_key) if index_to_key is not None else []
        table = as_floats("vectors", vectors)
        if table.ndim != 2 or len(table) != len(words) or table.shape[1] < 1 or (vector_size is None and not words):
            raise ValueError(f"vectors: expected shape ({len(words)}, D), a row for each word, got {table.shape}")
        self._vectors: Floats = table
        self._words, self._rows = words, index_keys("index_to_key", words)
        self._norms: Floats | None = None
        self._lockf: Floats | None = None
        self.expandos: dict[str, Array] = {}
        self.duplicates = 0
        """Number of rows of the file that were left out because their word had come before."""
        if counts is not None:
            self.counts = counts

    # --- words and vectors ---

    @property
    def vectors(self) -> Floats:
        """(V, D) the vectors, row i for word i.

        For a model this is the table that it trains: training changes it, and values written into it are trained on and
        saved. Call ``fill_norms(force=True)`` after writing. An assigned array (V, D) of numbers takes its place,
        without a copy if it is float32.
        """
        return self._vectors

    @vectors.setter
    def vectors(self, vectors: Any) -> None:
        table = as_floats("vectors", vectors)
        if table.shape != self._vectors.shape:
            raise ValueError(f"vectors: expected shape {self._vectors.shape}, got {table.shape}")
        self._vectors, self._norms = table, None

    @property
    def vectors_lockf(self) -> Floats:
        """(V,) factors of the training steps of each vector: 0 freezes it; 1 by default.

        Write into it, or assign a number for each word or one for all; the next training uses it."""
        if self._lockf is None:
            self._lockf = np.ones(len(self), np.float32)
        return self._lockf

    @vectors_lockf.setter
    def vectors_lockf(self, factors: Any) -> None:
        array = as_floats("vectors_lockf", factors)
        if array.size != 1 and array.shape != (len(self),):
            raise ValueError(f"vectors_lockf: expected {len(self)} numbers or one, got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError("vectors_lockf: expected finite numbers, got NaN or infinity")
        self._lockf = np.array(np.broadcast_to(array.reshape(-1), len(self)))

    @property
    def vector_size(self) -> int:
        """D, the dimensions of a vector."""
        return int(self._vectors.shape[1])

    @property
    def index_to_key(self) -> list[Any]:
        """The V words by their rows."""
        return self._words

    @property
    def key_to_index(self) -> dict[Any, int]:
        """The row of each word."""
        return self._rows

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, key: object) -> bool:
        return self.has_index_for(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._words)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self)} words, vector_size={self.vector_size}>"

    def has_index_for(self, key: object) -> bool:
        """True if there is a vector for this word or row number."""
        return is_key(key) and (key in self._rows or (not isinstance(key, str) and bool(0 <= key < len(self))))

    def get_index(self, key: str | int | np.integer[Any], default: int | None = None) -> int:
        """The row of a word. An integer that is no word means a row.

        Raises:
            KeyError: a word that is not there, unless there is a ``default``.
        """
        row = self._rows.get(key) if is_key(key) else None
        if row is None:
            row = int(key) if self.has_index_for(key) else default
        if row is None:
            raise KeyError(f"key: expected a word of the vocabulary, got {short_repr(key)}")
        return row

    def rows_of(self, words: Collection[Key]) -> NDArray[np.intp]:
        """(N,) the rows of words, -1 for unknown ones."""
        return np.fromiter((self._rows.get(word, -1) for word in words), np.intp, len(words))

    # --- more rows ---

    def add_vector(self, key: Key, vector: Any) -> int:
        """Add one word; returns its row. Many words are added faster by one :meth:`add_vectors`.

        Raises:
            ValueError, TypeError: the word is there already, or the vector is none of D numbers.
        """
        (word,) = as_keys("key", [key])
        if word in self._rows:
            raise ValueError(f"key: expected a new word, got {word!r}; vectors[{word!r}] = vector replaces it")
        row = as_floats("vector", vector)
        if row.shape != (self.vector_size,):
            raise ValueError(f"vector: expected shape ({self.vector_size},), got {row.shape}")
        self.add_vectors([word], row[None])
        return len(self) - 1

    def add_vectors(
        self,
        keys: Key | Sequence[Key],
        weights: Any,
        extras: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> None:
        """Add words and their vectors behind those there are.

        Args:
            keys: N words or integers, each once, or a single one. An integer is a word here, never a row.
            weights: (N, D) numbers; (D,) for one word.
            extras: {attribute: (N,) values}; other attributes of new words are 0.
            replace: gives known words the new vectors and extras, too; otherwise they keep theirs.

        Raises:
            ValueError, TypeError: shapes that do not fit, numbers that are not finite, or words twice. Nothing is
                changed then.

        >>> kv = KeyedTable(vector_size=2)
        >>> kv.add_vectors(["cat", "dog"], [[1, 0], [0, 1]])
        >>> len(kv), kv.get_index("dog")
        (2, 1)
        """
        boolean("replace", replace)
        single = is_key(keys)
        words = as_keys("keys", [keys] if single else keys)
        index_keys("keys", words)
        table = as_floats("weights", [weights] if single and np.ndim(weights) == 1 else weights)
        if not words and not table.size:
            table = table.reshape(0, self.vector_size)
        if table.shape != (len(words), self.vector_size):
            raise ValueError(f"weights: expected shape ({len(words)}, {self.vector_size}), got {table.shape}")
        finite = np.isfinite(table).all(axis=1)
        if not finite.all():
            word = words[int(finite.argmin())]
            raise ValueError(f"weights: expected finite float32 numbers for {word!r}, got NaN or infinity")
        if extras is not None and not isinstance(extras, Mapping):
            raise TypeError(f"extras: expected a dict of attributes and their values, got {short_repr(extras)}")
        values = {name: _attribute("extras", name, array, self.expandos) for name, array in (extras or {}).items()}
        for name, array in values.items():
            if array.shape != (len(words),):
                raise ValueError(f"extras: expected {len(words)} values of {name!r}, got shape {array.shape}")
        rows, size = self.rows_of(words), len(self)
        new = rows < 0
        more = int(new.sum())
        rows[new] = np.arange(size, size + more)
        taken = new | replace
        expandos = {name: np.concatenate([array, _blank(more, array.dtype)]) for name, array in self.expandos.items()}
        for name, array in values.items():
            expandos.setdefault(name, _blank(size + more, array.dtype))[rows[taken]] = array[taken]
        vectors = self._vectors
        if taken.any():
            if more or not vectors.flags.writeable:
                vectors = np.concatenate([vectors, table[new]])
            vectors[rows[taken]] = table[taken]
        self._words += [word for word, fresh in zip(words, new.tolist()) if fresh]
        self._rows.update(zip(self._words[size:], range(size, size + more)))
        if self._lockf is not None:
            self._lockf = np.concatenate([self._lockf, np.ones(more, np.float32)])
        self._vectors, self._norms, self.expandos = vectors, None, expandos

    def __setitem__(self, keys: Key | Sequence[Key], weights: Any) -> None:
        """Set the vectors of words, known ones and new ones: :meth:`add_vectors` with ``replace``."""
        self.add_vectors(keys, weights, replace=True)

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent words first; of equally frequent ones the last comes first, as in gensim.

        Raises:
            ValueError: the counts are not known.
        """
        if self.counts is None:
            raise ValueError("counts: expected vectors with counts, got some without")
        order = np.lexsort((-np.arange(len(self)), -self.counts))
        self._words = [self._words[row] for row in order.tolist()]
        self._rows = {word: row for row, word in enumerate(self._words)}
        self.expandos = {name: array[order] for name, array in self.expandos.items()}
        self._vectors, self._norms = self._vectors[order], None
        self._lockf = None if self._lockf is None else self._lockf[order]

    # --- attributes of words ---

    def numeric_attributes(self) -> dict[str, Array]:
        """The attributes of words that a file keeps next to the counts.

        Raises:
            ValueError: one holds objects.
        """
        for name, array in self.expandos.items():
            if array.dtype.kind == "O":
                raise ValueError(f"{name}: expected numbers in an attribute that goes into a file, got objects")
        return {name: array for name, array in self.expandos.items() if name != "count"}

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """(V,) how often each word was seen, None where that is not known; the attribute "count"."""
        return self.expandos.get("count")

    @counts.setter
    def counts(self, counts: Any) -> None:
        array = np.asarray(counts)
        if array.shape != (len(self),) or array.dtype.kind not in "iu":
            raise ValueError(f"counts: expected {len(self)} integers, got {array.dtype} of shape {array.shape}")
        if array.size and array.min() < 0:
            raise ValueError(f"counts: expected integers >= 0, got {array.min()}")
        self.expandos["count"] = array.astype(np.int64)

    def get_vecattr(self, key: str | int, attr: str) -> Any:
        """An attribute of a word; ``get_vecattr(word, "count")`` is its count.

        Raises:
            KeyError: an unknown word, or an attribute that was not set.
        """
        row = self.get_index(key)
        if not isinstance(attr, str) or attr not in self.expandos:
            known = ", ".join(self.expandos) or "none, since the counts are not known"
            raise KeyError(f"attr: expected {known}, got {short_repr(attr)}")
        return self.expandos[attr][row : row + 1].tolist()[0]

    def set_vecattr(self, key: str | int, attr: str, val: Any) -> None:
        """Set an attribute of a word; the first value makes its type, other words get 0 (None for objects).

        Raises:
            KeyError: an unknown word.
            TypeError: a value of another type than the first.
        """
        row, value = self.get_index(key), _attribute("val", attr, val, self.expandos)
        if value.ndim:
            raise TypeError(f"val: expected one number or object, got shape {value.shape}")
        if attr not in self.expandos:
            self.expandos[attr] = _blank(len(self), value.dtype)
        self.expandos[attr][row] = value[()]

    # --- lengths ---

    @property
    def norms(self) -> Floats:
        """(V,) lengths of the vectors, computed when they are needed and again after training and assignments;
        :meth:`fill_norms` after writing into ``vectors``. Assigning None forgets them."""
        if self._norms is None:
            self.fill_norms()
        return cast(Floats, self._norms)

    @norms.setter
    def norms(self, norms: None) -> None:
        if norms is not None:
            raise ValueError("norms: expected None, which computes them again, got other values")
        self._norms = None

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors; again, with ``force``, after ``vectors`` were written into."""
        if boolean("force", force) or self._norms is None or len(self._norms) != len(self._vectors):
            self._norms = norms_of(self._vectors, self._words)

    def init_sims(self, replace: bool = False) -> None:
        """:meth:`unit_normalize_all` with ``replace``, :meth:`fill_norms` without: gensim's older name of both."""
        if boolean("replace", replace):
            self.unit_normalize_all()
        else:
            self.fill_norms()

    def get_normed_vectors(self) -> Floats:
        """(V, D) all vectors scaled to length 1."""
        return unit_rows(self._vectors, self.norms)

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length 1 in place; rows of zeros stay."""
        self.fill_norms(force=True)
        units = self.get_normed_vectors()
        if self._vectors.flags.writeable:
            self._vectors[...] = units
        else:
            self._vectors = units
        self._norms = None


def as_floats(name: str, values: Any) -> Floats:
    """``values`` as a float32 array, without a copy where it is one."""
    array = values if isinstance(values, np.memmap) else plain_array(name, values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    table: Floats = array if array.dtype == np.float32 else array.astype(np.float32)
    return table


def as_float32(name: str, dtype: Any) -> None:
    """Raise ValueError for another type than that of all vectors."""
    if as_dtype(name, dtype, NUMBERS) != np.float32:
        raise ValueError(f"{name}: expected float32, the type of all vectors here, got {short_repr(dtype)}")


def one_file(separately: Any, sep_limit: Any, ignore: Any, pickle_protocol: Any) -> None:
    """Raise ValueError for options of gensim's files that a single file without pickle cannot have."""
    default_only("separately", separately, None, "everything is in one file")
    default_only("sep_limit", sep_limit, 10 * 1024**2, "everything is in one file")
    default_only("ignore", ignore, (frozenset(), ()), "nothing is left out")
    default_only("pickle_protocol", pickle_protocol, 4, "the file holds no pickle")


def _blank(size: int, dtype: np.dtype[Any]) -> Array:
    """Values of an attribute that was not set: zeros, None for objects."""
    return np.full(size, None) if dtype.kind == "O" else np.zeros(size, dtype)


def _attribute(name: str, attr: str, values: Any, present: Mapping[str, Array]) -> Array:
    """Values for an attribute, of the type that it has or will have."""
    if not isinstance(attr, str):
        raise TypeError(f"attr: expected a name, got {short_repr(attr)}")
    array = np.asarray(values)
    if attr == "count":
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected an integer as the count, got {short_repr(values)}")
        if array.size and array.min() < 0:
            raise ValueError(f"{name}: expected an integer >= 0 as the count, got {short_repr(values)}")
        array = array.astype(np.int64)
    elif array.dtype.kind not in "biuf":
        array = array.astype(object)
    if attr in present and not np.issubdtype(array.dtype, present[attr].dtype):
        raise TypeError(f"{name}: expected {present[attr].dtype}, the type of {attr!r}, got {short_repr(values)}")
    return array
