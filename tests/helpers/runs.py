"""Runs of the experiments in the tests: the command as typed, its figures without the times, pictures as they begin."""

import json
from pathlib import Path

from seqcore import cli

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


def run(name, *words):
    """The exit status of ``seqcore run NAME ...`` on one thread."""
    return cli.main(["run", name, "--threads", "1", *map(str, words)])


def results(path):
    """The figures of a run, of its folder or of a ``--json`` file, without what may differ from run to run."""
    found = json.loads((path / "metrics.json" if path.is_dir() else path).read_text())
    for one in (found, found["metrics"], *found["history"]):
        for key in [key for key in one if key == "threads" or key.endswith(("seconds", "seconds_per_epoch"))]:
            del one[key]
    return found
