"""Files of other programs: recognized by their content, and named with how to import them."""

from __future__ import annotations

import os
import re
import stat
from typing import IO

from ._files import Path
from ._validation import as_path

# Ends of the names of files that other programs read by these.
_FOREIGN_SUFFIXES = {
    ".keras": "Keras", ".h5": "Keras", ".hdf5": "Keras", ".pt": "PyTorch", ".pth": "PyTorch", ".onnx": "ONNX",
    ".npy": "NumPy", ".npz": "NumPy", ".pkl": "pickle", ".pickle": "pickle", ".joblib": "joblib", ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite", ".gguf": "GGUF",
}  # fmt: skip

_KERAS = "load it with Keras and pass keras_model.get_weights() to set_weights of a seqcore model with the same layers"
_KERAS_FILE = "read it with seqcore.interop.keras.load_keras"
_TORCH = "pass its path, ending in .pt or .pth, to seqcore.interop.torch.from_torch"
# The lines of gensim that turn its files into those of word2vec, with the class of the pickled object and the path.
_GENSIM_MODEL = (
    "make a file of its vectors by `from gensim.models import {0}`, `{0}.load({path!r}).wv.save_word2vec_format("
    "'vectors.bin', 'counts.txt', binary=True)` and read it by KeyedVectors.load_word2vec_format('vectors.bin', "
    "'counts.txt', binary=True)"
)
_GENSIM_VECTORS = (
    "make a file of them by `from gensim.models import KeyedVectors`, `KeyedVectors.load({path!r})"
    ".save_word2vec_format('vectors.bin', binary=True)` and read it by "
    "KeyedVectors.load_word2vec_format('vectors.bin', binary=True)"
)
_GENSIM = "only gensim can load it"
_PICKLE = "seqcore opens no pickle, since a pickle can run code; save its arrays with the program that wrote it"
_UNPACK = "unpack it first"

# The first instructions of a pickle: of protocols 2 to 5, or of the old ones, which are text.
_PICKLED = (
    rb"(?=\x80[\x02-\x05]|\((?:dp\d+\n|lp\d+\n|d?q\x00)"
    rb"|c(?:copy_reg|copyreg|__builtin__|builtins|collections|numpy[\w.]*|gensim[\w.]*|torch[\w.]*)\n)"
)
# Pattern of the first bytes, the format, advice (with the groups of the pattern); the first row that matches counts.
_FORMATS = (
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras's .h5 and .weights.h5", _KERAS_FILE),
    (rb"\x93NUMPY", "a NumPy array (.npy)", "read it with numpy.load and pass the array"),
    (rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", "a PyTorch file (torch.save)", _TORCH),
    (rb"GGUF", "a GGUF file", "seqcore cannot read it"),
    (
        rb"\xba\x16\x4f\x2f",
        "a fastText model (.bin)",
        "use the .vec file, or load it with gensim and write its vectors",
    ),
    (rb"\x1f\x8b", "a gzip file", _UNPACK),
    (rb"BZh", "a bzip2 file", _UNPACK),
    (rb"\xfd7zXZ\x00", "an xz file", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer in place of the file",
        "fetch the file itself with git lfs pull",
    ),
    (
        rb"(?i:\s*(?:<!doctype html|<html[\s>]|<\?xml[^>]*>\s*<!doctype html))",
        "a web page (HTML)",
        "the download may have failed; fetch the file again",
    ),
    (
        _PICKLED + rb".{,60}?gensim\.models\.\w+\W{1,4}(Word2Vec|Doc2Vec|FastText)\b",
        "a gensim model (pickle)",
        _GENSIM_MODEL,
    ),
    (
        _PICKLED + rb".{,60}?gensim\.models\.\w+\W{1,4}\w*KeyedVectors",
        "gensim's word vectors (pickle)",
        _GENSIM_VECTORS,
    ),
    (_PICKLED + rb".*gensim\.", "a gensim file (pickle)", _GENSIM),
    (_PICKLED + rb".{,507}torch", "a PyTorch file (pickle)", _TORCH),
    (_PICKLED, "a pickle file", _PICKLE),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb".{4}TFL3", "a TensorFlow Lite model", "use the Keras model that it was made from"),
    # A protocol buffer: a small version (field 1), then the short name of its producer or a later field of ModelProto.
    # A SavedModel has a long field there.
    (
        rb"\x08[\x01-\x20](?:\x12[\x01-\x7f][ -~]|[\x1a\x22\x28\x32\x3a])",
        "an ONNX model (.onnx)",
        "read it with seqcore.interop.onnx.import_onnx",
    ),
)


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
        For instance ``"a Keras model (.keras); read it with ..."``; None for safetensors, plain text
        and what is not known. Packed files (gzip, bzip2, ...) are named too: readers that unpack them do so first.
        Nothing in the file is run or unpacked.

    Raises:
        OSError: it cannot be read.

    >>> import tempfile, os
    >>> from seqcore.saving import atomic_write
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
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            return _describe_archive(file)
        for pattern, format, advice in _FORMATS:
            if matched := re.match(pattern, start, re.DOTALL):
                return f"{format}; {advice.format(*map(bytes.decode, matched.groups()), path=os.fspath(path))}"
        if status.st_size >= 48:
            file.seek(-8, os.SEEK_END)
            if file.read(8) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
                return f"a TensorFlow checkpoint; {_KERAS}"
    return None


def _describe_archive(file: IO[bytes]) -> str:
    """A zip archive, by the names in it."""
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except Exception:
        # The reader of the standard library promises no type of error for damaged archives.
        return "a damaged zip archive; fetch or write it again"
    if "config.json" in names:
        return f"a Keras model (.keras); {_KERAS_FILE}"
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return f"a PyTorch file (torch.save), such as .pt and pytorch_model.bin; {_TORCH}"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz); read it with numpy.load and pass its arrays to set_weights"
    return f"a zip archive; {_UNPACK}"
