"""The library ``onnx``, imported when it is used."""

from __future__ import annotations

from typing import Any

from ..._extras import import_extra


def onnx_module(name: str = "onnx") -> Any:
    """``onnx`` or one of its modules.

    Raises:
        ImportError: it is not installed.
    """
    return import_extra(name, "seqcore.interop.onnx needs onnx", "onnx")
