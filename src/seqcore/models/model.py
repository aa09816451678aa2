"""Model: a layer that can be trained, saved and streamed; subclass it with a ``call``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import saving
from .._registry import custom_object_scope
from .._validation import NUMBERS, as_dtype, boolean, check_shape, default_only, integer, short_repr
from ..autograd import Tensor
from ..layers.base import Layer
from ..layers.building import MAX_ZEROS, Build, check_free_sizes, plain_zeros, zeros
from ..layers.calling import CallScope
from ..saving.models import build_by_shapes, build_shapes
from ..training.trainer import Trainer
from .stream import Stream


class Model(Trainer):
    """A layer that can be trained, saved and streamed. Subclasses make layers in ``__init__`` and use them in ``call``.

    Args:
        name: for summaries and files.
        trainable, dtype: see ``Layer``.

    For files a subclass is registered with ``models.register``; its arguments are noted when it is made, and a
    an overridden ``get_config`` may replace them. The first call builds it.

    >>> from seqcore import layers
    >>> class Twice(Model):
    ...     def __init__(self, units):
    ...         super().__init__()
    ...         self.cell, self.head = layers.LSTM(units), layers.Dense(1)
    ...     def call(self, inputs, training=False):
    ...         return self.head(self.cell(inputs, training=training))
    >>> Twice(3)(np.zeros((2, 5, 4))).shape
    (2, 1)
    """

    _pickle_family = "model"
    _not_tracked = Trainer._not_tracked | {"_arguments", "_inputs", "_extra", "_step"}

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_arguments", (args, kwargs))
        return self

    def __init__(
        self,
        *args: Any,
        name: str | None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
        **unknown: Any,
    ) -> None:
        if args or {"inputs", "outputs"} & set(unknown):
            raise ValueError(
                f"{type(self).__name__}: expected no inputs and outputs, since the functional API is not supported; "
                "use Sequential([...]) or a subclass with call"
            )
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]]
        # Descriptions of the arguments of the first call, by which a file builds the model.
        self._inputs: Any = None
        self._extra: dict[str, Any] = {}

    # ------------------------------------------------------------ structure

    @property
    def layers(self) -> list[Layer]:
        """The layers held directly."""
        return self._sublayers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of a name or a position.

        Raises:
            ValueError: if there is none, or both or neither are given.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer: expected either name or index")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"index: expected 0...{len(layers) - 1} in model {self.name!r}, got {index}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in layers)
        raise ValueError(f"name: expected one of {known} in model {self.name!r}, got {name!r}")

    @property
    def extra(self) -> dict[str, Any]:
        """Further parts saved with the model by ``save(path, extra={...})``: a vocabulary, preprocessing, ..."""
        return self._extra

    @extra.setter
    def extra(self, value: dict[str, Any]) -> None:
        self._extra = dict(value)

    # ------------------------------------------------------------ building and calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``call``; see ``Layer``. A failing first call leaves the model unbuilt."""
        if not self.built or self._building is not None:
            with self._build_lock:
                # Other threads wait here for the first call; a call from inside it continues.
                if not self.built:
                    return self._build_by_call(args, kwargs)
        with CallScope():
            return super().__call__(*args, **kwargs)

    def _build_by_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outside = self._building
        with Build([self, *self.layers_inside()]) as self._building, CallScope():
            y = super().__call__(*args, **kwargs)
        self._building = outside
        self._inputs = [_describe(argument) for argument in args]
        return y

    def _build(self, x: Any) -> None:
        if not self._trainable:
            # The layers came after the argument trainable=False.
            self.trainable = False
        if type(self).build is not Model.build:
            self._inputs = "building"
            super()._build(x)
        self.built = True

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of ``input_shape`` (B, ...), None standing for any size, by a call on zeros."""
        with self._build_lock:
            if self.built or self._inputs == "building":
                self.built = True
                return
            check_shape("input_shape", input_shape)
            with Build([self, *self.layers_inside()]):
                self._call_with_own_states([zeros(input_shape)])
                check_free_sizes(self, input_shape)

    def _call_with_own_states(self, inputs: Sequence[Any]) -> None:
        with self._build_lock, self.state_scope():
            self(*inputs)

    def get_build_description(self) -> Any:
        """Shapes by which :meth:`build_from_description` builds an equal model; JSON-able."""
        return {"inputs": self._inputs, "layers": build_shapes(self)}

    def build_from_description(self, config: Any, weights: Mapping[str, Any]) -> None:
        """Make the weights by the shapes that a file has for the layers, without a call on data.

        Args:
            config: the result of :meth:`get_build_description`. Files of version 0.1 have no shapes of layers: then the
                model is called on zeros; so is one whose ``call`` makes weights.
            weights: those of the file, by name.
        """
        build_by_shapes(self, config.get("layers", {}))
        if not self.built or not weights.keys() <= saving.named_weights(self).keys():
            self.built = False
            self._call_for_file(config["inputs"])
        self._inputs = config["inputs"]

    def _build_by_shape(self, shape: Any) -> None:
        self._inputs = "building"
        super()._build_by_shape(shape)

    def _call_for_file(self, descriptions: Any) -> None:
        """A call on zeros of the first call's shapes; where that is too much, of one row."""
        if not isinstance(descriptions, list):
            raise ValueError(f"inputs: expected a list of descriptions, got {short_repr(descriptions)}")
        for rows in (None, 1):
            inputs = [_from_description(description, rows) for description in descriptions]
            if rows == 1 or sum(map(_elements, inputs)) <= MAX_ZEROS:
                break
        self._call_with_own_states(inputs)

    # ------------------------------------------------------------ summary

    def summary(
        self,
        line_length: int | None = None,
        positions: None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: None = None,
    ) -> None:
        """Print the layers with output shapes and numbers of weights, line by line.

        Args:
            print_fn: called with each line; ``print`` by default.
            line_length, positions, expand_nested, show_trainable, layer_range: accepted only at Keras's defaults.

        >>> from seqcore import Sequential, layers
        >>> Sequential([layers.Input((None, 3)), layers.LSTM(4, name="cell")], name="small").summary()
        Model: small
        Layer (type)  Output shape  Weights
        -----------------------------------
        cell (LSTM)   (None, 4)         128
        -----------------------------------
        Weights: 128 (512 bytes), trainable 128, frozen 0
        """
        default_only("line_length", line_length, None, "columns are as wide as what they hold")
        default_only("positions", positions, None, "columns are as wide as what they hold")
        default_only("expand_nested", expand_nested, False, "layers inside have their own summary")
        default_only("show_trainable", show_trainable, False, "the last line counts trainable and frozen weights")
        default_only("layer_range", layer_range, None, "all layers are shown")
        show = print if print_fn is None else print_fn
        rows = [("Layer (type)", "Output shape", "Weights")]
        for layer, shape in self._layer_shapes():
            count = f"{layer.count_params():,}" if layer.built else "not built"
            rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(shape), count))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        line = "-" * (sum(widths) + 4)
        show(f"Model: {self.name}")
        for number, row in enumerate(rows):
            show(
                f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  "
                + (f"{row[2]:>{widths[2]}}" if number else row[2]).rstrip()
            )
            if number == 0:
                show(line)
        show(line)
        weights = self.weights
        total, free = sum(v.size for v in weights), sum(v.size for v in weights if v.trainable)
        size = sum(v._array.nbytes for v in weights)
        show(f"Weights: {total:,} ({size:,} bytes), trainable {free:,}, frozen {total - free:,}")

    def _layer_shapes(self) -> list[tuple[Layer, Any]]:
        return [(layer, None) for layer in self.layers]

    # ------------------------------------------------------------ config and files

    def get_config(self) -> dict[str, Any]:
        """The arguments the model was made with, by name."""
        args, kwargs = self._arguments
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        if len(args) > len(names):
            raise ValueError(f"get_config: {type(self).__name__} takes *args; override its get_config")
        return {**dict(zip(names, args)), **kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A new model from a config; ``custom_objects`` holds more classes of layers by name."""
        with custom_object_scope(custom_objects):
            return cls(**config)

    def save(
        self,
        filepath: saving.Path,
        overwrite: bool = True,
        zipped: None = None,
        *,
        include_optimizer: bool = True,
        save_format: str | None = None,
        extra: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        tokens: Any = None,
        text_vectorization: Any = None,
        labels: Any = None,
    ) -> None:
        """Write architecture, weights and compile settings, and what belongs to the model; see ``saving.save_model``.

        Args:
            filepath: the file, such as ``"model.safetensors"``.
            overwrite: replace a file that is there.
            zipped: accepted only as None.
            include_optimizer: write how the model was compiled; without it the model comes back not compiled.
            save_format: accepted only as None or "safetensors".
            extra: what else belongs to the model, by name. It is kept in :attr:`extra`, as are the following, and
                comes back with the model: numbers, texts, arrays, lists and dicts of them.
            vocabulary, tokens: ``to_dict()`` of a ``Vocabulary`` and a ``Tokenizer``, which ``seqcore generate`` uses.
            text_vectorization, labels: ``to_dict()`` of a ``TextVectorization`` and the classes' names, which
                :func:`seqcore.text.classify_texts` and ``seqcore predict`` use.

        Raises:
            FileExistsError: without ``overwrite``, if the file is there.
            OSError: if it cannot be written; an old file is then untouched.
            TypeError: for values that JSON and arrays cannot hold.
            ValueError: for a name that ends like another program's files, such as ``.keras``.
        """
        default_only("zipped", zipped, None, "a model is one file that is not packed")
        default_only("save_format", save_format, (None, "safetensors"), "models are written as safetensors")
        parts = {
            "vocabulary": vocabulary,
            "tokens": tokens,
            "text_vectorization": text_vectorization,
            "labels": labels,
        }
        if extra is not None and not isinstance(extra, Mapping):
            raise TypeError(f"extra: expected a dict, got {short_repr(extra)}")
        given = {**(extra or {}), **{name: part for name, part in parts.items() if part is not None}}
        _check_overwrite(filepath, overwrite)
        saving.save_model(self, filepath, {**self.extra, **given}, include_optimizer)

    def save_weights(self, filepath: saving.Path, overwrite: bool = True, max_shard_size: None = None) -> None:
        """Write only the weights; see ``saving.save_weights``.

        Args:
            filepath: the file, such as ``"weights.safetensors"``.
            overwrite: replace a file that is there.
            max_shard_size: accepted only as None.
        """
        default_only("max_shard_size", max_shard_size, None, "weights are one file")
        _check_overwrite(filepath, overwrite)
        saving.save_weights(self, filepath)

    def load_weights(self, filepath: saving.Path, skip_mismatch: bool = False) -> None:
        """Read weights into the built model; see ``saving.load_weights``.

        Args:
            filepath: a file of weights, a model or a checkpoint.
            skip_mismatch: accepted only as False.
        """
        default_only("skip_mismatch", skip_mismatch, False, "all weights are loaded, or none")
        saving.load_weights(self, filepath)

    def save_checkpoint(self, path: saving.Path, position: Mapping[str, Any] | None = None) -> None:
        """Write all that an exact resume needs; see ``saving.save_checkpoint``."""
        saving.save_checkpoint(path, self, position)

    def load_checkpoint(
        self, path: saving.Path, *, check: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Go back to a checkpoint and return its position; see ``saving.load_checkpoint``."""
        return saving.load_checkpoint(path, self, check=check)

    # ------------------------------------------------------------ streaming

    def stream(self, batch_size: int = 1) -> Stream:
        """The model for one time step at a time; only a Sequential can be streamed.

        Args:
            batch_size: B, number of sequences advanced together.

        Raises:
            ValueError: naming a layer that cannot run step by step.
        """
        raise ValueError(
            f"stream: expected a Sequential, got model {self.name!r}, a {type(self).__name__} with its own call"
        )


# ---------------------------------------------------------------- helpers


def _check_overwrite(path: saving.Path, overwrite: bool) -> None:
    if not boolean("overwrite", overwrite) and os.path.lexists(path):
        raise FileExistsError(f"filepath: expected no file at {path}, got one; pass overwrite=True to replace it")


def _elements(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_elements, value)) if isinstance(value, list) else int(np.size(value))


def _describe(value: Any) -> Any:
    """Structure, shapes and types of an argument of ``call``, for JSON."""
    if isinstance(value, (Tensor, np.ndarray)):
        return {"shape": list(value.shape), "dtype": value.dtype.name}
    if isinstance(value, (list, tuple)):
        return {"items": [_describe(item) for item in value]}
    if isinstance(value, dict):
        return {"entries": {str(key): _describe(item) for key, item in value.items()}}
    return {"value": value if isinstance(value, (bool, int, float, str)) else None}


def _from_description(description: Any, rows: int | None = None) -> Any:
    if "shape" in description:
        sizes = [integer("shape", size, 0) for size in description["shape"]]
        if rows is not None:
            sizes[:1] = [rows] if sizes else []
        return plain_zeros(sizes, as_dtype("dtype", description["dtype"], NUMBERS))
    if "items" in description:
        return [_from_description(item, rows) for item in description["items"]]
    if "entries" in description:
        return {key: _from_description(item, rows) for key, item in description["entries"].items()}
    return description["value"]
