"""Files: written whole or not at all, safetensors, foreign formats recognized by their content."""

from .files import atomic_write, describe_foreign_file, parse_json, refuse_foreign_suffix
from .safetensors import read_header, read_tensors, write_tensors

__all__ = [
    "atomic_write",
    "describe_foreign_file",
    "parse_json",
    "read_header",
    "read_tensors",
    "refuse_foreign_suffix",
    "write_tensors",
]
