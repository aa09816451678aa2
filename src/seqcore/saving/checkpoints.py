"""Checkpoints: all that an exact resume needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import random
from .._files import Path
from .._validation import MALFORMED, as_path, one_line, short_repr
from ..layers.building import Build
from ..training.interrupts import defer_sigint
from ..typing import Array
from .format import (
    build_field,
    file_limits,
    format_tags,
    header_field,
    pack,
    read_file,
    unpack,
    weights_in,
    within_file_limits,
)
from .models import match_weights, named_weights, weight_tensors
from .safetensors import write_tensors

# ---------------------------------------------------------------- checkpoints


def save_checkpoint(path: Path, model: Any, position: Mapping[str, Any] | None = None) -> None:
    """Write all that a training run needs to continue as if it had never stopped, bit by bit.

    Args:
        path: the file.
        model: a built and compiled model.
        position: the place of the run (epoch, batch, best loss, ...): numbers, texts, arrays, lists, dicts.

    Saved: the weights, the optimizer's slots and settings, the state of the global random generator, the layers' own
    states (the counters of dropout, the carried states of stateful layers) and the position.
    """
    tensors = weight_tensors(model)
    texts = format_tags(
        "seqcore-checkpoint",
        build=model.get_build_description(),
        optimizer=None if model.optimizer is None else pack_optimizer(model, tensors),
        layers=pack(model.get_layer_state(), "layers", tensors),
        random=pack(random.get_state(), "random", tensors),
        position=pack(dict(position or {}), "position", tensors),
    )
    write_tensors(path, tensors, texts)


def pack_optimizer(model: Any, tensors: dict[str, Array]) -> dict[str, Any]:
    """Class, variables by name, and state of a model's optimizer as JSON; arrays go into ``tensors``."""
    names = {id(variable): name for name, variable in named_weights(model).items()}
    return {
        "class": type(model.optimizer).__name__,
        "variables": [names.get(id(variable)) for variable in model.optimizer.variables],
        "state": pack(model.optimizer.get_state(), "optimizer", tensors),
    }


def read_position(path: Path) -> dict[str, Any]:
    """The position that :func:`save_checkpoint` was given; the model may be another or not yet made.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    return position_in(os.fspath(path), *read_file(path, "seqcore-checkpoint"))


def position_in(place: str, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        position = unpack(header_field(metadata, "position"), tensors)
    except MALFORMED as error:
        raise ValueError(f"{place}: expected a position, got one that fails: {one_line(error)}") from error
    if not isinstance(position, dict):
        raise ValueError(f"{place}: expected a dict as position, got {short_repr(position)}")
    return position


def load_checkpoint(path: Path, model: Any, *, check: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Put ``model`` and the random generator into the state of a checkpoint and return its position.

    Args:
        path: a file that :func:`save_checkpoint` wrote.
        model: the same architecture, compiled with the same kind of optimizer; it is built if need be.
        check: function that is called with the position before anything is changed; what it raises refuses the
            checkpoint. None by default.

    Raises:
        ValueError: naming the file and what is wrong with it; the model is then unchanged.
    """
    place = as_path(path)
    tensors, metadata = read_file(path, "seqcore-checkpoint")
    position = position_in(place, tensors, metadata)
    optimizer = model.optimizer
    limits = within_file_limits(place, file_limits(tensors, metadata), f"the state of model {model.name!r}")
    # On failure ``limits`` puts the random state back.
    with limits, Build([model, *model.layers_inside()]):
        saved = header_field(metadata, "optimizer")
        if saved is not None:
            if not isinstance(saved, dict) or saved.keys() != {"class", "variables", "state"}:
                raise ValueError(f"optimizer: expected its class, variables and state, got {short_repr(saved)}")
            have = type(optimizer).__name__ if optimizer is not None else "a model that is not compiled"
            if have != saved["class"]:
                wanted = short_repr(saved["class"])[1:-1]
                raise ValueError(f"{place}: expected a model compiled with {wanted}, got {have}")
        if not model.built:
            model.build_from_description(build_field(metadata), weights_in(tensors))
        pairs = match_weights(place, model, weights_in(tensors))
        generator, states = (unpack(header_field(metadata, name), tensors) for name in ("random", "layers"))
        slots = None if saved is None else unpack(saved["state"], tensors)
        if check is not None:
            check(position)
        before = model.get_layer_state()
        with defer_sigint():
            random.set_state(generator)
            model.set_layer_state(states)
            if saved is not None and optimizer is not None:
                try:
                    set_optimizer_state(model, slots, saved["variables"])
                except BaseException:
                    model.set_layer_state(before)
                    raise
            # Cannot fail: all shapes and types have been compared.
            for variable, values in pairs:
                variable.assign(values)
    return position


def set_optimizer_state(model: Any, slots: Any, names: Any) -> None:
    """Lay out the optimizer of a model for training, and continue from its state, saved for variables of ``names``."""
    with model.optimizer.build_undone():
        model.prepare_training()
        model.optimizer.set_state(reordered_slots(slots, names, model))


def reordered_slots(slots: Any, names: Any, model: Any) -> dict[str, Any]:
    """The optimizer's state, saved for variables in the order of ``names``, in the order in which it knows them now."""
    optimizer = model.optimizer
    assert optimizer is not None
    variables = named_weights(model)
    if not isinstance(slots, dict):
        raise ValueError(f"state: expected the slots of an optimizer, got {short_repr(slots)}")
    if not isinstance(names, list) or not all(name is None or name in variables for name in names):
        raise ValueError(f"variables: expected names of weights, got {short_repr(names)}")
    optimizer.build([variables[name] for name in names if name is not None])
    now = {id(variable): number for number, variable in enumerate(optimizer.variables)}
    ordered: dict[str, Any] = {}
    for key, value in slots.items():
        number, slash, slot = key.partition("/")
        if not slash:
            ordered[key] = value
            continue
        if not number.isdecimal() or int(number) >= len(names):
            raise ValueError(f"state: expected slots of {len(names)} variables, got {short_repr(key)}")
        name = names[int(number)]
        if name is not None:
            ordered[f"{now[id(variables[name])]}/{slot}"] = value
    # Slots of variables that the saved optimizer had not seen start from their initial values.
    for name, variable in variables.items():
        if name not in names and id(variable) in now:
            for slot, start in optimizer.slot_values().items():
                ordered[f"{now[id(variable)]}/{slot}"] = np.full(variable.shape, start, variable.dtype)
    return ordered
