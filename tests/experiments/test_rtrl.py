"""seqcore run rtrl: its gradients are those of backpropagation, its parts add up, its powers underflow and overflow."""

from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore.experiments import rtrl
from tests.helpers import runs
from tests.helpers.cases import central_difference

run = partial(runs.run, "rtrl")


def problem(rng, units, batch, steps):
    sc.set_seed(units)
    model = rtrl.Echo(units)
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape, scale=0.6))
    return model, rng.normal(size=(batch, steps, 1)), rng.normal(size=(batch, steps, 1))


@pytest.mark.parametrize("units, batch, steps", [(1, 1, 1), (2, 3, 5), (7, 2, 30), (16, 4, 9)])
def test_forward_and_backward_gradients_are_equal(rng, units, batch, steps):
    model, x, target = problem(rng, units, batch, steps)
    loss, backward = model.bptt(x, target)
    other, forward = model.rtrl(x, target)
    assert loss == pytest.approx(other, rel=1e-12)
    for a, b in zip(backward, forward, strict=True):
        assert np.abs(a - b).max() < 1e-10 and a.shape == b.shape
        assert steps == 1 or np.abs(a).max() > 1e-4


def test_the_gradient_is_that_of_the_loss(rng):
    model, x, target = problem(rng, 5, 3, 8)
    for variable, gradient in zip(model.variables, model.rtrl(x, target)[1], strict=True):
        for place in {tuple(n - 1 for n in variable.shape), (0,) * len(variable.shape)}:
            numeric = central_difference(lambda: model.bptt(x, target)[0], variable, place)
            assert gradient[place] == pytest.approx(numeric, abs=1e-8)


def test_a_cut_gradient_is_another_one(rng):
    """Cut after as many steps as there are it is the whole; cut to one it lacks what passes through the state."""
    model, x, target = problem(rng, 6, 2, 12)
    whole, cut, uncut = (model.bptt(x, target, reach) for reach in (None, 1, 12))
    assert cut[0] == pytest.approx(whole[0], rel=1e-12)
    for a, b in zip(whole[1], uncut[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert np.abs(whole[1][1] - cut[1][1]).max() > 1e-3
    for a, b in zip(whole[1][3:], cut[1][3:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_contributions_add_up(rng):
    """Of one unit and one sequence the parts of dh_T/du, all of them of one sign here, sum to the derivative."""
    model = rtrl.Echo(1)
    w, u, b = model.layer.trainable_variables
    w.assign([[0.5]]), u.assign([[0.8]]), b.assign([0.1])
    x = np.abs(rng.normal(size=(1, 9, 1)))
    parts = rtrl.contributions(model, x)
    whole = central_difference(lambda: model.layer(x).numpy()[0, -1, 0], u, (0, 0))
    assert parts[0] == 0 and (parts[1:] > 0).all() and parts.sum() == pytest.approx(whole, abs=1e-8)


def test_powers_of_the_book():
    """0.00001 and 1000 over 100 steps leave the range of float32, the first that of float64 too."""
    double, single = rtrl.power_table(np.float64), rtrl.power_table(np.float32)
    assert double[1e-5] == single[1e-5] == 0 and double[1000.0] == pytest.approx(1e300) and single[1000.0] == np.inf
    assert double[0.9] == pytest.approx(0.9**100) and double[1.0] == single[1.0] == 1


def test_training(tmp_path, capsys):
    """RTRL learns as BPTT does, to the last digits; cut to one step the gradient does not lead there."""
    pytest.importorskip("matplotlib")
    assert run("--updates", 200, "--out", tmp_path) == 0
    assert "RTRL" in capsys.readouterr().out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["largest_difference"] < 1e-10
    assert metrics["rtrl_final_loss"] == pytest.approx(metrics["bptt_final_loss"], rel=1e-3)
    assert metrics["rtrl_final_loss"] < 0.02 < 0.2 < metrics["truncated_final_loss"]
    assert metrics["bptt_numbers_kept"] == 16 * 12 and metrics["rtrl_numbers_kept"] == 12 * 14 * 12
    assert (tmp_path / "rtrl.png").read_bytes()[:8] == runs.PNG


def test_the_echo_comes_within_the_sequence(capsys):
    assert run("--delay", 16) == 2
    assert "--delay: expected less than the 16 time steps, got 16" in capsys.readouterr().err
