"""Shared parts of the experiments: common options, lines on the screen, files, recurrent layers by their names."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import random
from .._core import system
from .._extras import import_extra
from .._files import atomic_write
from .._validation import integer
from ..callbacks import Callback, EarlyStopping, Logs
from ..callbacks.progress_bar import ProgressLine
from ..datasets import download
from ..distributed import Ranks, Refused, together
from ..layers import GRU, LSTM, ContextRNN, Layer, SimpleRNN
from ..losses import SparseCategoricalCrossentropy
from ..models import Model
from ..optimizers import Adam
from ._plots import Curves, Levels, draw_curves, legend_below, new_figure, save_figure

PRESETS = ("quick", "book")
# The recurrent layers by the names that lines and pictures give them.
LAYERS: dict[str, Any] = {"SimpleRNN": SimpleRNN, "RNN-CF": ContextRNN, "LSTM": LSTM, "GRU": GRU}

# The cells that the books compare, by their names on the command line.
CELLS = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}

Settings = TypeVar("Settings")


# An option of the command line: its name, and the settings of ``argparse`` for it.
Option = tuple[str, dict[str, Any]]


def option(name: str, text: str, default: Any = None, **settings: Any) -> Option:
    """An option with its help, to which the default is added.

    >>> option("--rate", "of Adam", 0.1, type=float)[1]["help"]
    'of Adam (default 0.1)'
    """
    told = text if default is None else f"{text} (default {default})"
    return name, {"help": told, "default": default, **settings}


def choice(name: str, choices: Iterable[str], text: str, default: str | None = None, **settings: Any) -> Option:
    """An option that is one of a few words."""
    return option(name, text, default, choices=tuple(choices), **settings)


def number(name: str, text: str, default: int | None = None, least: int = 1, metavar: str = "N") -> Option:
    """An option that is an integer of at least ``least``."""
    return option(name, text, default, action=_Integer, least=least, metavar=metavar)


# For experiments that several processes can train together.
DISTRIBUTED: Option = option(
    "--distributed", "train on all processes: mpiexec -n 4 seqcore run ... (the extra mpi)", action="store_true"
)


class _Integer(argparse.Action):
    """Store an integer; one below ``least`` is a ValueError that names the option."""

    def __init__(self, least: int, **settings: Any) -> None:
        super().__init__(type=int, **settings)
        self._least = least

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, integer(self.option_strings[0], value, self._least))


def add_options(
    parser: argparse.ArgumentParser,
    options: Iterable[Option] = (),
    has_data: bool = True,
    presets: Sequence[str] = PRESETS,
) -> None:
    """Add the options of every experiment, and those of one.

    Args:
        parser: takes them.
        options: of the experiment.
        has_data: whether there is more than the built-in data.
        presets: what ``--preset`` can be; the first is the default.
    """
    default, metavar, text = "builtin", "builtin", "this experiment makes its own data"
    if has_data:
        default, metavar = os.environ.get("SEQCORE_DATA", "builtin"), "builtin|download|DIR"
        text = "built-in data (default), a download, or a folder with the data (SEQCORE_DATA sets the default)"
    for name, settings in (
        ("--data", {"default": default, "metavar": metavar, "help": text}),
        choice("--preset", presets, "minutes, or the book's settings", default=presets[0]),
        number("--epochs", "passes over the training data"),
        number("--seed", "same seed, same result", 0, least=0),
        number("--threads", "threads to use; the result does not depend on it"),
        option("--out", "folder for the model, the plots and the figures", metavar="DIR"),
        option("--json", "also write the figures there", metavar="FILE"),
        *options,
    ):
        parser.add_argument(name, **settings)
    parser.set_defaults(has_data=has_data)


def run_experiment(name: str, experiment: Any, arguments: argparse.Namespace) -> int:
    """Check the common options, set the threads and the seed, and run an experiment; the exit status.

    Args:
        name: of the experiment.
        experiment: its module.
        arguments: the options.

    Raises:
        ValueError: data where the experiment makes its own, or a ``--json`` in no folder; the errors of the experiment.
    """
    if not arguments.has_data and arguments.data != "builtin":
        raise ValueError(f"--data: expected builtin, since this experiment makes its own data, got {arguments.data!r}")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ValueError(f"--json: expected a file in an existing folder, got {arguments.json!r}")
    if arguments.threads is not None:
        system.set_num_threads(arguments.threads)
    random.set_seed(arguments.seed)
    if getattr(arguments, "distributed", False):
        return _run_distributed(name, experiment, arguments)
    return int(experiment.main(Run(name, arguments)))


def _run_distributed(name: str, experiment: Any, arguments: argparse.Namespace) -> int:
    """Run an experiment on all processes of MPI. The first one prints and writes the results."""
    mpi = import_extra("mpi4py.MPI", "--distributed needs mpi4py and an MPI library", "mpi")
    comm = mpi.COMM_WORLD
    if arguments.threads is None:
        here = comm.Split_type(mpi.COMM_TYPE_SHARED).Get_size()
        system.set_num_threads(max(1, system.get_num_threads() // here))
    with together(comm), tempfile.TemporaryDirectory() as folder:
        is_main = Ranks(comm).is_main
        if not is_main:
            arguments.out, arguments.json = folder, None
        try:
            return int(experiment.main(Run(name, arguments, comm)))
        except Refused:
            # All processes raise it, and the first one tells.
            if is_main:
                raise
            return 2


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
    finite = json.loads(json.dumps(value), parse_constant=lambda name: None)
    atomic_write(path, [json.dumps(finite, indent=1).encode(), b"\n"])


def override(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings of a preset with the options of the same names put over them that were given.

    >>> @dataclasses.dataclass
    ... class Sizes:
    ...     units: int = 8
    ...     epochs: int = 2
    >>> override(Sizes(), argparse.Namespace(units=3, epochs=None, seed=1))
    Sizes(units=3, epochs=2)
    """
    names = [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]
    given = {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
    return dataclasses.replace(settings, **given)  # type: ignore[type-var]


def data_folder(data: str, source: str) -> Path | None:
    """The folder that ``--data`` names, fetched first for ``download``; None for ``builtin``.

    Args:
        data: value of the option.
        source: name of the download.

    Raises:
        ValueError, OSError, ImportError: there is no such folder, or it cannot be fetched.
    """
    if data == "builtin":
        return None
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
    model: Model, learning_rate: Any, clip: float | None = 1.0, metrics: Any = ("accuracy",), from_logits: bool = True
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
        name: of the experiment.
        arguments: the options.
        distribute: communicator of the processes that run it together; None for one by itself.

    ``metrics`` and ``history`` are what :meth:`finish` writes. From :meth:`open` or :meth:`start` on ``folder`` is the
    one of the results, and ``was_finished`` tells whether it held the figures of an earlier run.
    """

    folder: Path
    was_finished: bool

    def __init__(self, name: str, arguments: argparse.Namespace, distribute: Any = None) -> None:
        self.arguments, self.name, self.begin = arguments, name, time.perf_counter()
        self.distribute = distribute
        self.ranks = None if distribute is None else Ranks(distribute)
        self.metrics: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        # MPI gives each process a terminal.
        self.progress = ProgressLine(None if self.is_main else io.StringIO())
        self._can_plot = self.is_main and importlib.util.find_spec("matplotlib") is not None

    @property
    def is_main(self) -> bool:
        """False in the second and further processes, which print nothing and whose folder is deleted at the end."""
        return self.ranks is None or self.ranks.is_main

    def log(self, text: str = "") -> None:
        """Print a line."""
        self.progress.line(text)

    def open(self, *variant: str, data: str = "") -> None:
        """Make the folder of the results, unless it is there; for arguments and errors see :meth:`start`."""
        given = self.arguments.data
        data = data or (given if given in ("builtin", "download") else Path(given).name or "data")
        label = "-".join([self.name, *variant, self.arguments.preset, data, f"seed{self.arguments.seed}"])
        self.folder = open_folder(self.arguments.out or Path("runs") / label)
        self.was_finished = (self.folder / "metrics.json").exists()

    def start(self, description: str, *variant: str, data: str = "") -> None:
        """Print the first lines: the data used, the folder of the results. Removes the figures of an earlier run.

        Args:
            description: of the data.
            variant: what else names the folder if ``--out`` does not, such as the cell.
            data: name of the data in the name of that folder; by default that of ``--data``.

        Raises:
            OSError: a folder that cannot be written.
        """
        if not hasattr(self, "folder"):
            self.open(*variant, data=data)
        (self.folder / "metrics.json").unlink(missing_ok=True)
        self.log(f"data: {description}")
        self.log(f"results: {self.folder}")
        if not self._can_plot:
            self.log("note: no plots without matplotlib (pip install 'seqcore[experiments]')")

    def fit(
        self,
        model: Model,
        settings: Any,
        train: Any,
        valid: Any,
        monitor: str = "val_accuracy",
        callbacks: Sequence[Callback] = (),
        prefix: str = "",
        labels: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Train, and leave the model with the weights of the epoch that was best on the validation data.

        Args:
            model: compiled.
            settings: its ``epochs`` and, where ``train`` is arrays, its ``batch_size``.
            train, valid: pairs of arrays x and y, or batches.
            monitor: the number that chooses the epoch.
            callbacks: further ones.
            prefix: of the names of the metrics, where a run trains several models.
            labels: further entries of each row, such as the name of the model.
            options: as in :meth:`seqcore.Model.fit`.

        Returns:
            A row per epoch: its logs, and the seconds of its training without the validation. :attr:`history` gets them
            too, :attr:`metrics` the best epoch (from 1), its ``monitor`` and the median seconds.
        """
        if isinstance(train, tuple):
            options |= {"y": train[1], "batch_size": settings.batch_size}
            train = train[0]
        options["distribute"] = self.distribute
        best, rows = EarlyStopping(monitor, patience=settings.epochs, restore_best_weights=True), _EpochRows()
        # A callback that acts at the end of the training does so before the weights of the best epoch come back.
        callbacks = [rows, *callbacks, best]
        model.fit(train, epochs=settings.epochs, validation_data=valid, callbacks=callbacks, **options)
        history = [{**row, **(labels or {})} for row in rows.rows]
        self.history += history
        measured = {
            "best_epoch": best.best_epoch + 1,
            monitor.replace("val_", "valid_", 1): history[best.best_epoch][monitor],
            "seconds_per_epoch": statistics.median(row["seconds"] for row in history),
        }
        self.metrics |= {prefix + name: value for name, value in measured.items()}
        return history

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
        self, file: str, title: str, x: str, y: str, curves: Curves, levels: Levels | None = None, **settings: Any
    ) -> None:
        """Draw a picture of curves.

        Args:
            file: its name, a PNG.
            title, x, y: of the picture and of its axes.
            curves, levels, settings: those of :func:`draw_curves`.
        """
        settings |= {"title": title, "xlabel": x, "ylabel": y}
        many = len(curves) + len(levels or {}) > 5

        def draw(figure: Any) -> None:
            axes = figure.add_subplot()
            draw_curves(axes, curves, levels, legend=not many, **settings)
            if many:
                legend_below(axes, 2)

        self.plot(file, draw)

    def finish(self, **facts: Any) -> int:
        """Write ``metrics.json`` and the file of ``--json``; the exit status 0.

        Args:
            facts: further entries next to the metrics, such as the cell.
        """
        seconds = time.perf_counter() - self.begin
        figures = {
            "experiment": self.name,
            **{name: getattr(self.arguments, name) for name in ("preset", "data", "seed")},
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
