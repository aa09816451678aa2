"""The layers of a functional model that follow one after the other, by its description.

A reference to a tensor is ``[layer, call, output]``: which output of which call of which layer.
"""

from __future__ import annotations

from typing import Any

from ..._registry import class_and_config
from ..._validation import integer, short_repr

# A layer's name and the number of one of its outputs.
_Reference = tuple[str, int]


def chain_of(where: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The descriptions of the layers, the input first.

    Args:
        where: beginning of error messages.
        config: of the functional model.

    A layer whose states go nowhere comes with ``return_state=False``.

    Raises:
        ValueError: for several inputs, merged or shared layers, several outputs but those of the last layer, and naming
            a call with other arguments than its input.
    """
    layers = _by_name(where, config.get("layers"))
    front = _references(f"{where}: input_layers", config.get("input_layers"))
    ends = _references(f"{where}: output_layers", config.get("output_layers"))
    if len(front) != 1 or not ends or any(name not in layers for name, _ in (*front, *ends)):
        raise ValueError(
            f"{where}: expected a chain of layers with one input, got {len(front)} and {len(ends)} outputs"
        )
    if any(name != ends[0][0] for name, _ in ends) or [number for _, number in ends] != list(range(len(ends))):
        raise ValueError(f"{where}: expected a chain of layers with one output, got {len(ends)}")
    chain: list[dict[str, Any]] = []
    masks: set[str] = set()
    name, all_outputs = ends[0][0], len(ends) > 1
    while True:
        layer = layers.pop(name, None)
        if layer is None:
            raise ValueError(f"{where}: expected a chain of layers, got a circle at {name!r}")
        chain.insert(0, layer if all_outputs else _without_states(layer))
        if name == front[0][0]:
            break
        source, mask = _call(f"{where}: layer {name!r}", layer)
        if source[1] or source[0] not in layers:
            raise ValueError(f"{where}: layer {name!r}: expected the first output of another layer, got {source}")
        masks |= mask
        name, all_outputs = source[0], False
    _check_masks(where, masks, layers, chain)
    if layers:
        raise ValueError(f"{where}: expected a chain of layers, got {short_repr(min(layers))} next to it")
    return chain


def _by_name(where: str, layers: Any) -> dict[str, dict[str, Any]]:
    """The descriptions of the layers by name."""
    named = {}
    for layer in layers if isinstance(layers, list) else []:
        name = layer.get("name") if isinstance(layer, dict) else None
        if not isinstance(name, str) or name in named or not isinstance(layer.get("config"), dict):
            raise ValueError(f"{where}: expected layers with different names, got {short_repr(layer)}")
        named[name] = layer
    return named


def _references(where: str, value: Any) -> list[_Reference]:
    """References as Keras writes them: one, or a list of them."""
    if isinstance(value, list) and value and not isinstance(value[0], list):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of layers, got {short_repr(value)}")
    return [_reference(where, item) for item in value]


def _reference(where: str, value: Any) -> _Reference:
    if not isinstance(value, list) or len(value) not in (3, 4) or not isinstance(value[0], str):
        raise ValueError(f"{where}: expected a layer, a call and an output, got {short_repr(value)}")
    return value[0], integer(where, value[2], 0)


def _tensor(where: str, value: Any) -> _Reference:
    """The reference in an argument of a call."""
    if not isinstance(value, dict) or value.get("class_name") != "__keras_tensor__":
        raise ValueError(f"{where}: expected a tensor, got {short_repr(value)}")
    return _reference(where, class_and_config(where, value)[1].get("keras_history"))


def _call(where: str, layer: dict[str, Any]) -> tuple[_Reference, set[str]]:
    """The input of the only call of a layer, and the names of the masks that it is given."""
    calls = layer.get("inbound_nodes")
    if not isinstance(calls, list) or len(calls) != 1:
        raise ValueError(f"{where}: expected a layer that is called once, got {short_repr(calls)}")
    (call,) = calls
    if isinstance(call, list):
        # As Keras 2 writes it: [[layer, call, output, arguments]].
        if len(call) != 1:
            raise ValueError(f"{where}: expected one input, got {len(call)}")
        arguments = call[0][3] if isinstance(call[0], list) and len(call[0]) == 4 else {}
        source = _reference(where, call[0])
    else:
        inputs, arguments = (call.get(key) for key in ("args", "kwargs")) if isinstance(call, dict) else (None, None)
        if not isinstance(inputs, list) or len(inputs) != 1:
            raise ValueError(f"{where}: expected one input, got {short_repr(inputs)}")
        source = _tensor(where, inputs[0])
    masks = set()
    for name, value in (arguments if isinstance(arguments, dict) else {"arguments": arguments}).items():
        if name == "mask" and value is not None:
            masks.add(_tensor(f"{where}: mask", value)[0])
        # A model passes its own `training` on whatever stands here.
        elif value is not None and not (name == "training" and value is False):
            raise ValueError(f"{where}: {name}: expected no argument but the input, got {short_repr(value)}")
    return source, masks


def _check_masks(where: str, masks: set[str], rest: dict[str, dict[str, Any]], chain: list[dict[str, Any]]) -> None:
    """Take the masks that Keras computes by itself out of ``rest``; refuse others.

    It writes the mask of a Masking layer, or of an Embedding with ``mask_zero``, as operations next to the chain.
    """
    own = []
    for layer in chain[1:]:
        value = _padding(layer)
        if value is not None:
            source, _ = _call(f"{where}: layer {layer['name']!r}", layer)
            own.append((layer["class_name"], source, value))
    for name in masks:
        if _comparison(name, rest) not in own:
            raise ValueError(
                f"{where}: expected no mask but that of Masking or Embedding(mask_zero=True), got {name!r}"
            )


def _padding(layer: dict[str, Any]) -> Any:
    """The value that a layer masks; None for a layer that makes no mask."""
    if layer.get("class_name") == "Masking":
        return layer["config"].get("mask_value")
    return 0 if layer.get("class_name") == "Embedding" and layer["config"].get("mask_zero") else None


def _comparison(name: str, rest: dict[str, dict[str, Any]]) -> tuple[str, _Reference, Any] | None:
    """The class of the layer whose mask the operation of that name is, its input and the masked value; else None.

    ``not_equal(input, value)`` is an Embedding's mask, ``any`` of that over the features a Masking layer's.
    """
    layer, class_name = rest.pop(name, {}), "Embedding"
    match layer:
        case {"class_name": "Any", "config": {"axis": -1, "keepdims": False}, "inbound_nodes": [{"args": [inner]}]}:
            layer, class_name = rest.pop(_tensor("mask", inner)[0], {}), "Masking"
    match layer:
        case {"class_name": "NotEqual", "inbound_nodes": [{"args": [source, value]}]}:
            return class_name, _tensor("mask", source), value
    return None


def _without_states(layer: dict[str, Any]) -> dict[str, Any]:
    """The description of a layer that returns its output only."""
    config = dict(layer["config"])
    if config.get("return_state"):
        config["return_state"] = False
    for part in ("layer", "backward_layer"):
        inside = config.get(part)
        if (
            layer.get("class_name") == "Bidirectional"
            and isinstance(inside, dict)
            and isinstance(inside.get("config"), dict)
        ):
            config[part] = {**inside, "config": {**inside["config"], "return_state": False}}
    return {**layer, "config": config}
