"""Checks of numbers and types that many functions take: the value itself, or one line that names the argument."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Mapping, Set
from typing import Any, ClassVar, SupportsFloat

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Kinds of types that hold real numbers: floats, integers, booleans.
NUMBERS = "fiub"
_EXPECTED_DTYPES = {"f": "'float32' or 'float64'", NUMBERS: "a type of real numbers such as 'float32' or 'int32'"}


def at_least(name: str, value: Any, least: int) -> int:
    """``value`` as an int.

    Raises:
        ValueError: it is smaller, or no integer.

    >>> at_least("steps", 0, 1)
    Traceback (most recent call last):
    ValueError: steps: expected an integer >= 1, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {short_repr(value)}")
    return number


def seed_or_none(seed: Any) -> int | None:
    """A seed as an int, or None.

    Raises:
        ValueError: anything but None or an integer 0...2**63-1.
    """
    if seed is None:
        return None
    try:
        number = at_least("seed", seed, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise ValueError(f"seed: expected None or an integer 0...2**63-1, got {short_repr(seed)}")
    return number


def integer(name: str, value: Any) -> int:
    """``value`` as an int, or a ValueError that names the argument: no fraction, no boolean."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: expected an integer, got {short_repr(value)}") from None


def boolean(name: str, value: Any) -> bool:
    """``value`` as a bool; 0 and 1 count, a word such as "no" does not."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise ValueError(f"{name}: expected True or False, got {short_repr(value)}")


def check_shape(name: str, shape: Any) -> None:
    """Refuses what is no shape (B, ...), with None for any size, nor a list of them.

    Raises:
        ValueError: that names the argument.
    """
    sizes = shape if isinstance(shape, (tuple, list)) else (shape, "")
    if sizes and all(isinstance(item, (tuple, list)) for item in sizes):
        for item in sizes:
            check_shape(name, item)
    elif not all(n is None or (isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0) for n in sizes):
        raise ValueError(f"{name}: expected a shape such as (None, 3), got {short_repr(shape)}")


def as_path(path: Any, name: str = "path") -> str:
    """A path as text.

    Raises:
        TypeError: for anything else; a number would be taken for an open file.

    >>> as_path(3, "filepath")
    Traceback (most recent call last):
    TypeError: filepath: expected a path, got 3
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name}: expected a path, got {short_repr(path)}")
    return os.fsdecode(path)


def ordered(name: str, words: Any) -> None:
    """Refuses sets and dicts where the order of words makes their ids.

    Raises:
        TypeError: naming the argument.
    """
    if isinstance(words, (Set, Mapping)):
        raise TypeError(
            f"{name}: expected words in the order of their ids, got a {type(words).__name__}; make it a list"
        )


def verbosity(value: Any) -> int:
    """A callback's ``verbose``: 0 is silence, 1 a line (True and False too)."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    return at_least("verbose", value, 0)


def integer_in(name: str, value: Any, low: int, high: int) -> int:
    """``value`` as an int in low...high, or a ValueError that names the argument.

    >>> integer_in("seed", -1, 0, 9)
    Traceback (most recent call last):
    ValueError: seed: expected an integer 0...9, got -1
    """
    try:
        number = integer(name, value)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ValueError(f"{name}: expected an integer {low}...{high}, got {short_repr(value)}")
    return number


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float above 0, or a ValueError that names the argument."""
    try:
        number = real(name, value)
    except ValueError:
        number = 0.0
    if number <= 0:
        raise ValueError(f"{name}: expected a positive number, got {short_repr(value)}")
    return number


def axes_of(axis: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Axes as a sorted tuple of numbers 0...ndim-1; None is all.

    Raises:
        ValueError: for what is no integer or sequence of integers, out of range, or twice there.

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


def real(name: str, value: Any, low: float = -math.inf, high: float = math.inf, open_high: bool = False) -> float:
    """``value`` as a finite float in low...high, or a ValueError that names the argument."""
    wanted = "a finite number" if low == -math.inf else f"a number >= {low:g}"
    if high != math.inf:
        wanted = f"a number in {low:g}...{high:g}" + (f", {high:g} excluded" if open_high else "")
    try:
        if isinstance(value, (bool, np.bool_, str, np.ndarray)) or not isinstance(value, SupportsFloat):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected {wanted}, got {short_repr(value)}") from None
    if not (math.isfinite(number) and low <= number <= high) or (open_high and number == high):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number


def default_only(name: str, value: Any, default: Any, reason: str) -> None:
    """Accepts an argument of Keras or gensim at the one value that it can have here.

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


def no_name(name: Any, default: str | None = None) -> None:
    """Accepts TensorFlow's ``name=`` of an operation as None or its default."""
    default_only("name", name, (None, default), "operations have no names")


def short_repr(value: Any, limit: int = 80) -> str:
    """``repr(value)`` in one line of at most ``limit`` characters, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def plain_name(name: str, value: Any) -> str:
    """The name of a file or folder that comes from a file or a user and is joined to a folder.

    Raises:
        ValueError: anything that leads elsewhere, on any system: an empty name, ``.`` and ``..``, separators, drives,
            control characters.

    >>> plain_name("file", "ptb.train.txt")
    'ptb.train.txt'
    >>> plain_name("file", "../ptb.train.txt")
    Traceback (most recent call last):
    ValueError: file: expected a name without folders, got '../ptb.train.txt'
    """
    if not isinstance(value, str) or value in ("", ".", "..") or not value.isprintable() or set(value) & set("/\\:"):
        raise ValueError(f"{name}: expected a name without folders, got {short_repr(value)}")
    return value


# What reading a value of unknown structure raises where the structure is another one.
MALFORMED = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def one_line(error: BaseException, limit: int = 300) -> str:
    """The message of an error in one line, with its type where the message alone would be a riddle.

    >>> one_line(KeyError("units"))
    "KeyError: 'units'"
    """
    text = " ".join(str(error).split())
    if not isinstance(error, (ValueError, TypeError)) or not text:
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def as_dtype(name: str, value: Any, kinds: str = "f") -> np.dtype[Any]:
    """The NumPy type of a ``dtype=`` argument; None is no type, callers put their default in its place.

    Args:
        name: of the argument.
        value: a name, a class or a NumPy type.
        kinds: letters of the kinds that fit; "f" alone means float32 and float64, which the core knows.

    Raises:
        ValueError: for a type of another kind, and for what is no type.

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


def check_fits(name: str, values: Any, dtype: np.dtype[Any]) -> None:
    """Refuses an array of numbers that a type of integers or booleans would change: fractions, NaN, out of its range.

    Raises:
        ValueError: naming the argument and the first such number.
    """
    if dtype.kind == "f" or not values.size or np.can_cast(values.dtype, dtype):
        return
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if values.dtype.kind == "f":
        wrong = ~((values == np.floor(values)) & (values >= low) & (values < float(high) + 1))
        bad = values[wrong][0] if wrong.any() else None
    else:
        least, most = int(values.min()), int(values.max())
        bad = least if least < low else most if most > high else None
    if bad is not None:
        raise ValueError(f"{name}: expected whole numbers {low}...{high} for dtype {dtype}, got {bad}")


def first_element(value: Any) -> Any:
    """What a nested list begins with: something with a type, which is meant, or a Python number."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return value


def refuse_masked(name: str, value: Any) -> None:
    """Refuses a masked array, or a list of them: ``np.asarray`` would take what they hide for valid numbers.

    Raises:
        TypeError: for a masked array.
    """
    # NumPy loads the module when it is first used: without it there is no such array.
    module = sys.modules.get("numpy.ma")
    if module is not None and isinstance(first_element(value), module.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a MaskedArray; fill it (x.filled(0)) first")


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array or tensor of any library, or a data frame: it has a shape and gives its numbers.

    >>> is_array(np.zeros(2)), is_array([0.0, 0.0]), is_array(np.float32(0))
    (True, False, False)
    """
    if isinstance(value, np.ndarray):
        return True
    has_numbers = hasattr(value, "__array__") or hasattr(value, "__dlpack__")
    return has_numbers and hasattr(value, "shape") and not isinstance(value, np.generic)


class FixedAttributes:
    """Base of classes whose public attributes are known.

    Setting or reading any other one is an AttributeError that says what there is, so that no setting with a typo, or
    one that only another library knows, is taken and ignored. A class names its plain attributes in ``_attributes``
    (properties are known anyway) and may name in ``_elsewhere`` what to use for attributes of other libraries.
    Subclasses without ``_attributes`` may have any.
    """

    _attributes: ClassVar[frozenset[str]] = frozenset()
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        known = name.startswith("_") or name in self._attributes or hasattr(type(self), name)
        if not known and "_attributes" in vars(type(self)):
            raise AttributeError(self._unknown(name))
        there = getattr(type(self), name, None)
        if isinstance(there, property) and there.fset is None:
            advice = self._elsewhere.get(name)
            raise AttributeError(f"{name}: expected to be read only, got a value{f' ({advice})' if advice else ''}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name if name.startswith("_") else self._unknown(name))

    def _unknown(self, name: str) -> str:
        import difflib

        public = self._attributes | {other for other in dir(type(self)) if not other.startswith("_")}
        close = difflib.get_close_matches(name, sorted(public), 1)
        advice = self._elsewhere.get(name, f"did you mean {close[0]}?" if close else "")
        return f"{name}: expected an attribute of {type(self).__name__}, got another{f' ({advice})' if advice else ''}"
