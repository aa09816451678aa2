"""``seqcore run memory``: how far back each cell remembers, and what helps against vanishing gradients.

Somewhere in a sequence of noise stands one of a few symbols; at the end it is asked for.

B: sequences of a batch, T: time steps, k: steps of noise between symbol and end (0...T-1), H: units.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import ops, random
from ..initializers import Identity, Initializer, Orthogonal, TruncatedNormal
from ..layers import GRU, LSTM, ContextRNN, Dense, Embedding, Layer, LSTMCell, SimpleRNN
from ..losses import SparseCategoricalCrossentropy
from ..models import Model, Sequential
from ..optimizers import Adam
from ..typing import Ids
from ._run import Run, check_at_least, data_folder, override

CELLS = {"rnn": "SimpleRNN", "context": "RNN-CF", "lstm": "LSTM", "gru": "GRU"}
PARTS = ("recall", "truncated", "remedies", "gates")
SYMBOLS, NOISE, CHANCE = 8, 8, 1 / 8
UNITS, WIDTH, BATCH_SIZE, LEARNING_RATE, CLIP, STDDEV = 32, 16, 64, 0.003, 1.0, 0.05
UPDATES_PER_EPOCH, TEST_ROWS = 100, 500


@dataclass(frozen=True)
class Settings:
    """Lengths T of the sequences of each part, windows of truncated back-propagation."""

    lengths: tuple[int, ...]
    epochs: int
    repeats: int = 1
    remedies_length: int = 40
    truncated_length: int = 12
    windows: tuple[int, ...] = (2, 3, 4, 6, 12)


QUICK = Settings((10, 20, 40, 80), epochs=5)
BOOK = Settings((10, 20, 40, 80, 160), epochs=15, repeats=3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this experiment beside the common ones."""
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help="which part (default all)")
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="seeds tried of each model, from --seed on (default: quick 1, book 3)"
    )
    parser.add_argument("--longest", type=int, metavar="T", help="leaves out longer sequences of the recall")


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
    kind: Any = {"rnn": SimpleRNN, "context": ContextRNN, "lstm": LSTM, "gru": GRU}[cell]
    sizes = (UNITS, UNITS) if cell == "context" else (UNITS,)
    small, start = TruncatedNormal(stddev=STDDEV), recurrent or TruncatedNormal(stddev=STDDEV)
    layer: Layer = kind(*sizes, kernel_initializer=small, recurrent_initializer=start, **options)
    return layer


def compiled(model: Any, learning_rate: float = LEARNING_RATE) -> Any:
    """The model, ready to train."""
    model.compile(
        Adam(learning_rate, global_clipnorm=CLIP), SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    return model


def build_model(*layers: Layer, learning_rate: float = LEARNING_RATE) -> Sequential:
    """Embedding, the layers, Dense over the symbols."""
    model: Sequential = compiled(
        Sequential([Embedding(SYMBOLS + NOISE, WIDTH), *layers, Dense(SYMBOLS)]), learning_rate
    )
    return model


def train(
    model: Model, steps: int, epochs: int, seed: int, window: int | None = None, delay: int | None = None
) -> None:
    """Trains on sequences whose symbol stands anywhere, or always ``delay`` steps before the end.

    With a ``window`` the model is stateful: it reads all windows but the last without looking back, carries its state
    over, and the gradient reaches back to the beginning of the last window only: truncated back-propagation.
    """
    generator = np.random.default_rng((seed, 0))
    for _ in range(epochs * UPDATES_PER_EPOCH):
        x, y = sequences(generator, BATCH_SIZE, steps, delay)
        if window is not None:
            x = _read(model, x, window)
        model.train_on_batch(x, y)


def _read(model: Model, x: Ids, window: int) -> Ids:
    """Lets a stateful model read all but the last window of (B, T) ids, from a state of zeros; returns the last."""
    model.reset_states()
    for begin in range(0, x.shape[1] - window, window):
        model.predict_on_batch(x[:, begin : begin + window])
    return x[:, -window:]


def accuracy(model: Model, steps: int, delay: int, window: int | None = None) -> float:
    """Share of symbols recalled after ``delay`` steps of noise, on sequences that training did not see."""
    found = right = 0
    generator = np.random.default_rng((1, delay))
    while found < TEST_ROWS:
        x, y = sequences(generator, BATCH_SIZE, steps, delay)
        if window is not None:
            x = _read(model, x, window)
        right += int((np.argmax(model.predict_on_batch(x), axis=-1) == y).sum())
        found += len(y)
    return right / found


# --- the parts -------------------------------------------------------------------------------------------------------


def recall(this: Run, settings: Settings) -> None:
    """Accuracy of the symbol that came first, by the length of the sequences, for each cell."""
    table: dict[str, dict[int, list[float]]] = {cell: {} for cell in CELLS}
    this.say(f"recall of the first symbol after k steps of noise (chance {CHANCE:.3f})")
    this.say(f"{'k':>6}" + "".join(f"{title:>12}" for title in CELLS.values()))
    best: tuple[int, float, str, Model] | None = None
    for steps in settings.lengths:
        for cell in CELLS:
            for seed in _seeds(this, settings):
                random.set_seed(seed)
                model = build_model(make_layer(cell))
                train(model, steps, settings.epochs, seed)
                right = accuracy(model, steps, steps - 1)
                table[cell].setdefault(steps - 1, []).append(right)
                if best is None or (steps, right) > best[:2]:
                    best = steps, right, cell, model
        this.say(f"{steps - 1:>6}" + "".join(f"{np.mean(table[cell][steps - 1]):>12.3f}" for cell in CELLS))
    assert best is not None
    for cell, found in table.items():
        means = {delay: float(np.mean(values)) for delay, values in found.items()}
        this.metrics[f"{cell}_recall_accuracy"] = {str(delay): mean for delay, mean in means.items()}
        this.metrics[f"{cell}_reach"] = max([0, *(delay for delay, mean in means.items() if mean >= 0.9)])
        this.history += _rows("recall", "delay", cell, found, this.arguments.seed)
    this.save_model(best[3], cell=best[2], steps=best[0])
    this.plot("recall.png", lambda figure: _draw_recall(figure, table))


def truncated(this: Run, settings: Settings) -> None:
    """Accuracy of the symbol that always comes first, by how far the gradient reaches back; the last is full BPTT.

    Short of the whole sequence the gradient never reaches the symbol: only the output layer learns to read what the
    state happens to have kept.
    """
    steps = settings.truncated_length
    found: dict[str, dict[int, list[float]]] = {cell: {} for cell in CELLS}
    this.say(f"truncated: sequences of {steps} steps that start with the symbol, by how far the gradient reaches back")
    this.say(f"{'steps':>6}" + "".join(f"{title:>12}" for title in CELLS.values()))
    for window in settings.windows:
        for cell in CELLS:
            found[cell][window] = []
            for seed in _seeds(this, settings):
                random.set_seed(seed)
                model = build_model(make_layer(cell, stateful=True))
                train(model, steps, settings.epochs, seed, window, steps - 1)
                found[cell][window].append(accuracy(model, steps, steps - 1, window))
        this.say(f"{window:>6}" + "".join(f"{np.mean(found[cell][window]):>12.3f}" for cell in CELLS))
    for cell, values in found.items():
        this.metrics[f"{cell}_truncated_accuracy"] = {
            str(window): float(np.mean(one)) for window, one in values.items()
        }
        this.history += _rows("truncated", "window", cell, values, this.arguments.seed)
    this.plot("truncated.png", lambda figure: _draw_truncated(figure, found))


class SkipLayers(Model):
    """Three SimpleRNN layers; with ``skip`` the input of the upper two is added to their output."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.skip, self.table, self.head = skip, Embedding(SYMBOLS + NOISE, WIDTH), Dense(SYMBOLS)
        self.stack: list[Any] = [make_layer("rnn", return_sequences=True) for _ in range(3)]

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

    def call(self, inputs: Any, training: Any = False) -> Any:
        x = self.lower(self.table(inputs))
        batch, steps, units = x.shape
        x = ops.transpose(ops.reshape(x, (batch, steps // self.stride, self.stride, units)), (0, 2, 1, 3))
        x = self.upper(ops.reshape(x, (batch * self.stride, steps // self.stride, units)))
        # The sequence of the last step is the last of each group.
        last: Any = ops.reshape(x, (batch, self.stride, units))
        return self.head(last[:, -1])


def remedies(this: Run, settings: Settings) -> None:
    """What the books name against vanishing gradients, one at a time, on a SimpleRNN that fails without."""
    steps = settings.remedies_length
    models: dict[str, Callable[[], Any]] = {
        "as it is": lambda: build_model(make_layer("rnn")),
        "learning rate 10 times lower": lambda: build_model(make_layer("rnn"), learning_rate=LEARNING_RATE / 10),
        "learning rate 3 times higher": lambda: build_model(make_layer("rnn"), learning_rate=LEARNING_RATE * 3),
        "three layers": lambda: compiled(SkipLayers(skip=False)),
        "three layers, skip connections": lambda: compiled(SkipLayers(skip=True)),
        "connections that skip 8 steps": lambda: compiled(SkipSteps(8)),
        "recurrent weights start orthogonal": lambda: build_model(make_layer("rnn", Orthogonal())),
        "recurrent weights start as identity": lambda: build_model(make_layer("rnn", Identity())),
        "LSTM in its place": lambda: build_model(make_layer("lstm")),
    }
    this.say(f"SimpleRNN, sequences of {steps} steps: accuracy after {steps - 1} steps of noise")
    found: dict[str, list[float]] = {}
    for title, make in models.items():
        found[title] = []
        for seed in _seeds(this, settings):
            random.set_seed(seed)
            model = make()
            train(model, steps, settings.epochs, seed)
            found[title].append(accuracy(model, steps, steps - 1))
        this.say(f"{title:<38}{np.mean(found[title]):.3f}")
    this.metrics["remedies_accuracy"] = {title: float(np.mean(values)) for title, values in found.items()}
    this.history += _rows("remedies", "remedy", "rnn", found, this.arguments.seed)
    this.plot("remedies.png", lambda figure: _draw_remedies(figure, found, steps), 8, 4)


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
    found = []
    for x in inputs:
        _, state = cell(np.full((1, 1), x), state)
        found.append(float(np.asarray(state[1])[0, 0]))
    return found


def gates(this: Run, settings: Settings) -> None:
    """The four extremes of the LSTM's input and forget gate, on a cell."""
    inputs, start = [0.5, -1.0, 0.25, 1.5, -0.5], 0.8
    found = {pair: gate_states(*pair, inputs, start) for pair in GATES}
    this.say("LSTM cell: input gate i, forget gate f, and c after each input " + ", ".join(map(str, inputs)))
    for (i, f), values in found.items():
        this.say(f"i={i} f={f}  {GATES[i, f]:<20}" + "".join(f"{round(c, 3) + 0.0:>8.3f}" for c in values))
    this.metrics["gates"] = {f"i{i}f{f}": values for (i, f), values in found.items()}
    this.plot("gates.png", lambda figure: _draw_gates(figure, found, inputs, start), 7, 5)


def run(arguments: argparse.Namespace) -> int:
    """Runs the parts and writes the results; the exit status.

    Raises:
        ValueError, OSError: with one line that says what to do.
    """
    settings = QUICK if arguments.preset == "quick" else BOOK
    check_at_least(min(settings.lengths), longest=arguments.longest)
    check_at_least(1, repeats=arguments.repeats)
    data_folder(arguments.data)
    settings = override(settings, arguments, "epochs", "repeats")
    if arguments.longest is not None:
        lengths = tuple(steps for steps in settings.lengths if steps <= arguments.longest)
        settings = replace(settings, lengths=lengths)
    this = Run(arguments, "memory", *([] if arguments.part == "all" else [arguments.part]))
    this.start(f"made here: one of {SYMBOLS} symbols among noise, asked for at the end of the sequence")
    this.say(f"training: {settings.epochs * UPDATES_PER_EPOCH:,} updates of {BATCH_SIZE} sequences for each model")
    parts = {"recall": recall, "truncated": truncated, "remedies": remedies, "gates": gates}
    for name in PARTS if arguments.part == "all" else (arguments.part,):
        parts[name](this, settings)
    return this.finish(part=arguments.part, repeats=settings.repeats)


def _rows(part: str, key: str, cell: str, found: Mapping[Any, list[float]], first_seed: int) -> list[dict[str, Any]]:
    """Rows of the history: an accuracy for each seed."""
    return [
        {"part": part, "cell": cell, key: one, "seed": seed, "test_accuracy": value}
        for one, values in found.items()
        for seed, value in enumerate(values, first_seed)
    ]


def _seeds(this: Run, settings: Settings) -> range:
    return range(this.arguments.seed, this.arguments.seed + settings.repeats)


# --- pictures --------------------------------------------------------------------------------------------------------

_COLORS = {"rnn": "#ee6677", "context": "#228833", "lstm": "#4477aa", "gru": "#ccaa22"}
_MARKS = {"rnn": "o", "context": "s", "lstm": "^", "gru": "v"}


def _draw_cells(axes: Any, found: dict[str, dict[int, list[float]]]) -> None:
    """A curve of means for each cell, shaded from the worst seed to the best."""
    for cell, values in found.items():
        x, seeds = list(values), list(values.values())
        axes.plot(x, [np.mean(one) for one in seeds], color=_COLORS[cell], marker=_MARKS[cell], label=CELLS[cell])
        axes.fill_between(x, [min(one) for one in seeds], [max(one) for one in seeds], color=_COLORS[cell], alpha=0.15)
    axes.axhline(CHANCE, color="#555555", linestyle="--", label="chance")
    axes.set(xscale="log", ylim=(0, 1.03), ylabel="accuracy of recall")
    axes.set_xticks(x, [str(one) for one in x])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_recall(figure: Any, found: dict[str, dict[int, list[float]]]) -> None:
    axes = figure.add_subplot()
    _draw_cells(axes, found)
    axes.set(title="How far back each cell remembers", xlabel="steps of noise after the symbol")


def _draw_truncated(figure: Any, found: dict[str, dict[int, list[float]]]) -> None:
    axes = figure.add_subplot()
    _draw_cells(axes, found)
    full = max(next(iter(found.values())))
    axes.set(
        title=f"A symbol {full - 1} steps before the end, and a gradient that is cut",
        xlabel=f"steps that the gradient reaches back ({full}: the whole sequence)",
    )


def _draw_remedies(figure: Any, found: dict[str, list[float]], steps: int) -> None:
    axes = figure.add_subplot()
    means = [float(np.mean(values)) for values in found.values()]
    axes.barh(list(found), means, color=["#ee6677", *["#4477aa"] * (len(found) - 2), "#aaaaaa"])
    for row, values in enumerate(found.values()):
        axes.plot(values, [row] * len(values), ".", color="#222222", markersize=5)
    axes.axvline(CHANCE, color="#555555", linestyle="--")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.03), xlabel=f"accuracy of recall after {steps - 1} steps of noise (dashed: chance)")
    axes.set_title("A SimpleRNN that forgets, and what is done about it")
    axes.grid(alpha=0.3, axis="x")


def _draw_gates(figure: Any, found: dict[tuple[int, int], list[float]], inputs: Sequence[float], start: float) -> None:
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    times = range(len(inputs) + 1)
    for axes, ((i, f), values) in zip(grid.flat, found.items(), strict=True):
        axes.plot(times, [start, *values], "o-", color="#4477aa", label="c, the cell's memory")
        axes.plot(times[1:], np.tanh(inputs), "x", color="#ee6677", label="tanh(x), the candidate")
        axes.set_title(f"input gate {i}, forget gate {f}: {GATES[i, f]}", fontsize=10)
        axes.grid(alpha=0.3)
    for axes in grid[1]:
        axes.set_xlabel("time step")
    for axes in grid[:, 0]:
        axes.set_ylabel("value")
    grid[0, 0].legend(fontsize=8)
