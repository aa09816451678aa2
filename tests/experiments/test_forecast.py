"""seqcore run forecast: beats what can be beaten, says what cannot; no window looks ahead; bad options and files."""

import json
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.datasets.series import seasonal_series
from seqcore.experiments import forecast
from tests.helpers import runs

run = partial(runs.run, "forecast")


@pytest.mark.parametrize(
    "cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow), pytest.param("rnn", marks=pytest.mark.slow)]
)
def test_seasons_are_learnt(tmp_path, capsys, cell):
    """Better than the last value and than the best line through the window, and not better than possible."""
    assert run("--cell", cell, "--seed", 1, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("data: built-in noisy sums of seasons, 5,000 values")
    assert "better than the better baseline" in out and "random walk" not in out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["naive_rmse"] > metrics["linear_rmse"] > 1.05 * metrics["test_rmse"]
    assert metrics["test_rmse"] > metrics["optimal_rmse"] > 0.95
    assert metrics["naive_mae"] > metrics["linear_mae"] > metrics["test_mae"] > metrics["optimal_mae"]
    for name in ("forecast.png", "errors.png"):
        pytest.importorskip("matplotlib")
        assert (tmp_path / name).read_bytes()[:8] == runs.PNG


def test_nothing_beats_a_random_walk(tmp_path, capsys):
    assert run("--series", "price", "--target", "change", "--epochs", 2, "--units", 8, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert "the last value is as good a forecast as any here" in out and "better than" not in out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["test_rmse"] > 0.99 * metrics["naive_rmse"]
    assert metrics["optimal_rmse"] == pytest.approx(metrics["naive_rmse"], rel=0.01)


def test_a_price_leaves_the_range_of_training(tmp_path, capsys):
    assert run("--series", "price", "--epochs", 1, "--units", 4, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert "of the test values lie outside the range of the training values" in out and "worse than" in out


def test_the_future_is_not_seen():
    """Whatever follows the training part changes neither its windows nor the scaling nor the baseline's weights."""
    values = seasonal_series(300).values
    changed = values.copy()
    first = forecast.split(values, 12)
    border = 12 + first.train.stop
    changed[border:] = 1e6
    second = forecast.split(changed, 12)
    assert (first.mean, first.scale) == (second.mean, second.scale)
    np.testing.assert_array_equal(first.x[first.train], second.x[second.train])
    np.testing.assert_array_equal(first.y[first.train], second.y[second.train])
    np.testing.assert_array_equal(
        forecast.least_squares(first)[first.train], forecast.least_squares(second)[second.train]
    )
    # The parts follow each other without a gap, and a window ends right before what it foretells.
    assert first.train.stop == first.valid.start and first.valid.stop == first.test.start
    np.testing.assert_array_equal(first.x[1:, -1], first.y[:-1])
    np.testing.assert_array_equal(first.y, values[12:])


def test_the_line_is_the_least_squares_line():
    """On a series that is a line through its past the linear baseline is exact."""
    values = 5 + np.cos(0.3 * np.arange(200)) + np.sin(0.71 * np.arange(200))
    parts = forecast.split(values, 8)
    np.testing.assert_allclose(forecast.least_squares(parts), parts.y, atol=1e-8)


def test_runs_repeat_themselves(tmp_path):
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        words = ("--epochs", 1, "--units", 8, "--window", 10, "--seed", seed, "--threads", threads)
        assert run(*words, "--out", tmp_path / name) == 0
    a, b, c = (runs.results(tmp_path / name) for name in "abc")
    assert a == b and a["history"] != c["history"]


def write_csv(path, rows=200, scale=1000.0):
    values = scale * (3 + np.sin(0.5 * np.arange(rows)))
    lines = ["day,close", *(f"{day},{value}" for day, value in enumerate(values.tolist()))]
    path.write_text("\n".join(lines) + "\n")
    return values


@pytest.mark.parametrize("target", ["value", "change"])
def test_a_column_and_the_model_of_it(tmp_path, capsys, target):
    """Errors and forecasts are in the units of the column, also from the saved model."""
    values = write_csv(tmp_path / "a.csv")
    words = ("--column", "close", "--window", 8, "--epochs", 30, "--target", target, "--out", tmp_path / "out")
    assert run("--csv", tmp_path / "a.csv", *words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"data: column 'close' of {tmp_path / 'a.csv'}, 200 values") and "best possible" not in out
    metrics = runs.results(tmp_path / "out")["metrics"]
    assert 10 < metrics["test_rmse"] < 0.5 * metrics["naive_rmse"] and metrics["naive_rmse"] > 200
    model = sc.load_model(tmp_path / "out" / "model.safetensors")
    parts = forecast.split(values, 8)
    said = forecast.forecast(model, parts.x[parts.test])
    assert forecast.errors(said, parts.y[parts.test])[1] == metrics["test_rmse"]
    np.save(tmp_path / "x.npy", values[-8:])
    assert cli.main(["predict", str(tmp_path / "out"), "--input", str(tmp_path / "x.npy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == forecast.describe(model, values[-8:])
    np.save(tmp_path / "x.npy", values[-7:])
    assert cli.main(["predict", str(tmp_path / "out"), "--input", str(tmp_path / "x.npy")]) == 2
    assert "x: expected windows of 8 values, got shape (1, 7)" in capsys.readouterr().err
    # The file may also be named relative to the folder of --data.
    assert run("--data", tmp_path, "--csv", "a.csv", *words) == 0
    assert runs.results(tmp_path / "out")["metrics"] == metrics


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--units", 0), "--units: expected an integer >= 1, got 0"),
        (("--window", 0), "--window: expected an integer >= 1, got 0"),
        (("--window", 4990), "--window: expected at least 5010 values for windows of 4990, got 5000"),
        (("--column", "close"), "--column: expected with --csv FILE, got 'close' without it"),
        (("--csv", "{good}"), "--column: expected the name of a column"),
        (("--csv", "{good}", "--column", "open"), "good.csv: expected one column 'open', got the columns day, close"),
        (("--csv", "{text}", "--column", "close"), "text.csv: expected a number in column 'close' in line 2, got 'up'"),
        (("--csv", "{flat}", "--column", "close"), "series: expected values that change, got 7 throughout"),
        (("--csv", "{none}", "--column", "close"), "No such file"),
        (("--csv", "{good}", "--column", "close", "--series", "price"), "--series: expected none with --csv"),
        (("--data", "download"), "--data: expected builtin or the folder of --csv"),
        (("--data", "nowhere"), "--data: expected builtin or the folder of --csv, got 'nowhere'"),
        (("--data", "."), "--csv: expected a file in the folder of --data"),
    ],
)
def test_bad_options_and_files(tmp_path, capsys, words, message):
    write_csv(tmp_path / "good.csv")
    (tmp_path / "text.csv").write_text("day,close\n1,up\n")
    (tmp_path / "flat.csv").write_text("day,close\n" + "1,7\n" * 100)
    places = {name: tmp_path / f"{name}.csv" for name in ("good", "text", "flat", "none")}
    assert run(*(str(word).format(**places) for word in words), "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "out" / "model.safetensors").exists()
