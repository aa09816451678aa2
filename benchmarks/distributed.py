"""Training steps shared by processes of one machine, and what the exchange over a network needs to know of them.

    python -m benchmarks.distributed --json benchmarks/results/distributed.json

Each model takes steps on one process of one thread, on one of all threads, and on as many processes of one thread as
there are threads, in turn. It needs mpi4py and the launcher ``mpiexec`` (the extra ``mpi``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import seqcore as sc
from seqcore import callbacks, layers, losses, optimizers
from seqcore.language_model import build_model
from seqcore.typing import Ids

from .records import write_record
from .runner import machine_facts

WORDS = 10_000
# Numbers of computers in the table.
COMPUTERS = (2, 4, 8, 16, 32, 64, 128, 256)


class Case(NamedTuple):
    """A model, its steps of a turn, and the shape of its batches."""

    build: Callable[[], Any]
    steps: int
    rows: int
    width: int


def _language_model(units: int) -> Any:
    return build_model(WORDS, units, 2, 1.0, 0.1, 5.0)


def _reviews() -> Any:
    recurrent = [layers.LSTM(64, dropout=0.5, return_sequences=every) for every in (True, False)]
    model = sc.Sequential([layers.Embedding(WORDS, 100), *recurrent, layers.Dense(1, activation="sigmoid")])
    model.compile(optimizers.Adam(), losses.BinaryCrossentropy())
    return model


CASES = {
    "ptb-small": Case(lambda: _language_model(200), 40, 20, 20),
    "ptb-medium": Case(lambda: _language_model(650), 8, 20, 35),
    "imdb": Case(_reviews, 40, 128, 80),
}


def draw_words(shape: tuple[int, ...], seed: int = 0) -> Ids:
    """Words by Zipf's law."""
    chances = 1.0 / np.arange(1, WORDS + 1)
    return np.random.default_rng(seed).choice(WORDS, shape, p=chances / chances.sum()).astype(np.int32)


class _Seconds(callbacks.Callback):
    """The seconds of each step but the first three."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        if batch > 2:
            self.seconds.append(time.perf_counter() - self._begin)


def turn(name: str) -> dict[str, Any] | None:
    """One turn of a case, in each of its processes; the figures of the first one."""
    from mpi4py import MPI

    case, comm = CASES[name], MPI.COMM_WORLD
    sc.random.set_seed(0)
    model = case.build()
    words = draw_words((case.steps, case.rows, case.width + 1))
    language = name.startswith("ptb")
    batches = [(batch[:, :-1], batch[:, 1:] if language else batch[:, :1] % 2) for batch in words]
    seen = _Seconds()
    model.fit(batches, verbose=0, callbacks=[seen], distribute=comm)
    if comm.rank:
        return None
    table = model.layers[0].embeddings
    return {
        "min_us": 1e6 * min(seen.seconds),
        "median_us": 1e6 * median(seen.seconds),
        "dense_bytes": sum(array.nbytes for array in model.flat_parameters.gradients),
        "row_bytes": table.shape[1] * table.dtype.itemsize,
    }


def _launch(mpiexec: str, name: str, processes: int, threads: int) -> dict[str, Any]:
    environment = {"SEQCORE_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    call = [mpiexec, "--bind-to", "none", "-n", str(processes)]
    call += [sys.executable, "-m", "benchmarks.distributed", "--turn", name]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def touched_rows(name: str) -> dict[str, int]:
    """Rows of the table that so many computers touch together, each with a batch of its own."""
    case = CASES[name]
    return {str(n): len(np.unique(draw_words((n, case.rows, case.width), seed=1))) for n in (1, *COMPUTERS)}


def main() -> int:
    """Measure, print one line per turn and write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distributed", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), metavar="LIST", help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads, and processes of one thread (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--turn", metavar="CASE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        figures = turn(arguments.turn)
        if figures is not None:
            print(json.dumps(figures))
        return 0
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        print("python -m benchmarks.distributed: needs mpiexec: pip install 'seqcore[mpi]'", file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    for name in arguments.cases.split(","):
        ways = [(1, 1), (1, arguments.threads), (arguments.threads, 1)]
        turns: dict[tuple[int, int], list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for processes, threads in ways:
                turns[processes, threads].append(_launch(mpiexec, name, processes, threads))
        for (processes, threads), results in turns.items():
            row = {**results[0], "case": name, "processes": processes, "threads": threads}
            row["min_us"] = min(result["min_us"] for result in results)
            row["median_us"] = median(result["median_us"] for result in results)
            rows.append({**row, "touched_rows": touched_rows(name)})
            print(f"{name:10} {processes} processes x {threads} threads: {row['min_us'] / 1e3:.2f} ms", flush=True)
    if arguments.json:
        command = f"python -m benchmarks.distributed --rounds {arguments.rounds} --threads {arguments.threads}"
        write_record(arguments.json, command, {**machine_facts(arguments.threads), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
