"""Safetensors files: arrays under names, texts beside them; read without trusting a number in the file."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import short_repr
from .files import Path, atomic_write, describe_foreign_file, parse_json, refuse_foreign_suffix

Array = NDArray[Any]

# The format's names of types. bfloat16, which NumPy lacks, is widened to float32, which holds it exactly.
_DTYPES = {
    "F64": "float64", "I64": "int64", "U64": "uint64", "F32": "float32", "I32": "int32", "U32": "uint32",
    "F16": "float16", "BF16": "uint16", "I16": "int16", "U16": "uint16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}

# The most that the format allows for its header.
_MOST_HEADER = 100_000_000
# The most axes of an array in every NumPy.
_MOST_AXES = 32


class TensorEntry(NamedTuple):
    """Where an array lies in a file.

    dtype: the format's name of its type. shape: its axes. start, end: its bytes, counted from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes one safetensors file, array by array without a copy of the whole.

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
    text += b" " * (-len(text) % 8)

    def pieces() -> Iterable[bytes | memoryview]:
        yield len(text).to_bytes(8, "little")
        yield text
        for name in order:
            if arrays[name].size:
                little = np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<"))
                yield little.reshape(-1).view(np.uint8).data

    atomic_write(path, pieces())


def read_header(path: Path) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Names, types, shapes and places of the arrays of a safetensors file, and its texts; all are checked.

    Raises:
        OSError: where there is no such file.
        ValueError: naming the file, for one that is truncated, too long or of another format.
    """
    with _opened(path) as (file, size):
        return _header(file, size)


def read_tensors(path: Path, skip: Collection[str] = ()) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and header texts of a safetensors file, without the arrays named in ``skip``.

    bfloat16 becomes float32, float16 stays what it is. No more memory is taken than the file is long (twice that for
    bfloat16).

    Raises:
        OSError: where there is no such file.
        ValueError: naming the file, for one that is truncated, too long or of another format.
    """
    with _opened(path) as (file, size):
        entries, metadata = _header(file, size)
        return {name: _array(file, name, entry) for name, entry in entries.items() if name not in skip}, metadata


class _opened:
    """Context of an open regular file and its size; errors inside name the file, or say what it is instead."""

    def __init__(self, path: Path) -> None:
        self._place = os.fsdecode(os.fspath(path))

    def __enter__(self) -> tuple[IO[bytes], int]:
        status = os.stat(self._place)
        if not stat.S_ISREG(status.st_mode):
            described = describe_foreign_file(self._place) or "a device, a FIFO or a socket"
            raise ValueError(f"{self._place}: expected a safetensors file, got {described}")
        self._file = open(self._place, "rb", buffering=0)
        return self._file, status.st_size

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, (ValueError, RecursionError)):
            described = describe_foreign_file(self._place)
            if described is not None:
                raise ValueError(f"{self._place}: expected a safetensors file, got {described}") from error
            raise ValueError(
                f"{self._place}: expected a whole safetensors file, got one that cannot be read ({error})"
            ) from error


def _header(file: IO[bytes], size: int) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    length = int.from_bytes(_read(file, 8, "its first 8 bytes"), "little")
    if length > min(size - 8, _MOST_HEADER):
        raise ValueError(f"its header should have {length} bytes, the file has {size}")
    header = parse_json(_read(file, length, "the header"))
    if not isinstance(header, dict):
        raise ValueError(f"its header should be a JSON object, but is {short_repr(header)}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its __metadata__ should map names to texts")
    entries = {name: _entry(name, entry, 8 + length) for name, entry in header.items()}
    # One after the other, without holes: a byte that belongs to no array, or to two, is refused.
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.start != end:
            raise ValueError(f"tensor {short_repr(name)} should begin at byte {end}, but begins at {entry.start}")
        end = entry.end
    if end != size:
        raise ValueError(f"its tensors end at byte {end}, the file has {size}")
    return entries, metadata


def _entry(name: str, entry: Any, origin: int) -> TensorEntry:
    what = f"tensor {short_repr(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{what} should have dtype, shape and data_offsets, but is {short_repr(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise ValueError(f"{what} is of type {short_repr(dtype)}, seqcore reads {known}")
    for numbers, most in ((shape, _MOST_AXES), (offsets, 2)):
        if not isinstance(numbers, list) or len(numbers) > most or not all(_is_size(number) for number in numbers):
            raise ValueError(
                f"{what} should have a shape and two offsets of integers >= 0, but has {short_repr(entry)}"
            )
    itemsize = np.dtype(_DTYPES[dtype]).itemsize
    # NumPy counts the other axes of an empty array too.
    if itemsize * math.prod(size or 1 for size in shape) >= 2**63:
        raise ValueError(f"{what} has the shape {short_repr(shape)}, which is too large")
    if len(offsets) != 2 or offsets[1] - offsets[0] != itemsize * math.prod(shape):
        raise ValueError(f"{what} should have the bytes of {dtype} {short_repr(shape)}, but has {short_repr(offsets)}")
    return TensorEntry(dtype, tuple(shape), origin + offsets[0], origin + offsets[1])


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _array(file: IO[bytes], name: str, entry: TensorEntry) -> Array:
    file.seek(entry.start)
    raw = np.empty(entry.end - entry.start, np.uint8)
    _fill(file, raw.data, f"tensor {short_repr(name)}")
    if entry.dtype == "BOOL" and raw.size and raw.max() > 1:
        raise ValueError(f"tensor {short_repr(name)} should hold booleans, but holds the byte {raw.max()}")
    dtype = np.dtype(_DTYPES[entry.dtype])
    array: Array = raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    if entry.dtype == "BF16":
        # The upper half of a float32.
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.reshape(entry.shape)


def _read(file: IO[bytes], count: int, what: str) -> bytes:
    raw = bytearray(count)
    _fill(file, memoryview(raw), what)
    return bytes(raw)


def _fill(file: IO[bytes], target: memoryview, what: str) -> None:
    done = 0
    while done < len(target):
        count = file.readinto(target[done:])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"the file ends within {what}")
        done += count
