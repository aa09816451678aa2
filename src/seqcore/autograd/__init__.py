"""Tensors, variables and the tape that records operations on them for the backward pass."""

from .dtypes import MIXED, dtype_policy, float_dtype, floatx, resolve_dtype, set_dtype_policy, set_floatx, use_bfloat16
from .tape import Backward, GradientBuffers, GradientTape, add_gradients, is_recording, pop_once, record, stop_recording
from .tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, slice_view, unchecked_tensor

__all__ = [
    "Backward",
    "Gradient",
    "GradientBuffers",
    "GradientTape",
    "IndexedSlices",
    "MIXED",
    "Tensor",
    "Variable",
    "add_gradients",
    "as_array",
    "dtype_policy",
    "float_dtype",
    "floatx",
    "is_recording",
    "use_bfloat16",
    "record",
    "set_dtype_policy",
    "set_floatx",
    "slice_view",
    "stop_recording",
    "pop_once",
    "unchecked_tensor",
    "resolve_dtype",
]
