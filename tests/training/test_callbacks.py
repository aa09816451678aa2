"""Callbacks: against a small stand-in for a model, and with real recurrent layers where gradients over time matter."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import sys
import types

import numpy as np
import pytest

from seqcore import Sequential, Word2Vec, callbacks, inspection, layers, metrics, set_seed
from seqcore.optimizers import SGD, schedules


class FakeModel:
    """The parts of a model that callbacks touch: weights, optimizer, metrics, files."""

    def __init__(self):
        self.optimizer, self.metrics, self.stop_training = SGD(1.0), [], False
        self.weights, self.saved = [np.zeros(2)], []

    def get_weights(self):
        return [w.copy() for w in self.weights]

    def set_weights(self, weights):
        self.weights = [w.copy() for w in weights]

    def save(self, path):
        self.saved.append(path)
        with open(path, "w") as file:
            file.write("model")

    def save_weights(self, path):
        self.saved.append(("weights", path))


def run(values, *given, monitor="val_loss", model=None, batches=2, verbose=0, **params):
    """A fit of one epoch per value; the model's weights count the epochs. Returns model, history."""
    model, history = model or FakeModel(), callbacks.History()
    watchers = callbacks.CallbackList(
        [*given, history], model=model, **{"epochs": len(values), "steps": batches, "verbose": verbose, **params}
    )
    watchers.on_train_begin()
    logs = {}
    for epoch, value in enumerate(values):
        watchers.on_epoch_begin(epoch)
        for batch in range(batches):
            watchers.on_train_batch_begin(batch)
            watchers.on_train_batch_end(batch, {"loss": 0.5})
        model.weights = [np.full(2, float(epoch))]
        logs = {"loss": 0.5} if value is None else {"loss": 0.5, monitor: value}
        watchers.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    watchers.on_train_end(logs)
    return model, history


HOOKS = [
    f"on_{part}_{end}"
    for part in ("train", "test", "predict", "epoch", "batch", "train_batch", "test_batch", "predict_batch")
    for end in ("begin", "end")
]


# --- list and history -------------------------------------------------------------------------------------------------


def test_history():
    _, history = run([3.0, 2.0])
    assert history.history == {"loss": [0.5, 0.5], "val_loss": [3.0, 2.0]} and history.epoch == [0, 1]


def test_every_hook_arrives_once_and_in_order():
    seen = []

    class Old(callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            seen.append(("old", batch))

    class New(callbacks.Callback):
        pass

    new = New()
    new.on_epoch_begin = lambda epoch, logs=None: seen.append(("epoch", epoch))
    watchers = callbacks.CallbackList([Old(), new, callbacks.Callback()], model="model", steps=1)
    assert watchers.has("on_train_batch_end") and watchers.has("on_epoch_begin")
    assert not watchers.has("on_train_batch_begin") and not watchers.has("on_test_end")
    for hook in [hook for hook in HOOKS if "on_batch" not in hook]:
        if "batch" in hook or "epoch" in hook:
            getattr(watchers, hook)(0)
        else:
            getattr(watchers, hook)()
    assert seen == [("epoch", 0), ("old", 0)]
    assert all(c.model == "model" and c.params == {"steps": 1} for c in watchers)
    watchers.set_model("other")
    watchers.set_params({})
    assert all(c.model == "other" and c.params == {} for c in watchers)
    with pytest.raises(TypeError, match="callbacks: .*str"):
        watchers.append("adam")


@pytest.mark.parametrize("hook", HOOKS)
def test_logs_are_a_dict_in_every_hook(hook):
    """As the callbacks of Keras's guides expect, which ask for ``list(logs.keys())``."""
    seen = []

    def note(self, *arguments):
        assert len(arguments) == (2 if "epoch" in hook or "batch" in hook else 1)
        seen.append(list(arguments[-1].keys()))

    watcher = type("Watcher", (callbacks.Callback,), {hook: note})()
    model = Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2))
    for callback in (watcher, callbacks.CallbackList([watcher], model=model)):
        seen.clear()
        model.fit(x, x[:, :1], validation_data=(x, x[:, :1]), callbacks=[watcher], verbose=0)
        model.evaluate(x, x[:, :1], callbacks=callback, verbose=0)
        model.predict(x, callbacks=callback, verbose=0)
        wanted = {"on_predict_batch_end": ["outputs"], "on_epoch_end": ["loss", "val_loss"]}
        if hook.endswith("end") and not hook.startswith("on_predict"):
            assert seen[0] == wanted.get(hook, ["loss", "val_loss"] if hook == "on_train_end" else ["loss"])
        else:
            assert seen and all(keys == wanted.get(hook, []) for keys in seen)


def test_a_class_instead_of_a_callback():
    with pytest.raises(TypeError, match=r"the class EarlyStopping; make an object of it: EarlyStopping\(...\)"):
        callbacks.CallbackList([callbacks.EarlyStopping])


@pytest.mark.parametrize("value", [2.5, float("nan"), True, -1, "3", None])
@pytest.mark.parametrize(
    "name, make",
    [
        ("patience", callbacks.EarlyStopping),
        ("start_from_epoch", callbacks.EarlyStopping),
        ("patience", callbacks.ReduceLROnPlateau),
        ("cooldown", callbacks.ReduceLROnPlateau),
        ("hold", lambda hold: callbacks.EpochDecay(1.0, hold, 0.5)),
        ("width", callbacks.ProgressBar),
        ("save_freq", lambda save_freq: callbacks.ModelCheckpoint("x", save_freq=save_freq)),
        ("update_freq", lambda update_freq: callbacks.TensorBoard("x", update_freq=update_freq)),
        ("verbose", callbacks.EarlyStopping),
        ("verbose", callbacks.ReduceLROnPlateau),
        ("verbose", lambda verbose: callbacks.ModelCheckpoint("x", verbose=verbose)),
        ("verbose", lambda verbose: callbacks.LearningRateScheduler(abs, verbose)),
    ],
)
def test_whole_numbers(name, make, value):
    if name == "verbose" and value is True:
        assert make(verbose=True).verbose == 1
        return
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        make(**{name: value})


# --- progress ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_plain_where_there_is_no_terminal(capsys):
    run([1.0, 2.0], callbacks.ProgressBar(), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Epoch 1/2 - ")
    assert "step/s" in lines[1] and lines[1].endswith("loss: 0.5000 - val_loss: 2.0000")
    run([1.0], callbacks.ProgressBar(), verbose=0)
    assert capsys.readouterr().out == ""


def test_progress_on_a_terminal():
    stream = Terminal()
    run([1.0, 2.0], callbacks.ProgressBar(stream, unit="word", per_step=400, interval=0.0), verbose=1)
    text = stream.getvalue()
    assert text.count("\n") == 2 and text.count("\r") == 6
    drawn = text.split("\r")
    assert "Epoch 1/2 1/2 [==========..........]" in drawn[1] and " left" in drawn[1] and "word/s" in drawn[1]
    assert max(map(len, drawn)) <= 81
    stream = Terminal()
    run([1.0, 2.0], callbacks.ProgressBar(stream), verbose=2)
    assert "\r" not in stream.getvalue() and stream.getvalue().count("\n") == 2


def test_progress_without_known_steps_learns_them():
    stream = Terminal()
    run([1.0, 2.0], callbacks.ProgressBar(stream, interval=0.0), verbose=1, steps=None)
    drawn = stream.getvalue().split("\r")
    assert "left" not in drawn[1] and "Epoch 2/2 1/2 [" in drawn[4]


def test_progress_of_evaluate_and_predict(capsys):
    bar = callbacks.ProgressBar()
    watchers = callbacks.CallbackList([bar], steps=1, verbose=1)
    watchers.on_test_begin()
    watchers.on_test_batch_end(0, {"loss": 0.0001})
    watchers.on_test_end({"loss": 0.0001})
    watchers.on_predict_begin()
    watchers.on_predict_batch_end(0, {"outputs": np.zeros(3)})
    watchers.on_predict_end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Test - ") and lines[0].endswith("loss: 1.0000e-04")
    assert lines[1].startswith("Predict - ")
    # Inside fit validation is part of the epoch's line.
    watchers.on_train_begin()
    watchers.on_test_begin()
    watchers.on_test_end({})
    assert capsys.readouterr().out == ""


class TextBox:
    """Replacement of standard output by a window or a logger."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


@pytest.mark.parametrize("stream", [TextBox(), None], ids=["only write", "none"])
def test_standard_output_of_any_kind(stream, monkeypatch, tmp_path):
    """A stream with only ``write`` takes plain lines; without a console nothing is written and nothing fails."""
    monkeypatch.setattr(sys, "stdout", stream)
    model = Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2))
    watchers = [
        callbacks.EarlyStopping("loss", verbose=1, baseline=-1.0, restore_best_weights=True),
        callbacks.ModelCheckpoint(tmp_path / "m.seqcore", verbose=1),
        callbacks.LearningRateScheduler(lambda epoch: 0.0, verbose=1),
        callbacks.ReduceLROnPlateau("loss", patience=0, verbose=1),
    ]
    model.fit(x, x[:, :1], epochs=3, callbacks=watchers)
    model.evaluate(x, x[:, :1])
    model.predict(x)
    model.summary()
    sentences = [["a", "b", "a", "b"]] * 5
    Word2Vec(sentences, vector_size=4, min_count=1, epochs=1, verbose=1)
    progress = callbacks.progress_bar.ProgressLine()
    progress.update(1, 2, "words", 3.0)
    progress.line("done")
    if stream is not None:
        assert "Epoch 1/3" in stream.text and "early stopping" in stream.text and "Test" in stream.text
        assert "saved" in stream.text and "Predict" in stream.text and stream.text.endswith("done\n")
        assert "\r" not in stream.text


def test_duration():
    assert [callbacks.progress_bar.duration(s) for s in (0, 59.4, 59.6, 3599, 3600)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
    ]


# --- early stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "arguments", "stopped", "best"),
    [
        ([3, 2, 1], {}, 0, 2),
        ([3, 2, 2.5, 1], {}, 2, 1),
        ([3, 2, 2.5, 2.6, 1, 0], {"patience": 2}, 3, 1),
        ([3, 2, 2.5, 1, 0], {"patience": 2}, 0, 4),
        ([3, 2.95, 2.91, 2.0], {"min_delta": 0.1, "patience": 2}, 2, 0),
        ([1, 2, 3, 2], {"mode": "max"}, 3, 2),
        ([3, 2, 1.5, 1.4], {"baseline": 1.0, "patience": 3}, 0, 3),
        ([3, 3.1, 3.2, 1.4], {"baseline": 1.0, "patience": 2}, 1, 0),
        ([1, 5, 5, 3, 4], {"start_from_epoch": 2}, 4, 3),
        ([3, math.nan, 2], {"patience": 2}, 0, 2),
        ([math.nan, math.nan, math.nan], {"patience": 2}, 1, 0),
        ([math.inf, 2.0, 3.0], {}, 2, 1),
    ],
)
def test_early_stopping(values, arguments, stopped, best):
    callback = callbacks.EarlyStopping(**arguments)
    run([float(v) for v in values], callback)
    assert (callback.stopped_epoch, callback.best_epoch) == (stopped, best)


def test_early_stopping_restores_and_starts_anew(capsys):
    callback = callbacks.EarlyStopping(restore_best_weights=True, patience=2, verbose=1)
    for _ in range(2):
        model, history = run([3.0, 1.0, 2.0, 2.0, 0.0], callback)
        assert model.stop_training and history.epoch == [0, 1, 2, 3]
        np.testing.assert_array_equal(model.weights[0], [1.0, 1.0])
    assert "Epoch 4: early stopping" in capsys.readouterr().out
    model, _ = run([3.0, 1.0, 2.0], callback)
    assert not model.stop_training
    np.testing.assert_array_equal(model.weights[0], [1.0, 1.0])


def test_what_shall_rise_and_what_fall():
    for name, value in (("val_accuracy", 1), ("acc", 1), ("loss", -1), ("val_perplexity", -1), ("val_mse", -1)):
        callback = callbacks.EarlyStopping(name)
        assert callback._direction() == value
    model = FakeModel()
    model.metrics = [metrics.BinaryAccuracy(name="hits"), metrics.MeanSquaredError(name="accuracy_of_sorts")]
    for name, value in (("val_hits", 1), ("accuracy_of_sorts", -1)):
        callback = callbacks.EarlyStopping(name)
        callback.set_model(model)
        assert callback._direction() == value
    with pytest.raises(ValueError, match="monitor: .*'beauty'"):
        run([1.0], callbacks.EarlyStopping("beauty"), monitor="beauty")


def test_a_missing_number_warns():
    for callback in (
        callbacks.EarlyStopping(),
        callbacks.ReduceLROnPlateau(),
    ):
        with pytest.warns(UserWarning, match="'val_loss' .*loss"):
            model, _ = run([None, None], callback)
        assert not model.stop_training


# --- checkpoints ------------------------------------------------------------------------------------------------------


def names(model):
    return [os.path.basename(path) for path in model.saved]


def test_checkpoint_paths(tmp_path):
    path = str(tmp_path / "runs" / "m-{epoch:02d}-{val_loss:.1f}.seqcore")
    model, _ = run([3.0, 2.0], callbacks.ModelCheckpoint(path))
    assert names(model) == ["m-01-3.0.seqcore", "m-02-2.0.seqcore"]
    assert (tmp_path / "runs" / "m-02-2.0.seqcore").read_text() == "model"
    model, _ = run([3.0], callbacks.ModelCheckpoint(tmp_path / "w.safetensors", save_weights_only=True))
    assert model.saved == [("weights", str(tmp_path / "w.safetensors"))]


@pytest.mark.parametrize(
    ("values", "arguments", "epochs"),
    [
        ([3, 2, 2.5, 1], {}, [1, 2, 4]),
        ([3, 2, 2.5, 1], {"mode": "max"}, [1]),
        ([3, 2, 2.5, 1], {"initial_value_threshold": 2.2}, [2, 4]),
        ([math.nan, 2, math.nan, 3], {}, [2]),
    ],
)
def test_checkpoint_of_the_best(tmp_path, values, arguments, epochs, capsys):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, verbose=1, **arguments)
    model, _ = run([float(v) for v in values], callback)
    assert [int(name) for name in names(model)] == epochs
    assert capsys.readouterr().out.count("saved") == len(epochs)


def test_checkpoint_by_batches(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=3)
    model, _ = run([1.0, 1.0, 1.0], callback, batches=4)
    assert names(model) == ["1-3", "2-2", "3-1", "3-4"]


def test_a_failed_save_is_not_the_best(tmp_path):
    callback = callbacks.ModelCheckpoint(tmp_path / "m", save_best_only=True)
    model = FakeModel()

    def full(path):
        raise OSError(errno.ENOSPC, "no space")

    model.save = full
    with pytest.raises(OSError, match="no space"):
        run([1.0], callback, model=model)
    assert callback.best is None


def test_checkpoint_errors(tmp_path):
    with pytest.raises(ValueError, match="filepath: .*epoch, loss, val_loss.*'accuracy'"):
        run([1.0], callbacks.ModelCheckpoint(tmp_path / "{accuracy}"))
    with pytest.raises(ValueError, match="filepath: .*folder"):
        run([1.0], callbacks.ModelCheckpoint(tmp_path))
    with pytest.warns(UserWarning, match="'val_loss'"):
        model, _ = run([None], callbacks.ModelCheckpoint(tmp_path / "m", save_best_only=True))
    assert len(model.saved) == 1


# --- learning rates ---------------------------------------------------------------------------------------------------


def test_learning_rate_scheduler(capsys):
    seen = []

    class Watch(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(self.model.optimizer.learning_rate)

    def halve(epoch, rate):
        return rate / 2

    _, history = run([1.0, 1.0], callbacks.LearningRateScheduler(halve, verbose=1), Watch(), batches=1)
    assert seen == history.history["learning_rate"] == [0.5, 0.25]
    assert "Epoch 2: learning rate 0.25" in capsys.readouterr().out
    _, history = run([1.0, 1.0], callbacks.LearningRateScheduler(lambda epoch: 0.1 * (epoch + 1)))
    assert history.history["learning_rate"] == [0.1, 0.2]
    for bad in (lambda epoch: None, lambda epoch: -1.0, lambda epoch: math.nan):
        with pytest.raises(ValueError, match="schedule: "):
            run([1.0], callbacks.LearningRateScheduler(bad))
    model = FakeModel()
    model.optimizer = SGD(schedules.CosineDecay(0.1, 5))
    with pytest.raises(TypeError, match="learning_rate: "):
        run([1.0], callbacks.LearningRateScheduler(halve), model=model)


@pytest.mark.parametrize(("hold", "factor", "epochs"), [(4, 0.5, 13), (6, 0.8, 39), (14, 1 / 1.15, 55), (0, 0.5, 3)])
def test_the_rates_of_the_language_models(hold, factor, epochs):
    _, history = run([1.0] * epochs, callbacks.EpochDecay(1.0, hold, factor), batches=1)
    expected = [factor ** max(i + 1 - hold, 0) for i in range(epochs)]
    np.testing.assert_allclose(history.history["learning_rate"], expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("values", "arguments", "rates"),
    [
        ([3, 3, 3, 3, 3], {"patience": 2}, [1, 1, 1, 0.1, 0.1]),
        ([3, 2, 1, 0], {"patience": 1}, [1, 1, 1, 1]),
        ([3, 3, 3, 3, 3], {"patience": 1, "factor": 0.5, "min_lr": 0.4}, [1, 1, 0.5, 0.4, 0.4]),
        ([3, 3, 3, 3, 3, 3], {"patience": 1, "factor": 0.5, "cooldown": 2}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ([3, 2.95, 2.9, 2.85], {"patience": 2, "min_delta": 0.5}, [1, 1, 1, 0.1]),
        ([1, 1, 2, 2, 2], {"patience": 1, "mode": "max"}, [1, 1, 0.1, 0.1, 0.01]),
    ],
)
def test_reduce_on_plateau(values, arguments, rates):
    _, history = run([float(v) for v in values], callbacks.ReduceLROnPlateau(**arguments))
    np.testing.assert_allclose(history.history["learning_rate"], rates)


# --- files ------------------------------------------------------------------------------------------------------------


def rows(path, **arguments):
    with open(path, newline="") as file:
        return list(csv.reader(file, **arguments))


def test_csv(tmp_path):
    path = tmp_path / "logs" / "log.csv"
    run([3.0, np.float32(0.5)], callbacks.CSVLogger(path))
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "0.5", "3.0"], ["1", "0.5", "0.5"]]
    assert os.listdir(path.parent) == ["log.csv"]
    run([1.0], callbacks.CSVLogger(path, append=True), monitor="late")
    assert rows(path)[0] == ["epoch", "loss", "val_loss", "late"]
    assert rows(path)[1:] == [["0", "0.5", "3.0", "NA"], ["1", "0.5", "0.5", "NA"], ["0", "0.5", "NA", "1.0"]]
    run([1.0], callbacks.CSVLogger(path, separator=";"))
    assert rows(path, delimiter=";") == [["epoch", "loss", "val_loss"], ["0", "0.5", "1.0"]]


def test_csv_survives_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    run([3.0], callbacks.CSVLogger(path))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        run([1.0], callbacks.CSVLogger(path))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["log.csv"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello\nworld, and more\n", "filename: expected a CSV file with a column epoch"),
        (b"epoch,loss\n0\n", "filename: expected a CSV file with a column epoch"),
        (b"epoch,loss\n0,1,2\n", "filename: expected a CSV file with a column epoch"),
        (b"epoch,loss,loss\n0,1,2\n", "filename: expected a CSV file with a column epoch"),
        (b"epoch,lo\xe9\n0,1\n", "notes.txt: expected UTF-8 text"),
        (b'epoch,"' + b"a" * 200_000, "notes.txt: expected a CSV file, got one that is not"),
    ],
)
def test_csv_refuses_a_foreign_file(tmp_path, content, expected):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        run([1.0], callbacks.CSVLogger(path, append=True))
    assert path.read_bytes() == content


def test_csv_goes_on_in_an_empty_file(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"")
    run([1.0], callbacks.CSVLogger(tmp_path / "log.csv", append=True))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


class FakeWriter:
    made: list = []

    def __init__(self, folder, filename_suffix=""):
        self.folder, self.scalars, self.open = os.path.basename(folder), [], True
        self.suffix = filename_suffix
        FakeWriter.made.append(self)

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def add_event(self, event):
        self.scalars.append(event)

    def flush(self):
        pass

    def close(self):
        self.open = False


def test_tensorboard_through_tensorboardx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=FakeWriter))
    FakeWriter.made = []
    run([3.0, 2.0], callbacks.TensorBoard(tmp_path, update_freq=2), batches=3)
    train, validation = FakeWriter.made
    assert (train.folder, validation.folder) == ("train", "validation") and not train.open and not validation.open
    assert validation.scalars == [("epoch_loss", 3.0, 0), ("epoch_loss", 2.0, 1)]
    assert [s for s in train.scalars if s[0] == "epoch_loss"] == [("epoch_loss", 0.5, 0), ("epoch_loss", 0.5, 1)]
    assert ("epoch_learning_rate", 1.0, 1) in train.scalars
    # The files of a loop of fits lie next to each other, also those of the same second.
    run([3.0], callbacks.TensorBoard(tmp_path), batches=1)
    assert len({writer.suffix for writer in FakeWriter.made}) == len(FakeWriter.made) == 4
    assert [s for s in train.scalars if s[0] == "batch_loss"] == [("batch_loss", 0.5, i) for i in (1, 3, 5)]


def test_tensorboard_through_its_own_writer(monkeypatch, tmp_path):
    def make(**values):
        return values

    make.Value = make
    modules = {
        "tensorboardX": None,
        "tensorboard.compat.proto.event_pb2": types.SimpleNamespace(Event=make),
        "tensorboard.compat.proto.summary_pb2": types.SimpleNamespace(Summary=make),
        "tensorboard.summary.writer.event_file_writer": types.SimpleNamespace(EventFileWriter=FakeWriter),
    }
    parents = {name.rsplit(".", n)[0] for name in modules if "." in name for n in range(1, name.count(".") + 1)}
    for name in parents:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    FakeWriter.made = []
    run([3.0], callbacks.TensorBoard(tmp_path), batches=1)
    (event,) = FakeWriter.made[1].scalars
    assert event["step"] == 0 and event["summary"] == {"value": [{"tag": "epoch_loss", "simple_value": 3.0}]}


def test_tensorboard_says_what_to_install(monkeypatch, tmp_path):
    for name in ("tensorboardX", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'seqcore\[tensorboard\]'"):
        run([1.0], callbacks.TensorBoard(tmp_path))


# --- gradients over time ----------------------------------------------------------------------------------------------


class FakeLayer:
    def __init__(self, name):
        self.name, self.step_gradients, self.last_step_gradients = name, False, None


class Stack(FakeModel):
    def __init__(self, *inside):
        super().__init__()
        self.inside = list(inside)

    def layers_inside(self):
        return [types.SimpleNamespace(name="dense"), *self.inside]


class Feed(callbacks.Callback):
    """Gradients of two batches with 2 and 3 steps, for layers that were asked for them."""

    def on_train_batch_begin(self, batch, logs=None):
        for layer in self.model.inside:
            if layer.step_gradients:
                layer.last_step_gradients = np.full((2, 2 + batch, 8), batch + 1.0, np.float32)


def test_gradient_norms_by_batch_and_epoch():
    a, b = FakeLayer("lstm"), FakeLayer("lstm")
    callback = inspection.GradientNorms(per="batch")
    run([1.0, 1.0], Feed(), callback, model=Stack(a, b))
    assert list(callback.norms) == ["lstm", "lstm_1"] and len(callback.norms["lstm"]) == 4
    np.testing.assert_array_equal(callback.norms["lstm"][1], [8.0, 8.0, 8.0])
    assert not a.step_gradients and a.last_step_gradients is None
    callback = inspection.GradientNorms(layers=["lstm"])
    run([1.0, 1.0], Feed(), callback, model=Stack(a, b))
    assert list(callback.norms) == ["lstm"]
    for norms in callback.norms["lstm"]:
        np.testing.assert_array_equal(norms, [6.0, 6.0, 8.0])
    with pytest.raises(ValueError, match="layers: .*lstm, lstm_1.*'gru'"):
        run([1.0], inspection.GradientNorms(layers=["gru"]), model=Stack(a, b))
    with pytest.raises(ValueError, match="model: expected one with a recurrent layer"):
        run([1.0], inspection.GradientNorms(), model=Stack())


@pytest.mark.parametrize("make", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_gradient_norms_of_real_layers(make):
    """Only the last output is graded, so a vanishing gradient falls towards the first step."""
    set_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 9, 3)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)
    model = Sequential([layers.Input((9, 3)), make(4, name="cell"), layers.Dense(1)])
    for weights in model.layers[0].weights:
        weights.assign(weights.numpy() * 0.3)
    model.compile("sgd", "mse")
    callback = inspection.GradientNorms(per="epoch")
    model.fit(x, y, batch_size=3, epochs=2, verbose=0, callbacks=[callback])
    (norms,) = callback.norms.values()
    assert len(norms) == 2 and norms[0].shape == (9,)
    assert (norms[0] > 0).all() and norms[0][0] < norms[0][-1]


def test_gradient_norms_of_one_batch():
    """The function measures what the callback does, and leaves the model as it was."""
    set_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 9, 3)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)
    model = Sequential([layers.Input((9, 3)), layers.ContextRNN(4, 2, name="cf"), layers.Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    measured = inspection.gradient_norms(model, x, y)
    assert not model.layers[0].step_gradients and model.layers[0].last_step_gradients is None
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    callback = inspection.GradientNorms(per="batch")
    model.fit(x, y, batch_size=6, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    assert set(measured) == set(callback.norms) == {"cf", "cf/context"}
    for name, norms in measured.items():
        assert norms.shape == (9,)
        np.testing.assert_allclose(callback.norms[name][0], norms, rtol=1e-5)
    short = inspection.gradient_norms(model, x, y, lengths=[4] * 6)["cf"]
    assert short[3] > 0 and not short[4:].any()
    with pytest.raises(ValueError, match="layers: .*cf.*'gru'"):
        inspection.gradient_norms(model, x, y, ["gru"])
    with pytest.raises(RuntimeError, match="compile"):
        inspection.gradient_norms(Sequential([layers.Input((9, 3)), layers.GRU(2)]), x, y)


def test_fit_with_the_usual_callbacks(tmp_path):
    set_seed(1)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 4, 2)).astype(np.float32)
    y = (x.sum(axis=(1, 2)) > 0).astype(np.float32)[:, None]
    model = Sequential([layers.Input((4, 2)), layers.SimpleRNN(3), layers.Dense(1, activation="sigmoid")])
    model.compile(SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
    stopping = callbacks.EarlyStopping("val_accuracy", patience=3, restore_best_weights=True)
    history = model.fit(
        x,
        y,
        epochs=4,
        batch_size=4,
        verbose=0,
        validation_data=(x, y),
        callbacks=[
            stopping,
            callbacks.EpochDecay(0.1, 2, 0.5),
            callbacks.ModelCheckpoint(tmp_path / "best", save_best_only=True, save_weights_only=True),
            callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05, 0.025][: len(history.epoch)])
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert len(rows(tmp_path / "log.csv")) == len(history.epoch) + 1
    assert any(name.startswith("best") for name in os.listdir(tmp_path))


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: callbacks.EarlyStopping(mode="up"), ValueError, "mode: .*'up'"),
        (lambda: callbacks.EarlyStopping(patience=-1), ValueError, "patience: .*-1"),
        (lambda: callbacks.EarlyStopping(min_delta="x"), ValueError, "min_delta: "),
        (lambda: callbacks.EarlyStopping(3), TypeError, "monitor: "),
        (lambda: callbacks.ModelCheckpoint("m", save_freq="batch"), ValueError, "save_freq: .*'batch'"),
        (lambda: callbacks.ModelCheckpoint("m", save_freq=0), ValueError, "save_freq: .*0"),
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), ValueError, "factor: .*1.0"),
        (lambda: callbacks.LearningRateScheduler(0.1), TypeError, "schedule: .*float"),
        (lambda: callbacks.EpochDecay(-1, 2, 0.5), ValueError, "learning_rate: "),
        (lambda: callbacks.CSVLogger("f", separator=", "), ValueError, "separator: .*', '"),
        (lambda: callbacks.TensorBoard(update_freq="step"), ValueError, "update_freq: .*'step'"),
        (lambda: inspection.GradientNorms(per="step"), ValueError, "per: .*'step'"),
        (lambda: inspection.GradientNorms(layers="lstm"), TypeError, "layers: "),
        (lambda: callbacks.ProgressBar(width=0), ValueError, "width: "),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
