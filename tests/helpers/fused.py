"""The fused head that training finds for a compiled model."""

from __future__ import annotations

from typing import Any

from seqcore.training.compiled_metrics import CompiledMetrics
from seqcore.training.train_step import TrainStep


def fused_head_of(model: Any) -> Any:
    """The end of the model that runs as one operation with the loss; None where all runs eagerly."""
    return TrainStep(model, CompiledMetrics([(metric, False) for metric in model.metrics[1:]])).inspection.head
