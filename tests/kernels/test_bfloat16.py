"""mixed_bfloat16: products of bfloat16 pairs against exact ones, the same bits for any threads, policies of layers."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import seqcore as sc
from seqcore import _core, layers

there = pytest.mark.skipif(not _core.system.info()["bfloat16"], reason="no AVX-512 BF16")
RNG = np.random.default_rng


def rounded(x):
    """x as the nearest bfloat16, even where two are as near, in float64."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.fixture(autouse=True)
def threads_and_policy():
    before = sc.get_num_threads()
    yield
    sc.set_num_threads(before)
    sc.set_dtype_policy("float32")


# ---------------------------------------------------------------- the core


@there
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (20, 33, 65), (300, 17, 130), (5, 600, 9)])
def test_dense_is_the_product_of_rounded_factors(shape):
    """Forward and back, for odd sizes on both sides of the vectors, the tiles and the blocks of k."""
    rows, inputs, outputs = shape
    rng = RNG(0)
    x, w = rng.normal(size=(rows, inputs)).astype("f"), rng.normal(size=(inputs, outputs)).astype("f")
    b, dy = rng.normal(size=outputs).astype("f"), rng.normal(size=(rows, outputs)).astype("f")
    y = _core.dense.dense_forward(x, w, b, mixed=True)
    dx, dw, db = _core.dense.dense_backward(x, w, y, dy, mixed=True)
    x_, w_, dy_ = rounded(x), rounded(w), rounded(dy)
    for found, exact, size in (
        (y, x_ @ w_ + b, np.abs(x_) @ np.abs(w_)),
        (dx, dy_ @ w_.T, np.abs(dy_) @ np.abs(w_).T),
        (dw, x_.T @ dy_, np.abs(x_).T @ np.abs(dy_)),
    ):
        # The sums are float32's: what they may be wrong by grows with the terms, not with bfloat16's 3 digits.
        assert np.abs(found - exact).max() <= 1e-6 * (size.max() + 1)
    np.testing.assert_allclose(db, dy.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    assert rows * inputs < 50 or np.abs(y - (x.astype("d") @ w + b)).max() > 1e-4


@there
def test_small_integers_are_exact():
    rng = RNG(1)
    x, w = (rng.integers(-8, 9, shape).astype("f") for shape in ((37, 50), (50, 70)))
    np.testing.assert_array_equal(_core.dense.dense_forward(x, w, mixed=True), x @ w)


def sequences(cell, batch, steps, features, units, directions=1, lengths=None, mixed=True):
    """Output, dx and the gradients of the weights of one call, forward and back."""
    rng = RNG(2)
    gates = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "rnn": 1}[cell]
    x = rng.normal(size=(batch, steps, features)).astype("f")
    weights = []
    for _ in range(directions):
        kernel, recurrent = (rng.normal(size=(n, gates * units)) / n**0.5 for n in (features, units))
        bias = rng.normal(size=(2, 3 * units) if cell == "gru" else gates * units) / 10
        weights.append(tuple(one.astype("f") for one in (kernel, recurrent, bias)))
    options = {"lengths": lengths, "mixed": mixed}
    if directions == 2:
        options["reverse"] = [False, True]
    y, _, saved = _core.recurrent.recurrent_forward(cell, x, weights, **options)
    dy = rng.normal(size=y.shape).astype("f")
    dx, dweights, _, _ = _core.recurrent.recurrent_backward(saved, dy)
    return [np.array(y), np.array(dx), *(np.array(one) for part in dweights for one in part)]


CELLS = ["lstm", "gru", "gru_reset_before", "rnn"]


@there
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [(3, 5, 7, 9), (20, 7, 65, 130), (1, 4, 33, 17), (5, 3, 1, 1)])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("ragged", [False, True])
def test_recurrent_is_near_float32(cell, size, directions, ragged):
    """Within a few units of bfloat16's last place of the largest element, and not float32 itself."""
    batch, steps = size[:2]
    lengths = np.array([steps - i % steps for i in range(batch)], np.int32) if ragged else None
    full = sequences(cell, *size, directions, lengths, mixed=False)
    mixed = sequences(cell, *size, directions, lengths)
    errors = [np.abs(a - b).max() / np.abs(a).max() for a, b in zip(full, mixed, strict=True)]
    # With one unit, a sum of a few terms of both signs is all there is.
    assert 1e-5 < max(errors) < (0.03 if size[3] > 1 else 0.1)


@there
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [(9, 6, 33, 65), (3, 4, 40, 600)])
def test_same_bits_for_any_threads(cell, size):
    """Rows shared and units shared."""
    found = []
    for threads in (1, 2, 7):
        sc.set_num_threads(threads)
        found.append(sequences(cell, *size))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@there
@pytest.mark.parametrize("sizes", [(5, 7, 11), (130, 33, 1400)])
def test_linear_softmax_is_near_float32(sizes):
    rows, inputs, classes = sizes
    rng = RNG(3)
    x, w = rng.normal(size=(rows, inputs)).astype("f"), (rng.normal(size=(inputs, classes)) / inputs**0.5).astype("f")
    b, targets = rng.normal(size=classes).astype("f"), rng.integers(0, classes, rows).astype("int32")
    full, mixed = (_core.dense.linear_softmax(x, w, b, targets, mixed=one) for one in (False, True))
    for i in (0, 2, 3, 4):
        error = np.abs(full[i] - mixed[i]).max() / np.abs(full[i]).max()
        assert error < 0.02 and (i == 4 or error > 1e-6)


@there
def test_float64_is_refused():
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match="mixed: expected float32"):
        _core.dense.dense_forward(x, np.zeros((3, 4)), mixed=True)


# ---------------------------------------------------------------- layers


def test_policies():
    assert sc.dtype_policy() == "float32"
    sc.set_dtype_policy("float64")
    assert sc.dtype_policy() == "float64" and layers.Dense(2).dtype_policy == "float64"
    with pytest.raises(ValueError, match="policy: expected 'float32', 'float64' or 'mixed_bfloat16', got 'float16'"):
        sc.set_dtype_policy("float16")
    assert sc.dtype_policy() == "float64"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.set_dtype_policy("mixed_bfloat16")
        assert sc.dtype_policy() == "mixed_bfloat16" and sc.floatx() == "float32"
        layer = layers.LSTM(3)
        assert (layer.dtype, layer.dtype_policy) == ("float32", "mixed_bfloat16")
        assert layers.LSTM(3, dtype="float32").dtype_policy == "float32"


@pytest.mark.parametrize(
    "layer",
    [
        lambda **k: layers.LSTM(40, **k),
        lambda **k: layers.GRU(40, reset_after=False, **k),
        lambda **k: layers.SimpleRNN(40, **k),
        lambda **k: layers.ContextRNN(40, 24, **k),
        lambda **k: layers.Dense(40, "tanh", **k),
        lambda **k: layers.Bidirectional(layers.GRU(40, **k)),
    ],
)
@there
def test_layers_keep_their_policy(layer):
    """A clone from the configuration computes the same, which is not what float32 computes."""
    x = RNG(4).normal(size=(3, 5, 30)).astype("f")
    mixed = layer(dtype="mixed_bfloat16")
    y = mixed(x).numpy()
    clone = type(mixed).from_config(mixed.get_config())
    clone.build(x.shape)
    clone.set_weights(mixed.get_weights())
    np.testing.assert_array_equal(clone(x).numpy(), y)
    full = layer(dtype="float32")
    full.build(x.shape)
    full.set_weights(mixed.get_weights())
    assert clone.dtype_policy == "mixed_bfloat16" and 1e-5 < np.abs(full(x).numpy() - y).max() < 0.05
    assert all(one.dtype == np.float32 for one in mixed.weights)


@there
def test_a_model_learns_as_in_float32():
    """The parity of the first two of 12 signs, which a linear model cannot tell."""
    rng = RNG(5)
    x = rng.choice([-1.0, 1.0], (600, 12, 1)).astype("f")
    y = (x[:, 0, 0] * x[:, 1, 0] > 0).astype("int64")
    losses = {}
    for policy in ("float32", "mixed_bfloat16"):
        sc.set_seed(0)
        sc.set_dtype_policy(policy)
        model = sc.Sequential([layers.LSTM(24), layers.Dense(2)])
        loss = sc.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(sc.optimizers.Adam(0.01), loss, metrics=["accuracy"])
        history = model.fit(x, y, batch_size=50, epochs=40, verbose=0).history
        losses[policy] = history["loss"][-1]
        assert history["accuracy"][-1] > 0.95
    assert losses["float32"] != losses["mixed_bfloat16"]


def test_another_processor_warns_once_and_works_in_float32():
    code = (
        "import warnings, numpy as np, seqcore as sc\n"
        "x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype('f')\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    a = sc.layers.LSTM(4, dtype='mixed_bfloat16', seed=1); b = sc.layers.LSTM(4, dtype='mixed_bfloat16')\n"
        "y = a(x).numpy(); c = sc.layers.LSTM(4); c.build(x.shape); c.set_weights(a.get_weights())\n"
        "print(len(seen), seen[0].message, np.array_equal(y, c(x).numpy()), a.dtype_policy)\n"
    )
    environment = {**os.environ, "SEQCORE_ISA": "base", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("1 mixed_bfloat16: no AVX-512 BF16 here (base)")
    assert done.stdout.endswith("True mixed_bfloat16\n")
