"""Runs, records and tables of ``python -m benchmarks.reproduce``."""

import json
import os
import signal
import threading
import time
from string import Formatter

import pytest

from benchmarks import bits, pages, records, reproduce
from benchmarks.jobs import JOBS, Job
from seqcore import cli

TOY = Job("toy-test", "run toy --cell rnn --epochs 2", {"quick": "", "book": "--preset book"}, (1, 2))


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs ``python -m benchmarks.reproduce`` with a single small job, in folders of the test."""
    monkeypatch.setattr(reproduce, "JOBS", (TOY,))
    monkeypatch.setattr(pages, "JOBS", (TOY,))
    (tmp_path / "results").mkdir()
    return lambda *options: reproduce.main(
        ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results"), *options]
    )


def test_runs_become_a_record_and_a_table(call, tmp_path, capsys):
    """A finished run is not run again; the record is complete; the numbers of the table are those of the runs."""
    assert call("--only", "toy-test", "--jobs", "2") == 0
    assert call("--stale") == 0
    first = records.read_records(tmp_path / "results")["toy-test"]
    assert first["complete"] and len(first["rows"]) == 4
    assert {row["command"] for row in first["rows"]} >= {"seqcore run toy --cell rnn --epochs 2 --preset book --seed 2"}
    losses = [
        json.loads((tmp_path / "work" / f"toy-test-book-seed{seed}" / "metrics.json").read_text())["metrics"][
            "rnn_loss"
        ]
        for seed in (1, 2)
    ]
    assert first["summary"]["book"]["rnn_loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert str(tmp_path) not in json.dumps(first)
    capsys.readouterr()
    assert call() == 0 and "seqcore run" not in capsys.readouterr().out
    assert records.read_records(tmp_path / "results")["toy-test"] == first
    (table,) = pages.from_template("toy-test", "{book.rnn_loss:.4f|each}", {"toy-test": first})[:1]
    assert table == ", ".join(f"{loss:.4f}" for loss in losses)


def test_a_run_of_other_bits_or_without_an_end_runs_again(call, tmp_path, monkeypatch, capsys):
    assert call() == 0
    (tmp_path / "work" / "toy-test-quick-seed1" / "metrics.json").unlink()
    capsys.readouterr()
    assert call() == 0 and capsys.readouterr().out.count("seqcore run") == 1
    raised = {family: number + (family == "optimizer") for family, number in bits.numbers().items()}
    monkeypatch.setattr(bits, "numbers", lambda: raised)
    assert call("--stale") == 1 and "toy-test: older than the bits of optimizer" in capsys.readouterr().out
    assert call() == 0 and capsys.readouterr().out.count("seqcore run") == 4
    assert call("--stale") == 0


def test_a_record_of_a_commit_that_is_not_in_the_history_is_stale(call, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "commit", lambda: "0123456789+")
    assert call() == 0
    assert call("--stale") == 1
    assert "toy-test: of commit 0123456789+, which did not lead to this checkout" in capsys.readouterr().out


def test_a_run_that_another_process_works_on_is_left(call, tmp_path, capsys):
    folder = tmp_path / "work" / "toy-test-quick-seed1"
    folder.mkdir(parents=True)
    run = reproduce.Run(TOY, "quick", 1, folder)
    (folder / "run.json").write_text(json.dumps({**run.identity(), "pid": os.getpid()}))
    assert call() == 0 and "another process works on it" in capsys.readouterr().out
    assert not records.read_records(tmp_path / "results")["toy-test"]["complete"]
    assert call("--stale") == 1 and "1 of 4 runs are missing" in capsys.readouterr().out


def test_a_signal_stops_the_runs_and_the_same_command_goes_on(call, tmp_path, monkeypatch, capsys):
    """The language model saves its place, since the signal reaches it, and goes on from there."""
    job = Job("ptb-test", "run ptb --size test --epochs 40", {"quick": ""}, (1,), history=True)
    monkeypatch.setattr(reproduce, "JOBS", (job,))
    output = tmp_path / "work" / "ptb-test-quick-seed1" / "output.txt"
    stop = threading.Thread(target=stop_after_two_epochs, args=(output,))
    stop.start()
    assert call() == 130
    stop.join()
    assert "stopped" in capsys.readouterr().err and "the same command goes on" in output.read_text()
    assert call() == 0 and "resumed " in output.read_text()
    (row,) = records.read_records(tmp_path / "results")["ptb-test"]["rows"]
    assert [of_epoch["epoch"] for of_epoch in row["history"]] == list(range(1, 41))
    assert row["beside"] is None and "words_per_second" not in row["metrics"]


def stop_after_two_epochs(output):
    while not output.exists() or "epoch 2/" not in output.read_text():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_failed_run_is_told(call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "JOBS", (TOY._replace(command="run toy --epochs 0"),))
    assert call() == 1 and "failed, see" in capsys.readouterr().out
    assert not list((tmp_path / "results").iterdir())


def test_wrong_arguments(call, capsys):
    for options, error in (
        (["--only", "nothing"], "--only: expected toy-test, got 'nothing'"),
        (["--jobs", "0"], "--jobs: expected an integer >= 1, got 0"),
        (["--data", "/no/folder"], "--data: expected a folder, got '/no/folder'"),
    ):
        assert call(*options) == 2
        assert error in capsys.readouterr().err


def test_each_job_is_shown_and_each_template_is_of_a_job():
    """No job without a table, no number of a job that is not there, no template that no page has."""
    templates, text = pages.read_templates(), "".join((pages.ROOT / page).read_text() for page in pages.PAGES)
    used = set()
    for name, template in templates.items():
        assert f"<!-- record: {name} -->" in text, name
        numbers = pages.Numbers(name, {})
        for _, field, _, _ in Formatter().parse(template):
            if field is not None:
                numbers[field.partition(".")[0].partition("[")[0]]
        used |= set(numbers.used)
    assert used == {job.name for job in JOBS}


def test_the_command_of_each_job_is_understood(capsys):
    """Each command line fails for the last option alone, which is out of range."""
    for job in JOBS:
        for run in job.runs:
            assert cli.main([*job.line(run, 1).split()[1:], "--epochs", "0"]) == 2
            assert "--epochs: expected" in capsys.readouterr().err, job.line(run, 1)


def test_bits_move_only_with_their_number(monkeypatch):
    """Three training steps give the weights that benchmarks/bits.json has, whichever kernels NumPy would choose."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    on_file = bits.read()
    if on_file["place"] != bits.place():
        pytest.skip(f"the hashes are of {on_file['place']}; another compiler may round differently")
    now = bits.hashes()
    moved = {family: now[family] for family in bits.moved(on_file, now)}
    assert not moved, f"these bits have moved, {moved}: python -m benchmarks.bits --write raises their numbers"
