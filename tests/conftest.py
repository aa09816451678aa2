"""Settings shared by all tests: property tests without deadlines, and the thread count put back after each test."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `from tests import ...` works from anywhere

try:
    from hypothesis import settings
except ImportError:
    pass
else:
    settings.register_profile("seqcore", deadline=None, derandomize=True, max_examples=50)
    settings.load_profile("seqcore")


def pytest_report_header(config):
    from seqcore import _core

    found = _core.info()
    return f"seqcore {found['version']}, instruction set {found['isa']} of {found['isas']}, threads {found['threads']}"


@pytest.fixture
def rng():
    """Random numbers, the same in each run."""
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def _threads_as_before():
    from seqcore import _core

    before = _core.get_num_threads()
    yield
    if _core.get_num_threads() != before:
        _core.set_num_threads(before)
