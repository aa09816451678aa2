"""Arguments of layers: the signature of ``call``, names, unknown keywords, sizes of weights, forms of inputs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from typing import Any, NamedTuple

import numpy as np

from .._validation import first_element, integer, short_repr
from ..autograd import Tensor


class CallSignature(NamedTuple):
    """Positions of arguments of ``call`` (-1: only by keyword; None: not taken), and the name of its first one."""

    training: int | None = None
    mask: int | None = None
    lengths: int | None = None
    first: str = "inputs"

    @classmethod
    def of(cls, call: Callable[..., Any]) -> CallSignature:
        parameters = list(signature(call).parameters.values())[1:]
        positions = {
            parameter.name: -1 if parameter.kind is parameter.KEYWORD_ONLY else i
            for i, parameter in enumerate(parameters)
        }
        default = -1 if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters) else None
        training, mask, lengths = (positions.get(name, default) for name in ("training", "mask", "lengths"))
        named = parameters and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        return cls(training, mask, lengths, parameters[0].name if named else "inputs")


_counters: dict[str, Iterator[int]] = {}


def automatic_name(cls: type) -> str:
    """The next name of a class: lstm, lstm_1, ... in the order of making."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", cls.__name__).lower().lstrip("_")
    # One step of the interpreter each: threads that make layers at the same time get different names.
    count = next(_counters.setdefault(word, itertools.count()))
    return f"{word}_{count}" if count else word


def reset_names() -> None:
    """Let automatic layer names count from the beginning again."""
    _counters.clear()


def refuse_unknown(cls: type, unknown: dict[str, Any]) -> None:
    """Refuse keyword arguments that no class of the layer knows; the message names the nearest one that it does."""
    from difflib import get_close_matches  # rarely needed

    for key in unknown:
        known = [name for base in cls.__mro__[:-1] for name in signature(base.__init__).parameters]  # type: ignore[misc]
        near = get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{cls.__name__}: got an unknown argument {key!r}{hint}")


def weight_sizes(shape: Any) -> tuple[int, ...]:
    """The sizes of a weight: a tuple, one number for a vector, None for a scalar."""
    given = () if shape is None else shape if isinstance(shape, (tuple, list)) else (shape,)
    try:
        sizes = tuple(integer("shape", size, 1) for size in given)
    except ValueError:
        raise ValueError(f"shape: expected positive sizes, got {short_repr(shape)}") from None
    if math.prod(sizes) >= 2**60:
        raise ValueError(f"shape: expected fewer than 2**60 numbers in a weight, got {short_repr(sizes)}")
    return sizes


def input_hint(value: Any) -> str:
    """Hint for an error about inputs that are not numbers."""
    first = first_element(value)
    if isinstance(first, str) or (isinstance(value, np.ndarray) and value.dtype.kind in "US"):
        return "; TextVectorization turns texts into ids"
    if isinstance(value, (list, tuple)) and isinstance(value[0], (list, tuple)):
        return "; pad_sequences brings rows to one length"
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return "; x.astype('float32') converts what holds nothing else"
    return ""


def input_shapes(x: Any) -> Any:
    """The shape of an input, or shapes in the structure of several."""
    if isinstance(x, Tensor):
        return x.shape
    if isinstance(x, dict):
        return {key: input_shapes(item) for key, item in x.items()}
    return [input_shapes(item) for item in x] if isinstance(x, (list, tuple)) else None
