"""One battery for every layer, then what embeddings, dropout, pooling and the base class promise beyond it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seqcore import layers, models, ops, random
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import IndexedSlices, Tensor, Variable
from seqcore.layers import arguments, registry
from seqcore.saving.models import named_layers
from tests.helpers.cases import central_difference
from tests.helpers.layer_cases import BATCH, BATTERY, FEATURES, RNG, SEQUENCE, STEPS, data, output


@pytest.fixture(params=BATTERY)
def case(request: pytest.FixtureRequest) -> Any:
    random.set_seed(1)
    return request.param, *BATTERY[request.param]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_types_and_weights(case: Any, dtype: str) -> None:
    name, make, shape, expected, count = case
    layer = make(dtype=dtype)
    assert not layer.built and layer.dtype == dtype
    y = output(layer(data(shape, name)))
    assert y.shape == expected and y.dtype == dtype and np.isfinite(y.numpy()).all()
    assert layer.built and len(layer.weights) == len(layer.get_weights()) == count
    assert all(v.dtype == dtype for v in layer.weights)
    assert len({v.name for v in layer.weights}) == count
    assert layer.count_params() == sum(w.size for w in layer.get_weights()) if count else True
    assert tuple(layer.compute_output_shape(shape)) == expected
    assert tuple(layer.compute_output_shape((None, *shape[1:])))[1:] == expected[1:]


def test_clone_from_config_with_the_same_weights(case: Any) -> None:
    name, make, shape, _, _ = case
    layer, x = make(name="one"), data(shape, name)
    y = output(layer(x)).numpy()
    described = json.loads(json.dumps(registry.serialize(layer)))
    clone = registry.deserialize(described)
    assert type(clone) is type(layer) and clone.name == "one"
    assert json.loads(json.dumps(clone.get_config())) == described["config"]
    clone(x)
    clone.set_weights(layer.get_weights())
    np.testing.assert_array_equal(output(clone(x)).numpy(), y)
    if layer.weights:
        before = clone.get_weights()
        with pytest.raises(ValueError, match="weights: expected"):
            clone.set_weights([*before[:-1], np.zeros((1, 1, 1))])
        with pytest.raises(ValueError, match=f"weights: expected {len(before)} arrays"):
            clone.set_weights(before[1:])
        assert all((a == b).all() for a, b in zip(before, clone.get_weights(), strict=True))


def test_a_training_step_lowers_a_loss(case: Any) -> None:
    name, make, shape, expected, count = case
    layer, x = make(dtype="float64"), data(shape, name)
    target = np.abs(RNG.normal(size=expected)) / 10
    layer(x)
    if not count:
        pytest.skip("a layer without weights")

    def loss() -> Tensor:
        return ops.reduce_mean(ops.square(output(layer(x, training=False)) - target))

    with GradientTape() as tape:
        before = loss()
    grads = tape.gradient(before, layer.trainable_variables)
    assert all(g is not None for g in grads)
    for variable, gradient in zip(layer.trainable_variables, grads, strict=True):
        variable.assign_sub(0.05 * np.asarray(gradient))
    assert float(loss()) < float(before)


def test_gradients_against_central_differences(case: Any) -> None:
    name, make, shape, expected, _ = case
    layer = make(dtype="float64")
    x = Tensor(data(shape, name, "float64"))
    weights = np.cos(np.arange(np.prod(expected)) + 1.0).reshape(expected)
    training = "Dropout" not in name

    def total() -> Tensor:
        state = layer.get_layer_state()
        layer.reset_dropout_masks()
        y = output(layer(x, training=training))
        layer.set_layer_state(state)
        return ops.reduce_sum(y * weights)

    total()
    layer.set_weights([RNG.normal(size=w.shape) * 0.5 for w in layer.get_weights()])
    integer = name.startswith("Embedding")
    sources = [*layer.weights] if integer else [x, *layer.weights]
    with GradientTape() as tape:
        if not integer:
            tape.watch(x)
        y = total()
    grads = [np.asarray(g) for g in tape.gradient(y, sources)]
    for source, gradient in zip(sources, grads, strict=True):
        for at in RNG.permutation(source.size)[:12]:
            place = np.unravel_index(at, source.shape)
            assert gradient[place] == pytest.approx(central_difference(total, source, place), abs=2e-7, rel=1e-5)


def test_odd_batches_agree_with_single_samples(case: Any) -> None:
    name, make, shape, _, _ = case
    layer = make()
    x = data((7, *shape[1:]), name)
    together = output(layer(x)).numpy()
    for i in (0, 6):
        np.testing.assert_allclose(output(layer(x[i : i + 1])).numpy()[0], together[i], rtol=2e-5, atol=2e-6)


def test_an_empty_batch_is_refused(case: Any) -> None:
    name, make, shape, _, _ = case
    with pytest.raises(ValueError, match="inputs: expected at least one element"):
        make()(np.zeros((0, *shape[1:])))


def test_bad_inputs_are_refused(case: Any) -> None:
    name, make, shape, _, count = case
    layer = make()
    with pytest.raises(ValueError, match="functional API is not supported"):
        layer(layers.Input(shape[1:]))
    with pytest.raises((TypeError, ValueError), match="inputs|value|ids"):
        layer("text")
    with pytest.raises(ValueError, match="inputs: expected data"):
        layer(None)
    with pytest.raises((TypeError, ValueError), match="inputs|ids"):
        layer(np.zeros(shape, complex))
    with pytest.raises(ValueError, match="got an unknown argument 'unknown'"):
        make(unknown=1)
    with pytest.raises(ValueError, match="activity_regularizer: expected None"):
        make(activity_regularizer="l2")
    with pytest.raises(ValueError, match="dtype: expected"):
        make(dtype="float16")
    if not count or name.startswith("Embedding"):
        return
    if name != "TimeDistributed":
        with pytest.raises(ValueError, match="inputs: expected shape"):
            layer(np.zeros(3))
        assert not layer.weights
    layer(data(shape, name))
    with pytest.raises(ValueError, match=rf"inputs: expected shape .*{FEATURES}\)"):
        layer(np.zeros((*shape[:-1], FEATURES + 1)))


def test_freezing(case: Any) -> None:
    name, make, shape, _, count = case
    layer, x = make(trainable=False), data(shape, name)
    with GradientTape() as tape:
        y = ops.reduce_sum(output(layer(x)))
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == count
    assert all(g is None for g in tape.gradient(y, layer.weights))
    layer.trainable = True
    assert len(layer.trainable_weights) == count


# --- embeddings, dropout, dense --------------------------------------------------------------------------------------


def test_embedding_ids_and_masks() -> None:
    table = np.arange(8.0).reshape(4, 2)
    layer = layers.Embedding(4, 2, mask_zero=True, weights=[table])
    y = layer([[1, 0, 3]])
    np.testing.assert_array_equal(y, table[[[1, 0, 3]]])
    np.testing.assert_array_equal(y.mask, [[True, False, True]])
    np.testing.assert_array_equal(layer(np.array([[1.0, 0.0, 3.0]])), y)
    np.testing.assert_array_equal(layer(np.array([[1, 0, 3]], np.uint8)), y)
    for bad in ([[4]], [[-1]], [[np.nan]], [[0.5]], np.array([[2**40]])):
        with pytest.raises(ValueError, match=r"ids: expected whole numbers 0\.\.\.3, got"):
            layer(bad)
    with pytest.raises(ValueError, match="mask_zero, lengths"):
        layer([[1, 2]], lengths=[1])
    with pytest.raises(ValueError, match=r"weights: expected shape \(4, 2\)"):
        layers.Embedding(4, 2, weights=[np.zeros((4, 3))])
    plain = layers.Embedding(4, 2)
    out = layers.Dense(3)(plain([[1, 2]], lengths=[1]))
    assert out.lengths.tolist() == [1]
    masked = layers.Dropout(0.5)(layers.Dense(3)(layer([[1, 0]])), training=True)
    assert masked.mask.tolist() == [[True, False]]
    assert layers.Flatten()(layer([[1, 0]])).mask is None


def test_a_frozen_table_may_be_watched() -> None:
    layer = layers.Embedding(5, 3)
    layer([[1, 2]])
    layer.trainable = False
    with GradientTape() as tape:
        tape.watch(layer.embeddings)
        y = ops.reduce_sum(layer([[1, 2]]))
    gradient = np.asarray(tape.gradient(y, layer.embeddings))
    np.testing.assert_array_equal(gradient, np.isin(np.arange(5), [1, 2])[:, None] * np.ones(3))


def test_embedding_gradients_touch_only_used_rows() -> None:
    layer = layers.Embedding(6, 2, dtype="float64")
    ids = np.array([[5, 1], [1, 1]])
    weights = RNG.normal(size=(2, 2, 2))
    with GradientTape() as tape:
        total = ops.reduce_sum(layer(ids) * weights)
    grad = tape.gradient(total, layer.embeddings)
    assert isinstance(grad, IndexedSlices) and grad.indices.tolist() == [1, 5] and layer.embeddings.sparse
    dense = np.zeros((6, 2))
    np.add.at(dense, ids, weights)
    np.testing.assert_allclose(np.asarray(grad), dense)


def test_the_row_of_the_padding_stays_as_it_is(tmp_path: Any) -> None:
    layer = layers.Embedding(6, 2, padding_idx=1, name="table")
    model = models.Sequential([layer, layers.Dense(1)])
    ids = np.array([[5, 1], [1, 1]])
    assert not layer(ids).numpy()[1].any() and layer(ids).mask is None
    model.compile("sgd", "mse")
    for batch in (ids, np.ones((2, 2), int)):
        before = layer.embeddings.numpy()
        model.train_on_batch(batch, np.ones((2, 2, 1)))
        changed = (layer.embeddings.numpy() != before).any(axis=1)
        assert not changed[1] and changed[5] == (batch is ids)
    model.save(tmp_path / "model")
    again = models.load_model(tmp_path / "model").layers[0]
    assert again.padding_idx == 1 and "padding_idx" not in layers.Embedding(6, 2).get_config()
    for bad in (6, -1, 0.5):
        with pytest.raises(ValueError, match=r"padding_idx: expected an integer 0\.\.\.5"):
            layers.Embedding(6, 2, padding_idx=bad)


def test_dropout_keeps_the_mean_and_can_share_masks() -> None:
    random.set_seed(1)
    layer = layers.Dropout(0.25)
    x = Tensor(np.ones((200, 100), np.float32))
    with GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    values = y.numpy()
    np.testing.assert_allclose(np.unique(values), [0, 4 / 3], rtol=1e-6)
    assert (values == 0).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(tape.gradient(y, x), values)
    assert layer(x) is x
    shared = layers.Dropout(0.5, noise_shape=(None, 1, None))(np.ones((2, 3, 50)), training=True).numpy()
    assert (shared == shared[:, :1]).all() and (shared == 0).any()
    with pytest.raises(ValueError, match="noise_shape: expected"):
        layers.Dropout(0.5, noise_shape=(2, 7))(np.ones((2, 3)), training=True)


@pytest.mark.parametrize("name", ["elu", "gelu", "leaky_relu", "log_softmax", "silu", "softplus"])
def test_activations_after_the_product_of_dense(name: str) -> None:
    """As a layer of its own; in a stream neither runs."""
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    dense = layers.Dense(4, name)
    y = dense(x).numpy()
    plain = layers.Dense(4)
    plain.build((None, 3))
    plain.set_weights(dense.get_weights())
    np.testing.assert_array_equal(layers.Activation(name)(plain(x)).numpy(), y)
    for last in (layers.Dense(4, name), layers.Activation(name)):
        model = models.Sequential([layers.Input((None, 3)), layers.LSTM(2), last])
        with pytest.raises(ValueError, match="cannot be streamed"):
            model.stream()


def test_layer_normalization() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(2, 5, 3))
    layer = layers.LayerNormalization(epsilon=0.01, dtype="float64")
    layer(x)
    gamma, beta = np.array([1.0, -2.0, 0.5]), np.array([0.0, 3.0, 1.0])
    layer.set_weights([gamma, beta])
    expected = gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.01) + beta
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, ..., 3\)"):
        layer(x[..., :2])
    with pytest.raises(ValueError, match="axis: "):
        layers.LayerNormalization(1)


def test_dense_keeps_a_time_major_batch_where_it_is() -> None:
    layer = layers.Dense(2, "tanh")
    major = RNG.normal(size=(STEPS, BATCH, FEATURES)).astype(np.float32).transpose(1, 0, 2)
    y = layer(major).numpy()
    assert y.transpose(1, 0, 2).flags.c_contiguous
    np.testing.assert_array_equal(y, layer(np.ascontiguousarray(major)).numpy())


# --- the base class --------------------------------------------------------------------------------------------------


@layers.register("tests/Block")
class Block(layers.Layer):
    """A layer with layers inside, a weight of its own, and a call that takes training."""

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.parts = [layers.Dense(width), {"drop": layers.Dropout(0.5)}]
        self.scale = Variable(np.ones(1, np.float32), name="scale")
        self.seen: list[Any] = []

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        self.seen.append(training)
        return self.parts[1]["drop"](self.parts[0](inputs)) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@pytest.mark.parametrize("pool", ["Average", "Max", "Sum"])
def test_pooling_leaves_out_steps_that_do_not_count(pool: str) -> None:
    """Masks and lengths: the same as pooling each row cut to its valid steps; zeros for a row without any."""
    layer = getattr(layers, f"Global{pool}Pooling1D")()
    take = {"Average": np.mean, "Max": np.max, "Sum": np.sum}[pool]
    x = -1 - RNG.random((3, 5, 2))
    lengths = np.array([5, 2, 0])
    expected = np.array([take(row[:n], axis=0) if n else np.zeros(2) for row, n in zip(x, lengths)])
    mask = np.arange(5) < lengths[:, None]
    for given in ({"lengths": lengths}, {"mask": mask}):
        np.testing.assert_allclose(layer(x, **given), expected, rtol=1e-6)
    variable = Variable(x)
    with GradientTape() as tape:
        y = ops.reduce_sum(layer(ops.multiply(variable, 1.0), lengths=lengths))
    gradient = np.asarray(tape.gradient(y, variable))
    per_step = {"Average": [1, 1, 0], "Max": [1, 1, 0], "Sum": [5, 2, 0]}[pool]
    np.testing.assert_allclose(gradient.sum(axis=1), np.array(per_step)[:, None].repeat(2, 1), rtol=1e-6)
    assert not gradient[~mask].any()


def test_pooling_ends_the_time_axis() -> None:
    """The next layer gets neither mask nor lengths, and a wrong shape is named."""
    y = layers.GlobalMaxPooling1D()(np.ones((2, 3, 4)), lengths=[1, 2])
    assert y.lengths is None and y.mask is None and layers.Dense(1)(y).shape == (2, 1)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, time, features\)"):
        layers.GlobalMaxPooling1D()(np.ones((2, 3)))


def test_layers_inside_layers() -> None:
    block = Block(8, name="block")
    x = np.ones((2, 3))
    block(x)
    assert [path for path, _ in named_layers(block)] == ["", "parts.0", "parts.1.drop"]
    assert len(block.weights) == 3 and len(block.trainable_variables) == 3
    y = block(x, training=True).numpy()
    assert (y == 0).any()
    assert block.seen == [False, True]
    outer = Block(2)
    outer.parts[0] = block
    outer(x, True)
    assert block.seen[-1] is True
    block.trainable = False
    assert block.trainable_variables == []
    block.trainable = True
    assert len(block.trainable_variables) == 3
    clone = registry.deserialize(registry.serialize(block))
    assert isinstance(clone, Block) and clone.width == 8
    state = block.get_layer_state()
    first = block(x, training=True).numpy()
    block.set_layer_state(state)
    np.testing.assert_array_equal(block(x, training=True), first)
    with pytest.raises(ValueError, match="state: expected the state of layer 'block'"):
        block.set_layer_state({"own": {}, "inside": []})


def test_registry_and_names() -> None:
    with pytest.raises(ValueError, match="class_name: expected a registered layer, got 'Nothing'"):
        registry.get_class("Nothing")

    class Unknown(layers.Layer):
        pass

    with pytest.raises(ValueError, match="is not registered"):
        registry.serialize(Unknown())
    with pytest.raises(TypeError, match="register: expected a subclass of Layer"):
        layers.register()(int)
    with pytest.raises(TypeError, match="a layer must define call"):
        Unknown()([1.0])
    arguments.reset_names()
    made = (layers.LSTM(1), layers.LSTM(1), layers.SimpleRNN(1), layers.ReLU(), layers.Conv1D(1, 1))
    assert [layer.name for layer in made] == ["lstm", "lstm_1", "simple_rnn", "re_lu", "conv1d"]


def test_a_failing_build_leaves_no_weights() -> None:
    layer = layers.Dense(3, bias_initializer=lambda shape, dtype: np.zeros(7))
    with pytest.raises(ValueError, match="initializer: expected values of shape"):
        layer(np.ones((1, 2)))
    assert not layer.built and layer.weights == []


def test_input_shapes_given_beforehand() -> None:
    assert layers.Input((5,), batch_size=2).batch_shape == (2, 5)
    assert layers.Dense(2, input_dim=3).get_config()["batch_input_shape"] == [None, 3]
    assert layers.LSTM(2, input_shape=(None, 3)).get_config()["batch_input_shape"] == [None, None, 3]
    assert layers.Embedding(3, 2, input_length=7).get_config()["batch_input_shape"] == [None, 7]
    clone = registry.deserialize(registry.serialize(layers.LSTM(2, input_shape=(4, 3))))
    assert clone.get_config()["batch_input_shape"] == [None, 4, 3]


# --- Softmax, ReLU, weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 1, 0, (0, 1), None], ids=str)
def test_softmax_among_what_a_mask_leaves(axis: Any) -> None:
    x, mask = RNG.normal(size=(4, 5)), RNG.random((4, 5)) < 0.6
    mask[1] = mask[:, 2] = False
    y = layers.Softmax(axis, dtype="float64")(x, mask=mask).numpy()
    e = np.where(mask, np.exp(x), 0)
    total = e.sum(axis, keepdims=True)
    np.testing.assert_allclose(y, np.divide(e, total, out=np.zeros_like(e), where=total > 0), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (2, 1, 4), (4,), (3, 4), (1, 1, 1)], ids=str)
def test_softmax_takes_masks_that_broadcast(shape: tuple[int, ...]) -> None:
    x, mask = RNG.normal(size=(2, 3, 4)), RNG.random(shape) < 0.7
    mask.flat[0] = True
    layer = layers.Softmax(dtype="float64")
    whole = layer(x, mask=np.broadcast_to(mask, x.shape))
    for given in (mask, mask.astype(float), Tensor(mask)):
        np.testing.assert_array_equal(layer(x, mask=given), whole)
    assert layer(x, mask=mask).mask is None
    for wrong in (mask[..., :0], np.ones((5, 4)), np.ones((1, 2, 3, 4)), np.array([["a"] * 4] * 3)):
        with pytest.raises(ValueError, match=r"\Amask: expected booleans that broadcast to \(2, 3, 4\), got [^\n]+\Z"):
            layer(x, mask=wrong)


def test_softmax_with_masks_of_steps() -> None:
    x, steps = RNG.normal(size=(2, 3, 4)), np.array([[True, True, False], [True, False, False]])
    layer = layers.Softmax(dtype="float64")
    y = layer(x, mask=steps)
    np.testing.assert_array_equal(y, layer(x))
    np.testing.assert_array_equal(y.mask, steps)
    np.testing.assert_array_equal(layer(x, lengths=[2, 1]).lengths, [2, 1])
    # Scores of steps: one a step, so the mask says which steps take part.
    scores = layer(x[..., 0], mask=steps)
    np.testing.assert_allclose(scores.numpy().sum(1), 1)
    assert (scores.numpy()[~steps] == 0).all()
    np.testing.assert_array_equal(layer(x[..., 0], lengths=[2, 1]), scores)
    clone = registry.deserialize(json.loads(json.dumps(registry.serialize(layers.Softmax((1, 2))))))
    np.testing.assert_allclose(clone(x).numpy().sum((1, 2)), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="axis: expected an integer, got 1.5"):
        layers.Softmax(1.5)


# Where Keras's ReLU changes its slope: (max_value, negative_slope, threshold), x, y, dy/dx (Keras 3.15, PyTorch).
RELU = [
    ((8, 0, 5), [6, 7, 0, 5, 10, 8], [6, 7, 0, 0, 8, 8], [1, 1, 0, 0, 0, 1]),
    ((None, 0, 5), [4, 5, 6], [0, 0, 6], [0, 0, 1]),
    ((None, 0.5, 5), [4, 5, 6], [-0.5, 0, 6], [0.5, 0, 1]),
    ((None, 0.5, 0), [-2, 0, 2], [-1, 0, 2], [0.5, 0.5, 1]),
    ((8, 0.5, 0), [-2, 0, 8, 9], [-1, 0, 8, 8], [0.5, 0, 1, 0]),
    ((6, 0, 0), [-2, 0, 5, 6, 7], [0, 0, 5, 6, 6], [0, 0, 1, 0, 0]),
    ((6, 0, 1), [1, 6, 7], [0, 6, 6], [0, 1, 0]),
    ((0, 0, 0), [-1, 0, 1], [0, 0, 0], [0, 0, 0]),
    ((None, 0, 0), [-np.inf, -1, 0, np.inf], [0, 0, 0, np.inf], [0, 0, 0, 1]),
    ((8, 0, 5), [-np.inf, np.inf], [0, 8], [0, 0]),
]


@pytest.mark.parametrize(("options", "x", "y", "slopes"), RELU, ids=str)
def test_relu_at_its_borders(options: Any, x: Any, y: Any, slopes: Any) -> None:
    source = Variable([x], dtype="float64")
    with GradientTape() as tape:
        result = layers.ReLU(*options, dtype="float64")(source)
    np.testing.assert_array_equal(result, [y])
    assert not np.signbit(result.numpy()[0][np.array(y) == 0]).any()
    np.testing.assert_array_equal(tape.gradient(result, source), [slopes])


@pytest.mark.parametrize("options", [(None, 0.0, 0.0), (8.0, 0.1, 5.0), (8.0, 0.0, 5.0)], ids=str)
def test_relu_keeps_nan(options: Any) -> None:
    assert np.isnan(layers.ReLU(*options)([[np.nan]]).numpy()).all()


def test_weights_without_an_initializer() -> None:
    random.set_seed(0)
    layer = layers.Layer()
    for dtype in ("int32", "int64", "uint8", "bool"):
        for shape in ((4, 4), (3,), ()):
            weight = layer.add_weight(shape, dtype=dtype, trainable=False)
            assert weight.dtype == dtype and weight.shape == shape and not weight.numpy().any()
    # As in Keras floats are drawn whatever their shape.
    for shape in ((4, 4), (30,)):
        values = layer.add_weight(shape, dtype="float64").numpy()
        assert values.dtype == np.float64 and len(np.unique(values)) == values.size
    assert layer.add_weight(3, "ones").shape == (3,)
    for wrong in ((2, 1.5), (0,), (-1, 2), (None, 2), "ab", (True,)):
        with pytest.raises(ValueError, match=r"\Ashape: expected positive sizes, got"):
            layer.add_weight(wrong)
    # Numbers that an integer weight cannot hold are refused instead of cut off to zeros.
    assert (layer.add_weight((2,), "ones", dtype="int32", trainable=False).numpy() == 1).all()
    count = len(layer.weights)
    for dtype in ("int32", "bool"):
        with pytest.raises(ValueError, match=r"\Ainitializer: expected whole numbers"):
            layer.add_weight((4, 4), "glorot_uniform", dtype=dtype, trainable=False)
    assert len(layer.weights) == count


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.LSTM(3), (BATCH, STEPS)),
        (lambda: layers.GlobalAveragePooling1D(), (BATCH, STEPS)),
        (lambda: layers.Softmax(), SEQUENCE),
        (lambda: layers.TimeDistributed(layers.Softmax()), SEQUENCE),
    ],
)
def test_masks_of_numbers_have_one_rule(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    """Numbers count as valid unless they are zero; NaN is refused."""
    random.set_seed(1)
    layer, x = make(), data(SEQUENCE, "")
    mask = RNG.integers(0, 2, shape).astype(bool)
    mask[:, 0] = True
    expected = layer(x, mask=mask).numpy()
    for numbers in (mask.astype(int), mask * 0.25, mask * -2.0):
        np.testing.assert_array_equal(layer(x, mask=numbers).numpy(), expected)
    with pytest.raises(ValueError, match=r"\Amask: expected booleans, got NaN"):
        layer(x, mask=np.where(mask, 1.0, np.nan))
