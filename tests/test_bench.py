"""The benchmark harness: NumPy against the reference, answers checked before timing, options, reports; no times."""

import json
import os
import runpy
import stat
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from seqcore import bench, bench_contenders, bench_numpy
from seqcore.cli import main
from tests import reference

CELLS = {"SimpleRNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
FAST = ["--seconds", "0.0005", "--rounds", "1", "--threads", "1"]
BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


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
    monkeypatch.setattr(bench_numpy, "_BLOCK", block)
    stack = make_layers(rng, cell, 3, 5, layers, directions)
    x, dy = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 5 * directions))
    network = bench_numpy.Network(cell, stack, steps=6, batch=4)
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
        gradients = [one for part in of_layer for one in part] + gradients
    np.testing.assert_allclose(y.swapaxes(0, 1), h, atol=1e-12)
    np.testing.assert_allclose(dx.swapaxes(0, 1), d, atol=1e-12)
    for got, expected in zip(network.gradients, gradients, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-11)

    before = [one.copy() for one in network.weights]
    network.update(0.1)
    for after, old, gradient in zip(network.weights, before, gradients, strict=True):
        np.testing.assert_allclose(after, old - 0.1 * gradient, atol=1e-11)


@pytest.mark.parametrize("cell", CELLS)
def test_numpy_stepper_and_carried_states(rng, cell):
    stack = make_layers(rng, cell, 3, 5, 1, 1)
    x = rng.normal(size=(6, 4, 3))
    whole = bench_numpy.Network(cell, stack, steps=6, batch=4).forward(x)
    stepper = bench_numpy.Stepper(cell, stack[0][0], batch=4)
    np.testing.assert_allclose(np.stack([stepper.step(one) for one in x]), whole, atol=1e-12)
    half = bench_numpy.Network(cell, stack, steps=3, batch=4)
    first = half.forward(x[:3]).copy()
    np.testing.assert_allclose(np.concatenate([first, half.forward(x[3:], carry=True)]), whole, atol=1e-12)


def test_numpy_language_model_descends_by_its_clipped_gradient(rng):
    words, targets = rng.integers(0, 7, (2, 3, 2))
    inside = make_layers(rng, "LSTM", 4, 4, 1, 1)[0][0]
    weights = [rng.normal(size=(7, 4)), *inside, rng.normal(size=(4, 7)), rng.normal(size=7)]

    def loss(values):
        return bench_numpy.LanguageModel([one.copy() for one in values], 3, 2, 1e9, 0.0).step(words, targets)

    after = [one.copy() for one in weights]
    assert bench_numpy.LanguageModel(after, 3, 2, clip=1e9, learning_rate=1.0).step(words, targets) == loss(weights)
    gradients = [old - new for old, new in zip(weights, after, strict=True)]
    for number, gradient in enumerate(gradients):
        for _ in range(4):
            place = tuple(rng.integers(0, size) for size in gradient.shape)
            values = []
            for shift in (1e-6, -1e-6):
                moved = [one.copy() for one in weights]
                moved[number][place] += shift
                values.append(loss(moved))
            assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)
    norm = np.sqrt(sum((one**2).sum() for one in gradients))
    clipped = [one.copy() for one in weights]
    bench_numpy.LanguageModel(clipped, 3, 2, clip=norm / 4, learning_rate=1.0).step(words, targets)
    for old, new, gradient in zip(weights, clipped, gradients, strict=True):
        np.testing.assert_allclose(old - new, gradient / 4, atol=1e-12)


# ---------------------------------------------------------------- answers


def answers(tmp_path, case):
    for name, array in bench.make_arrays(case).items():
        np.save(tmp_path / f"{name}.npy", array)
    weights = bench_contenders.load_task(tmp_path, **bench._sizes(case, 1)).weights
    return bench.reference(case, tmp_path), weights


@pytest.mark.parametrize(
    "what, name", [("recurrent", "8x16x5x6x2xboth"), ("stream", "2x1x5x6x1"), ("ptb", "2x3x9x4x2")]
)
def test_a_wrong_array_of_any_kind_is_found(tmp_path, what, name):
    for case in bench.select_cases(what, [name]):
        expected, weights = answers(tmp_path, case)
        assert bench.check_answer("torch", case, expected, expected, weights) == 0
        for wrong, array in expected.items():
            # An update this small is partly rounding.
            factor = np.float32(1.5 if wrong.startswith("update") else 1.001)
            for other in (array * factor, array * np.nan, np.roll(array, 1), array * 0):
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
    inner = getattr(bench_numpy, part)

    def wrong(first, weights, *rest):
        if part == "LanguageModel":
            return inner([first[0], *(one * np.float32(0.9) for one in first[1:])], weights, *rest)
        scaled = [[tuple(one * np.float32(0.9) for one in weights[0][0])]] if part == "Network" else None
        return inner(first, scaled or tuple(one * np.float32(0.9) for one in weights), *rest)

    monkeypatch.setattr(bench_numpy, part, wrong)
    place = tmp_path / "result.json"
    status = main(["bench", "--what", what, "--cases", f"{name}/LSTM", "--peers", "none", "--json", str(place), *FAST])
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1
    assert error.startswith(f"seqcore: seqcore at {name}/LSTM: wrong answer: ")
    assert not place.exists()


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    "what, name, measures",
    [
        ("recurrent", "2x3x4x5x2xboth", ["forward", "train"]),
        ("stream", "1x1x4x5x1", ["step"]),
        ("ptb", "2x3x9x4x2", ["train"]),
    ],
)
def test_a_run_and_its_report(capsys, tmp_path, what, name, measures):
    place, plot = tmp_path / "result.json", tmp_path / "result.png"
    words = ["bench", "--what", what, "--cases", name, "--json", str(place), *FAST]
    if find_spec("matplotlib"):
        words += ["--plot", str(plot)]
    assert main(words) == 0
    out = capsys.readouterr().out
    cells = ["LSTM"] if what == "ptb" else list(CELLS)
    report = json.loads(place.read_text())
    assert (report["what"], report["threads"], report["rounds"]) == (what, 1, 1)
    for key in ("cpu", "isa", "date", "python", "compiler", "versions", "system", "peak_gflops_per_thread"):
        assert report[key]
    assert set(report["versions"]) == {"seqcore", "numpy"} and report["left_out"] == {}
    found = [(row["case"], row["measure"], row["contender"]) for row in report["rows"]]
    labels = [f"{name}/{cell}" for cell in cells]
    assert found == [(label, one, who) for label in labels for one in measures for who in ("seqcore", "numpy")]
    for row in report["rows"]:
        assert 0 < row["min_us"] <= row["median_us"] <= row["p99_us"] and row["calls"] >= 3
        case = bench.select_cases(what, [row["case"]])[0]
        assert row["gflops"] == pytest.approx(case.flops(row["measure"]) / row["min_us"] / 1e3)
        assert row["percent_of_peak"] == pytest.approx(100 * row["gflops"] / row["peak_gflops"])
        assert row["deviation"] < bench.TOLERANCE
        assert row["peak_gflops"] <= report["peak_gflops_per_thread"]
        assert row["times"] == 1 or row["contender"] == "numpy"
        assert what != "ptb" or row["words_per_second"] == pytest.approx(6e6 / row["min_us"])
    assert all(label in out for label in labels) and "% peak" in out and report["cpu"] in out
    assert set(report["summary"]) == set(measures) and f"{measures[-1]}: " in out.splitlines()[-1]
    assert not find_spec("matplotlib") or plot.read_bytes().startswith(b"\x89PNG")


def test_threads_share_the_peak(tmp_path):
    with bench.Bench("recurrent", peers=(), threads=2, seconds=0.0005, rounds=2) as one:
        rows = one.measure(bench.select_cases("recurrent", ["2x3x4x5x1/GRU"]))
        folder = one.folder
        assert one.facts()["threads"] == 2 and rows[0]["peak_gflops"] == 2 * one.peak
    assert not folder.exists()


@pytest.mark.parametrize("name", ["torch", "tensorflow", "jax", "onnxruntime"])
def test_peers_give_the_same_answers(name):
    if find_spec(name) is None or (name == "onnxruntime" and find_spec("onnx") is None):
        pytest.skip(f"{name} is not installed")
    for what, cases in (
        ("recurrent", ["2x3x4x5x2", "2x3x4x5x1xboth"]),
        ("stream", ["2x1x4x5x1"]),
        ("ptb", ["2x3x9x4x2"]),
    ):
        with bench.Bench(what, peers=[name], threads=1, seconds=0.0005, rounds=1) as one:
            rows = one.measure(bench.select_cases(what, cases))
            has_part = what in bench_contenders.CONTENDERS[name][1]
            assert one.left_out == ({} if has_part else {name: f"has no part in {what}"})
        assert (name in {row["contender"] for row in rows}) == has_part


def interpreter(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="stands on shell scripts")
def test_peers_that_cannot_be_measured_are_left_out(tmp_path, capsys):
    bare = interpreter(tmp_path, "bare", f'PYTHONPATH= exec "{sys.executable}" -S -E "$@"')
    dead = interpreter(tmp_path, "dead", "echo no such luck >&2; exit 3")
    silent = interpreter(tmp_path, "silent", "exit 3")
    pairs = (f"torch={bare}", f"jax,tensorflow={dead}", f"onnxruntime={silent}")
    words = ["bench", "--cases", "2x3x4x5x1/GRU", "--peers", "torch,jax,tensorflow,onnxruntime", *FAST]
    assert main([*words, *(word for pair in pairs for word in ("--python", pair))]) == 0
    out = capsys.readouterr().out
    assert "left out: torch: not installed: " in out
    assert "left out: jax: no such luck" in out and "left out: tensorflow: no such luck" in out
    assert "left out: onnxruntime: its process ended with status 3" in out
    assert "2x3x4x5x1/GRU" in out


@pytest.mark.skipif(os.name != "posix", reason="stands on shell scripts")
def test_a_peer_that_fails_at_a_case_is_left_out_of_it(tmp_path):
    # Says hello as torch, cannot do the first case, and is gone before the second.
    replies = [{"version": "1"}, {"error": "MemoryError"}]
    script = "".join(f"read line; echo '{json.dumps(one)}'\n" for one in replies)
    peer = interpreter(tmp_path, "peer", script + "read line; echo killed >&2; exit 1")
    cases = bench.select_cases("recurrent", ["2x3x4x5x1/GRU", "2x3x4x5x1/LSTM"])
    with bench.Bench("recurrent", ["torch"], 1, 0.0005, 1, {"torch": peer}) as one:
        rows = one.measure(cases)
        assert one.versions["torch"] == "1"
        assert one.left_out == {"torch at 2x3x4x5x1/GRU": "MemoryError", "torch at 2x3x4x5x1/LSTM": "killed"}
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
        (["--peers", "theano"], "--peers: expected numpy, torch, "),
        (["--peers", "seqcore"], "got 'seqcore'"),
        (["--threads", "0"], "--threads: expected an integer >= 1, got 0"),
        (["--rounds", "0"], "--rounds: expected an integer >= 1, got 0"),
        (["--rounds", "x"], "--rounds: invalid int value: 'x'"),
        (["--seconds", "0"], "--seconds: expected a positive number, got 0.0"),
        (["--seconds", "nan"], "--seconds: expected a positive number, got nan"),
        (["--python", "torch"], "--python: expected NAME=INTERPRETER, an interpreter that is there, got 'torch'"),
        (["--python", "torch=/no/such/python"], "got 'torch=/no/such/python'"),
        (["--python", f"theano={sys.executable}"], "--python: expected numpy, torch, "),
        (["--json", "/no/such/folder/x.json"], "--json: expected a file in a folder that can be written"),
        (["--plot", "/no/such/folder/x.png"], "--plot: expected a file in a folder that can be written"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_options_are_one_line(capsys, words, expected):
    assert main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err


def test_plots_need_matplotlib(capsys, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["bench", "--plot", str(tmp_path / "x.png")]) == 2
    assert "pip install 'seqcore[experiments]'" in capsys.readouterr().err


def test_help_and_all_peers(capsys):
    assert main(["bench", "--help"]) == 0
    assert "--peers" in capsys.readouterr().out
    arguments = bench._parser().parse_args(["--peers", "all"])
    bench._check(arguments)
    assert arguments.peers == list(bench.PEERS) and "numpy" in bench.PEERS


@pytest.mark.parametrize(
    "script, name", [("recurrent", "2x3x4x5x1/GRU"), ("stream", "1x1x4x5x1/GRU"), ("ptb", "2x3x9x4x1")]
)
def test_the_scripts(capsys, monkeypatch, script, name):
    monkeypatch.setattr(sys, "argv", [script, "--cases", name, *FAST])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")
    assert stop.value.code == 0 and name in capsys.readouterr().out


def test_all_scripts_at_once(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr("seqcore.cli.main", lambda words: seen.append(words) or 0)
    path = str(BENCHMARKS / "__main__.py")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--rounds", "1"])
    runpy.run_path(path, run_name="__main__")
    assert [words[:3] for words in seen] == [["bench", "--what", one] for one in ("recurrent", "stream", "ptb")]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json=x"])
    with pytest.raises(SystemExit, match="add --what"):
        runpy.run_path(path, run_name="__main__")
