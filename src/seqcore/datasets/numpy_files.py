"""NumPy's files read without pickle, object arrays of lists of integers included.

A pickle is a program that may call anything. The reader here follows the few steps that NumPy writes for an object
array of lists of integers and makes lists, integers and nothing else: names stay names, and nothing is called.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._validation import one_line
from ..text.files import open_plain, path_of
from ..typing import Array

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
# Python hands a list over in parts of 1,000 items, so that little waits on the stack at any time.
_MAX_WAITING = 10_000


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
        rows = _ListUnpickler(bytes(raw), end, shape[0]).read()
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


# ---------------------------------------------------------------- object arrays


class _Name(NamedTuple):
    """A name that the file mentions; it is compared and never looked up."""

    module: str
    name: str


@dataclass
class _Type:
    """The steps ``dtype('i8', False, True)`` and its state, which says the order of the bytes."""

    code: str
    order: str = "<"

    def integers(self, raw: bytes) -> list[int]:
        """Numbers of this type."""
        if self.code not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8") or self.order not in ("<", ">", "|"):
            raise ValueError(f"expected integers, got type {self.order}{self.code}"[:80])
        if len(raw) % int(self.code[1]):
            raise ValueError(f"expected whole integers of type {self.code}, got {len(raw)} bytes")
        numbers: list[int] = np.frombuffer(raw, np.dtype(self.order.replace("|", "") + self.code)).tolist()
        return numbers


@dataclass
class _Box:
    """The step ``_reconstruct(ndarray, (0,), b'b')``: an array that gets its content later."""

    content: list[Any] | None = None


_DTYPE, _NDARRAY, _ENCODE = _Name("numpy", "dtype"), _Name("numpy", "ndarray"), _Name("_codecs", "encode")
_CORES = ("numpy.core", "numpy._core")
_RECONSTRUCT = {_Name(f"{core}.multiarray", "_reconstruct") for core in _CORES}
_SCALAR = {_Name(f"{core}.multiarray", "scalar") for core in _CORES}
_FROM_BUFFER = {_Name(f"{core}.numeric", "_frombuffer") for core in _CORES}
# How protocol 2 spells empty bytes.
_NO_BYTES = {_Name("__builtin__", "bytes"), _Name("builtins", "bytes")}
_KNOWN = {_DTYPE, _NDARRAY, _ENCODE} | _NO_BYTES | _RECONSTRUCT | _SCALAR | _FROM_BUFFER


class _ListUnpickler:
    """Read the pickle of an object array of integers or of lists of them, protocols 2 to 5, as NumPy 1 and 2 write it.

    Args:
        raw: bytes that hold the pickle.
        start: where it starts; it ends where they end.
        rows: of the array.

    Memory stays in proportion to the bytes, whatever steps they spell. So no list may occur in an array twice:
    otherwise a megabyte could mean any number of words.
    """

    def __init__(self, raw: bytes, start: int, rows: int) -> None:
        self._raw, self._at, self._lists_left = raw, start, rows + 2  # the array and its list of rows
        self._stack: list[Any] = []
        self._marks: list[int] = []  # where the items of tuples and lists begin in the stack
        self._memo: list[Any] = []

    def read(self) -> list[Any]:
        """The rows.

        Raises:
            ValueError: anything that such an array does not need.
        """
        raw, stack = self._raw, self._stack
        if raw[self._at : self._at + 1] != b"\x80":
            raise self._refuse("a pickle of protocol 2 to 5")
        try:
            while True:
                operation = raw[self._at]
                self._at += 1
                if operation == 0x28:  # MARK; what follows in a list of integers is nearly all of the file
                    self._marks.append(len(stack))
                    self._integers()
                elif operation == 0x2E:  # STOP
                    break
                else:
                    step = _STEPS.get(operation)
                    if step is None:
                        raise ValueError(
                            f"expected lists of integers, got the pickle operation {operation:#04x} at byte {self._at}"
                        )
                    step(self)
                if len(stack) + len(self._marks) > _MAX_WAITING:
                    raise self._refuse(f"at most {_MAX_WAITING:,} items to wait")
        except IndexError:
            raise self._refuse("a whole pickle") from None
        if len(stack) != 1 or self._marks or self._at != len(raw):
            raise self._refuse("an array and the end of the file")
        return self._rows(stack[0])

    def _rows(self, array: Any) -> list[Any]:
        if not isinstance(array, _Box) or array.content is None:
            raise self._refuse("an array")
        rows = [row.content if isinstance(row, _Box) else row for row in array.content]
        for row in rows:
            if type(row) is not int and not (isinstance(row, list) and set(map(type, row)) <= {int}):
                raise self._refuse("lists of integers")
        return rows

    def _refuse(self, expected: str) -> ValueError:
        return ValueError(f"expected {expected} at byte {self._at}, got something else")

    def _integers(self) -> None:
        """As many small integers as follow each other."""
        raw, at, append = self._raw, self._at, self._stack.append
        while True:
            operation = raw[at]
            if operation == 0x4B:  # BININT1
                append(raw[at + 1])
                at += 2
            elif operation == 0x4D:  # BININT2
                append(raw[at + 1] | raw[at + 2] << 8)
                at += 3
            elif operation == 0x4A:  # BININT
                append(int.from_bytes(self._slice(at + 1, 4), "little", signed=True))
                at += 5
            else:
                break
        self._at = at

    def _slice(self, start: int, size: int) -> bytes:
        if start + size > len(self._raw):
            raise IndexError
        return self._raw[start : start + size]

    def take(self, size: int) -> bytes:
        """The next bytes."""
        taken = self._slice(self._at, size)
        self._at += size
        return taken

    def number(self, size: int) -> int:
        """The next bytes as an integer without sign."""
        return int.from_bytes(self.take(size), "little")

    def pop(self, *types: type) -> Any:
        """The last item of the stack, which must be of one of these types."""
        item = self._stack.pop()
        if type(item) not in types:
            raise self._refuse(" or ".join(expected.__name__.lstrip("_") for expected in types))
        return item

    def push(self, item: Any) -> None:
        """Put an item on the stack."""
        self._stack.append(item)

    def small_integer(self, size: int, signed: bool) -> None:
        """BININT and its kin, with those that follow."""
        self._stack.append(int.from_bytes(self.take(size), "little", signed=signed))
        self._integers()

    def long_integer(self) -> None:
        """LONG1."""
        self._stack.append(int.from_bytes(self.take(self.number(1)), "little", signed=True))

    def text(self, size: int) -> None:
        """BINUNICODE and SHORT_BINUNICODE."""
        self._stack.append(self.take(self.number(size)).decode("utf-8"))

    def old_text(self, size: int) -> None:
        """BINSTRING and SHORT_BINSTRING, with which Python 2 wrote texts and bytes alike."""
        self._stack.append(self.take(self.number(size)).decode("latin1"))

    def binary(self, size: int) -> None:
        """BINBYTES, SHORT_BINBYTES and BYTEARRAY8."""
        self._stack.append(self.take(self.number(size)))

    def items(self) -> list[Any]:
        """Pop the last mark, and return the items above it."""
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def tuple_of(self, count: int | None) -> None:
        """TUPLE, TUPLE1, TUPLE2, TUPLE3."""
        if count is None:
            items = tuple(self.items())
        elif len(self._stack) < count:
            raise IndexError
        else:
            items = tuple(self._stack[-count:])
            del self._stack[-count:]
        if any(type(item) is tuple and tuple in map(type, item) for item in items):
            raise self._refuse("tuples of at most two levels")
        self._stack.append(items)

    def append(self) -> None:
        """APPEND."""
        item = self._stack.pop()
        self._list().append(item)

    def appends(self) -> None:
        """APPENDS."""
        items = self.items()
        self._list().extend(items)

    def new_list(self) -> None:
        """EMPTY_LIST."""
        self._count_list()
        self._stack.append([])

    def _count_list(self) -> None:
        self._lists_left -= 1
        if self._lists_left < 0:
            raise self._refuse("as many lists as the header says")

    def _list(self) -> list[Any]:
        last = self._stack[-1]
        if type(last) is not list:
            raise self._refuse("a list")
        return last

    def remember(self, key: int) -> None:
        """BINPUT, LONG_BINPUT, MEMOIZE: keys come one after the other, from 0 or (Python 2) from 1."""
        item = self._stack[-1]
        kept = isinstance(item, (int, _Name, _Type)) or (isinstance(item, (str, bytes)) and len(item) <= 64)
        if key > len(self._memo) + 1:
            raise self._refuse("keys that come one after the other")
        self._memo += [None] * (key + 1 - len(self._memo))
        self._memo[key] = item if kept else None

    def memoize(self) -> None:
        """MEMOIZE."""
        self.remember(len(self._memo))

    def recall(self, key: int) -> None:
        """BINGET, LONG_BINGET."""
        item = self._memo[key]
        if item is None:
            raise self._refuse("nothing but names, types and numbers to stand in it twice")
        self._stack.append(item)

    def name(self, module: str, name: str) -> None:
        """GLOBAL and STACK_GLOBAL."""
        mentioned = _Name(module, name)
        if mentioned not in _KNOWN:
            raise ValueError(f"{module}.{name} in it"[:200].replace("\n", " "))
        self._stack.append(mentioned)

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self._raw.find(b"\n", self._at, self._at + 200)
        if end < 0:
            raise self._refuse("a name")
        text = self._raw[self._at : end]
        self._at = end + 1
        return text.decode("utf-8")

    def stack_name(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.pop(str), self.pop(str)
        self.name(module, name)

    def reduce(self) -> None:
        """REDUCE: what NumPy would be called with becomes the list, the integer or the type that it would make."""
        given, name = self.pop(tuple), self.pop(_Name)
        types = tuple(map(type, given))
        if name in _RECONSTRUCT and given in ((_NDARRAY, (0,), b"b"), (_NDARRAY, (0,), "b")):
            self._count_list()
            self._stack.append(_Box())
        elif name == _DTYPE and types[0:1] == (str,) and given[1:] == (False, True):
            self._stack.append(_Type(given[0]))
        elif name == _ENCODE and types == (str, str) and given[1] == "latin1":
            self._stack.append(given[0].encode("latin1"))
        elif name in _NO_BYTES and not given:
            self._stack.append(b"")
        elif name in _SCALAR and types in ((_Type, bytes), (_Type, str)):
            (number,) = given[0].integers(_bytes(given[1]))
            self._stack.append(number)
        elif name in _FROM_BUFFER and types == (bytes, _Type, tuple, str):
            self._count_list()
            self._stack.append(self._row(given[2], given[1], given[0]))
        else:
            raise self._refuse("steps of an array of lists of integers")

    def _row(self, shape: tuple[Any, ...], dtype: _Type, raw: bytes) -> list[int]:
        """An array of one axis."""
        numbers = dtype.integers(raw)
        if shape != (len(numbers),):
            raise self._refuse("rows of one axis")
        return numbers

    def build(self) -> None:
        """BUILD: the state of an array, (version, shape, type, Fortran's order, content), or of a type."""
        state, target = self.pop(tuple), self._stack[-1]
        types = tuple(map(type, state))
        if type(target) is _Type and types[:2] == (int, str) and len(types) >= 8:
            # A type that was remembered is this object: the state comes right behind it.
            target.order = state[1]
        elif type(target) is _Box and types[:3] == (int, tuple, _Type) and len(types) == 5:
            _, shape, dtype, _, content = state
            if dtype.code in ("O", "O8", "O4") and type(content) is list:
                if shape != (len(content),):
                    raise self._refuse("an array of one axis")
                target.content = content
            elif type(content) in (bytes, str):
                target.content = self._row(shape, dtype, _bytes(content))
            else:
                raise self._refuse("lists or bytes")
        else:
            raise self._refuse("the state of an array or a type")


def _bytes(content: bytes | str) -> bytes:
    """Bytes as Python 3 wrote them, or Python 2."""
    return content.encode("latin1") if isinstance(content, str) else content


def _steps() -> dict[int, Callable[[_ListUnpickler], Any]]:
    """Handlers of the operations of a pickle by their codes; other operations are refused."""
    steps: dict[str, Callable[[_ListUnpickler], Any]] = {
        "\x80": lambda r: r.take(1),  # PROTO
        "\x95": lambda r: r.take(8),  # FRAME
        "K": lambda r: r.small_integer(1, False),
        "M": lambda r: r.small_integer(2, False),
        "J": lambda r: r.small_integer(4, True),
        "\x8a": lambda r: r.long_integer(),
        "X": lambda r: r.text(4),
        "\x8c": lambda r: r.text(1),
        "U": lambda r: r.old_text(1),
        "T": lambda r: r.old_text(4),
        "C": lambda r: r.binary(1),
        "B": lambda r: r.binary(4),
        "\x8e": lambda r: r.binary(8),
        "\x96": lambda r: r.binary(8),
        "N": lambda r: r.push(None),
        "\x88": lambda r: r.push(True),
        "\x89": lambda r: r.push(False),
        "]": lambda r: r.new_list(),
        ")": lambda r: r.push(()),
        "a": lambda r: r.append(),
        "e": lambda r: r.appends(),
        "t": lambda r: r.tuple_of(None),
        "\x85": lambda r: r.tuple_of(1),
        "\x86": lambda r: r.tuple_of(2),
        "\x87": lambda r: r.tuple_of(3),
        "q": lambda r: r.remember(r.number(1)),
        "r": lambda r: r.remember(r.number(4)),
        "\x94": lambda r: r.memoize(),
        "h": lambda r: r.recall(r.number(1)),
        "j": lambda r: r.recall(r.number(4)),
        "c": lambda r: r.name(r.line(), r.line()),
        "\x93": lambda r: r.stack_name(),
        "R": lambda r: r.reduce(),
        "b": lambda r: r.build(),
    }
    return {ord(code): step for code, step in steps.items()}


_STEPS = _steps()
