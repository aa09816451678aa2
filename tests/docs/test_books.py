"""The page of the books: its counts are those of its rows, each row has a state, its commands can be given."""

import re
import shlex
from collections import Counter
from pathlib import Path

from seqcore import cli

PAGE = (Path(__file__).resolve().parents[2] / "docs/experiments/books.md").read_text(encoding="utf-8")
# The three columns of each row; a row that is a heading has one.
ROWS = [match.groups() for match in re.finditer(r"^\| (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)]
STATES = [state for *_, state in ROWS if state != "state" and not state.startswith("-")]


def test_every_row_has_a_state():
    """Right, or partly or differently with a reason."""
    form = re.compile(r"right|(partly|differs): [\w`].+")
    assert [state for state in STATES if not form.fullmatch(state)] == []
    assert len({row[:1] for row in ROWS}) > 190


def test_counts():
    """The sentence at the beginning counts the rows."""
    counts = Counter(re.match(r"\w+", state)[0] for state in STATES)
    sentence = r"Of (\d+) rows (\d+) are right, (\d+) partly, and (\d+) differ\."
    given = [int(number) for number in re.search(sentence, PAGE).groups()]
    assert given == [len(STATES), counts["right"], counts["partly"], counts["differs"]]


def test_commands():
    """The parser knows them."""
    commands = [shlex.split(words) for words in re.findall(r"`seqcore (run \w[^`]+|data)`", PAGE)]
    assert len(commands) > 10
    for words in commands:
        cli._parser(words).parse_args(words)
