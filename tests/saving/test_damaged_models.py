"""Models and checkpoints with every field changed in turn: refused in one line, nothing changed, nothing large made."""

import collections
import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import seqcore as sc
from seqcore import (
    callbacks,
    cli,
    initializers,
    language,
    language_model,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    saving,
)
from seqcore.experiments import EXPERIMENTS
from seqcore.layers import registry
from seqcore.optimizers import schedules
from seqcore.text.vocabulary import Vocabulary

V = 7
X = np.array([[1, 2, 3, 4], [5, 6, 0, 1]], np.int32)
Y = np.array([[2, 3, 4, 5], [6, 0, 1, 2]], np.int32)

# What each field becomes in turn: other types, other signs, sizes that no file holds.
VALUES = [None, True, -1, 0, 3, 10**9, 10**30, 1.5, float("nan"), "", "x", [], [1], {}, {"a": 1}, {"__array__": "x"}]


@models.register("tests/BuiltByCall")
class BuiltByCall(models.Model):
    """A model whose layers are built only by its call."""

    def __init__(self, units=3, steps=4):
        super().__init__()
        self.table = layers.Embedding(V, units)
        self.cells = [layers.LSTMCell(units), layers.GRUCell(units)]
        self.start = units
        self.head = models.Sequential([layers.Dropout(0.2), layers.Dense(V)])

    def call(self, inputs, training=False):
        x = self.table(inputs)
        h = [np.zeros((x.shape[0], self.start), np.float32)] * 3
        outputs = []
        for part in sc.unstack(x, axis=1):
            y, h[:2] = self.cells[0](part, h[:2], training=training)
            y, h[2:] = self.cells[1](y, h[2:], training=training)
            outputs.append(self.head(y, training=training))
        return sc.ops.stack(outputs, axis=1)


def stateful():
    return models.Sequential(
        [
            layers.Embedding(V, 3),
            layers.LSTM(3, return_sequences=True, stateful=True, dropout=0.2, recurrent_dropout=0.1),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(4)),
            layers.Dense(V),
        ]
    )


MAKERS = {"sequential": stateful, "subclass": BuiltByCall}


def compiled(name):
    model = MAKERS[name]()
    model.compile(
        optimizers.Adam(0.01, amsgrad=True),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", "perplexity"],
    )
    return model


def trained(name, steps):
    model = compiled(name)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """Thousands of files are written here; none has to outlive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# ---------------------------------------------------------------- changing every field


def fields(value, path=()):
    """The path of every value inside nested dicts and lists, the outermost first."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from fields(inner, (*path, key))


def changed(value, path, new):
    """A copy with one field replaced, or left out where ``new`` is Ellipsis."""
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


def variants(tensors, texts):
    """Files with one field of one text changed."""
    for key, text in texts.items():
        if key == "format":
            continue
        value = json.loads(text)
        yield f"{key} missing", tensors, {other: text for other, text in texts.items() if other != key}
        for path in fields(value):
            for new in [*VALUES, ...] if path else VALUES:
                yield f"{key} {path} {new}", tensors, {**texts, key: json.dumps(changed(value, path, new))}


def tensor_variants(tensors, texts):
    """Files with one array changed."""
    for name, array in tensors.items():
        rest = {other: array for other, array in tensors.items() if other != name}
        yield f"{name} missing", rest, texts
        for new in (
            array.astype(np.int64),
            array.astype(np.float16 if array.dtype.kind == "f" else np.float32),
            array.reshape(-1),
            array.reshape(1, *array.shape),
            np.zeros((0, *array.shape[1:]), array.dtype),
            np.concatenate([array.reshape(-1), array.reshape(-1)]),
            array > 0,
        ):
            if new.shape != array.shape or new.dtype != array.dtype:
                yield f"{name} {new.dtype} {new.shape}", {**rest, name: new}, texts
    yield "one more", {**tensors, "weights/more": np.zeros(2, np.float32)}, texts


def everything(model):
    """All that a load may change, as bytes."""
    optimizer = model.optimizer
    return [
        [(name, weight.numpy().tobytes()) for name, weight in saving.named_weights(model).items()],
        {key: value.tobytes() for key, value in optimizer.get_state().items()},
        len(optimizer.variables),
        repr(model.get_layer_state()),
        repr(sc.random.get_state()),
        repr([metric.result() for metric in model.metrics]),
        [layer.built for layer in [model, *model.layers_inside()]],
        repr(optimizer.get_config()),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("built", [True, False])
def test_a_checkpoint_with_any_field_changed(tmp_path, name, built):
    """It is refused and all is as before, or it is one that training can continue from."""
    sc.set_seed(3)
    path = tmp_path / "checkpoint"
    trained(name, 2).save_checkpoint(path, {"epoch": 1, "best": 0.5, "where": [1, {"a": np.arange(2)}]})
    tensors, texts = saving.read_tensors(path)
    model = trained(name, 1) if built else compiled(name)
    refused = 0
    for number, (what, arrays, metadata) in enumerate([*variants(tensors, texts), *tensor_variants(tensors, texts)]):
        # 17 values of each field: some of them for every field.
        if number % (5 if built else 11):
            continue
        saving.write_tensors(path, arrays, metadata)
        before = everything(model)
        try:
            model.load_checkpoint(path)
        except ValueError as error:
            message = str(error)
            assert message.startswith(str(path)) and "\n" not in message and len(message) < 600, what
            assert everything(model) == before, what
            refused += 1
        else:
            assert model.train_on_batch(X, Y) is not None, what
            model = trained(name, 1) if built else compiled(name)
    assert refused > (100 if built else 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_states_with_any_field_changed(name):
    """``set_layer_state``, ``random.set_state`` and ``optimizer.set_state``: all or nothing."""
    model = trained(name, 1)
    setters = [
        (model.set_layer_state, json.loads(json.dumps(model.get_layer_state(), default=np.ndarray.tolist))),
        (sc.random.set_state, sc.random.get_state()),
        (model.optimizer.set_state, model.optimizer.get_state()),
    ]
    for setter, good in setters:
        setter(good)
        refused = 0
        for path in fields(good):
            for new in [*VALUES, ...] if path else VALUES:
                before = everything(model)
                try:
                    setter(changed(good, path, new))
                except ValueError as error:
                    assert "\n" not in str(error) and ": expected" in str(error)
                    assert everything(model) == before, (path, new)
                    refused += 1
                else:
                    model.train_on_batch(X, Y)
                    setter(good)
        assert refused > 20


@pytest.mark.parametrize(
    "weights",
    [None, 3, "kernel", {}, [], [1.0], [[1.0]], [np.ones((2, 2))] * 3, [np.ones((3, 2)), np.ones(2) * 1j]],
)
def test_set_weights_is_all_or_nothing(weights):
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises((ValueError, TypeError), match="weights: expected"):
        layer.set_weights(weights)
    for array, same in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)


# ---------------------------------------------------------------- models


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_model_with_any_field_changed(tmp_path, name):
    sc.set_seed(3)
    path = tmp_path / "model"
    trained(name, 1).save(path, vocabulary={"words": ["a", "b"], "unknown": None})
    tensors, texts = saving.read_tensors(path)
    refused = accepted = 0
    for what, arrays, metadata in [*variants(tensors, texts), *tensor_variants(tensors, texts)]:
        saving.write_tensors(path, arrays, metadata)
        before = repr(sc.random.get_state())
        try:
            sc.load_model(path)
        except ValueError as error:
            message = str(error)
            assert message.startswith(str(path)) and "\n" not in message and len(message) < 600, what
            assert repr(sc.random.get_state()) == before, what
            refused += 1
        else:
            accepted += 1
    assert refused > 500 and accepted > 10


BOMBS = """
import json, resource, sys, time
import numpy as np
import seqcore as sc
from seqcore import saving
sys.path.insert(0, sys.argv[2])
from tests.saving.test_damaged_models import BuiltByCall, V, X, changed, fields, trained

name, path = sys.argv[1], sys.argv[3]
trained(name, 1).save(path)
tensors, texts = saving.read_tensors(path)
sc.load_model(path)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
files = 0
for key in ("architecture", "build", "compiled"):
    value = json.loads(texts[key])
    for field in fields(value):
        here = value
        for part in field:
            here = here[part]
        if isinstance(here, bool) or not isinstance(here, (int, type(None))):
            continue
        for number in (10**6, 10**9, 2**31 - 1, 2**62):
            saving.write_tensors(path, tensors, {**texts, key: json.dumps(changed(value, field, number))})
            began = time.process_time()
            try:
                sc.load_model(path)
            except ValueError:
                pass
            used = time.process_time() - began
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
            if used > 2 or grown > 100_000:
                sys.exit(f"{key} {field} {number}: {used:.1f} s, {grown} KiB")
            files += 1
print(files)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_no_number_of_a_file_makes_anything_large(tmp_path, name):
    """Every number in the description of a small model in turn: bounded memory and time."""
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    child = subprocess.run(
        [sys.executable, "-c", BOMBS, name, folder, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) > 40


def test_many_layers_need_a_long_file(tmp_path):
    """A class whose argument is a number of layers."""

    @models.register("tests/Deep")
    class Deep(models.Model):
        def __init__(self, depth=2):
            super().__init__()
            self.blocks = [layers.Dropout(0.1) for _ in range(depth)]

        def call(self, inputs):
            return inputs

    path = tmp_path / "model"
    model = Deep(3)
    model(np.ones((1, 2)))
    model.save(path)
    tensors, texts = saving.read_tensors(path)
    assert len(sc.load_model(path).blocks) == 3
    texts["architecture"] = texts["architecture"].replace('"depth": 3', '"depth": 1000000000')
    texts["architecture"] = texts["architecture"].replace('"config": {}', '"config": {"depth": 1000000000}')
    saving.write_tensors(path, tensors, texts)
    with pytest.raises(ValueError, match="layers: expected as many as a file of this size can describe"):
        sc.load_model(path)


def described():
    """Functions that make objects of descriptions, each with descriptions."""
    schedule = schedules.ExponentialDecay(0.1, 10, 0.9)
    of_layers = [
        layers.Dense(3, "relu"),
        layers.LSTM(2, dropout=0.1),
        layers.GRU(2, reset_after=False),
        layers.ContextRNN(2, 2),
        layers.Bidirectional(layers.SimpleRNN(2)),
        layers.TimeDistributed(layers.Dense(2)),
        layers.Embedding(4, 2),
        layers.Dropout(0.2),
        layers.ReLU(),
        layers.Softmax(),
        layers.LSTMCell(2),
        layers.AdditiveAttention(),
        models.Sequential([layers.LSTM(2), layers.Dense(2)]),
    ]
    sampled = [losses.NCELoss(4), losses.SampledSoftmaxLoss(4)]
    named = [losses.get(name) for name in ("mse", "sparse_categorical_crossentropy", "binary_crossentropy")]
    return {
        "layers": (registry.deserialize, [registry.serialize(layer) for layer in of_layers]),
        "losses": (losses.deserialize, [losses.serialize(loss) for loss in [*sampled, *named]]),
        "metrics": (
            metrics.deserialize,
            [metrics.serialize(metrics.get(name, loss=named[1])) for name in ("accuracy", "mae", "perplexity")],
        ),
        "optimizers": (
            optimizers.deserialize,
            [optimizers.serialize(make(schedule)) for make in (optimizers.Adam, optimizers.SGD, optimizers.RMSprop)],
        ),
        "schedules": (schedules.deserialize, [schedules.serialize(schedule)]),
        "initializers": (
            initializers.get,
            [initializers.serialize(initializers.get(name)) for name in ("glorot_uniform", "orthogonal", "zeros")],
        ),
    }


@pytest.mark.parametrize("name", ["layers", "losses", "metrics", "optimizers", "schedules", "initializers"])
def test_descriptions_with_any_field_changed(name):
    """``deserialize`` and ``from_config``: an object, or a ValueError or TypeError in one line."""
    make, descriptions = described()[name]
    refused = 0
    for good in json.loads(json.dumps(descriptions)):
        make(good)
        for field in fields(good):
            for new in [*VALUES, ...] if field else [value for value in VALUES if not isinstance(value, str)]:
                try:
                    make(changed(good, field, new))
                except (ValueError, TypeError) as error:
                    assert "\n" not in str(error) and len(str(error)) < 600, (field, new)
                    refused += 1
    assert refused > 20


def test_layers_inside_each_other_without_end(tmp_path):
    path = tmp_path / "model"
    models.Sequential([layers.Input((3,)), layers.Dense(2)]).save(path)
    tensors, texts = saving.read_tensors(path)
    for depth in (100, 1000, 100_000):
        inner = texts["architecture"]
        front, back = '{"class_name": "Sequential", "config": {"layers": [', "]}}"
        saving.write_tensors(path, tensors, {**texts, "architecture": front * depth + inner + back * depth})
        with pytest.raises(ValueError, match=str(path)) as caught:
            sc.load_model(path)
        assert "\n" not in str(caught.value)
    description = json.loads(texts["architecture"])
    for _ in range(3000):
        description = {"class_name": "Sequential", "config": {"layers": [description]}}
    with pytest.raises(ValueError, match="to a moderate depth"):
        registry.deserialize(description)


# ---------------------------------------------------------------- the command line


def text_models():
    """Models as the experiments save them, with what belongs to them."""
    vocabulary = Vocabulary(["<eos>", "a", "b", "c", "<unk>"])
    words = language_model.build_model(5, units=4, layers=1)
    words.build((2, None))
    vectorize = sc.TextVectorization(max_tokens=10)
    vectorize.adapt(["a b", "b c"])
    classifier = models.Sequential(
        [layers.Embedding(10, 4), layers.GlobalAveragePooling1D(), layers.Dense(2, "softmax")]
    )
    classifier.build((None, None))
    return {
        "words": (words, {"vocabulary": vocabulary.to_dict(), "experiment": "ptb", "tokens": None}),
        "characters": (words, {"vocabulary": vocabulary.to_dict(), "tokens": {"characters": 1}}),
        "labels": (classifier, {"text_vectorization": vectorize.to_dict(), "labels": ["x", "y"], "experiment": "imdb"}),
        "arrays": (models.Sequential([layers.Input((3,)), layers.Dense(2)]), {"experiment": "mnist"}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "characters", "labels", "arrays"])
def test_the_command_line_with_any_part_of_a_model_changed(tmp_path, capsys, name):
    """A vocabulary, labels, preprocessing, or the name of another experiment: an answer, or one line and status 2."""
    model, extra = text_models()[name]
    path, array, text = tmp_path / "model", tmp_path / "x.npy", tmp_path / "text"
    np.save(array, np.ones((2, 3), np.float32))
    text.write_text("a b c\n")
    commands = [
        ["generate", path, "--length", 3, "--seed", 1],
        ["generate", path, "--length", 3, "--beam", 2],
        ["predict", path, "a b"],
        ["predict", path, "--file", text, "--json"],
        ["predict", path, "--input", array],
    ]
    every = [changed(extra, field, new) for field in fields(extra) if field for new in [*VALUES, ...]]
    parts = [*every[::11], *({**extra, "experiment": other} for other in EXPERIMENTS)]
    answers = []
    for part in [extra, *parts]:
        model.extra = {}
        try:
            model.save(path, extra=part)
        except TypeError:
            continue  # a key that JSON cannot hold
        for command in commands:
            answers.append(cli.main([str(word) for word in command]))
            error = capsys.readouterr().err
            assert answers[-1] in (0, 2) and error.count("\n") == (answers[-1] == 2), (command, part)
    assert set(answers) == {0, 2}


@pytest.mark.filterwarnings("ignore:seqcore.language.Trainer:DeprecationWarning")
@pytest.mark.parametrize("sampled", [False, True])
def test_a_position_of_a_run_with_any_field_changed(sampled):
    """``Trainer.restore`` takes what ``position`` gave, or changes nothing."""
    sc.set_seed(5)
    text = np.arange(40) % 5
    loss = losses.NCELoss(2, reduction="batch_mean") if sampled else None
    model = language_model.build_model(5, units=3, layers=1, loss=loss)
    schedule = language.Schedule(0.5)

    def trainer():
        return language.Trainer(model, text, text, batch_size=2, steps=3, epochs=3, schedule=schedule)

    whole = trainer()
    whole.run()
    good = {**whole.position(), "epoch": 2, "history": whole.history[:2], "batch": 1}
    good = json.loads(json.dumps(good))
    other = trainer()
    refused = 0
    for field in fields(good):
        for new in [*VALUES, ...] if field else VALUES:
            before = repr((other.position(), other.epoch, other.batch))
            try:
                other.restore(changed(good, field, new))
            except ValueError as error:
                assert str(error).startswith("position: expected") and "\n" not in str(error)
                assert repr((other.position(), other.epoch, other.batch)) == before
                refused += 1
    assert refused > 100
    other.restore(good)
    assert len(other.run()) == 3


@pytest.mark.filterwarnings("ignore")
def test_a_backup_of_a_fit_with_any_field_changed(tmp_path):
    """``BackupAndRestore`` continues, or refuses the backup in one line that names it."""

    class Stop(callbacks.Callback):
        runs_last = True

        def on_train_batch_end(self, batch, logs=None):
            if (self.model.fit_state.epoch, batch) == (2, 1):
                raise KeyboardInterrupt

    def fit(*others):
        sc.set_seed(5)
        model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
        model.compile("sgd", "mse", metrics=["mae", "accuracy"])
        stopping = callbacks.EarlyStopping("loss", patience=3)
        plateau = callbacks.ReduceLROnPlateau("loss", patience=1)
        backup = callbacks.BackupAndRestore(tmp_path, save_freq=1, delete_checkpoint=False)
        model.fit(X, X[:, :2], 1, 4, 0, [stopping, plateau, backup, *others])
        return model.history.epoch

    with pytest.raises(KeyboardInterrupt):
        fit(Stop())
    path = tmp_path / "checkpoint.safetensors"
    tensors, texts = saving.read_tensors(path)
    good = json.loads(texts["position"])["fit"]
    answers = collections.Counter()
    for field in fields(good):
        for new in [*VALUES, ...] if field else VALUES:
            position = json.dumps({"fit": changed(good, field, new)})
            saving.write_tensors(path, tensors, {**texts, "position": position})
            try:
                fit()
                answers["continued"] += 1
            except ValueError as error:
                assert "checkpoint.safetensors: expected a" in str(error) and "\n" not in str(error)
                answers["refused"] += 1
    assert min(answers["refused"], answers["continued"]) > 50
    saving.write_tensors(path, tensors, texts)
    assert fit() == [0, 1, 2, 3]
