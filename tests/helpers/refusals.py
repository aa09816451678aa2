"""Calls that must be refused."""

import pytest


def refused(name, function, *args, **kwargs):
    """Asserts a one-line ValueError or TypeError in which the argument's name stands; returns its text."""
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text and "incompatible function arguments" not in text, text
    assert name in text.replace("[", " ").replace(":", " ").replace(".", " ").split(), text
    assert "expected" in text, text
    return text
