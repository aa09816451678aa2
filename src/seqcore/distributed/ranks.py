"""Ranks: the processes of an MPI communicator, sums in a fixed order, agreements, and the end of all at an error.

P: elements of an array. n: processes; a rank is the number of one, from 0.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .._core import system
from .._validation import one_line, short_repr
from ..random import Rows
from ..typing import Array

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
# The methods of a communicator that are called.
_NEEDED = ("Get_rank", "Get_size", "Allgather", "Allgatherv", "Alltoallv", "allgather", "bcast", "Abort")


class RaisedByAll(Exception):
    """An exception that all processes raise at once, so that none waits for another."""


class Refused(RaisedByAll, ValueError):
    """The error of processes that do not fit together."""


class Ranks:
    """The processes of a communicator. Every method but :meth:`rows` is called by all of them, in the same order.

    Args:
        comm: a communicator of mpi4py, such as ``MPI.COMM_WORLD``.

    Attributes:
        rank, size: the number of this process, and how many there are.

    Raises:
        TypeError: for anything else.
    """

    def __init__(self, comm: Any) -> None:
        if not all(callable(getattr(comm, name, None)) for name in _NEEDED):
            got = short_repr(comm)
            raise TypeError(f"distribute: expected a communicator of mpi4py such as MPI.COMM_WORLD, got {got}")
        self._comm = comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        # Where the other processes' parts of an array arrive, by type.
        self._parts: dict[np.dtype[Any], Array] = {}

    @property
    def is_main(self) -> bool:
        """True in rank 0, which writes files and prints."""
        return self.rank == 0

    def rows(self, whole: int) -> Rows:
        """The share of this process of ``whole`` rows: neighbouring rows, none where there are fewer than processes."""
        first, end = (whole * rank // self.size for rank in (self.rank, self.rank + 1))
        return Rows(first, end - first, whole)

    def gather(self, values: Array) -> Array:
        """(n, P) the small arrays (P,) of all processes."""
        everyone = np.empty((self.size, *values.shape), values.dtype)
        self._comm.Allgather(np.ascontiguousarray(values), everyone)
        return everyone

    def gather_varying(self, values: Array, counts: Array) -> list[Array]:
        """The arrays (P,) of all processes, of the lengths ``counts``."""
        everyone = np.empty(int(counts.sum()), values.dtype)
        self._comm.Allgatherv(np.ascontiguousarray(values), [everyone, counts.tolist()])
        return np.split(everyone, np.cumsum(counts)[:-1])

    def gather_objects(self, value: Any) -> list[Any]:
        """The values of all processes; anything that pickles."""
        return list(self._comm.allgather(value))

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0; anything that pickles."""
        return self._comm.bcast(value)

    def any(self, value: bool) -> bool:
        """True if a process says so."""
        return bool(self.gather(np.array([value], np.int8)).any())

    def sum(self, array: Array) -> None:
        """Put the sum over the processes in the place of a contiguous array (P,).

        The parts are added in the order of the ranks, so that the bits depend neither on the algorithms of the MPI
        library nor on time: each process gets all parts of one block, adds them, and sends the sum to the others.
        That is what a ring sends, too: 2·(n-1)/n times the array.
        """
        borders = [len(array) * rank // self.size for rank in range(self.size + 1)]
        counts = [end - first for first, end in zip(borders, borders[1:])]
        own = counts[self.rank]
        parts = self._parts.get(array.dtype)
        if parts is None or parts.size < own * self.size:
            parts = self._parts[array.dtype] = np.empty(own * self.size, array.dtype)
        places = [own * rank for rank in range(self.size)]
        self._comm.Alltoallv([array, (counts, borders[:-1])], [parts, ([own] * self.size, places)])
        total = parts[:own]
        for place in places[1:]:
            total += parts[place : place + own]
        self._comm.Allgatherv(total, [array, (counts, borders[:-1])])

    def refuse_differences(self, facts: Mapping[str, Any]) -> None:
        """Refuse processes in which a fact is not that of rank 0.

        Args:
            facts: a name, as it goes on after "expected the same", and a text or number.

        Raises:
            Refused: in all processes.
        """
        everyone = self.gather_objects(dict(facts))
        for rank, theirs in enumerate(everyone):
            for name in {**everyone[0], **theirs}:
                expected, got = everyone[0].get(name), theirs.get(name)
                if expected != got:
                    ours, others = short_repr(expected), short_repr(got)
                    raise Refused(
                        f"distribute: expected the same {name} in all processes, got {ours} in rank 0 and {others} in "
                        f"rank {rank}"
                    )


def installation() -> dict[str, Any]:
    """Facts for :meth:`Ranks.refuse_differences` on which the bits of all results depend."""
    return {"version of seqcore": system.__version__, "instruction set": system.info()["isa"]}


def digest(*arrays: Array | None) -> str:
    """A text that differs where types, shapes or elements do."""
    hashed = hashlib.blake2b(digest_size=8)
    for array in arrays:
        hashed.update(b"None" if array is None else f"{array.dtype.str}{array.shape}".encode())
        if array is not None:
            hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


@contextmanager
def together(comm: Any) -> Iterator[None]:
    """Context in which an error in one process ends all of them, with one line on standard error.

    The others would wait for it without end. :class:`RaisedByAll` is left to the caller, and so is any error where
    there is one process.
    """
    ranks = Ranks(comm)
    try:
        yield
    except RaisedByAll:
        raise
    except BaseException as error:
        if ranks.size > 1 and not (isinstance(error, SystemExit) and not error.code):
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else one_line(error)
            sys.stderr.write(f"seqcore: rank {ranks.rank} of {ranks.size}: {reason}; all processes end\n")
            sys.stderr.flush()
            comm.Abort(1)
        raise


def ends_together(method: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Run a method :func:`together` with the processes of its argument ``distribute``, if it is given."""

    @wraps(method)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        comm = kwargs.get("distribute")
        if comm is None:
            return method(*args, **kwargs)
        with together(comm):
            return method(*args, **kwargs)

    return run
