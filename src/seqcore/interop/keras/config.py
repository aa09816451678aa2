"""Keras's descriptions of models as layers, and back: the ``config.json`` of a file.

A description is ``{"module", "class_name", "config", "registered_name"}``; that of Keras 2 has the two in the middle.
"""

from __future__ import annotations

from typing import Any

from ... import layers
from ..._registry import class_and_config
from ..._validation import MALFORMED, default_only, one_line, short_repr
from ...layers import Layer
from ...layers.rnn.base import RNNLayer
from ...models.model import Model
from ...models.sequential import Sequential
from .chain import chain_of

# The layers that both sides have, with the same arguments.
_LAYERS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        layers.Activation,
        layers.Bidirectional,
        layers.Conv1D,
        layers.Dense,
        layers.Dropout,
        layers.Embedding,
        layers.Flatten,
        layers.GRU,
        layers.GlobalAveragePooling1D,
        layers.GlobalMaxPooling1D,
        layers.InputLayer,
        layers.LSTM,
        layers.LayerNormalization,
        layers.Masking,
        layers.ReLU,
        layers.SimpleRNN,
        layers.Softmax,
        layers.TimeDistributed,
    )
}
_OF_CELL: dict[str, Any] = {"GRUCell": layers.GRU, "LSTMCell": layers.LSTM, "SimpleRNNCell": layers.SimpleRNN}
# The layers for Keras's models next door, as Keras registers them.
_REGISTERED = ("seqcore>GRU", "seqcore>LSTM", "seqcore>SimpleRNN")
_MODELS = ("Sequential", "Functional", "Model")
# Arguments of Keras 2 that are no arguments here: the value that they must have, and why.
_OLD: dict[str, tuple[Any, str]] = {
    "time_major": (False, "sequences are (batch, time, features)"),
    "ragged": ((False, None), "rows are padded"),
    "sparse": ((False, None), "arrays are dense"),
    "rms_scaling": (False, "the mean is subtracted"),
}
_OF_FUNCTIONS = (None, "builtins", "keras.activations", "keras.losses", "keras.metrics")
_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")


def builtin(where: str, described: Any) -> tuple[str, dict[str, Any]]:
    """The class name and the config of an object of Keras itself.

    Raises:
        ValueError: for anything else; the message begins with ``where``. Nothing is imported or run.
    """
    if isinstance(described, dict) and described.get("class_name") in ("__lambda__", "Lambda"):
        raise ValueError(f"{where}: expected a layer, got a lambda, which is code; files that hold code are not read")
    class_name, config = class_and_config(where, described)
    module, registered = described.get("module"), described.get("registered_name")
    if class_name in _REGISTERED or (registered in _REGISTERED and module == "seqcore.interop.keras.layers"):
        return class_name.removeprefix("seqcore>"), config
    own = module is None or module == "keras" or (isinstance(module, str) and module.startswith("keras."))
    if not own or (registered is not None and (not isinstance(registered, str) or ">" in registered)):
        origin = registered if own else f"{module}.{class_name}"
        raise ValueError(
            f"{where}: expected a class of Keras itself, got {short_repr(origin)}; custom objects are not read"
        )
    return class_name, config


# --- reading ----------------------------------------------------------------------------------------------------------


class ModelReader:
    """Makes the layers that Keras's descriptions name.

    Args:
        version: of the Keras that wrote the file.

    Attributes:
        is_old: True for a file of Keras 1 or 2.
        class_names: Keras's class of a layer or model, by its ``id``, where it is not called like ours.
    """

    def __init__(self, version: str | None) -> None:
        self.is_old = version is not None and version.split(".")[0] in ("1", "2")
        self.class_names: dict[int, str] = {}
        # Alive, so that no other layer gets the id of one of them.
        self._named: list[Layer] = []

    def model(self, described: Any, where: str = "model") -> Sequential:
        """The model, built and with zeros as weights, of the description of a Sequential or a functional one.

        Raises:
            ValueError: for a model that is no chain of layers, and naming a layer or argument that is not here.
        """
        class_name, config = builtin(where, described)
        if class_name not in _MODELS:
            raise ValueError(f"{where}: expected a Sequential or functional model, got the class {class_name!r}")
        name = config.get("name")
        chain = config.get("layers") if class_name == "Sequential" else chain_of(where, config)
        if not isinstance(chain, list) or not isinstance(name, str):
            raise ValueError(f"{where}: expected its name and a list of layers, got {short_repr(config)}")
        model = Sequential([self._layer(item) for item in chain], name=name)
        shape = config.get("build_input_shape")
        if not model.built and shape is not None:
            model.build(shape)
        if not model.built:
            raise ValueError(f"{where}: expected a model with the shape of its input, got one that is not built")
        check_masks(model.layer_chain())
        if class_name != "Sequential":
            self._remember(model, "Functional")
        return model

    def _layer(self, described: Any) -> Any:
        """The layer of a description."""
        arguments = described.get("config") if isinstance(described, dict) else None
        name = arguments.get("name") if isinstance(arguments, dict) else None
        where = f"layer {short_repr(name)}"
        class_name, config = builtin(where, described)
        if not isinstance(name, str) or not name:
            raise ValueError(f"{where}: expected a name, got {short_repr(name)}")
        if class_name in _MODELS:
            return self.model(described, where)
        if class_name == "RNN":
            layer = self._rnn(where, config)
        elif class_name in _LAYERS:
            layer = self._made(f"{where} ({class_name})", _LAYERS[class_name], config)
        else:
            known = ", ".join(sorted([*_LAYERS, "RNN"]))
            raise ValueError(f"{where}: got the class {short_repr(class_name)}, expected one of {known}")
        return layer

    def _rnn(self, where: str, config: dict[str, Any]) -> Layer:
        """The layer of an RNN around one cell."""
        class_name, cell = builtin(f"{where}: cell", config.pop("cell", None))
        if class_name not in _OF_CELL:
            raise ValueError(f"{where}: cell: expected one of {', '.join(_OF_CELL)}, got {class_name!r}")
        cell.pop("name", None)
        policies = [self._argument("dtype", part.get("dtype")) for part in (config, cell)]
        if policies[0] != policies[1]:
            raise ValueError(f"{where}: cell: expected the dtype {policies[0]!r} of the layer, got {policies[1]!r}")
        if cell.pop("trainable", True) is False:
            config["trainable"] = False
        layer: Layer = self._made(f"{where} (RNN)", _OF_CELL[class_name], cell | config)
        self._remember(layer, "RNN")
        return layer

    def _remember(self, layer: Layer, class_name: str) -> None:
        self.class_names[id(layer)] = class_name
        self._named.append(layer)

    def _made(self, where: str, cls: Any, config: dict[str, Any]) -> Any:
        try:
            if cls is layers.InputLayer and "batch_input_shape" in config:
                config["batch_shape"] = config.pop("batch_input_shape")
            if cls is not layers.InputLayer:
                for name, (value, reason) in _OLD.items():
                    default_only(name, config.pop(name, False), value, reason)
            if self.is_old:
                self._check_old(cls, config)
            axis = config.get("axis")
            if isinstance(axis, list) and len(axis) == 1:
                config["axis"] = axis[0]
            arguments = {name: self._argument(name, value) for name, value in config.items()}
            if cls is layers.Bidirectional and isinstance(arguments.get("layer"), Layer):
                # The pattern's own name, from which those of both layers are made again.
                arguments["layer"].name = arguments["layer"].name.removeprefix("forward_")
            layer = cls(**arguments)
        except MALFORMED as error:
            raise ValueError(f"{where}: {one_line(error)}") from None
        if isinstance(layer, layers.Bidirectional):
            check_order(layer)
        return layer

    def _check_old(self, cls: Any, config: dict[str, Any]) -> None:
        """Refuse what meant something else in Keras 2."""
        if cls is layers.GRU:
            config.setdefault("reset_after", False)
        for name in ("activation", "recurrent_activation"):
            if config.get(name) == "hard_sigmoid":
                raise ValueError(f"{name}: expected a function that Keras 2 and 3 share, got 'hard_sigmoid'")

    def _argument(self, name: str, value: Any) -> Any:
        """An argument of a layer from its form in a file."""
        if name in ("layer", "backward_layer"):
            return None if value is None else self._layer(value)
        if not isinstance(value, dict):
            return value
        if name == "dtype":
            class_name, config = builtin(name, value)
            if class_name not in _POLICIES:
                raise ValueError(f"dtype: expected a type such as 'float32', got the policy {class_name!r}")
            return config.get("name")
        if name.endswith("_initializer"):
            class_name, config = builtin(name, value)
            if self.is_old:
                config.pop("dtype", None)
            return {"class_name": class_name, "config": {key: _plain(item) for key, item in config.items()}}
        if name.endswith("activation"):
            return function_name(name, value)
        return value


def function_name(where: str, described: Any) -> Any:
    """The name of a function of Keras itself from its description; any other value as it is."""
    if not isinstance(described, dict) or described.get("class_name") != "function":
        return described
    name, module = described.get("config"), described.get("module")
    if not isinstance(name, str) or module not in _OF_FUNCTIONS:
        raise ValueError(f"{where}: expected a function of Keras itself, got {short_repr(name)}")
    return name


def _plain(value: Any) -> Any:
    """A number or a list from the form of an array in a file."""
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        return class_and_config("value", value)[1].get("value")
    return value


# --- writing ----------------------------------------------------------------------------------------------------------


def described(module: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The description of an object of Keras."""
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def model_to_keras(model: Model) -> dict[str, Any]:
    """The description of a built model, which must be a Sequential, as Keras reads it.

    Raises:
        ValueError: naming a layer that Keras does not have or that would give other numbers there.
    """
    if type(model) is not Sequential:
        raise ValueError(f"model: expected a Sequential, got the {type(model).__name__} {model.name!r}")
    check_masks(model.layer_chain())
    front = model.get_config()["layers"][0]
    if front["class_name"] != "InputLayer":
        first = model.layer_chain()[0]
        dtype = "int32" if isinstance(first, layers.Embedding) else first.dtype
        shape = model.get_build_description()["shape"]
        front = {"config": layers.InputLayer(batch_shape=shape, dtype=dtype, name=f"input_{model.name}").get_config()}
    shape = front["config"]["batch_shape"]
    stack = [described("keras.layers", "InputLayer", front["config"])]
    after: Any = tuple(shape)
    for layer in model.layers:
        stack.append(_layer_to_keras(layer, after))
        after = layer.compute_output_shape(after)
    config = {"name": model.name, "trainable": model.trainable, "layers": stack, "build_input_shape": shape}
    return described("keras", "Sequential", config) | {"build_config": {"input_shape": shape}}


def _layer_to_keras(layer: Layer, shape: Any) -> dict[str, Any]:
    if isinstance(layer, Sequential):
        return model_to_keras(layer)
    where = f"layer {layer.name!r}"
    if _LAYERS.get(type(layer).__name__) is not type(layer):
        known = ", ".join(sorted(_LAYERS))
        raise ValueError(f"{where}: got a {type(layer).__name__}, expected a layer that Keras has too: {known}")
    if "/" in layer.name:
        raise ValueError(f"{where}: expected a name without '/', which Keras does not take")
    if getattr(layer, "stateful", False) and shape[0] is None:
        raise ValueError(f"{where}: expected an Input with batch_size=, which Keras needs for stateful=True")
    config = layer.get_config()
    config.pop("batch_input_shape", None)
    if isinstance(layer, layers.Embedding) and layer.padding_idx is not None:
        raise ValueError(f"{where}: padding_idx: expected None, since Keras trains every row, got {layer.padding_idx}")
    if isinstance(layer, layers.Conv1D):
        if not isinstance(layer.padding, str):
            raise ValueError(f"{where}: padding: expected a word, which Keras takes, got {layer.padding}")
        if layer.strides != (1,) and layer.dilation_rate != (1,):
            raise ValueError(
                f"{where}: expected strides or dilation_rate, which Keras does not take together, got both"
            )
    if isinstance(layer, layers.Bidirectional):
        check_order(layer)
        config["layer"] = _layer_to_keras(layer.forward_layer, shape)
        config["backward_layer"] = _layer_to_keras(layer.backward_layer, shape)
    if isinstance(layer, layers.TimeDistributed):
        config["layer"] = _layer_to_keras(layer.layer, (shape[0], *shape[2:]))
    for name, value in config.items():
        if name.endswith("_initializer"):
            config[name] = described("keras.initializers", **value)
    build = {"build_config": {"input_shape": list(shape)}} if layer.weights else {}
    return described("keras.layers", type(layer).__name__, config) | build


# --- numbers that differ ----------------------------------------------------------------------------------------------


def check_masks(chain: list[Layer]) -> None:
    """Refuse layers that treat a mask in another way than Keras's.

    Raises:
        ValueError: for a maximum or a Softmax of what may be masked, and where masked steps come in reverse order.
    """
    masked = turned = False
    for layer in chain:
        if masked and isinstance(layer, (layers.GlobalMaxPooling1D, layers.Softmax)):
            raise ValueError(
                f"layer {layer.name!r}: expected no mask before a {type(layer).__name__}, got one; Keras and seqcore "
                "differ there"
            )
        if turned and isinstance(layer, (RNNLayer, layers.Bidirectional, layers.GlobalAveragePooling1D)):
            raise ValueError(
                f"layer {layer.name!r}: expected no mask of steps in reverse order (go_backwards), got one; Keras does "
                "not turn the mask around, seqcore does"
            )
        if isinstance(layer, layers.Masking) or (isinstance(layer, layers.Embedding) and layer.mask_zero):
            # Of the steps as they now are.
            masked, turned = True, False
        elif not layer.supports_masking or not layer._keeps_time():
            masked = turned = False
        turned ^= masked and isinstance(layer, RNNLayer) and layer.go_backwards


def check_order(layer: layers.Bidirectional) -> None:
    """Refuse a Bidirectional whose first layer walks backwards: Keras would return its sequence in that order."""
    if layer.return_sequences and layer.forward_layer.go_backwards:
        raise ValueError(
            f"layer {layer.name!r}: expected go_backwards=False of layer with return_sequences=True, got True"
        )
