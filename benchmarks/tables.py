"""Reports of several runs as the Markdown tables of docs/guide/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .cases import CELLS
from .report import left_out_lines, machine, predicted_bytes, row_of, share_of_real_steps, step_row_ns, time_of

Report = Mapping[str, Any]
Row = Mapping[str, Any]
# Names of the libraries in a sentence.
NAMES = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "tensorflow-xla": "XLA",
    "jax": "JAX",
    "onnxruntime": "ONNX Runtime",
}
# The shapes whose share of the peak has a target.
SHARES = ("ptb-small", "ptb-medium", "stories", "imdb", "mnist")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, its first column to the left, the others to the right.

    >>> markdown(["a", "b"], [["x", "1"]])
    ['| a | b |', '|---|--:|', '| x | 1 |']
    """
    lines = [columns, *rows]
    return [
        f"| {' | '.join(lines[0])} |",
        f"|---|{'--:|' * (len(columns) - 1)}",
        *(f"| {' | '.join(line)} |" for line in lines[1:]),
    ]


def ratio(row: Row | None, ours: Row | None) -> str:
    """Ratio of the time of ``row`` to that of ``ours``."""
    return "" if row is None or ours is None else f"{row['min_us'] / ours['min_us']:.2f}"


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean.

    >>> round(geometric_mean([2.0, 8.0]), 6)
    4.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))


def best_peer(rows: Iterable[Row], case: str, measure: str) -> Row | None:
    """The fastest row that is not seqcore's; NumPy counts only without other peers."""
    others = [row for row in rows if (row["case"], row["measure"]) == (case, measure) and row["library"] != "seqcore"]
    return min(others, key=lambda row: (row["library"] == "numpy", row["min_us"]), default=None)


def _cases(report: Report) -> list[str]:
    return list(dict.fromkeys(row["case"] for row in report["rows"]))


def _peer(row: Row | None) -> str:
    if row is None:
        return ""
    way = row["contender"].partition(" ")[2].strip("()")
    return f"{time_of(row['min_us'])} ({NAMES[row['library']]}{', ' + way if way else ''})"


def _heading(title: str, report: Report) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    kept_out = {name: why for name, why in report["left_out"].items() if "has no part" not in why}
    left_out = [f"- {line}" for line in left_out_lines(kept_out)]
    peak = (
        f"Peak {report['peak_gflops']:.0f} GFLOP/s on all threads at once, "
        f"{report['peak_gflops_per_thread']:.0f} on one alone."
    )
    partial = [] if report.get("complete", True) else ["", "**Not complete: the run ended early.**"]
    rounds = f"{report['rounds']} rounds of {report['seconds']:g} s; {report['compiler']}; {versions}."
    about = [f"{machine(report)}. {peak}", rounds, f"`{report['command']}`"]
    # A list needs an empty line before it.
    return [f"## {title}", "", *about, *partial, *([""] if left_out else []), *left_out, ""]


def _recurrent(report: Report, measure: str) -> list[str]:
    """Each case against the fastest peer."""
    rows, lines, ratios = report["rows"], [], []
    for case in _cases(report):
        ours = row_of(rows, case=case, measure=measure, contender="seqcore")
        peer = best_peer(rows, case, measure)
        if ours is None:
            continue
        if peer is not None:
            ratios.append(peer["min_us"] / ours["min_us"])
        lines.append(
            [
                case,
                time_of(ours["min_us"]),
                time_of(ours["median_us"]),
                _peer(peer),
                "" if peer is None else time_of(peer["median_us"]),
                ratio(peer, ours),
                f"{ours['gflops']:.0f}",
                f"{ours['percent_of_peak']:.0f}",
            ]
        )
    columns = [measure, "seqcore", "median", "best peer", "its median", "ratio", "GFLOP/s", "% of peak"]
    if not ratios:
        # Measured without peers.
        columns, lines = columns[:3] + columns[6:], [line[:3] + line[6:] for line in lines]
    mean = [f"Geometric mean {geometric_mean(ratios):.2f}, least {min(ratios):.2f}.", ""] if ratios else []
    return [*markdown(columns, lines), "", *mean]


def _training(report: Report) -> list[str]:
    return [*_recurrent(report, "train"), *_recurrent(report, "forward")]


def _shares(reports: Mapping[str, Report]) -> list[str]:
    """The share of the peak of the training step, one column for each run."""
    names = ("one-thread", "recurrent", "avx2-one-thread", "avx2", "base", "float64")
    runs = [name for name in names if name in reports]
    cases = [f"{name}/{cell}" for name in SHARES for cell in CELLS]
    lines = []
    for case in cases:
        of_runs = [row_of(reports[run]["rows"], case=case, measure="train", contender="seqcore") for run in runs]
        if any(row is not None for row in of_runs):
            lines.append([case, *("" if row is None else f"{row['percent_of_peak']:.0f}" for row in of_runs)])
    titles = [
        f"{reports[run]['isa']}, {reports[run]['dtype']}, {reports[run]['threads']} thr., "
        f"peak {reports[run]['peak_gflops']:.0f}"
        for run in runs
    ]
    return ["## Share of the peak, training step, %", "", *markdown(["", *titles], lines), ""] if lines else []


def _ragged(report: Report) -> list[str]:
    """Cost relative to the full batch, the share of valid steps, and the faster packed variant of PyTorch."""
    rows, lines = report["rows"], []
    for case in _cases(report):
        for measure in ("forward", "train"):
            ours = row_of(rows, case=case, measure=measure, contender="seqcore")
            full = row_of(rows, case=case, measure=f"full {measure}", contender="seqcore")
            peer = best_peer(rows, case, measure)
            if ours is None or full is None:
                continue
            cost, share = ours["min_us"] / full["min_us"], share_of_real_steps(ours)
            costs = [f"{100 * cost:.1f}", f"{100 * share:.1f}", f"{cost / share:.2f}"]
            times = [time_of(ours["min_us"]), _peer(peer), ratio(peer, ours)]
            lines.append([f"{case} {measure}", *times, *costs])
    columns = ["", "seqcore", "best packed", "ratio", "cost, % of full", "real steps, %", "cost by share"]
    return [*markdown(columns, lines), ""]


def _stream(report: Report) -> list[str]:
    names = list(dict.fromkeys(row["contender"] for row in report["rows"]))
    lines = []
    for case in _cases(report):
        of_case = [row_of(report["rows"], case=case, contender=name) for name in names]
        lines.append(
            [case, *("" if row is None else f"{row['median_us']:.2f} / {row['p99_us']:.2f}" for row in of_case)]
        )
    return [*markdown(["p50 / p99, µs", *(NAMES.get(name, name) for name in names)], lines), ""]


def _small(report: Report) -> list[str]:
    """Forward and backward pass, and the overhead of Python in the two calls of a layer."""
    rows, lines = report["rows"], []
    for case in _cases(report):
        of_case = [row for row in rows if row["case"] == case]
        ours, layer, core, torch = (
            row_of(of_case, contender=name) for name in ("seqcore", "seqcore (layer)", "seqcore (core)", "torch")
        )
        peer = best_peer(rows, case, "gradients")
        if ours is None:
            continue
        python = "" if layer is None or core is None else f"{layer['min_us'] - core['min_us']:.1f}"
        alone = "" if core is None else time_of(core["min_us"])
        lines.append([case, time_of(ours["min_us"]), ratio(torch, ours), _peer(peer), ratio(peer, ours), alone, python])
    columns = ["", "model", "times PyTorch", "best peer", "ratio", "core alone", "Python of a layer, µs"]
    return [*markdown(columns, lines), ""]


def _growth(report: Report) -> list[str]:
    lines = []
    for row in report["rows"]:
        if row["contender"] != "seqcore":
            continue
        formula = predicted_bytes(row, report["isa"], report["threads"])
        memory = row.get("memory_step")
        lines.append(
            [
                row["case"],
                time_of(row["min_us"]),
                f"{step_row_ns(row):.0f}",
                "" if memory is None else f"{memory / 2**20:.1f}",
                f"{formula / 2**20:.1f}",
                f"{row['page_faults']:.1f}" if "page_faults" in row else "",
            ]
        )
    columns = ["", "training step", "ns a row", "memory, MiB", "formula, MiB", "page faults a step"]
    return [*markdown(columns, lines), ""]


def _models(report: Report) -> list[str]:
    """Words or samples per second and memory above the imports, all contenders."""
    value, unit = ("words_per_second", "words/s") if report["what"] == "ptb" else ("samples_per_second", "samples/s")
    lines = []
    for row in report["rows"]:
        ours = row_of(report["rows"], case=row["case"], contender="seqcore")
        by_median = row[value] * row["min_us"] / row["median_us"]
        memory = f"{row['memory_above_imports'] / 2**20:.0f}" if "memory_above_imports" in row else ""
        name = NAMES.get(row["contender"], row["contender"])
        slower = "" if row["contender"] == "seqcore" else ratio(row, ours)
        lines.append([row["case"], name, f"{row[value]:,.0f}", f"{by_median:,.0f}", slower, memory])
    columns = ["", "contender", unit, "by the median", "times seqcore's time", "memory above the imports, MiB"]
    return [*markdown(columns, lines), ""]


def _curve(report: Report) -> list[str]:
    lines = []
    for case in _cases(report):
        ours = row_of(report["rows"], case=case, contender="seqcore")
        peer = best_peer(report["rows"], case, "train")
        if ours is not None:
            best = "" if peer is None else f"{peer['gflops']:.0f} ({NAMES[peer['library']]})"
            lines.append([case, f"{ours['gflops']:.0f}", best, ratio(peer, ours), f"{ours['percent_of_peak']:.0f}"])
    return [*markdown(["", "seqcore, GFLOP/s", "best peer, GFLOP/s", "ratio", "% of peak"], lines), ""]


def _scaling(report: Report) -> list[str]:
    """Speed-up over threads: a row for each case, measure and contender, for each number of threads a column."""
    counts, groups = report["counts"], dict[tuple[str, str, str], dict[int, Row]]()
    for row in report["rows"]:
        groups.setdefault((row["case"], row["measure"], row["contender"]), {})[row["threads"]] = row
    lines = []
    for (case, measure, name), of_count in groups.items():
        first = of_count.get(counts[0])
        cells = [
            ""
            if row is None
            else f"{row['speedup']:.2f}" + (f" of {_bound(row, first):.2f}" if "balance" in row else "")
            for row in map(of_count.get, counts[1:])
        ]
        start = "" if first is None else time_of(first["min_us"])
        lines.append([f"{case} {measure}", NAMES.get(name, name), start, *cells])
    titles = [f"speed-up, {count} threads" for count in counts[1:]]
    return [*markdown(["", "contender", f"{counts[0]} thread{'s' * (counts[0] > 1)}", *titles], lines), ""]


def _bound(row: Row, first: Row | None) -> float:
    """The speed-up that the plan allows."""
    return 1.0 if first is None else float(row["bound_gflops"] / first["gflops"])


_SECTIONS = {
    "recurrent": _training,
    "ragged": _ragged,
    "stream": _stream,
    "small": _small,
    "growth": _growth,
    "ptb": _models,
    "imdb": _models,
    "curve": _curve,
}


def section(report: Report) -> list[str]:
    """The tables of one report, without its heading."""
    return (_scaling if "counts" in report else _SECTIONS[report["what"]])(report)


def tables(reports: Mapping[str, Report], titles: Mapping[str, str]) -> str:
    """All tables as one Markdown page.

    Args:
        reports: by the name of the run.
        titles: of the runs.
    """
    lines = ["# Measured", "", *_shares(reports)]
    for name, report in reports.items():
        if report["rows"]:
            lines += [*_heading(titles[name], report), *section(report)]
            lines += [f"![{titles[name]}]({name}.png)", ""]
    return "\n".join(lines)
