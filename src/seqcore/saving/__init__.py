"""Files: written whole or not at all; foreign formats recognized by their content."""

from .files import atomic_write, describe_foreign_file

__all__ = ["atomic_write", "describe_foreign_file"]
