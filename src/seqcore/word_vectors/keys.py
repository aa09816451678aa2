"""Keys of word vectors: words, and integers such as the numbers of nodes in a graph."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from .._validation import short_repr

Key = str | int


def is_key(item: Any) -> TypeGuard[str | int | np.integer[Any]]:
    """True for a word and for an integer."""
    return isinstance(item, (str, int, np.integer))


def as_list(name: str, items: Any, content: str = "words", needed: bool = False) -> list[Any]:
    """Words or other items as a list.

    Raises:
        TypeError: a single word, and anything but a list.
        ValueError: an empty list, where items are ``needed``.
    """
    try:
        if isinstance(items, (str, bytes)):
            raise TypeError
        listed = list(items)
    except TypeError:
        raise TypeError(f"{name}: expected a list of {content}, got {short_repr(items)}") from None
    if needed and not listed:
        raise ValueError(f"{name}: expected at least one, got none")
    return listed


def as_keys(name: str, items: Any, place: str = "") -> list[Any]:
    """Words and integers as a list, NumPy's integers as Python's.

    Args:
        name: of the argument.
        items: an iterable of keys.
        place: where they stand, for the message.

    Raises:
        TypeError: something else.

    >>> as_keys("keys", ["cat", np.int64(3)])
    ['cat', 3]
    """
    keys = as_list(name, items.tolist() if isinstance(items, np.ndarray) else items)
    if not set(map(type, keys)) <= {str, int}:  # faster than a look at each
        for number, key in enumerate(keys):
            if isinstance(key, (bool, np.bool_)) or not is_key(key):
                raise TypeError(f"{name}: expected words or integers, got {short_repr(key)}{place}")
            keys[number] = str(key) if isinstance(key, str) else int(key)
    return keys


def index_keys(name: str, keys: list[Any]) -> dict[Any, int]:
    """The position of each of some different keys.

    Raises:
        ValueError: a key twice.
    """
    rows = dict(zip(keys, range(len(keys))))
    if len(rows) < len(keys):
        twice = next(key for number, key in enumerate(keys) if rows[key] != number)
        raise ValueError(f"{name}: expected each word once, got {short_repr(twice)} more than once")
    return rows
