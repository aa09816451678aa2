"""Callbacks that record: logs as CSV and for TensorBoard, the norms of gradients over time. T: time steps."""

from __future__ import annotations

import csv
import io
import itertools
import os
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import as_path, boolean, default_only
from ..autograd import Array, GradientTape
from ..batches import make_batch, plain
from ..saving.files import atomic_write
from ..text.files import read_text
from .base import Callback, Logs

if TYPE_CHECKING:
    from ..models import Model


class CSVLogger(Callback):
    """Writes the logs of each epoch to a CSV file with the columns epoch and the names of the logs.

    Args:
        filename: the file; its folder is made.
        separator: between columns, one character.
        append: keep what is in the file; otherwise it starts anew.

    The whole file is replaced at the end of each epoch, so that a kill leaves the old one or the new one. Names that
    turn up later become new columns; where a value is missing stands NA.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.filename, self.sep, self.append = as_path(filename, "filename"), separator, boolean("append", append)
        self._columns: list[str] = ["epoch"]
        self._rows: list[dict[str, Any]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._columns, self._rows = ["epoch"], []
        if self.append and os.path.exists(self.filename):
            reader = csv.reader(io.StringIO(read_text(self.filename), newline=""), delimiter=self.sep)
            try:
                names, *rows = list(filter(None, reader)) or [["epoch"]]
            except csv.Error as error:
                raise ValueError(f"filename: expected a CSV file, got {self.filename!r} ({error})") from None
            if len(set(names)) < len(names) or "epoch" not in names or any(len(row) != len(names) for row in rows):
                raise ValueError(f"filename: expected a CSV file with a column epoch, got {self.filename!r}")
            self._columns, self._rows = names, [dict(zip(names, row)) for row in rows]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        found = {k: v.item() if isinstance(v, np.generic) else v for k, v in (logs or {}).items()}
        self._columns += sorted(set(found) - set(self._columns))
        self._rows.append({**found, "epoch": epoch})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="NA", delimiter=self.sep, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        os.makedirs(os.path.dirname(self.filename) or ".", exist_ok=True)
        atomic_write(self.filename, [text.getvalue().encode()])


_file_numbers = itertools.count()


class _EventFile:
    """Scalars in a TensorBoard event file, through tensorboardX or TensorBoard's own writer."""

    def __init__(self, folder: str) -> None:
        try:
            # Its files are named by second and host: two of one second would be one.
            suffix = f".{os.getpid()}.{next(_file_numbers)}"
            self._writer = import_module("tensorboardX").SummaryWriter(folder, filename_suffix=suffix)
            self._event: Any = None
        except ImportError:
            try:
                self._event = import_module("tensorboard.compat.proto.event_pb2").Event
                self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
                writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter
            except ImportError:
                raise ImportError(
                    "TensorBoard: expected tensorboardX or tensorboard, got neither; pip install 'seqcore[tensorboard]'"
                ) from None
            self._writer = writer(folder)

    def scalar(self, tag: str, value: float, step: int) -> None:
        if self._event is None:
            self._writer.add_scalar(tag, value, step)
            return
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class TensorBoard(Callback):
    """Writes the logs for TensorBoard: ``log_dir/train`` and ``log_dir/validation``.

    Args:
        log_dir: the folder.
        update_freq: "epoch", "batch" (each batch too), or a number of batches.
        write_graph: without effect, since there is no graph.
        histogram_freq, write_images, write_steps_per_second, profile_batch, embeddings_freq, embeddings_metadata:
            accepted at Keras's defaults alone.

    Tags are ``epoch_<name>`` by epoch and ``batch_<name>`` by batch, as in Keras. Needs tensorboardX or tensorboard.

    Raises:
        ImportError: at the start of training, where neither is installed.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int | Sequence[int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: None = None,
    ) -> None:
        for name, value, default, reason in (
            ("histogram_freq", histogram_freq, 0, "numbers alone are written"),
            ("write_graph", write_graph, (True, False), "there is no graph"),
            ("write_images", write_images, False, "numbers alone are written"),
            ("write_steps_per_second", write_steps_per_second, False, "the logs alone are written"),
            ("profile_batch", profile_batch, 0, "nothing is profiled"),
            ("embeddings_freq", embeddings_freq, 0, "numbers alone are written"),
            ("embeddings_metadata", embeddings_metadata, None, "numbers alone are written"),
        ):
            default_only(name, value, default, reason)
        if update_freq == "batch":
            update_freq = 1
        whole = isinstance(update_freq, int) and not isinstance(update_freq, bool) and update_freq > 0
        if update_freq != "epoch" and not whole:
            raise ValueError(f"update_freq: expected 'epoch', 'batch' or a number of batches > 0, got {update_freq!r}")
        self.log_dir, self.update_freq = as_path(log_dir, "log_dir"), update_freq
        self._files: dict[str, _EventFile] = {}
        self._batches = 0

    def _file(self, kind: str) -> _EventFile:
        if kind not in self._files:
            self._files[kind] = _EventFile(os.path.join(self.log_dir, kind))
        return self._files[kind]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        self._file("train")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if isinstance(self.update_freq, int) and self._batches % self.update_freq == 0:
            for key, value in (logs or {}).items():
                self._file("train").scalar(f"batch_{key}", float(value), self._batches - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        found = {"learning_rate": optimizer.learning_rate} if optimizer is not None else {}
        for key, value in {**found, **(logs or {})}.items():
            if isinstance(value, (int, float, np.number)):
                kind = "validation" if key.startswith("val_") else "train"
                self._file(kind).scalar(f"epoch_{key.removeprefix('val_')}", float(value), epoch)
        for file in self._files.values():
            file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


class GradientNorms(Callback):
    """Collects, for each recurrent layer, the norm of dL/dh_t over batch and units at every time step t.

    Args:
        per: "epoch" (mean over its batches) or "batch".
        layers: names of the layers; all recurrent ones by default.

    ``norms`` maps a layer's name to a list of (T,) float64 arrays, one per epoch or batch; index t is the time step.
    Where the norms fall towards t = 0 gradients vanish, where they rise they explode. Batches may differ in T: the mean
    of a step is over the batches that have it. A ContextRNN has two states: under its name stands dL/dh_t, under
    ``name/context`` dL/ds_t. :func:`gradient_norms` measures one batch without training.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """

    def __init__(self, per: str = "epoch", layers: Sequence[str] | None = None) -> None:
        if per not in ("epoch", "batch"):
            raise ValueError(f"per: expected 'epoch' or 'batch', got {per!r}")
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
    """The norms of dL/dh_t that :class:`GradientNorms` collects, for one batch, without an update of the weights.

    Args:
        model: compiled with a loss, built.
        x, y, lengths: the batch, as in ``fit``.
        layers: names of the layers; all recurrent ones by default.

    Returns:
        layer's name -> (T,) float64.

    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.Input((None, 1)), layers.SimpleRNN(1, activation="linear", name="rnn")])
    >>> model.set_weights([[[1.0]], [[0.5]], [0.0]])
    >>> model.compile("sgd", "mse")
    >>> gradient_norms(model, np.ones((1, 4, 1)), [[0.0]])["rnn"] / 2 / model(np.ones((1, 4, 1))).item()
    array([0.125, 0.25 , 0.5  , 1.   ])
    """
    batch = make_batch(x, y, lengths=lengths)
    model._compiled()
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
    """The layers inside that can store dL/dh_t, by name; those of ``names`` alone if given."""
    found: dict[str, Any] = {}
    for layer in model.layers_inside():
        if hasattr(layer, "step_gradients") and hasattr(layer, "last_step_gradients"):
            name, count = layer.name, 1
            while name in found:
                name, count = f"{layer.name}_{count}", count + 1
            found[name] = layer
    if names is not None:
        missing = [name for name in names if name not in found]
        if missing:
            known = ", ".join(found) or "none"
            raise ValueError(f"layers: expected names of recurrent layers ({known}), got {missing[0]!r}")
        return {name: found[name] for name in names}
    if not found:
        raise ValueError("GradientNorms: expected a model with a recurrent layer, got none")
    return found


def _take_norms(layers: dict[str, Any]) -> dict[str, Array]:
    """The norms over batch and units of what the last way back stored, which is then dropped."""
    found: dict[str, Array] = {}
    for name, layer in layers.items():
        for attribute, key in (("last_step_gradients", name), ("last_context_gradients", f"{name}/context")):
            gradients = getattr(layer, attribute, None)
            if gradients is not None:
                found[key] = np.sqrt(np.square(np.asarray(gradients), dtype=np.float64).sum(axis=(0, 2)))
                setattr(layer, attribute, None)
    return found
