"""Dropout masks from counter-based random numbers."""

from ..typing import Array

def dropout_mask(
    shape: tuple[int, ...], rate: float, seed: int, stream: int, call: int, dtype: str = "float32", first: int = 0
) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate); element i depends on (seed, stream, call, first + i) alone."""
