"""Text files, plain or gzip: lines, words, words of files of any length."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PathLike = str | os.PathLike[str]


@contextmanager
def open_plain(path: PathLike) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its first two are gzip's.

    Raises:
        ValueError: a damaged gzip file, when it is read.
        OSError: it cannot be read.
    """
    import gzip
    import zlib

    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as file:
                yield file  # type: ignore[misc]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got a damaged one ({error})") from None


def read_lines(path: PathLike) -> list[str]:
    """Lines of a UTF-8 text file, plain or gzip (by its first bytes), cut at the newline character only.

    Raises:
        ValueError: the file is no UTF-8 text, or a damaged gzip file.
        OSError: it cannot be read.
    """
    import gzip
    import zlib

    raw = Path(path).read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        text = raw.decode("utf-8")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"path: expected UTF-8 text, plain or gzip, got {str(path)!r} ({error})") from None
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_words(path: PathLike, end_of_line: str | None = None) -> list[str]:
    """Words of a text file separated by white space, with ``end_of_line`` (such as ``"<eos>"``) after each line.

    Raises:
        ValueError: the file is no UTF-8 text.
        OSError: it cannot be read.
    """
    words: list[str] = []
    for line in read_lines(path):
        words += line.split()
        if end_of_line is not None:
            words.append(end_of_line)
    return words


def iterate_words(path: PathLike, size: int = 1 << 20) -> Iterator[list[str]]:
    """Words of a text file of any length, plain or gzip, as lists of the words of ``size`` bytes each.

    Raises:
        ValueError: the file is no UTF-8 text, or a damaged gzip file.
        OSError: it cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    with open_plain(path) as file:
        while True:
            piece = file.read(size)
            try:
                text = rest + decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise ValueError(f"path: expected UTF-8 text, plain or gzip, got {str(path)!r} ({error})") from None
            words = text.split()
            # A word goes on in the next piece unless white space ends this one.
            rest = words.pop() if piece and words and not text[-1].isspace() else ""
            if words:
                yield words
            if not piece:
                return
