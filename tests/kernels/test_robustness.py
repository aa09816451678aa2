"""Bad input to the core: each mistake is a ValueError or TypeError of one line that names the argument."""

import gc
import sys
import threading
import warnings

import numpy as np
import pytest

from seqcore import _core
from tests.helpers import cases
from tests.helpers.cases import Case
from tests.helpers.refusals import refused

F32 = np.float32


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


# Recurrent layers: B 3, T 4, D 5, H 6 ---------------------------------------------------------------------------------


def layer(cell="lstm", dtype=F32):
    g = cases.GATES[cell] * 6
    bias = zeros(2, g, dtype=dtype) if cell == "gru" else zeros(g, dtype=dtype)
    return zeros(5, g, dtype=dtype), zeros(6, g, dtype=dtype), bias


X = zeros(3, 4, 5)

FORWARD = {
    "rank of x": ("x", {"x": zeros(3, 4)}),
    "rank of x, 4": ("x", {"x": zeros(3, 4, 5, 1)}),
    "type of x": ("x", {"x": zeros(3, 4, 5, dtype=np.float16)}),
    "integers": ("x", {"x": zeros(3, 4, 5, dtype=np.int32)}),
    "complex": ("x", {"x": zeros(3, 4, 5, dtype=np.complex64)}),
    "objects": ("x", {"x": np.full((3, 4, 5), None, object)}),
    "a list": ("x", {"x": [[[0.0] * 5] * 4] * 3}),
    "no x": ("x", {"x": None}),
    "byte order": ("x", {"x": X.astype(X.dtype.newbyteorder())}),
    "empty batch": ("x", {"x": zeros(0, 4, 5)}),
    "no steps": ("x", {"x": zeros(3, 0, 5)}),
    "no features": ("x", {"x": zeros(3, 4, 0)}),
    "strided features": ("x", {"x": zeros(3, 4, 10)[..., ::2]}),
    "unknown cell": ("cell", {"cell": "LSTM"}),
    "cell of another kind": ("cell", {"cell": 3}),
    "no weights": ("weights", {"weights": []}),
    "three directions": ("reverse", {"weights": [layer()] * 3, "reverse": (False, True, False)}),
    "weights no tuples": ("weights", {"weights": [zeros(5, 24)]}),
    "two weights": ("weights", {"weights": [layer()[:2]]}),
    "features of the kernel": ("kernel", {"weights": [(zeros(7, 24), *layer()[1:])]}),
    "columns of the kernel": ("kernel", {"weights": [(zeros(5, 23), *layer()[1:])]}),
    "rank of the kernel": ("kernel", {"weights": [(zeros(120), *layer()[1:])]}),
    "type of the kernel": ("kernel", {"weights": [(zeros(5, 24, dtype=float), *layer()[1:])]}),
    "order of the kernel": ("kernel", {"weights": [(zeros(24, 5).T, *layer()[1:])]}),
    "kernel None": ("kernel", {"weights": [(None, *layer()[1:])]}),
    "columns of recurrent": ("recurrent", {"weights": [(layer()[0], zeros(6, 18), layer()[2])]}),
    "type of recurrent": ("recurrent", {"weights": [(layer()[0], zeros(6, 24, dtype=float), layer()[2])]}),
    "size of the bias": ("bias", {"weights": [(*layer()[:2], zeros(6))]}),
    "rank of the bias": ("bias", {"weights": [(*layer()[:2], zeros(2, 24))]}),
    "type of the bias": ("bias", {"weights": [(*layer()[:2], zeros(24, dtype=float))]}),
    "bias of the gru": ("bias", {"cell": "gru", "weights": [(zeros(5, 18), zeros(6, 18), zeros(18))]}),
    "directions of reverse": ("weights", {"reverse": (False, True)}),
    "states": ("initial", {"initial": [(zeros(3, 6),)]}),
    "states of two directions": ("initial", {"initial": [(zeros(3, 6),) * 2] * 2}),
    "shape of a state": ("initial", {"initial": [(zeros(3, 7), zeros(3, 6))]}),
    "batch of a state": ("initial", {"initial": [(zeros(2, 6), zeros(3, 6))]}),
    "type of a state": ("initial", {"initial": [(zeros(3, 6), zeros(3, 6, dtype=float))]}),
    "type of lengths": ("lengths", {"lengths": np.array([1.0, 2.0, 3.0])}),
    "size of lengths": ("lengths", {"lengths": np.array([1, 2], np.int32)}),
    "rank of lengths": ("lengths", {"lengths": np.array([[1, 2, 3]], np.int32)}),
    "lengths too long": ("lengths", {"lengths": np.array([1, 2, 5], np.int32)}),
    "negative lengths": ("lengths", {"lengths": np.array([1, 2, -1], np.int32)}),
    "lengths and mask": ("mask", {"lengths": np.array([1, 2, 3], np.int32), "mask": np.ones((3, 4), bool)}),
    "shape of the mask": ("mask", {"mask": np.ones((4, 3), bool)}),
    "rank of the mask": ("mask", {"mask": np.ones((3, 4, 1), bool)}),
    "type of the mask": ("mask", {"mask": np.ones((3, 4), F32)}),
    "shape of input_dropout": ("input_dropout", {"input_dropout": [zeros(3, 6)]}),
    "type of input_dropout": ("input_dropout", {"input_dropout": [zeros(3, 5, dtype=float)]}),
    "directions of input_dropout": ("input_dropout", {"input_dropout": [zeros(3, 5)] * 2}),
    "shape of state_dropout": ("state_dropout", {"state_dropout": [zeros(3, 5)]}),
    "type of state_dropout": ("state_dropout", {"state_dropout": [zeros(3, 6, dtype=float)]}),
    "directions of state_dropout": ("state_dropout", {"state_dropout": [None, None]}),
    "activation": ("activation", {"activation": "swish"}),
    "recurrent activation": ("recurrent_activation", {"recurrent_activation": "softmax"}),
}


@pytest.mark.parametrize("mistake", FORWARD)
def test_recurrent_forward(mistake):
    """Every argument of the forward call, wrong in kind, rank, size, type or range."""
    name, changes = FORWARD[mistake]
    arguments = {"cell": "lstm", "x": X, "weights": [layer()], **changes}
    refused(name, _core.recurrent.recurrent_forward, *(arguments.pop(k) for k in ("cell", "x", "weights")), **arguments)


def test_unknown_and_missing_arguments():
    """Unknown, missing, doubled and surplus arguments are named, in functions, methods and constructors."""
    refused("length", _core.recurrent.recurrent_forward, "lstm", X, [layer()], length=None)
    refused("weights", _core.recurrent.recurrent_forward, "lstm", X)
    refused("x", _core.dense.softmax)
    refused("x", _core.dense.softmax, zeros(2, 2), x=zeros(2, 2))
    refused("softmax", _core.dense.softmax, zeros(2, 2), None)
    refused("learning_rate", _core.optimizer.sgd, [], [])
    refused("batch_size", _core.stream.Stream)
    refused("size", _core.stream.Stream, size=1)
    refused("x", _core.stream.Stream(1).step)
    refused("PackedWeights", _core.recurrent.PackedWeights, 1)


def saved(sequences=True, dtype=F32):
    return _core.recurrent.recurrent_forward("lstm", X.astype(dtype), [layer(dtype=dtype)], sequences=sequences)[2]


DY = zeros(3, 4, 6)

BACKWARD = {
    "rank of dy": ("dy", {"dy": zeros(3, 6)}),
    "shape of dy": ("dy", {"dy": zeros(3, 4, 7)}),
    "batch of dy": ("dy", {"dy": zeros(2, 4, 6)}),
    "type of dy": ("dy", {"dy": zeros(3, 4, 6, dtype=float)}),
    "dy a number": ("dy", {"dy": 1.0}),
    "states": ("dstates", {"dstates": [(zeros(3, 6),)]}),
    "directions of the states": ("dstates", {"dstates": [None, None]}),
    "shape of a state": ("dstates", {"dstates": [(zeros(3, 5), None)]}),
    "type of a state": ("dstates", {"dstates": [(zeros(3, 6, dtype=float), None)]}),
    "directions of out": ("out", {"out": [layer(), layer()]}),
    "shape of out": ("out", {"out": [(zeros(6, 24), *layer()[1:])]}),
    "type of out": ("out", {"out": [(*layer()[:2], zeros(24, dtype=float))]}),
}


@pytest.mark.parametrize("mistake", BACKWARD)
def test_recurrent_backward(mistake):
    """Every argument of the backward pass; the arrays in `out` stay as they were."""
    name, changes = BACKWARD[mistake]
    out = [tuple(np.full_like(a, 7) for a in layer())]
    arguments = {"dy": DY, "out": out, **changes}
    refused(name, _core.recurrent.recurrent_backward, saved(), arguments.pop("dy"), **arguments)
    assert all((a == 7).all() for a in out[0])


def test_dy_of_the_last_step():
    """Without sequences dy has two axes."""
    refused("dy", _core.recurrent.recurrent_backward, saved(sequences=False), DY)


def test_read_only_out():
    """Arrays that may not be written are refused before anything is."""
    out = tuple(np.full_like(a, 7) for a in layer())
    out[1].flags.writeable = False
    refused("out", _core.recurrent.recurrent_backward, saved(), DY, out=[out])
    assert all((a == 7).all() for a in out)


def test_saved_of_another_kind():
    """`saved` must come from a forward call."""
    for wrong in (None, 3, X):
        with pytest.raises((TypeError, ValueError), match="saved"):
            _core.recurrent.recurrent_backward(wrong, DY)


@pytest.mark.parametrize("cell", cases.CELLS)
def test_backward_pass_twice(cell):
    """A second backward pass over the same call gives the same gradients, or is refused; it never gives others."""
    problem = cases.make(Case(cell, units=17, batch=7), "float64")
    kept = _core.recurrent.recurrent_forward(problem.cell, problem.x, problem.weights, **problem.options)[2]
    first = _core.recurrent.recurrent_backward(kept, problem.dy, problem.dstates)
    try:
        second = _core.recurrent.recurrent_backward(kept, problem.dy, problem.dstates)
    except (ValueError, RuntimeError) as error:
        assert "saved" in str(error)
    else:
        assert np.array_equal(first[0], second[0]) and np.array_equal(first[1][0][1], second[1][0][1])


# The other kernels ----------------------------------------------------------------------------------------------------

I32 = np.int32
OTHERS = {
    "scan: rank of z": ("z", _core.context.context_scan_forward, (zeros(3, 4), 0.9)),
    "scan: type of z": ("z", _core.context.context_scan_forward, (zeros(3, 4, 5, dtype=I32), 0.9)),
    "scan: shape of initial": ("initial", _core.context.context_scan_forward, (X, 0.9, zeros(3, 4))),
    "scan: type of initial": ("initial", _core.context.context_scan_forward, (X, 0.9, zeros(3, 5, dtype=float))),
    "scan: lengths": ("lengths", _core.context.context_scan_forward, (X, 0.9, None, np.array([5, 0, 0], I32))),
    "scan: mask": ("mask", _core.context.context_scan_forward, (X, 0.9, None, None, np.ones((3, 5), bool))),
    "scan back: ds": ("ds", _core.context.context_scan_backward, (zeros(3, 4, 6), None, 0.9, (3, 4, 5))),
    "scan back: ds_last": ("ds_last", _core.context.context_scan_backward, (None, zeros(3, 6), 0.9, (3, 4, 5))),
    "dense: rank of x": ("x", _core.dense.dense_forward, (X, zeros(5, 2))),
    "dense: type of x": ("x", _core.dense.dense_forward, (zeros(3, 5, dtype=I32), zeros(5, 2))),
    "dense: order of x": ("x", _core.dense.dense_forward, (zeros(5, 3).T, zeros(5, 2))),
    "dense: kernel": ("kernel", _core.dense.dense_forward, (zeros(3, 5), zeros(4, 2))),
    "dense: type of kernel": ("kernel", _core.dense.dense_forward, (zeros(3, 5), zeros(5, 2, dtype=float))),
    "dense: bias": ("bias", _core.dense.dense_forward, (zeros(3, 5), zeros(5, 2), zeros(5))),
    "dense: activation": ("activation", _core.dense.dense_forward, (zeros(3, 5), zeros(5, 2), None, "elu")),
    "dense back: y": ("y", _core.dense.dense_backward, (zeros(3, 5), zeros(5, 2), zeros(3, 3), zeros(3, 2))),
    "dense back: dy": ("dy", _core.dense.dense_backward, (zeros(3, 5), zeros(5, 2), zeros(3, 2), zeros(2, 2))),
    "loss: x": ("x", _core.dense.linear_softmax, (X, zeros(5, 2), None, zeros(3, dtype=I32))),
    "loss: kernel": ("kernel", _core.dense.linear_softmax, (zeros(3, 5), zeros(4, 2), None, zeros(3, dtype=I32))),
    "loss: bias": ("bias", _core.dense.linear_softmax, (zeros(3, 5), zeros(5, 2), zeros(3), zeros(3, dtype=I32))),
    "loss: number of targets": (
        "targets",
        _core.dense.linear_softmax,
        (zeros(3, 5), zeros(5, 2), None, zeros(2, dtype=I32)),
    ),
    "loss: type of targets": ("targets", _core.dense.linear_softmax, (zeros(3, 5), zeros(5, 2), None, zeros(3))),
    "loss: targets too large": (
        "targets",
        _core.dense.linear_softmax,
        (zeros(3, 5), zeros(5, 2), None, np.array([0, 2, 1], I32)),
    ),
    "loss: negative targets": (
        "targets",
        _core.dense.linear_softmax,
        (zeros(3, 5), zeros(5, 2), None, np.array([0, -1, 1], I32)),
    ),
    "loss: weights": (
        "weights",
        _core.dense.linear_softmax,
        (zeros(3, 5), zeros(5, 2), None, zeros(3, dtype=I32), zeros(2)),
    ),
    "loss: type of weights": (
        "weights",
        _core.dense.linear_softmax,
        (zeros(3, 5), zeros(5, 2), None, zeros(3, dtype=I32), zeros(3, dtype=float)),
    ),
    "softmax: rank": ("x", _core.dense.softmax, (X,)),
    "softmax: type": ("x", _core.dense.softmax, (zeros(2, 2, dtype=I32),)),
    "embedding: table": ("table", _core.embedding.embedding_forward, (X, zeros(2, dtype=I32))),
    "embedding: type of table": (
        "table",
        _core.embedding.embedding_forward,
        (zeros(3, 5, dtype=I32), zeros(2, dtype=I32)),
    ),
    "embedding: type of ids": ("ids", _core.embedding.embedding_forward, (zeros(3, 5), zeros(2))),
    "embedding: rank of ids": ("ids", _core.embedding.embedding_forward, (zeros(3, 5), zeros(2, 2, 2, dtype=I32))),
    "embedding: ids too large": ("ids", _core.embedding.embedding_forward, (zeros(3, 5), np.array([0, 3], I32))),
    "embedding: negative ids": ("ids", _core.embedding.embedding_forward, (zeros(3, 5), np.array([0, -1]))),
    "embedding: huge ids": ("ids", _core.embedding.embedding_forward, (zeros(3, 5), np.array([2**40]))),
    "embedding back: ids": ("ids", _core.embedding.embedding_backward, (np.array([0, 3]), zeros(2, 5), 3)),
    "embedding back: rank of ids": ("ids", _core.embedding.embedding_backward, (np.array([[0, 1]]), zeros(2, 5), 3)),
    "embedding back: dy": ("dy", _core.embedding.embedding_backward, (np.array([0, 1]), zeros(3, 5), 3)),
    "embedding back: rows": ("rows", _core.embedding.embedding_backward, (np.array([0, 1]), zeros(2, 5), -1)),
    "dropout: rate 1": ("rate", _core.random.dropout_mask, ((3,), 1.0, 1, 1, 1)),
    "dropout: negative rate": ("rate", _core.random.dropout_mask, ((3,), -0.1, 1, 1, 1)),
    "dropout: NaN": ("rate", _core.random.dropout_mask, ((3,), float("nan"), 1, 1, 1)),
    "dropout: shape": ("shape", _core.random.dropout_mask, ((3, -1), 0.5, 1, 1, 1)),
    "dropout: dtype": ("dtype", _core.random.dropout_mask, ((3,), 0.5, 1, 1, 1, "int32")),
    "dropout: negative first": ("first", _core.random.dropout_mask, ((3,), 0.5, 1, 1, 1, "float32", -1)),
    "dropout: first": ("first", _core.random.dropout_mask, ((3,), 0.5, 1, 1, 1, "float32", 2**63 - 1)),
    "squares: type": ("arrays", _core.optimizer.sum_squares, ([zeros(3, dtype=I32)],)),
}


@pytest.mark.parametrize("mistake", OTHERS)
def test_other_kernels(mistake):
    """Every argument of the other kernels."""
    name, function, arguments = OTHERS[mistake]
    refused(name, function, *arguments)


OPTIMIZERS = {
    "params a single array": ("params", "sgd", (zeros(3), zeros(3))),
    "number of grads": ("grads", "sgd", ([zeros(3)], [])),
    "size of grads": ("grads", "sgd", ([zeros(3)], [zeros(4)])),
    "type of grads": ("grads", "sgd", ([zeros(3)], [zeros(3, dtype=float)])),
    "number of velocities": ("velocities", "sgd", ([zeros(3)], [zeros(3)], [])),
    "size of velocities": ("velocities", "sgd", ([zeros(3)], [zeros(3)], [zeros(4)])),
    "type of params": ("params", "sgd", ([zeros(3, dtype=I32)], [zeros(3)])),
    "strided params": ("params", "sgd", ([zeros(6)[::2]], [zeros(3)])),
    "adam: momentums": ("momentums", "adam", ([zeros(3)], [zeros(3)], [zeros(2)], [zeros(3)])),
    "adam: velocities": ("velocities", "adam", ([zeros(3)], [zeros(3)], [zeros(3)], [zeros(2)])),
    "adam: max_velocities": (
        "max_velocities",
        "adam",
        ([zeros(3)], [zeros(3)], [zeros(3)], [zeros(3)], [zeros(3, dtype=float)]),
    ),
    "rmsprop: velocities": ("velocities", "rmsprop", ([zeros(3)], [zeros(3)], [zeros(3, dtype=float)])),
    "rmsprop: averages": ("averages", "rmsprop", ([zeros(3)], [zeros(3)], [zeros(3)], None, [zeros(5)])),
    "adagrad": ("accumulators", "adagrad", ([zeros(3)], [zeros(3)], [zeros(5)])),
    "rows: indices too large": ("indices", "sgd_slices", ([zeros(3, 5)], [zeros(1, 5)], [np.array([3])])),
    "rows: negative indices": ("indices", "sgd_slices", ([zeros(3, 5)], [zeros(1, 5)], [np.array([-1])])),
    "rows: number of indices": ("values", "sgd_slices", ([zeros(3, 5)], [zeros(1, 5)], [np.array([1, 2])])),
    "rows: repeated indices": ("indices", "sgd_slices", ([zeros(3, 5)], [zeros(2, 5)], [np.array([1, 1])])),
    "rows: number of arrays": ("values", "sgd_slices", ([zeros(3, 5)], [], [np.array([1])])),
    "rows: values": ("values", "sgd_slices", ([zeros(3, 5)], [zeros(1, 4)], [np.array([1])])),
}


@pytest.mark.parametrize("mistake", OPTIMIZERS)
def test_optimizers(mistake):
    """Every array of the optimizers."""
    name, function, arguments = OPTIMIZERS[mistake]
    options = {"momentum": 0.9} if name == "velocities" and function == "sgd" else {}
    refused(name, getattr(_core.optimizer, function), *arguments, learning_rate=0.1, **options)


def test_nothing_half_updated():
    """A wrong last array leaves the first ones alone; so does a parameter that may not be written."""
    first, second = np.ones(5, F32), np.ones(4, F32)
    grads = [np.ones(5, F32), np.ones(3, F32)]
    refused("grads", _core.optimizer.sgd, [first, second], grads, learning_rate=0.1)
    second.flags.writeable = False
    refused("params", _core.optimizer.sgd, [first, second], [grads[0], np.ones(4, F32)], learning_rate=0.1)
    assert (first == 1).all() and (second == 1).all()
    table = np.ones((3, 2), F32)
    tables, rows = [np.ones((3, 2), F32), table], [np.ones((2, 2), F32)] * 2
    refused(
        "indices", _core.optimizer.sgd_slices, tables, rows, [np.array([0, 1]), np.array([0, 3])], learning_rate=0.1
    )
    assert (table == 1).all() and (tables[0] == 1).all()


# Streams --------------------------------------------------------------------------------------------------------------


def test_stream_mistakes():
    """Wrong sizes, layers in the wrong place, steps of the wrong kind."""
    refused("batch_size", _core.stream.Stream, 0)
    refused("dtype", _core.stream.Stream, 1, "int32")
    stream = _core.stream.Stream(2)
    refused("cell", stream.add_recurrent, "elman", *layer())
    refused("kernel", stream.add_recurrent, "lstm", zeros(5, 24, dtype=float), *layer()[1:])
    refused("bias", stream.add_recurrent, "lstm", *layer()[:2], zeros(5))
    stream.add_recurrent("lstm", *layer())
    refused("activation", stream.add_activation, "elu")
    refused("add_embedding", stream.add_embedding, zeros(3, 5))
    refused("kernel", stream.add_dense, zeros(5, 2), None)
    refused("activation", stream.add_dense, zeros(6, 2), None, "elu")
    stream.add_dense(zeros(6, 2), None)
    floats = zeros(3, 5), zeros(2, 6), zeros(5, 2).T[:, :4], zeros(5), zeros(2, 5, 1)
    for wrong in (*floats, zeros(2, 5, dtype=np.int64), zeros(2, 5, dtype=np.float16), None, [[0.0] * 5] * 2):
        refused("x", stream.step, wrong)
    read_only = zeros(2, 2)
    read_only.flags.writeable = False
    for wrong in (zeros(2), zeros(2, 2, dtype=float), zeros(2, 4)[:, ::2], zeros(2, 2).T[::-1], read_only, [[0.0] * 2]):
        refused("out", stream.step, zeros(2, 5), wrong)
    for wrong in (np.array([2]), np.array([-1]), np.array([0], I32), np.array([[0]]), 0, [0], np.array([True, False])):
        refused("rows", stream.reset, wrong)
    refused("kernel", stream.add_conv1d, zeros(2, 3, 4), None)
    refused("kernel", stream.add_conv1d, zeros(0, 2, 4), None)
    refused("bias", stream.add_conv1d, zeros(2, 2, 4), zeros(3))
    refused("dilation_rate", stream.add_conv1d, zeros(2, 2, 4), None, "linear", 0)
    with pytest.raises(MemoryError):
        stream.add_conv1d(zeros(100, 2, 4), None, "linear", 2**31 - 1)
    for wrong in ([], [(zeros(2, 6),)], [(zeros(2, 6), zeros(2, 5))], [(zeros(2, 6), zeros(2, 6, dtype=float))]):
        refused("state", stream.set_state, wrong)
    assert stream.step(zeros(2, 5)).shape == (2, 2)


def test_stream_ids():
    """Ids out of range, of the wrong type or size; the state does not move."""
    stream = _core.stream.Stream(2)
    stream.add_embedding(np.ones((3, 5), F32))
    weights = tuple(np.full_like(w, 0.1) for w in layer())
    stream.add_recurrent("lstm", *weights)
    before = stream.get_state()
    for wrong in (np.array([0, 3]), np.array([-1, 0]), np.array([0]), zeros(2), zeros(2, 5)):
        refused("x", stream.step, wrong)
    assert all(np.array_equal(a, b) for a, b in zip(before[0], stream.get_state()[0], strict=True))
    stream.step(np.array([0, 2]))


def test_empty_stream():
    """A stream without layers refuses a step."""
    with pytest.raises((ValueError, RuntimeError)):
        _core.stream.Stream(1).step(zeros(1, 5))


def test_layers_without_columns():
    """A layer of width 0 is refused where it is added: what follows would read beyond it."""
    for dtype in (F32, np.float64):
        stream = _core.stream.Stream(2, np.dtype(dtype).name)
        refused("kernel", stream.add_dense, zeros(5, 0, dtype=dtype), None)
        refused("kernel", stream.add_dense, zeros(0, 5, dtype=dtype), None)
        for table in (zeros(0, 5, dtype=dtype), zeros(5, 0, dtype=dtype)):
            refused("table", stream.add_embedding, table)
        for cell, gates in cases.GATES.items():
            bias = zeros(*((2, 0) if cell == "gru" else (0,)), dtype=dtype)
            refused("recurrent", stream.add_recurrent, cell, zeros(5, 0, dtype=dtype), zeros(0, 0, dtype=dtype), bias)
            weights = zeros(0, 2 * gates, dtype=dtype), zeros(2, 2 * gates, dtype=dtype)
            refused("kernel", stream.add_recurrent, cell, *weights, None)
        empty = [zeros(5, 0, dtype=dtype), zeros(5, 3, dtype=dtype), zeros(0, 3, dtype=dtype), zeros(3, 3, dtype=dtype)]
        refused("context_kernel", stream.add_context, *empty, None, 0.5)
        with pytest.raises(ValueError, match="step: expected a stream with at least one layer"):
            stream.step(zeros(2, 5, dtype=dtype))


@pytest.mark.parametrize("units", [64, 256])
def test_stream_of_two_threads(units):
    """Steps, states and layers of one stream from several threads: each call is one step, and nothing is torn.

    The larger one has steps without the GIL.
    """
    stream = _core.stream.Stream(4)
    stream.add_recurrent("rnn", np.eye(units, dtype=F32), np.zeros((units, units), F32), None, "linear")
    failures = []

    def work(number):
        x = np.full((4, units), number, F32)
        try:
            for _ in range(300):
                y = stream.step(x)
                assert (y == number).all()
                state = stream.get_state()[0][0]
                assert (state == state[0, 0]).all()
                stream.set_state([(x,)])
                stream.reset()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


# Arrays that are not arrays, or no others' ----------------------------------------------------------------------------


def hostile_list():
    """Numbers of the right type and shape, as a list: what NumPy would make an array of."""
    return [[0.5] * 6] * 6


LISTS = {
    "bias": lambda a: _core.dense.dense_forward(a, a, hostile_list()[0]),
    "kernel": lambda a: _core.dense.dense_forward(a, hostile_list()),
    "y": lambda a: _core.dense.dense_backward(a, a, hostile_list(), a),
    "out": lambda a: _core.dense.dense_backward(a, a, a, a, out=hostile_list()[:2]),
    "weights": lambda a: _core.dense.linear_softmax(a, a, None, np.zeros(6, np.int32), hostile_list()[0]),
    "targets": lambda a: _core.dense.linear_softmax(a, a, None, [0] * 6),
    "initial": lambda a: _core.context.context_scan_forward(a[None], 0.5, hostile_list()[:1]),
    "lengths": lambda a: _core.context.context_scan_forward(a[None], 0.5, None, [6]),
    "mask": lambda a: _core.context.context_scan_forward(a[None], 0.5, None, None, [[True] * 6]),
    "ds_last": lambda a: _core.context.context_scan_backward(None, hostile_list()[:1], 0.5, (1, 6, 6), dtype="float64"),
    "recurrent": lambda a: _core.recurrent.recurrent_forward("rnn", a[None], [(a, hostile_list(), None)]),
    "input_dropout": lambda a: _core.recurrent.recurrent_forward(
        "rnn", a[None], [(a, a, None)], input_dropout=[hostile_list()[:1]]
    ),
    "state_dropout": lambda a: _core.recurrent.recurrent_forward(
        "rnn", a[None], [(a, a, None)], state_dropout=[hostile_list()[:1]]
    ),
    "dstates": lambda a: _core.recurrent.recurrent_backward(
        _core.recurrent.recurrent_forward("rnn", a[None], [(a, a, None)])[2], None, [(hostile_list()[:1],)]
    ),
    "params": lambda a: _core.optimizer.sgd([hostile_list()], [a], learning_rate=0.1),
    "grads": lambda a: _core.optimizer.sgd([a], [hostile_list()], learning_rate=0.1),
    "values": lambda a: _core.optimizer.sgd_slices([a], [hostile_list()[:1]], [np.array([1])], learning_rate=0.1),
    "indices": lambda a: _core.optimizer.sgd_slices([a], [a[:1]], [[1]], learning_rate=0.1),
    "arrays": lambda a: _core.optimizer.sum_squares([hostile_list()]),
    "table": lambda a: _core.embedding.embedding_forward(hostile_list(), np.array([1])),
    "ids": lambda a: _core.embedding.embedding_forward(a, [1]),
    "biases": lambda a: _core.sampling.sampled_loss(
        a, hostile_list()[0], np.ones((6, 1), int), a, None, 2, softmax=True
    ),
    "row_weights": lambda a: _core.sampling.sampled_loss(
        a, None, np.ones((6, 1), int), a, None, 2, softmax=True, row_weights=hostile_list()[0]
    ),
    "sampled_values": lambda a: _core.sampling.sampled_loss(
        a, None, np.ones((6, 1), int), a, ([1, 2], hostile_list()[0], [0.5, 0.5]), 2, softmax=True
    ),
    "true_classes": lambda a: _core.sampling.sample_classes("uniform", 6, [1], 2, False, 0, 0),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_no_arrays(name):
    """A list in place of an array is refused, never read from an array that is gone."""
    refused(name, LISTS[name], np.full((6, 6), 0.5))


OVERLAPS = {
    "sgd: params and grads": lambda a: _core.optimizer.sgd([a[:4]], [a[2:6]], learning_rate=0.1),
    "sgd: a parameter twice": lambda a: _core.optimizer.sgd([a, a], [a.copy(), a.copy()], learning_rate=0.1),
    "adam: momentums": lambda a: _core.optimizer.adam(
        [a[:3]], [a.copy()[:3]], [a[2:5]], [a.copy()[:3]], learning_rate=0.1
    ),
    "slices: values": lambda a: _core.optimizer.sgd_slices([a], [a[:1]], [np.array([1])], learning_rate=0.1),
    "slices: indices": lambda a: _core.optimizer.sgd_slices(
        [a], [a[:1].copy()], [a.view(np.int64).ravel()[:1]], learning_rate=0.1
    ),
    "dense: out": lambda a: _core.dense.dense_backward(a, a, a, a, out=(a, None)),
    "loss: out": lambda a: _core.dense.linear_softmax(a, a, None, np.zeros(6, np.int32), out=(a, None)),
    "recurrent: out and x": lambda a: _core.recurrent.recurrent_backward(
        _core.recurrent.recurrent_forward("rnn", a[None], [(a.copy(), a.copy(), None)])[2], None, out=[(a, None, None)]
    ),
    "recurrent: out and itself": lambda a: _core.recurrent.recurrent_backward(
        _core.recurrent.recurrent_forward("rnn", a[None].copy(), [(a.copy(), a.copy(), None)])[2],
        None,
        out=[(a, a, None)],
    ),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_written_memory_is_no_others(name):
    """An output of a call may not overlap its inputs or other outputs; nothing is changed."""
    a = np.arange(36.0).reshape(6, 6)
    with pytest.raises(
        ValueError, match=r"^\w+(\[\d+\])?: expected memory that no other array of the call shares, got "
    ):
        OVERLAPS[name](a)
    assert np.array_equal(a, np.arange(36.0).reshape(6, 6))


def test_arrays_are_held():
    """Lists that are emptied between the passes take no array away from the backward pass."""
    rng = np.random.default_rng(3)
    parts = [rng.normal(size=(5, 24)), rng.normal(size=(6, 24)), rng.normal(size=24)]
    x, states = rng.normal(size=(3, 4, 5)), [rng.normal(size=(3, 6)), rng.normal(size=(3, 6))]

    def gradients(clear):
        weights, initial = [[part.copy() for part in parts]], [[state.copy() for state in states]]
        saved = _core.recurrent.recurrent_forward("lstm", x.copy(), weights, initial=initial)[2]
        if clear:
            for values in (weights[0], initial[0], weights, initial):
                values.clear()
            gc.collect()
            [np.full((6, 24), np.nan) for _ in range(100)]
        return _core.recurrent.recurrent_backward(saved, np.ones((3, 4, 6)))[1][0]

    for expected, value in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_packed_weights_of_another_layer():
    """Packed weights of another cell, type or size are packed again."""
    packed, rng = _core.recurrent.PackedWeights(), np.random.default_rng(4)
    shapes = [("lstm", 5, 6, F32), ("lstm", 6, 5, F32), ("lstm", 5, 6, np.float64), ("rnn", 20, 24, F32)]
    for cell, features, units, dtype in [*shapes, *shapes[::-1]]:
        columns = cases.GATES[cell] * units
        weights = [(rng.normal(size=(features, columns)).astype(dtype), zeros(units, columns, dtype=dtype), None)]
        x = rng.normal(size=(2, 3, features)).astype(dtype)
        for _ in range(2):
            y = _core.recurrent.recurrent_forward(cell, x, weights, True, False, False, packed)[0]
            np.testing.assert_array_equal(y, _core.recurrent.recurrent_forward(cell, x, weights, True, False, False)[0])
        packed = packed if cell == "lstm" else _core.recurrent.PackedWeights()


HUGE = {
    "dropout_mask": lambda n: _core.random.dropout_mask((n, 3), 0.5, 1, 1, 1),
    "sample_classes": lambda n: _core.sampling.sample_classes("uniform", 4, np.array([0]), n, False, 1, 1),
    "context_scan_backward": lambda n: _core.context.context_scan_backward(None, None, 0.5, (1, 2, n)),
    "embedding_forward": lambda n: _core.embedding.embedding_forward(
        np.lib.stride_tricks.as_strided(np.ones(1, F32), (1, n), (0, 4)), np.zeros((2, 3), int)
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_sizes_past_all_memory(name):
    """A size that no machine has is refused at once, whatever its bytes would overflow to."""
    for n in (2**44, 2**60 + 1, 2**61 - 1, 2**62, 2**63 - 1):
        if name == "embedding_forward" and n > 2**60:
            continue
        with pytest.raises(MemoryError, match=rf"^{name}: expected [\dx ]+ bytes to be free, got none$"):
            HUGE[name](n)


def test_huge_batches_of_one_element():
    """Arrays that repeat one element without memory for it: refused where their size is not meant."""
    for shape in [(2**40, 4, 5), (3, 2**40, 5), (2**31, 1, 5)]:
        x = np.broadcast_to(np.ones(1, F32), shape) if shape[2] == 1 else np.broadcast_to(np.ones(5, F32), shape)
        refused("x", _core.recurrent.recurrent_forward, "lstm", x, [layer()])
        refused("z", _core.context.context_scan_forward, x, 0.5)


def test_repeated_elements_cost_no_more_than_there_is():
    """As many sequences or steps as the kernels count, of one element: refused before memory for them is touched."""
    for shape in [(2**31 - 1, 1, 5), (3, 2**31 - 1, 5)]:
        x = np.broadcast_to(np.ones(5, F32), shape)
        for function, arguments in [
            (_core.recurrent.recurrent_forward, ("lstm", x, [(zeros(5, 4096), zeros(1024, 4096), None)])),
            (_core.context.context_scan_forward, (np.broadcast_to(np.ones(4096, F32), (*shape[:2], 4096)), 0.5)),
        ]:
            with pytest.raises(MemoryError, match=r"^\w+: expected [\dx ]+ bytes to be free, got none$"):
                function(*arguments)


@pytest.mark.parametrize("weights", [[1e308, 1e-3, 2e-3, 0.0], [1.0, 1e-300, 1e-200, 0.0], [1e308] * 3 + [0.0]])
def test_sampling_without_replacement_ends(weights):
    """All classes that can be drawn are, the rare ones in proportion, whatever the weights."""
    table, firsts = _core.sampling.AliasTable(np.array(weights)), []
    for call in range(40):
        sampled, _, expected = _core.sampling.sample_classes(table, 4, np.zeros(0, int), 3, True, 1, call)
        assert sorted(sampled) == [0, 1, 2] and (expected > 0).all() and (expected <= 1).all()
        firsts.append(list(sampled).index(2) < list(sampled).index(1))
    assert sum(firsts) > 5 if weights[1] == 1e308 else sum(firsts) >= 20


# Memory ---------------------------------------------------------------------------------------------------------------


def test_no_leaked_references():
    """Forward, backward and failing calls give every reference back."""
    problem = cases.make(Case("lstm", directions="both"), "float32")
    arrays = [problem.x, problem.dy, problem.weights[0][0], problem.options["initial"][0][0]]
    cases.run_core(problem)
    gc.collect()
    before = [sys.getrefcount(a) for a in arrays]
    for _ in range(20):
        cases.run_core(problem)
        with pytest.raises(ValueError):
            _core.recurrent.recurrent_forward("lstm", problem.x, [problem.weights[0]], reverse=(True, False))
    gc.collect()
    assert [sys.getrefcount(a) for a in arrays] == before


def test_results_outlive_the_call():
    """Outputs and gradients keep their values while later calls reuse the scratch memory."""
    problem = cases.make(Case("gru", units=40, batch=20), "float32")
    first = cases.run_core(problem)
    copies = {name: value.copy() for name, value in first.items()}
    for seed in range(5):
        cases.run_core(cases.make(Case("lstm", units=65, batch=33, seed=seed), "float32"))
    gc.collect()
    cases.identical(first, copies)


def test_random_arguments(rng):
    """Random shapes and types either work or are refused; nothing crashes and no warning is shown."""
    kinds = (F32, np.float64, I32, np.int64, np.bool_, np.float16)

    def array():
        shape = tuple(int(n) for n in rng.integers(0, 4, rng.integers(0, 4)))
        return rng.integers(0, 3, shape).astype(kinds[rng.integers(len(kinds))])

    calls = {
        _core.dense.dense_forward: 3,
        _core.dense.softmax: 1,
        _core.embedding.embedding_forward: 2,
        _core.dense.linear_softmax: 5,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2000):
            for function, count in calls.items():
                try:
                    function(*(array() for _ in range(count)))
                except (ValueError, TypeError) as error:
                    assert str(error)
            try:
                weights = [tuple(array() for _ in range(3))]
                _core.recurrent.recurrent_forward(
                    list(cases.GATES)[rng.integers(4)], array(), weights, initial=[(array(),)]
                )
            except (ValueError, TypeError) as error:
                assert str(error)
