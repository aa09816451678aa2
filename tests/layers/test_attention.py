"""Additive attention, which has two inputs: formula, gradients, masks and lengths, and what every layer promises."""

import json

import numpy as np
import pytest

from seqcore import layers, models, ops, random
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor
from seqcore.layers import registry
from tests.helpers import reference
from tests.helpers.cases import central_difference

BATCH, ASKED, READ, FEATURES, WIDTH = 3, 4, 5, 6, 2
LENGTHS = np.array([5, 2, 1], np.int32)


@pytest.fixture
def parts(rng):
    """Query, value, key as tensors of float64."""
    shapes = (BATCH, ASKED, FEATURES), (BATCH, READ, WIDTH), (BATCH, READ, FEATURES)
    return [Tensor(rng.normal(size=shape)) for shape in shapes]


def make(**options):
    random.set_seed(1)
    return layers.AdditiveAttention(dtype="float64", **options)


def wanted(parts, scale, allowed=None):
    return reference.additive_attention(*[part.numpy() for part in parts], scale, allowed)


def check(outputs, expected):
    for part, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(part.numpy(), other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("use_scale", [True, False])
def test_formula(parts, use_scale):
    layer = make(use_scale=use_scale)
    y, weights = layer(parts, return_attention_scores=True)
    assert y.shape == layer.compute_output_shape([part.shape for part in parts]) == (BATCH, ASKED, WIDTH)
    assert [part.shape for part in layer.weights] == [(FEATURES,)] * use_scale
    check((y, weights), wanted(parts, layer.scale.numpy() if use_scale else np.ones(FEATURES)))
    np.testing.assert_array_equal(layer(parts).numpy(), y.numpy())
    single = layers.AdditiveAttention(use_scale)
    single([part.numpy().astype(np.float32) for part in parts])
    single.set_weights(layer.get_weights())
    got = single([part.numpy() for part in parts])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.numpy(), y.numpy(), atol=1e-5)


def test_the_value_is_its_own_key(parts):
    layer, (query, _, key) = make(), parts
    y = layer([query, key])
    check([y, layer([query, key, key])], [wanted([query, key, key], layer.scale.numpy())[0]] * 2)


@pytest.mark.parametrize("way", ["lengths", "mask", "by hand"])
def test_padding_is_not_seen(parts, way):
    """Weights, outputs and gradients are those of the sequences cut to their lengths."""
    layer, (query, value, key) = make(), parts
    layer(parts)
    valid = np.arange(READ) < LENGTHS[:, None]
    given = {}
    if way == "lengths":
        value.lengths = LENGTHS
    elif way == "mask":
        value.mask = valid
    else:
        given["mask"] = [None, valid]
    for part in (value, key):
        part.numpy()[~valid] = 1e6
    with GradientTape() as tape:
        for part in parts:
            tape.watch(part)
        y, weights = layer(parts, return_attention_scores=True, **given)
        total = ops.reduce_sum(ops.square(y))
    gradients = [np.asarray(part) for part in tape.gradient(total, [*parts, layer.scale])]
    allowed = np.broadcast_to(valid[:, None], weights.shape)
    check((y, weights), wanted(parts, layer.scale.numpy(), allowed))
    assert (weights.numpy()[~allowed] == 0).all() and y.lengths is None and y.mask is None
    assert all((gradients[i][~valid] == 0).all() for i in (1, 2))
    scale = np.zeros(FEATURES)
    for row, length in enumerate(LENGTHS):
        cut = [Tensor(query.numpy()[[row]]), *[Tensor(part.numpy()[[row], :length]) for part in (value, key)]]
        with GradientTape() as tape:
            for part in cut:
                tape.watch(part)
            total = ops.reduce_sum(ops.square(layer(cut)))
        apart = [np.asarray(part) for part in tape.gradient(total, [*cut, layer.scale])]
        for part, other in zip(gradients, apart[:3]):
            np.testing.assert_allclose(part[row, : other.shape[1]], other[0], rtol=1e-10, atol=1e-14)
        scale += apart[3]
    np.testing.assert_allclose(gradients[3], scale, rtol=1e-10)


def test_a_row_that_sees_nothing_is_zero(parts):
    parts[1].lengths = np.array([5, 0, 1], np.int32)
    y, weights = make()(parts, return_attention_scores=True)
    assert (y.numpy()[1] == 0).all() and (weights.numpy()[1] == 0).all() and (y.numpy()[[0, 2]] != 0).all()


def test_masked_steps_of_the_query_are_zero_and_go_on(parts):
    layer, asked = make(), np.array([4, 0, 3], np.int32)
    plain = layer(parts).numpy()
    parts[0].lengths = asked
    y = layer(parts)
    valid = np.arange(ASKED) < asked[:, None]
    assert (y.numpy()[~valid] == 0).all() and (y.numpy()[valid] == plain[valid]).all()
    assert y.lengths is asked and y.mask is None
    parts[0].lengths = None
    y = layer(parts, mask=[valid, None])
    assert (y.numpy()[~valid] == 0).all() and (y.mask == valid).all()


def test_causal(parts):
    layer = make()
    y, weights = layer(parts, return_attention_scores=True, use_causal_mask=True)
    seen = np.broadcast_to(np.arange(READ) <= np.arange(ASKED)[:, None], weights.shape)
    check((y, weights), wanted(parts, layer.scale.numpy(), seen))
    parts[1].lengths = LENGTHS
    weights = layer(parts, return_attention_scores=True, use_causal_mask=True)[1]
    both = seen & (np.arange(READ) < LENGTHS[:, None, None])
    check([weights], [wanted(parts, layer.scale.numpy(), both)[1]])


@pytest.mark.parametrize("options", [{}, {"use_scale": False}, {"dropout": 0.4, "seed": 3}])
def test_gradients_against_central_differences(parts, options, rng):
    """Every element of query, value, key and scale, through outputs and weights, with padding."""
    layer, dy, dweights = make(**options), rng.normal(size=(BATCH, ASKED, WIDTH)), rng.normal(size=(BATCH, ASKED, READ))
    layer(parts)
    parts[1].lengths = LENGTHS

    def total():
        state = layer.get_layer_state()
        y, weights = layer(parts, return_attention_scores=True, training=True)
        layer.set_layer_state(state)
        return ops.reduce_sum(y * dy) + ops.reduce_sum(weights * dweights)

    sources = [*parts, *layer.weights]
    with GradientTape() as tape:
        for part in parts:
            tape.watch(part)
        y = total()
    for source, gradient in zip(sources, tape.gradient(y, sources), strict=True):
        for place in np.ndindex(source.shape):
            wanted = central_difference(total, source, place)
            assert float(gradient[place]) == pytest.approx(wanted, abs=1e-8, rel=1e-6)


def test_dropout_is_for_training_and_keeps_the_mean():
    layer = layers.AdditiveAttention(dropout=0.25, seed=1)
    query, value = np.zeros((400, 1, 2), np.float32), np.ones((400, 8, 2), np.float32)
    assert np.allclose(layer([query, value]).numpy(), 1)
    first, second = (layer([query, value], training=True).numpy() for _ in range(2))
    assert (first != second).any() and first.std() > 0.1 and first.mean() == pytest.approx(1, abs=0.03)


def test_config_and_files(parts, tmp_path):
    layer = make(use_scale=True, dropout=0.2, seed=4, name="looks")
    described = json.loads(json.dumps(registry.serialize(layer)))
    twin = registry.deserialize(described)
    assert twin.get_config() == layer.get_config() and twin.name == "looks" and twin.seed == 4
    y = layer(parts).numpy()
    twin(parts)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(parts).numpy(), y)

    @models.register("test/Reader")
    class Reader(models.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.looks = layers.AdditiveAttention(dtype="float64")

        def call(self, inputs):
            return self.looks(inputs)

    model = Reader()
    y = model(parts).numpy()
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(models.load_model(tmp_path / "model.safetensors")(parts).numpy(), y)


def test_a_training_step_lowers_a_loss_and_freezing_stops_it(parts):
    layer = make()

    def loss():
        return ops.reduce_mean(ops.square(layer(parts) - 0.1))

    loss()
    with GradientTape() as tape:
        before = loss()
    layer.scale.assign_sub(0.5 * tape.gradient(before, [layer.scale])[0])
    assert float(loss()) < float(before)
    layer.trainable = False
    with GradientTape() as tape:
        before = loss()
    assert tape.gradient(before, [layer.scale]) == [None]


def test_rows_do_not_meet(parts):
    layer = make()
    together = layer(parts).numpy()
    for row in range(BATCH):
        alone = layer([Tensor(part.numpy()[[row]]) for part in parts]).numpy()
        np.testing.assert_array_equal(alone[0], together[row])


def test_wrong_input_is_refused(parts):
    query, value, key = (part.numpy() for part in parts)
    pair = r"inputs: expected \[query, value\] or \[query, value, key\]"
    for wrong in (query, [query], [query, value, key, key], [query[0], value, key], [query, value[..., 0], key]):
        layer = make()
        with pytest.raises(ValueError, match=pair):
            layer(wrong)
        assert not layer.weights
    layer = make()
    layer(parts)
    fit = r"inputs: expected query \(3, Tq, 6\), value \(3, Tv, E\) and key \(3, Tv, 6\)"
    for wrong in ([query, value], [query, value, key[:, 1:]], [query[..., 1:], value, key[..., 1:]], [query, key[1:]]):
        with pytest.raises(ValueError, match=fit):
            layer(wrong)
    with pytest.raises(ValueError, match="inputs: expected at least one element"):
        layer([query[:, :0], value, key])
    with pytest.raises(ValueError, match=r"mask: expected a list \[query_mask, value_mask\]"):
        layer(parts, mask=np.ones((BATCH, READ), bool))
    with pytest.raises(ValueError, match=r"mask: expected booleans of shape \(3, 5\)"):
        layer(parts, mask=[None, np.ones((BATCH, ASKED), bool)])
    with pytest.raises(ValueError, match="dropout: expected"):
        make(dropout=1.0)
    with pytest.raises(ValueError, match="got an unknown argument 'units'"):
        make(units=3)
