"""Pickle, copy and joblib of every public class: same bits, nothing shared, no name in a pickle but seqcore's."""

import copy
import importlib
import inspect
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import seqcore as sc
from seqcore import datasets, language_model, layers, losses, metrics, models, optimizers
from seqcore.saving import pickles
from tests.helpers import small_models
from tests.helpers.layer_cases import BATTERY, RNG, data, output
from tests.helpers.small_models import ids, logits_loss

joblib = pytest.importorskip("joblib")


class OnlySeqcore(pickle.Unpickler):
    """An unpickler that refuses every name outside seqcore."""

    def find_class(self, module, name):
        assert module.partition(".")[0] == "seqcore", f"{module}.{name}"
        return super().find_class(module, name)


def unpickled(raw, buffers=None):
    return OnlySeqcore(io.BytesIO(raw), buffers=buffers).load()


def out_of_band(value):
    buffers = []
    raw = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return unpickled(raw, [bytes(buffer) for buffer in buffers])


def through_joblib(value):
    file = io.BytesIO()
    joblib.dump(value, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    **{f"protocol {n}": lambda value, n=n: unpickled(pickle.dumps(value, n)) for n in (3, 4, 5)},
    "out of band": out_of_band,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "joblib": through_joblib,
}


def same_weights(first, second):
    for a, b in zip(first.weights, second.weights, strict=True):
        assert (a.name, a.trainable, a.dtype) == (b.name, b.trainable, b.dtype)
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert not np.shares_memory(a._array, b._array)


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("name", BATTERY)
def test_layers(name, built):
    make, shape, _, _ = BATTERY[name]
    layer, x = make(), data(shape, name)
    if built:
        layer(x) if not name.endswith("Cell") else layer(x, layer.get_initial_state(len(x)))
    for way in (WAYS["protocol 5"], copy.deepcopy):
        twin = way(layer)
        assert type(twin) is type(layer) and twin.built is layer.built and twin.get_config() == layer.get_config()
        same_weights(layer, twin)
        if built:
            states = [layer.get_initial_state(len(x))] if name.endswith("Cell") else []
            layer.reset_dropout_masks()  # those that a cell called by hand is in the midst of
            calls = [output(each(x, *states, training=True)).numpy() for each in (layer, twin)]
            np.testing.assert_array_equal(*calls)


def test_a_frozen_layer_and_a_frozen_variable_stay_so():
    layer = layers.Bidirectional(layers.LSTM(3))
    layer.build((None, None, 2))
    layer.backward_layer.trainable = False
    layer.forward_layer.cell.bias.trainable = False
    twin = copy.deepcopy(layer)
    same_weights(layer, twin)
    twin.trainable = True
    assert len(twin.trainable_weights) == 6


def test_stateful_layers_carry_their_states(rng):
    model = models.Sequential([layers.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, stateful=True)])
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    model(x), model.predict(x, verbose=0)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model(x), twin(x))
    np.testing.assert_array_equal(model.predict(x, verbose=0), twin.predict(x, verbose=0))


# ---------------------------------------------------------------- models in training


@models.register("tests.pickles/Stepped")
class Stepped(models.Model):
    """A cell called step by step, with dropout and a metric of its own."""

    def __init__(self, units=3):
        super().__init__()
        self.cell, self.head = layers.GRUCell(units, dropout=0.2), layers.Dense(1)
        self.mean = metrics.Mean("seen")

    def call(self, inputs, training=False):
        states = self.cell.get_initial_state(len(inputs))
        for x in sc.unstack(inputs, axis=1):
            y, states = self.cell(x, states, training=training)
        self.mean.update_state(y.numpy())
        return self.head(y)


def _fused():
    model = small_models.language_model(stateful=True, dropout=0.3, mask_zero=True)
    model.compile(
        optimizers.Adam(optimizers.ExponentialDecay(0.1, 3, 0.9), clipnorm=1.0), logits_loss(), metrics=["accuracy"]
    )
    return model, ids(RNG, 8, 6), ids(RNG, 8, 6)


def _subclassed():
    model = Stepped()
    model.compile(optimizers.SGD(0.1, momentum=0.9), losses.MeanSquaredError(), weighted_metrics=["mae"])
    return model, RNG.normal(size=(8, 4, 2)), RNG.normal(size=(8, 1))


def _lazy():
    model = models.Sequential(
        [layers.Embedding(11, 3), layers.Bidirectional(layers.LSTM(3)), layers.Dense(2, "softmax")]
    )
    optimizer = optimizers.Adam(lazy=True, global_clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["acc"])
    return model, ids(RNG, 8, 6), RNG.integers(0, 2, 8)


TRAINED = {"fused": _fused, "subclassed": _subclassed, "lazy": _lazy}


def go_on(model, x, y, state):
    sc.random.set_state(state)
    logs = model.train_on_batch(x[:4], y[:4], return_dict=True)
    history = model.fit(x, y, 4, 2, verbose=0).history
    return logs, history, model.evaluate(x, y, 4, verbose=0), model.predict(x, 4, verbose=0), model.get_weights()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("epochs", [0, 2])
@pytest.mark.parametrize("name", TRAINED)
def test_training_goes_on_with_the_same_bits(name, epochs, way):
    model, x, y = TRAINED[name]()
    if epochs:
        model.fit(x, y, 4, epochs, verbose=0)
        model.extra = {"labels": ["a", "b"], "mean": np.arange(3.0)}
    numbers = sc.random.get_state()
    twin = WAYS[way](model)
    assert sc.random.get_state() == numbers  # no number is drawn for a copy
    assert twin.built is model.built and twin.optimizer.iterations == model.optimizer.iterations
    assert [metric.result() for metric in twin.metrics] == [metric.result() for metric in model.metrics]
    if epochs:
        assert twin.history.history == model.history.history
        assert twin.extra["labels"] == ["a", "b"] and twin.extra["mean"].tolist() == [0.0, 1.0, 2.0]
    before = twin.get_weights()
    expected = go_on(model, x, y, numbers)
    for a, b in zip(before, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # nothing is shared
    got = go_on(twin, x, y, numbers)
    for a, b in zip(expected[:3], got[:3], strict=True):
        assert a == b
    np.testing.assert_array_equal(expected[3], got[3])
    for a, b in zip(expected[4], got[4], strict=True):
        np.testing.assert_array_equal(a, b)


def test_buffers_of_protocol_5_are_the_weights_themselves():
    model = models.Sequential([layers.Input((300,)), layers.Dense(200)])
    buffers = []
    raw = pickle.dumps(model, 5, buffer_callback=buffers.append)
    assert len(raw) < 3000
    assert any(np.shares_memory(np.frombuffer(buffer, np.uint8), model.weights[0]._array) for buffer in buffers)
    twin = unpickled(raw, buffers)  # the very same memory, as between two objects of a process
    same_weights(model, twin)


def test_a_pickle_holds_a_safe_file(tmp_path):
    layer = layers.Dense(2, name="head")
    layer.build((None, 3))
    _, (header, *parts) = layer.__reduce_ex__(4)
    path = tmp_path / "layer.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"".join(parts))
    tensors, texts = sc.saving.read_tensors(path)
    np.testing.assert_array_equal(tensors["weights/kernel"], layer.kernel.numpy())
    assert texts["format"] == "seqcore-pickle"
    with pytest.raises(ValueError, match="expected a seqcore-model file, got a seqcore-pickle file; use pickle.load"):
        sc.load_model(path)


def test_joblib_maps_nothing_and_hashes(tmp_path):
    model, x, y = _lazy()
    model.fit(x, y, verbose=0)
    joblib.dump(model, tmp_path / "model.joblib")
    twin = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    same_weights(model, twin)
    twin.fit(x, y, verbose=0)  # the weights can be written to
    assert joblib.hash(model) == joblib.hash(copy.deepcopy(model)) != joblib.hash(twin)


def _predict(model, x):
    return model.predict(x, verbose=0)


def test_another_process_started_by_spawn(rng):
    model = models.Sequential([layers.Input((5, 3)), layers.LSTM(4)])
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(_predict, model, x).result(), model.predict(x, verbose=0))


def test_loading_imports_nothing_but_seqcore(tmp_path):
    model, x, y = _lazy()
    model.fit(x, y, verbose=0)
    path = tmp_path / "objects.pickle"
    path.write_bytes(pickle.dumps([model, model.optimizer, sc.text.Vocabulary(["a", "b"]), sc.Tensor([1.0])]))
    program = (
        "import pickle, sys, seqcore\n"
        "before = set(sys.modules)\n"
        f"objects = pickle.load(open({str(path)!r}, 'rb'))\n"
        "print(sorted(set(sys.modules) - before), objects[0].optimizer.iterations)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["[]", str(model.optimizer.iterations)]


# ---------------------------------------------------------------- optimizers, streams


@pytest.mark.parametrize(
    "make", [lambda: optimizers.Adam(0.1, amsgrad=True), lambda: optimizers.SGD(0.1, momentum=0.9)]
)
def test_an_optimizer_gives_its_slots_to_the_variables_in_their_order(make, rng):
    gradients = [[rng.normal(size=(2, 3)), rng.normal(size=4)] for _ in range(4)]

    def run(optimizer, variables, steps):
        for step in steps:
            optimizer.apply_gradients(zip(gradients[step], variables, strict=True))
        return [variable.numpy() for variable in variables]

    optimizer, variables = make(), [sc.Variable(np.ones((2, 3))), sc.Variable(np.zeros(4))]
    run(optimizer, variables, range(2))
    twin = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(optimizer))))  # also before it has variables
    assert twin.iterations == 2 and not twin.variables and twin.get_state().keys() == optimizer.get_state().keys()
    others = [sc.Variable(variable.numpy()) for variable in variables]
    for a, b in zip(run(optimizer, variables, [2, 3]), run(twin, others, [2, 3]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_slots_for_other_variables_are_refused():
    optimizer = optimizers.Adam()
    optimizer.apply_gradients([(np.ones(3), sc.Variable(np.ones(3)))])
    twin, other = copy.deepcopy(optimizer), sc.Variable(np.ones(4), name="other")
    with pytest.raises(ValueError, match=r"variables: expected float64 of shape \(3,\) in the place of 'other'"):
        twin.apply_gradients([(np.ones(4), other)])
    assert not twin.variables and other.numpy().tolist() == [1.0] * 4


def test_streams_go_on(rng):
    model = models.Sequential([layers.Input((None, 3)), layers.GRU(4, return_sequences=True), layers.LSTM(2)])
    model.compile("sgd", "mse")
    stream = model.stream(batch_size=2)
    x = rng.normal(size=(4, 2, 3)).astype(np.float32)
    stream.step(x[0])
    for way in ("protocol 5", "deepcopy", "joblib"):
        twin = WAYS[way](stream)
        alike = copy.deepcopy(stream)
        for row in x[1:]:
            np.testing.assert_array_equal(alike.step(row), twin.step(row))
    model.fit(rng.normal(size=(4, 2, 3)), np.zeros((4, 2)), verbose=0)
    with pytest.raises(TypeError, match="got weights changed since; make a new stream"):
        pickle.dumps(stream)


# ---------------------------------------------------------------- word vectors


@pytest.mark.parametrize("way", WAYS)
def test_word_vectors(way, rng):
    kv = sc.KeyedVectors(rng.normal(size=(3, 4)).astype(np.float32), ["a", "b", 7], counts=[5, 3, 1])
    kv.set_vecattr("a", "color", 3)
    kv.vectors_lockf = [1.0, 0.0, 0.5]
    kv.duplicates = 2
    twin = WAYS[way](kv)
    assert twin.index_to_key == ["a", "b", 7] and twin.duplicates == 2 and twin.get_vecattr("a", "color") == 3
    assert twin.counts.tolist() == [5, 3, 1] and twin.vectors_lockf.tolist() == [1.0, 0.0, 0.5]
    np.testing.assert_array_equal(twin.vectors, kv.vectors)
    twin.vectors[0] = 0  # its own memory, which can be written to
    assert kv.vectors[0].all()
    assert not len(WAYS[way](sc.KeyedVectors(vector_size=5))) and WAYS[way](sc.KeyedVectors(5)).vector_size == 5


@pytest.mark.parametrize("way", WAYS)
def test_word2vec_goes_on_with_the_same_bits(way):
    text = [["a", "b", "c", "d"], ["b", "a", "d"]] * 20
    model = sc.Word2Vec(text, vector_size=6, min_count=1, window=2, epochs=2, workers=1)
    twin = WAYS[way](model)
    assert twin.settings == model.settings and twin.history == model.history
    for each in (model, twin):
        each.train(text, total_examples=len(text), epochs=2)
    np.testing.assert_array_equal(twin.wv.vectors, model.wv.vectors)
    np.testing.assert_array_equal(twin.syn1neg, model.syn1neg)
    untrained = WAYS[way](sc.Word2Vec(vector_size=6, min_count=1))
    assert untrained.vector_size == 6 and not untrained.words


def test_attributes_that_hold_objects_are_refused():
    kv = sc.KeyedVectors([[1.0, 2.0]], ["a"])
    kv.set_vecattr("a", "tags", {"x"})
    with pytest.raises(TypeError, match="keyed_vectors: cannot be pickled or copied: .*tags") as refused:
        pickle.dumps(kv)
    assert "\n" not in str(refused.value)


def test_a_process_that_has_not_imported_word_vectors(tmp_path):
    path = tmp_path / "vectors.pickle"
    path.write_bytes(pickle.dumps(sc.KeyedVectors([[1.0, 2.0]], ["a"])))
    program = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')).index_to_key)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['a']"


# ---------------------------------------------------------------- refused in one line


class Unregistered(models.Model):
    def call(self, inputs):
        return inputs


class OwnLoss(losses.Loss):
    def call(self, y_true, y_pred):
        return (y_pred - y_true) ** 2


def _compiled(optimizer="sgd", loss="mse", **arguments):
    model = models.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile(optimizer, loss, **arguments)
    return model


def _hooked():
    model = _compiled()
    model.train_step = lambda data: {"loss": 0.0}
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Unregistered, "model: cannot be pickled or copied: layer 'unregistered.*decorate it with @register"),
        (lambda: _compiled(loss=lambda t, p: p - t), "the function '<lambda>' cannot be written.*use a Loss class"),
        (
            lambda: _compiled(loss=OwnLoss()),
            "loss: class OwnLoss is not registered; decorate it with @seqcore.models.reg",
        ),
        (lambda: _compiled(metrics=[lambda t, p: p - t]), "the function '<lambda>' cannot be.*use a Metric class"),
        (lambda: _compiled(optimizers.SGD(lambda: 0.1)), "learning_rate: a function cannot be.*use a schedule class"),
        (_hooked, "train_step: expected a method of the class"),
        (lambda: losses.LossFunctionWrapper(abs), "loss: cannot be pickled or copied: loss: the function 'abs'"),
        (losses.Loss, "loss: class Loss is not registered"),
    ],
)
def test_refused_in_one_line(make, message):
    value = make()
    for way in (pickle.dumps, copy.deepcopy, joblib.hash):
        with pytest.raises(TypeError, match=message) as refused:
            way(value)
        assert "\n" not in str(refused.value)


REGISTERED = """
import pickle
import seqcore as sc

@sc.models.register("mine/Squares")
class Squares(sc.losses.Loss):
    def call(self, y_true, y_pred):
        return (y_pred - y_true) ** 2

model = sc.Sequential([sc.layers.Input((2,)), sc.layers.Dense(1)])
model.compile("sgd", Squares())
raw = pickle.dumps(model)
print(b"mine/Squares" in raw, b"__main__" in raw, type(pickle.loads(raw).loss) is Squares)
"""


def test_a_registered_loss_goes_with_its_model():
    """In a process of its own: a registry is for the whole process."""
    ran = subprocess.run([sys.executable, "-c", REGISTERED], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False", "True"]


def test_an_object_of_another_class_is_pickled_by_python():
    assert type(pickle.loads(pickle.dumps(OwnLoss()))) is OwnLoss


def test_register_refuses_other_classes():
    with pytest.raises(TypeError, match="register: expected a subclass of Layer, Loss, Metric"):
        models.register(int)


def test_a_class_that_the_loading_program_lacks():
    raw = pickle.dumps(layers.Dense(2, name="head")).replace(b"Dense", b"Dance")
    with pytest.raises(ValueError, match="expected a registered layer, got 'Dance'; decorate the class") as refused:
        pickle.loads(raw)
    assert "\n" not in str(refused.value)


def test_damaged_bytes_raise_one_line(rng):
    model, x, y = _lazy()
    model.fit(x, y, verbose=0)
    _, (header, *parts) = model.__reduce_ex__(4)
    before = sc.random.get_state()

    def refused(*arguments):
        try:
            pickles.restore(*arguments)
        except ValueError as error:
            assert "\n" not in str(error) and str(error).startswith("pickle: ")
            return True
        return False

    assert refused(header) and refused(b"", *parts) and refused(header, *parts[1:], parts[0][:-1])
    assert refused(header.replace(b'\\"class_name\\"', b'\\"class-name\\"'), *parts)
    count = 0
    for place in rng.integers(0, len(header), 150).tolist():
        changed = bytearray(header)
        changed[place] = int(rng.integers(32, 127))
        count += refused(bytes(changed), *parts)
    assert count > 50
    assert sc.random.get_state() == before


# ---------------------------------------------------------------- every public class

ROOMS = ("autograd", "callbacks", "datasets", "initializers", "inspection", "language_model", "layers", "losses")
ROOMS += ("metrics", "models", "ops", "optimizers", "text", "word_vectors")


def public_classes():
    """Every class that a room offers by name."""
    for room in ROOMS:
        module = importlib.import_module(f"seqcore.{room}")
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if inspect.isclass(value) and value.__module__.startswith("seqcore.") and not name.startswith("_"):
                yield f"{room}.{name}", value


TEXTS = datasets.LabelledTexts(["a b"], np.zeros(1, np.int32))
PART = datasets.images.Part(np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64))
# Arguments of the classes that need some.
ARGUMENTS = {
    "autograd.IndexedSlices": lambda cls: cls(np.ones((2, 3)), [4, 1], (5, 3)),
    "autograd.Tensor": lambda cls: cls([1.0, 2.0]),
    "autograd.Variable": lambda cls: cls([1.0, 2.0], False, "v"),
    "callbacks.BackupAndRestore": lambda cls: cls("folder"),
    "callbacks.CSVLogger": lambda cls: cls("log.csv"),
    "callbacks.EpochDecay": lambda cls: cls(0.1, 2, 0.5),
    "callbacks.LearningRateScheduler": lambda cls: cls(optimizers.CosineDecay(0.1, 5)),
    "callbacks.ModelCheckpoint": lambda cls: cls("model.safetensors"),
    "datasets.Corpus": lambda cls: cls("c", "d", sc.text.Vocabulary(["a"]), *[np.zeros(3, np.int32)] * 3),
    "datasets.DatePairs": lambda cls: cls(["a"], ["b"], ["c"]),
    "datasets.Digits": lambda cls: cls("a", "b", PART, PART, PART),
    "datasets.Grammar": lambda cls: cls({"S": [(0.5, ("a", "S")), (0.5, ("b",))]}, "S"),
    "datasets.LabelledTexts": lambda cls: TEXTS,
    "datasets.SentimentData": lambda cls: cls("a", TEXTS, TEXTS),
    "datasets.Series": lambda cls: cls("a", "b", np.zeros(3)),
    "datasets.Source": lambda cls: next(iter(datasets.SOURCES.values())),
    "datasets.Stories": lambda cls: cls(
        "a", sc.text.Tokenizer(), sc.text.Vocabulary(["a"]), (np.zeros(2, np.int32),), np.zeros(2, np.int32)
    ),
    "datasets.TaggedCorpus": lambda cls: cls([], [], [], sc.text.Vocabulary(["a"]), ("b",), "c"),
    "initializers.Constant": lambda cls: cls(2.0),
    "language_model.PairBatches": lambda cls: cls(language_model.Seq2Seq("ab", "cd", units=2), ["a"], ["c"]),
    "language_model.Seq2Seq": lambda cls: cls("ab", "cd", units=2),
    "language_model.Translation": lambda cls: cls("a", 0.5, True),
    "language_model.ValidationPerplexity": lambda cls: cls(np.arange(20), 2, 3),
    "layers.Activation": lambda cls: cls("tanh"),
    "layers.Bidirectional": lambda cls: cls(layers.LSTM(2)),
    "layers.Conv1D": lambda cls: cls(3, 2),
    "layers.ContextRNN": lambda cls: cls(2, 3),
    "layers.ContextRNNCell": lambda cls: cls(2, 3),
    "layers.Dropout": lambda cls: cls(0.5),
    "layers.Embedding": lambda cls: cls(5, 2),
    "layers.InputLayer": lambda cls: cls((2,)),
    "layers.TimeDistributed": lambda cls: cls(layers.Dense(2)),
    "losses.OutputLosses": lambda cls: cls({"a": "mse"}),
    "losses.NCELoss": lambda cls: cls(3),
    "losses.SampledSoftmaxLoss": lambda cls: cls(3),
    "models.Stream": lambda cls: models.Sequential([layers.Input((None, 2)), layers.GRU(2)]).stream(),
    "optimizers.CosineDecay": lambda cls: cls(0.1, 5),
    "optimizers.ExponentialDecay": lambda cls: cls(0.1, 5, 0.9),
    "optimizers.InverseTimeDecay": lambda cls: cls(0.1, 5, 0.9),
    "optimizers.PiecewiseConstantDecay": lambda cls: cls([3], [0.1, 0.2]),
    "optimizers.PolynomialDecay": lambda cls: cls(0.1, 5),
    "text.BPTTBatches": lambda cls: cls(np.arange(20), 2, 3),
    "text.TextPrediction": lambda cls: cls("a", "b", 0.5, 1, 0),
    "text.TextVectorization": lambda cls: cls(vocabulary=["a", "b"]),
    "text.Vocabulary": lambda cls: cls(["a", "b"], unknown="a", counts=[2, 1]),
    "word_vectors.Corpus": lambda cls: cls(np.zeros(3, np.int32), np.array([0, 3]), 3),
    "word_vectors.KeyedVectors": lambda cls: cls([[1, 2], [3, 4]], ["a", "b"]),
    "word_vectors.LineSentence": lambda cls: cls("words.txt"),
    "word_vectors.PathLineSentences": lambda cls: cls(os.path.dirname(__file__)),
    "word_vectors.Text8Corpus": lambda cls: cls("words.txt"),
    "word_vectors.Progress": lambda cls: cls(1, 2, 0.5, 0.1, 10.0, 1.0),
    "word_vectors.WindowBatches": lambda cls: cls(np.arange(20), 4, 3, 1),
}
# Classes whose objects are no pickles, with the reason.
NEVER = {
    **dict.fromkeys(
        ("initializers.Initializer", "layers.Layer", "losses.Loss", "losses.SampledLoss", "metrics.Metric",
         "models.Model", "optimizers.LearningRateSchedule", "optimizers.Optimizer"),
        "a base of others",
    ),
    **dict.fromkeys(("autograd.GradientBuffers", "autograd.GradientTape"), "lives within one backward pass"),
    "callbacks.CallbackList": "lives within one fit",
    "datasets.TagPosteriors": "tables of a grammar, made again from it",
    "losses.LossFunctionWrapper": "a function of the user",
    "metrics.MeanMetricWrapper": "a function of the user",
}  # fmt: skip
# Plain Python objects with arrays, which Python itself pickles: NumPy's names are in their pickles too.
PLAIN = ("callbacks", "datasets", "inspection", "language_model.P", "language_model.T", "language_model.V", "text.BPTT")
PLAIN += tuple(f"word_vectors.{name}" for name in ("Corpus", "L", "P", "T", "WindowBatches"))


@pytest.mark.parametrize(("name", "cls"), sorted(public_classes()))
def test_every_public_class(name, cls):
    """Each class pickles and copies, or is listed with the reason."""
    if name in NEVER:
        return
    units = [2] if "units" in list(inspect.signature(cls).parameters)[:1] else []
    value = ARGUMENTS[name](cls) if name in ARGUMENTS else cls(*units)
    load = pickle.loads if name.startswith(PLAIN) else unpickled
    for twin in (load(pickle.dumps(value)), copy.deepcopy(value)):
        assert type(twin) is type(value) and twin is not value
        for method in ("get_config", "to_dict"):
            if hasattr(value, method):
                assert getattr(twin, method)() == getattr(value, method)()
        if isinstance(value, (sc.Tensor, sc.IndexedSlices)):
            np.testing.assert_array_equal(np.asarray(twin), np.asarray(value))


def test_the_tables_name_public_classes_only():
    assert NEVER.keys() | ARGUMENTS.keys() <= dict(public_classes()).keys()


def test_a_callback_leaves_its_model_behind():
    history = _compiled().fit(np.ones((4, 2)), np.ones(4), verbose=0)
    twin = pickle.loads(pickle.dumps(history))
    assert twin.history == history.history and twin.model is None and history.model is not None
