"""PyTorch: its recurrent layers on seqcore's kernels, its modules as models, its weights in and out of layers.

Each name is imported when it is first used, so that weights need no PyTorch.
"""

import importlib
from typing import Any

# The module of each name.
_NAMES = {
    "GRU": "layers",
    "LSTM": "layers",
    "RNN": "layers",
    "accelerate": "layers",
    "convert": "conversion",
    "from_torch": "weights",
    "restore": "layers",
    "to_torch": "weights",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(_NAMES)
