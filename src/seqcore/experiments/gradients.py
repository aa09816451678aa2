"""Vanishing and exploding gradients: powers of W, dL/dh_t by time step, the three clippings, training with them.

B: batch, T: time steps, H: units.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import GradientTape, layers, losses, optimizers, random, reduce_mean
from ..initializers import Orthogonal
from ..inspection import gradient_norms
from ..models import Sequential
from ..ops.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from ..typing import Array
from ._run import Run, check_at_least, data_folder

# The book's matrices, and how many products it makes of each: W, W^2, ... W^11.
MATRICES = {2.0: np.ones((2, 2)), 0.8: np.full((2, 2), 0.4)}
POWERS = 11

# Symbols to recall, symbols of noise.
SYMBOLS, NOISE = 8, 4
CELLS: dict[str, tuple[str, Callable[[int], layers.Layer]]] = {
    "rnn": ("SimpleRNN", lambda units: layers.SimpleRNN(units, name="cell")),
    "lstm": ("LSTM", lambda units: layers.LSTM(units, name="cell")),
    "gru": ("GRU", lambda units: layers.GRU(units, name="cell")),
    "rnn-cf": ("RNN-CF", lambda units: layers.ContextRNN(units, units, name="cell")),
}
COLORS = {"rnn": "#ee6677", "lstm": "#4477aa", "gru": "#228833", "rnn-cf": "#aa7722"}

# Training that explodes: all eigenvalues of the recurrent kernel start at this modulus.
RADIUS, EXPLODING_STEPS, EXPLODING_RATE = 1.5, 40, 0.03
CLIPPINGS = {"none": "", "value": "clipvalue", "norm": "clipnorm", "global norm": "global_clipnorm"}

# The cliff: h_t = sigmoid(w h_{t-1} + b) over 50 steps from 1/2, graded at the end against 0.7.
CLIFF_STEPS, CLIFF_TARGET = 50, 0.7


@dataclass(frozen=True)
class Settings:
    """Time steps and most epochs of the recall, batches of the training that explodes."""

    steps: int
    epochs: int
    batches: int


PRESET_SETTINGS = {"quick": Settings(40, 15, 400), "book": Settings(80, 40, 1500)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this experiment."""
    parser.add_argument("--steps", type=int, metavar="T", help="time steps over which a symbol is recalled")
    parser.add_argument("--units", type=int, default=32, metavar="N", help="units of each cell (default 32)")
    parser.add_argument("--clip", type=float, default=1.0, metavar="X", help="limit of the clippings (default 1)")


# --- powers of a matrix -----------------------------------------------------------------------------------------------


def power_norms(matrix: Array, powers: int = POWERS) -> Array:
    """(powers,) Euclidean norms of W, W^2, W^3, ..., by repeated products as in the book.

    >>> power_norms(np.ones((2, 2)), 3)
    array([2., 4., 8.])
    """
    product, norms = np.eye(len(matrix)), []
    for _ in range(powers):
        product = product @ matrix
        norms.append(np.linalg.norm(product))
    return np.array(norms)


def power_norms_by_eigenvalues(matrix: Array, powers: int = POWERS) -> Array:
    """The same for a symmetric W from its eigenvalues: the norm of W^n is sqrt(sum of lambda_i^(2n))."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    return np.array([np.sqrt((eigenvalues ** (2 * n)).sum()) for n in range(1, powers + 1)])


def linear_gradient_norms(matrix: Array, steps: int = POWERS) -> Array:
    """(T,) norms of dL/dh_t of a linear SimpleRNN whose recurrent kernel is W, graded at its last step alone."""
    units = len(matrix)
    model = Sequential(
        [layers.Input((None, 1)), layers.SimpleRNN(units, activation="linear", dtype="float64", name="cell")]
    )
    model.set_weights([np.ones((1, units)), matrix, np.zeros(units)])
    model.compile("sgd", losses.MeanSquaredError())
    return gradient_norms(model, np.ones((1, steps, 1)), np.zeros((1, units)))["cell"]


# --- dL/dh_t of trained and untrained cells ---------------------------------------------------------------------------


def recall_data(rows: int, steps: int, rng: np.random.Generator, at_first: bool = False) -> tuple[Array, Array]:
    """Noise of 4 symbols with one of 8 others in it, to be named at the end.

    Returns:
        (rows, T, 12) float32 one-hot sequences and (rows,) the symbol, which stands anywhere, or at the first step.
    """
    symbols = rng.integers(0, SYMBOLS, rows)
    ids = rng.integers(SYMBOLS, SYMBOLS + NOISE, (rows, steps))
    ids[np.arange(rows), 0 if at_first else rng.integers(0, steps, rows)] = symbols
    return np.eye(SYMBOLS + NOISE, dtype=np.float32)[ids], symbols.astype(np.int32)


def recall_model(cell: str, units: int) -> Sequential:
    """A recurrent layer of that cell whose last output names the symbol."""
    make = CELLS[cell][1]
    model = Sequential([layers.Input((None, SYMBOLS + NOISE)), make(units), layers.Dense(SYMBOLS)])
    model.compile(
        optimizers.Adam(0.01, global_clipnorm=1.0),
        losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train_to_recall(
    model: Sequential, held: tuple[Array, Array], epochs: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Epochs of 2000 new sequences until the first symbol of 99 % of the held-back ones is named; a row for each."""
    rows: list[dict[str, float]] = []
    while len(rows) < epochs and (not rows or rows[-1]["accuracy"] < 0.99):
        model.fit(*recall_data(2000, held[0].shape[1], rng), batch_size=64, verbose=0)
        loss, accuracy = model.evaluate(*held, batch_size=500, verbose=0)
        rows.append({"epoch": len(rows) + 1, "loss": loss, "accuracy": accuracy})
    return rows


def compare_cells(run: Run, settings: Settings, units: int) -> dict[str, dict[str, Array]]:
    """Trains each cell to recall; the norms of dL/dh_t where the symbol is at the first step, before and after."""
    found: dict[str, dict[str, Array]] = {}
    run.say(f"one of {SYMBOLS} symbols to recall, somewhere in {settings.steps} steps of noise; {units} units.")
    run.say("accuracy where it stands at the first step, and the norm of dL/dh_1 over that of dL/dh_T there:")
    run.say(f"{'':12}{'epochs':>6}{'accuracy':>10}{'untrained':>11}{'trained':>10}")
    for cell, (title, _) in CELLS.items():
        random.set_seed(run.arguments.seed)
        rng = np.random.default_rng(run.arguments.seed)
        model, held = recall_model(cell, units), recall_data(500, settings.steps, rng, at_first=True)
        before = gradient_norms(model, *held)
        rows = train_to_recall(model, held, settings.epochs, rng)
        after = gradient_norms(model, *held)
        for layer in before:
            found[layer.replace("cell", cell)] = {"untrained": before[layer], "trained": after[layer]}
        name, accuracy = cell.replace("-", "_"), rows[-1]["accuracy"]
        for layer in before:
            ratios = {when: float(norms[0] / norms[-1]) for when, norms in found[layer.replace("cell", cell)].items()}
            key = layer.replace("cell", name).replace("/", "_")
            run.metrics.update({f"{key}_{when}_ratio": ratio for when, ratio in ratios.items()})
        run.metrics[f"{name}_test_accuracy"], run.metrics[f"{name}_epochs"] = accuracy, len(rows)
        run.history += [{"part": "recall", "cell": cell, **row} for row in rows]
        shown = "".join(f"{run.metrics[f'{name}_{when}_ratio']:10.1e}" for when in ("untrained", "trained"))
        run.say(f"{title:12}{len(rows):6}{accuracy:10.3f} {shown}")
    return found


# --- the three clippings ----------------------------------------------------------------------------------------------


def clipping_table(seed: int) -> list[dict[str, Any]]:
    """The three clippings at the book's limits, on random gradients of the norms that the book prints.

    The book draws its tensors without a seed: what can be had again are the limits, the norms before (5.380655 and
    4.1547523) and after. ``cosine`` is that of the angle between all gradients before and after.
    """
    rng = np.random.default_rng(seed)
    value = [rng.uniform(0, 1, (2, 2))]
    norm = _scaled([rng.uniform(0, 5, (2, 2))], 5.380655)
    several = _scaled([rng.normal(size=(3, 3)), rng.normal(size=(3, 3))], 4.1547523)
    rows = [
        ("clip_by_value(0.4, 0.6)", value, [clip_by_value(value[0], 0.4, 0.6)]),
        ("clip_by_norm(5)", norm, [clip_by_norm(norm[0], 5)]),
        ("clip_by_value(-0.6, 0.6), two tensors", several, [clip_by_value(one, -0.6, 0.6) for one in several]),
        ("clip_by_norm(1), two tensors", several, [clip_by_norm(one, 1) for one in several]),
        ("clip_by_global_norm(2), two tensors", several, clip_by_global_norm(several, 2)[0]),
    ]
    return [{"way": way, **_compared(before, after)} for way, before, after in rows]


def _scaled(arrays: list[Array], norm: float) -> list[Array]:
    total = np.linalg.norm(_flat(arrays))
    return [one * (norm / total) for one in arrays]


def _flat(arrays: list[Any]) -> Array:
    return np.concatenate([np.asarray(one, np.float64).ravel() for one in arrays])


def _compared(before: list[Any], after: list[Any]) -> dict[str, float]:
    a, b = _flat(before), _flat(after)
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return {"norm_before": norms[0], "norm_after": norms[1], "cosine": float(a @ b) / (norms[0] * norms[1])}


# --- training that explodes -------------------------------------------------------------------------------------------


def sum_batch(rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(rows, T, 1) uniform numbers and (rows, 1) their sum, scaled to variance 1."""
    x = rng.uniform(-1, 1, (rows, EXPLODING_STEPS, 1))
    return x.astype(np.float32), (x.sum(axis=1) / math.sqrt(EXPLODING_STEPS / 3)).astype(np.float32)


def limit_of(clipping: str, limit: float) -> float:
    """Each of a thousand numbers is held to a tenth of the limit for a norm: all of them make the norm."""
    return limit / 10 if clipping == "value" else limit


def train_to_sum(clipping: str, limit: float, batches: int, seed: int) -> tuple[Array, Array]:
    """Trains a SimpleRNN of rectifiers by plain SGD with a tape, as in the book; losses and gradient norms by batch.

    It stops where the loss is no longer finite: nothing can be learnt from there on.
    """
    random.set_seed(seed)
    rng = np.random.default_rng(seed)
    cell = layers.SimpleRNN(32, activation="relu", recurrent_initializer=Orthogonal(RADIUS))
    model = Sequential([layers.Input((None, 1)), cell, layers.Dense(1)])
    clip: dict[str, Any] = {CLIPPINGS[clipping]: limit_of(clipping, limit)} if clipping != "none" else {}
    optimizer = optimizers.SGD(EXPLODING_RATE, **clip)
    criterion = losses.MeanSquaredError()
    costs, norms = [], []
    for _ in range(batches):
        x, y = sum_batch(64, rng)
        with GradientTape() as tape:
            loss = criterion(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        costs.append(float(loss))
        norms.append(float(np.linalg.norm(_flat(gradients))))
        if not math.isfinite(costs[-1]):
            break
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return np.array(costs), np.array(norms)


def compare_clippings(run: Run, limit: float, batches: int) -> dict[str, Array]:
    """The losses of the four trainings; those that explode end early."""
    seed, found = run.arguments.seed, {}
    run.say(
        f"sum of {EXPLODING_STEPS} numbers by a SimpleRNN of rectifiers, recurrent eigenvalues at {RADIUS}, SGD "
        f"{EXPLODING_RATE} (always guessing the mean: loss 1):"
    )
    for clipping in CLIPPINGS:
        costs, norms = train_to_sum(clipping, limit, batches, seed)
        found[clipping] = costs
        key = f"{clipping.replace(' ', '_')}_clipping" if clipping != "none" else "no_clipping"
        last = costs[-max(1, batches // 10) :].mean() if len(costs) == batches else math.nan
        run.metrics[f"{key}_final_loss"] = float(last)
        run.metrics[f"{key}_batches"] = int(np.isfinite(costs).sum())
        run.metrics[f"{key}_largest_gradient_norm"] = float(norms[np.isfinite(norms)].max())
        run.history += [
            {"part": "sum", "clipping": clipping, "batch": i + 1, "loss": float(costs[i])}
            for i in range(0, len(costs), 10)
        ]
        end = f"loss {last:.3f} at the end" if math.isfinite(last) else f"not finite after {len(costs) - 1} batches"
        label = "no clipping" if clipping == "none" else f"by {clipping}, {limit_of(clipping, limit):g}"
        run.say(f"{label:22}{end}; largest gradient norm {run.metrics[f'{key}_largest_gradient_norm']:.3g}")
    return found


# --- the cliff --------------------------------------------------------------------------------------------------------


def cliff_loss(w: Array, b: Array) -> Array:
    """The loss at each w and b (arrays of one shape)."""
    h = np.full(np.broadcast_shapes(np.shape(w), np.shape(b)), 0.5)
    for _ in range(CLIFF_STEPS):
        h = 1 / (1 + np.exp(-(w * h + b)))
    return (h - CLIFF_TARGET) ** 2


def descend_cliff(start: tuple[float, float], limit: float | None, rate: float, updates: int) -> Array:
    """(updates + 1, 2) the way of (w, b) down the gradient; ``limit`` clips it by its global norm."""
    cell = layers.SimpleRNN(1, activation="sigmoid", dtype="float64")
    cell.build((None, None, 1))
    cell.set_weights([np.zeros((1, 1)), [[start[0]]], [start[1]]])
    x, h = np.zeros((1, CLIFF_STEPS, 1)), np.full((1, 1), 0.5)
    optimizer = optimizers.SGD(rate, global_clipnorm=limit)
    weights = cell.trainable_variables[1:]  # w and b; the input is zero
    way = [start]
    for _ in range(updates):
        with GradientTape() as tape:
            loss = reduce_mean((cell(x, initial_state=[h]) - CLIFF_TARGET) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        way.append((float(weights[0].numpy()[0, 0]), float(weights[1].numpy()[0])))
    return np.array(way)


# --- the run ----------------------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """Measures, trains, draws and writes the results; the exit status.

    Raises:
        ValueError, OSError: with one line that says what to do.
    """
    check_at_least(2, steps=arguments.steps)
    check_at_least(1, units=arguments.units)
    if not 0 < arguments.clip < math.inf:
        raise ValueError(f"--clip: expected a number > 0, got {arguments.clip}")
    data_folder(arguments.data)
    preset = PRESET_SETTINGS[arguments.preset]
    settings = Settings(arguments.steps or preset.steps, arguments.epochs or preset.epochs, preset.batches)
    one = Run(arguments, "gradients")
    one.start("generated: the book's matrices, symbols to recall after noise, sums of numbers")
    powers = _powers(one)
    _clippings(one)
    norms = compare_cells(one, settings, arguments.units)
    costs = compare_clippings(one, arguments.clip, settings.batches)
    ways = _cliff(one)
    one.plot("powers.png", lambda figure: _draw_powers(figure, powers))
    one.plot("norms.png", lambda figure: _draw_norms(figure, norms), 9, 4.2)
    one.plot("clipping.png", lambda figure: _draw_costs(figure, costs))
    one.plot("cliff.png", lambda figure: _draw_cliff(figure, ways))
    return one.finish(units=arguments.units, steps=settings.steps, clip=arguments.clip)


def _powers(run: Run) -> dict[float, Array]:
    found = {}
    run.say(f"{'W':22}{'eigenvalues':>14}{'norm of W':>12}{f'W^{POWERS}':>12}{'by eigenvalues':>16}")
    for largest, matrix in MATRICES.items():
        found[largest] = power_norms(matrix)
        by_eigenvalues = power_norms_by_eigenvalues(matrix)
        steps = linear_gradient_norms(matrix)
        low, high = np.linalg.eigvalsh(matrix)
        run.say(
            f"{np.array2string(matrix, separator=' ').replace(chr(10), ''):22}{f'{abs(low):.1f}, {high:.1f}':>14}"
            f"{found[largest][0]:12.4g}{found[largest][-1]:12.4g}{by_eigenvalues[-1]:16.4g}"
        )
        name = f"{largest:g}".replace(".", "_")
        run.metrics[f"power_norm_{name}"] = float(found[largest][-1])
        run.metrics[f"linear_gradient_ratio_{name}"] = float(steps[0] / steps[-1])
        run.say(
            f"  as the recurrent kernel of a linear SimpleRNN: dL/dh_1 is {steps[0] / steps[-1]:.4g} times "
            f"dL/dh_{POWERS} ({largest:g}^{POWERS - 1})"
        )
    return found


def _clippings(run: Run) -> None:
    run.say(f"{'clipping':40}{'norm before':>12}{'after':>10}{'cosine of the angle':>21}")
    table = clipping_table(run.arguments.seed)
    for row in table:
        run.say(f"{row['way']:40}{row['norm_before']:12.6g}{row['norm_after']:10.6g}{row['cosine']:21.4f}")
    run.metrics["clippings"] = table


def _cliff(run: Run) -> dict[str, Array]:
    """The ways down from the same point, with and without clipping."""
    ways = {
        "no clipping": descend_cliff((5.5, -2.6), None, 0.5, 120),
        "clipped by norm 0.3": descend_cliff((5.5, -2.6), 0.3, 0.5, 120),
    }
    for name, way in ways.items():
        longest, loss = float(np.linalg.norm(np.diff(way, axis=0), axis=1).max()), float(cliff_loss(*way[-1]))
        key = "cliff_" + ("clipped" if "clipped" in name else "unclipped")
        run.metrics[f"{key}_longest_step"], run.metrics[f"{key}_final_loss"] = longest, loss
        run.say(f"cliff, {name:20} longest step {longest:10.4g}, loss at the end {loss:.2g}")
    return ways


def _draw_powers(figure: Any, powers: dict[float, Array]) -> None:
    axes = figure.add_subplot()
    steps = np.arange(1, POWERS + 1)
    for (largest, norms), color in zip(powers.items(), ("#ee6677", "#4477aa"), strict=True):
        exact = power_norms_by_eigenvalues(MATRICES[largest])
        axes.plot(steps, exact, color=color, label=f"by eigenvalues: {largest:g}ⁿ")
        axes.plot(steps, norms, "o", color=color, label=f"repeated products, largest eigenvalue {largest:g}")
    axes.set(yscale="log", xlabel="power n", ylabel="norm of Wⁿ", title="Powers grow or vanish as the eigenvalues say")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_norms(figure: Any, found: dict[str, dict[str, Array]]) -> None:
    first, second = figure.subplots(1, 2, sharey=True)
    for axes, when in ((first, "untrained"), (second, "trained")):
        for name, norms in found.items():
            cell, context = name.split("/")[0], "/" in name
            label = CELLS[cell][0] + (", dL/ds" if context else "")
            steps, ratio = np.arange(1, len(norms[when]) + 1), norms[when] / norms[when][-1]
            axes.plot(steps, ratio, "--" if context else "-", color=COLORS[cell], label=label)
        axes.set(yscale="log", xlabel="time step t", title=when)
        axes.grid(alpha=0.3)
    first.set_ylabel("norm of dL/dh at t over that at the last step")
    second.legend()
    figure.suptitle("Gates that have learnt to remember let the gradient through to the first step")


def _draw_costs(figure: Any, costs: dict[str, Array]) -> None:
    axes = figure.add_subplot()
    colors = {"none": "#ee6677", "value": "#aa7722", "norm": "#228833", "global norm": "#4477aa"}
    for clipping, values in costs.items():
        shown = values[np.isfinite(values)]
        batches = np.arange(1, len(shown) + 1)
        label = "no clipping" if clipping == "none" else f"clipping by {clipping}"
        axes.plot(batches, shown, color=colors[clipping], label=label, linewidth=1)
        if len(shown) < len(values):
            axes.plot(batches[-1:], shown[-1:], "x", color=colors[clipping], markersize=10)
            axes.annotate("then infinite", (batches[-1], shown[-1]), xytext=(8, -4), textcoords="offset points")
    axes.axhline(1, color="#555555", linestyle="--", linewidth=1, label="guessing the mean")
    axes.set(yscale="log", xlabel="batch", ylabel="mean squared error", title="Without clipping the loss explodes")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_cliff(figure: Any, ways: dict[str, Array]) -> None:
    axes = figure.add_subplot()
    w, b = np.meshgrid(np.linspace(3.4, 6, 260), np.linspace(-3, -1.2, 260))
    surface = axes.contourf(w, b, cliff_loss(w, b), 24, cmap="Greys", vmax=0.7)
    figure.colorbar(surface, label="loss J(w, b)")
    for (name, way), color in zip(ways.items(), ("#ee6677", "#4477aa"), strict=True):
        axes.plot(way[:, 0], way[:, 1], "o-", color=color, markersize=3, linewidth=1, label=name)
    axes.plot(*ways["no clipping"][0], "*", color="#228833", markersize=14, label="start")
    axes.set(xlim=(3.4, 6), ylim=(-3, -1.2), xlabel="recurrent weight w", ylabel="bias b")
    axes.set_title(f"One step off the cliff leaves the picture\nh(t) = σ(w h(t-1) + b), {CLIFF_STEPS} time steps")
    axes.legend(loc="upper right")
