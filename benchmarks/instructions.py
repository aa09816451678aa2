"""A guard that needs no clock: instructions of a few fixed calls of the core, counted by valgrind's cachegrind.

    python -m benchmarks.instructions              # against benchmarks/instructions.json
    python -m benchmarks.instructions --record     # after an intended change

Each case runs twice in a separate process, with 1 and with 1 + N calls, on one thread and the AVX2 kernels (valgrind
knows no AVX-512); the difference is the cost of N calls, without the start of Python. The exit status is 1 if a case
needs more than ``--bound`` percent above its record.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RECORD = Path(__file__).with_suffix(".json")


def recurrent(cell: str, batch: int, steps: int, features: int, units: int) -> Callable[[], Any]:
    """Forward and backward pass of a sequence, all gradients."""
    from seqcore import _core

    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cell]
    rng = np.random.default_rng(0)
    bias = np.zeros((2, 3 * units) if cell == "gru" else (gates * units,), np.float32)
    weights = [
        tuple((rng.normal(size=(n, gates * units)) / n**0.5).astype(np.float32) for n in (features, units)) + (bias,)
    ]
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    dy = rng.normal(size=(batch, steps, units)).astype(np.float32)

    def call() -> None:
        _, _, saved = _core.recurrent.recurrent_forward(cell, x, weights)
        assert saved is not None
        _core.recurrent.recurrent_backward(saved, dy)

    return call


def softmax_loss() -> Callable[[], Any]:
    """Dense, softmax and loss, forward and backward."""
    from seqcore import _core

    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((100, 200), (200, 2000)))
    bias, targets = np.zeros(2000, np.float32), rng.integers(0, 2000, 100).astype(np.int32)
    return lambda: _core.dense.linear_softmax(x, kernel, bias, targets)


def sampled_loss() -> Callable[[], Any]:
    """The book's noise-contrastive estimation, forward and backward."""
    from seqcore import _core

    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(5000, 128)).astype(np.float32), np.zeros(5000, np.float32)
    x, labels = rng.normal(size=(128, 128)).astype(np.float32), rng.integers(0, 5000, (128, 1))
    return lambda: _core.sampling.sampled_loss(weights, bias, labels, x, None, 64, softmax=False, seed=1)


def adam() -> Callable[[], Any]:
    """An update of 100,000 numbers."""
    import seqcore as sc

    variable = sc.Variable(np.zeros(100_000, np.float32))
    gradient, optimizer = np.ones(100_000, np.float32), sc.optimizers.Adam(0.001, global_clipnorm=1.0)
    return lambda: optimizer.apply_gradients([(gradient, variable)])


class Case(NamedTuple):
    """A function and its number of calls: enough that the start of Python does not matter."""

    make: Callable[[], Callable[[], Any]]
    calls: int


CASES = {
    "lstm": Case(lambda: recurrent("lstm", 20, 20, 200, 200), 4),
    "gru": Case(lambda: recurrent("gru", 32, 26, 32, 40), 40),
    "rnn": Case(lambda: recurrent("rnn", 64, 50, 64, 64), 12),
    "linear_softmax": Case(softmax_loss, 12),
    "sampled_loss": Case(sampled_loss, 200),
    "adam": Case(adam, 400),
}


def count(case: str, calls: int) -> int:
    """Instructions of a process with that many calls."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    # The threads of NumPy's BLAS would spin.
    fixed = {"SEQCORE_ISA": "avx2", "SEQCORE_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*command, sys.executable, __file__, "--call", case, str(calls)],
        capture_output=True,
        text=True,
        env={**os.environ, **fixed},
    )
    match = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or not match:
        raise RuntimeError(f"valgrind: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    return int(match[1].replace(",", ""))


def main() -> int:
    """Count, print one line per case, compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated (default all)")
    parser.add_argument("--bound", type=float, default=10.0, metavar="PERCENT", help="allowed above the record")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    arguments = parser.parse_args()
    names = arguments.cases.split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"--cases: expected some of {', '.join(CASES)}, got {unknown[0]!r}")
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    record: dict[str, int] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    worse = False
    for name in names:
        calls = CASES[name].calls
        each = (count(name, 1 + calls) - count(name, 1)) // calls
        change = 100 * (each / record[name] - 1) if name in record else 0.0
        worse |= change > arguments.bound
        print(f"{name:16}{each:>15,} instructions a call  {change:+.1f} %", flush=True)
        if arguments.record:
            record[name] = each
    if arguments.record:
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return int(worse and not arguments.record)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        call = CASES[sys.argv[2]].make()
        for _ in range(int(sys.argv[3])):
            call()
    else:
        sys.exit(main())
