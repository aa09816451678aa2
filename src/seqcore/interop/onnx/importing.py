"""Reading an ONNX model: a graph that runs its recurrent layers by the kernels and the rest in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import layers
from ..._files import Path
from ..._validation import NUMBERS, as_booleans, as_path, check_whole, one_line, plain_array, short_repr
from ...models.sequential import Sequential
from ...typing import Array
from .chain import Node, chain_of
from .library import onnx_module
from .operators import OPERATORS
from .recurrent_from_onnx import RecurrentOperator

# Axes of Squeeze, Unsqueeze and ReduceSum are inputs since 13.
_OPSETS = (13, 24)
# Types that NumPy knows itself.
_TYPES = "fiub"


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph.

    Args:
        name: of the input.
        dtype: of its elements.
        shape: its sizes; a text or None for a free one; None where the file says nothing about it.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None


class OnnxGraph:
    """A graph of an ONNX file, for inference; :func:`import_onnx` makes it.

    ``graph(x)``, ``graph(x, h, c)`` takes the inputs in the order of ``graph.inputs``, or one dict of them by name, and
    returns the output, or the list of them in the order of ``graph.outputs``. Constants are computed once, weights
    packed once.

    Attributes:
        inputs: a list of :class:`GraphInput`.
        outputs: the names of the outputs.
    """

    def __init__(self, proto: Any) -> None:
        opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if not _OPSETS[0] <= opset <= _OPSETS[1]:
            raise ValueError(f"opset: expected {_OPSETS[0]}...{_OPSETS[1]}, got {opset}")
        graph = proto.graph
        if graph.sparse_initializer:
            raise ValueError("sparse_initializer: expected dense weights, got sparse ones")
        to_array = onnx_module("onnx.numpy_helper").to_array
        self._constants: dict[str, Array | None] = {"": None}
        for tensor in graph.initializer:
            self._constants[tensor.name] = _checked(f"initializer {tensor.name!r}", to_array(tensor))
        self.inputs = [_graph_input(value) for value in graph.input if value.name not in self._constants]
        self.outputs = [value.name for value in graph.output]
        self._nodes: list[Node] = []
        for node in graph.node:
            self._add(node)

    def _add(self, proto: Any) -> None:
        """Add a node, or its outputs where all inputs are constants."""
        where = _node_name(proto)
        if proto.domain not in ("", "ai.onnx"):
            raise ValueError(f"{where}: expected an operator of ONNX, got {proto.domain}.{proto.op_type}")
        attributes = {item.name: _attribute(where, item) for item in proto.attribute}
        if proto.op_type == "Constant":
            value = next(iter(attributes.values()))
            dtype = {
                "value_float": np.float32,
                "value_floats": np.float32,
                "value_int": np.int64,
                "value_ints": np.int64,
            }
            self._constants[proto.output[0]] = np.asarray(value, dtype.get(next(iter(attributes))))
            return
        if proto.op_type not in OPERATORS:
            raise ValueError(f"{where}: the operator {proto.op_type} cannot be imported")
        given = dict(attributes)
        if proto.op_type == "Split":
            attributes["outputs"] = len(proto.output)
        try:
            function = OPERATORS[proto.op_type](attributes)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        attributes.pop("outputs", None)
        if attributes:
            name, value = next(iter(attributes.items()))
            raise ValueError(f"{where}: the attribute {name}={short_repr(value)} of {proto.op_type} cannot be imported")
        if proto.op_type == "LSTM" and len(proto.input) > 7 and proto.input[7]:
            raise ValueError(f"{where}: the input P (peepholes) of an LSTM cannot be imported")
        if isinstance(function, RecurrentOperator):
            function.constant_weights = all(name in self._constants for name in proto.input[1:4])
        node = Node(where, proto.op_type, function, tuple(proto.input), tuple(proto.output), given)
        if all(name in self._constants for name in node.inputs):
            _run_node(node, self._constants)
        else:
            self._nodes.append(node)

    def __call__(self, *arrays: Any) -> Any:
        """Run the graph; see the class.

        Raises:
            ValueError: for inputs that are missing or do not fit, and naming the node that fails.
        """
        names = [value.name for value in self.inputs]
        if len(arrays) == 1 and isinstance(arrays[0], dict):
            given = arrays[0]
            if set(given) != set(names):
                raise ValueError(f"inputs: expected {', '.join(map(repr, names))}, got {short_repr(list(given))}")
        elif len(arrays) != len(names):
            raise ValueError(f"inputs: expected {len(names)}, {', '.join(map(repr, names))}, got {len(arrays)}")
        else:
            given = dict(zip(names, arrays))
        values: dict[str, Any] = dict(self._constants)
        for value in self.inputs:
            values[value.name] = _as_input(value, given[value.name])
        # Infinity and NaN are results, as in other engines.
        with np.errstate(all="ignore"):
            for node in self._nodes:
                _run_node(node, values)
        results = [values[name] for name in self.outputs]
        return results[0] if len(results) == 1 else results

    def to_sequential(self) -> Sequential:
        """The graph as a Sequential, to be trained, saved and streamed, where its nodes are layers in order.

        Layers: Embedding (Gather of a table), SimpleRNN, LSTM, GRU and Bidirectional, Conv1D, Dense (MatMul and Add,
        Gemm) and activations, with Transpose, Reshape, Squeeze, ... between them. The first input and output are those
        of the model; initial states that are inputs become the states of a stream. Sequences are (batch, time,
        features) whatever the order in the file. The numbers of both are compared on random data.

        Raises:
            ValueError: naming the node that is not part of such layers, or where the numbers differ.

        >>> import os, tempfile
        >>> import seqcore as sc
        >>> from seqcore.interop.onnx import export_onnx
        >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
        >>> export_onnx(sc.Sequential([sc.layers.Input((None, 3)), sc.layers.GRU(4), sc.layers.Dense(2)]), path)
        >>> [type(layer).__name__ for layer in import_onnx(path).to_sequential().layers]
        ['GRU', 'Dense']
        """
        shape = self.inputs[0].shape if self.inputs else None
        if not shape:
            raise ValueError("graph: expected an input of a known number of axes")
        data = self.inputs[0]
        chain = chain_of(self._nodes, self._constants, data.name, self.outputs[0])
        steps = 5
        for layer in reversed(chain):
            if isinstance(layer, layers.Conv1D):
                steps = (steps - 1) * layer.strides[0] + (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1
        for order in _orders(len(shape)):
            size = shape[order[-1]]
            features = size if isinstance(size, int) and data.dtype.kind == "f" else None
            front = layers.Input((*[None] * (len(shape) - 2), features), dtype=data.dtype.name)
            try:
                model = Sequential([front, *chain])
            except ValueError:
                continue
            rng = np.random.default_rng(0)
            if all(self._agrees(model, rng, sizes, order) for sizes in ((2, steps), (3, steps + 1))):
                return model
        raise ValueError("graph: expected the numbers of its layers one after the other, got others")

    def _agrees(
        self, model: Sequential, rng: np.random.Generator, sizes: tuple[int, int], order: tuple[int, ...]
    ) -> bool:
        """True where the model has the numbers of the graph on random data of ``sizes``, batch and time.

        Axis i of the graph's first input is axis ``order[i]`` of the model's; its output may have any order.
        """
        arrays = []
        for number, value in enumerate(self.inputs):
            # A free size of a state is the batch.
            axes = order if number == 0 else [0] * len(value.shape or ())
            shape = [
                size if isinstance(size, int) else sizes[min(axis, 1)] for size, axis in zip(value.shape or (), axes)
            ]
            if number:
                arrays.append(np.zeros(shape, value.dtype))
            elif value.dtype.kind == "f":
                arrays.append(rng.normal(size=shape).astype(value.dtype))
            else:
                arrays.append(rng.integers(0, getattr(model.layers[0], "input_dim", 2), shape).astype(value.dtype))
        try:
            got = self(*arrays)
            expected = model(arrays[0].transpose(order)).numpy()
        except ValueError:
            return False
        got = got if len(self.outputs) == 1 else got[0]
        bound = 1e-5 * max(1.0, float(np.abs(expected).max()))
        turned = [got.transpose(back) for back in _orders(got.ndim)] if got.ndim > 2 else [got]
        return any(y.shape == expected.shape and bool(np.allclose(y, expected, rtol=0, atol=bound)) for y in turned)


def _orders(axes: int) -> list[tuple[int, ...]]:
    """Orders of the axes of a sequence, their own inverses: batch first, time first, features before time."""
    plain = tuple(range(axes))
    return [plain, *([(1, 0, *plain[2:])] if axes > 1 else []), *([(0, 2, 1)] if axes == 3 else [])]


def import_onnx(path: Path) -> OnnxGraph:
    """Read an ONNX model that PyTorch, Keras or :func:`export_onnx` wrote, to run it without onnxruntime.

    The operators RNN, LSTM and GRU run by the kernels, in float32 or float64: all directions, both layouts, initial
    states, ``sequence_lens``, ``linear_before_reset``, and the activations Tanh, Sigmoid, Relu, Affine(1, 0) and
    HardSigmoid(1/6, 1/2). Conv over one dimension runs by the kernels too, the operators around them in NumPy.

    Args:
        path: the file; weights in files next to it are read too.

    Returns:
        The graph, to be called with arrays.

    Raises:
        ImportError: without the library ``onnx``.
        OSError: the file cannot be read.
        ValueError: the file is no ONNX model, or naming the node and the operator or attribute that cannot be
            expressed: ``clip``, ``input_forget``, peepholes, convolutions of groups or of images, loops, half
            precision, other opsets than 13...24.

    >>> import os, tempfile
    >>> import seqcore as sc
    >>> from seqcore.interop.onnx import export_onnx
    >>> model = sc.Sequential([sc.layers.Input((None, 3)), sc.layers.GRU(4)])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> export_onnx(model, path)
    >>> x = np.ones((2, 5, 3), np.float32)
    >>> np.allclose(import_onnx(path)(x), model(x), atol=1e-6)
    True
    """
    place = as_path(path)
    onnx = onnx_module()
    with open(place, "rb"):
        pass
    try:
        proto = onnx.load(place)
        onnx.checker.check_model(proto)
    except Exception as error:
        raise ValueError(f"{place}: expected an ONNX model, got {one_line(error)}") from None
    try:
        if proto.functions:
            proto = onnx_module("onnx.inliner").inline_local_functions(proto)
        return OnnxGraph(proto)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


# --- parts of a file --------------------------------------------------------------------------------------------------


def _node_name(proto: Any) -> str:
    name = proto.name or next((output for output in proto.output if output), proto.op_type)
    return f"node {name!r}"


def _attribute(where: str, proto: Any) -> Any:
    """The value of an attribute, in Python's types."""
    helper = onnx_module("onnx.helper")
    value = helper.get_attribute_value(proto)
    if proto.name == "to":
        return _checked_type(f"{where}: to", helper.tensor_dtype_to_np_dtype(value))
    if proto.type == proto.TENSOR:
        return _checked(f"{where}: {proto.name}", onnx_module("onnx.numpy_helper").to_array(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        return [item.decode() if isinstance(item, bytes) else item for item in value]
    return value


def _checked(name: str, array: Array) -> Array:
    _checked_type(name, array.dtype)
    # Arrays of a file may lie in its read-only memory.
    return np.ascontiguousarray(array).reshape(array.shape)


def _checked_type(name: str, dtype: Any) -> np.dtype[Any]:
    known: np.dtype[Any] = np.dtype(dtype)
    if known.kind not in _TYPES or (known.kind == "f" and known.itemsize < 4):
        raise ValueError(f"{name}: expected float32, float64, whole numbers or booleans, got {known}")
    return known


def _graph_input(proto: Any) -> GraphInput:
    where = f"input {proto.name!r}"
    if not proto.type.HasField("tensor_type"):
        raise ValueError(f"{where}: expected a tensor, got a sequence or a map")
    tensor = proto.type.tensor_type
    dtype = _checked_type(where, onnx_module("onnx.helper").tensor_dtype_to_np_dtype(tensor.elem_type))
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in tensor.shape.dim
        )
    return GraphInput(proto.name, dtype, shape)


def _as_input(expected: GraphInput, value: Any) -> Array:
    """An array of the type of the input, checked."""
    name, dtype, shape = expected.name, expected.dtype, expected.shape
    array = plain_array(name, value)
    if array.dtype != dtype:
        if array.dtype.kind not in NUMBERS:
            raise ValueError(f"{name}: expected {dtype}, got {array.dtype}")
        if dtype.kind == "b":
            array = as_booleans(name, array)
        elif dtype.kind != "f":
            check_whole(name, array)
        array = array.astype(dtype)
    if shape is not None:
        fits = array.ndim == len(shape) and all(
            not isinstance(size, int) or size == got for size, got in zip(shape, array.shape)
        )
        if not fits:
            text = ", ".join(map(str, shape))
            raise ValueError(f"{name}: expected shape ({text}), got {array.shape}")
    return array


def _run_node(node: Node, values: dict[str, Any]) -> None:
    """Compute the outputs of a node into ``values``."""
    try:
        results = node.function(*[values[name] for name in node.inputs])
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{node.name}: {one_line(error)}") from None
    if not isinstance(results, tuple):
        results = (results,)
    for name, result in zip(node.outputs, results):
        if name:
            values[name] = result if isinstance(result, list) else np.asarray(result)
