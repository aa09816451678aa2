"""Checks of arguments: the value in its type, or one line "name: expected ..., got ..." that names the argument."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Collection, Mapping, Set
from typing import Any, SupportsFloat

import numpy as np

from .typing import Array, Shape

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Kinds of types that hold real numbers: floats, integers, booleans.
NUMBERS = "fiub"
_EXPECTED_DTYPES = {"f": "'float32' or 'float64'", NUMBERS: "a type of real numbers such as 'float32' or 'int32'"}
MAX_INT64 = 2**63 - 1
MAX_SEED = MAX_INT64
# Errors of reading a value whose structure is not the expected one.
MALFORMED = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


# --- numbers ----------------------------------------------------------------------------------------------------------


def integer(name: str, value: Any, low: int | None = None, high: int | None = None, alternative: str = "") -> int:
    """``value`` as an int with low <= value <= high; fractions and booleans are refused.

    Args:
        name: of the argument.
        value: an integer of Python or NumPy.
        low, high: bounds, both inclusive; None for no bound.
        alternative: another value that the caller accepts, for the message.

    Raises:
        ValueError: anything else; the message names the argument.

    >>> integer("seed", -1, 0, 9)
    Traceback (most recent call last):
    ValueError: seed: expected an integer 0...9, got -1
    """
    try:
        # A plain int, the usual case: 0.07 us here, 0.13 us by the other checks.
        number = value if type(value) is int else None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        end = "2**63-1" if high == MAX_INT64 else high
        reach = "" if low is None else f" >= {low}" if high is None else f" {low}...{end}"
        raise ValueError(
            f"{name}: expected {alternative and alternative + ' or '}an integer{reach}, got {short_repr(value)}"
        )
    return number


def seed_or_none(seed: Any) -> int | None:
    """A seed as an int in 0...2**63-1, or None."""
    return None if seed is None else integer("seed", seed, 0, MAX_SEED, "None")


def verbosity(value: Any) -> int:
    """A callback's ``verbose``: 0 is silence, 1 a line (True and False too)."""
    return int(value) if isinstance(value, (bool, np.bool_)) else integer("verbose", value, 0)


def boolean(name: str, value: Any) -> bool:
    """``value`` as a bool; 0 and 1 count, a word such as "no" does not."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{name}: expected True or False, got {short_repr(value)}")


def choice(name: str, value: Any, options: Collection[str | None]) -> Any:
    """``value``, which must be one of ``options``.

    Raises:
        ValueError: anything else; the message names the argument and lists the options.

    >>> choice("mode", "most", ("min", "max"))
    Traceback (most recent call last):
    ValueError: mode: expected 'min' or 'max', got 'most'
    """
    if not (value is None or isinstance(value, str)) or value not in options:
        *first, last = map(repr, options)
        raise ValueError(f"{name}: expected {', '.join(first)} or {last}, got {short_repr(value)}")
    return value


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf, open_high: bool = False) -> float:
    """``value`` as a finite float in low...high, or a ValueError that names the argument."""
    wanted = "a finite number" if low == -math.inf else f"a number >= {low:g}"
    if high != math.inf:
        wanted = f"a number in {low:g}...{high:g}" + (f", {high:g} excluded" if open_high else "")
    try:
        if isinstance(value, (bool, np.bool_, str, np.ndarray)) or not isinstance(value, SupportsFloat):
            raise TypeError
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{name}: expected {wanted}, got {short_repr(value)}") from None
    if not (math.isfinite(number) and low <= number <= high) or (open_high and number == high):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number


def positive(name: str, value: Any, high: float = math.inf) -> float:
    """``value`` as a finite float with 0 < value <= high, or a ValueError that names the argument."""
    try:
        number = real(name, value)
    except ValueError:
        number = 0.0
    if not 0 < number <= high:
        wanted = "a positive number" if high == math.inf else f"a number in (0, {high:g}]"
        raise ValueError(f"{name}: expected {wanted}, got {short_repr(value)}")
    return number


# --- arrays -----------------------------------------------------------------------------------------------------------


def as_dtype(name: str, value: Any, kinds: str = "f") -> np.dtype[Any]:
    """The NumPy type of a ``dtype=`` argument; None is refused, callers put their default in its place.

    Args:
        name: of the argument.
        value: a name, a class or a NumPy type.
        kinds: letters of the accepted kinds of NumPy types; "f" means float32 and float64, which the core knows.

    Raises:
        ValueError: for a type of another kind, and for anything but a type.

    >>> as_dtype("dtype", "int32", NUMBERS)
    dtype('int32')
    >>> as_dtype("dtype", "flaot32")
    Traceback (most recent call last):
    ValueError: dtype: expected 'float32' or 'float64', got 'flaot32'
    """
    # np.dtype(None) is float64, and float64 == None is True: nothing here may compare a type with None.
    try:
        dtype: np.dtype[Any] | None = None if value is None else np.dtype(value)
    except (TypeError, ValueError, SyntaxError, AttributeError):
        dtype = None
    if dtype is not None and dtype.isnative and (dtype in FLOATS if kinds == "f" else dtype.kind in kinds):
        return dtype
    expected = _EXPECTED_DTYPES.get(kinds, "a type of numbers or strings such as 'int32' or object")
    raise ValueError(f"{name}: expected {expected}, got {short_repr(value)}")


def first_element(value: Any) -> Any:
    """The first element of a nested list, at any depth; the value itself if it is not a list."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value


def is_array(value: Any) -> bool:
    """True for an array or tensor of any library and for a data frame: it gives its numbers as an array.

    >>> is_array(np.zeros(2)), is_array([0.0, 0.0]), is_array(np.float32(0))
    (True, False, False)
    """
    if isinstance(value, np.ndarray):
        return True
    has_numbers = hasattr(value, "__array__") or hasattr(value, "__dlpack__")
    return has_numbers and not isinstance(value, (np.generic, type))


def refuse_masked(name: str, value: Any) -> None:
    """Refuse a masked array, or a list of them: ``np.asarray`` would take the hidden numbers for valid ones.

    Raises:
        TypeError: for a masked array.
    """
    # NumPy loads the module when it is first used: without it there is no such array.
    module = sys.modules.get("numpy.ma")
    if module is not None and isinstance(first_element(value), module.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a MaskedArray; fill it (x.filled(0)) first")


_SCALARS = (int, float, np.number)
# Numbers of the devices of DLPack whose memory the CPU reads: its own, and that pinned for CUDA or ROCm.
_CPU_DEVICES = (1, 3, 11)


def plain_array(name: str, value: Any) -> Array:
    """``value`` (of any array library, or numbers in lists) as an array of the type that NumPy gives it.

    Nothing is copied where NumPy can share the memory. Types that only the other library knows, such as bfloat16, are
    widened to float32; columns of a data frame become one type, with NaN for missing numbers.

    Raises:
        TypeError: for a masked array, for one that NumPy cannot read or that is not on the CPU, and for a data frame
            with a column of something else than numbers.
        ValueError: for rows of different lengths.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, _SCALARS):  # 0.16 us instead of 0.47
        return np.asarray(value)
    refuse_masked(name, value)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            if hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] not in _CPU_DEVICES:
                raise TypeError("it is not in the memory of the CPU; move it there first")
            array: Array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
        if array.dtype.kind == "O" and not isinstance(value, (list, tuple, np.ndarray)):
            array = _numbers_of_objects(name, value, array)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length, got a ragged {type(value).__name__}") from None
    except (TypeError, RuntimeError, BufferError) as error:
        if str(error).startswith(f"{name}: "):
            raise
        if "bfloat16" in str(getattr(value, "dtype", "")) and hasattr(value, "float"):
            # A tensor of PyTorch, which gives NumPy no such type.
            return plain_array(name, value.float())
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"{name}: expected numbers, got a {type(value).__name__} that NumPy cannot read: {reason}"
        ) from None
    return array.astype(np.float32) if array.dtype.kind == "V" and np.can_cast(array.dtype, np.float32) else array


def _numbers_of_objects(name: str, value: Any, array: Array) -> Array:
    """The numbers of a data frame or a column that gives objects: columns of several types, arrays in the cells."""
    columns = getattr(value, "columns", None)
    if columns is None or array.ndim != 2 or len(set(columns)) != len(columns):
        return _column(value)
    parts = {column: _column(value[column]) for column in columns}
    for column, part in parts.items():
        if part.dtype.kind not in NUMBERS:
            raise TypeError(f"{name}: expected columns of numbers, got {short_repr(part[0])} in the column {column!r}")
    return np.stack(list(parts.values()), axis=1)


def _column(column: Any) -> Array:
    """A column as an array: of its numbers, NaN where they are missing, or of the arrays in its cells."""
    array = np.asarray(column)
    if array.dtype.kind == "O" and getattr(getattr(column, "dtype", None), "kind", "O") in NUMBERS:
        array = column.to_numpy(dtype=np.float64, na_value=np.nan)
    elif array.dtype.kind == "O" and array.ndim == 1 and isinstance(array[0], (list, np.ndarray)):
        array = np.asarray(array.tolist())
    return array


def check_whole(name: str, values: Array, expected: str = "whole numbers", mask: Array | None = None) -> None:
    """Refuse an array of floats with fractions, NaN or infinities, unless ``mask`` is False there.

    Raises:
        ValueError: naming the argument and the first such number.
    """
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.floor(values))
        if mask is not None:
            whole |= ~mask
        if not whole.all():
            raise ValueError(f"{name}: expected {expected}, got {values[~whole].flat[0]}")


def check_range(name: str, values: Array, size: int, expected: str = "whole numbers") -> None:
    """Refuse an array of ids outside 0...size-1.

    Raises:
        ValueError: naming the argument and the first such id.
    """
    if values.size and (values.min() < 0 or values.max() >= size):
        outside = values[(values < 0) | (values >= size)].flat[0]
        raise ValueError(f"{name}: expected {expected} 0...{size - 1}, got {int(outside)}")


def check_fits(name: str, values: Any, dtype: np.dtype[Any]) -> None:
    """Refuse an array of numbers that a type of integers or booleans would change: fractions, NaN, out of its range.

    Raises:
        ValueError: naming the argument and the first such number.
    """
    if dtype.kind == "f" or not values.size or np.can_cast(values.dtype, dtype):
        return
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if values.dtype.kind == "f":
        wrong = ~((values == np.floor(values)) & (values >= np.float64(low)) & (values < np.float64(high) + 1))
        bad = values[wrong][0] if wrong.any() else None
    else:
        least, most = int(values.min()), int(values.max())
        bad = least if least < low else most if most > high else None
    if bad is not None:
        raise ValueError(f"{name}: expected whole numbers {low}...{high} for dtype {dtype}, got {bad}")


def check_shape(name: str, shape: Any) -> None:
    """Refuse anything but a shape (B, ...), with None for any size, or a list of shapes.

    Raises:
        ValueError: that names the argument.
    """
    sizes = shape if isinstance(shape, (tuple, list)) else (shape, "")
    if sizes and all(isinstance(item, (tuple, list)) for item in sizes):
        for item in sizes:
            check_shape(name, item)
    elif not all(n is None or (isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0) for n in sizes):
        raise ValueError(f"{name}: expected a shape such as (None, 3), got {short_repr(shape)}")


def dropout_rate(name: str, rate: Any) -> float:
    """A share of elements to leave out, as a float.

    Raises:
        ValueError: outside 0 <= rate < 1.
    """
    return real(name, rate, 0.0, 1.0, open_high=True)


def as_sizes(name: str, shape: Any) -> Shape:
    """A shape as a tuple of positive sizes, or None for any size."""
    try:
        if isinstance(shape, (str, bytes)):
            raise TypeError
        sizes = tuple(None if size is None else integer(name, size) for size in shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected a tuple of sizes, got {shape!r}") from None
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(f"{name}: expected positive sizes or None, got {shape!r}")
    return sizes


def as_booleans(name: str, value: Any, expected: str = "booleans") -> Array:
    """An array of booleans, or of numbers, of which all but zero are True.

    Raises:
        ValueError: for NaN, and for another type.
    """
    array = plain_array(name, value)
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"{name}: expected {expected}, got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{name}: expected booleans, got NaN")
    return np.ascontiguousarray(array, bool).reshape(array.shape)


def as_mask(mask: Any, shape: tuple[int, ...]) -> Array:
    """A mask as (B, T) booleans for a sequence (or ids) of ``shape`` (B, T, ...)."""
    expected = f"booleans of shape {shape[:2]}"
    array = as_booleans("mask", mask, expected)
    if array.shape != shape[:2] or len(shape) < 2:
        raise ValueError(f"mask: expected {expected}, got {plain_array('mask', mask).dtype} of shape {array.shape}")
    return array


def as_lengths(lengths: Any, shape: tuple[int, ...]) -> Array:
    """Lengths as (B,) int32 for a sequence (or ids) of ``shape`` (B, T, ...)."""
    array = plain_array("lengths", lengths)
    steps = shape[1] if len(shape) > 1 else 0
    expected = f"lengths: expected integers 0...{steps} of shape {shape[:1]}, got"
    if array.shape != shape[:1] or array.dtype.kind not in "iuf":
        raise ValueError(f"{expected} {array.dtype} of shape {array.shape}")
    with np.errstate(invalid="ignore"):
        wrong = ~((array >= 0) & (array <= steps) & (array == np.floor(array)))
    if wrong.any():
        raise ValueError(f"{expected} {array[wrong][0]}")
    return np.ascontiguousarray(array, np.int32)


def axis_of(axis: Any, ndim: int, name: str = "axis") -> int:
    """One axis as a number 0...ndim-1.

    Raises:
        ValueError: for anything but an integer in -ndim...ndim-1.
    """
    number = integer(name, axis)
    if not -ndim <= number < ndim:
        expected = f"{-ndim}...{ndim - 1}" if ndim else "none for a tensor without axes"
        raise ValueError(f"{name}: expected {expected}, got {number}")
    return number % ndim


def axes_of(axis: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Axes as a sorted tuple of numbers 0...ndim-1; None means all axes.

    Raises:
        ValueError: for anything but integers, and for an axis that is out of range or named twice.

    >>> axes_of((-1, 0), 3)
    (0, 2)
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = sorted(axis_of(item, ndim, name) for item in axis)
        if len(set(axes)) < len(axes):
            raise ValueError(f"{name}: expected each axis once, got {axis!r}")
        return tuple(axes)
    return (axis_of(axis, ndim, name),)


# --- texts and paths --------------------------------------------------------------------------------------------------


def as_path(path: Any, name: str = "path") -> str:
    """A path as text.

    Raises:
        TypeError: for anything else; a number would be taken for an open file.
        ValueError: for a null character, as in the content of a file instead of its path.

    >>> as_path(3, "filepath")
    Traceback (most recent call last):
    TypeError: filepath: expected a path, got 3
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name}: expected a path, got {short_repr(path)}")
    place = os.fsdecode(path)
    if "\0" in place:
        raise ValueError(f"{name}: expected a path, got one with a null character: {short_repr(place)}")
    return place


def plain_name(name: str, value: Any) -> str:
    """The name of a file or folder that comes from a file or a user and is joined to a folder.

    Raises:
        ValueError: anything that leads to another folder, on any system: an empty name, ``.`` and ``..``, separators,
            drives, control characters.

    >>> plain_name("file", "ptb.train.txt")
    'ptb.train.txt'
    >>> plain_name("file", "../ptb.train.txt")
    Traceback (most recent call last):
    ValueError: file: expected a name without folders, got '../ptb.train.txt'
    """
    if not isinstance(value, str) or value in ("", ".", "..") or not value.isprintable() or set(value) & set("/\\:"):
        raise ValueError(f"{name}: expected a name without folders, got {short_repr(value)}")
    return value


def ordered(name: str, words: Any) -> None:
    """Refuse sets and dicts where the order of words makes their ids.

    Raises:
        TypeError: naming the argument.
    """
    if isinstance(words, (Set, Mapping)):
        raise TypeError(
            f"{name}: expected words in the order of their ids, got a {type(words).__name__}; make it a list"
        )


# --- arguments of other libraries -------------------------------------------------------------------------------------


def default_only(name: str, value: Any, default: Any, reason: str) -> None:
    """Accept an argument of Keras or gensim at the one value that it can have here.

    ``default`` may be a tuple: then each of its elements is accepted, and the first is named in the message. Type and
    value must be the default's; only numbers are compared across types (True is 1, as both libraries have it).

    Raises:
        ValueError: any other value; the message names the argument and the reason.

    >>> default_only("jit_compile", True, (False, "auto"), "nothing is compiled")
    Traceback (most recent call last):
    ValueError: jit_compile: expected False (nothing is compiled), got True
    """
    accepted = default if isinstance(default, tuple) else (default,)
    for allowed in accepted:
        if value is allowed:
            return
        numbers = isinstance(value, (int, float, np.number, np.bool_)) and isinstance(allowed, (int, float))
        if (numbers or type(value) is type(allowed)) and value == allowed:
            return
    raise ValueError(f"{name}: expected {accepted[0]!r} ({reason}), got {short_repr(value)}")


def no_regularizers(**given: Any) -> None:
    """Accept Keras's regularizers and constraints only as None.

    Raises:
        ValueError: for another one, by name.
    """
    for name, value in given.items():
        default_only(name, value, None, "regularizers and constraints are not supported")


def no_adapters(lora_rank: Any, lora_alpha: Any, quantization_config: Any) -> None:
    """Accept Keras's arguments of low-rank adapters and quantization only as None."""
    default_only("lora_rank", lora_rank, None, "low-rank adapters are not supported")
    default_only("lora_alpha", lora_alpha, None, "low-rank adapters are not supported")
    default_only("quantization_config", quantization_config, None, "quantization is not supported")


def channels_last(data_format: Any) -> None:
    """Accept Keras's ``data_format`` where it means features along the last axis."""
    default_only("data_format", data_format, (None, "channels_last"), "features are on the last axis")


def no_name(name: Any, default: str | None = None) -> None:
    """Accept TensorFlow's ``name=`` of an operation as None or its default."""
    if name is not default:
        default_only("name", name, (None, default), "operations have no names")


# --- messages ---------------------------------------------------------------------------------------------------------


def short_repr(value: Any, limit: int = 80) -> str:
    """``repr(value)`` in one line of at most ``limit`` characters, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def class_of(value: Any) -> str:
    """The class of a value for messages, with the package of another library's.

    >>> from fractions import Fraction
    >>> class_of(1.5), class_of(Fraction(1, 2))
    ('float', 'Fraction of fractions')
    """
    name, package = type(value).__name__, type(value).__module__.partition(".")[0]
    return name if package in ("builtins", "seqcore", "__main__") else f"{name} of {package}"


def one_line(error: BaseException, limit: int = 300) -> str:
    """The message of an error in one line, with its type where the message by itself would be unclear.

    >>> one_line(KeyError("units"))
    "KeyError: 'units'"
    """
    text = " ".join(str(error).split())
    if not isinstance(error, (ValueError, TypeError)) or not text:
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
