"""Tensors, variables and the tape that records operations on them for the backward pass."""

from .dtypes import dtype_policy, float_dtype, floatx, set_dtype_policy, set_floatx
from .tape import GradientBuffers, GradientTape, is_recording, record, recorded, stop_recording
from .tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, tensor_mask, unchecked_tensor

__all__ = [
    "Gradient",
    "GradientBuffers",
    "GradientTape",
    "IndexedSlices",
    "Tensor",
    "Variable",
    "as_array",
    "dtype_policy",
    "float_dtype",
    "floatx",
    "is_recording",
    "record",
    "recorded",
    "set_dtype_policy",
    "set_floatx",
    "stop_recording",
    "tensor_mask",
    "unchecked_tensor",
]
