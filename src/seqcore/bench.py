"""The benchmark harness behind ``seqcore bench``: the compiled core against NumPy and the peers that are installed.

Each contender lives in a process of its own, its library imported once. For each case all of them get the same arrays;
their results are held against NumPy's first, and a wrong one ends the run. Then they are timed in turn, round after
round, so that whatever else the machine does falls on all of them. What counts as 100 % is the processor's multiply-add
peak, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _core, bench_contenders
from .bench_contenders import CONTENDERS, GRADIENT, LOSS, OUTPUT, UPDATE, weight_names
from .bench_report import draw, heading, summary, table_lines
from .plots import new_figure

Array = NDArray[Any]

CELLS = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
PEERS = tuple(name for name in CONTENDERS if name != "seqcore")
# Largest deviation from NumPy by the largest element: an honest float32 result stays a hundred times below it.
TOLERANCE = 1e-4
# A learning rate at which minutes of timing leave the weights much as they are, but one update shows every gradient.
_RATE = 2e-6
# Seconds before each turn, in which the threads of the one before stop spinning.
_REST = 0.05


class Shape(NamedTuple):
    """Sizes of a case: B rows, T steps, D inputs (V words of a language model), H units, layers, both directions."""

    batch: int
    steps: int
    inputs: int
    units: int
    layers: int
    both: bool = False


SHAPES: dict[str, dict[str, Shape]] = {
    "recurrent": {
        "imdb": Shape(128, 80, 100, 64, 2),
        "airline": Shape(32, 26, 32, 40, 1),
        "ptb-small": Shape(20, 20, 200, 200, 2),
        "ptb-medium": Shape(20, 35, 650, 650, 2),
        "ptb-large": Shape(20, 35, 1500, 1500, 2),
        "mnist": Shape(128, 28, 28, 256, 1, True),
        "stories": Shape(64, 50, 544, 64, 1),
        "single": Shape(1, 80, 100, 64, 1),
    },
    "stream": {"stream-64": Shape(1, 1, 64, 64, 1), "stream-256": Shape(1, 1, 64, 256, 1)},
    "ptb": {
        "small": Shape(20, 20, 10_000, 200, 2),
        "medium": Shape(20, 35, 10_000, 650, 2),
        "large": Shape(20, 35, 10_000, 1500, 2),
    },
}
# The books use no other cell at these sizes.
_LSTM_ONLY = ("ptb-medium", "ptb-large")
_CUSTOM = re.compile(r"[1-9]\d*(x[1-9]\d*){4}(xboth)?")


@dataclass(frozen=True)
class Case:
    """One thing to measure: "recurrent" (whole sequences), "stream" (one step at a time) or "ptb" (language model)."""

    what: str
    name: str
    cell: str
    shape: Shape

    @property
    def label(self) -> str:
        """As it is called in tables and in ``--cases``."""
        return f"{self.name}/{self.cell}"

    def flops(self, measure: str) -> int:
        """Floating-point operations of the matrix products of one call; the way back has twice those of the way there.

        >>> case = Case("recurrent", "x", "LSTM", Shape(2, 3, 5, 7, 1))
        >>> case.flops("forward") == 2 * 2 * 3 * 4 * 7 * (5 + 7), case.flops("train") // case.flops("forward")
        (True, 3)
        """
        b, t, d, h, layers, both = self.shape
        directions = 1 + both
        first = h if self.what == "ptb" else d
        widths = [first] + [h * directions] * (layers - 1)
        flops = sum(2 * b * t * CELLS[self.cell] * h * (width + h) * directions for width in widths)
        if self.what == "ptb":
            flops += 2 * b * t * h * d
        return flops * (3 if measure == "train" else 1)


def select_cases(what: str, names: Sequence[str] = (), cells: Sequence[str] = ()) -> list[Case]:
    """The cases that names and cells choose; all by default.

    Args:
        what: "recurrent", "stream" or "ptb".
        names: each ``NAME`` or ``NAME/CELL`` of the table, or sizes of one's own ``BxTxDxHxL``, with ``xboth`` for both
            directions (ptb: V words for D).
        cells: of those without ``/CELL``; "SimpleRNN", "LSTM", "GRU".

    Raises:
        ValueError: for a name that is not there.

    >>> [case.label for case in select_cases("recurrent", ["imdb", "2x3x4x5x1/GRU"], ["LSTM"])]
    ['imdb/LSTM', '2x3x4x5x1/GRU']
    """
    shapes = SHAPES[what]
    cases = []
    for name, _, given in (one.partition("/") for one in names or shapes):
        if name not in shapes and not _CUSTOM.fullmatch(name):
            raise ValueError(f"--cases: expected {', '.join(shapes)} or sizes BxTxDxHxL[xboth], got {name!r}")
        shape = shapes[name] if name in shapes else _custom(what, name)
        only_lstm = what == "ptb" or (name in _LSTM_ONLY and not given)
        for cell in [given] if given else cells or CELLS:
            if cell not in CELLS:
                raise ValueError(f"--{'cases' if given else 'cells'}: expected {', '.join(CELLS)}, got {cell!r}")
            if cell == "LSTM" or not only_lstm:
                cases.append(Case(what, name, cell, shape))
    if not cases:
        raise ValueError(f"--cells: expected LSTM for {', '.join(names) or what}, got {', '.join(cells)}")
    return cases


def _custom(what: str, name: str) -> Shape:
    batch, steps, inputs, units, layers = map(int, name.removesuffix("xboth").split("x"))
    shape = Shape(batch, steps, inputs, units, layers, name.endswith("xboth"))
    if what != "recurrent" and shape.both:
        raise ValueError(f"--cases: expected one direction for {what}, got {name!r}")
    if what == "stream" and (shape.steps, shape.layers) != (1, 1):
        raise ValueError(f"--cases: expected Bx1xDxHx1 for stream, got {name!r}")
    return shape


# Arrays, answers ------------------------------------------------------------------------------------------------------


def make_arrays(case: Case) -> dict[str, Array]:
    """What all contenders of a case share, by name; float32, drawn from a fixed seed."""
    rng = np.random.default_rng(20161121)
    b, t, d, h, layers, both = case.shape
    directions, gates = 1 + both, CELLS[case.cell]

    def uniform(bound: float, *shape: int) -> Array:
        drawn: Array = (2 * rng.random(shape, np.float32) - 1) * np.float32(bound)
        return drawn

    bound = 0.1 if case.what == "ptb" else 1 / math.sqrt(h)
    first = h if case.what == "ptb" else d
    weights = [uniform(bound, d, h)] if case.what == "ptb" else []
    for width in [first] + [h * directions] * (layers - 1):
        for _ in range(directions):
            weights += [uniform(bound, width, gates * h), uniform(bound, h, gates * h)]
            weights.append(uniform(bound, *((2, 3 * h) if case.cell == "GRU" else (gates * h,))))
    if case.what == "ptb":
        weights += [uniform(bound, h, d), uniform(bound, d)]
        arrays = {name: rng.integers(0, d, (b, t), dtype=np.int32) for name in ("words", "targets")}
    elif case.what == "stream":
        arrays = {"x": uniform(1, 8, b, d)}
    else:
        arrays = {"x": uniform(1, b, t, d), "dy": uniform(1, b, t, h * directions)}
    return {**arrays, **{f"w{i}": one for i, one in enumerate(weights)}}


def _sizes(case: Case, threads: int) -> dict[str, Any]:
    """What a task has beside its arrays."""
    # The norm of a first ptb gradient exceeds 1, so that the clipping is checked too.
    update = {"rate": 1.0, "clip": 1.0} if case.what == "ptb" else {"rate": _RATE, "clip": math.inf}
    return {"cell": case.cell, **case.shape._asdict(), "threads": threads, **update}


def reference(case: Case, folder: str | Path) -> dict[str, Array]:
    """NumPy's results for the arrays in ``folder``."""
    make = {
        "recurrent": bench_contenders.numpy_recurrent,
        "stream": bench_contenders.numpy_stream,
        "ptb": bench_contenders.numpy_ptb,
    }[case.what]
    return make(bench_contenders.load_task(folder, **_sizes(case, 1))).answer()


def check_answer(
    who: str, case: Case, expected: Mapping[str, Array], got: Mapping[str, Array], weights: Sequence[Array] = ()
) -> float:
    """Holds one contender's results against NumPy's.

    Args:
        who: the contender.
        case: what was computed.
        expected, got: arrays by name; ``got`` may lack gradients of weights, whose updates show them, and whatever
            belongs to training if it has no update at all.
        weights: before the update; it is known no better than to two units of their last place.

    Returns:
        The largest deviation of the outputs and gradients by the largest element of each array.

    Raises:
        ValueError: naming contender, case and array.
    """
    names = weight_names(case.what, case.shape.layers, case.shape.both)
    sizes = dict(zip(names, (float(np.abs(one).max(initial=0)) for one in weights), strict=False))
    trains = any(name.startswith(UPDATE) for name in got)
    for name in expected:
        if name not in got and (name in (OUTPUT, LOSS) or (trains and name not in map(GRADIENT.__add__, names))):
            raise ValueError(f"{who} at {case.label}: wrong answer: expected its {name}, got none")
    worst = 0.0
    for name, array in got.items():
        if name not in expected or array.shape != expected[name].shape:
            there = expected[name].shape if name in expected else "no such array"
            raise ValueError(f"{who} at {case.label}: wrong answer: {name}: expected shape {there}, got {array.shape}")
        largest = float(np.abs(expected[name]).max(initial=0))
        difference = float(np.abs(array - expected[name]).max(initial=0))
        allowed = TOLERANCE * largest
        if name.startswith(UPDATE):
            allowed = 10 * TOLERANCE * largest + 2.5e-7 * sizes.get(name.removeprefix(UPDATE), 1.0)
        if not difference <= allowed:
            raise ValueError(
                f"{who} at {case.label}: wrong answer: {name}: expected NumPy's to {allowed:.1e}, "
                f"got {difference:.1e} off"
            )
        if not name.startswith(UPDATE) and largest:
            worst = max(worst, difference / largest)
    return worst


# Contenders -----------------------------------------------------------------------------------------------------------

# Lets the two files that a contender needs be imported without the package around them, which its interpreter may lack.
_BOOT = """
import sys, types
sys.path[:] = [path for path in sys.path if path]
package = types.ModuleType("seqcore_bench")
package.__path__ = [sys.argv[1]]
sys.modules["seqcore_bench"] = package
from seqcore_bench.bench_contenders import main
main(sys.argv[2])
"""


class _Failed(Exception):
    """A contender could not do what it was asked; the message says why."""


class _Missing(_Failed):
    """Its library is not there."""


class _Contender:
    """The process of one contender."""

    def __init__(self, name: str, interpreter: str | None, threads: int, folder: Path) -> None:
        self.name, self.measures, self.deviation = name, list[str](), 0.0
        self._errors = open(folder / f"{name}.log", "w+b")
        count = str(threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        if interpreter is None:
            # Our own interpreter finds what this process finds, however that came about.
            environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self._process = subprocess.Popen(
            [interpreter or sys.executable, "-c", _BOOT, str(Path(__file__).parent), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **message}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rsplit("\n", 1)[-1].strip()
            kind = _Missing if last.startswith(("ModuleNotFoundError", "ImportError")) else _Failed
            raise kind(last[:300] or f"its process ended with status {status}")
        reply: dict[str, Any] = json.loads(line)
        if "missing" in reply:
            raise _Missing(reply["missing"])
        if "error" in reply:
            raise _Failed(reply["error"])
        return reply

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


class Bench:
    """Contenders at work: a context that starts and ends their processes.

    Args:
        what: "recurrent", "stream" or "ptb".
        peers: names out of ``PEERS``; those not installed are left out and named in ``left_out``.
        threads: for each contender; streams run on one.
        seconds: for one measurement in one round.
        rounds: turns each contender has.
        interpreters: contender -> Python interpreter of another environment.
        progress: called with (done, total, text) before each measurement.

    Raises:
        OSError: seqcore itself cannot be measured.
    """

    def __init__(
        self,
        what: str,
        peers: Sequence[str] = ("numpy",),
        threads: int | None = None,
        seconds: float = 0.3,
        rounds: int = 3,
        interpreters: Mapping[str, str] | None = None,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.what, self.peers, self.seconds, self.rounds = what, tuple(peers), seconds, rounds
        self.threads = 1 if what == "stream" else threads or _core.get_num_threads()
        self.interpreters, self.progress = dict(interpreters or {}), progress or (lambda *_: None)
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.peak = 0.0
        self.contenders: list[_Contender] = []

    def __enter__(self) -> Bench:
        self._temporary = tempfile.TemporaryDirectory(prefix="seqcore-bench-")
        self.folder = Path(self._temporary.name)
        try:
            for name in ("seqcore", *self.peers):
                self._start(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for one in self.contenders:
            one.close()
        self._temporary.cleanup()

    def _start(self, name: str) -> None:
        if self.what not in CONTENDERS[name][1]:
            self.left_out[name] = f"has no part in {self.what}"
            return
        self.progress(0, 1, f"starting {name}")
        contender = _Contender(name, self.interpreters.get(name), self.threads, self.folder)
        self.contenders.append(contender)
        try:
            self.versions[name] = contender.ask("hello", threads=self.threads)["version"]
        except _Failed as error:
            if name == "seqcore":
                raise ChildProcessError(f"seqcore: cannot be measured: {error}") from None
            self._leave_out(contender, f"not installed: {error}" if isinstance(error, _Missing) else str(error))
            self.contenders.remove(contender)
            contender.close()

    def _leave_out(self, contender: _Contender, why: str, case: Case | None = None) -> None:
        if contender.name == "seqcore":
            raise ChildProcessError(f"seqcore at {case.label if case else self.what}: {why}")
        self.left_out[f"{contender.name} at {case.label}" if case else contender.name] = why

    # --- one case ---

    def measure(
        self, cases: Sequence[Case], on_case: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> list[Any]:
        """Measures cases one after the other.

        Args:
            cases: of this bench's kind.
            on_case: called with the rows of each case when it is done.

        Returns:
            One row for each case, measure and contender.

        Raises:
            ValueError: an answer is wrong. OSError: seqcore fails.
        """
        rows = []
        for i, case in enumerate(cases):
            done = self._measure(case, i, len(cases))
            rows += done
            if on_case is not None:
                on_case(done)
        return rows

    def _measure(self, case: Case, number: int, total: int) -> list[dict[str, Any]]:
        here = self._open(case, number, total)
        times: dict[tuple[str, str], list[dict[str, float]]] = {}
        for turn in range(self.rounds):
            # The order turns round, so that nobody always comes after the same one.
            for contender in list(here) if turn % 2 == 0 else list(reversed(here)):
                text = f"{case.label} {contender.name} round {turn + 1} of {self.rounds}"
                self.progress(number * self.rounds + turn, total * self.rounds, text)
                time.sleep(_REST)
                try:
                    for measure in contender.measures:
                        reply = contender.ask("time", measure=measure, seconds=self.seconds)
                        times.setdefault((measure, contender.name), []).append(reply)
                    if contender.name == "seqcore":
                        peak = contender.ask("peak", seconds=min(0.2, self.seconds))["gflops"]
                        self.peak = max(self.peak, peak)
                except _Failed as error:
                    self._leave_out(contender, str(error), case)
                    here.remove(contender)
                    times = {key: value for key, value in times.items() if key[1] != contender.name}
        for contender in here:
            contender.ask("close")
        return self._rows(case, here, times)

    def _open(self, case: Case, number: int, total: int) -> list[_Contender]:
        """The contenders whose results for a case are right; the others end the run or, if they failed, stay out."""
        here = []
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            arrays = make_arrays(case)
            for name, array in arrays.items():
                np.save(Path(folder) / f"{name}.npy", array)
            weights = [array for name, array in arrays.items() if re.fullmatch(r"w\d+", name)]
            expected = reference(case, folder)
            for contender in list(self.contenders):
                self.progress(number * self.rounds, total * self.rounds, f"{case.label} {contender.name} answers")
                try:
                    got = self._answer(contender, case, folder)
                except _Failed as error:
                    self._leave_out(contender, str(error), case)
                    continue
                contender.deviation = check_answer(contender.name, case, expected, got, weights)
                here.append(contender)
        return here

    def _answer(self, contender: _Contender, case: Case, folder: str) -> dict[str, Array]:
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            reply = contender.ask("open", what=case.what, folder=folder, answer=place, **_sizes(case, self.threads))
            contender.measures = reply["measures"]
            return {name: np.load(Path(place) / f"{i}.npy") for i, name in enumerate(reply["names"])}

    def _rows(
        self, case: Case, here: Iterable[_Contender], times: Mapping[tuple[str, str], list[dict[str, float]]]
    ) -> list[dict[str, Any]]:
        peak = self.peak * self.threads
        rows = []
        by_name = {one.name: one for one in here}
        for measure in by_name["seqcore"].measures:
            ours = min(one["min_us"] for one in times[measure, "seqcore"])
            for name, contender in by_name.items():
                if measure not in contender.measures:
                    continue
                found = times[measure, name]
                best = min(one["min_us"] for one in found)
                gflops = case.flops(measure) / best / 1e3
                row = {
                    "case": case.label,
                    "what": case.what,
                    "cell": case.cell,
                    **case.shape._asdict(),
                    "measure": measure,
                    "contender": name,
                    "min_us": best,
                    "median_us": median(one["median_us"] for one in found),
                    "p99_us": median(one["p99_us"] for one in found),
                    "calls": int(sum(one["calls"] for one in found)),
                    "gflops": gflops,
                    "peak_gflops": peak,
                    "percent_of_peak": 100 * gflops / peak,
                    "times": best / ours,
                    "deviation": contender.deviation,
                }
                if case.what == "ptb":
                    row["words_per_second"] = 1e6 * case.shape.batch * case.shape.steps / best
                rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        """The machine and the versions that the figures belong to."""
        info = _core.info()
        return {
            "what": self.what,
            "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
            "cpu": cpu_name(),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "system": platform.platform(),
            "isa": info["isa"],
            "compiler": info["compiler"],
            "threads": self.threads,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "python": platform.python_version(),
            "versions": self.versions,
            "left_out": self.left_out,
            "dtype": "float32",
        }


def cpu_name() -> str:
    """What the processor calls itself."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# Command line ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="seqcore bench",
        description="Measures the compiled core against NumPy and the peers that are installed, in one run.",
    )
    parser.add_argument(
        "--what",
        choices=tuple(SHAPES),
        default="recurrent",
        help="whole sequences, forward and training step (default); a step of a stream; one of the Penn Treebank model",
    )
    for option, default, described in (
        ("--cases", [], "such as imdb,ptb-small/GRU, or sizes of your own BxTxDxHxL[xboth]"),
        ("--cells", [], "SimpleRNN,LSTM,GRU (default: all)"),
        ("--peers", ["numpy"], f"{','.join(PEERS)}, all or none (default numpy)"),
    ):
        parser.add_argument(option, type=_words, default=default, metavar="LIST", help=described)
    parser.add_argument("--threads", type=int, metavar="N", help="threads of each contender (a stream has one)")
    parser.add_argument("--seconds", type=float, default=0.3, metavar="X", help="for one measurement (default 0.3)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each contender (default 3)")
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
    """Raises ValueError for what is out of range; the interpreters by contender."""
    for name, least in (("threads", 1), ("rounds", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"--{name}: expected an integer >= {least}, got {value}")
    if not (math.isfinite(arguments.seconds) and arguments.seconds > 0):
        raise ValueError(f"--seconds: expected a positive number, got {arguments.seconds}")
    groups = {("all",): PEERS, ("none",): ()}
    arguments.peers = list(dict.fromkeys(groups.get(tuple(arguments.peers), tuple(arguments.peers))))
    interpreters = {}
    for pair in arguments.python:
        names, equals, interpreter = pair.partition("=")
        if not equals or shutil.which(interpreter) is None:
            raise ValueError(f"--python: expected NAME=INTERPRETER, an interpreter that is there, got {pair!r}")
        interpreters.update(dict.fromkeys(_words(names), interpreter))
    for option, named in (("peers", arguments.peers), ("python", interpreters)):
        for name in named:
            if name not in PEERS:
                raise ValueError(f"--{option}: expected {', '.join(PEERS)}, got {name!r}")
    for option in ("json", "plot"):
        path = getattr(arguments, option)
        if path is not None and (Path(path).is_dir() or not os.access(Path(path).absolute().parent, os.W_OK)):
            raise ValueError(f"--{option}: expected a file in a folder that can be written, got {path!r}")
    if arguments.plot:
        new_figure(1, 1)  # without matplotlib the error comes before the work
    return interpreters


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``seqcore bench``.

    Args:
        argv: the words after ``bench``; None takes those of the process.

    Returns:
        0.

    Raises:
        ValueError, OSError, ImportError: with one line that says what is wrong; ``seqcore.cli`` prints it.
    """
    from .experiments.base import Progress, write_json

    arguments = _parser().parse_args(argv)
    interpreters = _check(arguments)
    cases = select_cases(arguments.what, arguments.cases, arguments.cells)
    shown, begin = Progress(), time.perf_counter()

    def progress(done: int, total: int, text: str) -> None:
        left = (time.perf_counter() - begin) * (total - done) / max(done, 1)
        shown.update(done, total, text, left if done else 0.0)

    def show(lines: Iterable[str]) -> None:
        for line in lines:
            shown.line(line)

    bench = Bench(
        arguments.what,
        arguments.peers,
        arguments.threads,
        arguments.seconds,
        arguments.rounds,
        interpreters,
        progress,
    )
    with bench:
        facts = bench.facts()
        show(heading(facts))
        named = set(facts["left_out"])
        rows = bench.measure(cases, lambda done: show(table_lines(done)))
        report = {**facts, "peak_gflops_per_thread": bench.peak, "summary": summary(rows), "rows": rows}
    shown.line()
    shown.line(f"peak: {bench.peak:.0f} GFLOP/s a thread")
    show(f"left out: {name}: {why}" for name, why in bench.left_out.items() if name not in named)
    for measure, one in report["summary"].items():
        shown.line(
            f"{measure}: {one['geometric_mean']:.2f} times the fastest peer (geometric mean), "
            f"least {one['least']:.2f} ({one['least_case']}, {one['least_peer']})"
        )
    if arguments.json:
        write_json(arguments.json, report)
    if arguments.plot:
        draw(report, arguments.plot)
    return 0
