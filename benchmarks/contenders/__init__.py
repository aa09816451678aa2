"""The contenders of a benchmark: one file per library, and their shared code.

A contender is a separate process (``worker``), which imports one library and runs the functions of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from . import jax, numpy, onnxruntime, seqcore, tensorflow, torch
from .task import Runner, Task

Maker = Callable[[Task], Runner]


class Contender(NamedTuple):
    """How to start a library (threads -> version), and its kinds of measurement."""

    start: Callable[[int], str]
    parts: Mapping[str, Maker]


CONTENDERS = {
    "seqcore": Contender(seqcore.start, seqcore.PARTS),
    "numpy": Contender(numpy.start, numpy.PARTS),
    "torch": Contender(torch.start, torch.PARTS),
    "tensorflow": Contender(tensorflow.start, tensorflow.PARTS),
    "tensorflow-xla": Contender(tensorflow.start, tensorflow.XLA_PARTS),
    "jax": Contender(jax.start, jax.PARTS),
    "onnxruntime": Contender(onnxruntime.start, onnxruntime.PARTS),
}
