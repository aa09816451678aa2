"""Records of measurements: the command, the commit, the machine and the numbers, as JSON in benchmarks/results."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqcore.experiments._run import write_json

RESULTS = Path(__file__).resolve().parent / "results"


def commit() -> str:
    """The commit of the checkout, with a plus sign where sources differ from it; records and pages may."""
    sources = ["src", "CMakeLists.txt", "cmake", ":(glob)benchmarks/**/*.py"]
    try:
        name = _git("rev-parse", "--short=10", "HEAD").stdout.strip()
        return name + "+" * (_git("status", "--porcelain", "--untracked-files=no", "--", *sources).stdout != "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def is_of_history(name: str) -> bool:
    """Tells whether a commit, as a record names it, is one of those that led to the checkout."""
    try:
        _git("merge-base", "--is-ancestor", name.rstrip("+"), "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=RESULTS.parent.parent, capture_output=True, text=True, check=True)


def write_record(path: str | Path, command: str, report: Mapping[str, Any]) -> None:
    """Write a record.

    Args:
        path: the file.
        command: the command line of the measurement, without the details of one machine.
        report: the machine, the versions and the rows.
    """
    write_json(path, {"command": command, "commit": commit(), **report})


def read_records(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """All records of a folder by name.

    Raises:
        ValueError: naming a file that is not a record.
    """
    records = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            records[path.stem] = {**record, "rows": list(record["rows"]), "command": str(record["command"])}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}: expected a record of a measurement, got something else") from None
    return records
