"""LayerNormalization.

D: features.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import initializers as _initializers
from .._validation import boolean, check_shape, default_only, no_regularizers, real
from ..autograd import Gradient, Tensor, Variable, recorded
from ..typing import Array
from .base import NumericLayer
from .registry import register


@register()
class LayerNormalization(NumericLayer):
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, over the last axis, by itself for each row and time step.

    Args:
        axis: accepted only as -1.
        epsilon: added to the variance, 0.001 by default.
        center: whether beta is added.
        scale: whether gamma is a factor.
        beta_initializer, gamma_initializer: initial values.
        beta_regularizer, ..., gamma_constraint: accepted only as None.

    Call: x (..., D) gives (..., D); gamma and beta are (D,).

    Source: Ba, Kiros and Hinton, Layer normalization, 2016.

    >>> LayerNormalization()([[1.0, 3.0]]).numpy().round(2)
    array([[-1.,  1.]], dtype=float32)
    """

    _config_arguments = ("axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer")
    gamma: Variable | None
    beta: Variable | None

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: None = None,
        gamma_regularizer: None = None,
        beta_constraint: None = None,
        gamma_constraint: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        no_regularizers(
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
        )
        default_only("axis", axis, -1, "the features of a step are normalized")
        self.axis = -1
        self.epsilon = real("epsilon", epsilon, 0)
        self.center, self.scale = boolean("center", center), boolean("scale", scale)
        self.beta_initializer = _initializers.get(beta_initializer, "beta_initializer")
        self.gamma_initializer = _initializers.get(gamma_initializer, "gamma_initializer")

    def build(self, input_shape: Any) -> None:
        check_shape("input_shape", input_shape)
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"inputs: expected shape (batch, ..., features) for layer {self.name!r}, got {tuple(input_shape)}"
            )
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(shape, self.gamma_initializer, name="gamma") if self.scale else None
        self.beta = self.add_weight(shape, self.beta_initializer, name="beta") if self.center else None
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        x, variables = inputs._array, [variable for variable in (self.gamma, self.beta) if variable is not None]
        features = len(variables[0]._array) if variables else x.shape[-1]
        if x.ndim < 2 or x.shape[-1] != features:
            raise ValueError(f"inputs: expected shape (batch, ..., {features}) for layer {self.name!r}, got {x.shape}")
        centered = x - x.mean(-1, keepdims=True)
        inverse = 1 / np.sqrt((centered * centered).mean(-1, keepdims=True) + x.dtype.type(self.epsilon))
        normal = centered * inverse
        gamma = None if self.gamma is None else self.gamma._array
        y = normal if gamma is None else normal * gamma
        if self.beta is not None:
            y = y + self.beta._array

        def backward(dy: Array) -> list[Gradient]:
            steps = tuple(range(dy.ndim - 1))
            g = dy if gamma is None else dy * gamma
            gradients: list[Gradient] = [
                inverse * (g - g.mean(-1, keepdims=True) - normal * (g * normal).mean(-1, keepdims=True))
            ]
            if self.gamma is not None:
                gradients.append((dy * normal).sum(steps))
            if self.beta is not None:
                gradients.append(dy.sum(steps))
            return gradients

        return recorded(y, (inputs, *variables), backward)

    def _add_to_stream(self, stream: Any) -> None:
        arrays = [None if variable is None else variable._array for variable in (self.gamma, self.beta)]
        stream.add_layer_normalization(*arrays, self.epsilon)
