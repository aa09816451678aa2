"""Activation, ReLU and Softmax as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from .._validation import as_booleans, integer, real
from ..autograd import Gradient, Tensor, recorded, tensor_mask
from ..ops.activations import ACTIVATIONS, STREAM_ACTIVATIONS, activation_name
from ..typing import Array
from .base import NumericLayer
from .registry import register


@register()
class Activation(NumericLayer):
    """An activation as a layer.

    Args:
        activation: "linear", "tanh", "relu", "sigmoid", "hard_sigmoid", "softmax", "log_softmax", "elu" (alpha 1),
            "gelu" (exact), "leaky_relu" (slope 0.2), "silu" or "softplus".

    >>> Activation("relu")([[-1.0, 2.0]]).numpy()
    array([[0., 2.]], dtype=float32)
    """

    _config_arguments = ("activation",)

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation_name("activation", activation, tuple(ACTIVATIONS))

    def call(self, inputs: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](inputs)

    def _add_to_stream(self, stream: Any) -> None:
        if self.activation not in STREAM_ACTIVATIONS:
            super()._add_to_stream(stream)
        stream.add_activation(self.activation)


@register()
class ReLU(NumericLayer):
    """max(x, 0), or with a slope below ``threshold`` and a ceiling.

    Args:
        max_value: ceiling of the output, or None.
        negative_slope: slope below the threshold.
        threshold: where the output begins to follow the input.

    >>> ReLU(max_value=6)([[-1.0, 2.0, 9.0]]).numpy()
    array([[0., 2., 6.]], dtype=float32)
    """

    _config_arguments = ("max_value", "negative_slope", "threshold")

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else real("max_value", max_value, 0)
        self.negative_slope = real("negative_slope", negative_slope, 0)
        self.threshold = real("threshold", threshold, 0)

    def _is_plain(self) -> bool:
        return self.max_value is None and not self.negative_slope and not self.threshold

    def call(self, inputs: Tensor) -> Tensor:
        if self._is_plain():
            return ops.relu(inputs)
        x, slope, threshold, ceiling = inputs._array, self.negative_slope, self.threshold, self.max_value
        # Not x > threshold: NaN stays NaN.
        above = ~(x <= threshold)
        y = np.where(above, x, (x - x.dtype.type(threshold)) * x.dtype.type(slope) if slope else x.dtype.type(0))
        if ceiling is not None:
            y = np.minimum(y, x.dtype.type(ceiling))

        def backward(g: Array) -> tuple[Gradient, ...]:
            """Keras's choices where a slope changes: none at the threshold but of leaky ReLU, the lower one at 6."""
            below = x < threshold if threshold or ceiling is not None else ~above
            slopes = np.where(above, 1, np.where(below, x.dtype.type(slope), 0)).astype(x.dtype)
            if ceiling is not None:
                slopes[above & ((x >= ceiling) if ceiling == 6 and not threshold else (x > ceiling))] = 0
            return (g * slopes,)

        return recorded(y, (inputs,), backward)

    def _add_to_stream(self, stream: Any) -> None:
        if not self._is_plain():
            super()._add_to_stream(stream)
        stream.add_activation("relu")


def masked_softmax(x: Tensor, mask: Array | None, axis: Any = -1) -> Tensor:
    """Softmax among the elements where ``mask`` (None for all), which broadcasts to x, is True; the others are zero."""
    if mask is None:
        return ops.softmax(x, axis)
    never, zero = np.array(np.finfo(x.dtype).min, x.dtype), np.zeros((), x.dtype)
    return ops.where(mask, ops.softmax(ops.where(mask, x, never), axis), zero)


@register()
class Softmax(NumericLayer):
    """Softmax along ``axis``.

    Args:
        axis: one axis, several together, or None for all, the batch's too.

    Call: ``layer(x, mask=None)``. A mask that broadcasts to x says element by element what takes part; the others, and
    rows without any, become zero. Masks and lengths of sequences (B, T) take part where x is (B, T) too; with more axes
    they go on to the next layer.

    >>> Softmax()([[0.0, 0.0, 9.0]], mask=[[True, True, False]]).numpy()
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    _config_arguments = ("axis",)

    def __init__(self, axis: int | Sequence[int] | None = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = axis if isinstance(axis, (tuple, list)) else () if axis is None else (axis,)
        for item in axes:
            integer("axis", item)
        self.axis = list(axis) if isinstance(axis, (tuple, list)) else axis

    def call(self, inputs: Tensor, mask: Any = None) -> Tensor:
        if mask is None and inputs.ndim == 2:
            mask = tensor_mask(inputs)
        if mask is not None and inputs.ndim > 2 and mask.shape == inputs.shape[:2]:
            mask = None
        return masked_softmax(inputs, mask, self.axis)

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        expected = f"booleans that broadcast to {shape}"
        array = as_booleans("mask", mask, expected)
        fits = array.ndim <= len(shape) and all(n in (1, m) for n, m in zip(array.shape[::-1], shape[::-1]))
        if not fits and array.shape != shape[:2]:
            raise ValueError(f"mask: expected {expected}, got shape {array.shape}")
        return array

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if mask is not None and mask.shape == inputs.shape[:2] else None

    def _add_to_stream(self, stream: Any) -> None:
        # The last axis of whole sequences is the one of a step.
        if self.axis not in (-1, len(self._build_shape or ()) - 1):
            super()._add_to_stream(stream)
        stream.add_activation("softmax")
