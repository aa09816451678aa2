"""Resume of an interrupted fit by BackupAndRestore: stopped after any batch, in validation or by SIGKILL, same bits."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from seqcore import GradientTape, Sequential, Variable, callbacks, inspection, layers, metrics, random, saving
from seqcore.losses import SparseCategoricalCrossentropy
from seqcore.text import bptt_batches

PROGRAM = """
import sys
from tests.training.test_resume import train, write_result
write_result(train(sys.argv[1], sys.argv[2]), sys.argv[1])
"""
ROWS = np.random.default_rng(0)
X = ROWS.normal(size=(44, 6, 3)).astype(np.float32)
Y = ROWS.integers(0, 3, size=44)


class Interrupt(Exception):
    """Stands for a kill: it leaves fit at once."""


class Stop(callbacks.Callback):
    """Interrupts in the hook that counts to ``after``, before a backup is made there or behind it."""

    def __init__(self, after=None, hook="train", last=True):
        self.left, self.hook, self.runs_last = after, hook, last

    def count(self, hook):
        if hook == self.hook and self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Interrupt

    def on_train_batch_end(self, batch, logs=None):
        self.count("train")

    def on_test_batch_end(self, batch, logs=None):
        self.count("test")

    def on_epoch_end(self, epoch, logs=None):
        self.count("epoch")


class Batches:
    """Batches by number, as Keras's PyDataset."""

    def __len__(self):
        return 5

    def __getitem__(self, number):
        rows = slice(8 * number, 8 * number + 8)
        return X[rows], Y[rows]


def endless():
    while True:
        for start in range(0, 40, 8):
            yield X[start : start + 8], Y[start : start + 8]


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 8},
    "steps": lambda: {"x": X, "y": Y, "batch_size": 8, "steps_per_epoch": 4},
    "by number": lambda: {"x": Batches()},
    "list": lambda: {"x": [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 4},
    "stateful": lambda: {"x": bptt_batches(np.arange(400) % 7, 4, 9)},
}


class Halve(callbacks.LearningRateScheduler):
    """A schedule that builds on the last rate, so that calling it twice would show."""

    def __init__(self):
        super().__init__(lambda epoch, rate: 0.9 * rate)


def network(data):
    random.set_seed(3)
    if data == "stateful":
        stack = [layers.Embedding(7, 5), layers.Dropout(0.2), layers.LSTM(4, return_sequences=True, stateful=True)]
        model = Sequential([*stack, layers.Dense(7)])
    else:
        stack = [layers.GRU(5, dropout=0.2, recurrent_dropout=0.1), layers.Dropout(0.3), layers.Dense(3)]
        model = Sequential([layers.Input((None, 3)), *stack])
    model.compile(
        "adam",
        SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", metrics.Perplexity(from_logits=True)],
    )
    return model


def train(folder, data="arrays", stop=None, noise=0, epochs=5, model=None, **options):
    """A fit with everything that has a state; with ``stop`` it is left early."""
    model = model or network(data)
    for _ in range(noise):
        random.next_stream(), random.generator().random()
    given = DATA[data]()
    if data != "stateful":
        given["validation_data"] = (X[:16], Y[:16])
        given["validation_batch_size"] = 8
    monitor = "loss" if data == "stateful" else "val_loss"
    backup = callbacks.BackupAndRestore(folder, **{"save_freq": 1, "delete_checkpoint": False} | options)
    watchers = [
        backup,
        stop or Stop(),
        Halve(),
        callbacks.ReduceLROnPlateau(monitor, patience=1, factor=0.5, min_delta=0.02),
        callbacks.EarlyStopping(monitor, patience=2, restore_best_weights=True, min_delta=0.01),
        callbacks.CSVLogger(f"{folder}/log.csv"),
    ]
    model.fit(**given, epochs=epochs, verbose=0, callbacks=watchers)
    return model


def result(model, folder):
    """The values that must not differ: logs, weights, optimizer, states, random state, the CSV file."""
    with open(f"{folder}/log.csv") as file:
        log = file.read()
    plain = [model.history.history, model.history.epoch, model.get_layer_state(), random.get_state(), log]
    optimizer = model.optimizer.get_state()
    return json.loads(json.dumps([plain, optimizer, model.get_weights()], default=lambda a: np.asarray(a).tolist()))


def everything(model):
    """All that a refused backup must leave as it was."""
    plain = [model.get_layer_state(), random.get_state(), model.optimizer.get_state(), model.get_weights()]
    metrics = [metric.get_state() for metric in model.metrics]
    return json.loads(json.dumps([plain, metrics], default=lambda a: np.asarray(a).tolist()))


def write_result(model, folder):
    with open(f"{folder}/result.json", "w") as file:
        json.dump(result(model, folder), file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results of uninterrupted fits."""
    results = {}
    for data in DATA:
        folder = tmp_path_factory.mktemp("whole")
        results[data] = result(train(folder, data), folder)
    return results


@pytest.mark.filterwarnings("ignore:steps_per_epoch")
@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize(
    "stop",
    [("train", 1), ("train", 3), ("train", 4), ("train", 9), ("test", 1), ("epoch", 2), ("epoch", 1, False)],
)
def test_resume_is_exact(data, stop, whole, tmp_path):
    """A new model, whose random numbers stand elsewhere, comes to the same end to the last bit."""
    hook, after, *last = ("epoch" if (data, stop[0]) == ("stateful", "test") else stop[0]), *stop[1:]
    with pytest.raises(Interrupt):
        train(tmp_path, data, Stop(after, hook, *last))
    model = train(tmp_path, data, noise=3)
    assert result(model, tmp_path) == whole[data]


@pytest.mark.parametrize("options", [{"save_freq": "epoch"}, {"save_freq": 3}, {"save_every": 1e-9}])
def test_any_frequency(options, whole, tmp_path):
    """Batches after the last backup are trained on again."""
    for after in (2, 5, 8):
        with pytest.raises(Interrupt):
            train(tmp_path, "arrays", Stop(after), **options)
    assert result(train(tmp_path, "arrays", **options), tmp_path) == whole["arrays"]


def test_a_backup_after_an_error(whole, tmp_path):
    """``save`` after fit has been left, in validation too, keeps all that was trained on."""
    for hook in ("train", "test"):
        folder, model = tmp_path / hook, network("arrays")
        backup = callbacks.BackupAndRestore(folder)
        with pytest.raises(Interrupt):
            model.fit(X, Y, epochs=5, validation_data=(X, Y), verbose=0, callbacks=[backup, Stop(2, hook)])
        backup.save()
        state = saving.read_position(backup.path)["fit"]
        assert (state["epoch"], state["batch"]) == (0, 2)
    with pytest.raises(RuntimeError, match="save: expected a fit"):
        callbacks.BackupAndRestore(tmp_path / "new").save()


def test_the_backup_of_a_finished_fit(tmp_path, whole):
    model = train(tmp_path, "arrays", delete_checkpoint=True, epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"] and model.fit_state is None
    train(tmp_path, "arrays", epochs=2, save_freq="epoch")
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert result(train(tmp_path, "arrays"), tmp_path) == whole["arrays"]


@pytest.mark.parametrize("data", ["arrays", "generator"])
def test_kills(data, whole, tmp_path):
    """SIGKILL at arbitrary moments, each time a new process: the same bits at the end."""
    for delay in (0.0, 0.02, 0.05, 0.0):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), data])
        begin = (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns if delay else 0
        while process.poll() is None:
            backup = tmp_path / "checkpoint.safetensors"
            if backup.exists() and backup.stat().st_mtime_ns > begin:
                break
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        assert process.wait(60) in (0, -signal.SIGKILL)
    assert subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), data]).returncode == 0
    assert json.loads((tmp_path / "result.json").read_text()) == whole[data]


# ---------------------------------------------------------------- refusals


def test_backups_of_other_fits(tmp_path):
    with pytest.raises(Interrupt):
        train(tmp_path, "arrays", Stop(3))
    backup = callbacks.BackupAndRestore(tmp_path)
    other = Sequential([layers.Input((None, 3)), layers.GRU(7), layers.Dense(3)])
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="checkpoint.safetensors: "):
        other.fit(X, np.zeros((44, 3)), verbose=0, callbacks=[backup])
    with pytest.raises(ValueError, match="checkpoint.safetensors: .*callbacks: expected a EarlyStopping|ReduceLR"):
        network("arrays").fit(X, Y, verbose=0, callbacks=[backup])
    model = network("arrays")
    model.save_checkpoint(tmp_path / "checkpoint.safetensors", {"epoch": 3})
    with pytest.raises(ValueError, match="checkpoint.safetensors: expected a backup of a fit like this one"):
        model.fit(X, Y, verbose=0, callbacks=[backup])


class FailsLater(callbacks.Callback):
    """A callback whose state is refused after those of all others have been set."""

    def get_state(self):
        return {"kept": 1}

    def set_state(self, state):
        raise ValueError("state: expected another one")


@pytest.mark.parametrize("changed", ["metrics", "callbacks", "callback state"])
def test_a_backup_of_another_fit_changes_nothing(changed, tmp_path):
    """A trained model, one that is not built yet, and the callbacks stay as they were."""
    names = ["mae"] if changed == "metrics" else []
    monitor = callbacks.EarlyStopping("loss", patience=9)
    extra = {"callbacks": [Halve()], "metrics": [], "callback state": [FailsLater()]}[changed]

    def make(metrics, built=True):
        model = Sequential(
            [*([layers.Input((None, 3))] if built else []), layers.LSTM(4, dropout=0.5), layers.Dense(1)]
        )
        model.compile("adam", "mse", metrics=metrics)
        return model

    def fit(model, watchers):
        backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[*watchers, backup])

    random.set_seed(4)
    if changed == "callbacks":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Halve, "get_state", lambda self: {"kept": 1}, raising=False)
            fit(make([]), [monitor, *extra])
        extra = []
    else:
        fit(make(names), [monitor, *extra])
    model, fresh = make([]), make([], built=False)
    model.train_on_batch(X[:8], Y[:8])
    for refused in (model, fresh):
        watchers = [callbacks.EarlyStopping("loss", patience=9), *extra]
        before = everything(refused)
        with pytest.raises(ValueError, match="checkpoint.safetensors: expected a backup of a fit like this one"):
            fit(refused, watchers)
        assert everything(refused) == before
        assert watchers[0].best is None
    assert not fresh.built


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1}, {"epoch": "x"}, {"batch": 1.5}, {"logs": 3}, {"stop": None}, {"metrics": []},
        {"metrics": [3, 4, 5]}, {"data": {}}, {"data": None}, {"callbacks": 3},
        {"callbacks": [["History", {"epoch": 3}]]}, {"callbacks": [["History", {"epoch": [], "history": {"loss": 3}}]]},
        {"callbacks": [["CSVLogger", {"_columns": ["epoch"], "_rows": [1]}]]}, {"callbacks": [["Halve", {"a": 1}]]},
        {"metrics": [{"total": "x"}, {}, {}]}, {"metrics": [{"else": 1.0}, {}, {}]},
        {"data": {"taken": 1, "random": 3, "exhausted": False}},
    ],
)  # fmt: skip
def test_damaged_backups(change, tmp_path):
    with pytest.raises(Interrupt):
        train(tmp_path, "arrays", Stop(3))
    path = tmp_path / "checkpoint.safetensors"
    tensors, texts = saving.read_tensors(path)
    position = json.loads(texts["position"])
    position["fit"] |= change
    saving.write_tensors(path, tensors, {**texts, "position": json.dumps(position)})
    model = network("arrays")
    model.train_on_batch(X[:8], Y[:8])
    before = everything(model)
    with pytest.raises(ValueError, match="checkpoint.safetensors: expected a backup of a fit") as caught:
        train(tmp_path, "arrays", model=model)
    assert "\n" not in str(caught.value)
    assert everything(model) == before
    assert not model.stop_training


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backup_dir": 3}, TypeError, "backup_dir: "),
        ({"backup_dir": ""}, ValueError, "backup_dir: expected a folder"),
        ({"backup_dir": __file__}, ValueError, "backup_dir: expected a folder"),
        ({"save_freq": 0}, ValueError, "save_freq: expected 'epoch' or an integer >= 1, got 0"),
        ({"save_freq": True}, ValueError, "save_freq: "),
        ({"double_checkpoint": True}, ValueError, "double_checkpoint: expected False"),
        ({"delete_checkpoint": "no"}, ValueError, "delete_checkpoint: expected True or False"),
        ({"save_every": 0}, ValueError, "save_every: expected a positive number, got 0"),
        ({"extra": [1]}, TypeError, "extra: expected a dict"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        callbacks.BackupAndRestore(**{"backup_dir": "backup"} | arguments)


# ---------------------------------------------------------------- states of the user's classes


class Largest(metrics.Metric):
    """A metric that keeps a list, an array and a variable."""

    def __init__(self, name="largest"):
        super().__init__(name=name)
        self.seen, self.top, self.count = [], np.zeros(1), Variable(np.zeros(1, np.float32))

    def update_state(self, y_true, y_pred, sample_weight=None):
        value = float(np.max(np.asarray(y_pred)))
        self.seen.append(value)
        self.top = np.maximum(self.top, value)
        self.count.assign(self.count.numpy() + 1)

    def result(self):
        return float(self.top[0] + self.count.numpy()[0] + sum(self.seen))

    def reset_state(self):
        self.seen, self.top = [], np.zeros(1)
        self.count.assign(np.zeros(1))


class Custom(Sequential):
    """A model with a train_step, whose logs are those of the last batch."""

    def train_step(self, data):
        x, y = data
        with GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables))
        return {"loss": loss, "twice": 2 * float(loss)}


class StopEarly(callbacks.Callback):
    """Stops the training inside the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = (self.model.fit_state.epoch, batch) == (1, 2)


@pytest.mark.parametrize("model_class", [Sequential, Custom])
@pytest.mark.parametrize("after", [1, 4, 6, 7, 8])
@pytest.mark.parametrize("stopping", [False, True])
def test_classes_of_the_user(model_class, after, stopping, tmp_path):
    """Metrics, norms of gradients, logs of a train_step and a stop inside an epoch, each resumed exactly."""

    def fit(folder, stop=None):
        random.set_seed(2)
        model = model_class([layers.Input((None, 3)), layers.ContextRNN(4, 2, name="cf"), layers.Dense(1)])
        model.compile("sgd", "mse", metrics=[Largest(), "mae"])
        norms = inspection.GradientNorms()
        watchers = [norms, callbacks.BackupAndRestore(folder, save_freq=1), stop or Stop()]
        if stopping:
            watchers.insert(0, StopEarly())
        targets = Y[:, None].astype(np.float32)
        history = model.fit(X[:24], targets[:24], 8, 3, 0, watchers, validation_data=(X[24:], targets[24:])).history
        norms = {name: np.array(values).tolist() for name, values in norms.norms.items()}
        return [history, norms, [weights.tolist() for weights in model.get_weights()]]

    expected = fit(tmp_path / "whole")
    with pytest.raises(Interrupt) if not stopping or after < 7 else contextlib.nullcontext():
        fit(tmp_path / "parts", Stop(after, "train"))
    assert fit(tmp_path / "parts") == expected
