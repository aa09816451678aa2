"""Atomic writes of files."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from ._validation import as_path

Path = str | os.PathLike[str]


def atomic_write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes ``pieces`` one after the other to ``path``; whatever happens leaves the old file or the whole new one.

    Args:
        path: the file; a symbolic link is followed. A file that is there keeps its mode and, where the system allows
            it, its owner; a new one gets what the umask leaves. A character device or a FIFO that is being read is
            written to as it is; it is not replaced.
        pieces: its content.

    Raises:
        OSError: naming ``path``, where the disk is full, the folder or the file cannot be written, or ``path`` is a
            folder, a block device, a socket or a FIFO that nobody reads.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "note.txt")
    >>> atomic_write(path, [b"one ", b"two"])
    >>> open(path).read()
    'one two'
    """
    place = as_path(path)
    with _naming(place, "cannot save, the old file is untouched"):
        old = _old_status(place)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with _naming(place, "cannot save"):
            _write_through(place, old.st_mode, pieces)
        return
    target = os.path.realpath(place)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:32]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    # What replaces a private file is private from its first byte on.
    mode = 0o666 if old is None else 0o600
    with _naming(place, "cannot save, the old file is untouched"):
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                if old is not None:
                    _take_over(file.fileno(), old)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    _sync_folder(folder)


@contextlib.contextmanager
def _naming(place: str, failure: str) -> Iterator[None]:
    """Context in which the error of a file says what failed, and names ``place`` instead of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or 0, f"{failure}: {error.strerror or error}", place) from error


def _old_status(place: str) -> os.stat_result | None:
    """The status of the existing file at ``place``, or None. Raises OSError if it cannot be written."""
    try:
        old = os.stat(place)
    except FileNotFoundError:
        if place.endswith(os.sep):
            raise IsADirectoryError(21, "expected the name of a file, got that of a folder") from None
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(21, "expected the name of a file, got a folder")
    if not os.access(place, os.W_OK):
        raise PermissionError(13, "the file is read-only")
    return old


def _take_over(file: int, old: os.stat_result) -> None:
    """Gives an open file the owner and the mode of the one that it replaces."""
    new = os.fstat(file)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(OSError):
            os.fchown(file, old.st_uid, old.st_gid)
    os.fchmod(file, stat.S_IMODE(old.st_mode))


def _write_through(place: str, mode: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes to a character device or a FIFO, which stays what it is."""
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        kind = "a block device" if stat.S_ISBLK(mode) else "a socket" if stat.S_ISSOCK(mode) else "no file"
        raise OSError(22, f"expected a file, a character device or a FIFO, got {kind}")
    try:
        # A FIFO that nobody reads would block an open without end.
        descriptor = os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if stat.S_ISFIFO(mode) and error.errno == 6:
            raise OSError(6, "expected a FIFO that is being read, got one without a reader") from None
        raise
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)


def _sync_folder(folder: str) -> None:
    """Makes the rename itself durable; file systems that cannot sync a folder are left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
