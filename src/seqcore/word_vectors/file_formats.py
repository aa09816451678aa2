"""Files of word vectors in the formats of word2vec (text and binary) and GloVe (text), plain or packed.

V: words, D: dimensions of a vector. Readers take nothing on trust: memory grows with the rows that are really there, a
line or a word that does not end is given up, and every error is one ValueError that names the file and the line or
byte.
"""

from __future__ import annotations

import codecs
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Any

import numpy as np

from .._files import atomic_write
from .._foreign_files import describe_foreign_file
from .._validation import integer, short_repr
from ..saving.format import describe_format
from ..saving.safetensors import read_header
from ..text.files import encoding_name, open_plain, path_of
from ..typing import Array, Floats, PathLike

_MAX_COLUMNS = 100_000
_MAX_WORD = 1 << 16
_NUMBER_BYTES = 32  # no way of writing a float needs more
_CHUNK = 1 << 20


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


class _Reader:
    """A file of words that is read once, from start to end, and the rows that were in it, each word once.

    Memory grows with the rows that are there, never by the promise of a header.

    Args:
        place: the file.
        file: its bytes.
        encoding, errors: of the words, as in ``bytes.decode``.
    """

    def __init__(self, place: str, file: IO[bytes], encoding: str, errors: str) -> None:
        self.place, self.file, self.encoding, self.errors = place, file, encoding, errors
        self.size: int | None = None
        """Length in bytes; None where the file is unpacked."""
        with suppress(OSError):  # an unpacked stream has no descriptor
            self.size = os.fstat(file.fileno()).st_size
        self.numbers = bytearray()
        """The vectors of the rows, float32."""
        self.words: dict[str, None] = {}
        self.duplicates = 0

    def __len__(self) -> int:
        """Rows so far."""
        return len(self.words) + self.duplicates

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

    def word(self, raw: bytes, where: str) -> str:
        try:
            return raw.decode(self.encoding, self.errors)
        except UnicodeError as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            raise self.refuse(where, f"a word in {self.encoding}", f"{raw[:40]!r} ({reason})") from None

    def add(self, raw: bytes, values: Array, where: str) -> None:
        """Take one row."""
        word, row = self.word(raw, where), values.astype(np.float32)
        if not np.isfinite(row).all():
            raise self.refuse(where, f"finite float32 numbers for {word!r}", "NaN or infinity")
        if word in self.words:
            self.duplicates += 1
        else:
            self.words[word] = None
            self.numbers += row.data

    def read_header(self, binary: bool) -> tuple[int, int]:
        """The numbers of rows and columns in the first line."""
        first = self.line(1, 256)
        parts = first.split()
        if len(parts) != 2 or not all(part.isdigit() and len(part) < 19 for part in parts):
            glove = len(parts) > 2 and all(map(_is_number, parts[-2:]))
            hint = "; files without that line are read by no_header=True or load_glove" if glove else ""
            raise self.refuse("line 1", "number of rows and of columns", repr(first[:60]) + hint)
        rows, columns = map(int, parts)
        if not 1 <= columns <= _MAX_COLUMNS or rows < 1:
            raise self.refuse("line 1", f"at least 1 row and 1...{_MAX_COLUMNS} columns", f"{rows} and {columns}")
        least = rows * (columns * (4 if binary else 2) + 1)
        if self.size is not None and self.size + 2 < least:
            expected = f"a file of at least {least} bytes for {rows} rows of {columns}"
            raise self.refuse("line 1", expected, f"{self.size}")
        return rows, columns

    def read_text(self, wanted: float, columns: int) -> str:
        """Read up to ``wanted`` rows, and name the line after them; ``columns`` 0: as many as the first line has."""
        number = 2 if columns else 1
        while len(self) < wanted:
            where = f"line {number}"
            line = self.line(number, _MAX_WORD + _NUMBER_BYTES * (columns or _MAX_COLUMNS)).rstrip()
            if not line:
                break  # the end, or empty lines up to it: both are checked by the caller
            if not columns:
                columns = line.count(b" ")
                if not 1 <= columns <= _MAX_COLUMNS:
                    raise self.refuse(where, f"a word and 1...{_MAX_COLUMNS} numbers", f"{columns} numbers")
            word, values = self._split_row(line, columns, where)
            self.add(word, values, where)
            number += 1
        return f"line {number}"

    def _split_row(self, line: bytes, columns: int, where: str) -> tuple[bytes, Array]:
        word, *numbers = line.rsplit(b" ", columns)
        expected = f"a word and {columns} numbers"
        if len(numbers) != columns:
            hint = "; binary=True reads binary files" if b"\0" in line else ""
            raise self.refuse(where, expected, f"{len(numbers)} numbers{hint}")
        if word != word.strip(b" ") or b"  " in word or b"" in numbers:
            raise self.refuse(where, f"{expected} with single spaces between them", "two spaces or more")
        # Some words of GloVe hold spaces, such as ". . ."; a number before the numbers means a row that is too long.
        if b" " in word and _is_number(word.rsplit(b" ", 1)[1]):
            raise self.refuse(where, expected, f"{line.count(b' ')} numbers")
        values = None
        with suppress(ValueError):
            values = np.fromiter(map(float, numbers), np.float64, columns)
        if values is None or line.find(b"_", len(word)) >= 0:
            bad = next(part for part in numbers if not _is_number(part))
            raise self.refuse(where, expected, repr(bad[:40]))
        return word, values

    def read_binary(self, wanted: float, columns: int) -> str:
        """Read up to ``wanted`` rows, and name the byte after them."""
        width, at = 4 * columns, 0
        while len(self) < wanted:
            where = f"byte {at} after line 1"
            raw = b"".join(islice(iter(lambda: self.file.read(1), b" "), _MAX_WORD + 1))
            if len(raw) > _MAX_WORD:
                raise self.refuse(where, f"a word of at most {_MAX_WORD} bytes", "no space")
            numbers = self.file.read(width)
            if len(numbers) < width:
                break
            self.add(raw.lstrip(b"\n"), np.frombuffer(numbers, "<f4"), where)
            at += len(raw) + 1 + width
        return f"byte {at} after line 1"


@contextmanager
def _reading(path: PathLike, encoding: Any, errors: Any, max_bytes: int | None) -> Iterator[_Reader]:
    encoding = _encoding_of_words(encoding, errors)
    with open_plain(path, max_bytes) as file:
        reader = _Reader(path_of(path), file, encoding, errors)
        try:
            yield reader
        except ValueError as error:
            described = None if reader.size is None else describe_file(reader.place, text=True)
            if described is None:
                raise
            raise ValueError(f"{reader.place}: expected a file of word vectors, got {described}") from error


def read_word2vec(
    path: PathLike,
    binary: bool = False,
    limit: int | None = None,
    encoding: str = "utf-8",
    errors: str = "strict",
    header: bool = True,
    max_bytes: int | None = None,
) -> tuple[Floats, list[str], int]:
    """Read the formats of word2vec and GloVe, plain or packed by gzip or bzip2 (by the first bytes).

    Args:
        path: the file. Text: a line ``V D``, then V lines of a word and D numbers, separated by single spaces. Binary:
            the same first line, then for each word the word, a space, D float32 numbers (little-endian) and perhaps a
            line end. The empty word is a word, as in gensim, which writes it for texts with double spaces.
        binary: which of the two.
        limit: reads the first ``limit`` rows only; the rest is not checked.
        encoding, errors: of the words, as in ``bytes.decode``.
        header: False: text without the first line, as GloVe's; words may then hold spaces.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Returns:
        Vectors (V, D), V words, and how many rows were left out because their word had come before.

    Raises:
        ValueError: naming file and line or byte: a damaged or truncated file, rows of another length, more or fewer
            rows than promised, numbers that are not finite, words in another encoding, no rows.
        OSError: it cannot be read.
    """
    most = math.inf if limit is None else integer("limit", limit, 1)
    if binary and not header:
        raise ValueError("no_header: expected False for a binary file, got True")
    with _reading(path, encoding, errors, max_bytes) as reader, np.errstate(over="ignore"):
        promised, columns = reader.read_header(binary) if header else (math.inf, 0)
        wanted = min(promised, most)
        end = reader.read_binary(wanted, columns) if binary else reader.read_text(wanted, columns)
        count = len(reader)
        if header and count < wanted:
            raise reader.refuse(end, f"{promised} rows as the first line says", f"the end after {count}")
        if count < most and any(piece.strip() for piece in iter(lambda: reader.file.read(_CHUNK), b"")):
            hint = f" than the first line says; limit={count} reads only these" if header else ""
            raise reader.refuse(end, f"the end of the file after {count} rows", f"more{hint}")
    if not reader.words:
        raise ValueError(f"{reader.place}: expected at least one row, got none")
    vectors = np.frombuffer(reader.numbers, np.float32).reshape(len(reader.words), -1)
    return vectors, list(reader.words), reader.duplicates


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


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text  # float() takes 1_000


def read_counts(
    path: PathLike, encoding: str = "utf-8", errors: str = "strict", max_bytes: int | None = None
) -> dict[str, int]:
    """Words and how often each was seen: lines ``word count``, as word2vec's ``-save-vocab`` writes them.

    Raises:
        ValueError: naming file and line.
    """
    counts: dict[str, int] = {}
    with _reading(path, encoding, errors, max_bytes) as reader:
        number = 1
        while line := reader.line(number, _MAX_WORD):
            where, parts = f"line {number}", line.split()
            if len(parts) != 2 or not parts[1].isdigit() or len(parts[1]) > 18:
                raise reader.refuse(where, "a word and its count", repr(line[:40]))
            counts.setdefault(reader.word(parts[0], where), int(parts[1]))
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
    for word in words:
        if word.encode("utf-8", "replace").split() != [word.encode("utf-8", "surrogatepass")]:
            raise ValueError(f"fvocab: expected words without white space, got {word!r}; save() keeps them")
    atomic_write(path, _packed(path, (f"{word} {count}\n".encode() for word, count in zip(words, counts))))


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
    if name.endswith(".gz"):
        packer: Any = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's frame
    elif name.endswith(".bz2"):
        import bz2  # Python can be built without it

        packer = bz2.BZ2Compressor()
    else:
        yield from pieces
        return
    yield from filter(None, map(packer.compress, pieces))
    yield packer.flush()
