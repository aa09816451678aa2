"""Logs for TensorBoard."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from .._validation import as_path, default_only, integer
from .callback import Callback, Logs

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
    """Write the logs for TensorBoard, in ``log_dir/train`` and ``log_dir/validation``.

    Args:
        log_dir: the folder, "logs" by default.
        update_freq: "epoch" (the default) writes the logs of each epoch, "batch" those of each batch too, an integer
            those of one batch in so many.
        write_graph: without effect, since there is no graph.
        histogram_freq, write_images, write_steps_per_second, profile_batch, embeddings_freq, embeddings_metadata:
            accepted at Keras's defaults alone.

    Tags are ``epoch_<name>`` by epoch and ``batch_<name>`` by batch, as in Keras. Needs tensorboardX or tensorboard.

    Raises:
        ValueError: naming the argument.
        ImportError: at the start of the training, if neither is installed.
    """

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
        if update_freq != "epoch":
            update_freq = integer("update_freq", update_freq, 1, alternative="'epoch', 'batch'")
        self.log_dir, self.update_freq = as_path(log_dir, "log_dir"), update_freq
        self._files: dict[str, _EventFile] = {}
        self._batches = 0

    def _file(self, split: str) -> _EventFile:
        if split not in self._files:
            self._files[split] = _EventFile(os.path.join(self.log_dir, split))
        return self._files[split]

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
        rate = {"learning_rate": optimizer.learning_rate} if optimizer is not None else {}
        for key, value in {**rate, **(logs or {})}.items():
            if isinstance(value, (int, float, np.number)):
                split = "validation" if key.startswith("val_") else "train"
                self._file(split).scalar(f"epoch_{key.removeprefix('val_')}", float(value), epoch)
        for file in self._files.values():
            file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}
