"""Layers without time: Input, Dense, Embedding, Dropout, activations, Flatten.

B: batch, T: time steps, K: input features, N: units, V: rows of an embedding table, D: their width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _core, ops
from .. import initializers as _initializers
from .._validation import (
    NUMBERS,
    as_dtype,
    at_least,
    boolean,
    check_shape,
    default_only,
    integer,
    real,
    refuse_masked,
    seed_or_none,
)
from ..autograd import Gradient, IndexedSlices, Tensor, Variable, as_array, gradient_home, is_recording, record
from .arguments import Shape, activation_name, as_mask, as_sizes, channels_last, check_rate, no_regularizers
from .base import DropoutSource, Layer
from .registry import register

Array = NDArray[Any]

ACTIVATIONS = ("linear", "tanh", "relu", "sigmoid", "hard_sigmoid")
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "linear": ops.linear,
    "tanh": ops.tanh,
    "relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "hard_sigmoid": ops.hard_sigmoid,
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
}


@register()
class InputLayer(Layer):
    """States the shape of one sample at the front of a Sequential; passes data on unchanged.

    Args:
        shape: shape of one sample, without the batch size.
        batch_size: fixed batch size, or None.
        dtype: "float32", "float64", or an integer type for ids.
        batch_shape: shape with the batch size in front, instead of ``shape`` and ``batch_size``.
    """

    supports_masking = True
    _takes_several = False
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
        kind = None if dtype is None else as_dtype("dtype", dtype, NUMBERS)
        if batch_shape is None:
            if shape is None:
                raise ValueError("shape: expected a tuple of sizes, got None")
            sizes = as_sizes("shape", shape if isinstance(shape, (tuple, list)) else (shape,))
            batch_shape = (None if batch_size is None else at_least("batch_size", batch_size, 1), *sizes)
        super().__init__(
            name=name,
            dtype=kind if kind is not None and kind.kind == "f" else None,
            batch_input_shape=batch_shape,
        )
        self.data_type = self.dtype if kind is None else kind.name

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


@register()
class Dense(Layer):
    """activation(x · kernel + bias) over the last axis.

    Args:
        units: N, number of outputs.
        activation: None ("linear"), "tanh", "relu", "sigmoid", "hard_sigmoid" or "softmax".
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: initial values.
        kernel_regularizer, ..., quantization_config: accepted as None alone.

    Call: x (..., K) gives (..., N).

    Raises:
        ValueError: for an input with fewer than 2 axes or another K than at the first call.

    >>> layer = Dense(2, kernel_initializer="ones")
    >>> layer([[1.0, 2.0]]).numpy()
    array([[3., 3.]], dtype=float32)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"
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
        _no_adapters(lora_rank, lora_alpha, quantization_config)
        self.units = at_least("units", units, 1)
        self.activation = activation_name("activation", activation, (*ACTIVATIONS, "softmax"))
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
        kernel, bias = self.kernel, self.bias
        x, k = inputs._array, kernel._array
        if x.ndim < 2 or x.shape[-1] != k.shape[0]:
            raise ValueError(
                f"inputs: expected shape (batch, ..., {k.shape[0]}) for layer {self.name!r}, got {x.shape}"
            )
        flat, restore = ops.rows(x)
        # A softmax runs over the logits; its way back makes the gradient of the logits, and the rest is linear.
        soft = self.activation == "softmax"
        fused = "linear" if soft else self.activation
        y = _core.dense_forward(flat, k, None if bias is None else bias._array, fused, mixed=self._mixed)
        if soft:
            y = _core.softmax(y)
        out = Tensor(restore(y))
        tensors = (inputs, kernel, bias)
        if not is_recording(tensors):
            return out
        need_dx, need_weights = is_recording((inputs,)), is_recording((kernel, bias))

        def backward(dy: Array) -> tuple[Gradient, ...]:
            flat_dy = ops.rows_like(dy, x)
            if soft:
                flat_dy = ops.softmax_backward(y, flat_dy)
            homes = (gradient_home(kernel), gradient_home(bias)) if need_weights else None
            dx, dkernel, dbias = _core.dense_backward(
                flat,
                k,
                y,
                flat_dy,
                fused,
                use_bias=bias is not None,
                need_dx=need_dx,
                need_weights=need_weights,
                out=homes,
                mixed=self._mixed,
            )
            return None if dx is None else restore(dx), dkernel, dbias

        record((out,), tensors, backward)
        return out

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": _initializers.serialize(self.kernel_initializer),
            "bias_initializer": _initializers.serialize(self.bias_initializer),
        }

    def _add_to_stream(self, stream: Any) -> None:
        stream.add_dense(self.kernel._array, None if self.bias is None else self.bias._array, self.activation)


def _no_adapters(lora_rank: Any, lora_alpha: Any, quantization_config: Any) -> None:
    default_only("lora_rank", lora_rank, None, "low-rank adapters are not supported")
    default_only("lora_alpha", lora_alpha, None, "low-rank adapters are not supported")
    default_only("quantization_config", quantization_config, None, "quantization is not supported")


@register()
class Embedding(Layer):
    """Rows of a table for ids.

    Args:
        input_dim: V, number of ids.
        output_dim: D, width of a row.
        embeddings_initializer: initial values.
        embeddings_regularizer, embeddings_constraint: accepted as None alone.
        mask_zero: id 0 is padding: steps with it are masked in what follows.
        weights: the table itself, (V, D) or a list that holds it.
        lora_rank, lora_alpha, quantization_config: accepted as None alone.
        input_length: number of steps, if known beforehand.

    Call: ids (...) in 0...V-1 (floats must be whole numbers) give (..., D). The gradient of the table is IndexedSlices;
    with ``trainable=False`` there is none.

    Raises:
        ValueError: for NaN, fractions and ids out of range, naming the bound.

    >>> layer = Embedding(4, 2, weights=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    >>> layer([[3, 0]]).numpy().tolist()
    [[[6.0, 7.0], [0.0, 1.0]]]
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = ""
    embeddings: Variable

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: None = None,
        embeddings_constraint: None = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        *,
        input_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        if input_length is not None:
            kwargs.setdefault("input_shape", (input_length,))
        super().__init__(**kwargs)
        no_regularizers(embeddings_regularizer=embeddings_regularizer, embeddings_constraint=embeddings_constraint)
        _no_adapters(lora_rank, lora_alpha, quantization_config)
        self.input_dim, self.output_dim = at_least("input_dim", input_dim, 1), at_least("output_dim", output_dim, 1)
        self.embeddings_initializer = _initializers.get(embeddings_initializer, "embeddings_initializer")
        self.mask_zero = boolean("mask_zero", mask_zero)
        self.input_length = input_length
        if weights is not None:
            self._use_table(weights)

    def _use_table(self, weights: Any) -> None:
        shape = (self.input_dim, self.output_dim)
        if isinstance(weights, (list, tuple)) and len(weights) == 1 and np.ndim(weights[0]) == 2:
            weights = weights[0]
        table = as_array(weights)
        if table.shape != shape:
            raise ValueError(f"weights: expected shape {shape} for layer {self.name!r}, got {table.shape}")
        self.build(None)
        self.embeddings.assign(table.astype(self.dtype))

    def build(self, input_shape: Any = None) -> None:
        if not self._own:
            self.embeddings = self.add_weight(
                (self.input_dim, self.output_dim), self.embeddings_initializer, name="embeddings"
            )
            self.embeddings.sparse = True
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        ids = inputs._array
        if ids.dtype.char not in "ilq":
            # The core checks the range of what it takes.
            ids = self._checked_ids(inputs)
        table = self.embeddings
        try:
            if ids.ndim <= 2:
                y = _core.embedding_forward(table._array, np.ascontiguousarray(ids) if ids.ndim else ids)
            else:
                y = _core.embedding_forward(table._array, np.ascontiguousarray(ids).reshape(-1))
                y = y.reshape(*ids.shape, self.output_dim)
        except ValueError:
            self._checked_ids(inputs)
            raise
        out = Tensor(y)
        if self.mask_zero:
            if inputs.lengths is not None:
                raise ValueError(f"mask_zero, lengths: expected at most one of them for layer {self.name!r}, got both")
            if inputs.mask is None:
                out.mask = self.compute_mask(inputs)
        if is_recording((table,)):

            def backward(dy: Array) -> tuple[Gradient, ...]:
                if ids.ndim < 2:
                    flat_ids = np.ascontiguousarray(ids).reshape(-1)
                    flat_dy = np.ascontiguousarray(dy).reshape(len(flat_ids), -1)
                else:
                    flat_dy, _ = ops.rows(dy)
                    flat_ids = ops.rows_like(ids, dy)
                values, indices = _core.embedding_backward(flat_ids, flat_dy, self.input_dim)
                return (IndexedSlices.of_kernel(values, indices, table._array.shape),)

            record((out,), (table,), backward)
        return out

    def _checked_ids(self, inputs: Tensor) -> Array:
        try:
            return ops.as_ids(inputs, "ids", self.input_dim)
        except ValueError as error:
            raise ValueError(f"{error}, in layer {self.name!r} of input_dim {self.input_dim}") from None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if not self.mask_zero:
            return mask
        own = as_array(inputs) != 0
        if mask is None:
            return own
        given = self._check_mask(mask, own.shape)
        return own & given.reshape(given.shape + (1,) * (own.ndim - given.ndim))

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        """One boolean for each id, or for each time step of ids with more axes."""
        refuse_masked("mask", mask)
        array = mask._array if isinstance(mask, Tensor) else np.asarray(mask)
        return np.ascontiguousarray(array, bool) if array.shape == shape else as_mask(array, shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": _initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
        }

    def _add_to_stream(self, stream: Any) -> None:
        # A stream has no padding: with mask_zero its user does not feed id 0.
        stream.add_embedding(self.embeddings._array)


@register()
class Dropout(Layer):
    """In training, zeroes elements with probability ``rate`` and divides the others by 1 - rate.

    Args:
        rate: 0 <= rate < 1.
        noise_shape: shape of the mask, None for a size of the input; 1 shares the mask along an axis.
        seed: None or an integer.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.

    >>> Dropout(0.5)([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = check_rate("rate", rate)
        self.noise_shape = None if noise_shape is None else as_sizes("noise_shape", noise_shape)
        self.seed = seed_or_none(seed)
        self._source = DropoutSource(seed)

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        x = inputs._array
        shape = x.shape
        if self.noise_shape is not None:
            if len(self.noise_shape) != x.ndim or any(
                n not in (None, 1, m) for n, m in zip(self.noise_shape, shape, strict=True)
            ):
                raise ValueError(f"noise_shape: expected sizes that broadcast to {shape}, got {self.noise_shape}")
            shape = tuple(m if n is None else n for n, m in zip(self.noise_shape, shape, strict=True))
        mask = self._source.mask(shape, self.rate, x.dtype.name)
        y = Tensor(np.multiply(x, mask, out=np.empty_like(x)))
        record((y,), (inputs,), lambda g: (np.multiply(g, mask, out=np.empty_like(x)),))
        self._source.call += 1
        return y

    def get_config(self) -> dict[str, Any]:
        shape = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "noise_shape": shape, "seed": self.seed}

    def _get_own_state(self) -> dict[str, Any]:
        return self._source.get_state()

    def _set_own_state(self, state: dict[str, Any]) -> None:
        self._source.set_state(state)

    def _add_to_stream(self, stream: Any) -> None:
        pass


@register()
class Activation(Layer):
    """An activation alone.

    Args:
        activation: "linear", "tanh", "relu", "sigmoid", "hard_sigmoid", "softmax" or "log_softmax".

    >>> Activation("relu")([[-1.0, 2.0]]).numpy()
    array([[0., 2.]], dtype=float32)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation_name("activation", activation, tuple(_FUNCTIONS))

    def call(self, inputs: Tensor) -> Tensor:
        return _FUNCTIONS[self.activation](inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}

    def _add_to_stream(self, stream: Any) -> None:
        if self.activation == "log_softmax":
            super()._add_to_stream(stream)
        stream.add_activation(self.activation)


@register()
class ReLU(Layer):
    """max(x, 0), or with a slope below ``threshold`` and a ceiling.

    Args:
        max_value: ceiling of the output, or None.
        negative_slope: slope below the threshold.
        threshold: where the output begins to follow the input.

    >>> ReLU(max_value=6)([[-1.0, 2.0, 9.0]]).numpy()
    array([[0., 2., 6.]], dtype=float32)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is not None or name != "max_value":
                real(name, value, 0)
        self.max_value = None if max_value is None else float(max_value)
        self.negative_slope, self.threshold = float(negative_slope), float(threshold)

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

        out = Tensor(y)
        record((out,), (inputs,), backward)
        return out

    def get_config(self) -> dict[str, Any]:
        own = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return {**super().get_config(), **own}

    def _add_to_stream(self, stream: Any) -> None:
        if not self._is_plain():
            super()._add_to_stream(stream)
        stream.add_activation("relu")


@register()
class Softmax(Layer):
    """Softmax along ``axis``.

    Args:
        axis: one axis, several together, or None for all, the batch's too.

    Call: ``layer(x, mask=None)``. A mask that broadcasts to x says element by element what takes part; the others, and
    rows without any, become zero. Masks and lengths of sequences (B, T) take part where x is (B, T) too; with more axes
    they go on to the next layer.

    >>> Softmax()([[0.0, 0.0, 9.0]], mask=[[True, True, False]]).numpy()
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    supports_masking = True
    _takes_several = False
    _input_kinds = "fiub"

    def __init__(self, axis: int | Sequence[int] | None = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = axis if isinstance(axis, (tuple, list)) else () if axis is None else (axis,)
        for item in axes:
            integer("axis", item)
        self.axis = list(axis) if isinstance(axis, (tuple, list)) else axis

    def call(self, inputs: Tensor, mask: Any = None, lengths: Any = None) -> Tensor:
        if lengths is not None and inputs.ndim == 2:
            mask = np.arange(inputs.shape[1]) < lengths[:, None]
        if mask is None or (mask.shape == inputs.shape[:2] and inputs.ndim > 2):
            return ops.softmax(inputs, self.axis)
        never = np.array(np.finfo(inputs.dtype).min, inputs.dtype)
        return ops.where(mask, ops.softmax(ops.where(mask, inputs, never), self.axis), np.zeros((), inputs.dtype))

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        refuse_masked("mask", mask)
        array = mask._array if isinstance(mask, Tensor) else np.asarray(mask)
        fits = array.ndim <= len(shape) and all(n in (1, m) for n, m in zip(array.shape[::-1], shape[::-1]))
        if array.dtype.kind not in NUMBERS or not (fits or array.shape == shape[:2]):
            expected = f"booleans that broadcast to {shape}"
            raise ValueError(f"mask: expected {expected}, got {array.dtype} of shape {array.shape}")
        return array if array.dtype == bool else array > 0.5

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if mask is not None and mask.shape == inputs.shape[:2] else None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}

    def _add_to_stream(self, stream: Any) -> None:
        if self.axis not in (-1, 1):
            super()._add_to_stream(stream)
        stream.add_activation("softmax")


@register()
class Flatten(Layer):
    """(B, ...) as (B, product of the rest).

    Args:
        data_format: None or "channels_last".

    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    _takes_several = False

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels_last(data_format)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (inputs.shape[0], -1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))
