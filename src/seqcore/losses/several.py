"""OutputLosses: a loss for each output of a model, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._validation import real, short_repr
from ..autograd import Tensor, record
from .lookup import get, serialize
from .loss import Loss
from .sampled import SampledLoss

# The name of an output in a dict, or its position in a list.
Key = str | int


class OutputLosses:
    """A loss for each output of a model: the ``loss`` of a model that is compiled with a list or a dict of them.

    Args:
        losses: losses or their names, in a list by the positions of the outputs, or in a dict by their names; None for
            an output without a loss.
        weights: the factors of the losses in the sum, in a list or a dict of the same form; ones by default.

    Called with targets, predictions and sample weights in that form, it returns the sum; weights may be one array for
    all outputs.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> both = OutputLosses({"price": "mse", "sold": "binary_crossentropy"}, {"price": 0.5, "sold": 1.0})
    >>> y = {"price": np.array([[2.0]]), "sold": np.array([[1.0]])}
    >>> round(float(both(y, {"price": Tensor([[0.0]]), "sold": Tensor([[1.0]])})), 4)
    2.0
    """

    def __init__(
        self, losses: Sequence[Any] | Mapping[str, Any], weights: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> None:
        self.named = isinstance(losses, Mapping)
        self.losses: dict[Key, Loss] = {}
        given = by_output("loss", losses, self.named)
        self.outputs: list[Key] = list(given)
        for key, identifier in given.items():
            if identifier is not None:
                self.losses[key] = get(identifier)
                if isinstance(self.losses[key], SampledLoss):
                    raise ValueError(
                        f"loss: expected losses of whole outputs, got {type(self.losses[key]).__name__}, which takes a "
                        "model with one output"
                    )
                if isinstance(identifier, str):
                    # As in Keras, the logs have the name as it was given.
                    self.losses[key].name = identifier
        if not self.losses:
            raise ValueError(f"loss: expected a loss for at least one output, got {short_repr(losses)}")
        factors = {} if weights is None else by_output("loss_weights", weights, self.named, self.outputs)
        if weights is not None and any(factors.get(key) is None for key in self.losses):
            raise ValueError(f"loss_weights: expected a number for each loss, got {short_repr(weights)}")
        self.weights = {key: real("loss_weights", factors.get(key, 1.0)) for key in self.losses}

    def select(self, name: str, values: Any) -> dict[Key, Any]:
        """The entries of a list, tuple or dict by output; ``name`` is that of the argument, for errors."""
        if not self.named and isinstance(values, (list, tuple)) and len(values) == len(self.losses) < len(self.outputs):
            # Targets of the outputs that have a loss.
            return dict(zip(self.losses, values))
        return by_output(name, values, self.named, self.outputs)

    def predictions(self, outputs: Any) -> dict[Key, Tensor]:
        """The outputs that have a loss or a metric, out of those that the model returned."""
        form = "a dict" if self.named else f"a list of {len(self.outputs)}"
        fits = isinstance(outputs, Mapping) if self.named else isinstance(outputs, (list, tuple))
        if not fits or (not self.named and len(outputs) != len(self.outputs)):
            got = f"a {type(outputs).__name__}" + (f" of {len(outputs)}" if isinstance(outputs, (list, tuple)) else "")
            raise TypeError(f"model: expected call to return {form}, as the loss of compile is, got {got}")
        for key in self.outputs:
            if self.named and key not in outputs:
                raise ValueError(
                    f"model: expected call to return an output {key!r}, got {', '.join(map(repr, outputs))}"
                )
            if key in self.losses and not isinstance(outputs[key], Tensor):
                raise TypeError(f"model: expected a Tensor as output {key!r}, got {type(outputs[key]).__name__}")
        return {key: outputs[key] for key in self.outputs}

    def of_outputs(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> dict[Key, Tensor]:
        """The loss of each output, without its weight."""
        outputs, targets = self.predictions(y_pred), self.select("y", y_true)
        sample_weights = self.sample_weights(sample_weight)
        losses = {}
        for key, loss in self.losses.items():
            if targets.get(key) is None:
                raise ValueError(f"y: expected targets for the output {key!r}, which has a loss, got none")
            losses[key] = loss(targets[key], outputs[key], sample_weight=sample_weights.get(key))
        return losses

    def sample_weights(self, weights: Any) -> dict[Key, Any]:
        """The sample weights by output; one array is for all of them."""
        if isinstance(weights, (list, tuple, Mapping)):
            return self.select("sample_weight", weights)
        return dict.fromkeys(self.outputs, weights)

    def total(self, losses: Mapping[Key, Tensor]) -> Tensor:
        """The weighted sum of the losses of :meth:`of_outputs`."""
        for key, loss in losses.items():
            if loss.ndim:
                raise ValueError(f"loss: expected a scalar for the output {key!r}, got shape {loss.shape}")
        parts, factors = list(losses.values()), [self.weights[key] for key in losses]
        dtypes = [part.dtype for part in parts]
        value = sum(factor * float(part) for factor, part in zip(factors, parts))
        result = Tensor(np.asarray(value, np.result_type(*dtypes)))
        record((result,), parts, lambda dy: tuple((np.asarray(dy) * f).astype(d) for f, d in zip(factors, dtypes)))
        return result

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        return self.total(self.of_outputs(y_true, y_pred, sample_weight))

    def serialize(self) -> tuple[Any, Any]:
        """The losses and their weights as ``compile`` takes them; JSON-able."""
        losses = {key: serialize(self.losses[key]) if key in self.losses else None for key in self.outputs}
        weights = {key: self.weights.get(key) for key in self.outputs}
        return (losses, weights) if self.named else (list(losses.values()), list(weights.values()))

    def __repr__(self) -> str:
        return f"<OutputLosses {', '.join(f'{key}: {loss.name}' for key, loss in self.losses.items())}>"


def by_output(name: str, values: Any, named: bool, outputs: Sequence[Key] | None = None) -> dict[Key, Any]:
    """The entries of a list or tuple (or, if ``named``, of a dict) by the outputs' positions (or names).

    Args:
        name: of the argument, for errors.
        values: the list, tuple or dict.
        named: true where the outputs have names.
        outputs: the outputs; None takes them from ``values``. Names may be missing, positions may not.

    Raises:
        TypeError, ValueError: for another form, another number of entries and unknown names.
    """
    if isinstance(values, Mapping) is not named or not (named or isinstance(values, (list, tuple))):
        form = f"a dict by output ({', '.join(map(repr, outputs or ()))})" if named else "a list, one entry per output"
        raise TypeError(f"{name}: expected {form}, as the loss of compile is, got {type(values).__name__}")
    if not named:
        if outputs is not None and len(values) != len(outputs):
            raise ValueError(f"{name}: expected {len(outputs)} entries, one per output, got {len(values)}")
        return dict(enumerate(values))
    unknown = [key for key in values if not isinstance(key, str) or (outputs is not None and key not in outputs)]
    if unknown:
        expected = "names of outputs" if outputs is None else f"the outputs {', '.join(map(repr, outputs))}"
        raise ValueError(f"{name}: expected {expected}, got {short_repr(unknown[0])}")
    return dict(values)


def is_per_output(loss: Any) -> bool:
    """True for a list of several losses, or a dict of them by output."""
    return isinstance(loss, Mapping) and "class_name" not in loss or isinstance(loss, (list, tuple)) and len(loss) != 1
