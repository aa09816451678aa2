"""The container of all files: safetensors with a format tag, a version and JSON metadata."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from .._files import Path
from .._json import parse_json
from .._validation import MALFORMED, as_path, one_line, short_repr
from ..autograd import Tensor
from ..layers.building import FileLimits, file_limits_scope
from ..typing import Array
from .safetensors import read_tensors

VERSION = 1


# The reader of each format of ours.
_READERS = {
    "seqcore-model": "load_model",
    "seqcore-weights": "load_weights of a model",
    "seqcore-checkpoint": "load_checkpoint of a model",
    "seqcore-vectors": "KeyedVectors.load",
    "seqcore-pickle": "pickle.load on the pickle that holds it",
    "word2vec": "Word2Vec.load",
}


def describe_format(texts: Mapping[str, str]) -> str:
    """A description of a safetensors file by its header, with the name of its reader, for messages."""
    name = texts.get("format") or texts.get("seqcore") or ""
    if name in _READERS:
        return f"a {name} file; use {_READERS[name]}"
    if name:
        return f"a {short_repr(name)[1:-1]} file"
    return "a safetensors file of another program; seqcore.saving.read_tensors gives its arrays"


def read_file(path: Path, *formats: str, skip: Collection[str] = ()) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the decoded header of a file in one of these formats of ours."""
    tensors, texts = read_tensors(path, skip)
    return tensors, decode_header(as_path(path), texts, *formats)


def decode_header(place: str, texts: Mapping[str, str], *formats: str) -> dict[str, Any]:
    """The header of a file in one of these formats of ours, from its texts, which are JSON but for the format."""
    if texts.get("format") not in formats:
        raise ValueError(f"{place}: expected a {formats[0]} file, got {describe_format(texts)}")
    try:
        metadata: dict[str, Any] = {key: text if key == "format" else parse_json(text) for key, text in texts.items()}
    except ValueError as error:
        raise ValueError(f"{place}: expected JSON in the header, got something else ({error})") from error
    version = metadata.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"{place}: expected format version 1...{VERSION}, got {short_repr(version)}")
    return metadata


def header_field(metadata: Mapping[str, Any], name: str) -> Any:
    """A field of the header. Raises ValueError where it is missing."""
    if name not in metadata:
        raise ValueError(f"expected {name!r} in the header, which is missing")
    return metadata[name]


def build_field(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The field with the shapes by which a model is built, checked."""
    build = header_field(metadata, "build")
    if not isinstance(build, dict) or not isinstance(build.get("layers", {}), dict):
        raise ValueError(f"build: expected a dict of shapes, got {short_repr(build)}")
    return build


def format_tags(format: str, **values: Any) -> dict[str, str]:
    """The header of a file: its format, the version, and other values as JSON."""
    return {"format": format, **{key: json.dumps(value) for key, value in {"version": VERSION, **values}.items()}}


# ---------------------------------------------------------------- nested values: JSON, with the arrays apart


def pack(value: Any, name: str, tensors: dict[str, Array]) -> Any:
    """``value`` as JSON; arrays inside it go into ``tensors`` and leave a reference."""
    if isinstance(value, (Tensor, np.ndarray)):
        tensors[name] = np.asarray(value)
        return {"__array__": name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str)]
        if strange:
            raise TypeError(f"{name}: expected string keys, which JSON keeps, got {strange[0]!r}")
        return {key: pack(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: expected numbers, texts, arrays, lists or dicts of them, got {type(value).__name__}")


def unpack(value: Any, tensors: Mapping[str, Array]) -> Any:
    """The value that :func:`pack` was given."""
    if isinstance(value, dict):
        if set(value) == {"__array__"}:
            name = value["__array__"]
            if not isinstance(name, str) or name not in tensors:
                raise ValueError(f"expected an array {short_repr(name)}, which is missing")
            return tensors[name]
        return {key: unpack(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    return value


def weights_in(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The weights among the arrays of a file, by name."""
    return {name[len("weights/") :]: array for name, array in tensors.items() if name.startswith("weights/")}


def file_limits(tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> FileLimits:
    """The limits of a model whose file has these arrays and this header."""
    # A weight may be made twice, and what a class makes by itself is little; a layer's description takes a line.
    weight_bytes = 2 * sum(array.nbytes for array in weights_in(tensors).values()) + (1 << 20)
    return FileLimits(weight_bytes, 1000 + 4 * len(tensors) + len(str(metadata)) // 16)


@contextmanager
def within_file_limits(place: str, limits: FileLimits, content: str) -> Iterator[None]:
    """Context in which a model is made or built for a file, within its limits.

    A failure is one line that names the file, and leaves the random numbers as they were.

    Args:
        place: the file.
        limits: those of the file.
        content: description of the content for messages.
    """
    before = random.get_state()
    try:
        with file_limits_scope(limits):
            yield
    except BaseException as error:
        random.set_state(before)
        if isinstance(error, MALFORMED) and not str(error).startswith(place):
            raise ValueError(f"{place}: expected {content}, got one that fails: {one_line(error)}") from error
        raise
