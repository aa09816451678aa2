"""One vector for a whole sequence: the mean, the maximum or the sum over its time steps.

B: batch, T: time steps, D: features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .. import ops
from .._validation import boolean, channels_last
from ..autograd import Tensor, tensor_mask
from ..typing import Array
from .base import Layer
from .registry import register


class _GlobalPooling1D(Layer, ABC):
    """Base of the three: steps that are masked or past the length do not count; ``keepdims`` gives (B, 1, D)."""

    _config_arguments = ("keepdims",)
    supports_masking = True
    _accepts_list = False

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels_last(data_format)
        self.keepdims = boolean("keepdims", keepdims)

    def call(self, inputs: Tensor, mask: Any = None) -> Tensor:
        if inputs.ndim != 3:
            raise ValueError(f"inputs: expected shape (batch, time, features) for {self.name!r}, got {inputs.shape}")
        valid = tensor_mask(inputs) if mask is None else mask
        y = self._pool(inputs, None if valid is None else np.asarray(valid, bool)[:, :, None])
        return ops.expand_dims(y, 1) if self.keepdims else y

    @abstractmethod
    def _pool(self, x: Tensor, valid: Array | None) -> Tensor:
        """x (B, T, D) and which steps count (B, T, 1), None for all of them, to (B, D)."""

    def _keeps_time(self) -> bool:
        return False

    def compute_output_shape(self, input_shape: Any) -> Any:
        if len(input_shape) != 3:
            raise ValueError(f"inputs: expected shape (batch, time, features) for {self.name!r}, got {input_shape}")
        return (input_shape[0], 1, input_shape[2]) if self.keepdims else (input_shape[0], input_shape[2])


@register()
class GlobalAveragePooling1D(_GlobalPooling1D):
    """(B, T, D) to (B, D): the mean over the valid time steps; zeros for a row without any.

    >>> GlobalAveragePooling1D()(np.array([[[1.0], [3.0], [8.0]]]), lengths=[2]).numpy()
    array([[2.]], dtype=float32)
    """

    def _pool(self, x: Tensor, valid: Array | None) -> Tensor:
        if valid is None:
            return ops.reduce_mean(x, axis=1)
        counts = np.maximum(valid.sum(axis=1), 1).astype(x.dtype)
        return ops.divide(ops.reduce_sum(ops.multiply(x, valid.astype(x.dtype)), axis=1), counts)


@register()
class GlobalMaxPooling1D(_GlobalPooling1D):
    """(B, T, D) to (B, D): the maximum over the valid time steps; zeros for a row without any.

    Unlike Keras's, it leaves out the steps that are masked.

    >>> GlobalMaxPooling1D()(np.array([[[1.0], [3.0], [8.0]]]), lengths=[2]).numpy()
    array([[3.]], dtype=float32)
    """

    def _pool(self, x: Tensor, valid: Array | None) -> Tensor:
        if valid is None:
            return ops.reduce_max(x, axis=1)
        top = ops.reduce_max(ops.where(valid, x, np.array(np.finfo(x.dtype).min, x.dtype)), axis=1)
        return ops.where(valid.any(axis=1), top, np.zeros((), x.dtype))


@register()
class GlobalSumPooling1D(_GlobalPooling1D):
    """(B, T, D) to (B, D): the sum over the valid time steps. Keras has none; its name is made like the others'.

    >>> GlobalSumPooling1D()(np.array([[[1.0], [3.0], [8.0]]]), lengths=[2]).numpy()
    array([[4.]], dtype=float32)
    """

    def _pool(self, x: Tensor, valid: Array | None) -> Tensor:
        return ops.reduce_sum(x if valid is None else ops.multiply(x, valid.astype(x.dtype)), axis=1)
