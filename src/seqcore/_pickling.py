"""Base of the objects whose pickles and copies are safe files; the room ``saving`` writes and reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

_reducers: list[Callable[[Any, int], Any]] = []


def set_reducer(reduce: Callable[[Any, int], Any]) -> None:
    """Have ``reduce(object, protocol)`` give what :meth:`Pickled.__reduce_ex__` returns."""
    _reducers[:] = [reduce]


class Pickled:
    """Base of objects that pickle, and copy, as the bytes of a safe file; see ``saving.pickles``."""

    __slots__ = ()

    # The family of the file, which tells how it is written and read.
    _pickle_family: ClassVar[str]

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__reduce__ is not object.__reduce__:
            # A class of the user with a pickle of its own.
            return self.__reduce__()
        return _reducers[0](self, protocol)
