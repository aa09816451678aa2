"""Prints the largest deviation from the float64 reference, and from central differences, as tables.

    python -m tests.helpers.accuracy_table

The instruction sets this processor runs are tried one after the other, each in a process of its own.
"""

import json
import os
import subprocess
import sys

SIZES = ((1, 1, 1, 3), (7, 5, 3, 5), (17, 9, 7, 6), (40, 32, 32, 12), (65, 40, 20, 10), (200, 100, 20, 20))
VARIANTS = (("forward", "none"), ("both", "lengths"), ("both", "mask"))


def worst(pairs):
    """[forward, backward]: largest deviations of any array of (core, reference) results."""
    import numpy as np

    found = [0.0, 0.0]
    for got, expected in pairs:
        for name, value in expected.items():
            difference = np.abs(got[name] - value).max() / max(1.0, np.abs(value).max())
            back = name.startswith("d")
            found[back] = max(found[back], float(difference))
    return found


def measure():
    """Under the instruction set of this process: {"cell dtype": [forward, backward]} and {"cell": difference error}."""
    from tests.helpers import cases, test_gradients

    reference, differences = {}, {}
    for cell in cases.CELLS:
        for dtype in cases.DTYPES:
            problems = [
                cases.make(cases.Case(cell, *shape, directions, ragged), dtype)
                for shape in SIZES
                for directions, ragged in VARIANTS
            ]
            reference[f"{cell} {dtype}"] = worst((cases.run_core(p), cases.run_reference(p)) for p in problems)
        errors = []
        for units in test_gradients.SIZES:
            for directions, ragged in VARIANTS:
                stack = test_gradients.differentiable(cell, units, 2, directions, ragged)
                errors += test_gradients.largest_error(stack, units).values()
        differences[cell] = max(errors)
    for dtype in cases.DTYPES:
        problems = [
            cases.make_context(units, (units + 1) // 2, *shape, reverse, ragged, dtype)
            for units, *shape in SIZES
            for reverse, ragged in ((False, "none"), (True, "lengths"))
        ]
        pairs = ((cases.run_context_core(p), cases.run_context_reference(p)) for p in problems)
        reference[f"context {dtype}"] = worst(pairs)
    errors = (test_gradients.context_errors(units, True, "lengths").values() for units in test_gradients.SIZES)
    differences["context"] = max(max(found) for found in errors)
    return reference, differences


def main():
    """Runs every instruction set and prints the tables."""
    from seqcore import _core

    measured = {}
    for isa in _core.system.info()["isas"]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.helpers.accuracy_table", "--measure"],
            env={**os.environ, "SEQCORE_ISA": isa},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr)
        measured[isa] = json.loads(done.stdout)
    print("Largest deviation of an array from the float64 reference, relative to max(1, its largest element):")
    print("forward / backward")
    head = f"{'cell':<12}{'dtype':<10}" + "".join(f"{isa:>24}" for isa in measured)
    print(head, "-" * len(head), sep="\n")
    for key in next(iter(measured.values()))[0]:
        cell, dtype = key.split()
        pairs = [found[0][key] for found in measured.values()]
        print(f"{cell:<12}{dtype:<10}" + "".join(f"{f'{a:.1e} / {b:.1e}':>24}" for a, b in pairs))
    print("\nLargest error of the float64 gradients against central differences, relative to max(1, |difference|)")
    head = f"{'cell':<22}" + "".join(f"{isa:>24}" for isa in measured)
    print(head, "-" * len(head), sep="\n")
    for cell in next(iter(measured.values()))[1]:
        print(f"{cell:<22}" + "".join(f"{found[1][cell]:>24.1e}" for found in measured.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
    else:
        main()
