"""Masking: which steps it masks, what follows from it, its gradient."""

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers

X = np.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]], [[0.5, 0.5], [0.0, 4.0], [0.0, 0.0]]])


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps(value, dtype):
    y = layers.Masking(value, dtype=dtype)(X)
    mask = ~(X == value).all(axis=-1)
    np.testing.assert_array_equal(y.mask, mask)
    np.testing.assert_array_equal(y, np.where(mask[:, :, None], X, 0))
    assert y.dtype == dtype


def test_layers_after_it():
    """They see the mask as if it had been given."""
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    x[0, 3:], x[1, 1] = 0, 0
    rnn = layers.LSTM(4)
    model = sc.Sequential([layers.Masking(), layers.Dense(3), rnn])
    y = model(x)
    np.testing.assert_array_equal(y, rnn(model.layers[1](x), mask=(x != 0).any(-1)))
    stream = model.stream(2)
    for t in range(3):
        step = stream.step(x[:, t].copy())
    np.testing.assert_allclose(step[0], y[0], atol=1e-6)


def test_an_earlier_mask_is_replaced():
    y = layers.Masking()(X, mask=np.zeros((2, 3), bool))
    np.testing.assert_array_equal(y.mask, [[True, False, True], [True, True, False]])


def test_gradient():
    """That of the steps that stay; none for those that become zero."""
    x = sc.Variable(X.astype(np.float32))
    with sc.GradientTape() as tape:
        y = layers.Masking(0.5)(x) * np.arange(1.0, 13.0, dtype=np.float32).reshape(2, 3, 2)
    expected = np.arange(1.0, 13.0).reshape(2, 3, 2)
    expected[1, 0] = 0
    np.testing.assert_array_equal(tape.gradient(y, x), expected)


def test_refused():
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, time, features\).*got \(2, 3\)"):
        layers.Masking()(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="lengths: expected none for layer 'padding'"):
        layers.Masking(name="padding")(X, lengths=[1, 2])
    for value in (None, "0", float("nan"), [0.0]):
        with pytest.raises(ValueError, match="mask_value: expected a finite number"):
            layers.Masking(value)
