"""``python -m benchmarks.everything``: every kind of measurement, as JSON, Markdown tables and plots.

Results are written after each case, so that a killed run keeps them; a later run into the same folder replaces only
the parts that it measures again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from seqcore import _core
from seqcore._files import atomic_write
from seqcore.experiments._plots import new_figure

from . import scaling
from .cases import select_cases
from .command_line import Parser, check_peers, measure, words
from .figures import draw
from .records import read_records, write_record
from .runner import PEERS, Bench
from .tables import SHARES, tables


class Part(NamedTuple):
    """One run: a kind of measurement with its own options.

    threads: 0 takes those of ``--threads``. scaled: on 1, 2, 4, ... threads up to that number. alone: without peers.
    names, cells: the cases; all by default. quick: the cases of ``--quick``.
    """

    title: str
    what: str
    quick: tuple[str, ...]
    dtype: str = "float32"
    isa: str = ""
    threads: int = 0
    alone: bool = False
    scaled: bool = False
    names: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


# The cases whose share of the peak has a target, each with all its cells.
_SHARED = (*SHARES, "ptb-medium/GRU")
_QUICK = ("2x3x4x5x1/LSTM",)
PARTS = {
    "recurrent": Part("Recurrent layers", "recurrent", _QUICK),
    "one-thread": Part("Recurrent layers, one thread", "recurrent", _QUICK, threads=1, alone=True, names=_SHARED),
    "float64": Part("Recurrent layers, float64", "recurrent", _QUICK, dtype="float64"),
    "avx2": Part("Recurrent layers, AVX2 forced", "recurrent", _QUICK, isa="avx2", alone=True, names=_SHARED),
    "avx2-one-thread": Part(
        "Recurrent layers, AVX2 forced, one thread",
        "recurrent",
        _QUICK,
        isa="avx2",
        threads=1,
        alone=True,
        names=_SHARED,
    ),
    "base": Part("Recurrent layers, base forced", "recurrent", _QUICK, isa="base", alone=True, names=_SHARED),
    "threads": Part("Recurrent layers over threads", "recurrent", _QUICK, alone=True, scaled=True, cells=("LSTM",)),
    "ragged": Part("Ragged batches", "ragged", ("4x6x5x7x1/LSTM",)),
    "stream": Part("One step of a stream", "stream", ("1x1x4x5x1/LSTM",)),
    "small": Part("Small work, one thread", "small", ("least/LSTM",), threads=1),
    "growth": Part("Growth of time and memory", "growth", ("batch-16", "steps-25"), alone=True),
    # The large one takes minutes and much memory for each contender: `python -m benchmarks --what ptb --cases large`.
    "ptb": Part("Whole training steps of the Penn Treebank model", "ptb", ("2x3x9x4x2",), names=("small", "medium")),
    "imdb": Part("The IMDB model", "imdb", ("4x3x30x5x2/LSTM",)),
    "curve": Part("Curves of a training step", "curve", ("units-7", "units-16", "batch-1", "steps-1", "steps-2")),
}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks.everything", description="Measure everything in docs/guide/performance.md."
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for records, tables.md and plots")
    parser.add_argument("--parts", type=words, default=list(PARTS), metavar="LIST", help=f"of {','.join(PARTS)}")
    parser.add_argument(
        "--peers", type=words, default=["all"], metavar="LIST", help="as of python -m benchmarks (default all)"
    )
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=INTERPRETER", help="as of python -m benchmarks"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of each contender where a part names none")
    parser.add_argument("--seconds", type=float, metavar="X", help="for one measurement (default 0.3, quick 0.01)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each contender (default 5, quick 1)")
    parser.add_argument("--quick", action="store_true", help="a few small cases, as a test")
    return parser


def _check(arguments: argparse.Namespace) -> dict[str, str]:
    """The interpreters by contender; raises ValueError for values out of range."""
    for name in arguments.parts:
        if name not in PARTS:
            raise ValueError(f"--parts: expected {', '.join(PARTS)}, got {name!r}")
    for name in ("threads", "rounds"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name}: expected an integer >= 1, got {value}")
    arguments.seconds = (0.01 if arguments.quick else 0.3) if arguments.seconds is None else arguments.seconds
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    if not (math.isfinite(arguments.seconds) and arguments.seconds > 0):
        raise ValueError(f"--seconds: expected a positive number, got {arguments.seconds}")
    arguments.peers, interpreters = check_peers(arguments.peers, arguments.python)
    new_figure(1, 1)  # fails before the work without matplotlib
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    return interpreters


def command_of(arguments: argparse.Namespace) -> str:
    """The command line without the folder and interpreters of one machine.

    >>> command_of(_parser().parse_args(["--out", "x", "--quick", "--peers", "torch,jax"]))
    'python -m benchmarks.everything --out DIR --peers torch,jax --quick'
    """
    parts = [] if set(arguments.parts) == set(PARTS) else ["--parts", ",".join(arguments.parts)]
    peers = "all" if set(arguments.peers) == set(PEERS) else ",".join(arguments.peers) or "none"
    options = ["--peers", peers, *parts]
    for name in ("threads", "seconds", "rounds"):
        value = getattr(arguments, name)
        options += [] if value is None else [f"--{name}", f"{value:g}"]
    return " ".join(["python -m benchmarks.everything --out DIR", *options, *(["--quick"] if arguments.quick else [])])


class _Folder:
    """The folder of the records: read at the start, written after each case."""

    def __init__(self, path: str, command: str) -> None:
        self.path, self.command = Path(path), command
        self.records = {name: record for name, record in read_records(self.path).items() if name in PARTS}

    def save(self, name: str, report: Mapping[str, Any], *, complete: bool) -> None:
        """Write the record of a part into the folder; the plot only when it is complete."""
        write_record(self.path / f"{name}.json", self.command, {**report, "complete": complete})
        self.records[name] = read_records(self.path)[name]
        in_order = {part: self.records[part] for part in PARTS if part in self.records}
        page = tables(in_order, {part: PARTS[part].title for part in PARTS})
        atomic_write(self.path / "tables.md", [page.encode()])
        if complete and report["rows"]:
            draw(report, self.path / f"{name}.png")


def _run(
    part: Part,
    arguments: argparse.Namespace,
    interpreters: Mapping[str, str],
    save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """The report of a part; ``save`` gets what there is after each case."""
    cases = select_cases(part.what, part.quick if arguments.quick else part.names, part.cells, part.dtype)
    most = part.threads or arguments.threads or _core.system.get_num_threads()
    counts = scaling.counts_up_to(most) if part.scaled else [most]
    benches = [
        Bench(
            part.what,
            () if part.alone else arguments.peers,
            threads,
            arguments.seconds,
            arguments.rounds,
            interpreters,
            dtype=part.dtype,
            isa=part.isa or None,
        )
        for threads in counts
    ]
    return scaling.measure(benches, cases, save) if part.scaled else measure(benches[0], cases, save)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m benchmarks.everything``.

    Returns:
        0, or 2 after an error of one line; a failing part does not stop the others.
    """
    status = 0
    try:
        arguments = _parser().parse_args(argv)
        interpreters = _check(arguments)
        folder = _Folder(arguments.out, command_of(arguments))
    except (ValueError, OSError, ImportError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    for name in arguments.parts:
        part = PARTS[name]
        if part.isa and part.isa not in _core.system.info()["isas"]:
            print(f"\n{part.title}: left out, this processor cannot run {part.isa}")
            continue
        print(f"\n{part.title}\n", flush=True)
        try:
            report = _run(part, arguments, interpreters, partial(folder.save, name, complete=False))
            folder.save(name, report, complete=True)
        except (ValueError, OSError) as error:
            print(f"benchmarks: {name}: {error}", file=sys.stderr)
            status = 2
    print(os.linesep + f"written: {Path(arguments.out) / 'tables.md'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
