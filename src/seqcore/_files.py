"""Files: atomic writes; JSON of unknown origin; foreign formats recognized by their content."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable
from typing import IO, Any

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
    try:
        old = _old_status(place)
    except OSError as error:
        raise _cannot_save(error, place) from error
    if old is not None and not stat.S_ISREG(old.st_mode):
        _write_through(place, old.st_mode, pieces)
        return
    target = os.path.realpath(place)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:32]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    # What replaces a private file is private from its first byte on.
    mode = 0o666 if old is None else 0o600
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            if old is not None:
                _take_over(file.fileno(), old)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _cannot_save(error, place) from error
        raise
    _sync_folder(folder)


def _cannot_save(error: OSError, place: str) -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno or 0, f"cannot save, the old file is untouched: {reason}", place)


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
    try:
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
    except OSError as error:
        raise OSError(error.errno or 0, f"cannot save: {error.strerror or error}", place) from error


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


# ---------------------------------------------------------------- JSON


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that may come from anywhere.

    Raises:
        ValueError: in one line, for what is no JSON, a key that occurs twice in an object, and values too deep or too
            long for Python.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: expected JSON with different keys, got 'a' twice
    """

    def different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            seen: set[str] = set()
            key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ValueError(f"expected JSON with different keys, got {key[:40]!r} twice")
        return values

    try:
        return json.loads(text, object_pairs_hook=different)
    except RecursionError:
        raise ValueError("expected JSON of moderate depth, got values nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got something else ({error})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"expected JSON in UTF-8, got bytes that are not ({error.reason})") from None


# ---------------------------------------------------------------- foreign formats

_KERAS = "load it with Keras and pass keras_model.get_weights() to set_weights of a seqcore model with the same layers"
_TORCH = "load it with PyTorch and pass module.state_dict() to seqcore.saving.from_torch"
_GENSIM = (
    "load it with gensim, write its vectors by save_word2vec_format and read these with "
    "KeyedVectors.load_word2vec_format"
)
_PICKLE = "seqcore opens no pickle, since a pickle can run code; save its arrays with the program that wrote it"

# First bytes, the format, advice.
_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras's .h5 and .weights.h5", _KERAS),
    (b"\x93NUMPY", "a NumPy array (.npy)", "read it with numpy.load and pass the array"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", "a PyTorch file (torch.save)", _TORCH),
    (b"GGUF", "a GGUF file", "seqcore cannot read it"),
    (b"\xba\x16\x4f\x2f", "a fastText model (.bin)", "use the .vec file, or load it with gensim and write its vectors"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer in place of the file",
        "fetch the file itself with git lfs pull",
    ),
)
_OLD_PICKLE = re.compile(
    rb"\((dp\d+\n|lp\d+\n|d?q\x00)|c(copy_reg|copyreg|__builtin__|builtins|collections|numpy[\w.]*|gensim[\w.]*|torch[\w.]*)\n"
)
_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html[\s>]|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)


# Ends of the names of files that other programs read by these.
_FOREIGN_SUFFIXES = {
    ".keras": "Keras", ".h5": "Keras", ".hdf5": "Keras", ".pt": "PyTorch", ".pth": "PyTorch", ".onnx": "ONNX",
    ".npy": "NumPy", ".npz": "NumPy", ".pkl": "pickle", ".pickle": "pickle", ".joblib": "joblib", ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite", ".gguf": "GGUF",
}  # fmt: skip


def refuse_foreign_suffix(path: Path, name: str = "path") -> None:
    """Refuses to write safetensors under a name that promises the format of another program.

    Args:
        path: the file to be written.
        name: of the argument.

    Raises:
        ValueError: such a name.

    >>> refuse_foreign_suffix("model.keras")
    Traceback (most recent call last):
    ValueError: path: expected a name such as 'model.safetensors', the format that is written, got 'model.keras' (Keras)
    """
    place = as_path(path)
    stem, suffix = os.path.splitext(place)
    if suffix.lower() in _FOREIGN_SUFFIXES:
        better = f"{os.path.basename(stem).removesuffix('.weights')}.safetensors"
        raise ValueError(
            f"{name}: expected a name such as {better!r}, the format that is written, "
            f"got {place!r} ({_FOREIGN_SUFFIXES[suffix.lower()]})"
        )


def describe_foreign_file(path: Path) -> str | None:
    """Describe a file in a foreign format, with how to import it, in one line for an error message.

    Args:
        path: the file; it is recognized by its content, not by its name.

    Returns:
        For instance ``"a Keras model (.keras); load it with Keras and pass ..."``; None for safetensors, plain text
        and what is not known. Packed files (gzip, bzip2, ...) are named too: readers that unpack them do so first.
        Nothing in the file is run or unpacked.

    Raises:
        OSError: it cannot be read.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "model.h5")
    >>> atomic_write(path, [bytes([137]), b"HDF", bytes([13, 10, 26, 10])])
    >>> print(str(describe_foreign_file(path))[:47])
    an HDF5 file, such as Keras's .h5 and .weights.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        if os.path.exists(os.path.join(path, "saved_model.pb")):
            return f"a TensorFlow SavedModel, which is a folder; {_KERAS}"
        return "a folder; pass a file"
    if not stat.S_ISREG(status.st_mode):
        return None
    with open(path, "rb") as file:
        start = file.read(4096)
        if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < status.st_size:
            return None
        described = _match_signature(start) or _match_pickle(start)
        if described is None and start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            described = _match_archive(file)
        if described is None and start[257:262] == b"ustar":
            described = "a tar archive", "unpack it first"
        if described is None and start[4:8] == b"TFL3":
            described = "a TensorFlow Lite model", "use the Keras model that it was made from"
        if described is None and _is_onnx(file, status.st_size):
            described = "an ONNX model (.onnx)", "use the weights of the model that it was exported from"
        if described is None and status.st_size >= 48:
            file.seek(-8, os.SEEK_END)
            if file.read(8) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
                described = "a TensorFlow checkpoint", _KERAS
    return None if described is None else "; ".join(described)


def _match_signature(start: bytes) -> tuple[str, str] | None:
    for signature, format, advice in _SIGNATURES:
        if start.startswith(signature):
            return format, advice
    if _WEB_PAGE.match(start):
        return "a web page (HTML)", "the download may have failed; fetch the file again"
    return None


def _match_pickle(start: bytes) -> tuple[str, str] | None:
    """A pickle, by its first instructions."""
    if not (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        if not _OLD_PICKLE.match(start):
            return None
    if b"gensim." in start:
        return "a gensim file (pickle), such as .model and .kv", _GENSIM
    if b"torch" in start[:512]:
        return "a PyTorch file (pickle)", _TORCH
    return "a pickle file", _PICKLE


def _match_archive(file: IO[bytes]) -> tuple[str, str]:
    """A zip archive, by the names in it."""
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except Exception:
        # The reader of the standard library promises no type of error for damaged archives.
        return "a damaged zip archive", "fetch or write it again"
    if "config.json" in names:
        return "a Keras model (.keras)", _KERAS
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "a PyTorch file (torch.save), such as .pt and pytorch_model.bin", _TORCH
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)", "read it with numpy.load and pass its arrays to set_weights"
    return "a zip archive", "unpack it first"


def _is_onnx(file: IO[bytes], size: int) -> bool:
    """True for a protocol buffer with the fields of ONNX's ModelProto; only their heads are read."""

    def number() -> int:
        value = shift = 0
        while shift < 70:
            byte = file.read(1)
            if not byte:
                return -1
            value |= (byte[0] & 127) << shift
            if byte[0] < 128:
                return value
            shift += 7
        return -1

    # Field numbers of numbers (ir_version, model_version) and of what has a length (7 is the graph).
    file.seek(0)
    graph = False
    for _ in range(1000):
        if file.tell() == size:
            return graph
        tag = number()
        if tag in (1 << 3, 5 << 3):
            if number() < 0:
                return False
        elif tag >> 3 in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26) and tag & 7 == 2:
            length = number()
            if length < 0 or file.tell() + length > size:
                return False
            graph = graph or tag >> 3 == 7
            file.seek(length, os.SEEK_CUR)
        else:
            return False
    return False
