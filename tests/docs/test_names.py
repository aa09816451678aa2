"""Names in backticks on the pages about the internals exist in the sources."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs/internals").glob("*.md"), ROOT / "src/cpp/kernels/README.md"])
# A record of earlier runs and commands.
PAGES.remove(ROOT / "docs/internals/measurements.md")
SOURCES = (".py", ".pyi", ".h", ".cpp", ".cmake", ".txt", ".toml", ".in")
SUFFIXES = (*SOURCES, ".md")
pytestmark = pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a checkout")


@cache
def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@cache
def words() -> set[str]:
    """The words of all sources; not of this folder, which may name what does not exist."""
    files = [name for name in tracked() if name.endswith(SOURCES) and not name.startswith("tests/docs/")]
    return {word for name in files for word in re.findall(r"\w+", (ROOT / name).read_text("utf8"))}


def unknown(span: str) -> list[str]:
    """The files and words of a code span that are nowhere in the repository; flags of the compiler are none."""
    if span.startswith("-"):
        return []
    if "/" in span or span.endswith(SUFFIXES):
        missing = [
            path
            for path in re.findall(r"[\w*./]+", span)
            if not any(
                fnmatch(f"/{name}", f"*/{path.rstrip('/')}") or f"/{path.rstrip('/')}/" in f"/{name}"
                for name in tracked()
            )
        ]
    else:
        # Shorter ones are letters of a formula; `saved_` is the beginning of names.
        missing = [
            word
            for word in re.findall(r"[A-Za-z_]\w{2,}", span)
            if word not in words() and not (word[-1] == "_" and any(map(re.compile(word).match, words())))
        ]
    # The cell that a page adds as its example.
    return [name for name in missing if "cifg" not in name.lower()]


def test_unknown_names_are_noticed():
    absent = "kNo" + "SuchConstant"
    assert unknown(absent) == [absent] and unknown(f"`{absent}(x)`") == [absent]
    assert unknown("kernels/no_such_file.h") and unknown("no_such_file.h")
    assert not unknown("kernels/tile.h") and not unknown("kernels/recurrent_*.h") and not unknown("GradientTape")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_on_internals_pages_exist(page):
    prose = re.sub(r"```.*?```", "", page.read_text("utf8"), flags=re.DOTALL)
    spans = re.findall(r"`([^`]+)`", prose)
    assert spans or page.name == "glossary.md"
    assert [name for span in spans for name in unknown(span)] == []
