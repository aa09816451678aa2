"""Optimizer steps over lists of arrays, in place."""

from collections.abc import Sequence

from ..typing import Array

def sum_squares(arrays: Sequence[Array]) -> float:
    """Sum of the squares of all elements, by a fixed tree in float64."""

def sgd(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's SGD in place. Every gradient is first multiplied by `scale`, then clipped to +-clipvalue."""

def is_sorted_unique(indices: Array, bound: int) -> bool:
    """True for indices (N,) int64 that are unique, ascending and within 0...bound-1."""

def sgd_slices(
    params: Sequence[Array],
    values: Sequence[Array],
    indices: Sequence[Array],
    *,
    learning_rate: float,
    scale: float = 1.0,
    clipvalue: float | None = None,
    columns: Sequence[bool] | None = None,
) -> None:
    """SGD on the rows `indices` (int64, unique, ascending) of each param alone, or with `columns` on its columns.

    values: their gradients, one row of values per index.
    """

def adam(
    params: Sequence[Array],
    grads: Sequence[Array],
    momentums: Sequence[Array],
    velocities: Sequence[Array],
    max_velocities: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    step: int = 1,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's Adam (AMSGrad with max_velocities) in place; `step` counts from 1."""

def rmsprop(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array],
    momentums: Sequence[Array] | None = None,
    averages: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's RMSprop in place; `averages` (of the gradients) make it the centered form."""

def adagrad(
    params: Sequence[Array],
    grads: Sequence[Array],
    accumulators: Sequence[Array],
    *,
    learning_rate: float,
    epsilon: float = 1e-7,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's Adagrad in place."""
