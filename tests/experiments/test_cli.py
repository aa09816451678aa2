"""The command line: every command, the PTB experiment from end to end, exact resume after a kill, one-line errors."""

import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import seqcore
from seqcore import _core, cli, saving
from seqcore.callbacks.progress_bar import ProgressLine
from seqcore.experiments import EXPERIMENTS, ptb
from seqcore.layers import Dense, Input
from seqcore.models import Sequential, load_model
from seqcore.training.stop_signals import StopSignals

PNG = b"\x89PNG\r\n\x1a\n"


def run(*words):
    return cli.main([str(word) for word in words])


def run_test_size(folder, *words):
    return run("run", "ptb", "--size", "test", "--out", folder, *words)


@pytest.fixture(scope="module", autouse=True)
def _no_settings_of_the_user():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SEQCORE_DATA", "SEQCORE_CACHE", "SEQCORE_SOURCES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of the test size."""
    folder = tmp_path_factory.mktemp("runs") / "ptb"
    assert run_test_size(folder, "--json", folder.parent / "figures.json") == 0
    return folder


def figures(folder):
    """What must not differ between equal runs."""
    results = json.loads((folder / "metrics.json").read_text())
    metrics = {key: value for key, value in results["metrics"].items() if key != "words_per_second"}
    drop = {"words_per_second", "seconds"}
    return metrics, [{key: value for key, value in row.items() if key not in drop} for row in results["history"]]


def error_line(capsys, *words):
    """The one line on standard error of a command that must fail with 2."""
    capsys.readouterr()
    assert run(*words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("seqcore")
    return lines[0]


# ---------------------------------------------------------------- small commands


def test_list_and_info(capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(EXPERIMENTS) and all(line.endswith("]") for line in lines)
    assert run("info") == 0
    text = capsys.readouterr().out
    assert _core.system.info()["isa"] in text and seqcore.__version__ in text
    assert run("info", "--json") == 0
    assert json.loads(capsys.readouterr().out)["isa"] == _core.system.info()["isa"]


def test_help_needs_no_command(capsys):
    assert run() == 0
    assert run("--help") == 0
    assert run("run", "ptb", "--help") == 0
    assert "--size" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "nothing"),
        (["run"], "NAME"),
        (["run", "nothing"], "nothing"),
        (["run", "ptb", "--size", "huge"], "--size"),
        (["run", "ptb", "--loss", "hinge"], "--loss"),
        (["run", "ptb", "--num-sampled", "5"], "--num-sampled: expected with --loss nce"),
        (["run", "ptb", "--loss", "nce", "--num-sampled", "0"], "--num-sampled: expected 1"),
        (["run", "ptb", "--loss", "sampled", "--num-sampled", "999999"], "--num-sampled: expected 1"),
        (["run", "ptb", "--epochs", "x"], "--epochs"),
        (["run", "ptb", "--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["run", "ptb", "--seed", "-1"], "--seed: expected an integer >= 0, got -1"),
        (["run", "ptb", "--threads", "0"], "--threads: expected an integer >= 1, got 0"),
        (["run", "ptb", "--json", "no/such/folder/file"], "--json: expected a file in an existing folder"),
        (["run", "ptb", "--data", "no/such/folder"], "--data: expected builtin, download or a folder"),
        (["generate"], "MODEL"),
        (["generate", "no-such-file"], "no-such-file"),
        (["predict", "no-such-file"], "expected one of TEXT or --text, --file and --input, got 0"),
        (["data", "nothing"], "got 'nothing'"),
    ],
)
def test_errors_are_one_line(capsys, words, expected):
    assert expected in error_line(capsys, *words)


SOURCE = {"file": "a.txt", "url": "https://127.0.0.1:9/a", "sha256": "0" * 64}


def test_data_lists(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SEQCORE_CACHE", str(tmp_path))
    assert run("data") == 0
    out = capsys.readouterr().out
    assert "grammar" in out and "missing ptb.train.txt, ptb.valid.txt, ptb.test.txt" in out
    (tmp_path / "ptb").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "ptb" / f"ptb.{split}.txt").write_text("a b\n")
    assert run("data") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ptb "))
    assert line.endswith("there")
    (tmp_path / "sources.json").write_text(json.dumps({"x" * 40: [SOURCE]}))
    assert run("data", "--sources", str(tmp_path / "sources.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and all(re.match(r"\S+ +(built in: |/)", line) for line in lines)


def test_sources_that_lead_out(capsys, tmp_path):
    """Files and data sets whose names are paths are refused before anything is made."""
    for table in ({"x": [SOURCE | {"file": "../../a"}]}, {"x": [SOURCE | {"file": "/tmp/a"}]}, {"../x": [SOURCE]}):
        (tmp_path / "sources.json").write_text(json.dumps(table))
        words = "data", next(iter(table)), "--dir", str(tmp_path / "cache"), "--sources", str(tmp_path / "sources.json")
        assert "expected a name without folders, got" in error_line(capsys, *words)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("words", [[], ["--quick", "x"]])
def test_bench_says_where_it_went(capsys, words):
    assert "python -m benchmarks" in error_line(capsys, "bench", *words)


# ---------------------------------------------------------------- the experiment


def test_a_run_leaves_what_it_should(finished):
    results = json.loads((finished / "metrics.json").read_text())
    assert results == json.loads((finished.parent / "figures.json").read_text())
    assert set(results) >= {"experiment", "preset", "data", "seed", "threads", "isa", "metrics", "history", "seconds"}
    assert (results["experiment"], results["preset"], results["data"], results["seed"]) == (
        "ptb",
        "quick",
        "builtin",
        0,
    )
    metrics = results["metrics"]
    assert metrics["bound_perplexity"] == pytest.approx(12.766, abs=1e-3)
    assert metrics["bound_perplexity"] < metrics["test_perplexity"] < 372
    assert metrics["words_per_second"] > 0
    assert [row["epoch"] for row in results["history"]] == [1]
    assert (finished / "perplexity.png").read_bytes()[:8] == PNG
    assert "greedy:" in (finished / "samples.txt").read_text()
    files = "best.safetensors last.safetensors checkpoint.safetensors metrics.json samples.txt perplexity.png"
    assert sorted(path.name for path in finished.iterdir()) == sorted(files.split())


def test_what_a_run_prints(capsys, tmp_path):
    assert run_test_size(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data: built-in sentences")
    assert sum("words/s" in line and "learning rate 1" in line for line in lines) == 10
    assert any(line.startswith("epoch 1/1  train perplexity") and "bound 12.766" in line for line in lines)
    assert any(line.startswith("test perplexity") for line in lines)
    assert not any("\r" in line for line in lines)


def test_same_seed_same_figures_on_any_number_of_threads(finished, tmp_path):
    assert run_test_size(tmp_path / "a", "--threads", 1) == 0
    assert run_test_size(tmp_path / "b", "--threads", 2) == 0
    assert run_test_size(tmp_path / "c", "--seed", 1) == 0
    assert figures(tmp_path / "a") == figures(tmp_path / "b") == figures(finished) != figures(tmp_path / "c")


def test_the_treebank_layout(tmp_path, capsys):
    data = tmp_path / "data" / "ptb"
    data.mkdir(parents=True)
    for split, lines in (("train", 60), ("valid", 30), ("test", 10)):
        (data / f"ptb.{split}.txt").write_text(" the cat sat on the <unk> \n" * lines)
    assert run_test_size(tmp_path / "out", "--data", data.parent) == 0
    out = capsys.readouterr().out
    assert "data: Penn Treebank text" in out and "--prompt 'the cat sat'" in out
    # Sentences of known words, one per line.
    assert "<unk>" not in (tmp_path / "out" / "samples.txt").read_text()
    assert run("generate", tmp_path / "out", "--prompt", "the cat sat", "--length", 200, "--seed", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and lines[0].startswith("the cat sat") and all(lines)
    assert {word for line in lines for word in line.split(" ")} == {"the", "cat", "sat", "on"}
    metrics, _ = figures(tmp_path / "out")
    assert "bound_perplexity" not in metrics
    assert "missing ptb.train.txt" in error_line(capsys, "run", "ptb", "--data", tmp_path / "out")
    (data / "ptb.valid.txt").write_text(" the cat \n")
    assert "ids: expected at least 60 words" in error_line(capsys, "run", "ptb", "--size", "test", "--data", data)


def test_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = error_line(capsys, "run", "ptb", "--size", "test", "--out", tmp_path / "file" / "out")
    assert "--out: cannot write in" in line


def test_downloaded_data(tmp_path, monkeypatch, capsys):
    """Files that are in the cache with the right sums are taken without a network."""
    pytest.importorskip("pooch")
    (tmp_path / "ptb").mkdir()
    table = []
    for split in ("train", "valid", "test"):
        content = b" the cat sat \n" * 60
        (tmp_path / "ptb" / f"ptb.{split}.txt").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        table.append({"file": f"ptb.{split}.txt", "url": "http://127.0.0.1:9/", "sha256": sha256})
    (tmp_path / "sources.json").write_text(json.dumps({"ptb": table}))
    monkeypatch.setenv("SEQCORE_CACHE", str(tmp_path))
    monkeypatch.setenv("SEQCORE_SOURCES", str(tmp_path / "sources.json"))
    monkeypatch.setenv("SEQCORE_DATA", "download")
    assert run_test_size(tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["data"] == "download"
    (tmp_path / "ptb" / "ptb.test.txt").unlink()
    words = ("run", "ptb", "--size", "test", "--out", tmp_path / "out")
    assert "ptb.test.txt: cannot download from http://127.0.0.1:9/" in error_line(capsys, *words)


def start(folder, *words, **options):
    command = [sys.executable, "-m", "seqcore", "run", "ptb", "--size", "test", "--out", str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_full_disk(tmp_path):
    """A limit on the size of files stands for a full disk: one line, and no half-written file."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = start(tmp_path / "out", preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1 and "cannot save" in err
    assert list((tmp_path / "out").iterdir()) == []


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def test_killed_runs_resume_to_the_last_digit(tmp_path):
    """SIGKILL at two arbitrary moments, then the same command: the same figures as without."""
    options = ("--epochs", "3", "--checkpoint-minutes", "0.00001")
    assert run_test_size(tmp_path / "whole", "--epochs", 3) == 0
    folder = tmp_path / "killed"
    for delay in (0.1, 0.3):
        process = start(folder, *options)
        wait_for(folder / "checkpoint.safetensors", process)
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(folder, *options)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "resumed" in out
    assert figures(folder) == figures(tmp_path / "whole")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_a_checkpoint(tmp_path, number, status):
    assert run_test_size(tmp_path / "whole", "--epochs", 2) == 0
    folder = tmp_path / "stopped"
    process = start(folder, "--epochs", "2", "--checkpoint-minutes", "0.00001")
    wait_for(folder / "checkpoint.safetensors", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "the same command goes on from there" in out and "Traceback" not in err
    assert not (folder / "metrics.json").exists()
    assert run_test_size(folder, "--epochs", 2) == 0
    assert figures(folder) == figures(tmp_path / "whole")


def test_more_epochs_go_on_from_a_finished_run(tmp_path, capsys):
    assert run_test_size(tmp_path / "whole", "--epochs", 2) == 0
    assert run_test_size(tmp_path / "parts") == 0
    assert run_test_size(tmp_path / "parts", "--epochs", 2, "--resume") == 0
    assert "resumed after epoch 1" in capsys.readouterr().out
    assert figures(tmp_path / "whole") == figures(tmp_path / "parts")
    assert run_test_size(tmp_path / "parts", "--epochs", 2) == 0
    assert "resumed" not in capsys.readouterr().out
    assert figures(tmp_path / "whole") == figures(tmp_path / "parts")


def test_checkpoints_of_other_settings_are_refused(tmp_path, capsys):
    assert run_test_size(tmp_path / "out") == 0
    (tmp_path / "out" / "metrics.json").unlink()
    words = ("run", "ptb", "--size", "test", "--out", tmp_path / "out", "--seed", "5")
    assert "holds a checkpoint of other settings" in error_line(capsys, *words)
    assert run(*words, "--no-resume") == 0
    path = tmp_path / "out" / "checkpoint.safetensors"
    tensors, texts = saving.read_tensors(path)
    position = json.loads(texts["position"])
    fit = position["fit"]
    for changed in ({}, {"fit": 3}, {"fit": {}}, {"fit": {**fit, "epoch": -1}}, {"fit": {**fit, "batch": 0.5}}):
        changed["run"] = position["run"]
        saving.write_tensors(path, tensors, {**texts, "position": json.dumps(changed)})
        assert "holds no position of a run" in error_line(capsys, *words, "--resume")
    for changed in ({**fit, "metrics": []}, {**fit, "callbacks": [["Report", {}]]}, {**fit, "data": 3}):
        position["fit"] = changed
        saving.write_tensors(path, tensors, {**texts, "position": json.dumps(position)})
        assert "expected a backup of a fit like this one" in error_line(capsys, *words, "--resume")
    saving.write_tensors(path, tensors, {**texts, "position": json.dumps({"run": position["run"], "trainer": {}})})
    assert "is of seqcore 0.1" in error_line(capsys, *words, "--resume")
    path.write_bytes(b"x" * 100)
    assert "checkpoint.safetensors" in error_line(capsys, *words, "--resume")


def test_settings_of_the_book():
    book = {
        size: (s.units, s.layers, s.steps, s.keep_prob, s.init_scale, s.clip, s.hold, s.epochs, s.decay)
        for size, s in ptb.BOOK.items()
    }
    assert book == {
        "test": (2, 1, 2, 1.0, 0.1, 1.0, 1, 1, 0.5),
        "small": (200, 2, 20, 1.0, 0.1, 5.0, 4, 13, 0.5),
        "medium": (650, 2, 35, 0.5, 0.05, 5.0, 6, 39, 0.8),
        "large": (1500, 2, 35, 0.35, 0.04, 10.0, 14, 55, 1 / 1.15),
    }
    assert all(s.batch_size == 20 and s.learning_rate == 1.0 for s in ptb.BOOK.values())
    assert ptb.settings_of("small", "book", builtin=True) == ptb.BOOK["small"]


def test_learning_rate_of_the_language_model(tmp_path, capsys):
    """The option replaces the preset's rate, from which the decay starts."""
    assert run_test_size(tmp_path, "--learning-rate", 0.25, "--epochs", 2) == 0
    rates = [row["learning_rate"] for row in json.loads((tmp_path / "metrics.json").read_text())["history"]]
    assert rates == [0.25, 0.125]
    words = ("run", "ptb", "--size", "test", "--out", tmp_path / "other", "--learning-rate", "-1")
    assert "learning_rate: expected" in error_line(capsys, *words)


# ---------------------------------------------------------------- models on the command line


@pytest.mark.parametrize(
    "words",
    [["--greedy"], ["--beam", "3"], ["--seed", "1"], ["--temperature", "0.5", "--top-k", "5", "--top-p", "0.9"]],
)
def test_generate(finished, capsys, words):
    assert run("generate", finished, "--prompt", "the sailor", "--length", "12", *words) == 0
    out = capsys.readouterr().out
    assert out.startswith("the sailor ") and "<eos>" not in out
    assert run("generate", finished / "best.safetensors", "--length", "3", *words) == 0


def test_generate_is_seeded(finished, capsys):
    texts = []
    for seed in (1, 1, 2):
        assert run("generate", finished, "--seed", seed) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--prompt", "zebra"], "prompt: expected words of the model's vocabulary, got 'zebra'"),
        (["--greedy", "--beam", "2"], "--beam"),
        (["--greedy", "--temperature", "2"], "temperature: expected none for method 'greedy'"),
        (["--temperature", "0"], "temperature: expected a positive number"),
        (["--top-k", "0"], "top_k: expected"),
        (["--top-p", "2"], "top_p: expected"),
        (["--beam", "0"], "beam_width: expected"),
        (["--length", "-1"], "length: expected"),
    ],
)
def test_bad_generation(finished, capsys, words, expected):
    assert expected in error_line(capsys, "generate", finished, *words)


def test_predict_text(finished, capsys, tmp_path):
    assert run("predict", finished, "the boat sinks", "--top", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("perplexity ") and lines[0].endswith("over 3 words") and len(lines) == 4
    (tmp_path / "text.txt").write_text("the boat sinks\nthis sailor swims\n")
    assert run("predict", finished, "--file", tmp_path / "text.txt", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["words"] == 8 and len(result["next"]) == 5 and result["perplexity"] > 1
    assert "zebra" in error_line(capsys, "predict", finished, "the zebra")


def test_predict_classes(capsys, tmp_path):
    model = Sequential([Input((4,)), Dense(3, activation="softmax")])
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    assert run("predict", tmp_path, "--input", tmp_path / "x.npy", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert np.shape(rows) == (2, 3) and np.allclose(np.sum(rows, axis=1), 1)
    assert run("predict", tmp_path, "--input", tmp_path / "x.npy", "--top", "1") == 0
    assert capsys.readouterr().out.startswith(f"0: {np.argmax(rows[0])} ")
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    assert "bad.npy: expected a .npy file" in error_line(capsys, "predict", tmp_path, "--input", tmp_path / "bad.npy")
    assert "expected a language model with its vocabulary" in error_line(capsys, "generate", tmp_path)


def test_damaged_models(finished, capsys, tmp_path):
    whole = (finished / "best.safetensors").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("foreign", b"\x00" * 1000)):
        (tmp_path / name).write_bytes(content)
        assert name in error_line(capsys, "generate", tmp_path / name)
    (tmp_path / "folder").mkdir()
    assert "got none of them" in error_line(capsys, "generate", tmp_path / "folder")
    assert "seqcore-model" in error_line(capsys, "generate", finished / "checkpoint.safetensors")


def test_the_saved_model_has_what_it_needs(finished):
    model = load_model(finished / "best.safetensors")
    assert len(model.extra["vocabulary"]["words"]) == 372
    assert model.extra["run"]["size"] == "test"


# ---------------------------------------------------------------- helpers


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar_only_on_a_terminal():
    terminal = Terminal()
    bar = ProgressLine(terminal)
    bar.update(5, 10, "5 words/s", 65)
    assert terminal.getvalue() == "\r5/10 [==========..........] 5 words/s, 1:05 left"
    bar.update(6, 10, "5 words/s", 65)
    bar.line("text")
    assert terminal.getvalue().count("\r") == 2 and terminal.getvalue().split("\r")[-1].rstrip() == "text"
    bar.line("more")
    assert terminal.getvalue().endswith("\nmore\n")
    silent = io.StringIO()
    ProgressLine(silent).update(5, 10, "", 0)
    assert silent.getvalue() == ""


def test_signals_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("loss", ["nce", "sampled"])
def test_sampled_losses_are_evaluated_by_the_full_softmax(loss, tmp_path):
    """Half a run and the rest give what one run gives; perplexities fall; no training perplexity is claimed."""
    words = ("--loss", loss, "--num-sampled", "40")
    assert run_test_size(tmp_path / "whole", *words, "--epochs", "2") == 0
    assert run_test_size(tmp_path / "parts", *words, "--epochs", "1") == 0
    assert run_test_size(tmp_path / "parts", *words, "--epochs", "2", "--resume") == 0
    metrics, history = figures(tmp_path / "whole")
    assert (metrics, history) == figures(tmp_path / "parts")
    assert metrics["test_perplexity"] < 200 and "train_perplexity" not in metrics and metrics["train_loss"] > 0
    assert history[1]["valid_perplexity"] < history[0]["valid_perplexity"]
    results = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert (results["loss"], results["num_sampled"]) == (loss, 40)
    model = load_model(tmp_path / "whole" / "last.safetensors")
    assert type(model.loss).__name__ == {"nce": "NCELoss", "sampled": "SampledSoftmaxLoss"}[loss]
