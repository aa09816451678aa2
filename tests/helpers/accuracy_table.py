"""The largest deviations of the core from the float64 reference: a record, and its table in docs/guide/performance.md.

    python -m tests.helpers.accuracy_table

The instruction sets of the processor are tried one after the other, each in a process of its own.
"""

import json
import os
import subprocess
import sys

import numpy as np

from benchmarks import pages, records
from benchmarks.runner import machine_facts
from seqcore import _core
from tests.helpers import cases

SIZES = ((1, 1, 1, 3), (7, 5, 3, 5), (17, 9, 7, 6), (40, 32, 32, 12), (65, 40, 20, 10), (200, 100, 20, 20))
VARIANTS = (("forward", "none"), ("both", "lengths"), ("both", "mask"))


def worst(pairs):
    """{"forward", "backward"}: largest deviations of (core, reference) arrays, relative to the largest element or 1."""
    largest = {"forward": 0.0, "backward": 0.0}
    for computed, expected in pairs:
        for name in expected:
            direction = "backward" if name.startswith("d") else "forward"
            deviation = np.abs(computed[name] - expected[name]).max() / max(1.0, np.abs(expected[name]).max())
            largest[direction] = max(largest[direction], float(deviation))
    return largest


def measure():
    """Rows for the instruction set of this process, one for each cell and type."""
    rows = []
    for dtype in cases.DTYPES:
        for cell in cases.CELLS:
            problems = [
                cases.make(cases.Case(cell, *shape, directions, ragged), dtype)
                for shape in SIZES
                for directions, ragged in VARIANTS
            ]
            pairs = ((cases.run_core(problem), cases.run_reference(problem)) for problem in problems)
            rows.append({"cell": cell, "dtype": str(dtype), **worst(pairs)})
        problems = [
            cases.make_context(units, (units + 1) // 2, *shape, reverse, ragged, dtype)
            for units, *shape in SIZES
            for reverse, ragged in ((False, "none"), (True, "lengths"))
        ]
        pairs = ((cases.run_context_core(problem), cases.run_context_reference(problem)) for problem in problems)
        rows.append({"cell": "context", "dtype": str(dtype), **worst(pairs)})
    isa = _core.system.info()["isa"]
    return [{"isa": isa, **row} for row in rows]


def main():
    """Measure every instruction set; write the record and the page."""
    rows = []
    for isa in _core.system.info()["isas"]:
        call = [sys.executable, "-m", "tests.helpers.accuracy_table", "--measure"]
        done = subprocess.run(
            call, env={**os.environ, "SEQCORE_ISA": isa}, check=True, stdout=subprocess.PIPE, text=True
        )
        rows += json.loads(done.stdout)
    threads = _core.system.get_num_threads()
    report = {**machine_facts(threads), "what": "accuracy", "rows": rows}
    records.write_record(records.RESULTS / "accuracy.json", "python -m tests.helpers.accuracy_table", report)
    pages.write(records.read_records())


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
    else:
        main()
