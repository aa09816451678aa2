"""default_only: the one way to accept an argument of another library at its default alone."""

import numpy as np
import pytest

from seqcore._validation import default_only, short_repr


@pytest.mark.parametrize(
    ("value", "default"),
    [
        (None, None),
        (False, False),
        (0, False),
        (1, 1.0),
        ("auto", "auto"),
        (False, (False, "auto")),
        ("auto", (False, "auto")),
        (np.int64(1), 1),
        (np.False_, False),
    ],
)
def test_the_default_is_accepted(value, default):
    default_only("name", value, default, "a reason")


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        (True, False, "name: expected False (a reason), got True"),
        ("off", None, "name: expected None (a reason), got 'off'"),
        (2, (1, None), "name: expected 1 (a reason), got 2"),
        (float("nan"), 0.0, "name: expected 0.0 (a reason), got nan"),
        (np.zeros(1), 0, "name: expected 0 (a reason), got array([0.])"),
        (np.dtype("float64"), None, "name: expected None (a reason), got dtype('float64')"),
    ],
)
def test_anything_else_is_refused_in_one_line(value, default, expected):
    with pytest.raises(ValueError) as error:
        default_only("name", value, default, "a reason")
    assert str(error.value) == expected


def test_long_values_are_cut():
    text = short_repr(np.zeros((40, 40)))
    assert "\n" not in text and len(text) == 80 and text.endswith("...")
