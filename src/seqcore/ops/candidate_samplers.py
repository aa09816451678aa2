"""Samplers of candidate classes, with the expected counts that sampled losses correct by, under TensorFlow's names.

B, N, S: batch, true classes of a row (``num_true``), sampled classes (``num_sampled``). All rows of a batch share the
samples. A draw depends only on a seed and the number of the call, whatever the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import random as _random
from .._core.sampling import AliasTable, accidental_hits, sample_classes
from .._validation import MAX_SEED, boolean, default_only, integer, no_name, plain_array, real
from ..autograd import float_dtype
from ..typing import Array
from ._broadcast import as_ids

__all__ = [
    "AccidentalHits",
    "SampledValues",
    "UnigramTable",
    "compute_accidental_hits",
    "fixed_unigram_candidate_sampler",
    "log_uniform_candidate_sampler",
    "uniform_candidate_sampler",
]

MAX_CLASSES = 2**31 - 1


class SampledValues(NamedTuple):
    """The samples of a batch, and how often classes are expected among them.

    sampled_candidates: (S,) int64, the sampled classes.
    true_expected_count: (B, N) float, the expected count of each true class among them.
    sampled_expected_count: (S,) float, the expected count of each sampled class.
    """

    sampled_candidates: Array
    true_expected_count: Array
    sampled_expected_count: Array


class AccidentalHits(NamedTuple):
    """Sampled classes that are a true class of their row; (H,) each.

    indices: int64, the row. ids: int64, the place among the sampled classes. weights: float, the lowest finite number,
    which added to a logit removes it.
    """

    indices: Array
    ids: Array
    weights: Array


class UnigramTable:
    """The distribution P(k) = unigrams[k]**distortion / sum, drawn from in constant time (an alias table).

    Args:
        unigrams: (range_max,) counts or weights >= 0, not all 0.
        distortion: the power; 1 keeps the counts, 0.75 is word2vec's choice, 0 is uniform over all that occur.

    Sources: Walker, "An efficient method for generating discrete random variables with general distributions", 1977;
    Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.

    >>> UnigramTable([1, 2, 1]).range_max
    3
    """

    def __init__(self, unigrams: Any, distortion: float = 1.0) -> None:
        counts = plain_array("unigrams", unigrams)
        if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iuf":
            raise ValueError(
                f"unigrams: expected at least one number along one axis, got {counts.dtype} of shape {counts.shape}"
            )
        distortion = real("distortion", distortion)
        counts = counts.astype(np.float64)
        wrong = ~(np.isfinite(counts) & (counts >= 0))
        if wrong.any() or not counts.any():
            bad = counts[wrong][0] if wrong.any() else "only zeros"
            raise ValueError(f"unigrams: expected finite numbers >= 0, at least one of them > 0, got {bad}")
        # Relative to the largest, so that no power overflows; the weight of a count of 0 is 0 for every power.
        weights = np.zeros_like(counts)
        np.power(counts / counts.max(), distortion, out=weights, where=counts > 0)
        self._table = AliasTable(weights)
        self.distortion = distortion

    @property
    def range_max(self) -> int:
        """Number of classes."""
        return int(self._table.size)


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: None = None,
) -> SampledValues:
    """Sample from P(k) = (log(k + 2) - log(k + 1)) / log(range_max + 1): Zipf's law, where ids are ranks by frequency.

    Args:
        true_classes: (B, N) ids 0...range_max-1.
        num_true: N.
        num_sampled: S, the number of classes to draw for the whole batch.
        unique: all samples differ: classes are drawn until there are S different ones.
        range_max: number of classes.
        seed: an integer, or a pair (seed, call): the same draws every time. By default the position in the random
            numbers of :func:`seqcore.random.set_seed`, which moves on with each call.

    Returns:
        The samples and the expected counts: S * P(k) with replacement, else 1 - (1 - P(k))**tries, where ``tries`` is
        the number of classes that were drawn.

    Raises:
        ValueError: for ids out of range, sizes below 1, and more different samples than there are classes.

    >>> sampled, true_expected, sampled_expected = log_uniform_candidate_sampler([[0], [5]], 1, 4, True, 10, seed=1)
    >>> len(set(sampled.tolist())), true_expected.shape, sampled_expected.shape
    (4, (2, 1), (4,))
    """
    no_name(name)
    return _sample("log_uniform", true_classes, num_true, num_sampled, unique, range_max, seed)


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: None = None,
) -> SampledValues:
    """Sample every class with the same probability; see :func:`log_uniform_candidate_sampler`.

    >>> uniform_candidate_sampler([[0]], 1, 5, False, 10).sampled_expected_count
    array([0.5, 0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    no_name(name)
    return _sample("uniform", true_classes, num_true, num_sampled, unique, range_max, seed)


def fixed_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Any = (),
    seed: Any = None,
    name: None = None,
) -> SampledValues:
    """Sample in proportion to counts raised to a power; see :func:`log_uniform_candidate_sampler`.

    Args:
        unigrams: (range_max,) counts, or a :class:`UnigramTable`, which is built once for many calls.
        distortion: the power, where ``unigrams`` are counts.
        vocab_file, num_reserved_ids, num_shards, shard, name: accepted only at TensorFlow's defaults.

    >>> drawn = fixed_unigram_candidate_sampler([[0]], 1, 3, False, 3, unigrams=[0, 7, 0]).sampled_candidates
    >>> drawn.tolist()
    [1, 1, 1]
    """
    no_name(name)
    default_only("vocab_file", vocab_file, "", "counts come as unigrams")
    default_only("num_reserved_ids", num_reserved_ids, 0, "give reserved ids the count 0")
    default_only("num_shards", num_shards, 1, "one process samples all classes")
    default_only("shard", shard, 0, "one process samples all classes")
    if not isinstance(unigrams, UnigramTable):
        unigrams = UnigramTable(unigrams, distortion)
    elif distortion not in (1.0, unigrams.distortion):
        raise ValueError(f"distortion: expected that of the table, {unigrams.distortion}, got {distortion!r}")
    return _sample(unigrams._table, true_classes, num_true, num_sampled, unique, range_max, seed)


def compute_accidental_hits(
    true_classes: Any, sampled_candidates: Any, num_true: int, seed: Any = None, name: None = None
) -> AccidentalHits:
    """The samples that are a true class of a row, to be left out of its loss.

    Args:
        true_classes: (B, N) ids.
        sampled_candidates: (S,) ids.
        num_true: N.
        seed: without effect; part of TensorFlow's signature.

    >>> hits = compute_accidental_hits([[3], [1]], [1, 2, 1], 1)
    >>> hits.indices.tolist(), hits.ids.tolist()
    ([1, 1], [0, 2])
    """
    no_name(name)
    labels = true_ids(true_classes, num_true, MAX_CLASSES)
    sampled = as_ids(sampled_candidates, "sampled_candidates", MAX_CLASSES)
    if sampled.ndim != 1:
        raise ValueError(f"sampled_candidates: expected one axis, got shape {sampled.shape}")
    rows, places = accidental_hits(labels.astype(np.int64), np.ascontiguousarray(sampled, np.int64))
    dtype = float_dtype(None)
    return AccidentalHits(rows, places, np.full(len(rows), np.finfo(dtype).min, dtype))


def true_ids(true_classes: Any, num_true: int, bound: int, name: str = "true_classes") -> Array:
    """(B, num_true) checked ids, C-contiguous."""
    integer("num_true", num_true, 1, MAX_CLASSES)
    ids = as_ids(true_classes, name, bound)
    if ids.ndim != 2 or ids.shape[1] != num_true:
        raise ValueError(f"{name}: expected shape (batch, {num_true}), got {ids.shape}")
    return np.ascontiguousarray(ids)


def resolve_seed(seed: Any) -> tuple[int, int]:
    """Seed and call number of the next draws."""
    if seed is None:
        return _random.next_draw()
    try:
        number, call = seed if isinstance(seed, (tuple, list)) else (seed, 0)
        return integer("seed", number, 0, MAX_SEED), integer("seed", call, 0, MAX_SEED)
    except ValueError:
        raise ValueError(
            f"seed: expected None, an integer 0...2**63-1 or a pair (seed, call) of them, got {seed!r}"
        ) from None


def checked_values(values: Any, batch: int, num_true: int, num_sampled: int) -> tuple[Array, Array, Array]:
    """``sampled_values=`` of a loss: int64 (S,), float64 (B, N) and (S,), expected counts above 0."""
    try:
        parts = [np.asarray(part) for part in values]
    except TypeError:
        parts = []
    if len(parts) != 3:
        raise ValueError(
            "sampled_values: expected (sampled_candidates, true_expected_count, sampled_expected_count), got "
            f"{type(values).__name__}"
        )
    sampled = as_ids(parts[0], "sampled_candidates", MAX_CLASSES)
    shapes = {"true_expected_count": (batch, num_true), "sampled_expected_count": (num_sampled,)}
    if sampled.shape != (num_sampled,):
        raise ValueError(f"sampled_candidates: expected shape ({num_sampled},), got {sampled.shape}")
    for part, (name, shape) in zip(parts[1:], shapes.items(), strict=True):
        if part.shape != shape or part.dtype.kind not in "iuf":
            raise ValueError(f"{name}: expected numbers of shape {shape}, got {part.dtype} of shape {part.shape}")
        if not (part > 0).all():
            raise ValueError(f"{name}: expected numbers > 0, got {part[~(part > 0)][0]}")
    counts = (np.ascontiguousarray(part, np.float64) for part in parts[1:])
    return np.ascontiguousarray(sampled, np.int64), *counts  # type: ignore[return-value]


def _sample(
    distribution: Any, true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: Any
) -> SampledValues:
    classes = integer("range_max", range_max, 1, MAX_CLASSES)
    count = integer("num_sampled", num_sampled, 1, MAX_CLASSES)
    labels = true_ids(true_classes, num_true, classes)
    if unique and count > classes:
        raise ValueError(f"num_sampled: expected at most {classes}, the number of classes, when unique, got {count}")
    flat = labels.reshape(-1).astype(np.int64, copy=False)
    sampled, of_labels, of_sampled = sample_classes(
        distribution, classes, flat, count, boolean("unique", unique), *resolve_seed(seed)
    )
    dtype = float_dtype(None)
    return SampledValues(sampled, of_labels.reshape(labels.shape).astype(dtype), of_sampled.astype(dtype))
