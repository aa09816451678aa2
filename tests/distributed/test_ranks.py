"""Sums in the order of the ranks, whatever the MPI library does, and agreements of processes."""

import json
from pathlib import Path

import numpy as np
import pytest

import seqcore as sc
from seqcore.distributed import Network, Ranks, digest, exchange_seconds
from tests.helpers.mpi import SIMPLE_ALGORITHMS, run_mpi

PROGRAM = Path(__file__).parent / "ranks_program.py"


@pytest.mark.parametrize("algorithms", [{}, SIMPLE_ALGORITHMS], ids=["chosen", "simple"])
def test_sums_and_agreements(algorithms, tmp_path):
    path = tmp_path / "result"
    done = run_mpi(4, PROGRAM, path, **algorithms)
    assert done.returncode == 0, done.stderr
    results = json.loads(path.read_text())
    assert len(results) == 4
    for result in results:
        assert all(result["sums"].values()), result["sums"]
        assert result["varying"] == [[], [1], [2, 2], []]
        assert result["any"] == [False, True]
        assert result["broadcast"] == {"from": 0}
        assert result["rows"] == [[0, 1, 6], [1, 2, 6], [3, 1, 6], [4, 2, 6]]
        message = "distribute: expected the same wind in all processes, got 0 in rank 0 and 1 in rank 2"
        assert result["refusal"] == message


@pytest.mark.parametrize("comm", [3, "MPI.COMM_WORLD", object()], ids=str)
def test_what_is_no_communicator_is_refused(comm):
    model = sc.Sequential([sc.layers.Dense(1)])
    model.compile("sgd", "mse")
    message = "distribute: expected a communicator of mpi4py such as MPI.COMM_WORLD, got "
    for call in (
        lambda: Ranks(comm),
        lambda: model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, distribute=comm),
        lambda: sc.Word2Vec().train([["a"]], distribute=comm),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_a_digest_differs_by_type_shape_and_elements():
    zeros = np.zeros(4, np.float32)
    others = [zeros.reshape(2, 2), zeros.astype(np.float64), zeros.view(np.int32), zeros + 1, np.zeros(0), None]
    assert len({digest(array) for array in (zeros, *others)}) == 7
    assert digest(np.eye(3)[::2, ::2]) == digest(np.eye(2))
    assert digest(zeros, None) != digest(None, zeros)


def test_the_time_of_an_exchange():
    """Bytes over bandwidth, and messages one after the other."""
    fast, slow = Network(1e9, 1e-5), Network(1e8, 1e-5)
    assert exchange_seconds(fast, 1, 10**9) == 0
    latency = 1e-5 * (2 + 2 * 3)
    assert exchange_seconds(fast, 8, 8 * 10**6) == pytest.approx(0.014 + latency)
    assert exchange_seconds(slow, 8, 8 * 10**6) == pytest.approx(0.14 + latency)
    # Two sums, four small messages, and the numbers of a thousand rows to seven others.
    with_rows = 1e-5 * (4 + 4 * 3) + 0.014 + 0.007 + 7 * 8 * 1000 / 1e9
    assert exchange_seconds(fast, 8, 8 * 10**6, 4 * 10**6, 1000) == pytest.approx(with_rows)
