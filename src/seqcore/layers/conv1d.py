"""Conv1D.

B: batch, T: time steps, D: features, K: kernel size, N: filters; U: time steps of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import initializers as _initializers
from .. import ops
from .._validation import (
    boolean,
    channels_last,
    check_shape,
    choice,
    default_only,
    integer,
    no_regularizers,
    short_repr,
)
from ..autograd import Tensor, Variable
from ..ops.activations import ACTIVATIONS, STREAM_ACTIVATIONS, activation_name
from ..ops.convolution import conv1d, output_steps
from ..typing import Array
from .base import NumericLayer
from .registry import register


@register()
class Conv1D(NumericLayer):
    """A convolution over the time steps: each output sees K steps of the input.

    Args:
        filters: N, number of outputs per step.
        kernel_size: K.
        strides: steps of the input from one output to the next.
        padding: "valid" (none), "same" (zeros on both sides, so that U is T / strides, rounded up), "causal" (zeros in
            front: no output sees a later step), or the numbers of zeros in front and behind, (0, 1) for instance.
        data_format: None or "channels_last".
        dilation_rate: steps of the input from one that an output sees to the next; together with ``strides`` too, which
            Keras refuses.
        groups: accepted only as 1.
        activation: one of those of :class:`Dense`, None ("linear") by default.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: initial values.
        kernel_regularizer, ...: accepted only as None.

    Call: ``layer(x, lengths=None)``, x (B, T, D) gives (B, U, N). Steps past a length count as zeros; the output has
    the lengths that each row would have alone, with zeros past them. A mask has no influence and goes no further, as in
    Keras.

    Raises:
        ValueError: for inputs of another shape or of too few steps, and for lengths where "same" with ``strides`` would
            pad each row in its own way.

    >>> layer = Conv1D(1, 2, padding="causal", kernel_initializer="ones")
    >>> layer([[[1.0], [2.0], [3.0]]]).numpy().tolist()
    [[[1.0], [3.0], [5.0]]]
    """

    _config_arguments = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", "kernel_initializer",
        "bias_initializer",
    )  # fmt: skip
    supports_masking = False
    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | Sequence[int] = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: None = None,
        bias_regularizer: None = None,
        activity_regularizer: None = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        no_regularizers(
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        channels_last(data_format)
        default_only("groups", groups, 1, "each filter sees all features")
        self.filters = integer("filters", filters, 1)
        # Tuples of one number, as in Keras.
        self.kernel_size = _size("kernel_size", kernel_size)
        self.strides = _size("strides", strides)
        self.dilation_rate = _size("dilation_rate", dilation_rate)
        self.padding = _padding(padding)
        self.activation = activation_name("activation", activation, tuple(ACTIVATIONS))
        self.use_bias = boolean("use_bias", use_bias)
        self.kernel_initializer = _initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = _initializers.get(bias_initializer, "bias_initializer")

    def build(self, input_shape: Any) -> None:
        self.compute_output_shape(input_shape)
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias") if self.use_bias else None
        self.built = True

    @property
    def _span(self) -> int:
        """Number of steps from the first to the last that an output sees."""
        return (self.kernel_size[0] - 1) * self.dilation_rate[0] + 1

    def _pads(self, steps: int) -> tuple[int, int]:
        """Zeros before and behind T = ``steps`` steps."""
        if isinstance(self.padding, tuple):
            return self.padding
        if self.padding != "same":
            return (self._span - 1 if self.padding == "causal" else 0), 0
        stride = self.strides[0]
        total = max((-(-steps // stride) - 1) * stride + self._span - steps, 0)
        return total // 2, total - total // 2

    def _output_steps(self, steps: int) -> int:
        """U for T = ``steps`` steps; none where there are none."""
        return output_steps(steps, self._span, self.strides[0], self._pads(steps)) if steps else 0

    def call(self, inputs: Tensor, lengths: Any = None) -> Tensor:
        shape = inputs._array.shape
        if len(shape) != 3 or shape[2] != self.kernel._array.shape[1] or not self._output_steps(shape[1]):
            # Raises the error that says which.
            self.compute_output_shape(shape)
        if lengths is None:
            return self._convolved(inputs)
        if self.padding == "same" and self.strides[0] > 1:
            raise ValueError(
                f"lengths: expected padding='causal' or two numbers for layer {self.name!r} with strides > 1, got "
                "padding='same', which pads each row by its own length"
            )
        zero = np.zeros((), inputs.dtype)
        y = self._convolved(ops.where(_valid(lengths, inputs.shape[1]), inputs, zero))
        after = np.array([self._output_steps(n) for n in lengths.tolist()], np.int32)
        y = ops.where(_valid(after, y.shape[1]), y, zero)
        y.lengths = after
        return y

    def _convolved(self, x: Tensor) -> Tensor:
        pads = self._pads(x.shape[1])
        (stride,), (dilation,) = self.strides, self.dilation_rate
        return conv1d(x, self.kernel, self.bias, stride, pads, dilation, self.activation, self.uses_bfloat16)

    def compute_output_shape(self, input_shape: Any) -> Any:
        check_shape("input_shape", input_shape)
        features = self.kernel._array.shape[1] if self.built else "features"
        if len(input_shape) != 3 or input_shape[2] is None or (self.built and input_shape[2] != features):
            raise ValueError(
                f"inputs: expected shape (batch, time, {features}) for layer {self.name!r}, got {tuple(input_shape)}"
            )
        batch, steps, _ = input_shape
        count = None if steps is None else self._output_steps(steps)
        if count == 0:
            raise ValueError(
                f"inputs: expected at least {self._span - sum(self._pads(steps))} time steps for layer {self.name!r}, "
                f"got {steps}"
            )
        return (batch, count, self.filters)

    def _add_to_stream(self, stream: Any) -> None:
        if self.activation not in STREAM_ACTIVATIONS:
            super()._add_to_stream(stream)
        # A step of a stream sees no later one.
        causal = self._pads(1) == (self._span - 1, 0)
        if self.strides[0] > 1 or not causal:
            argument = f"padding={self.padding!r}" if self.strides[0] == 1 else f"strides={self.strides[0]}"
            raise ValueError(f"layer {self.name!r}: a Conv1D with {argument} cannot be streamed")
        kernel, bias = self.kernel._array, None if self.bias is None else self.bias._array
        if len(kernel) == 1:
            stream.add_dense(kernel[0], bias, self.activation, mixed=self.uses_bfloat16)
        else:
            stream.add_conv1d(kernel, bias, self.activation, self.dilation_rate[0], mixed=self.uses_bfloat16)


def _size(name: str, value: Any) -> tuple[int]:
    """A positive number, or a tuple of one, as Keras takes it too, as a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{name}: expected one integer, got {short_repr(value)}")
        value = value[0]
    return (integer(name, value, 1),)


def _padding(value: Any) -> str | tuple[int, int]:
    if not isinstance(value, (tuple, list)):
        # Capital letters as in Keras.
        word = value.lower() if isinstance(value, str) else value
        return str(choice("padding", word, ("valid", "same", "causal")))
    if len(value) != 2:
        raise ValueError(f"padding: expected a word or two numbers, in front and behind, got {short_repr(value)}")
    return integer("padding", value[0], 0), integer("padding", value[1], 0)


def _valid(lengths: Array, steps: int) -> Array:
    """(B, T, 1) booleans: the steps before each length."""
    valid: Array = np.arange(steps)[:, None] < lengths[:, None, None]
    return valid
