"""Object arrays of integers or of lists of them, as NumPy pickles them, read without pickle.

A pickle is a program that may call anything. The reader here follows the few steps that NumPy writes for such an array
and makes lists, integers and nothing else: names stay names, and nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Python hands a list over in parts of 1,000 items, so that little waits on the stack at any time.
_MAX_WAITING = 10_000


def read_lists(raw: bytes, start: int, rows: int) -> list[Any]:
    """The rows of a pickled object array, protocols 2 to 5, as NumPy 1 and 2 write it: integers or lists of them.

    Args:
        raw: bytes that hold the pickle.
        start: where it starts; it ends where they end.
        rows: of the array.

    Memory stays in proportion to the bytes, whatever steps they spell. So no list may occur in an array twice:
    otherwise a megabyte could mean any number of words.

    Raises:
        ValueError: anything that such an array does not need.
    """
    return _Reader(raw, start, rows).read()


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


class _Reader:
    """The machine that a pickle is a program for, with the steps of such arrays alone."""

    def __init__(self, raw: bytes, start: int, rows: int) -> None:
        self._raw, self._at, self._lists_left = raw, start, rows + 2  # the array and its list of rows
        self._stack: list[Any] = []
        self._marks: list[int] = []  # where the items of tuples and lists begin in the stack
        self._memo: list[Any] = []

    def read(self) -> list[Any]:
        """The rows."""
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
                append(int.from_bytes(raw[at + 1 : at + 5], "little", signed=True))
                at += 5
            else:
                break
        self._at = at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self._at += size
        if self._at > len(self._raw):
            raise IndexError
        return self._raw[self._at - size : self._at]

    def number(self, size: int, signed: bool = False) -> int:
        """The next bytes as an integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def sized(self, size: int) -> bytes:
        """As many bytes as the next ``size`` bytes say."""
        return self.take(self.number(size))

    def pop(self, *types: type) -> Any:
        """The last item of the stack, which must be of one of these types."""
        item = self._stack.pop()
        if type(item) not in types:
            raise self._refuse(" or ".join(expected.__name__.lstrip("_") for expected in types))
        return item

    def push(self, item: Any) -> None:
        """Put an item on the stack."""
        self._stack.append(item)

    def items(self) -> list[Any]:
        """Pop the last mark, and return the items above it."""
        at = self._marks.pop()
        items = self._stack[at:]
        del self._stack[at:]
        return items

    def tuple_of(self, items: list[Any]) -> None:
        """TUPLE, TUPLE1, TUPLE2, TUPLE3."""
        if any(type(item) is tuple and tuple in map(type, item) for item in items):
            raise self._refuse("tuples of at most two levels")
        self._stack.append(tuple(items))

    def last(self, count: int) -> list[Any]:
        """Pop as many items."""
        return [self._stack.pop() for _ in range(count)][::-1]

    def extend(self, items: list[Any]) -> None:
        """APPEND, APPENDS."""
        if type(self._stack[-1]) is not list:
            raise self._refuse("a list")
        self._stack[-1].extend(items)

    def new_list(self, content: Any) -> None:
        """EMPTY_LIST, and the arrays that become lists."""
        self._lists_left -= 1
        if self._lists_left < 0:
            raise self._refuse("as many lists as the header says")
        self._stack.append(content)

    def remember(self, key: int | None = None) -> None:
        """BINPUT, LONG_BINPUT, MEMOIZE: keys come one after the other, from 0 or (Python 2) from 1."""
        item, free = self._stack[-1], len(self._memo)
        kept = isinstance(item, (int, _Name, _Type)) or (isinstance(item, (str, bytes)) and len(item) <= 64)
        key = free if key is None else key
        if key > free + 1:
            raise self._refuse("keys that come one after the other")
        self._memo += [None] * (key + 1 - free)
        self._memo[key] = item if kept else None

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

    def reduce(self) -> None:
        """REDUCE: what NumPy would be called with becomes the list, the integer or the type that it would make."""
        given, name = self.pop(tuple), self.pop(_Name)
        types = tuple(map(type, given))
        if name in _RECONSTRUCT and given in ((_NDARRAY, (0,), b"b"), (_NDARRAY, (0,), "b")):
            self.new_list(_Box())
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
            self.new_list(self._row(given[2], given[1], given[0]))
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


# Handlers of the operations of a pickle by their codes; other operations are refused.
_STEPS: dict[int, Callable[[_Reader], Any]] = {
    0x80: lambda r: r.take(1),  # PROTO
    0x95: lambda r: r.take(8),  # FRAME
    ord("K"): lambda r: r.push(r.number(1)),
    ord("M"): lambda r: r.push(r.number(2)),
    ord("J"): lambda r: r.push(r.number(4, signed=True)),
    0x8A: lambda r: r.push(r.number(r.number(1), signed=True)),  # LONG1
    ord("X"): lambda r: r.push(r.sized(4).decode("utf-8")),
    0x8C: lambda r: r.push(r.sized(1).decode("utf-8")),
    # With these Python 2 wrote texts and bytes alike.
    ord("U"): lambda r: r.push(r.sized(1).decode("latin1")),
    ord("T"): lambda r: r.push(r.sized(4).decode("latin1")),
    ord("C"): lambda r: r.push(r.sized(1)),
    ord("B"): lambda r: r.push(r.sized(4)),
    0x8E: lambda r: r.push(r.sized(8)),  # BINBYTES8
    0x96: lambda r: r.push(r.sized(8)),  # BYTEARRAY8
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    ord("]"): lambda r: r.new_list([]),
    ord("a"): lambda r: r.extend(r.last(1)),
    ord("e"): lambda r: r.extend(r.items()),
    ord(")"): lambda r: r.push(()),
    ord("t"): lambda r: r.tuple_of(r.items()),
    0x85: lambda r: r.tuple_of(r.last(1)),
    0x86: lambda r: r.tuple_of(r.last(2)),
    0x87: lambda r: r.tuple_of(r.last(3)),
    ord("q"): lambda r: r.remember(r.number(1)),
    ord("r"): lambda r: r.remember(r.number(4)),
    0x94: lambda r: r.remember(),  # MEMOIZE
    ord("h"): lambda r: r.recall(r.number(1)),
    ord("j"): lambda r: r.recall(r.number(4)),
    ord("c"): lambda r: r.name(r.line(), r.line()),
    0x93: lambda r: r.name(*reversed((r.pop(str), r.pop(str)))),  # STACK_GLOBAL
    ord("R"): lambda r: r.reduce(),
    ord("b"): lambda r: r.build(),
}
