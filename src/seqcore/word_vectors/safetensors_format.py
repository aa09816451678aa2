"""Files of word vectors in safetensors, the format of :meth:`seqcore.KeyedVectors.save`.

V: words, D: dimensions of a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import MALFORMED, one_line
from ..saving.format import format_tags, read_file
from ..saving.safetensors import read_header, write_tensors
from ..text.files import path_of
from ..typing import Array, Floats, PathLike
from .file_formats import describe_file
from .keyed_table import KeyedTable
from .keys import Key

FORMAT = "seqcore-vectors"
ATTRIBUTE = "attribute."
"""Prefix of the arrays that hold attributes of words."""
_ARRAYS = (("vectors", "float32", 2), ("words", "uint8", 1), ("word_bytes", "uint32", 1))
"""Arrays of every file, with their types and ranks."""
INTEGERS = "integer_words"
"""Array of the rows whose words are integers, written as decimal numbers; only in files that have some."""


def vector_tensors(table: KeyedTable) -> dict[str, Array]:
    """Vectors, words (UTF-8, joined), the bytes of each word, counts and attributes."""
    try:
        texts = [str(word).encode() for word in table.index_to_key]
    except UnicodeEncodeError as error:
        raise ValueError(f"words: expected valid Unicode, got {error.object!r} ({error.reason})") from None
    tensors: dict[str, Array] = {
        "vectors": np.asarray(table.vectors),
        "words": np.frombuffer(b"".join(texts), np.uint8),
        "word_bytes": np.array([len(text) for text in texts], np.uint32),
    }
    integers = [row for row, word in enumerate(table.index_to_key) if isinstance(word, int)]
    if integers:
        tensors[INTEGERS] = np.array(integers, np.int64)
    if table.counts is not None:
        tensors["counts"] = table.counts
    tensors |= {ATTRIBUTE + name: array for name, array in table.numeric_attributes().items()}
    return tensors


def write_vectors(path: PathLike, table: KeyedTable) -> None:
    """Write the file of a table."""
    write_tensors(path, vector_tensors(table), format_tags(FORMAT))


def read_vectors(path: PathLike, mmap: bool = False) -> tuple[Floats, list[Key], dict[str, Array]]:
    """Read a file of :func:`write_vectors`; with ``mmap`` the vectors stay in the file and are read when used.

    Returns:
        Vectors (V, D), V words, and the attributes of words, counts being one of them.

    Raises:
        ValueError: naming the file, if it is truncated, of another format, or does not fit together.
    """
    place = path_of(path)
    try:
        tensors, _ = read_file(path, FORMAT, skip=("vectors",) if mmap else ())
    except ValueError as error:
        described = describe_file(place, text=False)
        if described is None:
            raise
        raise ValueError(f"{place}: expected a file of KeyedVectors.save, got {described}") from error
    if mmap and (entry := read_header(place)[0].get("vectors")):
        if entry.dtype != "F32" or not all(entry.shape):
            raise ValueError(f"{place}: expected float32 vectors to map, got {entry.dtype} of shape {entry.shape}")
        tensors["vectors"] = np.memmap(place, "<f4", "r", entry.start, entry.shape)
    vectors, words, attributes = vectors_in(place, tensors)
    if not mmap:
        finite = np.isfinite(vectors.max(axis=1, initial=0)) & np.isfinite(vectors.min(axis=1, initial=0))
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(f"{place}, row {row}: expected finite numbers for {words[row]!r}, got NaN or infinity")
    return vectors, words, attributes


def vectors_in(place: str, tensors: dict[str, Array]) -> tuple[Floats, list[Key], dict[str, Array]]:
    """What :func:`read_vectors` returns, from the arrays of :func:`vector_tensors`; ``place`` is named in errors."""
    for name, dtype, rank in _ARRAYS:
        if name not in tensors:
            raise ValueError(f"{place}: expected an array {name!r}, got a file without it")
        array = tensors[name]
        if array.dtype != dtype or array.ndim != rank:
            raise ValueError(
                f"{place}: expected {dtype} with {rank} axes as {name!r}, got {array.dtype} of shape {array.shape}"
            )
    vectors, text, lengths = (tensors[name] for name, _, _ in _ARRAYS)
    ends = np.cumsum(lengths, dtype=np.int64)
    if len(lengths) != len(vectors) or not len(lengths) or ends[-1] != len(text):
        raise ValueError(f"{place}: expected {len(vectors)} words in {len(text)} bytes, got other lengths")
    attributes = {name[len(ATTRIBUTE) :]: tensors[name] for name in tensors if name.startswith(ATTRIBUTE)}
    if "counts" in tensors:
        attributes = {"count": tensors["counts"], **attributes}
    for name, array in attributes.items():
        if array.shape != (len(vectors),) or (name == "count" and array.dtype != np.int64):
            got = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"{place}: expected {len(vectors)} numbers as {name!r}, int64 for counts, got {got}")
    raw, starts = text.tobytes(), [0, *ends[:-1].tolist()]
    try:
        words: list[Any] = [raw[start:end].decode() for start, end in zip(starts, ends.tolist())]
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected words in UTF-8, got bytes that are not ({error.reason})") from None
    try:
        for row in tensors[INTEGERS].tolist() if INTEGERS in tensors else ():
            words[row] = int(words[row])
    except MALFORMED as error:
        raise ValueError(f"{place}: expected integers in the rows of {INTEGERS!r}, got {one_line(error)}") from None
    return vectors, words, attributes
