"""Conv1D against the NumPy reference: every padding, stride and dilation, gradients, lengths, masks, threads."""

import itertools

import numpy as np
import pytest

import seqcore as sc
from seqcore import _core, layers, ops
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import Tensor
from tests.helpers import cases, reference

BATCH, FEATURES, FILTERS = 3, 4, 5
PADDINGS = ["valid", "same", "causal", (0, 0), (2, 1), (0, 7), (5, 0)]
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def pads_of(padding, steps, kernel_size, stride, dilation):
    """Zeros in front and behind as TensorFlow's documentation defines them."""
    reach = (kernel_size - 1) * dilation
    if padding == "same":
        outputs = int(np.ceil(steps / stride))
        total = max((outputs - 1) * stride + reach + 1 - steps, 0)
        return total // 2, total - total // 2
    return {"valid": (0, 0), "causal": (reach, 0)}.get(padding, padding)


def drawn(rng, layer, shape):
    """The layer with weights that are not its first ones."""
    layer.build((None, *shape[1:]))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_values_and_gradients(rng, padding, activation, dtype):
    for kernel_size, stride, dilation, steps in itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 2, 3), (1, 5, 8)):
        pads = pads_of(padding, steps, kernel_size, stride, dilation)
        if steps + sum(pads) <= (kernel_size - 1) * dilation:
            continue
        x = rng.normal(size=(BATCH, steps, FEATURES)).astype(dtype)
        layer = layers.Conv1D(
            FILTERS, kernel_size, stride, padding, dilation_rate=dilation, activation=activation, dtype=dtype
        )
        kernel, bias = drawn(rng, layer, x.shape).get_weights()
        options = {"stride": stride, "dilation": dilation, "pads": pads, "activation": activation}
        expected = reference.conv1d_forward(x, kernel, bias, **options)
        inputs = Tensor(x)
        with GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs)
        assert y.shape == expected.shape == layer.compute_output_shape(x.shape) and y.dtype == dtype
        assert cases.deviation(y.numpy(), expected) < TOLERANCE[dtype]
        dy = rng.normal(size=y.shape).astype(dtype)
        gradients = tape.gradient(y, [inputs, *layer.weights], output_gradients=dy)
        wanted = reference.conv1d_backward(x, kernel, y.numpy(), dy, **options)
        for gradient, value in zip(gradients, wanted, strict=True):
            assert cases.deviation(np.asarray(gradient), value) < TOLERANCE[dtype]


def test_time_major_and_integer_inputs(rng):
    """What a recurrent layer returns is a time-major view; the values are those of a copy in C order."""
    x = rng.integers(-5, 5, (6, BATCH, FEATURES))
    for padding, dtype in itertools.product(("valid", "same"), ("float32", "int64")):
        major = x.astype(dtype).transpose(1, 0, 2)
        layer = layers.Conv1D(FILTERS, 3, padding=padding)
        np.testing.assert_array_equal(layer(major).numpy(), layer(np.array(major, order="C")).numpy())


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_row_with_a_length_is_that_row_alone(rng, padding, stride):
    """Forward and backward, whatever stands past the length; the output has lengths of its own."""
    steps, lengths = 9, np.array([9, 1, 4, 0])
    layer = layers.Conv1D(FILTERS, 3, stride, padding, activation="sigmoid", dtype="float64")
    x = rng.normal(size=(4, steps, FEATURES))
    drawn(rng, layer, x.shape)
    hidden = np.arange(steps) >= lengths[:, None]
    x[hidden] = np.nan
    if padding == "same" and stride > 1:
        with pytest.raises(ValueError, match="^lengths: expected padding='causal' or two numbers for layer"):
            layer(x, lengths=lengths)
        return
    inputs = Tensor(x)
    with GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        y = layer(inputs, lengths=lengths)
        total = ops.reduce_sum(y * np.cos(np.arange(y.size)).reshape(y.shape))
    dx, dkernel = (np.asarray(g) for g in tape.gradient(total, [inputs, layer.kernel]))
    assert not dx[hidden].any() and np.isfinite(dkernel).all()
    for row, length in enumerate(lengths):
        alone = x[row : row + 1, :length]
        count = y.lengths[row]
        assert not y.numpy()[row, count:].any()
        if count:
            np.testing.assert_allclose(y.numpy()[row, :count], layer(alone).numpy()[0], atol=1e-12)
        elif length:
            with pytest.raises(ValueError, match="time steps"):
                layer(alone)


def test_lengths_reach_the_layers_behind(rng):
    stack = [layers.Conv1D(FILTERS, 3, 2, "causal", activation="relu"), layers.LSTM(4), layers.Dense(2)]
    model = sc.Sequential(stack)
    x = rng.normal(size=(2, 8, FEATURES)).astype(np.float32)
    y = model(x, lengths=[8, 5]).numpy()
    np.testing.assert_allclose(y[1:], model(x[1:, :5]).numpy(), atol=1e-6)


def test_a_mask_has_no_influence_and_goes_no_further(rng):
    x = rng.normal(size=(2, 5, FEATURES)).astype(np.float32)
    layer = layers.Conv1D(FILTERS, 2)
    masked = layer(x, mask=[[True] * 3 + [False] * 2, [True] * 5])
    np.testing.assert_array_equal(masked.numpy(), layer(x).numpy())
    assert masked.mask is None and masked.lengths is None


def test_the_same_bits_for_any_number_of_threads(rng):
    x = rng.normal(size=(16, 200, 24)).astype(np.float32)
    layer = drawn(rng, layers.Conv1D(48, 5, padding="same", activation="tanh"), x.shape)
    results = []
    for count in (1, 2, 7):
        _core.system.set_num_threads(count)
        inputs = Tensor(x)
        with GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs)
        results.append([y.numpy(), *map(np.asarray, tape.gradient(y, [inputs, *layer.weights]))])
    for other in results[1:]:
        for array, again in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(array, again)


def test_a_model_learns_is_saved_and_loaded(rng, tmp_path):
    """Where a pattern of three steps stands in a sequence, which no layer without neighbours can tell."""
    pattern = rng.normal(size=(3, FEATURES))
    x, y = rng.normal(size=(256, 12, FEATURES)) * 0.5, rng.integers(0, 10, 256)
    for row, start in zip(x, y):
        row[start : start + 3] += 2 * pattern
    model = sc.Sequential(
        [layers.Conv1D(8, 3, activation="relu"), layers.Conv1D(1, 1), layers.Flatten(), layers.Softmax()]
    )
    model.compile(sc.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9
    model.save(tmp_path / "model.safetensors")
    again = sc.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again(x).numpy(), model(x).numpy())
    assert again.layers[0].get_config() == model.layers[0].get_config()


def test_mixed_precision(rng):
    x = rng.normal(size=(2, 9, FEATURES)).astype(np.float32)
    layer = layers.Conv1D(FILTERS, 3, dtype="mixed_bfloat16")
    plain = layers.Conv1D.from_config({**layer.get_config(), "dtype": "float32"})
    y = layer(x).numpy()
    plain(x)
    plain.set_weights(layer.get_weights())
    assert y.dtype == np.float32 and np.abs(y - plain(x).numpy()).max() < 0.05


REFUSED = [
    ({"kernel_size": 0}, "kernel_size: expected"),
    ({"kernel_size": (2, 2)}, r"kernel_size: expected one integer, got \(2, 2\)"),
    ({"kernel_size": 2, "strides": 0}, "strides: expected"),
    ({"kernel_size": 2, "strides": 1.5}, "strides: expected"),
    ({"kernel_size": 2, "dilation_rate": -1}, "dilation_rate: expected"),
    ({"kernel_size": 2, "padding": "full"}, "padding: expected 'valid', 'same' or 'causal', got 'full'"),
    ({"kernel_size": 2, "padding": (1,)}, r"padding: expected a word or two numbers, in front and behind, got \(1,\)"),
    ({"kernel_size": 2, "padding": (1, -1)}, "padding: expected"),
    ({"kernel_size": 2, "padding": None}, "padding: expected"),
    ({"kernel_size": 2, "groups": 2}, r"groups: expected 1 \(each filter sees all features\), got 2"),
    ({"kernel_size": 2, "data_format": "channels_first"}, "data_format: expected"),
    ({"kernel_size": 2, "activation": "selu"}, "activation: expected"),
    ({"kernel_size": 2, "kernel_constraint": "max_norm"}, "kernel_constraint: expected None"),
]


def test_words_in_capital_letters():
    assert layers.Conv1D(1, 2, padding="SAME").padding == "same"


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused_arguments(options, message):
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        layers.Conv1D(4, **options)


def test_activations_that_are_operations_of_their_own(rng):
    x = rng.normal(size=(2, 5, FEATURES))
    for name in ("elu", "gelu", "log_softmax"):
        layer = layers.Conv1D(FILTERS, 2, activation=name, dtype="float64")
        y = layer(x).numpy()
        plain = layers.Conv1D.from_config({**layer.get_config(), "activation": "linear"})
        plain.build(x.shape)
        plain.set_weights(layer.get_weights())
        np.testing.assert_allclose(y, layers.Activation(name, dtype="float64")(plain(x)).numpy(), atol=1e-12)


def test_refused_inputs(rng):
    layer = layers.Conv1D(FILTERS, 3, dilation_rate=2, padding=(1, 0))
    message = "^inputs: expected at least 4 time steps for layer 'conv1d', got 3$"
    named = layers.Conv1D.from_config({**layer.get_config(), "name": "conv1d"})
    for call in (lambda: named(np.ones((2, 3, FEATURES))), lambda: named.build((None, 3, FEATURES))):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=r"^inputs: expected shape \(batch, time, features\) .*got \(2, 3\)$"):
        layer(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^inputs: expected shape \(batch, time, features\) .*got \(None, 3, None\)$"):
        layer.build((None, 3, None))
    layer.build((None, None, FEATURES))
    with pytest.raises(ValueError, match=r"^inputs: expected shape \(batch, time, 4\) .*got \(2, 8, 3\)$"):
        layer(np.ones((2, 8, 3)))
