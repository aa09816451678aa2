"""Python's operators on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Tensor
from . import elementwise
from .matmul import matmul
from .shape import slice


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda x, y: function(y, x)


def _equality(function: Callable[[Any, Any], Tensor], of_none: bool) -> Callable[[Any, Any], Any]:
    return lambda x, y: of_none if y is None else function(x, y)


def _attach_operators() -> None:
    for name, function in (
        ("add", elementwise.add),
        ("sub", elementwise.subtract),
        ("mul", elementwise.multiply),
        ("truediv", elementwise.divide),
        ("pow", elementwise.power),
        ("matmul", matmul),
    ):
        setattr(Tensor, f"__{name}__", function)
        setattr(Tensor, f"__r{name}__", _reflected(function))
    for name, unary in (("neg", elementwise.negative), ("abs", elementwise.abs), ("getitem", slice)):
        setattr(Tensor, f"__{name}__", unary)
    for name, compare in (
        ("lt", elementwise.less),
        ("le", elementwise.less_equal),
        ("gt", elementwise.greater),
        ("ge", elementwise.greater_equal),
    ):
        setattr(Tensor, f"__{name}__", compare)
    # Tensors stay hashable by identity: tapes and tables know them by it.
    setattr(Tensor, "__eq__", _equality(elementwise.equal, False))  # noqa: B010
    setattr(Tensor, "__ne__", _equality(elementwise.not_equal, True))  # noqa: B010


_attach_operators()
