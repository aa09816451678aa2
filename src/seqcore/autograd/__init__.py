"""Tensors, and the tape that records what is computed from them."""

from .dtypes import MIXED, dtype_policy, float_dtype, floatx, products_of, set_dtype_policy, set_floatx, types_of
from .tape import (
    Backward,
    GradientBuffers,
    GradientTape,
    add_gradients,
    is_recording,
    record,
    stop_recording,
    taken,
)
from .tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, slices_of, tensor_of

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
    "products_of",
    "record",
    "set_dtype_policy",
    "set_floatx",
    "slices_of",
    "stop_recording",
    "taken",
    "tensor_of",
    "types_of",
]
