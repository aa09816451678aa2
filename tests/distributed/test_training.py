"""Training by several processes: losses and weights of one process with the whole batch, the same bits again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.mpi import ROOT, SIMPLE_ALGORITHMS, mpiexec, results_of

PROGRAM = Path(__file__).parent / "training_program.py"
CASES = ("ragged", "masked", "nce", "sampled softmax", "stateful", "few rows", "own loss")
TYPES = {"float64": 1e-9, "float32": 1e-4}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results by number of processes; 0 is a fit without MPI."""
    mpiexec()
    folder, known = tmp_path_factory.mktemp("results"), {}

    def get(processes, run=0):
        if (processes, run) not in known:
            path = folder / f"{processes}-{run}.json"
            if processes:
                algorithms = SIMPLE_ALGORITHMS if run else {}
                known[processes, run] = results_of(processes, PROGRAM, path, *CASES, **algorithms)
            else:
                command = [sys.executable, str(PROGRAM), "--alone", str(path), *CASES]
                subprocess.run(command, check=True, cwd=ROOT, timeout=150)
                known[processes, run] = json.loads(path.read_text())
        return known[processes, run]

    return get


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_losses_and_weights_are_those_of_one_process(results, processes, name, dtype):
    """Over at least 50 steps, with dropout, sampled losses, embeddings, clipping, masks, weights and carried states."""
    one, several = (results(number)[f"{name} {dtype}"] for number in (0, processes))
    assert len(one["losses"]) >= 50
    np.testing.assert_allclose(several["losses"], one["losses"], rtol=TYPES[dtype])
    assert several["history"].keys() == one["history"].keys()
    for key, values in one["history"].items():
        np.testing.assert_allclose(several["history"][key], values, rtol=TYPES[dtype], err_msg=key)
    # In float32 rounding decides where a gradient of Adam or RMSprop is nearly zero.
    tolerance = 1e-8 if dtype == "float64" else 2e-3
    for ours, theirs in zip(several["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    # Training has an effect, and so has the work of the other processes.
    assert one["losses"][0] != one["losses"][-1]


@pytest.mark.parametrize("processes", [2, 4])
def test_all_processes_have_the_same_bits_and_a_second_run_too(results, processes):
    """The second run has other algorithms of MPI."""
    first, second = results(processes), results(processes, run=1)
    for name, result in first.items():
        assert len(result["digests"]) == processes
        assert set(result["digests"]) == set(second[name]["digests"])
        assert len(set(result["digests"])) == 1, name
