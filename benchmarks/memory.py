"""Memory of a training step of one recurrent layer, as a formula: docs/guide/performance.md#memory derives it.

B: batch, T: time steps, D: input features, H: units, g = 1, 4, 3 gates, R = B · T rows (real steps of a ragged batch).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cases import CELLS

# Numbers of float32 in a vector of an instruction set; float64 has half of them.
LANES = {"base": 4, "avx2": 8, "avx512": 16, "avx512_bf16": 16}
# Scratch of a thread in the weights' gradients: two blocks of products of 768 KiB.
_PRODUCTS_BYTES = 2 * 768 * 1024
# Columns of x and h that these products take at a time.
_COLUMNS_TOGETHER = 768
_HUGE = 2 * 1024 * 1024


@dataclass(frozen=True)
class StepMemory:
    """Memory of a training step in addition to x, dy and the weights: bytes by name.

    saved: memory that the backward pass needs (together ``SavedForward.nbytes`` of the core). gradients: of x, of the
    weights and of the initial state. scratch: packed weights, states carried back, and the memory of the threads.
    """

    saved: dict[str, int]
    gradients: dict[str, int]
    scratch: dict[str, int]

    @property
    def total(self) -> int:
        """The sum of all parts: no part reuses the memory of another."""
        return sum(self._blocks())

    @property
    def resident(self) -> int:
        """The same in pages, where the system has huge pages: a large block takes whole ones."""
        return sum(map(_resident, self._blocks()))

    def _blocks(self) -> list[int]:
        return [size for part in (self.saved, self.gradients, self.scratch) for size in part.values()]


def pool_block(size: int) -> int:
    """Bytes of the block that the pool hands out for ``size``: four classes to a power of two.

    >>> pool_block(1), pool_block(257), pool_block(1000), pool_block(1025)
    (256, 320, 1024, 1280)
    """
    power = 256
    while power < size:
        power *= 2
    classes = [power // 8 * quarter for quarter in (5, 6, 7)] if power > 256 else []
    return next((block for block in classes if block >= size), power)


def _resident(size: int) -> int:
    """Bytes in memory of a block of which ``size`` bytes are used: whole huge pages, where the block has them whole."""
    block, whole = pool_block(size), -(-size // _HUGE) * _HUGE
    return whole if 2 * _HUGE <= block >= whole else size


def row_width(units: int, blocks: int, lanes: int, size: int = 4) -> int:
    """Numbers from row to row of a packed array: an odd number of whole vectors.

    ``blocks`` values for each unit (the gates, or 1 for a state). The last vectors of four gates may be narrower, down
    to a quarter of a vector of at least 16 bytes.

    >>> row_width(64, 4, 16), row_width(64, 1, 16), row_width(40, 4, 16)
    (272, 80, 176)
    """
    return (packed_columns(units, blocks, lanes, size) // lanes | 1) * lanes


def packed_columns(units: int, blocks: int, lanes: int, size: int = 4) -> int:
    """Columns of a packed matrix of ``blocks`` values for each unit; a number has ``size`` bytes.

    >>> packed_columns(40, 4, 16), packed_columns(40, 3, 16), packed_columns(40, 1, 16)
    (160, 144, 48)
    """
    full, rest = divmod(units, lanes)
    if not rest:
        return full * blocks * lanes
    width = lanes
    if blocks == 4:
        narrowest = max(lanes // 4, 16 // size)
        while width // 2 >= max(rest, narrowest):
            width //= 2
    return blocks * (full * lanes + width)


def training_step(
    cell: str,
    batch: int,
    steps: int,
    inputs: int,
    units: int,
    *,
    dtype: str = "float32",
    isa: str = "avx512",
    threads: int = 1,
    rows: int | None = None,
) -> StepMemory:
    """Bytes that forward and backward of one layer in one direction take, without masks and dropout.

    Args:
        cell: "SimpleRNN", "LSTM" or "GRU".
        batch, steps, inputs, units: B, T, D, H.
        dtype: "float32" or "float64".
        isa: the instruction set, which has the width of a vector.
        threads: that take part.
        rows: R of a ragged batch, the sum of its lengths; None for B · T.

    >>> memory = training_step("LSTM", 20, 35, 650, 650)
    >>> [round(sum(part.values()) / 2**20, 1) for part in (memory.saved, memory.gradients, memory.scratch)]
    [10.6, 14.6, 28.0]
    """
    size = np.dtype(dtype).itemsize
    lanes = LANES[isa] * 4 // size
    gates, h = CELLS[cell], units
    ragged, r = rows is not None, batch * steps if rows is None else rows
    gate_width, state_width = row_width(h, gates, lanes, size), row_width(h, 1, lanes, size)

    saved = {"gates": r * gate_width, "h": (batch + r) * h}
    if cell == "LSTM":
        saved["c"] = (batch + r) * state_width
    if cell == "GRU":
        saved["recurrent product"] = r * gate_width

    bias = 6 * h if cell == "GRU" else gates * h
    gradients = {"x": batch * steps * inputs, "weights": (inputs + h) * gates * h + bias}
    if ragged:
        gradients["y"] = batch * steps * h  # the output, which is a view of h in a batch without lengths

    columns, panel = packed_columns(h, gates, lanes, size), (3 if gates == 3 else 4) * lanes
    transposed = packed_columns(h, 1, lanes, size) + packed_columns(inputs, 1, lanes, size)
    together = min(inputs + h, _COLUMNS_TOGETHER)
    block = 64 * ((-(-together // lanes) + 3) | 1) * lanes  # rows of x and h, whole vectors, an odd number of them
    scratch = {
        "packed weights, forward": (inputs + h + 2) * columns,
        "packed weights, backward": columns * transposed,
        "states carried back": 3 * batch * state_width,
        # Of the space for products no more is touched than the products of all columns.
        "threads": threads * (64 * panel + min(_PRODUCTS_BYTES // size, (inputs + h + 1) * columns) + block),
    }
    return StepMemory(*({name: count * size for name, count in part.items()} for part in (saved, gradients, scratch)))
