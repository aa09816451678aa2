"""``seqcore run forecast``: the next value of a series from the ones before it.

A recurrent layer reads a window of values, one per time step, and a dense layer predicts the next: the one-to-one
network of the books, whose output depends on its input and all inputs before it. It is compared with two forecasts that
need no network: the last value once more, and the least-squares line through the same window. On a series that is a
random walk nothing beats the first of them by more than chance, and the run reports it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import Model, Sequential
from ..datasets.series import Series, Values, price_series, read_column, seasonal_series, windows
from ..layers import Dense, Input
from ..optimizers import Adam, CosineDecay
from ._plots import draw_bars
from ._run import CELLS, Run, choice, number, option, override, recurrent_layer

Floats = NDArray[np.float32]

_BUILT_IN = {"seasonal": seasonal_series, "price": price_series}
_SHARES = 0.7, 0.15
_SHOWN = 120


@dataclass(frozen=True)
class Settings:
    """Of a run; ``values``: of the built-in series."""

    units: int = 32
    window: int = 48
    batch_size: int = 32
    learning_rate: float = 0.005
    clip: float = 1.0
    epochs: int = 20
    values: int = 5000


SETTINGS = {"quick": Settings(), "book": Settings(units=64, epochs=60, values=10_000)}


@dataclass(frozen=True)
class Split:
    """x: (N, T) windows, y: (N,) what follows; the three parts lie one after the other in time.

    ``mean`` and ``scale`` are those of the values of the training part alone.
    """

    x: Values
    y: Values
    train: slice
    valid: slice
    test: slice
    mean: float
    scale: float


OPTIONS = (
    choice("--series", _BUILT_IN, "which built-in series (default seasonal)"),
    option("--csv", "a CSV file instead, in the folder of --data if that is one", metavar="FILE"),
    option("--column", "the column of the CSV file", metavar="NAME"),
    choice("--cell", CELLS, "the recurrent layer", "lstm"),
    number("--units", "of the recurrent layer (default: the preset's)"),
    number("--window", "values that a forecast sees (default 48)"),
    choice("--target", ("value", "change"), "what the network says: values, or changes since the last one", "value"),
)


def load_series(arguments: argparse.Namespace, count: int) -> Series:
    """The series that the options name.

    Raises:
        ValueError, OSError: options that contradict each other; a file that is missing or damaged.
    """
    data, file = arguments.data, arguments.csv
    if data == "download":
        raise ValueError("--data: expected builtin or the folder of --csv, since there is nothing to download")
    if data != "builtin" and not Path(data).is_dir():
        raise ValueError(f"--data: expected builtin or the folder of --csv, got {data!r}")
    if file is None:
        if arguments.column is not None:
            raise ValueError(f"--column: expected with --csv FILE, got {arguments.column!r} without it")
        if data != "builtin":
            raise ValueError(f"--csv: expected a file in the folder of --data, or --data builtin, got --data {data!r}")
        return _BUILT_IN[arguments.series or "seasonal"](count)
    if arguments.series is not None:
        raise ValueError(f"--series: expected none with --csv, got {arguments.series!r}")
    if arguments.column is None:
        raise ValueError("--column: expected the name of a column of the CSV file, got none")
    return read_column(file if data == "builtin" else Path(data) / file, arguments.column)


def split(values: Values, window: int) -> Split:
    """Windows in three parts by the time of their targets: 70 % for training, 15 % each for validation and test.

    A window reaches back into the part before, as it would in use, and never ahead.

    Raises:
        ValueError: too few values, or values that are all the same.
    """
    least = window + 20
    if len(values) < least:
        raise ValueError(f"--window: expected at least {least} values for windows of {window}, got {len(values)}")
    x, y = windows(values, window)
    first = int(len(y) * _SHARES[0])
    second = int(len(y) * (_SHARES[0] + _SHARES[1]))
    known = values[: window + first]
    scale = float(known.std())
    if not scale > 0:
        raise ValueError(f"series: expected values that change, got {known[0]:g} throughout the training part")
    return Split(x, y, slice(0, first), slice(first, second), slice(second, None), float(known.mean()), scale)


def scaled(x: Values, mean: float, scale: float, target: str) -> tuple[Floats, Values]:
    """Inputs of the network for windows x (N, T), and the origins of its outputs.

    Returns:
        (N, T, 1) float32 and (N,): forecast = origin + scale · output.
    """
    origin = x[:, -1] if target == "change" else np.full(len(x), mean)
    return ((x - origin[:, None]) / scale).astype(np.float32)[:, :, None], origin


def build_model(cell: str, units: int, window: int) -> Sequential:
    """h_t = cell(x_t, h_{t-1}) over the window, forecast = w·h_T + b.

    >>> build_model("lstm", 32, 48).count_params()
    4385
    """
    return Sequential([Input((window, 1)), recurrent_layer(CELLS[cell], units), Dense(1)])


def forecast(model: Model, x: Any) -> Values:
    """The value after each window, in the units of the series.

    Args:
        model: a trained one, as a run saves it.
        x: (N, T) windows, or (T,) one.

    Returns:
        (N,).

    Raises:
        ValueError: windows of another length.
    """
    facts = model.extra
    x = np.atleast_2d(np.asarray(x, np.float64))
    if x.ndim != 2 or x.shape[1] != facts["window"] or not len(x):
        raise ValueError(f"x: expected windows of {facts['window']} values, got shape {x.shape}")
    inputs, origin = scaled(x, facts["mean"], facts["scale"], facts["target"])
    outputs = np.asarray(model.predict(inputs, batch_size=500, verbose=0), np.float64)[:, 0]
    values: Values = origin + facts["scale"] * outputs
    return values


def describe(model: Model, x: Any) -> list[float]:
    """The value after each window, for ``seqcore predict``."""
    return [float(value) for value in forecast(model, x)]


def least_squares(parts: Split) -> Values:
    """Forecasts (N,) of all windows by the line w·x + b that is best on the training part."""
    centered = np.concatenate([parts.x - parts.mean, np.ones((len(parts.y), 1))], axis=1)
    weights = np.linalg.lstsq(centered[parts.train], parts.y[parts.train] - parts.mean, rcond=None)[0]
    line: Values = centered @ weights + parts.mean
    return line


def errors(forecast: Values, true: Values) -> tuple[float, float]:
    """Mean absolute and root-mean-square error."""
    return float(np.abs(forecast - true).mean()), float(np.sqrt(np.square(forecast - true).mean()))


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    series = load_series(arguments, settings.values)
    parts = split(series.values, settings.window)
    run.start(series.description, arguments.cell, series.name if arguments.csv is None else "csv")
    model = build_model(arguments.cell, settings.units, settings.window)
    train, valid = (_examples(parts, part, arguments.target) for part in (parts.train, parts.valid))
    steps = settings.epochs * -(-len(train[0]) // settings.batch_size)
    model.compile(Adam(CosineDecay(settings.learning_rate, steps), global_clipnorm=settings.clip), "mse")
    facts = {"series": series.name, "target": arguments.target, "window": settings.window}
    model.extra = {**facts, "mean": parts.mean, "scale": parts.scale}
    run.log(
        f"model: {CELLS[arguments.cell]} of {settings.units} units over windows of {settings.window} values, "
        f"{model.count_params():,} parameters; {len(train[0]):,} windows to train on"
    )
    run.fit(model, settings, train, valid, "val_loss")
    true, test = parts.y[parts.test], parts.x[parts.test]
    forecasts = {"naive": test[:, -1], "linear": least_squares(parts)[parts.test]}
    forecasts[arguments.cell] = forecast(model, test)
    if series.best is not None:
        forecasts["best possible"] = series.best[settings.window :][parts.test]
    _report(run, arguments.cell, forecasts, true)
    _note_range(run, parts, arguments.target)
    times = np.arange(len(series.values) - len(true), len(series.values))[-_SHOWN:]
    curves: dict[str, Any] = {
        "values": (times, true[-_SHOWN:], "o", "#555555"),
        f"forecast ({arguments.cell.upper()})": (times, forecasts[arguments.cell][-_SHOWN:], "-", "#ee6677"),
    }
    title = f"The last {len(times)} test values, each forecast from those before it"
    run.plot_curves("forecast.png", title, "time step", f"{series.name} (units of the series)", curves)
    run.plot("errors.png", lambda figure: _draw_errors(figure, forecasts, true, arguments.cell), 6, 3.2)
    run.save_model(model, **model.extra)
    return run.finish(cell=arguments.cell, **facts)


def _examples(parts: Split, part: slice, target: str) -> tuple[Floats, Floats]:
    inputs, origin = scaled(parts.x[part], parts.mean, parts.scale, target)
    return inputs, ((parts.y[part] - origin) / parts.scale).astype(np.float32)[:, None]


def _report(run: Run, cell: str, forecasts: dict[str, Values], true: Values) -> None:
    """Print the errors of all forecasts, and what they mean; metrics test_mae, naive_mae, optimal_mae, ..."""
    measured = {name: errors(values, true) for name, values in forecasts.items()}
    run.log(f"{f'{len(true):,} test values':<18}  MAE        RMSE   (in the units of the series)")
    for name, (mae, rmse) in measured.items():
        key = {cell: "test", "best possible": "optimal"}.get(name, name)
        run.metrics |= {f"{key}_mae": mae, f"{key}_rmse": rmse}
        run.log(f"  {name:<16} {mae:10.4g} {rmse:10.4g}")
    naive, linear, network = (measured[name][1] for name in ("naive", "linear", cell))
    least = min(naive, linear)
    # Chance: two standard errors of the difference of the mean squares.
    other = forecasts["naive" if naive <= linear else "linear"]
    gain = np.square(other - true) - np.square(forecasts[cell] - true)
    certain = abs(float(gain.mean())) > 2 * float(gain.std()) / np.sqrt(len(true))
    if not certain:
        verdict = "the network is neither better nor worse than the better baseline, beyond chance"
    elif network < least:
        verdict = f"the network is {1 - network / least:.1%} better than the better baseline"
    else:
        verdict = f"the network is worse than the better baseline, {network / least:.3g} times its error"
    run.log(f"RMSE: {verdict}")
    if naive < 1.02 * min(network, linear):
        run.log("the last value is as good a forecast as any here: the series looks like a random walk")


def _note_range(run: Run, parts: Split, target: str) -> None:
    """Report it where the series has left the range that the network was trained on."""
    low, high = parts.y[parts.train].min(), parts.y[parts.train].max()
    true = parts.y[parts.test]
    outside = float(((true < low) | (true > high)).mean())
    run.metrics["test_outside_training_range"] = outside
    if outside > 0.05 and target == "value":
        run.log(
            f"note: {outside:.0%} of the test values lie outside the range of the training values; a network that says "
            "values cannot follow them, --target change can"
        )


def _draw_errors(figure: Any, forecasts: dict[str, Values], true: Values, cell: str) -> None:
    axes = figure.add_subplot()
    bars = {name.upper() if name == cell else name: errors(values, true)[1] for name, values in forecasts.items()}
    colors = [{cell: "#ee6677", "best possible": "#228833"}.get(name, "#4477aa") for name in forecasts]
    label = "root-mean-square error on the test values (units of the series)"
    limits = 0, max(bars.values()) * 1.15
    drawn = draw_bars(axes, bars, colors, xlim=limits, xlabel=label, title="Errors of the forecasts")
    axes.bar_label(drawn, fmt="%.4g", padding=3)
