"""One battery for every layer, then what each kind of layer promises beyond it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seqcore import layers, ops, random
from seqcore.autograd import GradientTape, IndexedSlices, Tensor, Variable
from seqcore.layers import base, registry

RNG = np.random.default_rng(3)
BATCH, STEPS, FEATURES, UNITS = 3, 5, 4, 6

SEQUENCE = (BATCH, STEPS, FEATURES)
CELLS: dict[str, Callable[..., Any]] = {
    "SimpleRNN": layers.SimpleRNN,
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "GRU reset before": lambda units, **kw: layers.GRU(units, reset_after=False, **kw),
    "ContextRNN": lambda units, **kw: layers.ContextRNN(units, 2, **kw),
}
WIDTH = {name: UNITS + 2 if name == "ContextRNN" else UNITS for name in CELLS}

# Name: constructor, shape of the input, shape of the output, number of weight arrays.
BATTERY: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], int]] = {
    "Dense": (lambda **kw: layers.Dense(UNITS, "tanh", **kw), (BATCH, FEATURES), (BATCH, UNITS), 2),
    "Dense over time": (lambda **kw: layers.Dense(UNITS, **kw), SEQUENCE, (BATCH, STEPS, UNITS), 2),
    "Dense softmax": (lambda **kw: layers.Dense(UNITS, "softmax", **kw), SEQUENCE, (BATCH, STEPS, UNITS), 2),
    "Dense without bias": (
        lambda **kw: layers.Dense(UNITS, use_bias=False, **kw),
        (BATCH, 2, 2, FEATURES),
        (BATCH, 2, 2, UNITS),
        1,
    ),
    "Embedding": (lambda **kw: layers.Embedding(9, UNITS, **kw), (BATCH, STEPS), (BATCH, STEPS, UNITS), 1),
    "Embedding of one id": (lambda **kw: layers.Embedding(9, UNITS, **kw), (BATCH,), (BATCH, UNITS), 1),
    "Embedding of 3 axes": (lambda **kw: layers.Embedding(9, 2, **kw), (BATCH, 2, 4), (BATCH, 2, 4, 2), 1),
    "Dropout": (lambda **kw: layers.Dropout(0.5, **kw), SEQUENCE, SEQUENCE, 0),
    "Activation": (lambda **kw: layers.Activation("sigmoid", **kw), SEQUENCE, SEQUENCE, 0),
    "ReLU": (lambda **kw: layers.ReLU(1.0, 0.1, 0.2, **kw), SEQUENCE, SEQUENCE, 0),
    "Softmax": (lambda **kw: layers.Softmax(**kw), SEQUENCE, SEQUENCE, 0),
    "Flatten": (lambda **kw: layers.Flatten(**kw), SEQUENCE, (BATCH, STEPS * FEATURES), 0),
    "GlobalAveragePooling1D": (lambda **kw: layers.GlobalAveragePooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "GlobalMaxPooling1D": (lambda **kw: layers.GlobalMaxPooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "GlobalSumPooling1D": (lambda **kw: layers.GlobalSumPooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "TimeDistributed": (
        lambda **kw: layers.TimeDistributed(layers.Dense(UNITS, **kw), **kw),
        SEQUENCE,
        (BATCH, STEPS, UNITS),
        2,
    ),
}
for _name, _make in CELLS.items():
    _count = 5 if _name == "ContextRNN" else 3
    BATTERY[_name] = (
        lambda make=_make, **kw: make(UNITS, dropout=0.1, recurrent_dropout=0.1, **kw),
        SEQUENCE,
        (BATCH, WIDTH[_name]),
        _count,
    )
    BATTERY[f"{_name} sequences"] = (
        lambda make=_make, **kw: make(UNITS, return_sequences=True, go_backwards=True, **kw),
        SEQUENCE,
        (BATCH, STEPS, WIDTH[_name]),
        _count,
    )
    BATTERY[f"Bidirectional {_name}"] = (
        lambda make=_make, **kw: layers.Bidirectional(make(UNITS, return_sequences=True, **kw), **kw),
        SEQUENCE,
        (BATCH, STEPS, 2 * WIDTH[_name]),
        2 * _count,
    )
BATTERY["Bidirectional of two classes"] = (
    lambda **kw: layers.Bidirectional(
        layers.LSTM(UNITS, **kw), "sum", backward_layer=layers.GRU(UNITS, go_backwards=True, **kw), **kw
    ),
    SEQUENCE,
    (BATCH, UNITS),
    6,
)
for _cell in ("SimpleRNNCell", "LSTMCell", "GRUCell"):
    BATTERY[_cell] = (
        lambda cell=_cell, **kw: getattr(layers, cell)(UNITS, dropout=0.1, recurrent_dropout=0.1, **kw),
        (BATCH, FEATURES),
        (BATCH, UNITS),
        3,
    )
BATTERY["ContextRNNCell"] = (
    lambda **kw: layers.ContextRNNCell(UNITS, 2, **kw),
    (BATCH, FEATURES),
    (BATCH, UNITS + 2),
    5,
)


def data(shape: tuple[int, ...], name: str, dtype: str = "float32") -> np.ndarray:
    if name.startswith("Embedding"):
        return RNG.integers(0, 9, shape)
    return RNG.normal(size=shape).astype(dtype)


def output(y: Any) -> Tensor:
    return y[0] if isinstance(y, (tuple, list)) else y


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
    eps = 1e-6
    for source, gradient in zip(sources, grads, strict=True):
        array = source._array
        for at in RNG.permutation(array.size)[:12]:
            place = np.unravel_index(at, array.shape)
            old = array[place]
            array[place] = old + eps
            up = float(total())
            array[place] = old - eps
            down = float(total())
            array[place] = old
            assert gradient[place] == pytest.approx((up - down) / (2 * eps), abs=2e-7, rel=1e-5)


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
    with pytest.raises(ValueError, match="kernel_regularizer: expected None"):
        make(kernel_regularizer="l2")
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


# --- recurrent layers ------------------------------------------------------------------------------------------------


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> Any:
    random.set_seed(2)
    make = CELLS[request.param]
    return lambda **kw: make(UNITS, dtype="float64", **kw)


def twin(make: Callable[..., Any], layer: Any, **kw: Any) -> Any:
    """Another layer with the weights of ``layer``."""
    other = make(**kw)
    other(data(SEQUENCE, ""))
    other.set_weights(layer.get_weights())
    return other


def test_cells_step_by_step_equal_the_layer(cell: Any) -> None:
    layer = cell(return_sequences=True, return_state=True)
    x = data(SEQUENCE, "", "float64")
    y, *states = layer(x)
    config = {k: v for k, v in layer.get_config().items() if k not in ("return_sequences", "return_state", "unroll")}
    config = {k: v for k, v in config.items() if k not in ("go_backwards", "stateful", "name")}
    step = registry.get_class(type(layer).__name__ + "Cell")(**config)
    state = step.get_initial_state(BATCH)
    step(x[:, 0], state)
    step.set_weights(layer.get_weights())
    assert [len(state), step.state_size] == [len(states), layer.state_size]
    weights = RNG.normal(size=y.shape)
    with GradientTape() as tape:
        outs = []
        for x_t in ops.unstack(x, axis=1):
            out, state = step(x_t, state)
            outs.append(out)
        total = ops.reduce_sum(ops.stack(outs, axis=1) * weights)
    np.testing.assert_allclose(np.stack([one.numpy() for one in outs], 1), y.numpy(), atol=1e-12)
    for ours, theirs in zip(state, states, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)
    with GradientTape() as other:
        wanted = ops.reduce_sum(layer(x)[0] * weights)
    by_hand = tape.gradient(total, step.trainable_variables)
    for a, b in zip(by_hand, other.gradient(wanted, layer.trainable_variables), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-10)


def test_state_carries_on_a_cut_sequence(cell: Any) -> None:
    layer = cell(return_sequences=True, return_state=True)
    x = data((BATCH, 8, FEATURES), "", "float64")
    whole, *last = layer(x)
    first, *middle = layer(x[:, :3])
    second, *end = layer(x[:, 3:], initial_state=middle)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-12)
    carried = twin(cell, layer, return_sequences=True, stateful=True)
    carried.reset_states()
    np.testing.assert_allclose(carried(x[:, :3]), first, atol=1e-12)
    with carried.state_scope():
        assert carried.states is None
        np.testing.assert_allclose(carried(x[:1, :3]), first[:1], atol=1e-12)
    np.testing.assert_allclose(carried(x[:, 3:]), second, atol=1e-12)
    for a, b, c in zip(carried.states, end, last, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
        np.testing.assert_allclose(a, c, atol=1e-12)
    with pytest.raises(ValueError, match="batch size 3 of the first call"):
        carried(x[:2])
    saved = carried.get_layer_state()
    carried(x)
    carried.set_layer_state(saved)
    np.testing.assert_array_equal(carried.states[0], end[0].numpy())
    carried.reset_states()
    assert not np.asarray(carried.states[0]).any()
    carried.reset_states(stddev=2.0)
    assert 0.5 < np.asarray(carried.states[0]).std() < 5
    with pytest.raises(ValueError, match="stddev: expected"):
        carried.reset_states(-1.0)


def test_gradient_of_the_initial_state(cell: Any) -> None:
    layer = cell(return_state=True)
    x = data(SEQUENCE, "", "float64")
    layer(x)
    states = [Tensor(RNG.normal(size=s.shape)) for s in layer(x)[1:]]

    def total() -> Tensor:
        result = ops.reduce_sum(ops.square(layer(x, initial_state=states)[0]))
        for one in layer(x, initial_state=states)[1:]:
            result = result + ops.reduce_sum(ops.sigmoid(one))
        return result

    with GradientTape() as tape:
        tape.watch(states)
        y = total()
    for state, grad in zip(states, tape.gradient(y, states), strict=True):
        for place in [(0, 0), (2, 1)]:
            old = state._array[place]
            state._array[place] = old + 1e-6
            up = float(total())
            state._array[place] = old - 1e-6
            down = float(total())
            state._array[place] = old
            assert grad.numpy()[place] == pytest.approx((up - down) / 2e-6, abs=1e-7)


def test_lengths_equal_cut_sequences(cell: Any) -> None:
    layer = cell(return_sequences=True, return_state=True)
    x = data((4, STEPS, FEATURES), "", "float64")
    lengths = [3, 5, 0, 1]
    for backwards in (False, True):
        layer.go_backwards = backwards
        y, *states = layer(x, lengths=lengths)
        assert y.lengths.tolist() == lengths
        for i, n in enumerate(lengths):
            assert not y.numpy()[i, n:].any()
            if not n:
                assert not any(s.numpy()[i].any() for s in states)
                continue
            alone, *ends = layer(x[i : i + 1, :n])
            np.testing.assert_allclose(y.numpy()[i, :n], alone.numpy()[0], atol=1e-12)
            for a, b in zip(states, ends, strict=True):
                np.testing.assert_allclose(a.numpy()[i], b.numpy()[0], atol=1e-12)


def test_mask_repeats_outputs_and_carries_states(cell: Any) -> None:
    layer = cell(return_sequences=True, return_state=True)
    x = data(SEQUENCE, "", "float64")
    mask = np.array([[1, 0, 1, 0, 1], [0, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
    y, *states = layer(x, mask=mask)
    assert y.mask is not None
    for i, row in enumerate(mask):
        kept, *ends = layer(x[i : i + 1, row])
        expected, last = [], np.zeros(y.shape[-1])
        steps = iter(kept.numpy()[0])
        for valid in row:
            last = next(steps) if valid else last
            expected.append(last)
        np.testing.assert_allclose(y.numpy()[i], expected, atol=1e-12)
        for a, b in zip(states, ends, strict=True):
            np.testing.assert_allclose(a.numpy()[i], b.numpy()[0], atol=1e-12)
    flat = twin(cell, layer)
    assert flat(x, mask=mask).mask is None
    np.testing.assert_allclose(flat(x, mask=mask), y.numpy()[:, -1], atol=1e-12)
    both = layers.Bidirectional(cell(return_sequences=True))
    z = both(x, mask=mask)
    assert not z.numpy()[~mask].any() and z.mask is not None


@pytest.mark.parametrize("kind", ["lengths", "mask"])
@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_of_ragged_batches(cell: Any, kind: str, backwards: bool) -> None:
    layer = cell(return_sequences=True, go_backwards=backwards, dropout=0.3, recurrent_dropout=0.3)
    x = Tensor(data(SEQUENCE, "", "float64"))
    given = {"lengths": [2, 5, 0]} if kind == "lengths" else {"mask": RNG.random((BATCH, STEPS)) < 0.6}
    weights = RNG.normal(size=layer(x).shape)

    def total() -> Tensor:
        state = layer.get_layer_state()
        y = ops.reduce_sum(layer(x, training=True, **given) * weights)
        layer.set_layer_state(state)
        return y

    sources = [x, *layer.weights]
    with GradientTape() as tape:
        tape.watch(x)
        y = total()
    for source, gradient in zip(sources, tape.gradient(y, sources), strict=True):
        array = source._array
        for at in RNG.permutation(array.size)[:10]:
            place = np.unravel_index(at, array.shape)
            old = array[place]
            array[place] = old + 1e-6
            up = float(total())
            array[place] = old - 1e-6
            down = float(total())
            array[place] = old
            assert gradient.numpy()[place] == pytest.approx((up - down) / 2e-6, abs=1e-7)


def test_go_backwards_is_the_flipped_sequence(cell: Any) -> None:
    layer = cell(return_sequences=True)
    x = data(SEQUENCE, "", "float64")
    layer(x)
    turned = twin(cell, layer, return_sequences=True, go_backwards=True)
    np.testing.assert_allclose(turned(x), layer(x[:, ::-1]), atol=1e-12)
    mask = RNG.random((BATCH, STEPS)) < 0.5
    np.testing.assert_array_equal(turned(x, mask=mask).mask, mask[:, ::-1])


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [True, False])
def test_bidirectional_merges(cell: Any, mode: str | None, sequences: bool) -> None:
    both = layers.Bidirectional(cell(return_sequences=sequences, return_state=True), merge_mode=mode)
    x = data(SEQUENCE, "", "float64")
    found = both(x)
    assert both.compute_output_shape(SEQUENCE) == [one.shape for one in found]
    first, second = cell(return_sequences=sequences, return_state=True), None
    first(x)
    first.set_weights(both.forward_layer.get_weights())
    second = twin(cell, both.backward_layer, return_sequences=sequences, return_state=True)
    a, *a_states = first(x)
    b, *b_states = second(x[:, ::-1])
    a, b = a.numpy(), b.numpy()[:, ::-1] if sequences else b.numpy()
    expected = {"concat": lambda: np.concatenate([a, b], -1), "sum": lambda: a + b, "mul": lambda: a * b}
    expected["ave"] = lambda: (a + b) / 2
    outputs = found[: 2 if mode is None else 1]
    wanted = [a, b] if mode is None else [expected[mode]()]
    for ours, theirs in zip([*outputs, *found[len(outputs) :]], [*wanted, *a_states, *b_states], strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-12)
    again = both(x, initial_state=[*a_states, *b_states])
    assert len(again) == len(found)
    with pytest.raises(ValueError, match="initial_state: expected a list of"):
        both(x, initial_state=a_states[:1])


def test_bidirectional_gradients_equal_two_layers(cell: Any) -> None:
    both = layers.Bidirectional(cell(return_sequences=True, return_state=True))
    x = Tensor(data(SEQUENCE, "", "float64"))
    width = both(x)[0].shape[-1]
    weights = RNG.normal(size=(BATCH, STEPS, width))
    first = twin(cell, both.forward_layer, return_sequences=True, return_state=True)
    second = twin(cell, both.backward_layer, return_sequences=True, return_state=True, go_backwards=True)

    def score(y: Any, states: Any) -> Tensor:
        total = ops.reduce_sum(y * weights)
        for one in states:
            total = total + ops.reduce_sum(ops.square(one))
        return total

    with GradientTape() as tape:
        tape.watch(x)
        y, *states = both(x)
        total = score(y, states)
    ours = tape.gradient(total, [x, *both.trainable_variables])
    with GradientTape() as tape:
        tape.watch(x)
        a, *a_states = first(x)
        b, *b_states = second(x)
        total = score(ops.concat([a, b[:, ::-1]]), [*a_states, *b_states])
    theirs = tape.gradient(total, [x, *first.trainable_variables, *second.trainable_variables])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_inputs_of_any_layout_and_type(cell: Any) -> None:
    layer = cell(return_sequences=True)
    x = data(SEQUENCE, "", "float64")
    y = layer(x).numpy()
    fortran = np.asfortranarray(x)
    np.testing.assert_array_equal(layer(fortran), y)
    np.testing.assert_array_equal(layer(x.transpose(1, 0, 2).copy().transpose(1, 0, 2)), y)
    np.testing.assert_array_equal(
        layer(x.tolist()).numpy().astype(np.float32), layer(x.astype(np.float32)).numpy().astype("f4")
    )
    ones = np.ones(SEQUENCE)
    np.testing.assert_array_equal(layer(ones.astype(bool)), layer(ones))
    np.testing.assert_array_equal(layer(ones.astype(int)), layer(ones))
    t = Tensor(fortran)
    with GradientTape() as tape:
        tape.watch(t)
        total = ops.reduce_sum(layer(t))
    dx = tape.gradient(total, t)
    t = Tensor(x)
    with GradientTape() as tape:
        tape.watch(t)
        total = ops.reduce_sum(layer(t))
    np.testing.assert_array_equal(dx, tape.gradient(total, t))


def test_step_gradients(cell: Any) -> None:
    layer = cell(return_sequences=True)
    x = data(SEQUENCE, "", "float64")
    layer.step_gradients = True
    with GradientTape() as tape:
        y = layer(x)
        total = ops.reduce_sum(y[:, -1, :UNITS])
    tape.gradient(total, layer.trainable_variables)
    steps = layer.last_step_gradients
    assert steps.shape == (BATCH, STEPS, UNITS)
    np.testing.assert_allclose(steps[:, -1], 1.0, atol=1e-12)
    assert np.isfinite(steps).all() and steps[:, 0].any()


def test_a_layer_without_sequences_in_between() -> None:
    """The usual slip is named with its remedy; other shapes are not blamed on it."""
    for make in (layers.SimpleRNN, layers.LSTM, layers.GRU, lambda n: layers.ContextRNN(n, n)):
        with pytest.raises(ValueError, match=r"got \(2, 3\); a recurrent layer before it needs return_sequences=True"):
            make(4)(np.zeros((2, 3)))
        with pytest.raises(ValueError, match=r"got \(2, 3, 4, 5\)$"):
            make(4)(np.zeros((2, 3, 4, 5)))


def test_context_gradients() -> None:
    """dL/ds_t: the context kernel's gradient is the sum of (1 - alpha) x_t dL/ds_t."""
    layer = layers.ContextRNN(3, 2, alpha=0.7, return_sequences=True, dtype="float64")
    x = data(SEQUENCE, "", "float64")
    layer.step_gradients = True
    with GradientTape() as tape:
        total = ops.reduce_sum(layer(x) ** 2)
    gradient = tape.gradient(total, layer.context_kernel)
    found = layer.last_context_gradients
    assert found.shape == (BATCH, STEPS, 2)
    np.testing.assert_allclose(0.3 * np.einsum("btd,btc->dc", x, found), gradient, atol=1e-12)
    # At the last step s_T reaches the loss as an output and through h_T.
    y, pushed = layer(x).numpy()[:, -1], layer.context_recurrent_kernel.numpy()
    last = 2 * y[:, 3:] + (2 * y[:, :3] * (1 - y[:, :3] ** 2)) @ pushed.T
    np.testing.assert_allclose(found[:, -1], last, atol=1e-12)


def test_recurrent_dropout_masks_stay_over_the_steps(cell: Any) -> None:
    layer = cell(return_sequences=True, dropout=0.5, seed=3)
    x = np.ones(SEQUENCE)
    still = layer(x).numpy()
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert (first != second).any() and (first != still).any()
    again = twin(cell, layer, return_sequences=True, dropout=0.5, seed=3)
    np.testing.assert_array_equal(again(x, training=True), first)
    np.testing.assert_array_equal(layer(x), still)
    kept = layer.get_layer_state()
    third = layer(x, training=True).numpy()
    layer.set_layer_state(json.loads(json.dumps(kept)))
    np.testing.assert_array_equal(layer(x, training=True), third)
    with pytest.raises(ValueError, match="dropout: expected a number 0 <= rate < 1, got 1.0"):
        cell(dropout=1.0)


def test_cells_keep_their_dropout_mask_until_reset() -> None:
    random.set_seed(4)
    cell = layers.SimpleRNNCell(UNITS, dropout=0.5)
    x = np.ones((BATCH, 50), np.float32)
    first, _ = cell(x, training=True)
    np.testing.assert_array_equal(cell(x, training=True)[0], first.numpy())
    cell.reset_dropout_mask()
    second, _ = cell(x, training=True)
    assert (second.numpy() != first.numpy()).any()
    assert cell(x[:2], training=True)[0].shape == (2, UNITS)


def test_bad_states_masks_and_lengths(cell: Any) -> None:
    layer = cell()
    x = data(SEQUENCE, "", "float64")
    layer(x)
    count = len(layer._state_sizes())
    good = [np.zeros((BATCH, n)) for n in layer._state_sizes()]
    for text, arguments in [
        (f"initial_state: expected {count} states", {"initial_state": good + good}),
        ("initial_state: expected states of shape", {"initial_state": [one[:2] for one in good]}),
        (r"mask: expected booleans of shape \(3, 5\)", {"mask": np.ones((3, 4), bool)}),
        (r"lengths: expected integers 0...5 of shape \(3,\), got 6", {"lengths": [1, 6, 2]}),
        (r"lengths: expected integers 0...5 of shape \(3,\), got -1", {"lengths": [1, -1, 2]}),
        (r"lengths: expected integers 0...5 of shape \(3,\), got nan", {"lengths": [1, np.nan, 2]}),
        (r"lengths: expected integers 0...5 of shape \(3,\), got 1.5", {"lengths": [1, 1.5, 2]}),
        (r"lengths: expected integers 0...5 of shape \(3,\), got int", {"lengths": [1, 2]}),
        ("mask, lengths: expected at most one", {"lengths": [1, 2, 3], "mask": np.ones((3, 5), bool)}),
    ]:
        with pytest.raises(ValueError, match=text):
            layer(x, **arguments)


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "linear", "hard_sigmoid", None])
def test_activations_by_name_and_function(name: str | None) -> None:
    x = data((BATCH, FEATURES), "", "float64")
    dense = layers.Dense(UNITS, name, dtype="float64")
    y = dense(x).numpy()
    z = x @ dense.kernel.numpy()
    function = getattr(ops, name or "linear")
    np.testing.assert_allclose(y, function(z), atol=1e-12)
    np.testing.assert_allclose(layers.Activation(function, dtype="float64")(z), y, atol=1e-12)
    rnn = layers.SimpleRNN(UNITS, activation=name, dtype="float64")
    out = rnn(x[:, None, :]).numpy()
    np.testing.assert_allclose(out, function(x @ rnn.kernel.numpy()), atol=1e-12)


def test_wrong_arguments_name_themselves() -> None:
    for text, make in [
        ("activation: expected one of linear", lambda: layers.LSTM(3, activation="gelu")),
        ("recurrent_activation: expected one of", lambda: layers.GRU(3, recurrent_activation="softmax")),
        ("activation: expected one of linear", lambda: layers.Dense(3, activation=abs)),
        ("units: expected an integer >= 1, got 0", lambda: layers.LSTM(0)),
        ("units: expected an integer >= 1, got 2.5", lambda: layers.Dense(2.5)),
        ("alpha: expected a number 0 <= alpha <= 1", lambda: layers.ContextRNN(3, 2, alpha=2)),
        ("context_units: expected an integer >= 1", lambda: layers.ContextRNN(3, 0)),
        ("rate: expected a number", lambda: layers.Dropout(1.0)),
        ("rate: expected a number", lambda: layers.Dropout("half")),
        ("layer: expected a recurrent layer, got Dense", lambda: layers.Bidirectional(layers.Dense(2))),
        ("merge_mode: expected", lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="max")),
        (
            "backward_layer: expected go_backwards=True",
            lambda: layers.Bidirectional(layers.LSTM(2), None, layers.LSTM(2)),
        ),
        ("shape: expected", lambda: layers.Input()),
        ("input_shape: expected", lambda: layers.Dense(2, input_shape=(-1,))),
        ("max_value: expected", lambda: layers.ReLU(max_value=-1)),
        ("LSTM: got an unknown argument 'foo'", lambda: layers.LSTM(2, foo=1)),
        ("recurrent_constraint: expected None", lambda: layers.LSTM(2, recurrent_constraint="max_norm")),
        ("seed: expected None or an integer", lambda: layers.Dropout(0.5, seed=-1)),
    ]:
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value).startswith(text), caught.value
    layers.LSTM(2, unroll=True, kernel_regularizer=None, implementation=1)


def test_bias_shapes_and_forget_gate() -> None:
    x = data(SEQUENCE, "")
    lstm, plain = layers.LSTM(UNITS), layers.LSTM(UNITS, unit_forget_bias=False)
    after, before = layers.GRU(UNITS), layers.GRU(UNITS, reset_after=False)
    for layer in (lstm, plain, after, before):
        layer(x)
    expected = np.zeros(4 * UNITS)
    expected[UNITS : 2 * UNITS] = 1
    np.testing.assert_array_equal(lstm.bias, expected)
    assert not plain.bias.numpy().any()
    assert after.bias.shape == (2, 3 * UNITS) and before.bias.shape == (3 * UNITS,)
    assert lstm.kernel.shape == (FEATURES, 4 * UNITS) and lstm.recurrent_kernel.shape == (UNITS, 4 * UNITS)


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
    """What follows sees neither mask nor lengths, and a wrong shape is named."""
    y = layers.GlobalMaxPooling1D()(np.ones((2, 3, 4)), lengths=[1, 2])
    assert y.lengths is None and y.mask is None and layers.Dense(1)(y).shape == (2, 1)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(batch, time, features\)"):
        layers.GlobalMaxPooling1D()(np.ones((2, 3)))


def test_layers_inside_layers() -> None:
    block = Block(8, name="block")
    x = np.ones((2, 3))
    block(x)
    assert [path for path, _ in block._named_sublayers()] == ["parts.0", "parts.1.drop"]
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
    base.reset_names()
    names = [one.name for one in (layers.LSTM(1), layers.LSTM(1), layers.SimpleRNN(1), layers.ReLU())]
    assert names == ["lstm", "lstm_1", "simple_rnn", "re_lu"]


def test_a_failing_build_leaves_no_weights() -> None:
    layer = layers.Dense(3, bias_initializer=lambda shape, dtype: np.zeros(7))
    with pytest.raises(ValueError, match="initializer: expected values of shape"):
        layer(np.ones((1, 2)))
    assert not layer.built and layer.weights == []


def test_input_shapes_given_beforehand() -> None:
    assert layers.Input((5,), batch_size=2).batch_shape == (2, 5)
    assert layers.Dense(2, input_dim=3)._batch_input_shape == (None, 3)
    assert layers.LSTM(2, input_shape=(None, 3))._batch_input_shape == (None, None, 3)
    assert layers.Embedding(3, 2, input_length=7)._batch_input_shape == (None, 7)
    clone = registry.deserialize(registry.serialize(layers.LSTM(2, input_shape=(4, 3))))
    assert clone._batch_input_shape == (None, 4, 3)
