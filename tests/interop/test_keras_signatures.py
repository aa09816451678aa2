"""Every argument of Keras's that seqcore has a use or a refusal for: honoured, at its default alone, or refused."""

from __future__ import annotations

import collections
import contextlib
import inspect
import io
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import seqcore as sc
from seqcore import callbacks, layers, losses, metrics, optimizers
from seqcore.autograd.tape import GradientTape
from seqcore.autograd.tensor import IndexedSlices, Tensor, Variable
from seqcore.layers.arguments import reset_names
from seqcore.layers.base import Layer
from seqcore.optimizers import schedules
from tests.helpers import keras_signatures as table

# --- the table --------------------------------------------------------------------------------------------------------


def read(text: str) -> dict[str, inspect.Signature]:
    """Names and signatures of a block of the table."""
    lines = re.sub(r"\n +", " ", text).strip().splitlines()
    return {line.partition("(")[0]: parse(line[line.index("(") :]) for line in lines if line}


def parse(text: str) -> inspect.Signature:
    return inspect.signature(eval(f"lambda {text[1:-1]}: None"))  # noqa: S307


KERAS = read(table.SIGNATURES)
TENSORFLOW = {f"tf.{name}": signature for name, signature in read(table.TENSORFLOW).items()}
REQUIRED = inspect.Parameter.empty


class Argument(NamedTuple):
    row: str
    name: str
    default: Any
    word: str
    reason: str

    def __str__(self) -> str:
        return f"{self.row}.{self.name}"


def found_in(words: dict[str, Any], row: str, name: str) -> Any:
    """Entry of a dictionary for an argument: by row and name, by room and name, by method and name, by name."""
    return next((words[key] for key in keys(row, name) if key in words), None)


def keys(row: str, name: str) -> list[str]:
    room, method = row.partition(".")[0], row.rpartition(".")[2]
    return [f"{row}.{name}", f"{room}.{name}", f"{method}.{name}", name]


def arguments_of(row: str) -> list[Argument]:
    parameters = list((KERAS | TENSORFLOW)[row].parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        room = "layers" if row.startswith("layers.") and row.count(".") == 1 else row
        more = table.KEYWORDS.get(row, table.KEYWORDS.get(room, ""))
        known = {parameter.name for parameter in parameters}
        parameters += [p for p in parse(f"({more})").parameters.values() if p.name not in known]
    arguments = []
    for parameter in parameters:
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            word, reason = "honoured", ""
            for other in ("BY_POSITION", "NO_EFFECT", "REFUSED", "DEFAULT_ONLY"):
                if (text := found_in(getattr(table, other), row, parameter.name)) is not None:
                    word, reason = other.lower(), text
            arguments.append(Argument(row, parameter.name, parameter.default, word, reason))
    return arguments


ROWS = [*KERAS, *TENSORFLOW]
ARGUMENTS = [argument for row in ROWS for argument in arguments_of(row)]


def tried(row: str) -> bool:
    """True if a call is a test: hooks do nothing themselves."""
    return not row.startswith("callbacks.Callback.")


def of(*words: str) -> list[Any]:
    return [pytest.param(argument, id=str(argument)) for argument in ARGUMENTS if argument.word in words]


def ours(row: str) -> Any:
    """The class, method or function of seqcore that a row of the table is about."""
    room, *names = row.split(".")
    if names[0] == "schedules":
        room, names = "schedules", names[1:]
    value: Any = {"utils": sc.text, "tf": sc, "config": sc, "schedules": schedules}.get(room) or getattr(sc, room)
    if names == ["TextVectorization"] or names[0] == "TextVectorization":
        value = sc
    for name in names:
        value = getattr(value, name)
    return value


# --- what can be seen of a call ---------------------------------------------------------------------------------------


class New(NamedTuple):
    """A value that is made for each call."""

    make: Callable[[], Any]


class With(NamedTuple):
    """A value whose effect shows together with other arguments."""

    value: Any
    others: dict[str, Any]


def together(value: Any, **others: Any) -> With:
    return With(value, others)


def made(arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: value.make() if isinstance(value, New) else value for key, value in arguments.items()}


def frozen(value: Any) -> Any:
    """A value in a form that compares bit by bit."""
    if isinstance(value, IndexedSlices):
        return "slices", frozen(value.indices), frozen(value.values)
    if isinstance(value, Tensor):
        return "tensor", frozen(value.numpy()), frozen(value.mask)
    if isinstance(value, np.ndarray):
        return "array", str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {str(key): frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(item) for item in value]
    if isinstance(value, Layer) and any(isinstance(layer, Mine) for layer in value.layers_inside()):
        return [type(layer).__name__ for layer in value.layers_inside()]
    if hasattr(value, "get_config"):
        return type(value).__name__, frozen(value.get_config())
    return repr(value)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def masked(*shape: int) -> Tensor:
    """A sequence whose masks end early, in the middle and nowhere."""
    x = Tensor(normal(*shape))
    x.mask = np.ones(shape[:2], bool)
    x.mask[0, -2:] = x.mask[1, 1] = False
    return x


IDS = np.array([[1, 2, 0, 3, 0], [4, 5, 6, 0, 0]])


class Scaled(Layer):
    """The smallest layer with a weight."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


def input_of(row: str) -> Any:
    if row == "layers.Embedding":
        return IDS
    if row == "layers.AdditiveAttention":
        return [masked(3, 4, 3), masked(3, 5, 3)]
    if row == "layers.Masking":
        return np.repeat(IDS[:, :, None] / 2, 3, axis=2)
    return normal(3, 3) if row.endswith("Cell") else masked(3, 5, 3)


def see_layer(row: str, arguments: dict[str, Any]) -> Any:
    """Name, type, weights; outputs of two calls in inference and in training; whether a Sequential of it is built."""
    cls = Scaled if row == "layers.Layer" else ours(row)
    layer = cls(**made(arguments))
    x = input_of(row)
    seen = [layer.name, layer.dtype, layer.trainable, layer.get_config().get("batch_input_shape")]
    if row == "layers.InputLayer" or row == "layers.Input":
        return [layer.name, layer.batch_shape, layer.data_type]
    try:
        for training in (False, False, True, True):
            states = [np.full((3, n), 0.5) for n in np.atleast_1d(layer.state_size)] if row.endswith("Cell") else []
            seen.append(frozen(layer(x, *[states] * bool(states), training=training)))
    except TypeError as error:
        # float64 reaches the kernels where nothing is cast.
        seen.append(str(error))
    seen += [(w.name.partition("/")[2], w.trainable, frozen(w.numpy())) for w in layer.weights]
    if not row.endswith(("Cell", "Attention")):
        try:
            seen.append(sc.Sequential([cls(**made(arguments))]).built)
        except ValueError as error:
            # input_dim is no shape of a sequence.
            assert "input_dim" in arguments
            seen.append(str(error))
    return seen


def see_loss(row: str, arguments: dict[str, Any]) -> Any:
    loss = ours(row)(**made(arguments)) if row != "losses.Loss" else Halved(**made(arguments))
    x = Tensor(np.random.default_rng(0).uniform(0.1, 0.9, (4, 3, 3)), "float64")
    y = np.eye(3)[[[0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 0, 2]]]
    if "Sparse" in row:
        y = y.argmax(-1)
    with GradientTape() as tape:
        tape.watch(x)
        value = loss(y, x)
    return [loss.name, frozen(value), frozen(tape.gradient(value, x))]


class Halved(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return sc.ops.reduce_sum(y_pred * 0.5, axis=-1)


class Largest(metrics.Metric):
    """The smallest metric."""

    largest = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        self.largest = max(self.largest, float(np.max(np.asarray(y_pred).astype(self.dtype))))

    def result(self) -> float:
        return self.largest

    def reset_state(self) -> None:
        self.largest = 0.0


def see_metric(row: str, arguments: dict[str, Any]) -> Any:
    metric = ours(row)(**made(arguments)) if row != "metrics.Metric" else Largest(**made(arguments))
    p = np.random.default_rng(0).uniform(0.1, 0.9, (3, 3))
    y = np.eye(3)[[0, 2, 1]]
    if row == "metrics.Mean":
        metric.update_state(p)
        return [metric.name, repr(metric.result())]
    if row == "metrics.Accuracy":
        # Equal in float32 alone.
        y, p = p, p.astype("float32").astype("float64")
    if "Sparse" in row:
        y = y.argmax(-1)
    if row in ("metrics.BinaryAccuracy", "metrics.CategoricalAccuracy", "metrics.SparseCategoricalAccuracy"):
        # A tie in float32 alone.
        p[0] = [0.5, 0.5 + 1e-12, 0.1]
    if row.endswith("KCategoricalAccuracy"):
        # Scores and sorted ids at once, and a tie in float32 alone.
        p = np.array([[0.5, 0.5 + 1e-12, 0.5 + 2e-12], [0.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    metric.update_state(y, p)
    return [metric.name, repr(metric.result())]


def see_optimizer(row: str, arguments: dict[str, Any]) -> Any:
    cls = optimizers.SGD if row == "optimizers.Optimizer" else ours(row)
    optimizer = cls(**made(arguments))
    variables = [Variable(normal(4, 3), name="a"), Variable(normal(3, seed=1), name="b")]
    for step in range(3):
        dense = normal(3, seed=3 + step) * 3
        rows = IndexedSlices(normal(2, 3, seed=9 + step), np.array([0, 2 + step % 2]), (4, 3))
        optimizer.apply_gradients([(rows, variables[0]), (dense, variables[1])])
    return [optimizer.name, *(frozen(v.numpy()) for v in variables)]


def see_schedule(row: str, arguments: dict[str, Any]) -> Any:
    schedule = ours(row)(**made(arguments))
    return [schedule.name, [schedule(step) for step in (0, 1, 3, 5, 9, 12, 30)]]


def see_initializer(row: str, arguments: dict[str, Any]) -> Any:
    return frozen(ours(row)(**made(arguments))((4, 6)))


class Hooks(callbacks.Callback):
    """Notes each hook with its number and the names of its logs; the learning rate of each epoch."""

    def __init__(self) -> None:
        self.seen: list[Any] = []


def _noting(name: str) -> Callable[..., None]:
    def hook(self: Hooks, *args: Any, **kwargs: Any) -> None:
        numbers = [a for a in args if isinstance(a, int)]
        self.seen.append((name, numbers, sorted((args[-1] or {}) if args else {})))

    return hook


for _name in [name for name in vars(callbacks.Callback) if name.startswith("on_") and not name.startswith("on_batch")]:
    setattr(Hooks, _name, _noting(_name))


def small_model(compiled: bool = True, dropout: float = 0.0) -> sc.Sequential:
    model = sc.Sequential(
        [layers.Input((5, 3)), layers.LSTM(3, dropout=dropout, name="cell"), layers.Dense(1, name="head")], name="small"
    )
    if compiled:
        model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    return model


X, Y = normal(12, 5, 3).astype("float32"), normal(12, 1, seed=1).astype("float32")


def see_model(row: str, arguments: dict[str, Any]) -> Any:
    """Result, history, weights, hooks, whether something was printed; for a method of Model."""
    name = row.rpartition(".")[2]
    given = made(arguments)
    model = small_model(dropout=0.5 if name == "call" else 0.0)
    hooks = [one for one in given.get("callbacks") or () if isinstance(one, Hooks)]
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        result = getattr(model, name)(**given)
    history = result.history if isinstance(result, callbacks.History) else frozen(result)
    return [history, [frozen(w) for w in model.get_weights()], [one.seen for one in hooks], bool(screen.getvalue())]


def see_compile(row: str, arguments: dict[str, Any]) -> Any:
    model = small_model(compiled=False)
    getattr(model, row.rpartition(".")[2])(**made(arguments))
    logs = model.fit(X, Y, sample_weight=np.arange(12), epochs=2, verbose=0, shuffle=False).history
    return [logs, [frozen(w) for w in model.get_weights()]]


def see_summary(row: str, arguments: dict[str, Any]) -> Any:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        small_model().summary(**made(arguments))
    return screen.getvalue()


def see_structure(row: str, arguments: dict[str, Any]) -> Any:
    """A model after ``add``, ``pop`` or ``build``, or as it was made."""
    name = row.rpartition(".")[2]
    if name in ("Sequential", "Model"):
        model = (sc.Sequential if name == "Sequential" else Sub)(**made(arguments))
    else:
        model = sc.Sequential([layers.LSTM(2, name="cell"), layers.Dense(2, name="head")])
        getattr(model, name)(**made(arguments))
    built = model.built
    if name != "build":
        model(X)
    return [
        built,
        model.dtype,
        "small" in model.name,
        [layer.name for layer in model.layers],
        [(w.shape, w.trainable, w.dtype) for w in model.weights],
    ]


class Sub(sc.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head = layers.Dense(1, dtype=self.dtype)

    def call(self, inputs: Any) -> Any:
        return self.head(inputs)


def see_callback(row: str, arguments: dict[str, Any]) -> Any:
    """Files, screen, history, weights and rates of a fit with the callback; its losses rise from the third epoch on."""
    folder = Path.cwd()
    (folder / "old.csv").write_text("epoch,loss\n9,0.5\n")
    model, screen = small_model(), io.StringIO()
    values = iter([0.9, 0.5, 0.495, 0.7, 0.8, 0.9, 0.95, 1.0])

    class Values(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_loss"] = logs["odd"] = next(values)
            logs["odd"] = -logs["odd"]
            rates.append(self.model.optimizer.learning_rate)

    rates: list[float] = []
    callback = ours(row)(**made(arguments))
    with contextlib.redirect_stdout(screen):
        history = model.fit(X, Y, 4, 8, 0, [Values(), callback], shuffle=False).history
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {name: path.read_bytes() for name, path in files.items()}
    for path in files.values():
        path.unlink()
    return [history, rates, [frozen(w) for w in model.get_weights()], contents, screen.getvalue(), FakeWriter.taken()]


def see_file(row: str, arguments: dict[str, Any]) -> Any:
    """Files written, by name, and what is in them; the model that was read."""
    name = row.rpartition(".")[2]
    model, folder = small_model(), Path("files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model.save(folder / "model")
    model.save_weights(folder / "weights")
    model.compile("sgd", MyLoss())
    model.save(folder / "custom")
    model.set_weights([w + 1 for w in model.get_weights()])
    model.save_weights(folder / "others")
    try:
        result = sc.load_model(**arguments) if name == "load_model" else getattr(model, name)(**arguments)
    except OSError as error:
        return type(error).__name__
    read = result or model
    known = [frozen(w) for w in read.get_weights()], type(read.optimizer).__name__, type(read.loss).__name__
    return [{path.name: path.read_bytes() for path in folder.iterdir()}, known]


class FakeWriter:
    """Stands for tensorboardX, which is an extra."""

    written: list[Any] = []

    def __init__(self, logdir: str, **_: Any) -> None:
        self.folder = Path(logdir)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.written.append((str(self.folder), tag, value, step))

    def flush(self) -> None: ...

    def close(self) -> None: ...

    @classmethod
    def taken(cls) -> list[Any]:
        written, cls.written = cls.written, []
        return written


def see_call(row: str, arguments: dict[str, Any]) -> Any:
    """The result of a function, or of a method of the object that OBJECTS has for the row."""
    function = ours(row)
    if row in OBJECTS:
        target = OBJECTS[row].make()
        name = row.rpartition(".")[2]
        function = target if name in ("call", "__call__") else getattr(target, name)
        return [frozen(function(**made(arguments))), state_of(target)]
    if row in CLASSES:
        function = getattr(CLASSES[row], row.rpartition(".")[2])
    return frozen(function(**made(arguments)))


def see_tape(row: str, arguments: dict[str, Any]) -> Any:
    """Gradients of x * x, twice if the tape allows it; ``tensor``, ``target`` and ``sources`` name x, w and y."""
    name = row.rpartition(".")[2]
    x, w = Tensor(normal(3)), Variable(normal(3, seed=1))
    tape = GradientTape(**(made(arguments) if name == "GradientTape" else {}))
    parts: dict[str, Any] = {"x": x, "w": w}
    given = {key: parts.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()}
    with tape:
        tape.watch(**given) if name == "watch" else tape.watch(x)
        parts["y"], parts["z"] = x * x + w, w * 3.0
    given = {key: parts.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()}
    if name == "gradient":
        return frozen(tape.gradient(**given))
    seen = [frozen(tape.gradient(parts["y"], [x, w]))]
    try:
        seen.append(frozen(tape.gradient(parts["z"], [x, w])))
    except RuntimeError as error:
        seen.append(str(error))
    return seen


def see_config(row: str, arguments: dict[str, Any]) -> Any:
    before = sc.floatx(), sc.dtype_policy()
    try:
        ours(row)(**arguments)
        return [sc.floatx(), sc.dtype_policy(), layers.Dense(1).dtype]
    finally:
        sc.set_floatx(before[0])
        sc.set_dtype_policy(before[1])


def see_callback_list(row: str, arguments: dict[str, Any]) -> Any:
    group = callbacks.CallbackList(**made(arguments))
    return [[type(callback).__name__ for callback in group], [repr(callback.model) for callback in group]]


def state_of(target: Any) -> Any:
    """State that a method may have changed."""
    if isinstance(target, sc.TextVectorization):
        return target.get_vocabulary()
    if isinstance(target, Layer):
        return [(w.name, w.trainable, frozen(w.numpy())) for w in target.weights]
    if isinstance(target, metrics.Metric):
        return target.result(), [variable.name for variable in target.variables]
    if isinstance(target, optimizers.Optimizer):
        return [(v.name, frozen(v.numpy())) for v in target.variables]
    return frozen(target.numpy()) if isinstance(target, Variable) else None


def see_vectorization(row: str, arguments: dict[str, Any]) -> Any:
    vectorize = sc.TextVectorization(**made(arguments))
    if arguments.get("vocabulary") is None:
        vectorize.adapt(TEXTS)
    return [vectorize.name, vectorize.get_vocabulary(), frozen(vectorize(TEXTS))]


TEXTS = ["The cat sat, on the mat!", "a dog", "The Dog", "caf\u00e9".encode()]


def outcome(row: str, arguments: dict[str, Any]) -> Any:
    """The visible results, or the refusal."""
    try:
        return see(row, arguments)
    except (TypeError, ValueError) as error:
        return str(error)


def see(row: str, arguments: dict[str, Any]) -> Any:
    sc.set_seed(3)
    reset_names()
    room, *names = row.split(".")
    kind = inspect.isclass(ours(row))
    if row in SEEN_BY:
        return SEEN_BY[row](row, arguments)
    if names[0] == "schedules":
        return (see_schedule if kind else see_call)(row, arguments)
    if kind or row == "layers.Input":
        return BY_ROOM[room](row, arguments)
    return (see_model if room == "models" else see_call)(row, arguments)


BY_ROOM: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "layers": see_layer,
    "models": see_structure,
    "losses": see_loss,
    "metrics": see_metric,
    "optimizers": see_optimizer,
    "callbacks": see_callback,
    "initializers": see_initializer,
}
SEEN_BY: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "models.Model.compile": see_compile,
    "models.Model.summary": see_summary,
    "models.Model.compile_from_config": see_compile,
    "models.Sequential.add": see_structure,
    "models.Sequential.pop": see_structure,
    "models.Sequential.build": see_structure,
    "tf.GradientTape": see_tape,
    "tf.GradientTape.watch": see_tape,
    "tf.GradientTape.gradient": see_tape,
    "callbacks.CallbackList": see_callback_list,
    "config.set_dtype_policy": see_config,
    "config.set_floatx": see_config,
    "models.Model.load_weights": see_file,
    "models.Model.save": see_file,
    "models.Model.save_weights": see_file,
    "models.load_model": see_file,
    "layers.TextVectorization": see_vectorization,
}


# --- arguments to call with, and another value of each ----------------------------------------------------------------

BASE: dict[str, dict[str, Any]] = {
    "layers.Activation": {"activation": "tanh"},
    "layers.Bidirectional": {"layer": New(lambda: layers.LSTM(3))},
    "layers.Conv1D": {"filters": 4, "kernel_size": 2},
    "layers.Dense": {"units": 4},
    "layers.Dropout": {"rate": 0.5},
    "layers.Embedding": {"input_dim": 7, "output_dim": 4},
    "layers.GRU": {"units": 3},
    "layers.GRUCell": {"units": 3},
    "layers.Input": {"shape": (5, 3)},
    "layers.InputLayer": {"shape": (5, 3)},
    "layers.LSTM": {"units": 3},
    "layers.LSTMCell": {"units": 3},
    "layers.SimpleRNN": {"units": 3},
    "layers.SimpleRNNCell": {"units": 3},
    "layers.TimeDistributed": {"layer": New(lambda: layers.Dense(2))},
    "layers.Layer.add_weight": {"shape": (2, 3)},
    "layers.Layer.build": {"input_shape": (2, 3)},
    "layers.Layer.call": {"inputs": normal(2, 3)},
    "layers.Layer.compute_mask": {"previous_mask": np.ones((2, 3), bool), "inputs": normal(2, 3)},
    "layers.Layer.compute_output_shape": {"input_shape": (2, 3)},
    "layers.Layer.from_config": {"config": {"units": 2}},
    "layers.Layer.set_weights": {"weights": [np.ones((3, 2)), np.ones(2)]},
    "layers.AdditiveAttention.call": {"inputs": [normal(2, 4, 3), normal(2, 5, 3)]},
    "layers.AdditiveAttention.compute_mask": {"inputs": [normal(2, 4, 3)] * 2, "mask": [np.ones((2, 4), bool)] * 2},
    "layers.Bidirectional.from_config": {"config": layers.Bidirectional(layers.GRU(2)).get_config()},
    "layers.Conv1D.call": {"inputs": normal(2, 5, 3)},
    "layers.Dense.call": {"inputs": normal(2, 3)},
    "layers.Dropout.call": {"inputs": normal(2, 3)},
    "layers.Embedding.build": {},
    "layers.Embedding.compute_mask": {"inputs": IDS},
    "layers.GlobalAveragePooling1D.call": {"inputs": normal(2, 5, 3)},
    "layers.GlobalAveragePooling1D.compute_mask": {"inputs": normal(2, 5, 3)},
    "layers.LayerNormalization.call": {"inputs": normal(2, 3)},
    "layers.Masking.call": {"inputs": normal(2, 5, 3)},
    "layers.Masking.compute_mask": {"inputs": normal(2, 5, 3)},
    "layers.Softmax.call": {"inputs": normal(2, 3)},
    "layers.TimeDistributed.call": {"inputs": normal(2, 5, 3)},
    "layers.TimeDistributed.from_config": {"config": layers.TimeDistributed(layers.Dense(2)).get_config()},
    "layers.TextVectorization": {},
    "layers.TextVectorization.adapt": {"data": TEXTS},
    "layers.TextVectorization.get_vocabulary": {},
    "layers.TextVectorization.set_vocabulary": {"vocabulary": ["cat", "dog"]},
    "models.Model": {},
    "models.Model.compile": {"optimizer": "sgd", "loss": "mse"},
    "models.Model.compile_from_config": {"config": New(lambda: small_model().get_compile_config())},
    "models.Model.compute_loss": {"x": X, "y": Y, "y_pred": Tensor(Y + 2)},
    "models.Model.compute_metrics": {"x": X, "y": Y, "y_pred": Tensor(Y + 2)},
    "models.Model.predict_step": {"data": X},
    "models.Model.test_step": {"data": (X, Y)},
    "models.Model.train_step": {"data": (X, Y)},
    "models.Model.evaluate": {"x": X, "y": Y, "verbose": 0, "callbacks": New(lambda: [Hooks()])},
    "models.Model.fit": {"x": X, "y": Y, "verbose": 0, "callbacks": New(lambda: [Hooks()])},
    "models.Model.from_config": {"config": New(lambda: small_model(compiled=False).get_config())},
    "models.Model.get_layer": {"name": "cell"},
    "models.Model.load_weights": {"filepath": "files/weights"},
    "models.Model.save": {"filepath": "files/model"},
    "models.Model.save_weights": {"filepath": "files/weights"},
    "models.load_model": {"filepath": "files/model"},
    "models.Model.predict": {"x": X, "verbose": 0, "callbacks": New(lambda: [Hooks()])},
    "models.Model.predict_on_batch": {"x": X},
    "models.Model.test_on_batch": {"x": X, "y": Y},
    "models.Model.train_on_batch": {"x": X, "y": Y},
    "models.Sequential": {"layers": New(lambda: [layers.Dense(2, name="head")]), "name": "small"},
    "models.Sequential.add": {"layer": New(lambda: layers.Dense(1, name="last"))},
    "models.Sequential.build": {"input_shape": (None, 5, 4)},
    "models.Sequential.call": {"inputs": X},
    "losses.Loss.__call__": {"y_true": np.eye(3), "y_pred": np.full((3, 3), 0.3)},
    "losses.Loss.call": {"y_true": np.eye(3), "y_pred": np.full((3, 3), 0.3)},
    "losses.Loss.from_config": {"config": {"from_logits": True}},
    "losses.binary_crossentropy": {"y_true": np.eye(3), "y_pred": np.full((3, 3), 0.3)},
    "losses.categorical_crossentropy": {"y_true": np.eye(3), "y_pred": np.full((3, 3), 0.3)},
    "losses.mean_squared_error": {"y_true": np.eye(3), "y_pred": np.full((3, 3), 0.3)},
    "losses.sparse_categorical_crossentropy": {"y_true": [0, 1, 2], "y_pred": normal(3, 3, seed=4) ** 2},
    "losses.deserialize": {"name": losses.serialize(losses.MeanSquaredError())},
    "losses.get": {"identifier": "mse"},
    "losses.serialize": {"loss": losses.MeanSquaredError()},
    "metrics.Metric.add_variable": {"shape": (2, 3), "initializer": "zeros"},
    "metrics.Metric.from_config": {"config": {"threshold": 0.4}},
    "metrics.Metric.update_state": {"y_true": normal(3, 2), "y_pred": normal(3, 2, seed=1)},
    "metrics.Mean.update_state": {"values": normal(3)},
    "metrics.MeanMetricWrapper": {"fn": losses.mean_squared_error},
    "metrics.SparseTopKCategoricalAccuracy": {"k": 2},
    "metrics.TopKCategoricalAccuracy": {"k": 2},
    "metrics.deserialize": {"config": metrics.serialize(metrics.MeanSquaredError())},
    "metrics.get": {"identifier": "mse"},
    "metrics.serialize": {"metric": metrics.MeanSquaredError()},
    "optimizers.Optimizer": {"learning_rate": 0.1},
    "optimizers.Optimizer.apply": {"grads": [np.ones(2, "float32")]},
    "optimizers.Optimizer.apply_gradients": {"grads_and_vars": New(lambda: [(np.ones(2), Variable(np.ones(2)))])},
    "optimizers.Optimizer.build": {"variables": New(lambda: [Variable(np.ones(2), name="v")])},
    "optimizers.Optimizer.from_config": {"config": {"learning_rate": 0.1}},
    "optimizers.deserialize": {"config": optimizers.serialize(optimizers.SGD())},
    "optimizers.get": {"identifier": "sgd"},
    "optimizers.serialize": {"optimizer": New(optimizers.SGD)},
    "optimizers.schedules.CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": 10},
    "optimizers.schedules.ExponentialDecay": {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5},
    "optimizers.schedules.InverseTimeDecay": {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5},
    "optimizers.schedules.PiecewiseConstantDecay": {"boundaries": [4, 8], "values": [0.3, 0.2, 0.1]},
    "optimizers.schedules.PolynomialDecay": {"initial_learning_rate": 0.5, "decay_steps": 10},
    "optimizers.schedules.LearningRateSchedule.__call__": {"step": 3},
    "optimizers.schedules.LearningRateSchedule.from_config": {
        "config": {"initial_learning_rate": 0.5, "decay_steps": 10}
    },
    "optimizers.schedules.deserialize": {"config": schedules.serialize(schedules.CosineDecay(0.5, 10))},
    "optimizers.schedules.serialize": {"learning_rate_schedule": schedules.CosineDecay(0.5, 10)},
    "callbacks.BackupAndRestore": {"backup_dir": "backup", "delete_checkpoint": False},
    "callbacks.CSVLogger": {"filename": "log.csv"},
    "callbacks.LearningRateScheduler": {"schedule": lambda epoch: 0.1 / (1 + epoch)},
    "callbacks.ModelCheckpoint": {"filepath": "model-{epoch}"},
    "callbacks.ReduceLROnPlateau": {"patience": 1},
    "initializers.Initializer.__call__": {"shape": (2, 3)},
    "initializers.Initializer.from_config": {"config": {"value": 2.0}},
    "initializers.get": {"identifier": "ones"},
    "initializers.serialize": {"initializer": sc.initializers.Ones()},
    "config.set_dtype_policy": {"policy": "float64"},
    "config.set_floatx": {"value": "float64"},
    "utils.pad_sequences": {"sequences": [[1, 2, 3], [4]]},
    "utils.to_categorical": {"x": [0, 2, 1]},
    "ops.cast": {"x": normal(3), "dtype": "float64"},
    "ops.clip": {"x": normal(3), "x_min": -0.1, "x_max": 0.1},
    "ops.elu": {"x": normal(2, 3)},
    "ops.expand_dims": {"x": normal(3), "axis": 0},
    "ops.gelu": {"x": normal(2, 3)},
    "ops.leaky_relu": {"x": normal(2, 3)},
    "ops.ones": {"shape": (2, 3)},
    "ops.reshape": {"newshape": (6,), "x": normal(2, 3)},
    "ops.stack": {"x": [normal(3), normal(3)]},
    "ops.squeeze": {"x": normal(1, 3, 1)},
    "ops.where": {"condition": [True, False, True], "x1": normal(3), "x2": normal(3, seed=1)},
    "ops.zeros": {"shape": (2, 3)},
}
for _name in ("GRU", "LSTM", "SimpleRNN", "Bidirectional"):
    BASE[f"layers.{_name}.build"] = {"sequences_shape": (None, 5, 3)}
    BASE[f"layers.{_name}.call"] = {"sequences": normal(2, 5, 3)}
    BASE[f"layers.{_name}.compute_mask"] = {"_": normal(2, 5, 3), "mask": np.ones((2, 5), bool)}
    BASE[f"layers.{_name}.compute_output_shape"] = {"sequences_shape": (None, 5, 3)}
    BASE[f"layers.{_name}.get_initial_state"] = {"batch_size": 2}
    BASE[f"layers.{_name}Cell.call"] = {
        "sequence" if _name == "SimpleRNN" else "inputs": normal(2, 3),
        "states": [np.ones((2, 3), "float32")] * (2 if _name == "LSTM" else 1),
    }
    BASE[f"layers.{_name}Cell.get_initial_state"] = {"batch_size": 2}
for _name in ("Adagrad", "Adam", "RMSprop"):
    BASE[f"optimizers.{_name}.build"] = {"var_list": New(lambda: [Variable(np.ones(2), name="v")])}
for _row, _signature in KERAS.items():
    if _row.startswith("ops."):
        BASE.setdefault(_row, {})
        for _name in ("x", "x1", "x2"):
            if _name in _signature.parameters:
                BASE[_row].setdefault(_name, np.abs(normal(3, 3, seed=len(_name))))

_WEIGHTS = {
    "weights": normal(20, 4),
    "biases": normal(20, seed=1),
    "labels": [[3], [7]],
    "inputs": normal(2, 4, seed=2),
}
_SAMPLER = {"true_classes": [[1], [3]], "num_true": 1, "num_sampled": 4, "unique": True, "range_max": 9}
BASE |= {
    "tf.GradientTape": {},
    "tf.GradientTape.watch": {"tensor": "x"},
    "tf.GradientTape.gradient": {"target": "y", "sources": "x"},
    "tf.Variable.assign": {"value": np.ones(2)},
    "tf.Variable.assign_add": {"delta": np.ones(2)},
    "tf.Variable.assign_sub": {"delta": np.ones(2)},
    "tf.clip_by_global_norm": {"t_list": [normal(3), normal(2)], "clip_norm": 0.5},
    "tf.clip_by_norm": {"t": normal(3), "clip_norm": 0.5},
    "tf.clip_by_value": {"t": normal(3), "clip_value_min": -0.1, "clip_value_max": 0.1},
    "tf.global_norm": {"t_list": [normal(3), normal(2)]},
    "tf.nce_loss": {**_WEIGHTS, "num_sampled": 4, "num_classes": 20},
    "tf.sampled_softmax_loss": {**_WEIGHTS, "num_sampled": 4, "num_classes": 20},
    "tf.sampling.fixed_unigram_candidate_sampler": {**_SAMPLER, "unigrams": [9, 8, 7, 6, 5, 4, 3, 2, 1]},
    "tf.sampling.log_uniform_candidate_sampler": _SAMPLER,
    "tf.sampling.uniform_candidate_sampler": _SAMPLER,
    "tf.sampling.compute_accidental_hits": {
        "true_classes": [[1], [3]], "sampled_candidates": [3, 1, 2], "num_true": 1,
    },
}  # fmt: skip


def built_dense() -> layers.Dense:
    layer = layers.Dense(2)
    layer(normal(2, 3))
    return layer


# The class of a base's class method.
CLASSES: dict[str, Any] = {
    "layers.Layer.from_config": layers.Dense,
    "losses.Loss.from_config": losses.BinaryCrossentropy,
    "metrics.Metric.from_config": metrics.BinaryAccuracy,
    "optimizers.Optimizer.from_config": optimizers.SGD,
    "optimizers.schedules.LearningRateSchedule.from_config": schedules.CosineDecay,
    "initializers.Initializer.from_config": sc.initializers.Constant,
}

# What a method is called on.
OBJECTS: dict[str, New] = {
    "layers.Layer.add_weight": New(Scaled),
    "layers.Layer.build": New(Scaled),
    "layers.Layer.call": New(Scaled),
    "layers.Layer.compute_mask": New(lambda: layers.Dense(2)),
    "layers.Layer.compute_output_shape": New(lambda: layers.Dense(2)),
    "layers.Layer.set_weights": New(built_dense),
    "layers.AdditiveAttention.call": New(lambda: layers.AdditiveAttention(dropout=0.5)),
    "layers.AdditiveAttention.compute_mask": New(layers.AdditiveAttention),
    "layers.Conv1D.call": New(lambda: layers.Conv1D(2, 3)),
    "layers.Dense.call": New(lambda: layers.Dense(2)),
    "layers.Dropout.call": New(lambda: layers.Dropout(0.5)),
    "layers.LayerNormalization.call": New(layers.LayerNormalization),
    "layers.Masking.call": New(layers.Masking),
    "layers.Masking.compute_mask": New(layers.Masking),
    "layers.Embedding.build": New(lambda: layers.Embedding(7, 2)),
    "layers.Embedding.compute_mask": New(lambda: layers.Embedding(7, 2, mask_zero=True)),
    "layers.GlobalAveragePooling1D.call": New(layers.GlobalAveragePooling1D),
    "layers.GlobalAveragePooling1D.compute_mask": New(layers.GlobalAveragePooling1D),
    "layers.Softmax.call": New(layers.Softmax),
    "layers.TimeDistributed.call": New(lambda: layers.TimeDistributed(layers.Dropout(0.5))),
    "layers.TextVectorization.adapt": New(sc.TextVectorization),
    "layers.TextVectorization.get_vocabulary": New(lambda: sc.TextVectorization(vocabulary=["cat", "dog"])),
    "layers.TextVectorization.set_vocabulary": New(sc.TextVectorization),
    "losses.Loss.__call__": New(losses.MeanSquaredError),
    "losses.Loss.call": New(losses.MeanSquaredError),
    "metrics.Metric.add_variable": New(metrics.MeanSquaredError),
    "metrics.Metric.add_weight": New(metrics.MeanSquaredError),
    "metrics.Metric.update_state": New(metrics.MeanSquaredError),
    "metrics.Mean.update_state": New(metrics.Mean),
    "optimizers.Optimizer.apply_gradients": New(optimizers.SGD),
    "optimizers.Optimizer.build": New(optimizers.SGD),
    "optimizers.schedules.LearningRateSchedule.__call__": New(lambda: schedules.CosineDecay(0.5, 10)),
    "initializers.Initializer.__call__": New(lambda: sc.initializers.Constant(2.0)),
}
for _name, _make in {
    "GRU": lambda: layers.GRU(3, dropout=0.5, return_sequences=True),
    "LSTM": lambda: layers.LSTM(3, dropout=0.5, return_sequences=True),
    "SimpleRNN": lambda: layers.SimpleRNN(3, dropout=0.5, return_sequences=True),
    "Bidirectional": lambda: layers.Bidirectional(layers.GRU(3, dropout=0.5, return_sequences=True)),
}.items():
    for _method in ("build", "call", "compute_mask", "compute_output_shape", "get_initial_state"):
        OBJECTS[f"layers.{_name}.{_method}"] = New(_make)
for _name, _make in {
    "GRUCell": lambda: layers.GRUCell(3, dropout=0.5),
    "LSTMCell": lambda: layers.LSTMCell(3, dropout=0.5),
    "SimpleRNNCell": lambda: layers.SimpleRNNCell(3, dropout=0.5),
}.items():
    OBJECTS[f"layers.{_name}.call"] = OBJECTS[f"layers.{_name}.get_initial_state"] = New(_make)
for _name in ("Adagrad", "Adam", "RMSprop"):
    OBJECTS[f"optimizers.{_name}.build"] = New(getattr(optimizers, _name))
for _name in ("assign", "assign_add", "assign_sub"):
    OBJECTS[f"tf.Variable.{_name}"] = New(lambda: Variable(np.zeros(2, "float32")))


def _optimizer_of_one() -> optimizers.SGD:
    optimizer = optimizers.SGD()
    optimizer.build([Variable(np.ones(2, "float32"), name="v")])
    return optimizer


OBJECTS["optimizers.Optimizer.apply"] = New(_optimizer_of_one)

_MASK = np.array([[True, True, False, True, False], [True, False, True, True, True]])


class Mine(layers.GRU):
    """A class that only custom_objects can name."""


MINE = {"class_name": "Mine", "config": {"units": 2, "name": "mine"}}


class MyLoss(losses.MeanSquaredError): ...


class MyMetric(metrics.MeanSquaredError): ...


class MySGD(optimizers.SGD): ...


class MyDecay(schedules.CosineDecay): ...


# Another value of each argument that is honoured: by row and name, by room and name, or by name.
OTHER: dict[str, Any] = {
    # layers
    "activation": "sigmoid",
    "autocast": False,
    "backward_layer": New(lambda: layers.GRU(3, go_backwards=True)),
    "batch_shape": together((2, 5, 4), shape=None),
    "batch_size": 3,
    "beta_initializer": "ones",
    "bias_initializer": "ones",
    "center": False,
    "dilation_rate": 2,
    "dropout": 0.25,
    "layers.dtype": "float64",
    "layers.Input.dtype": "int32",
    "layers.InputLayer.dtype": "int32",
    "embeddings_initializer": "ones",
    "filters": 3,
    "gamma_initializer": "zeros",
    "go_backwards": True,
    "input_dim": 3,
    "input_shape": (5, 3),
    "input_length": 5,
    "kernel_initializer": "ones",
    "keepdims": True,
    "kernel_size": 3,
    "layer": New(lambda: layers.GRU(2)),
    "layers.TimeDistributed.layer": New(lambda: layers.Dense(3)),
    "mask_zero": True,
    "max_value": 0.5,
    "merge_mode": "sum",
    "name": "another",
    "negative_slope": 0.5,
    "noise_shape": (3, 1, 3),
    "output_dim": 5,
    "layers.padding": "same",
    "layers.Embedding.input_dim": 9,
    "rate": 0.25,
    "recurrent_activation": "hard_sigmoid",
    "recurrent_dropout": 0.25,
    "recurrent_initializer": "zeros",
    "reset_after": False,
    "return_sequences": True,
    "return_state": True,
    "layers.seed": together(7, dropout=0.5),
    "layers.Dropout.seed": 7,
    "shape": (5, 4),
    "stateful": True,
    "strides": 2,
    "threshold": 0.5,
    "trainable": False,
    "unit_forget_bias": False,
    "units": 2,
    "use_bias": False,
    "use_scale": False,
    "layers.LayerNormalization.scale": False,
    "layers.Masking.mask_value": 0.5,
    "layers.Softmax.axis": 1,
    "layers.Bidirectional.weights": New(lambda: [np.zeros_like(w) for w in built_pair()]),
    "layers.Embedding.weights": np.arange(28.0).reshape(7, 4),
    "zero_output_for_mask": together(True, return_sequences=True),
    # methods of layers
    "layers.Layer.add_weight.shape": (3,),
    "layers.Layer.add_weight.initializer": "ones",
    "layers.Layer.add_weight.name": "mine",
    "layers.Layer.build.input_shape": (2, 4),
    "layers.Layer.compute_mask.previous_mask": np.zeros((2, 3), bool),
    "layers.Layer.compute_output_shape.input_shape": (2, 4, 3),
    "layers.Layer.set_weights.weights": [np.zeros((3, 2)), np.ones(2)],
    "layers.AdditiveAttention.call.inputs": [normal(2, 4, 3, seed=5), normal(2, 5, 3)],
    "layers.AdditiveAttention.call.mask": [np.ones((2, 4), bool), _MASK],
    "return_attention_scores": True,
    "use_causal_mask": True,
    "training": True,
    "sequences": normal(2, 5, 3, seed=5),
    "sequences_shape": (None, 4, 2),
    "sequence": normal(2, 3, seed=5),
    "layers.inputs": normal(2, 3, seed=5),
    "layers.Conv1D.call.inputs": normal(2, 5, 3, seed=5),
    "layers.TimeDistributed.call.inputs": normal(2, 5, 3, seed=5),
    "layers.GlobalAveragePooling1D.call.inputs": normal(2, 5, 3, seed=5),
    "layers.Masking.call.inputs": normal(2, 5, 3, seed=5),
    "layers.Masking.compute_mask.inputs": np.zeros((2, 5, 3)),
    "layers.mask": _MASK,
    "layers.Softmax.call.mask": np.array([[True, True, False], [True, False, True]]),
    "layers.Embedding.compute_mask.inputs": IDS + 1,
    "layers.get_initial_state.batch_size": 3,
    "layers.config": {"units": 3},
    "layers.AdditiveAttention.compute_mask.mask": [_MASK[:, :4], np.ones((2, 4), bool)],
    "layers.Bidirectional.from_config.config": layers.Bidirectional(layers.GRU(3)).get_config(),
    "layers.TimeDistributed.from_config.config": layers.TimeDistributed(layers.Dense(3)).get_config(),
    "layers.TextVectorization.name": "another",
    "data": ["one two", "two"],
    "encoding": "latin-1",
    "include_special_tokens": False,
    "layers.vocabulary": ["mat", "cat"],
    "max_tokens": 4,
    "output_sequence_length": 2,
    "split": "character",
    "standardize": "lower",
}
for _name, _count in {"GRU": 1, "LSTM": 2, "SimpleRNN": 1, "Bidirectional": 2}.items():
    OTHER[f"layers.{_name}.call.initial_state"] = [np.ones((2, 3), "float32")] * _count
    OTHER[f"layers.{_name}.compute_mask.mask"] = _MASK
    OTHER[f"layers.{_name}.get_initial_state.batch_size"] = 3
    OTHER[f"layers.{_name}Cell.get_initial_state.batch_size"] = 3
    OTHER[f"layers.{_name}Cell.call.states"] = [np.zeros((2, 3), "float32")] * _count


def compile_config_of(optimizer: str) -> Any:
    model = small_model(compiled=False)
    model.compile(optimizer, "mse")
    return model.get_compile_config()


def built_pair() -> list[np.ndarray]:
    pair = layers.Bidirectional(layers.LSTM(3))
    pair(normal(2, 5, 3))
    return pair.get_weights()


OTHER |= {
    # models
    "models.Model.dtype": "float64",
    "models.layers": New(lambda: [layers.Dense(3, name="head")]),
    "models.name": "small",
    "models.Sequential.name": "other",
    "models.layer": New(lambda: layers.Dense(3, name="last")),
    "models.build.input_shape": (None, 5, 2),
    "models.Sequential.build.input_shape": (None, 5, 2),
    "models.Sequential.call.inputs": X[:, ::-1],
    "models.Sequential.call.mask": np.arange(5) < np.arange(12)[:, None] % 5 + 1,
    "models.batch_size": 5,
    "models.filepath": "files/others",
    "models.load_model.filepath": together("files/custom", custom_objects={"MyLoss": MyLoss}),
    "overwrite": False,
    "models.data": (X[:, ::-1], Y),
    "models.y_pred": Tensor(Y - 3),
    "models.Model.compile_from_config.config": New(lambda: compile_config_of("adam")),
    "models.load_model.compile": False,
    "models.load_model.custom_objects": together({"MyLoss": MyLoss}, filepath="files/custom"),
    "models.custom_objects": together({"Mine": Mine}, config={"layers": [MINE], "name": "small"}),
    "layers.custom_objects": together({"Mine": Mine}, config={"layer": MINE}),
    "models.callbacks": [],
    "class_weight": together({0: 2.0, 1: 0.5}, y=(Y > 0).astype(int)),
    "epochs": 2,
    "initial_epoch": together(1, epochs=2),
    "models.loss": "binary_crossentropy",
    "models.metrics": ["mae"],
    "optimizer": "adam",
    "print_fn": lambda line: None,
    "return_dict": True,
    "models.sample_weight": np.arange(12.0),
    "shuffle": together(False, batch_size=5),
    "models.steps": together(1, batch_size=5),
    "steps_per_epoch": together(1, batch_size=5),
    "validation_batch_size": together(2, validation_data=(X[:5], Y[:5])),
    "validation_data": (X[:5], Y[:5]),
    "validation_freq": together(2, validation_data=(X[:5], Y[:5]), epochs=2),
    "validation_split": 0.25,
    "validation_steps": together(1, validation_data=(X[:5], Y[:5]), validation_batch_size=2),
    "models.verbose": 2,
    "weighted_metrics": ["mae"],
    "models.x": X[:, ::-1],
    "models.y": Y + 1,
    "models.Model.get_layer.name": "head",
    "models.Model.get_layer.index": together(1, name=None),
    "models.config": New(lambda: sc.Sequential([layers.Dense(2)]).get_config()),
    # losses and metrics
    "losses.axis": 1,
    "losses.BinaryCrossentropy.axis": together(0, reduction="sum"),
    "losses.dtype": "float32",
    "from_logits": True,
    "ignore_class": 1,
    "label_smoothing": 0.1,
    "reduction": "sum",
    "sample_weight": [1.0, 2.0, 3.0],
    "losses.Loss.__call__.sample_weight": [1.0, 2.0, 4.0],
    "y_true": 1 - np.eye(3),
    "y_pred": np.full((3, 3), 0.6),
    "losses.sparse_categorical_crossentropy.y_true": [0, 0, 1],
    "losses.sparse_categorical_crossentropy.y_pred": normal(3, 3) ** 2,
    "losses.categorical_crossentropy.y_pred": normal(3, 3) ** 2,
    "losses.binary_crossentropy.axis": together(0, y_pred=normal(3, 3) ** 2),
    "losses.categorical_crossentropy.axis": together(0, y_pred=normal(3, 3) ** 2),
    "losses.sparse_categorical_crossentropy.axis": together(0, y_pred=normal(3, 3) ** 2),
    "losses.deserialize.name": losses.serialize(losses.BinaryCrossentropy()),
    "losses.deserialize.custom_objects": together(
        {"MyLoss": MyLoss}, name={"class_name": "MyLoss", "config": {"name": "m"}}
    ),
    "losses.config": {"from_logits": False},
    "identifier": "binary_crossentropy",
    "loss": losses.BinaryCrossentropy(),
    "metrics.axis": 0,
    "metrics.dtype": "float32",
    "metrics.threshold": 0.3,
    "k": 1,
    "from_sorted_ids": True,
    "fn": losses.binary_crossentropy,
    "values": normal(4, seed=5),
    "metrics.Mean.update_state.sample_weight": [1.0, 2.0, 4.0],
    "metrics.Metric.update_state.y_true": normal(3, 2, seed=5),
    "metrics.Metric.update_state.y_pred": normal(3, 2, seed=5),
    "metrics.Metric.add_variable.initializer": "ones",
    "metrics.Metric.add_variable.dtype": "float64",
    "metrics.Metric.add_weight.initializer": "ones",
    "metrics.Metric.add_weight.dtype": "float64",
    "metrics.Metric.from_config.config": {"threshold": 0.2},
    "metrics.deserialize.config": metrics.serialize(metrics.BinaryAccuracy()),
    "metrics.deserialize.custom_objects": together({"MyMetric": MyMetric}, config={"class_name": "MyMetric"}),
    "metric": metrics.BinaryAccuracy(),
    # optimizers and schedules
    "amsgrad": True,
    "beta_1": 0.5,
    "beta_2": 0.5,
    "centered": True,
    "clipnorm": 0.5,
    "clipvalue": 0.1,
    "epsilon": 0.1,
    "global_clipnorm": 0.5,
    "initial_accumulator_value": 0.5,
    "learning_rate": 0.2,
    "momentum": 0.5,
    "nesterov": together(True, momentum=0.5),
    "rho": 0.5,
    "weight_decay": 0.1,
    "grads": [np.zeros(2, "float32")],
    "trainable_variables": New(lambda: [Variable(np.ones(2, "float32"), name="given")]),
    "grads_and_vars": New(lambda: [(np.ones(2), Variable(np.zeros(2)))]),
    "variables": New(lambda: [Variable(np.ones(2), name="u")]),
    "var_list": New(lambda: [Variable(np.ones(2), name="u")]),
    "optimizers.Optimizer.from_config.config": {"learning_rate": 0.2},
    "optimizers.Optimizer.from_config.custom_objects": together(
        {"MyDecay": MyDecay}, config={"learning_rate": schedules.serialize(MyDecay(0.5, 10))}
    ),
    "optimizers.deserialize.config": optimizers.serialize(optimizers.Adam()),
    "optimizers.deserialize.custom_objects": together({"MySGD": MySGD}, config={"class_name": "MySGD"}),
    "optimizers.get.identifier": "adam",
    "optimizers.serialize.optimizer": New(optimizers.Adam),
    "alpha": 0.1,
    "boundaries": [2, 8],
    "cycle": True,
    "decay_rate": 0.25,
    "decay_steps": 8,
    "end_learning_rate": 0.2,
    "initial_learning_rate": 1.0,
    "power": 2.0,
    "staircase": True,
    "step": 5,
    "optimizers.schedules.PiecewiseConstantDecay.values": [0.3, 0.1, 0.0],
    "warmup_steps": together(3, warmup_target=1.0),
    "warmup_target": together(1.0, warmup_steps=3),
    "optimizers.schedules.LearningRateSchedule.from_config.config": {"initial_learning_rate": 0.4, "decay_steps": 10},
    "optimizers.schedules.deserialize.config": schedules.serialize(schedules.CosineDecay(0.4, 10)),
    "optimizers.schedules.deserialize.custom_objects": together(
        {"MyDecay": MyDecay}, config=schedules.serialize(MyDecay(0.5, 10))
    ),
    "learning_rate_schedule": schedules.CosineDecay(0.4, 10),
    # callbacks
    "append": together(True, filename="old.csv"),
    "backup_dir": "elsewhere",
    "delete_checkpoint": True,
    "filename": "other.csv",
    "separator": ";",
    "callbacks.callbacks": New(lambda: [callbacks.History()]),
    "add_history": True,
    "model": together("a model", add_history=True),
    "baseline": together(0.1, patience=5),
    "min_delta": together(0.01, patience=1),
    "callbacks.mode": "max",
    "callbacks.monitor": together("odd", mode="min"),
    "patience": 2,
    "restore_best_weights": True,
    "start_from_epoch": 5,
    "callbacks.verbose": 1,
    "callbacks.schedule": lambda epoch: 0.2,
    "filepath": "other-{epoch}",
    "initial_value_threshold": together(0.495, save_best_only=True),
    "save_best_only": True,
    "save_freq": 2,
    "save_weights_only": True,
    "callbacks.ModelCheckpoint.monitor": together("odd", save_best_only=True, mode="min"),
    "callbacks.ModelCheckpoint.mode": together("max", save_best_only=True),
    "cooldown": 2,
    "factor": 0.5,
    "min_lr": 0.005,
    "callbacks.ReduceLROnPlateau.min_delta": 0.2,
    "callbacks.ReduceLROnPlateau.patience": 3,
    "log_dir": "elsewhere",
    "update_freq": "batch",
    # initializers
    "distribution": "uniform",
    "gain": 2.0,
    "maxval": 0.2,
    "mean": 1.0,
    "minval": -0.2,
    "initializers.mode": "fan_out",
    "scale": 2.0,
    "initializers.seed": 7,
    "stddev": 0.2,
    "value": 3.0,
    "initializers.dtype": "float64",
    "initializers.shape": (3, 3),
    "initializers.config": {"value": 3.0},
    "initializers.get.identifier": "zeros",
    "initializer": sc.initializers.Zeros(),
    # settings, utils and operations
    "policy": "float32",
    "config.value": "float32",
    "utils.pad_sequences.dtype": "float32",
    "maxlen": 2,
    "padding": "post",
    "utils.sequences": [[1, 2]],
    "truncating": together("post", maxlen=2),
    "utils.pad_sequences.value": 9,
    "utils.x": [0, 1],
    "num_classes": 5,
    "ops.axis": 0,
    "ops.elu.alpha": 0.5,
    "ops.gelu.approximate": False,
    "ops.unstack.axis": 1,
    "ops.unstack.num": 3,
    "ops.ones_like.x": normal(2),
    "ops.zeros_like.x": normal(2),
    "ops.argmax.keepdims": True,
    "ops.argmax.axis": 0,
    "ops.expand_dims.axis": 1,
    "ops.squeeze.axis": 0,
    "ops.stack.axis": 1,
    "ops.stack.x": [normal(2), normal(2)],
    "ops.axes": (0, 1),
    "condition": [False, False, True],
    "ops.dtype": "int32",
    "newshape": (3, 2),
    "ops.x_min": -0.5,
    "ops.x_max": 0.5,
    "ops.x": np.abs(normal(3, 3, seed=8)),
    "ops.x1": np.abs(normal(3, 3, seed=8)),
    "ops.x2": np.abs(normal(3, 3, seed=8)),
    "ops.where.x1": normal(3, seed=8),
    "ops.where.x2": normal(3, seed=8),
    "ops.reshape.x": normal(3, 2, seed=8),
    "ops.squeeze.x": normal(1, 2, 1),
    "ops.shape": (3, 2),
    # TensorFlow
    "persistent": True,
    "tensor": "w",
    "target": "z",
    "sources": "w",
    "output_gradients": normal(3, seed=5),
    "unconnected_gradients": together("zero", target="z"),
    "tf.Variable.assign.value": np.full(2, 2.0),
    "delta": np.full(2, 2.0),
    "t": normal(3, seed=5),
    "t_list": [normal(3, seed=5)],
    "clip_norm": 0.25,
    "use_norm": 9.0,
    "clip_value_min": -0.05,
    "clip_value_max": 0.05,
    "tf.weights": normal(20, 4, seed=5),
    "biases": normal(20, seed=5),
    "labels": [[4], [5]],
    "tf.inputs": normal(2, 4, seed=5),
    "num_sampled": 6,
    "tf.num_classes": together(19, weights=normal(19, 4), biases=normal(19)),
    "num_true": together(2, labels=[[3, 4], [7, 8]]),
    "sampled_values": New(lambda: sc.sampling.uniform_candidate_sampler([[3], [7]], 1, 4, True, 20, seed=5)),
    "remove_accidental_hits": together(True, num_sampled=15),
    "tf.sampled_softmax_loss.remove_accidental_hits": together(False, num_sampled=15),
    "tf.seed": 11,
    "true_classes": [[2], [8]],
    "tf.sampling.uniform_candidate_sampler.true_classes": [[1], [3], [5]],
    "tf.sampling.compute_accidental_hits.true_classes": [[2], [9]],
    "tf.sampling.compute_accidental_hits.num_true": together(2, true_classes=[[1, 2], [3, 4]]),
    "unique": together(False, num_sampled=8),
    "range_max": 8,
    "tf.sampling.fixed_unigram_candidate_sampler.range_max": together(8, unigrams=[9, 8, 7, 6, 5, 4, 3, 2]),
    "distortion": 0.5,
    "unigrams": [1, 2, 3, 4, 5, 6, 7, 8, 9],
    "sampled_candidates": [1, 1],
}
for _name in ("fixed_unigram", "log_uniform", "uniform"):
    OTHER[f"tf.sampling.{_name}_candidate_sampler.num_true"] = together(2, true_classes=[[1, 2], [3, 4]])


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=FakeWriter))


def by_our_names(row: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {found_in(table.BY_POSITION, row, key) or key: value for key, value in arguments.items()}


@pytest.mark.parametrize("row", [row for row in ROWS if tried(row) and arguments_of(row)])
def test_keras_defaults_by_name_change_nothing(row: str) -> None:
    base = BASE.get(row, {})
    given = {a.name: a.default for a in arguments_of(row) if a.default is not REQUIRED and a.word != "refused"}
    assert not {a.name for a in arguments_of(row) if a.default is REQUIRED} - base.keys()
    assert see(row, by_our_names(row, {**given, **base})) == see(row, by_our_names(row, base))


@pytest.mark.parametrize("argument", [a for a in of("honoured", "by_position") if tried(a.values[0].row)])
def test_an_honoured_argument_changes_what_is_seen(argument: Argument) -> None:
    row, name = argument.row, argument.name
    other = found_in(OTHER, row, name)
    assert other is not None, "no other value to try"
    base = {**BASE.get(row, {}), **(other.others if isinstance(other, With) else {})}
    value = other.value if isinstance(other, With) else other
    changed = see(row, by_our_names(row, {**base, name: value}))
    assert changed != outcome(row, by_our_names(row, base))


@pytest.mark.parametrize("argument", of("no_effect"))
def test_an_argument_without_effect_is_accepted(argument: Argument) -> None:
    row, name = argument.row, argument.name
    other = found_in(OTHER, row, name)
    if other is None:
        other = not argument.default
    base = BASE.get(row, {})
    assert see(row, by_our_names(row, {**base, name: other})) == see(row, by_our_names(row, base))


@pytest.mark.parametrize("argument", of("default_only", "refused"))
def test_anything_but_the_default_is_refused_by_name(argument: Argument) -> None:
    others = ["something", 7, np.ones(3)]
    if isinstance(argument.default, (bool, str, type(None))):
        others.append(True if argument.default is not True else False)
    for other in others:
        with pytest.raises((TypeError, ValueError)) as caught:
            see(argument.row, {**BASE.get(argument.row, {}), argument.name: other})
        message = str(caught.value)
        assert "\n" not in message and argument.reason in message
        assert re.match(rf"{argument.name}: expected .*, got ", message) or argument.word == "refused"


@pytest.mark.parametrize("row", ROWS)
def test_positions_are_those_of_keras(row: str) -> None:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keras = [p.name for p in (KERAS | TENSORFLOW)[row].parameters.values() if p.kind in positional]
    keras = [found_in(table.BY_POSITION, row, name) or name for name in keras]
    parameters = inspect.signature(ours(row)).parameters.values()
    own = [p.name for p in parameters if p.kind in positional and p.name != "self"]
    if all(p.kind is p.VAR_POSITIONAL or p.kind is p.VAR_KEYWORD or p.name == "self" for p in parameters):
        return
    assert own[: len(keras)] == keras


def test_hooks_are_called_with_keras_arguments() -> None:
    names = [row.rpartition(".")[2] for row in KERAS if row.startswith("callbacks.Callback.on_")]
    seen: dict[str, list[str]] = {}

    def hook(name: str) -> Callable[..., None]:
        parameters = list(KERAS[f"callbacks.Callback.{name}"].parameters)

        def note(self: Any, *args: Any) -> None:
            assert isinstance(args[-1], dict) and len(args) == len(parameters)
            assert all(isinstance(number, int) for number in args[:-1])
            seen[name] = parameters

        return note

    cls = type("All", (callbacks.Callback,), {name: hook(name) for name in names if not name.startswith("on_batch_")})
    old = type("Old", (callbacks.Callback,), {name: hook(name) for name in names if name.startswith("on_batch_")})
    model = small_model()
    model.fit(X, Y, validation_data=(X, Y), verbose=0, callbacks=[cls(), old()])
    model.predict(X, verbose=0, callbacks=[cls()])
    assert sorted(seen) == sorted(names)


# --- the table against Keras ------------------------------------------------------------------------------------------

ROOMS = {
    "layers": layers, "models": sc.models, "losses": losses, "metrics": metrics, "optimizers": optimizers,
    "optimizers.schedules": schedules, "callbacks": callbacks, "initializers": sc.initializers, "utils": sc.text,
    "ops": sc.ops, "config": sc,
}  # fmt: skip
BASES = {
    "layers": "layers.Layer", "losses": "losses.Loss", "metrics": "metrics.Metric", "models": "models.Model",
    "optimizers": "optimizers.Optimizer", "callbacks": "callbacks.Callback", "initializers": "initializers.Initializer",
    "optimizers.schedules": "optimizers.schedules.LearningRateSchedule",
}  # fmt: skip
# What Keras's base classes take as *args and **kwargs, as all their subclasses have it.
GENERAL = {"layers.Layer.call", "layers.Layer.compute_output_shape", "metrics.Metric.update_state"}
# The same name for something else: TensorFlow's split and slices, the hooks of CallbackList, Keras's input data.
OTHERS = {"ops.split", "ops.slice", "utils.Sequence", "layers.InputLayer.call"}


def plain(function: Any, bound: bool) -> str:
    """The signature without annotations, and without self."""
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    return str(inspect.Signature([p.replace(annotation=REQUIRED) for p in parameters]))


def method_of(cls: Any, name: str) -> str | None:
    """The signature of a method of a class of Keras's, None for a property and for what it has not."""
    method = inspect.getattr_static(cls, name, None)
    function = getattr(method, "__func__", method)
    if not callable(function) or isinstance(method, property):
        return None
    return plain(function, not isinstance(method, staticmethod))


def shared(keras: Any) -> dict[str, str]:
    """Each name that Keras and seqcore have both, with Keras's signature."""
    found: dict[str, str] = {}
    for room, own in ROOMS.items():
        there = keras
        for name in room.split("."):
            there = getattr(there, name)
        names = [*own.__dict__, "TextVectorization"] if room == "layers" else list(own.__dict__)
        for name in names:
            theirs, mine = getattr(there, name, None), getattr(own, name, None) or getattr(sc, name, None)
            if name.startswith("_") or not callable(theirs) or not callable(mine):
                continue
            if not inspect.isclass(theirs):
                found[f"{room}.{name}"] = plain(theirs, False)
                continue
            found[f"{room}.{name}"] = "()" if theirs.__init__ is object.__init__ else plain(theirs.__init__, True)
            for method in [
                m for m in dir(mine) if (not m.startswith("_") or m == "__call__") and name != "CallbackList"
            ]:
                signature = method_of(theirs, method)
                if signature is not None and callable(getattr(mine, method)):
                    found[f"{room}.{name}.{method}"] = signature
    return found


def test_the_table_is_keras() -> None:
    keras = pytest.importorskip("keras", minversion="3.15")
    actual = shared(keras)
    assert not set(KERAS) - set(actual)
    for row, signature in KERAS.items():
        if row not in GENERAL:
            assert f"{row}{signature}" == f"{row}{actual[row]}"
    # A method may stand at the base of the room, or of all layers.
    missing = [
        f"{row}{text}"
        for row, text in actual.items()
        if row not in KERAS and row not in OTHERS and text != "(*args, **kwargs)" and text not in at_bases(row)
    ]
    assert not missing


def at_bases(row: str) -> list[str]:
    """The signatures of a method at the base of its room and at the bases that this has."""
    cls, _, method = row.rpartition(".")
    bases = [BASES.get(cls.rpartition(".")[0]), "layers.Layer", "metrics.Mean"]
    return [str(KERAS[f"{base}.{method}"]) for base in bases if f"{base}.{method}" in KERAS]


def test_every_word_of_the_table_is_used() -> None:
    words = {*table.DEFAULT_ONLY, *table.NO_EFFECT, *table.REFUSED, *table.BY_POSITION}
    for row, name, *_ in ARGUMENTS:
        words -= set(keys(row, name))
    assert not words


def totals() -> str:
    words = collections.Counter(argument.word for argument in ARGUMENTS)
    classes = [row for row in ROWS if inspect.isclass(ours(row))]
    counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
    functions = len(ROWS) - len(classes)
    return f"{len(classes)} classes, {functions} methods and functions, {len(ARGUMENTS)} arguments: {counts}"


def test_totals() -> None:
    assert len(ROWS) > 250 and len(ARGUMENTS) > 900, totals()
