"""The program of the guide and the experiments on two processes."""

import json
import re

import pytest

from tests.helpers.mpi import ROOT, run_mpi


def test_the_program_of_the_guide(tmp_path, monkeypatch):
    page = (ROOT / "docs/guide/distributed.md").read_text(encoding="utf-8")
    program = tmp_path / "train.py"
    program.write_text(re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = run_mpi(2, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"]
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "words, figure, tolerance",
    [
        ("ptb --size test --epochs 1", "test_perplexity", 1e-3),
        ("imdb --epochs 1 --samples 400", "test_loss", 1e-3),
        ("word2vec --epochs 2", "analogy_accuracy", 0.05),
    ],
)
def test_an_experiment_writes_the_figures_of_one_process(words, figure, tolerance, tmp_path):
    figures = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        # Only the first process prints and writes.
        done = run_mpi(processes, "-m", "seqcore", "run", *words.split(), "--distributed", "--out", folder)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("results in") == 1
        figures.append(json.loads((folder / "metrics.json").read_text())["metrics"][figure])
    assert figures[1] == pytest.approx(figures[0], rel=tolerance)


def test_the_books_word2vec_is_refused(tmp_path):
    words = "word2vec --preset book --distributed --out".split()
    done = run_mpi(2, "-m", "seqcore", "run", *words, tmp_path / "out")
    lines = [line for line in done.stderr.splitlines() if "seqcore:" in line]
    assert done.returncode != 0
    assert lines == [
        "seqcore: --distributed: expected --preset quick, whose Word2Vec shares its corpus, got --preset book"
    ]
