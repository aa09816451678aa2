"""The plots of ``python -m benchmarks``, one function for each kind of measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqcore.experiments._plots import new_figure, save_figure

from .report import machine, predicted_bytes, row_of, share_of_real_steps, step_row_ns

# A contender has the same colour in every plot.
COLORS = {
    "seqcore": "#4477aa",
    "numpy": "#bbbbbb",
    "torch": "#ee6677",
    "tensorflow": "#228833",
    "tensorflow-xla": "#ccbb44",
    "jax": "#66ccee",
    "onnxruntime": "#aa3377",
}
_LABELS = {"gradients": "forward and backward", "train": "training step", "step": "one step", "fit": "fit"}
Rows = Sequence[Mapping[str, Any]]


def draw(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw the plot of a report as a PNG.

    Raises:
        ImportError: without matplotlib. OSError: the file cannot be written.
    """
    figures = {"curve": _curves, "ragged": _ragged, "growth": _growth, "stream": _latency, "small": _latency}
    figure = (_scaling if "counts" in report else figures.get(report["what"], _bars))(report)
    figure.suptitle(machine(report).rsplit(" ", 1)[0], fontsize="small")
    save_figure(figure, path)


def _unique(rows: Rows, name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))


def _bar_panels(rows: Rows, value: str, label: str) -> Any:
    """One panel per measure with bars for each case and contender."""
    measures, cases, names = (_unique(rows, name) for name in ("measure", "case", "contender"))
    figure = new_figure(2 + 4.5 * len(measures), 1.6 + len(cases) * (0.12 + 0.13 * len(names)))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        for i, name in enumerate(names):
            by_case = {row["case"]: row for row in rows if (row["measure"], row["contender"]) == (measure, name)}
            places = [cases.index(case) + (i - (len(names) - 1) / 2) * 0.8 / len(names) for case in by_case]
            values = [row[value] for row in by_case.values()]
            color = COLORS[name.partition(" ")[0]]
            hatch = {"": None, "(sorted)": "///", "(layer)": "///", "(core)": "..."}[name.partition(" ")[2]]
            axes.barh(places, values, 0.8 / len(names), label=name, color=color, hatch=hatch, edgecolor="white", lw=0.3)
        axes.set(xlabel=label, title=_LABELS.get(measure, measure), yticks=range(len(cases)), yticklabels=cases)
        axes.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    return figure, panels


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")


def _bars(report: Mapping[str, Any]) -> Any:
    """GFLOP/s with the peak."""
    figure, panels = _bar_panels(report["rows"], "gflops", "GFLOP/s")
    for axes in panels:
        axes.axvline(report["peak_gflops"], color="#555555", linestyle="--", label="peak")
    _legend(figure, panels[0])
    return figure


def _latency(report: Mapping[str, Any]) -> Any:
    """Microseconds of a call, on a logarithmic axis."""
    stream = report["what"] == "stream"
    value, label = (
        ("median_us", "µs a step, median (line to the 99th percentile)") if stream else ("min_us", "µs, minimum")
    )
    figure, panels = _bar_panels(report["rows"], value, label)
    for axes in panels:
        axes.set_xscale("log")
        if stream:
            bars = {bar for group in axes.containers for bar in group}
            by_width = {round(row["median_us"], 9): row["p99_us"] for row in report["rows"]}
            for bar in bars:
                middle = bar.get_y() + bar.get_height() / 2
                axes.plot(
                    [bar.get_width(), by_width[round(bar.get_width(), 9)]], [middle, middle], color="#333333", lw=1
                )
    _legend(figure, panels[0])
    return figure


def axis_of(row: Mapping[str, Any]) -> str:
    """The axis of a case of a curve: "units", "batch" or "steps"; "" for custom sizes.

    >>> axis_of({"case": "units-16/LSTM"}), axis_of({"case": "2x3x4x5x1/LSTM"})
    ('units', '')
    """
    axis = str(row["case"]).partition("-")[0]
    return axis if axis in ("units", "batch", "steps") else ""


def _axes_in(rows: Rows) -> list[str]:
    """The axes that have cases; custom sizes make a curve over the units."""
    return [axis for axis in _unique([{"axis": axis_of(row)} for row in rows], "axis") if axis] or ["units"]


def _curves(report: Mapping[str, Any]) -> Any:
    """GFLOP/s of a training step over units, batch and steps: one panel for each, one row of panels per cell."""
    rows = report["rows"]
    axes_names, cells = _axes_in(rows), _unique(rows, "cell")
    figure = new_figure(4.3 * len(axes_names) + 0.6, 3.5 * len(cells) + 0.7)
    grid = figure.subplots(len(cells), len(axes_names), squeeze=False, sharey=True)
    fixed = {
        "units": "batch 32, 35 steps, inputs = units",
        "batch": "50 steps, 128 inputs, 128 units",
        "steps": "batch 16, 128 inputs, 128 units",
    }
    for cell, line in zip(cells, grid, strict=True):
        for axis, axes in zip(axes_names, line, strict=True):
            mine = [row for row in rows if row["cell"] == cell and axis_of(row) in (axis, "")]
            for name in _unique(mine, "contender"):
                points = sorted((row[axis], row["gflops"]) for row in mine if row["contender"] == name)
                wide, color = 1.8 if name == "seqcore" else 1, COLORS[name.partition(" ")[0]]
                axes.plot(*zip(*points, strict=True), marker=".", label=name, color=color, lw=wide)
            axes.axhline(report["peak_gflops"], color="#555555", linestyle="--", label="peak")
            axes.set(xscale="log", xlabel=axis, title=f"{cell}: {fixed[axis]}", ylim=(0, None))
            axes.title.set_fontsize("small")
            sizes = sorted({row[axis] for row in mine})
            ticks = [size for size in sizes if size & (size - 1) == 0] if len(sizes) > 8 else sizes
            axes.set_xticks(ticks, [str(size) for size in ticks], fontsize="small")
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        line[0].set_ylabel("GFLOP/s of a training step")
    _legend(figure, grid[0][0])
    return figure


def _scaling(report: Mapping[str, Any]) -> Any:
    """GFLOP/s over threads: one panel per case and measure, dashed the bound of the plan."""
    rows, counts = report["rows"], report["counts"]
    cases, measures = _unique(rows, "case"), _unique(rows, "measure")
    figure = new_figure(0.6 + 3.4 * len(measures), 0.8 + 2.6 * len(cases))
    grid = figure.subplots(len(cases), len(measures), squeeze=False, sharex=True)
    for case, line in zip(cases, grid, strict=True):
        for measure, axes in zip(measures, line, strict=True):
            mine = [row for row in rows if (row["case"], row["measure"]) == (case, measure)]
            for name in _unique(mine, "contender"):
                points = [(row["threads"], row["gflops"]) for row in mine if row["contender"] == name]
                wide, color = 1.8 if name == "seqcore" else 1, COLORS[name.partition(" ")[0]]
                axes.plot(*zip(*points, strict=True), marker="o", label=name, color=color, lw=wide)
            bounds = [(row["threads"], row["bound_gflops"]) for row in mine if "bound_gflops" in row]
            if bounds:
                axes.plot(*zip(*bounds, strict=True), color="#555555", linestyle="--", label="bound of the plan")
            axes.set_title(f"{case} {measure}", fontsize="small")
            axes.set(xscale="log", xticks=counts, xticklabels=[str(count) for count in counts], ylim=(0, None))
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        line[0].set_ylabel("GFLOP/s")
    for axes in grid[-1]:
        axes.set_xlabel("threads")
    _legend(figure, grid[0][0])
    return figure


def _ragged(report: Mapping[str, Any]) -> Any:
    """Left: cost relative to the full batch, and the share of valid steps; right: times of the contenders."""
    rows = report["rows"]
    labels = [(case, measure) for case in _unique(rows, "case") for measure in ("forward", "train")]
    figure = new_figure(11, 1.8 + 0.5 * len(labels))
    left, right = figure.subplots(1, 2, sharey=True)
    names = _unique([row for row in rows if not row["measure"].startswith("full")], "contender")
    place = 0.8 / len(names)
    for k, name in enumerate(names):
        for i, (case, measure) in enumerate(labels):
            row = row_of(rows, case=case, measure=measure, contender=name)
            full = row_of(rows, case=case, measure=f"full {measure}", contender=name.partition(" ")[0])
            ours = row_of(rows, case=case, measure=measure, contender="seqcore")
            if row is None or full is None or ours is None:
                continue
            at = i + (k - (len(names) - 1) / 2) * place
            look = {"color": COLORS[row["library"]], "hatch": "///" if "sorted" in name else None, "edgecolor": "white"}
            left.barh(at, row["min_us"] / full["min_us"], place, label=name if i == 0 else None, **look)
            right.barh(at, row["min_us"] / ours["min_us"], place, **look)
    left.axvline(share_of_real_steps(rows[0]), color="#555555", linestyle="--", label="share of real steps")
    left.set(xlabel="cost by the contender's own full batch", yticks=range(len(labels)))
    left.set_yticklabels([f"{case} {measure}" for case, measure in labels])
    right.set(xlabel="time, in times seqcore's")
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
    _legend(figure, left)
    return figure


def _growth(report: Mapping[str, Any]) -> Any:
    """Time per row and step over batch and steps, which is constant, and memory with its formula."""
    rows = report["rows"]
    axes_names = _axes_in(rows)
    figure = new_figure(4.3 * (len(axes_names) + 1) + 0.4, 4)
    panels = figure.subplots(1, len(axes_names) + 1)
    figure.get_layout_engine().set(wspace=0.06)
    names = _unique(rows, "contender")
    for axis, axes in zip(axes_names, panels, strict=False):
        mine = [row for row in rows if axis_of(row) in (axis, "")]
        for name in names:
            points = sorted((row[axis], step_row_ns(row) / 1e3) for row in mine if row["contender"] == name)
            axes.plot(*zip(*points, strict=True), marker="o", label=name, color=COLORS[name.partition(" ")[0]])
        ticks = sorted({row[axis] for row in mine})
        axes.set(xscale="log", xlabel=axis, ylabel="µs for one step of one sequence")
        axes.set_ylim(0, 1.15 * max(step_row_ns(row) for row in mine) / 1e3)
        axes.set_xticks(ticks, [str(size) for size in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    last = panels[-1]
    for name in names:
        kept = [row for row in rows if row["contender"] == name and "memory_step" in row]
        points = sorted((row["batch"] * row["steps"], row["memory_step"] / 2**20) for row in kept)
        if points:
            last.plot(*zip(*points, strict=True), "o", label=name, color=COLORS[name.partition(" ")[0]])
    ours = [row for row in rows if row["contender"] == "seqcore"]
    predicted = sorted(
        (row["batch"] * row["steps"], predicted_bytes(row, report["isa"], report["threads"]) / 2**20) for row in ours
    )
    last.plot(*zip(*predicted, strict=True), color="#555555", linestyle="--", label="formula")
    last.set(xlabel="batch · steps", ylabel="MiB of a training step", xlim=(0, None), ylim=(0, None))
    last.grid(alpha=0.3)
    handles, labels = last.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    return figure
