"""Convolution over the time steps: windows of a sequence as rows, and their product with a kernel.

B: batch, T: time steps, D: features, K: kernel size, N: filters; U: time steps of the output.
"""

from __future__ import annotations

import numpy as np

from ..autograd import Gradient, Tensor, recorded
from ..typing import Array
from .matmul import dense


def output_steps(steps: int, span: int, stride: int, pads: tuple[int, int]) -> int:
    """U for T time steps, windows that reach over ``span`` of them and start every ``stride``, and zeros around."""
    return max((steps + sum(pads) - span) // stride + 1, 0)


def sliding_windows(x: Tensor, size: int, stride: int, dilation: int, pads: tuple[int, int]) -> Tensor:
    """K time steps for each step of the output, one after the other: x (B, T, D) gives (B, U, K D).

    Args:
        x: the sequences.
        size: K.
        stride: steps from the start of a window to that of the next.
        dilation: steps from one of a window to the next.
        pads: zeros before the first step and after the last.
    """
    if size == stride == 1 and not any(pads):
        return x
    array = x._array
    batch, steps, features = array.shape
    before, after = pads
    count = output_steps(steps, (size - 1) * dilation + 1, stride, pads)
    padded = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if before or after:
        padded = np.zeros((batch, before + steps + after, features), array.dtype)
        padded[:, before : before + steps] = array
    row, step, item = padded.strides
    # Within the buffer by its bounds, which NumPy checks.
    windows: Array = np.ndarray(
        (batch, count, size, features), array.dtype, padded, 0, (row, stride * step, dilation * step, item)
    )

    def backward(g: Array) -> tuple[Gradient, ...]:
        """The sum of what each window passes to a step, position by position, so that its order is fixed."""
        dwindows = np.reshape(g, (batch, count, size, features))
        dpadded = np.zeros((batch, before + steps + after, features), g.dtype)
        for k in range(size):
            start = k * dilation
            dpadded[:, start : start + (count - 1) * stride + 1 : stride] += dwindows[:, :, k]
        return (dpadded[:, before : before + steps],)

    return recorded(np.ascontiguousarray(windows).reshape(batch, count, size * features), (x,), backward)


def conv1d(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    pads: tuple[int, int] = (0, 0),
    dilation: int = 1,
    activation: str = "linear",
    mixed: bool = False,
) -> Tensor:
    """activation(sum over k of x[t * stride + k * dilation] · kernel[k] + bias): a cross-correlation.

    Args:
        x: (B, T, D), long enough for one window.
        kernel: (K, D, N).
        bias: (N,), or None.
        stride, pads, dilation: see :func:`sliding_windows`.
        activation: one of those of a dense layer.
        mixed: multiply in bfloat16.

    Returns:
        (B, U, N).
    """
    size, features, filters = shape = kernel.shape
    windows = sliding_windows(x, size, stride, dilation, pads)
    matrix = recorded(kernel._array.reshape(size * features, filters), (kernel,), lambda g: (g.reshape(shape),))
    return dense(windows, matrix, bias, activation, mixed)
