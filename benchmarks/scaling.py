"""``python -m benchmarks --threads 1,2,4``: the cases on several numbers of threads, next to the bound of the plan.

Perfect threads would each reach the share of the peak that seqcore reaches on the fewest threads, but the plan does not
always give all of them the same amount of work. So the bound of a row is that share times the peak of its threads
times the balance of the plan, and what a row lacks of it are barriers, caches and memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from seqcore import _core

from .cases import CELLS, Case
from .report import time_of
from .runner import Bench

Rows = list[dict[str, Any]]
# The kinds that several numbers of threads make sense for; only recurrent layers have a bound.
KINDS = ("recurrent", "ptb", "imdb", "curve")
_NAMES = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
# Elements of a vector of float32 by the instruction set.
_LANES = {"base": 4, "avx2": 8}


def counts_up_to(most: int) -> list[int]:
    """Powers of two below a number of threads, and the number.

    >>> counts_up_to(12), counts_up_to(1)
    ([1, 2, 4, 8, 12], [1])
    """
    return [*(2**n for n in range((most - 1).bit_length())), most]


def _share(count: int, parts: int, last: float = 1.0) -> float:
    """The largest of the parts that 0...count-1 is divided into, over all; the last element counts for ``last``.

    >>> _share(13, 2), _share(13, 2, 0.5)
    (0.5384615384615384, 0.52)
    """
    sizes = [float(count * (n + 1) // parts - count * n // parts) for n in range(parts)]
    sizes[-1] -= 1 - last
    return max(sizes) / sum(sizes)


def _last_block(units: int, gates: int, lanes: int, narrowest: int) -> float:
    """Width of the last block of units over that of a whole one: an LSTM's may be narrower."""
    width = lanes
    while gates == 4 and units % lanes and width // 2 >= max(units % lanes, narrowest):
        width //= 2
    return width / lanes


class LayerShare(NamedTuple):
    """The work of a layer by its plan, in multiply-adds of one row and one vector of a gate: of all threads together,
    and of the busiest one."""

    plan: dict[str, Any]
    all: float
    busiest: float


def shares(case: Case, measure: str, threads: int, isa: str) -> list[LayerShare]:
    """The plans of the layers of a case.

    Args:
        case: of recurrent layers.
        measure: "forward" or "train".
        threads: that the plan may use.
        isa: the instruction set, whose vectors are the grain of the shares.
    """
    b, t, features, h, layers, both = case.shape
    gates, directions, train = CELLS[case.cell], 1 + both, measure == "train"
    item = 8 if case.dtype == "float64" else 4
    lanes = _LANES.get(isa, 16) * 4 // item
    blocks, panel = -(-h // lanes), 3 if gates == 3 else 4
    last = _last_block(h, gates, lanes, max(lanes // 4, 16 // item))
    done = []
    for layer in range(layers):
        width = features if layer == 0 else h * directions
        options: dict[str, Any] = {"dtype": case.dtype, "lanes": lanes}
        plan = _core.recurrent.plan_threads(
            _NAMES[case.cell], b, b * t, width, h, directions=directions, save=train, threads=threads, **options
        )
        options["threads"] = plan["threads"]
        row_parts, column_parts = plan["loop"]
        at_once = directions if column_parts == 1 and plan["threads"] >= directions else 1
        loop = -(-b // row_parts) / b * _share(blocks, column_parts, last) / at_once
        passes = 2 if train else 1
        busiest, work = passes * h * loop, float(passes * (width + h))
        # The product of the input, and the one of its gradient.
        for units, of_gates, of_last in ((h, gates, last), (width, 1, 1.0))[:passes]:
            share = loop
            if plan["shares_products"]:
                r, c = _core.recurrent.plan_product(b * t, units, of_gates, **options)
                share = -(-b * t // r) / (b * t) * _share(-(-units // lanes), c, of_last)
            busiest += width * share
        if train:
            x, g = _core.recurrent.plan_gradients(width + h, h, gates, **options)
            of_panels = (blocks - 1 + last) * gates / panel
            panels = math.ceil(of_panels)
            busiest += -(-(width + h) // x) * _share(panels, g, of_panels - panels + 1)
            work += width + h
        done.append(LayerShare(plan, work, busiest))
    return done


def balance(case: Case, measure: str, threads: int, isa: str) -> float:
    """An even share of the multiply-adds of a call over those of its busiest thread, by the plan; at most 1.

    Args:
        case: of recurrent layers.
        measure: "forward" or "train".
        threads: that the plan may use.
        isa: the instruction set, whose vectors are the grain of the shares.

    >>> from .cases import Shape
    >>> case = Case("recurrent", "x", "LSTM", Shape(20, 20, 200, 200, 1))
    >>> balance(case, "train", 2, "avx512"), round(balance(case, "train", 8, "avx512"), 2)
    (1.0, 0.9)
    """
    layers = shares(case, measure, threads, isa)
    return min(1.0, sum(layer.all for layer in layers) / threads / sum(layer.busiest for layer in layers))


def barriers(case: Case, plan: Mapping[str, Any]) -> int:
    """Barriers of a forward and a backward pass of one layer: after packing, around and in the time loop, at the end.

    >>> from .cases import Shape
    >>> case = Case("recurrent", "x", "LSTM", Shape(20, 20, 200, 200, 1))
    >>> [barriers(case, shares(case, "train", threads, "avx512")[0].plan) for threads in (1, 2, 8, 16)]
    [0, 5, 6, 48]
    """
    if plan["threads"] == 1:
        return 0
    directions = 1 + case.shape.both
    grid = plan["barriers_per_step"] * directions * (2 * case.shape.steps + 3)
    return int(5 + (directions - 1) + (grid or plan["shares_products"]))


def with_bounds(case: Case, rows: Rows, isa: str) -> Rows:
    """Rows of one case with the speed-up over the fewest threads, and for seqcore's layers the bound.

    Raises:
        KeyError: a row without "threads".
    """
    fewest = min(row["threads"] for row in rows)
    first = {(row["measure"], row["contender"]): row for row in rows if row["threads"] == fewest}
    done = []
    for row in rows:
        base = first.get((row["measure"], row["contender"]))
        more: dict[str, Any] = {} if base is None else {"speedup": base["min_us"] / row["min_us"]}
        if base is not None and row["contender"] == "seqcore" and row["what"] in ("recurrent", "curve"):
            even = balance(case, row["measure"], row["threads"], isa)
            share = base["percent_of_peak"] / 100 / balance(case, row["measure"], fewest, isa)
            more.update(balance=even, bound_gflops=share * row["peak_gflops"] * even)
        done.append({**row, **more})
    return done


def heading(facts: Mapping[str, Any]) -> list[str]:
    """Lines above the table."""
    return [
        f"{facts['cpu']}, {facts['isa']}, {facts['dtype']}, threads {', '.join(map(str, facts['counts']))}",
        "bound: the plan's, in GFLOP/s; balance: an even share over the busiest thread's; speed-up from the minima",
        "",
        f"{'case':<18} {'measure':<9} {'contender':<13} {'threads':>7} {'minimum':>10} {'median':>10} {'GFLOP/s':>8} "
        f"{'bound':>8} {'balance':>8} {'speed-up':>8}",
    ]


def table_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rows as lines of the table."""
    lines = []
    for row in rows:
        bound, even = (f"{row[name]:.{n}f}" if name in row else "" for name, n in (("bound_gflops", 1), ("balance", 2)))
        lines.append(
            f"{row['case']:<18} {row['measure']:<9} {row['contender']:<13} {row['threads']:>7} "
            f"{time_of(row['min_us']):>10} {time_of(row['median_us']):>10} {row['gflops']:>8.1f} {bound:>8} {even:>8} "
            f"{row.get('speedup', 1):>8.2f}"
        )
    return lines


def measure(
    benches: Sequence[Bench], cases: Sequence[Case], save: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Measure each case on each number of threads, one after the other; print the table, and return the report.

    Args:
        benches: not yet entered, one for each number of threads, in ascending order.
        cases: of their kind.
        save: called with the report so far after each case.
    """
    rows: Rows = []

    def report() -> dict[str, Any]:
        last = benches[-1]
        peaks = {"peak_gflops": last.peak, "peak_gflops_per_thread": last.peak_of_one}
        return {**last.facts(), "counts": [bench.threads for bench in benches], **peaks, "rows": rows}

    with ExitStack() as started:
        for bench in benches:
            started.enter_context(bench)
        print(*heading(report()), sep="\n", flush=True)
        for case in cases:
            of_case = [row for bench in benches for row in bench.measure([case])]
            of_case.sort(key=lambda row: (row["measure"], row["contender"]))
            rows += with_bounds(case, of_case, benches[0].isa or "")
            print(*table_lines(rows[-len(of_case) :]), sep="\n", flush=True)
            if save is not None:
                save(report())
    return report()
