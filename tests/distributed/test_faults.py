"""Processes that fail, that do not fit together, and runs that another number of processes continues."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqcore import saving
from tests.helpers.mpi import import_path, run_mpi

PROGRAM = Path(__file__).parent / "faults_program.py"


def lines_of_ours(done):
    """The lines on standard error that are not the launcher's; each must be a message, not a traceback."""
    return [line.strip("\0 ") for line in done.stderr.splitlines() if "seqcore:" in line or "Traceback" in line]


@pytest.mark.parametrize(
    "fault, message",
    [
        ("version", "the same version of seqcore in all processes"),
        ("data", "the same data in all processes"),
        ("batches", "the same batch in all processes"),
        ("batch size", "the same steps per epoch in all processes"),
        ("optimizer", "the same optimizer in all processes"),
        ("weights", "the same weights in all processes"),
    ],
)
def test_a_process_that_does_not_fit_is_refused_at_the_start(fault, message, tmp_path):
    path = tmp_path / "result"
    done = run_mpi(2, PROGRAM, path, fault, "-")
    assert done.returncode != 0 and not path.exists()
    refusals = [line for line in done.stderr.splitlines() if line.startswith("seqcore.distributed.")]
    assert refusals and all(message in line for line in refusals), done.stderr
    assert all("rank 1" in line for line in refusals)


def test_an_argument_that_one_process_refuses_ends_all(tmp_path):
    done = run_mpi(2, PROGRAM, tmp_path / "result", "argument", "-")
    assert done.returncode != 0
    assert lines_of_ours(done) == [
        "seqcore: rank 1 of 2: epochs: expected an integer >= 0, got 'many'; all processes end"
    ]


@pytest.mark.parametrize("fault", ["fails", "is killed"])
def test_a_process_that_dies_ends_all_and_others_continue(fault, tmp_path):
    """With one line; the backup is whole, and another number of processes makes of it what one process makes."""
    folder, path, alone = tmp_path / "backup", tmp_path / "result", tmp_path / "alone"
    done = run_mpi(4, PROGRAM, path, fault, folder)
    assert done.returncode != 0 and not path.exists()
    expected = ["seqcore: rank 1 of 4: RuntimeError: the disk is full; all processes end"] if fault == "fails" else []
    assert lines_of_ours(done) == expected, done.stderr
    position = saving.read_position(folder / "checkpoint.safetensors")["fit"]
    assert (position["epoch"], position["batch"]) == (1, 3)
    assert not list(tmp_path.glob("backup-of-rank-*"))
    resumed = run_mpi(2, PROGRAM, path, "none", folder)
    assert resumed.returncode == 0, resumed.stderr
    call = [sys.executable, str(PROGRAM), str(alone), "alone", str(tmp_path / "other")]
    subprocess.run(call, check=True, env={**os.environ, "PYTHONPATH": import_path()}, timeout=100)
    for ours, theirs in zip(json.loads(path.read_text()), json.loads(alone.read_text()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
