"""Pickles and copies of models: what a model file holds, and all that training needs to go on."""

from __future__ import annotations

from typing import Any

from ..callbacks import History
from ..layers.registry import deserialize
from ..saving.checkpoints import pack_optimizer, set_optimizer_state
from ..saving.format import build_field, file_limits, header_field, pack, unpack, weights_in, within_file_limits
from ..saving.models import build_by_shapes
from ..saving.pickles import FAMILIES, PLACE, Family, Tensors, dump_layer, set_layer_values
from ..training.compiling import HOOKS
from .model import Model
from .stream import Stream


def dump_model(model: Any, tensors: Tensors, training: bool = True) -> dict[str, Any]:
    """The fields of a layer, and with ``training`` how the model was compiled, its optimizer and metrics.

    Raises:
        ValueError: for a loss or another part that is not known by a name, and a hook set on the object itself.
    """
    own = sorted((HOOKS - {"loss"}) & model.__dict__.keys())
    if own:
        raise ValueError(f"{own[0]}: expected a method of the class, which a pickle keeps, got one set on the object")
    fields = dump_layer(model, tensors)
    compiled = model.require_compile_config() if training and model.optimizer is not None else None
    sums = None if compiled is None else [metric.get_state() for metric in model.metrics]
    history = None if model.history is None or not training else model.history.get_state()
    return fields | {
        "build": model.get_build_description(),
        "built": model.built,
        "compiled": pack(compiled, "compiled", tensors),
        "optimizer": None if compiled is None else pack_optimizer(model, tensors),
        "metrics": pack(sums, "metrics", tensors),
        "history": history,
        "extra": pack(model.extra, "extra", tensors),
    }


def load_model(tensors: Tensors, metadata: dict[str, Any]) -> Model:
    """A new model from the fields of :func:`dump_model`."""
    fields = {name: unpack(header_field(metadata, name), tensors) for name in ("compiled", "metrics", "extra")}
    with within_file_limits(PLACE, file_limits(tensors, metadata), "a model"):
        model: Model = deserialize(unpack(header_field(metadata, "architecture"), tensors))
        build = build_field(metadata)
        if metadata["built"]:
            model.build_from_description(build, weights_in(tensors))
        else:
            build_by_shapes(model, build["layers"])
        model.extra = fields["extra"]
        model.compile_from_config(fields["compiled"])
        set_layer_values(model, tensors, metadata)
        if metadata["history"] is not None:
            model.history = History()
            model.history.set_state(metadata["history"])
        if fields["compiled"] is not None:
            _set_training_state(model, fields["metrics"], tensors, header_field(metadata, "optimizer"))
    return model


def _set_training_state(model: Model, sums: Any, tensors: Tensors, optimizer: Any) -> None:
    """Continue the metrics and the optimizer of a compiled model."""
    for metric, saved in zip(model.metrics, sums, strict=True):
        metric.set_state(saved)
    state = unpack(optimizer["state"], tensors)
    if optimizer["variables"]:
        set_optimizer_state(model, state, optimizer["variables"])
    else:
        # Nothing has been trained: no slots are made before the first step.
        assert model.optimizer is not None
        model.optimizer.set_state(state)


def dump_stream(stream: Stream, tensors: Tensors) -> dict[str, Any]:
    """The fields of the stream's model, which must be as it was when the stream packed its weights, and the state."""
    if not stream.is_current():
        raise ValueError("expected the model as the stream has packed it, got weights changed since; make a new stream")
    fields = dump_model(stream.model, tensors, training=False)
    return fields | {"batch_size": stream.batch_size, "state": pack(stream.get_state(), "stream", tensors)}


def load_stream(tensors: Tensors, metadata: dict[str, Any]) -> Stream:
    """A new stream from the fields of :func:`dump_stream`."""
    stream = load_model(tensors, metadata).stream(header_field(metadata, "batch_size"))
    stream.set_state(unpack(header_field(metadata, "state"), tensors))
    return stream


FAMILIES["model"] = Family(dump_model, load_model)
FAMILIES["stream"] = Family(dump_stream, load_stream)
