"""Files of models, weights and checkpoints, in safetensors without pickle."""

from .._files import Path, atomic_write
from .._foreign_files import describe_foreign_file, refuse_foreign_suffix
from .._json import parse_json
from .checkpoints import load_checkpoint, read_position, save_checkpoint
from .format import VERSION, describe_format, format_tags, read_file
from .models import load_weights, named_layers, named_weights, save_model, save_weights
from .safetensors import read_header, read_tensors, write_tensors

__all__ = [
    "Path",
    "VERSION",
    "atomic_write",
    "describe_foreign_file",
    "format_tags",
    "describe_format",
    "load_checkpoint",
    "load_weights",
    "named_layers",
    "named_weights",
    "parse_json",
    "read_file",
    "read_header",
    "read_position",
    "read_tensors",
    "refuse_foreign_suffix",
    "save_checkpoint",
    "save_model",
    "save_weights",
    "write_tensors",
]
