"""``seqcore run memory``: how far back each cell remembers, and what helps against vanishing gradients.

A sequence of noise holds one of a few symbols; at its end the network names the symbol.

B: sequences of a batch, T: time steps, k: steps of noise between symbol and end (0...T-1), H: units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import Model, Sequential, ops, random
from ..initializers import GlorotUniform, Identity, Initializer, Orthogonal, TruncatedNormal
from ..layers import Dense, Embedding, Layer, LSTMCell
from ..optimizers import SGD
from ..typing import Ids
from ._plots import COLORS, draw_bars, draw_curves, legend_below
from ._run import Run, choice, compile_classifier, number, override, recurrent_layer

CELLS = {"rnn": "SimpleRNN", "context": "RNN-CF", "lstm": "LSTM", "gru": "GRU"}
PARTS = ("recall", "truncated", "remedies", "gates")
SYMBOLS, NOISE, CHANCE = 8, 8, 1 / 8
UNITS, WIDTH, BATCH_SIZE, LEARNING_RATE, CLIP, STDDEV = 32, 16, 64, 0.003, 1.0, 0.05
UPDATES_PER_EPOCH, TEST_ROWS, DESCENT_LENGTH = 100, 500, 10


@dataclass(frozen=True)
class Settings:
    """Lengths T of the sequences of each part, windows of truncated back-propagation."""

    lengths: tuple[int, ...]
    epochs: int
    repeats: int = 1
    remedies_length: int = 40
    truncated_length: int = 12
    windows: tuple[int, ...] = (2, 3, 4, 6, 12)


SETTINGS = {
    "quick": Settings((10, 20, 40, 80), epochs=5),
    "book": Settings((10, 20, 40, 80, 160), epochs=15, repeats=3),
}


OPTIONS = (
    choice("--part", ("all", *PARTS), "which part", "all"),
    number("--repeats", "seeds tried of each model, from --seed on (default: quick 1, book 3)"),
    number("--longest", "leaves out longer sequences of the recall", least=min(SETTINGS["quick"].lengths), metavar="T"),
)


# --- the task --------------------------------------------------------------------------------------------------------


def sequences(generator: np.random.Generator, rows: int, steps: int, delay: int | None = None) -> tuple[Ids, Ids]:
    """Noise with one symbol in it, and the symbol.

    Args:
        generator: draws them.
        rows: B.
        steps: T.
        delay: k steps of noise follow the symbol; None draws k for each row.

    Returns:
        (B, T) ids, the noise from ``SYMBOLS`` on, and (B,) symbols 0...SYMBOLS-1.

    >>> x, y = sequences(np.random.default_rng(0), 3, 5, delay=4)
    >>> x.shape, bool((x[:, 0] == y).all()), int(x[:, 1:].min()) >= SYMBOLS
    ((3, 5), True, True)
    """
    symbols = generator.integers(SYMBOLS, size=rows)
    ids = SYMBOLS + generator.integers(NOISE, size=(rows, steps))
    after = generator.integers(steps, size=rows) if delay is None else np.full(rows, delay)
    ids[np.arange(rows), steps - 1 - after] = symbols
    return ids.astype(np.int32), symbols.astype(np.int32)


def make_layer(cell: str, recurrent: Initializer | None = None, **options: Any) -> Layer:
    """A recurrent layer of H units whose weights start small, as in the book's program for stories."""
    small, start = TruncatedNormal(stddev=STDDEV), recurrent or TruncatedNormal(stddev=STDDEV)
    return recurrent_layer(CELLS[cell], UNITS, kernel_initializer=small, recurrent_initializer=start, **options)


def build_model(*layers: Layer, learning_rate: float = LEARNING_RATE) -> Sequential:
    """Embedding, the layers, Dense over the symbols."""
    model = Sequential([Embedding(SYMBOLS + NOISE, WIDTH), *layers, Dense(SYMBOLS)])
    compile_classifier(model, learning_rate, CLIP)
    return model


def train(
    model: Model, steps: int, epochs: int, seed: int, window: int | None = None, delay: int | None = None
) -> None:
    """Train on sequences whose symbol is anywhere, or always ``delay`` steps before the end.

    With a ``window`` the model is stateful: it reads all windows but the last without looking back, carries its state
    over, and the gradient reaches back to the beginning of the last window only: truncated back-propagation.
    """
    generator = np.random.default_rng((seed, 0))
    for _ in range(epochs * UPDATES_PER_EPOCH):
        x, y = sequences(generator, BATCH_SIZE, steps, delay)
        model.train_on_batch(_read(model, x, window), y)


def _read(model: Model, x: Ids, window: int | None) -> Ids:
    """Let a stateful model read all but the last window of (B, T) ids, from a state of zeros; returns the last.

    Without a window all ids are left to read.
    """
    if window:
        model.reset_states()
        for begin in range(0, x.shape[1] - window, window):
            model.predict_on_batch(x[:, begin : begin + window])
    return x[:, -(window or 0) :]


def accuracy(model: Model, steps: int, delay: int, window: int | None = None) -> float:
    """Share of symbols recalled after ``delay`` steps of noise, on sequences that training did not see."""
    tested = right = 0
    generator = np.random.default_rng((1, delay))
    while tested < TEST_ROWS:
        x, y = sequences(generator, BATCH_SIZE, steps, delay)
        right += int((np.argmax(model.predict_on_batch(_read(model, x, window)), axis=-1) == y).sum())
        tested += len(y)
    return right / tested


# --- the parts -------------------------------------------------------------------------------------------------------

Make = Callable[[], Any]
Trial = Callable[[str, int], list[float]]
Trials = Iterator[tuple[float, Any]]


def trials(
    run: Run, settings: Settings, make: Make, steps: int, window: int | None = None, delay: int | None = None
) -> Trials:
    """For each seed the accuracy of the symbol that came first, and the model, trained as :func:`train` does."""
    for seed in range(run.arguments.seed, run.arguments.seed + settings.repeats):
        random.set_seed(seed)
        model = make()
        train(model, steps, settings.epochs, seed, window, delay)
        yield accuracy(model, steps, steps - 1, window), model


def compare_cells(
    run: Run, part: str, key: str, heading: str, points: Sequence[int], trial: Trial, **labels: str
) -> dict[str, dict[str, float]]:
    """A table of all cells: printed, among the metrics, in the history and as a picture.

    Args:
        run: of the experiment.
        part: of the experiment, in the names of the metrics and of the picture.
        key, heading: name of a point in the history and in the table.
        points: rows of the table.
        trial: gives the accuracies of a cell at a point, one for each seed.
        labels: title and xlabel of the picture.

    Returns:
        cell -> point -> mean accuracy.
    """
    run.log(f"{heading:>6}" + "".join(f"{title:>12}" for title in CELLS.values()))
    table: dict[str, dict[int, list[float]]] = {cell: {} for cell in CELLS}
    for point in points:
        for cell, row in table.items():
            row[point] = trial(cell, point)
        run.log(f"{point:>6}" + "".join(f"{np.mean(row[point]):>12.3f}" for row in table.values()))
    means = {cell: {str(point): float(np.mean(row[point])) for point in points} for cell, row in table.items()}
    run.metrics |= {f"{cell}_{part}_accuracy": row for cell, row in means.items()}
    for cell, row in table.items():
        run.history += _rows(part, key, cell, row, run.arguments.seed)

    def draw(figure: Any) -> None:
        axes, curves = figure.add_subplot(), {}
        for (cell, row), style in zip(table.items(), ("o-", "s-", "^-", "v-"), strict=True):
            title, color, seeds = CELLS[cell], COLORS[CELLS[cell]], list(row.values())
            curves[title] = points, list(means[cell].values()), style, color
            axes.fill_between(points, [*map(min, seeds)], [*map(max, seeds)], color=color, alpha=0.15)
        settings: dict[str, Any] = {"xscale": "log", "ylim": (0, 1.03), "ylabel": "accuracy of recall", **labels}
        draw_curves(axes, curves, {"chance": CHANCE}, **settings)
        axes.set_xticks(points, map(str, points))
        axes.minorticks_off()

    run.plot(f"{part}.png", draw)
    return means


def recall(run: Run, settings: Settings) -> None:
    """Accuracy of the symbol that came first, by the length of the sequences, for each cell."""
    run.log(f"recall of the first symbol after k steps of noise (chance {CHANCE:.3f})")
    tried: list[tuple[int, float, str, Model]] = []

    def trial(cell: str, delay: int) -> list[float]:
        results = list(trials(run, settings, lambda: build_model(make_layer(cell)), delay + 1))
        tried.extend((delay + 1, right, cell, model) for right, model in results)
        return [right for right, _ in results]

    delays = [steps - 1 for steps in settings.lengths]
    labels = {"title": "How far back each cell remembers", "xlabel": "steps of noise after the symbol"}
    for cell, means in compare_cells(run, "recall", "delay", "k", delays, trial, **labels).items():
        run.metrics[f"{cell}_reach"] = max([0, *(int(delay) for delay, mean in means.items() if mean >= 0.9)])
    steps, _, cell, model = max(tried, key=lambda trial: trial[:2])
    run.save_model(model, cell=cell, steps=steps)


def truncated(run: Run, settings: Settings) -> None:
    """Accuracy of the symbol that always comes first, by how far the gradient reaches back; the last is full BPTT.

    Short of the whole sequence the gradient never reaches the symbol: only the output layer learns to read the traces
    that the state happens to have kept.
    """
    steps = settings.truncated_length
    run.log(f"truncated: sequences of {steps} steps that start with the symbol, by how far the gradient reaches back")

    def trial(cell: str, window: int) -> list[float]:
        models = trials(run, settings, lambda: build_model(make_layer(cell, stateful=True)), steps, window, steps - 1)
        return [right for right, _ in models]

    title = f"A symbol {steps - 1} steps before the end, and a gradient that is cut"
    xlabel = f"steps that the gradient reaches back ({steps}: the whole sequence)"
    compare_cells(run, "truncated", "window", "steps", settings.windows, trial, title=title, xlabel=xlabel)


class SkipLayers(Model):
    """Three SimpleRNN layers; with ``skip`` the input of the upper two is added to their output."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.skip, self.table, self.head = skip, Embedding(SYMBOLS + NOISE, WIDTH), Dense(SYMBOLS)
        self.stack: list[Any] = [make_layer("rnn", return_sequences=True) for _ in range(3)]
        compile_classifier(self, LEARNING_RATE, CLIP)

    def call(self, inputs: Any, training: Any = False) -> Any:
        x = self.stack[0](self.table(inputs))
        for layer in self.stack[1:]:
            x = ops.add(layer(x), x) if self.skip else layer(x)
        return self.head(x[:, -1])


class SkipSteps(Model):
    """Two SimpleRNN layers; the state of the upper one comes from ``stride`` steps before instead of one.

    Source: S. Chang et al., Dilated recurrent neural networks, 2017. The steps 0, stride, 2 stride, ... are a sequence
    of their own, so are 1, 1 + stride, ...: (B, T, H) is read as (B stride, T / stride, H).
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride, self.table, self.head = stride, Embedding(SYMBOLS + NOISE, WIDTH), Dense(SYMBOLS)
        self.lower, self.upper = make_layer("rnn", return_sequences=True), make_layer("rnn")
        compile_classifier(self, LEARNING_RATE, CLIP)

    def call(self, inputs: Any, training: Any = False) -> Any:
        x = self.lower(self.table(inputs))
        batch, steps, units = x.shape
        x = ops.transpose(ops.reshape(x, (batch, steps // self.stride, self.stride, units)), (0, 2, 1, 3))
        x = self.upper(ops.reshape(x, (batch * self.stride, steps // self.stride, units)))
        # The sequence of the last step is the last of each group.
        last: Any = ops.reshape(x, (batch, self.stride, units))
        return self.head(last[:, -1])


def descend(learning_rate: float, momentum: float = 0.0) -> Sequential:
    """A SimpleRNN trained by stochastic gradient descent; the steps are not scaled to the gradients, as Adam's are."""
    model = build_model(make_layer("rnn"))
    model.compile(SGD(learning_rate, momentum, global_clipnorm=CLIP), model.loss, metrics=["accuracy"])
    return model


def _measure(run: Run, settings: Settings, models: Mapping[str, Make], steps: int) -> dict[str, list[float]]:
    """Train each model; its accuracies by its title, one for each seed."""
    run.log(f"SimpleRNN, sequences of {steps} steps: accuracy after {steps - 1} steps of noise")
    table: dict[str, list[float]] = {}
    for title, make in models.items():
        table[title] = [right for right, _ in trials(run, settings, make, steps)]
        run.log(f"{title:<38}{np.mean(table[title]):.3f}")
    return table


def remedies(run: Run, settings: Settings) -> None:
    """The remedies of the books against vanishing gradients, one at a time, on a SimpleRNN that fails without.

    Momentum, which Adam contains, is tried on gradient descent and on sequences short enough for that.
    """
    steps = settings.remedies_length
    models: dict[str, Make] = {
        "as it is": lambda: build_model(make_layer("rnn")),
        "learning rate 0.00001": lambda: build_model(make_layer("rnn"), learning_rate=1e-5),
        "learning rate 0.01": lambda: build_model(make_layer("rnn"), learning_rate=1e-2),
        "three layers": lambda: SkipLayers(skip=False),
        "three layers, skip connections": lambda: SkipLayers(skip=True),
        "connections that skip 8 steps": lambda: SkipSteps(8),
        "recurrent weights start by Xavier": lambda: build_model(make_layer("rnn", GlorotUniform())),
        "recurrent weights start orthogonal": lambda: build_model(make_layer("rnn", Orthogonal())),
        "recurrent weights start as identity": lambda: build_model(make_layer("rnn", Identity())),
        "LSTM in its place": lambda: build_model(make_layer("lstm")),
    }
    descents: dict[str, Make] = {
        "SGD": lambda: descend(0.1),
        "SGD with momentum 0.9": lambda: descend(0.1, 0.9),
        "SGD with ten times the learning rate": lambda: descend(1.0),
    }
    table = _measure(run, settings, models, steps)
    every = table | _measure(run, settings, descents, DESCENT_LENGTH)
    run.metrics["remedies_accuracy"] = {title: float(np.mean(values)) for title, values in every.items()}
    run.history += _rows("remedies", "remedy", "rnn", every, run.arguments.seed)
    run.plot("remedies.png", lambda figure: _draw_remedies(figure, table, steps), 8, 4.6)


GATES = {(0, 1): "kept, input ignored", (1, 1): "input added", (0, 0): "erased", (1, 0): "overwritten"}


def gate_states(input_gate: int, forget_gate: int, inputs: Sequence[float], start: float) -> list[float]:
    """c of an LSTM cell of one unit whose gates are held open (1) or shut (0), after each input.

    c_t = f c_{t-1} + i tanh(x_t): biases of +-30 hold the gates, the candidate sees x_t alone.

    >>> [round(c, 3) for c in gate_states(0, 1, [0.5, -2.0], 0.8)]
    [0.8, 0.8]
    """
    cell = LSTMCell(1, unit_forget_bias=False, dtype="float64")
    cell.build((None, 1))
    held = [30.0 if gate else -30.0 for gate in (input_gate, forget_gate)]
    cell.set_weights([[[0.0, 0.0, 1.0, 0.0]], np.zeros((1, 4)), [*held, 0.0, 30.0]])
    state: list[Any] = [np.zeros((1, 1)), np.full((1, 1), start)]
    states = []
    for x in inputs:
        _, state = cell(np.full((1, 1), x), state)
        states.append(float(np.asarray(state[1])[0, 0]))
    return states


def gates(run: Run, settings: Settings) -> None:
    """The four extremes of the LSTM's input and forget gate, on a cell."""
    inputs, start = [0.5, -1.0, 0.25, 1.5, -0.5], 0.8
    states = {pair: gate_states(*pair, inputs, start) for pair in GATES}
    run.log("LSTM cell: input gate i, forget gate f, and c after each input " + ", ".join(map(str, inputs)))
    for (i, f), values in states.items():
        run.log(f"i={i} f={f}  {GATES[i, f]:<20}" + "".join(f"{round(c, 3) + 0.0:>8.3f}" for c in values))
    run.metrics["gates"] = {f"i{i}f{f}": values for (i, f), values in states.items()}
    run.plot("gates.png", lambda figure: _draw_gates(figure, states, inputs, start), 9, 6)


def main(run: Run) -> int:
    """Run the parts and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    lengths = tuple(steps for steps in settings.lengths if steps <= (arguments.longest or steps))
    settings = replace(settings, lengths=lengths)
    data = f"made here: one of {SYMBOLS} symbols among noise, asked for at the end of the sequence"
    run.start(data, *([] if arguments.part == "all" else [arguments.part]))
    run.log(f"training: {settings.epochs * UPDATES_PER_EPOCH:,} updates of {BATCH_SIZE} sequences for each model")
    parts = {"recall": recall, "truncated": truncated, "remedies": remedies, "gates": gates}
    for name in PARTS if arguments.part == "all" else (arguments.part,):
        parts[name](run, settings)
    return run.finish(part=arguments.part, repeats=settings.repeats)


def _rows(part: str, key: str, cell: str, table: Mapping[Any, list[float]], first_seed: int) -> list[dict[str, Any]]:
    """Rows of the history: an accuracy for each seed."""
    return [
        {"part": part, "cell": cell, key: point, "seed": seed, "test_accuracy": value}
        for point, values in table.items()
        for seed, value in enumerate(values, first_seed)
    ]


# --- pictures --------------------------------------------------------------------------------------------------------


def _draw_remedies(figure: Any, table: dict[str, list[float]], steps: int) -> None:
    axes = figure.add_subplot()
    means = {title: float(np.mean(values)) for title, values in table.items()}
    title, colors = "A SimpleRNN that forgets, and what is done about it", ["#4477aa"] * (len(table) - 2)
    label = f"accuracy of recall after {steps - 1} steps of noise (dashed: chance)"
    draw_bars(axes, means, ["#ee6677", *colors, "#aaaaaa"], xlim=(0, 1.03), xlabel=label, title=title)
    for row, values in enumerate(table.values()):
        axes.plot(values, [row] * len(values), ".", color="#222222", markersize=5)
    axes.axvline(CHANCE, color="#555555", linestyle="--")
    axes.grid(alpha=0.3, axis="x")


def _draw_gates(figure: Any, states: dict[tuple[int, int], list[float]], inputs: Sequence[float], start: float) -> None:
    times = range(len(inputs) + 1)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, ((i, f), values) in zip(panels.flat, states.items(), strict=True):
        curves = {
            "c, the cell's memory": (times, [start, *values], "o-", "#4477aa"),
            "tanh(x), the candidate": (times[1:], [math.tanh(x) for x in inputs], "x", "#ee6677"),
        }
        title = f"input gate {i}, forget gate {f}: {GATES[i, f]}"
        draw_curves(axes, curves, legend=False, title=title, xlabel="time step", ylabel="value")
    legend_below(axes, 2)
