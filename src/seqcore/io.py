"""Files without pickle: models, weights and checkpoints in safetensors with JSON; weight maps for PyTorch.

A file holds arrays under names such as ``weights/layers.0/kernel`` and, in the metadata of its header, the format and
its version, the architecture, how the model was compiled, and what the caller adds (a vocabulary, preprocessing). Every
file is written under a temporary name, synced and renamed, so that a kill or a full disk leaves the old file.
Reading checks everything before anything is changed.

Keras's arrays need no map: kernels, gate order, the two bias rows of the GRU and the order of ``get_weights()`` are the
same here, so ``model.set_weights(keras_model.get_weights())`` is enough.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import random
from ._validation import MALFORMED, as_path, boolean, default_only, one_line, short_repr
from .autograd import Tensor, Variable, as_array
from .layers.building import FileLimits, within
from .saving.files import Path as Path
from .saving.files import atomic_write as atomic_write
from .saving.files import parse_json
from .saving.safetensors import read_tensors as read_tensors
from .saving.safetensors import write_tensors as write_tensors

if TYPE_CHECKING:
    from .layers.base import Layer
    from .models import Model

Array = NDArray[Any]

VERSION = 1


# What reads each kind of our files.
_READERS = {
    "seqcore-model": "load_model",
    "seqcore-weights": "load_weights of a model",
    "seqcore-checkpoint": "load_checkpoint of a model",
    "seqcore-vectors": "KeyedVectors.load",
    "word2vec": "Word2Vec.load",
}


def kind_of(texts: Mapping[str, str]) -> str:
    """What a safetensors file is by its header, and what reads it, for messages."""
    name = texts.get("format") or texts.get("seqcore") or ""
    if name in _READERS:
        return f"a {name} file; use {_READERS[name]}"
    if name:
        return f"a {short_repr(name)[1:-1]} file"
    return "a safetensors file of another program; seqcore.io.read_tensors gives its arrays"


def _read(path: Path, *kinds: str, skip: Collection[str] = ()) -> tuple[dict[str, Array], dict[str, Any]]:
    """Like :func:`read_tensors` for one of our files; the header's JSON texts come decoded."""
    tensors, texts = read_tensors(path, skip)
    place = as_path(path)
    if texts.get("format") not in kinds:
        raise ValueError(f"{place}: expected a {kinds[0]} file, got {kind_of(texts)}")
    try:
        metadata: dict[str, Any] = {key: text if key == "format" else parse_json(text) for key, text in texts.items()}
    except ValueError as error:
        raise ValueError(f"{place}: expected JSON in the header, got something else ({error})") from error
    version = metadata.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"{place}: expected format version 1...{VERSION}, got {short_repr(version)}")
    return tensors, metadata


def _part(metadata: Mapping[str, Any], name: str) -> Any:
    """One of the header's texts, decoded."""
    if name not in metadata:
        raise ValueError(f"expected {name!r} in the header, which is missing")
    return metadata[name]


def _build_part(metadata: Mapping[str, Any]) -> dict[str, Any]:
    build = _part(metadata, "build")
    if not isinstance(build, dict) or not isinstance(build.get("layers", {}), dict):
        raise ValueError(f"build: expected a dict of shapes, got {short_repr(build)}")
    return build


def _texts(kind: str, **values: Any) -> dict[str, str]:
    return {"format": kind, **{key: json.dumps(value) for key, value in {"version": VERSION, **values}.items()}}


# ---------------------------------------------------------------- nested values: JSON, arrays beside it


def _pack(value: Any, name: str, tensors: dict[str, Array]) -> Any:
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
        return {key: _pack(one, f"{name}/{key}", tensors) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(one, f"{name}/{i}", tensors) for i, one in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: expected numbers, texts, arrays, lists or dicts of them, got {type(value).__name__}")


def _unpack(value: Any, tensors: Mapping[str, Array]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__array__"}:
            name = value["__array__"]
            if not isinstance(name, str) or name not in tensors:
                raise ValueError(f"expected an array {short_repr(name)}, which is missing")
            return tensors[name]
        return {key: _unpack(one, tensors) for key, one in value.items()}
    if isinstance(value, list):
        return [_unpack(one, tensors) for one in value]
    return value


# ---------------------------------------------------------------- weights


def named_layers(model: Layer) -> list[tuple[str, Layer]]:
    """A model and all layers inside it, each once, with the path that leads to it, the same for every instance."""
    named: list[tuple[str, Layer]] = []
    seen: set[int] = set()

    def walk(layer: Layer, path: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        named.append((path, layer))
        for part, inner in layer._named_sublayers():
            walk(inner, f"{path}.{part}".lstrip("._"))

    walk(model, "")
    return named


def named_weights(model: Layer) -> dict[str, Variable]:
    """All weights of a model under the path that leads to them, the same for every instance of an architecture.

    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> {name: weight.shape for name, weight in named_weights(model).items()}
    {'layers.0/kernel': (4, 2), 'layers.0/bias': (2,)}
    """
    found: dict[str, Variable] = {}
    seen: set[int] = set()
    for path, layer in named_layers(model):
        for variable in layer._own_weights():
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            stem = name = f"{path}/{variable.name.rsplit('/', 1)[-1]}".lstrip("/")
            count = 1
            while name in found:
                name, count = f"{stem}_{count}", count + 1
            found[name] = variable
    return found


def _matched(place: str, model: Model, tensors: Mapping[str, Array]) -> list[tuple[Variable, Array]]:
    """Pairs of a variable and its new values, all checked."""
    if not model.built:
        raise ValueError(
            f"model: expected {model.name!r} to be built before its weights are loaded; call it or build it"
        )
    arrays = _weights_of(tensors)
    variables = named_weights(model)
    for name in variables:
        if name not in arrays:
            raise ValueError(f"{place}: expected weights {name!r} of model {model.name!r}, got a file without them")
    for name in arrays:
        if name not in variables:
            raise ValueError(f"{place}: expected the weights of model {model.name!r} alone, got {short_repr(name)} too")
    for name, variable in variables.items():
        got = arrays[name]
        if got.shape != variable.shape or got.dtype != variable.dtype:
            raise ValueError(
                f"{place}: expected {variable.dtype.name} of shape {variable.shape} for {name!r}, "
                f"got {got.dtype.name} of shape {got.shape}"
            )
    return [(variable, arrays[name]) for name, variable in variables.items()]


def _weights_of(tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name[len("weights/") :]: array for name, array in tensors.items() if name.startswith("weights/")}


@contextmanager
def _for_file(place: str, tensors: Mapping[str, Array], metadata: Mapping[str, Any], what: str) -> Iterator[None]:
    """Context in which a model is made or built for a file: within its limits; a failure is one line that names it,
    and leaves the random numbers as they were.

    Args:
        what: the file's description is said to be that of.
    """
    before = random.get_state()
    # A weight may be made twice, and what a class makes by itself is little; a layer's description takes a line.
    weight_bytes = 2 * sum(array.nbytes for array in _weights_of(tensors).values()) + (1 << 20)
    layers = 1000 + 4 * len(tensors) + len(str(metadata)) // 16
    try:
        with within(FileLimits(weight_bytes, layers)):
            yield
    except BaseException as error:
        random.set_state(before)
        if isinstance(error, MALFORMED) and not str(error).startswith(place):
            raise ValueError(f"{place}: expected {what}, got one that fails: {one_line(error)}") from error
        raise


def _weights(model: Model) -> dict[str, Array]:
    if not model.built:
        raise ValueError(f"model: expected {model.name!r} to be built before it is saved; call it or build it")
    return {f"weights/{name}": variable._array for name, variable in named_weights(model).items()}


def save_weights(model: Model, path: Path) -> None:
    """Writes the weights alone. Raises ValueError for a model that is not built, OSError for a full disk."""
    write_tensors(path, _weights(model), _texts("seqcore-weights"))


def load_weights(model: Model, path: Path) -> None:
    """Reads the weights of a file of weights, a model or a checkpoint into ``model`` (built, same architecture).

    Raises:
        ValueError: naming the file and what is wrong with it; the model is then unchanged.
    """
    from .steps import uninterrupted

    tensors, _ = _read(path, "seqcore-weights", "seqcore-model", "seqcore-checkpoint")
    pairs = _matched(os.fspath(path), model, tensors)
    with uninterrupted():
        for variable, values in pairs:
            variable.assign(values)


# ---------------------------------------------------------------- whole models


def save_model(
    model: Model, path: Path, extra: Mapping[str, Any] | None = None, include_optimizer: bool = True
) -> None:
    """Writes one file with the architecture, the weights, how the model was compiled, and ``extra``.

    Args:
        model: a built model; a subclassed one must be registered (``models.register``) and have ``get_config``.
        path: the file.
        extra: what belongs to the model: a vocabulary, preprocessing; numbers, texts, arrays, lists and dicts of
            them. :func:`load_model` gives it back as ``model.extra``.
        include_optimizer: write how the model was compiled; without it the model comes back not compiled.

    >>> import tempfile, os
    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_model(model, path, {"words": ["the", "cat"]})
    >>> load_model(path).extra
    {'words': ['the', 'cat']}
    """
    from .layers.registry import serialize

    compiled = model.get_compile_config() if boolean("include_optimizer", include_optimizer) else None
    tensors = _weights(model)
    texts = _texts(
        "seqcore-model",
        architecture=_pack(serialize(model), "architecture", tensors),
        build=model._build_config(),
        compiled=_pack(compiled, "compiled", tensors),
        extra=_pack(dict(extra or {}), "extra", tensors),
    )
    write_tensors(path, tensors, texts)


def load_model(
    filepath: Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Model:
    """Reads a model that :func:`save_model` wrote, built, with its weights, and compiled as it was.

    The optimizer starts with its settings and fresh slots; a checkpoint keeps the slots too.

    Args:
        filepath: the file.
        custom_objects: classes by the names that the file has for them, beside those that are registered: layers,
            models, optimizers, schedules, losses, metrics.
        compile: compile the model as it was.
        safe_mode: accepted as True alone: no file can run code.

    Raises:
        ValueError: naming the file, if it is truncated, of another format, or needs a class that is not registered.
    """
    from .layers.registry import custom_classes, deserialize
    from .models import Model

    compile = boolean("compile", compile)
    default_only("safe_mode", safe_mode, True, "no file can run code")
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects: expected a dict of classes by name, got {short_repr(custom_objects)}")
    place = as_path(filepath, "filepath")
    tensors, metadata = _read(filepath, "seqcore-model")
    with _for_file(place, tensors, metadata, "the description of a model"), custom_classes(custom_objects):
        model = deserialize(_unpack(_part(metadata, "architecture"), tensors))
        if not isinstance(model, Model):
            raise ValueError(f"expected a model, got {type(model).__name__}")
        model._build_from_config(_build_part(metadata), _weights_of(tensors))
        extra = _unpack(_part(metadata, "extra"), tensors)
        if not isinstance(extra, dict):
            raise ValueError(f"extra: expected a dict, got {short_repr(extra)}")
        model.extra = extra
        if compile:
            model._compile_from_file(_unpack(_part(metadata, "compiled"), tensors), dict(custom_objects or {}))
        pairs = _matched(place, model, tensors)
    for variable, values in pairs:
        variable.assign(values)
    return model


# ---------------------------------------------------------------- checkpoints


def save_checkpoint(path: Path, model: Model, position: Mapping[str, Any] | None = None) -> None:
    """Writes all that a training run needs to go on as if it had never stopped, bit by bit.

    Args:
        path: the file.
        model: a built and compiled model.
        position: where the run stands (epoch, batch, best loss, ...): numbers, texts, arrays, lists, dicts.

    Held: the weights, the optimizer's slots and settings, the state of the global random generator, the layers' own
    states (the counters of dropout, the carried states of stateful layers) and the position.
    """
    tensors = _weights(model)
    optimizer = None
    if model.optimizer is not None:
        names = {id(variable): name for name, variable in named_weights(model).items()}
        optimizer = {
            "class": type(model.optimizer).__name__,
            "variables": [names.get(id(variable)) for variable in model.optimizer.variables],
            "state": _pack(model.optimizer.get_state(), "optimizer", tensors),
        }
    texts = _texts(
        "seqcore-checkpoint",
        build=model._build_config(),
        optimizer=optimizer,
        layers=_pack(model.get_layer_state(), "layers", tensors),
        random=_pack(random.get_state(), "random", tensors),
        position=_pack(dict(position or {}), "position", tensors),
    )
    write_tensors(path, tensors, texts)


def read_position(path: Path) -> dict[str, Any]:
    """The position that :func:`save_checkpoint` was given; the model may be another or not yet made.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    return _position(os.fspath(path), *_read(path, "seqcore-checkpoint"))


def _position(place: str, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        position = _unpack(_part(metadata, "position"), tensors)
    except MALFORMED as error:
        raise ValueError(f"{place}: expected a position, got one that fails: {one_line(error)}") from error
    if not isinstance(position, dict):
        raise ValueError(f"{place}: expected a dict as position, got {short_repr(position)}")
    return position


def load_checkpoint(path: Path, model: Model) -> dict[str, Any]:
    """Puts ``model`` and the random generator into the state of a checkpoint and returns its position.

    Args:
        path: a file that :func:`save_checkpoint` wrote.
        model: the same architecture, compiled with the same kind of optimizer; it is built if need be.

    Raises:
        ValueError: naming the file and what is wrong with it; the model is then unchanged.
    """
    from .steps import uninterrupted

    place = as_path(path)
    tensors, metadata = _read(path, "seqcore-checkpoint")
    position = _position(place, tensors, metadata)
    optimizer = model.optimizer
    with _for_file(place, tensors, metadata, f"the state of model {model.name!r}"), model._build_undone():
        saved = _part(metadata, "optimizer")
        if saved is not None:
            if not isinstance(saved, dict) or saved.keys() != {"class", "variables", "state"}:
                raise ValueError(f"optimizer: expected its class, variables and state, got {short_repr(saved)}")
            have = type(optimizer).__name__ if optimizer is not None else "a model that is not compiled"
            if have != saved["class"]:
                wanted = short_repr(saved["class"])[1:-1]
                raise ValueError(f"{place}: expected a model compiled with {wanted}, got {have}")
        if not model.built:
            model._build_from_config(_build_part(metadata), _weights_of(tensors))
        pairs = _matched(place, model, tensors)
        generator, states = (_unpack(_part(metadata, name), tensors) for name in ("random", "layers"))
        slots = None if saved is None else _unpack(saved["state"], tensors)
        before = model.get_layer_state()
        with uninterrupted():
            random.set_state(generator)
            model.set_layer_state(states)
            if saved is not None and optimizer is not None:
                try:
                    with optimizer.build_undone():
                        model._prepare_training()
                        optimizer.set_state(_in_order(slots, saved["variables"], model))
                except BaseException:
                    model.set_layer_state(before)
                    raise
            # Cannot fail: all shapes and types have been compared.
            for variable, values in pairs:
                variable.assign(values)
    return position


def _in_order(slots: Any, names: Any, model: Model) -> dict[str, Any]:
    """The optimizer's state, saved for variables in the order of ``names``, in the order in which it knows them now."""
    optimizer = model.optimizer
    assert optimizer is not None
    variables = named_weights(model)
    if not isinstance(slots, dict):
        raise ValueError(f"state: expected the slots of an optimizer, got {short_repr(slots)}")
    if not isinstance(names, list) or not all(name is None or name in variables for name in names):
        raise ValueError(f"variables: expected names of weights, got {short_repr(names)}")
    optimizer.build([variables[name] for name in names if name is not None])
    now = {id(variable): number for number, variable in enumerate(optimizer.variables)}
    ordered: dict[str, Any] = {}
    for key, value in slots.items():
        number, slash, slot = key.partition("/")
        if not slash:
            ordered[key] = value
            continue
        if not number.isdecimal() or int(number) >= len(names):
            raise ValueError(f"state: expected slots of {len(names)} variables, got {short_repr(key)}")
        name = names[int(number)]
        if name is not None:
            ordered[f"{now[id(variables[name])]}/{slot}"] = value
    # What the optimizer had not seen when it was saved begins anew.
    for name, variable in variables.items():
        if name not in names and id(variable) in now:
            for slot, start in optimizer._slot_values().items():
                ordered[f"{now[id(variable)]}/{slot}"] = np.full(variable.shape, start, variable.dtype)
    return ordered


# ---------------------------------------------------------------- weight maps

# Where each of our gates (i f c o; z r h) stands in PyTorch (i f g o; r z n).
_TORCH_GATES = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}


def _torch_gates(cell: str) -> tuple[int, ...]:
    if cell not in _TORCH_GATES:
        raise ValueError(f"cell: expected 'rnn', 'lstm' or 'gru', got {cell!r}")
    return _TORCH_GATES[cell]


def _reorder(array: Array, gates: Sequence[int]) -> Array:
    """Blocks of the last axis in another order."""
    blocks = np.split(array, len(gates), axis=-1)
    return np.concatenate([blocks[gate] for gate in gates], axis=-1)


# prefix.name_l0_reverse: the names of the arrays of a recurrent module.
_TORCH_NAME = re.compile(
    r"(?:(?P<prefix>.*)\.)?(?P<part>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>0|[1-9][0-9]{0,3})(?P<back>_reverse)?"
)


def from_torch(weights: Mapping[str, Any], cell: str, prefix: str | None = None) -> list[list[Array]]:
    """Weights of a ``torch.nn.RNN``, ``LSTM`` or ``GRU`` for layers of seqcore.

    Args:
        weights: its ``state_dict()``, or that of a model that holds it, as tensors or arrays: ``weight_ih_l0`` (gH, D),
            ``weight_hh_l0`` (gH, H), ``bias_ih_l0`` and ``bias_hh_l0`` (gH,), ... with ``_reverse`` for the second
            direction. Half precision (float16, bfloat16) is widened to float32.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"``.
        prefix: what stands before the names, such as ``"encoder.lstm"``; ``""`` for nothing. By default the only one
            that there is; other modules of the model are left out.

    Returns:
        One list for each layer, in the order of ``layer.set_weights``: kernel (D, gH), recurrent kernel (H, gH), bias
        (gH,), for the GRU (2, 3H); for two directions the forward ones first. PyTorch's two biases are added where the
        equations add them.

    Raises:
        ValueError: for an unknown cell, several modules without a ``prefix``, arrays that are missing or unknown, and
            shapes that do not fit.

    >>> arrays = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
    >>> [array.shape for array in from_torch(arrays, "lstm")[0]]
    [(3, 8), (2, 8)]
    """
    gates = _torch_gates(cell)
    arrays = _torch_module(weights, prefix)
    names = {name: _TORCH_NAME.fullmatch(name) for name in arrays}
    for name, match in names.items():
        if match is None or match["part"] == "weight_hr":
            reason = "a projection" if match else "another array"
            raise ValueError(f"weights: expected weights and biases of layers without {reason}, got {name!r}")
    count = 1 + max(int(match["layer"]) for match in names.values() if match)
    ends = ["", "_reverse"] if any(match["back"] for match in names.values() if match) else [""]
    parts = ["weight_ih", "weight_hh"]
    parts += ["bias_ih", "bias_hh"] if any(name.startswith("bias") for name in names) else []
    expected = [f"{part}_l{layer}{end}" for layer in range(min(count, len(names))) for end in ends for part in parts]
    for name in expected:
        if name not in arrays:
            raise ValueError(f"weights: expected {name!r} beside {min(names)!r}, got none")
    layers: list[list[Array]] = []
    width = None
    for number in range(count):
        layer: list[Array] = []
        for end in ends:
            suffix = f"_l{number}{end}"
            layer += _one_from_torch([arrays[part + suffix] for part in parts], suffix, width, gates, cell)
        width = len(layer[1]) * len(ends)
        layers.append(layer)
    return layers


def _torch_module(weights: Any, prefix: str | None) -> dict[str, Array]:
    """The arrays of one module, by their names without its prefix."""
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise TypeError(f"weights: expected a state_dict, arrays by name, got {type(weights).__name__}")
    if prefix is not None and not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a text or None, got {short_repr(prefix)}")
    matches = [_TORCH_NAME.fullmatch(name) for name in weights]
    known = list(dict.fromkeys(match["prefix"] or "" for match in matches if match))
    if not known:
        raise ValueError("weights: expected arrays named 'weight_ih_l0', 'weight_hh_l0', ..., got none of these names")
    chosen = known[0] if prefix is None else prefix.removesuffix(".")
    if prefix is None and len(known) > 1:
        raise ValueError(f"weights: expected one recurrent module, or its prefix, got {', '.join(map(repr, known))}")
    if chosen not in known:
        raise ValueError(f"prefix: expected one of {', '.join(map(repr, known))}, got {prefix!r}")
    start = f"{chosen}." if chosen else ""
    return {
        name[len(start) :]: _torch_array(f"weights[{name!r}]", value)
        for name, value in weights.items()
        if name.startswith(start) and "." not in name[len(start) :]
    }


def _torch_array(name: str, value: Any) -> Array:
    """A tensor or array of any library; half precision, in which sums would lose digits, as float32."""
    if hasattr(value, "detach"):
        # A parameter of PyTorch; NumPy knows no bfloat16.
        value = value.detach()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        value = value.cpu()
    array = as_array(value, name=name)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.itemsize < 4 else array


def _one_from_torch(
    arrays: Sequence[Array], suffix: str, width: int | None, gates: Sequence[int], cell: str
) -> list[Array]:
    """The arrays of one direction of a layer that reads ``width`` features, where that is known."""
    kernel, recurrent, *biases = arrays
    rows = len(gates) * recurrent.shape[-1] if recurrent.ndim == 2 else -1
    fits = kernel.ndim == 2 and recurrent.shape[:1] == (rows,) and len(kernel) == rows
    if not fits or width not in (None, kernel.shape[1]):
        high = "gH" if rows < 0 else rows
        raise ValueError(
            f"weights: expected ({high}, {width or 'D'}) and ({high}, H) for {cell!r}, "
            f"got {kernel.shape}, {recurrent.shape} for {suffix!r}"
        )
    layer = [np.ascontiguousarray(_reorder(kernel.T, gates)), np.ascontiguousarray(_reorder(recurrent.T, gates))]
    if biases:
        if any(bias.shape != (rows,) for bias in biases):
            shapes = ", ".join(str(bias.shape) for bias in biases)
            raise ValueError(f"weights: expected biases of shape ({rows},) for {suffix!r}, got {shapes}")
        layer.append(_reorder(np.stack(biases) if cell == "gru" else biases[0] + biases[1], gates))
    return layer


def to_torch(layers: Sequence[Sequence[Any]], cell: str) -> dict[str, Array]:
    """The way back of :func:`from_torch`: arrays for ``load_state_dict`` of a ``torch.nn.RNN``, ``LSTM`` or ``GRU``.

    Args:
        layers: ``layer.get_weights()`` of each layer; six arrays (four without biases) mean two directions.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"`` (with ``reset_after=True``).

    Returns:
        name -> array; the second bias of RNN and LSTM is zero.

    >>> kernel, recurrent, bias = np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)
    >>> sorted(to_torch([[kernel, recurrent, bias]], "lstm"))
    ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']
    """
    gates = _torch_gates(cell)
    back = [gates.index(gate) for gate in range(len(gates))]
    found: dict[str, Array] = {}
    for number, layer in enumerate(layers):
        arrays = [_torch_array(f"layers[{number}]", array) for array in layer]
        if len(arrays) not in (2, 3, 4, 6):
            raise ValueError(f"layers: expected 2, 3, 4 or 6 arrays for layer {number}, got {len(arrays)}")
        each = 3 if len(arrays) in (3, 6) else 2
        for start, suffix in zip(range(0, len(arrays), each), (f"_l{number}", f"_l{number}_reverse")):
            kernel, recurrent = arrays[start], arrays[start + 1]
            width = len(gates) * len(recurrent) if recurrent.ndim == 2 else -1
            if kernel.shape[1:] != (width,) or recurrent.shape[1:] != (width,):
                raise ValueError(
                    f"layers: expected kernels of {width} columns for {cell!r}, got {kernel.shape}, {recurrent.shape}"
                )
            found[f"weight_ih{suffix}"] = np.ascontiguousarray(_reorder(kernel, back).T)
            found[f"weight_hh{suffix}"] = np.ascontiguousarray(_reorder(recurrent, back).T)
            if each == 3:
                bias = arrays[start + 2]
                if bias.shape != ((2, width) if cell == "gru" else (width,)):
                    wanted = f"(2, {width}) (reset_after=True)" if cell == "gru" else f"({width},)"
                    raise ValueError(f"layers: expected a bias of shape {wanted}, got {bias.shape}")
                bias = _reorder(bias, back)
                pair = bias if cell == "gru" else (bias, np.zeros_like(bias))
                found[f"bias_ih{suffix}"], found[f"bias_hh{suffix}"] = pair[0], pair[1]
    return found
