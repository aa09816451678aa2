"""Dates written in English in many ways, and as ISO 8601 dates: pairs for models from sequence to sequence."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._validation import choice

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
DIRECTIONS = ("to-iso", "to-words")

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
             "twelve": "twelfth"}  # fmt: skip


def number_in_words(number: int) -> str:
    """0 ... 99 in words.

    >>> number_in_words(7), number_in_words(40), number_in_words(97)
    ('seven', 'forty', 'ninety-seven')
    """
    if number < 20:
        return _SMALL[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_SMALL[ones]}" if ones else _TENS[tens]


def ordinal_in_words(number: int) -> str:
    """1 ... 99 as an ordinal in words.

    >>> ordinal_in_words(3), ordinal_in_words(20), ordinal_in_words(22)
    ('third', 'twentieth', 'twenty-second')
    """
    front, dash, last = number_in_words(number).rpartition("-")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{front}{dash}{last}"


def ordinal(number: int) -> str:
    """A day as figures with its ending.

    >>> [ordinal(day) for day in (1, 2, 3, 11, 12, 22, 30)]
    ['1st', '2nd', '3rd', '11th', '12th', '22nd', '30th']
    """
    ending = "th" if number // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def year_in_words(year: int, long: bool = False) -> str:
    """A year from 1900 to 2099 as it is said: by hundreds, or ``long``.

    >>> [year_in_words(year) for year in (1900, 1905, 1997, 2000, 2005, 2015)]
    ['nineteen hundred', 'nineteen oh five', 'nineteen ninety-seven', 'two thousand', 'two thousand and five', \
'twenty fifteen']
    >>> year_in_words(1997, long=True), year_in_words(2015, long=True)
    ('nineteen hundred and ninety-seven', 'two thousand and fifteen')
    """
    hundreds, rest = divmod(year, 100)
    if hundreds == 20 and (long or rest < 10):
        return f"two thousand and {number_in_words(rest)}" if rest else "two thousand"
    if rest == 0 or long:
        return f"{number_in_words(hundreds)} hundred" + (f" and {number_in_words(rest)}" if rest else "")
    return f"{number_in_words(hundreds)} {'oh ' if rest < 10 else ''}{number_in_words(rest)}"


def _month(date: datetime.date) -> str:
    return MONTHS[date.month - 1]


def _weekday(date: datetime.date) -> str:
    return WEEKDAYS[date.weekday()]


# The ways of writing, each with the date that all of them mean below: Saturday, 1997-05-03.
FORMS: dict[str, Callable[[datetime.date], str]] = {
    "3 May 1997": lambda d: f"{d.day} {_month(d)} {d.year}",
    "3rd May 1997": lambda d: f"{ordinal(d.day)} {_month(d)} {d.year}",
    "3-May-1997": lambda d: f"{d.day}-{_month(d)[:3]}-{d.year}",
    "the 3rd of May 1997": lambda d: f"the {ordinal(d.day)} of {_month(d)} {d.year}",
    "May 3, 1997": lambda d: f"{_month(d)} {d.day}, {d.year}",
    "May 3rd, 1997": lambda d: f"{_month(d)} {ordinal(d.day)}, {d.year}",
    "Sat 3 May 1997": lambda d: f"{_weekday(d)[:3]} {d.day} {_month(d)[:3]} {d.year}",
    "Saturday, May 3, 1997": lambda d: f"{_weekday(d)}, {_month(d)} {d.day}, {d.year}",
    "Saturday the 3rd of May 1997": lambda d: f"{_weekday(d)} the {ordinal(d.day)} of {_month(d)} {d.year}",
    "the third of May, nineteen ninety-seven": lambda d: (
        f"the {ordinal_in_words(d.day)} of {_month(d)}, {year_in_words(d.year)}"
    ),
    "May the third, nineteen ninety-seven": lambda d: (
        f"{_month(d)} the {ordinal_in_words(d.day)}, {year_in_words(d.year)}"
    ),
    "Saturday, the third of May nineteen hundred and ninety-seven": lambda d: (
        f"{_weekday(d)}, the {ordinal_in_words(d.day)} of {_month(d)} {year_in_words(d.year, long=True)}"
    ),
}
# The form in which dates are to be said.
SPOKEN = "the third of May, nineteen ninety-seven"


@dataclass(frozen=True)
class DatePairs:
    """Pairs of texts: ``source[i]`` is to become ``target[i]``; ``forms[i]`` names the English way of writing."""

    source: list[str]
    target: list[str]
    forms: list[str]

    def __len__(self) -> int:
        return len(self.source)


def date_pairs(
    direction: str = "to-iso", sizes: tuple[int, int, int] = (20_000, 1_000, 2_000), seed: int = 0
) -> tuple[DatePairs, DatePairs, DatePairs]:
    """Pairs to train on, to validate and to test with; no date is in two of them.

    Args:
        direction: "to-iso": from one of :data:`FORMS`, drawn for each date, to 1997-05-03; "to-words": from 1997-05-03
            to "the third of May, nineteen ninety-seven".
        sizes: number of pairs of each part, each of another date from 1900 to 2099; 73,049 dates in all.
        seed: same seed, same pairs.

    Raises:
        ValueError: another direction, a size below 1, more pairs than dates.

    >>> train, valid, test = date_pairs("to-words", (2, 1, 1))
    >>> train.source[0], train.target[0]
    ('1914-01-11', 'the eleventh of January, nineteen fourteen')
    """
    choice("direction", direction, DIRECTIONS)
    count = (LAST - FIRST).days + 1
    if min(sizes) < 1 or sum(sizes) > count:
        raise ValueError(f"sizes: expected three integers >= 1 that sum to at most {count}, got {sizes}")
    generator = np.random.Generator(np.random.Philox(seed))
    days = generator.permutation(count)[: sum(sizes)].tolist()
    names = list(FORMS)
    chosen = [SPOKEN] * len(days)
    if direction == "to-iso":
        chosen = [names[i] for i in generator.integers(0, len(names), len(days)).tolist()]
    dates = [FIRST + datetime.timedelta(day) for day in days]
    english = [FORMS[form](date) for form, date in zip(chosen, dates, strict=True)]
    iso = [date.isoformat() for date in dates]
    source, target = (english, iso) if direction == "to-iso" else (iso, english)
    cuts = np.cumsum([0, *sizes]).tolist()
    ranges = [slice(start, stop) for start, stop in zip(cuts, cuts[1:])]
    first, second, third = (DatePairs(source[rows], target[rows], chosen[rows]) for rows in ranges)
    return first, second, third
