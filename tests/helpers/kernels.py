"""Shared by the tests of the kernels."""

import numpy as np
import pytest

from tests.helpers import cases

ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear", "hard_sigmoid")


dtypes = pytest.mark.parametrize("dtype", cases.DTYPES)


def close(got, expected, dtype):
    """Asserts type and values of one array."""
    assert got.dtype == np.dtype(dtype)
    found = cases.deviation(got, expected)
    assert found <= cases.TOLERANCE[dtype], found
