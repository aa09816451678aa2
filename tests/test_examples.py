"""The programs in examples/ run from beginning to end and show what they promise, with settings that take seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = {
    "character_model": ["--epochs", "25", "--units", "48"],
    "cells_in_a_loop": ["--units", "8", "--steps", "6", "--batches", "120"],
    "language_model": ["--words", "30000", "--units", "32", "--epochs", "2"],
    "ragged_batches": ["--sequences", "600", "--longest", "12", "--epochs", "4"],
}


def run(name, *arguments):
    """What an example prints."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def numbers(pattern, text):
    return [float(value) for value in re.findall(pattern, text)]


def test_every_example_is_tried():
    """Each file has a test here."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SMALL, "streaming"}


def test_cells_in_a_loop():
    """The error falls below that of guessing."""
    errors = numbers(r"error ([\d.]+) ", run("cells_in_a_loop", *SMALL["cells_in_a_loop"]))
    assert len(errors) == 6 and errors[-1] < 0.5 * errors[0] and errors[-1] < 0.2


def test_character_model():
    """The short text is learnt nearly by heart, and what is generated has mostly its words."""
    text = run("character_model", *SMALL["character_model"])
    perplexities = numbers(r"perplexity ([\d.]+)", text)
    assert perplexities[0] > 10 and min(perplexities) < 2
    told = [part.split("\n", 1)[1] for part in text.split("--- seed ")[1:]]
    assert len(told) == 2 and told[0] != told[1] and all(one.startswith("the cat") for one in told)
    source = (EXAMPLES / "character_model.py").read_text()
    known = set(source.split('TEXT = """')[1].split('"""')[0].replace(".", " ").replace(",", " ").split())
    words = " ".join(told).replace(".", " ").replace(",", " ").split()
    assert sum(word in known for word in words) > 0.6 * len(words)


def test_language_model():
    """Perplexity falls, and stays above the grammar's own."""
    text = run("language_model", *SMALL["language_model"])
    epochs, test = numbers(r"valid perplexity ([\d.]+)", text), numbers(r"test perplexity ([\d.]+)", text)
    own = numbers(r"on this text ([\d.]+)", text)
    assert len(epochs) == 2 and epochs[1] < epochs[0] < 200 and test[0] > own[0]
    assert re.search(r"^generated: the \w+", text, re.MULTILINE)


def test_ragged_batches():
    """The model learns, and padding does not matter."""
    text = run("ragged_batches", *SMALL["ragged_batches"])
    assert numbers(r"held back: .* accuracy ([\d.]+)", text)[0] > 0.6
    assert "same predictions: True" in text


@pytest.mark.parametrize("units", ["1", "17", "64"])
def test_streaming(units):
    """Steps equal the whole sequence, and a saved state leads back."""
    text = run("streaming", "--units", units, "--steps", "50")
    assert numbers(r"whole sequence: (\S+)", text)[0] <= 1e-6 and "is equal: True" in text
