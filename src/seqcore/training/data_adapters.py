"""Adapters of data: batches cut from arrays, or taken from an iterable of the caller.

N: rows of the whole data.
"""

from __future__ import annotations

import operator
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count, islice
from typing import Any

import numpy as np

from .. import random
from .._validation import MAX_INT64, boolean, integer, is_array, real
from ..autograd import Variable
from ..distributed import digest
from .batch import Batch, batch_arrays, cut_batch, is_part, make_batch, unpack_batch


class DataAdapter:
    """Batches of one epoch after the other.

    Args:
        limit: batches per epoch; None means all there are.

    With a limit an epoch continues where the last one ended, as in Keras; where the data end within an epoch it is
    shorter, with a warning, and the next one starts again (an iterator cannot: it is then ``exhausted``).
    """

    # True for an iterator, which cannot start again.
    once = False
    # Name of the argument that gave ``limit``, for errors.
    steps_name = "steps"

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._running: Iterator[Batch] | None = None
        # Batches trained on since the running pass over the data began, and the random state that it began with.
        self.taken = 0
        self._random: dict[str, Any] = {}
        # Batches of the next epoch that an interrupted fit has trained on.
        self._skipped = 0
        self.exhausted = False
        self.steps: int | None = limit

    def _walk(self, start: int) -> Iterator[Batch]:
        """All data once, batch by batch, from number ``start`` on; random numbers are drawn at once."""
        raise TypeError(f"{type(self).__name__}: an adapter must define _walk")

    def describe(self) -> str:
        """A text that differs where the data do; empty where only the batches will show it."""
        return ""

    def split(self, fraction: float) -> tuple[Any, Any]:
        """Arguments of the first part and of the last ``fraction`` of the rows: ((x, y, weight), (x, y, weight))."""
        raise ValueError("validation_split: expected 0 where x yields whole batches; pass validation_data")

    def restart(self) -> None:
        """Start the next epoch with the first batch, where the data can."""
        if not self.once:
            self._running = None

    def get_state(self) -> dict[str, Any]:
        """Place in the data, for :meth:`set_state` in another process: numbers, texts, lists and dicts."""
        return {"taken": self.taken, "random": self._random, "exhausted": self.exhausted}

    def set_state(self, state: dict[str, Any], batch: int) -> None:
        """Continue the next epoch from a :meth:`get_state`, at its batch number ``batch``."""
        taken = self.check_state(state, batch)
        if taken:
            with _random_state(state["random"]):
                self._start(taken)
        self.taken, self._skipped, self.exhausted = taken, batch, state["exhausted"]

    def check_state(self, state: dict[str, Any], batch: int) -> int:
        """The number of batches to skip for a :meth:`get_state`; raises for anything else, and changes nothing."""
        taken = integer("taken", state["taken"], 0, MAX_INT64) if self._limit is not None else batch
        boolean("exhausted", state["exhausted"])
        if taken:
            with _random_state(state["random"]):
                pass
        return taken

    def _start(self, start: int = 0) -> Iterator[Batch]:
        """Begin a pass over the data at batch number ``start``."""
        self.taken, self._random = start, random.get_state()
        self._running = self._walk(start)
        return self._running

    def _hook(self, name: str) -> None:
        """Call a hook of the caller's data, where it has one."""

    def __iter__(self) -> Iterator[Batch]:
        self._hook("on_epoch_begin")
        skipped, self._skipped = self._skipped, 0
        if self._limit is not None:
            yield from self._limited(skipped, self._limit)
        else:
            yield from self._running if skipped and self._running is not None else self._start()
        self._hook("on_epoch_end")

    def _limited(self, skipped: int, limit: int) -> Iterator[Batch]:
        for done in range(skipped, limit):
            fresh = self._running is None
            batch = next(self._start() if self._running is None else self._running, None)
            if batch is None and not (done or fresh or self.once):
                # The last epoch ended with the last batch.
                batch = next(self._start(), None)
            if batch is None:
                self.exhausted = self.once
                self.restart()
                warnings.warn(
                    f"{self.steps_name}: expected {limit} batches per epoch, got {done} before the data ended",
                    stacklevel=2,
                )
                return
            yield batch


@contextmanager
def _random_state(state: dict[str, Any]) -> Iterator[None]:
    """Context in which the global random generator continues from ``state``."""
    before = random.get_state()
    random.set_state(state)
    try:
        yield
    finally:
        random.set_state(before)


class ArrayAdapter(DataAdapter):
    """Batches cut from arrays; a last smaller one where the rows do not divide.

    Args:
        whole: all rows, as one batch: Tensors, whose ``lengths`` and ``mask`` are cut along, targets and weights.
        batch_size: rows of a batch.
        shuffle: a new order each epoch, from the global generator.
        stateful: the model carries states from batch to batch: rows must divide evenly and stay in order.
        steps: batches per epoch.
    """

    def __init__(self, whole: Batch, batch_size: int | None, shuffle: bool, stateful: bool, steps: int | None) -> None:
        super().__init__(steps)
        self.batch_size = 32 if batch_size is None else integer("batch_size", batch_size, 1)
        self._whole, self.rows = whole, whole.size
        if any(isinstance(part, Variable) for part in whole.inputs):
            raise TypeError("x: expected data, got a Variable")
        if stateful and self.rows > self.batch_size and self.rows % self.batch_size:
            raise ValueError(
                f"batch_size: expected a divisor of the {self.rows} rows of x, since a stateful model keeps one state "
                f"per row of a batch, got {self.batch_size}"
            )
        if self.steps is None:
            self.steps = -(-self.rows // self.batch_size)
        self._shuffle = shuffle and not stateful

    def split(self, fraction: float) -> tuple[Any, Any]:
        border = int(self.rows * (1 - real("validation_split", fraction, 0.0, 1.0, open_high=True)))
        if not 0 < border < self.rows:
            raise ValueError(f"validation_split: expected rows on both sides, got {fraction!r} of {self.rows} rows")
        return cut_batch(self._whole, slice(0, border)), cut_batch(self._whole, slice(border, None))

    def describe(self) -> str:
        return digest(*batch_arrays(self._whole)) + f" in batches of {self.batch_size}{', shuffled' * self._shuffle}"

    def _walk(self, start: int) -> Iterator[Batch]:
        order = random.generator().permutation(self.rows) if self._shuffle else None
        parts = (slice(row, row + self.batch_size) for row in range(0, self.rows, self.batch_size))
        whole, cuts = self._whole, islice(parts, start, None)
        return (cut_batch(whole, rows if order is None else order[rows]) for rows in cuts)


class IterableAdapter(DataAdapter):
    """Batches that the caller's data yield: x, (x, y) or (x, y, sample_weight), in a tuple or a list of arrays.

    Args:
        data: an iterable, walked once per epoch; an iterator, which continues where the last epoch ended; or an object
            with ``__getitem__``, such as Keras's ``PyDataset``. Its ``on_epoch_begin`` and ``on_epoch_end`` are called.
        shuffle: a new order of the batches each epoch, for an object with ``__getitem__`` and a length.
        class_weight, sparse, several: see :func:`make_batch`.
        steps: batches per epoch; None means until the end.
    """

    def __init__(
        self,
        data: Any,
        shuffle: bool,
        class_weight: Mapping[int, float] | None,
        sparse: bool | None,
        several: bool | None,
        steps: int | None,
    ) -> None:
        super().__init__(steps)
        self._data, self._shuffle = data, shuffle
        self._options: dict[str, Any] = {"class_weight": class_weight, "sparse": sparse, "several": several}
        self.once = isinstance(data, Iterator)
        # Keras's older Sequence has both; its batches may be asked for in any order.
        self._by_index = hasattr(data, "__getitem__") and (
            not hasattr(data, "__iter__") or hasattr(data, "on_epoch_end")
        )
        if self.steps is None and not self.once:
            self.steps = self._length()

    def _hook(self, name: str) -> None:
        hook = getattr(self._data, name, None)
        if callable(hook):
            hook()

    def _length(self) -> int | None:
        """Number of batches, None where it is not known."""
        try:
            length = getattr(self._data, "num_batches", None)
            return len(self._data) if length is None or callable(length) else operator.index(length)
        except TypeError:
            return None

    def _walk(self, start: int) -> Iterator[Batch]:
        items = self._indexed(start) if self._by_index else iter(self._data)
        if not self._by_index:
            deque(islice(items, start), maxlen=0)
        return (make_batch(*unpack_batch(item), **self._options) for item in items)

    def _indexed(self, start: int) -> Iterator[Any]:
        """What an object with ``__getitem__`` gives, by number; without a length until there is none."""
        length = self._length()
        if length is None:
            return self._numbered(start)
        order = random.generator().permutation(length) if self._shuffle else range(length)
        return (self._data[int(number)] for number in order[start:])

    def _numbered(self, start: int) -> Iterator[Any]:
        with suppress(IndexError):
            for number in count(start):
                yield self._data[number]


def is_list_of_batches(data: Any) -> bool:
    """True for a list of batches (x, y) or (x, y, sample_weight) of arrays, or of lists or dicts of arrays.

    The weights of a batch may be None.
    """
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(batch, tuple) and 2 <= len(batch) <= 3 and all(map(is_part, batch[:2])) for batch in data)
        and all(part is None or is_part(part) for batch in data for part in batch[2:])
    )


def make_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    lengths: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    stateful: bool = False,
    class_weight: Mapping[int, float] | None = None,
    sparse: bool | None = None,
    several: bool | None = None,
    steps: int | None = None,
    steps_name: str = "steps",
) -> DataAdapter:
    """The adapter for the data that a user passed as ``x``."""
    steps = None if steps is None else integer(steps_name, steps, 1)
    plain = is_array(x) or isinstance(x, (list, tuple, dict)) or np.isscalar(x) or hasattr(x, "shape")
    adapter: DataAdapter
    if plain and not is_list_of_batches(x):
        whole = make_batch(x, y, sample_weight, class_weight, lengths, sparse, several)
        adapter = ArrayAdapter(whole, batch_size, shuffle, stateful, steps)
    else:
        if not isinstance(x, Iterable) and not hasattr(x, "__getitem__"):
            raise TypeError(f"x: expected an array, a list of arrays or an iterable of batches, got {type(x).__name__}")
        given = {"y": y, "sample_weight": sample_weight, "lengths": lengths, "batch_size": batch_size}
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name}: expected None where x yields whole batches, got {type(value).__name__}")
        adapter = IterableAdapter(x, shuffle and not stateful, class_weight, sparse, several, steps)
    adapter.steps_name = steps_name
    return adapter


def make_validation_adapter(
    data: Any,
    steps: int | None,
    own_batch_size: int | None,
    batch_size: int | None,
    stateful: bool,
    needs_targets: bool,
    several: bool | None,
) -> DataAdapter:
    """The adapter for ``validation_data``: (x, y), (x, y, sample_weight), or an iterable of batches.

    Args:
        data: what the user passed.
        steps: batches per validation.
        own_batch_size: the argument ``validation_batch_size``.
        batch_size: used where that is None.
        stateful: the model carries states from batch to batch.
        needs_targets: refuse x without targets.
        several: see :func:`make_batch`.
    """
    if own_batch_size is not None:
        batch_size = integer("validation_batch_size", own_batch_size, 1)
    arrays = is_array(data) or (isinstance(data, (tuple, list)) and not is_list_of_batches(data))
    if not arrays and own_batch_size is not None:
        raise ValueError("validation_batch_size: expected None where validation_data yields whole batches")
    parts = data if arrays and isinstance(data, (tuple, list)) else (data,)
    try:
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"expected (x, y) or (x, y, sample_weight), got {len(parts)} entries")
        settings: dict[str, Any] = {"batch_size": batch_size, "stateful": stateful} if arrays else {}
        adapter = make_adapter(*parts, several=several, steps=steps, steps_name="validation_steps", **settings)
        if len(parts) == 1 and arrays and needs_targets:
            raise ValueError("expected (x, y) or (x, y, sample_weight), got only x")
        return adapter
    except (TypeError, ValueError) as error:
        prefix = "" if str(error).startswith("validation_") else "validation_data: "
        raise type(error)(f"{prefix}{error}") from None
