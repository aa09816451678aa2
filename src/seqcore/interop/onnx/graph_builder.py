"""An ONNX graph in the making: GraphBuilder with its nodes, Value, and Export, the settings next to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .library import onnx_module


class GraphBuilder:
    """An ONNX graph in the making; values are known by their names.

    Args:
        opset: version of the operators.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._helper = onnx_module("onnx.helper")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        # Small constants by their content: axes and bounds occur again and again.
        self._known: dict[tuple[Any, ...], str] = {}
        self._names: set[str] = set()
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def name(self, wanted: str) -> str:
        """``wanted``, or with a number behind it where that name is taken."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def input(self, name: str, dtype: Any, shape: Sequence[Any]) -> str:
        """A new input; a text in ``shape`` names a size that is free."""
        name = self.name(name)
        self._inputs.append(self._value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: Any, shape: Sequence[Any]) -> None:
        """Make ``value`` an output of that name."""
        name = self.name(name)
        self._nodes.append(self._helper.make_node("Identity", [value], [name], name=self.name(f"{name}/Identity")))
        self._outputs.append(self._value_info(name, dtype, shape))

    def _value_info(self, name: str, dtype: Any, shape: Sequence[Any]) -> Any:
        element = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._helper.make_tensor_value_info(name, element, shape)

    def constant(self, values: Any, dtype: Any = np.int64, name: str = "constant") -> str:
        """A constant; weights come with a name, small ones are shared."""
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 8 and name == "constant" else None
        if key is not None and key in self._known:
            return self._known[key]
        name = self.name(name)
        self._constants.append(onnx_module("onnx.numpy_helper").from_array(array, name))
        if key is not None:
            self._known[key] = name
        return name

    def nodes(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """The outputs of a new node; ``""`` leaves an input out."""
        name = self.name(op)
        names = [self.name(f"{name}_{i}") for i in range(outputs)]
        self._nodes.append(self._helper.make_node(op, list(inputs), names, name=name, **attributes))
        return names

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The one output of a new node."""
        return self.nodes(op, *inputs, **attributes)[0]

    # --- what several layers need ---

    def size(self, value: str, axis: int) -> str:
        """The size of one axis, (1,) int64."""
        return self.node("Shape", value, start=axis, end=axis + 1)

    def cast(self, value: str, dtype: Any) -> str:
        return self.node("Cast", value, to=self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def unsqueeze(self, value: str, *axes: int) -> str:
        return self.node("Unsqueeze", value, self.constant(axes))

    def squeeze(self, value: str, *axes: int) -> str:
        return self.node("Squeeze", value, self.constant(axes))

    def steps(self, value: str) -> str:
        """0, 1, ... of the time steps of a value (B, T, ...), (T,) int64."""
        end = self.squeeze(self.size(value, 1), 0)
        return self.node("Range", self.constant(0), end, self.constant(1))

    def reduce(self, op: str, value: str, axes: Sequence[int] | None, keepdims: int) -> str:
        """ReduceSum, ReduceMean or ReduceMax, whose axes became an input at different versions; None for all axes."""
        if axes is None:
            return self.node(op, value, keepdims=keepdims)
        if op == "ReduceSum" or self.opset >= 18:
            return self.node(op, value, self.constant(axes), keepdims=keepdims)
        return self.node(op, value, axes=list(axes), keepdims=keepdims)

    def flip_time(self, value: str) -> str:
        """A value (B, T, ...) with the steps in reverse order."""
        bounds = [self.constant([number]) for number in (-1, np.iinfo(np.int64).min, 1, -1)]
        return self.node("Slice", value, *bounds)

    def _used(self) -> tuple[list[Any], set[str]]:
        """The nodes that an output depends on, and the names of all values there."""
        used = {output.name for output in self._outputs}
        nodes = []
        for node in reversed(self._nodes):
            if used.intersection(node.output):
                used.update(node.input)
                nodes.append(node)
        return nodes[::-1], used

    def model(self, name: str, version: str) -> Any:
        """The finished model, checked."""
        nodes, used = self._used()
        constants = [constant for constant in self._constants if constant.name in used]
        graph = self._helper.make_graph(nodes, name, self._inputs, self._outputs, constants)
        opsets = [self._helper.make_opsetid("", self.opset)]
        model = self._helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=self._helper.find_min_ir_version_for(opsets),
            producer_name="seqcore",
            producer_version=version,
        )
        onnx_module("onnx.checker").check_model(model, full_check=True)
        return model


@dataclass(frozen=True)
class Value:
    """A value of the graph, with the mask or the lengths that go on with it.

    Args:
        name: of the value.
        shape: its sizes; a text for a free one.
        dtype: name of the type of its elements.
        mask: name of a mask of booleans, and
        mask_rank: its number of axes: 2, or more for sequences within sequences.
        lengths: name of the lengths, (B,) int32.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: str
    mask: str | None = None
    mask_rank: int = 2
    lengths: str | None = None


@dataclass(frozen=True)
class Export:
    """An export in progress.

    Args:
        graph: the graph so far.
        states: whether hidden states are inputs and outputs of it.
        finals: the final states that become outputs, each as its name there and its value.
    """

    graph: GraphBuilder
    states: bool
    finals: list[tuple[str, Value]] = field(default_factory=list)
