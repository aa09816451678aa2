"""The benchmark harness: NumPy against the reference, answers checked before timing, options, reports; no times."""

import json
import mmap
import os
import runpy
import stat
import subprocess
import sys
import textwrap
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import pytest

import benchmarks as bench
import seqcore as sc
from benchmarks import command_line, everything, memory, records, report, tables
from benchmarks.command_line import main
from benchmarks.contenders import CONTENDERS, networks, task, worker
from seqcore import _core
from tests.helpers import reference

CELLS = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
FAST = ["--seconds", "0.0005", "--rounds", "1", "--threads", "1"]


def is_running(process):
    """Whether a process is there and not a zombie, which waits for its parent to look."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def make_layers(rng, cell, inputs, units, layers, directions):
    stack = []
    for width in [inputs] + [units * directions] * (layers - 1):
        gates = GATES[cell] * units
        bias = (2, gates) if cell == "GRU" else (gates,)
        shapes = ((width, gates), (units, gates), bias)
        stack.append([tuple(rng.normal(0, 0.5, shape) for shape in shapes) for _ in range(directions)])
    return stack


# ---------------------------------------------------------------- NumPy


@pytest.mark.parametrize("block", [1 << 16, 50])
@pytest.mark.parametrize("layers, directions", [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("cell", CELLS)
def test_numpy_network_is_the_reference(rng, monkeypatch, cell, layers, directions, block):
    monkeypatch.setattr(networks, "_BLOCK", block)
    stack = make_layers(rng, cell, 3, 5, layers, directions)
    x, dy = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 5 * directions))
    network = networks.Network(cell, stack, steps=6, batch=4)
    network.forward(rng.normal(size=x.shape))
    network.backward(dy)  # the second call finds used buffers
    y, dx = network.forward(x).copy(), network.backward(dy)

    h, tapes = x.swapaxes(0, 1), []
    for weights in stack:
        h, _, tape = reference.forward(CELLS[cell], h, weights, reverse=(False, True)[:directions])
        tapes.append(tape)
    d, gradients = dy.swapaxes(0, 1), []
    for tape in reversed(tapes):
        d, of_layer, _, _ = reference.backward(tape, d)
        gradients = [array for part in of_layer for array in part] + gradients
    np.testing.assert_allclose(y.swapaxes(0, 1), h, atol=1e-12)
    np.testing.assert_allclose(dx.swapaxes(0, 1), d, atol=1e-12)
    for got, expected in zip(network.gradients, gradients, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11)

    before = [array.copy() for array in network.weights]
    network.update(0.1)
    for after, old, gradient in zip(network.weights, before, gradients, strict=True):
        np.testing.assert_allclose(after, old - 0.1 * gradient, atol=1e-11)


@pytest.mark.parametrize("cell", CELLS)
def test_numpy_stepper_and_carried_states(rng, cell):
    stack = make_layers(rng, cell, 3, 5, 1, 1)
    x = rng.normal(size=(6, 4, 3))
    whole = networks.Network(cell, stack, steps=6, batch=4).forward(x)
    stepper = networks.Stepper(cell, stack[0][0], batch=4)
    np.testing.assert_allclose(np.stack([stepper.step(array) for array in x]), whole, atol=1e-12)
    half = networks.Network(cell, stack, steps=3, batch=4)
    first = half.forward(x[:3]).copy()
    np.testing.assert_allclose(np.concatenate([first, half.forward(x[3:], carry=True)]), whole, atol=1e-12)


def test_numpy_language_model_descends_by_its_clipped_gradient(rng):
    words, targets = rng.integers(0, 7, (2, 3, 2))
    inside = make_layers(rng, "LSTM", 4, 4, 1, 1)[0][0]
    weights = [rng.normal(size=(7, 4)), *inside, rng.normal(size=(4, 7)), rng.normal(size=7)]

    def loss(values):
        return networks.LanguageModel([array.copy() for array in values], 3, 2, 1e9, 0.0).step(words, targets)

    after = [array.copy() for array in weights]
    assert networks.LanguageModel(after, 3, 2, clip=1e9, learning_rate=1.0).step(words, targets) == loss(weights)
    gradients = [old - new for old, new in zip(weights, after, strict=True)]
    for number, gradient in enumerate(gradients):
        for _ in range(4):
            place = tuple(rng.integers(0, size) for size in gradient.shape)
            values = []
            for shift in (1e-6, -1e-6):
                moved = [array.copy() for array in weights]
                moved[number][place] += shift
                values.append(loss(moved))
            assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)
    norm = np.sqrt(sum((array**2).sum() for array in gradients))
    clipped = [array.copy() for array in weights]
    networks.LanguageModel(clipped, 3, 2, clip=norm / 4, learning_rate=1.0).step(words, targets)
    for old, new, gradient in zip(weights, clipped, gradients, strict=True):
        np.testing.assert_allclose(old - new, gradient / 4, atol=1e-12)


# ---------------------------------------------------------------- answers


def answers(tmp_path, case):
    for name, array in bench.make_arrays(case).items():
        np.save(tmp_path / f"{name}.npy", array)
    weights = task.load_task(tmp_path, **bench.task_sizes(case, 1)).weights
    return bench.reference(case, tmp_path), weights


@pytest.mark.parametrize(
    "what, name",
    [
        ("recurrent", "8x16x5x6x2xboth"),
        ("stream", "2x1x5x6x1"),
        ("ptb", "2x3x9x4x2"),
        ("ragged", "16x24x5x6x1"),
        ("imdb", "3x4x30x5x2"),
    ],
)
def test_a_wrong_array_of_any_kind_is_found(tmp_path, what, name):
    for case in bench.select_cases(what, [name]):
        expected, weights = answers(tmp_path, case)
        assert bench.check_answer("torch", case, expected, expected, weights) == 0
        for wrong, array in expected.items():
            # An update this small is partly rounding.
            factor = np.float32(1.5 if wrong.startswith("update") else 1.001)
            others = (array * factor, array * np.nan, np.roll(array, 1), array * 0)
            for other in others if array.size > 1 else others[:2]:
                with pytest.raises(ValueError, match=rf"torch at .*{case.cell}: wrong answer: {wrong}: expected"):
                    bench.check_answer("torch", case, expected, {**expected, wrong: other}, weights)
            with pytest.raises(ValueError, match=r"expected shape .*, got \(1, 2\)"):
                bench.check_answer("torch", case, expected, {**expected, wrong: np.zeros((1, 2))}, weights)


def test_what_an_answer_may_lack(tmp_path):
    case = bench.select_cases("recurrent", ["3x4x5x6x1/LSTM"])[0]
    expected, weights = answers(tmp_path, case)
    output = {"output": expected["output"]}
    assert bench.check_answer("onnxruntime", case, expected, output, weights) == 0
    without = {name: array for name, array in expected.items() if not name.startswith("gradient of layer")}
    assert bench.check_answer("torch", case, expected, without, weights) == 0
    for missing in ("output", "gradient of the input", "update of layer 1 bias"):
        less = {name: array for name, array in without.items() if name != missing}
        with pytest.raises(ValueError, match=f"wrong answer: expected its {missing}, got none"):
            bench.check_answer("torch", case, expected, less, weights)
    with pytest.raises(ValueError, match="no such array"):
        bench.check_answer("torch", case, expected, {**expected, "more": np.zeros(3)}, weights)


@pytest.mark.parametrize(
    "what, name, part",
    [
        ("recurrent", "2x3x4x5x1", "Network"),
        ("stream", "1x1x4x5x1", "Stepper"),
        ("ptb", "2x3x9x4x1", "LanguageModel"),
    ],
)
def test_a_wrong_answer_ends_the_run(monkeypatch, capsys, tmp_path, what, name, part):
    # NumPy is wrong here in this process alone: the compiled core must not agree with it.
    inner = getattr(networks, part)

    def wrong(first, weights, *rest):
        if part == "LanguageModel":
            return inner([first[0], *(array * np.float32(0.9) for array in first[1:])], weights, *rest)
        scaled = [[tuple(array * np.float32(0.9) for array in weights[0][0])]] if part == "Network" else None
        return inner(first, scaled or tuple(array * np.float32(0.9) for array in weights), *rest)

    monkeypatch.setattr(networks, part, wrong)
    place = tmp_path / "result.json"
    status = main(["--what", what, "--cases", f"{name}/LSTM", "--peers", "none", "--json", str(place), *FAST])
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1
    assert error.startswith(f"benchmarks: seqcore at {name}/LSTM: wrong answer: ")
    assert not place.exists()


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    "what, name, measures",
    [
        ("recurrent", "2x3x4x5x2xboth", ["forward", "train"]),
        ("stream", "1x1x4x5x1", ["step"]),
        ("ptb", "2x3x9x4x2", ["train"]),
        ("curve", "2x3x4x4x1", ["train"]),
    ],
)
def test_a_run_and_its_report(capsys, tmp_path, what, name, measures):
    place, plot = tmp_path / "result.json", tmp_path / "result.png"
    words = ["--what", what, "--cases", name, "--json", str(place), *FAST]
    if find_spec("matplotlib"):
        words += ["--plot", str(plot)]
    assert main(words) == 0
    out = capsys.readouterr().out
    cells = bench.KINDS[what].cells
    report = json.loads(place.read_text())
    assert (report["what"], report["threads"], report["rounds"]) == (what, 1, 1)
    for key in ("cpu", "isa", "date", "python", "compiler", "versions", "system", "peak_gflops_per_thread"):
        assert report[key]
    assert set(report["versions"]) == {"seqcore", "numpy"} and report["left_out"] == {}
    found = [(row["case"], row["measure"], row["contender"]) for row in report["rows"]]
    labels = [f"{name}/{cell}" for cell in cells]
    assert found == [(label, measure, who) for label in labels for measure in measures for who in ("seqcore", "numpy")]
    for row in report["rows"]:
        assert 0 < row["min_us"] <= row["median_us"] <= row["p99_us"] and row["calls"] >= 3
        case = bench.select_cases(what, [row["case"]])[0]
        assert row["gflops"] == pytest.approx(case.flops(row["measure"]) / row["min_us"] / 1e3)
        assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / row["peak_gflops"])
        assert row["deviation"] < bench.TOLERANCE["float32"]
        assert row["peak_gflops"] <= report["peak_gflops"] and report["peak_gflops"] == report["peak_gflops_per_thread"]
        assert row["times"] == 1 or row["contender"] == "numpy"
        assert what != "ptb" or row["words_per_second"] == pytest.approx(6e6 / row["min_us"])
    assert all(label in out for label in labels) and "% peak" in out and report["cpu"] in out
    assert set(report["summary"]) == set(measures) and f"{measures[-1]}: " in out.splitlines()[-1]
    assert not find_spec("matplotlib") or plot.read_bytes().startswith(b"\x89PNG")


def test_the_peak_of_several_threads_is_taken_at_once(monkeypatch):
    with bench.Bench("recurrent", peers=(), threads=2, seconds=0.0005, rounds=2) as runner:
        rows = runner.measure(bench.select_cases("recurrent", ["2x3x4x5x1/GRU"]))
        folder = runner.folder
        assert runner.facts()["threads"] == 2 and rows[0]["peak_gflops"] == runner.peak and runner.peak_of_one > 0
    assert not folder.exists()
    together = threading.Barrier(3)

    def loop(dtype, seconds):
        together.wait(10)  # nobody returns before all three are here
        return seconds if dtype == "float64" else -1.0

    monkeypatch.setattr(_core.system, "peak_gflops", loop)
    assert worker.peak(3, "float64", 2.0) == 6.0


def test_several_numbers_of_threads(tmp_path, capsys):
    """One thread is its own bound, and the plan's balance lowers that of two."""
    report = run_report(tmp_path, "--threads", "2,1", "--cases", "3x40x64x64x1", "--cells", "LSTM")
    out = capsys.readouterr().out
    assert report["counts"] == [1, 2] and report["threads"] == 2
    keys = [(row["measure"], row["contender"], row["threads"]) for row in report["rows"]]
    assert keys == [
        (measure, who, n) for measure in ("forward", "train") for who in ("numpy", "seqcore") for n in (1, 2)
    ]
    for row in report["rows"]:
        first = next(
            other
            for other in report["rows"]
            if (other["measure"], other["contender"], other["threads"]) == (row["measure"], row["contender"], 1)
        )
        assert row["speedup"] == first["min_us"] / row["min_us"]
        if row["contender"] == "seqcore":
            # Two of three sequences are the busiest thread's part of the time loop, which is a half or a third of all.
            even = 1.0 if row["threads"] == 1 else 6 / 7 if row["measure"] == "forward" else 9 / 10
            assert row["balance"] == pytest.approx(even)
            share = first["gflops"] / first["peak_gflops"]
            assert row["bound_gflops"] == pytest.approx(share * row["peak_gflops"] * even)
        else:
            assert "bound_gflops" not in row
    assert "speed-up" in out and "bound" in out
    table = "\n".join(tables.section(report))
    assert "| speed-up, 2 threads |" in table and table.count(" of ") == 2


@pytest.mark.parametrize("name", ["torch", "tensorflow", "jax", "onnxruntime"])
def test_peers_give_the_same_answers(name):
    if find_spec(name) is None or (name == "onnxruntime" and find_spec("onnx") is None):
        pytest.skip(f"{name} is not installed")
    for what, cases in (
        ("recurrent", ["2x3x4x5x2", "2x3x4x5x1xboth"]),
        ("stream", ["2x1x4x5x1"]),
        ("ptb", ["2x3x9x4x2"]),
        ("ragged", ["4x5x3x4x1"]),
        ("imdb", ["4x3x30x5x2"]),
    ):
        with bench.Bench(what, peers=[name], threads=1, seconds=0.0005, rounds=1) as runner:
            rows = runner.measure(bench.select_cases(what, cases))
            has_part = what in CONTENDERS[name].parts
            assert runner.left_out == ({} if has_part else {name: f"has no part in {what}"})
        assert (name in {row["contender"] for row in rows}) == has_part


def interpreter(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="uses shell scripts")
def test_peers_that_cannot_be_measured_are_left_out(tmp_path, capsys):
    bare = interpreter(tmp_path, "bare", f'PYTHONPATH= exec "{sys.executable}" -S -E "$@"')
    dead = interpreter(tmp_path, "dead", "echo no such luck >&2; exit 3")
    silent = interpreter(tmp_path, "silent", "exit 3")
    pairs = (f"torch={bare}", f"jax,tensorflow={dead}", f"onnxruntime={silent}")
    words = ["--cases", "2x3x4x5x1/GRU", "--peers", "torch,jax,tensorflow,onnxruntime", *FAST]
    assert main([*words, *(word for pair in pairs for word in ("--python", pair))]) == 0
    out = capsys.readouterr().out
    assert "left out: torch: not installed: " in out
    assert "left out: jax: no such luck" in out and "left out: tensorflow: no such luck" in out
    assert "left out: onnxruntime: its process ended with status 3" in out
    assert "2x3x4x5x1/GRU" in out


@pytest.mark.skipif(os.name != "posix", reason="uses shell scripts")
def test_a_peer_that_fails_at_a_case_is_left_out_of_it(tmp_path):
    # Says hello as torch, cannot do the first case, and is gone before the second.
    replies = [{"version": "1"}, {"error": "MemoryError"}]
    script = "".join(f"read line; echo '{json.dumps(reply)}'\n" for reply in replies)
    peer = interpreter(tmp_path, "peer", script + "read line; echo killed >&2; exit 1")
    cases = bench.select_cases("recurrent", ["2x3x4x5x1/GRU", "2x3x4x5x1/LSTM"])
    with bench.Bench("recurrent", ["torch"], 1, 0.0005, 1, {"torch": peer}) as runner:
        rows = runner.measure(cases)
        assert runner.versions["torch"] == "1"
        assert runner.left_out == {"torch at 2x3x4x5x1/GRU": "MemoryError", "torch at 2x3x4x5x1/LSTM": "killed"}
    assert {row["contender"] for row in rows} == {"seqcore"} and len(rows) == 4


# ---------------------------------------------------------------- cases and options


def test_the_books_shapes():
    cases = bench.select_cases("recurrent")
    assert len(cases) == 20
    assert [case.cell for case in cases if case.name == "ptb-large"] == ["LSTM"]
    assert [case.label for case in bench.select_cases("recurrent", ["ptb-medium/GRU"])] == ["ptb-medium/GRU"]
    imdb = bench.select_cases("recurrent", ["imdb"], ["LSTM"])[0]
    assert imdb.flops("forward") == 2 * 80 * 128 * 4 * 64 * (100 + 64 + 64 + 64)
    mnist = bench.select_cases("recurrent", ["mnist/GRU"])[0]
    assert mnist.flops("train") == 3 * 2 * 28 * 128 * 3 * 256 * (28 + 256) * 2
    assert bench.select_cases("ptb")[0].flops("forward") == 2 * 400 * (2 * 4 * 200 * 400 + 200 * 10_000)
    assert {case.cell for case in bench.select_cases("ptb")} == {"LSTM"}


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--cases", "imbd"], "--cases: expected imdb, airline, "),
        (["--cases", "2x3x4x5"], "or sizes BxTxDxHxL[xboth], got '2x3x4x5'"),
        (["--cases", "0x3x4x5x1"], "got '0x3x4x5x1'"),
        (["--cases", "imdb/CNN"], "--cases: expected SimpleRNN, LSTM, GRU, got 'CNN'"),
        (["--cells", "lstm"], "--cells: expected SimpleRNN, LSTM, GRU, got 'lstm'"),
        (["--what", "ptb", "--cells", "GRU"], "--cells: expected LSTM for ptb, got GRU"),
        (["--what", "ptb", "--cases", "2x3x4x5x1xboth"], "--cases: expected one direction for ptb"),
        (["--what", "stream", "--cases", "2x3x4x5x1"], "--cases: expected Bx1xDxHx1 for stream"),
        (["--what", "nothing"], "--what: invalid choice: 'nothing'"),
        (["--what", "ragged", "--cases", "2x3x4x5x1xboth"], "--cases: expected one direction for ragged"),
        (["--what", "imdb", "--cases", "2x3x4x5x1"], "--cases: expected 2 layers for imdb"),
        (["--what", "growth", "--cases", "2x3x4x5x2"], "--cases: expected 1 layer for growth"),
        (["--what", "curve", "--cases", "units"], "--cases: expected units-N, batch-N, steps-N or sizes"),
        (["--what", "imdb", "--dtype", "float64"], "--dtype: expected float32 for imdb, got float64"),
        (["--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
        (["--isa", "sse9"], "--isa: expected base"),
        (["--peers", "theano"], "--peers: expected numpy, torch, "),
        (["--peers", "seqcore"], "got 'seqcore'"),
        (["--threads", "0"], "--threads: expected an integer >= 1, got 0"),
        (["--threads", "4,0"], "--threads: expected an integer >= 1, got 0"),
        (["--threads", ","], "--threads: expected an integer >= 1, got none"),
        (["--threads", "two"], "--threads: invalid counts value: 'two'"),
        (["--what", "small", "--threads", "1,2"], "--threads: expected one number for small, got several"),
        (["--rounds", "0"], "--rounds: expected an integer >= 1, got 0"),
        (["--rounds", "x"], "--rounds: invalid int value: 'x'"),
        (["--seconds", "0"], "--seconds: expected a positive number, got 0.0"),
        (["--seconds", "nan"], "--seconds: expected a positive number, got nan"),
        (["--python", "torch"], "--python: expected NAME=INTERPRETER, an existing interpreter, got 'torch'"),
        (["--python", "torch=/no/such/python"], "got 'torch=/no/such/python'"),
        (["--python", f"theano={sys.executable}"], "--python: expected numpy, torch, "),
        (["--json", "/no/such/folder/x.json"], "--json: expected a file in a folder that can be written"),
        (["--plot", "/no/such/folder/x.png"], "--plot: expected a file in a folder that can be written"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_options_are_one_line(capsys, words, expected):
    try:
        status = main([*words])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err


def test_plots_need_matplotlib(capsys, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["--plot", str(tmp_path / "x.png")]) == 2
    assert "pip install 'seqcore[experiments]'" in capsys.readouterr().err


def test_help_and_all_peers(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "--peers" in capsys.readouterr().out
    arguments = command_line._parser().parse_args(["--peers", "all"])
    command_line._check(arguments)
    assert arguments.peers == list(bench.PEERS) and "numpy" in bench.PEERS


# ---------------------------------------------------------------- kinds with columns of their own


def run_report(tmp_path, *words):
    place, plot = tmp_path / "result.json", tmp_path / "result.png"
    drawn = ["--plot", str(plot)] if find_spec("matplotlib") else []
    assert main([*FAST, *words, "--json", str(place), *drawn]) == 0
    assert not drawn or plot.read_bytes().startswith(b"\x89PNG")
    return json.loads(place.read_text())


def test_float64_with_a_forced_instruction_set(tmp_path, capsys):
    found = run_report(tmp_path, "--cases", "2x3x4x5x1xboth", "--dtype", "float64", "--isa", "base")
    assert (found["isa"], found["isa_forced"], found["dtype"]) == ("base", True, "float64")
    assert "base (forced), float64, 1 thread" in capsys.readouterr().out
    for row in found["rows"]:
        assert row["dtype"] == "float64" and row["deviation"] < bench.TOLERANCE["float64"]
    arrays = bench.make_arrays(bench.select_cases("recurrent", ["2x3x4x5x1/GRU"], dtype="float64")[0])
    assert {array.dtype.name for array in arrays.values()} == {"float64"}


@pytest.mark.skipif(os.name != "posix", reason="uses shell scripts")
def test_the_instruction_set_is_forced_upon_seqcore_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQCORE_ISA", raising=False)
    peer = interpreter(tmp_path, "peer", 'read line; echo "{\\"version\\": \\"[$SEQCORE_ISA]\\"}"; read line')
    with bench.Bench("recurrent", ["torch"], 1, 0.0005, 1, {"torch": peer}, isa="base") as runner:
        assert runner.versions["torch"] == "[]" and runner.facts()["isa"] == "base"


def test_a_ragged_run(tmp_path, capsys):
    found = run_report(tmp_path, "--what", "ragged", "--cases", "4x6x3x5x2", "--peers", "none")
    assert {row["measure"] for row in found["rows"]} == {"forward", "train", "full forward", "full train"}
    case = bench.select_cases("ragged", ["4x6x3x5x2/GRU"])[0]
    assert case.lengths == [1, 3, 4, 6] and {row["real_steps"] for row in found["rows"]} == {14}
    assert case.flops("forward") == 2 * 14 * 3 * 5 * (3 + 5 + 5 + 5)
    assert "% of the cost of the full batch, 58.3 % of its steps" in capsys.readouterr().out
    arrays = bench.make_arrays(case)
    assert sorted(arrays["lengths"]) == case.lengths
    for length, dy in zip(arrays["lengths"], arrays["dy"], strict=True):
        assert dy[:length].all() and not dy[length:].any()


def test_the_overhead_of_a_layer(tmp_path, capsys):
    found = run_report(tmp_path, "--what", "small", "--cases", "least/LSTM")
    names = [row["contender"] for row in found["rows"]]
    assert names == ["seqcore", "seqcore (layer)", "seqcore (core)", "numpy"]
    assert [row["library"] for row in found["rows"]] == ["seqcore"] * 3 + ["numpy"]
    assert found["summary"]["gradients"]["least_peer"] == "numpy"
    over = found["rows"][1]["min_us"] - found["rows"][2]["min_us"]
    assert f"least/LSTM: {over:.1f} us of Python" in capsys.readouterr().out


def test_the_imdb_model(tmp_path):
    found = run_report(tmp_path, "--what", "imdb", "--cases", "4x3x30x5x2/LSTM")
    (row,) = found["rows"]
    assert row["samples_per_second"] == pytest.approx(1e6 * 4 * task.IMDB_BATCHES / row["min_us"])
    # Plain NumPy holds the answer and has no part in the timing.
    assert found["left_out"] == {"numpy": "has no part in imdb"}


def test_numpy_classifier_descends_by_its_gradient(rng):
    words, labels = rng.integers(0, 7, (3, 2)), np.array([[1.0], [0.0]])
    inside = [array for part in make_layers(rng, "GRU", 4, 5, 2, 1) for array in part[0]]
    weights = [rng.normal(size=(7, 4)), *inside, rng.normal(size=(5, 1)), rng.normal(size=1)]

    def loss(values):
        return networks.Classifier([array.copy() for array in values], "GRU", 3, 2, 0.0).step(words, labels)[1]

    after = [array.copy() for array in weights]
    networks.Classifier(after, "GRU", 3, 2, 1.0).step(words, labels)
    for number, (old, new) in enumerate(zip(weights, after, strict=True)):
        place = tuple(rng.integers(0, size) for size in old.shape)
        if number == 0:
            place = (int(words[0, 0]), 1)
        values = []
        for shift in (1e-6, -1e-6):
            moved = [array.copy() for array in weights]
            moved[number][place] += shift
            values.append(loss(moved))
        assert (old - new)[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-7)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell, core", [("SimpleRNN", "rnn"), ("LSTM", "lstm"), ("GRU", "gru")])
def test_the_formula_is_what_the_core_keeps(cell, core, dtype):
    isa, gates = _core.system.info()["isa"], GATES[cell]
    for batch, steps, inputs, units in ((3, 5, 7, 9), (4, 6, 8, 40), (2, 3, 5, 64), (2, 3, 5, 17), (1, 2, 3, 2)):
        bias = np.zeros((2, 3 * units) if cell == "GRU" else gates * units, dtype)
        weights = [(np.zeros((inputs, gates * units), dtype), np.zeros((units, gates * units), dtype), bias)]
        x, lengths = np.zeros((batch, steps, inputs), dtype), 1 + np.arange(batch, dtype=np.int32) % steps
        rows = int(lengths.sum())
        for given, more in (({}, {}), ({"lengths": lengths}, {"rows": rows})):
            saved = _core.recurrent.recurrent_forward(core, x, weights, **given)[2]
            formula = memory.training_step(cell, batch, steps, inputs, units, dtype=dtype, isa=isa, **more)
            assert sum(formula.saved.values()) == saved.nbytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status")
@pytest.mark.parametrize("cell", CELLS)
def test_memory_of_a_training_step_is_the_formula(tmp_path, cell):
    case = bench.select_cases("growth", ["32x1200x64x128x1"], [cell])[0]
    for name, array in bench.make_arrays(case).items():
        np.save(tmp_path / f"{name}.npy", array)
    with bench.Bench("growth", (), 1) as runner:
        runner._measure_memory(runner.contenders[0], case, str(tmp_path))
        isa, measured = runner.isa, runner.memory[case.label, "seqcore"]
    formula = memory.training_step(cell, 32, 1200, 64, 128, isa=isa)
    assert formula.total > 12 * 2**20
    # With or without huge pages; Python's own objects and the C library's come on top.
    assert 0.97 * formula.total - 2**19 < measured["step"] < 1.03 * formula.resident + 2**20
    assert measured["page_faults"] < 5
    row = {"cell": cell, "dtype": "float32", **case.shape._asdict()}
    assert report.predicted_bytes(row, isa, 1) == formula.resident


@pytest.mark.parametrize("cell", CELLS)
def test_a_training_step_takes_no_new_memory(cell, rng):
    # On a busy machine calls go from two threads to one and back, whose scratch has other sizes.
    _core.system.set_num_threads(1)
    # More than the 1 GiB that the pool keeps, of a size that nobody asks for again: it must make room.
    del [_core.random.dropout_mask((5, 1 << 15), 0.5, 0, 0, i, "float32") for i in range(1800)][:]
    assert (1 << 29) < _core.system.memory()["held"] <= 1 << 30
    model = sc.Sequential(
        [
            sc.layers.Embedding(500, 64),
            getattr(sc.layers, cell)(96, return_sequences=True, dropout=0.2),
            sc.layers.Bidirectional(getattr(sc.layers, cell)(64, return_sequences=True)),
            sc.layers.Dense(500),
        ]
    )
    model.compile(sc.optimizers.Adam(), sc.losses.SparseCategoricalCrossentropy(from_logits=True))
    words, targets = rng.integers(0, 500, (2, 16, 40))
    for _ in range(12):
        model.train_on_batch(words, targets)
    made = _core.system.memory()["made"]
    # A fresh page for each of its arrays would be 500. The median, since now and then Python takes memory of its own.
    assert median(worker.faults(lambda: model.train_on_batch(words, targets), 20) for _ in range(5)) < 5
    assert _core.system.memory()["made"] == made
    fresh = bytes(1 << 20)
    assert worker.faults(lambda: mmap.mmap(-1, 1 << 20).write(fresh), 3) > 100  # new memory is seen


# ---------------------------------------------------------------- everything at once


def test_everything_and_its_tables(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    parts = ["float64", "threads", "ragged", "small", "growth", "curve"]
    words = ["--out", str(tmp_path), "--quick", "--parts", ",".join(parts), "--peers", "numpy", "--threads", "1"]
    words += ["--seconds", "0.0005"]
    assert everything.main(words) == 0
    found = records.read_records(tmp_path)
    assert set(found) == set(parts)
    page = (tmp_path / "tables.md").read_text()
    for name in parts:
        assert found[name]["complete"] and found[name]["rows"] and "(" not in found[name]["command"]
        assert f"## {everything.PARTS[name].title}\n" in page and f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for column in (
        "best packed",
        "Python of a layer, µs",
        "formula, MiB",
        "best peer, GFLOP/s",
        "% of peak",
        "1 thread",
    ):
        assert column in page
    assert str(tmp_path) not in page
    # Another run replaces its own part and leaves the others.
    assert everything.main(["--out", str(tmp_path), "--quick", "--parts", "stream", "--peers", "none"]) == 0
    again = records.read_records(tmp_path)
    assert set(again) == {*parts, "stream"} and again["small"] == found["small"]


def test_what_a_killed_run_leaves(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    inner = bench.Bench._measure

    def killed(self, case, number, total):
        if number == 2:
            raise KeyboardInterrupt
        return inner(self, case, number, total)

    monkeypatch.setattr(bench.Bench, "_measure", killed)
    words = ["--out", str(tmp_path), "--quick", "--parts", "curve", "--peers", "none", "--seconds", "0.0005"]
    with pytest.raises(KeyboardInterrupt):
        everything.main(words)
    found = records.read_records(tmp_path)["curve"]
    assert [row["case"] for row in found["rows"]] == ["units-7/LSTM", "units-16/LSTM"] and not found["complete"]
    assert "Not complete" in (tmp_path / "tables.md").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems let a process outlive its parent")
def test_contenders_end_with_the_benchmark(tmp_path):
    """Also in the midst of a call, and when the benchmark had no time to tidy up."""
    text = """
        from pathlib import Path
        from benchmarks.runner import _Contender
        contender = _Contender("seqcore", None, 1, Path(sys.argv[1]))
        contender.ask("hello", threads=1)
        contender._process.stdin.write('{"do": "peak", "seconds": 60}\\n')
        contender._process.stdin.flush()
        print(contender._process.pid, flush=True)
        sys.stdin.read()
    """
    words = [sys.executable, "-c", "import sys\n" + textwrap.dedent(text), str(tmp_path)]
    path, pipe = os.pathsep.join(os.path.abspath(folder) for folder in sys.path), subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": path}) as benchmark:
        contender = int(benchmark.stdout.readline())
        assert is_running(contender)
        benchmark.kill()
    deadline = time.monotonic() + 20
    while is_running(contender) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(contender)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--parts", "nothing"], "--parts: expected recurrent, one-thread, "),
        (["--peers", "theano"], "--peers: expected numpy, torch, "),
        (["--rounds", "0"], "--rounds: expected an integer >= 1, got 0"),
        (["--seconds", "-1"], "--seconds: expected a positive number, got -1"),
        ([], "report.json: expected a record of a measurement"),
    ],
)
def test_bad_options_of_everything(tmp_path, capsys, words, expected):
    pytest.importorskip("matplotlib")
    (tmp_path / "report.json").write_text("[1]")
    assert everything.main(["--out", str(tmp_path), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err


def test_the_best_peer():
    rows = [
        {"case": "a", "measure": "train", "library": name, "contender": name, "min_us": us}
        for name, us in (("seqcore", 1.0), ("numpy", 2.0), ("torch", 4.0), ("jax", 3.0))
    ]
    assert tables.best_peer(rows, "a", "train") is rows[3]  # NumPy counts only where there is nobody else
    assert tables.best_peer(rows[:2], "a", "train") is rows[1] and tables.best_peer(rows[:1], "a", "train") is None


@pytest.mark.parametrize("module, option", [("benchmarks", "--what"), ("benchmarks.everything", "--parts")])
def test_python_m_benchmarks(monkeypatch, capsys, module, option):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    monkeypatch.delitem(sys.modules, "benchmarks.everything", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(module, run_name="__main__")
    assert stop.value.code == 0 and option in capsys.readouterr().out


def test_the_layers_for_pytorch(tmp_path, capsys):
    """Rows of both contenders for each measure, and of the operators; the page's table has all of them."""
    pytest.importorskip("torch")
    from benchmarks import pages, torch_layers

    path = tmp_path / "torch_layers.json"
    arguments = ["--cases", "airline/GRU,2x3x4x5x1/LSTM", "--seconds", "0", "--rounds", "1", "--threads", "1"]
    assert torch_layers.main([*arguments, "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = {(row["case"], row["packed"], row["measure"], row["contender"]): row["min_us"] for row in record["rows"]}
    assert len(rows) == 3 * 2 * 2 + 4 and all(time > 0 for time in rows.values())
    assert max(row.get("deviation", 0) for row in record["rows"]) < 1e-4
    table = pages.torch_layers({"torch_layers": record})
    assert table[2].startswith("| airline/GRU | ") and table[3].endswith(" |  |  |  |")
    assert "packed train: " in capsys.readouterr().out
