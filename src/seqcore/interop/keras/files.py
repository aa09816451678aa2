"""Keras's files: ``.keras``, ``.weights.h5`` and ``.h5``, in and out of a model, without Keras."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from typing import Any, BinaryIO

from ..._files import Path, atomic_write
from ..._foreign_files import describe_foreign_file
from ..._json import parse_json
from ..._validation import MALFORMED, as_path, boolean, one_line, short_repr
from ...layers.building import FileLimits
from ...models.model import Model
from ...models.sequential import Sequential
from ...saving.format import within_file_limits
from ...training.interrupts import defer_sigint
from .compiling import compile_from_keras, compile_to_keras, optimizer_arrays, read_optimizer
from .config import ModelReader, model_to_keras
from .hdf5 import Hdf5File, allowance, h5py_module
from .weights import read_groups, read_layers, weight_groups, write_groups, write_layers

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The Keras whose format is written.
_VERSION = "3.15.0"
# A Sequential takes time that grows with the square of their number.
_MOST_LAYERS = 5000
# Errors of the readers of zip and HDF5 for damaged files.
_DAMAGED = (*MALFORMED, OSError, RuntimeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


def load_keras(path: Path, model: Model | None = None, *, compile: bool = True) -> Model:
    """Read a model, or the weights for a given one, that Keras or :func:`save_keras` wrote.

    Args:
        path: a ``.keras`` or ``.h5`` file with a Sequential or a functional model that is a chain of layers; or, with
            ``model``, also a file of weights. The content decides, not the name.
        model: a built model with the same layers; it gets the weights of the file, and keeps everything else.
        compile: compile a new model with the optimizer (and its state), the loss and the metrics of the file. Without
            them, and where seqcore lacks one of them, which is a warning, the model is not compiled.

    Returns:
        The new model, built, or the given one.

    Raises:
        ImportError: without ``h5py``.
        OSError: the file cannot be read.
        ValueError: naming the file, and what is wrong or what seqcore cannot express: a layer, an argument, a custom
            object, code. A given model is then unchanged. Nothing in a file is ever run.

    >>> import os, tempfile
    >>> import seqcore as sc
    >>> model = sc.Sequential([sc.layers.Input((None, 3)), sc.layers.GRU(4), sc.layers.Dense(2)])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.keras")
    >>> save_keras(model, path)
    >>> [layer.name for layer in load_keras(path).layers] == [layer.name for layer in model.layers]
    True
    """
    place, compile = as_path(path), boolean("compile", compile)
    h5py_module()
    if model is not None:
        if not isinstance(model, Model):
            raise TypeError(f"model: expected a Model of seqcore, got {short_repr(model)}")
        if not model.built:
            raise ValueError(f"model: expected {model.name!r} to be built before it gets weights; call it or build it")
    with open(place, "rb") as file:
        start = file.read(8)
        packed = start[:4] == b"PK\x03\x04"
        if not packed and start != b"\x89HDF\r\n\x1a\n":
            got = describe_foreign_file(place) or "another"
            raise ValueError(f"{place}: expected a file of Keras, got {got}")
        try:
            if packed:
                return _load_archive(place, _archive_parts(file), model, compile)
            with Hdf5File(place, os.path.getsize(place)) as content:
                return _load_hdf5(place, content, model, compile)
        except _DAMAGED as error:
            message = one_line(error)
            raise ValueError(message if message.startswith(place) else f"{place}: {message}") from None


def save_keras(model: Model, path: Path, *, include_optimizer: bool = True) -> None:
    """Write a model, or its weights, as Keras reads them.

    Args:
        model: a built Sequential; for ``.weights.h5`` also a subclass of ``Model``, whose layers then must stand under
            the same attributes, set in the same order, in Keras.
        path: the file; its end says what is written: ``.keras``, the older ``.h5``, or ``.weights.h5`` for
            ``load_weights`` of a Keras model.
        include_optimizer: write how the model was compiled, and into ``.keras`` the state of the optimizer. What Keras
            does not have is left out, with a warning.

    Raises:
        ImportError: without ``h5py``.
        ValueError: for another name, and naming the layer that Keras does not have or that gives other numbers there.
        OSError: the file cannot be written; an old one is then untouched.

    >>> import os, tempfile
    >>> import seqcore as sc
    >>> model = sc.Sequential([sc.layers.Input((3,)), sc.layers.Dense(2)])
    >>> save_keras(model, os.path.join(tempfile.mkdtemp(), "dense.weights.h5"))
    """
    place, include_optimizer = as_path(path), boolean("include_optimizer", include_optimizer)
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a Model of seqcore, got {short_repr(model)}")
    suffix = next((suffix for suffix in (".keras", ".weights.h5", ".h5") if place.endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"path: expected a name that ends with .keras, .weights.h5 or .h5, got {place!r}")
    if not model.built:
        raise ValueError(f"model: expected {model.name!r} to be built before it is saved; call it or build it")
    buffer = io.BytesIO()
    if suffix == ".weights.h5":
        groups = list(weight_groups(model))
        with h5py_module().File(buffer, "w") as file:
            write_groups(file, groups)
    else:
        config = model_to_keras(model)
        compiled = compile_to_keras(model) if include_optimizer else None
        if suffix == ".h5":
            with h5py_module().File(buffer, "w") as file:
                _write_hdf5(file, model, config, compiled)
        else:
            _write_archive(buffer, model, config, compiled)
    atomic_write(place, [buffer.getbuffer()])


# --- .keras -----------------------------------------------------------------------------------------------------------


def _archive_parts(file: BinaryIO) -> dict[str, bytes]:
    """The three parts of a ``.keras`` file by name."""
    parts: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.filename not in (_CONFIG, _METADATA, _WEIGHTS):
                continue
            if entry.filename in parts:
                raise ValueError(f"{entry.filename}: expected it once in the archive, got it twice")
            if entry.file_size > allowance(entry.compress_size):
                raise ValueError(
                    f"{entry.filename}: expected a file, got one packed {entry.compress_size} to {entry.file_size}"
                )
            parts[entry.filename] = archive.read(entry)
        for name in (_CONFIG, _WEIGHTS):
            if name not in parts:
                raise ValueError(f"expected a Keras model with {name}, got a zip archive without it")
    return parts


def _load_archive(place: str, parts: dict[str, bytes], model: Model | None, compile: bool) -> Model:
    """The model of the parts of a ``.keras`` file."""
    weights = parts[_WEIGHTS]
    with Hdf5File(io.BytesIO(weights), len(weights)) as file:
        if model is not None:
            return _load_groups(file, model)
        metadata = parse_json(parts.get(_METADATA, b"{}"))
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        reader = ModelReader(version if isinstance(version, str) else None)
        config = parse_json(parts[_CONFIG])
        with within_file_limits(place, _limits(len(weights)), "a Keras model"):
            made = reader.model(config)
            values = read_groups(file, list(weight_groups(made, reader.class_names)))
            if compile:
                compile_from_keras(made, config.get("compile_config"), place)
                count = len(file.keys("optimizer/vars"))
                read_optimizer(file, [f"optimizer/vars/{i}" for i in range(count)], made, place)
        return _with_values(made, values)


def _write_archive(buffer: io.BytesIO, model: Model, config: dict[str, Any], compiled: Any) -> None:
    weights = io.BytesIO()
    with h5py_module().File(weights, "w") as file:
        write_groups(file, list(weight_groups(model)))
        if compiled is not None:
            for i, array in enumerate(optimizer_arrays(model)):
                file[f"optimizer/vars/{i}"] = array
    if compiled is not None:
        config = {**config, "compile_config": compiled}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (
            (_METADATA, json.dumps({"keras_version": _VERSION})),
            (_CONFIG, json.dumps(config)),
            (_WEIGHTS, weights.getbuffer()),
        ):
            archive.writestr(zipfile.ZipInfo(name), content)


# --- .weights.h5 and .h5 ----------------------------------------------------------------------------------------------


def _load_hdf5(place: str, file: Hdf5File, model: Model | None, compile: bool) -> Model:
    """The model of a ``.h5`` file, or the weights of any HDF5 file of Keras."""
    text = file.text("", "model_config")
    if model is not None:
        root = "model_weights" if file.has("model_weights") else ""
        if not file.has_texts(root, "layer_names"):
            return _load_groups(file, model)
        if type(model) is not Sequential:
            raise ValueError(f"model: expected a Sequential for a file with layers by name, got {model.name!r}")
        return _with_values(model, read_layers(file, root, model))
    if text is None:
        raise ValueError(
            "expected a whole model, got a file of weights; make the model and pass it: load_keras(path, model)"
        )
    reader = ModelReader(file.text("", "keras_version"))
    with within_file_limits(place, _limits(file.size), "a Keras model"):
        made = reader.model(parse_json(text))
        values = read_layers(file, "model_weights", made)
        training = file.text("", "training_config")
        if compile and training is not None:
            config = parse_json(training)
            if isinstance(config, dict):
                config["optimizer"] = config.get("optimizer_config")
            compile_from_keras(made, config, place)
            if not reader.is_old and file.has("optimizer_weights"):
                names = file.texts("optimizer_weights", "weight_names", 3 + 4 * len(made.weights))
                read_optimizer(file, [f"optimizer_weights/{name}" for name in names], made, place)
    return _with_values(made, values)


def _write_hdf5(file: Any, model: Model, config: dict[str, Any], compiled: Any) -> None:
    for target in (file, file.create_group("model_weights")):
        target.attrs["keras_version"], target.attrs["backend"] = _VERSION, "seqcore"
    file.attrs["model_config"] = json.dumps(config)
    write_layers(file["model_weights"], model)
    if compiled is not None:
        # Without the state of the optimizer: Keras cannot train a Sequential that it has read with one.
        optimizer = compiled.pop("optimizer")
        file.attrs["training_config"] = json.dumps({**compiled, "optimizer_config": optimizer})


# --- both -------------------------------------------------------------------------------------------------------------


def _limits(size: int) -> FileLimits:
    """Limits of a model whose file has ``size`` bytes of weights."""
    return FileLimits(allowance(size), _MOST_LAYERS)


def _load_groups(file: Hdf5File, model: Model) -> Model:
    return _with_values(model, read_groups(file, list(weight_groups(model))))


def _with_values(model: Model, values: Any) -> Model:
    with defer_sigint():
        for variable, array in values:
            variable.assign(array)
    return model
