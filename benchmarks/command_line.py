"""``python -m benchmarks``: its options, one run, its table and files."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from seqcore import _core
from seqcore.callbacks.progress_bar import ProgressLine
from seqcore.experiments._plots import new_figure
from seqcore.experiments._run import write_json

from . import scaling
from .cases import DTYPES, KINDS, Case, select_cases
from .figures import draw
from .report import closing, heading, left_out_lines, summary, table_lines
from .runner import PEERS, Bench


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def words(text: str) -> list[str]:
    """The parts of a list joined by commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def counts(text: str) -> list[int]:
    """The integers of a list joined by commas, in ascending order.

    >>> counts("4,1,2,2")
    [1, 2, 4]
    """
    return sorted({int(word) for word in words(text)})


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m benchmarks",
        description="Measure the compiled core, NumPy and the installed peers in one run.",
    )
    parser.add_argument(
        "--what",
        choices=tuple(KINDS),
        default="recurrent",
        help="whole sequences, forward and training step (default); a step of a stream; one of the Penn Treebank "
        "model; fit of the IMDB model; curves over units, batch and steps; batches of unequal lengths; small work; "
        "growth of time and memory",
    )
    for option, default, described in (
        ("--cases", [], "such as imdb,ptb-small/GRU, or sizes of your own BxTxDxHxL[xboth]"),
        ("--cells", [], "SimpleRNN,LSTM,GRU (default: all; LSTM for ptb, curve and growth)"),
        ("--peers", ["numpy"], f"{','.join(PEERS)}, all or none (default numpy)"),
    ):
        parser.add_argument(option, type=words, default=default, metavar="LIST", help=described)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of all arrays (default float32)")
    parser.add_argument("--isa", metavar="NAME", help="force an instruction set for seqcore: base, avx2, avx512, ...")
    parser.add_argument(
        "--threads",
        type=counts,
        metavar="N[,N...]",
        help="threads of each contender (a stream has one); several numbers measure the speed-up and draw the curve",
    )
    parser.add_argument("--seconds", type=float, default=0.3, metavar="X", help="for one measurement (default 0.3)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each contender (default 3)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=INTERPRETER",
        help="another interpreter for a peer, or for several joined by commas",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--plot", metavar="FILE.png", help="draw them there (matplotlib)")
    return parser


def _check(arguments: argparse.Namespace) -> dict[str, str]:
    """The interpreters by contender; raises ValueError for values out of range."""
    for name, values in (("threads", arguments.threads), ("rounds", [arguments.rounds])):
        if values is not None and (not values or min(values) < 1):
            raise ValueError(f"--{name}: expected an integer >= 1, got {min(values, default='none')}")
    if arguments.threads and len(arguments.threads) > 1 and arguments.what not in scaling.KINDS:
        raise ValueError(f"--threads: expected one number for {arguments.what}, got several")
    if not (math.isfinite(arguments.seconds) and arguments.seconds > 0):
        raise ValueError(f"--seconds: expected a positive number, got {arguments.seconds}")
    isas = _core.system.info()["isas"]
    if arguments.isa is not None and arguments.isa not in isas:
        raise ValueError(f"--isa: expected {', '.join(isas)}, got {arguments.isa!r}")
    arguments.peers, interpreters = check_peers(arguments.peers, arguments.python)
    for option in ("json", "plot"):
        path = getattr(arguments, option)
        if path is not None and (Path(path).is_dir() or not os.access(Path(path).absolute().parent, os.W_OK)):
            raise ValueError(f"--{option}: expected a file in a folder that can be written, got {path!r}")
    if arguments.plot:
        new_figure(1, 1)  # fails before the work without matplotlib
    return interpreters


def check_peers(peers: Sequence[str], python: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The peers that ``--peers`` names, and their interpreters by ``--python``.

    >>> check_peers(["none"], [])
    ([], {})

    Raises:
        ValueError: for an unknown peer or a missing interpreter.
    """
    groups: dict[tuple[str, ...], tuple[str, ...]] = {("all",): PEERS, ("none",): ()}
    chosen = list(dict.fromkeys(groups.get(tuple(peers), tuple(peers))))
    interpreters = {}
    for pair in python:
        names, equals, interpreter = pair.partition("=")
        if not equals or shutil.which(interpreter) is None:
            raise ValueError(f"--python: expected NAME=INTERPRETER, an existing interpreter, got {pair!r}")
        interpreters.update(dict.fromkeys(words(names), interpreter))
    for option, named in (("peers", chosen), ("python", interpreters)):
        for name in named:
            if name not in PEERS:
                raise ValueError(f"--{option}: expected {', '.join(PEERS)}, got {name!r}")
    return chosen, interpreters


def measure(
    bench: Bench, cases: Sequence[Case], save: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Run a bench, print its table row by row, and return its report.

    Args:
        bench: not yet entered; its progress is set here.
        cases: of its kind.
        save: called with the report so far after each case.
    """
    shown, begin = ProgressLine(), time.perf_counter()

    def progress(done: int, total: int, text: str) -> None:
        left = (time.perf_counter() - begin) * (total - done) / max(done, 1)
        shown.update(done, total, text, left if done else None)

    def show(lines: Iterable[str]) -> None:
        for line in lines:
            shown.line(line)

    rows: list[dict[str, Any]] = []

    def report() -> dict[str, Any]:
        peaks = {"peak_gflops": bench.peak, "peak_gflops_per_thread": bench.peak_of_one}
        return {**bench.facts(), **peaks, "summary": summary(rows), "rows": rows}

    def on_case(done: list[dict[str, Any]]) -> None:
        rows.extend(done)
        show(table_lines(done))
        if save is not None:
            save(report())

    bench.progress = progress
    with bench:
        facts = bench.facts()
        show(heading(facts))
        named = set(facts["left_out"])
        bench.measure(cases, on_case)
    result = report()
    shown.line()
    show(left_out_lines({name: why for name, why in bench.left_out.items() if name not in named}))
    show(closing(result))
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m benchmarks``.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        0, or 2 after an error of one line on standard error.
    """
    arguments = _parser().parse_args(argv)
    try:
        interpreters = _check(arguments)
        cases = select_cases(arguments.what, arguments.cases, arguments.cells, arguments.dtype)
        benches = [
            Bench(
                arguments.what,
                arguments.peers,
                threads,
                arguments.seconds,
                arguments.rounds,
                interpreters,
                dtype=arguments.dtype,
                isa=arguments.isa,
            )
            for threads in arguments.threads or [None]
        ]
        report = measure(benches[0], cases) if len(benches) == 1 else scaling.measure(benches, cases)
        if arguments.json:
            write_json(arguments.json, report)
        if arguments.plot:
            draw(report, arguments.plot)
    except (ValueError, OSError, ImportError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0
