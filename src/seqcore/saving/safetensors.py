"""Safetensors files: named arrays and texts, read without trusting a number in the file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from .._files import Path, atomic_write
from .._foreign_files import describe_foreign_file, refuse_foreign_suffix
from .._json import parse_json
from .._validation import as_path, short_repr
from ..typing import Array

# The format's names of types. bfloat16, which NumPy lacks, is widened to float32, which holds it exactly.
_DTYPES = {
    "F64": "float64", "I64": "int64", "U64": "uint64", "F32": "float32", "I32": "int32", "U32": "uint32",
    "F16": "float16", "BF16": "uint16", "I16": "int16", "U16": "uint16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}


class TensorEntry(NamedTuple):
    """The place of an array in a file.

    dtype: the format's name of its type. shape: its axes. start, end: its bytes, counted from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file, array by array without a copy of the whole.

    Args:
        path: the file.
        tensors: name -> array (floats of 2, 4 or 8 bytes, integers or bool).
        metadata: texts for the header.

    Raises:
        ValueError: a path that ends like the files of another format, such as ``.keras``.
        TypeError: arrays of another type.
        OSError: it cannot be written; an old file is then untouched.

    The layout: length of the header (8 bytes), the header as JSON, the arrays little-endian and C-contiguous, those
    of the widest types first so that all are aligned (https://github.com/huggingface/safetensors).
    """
    refuse_foreign_suffix(path)
    header, arrays = encode_tensors(tensors, metadata)
    atomic_write(path, chain((len(header).to_bytes(8, "little"), header), map(bytes_of, arrays)))


def encode_tensors(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> tuple[bytes, list[Array]]:
    """The header of a safetensors file and the arrays in their order there; see :func:`write_tensors`."""
    arrays = {name: np.asarray(tensors[name]) for name in tensors}
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES:
            raise TypeError(f"tensors: expected numbers or booleans for {name!r}, got {array.dtype}")
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    end = 0
    for name in order:
        start, end = end, end + arrays[name].nbytes
        dtype = _NAMES[arrays[name].dtype.name]
        header[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), [arrays[name] for name in order]


def bytes_of(array: Array) -> memoryview:
    """The elements in C order, little-endian; without a copy where they are so already."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def read_header(path: Path) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Names, types, shapes and places of the arrays of a safetensors file, and its texts; all are checked.

    Raises:
        OSError: where there is no such file.
        ValueError: naming the file, for one that is truncated, too long or of another format.
    """
    with _opened(path) as (file, place):
        return _header(file, place)


def read_tensors(path: Path, skip: Collection[str] = ()) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and header texts of a safetensors file, without the arrays named in ``skip``.

    bfloat16 becomes float32, float16 stays what it is. No more memory is taken than the file is long (twice that for
    bfloat16).

    Raises:
        OSError: where there is no such file.
        ValueError: naming the file, for one that is truncated, too long or of another format.
    """
    with _opened(path) as (file, place):
        entries, metadata = _header(file, place)
        return {name: _array(file, name, entry) for name, entry in entries.items() if name not in skip}, metadata


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, str]]:
    """Context of an open regular file and its path; errors inside name the file, or say what it is instead."""
    place = as_path(path)
    if not stat.S_ISREG(os.stat(place).st_mode):
        described = describe_foreign_file(place) or "a device, a FIFO or a socket"
        raise ValueError(f"{place}: expected a safetensors file, got {described}")
    try:
        with open(place, "rb") as file:
            yield file, place
    except (ValueError, RecursionError) as error:
        foreign = describe_foreign_file(place)
        wanted = "a safetensors file" if foreign else "a whole safetensors file"
        got = foreign or f"one that cannot be read ({error})"
        raise ValueError(f"{place}: expected {wanted}, got {got}") from error


def _header(file: BufferedReader, place: str) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    try:
        # The library maps only the header, and checks it against the size of the file: no hole, no overlap.
        with safe_open(place, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(" ".join(str(error).split())) from None
    length = int.from_bytes(_read(file, 8, "its first 8 bytes"), "little")
    return _entries(_read(file, length, "the header"), 8 + length)


def _entries(header: bytes, start: int) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """The arrays that a header describes, whose bytes begin at ``start``, and its texts."""
    described = parse_json(header)
    metadata = described.pop("__metadata__", None) or {}
    entries = {}
    for name, entry in described.items():
        if entry["dtype"] not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise ValueError(f"tensor {short_repr(name)} is of type {entry['dtype']}, seqcore reads {known}")
        first, end = entry["data_offsets"]
        entries[name] = TensorEntry(entry["dtype"], tuple(entry["shape"]), start + first, start + end)
    return entries, metadata


def decode_tensors(header: bytes, parts: Sequence[Any]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and texts from a header of :func:`encode_tensors` and the bytes of each array.

    An array takes over the memory of a ``bytearray``, which belongs to nobody else; other bytes are copied.

    Raises:
        ValueError: for bytes that are not those of the header.
    """
    entries, metadata = _entries(header, 0)
    raws = [np.frombuffer(part, np.uint8) if len(part) else np.empty(0, np.uint8) for part in map(_as_bytes, parts)]
    if [raw.size for raw in raws] != [entry.end - entry.start for entry in entries.values()]:
        raise ValueError("expected the bytes of the arrays in the header, got others")
    arrays = {}
    for (name, entry), raw, part in zip(entries.items(), raws, parts, strict=True):
        arrays[name] = _decoded(name, entry, raw if isinstance(part, bytearray) else raw.copy())
    return arrays, metadata


def _as_bytes(part: Any) -> memoryview:
    return memoryview(part).cast("B")


def _array(file: BufferedReader, name: str, entry: TensorEntry) -> Array:
    file.seek(entry.start)
    raw = np.empty(entry.end - entry.start, np.uint8)
    _fill(file, raw.data, f"tensor {short_repr(name)}")
    return _decoded(name, entry, raw)


def _decoded(name: str, entry: TensorEntry, raw: Array) -> Array:
    """The array of these bytes."""
    if entry.dtype == "BOOL" and raw.size and raw.max() > 1:
        raise ValueError(f"tensor {short_repr(name)} should hold booleans, but holds the byte {raw.max()}")
    dtype = np.dtype(_DTYPES[entry.dtype])
    array: Array = raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    if entry.dtype == "BF16":
        # The upper half of a float32.
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.reshape(entry.shape)


def _read(file: BufferedReader, count: int, what: str) -> bytes:
    raw = bytearray(count)
    _fill(file, memoryview(raw), what)
    return bytes(raw)


def _fill(file: BufferedReader, target: memoryview, what: str) -> None:
    if file.readinto(target) != len(target):
        raise ValueError(f"the file ends within {what}")
