"""The benchmark harness: the compiled core against NumPy and the peers that are installed.

Each contender runs in its own process, which imports its library once. For each case all of them get the same arrays;
their results are first checked against NumPy's, and a wrong one ends the run. Then they are timed in turn, round after
round, so that other load on the machine affects all of them. 100 % is the processor's multiply-add peak, measured in
the same rounds.

``cases``: the measurements. ``answers``: arrays and the check of results. ``contenders``: the same work in
each library. ``runner``: processes and rounds. ``report``, ``tables``, ``figures``: output. ``memory``: the memory of a
training step as a formula. ``everything``: all tables of docs/guide/performance.md in one run. ``reproduce``,
``jobs``, ``spread``, ``bits``: the figures of the experiments. ``records``, ``pages``: from records to the pages.
"""

from __future__ import annotations

from .answers import TOLERANCE, check_answer, make_arrays, reference, task_sizes
from .cases import CELLS, KINDS, Case, Shape, select_cases
from .command_line import main
from .runner import PEERS, Bench

__all__ = [
    "CELLS",
    "KINDS",
    "PEERS",
    "TOLERANCE",
    "Bench",
    "Case",
    "Shape",
    "check_answer",
    "main",
    "make_arrays",
    "reference",
    "select_cases",
    "task_sizes",
]
