"""A small tape over coarse operations: Tensor, Variable, IndexedSlices, GradientTape.

One operation is a whole layer call or a whole array operation, so the tape holds tens of nodes, not thousands. An
operation computes its result with NumPy or ``_core`` and calls :func:`record` with a function that maps the gradients
of its outputs to the gradients of its inputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._validation import (
    NUMBERS,
    as_dtype,
    boolean,
    check_fits,
    default_only,
    first_element,
    is_array,
    refuse_masked,
    short_repr,
)

Array = NDArray[Any]

_settings = {"floatx": np.dtype(np.float32)}


def floatx() -> str:
    """Name of the floating-point type that layers use where no ``dtype=`` is given.

    >>> floatx()
    'float32'
    """
    return str(_settings["floatx"].name)


def set_floatx(dtype: DTypeLike) -> None:
    """Sets the default floating-point type, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: for any other type.
    """
    _settings["floatx"] = as_dtype("dtype", dtype)


def float_dtype(dtype: DTypeLike | None) -> np.dtype[Any]:
    """The NumPy type of a ``dtype=`` argument; ``None`` is :func:`floatx`."""
    return _settings["floatx"] if dtype is None else as_dtype("dtype", dtype)


class Tensor:
    """An array that a :class:`GradientTape` can follow.

    Args:
        value: anything ``np.asarray`` takes; Python numbers and lists become ``floatx``, integer and boolean arrays
            keep their type.
        dtype: type of the result.

    ``mask`` ((batch, time) bool) and ``lengths`` ((batch,) int) ride along with a sequence from layer to layer.

    >>> x = Tensor([1.0, 2.0])
    >>> (2 * x + 1).numpy()
    array([3., 5.], dtype=float32)
    """

    __slots__ = ("_array", "mask", "lengths", "__weakref__")
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

    ``assign`` writes in place and marks the variable as changed (``version``): what was prepared from the old values (a
    packed weight, a recorded operation) then knows. ``numpy()`` copies.

    >>> w = Variable([1.0, 2.0], name="w")
    >>> _ = w.assign_add([1.0, 1.0])
    >>> w.numpy()
    array([2., 3.], dtype=float32)
    """

    __slots__ = ("name", "trainable", "version", "sparse")

    def __init__(
        self, value: Any, trainable: bool = True, name: str = "variable", dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(value, dtype)
        self._array = np.array(self._array, order="C")
        self.name = name
        self.trainable = boolean("trainable", trainable)
        self.version = 0
        # Tables whose gradients touch few rows stand beside the arena of a model, not in it.
        self.sparse = False

    def numpy(self) -> Array:
        return np.array(self._array)

    def assign(self, value: Any) -> Variable:
        """Writes ``value`` (same shape) in place."""
        refuse_masked("value", value)
        new = value._array if isinstance(value, Tensor) else _foreign_array("value", value)
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
        """A change as an array; that of floats has their type before it is added."""
        return as_array(delta, self.dtype if self.dtype.kind == "f" else None, "delta")

    def _move(self, home: Array) -> None:
        """Makes ``home`` (same shape, part of an arena) the storage of the values."""
        home[...] = self._array
        self._array = home

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} shape={self.shape} dtype={self.dtype.name} numpy={self._array!r}>"


class IndexedSlices:
    """A gradient that is zero outside a few rows, or columns.

    Args:
        values: (N, ...) float array, one slice per index.
        indices: (N,) int64 array of row numbers; duplicates mean a sum.
        shape: shape of the dense array.
        axis: 1 for the columns of a matrix, whose numbers ``indices`` then holds.

    ``np.asarray`` makes it dense.
    """

    # `_rising`: the indices if they are known to rise, so that what a kernel made need not be looked at again.
    __slots__ = ("values", "indices", "shape", "axis", "_rising")

    def __init__(self, values: Array, indices: Array, shape: Sequence[int], axis: int = 0) -> None:
        shape = tuple(shape)
        if axis not in (0, 1) or (axis and len(shape) != 2):
            raise ValueError(f"axis: expected 0, or 1 for a matrix, got {axis!r} for shape {shape}")
        self.values, self.indices = np.asarray(values), np.asarray(indices, np.int64)
        self.shape, self.axis = shape, axis
        self._rising: Array | None = None
        expected = (len(self.indices), *(shape[:1] if axis else shape[1:]))
        if self.values.shape != expected:
            raise ValueError(f"values: expected shape {expected}, got {self.values.shape}")

    @classmethod
    def of_kernel(cls, values: Array, indices: Array, shape: tuple[int, ...], axis: int = 0) -> IndexedSlices:
        """What a kernel made: contiguous values, different int64 indices in rising order; nothing is checked."""
        self = cls.__new__(cls)
        self.values, self.indices, self.shape, self.axis = values, indices, shape, axis
        # Nobody writes other numbers into the array that is known to rise.
        indices.flags.writeable = False
        self._rising = indices
        return self

    @property
    def rises(self) -> bool:
        """Whether the indices are known to be different and in rising order."""
        return self._rising is self.indices

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def numpy(self) -> Array:
        return np.asarray(self)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        dense = np.zeros(self.shape, dtype or self.values.dtype)
        np.add.at(slices_of(dense, self.axis), self.indices, self.values)
        return dense

    def unique(self) -> IndexedSlices:
        """The same gradient with ascending indices and duplicates summed in order of appearance."""
        if self.rises:
            return self
        indices, inverse = np.unique(self.indices, return_inverse=True)
        if len(indices) == len(self.indices) and np.array_equal(indices, self.indices):
            return self
        values = np.zeros((len(indices), *self.values.shape[1:]), self.dtype)
        np.add.at(values, inverse, self.values)
        return IndexedSlices(values, indices, self.shape, self.axis)

    def __repr__(self) -> str:
        lines = "columns" if self.axis else "rows"
        return f"<IndexedSlices {lines}={len(self.indices)} shape={self.shape} dtype={self.dtype.name}>"


def slices_of(array: Array, axis: int) -> Array:
    """A view of ``array`` whose rows are the slices that an :class:`IndexedSlices` of that axis names."""
    return array.T if axis else array


def tensor_of(array: Array) -> Tensor:
    """``Tensor(array)`` for what is known to be an array of numbers; nothing is checked."""
    self = Tensor.__new__(Tensor)
    self._array = array
    self.mask = self.lengths = None
    return self


Gradient = Array | IndexedSlices | None
Backward = Callable[..., Sequence[Gradient]]


def as_array(value: Any, dtype: DTypeLike | None = None, name: str = "value") -> Array:
    """``value`` as an array: tensors give theirs, Python numbers and lists of floats become ``floatx``.

    Args:
        value: anything ``np.asarray`` takes.
        dtype: type of the result.
        name: of the argument, for errors.

    Raises:
        TypeError: for what holds no numbers, and for masked arrays, whose masks would be lost.
        ValueError: for ragged lists, and for a ``dtype`` that is no type of numbers.
    """
    if type(value) is np.ndarray:
        array = value
    elif isinstance(value, Tensor):
        array = value._array
    elif isinstance(value, IndexedSlices):
        array = np.asarray(value)
    else:
        refuse_masked(name, value)
        array = _foreign_array(name, value)
        first = first_element(value)
        if dtype is None and array.dtype == np.float64 and not hasattr(first, "dtype") and not is_array(first):
            array = array.astype(_settings["floatx"])
    if array.dtype.kind not in NUMBERS:
        raise TypeError(f"{name}: expected numbers, got {_kind_of(value, array.dtype)}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if dtype is None or array.dtype is dtype:
        return array
    dtype = as_dtype("dtype", dtype, NUMBERS)
    return array if array.dtype == dtype else array.astype(dtype)


def _kind_of(value: Any, dtype: np.dtype[Any]) -> str:
    """What stands where numbers were expected, for an error."""
    if dtype.kind == "O" and isinstance(value, np.ndarray):
        odd = next((item for item in value.flat if not isinstance(item, (int, float))), None)
        return f"an array of objects such as {short_repr(odd)}"
    words = "strings" if dtype.kind in "US" else f"type {dtype}"
    return short_repr(value) if np.ndim(value) == 0 else f"{type(value).__name__} of {words}"


def _foreign_array(name: str, value: Any) -> Array:
    """``value`` of Python or another library as an array; types that only that library knows are widened to float32."""
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length, got a ragged {type(value).__name__}") from None
    except (TypeError, RuntimeError, BufferError) as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"{name}: expected numbers, got a {type(value).__name__} that NumPy cannot read: {reason}"
        ) from None
    if array.dtype.kind == "V" and np.can_cast(array.dtype, np.float32):
        return array.astype(np.float32)
    return array


# One recorded operation: its outputs, its inputs, the function for its way back, and the versions of those inputs that
# are variables (None for the others). A plain tuple, since one is made at every call of a layer.
_Node = tuple[Sequence[Tensor], Sequence[Any], Backward, list[int | None]]


class _Local(threading.local):
    """Tapes that record in this thread, and where the gradients of a model's variables shall be written."""

    def __init__(self) -> None:
        self.tapes: list[GradientTape] = []
        self.homes: dict[int, Array] = {}


_local = _Local()


def is_recording(inputs: Iterable[Any]) -> bool:
    """Whether some active tape follows one of ``inputs``, so that an operation must keep what its way back needs."""
    for tape in _local.tapes:
        tracked = tape._tracked
        for x in inputs:
            # Tape._follows, without the call.
            if id(x) in tracked or (type(x) is Variable and x.trainable):
                return True
    return False


def record(outputs: Sequence[Tensor], inputs: Sequence[Any], backward: Backward) -> None:
    """Notes an operation on every active tape that follows one of its inputs.

    Args:
        outputs: the tensors it made.
        inputs: what it was made from; the gradients come back in this order. Entries that are no tensors are allowed
            and get no gradient.
        backward: called with one gradient (array or None) per output, returns one gradient (array, IndexedSlices or
            None) per input. It may write the gradient of a variable into :func:`gradient_home`.

    ``outputs`` and ``inputs`` are kept as they are.
    """
    node: _Node | None = None
    for tape in _local.tapes:
        tracked = tape._tracked
        for x in inputs:
            if id(x) in tracked or (type(x) is Variable and x.trainable):
                if node is None:
                    versions = [one.version if type(one) is Variable else None for one in inputs]
                    node = outputs, inputs, backward, versions
                tape._add(node)
                break


@contextmanager
def stop_recording() -> Iterator[None]:
    """Inside, no tape of this thread records anything."""
    tapes, _local.tapes = _local.tapes, []
    try:
        yield
    finally:
        _local.tapes = tapes


def has_gradient_homes() -> bool:
    """Whether some variable has a :func:`gradient_home` now."""
    return bool(_local.homes)


def gradient_home(variable: Any) -> Array | None:
    """Where the gradient of ``variable`` should be written, or None for a new array.

    Each home is handed out once per way back: a variable used twice gets a new array the second time, and the sum is
    moved into the home at the end.
    """
    return _local.homes.pop(id(variable), None)


def taken(fresh: list[Any]) -> Any:
    """Removes and returns the entry of ``fresh``, or returns None: of several threads, one gets it."""
    try:
        return fresh.pop()
    except IndexError:
        return None


class GradientTape:
    """Records the operations on trainable variables and watched tensors, and computes gradients.

    Args:
        persistent: allows more than one call of :meth:`gradient`.
        watch_accessed_variables: accepted as True alone.

    >>> w = Variable(3.0)
    >>> with GradientTape() as tape:
    ...     loss = w * w
    >>> float(tape.gradient(loss, w))
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        if watch_accessed_variables is not True:
            default_only(
                "watch_accessed_variables",
                watch_accessed_variables,
                True,
                "trainable=False keeps a variable off all tapes",
            )
        self._persistent = persistent if persistent is False else boolean("persistent", persistent)
        self._nodes: list[_Node] = []
        self._tracked: set[int] = set()
        self._watched: list[Tensor] = []
        # Emptied by the first call of gradient.
        self._unused = [True]

    def __enter__(self) -> GradientTape:
        if self in _local.tapes:
            raise RuntimeError("GradientTape: this tape is recording already")
        _local.tapes.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _local.tapes.remove(self)

    def watch(self, tensor: Tensor | Iterable[Tensor]) -> None:
        """Follows ``tensor`` (or each of several) although it is no trainable variable."""
        for one in (tensor,) if isinstance(tensor, Tensor) else list(tensor):
            if not isinstance(one, Tensor):
                raise TypeError(f"tensor: expected a Tensor, got {type(one).__name__}; wrap arrays with Tensor(...)")
            self._watched.append(one)
            self._tracked.add(id(one))

    def _follows(self, x: Tensor) -> bool:
        return id(x) in self._tracked or (type(x) is Variable and x.trainable)

    def _add(self, node: _Node) -> None:
        # The node holds its outputs, so an id in the set stays theirs as long as the tape lives.
        self._nodes.append(node)
        for out in node[0]:
            self._tracked.add(id(out))

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: str = "none"
    ) -> Any:
        """Gradients of ``target`` with respect to ``sources``.

        Args:
            target: a tensor, or a list of tensors whose sum is meant.
            sources: a tensor or variable, or a (nested) list or dict of them.
            output_gradients: gradient of each target (same shape), ones by default.
            unconnected_gradients: "none", or "zero" for zeros where the target does not depend on the source.

        Returns:
            In the structure of ``sources``: a Tensor, an :class:`IndexedSlices`, or None where the target does not
            depend on the source.

        Raises:
            RuntimeError: on a second call without ``persistent=True``, for a weight that was changed after it was used,
                and for gradients of gradients.
        """
        if unconnected_gradients not in ("none", "zero"):
            raise ValueError(f"unconnected_gradients: expected 'none' or 'zero', got {unconnected_gradients!r}")
        flat: Any = sources
        flat_already = isinstance(sources, (list, tuple)) and _are_tensors(sources)
        if not flat_already:
            flat = []
            _flatten(sources, flat)
            if not _are_tensors(flat):
                wrong = next(one for one in flat if not isinstance(one, Tensor))
                raise TypeError(f"sources: expected Tensors and Variables, got {type(wrong).__name__}")
        targets = target if isinstance(target, (list, tuple)) else (target,)
        given = output_gradients
        if not isinstance(given, (list, tuple)):
            given = (given,) * len(targets)
        if len(given) != len(targets):
            raise ValueError(f"output_gradients: expected {len(targets)} gradients, one per target, got {len(given)}")
        found = self._run(targets, given, flat)
        results = [tensor_of(g) if isinstance(g, np.ndarray) else g for g in found]
        if unconnected_gradients == "zero":
            results = [Tensor(np.zeros_like(x._array)) if g is None else g for g, x in zip(results, flat, strict=True)]
        for tape in _local.tapes:
            if tape is not self and any(map(tape._follows, targets)):
                dense = tuple(g for g in results if isinstance(g, Tensor))
                tape._add((dense, tuple(flat), _refuse_second_order, [None] * len(flat)))
        return results if flat_already else _unflatten(sources, iter(results))

    def gradient_into(self, target: Tensor, homes: Sequence[tuple[Variable, Array | None]]) -> list[Gradient]:
        """Like :meth:`gradient` for a model's variables, each written into its home (part of a gradient arena).

        A variable that the target does not depend on leaves its home zero. The home None, and a gradient that touches
        few rows, give what :meth:`gradient` would give as an array.
        """
        _local.homes = {id(v): home for v, home in homes if home is not None}
        try:
            found = self._run([target], [None], [v for v, _ in homes])
        finally:
            _local.homes = {}
        for i, (_, home) in enumerate(homes):
            if home is not None and found[i] is not home:
                home[...] = 0 if found[i] is None else np.asarray(found[i])
                found[i] = home
        return found

    def _run(self, targets: Sequence[Any], given: Sequence[Any], sources: Sequence[Tensor]) -> list[Gradient]:
        if not self._unused and not self._persistent:
            raise _used_up()
        gradients: dict[int, Gradient] = {}
        for one, dy in zip(targets, given):
            if not isinstance(one, Tensor):
                hint = "; functions of NumPy leave the tape, those of seqcore.ops stay on it"
                numbers = isinstance(one, (np.ndarray, np.generic))
                raise TypeError(f"target: expected a Tensor, got {type(one).__name__}{hint if numbers else ''}")
            array = one._array
            if dy is None:
                dy = np.ones(array.shape, array.dtype) if array.ndim else np.array(1, array.dtype)
            elif type(dy) is not np.ndarray or dy.dtype is not array.dtype:
                dy = as_array(dy, array.dtype)
            if dy.shape != array.shape:
                raise ValueError(f"output_gradients: expected shape {one.shape}, got {dy.shape}")
            before = gradients.get(id(one))
            gradients[id(one)] = dy if before is None else add_gradients(before, dy)
        kept = set(map(id, sources))
        tracked = self._tracked
        if not taken(self._unused) and not self._persistent:
            raise _used_up()
        for outputs, inputs, backward, versions in reversed(self._nodes):
            dys = []
            reached = False
            for out in outputs:
                key = id(out)
                gradient = gradients.get(key) if key in kept else gradients.pop(key, None)
                reached = reached or gradient is not None
                dys.append(gradient)
            if not reached:
                continue
            for variable, version in zip(inputs, versions):
                if version is not None and variable.version != version:
                    raise RuntimeError(
                        f"GradientTape: variable {variable.name!r} was changed after the operation that used it; "
                        "call gradient before assigning to it"
                    )
            for x, dx in zip(inputs, backward(*dys)):
                if dx is None:
                    continue
                key = id(x)
                if key in tracked or (type(x) is Variable and x.trainable):
                    before = gradients.get(key)
                    gradients[key] = dx if before is None else add_gradients(before, dx)
        if not self._persistent:
            self._nodes.clear()
        return list(map(gradients.get, map(id, sources)))


def add_gradients(a: Gradient, b: Gradient) -> Gradient:
    """The sum of two gradients, either of which may be None or touch few rows."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, IndexedSlices) and isinstance(b, IndexedSlices) and a.axis == b.axis:
        joined = np.concatenate([a.values, b.values]), np.concatenate([a.indices, b.indices])
        return IndexedSlices(*joined, a.shape, a.axis).unique()
    return np.asarray(np.add(np.asarray(a), np.asarray(b)))


def _used_up() -> RuntimeError:
    return RuntimeError("GradientTape: gradient was called already; use GradientTape(persistent=True) to call it again")


def _refuse_second_order(*_: Gradient) -> Sequence[Gradient]:
    raise RuntimeError("GradientTape: gradients of gradients are not supported")


def _are_tensors(values: Iterable[Any]) -> bool:
    """Whether all of them are; a loop, since a generator costs more than the few there are."""
    for one in values:
        if not isinstance(one, Tensor):
            return False
    return True


def _flatten(structure: Any, flat: list[Any]) -> None:
    if isinstance(structure, (list, tuple)):
        for one in structure:
            _flatten(one, flat)
    elif isinstance(structure, dict):
        for one in structure.values():
            _flatten(one, flat)
    else:
        flat.append(structure)


def _unflatten(structure: Any, values: Any) -> Any:
    if isinstance(structure, (list, tuple)):
        return [_unflatten(one, values) for one in structure]
    if isinstance(structure, dict):
        return {key: _unflatten(one, values) for key, one in structure.items()}
    return next(values)
