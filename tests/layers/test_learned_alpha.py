"""RNN-CF with a learned alpha: its gradient by finite differences, files, streams, training, refusals."""

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers
from tests.helpers.cases import central_difference

BATCH, STEPS, FEATURES = 3, 6, 4


def make(**options):
    options = {"return_sequences": True, "dtype": "float64", "learn_alpha": True, **options}
    layer = layers.ContextRNN(5, 3, 0.8, **options)
    layer.build((None, None, FEATURES))
    return layer


def mask(rng):
    rows = rng.integers(0, 2, (BATCH, STEPS)).astype(bool)
    rows[:, 2] = True
    return rows


CALLS = {
    "plain": lambda rng: {},
    "ragged": lambda rng: {"lengths": np.array([6, 0, 3])},
    "masked": lambda rng: {"mask": mask(rng)},
    "with a first state": lambda rng: {"initial_state": [rng.normal(size=(BATCH, n)) for n in (5, 3)]},
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_gradient_by_central_differences(rng, call, backwards):
    """dL/d(alpha_logit) for a loss of all outputs and of the last states."""
    layer, options = make(go_backwards=backwards, return_state=True), CALLS[call](rng)
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    weights = [rng.normal(size=shape) for shape in ((BATCH, STEPS, 8), (BATCH, 5), (BATCH, 3))]

    def loss():
        y, h, s = (sc.reduce_sum(out * w) for out, w in zip(layer(x, **options), weights, strict=True))
        return y + h + s

    with sc.GradientTape() as tape:
        total = loss()
    (gradient,) = tape.gradient(total, layer.alpha_logit).numpy()
    expected = central_difference(loss, layer.alpha_logit, (0,))
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(gradient, expected, rtol=1e-7)


def test_gradient_in_both_directions_and_float32(rng):
    """Each direction has an alpha of its own; float32 has the gradient of float64."""
    x, gradients = rng.normal(size=(BATCH, STEPS, FEATURES)), {}
    for dtype in ("float64", "float32"):
        sc.set_seed(5)
        layer = layers.Bidirectional(make(dtype=dtype), dtype=dtype)
        with sc.GradientTape() as tape:
            total = sc.reduce_sum(layer(x) ** 2)
        logits = [layer.forward_layer.alpha_logit, layer.backward_layer.alpha_logit]
        gradients[dtype] = np.concatenate([np.asarray(g) for g in tape.gradient(total, logits)])
    assert gradients["float32"].dtype == np.float32 and gradients["float64"][0] != gradients["float64"][1]
    np.testing.assert_allclose(gradients["float32"], gradients["float64"], rtol=1e-4)


def test_frozen_alpha_has_no_gradient(rng):
    layer = make()
    layer.alpha_logit.trainable = False
    with sc.GradientTape() as tape:
        total = sc.reduce_sum(layer(rng.normal(size=(BATCH, STEPS, FEATURES))) ** 2)
    kernel, logit = tape.gradient(total, [layer.context_kernel, layer.alpha_logit])
    assert kernel is not None and logit is None


def test_same_outputs_as_a_given_alpha(rng):
    learned, given = make(), make(learn_alpha=False)
    given.set_weights([weight.numpy() for weight in learned.weights if weight is not learned.alpha_logit])
    assert learned.current_alpha == pytest.approx(0.8, abs=1e-12) and given.current_alpha == 0.8
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    np.testing.assert_allclose(learned(x), given(x), atol=1e-12)


def test_training_finds_the_alpha_of_the_data():
    """A running mean with 0.7 is learned from 0.95; the context alone carries it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 30, 1)).astype(np.float32)
    y, s = np.zeros_like(x), np.zeros((64, 1), np.float32)
    for t in range(30):
        s = 0.3 * x[:, t] + 0.7 * s
        y[:, t] = s
    sc.set_seed(0)
    cell = layers.ContextRNN(1, 1, 0.95, return_sequences=True, learn_alpha=True, name="cf")
    model = sc.Sequential([layers.Input((None, 1)), cell, layers.Dense(1)])
    model.compile(sc.optimizers.Adam(0.02), "mse")
    model.fit(x, y, batch_size=64, epochs=600, verbose=0)
    assert cell.alpha == 0.95 and cell.current_alpha == pytest.approx(0.7, abs=0.02)


def test_file_and_stream_keep_the_learned_alpha(tmp_path, rng):
    sc.set_seed(1)
    model = sc.Sequential([layers.Input((None, FEATURES)), make(dtype="float32", name="cf"), layers.Dense(2)])
    model.layers[0].alpha_logit.assign([0.3])
    model.save(tmp_path / "model.safetensors")
    loaded = sc.load_model(tmp_path / "model.safetensors")
    assert loaded.layers[0].learn_alpha and loaded.layers[0].alpha == 0.8
    assert loaded.layers[0].current_alpha == pytest.approx(1 / (1 + np.exp(-0.3)))
    x = rng.normal(size=(1, STEPS, FEATURES)).astype(np.float32)
    expected, stream = np.asarray(model(x)), loaded.stream()
    np.testing.assert_allclose([stream.step(x[:, t])[0] for t in range(STEPS)], expected[0], atol=1e-6)


@pytest.mark.parametrize("alpha", [0, 1])
def test_nothing_to_learn_from(alpha):
    with pytest.raises(ValueError, match="alpha: expected a number between 0 and 1 to learn from"):
        layers.ContextRNN(3, 2, alpha, learn_alpha=True)
    assert layers.ContextRNN(3, 2, alpha).current_alpha == alpha
    with pytest.raises((TypeError, ValueError), match="learn_alpha"):
        layers.ContextRNN(3, 2, learn_alpha="yes")
