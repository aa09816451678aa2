"""The runner: one process per contender, timed in turn, round after round.

For each case all of them get the same arrays; their results are first checked against NumPy's, and a wrong one ends
the run. 100 % is the processor's multiply-add peak, measured in the same rounds for the same instruction set
and type, on all threads at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import numpy as np

from seqcore import _core

from .answers import Array, check_answer, make_arrays, reference, task_sizes
from .cases import KINDS, Case
from .contenders import CONTENDERS

PEERS = tuple(name for name in CONTENDERS if name != "seqcore")
# Seconds before each turn, in which the threads of the previous contender stop spinning.
_REST = 0.05

# Lets the folder that a contender needs be imported without the package around them, which its interpreter may lack.
_BOOT = """
import sys, types
sys.path[:] = [path for path in sys.path if path]
package = types.ModuleType("seqcore_bench")
package.__path__ = [sys.argv[1]]
sys.modules["seqcore_bench"] = package
from seqcore_bench.contenders.worker import main
main(sys.argv[2])
"""


class _Failed(Exception):
    """A contender failed; the message has the reason."""


class _Missing(_Failed):
    """The library of a contender is missing."""


class _Contender:
    """The process of one contender."""

    def __init__(self, name: str, interpreter: str | None, threads: int, folder: Path, isa: str | None = None) -> None:
        self.name, self.measures, self.deviation = name, list[str](), 0.0
        self._errors = open(folder / f"{name}.log", "w+b")
        count = str(threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        if name == "seqcore" and isa:
            environment["SEQCORE_ISA"] = isa
        if interpreter is None:
            # The same interpreter gets the import path of this process.
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
        """Send a request and return its answer."""
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
        """End the process."""
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
    """A context that starts and ends the processes of the contenders.

    Args:
        what: a name of ``KINDS``.
        peers: names out of ``PEERS``; those not installed are left out and named in ``left_out``.
        threads: for each contender; streams run on one.
        seconds: for one measurement in one round.
        rounds: turns of each contender.
        interpreters: contender -> Python interpreter of another environment.
        progress: called with (done, total, text) before each measurement.
        dtype: "float32" or "float64", of the cases that will be measured.
        isa: the instruction set of seqcore; None takes the best one.

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
        dtype: str = "float32",
        isa: str | None = None,
    ) -> None:
        self.what, self.peers, self.seconds, self.rounds = what, tuple(peers), seconds, rounds
        self.threads = 1 if what == "stream" else threads or _core.system.get_num_threads()
        self.interpreters, self.progress = dict(interpreters or {}), progress or (lambda *_: None)
        self.dtype, self.isa, self.isa_forced = dtype, isa, isa is not None
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.peak = self.peak_of_one = 0.0
        self.memory: dict[tuple[str, str], dict[str, float]] = {}
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
        for contender in self.contenders:
            contender.close()
        self._temporary.cleanup()

    def _start(self, name: str) -> None:
        if KINDS[self.what].work not in CONTENDERS[name].parts:
            self.left_out[name] = f"has no part in {self.what}"
            return
        self.progress(0, 1, f"starting {name}")
        contender = self._process(name)
        self.contenders.append(contender)
        try:
            hello = contender.ask("hello", threads=self.threads)
            self.versions[name] = hello["version"]
            if name == "seqcore":
                self.isa = hello["isa"]
        except _Failed as error:
            if name == "seqcore":
                raise ChildProcessError(f"seqcore: cannot be measured: {error}") from None
            self._leave_out(contender, f"not installed: {error}" if isinstance(error, _Missing) else str(error))
            self.contenders.remove(contender)
            contender.close()

    def _process(self, name: str) -> _Contender:
        return _Contender(name, self.interpreters.get(name), self.threads, self.folder, self.isa)

    def _leave_out(self, contender: _Contender, why: str, case: Case | None = None) -> None:
        if contender.name == "seqcore":
            raise ChildProcessError(f"seqcore at {case.label if case else self.what}: {why}")
        self.left_out[f"{contender.name} at {case.label}" if case else contender.name] = why

    # --- one case ---

    def measure(
        self, cases: Sequence[Case], on_case: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> list[Any]:
        """Measure cases one after the other.

        Args:
            cases: of this bench's kind.
            on_case: called with the rows of each finished case.

        Returns:
            One row for each case, measure and contender.

        Raises:
            ValueError: for a wrong answer. OSError: seqcore fails.
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
            # The order is reversed each round, so that no contender always follows the same one.
            for contender in list(here) if turn % 2 == 0 else list(reversed(here)):
                text = f"{case.label} {contender.name} round {turn + 1} of {self.rounds}"
                self.progress(number * self.rounds + turn, total * self.rounds, text)
                time.sleep(_REST)
                try:
                    for measure in contender.measures:
                        reply = contender.ask("time", measure=measure, seconds=self.seconds)
                        times.setdefault((measure, contender.name), []).append(reply)
                    if contender.name == "seqcore":
                        self._measure_peak(contender)
                except _Failed as error:
                    self._leave_out(contender, str(error), case)
                    here.remove(contender)
                    times = {key: value for key, value in times.items() if key[1] != contender.name}
        for contender in here:
            contender.ask("close")
        return self._rows(case, here, times)

    def _measure_peak(self, contender: _Contender) -> None:
        peak = contender.ask("peak", seconds=min(0.2, self.seconds), threads=self.threads, dtype=self.dtype)
        self.peak, self.peak_of_one = max(self.peak, peak["all"]), max(self.peak_of_one, peak["one"])

    def _measure_memory(self, contender: _Contender, case: Case, folder: str) -> None:
        """Measure memory in a separate process; the rows have none where the system does not report it."""
        self.memory.pop((case.label, contender.name), None)
        process = self._process(contender.name)
        try:
            process.ask("hello", threads=self.threads)
            message = {**task_sizes(case, self.threads), "what": case.kind.work, "measure": case.kind.memory}
            reply = process.ask("memory", folder=folder, **message)
        finally:
            process.close()
        if reply["above_imports"] > 0:
            self.memory[case.label, contender.name] = reply

    def _open(self, case: Case, number: int, total: int) -> list[_Contender]:
        """The contenders with correct results for a case; a wrong one ends the run, a failing contender is left out."""
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
                if not contender.measures:
                    self._leave_out(contender, f"has no part in {self.what}")
                    continue
                if case.kind.memory:
                    with contextlib.suppress(_Failed):
                        self._measure_memory(contender, case, folder)
                here.append(contender)
        return here

    def _answer(self, contender: _Contender, case: Case, folder: str) -> dict[str, Array]:
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            sizes = task_sizes(case, self.threads)
            reply = contender.ask("open", what=case.kind.work, folder=folder, answer=place, **sizes)
            contender.measures = [name for name in reply["measures"] if name.partition("/")[0] in case.kind.measures]
            return {name: np.load(Path(place) / f"{i}.npy") for i, name in enumerate(reply["names"])}

    def _rows(
        self, case: Case, here: Iterable[_Contender], times: Mapping[tuple[str, str], list[dict[str, float]]]
    ) -> list[dict[str, Any]]:
        rows = []
        for measure in case.kind.measures:
            ours = min(turn["min_us"] for turn in times[measure, "seqcore"])
            for contender in here:
                for name in contender.measures:
                    plain, _, way = name.partition("/")
                    if plain == measure:
                        row = self._row(case, contender, measure, times[name, contender.name])
                        row["contender"] += f" ({way})" if way else ""
                        rows.append({**row, "times": row["min_us"] / ours})
        return rows

    def _row(
        self, case: Case, contender: _Contender, measure: str, turns: Sequence[Mapping[str, float]]
    ) -> dict[str, Any]:
        best = min(turn["min_us"] for turn in turns)
        gflops = case.flops(measure) / best / 1e3
        row = {
            "case": case.label,
            "what": case.what,
            "cell": case.cell,
            "dtype": case.dtype,
            **case.shape._asdict(),
            "measure": measure,
            "contender": contender.name,
            "library": contender.name,
            "threads": self.threads,
            "min_us": best,
            "median_us": median(turn["median_us"] for turn in turns),
            "p99_us": median(turn["p99_us"] for turn in turns),
            "calls": int(sum(turn["calls"] for turn in turns)),
            "gflops": gflops,
            "peak_gflops": self.peak,
            "percent_of_peak": 100 * gflops / self.peak,
            "deviation": contender.deviation,
        }
        if case.what == "ptb":
            row["words_per_second"] = 1e6 * case.shape.batch * case.shape.steps / best
        if case.what == "imdb":
            row["samples_per_second"] = 1e6 * case.sequences / best
        if case.what == "ragged":
            row["real_steps"] = case.real_steps
        memory = self.memory.get((case.label, contender.name), {})
        row.update({f"memory_{key}" if key != "page_faults" else key: value for key, value in memory.items()})
        return row

    def facts(self) -> dict[str, Any]:
        """The machine and the versions of the measurement."""
        return {
            "what": self.what,
            **machine_facts(self.threads),
            "isa": self.isa or _core.system.info()["isa"],
            "isa_forced": self.isa_forced,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "versions": self.versions,
            "left_out": self.left_out,
            "dtype": self.dtype,
        }


def machine_facts(threads: int) -> dict[str, Any]:
    """Date, processor, load, system, compiler, instruction set, threads and Python of a measurement."""
    info = _core.system.info()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "cpu": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "isa": info["isa"],
        "compiler": info["compiler"],
        "threads": threads,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """The model name of the processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
