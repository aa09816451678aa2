"""Output of ``python -m benchmarks``: the lines of its table, the comparison with the fastest peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .memory import training_step


def time_of(microseconds: float) -> str:
    """Format microseconds.

    >>> time_of(3.21), time_of(43210.0), time_of(1.5e6)
    ('3.21 us', '43.21 ms', '1.50 s')
    """
    size, unit = (1e6, "s") if microseconds >= 1e6 else (1e3, "ms") if microseconds >= 1e3 else (1.0, "us")
    return f"{microseconds / size:.2f} {unit}"


def threads_of(facts: Mapping[str, Any]) -> str:
    """The number of threads of each contender, in words."""
    return f"{facts['threads']} thread{'s' * (facts['threads'] > 1)}"


def row_of(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any] | None:
    """The first row with the given values.

    >>> row_of([{"case": "a"}, {"case": "b", "gflops": 1}], case="b")
    {'case': 'b', 'gflops': 1}
    """
    return next((row for row in rows if all(row.get(name) == value for name, value in wanted.items())), None)


def step_row_ns(row: Mapping[str, Any]) -> float:
    """Nanoseconds for one time step of one sequence."""
    return float(1e3 * row["min_us"] / (row["batch"] * row["steps"]))


def predicted_bytes(row: Mapping[str, Any], isa: str, threads: int) -> int:
    """The memory of a row of "growth" by the formula."""
    sizes = [row[name] for name in ("batch", "steps", "inputs", "units")]
    return training_step(row["cell"], *sizes, dtype=row["dtype"], isa=isa, threads=threads).resident


_NOTHING: tuple[str, Callable[[Mapping[str, Any]], str]] = ("", lambda row: "")
_LAST_COLUMN: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "stream": ("p99", lambda row: time_of(row["p99_us"])),
    "ptb": ("words/s", lambda row: f"{row['words_per_second']:,.0f}"),
    "imdb": ("samples/s", lambda row: f"{row['samples_per_second']:,.0f}"),
    "growth": ("ns/row", lambda row: f"{step_row_ns(row):.1f}"),
}


def processor(facts: Mapping[str, Any]) -> str:
    """Name of the processor, with its multiply-add peak on the threads of the run where it was measured.

    >>> processor({"cpu": "A", "peak_gflops": 236.4})
    'A (peak 236 GFLOP/s)'
    """
    peak = facts.get("peak_gflops")
    return f"{facts['cpu']} (peak {peak:.0f} GFLOP/s)" if peak else str(facts["cpu"])


def machine(facts: Mapping[str, Any]) -> str:
    """Processor, instruction set, type, threads and date in one line."""
    isa = facts["isa"] + (" (forced)" if facts["isa_forced"] else "")
    return f"{facts['cpu']}, {isa}, {facts['dtype']}, {threads_of(facts)}, {facts['date']}"


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """The omitted contenders with the reasons; cases with the same reason in one line.

    >>> left_out_lines({"jax": "not installed", "torch at a/GRU": "no memory", "torch at b/GRU": "no memory"})
    ['left out: jax: not installed', 'left out: torch at a/GRU, b/GRU: no memory']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, why in left_out.items():
        who, _, case = name.partition(" at ")
        groups.setdefault((who, why), []).extend([case] if case else [])
    return [f"left out: {who}{' at ' * bool(cases)}{', '.join(cases)}: {why}" for (who, why), cases in groups.items()]


def heading(facts: Mapping[str, Any]) -> list[str]:
    """Lines above the table: machine, versions, omitted contenders, the columns."""
    libraries = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return [
        machine(facts),
        f"{libraries}, Python {facts['python']}, {facts['compiler']}",
        *left_out_lines(facts["left_out"]),
        "GFLOP/s, % of the multiply-add peak and times (a contender's time by seqcore's) from the minimum",
        "",
        f"{'case':<22} {'measure':<12} {'contender':<15} {'minimum':>10} {'median':>10} {'GFLOP/s':>8} {'% peak':>7} "
        f"{'times':>7} {_LAST_COLUMN.get(facts['what'], _NOTHING)[0]:>10}".rstrip(),
    ]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as lines of the table; a name is not repeated from the line above."""
    lines, above = [], ("", "")
    for row in rows:
        case = row["case"] if row["case"] != above[0] else ""
        measure = row["measure"] if case or row["measure"] != above[1] else ""
        above = row["case"], row["measure"]
        times = f"{row['times']:.2f}" if row["contender"] != "seqcore" else ""
        lines.append(
            f"{case:<22} {measure:<12} {row['contender']:<15} "
            f"{time_of(row['min_us']):>10} {time_of(row['median_us']):>10} "
            f"{row['gflops']:>8.1f} {row['percent_of_peak']:>7.1f} {times:>7} "
            f"{_LAST_COLUMN.get(row['what'], _NOTHING)[1](row):>10}".rstrip()
        )
    return lines


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each measure, seqcore against the fastest peer of each case: geometric mean and the least.

    >>> row = {"measure": "train", "case": "a", "contender": "numpy", "library": "numpy", "times": 4.0}
    >>> summary([row, {**row, "contender": "jax", "times": 2.0}, {**row, "case": "b", "times": 8.0}])
    {'train': {'geometric_mean': 4.0, 'least': 2.0, 'least_case': 'a', 'least_peer': 'jax'}}
    """
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["library"] != "seqcore":
            cases = best.setdefault(row["measure"], {})
            if row["case"] not in cases or row["times"] < cases[row["case"]]["times"]:
                cases[row["case"]] = row
    result = {}
    for measure, cases in best.items():
        least = min(cases.values(), key=lambda row: float(row["times"]))
        result[measure] = {
            "geometric_mean": round(math.exp(sum(math.log(row["times"]) for row in cases.values()) / len(cases)), 6),
            "least": least["times"],
            "least_case": least["case"],
            "least_peer": least["contender"],
        }
    return result


def closing(report: Mapping[str, Any]) -> list[str]:
    """Lines below the table: the peak, details of the kind, the comparison with the fastest peers."""
    lines = [
        f"peak: {report['peak_gflops']:.0f} GFLOP/s ({threads_of(report)}), {report['peak_gflops_per_thread']:.0f} one"
    ]
    rows, what = report["rows"], report["what"]
    if what == "ragged":
        lines += _ragged_lines(rows)
    if what == "small":
        for row in rows:
            alone = row_of(rows, case=row["case"], contender="seqcore (core)")
            if row["contender"] == "seqcore (layer)" and alone is not None:
                over = row["min_us"] - alone["min_us"]
                lines.append(f"{row['case']}: {over:.1f} us of Python in a layer's call under a tape and its gradient")
    for row in rows:
        if "memory_above_imports" in row:
            lines.append(memory_line(row, report))
    for measure, ratios in report["summary"].items():
        lines.append(
            f"{measure}: {ratios['geometric_mean']:.2f} times the fastest peer (geometric mean), "
            f"least {ratios['least']:.2f} ({ratios['least_case']}, {ratios['least_peer']})"
        )
    return lines


def _ragged_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        full = row_of(rows, case=row["case"], contender=row["contender"], measure=f"full {row['measure']}")
        if full is not None and row["contender"] in ("seqcore", "torch", "numpy"):
            lines.append(
                f"{row['case']} {row['measure']} {row['contender']}: {100 * row['min_us'] / full['min_us']:.1f} % of "
                f"the cost of the full batch, {100 * share_of_real_steps(row):.1f} % of its steps"
            )
    return lines


def share_of_real_steps(row: Mapping[str, Any]) -> float:
    """The share of valid steps of a row of "ragged"."""
    return float(row["real_steps"] / (row["batch"] * row["steps"]))


def memory_line(row: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """One line about the memory and page faults of a row."""
    line = f"{row['case']} {row['contender']}: {row['memory_above_imports'] / 2**20:.1f} MiB above the imports"
    if row["what"] == "growth":
        line = f"{row['case']} {row['contender']}: a step takes {row['memory_step'] / 2**20:.1f} MiB"
        if row["library"] == "seqcore":
            line += f" (formula {predicted_bytes(row, facts['isa'], facts['threads']) / 2**20:.1f})"
    return f"{line}, {row['page_faults']:.1f} page faults a call"
