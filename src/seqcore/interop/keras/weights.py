"""The places of a model's weights in Keras's files.

In ``.weights.h5`` and ``.keras`` a layer is found by the attributes that lead to it, and in a list of layers by its
class and a number: ``layers/dense_1/vars/0``. In ``.h5`` layers stand under their names, in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..._validation import check_fits, short_repr
from ...autograd import Variable
from ...layers import ContextRNN, Layer
from ...layers.rnn.base import RNNLayer
from ...models.model import Model
from ...typing import Array
from .hdf5 import Hdf5File

# New values of variables, which are all read and checked before the first one is written.
Values = list[tuple[Variable, Array]]
# Groups that Keras writes next to those of the weights: the state of the optimizer, and that of dropout.
_AT_THE_TOP = frozenset(("optimizer", "vars"))
_INSIDE = frozenset(("vars", "seed_generator"))


class Group(NamedTuple):
    """A group of a file of weights: its path, the name of its layer, the layer's own variables."""

    path: str
    name: str
    variables: list[Variable]


def keras_snake_case(name: str) -> str:
    """The name of a class as Keras writes it in files.

    >>> keras_snake_case("GlobalMaxPooling1D"), keras_snake_case("SimpleRNN"), keras_snake_case("ReLU")
    ('global_max_pooling1d', 'simple_rnn', 're_lu')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def weight_groups(layer: Layer, class_names: Mapping[int, str] | None = None, path: str = "") -> Iterator[Group]:
    """The groups of a layer and of those inside it, outer ones first.

    Args:
        class_names: the class that Keras has for a layer, by its ``id``, where it is not called like ours.

    Raises:
        ValueError: for a layer that Keras does not have.
    """
    if isinstance(layer, ContextRNN):
        raise ValueError(f"layer {layer.name!r}: Keras has no ContextRNN")
    if isinstance(layer, RNNLayer):
        yield Group(path, layer.name, [])
        yield Group(_join(path, "cell"), keras_snake_case(type(layer.cell).__name__), layer.own_weights())
        return
    yield Group(path, layer.name, layer.own_weights())
    used: dict[str, int] = {}
    for place, inner in layer.named_sublayers():
        attribute, in_list, _ = place.partition(".")
        name = keras_snake_case((class_names or {}).get(id(inner), type(inner).__name__))
        part = _numbered(f"{attribute}/{name}", used) if in_list else attribute
        if isinstance(layer, Model) and attribute != "layers":
            # Keras walks the attributes in alphabetical order, and `layers` is one of them; private ones come last.
            all_layers = _numbered(f"layers/{name}", used)
            part = all_layers if attribute > "layers" or attribute.startswith("_") else part
        yield from weight_groups(inner, class_names, _join(path, part))


def _numbered(name: str, used: dict[str, int]) -> str:
    """A name that is not used yet: with a number from the second time on."""
    number = used[name] = used.get(name, -1) + 1
    return f"{name}_{number}" if number else name


def _join(path: str, part: str) -> str:
    return f"{path}/{part}" if path else part


# --- .weights.h5, and the weights in .keras ---------------------------------------------------------------------------


def read_groups(file: Hdf5File, groups: list[Group]) -> Values:
    """The values of all variables of the groups.

    Raises:
        ValueError: naming the array that is missing, or that has no place in the model.
    """
    # As TensorFlow 2.13 calls it.
    root = "_layer_checkpoint_dependencies"
    old = file.has(root) and not file.has("layers")
    known: dict[str, set[str]] = {}
    values: Values = []
    for group in groups:
        path = group.path.replace("layers", root) if old else group.path
        parts = path.split("/") if path else []
        for i, part in enumerate(parts):
            known.setdefault("/".join(parts[:i]), set()).add(part)
        known.setdefault(path, set())
        own = _join(path, "vars")
        extra = set(file.keys(own)) - {str(i) for i in range(len(group.variables))}
        if extra:
            wanted = f"{len(group.variables)} arrays for layer {group.name!r}"
            raise ValueError(f"{own}: expected {wanted}, got {short_repr(min(extra))} too")
        values += [_matched(file, f"{own}/{i}", variable) for i, variable in enumerate(group.variables)]
    for path, inside in known.items():
        extra = set(file.keys(path)) - inside - (_INSIDE if path else _AT_THE_TOP)
        # A layer without weights, such as an input, has an empty group.
        extra = {part for part in extra if _holds_arrays(file, _join(path, part))}
        if extra:
            raise ValueError(f"{_join(path, min(extra))}: expected only layers of the model, got another")
    return values


def _holds_arrays(file: Hdf5File, path: str) -> bool:
    """True where a group has arrays, or layers that may have some."""
    return bool(file.keys(f"{path}/vars")) or any(part != "vars" for part in file.keys(path))


def write_groups(file: Any, groups: list[Group]) -> None:
    """Write the groups into an open file of h5py."""
    for group in groups:
        target = file.create_group(_join(group.path, "vars"))
        target.attrs["name"] = group.name
        for i, variable in enumerate(group.variables):
            target[str(i)] = variable._array


def _matched(file: Hdf5File, path: str, variable: Variable) -> tuple[Variable, Array]:
    """A variable and its values of a file, in its type."""
    try:
        array = file.array(path, variable.shape)
    except ValueError as error:
        raise ValueError(f"{error}, for {variable.name!r}") from None
    with np.errstate(over="ignore"):
        check_fits(path, array, variable.dtype)
    return variable, array.astype(variable.dtype)


# --- .h5 --------------------------------------------------------------------------------------------------------------


def _legacy_order(layer: Layer) -> list[Variable]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def read_layers(file: Hdf5File, root: str, model: Model) -> Values:
    """The values of all weights, layer by layer in the order of the file, as Keras pairs them."""
    names = file.texts(root, "layer_names", len(file.keys(root)))
    layers = [layer for layer in model.layers if layer.weights]
    most = max((len(layer.weights) for layer in layers), default=0)
    stored = [(name, file.texts(_join(root, name), "weight_names", most)) for name in names]
    stored = [(name, weights) for name, weights in stored if weights]
    if len(stored) != len(layers):
        raise ValueError(f"{root or '/'}: expected {len(layers)} layers with weights, got {len(stored)}")
    values: Values = []
    for layer, (name, weights) in zip(layers, stored):
        variables = _legacy_order(layer)
        if len(weights) != len(variables):
            raise ValueError(
                f"{_join(root, name)}: expected {len(variables)} arrays for layer {layer.name!r}, got {len(weights)}"
            )
        values += [_matched(file, _join(_join(root, name), w), v) for w, v in zip(weights, variables)]
    return values


def write_layers(group: Any, model: Model) -> None:
    """Write the weights of all layers into an open group of h5py."""
    _write_texts(group, "layer_names", [layer.name for layer in model.layers])
    for layer in model.layers:
        names = {
            id(variable): f"{inner.path or layer.name}/{variable.name.rsplit('/', 1)[-1]}"
            for inner in weight_groups(layer)
            for variable in inner.variables
        }
        arrays = {names[id(variable)]: variable._array for variable in _legacy_order(layer)}
        write_named(group.create_group(layer.name), arrays)
    write_named(group.create_group("top_level_model_weights"), {})


def write_named(group: Any, arrays: Mapping[str, Array]) -> None:
    """Write arrays into an open group of h5py, and the list of their names as its attribute."""
    _write_texts(group, "weight_names", list(arrays))
    for name, array in arrays.items():
        group[name] = array


def _write_texts(group: Any, name: str, texts: list[str]) -> None:
    """A list of texts as an attribute; an attribute of HDF5 has at most 64 KiB, of which a text takes 16 bytes."""
    if len(texts) <= 2000:
        group.attrs[name] = texts
        return
    for number, start in enumerate(range(0, len(texts), 2000)):
        group.attrs[f"{name}{number}"] = texts[start : start + 2000]
