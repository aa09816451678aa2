"""The measurements: their kinds and shapes, and the operations of one call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .contenders.task import IMDB_BATCHES, IMDB_WIDTH

CELLS = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
DTYPES = ("float32", "float64")
_CUSTOM = re.compile(r"[1-9]\d*(x[1-9]\d*){4}(xboth)?")
# The books use no other cell at these sizes.
_LSTM_ONLY = ("ptb-medium", "ptb-large")


class Shape(NamedTuple):
    """Sizes of a case: B rows, T steps, D inputs (V words of a model), H units, layers, both directions."""

    batch: int
    steps: int
    inputs: int
    units: int
    layers: int
    both: bool = False


class Kind(NamedTuple):
    """A kind of measurement.

    work: name of the runner of the contenders. measures: names of its timed functions. shapes, cells: the default
    cases. memory: the measure whose memory and page faults are also measured, in separate processes; "" for none.
    """

    work: str
    measures: tuple[str, ...]
    shapes: dict[str, Shape]
    cells: tuple[str, ...] = tuple(CELLS)
    memory: str = ""


# Powers of two and their neighbours, multiples of no vector, and the books' sizes.
_UNITS = (7, 16, 17, 31, 32, 33, 48, 64, 65, 96, 100, 127, 128, 130, 200, 256, 300, 400, 512, 650, 768, 1000, 1024)
_BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 20, 24, 31, 32, 33, 48, 64, 65, 96, 100, 127, 128, 200, 256)
_STEPS = (1, 2, 3, 5, 7, 8, 10, 16, 20, 32, 35, 50, 80, 100, 127, 128, 200, 256, 300, 500)


def _along(axis: str, sizes: Iterable[int]) -> dict[str, Shape]:
    """The shapes of one curve, named AXIS-SIZE."""
    if axis == "units":
        return {f"units-{n}": Shape(32, 35, n, n, 1) for n in sizes}
    if axis == "batch":
        return {f"batch-{n}": Shape(n, 50, 128, 128, 1) for n in sizes}
    return {f"steps-{n}": Shape(16, n, 128, 128, 1) for n in sizes}


KINDS: dict[str, Kind] = {
    "recurrent": Kind(
        "recurrent",
        ("forward", "train"),
        {
            "imdb": Shape(128, 80, 100, 64, 2),
            "airline": Shape(32, 26, 32, 40, 1),
            "ptb-small": Shape(20, 20, 200, 200, 2),
            "ptb-medium": Shape(20, 35, 650, 650, 2),
            "ptb-large": Shape(20, 35, 1500, 1500, 2),
            "mnist": Shape(128, 28, 28, 256, 1, True),
            "stories": Shape(64, 50, 544, 64, 1),
            "single": Shape(1, 80, 100, 64, 1),
        },
    ),
    # One unit shows the cost of a call from Python with nothing to compute.
    "stream": Kind(
        "stream",
        ("step",),
        {
            "stream-1": Shape(1, 1, 1, 1, 1),
            "stream-64": Shape(1, 1, 64, 64, 1),
            "stream-256": Shape(1, 1, 64, 256, 1),
        },
    ),
    "ptb": Kind(
        "ptb",
        ("train",),
        {
            "small": Shape(20, 20, 10_000, 200, 2),
            "medium": Shape(20, 35, 10_000, 650, 2),
            "large": Shape(20, 35, 10_000, 1500, 2),
        },
        ("LSTM",),
        "train",
    ),
    "imdb": Kind("imdb", ("fit",), {"imdb": Shape(128, 80, 10_000, 64, 2)}, memory="fit"),
    "curve": Kind(
        "recurrent",
        ("train",),
        {**_along("units", _UNITS), **_along("batch", _BATCHES), **_along("steps", _STEPS)},
        ("LSTM",),
    ),
    "ragged": Kind(
        "ragged",
        ("forward", "train", "full forward", "full train"),
        {"imdb": Shape(128, 80, 100, 64, 1), "large": Shape(128, 200, 256, 256, 1)},
    ),
    "small": Kind("recurrent", ("gradients",), {"single": Shape(1, 80, 64, 64, 1), "least": Shape(1, 1, 1, 1, 1)}),
    "growth": Kind(
        "recurrent",
        ("train",),
        {
            **{f"batch-{n}": Shape(n, 50, 128, 128, 1) for n in (16, 32, 64, 128, 256, 512)},
            **{f"steps-{n}": Shape(32, n, 128, 128, 1) for n in (25, 50, 100, 200, 400, 800)},
        },
        ("LSTM",),
        "train",
    ),
}


@dataclass(frozen=True)
class Case:
    """One case of a measurement.

    what: a name of `KINDS`. name: of its shape, or the sizes. dtype: of arrays and weights.
    """

    what: str
    name: str
    cell: str
    shape: Shape
    dtype: str = "float32"

    @property
    def label(self) -> str:
        """Name in tables and in ``--cases``."""
        return f"{self.name}/{self.cell}"

    @property
    def kind(self) -> Kind:
        """Names of its timed functions."""
        return KINDS[self.what]

    @property
    def sequences(self) -> int:
        """Sequences of one call: more than the batch where a call is several training steps."""
        return self.shape.batch * (IMDB_BATCHES if self.what == "imdb" else 1)

    def flops(self, measure: str) -> int:
        """Floating-point operations of the matrix products of a call; the backward pass has twice those of the forward.

        >>> case = Case("recurrent", "x", "LSTM", Shape(2, 3, 5, 7, 1))
        >>> case.flops("forward") == 2 * 2 * 3 * 4 * 7 * (5 + 7), case.flops("train") // case.flops("forward")
        (True, 3)

        In a ragged batch only valid steps count; "full forward" and "full train" compute them all.

        >>> case = Case("ragged", "x", "LSTM", Shape(2, 3, 5, 7, 1))
        >>> case.flops("forward") / case.flops("full forward") == case.real_steps / 6
        True
        """
        b, t, d, h, layers, both = self.shape
        directions = 1 + both
        first = {"ptb": h, "imdb": IMDB_WIDTH}.get(self.what, d)
        rows = self.sequences * t
        if self.what == "ragged" and not measure.startswith("full"):
            rows = self.real_steps
        widths = [first] + [h * directions] * (layers - 1)
        flops = sum(2 * rows * CELLS[self.cell] * h * (width + h) * directions for width in widths)
        if self.what == "ptb":
            flops += 2 * b * t * h * d
        return flops * (1 if measure.endswith(("forward", "step")) else 3)

    @property
    def lengths(self) -> list[int]:
        """Lengths of a ragged batch: B of them, spread evenly over 1...T, in ascending order.

        >>> Case("ragged", "x", "GRU", Shape(4, 10, 2, 2, 1)).lengths
        [1, 4, 7, 10]
        """
        b, t = self.shape.batch, self.shape.steps
        return [t] if b == 1 else [round(1 + i * (t - 1) / (b - 1)) for i in range(b)]

    @property
    def real_steps(self) -> int:
        """Valid steps of a ragged batch."""
        return sum(self.lengths)


def select_cases(what: str, names: Sequence[str] = (), cells: Sequence[str] = (), dtype: str = "float32") -> list[Case]:
    """The cases with the given names and cells; all by default.

    Args:
        what: a name of `KINDS`.
        names: each ``NAME`` or ``NAME/CELL`` of the table, or custom sizes ``BxTxDxHxL``, with ``xboth`` for both
            directions (ptb and imdb: V words for D).
        cells: of those without ``/CELL``; "SimpleRNN", "LSTM", "GRU".
        dtype: "float32" or "float64".

    Raises:
        ValueError: for an unknown name.

    >>> [case.label for case in select_cases("recurrent", ["imdb", "2x3x4x5x1/GRU"], ["LSTM"])]
    ['imdb/LSTM', '2x3x4x5x1/GRU']
    """
    kind = KINDS[what]
    cases = []
    for name, _, given in (text.partition("/") for text in names or kind.shapes):
        if name not in kind.shapes and not _CUSTOM.fullmatch(name):
            raise ValueError(f"--cases: expected {_names(kind.shapes)} or sizes BxTxDxHxL[xboth], got {name!r}")
        shape = kind.shapes[name] if name in kind.shapes else _custom(what, name)
        only_lstm = what == "ptb" or (what == "recurrent" and name in _LSTM_ONLY and not given)
        for cell in [given] if given else cells or kind.cells:
            if cell not in CELLS:
                raise ValueError(f"--{'cases' if given else 'cells'}: expected {', '.join(CELLS)}, got {cell!r}")
            if cell == "LSTM" or not only_lstm:
                cases.append(Case(what, name, cell, shape, dtype))
    if not cases:
        raise ValueError(f"--cells: expected LSTM for {', '.join(names) or what}, got {', '.join(cells)}")
    if what == "imdb" and dtype != "float32":
        raise ValueError(f"--dtype: expected float32 for imdb, got {dtype}")
    return cases


def _names(shapes: Iterable[str]) -> str:
    """Names as an error lists them: those of a curve by their axes.

    >>> _names(["imdb", "ptb-small", "units-7", "units-16", "batch-1"])
    'imdb, ptb-small, units-N, batch-N'
    """
    return ", ".join(dict.fromkeys(re.sub(r"^(units|batch|steps)-\d+$", r"\1-N", name) for name in shapes))


def _custom(what: str, name: str) -> Shape:
    batch, steps, inputs, units, layers = map(int, name.removesuffix("xboth").split("x"))
    shape = Shape(batch, steps, inputs, units, layers, name.endswith("xboth"))
    if what in ("stream", "ptb", "imdb", "ragged", "growth") and shape.both:
        raise ValueError(f"--cases: expected one direction for {what}, got {name!r}")
    if what == "stream" and (shape.steps, shape.layers) != (1, 1):
        raise ValueError(f"--cases: expected Bx1xDxHx1 for stream, got {name!r}")
    if what == "imdb" and shape.layers != 2:
        raise ValueError(f"--cases: expected 2 layers for imdb, got {name!r}")
    if what == "growth" and shape.layers != 1:
        raise ValueError(f"--cases: expected 1 layer for growth, got {name!r}")
    return shape
