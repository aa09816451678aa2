"""Operations: values against NumPy, gradients against central differences, rows, clipping, the fused loss, errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isfunction, signature
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from seqcore import initializers, layers, ops, random
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import IndexedSlices, Tensor, Variable

RNG = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2.0, shape)


def check_gradients(function: Callable[..., Any], *arrays: np.ndarray, tolerance: float = 1e-7) -> None:
    """Gradients of sum(weights * function(arrays)) by the tape against central differences in float64."""
    tensors = [Tensor(a.copy()) for a in arrays]
    with GradientTape() as tape:
        tape.watch(tensors)
        out = function(*tensors)
        outs = out if isinstance(out, list) else [out]
        weights = [np.cos(np.arange(out.size, dtype=float) + 1).reshape(out.shape) for out in outs]
    grads = tape.gradient(outs, tensors, weights)

    def total(values: list[np.ndarray]) -> float:
        result = function(*[Tensor(v) for v in values])
        results = result if isinstance(result, list) else [result]
        return float(sum((w * r.numpy()).sum() for w, r in zip(weights, results, strict=True)))

    eps = 1e-6
    for i, array in enumerate(arrays):
        assert grads[i].shape == array.shape and grads[i].dtype == np.float64
        for at in np.ndindex(*array.shape):
            values = [a.copy() for a in arrays]
            values[i][at] += eps
            up = total(values)
            values[i][at] -= 2 * eps
            expected = (up - total(values)) / (2 * eps)
            assert np.asarray(grads[i])[at] == pytest.approx(expected, abs=tolerance * 10, rel=1e-5)


CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "add": (ops.add, (normal(2, 3), normal(3))),
    "add scalar": (lambda x: x + 2, (normal(2, 3),)),
    "subtract": (ops.subtract, (normal(2, 1), normal(2, 3))),
    "reflected subtract": (lambda x: 1 - x, (normal(2),)),
    "multiply": (ops.multiply, (normal(4, 1, 3), normal(2, 1))),
    "divide": (ops.divide, (normal(2, 3), positive(1, 3))),
    "reflected divide": (lambda x: 2 / x, (positive(3),)),
    "power": (ops.power, (positive(2, 3), normal(3))),
    "power of number": (lambda x: x**3, (normal(3),)),
    "negative": (ops.negative, (normal(3),)),
    "matmul 2-2": (ops.matmul, (normal(2, 3), normal(3, 4))),
    "matmul 3-2": (ops.matmul, (normal(2, 5, 3), normal(3, 4))),
    "matmul 3-3": (ops.matmul, (normal(2, 5, 3), normal(2, 3, 4))),
    "matmul 2-3": (ops.matmul, (normal(5, 3), normal(2, 3, 4))),
    "matmul 1-1": (ops.matmul, (normal(3), normal(3))),
    "matmul 2-1": (ops.matmul, (normal(2, 3), normal(3))),
    "matmul 1-2": (ops.matmul, (normal(3), normal(3, 2))),
    "square": (ops.square, (normal(3),)),
    "sqrt": (ops.sqrt, (positive(3),)),
    "exp": (ops.exp, (normal(3),)),
    "log": (ops.log, (positive(3),)),
    "abs": (abs, (normal(5),)),
    "maximum": (ops.maximum, (normal(2, 3), normal(3))),
    "minimum": (ops.minimum, (normal(2, 3), normal(2, 1))),
    "where": (lambda x, y: ops.where([True, False, True], x, y), (normal(2, 3), normal(3))),
    "clip": (lambda x: ops.clip(x, -0.5, 0.5), (normal(7),)),
    "relu": (ops.relu, (normal(7),)),
    "tanh": (ops.tanh, (normal(7),)),
    "sigmoid": (ops.sigmoid, (normal(7),)),
    "hard_sigmoid": (ops.hard_sigmoid, (4 * normal(7),)),
    "elu": (lambda x: ops.elu(x, 0.7), (normal(7),)),
    "gelu": (ops.gelu, (normal(7),)),
    "gelu exact": (lambda x: ops.gelu(x, approximate=False), (2 * normal(2, 7),)),
    "leaky_relu": (ops.leaky_relu, (normal(7),)),
    "silu": (ops.silu, (normal(7),)),
    "softplus": (ops.softplus, (normal(7),)),
    "softmax": (ops.softmax, (normal(2, 3, 4),)),
    "softmax axis": (lambda x: ops.softmax(x, axis=1), (normal(2, 3, 4),)),
    "log_softmax": (ops.log_softmax, (normal(2, 4),)),
    "reduce_sum": (ops.reduce_sum, (normal(2, 3),)),
    "reduce_sum axis": (lambda x: ops.reduce_sum(x, axis=-1), (normal(2, 3),)),
    "reduce_sum keep": (lambda x: ops.reduce_sum(x, axis=[0, 2], keepdims=True), (normal(2, 3, 4),)),
    "reduce_mean": (lambda x: ops.reduce_mean(x, axis=(1,)), (normal(2, 3, 4),)),
    "reduce_max": (lambda x: ops.reduce_max(x, axis=1), (normal(2, 5),)),
    "reduce_min": (lambda x: ops.reduce_min(x, axis=0, keepdims=True), (normal(2, 5),)),
    "reshape": (lambda x: ops.reshape(x, (3, -1)), (normal(2, 3),)),
    "transpose": (lambda x: ops.transpose(x, (1, 2, 0)), (normal(2, 3, 4),)),
    "expand_dims": (lambda x: ops.expand_dims(x, 1), (normal(2, 3),)),
    "squeeze": (ops.squeeze, (normal(2, 1, 3),)),
    "concat": (lambda x, y: ops.concat([x, y], axis=1), (normal(2, 3), normal(2, 2))),
    "stack": (lambda x, y: ops.stack([x, y], axis=1), (normal(2, 3), normal(2, 3))),
    "unstack": (lambda x: ops.unstack(x, axis=1), (normal(2, 3, 2),)),
    "unstack, a piece used": (lambda x: ops.unstack(x, axis=1)[1], (normal(2, 3, 2),)),
    "split": (lambda x: ops.split(x, 3, axis=1), (normal(2, 6),)),
    "split sizes": (lambda x: ops.split(x, [1, 4], axis=0), (normal(5, 2),)),
    "gather": (lambda x: ops.gather(x, [2, 0, 2]), (normal(3, 2),)),
    "gather axis": (lambda x: ops.gather(x, [[1], [1]], axis=1), (normal(3, 2),)),
    "slice": (lambda x: x[:, 1:, None], (normal(3, 4),)),
    "slice ints": (lambda x: x[1, -1], (normal(3, 4),)),
    "slice arrays": (lambda x: x[np.array([0, 0, 2])], (normal(3, 4),)),
    "clip_by_norm": (lambda x: ops.clip_by_norm(x, 1.0), (normal(6) * 3,)),
    "clip_by_norm inside": (lambda x: ops.clip_by_norm(x, 100.0), (normal(6),)),
    "used twice": (lambda x: x * x + x, (normal(3),)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_against_central_differences(name: str) -> None:
    function, arrays = CASES[name]
    check_gradients(function, *arrays)


def test_values_follow_numpy() -> None:
    x, y = normal(2, 3).astype(np.float32), normal(3).astype(np.float32)
    for ours, theirs in [
        (ops.add(x, y), x + y),
        (ops.matmul(x, y), x @ y),
        (ops.concat([x, x], 0), np.concatenate([x, x])),
        (ops.transpose(x), x.T),
        (ops.argmax(x, 1), x.argmax(1)),
        (ops.reduce_max(x), x.max()),
        (ops.reduce_min(x, 1), x.min(1)),
        (ops.zeros((2,)), np.zeros(2)),
        (ops.ones_like(x), np.ones_like(x)),
        (ops.sigmoid(x), 1 / (1 + np.exp(-x))),
        (ops.elu(x, 0.5), np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
        (ops.leaky_relu(x), np.where(x > 0, x, 0.2 * x)),
        (ops.silu(x), x / (1 + np.exp(-x))),
        (ops.softplus(x), np.log(1 + np.exp(x))),
        (ops.gelu(x), x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        (ops.gelu(x, approximate=False), x * np.vectorize(NormalDist().cdf)(x)),
    ]:
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6)
    assert ops.softmax(x).dtype == np.float32


def test_extreme_values_stay_finite() -> None:
    x = Tensor(np.array([-1e4, -100.0, 0.0, 100.0, 1e4], np.float32))
    with np.errstate(over="raise", invalid="raise"):
        assert ops.sigmoid(x).numpy().tolist()[::2] == [0.0, 0.5, 1.0]
        assert np.isfinite(ops.log_softmax(x).numpy()).all()
        for function in (ops.elu, ops.gelu, ops.silu, ops.softplus, partial(ops.gelu, approximate=False)):
            y = function(x).numpy()
            assert np.array_equal(y[3:], x[3:]) and np.isclose(y[0], -1 if function is ops.elu else 0, atol=1e-30)
    assert np.isnan(ops.sigmoid([np.nan]).numpy()).all()


def test_types_tensor_beats_array_and_wider_tensor_wins() -> None:
    single, double = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    assert (single * 2.5).dtype == np.float32
    assert (single + np.ones(2)).dtype == np.float32
    assert (np.ones(2) + single).dtype == np.float32
    assert (single * np.arange(2)).dtype == np.float32
    assert (single + double).dtype == np.float64
    assert (Tensor([1, 2]) / Tensor([2, 2])).dtype == np.float32
    with GradientTape() as tape:
        tape.watch([single, double])
        z = single * double
    a, b = tape.gradient(z, [single, double])
    assert a.dtype == np.float32 and b.dtype == np.float64


def test_comparisons_and_identity() -> None:
    x = Tensor([1.0, 2.0])
    assert (x < 2).numpy().tolist() == [True, False]
    assert (x == Tensor([1.0, 0.0])).numpy().tolist() == [True, False]
    assert (x != [1.0, 0.0]).numpy().tolist() == [False, True]
    assert (x == None) is False  # noqa: E711
    assert {x: 1}[x] == 1
    assert [float(number) for number in x] == [1.0, 2.0]


def test_rows_of_a_batch() -> None:
    plain = normal(3, 4, 2)
    major = normal(4, 3, 2).transpose(1, 0, 2)
    odd = normal(3, 2, 4).transpose(0, 2, 1)
    ids = np.arange(12).reshape(3, 4)
    for x, shared in [(plain, True), (major, True), (odd, False)]:
        flat, restore = ops.flatten_steps(x)
        assert flat.flags.c_contiguous and flat.shape == (12, 2) and np.shares_memory(flat, x) is shared
        np.testing.assert_array_equal(restore(flat), x)
        order = ops.flatten_like(ids, x)
        np.testing.assert_array_equal(flat, x.reshape(12, 2)[order])
        np.testing.assert_array_equal(ops.flatten_like(x, x), flat)
        assert restore(np.zeros((12, 5))).shape == (3, 4, 5)
    with pytest.raises(ValueError, match="values: expected leading axes"):
        ops.flatten_like(ids[:2], plain)
    with pytest.raises(ValueError, match="array: expected at least 2 axes"):
        ops.flatten_steps(np.zeros(3))


def test_gather_gives_a_variable_few_rows() -> None:
    table = Variable(normal(5, 2))
    with GradientTape() as tape:
        y = ops.reduce_sum(ops.gather(table, [[3, 1], [3, 3]]))
    grad = tape.gradient(y, table)
    assert isinstance(grad, IndexedSlices)
    assert grad.indices.tolist() == [1, 3] and grad.values[:, 0].tolist() == [1.0, 3.0]


def test_clipping() -> None:
    grads = [Tensor(np.array([3.0])), None, IndexedSlices(np.array([[2.0], [2.0]]), [1, 1], (3, 1)), np.zeros(2)]
    clipped, norm = ops.clip_by_global_norm(grads, 2.5)
    assert float(norm) == 5.0 and clipped[1] is None and isinstance(clipped[2], IndexedSlices)
    assert clipped[0].numpy().tolist() == [1.5] and clipped[2].values.tolist() == [[2.0]]
    untouched, norm = ops.clip_by_global_norm(grads, 10.0)
    assert untouched[0].numpy().tolist() == [3.0] and float(norm) == 5.0
    spoiled, _ = ops.clip_by_global_norm([np.array([np.inf]), np.array([1.0])], 1.0)
    assert all(np.isnan(gradient.numpy()).all() for gradient in spoiled)
    assert ops.clip_by_value(np.array([-7.0, 7.0]), -5, 5).numpy().tolist() == [-5.0, 5.0]
    sparse = ops.clip_by_value(IndexedSlices(np.array([[4.0], [4.0]]), [0, 0], (2, 1)), -5, 5)
    assert np.asarray(sparse).tolist() == [[5.0], [0.0]]
    assert np.asarray(ops.clip_by_norm(grads[2], 2.0)).tolist() == [[0.0], [2.0], [0.0]]
    columns = IndexedSlices(np.array([[3.0, 0.0], [0.0, 4.0]]), [2, 0], (2, 3), axis=1)
    (halved,), norm = ops.clip_by_global_norm([columns], 2.5)
    assert float(norm) == 5.0 and np.asarray(halved).tolist() == [[0.0, 0.0, 1.5], [2.0, 0.0, 0.0]]
    for bad in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="clip_norm: expected a positive number"):
            ops.clip_by_global_norm(grads, bad)


def eager_loss(x: Any, k: Any, b: Any, ids: np.ndarray, weights: np.ndarray) -> Tensor:
    logits = ops.matmul(x, k) if b is None else ops.matmul(x, k) + b
    chosen = ops.log_softmax(logits) * np.eye(k.shape[1])[ids]
    return ops.negative(ops.reduce_sum(ops.reduce_sum(chosen, axis=-1) * weights))


@pytest.mark.parametrize("reduction", ["mean", "sum", "batch_mean", "none"])
@pytest.mark.parametrize("major", [False, True])
def test_fused_loss_equals_dense_and_softmax(reduction: str, major: bool) -> None:
    data = normal(4, 3, 5).transpose(1, 0, 2) if major else normal(3, 4, 5)
    mask = RNG.random((3, 4)) < 0.7
    sample = positive(3, 4)
    ids = RNG.integers(0, 6, (3, 4))
    ids[~mask] = -1
    scale = {"mean": 1 / mask.sum(), "sum": 1.0, "batch_mean": 1 / 3, "none": 1.0}[reduction]
    x, k, b = Tensor(data), Variable(normal(5, 6)), Variable(normal(6))
    with GradientTape() as tape:
        tape.watch(x)
        loss, correct = ops.linear_softmax_cross_entropy(x, k, b, ids, sample, mask, reduction, return_correct=True)
        total = ops.reduce_sum(loss) * 2
    grads = tape.gradient(total, [x, k, b])
    with GradientTape() as tape:
        tape.watch(x)
        expected = eager_loss(x, k, b, np.where(mask, ids, 0), sample * mask * scale * 2)
    wanted = tape.gradient(expected, [x, k, b])
    assert float(total) == pytest.approx(float(expected), rel=1e-10)
    assert loss.shape == ((3, 4) if reduction == "none" else ())
    for ours, theirs in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)
    best = (data @ k.numpy() + b.numpy()).argmax(-1)
    np.testing.assert_array_equal(correct.numpy()[mask], (best == ids)[mask])


def test_fused_loss_writes_into_given_arrays_and_takes_lengths() -> None:
    x, k, b = Tensor(normal(2, 3, 4)), Variable(normal(4, 5)), Variable(normal(5))
    x.lengths = np.array([3, 1], np.int32)
    buffers = [np.zeros((4, 5)), np.zeros(5)]
    with GradientTape() as tape:
        loss = ops.linear_softmax_cross_entropy(x, k, b, np.zeros((2, 3), int), out=buffers)
    gradients = tape.gradients_into_buffers(loss, [k, b], buffers)
    assert gradients[0] is buffers[0] and gradients[1] is buffers[1]
    with GradientTape() as tape:
        mask = np.array([[1, 1, 1], [1, 0, 0]], bool)
        loss = ops.linear_softmax_cross_entropy(Tensor(x.numpy()), k, b, np.zeros((2, 3), int), mask=mask)
    for ours, theirs in zip(buffers, tape.gradient(loss, [k, b]), strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


BAD: list[tuple[str, Callable[[], Any], type[Exception]]] = [
    ("y: expected", lambda: ops.matmul(np.ones((2, 3)), np.ones((2, 3))), ValueError),
    ("shape: expected 6 elements", lambda: ops.reshape(np.ones((2, 3)), (4, 2)), ValueError),
    ("axis: expected -2...1, got 2", lambda: ops.reduce_sum(np.ones((2, 3)), axis=2), ValueError),
    ("axis: expected axes of size 1", lambda: ops.squeeze(np.ones((2, 3)), 0), ValueError),
    ("values: expected at least one", lambda: ops.concat([]), ValueError),
    ("values: expected shapes that agree", lambda: ops.concat([np.ones((2, 3)), np.ones((3, 2))], 0), ValueError),
    ("values: expected tensors of one shape", lambda: ops.stack([np.ones(2), np.ones(3)]), ValueError),
    ("num_or_size_splits: expected a divisor of 5", lambda: ops.split(np.ones(5), 2), ValueError),
    ("num_or_size_splits: expected sizes that sum to 5", lambda: ops.split(np.ones(5), [1, 2]), ValueError),
    ("indices: expected whole numbers 0...2, got 3", lambda: ops.gather(np.ones(3), [3]), ValueError),
    ("indices: expected whole numbers 0...2, got nan", lambda: ops.gather(np.ones(3), [np.nan]), ValueError),
    ("axes: expected an order of 2 axes", lambda: ops.transpose(np.ones((2, 3)), (0, 0)), ValueError),
    ("axes: expected a sequence of integers, got 1", lambda: ops.transpose(np.ones((2, 3)), 1), TypeError),
    ("value: expected numbers", lambda: ops.exp("text"), TypeError),
    ("x: expected at least one element", lambda: ops.reduce_mean(np.ones((0, 2))), ValueError),
    (
        "targets: expected class ids 0...3, got 4",
        lambda: ops.linear_softmax_cross_entropy(np.ones((1, 2)), np.ones((2, 4)), None, [4]),
        ValueError,
    ),
    (
        "kernel: expected shape",
        lambda: ops.linear_softmax_cross_entropy(np.ones((1, 2)), np.ones((3, 4)), None, [0]),
        ValueError,
    ),
]


@pytest.mark.parametrize("text, call, kind", BAD)
def test_errors_name_the_argument(text: str, call: Callable[[], Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)


# --- random numbers and initializers ---------------------------------------------------------------------------------


def test_seed_and_state() -> None:
    random.set_seed(5)
    assert random.seed() == 5 and random.next_stream() == 1
    random.generator().random(7)
    state = random.get_state()
    first = random.generator().random(3), random.next_stream()
    random.generator().integers(0, 9, 3, dtype=np.int32)
    random.set_state(state)
    again = random.generator().random(3), random.next_stream()
    assert first[0].tolist() == again[0].tolist() and first[1] == again[1]
    for bad in (-1, 2**63, 1.5, True, None):
        with pytest.raises(ValueError, match="seed: expected an integer"):
            random.set_seed(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="state: expected a dict"):
        random.set_state({"seed": 1})
    assert random.seed() == 5


@pytest.mark.parametrize(
    "name, spread",
    [
        ("glorot_uniform", np.sqrt(2 / 300)),
        ("glorot_normal", np.sqrt(2 / 300)),
        ("he_uniform", np.sqrt(2 / 200)),
        ("he_normal", np.sqrt(2 / 200)),
        ("lecun_uniform", np.sqrt(1 / 200)),
        ("lecun_normal", np.sqrt(1 / 200)),
        ("random_normal", 0.05),
        ("random_uniform", 0.05 / np.sqrt(3)),
        ("truncated_normal", 0.05 * 0.8796256610342398),
        ("zeros", 0.0),
        ("ones", 0.0),
    ],
)
def test_initializers_have_the_spread_of_their_formula(name: str, spread: float) -> None:
    random.set_seed(1)
    values = initializers.get(name)((200, 100))
    assert values.dtype == np.float32 and values.shape == (200, 100)
    assert values.std() == pytest.approx(spread, rel=0.02, abs=1e-9)
    assert values.mean() == pytest.approx(1.0 if name == "ones" else 0.0, abs=0.002)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (2, 3, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    q = initializers.Orthogonal(gain=2.0, seed=3)(shape, "float64").reshape(-1, shape[-1])
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_initializers_by_name_config_and_seed() -> None:
    for initializer in (
        initializers.GlorotUniform(seed=4),
        initializers.Constant([1.0, 2.0]),
        initializers.Identity(3.0),
    ):
        again = initializers.get(initializers.serialize(initializer))
        shape = (2,) if isinstance(initializer, initializers.Constant) else (2, 2)
        np.testing.assert_array_equal(initializer(shape), again(shape))
    assert initializers.get(initializers.Zeros)((2,)).tolist() == [0.0, 0.0]
    assert initializers.get(lambda shape, dtype: np.full(shape, 7.0))((2,)).tolist() == [7.0, 7.0]
    seeded = initializers.RandomUniform(0, 1, seed=9)
    np.testing.assert_array_equal(seeded((3,)), seeded((3,)))
    plain = initializers.RandomUniform(0, 1)
    assert (plain((3,)) != plain((3,))).any()
    with pytest.raises(ValueError, match="kernel_initializer: expected one of .*zeros"):
        initializers.get("nonsense", "kernel_initializer")
    with pytest.raises(ValueError, match="shape: expected 2 axes"):
        initializers.Identity()((2, 2, 2))
    with pytest.raises(ValueError, match="mode: expected"):
        initializers.VarianceScaling(mode="fan")


# --- axes ------------------------------------------------------------------------------------------------------------

# Every operation with an axis: the call, and whether several axes and None are honoured (a set of words) or refused.
AXES: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "softmax": (ops.softmax, {"several", "none"}),
    "log_softmax": (ops.log_softmax, {"several", "none"}),
    "reduce_sum": (ops.reduce_sum, {"several", "none"}),
    "reduce_mean": (ops.reduce_mean, {"several", "none"}),
    "reduce_max": (ops.reduce_max, {"several", "none"}),
    "reduce_min": (ops.reduce_min, {"several", "none"}),
    "argmax": (ops.argmax, {"none"}),
    "transpose": (lambda x, axis: ops.transpose(x, axis), {"none"}),
    "expand_dims": (ops.expand_dims, {"several"}),
    "squeeze": (lambda x, axis: ops.squeeze(ops.reshape(x, (2, 1, 1, 12)), axis), {"several", "none"}),
    "concat": (lambda x, axis: ops.concat([x, x], axis), set()),
    "stack": (lambda x, axis: ops.stack([x, x], axis), set()),
    "unstack": (lambda x, axis: ops.unstack(x, axis=axis), set()),
    "split": (lambda x, axis: ops.split(x, 1, axis), set()),
    "gather": (lambda x, axis: ops.gather(x, [0, 1], axis), set()),
}
ONE_LINE = r"\A(axis|axes): expected [^\n]+, got [^\n]+\Z"


def test_every_operation_with_an_axis_is_in_the_table() -> None:
    with_axis = {
        name
        for name, function in vars(ops).items()
        if isfunction(function) and not name.startswith("_") and {"axis", "axes"} & set(signature(function).parameters)
    }
    # TensorFlow's axes of clip_by_norm are accepted only as None.
    assert with_axis - set(AXES) == {"softmax_backward", "clip_by_norm"}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("axis", [True, np.True_, 1.0, 1.5, float("nan"), "1", b"1", 9, -9, object(), {1: 2}], ids=str)
def test_an_axis_is_a_whole_number_in_range(name: str, axis: Any) -> None:
    function, _ = AXES[name]
    given = (axis,) if name == "transpose" else axis
    with pytest.raises(ValueError, match=ONE_LINE):
        function(normal(2, 3, 4), axis=given)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("axis", [(1, 2), [2, 1], None], ids=str)
def test_several_axes_are_honoured_or_refused(name: str, axis: Any) -> None:
    function, honoured = AXES[name]
    if ("none" if axis is None else "several") in honoured:
        function(normal(2, 3, 4), axis=axis)
        return
    with pytest.raises(ValueError, match=ONE_LINE):
        function(normal(2, 3, 4), axis=axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "reduce_sum", "reduce_mean", "reduce_min", "expand_dims"])
@pytest.mark.parametrize("axis", [(1, 1), (0, -3)], ids=str)
def test_an_axis_twice_is_refused(name: str, axis: Any) -> None:
    axis = (0, -5) if name == "expand_dims" and axis == (0, -3) else axis
    with pytest.raises(ValueError, match=r"axis: expected each axis once"):
        AXES[name][0](normal(2, 3, 4), axis=axis)


@pytest.mark.parametrize("axis", [0, -2, (1, 2), (0, 2), [2, 0], (0, 1, 2), None], ids=str)
def test_softmax_over_several_axes(axis: Any) -> None:
    x = normal(2, 3, 4)
    axes = tuple(axis) if isinstance(axis, list) else axis
    expected = np.exp(x) / np.exp(x).sum(axes, keepdims=True)
    np.testing.assert_allclose(ops.softmax(x, axis), expected, rtol=1e-12)
    np.testing.assert_allclose(ops.log_softmax(x, axis), np.log(expected), rtol=1e-12)
    check_gradients(lambda x: ops.softmax(x, axis), x)
    check_gradients(lambda x: ops.log_softmax(x, axis), x)


@pytest.mark.parametrize("shape", [1.5, (2, 1.5), (2, True), "3", (-2,), (float("nan"),)], ids=str)
def test_sizes_are_whole_numbers(shape: Any) -> None:
    for function in (ops.zeros, ops.ones, lambda shape: ops.reshape(np.ones(3), shape)):
        with pytest.raises(ValueError, match=r"\Ashape: expected [^\n]+\Z"):
            function(shape)
    assert ops.zeros(3).shape == (3,) and ops.reshape(np.ones((1, 3)), 3).shape == (3,)


def test_splits_are_whole_numbers() -> None:
    for sizes in (1.5, True, [1.5, 1.5], [True, 2], "3"):
        with pytest.raises(ValueError, match=r"\Anum_or_size_splits: expected "):
            ops.split(np.ones(3), sizes)


@pytest.mark.parametrize("dtype", ["float16", ">f4", ">f8", "longdouble"])
def test_every_type_of_floats_counts_in_a_norm(dtype: str) -> None:
    """Norms add up what the core does not take as it is: float16, other byte orders, long doubles."""
    values = np.array([[3.0, 0.0], [0.0, 4.0]])
    given = values.astype(dtype)
    assert float(ops.global_norm([given, np.array([12.0])])) == pytest.approx(13)
    np.testing.assert_allclose(np.asarray(ops.clip_by_norm(given, 1.0), np.float64), values / 5, rtol=1e-3)
    clipped, norm = ops.clip_by_global_norm([given], 1.0)
    assert float(norm) == pytest.approx(5)
    np.testing.assert_allclose(np.asarray(clipped[0], np.float64), values / 5, rtol=1e-3)


def test_other_byte_orders_are_read() -> None:
    """Arrays of files of other machines, as layers and operations take them."""
    x = np.array([[1.0, 2.0]], ">f4")
    np.testing.assert_array_equal(ops.softmax(x), ops.softmax([[1.0, 2.0]]))
    embedding = layers.Embedding(3, 2)
    np.testing.assert_array_equal(embedding(np.array([[1, 2]], ">i8")), embedding([[1, 2]]))
    assert Tensor(x).dtype.isnative


def test_assign_reads_what_other_libraries_hold() -> None:
    class Unreadable:
        shape = (1,)

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("requires grad;\ndetach it")

    with pytest.raises(TypeError, match="^value: expected numbers, got a Unreadable that NumPy cannot read: requires"):
        Variable([1.0]).assign(Unreadable())
