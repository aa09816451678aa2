"""convert: modules of PyTorch become Sequential models with the same outputs; everything else is refused by name."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqcore as sc

torch = pytest.importorskip("torch")
nn = torch.nn
from seqcore.interop.torch import GRU, LSTM, RNN, accelerate, convert, from_torch  # noqa: E402

INPUTS, UNITS, CLASSES, WORDS = 5, 4, 3, 11
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}
CELLS = {
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Tagger(nn.Module):
    """A label for each time step."""

    def __init__(self, recurrent, outputs):
        super().__init__()
        self.recurrent = recurrent
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(outputs, CLASSES)

    def forward(self, x):
        return self.head(self.dropout(self.summary(*self.recurrent(x))))

    def summary(self, y, state):
        return y


class LastStep(Tagger):
    def summary(self, y, state):
        return y[:, -1] if self.recurrent.batch_first else y[-1]


class FinalState(Tagger):
    """The hidden states of the last layer, of both directions next to each other."""

    def summary(self, y, state):
        h = state[0] if isinstance(state, tuple) else state
        return torch.cat([h[-2], h[-1]], -1) if self.recurrent.bidirectional else h[-1]


class Mean(Tagger):
    def summary(self, y, state):
        return y.mean(1)


class Take(nn.Module):
    """Adapter behind a recurrent module in a Sequential: the output at the end, or all."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def forward(self, output):
        return output[0][:, -1] if self.last else output[0]


class Reader(nn.Module):
    """Words in, the output of a head on the last step of a recurrent module out."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, INPUTS)
        self.recurrent = nn.GRU(INPUTS, UNITS, batch_first=batch_first)
        self.head = nn.Sequential(nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, CLASSES))

    def forward(self, ids):
        y, _ = self.recurrent(self.embedding(ids))
        return self.head(y[:, -1] if self.recurrent.batch_first else y[-1])


class Masked(nn.Module):
    """Padding, id 0 among many, is zero for the head."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9999, INPUTS)
        self.head = nn.Linear(INPUTS, CLASSES)

    def forward(self, ids):
        return self.head(self.embedding(ids) * (ids > 0).unsqueeze(-1))


class Convolved(nn.Module):
    """Convolution over time, whose axes PyTorch wants in another order, before an LSTM."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(INPUTS, UNITS, 3, padding=1)
        self.activation = nn.ReLU()
        self.recurrent = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        y = self.activation(self.convolution(x.transpose(1, 2))).transpose(1, 2)
        return self.head(self.recurrent(y)[0][:, -1])


class Loop(nn.Module):
    """A cell, called step by step."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def outputs(module, x):
    """Outputs of a module for an array, without dropout."""
    with torch.no_grad():
        y = copy.deepcopy(module).eval()(torch.from_numpy(x))
    return (y[0] if isinstance(y, tuple) else y).numpy()


def types(model):
    return [type(layer).__name__ for layer in model.layers]


# --- the same outputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_modules(rng, cell, depth, bidirectional, batch_first, bias, dtype):
    """By themselves, with a label for each step, and with one for the sequence."""
    make, options = CELLS[cell]
    outputs_of_step = UNITS * (1 + bidirectional)
    options = {**options, "num_layers": depth, "bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    recurrent = make(INPUTS, UNITS, dropout=0.3 if depth > 1 else 0, **options)
    x = rng.normal(size=(4, 7, INPUTS)).astype(dtype)
    given = x if batch_first else x.swapaxes(0, 1).copy()
    wrapped = [recurrent, Tagger(recurrent, outputs_of_step), FinalState(recurrent, outputs_of_step)]
    if not bidirectional:
        wrapped.append(LastStep(recurrent, outputs_of_step))
    for module in wrapped:
        module = module.to(getattr(torch, dtype))
        model = convert(module)
        expected = outputs(module, given)
        got = model(x).numpy()
        assert got.dtype == dtype
        if expected.ndim == 3 and not batch_first:
            expected = expected.swapaxes(0, 1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype])
        stack = [name for name in types(model) if name in ("Bidirectional", "SimpleRNN", "LSTM", "GRU")]
        assert stack == ["Bidirectional" if bidirectional else {"tanh": "SimpleRNN", "relu": "SimpleRNN"}.get(
            cell, cell.upper())] * depth  # fmt: skip
        assert types(model).count("Dropout") == depth - 1 + (module is not recurrent)


@pytest.mark.parametrize("batch_first", [True, False])
def test_words(rng, batch_first):
    module = Reader(batch_first)
    model = convert(module)
    ids = rng.integers(0, WORDS, (4, 7))
    expected = outputs(module, ids if batch_first else ids.T.copy())
    np.testing.assert_allclose(model(ids).numpy(), expected, rtol=0, atol=1e-6)
    assert types(model) == ["Embedding", "GRU", "Dense", "Activation", "Dense"]


@pytest.mark.parametrize("last", [True, False])
def test_adapters_in_a_sequential(rng, last):
    module = nn.Sequential(
        nn.LSTM(INPUTS, UNITS, batch_first=True), Take(False), nn.GRU(UNITS, UNITS, batch_first=True), Take(last),
        nn.Identity(), nn.Linear(UNITS, CLASSES),
    )  # fmt: skip
    x = rng.normal(size=(4, 7, INPUTS)).astype("float32")
    model = convert(module)
    np.testing.assert_allclose(model(x).numpy(), outputs(module, x), rtol=0, atol=1e-6)
    assert types(model) == ["LSTM", "GRU", "Dense"]


def test_one_recurrent_child_twice(rng):
    recurrent = nn.GRU(UNITS, UNITS, batch_first=True)
    module = nn.Sequential(recurrent, Take(False), recurrent, Take(True))
    x = rng.normal(size=(4, 7, UNITS)).astype("float32")
    np.testing.assert_allclose(convert(module)(x).numpy(), outputs(module, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_in_a_loop(rng, cell):
    module = Loop(cell(INPUTS, UNITS))
    x = rng.normal(size=(4, 7, INPUTS)).astype("float32")
    np.testing.assert_allclose(convert(module)(x).numpy(), outputs(module, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.ReLU(), "Activation"), (nn.Tanh(), "Activation"), (nn.Sigmoid(), "Activation"),
        (nn.ELU(), "Activation"), (nn.GELU(), "Activation"), (nn.SiLU(), "Activation"), (nn.Softplus(), "Activation"),
        (nn.Hardsigmoid(), "Activation"), (nn.LogSoftmax(-1), "Activation"), (nn.LogSoftmax(1), "Activation"),
        (nn.Softmax(-1), "Softmax"), (nn.Softmax(0), "Softmax"), (nn.Softmax(1), "Softmax"),
        (nn.LeakyReLU(0.2), "ReLU"), (nn.ReLU6(), "ReLU"),
        (nn.Dropout(0.3), "Dropout"), (nn.Flatten(), "Flatten"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_without_weights(rng, layer, name, dtype):
    module = nn.Sequential(nn.Linear(INPUTS, 9), layer).to(getattr(torch, dtype))
    x = (9 * rng.normal(size=(6, INPUTS))).astype(dtype)
    model = convert(module)
    np.testing.assert_allclose(model(x).numpy(), outputs(module, x), rtol=0, atol=10 * TOLERANCE[dtype])
    assert types(model) == ["Dense", name]


@pytest.mark.parametrize("options", [{}, {"eps": 0.1, "bias": False}, {"elementwise_affine": False}])
def test_layer_norm(rng, options):
    module = nn.Sequential(nn.LSTM(INPUTS, UNITS, batch_first=True), Take(False), nn.LayerNorm(UNITS, **options))
    for parameter in module[2].parameters():
        nn.init.normal_(parameter)
    x = rng.normal(size=(4, 7, INPUTS)).astype("float32")
    model = convert(module)
    np.testing.assert_allclose(model(x).numpy(), outputs(module, x), rtol=0, atol=1e-5)
    assert types(model) == ["LSTM", "LayerNormalization"]
    x = rng.normal(size=(4, UNITS)).astype("float32")
    np.testing.assert_allclose(
        convert(nn.Sequential(nn.LayerNorm(UNITS)))(x), outputs(nn.LayerNorm(UNITS), x), atol=1e-5
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 2}, {"padding": "same"}, {"padding": "valid"}, {"stride": 2}, {"dilation": 2, "padding": "same"},
     {"stride": 3, "padding": 1, "dilation": 2}],
)  # fmt: skip
def test_convolutions(rng, options, bias):
    module = nn.Sequential(nn.Conv1d(INPUTS, 6, 4, bias=bias, **options), nn.Tanh(), nn.Conv1d(6, 2, 3, 2))
    x = rng.normal(size=(3, 20, INPUTS)).astype("float32")
    expected = outputs(module, x.swapaxes(1, 2).copy()).swapaxes(1, 2)
    np.testing.assert_allclose(convert(module)(x).numpy(), expected, rtol=0, atol=1e-6)
    module = Convolved()
    np.testing.assert_allclose(convert(module)(x).numpy(), outputs(module, x), rtol=0, atol=1e-6)


@given(data=st.data())
def test_any_chain(data):
    """Chains of all layers, nested at random, on sizes that the conversion has not seen."""
    draw = data.draw
    torch.manual_seed(draw(st.integers(0, 99)))
    width = draw(st.integers(1, 6))
    chain = [nn.Embedding(WORDS, width)]
    for _ in range(draw(st.integers(0, 5))):
        layer = draw(st.sampled_from(["linear", "relu", "tanh", "sigmoid", "dropout", "recurrent"]))
        if layer == "recurrent":
            cell = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
            both, units = draw(st.booleans()), draw(st.integers(1, 6))
            chain += [cell(width, units, draw(st.integers(1, 2)), batch_first=True, bidirectional=both), Take(False)]
            width = units * (1 + both)
        elif layer == "linear":
            chain.append(nn.Linear(width, units := draw(st.integers(1, 6)), bias=draw(st.booleans())))
            width = units
        else:
            chain.append({"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "dropout": nn.Dropout}[layer]())
    cut = draw(st.integers(0, len(chain)))
    module = nn.Sequential(nn.Sequential(*chain[:cut]), nn.Identity(), *chain[cut:]) if cut else nn.Sequential(*chain)
    ids = np.random.default_rng(0).integers(0, WORDS, (draw(st.integers(1, 4)), draw(st.integers(1, 9))))
    np.testing.assert_allclose(convert(module)(ids).numpy(), outputs(module, ids), rtol=0, atol=1e-6)


# --- the model --------------------------------------------------------------------------------------------------------


def test_the_model_is_a_model(rng, tmp_path):
    """It is saved, streams and learns; the module and PyTorch's random state stay as they were."""
    module = Tagger(nn.LSTM(INPUTS, UNITS, batch_first=True), UNITS)
    before, state = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    model = convert(module)
    assert module.training and module.dropout.training and torch.equal(torch.random.get_rng_state(), state)
    x = rng.normal(size=(4, 7, INPUTS)).astype("float32")
    expected = outputs(module, x)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(sc.load_model(tmp_path / "model.safetensors")(x).numpy(), model(x).numpy())
    stream = model.stream(4)
    steps = [stream.step(x[:, step].copy()) for step in range(7)]
    np.testing.assert_allclose(np.stack(steps, 1), expected, rtol=0, atol=1e-6)
    model.compile(sc.optimizers.Adam(0.05), sc.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(x, (x[..., 0] > 0).astype(int), epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_row_of_the_padding_is_not_trained(rng):
    """As in PyTorch, whose gradients are those of the converted model."""
    module = nn.Sequential(nn.Embedding(WORDS, INPUTS, padding_idx=2), nn.Linear(INPUTS, CLASSES))
    ids = np.array([[2, 1, 3, 2], [5, 3, 2, 2]])
    module(torch.from_numpy(ids)).square().sum().backward()
    model = convert(module)
    with sc.GradientTape() as tape:
        total = sc.reduce_sum(sc.ops.square(model(ids)))
    embedding, *others = tape.gradient(total, model.trainable_variables)
    expected, *expected_others = (parameter.grad.numpy() for parameter in module.parameters())
    assert embedding.indices.tolist() == [1, 3, 5] and not expected[2].any()
    np.testing.assert_allclose(np.asarray(embedding), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.asarray(others[0]).T, expected_others[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_accelerated_modules(rng, cell):
    """Layers of seqcore in a module of PyTorch are those of PyTorch to convert and from_torch."""
    make, options = CELLS[cell]
    module = LastStep(make(INPUTS, UNITS, num_layers=2, batch_first=True, **options), UNITS)
    x = rng.normal(size=(4, 7, INPUTS)).astype("float32")
    expected, weights = outputs(module, x), from_torch(module)
    accelerate(module)
    np.testing.assert_allclose(convert(module)(x).numpy(), expected, rtol=0, atol=1e-6)
    for layer, same in zip(from_torch(module.recurrent), weights, strict=True):
        for array, other in zip(layer, same, strict=True):
            np.testing.assert_array_equal(array, other)
    assert isinstance(module.recurrent, (LSTM, GRU, RNN))


def test_frozen_parameters(rng):
    module = Reader()
    module.embedding.requires_grad_(False)
    model = convert(module)
    assert [layer.trainable for layer in model.layers] == [False, True, True, True, True]
    module.recurrent.weight_hh_l0.requires_grad_(False)
    with pytest.raises(ValueError, match=r"recurrent \(GRU\): requires_grad: expected one value"):
        convert(module)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_becomes_float32(rng, dtype):
    module = Reader().to(getattr(torch, dtype))
    model = convert(module)
    ids = rng.integers(0, WORDS, (4, 7))
    np.testing.assert_allclose(model(ids).numpy(), outputs(copy.deepcopy(module).float(), ids), rtol=0, atol=1e-6)
    assert next(module.parameters()).dtype == getattr(torch, dtype)


def test_shared_parameters_and_children(rng):
    """A child that stands twice in a chain is two layers; a compiled module is the one inside."""
    linear, activation = nn.Linear(INPUTS, INPUTS), nn.Tanh()
    module = nn.Sequential(linear, activation, linear, activation)
    x = rng.normal(size=(4, INPUTS)).astype("float32")
    for given_module in (module, torch.compile(module)):
        model = convert(given_module)
        assert types(model) == ["Dense", "Activation"] * 2
        np.testing.assert_allclose(model(x).numpy(), outputs(module, x), rtol=0, atol=1e-6)


def test_example(rng):
    """Where the children do not tell the shape of the input, an example does."""
    module = nn.Sequential(nn.Embedding(WORDS, INPUTS), nn.Flatten(), nn.Linear(6 * INPUTS, CLASSES))
    ids = rng.integers(0, WORDS, (4, 6))
    with pytest.raises(ValueError, match=r"example: expected an input of Sequential, got shape \(16, 5\) of int64"):
        convert(module)
    for example in (ids, torch.from_numpy(ids), ids.tolist()):
        model = convert(module, example)
        np.testing.assert_allclose(model(ids).numpy(), outputs(module, ids), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="expected shape"):
        model(ids[:, :5])
    with pytest.raises(ValueError, match="example: expected an input of the module, whose children do not tell"):
        convert(nn.Tanh())
    np.testing.assert_allclose(convert(nn.Tanh(), [[1.0, 2.0]])([[0.5, 1.0]]), np.tanh([[0.5, 1.0]]), atol=1e-6)


# --- refused ----------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(INPUTS, INPUTS)

    def forward(self, x):
        return x + self.linear(x)


class Scaled(Residual):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Named(Residual):
    def forward(self, x):
        return {"y": self.linear(x)}


class Positive(Residual):
    """Its outputs are above zero, so that the ReLU shows only with other weights."""

    def __init__(self):
        super().__init__()
        nn.init.constant_(self.linear.bias, 99.0)

    def forward(self, x):
        return torch.relu(self.linear(x))


def sequential(*layers):
    return nn.Sequential(nn.Linear(INPUTS, UNITS), *layers)


def weight_norm(module):
    return nn.utils.parametrizations.weight_norm(module)


REFUSED = [
    (lambda: sequential(nn.BatchNorm1d(UNITS)), r"module: 1 \(BatchNorm1d\) cannot be converted"),
    (lambda: sequential(nn.MaxPool1d(2)), r"module: 1 \(MaxPool1d\) cannot be converted"),
    (lambda: sequential(nn.Dropout1d(0.5)), r"module: 1 \(Dropout1d\) cannot be converted"),
    (lambda: nn.EmbeddingBag(WORDS, UNITS), "module: EmbeddingBag cannot be converted"),
    (lambda: nn.TransformerEncoderLayer(4, 2), r"module: self_attn \(MultiheadAttention\) cannot be converted"),
    (lambda: nn.Sequential(), "module: Sequential cannot be converted"),
    (lambda: Scaled(), "module: Scaled cannot be converted, it has the parameter 'scale'"),
    (lambda: weight_norm(nn.Linear(3, 3)), "module: ParametrizedLinear: the 'parametrizations' of a layer"),
    (lambda: nn.LazyLinear(3), "module: expected parameters with values, got none in 'weight' of LazyLinear"),
    (lambda: nn.Linear(3, 3, device="meta"), "module: expected parameters with values, got none in 'weight' of Linear"),
    (lambda: nn.LSTM(INPUTS, UNITS, proj_size=2), "module: LSTM: proj_size: expected 0, got 2"),
    (lambda: nn.Embedding(9, 2, max_norm=1.0), "module: Embedding: max_norm: expected None, got 1.0"),
    (lambda: nn.Embedding(9, 2, scale_grad_by_freq=True), "scale_grad_by_freq: expected False, got True"),
    (lambda: nn.Conv1d(4, 4, 2, groups=2), "module: Conv1d: groups: expected 1, got 2"),
    (lambda: nn.Conv1d(4, 4, 3, padding=1, padding_mode="reflect"), "padding_mode: expected 'zeros', got 'reflect'"),
    (lambda: sequential(nn.GELU("tanh")), r"module: 1 \(GELU\): approximate: expected 'none', got 'tanh'"),
    (lambda: sequential(nn.ELU(2.0)), r"module: 1 \(ELU\): alpha: expected 1.0, got 2.0"),
    (lambda: sequential(nn.Softplus(2.0)), r"module: 1 \(Softplus\): beta: expected 1.0, got 2.0"),
    (lambda: nn.LayerNorm((2, 3)), "module: LayerNorm: normalized_shape: expected the last axis alone, got"),
    (lambda: sequential(nn.Flatten(0)), r"module: 1 \(Flatten\): start_dim: expected 1, got 0"),
    (lambda: sequential(nn.LogSoftmax(0)), r"module: 1 \(LogSoftmax\): dim: expected the last one, got 0"),
    (lambda: sequential(nn.Softmax(None)), r"module: 1 \(Softmax\): dim: expected a number, got None"),
    (lambda: sequential(nn.Dropout(1.0)), r"module: 1 \(Dropout\): rate: expected a number in 0...1"),
    (lambda: sequential(nn.LeakyReLU(-1.0)), r"module: 1 \(LeakyReLU\): negative_slope: expected a number >= 0"),
    (lambda: Positive(), "got others from the forward of Positive: numbers that differ by"),
    (lambda: Residual(), "got others from the forward of Residual: numbers that differ by"),
    (lambda: LastStep(nn.GRU(3, 2, batch_first=True, bidirectional=True), 4), "forward of LastStep: numbers that"),
    (lambda: Mean(nn.GRU(3, 2, batch_first=True), 2), "forward of Mean: numbers that differ by"),
    (lambda: Masked(), "forward of Masked: numbers that differ by"),
    (lambda: Named(), "module: expected a tensor or a tuple of them as output, got dict"),
    (lambda: nn.GRUCell(3, 2), "example: expected an input of GRUCell, got shape"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        convert(make())
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm:FutureWarning")
def test_old_weight_norm_is_refused():
    with pytest.raises(ValueError, match="module: Linear: expected a weight and a bias, got the parameter 'weight_g'"):
        convert(nn.utils.weight_norm(nn.Linear(3, 3)))


def test_anything_but_a_module():
    for module in (None, nn.Linear, {"weight": torch.ones(2, 2)}, "model.pt", sc.layers.Dense(2)):
        with pytest.raises(TypeError, match="module: expected a torch.nn.Module, got"):
            convert(module)
