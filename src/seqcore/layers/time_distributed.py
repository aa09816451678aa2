"""TimeDistributed.

B: batch, T: time steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from .._registry import custom_object_scope
from .._validation import as_booleans, as_mask, check_shape, plain_array
from ..autograd import Tensor
from ..typing import Array
from .base import Layer, not_a_layer
from .registry import deserialize, register, serialize


@register()
class TimeDistributed(Layer):
    """One layer applied to every time step.

    Args:
        layer: takes (B * T, ...).

    Call: ``layer(x, mask=None, training=False)``; x (B, T, ...) gives (B, T, ...). A mask (B, T) belongs to the steps
    and to the output; of a mask (B, T, S), that of words in sentences for instance, the layer inside gets (B * T, S),
    and steps without anything valid are masked in the output.

    >>> import numpy as np
    >>> from seqcore.layers import Dense
    >>> TimeDistributed(Dense(2))(np.zeros((3, 4, 5))).shape
    (3, 4, 2)
    """

    supports_masking = True
    _accepts_list = False

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"layer: expected a Layer, got {not_a_layer(layer)}")
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(**kwargs)
        self.layer = layer
        if not self._trainable:
            layer.trainable = False
        self._input_kinds = layer._input_kinds

    def _step_shape(self, input_shape: Any) -> Any:
        """The shape that the layer inside gets."""
        check_shape("input_shape", input_shape)
        if len(input_shape) < 2:
            raise ValueError(
                f"inputs: expected shape (batch, time, ...) for layer {self.name!r}, got {tuple(input_shape)}"
            )
        return (None, *input_shape[2:])

    def build(self, input_shape: Any) -> None:
        shape = self._step_shape(input_shape)
        try:
            self.layer._build_with(shape)
        except ValueError as error:
            raise ValueError(f"{error} (one step of {tuple(input_shape)} in layer {self.name!r})") from None
        self.built = True

    def call(self, inputs: Tensor, training: Any = False, mask: Any = None) -> Any:
        self._step_shape(inputs.shape)
        x = ops.reshape(inputs, (-1, *inputs.shape[2:]))
        if mask is not None and mask.ndim > 2:
            x.mask = mask.reshape(-1, *mask.shape[2:])
        return _with_steps(self.layer(x, training=training), inputs.shape[:2], mask)

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        array = plain_array("mask", mask)
        inside = array.ndim > 2 and array.shape == shape[: array.ndim]
        return as_booleans("mask", array) if inside else as_mask(array, shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        inner = self.layer._output_shape(self._step_shape(input_shape))
        if isinstance(inner, list):
            return [(*input_shape[:2], *shape[1:]) for shape in inner]
        return (*input_shape[:2], *inner[1:])

    def _add_to_stream(self, stream: Any) -> None:
        # A step has no axis of its own along which the layer inside could go.
        if len(self._build_shape) > 3:
            super()._add_to_stream(stream)
        self.layer._add_to_stream(stream)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> TimeDistributed:
        """A new layer from a config; ``custom_objects`` holds additional layer classes by name."""
        with custom_object_scope(custom_objects):
            return cls(**{**config, "layer": deserialize(config["layer"])})


def _with_steps(y: Any, lead: tuple[int, ...], mask: Array | None) -> Any:
    """The outputs of B * T rows as (B, T, ...), with the mask of what is inside a step, or of the steps themselves.

    A step that had a mask inside and lost it (a sentence that became one vector) counts if anything in it did.
    """
    if isinstance(y, (list, tuple)):
        return [_with_steps(output, lead, mask) for output in y]
    out = ops.reshape(y, (*lead, *y.shape[1:]))
    if y.mask is not None:
        out.mask = y.mask.reshape(*lead, *y.mask.shape[1:])
    elif mask is not None:
        out.mask = np.asarray(mask.reshape(*lead, -1).any(axis=2))
    return out
