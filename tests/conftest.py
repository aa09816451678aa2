"""Settings shared by all tests: Ctrl-C works, property tests have no deadline, the thread count is put back."""

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `from tests import ...` works from anywhere

# A process started in the background ignores Ctrl-C, and so would the tests that send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
def _no_settings_of_the_user(monkeypatch):
    monkeypatch.delenv("SEQCORE_DATA", raising=False)


@pytest.fixture(autouse=True)
def _threads_as_before():
    from seqcore import _core

    before = _core.get_num_threads()
    yield
    if _core.get_num_threads() != before:
        _core.set_num_threads(before)
