"""Files: models, weights, checkpoints, exact resume, broken files, full disks, weight maps."""

import errno
import gzip
import json
import os
import pickle
import socket
import stat
import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest

import seqcore as sc
from seqcore import callbacks, cli, layers, losses, models, optimizers, saving
from seqcore.saving import atomic_write, describe_foreign_file
from seqcore.text.vocabulary import Vocabulary

V = 9


@models.register("tests/Tagger")
class Tagger(models.Model):
    def __init__(self, units, rate=0.2):
        super().__init__()
        self.table = layers.Embedding(V, units)
        self.blocks = [layers.LSTM(units, return_sequences=True), layers.Dropout(rate)]
        self.head = layers.Dense(V)

    def call(self, inputs, training=False):
        x = self.table(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x)


def sequential(dropout=0.0, stateful=False):
    model = models.Sequential(
        [
            layers.Embedding(V, 4),
            layers.LSTM(5, return_sequences=True, stateful=stateful, dropout=dropout, recurrent_dropout=dropout),
            layers.Dropout(dropout),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.Dense(V),
        ]
    )
    model.compile(
        optimizers.Adam(0.01),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", "perplexity"],
    )
    return model


def tagger(**_):
    model = Tagger(4)
    model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def data(rng):
    return rng.integers(0, V, (8, 6), dtype=np.int32), rng.integers(0, V, (8, 6), dtype=np.int32)


def same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- models and weights


@pytest.mark.parametrize("make", [sequential, tagger])
def test_a_model_comes_back_whole(tmp_path, data, make):
    x, y = data
    model = make()
    model.fit(x, y, verbose=0)
    path = tmp_path / "model.safetensors"
    vocabulary = {"words": ["a", "b"], "counts": np.arange(3), "lower": True, "rate": 0.5, "none": None}
    model.save(path, vocabulary=vocabulary)
    found = models.load_model(path)
    assert type(found) is type(model) and found.built
    same_weights(model, found)
    np.testing.assert_array_equal(found.predict(x, verbose=0), model.predict(x, verbose=0))
    assert found.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert found.optimizer.get_config() == model.optimizer.get_config()
    assert found.extra["vocabulary"]["words"] == ["a", "b"] and found.extra["vocabulary"]["none"] is None
    np.testing.assert_array_equal(found.extra["vocabulary"]["counts"], np.arange(3))
    found.save(path)
    assert models.load_model(path, compile=False).extra["vocabulary"]["rate"] == 0.5
    with pytest.raises(FileExistsError, match="model.safetensors"):
        model.save(path, overwrite=False)


def test_every_kind_of_layer_survives(tmp_path, rng):
    model = models.Sequential(
        [
            layers.Input((6, 3), name="front"),
            layers.ContextRNN(4, 2, return_sequences=True),
            layers.GRU(4, reset_after=False, return_sequences=True, go_backwards=True),
            models.Sequential([layers.SimpleRNN(3, return_sequences=True), layers.Activation("relu")], name="inner"),
            layers.Flatten(),
            layers.Dense(2, "softmax", dtype="float64"),
        ],
        name="zoo",
    )
    model.layers[0].trainable = False
    path = tmp_path / "zoo"
    model.save(path)
    found = models.load_model(path)
    assert found.name == "zoo" and [one.name for one in found.layers] == [one.name for one in model.layers]
    assert found.optimizer is None and len(found.trainable_weights) == len(model.trainable_weights)
    x = rng.normal(size=(2, 6, 3))
    np.testing.assert_array_equal(found(x).numpy(), model(x).numpy())


def test_names_in_the_file_follow_the_structure(tmp_path, data):
    model = tagger()
    model(data[0])
    model.save_weights(tmp_path / "w")
    tensors, metadata = saving.read_tensors(tmp_path / "w")
    assert "weights/blocks.0/recurrent_kernel" in tensors and "weights/head/bias" in tensors
    assert metadata["format"] == "seqcore-weights" and metadata["version"] == "1"


def test_weights_between_instances(tmp_path, data):
    first, second = sequential(), sequential()
    first(data[0])
    with pytest.raises(ValueError, match="to be built"):
        second.save_weights(tmp_path / "w")
    first.save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="to be built"):
        second.load_weights(tmp_path / "w")
    second(data[0])
    second.load_weights(tmp_path / "w")
    same_weights(first, second)
    first.save(tmp_path / "m")
    second.load_weights(tmp_path / "m")
    other = models.Sequential([layers.Embedding(V, 4), layers.Dense(3)])
    other(data[0])
    before = other.get_weights()
    with pytest.raises(ValueError, match="w: expected"):
        other.load_weights(tmp_path / "w")
    for one, same in zip(other.get_weights(), before):
        np.testing.assert_array_equal(one, same)


def test_extras_that_cannot_be_kept(tmp_path, data):
    model = sequential()
    model(data[0])
    with pytest.raises(TypeError, match="extra/vocabulary: expected string keys"):
        model.save(tmp_path / "m", vocabulary={1: "a"})
    with pytest.raises(TypeError, match="extra/thing: expected numbers"):
        model.save(tmp_path / "m", extra={"thing": object()})
    assert os.listdir(tmp_path) == []


def test_save_honours_its_arguments_or_refuses_them(tmp_path, data):
    model, path = sequential(), tmp_path / "m"
    model.train_on_batch(*data)
    model.save(path, include_optimizer=False)
    assert models.load_model(path).optimizer is None and models.load_model(path).extra == {}
    model.save(path, True, None, include_optimizer=True, save_format="safetensors", labels=["a"], extra={"note": 1})
    found = models.load_model(path)
    assert found.optimizer is not None and found.extra == {"note": 1, "labels": ["a"]}
    content = path.read_bytes()
    for arguments, message in [
        ({"save_format": "h5"}, "save_format: expected None .*, got 'h5'"),
        ({"save_format": "tf"}, "save_format: expected None .*, got 'tf'"),
        ({"zipped": True}, "zipped: expected None .*, got True"),
        ({"signatures": None}, "unexpected keyword argument 'signatures'"),
        ({"note": "new"}, "unexpected keyword argument 'note'"),
        ({"extra": ["a"]}, "extra: expected a dict, got"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            model.save(path, **arguments)
        assert path.read_bytes() == content
    with pytest.raises(ValueError, match="max_shard_size: expected None"):
        model.save_weights(path, max_shard_size=1)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save_weights(path, overwrite=False)
    with pytest.raises(ValueError, match="skip_mismatch: expected False"):
        model.load_weights(path, skip_mismatch=True)
    assert path.read_bytes() == content


class Halved(layers.Dense):
    """Not registered under the name that its file has."""

    def call(self, inputs, training=None):
        return super().call(inputs) * 0.5


class Cubed(losses.Loss):
    def call(self, y_true, y_pred):
        return sc.ops.reduce_mean((y_pred - y_true) * (y_pred - y_true) * (y_pred - y_true), axis=-1)


class Slower(optimizers.SGD):
    pass


def test_load_model_takes_the_arguments_of_keras(tmp_path):
    model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile(Slower(0.25), Cubed())
    path = tmp_path / "m"
    model.save(path)
    tensors, texts = saving.read_tensors(path)
    texts["architecture"] = texts["architecture"].replace('"class_name": "Dense"', '"class_name": "Halved"')
    saving.write_tensors(path, tensors, texts)
    known = {"Halved": Halved, "Cubed": Cubed, "Slower": Slower}
    found = sc.load_model(path, custom_objects=known)
    assert type(found.layers[0]) is Halved and type(found.optimizer) is Slower and type(found.loss) is Cubed
    np.testing.assert_allclose(found(np.ones((1, 3))).numpy(), model(np.ones((1, 3))).numpy() / 2)
    assert sc.load_model(path, known, False, True).optimizer is None
    for missing in known:
        with pytest.raises(ValueError, match="m: expected"):
            sc.load_model(path, {name: cls for name, cls in known.items() if name != missing})
    with pytest.raises(ValueError, match="Halved"):
        sc.load_model(path)
    with pytest.raises(ValueError, match="safe_mode: expected True"):
        sc.load_model(path, safe_mode=False)
    with pytest.raises(TypeError, match="custom_objects: expected a dict"):
        sc.load_model(path, custom_objects=[Halved])


@pytest.mark.parametrize("make", [sequential, tagger])
def test_files_without_the_shapes_of_layers(tmp_path, data, make):
    """Those of version 0.1: a subclassed model is built by a call on zeros."""
    model = make()
    model.fit(*data, verbose=0)
    model.save(tmp_path / "m")
    tensors, texts = saving.read_tensors(tmp_path / "m")
    build = json.loads(texts["build"])
    assert build.pop("layers")
    saving.write_tensors(tmp_path / "m", tensors, {**texts, "build": json.dumps(build)})
    same_weights(sc.load_model(tmp_path / "m"), model)


def test_names_that_are_no_unicode(tmp_path, capsys):
    """Lone surrogates, which JSON can spell and no output can print."""
    small().save(tmp_path / "m")
    tensors, texts = saving.read_tensors(tmp_path / "m")
    name = texts["architecture"].replace('"name": "', '"name": "\\ud800')
    saving.write_tensors(tmp_path / "m", tensors, {**texts, "architecture": name})
    assert sc.load_model(tmp_path / "m").layers[0].name.startswith("\ud800")
    (first,) = [key for key in tensors if key.endswith("bias")]
    renamed = {**tensors, "weights/\ud800\n": tensors[first]}
    saving.write_tensors(tmp_path / "m", renamed, texts)
    with pytest.raises(ValueError, match=str(tmp_path / "m")) as caught:
        sc.load_model(tmp_path / "m")
    assert str(caught.value).isascii() and "\n" not in str(caught.value)
    assert cli.main(["predict", str(tmp_path / "m"), "a"]) == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("make", [sequential, tagger])
def test_loading_draws_no_random_numbers(tmp_path, data, make):
    model = make()
    model(data[0])
    model.save(tmp_path / "m")
    generator = sc.random.get_state()["generator"]
    sc.load_model(tmp_path / "m")
    assert sc.random.get_state()["generator"] == generator


def test_unregistered_classes_and_losses(tmp_path, data):
    class Unknown(models.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(2)

        def call(self, inputs):
            return self.head(inputs)

    model = Unknown()
    model(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="Unknown is not registered"):
        model.save(tmp_path / "m")
    model = sequential()
    model.compile("sgd", lambda y_true, y_pred: sc.ops.reduce_mean(y_pred, axis=-1))
    model(data[0])
    with pytest.warns(UserWarning, match="left out"):
        model.save(tmp_path / "m")
    assert models.load_model(tmp_path / "m").optimizer is None


@pytest.mark.parametrize(
    "name", ["Nothing", "this/Zen", "seqcore.experiments.nothing/Loop", "seqcore.experiments.ptb/Nothing", "os/path"]
)
def test_classes_in_files_that_lead_nowhere(tmp_path, name):
    """A name in a file imports nothing but an experiment, and a class must be registered there."""
    model, path = models.Sequential([layers.Input((3,)), layers.Dense(2)]), tmp_path / "model.safetensors"
    model.save(path)
    tensors, texts = saving.read_tensors(path)
    texts["architecture"] = texts["architecture"].replace('"class_name": "Dense"', f'"class_name": "{name}"')
    saving.write_tensors(path, tensors, texts)
    with pytest.raises(ValueError, match=f"model.safetensors: .*class_name: expected a registered layer, got '{name}'"):
        sc.load_model(path)
    assert "this" not in sys.modules


# ---------------------------------------------------------------- exact resume


class Zeroed(callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.reset_states()


def trained(data, first, last, model):
    x, y = data
    model.fit(x, y, batch_size=4, initial_epoch=first, epochs=last, verbose=0, callbacks=[Zeroed()])
    return model


@pytest.mark.parametrize("make, stateful", [(sequential, False), (sequential, True), (tagger, False)])
@pytest.mark.parametrize("fresh", [False, True])
def test_three_and_three_epochs_are_six(tmp_path, data, make, stateful, fresh):
    sc.set_seed(11)
    whole = trained(data, 0, 6, make(dropout=0.3, stateful=stateful))
    last = whole.get_layer_state()
    sc.set_seed(11)
    half = trained(data, 0, 3, make(dropout=0.3, stateful=stateful))
    half.save_checkpoint(tmp_path / "c", {"epoch": 3, "best": 1.5, "where": [1, 2]})
    sc.set_seed(77)
    rest = make(dropout=0.3, stateful=stateful)
    if not fresh:
        trained(data, 0, 1, rest)
    position = rest.load_checkpoint(tmp_path / "c")
    assert position == {"epoch": 3, "best": 1.5, "where": [1, 2]}
    trained(data, position["epoch"], 6, rest)
    same_weights(whole, rest)
    assert str(rest.get_layer_state()) == str(last)
    for key, value in whole.optimizer.get_state().items():
        np.testing.assert_array_equal(rest.optimizer.get_state()[key], value)


def test_resume_in_the_middle_of_a_stateful_epoch(tmp_path, rng):
    batches = [tuple(rng.integers(0, V, (2, 2, 3), dtype=np.int32)) for _ in range(6)]
    sc.set_seed(2)
    whole = sequential(0.2, True)
    losses_whole = [whole.train_on_batch(*batch) for batch in batches]
    sc.set_seed(2)
    half = sequential(0.2, True)
    losses_half = [half.train_on_batch(*batch) for batch in batches[:3]]
    saving.save_checkpoint(tmp_path / "c", half)
    rest = sequential(0.2, True)
    assert saving.load_checkpoint(tmp_path / "c", rest) == {}
    assert losses_half + [rest.train_on_batch(*batch) for batch in batches[3:]] == losses_whole


def test_slots_find_their_variables_in_another_order(tmp_path, data):
    x, y = data
    sc.set_seed(1)
    model = sequential()
    model(x)
    model.layers[0].trainable = False
    model.train_on_batch(x, y)
    model.layers[0].trainable = True
    model.train_on_batch(x, y)
    model.save_checkpoint(tmp_path / "c")
    other = sequential()
    other.load_checkpoint(tmp_path / "c")
    for one in (model, other):
        one.train_on_batch(x, y)
    same_weights(model, other)


def test_a_checkpoint_from_before_training(tmp_path, data):
    """The optimizer has seen no variable yet: its slots start from their initial values."""
    x, y = data
    sc.set_seed(4)
    model = sequential(dropout=0.2)
    model(x)
    model.save_checkpoint(tmp_path / "c")
    model.train_on_batch(x, y)
    other = sequential(dropout=0.2)
    other.train_on_batch(x, y)
    other.load_checkpoint(tmp_path / "c")
    other.train_on_batch(x, y)
    same_weights(model, other)
    for key, value in model.optimizer.get_state().items():
        np.testing.assert_array_equal(other.optimizer.get_state()[key], value)


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path, data):
    x, y = data
    model = sequential()
    model.train_on_batch(x, y)
    model.save_checkpoint(tmp_path / "c")
    other = sequential()
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match="c: expected a model compiled with Adam, got SGD"):
        other.load_checkpoint(tmp_path / "c")
    different = tagger()
    different.train_on_batch(x, y)
    weights, slots = different.get_weights(), different.optimizer.get_state()
    before = sc.random.get_state()
    with pytest.raises(ValueError, match="c: expected"):
        different.load_checkpoint(tmp_path / "c")
    for one, same in zip(different.get_weights(), weights):
        np.testing.assert_array_equal(one, same)
    for key, value in different.optimizer.get_state().items():
        np.testing.assert_array_equal(slots[key], value)
    assert sc.random.get_state() == before


# ---------------------------------------------------------------- broken files


def test_broken_files_are_named(tmp_path, data):
    model = sequential()
    model.train_on_batch(*data)
    weights = model.get_weights()
    good = tmp_path / "good"
    model.save(good)
    content = good.read_bytes()
    checkpoint = tmp_path / "checkpoint"
    model.save_checkpoint(checkpoint)
    foreign = tmp_path / "foreign.safetensors"
    saving.write_tensors(foreign, {"a": np.ones(3)}, {})
    newer = tmp_path / "newer"
    saving.write_tensors(newer, {}, {"format": "seqcore-model", "version": "99"})
    odd = tmp_path / "odd"
    saving.write_tensors(
        odd, {}, {"format": "seqcore-model", "version": "1", "architecture": '{"class_name": "Nothing"}'}
    )
    garbled = tmp_path / "garbled"
    saving.write_tensors(garbled, {}, {"format": "seqcore-model", "version": "1", "architecture": "{"})
    cases = {
        "empty": b"",
        "short": content[:100],
        "cut": content[:-1],
        "long": content + b"\0",
        "text": b"not a model at all, just text",
        "huge": (2**62).to_bytes(8, "little") + content[8:],
    }
    paths = [foreign, newer, odd, garbled]
    for name, raw in cases.items():
        (tmp_path / name).write_bytes(raw)
        paths.append(tmp_path / name)
    for path in paths:
        for read in (models.load_model, model.load_weights, model.load_checkpoint):
            with pytest.raises(ValueError) as caught:
                read(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="got a seqcore-model file"):
        model.load_checkpoint(good)
    with pytest.raises(ValueError, match="got a seqcore-checkpoint file"):
        models.load_model(checkpoint)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        models.load_model(tmp_path / "nowhere")
    for one, same in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(one, same)


def test_shapes_and_types_are_checked_before_anything_is_written(tmp_path, data):
    model = sequential()
    model(data[0])
    model.save_weights(tmp_path / "w")
    tensors, metadata = saving.read_tensors(tmp_path / "w")
    before = model.get_weights()
    last = list(tensors)[-1]
    for name, change in [
        ("type", {last: tensors[last].astype(np.float64)}),
        ("shape", {last: np.zeros((2, 2), np.float32)}),
        ("more", {"weights/more": np.zeros(2, np.float32)}),
    ]:
        saving.write_tensors(tmp_path / name, {**{key: 0 * one for key, one in tensors.items()}, **change}, metadata)
        with pytest.raises(ValueError, match=f"{name}: expected"):
            model.load_weights(tmp_path / name)
        for one, same in zip(model.get_weights(), before):
            np.testing.assert_array_equal(one, same)


def test_other_programs_can_read_our_files(tmp_path, data):
    from safetensors.numpy import load_file

    model = sequential()
    model(data[0])
    model.save_weights(tmp_path / "w")
    found = load_file(tmp_path / "w")
    assert {key[len("weights/") :] for key in found} == set(saving.named_weights(model))
    for name, variable in saving.named_weights(model).items():
        np.testing.assert_array_equal(found[f"weights/{name}"], variable.numpy())


def test_all_types_and_empty_arrays_round_trip(tmp_path):
    arrays = {
        kind: np.arange(6).reshape(2, 3).astype(kind)
        for kind in ("float64", "float32", "int64", "int32", "int16", "int8", "uint8", "uint64", "bool")
    }
    arrays |= {
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.float64(3.5),
        "view": np.arange(12.0).reshape(3, 4).T,
    }
    saving.write_tensors(tmp_path / "t", arrays, {"note": "näher"})
    found, metadata = saving.read_tensors(tmp_path / "t")
    assert metadata == {"note": "näher"} and found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype
    with pytest.raises(TypeError, match="'bad'"):
        saving.write_tensors(tmp_path / "u", {"bad": np.array(["text"])}, {})


# ---------------------------------------------------------------- full disks and kills


@pytest.mark.parametrize("where", ["write", "fsync", "replace", "open"])
def test_a_full_disk_leaves_the_old_file(tmp_path, data, monkeypatch, where):
    import builtins

    model = sequential()
    model.train_on_batch(*data)
    path = tmp_path / "model"
    model.save(path)
    old = path.read_bytes()

    def full(*arguments, **others):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full:
        def __init__(self, *arguments, **others):
            self._file = opened(*arguments, **others)
            self.count = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, piece):
            self.count += 1
            if self.count > 3:
                full()
            return self._file.write(piece)

        def __getattr__(self, name):
            return getattr(self._file, name)

    opened = builtins.open
    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", full)
        elif where == "replace":
            patch.setattr(os, "replace", full)
        elif where == "open":
            patch.setattr(builtins, "open", full)
        else:
            patch.setattr(builtins, "open", Full)
        for save in (model.save, model.save_weights, model.save_checkpoint):
            with pytest.raises(OSError) as caught:
                save(path)
            message = str(caught.value)
            assert str(path) in message and "No space left" in message and "\n" not in message
            assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["model"]


def test_a_real_limit_of_the_system(tmp_path):
    """A child that may not write files above 100 kB: the kernel itself refuses the write."""
    resource = pytest.importorskip("resource")
    assert resource
    script = """
import resource, signal, sys
import numpy as np
from seqcore import saving
saving.write_tensors(sys.argv[1], {"a": np.zeros(1000)}, {})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    saving.write_tensors(sys.argv[1], {"a": np.ones(100_000)}, {})
except OSError as error:
    print(error)
"""
    path = tmp_path / "file"
    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert str(path) in found.stdout and "too large" in found.stdout
    assert os.listdir(tmp_path) == ["file"] and not saving.read_tensors(path)[0]["a"].any()


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    """A child saves over and over and is killed; what is there must load."""
    script = """
import sys
import numpy as np
from seqcore import saving
number = 0
while True:
    saving.write_tensors(sys.argv[1], {"a": np.full(200_000, number)}, {"n": str(number)})
    number += 1
    if number == 3:
        print("running", flush=True)
"""
    path = tmp_path / "file"
    for wait in (0.0, 0.013, 0.031):
        child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline()
        try:
            child.wait(wait)
        except subprocess.TimeoutExpired:
            pass
        child.kill()
        child.wait()
        child.stdout.close()
        arrays, metadata = saving.read_tensors(path)
        assert (arrays["a"] == int(metadata["n"])).all()


def test_missing_folders_and_links(tmp_path, data):
    model = sequential()
    model(data[0])
    with pytest.raises(OSError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "model")
    real = tmp_path / "real"
    model.save(real)
    (tmp_path / "link").symlink_to(real)
    model.save(tmp_path / "link", extra={"note": "new"})
    assert (tmp_path / "link").is_symlink() and models.load_model(real).extra == {"note": "new"}


# Ways to write a file of the package; each goes through ``atomic_write``.
WRITERS = {
    "model": lambda path: small().save(path),
    "weights": lambda path: small().save_weights(path),
    "checkpoint": lambda path: small().save_checkpoint(path),
    "tensors": lambda path: saving.write_tensors(path, {"a": np.ones(3)}, {}),
    "vocabulary": lambda path: Vocabulary(["a", "b"]).save(path),
    "vectors": lambda path: sc.KeyedVectors(np.ones((1, 2), np.float32), ["a"]).save(path),
    "word2vec text": lambda path: sc.KeyedVectors(np.ones((1, 2), np.float32), ["a"]).save_word2vec_format(path),
    "log": lambda path: logged(path),
    "bytes": lambda path: atomic_write(path, [b"bytes"]),
}


def small():
    model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile("adam", "mse")
    return model


def logged(path):
    small().fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0, callbacks=[callbacks.CSVLogger(path)])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_saving_keeps_the_mode(tmp_path, name, mode):
    path = tmp_path / "file"
    old = os.umask(0o027)
    try:
        WRITERS[name](path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, "a new file: what the umask leaves"
        path.chmod(mode)
        WRITERS[name](path)
        assert stat.S_IMODE(path.stat().st_mode) == mode and os.listdir(tmp_path) == ["file"]
    finally:
        os.umask(old)


@pytest.mark.parametrize("name", WRITERS)
def test_saving_leaves_what_is_no_file(tmp_path, name):
    """Devices and FIFOs are written through; folders, sockets and FIFOs without a reader are refused."""
    write = WRITERS[name]
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OSError, match="No space left on device"):
        write("/dev/full")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if name != "log":  # which reads the file first
        with pytest.raises(OSError, match="pipe.*|without a reader") as caught:
            write(pipe)
        assert str(pipe) in str(caught.value)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        write(pipe)
        assert os.read(reader, 1 << 16)
        os.close(reader)
        write(tmp_path / "regular")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(OSError, match=str(tmp_path)):
        write(tmp_path)
    server = socket.socket(socket.AF_UNIX)
    place = os.path.relpath(tmp_path / "socket")
    server.bind(place if len(place) < 100 else str(tmp_path / "socket"))
    with pytest.raises(OSError, match="socket"):
        write(tmp_path / "socket")
    server.close()
    assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)


def test_saving_where_links_lead(tmp_path):
    real = tmp_path / "real"
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink() and real.read_bytes() == b"new"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        atomic_write(tmp_path / "round", [b"new"])
    for place in ("", tmp_path, f"{tmp_path}/new/"):
        with pytest.raises(OSError):
            atomic_write(place, [b"new"])
    long = tmp_path / ("ä" * 127)
    atomic_write(long, [b"long"])
    assert long.read_bytes() == b"long" and len(os.listdir(tmp_path)) == 4


def test_a_private_file_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "file"
    path.touch(0o600)

    def pieces():
        for name in os.listdir(tmp_path):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        yield b"secret"

    atomic_write(path, pieces())
    assert path.read_bytes() == b"secret"


def test_a_read_only_file_is_refused(tmp_path):
    """As ``open`` would; root, whom nothing is refused, writes and keeps the mode."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    if os.geteuid():
        with pytest.raises(PermissionError, match="read-only"):
            atomic_write(path, [b"new"])
        assert path.read_bytes() == b"old"
    else:
        atomic_write(path, [b"new"])
        assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


# ---------------------------------------------------------------- files of other programs


def zipped(*names):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return buffer.getvalue()


class Pickled:
    """Object that runs code when its pickle is opened."""

    def __reduce__(self):
        return os.mkdir, ("pickle-ran",)


def onnx_bytes():
    graph = b"\x0a\x04node"
    fields = b"\x08\x09" + b"\x12\x07pytorch" + b"\x3a" + bytes([len(graph)]) + graph
    return fields + b"\x42\x02\x10\x11"


FOREIGN = {
    "model.keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras model"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "pytorch_model.bin": (zipped("archive/data.pkl", "archive/data/0", "archive/version"), "a PyTorch file"),
    "old.pt": (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2), "a PyTorch file"),
    "arrays.npz": (zipped("a.npy", "b.npy"), "a NumPy archive"),
    "array.npy": (b"\x93NUMPY\x01\x00" + bytes(100), "a NumPy array"),
    "words.model": (
        b"\x80\x04\x95"
        + (200).to_bytes(8, "little")
        + b"\x8c\x16gensim.models.word2vec\x94\x8c\x08Word2Vec\x94"
        + bytes(50),
        "a gensim model",
    ),
    "words.kv": (b"\x80\x02cgensim.models.keyedvectors\nKeyedVectors\nq\x00" + bytes(50), "gensim's word vectors"),
    "phrases": (b"\x80\x04\x95" + bytes(8) + b"\x8c\x15gensim.models.phrases\x94" + bytes(50), "a gensim file"),
    **{f"protocol{n}.pkl": (pickle.dumps(Pickled(), n), "a pickle file") for n in range(2, 6)},
    "protocol0.pkl": (pickle.dumps({"a": Pickled()}, 0), "a pickle file"),
    "protocol0.class": (pickle.dumps(np.float64, 0), "a pickle file"),
    "model.onnx": (onnx_bytes(), "an ONNX model"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(50), "a TensorFlow Lite model"),
    "model.index": (bytes(60) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "a TensorFlow checkpoint"),
    "words.bin": (b"\xba\x16\x4f\x2f\x0c\x00\x00\x00" + bytes(50), "a fastText model"),
    "model.zip": (zipped("readme.txt"), "a zip archive"),
    "cut.zip": (zipped("config.json")[:40], "a damaged zip archive"),
    "model.gz": (gzip.compress(b"text"), "a gzip file"),
    "model.tar": (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
    "page.html": (b"\n<!DOCTYPE html>\n<html>", "a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "a Git LFS pointer"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs_are_described(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, expected = FOREIGN[name]
    for place in (name, "no-suffix"):
        (tmp_path / place).write_bytes(content)
        described = describe_foreign_file(tmp_path / place)
        assert described is not None and described.startswith(expected) and "\n" not in described
        assert "; " in described, "what to do"
    assert not (tmp_path / "pickle-ran").exists()


def test_own_files_and_texts_are_not_foreign(tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / name)
        assert describe_foreign_file(tmp_path / name) is None, name
    texts = {
        "empty": b"",
        "vectors": b"2 3\ncat 0.1 0.2 0.3\ndog 1 2 3\n",
        "words": b"cat\ndog\ncow\n",
        "json": b'{"a": 1}',
        "binary": b"1 2\na " + bytes(8),
        # 0x280 bytes of header: its first two bytes are those of a pickle.
        "tensors": (0x280).to_bytes(8, "little") + b'{"a":' + b" " * 0x300,
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
        assert describe_foreign_file(tmp_path / name) is None, name
    os.mkfifo(tmp_path / "pipe")
    assert describe_foreign_file(tmp_path / "pipe") is None


def test_files_that_the_programs_themselves_wrote(tmp_path):
    """The same for PyTorch, whose formats of archives and of plain pickles both exist."""
    torch = pytest.importorskip("torch")
    net = torch.nn.LSTM(3, 4)
    torch.save(net.state_dict(), tmp_path / "new.pt")
    torch.save(net.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "a.npz", np.ones(3))
    np.save(tmp_path / "a.npy", np.ones(3))
    for name, expected in [
        ("new.pt", "a PyTorch"),
        ("old.pt", "a PyTorch"),
        ("a.npz", "a NumPy"),
        ("a.npy", "a NumPy"),
    ]:
        described = describe_foreign_file(tmp_path / name)
        assert described is not None and described.startswith(expected)


# ---------------------------------------------------------------- safetensors of unknown origin


def raw_tensors(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_TENSORS = {
    "no object": raw_tensors([1, 2]),
    "a number": raw_tensors(3),
    "null": raw_tensors(b"null"),
    "not JSON": raw_tensors(b"{"),
    "not UTF-8": raw_tensors(b'{"\xff": 1}'),
    "deep": raw_tensors(b'{"a":' + b"[" * 100_000),
    "deep and closed": raw_tensors(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"),
    "a key twice": raw_tensors(b'{"a": 1, "a": 2}'),
    "metadata with numbers": raw_tensors({"__metadata__": {"a": 1}}),
    "metadata is a list": raw_tensors({"__metadata__": []}),
    "entry is a text": raw_tensors({"a": "F32"}),
    "entry without shape": raw_tensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "float8": raw_tensors({"a": entry("F8_E4M3", (8,))}, bytes(8)),
    "complex": raw_tensors({"a": entry("C64", (1,))}, bytes(8)),
    "dtype is a list": raw_tensors({"a": entry(["F32"])}, bytes(8)),
    "shape is a number": raw_tensors({"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}, bytes(8)),
    "negative": raw_tensors({"a": entry(shape=(-2, -1))}, bytes(8)),
    "boolean": raw_tensors({"a": entry(shape=(2, True))}, bytes(8)),
    "fraction": raw_tensors({"a": entry(shape=(2.0,))}, bytes(8)),
    "NaN": raw_tensors(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', bytes(8)),
    "infinite": raw_tensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e999]}}', bytes(8)),
    "many digits": raw_tensors(b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 8]}}'),
    "huge shape": raw_tensors({"a": entry(shape=(2**62, 2**62))}, bytes(8)),
    "huge empty shape": raw_tensors({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
    "many axes": raw_tensors({"a": entry(shape=(1,) * 65 + (2,))}, bytes(8)),
    "three offsets": raw_tensors({"a": entry(offsets=(0, 8, 8))}, bytes(8)),
    "backwards": raw_tensors({"a": entry(offsets=(8, 0))}, bytes(8)),
    "too short for its shape": raw_tensors({"a": entry(shape=(3,))}, bytes(8)),
    "overlap": raw_tensors({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "the same bytes twice": raw_tensors({"a": entry(), "b": entry()}, bytes(8)),
    "a hole": raw_tensors({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "a hole in front": raw_tensors({"a": entry(offsets=(8, 16))}, bytes(16)),
    "rest": raw_tensors({"a": entry()}, bytes(9)),
    "past the end": raw_tensors({"a": entry()}, bytes(7)),
    "header past the end": (10**9).to_bytes(8, "little") + b"{}",
    "longest header": (2**64 - 1).to_bytes(8, "little") + b"{}",
    "no header": bytes(7),
    "a boolean of 2": raw_tensors({"a": entry("BOOL", (2,), (0, 2))}, b"\0\2"),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_damaged_tensors_are_refused(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(BAD_TENSORS[name])
    for read in (saving.read_tensors, sc.load_model, sc.KeyedVectors.load, sc.Word2Vec.load):
        with pytest.raises(ValueError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message and "\n" not in message and len(message) < 600


@pytest.mark.parametrize("name", FOREIGN)
def test_every_reader_says_what_a_foreign_file_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, expected = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    model = small()
    readers = [saving.read_tensors, sc.load_model, model.load_weights, model.load_checkpoint]
    for read in [*readers, sc.KeyedVectors.load, sc.Word2Vec.load]:
        with pytest.raises(ValueError) as caught:
            read(path)
        assert str(path) in str(caught.value) and f"got {expected}" in str(caught.value)
    for command in (["generate", name], ["predict", name, "--text", "a"]):
        assert cli.main(command) == 2
    assert not (tmp_path / "pickle-ran").exists()


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        for read in (saving.read_tensors, sc.load_model, sc.KeyedVectors.load, sc.Word2Vec.load):
            with pytest.raises((ValueError, OSError), match=str(path)):
                read(path)


def test_half_precision_is_read_exactly(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, 2.0**-130, np.inf, 0.0], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    half = np.arange(6, dtype="<f2") / 7
    header = {"a": entry("BF16", (2, 3), (0, 12)), "b": entry("F16", (6,), (12, 24)), "c": entry("BF16", (), (24, 26))}
    (tmp_path / "file").write_bytes(raw_tensors(header, bits.tobytes() + half.tobytes() + b"\xc0\x7f"))
    found, _ = saving.read_tensors(tmp_path / "file")
    assert found["a"].dtype == np.float32 and found["b"].dtype == np.float16 and np.isnan(found["c"])
    np.testing.assert_array_equal(found["a"], values.reshape(2, 3))
    np.testing.assert_array_equal(found["b"], half)
    saving.write_tensors(tmp_path / "again", found, {})
    np.testing.assert_array_equal(saving.read_tensors(tmp_path / "again")[0]["b"], half)


def test_files_of_the_reference_implementation_are_read(tmp_path, rng):
    from safetensors.numpy import save_file

    arrays = {
        dtype: rng.integers(0, 2, (2, 3)).astype(dtype)
        for dtype in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool")
    }
    arrays |= {"empty": np.zeros((0, 3)), "scalar": np.array(2.5, np.float32), 'näme/"': np.arange(3)}
    save_file(arrays, tmp_path / "file", {"note": "näher"})
    found, texts = saving.read_tensors(tmp_path / "file")
    assert texts == {"note": "näher"} and found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", ".hdf5", ".H5", ".pt", ".onnx", ".npz", ".pkl"])
def test_no_other_format_is_promised(tmp_path, suffix):
    model, path = small(), tmp_path / f"file{suffix}"
    for save in (
        model.save,
        model.save_weights,
        model.save_checkpoint,
        lambda path: saving.write_tensors(path, {}, {}),
        sc.KeyedVectors(np.ones((1, 2), np.float32), ["a"]).save,
        callbacks.ModelCheckpoint,
    ):
        with pytest.raises(ValueError, match="expected a name such as 'file.safetensors'.*, got .*file"):
            save(path)
    assert not os.listdir(tmp_path)


def test_the_header_is_json_alone(tmp_path, data):
    model = sequential()
    model(data[0])
    model.save(tmp_path / "m", extra={"words": ["ä"]})
    raw = (tmp_path / "m").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["extra"]) == {"words": ["ä"]}
    assert json.loads(header["__metadata__"]["architecture"])["class_name"] == "Sequential"


def test_every_reader_names_the_reader_of_our_other_files(tmp_path):
    model = small()
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    model.save_checkpoint(tmp_path / "checkpoint")
    sc.KeyedVectors(np.ones((1, 2), np.float32), ["a"]).save(tmp_path / "vectors")
    sc.Word2Vec([["a", "b"]] * 9, min_count=1, vector_size=3).save(tmp_path / "words")
    saving.write_tensors(tmp_path / "arrays", {"a": np.ones(2)}, {})
    readers = {
        "model": (sc.load_model, "load_model"),
        "checkpoint": (model.load_checkpoint, "load_checkpoint"),
        "vectors": (sc.KeyedVectors.load, "KeyedVectors.load"),
        "words": (sc.Word2Vec.load, "Word2Vec.load"),
    }
    for name, (read, _) in readers.items():
        for other in ("model", "weights", "checkpoint", "vectors", "words", "arrays"):
            path = tmp_path / other
            if other == name:
                read(path)
                continue
            advice = {"weights": "load_weights", "arrays": "read_tensors"}.get(other) or readers[other][1]
            if (name, other) == ("vectors", "words"):
                advice = "Word2Vec.load"
            with pytest.raises(ValueError, match=advice) as caught:
                read(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
