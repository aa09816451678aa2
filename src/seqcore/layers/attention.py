"""Additive attention: which steps of one sequence matter for each step of another.

B: batch, Tq: steps of the query, Tv: steps of the value and its key, D: features of query and key, E: of the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .._validation import as_mask, boolean, dropout_rate, seed_or_none
from ..autograd import Gradient, Tensor, recorded, tensor_mask
from ..typing import Array
from .activations import masked_softmax
from .base import Layer
from .dropout import DropoutGenerator
from .registry import register


def additive_scores(query: Tensor, key: Tensor, scale: Tensor) -> Tensor:
    """scores[b, i, j] = sum_d scale[d] * tanh(query[b, i, d] + key[b, j, d]).

    Args:
        query: (B, Tq, D).
        key: (B, Tv, D).
        scale: (D,).

    Returns:
        (B, Tq, Tv). One array (B, Tq, Tv, D) is kept for the backward pass.
    """
    q, k, s = query._array, key._array, scale._array
    y = q[:, :, None, :] + k[:, None, :, :]
    np.tanh(y, out=y)
    # A small product for each step of the query is faster by far than a large one with a single column.
    scores = np.matmul(y, s)

    def backward(g: Array) -> tuple[Gradient, ...]:
        """dq_i = scale * sum_j g_ij (1 - y_ij^2), dk_j the same over i, dscale = sum_ij g_ij y_ij."""
        dscale = np.matmul(g.reshape(len(y), 1, -1), y.reshape(len(y), -1, y.shape[-1])).sum(axis=(0, 1))
        squares = y * y
        dq = g.sum(axis=2)[..., None] - np.matmul(g[:, :, None, :], squares)[:, :, 0, :]
        turned = np.ascontiguousarray(g.swapaxes(1, 2))[:, :, None, :]
        dk = g.sum(axis=1)[..., None] - np.matmul(turned, squares.swapaxes(1, 2))[:, :, 0, :]
        return dq * s, dk * s, dscale

    return recorded(scores, (query, key, scale), backward)


@register()
class AdditiveAttention(Layer):
    """For each step of a query the mean of a value's steps, weighted by how well their keys go with the query.

    Args:
        use_scale: whether the sum over the features is weighted by a vector that is learned; without it by ones.
        dropout: share of the weights that training leaves out.
        seed: of the dropout, None or an integer.

    Call: ``layer([query, value])`` or ``layer([query, value, key])`` with query (B, Tq, D), value (B, Tv, E) and key
    (B, Tv, D), the value by default, gives (B, Tq, E)::

        scores[i, j] = sum_d scale[d] * tanh(query[i, d] + key[j, d])
        weights[i] = softmax(scores[i])
        output[i] = sum_j weights[i, j] * value[j]

    with ``return_attention_scores=True`` also the weights (B, Tq, Tv). As in Keras the layer has no products of its
    own: the W·s + U·h of the source are Dense layers without bias on query and key.

    Steps of the value past its ``lengths``, or masked, have weight zero; a row without any valid step gives zeros. The
    output of a masked step of the query, or of one past its length, is zero. ``mask=[query_mask, value_mask]`` takes
    masks by hand; ``use_causal_mask`` lets step i see only steps 0...i of the value.

    Raises:
        ValueError: for inputs other than a list of two or three sequences that fit together.

    Source: Bahdanau, Cho and Bengio, Neural machine translation by jointly learning to align and translate, 2015.

    >>> layer = AdditiveAttention()
    >>> mean, weights = layer([np.zeros((2, 1, 4)), np.ones((2, 3, 4))], return_attention_scores=True)
    >>> mean.shape, np.allclose(weights, 1 / 3)
    ((2, 1, 4), True)
    """

    _config_arguments = ("use_scale", "dropout", "seed")
    supports_masking = True
    _input_kinds = "fiub"

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_scale, self.seed = boolean("use_scale", use_scale), seed_or_none(seed)
        self.dropout = dropout_rate("dropout", dropout)
        self._dropout = DropoutGenerator(seed)

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)
        self.scale = self.add_weight((input_shape[0][2],), "glorot_uniform", name="scale") if self.use_scale else None
        self.built = True

    def _check_shapes(self, shapes: Any) -> None:
        if not isinstance(shapes, list) or len(shapes) not in (2, 3) or any(s is None or len(s) != 3 for s in shapes):
            raise ValueError(
                f"inputs: expected [query, value] or [query, value, key], each (batch, time, features), for layer "
                f"{self.name!r}, got shape {shapes}"
            )

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        causal = boolean("use_causal_mask", use_causal_mask)
        with_scores = boolean("return_attention_scores", return_attention_scores)
        query, value, key = self._check(inputs)
        if mask is not None and (not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3)):
            raise ValueError(f"mask: expected a list [query_mask, value_mask], got {type(mask).__name__}")
        seen = _valid(value, None if mask is None else mask[1])
        scale = Tensor(np.ones(query.shape[2], self._dtype)) if self.scale is None else self.scale
        allowed = None if seen is None else seen[:, None, :]
        if causal:
            past = np.tri(query.shape[1], value.shape[1], dtype=bool)
            allowed = past if allowed is None else allowed & past
        weights = masked_softmax(additive_scores(query, key, scale), allowed)
        dropped = weights
        if training and self.dropout:
            dropped = ops.multiply(weights, self._dropout.mask(weights.shape, self.dropout, self.dtype))
            self._dropout.call += 1
        y = ops.matmul(dropped, value)
        kept = _valid(query, None if mask is None else mask[0])
        if kept is not None:
            y = ops.multiply(y, kept[:, :, None].astype(self._dtype))
            y.lengths = query.lengths
            y.mask = None if query.lengths is not None else kept
        return [y, weights] if with_scores else y

    def _check(self, inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        parts = list(inputs) if isinstance(inputs, (list, tuple)) else []
        self._check_shapes([part.shape if isinstance(part, Tensor) else None for part in parts])
        query, value, key = parts[0], parts[1], parts[-1]
        (b, _, d), (_, steps, _) = query.shape, value.shape
        if value.shape[0] != b or key.shape != (b, steps, d) or (self.scale is not None and self.scale.shape != (d,)):
            width = d if self.scale is None else self.scale.shape[0]
            raise ValueError(
                f"inputs: expected query ({b}, Tq, {width}), value ({b}, Tv, E) and key ({b}, Tv, {width}) for layer "
                f"{self.name!r}, got {', '.join(str(part.shape) for part in parts)}"
            )
        if not query.size or not value.size:
            raise ValueError(f"inputs: expected at least one element for layer {self.name!r}, got shape {query.shape}")
        return query, value, key

    def compute_output_shape(self, input_shape: Any) -> Any:
        query, value = input_shape[:2]
        return (*query[:2], value[2])

    def get_own_state(self) -> dict[str, Any]:
        return self._dropout.get_state()

    def set_own_state(self, state: dict[str, Any]) -> None:
        self._dropout.set_state(state)


def _valid(x: Tensor, mask: Any) -> Array | None:
    """Mask of the steps of a sequence that are not padding, (B, T), or None for all."""
    mask = tensor_mask(x) if mask is None else mask
    return None if mask is None else as_mask(mask, x.shape)
