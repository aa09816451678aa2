"""Word2Vec on several processes: parts of the corpus, averaged vectors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.mpi import ROOT, mpiexec, results_of, run_mpi

PROGRAM = Path(__file__).parent / "word2vec_program.py"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    mpiexec()
    path = tmp_path_factory.mktemp("alone") / "result"
    subprocess.run([sys.executable, str(PROGRAM), "--alone", str(path)], check=True, cwd=ROOT, timeout=150)
    return json.loads(path.read_text())


def test_one_process_of_mpi_does_what_a_process_by_itself_does(alone, tmp_path):
    assert results_of(1, PROGRAM, tmp_path / "result") == alone


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_share_the_corpus_and_learn_the_same_relations(processes, alone, tmp_path):
    first, second = (results_of(processes, PROGRAM, tmp_path / str(run)) for run in range(2))
    # All processes have the same bits, in a second run too.
    assert len(first["digests"]) == processes and len(set(first["digests"])) == 1
    assert first == second
    # Together they read each sentence once per pass: the draws of a sentence do not depend on who reads it.
    assert (first["counted"], first["pairs"]) == (alone["counted"], alone["pairs"])
    assert first["callbacks"] == [[1, 2, 3, 4, 5], *[[]] * (processes - 1)]
    assert first["losses"][-1] < 0.5 * first["losses"][0]
    assert alone["score"] > 0.95 and first["score"] > 0.95


def test_another_corpus_is_refused_at_the_start(tmp_path):
    done = run_mpi(2, PROGRAM, "--other", tmp_path / "result")
    refusals = [line for line in done.stderr.splitlines() if line.startswith("seqcore.distributed.")]
    assert done.returncode != 0 and not (tmp_path / "result").exists()
    assert refusals and all("the same corpus in all processes" in line for line in refusals), done.stderr
