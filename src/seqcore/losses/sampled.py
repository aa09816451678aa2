"""Losses that train a last Dense layer on sampled classes and evaluate by the full softmax."""

from __future__ import annotations

from .._validation import boolean, integer
from ..ops.sampled_losses import NCE, SAMPLED_SOFTMAX, Formula
from .crossentropy import SparseCategoricalCrossentropy
from .loss import LOSSES


class SampledLoss(SparseCategoricalCrossentropy):
    """Base of the losses that train a last Dense layer on sampled classes.

    Args:
        num_sampled: S, classes that are sampled for each batch, by the log-uniform distribution without replacement:
            ids must be ranks by frequency, as vocabularies have them.
        remove_accidental_hits: leave out samples that are the target of their row.
        ignore_class, reduction, name: see :class:`SparseCategoricalCrossentropy`.

    In ``fit`` and ``train_on_batch`` the loss is the sampled one; the model must end in a Dense layer without
    activation. ``evaluate``, and every call on logits, is the cross-entropy of the full softmax. Metrics are those of
    the full softmax too and cost as much as it does: for speed compile without them.
    """

    formula: Formula
    _config_names: tuple[str, ...] = ("num_sampled", "remove_accidental_hits", "ignore_class", "reduction", "name")

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool,
        ignore_class: int | None,
        reduction: str | None,
        name: str | None,
    ) -> None:
        super().__init__(True, ignore_class, reduction, name=name)
        self.num_sampled = integer("num_sampled", num_sampled, 1)
        self.remove_accidental_hits = boolean("remove_accidental_hits", remove_accidental_hits)


@LOSSES.register("nce_loss")
class NCELoss(SampledLoss):
    """Noise-contrastive estimation in training, the full softmax elsewhere; see :class:`SampledLoss`.

    >>> NCELoss(64).num_sampled
    64
    """

    formula = NCE

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        name: str | None = "nce_loss",
    ) -> None:
        super().__init__(num_sampled, remove_accidental_hits, ignore_class, reduction, name)


@LOSSES.register("sampled_softmax_loss")
class SampledSoftmaxLoss(SampledLoss):
    """Sampled softmax in training, the full softmax elsewhere; see :class:`SampledLoss`.

    >>> round(float(SampledSoftmaxLoss(64)([1], [[0.0, 0.0]])), 4)
    0.6931
    """

    formula = SAMPLED_SOFTMAX

    def __init__(
        self,
        num_sampled: int,
        remove_accidental_hits: bool = True,
        ignore_class: int | None = None,
        reduction: str | None = "mean",
        name: str | None = "sampled_softmax_loss",
    ) -> None:
        super().__init__(num_sampled, remove_accidental_hits, ignore_class, reduction, name)
