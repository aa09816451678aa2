"""Keras's LSTM, GRU and SimpleRNN with the time loop in seqcore's core, for Keras's backends torch, TensorFlow and JAX.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import keras

from ...ops.activations import FUSED_ACTIVATIONS
from .recurrent_call import INPUTS, RecurrentCall

_BACKENDS = ("torch", "tensorflow", "jax")
if keras.config.backend() not in _BACKENDS:
    raise ImportError(
        f"the layers of seqcore.interop.keras need one of Keras's backends {', '.join(_BACKENDS)}, got "
        f"{keras.config.backend()!r}"
    )
_ACTIVATIONS = {keras.activations.get(name): name for name in FUSED_ACTIVATIONS}
_run = importlib.import_module(f".on_{keras.config.backend()}", __package__).run


class _CoreLoop:
    """The parts that the three layers share; it stands before Keras's own class among the bases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layer: Any = self
        for argument in ("activation", "recurrent_activation"):
            _activation_name(layer, argument)
        if getattr(layer, "use_cudnn", False) is True:
            raise ValueError(f"use_cudnn: expected 'auto' or False for the layer {layer.name!r} on the CPU, got True")
        # Keras's Bidirectional calls its own fused loops otherwise.
        layer.use_cudnn = False
        # TensorFlow's XLA cannot call Python.
        layer.supports_jit = keras.config.backend() != "tensorflow"
        # One dropout mask for all gates.
        layer.cell.dropout_mask_count = None

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        """Keras's hook for the time loop: the last output, all outputs and the final states.

        ``call`` uses one of the two outputs; both are that one here.
        """
        layer: Any = self
        cell = layer.cell
        dtype = "float64" if layer.compute_dtype == "float64" else "float32"
        _check_sequences(layer, sequences)
        states = _checked_states(layer, initial_state, sequences.shape[0])
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        tensors = {
            "x": sequences,
            "kernel": cell.kernel,
            "recurrent_kernel": cell.recurrent_kernel,
            "bias": cell.bias,
            **dict(zip("hc", states)),
        }
        if training and 0 < cell.dropout < 1:
            tensors["input_dropout"] = cell.get_dropout_mask(sequences[:, 0, :])
        if training and 0 < cell.recurrent_dropout < 1:
            tensors["state_dropout"] = cell.get_recurrent_dropout_mask(states[0])
        tensors = {name: keras.ops.cast(tensor, dtype) for name, tensor in tensors.items() if tensor is not None}
        if mask is not None:
            steps = sequences.shape[1]
            if len(mask.shape) != 2 or None not in (steps, mask.shape[1]) and steps != mask.shape[1]:
                raise ValueError(f"mask: expected the shape (batch, {steps}), got {tuple(mask.shape)}")
            tensors["mask"] = keras.ops.cast(mask, "bool")
        names = tuple(name for name in INPUTS if name in tensors)
        call = RecurrentCall(
            _core_cell(cell),
            _activation_name(layer, "activation"),
            _activation_name(layer, "recurrent_activation"),
            layer.go_backwards,
            layer.return_sequences,
            layer.return_state or layer.stateful,
            layer.zero_output_for_mask,
            names,
        )
        output, *finals = _run(call, [tensors[name] for name in names])
        return output, output, finals


def _check_sequences(layer: Any, sequences: Any) -> None:
    """Refuse an empty batch and other features than the weights have, before the core names its own arguments."""
    batch, _, features = sequences.shape
    if batch == 0:
        raise ValueError(f"sequences: expected at least one for {layer.name!r}, got shape {tuple(sequences.shape)}")
    expected = layer.cell.kernel.shape[0]
    if features not in (None, expected):
        raise ValueError(f"sequences: expected {expected} features for {layer.name!r}, got {features}")


def _checked_states(layer: Any, states: Any, batch: int | None) -> Any:
    """The initial states as a list; before the backend's own machinery runs into a wrong one."""
    states = states if isinstance(states, (list, tuple)) else [states]
    expected, count = (batch, layer.units), len(layer.state_size)
    for state in states:
        shape = tuple(state.shape)
        if len(states) != count or any(None not in pair and pair[0] != pair[1] for pair in zip(shape, expected)):
            got = f"{len(states)} of shape {shape}"
            raise ValueError(f"initial_state: expected {count} of shape {expected} for {layer.name!r}, got {got}")
    return states


def _core_cell(cell: Any) -> str:
    if isinstance(cell, keras.layers.GRUCell):
        return "gru" if cell.reset_after else "gru_reset_before"
    return "lstm" if isinstance(cell, keras.layers.LSTMCell) else "rnn"


def _activation_name(layer: Any, argument: str) -> str:
    """The core's name of an activation of a layer; "sigmoid" where it has no such argument."""
    function = getattr(layer, argument, keras.activations.sigmoid)
    if function not in _ACTIVATIONS:
        raise ValueError(
            f"{argument}: expected one of {', '.join(FUSED_ACTIVATIONS)} for the layer {layer.name!r}, got "
            f"{getattr(function, '__name__', function)!r}; keras.layers.{type(layer).__name__} has all"
        )
    return _ACTIVATIONS[function]


@keras.saving.register_keras_serializable(package="seqcore")
class LSTM(_CoreLoop, keras.layers.LSTM):  # type: ignore[misc]
    """Keras's LSTM with the time loop, forward and backward, in seqcore's core.

    Arguments, weights, names, call and files are those of ``keras.layers.LSTM``, with these differences:

    - ``activation`` and ``recurrent_activation``: "linear", "tanh", "relu", "sigmoid" or "hard_sigmoid".
    - ``recurrent_dropout``, and ``dropout`` beside it: one mask for all gates, where Keras draws one for each.
    - ``unroll``, ``implementation``: without effect.
    - ``use_cudnn``: "auto" or False, without effect.
    - In half precision it computes in float32 and returns half precision.

    Raises:
        ValueError: for another activation, and for ``use_cudnn=True``.

    >>> x = keras.random.normal((2, 6, 3), seed=0)
    >>> ours, theirs = LSTM(4), keras.layers.LSTM(4)
    >>> ours.build(x.shape), theirs.build(x.shape)
    (None, None)
    >>> theirs.set_weights(ours.get_weights())
    >>> bool(keras.ops.max(keras.ops.abs(ours(x) - theirs(x))) < 1e-6)
    True
    """

    __signature__ = inspect.signature(keras.layers.LSTM)


@keras.saving.register_keras_serializable(package="seqcore")
class GRU(_CoreLoop, keras.layers.GRU):  # type: ignore[misc]
    """Keras's GRU with the time loop in seqcore's core, in both forms of ``reset_after``.

    Its differences from ``keras.layers.GRU`` are those of :class:`LSTM`.

    >>> GRU(4, reset_after=False)(keras.ops.ones((2, 6, 3))).shape[1]
    4
    """

    __signature__ = inspect.signature(keras.layers.GRU)


@keras.saving.register_keras_serializable(package="seqcore")
class SimpleRNN(_CoreLoop, keras.layers.SimpleRNN):  # type: ignore[misc]
    """Keras's SimpleRNN with the time loop in seqcore's core.

    Its differences from ``keras.layers.SimpleRNN`` are those of :class:`LSTM`, but its dropout is Keras's own.

    >>> SimpleRNN(4)(keras.ops.ones((2, 6, 3))).shape[1]
    4
    """

    __signature__ = inspect.signature(keras.layers.SimpleRNN)


def to_keras_layers(model: Any) -> Any:
    """A copy of a model or layer in which Keras's own layers stand for those of this module.

    Args:
        model: a Keras model or layer, with its weights; models and wrappers inside it are copied too.

    Returns:
        A new model with the same weights, compiled alike with a new optimizer, if the model was compiled. Its files
        need no seqcore.

    Raises:
        TypeError: for anything but a model or layer of Keras.
        ValueError: for a model that is not built yet.

    >>> model = keras.Sequential([keras.Input((6, 3)), GRU(4)])
    >>> [type(layer).__module__.partition(".")[0] for layer in to_keras_layers(model).layers]
    ['keras']
    """
    return _copy(model, to_keras=True)


def to_seqcore_layers(model: Any) -> Any:
    """A copy of a model or layer in which this module's layers stand for Keras's LSTM, GRU and SimpleRNN.

    The reverse of :func:`to_keras_layers`, with the same argument and result.

    Raises:
        TypeError: for anything but a model or layer of Keras.
        ValueError: for a model that is not built yet, and for a layer with an argument that seqcore's lacks.

    >>> model = keras.Sequential([keras.Input((6, 3)), keras.layers.GRU(4)])
    >>> [type(layer) is GRU for layer in to_seqcore_layers(model).layers]
    [True]
    """
    return _copy(model, to_keras=False)


def _copy(model: Any, to_keras: bool) -> Any:
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model: expected a model or layer of Keras, got {type(model).__name__}")
    if not model.built:
        raise ValueError(f"model: expected a model with weights, got {model.name!r}, which is not built yet")
    copy = keras.saving.deserialize_keras_object(_with_classes(keras.saving.serialize_keras_object(model), to_keras))
    copy.set_weights(model.get_weights())
    return copy


def _with_classes(config: Any, to_keras: bool) -> Any:
    """A config in which the recurrent layers, however deep, have the classes of Keras or of this module."""
    if isinstance(config, (list, tuple)):
        return type(config)(_with_classes(item, to_keras) for item in config)
    if not isinstance(config, dict):
        return config
    config = {key: _with_classes(value, to_keras) for key, value in config.items()}
    if config.get("class_name") in ("LSTM", "GRU", "SimpleRNN"):
        ours = {"module": __name__, "registered_name": f"seqcore>{config['class_name']}"}
        keras_own = {"module": "keras.layers", "registered_name": None}
        if {key: config.get(key) for key in ours} == (ours if to_keras else keras_own):
            config |= keras_own if to_keras else ours
    return config
