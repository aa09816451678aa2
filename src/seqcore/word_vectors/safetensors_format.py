"""Files of word vectors in safetensors, the format of :meth:`seqcore.KeyedVectors.save`.

V: words, D: dimensions of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..saving.format import format_tags, read_file
from ..saving.safetensors import read_header, write_tensors
from ..text.files import path_of
from ..typing import Array, Floats, PathLike
from .file_formats import VectorTable, describe_file

FORMAT = "seqcore-vectors"
ATTRIBUTE = "attribute."
"""Prefix of the arrays that hold attributes of words."""
_BLOCK = 1 << 20  # numbers checked at once


def write_table(path: PathLike, table: VectorTable) -> None:
    """Write vectors, words (UTF-8, joined), the bytes of each word, counts and attributes."""
    try:
        texts = [word.encode() for word in table.words]
    except UnicodeEncodeError as error:
        raise ValueError(f"words: expected valid Unicode, got {error.object!r} ({error.reason})") from None
    tensors: dict[str, Array] = {
        "vectors": table.vectors,
        "words": np.frombuffer(b"".join(texts), np.uint8),
        "word_bytes": np.array([len(text) for text in texts], np.uint32),
    }
    if table.counts is not None:
        tensors["counts"] = table.counts
    tensors |= {ATTRIBUTE + name: array for name, array in table.attributes.items()}
    write_tensors(path, tensors, format_tags(FORMAT))


def read_table(path: PathLike, mmap: bool = False) -> VectorTable:
    """Read a file of :func:`write_table`; with ``mmap`` the vectors stay in the file and are read when used.

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
    if mmap:
        tensors["vectors"] = _mapped(place)
    try:
        vectors, text, lengths = (tensors[name] for name in ("vectors", "words", "word_bytes"))
    except KeyError as error:
        raise ValueError(f"{place}: expected an array {error}, got a file without it") from None
    counts = tensors.get("counts")
    for name, array, dtype, rank in (
        ("vectors", vectors, np.float32, 2),
        ("words", text, np.uint8, 1),
        ("word_bytes", lengths, np.uint32, 1),
        *([("counts", counts, np.int64, 1)] if counts is not None else []),
    ):
        if array.dtype != dtype or array.ndim != rank:
            raise ValueError(
                f"{place}: expected {np.dtype(dtype)} with {rank} axes as {name!r}, "
                f"got {array.dtype} of shape {array.shape}"
            )
    ends = np.cumsum(lengths, dtype=np.int64)
    if len(lengths) != len(vectors) or not len(lengths) or ends[-1] != len(text):
        raise ValueError(f"{place}: expected {len(vectors)} words in {len(text)} bytes, got other lengths")
    attributes = {name[len(ATTRIBUTE) :]: tensors[name] for name in tensors if name.startswith(ATTRIBUTE)}
    for name, array in (*([("counts", counts)] if counts is not None else []), *attributes.items()):
        if array.shape != (len(vectors),):
            raise ValueError(f"{place}: expected {len(vectors)} numbers as {name!r}, got shape {array.shape}")
    raw, starts = text.tobytes(), [0, *ends[:-1].tolist()]
    try:
        words = [raw[start:end].decode() for start, end in zip(starts, ends.tolist())]
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected words in UTF-8, got bytes that are not ({error.reason})") from None
    if not mmap:
        _check_finite(place, vectors, words)
    return VectorTable(vectors, words, counts, attributes=attributes)


def _mapped(place: str) -> Array:
    """The array ``vectors`` of a safetensors file that the library has found whole."""
    entry = read_header(place)[0].get("vectors")
    if entry is None:
        raise ValueError(f"{place}: expected an array 'vectors', got a file without it")
    if entry.dtype != "F32" or not all(entry.shape):
        raise ValueError(f"{place}: expected float32 vectors to map, got {entry.dtype} of shape {entry.shape}")
    return np.memmap(place, "<f4", "r", entry.start, entry.shape)


def _check_finite(place: str, vectors: Floats, words: Sequence[str]) -> None:
    step = max(1, _BLOCK // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        fine = np.isfinite(vectors[start : start + step]).all(axis=1)
        if not fine.all():
            row = start + int(np.argmin(fine))
            raise ValueError(f"{place}, row {row}: expected finite numbers for {words[row]!r}, got NaN or infinity")
