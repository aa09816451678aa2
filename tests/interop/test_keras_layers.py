"""Layers of seqcore.interop.keras next to Keras's own, on the backend of the run: KERAS_BACKEND=torch, tensorflow, jax.

B = 3, T = 7, D = 4, H = 5.
"""

import inspect
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras", exc_type=ImportError)
if keras.config.backend() not in ("torch", "tensorflow", "jax"):
    pytest.skip(f"backend {keras.config.backend()}", allow_module_level=True)

from seqcore.interop.keras import layers as core_layers  # noqa: E402
from seqcore.interop.keras import recurrent_call  # noqa: E402
from tests.helpers.keras_gradients import BACKEND, results_and_gradients  # noqa: E402

B, T, D, H = 3, 7, 4, 5
CELLS = {
    "SimpleRNN": ("SimpleRNN", {}),
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {}),
    "GRU reset before": ("GRU", {"reset_after": False}),
}
each_cell = pytest.mark.parametrize("cell", CELLS)


@pytest.fixture
def rng():
    return np.random.default_rng(15)


def pair(cell, **options):
    """Keras's layer and ours, with the same options."""
    name, own = CELLS[cell]
    return [getattr(module, name)(H, **own, **options) for module in (keras.layers, core_layers)]


def share_weights(rng, reference, layer):
    """Random weights, the same in both."""
    layer.set_weights([rng.normal(size=weight.shape) / 2 for weight in layer.get_weights()])
    reference.set_weights(layer.get_weights())


def states_of(layer, rng, dtype="float32"):
    return [rng.normal(size=(B, H)).astype(dtype) for _ in layer.state_size]


def mask_of(rng):
    mask = rng.random((B, T)) < 0.6
    mask[0, 0], mask[1] = False, False
    return mask


def compare_calls(layer, reference, x, training):
    def run(each):
        return results_and_gradients(lambda x: [each(x, training=training)], [x], each.trainable_variables)

    for actual, expected in zip(run(layer), run(reference), strict=True):
        compare(actual, expected, 2e-5)


def compare(actual, expected, tolerance):
    for ours, theirs in zip(actual, expected, strict=True):
        # Keras's loop has no gradient where it does not read: None next to zeros.
        theirs = np.zeros_like(ours) if theirs is None else theirs
        np.testing.assert_allclose(np.zeros_like(theirs) if ours is None else ours, theirs, tolerance, tolerance)


# --- the same numbers -------------------------------------------------------------------------------------------------

OPTIONS = {
    "last": {},
    "sequences": {"return_sequences": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "backwards, last, mask": {"go_backwards": True, "mask": True},
    "mask": {"return_sequences": True, "mask": True},
    "mask, zeros": {"return_sequences": True, "mask": True, "zero_output_for_mask": True},
    "backwards, mask": {"return_sequences": True, "go_backwards": True, "mask": True},
    "mask, zeros, last": {"mask": True, "zero_output_for_mask": True, "use_bias": False},
    "no bias": {"return_sequences": True, "use_bias": False, "activation": "relu"},
    "gates": {"recurrent_activation": "hard_sigmoid", "activation": "sigmoid"},
    "linear": {"return_sequences": True, "activation": None, "recurrent_activation": "sigmoid", "unroll": True},
    "float64": {"return_sequences": True, "mask": True, "dtype": "float64"},
}


@each_cell
@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_results_and_gradients_are_those_of_keras(cell, case, compiled, rng):
    if compiled and BACKEND == "torch":
        pytest.skip("torch runs eagerly")
    options = dict(OPTIONS[case])
    masked = options.pop("mask", False)
    if cell == "SimpleRNN":
        options.pop("recurrent_activation", None)
    dtype = options.get("dtype", "float32")
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has 64 bits only in a process of its own")
    reference, layer = pair(cell, return_state=True, **options)
    for each in (reference, layer):
        each.build((B, T, D))
    share_weights(rng, reference, layer)
    inputs = [rng.normal(size=(B, T, D)).astype(dtype), *states_of(layer, rng, dtype)]
    mask = keras.ops.convert_to_tensor(mask_of(rng)) if masked else None

    def run(each):
        def function(x, *states):
            return each(x, initial_state=list(states), mask=mask)

        return results_and_gradients(function, inputs, each.trainable_variables, compiled)

    tolerance = 2e-5
    if dtype == "float64" and BACKEND == "tensorflow":
        tolerance = 1e-9  # on torch Keras's matmul rounds to float32
    for actual, expected in zip(run(layer), run(reference), strict=True):
        compare(actual, expected, tolerance)


def test_float64_is_float64():
    program = (
        "import numpy as np, keras; from seqcore.interop.keras import SimpleRNN\n"
        "x = np.random.default_rng(0).normal(size=(3, 7, 4))\n"
        "layer = SimpleRNN(5, dtype='float64')\n"
        "actual = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(x, 'float64')))\n"
        "kernel, recurrent, bias = layer.get_weights()\n"
        "h = 0 * bias\n"
        "for t in range(7): h = np.tanh(x[:, t] @ kernel + h @ recurrent + bias)\n"
        "print(abs(actual - h).max(), actual.dtype)"
    )
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "KERAS_BACKEND": BACKEND}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    deviation, dtype = run.stdout.split()
    assert dtype == "float64"
    assert float(deviation) < 1e-13


@each_cell
def test_half_precision_is_computed_in_float32(cell, rng):
    reference, layer = pair(cell, dtype="mixed_bfloat16", return_sequences=True)
    x = rng.normal(size=(B, T, D)).astype("float32")
    reference(x), layer(x)
    share_weights(rng, reference, layer)
    actual, expected = layer(x), reference(x)
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    actual, expected = (keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")) for y in (actual, expected))
    np.testing.assert_allclose(actual, expected, atol=0.05)


@each_cell
def test_dropout_masks_are_those_of_keras(cell, rng):
    reference, layer = pair(cell, dropout=0.4, seed=3, return_sequences=True)
    x = rng.normal(size=(B, T, D)).astype("float32")
    reference(x), layer(x)
    share_weights(rng, reference, layer)
    for training in (True, True, False):
        compare_calls(layer, reference, x, training)


@each_cell
def test_recurrent_dropout_has_one_mask_for_all_gates(cell, rng):
    reference, layer = pair(cell, dropout=0.4, recurrent_dropout=0.3, seed=3, return_sequences=True)

    def one_for_all(step_input, rate):
        mask = keras.random.dropout(keras.ops.ones_like(step_input), rate, seed=reference.cell.seed_generator)
        return mask if cell == "SimpleRNN" else [mask] * 4

    reference.cell._create_dropout_mask = one_for_all
    x = rng.normal(size=(B, T, D)).astype("float32")
    reference(x), layer(x)
    share_weights(rng, reference, layer)
    for training in (True, False):
        compare_calls(layer, reference, x, training)


@each_cell
def test_states_are_carried_from_call_to_call(cell, rng):
    reference, layer = pair(cell, stateful=True)
    x = rng.normal(size=(B, T, D)).astype("float32")
    reference(x), layer(x)
    share_weights(rng, reference, layer)
    for each in (reference, layer):
        each.reset_state()
    first = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(first, keras.ops.convert_to_numpy(reference(x)), atol=2e-5)
    second = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(second, keras.ops.convert_to_numpy(reference(x)), atol=2e-5)
    assert np.abs(second - first).max() > 1e-3


# --- models -----------------------------------------------------------------------------------------------------------


def word_model(module, seed=0):
    """Ids with padding through Bidirectional, two kinds of layers and states from one layer to the next."""
    keras.utils.set_random_seed(seed)
    ids = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(20, 8, mask_zero=True)(ids)
    x = keras.layers.Bidirectional(module.LSTM(5, return_sequences=True, dropout=0.2, seed=seed))(x)
    x, state = module.GRU(6, return_sequences=True, return_state=True)(x)
    x = module.SimpleRNN(6)(x, initial_state=state)
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    return model


def word_data(rng):
    ids = rng.integers(1, 20, (40, 6))
    ids[np.arange(6) >= rng.integers(1, 7, (40, 1))] = 0
    return ids.astype("int32"), (ids[:, 0] > 10).astype("float32")


def test_training_has_the_losses_of_keras(rng):
    ids, labels = word_data(rng)
    histories, predictions = [], []
    for module in (keras.layers, core_layers):
        model = word_model(module)
        history = model.fit(ids, labels, batch_size=16, epochs=4, shuffle=False, verbose=0, validation_split=0.2)
        histories.append(history.history)
        predictions.append(model.predict(ids, verbose=0))
    for name, theirs in histories[0].items():
        np.testing.assert_allclose(histories[1][name], theirs, rtol=2e-4)
    assert histories[1]["loss"][-1] < histories[1]["loss"][0]
    np.testing.assert_allclose(predictions[1], predictions[0], atol=1e-3)


def test_weights_files_are_interchangeable(rng, tmp_path):
    ids, _ = word_data(rng)
    for source, target in ((keras.layers, core_layers), (core_layers, keras.layers)):
        written, read = word_model(source, 1), word_model(target, 2)
        written.save_weights(tmp_path / "model.weights.h5")
        read.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(read.predict(ids, verbose=0), written.predict(ids, verbose=0), atol=1e-5)


def test_model_file_opens_again(rng, tmp_path):
    ids, _ = word_data(rng)
    model = word_model(core_layers)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(ids, verbose=0), model.predict(ids, verbose=0))
    assert type(again.layers[2].forward_layer) is core_layers.LSTM
    program = "import keras, seqcore.interop.keras, sys; keras.saving.load_model(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.keras")], check=True)


def test_models_turn_into_keras_own_and_back(rng, tmp_path):
    ids, labels = word_data(rng)
    model = word_model(core_layers)
    model.fit(ids, labels, epochs=1, verbose=0)
    plain = core_layers.to_keras_layers(model)
    plain.save(tmp_path / "plain.keras")
    with zipfile.ZipFile(tmp_path / "plain.keras") as archive:
        assert "seqcore" not in json.dumps(json.loads(archive.read("config.json")))
    expected = model.predict(ids, verbose=0)
    np.testing.assert_allclose(plain.predict(ids, verbose=0), expected, atol=1e-5)
    plain.fit(ids, labels, epochs=1, verbose=0)
    assert np.abs(model.predict(ids, verbose=0) - expected).max() == 0
    back = core_layers.to_seqcore_layers(core_layers.to_keras_layers(model))
    np.testing.assert_array_equal(back.predict(ids, verbose=0), expected)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in model.layers]


def test_one_layer_turns_into_keras_own(rng):
    x = rng.normal(size=(B, T, D)).astype("float32")
    layer = core_layers.GRU(H, reset_after=False, go_backwards=True)
    expected = layer(x)
    plain = core_layers.to_keras_layers(layer)
    assert type(plain) is keras.layers.GRU
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (plain(x), expected)), atol=1e-5)


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_arguments_are_those_of_keras(name):
    ours, theirs = getattr(core_layers, name), getattr(keras.layers, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours(4, "relu", name="a").get_config() == theirs(4, "relu", name="a").get_config()


def test_refused_arguments():
    with pytest.raises(ValueError, match=r"^activation: expected one of linear, tanh.* got 'gelu'; keras.layers.LSTM"):
        core_layers.LSTM(4, activation="gelu")
    with pytest.raises(ValueError, match=r"^recurrent_activation: .* got 'softmax'; keras.layers.GRU"):
        core_layers.GRU(4, recurrent_activation="softmax")
    with pytest.raises(ValueError, match=r"^use_cudnn: expected 'auto' or False .* got True$"):
        core_layers.GRU(4, use_cudnn=True)
    with pytest.raises(ValueError, match=r"mask: expected the shape \(batch, 7\), got \(3, 6\)"):
        core_layers.GRU(4)(np.zeros((B, T, D), "float32"), mask=np.ones((B, 6), bool))
    built = core_layers.LSTM(4, name="built")
    built.build((B, T, D))
    with pytest.raises(ValueError, match="sequences: expected 4 features for 'built', got 5"):
        built(np.zeros((B, T, D + 1), "float32"))
    with pytest.raises(ValueError, match=r"sequences: expected at least one for 'built', got shape \(0, 7, 4\)"):
        built(np.zeros((0, T, D), "float32"))
    with pytest.raises(TypeError, match=r"^model: expected a model or layer of Keras, got int$"):
        core_layers.to_keras_layers(3)
    with pytest.raises(ValueError, match=r"^model: expected a model with weights, got 'new', which is not built yet$"):
        core_layers.to_keras_layers(core_layers.GRU(4, name="new"))
    with pytest.raises(ValueError, match=r"^activation: expected one of .* got 'elu'"):
        layer = keras.layers.GRU(4, activation="elu")
        layer.build((B, T, D))
        core_layers.to_seqcore_layers(layer)


# --- backward passes --------------------------------------------------------------------------------------------------


def call_and_arrays(rng):
    names = ("x", "kernel", "recurrent_kernel", "bias", "h")
    arrays = [rng.normal(size=shape) for shape in ((B, T, D), (D, 3 * H), (H, 3 * H), (2, 3 * H), (B, H))]
    return recurrent_call.RecurrentCall("gru", "tanh", "sigmoid", False, True, True, False, names), arrays


def test_backward_pass_computes_again_what_is_not_kept(rng):
    call, arrays = call_and_arrays(rng)
    y, h, number = recurrent_call.numbered_forward(call, arrays, save=True)
    first = recurrent_call.numbered_backward(call, arrays, number, [y, h])
    again = recurrent_call.numbered_backward(call, arrays, number, [y, h])
    for kept, computed in zip(first, again, strict=True):
        np.testing.assert_array_equal(kept, computed)


def test_forward_passes_without_backward_do_not_stay(rng):
    call, arrays = call_and_arrays(rng)
    _, saved = call.forward(arrays, True)
    kept = recurrent_call.SavedCalls(limit=3 * saved.nbytes)
    numbers = [kept.put(saved) for _ in range(5)]
    assert [kept.take(number) is not None for number in numbers] == [False, False, True, True, True]
    assert kept.take(numbers[-1]) is None


@pytest.mark.skipif(BACKEND != "torch", reason="of torch")
class TestTorch:
    @pytest.mark.parametrize("changed", ["input", "output", "weight"])
    def test_memory_that_changed_in_place_is_refused(self, changed):
        import torch

        x = keras.ops.ones((B, T, D))
        layer = core_layers.GRU(H, return_sequences=True)
        y = layer(x)
        with torch.no_grad():
            {"input": x, "output": y, "weight": layer.cell.kernel.value}[changed].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_second_derivative_is_refused(self):
        import torch

        x = torch.ones(B, T, D, requires_grad=True)
        y = core_layers.LSTM(H)(x).sum()
        with pytest.raises(NotImplementedError, match="^create_graph: seqcore's layers have no second derivatives"):
            torch.autograd.grad(y, x, create_graph=True)

    def test_compiled_model(self, rng):
        import torch

        x = torch.from_numpy(rng.normal(size=(B, T, D)).astype("float32"))
        layer = core_layers.LSTM(H)
        expected = layer(x)
        compiled = torch.compile(layer, backend="eager")
        torch.testing.assert_close(compiled(x), expected)

    def test_time_steps_may_lie_in_any_order(self, rng):
        import torch

        x = torch.from_numpy(rng.normal(size=(T, B, D)).astype("float32")).transpose(0, 1)
        layer = core_layers.LSTM(H, return_sequences=True)
        torch.testing.assert_close(layer(x), layer(x.contiguous()))
        assert layer(torch.empty(B, T, D, device="meta")).shape == (B, T, H)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
def test_tape_outside_of_the_compiled_function(rng):
    import tensorflow as tf

    layer = core_layers.LSTM(H)
    x = tf.constant(rng.normal(size=(B, T, D)), tf.float32)
    run = tf.function(lambda x: layer(x))
    run(x)
    gradients = []
    for function in (run, layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(x) ** 2)
        gradients.append(tape.gradient(loss, [weight.value for weight in layer.weights]))
    for compiled, eager in zip(*gradients, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
@pytest.mark.parametrize("compiled", [False, True])
def test_second_derivative_is_refused_in_tensorflow(compiled):
    import tensorflow as tf

    layer, x = core_layers.LSTM(H), tf.ones((B, T, D))
    layer.build(x.shape)

    def penalty(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x))
            gradient = inner.gradient(y, x)
        return outer.gradient(gradient, x)

    with pytest.raises(NotImplementedError, match="^gradient: seqcore's layers have no second derivatives$"):
        (tf.function(penalty, autograph=False) if compiled else penalty)(x)


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_second_derivative_and_vmap_are_refused_in_jax():
    import jax

    layer, x = core_layers.LSTM(H), jax.numpy.ones((B, T, D))
    layer.build(x.shape)
    gradient = jax.grad(lambda x: layer(x).sum())
    with pytest.raises(NotImplementedError, match="Differentiation rule for 'seqcore_recurrent"):
        jax.grad(lambda x: gradient(x).sum())(x)
    with pytest.raises(NotImplementedError, match="Batching rule for 'seqcore_recurrent"):
        jax.vmap(layer)(x[None])


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_large_inputs_on_one_processor():
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "import jax, keras; from seqcore.interop.keras import layers\n"
        "first, second = layers.GRU(64, return_sequences=True), layers.GRU(64)\n"
        "x = jax.numpy.ones((2000, 20, 64))\n"
        "run = jax.jit(lambda x: second(first(x)))\n"
        "print(sum(float(run(x + i).sum()) for i in range(5)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert np.isfinite(float(run.stdout))
