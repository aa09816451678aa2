"""Embeddings: rows of a table, and the sums of gradients by row."""

from ..typing import Array

def embedding_forward(table: Array, ids: Array) -> Array:
    """Rows of table (V, D) for ids (int32 or int64, 0 to 2 axes): ids.shape + (D,); two axes give a time-major view."""

def embedding_backward(ids: Array, dy: Array, rows: int) -> tuple[Array, Array]:
    """For ids (N,), dy (N, D): (values (U, D), indices (U,) int64), indices ascending, duplicates summed in order."""
