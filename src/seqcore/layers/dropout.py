"""Dropout, and the generator of the masks of all layers that have some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random as _random
from .._core.random import dropout_mask
from .._validation import MAX_SEED, as_sizes, dropout_rate, integer, seed_or_none
from ..autograd import Tensor, is_recording, record, unchecked_tensor
from ..typing import Array
from .base import ArrayCall, NumericLayer
from .registry import register


class DropoutGenerator:
    """Generator of dropout masks, keyed by (seed, stream, number of the draw).

    Args:
        seed: an integer, or None for the global seed with a new stream number.
    """

    __slots__ = ("seed", "stream", "call")

    def __init__(self, seed: int | None) -> None:
        self.seed = seed_or_none(seed)
        self.stream = _random.next_stream() if seed is None else 0
        self.call = 0

    def mask(
        self, shape: tuple[int, ...], rate: float, dtype: str, offset: int = 0, shares_rows: bool = False
    ) -> Array:
        """Mask of the draw number ``call + offset``; the caller increments ``call`` when its work is done.

        Where this process has some rows of a batch, it is their part of the mask of all rows, unless ``shares_rows``
        says that the rows share one.
        """
        seed, rows, first = _random.seed() if self.seed is None else self.seed, _random.get_rows(), 0
        if rows is not None and not shares_rows:
            # A row may be several along the first axis of the mask, such as its time steps.
            first = math.prod(shape) // rows.size * rows.first
        return dropout_mask(shape, rate, seed, self.stream, self.call + offset, dtype, first)

    def get_state(self) -> dict[str, int]:
        return {"stream": self.stream, "call": self.call}

    def set_state(self, state: dict[str, Any]) -> None:
        stream, call = (integer(name, state[name], 0, MAX_SEED) for name in ("stream", "call"))
        self.stream, self.call = stream, call


@register()
class Dropout(NumericLayer):
    """In training, zeroes elements with probability ``rate`` and divides the others by 1 - rate.

    Args:
        rate: 0 <= rate < 1.
        noise_shape: shape of the mask, None for a size of the input; 1 shares the mask along an axis.
        seed: None or an integer.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.

    >>> Dropout(0.5)([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)
    """

    _config_arguments = ("rate", "noise_shape", "seed")

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = dropout_rate("rate", rate)
        self.noise_shape = None if noise_shape is None else as_sizes("noise_shape", noise_shape)
        self.seed = seed_or_none(seed)
        self._dropout = DropoutGenerator(seed)

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        y, _, backward = self.call_on_array(inputs._array, is_recording((inputs,)))
        out = unchecked_tensor(y)
        if backward is not None:
            record((out,), (inputs,), backward, takes_buffers=True)
        return out

    def takes_arrays(self) -> bool:
        return self.rate > 0

    def call_on_array(self, x: Array, need_dx: bool) -> ArrayCall:
        shape = x.shape
        if self.noise_shape is not None:
            shape = tuple(m if n is None else n for n, m in zip(self.noise_shape, x.shape))
            if len(self.noise_shape) != x.ndim or any(n not in (1, m) for n, m in zip(shape, x.shape)):
                raise ValueError(f"noise_shape: expected sizes that broadcast to {x.shape}, got {self.noise_shape}")
        shares_rows = self.noise_shape is not None and self.noise_shape[0] == 1
        mask = self._dropout.mask(shape, self.rate, x.dtype.name, shares_rows=shares_rows)
        y = np.multiply(x, mask, out=np.empty_like(x))
        self._dropout.call += 1
        return y, (), (lambda g, buffers: (np.multiply(g, mask, out=np.empty_like(x)),)) if need_dx else None

    def get_own_state(self) -> dict[str, Any]:
        return self._dropout.get_state()

    def set_own_state(self, state: dict[str, Any]) -> None:
        self._dropout.set_state(state)

    def _add_to_stream(self, stream: Any) -> None:
        pass
