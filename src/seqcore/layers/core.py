"""Input, Dense and Flatten.

B: batch, T: time steps, K: input features, N: units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .. import initializers as _initializers
from .. import ops
from .._core.dense import dense_backward, dense_forward, softmax
from .._validation import (
    NUMBERS,
    as_dtype,
    as_sizes,
    at_least,
    boolean,
    channels_last,
    check_shape,
    default_only,
    no_adapters,
    no_regularizers,
)
from ..autograd.tape import GradientBuffers, is_recording, record
from ..autograd.tensor import Gradient, Tensor, Variable, unchecked_tensor
from ..ops.activations import FUSED_ACTIVATIONS, activation_name
from ..typing import Array, Shape
from .base import Layer, NumericLayer
from .registry import register


@register()
class InputLayer(Layer):
    """Shape of one sample at the front of a Sequential; data pass unchanged.

    Args:
        shape: shape of one sample, without the batch size.
        batch_size: fixed batch size, or None.
        dtype: "float32", "float64", or an integer type for ids.
        batch_shape: shape with the batch size in front, instead of ``shape`` and ``batch_size``.
    """

    supports_masking = True
    _accepts_list = False
    _input_kinds = ""

    def __init__(
        self,
        shape: Sequence[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: DTypeLike | None = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
    ) -> None:
        default_only("sparse", sparse, (None, False), "inputs are dense arrays")
        default_only("ragged", ragged, (None, False), "sequences of different lengths are padded, with lengths=")
        default_only("input_tensor", input_tensor, None, "the functional API is not supported")
        default_only("optional", optional, False, "a Sequential has one input")
        data_dtype = None if dtype is None else as_dtype("dtype", dtype, NUMBERS)
        if batch_shape is None:
            if shape is None:
                raise ValueError("shape: expected a tuple of sizes, got None")
            sizes = as_sizes("shape", shape if isinstance(shape, (tuple, list)) else (shape,))
            batch_shape = (None if batch_size is None else at_least("batch_size", batch_size, 1), *sizes)
        super().__init__(
            name=name,
            dtype=data_dtype if data_dtype is not None and data_dtype.kind == "f" else None,
            batch_input_shape=batch_shape,
        )
        self.data_type = self.dtype if data_dtype is None else data_dtype.name

    @property
    def batch_shape(self) -> Shape:
        assert self._batch_input_shape is not None
        return self._batch_input_shape

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.data_type, "batch_shape": list(self.batch_shape)}

    def _add_to_stream(self, stream: Any) -> None:
        pass


def Input(  # noqa: N802
    shape: Sequence[int | None] | int | None = None,
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> InputLayer:
    """The shape of one sample, as the first entry of a Sequential.

    Calling a layer on it (Keras's functional API) is refused.

    >>> Input(shape=(10, 3)).batch_shape
    (None, 10, 3)
    """
    default_only("tensor", tensor, None, "the functional API is not supported")
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, None, optional, name)


def dense(
    inputs: Tensor, kernel: Variable, bias: Variable | None = None, activation: str = "linear", mixed: bool = False
) -> Tensor:
    """activation(x · kernel + bias) for x (..., K) and a kernel (K, N), as one operation of the tape."""
    x = inputs._array
    flat, restore = ops.flatten_steps(x)
    # A softmax runs over the logits; its backward pass gives the gradient of the logits, and the rest is linear.
    is_softmax = activation == "softmax"
    fused = "linear" if is_softmax else activation
    y = dense_forward(flat, kernel._array, None if bias is None else bias._array, fused, mixed=mixed)
    if is_softmax:
        y = softmax(y)
    outputs = unchecked_tensor(restore(y))
    tensors = (inputs, kernel, bias)
    if not is_recording(tensors):
        return outputs
    need_dx, need_weights = is_recording((inputs,)), is_recording((kernel, bias))

    def backward(dy: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
        flat_dy = ops.flatten_like(dy, x)
        if is_softmax:
            flat_dy = ops.softmax_backward(y, flat_dy)
        dx, dkernel, dbias = dense_backward(
            flat,
            kernel._array,
            y,
            flat_dy,
            fused,
            use_bias=bias is not None,
            need_dx=need_dx,
            need_weights=need_weights,
            out=(buffers.take(kernel), buffers.take(bias)) if need_weights else None,
            mixed=mixed,
        )
        return None if dx is None else restore(dx), dkernel, dbias

    record((outputs,), tensors, backward, takes_buffers=True)
    return outputs


@register()
class Dense(NumericLayer):
    """activation(x · kernel + bias) over the last axis.

    Args:
        units: N, number of outputs.
        activation: None ("linear"), "tanh", "relu", "sigmoid", "hard_sigmoid" or "softmax".
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
        self.units = at_least("units", units, 1)
        self.activation = activation_name("activation", activation, (*FUSED_ACTIVATIONS, "softmax"))
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
        x, features = inputs._array, self.kernel._array.shape[0]
        if x.ndim < 2 or x.shape[-1] != features:
            raise ValueError(f"inputs: expected shape (batch, ..., {features}) for layer {self.name!r}, got {x.shape}")
        return dense(inputs, self.kernel, self.bias, self.activation, self.uses_bfloat16)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def _add_to_stream(self, stream: Any) -> None:
        stream.add_dense(self.kernel._array, None if self.bias is None else self.bias._array, self.activation)


@register()
class Flatten(Layer):
    """(B, ...) as (B, product of the rest).

    Args:
        data_format: None or "channels_last".

    >>> import numpy as np
    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    _accepts_list = False

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels_last(data_format)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (inputs.shape[0], -1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))
