"""The layers of ``seqcore.interop.torch`` against those of ``torch.nn``: training steps in turn, in one process.

    python -m benchmarks.torch_layers

One model changes over and back by ``accelerate`` and ``restore``. A training step is forward, backward (gradients of
the input and of every parameter from a given gradient of the output) and an update of the parameters; the sequences
are time-major. "packed" rows are PackedSequences of lengths spread evenly over 1 to T. Last comes a network of four
units next to an operator of the same signature that only allocates its results.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import seqcore as sc
from benchmarks.cases import Case, Shape, select_cases
from benchmarks.records import write_record
from benchmarks.report import time_of
from benchmarks.runner import machine_facts
from benchmarks.tables import geometric_mean

torch: Any = import_module("torch")
door: Any = import_module("seqcore.interop.torch")
operators: Any = import_module("seqcore.interop.torch.operators")

CONTENDERS = ("torch", "seqcore")
PACKED = ("imdb", "airline", "ptb-small", "mnist", "stories", "single")
LEAST = Case("recurrent", "least", "LSTM", Shape(2, 3, 4, 4, 1))
_RATE, _REST = 1e-5, 0.05
Row = dict[str, Any]


def network(case: Case) -> Any:
    """The network of a case, PyTorch's."""
    shape = case.shape
    name = {"SimpleRNN": "RNN"}.get(case.cell, case.cell)
    return getattr(torch.nn, name)(shape.inputs, shape.units, shape.layers, bidirectional=shape.both)


def functions(case: Case, packed: bool) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """The network of a case, and the functions that are timed."""
    torch.manual_seed(0)
    net, shape = network(case), case.shape
    x = torch.randn(shape.steps, shape.batch, shape.inputs)
    columns = shape.units * (2 if shape.both else 1)
    given: Any = x
    if packed:
        lengths = case.lengths[::-1]
        given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths)
        x = given.data
    x.requires_grad_()
    dy = torch.randn(*x.shape[:-1], columns)
    parameters = list(net.parameters())

    def gradients() -> list[Any]:
        net.zero_grad(set_to_none=True)
        x.grad = None
        y = net(given)[0]
        (y.data if packed else y).backward(dy)
        return [x.grad, *(parameter.grad for parameter in parameters)]

    def train() -> None:
        _, *grads = gradients()
        with torch.no_grad():
            torch._foreach_add_(parameters, grads, alpha=-_RATE)

    def forward() -> None:
        with torch.no_grad():
            net(given)

    return net, {"gradients": gradients, "train": train, "forward": forward}


def check(net: Any, gradients: Callable[[], list[Any]]) -> float:
    """The largest deviation of a gradient from PyTorch's, next to its largest element."""
    expected = gradients()
    door.accelerate(net)
    found = gradients()
    door.restore(net)
    deviation = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))
    if not deviation < 1e-3:
        raise ValueError(f"{net}: expected the gradients of PyTorch, got a deviation of {deviation:.1e}")
    return deviation


def timed(function: Callable[[], Any], seconds: float) -> list[float]:
    """Microseconds of each call."""
    time.sleep(_REST)  # threads of the other contender stop spinning
    for _ in range(2):
        function()
    times, begin = list[float](), time.perf_counter()
    while len(times) < 4 or time.perf_counter() - begin < seconds:
        before = time.perf_counter()
        function()
        times.append(1e6 * (time.perf_counter() - before))
    return times


def measure(case: Case, packed: bool, seconds: float, rounds: int) -> list[Row]:
    """One row for each measure and contender."""
    net, calls = functions(case, packed)
    deviation = check(net, calls["gradients"])
    times: dict[tuple[str, str], list[list[float]]] = {}
    for turn in range(rounds):
        for contender in CONTENDERS if turn % 2 == 0 else CONTENDERS[::-1]:
            if contender == "seqcore":
                door.accelerate(net)
            for name in ("train", "forward"):
                times.setdefault((name, contender), []).append(timed(calls[name], seconds))
            if contender == "seqcore":
                door.restore(net)
    rows = []
    for (name, contender), turns in times.items():
        row: Row = {"case": case.label, "cell": case.cell, **case.shape._asdict(), "packed": packed, "measure": name}
        row |= {"contender": contender, "min_us": min(map(min, turns)), "median_us": median(map(median, turns))}
        rows.append({**row, "deviation": deviation})
    return rows


def empty_operator() -> Any:
    """An operator of the signature of ``seqcore::recurrent``, with a backward pass, that allocates its results."""
    schemas = {name: str(getattr(operators, name)._schema) for name in ("recurrent", "recurrent_backward")}
    library = import_module("torch.library")
    backward_schema = schemas["recurrent_backward"].split("recurrent_backward", 1)[1]
    schema = schemas["recurrent"].split("recurrent", 1)[1]

    @library.custom_op("seqcore_benchmark::empty_backward", mutates_args=(), schema=backward_schema)  # type: ignore[untyped-decorator]
    def empty_backward(*arguments: Any) -> Any:
        return [torch.empty_like(tensor) for tensor in (arguments[4], *arguments[5])]

    @library.custom_op("seqcore_benchmark::empty", mutates_args=(), schema=schema)  # type: ignore[untyped-decorator]
    def empty(x: Any, weights: Any, *rest: Any) -> Any:
        y, state = (*x.shape[:2], weights[1].shape[1]), (1, x.shape[1], weights[1].shape[1])
        return tuple([torch.empty(size) for size in (y, state, state, (16,))])

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weights, states, batch_sizes, *ctx.options, _ = inputs
        ctx.save_for_backward(output[3], batch_sizes, x, *weights, *states)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[3])

    def backward(ctx: Any, dy: Any, dh: Any, dc: Any, _: Any) -> Any:
        reserve, batch_sizes, x, *weights = ctx.saved_tensors
        options = (batch_sizes, *ctx.options, True, True, False)
        dx, *gradients = empty_backward(dy, dh, dc, reserve, x, weights, [], *options)
        return dx, gradients, [], None, None, None, None, None

    empty.register_autograd(backward, setup_context=setup_context)
    return empty


def measure_overhead(seconds: float, rounds: int) -> list[Row]:
    """Forward and backward at four units: PyTorch's layer, ours, ours without its module, the empty operator."""
    net = network(LEAST)
    x = torch.randn(LEAST.shape.steps, LEAST.shape.batch, LEAST.shape.inputs, requires_grad=True)
    dy = torch.randn(LEAST.shape.steps, LEAST.shape.batch, LEAST.shape.units)
    weights = list(net.parameters())
    options = (None, "LSTM", False, False, True)
    empty = empty_operator()
    forwards: dict[str, Callable[[], Any]] = {
        "torch": lambda: net(x),
        "seqcore": lambda: net(x),
        "seqcore, operator": lambda: operators.recurrent(x, weights, [], *options),
        "empty operator": lambda: empty(x, weights, [], *options),
    }

    def through(forward: Callable[[], Any]) -> Callable[[], None]:
        def step() -> None:
            net.zero_grad(set_to_none=True)
            x.grad = None
            forward()[0].backward(dy)

        return step

    times: dict[str, list[list[float]]] = {name: [] for name in forwards}
    for _ in range(rounds):
        for name, forward in forwards.items():
            if name == "seqcore":
                door.accelerate(net)
            times[name].append(timed(through(forward), seconds))
            if name == "seqcore":
                door.restore(net)
    sizes: Row = {"case": LEAST.label, "cell": "LSTM", **LEAST.shape._asdict(), "packed": False, "measure": "gradients"}
    return [
        {**sizes, "contender": name, "min_us": min(map(min, turns)), "median_us": median(map(median, turns))}
        for name, turns in times.items()
    ]


def ratios(rows: Sequence[Row], measure: str, packed: bool, key: str = "min_us") -> dict[str, float]:
    """How many times PyTorch's time is ours, by case."""
    of = {
        (row["case"], row["contender"]): row[key]
        for row in rows
        if row["measure"] == measure and row["packed"] == packed
    }
    return {case: of[case, "torch"] / time for (case, contender), time in of.items() if contender == "seqcore"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one line per case, then the means."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torch_layers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--cases", default="", help="joined by commas, such as imdb,stories/GRU (default: all)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one turn (default 0.2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    sc.set_num_threads(arguments.threads)
    cases = select_cases("recurrent", [name for name in arguments.cases.split(",") if name])
    todo = [(case, False) for case in cases] + [(Case("ragged", *_parts(c)), True) for c in cases if c.name in PACKED]
    rows: list[Row] = []
    for case, packed in todo:
        rows += measure(case, packed, arguments.seconds, arguments.rounds)
        line = [f"{case.label:18}", "packed" if packed else "      "]
        for name in ("train", "forward"):
            ours, theirs = (row for row in rows[-4:] if row["measure"] == name)
            if ours["contender"] != "seqcore":
                ours, theirs = theirs, ours
            line.append(
                f"{name} {time_of(ours['min_us']):>9} torch {time_of(theirs['min_us']):>9} "
                f"{theirs['min_us'] / ours['min_us']:5.2f} (median {theirs['median_us'] / ours['median_us']:5.2f})"
            )
        print("  ".join(line), flush=True)
    rows += measure_overhead(arguments.seconds, arguments.rounds)
    for row in rows[-4:]:
        print(f"{row['case']} {row['contender']:18} {row['min_us']:.1f} us, median {row['median_us']:.1f}")
    for packed in (False, True):
        for name in ("train", "forward"):
            found = ratios(rows, name, packed)
            if found:
                mean, least = geometric_mean(list(found.values())), min(found, key=lambda case: found[case])
                print(
                    f"{'packed ' if packed else ''}{name}: {mean:.2f} in the mean, least {found[least]:.2f} ({least})"
                )
    if arguments.json:
        facts = {**machine_facts(arguments.threads), "versions": {"torch": torch.__version__}}
        facts |= {"seconds": arguments.seconds, "rounds": arguments.rounds, "numpy": np.__version__}
        write_record(arguments.json, "python -m benchmarks.torch_layers", {**facts, "rows": rows})
    return 0


def _parts(case: Case) -> tuple[str, str, Shape]:
    return case.name, case.cell, case.shape


if __name__ == "__main__":
    sys.exit(main())
