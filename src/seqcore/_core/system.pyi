"""Version, instruction set, threads, memory and peak rate."""

from typing import Any

__version__: str

def info() -> dict[str, Any]:
    """version, isa, isas (those this CPU can run), compiler, eigen, openmp (bool), threads."""

def memory() -> dict[str, int]:
    """State of the pool: held, bytes ready for later calls; made, blocks allocated from the system so far."""

def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def peak_gflops(dtype: str = "float32", seconds: float = 0.2) -> float:
    """Multiply-add peak of one thread under the current instruction set."""
