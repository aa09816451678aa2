"""The scan of RNN-CF's context."""

from ..typing import Array

def context_scan_forward(
    z: Array,
    alpha: float,
    initial: Array | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    """s_t = (1 - alpha) z_t + alpha s_{t-1} for z (B, T, C); returns s (B, T, C) and the final s (B, C).

    Past a length s is 0; at masked steps s is carried.
    """

def context_scan_backward(
    ds: Array | None,
    ds_last: Array | None,
    alpha: float,
    shape: tuple[int, int, int],
    lengths: Array | None = None,
    mask: Array | None = None,
    reverse: bool = False,
    dtype: str = "float32",
) -> tuple[Array, Array]:
    """Returns dz (B, T, C) and the gradient of the initial s (B, C)."""
