"""Dense.

K: input features, N: units.
"""

from __future__ import annotations

from typing import Any

from .. import initializers as _initializers
from .._validation import boolean, check_shape, integer, no_adapters, no_regularizers
from ..autograd import Tensor, Variable
from ..ops.activations import ACTIVATIONS, STREAM_ACTIVATIONS, activation_name
from ..ops.matmul import dense, dense_on_arrays
from ..typing import Array
from .base import ArrayCall, NumericLayer, any_trainable
from .registry import register


@register()
class Dense(NumericLayer):
    """activation(x · kernel + bias) over the last axis.

    Args:
        units: N, number of outputs.
        activation: None ("linear"), "tanh", "relu", "sigmoid", "hard_sigmoid", "softmax", "log_softmax", "elu", "gelu",
            "leaky_relu", "silu" or "softplus"; the first six are one operation with the product.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: initial values.
        kernel_regularizer, ..., quantization_config: accepted only as None.

    Call: x (..., K) gives (..., N).

    Raises:
        ValueError: for an input with fewer than 2 axes or another K than at the first call.

    >>> layer = Dense(2, kernel_initializer="ones")
    >>> layer([[1.0, 2.0]]).numpy()
    array([[3., 3.]], dtype=float32)
    """

    _config_arguments = ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer")
    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: None = None,
        bias_regularizer: None = None,
        activity_regularizer: None = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        no_regularizers(
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        no_adapters(lora_rank, lora_alpha, quantization_config)
        self.units = integer("units", units, 1)
        self.activation = activation_name("activation", activation, tuple(ACTIVATIONS))
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = _initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = _initializers.get(bias_initializer, "bias_initializer")

    def build(self, input_shape: Any) -> None:
        check_shape("input_shape", input_shape)
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"inputs: expected shape (batch, ..., features) for layer {self.name!r}, got {tuple(input_shape)}"
            )
        self.kernel = self.add_weight((input_shape[-1], self.units), self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.units,), self.bias_initializer, name="bias") if self.use_bias else None
        self.built = True

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        self._check_shape(inputs._array)
        return dense(inputs, self.kernel, self.bias, self.activation, self.uses_bfloat16)

    def takes_arrays(self) -> bool:
        return self.activation in STREAM_ACTIVATIONS

    def call_on_array(self, x: Array, need_dx: bool) -> ArrayCall:
        self._check_shape(x)
        variables = self.kernel, self.bias
        y, backward = dense_on_arrays(
            x, *variables, self.activation, self.uses_bfloat16, need_dx, any_trainable(variables)
        )
        return y, variables, backward

    def _check_shape(self, x: Array) -> None:
        features = self.kernel._array.shape[0]
        if x.ndim < 2 or x.shape[-1] != features:
            raise ValueError(f"inputs: expected shape (batch, ..., {features}) for layer {self.name!r}, got {x.shape}")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def _add_to_stream(self, stream: Any) -> None:
        if self.activation not in STREAM_ACTIVATIONS:
            super()._add_to_stream(stream)
        bias = None if self.bias is None else self.bias._array
        stream.add_dense(self.kernel._array, bias, self.activation, mixed=self.uses_bfloat16)
