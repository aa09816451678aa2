"""Optional packages, imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def import_extra(module: str, need: str, extra: str = "experiments") -> Any:
    """A module of an optional package.

    Args:
        module: its name.
        need: who needs which package, for the message.
        extra: of this package, that installs it.

    Raises:
        ImportError: it is not installed.

    >>> import_extra("no_such_module", "dreams need sleep")
    Traceback (most recent call last):
    ImportError: dreams need sleep: pip install 'seqcore[experiments]'
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f"{need}: pip install 'seqcore[{extra}]'") from None


def names_when_used(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names are imported when they are first used.

    Args:
        package: its ``__name__``.
        modules: the module of each name, within the package.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{modules[name]}", package), name)

    return get, lambda: list(modules)
