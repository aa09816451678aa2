"""Layer: build, call protocol (casting, training, masks, lengths), config."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import initializers as _initializers
from .. import ops
from .._locks import ForkSafeLock
from .._validation import (
    NUMBERS,
    as_dtype,
    as_lengths,
    as_mask,
    as_sizes,
    boolean,
    check_fits,
    check_shape,
    class_of,
    default_only,
    integer,
    is_array,
    no_regularizers,
)
from ..autograd import Tensor, Variable, as_array, recorded, tensor_mask
from ..autograd.dtypes import MIXED, resolve_dtype, use_bfloat16
from ..autograd.staleness import mark_stale
from ..autograd.tape import Backward
from ..typing import Array, Shape
from .arguments import CallSignature, automatic_name, input_hint, input_shapes, refuse_unknown, weight_sizes
from .building import Build, build_inside, call_on_zeros, file_context
from .calling import context
from .module import Module

# The output of a layer for an array, its variables, and the backward function, from the gradient of the output to those
# of the input and the variables; None where no gradient was asked for.
ArrayCall = tuple[Array, Sequence[Any], Backward | None]


class Layer(Module):
    """Base of all layers and models.

    Args:
        trainable: whether tapes follow the weights, True by default.
        name: for summaries and files; counted names like ``lstm_1`` by default.
        dtype: "float32", "float64" or "mixed_bfloat16" (see :func:`seqcore.set_dtype_policy`, whose policy is the
            default).
        autocast: whether inputs are cast to the dtype of the weights, True by default.
        input_shape: shape of one sample, for the first layer of a Sequential; ``input_dim=n`` means ``(n,)``.
        batch_input_shape: the same with the batch size in front.

    Subclasses make their weights in ``build(input_shape)`` with :meth:`add_weight` and compute in
    ``call(inputs, ...)``, which may take ``training``, ``mask`` and ``lengths``. Layers and variables held as
    attributes (in lists, tuples and dicts too) belong to the layer.

    Raises:
        ValueError: for unknown arguments, and for Keras's ``activity_regularizer``.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> Scale()([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)
    """

    supports_masking = False
    # Attributes that are arguments of the constructor: get_config gives them after those that all layers have.
    _config_arguments: tuple[str, ...] = ()
    # False where `call` takes one array and not a list.
    _accepts_list = True
    # Kinds of arrays that are cast to the layer's dtype: "f" as in Keras; "fiub" in layers of numbers; none of ids.
    _input_kinds = "f"
    _signature = CallSignature()
    # The build in progress in some thread; other threads wait for it.
    _building: Build | None = None
    # True in a class of the user that overrides compute_mask: its output has a mask also where the input has none.
    _overrides_compute_mask = False
    # Methods of Keras that nothing calls here, with what to override instead.
    _never_called = {
        "get_build_config": "build and get_config",
        "build_from_config": "build and get_config",
        "save_own_variables": "add_weight, whose variables are saved",
        "load_own_variables": "add_weight, whose variables are saved",
        "save_assets": "get_config",
        "load_assets": "get_config",
        "compute_output_spec": "compute_output_shape",
        "stateless_call": "call",
        "symbolic_call": "call",
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, instead in cls._never_called.items():
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name}: expected no override, since nothing calls it; use {instead}")
        if "compute_mask" in cls.__dict__ and not cls.__module__.startswith("seqcore."):
            cls._overrides_compute_mask = True
            cls.supports_masking = cls.__dict__.get("supports_masking", True)
        if "call" in cls.__dict__:
            cls._signature = CallSignature.of(cls.__dict__["call"])

    def __init__(
        self,
        *,
        activity_regularizer: None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
        autocast: bool = True,
        name: str | None = None,
        input_dim: int | None = None,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        **unknown: Any,
    ) -> None:
        # CPython reads attributes faster from a dict of the instance than from one that shares its keys with the class
        # and that `_members` has looked at: 3 % of a small recorded call.
        self.__dict__ = dict(self.__dict__)
        if file_context.limits is not None:
            file_context.limits.count_layer()
        if unknown:
            refuse_unknown(type(self), unknown)
        super().__init__(trainable)
        no_regularizers(activity_regularizer=activity_regularizer)
        if input_dim is not None and input_shape is None:
            input_shape = (integer("input_dim", input_dim, 1),)
        if not autocast:
            self._input_kinds = ""
        self._autocast = boolean("autocast", autocast)
        self.name = str(name) if name else automatic_name(type(self))
        self._dtype, mixed = resolve_dtype(dtype)
        self._policy = MIXED if mixed else str(self._dtype.name)
        # True where the core computes products in bfloat16.
        self.uses_bfloat16 = use_bfloat16(self._dtype, mixed)
        self.built = False
        self._build_lock = ForkSafeLock()
        self._build_shape: Any = None
        self._batch_input_shape: Shape | None = None
        if input_shape is not None:
            self._batch_input_shape = (None, *as_sizes("input_shape", input_shape))
        if batch_input_shape is not None:
            self._batch_input_shape = as_sizes("batch_input_shape", batch_input_shape)

    # --- weights ---

    @property
    def dtype(self) -> str:
        """Name of the floating-point type of the weights."""
        return str(self._dtype.name)

    @property
    def dtype_policy(self) -> str:
        """``dtype``, or "mixed_bfloat16"."""
        return self._policy

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: DTypeLike | None = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: None = None,
        constraint: None = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """A new variable of the layer.

        Args:
            shape: sizes of its axes.
            initializer: see ``initializers.get``; by default "glorot_uniform" for floats, "zeros" for other types.
            dtype: the layer's type by default.
            trainable: False for a weight that no optimizer may change.
            name: the variable is called ``layer/name``.

        Raises:
            ValueError: for a regularizer or constraint, and where another argument of Keras is not at its default.
        """
        no_regularizers(regularizer=regularizer, constraint=constraint)
        default_only("autocast", autocast, True, "a variable keeps its type")
        default_only("aggregation", aggregation, ("none", None), "there are no replicas of a variable")
        default_only("overwrite_with_gradient", overwrite_with_gradient, False, "optimizers update variables")
        sizes, trainable = weight_sizes(shape), boolean("trainable", trainable)
        weight_dtype = self._dtype if dtype is None else as_dtype("dtype", dtype, NUMBERS)
        is_float = weight_dtype.kind == "f"
        if initializer is None:
            initializer = "glorot_uniform" if is_float else "zeros"
        if file_context.limits is not None:
            values: Any = file_context.limits.zeros(self.name, sizes, weight_dtype)
        else:
            values = _initializers.get(initializer)(sizes, weight_dtype if is_float else "float64")
            check_fits("initializer", values, weight_dtype)
            values = values.astype(weight_dtype, copy=False)
        short = name or f"weight_{len(self._own_variables)}"
        variable = Variable(values, trainable and self._trainable, f"{self.name}/{short}")
        self._own_variables.append((variable, trainable))
        mark_stale(self)
        return variable

    # --- calling ---

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of ``input_shape``; subclasses override it.

        A class without its own ``build`` gets the weights of the layers inside, by a call on zeros.
        """
        if type(self).build is Layer.build and not self.built:
            self._build_with(input_shape)
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses override it."""
        raise TypeError(f"{type(self).__name__}: a layer must define call(inputs)")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for inputs of ``input_shape``; None means any size."""
        return input_shape

    def _output_shape(self, input_shape: Any) -> Any:
        """As ``compute_output_shape``; by a call on zeros in a class of the user that does not override it."""
        overridden = type(self).compute_output_shape is not Layer.compute_output_shape
        if overridden or type(self).__module__.startswith("seqcore."):
            return self.compute_output_shape(input_shape)
        batch = input_shape[0][0] if isinstance(input_shape[0], (list, tuple)) else input_shape[0]
        y = call_on_zeros(self, input_shape)
        if isinstance(y, (list, tuple)):
            return [(batch, *output.shape[1:]) for output in y]
        return (batch, *y.shape[1:])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the output."""
        return mask

    def _keeps_time(self) -> bool:
        """True where the output has the time steps of the input, and so its mask and lengths."""
        return True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build at the first call, cast the input, pass ``training``, ``mask`` and ``lengths``, and run ``call``.

        Raises:
            ValueError: for both mask and lengths, and for a symbolic input.
        """
        if not args:
            first = self._signature.first if self._signature.first in kwargs else "inputs"
            if first not in kwargs:
                raise ValueError(f"{self._signature.first}: expected data for layer {self.name!r}, got none")
            args = (kwargs.pop(first),)
        x = args[0]
        if type(x) is not Tensor or x._array.dtype is not self._dtype:
            x = self._prepare(x)
        signature, has_mask = self._signature, False
        outer = context.training
        training = kwargs.pop("training", None) if kwargs else None
        if isinstance(x, Tensor):
            if not x._array.size:
                raise ValueError(f"inputs: expected at least one element for layer {self.name!r}, got shape {x.shape}")
            if kwargs or len(args) > 1 or x.mask is not None or x.lengths is not None:
                x, has_mask = self._take_masks(x, args, kwargs)
        elif not self._accepts_list:
            raise ValueError(self._several_inputs_error(x))
        index = signature.training or 0
        positional = 0 < index < len(args)
        if training is None:
            training = args[index] if positional else outer
            training = (outer or False) if training is None else training
        if positional:
            args = (*args[:index], training, *args[index + 1 :])
        elif index:
            kwargs["training"] = training
        if not self.built or self._building is not None:
            self._build_once(x)
        context.training = training
        try:
            y = self.call(x, *args[1:], **kwargs)
        finally:
            context.training = outer
        if self._overrides_compute_mask and self.supports_masking:
            return self._with_computed_mask(x, y)
        if has_mask and self.supports_masking and self._keeps_time():
            first = y[0] if isinstance(y, (list, tuple)) else y
            if isinstance(first, Tensor) and first.mask is None and first.lengths is None:
                first.lengths = x.lengths
                first.mask = self.compute_mask(x, x.mask) if x.mask is not None else None
        return y

    def _with_computed_mask(self, x: Any, y: Any) -> Any:
        """The output with what an override of ``compute_mask`` returns, unless ``call`` has put a mask there."""
        several = isinstance(y, (list, tuple))
        before = [tensor_mask(item) for item in x] if isinstance(x, (list, tuple)) else tensor_mask(x)
        masks = self.compute_mask(x, before)
        outputs = list(y) if several else [y]
        for i, mask in enumerate(masks if isinstance(masks, (list, tuple)) else [masks]):
            if outputs[i] is x:
                # The tensor of the caller stays as it is.
                outputs[i] = recorded(x._array, (x,), lambda g: (g,))
            output = outputs[i]
            if isinstance(output, Tensor) and output.mask is None and output.lengths is None and mask is not None:
                output.mask = as_mask(mask, output.shape)
        return outputs if several else outputs[0]

    def _take_masks(self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, bool]:
        """Put the mask or lengths where ``call`` and the output find them."""
        index = self._signature.mask
        positional = 0 < (index or 0) < len(args)
        mask = args[index or 0] if positional else kwargs.pop("mask", None)
        lengths = kwargs.pop("lengths", None)
        given = mask is not None or lengths is not None
        mask = x.mask if mask is None else mask
        lengths = x.lengths if lengths is None else lengths
        if mask is None and lengths is None:
            return x, False
        if mask is not None and lengths is not None:
            raise ValueError(f"mask, lengths: expected at most one of them for layer {self.name!r}, got both")
        if given:
            mask = None if mask is None else self._check_mask(mask, x.shape)
            lengths = None if lengths is None else as_lengths(lengths, x.shape)
            x = recorded(x._array, (x,), lambda g: (g,))
            x.mask, x.lengths = mask, lengths
        if index is not None and mask is not None and not positional:
            kwargs["mask"] = mask
        if self._signature.lengths is not None and lengths is not None:
            kwargs["lengths"] = lengths
        return x, True

    def _check_mask(self, mask: Any, shape: tuple[int, ...]) -> Array:
        """The mask of a call as booleans: one for each time step of an input of ``shape``."""
        return as_mask(mask, shape)

    def _prepare(self, value: Any) -> Any:
        """Inputs as tensors of the layer's type."""
        if type(value) is np.ndarray:
            dtype = value.dtype
            if dtype == self._dtype or (dtype.kind in "iub" and dtype.kind not in self._input_kinds):
                return Tensor(value)
        if isinstance(value, Tensor):
            dtype = value.dtype
            if dtype is self._dtype or dtype == self._dtype or not self._casts(dtype):
                return value
            y = ops.cast(value, self._dtype)
            y.mask, y.lengths = value.mask, value.lengths
            return y
        if isinstance(value, dict):
            return {key: self._prepare(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)) and value:
            if is_array(value[0]) or any(isinstance(item, (Tensor, np.ndarray)) for item in value):
                return [self._prepare(item) for item in value]
        if isinstance(value, Layer):
            raise ValueError(
                f"inputs: expected data for layer {self.name!r}, got the layer {value.name!r}; the functional API is "
                "not supported, use Sequential([...]) or a subclass of Model"
            )
        if value is None:
            raise ValueError(f"inputs: expected data for layer {self.name!r}, got None")
        try:
            array = as_array(value, name="inputs")
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error}{input_hint(value)}") from None
        if array.dtype != self._dtype and self._casts(array.dtype):
            array = array.astype(self._dtype)
        return Tensor(array)

    def _casts(self, dtype: np.dtype[Any]) -> bool:
        """True where inputs of ``dtype`` are cast to the layer's; a model leaves that to the layers inside."""
        if dtype.kind not in self._input_kinds:
            return False
        return len(self._input_kinds) > 1 or not self._sublayers

    def _build_once(self, x: Any) -> None:
        """Build in the first of several threads that call the layer; the others wait until it has its weights."""
        with self._build_lock:
            if not self.built:
                self._build(x)

    def _build(self, x: Any) -> None:
        # The call that follows builds the layers inside.
        self._build_with(input_shapes(x), inside=False)

    def _build_with(self, shape: Any, inside: bool = True) -> None:
        """Build for inputs of ``shape``, layers inside too, unless that is done; a failing build leaves no weights."""
        if isinstance(shape, list) and not self._accepts_list:
            raise ValueError(self._several_inputs_error(shape))
        check_shape("input_shape", shape if not isinstance(shape, dict) else list(shape.values()))
        with self._build_lock:
            if self.built:
                return
            outside = self._building
            if outside is not None and outside.thread != threading.get_ident():
                # Begun by a thread that this forked process does not have.
                outside.undo()
                outside = None
            with Build([self, *self.layers_inside()]) as self._building:
                if not self._trainable:
                    self.trainable = False
                if type(self).build is not Layer.build:
                    self.build(shape)
                if inside:
                    build_inside(self, shape)
                self._build_shape = shape
                self.built = True
                mark_stale(self)
            self._building = outside

    def _parts(self) -> tuple[Layer, ...]:
        """The layer, and its parts that are layers but not sublayers (the cell)."""
        return (self,)

    def _several_inputs_error(self, value: Any) -> str:
        """Message of the error for several inputs where one is expected."""
        expected = f"inputs: expected one array for layer {self.name!r}, got"
        if isinstance(value, dict):
            return f"{expected} a dict; take one of its arrays: {', '.join(map(repr, value))}"
        return (
            f"{expected} a list of {len(value)}; stack arrays of one shape, or take return_state=True or "
            "merge_mode=None from the layer before"
        )

    def _build_by_shape(self, shape: Any) -> None:
        """Build without a call, for inputs of ``shape``; None for a layer without weights."""
        if shape is not None:
            self._build_with(shape)
        self.built = True

    def _add_to_stream(self, stream: Any) -> None:
        """Add the layer to a ``_core.stream.Stream``.

        Raises:
            ValueError: for layers that cannot run one step at a time.
        """
        raise ValueError(f"layer {self.name!r}: a {type(self).__name__} cannot be streamed")

    # --- calling on arrays ---

    def takes_arrays(self) -> bool:
        """True where :meth:`call_on_array` does what a call in training does for an input without mask and lengths."""
        return False

    def call_on_array(self, x: Array, need_dx: bool) -> ArrayCall:
        """The computation of a call in training, for steps without a tape.

        Args:
            x: an input of the layer's dtype, or ids.
            need_dx: whether the gradient of x is asked for; those of the trainable variables always are.

        Raises:
            ValueError: what a call raises.
        """
        raise TypeError(f"{type(self).__name__}: expected a layer that takes arrays")

    # --- config ---

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal layer with new weights; a subclass adds its arguments."""
        config: dict[str, Any] = {"name": self.name, "trainable": self._trainable, "dtype": self.dtype_policy}
        if not self._autocast:
            config["autocast"] = False
        if self._batch_input_shape is not None:
            config["batch_input_shape"] = list(self._batch_input_shape)
        for name in self._config_arguments:
            value = getattr(self, name)
            if name.endswith("_initializer"):
                value = _initializers.serialize(value)
            config[name] = list(value) if isinstance(value, tuple) else value
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new layer from a config."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class NumericLayer(Layer):
    """Base of the built-in layers that take one array of numbers, cast it to their dtype, and pass its mask on."""

    supports_masking = True
    _accepts_list = False
    _input_kinds = "fiub"


def any_trainable(variables: Sequence[Any]) -> bool:
    """True where one of the variables, of which some may be None, is trainable."""
    for variable in variables:
        if variable is not None and variable._trainable:
            return True
    return False


def not_a_layer(value: Any) -> str:
    """Description of a value that is not a layer, with a hint, for an error."""
    if isinstance(value, type):
        return f"the class {value.__name__}; call it"
    name = class_of(value)
    return f"{name}; give the model its ids" if name == "TextVectorization" else name
