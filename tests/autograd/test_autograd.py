"""The tape: what it follows, nesting, persistence, refusals, shared variables, sparse gradients, gradient buffers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import seqcore
from seqcore import ops
from seqcore.autograd.dtypes import float_dtype, floatx, set_floatx
from seqcore.autograd.tape import GradientTape, add_gradients, is_recording
from seqcore.autograd.tensor import IndexedSlices, Tensor, Variable, as_array
from seqcore.language_model.model import build_model
from seqcore.layers import LSTM, Dense, Embedding
from seqcore.ops.targets import step_weights


def test_variables_are_followed_and_tensors_only_when_watched() -> None:
    w, frozen, x = Variable(2.0), Variable(3.0, trainable=False), Tensor(5.0)
    with GradientTape() as tape:
        y = w * frozen * x
    assert [g if g is None else float(g) for g in tape.gradient(y, [w, frozen, x])] == [15.0, None, None]
    with GradientTape() as tape:
        tape.watch([frozen, x])
        y = w * frozen * x
    assert [float(g) for g in tape.gradient(y, [w, frozen, x])] == [15.0, 10.0, 6.0]


def test_structure_of_sources_comes_back() -> None:
    a, b = Variable(1.0), Variable(2.0)
    with GradientTape() as tape:
        y = a * b
    gradients = tape.gradient(y, {"first": [a], "second": (b, a)})
    assert float(gradients["first"][0]) == 2.0 and [float(g) for g in gradients["second"]] == [1.0, 2.0]


def test_shared_variables_add_up() -> None:
    w = Variable(3.0)
    with GradientTape() as tape:
        y = w * w + w * 2 + ops.square(w)
    assert float(tape.gradient(y, w)) == 4 * 3 + 2


def test_several_targets_and_output_gradients() -> None:
    w = Variable([1.0, 2.0])
    with GradientTape() as tape:
        a, b = w * 2, w * w
    assert tape.gradient([a, b], w, [[1.0, 0.0], [0.0, 10.0]]).numpy().tolist() == [2.0, 40.0]
    with GradientTape() as tape:
        a = w * 2
    with pytest.raises(ValueError, match="output_gradients: expected shape"):
        tape.gradient(a, w, np.ones(3))


def test_gradient_of_an_intermediate_tensor() -> None:
    w = Variable(3.0)
    with GradientTape() as tape:
        y = w * w
        z = y * y
    gradients = tape.gradient(z, [y, w])
    assert [float(g) for g in gradients] == [18.0, 108.0]


def test_one_gradient_call_unless_persistent() -> None:
    w = Variable(3.0)
    with GradientTape() as tape:
        y = w * w
    tape.gradient(y, w)
    with pytest.raises(RuntimeError, match="persistent=True"):
        tape.gradient(y, w)
    with GradientTape(persistent=True) as tape:
        y = w * w
        z = y * w
    assert float(tape.gradient(y, w)) == 6.0
    assert float(tape.gradient(z, w)) == 27.0
    assert float(tape.gradient(y, w)) == 6.0


def test_persistent_tape_runs_a_layer_back_twice() -> None:
    layer = LSTM(3, dtype="float64")
    with GradientTape(persistent=True) as tape:
        y = ops.reduce_sum(ops.square(layer(np.ones((2, 4, 2)))))
    first = [g.numpy().copy() for g in tape.gradient(y, layer.trainable_variables)]
    second = tape.gradient(y, layer.trainable_variables)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_tapes_nest() -> None:
    w, v = Variable(2.0), Variable(5.0)
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = w * v
        z = y * w
    assert float(inner.gradient(y, w)) == 5.0
    assert [float(g) for g in outer.gradient(z, [w, v])] == [20.0, 4.0]


def test_gradients_of_gradients_are_refused() -> None:
    w = Variable(2.0)
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = w * w * w
        g = inner.gradient(y, w)
        z = g * 2
    with pytest.raises(RuntimeError, match="gradients of gradients"):
        outer.gradient(z, w)


def test_changed_variable_is_refused() -> None:
    w = Variable(2.0, name="weight")
    with GradientTape() as tape:
        y = w * w
    w.assign_add(1.0)
    with pytest.raises(RuntimeError, match="'weight' was changed"):
        tape.gradient(y, w)
    layer = Dense(2)
    layer(np.ones((1, 3)))
    with GradientTape() as tape:
        y = layer(np.ones((1, 3)))
    layer.kernel.assign(np.zeros((3, 2)))
    with pytest.raises(RuntimeError, match="kernel' was changed"):
        tape.gradient(y, layer.kernel)


def test_a_tape_records_only_while_it_is_open() -> None:
    w = Variable(2.0)
    tape = GradientTape()
    assert not is_recording([w])
    with tape:
        assert is_recording([w]) and not is_recording([Tensor(1.0), 3])
        y = w * w
    z = y * w
    assert tape.gradient(z, w) is None
    with tape, pytest.raises(RuntimeError, match="already recording"), tape:
        pass


def test_wrong_kinds_are_refused() -> None:
    w = Variable(2.0)
    with GradientTape() as tape:
        y = w * w
        with pytest.raises(TypeError, match="tensor: expected a Tensor"):
            tape.watch([1.0])
    with pytest.raises(TypeError, match="sources: expected Tensors"):
        tape.gradient(y, [1.0])
    with pytest.raises(TypeError, match="target: expected a Tensor"):
        GradientTape().gradient(1.0, w)
    with pytest.raises(ValueError, match="value: expected shape"):
        w.assign([1.0, 2.0])
    with pytest.raises(TypeError, match="value: expected numbers"):
        as_array("text")


def test_sparse_gradients_add_up_and_become_dense() -> None:
    table = Embedding(4, 2, embeddings_initializer="zeros")
    with GradientTape() as tape:
        y = ops.reduce_sum(table([[1, 3]])) + ops.reduce_sum(table([[3, 3]]))
    grad = tape.gradient(y, table.embeddings)
    assert isinstance(grad, IndexedSlices) and grad.indices.tolist() == [1, 3]
    np.testing.assert_array_equal(np.asarray(grad), [[0, 0], [1, 1], [0, 0], [3, 3]])
    dense = add_gradients(grad, np.ones((4, 2)))
    np.testing.assert_array_equal(dense, np.asarray(grad) + 1)


def test_gradients_into_buffers_fills_them() -> None:
    layer, unused = Dense(2), Variable([1.0])
    layer(np.ones((1, 3)))
    variables = [*layer.trainable_variables, unused]
    buffers = [np.full(v.shape, 7, np.float32) for v in variables]
    with GradientTape() as tape:
        y = ops.reduce_sum(layer(layer.kernel[:, :1].numpy().T)) + ops.reduce_sum(layer(np.ones((2, 3))))
    gradients = tape.gradients_into_buffers(y, variables, buffers)
    assert all(a is b for a, b in zip(gradients, buffers, strict=True))
    np.testing.assert_array_equal(buffers[1], [3, 3])
    np.testing.assert_allclose(buffers[0], layer.kernel.numpy()[:, :1] + [[2, 2]], rtol=1e-6)
    np.testing.assert_array_equal(buffers[2], [0])


def test_recurrent_layer_writes_into_buffers() -> None:
    layer = LSTM(3)
    x = np.ones((2, 4, 5), np.float32)
    layer(x)
    with GradientTape() as tape:
        y = ops.reduce_sum(layer(x))
    wanted = [g.numpy() for g in tape.gradient(y, layer.trainable_variables)]
    for shared in (1, 2):
        buffers = [np.full(v.shape, np.nan, np.float32) for v in layer.trainable_variables]
        with GradientTape() as tape:
            y = ops.reduce_sum(layer(x))
            if shared == 2:
                y = y + ops.reduce_sum(layer(x))
        gradients = tape.gradients_into_buffers(y, layer.trainable_variables, buffers)
        for gradient, buffer, dense in zip(gradients, buffers, wanted, strict=True):
            assert gradient is buffer
            np.testing.assert_allclose(buffer, shared * dense, rtol=1e-5)


def test_floatx() -> None:
    assert floatx() == "float32"
    set_floatx("float64")
    try:
        assert Tensor(1.0).dtype == np.float64 and Dense(2).dtype == "float64"
    finally:
        set_floatx("float32")
    with pytest.raises(ValueError, match="dtype: expected 'float32' or 'float64'"):
        set_floatx("float16")


@pytest.mark.parametrize("units", [1, 3])
def test_whole_chain_against_central_differences(units: int) -> None:
    layers = [
        Embedding(5, 3, dtype="float64"),
        LSTM(units, return_sequences=True, dtype="float64"),
        Dense(2, dtype="float64"),
    ]
    ids = np.array([[1, 4, 2], [0, 3, 3]])

    def loss() -> Tensor:
        y: object = ids
        for layer in layers:
            y = layer(y)
        return ops.reduce_sum(ops.square(ops.tanh(y)))

    loss()
    variables = [v for layer in layers for v in layer.trainable_variables]
    with GradientTape() as tape:
        y = loss()
    grads = [np.asarray(g) for g in tape.gradient(y, variables)]
    eps = 1e-6
    for variable, grad in zip(variables, grads, strict=True):
        values = variable.numpy()
        for at in np.ndindex(*variable.shape):
            moved = values.copy()
            moved[at] += eps
            up = float(variable.assign(moved) is variable and loss())
            moved[at] -= 2 * eps
            down = float(variable.assign(moved) is variable and loss())
            variable.assign(values)
            assert grad[at] == pytest.approx((up - down) / (2 * eps), abs=1e-7)


def test_a_target_that_left_the_tape() -> None:
    w = Variable([1.0, 2.0])
    with GradientTape() as tape:
        total = np.sum(w * w)
    with pytest.raises(TypeError, match="target: expected a Tensor, got float32; functions of NumPy leave the tape"):
        tape.gradient(total, w)
    with pytest.raises(TypeError, match="target: expected a Tensor, got str$"):
        tape.gradient("loss", w)


# --- types and masked arrays -----------------------------------------------------------------------------------------

WRONG_DTYPES = ["flaot32", "bfloat16", "mixed_float16", "float8_e4m3", "datetime64", "V4", object(), [("a", "f4")], 3]
DTYPES = {
    "set_floatx": set_floatx,
    "set_dtype_policy": seqcore.set_dtype_policy,
    "Tensor": lambda dtype: Tensor([1.0], dtype),
    "Variable": lambda dtype: Variable([1.0], dtype=dtype),
    "ops.cast": lambda dtype: ops.cast([1.0], dtype),
    "ops.zeros": lambda dtype: ops.zeros((2,), dtype),
    "ops.ones": lambda dtype: ops.ones((2,), dtype),
    "ops.zeros_like": lambda dtype: ops.zeros_like([1.0], dtype),
    "ops.ones_like": lambda dtype: ops.ones_like([1.0], dtype),
    "Dense": lambda dtype: Dense(2, dtype=dtype),
    "LSTM": lambda dtype: LSTM(2, dtype=dtype),
    "Input": lambda dtype: seqcore.layers.Input((2,), dtype=dtype),
    "add_weight": lambda dtype: Dense(2).add_weight((2, 2), dtype=dtype),
    "Zeros": lambda dtype: seqcore.initializers.Zeros()((2,), dtype),
    "function": lambda dtype: seqcore.initializers.get(lambda shape, dtype: np.ones(shape))((2,), dtype),
    "pad_sequences": lambda dtype: seqcore.pad_sequences([[1]], dtype=dtype),
    "step_weights": lambda dtype: step_weights("mean", (2,), dtype=dtype),
    "loss": lambda dtype: seqcore.losses.MeanSquaredError(dtype=dtype),
    "loss of classes": lambda dtype: seqcore.losses.SparseCategoricalCrossentropy(dtype=dtype),
    "metric": lambda dtype: seqcore.metrics.BinaryAccuracy(dtype=dtype),
    "metric of a loss": lambda dtype: seqcore.metrics.MeanSquaredError(dtype=dtype),
    "Bidirectional": lambda dtype: seqcore.layers.Bidirectional(LSTM(2), dtype=dtype),
    "TimeDistributed": lambda dtype: seqcore.layers.TimeDistributed(Dense(2), dtype=dtype),
    "Model": lambda dtype: seqcore.Model(dtype=dtype),
    "KeyedVectors": lambda dtype: seqcore.KeyedVectors(2, dtype=dtype),
    "build_model": lambda dtype: build_model(5, 2, 1, dtype=dtype),
}


@pytest.mark.parametrize("wrong", WRONG_DTYPES, ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_an_unknown_dtype_is_refused_everywhere(name: str, wrong: object) -> None:
    argument = "policy" if name == "set_dtype_policy" else "dtype"
    with pytest.raises(ValueError, match=rf"\A{argument}: expected [^\n]*, got [^\n]*\Z"):
        DTYPES[name](wrong)
    assert floatx() == "float32" and Tensor([1.0]).dtype == np.float32


def test_a_default_dtype_is_no_type() -> None:
    for setter in (set_floatx, seqcore.set_dtype_policy):
        with pytest.raises(ValueError, match="expected 'float32', 'float64'|expected 'float32' or 'float64'"):
            setter(None)
    for name in ("float32", np.float32, np.dtype("float64"), "double", float):
        assert float_dtype(name) == np.dtype(name)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: [[x]]], ids=["array", "list", "lists"])
def test_masked_arrays_are_refused(wrap: Callable[[object], object]) -> None:
    hidden = wrap(np.ma.masked_array([[1.0, 1e20]], [[False, True]]))
    for call in (Tensor, Variable, Dense(2), ops.reduce_sum, ops.relu, ops.softmax, Variable(np.ones((1, 2))).assign):
        with pytest.raises(TypeError, match=r"\A(value|inputs): expected an array without a mask, got a MaskedArray"):
            call(hidden)


@pytest.mark.parametrize("hidden", [np.ma.masked_array([[1, 0]], [[False, True]])], ids=["masked"])
def test_masked_arrays_are_refused_beside_the_inputs(hidden: object) -> None:
    x = np.ones((1, 2, 3))
    places = {
        "mask": [
            lambda: LSTM(2)(x, mask=hidden),
            lambda: seqcore.layers.Softmax()(x[..., 0], mask=hidden),
            lambda: seqcore.layers.TimeDistributed(Dense(2))(x, mask=hidden),
            lambda: Embedding(3, 2)([[1, 2]], mask=hidden),
        ],
        "lengths": [lambda: LSTM(2)(x, lengths=hidden)],
        "indices": [lambda: ops.gather(x, hidden)],
        "ids": [lambda: seqcore.text.check_ids(hidden)],
        "x": [lambda: seqcore.to_categorical(hidden)],
        "true_classes": [lambda: seqcore.sampling.uniform_candidate_sampler(hidden, 2, 1, True, 9)],
        "unigrams": [lambda: seqcore.sampling.UnigramTable(hidden[0])],  # type: ignore[index]
    }
    for name, calls in places.items():
        for call in calls:
            with pytest.raises(TypeError, match=rf"\A{name}: expected an array without a mask, got a MaskedArray"):
                call()


def test_ragged_lists_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"\Avalue: expected rows of one length, got a ragged list\Z"):
        Tensor([[1.0], [1.0, 2.0]])


def test_numbers_that_a_variable_cannot_hold_are_refused() -> None:
    small, exact = Variable(np.array([1, 2], np.int8)), Variable(np.array([1.0]))
    for value in ([300, 0], np.array([1, -129]), [True, 300]):
        with pytest.raises(ValueError, match=r"\Avalue: expected whole numbers -128\.\.\.127 for dtype int8, got"):
            small.assign(value)
    for change in (small.assign_add, small.assign_sub):
        for value in ([0.5, 0.5], ["a"], None, np.ma.masked_array([1, 1])):
            with pytest.raises(TypeError, match=r"\A(value|delta): expected "):
                change(value)
    with pytest.raises(ValueError, match="got 129"):
        small.assign_add([127, 127])
    np.testing.assert_array_equal(small.numpy(), [1, 2])
    assert small.assign_add([1, 1]).numpy().tolist() == [2, 3]
    # Python's numbers keep their precision, whatever floatx is.
    assert Tensor([0.1], "float64").numpy()[0] == 0.1
    assert exact.assign_add(0.1).numpy()[0] == 1.1 and exact.assign_sub([0.1]).numpy()[0] == 1.1 - 0.1
    layer = Dense(1, use_bias=False, dtype="float64")
    layer.build((None, 1))
    layer.set_weights([[[0.1]]])
    assert layer.get_weights()[0][0, 0] == 0.1
    counter = seqcore.layers.Layer()
    counter.add_weight((1,), dtype="int8", trainable=False)
    counter.set_weights([[7.0]])
    for value in (1.5, np.nan, 200):
        with pytest.raises(ValueError, match=r"\Aweights: expected whole numbers"):
            counter.set_weights([[value]])
    assert counter.get_weights()[0].tolist() == [7]
