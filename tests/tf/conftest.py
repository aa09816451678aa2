"""The two modules under test."""

import pytest

import seqcore as sc


@pytest.fixture(params=["seqcore", "tensorflow"])
def tf(request):
    """The module under test, and the one that it takes its names from, where it is installed."""
    return sc.tf if request.param == "seqcore" else pytest.importorskip("tensorflow")


@pytest.fixture(autouse=True)
def _seed():
    sc.set_seed(0)
