"""Masking."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import real
from ..autograd import Tensor, recorded
from ..typing import Array
from .base import NumericLayer
from .registry import register


@register()
class Masking(NumericLayer):
    """A mask of the time steps whose features all have one value; these steps become zero.

    Args:
        mask_value: that value, 0 by default.

    Call: x (B, T, ..., D) gives the same shape, with a mask of its shape without D for the layers that follow, in place
    of one that x has.

    Raises:
        ValueError: for an input without time steps, and for one with lengths.

    >>> layer = Masking(-1.0)
    >>> layer([[[1.0, -1.0], [-1.0, -1.0]]]).mask
    array([[ True, False]])
    """

    _config_arguments = ("mask_value",)

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = real("mask_value", mask_value)

    def call(self, inputs: Tensor) -> Tensor:
        if inputs.ndim < 3:
            raise ValueError(f"inputs: expected shape (batch, time, features) for {self.name!r}, got {inputs.shape}")
        if inputs.lengths is not None:
            raise ValueError(f"lengths: expected none for layer {self.name!r}, which makes a mask, got some")
        mask = self.compute_mask(inputs)
        kept, zero = mask[..., None], inputs.dtype.type(0)
        y = recorded(np.where(kept, inputs._array, zero), (inputs,), lambda g: (np.where(kept, g, zero),))
        y.mask = mask
        return y

    def compute_mask(self, inputs: Any, mask: Any = None) -> Array:
        array = np.asarray(inputs)
        kept: Array = (array != array.dtype.type(self.mask_value)).any(axis=-1)
        return kept

    def _add_to_stream(self, stream: Any) -> None:
        # A stream has no padding.
        pass
