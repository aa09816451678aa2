"""PyTorch: its modules as models, and its weights in and out of layers, by NumPy alone where they are arrays.

Each name is imported when it is first used, so that weights need no PyTorch.
"""

import importlib
from typing import Any

# The module of each name.
_NAMES = {"convert": "conversion", "from_torch": "weights", "to_torch": "weights"}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(_NAMES)
