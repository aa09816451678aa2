"""``seqcore run mnist``: digits read row by row, in both directions.

Each image is a sequence of its rows; a bidirectional LSTM reads it, a softmax names the digit. The book's program draws
400,000 images in batches of 128 and trains with Adam at 0.01; its classifier sees the output of the last time step,
where the backward half has read one row only. ``--read`` sets that beside the two other ways.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..callbacks import Callback
from ..callbacks.callback import Logs
from ..datasets.images import Digits, Part, drawn_batches, load_digits, load_mnist
from ..initializers import RandomNormal
from ..layers import LSTM, Bidirectional, Dense, Dropout, GlobalAveragePooling1D, Input
from ..layers.base import Layer
from ..layers.registry import register
from ..losses import SparseCategoricalCrossentropy
from ..models import Model, Sequential
from ..optimizers import Adam
from ..optimizers.schedules import CosineDecay
from ..typing import Array
from ._run import Run, check_at_least, data_folder, majority_accuracy, override

PRESETS = ("quick", "book", "best")
READS = ("last", "states", "mean")
CLASSES = 10
_SHOWN = 24
_SEEN = {
    "last": "the outputs of the last row",
    "states": "each direction's last state",
    "mean": "the mean of all outputs",
}


@dataclass(frozen=True)
class Settings:
    """Of a run. ``steps``: batches of an epoch, which ends with a look at the validation part; 0: those of a pass."""

    units: int = 256
    layers: int = 1
    read: str = "last"
    batch_size: int = 128
    learning_rate: float = 0.01
    cosine: bool = False
    dropout: float = 0.0
    shift: int = 0
    normal_output: bool = False
    epochs: int = 25
    steps: int = 125


# 25 epochs of 125 batches are the book's 400,000 samples.
BOOK = Settings(normal_output=True)
BEST = Settings(units=128, read="states", learning_rate=0.004, cosine=True, dropout=0.3, shift=2, epochs=20, steps=0)
QUICK = Settings(units=64, read="states", batch_size=32, learning_rate=0.005, cosine=True, epochs=20, steps=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this experiment beside the common ones."""
    parser.add_argument(
        "--read",
        choices=READS,
        help="what the classifier sees: the outputs of the last row (default with --preset book), each direction's "
        "last state (default otherwise), or the mean of all outputs",
    )
    parser.add_argument("--layers", type=int, choices=(1, 2), help="bidirectional layers (default 1)")
    parser.add_argument("--units", type=int, metavar="N", help="of each direction (default: the preset's)")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The preset with the options put over it.

    Raises:
        ValueError: an option out of range.
    """
    check_at_least(1, units=arguments.units)
    settings = {"quick": QUICK, "book": BOOK, "best": BEST}[arguments.preset]
    if arguments.preset == "quick" and arguments.data != "builtin":
        settings = replace(settings, batch_size=128, epochs=2)
    if arguments.preset == "best" and arguments.data == "builtin":
        # Fewer and smaller images: more passes, smaller shifts.
        settings = replace(settings, batch_size=32, epochs=60, shift=1)
    return override(settings, arguments, "read", "layers", "units", "epochs")


@register("seqcore.experiments.mnist/ReadOut")
class ReadOut(Layer):
    """The output of the last time step alone: (B, T, D) gives (B, D).

    >>> ReadOut()([[[1.0], [3.0]]]).numpy().tolist()
    [[3.0]]
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.slice(inputs, np.s_[:, -1])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], input_shape[2]


def build_model(shape: tuple[int, int], settings: Settings) -> Sequential:
    """Rows in, probabilities of the ten digits out.

    Args:
        shape: (R, C) of the images.
        settings: what it is made of.

    h_t = [forward LSTM over rows 1...t, backward LSTM over rows R...t]; p = softmax(W·r + b) with r = h_R ("last"),
    [forward h_R, backward h_1] ("states") or the mean of h_t. M. Schuster and K. Paliwal, Bidirectional recurrent
    neural networks, 1997.

    >>> build_model((28, 28), BOOK).count_params()
    588810
    """
    model = Sequential([Input(shape)])
    for number in range(settings.layers):
        is_last = number == settings.layers - 1
        sequences = not is_last or settings.read != "states"
        model.add(Bidirectional(LSTM(settings.units, return_sequences=sequences)))
        if settings.dropout and not is_last:
            model.add(Dropout(settings.dropout))
    if settings.read != "states":
        model.add(GlobalAveragePooling1D() if settings.read == "mean" else ReadOut())
    if settings.dropout:
        model.add(Dropout(settings.dropout))
    weights: dict[str, Any] = {}
    if settings.normal_output:
        weights = {"kernel_initializer": RandomNormal(stddev=1.0), "bias_initializer": RandomNormal(stddev=1.0)}
    model.add(Dense(CLASSES, activation="softmax", **weights))
    return model


def load_data(data: str) -> Digits:
    """The images that ``--data`` names.

    Raises:
        ValueError, OSError, ImportError: they are missing, damaged or cannot be fetched.
    """
    folder = data_folder(data, "mnist")
    return load_digits() if folder is None else load_mnist(folder)


def baselines(digits: Digits) -> dict[str, float]:
    """Test accuracies to beat: always the commonest digit, and multinomial logistic regression on the pixels.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ImportError("the baseline needs scikit-learn: pip install 'seqcore[experiments]'") from None
    train, test = digits.train, digits.test
    regression = LogisticRegression(max_iter=100)
    with warnings.catch_warnings():
        # A hundred iterations are enough for a baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(train.images.reshape(len(train), -1), train.labels)
    said = regression.predict(test.images.reshape(len(test), -1))
    return {
        "majority_accuracy": majority_accuracy(train.labels, test.labels),
        "logistic_accuracy": float((said == test.labels).mean()),
    }


class _AtTheEnd(Callback):
    """Calls a function when the last epoch has ended, before the weights of the best one come back."""

    def __init__(self, epochs: int, function: Callable[[], None]) -> None:
        self._epochs, self._function = epochs, function

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch + 1 == self._epochs:
            self._function()


def accuracy(model: Model, part: Part) -> tuple[float, Array]:
    """Share of the images that are named rightly, and the names (N,)."""
    said = np.asarray(model.predict(part.images, batch_size=500, verbose=0)).argmax(-1)
    return float((said == part.labels).mean()), said


def run(arguments: argparse.Namespace) -> int:
    """Trains, tests, writes the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with one line that says what to do.
    """
    settings = settings_of(arguments)
    digits = load_data(arguments.data)
    one = Run(arguments, "mnist", settings.read)
    one.start(digits.summary)
    found = baselines(digits)
    model = build_model(digits.shape, settings)
    steps = settings.steps or -(-len(digits.train) // settings.batch_size)
    total, rate = settings.epochs * steps, settings.learning_rate
    model.compile(
        Adam(CosineDecay(rate, total) if settings.cosine else rate),
        SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    layers = "1 bidirectional LSTM layer" if settings.layers == 1 else f"{settings.layers} bidirectional LSTM layers"
    one.say(
        f"model: {layers} of 2 x {settings.units} units, reading {_SEEN[settings.read]}; "
        f"{model.count_params():,} parameters"
    )
    one.say(f"training: {total:,} batches of {settings.batch_size}, {total * settings.batch_size:,} samples")

    def test_last() -> None:
        one.metrics["last_test_accuracy"] = accuracy(model, digits.test)[0]

    rows = one.fit(
        model,
        drawn_batches(digits.train, settings.batch_size, settings.shift),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        validation_data=(digits.valid.images, digits.valid.labels),
        validation_batch_size=500,
        callbacks=[_AtTheEnd(settings.epochs, test_last)],
    )
    one.metrics["test_accuracy"], said = accuracy(model, digits.test)
    one.metrics["parameters"] = model.count_params()
    one.metrics |= found
    _report(one)
    one.plot("accuracy.png", lambda figure: _draw_accuracy(figure, rows, one.metrics))
    one.plot("mistakes.png", lambda figure: _draw_mistakes(figure, digits.test, said))
    one.save_model(model, images=digits.name)
    return one.finish(read=settings.read, layers=settings.layers, units=settings.units)


def _report(one: Run) -> None:
    """Prints the test accuracy beside the baselines."""
    metrics = one.metrics
    one.say(
        f"baselines: always the commonest digit {metrics['majority_accuracy']:.2%}, "
        f"logistic regression on the pixels {metrics['logistic_accuracy']:.2%}"
    )
    one.say(
        f"test accuracy {metrics['test_accuracy']:.2%} (weights of epoch {metrics['best_epoch']}, the best on the "
        f"validation part); weights of the last epoch {metrics['last_test_accuracy']:.2%}"
    )


def _draw_accuracy(figure: Any, rows: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
    from matplotlib.ticker import FormatStrFormatter, MaxNLocator

    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in rows]
    errors = {
        name: [100 * (1 - row[key]) for row in rows] for name, key in (("train", "accuracy"), ("valid", "val_accuracy"))
    }
    axes.plot(epochs, errors["train"], "o-", color="#4477aa", label="train")
    axes.plot(epochs, errors["valid"], "s-", color="#ee6677", label="valid")
    test = 100 * (1 - metrics["test_accuracy"])
    axes.plot(metrics["best_epoch"], test, "*", color="#228833", markersize=14, label=f"test {test:.2f} %")
    logistic = 100 * (1 - metrics["logistic_accuracy"])
    axes.axhline(logistic, color="#555555", linestyle="--", label=f"logistic regression, test {logistic:.2f} %")
    if min(min(one) for one in errors.values()) > 0 and test > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_xlabel("epoch")
    axes.set_ylabel("images named wrongly (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Share of wrong answers while training")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_mistakes(figure: Any, test: Part, said: Array) -> None:
    wrong = np.flatnonzero(said != test.labels)
    shown = wrong[:_SHOWN]
    more = f", the first {_SHOWN}:" if len(wrong) > _SHOWN else ""
    figure.suptitle(f"{len(wrong)} of {len(test):,} test images are named wrongly{more}")
    rows = -(-len(shown) // 8)
    figure.set_figheight(0.5 + 1.3 * rows)
    for place, number in enumerate(shown):
        axes = figure.add_subplot(rows, 8, place + 1)
        axes.imshow(test.images[number], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{test.labels[number]}, said {said[number]}", fontsize=9)
        axes.set_axis_off()
