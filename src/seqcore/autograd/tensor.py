"""Tensor, Variable and IndexedSlices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._pickling import Pickled
from .._validation import NUMBERS, as_dtype, boolean, check_fits, first_element, is_array, plain_array, short_repr
from ..typing import Array
from .dtypes import float_dtype
from .staleness import Cached, mark_stale


class Tensor(Pickled):
    """An array that a :class:`GradientTape` can follow.

    Args:
        value: anything ``np.asarray`` takes; Python numbers and lists become ``floatx``, integer and boolean arrays
            keep their type.
        dtype: type of the result.

    ``mask`` ((batch, time) bool) and ``lengths`` ((batch,) int) go with a sequence from layer to layer.

    >>> x = Tensor([1.0, 2.0])
    >>> (2 * x + 1).numpy()
    array([3., 5.], dtype=float32)
    """

    __slots__ = ("_array", "mask", "lengths", "__weakref__")
    _pickle_family = "tensor"
    __array_priority__ = 1000.0

    _array: Array
    mask: Array | None
    lengths: Array | None

    def __init__(self, value: Any, dtype: DTypeLike | None = None) -> None:
        self._array = as_array(value, dtype)
        self.mask = None
        self.lengths = None

    def numpy(self) -> Array:
        """The values as an array. It shares memory with the tensor; a sequence may come as a time-major view."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy:
            return np.array(self._array, dtype=dtype)
        return np.asarray(self._array, dtype=dtype)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterable[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a tensor without axes")
        return (self[i] for i in range(len(self)))  # type: ignore[index]  # ops adds __getitem__

    def __float__(self) -> float:
        return float(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __bool__(self) -> bool:
        return bool(self._array)

    def __format__(self, spec: str) -> str:
        return format(self._array.item() if self.size == 1 and spec else self._array, spec)

    def item(self) -> Any:
        return self._array.item()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape={self.shape} dtype={self.dtype.name} numpy={self._array!r}>"


class Variable(Tensor):
    """A tensor with a name that an optimizer may change.

    Args:
        value: initial values; copied.
        trainable: whether tapes follow it without ``watch``.
        name: shown in summaries and files.
        dtype: type of the values; floats default to ``floatx`` unless ``value`` is an array with a float type.

    ``assign`` writes in place and counts up ``version``, so that packed weights and recorded operations made from the
    old values are noticed. ``numpy()`` copies.

    >>> w = Variable([1.0, 2.0], name="w")
    >>> _ = w.assign_add([1.0, 1.0])
    >>> w.numpy()
    array([2., 3.], dtype=float32)
    """

    __slots__ = ("name", "_trainable", "version", "sparse", "_dependents")

    _dependents: tuple[Cached, ...]

    def __init__(
        self, value: Any, trainable: bool = True, name: str = "variable", dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(value, dtype)
        self._array = np.array(self._array, order="C")
        self.name = name
        self._trainable = boolean("trainable", trainable)
        self._dependents = ()
        self.version = 0
        # Tables whose gradients touch few rows are outside the flat parameters of a model.
        self.sparse = False

    @property
    def trainable(self) -> bool:
        """True where tapes follow the variable without ``watch``."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        trainable = boolean("trainable", value)
        if trainable is not self._trainable:
            self._trainable = trainable
            mark_stale(self)

    def numpy(self) -> Array:
        return np.array(self._array)

    def assign(self, value: Any) -> Variable:
        """Write ``value`` (same shape) in place; returns the variable."""
        new = plain_array("value", value)
        if new.shape != self.shape:
            raise ValueError(f"value: expected shape {self.shape} for variable {self.name!r}, got {new.shape}")
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"value: expected numbers of type {self.dtype.name} for variable {self.name!r}, got {new.dtype}"
            )
        check_fits("value", new, self.dtype)
        self._array[...] = new
        self.version += 1
        return self

    def assign_add(self, delta: Any) -> Variable:
        return self.assign(self._array + self._change(delta))

    def assign_sub(self, delta: Any) -> Variable:
        return self.assign(self._array - self._change(delta))

    def _change(self, delta: Any) -> Array:
        """A change as an array, for float variables in their type."""
        return as_array(delta, self.dtype if self.dtype.kind == "f" else None, "delta")

    def _move(self, array: Array) -> None:
        """Make ``array`` (same shape, part of the flat parameters of a model) the storage of the values."""
        array[...] = self._array
        self._array = array
        mark_stale(self)

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} shape={self.shape} dtype={self.dtype.name} numpy={self._array!r}>"


class IndexedSlices(Pickled):
    """A gradient that is zero outside a few rows, or columns.

    Args:
        values: (N, ...) float array, one slice per index.
        indices: (N,) int64 array of row numbers; the slices of duplicates are summed.
        shape: shape of the dense array.
        axis: 1 for the columns of a matrix, whose numbers ``indices`` then holds.

    ``np.asarray`` makes it dense.
    """

    # `_sorted_indices`: the indices if they are known to be sorted and unique; the kernels' are, and need no check.
    __slots__ = ("values", "indices", "shape", "axis", "_sorted_indices")
    _pickle_family = "slices"

    def __init__(self, values: Array, indices: Array, shape: Sequence[int], axis: int = 0) -> None:
        shape = tuple(shape)
        if axis not in (0, 1) or (axis and len(shape) != 2):
            raise ValueError(f"axis: expected 0, or 1 for a matrix, got {axis!r} for shape {shape}")
        self.values, self.indices = np.asarray(values), np.asarray(indices, np.int64)
        self.shape, self.axis = shape, axis
        self._sorted_indices: Array | None = None
        expected = (len(self.indices), *(shape[:1] if axis else shape[1:]))
        if self.values.shape != expected:
            raise ValueError(f"values: expected shape {expected}, got {self.values.shape}")

    @classmethod
    def from_sorted(cls, values: Array, indices: Array, shape: tuple[int, ...], axis: int = 0) -> IndexedSlices:
        """Slices from contiguous values and unique, ascending int64 indices, as the kernels make them; unchecked."""
        self = cls.__new__(cls)
        self.values, self.indices, self.shape, self.axis = values, indices, shape, axis
        # Nobody shall write into an array that is known to be sorted.
        indices.flags.writeable = False
        self._sorted_indices = indices
        return self

    @property
    def is_sorted_unique(self) -> bool:
        """True where the indices are known to be unique and ascending."""
        return self._sorted_indices is self.indices

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def numpy(self) -> Array:
        return np.asarray(self)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        dense = np.zeros(self.shape, dtype or self.values.dtype)
        np.add.at(slice_view(dense, self.axis), self.indices, self.values)
        return dense

    def unique(self) -> IndexedSlices:
        """The same gradient with ascending indices and duplicates summed in order of appearance."""
        if self.is_sorted_unique:
            return self
        indices, inverse = np.unique(self.indices, return_inverse=True)
        if len(indices) == len(self.indices) and np.array_equal(indices, self.indices):
            return self
        values = np.zeros((len(indices), *self.values.shape[1:]), self.dtype)
        np.add.at(values, inverse, self.values)
        return IndexedSlices(values, indices, self.shape, self.axis)

    def with_values(self, values: Array) -> IndexedSlices:
        """Slices with other values at the same indices."""
        slices = IndexedSlices(values, self.indices, self.shape, self.axis)
        slices._sorted_indices = self._sorted_indices
        return slices

    def __repr__(self) -> str:
        lines = "columns" if self.axis else "rows"
        return f"<IndexedSlices {lines}={len(self.indices)} shape={self.shape} dtype={self.dtype.name}>"


def slice_view(array: Array, axis: int) -> Array:
    """A view of ``array`` whose rows are the slices along ``axis``, as :class:`IndexedSlices` counts them."""
    return array.T if axis else array


def unchecked_tensor(array: Array) -> Tensor:
    """``Tensor(array)`` for an array of numbers, without any check."""
    self = Tensor.__new__(Tensor)
    self._array = array
    self.mask = self.lengths = None
    return self


def tensor_mask(x: Any) -> Array | None:
    """The mask of a tensor, or the one implied by its lengths; None for anything else."""
    if not isinstance(x, Tensor) or x.lengths is None:
        return x.mask if isinstance(x, Tensor) else None
    return np.asarray(np.arange(x.shape[1]) < np.asarray(x.lengths)[:, None])


Gradient = Array | IndexedSlices | None


def as_array(value: Any, dtype: DTypeLike | None = None, name: str = "value") -> Array:
    """``value`` as an array: tensors give theirs, Python numbers and lists of floats become ``floatx``.

    Args:
        value: anything ``np.asarray`` takes.
        dtype: type of the result.
        name: of the argument, for errors.

    Raises:
        TypeError: for values without numbers, and for masked arrays, whose masks would be lost.
        ValueError: for ragged lists, and for a ``dtype`` that is not a type of numbers.
    """
    if type(value) is np.ndarray:
        array = value
    elif isinstance(value, Tensor):
        array = value._array
    elif isinstance(value, IndexedSlices):
        array = np.asarray(value)
    else:
        array = plain_array(name, value)
        first = first_element(value)
        if dtype is None and array.dtype == np.float64 and not hasattr(first, "dtype") and not is_array(first):
            array = array.astype(float_dtype(None))
    if array.dtype.kind not in NUMBERS:
        raise TypeError(f"{name}: expected numbers, got {_described(value, array.dtype)}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if dtype is None or array.dtype is dtype:
        return array
    dtype = as_dtype("dtype", dtype, NUMBERS)
    return array if array.dtype == dtype else array.astype(dtype)


def _described(value: Any, dtype: np.dtype[Any]) -> str:
    """Description of a value given in the place of numbers, for an error."""
    if dtype.kind == "O" and isinstance(value, np.ndarray):
        odd = next((item for item in value.flat if not isinstance(item, (int, float))), None)
        return f"an array of objects such as {short_repr(odd)}"
    words = "strings" if dtype.kind in "US" else f"type {dtype}"
    return short_repr(value) if np.ndim(value) == 0 else f"{type(value).__name__} of {words}"
