"""FlatParameters: the parameters of a model and their gradients in flat arrays.

P: elements of a flat array, gaps included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Variable
from ..autograd.staleness import Cached
from ..typing import Array

# Bytes of a cache line and of an AVX-512 register: each variable starts at a multiple.
_ALIGNMENT = 64


class Location(NamedTuple):
    """Location of a variable: the number of its flat array, and its elements there."""

    variable: Variable
    array: int
    elements: slice


class FlatParameters(Cached):
    """Dense variables in one flat array per type, and their gradients in others of the same layout.

    Args:
        variables: the trainable variables of a model. Those marked ``sparse`` (tables whose gradients touch few rows)
            get no place.
        outside: other variables that get no place.

    Each variable starts at a multiple of 64 bytes; the gaps hold zeros in both arrays and stay so. Clipping, an update
    or an all-reduce is then one operation on (P,) arrays. The layout is ``stale`` once a variable has been frozen,
    thawed, or moved into the flat parameters of another model.

    Attributes:
        variables: all of them in order, with or without a place.
        parameters: one (P,) array per type, of which the variables are views.
        gradients: arrays like ``parameters``.
        locations: the place of each variable that has one.
        buffers: for each of ``variables`` the view of ``gradients`` for its gradient, or None.
        buffer_by_id: those that are not None by the ``id`` of the variable.

    >>> kernel, bias = Variable(np.ones((3, 2), np.float32)), Variable(np.zeros(2, np.float32))
    >>> flat = FlatParameters([kernel, bias])
    >>> flat.parameters[0].shape, np.shares_memory(flat.parameters[0], kernel._array)
    ((32,), True)
    """

    def __init__(self, variables: Sequence[Variable], outside: Collection[Variable] = ()) -> None:
        self.variables = list(variables)
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []
        self.locations: list[Location] = []
        excluded = set(map(id, outside))
        dense = [v for v in self.variables if not v.sparse and id(v) not in excluded]
        for dtype in sorted({v.dtype for v in dense}, key=str):
            self._lay_out([v for v in dense if v.dtype == dtype], dtype)
        self.buffer_by_id = {
            id(v): self.gradients[number][elements].reshape(v.shape) for v, number, elements in self.locations
        }
        self.buffers = [self.buffer(v) for v in self.variables]
        self._arrays = [v._array for v in self.variables]
        self.depend_on(self.variables)

    def _lay_out(self, variables: Sequence[Variable], dtype: np.dtype[Any]) -> None:
        unit = _ALIGNMENT // dtype.itemsize
        starts = [0, *np.cumsum([-(-v.size // unit) * unit for v in variables]).tolist()]
        parameters = _aligned_zeros(starts[-1], dtype)
        for variable, start in zip(variables, starts):
            elements = slice(start, start + variable.size)
            variable._move(parameters[elements].reshape(variable.shape))
            self.locations.append(Location(variable, len(self.parameters), elements))
        self.parameters.append(parameters)
        self.gradients.append(_aligned_zeros(starts[-1], dtype))

    def holds(self, variables: Sequence[Variable], outside: Collection[Variable] = ()) -> bool:
        """True where the variables, in this order, are where ``FlatParameters(variables, outside)`` put them."""
        if len(variables) != len(self.variables):
            return False
        excluded = set(map(id, outside))
        return all(
            v is known and v._array is array and (v.sparse or id(v) in excluded) is (buffer is None)
            for v, known, array, buffer in zip(variables, self.variables, self._arrays, self.buffers)
        )

    def buffer(self, variable: Variable) -> Array | None:
        """The array for the gradient of ``variable``, a view of ``gradients``; None if the variable has no place."""
        return self.buffer_by_id.get(id(variable))


def _aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that start at a multiple of 64 bytes."""
    raw = np.zeros(size * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)
