"""Logs for TensorBoard."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .._validation import as_path, default_only, integer
from .callback import Callback, Logs

_file_numbers = itertools.count()


def _open_events(folder: str) -> tuple[Any, Callable[[str, float, int], Any]]:
    """The writer of an event file, by tensorboardX or TensorBoard itself, and its function of a tag, value and step."""
    try:
        # Its files are named by second and host: two of the same second would be one.
        suffix = f".{os.getpid()}.{next(_file_numbers)}"
        writer = import_module("tensorboardX").SummaryWriter(folder, filename_suffix=suffix)
        return writer, writer.add_scalar
    except ImportError:
        pass
    try:
        event = import_module("tensorboard.compat.proto.event_pb2").Event
        summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
        writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter(folder)
    except ImportError:
        raise ImportError(
            "TensorBoard: expected tensorboardX or tensorboard, got neither; pip install 'seqcore[tensorboard]'"
        ) from None

    def add_scalar(tag: str, value: float, step: int) -> None:
        scalars = summary(value=[summary.Value(tag=tag, simple_value=value)])
        writer.add_event(event(wall_time=time.time(), step=step, summary=scalars))

    return writer, add_scalar


class TensorBoard(Callback):
    """Write the logs for TensorBoard, in ``log_dir/train`` and ``log_dir/validation``.

    Args:
        log_dir: the folder, "logs" by default.
        update_freq: "epoch" (the default) writes the logs of each epoch, "batch" those of each batch too, an integer
            every n-th batch.
        write_graph: without effect, since there is no graph.
        histogram_freq, write_images, write_steps_per_second, profile_batch, embeddings_freq, embeddings_metadata:
            accepted only at Keras's defaults.

    Tags are ``epoch_<name>`` by epoch and ``batch_<name>`` by batch, as in Keras. Needs tensorboardX or tensorboard.

    Raises:
        ValueError: naming the argument.
        ImportError: at the start of the training, if neither is installed.
    """

    main_only = True
    _state = {"_batches": int}

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
        default_only("histogram_freq", histogram_freq, 0, "only numbers are written")
        default_only("write_graph", write_graph, (True, False), "there is no graph")
        default_only("write_images", write_images, False, "only numbers are written")
        default_only("write_steps_per_second", write_steps_per_second, False, "only the logs are written")
        default_only("profile_batch", profile_batch, 0, "nothing is profiled")
        default_only("embeddings_freq", embeddings_freq, 0, "only numbers are written")
        default_only("embeddings_metadata", embeddings_metadata, None, "only numbers are written")
        if update_freq == "batch":
            update_freq = 1
        if update_freq != "epoch":
            update_freq = integer("update_freq", update_freq, 1, alternative="'epoch', 'batch'")
        self.log_dir, self.update_freq = as_path(log_dir, "log_dir"), update_freq
        self._files: dict[str, tuple[Any, Callable[[str, float, int], Any]]] = {}
        self._batches = 0

    def _open(self, split: str) -> Callable[[str, float, int], Any]:
        if split not in self._files:
            self._files[split] = _open_events(os.path.join(self.log_dir, split))
        return self._files[split][1]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        self._open("train")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if isinstance(self.update_freq, int) and self._batches % self.update_freq == 0:
            for key, value in (logs or {}).items():
                self._open("train")(f"batch_{key}", float(value), self._batches - 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        rate = {"learning_rate": optimizer.learning_rate} if optimizer is not None else {}
        for key, value in {**rate, **(logs or {})}.items():
            if isinstance(value, (int, float, np.number)):
                split = "validation" if key.startswith("val_") else "train"
                self._open(split)(f"epoch_{key.removeprefix('val_')}", float(value), epoch)
        for writer, _ in self._files.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for writer, _ in self._files.values():
            writer.close()
        self._files = {}
