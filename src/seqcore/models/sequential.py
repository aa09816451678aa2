"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._registry import custom_object_scope
from .._validation import check_shape, default_only
from ..autograd import Tensor, Variable
from ..autograd.staleness import Cached, mark_stale
from ..layers import InputLayer
from ..layers.base import Layer, not_a_layer
from ..layers.building import Build
from ..layers.calling import CallScope, call_in_order, single_input
from ..layers.registry import deserialize, register, serialize
from ..saving.models import as_shape, build_by_shapes, build_shapes
from .model import Model
from .stream import Stream


class _Weights(Cached):
    """All weights of a model as long as no layer inside changes."""

    weights: list[Variable]


@register()
class Sequential(Model):
    """Layers one after the other.

    Args:
        layers: the layers in order; an ``Input`` first, or ``input_shape=`` of the first layer, builds the model at
            once, otherwise the first call does.
        name: for summaries and files.

    Call: ``model(x, training=None, mask=None, lengths=None)``.

    Raises:
        ValueError: for two layers of one name, TypeError for anything but a layer.

    >>> from seqcore import layers
    >>> model = Sequential([layers.Embedding(10, 4), layers.LSTM(3)])
    >>> model([[1, 2, 3]]).shape
    (1, 3)
    """

    supports_masking = True
    _not_tracked = Model._not_tracked | {"_input_layer", "_known_weights"}

    def __init__(
        self, layers: Iterable[Layer] | Layer | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self._stack: list[Layer] = []
        self._input_layer: InputLayer | None = None
        self._shape: Any = None
        self._known_weights: _Weights | None = None
        for layer in [layers] if isinstance(layers, Layer) else layers or []:
            self.add(layer)
        if not trainable:
            self.trainable = False

    # ------------------------------------------------------------ structure

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Put ``layer`` at the end; ``rebuild`` is accepted only as True.

        Raises:
            TypeError: for anything but a layer.
            ValueError: for a name that is there already and for an Input not at the front.
        """
        default_only("rebuild", rebuild, True, "the model always is what its layers are")
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {not_a_layer(layer)}")
        if isinstance(layer, InputLayer):
            if self._stack or self._input_layer is not None:
                raise ValueError(f"layer: expected the Input {layer.name!r} at the front of model {self.name!r}")
            self._input_layer, self._shape = layer, layer.batch_shape
            return
        if layer is self or any(layer is other or layer.name == other.name for other in self._stack):
            raise ValueError(
                f"layer: expected a layer with a new name in model {self.name!r}, got {layer.name!r} again"
            )
        if not self._trainable:
            layer.trainable = False
        start, after = self._shape, None
        if start is None and not self._stack:
            start = layer._batch_input_shape
        if start is not None:
            layer._build_with(start)
            after = layer._output_shape(start)
            if not self._stack:
                self._build_shape = start
        self._stack = [*self._stack, layer]
        self._shape, self.built = after, after is not None

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the last layer away and return it; ``rebuild`` is accepted only as True."""
        default_only("rebuild", rebuild, True, "the model always is what its layers are")
        if not self._stack:
            raise ValueError(f"pop: expected a layer in model {self.name!r}, got none")
        layer = self._stack[-1]
        self._stack = self._stack[:-1]
        self._shape = None if self._build_shape is None else Sequential.compute_output_shape(self, self._build_shape)
        return layer

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the Input."""
        return list(self._stack)

    def named_sublayers(self) -> list[tuple[str, Layer]]:
        if type(self) is Sequential:
            return [(f"layers.{number}", layer) for number, layer in enumerate(self._stack)]
        return super().named_sublayers()

    def layer_chain(self) -> list[Layer]:
        own = type(self).call is not Sequential.call or type(self).__call__ is not Sequential.__call__
        if own or self._overrides_compute_mask:
            return []
        chain: list[Layer] = []
        for layer in self._stack:
            inner = layer.layer_chain() if isinstance(layer, Sequential) else []
            chain += inner or [layer]
        return chain

    @property
    def weights(self) -> list[Variable]:
        """All variables, layer by layer."""
        known = self._known_weights
        if known is None or known.stale:
            layers = [self, *self.layers_inside()]
            # A model that overrides call may hold layers in a list that grows.
            if not all(layer.built and (not isinstance(layer, Model) or type(layer) is Sequential) for layer in layers):
                return super().weights
            known = _Weights()
            known.depend_on(layers)
            known.weights = super().weights
            self._known_weights = known
        return list(known.weights)

    # ------------------------------------------------------------ building and calling

    def __call__(self, inputs: Any, training: bool | None = None, mask: Any = None, lengths: Any = None) -> Any:
        """Run the layers in order.

        Args:
            inputs: (B, ...) input of the first layer.
            training: whether dropout is at work.
            mask: (B, T) bool, or
            lengths: (B,) integers, valid steps of each row; at most one of the two.
        """
        if type(self).call is not Sequential.call or self._overrides_compute_mask:
            return super().__call__(inputs, training=training, mask=mask, lengths=lengths)
        with CallScope():
            if self.built:
                return call_in_order(self._stack, inputs, training, mask, lengths)
            return self._first_call(inputs, training, mask, lengths)

    def call(self, inputs: Any, training: Any = None, mask: Any = None, lengths: Any = None) -> Any:
        """The layers in order; see :meth:`__call__`."""
        return call_in_order(self._stack, inputs, training, mask, lengths)

    def _first_call(self, inputs: Any, training: bool | None, mask: Any, lengths: Any) -> Any:
        """Call and build layer by layer while other threads wait; a failure leaves unbuilt what was unbuilt."""
        if not self._stack:
            raise ValueError(f"model: expected layers in {self.name!r}, got none")
        with self._build_lock:
            if not self.built:
                with Build(self.layers_inside()):
                    y = call_in_order(self._stack, inputs, training, mask, lengths)
                shape = tuple(np.shape(single_input(inputs)))
                self._set_built((None, *shape[1:]), (None, *y.shape[1:]) if isinstance(y, Tensor) else None)
                return y
        return call_in_order(self._stack, inputs, training, mask, lengths)

    def _set_built(self, shape: Any, after: Any) -> None:
        self._build_shape, self._shape, self.built = shape, after, True
        mark_stale(self)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of all layers for inputs of ``input_shape`` (B, ...); None means any size.

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
        check_shape("input_shape", input_shape)
        with self._build_lock:
            if self.built:
                return
            shape = after = tuple(input_shape)
            with Build(self.layers_inside()):
                for layer in self._stack:
                    layer._build_with(after)
                    after = layer._output_shape(after)
            self._set_built(shape, after)

    def _build(self, x: Any) -> None:
        self.build(x.shape)

    def get_build_description(self) -> Any:
        shape = None if self._build_shape is None else list(self._build_shape)
        return {"shape": shape, "layers": build_shapes(self)}

    def build_from_description(self, config: Any, weights: Mapping[str, Any]) -> None:
        if not self.built:
            self.build(as_shape(config["shape"]))
        build_by_shapes(self, config.get("layers", {}))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for inputs of ``input_shape``."""
        for layer in self._stack:
            input_shape = layer._output_shape(input_shape)
        return input_shape

    def _layer_shapes(self) -> list[tuple[Layer, Any]]:
        shapes: list[tuple[Layer, Any]] = []
        shape = self._build_shape
        for layer in self._stack:
            shape = None if shape is None else layer._output_shape(shape)
            shapes.append((layer, shape))
        return shapes

    def get_config(self) -> dict[str, Any]:
        front = [] if self._input_layer is None else [self._input_layer]
        return {"name": self.name, "layers": [serialize(layer) for layer in [*front, *self._stack]]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A new model from a config; ``custom_objects`` holds more classes of layers by name."""
        with custom_object_scope(custom_objects):
            return cls([deserialize(layer) for layer in config["layers"]], name=config.get("name"))

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
                (``Bidirectional``, ``go_backwards``, a ``Conv1D`` that is not causal, subclassed models).

        >>> from seqcore import layers
        >>> model = Sequential([layers.Input((None, 3)), layers.LSTM(2)])
        >>> stream = model.stream()
        >>> stream.step(np.zeros((1, 3), np.float32)).shape
        (1, 2)
        """
        return Stream(self, batch_size)

    def _add_to_stream(self, stream: Any) -> None:
        if not self.layer_chain():
            super()._add_to_stream(stream)
        for layer in self._stack:
            layer._add_to_stream(stream)
