"""Floating-point types of layers: the default type and dtype policies."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._core import system
from .._validation import as_dtype

MIXED = "mixed_bfloat16"

# `mixed`: layers made without dtype= multiply in bfloat16. `warned`: about processors that cannot.
_settings: dict[str, Any] = {"floatx": np.dtype(np.float32), "mixed": False, "warned": False}


def floatx() -> str:
    """Name of the floating-point type of layers that are given no ``dtype=``.

    >>> floatx()
    'float32'
    """
    return str(_settings["floatx"].name)


def set_floatx(dtype: DTypeLike) -> None:
    """Set the default floating-point type, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: for any other type.
    """
    _settings["floatx"] = as_dtype("dtype", dtype)


def float_dtype(dtype: DTypeLike | None) -> np.dtype[Any]:
    """The NumPy type of a ``dtype=`` argument; ``None`` is :func:`floatx`."""
    return _settings["floatx"] if dtype is None else as_dtype("dtype", dtype)


def dtype_policy() -> str:
    """The dtype policy of layers made without ``dtype=``.

    >>> dtype_policy()
    'float32'
    """
    return MIXED if _settings["mixed"] else floatx()


def set_dtype_policy(policy: str) -> None:
    """Set the policy of layers made without ``dtype=`` from now on.

    Args:
        policy: "float32", "float64" or "mixed_bfloat16". With the last the factors of the matrix products of recurrent
            and dense layers, forward and backward, are rounded to bfloat16 (8 significant bits, the range of float32);
            weights, states, sums and everything else stay float32. Processors with AVX-512 BF16 multiply bfloat16
            twice as fast; on others such layers compute in float32, with one warning.

    Raises:
        ValueError: for another policy.
    """
    _settings["floatx"], _settings["mixed"] = _read_policy("policy", policy)


def resolve_dtype(dtype: DTypeLike | None) -> tuple[np.dtype[Any], bool]:
    """The dtype of the weights, and True for products of bfloat16, from the ``dtype=`` argument of a layer.

    Raises:
        ValueError: for anything but None, a floating-point type and "mixed_bfloat16".

    >>> resolve_dtype("float64")
    (dtype('float64'), False)
    """
    return (_settings["floatx"], _settings["mixed"]) if dtype is None else _read_policy("dtype", dtype)


def _read_policy(name: str, policy: Any) -> tuple[np.dtype[Any], bool]:
    if isinstance(policy, str) and policy == MIXED:
        return np.dtype(np.float32), True
    try:
        return as_dtype(name, policy), False
    except ValueError:
        raise ValueError(f"{name}: expected 'float32', 'float64' or '{MIXED}', got {policy!r:.80}") from None


def use_bfloat16(dtype: np.dtype[Any], mixed: bool) -> bool:
    """True where a layer of these types asks the core for products of bfloat16; warns once where the CPU has none."""
    if not mixed or dtype != np.float32:
        return False
    if system.info()["bfloat16"]:
        return True
    if not _settings["warned"]:
        _settings["warned"] = True
        isa = system.info()["isa"]
        warnings.warn(f"{MIXED}: no AVX-512 BF16 here ({isa}); these layers work in float32", stacklevel=4)
    return False
