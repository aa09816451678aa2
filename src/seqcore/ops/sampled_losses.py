"""Losses over sampled classes: noise-contrastive estimation, sampled softmax, negative sampling.

The formulas are TensorFlow's. B, K: rows and inputs. V, S, N: all classes, sampled classes (``num_sampled``), true
classes of a row (``num_true``). The logit of class j for row x is x · w_j + b_j - log(expected count of j), without
the last term in negative sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from .._core.sampling import sampled_loss
from .._validation import boolean, integer, no_name
from ..autograd.tape import is_recording, record, taken
from ..autograd.tensor import Gradient, IndexedSlices, Tensor, Variable
from ..typing import Array
from ._broadcast import float_tensor
from .candidate_samplers import MAX_CLASSES, checked_values, resolve_seed, true_ids

__all__ = ["negative_sampling_loss", "nce_loss", "sampled_softmax_loss"]


class _Kind(NamedTuple):
    """What tells the losses apart."""

    softmax: bool
    # Whether expected counts are taken off, and whether the labels of the true classes of a row sum to 1.
    corrected: bool
    shared_label: bool


NCE = _Kind(softmax=False, corrected=True, shared_label=True)
SAMPLED_SOFTMAX = _Kind(softmax=True, corrected=True, shared_label=True)
NEGATIVE_SAMPLING = _Kind(softmax=False, corrected=False, shared_label=False)


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
        num_true: N; each true class has the label 1 / N.
        sampled_values: what a sampler of :mod:`seqcore.sampling` returned. By default
            ``log_uniform_candidate_sampler(..., unique=True)``, for which ids must be ranks by frequency.
        remove_accidental_hits: leaves samples that are a true class of the row out.
        name: accepted at its default alone.
        seed: of the default sampler; see there.

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
    return _sampled_loss(NCE, *arguments, remove_accidental_hits, seed)


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
    """Cross-entropy of a softmax over the true classes and the samples alone.

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
    return _sampled_loss(SAMPLED_SOFTMAX, *arguments, remove_accidental_hits, seed)


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
    return _sampled_loss(NEGATIVE_SAMPLING, *arguments, remove_accidental_hits, seed)


def _sampled_loss(
    kind: _Kind,
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
) -> Tensor:
    remove_accidental_hits = boolean("remove_accidental_hits", remove_accidental_hits)
    x = float_tensor(inputs)
    w = weights if isinstance(weights, Tensor) else Tensor(weights, x.dtype)
    b = biases if biases is None or isinstance(biases, Tensor) else Tensor(biases, x.dtype)
    if x._array.ndim != 2 or w._array.ndim != 2 or x._array.shape[1] != w._array.shape[1] or not x._array.size:
        raise ValueError(
            f"weights: expected shape (num_classes, K) for inputs of shape (batch, K), got {w.shape} for {x.shape}"
        )
    _check_classes("num_classes", num_classes, w._array.shape[0])
    return rows_loss(
        kind, x, w, b, labels, num_sampled, num_true, sampled_values, remove_accidental_hits, seed, by_columns=False
    )


def _check_classes(name: str, given: Any, classes: int) -> None:
    if integer(name, given, 1, MAX_CLASSES) != classes:
        raise ValueError(f"{name}: expected {classes}, the number of classes that weights have, got {given}")


def rows_loss(
    kind: _Kind,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    labels: Any,
    num_sampled: int,
    num_true: int,
    sampled_values: Any,
    remove_accidental_hits: bool,
    seed: Any,
    *,
    by_columns: bool,
    row_weights: Array | None = None,
) -> Tensor:
    """The losses (B,) of a checked x (B, K) and weights (V, K), with ``by_columns`` (K, V).

    With ``row_weights`` (B,) the result is the scalar sum of the losses times these weights.
    """
    x_array, w_array = x._array, w._array
    batch, classes = x_array.shape[0], w_array.shape[1 if by_columns else 0]
    count = num_sampled if type(num_sampled) is int else integer("num_sampled", num_sampled, 1, MAX_CLASSES)
    if not 1 <= count <= classes and (count < 1 or sampled_values is None):
        raise ValueError(f"num_sampled: expected an integer 1...{classes}, got {num_sampled}")
    if type(num_true) is not int:
        num_true = integer("num_true", num_true, 1, MAX_CLASSES)
    ids = labels._array if isinstance(labels, Tensor) else labels
    # The core checks the ids of an array that is what it takes; anything else is looked at here.
    plain = type(ids) is np.ndarray and ids.dtype.char in "ilq" and ids.shape == (batch, num_true)
    if not plain or not ids.flags.c_contiguous:
        ids = true_ids(labels, num_true, classes, "labels")
    if len(ids) != batch:
        raise ValueError(f"labels: expected shape ({batch}, {num_true}), got {ids.shape}")
    if b is not None and b._array.shape != (classes,):
        raise ValueError(f"biases: expected shape ({classes},), got {b.shape}")
    for name, one in (("weights", w), ("biases", b)):
        if one is not None and one._array.dtype != x_array.dtype:
            raise TypeError(f"{name}: expected {x_array.dtype} like the inputs, got {one.dtype}")
    inputs = (x, w) if b is None else (x, w, b)
    need_dx, need_weights = is_recording((x,)), is_recording(inputs[1:])
    gradients = need_dx or need_weights
    samples = None if sampled_values is None else checked_values(sampled_values, batch, num_true, count)
    seed, call = resolve_seed(seed) if samples is None else (0, 0)
    shared = 1.0 / num_true if kind.shared_label else 1.0
    bias = None if b is None else np.ascontiguousarray(b._array)
    core = (np.ascontiguousarray(w_array), bias, ids, np.ascontiguousarray(x_array), samples, count)

    def run(weight: float, each: Array | None, gradients: bool) -> tuple[Any, ...]:
        return sampled_loss(
            *core,
            softmax=kind.softmax,
            target=shared,
            correct=kind.corrected,
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

    # The losses will most often be averaged: the gradients are those of the mean, until the way back says otherwise.
    guess = 1.0 / batch
    losses, *found = run(guess, row_weights, gradients)
    if row_weights is not None:
        # A weight of 0 leaves a row out even where its loss is not finite.
        weighted = np.where(row_weights == 0, 0, losses * row_weights)
        losses = np.asarray(x_array.dtype.type(weighted.sum(dtype=np.float64)))
    loss = Tensor(losses)
    if gradients:
        whole = None if row_weights is not None else guess
        again = lambda: run(guess, row_weights, True)[1:]  # noqa: E731
        record((loss,), inputs, _way_back(run, found, again, whole, w, b, by_columns))
    return loss


def _way_back(
    run: Callable[..., tuple[Any, ...]],
    first: Sequence[Array | None],
    again: Callable[[], Sequence[Array | None]],
    guess: float | None,
    w: Tensor,
    b: Tensor | None,
    by_columns: bool,
) -> Callable[[Array], tuple[Gradient, ...]]:
    """From the gradient of the losses (B,), or of the scalar (guess None), to those of inputs, weights and biases.

    The gradients that the forward call made (``first``) are given away by the first backward pass, whose caller may
    change them; later ones of a persistent tape compute them ``again``.
    """
    fresh = [first]

    def backward(g: Array) -> tuple[Gradient, ...]:
        factor = 1.0
        parts: Sequence[Array | None] | None = None
        if guess is None:
            factor = g.item()
        elif g.strides == (0,) or len(g) == 1:
            factor = 1.0 if g[0] == g.dtype.type(guess) else float(g[0]) / guess
        else:
            _, *parts = run(1.0, np.ascontiguousarray(g), True)
        if parts is None:
            parts = taken(fresh) or again()
        dx, dw, db, rows = parts if factor == 1.0 else map(_times, parts, repeat(factor))
        if dw is None or db is None or rows is None:
            return dx, None, None
        return dx, _slices(dw, rows, w, by_columns), None if b is None else _slices(db, rows, b)

    return backward


def _slices(values: Array, rows: Array, of: Tensor, by_columns: bool = False) -> Gradient:
    """The gradient of a variable as its slices; that of what an operation made is dense, as operations expect."""
    slices = IndexedSlices.from_sorted(values, rows, of._array.shape, 1 if by_columns else 0)
    return slices if isinstance(of, Variable) else np.asarray(slices)


def _times(one: Array | None, factor: float) -> Array | None:
    return one if one is None or one.dtype.kind != "f" else one * one.dtype.type(factor)
