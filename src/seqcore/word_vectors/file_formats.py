"""Files of word vectors in the formats of word2vec (text and binary) and GloVe (text), plain or packed.

V: words, D: dimensions of a vector. Readers take nothing on trust: memory grows with the rows that are really there, a
line or a word that does not end is given up, and every error is one ValueError that names the file and the line or
byte.
"""

from __future__ import annotations

import codecs
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._foreign_files import describe_foreign_file
from .._validation import at_least, short_repr
from ..saving.format import describe_format
from ..saving.safetensors import read_header
from ..text.files import encoding_name, open_plain, path_of
from ..typing import Array, Floats, PathLike

_MAX_COLUMNS = 100_000
_MAX_WORD = 1 << 16
_NUMBER_BYTES = 32  # no way of writing a float needs more
_CHUNK = 1 << 20


@dataclass
class VectorTable:
    """The content of a file: vectors (V, D) float32, V words, counts (V,) int64 if known.

    ``duplicates`` rows were left out because their word had come before; ``attributes``: other numbers (V,) of words.
    """

    vectors: Floats
    words: list[str]
    counts: NDArray[np.int64] | None = None
    duplicates: int = 0
    attributes: dict[str, Array] = field(default_factory=dict)


def describe_file(place: str, text: bool) -> str | None:
    """A description of a file that could not be read as one of word vectors, for the message.

    Args:
        place: the file.
        text: the caller reads the formats of word2vec and GloVe; otherwise the safetensors of KeyedVectors.

    Returns:
        Its kind and the method that reads it; None where the error of the reader says more.
    """
    if not os.path.isfile(place):  # a FIFO may have no writer
        return None
    with open_plain(place) as file:
        start = file.read(300)
    if start[8:9] == b"{":
        with suppress(ValueError):
            tags = read_header(place)[1]
            if tags.get("seqcore") == "word2vec":
                return "one of Word2Vec.save; Word2Vec.load(path).wv has its vectors"
            return describe_format(tags) if text else None
    if not text:
        if re.match(rb"\d+ \d+ ?\r?\n", start):
            return "one of word2vec; read it by load_word2vec_format, with binary=True if it is not text"
        if re.match(rb"\S+( -?\d+(\.\d+)?(e-?\d+)?){3}", start):
            return "one of GloVe; read it by load_glove"
    return describe_foreign_file(place)


# ---------------------------------------------------------------- reading


class _Source:
    """A file that is read once, from start to end.

    ``size`` is its length in bytes, None where it is unpacked; ``pending`` are bytes read from it but not used yet.
    """

    def __init__(self, place: str, file: IO[bytes], size: int | None) -> None:
        self.place, self.file, self.size, self.pending = place, file, size, b""

    def refuse(self, where: str, expected: str, got: str) -> ValueError:
        return ValueError(f"{self.place}, {where}: expected {expected}, got {got}")

    def line(self, number: int, most: int) -> bytes:
        """The next line without its end; b"" only at the end of the file or for an empty line."""
        line = self.file.readline(most + 1)
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if len(line) > most:
            raise self.refuse(f"line {number}", f"at most {most} bytes", "a longer line")
        return line

    def check_end(self, where: str, rows: int, promised: int | None) -> None:
        """Refuse anything but white space after the last row."""
        hint = "" if promised is None else f" than the first line says; limit={rows} reads only these"
        if any(piece.strip() for piece in chain([self.pending], iter(lambda: self.file.read(_CHUNK), b""))):
            raise self.refuse(where, f"the end of the file after {rows} rows", f"more{hint}")


@contextmanager
def _reading(path: PathLike, max_bytes: int | None) -> Iterator[_Source]:
    with open_plain(path, max_bytes) as file:
        try:
            size: int | None = os.fstat(file.fileno()).st_size
        except OSError:  # an unpacked stream has no descriptor
            size = None
        try:
            yield _Source(path_of(path), file, size)
        except ValueError as error:
            described = None if size is None else describe_file(path_of(path), text=True)
            if described is None:
                raise
            raise ValueError(f"{path_of(path)}: expected a file of word vectors, got {described}") from error


class _Rows:
    """Rows in the order of the file, each word once; room grows by half, never by the promise of a header."""

    def __init__(self, source: _Source, encoding: str, errors: str) -> None:
        self.source, self.encoding, self.errors = source, encoding, errors
        self.array: Floats = np.empty((0, 0), np.float32)
        self.index: dict[str, int] = {}
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self.index) + self.duplicates

    def add(self, raw: bytes, values: Array, where: str) -> None:
        try:
            word = raw.decode(self.encoding, self.errors)
        except UnicodeError as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            raise self.source.refuse(where, f"a word in {self.encoding}", f"{raw[:40]!r} ({reason})") from None
        row = len(self.index)
        if row == len(self.array):
            more = row // 2 + 1 if row else max(1, _CHUNK // (4 * len(values)))
            room = np.empty((more, len(values)), np.float32)
            self.array = np.concatenate([self.array, room]) if row else room
        with np.errstate(over="ignore"):
            self.array[row] = values
        if not np.isfinite(self.array[row]).all():
            raise self.source.refuse(where, f"finite float32 numbers for {word!r}", "NaN or infinity")
        if self.index.setdefault(word, row) != row:
            self.duplicates += 1

    def table(self) -> VectorTable:
        if not self.index:
            raise ValueError(f"{self.source.place}: expected at least one row, got none")
        rows = len(self.index)
        vectors = self.array if rows == len(self.array) else self.array[:rows].copy()
        return VectorTable(vectors, list(self.index), None, self.duplicates)


def read_word2vec(
    path: PathLike,
    binary: bool = False,
    limit: int | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    header: bool = True,
    max_bytes: int | None = None,
) -> VectorTable:
    """Vectors in the formats of word2vec and GloVe, plain or packed by gzip or bzip2 (by the first bytes).

    Args:
        path: the file. Text: a line ``V D``, then V lines of a word and D numbers, separated by single spaces. Binary:
            the same first line, then for each word the word, a space, D float32 numbers (little-endian) and perhaps a
            line end. The empty word is a word, as in gensim, which writes it for texts with double spaces.
        binary: which of the two.
        limit: reads the first ``limit`` rows only; the rest is not checked.
        encoding, errors: of the words, as in ``bytes.decode``.
        header: False: text without the first line, as GloVe's; words may then hold spaces.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: naming file and line or byte: a damaged or truncated file, rows of another length, more or fewer
            rows than promised, numbers that are not finite, words in another encoding, no rows.
        OSError: it cannot be read.
    """
    if limit is not None:
        limit = at_least("limit", limit, 1)
    if binary and not header:
        raise ValueError("no_header: expected False for a binary file, got True")
    encoding = _encoding_of_words(encoding, errors)
    with _reading(path, max_bytes) as source:
        promised, columns = _read_header(source, binary) if header else (None, None)
        wanted = promised if limit is None or promised is None else min(promised, limit)
        rows = _Rows(source, encoding, errors)
        if binary:
            assert wanted is not None and columns is not None
            end = _read_binary(rows, wanted, columns)
        else:
            end = _read_text(rows, limit if wanted is None else wanted, columns)
        if wanted is not None and len(rows) < wanted:
            raise source.refuse(end, f"{promised} rows as the first line says", f"the end after {len(rows)}")
        if limit is None or len(rows) < limit:
            source.check_end(end, len(rows), promised)
    return rows.table()


def _encoding_of_words(encoding: Any, errors: Any) -> str:
    """The name of an encoding whose words can be between spaces and line ends."""
    for name, value in (("encoding", encoding), ("unicode_errors", errors)):
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected a name, got {short_repr(value)}")
    try:
        codecs.lookup_error(errors)
    except LookupError:
        raise ValueError(f"unicode_errors: expected a known handler such as 'replace', got {errors!r}") from None
    name = encoding_name(encoding)
    if "a 1\n".encode(name) != b"a 1\n":
        raise ValueError(f"encoding: expected a known one that has ASCII in it, such as 'latin-1', got {encoding!r}")
    return name


def _read_header(source: _Source, binary: bool) -> tuple[int, int]:
    first = source.line(1, 256)
    parts = first.split()
    if len(parts) != 2 or not all(part.isdigit() and len(part) < 19 for part in parts):
        glove = len(parts) > 2 and all(map(_is_number, parts[-2:]))
        hint = "; files without that line are read by no_header=True or load_glove" if glove else ""
        raise source.refuse("line 1", "number of rows and of columns", repr(first[:60]) + hint)
    rows, columns = map(int, parts)
    if not 1 <= columns <= _MAX_COLUMNS or rows < 1:
        raise source.refuse("line 1", f"at least 1 row and 1...{_MAX_COLUMNS} columns", f"{rows} and {columns}")
    least = rows * (columns * (4 if binary else 2) + 1)
    if source.size is not None and source.size + 2 < least:
        raise source.refuse(
            "line 1", f"a file of at least {least} bytes for {rows} rows of {columns}", f"{source.size}"
        )
    return rows, columns


def _read_text(rows: _Rows, wanted: int | None, columns: int | None) -> str:
    """Read up to ``wanted`` rows, and name the line after them; ``columns`` None: as many as the first line has."""
    source, number = rows.source, 1 if columns is None else 2
    while wanted is None or len(rows) < wanted:
        where = f"line {number}"
        line = source.line(number, _MAX_WORD + _NUMBER_BYTES * (columns or _MAX_COLUMNS)).rstrip()
        if not line:
            break  # the end, or empty lines up to it: both are checked by the caller
        if columns is None:
            columns = line.count(b" ")
            if not 1 <= columns <= _MAX_COLUMNS:
                raise source.refuse(where, f"a word and 1...{_MAX_COLUMNS} numbers", f"{columns} numbers")
        word, values = _split_row(source, line, columns, where)
        rows.add(word, values, where)
        number += 1
    return f"line {number}"


def _split_row(source: _Source, line: bytes, columns: int, where: str) -> tuple[bytes, Array]:
    parts = line.rsplit(b" ", columns)
    expected = f"a word and {columns} numbers"
    if len(parts) != columns + 1:
        hint = "; binary=True reads binary files" if b"\0" in line else ""
        raise source.refuse(where, expected, f"{len(parts) - 1} numbers{hint}")
    word, numbers = parts[0], parts[1:]
    if word != word.strip(b" ") or b"  " in word or b"" in numbers:
        raise source.refuse(where, f"{expected} with single spaces between them", "two spaces or more")
    # Some words of GloVe hold spaces, such as ". . ."; a number before the numbers means a row that is too long.
    if b" " in word and _is_number(word.rsplit(b" ", 1)[1]):
        raise source.refuse(where, expected, f"{line.count(b' ')} numbers")
    try:
        values = np.fromiter(map(float, numbers), np.float64, columns)
    except ValueError:
        bad = next(part for part in numbers if not _is_number(part))
        raise source.refuse(where, expected, repr(bad[:40])) from None
    if line.find(b"_", len(word)) >= 0:  # float() takes 1_000
        raise source.refuse(where, expected, repr(next(part for part in numbers if b"_" in part)[:40]))
    return word, values


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_binary(rows: _Rows, wanted: int, columns: int) -> str:
    """Read up to ``wanted`` rows, and name the byte after them."""
    source, width = rows.source, 4 * columns
    held, at, base = b"", 0, 0  # bytes in hand, position in them, position of their first in the file after line 1
    while len(rows) < wanted:
        where = f"byte {base + at} after line 1"
        space = held.find(b" ", at, at + _MAX_WORD + 1)
        if space < 0 and len(held) - at > _MAX_WORD:
            raise source.refuse(where, f"a word of at most {_MAX_WORD} bytes", "no space")
        if space < 0 or len(held) < space + 1 + width:
            more = source.file.read(max(_CHUNK, width))
            if not more:
                break
            held, base, at = held[at:] + more, base + at, 0
            continue
        values = np.frombuffer(held, "<f4", columns, space + 1)
        rows.add(held[at:space].lstrip(b"\n"), values, where)
        at = space + 1 + width
    source.pending = held[at:]
    return f"byte {base + at} after line 1"


def read_counts(
    path: PathLike, encoding: str = "utf-8", errors: str = "strict", max_bytes: int | None = None
) -> dict[str, int]:
    """Words and how often each was seen: lines ``word count``, as word2vec's ``-save-vocab`` writes them.

    Raises:
        ValueError: naming file and line.
    """
    counts: dict[str, int] = {}
    encoding = _encoding_of_words(encoding, errors)
    with _reading(path, max_bytes) as source:
        number = 1
        while line := source.line(number, _MAX_WORD):
            parts = line.split()
            if len(parts) != 2 or not parts[1].isdigit() or len(parts[1]) > 18:
                raise source.refuse(f"line {number}", "a word and its count", repr(line[:40]))
            try:
                counts.setdefault(parts[0].decode(encoding, errors), int(parts[1]))
            except UnicodeDecodeError as error:
                raise source.refuse(f"line {number}", f"a word in {encoding}", error.reason) from None
            number += 1
    return counts


# ---------------------------------------------------------------- writing


def write_word2vec(
    path: PathLike, vectors: Floats, words: Sequence[str], binary: bool = False, header: bool = True
) -> None:
    """Write vectors (V, D) in word2vec's text or binary format; GloVe's without ``header``.

    A ``path`` that ends in ``.gz`` or ``.bz2`` is packed. Text has nine significant digits, which give every float32
    back.

    Raises:
        ValueError: a word that the format cannot hold (with a space or a line end, no valid Unicode).
        OSError: the disk is full or the folder cannot be written; the old file is then untouched.
    """
    if binary and not header:
        raise ValueError("write_header: expected True for a binary file, got False")
    for word in words:
        if " " in word or "\n" in word:
            raise ValueError(f"words: expected words without spaces and line ends, got {word!r}; save() keeps them")
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"words: expected valid Unicode, got {word!r} ({error.reason})") from None
    atomic_write(path, _packed(path, _rows_of(vectors, words, binary, header)))


def write_counts(path: PathLike, words: Sequence[str], counts: Sequence[int]) -> None:
    """Write lines ``word count``; see :func:`read_counts`.

    Raises:
        ValueError: a word that such lines cannot hold (empty, with white space, no valid Unicode).
    """
    check_count_words(words)
    atomic_write(path, _packed(path, (f"{word} {count}\n".encode() for word, count in zip(words, counts))))


def check_count_words(words: Sequence[str]) -> None:
    """Raise ValueError for a word that :func:`write_counts` cannot write."""
    for word in words:
        if word.encode("utf-8", "replace").split() != [word.encode("utf-8", "surrogatepass")]:
            raise ValueError(f"fvocab: expected words without white space, got {word!r}; save() keeps them")


def _rows_of(vectors: Floats, words: Sequence[str], binary: bool, header: bool) -> Iterator[bytes]:
    if header:
        yield f"{len(words)} {vectors.shape[1]}\n".encode()
    pattern = " %.9g" * vectors.shape[1] + "\n"
    for word, row in zip(words, vectors):
        if binary:
            yield word.encode() + b" " + row.astype("<f4").tobytes() + b"\n"
        else:
            yield (word + pattern % tuple(row.tolist())).encode()


def _packed(path: PathLike, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, packed as the end of the file's name says."""
    name = path_of(path)
    packer: Any = None
    if name.endswith(".gz"):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's frame
    elif name.endswith(".bz2"):
        import bz2  # Python can be built without it

        packer = bz2.BZ2Compressor()
    if packer is None:
        yield from pieces
    else:
        yield from filter(None, map(packer.compress, pieces))
        yield packer.flush()
