"""``seqcore run mnist``: digits read row by row, in both directions.

Each image is a sequence of its rows; a bidirectional LSTM, GRU or SimpleRNN reads it, a softmax names the digit. The
book's program draws 399,872 images in batches of 128 and trains with Adam at 0.01; its classifier sees the output of
the last time step, where the backward half has read one row only. ``--read`` compares that with two other ways.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import Model, Sequential, Tensor, ops
from .._extras import import_extra
from ..callbacks import Callback, Logs
from ..datasets.images import Digits, Part, drawn_batches, load_digits, load_mnist
from ..initializers import RandomNormal, RandomUniform
from ..layers import Bidirectional, Dense, Dropout, GlobalAveragePooling1D, Input, Layer, register
from ..optimizers import CosineDecay
from ..typing import Array
from ._plots import draw_images
from ._run import (
    CELLS,
    Run,
    choice,
    compile_classifier,
    data_folder,
    majority_accuracy,
    number,
    option,
    override,
    recurrent_layer,
)

PRESETS = ("quick", "book", "best")
CLASSES = 10
_SHOWN = 24
_SEEN = {
    "last": "the outputs of the last row",
    "states": "each direction's last state",
    "mean": "the mean of all outputs",
}


@dataclass(frozen=True)
class Settings:
    """Of a run. ``steps``: batches of an epoch, which ends with the validation; 0: one pass. ``book_weights``: the
    first weights are drawn as in the book."""

    cell: str = "lstm"
    units: int = 256
    layers: int = 1
    read: str = "last"
    batch_size: int = 128
    learning_rate: float = 0.01
    cosine: bool = False
    dropout: float = 0.0
    shift: int = 0
    book_weights: bool = False
    epochs: int = 22
    steps: int = 142


# 22 epochs of 142 batches are the book's 3,124: fewer than 400,000 images.
BOOK = Settings(book_weights=True)
BEST = Settings(units=128, read="states", learning_rate=0.004, cosine=True, dropout=0.3, shift=2, epochs=20, steps=0)
QUICK = Settings(units=64, read="states", batch_size=32, learning_rate=0.005, cosine=True, epochs=20, steps=0)


OPTIONS = (
    choice("--cell", CELLS, "the recurrent layers (default lstm)"),
    choice("--read", _SEEN, f"{', '.join(_SEEN.values())} (default: states; the book's last)"),
    option("--layers", "bidirectional layers (default 1)", type=int, choices=(1, 2)),
    number("--units", "of each direction (default: the preset's)"),
)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The preset with the options put over it.

    Raises:
        ValueError: an option out of range.
    """
    settings = {"quick": QUICK, "book": BOOK, "best": BEST}[arguments.preset]
    if arguments.preset == "quick" and arguments.data != "builtin":
        settings = replace(settings, batch_size=128, epochs=2)
    if arguments.preset == "best" and arguments.data == "builtin":
        # Fewer and smaller images: more passes, smaller shifts.
        settings = replace(settings, batch_size=32, epochs=60, shift=1)
    return override(settings, arguments)


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

    h_t = [forward layer over rows 1...t, backward layer over rows R...t]; p = softmax(W·r + b) with r = h_R ("last"),
    [forward h_R, backward h_1] ("states") or the mean of h_t. M. Schuster and K. Paliwal, Bidirectional recurrent
    neural networks, 1997.

    >>> build_model((28, 28), BOOK).count_params()
    588810
    """
    model = Sequential([Input(shape)])
    for level in range(settings.layers):
        is_last = level == settings.layers - 1
        options: dict[str, Any] = {"return_sequences": not is_last or settings.read != "states"}
        if settings.book_weights:
            width = shape[1] if level == 0 else 2 * settings.units
            options |= _as_one_matrix(settings.cell, width, settings.units)
        layer = recurrent_layer(CELLS[settings.cell], settings.units, **options)
        model.add(Bidirectional(layer))
        if settings.dropout and not is_last:
            model.add(Dropout(settings.dropout))
    if settings.read != "states":
        model.add(GlobalAveragePooling1D() if settings.read == "mean" else ReadOut())
    if settings.dropout:
        model.add(Dropout(settings.dropout))
    drawn = ("kernel_initializer", "bias_initializer") if settings.book_weights else ()
    weights: dict[str, Any] = {name: RandomNormal(stddev=1.0) for name in drawn}
    model.add(Dense(CLASSES, activation="softmax", **weights))
    return model


def _as_one_matrix(cell: str, width: int, units: int) -> dict[str, Any]:
    """Initializers by Glorot's rule for the one matrix of x_t and h_{t-1} that a cell of TensorFlow 1 has."""
    limit = math.sqrt(6 / (width + units + {"rnn": 1, "lstm": 4, "gru": 3}[cell] * units))
    return {name: RandomUniform(-limit, limit) for name in ("kernel_initializer", "recurrent_initializer")}


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
    names = "sklearn.exceptions", "sklearn.linear_model"
    exceptions, linear = (import_extra(name, "the baseline needs scikit-learn") for name in names)
    train, test = digits.train, digits.test
    regression = linear.LogisticRegression(max_iter=100)
    with warnings.catch_warnings():
        # A hundred iterations are enough for a baseline.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        regression.fit(train.images.reshape(len(train), -1), train.labels)
    predicted = regression.predict(test.images.reshape(len(test), -1))
    return {
        "majority_accuracy": majority_accuracy(train.labels, test.labels),
        "logistic_accuracy": float((predicted == test.labels).mean()),
    }


class _TestLast(Callback):
    """Measure the test accuracy of the last weights."""

    def __init__(self, run: Run, test: Part) -> None:
        self._run, self._test = run, test

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._run.metrics["last_test_accuracy"] = accuracy(self.model, self._test)[0]


class _Lines(Callback):
    """The lines of the book's program: loss and accuracy of each ten batches, and of the validation after an epoch."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self._run, self._settings, self._samples = run, settings, 0
        self._before = {"loss": 0.0, "accuracy": 0.0}

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._before = dict.fromkeys(self._before, 0.0)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._samples += self._settings.batch_size
        if (batch + 1) % 10 == 0:
            # The logs are means since the epoch began.
            sums = {name: (batch + 1) * float((logs or {})[name]) for name in self._before}
            means = {name: (total - self._before[name]) / 10 for name, total in sums.items()}
            self._before = sums
            self._run.log("{:,} samples  loss {loss:.4f}  accuracy {accuracy:.4f}".format(self._samples, **means))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        accuracy = (logs or {})["val_accuracy"]
        self._run.log(f"epoch {epoch + 1}/{self._settings.epochs}  valid accuracy {accuracy:.4f}")


def accuracy(model: Model, part: Part) -> tuple[float, Array]:
    """Share of the images that are named rightly, and the names (N,)."""
    predicted = np.asarray(model.predict(part.images, batch_size=500, verbose=0)).argmax(-1)
    return float((predicted == part.labels).mean()), predicted


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    settings = settings_of(run.arguments)
    digits = load_data(run.arguments.data)
    run.start(digits.summary, *(name for name in (settings.cell, settings.read) if name != "lstm"))
    run.metrics |= baselines(digits)
    model = build_model(digits.shape, settings)
    steps = settings.steps or -(-len(digits.train) // settings.batch_size)
    total, rate = settings.epochs * steps, settings.learning_rate
    compile_classifier(model, CosineDecay(rate, total) if settings.cosine else rate, None, from_logits=False)
    layers = f"{settings.layers} bidirectional {CELLS[settings.cell]} layer{'s' * (settings.layers > 1)}"
    run.log(
        f"model: {layers} of 2 x {settings.units} units, reading {_SEEN[settings.read]}; "
        f"{model.count_params():,} parameters"
    )
    run.log(f"training: {total:,} batches of {settings.batch_size}, {total * settings.batch_size:,} samples")

    batches = drawn_batches(digits.train, settings.batch_size, settings.shift)
    valid = digits.valid.images, digits.valid.labels
    callbacks: list[Callback] = [_TestLast(run, digits.test)]
    options: dict[str, Any] = {"steps_per_epoch": steps, "validation_batch_size": 500}
    if run.arguments.preset == "book":
        callbacks.append(_Lines(run, settings))
        options["verbose"] = 0
    rows = run.fit(model, settings, batches, valid, callbacks=callbacks, **options)
    run.metrics["test_accuracy"], predicted = accuracy(model, digits.test)
    run.metrics["parameters"] = model.count_params()
    _report(run)
    _plot_errors(run, rows)
    run.plot("mistakes.png", lambda figure: _draw_mistakes(figure, digits.test, predicted))
    run.save_model(model, images=digits.name)
    return run.finish(cell=settings.cell, read=settings.read, layers=settings.layers, units=settings.units)


def _report(run: Run) -> None:
    """Print the baselines and the test accuracy."""
    metrics = run.metrics
    run.log(
        f"baselines: always the commonest digit {metrics['majority_accuracy']:.2%}, "
        f"logistic regression on the pixels {metrics['logistic_accuracy']:.2%}"
    )
    run.log(
        f"test accuracy {metrics['test_accuracy']:.2%} (weights of epoch {metrics['best_epoch']}, the best on the "
        f"validation part); weights of the last epoch {metrics['last_test_accuracy']:.2%}"
    )


def _plot_errors(run: Run, rows: list[dict[str, Any]]) -> None:
    """``accuracy.png``: the share of wrong answers by epoch, on a logarithmic scale unless a share is zero."""
    metrics, epochs = run.metrics, [row["epoch"] for row in rows]
    train, valid = ([100 * (1 - row[key]) for row in rows] for key in ("accuracy", "val_accuracy"))
    test, logistic = (100 * (1 - metrics[f"{name}_accuracy"]) for name in ("test", "logistic"))
    curves: dict[str, Any] = {
        "train": (epochs, train, "o-", "#4477aa"),
        "valid": (epochs, valid, "s-", "#ee6677"),
        f"test {test:.2f} %": ([metrics["best_epoch"]], [test], "*", "#228833"),
    }
    levels = {f"logistic regression, test {logistic:.2f} %": logistic}
    scale = "log" if min(*train, *valid, test) > 0 else "linear"
    title = "Share of wrong answers while training"
    run.plot_curves("accuracy.png", title, "epoch", "wrong answers (%)", curves, levels, yscale=scale)


def _draw_mistakes(figure: Any, test: Part, predicted: Array) -> None:
    wrong = np.flatnonzero(predicted != test.labels)
    shown = wrong[:_SHOWN]
    more = f", the first {_SHOWN}:" if len(wrong) > _SHOWN else ""
    figure.suptitle(f"{len(wrong)} of {len(test):,} test images are named wrongly{more}")
    figure.set_figheight(0.5 + 1.3 * -(-len(shown) // 8))
    draw_images(figure, test.images[shown], [f"{test.labels[row]}, not {predicted[row]}" for row in shown], 8)
