"""seqcore run gradients: powers against eigenvalues, dL/dh_t against both, clippings, the loss that explodes."""

import json

import numpy as np
import pytest

from seqcore import cli, get_num_threads, set_num_threads
from seqcore.experiments import gradients as experiment


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small only wait for a second thread."""
    before = get_num_threads()
    set_num_threads(1)
    yield
    set_num_threads(before)


def test_powers_are_those_of_the_eigenvalues():
    """The book's matrices: the norm of W^n is 2^n and 0.8^n."""
    n = np.arange(1, experiment.POWERS + 1)
    for largest, matrix in experiment.MATRICES.items():
        np.testing.assert_allclose(np.linalg.eigvalsh(matrix), [0, largest], atol=1e-12)
        np.testing.assert_allclose(experiment.power_norms(matrix), largest**n, rtol=1e-12)
        np.testing.assert_allclose(experiment.power_norms_by_eigenvalues(matrix), largest**n, rtol=1e-12)
    other = np.array([[2.0, 1.0], [1.0, -1.0]])
    np.testing.assert_allclose(experiment.power_norms(other), experiment.power_norms_by_eigenvalues(other), rtol=1e-12)


def test_gradients_of_a_linear_layer_follow_its_matrix():
    """Of a linear SimpleRNN dL/dh_t is W^(T-t) times dL/dh_T."""
    for largest, matrix in experiment.MATRICES.items():
        norms = experiment.linear_gradient_norms(matrix, 8)
        np.testing.assert_allclose(norms / norms[-1], largest ** np.arange(7.0, -1, -1), rtol=1e-9)


def test_clippings():
    """Limits hold, and only the global norm keeps the direction of several gradients."""
    value, norm, each_value, each_norm, together = experiment.clipping_table(3)
    assert 0.8 <= value["norm_after"] <= 1.2  # four numbers from 0.4 to 0.6
    assert (norm["norm_before"], norm["norm_after"]) == pytest.approx((5.380655, 5))
    assert (together["norm_before"], together["norm_after"]) == pytest.approx((4.1547523, 2))
    assert norm["cosine"] == pytest.approx(1) and together["cosine"] == pytest.approx(1)
    assert max(value["cosine"], each_value["cosine"], each_norm["cosine"]) < 0.999
    assert each_norm["norm_after"] == pytest.approx(2**0.5)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_loss_explodes_without_clipping(seed):
    """Plain SGD ends in a loss that is no number."""
    costs, norms = experiment.train_to_sum("none", 1.0, 400, seed)
    assert len(costs) < 400 and not np.isfinite(costs[-1]) and norms[np.isfinite(norms)].max() > 100


@pytest.mark.parametrize(("clipping", "seed"), [("global norm", 0), ("norm", 1), ("global norm", 3)])
def test_clipped_it_learns(clipping, seed):
    """With the seeds that explode."""
    costs, _ = experiment.train_to_sum(clipping, 1.0, 400, seed)
    assert len(costs) == 400 and np.isfinite(costs).all()
    assert costs[-40:].mean() < 0.8 < costs[:10].mean()


def test_the_cliff():
    """One step without clipping goes out of sight; clipped steps are held to limit times rate, and arrive."""
    free = experiment.descend_cliff((5.5, -2.6), None, 0.5, 60)
    held = experiment.descend_cliff((5.5, -2.6), 0.3, 0.5, 120)
    steps = np.linalg.norm(np.diff(held, axis=0), axis=1)
    assert np.abs(free[-1]).max() > 100 and experiment.cliff_loss(*free[-1]) > 0.05
    assert steps.max() <= 0.15 + 1e-9 and experiment.cliff_loss(*held[-1]) < 0.01
    # The surface is that of the layer: its gradient at the start is the first step.
    w, b, e = 5.5, -2.6, 1e-6
    slope = np.array(
        [
            experiment.cliff_loss(w + e, b) - experiment.cliff_loss(w - e, b),
            experiment.cliff_loss(w, b + e) - experiment.cliff_loss(w, b - e),
        ]
    ) / (2 * e)
    np.testing.assert_allclose((free[0] - free[1]) / 0.5, slope, rtol=1e-5)


def run(folder, *options):
    assert cli.main(["run", "gradients", "--threads", "1", "--out", str(folder), *options]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.slow
def test_experiment(tmp_path, capsys):
    """Untrained gates shut the gradient out, trained ones let it through; pictures and figures are written."""
    result = run(tmp_path / "a", "--seed", "1")
    metrics = result["metrics"]
    assert metrics["power_norm_2"] == 2048 and metrics["power_norm_0_8"] == pytest.approx(0.8**11)
    assert metrics["linear_gradient_ratio_2"] == pytest.approx(1024)
    for cell in ("lstm", "gru"):
        assert metrics[f"{cell}_test_accuracy"] >= 0.99
        assert metrics[f"{cell}_trained_ratio"] > 30 * metrics[f"{cell}_untrained_ratio"]
    assert metrics["gru_untrained_ratio"] < 1e-6 and metrics["gru_trained_ratio"] > 0.3
    assert metrics["rnn_test_accuracy"] < 0.9
    assert metrics["no_clipping_final_loss"] is None and metrics["global_norm_clipping_final_loss"] < 0.8
    for name in ("powers", "norms", "clipping", "cliff"):
        assert (tmp_path / "a" / f"{name}.png").stat().st_size > 5000
    printed = capsys.readouterr().out
    assert "data: generated" in printed and "no clipping" in printed


def test_same_seed_same_figures(tmp_path, monkeypatch):
    """Small settings, twice."""
    monkeypatch.setattr(experiment.Run, "plot", lambda *_, **__: None)
    monkeypatch.setitem(experiment.SETTINGS, "quick", experiment.Settings(6, 1, 20))
    small = ("--steps", "6", "--units", "4", "--epochs", "1")
    first, again, other = (
        run(tmp_path / n, *small, "--seed", seed) for n, seed in (("a", "3"), ("b", "3"), ("c", "4"))
    )
    for result in (first, again, other):
        result["metrics"]["seconds"] = result["seconds"] = 0
    assert first["metrics"] == again["metrics"] and first["history"] == again["history"]
    assert first["metrics"] != other["metrics"] and first["steps"] == 6 and first["units"] == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--clip", "0"], "--clip: expected a number > 0, got 0.0"),
        (["--clip", "nan"], "--clip: expected a number > 0, got nan"),
        (["--steps", "1"], "--steps: expected an integer >= 2, got 1"),
        (["--units", "0"], "--units: expected an integer >= 1, got 0"),
        (["--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["--data", "download"], "--data: expected builtin"),
    ],
)
def test_bad_options(tmp_path, capsys, options, expected):
    assert cli.main(["run", "gradients", "--out", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and not (tmp_path / "out").exists()
