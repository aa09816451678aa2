"""seqcore run order: which networks are blind to the order of words, and which are not; the layer per position."""

import json
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.experiments import order
from tests.helpers import runs
from tests.helpers.cases import central_difference

run = partial(runs.run, "order")
BLIND = {"sum of the words", "one shared dense layer"}


@pytest.mark.parametrize("name", order.NETWORKS)
def test_blind_networks_give_the_same_answer_to_shuffled_words(name):
    """For any weights; the last word and the padding in front count where they should."""
    sc.set_seed(2)
    rng = np.random.default_rng(0)
    model = order.build_model(name, 40, 9)
    rows = np.where(np.arange(9) < rng.integers(0, 4, (30, 1)), 0, rng.integers(1, 40, (30, 9)))
    rows[:, -2:] = [5, 6]
    p, shuffled = (np.asarray(model(x)) for x in (rows, order.shuffle_words(rows, rng)))
    assert (np.abs(p - shuffled).max() < 1e-6) == (name in BLIND)
    others = np.concatenate([order.shuffle_words(rows[:, :-1], rng), rows[:, -1:]], axis=1)
    assert (np.abs(p - np.asarray(model(others))).max() < 1e-6) == (name in BLIND | {"last word alone"})


def test_shuffling_keeps_words_and_padding(rng):
    rows = np.where(np.arange(30) < 7, 0, rng.integers(1, 99, (20, 30)))
    shuffled = order.shuffle_words(rows, rng)
    assert (shuffled != rows).any() and ((shuffled == 0) == (rows == 0)).all()
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(rows))


def test_each_position_has_its_own_dense_layer(rng):
    layer = order.DensePerPosition(3, dtype="float64")
    x = sc.Tensor(rng.normal(size=(2, 4, 5)))
    weights = _draw(layer, x, rng)
    expected = [np.maximum(x.numpy()[:, t] @ weights[0][t] + weights[1][t], 0) for t in range(4)]
    np.testing.assert_allclose(layer(x).numpy(), np.stack(expected, axis=1), atol=1e-12)
    with sc.GradientTape() as tape:
        total = sc.reduce_sum(layer(x) ** 2)
    kernel = tape.gradient(total, layer.kernel).numpy()
    for place in ((0, 0, 0), (1, 2, 2), (3, 4, 1)):
        numeric = central_difference(lambda: sc.reduce_sum(layer(x) ** 2), layer.kernel, place)
        assert kernel[place] == pytest.approx(numeric, abs=1e-6)
    first, second = order.DensePerPosition(3), order.DensePerPosition(3)
    for other, steps in ((first, 4), (second, 40)):
        other.build((None, steps, 5))
    # Glorot's limit is that of one dense layer, whatever the number of positions.
    limit = np.sqrt(6 / 8)
    assert all(0.8 * limit < np.abs(other.kernel.numpy()).max() <= limit for other in (first, second))


def _draw(layer, x, rng):
    layer(x)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])
    return layer.get_weights()


def test_only_a_state_or_positions_find_the_label(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert run("--epochs", 8, "--out", tmp_path) == 0
    assert "one shared dense layer" in capsys.readouterr().out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["simplernn_test_accuracy"] > 0.9 > 0.6 > metrics["simplernn_shuffled_accuracy"]
    for name in BLIND:
        key = name.replace(" ", "_")
        assert metrics[f"{key}_largest_change"] < 1e-5 and 0.4 < metrics[f"{key}_test_accuracy"] < 0.6
        assert metrics[f"{key}_test_accuracy"] == metrics[f"{key}_shuffled_accuracy"]
    assert metrics["a_dense_layer_per_position_parameters"] > 6 * metrics["simplernn_parameters"]
    assert (tmp_path / "order.png").read_bytes()[:8] == runs.PNG
    for text, label in (
        ("the acting was great although the plot was terrible", "positive"),
        ("the acting was terrible although the plot was great", "negative"),
    ):
        assert cli.main(["predict", str(tmp_path), "--text", text, "--json"]) == 0
        assert label in json.dumps(json.loads(capsys.readouterr().out))


def test_other_data_is_refused(capsys):
    assert run("--data", "somewhere") == 2
    assert "makes its own data" in capsys.readouterr().err
