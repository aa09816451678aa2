"""Keras's files without Keras: what is written is read again; damaged and hostile files are refused in one line."""

import copy
import io
import itertools
import json
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

import seqcore as sc
from seqcore import layers
from seqcore.interop.keras import load_keras, save_keras

h5py = pytest.importorskip("h5py")

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
IDS = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def network():
    sc.set_seed(1)
    model = sc.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.GRU(2, reset_after=False, dropout=0.1),
            layers.Dense(3, activation="softmax"),
        ],
        name="network",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(IDS, np.array([0, 2]))
    return model


MODEL = network()


@pytest.fixture
def parts(tmp_path):
    """The members of a valid .keras file, config.json decoded."""
    save_keras(MODEL, tmp_path / "valid.keras")
    with zipfile.ZipFile(tmp_path / "valid.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return {**parts, CONFIG: json.loads(parts[CONFIG])}


def write(path, parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def edited(content, change):
    """The bytes of an HDF5 file after a change by h5py."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def refused(path, match, model=None):
    """The file is refused in one line that names it."""
    with pytest.raises(ValueError, match=match) as caught:
        load_keras(path, model)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["keras", "h5"])
def test_whole_models(end, tmp_path):
    path = tmp_path / f"m.{end}"
    save_keras(MODEL, path)
    again = load_keras(path)
    np.testing.assert_array_equal(again(IDS), MODEL(IDS))
    assert again.get_compile_config() == MODEL.get_compile_config()
    config, expected = again.get_config(), MODEL.get_config()
    # Keras writes both layers of a Bidirectional.
    assert config["layers"][2]["config"].pop("backward_layer")["config"]["go_backwards"]
    assert config == expected
    assert again.optimizer.iterations == (1 if end == "keras" else 0)
    if end == "keras":
        for key, value in MODEL.optimizer.get_state().items():
            np.testing.assert_allclose(again.optimizer.get_state()[key], value, rtol=1e-7)
    assert load_keras(path, compile=False).optimizer is None


def test_same_bytes(tmp_path):
    for end in ("keras", "h5", "weights.h5"):
        for name in "ab":
            save_keras(MODEL, tmp_path / f"{name}.{end}")
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


@pytest.mark.parametrize("end", ["keras", "h5", "weights.h5"])
def test_weights_for_a_model(end, tmp_path):
    save_keras(MODEL, tmp_path / f"m.{end}")
    other = network()
    other.set_weights([np.zeros_like(w) for w in other.get_weights()])
    optimizer = other.optimizer
    assert load_keras(tmp_path / f"m.{end}", other) is other and other.optimizer is optimizer
    np.testing.assert_array_equal(other(IDS), MODEL(IDS))


def test_models_without_input_and_inside_each_other(tmp_path):
    inner = sc.Sequential([layers.Dense(4), layers.Dense(2)])
    model = sc.Sequential([layers.LSTM(3, return_sequences=True, input_shape=(None, 3)), inner, layers.GRU(2)])
    called = sc.Sequential([layers.Embedding(9, 3), layers.SimpleRNN(2)])
    model(X), called(IDS)
    for built, x in ((model, X), (called, IDS)):
        for end in ("keras", "h5"):
            save_keras(built, tmp_path / f"m.{end}")
            np.testing.assert_array_equal(load_keras(tmp_path / f"m.{end}")(x), built(x))


def test_many_layers(tmp_path):
    """The list of their names is longer than an attribute of HDF5 can be."""
    model = sc.Sequential([layers.Input((2,)), *(layers.Activation("linear") for _ in range(2100)), layers.Dense(1)])
    save_keras(model, tmp_path / "m.h5")
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(load_keras(tmp_path / "m.h5", compile=False)(x), model(x))


def test_float64_and_frozen(tmp_path):
    stack = [layers.LSTM(2, dtype="float64", trainable=False), layers.Dense(2, dtype="float64")]
    model = sc.Sequential([layers.Input((None, 3), dtype="float64"), *stack])
    for end in ("keras", "h5"):
        save_keras(model, tmp_path / f"m.{end}")
        again = load_keras(tmp_path / f"m.{end}")
        assert [w.trainable for w in again.weights] == [False] * 3 + [True] * 2
        assert again(X).dtype == np.float64
        np.testing.assert_array_equal(again(X), model(X))


def test_weights_of_other_types(tmp_path, parts):
    """float16 and bfloat16 are widened, float64 is rounded, packed arrays are unpacked."""
    values = np.linspace(-1, 1, 6).reshape(2, 3)

    def put(array, **options):
        def change(file):
            group = file["layers/dense/vars"]
            del group["0"]
            group.create_dataset("0", data=array, **options)

        path = write(tmp_path / "m.keras", {**parts, WEIGHTS: edited(parts[WEIGHTS], change)})
        return load_keras(path).layers[-1].get_weights()[0]

    np.testing.assert_array_equal(put(values.astype(np.float16)), values.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(put(values), values.astype(np.float32))
    np.testing.assert_array_equal(put(values.astype(">f4"), compression="gzip"), values.astype(np.float32))
    high = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(put(high.view("V2")), (high.astype(np.uint32) << 16).view(np.float32))


def test_layouts_of_older_versions(tmp_path, parts):
    """TensorFlow 2.13 calls the group of the layers otherwise; Keras 3 once wrote the state of dropout."""

    def rename(file):
        file.move("layers", "_layer_checkpoint_dependencies")

    def add_seeds(file):
        file["layers/gru/cell/seed_generator/vars/0"] = np.zeros(2, np.uint32)

    for change in (rename, add_seeds):
        path = write(tmp_path / "m.keras", {**parts, WEIGHTS: edited(parts[WEIGHTS], change)})
        np.testing.assert_array_equal(load_keras(path)(IDS), MODEL(IDS))


# As TensorFlow 2.9 wrote it, the layers shortened to what matters.
KERAS_2 = {
    "class_name": "Functional",
    "config": {
        "name": "model",
        "layers": [
            {
                "class_name": "InputLayer",
                "config": {
                    "batch_input_shape": [None, None, 3], "dtype": "float32", "sparse": False, "ragged": False,
                    "name": "input_1",
                },
                "name": "input_1",
                "inbound_nodes": [],
            },
            {
                "class_name": "LSTM",
                "config": {
                    "name": "lstm", "trainable": True, "dtype": "float32", "return_sequences": True,
                    "return_state": True, "go_backwards": False, "stateful": False, "unroll": False,
                    "time_major": False, "units": 2, "activation": "tanh", "recurrent_activation": "sigmoid",
                    "use_bias": True,
                    "kernel_initializer": {
                        "class_name": "GlorotUniform", "config": {"seed": None}, "shared_object_id": 1
                    },
                    "recurrent_initializer": {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}},
                    "bias_initializer": {"class_name": "Zeros", "config": {"dtype": "float32"}},
                    "unit_forget_bias": True, "kernel_regularizer": None, "recurrent_regularizer": None,
                    "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None,
                    "recurrent_constraint": None, "bias_constraint": None, "dropout": 0.0, "recurrent_dropout": 0.0,
                    "implementation": 2,
                },
                "name": "lstm",
                "inbound_nodes": [[["input_1", 0, 0, {}]]],
            },
            {
                "class_name": "Dense",
                "config": {
                    "name": "dense", "trainable": True,
                    "dtype": {"class_name": "Policy", "config": {"name": "float32"}},
                    "units": 2, "activation": "softmax", "use_bias": True, "kernel_initializer": "glorot_uniform",
                    "bias_initializer": {"class_name": "Zeros", "config": {}}, "kernel_regularizer": None,
                    "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None,
                    "bias_constraint": None,
                },
                "name": "dense",
                "inbound_nodes": [[["lstm", 0, 0, {}]]],
            },
        ],
        "input_layers": [["input_1", 0, 0]],
        "output_layers": [["dense", 0, 0]],
    },
}  # fmt: skip
TRAINING_2 = {
    "loss": {
        "class_name": "SparseCategoricalCrossentropy",
        "config": {"reduction": "auto", "name": "s", "from_logits": True},
    },
    "metrics": [
        [
            {
                "class_name": "MeanMetricWrapper",
                "config": {"name": "acc", "dtype": "float32", "fn": "sparse_categorical_accuracy"},
            }
        ]
    ],
    "weighted_metrics": None,
    "loss_weights": None,
    "optimizer_config": {
        "class_name": "Adam",
        "config": {
            "name": "Adam", "learning_rate": 0.01, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07,
            "amsgrad": False,
        },
    },
}  # fmt: skip


def keras_2_file(path, config, weights, training=None, whole=True):
    with h5py.File(path, "w") as file:
        root = file
        if whole:
            file.attrs["keras_version"], file.attrs["backend"] = np.bytes_("2.9.0"), np.bytes_("tensorflow")
            file.attrs["model_config"] = json.dumps(config)
            if training is not None:
                file.attrs["training_config"] = json.dumps(training)
            root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([b"input_1", *(name.encode() for name in weights)], "S")
        root.create_group("input_1").attrs["weight_names"] = []
        for layer, arrays in weights.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in arrays], "S")
            for name, array in arrays.items():
                group[name] = array
    return path


def test_keras_2(tmp_path):
    """A functional model of TensorFlow 2.9, and its weights alone."""
    like = sc.Sequential([layers.Input((None, 3)), layers.LSTM(2, return_sequences=True), layers.Dense(2, "softmax")])
    arrays = like.get_weights()
    weights = {
        "lstm": {f"lstm/lstm_cell/{name}:0": array for name, array in zip(("kernel", "recurrent", "bias"), arrays)},
        "dense": {f"dense/{name}:0": array for name, array in zip(("kernel", "bias"), arrays[3:])},
    }
    model = load_keras(keras_2_file(tmp_path / "m.h5", KERAS_2, weights, TRAINING_2))
    np.testing.assert_array_equal(model(X), like(X))
    assert not model.layers[0].return_state and model.loss.from_logits and model.metrics_names == ["loss", "acc"]
    assert model.optimizer.learning_rate == 0.01
    like.set_weights([np.zeros_like(array) for array in arrays])
    load_keras(keras_2_file(tmp_path / "w.h5", KERAS_2, weights, whole=False), like)
    np.testing.assert_array_equal(model(X), like(X))


def changed_lstm(**values):
    config = copy.deepcopy(KERAS_2)
    config["config"]["layers"][1]["config"].update(values)
    return config


def test_what_keras_2_meant_otherwise(tmp_path):
    """Its hard sigmoid has another slope, and a GRU without reset_after is the old form."""
    for values, match in (
        ({"recurrent_activation": "hard_sigmoid"}, r"\(LSTM\): recurrent_activation.*'hard_sigmoid'"),
        ({"time_major": True}, r"\(LSTM\): time_major"),
        ({"implementation": 7}, r"\(LSTM\): implementation"),
    ):
        refused(keras_2_file(tmp_path / "m.h5", changed_lstm(**values), {}), match)
    config = changed_lstm()
    config["config"]["layers"][1]["class_name"] = "GRU"
    del config["config"]["layers"][1]["config"]["unit_forget_bias"]
    like = sc.Sequential(
        [layers.Input((None, 3)), layers.GRU(2, return_sequences=True, reset_after=False), layers.Dense(2, "softmax")]
    )
    arrays = like.get_weights()
    weights = {"lstm": dict(zip("abc", arrays)), "dense": dict(zip("ab", arrays[3:]))}
    np.testing.assert_array_equal(load_keras(keras_2_file(tmp_path / "m.h5", config, weights))(X), like(X))


# --- arguments --------------------------------------------------------------------------------------------------------


def test_arguments(tmp_path):
    for path in ("m.safetensors", "m.hdf5", "m", "keras"):
        with pytest.raises(ValueError, match=r"path: expected a name that ends with .keras, .weights.h5 or .h5"):
            save_keras(MODEL, tmp_path / path)
    with pytest.raises(TypeError, match="model: expected a Model of seqcore, got"):
        save_keras(layers.Dense(2), tmp_path / "m.keras")
    with pytest.raises(TypeError, match="model: expected a Model of seqcore, got"):
        load_keras(tmp_path / "m.keras", layers.Dense(2))
    for function in (lambda m: save_keras(m, tmp_path / "m.keras"), lambda m: load_keras(tmp_path / "m.keras", m)):
        with pytest.raises(ValueError, match="model: expected 'unbuilt' to be built"):
            function(sc.Sequential([layers.Dense(2)], name="unbuilt"))
    with pytest.raises(ValueError, match="compile: expected True or False"):
        load_keras(tmp_path / "m.keras", compile="yes")
    with pytest.raises(ValueError, match="include_optimizer: expected True or False"):
        save_keras(MODEL, tmp_path / "m.keras", include_optimizer="no")
    with pytest.raises(FileNotFoundError):
        load_keras(tmp_path / "none.keras")
    with pytest.raises(IsADirectoryError):
        load_keras(tmp_path)
    save_keras(MODEL, tmp_path / "m.weights.h5")
    refused(tmp_path / "m.weights.h5", "got a file of weights; make the model and pass it")
    MODEL.save(tmp_path / "m.safetensors")
    refused(tmp_path / "m.safetensors", "expected a file of Keras, got another")
    (tmp_path / "n.keras").write_bytes(b"")
    refused(tmp_path / "n.keras", "expected a file of Keras")


def test_models_that_keras_cannot_hold(tmp_path):
    class Own(sc.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(1)

        def call(self, x):
            return self.head(x)

    own = Own()
    own(X)
    cases = {
        "ContextRNN": [layers.ContextRNN(2, 2)],
        "GlobalSumPooling1D": [layers.GlobalSumPooling1D()],
        "without '/'": [layers.Dense(2, name="a/b")],
        "batch_size=": [layers.LSTM(2, stateful=True)],
        "padding: expected a word": [layers.Conv1D(2, 2, padding=(1, 0))],
        "padding_idx: expected None": [layers.Embedding(9, 2, padding_idx=0)],
        "does not take together": [layers.Conv1D(2, 2, strides=2, dilation_rate=2)],
    }
    for end in ("keras", "h5"):
        with pytest.raises(ValueError, match="expected a Sequential, got the Own"):
            save_keras(own, tmp_path / f"m.{end}")
        for match, stack in cases.items():
            with pytest.raises(ValueError, match=match):
                save_keras(sc.Sequential([layers.Input((5, 3)), *stack]), tmp_path / f"m.{end}")
    with pytest.raises(ValueError, match="Keras has no ContextRNN"):
        save_keras(sc.Sequential([layers.Input((5, 3)), layers.ContextRNN(2, 2)]), tmp_path / "m.weights.h5")
    assert not list(tmp_path.iterdir())


def test_a_model_with_other_layers_stays_as_it_is(tmp_path):
    for end in ("keras", "h5", "weights.h5"):
        save_keras(MODEL, tmp_path / f"m.{end}")
        front = [layers.Input((None,), dtype="int32"), layers.Embedding(9, 3)]
        rnn = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
        for stack in (
            [rnn, layers.TimeDistributed(layers.Dense(3)), layers.GRU(2, reset_after=False), layers.Dense(4)],
            [layers.Bidirectional(layers.LSTM(2, return_sequences=True))],
            [layers.LSTM(2), layers.Dense(1), layers.Dense(1), layers.Dense(1)],
        ):
            other = sc.Sequential([*front[:1], layers.Embedding(9, 3), *stack])
            before = other.get_weights()
            refused(tmp_path / f"m.{end}", "expected", other)
            for a, b in zip(before, other.get_weights()):
                np.testing.assert_array_equal(a, b)


# --- hostile files ----------------------------------------------------------------------------------------------------


def test_nothing_in_a_file_is_run(tmp_path, parts):
    """Lambdas, custom objects and names of modules are refused by name, and nothing is imported."""
    modules = set(sys.modules)
    dense = parts[CONFIG]["config"]["layers"][-1]
    command = {"module": "os", "class_name": "function", "config": "system"}
    code = {"class_name": "__lambda__", "config": {"value": ["4wEAAAAAAAAA", None, None]}}
    for value, match in (
        ({"module": "os", "class_name": "system", "config": {"command": "true"}}, "'os.system'; custom objects"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "expected a dict with class_name"),
        ({**dense, "registered_name": "mine>Dense"}, "'mine>Dense'; custom objects are not read"),
        ({**dense, "module": "mine.layers"}, "'mine.layers.Dense'"),
        ({**dense, "class_name": "Lambda", "config": {"name": "x", "function": code}}, "is code"),
        (code, "is code"),
        (changed(dense, ("config", "activation"), code), r"\(Dense\): activation"),
        (changed(dense, ("config", "activation"), command), "expected a function of Keras itself, got 'system'"),
        (changed(dense, ("config", "kernel_initializer", "module"), "mine"), "initializer: .*'mine.GlorotUniform'"),
    ):  # fmt: skip
        config = copy.deepcopy(parts[CONFIG])
        config["config"]["layers"][-1] = value
        refused(write(tmp_path / "m.keras", {**parts, CONFIG: config}), match)
    assert set(sys.modules) == modules


def fields(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from fields(inner, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    result = copy.deepcopy(value)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return result


VALUES = [None, True, -1, 0, 3, 10**9, 10**30, 1.5, float("nan"), "", "x", "relu", [], [1], {}, {"a": 1}, ...]


def attempt(path, expected):
    """Loads a file: the model as it was, or ValueError in one line that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = load_keras(path)
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error), repr(error)
            assert len(str(error)) < 700
            return False
    assert model.built and [w.shape for w in model.weights] == [w.shape for w in MODEL.weights]
    return expected is None or np.array_equal(model.get_weights()[0], expected)


@pytest.mark.slow
def test_every_field_of_the_config(tmp_path, parts):
    """Every field is replaced in turn, by a third of the values each: refused, or read with what the value means."""
    count = read = 0
    for number, path in enumerate(fields(parts[CONFIG])):
        for new in VALUES[number % 3 :: 3]:
            if path or new is not ...:
                file = write(tmp_path / "m.keras", {**parts, CONFIG: changed(parts[CONFIG], path, new)})
                read += attempt(file, None)
                count += 1
    assert count > 1000 and read < count / 2
    refused(write(tmp_path / "m.keras", {**parts, CONFIG: {}}), "class_name")


def test_every_field_of_a_graph(tmp_path):
    """The same for the graph of a functional model."""
    arrays = [np.zeros(shape, np.float32) for shape in ((3, 8), (2, 8), (8,), (2, 2), (2,))]
    weights = {"lstm": dict(zip("abc", arrays)), "dense": dict(zip("ab", arrays[3:]))}
    graph = {key: value for key, value in KERAS_2["config"].items() if key != "layers"}
    for key, value in graph.items():
        for path, new in itertools.product(fields(value), VALUES):
            if path or new is not ...:
                config = {**KERAS_2, "config": {**KERAS_2["config"], key: changed(value, path, new)}}
                file = keras_2_file(tmp_path / "m.h5", config, weights)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        assert len(load_keras(file).layers) == 2
                    except ValueError as error:
                        assert str(error).startswith(str(file)) and "\n" not in str(error)
    nodes = [layer["inbound_nodes"] for layer in KERAS_2["config"]["layers"]]
    for number, path, new in [(i, path, new) for i in (1, 2) for path in fields(nodes[i]) for new in VALUES]:
        config = copy.deepcopy(KERAS_2)
        config["config"]["layers"][number]["inbound_nodes"] = (
            changed(nodes[number], path, new) if path or new is not ... else "nodes"
        )
        file = keras_2_file(tmp_path / "m.h5", config, weights)
        try:
            assert len(load_keras(file).layers) == 2
        except ValueError as error:
            assert str(error).startswith(str(file)) and "\n" not in str(error)


def test_circles(tmp_path):
    for source in ("lstm", "dense"):
        config = copy.deepcopy(KERAS_2)
        config["config"]["layers"][1]["inbound_nodes"] = [[[source, 0, 0, {}]]]
        refused(keras_2_file(tmp_path / "m.h5", config, {}), "chain|first output of another layer")
    text = '{"class_name":"Sequential","config":{"name":"s","layers":[' * 3000 + "]}}" * 3000
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = text
    refused(tmp_path / "m.h5", "nested too deep|too many|class_name")


def links(file):
    return file["layers/dense/vars"]


HDF5 = {
    "external link": (lambda f, p: put(f, h5py.ExternalLink(str(p), "/layers/dense/vars/0")), "got a link"),
    "soft link": (lambda f, p: put(f, h5py.SoftLink("/layers/dense/vars/1")), "got a link"),
    "link to a group": (lambda f, p: relink(f, h5py.SoftLink("/layers/gru")), "got a link"),
    "external storage": (
        lambda f, p: make(f, "0", shape=(2, 3), dtype="f4", external=[(str(p), 0, 24)]),
        "stored elsewhere",
    ),
    "virtual": (lambda f, p: virtual(f, p), "stored elsewhere"),
    "shape": (lambda f, p: make(f, "0", data=np.zeros((3, 2), "f4")), r"expected numbers of shape \(2, 3\)"),
    "texts": (lambda f, p: make(f, "0", data=np.full((2, 3), b"x")), "expected numbers"),
    "objects": (lambda f, p: make(f, "0", shape=(2, 3), dtype=h5py.string_dtype()), "expected numbers"),
    "references": (lambda f, p: make(f, "0", shape=(2, 3), dtype=h5py.ref_dtype), "expected numbers"),
    "records": (lambda f, p: make(f, "0", shape=(2, 3), dtype=[("a", "u1"), ("b", "u1")]), "expected numbers"),
    "complex": (lambda f, p: make(f, "0", shape=(2, 3), dtype="c8"), "expected numbers"),
    "never written": (lambda f, p: make(f, "0", shape=(2, 3), dtype="f4"), "expected 24 bytes, got 0"),
    "a group": (lambda f, p: make_group(f), "expected an array of shape"),
    "missing": (lambda f, p: links(f).__delitem__("1"), "dense/vars/1: expected an array"),
    "one more": (lambda f, p: make(f, "2", data=np.zeros(3, "f4")), "2 arrays for layer 'dense.*, got '2' too"),
    "another layer": (lambda f, p: f.__setitem__("layers/lstm/vars/0", np.zeros(3)), "lstm: expected only layers"),
    "a layer inside": (lambda f, p: f.__setitem__("layers/gru/x/vars/0", np.zeros(3)), "gru/x: expected only layers"),
    "at the top": (lambda f, p: f.__setitem__("x/vars/0", np.zeros(3)), "x: expected only layers"),
    "scale-offset": (
        lambda f, p: make(f, "0", data=np.zeros((2, 3), "i4"), chunks=True, scaleoffset=0),
        "got the filters",
    ),
}  # fmt: skip


def make(file, name, **options):
    group = links(file)
    if name in group:
        del group[name]
    group.create_dataset(name, **options)


def make_group(file):
    del links(file)["0"]
    links(file).create_group("0")


def put(file, link):
    del links(file)["0"]
    links(file)["0"] = link


def relink(file, link):
    del file["layers/dense"]
    file["layers/dense"] = link


def virtual(file, path):
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(path), "layers/dense/vars/0", (2, 3), "f4")
    del links(file)["0"]
    links(file).create_virtual_dataset("0", layout)


@pytest.mark.parametrize("name", HDF5)
def test_hostile_hdf5(name, tmp_path, parts):
    change, match = HDF5[name]
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    weights = edited(parts[WEIGHTS], lambda file: change(file, secret))
    refused(write(tmp_path / "m.keras", {**parts, WEIGHTS: weights}), match)
    (tmp_path / "m.weights.h5").write_bytes(weights)
    refused(tmp_path / "m.weights.h5", match, network())


def run_limited(code, *arguments):
    """Runs code in a process with 3 GiB of address space."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({3 << 30}, {3 << 30}))\n"
    done = subprocess.run([sys.executable, "-c", limit + code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


LOAD = """
import sys
from seqcore.interop.keras import load_keras
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_keras(sys.argv[1])
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.native
def test_bombs(tmp_path, parts):
    """Small files that describe large things are refused, and cost little."""
    zeros = bytes(1 << 20)
    bombs = {}
    for name in (CONFIG, WEIGHTS):
        path = bombs[f"zip {name}"] = tmp_path / f"{name}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open(name, "w") as member:
                for _ in range(600):
                    member.write(zeros)
            archive.writestr(WEIGHTS if name == CONFIG else CONFIG, b"{}")
    units = copy.deepcopy(parts[CONFIG])
    units["config"]["layers"][-1]["config"]["units"] = 10**8
    bombs["units"] = write(tmp_path / "units.keras", {**parts, CONFIG: units})
    wide = copy.deepcopy(parts[CONFIG])
    wide["config"]["layers"][1]["config"]["input_dim"] = 10**12
    bombs["wide"] = write(tmp_path / "wide.keras", {**parts, CONFIG: wide})
    many = copy.deepcopy(parts[CONFIG])
    many["config"]["layers"] += [{"class_name": "Flatten", "config": {"name": f"f{i}"}} for i in range(20000)]
    bombs["many"] = write(tmp_path / "many.keras", {**parts, CONFIG: many})

    def packed(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars"].create_dataset("0", (2, 10**8), "f4", compression="gzip", fillvalue=1.0)

    units["config"]["layers"][-1]["config"]["units"] = 10**8
    bombs["packed"] = write(
        tmp_path / "packed.keras", {**parts, CONFIG: units, WEIGHTS: edited(parts[WEIGHTS], packed)}
    )
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(KERAS_2)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["x" * 1000] * 2000
    bombs["names"] = tmp_path / "names.h5"
    for name, path in bombs.items():
        *lines, grown = run_limited(LOAD, path).splitlines()
        assert len(lines) == 1 and lines[0].startswith(str(path)), (name, lines)
        assert int(grown) < 400, (name, grown)


def test_damaged_archives(tmp_path, parts):
    """Members missing, twice, encrypted, cut, with wrong sizes; every byte of the directory changed."""
    refused(write(tmp_path / "m.keras", {CONFIG: parts[CONFIG]}), "with model.weights.h5, got a zip archive without it")
    refused(write(tmp_path / "m.keras", {WEIGHTS: parts[WEIGHTS]}), "with config.json, got a zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(tmp_path / "m.keras", parts)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(CONFIG, "{}")
    refused(path, "config.json: expected it once in the archive, got it twice")
    refused(write(tmp_path / "m.keras", {**parts, CONFIG: b"\xff\xfe"}), "expected JSON")
    refused(write(tmp_path / "m.keras", {**parts, CONFIG: b'{"a": 1, "a": 2}'}), "'a' twice")
    refused(write(tmp_path / "m.keras", {**parts, WEIGHTS: b"no HDF5"}), "m.keras: ")
    content = write(tmp_path / "m.keras", parts).read_bytes()
    directory = struct.unpack("<I", content[-6:-2])[0]
    for position in range(directory, len(content)):
        for value in (0, 1, 255):
            damaged = bytearray(content)
            damaged[position] = value if damaged[position] != value else 7
            (tmp_path / "d.keras").write_bytes(damaged)
            attempt(tmp_path / "d.keras", None)
    for length in range(0, len(content), 997):
        (tmp_path / "d.keras").write_bytes(content[:length])
        attempt(tmp_path / "d.keras", None)


def test_damaged_hdf5(tmp_path):
    """Bytes changed all over a file: no error but ValueError, and no crash of the process."""
    save_keras(MODEL, tmp_path / "m.h5")
    steps = np.random.default_rng(0).integers(1, 10**6, 400)
    code = """
import sys, warnings
from seqcore.interop.keras import load_keras
warnings.simplefilter("ignore")
content = open(sys.argv[1], "rb").read()
for step in map(int, sys.argv[3:]):
    damaged = bytearray(content)
    for k in range(3):
        damaged[(step * 7919 + k * step) % len(content)] = (step * 31 + k) % 256
    open(sys.argv[2], "wb").write(damaged)
    try:
        load_keras(sys.argv[2])
    except ValueError as error:
        assert str(error).startswith(sys.argv[2]) and "\\n" not in str(error), repr(error)
"""
    run_limited(code, tmp_path / "m.h5", tmp_path / "d.h5", *steps)


def test_neither_keras_nor_more_than_h5py_is_imported(tmp_path):
    save_keras(MODEL, tmp_path / "m.keras")
    code = """
import sys
import seqcore.interop.keras
assert "h5py" not in sys.modules
from seqcore.interop.keras import load_keras
load_keras(sys.argv[1])
assert "h5py" in sys.modules and "keras" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.keras")], check=True)


def test_without_h5py(tmp_path, monkeypatch):
    save_keras(MODEL, tmp_path / "m.keras")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for call in (lambda: load_keras(tmp_path / "m.keras"), lambda: save_keras(MODEL, tmp_path / "m.keras")):
        with pytest.raises(ImportError, match=r"seqcore.interop.keras needs h5py.*pip install 'seqcore\[keras\]'"):
            call()
