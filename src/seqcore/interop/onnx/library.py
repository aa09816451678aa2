"""The library ``onnx``, imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any


def onnx_module(name: str = "onnx") -> Any:
    """``onnx`` or one of its modules.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError("seqcore.interop.onnx needs onnx (pip install 'seqcore[onnx]')") from None
