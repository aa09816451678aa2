"""Optional packages, imported when they are used."""

from __future__ import annotations

import importlib
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
