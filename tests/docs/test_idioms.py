"""Idioms that earlier versions used for the terms of the field stay out of sources and pages."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# From parts, so that this file has none of them; after each the standard term.
IDIOMS = [
    r"\b" + r"\s+(?:(?://|#|\*)\s*)?".join(words) + r"\b"
    for words in (
        ("way", "back"),  # backward pass
        ("one's", "own"),  # custom
        ("by", "heart"),  # memorize, overfit
        ("held", "against"),  # checked against
        ("turned", "round"),  # flipped, reversed
        ("whole or", "not at all"),  # atomic
        ("for", "ever"),  # without end
        ("taken", "off"),  # subtracted
        ("numbers of", "a vector"),  # dimensions
        ("ma" + "ths",),  # math
    )
]
PATTERNS = ["*.py", "*.md", "*.h", "*.cpp", "*.pyi", "*.toml"]
# Files of version 0.1, and a record of earlier measurements.
LEFT_OUT = ("tests/files_0.1/", "docs/internals/measurements.md")


def idioms_in(text: str) -> list[str]:
    return [match[0] for idiom in IDIOMS for match in re.finditer(idiom, text, re.IGNORECASE)]


def test_idioms_are_noticed():
    assert idioms_in("the way " + "back") and idioms_in("# on the way\n# " + "back") and idioms_in("Ma" + "ths:")
    assert not idioms_in("way backward, whenever, math, for every")


def test_no_idiom_is_left():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "--", *PATTERNS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = {name: (ROOT / name).read_text("utf8") for name in listed if not name.startswith(LEFT_OUT)}
    assert {name: idioms for name, text in texts.items() if (idioms := idioms_in(text))} == {}
