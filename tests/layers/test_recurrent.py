"""Promises of recurrent layers, their cells and Bidirectional beyond the common tests of all layers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seqcore import layers, ops, optimizers, random
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor, Variable
from seqcore.layers import registry
from tests.helpers.cases import central_difference
from tests.helpers.layer_cases import BATCH, CELLS, FEATURES, RNG, SEQUENCE, STEPS, UNITS, data


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
    of_the_layer = ("return_sequences", "return_state", "unroll", "zero_output_for_mask")
    config = {k: v for k, v in layer.get_config().items() if k not in of_the_layer}
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
    np.testing.assert_allclose(np.stack([out.numpy() for out in outs], 1), y.numpy(), atol=1e-12)
    for ours, theirs in zip(state, states, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)
    with GradientTape() as other:
        wanted = ops.reduce_sum(layer(x)[0] * weights)
    by_hand = tape.gradient(total, step.trainable_variables)
    for a, b in zip(by_hand, other.gradient(wanted, layer.trainable_variables), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-10)


@pytest.mark.parametrize("both", [False, True])
def test_packed_weights_follow_the_weights(cell: Any, both: bool) -> None:
    """Inference calls keep packed weights; whatever changes a weight must show, bit by bit as under a tape."""
    single = cell(return_sequences=True)
    layer = layers.Bidirectional(single, dtype="float64") if both else single
    x = data(SEQUENCE, "", "float64")

    def agrees() -> np.ndarray[Any, Any]:
        plain, again = layer(x).numpy(), layer(x).numpy()
        with GradientTape():
            recorded = layer(x).numpy()  # packs again
        np.testing.assert_array_equal(plain, recorded)
        np.testing.assert_array_equal(again, recorded)
        return np.array(plain)

    seen = [agrees()]
    for variable in layer.trainable_weights:  # each by itself, of both directions
        variable.assign_add(np.full(variable.shape, 0.1))
        seen.append(agrees())
    with GradientTape() as tape:
        loss = ops.reduce_sum(layer(x))
    optimizers.SGD(0.1).apply_gradients(
        zip(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights, strict=True)
    )
    seen.append(agrees())
    layer.set_weights([np.zeros(w.shape) for w in layer.weights])
    seen.append(agrees())
    for before, after in zip(seen, seen[1:], strict=False):
        assert not np.array_equal(before, after)
    inner = layer.forward_layer if both else layer
    if hasattr(inner, "kernel"):
        # Another variable in the old one's place, as new as that one.
        first, other = inner.kernel, Variable(np.ones(inner.kernel.shape), dtype="float64")
        other.version = first.version
        inner.kernel = other
        assert not np.array_equal(agrees(), seen[-1])
        with pytest.raises(TypeError, match="kernel: expected the weight that the layer made, got another variable"):
            copy.deepcopy(layer)
        inner.kernel = first
    twin_of = copy.deepcopy(layer)
    np.testing.assert_array_equal(twin_of(x).numpy(), layer(x).numpy())
    twin_of.set_weights([np.full(w.shape, 0.2) for w in twin_of.weights])
    assert not np.array_equal(twin_of(x).numpy(), layer(x).numpy())


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
        carried.reset_states(stddev=-1.0)


def test_noise_of_a_reset_is_truncated() -> None:
    """Normal numbers without those beyond two standard deviations, as the books draw them."""
    layer = layers.SimpleRNN(100, stateful=True)
    layer(np.zeros((40, 1, 2)))
    layer.reset_states(stddev=0.01)
    noise = np.asarray(layer.states[0])
    assert 0.0195 < np.abs(noise).max() <= 0.02 and abs(noise.std() - 0.0088) < 0.0003


def test_gradient_of_the_initial_state(cell: Any) -> None:
    layer = cell(return_state=True)
    x = data(SEQUENCE, "", "float64")
    layer(x)
    states = [Tensor(RNG.normal(size=s.shape)) for s in layer(x)[1:]]

    def total() -> Tensor:
        result = ops.reduce_sum(ops.square(layer(x, initial_state=states)[0]))
        for state in layer(x, initial_state=states)[1:]:
            result = result + ops.reduce_sum(ops.sigmoid(state))
        return result

    with GradientTape() as tape:
        tape.watch(states)
        y = total()
    for state, grad in zip(states, tape.gradient(y, states), strict=True):
        for place in [(0, 0), (2, 1)]:
            assert grad.numpy()[place] == pytest.approx(central_difference(total, state, place), abs=1e-7)


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
        for at in RNG.permutation(source.size)[:10]:
            place = np.unravel_index(at, source.shape)
            assert gradient.numpy()[place] == pytest.approx(central_difference(total, source, place), abs=1e-7)


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
    results = both(x)
    assert both.compute_output_shape(SEQUENCE) == [result.shape for result in results]
    first, second = cell(return_sequences=sequences, return_state=True), None
    first(x)
    first.set_weights(both.forward_layer.get_weights())
    second = twin(cell, both.backward_layer, return_sequences=sequences, return_state=True)
    a, *a_states = first(x)
    b, *b_states = second(x[:, ::-1])
    a, b = a.numpy(), b.numpy()[:, ::-1] if sequences else b.numpy()
    expected = {"concat": lambda: np.concatenate([a, b], -1), "sum": lambda: a + b, "mul": lambda: a * b}
    expected["ave"] = lambda: (a + b) / 2
    outputs = results[: 2 if mode is None else 1]
    wanted = [a, b] if mode is None else [expected[mode]()]
    for ours, theirs in zip([*outputs, *results[len(outputs) :]], [*wanted, *a_states, *b_states], strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-12)
    again = both(x, initial_state=[*a_states, *b_states])
    assert len(again) == len(results)
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
        for state in states:
            total = total + ops.reduce_sum(ops.square(state))
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
    for gradient, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-10)


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
        with pytest.raises(
            ValueError, match=r"got \(2, 3\); put an Embedding before it for ids, or return_sequences=True"
        ):
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
    of_context = layer.last_context_gradients
    assert of_context.shape == (BATCH, STEPS, 2)
    np.testing.assert_allclose(0.3 * np.einsum("btd,btc->dc", x, of_context), gradient, atol=1e-12)
    # At the last step s_T reaches the loss as an output and through h_T.
    y, pushed = layer(x).numpy()[:, -1], layer.context_recurrent_kernel.numpy()
    last = 2 * y[:, 3:] + (2 * y[:, :3] * (1 - y[:, :3] ** 2)) @ pushed.T
    np.testing.assert_allclose(of_context[:, -1], last, atol=1e-12)


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
    with pytest.raises(ValueError, match="dropout: expected a number in 0...1, 1 excluded, got 1.0"):
        cell(dropout=1.0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_an_output_keeps_its_values_while_others_are_computed(cell: Any, sequences: bool, training: bool) -> None:
    """Its memory belongs to the array, whatever else the call needed memory for."""
    layer, x = cell(return_sequences=sequences, dropout=0.3, recurrent_dropout=0.3), data(SEQUENCE, "")
    first = np.asarray(layer(x, training=training))
    copy_of_first = first.copy()
    others = [np.asarray(layer(x + number, training=training)) for number in range(3)]
    np.testing.assert_array_equal(first, copy_of_first)
    assert not any(np.shares_memory(first, other) for other in others)


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
    sizes = np.atleast_1d(layer.state_size)
    count, good = len(sizes), [np.zeros((BATCH, n)) for n in sizes]
    for text, arguments in [
        (f"initial_state: expected {count} states", {"initial_state": good + good}),
        ("initial_state: expected states of shape", {"initial_state": [state[:2] for state in good]}),
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
        ("alpha: expected a number in 0...1, got 2", lambda: layers.ContextRNN(3, 2, alpha=2)),
        ("context_units: expected an integer >= 1", lambda: layers.ContextRNN(3, 0)),
        ("rate: expected a number", lambda: layers.Dropout(1.0)),
        ("rate: expected a number", lambda: layers.Dropout("half")),
        ("layer: expected a recurrent layer, got Dense", lambda: layers.Bidirectional(layers.Dense(2))),
        ("merge_mode: expected", lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="max")),
        (
            "backward_layer: expected go_backwards=True",
            lambda: layers.Bidirectional(layers.LSTM(2), None, None, layers.LSTM(2)),
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


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "make", [layers.SimpleRNN, layers.LSTM, layers.GRU, lambda n, **k: layers.ContextRNN(n, 2, **k)]
)
def test_zero_output_for_mask(make, backwards, sequences, stateful):
    """Masked steps give zeros instead of the output before them; states and the other steps stay as they are."""
    x, weight = np.random.default_rng(0).normal(size=(3, 5, 4)), np.random.default_rng(1).normal(size=(3, 5, 5))
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]], bool)
    options = {"return_sequences": sequences, "go_backwards": backwards, "return_state": True, "dtype": "float64"}
    results = []
    for zeros in (False, True):
        layer = make(3, zero_output_for_mask=zeros, stateful=stateful, **options)
        layer(x)
        layer.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.weights)])
        layer.reset_states()
        layer(x, mask=mask)
        kept = mask[:, ::-1] if backwards else mask
        kept = kept[..., None] if sequences else kept[:, -1:]
        with GradientTape() as tape:
            y, *states = layer(x, mask=mask)
            scale = weight[:, :, : y.shape[-1]] if sequences else weight[:, 0, : y.shape[-1]]
            loss = ops.reduce_sum(y * scale * np.where(kept, 1.0, float(zeros)))
        results.append([np.where(kept, y, 0), *states, *map(np.asarray, tape.gradient(loss, layer.weights))])
        if zeros:
            assert not np.asarray(y)[~np.broadcast_to(kept, y.shape)].any()
    for plain, zeroed in zip(*results, strict=True):
        np.testing.assert_allclose(zeroed, plain, rtol=1e-12, atol=1e-13)
