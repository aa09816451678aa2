"""PyTorch and Keras, where they are installed: the same weights give the same outputs, losses and gradients."""

import numpy as np
import pytest

import seqcore as sc
from seqcore import GradientTape, Tensor, Variable, _core, layers, ops, optimizers
from tests.helpers import cases

BATCH, STEPS, FEATURES, UNITS, CLASSES = 5, 7, 6, 9, 4
LENGTHS = np.array([7, 3, 5, 1, 7], np.int32)
RATE, UPDATES = 0.05, 5


# PyTorch --------------------------------------------------------------------------------------------------------------
#
# torch keeps its matrices transposed, its gates as i f g o and r z n, and a second bias. Its GRU resets after.

TORCH = {"tanh": ("rnn", "RNN"), "relu": ("rnn", "RNN"), "lstm": ("lstm", "LSTM"), "gru": ("gru", "GRU")}


def swapped(matrix, cell, axis=-1):
    """Gates of a GRU between Keras's order z r h and torch's r z n."""
    if cell != "gru":
        return matrix
    z, r, n = np.split(matrix, 3, axis=axis)
    return np.concatenate([r, z, n], axis=axis)


def torch_layer(torch, kind, layers, both, weights):
    """The torch module that holds the weights {(layer, direction): (kernel, recurrent, bias)}."""
    cell, name = TORCH[kind]
    options = {"nonlinearity": kind} if name == "RNN" else {}
    module = getattr(torch.nn, name)(
        FEATURES, UNITS, layers, batch_first=True, bidirectional=both, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for (layer, direction), (kernel, recurrent, bias) in weights.items():
            end = f"l{layer}" + ("_reverse" if direction else "")
            rows = bias if cell == "gru" else np.stack([bias, np.zeros_like(bias)])
            for target, value in (
                ("weight_ih_", swapped(kernel, cell).T),
                ("weight_hh_", swapped(recurrent, cell).T),
                ("bias_ih_", swapped(rows[0], cell)),
                ("bias_hh_", swapped(rows[1], cell)),
            ):
                getattr(module, target + end).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return module


def torch_gradients(module, cell, layer, direction):
    """Gradients of (kernel, recurrent, bias) in the core's layout."""
    end = f"l{layer}" + ("_reverse" if direction else "")
    gradient = {p: getattr(module, p + end).grad.numpy() for p in ("weight_ih_", "weight_hh_", "bias_ih_", "bias_hh_")}
    bias = [swapped(gradient[p], cell) for p in ("bias_ih_", "bias_hh_")]
    return (
        swapped(gradient["weight_ih_"].T, cell),
        swapped(gradient["weight_hh_"].T, cell),
        np.stack(bias) if cell == "gru" else bias[0],
    )


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", TORCH)
def test_torch(kind, layers, both, packed, rng):
    """A stack under a softmax: outputs, loss and every gradient over several SGD steps; packed sequences as lengths.

    torch's second bias of RNN and LSTM gets the gradient of the first, so both move: the core's bias moves by the two.
    """
    torch = pytest.importorskip("torch")
    cell = TORCH[kind][0]
    activation = cases.CELLS[kind][1]
    reverse = (False, True) if both else (False,)
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    lengths = LENGTHS if packed else None
    valid = np.arange(STEPS)[None] < (LENGTHS if packed else np.full(BATCH, STEPS))[:, None]
    weights, features = {}, FEATURES
    for layer in range(layers):
        for direction in range(len(reverse)):
            weights[layer, direction] = cases.random_weights(rng, cell, features, UNITS, True, np.float64)
        features = UNITS * len(reverse)
    kernel, bias = rng.normal(size=(features, CLASSES)), rng.normal(size=CLASSES)
    targets = rng.integers(0, CLASSES, (BATCH, STEPS)).astype(np.int32)
    initial = [
        [tuple(rng.normal(size=(BATCH, UNITS)) for _ in range(2 if cell == "lstm" else 1)) for _ in reverse]
        for _ in range(layers)
    ]

    module = torch_layer(torch, kind, layers, both, weights)
    top = torch.nn.Linear(features, CLASSES, dtype=torch.float64)
    with torch.no_grad():
        top.weight.copy_(torch.from_numpy(kernel.T.copy()))
        top.bias.copy_(torch.from_numpy(bias))
    start = [
        torch.from_numpy(np.stack([direction[k] for layer in initial for direction in layer])).requires_grad_()
        for k in range(2 if cell == "lstm" else 1)
    ]
    torch_x = torch.from_numpy(x).requires_grad_()

    for _ in range(UPDATES):
        for tensor in (torch_x, *start, *module.parameters(), *top.parameters()):
            tensor.grad = None
        fed = torch_x
        if packed:
            fed = torch.nn.utils.rnn.pack_padded_sequence(fed, LENGTHS.tolist(), batch_first=True, enforce_sorted=False)
        out, last = module(fed, tuple(start) if cell == "lstm" else start[0])
        if packed:
            out = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=STEPS)[0]
        losses = torch.nn.functional.cross_entropy(
            top(out).reshape(-1, CLASSES), torch.from_numpy(targets.reshape(-1)).long(), reduction="none"
        )
        loss = losses[torch.from_numpy(valid.reshape(-1))].mean()
        loss.backward()

        y, kept, states = x, [], []
        for layer in range(layers):
            y, final, saved = _core.recurrent.recurrent_forward(
                cell,
                y,
                [weights[layer, n] for n in range(len(reverse))],
                initial=initial[layer],
                reverse=reverse,
                lengths=lengths,
                activation=activation,
            )
            kept.append(saved)
            states += final
        assert cases.deviation(y, out.detach().numpy()) < 1e-10
        for k, value in enumerate(last if cell == "lstm" else (last,)):
            assert cases.deviation(np.stack([s[k] for s in states]), value.detach().numpy()) < 1e-10
        rows = np.ascontiguousarray(y).reshape(-1, features)
        scale = (valid / valid.sum()).reshape(-1)
        found, _, drows, dkernel, dbias = _core.dense.linear_softmax(rows, kernel, bias, targets.reshape(-1), scale)
        assert cases.deviation((found * scale).sum(), loss.item()) < 1e-10
        assert cases.deviation(dkernel, top.weight.grad.numpy().T) < 1e-10
        assert cases.deviation(dbias, top.bias.grad.numpy()) < 1e-10
        dy = drows.reshape(y.shape)
        for layer in reversed(range(layers)):
            dy, gradients, dinitial, _ = _core.recurrent.recurrent_backward(kept[layer], dy)
            for n in range(len(reverse)):
                expected = torch_gradients(module, cell, layer, n)
                for got, value in zip(gradients[n], expected, strict=True):
                    assert cases.deviation(got, value) < 1e-10
                for got, s in zip(dinitial[n], start, strict=True):
                    assert cases.deviation(got, s.grad[layer * len(reverse) + n].numpy()) < 1e-10
                twice = (1, 1, 1 if cell == "gru" else 2)
                for w, g, times in zip(weights[layer, n], gradients[n], twice, strict=True):
                    w -= RATE * times * g
        assert cases.deviation(dy, torch_x.grad.numpy()) < 1e-10
        kernel -= RATE * dkernel
        bias -= RATE * dbias
        with torch.no_grad():
            for parameter in (*module.parameters(), *top.parameters()):
                parameter -= RATE * parameter.grad


# Keras ----------------------------------------------------------------------------------------------------------------

MASK = np.array(
    [[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1, 0], [0] * 7, [0, 1, 1, 0, 0, 1, 1]], bool
)
KERAS = ("tanh", "relu", "lstm", "gru", "gru_before")


def keras_layer(keras, kind, **options):
    """The Keras layer of a core cell in float64."""
    if kind in ("tanh", "relu"):
        return keras.layers.SimpleRNN(UNITS, activation=kind, dtype="float64", **options)
    if kind == "lstm":
        return keras.layers.LSTM(UNITS, dtype="float64", **options)
    return keras.layers.GRU(UNITS, reset_after=kind == "gru", dtype="float64", **options)


def keras_setup(kind, directions, rng):
    """TensorFlow, Keras and random arrays."""
    tensorflow = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend")
    cell, activation = cases.CELLS[kind]
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    weights = [cases.random_weights(rng, cell, FEATURES, UNITS, True, np.float64) for _ in range(directions)]
    initial = [
        tuple(rng.normal(size=(BATCH, UNITS)) for _ in range(2 if kind == "lstm" else 1)) for _ in range(directions)
    ]
    return tensorflow, keras, cell, activation, x, weights, initial


@pytest.mark.parametrize("masked", [False, True], ids=["full", "mask"])
@pytest.mark.parametrize("go_backwards", [False, True], ids=["forward", "go_backwards"])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("kind", KERAS)
def test_keras_layer(kind, sequences, go_backwards, masked, rng):
    """One layer with initial state: outputs, final state, and gradients of x, the weights and the initial state."""
    tensorflow, keras, cell, activation, x, weights, initial = keras_setup(kind, 1, rng)
    mask = MASK if masked else None
    layer = keras_layer(keras, kind, return_sequences=sequences, return_state=True, go_backwards=go_backwards)
    layer.build(x.shape)
    layer.set_weights(list(weights[0]))
    dy = rng.normal(size=(BATCH, STEPS, UNITS) if sequences else (BATCH, UNITS))
    fed, start = tensorflow.constant(x), [tensorflow.constant(s) for s in initial[0]]
    with tensorflow.GradientTape() as tape:
        tape.watch([fed, *start])
        out, *last = layer(fed, initial_state=start, mask=None if mask is None else tensorflow.constant(mask))
        loss = tensorflow.reduce_sum(out * dy) + sum(tensorflow.reduce_sum(s) for s in last)
    expected = tape.gradient(loss, [fed, *layer.trainable_weights, *start])

    y, states, saved = _core.recurrent.recurrent_forward(
        cell,
        x,
        weights,
        initial=initial,
        reverse=(go_backwards,),
        mask=mask,
        activation=activation,
        sequences=sequences,
        processing_order=sequences,
    )
    assert cases.deviation(y, out.numpy()) < 1e-10
    for got, value in zip(states[0], last, strict=True):
        assert cases.deviation(got, value.numpy()) < 1e-10
    dx, gradients, dinitial, _ = _core.recurrent.recurrent_backward(
        saved, dy, [tuple(np.ones_like(s) for s in states[0])]
    )
    for got, value in zip((dx, *gradients[0], *dinitial[0]), expected, strict=True):
        assert cases.deviation(got, value.numpy()) < 1e-10


@pytest.mark.parametrize("masked", [False, True], ids=["full", "mask"])
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_keras_bidirectional(kind, sequences, merge, masked, rng):
    """Both directions with every merge mode; the core returns the two side by side."""
    tensorflow, keras, cell, activation, x, weights, initial = keras_setup(kind, 2, rng)
    mask = MASK if masked else None
    layer = keras.layers.Bidirectional(
        keras_layer(keras, kind, return_sequences=sequences), merge_mode=merge, dtype="float64"
    )
    layer.build(x.shape)
    layer.forward_layer.set_weights(list(weights[0]))
    layer.backward_layer.set_weights(list(weights[1]))
    start = [tensorflow.constant(s) for state in initial for s in state]
    out = layer(
        tensorflow.constant(x),
        initial_state=start,
        mask=None if mask is None else tensorflow.constant(mask),
    )
    y = _core.recurrent.recurrent_forward(
        cell,
        x,
        weights,
        initial=initial,
        reverse=(False, True),
        mask=mask,
        activation=activation,
        sequences=sequences,
        zero_masked=sequences and masked,
        save=False,
    )[0]
    first, second = y[..., :UNITS], y[..., UNITS:]
    if merge is None:
        got, expected = y, np.concatenate([part.numpy() for part in out], axis=-1)
    else:
        merged = {"concat": y, "sum": first + second, "mul": first * second, "ave": (first + second) / 2}
        got, expected = merged[merge], out.numpy()
    assert cases.deviation(got, expected) < 1e-10


@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_keras_conv1d(padding, stride, dilation, rng):
    keras = pytest.importorskip("keras")
    for steps, size in [(9, 1), (9, 2), (10, 3), (11, 4)]:
        x = rng.normal(size=(BATCH, steps, FEATURES)).astype(np.float32)
        layer = layers.Conv1D(UNITS, size, stride, padding, dilation_rate=dilation, activation="tanh")
        y = layer(x)
        peer = keras.layers.Conv1D.from_config({**layer.get_config(), "dtype": "float32"})
        peer.build(x.shape)
        peer.set_weights(layer.get_weights())
        np.testing.assert_allclose(y.numpy(), keras.ops.convert_to_numpy(peer(x)), atol=1e-5)


@pytest.mark.parametrize("stride, dilation, pad", [(1, 1, 0), (2, 1, 1), (1, 3, 4), (3, 2, 5)])
def test_torch_conv1d(stride, dilation, pad, rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(BATCH, 13, FEATURES))
    layer = layers.Conv1D(UNITS, 4, stride, (pad, pad), dilation_rate=dilation, dtype="float64")
    inputs = Tensor(x)
    with GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs)
    dy = rng.normal(size=y.shape)
    gradients = tape.gradient(y, [inputs, *layer.weights], output_gradients=dy)
    peer_x = torch.from_numpy(x).requires_grad_()
    kernel = torch.from_numpy(layer.kernel.numpy().transpose(2, 1, 0).copy()).requires_grad_()
    bias = torch.from_numpy(layer.bias.numpy()).requires_grad_()
    out = torch.nn.functional.conv1d(peer_x.transpose(1, 2), kernel, bias, stride, pad, dilation).transpose(1, 2)
    out.backward(torch.from_numpy(dy))
    expected = [peer_x.grad.numpy(), kernel.grad.numpy().transpose(2, 1, 0), bias.grad.numpy()]
    assert cases.deviation(y.numpy(), out.detach().numpy()) < 1e-10
    for gradient, value in zip(gradients, expected, strict=True):
        assert cases.deviation(np.asarray(gradient), value) < 1e-10


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("use_scale", [True, False])
def test_keras_additive_attention(use_scale, causal, rng):
    """Outputs, weights and gradients with masks on both sides; only rows of the query that see something."""
    tensorflow, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")
    parts = [rng.normal(size=(BATCH, n, UNITS)) for n in (STEPS, STEPS + 2, STEPS + 2)]
    masks = [np.arange(n) < LENGTHS[:, None] for n in (STEPS, STEPS + 2)]
    theirs = keras.layers.AdditiveAttention(use_scale=use_scale, dtype="float64")
    mine = layers.AdditiveAttention(use_scale=use_scale, dtype="float64")
    tensors, inputs = [Tensor(one) for one in parts], [tensorflow.constant(one) for one in parts]
    options = {"return_attention_scores": True, "use_causal_mask": causal}
    mine(tensors)
    theirs(inputs)
    theirs.set_weights(mine.get_weights())
    dy = rng.normal(size=parts[0].shape)
    with GradientTape() as tape:
        for one in tensors:
            tape.watch(one)
        y, weights = mine(tensors, mask=masks, **options)
        total = ops.reduce_sum(y * dy)
    with tensorflow.GradientTape() as keras_tape:
        keras_tape.watch(inputs)
        keras_y, keras_weights = theirs(inputs, mask=masks, **options)
        keras_total = tensorflow.reduce_sum(keras_y * dy)
    assert cases.deviation(y.numpy(), keras_y.numpy()) < 1e-6
    assert cases.deviation(weights.numpy(), keras_weights.numpy()) < 1e-6
    found = tape.gradient(total, [*tensors, *mine.weights])
    wanted = keras_tape.gradient(keras_total, [*inputs, *[one.value for one in theirs.weights]])
    assert len(found) == 3 + use_scale
    for one, other in zip(found, wanted, strict=True):
        assert cases.deviation(np.asarray(one), other.numpy()) < 1e-6


@pytest.mark.parametrize(
    ("name", "slots", "options", "keras_options"),
    [
        ("sgd", 0, {}, {}),
        ("sgd", 1, {"momentum": 0.9}, {"momentum": 0.9}),
        ("sgd", 1, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
        ("adam", 2, {}, {}),
        ("adam", 3, {}, {"amsgrad": True}),
        ("rmsprop", 1, {}, {}),
        ("rmsprop", 3, {"momentum": 0.5, "epsilon": 1e-3}, {"momentum": 0.5, "epsilon": 1e-3, "centered": True}),
        ("adagrad", 1, {}, {"initial_accumulator_value": 0.0}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_keras_optimizers(name, slots, options, keras_options, rng):
    """Optimizers against Keras's own, over several steps."""
    keras = pytest.importorskip("keras")
    kinds = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop", "adagrad": "Adagrad"}
    optimizer = getattr(keras.optimizers, kinds[name])(learning_rate=0.05, **keras_options)
    start = rng.normal(size=40)
    variable = keras.Variable(start, dtype="float64")
    param, state = start.copy(), [[np.zeros(40)] for _ in range(slots)]
    for step in range(1, UPDATES + 1):
        gradient = rng.normal(size=40)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        extra = {"step": step} if name == "adam" else {}
        getattr(_core.optimizer, name)([param], [gradient], *state, learning_rate=0.05, **options, **extra)
        # Keras keeps its learning rate and the powers of Adam's betas in float32
        assert cases.deviation(param, keras.ops.convert_to_numpy(variable)) < 1e-5


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_keras_weight_decay(name, rng):
    """Decoupled weight decay against Keras's, over several steps."""
    keras = pytest.importorskip("keras")
    start = rng.normal(size=40)
    theirs, variable = getattr(keras.optimizers, name)(0.05, weight_decay=0.5), keras.Variable(start, dtype="float64")
    ours, parameter = getattr(optimizers, name)(0.05, weight_decay=0.5), Variable(start, dtype="float64")
    for _ in range(UPDATES):
        gradient = rng.normal(size=40)
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        ours.apply([gradient], [parameter])
        assert cases.deviation(parameter.numpy(), keras.ops.convert_to_numpy(variable)) < 1e-5


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_keras_zero_output_for_mask(name, go_backwards, sequences, rng):
    """Masked steps that give zeros; the states do not change."""
    keras = pytest.importorskip("keras")
    options = {"return_sequences": sequences, "go_backwards": go_backwards, "return_state": True}
    theirs = getattr(keras.layers, name)(UNITS, zero_output_for_mask=True, **options)
    ours = getattr(layers, name)(UNITS, zero_output_for_mask=True, **options)
    x = rng.normal(size=(BATCH, STEPS, FEATURES)).astype("float32")
    mask = rng.random((BATCH, STEPS)) < 0.6
    mask[0], mask[1, -1], mask[2, 0] = False, False, False
    expected = theirs(x, mask=keras.ops.convert_to_tensor(mask))
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    for one, other in zip(ours(x, mask=mask), expected, strict=True):
        assert cases.deviation(one.numpy(), keras.ops.convert_to_numpy(other)) < 1e-5


# Keras's training, on any backend -------------------------------------------------------------------------------------


def libraries():
    """Keras, and seqcore under the same names."""
    keras = pytest.importorskip("keras")
    return keras, sc


def chain(library, *stack):
    return library.Sequential([make(library.layers) for make in stack])


LINEAR = (lambda layers: layers.Input((2,)), lambda layers: layers.Dense(1, kernel_initializer="ones"))
SEQUENCE = (
    lambda layers: layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="ones"),
    lambda layers: layers.SimpleRNN(3, return_sequences=True, kernel_initializer="ones", recurrent_initializer="zeros"),
    lambda layers: layers.Dense(1, kernel_initializer="ones"),
)
# Each in the words of its library.
LOSSES = {
    "per element": lambda library: lambda t, p: (t - p) ** 2,
    "mean": lambda library: lambda t, p: (library.ops.mean if library is not sc else sc.reduce_mean)((t - p) ** 2),
    "sum": lambda library: lambda t, p: (library.ops.sum if library is not sc else sc.reduce_sum)((t - p) ** 2),
    "name": lambda library: "mse",
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("axis", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_keras_losses_of_different_ranks(loss, weighted, axis, masked, rng):
    """evaluate with targets that lack the last axis, masks, weights and functions that return one number."""
    ids = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    x = ids if masked else rng.normal(size=(6, 2)).astype(np.float32)
    y = rng.normal(size=(2, 5, 1) if masked else (6, 1)).astype(np.float32)
    weight = rng.uniform(1, 2, y.shape[:-1]).astype(np.float32) if weighted else None
    # Keras's own squared error would take the mean over time before the mask.
    axis = axis or (masked and loss == "name")
    numbers = []
    for library in libraries():
        model = chain(library, *(SEQUENCE if masked else LINEAR))
        model.compile("sgd", LOSSES[loss](library))
        numbers.append(model.evaluate(x, y if axis else y[..., 0], sample_weight=weight, verbose=0))
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["ids", "one-hot int", "one-hot float", "one-hot bool"])
def test_keras_class_weights(kind, rng):
    x, c = rng.normal(size=(32, 2)).astype(np.float32), rng.integers(0, 3, 32)
    y = c if kind == "ids" else np.eye(3)[c].astype(kind.split()[1])
    numbers = []
    for library in libraries():
        model = chain(library, LINEAR[0], lambda layers: layers.Dense(3, "softmax", kernel_initializer="ones"))
        name = "sparse_categorical_crossentropy" if kind == "ids" else "categorical_crossentropy"
        model.compile(library.optimizers.SGD(0.0), name)
        history = model.fit(x, y, class_weight={0: 1.0, 1: 5.0}, batch_size=32, verbose=0)
        numbers.append(history.history["loss"][0])
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-5)


@pytest.mark.parametrize("steps, epochs", [(3, 5), (8, 2), (20, 2), (None, 2)])
@pytest.mark.filterwarnings("ignore")
def test_keras_steps(steps, epochs):
    """Batches of each epoch, of validation, evaluation and prediction, for arrays."""
    x = np.arange(64, dtype=np.float32)[:, None]
    counts = []
    for library in libraries():

        class Count(library.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.counts = []

            def note(self, batch, logs=None):
                self.counts.append(batch)

            on_train_batch_end = on_test_batch_end = on_predict_batch_end = note

        model = chain(library, lambda layers: layers.Input((1,)), LINEAR[1])
        model.compile(library.optimizers.SGD(0.0), "mse")
        count = Count()
        model.fit(x, x, batch_size=8, epochs=epochs, steps_per_epoch=steps, validation_data=(x, x), verbose=0,
                  validation_steps=2, validation_freq=[1, 2], callbacks=[count], shuffle=False)  # fmt: skip
        model.evaluate(x, x, batch_size=8, steps=steps, verbose=0, callbacks=[count])
        outputs = model.predict(x, batch_size=8, steps=steps, verbose=0, callbacks=[count])
        counts.append([*count.counts, outputs.shape])
    assert counts[0] == counts[1]


def models_with_hooks(library, calls):
    """A model that overrides the three steps, and one that overrides the loss alone."""

    class Steps(library.Model):
        def __init__(self):
            super().__init__()
            self.dense = library.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

        def train_step(self, data):
            calls.append(("train", len(data)))
            return {"loss": 0.5, "mine": 10.0}

        def test_step(self, data):
            calls.append(("test", len(data)))
            return {"other": 5.0}

        def predict_step(self, data):
            calls.append(("predict", len(data)))
            return self(data) * 0 + 3

    class Own(Steps):
        train_step, test_step = library.Model.train_step, library.Model.test_step

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ((y_pred - y) ** 2)[0, 0] * 0 + (7.0 if training else 8.0)

    return Steps(), Own()


def test_keras_overridden_steps():
    """Which hooks are called, and what becomes of what they return."""
    x, y = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
    results = []
    for library in libraries():
        calls = []
        eager = {} if library is sc else {"run_eagerly": True}
        model, own = models_with_hooks(library, calls)
        model.compile("sgd", "mse", **eager)
        history = model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0).history
        tested = model.evaluate(x, y, verbose=0, return_dict=True)
        predicted = np.asarray(model.predict(x, verbose=0)).tolist()
        own.compile("sgd", "mse", **eager)
        results.append([history, tested, predicted, own.fit(x, y, validation_data=(x, y), verbose=0).history, calls])
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_keras_stateful_predict(kind, rng):
    """predict continues from its state, and reset_states zeroes it."""
    x = rng.normal(size=(2, 6, 3)).astype(np.float32)
    theirs, ours = (
        chain(
            library,
            lambda layers: layers.Input(batch_shape=(2, None, 3)),
            lambda layers: getattr(layers, kind)(4, stateful=True),
            lambda layers: layers.Dense(1),
        )
        for library in libraries()
    )
    ours.set_weights([np.asarray(one) for one in theirs.get_weights()])
    for part in (x[:, :2], x[:, 2:3], x[:, 3:]):
        wanted = theirs.predict(part, batch_size=2, verbose=0)
        np.testing.assert_allclose(ours.predict(part, batch_size=2, verbose=0), wanted, rtol=1e-4, atol=1e-5)
    for model in (theirs, ours):
        model.layers[0].reset_states()
    wanted = theirs.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(ours.predict(x, batch_size=2, verbose=0), wanted, rtol=1e-4, atol=1e-5)
