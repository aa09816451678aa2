"""Embedding.

B: batch, T: time steps, V: rows of the table, D: their dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import initializers as _initializers
from .. import ops
from .._core.embedding import embedding_backward, embedding_forward
from .._validation import as_booleans, as_mask, boolean, integer, no_adapters, no_regularizers, plain_array
from ..autograd import (
    Gradient,
    GradientBuffers,
    IndexedSlices,
    Tensor,
    Variable,
    as_array,
    record,
    unchecked_tensor,
)
from ..autograd.tape import Backward
from ..typing import Array
from .base import ArrayCall, Layer
from .registry import register


@register()
class Embedding(Layer):
    """Rows of a table for ids.

    Args:
        input_dim: V, number of ids.
        output_dim: D, width of a row.
        embeddings_initializer: initial values.
        embeddings_regularizer, embeddings_constraint: accepted only as None.
        mask_zero: id 0 is padding: steps with it are masked in what follows.
        weights: the table itself, (V, D) or a list that holds it.
        lora_rank, lora_alpha, quantization_config: accepted only as None.
        input_length: number of steps, if known beforehand.
        padding_idx: an id whose row begins as zeros and is never trained, as in PyTorch, or None; unlike ``mask_zero``
            it masks nothing.

    Call: ids (...) in 0...V-1 (floats must be whole numbers) give (..., D). The gradient of the table is IndexedSlices;
    with ``trainable=False`` there is none.

    Raises:
        ValueError: for NaN, fractions and ids out of range, naming the bound.

    >>> layer = Embedding(4, 2, weights=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    >>> layer([[3, 0]]).numpy().tolist()
    [[[6.0, 7.0], [0.0, 1.0]]]
    """

    _config_arguments = ("input_dim", "output_dim", "embeddings_initializer", "mask_zero")
    supports_masking = True
    _accepts_list = False
    _input_kinds = ""
    embeddings: Variable

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: None = None,
        embeddings_constraint: None = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        *,
        input_length: int | None = None,
        padding_idx: int | None = None,
        **kwargs: Any,
    ) -> None:
        if input_length is not None:
            kwargs.setdefault("input_shape", (input_length,))
        super().__init__(**kwargs)
        no_regularizers(embeddings_regularizer=embeddings_regularizer, embeddings_constraint=embeddings_constraint)
        no_adapters(lora_rank, lora_alpha, quantization_config)
        self.input_dim, self.output_dim = integer("input_dim", input_dim, 1), integer("output_dim", output_dim, 1)
        self.embeddings_initializer = _initializers.get(embeddings_initializer, "embeddings_initializer")
        self.mask_zero = boolean("mask_zero", mask_zero)
        self.input_length = input_length
        self.padding_idx = None if padding_idx is None else integer("padding_idx", padding_idx, 0, self.input_dim - 1)
        if weights is not None:
            self._use_table(weights)

    def _use_table(self, weights: Any) -> None:
        shape = (self.input_dim, self.output_dim)
        if isinstance(weights, (list, tuple)) and len(weights) == 1 and np.ndim(weights[0]) == 2:
            weights = weights[0]
        table = as_array(weights)
        if table.shape != shape:
            raise ValueError(f"weights: expected shape {shape} for layer {self.name!r}, got {table.shape}")
        self.build(None)
        self.embeddings.assign(table.astype(self.dtype))

    def build(self, input_shape: Any = None) -> None:
        if not self._own_variables:
            self.embeddings = self.add_weight((self.input_dim, self.output_dim), self._initial_table, name="embeddings")
            self.embeddings.sparse = True
        self.built = True

    def _initial_table(self, shape: tuple[int, ...], dtype: Any) -> Array:
        table: Array = self.embeddings_initializer(shape, dtype)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0
        return table

    def call(self, inputs: Tensor) -> Tensor:
        y, backward = self._look_up(inputs._array)
        out = unchecked_tensor(y)
        record((out,), (inputs, self.embeddings), backward, takes_buffers=True)
        if self.mask_zero:
            if inputs.lengths is not None:
                raise ValueError(f"mask_zero, lengths: expected at most one of them for layer {self.name!r}, got both")
            if inputs.mask is None:
                out.mask = self.compute_mask(inputs)
        return out

    def takes_arrays(self) -> bool:
        return not self.mask_zero

    def call_on_array(self, x: Array, need_dx: bool) -> ArrayCall:
        table = self.embeddings
        y, backward = self._look_up(x)
        return y, (table,), backward if table._trainable else None

    def _look_up(self, ids: Array) -> tuple[Array, Backward]:
        """The rows of the ids, and the backward function of the look-up."""
        given = ids
        if ids.dtype.char not in "ilq":
            # The core checks the range of what it takes.
            ids = self._checked_ids(ids)
        table = self.embeddings
        try:
            if ids.ndim <= 2:
                y = embedding_forward(table._array, np.ascontiguousarray(ids) if ids.ndim else ids)
            else:
                y = embedding_forward(table._array, np.ascontiguousarray(ids).reshape(-1))
                y = y.reshape(*ids.shape, self.output_dim)
        except ValueError:
            self._checked_ids(given)
            raise

        def backward(dy: Array, buffers: GradientBuffers) -> tuple[Gradient, ...]:
            rows = np.atleast_2d(dy)
            flat_dy, _ = ops.flatten_steps(rows)
            flat_ids = ops.flatten_like(np.atleast_1d(ids), rows)
            values, indices = embedding_backward(flat_ids, flat_dy, self.input_dim)
            if self.padding_idx is not None:
                trained = indices != self.padding_idx
                values, indices = values[trained], indices[trained]
            return None, IndexedSlices.from_sorted(values, indices, table._array.shape)

        return y, backward

    def _checked_ids(self, inputs: Array) -> Array:
        try:
            return ops.as_ids(inputs, "ids", self.input_dim)
        except ValueError as error:
            raise ValueError(f"{error}, in layer {self.name!r} of input_dim {self.input_dim}") from None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if not self.mask_zero:
            return mask
        own = as_array(inputs) != 0
        if mask is None:
            return own
        given = self._check_mask(mask, own.shape)
        return own & given.reshape(given.shape + (1,) * (own.ndim - given.ndim))

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        """One boolean for each id, or for each time step of ids with more axes."""
        array = plain_array("mask", mask)
        return as_booleans("mask", array) if array.shape == shape else as_mask(array, shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        own = {} if self.padding_idx is None else {"padding_idx": self.padding_idx}
        return {**super().get_config(), **own}

    def _add_to_stream(self, stream: Any) -> None:
        # A stream has no padding: with mask_zero its user does not feed id 0.
        stream.add_embedding(self.embeddings._array)
