"""TensorFlow 2's names that the listings of the books use, over NumPy and the rest of the package.

A listing runs with ``tensorflow`` changed to ``seqcore.tf`` in its import lines; docs/guide/tensorflow.md has the table
of the names. Any other name is refused with an AttributeError.

>>> import seqcore.tf as tf
>>> tf.linalg.eigh(tf.ones([2, 2]))[0].numpy().round(6)
array([0., 2.], dtype=float32)
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from . import callbacks as _callbacks
from . import datasets as _datasets
from . import initializers as _initializers
from . import layers as _layers
from . import losses as _losses
from . import metrics as _metrics
from . import models as _models
from . import ops as _ops
from . import optimizers as _optimizers
from . import random as _random
from . import text as _text
from ._validation import (
    NUMBERS,
    as_dtype,
    boolean,
    check_fits,
    default_only,
    first_element,
    integer,
    real,
    short_repr,
)
from .autograd.dtypes import floatx
from .autograd.tape import GradientTape
from .autograd.tensor import IndexedSlices, Tensor, Variable, as_array
from .typing import Array

__all__ = [
    "GradientTape", "IndexedSlices", "Tensor", "Variable", "abs", "add", "cast", "clip_by_global_norm",
    "clip_by_norm", "clip_by_value", "concat", "constant", "data", "divide", "equal", "exp",
    "expand_dims", "float32", "float64", "gather", "greater", "greater_equal", "int32", "int64", "keras", "less",
    "less_equal", "linalg", "math", "matmul", "maximum", "minimum", "multiply", "negative", "nn", "norm", "not_equal",
    "ones", "ones_like", "pow", "random", "range", "reduce_max", "reduce_mean", "reduce_min", "reduce_sum", "reshape",
    "sigmoid", "split", "sqrt", "square", "squeeze", "stack", "subtract", "tanh", "transpose", "unstack", "where",
    "zeros", "zeros_like",
]  # fmt: skip

float32, float64, int32, int64 = (np.dtype(name) for name in ("float32", "float64", "int32", "int64"))

abs, add, divide, exp, maximum, minimum = _ops.abs, _ops.add, _ops.divide, _ops.exp, _ops.maximum, _ops.minimum
multiply, negative, pow, sqrt, square = _ops.multiply, _ops.negative, _ops.power, _ops.sqrt, _ops.square
subtract, sigmoid, tanh = _ops.subtract, _ops.sigmoid, _ops.tanh
equal, greater, greater_equal, less = _ops.equal, _ops.greater, _ops.greater_equal, _ops.less
less_equal, not_equal, where, cast, matmul = _ops.less_equal, _ops.not_equal, _ops.where, _ops.cast, _ops.matmul
concat, expand_dims, gather, reshape, split = _ops.concat, _ops.expand_dims, _ops.gather, _ops.reshape, _ops.split
squeeze, stack, transpose, unstack = _ops.squeeze, _ops.stack, _ops.transpose, _ops.unstack
ones, ones_like, zeros, zeros_like = _ops.ones, _ops.ones_like, _ops.zeros, _ops.zeros_like
reduce_max, reduce_mean, reduce_min, reduce_sum = _ops.reduce_max, _ops.reduce_mean, _ops.reduce_min, _ops.reduce_sum
clip_by_global_norm, clip_by_norm, clip_by_value = _ops.clip_by_global_norm, _ops.clip_by_norm, _ops.clip_by_value

_TENSORFLOW_1 = ("Session", "app", "compat", "contrib", "get_variable", "global_variables_initializer", "placeholder")


def _refusal(owner: str, name: str, offered: Sequence[str]) -> AttributeError:
    """The error for a name that is not here, with the closest one that is."""
    close = difflib.get_close_matches(name, offered, 1, 0.75)
    hint = f"did you mean {close[0]!r}?" if close else f"dir({owner}) lists them"
    if name in _TENSORFLOW_1:
        hint = "it belongs to TensorFlow 1; operations run at once here, as in TensorFlow 2"
    return AttributeError(f"{owner}: expected one of the names that seqcore offers, got {name!r}; {hint}")


class _Names(type):
    """The type of the name spaces: a name that is missing is refused."""

    def __dir__(cls) -> list[str]:
        return sorted(name for name in vars(cls) if not name.startswith("_"))

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            raise _refusal(f"tf.{cls.__qualname__}", name, dir(cls))


# --- tensors ---------------------------------------------------------------------------------------------------------


def constant(value: Any, dtype: DTypeLike | None = None, shape: int | Sequence[int] | None = None) -> Tensor:
    """A tensor of given values; Python's integers become int32, its floats ``floatx``.

    Args:
        value: a number, nested lists, an array or a tensor.
        dtype: type of the result, which must hold the values; None keeps that of an array.
        shape: of the result, which a single value fills.

    >>> constant([1, 2]).dtype.name, constant(0.5, shape=[2]).numpy()
    ('int32', array([0.5, 0.5], dtype=float32))
    """
    array = as_array(value)
    if dtype is not None:
        check_fits("value", array, as_dtype("dtype", dtype, NUMBERS))
        array = as_array(value, dtype)
    elif array.dtype == np.int64 and not hasattr(first_element(value), "dtype"):
        array = array.astype(np.int32) if (array == array.astype(np.int32)).all() else array
    if shape is None:
        return Tensor(array)
    return _ops.reshape(np.broadcast_to(array, _ops.zeros(shape).shape) if array.size == 1 else array, shape)


def range(start: float, limit: float | None = None, delta: float = 1, dtype: DTypeLike | None = None) -> Tensor:
    """Numbers from ``start`` (0 if only one is given) below ``limit`` in steps of ``delta``; int32 for integers.

    >>> range(4).numpy(), range(1, 2, 0.5).numpy()
    (array([0, 1, 2, 3], dtype=int32), array([1. , 1.5], dtype=float32))
    """
    start, limit = (0, start) if limit is None else (start, limit)
    numbers = [real(name, value) for name, value in (("start", start), ("limit", limit), ("delta", delta))]
    if not numbers[2] or (numbers[1] - numbers[0]) * numbers[2] < 0:
        raise ValueError(f"delta: expected a step from {start} towards {limit}, got {delta}")
    if dtype is None:
        whole = all(np.asarray(value).dtype.kind in "iu" for value in (start, limit, delta))
        dtype = np.int32 if whole else floatx()
    return Tensor(np.arange(*numbers).astype(as_dtype("dtype", dtype, NUMBERS)))


def norm(tensor: Any, ord: str = "euclidean", axis: Any = None, keepdims: bool = False) -> Tensor:
    """Euclidean norm over ``axis``, of all elements by default; ``ord`` is accepted only as "euclidean".

    >>> float(norm([3.0, 4.0]))
    5.0
    """
    default_only("ord", ord, "euclidean", "the norm is the Euclidean one")
    return _ops.sqrt(_ops.reduce_sum(_ops.square(tensor), axis, keepdims))


class linalg(metaclass=_Names):
    """Linear algebra."""

    norm, matmul = norm, _ops.matmul

    @staticmethod
    def eigh(tensor: Any) -> tuple[Tensor, Tensor]:
        """Eigenvalues (..., M), ascending, and eigenvectors (..., M, M), in columns, of symmetric matrices.

        The lower triangles of ``tensor`` (..., M, M) are read; the results have no gradient.

        >>> linalg.eigh([[2.0, 0.0], [0.0, 1.0]])[0].numpy()
        array([1., 2.], dtype=float32)
        """
        array = as_array(tensor, name="tensor")
        if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
            raise ValueError(f"tensor: expected square matrices (..., M, M), got shape {array.shape}")
        values, vectors = np.linalg.eigh(array if array.dtype.kind == "f" else array.astype(floatx()))
        return Tensor(values), Tensor(vectors)


class math(metaclass=_Names):
    """Functions of numbers, elementwise or over axes; see :mod:`seqcore.ops`."""

    abs, add, divide, exp, log, maximum = _ops.abs, _ops.add, _ops.divide, _ops.exp, _ops.log, _ops.maximum
    minimum, multiply, negative, pow, sqrt = _ops.minimum, _ops.multiply, _ops.negative, _ops.power, _ops.sqrt
    square, subtract, sigmoid, tanh = _ops.square, _ops.subtract, _ops.sigmoid, _ops.tanh
    reduce_max, reduce_mean, reduce_min = _ops.reduce_max, _ops.reduce_mean, _ops.reduce_min
    reduce_sum = _ops.reduce_sum


class nn(metaclass=_Names):
    """Activations and sampled losses; see :mod:`seqcore.ops`."""

    relu, sigmoid, softmax, log_softmax = _ops.relu, _ops.sigmoid, _ops.softmax, _ops.log_softmax
    tanh, nce_loss, sampled_softmax_loss = _ops.tanh, _ops.nce_loss, _ops.sampled_softmax_loss


class random(metaclass=_Names):
    """Random tensors, drawn from seqcore's global generator: :func:`seqcore.set_seed` restarts them."""

    set_seed = _random.set_seed

    @staticmethod
    def normal(
        shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: DTypeLike | None = None, seed: None = None
    ) -> Tensor:
        """Normally distributed floats, ``floatx`` by default. ``seed`` is accepted only as None, here and below."""
        return _drawn(_initializers.RandomNormal(mean, stddev), shape, dtype, seed)

    @staticmethod
    def truncated_normal(
        shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: DTypeLike | None = None, seed: None = None
    ) -> Tensor:
        """Normally distributed values within two standard deviations of ``mean``."""
        return _drawn(_initializers.TruncatedNormal(mean, stddev), shape, dtype, seed)

    @staticmethod
    def uniform(
        shape: Any, minval: float = 0, maxval: float | None = None, dtype: DTypeLike | None = None, seed: None = None
    ) -> Tensor:
        """Numbers of equal probability, at least ``minval`` and below ``maxval``: 1 for floats, integers need one."""
        new = as_dtype("dtype", floatx() if dtype is None else dtype, NUMBERS)
        if new.kind == "f":
            return _drawn(_initializers.RandomUniform(minval, 1 if maxval is None else maxval), shape, new, seed)
        low, bounds = integer("minval", minval), np.iinfo(new)
        high = integer("maxval", maxval, low + 1, bounds.max + 1)
        return _drawn(lambda sizes, kind: _random.generator().integers(low, high, sizes, kind), shape, new, seed)

    @staticmethod
    def shuffle(value: Any, seed: None = None) -> Tensor:
        """The slices along the first axis in a random order."""
        default_only("seed", seed, None, _SEEDS)
        tensor = _ops.as_tensor(value)
        if not tensor.ndim:
            raise ValueError("value: expected at least one axis, got a single number")
        return _ops.gather(tensor, _random.generator().permutation(len(tensor)))


_SEEDS = "tf.random.set_seed seeds all random numbers"


def _drawn(draw: Callable[[tuple[int, ...], Any], Array], shape: Any, dtype: DTypeLike | None, seed: None) -> Tensor:
    default_only("seed", seed, None, _SEEDS)
    return Tensor(draw(_ops.zeros(shape).shape, as_dtype("dtype", floatx() if dtype is None else dtype, NUMBERS)))


# --- data sets -------------------------------------------------------------------------------------------------------


def _map(function: Callable[..., Any], *elements: Any) -> Any:
    """The function of elements that are arrays; of tuples of arrays the tuple of results."""
    if isinstance(elements[0], tuple):
        return tuple(_map(function, *parts) for parts in zip(*elements, strict=True))
    return function(*elements)


def _stack(*rows: Array) -> Array:
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise ValueError(f"batch: expected elements of one shape, got {shapes[0]} and {shapes[1]}; pad them before")
    return np.stack(rows)


def _batches(elements: Iterator[Any], size: int, whole: bool) -> Iterator[Any]:
    while rows := list(islice(elements, size)):
        if len(rows) == size or not whole:
            yield _map(_stack, *rows)


def _shuffled(elements: Iterator[Any], size: int, seed: np.int64) -> Iterator[Any]:
    """Elements drawn from a buffer, which the next one then fills up."""
    generator = np.random.default_rng(seed)
    buffer = list(islice(elements, size))
    for element in elements:
        place = int(generator.integers(size))
        drawn, buffer[place] = buffer[place], element
        yield drawn
    yield from (buffer[place] for place in generator.permutation(len(buffer)))


class data(metaclass=_Names):
    """Data sets that give their elements one after the other."""

    class Dataset:
        """Tensors, or tuples of them, anew in each pass; ``fit`` and ``evaluate`` take a data set of batches (x, y).

        Made by :meth:`from_tensor_slices`: ``start()`` begins a pass over ``size`` elements; None is without end.

        >>> numbers = data.Dataset.from_tensor_slices([1, 2, 3, 4, 5])
        >>> [batch.numpy().tolist() for batch in numbers.map(lambda x: 2 * x).batch(2)]
        [[2, 4], [6, 8], [10]]
        """

        def __init__(self, start: Callable[[], Iterator[Any]], size: int | None) -> None:
            self._start, self._size = start, size

        @staticmethod
        def from_tensor_slices(tensors: Any) -> data.Dataset:
            """The rows of an array, or of each array of a tuple.

            Raises:
                ValueError: arrays of different lengths, or without axes.
                TypeError: anything but numbers, such as lists of different lengths.
            """
            arrays = _map(lambda part: as_array(part, name="tensors"), tensors)
            shapes: list[tuple[int, ...]] = []
            _map(lambda array: shapes.append(array.shape), arrays)
            if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) != 1:
                raise ValueError(f"tensors: expected arrays of one length, got shapes {short_repr(shapes)}")
            size = shapes[0][0]
            return data.Dataset(lambda: (_map(lambda array, i=i: array[i], arrays) for i in np.arange(size)), size)

        def batch(self, batch_size: int, drop_remainder: bool = False) -> data.Dataset:
            """Arrays of ``batch_size`` elements; the last may be smaller, or is dropped."""
            size, whole = integer("batch_size", batch_size, 1), boolean("drop_remainder", drop_remainder)
            batches = None if self._size is None else self._size // size if whole else -(-self._size // size)
            return data.Dataset(lambda: _batches(self._start(), size, whole), batches)

        def shuffle(self, buffer_size: int, seed: None = None) -> data.Dataset:
            """Each next element drawn from ``buffer_size`` of them, anew in each pass; ``seed`` only as None."""
            default_only("seed", seed, None, _SEEDS)
            size = integer("buffer_size", buffer_size, 1)
            # A pass begins with its seed, so that an interrupted fit finds the same order again.
            return data.Dataset(lambda: _shuffled(self._start(), size, _random.generator().integers(2**63)), self._size)

        def map(self, map_func: Callable[..., Any]) -> data.Dataset:
            """``map_func`` of each element, whose tensors are its arguments."""
            if not callable(map_func):
                raise TypeError(f"map_func: expected a function, got {short_repr(map_func)}")

            def mapped(element: Any) -> Any:
                result = map_func(*_map(Tensor, element if isinstance(element, tuple) else (element,)))
                return _map(lambda part: as_array(part, name="map_func"), result)

            return data.Dataset(lambda: (mapped(element) for element in self._start()), self._size)

        def take(self, count: int) -> data.Dataset:
            """The first ``count`` elements; -1 takes all."""
            number = integer("count", count, -1)
            size = self._size if number < 0 else number if self._size is None else min(number, self._size)
            return data.Dataset(lambda: islice(self._start(), size), size)

        def repeat(self, count: int | None = None) -> data.Dataset:
            """The elements ``count`` times, without end by default (``fit`` then needs ``steps_per_epoch``)."""
            times = () if count is None else (integer("count", count, 0),)
            size = None if not times or self._size is None else self._size * times[0]
            return data.Dataset(lambda: chain.from_iterable(part._start() for part in repeat(self, *times)), size)

        def __iter__(self) -> Iterator[Any]:
            return (_map(Tensor, element) for element in self._start())

        def __len__(self) -> int:
            if self._size is None:
                raise ValueError(
                    "count: expected a number in repeat where data must end (or take(n), or steps), got None"
                )
            return self._size

        if not TYPE_CHECKING:

            def __getattr__(self, name: str) -> Any:
                raise _refusal("tf.data.Dataset", name, [name for name in vars(type(self)) if name[0] != "_"])


# --- Keras -----------------------------------------------------------------------------------------------------------


class keras(metaclass=_Names):
    """Keras's modules and models, as listings import them."""

    Model: TypeAlias = _models.Model
    Sequential: TypeAlias = _models.Sequential
    Input = _layers.Input
    callbacks, initializers, layers, losses = _callbacks, _initializers, _layers, _losses
    metrics, models, optimizers = _metrics, _models, _optimizers

    class utils(metaclass=_Names):
        """One-hot encoding, padding and the seed."""

        to_categorical, pad_sequences, set_random_seed = _text.to_categorical, _text.pad_sequences, _random.set_seed

    class preprocessing(metaclass=_Names):
        """Preprocessing of data."""

        class sequence(metaclass=_Names):
            """Preprocessing of sequences."""

            pad_sequences = _text.pad_sequences

    class datasets(metaclass=_Names):
        """Data sets; :mod:`seqcore.datasets` has more."""

        class imdb(metaclass=_Names):
            """Film reviews as ids of their words; ``SEQCORE_DATA`` names their folder, else they are downloaded."""

            load_data, get_word_index = _datasets.load_imdb_ids, _datasets.load_imdb_word_index


# As with os.path: ``from seqcore.tf.keras.layers import LSTM`` finds its module although this one is no package.
_MODULES = """keras keras.callbacks keras.datasets keras.datasets.imdb keras.initializers keras.layers keras.losses
    keras.metrics keras.models keras.optimizers keras.preprocessing keras.preprocessing.sequence keras.utils"""
sys.modules.update({f"{__name__}.{name}": attrgetter(name)(sys.modules[__name__]) for name in _MODULES.split()})

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _refusal("tf", name, __all__)


def __dir__() -> list[str]:
    return __all__
