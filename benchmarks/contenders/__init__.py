"""The contenders of a benchmark: one file for each library, and what all of them share.

A contender is a process of its own (``worker``), which imports one library and makes what a task asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from . import jax, numpy, onnxruntime, seqcore, tensorflow, torch
from .task import Runner, Task

Maker = Callable[[Task], Runner]


class Contender(NamedTuple):
    """How a library starts (threads -> version), and what it has a part in."""

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
