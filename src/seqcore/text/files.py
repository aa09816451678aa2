"""Text files, plain or packed by gzip or bzip2: lines, words, words of files of any length, CSV, JSON.

One mechanism for all readers of the package: :func:`open_plain`. A file costs memory in proportion to its own size,
whatever it unpacks to, unless the caller raises the limit.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, cast

from .._foreign_files import describe_foreign_file
from .._json import parse_json
from .._validation import as_path, integer, one_line, short_repr
from ..typing import PathLike

# The default limit of unpacked files, in bytes and times their size: text rarely shrinks to less than a tenth.
_UNPACKED, _RATIO = 16 << 20, 16
# A pipe has no size to measure it by.
_PIPE = 1 << 30
_PIECE = 1 << 20
# Characters of a word; a longer one is not a word, and its parts would be joined over and over.
_LONGEST_WORD = 1 << 20
_BZIP2 = tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))
_WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


def path_of(path: Any, name: str = "path") -> str:
    """The path of a file to be read, as text.

    Raises:
        TypeError: it is not a path.
        ValueError: it is empty or holds NUL.

    >>> path_of(b"ptb.train.txt")
    'ptb.train.txt'
    """
    place = as_path(path, name)
    if not place or "\0" in place:
        raise ValueError(f"{name}: expected a path that is not empty and has no NUL, got {place!r}")
    return place


class _Unpacked(io.RawIOBase):
    """The content of a packed file or a pipe, up to ``limit`` bytes; its errors are ValueErrors that name the file."""

    def __init__(self, file: IO[bytes], place: str, packer: str, limit: int) -> None:
        self._file, self._place, self._packer, self._left, self._limit = file, place, packer, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._file.read(min(len(buffer), self._left + 1))
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise
            reason = one_line(error)
            text = f"{self._place}: expected a whole {self._packer} file, got a damaged one ({reason})"
            raise ValueError(text) from None
        self._left -= len(piece)
        if self._left < 0:
            raise ValueError(
                f"{self._place}: expected at most {self._limit:,} bytes unpacked, got more; unpack the file first, "
                "or raise max_bytes"
            )
        buffer[: len(piece)] = piece
        return len(piece)


def unpacked_limit(size: int, max_bytes: int | None = None) -> int:
    """Most bytes that a packed file of ``size`` bytes may unpack to: ``max_bytes`` if given.

    >>> unpacked_limit(10), unpacked_limit(10 << 20)
    (16777216, 167772160)
    """
    return max(_UNPACKED, _RATIO * size) if max_bytes is None else integer("max_bytes", max_bytes, 1)


@contextmanager
def open_plain(path: PathLike, max_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its first ones are those of gzip or bzip2.

    Args:
        path: the file.
        max_bytes: most bytes that a packed file may unpack to. None takes 16 times its size, at least 16 MiB, so that a
            small file cannot fill the memory; the limit of a pipe is then 1 GiB. Plain files have none.

    Raises:
        ValueError: naming the file: it is damaged or unpacks to more (when it is read), or it is a device or a socket.
        OSError: it cannot be read.
    """
    place = path_of(path)
    limit = None if max_bytes is None else integer("max_bytes", max_bytes, 1)
    status = os.stat(place)
    regular = stat.S_ISREG(status.st_mode)
    if not (regular or stat.S_ISDIR(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise ValueError(f"{place}: expected a file, got a device or a socket")
    with open(place, "rb") as raw:
        start = raw.peek(10)[:10]
        if start[:2] == b"\x1f\x8b":
            packer, file = "gzip", cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        elif start in _BZIP2:
            import bz2  # Python can be built without it

            packer, file = "bzip2", cast("IO[bytes]", bz2.BZ2File(raw))
        elif regular:
            yield raw
            return
        else:
            packer, file = "plain", cast("IO[bytes]", raw)
        limit = unpacked_limit(status.st_size, limit) if regular else limit or _PIPE
        with io.BufferedReader(_Unpacked(file, place, packer, limit), 1 << 17) as unpacked:
            yield cast("IO[bytes]", unpacked)


def _no_text(place: str, encoding: str, start: bytes, error: UnicodeError) -> ValueError:
    """The error for a file whose bytes, ``start`` being its first ones, are in another encoding."""
    reason = one_line(error)
    foreign = describe_foreign_file(place)
    if foreign is not None and not foreign.startswith(("a gzip", "a bzip2")):  # its content is not text either
        reason = f"it is {foreign}"
    for mark, name in _WIDE.items():
        if start.startswith(mark):
            reason = f"it is in {name}: save it as UTF-8"
    name = "UTF-8" if encoding == "utf-8" else encoding
    return ValueError(f"{place}: expected {name} text, plain or gzip, got other bytes ({reason})")


def encoding_name(encoding: Any) -> str:
    """Python's name of the encoding of a text.

    Raises:
        ValueError: there is none of that name, or it does not encode text.

    >>> encoding_name("UTF8"), encoding_name("latin-1")
    ('utf-8', 'iso8859-1')
    """
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"encoding: expected that of a text, such as 'utf-8', got {short_repr(encoding)}") from None
    return name


def _texts(path: PathLike, size: int, max_bytes: int | None, encoding: str = "utf-8") -> Iterator[str]:
    """The text of a file in pieces, each of about ``size`` bytes, without the byte order mark at its start."""
    encoding = encoding_name(encoding)
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)()
    start = b""
    with open_plain(path, max_bytes) as file:
        try:
            while piece := file.read(size):
                start = start or piece[:8]
                yield decoder.decode(piece)
            yield decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise _no_text(path_of(path), encoding, start, error) from None


def read_text(path: PathLike, *, max_bytes: int | None = None, encoding: str = "utf-8") -> str:
    """A whole text file, plain or packed; arguments and errors as for :func:`read_lines`."""
    return "".join(_texts(path, _PIECE, max_bytes, encoding))


def read_lines(path: PathLike, *, max_bytes: int | None = None, encoding: str = "utf-8") -> list[str]:
    """Lines of a text file, plain or packed (by its first bytes), cut at the newline character only.

    Args:
        path: the file; a byte order mark at its start is left out.
        max_bytes: most bytes that a packed file may unpack to; see :func:`open_plain`.
        encoding: of the text.

    Raises:
        ValueError: the file is not text of that encoding, or a packed one that is damaged or unpacks to more than
            allowed; an unknown encoding.
        OSError: it cannot be read.
    """
    return list(iterate_lines(path, max_bytes=max_bytes, encoding=encoding))


def iterate_lines(path: PathLike, *, max_bytes: int | None = None, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a text file of any length; arguments and errors as for :func:`read_lines`."""
    begun: list[str] = []
    for piece in _texts(path, _PIECE, max_bytes, encoding):
        lines = piece.split("\n")
        begun.append(lines[0])
        if len(lines) > 1:
            yield "".join(begun)
            yield from islice(lines, 1, len(lines) - 1)
            begun = [lines[-1]]
    if line := "".join(begun):
        yield line


def read_words(path: PathLike, end_of_line: str | None = None, *, max_bytes: int | None = None) -> list[str]:
    """Words of a text file separated by white space, with ``end_of_line`` (such as ``"<eos>"``) after each line.

    Args:
        path: the file, as for :func:`read_lines`.
        end_of_line: the word that ends each line, or None.
        max_bytes: most bytes that a packed file may unpack to; see :func:`open_plain`.

    Raises:
        ValueError: the file is not UTF-8 text, or a packed one that is damaged or unpacks to more than allowed.
        OSError: it cannot be read.
    """
    # Read to its end first: a file that unpacks to too much is refused before its words take any memory.
    pieces = [piece for piece in _texts(path, _PIECE, max_bytes) if piece]
    if end_of_line is not None:
        if pieces and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        pieces = [piece.replace("\n", f" {end_of_line} ") for piece in pieces]
    words: list[str] = []
    known: dict[str, str] = {}  # equal words are one string: a text is mostly words that came before
    for piece in _words_of(pieces, path_of(path)):
        words += map(known.setdefault, piece, piece)
    return words


def iterate_words(path: PathLike, size: int = _PIECE, *, max_bytes: int | None = None) -> Iterator[list[str]]:
    """Words of a text file of any length, plain or packed, as lists of the words of ``size`` bytes each.

    Args:
        path: the file, as for :func:`read_lines`.
        size: bytes that are read at once.
        max_bytes: most bytes that a packed file may unpack to; see :func:`open_plain`.

    Raises:
        ValueError: the file is not UTF-8 text, or a packed one that is damaged or unpacks to more than allowed.
        OSError: it cannot be read.
    """
    return _words_of(_texts(path, integer("size", size, 1), max_bytes), path_of(path))


def _words_of(pieces: Iterable[str], place: str) -> Iterator[list[str]]:
    """The words of each piece of a text."""
    rest = ""
    for piece in filter(None, pieces):
        words = (rest + piece).split()
        # A word continues in the next piece unless white space ends this one.
        rest = "" if piece[-1].isspace() else words.pop()
        if len(rest) > _LONGEST_WORD:
            raise ValueError(f"{place}: expected words of at most {_LONGEST_WORD:,} characters, got a longer one")
        if words:
            yield words
    if rest:
        yield [rest]


def read_csv(
    path: PathLike, delimiter: str | None = ",", *, max_bytes: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that have cells, each with the number of the line that it ends in.

    Args:
        path: the file, plain or packed.
        delimiter: character between the cells; None takes the comma, semicolon or tab, whichever the first line has
            most of.
        max_bytes: most bytes that a packed file may unpack to; see :func:`open_plain`.

    Raises:
        ValueError: naming the file: it is not text, or its quotes do not fit.
        OSError: it cannot be read.
    """
    text = read_text(path, max_bytes=max_bytes)
    if delimiter is None:
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise ValueError(f"{path_of(path)}: expected a CSV file, got one that is not ({error})") from None


def read_json(path: PathLike, *, max_bytes: int | None = None) -> Any:
    """The value in a JSON file.

    Args:
        path: the file, plain or packed.
        max_bytes: most bytes that a packed file may unpack to; see :func:`open_plain`.

    Raises:
        ValueError: naming the file, which is not JSON, or a packed one that is damaged or unpacks to more than allowed.
        OSError: it cannot be read.
    """
    with open_plain(path, max_bytes) as file:
        raw = file.read()
    try:
        return parse_json(raw)
    except ValueError as error:
        raise ValueError(f"{path_of(path)}: {one_line(error)}") from None
