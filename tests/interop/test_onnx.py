"""ONNX: exported models give onnxruntime's numbers, graphs of others run on the kernels, the rest is refused."""

import importlib
import itertools

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers
from seqcore.interop.onnx import export_onnx, import_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper = importlib.import_module("onnx.helper")

TOLERANCE = 1e-5
BATCH, STEPS, FEATURES, UNITS = 3, 6, 5, 4
LENGTHS = [6, 2, 0]
# Padding at the end, at the beginning, within, and nothing else.
IDS = np.array([[3, 1, 2, 5, 0, 0], [0, 0, 4, 2, 1, 7], [6, 0, 5, 0, 0, 1], [0] * 6])
CELLS = {
    "SimpleRNN": lambda **options: layers.SimpleRNN(UNITS, **options),
    "LSTM": lambda **options: layers.LSTM(UNITS, **options),
    "GRU": lambda **options: layers.GRU(UNITS, **options),
    "GRU before": lambda **options: layers.GRU(UNITS, reset_after=False, **options),
    "ContextRNN": lambda **options: layers.ContextRNN(UNITS, 2, alpha=0.7, **options),
    "learned alpha": lambda **options: layers.ContextRNN(UNITS, 2, learn_alpha=True, **options),
}
ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear", "hard_sigmoid")
OTHERS = ("elu", "gelu", "leaky_relu", "silu", "softplus")


@pytest.fixture
def x(rng):
    return rng.normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)


@pytest.fixture
def agree(rng, tmp_path):
    """Export a model with random weights; onnxruntime and the imported graph give the model's own numbers."""

    def compare(model, x, states=False, lengths=None, **options):
        model(x)
        model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
        path = tmp_path / "model.onnx"
        export_onnx(model, path, states=states, lengths=lengths is not None, **options)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feed, arguments = {"input": x}, {}
        if lengths is not None:
            arguments["lengths"] = lengths
            feed["lengths"] = np.asarray(lengths, np.int32)
        first, *rest = model.layers
        if states:
            # The state of the last layer, the only recurrent one.
            layer = model.layers[-1]
            inputs = [item for item in session.get_inputs() if item.name.endswith("_0")]
            start = [rng.normal(size=(len(x), item.shape[1])).astype(np.float32) for item in inputs]
            feed |= {item.name: state for item, state in zip(inputs, start, strict=True)}
            given = x if layer is first else first(x)
            expected = layer(given, initial_state=start, **arguments)
        else:
            expected = model(x, **arguments)
        expected = [y.numpy() for y in (expected if isinstance(expected, list) else [expected])]
        for outputs in (session.run(None, feed), import_onnx(path)(feed)):
            outputs = outputs if isinstance(outputs, list) else [outputs]
            assert len(outputs) >= len(expected)
            for got, y in zip(outputs, expected):
                assert got.shape == y.shape and got.dtype == y.dtype
                # Linear gates let the numbers grow.
                np.testing.assert_allclose(got, y, rtol=0, atol=TOLERANCE * max(1, np.abs(y).max()))

    return compare


# Out ------------------------------------------------------------------------------------------------------------------


def every_call(agree, x, make):
    """A recurrent layer in all its calls: alone, with lengths, with a mask, each with states and without."""
    for states in (False, True):
        agree(sc.Sequential([layers.Input((None, FEATURES)), make()]), x, states)
        agree(sc.Sequential([layers.Input((None, FEATURES)), make()]), x, states, LENGTHS)
        agree(sc.Sequential([layers.Embedding(8, FEATURES, mask_zero=True), make()]), IDS, states)


@pytest.mark.parametrize("zero_output", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers(agree, x, cell, sequences, backwards, zero_output):
    every_call(
        agree,
        x,
        lambda: CELLS[cell](
            return_sequences=sequences,
            go_backwards=backwards,
            zero_output_for_mask=zero_output,
            return_state=True,
            use_bias=not zero_output,
        ),
    )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("cell", CELLS)
def test_bidirectional(agree, x, cell, mode, sequences, backwards):
    options = {"return_sequences": sequences, "go_backwards": backwards, "return_state": True}
    every_call(agree, x, lambda: layers.Bidirectional(CELLS[cell](**options), merge_mode=mode))


def test_two_different_directions(agree, x):
    make = lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.GRU(4, go_backwards=True))  # noqa: E731
    every_call(agree, x, make)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_activations(agree, x, cell, activation):
    gated = cell.startswith(("LSTM", "GRU"))
    for inner in ACTIVATIONS if gated else ("tanh",):
        options = {"activation": activation, **({"recurrent_activation": inner} if gated else {})}
        agree(sc.Sequential([layers.Bidirectional(CELLS[cell](**options))]), x * np.float32(0.3))


DENSE = [
    layers.Dense(3, activation=name, use_bias=bias)
    for name, bias in itertools.product((*ACTIVATIONS, "softmax"), (True, False))
]
PLAIN = [
    *DENSE,
    *(layers.Activation(name) for name in (*ACTIVATIONS, "softmax", "log_softmax", *OTHERS)),
    layers.ReLU(),
    layers.ReLU(max_value=1),
    layers.ReLU(negative_slope=0.2),
    layers.ReLU(threshold=0.5),
    layers.ReLU(max_value=0.9, negative_slope=0.3, threshold=0.4),
    *(layers.Softmax(axis) for axis in (-1, 1, [1, 2], [0, 1], None)),
    layers.Dropout(0.5),
    layers.LayerNormalization(),
    layers.LayerNormalization(epsilon=0.1, center=False, gamma_initializer="ones"),
    layers.Flatten(),
    layers.TimeDistributed(layers.Dense(2)),
    layers.TimeDistributed(layers.TimeDistributed(layers.Activation("tanh"))),
]


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_layers_without_time(agree, x, number):
    layer = PLAIN[number]
    agree(sc.Sequential([layer]), x)
    agree(sc.Sequential([type(layer).from_config(layer.get_config())]), np.concatenate([x, x - 1], 1))


@pytest.mark.parametrize("opset", [15, 17, 18, 21, 24])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["GlobalAveragePooling1D", "GlobalMaxPooling1D", "GlobalSumPooling1D"])
def test_pooling(agree, x, name, keepdims, opset):
    make = getattr(layers, name)
    agree(sc.Sequential([layers.Input((None, FEATURES)), make(keepdims=keepdims)]), x, opset=opset)
    agree(sc.Sequential([layers.Input((None, FEATURES)), make(keepdims=keepdims)]), x, lengths=LENGTHS, opset=opset)
    agree(sc.Sequential([layers.Embedding(8, 3, mask_zero=True), make(keepdims=keepdims)]), IDS, opset=opset)


@pytest.mark.parametrize("opset", range(15, 25))
def test_opsets(agree, opset):
    stack = [
        layers.Embedding(8, FEATURES, mask_zero=True),
        layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
        sc.Sequential([layers.GRU(UNITS, return_sequences=True, go_backwards=True), layers.Dropout(0.1)]),
        layers.TimeDistributed(layers.Dense(3, activation="hard_sigmoid")),
        layers.ContextRNN(3, 2),
        layers.Dense(2, activation="softmax"),
    ]
    agree(sc.Sequential(stack), IDS, opset=opset)


@pytest.mark.parametrize("mask", [False, True])
def test_sequences_within_sequences(agree, rng, mask):
    ids = rng.integers(0, 8, size=(3, 4, 5))
    ids[0, 1] = ids[1] = 0
    stack = [layers.Embedding(8, 3, mask_zero=mask), layers.TimeDistributed(layers.LSTM(UNITS)), layers.GRU(2)]
    agree(sc.Sequential(stack), ids)
    inner = sc.Sequential([layers.Embedding(8, 3, mask_zero=mask), layers.GlobalMaxPooling1D()])
    agree(sc.Sequential([layers.TimeDistributed(inner), layers.GRU(2)]), ids)


@pytest.mark.parametrize("activation", ["linear", "gelu", "softmax"])
@pytest.mark.parametrize("padding", ["valid", "same", "causal", (0, 3), (2, 1)])
def test_conv1d(agree, rng, padding, activation):
    for size, stride, dilation, steps in itertools.product((1, 2, 4), (1, 2, 3), (1, 2), (8, 9)):
        layer = layers.Conv1D(
            UNITS, size, stride, padding, dilation_rate=dilation, activation=activation, use_bias=size > 1
        )
        agree(sc.Sequential([layer]), rng.normal(size=(BATCH, steps, FEATURES)).astype(np.float32))


@pytest.mark.parametrize("opset", [15, 24])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same", "causal", (1, 4)])
def test_conv1d_with_lengths_and_masks(agree, x, padding, stride, opset):
    make = lambda: layers.Conv1D(UNITS, 3, stride, padding, activation="tanh")  # noqa: E731
    behind = [layers.GRU(3, return_sequences=True), layers.GlobalAveragePooling1D()]
    if padding == "same" and stride > 1:
        with pytest.raises(ValueError, match="lengths of a Conv1D with padding='same' and strides > 1 cannot"):
            export_onnx(built(make()), "none.onnx", lengths=True)
    else:
        agree(sc.Sequential([layers.Input((None, FEATURES)), make(), *behind]), x, lengths=LENGTHS, opset=opset)
    # A mask ends at the layer.
    agree(sc.Sequential([layers.Embedding(8, FEATURES, mask_zero=True), make(), *behind]), IDS, opset=opset)


def test_masks_go_on_to_later_layers(agree):
    stack = [
        layers.Embedding(8, 3, mask_zero=True),
        layers.GRU(UNITS, return_sequences=True, go_backwards=True),
        layers.Dense(3),
        layers.LSTM(UNITS, return_sequences=True),
        layers.GlobalAveragePooling1D(),
    ]
    agree(sc.Sequential(stack), IDS)


def test_one_step_after_the_other(rng, x, tmp_path):
    """The file with states, fed step by step, is the stream, and fed whole, the model."""
    model = sc.Sequential(
        [
            layers.Input((STEPS, FEATURES)),
            layers.LSTM(4, return_sequences=True, name="a"),
            layers.GRU(3, stateful=True, name="b"),
            layers.Dense(2),
        ]
    )
    export_onnx(model, tmp_path / "model.onnx", states=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [item.name for item in session.get_inputs()] == ["input", "a.h_0", "a.c_0", "b.h_0"]
    assert [item.name for item in session.get_outputs()] == ["output", "a.h_n", "a.c_n", "b.h_n"]
    start = [np.zeros((BATCH, size), np.float32) for size in (4, 4, 3)]
    graph, stream = import_onnx(tmp_path / "model.onnx"), model.stream(BATCH)
    for run in (lambda *arrays: session.run(None, dict(zip((i.name for i in session.get_inputs()), arrays))), graph):
        states = start
        stream.reset()
        for t in range(STEPS):
            y, *states = run(x[:, t : t + 1], *states)
            np.testing.assert_allclose(y, stream.step(x[:, t].copy()), atol=TOLERANCE)
        np.testing.assert_allclose(run(x, *start)[0], y, atol=TOLERANCE)


def test_the_shape_of_the_input(tmp_path):
    def shape(model):
        export_onnx(model, tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        return session.get_inputs()[0].type, session.get_inputs()[0].shape

    assert shape(sc.Sequential([layers.Input((None, 3)), layers.GRU(2)])) == ("tensor(float)", ["batch", "time", 3])
    assert shape(sc.Sequential([layers.Input((7, 3), 2), layers.GRU(2)])) == ("tensor(float)", [2, 7, 3])
    called = sc.Sequential([layers.Embedding(9, 3), layers.GRU(2)])
    called([[1, 2]])
    assert shape(called) == ("tensor(int64)", ["batch", "time"])
    ids = sc.Sequential([layers.Input((5,), dtype="int32"), layers.Embedding(9, 3), layers.Flatten(), layers.Dense(1)])
    assert shape(ids) == ("tensor(int32)", ["batch", 5])


def test_float64(rng, tmp_path):
    """onnxruntime has no recurrent layers in float64; the kernels do."""
    options = {"dtype": "float64"}
    model = sc.Sequential([layers.Bidirectional(layers.LSTM(UNITS, **options)), layers.Dense(2, **options)])
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    y = model(x).numpy()
    export_onnx(model, tmp_path / "model.onnx")
    got = import_onnx(tmp_path / "model.onnx")(x)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-12)


def built(*stack, shape=(None, None, 3)):
    model = sc.Sequential(list(stack))
    model.build(shape)
    return model


class Twice(layers.Layer):
    def call(self, inputs):
        return inputs * 2


class OwnCall(sc.Sequential):
    def call(self, inputs, training=None, mask=None, lengths=None):
        return super().call(inputs) * 2


REFUSED = {
    "no Sequential": (lambda: layers.GRU(2), {}, TypeError, "model: expected a Sequential of seqcore, got GRU"),
    "not built": (lambda: sc.Sequential([layers.GRU(2)]), {}, ValueError, "to be built before it is exported"),
    "own layer": (lambda: built(Twice(name="twice")), {}, ValueError, "layer 'twice': a Twice cannot be exported"),
    "own call": (lambda: OwnCall([layers.Input((3,)), layers.Dense(1)]), {}, ValueError, "without a call of their own"),
    "policy": (lambda: built(layers.GRU(2, dtype="mixed_bfloat16")), {}, ValueError, "got 'mixed_bfloat16'"),
    "stateful": (
        lambda: built(layers.GRU(2, stateful=True), shape=(2, None, 3)), {}, ValueError, "needs states=True"
    ),
    "no states": (lambda: built(layers.Dense(2)), {"states": True}, ValueError, "states: expected False"),
    "states inside": (
        lambda: built(layers.TimeDistributed(layers.GRU(2, return_state=True)), shape=(None, None, None, 3)),
        {},
        ValueError,
        "return_state=False inside TimeDistributed",
    ),
    "masked softmax": (lambda: built(layers.Softmax(), shape=(None, 3)), {"lengths": True}, ValueError, "Softmax over"),
    "mask and lengths": (
        lambda: built(layers.Embedding(9, 3, mask_zero=True), shape=(None, None)),
        {"lengths": True},
        ValueError,
        "mask_zero, lengths: expected at most one",
    ),
    "ids": (
        lambda: built(layers.Flatten(), layers.Embedding(9, 3), shape=(None, 3)), {}, ValueError, "whole-number type"
    ),
    "opset": (lambda: built(layers.GRU(2)), {"opset": 14}, ValueError, "opset: expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_models(tmp_path, name):
    """The error names the layer in one line, and a file that is there stays."""
    make, options, error, message = REFUSED[name]
    path = tmp_path / "model.onnx"
    path.write_text("before")
    with pytest.raises(error, match=message) as caught:
        export_onnx(make(), path, **options)
    assert "\n" not in str(caught.value) and path.read_text() == "before"


# In -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node_cases():
    """The cases of the library onnx for the recurrent operators, each from the module that makes it."""
    cases = importlib.import_module("onnx.backend.test.case.node")
    for name in ("rnn", "lstm", "gru"):
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    ops = {"RNN", "LSTM", "GRU"}
    return {case.name: case for case in cases._NodeTestCases if ops & {node.op_type for node in case.model.graph.node}}


def test_node_cases_of_onnx(node_cases, tmp_path):
    refused = []
    for name, case in node_cases.items():
        onnx.save(case.model, tmp_path / "node.onnx")
        try:
            graph = import_onnx(tmp_path / "node.onnx")
        except ValueError as error:
            refused.append((name, "peepholes" in str(error)))
            continue
        for inputs, outputs in case.data_sets:
            got = graph(*inputs)
            for y, expected in zip(got if isinstance(got, list) else [got], outputs, strict=True):
                np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    assert len(node_cases) >= 18 and refused == [("test_lstm_with_peepholes", True)]


def save_node(path, op, inputs, outputs=1, opset=17, **attributes):
    """A file with one node."""
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    graph_inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in zip(names, inputs)
        if array is not None
    ]
    # The ranks of a recurrent operator; nothing checks those of the others.
    graph_outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * (3 if i else 4))
        for i, name in enumerate(results)
    ]
    graph = helper.make_graph([node], "node", graph_inputs, graph_outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)


def recurrent_inputs(rng, op, directions=1):
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[op]
    sizes = [(STEPS, BATCH, FEATURES), (directions, gates * UNITS, FEATURES), (directions, gates * UNITS, UNITS)]
    arrays = [rng.normal(0, 0.5, size).astype(np.float32) for size in [*sizes, (directions, 2 * gates * UNITS)]]
    arrays.append(np.array([6, 2, 3], np.int32))
    states = 2 if op == "LSTM" else 1
    return arrays + [rng.normal(size=(directions, BATCH, UNITS)).astype(np.float32) for _ in range(states)]


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_recurrent_operators(rng, tmp_path, op, direction, lengths):
    """Directions, states, lengths, both forms of the GRU, functions that differ by direction: as in onnxruntime."""
    own = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}[op]
    count = 2 if direction == "bidirectional" else 1
    inputs = recurrent_inputs(rng, op, count)
    if not lengths:
        inputs[4] = None
    choices = [{}, {"activations": [*own, *(["Relu"] if op == "RNN" else ["Sigmoid", *["Relu"] * (len(own) - 1)])]}]
    for attributes in choices[:count]:
        for form in ({}, {"linear_before_reset": 1}) if op == "GRU" else ({},):
            path = tmp_path / "node.onnx"
            options = {"hidden_size": UNITS, "direction": direction, **attributes, **form}
            save_node(path, op, inputs, 3 if op == "LSTM" else 2, **options)
            session = onnxruntime.InferenceSession(path)
            feed = {f"x{i}": array for i, array in enumerate(inputs) if array is not None}
            graph = import_onnx(path)
            # Weights that are inputs may change in place between two calls.
            feed["x1"] *= 2
            graph(feed)
            feed["x1"] /= 2
            for got, expected in zip(graph(feed), session.run(None, feed), strict=True):
                np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_batchwise_layout(rng, tmp_path, op):
    """Layout 1 is layout 0 with the batch in front."""
    inputs = recurrent_inputs(rng, op, 2)
    outputs = 3 if op == "LSTM" else 2
    results = []
    for layout in (0, 1):
        given = [a if i in (1, 2, 3, 4) or not layout else np.swapaxes(a, 0, 1) for i, a in enumerate(inputs)]
        save_node(tmp_path / "node.onnx", op, given, outputs, direction="bidirectional", layout=layout)
        results.append(import_onnx(tmp_path / "node.onnx")(*given))
    (y, *states), (y1, *states1) = results
    assert np.array_equal(y1.transpose(1, 2, 0, 3), y)
    for state, state1 in zip(states, states1, strict=True):
        assert np.array_equal(np.swapaxes(state1, 0, 1), state)


def test_only_one_state(rng, tmp_path):
    inputs = recurrent_inputs(rng, "LSTM")
    inputs[5] = None
    save_node(tmp_path / "node.onnx", "LSTM", inputs, 3, hidden_size=UNITS)
    given = [array for array in inputs if array is not None]
    session = onnxruntime.InferenceSession(tmp_path / "node.onnx")
    expected = session.run(None, {f"x{i}": array for i, array in enumerate(inputs) if array is not None})
    for got, y in zip(import_onnx(tmp_path / "node.onnx")(*given), expected, strict=True):
        np.testing.assert_allclose(got, y, rtol=0, atol=TOLERANCE)


F, WHOLE, INTS = np.linspace(-2, 2, 24, dtype=np.float32).reshape(2, 3, 4), np.arange(-6, 6).reshape(3, 4), np.array
TRUE = WHOLE > 0
OPERATORS = [
    ("Abs", [F], {}),
    ("Add", [F, F[0]], {}),
    ("And", [TRUE, ~TRUE], {}),
    ("Cast", [F], {"to": 7}),
    ("Clip", [F, np.float32(-1), np.float32(0.5)], {}),
    ("Clip", [F, None, np.float32(0.5)], {}),
    ("Concat", [F, F], {"axis": 1}),
    ("ConstantOfShape", [INTS([2, 3])], {}),
    ("CumSum", [F, np.array(1)], {}),
    ("CumSum", [F, np.array(1)], {"exclusive": 1, "reverse": 1}),
    ("Div", [F, F + 5], {}),
    ("Div", [WHOLE, np.array(4)], {}),
    ("Dropout", [F], {}),
    ("Equal", [WHOLE, -WHOLE], {}),
    ("Exp", [F], {}),
    ("Expand", [F[:, :1], INTS([2, 5, 1])], {}),
    ("Flatten", [F], {}),
    ("Flatten", [F], {"axis": -1}),
    ("Gather", [F, INTS([[0, -1], [2, 1]])], {"axis": 1}),
    ("GatherND", [F, INTS([[[2], [0]], [[1], [1]]])], {"batch_dims": 1}),
    ("GatherND", [F, INTS([[0, 1], [1, 2]])], {}),
    ("Gelu", [F], {}),
    ("Gelu", [F], {"approximate": "tanh"}),
    ("Gemm", [F[0], F[1], np.float32([1, 2, 3])], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", [F[0].T, F[1]], {"transB": 0, "transA": 0, "alpha": 1.0}),
    ("Greater", [F, F[0]], {}),
    ("GreaterOrEqual", [F, F[0]], {}),
    ("HardSigmoid", [F], {}),
    ("HardSigmoid", [F], {"alpha": 0.3, "beta": 0.1}),
    ("Identity", [F], {}),
    ("LayerNormalization", [F, F[0, 0]], {}),
    ("LayerNormalization", [F, F[0], F[1]], {"axis": 1, "epsilon": 0.1}),
    ("LeakyRelu", [F], {}),
    ("LeakyRelu", [F], {"alpha": 0.3}),
    ("Less", [F, F[0]], {}),
    ("LessOrEqual", [F, F[0]], {}),
    ("Log", [F + 3], {}),
    ("LogSoftmax", [F], {}),
    ("MatMul", [F, F[0].T], {}),
    ("Max", [F, F[0], -F], {}),
    ("Min", [F, F[0], -F], {}),
    ("Mul", [F, F[0]], {}),
    ("Neg", [F], {}),
    ("Not", [TRUE], {}),
    ("Or", [TRUE, ~TRUE], {}),
    ("Pad", [F, INTS([0, 1, 0, 0, 0, 3])], {}),
    ("Pad", [F, INTS([0, 1, 0, 2, 0, 3]), np.float32(7)], {}),
    ("Pad", [F, INTS([0, 2, 1, 0, 0, 3])], {"mode": "reflect"}),
    ("Pad", [F, INTS([0, 2, 1, 0, 0, 3])], {"mode": "edge"}),
    ("Pow", [F, np.float32(2)], {}),
    ("Range", [np.array(1), np.array(9), np.array(3)], {}),
    *((f"Reduce{name}", [F], {"axes": [1]}) for name in ("Max", "Mean", "Min")),
    ("ReduceMax", [F], {"keepdims": 0}),
    ("ReduceSum", [F, INTS([0, -1])], {"keepdims": 0}),
    ("ReduceSum", [F], {}),
    ("ReduceSum", [F], {"noop_with_empty_axes": 1}),
    ("Relu", [F], {}),
    ("Reshape", [F, INTS([0, -1])], {}),
    ("Reshape", [F, INTS([4, 6])], {"allowzero": 1}),
    ("ReverseSequence", [F, INTS([3, 1])], {"batch_axis": 0, "time_axis": 1}),
    ("ReverseSequence", [F, INTS([1, 2, 2])], {}),
    ("Shape", [F], {}),
    ("Shape", [F], {"start": 1, "end": -1}),
    ("Sigmoid", [F], {}),
    ("Slice", [F, INTS([-1]), INTS([np.iinfo(np.int64).min]), INTS([2]), INTS([-1])], {}),
    ("Slice", [F, INTS([0, 1]), INTS([1, 9])], {}),
    ("Softmax", [F], {}),
    ("Softmax", [F], {"axis": 1}),
    ("Split", [F, INTS([1, 3])], {"axis": 2}),
    ("Split", [F], {"axis": 2}),
    ("Sqrt", [F + 3], {}),
    ("Squeeze", [F[:1], INTS([0])], {}),
    ("Squeeze", [F[:1]], {}),
    ("Sub", [F, F[0]], {}),
    ("Sum", [F, F[0], F], {}),
    ("Tanh", [F], {}),
    ("Tile", [F, INTS([1, 2, 1])], {}),
    ("TopK", [F, INTS([2])], {}),
    ("TopK", [F, INTS([2])], {"axis": 1, "largest": 0}),
    ("Transpose", [F], {}),
    ("Transpose", [F], {"perm": [1, 0, 2]}),
    ("Unsqueeze", [F, INTS([0, -1])], {}),
    ("Where", [TRUE, WHOLE, -WHOLE], {}),
]


@pytest.mark.parametrize("number", range(len(OPERATORS)))
def test_operators(tmp_path, number):
    """Each operator as in the reference implementation of the library onnx."""
    op, inputs, attributes = OPERATORS[number]
    outputs = 2 if op in ("Split", "TopK") else 1
    opset = 20 if op == "Gelu" else 17
    save_node(tmp_path / "node.onnx", op, inputs, outputs, opset, **attributes)
    feed = {f"x{i}": array for i, array in enumerate(inputs) if array is not None}
    reference = importlib.import_module("onnx.reference").ReferenceEvaluator(onnx.load(tmp_path / "node.onnx"))
    got = import_onnx(tmp_path / "node.onnx")(feed)
    for y, expected in zip(got if outputs > 1 else [got], reference.run(None, feed), strict=True):
        assert y.shape == np.shape(expected) and y.dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


def test_the_guide_names_every_operator(request):
    from seqcore.interop.onnx.operators import OPERATORS as known

    text = (request.config.rootpath / "docs/guide/onnx.md").read_text(encoding="utf-8")
    listed = text.partition("in this list:\n\n")[2].partition(".\n")[0].replace("\n", " ").split(", ")
    assert set(listed) == {*known, "Constant"}


@pytest.mark.parametrize("options", [{}, {"pads": [2, 1]}, {"auto_pad": "VALID"}, {"auto_pad": "NOTSET"}])
@pytest.mark.parametrize("dilation", [1, 3])
def test_convolutions(rng, tmp_path, options, dilation):
    convolve(rng, tmp_path, {"dilations": [dilation], **options})


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_convolutions_with_automatic_pads(rng, tmp_path, auto_pad):
    convolve(rng, tmp_path, {"auto_pad": auto_pad})


def convolve(rng, folder, attributes):
    """Conv gives onnxruntime's numbers, whether the weights are constants of the graph or not."""
    for size, stride, steps, bias in itertools.product((1, 2, 4), (1, 2, 3), (11, 12), (False, True)):
        inputs = [rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, steps), (5, 3, size), (5,))]
        inputs = inputs[: 2 + bias]
        save_node(folder / "node.onnx", "Conv", inputs, strides=[stride], kernel_shape=[size], **attributes)
        (expected,) = onnxruntime.InferenceSession(folder / "node.onnx").run(
            None, {f"x{i}": array for i, array in enumerate(inputs)}
        )
        got = import_onnx(folder / "node.onnx")(*inputs)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_refused_convolutions(rng, tmp_path):
    shapes = {
        "w": ((2, 3, 4), (5, 2, 1), r"got shapes \(2, 3, 4\) and \(5, 2, 1\)"),
        "images": ((2, 3, 4, 4), (5, 3, 1, 1), "expected x"),
        "short": ((2, 3, 4), (5, 3, 5), "expected steps for a window of 5, got 4"),
    }
    for x_shape, w_shape, message in shapes.values():
        inputs = [rng.normal(size=shape).astype(np.float32) for shape in (x_shape, w_shape)]
        save_node(tmp_path / "node.onnx", "Conv", inputs)
        with pytest.raises(ValueError, match=f"^node 'y0': Conv: [^\n]*{message}[^\n]*$"):
            import_onnx(tmp_path / "node.onnx")(*inputs)


LSTM = {"hidden_size": UNITS}
WRONG_NODES = {
    "clip": ("LSTM", {"clip": 3.0}, "the attribute clip=3.0 of LSTM cannot be imported"),
    "input_forget": ("LSTM", {"input_forget": 1}, "input_forget: expected 0"),
    "peepholes": ("LSTM", {}, "peepholes"),
    "activation": ("RNN", {"activations": ["Softsign"]}, "activations: expected Tanh, .*, got 'Softsign'"),
    "alpha": ("RNN", {"activations": ["HardSigmoid"]}, "activation_alpha: expected 0.166667 for HardSigmoid, got 0.2"),
    "two functions": ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "one function for c and h"),
    "direction": ("GRU", {"direction": "both"}, "direction: expected one of forward, reverse, bidirectional"),
    "few functions": ("GRU", {"activations": ["Sigmoid"]}, "activations: expected 2, got 1"),
    "operator": ("MaxPool", {"kernel_shape": [2]}, "the operator MaxPool cannot be imported"),
    "groups": ("Conv", {"group": 2}, "group: expected 1, got 2"),
    "images": ("Conv", {"strides": [1, 1]}, r"strides: expected the numbers of one dimension, got \[1, 1\]"),
    "negative pads": ("Conv", {"pads": [-1, 0]}, "pads: expected numbers of zeros"),
    "wrapped pad": ("Pad", {"mode": "wrap", "opset": 19}, "mode: expected constant, edge or reflect, got 'wrap'"),
    "opset": ("RNN", {"opset": 12}, "opset: expected 13...24, got 12"),
}


@pytest.mark.parametrize("name", WRONG_NODES)
def test_refused_nodes(rng, tmp_path, name):
    op, attributes, message = WRONG_NODES[name]
    inputs = recurrent_inputs(rng, op if op in ("RNN", "LSTM", "GRU") else "LSTM")
    if name == "peepholes":
        inputs.append(np.ones((1, 3 * UNITS), np.float32))
    save_node(tmp_path / "node.onnx", op, inputs[: {"Conv": 2, "Pad": 2, "MaxPool": 1}.get(op)], **attributes)
    with pytest.raises(ValueError, match=message) as caught:
        import_onnx(tmp_path / "node.onnx")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_refused_types(tmp_path):
    save_node(tmp_path / "node.onnx", "Relu", [np.ones(3, np.float16)])
    with pytest.raises(ValueError, match="input 'x0': expected float32, float64, .* got float16"):
        import_onnx(tmp_path / "node.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08"])
def test_refused_files(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="model.onnx: expected an ONNX model, got") as caught:
        import_onnx(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="^path: expected a path, got one with a null character: "):
        import_onnx(b"\x08\x00\x00")


def test_refused_inputs(tmp_path, x):
    export_onnx(built(layers.GRU(2, name="gru")), tmp_path / "model.onnx", states=True)
    graph = import_onnx(tmp_path / "model.onnx")
    x, h = x[..., :3], np.zeros((BATCH, 2))
    for arrays, message in [
        ((x,), "inputs: expected 2, 'input', 'gru.h_0', got 1"),
        (({"input": x},), r"inputs: expected 'input', 'gru.h_0', got \['input'\]"),
        ((x[0], h), r"input: expected shape \(batch, time, 3\), got \(6, 3\)"),
        ((x[..., :2], h), r"input: expected shape \(batch, time, 3\), got"),
        ((x, h[:1]), "initial_h: expected shape"),
        ((np.full(x.shape, "a"), h), "input: expected float32, got <U1"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            graph(*arrays)
        assert "\n" not in str(caught.value)


def test_import_draws_no_random_numbers(tmp_path, x):
    export_onnx(built(layers.GRU(2)), tmp_path / "model.onnx")
    before = sc.random.get_state()
    import_onnx(tmp_path / "model.onnx")(x[..., :3])
    assert sc.random.get_state() == before


# In, as layers --------------------------------------------------------------------------------------------------------

CHAINS = {
    "LSTM": lambda: [layers.LSTM(UNITS, return_sequences=True), layers.LSTM(3), layers.Dense(2, activation="softmax")],
    "GRU": lambda: [layers.GRU(UNITS, recurrent_activation="hard_sigmoid"), layers.Dense(2, use_bias=False)],
    "GRU before": lambda: [layers.GRU(UNITS, reset_after=False, use_bias=False), layers.Activation("log_softmax")],
    "SimpleRNN": lambda: [layers.SimpleRNN(UNITS, activation="relu", go_backwards=True), layers.Activation("tanh")],
    "Bidirectional": lambda: [layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)), layers.Dense(3)],
    "Conv1D": lambda: [layers.Conv1D(UNITS, 3, 2, (2, 1), activation="relu"), layers.LSTM(3), layers.Dense(2)],
    "Conv1D causal": lambda: [
        layers.Conv1D(UNITS, 2, padding="causal", dilation_rate=3, use_bias=False),
        layers.GRU(3, return_sequences=True),
        layers.Conv1D(2, 6, activation="softmax"),
    ],
    "two Bidirectional": lambda: [
        layers.Bidirectional(layers.GRU(3, return_sequences=True)),
        layers.Bidirectional(layers.SimpleRNN(2)),
    ],
    "float64": lambda: [layers.GRU(3, dtype="float64"), layers.Dense(2, activation="hard_sigmoid", dtype="float64")],
}


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_to_sequential(rng, tmp_path, name, states):
    """The layers are those of the model that was exported, with its numbers."""
    model = built(*CHAINS[name]())
    model.set_weights([rng.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    export_onnx(model, tmp_path / "model.onnx", states=states)
    again = import_onnx(tmp_path / "model.onnx").to_sequential()
    x = rng.normal(size=(2, 9, 3))
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    y = again(x)
    assert y.dtype == model(x).dtype
    np.testing.assert_allclose(y.numpy(), model(x).numpy(), rtol=0, atol=1e-6)


def test_an_imported_model_is_trained_streamed_and_saved(rng, tmp_path):
    model = built(layers.Embedding(8, 3), layers.LSTM(4), layers.Dense(8, activation="softmax"), shape=(None, None))
    export_onnx(model, tmp_path / "model.onnx")
    before = sc.random.get_state()
    again = import_onnx(tmp_path / "model.onnx").to_sequential()
    assert sc.random.get_state() == before
    ids = rng.integers(0, 8, size=(16, 6))
    stream = again.stream(16)
    for t in range(6):
        y = stream.step(ids[:, t].copy())
    np.testing.assert_allclose(y, model(ids).numpy(), atol=TOLERANCE)
    again.compile("adam", "sparse_categorical_crossentropy")
    losses = again.fit(ids, ids[:, 0], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(sc.load_model(tmp_path / "model.safetensors")(ids).numpy(), again(ids).numpy())


def save_convolution(path, rng, pad=None, conv=True, value=0.0, **attributes):
    """A file of a Pad of (batch, features, time) and a Conv of two steps behind it, each if wanted."""
    constants = {"w": rng.normal(size=(4, 3, 2)).astype(np.float32), "value": np.float32(value)}
    constants["pads"] = np.array([0, 0, *(pad or (0, 0))[:1], 0, 0, *(pad or (0, 0))[1:]])
    nodes = [helper.make_node("Pad", ["x", "pads", "value"], ["padded"])] if pad else []
    if conv:
        nodes.append(helper.make_node("Conv", ["padded" if pad else "x", "w"], ["y"], **attributes))
    shapes = {name: helper.make_tensor_value_info(name, 1, ["b", 3, None]) for name in ("x", nodes[-1].output[0])}
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "chain", [shapes.pop("x")], list(shapes.values()), initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({"auto_pad": "SAME_LOWER"}, "causal"),
        ({"auto_pad": "SAME_LOWER", "dilations": [3]}, (2, 1)),
        ({"auto_pad": "SAME_UPPER", "strides": [2]}, "same"),
        ({"pad": (1, 0)}, "causal"),
        ({"pad": (1, 2), "pads": [0, 1]}, (1, 3)),
    ],
)
def test_pads_of_a_convolution(rng, tmp_path, options, padding):
    save_convolution(tmp_path / "model.onnx", rng, **options)
    graph = import_onnx(tmp_path / "model.onnx")
    model = graph.to_sequential()
    assert model.layers[0].padding == padding
    x = rng.normal(size=(2, 3, 9)).astype(np.float32)
    np.testing.assert_allclose(model(x.swapaxes(1, 2)).numpy().swapaxes(1, 2), graph(x), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto_pad": "SAME_LOWER", "strides": [2]}, "auto_pad=SAME_LOWER with strides is no padding of a layer"),
        ({"auto_pad": "SAME_UPPER", "pad": (1, 0)}, "auto_pad=SAME_UPPER behind a Pad is no padding of a layer"),
        ({"pad": (1, 0), "value": 2.0}, "expected a Pad of zeros along the time steps"),
        ({"pad": (1, 0), "conv": False}, "expected a Conv behind a Pad"),
    ],
)
def test_pads_that_are_none_of_a_layer(rng, tmp_path, options, message):
    save_convolution(tmp_path / "model.onnx", rng, **options)
    with pytest.raises(ValueError, match=f"^node '[^\n]*: {message}$"):
        import_onnx(tmp_path / "model.onnx").to_sequential()


NO_CHAINS = {
    "two operators": (
        lambda: built(layers.Bidirectional(layers.GRU(2), backward_layer=layers.LSTM(2, go_backwards=True))),
        {},
        "the operator Concat is no layer",
    ),
    "an operator": (lambda: built(layers.GRU(2), layers.ReLU(max_value=1)), {}, "is no layer of a Sequential"),
    "pads that follow from the steps": (
        lambda: built(layers.Conv1D(2, 3, 2, "same", dilation_rate=2)), {}, "expected a Pad of zeros along the time"
    ),
    "lengths": (lambda: built(layers.GRU(2)), {"lengths": True}, "sequence_lens is no argument of a layer"),
    "other numbers": (
        lambda: built(layers.GRU(2, return_sequences=True), layers.Softmax(1)), {}, "expected the numbers of its layers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_CHAINS)
def test_graphs_that_are_no_chain(tmp_path, name):
    make, options, message = NO_CHAINS[name]
    export_onnx(make(), tmp_path / "model.onnx", **options)
    with pytest.raises(ValueError, match=message) as caught:
        import_onnx(tmp_path / "model.onnx").to_sequential()
    assert "\n" not in str(caught.value)


def test_a_gelu_is_the_exact_activation_or_none(tmp_path):
    for approximate in ("none", "tanh"):
        save_node(tmp_path / "node.onnx", "Gelu", [F], opset=20, approximate=approximate)
        graph = import_onnx(tmp_path / "node.onnx")
        if approximate == "none":
            np.testing.assert_allclose(graph.to_sequential()(F).numpy(), graph(F), rtol=0, atol=1e-6)
        else:
            with pytest.raises(ValueError, match="^node '.*: the approximate Gelu is no activation of a layer$"):
                graph.to_sequential()


def test_layer_normalization_over_more_axes_is_no_layer(tmp_path):
    """Over the last axis it is one: test_exports_of_pytorch."""
    save_node(tmp_path / "node.onnx", "LayerNormalization", [F, F[0], F[1]], axis=1)
    with pytest.raises(ValueError, match="^node '.*: expected constants over the last axis as scale and bias$"):
        import_onnx(tmp_path / "node.onnx").to_sequential()


# PyTorch --------------------------------------------------------------------------------------------------------------


def torch_models(torch):
    """Models with their inputs; the batch comes first but in the SimpleRNN."""

    class Net(torch.nn.Module):
        def __init__(self, cell, count=1, both=False, ids=False, batch_first=True, last=True, norm=False, **options):
            super().__init__()
            self.embedding = torch.nn.Embedding(8, FEATURES) if ids else torch.nn.Identity()
            self.batch_first, self.last = batch_first, last
            options |= {"batch_first": batch_first, "bidirectional": both}
            self.rnn = getattr(torch.nn, cell)(FEATURES, UNITS, count, **options)
            self.norm = torch.nn.LayerNorm(UNITS * (1 + both)) if norm else torch.nn.Identity()
            self.head = torch.nn.Linear(UNITS * (1 + both), 2)

        def forward(self, x, *states):
            y, state = self.rnn(self.embedding(x), *([states] if states else []))
            if self.last:
                y = y[:, -1] if self.batch_first else y[-1]
            y = torch.softmax(self.head(self.norm(y)), -1)
            return (y, *state) if states else y

    x, state = torch.randn(BATCH, STEPS, FEATURES), torch.randn(2, BATCH, UNITS)
    return {
        "LSTM, 2 layers, both directions": (Net("LSTM", 2, True), (x,)),
        "GRU": (Net("GRU", last=False), (x,)),
        "RNN": (Net("RNN", batch_first=False, nonlinearity="relu"), (x,)),
        "GRU of ids": (Net("GRU", 2, ids=True), (torch.randint(0, 8, (BATCH, STEPS)),)),
        "GRU, LayerNorm": (Net("GRU", norm=True), (x,)),
        "LSTM with states": (Net("LSTM", 2, last=False), (x, state, torch.randn(2, BATCH, UNITS))),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_exports_of_pytorch(tmp_path, dynamo):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    for name, (model, inputs) in torch_models(torch).items():
        model.eval()
        path = tmp_path / "model.onnx"
        options = {"dynamo": True, "external_data": False, "verbose": False} if dynamo else {"dynamo": False}
        if not dynamo:
            options["input_names"] = ["x"]
            options["dynamic_axes"] = {"x": {0: "a", 1: "b"}} if len(inputs) == 1 else {}
        torch.onnx.export(model, inputs, path, **options)
        with torch.no_grad():
            outputs = model(*inputs)
        got = import_onnx(path)(*inputs)
        outputs, got = (outputs, got) if isinstance(outputs, tuple) else ([outputs], [got])
        for y, expected in zip(got, outputs, strict=True):
            np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=TOLERANCE, err_msg=name)
        if "both" in name or (dynamo and name == "RNN"):
            # The last step of both directions is no layer; dynamo writes the steps of an RNN one by one.
            with pytest.raises(ValueError, match="layer"):
                import_onnx(path).to_sequential()
        else:
            x = inputs[0].numpy()
            y = import_onnx(path).to_sequential()(x.swapaxes(0, 1) if name == "RNN" else x)
            if len(inputs) == 1:
                np.testing.assert_allclose(y.numpy(), outputs[0].numpy(), rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("features_first", [False, True])
def test_convolutions_of_pytorch(tmp_path, features_first, dynamo):
    """Conv1d in front of an LSTM, with zeros of its own or of a layer in front of it, is a chain."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self, zeros, **options):
            super().__init__()
            self.zeros = torch.nn.ConstantPad1d(zeros, 0.0) if zeros else torch.nn.Identity()
            self.conv = torch.nn.Conv1d(FEATURES, UNITS, 3, **options)
            self.rnn, self.head = torch.nn.LSTM(UNITS, 3, batch_first=True), torch.nn.Linear(3, 2)

        def forward(self, x):
            y = torch.relu(self.conv(self.zeros(x if features_first else x.transpose(1, 2))))
            return self.head(self.rnn(y.transpose(1, 2))[0])

    x = torch.randn(BATCH, 10, FEATURES)
    for zeros, options, padding in [
        (None, {}, "valid"),
        (None, {"padding": 1, "stride": 2}, (1, 1)),
        (None, {"padding": "same", "dilation": 2}, {(2, 2), "same"}),
        ((2, 0), {}, "causal"),
        ((0, 3), {"padding": 1}, (1, 4)),
    ]:
        model = Net(zeros, **options).eval()
        given = (x.transpose(1, 2).contiguous() if features_first else x,)
        form = {"dynamo": True, "external_data": False, "verbose": False} if dynamo else {"dynamo": False}
        torch.onnx.export(model, given, tmp_path / "model.onnx", **form)
        with torch.no_grad():
            expected = model(*given).numpy()
        graph = import_onnx(tmp_path / "model.onnx")
        again = graph.to_sequential()
        np.testing.assert_allclose(graph(*given), expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(again(x.numpy()).numpy(), expected, rtol=0, atol=TOLERANCE)
        assert [type(layer) for layer in again.layers] == [layers.Conv1D, layers.LSTM, layers.Dense]
        assert again.layers[0].padding in (padding if isinstance(padding, set) else {padding})


# Keras ----------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_export_of_keras(rng, tmp_path):
    """Keras writes the time steps one by one, through PyTorch."""
    pytest.importorskip("onnxscript")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras is not on its PyTorch backend")
    make = keras.layers
    model = keras.Sequential([make.Input((3, FEATURES)), make.LSTM(UNITS, return_sequences=True), make.GRU(3)])
    x = rng.normal(size=(1, 3, FEATURES)).astype(np.float32)
    y = model.predict(x, verbose=0)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    np.testing.assert_allclose(import_onnx(tmp_path / "model.onnx")(x), y, rtol=0, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_convolutions_of_keras(rng, tmp_path, padding):
    pytest.importorskip("onnxscript")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras is not on its PyTorch backend")
    make = keras.layers
    layer = make.Conv1D(UNITS, 3, padding=padding, activation="tanh", bias_initializer="uniform")
    model = keras.Sequential([make.Input((7, FEATURES)), layer])
    x = rng.normal(size=(1, 7, FEATURES)).astype(np.float32)
    y = model.predict(x, verbose=0)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    again = import_onnx(tmp_path / "model.onnx").to_sequential()
    assert [type(layer) for layer in again.layers] == [layers.Conv1D]
    np.testing.assert_allclose(again(x).numpy(), y, rtol=0, atol=TOLERANCE)
