"""Keras: its files in and out of a model, by h5py alone (extra ``keras``); its recurrent layers on seqcore's core.

Each name is imported when it is first used, so that the files need no Keras, and the layers no h5py. Where Keras was
imported before this package, the layers are registered, and Keras opens models with them.
"""

import contextlib
import importlib
import sys
from typing import Any

# The module of each name.
_NAMES = {
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "to_keras_layers", "to_seqcore_layers"), "layers"),
    **dict.fromkeys(("load_keras", "save_keras"), "files"),
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(_NAMES)


if "keras" in sys.modules:
    with contextlib.suppress(ImportError):  # a backend without these layers
        importlib.import_module(".layers", __name__)
