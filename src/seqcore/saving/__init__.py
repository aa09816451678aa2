"""Files: written whole or not at all."""

from .files import atomic_write

__all__ = ["atomic_write"]
