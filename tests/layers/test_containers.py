"""Layers that hold layers: built from shapes alone, saved, loaded, their masks, lengths, states and modes passed on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers, ops
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor, Variable
from seqcore.layers import registry

RNG = np.random.default_rng(8)
B, T, D = 3, 4, 5


class _Saved(layers.Layer):
    """A layer whose constructor takes a width."""

    def __init__(self, width: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@layers.register("tests/AsAttribute")
class AsAttribute(_Saved):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(self.width)

    def call(self, inputs: Tensor) -> Tensor:
        return self.dense(inputs)


@layers.register("tests/InLists")
class InLists(_Saved):
    """Lists, dicts and classes of them, and a weight of its own made by ``build``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = [layers.Dense(3), (layers.Dropout(0.5), {"out": layers.Dense(self.width)})]
        self.named = OrderedDict(first=layers.Dense(D))

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.scale = self.add_weight((self.width,), "ones", name="scale")

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        x = self.stack[0](self.named["first"](inputs))
        return self.stack[1][1]["out"](self.stack[1][0](x, training=training)) * self.scale


@layers.register("tests/ShapeSaid")
class ShapeSaid(AsAttribute):
    """It says its output's shape, so nothing but building asks for a call."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.width)


@layers.register("tests/Loop")
class Loop(_Saved):
    """A cell stepped by hand."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = layers.GRUCell(self.width)

    def call(self, inputs: Tensor) -> Tensor:
        states: Any = None
        steps = []
        for x in ops.unstack(inputs, axis=1):
            y, states = self.cell(x, states)
            steps.append(y)
        return ops.stack(steps, axis=1)


@layers.register("tests/Deep")
class Deep(_Saved):
    """Three rooms deep."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = layers.TimeDistributed(sc.Sequential([InLists(), AsAttribute(width=self.width)]))

    def call(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)


@layers.register("tests/Pair")
class Pair(_Saved):
    """Attention of a sequence to itself."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = layers.AdditiveAttention()
        self.query = layers.Dense(D)

    def call(self, inputs: Tensor) -> Tensor:
        return self.attention([self.query(inputs), inputs])


@sc.models.register("tests/OwnModel")
class OwnModel(sc.Model):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.rnn = layers.Bidirectional(layers.LSTM(width, return_sequences=True))

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        return self.rnn(inputs, training=training)


def dense() -> layers.Layer:
    return layers.Dense(2)


# Name: constructor, number of weights for x (B, T, D).
HOLDERS: dict[str, tuple[Callable[[], layers.Layer], int]] = {
    "TimeDistributed": (lambda: layers.TimeDistributed(dense()), 12),
    "TimeDistributed of TimeDistributed": (
        lambda: layers.TimeDistributed(sc.Sequential([layers.Dense(2), layers.Flatten()])),
        12,
    ),
    "TimeDistributed of own": (lambda: layers.TimeDistributed(InLists()), 30 + 18 + 8 + 2),
    "TimeDistributed of a model": (lambda: sc.Sequential([layers.TimeDistributed(sc.Sequential([dense()]))]), 12),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(2, return_sequences=True)), 2 * (8 * (5 + 2) + 8)),
    "Bidirectional of two": (
        lambda: layers.Bidirectional(
            layers.GRU(2, return_sequences=True),
            backward_layer=layers.SimpleRNN(2, return_sequences=True, go_backwards=True),
        ),
        (6 * 7 + 12) + (2 * 7 + 2),
    ),
    "Sequential": (lambda: sc.Sequential([sc.Sequential([dense()]), layers.Dense(1)]), 15),
    "attribute": (AsAttribute, 12),
    "lists": (InLists, 30 + 18 + 8 + 2),
    "shape said": (ShapeSaid, 12),
    "loop": (Loop, 6 * 7 + 12),
    "deep": (Deep, 30 + 18 + 8 + 2 + 6),
    "attention": (Pair, 30 + 5),
    "model": (OwnModel, 2 * (8 * (5 + 2) + 8)),
}


@pytest.fixture(params=HOLDERS)
def holder(request: pytest.FixtureRequest) -> Any:
    sc.set_seed(3)
    return HOLDERS[request.param]


def model_of(make: Callable[[], layers.Layer], known: bool = True) -> sc.Sequential:
    front = [layers.Input((None, D))] if known else []
    return sc.Sequential([*front, layers.Dense(D), make(), layers.GlobalAveragePooling1D()])


def numbers(layer: layers.Layer) -> list[np.ndarray]:
    return [np.full(w.shape, 0.01 * (i + 1)) for i, w in enumerate(layer.get_weights())]


def build_layer_of(make: Callable[[], layers.Layer], shape: Any) -> layers.Layer:
    """A layer built for a shape; one with a ``build`` of its own in a Sequential, which builds what it holds."""
    layer = make()
    if isinstance(layer, InLists):
        sc.Sequential([layer]).build(shape)
    else:
        layer.build(shape)
    return layer


def test_built_from_a_shape_alone(holder: Any) -> None:
    make, count = holder
    for shape in ((None, None, D), (None, T, D), (B, T, D)):
        layer = build_layer_of(make, shape)
        before = list(map(id, layer.weights))
        assert layer.count_params() == count
        assert layer.built and all(inner.built for inner in layer.layers_inside())
        y = layer(RNG.normal(size=(B, T, D)))
        assert list(map(id, layer.weights)) == before
        assert y.shape[:2] == (B, T)


def test_a_sequential_has_all_weights_before_the_first_call(holder: Any) -> None:
    make, count = holder
    model = model_of(make)
    assert model.count_params() == count + 30
    variables = list(map(id, model.weights))
    model.set_weights(numbers(model))
    model(RNG.normal(size=(B, T, D)))
    assert list(map(id, model.weights)) == variables
    later = model_of(make, known=False)
    later.build((None, None, D))
    assert later.count_params() == count + 30
    called = model_of(make, known=False)
    called(RNG.normal(size=(B, T, D)))
    assert called.count_params() == count + 30


@pytest.mark.parametrize("known", [True, False], ids=["Input", "first call"])
def test_saved_and_loaded(holder: Any, known: bool, tmp_path: Path) -> None:
    make, _ = holder
    x, y = RNG.normal(size=(6, T, D)).astype("float32"), RNG.normal(size=6).astype("float32")

    def new() -> sc.Sequential:
        model = sc.Sequential([*model_of(make, known).layers, layers.Dense(1)])
        model.compile("adam", "mse")
        model.build((None, None, D))
        return model

    model = new()
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    model.save_checkpoint(tmp_path / "checkpoint", {})
    loaded = sc.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for path, load in (("weights", "load_weights"), ("checkpoint", "load_checkpoint")):
        other = new()
        getattr(other, load)(tmp_path / path)
        np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    for trained in (model, other):
        sc.set_seed(5)
        trained.fit(x, y, epochs=1, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_as_a_whole(holder: Any) -> None:
    make, _ = holder
    layer = make()
    layer.trainable = False
    model = sc.Sequential([layers.Input((None, D)), layer])
    assert not model.trainable_weights and model.weights
    model.trainable = True
    assert len(model.trainable_weights) == len(model.weights)


@pytest.mark.parametrize("make", [AsAttribute, InLists, Deep, lambda **kw: layers.TimeDistributed(dense(), **kw)])
@pytest.mark.parametrize("shape", [(None, None, D), None], ids=["build", "call"])
def test_made_frozen(make: Any, shape: Any) -> None:
    layer, x = make(trainable=False), RNG.normal(size=(B, T, D))
    if shape is not None:
        build_layer_of(lambda: layer, shape)
    with GradientTape() as tape:
        y = ops.reduce_sum(layer(x))
    assert layer.weights and not layer.trainable_weights
    assert all(g is None for g in tape.gradient(y, layer.weights))
    model = sc.Sequential(trainable=False)
    for part in (layers.Input((None, D)), make(), layers.Dense(1)):
        model.add(part)
    assert not model.trainable_weights


def test_training_reaches_the_layers_inside() -> None:
    x = np.ones((B, T, D))
    for layer in (
        InLists(),
        layers.TimeDistributed(layers.Dropout(0.5)),
        layers.TimeDistributed(sc.Sequential([layers.Dropout(0.5)])),
        sc.Sequential([sc.Sequential([layers.Dropout(0.5)])]),
    ):
        layer(x)
        first, second = (layer(x, training=True).numpy() for _ in range(2))
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(layer(x), layer(x))


def test_building_leaves_no_trace() -> None:
    """States, dropout counters, tapes and the mode of a call outside stay what they were."""
    stateful = layers.LSTM(2, stateful=True, dropout=0.5, seed=1)
    block = layers.TimeDistributed(sc.Sequential([AsAttribute(), stateful]))
    watched = Variable(np.ones((1, 1, T, D), np.float32))
    with GradientTape() as tape:
        block.build((None, None, T, D))
        assert not tape.operations
        y = block(watched)
    assert np.asarray(tape.gradient(y, watched)).any()
    fresh = layers.TimeDistributed(sc.Sequential([AsAttribute(), layers.LSTM(2, stateful=True, dropout=0.5, seed=1)]))
    fresh.build((None, None, T, D))
    carried = fresh.layer.layers[1]
    assert carried.states is None and carried.get_layer_state()["own"]["dropout"]["call"] == 0


def test_building_leaves_random_numbers_where_they_were() -> None:
    """A call that draws noise or keeps dropout at work outside training: weights alone move the random numbers."""

    class Noisy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, inputs: Tensor) -> Tensor:
            noise = sc.random.generator().normal(size=inputs.shape)
            return self.drop(inputs, training=True) + noise.astype("float32")

    sc.set_seed(1)
    layer = Noisy()
    before = sc.random.get_state()
    model = sc.Sequential([layers.Input((T, D)), layer])
    model.compute_output_shape((None, T, D))
    assert sc.random.get_state() == before and layer.drop.get_layer_state()["own"]["call"] == 0
    model(np.ones((B, T, D)))
    assert sc.random.get_state() != before and layer.drop.get_layer_state()["own"]["call"] == 1


def test_a_model_of_a_user_is_built_for_sizes_that_are_known() -> None:
    class Own(sc.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs: Tensor) -> Tensor:
            return self.dense(inputs)

    model = Own()
    with pytest.raises(ValueError, match=r"\Ainput_shape: expected sizes that layer .* got \(None, None, None\)\Z"):
        model.build((None, None, None))
    assert not model.built and not model.weights
    for wrong in (4, "x", (None, 2.5), (None, True)):
        with pytest.raises(ValueError, match=r"\Ainput_shape: expected a shape such as"):
            model.build(wrong)
    model.build((None, None, D))
    assert model.count_params() == 12 and model(np.ones((B, T, D))).shape == (B, T, 2)


def test_a_shape_that_says_too_little_is_refused() -> None:
    for layer in (AsAttribute(), InLists(), layers.TimeDistributed(AsAttribute())):
        with pytest.raises(
            ValueError, match=r"\Ainput_shape: expected sizes that layer .* got \(None, .*None\)[^\n]*\Z"
        ):
            sc.Sequential([layers.Input((None, None)), layer])
        assert not layer.built and not layer.weights
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, time, \.\.\.\) for layer"):
        layers.TimeDistributed(dense()).build((None,))


# --- masks and lengths -----------------------------------------------------------------------------------------------

IDS = np.array(
    [[[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [0, 0, 0, 0, 0]], [[6, 0, 0, 0, 0], [7, 8, 1, 2, 3], [2, 2, 0, 0, 0]]]
)


def words() -> tuple[Tensor, np.ndarray]:
    """Vectors of words in sentences in documents (2, 3, 5, 4), and which are words."""
    table = layers.Embedding(9, 4, mask_zero=True, weights=RNG.normal(size=(9, 4)), dtype="float64")
    return table(IDS), IDS != 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3, dtype="float64"),
        lambda: layers.Bidirectional(layers.GRU(3, dtype="float64")),
        lambda: layers.GlobalAveragePooling1D(dtype="float64"),
        lambda: sc.Sequential([layers.Dense(4, dtype="float64"), layers.SimpleRNN(3, dtype="float64")]),
    ],
    ids=["LSTM", "Bidirectional", "pooling", "Sequential"],
)
def test_time_distributed_passes_the_mask_of_each_step(make: Callable[[], Any]) -> None:
    x, mask = words()
    inner = make()
    layer = layers.TimeDistributed(inner)
    y = layer(x)
    for i, j in np.ndindex(*IDS.shape[:2]):
        alone = inner(x.numpy()[i, j][None], mask=mask[i, j][None])
        np.testing.assert_allclose(y.numpy()[i, j], alone.numpy()[0], atol=1e-12)
    # A sentence without words is padding for what follows.
    np.testing.assert_array_equal(y.mask, mask.any(2))
    np.testing.assert_array_equal(layer(x.numpy(), mask=mask), y)
    outer = layers.LSTM(2, dtype="float64")
    whole = outer(y)
    np.testing.assert_allclose(whole.numpy()[0], outer(y.numpy()[:1, :2]).numpy()[0], atol=1e-12)


def test_time_distributed_keeps_masks_and_lengths() -> None:
    x, mask = words()
    sequences = layers.TimeDistributed(layers.LSTM(3, return_sequences=True, dtype="float64"))(x)
    np.testing.assert_array_equal(sequences.mask, mask)
    nested = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2, dtype="float64")))(x)
    np.testing.assert_array_equal(nested.mask, mask)
    inside = layers.TimeDistributed(layers.Embedding(9, 4, mask_zero=True))(IDS)
    np.testing.assert_array_equal(inside.mask, mask)
    several = layers.TimeDistributed(layers.LSTM(3, return_state=True, dtype="float64"))(x)
    assert [output.shape for output in several] == [(2, 3, 3)] * 3
    assert (
        layers.TimeDistributed(layers.LSTM(3, return_state=True)).compute_output_shape((None, 3, 5, 4))
        == [(None, 3, 3)] * 3
    )
    steps = np.array([[True, True, False], [True, False, False]])
    y = layers.TimeDistributed(layers.Dense(2))(x.numpy()[:, :, 0], mask=steps)
    np.testing.assert_array_equal(y.mask, steps)
    y = layers.TimeDistributed(layers.Dense(2))(x.numpy()[:, :, 0], lengths=[2, 1])
    np.testing.assert_array_equal(y.lengths, [2, 1])
    for wrong in (mask[:, :2], mask[:, :, :4], steps[:1], np.ones(2), np.ones((2, 3, 5, 4, 1))):
        with pytest.raises(ValueError, match=r"\Amask: expected booleans of shape"):
            layers.TimeDistributed(layers.LSTM(3))(x.numpy(), mask=wrong)


def test_masks_and_lengths_reach_layers_inside_layers() -> None:
    @layers.register("tests/Reader")
    class Reader(layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.rnn = {"read": [layers.LSTM(3, dtype="float64")]}

        def call(self, inputs: Tensor) -> Tensor:
            return self.rnn["read"][0](inputs)

    x = RNG.normal(size=(B, T, D))
    mask = np.array([[True] * 4, [True, True, False, False], [True, False, False, False]])
    reader = Reader()
    for layer in (reader, sc.Sequential([reader]), sc.Sequential([layers.Dropout(0.1, dtype="float64"), Reader()])):
        for given in ({"mask": mask}, {"lengths": mask.sum(1)}):
            y = layer(x, **given).numpy()
            for i, n in enumerate(mask.sum(1)):
                np.testing.assert_allclose(y[i], layer(x[i : i + 1, :n]).numpy()[0], atol=1e-12)


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [layers.SimpleRNN, layers.LSTM, layers.GRU, lambda n, **kw: layers.ContextRNN(n, 3, **kw)]
)
@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
def test_states_are_set_and_read(make: Any, both: bool) -> None:
    sc.set_seed(0)
    x = RNG.normal(size=(2, T, D))

    def new() -> Any:
        layer = make(4, stateful=True, dtype="float64")
        return layers.Bidirectional(layer) if both else layer

    layer = new()
    assert layer.states is None
    y = layer(x).numpy()
    saved = [state.numpy() for state in layer.states]
    second = layer(x).numpy()
    assert not np.allclose(second, y)
    layer.reset_states(saved)
    np.testing.assert_array_equal(layer(x), second)
    layer.states = saved
    np.testing.assert_array_equal(layer(x), second)
    for state, value in zip(layer.states, saved, strict=True):
        state.assign(value)
    np.testing.assert_array_equal(layer(x), second)
    layer.reset_state()
    np.testing.assert_array_equal(layer(x), y)
    # Another layer of the same weights takes them before its first call.
    other = new()
    other.build(x.shape)
    other.set_weights(layer.get_weights())
    other.reset_states(states=saved)
    np.testing.assert_array_equal(other(x), second)
    wrongs: list[Any] = [
        saved[:-1],
        [*saved, saved[0]],
        [*saved[:-1], saved[-1][:, :1]],
        [*saved[:-1], saved[-1][:1]],
        [*saved[:-1], "h"],
        [*saved[:-1], None],
        [state[:1] for state in saved],
        0.5,
        "zeros",
        [],
        {},
    ]
    kept = [state.numpy() for state in other.states]
    for wrong in wrongs:
        for write in (other.reset_states, lambda value: setattr(other, "states", value)):
            with pytest.raises((ValueError, TypeError), match=r"\A(states|value): expected [^\n]+\Z"):
                write(wrong)
            for a, b in zip(other.states, kept, strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"\Avalue: expected shape"):
        other.states[0].assign(saved[0][:1])
    for stddev in (-1, np.nan, np.inf, "1", True):
        with pytest.raises(ValueError, match=r"\Astddev: expected"):
            other.reset_states(stddev=stddev)
    with pytest.raises(ValueError, match="states: expected a layer with stateful=True"):
        stateless = make(4, dtype="float64")
        (layers.Bidirectional(stateless) if both else stateless).reset_states(saved)


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both"])
def test_predict_starts_from_given_states(both: bool) -> None:
    x = RNG.normal(size=(2, T, D))
    given = [RNG.normal(size=(2, 4)) for _ in range(2 if both else 1)]
    layer: Any = layers.GRU(4, stateful=True, dtype="float64")
    layer = layers.Bidirectional(layer) if both else layer
    model = sc.Sequential([layer])
    before = model.predict(x, verbose=0)
    layer.states = given
    predicted = model.predict(x, verbose=0)
    assert not np.allclose(predicted, before)
    layer.states = given
    np.testing.assert_array_equal(predicted, model(x))


def test_states_of_layers_inside() -> None:
    inner = layers.GRU(2, stateful=True)
    for outer in (sc.Sequential([inner]), layers.TimeDistributed(sc.Sequential([layers.GRU(2, stateful=True)]))):
        x = RNG.normal(size=(2, T, D) if outer.layers_inside()[0] is inner else (2, 1, T, D))
        y = outer(x).numpy()
        assert not np.allclose(outer(x), y)
        outer.reset_state()
        np.testing.assert_array_equal(outer(x), y)
        outer.reset_states(stddev=1.0)
        assert not np.allclose(outer(x), y)
        with pytest.raises(ValueError, match="states: expected None for .*set its layers' states"):
            outer.reset_states([np.zeros((2, 2))])


# --- several outputs -------------------------------------------------------------------------------------------------

SEVERAL = {
    "return_state": lambda: layers.LSTM(3, return_state=True),
    "sequences and state": lambda: layers.GRU(3, return_sequences=True, return_state=True),
    "merge_mode": lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode=None),
}
NEXT = {
    "Dense": lambda: layers.Dense(2),
    "LSTM": lambda: layers.LSTM(2),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(2)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(2)),
    "Dropout": lambda: layers.Dropout(0.5),
    "Embedding": lambda: layers.Embedding(3, 2),
    "Softmax": layers.Softmax,
    "ReLU": layers.ReLU,
    "Activation": lambda: layers.Activation("tanh"),
    "Flatten": layers.Flatten,
    "pooling": layers.GlobalMaxPooling1D,
}


@pytest.mark.parametrize("first", SEVERAL)
@pytest.mark.parametrize("second", NEXT)
def test_several_outputs_before_a_layer_of_one_input(first: str, second: str) -> None:
    expected = (
        r"\Ainputs: expected one array for layer '[a-z_0-9]+', got a list of [234]; [^\n]*return_state=True[^\n]*\Z"
    )
    with pytest.raises(ValueError, match=expected):
        sc.Sequential([layers.Input((T, D)), SEVERAL[first](), NEXT[second]()])
    model = sc.Sequential([SEVERAL[first](), NEXT[second]()])
    with pytest.raises(ValueError, match=expected):
        model(np.ones((B, T, D)))
    assert not model.built and not model.weights
    with pytest.raises(ValueError, match=expected):
        NEXT[second]()([np.ones((B, T, D)), np.ones((B, T, D))])


def test_several_outputs_where_they_fit() -> None:
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode=None)
    assert sc.Sequential([layers.Input((T, D)), both, layers.AdditiveAttention()])(np.ones((B, T, D))).shape == (
        B,
        T,
        3,
    )
    last = sc.Sequential([layers.Input((T, D)), layers.LSTM(3, return_state=True)])(np.ones((B, T, D)))
    assert [output.shape for output in last] == [(B, 3)] * 3


def test_registered_holders_survive_their_config(holder: Any) -> None:
    make, count = holder
    layer = make()
    clone = registry.deserialize(registry.serialize(layer))
    assert build_layer_of(lambda: clone, (None, None, D)).count_params() == count


# --- what beginners do -----------------------------------------------------------------------------------------------

IDS2, SEQUENCES = np.array([[1, 2, 3], [2, 3, 0]]), np.ones((2, 3, 4))
RIDDLES: dict[str, tuple[Callable[[], Any], str]] = {
    "recurrent layers without return_sequences": (
        lambda: sc.Sequential([layers.LSTM(3), layers.LSTM(2)])(SEQUENCES),
        r"inputs: .*got \(2, 3\); .*return_sequences=True",
    ),
    "ids without an embedding": (
        lambda: sc.Sequential([layers.LSTM(3)])(IDS2),
        r"inputs: .*got \(2, 3\); put an Embedding before it",
    ),
    "four axes": (lambda: layers.GRU(2)(np.ones((2, 3, 4, 5))), r"inputs: expected shape \(batch, time, features\)"),
    "an id too large": (
        lambda: layers.Embedding(3, 2, name="words")(IDS2),
        r"ids: expected whole numbers 0\.\.\.2, got 3, in layer 'words' of input_dim 3",
    ),
    "an embedding of floats": (lambda: layers.Embedding(3, 2)(IDS2 / 2), r"ids: expected whole numbers .*got 0\.5"),
    "texts": (
        lambda: sc.Sequential([layers.Embedding(3, 2)])(["a b", "c"]),
        "inputs: expected numbers, got list of strings; TextVectorization turns texts into ids",
    ),
    "ragged lists": (
        lambda: layers.Embedding(9, 2)([[1, 2, 3], [1]]),
        "inputs: expected rows of one length, got a ragged list; pad_sequences brings rows to one length",
    ),
    "objects": (
        lambda: layers.Dense(3)(np.array([[1.0, None]], object)),
        r"inputs: expected numbers, got an array of objects such as None; x\.astype\('float32'\)",
    ),
    "a dict": (lambda: layers.Dense(3)({"x": SEQUENCES}), "inputs: expected one array for layer .*got a dict; .*'x'"),
    "a class": (lambda: sc.Sequential([layers.Dense]), "layer: expected a Layer, got the class Dense; call it"),
    "a class inside": (lambda: layers.TimeDistributed(layers.Dense), "layer: expected a Layer, got the class Dense"),
    "a class in both directions": (
        lambda: layers.Bidirectional(layers.LSTM),
        "layer: expected a recurrent layer, got the class LSTM; call it",
    ),
    "texts inside the model": (
        lambda: sc.Sequential([sc.TextVectorization()]),
        "layer: expected a Layer, got TextVectorization; give the model its ids",
    ),
    "a word misspelt": (
        lambda: layers.LSTM(3, return_sequence=True),
        "LSTM: got an unknown argument 'return_sequence'; did you mean 'return_sequences'",
    ),
    "steps of one number": (
        lambda: layers.TimeDistributed(layers.Dense(3))(np.ones((2, 4))),
        r"inputs: .*got \(None,\) \(one step of \(2, 4\) in layer 'time_distributed",
    ),
    "a size for a shape": (lambda: layers.Dense(3).build(4), "input_shape: expected a shape such as .*got 4"),
    "a size for a model's shape": (lambda: sc.Sequential([layers.Dense(3)]).build(4), "input_shape: expected a shape"),
    "states of another cell": (
        lambda: layers.LSTM(3)(SEQUENCES, initial_state=layers.GRU(3, return_state=True)(SEQUENCES)[1:]),
        "initial_state: expected 2 states for layer .*got 1",
    ),
    "shapes that do not go together": (
        lambda: Tensor(SEQUENCES) + np.ones((3, 7)),
        r"y: expected a shape that broadcasts with \(2, 3, 4\), got \(3, 7\)",
    ),
    "no list": (lambda: ops.concat(None), "values: expected a list of tensors, got None"),
    "words for numbers": (lambda: Tensor(SEQUENCES) * "a", "value: expected numbers, got 'a'"),
    "words for a change": (lambda: Variable([1.0]).assign_add("a"), "delta: expected numbers, got 'a'"),
}


@pytest.mark.parametrize("riddle", RIDDLES)
def test_what_beginners_do_is_answered_in_one_line(riddle: str) -> None:
    call, message = RIDDLES[riddle]
    with pytest.raises((ValueError, TypeError), match=rf"\A{message}[^\n]*\Z"):
        call()
