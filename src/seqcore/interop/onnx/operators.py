"""ONNX's operators in NumPy, as far as exporters write them around recurrent layers.

An entry of ``OPERATORS`` takes the attributes of a node and returns a function of its inputs, None for one that is left
out; it removes from the attributes those that it honours. (``onnx.reference`` has all operators, but needs 300
microseconds for one step of an LSTM and a GRU in 26 nodes, where these with the kernels need 77: AMD EPYC, one thread.)

Source: the ONNX specification of the operators, versions 13...24.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np

from ... import ops
from ..._core.dense import normal_cdf
from ...autograd import Tensor
from ...ops.convolution import conv1d
from ...typing import Array
from .recurrent_from_onnx import RecurrentOperator

Attributes = dict[str, Any]
Operator = Callable[..., Any]


def _plain(function: Operator) -> Callable[[Attributes], Operator]:
    """An operator without attributes."""
    return lambda attributes: function


def _activation(function: Operator) -> Callable[[Attributes], Operator]:
    return _plain(lambda x: function(x).numpy())


def _softmax(function: Operator, attributes: Attributes) -> Operator:
    axis = attributes.pop("axis", -1)
    return lambda x: function(x, axis).numpy()


def _hard_sigmoid(attributes: Attributes) -> Operator:
    alpha, beta = attributes.pop("alpha", 0.2), attributes.pop("beta", 0.5)
    return lambda x: np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


def _leaky_relu(attributes: Attributes) -> Operator:
    alpha = attributes.pop("alpha", 0.01)
    return lambda x: np.where(x < 0, x * x.dtype.type(alpha), x)


def _elu(attributes: Attributes) -> Operator:
    alpha = attributes.pop("alpha", 1.0)
    return lambda x: ops.elu(x, alpha).numpy()


def _erf(x: Array) -> Array:
    values: Array = normal_cdf(np.ascontiguousarray(x).reshape(-1) * x.dtype.type(2**0.5))
    return (2 * values - 1).reshape(x.shape)


def _divide(a: Array, b: Array) -> Array:
    """The quotient; that of integers without its fraction."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient: Array = np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))
    return quotient


def _power(a: Array, b: Array) -> Array:
    return np.asarray(np.power(a, b)).astype(a.dtype, copy=False)


def _several(function: Operator) -> Callable[[Attributes], Operator]:
    """An operator of any number of inputs."""
    return _plain(lambda *arrays: reduce(function, arrays))


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _gemm(attributes: Attributes) -> Operator:
    alpha, beta = attributes.pop("alpha", 1.0), attributes.pop("beta", 1.0)
    flip_a, flip_b = attributes.pop("transA", 0), attributes.pop("transB", 0)

    def gemm(a: Array, b: Array, c: Array | None = None) -> Array:
        y: Array = (a.T if flip_a else a) @ (b.T if flip_b else b)
        y = y if alpha == 1 else y * y.dtype.type(alpha)
        if c is None:
            return y
        return y + (c if beta == 1 else c * c.dtype.type(beta))

    return gemm


def _layer_normalization(attributes: Attributes) -> Operator:
    axis, epsilon = attributes.pop("axis", -1), attributes.pop("epsilon", 1e-5)
    attributes.pop("stash_type", None)  # the precision of the sums of half precision

    def normalize(x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, Array, Array]:
        axes = tuple(range(axis % x.ndim, x.ndim))
        mean = x.mean(axes, keepdims=True)
        centered = x - mean
        inverse = 1 / np.sqrt(np.square(centered).mean(axes, keepdims=True) + x.dtype.type(epsilon))
        y = centered * inverse * scale
        return y if bias is None else y + bias, mean, inverse

    return normalize


def _gelu(attributes: Attributes) -> Operator:
    approximate = attributes.pop("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected none or tanh, got {approximate!r}")
    return lambda x: ops.gelu(x, approximate == "tanh").numpy()


class ConvOperator:
    """Conv over one dimension, by the kernels: x (B, D, T), w (N, D, K), b (N,).

    Args:
        attributes: of the node; those that are honoured are removed.
    """

    def __init__(self, attributes: Attributes) -> None:
        self.auto_pad = attributes.pop("auto_pad", "NOTSET")
        sizes = {name: attributes.pop(name, default) for name, default in _CONV_ATTRIBUTES.items()}
        for name, value in sizes.items():
            if value is not None and len(value) != len(_CONV_ATTRIBUTES[name] or [0]):
                raise ValueError(f"{name}: expected the numbers of one dimension, got {value}")
        (self.stride,), (self.dilation,), (before, after) = sizes["strides"], sizes["dilations"], sizes["pads"]
        self.pads = before, after
        if before < 0 or after < 0:
            raise ValueError(f"pads: expected numbers of zeros, got {[before, after]}")
        group = attributes.pop("group", 1)
        if group != 1:
            raise ValueError(f"group: expected 1, got {group}")

    def pads_for(self, steps: int, size: int) -> tuple[int, int]:
        """Zeros before and behind T = ``steps`` steps, for K = ``size``."""
        if not self.auto_pad.startswith("SAME"):
            return self.pads
        reach = (-(-steps // self.stride) - 1) * self.stride + (size - 1) * self.dilation + 1
        total = max(reach - steps, 0)
        pads = total // 2, total - total // 2
        return pads if self.auto_pad == "SAME_UPPER" else pads[::-1]

    def __call__(self, x: Array, w: Array, b: Array | None = None) -> Array:
        if x.ndim != 3 or w.ndim != 3 or x.shape[1] != w.shape[1]:
            raise ValueError(f"Conv: expected x (B, D, T) and w (N, D, K), got shapes {x.shape} and {w.shape}")
        pads, (size, steps) = self.pads_for(x.shape[2], w.shape[2]), (w.shape[2], x.shape[2])
        if steps + sum(pads) <= (size - 1) * self.dilation:
            raise ValueError(f"Conv: expected steps for a window of {size}, got {steps}")
        rows, kernel = Tensor(x.transpose(0, 2, 1)), Tensor(np.ascontiguousarray(w.transpose(2, 1, 0)))
        bias = None if b is None else Tensor(b)
        y = conv1d(rows, kernel, bias, self.stride, pads, self.dilation).numpy()
        result: Array = y.transpose(0, 2, 1)
        return result


# None: of any value, since the weights say it.
_CONV_ATTRIBUTES: dict[str, list[int] | None] = {
    "strides": [1],
    "dilations": [1],
    "pads": [0, 0],
    "kernel_shape": None,
}


def _pad(attributes: Attributes) -> Operator:
    mode = attributes.pop("mode", "constant")
    if mode not in ("constant", "edge", "reflect"):
        raise ValueError(f"mode: expected constant, edge or reflect, got {mode!r}")

    def pad(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Array:
        widths = np.zeros((x.ndim, 2), int)
        widths[np.arange(x.ndim) if axes is None else axes] = pads.reshape(2, -1).T
        if (widths < 0).any():
            raise ValueError(f"pads: expected numbers of elements to add, got {pads.tolist()}")
        options = {"constant_values": value.item()} if mode == "constant" and value is not None else {}
        return np.pad(x, widths, mode, **options)

    return pad


def _cast(attributes: Attributes) -> Operator:
    dtype = attributes.pop("to")
    attributes.pop("saturate", None)  # of 8-bit floats
    return lambda x: x.astype(dtype)


def _dropout(attributes: Attributes) -> Operator:
    attributes.pop("seed", None)

    def dropout(x: Array, ratio: Array | None = None, training: Array | None = None) -> tuple[Array, Array]:
        if training is not None and training:
            raise ValueError("training_mode: expected False, got True")
        return x, np.ones(x.shape, bool)

    return dropout


# --- shapes -----------------------------------------------------------------------------------------------------------


def _sizes(array: Array) -> tuple[int, ...]:
    return tuple(array.tolist())


def _reshape(attributes: Attributes) -> Operator:
    allow_zero = attributes.pop("allowzero", 0)

    def reshape(x: Array, shape: Array) -> Array:
        sizes = _sizes(shape)
        if 0 in sizes and not allow_zero:
            sizes = tuple([x.shape[i] if size == 0 else size for i, size in enumerate(sizes)])
        return x.reshape(sizes)

    return reshape


def _transpose(attributes: Attributes) -> Operator:
    perm = attributes.pop("perm", None)
    return lambda x: x.transpose(perm)


def _squeeze(x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else _sizes(axes))


def _flatten(attributes: Attributes) -> Operator:
    axis = attributes.pop("axis", 1)

    def flatten(x: Array) -> Array:
        rows = int(np.prod(x.shape[: axis if axis >= 0 else x.ndim + axis], dtype=int))
        return x.reshape(rows, -1)

    return flatten


def _concat(attributes: Attributes) -> Operator:
    axis = attributes.pop("axis")
    return lambda *arrays: np.concatenate(arrays, axis)


def _split(attributes: Attributes) -> Operator:
    axis, count = attributes.pop("axis", 0), attributes.pop("num_outputs", None)
    outputs = attributes["outputs"]

    def split(x: Array, sizes: Array | None = None) -> tuple[Array, ...]:
        if sizes is not None:
            bounds = np.cumsum(sizes)[:-1]
        else:
            # The last part is the smaller one.
            bounds = np.arange(1, count or outputs) * -(-x.shape[axis] // (count or outputs))
        return tuple(np.split(x, bounds, axis))

    return split


def _slice(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
        axis = i if axes is None else int(axes[i])
        index[axis] = slice(start, end, 1 if steps is None else int(steps[i]))
    return x[tuple(index)]


def _shape(attributes: Attributes) -> Operator:
    start, end = attributes.pop("start", 0), attributes.pop("end", None)
    return lambda x: np.array(x.shape[start:end], np.int64)


def _gather(attributes: Attributes) -> Operator:
    axis = attributes.pop("axis", 0)
    return lambda x, indices: np.take(x, indices, axis)


def _gather_nd(attributes: Attributes) -> Operator:
    batch_dims = attributes.pop("batch_dims", 0)

    def gather(x: Array, indices: Array) -> Array:
        lead = indices.shape[:-1]
        own = np.ix_(*(np.arange(size) for size in lead))[:batch_dims]
        index = *own, *np.moveaxis(indices, -1, 0)
        y: Array = x[index]
        return y

    return gather


def _constant_of_shape(attributes: Attributes) -> Operator:
    value = attributes.pop("value", np.zeros(1, np.float32))
    return lambda shape: np.full(_sizes(shape), value[0], value.dtype)


def _range(start: Array, limit: Array, delta: Array) -> Array:
    bounds: Any = (start.item(), limit.item(), delta.item())
    return np.arange(*bounds, dtype=start.dtype)


def _reverse_sequence(attributes: Attributes) -> Operator:
    batch_axis, time_axis = attributes.pop("batch_axis", 1), attributes.pop("time_axis", 0)

    def reverse(x: Array, lengths: Array) -> Array:
        y = np.moveaxis(x, (batch_axis, time_axis), (0, 1))
        steps = np.arange(y.shape[1])
        order = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        y = y[np.arange(len(y))[:, None], order]
        return np.moveaxis(y, (0, 1), (batch_axis, time_axis))

    return reverse


def _top_k(attributes: Attributes) -> Operator:
    axis, largest = attributes.pop("axis", -1), attributes.pop("largest", 1)
    attributes.pop("sorted", None)

    def top_k(x: Array, k: Array) -> tuple[Array, Array]:
        order = np.argsort(-x if largest else x, axis, kind="stable").take(np.arange(int(k.item())), axis)
        return np.take_along_axis(x, order, axis), order

    return top_k


def _cumulative_sum(attributes: Attributes) -> Operator:
    exclusive, backwards = attributes.pop("exclusive", 0), attributes.pop("reverse", 0)

    def total(x: Array, axis: Array) -> Array:
        number = int(axis.item())
        y = np.flip(x, number) if backwards else x
        y = np.cumsum(y, number, dtype=x.dtype) - (y if exclusive else 0)
        return np.flip(y, number) if backwards else y

    return total


def _reduction(function: Operator, attributes: Attributes) -> Operator:
    keepdims, fixed = bool(attributes.pop("keepdims", 1)), attributes.pop("axes", None)
    no_axes_is_none = attributes.pop("noop_with_empty_axes", 0)

    def total(x: Array, axes: Array | None = None) -> Array:
        chosen = fixed if axes is None or not axes.size else _sizes(axes)
        if chosen is None and no_axes_is_none:
            return x
        return np.asarray(function(x, axis=None if chosen is None else tuple(chosen), keepdims=keepdims), x.dtype)

    return total


def _split_to_sequence(attributes: Attributes) -> Operator:
    axis, keepdims = attributes.pop("axis", 0), attributes.pop("keepdims", 1)

    def split(x: Array, sizes: Array | None = None) -> list[Array]:
        size = 1 if sizes is None else sizes
        bounds = np.cumsum(size)[:-1] if np.ndim(size) else np.arange(int(size), x.shape[axis], int(size))
        parts = np.split(x, bounds, axis)
        return parts if keepdims or sizes is not None else [np.squeeze(part, axis) for part in parts]

    return split


OPERATORS: dict[str, Callable[[Attributes], Operator]] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "Clip": _plain(_clip),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": ConvOperator,
    "CumSum": _cumulative_sum,
    "Div": _plain(_divide),
    "Dropout": _dropout,
    "Elu": _elu,
    "Equal": _plain(np.equal),
    "Erf": _plain(_erf),
    "Exp": _plain(np.exp),
    "Expand": _plain(lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, _sizes(shape)))),
    "Flatten": _flatten,
    "GRU": partial(RecurrentOperator, "GRU"),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _plain(lambda x: x),
    "LSTM": partial(RecurrentOperator, "LSTM"),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky_relu,
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Log": _plain(np.log),
    "LogSoftmax": partial(_softmax, ops.log_softmax),
    "MatMul": _plain(np.matmul),
    "Max": _several(np.maximum),
    "Min": _several(np.minimum),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pad": _pad,
    "Pow": _plain(_power),
    "RNN": partial(RecurrentOperator, "RNN"),
    "Range": _plain(_range),
    "ReduceMax": partial(_reduction, np.max),
    "ReduceMean": partial(_reduction, np.mean),
    "ReduceMin": partial(_reduction, np.min),
    "ReduceSum": partial(_reduction, np.sum),
    "Relu": _plain(lambda x: np.maximum(x, 0)),
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "SequenceAt": _plain(lambda sequence, place: sequence[int(place)]),
    "Shape": _shape,
    "Sigmoid": _activation(ops.sigmoid),
    "Slice": _plain(_slice),
    "Softmax": partial(_softmax, ops.softmax),
    "Softplus": _activation(ops.softplus),
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _plain(_squeeze),
    "Sub": _plain(np.subtract),
    "Sum": _several(np.add),
    "Tanh": _plain(np.tanh),
    "Tile": _plain(lambda x, repeats: np.tile(x, _sizes(repeats))),
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _plain(lambda x, axes: np.expand_dims(x, _sizes(axes))),
    "Where": _plain(np.where),
}
