"""The runs whose figures the pages show: a table of jobs, each of which gives one record."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Job(NamedTuple):
    """Runs of one experiment, whose numbers are one record.

    name: of the record and of the block in the pages. command: arguments of ``seqcore``; DIR is the folder of the data.
    runs: further arguments by the name of the run. seeds: of each run. families: of the bits that its numbers depend
    on. minutes: of one run on two idle threads. history: the record keeps the rows by epoch too. pictures: files of
    ``RUN-seedN`` by their names in docs/images.
    """

    name: str
    command: str
    runs: Mapping[str, str]
    seeds: Sequence[int]
    minutes: float
    families: tuple[str, ...] = ("recurrent", "optimizer")
    history: bool = False
    pictures: Mapping[str, str] = {}

    def line(self, run: str, seed: int | str) -> str:
        """The command line of a run.

        >>> Job("a", "run toy", {"book": "--preset book"}, [1], 1).line("book", 1)
        'seqcore run toy --preset book --seed 1'
        """
        return " ".join(["seqcore", *shlex.split(f"{self.command} {self.runs[run]}"), "--seed", str(seed)])

    @property
    def needs_data(self) -> bool:
        """Tells whether a run reads the folder of the data."""
        return any("DIR" in self.line(run, 0) for run in self.runs)


JOBS = (
    Job("toy", "run toy", {"quick": "", "book": "--preset book"}, tuple(range(16)), 0.05),
    Job(
        "ptb-small",
        "run ptb --size small --preset book --data DIR",
        {"float32": "", "bfloat16": "--dtype-policy mixed_bfloat16"},
        (1, 2, 3),
        10,
    ),
    Job(
        "ptb-medium",
        "run ptb --size medium --preset book --data DIR",
        {"book-bf16": "--dtype-policy mixed_bfloat16"},
        (1,),
        90,
        history=True,
        pictures={"ptb_medium.png": "book-bf16-seed1/perplexity.png"},
    ),
    Job("ptb-grammar", "run ptb", {"quick": ""}, (0, 1, 2), 2.5),
)
