"""Input: the shape of one sample at the front of a Sequential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike

from .._validation import NUMBERS, as_dtype, as_sizes, default_only, integer
from ..autograd import Tensor
from ..typing import Shape
from .base import Layer
from .registry import register


@register()
class InputLayer(Layer):
    """Shape of one sample at the front of a Sequential; data pass unchanged.

    Args:
        shape: shape of one sample, without the batch size.
        batch_size: fixed batch size, or None.
        dtype: "float32", "float64", or an integer type for ids.
        batch_shape: shape with the batch size in front, instead of ``shape`` and ``batch_size``.
    """

    supports_masking = True
    _accepts_list = False
    _input_kinds = ""

    def __init__(
        self,
        shape: Sequence[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: DTypeLike | None = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
    ) -> None:
        default_only("sparse", sparse, (None, False), "inputs are dense arrays")
        default_only("ragged", ragged, (None, False), "sequences of different lengths are padded, with lengths=")
        default_only("input_tensor", input_tensor, None, "the functional API is not supported")
        default_only("optional", optional, False, "a Sequential has one input")
        data_dtype = None if dtype is None else as_dtype("dtype", dtype, NUMBERS)
        if batch_shape is None:
            if shape is None:
                raise ValueError("shape: expected a tuple of sizes, got None")
            sizes = as_sizes("shape", shape if isinstance(shape, (tuple, list)) else (shape,))
            batch_shape = (None if batch_size is None else integer("batch_size", batch_size, 1), *sizes)
        float_dtype = data_dtype if data_dtype is not None and data_dtype.kind == "f" else None
        super().__init__(name=name, dtype=float_dtype, batch_input_shape=batch_shape)
        self.data_type = self.dtype if data_dtype is None else data_dtype.name

    @property
    def batch_shape(self) -> Shape:
        assert self._batch_input_shape is not None
        return self._batch_input_shape

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.data_type, "batch_shape": list(self.batch_shape)}

    def _add_to_stream(self, stream: Any) -> None:
        pass


def Input(  # noqa: N802
    shape: Sequence[int | None] | int | None = None,
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> InputLayer:
    """The shape of one sample, as the first entry of a Sequential.

    Calling a layer on it (Keras's functional API) is refused.

    >>> Input(shape=(10, 3)).batch_shape
    (None, 10, 3)
    """
    default_only("tensor", tensor, None, "the functional API is not supported")
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, None, optional, name)
