"""Shared parts of the experiments: common options, lines on the screen, files, recurrent layers by their names."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import random
from .._core import system
from .._files import atomic_write
from ..callbacks import Callback, EarlyStopping, Logs
from ..callbacks.progress_bar import ProgressLine
from ..datasets import download
from ..layers import GRU, LSTM, ContextRNN, Layer, SimpleRNN
from ..losses import SparseCategoricalCrossentropy
from ..models import Model
from ..optimizers import Adam
from ._plots import Curves, draw_curves, new_figure, save_figure

# The recurrent layers by the names that lines and pictures give them.
LAYERS: dict[str, Any] = {"SimpleRNN": SimpleRNN, "RNN-CF": ContextRNN, "LSTM": LSTM, "GRU": GRU}

Settings = TypeVar("Settings")


def add_common_arguments(
    parser: argparse.ArgumentParser, has_data: bool = True, presets: Sequence[str] = ("quick", "book")
) -> None:
    """Add the options of every experiment.

    Args:
        parser: takes them.
        has_data: whether there is more than the built-in data.
        presets: what ``--preset`` can be; the first is the default.
    """
    parser.add_argument(
        "--data",
        default=os.environ.get("SEQCORE_DATA", "builtin") if has_data else "builtin",
        metavar="builtin|download|DIR" if has_data else "builtin",
        help="built-in data (default), a download, or a folder with the data (SEQCORE_DATA sets the default)"
        if has_data
        else "this experiment makes its own data",
    )
    parser.add_argument("--preset", choices=tuple(presets), default=presets[0], help="minutes, or the book's settings")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training data")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same result (default 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads to use; the result does not depend on it")
    parser.add_argument("--out", metavar="DIR", help="folder for the model, the plots and the figures")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")


def apply_common_arguments(arguments: argparse.Namespace) -> None:
    """Check the common options and set the threads; ``seqcore run`` does it before the experiment begins.

    Raises:
        ValueError: for a value out of range.
    """
    for name, least in (("epochs", 1), ("threads", 1), ("seed", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}: expected an integer >= {least}, got {value}")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ValueError(f"--json: expected a file in an existing folder, got {arguments.json!r}")
    if arguments.threads is not None:
        system.set_num_threads(arguments.threads)


def open_folder(path: str | Path) -> Path:
    """The folder for results, made if need be, and tried for writing before any work is done.

    Raises:
        OSError: it cannot be made or written.
    """
    folder = Path(path)
    probe = folder / f".write-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(f"--out: cannot write in {str(folder)!r} ({error.strerror or error})") from None
    return folder


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON; numbers that JSON has no word for become null."""
    atomic_write(path, [json.dumps(_finite(value), indent=1).encode(), b"\n"])


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def check_at_least(least: float, **given: float | None) -> None:
    """Check options by their names; None is an option that was not given.

    Raises:
        ValueError: a value is below ``least``.

    >>> check_at_least(1, units=0)
    Traceback (most recent call last):
    ValueError: --units: expected a number >= 1, got 0
    """
    for name, value in given.items():
        if value is not None and not value >= least:
            raise ValueError(f"--{name.replace('_', '-')}: expected a number >= {least}, got {value}")


def override(settings: Settings, arguments: argparse.Namespace, *options: str) -> Settings:
    """The settings of a preset with those options put over them that were given.

    >>> @dataclasses.dataclass
    ... class Sizes:
    ...     units: int = 8
    ...     epochs: int = 2
    >>> override(Sizes(), argparse.Namespace(units=3, epochs=None), "units", "epochs")
    Sizes(units=3, epochs=2)
    """
    given = {name: value for name in options if (value := getattr(arguments, name)) is not None}
    return dataclasses.replace(settings, **given)  # type: ignore[type-var]


def data_folder(data: str, source: str = "") -> Path | None:
    """The folder that ``--data`` names, fetched first for ``download``; None for ``builtin``.

    Args:
        data: value of the option.
        source: name of the download; "" for an experiment that makes its own data.

    Raises:
        ValueError, OSError, ImportError: there is no such folder, or it cannot be fetched.
    """
    if data == "builtin":
        return None
    if not source:
        raise ValueError(f"--data: expected builtin, since this experiment makes its own data, got {data!r}")
    if data == "download":
        return download(source)
    if not Path(data).is_dir():
        raise ValueError(f"--data: expected builtin, download or a folder, got {data!r}")
    return Path(data)


def majority_accuracy(train: NDArray[Any], test: NDArray[Any]) -> float:
    """Test accuracy of always naming the label that most training texts have; the lower label if they are even.

    >>> majority_accuracy(np.array([0, 0, 1]), np.array([0, 1, 1, 1]))
    0.25
    """
    return float(np.mean(test == np.bincount(train).argmax()))


def recurrent_layer(name: str, units: int, /, **options: Any) -> Layer:
    """A recurrent layer by its name in ``LAYERS``; RNN-CF gets as many units of context.

    >>> recurrent_layer("RNN-CF", 4).units
    4
    """
    layer: Layer = LAYERS[name](*[units] * (2 if name == "RNN-CF" else 1), **options)
    return layer


def compile_classifier(
    model: Model,
    learning_rate: Any,
    clip: float | None = 1.0,
    metrics: Sequence[Any] = ("accuracy",),
    from_logits: bool = True,
) -> None:
    """Compile a model for integer labels: cross-entropy, Adam, gradients clipped by their global norm.

    Args:
        model: its outputs are logits, or probabilities without ``from_logits``.
        learning_rate: a number or a schedule.
        clip: limit of the global norm; None clips nothing.
        metrics: as in :meth:`seqcore.Model.compile`.
        from_logits: the outputs are logits.
    """
    loss = SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(Adam(learning_rate, global_clipnorm=clip), loss, metrics=list(metrics))


class Run:
    """One run of an experiment: its folder, its lines, its figures.

    Args:
        arguments: the common options, applied; the seed is set.
        name: of the experiment.
        variant: what else names the folder if ``--out`` does not, such as the cell.
        data: name of the data in the name of that folder; by default that of ``--data``.

    ``metrics`` and ``history`` are what :meth:`finish` writes; ``was_finished`` tells whether the folder holds the
    figures of an earlier run.

    Raises:
        OSError: a folder that cannot be written.
    """

    def __init__(self, arguments: argparse.Namespace, name: str, *variant: str, data: str | None = None) -> None:
        if data is None:
            data = arguments.data if arguments.data in ("builtin", "download") else Path(arguments.data).name or "data"
        label = "-".join([name, *variant, arguments.preset, data, f"seed{arguments.seed}"])
        self.arguments, self.name, self.begin = arguments, name, time.perf_counter()
        self.folder = open_folder(arguments.out or Path("runs") / label)
        self.metrics: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.progress = ProgressLine()
        self._can_plot = importlib.util.find_spec("matplotlib") is not None
        random.set_seed(arguments.seed)
        self.was_finished = (self.folder / "metrics.json").exists()

    def log(self, text: str = "") -> None:
        """Print a line."""
        self.progress.line(text)

    def start(self, data: str) -> None:
        """Print the first lines: the data used, the folder of the results. Removes the figures of an earlier run."""
        (self.folder / "metrics.json").unlink(missing_ok=True)
        self.log(f"data: {data}")
        self.log(f"results: {self.folder}")
        if not self._can_plot:
            self.log("note: no plots without matplotlib (pip install 'seqcore[experiments]')")

    def fit(
        self,
        model: Model,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        validation_data: Any,
        monitor: str = "val_accuracy",
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Train, and leave the model with the weights of the epoch that was best on the validation data.

        Args:
            model: compiled.
            x, y, epochs, validation_data, options: as in :meth:`seqcore.Model.fit`.
            monitor: the number that chooses the epoch.
            callbacks: further ones.

        Returns:
            A row per epoch: its logs, and the seconds of its training without the validation. :attr:`history` gets them
            too, :attr:`metrics` the best epoch (from 1), its ``monitor`` and the median seconds.
        """
        best = EarlyStopping(monitor, patience=epochs, restore_best_weights=True)
        rows = _EpochRows()
        model.fit(x, y, epochs=epochs, validation_data=validation_data, callbacks=[best, rows, *callbacks], **options)
        self.history += rows.rows
        self.metrics["best_epoch"] = best.best_epoch + 1
        self.metrics[monitor.replace("val_", "valid_", 1)] = rows.rows[best.best_epoch][monitor]
        self.metrics["seconds_per_epoch"] = statistics.median(row["seconds"] for row in rows.rows)
        return rows.rows

    def save_model(self, model: Model, file: str = "model.safetensors", **extra: Any) -> None:
        """Save the model, with extra facts that its use needs, such as its vocabulary."""
        model.save(self.folder / file, extra={"experiment": self.name, **extra})

    def write_text(self, file: str, text: str) -> None:
        """Write a text file of the run."""
        atomic_write(self.folder / file, [text.rstrip("\n").encode(), b"\n"])

    def plot(self, file: str, draw: Callable[[Any], None], width: float = 7, height: float = 4.5) -> None:
        """Draw a picture of the run, or none without matplotlib.

        Args:
            file: its name, a PNG.
            draw: gets the empty figure.
            width, height: inches.
        """
        if self._can_plot:
            figure = new_figure(width, height)
            draw(figure)
            save_figure(figure, self.folder / file)

    def plot_curves(
        self, file: str, curves: Curves, levels: Mapping[str, float] | None = None, **settings: Any
    ) -> None:
        """Draw a picture of curves; the arguments are those of :func:`draw_curves`."""
        self.plot(file, lambda figure: draw_curves(figure.add_subplot(), curves, levels, **settings))

    def finish(self, **facts: Any) -> int:
        """Write ``metrics.json`` and the file of ``--json``; the exit status 0.

        Args:
            facts: further entries next to the metrics, such as the cell.
        """
        seconds = time.perf_counter() - self.begin
        figures = {
            "experiment": self.name,
            "preset": self.arguments.preset,
            "data": str(self.arguments.data),
            "seed": self.arguments.seed,
            "threads": system.get_num_threads(),
            "isa": system.info()["isa"],
            "metrics": self.metrics,
            "history": self.history,
            "seconds": seconds,
            **facts,
        }
        for path in (self.folder / "metrics.json", self.arguments.json):
            if path:
                write_json(path, figures)
        self.log(f"{seconds:.1f} s in all; results in {self.folder}")
        return 0


class _EpochRows(Callback):
    """The logs of each epoch with the seconds of its training."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._begin = self._end = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin = self._end = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **values, "seconds": self._end - self._begin})
