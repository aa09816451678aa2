"""NumPy's files, ``.npy`` and ``.npz``, read without pickle, object arrays of lists of integers included."""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from .._validation import one_line
from ..text.files import open_plain, path_of
from ..typing import Array
from .pickled_lists import read_lists

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?)([biufO])(\d?)', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}L?, ?)*(?:\d{1,18}L?)?)\),? ?\}\s*",
    re.ASCII,
)
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
_PIECE = 1 << 20
# A row takes a few bytes in a file and far more in memory.
_MAX_ROWS = 1 << 20


def read_array(path: str | os.PathLike[str]) -> Array:
    """The array of numbers in a ``.npy`` file.

    Raises:
        ValueError: naming the file: another one, other types, more or fewer values than the header says.
        OSError: it cannot be read.
    """
    with open_plain(path) as file:
        raw = bytearray(file.read())
    try:
        array = read_npy(raw)
        if isinstance(array, list):
            raise ValueError("expected numbers, got objects, which are pickled")
        return array
    except ValueError as error:
        raise ValueError(f"{path_of(path)}: expected a .npy file of numbers, got another ({error})") from None


def read_npy(raw: bytes | bytearray) -> Array | list[Any]:
    """The array of a ``.npy`` file of numbers, or the list of one of objects: integers, or lists of them.

    Args:
        raw: the bytes of the file.

    Raises:
        ValueError: another file, other types, more or fewer values than the header says.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.save(file, np.arange(3))
    >>> read_npy(file.getvalue())
    array([0, 1, 2])
    """
    size = 2 if raw[6:7] == b"\x01" else 4
    start = 8 + size
    if raw[:6] != _MAGIC or raw[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00") or len(raw) < start:
        raise ValueError(f"expected a .npy file, got one that starts with {raw[:8].hex(' ') or 'nothing'}")
    end = start + int.from_bytes(raw[8:start], "little")
    header = _HEADER.fullmatch(raw[start : min(end, start + 1000)].decode("latin1"))
    if header is None or end > len(raw):
        raise ValueError("expected a .npy header of numbers or objects, got another")
    order, kind, digits, fortran, sizes = header.groups()
    shape = tuple(int(size.rstrip("L ")) for size in sizes.split(",") if size.strip())
    if len(shape) > 8:
        raise ValueError(f"expected at most 8 axes, got {len(shape)}")
    if kind == "O":
        if len(shape) != 1 or shape[0] > _MAX_ROWS:
            raise ValueError(f"expected one axis of at most {_MAX_ROWS:,} rows of objects, got shape {shape}")
        rows = read_lists(bytes(raw), end, shape[0])
        if shape != (len(rows),):
            raise ValueError(f"expected a list for each row of shape {shape}, got {len(rows)}")
        return rows
    if int(digits or 0) not in _SIZES[kind]:
        raise ValueError(f"expected numbers, got type {kind}{digits}")
    dtype = np.dtype(order + kind + digits)
    count = math.prod(shape)
    if len(raw) - end != count * dtype.itemsize:
        raise ValueError(f"expected {count * dtype.itemsize:,} bytes for shape {shape}, got {len(raw) - end:,}")
    array = np.frombuffer(raw, dtype, count, end)
    array = array.reshape(shape, order="F" if fortran == "True" else "C")
    # A view is enough for bytes that nothing else can change.
    return array.astype(dtype.newbyteorder("="), copy=not array.flags.writeable)


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of one file in a ``.npz`` archive.

    Args:
        archive: open for reading.
        name: of the member, with ``.npy``.
        most: bytes that it may unpack to.

    Raises:
        ValueError: it is missing, damaged, packed in a way that NumPy does not use, or unpacks to more.
    """
    try:
        member = archive.getinfo(name)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
            raise ValueError(f"expected {name} stored or deflated, got it packed or encrypted in another way")
        if member.file_size > most:
            raise ValueError(f"expected at most {most:,} bytes in {name}, got {member.file_size:,}; raise max_bytes")
        pieces = []
        with archive.open(member) as file:
            while piece := file.read(_PIECE):
                pieces.append(piece)
        return b"".join(pieces)
    except KeyError:
        raise ValueError(f"expected an archive with {name}, got none in it") from None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OverflowError) as error:
        raise ValueError(f"expected a whole {name}, got a damaged one ({one_line(error)})") from None


def open_archive(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """A zip archive for reading.

    Raises:
        ValueError: it is none, or a damaged one.
        OSError: it cannot be read.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError, OverflowError) as error:
        raise ValueError(f"expected a zip archive, got another file ({one_line(error)})") from None
