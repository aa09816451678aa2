"""Loading of model files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._files import Path
from .._registry import custom_object_scope
from .._validation import as_path, boolean, default_only, short_repr
from ..layers.registry import deserialize
from ..saving.format import build_field, file_limits, header_field, read_file, unpack, weights_in, within_file_limits
from ..saving.models import match_weights
from . import pickles as _pickles  # noqa: F401  # makes models pickle
from .model import Model


def load_model(
    filepath: Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Model:
    """Read a model that :func:`save_model` wrote, built, with its weights, and compiled as it was.

    The optimizer starts with its settings and fresh slots; a checkpoint keeps the slots too.

    Args:
        filepath: the file.
        custom_objects: classes by the names that the file has for them, next to those that are registered: layers,
            models, optimizers, schedules, losses, metrics.
        compile: compile the model as it was.
        safe_mode: accepted only as True: no file can run code.

    Raises:
        ValueError: naming the file, if it is truncated, of another format, or needs a class that is not registered.
    """
    compile = boolean("compile", compile)
    default_only("safe_mode", safe_mode, True, "no file can run code")
    if custom_objects is not None and not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects: expected a dict of classes by name, got {short_repr(custom_objects)}")
    place = as_path(filepath, "filepath")
    tensors, metadata = read_file(filepath, "seqcore-model")
    with (
        within_file_limits(place, file_limits(tensors, metadata), "the description of a model"),
        custom_object_scope(custom_objects),
    ):
        model = deserialize(unpack(header_field(metadata, "architecture"), tensors))
        if not isinstance(model, Model):
            raise ValueError(f"expected a model, got {type(model).__name__}")
        model.build_from_description(build_field(metadata), weights_in(tensors))
        extra = unpack(header_field(metadata, "extra"), tensors)
        if not isinstance(extra, dict):
            raise ValueError(f"extra: expected a dict, got {short_repr(extra)}")
        model.extra = extra
        if compile:
            model.compile_from_config(unpack(header_field(metadata, "compiled"), tensors))
        pairs = match_weights(place, model, weights_in(tensors))
    for variable, values in pairs:
        variable.assign(values)
    return model
