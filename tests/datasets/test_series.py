"""Series: what is known of the built-in ones, columns of CSV files, windows."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcore.datasets.series import price_series, read_column, seasonal_series, windows


def test_the_best_forecast_of_the_seasons_misses_by_the_noise():
    series = seasonal_series(20_000, noise=2.0)
    rest = series.values - series.best
    assert abs(rest.std() - 2) < 0.05 and abs(rest.mean()) < 0.05
    assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 0.03
    # Flat nights and high days: no sum of sines.
    assert series.best.min() == pytest.approx(34, abs=0.1) and series.best.max() > 75


def test_the_price_walks_at_random():
    series = price_series(50_000)
    steps = np.diff(np.log(series.values))
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.03
    calm = np.abs(steps)
    assert np.corrcoef(calm[1:], calm[:-1])[0, 1] > 0.1  # wild steps follow wild steps
    naive = np.square(np.diff(series.values)).mean()
    best = np.square(series.values - series.best)[1:].mean()
    assert best == pytest.approx(naive, rel=0.01)


@pytest.mark.parametrize("make", [seasonal_series, price_series])
def test_series_repeat_themselves(make):
    a, b, other = make(300, seed=5), make(300, seed=5), make(300, seed=6)
    np.testing.assert_array_equal(a.values, b.values)
    assert not np.array_equal(a.values, other.values)
    with pytest.raises(ValueError, match="count: expected an integer >= 2, got 1"):
        make(1)


def test_a_longer_seasonal_series_starts_with_the_shorter():
    np.testing.assert_array_equal(seasonal_series(500).values[:300], seasonal_series(300).values)


CSV = 'day,open,close\n1,10.5,11\n2,"10.75",1.2e1\n3,-1, 13 \n'


@pytest.mark.parametrize(
    "content",
    [
        CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        ("\ufeff" + CSV).encode(),
        CSV.replace(",", ";").encode(),
        CSV.replace(",", "\t").encode(),
        (CSV + "\n\n").encode(),
        gzip.compress(CSV.encode()),
    ],
)
def test_columns_are_read(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    assert read_column(tmp_path / "a.csv", "open").values.tolist() == [10.5, 10.75, -1]
    series = read_column(tmp_path / "a.csv", "close")
    assert series.values.tolist() == [11, 12, 13] and series.best is None and series.name == "close"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: expected a CSV file, got an empty one"),
        (b"day,close\n", "a.csv: expected rows below the names of the columns, got none"),
        (b"day,open\n1,2\n", "a.csv: expected one column 'close', got the columns day, open"),
        (b"close,close\n1,2\n", "expected one column 'close', got the columns close, close"),
        (b"day,close\n1,2\n2,n/a\n", "a.csv: expected a number in column 'close' in line 3, got 'n/a'"),
        (b"day,close\n1,2\n2,\n", "expected a number in column 'close' in line 3, got ''"),
        (b"day,close\n1,2\n2\n", "expected a number in column 'close' in line 3, got ''"),
        (b"day,close\n1,nan\n", "expected a number in column 'close' in line 2, got 'nan'"),
        (b"day,close\n1,inf\n", "expected a number in column 'close' in line 2, got 'inf'"),
        (b"day,close\n1,\xff\n", "expected UTF-8 text"),
        (b"\x1f\x8b\x08\x00", "a.csv: expected a whole gzip file, got a damaged one"),
        (b"day,close\n1,2\n2,1_0\n", "expected a number in column 'close' in line 3, got '1_0'"),
        (b"close,day\n1,2\n3,4,5\n", "a.csv: expected 2 cells in line 3, as the first line has, got 3"),
        (b'day,close\n1,2\n"2,3\n', "expected a CSV file, got one that is not"),
        ("\ufeffday,close\n1,2\n".encode("utf-16"), "a.csv: expected UTF-8 text.*in UTF-16: save it as UTF-8"),
        (b"PK\x03\x04\xff", "a.csv: expected UTF-8 text.*it is a damaged zip archive"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_column(tmp_path / "a.csv", "close")
    assert "\n" not in str(error.value)


@given(st.integers(2, 40), st.data())
def test_windows_end_before_what_they_foretell(count, data):
    steps = data.draw(st.integers(1, count - 1))
    x, y = windows(np.arange(count, dtype=float), steps)
    assert x.shape == (count - steps, steps) and y.shape == (count - steps,)
    np.testing.assert_array_equal(x[:, -1] + 1, y)
    np.testing.assert_array_equal(np.diff(x, axis=1), 1)


@pytest.mark.parametrize("steps", [0, 5, 6])
def test_windows_longer_than_the_series(steps):
    with pytest.raises(ValueError, match=f"steps: expected 1...4, fewer than the values, got {steps}"):
        windows(np.arange(5.0), steps)
