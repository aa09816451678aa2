"""Files of models and of their weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._files import Path
from .._validation import as_sizes, boolean, short_repr
from ..autograd import Variable
from ..layers.base import Layer
from ..layers.registry import serialize
from ..training.interrupts import defer_sigint
from ..typing import Array
from .format import format_tags, pack, read_file, weights_in
from .safetensors import write_tensors

# ---------------------------------------------------------------- weights


def named_layers(model: Layer) -> list[tuple[str, Layer]]:
    """A model and all layers inside it, each once, with the path that leads to it, the same for every instance."""
    named: dict[int, tuple[str, Layer]] = {}

    def walk(layer: Layer, path: str) -> None:
        if id(layer) not in named:
            named[id(layer)] = path, layer
            for part, inner in layer.named_sublayers():
                walk(inner, f"{path}.{part}".lstrip("._"))

    walk(model, "")
    return list(named.values())


def named_weights(model: Layer) -> dict[str, Variable]:
    """All weights of a model under the path that leads to them, the same for every instance of an architecture.

    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> {name: weight.shape for name, weight in named_weights(model).items()}
    {'layers.0/kernel': (4, 2), 'layers.0/bias': (2,)}
    """
    named: dict[str, Variable] = {}
    seen: set[int] = set()
    for path, layer in named_layers(model):
        for variable in layer.own_weights():
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            stem = name = f"{path}/{variable.name.rsplit('/', 1)[-1]}".lstrip("/")
            count = 1
            while name in named:
                name, count = f"{stem}_{count}", count + 1
            named[name] = variable
    return named


def match_weights(place: str, model: Layer, arrays: Mapping[str, Array]) -> list[tuple[Variable, Array]]:
    """Pairs of a variable and its new values, all checked."""
    variables = named_weights(model)
    for name in variables:
        if name not in arrays:
            raise ValueError(f"{place}: expected weights {name!r} of model {model.name!r}, got a file without them")
    for name in arrays:
        if name not in variables:
            raise ValueError(f"{place}: expected only the weights of model {model.name!r}, got {short_repr(name)} too")
    for name, variable in variables.items():
        got = arrays[name]
        if got.shape != variable.shape or got.dtype != variable.dtype:
            raise ValueError(
                f"{place}: expected {variable.dtype.name} of shape {variable.shape} for {name!r}, "
                f"got {got.dtype.name} of shape {got.shape}"
            )
    return [(variable, arrays[name]) for name, variable in variables.items()]


def build_shapes(model: Layer) -> dict[str, Any]:
    """Shapes of the layers' first inputs by path; None for a layer built without one, which then has no weights."""
    return {
        path: layer._build_shape
        for path, layer in named_layers(model)
        if layer.built and (layer._build_shape is not None or not layer.own_weights())
    }


def build_by_shapes(model: Layer, shapes: Mapping[str, Any]) -> None:
    """Build what is not built by :func:`build_shapes`, outer layers first, since building one may make others."""
    pending = True
    while pending:
        pending = False
        for path, layer in named_layers(model):
            if not layer.built and path in shapes:
                layer._build_by_shape(as_shape(shapes[path]))
                pending = True
    for path, layer in named_layers(model):
        if path in shapes:
            # Also of a layer that another has built, for some other number of rows.
            layer._build_shape = as_shape(shapes[path])


def as_shape(value: Any) -> Any:
    """A shape, or several, that JSON kept as lists."""
    if isinstance(value, dict):
        return {key: as_shape(shape) for key, shape in value.items()}
    if isinstance(value, list):
        several = any(isinstance(item, (list, dict)) for item in value)
        return [as_shape(item) for item in value] if several else as_sizes("shape", value)
    return value


def weight_tensors(model: Layer) -> dict[str, Array]:
    if not model.built:
        raise ValueError(f"model: expected {model.name!r} to be built before it is saved; call it or build it")
    return {f"weights/{name}": variable._array for name, variable in named_weights(model).items()}


def save_weights(model: Layer, path: Path) -> None:
    """Write only the weights. Raises ValueError for a model that is not built, OSError for a full disk."""
    write_tensors(path, weight_tensors(model), format_tags("seqcore-weights"))


def load_weights(model: Layer, path: Path) -> None:
    """Read the weights of a file of weights, a model or a checkpoint into ``model`` (built, same architecture).

    Raises:
        ValueError: naming the file and what is wrong with it; the model is then unchanged.
    """
    tensors, _ = read_file(path, "seqcore-weights", "seqcore-model", "seqcore-checkpoint")
    if not model.built:
        raise ValueError(
            f"model: expected {model.name!r} to be built before its weights are loaded; call it or build it"
        )
    pairs = match_weights(os.fspath(path), model, weights_in(tensors))
    with defer_sigint():
        for variable, values in pairs:
            variable.assign(values)


# ---------------------------------------------------------------- whole models


def save_model(model: Any, path: Path, extra: Mapping[str, Any] | None = None, include_optimizer: bool = True) -> None:
    """Write one file with the architecture, the weights, the arguments of ``compile`` and ``extra``.

    Args:
        model: a built model; a subclassed one must be registered (``models.register``) and have ``get_config``.
        path: the file.
        extra: data that belong to the model: a vocabulary, preprocessing; numbers, texts, arrays, lists and dicts of
            them. ``seqcore.load_model`` gives it back as ``model.extra``.
        include_optimizer: write the arguments of ``compile``; without it the model comes back not compiled.

    >>> import tempfile, os
    >>> from seqcore import Sequential, layers, load_model
    >>> model = Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save_model(model, path, {"words": ["the", "cat"]})
    >>> load_model(path).extra
    {'words': ['the', 'cat']}
    """
    compiled = model.get_compile_config() if boolean("include_optimizer", include_optimizer) else None
    tensors = weight_tensors(model)
    texts = format_tags("seqcore-model", **describe_model(model, compiled, dict(extra or {}), tensors))
    write_tensors(path, tensors, texts)


def describe_model(model: Any, compiled: Any, extra: dict[str, Any], tensors: dict[str, Array]) -> dict[str, Any]:
    """The fields of a file that make the model again, without its weights; arrays among them go into ``tensors``."""
    return {
        "architecture": pack(serialize(model), "architecture", tensors),
        "build": model.get_build_description(),
        "compiled": pack(compiled, "compiled", tensors),
        "extra": pack(extra, "extra", tensors),
    }
