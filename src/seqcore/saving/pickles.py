"""Pickles and copies of seqcore's objects: a function of this module, and the bytes of a safe file.

Such a pickle names no other class or function. Classes come from the registries, by the names in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, NamedTuple

from .. import losses, metrics, optimizers, random
from .._pickling import set_reducer
from .._registry import Registry, registered_classes_only
from .._validation import MALFORMED, one_line
from ..autograd import IndexedSlices, Tensor, Variable
from ..initializers import INITIALIZERS
from ..layers.base import Layer
from ..layers.registry import deserialize, serialize
from ..losses.loss import LOSSES
from ..metrics.metric import METRICS
from ..optimizers.optimizer import OPTIMIZERS
from ..optimizers.schedules import SCHEDULES
from ..text import TextVectorization, Tokenizer, Vocabulary
from ..typing import Array
from .format import decode_header, file_limits, format_tags, header_field, pack, unpack, weights_in, within_file_limits
from .models import build_by_shapes, build_shapes, match_weights, named_layers, named_weights
from .safetensors import bytes_of, decode_tensors, encode_tensors

Tensors = dict[str, Array]
# Name of the place in error messages.
PLACE = "pickle"


class Family(NamedTuple):
    """The way in which the objects of a family are written and read.

    Attributes:
        dump: gives the fields of the header, JSON-able, for an object; puts arrays into its second argument.
        load: gives a new object for the arrays and the decoded header.
        has: true for the classes of the family; Python itself pickles objects of other classes, which are the user's.
    """

    dump: Callable[[Any, Tensors], dict[str, Any]]
    load: Callable[[Tensors, dict[str, Any]], Any]
    has: Callable[[type[Any]], bool] = lambda cls: True


FAMILIES: dict[str, Family] = {}
# Functions that import the room of a family, of those that are imported only when they are used.
ROOMS: dict[str, Callable[[], Any]] = {}


def reduce(value: Any, protocol: int) -> Any:
    """The result of ``value.__reduce_ex__(protocol)``.

    From protocol 5 on arrays are buffers, which need no copy of their own.

    Raises:
        TypeError: in one line, for an object that cannot be described by names and numbers.
    """
    name = value._pickle_family
    family = FAMILIES[name]
    if not (family.has(type(value)) or type(value).__module__.startswith("seqcore.")):
        return object.__reduce_ex__(value, protocol)
    tensors: Tensors = {}
    try:
        with registered_classes_only():
            fields = family.dump(value, tensors)
        header, arrays = encode_tensors(tensors, format_tags("seqcore-pickle", family=name, **fields))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: cannot be pickled or copied: {one_line(error)}") from error
    parts = map(bytes_of, arrays)
    return restore, (header, *(PickleBuffer(part) if protocol >= 5 else part.tobytes() for part in parts))


def restore(header: bytes, *arrays: Any) -> Any:
    """A new object from the arguments in a pickle of :func:`reduce`.

    Raises:
        ValueError: in one line, for damaged bytes and for classes that are not registered.
    """
    try:
        tensors, texts = decode_tensors(header, arrays)
        metadata = decode_header(PLACE, texts, "seqcore-pickle")
        name = header_field(metadata, "family")
        if name in ROOMS:
            ROOMS[name]()
        if name not in FAMILIES:
            raise ValueError(f"expected one of {', '.join(FAMILIES)}, got {name!r:.40}")
        with random.known_streams():
            return FAMILIES[name].load(tensors, metadata)
    except MALFORMED as error:
        prefix = "" if str(error).startswith(PLACE) else f"{PLACE}: expected an object of seqcore, got damage: "
        raise ValueError(f"{prefix}{one_line(error)}") from error


set_reducer(reduce)


# ---------------------------------------------------------------- layers


def dump_layer(layer: Layer, tensors: Tensors) -> dict[str, Any]:
    """Architecture, weights, what is frozen, and states of a layer, built or not, with the layers inside."""
    for _, inner in named_layers(layer):
        _refuse_replaced(inner)
    weights = named_weights(layer)
    tensors |= {f"weights/{name}": variable._array for name, variable in weights.items()}
    return {
        "architecture": pack(serialize(layer), "architecture", tensors),
        "build": {"layers": build_shapes(layer)},
        "frozen": {
            "layers": [path for path, inner in named_layers(layer) if not inner.trainable],
            "weights": [name for name, variable in weights.items() if not variable.trainable],
        },
        "states": pack(layer.get_layer_state(), "states", tensors),
        "predict_states": pack(_predict_states(layer), "predict_states", tensors),
    }


def _refuse_replaced(layer: Layer) -> None:
    """Refuse a layer that computes with a variable which is not among its weights."""
    weights = set(map(id, layer.own_weights()))
    for part in layer._parts():
        for name, value in part.__dict__.items():
            if isinstance(value, Variable) and id(value) not in weights:
                raise ValueError(
                    f"{layer.name}.{name}: expected the weight that the layer made, got another variable in its place; "
                    "use assign"
                )


def load_layer(tensors: Tensors, metadata: dict[str, Any]) -> Any:
    """A new layer from the fields of :func:`dump_layer`."""
    with within_file_limits(PLACE, file_limits(tensors, metadata), "a layer"):
        layer = deserialize(unpack(header_field(metadata, "architecture"), tensors))
        build_by_shapes(layer, header_field(metadata, "build")["layers"])
        set_layer_values(layer, tensors, metadata)
    return layer


def set_layer_values(layer: Layer, tensors: Tensors, metadata: dict[str, Any]) -> None:
    """Give a layer that has been built its weights, what is frozen, and its states."""
    pairs = match_weights(PLACE, layer, weights_in(tensors))
    frozen = header_field(metadata, "frozen")
    for path, inner in named_layers(layer):
        inner._trainable = path not in frozen["layers"]
    for name, variable in named_weights(layer).items():
        variable.trainable = name not in frozen["weights"]
    _set_predict_states(layer, unpack(header_field(metadata, "predict_states"), tensors))
    layer.set_layer_state(unpack(header_field(metadata, "states"), tensors))
    for variable, values in pairs:
        variable.assign(values)


def _predict_states(layer: Layer) -> dict[str, Any]:
    """By path the states that stateful layers carry from one ``predict`` to the next, as ``get_own_state`` has them."""
    states = {}
    for path, inner in named_layers(layer):
        if inner._predict_state is not None:
            training = inner._take_state()
            inner._put_state(inner._predict_state)
            states[path] = inner.get_own_state()
            inner._put_state(training)
    return states


def _set_predict_states(layer: Layer, states: dict[str, Any]) -> None:
    for path, inner in named_layers(layer):
        if path in states:
            inner.set_own_state(states[path])
            inner._predict_state = inner._take_state()


FAMILIES["layer"] = Family(dump_layer, load_layer)


# ---------------------------------------------------------------- tensors


def _dump_tensor(tensor: Tensor, tensors: Tensors) -> dict[str, Any]:
    fields: dict[str, Any] = {"array": tensor._array, "mask": tensor.mask, "lengths": tensor.lengths}
    if isinstance(tensor, Variable):
        fields |= {"name": tensor.name, "trainable": tensor.trainable, "sparse": tensor.sparse}
    return {"tensor": pack(fields, "tensor", tensors)}


def _load_tensor(tensors: Tensors, metadata: dict[str, Any]) -> Tensor:
    fields = unpack(header_field(metadata, "tensor"), tensors)
    if "name" in fields:
        tensor: Tensor = Variable(fields["array"], fields["trainable"], fields["name"])
        tensor.sparse = fields["sparse"]  # type: ignore[attr-defined]
    else:
        tensor = Tensor(fields["array"])
    tensor.mask, tensor.lengths = fields["mask"], fields["lengths"]
    return tensor


def _dump_slices(slices: IndexedSlices, tensors: Tensors) -> dict[str, Any]:
    tensors |= {"values": slices.values, "indices": slices.indices}
    return {"shape": list(slices.shape), "axis": slices.axis}


def _load_slices(tensors: Tensors, metadata: dict[str, Any]) -> IndexedSlices:
    return IndexedSlices(tensors["values"], tensors["indices"], metadata["shape"], metadata["axis"])


FAMILIES["tensor"] = Family(_dump_tensor, _load_tensor, {Tensor, Variable}.__contains__)
FAMILIES["slices"] = Family(_dump_slices, _load_slices, {IndexedSlices}.__contains__)


# ---------------------------------------------------------------- objects that a config describes


def _described(registry: Registry[Any], load: Callable[[dict[str, Any]], Any]) -> Family:
    """The family of objects that are their configs, and with ``get_state`` the sums so far."""

    def dump(value: Any, tensors: Tensors) -> dict[str, Any]:
        state = value.get_state() if hasattr(value, "get_state") else None
        return {"object": pack(registry.serialize(value), "object", tensors), "state": pack(state, "state", tensors)}

    def load_described(tensors: Tensors, metadata: dict[str, Any]) -> Any:
        value = load(unpack(header_field(metadata, "object"), tensors))
        state = unpack(header_field(metadata, "state"), tensors)
        if state is not None:
            (value.set_state_without_variables if registry is OPTIMIZERS else value.set_state)(state)
        return value

    # An optimizer knows its variables by identity, which Python's own pickle would not bring back.
    return Family(dump, load_described) if registry is OPTIMIZERS else Family(dump, load_described, registry.knows)


FAMILIES["loss"] = _described(LOSSES, losses.deserialize)
FAMILIES["metric"] = _described(METRICS, metrics.deserialize)
FAMILIES["schedule"] = _described(SCHEDULES, SCHEDULES.deserialize)
FAMILIES["initializer"] = _described(INITIALIZERS, INITIALIZERS.deserialize)
FAMILIES["optimizer"] = _described(OPTIMIZERS, optimizers.deserialize)


# ---------------------------------------------------------------- text


def _text(cls: Any) -> Family:
    """The family of objects that describe themselves as dicts."""
    return Family(
        lambda value, tensors: {"object": value.to_dict()},
        lambda tensors, metadata: cls.from_dict(header_field(metadata, "object")),
        {cls}.__contains__,
    )


FAMILIES["vocabulary"] = _text(Vocabulary)
FAMILIES["tokenizer"] = _text(Tokenizer)
FAMILIES["text_vectorization"] = _text(TextVectorization)
