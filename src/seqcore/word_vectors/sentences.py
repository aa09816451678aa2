"""Sentences of text files for Word2Vec, read anew for each pass: by lines, of a folder, or of one long line.

The classes go by gensim's names. A ``corpus_file`` of :class:`seqcore.Word2Vec`, read by the C++ core, is faster.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

from .._validation import integer, short_repr
from ..text.files import iterate_lines, iterate_words, path_of
from ..typing import PathLike
from .corpus import LONGEST


class LineSentence:
    """The lines of a text, each a sentence of words between white space.

    Args:
        source: path of a UTF-8 text, plain or packed by gzip or bzip2 (by the first bytes), or an open file, text or
            binary, that has ``seek``.
        max_sentence_length: words of a sentence; longer lines make several.
        limit: reads the first ``limit`` lines only.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError, TypeError: a number out of range; when the text is read: a line in another encoding, a damaged file.
        OSError: it cannot be read.

    >>> import io
    >>> list(LineSentence(io.StringIO("the cat saw the dog\\n\\nthe end\\n"), max_sentence_length=3))
    [['the', 'cat', 'saw'], ['the', 'dog'], ['the', 'end']]
    """

    def __init__(
        self,
        source: PathLike | IO[Any],
        max_sentence_length: int = LONGEST,
        limit: int | None = None,
        *,
        max_bytes: int | None = None,
    ) -> None:
        self.source: Any = source if hasattr(source, "seek") else path_of(source, "source")
        self.max_sentence_length = integer("max_sentence_length", max_sentence_length, 1)
        self.limit = None if limit is None else integer("limit", limit, 0)
        self.max_bytes = None if max_bytes is None else integer("max_bytes", max_bytes, 1)

    def __iter__(self) -> Iterator[list[str]]:
        if isinstance(self.source, str):
            lines = iterate_lines(self.source, max_bytes=self.max_bytes)
        else:
            self.source.seek(0)
            lines = _decoded(self.source)
        for line in islice(lines, self.limit):
            words = iter(line.split())
            while piece := list(islice(words, self.max_sentence_length)):
                yield piece


def _decoded(file: Iterable[str | bytes]) -> Iterator[str]:
    """The lines of an open file, as texts."""
    for number, line in enumerate(file, 1):
        try:
            yield line if isinstance(line, str) else line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"source, line {number}: expected UTF-8 text, got other bytes ({error.reason})") from None


class PathLineSentences(LineSentence):
    """:class:`LineSentence` of all files in a folder, in the order of their names; subfolders are not read.

    Args:
        source: path of the folder, or of a single file.
        max_sentence_length, limit, max_bytes: as for :class:`LineSentence`, of each file.

    Attributes:
        input_files: paths of the files.

    Raises:
        ValueError, TypeError: no file or folder, or a number out of range.
    """

    def __init__(
        self,
        source: PathLike,
        max_sentence_length: int = LONGEST,
        limit: int | None = None,
        *,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(path_of(source, "source"), max_sentence_length, limit, max_bytes=max_bytes)
        if os.path.isdir(self.source):
            self.input_files = sorted(entry.path for entry in os.scandir(self.source) if entry.is_file())
        elif os.path.exists(self.source):
            self.input_files = [self.source]
        else:
            raise ValueError(f"source: expected a file or a folder, got {short_repr(self.source)}")

    def __iter__(self) -> Iterator[list[str]]:
        for path in self.input_files:
            yield from LineSentence(path, self.max_sentence_length, self.limit, max_bytes=self.max_bytes)


class Text8Corpus:
    """The words of a text without sentences, such as text8, cut into pieces of ``max_sentence_length``.

    Args:
        fname: path of a UTF-8 text, plain or packed by gzip or bzip2 (by the first bytes).
        max_sentence_length: words of a piece; the last one has the rest.
        max_bytes: as for :class:`LineSentence`.
    """

    def __init__(self, fname: PathLike, max_sentence_length: int = LONGEST, *, max_bytes: int | None = None) -> None:
        self.fname = path_of(fname, "fname")
        self.max_sentence_length = integer("max_sentence_length", max_sentence_length, 1)
        self.max_bytes = None if max_bytes is None else integer("max_bytes", max_bytes, 1)

    def __iter__(self) -> Iterator[list[str]]:
        words = (word for piece in iterate_words(self.fname, max_bytes=self.max_bytes) for word in piece)
        while piece := list(islice(words, self.max_sentence_length)):
            yield piece
