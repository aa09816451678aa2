"""Doors to other libraries, each imported when it is first used: ``seqcore.interop.keras``, ``onnx``, ``sklearn``,
``torch``."""

import importlib
from typing import Any

_DOORS = ("keras", "onnx", "sklearn", "torch")


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return list(_DOORS)
