"""Number of threads of a recurrent layer and their shares: a function of the sizes, without a clock."""

import numpy as np
import pytest

from seqcore import _core

GATES = {"rnn": 1, "lstm": 4, "gru": 3, "gru_reset_before": 3}
CELLS = tuple(GATES)
# The books' LSTMs: batch, time steps, features, units.
SHAPES = {
    "imdb": (128, 80, 100, 64),
    "airline": (32, 26, 32, 40),
    "ptb-small": (20, 20, 200, 200),
    "ptb-medium": (20, 35, 650, 650),
    "ptb-large": (20, 35, 1500, 1500),
    "mnist": (128, 28, 28, 256),
    "stories": (64, 50, 544, 64),
    "single": (1, 80, 100, 64),
    "single-650": (1, 35, 650, 650),
    "odd": (13, 40, 77, 333),
    "odd-batch": (37, 30, 100, 90),
    "few-odd": (7, 30, 300, 470),
}
COUNTS = (2, 3, 4, 6, 7, 8, 11, 12, 16, 24, 32, 48, 64)
ALL = "every thread has a part of the time loop"
UNEVEN = "the sequences do not divide evenly, and barriers would cost more than even parts save"


def plan(cell, batch, steps, features, units, *, threads=2, lanes=16, **options):
    return _core.recurrent.plan_threads(
        cell, batch, batch * steps, features, units, threads=threads, lanes=lanes, **options
    )


def parts(count, size, last=1.0):
    """Sizes of the parts of 0...count-1, the last element counting for ``last``."""
    edges = [count * n // size for n in range(size + 1)]
    sizes = [float(end - begin) for begin, end in zip(edges, edges[1:], strict=False)]
    sizes[-1] -= 1 - last
    return sizes


def narrow(units, gates, lanes=16):
    """Width of the last block of units as a part of a whole one: an LSTM's may have 8 or 4 lanes of 16."""
    rest, width = units % lanes, lanes
    while gates == 4 and rest and width // 2 >= rest and width > 4:
        width //= 2
    return width / lanes


def gate_vectors(units, gates):
    """Vectors of the gates of some units."""
    return round((-(-units // 16) - 1 + narrow(units, gates)) * gates)


def balance(batch, units, gates, grid):
    """Multiply-adds of the busiest thread of a grid in the time loop, over those of an even share of its threads."""
    rows, columns = grid
    last = narrow(units, gates)
    blocks = -(-units // 16)
    busiest = -(-batch // rows) * max(parts(blocks, columns, last))
    return busiest * rows * columns / (batch * (blocks - 1 + last))


@pytest.mark.parametrize(
    ("shape", "loop", "products"),
    [
        ("imdb", (2, 1), False),
        ("airline", (2, 1), False),
        ("ptb-small", (2, 1), False),
        ("ptb-medium", (1, 2), True),  # 6.8 MB of recurrent weights
        ("ptb-large", (1, 2), True),
        ("mnist", (2, 1), False),  # 1 MiB: still within the cache
        ("stories", (2, 1), False),
        ("single", (1, 1), True),
    ],
)
def test_two_threads(shape, loop, products):
    got = plan("lstm", *SHAPES[shape])
    assert (got["threads"], got["loop"], got["shares_products"]) == (2, loop, products)
    assert got["barriers_per_step"] == (loop[1] > 1)


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_thread_has_much_more_than_its_share(shape, cell, threads):
    """In the time loop at most 1.15 times the even share of all threads, or fewer threads for a reason."""
    batch, _, _, units = SHAPES[shape]
    got = plan(cell, *SHAPES[shape], threads=threads)
    rows, columns = got["loop"]
    assert 1 <= rows * columns <= got["threads"] <= threads
    assert got["barriers_per_step"] == (columns > 1)
    assert got["shares_products"] == (columns > 1 or rows < got["threads"] or got["reason"] == UNEVEN)
    even = balance(batch, units, GATES[cell], got["loop"]) <= 1.15
    assert (got["reason"] in (ALL, UNEVEN)) == (rows * columns == threads)
    assert even or rows * columns < threads or (got["reason"] == UNEVEN and batch in (7, 13))
    assert not even or got["reason"] != UNEVEN


def least_of_the_busiest(rows, vectors, width, threads):
    """Rows times vectors of the busiest thread in the most even of all grids."""
    panels = -(-vectors // width)
    last = vectors / width - panels + 1
    return min(
        -(-rows // (threads // columns)) * max(parts(panels, columns, last)) * width
        for columns in range(1, min(threads, panels) + 1)
    )


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_shared_evenly(shape, cell, threads):
    """The product of the input and the one of its gradient, where all threads share them.

    At most 1.15 times the even share of all threads, or no division has less.
    """
    batch, steps, features, units = SHAPES[shape]
    rows = batch * steps
    for columns, gates in ((units, GATES[cell]), (features, 1)):
        row_parts, column_parts = _core.recurrent.plan_product(rows, columns, gates, threads=threads, lanes=16)
        blocks, vectors = -(-columns // 16), gate_vectors(columns, gates)
        busiest = -(-rows // row_parts) * max(parts(blocks, column_parts, narrow(columns, gates))) * gates
        assert row_parts * column_parts <= threads
        assert busiest * threads <= 1.15 * rows * vectors or busiest == least_of_the_busiest(
            rows, vectors, gates, threads
        )


def test_a_grid_of_rows_and_columns():
    """Rows for a few threads; more of them each read a part of the weights; no row for some, columns for all."""
    plan_product = _core.recurrent.plan_product
    assert plan_product(400, 200, 4, threads=2, lanes=16) == (2, 1)
    rows, columns = plan_product(700, 1500, 4, threads=16, lanes=16)
    assert columns > 1
    assert plan_product(1, 650, 4, threads=16, lanes=16) == (1, 14)
    assert plan_product(3, 16, threads=2, lanes=16) == (2, 1)


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize(
    ("columns", "units", "gates"),
    [(164, 64, 4), (400, 200, 4), (1300, 650, 4), (3000, 1500, 4), (284, 256, 3), (200, 10000, 1), (650, 10000, 1)],
)
def test_weight_gradients_are_shared_evenly(columns, units, gates, threads):
    """Columns of the input times panels of the gates: 1.15 times the even share of all threads, or none has less."""
    x, g = _core.recurrent.plan_gradients(columns, units, gates, threads=threads, lanes=16)
    panel = 3 if gates == 3 else 4
    vectors = gate_vectors(units, gates)
    panels = -(-vectors // panel)
    busiest = -(-columns // x) * max(parts(panels, g, (vectors - (panels - 1) * panel) / panel)) * panel
    assert x * g <= threads
    assert busiest * threads <= 1.15 * columns * vectors or busiest == least_of_the_busiest(
        columns, vectors, panel, threads
    )


def test_a_grid_of_sequences_and_units():
    """20 sequences leave the busiest of 16 threads two of them; blocks of 16 units divide further."""
    got = plan("lstm", *SHAPES["ptb-small"], threads=16)
    assert got["loop"][1] > 1 and got["barriers_per_step"] == 1
    assert plan("lstm", *SHAPES["ptb-small"], threads=10)["loop"] == (10, 1)


def test_one_thread_has_nothing_to_share():
    for cell in CELLS:
        for shape in SHAPES.values():
            got = plan(cell, *shape, threads=1)
            assert (got["threads"], got["loop"], got["shares_products"]) == (1, (1, 1), False)


@pytest.mark.parametrize(("cell", "threads"), [("rnn", 1), ("gru", 2), ("lstm", 2)])
def test_one_short_sequence(cell, threads):
    """Below 4 million operations one sequence stays on one thread."""
    assert plan(cell, *SHAPES["single"])["threads"] == threads


def test_little_work_wakes_nobody():
    # 2 * rows * (features + units) * units operations.
    assert _core.recurrent.plan_threads("rnn", 2, 61, 64, 64, threads=8)["threads"] == 1
    assert _core.recurrent.plan_threads("rnn", 2, 62, 64, 64, threads=2)["threads"] == 2
    # The square root of the operations over 25,000.
    got = _core.recurrent.plan_threads("rnn", 2, 62, 64, 64, threads=8)
    assert got["threads"] == 6 and got["reason"] == "waking more threads would cost more than they save"


def test_busy_processors():
    """Calls do without the processors that other programs have; short ones stay on one thread."""
    busy = "other programs have the processors"
    for shape in ("ptb-small", "airline", "single"):
        got = plan("lstm", *SHAPES[shape], busy=1)
        assert got["threads"] == 1 and got["reason"] == busy
    got = plan("lstm", *SHAPES["imdb"], threads=16, busy=3)
    assert got["threads"] == 13 and got["reason"] == busy
    assert plan("lstm", *SHAPES["airline"], threads=16, busy=3)["threads"] == 1
    assert plan("lstm", *SHAPES["imdb"], threads=4, busy=9)["threads"] == 1


def replay(*regions):
    """Busy processors at the end of each region: its end, length and lateness in seconds, threads, if measured."""
    return _core.system.replay_regions(np.array(regions, float)).tolist()


LATE = (0.01, 0.005, 1, 1)  # 10 ms, of which one thread had no processor for 5


def idle_until(end, seconds=0.001):
    """A region that nobody disturbed."""
    return (end, seconds, 0, 1, 1)


def test_a_thread_without_a_processor():
    """Calls do without it for 20 ms, twice as long each time, and as briefly as before once nothing disturbs them."""
    assert replay((0.1, *LATE), idle_until(0.101)) == [0, 2]
    assert replay((0.1, *LATE), idle_until(0.1 + 0.159), idle_until(0.1 + 0.161)) == [0, 2, 0]  # 16 regions
    short = (0.001, 0.0005, 1, 1)
    assert replay((0.1, *short), idle_until(0.119), idle_until(0.121)) == [0, 2, 0]
    assert replay((0.1, *short), (0.2, *short), idle_until(0.239), idle_until(0.241)) == [0, 0, 2, 0]
    # Regions during the pause do without the processor: they do not shorten the next pause.
    quiet = [idle_until(0.101 + n / 1000) for n in range(10)]
    assert replay((0.1, *short), *quiet, (0.2, *short), idle_until(0.239), idle_until(0.241))[-3:] == [0, 2, 0]
    quiet = [idle_until(0.2 + n / 1000) for n in range(10)]
    assert replay((0.1, *short), *quiet, (0.3, *short), idle_until(0.319), idle_until(0.321))[-3:] == [0, 2, 0]


def test_long_regions_forget_a_neighbour():
    """The pause after a region of 50 ms is long, but the next one is not, after regions that nobody disturbed."""
    long = (0.05, 0.02, 1, 1)
    quiet = [idle_until(2 + n / 10, 0.05) for n in range(7)]
    short = (0.001, 0.0005, 1, 1)
    got = replay(
        (0.1, *long), idle_until(0.89), idle_until(0.91), *quiet, (3, *short), idle_until(3.019), idle_until(3.021)
    )
    assert got[:3] == [0, 1, 0] and got[-3:] == [0, 2, 0]


@pytest.mark.parametrize(
    "wrong", [(1, 0, 0, 1, 1), (1, 1e-10, 0, 1, 1), (1, 0.1, 0.2, 1, 1), (1, 0.1, 0.05, 1e6, 1), (np.nan, 1, 0, 1, 1)]
)
def test_regions_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="regions: expected"):
        replay((0.1, *LATE), wrong)


def test_short_waits_of_many_threads():
    """Sixteen threads that wake up 100 us late are not one that had no processor for 1.6 ms."""
    assert replay((0.1, 0.002, 0.0001, 16, 1), idle_until(0.101)) == [0, 0]
    assert replay((0.1, 0.002, 0.0016, 1, 1), idle_until(0.101)) == [0, 2]
    # Waiting alone, perhaps for uneven work, begins to measure and no more.
    assert replay((0.1, 0.002, 0.0016, 1, 0), idle_until(0.101)) == [0, 0]


def test_few_sequences_share_units():
    """Where there are units enough for a barrier per step."""
    assert plan("lstm", 1, 100, 256, 256)["loop"] == (1, 2)
    assert plan("lstm", 1, 100, 256, 256, threads=8)["loop"] == (1, 8)
    assert plan("lstm", 1, 100, 64, 64, threads=8)["loop"] == (1, 1)
    assert plan("lstm", 64, 100, 64, 64, threads=8)["loop"] == (8, 1)


@pytest.mark.parametrize("shape", ["ptb-medium", "ptb-large"])
def test_two_products_a_step_do_not_share_units(shape):
    assert plan("gru_reset_before", *SHAPES[shape])["loop"] == (2, 1)
    got = plan("gru_reset_before", *SHAPES[shape], threads=64)
    assert (got["loop"], got["shares_products"]) == ((20, 1), True)


def test_both_directions_are_two_sequences():
    def share(directions, threads):
        got = plan("lstm", *SHAPES["single"], directions=directions, threads=threads)
        return got["threads"], got["loop"], got["shares_products"]

    assert share(1, 2) == (2, (1, 1), True)
    assert share(2, 2) == (2, (1, 1), False)
    assert share(2, 3) == (3, (1, 1), True)


def test_gates_that_nobody_needs_later():
    """A call without a backward pass keeps the gates of all steps only where they take less than 64 MiB."""
    rows = 2**26 // (64 * 4)
    plan_threads = _core.recurrent.plan_threads
    assert plan_threads("rnn", 1, rows, 64, 64, threads=2)["shares_products"]
    assert not plan_threads("rnn", 1, rows, 64, 64, threads=2, save=False)["shares_products"]
    assert plan_threads("rnn", 1, rows - 1, 64, 64, threads=2, save=False)["shares_products"]


@pytest.mark.parametrize("name", ["batch", "rows", "features", "units", "directions", "threads"])
def test_sizes_are_checked(name):
    sizes = {"batch": 1, "rows": 1, "features": 1, "units": 1, "directions": 1, "threads": 1}
    for wrong in (0, 2**31):
        with pytest.raises(ValueError, match=f"{name}: expected an integer from"):
            _core.recurrent.plan_threads("rnn", **{**sizes, name: wrong})
