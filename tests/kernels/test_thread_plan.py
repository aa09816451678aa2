"""Number of threads of a recurrent layer and their shares: a function of the sizes, without a clock."""

import pytest

from seqcore import _core

CELLS = ("rnn", "lstm", "gru", "gru_reset_before")
# The books' LSTMs: batch, time steps, features, units.
SHAPES = {
    "imdb": (128, 80, 100, 64),
    "airline": (32, 26, 32, 40),
    "ptb-small": (20, 20, 200, 200),
    "ptb-medium": (20, 35, 650, 650),
    "ptb-large": (20, 35, 1500, 1500),
    "mnist": (128, 28, 28, 256),
    "single": (1, 80, 100, 64),
}


def plan(cell, batch, steps, features, units, *, threads=2, **options):
    return _core.recurrent.plan_threads(cell, batch, batch * steps, features, units, threads=threads, **options)


@pytest.mark.parametrize(
    ("shape", "threads", "partition"),
    [
        ("imdb", 2, "sequences"),
        ("imdb", 64, "sequences"),
        ("airline", 2, "sequences"),
        ("ptb-small", 2, "sequences"),
        ("ptb-medium", 2, "units"),  # 6.8 MB of recurrent weights
        ("ptb-large", 2, "units"),
        ("mnist", 2, "sequences"),  # 1 MiB: still within the cache
        ("single", 2, "products"),
    ],
)
def test_shapes_of_the_books(shape, threads, partition):
    assert plan("lstm", *SHAPES[shape], threads=threads) == (threads, partition)


def test_one_thread_has_nothing_to_share():
    for cell in CELLS:
        for shape in SHAPES.values():
            assert plan(cell, *shape, threads=1) == (1, "sequences")


@pytest.mark.parametrize(("cell", "threads"), [("rnn", 1), ("gru", 2), ("lstm", 2)])
def test_one_short_sequence(cell, threads):
    """Below 4 million operations one sequence stays on one thread."""
    assert plan(cell, *SHAPES["single"])[0] == threads


def test_little_work_wakes_nobody():
    # 2 * rows * (features + units) * units operations.
    assert _core.recurrent.plan_threads("rnn", 2, 61, 64, 64, threads=8)[0] == 1
    assert _core.recurrent.plan_threads("rnn", 2, 62, 64, 64, threads=8)[0] == 8


def test_oversubscribed():
    """Only long calls use several threads where other programs have the processors."""
    assert plan("lstm", *SHAPES["ptb-small"], oversubscribed=True) == (2, "sequences")  # 0.26 GFLOP
    assert plan("lstm", *SHAPES["airline"], oversubscribed=True) == (1, "sequences")
    assert plan("lstm", *SHAPES["single"], oversubscribed=True) == (1, "sequences")


def test_few_sequences():
    """Fewer than two sequences a thread share the units, where there are enough units for a barrier per step."""
    assert plan("rnn", 3, 100, 256, 256) == (2, "units")
    assert plan("rnn", 4, 100, 256, 256) == (2, "sequences")
    assert plan("rnn", 3, 100, 255, 255) == (2, "sequences")


@pytest.mark.parametrize(("dtype", "units"), [("float32", 512), ("float64", 362)])
def test_recurrent_weights_beyond_the_cache(dtype, units):
    """More than 1 MiB of recurrent weights, and fewer than 32 sequences a thread."""
    assert plan("rnn", 40, 100, units, units, dtype=dtype) == (2, "sequences")
    assert plan("rnn", 40, 100, units, units + 1, dtype=dtype) == (2, "units")
    assert plan("rnn", 63, 100, units, units + 1, dtype=dtype) == (2, "units")
    assert plan("rnn", 64, 100, units, units + 1, dtype=dtype) == (2, "sequences")


@pytest.mark.parametrize("shape", ["ptb-medium", "ptb-large"])
def test_two_products_a_step_do_not_share_units(shape):
    assert plan("gru_reset_before", *SHAPES[shape]) == (2, "sequences")
    assert plan("gru_reset_before", *SHAPES[shape], threads=64) == (64, "products")


def test_both_directions_are_two_sequences():
    assert plan("lstm", *SHAPES["single"], directions=1) == (2, "products")
    assert plan("lstm", *SHAPES["single"], directions=2) == (2, "sequences")
    assert plan("lstm", *SHAPES["single"], directions=2, threads=3) == (3, "products")


def test_gates_that_nobody_needs_later():
    """A call without a backward pass keeps the gates of all steps only where they take less than 64 MiB."""
    rows = 2**26 // (64 * 4)
    assert _core.recurrent.plan_threads("rnn", 1, rows, 64, 64, threads=2) == (2, "products")
    assert _core.recurrent.plan_threads("rnn", 1, rows, 64, 64, threads=2, save=False) == (2, "sequences")
    assert _core.recurrent.plan_threads("rnn", 1, rows - 1, 64, 64, threads=2, save=False) == (2, "products")


@pytest.mark.parametrize("name", ["batch", "rows", "features", "units", "directions", "threads"])
def test_sizes_are_checked(name):
    sizes = {"batch": 1, "rows": 1, "features": 1, "units": 1, "directions": 1, "threads": 1}
    for wrong in (0, 2**31):
        with pytest.raises(ValueError, match=f"{name}: expected an integer from"):
            _core.recurrent.plan_threads("rnn", **{**sizes, name: wrong})
