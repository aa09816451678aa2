"""Experiments of the books behind ``seqcore run``: the registry, and what all of them share.

An experiment is a module with ``add_arguments(parser)`` and ``run(arguments) -> int``; it is imported when it is used.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ..callbacks.progress import duration


@dataclass(frozen=True)
class Experiment:
    """Name on the command line, one line about it, and the module that does it."""

    name: str
    summary: str
    module: str

    def load(self) -> Any:
        """The module."""
        return importlib.import_module(self.module)


EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        Experiment("ptb", "LSTM language model on the Penn Treebank or built-in sentences", "seqcore.experiments.ptb"),
        Experiment("word2vec", "word vectors on a text or built-in sentences", "seqcore.experiments.word2vec"),
    )
}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every experiment."""
    parser.add_argument(
        "--data",
        default=os.environ.get("SEQCORE_DATA", "builtin"),
        metavar="builtin|download|DIR",
        help="built-in data (default), a download, or a folder with the data (SEQCORE_DATA sets the default)",
    )
    parser.add_argument("--preset", choices=("quick", "book"), default="quick", help="minutes, or the book's settings")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training data")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same result (default 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads to use; the result does not depend on it")
    parser.add_argument("--out", metavar="DIR", help="folder for the model, the checkpoint, the plot and the figures")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")


def apply_common_arguments(arguments: argparse.Namespace) -> None:
    """Checks the common options and sets the threads.

    Raises:
        ValueError: for a value out of range.
    """
    from .. import _core

    for name, least in (("epochs", 1), ("threads", 1), ("seed", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}: expected an integer >= {least}, got {value}")
    if arguments.json and not Path(arguments.json).absolute().parent.is_dir():
        raise ValueError(f"--json: expected a file in an existing folder, got {arguments.json!r}")
    if arguments.threads is not None:
        _core.set_num_threads(arguments.threads)


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


def write_results(arguments: argparse.Namespace, folder: Path, results: Mapping[str, Any]) -> None:
    """Writes ``metrics.json`` into the folder, and what ``--json`` names."""
    write_json(folder / "metrics.json", results)
    if arguments.json:
        write_json(arguments.json, results)


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON; numbers that JSON has no word for become null."""
    from ..io import atomic_write

    atomic_write(path, [json.dumps(_finite(value), indent=1).encode(), b"\n"])


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def record(
    arguments: argparse.Namespace, experiment: str, metrics: Mapping[str, Any], history: Sequence[Any], seconds: float
) -> dict[str, Any]:
    """What ``metrics.json`` and ``--json`` hold."""
    from .. import _core

    return {
        "experiment": experiment,
        "preset": arguments.preset,
        "data": str(arguments.data),
        "seed": arguments.seed,
        "threads": _core.get_num_threads(),
        "isa": _core.info()["isa"],
        "metrics": dict(metrics),
        "history": list(history),
        "seconds": seconds,
    }


class StopSignals:
    """Context in which Ctrl-C and SIGTERM are noted instead of raised, so that work stops where it can be resumed.

    ``received`` is the signal's number or 0. A second one interrupts at once. Outside the main thread nothing is done.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number


class Progress:
    """A line with a bar, rate and time left where the output is a terminal; nothing else otherwise.

    Plain lines go through :meth:`line`, so that bar and lines do not mix.
    """

    def __init__(self, write: Callable[[str], Any] | None = None, live: bool | None = None) -> None:
        self._write = write or sys.stdout.write
        self._live = sys.stdout.isatty() if live is None else live
        self._shown = 0
        self._last = 0.0

    def line(self, text: str = "") -> None:
        """Prints a line."""
        self.clear()
        self._write(text + "\n")
        sys.stdout.flush()

    def update(self, done: int, total: int, text: str, seconds_left: float) -> None:
        """Shows how far the work is, at most ten times a second."""
        now = time.perf_counter()
        if not self._live or (now - self._last < 0.1 and done < total):
            return
        self._last = now
        filled = 24 * done // max(total, 1)
        shown = f"[{'#' * filled}{'.' * (24 - filled)}] {done}/{total}  {text}  {duration(int(seconds_left))} left"
        self._write("\r" + shown.ljust(self._shown))
        self._shown = len(shown)
        sys.stdout.flush()

    def clear(self) -> None:
        """Wipes the bar."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0
