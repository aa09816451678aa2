"""Version, instruction set, threads, memory and peak rate."""

from typing import Any

from ..typing import Array

__version__: str

def info() -> dict[str, Any]:
    """version, isa, isas (those this CPU can run), compiler, eigen, openmp (bool), threads."""

def memory() -> dict[str, int]:
    """State of the pool: held, bytes ready for later calls; made, blocks allocated from the system so far."""

def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def peak_gflops(dtype: str = "float32", seconds: float = 0.2) -> float:
    """Multiply-add peak of one thread under the current instruction set."""

def replay_regions(regions: Array) -> Array:
    """Replay regions of threads on a new monitor of busy processors, for tests without a clock.

    regions: (R, 5) float64: when a region ended and how long it took, in seconds; the time that each of some threads
    was late, their number, and 1 if that was time without a processor, 0 if it was waiting. Returns (R,) int64, the
    processors that were taken for busy when each region ended.
    """
