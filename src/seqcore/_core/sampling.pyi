"""Samplers of classes, and the losses over sampled classes."""

from ..typing import Array

class AliasTable:
    """A distribution over 0...N-1 in proportion to weights (N,) float64, drawn from in constant time."""

    def __init__(self, weights: Array) -> None: ...
    @property
    def size(self) -> int: ...

def sample_classes(
    distribution: str | AliasTable,
    range_max: int,
    true_classes: Array,
    num_sampled: int,
    unique: bool,
    seed: int,
    call: int,
) -> tuple[Array, Array, Array]:
    """Draws from "log_uniform", "uniform" or a table over 0...range_max-1; the same for the same (seed, call).

    true_classes: (N,) int64. Returns the samples (S,) int64, and the expected counts of the true classes and of the
    samples.
    """

def accidental_hits(true_classes: Array, sampled_candidates: Array) -> tuple[Array, Array]:
    """(rows, places): sampled_candidates[place] is one of true_classes[row]; (R, N) and (S,) int64."""

def sampled_loss(
    weights: Array,
    biases: Array | None,
    labels: Array,
    inputs: Array,
    sampled_values: tuple[Array, Array, Array] | None,
    num_sampled: int,
    *,
    softmax: bool,
    target: float = 1.0,
    correct: bool = True,
    remove_hits: bool = False,
    by_columns: bool = False,
    gradients: bool = True,
    need_dx: bool = True,
    need_weights: bool = True,
    weight: float = 1.0,
    row_weights: Array | None = None,
    seed: int = 0,
    call: int = 0,
) -> tuple[Array, Array | None, Array | None, Array | None, Array | None]:
    """Loss over sampled classes for inputs (R, K) and labels (R, N): logistic per class, or softmax over them all.

    weights: (V, K), or (K, V) with `by_columns`; biases (V,). sampled_values: what `sample_classes` returned, or None
    to draw log-uniformly without replacement from (seed, call). target: the label of a true class; correct:
    log(expected count) is subtracted from the logits. Returns the losses (R,) and the gradients of
    weight * sum(row_weights * losses): of the inputs, of the classes used (U, K) and of their biases (U,); and those
    classes (U,) int64.
    """
