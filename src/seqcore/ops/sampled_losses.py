"""Losses over sampled classes: noise-contrastive estimation, sampled softmax, negative sampling.

The formulas are TensorFlow's. B, K: rows and inputs. V, S, N: all classes, sampled classes (``num_sampled``), true
classes of a row (``num_true``). The logit of class j for row x is x · w_j + b_j - log(expected count of j), without
the last term in negative sampling.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from .._core import sampling
from .._validation import boolean, integer, no_name
from ..autograd import Gradient, IndexedSlices, Tensor, Variable, is_recording, recorded
from ..autograd.tape import pop_once
from ..typing import Array
from ._broadcast import float_tensor
from .candidate_samplers import MAX_CLASSES, checked_values, resolve_seed, true_ids

__all__ = ["negative_sampling_loss", "nce_loss", "sampled_softmax_loss"]


class Formula(NamedTuple):
    """The differences between the sampled losses."""

    # A softmax over the classes of a row, or a logistic loss of each.
    softmax: bool
    # True where the log of the expected count is subtracted from a logit.
    corrected: bool
    # True where the labels of the true classes of a row sum to 1; otherwise each is 1.
    shared_label: bool


NCE = Formula(softmax=False, corrected=True, shared_label=True)
SAMPLED_SOFTMAX = Formula(softmax=True, corrected=True, shared_label=True)
NEGATIVE_SAMPLING = Formula(softmax=False, corrected=False, shared_label=False)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    name: str | None = "nce_loss",
    seed: Any = None,
) -> Tensor:
    """Noise-contrastive estimation: a logistic loss that tells the true classes from sampled noise.

    loss = sum over the true classes j of [log(1 + exp(l_j)) - l_j / N] + sum over the samples of log(1 + exp(l_j)),
    with l_j = x · w_j + b_j - log(expected count of j).

    Args:
        weights: (V, K), one row for each class.
        biases: (V,), or None.
        labels: (B, N) ids of the true classes.
        inputs: (B, K) float.
        num_sampled: S; all rows share the samples.
        num_classes: V.
        num_true: N, 1 by default; each true class has the label 1 / N.
        sampled_values: the result of a sampler of :mod:`seqcore.sampling`. By default that of
            ``log_uniform_candidate_sampler(..., unique=True)``, for which ids must be ranks by frequency.
        remove_accidental_hits: leave out samples that are a true class of their row.
        name: accepted only at its default.
        seed: that of the default sampler; see there.

    Returns:
        (B,) losses. Gradients of the weights and biases are ``IndexedSlices`` of the rows used.

    Raises:
        ValueError: for shapes that do not fit, ids out of range and more samples than classes.

    Sources: Gutmann and Hyvärinen, "Noise-contrastive estimation", 2010; Mnih and Teh, "A fast and simple algorithm for
    training neural probabilistic language models", 2012.

    >>> loss = nce_loss(np.zeros((9, 2)), np.zeros(9), [[1], [4]], np.ones((2, 2)), 3, 9, seed=0)
    >>> loss.shape
    (2,)
    """
    no_name(name, "nce_loss")
    arguments = (weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values)
    return sampled_loss(NCE, *arguments, remove_accidental_hits, seed)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    seed: Any = None,
    name: str | None = "sampled_softmax_loss",
) -> Tensor:
    """Cross-entropy of a softmax over only the true classes and the samples.

    loss = log(sum over true classes and samples of exp(l_j)) - (sum over the true classes of l_j) / N,
    with l_j = x · w_j + b_j - log(expected count of j). An estimate of the full softmax for training; evaluate by that.

    Args and returns: see :func:`nce_loss`.

    Source: Jean et al., "On using very large target vocabulary for neural machine translation", 2015.

    >>> everything = (list(range(4)), np.ones((1, 1)), np.ones(4))
    >>> loss = sampled_softmax_loss(np.zeros((4, 2)), None, [[1]], np.ones((1, 2)), 4, 4, sampled_values=everything)
    >>> f"{loss.item():.4f}"  # log(4): the full softmax
    '1.3863'
    """
    no_name(name, "sampled_softmax_loss")
    arguments = (weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values)
    return sampled_loss(SAMPLED_SOFTMAX, *arguments, remove_accidental_hits, seed)


def negative_sampling_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    seed: Any = None,
) -> Tensor:
    """word2vec's loss: -sum over the true classes of log(sigmoid(l_j)) - sum over the samples of log(sigmoid(-l_j)).

    l_j = x · w_j + b_j without a correction: the expected counts of ``sampled_values`` are not used. word2vec itself
    has no biases (None) and samples counts to the power 0.75 (``fixed_unigram_candidate_sampler``).

    Args and returns: see :func:`nce_loss`; every true class has the label 1.

    Source: Mikolov et al., "Distributed representations of words and phrases and their compositionality", 2013.

    >>> loss = negative_sampling_loss(np.zeros((4, 2)), None, [[1]], np.ones((1, 2)), 3, 4)
    >>> f"{loss.item() / np.log(2):.4f}"
    '4.0000'
    """
    arguments = (weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values)
    return sampled_loss(NEGATIVE_SAMPLING, *arguments, remove_accidental_hits, seed)


def sampled_loss(
    formula: Formula,
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Any,
    remove_accidental_hits: bool,
    seed: Any,
    *,
    by_columns: bool = False,
    row_weights: Array | None = None,
) -> Tensor:
    """The losses (B,) of :func:`nce_loss` and the others, or with ``row_weights`` (B,) their weighted scalar sum.

    With ``by_columns`` the weights are (K, V), like the kernel of a Dense layer.
    """
    remove_accidental_hits = boolean("remove_accidental_hits", remove_accidental_hits)
    x = float_tensor(inputs)
    w = weights if isinstance(weights, Tensor) else Tensor(weights, x.dtype)
    b = biases if biases is None or isinstance(biases, Tensor) else Tensor(biases, x.dtype)
    x_array, w_array, b_array = x._array, w._array, None if b is None else b._array
    rows, columns = x_array.shape, w_array.shape[::-1] if by_columns else w_array.shape
    if len(rows) != 2 or len(columns) != 2 or rows[1] != columns[1] or not x_array.size:
        raise ValueError(
            f"weights: expected shape (num_classes, K) for inputs of shape (batch, K), got {w.shape} for {x.shape}"
        )
    batch, classes = rows[0], columns[0]
    if integer("num_classes", num_classes, 1, MAX_CLASSES) != classes:
        raise ValueError(f"num_classes: expected {classes}, the number of classes that weights have, got {num_classes}")
    num_sampled = integer("num_sampled", num_sampled, 1, classes if sampled_values is None else MAX_CLASSES)
    num_true = integer("num_true", num_true, 1, MAX_CLASSES)
    ids = _checked_labels(labels, batch, num_true, classes)
    if b_array is not None and b_array.shape != (classes,):
        raise ValueError(f"biases: expected shape ({classes},), got {b_array.shape}")
    for name, array in (("weights", w_array), ("biases", b_array)):
        if array is not None and array.dtype != x_array.dtype:
            raise TypeError(f"{name}: expected {x_array.dtype} like the inputs, got {array.dtype}")
    inputs = (x, w) if b is None else (x, w, b)
    need_dx, need_weights = is_recording((x,)), is_recording(inputs[1:])
    samples = None if sampled_values is None else checked_values(sampled_values, batch, num_true, num_sampled)
    seed, call = resolve_seed(seed) if samples is None else (0, 0)
    bias = None if b_array is None else np.ascontiguousarray(b_array)
    core = (np.ascontiguousarray(w_array), bias, ids, np.ascontiguousarray(x_array), samples, num_sampled)

    def run(weight: float, each: Array | None, gradients: bool) -> tuple[Any, ...]:
        """The losses and the gradients of their sum, each loss times ``weight`` or its entry of ``each``."""
        return sampling.sampled_loss(
            *core,
            softmax=formula.softmax,
            target=1.0 / num_true if formula.shared_label else 1.0,
            correct=formula.corrected,
            remove_hits=remove_accidental_hits,
            by_columns=by_columns,
            gradients=gradients,
            need_dx=need_dx,
            need_weights=need_weights,
            weight=weight,
            row_weights=each,
            seed=seed,
            call=call,
        )

    # The losses are averaged most often: the forward call computes the gradients of their mean along with them.
    mean = 1.0 / batch
    losses, *gradients = run(mean, row_weights, need_dx or need_weights)
    if row_weights is not None:
        # A weight of 0 leaves a row out even where its loss is not finite.
        weighted = np.where(row_weights == 0, 0, losses * row_weights)
        losses = np.asarray(x_array.dtype.type(weighted.sum(dtype=np.float64)))
    # Given away by the first backward pass, whose caller may change them; later ones of a persistent tape compute
    # them again.
    fresh = [gradients]

    def backward(g: Array) -> tuple[Gradient, ...]:
        parts = None
        if row_weights is not None:
            factor = float(g)
        elif g.strides == (0,) or len(g) == 1:  # all losses have the same gradient
            factor = 1.0 if g[0] == g.dtype.type(mean) else float(g[0]) / mean
        else:
            factor, parts = 1.0, run(1.0, np.ascontiguousarray(g), True)[1:]
        parts = parts or pop_once(fresh) or run(mean, row_weights, True)[1:]
        dx, dw, db, used = parts if factor == 1.0 else map(_times, parts, repeat(factor))
        if dw is None or db is None or used is None:
            return dx, None, None
        return dx, _slices(dw, used, w, by_columns), None if b is None else _slices(db, used, b)

    return recorded(losses, inputs, backward)


def _checked_labels(labels: Any, batch: int, num_true: int, classes: int) -> Array:
    ids = labels._array if isinstance(labels, Tensor) else labels
    plain = type(ids) is np.ndarray and ids.dtype.char in "ilq" and ids.shape == (batch, num_true)
    # The core checks the ids of an array that it can take as it is; anything else is checked here.
    if not plain or not ids.flags.c_contiguous:
        ids = true_ids(labels, num_true, classes, "labels")
    if len(ids) != batch:
        raise ValueError(f"labels: expected shape ({batch}, {num_true}), got {ids.shape}")
    return np.asarray(ids)


def _slices(values: Array, rows: Array, of: Tensor, by_columns: bool = False) -> Gradient:
    """The gradient of a variable as its slices; that of another tensor is dense, as operations expect."""
    slices = IndexedSlices.from_sorted(values, rows, of._array.shape, 1 if by_columns else 0)
    return slices if isinstance(of, Variable) else np.asarray(slices)


def _times(array: Array | None, factor: float) -> Array | None:
    """Values times ``factor``; row numbers and None as they are."""
    return array if array is None or array.dtype.kind != "f" else array * array.dtype.type(factor)
