"""The forms of X that are lists of sequences.

T: time steps, D: features of a time step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from ..._validation import is_array, plain_array, short_repr
from ...autograd import Tensor
from ...text.sequences import pad_sequences


def split_rows(X: Any) -> tuple[list[Any] | None, int]:
    """The sequences of a list, or None for arrays, frames and lists of anything else; and the number of axes of X."""
    axes = len(X.shape) if hasattr(X, "shape") else 2
    if axes == 1 and getattr(X.dtype, "kind", "") == "O":
        X = list(X)
    if not isinstance(X, (list, tuple)):
        return None, axes
    if not X:
        raise ValueError("X: expected at least one sequence, got an empty list")
    sequences = [is_array(row) or isinstance(row, (list, tuple)) for row in X]
    if not any(sequences):
        return None, 1
    if not all(sequences):
        number = sequences.index(False)
        raise ValueError(f"X: expected a sequence at position {number}, got {short_repr(X[number])}")
    first = X[0]
    if is_array(first):
        return list(X), 1 + len(first.shape)
    return list(X), 3 if first and hasattr(first[0], "__len__") else 2


def pad_rows(rows: list[Any], dtype: Any) -> Tensor:
    """Sequences (T, D) or (T,) as one tensor with their lengths."""
    arrays = [plain_array(f"X[{number}]", row) for number, row in enumerate(rows)]
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    for number, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1:] != arrays[0].shape[1:]:
            wanted = f"(T, {arrays[0].shape[1]})" if arrays[0].ndim == 2 else "(T, D)"
            raise ValueError(f"X: expected sequences of shape {wanted}, got {array.shape} at position {number}")
        if not array.size:
            raise ValueError(f"X: expected at least one time step in each sequence, got {array.shape} at {number}")
    lengths = np.array([len(array) for array in arrays], np.int32)
    steps = check_array(np.concatenate(arrays), dtype=dtype, input_name="X")
    x = Tensor(pad_sequences(np.split(steps, np.cumsum(lengths)[:-1]), dtype=steps.dtype, padding="post"))
    if lengths.min() < lengths.max():
        x.lengths = lengths
    return x
