"""Sums and agreements of processes; run by test_ranks.py: ``python ranks_program.py FILE``."""

import json
import sys
from pathlib import Path

import numpy as np

from seqcore.distributed import Ranks, Refused, digest

SIZES = (0, 1, 3, 64, 1000, 100_003)


def part(rank, size, dtype):
    return np.random.default_rng(rank).normal(size=size).astype(dtype)


def in_order(ranks, size, dtype):
    """The sum of the parts of all ranks, one after the other."""
    total = part(0, size, dtype)
    for rank in range(1, ranks):
        total += part(rank, size, dtype)
    return total


def main(path):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    ranks = Ranks(comm)
    sums = {}
    for dtype in ("float32", "float64"):
        for size in SIZES:
            array = part(ranks.rank, size, dtype)
            ranks.sum(array)
            sums[f"{size} {dtype}"] = digest(array) == digest(in_order(ranks.size, size, dtype))
    counts = np.arange(ranks.size) % 3
    varying = ranks.gather_varying(np.full(counts[ranks.rank], ranks.rank), counts)
    try:
        ranks.refuse_differences({"weather": "fine", "wind": ranks.rank // 2})
        refusal = None
    except Refused as error:
        refusal = str(error)
    results = {
        "sums": sums,
        "varying": [array.tolist() for array in varying],
        "any": [ranks.any(False), ranks.any(ranks.rank == ranks.size - 1)],
        "broadcast": ranks.broadcast({"from": ranks.rank}),
        "rows": [list(rows) for rows in ranks.gather_objects(ranks.rows(6))],
        "refusal": refusal,
    }
    everyone = comm.allgather(results)
    if ranks.is_main:
        Path(path).write_text(json.dumps(everyone))


if __name__ == "__main__":
    main(*sys.argv[1:])
