"""The process of one contender: it reads requests and writes answers line by line.

Started by ``benchmarks.runner``, it may run under an interpreter that has no seqcore: the files of this folder need
NumPy and, of the libraries, only the measured one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np

from . import CONTENDERS
from .task import Runner, load_task

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None  # type: ignore[assignment]


def timed(function: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Call a function for about ``seconds`` after a warm-up; the times of a call in microseconds.

    At least twice without looking at the clock, then at least three times with it.

    >>> sorted(timed(lambda: None, 0.001))
    ['calls', 'median_us', 'min_us', 'p99_us']
    """
    clock = time.perf_counter
    start, warm = clock(), 0
    while warm < 2 or clock() - start < seconds / 4:
        function()
        warm += 1
    times: list[float] = []
    start = clock()
    while len(times) < 3 or clock() - start < seconds:
        before = clock()
        function()
        times.append(clock() - before)
    micro = 1e6 * np.array(times)
    return {
        "min_us": float(micro.min()),
        "median_us": float(np.median(micro)),
        "p99_us": float(np.percentile(micro, 99)),
        "calls": len(times),
    }


def memory(name: str) -> int:
    """Resident bytes of this process: "VmRSS" now, "VmHWM" the peak; 0 where the system does not report it."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:")), 0)


def faults(function: Callable[[], Any], calls: int) -> float:
    """Page faults of one call: those of ``calls`` calls, divided; nothing is collected meanwhile."""
    if resource is None:
        raise OSError("faults: expected a POSIX system")
    gc.collect()
    gc.disable()
    try:
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(calls):
            function()
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        gc.enable()
    return (after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt) / calls


def peak(threads: int, dtype: str, seconds: float) -> float:
    """The multiply-add peak in GFLOP/s of the loop on that many threads at the same time, summed over the threads."""
    system = import_module("seqcore._core.system")
    found, begin = [0.0] * threads, Barrier(threads)

    def run(i: int) -> None:
        begin.wait()
        found[i] = system.peak_gflops(dtype, seconds)

    others = [Thread(target=run, args=(i,)) for i in range(1, threads)]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    return sum(found)


class Worker:
    """One contender's side of the conversation: a JSON line in, a JSON line out."""

    def __init__(self, name: str) -> None:
        self.name, self.contender = name, CONTENDERS[name]
        self.runner: Runner | None = None
        self.imported = 0

    def hello(self, threads: int) -> dict[str, Any]:
        """Import the library."""
        reply = {"version": self.contender.start(threads), "python": ".".join(map(str, sys.version_info[:3]))}
        if self.name == "seqcore":
            reply["isa"] = import_module("seqcore._core.system").info()["isa"]
        self.imported = memory("VmRSS")
        return reply

    def open(self, what: str, folder: str, answer: str, **sizes: Any) -> dict[str, Any]:
        """Make the runner of a task and write its results as arrays into the folder ``answer``."""
        self.runner = self.contender.parts[what](load_task(folder, **sizes))
        names = []
        for i, (name, array) in enumerate(self.runner.answer().items()):
            np.save(Path(answer) / f"{i}.npy", array)
            names.append(name)
        return {"measures": list(self.runner.measures), "names": names}

    def time(self, measure: str, seconds: float) -> dict[str, Any]:
        """Time a function of the runner."""
        if self.runner is None:
            raise ValueError("time: expected an open task, got none")
        return timed(self.runner.measures[measure], seconds)

    def memory(self, what: str, folder: str, measure: str, **sizes: Any) -> dict[str, Any]:
        """Memory of a task in a fresh process, in bytes, and page faults of a later call.

        "step": from before the first call to the peak, the memory of a call in addition to its inputs and the
        weights; "above_imports": from the imports to the peak, without the arrays of the task.
        """
        if self.runner is not None:
            raise ValueError("memory: expected a new process, got one that has had a task")
        task = load_task(folder, **sizes)
        handed = sum(array.nbytes for array in (*task.arrays.values(), *task.weights))
        self.runner = self.contender.parts[what](task)
        function = self.runner.measures[measure]
        gc.collect()
        before = memory("VmRSS")
        for _ in range(3):
            function()
        most = memory("VmHWM")
        reply: dict[str, Any] = {"step": most - before, "above_imports": most - self.imported - handed}
        # By now the caches of the interpreter and the allocator have grown.
        return {**reply, "page_faults": faults(function, 8)}

    def peak(self, seconds: float, threads: int = 1, dtype: str = "float32") -> dict[str, Any]:
        """The multiply-add peak in GFLOP/s: of one thread, and of all at once."""
        single = peak(1, dtype, seconds)
        return {"one": single, "all": single if threads == 1 else peak(threads, dtype, seconds)}

    def close(self) -> dict[str, Any]:
        """Delete the task."""
        self.runner = None
        return {}


def end_with_parent() -> None:
    """Let Linux end this process together with its parent, even during a long call."""
    end, signal = 1, 9  # PR_SET_PDEATHSIG, SIGKILL
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(end, signal, 0, 0, 0)


def main(name: str) -> None:
    """Serve one contender over standard input and output until the input or the benchmark ends."""
    end_with_parent()
    # Output of a library must not mix with the answers: standard output becomes standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(name)
    for line in sys.stdin:
        message = json.loads(line)
        try:
            reply = getattr(worker, message.pop("do"))(**message)
        except ImportError as error:
            reply = {"missing": _one_line(error)}
        except Exception as error:
            reply = {"error": _one_line(error)}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")[:300]
