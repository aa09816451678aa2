"""Norms of gradients over time steps.

T: time steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._validation import choice
from .autograd import GradientTape
from .callbacks.callback import Callback, Logs
from .models import Model
from .training.batch import make_batch, plain
from .typing import Array


class GradientNorms(Callback):
    """Record the norm of dL/dh_t over batch and units at each time step t, for each recurrent layer.

    Norms that fall towards t = 0 show vanishing gradients, norms that grow exploding ones. Batches may differ in T: the
    mean of a step is over the batches that have it. A ContextRNN has two states: its name means dL/dh_t,
    ``name/context`` for dL/ds_t. :func:`gradient_norms` measures one batch without training.

    Args:
        per: "epoch" (the default) takes the mean over its batches, "batch" keeps each batch.
        layers: names of the layers; all recurrent ones by default.

    Attributes:
        norms: name of a layer -> list of (T,) float64 arrays, one per epoch or batch; index t is the time step.

    Raises:
        TypeError, ValueError: naming the argument; at the start of the training, for names of no recurrent layer.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """

    _state = {"norms": dict, "_sums": dict}

    def __init__(self, per: str = "epoch", layers: Sequence[str] | None = None) -> None:
        choice("per", per, ("epoch", "batch"))
        self.per, self.layers = per, _layer_names(layers)
        self.norms: dict[str, list[Array]] = {}
        self._watched: dict[str, Any] = {}
        self._before: dict[str, bool] = {}
        self._sums: dict[str, tuple[Array, Array]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._watched = _recurrent_layers(self.model, self.layers)
        self.norms = {name: [] for name in self._watched}
        self._before = {name: layer.step_gradients for name, layer in self._watched.items()}
        for layer in self._watched.values():
            layer.step_gradients = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._sums = {}

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for name, norms in _take_norms(self._watched).items():
            if self.per == "batch":
                self.norms.setdefault(name, []).append(norms)
            else:
                self._add(name, norms)

    def _add(self, name: str, norms: Array) -> None:
        total, count = self._sums.get(name, (np.zeros(0), np.zeros(0)))
        if len(norms) > len(total):
            longer = len(norms) - len(total)
            total, count = np.pad(total, (0, longer)), np.pad(count, (0, longer))
        total[: len(norms)] += norms
        count[: len(norms)] += 1
        self._sums[name] = total, count

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, (total, count) in self._sums.items():
            self.norms.setdefault(name, []).append(total / count)
        self._sums = {}

    def on_train_end(self, logs: Logs | None = None) -> None:
        for name, layer in self._watched.items():
            layer.step_gradients = self._before[name]
        self._watched = {}


def gradient_norms(
    model: Model, x: Any, y: Any, layers: Sequence[str] | None = None, *, lengths: Any = None
) -> dict[str, Array]:
    """The norms of dL/dh_t that :class:`GradientNorms` records, for one batch, without an update of the weights.

    Args:
        model: a built model that is compiled with a loss.
        x, y, lengths: the batch, as in ``fit``.
        layers: names of the layers; all recurrent ones by default.

    Returns:
        Name of a layer -> (T,) float64.

    Raises:
        RuntimeError: a model that is not compiled.
        ValueError: names of no recurrent layer, or a model without one.

    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((None, 1)), layers.SimpleRNN(1, activation="linear", name="rnn")])
    >>> model.set_weights([[[1.0]], [[0.5]], [0.0]])
    >>> model.compile("sgd", "mse")
    >>> gradient_norms(model, np.ones((1, 4, 1)), [[0.0]])["rnn"] / 2 / model(np.ones((1, 4, 1))).item()
    array([0.125, 0.25 , 0.5  , 1.   ])
    """
    batch = make_batch(x, y, lengths=lengths)
    model.require_compiled()
    watched = _recurrent_layers(model, _layer_names(layers))
    before = {name: layer.step_gradients for name, layer in watched.items()}
    try:
        for layer in watched.values():
            layer.step_gradients = True
        with model.state_scope(), GradientTape() as tape:
            loss = model.compute_loss(plain(batch.x), batch.y, model(batch.x, training=False))
        tape.gradient(loss, model.trainable_weights)
        return _take_norms(watched)
    finally:
        for name, layer in watched.items():
            layer.step_gradients = before[name]


def _layer_names(layers: Sequence[str] | None) -> list[str] | None:
    if isinstance(layers, str):
        raise TypeError("layers: expected a list of names, got one name")
    return None if layers is None else list(layers)


def _recurrent_layers(model: Any, names: list[str] | None) -> dict[str, Any]:
    """The layers inside that can store dL/dh_t, by name; only those of ``names`` if given."""
    layers: dict[str, Any] = {}
    for layer in model.layers_inside():
        if hasattr(layer, "step_gradients") and hasattr(layer, "last_step_gradients"):
            name, count = layer.name, 1
            while name in layers:
                name, count = f"{layer.name}_{count}", count + 1
            layers[name] = layer
    if not layers and names is None:
        raise ValueError("model: expected one with a recurrent layer, got none")
    missing = [name for name in names or () if name not in layers]
    if missing:
        known = ", ".join(layers) or "none"
        raise ValueError(f"layers: expected names of recurrent layers ({known}), got {missing[0]!r}")
    return layers if names is None else {name: layers[name] for name in names}


def _take_norms(layers: dict[str, Any]) -> dict[str, Array]:
    """The norms over batch and units of the gradients that the last backward pass stored, which are then dropped."""
    norms: dict[str, Array] = {}
    for name, layer in layers.items():
        for attribute, key in (("last_step_gradients", name), ("last_context_gradients", f"{name}/context")):
            gradients = getattr(layer, attribute, None)
            if gradients is not None:
                norms[key] = np.sqrt(np.square(np.asarray(gradients), dtype=np.float64).sum(axis=(0, 2)))
                setattr(layer, attribute, None)
    return norms
