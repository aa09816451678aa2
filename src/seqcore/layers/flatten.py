"""Flatten."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from .._validation import channels_last
from ..autograd import Tensor
from .base import Layer
from .registry import register


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
