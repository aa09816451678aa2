"""Numbers of several runs in a table: mean and spread, written by the format of a template."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
# Measures of time, which hold for a run that had the machine to itself.
SPEEDS = ("seconds", "seconds_per_epoch", "words_per_second", "steps_per_second", "training_seconds")
NOTHING = "–"


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean, sample standard deviation (from two values on), least and largest value.

    >>> summary([1.0, 3.0])
    {'mean': 2.0, 'stddev': 1.4142135623730951, 'min': 1.0, 'max': 3.0}
    """
    spread = {"stddev": statistics.stdev(values)} if len(values) > 1 else {}
    return {"mean": statistics.fmean(values), **spread, "min": min(values), "max": max(values)}


class Values:
    """One number of several runs, or a list or dict of numbers, whose items are taken as ``{run.metric[item]}``.

    As a format, ``SPEC`` gives mean and standard deviation (of one run the value), ``SPEC|mean`` the mean alone,
    ``SPEC|largest`` the largest value, ``SPEC|range`` the mean with the least and the largest value, ``SPEC|each`` all
    values, ``|count`` their number, ``|ones`` the number of those that are 1.
    SPEC is that of a float; with ``%`` the numbers are percent, with ``p`` percent without the sign.

    >>> accuracy = Values([0.5, 0.75])
    >>> f"{accuracy:.1%}, {accuracy:.1%|mean}, {accuracy:.0p|range}, {accuracy:.2f|each}, {accuracy:|count}"
    '62.5 ± 17.7 %, 62.5 %, 62 (50 to 75), 0.50, 0.75, 2'
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = list(values)

    def __getitem__(self, item: Any) -> Values:
        return Values(value[item] for value in self.values)

    def __format__(self, spec: str) -> str:
        spec, _, view = spec.partition("|")
        numbers = [float(value) for value in self.values if value is not None]
        if view in ("count", "ones"):
            return str(len(numbers) if view == "count" else numbers.count(1))
        if not numbers:
            return NOTHING
        unit = " %" if spec.endswith("%") else ""
        if spec.endswith(("%", "p")):
            spec, numbers = f"{spec[:-1]}f", [100 * number for number in numbers]

        def text(number: float) -> str:
            # 1e-05 is 1e-5; a zero has no sign.
            short = re.sub(
                r"e([+-])0*(\d)", lambda match: f"e{match[1].replace('+', '')}{match[2]}", f"{number:{spec}}"
            )
            return short if short.strip("-0.") else short.lstrip("-")

        of_all = summary(numbers)
        if view == "each":
            return ", ".join(map(text, numbers)) + unit
        if view == "mean" or len(numbers) == 1:
            return text(of_all["mean"]) + unit
        if view == "largest":
            return text(of_all["max"]) + unit
        if view == "range":
            return f"{text(of_all['mean'])} ({text(of_all['min'])} to {text(of_all['max'])}){unit}"
        if view:
            raise ValueError(
                f"a number in a template: expected |mean, |largest, |range, |each, |count or |ones, got |{view}"
            )
        return f"{text(of_all['mean'])} ± {text(of_all['stddev'])}{unit}"


class Runs:
    """The runs of a record, or rows of their histories: ``{run.metric}``, ``{run[SEED].metric}``,
    ``{run[epoch=3].valid_loss}``.

    >>> history = [{"epoch": 1, "rate": 7}]
    >>> rows = [{"seed": seed, "metrics": {"loss": seed}, "history": history} for seed in (1, 2)]
    >>> "{0.loss:.1f} {0[2].loss:.1f} {0[epoch=1].rate:.0f|each}".format(Runs(rows))
    '1.5 ± 0.7 2.0 7, 7'
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def __getitem__(self, key: int | str) -> Runs:
        if isinstance(key, int):
            return Runs(row for row in self._rows if row["seed"] == key)
        # A comma before a space is part of a value.
        wanted = dict(pair.split("=", 1) for pair in re.split(r",(?! )", key))
        return Runs(
            {"metrics": row, "beside": of_run.get("beside")}
            for of_run in self._rows
            for row in of_run["history"]
            if all(str(row.get(name)) == value for name, value in wanted.items())
        )

    def __getattr__(self, metric: str) -> Values:
        rows = [row for row in self._rows if metric not in SPEEDS or row.get("beside") == 0]
        return Values((row if metric in row else row["metrics"])[metric] for row in rows)
