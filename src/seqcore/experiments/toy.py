"""``seqcore run toy``: a sentence of four words, and each prediction computed again by hand from the weights.

The recipe of the book: "this is an example" gives two samples, two words and the next one; one recurrent unit reads
the words' numbers as values, Dense(5) with softmax predicts the number of the next word. H = 1 here, so that every
gate of every step is a single number; the formulas hold for any H.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import Sequential, layers, losses, metrics, optimizers, pad_sequences, to_categorical
from ..typing import Array
from ._plots import COLORS, by_epoch, draw_matrix
from ._run import CELLS, Run, choice, recurrent_layer

Steps = list[dict[str, Array]]

DOCUMENTS, LABELS = ("this is", "is an"), ("an", "example")
EPOCHS = 500
# The book's rate is Adam's own; 500 steps of 0.001 are too few for the sentence to be learned, those of 0.05 are not.
RATES = {"quick": 0.05, "book": 0.001}
# The book trains the LSTM with the binary loss.
LOSSES = {"rnn": "categorical_crossentropy", "lstm": "binary_crossentropy", "gru": "categorical_crossentropy"}
_TOLERANCE = 1e-12
_SATURATED = 1e-2


OPTIONS = (
    choice("--cell", (*CELLS, "all"), "the recurrent layer", "all"),
    choice("--loss", sorted(set(LOSSES.values())), "default: the book's, categorical, and binary for the LSTM"),
)


def main(run: Run) -> int:
    """Train each cell, compute its predictions again and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
        FloatingPointError: a prediction differs from the one by hand.
    """
    chosen, numbers = run.arguments.cell, number_words()
    x, y = make_samples(numbers)
    run.start("built-in sentence 'this is an example'", chosen)
    words = {number: word for word, number in numbers.items()}
    for row, label in zip(x[:, :, 0].astype(int), y.argmax(axis=1)):
        run.log(f"{row.tolist()} ({' '.join(words[n] for n in row)}) -> {label} ({words[label]})")
    traces: dict[str, list[Steps]] = {}
    cells = list(CELLS) if chosen == "all" else [chosen]
    for cell in cells:
        model = train(run, cell, x, y)
        traces[cell] = compare(run, cell, model, x)
        file = "model.safetensors" if len(cells) == 1 else f"model-{cell}.safetensors"
        run.save_model(model, file, words=[words.get(n, "") for n in range(len(words) + 1)])
    rows = sum(len(samples[0][0]) for samples in traces.values())
    run.plot("gates.png", lambda figure: draw_gates(figure, traces), 7, 0.34 * rows + 0.7 * len(traces))
    plot_losses(run)
    return run.finish(cell=chosen)


def number_words() -> dict[str, int]:
    """Word -> number from 1, the most frequent first; 0 is padding.

    >>> number_words()
    {'is': 1, 'an': 2, 'this': 3, 'example': 4}
    """
    counts = Counter(" ".join((*DOCUMENTS, *LABELS)).split())
    return {word: number for number, (word, _) in enumerate(counts.most_common(), 1)}


def make_samples(numbers: dict[str, int]) -> tuple[Array, Array]:
    """x (2, 2, 1): the numbers of two words as values, without an embedding; y (2, 5): the next word, one-hot."""
    x = pad_sequences([[numbers[word] for word in text.split()] for text in DOCUMENTS], maxlen=2, dtype="float32")
    return x[:, :, None], to_categorical([numbers[word] for word in LABELS], len(numbers) + 1)


def train(run: Run, cell: str, x: Array, y: Array) -> Sequential:
    """A layer of one unit whose recurrent weights start at zero, and Dense(5); float64, as the computation by hand."""
    arguments = run.arguments
    recurrent = recurrent_layer(CELLS[cell], 1, recurrent_initializer="zeros", dtype="float64")
    head = layers.Dense(y.shape[1], "softmax", dtype="float64")
    model = Sequential([layers.Input(x.shape[1:], dtype="float64"), recurrent, head])
    epochs, loss_name = arguments.epochs or EPOCHS, arguments.loss or LOSSES[cell]
    loss, accuracy = losses.get(loss_name), metrics.CategoricalAccuracy("accuracy")
    model.compile(optimizers.Adam(RATES[arguments.preset]), loss, metrics=[accuracy])
    history = model.fit(x, y, epochs=epochs, verbose=0).history
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    # A model that does not read the words can do no better than the share of each label.
    constant = float(loss(y, np.broadcast_to(y.mean(axis=0), y.shape)))
    for epoch in range(0, epochs, 10):
        run.history.append({"cell": cell, "epoch": epoch + 1, **{key: history[key][epoch] for key in history}})
    run.metrics |= {f"{cell}_{name}": value for name, value in result.items()} | {f"{cell}_constant_loss": constant}
    run.log()
    counts = f"{recurrent.count_params()} + {head.count_params()} = {model.count_params()}"
    run.log(f"{CELLS[cell]}(1), Dense(5, softmax): {counts} parameters, {loss_name}")
    run.log(
        f"after {epochs} epochs: loss {result['loss']:.4f} (a constant guess: {constant:.4f}), "
        f"accuracy {result['accuracy']:.2f} (0.50)"
    )
    return model


def compare(run: Run, cell: str, model: Sequential, x: Array) -> list[Steps]:
    """Print the model's predictions next to those by hand; the steps of each sample.

    Raises:
        FloatingPointError: they differ.
    """
    weights = model.get_weights()
    by_model, traces, largest = model.predict(x, verbose=0), [], 0.0
    for sample, predicted in zip(x, by_model):
        steps, by_hand = recompute(cell, weights, sample)
        traces.append(steps)
        largest = max(largest, float(np.abs(by_hand - predicted).max()))
        run.log(f"  input {sample[:, 0].astype(int).tolist()}")
        for number, (step, value) in enumerate(zip(steps, sample[:, 0]), 1):
            values = ", ".join(f"{name} {float(values[0]):.6f}" for name, values in step.items())
            run.log(f"    step {number}, x = {value:g}: {values}")
        run.log(f"    by the model  {' '.join(f'{p:.6f}' for p in predicted)}")
        run.log(f"    by hand       {' '.join(f'{p:.6f}' for p in by_hand)}")
    run.metrics[f"{cell}_largest_difference"] = largest
    run.log(f"  largest difference {largest:.1e}")
    ends = [float(steps[-1]["h"][0]) for steps in traces]
    if abs(ends[0] - ends[1]) < _SATURATED:
        run.log(
            f"  h ends at {ends[0]:.4f} and {ends[1]:.4f}: the unit is saturated, its gradient vanishes, and it gives "
            "both inputs the same answer; other initial weights (--seed) may do better"
        )
    if not largest < _TOLERANCE:
        raise FloatingPointError(
            f"{cell}: expected predictions equal to {_TOLERANCE:g}, got a difference of {largest:.3g}"
        )
    return traces


# --- by hand ---------------------------------------------------------------------------------------------------------


def recompute(cell: str, weights: list[Array], x: Array) -> tuple[Steps, Array]:
    """Gates and states of each step, and the probabilities (5,), in plain NumPy from ``model.get_weights()``.

    Args:
        cell: "rnn", "lstm" or "gru".
        weights: kernel (1, G·H), recurrent kernel (H, G·H) and bias of the G gates, kernel and bias of Dense.
        x: (T, 1).
    """
    *recurrent, kernel, bias = weights
    step: Callable[..., dict[str, Array]] = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}[cell]
    units = kernel.shape[0]
    state = {"h": np.zeros(units), "c": np.zeros(units)}
    steps: Steps = []
    for value in x.astype(np.float64):
        steps.append(step(value, state, *recurrent))
        state = steps[-1]
    logits = state["h"] @ kernel + bias
    e = np.exp(logits - logits.max())
    return steps, e / e.sum()


def rnn_step(x: Array, state: dict[str, Array], w: Array, u: Array, b: Array) -> dict[str, Array]:
    """h = tanh(x·W + h'·U + b)."""
    return {"h": np.tanh(x @ w + state["h"] @ u + b)}


def lstm_step(x: Array, state: dict[str, Array], w: Array, u: Array, b: Array) -> dict[str, Array]:
    """i, f, o = sigmoid, g = tanh of x·W + h'·U + b, in the order i, f, g, o; c = f∘c' + i∘g; h = o∘tanh(c)."""
    i, f, g, o = np.split(x @ w + state["h"] @ u + b, 4)
    i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
    c = f * state["c"] + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * np.tanh(c)}


def gru_step(x: Array, state: dict[str, Array], w: Array, u: Array, b: Array) -> dict[str, Array]:
    """z, r = sigmoid, n = tanh(x·W_n + b_n + r∘(h'·U_n + b'_n)), in the order z, r, n; h = z∘h' + (1 - z)∘n."""
    zx, rx, nx = np.split(x @ w + b[0], 3)
    zh, rh, nh = np.split(state["h"] @ u + b[1], 3)
    z, r = _sigmoid(zx + zh), _sigmoid(rx + rh)
    n = np.tanh(nx + r * nh)
    return {"z": z, "r": r, "n": n, "h": z * state["h"] + (1 - z) * n}


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


# --- pictures --------------------------------------------------------------------------------------------------------


def draw_gates(figure: Any, traces: dict[str, list[Steps]]) -> None:
    """Each gate and state of each step as a number on a color, a row of panels per cell, a column per sample."""
    ratios = [len(samples[0][0]) for samples in traces.values()]
    panels = figure.subplots(len(traces), len(DOCUMENTS), squeeze=False, gridspec_kw={"height_ratios": ratios})
    image = None
    for row, (cell, samples) in zip(panels, traces.items()):
        for axes, steps, text in zip(row, samples, DOCUMENTS):
            names = list(steps[0])
            values = np.array([[float(step[name][0]) for step in steps] for name in names])
            texts = np.vectorize("{:.3f}".format)(values)
            inputs = [f"x = {number_words()[word]} ({word})" for word in text.split()]
            image = draw_matrix(axes, values, names, inputs, texts, -1, title=f"{cell.upper()} reads “{text}”")
    figure.colorbar(image, ax=panels, label="value of a gate or state (c may lie beyond ±1)", shrink=0.9)


def plot_losses(run: Run) -> None:
    """``loss.png``: loss by epoch, a curve per cell."""
    curves = {}
    for cell in dict.fromkeys(row["cell"] for row in run.history):
        rows = [row for row in run.history if row["cell"] == cell]
        label = f"{cell.upper()}, {(run.arguments.loss or LOSSES[cell]).replace('_', ' ')}"
        curves[label] = by_epoch(rows, "loss", "-", COLORS[CELLS[cell]])
    title = "One unit learns “this is an example”"
    run.plot_curves("loss.png", title, "epoch", "loss (nats)", curves, ylim=(0, None))
