"""Files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable

Path = str | os.PathLike[str]


def atomic_write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes ``pieces`` one after the other to ``path``; whatever happens leaves the old file or the whole new one.

    Args:
        path: the file; a symbolic link is followed.
        pieces: its content.

    Raises:
        OSError: naming ``path``, where the disk is full or the folder cannot be written.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "note.txt")
    >>> atomic_write(path, [b"one ", b"two"])
    >>> open(path).read()
    'one two'
    """
    target = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise OSError(
                error.errno or 0, f"cannot save, the old file is untouched: {reason}", os.fspath(path)
            ) from error
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Makes the rename itself durable; file systems that cannot sync a folder are left alone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
