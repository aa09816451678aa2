"""Batches for training and evaluation, cut from arrays or taken from the caller's iterable, with everything checked.

B: batch, T: time steps, N: rows of the whole data.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import random
from ._validation import at_least
from .autograd import Tensor, Variable, as_array
from .layers.base import as_lengths

Array = NDArray[Any]


class Batch(NamedTuple):
    """One step's data. ``x``: a Tensor (lengths and mask on it) or a list of them; ``y``, ``weight``: array or None."""

    x: Any
    y: Any
    weight: Array | None

    @property
    def size(self) -> int:
        return int((self.x[0] if isinstance(self.x, list) else self.x).shape[0])


def _rows(name: str, value: Any) -> Array | Tensor:
    """``value`` as numbers with at least one axis."""
    try:
        array = value if isinstance(value, (Tensor, np.ndarray)) else as_array(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, got {type(value).__name__} that is none ({error})") from None
    except TypeError as error:
        raise TypeError(f"{name}: expected an array of numbers, got {type(value).__name__} ({error})") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected an array of numbers, got {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name}: expected an array with a batch axis, got a single number")
    return array


def as_inputs(value: Any) -> Any:
    """Input of a model: one array or, for models with several inputs, a list of arrays."""
    if isinstance(value, dict):
        raise TypeError("x: expected an array or a list of arrays, got a dict")
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, (np.ndarray, Tensor)) for one in value):
        return [_rows("x", one) for one in value]
    return _rows("x", value)


def _tensor(value: Any, lengths: Array | None = None, mask: Array | None = None) -> Tensor:
    """A tensor of the caller's array; a tensor stays itself unless lengths are added."""
    if isinstance(value, Tensor) and lengths is None and mask is None:
        return value
    tensor = Tensor(value)
    tensor.lengths, tensor.mask = lengths, mask
    return tensor


def make_batch(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    lengths: Any = None,
) -> Batch:
    """Checked data of one step as the caller gave them."""
    inputs = as_inputs(x)
    first = inputs[0] if isinstance(inputs, list) else inputs
    rows = first.shape[0]
    if rows == 0:
        raise ValueError(f"x: expected at least one row, got shape {first.shape}")
    target = None if y is None else _rows("y", y)
    weight = None if sample_weight is None else np.asarray(_rows("sample_weight", sample_weight))
    for name, value in (("y", target), ("sample_weight", weight)):
        if value is not None and value.shape[0] != rows:
            raise ValueError(f"{name}: expected {rows} rows as in x, got shape {value.shape}")
    if isinstance(inputs, list):
        for one in inputs:
            if one.shape[0] != rows:
                raise ValueError(f"x: expected inputs with the same number of rows, got {rows} and {one.shape[0]}")
    if class_weight is not None:
        weight = _class_weights(class_weight, target, weight)
    found = None if lengths is None else as_lengths(lengths, first.shape)
    if isinstance(inputs, list):
        return Batch([_tensor(one, found) for one in inputs], target, weight)
    return Batch(_tensor(inputs, found), target, weight)


def _class_weights(class_weight: Mapping[int, float], y: Any, weight: Array | None) -> Array:
    """Sample weights times the weight of each target's class (1 for classes that are not named)."""
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"class_weight: expected a dict class -> weight, got {type(class_weight).__name__}")
    if y is None:
        raise ValueError("class_weight: expected targets y to weight, got none")
    target = np.asarray(y)
    if target.dtype.kind == "f" and target.ndim > 1 and target.shape[-1] > 1:
        target = target.argmax(-1)
    elif target.ndim > 1 and target.shape[-1] == 1:
        target = target[..., 0]
    classes = target.astype(np.int64)
    table = np.ones(max(int(classes.max(initial=0)), *map(int, class_weight), 0) + 1)
    for number, value in class_weight.items():
        if int(number) != number or number < 0:
            raise ValueError(f"class_weight: expected class numbers from 0, got {number!r}")
        table[int(number)] = value
    found: Array = table[classes]
    if weight is None:
        return found
    return found * weight.reshape(weight.shape + (1,) * (found.ndim - weight.ndim))


class ArraySource:
    """Batches cut from arrays; a last smaller one where the rows do not divide.

    Args:
        x: (N, ...) array or Tensor (its ``lengths`` and ``mask`` are cut along), or a list of arrays.
        y, sample_weight: (N, ...) arrays or None.
        lengths: (N,) integers or None.
        batch_size: rows of a batch.
        shuffle: a new order each epoch, from the global generator.
        stateful: the model carries states from batch to batch: rows must divide evenly and stay in order.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        lengths: Any = None,
        batch_size: int | None = None,
        shuffle: bool = False,
        stateful: bool = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        self.batch_size = 32 if batch_size is None else at_least("batch_size", batch_size, 1)
        whole = make_batch(x, y, sample_weight, class_weight, lengths)
        self._several = isinstance(whole.x, list)
        self._x: list[Tensor] = whole.x if self._several else [whole.x]
        self._y, self._weight = whole.y, whole.weight
        self.rows = whole.size
        for one in self._x:
            if isinstance(one, Variable):
                raise TypeError("x: expected data, got a Variable")
        if stateful and self.rows > self.batch_size and self.rows % self.batch_size:
            raise ValueError(
                f"batch_size: expected a divisor of the {self.rows} rows of x, since a stateful model keeps one state "
                f"per row of a batch, got {self.batch_size}"
            )
        self.steps: int | None = -(-self.rows // self.batch_size)
        self.once = self.exhausted = False
        self._shuffle = shuffle and not stateful

    def split(self, fraction: float) -> tuple[Any, Any]:
        """Arguments of the first part and of the last ``fraction`` of the rows: ((x, y, weight), (x, y, weight))."""
        if not 0 < fraction < 1:
            raise ValueError(f"validation_split: expected a number between 0 and 1, got {fraction!r}")
        border = int(self.rows * (1 - fraction))
        if not 0 < border < self.rows:
            raise ValueError(f"validation_split: expected rows on both sides, got {fraction!r} of {self.rows} rows")
        return self._cut(slice(0, border)), self._cut(slice(border, None))

    def _cut(self, rows: Any) -> Batch:
        parts = []
        for x in self._x:
            part = Tensor(x._array[rows])
            part.lengths = None if x.lengths is None else x.lengths[rows]
            part.mask = None if x.mask is None else x.mask[rows]
            parts.append(part)
        y = None if self._y is None else as_array(self._y)[rows]
        weight = None if self._weight is None else self._weight[rows]
        return Batch(parts if self._several else parts[0], y, weight)

    def __iter__(self) -> Iterator[Batch]:
        order = random.generator().permutation(self.rows) if self._shuffle else None
        for start in range(0, self.rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield self._cut(rows if order is None else order[rows])


class IterableSource:
    """Batches that the caller's iterable yields: x, (x, y) or (x, y, sample_weight); a Tensor x may carry ``lengths``.

    Args:
        data: an iterable, walked anew each epoch, or an object with ``__len__`` and ``__getitem__``; an iterator goes
            on where the last epoch ended.
        steps: batches per epoch; None means until the end.
        class_weight: class -> weight.
    """

    def __init__(self, data: Any, steps: int | None = None, class_weight: Mapping[int, float] | None = None) -> None:
        self._data, self._class_weight = data, class_weight
        self.exhausted = False
        self.once = isinstance(data, Iterator)
        self._running: Iterator[Any] | None = data if isinstance(data, Iterator) else None
        sized = not self.once and hasattr(data, "__len__")
        self._limit = steps
        self.steps: int | None = steps if steps is not None else len(data) if sized else None

    def _walk(self) -> Iterator[Any]:
        if hasattr(self._data, "__iter__"):
            return iter(self._data)
        return (self._data[i] for i in range(len(self._data)))

    def __iter__(self) -> Iterator[Batch]:
        if self._limit is None:
            items = self._running if self._running is not None else self._walk()
            for item in items:
                yield self._batch(item)
            return
        restarted = self._running is None
        self._running = self._walk() if self._running is None else self._running
        done = 0
        while done < self._limit:
            try:
                item = next(self._running)
            except StopIteration:
                if self.once or restarted:
                    self.exhausted = True
                    warnings.warn(
                        f"x: expected {self._limit} batches per epoch, got {done} before the data ended", stacklevel=2
                    )
                    return
                self._running, restarted = self._walk(), True
                continue
            done, restarted = done + 1, False
            yield self._batch(item)

    def _batch(self, item: Any) -> Batch:
        if not isinstance(item, tuple):
            return make_batch(item)
        if not 1 <= len(item) <= 3:
            raise ValueError(f"x: expected batches x, (x, y) or (x, y, sample_weight), got a tuple of {len(item)}")
        x, y, weight = (*item, None, None)[:3]
        return make_batch(x, y, weight, self._class_weight)


Source = ArraySource | IterableSource


def is_list_of_batches(data: Any) -> bool:
    """Whether ``data`` is a list of batches (x, y) or (x, y, sample_weight) of arrays."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(
            isinstance(one, tuple)
            and 2 <= len(one) <= 3
            and all(isinstance(part, (np.ndarray, Tensor)) for part in one)
            for one in data
        )
    )


def make_source(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    lengths: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    stateful: bool = False,
    class_weight: Mapping[int, float] | None = None,
    steps: int | None = None,
) -> Source:
    """The source of batches for what a user handed over as ``x``."""
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1):
        raise ValueError(f"steps: expected a positive number of batches, got {steps!r}")
    if (isinstance(x, (np.ndarray, Tensor, list, tuple, dict)) or np.isscalar(x)) and not is_list_of_batches(x):
        return ArraySource(
            x, y, sample_weight, lengths=lengths, batch_size=batch_size, shuffle=shuffle, stateful=stateful,
            class_weight=class_weight,
        )  # fmt: skip
    if not isinstance(x, Iterable) and not (hasattr(x, "__len__") and hasattr(x, "__getitem__")):
        raise TypeError(f"x: expected an array, a list of arrays or an iterable of batches, got {type(x).__name__}")
    for name, value in (("y", y), ("sample_weight", sample_weight), ("lengths", lengths), ("batch_size", batch_size)):
        if value is not None:
            raise ValueError(f"{name}: expected None where x yields whole batches, got {type(value).__name__}")
    return IterableSource(x, steps, class_weight)
