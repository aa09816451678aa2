"""Models: Model (subclass it with a ``call``), Sequential, and streams of one time step at a time.

B: batch, T: time steps, D: features.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core, io
from .autograd import Tensor, Variable
from .io import load_model
from .layers import InputLayer
from .layers.base import Layer
from .layers.registry import deserialize, register, serialize
from .steps import structure
from .training import Trainable

__all__ = ["Model", "Sequential", "Stream", "load_model", "register"]

Array = NDArray[Any]


class _Depth(threading.local):
    """How many calls of models are running inside each other in this thread."""

    value = 0


_depth = _Depth()


class _Outermost:
    """Context of a model's call; the outermost one lets cells inside draw new dropout masks."""

    __slots__ = ("_model",)

    def __init__(self, model: Model) -> None:
        self._model = model

    def __enter__(self) -> None:
        if not _depth.value:
            self._model.reset_dropout_masks()
        _depth.value += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _depth.value -= 1


class _Hidden:
    """Holds what must not be searched for layers and variables."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Model(Trainable):
    """A layer that can be trained, saved and streamed. Subclasses make layers in ``__init__`` and use them in ``call``.

    Args:
        name: for summaries and files.
        trainable, dtype: see ``Layer``.

    For files a subclass is registered with ``models.register``; its arguments are noted when it is made, and a
    ``get_config`` of its own may replace them. The first call builds it.

    >>> from seqcore import layers
    >>> class Twice(Model):
    ...     def __init__(self, units):
    ...         super().__init__()
    ...         self.cell, self.head = layers.LSTM(units), layers.Dense(1)
    ...     def call(self, inputs, training=False):
    ...         return self.head(self.cell(inputs, training=training))
    >>> Twice(3)(np.zeros((2, 5, 4))).shape
    (2, 1)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_arguments", _Hidden((args, kwargs)))
        object.__setattr__(self, "_step", None)
        return self

    def __init__(
        self,
        *args: Any,
        name: str | None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
        **unknown: Any,
    ) -> None:
        if args or {"inputs", "outputs"} & set(unknown):
            raise ValueError(
                f"{type(self).__name__}: expected no inputs and outputs, since the functional API is not supported; "
                "use Sequential([...]) or a subclass with call"
            )
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        self._arguments: _Hidden
        self._inputs = _Hidden(None)
        self._extra = _Hidden({})

    # ------------------------------------------------------------ structure

    @property
    def layers(self) -> list[Layer]:
        """The layers held directly."""
        return self._sublayers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of a name or a position.

        Raises:
            ValueError: if there is none, or both or neither are given.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: expected either name or index")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"index: expected 0...{len(layers) - 1} in model {self.name!r}, got {index}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in layers)
        raise ValueError(f"name: expected one of {known} in model {self.name!r}, got {name!r}")

    @property
    def extra(self) -> dict[str, Any]:
        """What was saved with the model by ``save(path, **extra)``: a vocabulary, preprocessing, ..."""
        found: dict[str, Any] = self._extra.value
        return found

    @extra.setter
    def extra(self, value: dict[str, Any]) -> None:
        self._extra = _Hidden(dict(value))

    # ------------------------------------------------------------ building and calling

    def _outermost(self) -> _Outermost:
        return _Outermost(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs ``call``; see ``Layer``. A failing first call leaves the model unbuilt."""
        if self.built:
            with self._outermost():
                return super().__call__(*args, **kwargs)
        unbuilt = _unbuilt([self, *self.layers_inside()])
        try:
            with self._outermost():
                y = super().__call__(*args, **kwargs)
        except BaseException:
            _unbuild(unbuilt)
            self._inputs = _Hidden(None)
            raise
        self._inputs = _Hidden([_describe(one) for one in args])
        return y

    def _build(self, x: Any) -> None:
        if type(self).build is not Model.build:
            self._inputs = _Hidden("building")
            super()._build(x)
        self.built = True

    def build(self, input_shape: Any) -> None:
        """Makes the weights for inputs of ``input_shape`` (B, ...), None standing for any size, by a call on zeros."""
        if self.built or self._inputs.value == "building":
            self.built = True
            return
        self._call_with_own_states([_zeros(input_shape)])

    def _call_with_own_states(self, inputs: Sequence[Any]) -> None:
        with self.state_scope():
            self(*inputs)

    def _build_for(self, x: Any) -> None:
        """Builds for one step's data, without a trace in the states."""
        # All rows: a model may hold states of a fixed batch size.
        self._call_with_own_states([x])

    def _build_config(self) -> Any:
        """What :meth:`_build_from_config` needs to build an equal model; JSON-able."""
        return {"inputs": self._inputs.value}

    def _build_from_config(self, config: Any) -> None:
        if not self.built:
            self._call_with_own_states([_from_description(one) for one in config["inputs"]])

    # ------------------------------------------------------------ summary

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints the layers with output shapes and numbers of weights, line by line.

        Args:
            print_fn: called with each line; ``print`` by default.

        >>> from seqcore import layers
        >>> Sequential([layers.Input((None, 3)), layers.LSTM(4, name="cell")], name="small").summary()
        Model: small
        Layer (type)  Output shape  Weights
        -----------------------------------
        cell (LSTM)   (None, 4)         128
        -----------------------------------
        Weights: 128 (512 bytes), trainable 128, frozen 0
        """
        show = print if print_fn is None else print_fn
        rows = [("Layer (type)", "Output shape", "Weights")]
        for layer, shape in self._layer_shapes():
            count = f"{layer.count_params():,}" if layer.built else "not built"
            rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(shape), count))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        line = "-" * (sum(widths) + 4)
        show(f"Model: {self.name}")
        for number, row in enumerate(rows):
            show(
                f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  "
                + (f"{row[2]:>{widths[2]}}" if number else row[2]).rstrip()
            )
            if number == 0:
                show(line)
        show(line)
        weights = self.weights
        total, free = sum(one.size for one in weights), sum(one.size for one in weights if one.trainable)
        size = sum(one._array.nbytes for one in weights)
        show(f"Weights: {total:,} ({size:,} bytes), trainable {free:,}, frozen {total - free:,}")

    def _layer_shapes(self) -> list[tuple[Layer, Any]]:
        return [(layer, None) for layer in self.layers]

    # ------------------------------------------------------------ config and files

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copy would share nothing with its optimizer and its arenas, and learn nothing without a word.
        raise TypeError(f"model {self.name!r}: a model cannot be copied or pickled; use save and load_model")

    def get_config(self) -> dict[str, Any]:
        """The arguments the model was made with, by name."""
        args, kwargs = self._arguments.value
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        if len(args) > len(names):
            raise ValueError(f"get_config: {type(self).__name__} takes *args; give it a get_config of its own")
        return {**dict(zip(names, args)), **kwargs}

    def save(self, path: io.Path, overwrite: bool = True, **extra: Any) -> None:
        """Writes architecture, weights and compile settings, and ``extra``; see ``io.save_model``.

        Args:
            path: the file.
            overwrite: replace a file that is there.
            **extra: a vocabulary, preprocessing, ...; by default what :attr:`extra` holds.

        Raises:
            FileExistsError: without ``overwrite``, if the file is there.
            OSError: if it cannot be written; an old file is then untouched.
        """
        if not overwrite and os.path.exists(path):
            raise FileExistsError(f"path: expected no file at {path}, got one; pass overwrite=True to replace it")
        io.save_model(self, path, **{**self.extra, **extra})

    def save_weights(self, path: io.Path) -> None:
        """Writes the weights alone; see ``io.save_weights``."""
        io.save_weights(self, path)

    def load_weights(self, path: io.Path) -> None:
        """Reads weights into the built model; see ``io.load_weights``."""
        io.load_weights(self, path)

    def save_checkpoint(self, path: io.Path, position: Any = None) -> None:
        """Writes all that an exact resume needs; see ``io.save_checkpoint``."""
        io.save_checkpoint(path, self, position)

    def load_checkpoint(self, path: io.Path) -> dict[str, Any]:
        """Goes back to a checkpoint and returns its position; see ``io.load_checkpoint``."""
        return io.load_checkpoint(path, self)

    # ------------------------------------------------------------ streaming

    def stream(self, batch_size: int = 1) -> Stream:
        """The model for one time step at a time; only a Sequential can be streamed.

        Args:
            batch_size: B, number of sequences advanced together.

        Raises:
            ValueError: naming a layer that cannot run step by step.
        """
        raise ValueError(
            f"stream: expected a Sequential, got model {self.name!r}, a {type(self).__name__} with its own call"
        )


@register()
class Sequential(Model):
    """Layers one after the other.

    Args:
        layers: the layers in order; an ``Input`` first, or ``input_shape=`` of the first layer, builds the model at
            once, otherwise the first call does.
        name: for summaries and files.

    Call: ``model(x, training=None, mask=None, lengths=None)``.

    Raises:
        ValueError: for two layers of one name, TypeError for what is no layer.

    >>> from seqcore import layers
    >>> model = Sequential([layers.Embedding(10, 4), layers.LSTM(3)])
    >>> model([[1, 2, 3]]).shape
    (1, 3)
    """

    supports_masking = True

    def __init__(
        self, layers: Iterable[Layer] | Layer | None = None, name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name)
        self._stack: list[Layer] = []
        self._input_layer = _Hidden(None)
        self._shape: Any = None
        self._known = _Hidden(None)
        for layer in [layers] if isinstance(layers, Layer) else layers or []:
            self.add(layer)
        if not trainable:
            self.trainable = False

    # ------------------------------------------------------------ structure

    def add(self, layer: Layer) -> None:
        """Puts ``layer`` at the end.

        Raises:
            TypeError: for what is no layer.
            ValueError: for a name that is there already and for an Input not at the front.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        if isinstance(layer, InputLayer):
            if self._stack or self._input_layer.value is not None:
                raise ValueError(f"layer: expected the Input {layer.name!r} at the front of model {self.name!r}")
            self._input_layer, self._shape = _Hidden(layer), layer.batch_shape
            return
        if layer is self or any(layer is one or layer.name == one.name for one in self._stack):
            raise ValueError(
                f"layer: expected a layer with a new name in model {self.name!r}, got {layer.name!r} again"
            )
        start = self._shape
        if not self._stack and start is None:
            start = layer._batch_input_shape
        after = None
        if start is not None:
            after = _build_layer(layer, start)
            if not self._stack:
                self._build_shape = start
        elif self.built:
            self.built = False
        self._stack = [*self._stack, layer]
        self._shape = after
        if after is not None:
            self.built = True
        self._changed()

    def pop(self) -> Layer:
        """Takes the last layer away and returns it."""
        if not self._stack:
            raise ValueError(f"pop: expected a layer in model {self.name!r}, got none")
        layer = self._stack[-1]
        self._stack = self._stack[:-1]
        shape = self._build_shape
        if shape is not None:
            for one in self._stack:
                shape = _output_shape(one, shape)
        self._shape = shape
        self._changed()
        return layer

    def _changed(self) -> None:
        self._known = _Hidden(None)
        structure.changes += 1

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the Input."""
        return list(self._stack)

    def _named_sublayers(self) -> list[tuple[str, Layer]]:
        if type(self) is Sequential:
            return [(f"layers.{number}", layer) for number, layer in enumerate(self._stack)]
        return super()._named_sublayers()

    def _chain(self) -> list[Layer]:
        if type(self).call is not Sequential.call or type(self).__call__ is not Sequential.__call__:
            return []
        found: list[Layer] = []
        for layer in self._stack:
            inner = layer._chain() if isinstance(layer, Sequential) else []
            found += inner or [layer]
        return found

    # What a step asks for again and again is noted once all layers are built; adding a layer forgets it.

    def _noted(self) -> tuple[list[Variable], list[Layer]] | None:
        """All weights, and the layers that keep dropout masks; None while it may still change."""
        changes, found = self._known.value or (-1, None)
        if changes != structure.changes:
            found = None
        if found is None and type(self) is Sequential and self.built:
            inside = self.layers_inside()
            if all(layer.built and (not isinstance(layer, Model) or type(layer) is Sequential) for layer in inside):
                cells = [layer for layer in inside if type(layer).reset_dropout_masks is not Layer.reset_dropout_masks]
                found = super().weights, [one for one in cells if not isinstance(one, Sequential)]
                self._known = _Hidden((structure.changes, found))
        return found

    @property
    def weights(self) -> list[Variable]:
        """All variables, layer by layer."""
        noted = self._noted()
        return super().weights if noted is None else list(noted[0])

    def reset_dropout_masks(self) -> None:
        noted = self._noted()
        for layer in self._stack if noted is None else noted[1]:
            layer.reset_dropout_masks()

    # ------------------------------------------------------------ building and calling

    def __call__(self, inputs: Any, training: bool | None = None, mask: Any = None, lengths: Any = None) -> Any:
        """Runs the layers in order.

        Args:
            inputs: (B, ...) input of the first layer.
            training: whether dropout is at work.
            mask: (B, T) bool, or
            lengths: (B,) integers, valid steps of each row; at most one of the two.
        """
        if type(self).call is not Sequential.call:
            return super().__call__(inputs, training=training, mask=mask, lengths=lengths)
        outside = _depth.value
        if not outside:
            self.reset_dropout_masks()
        _depth.value = outside + 1
        try:
            y = (
                self._run(self._stack, inputs, training, mask, lengths)
                if self.built
                else self._first_call(inputs, training, mask, lengths)
            )
        finally:
            _depth.value = outside
        return y

    def call(self, inputs: Any, training: Any = None, mask: Any = None, lengths: Any = None) -> Any:
        """The layers in order; see :meth:`__call__`."""
        return self._run(self._stack, inputs, training, mask, lengths)

    def _first_call(self, inputs: Any, training: bool | None, mask: Any, lengths: Any) -> Any:
        """Builds layer by layer on the way; a failure leaves unbuilt what was."""
        if not self._stack:
            raise ValueError(f"model: expected layers in {self.name!r}, got none")
        unbuilt = _unbuilt(self.layers_inside())
        try:
            y = self._run(self._stack, inputs, training, mask, lengths)
        except BaseException:
            _unbuild(unbuilt)
            raise
        shape = tuple(np.shape(inputs))
        self._set_built((None, *shape[1:]), (None, *y.shape[1:]) if isinstance(y, Tensor) else None)
        return y

    def _set_built(self, shape: Any, after: Any) -> None:
        self._build_shape, self._shape, self.built = shape, after, True
        self._changed()

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights of all layers for inputs of ``input_shape`` (B, ...); None stands for any size.

        >>> from seqcore import layers
        >>> model = Sequential([layers.LSTM(2)])
        >>> model.build((None, None, 3))
        >>> model.count_params()
        48
        """
        if self.built:
            return
        if input_shape is None or not self._stack:
            raise ValueError(
                f"input_shape: expected a shape for the layers of model {self.name!r}, got {input_shape!r}"
            )
        shape = tuple(input_shape)
        unbuilt = _unbuilt(self.layers_inside())
        after: Any = shape
        try:
            for layer in self._stack:
                after = _build_layer(layer, after)
        except BaseException:
            _unbuild(unbuilt)
            raise
        self._set_built(shape, after)

    def _build(self, x: Any) -> None:
        self.build(x.shape)

    def _build_config(self) -> Any:
        return {"shape": None if self._build_shape is None else list(self._build_shape)}

    def _build_from_config(self, config: Any) -> None:
        if not self.built:
            self.build(config["shape"])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for inputs of ``input_shape``."""
        for layer in self._stack:
            input_shape = _output_shape(layer, input_shape)
        return input_shape

    def _layer_shapes(self) -> list[tuple[Layer, Any]]:
        found: list[tuple[Layer, Any]] = []
        shape = self._build_shape
        for layer in self._stack:
            shape = None if shape is None else _output_shape(layer, shape)
            found.append((layer, shape))
        return found

    def get_config(self) -> dict[str, Any]:
        front = [] if self._input_layer.value is None else [self._input_layer.value]
        return {"name": self.name, "layers": [serialize(layer) for layer in [*front, *self._stack]]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls([deserialize(one) for one in config["layers"]], name=config.get("name"))

    # ------------------------------------------------------------ streaming

    def stream(self, batch_size: int = 1) -> Stream:
        """The model for one time step at a time, its weights packed once: later changes of the model are not seen.

        Args:
            batch_size: B, number of sequences advanced together.

        Returns:
            A :class:`Stream`; its steps give what the whole sequence would give to 1e-6 (of a layer without
            ``return_sequences`` the output so far).

        Raises:
            ValueError: for a model that is not built, and naming a layer that cannot run step by step
                (``Bidirectional``, ``go_backwards``, subclassed models).

        >>> from seqcore import layers
        >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(2)])
        >>> stream = model.stream()
        >>> stream.step(np.zeros((1, 3), np.float32)).shape
        (1, 2)
        """
        return Stream(self, batch_size)

    def _add_to_stream(self, stream: Any) -> None:
        if not self._chain():
            super()._add_to_stream(stream)
        for layer in self._stack:
            layer._add_to_stream(stream)


class Stream:
    """Step-by-step inference of a Sequential: ``step``, ``reset``, ``get_state``, ``set_state``.

    Args:
        model: a built Sequential of recurrent, Embedding, Dense, Dropout and activation layers of one dtype.
        batch_size: B.

    ``step(x)`` takes one time step, x (B, D) of the model's dtype or ids (B,) under an Embedding, and returns a new
    (B, outputs) array; it is the compiled core's own method, without Python in between. ``reset()`` zeroes the state,
    ``get_state()`` copies it, one tuple per recurrent layer, ``set_state(state)`` brings it back.
    """

    __slots__ = ("step", "reset", "get_state", "set_state", "batch_size")

    def __init__(self, model: Sequential, batch_size: int = 1) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"batch_size: expected a positive integer, got {batch_size!r}")
        if not model.built:
            raise ValueError(f"stream: expected model {model.name!r} to be built; call it or build it")
        kinds = {one.dtype.name for one in model.weights}
        if len(kinds) > 1:
            raise ValueError(
                f"stream: expected layers of one dtype in model {model.name!r}, got {', '.join(sorted(kinds))}"
            )
        core = _core.Stream(int(batch_size), kinds.pop() if kinds else model.dtype)
        model._add_to_stream(core)
        self.batch_size = int(batch_size)
        self.step: Callable[[Any], Array] = core.step
        self.reset: Callable[[], None] = core.reset
        self.get_state: Callable[[], list[tuple[Array, ...]]] = core.get_state
        self.set_state: Callable[[Sequence[tuple[Array, ...]]], None] = core.set_state


# ---------------------------------------------------------------- helpers


def _zeros(shape: Any) -> Any:
    """Zeros of a shape (or several), 1 standing for None."""
    if isinstance(shape, dict):
        raise TypeError("input_shape: expected a shape or a list of shapes, got a dict")
    if isinstance(shape, (list, tuple)) and shape and isinstance(shape[0], (list, tuple)):
        return [_zeros(one) for one in shape]
    return np.zeros([1 if size is None else size for size in shape], np.float32)


def _describe(value: Any) -> Any:
    """Structure, shapes and types of an argument of ``call``, for JSON."""
    if isinstance(value, (Tensor, np.ndarray)):
        return {"shape": list(value.shape), "dtype": value.dtype.name}
    if isinstance(value, (list, tuple)):
        return {"items": [_describe(one) for one in value]}
    return {"value": value if isinstance(value, (bool, int, float, str)) else None}


def _from_description(description: Any) -> Any:
    if "shape" in description:
        return np.zeros(description["shape"], description["dtype"])
    if "items" in description:
        return [_from_description(one) for one in description["items"]]
    return description["value"]


def _build_layer(layer: Layer, shape: Any) -> Any:
    """Builds ``layer`` for inputs of ``shape``, unless it is built, and returns the shape of its outputs."""
    if not layer.built:
        before = len(layer._own)
        try:
            layer.build(shape)
        except BaseException:
            del layer._own[before:]
            raise
        layer._build_shape, layer.built = shape, True
    return _output_shape(layer, shape)


def _output_shape(layer: Layer, shape: Any) -> Any:
    """What the layer says, or for a class of the user that says nothing, what a call on zeros shows."""
    if type(layer).compute_output_shape is not Layer.compute_output_shape or type(layer).__module__.startswith(
        "seqcore."
    ):
        return layer.compute_output_shape(shape)
    with layer.state_scope():
        y = layer(_zeros(shape))
    return (shape[0], *y.shape[1:])


def _unbuilt(layers: Sequence[Layer]) -> list[tuple[Layer, int]]:
    """The layers that are not built, each with the number of weights it has nevertheless."""
    return [(layer, len(layer._own)) for layer in layers if not layer.built]


def _unbuild(layers: Sequence[tuple[Layer, int]]) -> None:
    """Takes back what a failing first call has built."""
    for layer, count in layers:
        del layer._own[count:]
        layer.built = False
