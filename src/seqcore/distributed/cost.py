"""The time of a step's exchange over a network, as a formula.

n: processes.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Network(NamedTuple):
    """A network.

    Attributes:
        bytes_per_second: of one connection in one direction.
        latency: seconds until a small message has arrived.
    """

    bytes_per_second: float
    latency: float


def exchange_seconds(
    network: Network, processes: int, dense_bytes: int, slice_bytes: int = 0, touched_rows: int = 0, types: int = 1
) -> float:
    """Seconds that the exchange of one training step takes, without the sums themselves.

    Args:
        network: between the processes.
        processes: n.
        dense_bytes: of the gradients of dense variables.
        slice_bytes: of the rows of tables that any process touches.
        touched_rows: rows of tables that one process touches.
        types: kinds of float variables, each a sum of its own; with rows of tables as many again.

    Each sum sends 2·(n-1)/n times its bytes, in two steps of n-1 messages at once; the numbers of the rows go to every
    other process, 8 bytes each. Two small messages (the sums of the metrics, a vote on stopping), and for tables two
    more (counts and numbers of the rows), pass through log2(n) stages.

    >>> round(exchange_seconds(Network(125e6, 50e-6), 4, 10_000_000), 4)
    0.1203
    """
    if processes == 1:
        return 0.0
    sums = types * (2 if slice_bytes else 1)
    small = 4 if slice_bytes else 2
    latency = network.latency * (2 * sums + small * math.ceil(math.log2(processes)))
    share = (processes - 1) / processes
    sent = 2 * share * (dense_bytes + slice_bytes) + 8 * (processes - 1) * touched_rows
    return latency + sent / network.bytes_per_second
