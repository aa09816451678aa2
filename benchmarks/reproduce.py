"""``python -m benchmarks.reproduce``: run what the pages show, and write the records and the pages.

    python -m benchmarks.reproduce --data DIR               # all jobs, the short ones first: hours
    python -m benchmarks.reproduce --only ptb-small --data DIR --jobs 2
    python -m benchmarks.reproduce --collect                # records and pages from the runs that have finished
    python -m benchmarks.reproduce --list
    python -m benchmarks.reproduce --stale                  # records older than the bits of their numbers

A run has a folder in ``--work``. One that has finished, by the same command and with the same bits, is not run again;
one that was stopped starts again, or goes on where its experiment can. The record of a job is written after each run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqcore.experiments._run import write_json

from . import bits, pages
from .command_line import Parser, words
from .jobs import JOBS, Job
from .records import RESULTS, commit, is_of_history, read_records
from .runner import machine_facts
from .spread import SPEEDS, summary

ROOT = Path(__file__).resolve().parent.parent
# The facts of a run that its record keeps, next to its numbers.
KEPT = ("run", "seed", "command", "commit", "date", "threads", "beside", "isa", "versions", "seconds", "metrics")
# Packages that the numbers of a run can depend on.
PACKAGES = ("numpy", "scikit-learn")


class Run(NamedTuple):
    """One run of a job and its folder."""

    job: Job
    name: str
    seed: int
    folder: Path

    @property
    def command(self) -> str:
        """Its command line, DIR for the folder of the data."""
        return self.job.line(self.name, self.seed)

    def identity(self) -> dict[str, Any]:
        """Facts that a finished run must share, not to be run again."""
        numbers = bits.numbers()
        return {"command": self.command, "bits": {family: numbers[family] for family in self.job.families}}

    def facts(self) -> dict[str, Any] | None:
        """Its ``run.json`` if it has the same identity."""
        path = self.folder / "run.json"
        if not path.exists():
            return None
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return facts if all(facts.get(key) == value for key, value in self.identity().items()) else None

    def result(self) -> dict[str, Any] | None:
        """A row of the record; None before it has finished."""
        facts, path = self.facts(), self.folder / "metrics.json"
        if facts is None or not path.exists():
            return None
        figures = json.loads(path.read_text(encoding="utf-8"))
        # A run of an older checkout may have kept no versions.
        row = {"versions": None, **facts, **figures, "run": self.name, "command": self.command}
        if facts["beside"] != 0:
            row["metrics"] = {name: value for name, value in row["metrics"].items() if not name.endswith(SPEEDS)}
        return {name: row[name] for name in (*KEPT, *(["history"] if self.job.history else []))}

    def is_held(self) -> bool:
        """Tells whether another process works on it."""
        facts = self.facts()
        if facts is None or (self.folder / "metrics.json").exists():
            return False
        try:
            os.kill(int(facts["pid"]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def start(self, data: str | None, threads: int, beside: int, of_commit: str) -> subprocess.Popen[bytes]:
        """Start it, or go on with it.

        Args:
            data: the folder of the data.
            threads: of the run.
            beside: number of runs at the same time.
            of_commit: the commit of the checkout.
        """
        earlier = self.facts()
        if earlier is None and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        given = [
            word.replace("DIR", data or "", 1) if word.startswith("DIR") else word for word in shlex.split(self.command)
        ]
        call = [sys.executable, "-m", *given, "--threads", str(threads), "--out", str(self.folder)]
        env = {name: value for name, value in os.environ.items() if name != "SEQCORE_DATA"}
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}  # an error here starts no run
        with (self.folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(call, stdout=output, stderr=output, env=env)
        # The time of a run in several pieces says nothing.
        facts = {**machine_facts(threads), "commit": of_commit, "beside": beside if earlier is None else None}
        write_json(self.folder / "run.json", {**self.identity(), **facts, "versions": versions, "pid": process.pid})
        return process


def runs_of(jobs: Sequence[Job], work: Path) -> list[Run]:
    """The runs of jobs."""
    return [
        Run(job, name, seed, work / f"{job.name}-{name}-seed{seed}")
        for job in jobs
        for seed in job.seeds
        for name in job.runs
    ]


def record_of(job: Job, work: Path) -> dict[str, Any] | None:
    """The record of a job from its finished runs; None without any."""
    runs = runs_of([job], work)
    finished = [(run, row) for run in runs if (row := run.result()) is not None]
    if not finished:
        return None
    rows = [row for _, row in finished]
    facts = finished[-1][0].facts() or {}
    figures: dict[str, dict[str, Any]] = {}
    for name in job.runs:
        of_run = [row["metrics"] for row in rows if row["run"] == name]
        numbers = {key for metrics in of_run for key, value in metrics.items() if isinstance(value, (int, float))}
        figures[name] = {
            key: summary([float(metrics[key]) for metrics in of_run if metrics.get(key) is not None])
            for key in sorted(numbers)
        }
    return {
        "command": f"python -m benchmarks.reproduce --only {job.name}",
        "commit": ", ".join(dict.fromkeys(row["commit"] for row in rows)),
        **{key: facts[key] for key in ("date", "cpu", "system", "isa", "compiler", "python")},
        "bits": runs[0].identity()["bits"],
        "complete": len(rows) == len(runs),
        "summary": figures,
        "rows": rows,
    }


def collect(jobs: Sequence[Job], work: Path, results: Path) -> list[str]:
    """Write the records of jobs from their finished runs; the names of the records.

    In the folder of the checkout's own records, the pictures and the pages follow.
    """
    written = []
    for job in jobs:
        record = record_of(job, work)
        if record is None:
            continue
        write_json(results / f"{job.name}.json", record)
        written.append(job.name)
        for picture, source in job.pictures.items() if results == RESULTS else ():
            path = work / f"{job.name}-{source}"
            if path.exists():
                shutil.copyfile(path, ROOT / "docs" / "images" / picture)
    if results == RESULTS:
        pages.write(read_records(results))
    return written


def stale(jobs: Sequence[Job], records: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each job without a record, or whose record is incomplete, of other commands, bits or history."""
    for job in jobs:
        record = records.get(job.name)
        if record is None:
            yield f"{job.name}: no record"
            continue
        runs = runs_of([job], Path())
        has = {row["command"] for row in record["rows"]}
        missing = [run.command for run in runs if run.command not in has]
        if missing:
            yield f"{job.name}: {len(missing)} of {len(runs)} runs are missing, such as {missing[0]!r}"
        for family, number in runs[0].identity()["bits"].items():
            if record["bits"].get(family) != number:
                yield f"{job.name}: older than the bits of {family}"
        for name in dict.fromkeys(row["commit"] for row in record["rows"]):
            if not is_of_history(name):
                yield f"{job.name}: of commit {name}, which did not lead to this checkout"


def minutes_of(job: Job, records: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean time of a run of a job by its record, in minutes; 0 without a record.

    >>> minutes_of(JOBS[0], {"toy": {"rows": [{"seconds": 60}, {"seconds": 120}]}})
    1.5
    """
    return statistics.mean(row["seconds"] for row in records[job.name]["rows"]) / 60 if job.name in records else 0.0


def select(names: Sequence[str]) -> list[Job]:
    """Jobs by their names, or by the beginnings that several share.

    Raises:
        ValueError: a name of none.
    """
    by_name = {name: [job for job in JOBS if f"{job.name}-".startswith(f"{name}-")] for name in names}
    for name, jobs in by_name.items():
        if not jobs:
            raise ValueError(f"--only: expected {', '.join(job.name for job in JOBS)}, got {name!r}")
    return [job for job in JOBS if not names or any(job in jobs for jobs in by_name.values())]


def work_through(runs: Sequence[Run], arguments: argparse.Namespace) -> int:
    """Run what has not finished, ``--jobs`` at a time; the number of runs that failed."""
    waiting, failed = list(runs), 0
    going: list[tuple[Run, subprocess.Popen[bytes], float]] = []
    threads = max(1, int(machine_facts(1)["cpus"]) // arguments.jobs)
    of_commit = commit()  # before records are written, which make the checkout differ from it
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or going:
            while waiting and len(going) < arguments.jobs:
                run = waiting.pop(0)
                if run.is_held():
                    print(f"left: {run.folder.name}: another process works on it", flush=True)
                    continue
                process = run.start(arguments.data, threads, arguments.jobs - 1, of_commit)
                going.append((run, process, time.perf_counter()))
                print(f"{time.strftime('%H:%M:%S')} {run.folder.name}: {run.command}", flush=True)
            time.sleep(0.2)
            for run, process, begun in [entry for entry in going if entry[1].poll() is not None]:
                going = [entry for entry in going if entry[0] is not run]
                failed += process.returncode != 0
                end = "done" if process.returncode == 0 else f"failed, see {run.folder / 'output.txt'}"
                seconds = time.perf_counter() - begun
                print(f"{time.strftime('%H:%M:%S')} {run.folder.name}: {end} after {seconds:.0f} s", flush=True)
                try:
                    collect([run.job], arguments.work, arguments.results)
                except ValueError as error:  # of a table; the runs go on
                    print(f"benchmarks: {error}", flush=True)
    except KeyboardInterrupt:
        for _, process, _ in going:
            process.terminate()  # an experiment that can go on saves its place
        for _, process, _ in going:
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks.reproduce", description="Run what the pages show; write their records.")
    parser.add_argument("--only", type=words, default=[], metavar="LIST", help="names of jobs, or their beginnings")
    parser.add_argument("--data", default=os.environ.get("SEQCORE_DATA"), metavar="DIR", help="folder of the data")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "records", metavar="DIR", help="folder of the runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder of the records")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, which share the cores")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--collect", action="store_true", help="run nothing; records and pages from finished runs")
    mode.add_argument("--list", action="store_true", help="show the jobs, and which runs have finished")
    mode.add_argument("--stale", action="store_true", help="list what a release has to run again")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m benchmarks.reproduce``.

    Returns:
        0, 1 where records are stale or runs failed, or 2 after an error of one line.
    """
    arguments = _parser().parse_args(argv)
    try:
        jobs = select(arguments.only)
        if arguments.jobs < 1:
            raise ValueError(f"--jobs: expected an integer >= 1, got {arguments.jobs}")
        if arguments.data is not None and not Path(arguments.data).is_dir():
            raise ValueError(f"--data: expected a folder, got {arguments.data!r}")
        if arguments.stale:
            lines = list(stale(jobs, read_records(arguments.results)))
            print("\n".join(lines) or "every record is of the bits of today")
            return bool(lines)
        records = read_records()
        minutes = {job.name: minutes_of(job, records) for job in jobs}
        runs = runs_of(sorted(jobs, key=lambda job: minutes[job.name]), arguments.work)
        if arguments.list:
            left = 0.0
            for run in runs:
                state = "done" if run.result() else "begun" if run.facts() else "-"
                left += 0 if state == "done" else minutes[run.job.name]
                known = f"{minutes[run.job.name]:6.1f}" if run.job.name in records else "     ?"
                print(f"{run.folder.name:<44} {known} min  {state:<6} {run.command}")
            print(f"{len(runs)} runs; by the records what is left takes {left / 60:.1f} hours, one run after the other")
            return 0
        if arguments.collect:
            print(f"written: {', '.join(collect(jobs, arguments.work, arguments.results)) or 'nothing'}")
            return 0
        for job in jobs:
            if job.needs_data and arguments.data is None:
                print(f"left out: {job.name}: needs --data DIR")
        wanted = [run for run in runs if not run.result() and (arguments.data or not run.job.needs_data)]
        failed = work_through(wanted, arguments)
        collect(jobs, arguments.work, arguments.results)
        return min(failed, 1)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
