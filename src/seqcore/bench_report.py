"""What ``seqcore bench`` shows: the lines of its table, the comparison with the fastest peers, the plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .plots import new_figure, save_figure


def _time(microseconds: float) -> str:
    """Microseconds as one reads them.

    >>> _time(3.21), _time(43210.0), _time(1.5e6)
    ('3.21 us', '43.21 ms', '1.50 s')
    """
    size, unit = (1e6, "s") if microseconds >= 1e6 else (1e3, "ms") if microseconds >= 1e3 else (1.0, "us")
    return f"{microseconds / size:.2f} {unit}"


def _threads(facts: Mapping[str, Any]) -> str:
    return f"{facts['threads']} thread{'s' * (facts['threads'] > 1)}"


_LAST_COLUMN: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "recurrent": ("", lambda row: ""),
    "stream": ("p99", lambda row: _time(row["p99_us"])),
    "ptb": ("words/s", lambda row: f"{row['words_per_second']:,.0f}"),
}


def heading(facts: Mapping[str, Any]) -> list[str]:
    """Lines above the table: machine, versions, who was left out, the columns."""
    libraries = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return [
        f"{facts['cpu']}, {facts['isa']}, {_threads(facts)}, {facts['date']}",
        f"{libraries}, Python {facts['python']}, {facts['compiler']}",
        *(f"left out: {name}: {why}" for name, why in facts["left_out"].items()),
        "GFLOP/s, % of the multiply-add peak and times (a contender's time by seqcore's) from the minimum",
        "",
        f"{'case':<22} {'measure':<8} {'contender':<15} {'minimum':>10} {'median':>10} {'GFLOP/s':>8} {'% peak':>7} "
        f"{'times':>7} {_LAST_COLUMN[facts['what']][0]:>10}".rstrip(),
    ]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as lines of the table; a name that stands in the line above is not repeated."""
    lines, above = [], ("", "")
    for row in rows:
        case = row["case"] if row["case"] != above[0] else ""
        measure = row["measure"] if case or row["measure"] != above[1] else ""
        above = row["case"], row["measure"]
        times = f"{row['times']:.2f}" if row["contender"] != "seqcore" else ""
        lines.append(
            f"{case:<22} {measure:<8} {row['contender']:<15} {_time(row['min_us']):>10} {_time(row['median_us']):>10} "
            f"{row['gflops']:>8.1f} {row['percent_of_peak']:>7.1f} {times:>7} "
            f"{_LAST_COLUMN[row['what']][1](dict(row)):>10}".rstrip()
        )
    return lines


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each measure, seqcore against the fastest peer of each case: geometric mean and the least.

    >>> one = {"measure": "train", "case": "a", "contender": "numpy", "times": 4.0}
    >>> summary([one, {**one, "contender": "jax", "times": 2.0}, {**one, "case": "b", "times": 8.0}])
    {'train': {'geometric_mean': 4.0, 'least': 2.0, 'least_case': 'a', 'least_peer': 'jax'}}
    """
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["contender"] != "seqcore":
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


def draw(report: Mapping[str, Any], path: str | Path) -> None:
    """Bars of GFLOP/s for each case and contender, one panel per measure, with the peak, as a PNG.

    Raises:
        ImportError: without matplotlib. OSError: the file cannot be written.
    """
    rows = report["rows"]
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    cases = list(dict.fromkeys(row["case"] for row in rows))
    names = list(dict.fromkeys(row["contender"] for row in rows))
    colors = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
    height = 1.6 + len(cases) * (0.12 + 0.13 * len(names))
    figure = new_figure(1.5 + 5 * len(measures), height)
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        for i, name in enumerate(names):
            mine = [row for row in rows if (row["measure"], row["contender"]) == (measure, name)]
            found = {row["case"]: row["gflops"] for row in mine}
            places = [cases.index(case) + (i - (len(names) - 1) / 2) * 0.8 / len(names) for case in found]
            axes.barh(places, list(found.values()), 0.8 / len(names), label=name, color=colors[i % len(colors)])
        axes.axvline(max(row["peak_gflops"] for row in rows), color="#555555", linestyle="--", label="peak")
        axes.set(xlabel="GFLOP/s", title=measure, yticks=range(len(cases)), yticklabels=cases)
        axes.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    figure.suptitle(f"{report['cpu']}, {report['isa']}, {_threads(report)}, {report['date'][:10]}", fontsize="small")
    save_figure(figure, path)
