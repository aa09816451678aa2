"""Vanishing and exploding gradients: powers of W, dL/dh_t by time step, the three clippings, training with them.

B: batch, T: time steps, H: units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import GradientTape, Sequential, layers, losses, optimizers, random, reduce_mean
from ..initializers import Orthogonal
from ..inspection import gradient_norms
from ..ops.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from ..typing import Array
from ._plots import COLORS, Curves, draw_curves
from ._run import CELLS, Run, compile_classifier, number, option, override, recurrent_layer

# The book's matrices, and how many products it makes of each: W, W^2, ... W^11.
MATRICES = {2.0: np.ones((2, 2)), 0.8: np.full((2, 2), 0.4)}
POWERS = 11

# Symbols to recall, symbols of noise.
SYMBOLS, NOISE = 8, 4
RECALLING = CELLS | {"rnn-cf": "RNN-CF"}

# Training that explodes: all eigenvalues of the recurrent kernel start at this modulus.
RADIUS, EXPLODING_STEPS, EXPLODING_RATE = 1.5, 40, 0.03
CLIPPINGS = {"none": "", "value": "clipvalue", "norm": "clipnorm", "global norm": "global_clipnorm"}
CLIPPING_COLORS = ("#ee6677", "#aa7722", "#228833", "#4477aa")

# The cliff: h_t = sigmoid(w h_{t-1} + b) over 50 steps from 1/2, graded at the end against 0.7.
CLIFF_STEPS, CLIFF_TARGET = 50, 0.7


@dataclass(frozen=True)
class Settings:
    """Time steps and most epochs of the recall, batches of the training that explodes."""

    steps: int
    epochs: int
    batches: int


SETTINGS = {"quick": Settings(40, 15, 400), "book": Settings(80, 40, 1500)}


OPTIONS = (
    number("--steps", "time steps over which a symbol is recalled", least=2, metavar="T"),
    number("--units", "units of each cell", 32),
    option("--clip", "limit of the clippings", 1.0, type=float, metavar="X"),
)


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
    cell = layers.SimpleRNN(units, activation="linear", dtype="float64", name="cell")
    model = Sequential([layers.Input((None, 1)), cell])
    model.set_weights([np.ones((1, units)), matrix, np.zeros(units)])
    model.compile("sgd", losses.MeanSquaredError())
    return gradient_norms(model, np.ones((1, steps, 1)), np.zeros((1, units)))["cell"]


# --- dL/dh_t of trained and untrained cells ---------------------------------------------------------------------------


def recall_data(rows: int, steps: int, rng: np.random.Generator, at_first: bool = False) -> tuple[Array, Array]:
    """Sequences of noise (4 symbols) with one of 8 others in each, to be named at the end.

    Returns:
        (rows, T, 12) float32 one-hot sequences and (rows,) the symbol, which is anywhere, or at the first step.
    """
    symbols = rng.integers(0, SYMBOLS, rows)
    ids = rng.integers(SYMBOLS, SYMBOLS + NOISE, (rows, steps))
    ids[np.arange(rows), 0 if at_first else rng.integers(0, steps, rows)] = symbols
    return np.eye(SYMBOLS + NOISE, dtype=np.float32)[ids], symbols.astype(np.int32)


def recall_model(cell: str, units: int) -> Sequential:
    """A recurrent layer of that cell whose last output names the symbol."""
    layer = recurrent_layer(RECALLING[cell], units, name="cell")
    model = Sequential([layers.Input((None, SYMBOLS + NOISE)), layer, layers.Dense(SYMBOLS)])
    compile_classifier(model, 0.01)
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


def compare_cells(run: Run, settings: Settings, units: int) -> None:
    """Train each cell to recall; the norms of dL/dh_t where the symbol is at the first step, before and after."""
    norms: dict[str, dict[str, Array]] = {"untrained": {}, "trained": {}}
    run.log(f"one of {SYMBOLS} symbols to recall, somewhere in {settings.steps} steps of noise; {units} units.")
    run.log("accuracy where it stands at the first step, and the norm of dL/dh_1 over that of dL/dh_T there:")
    run.log(f"{'':12}{'epochs':>6}{'accuracy':>10}{'untrained':>11}{'trained':>10}")
    for cell, title in RECALLING.items():
        random.set_seed(run.arguments.seed)
        rng = np.random.default_rng(run.arguments.seed)
        model, held = recall_model(cell, units), recall_data(500, settings.steps, rng, at_first=True)
        measured = {"untrained": gradient_norms(model, *held)}
        rows = train_to_recall(model, held, settings.epochs, rng)
        measured["trained"] = gradient_norms(model, *held)
        name, accuracy = cell.replace("-", "_"), rows[-1]["accuracy"]
        for when, by_layer in measured.items():
            for layer, values in by_layer.items():
                norms[when][layer.replace("cell", title)] = values
                key = layer.replace("cell", name).replace("/", "_")
                run.metrics[f"{key}_{when}_ratio"] = float(values[0] / values[-1])
        run.metrics |= {f"{name}_test_accuracy": accuracy, f"{name}_epochs": len(rows)}
        run.history += [{"part": "recall", "cell": cell, **row} for row in rows]
        ratios = "".join(f"{run.metrics[f'{name}_{when}_ratio']:10.1e}" for when in norms)
        run.log(f"{title:12}{len(rows):6}{accuracy:10.3f} {ratios}")
    run.plot("norms.png", lambda figure: _draw_norms(figure, norms), 9, 4.2)


def _draw_norms(figure: Any, norms: dict[str, dict[str, Array]]) -> None:
    for axes, (when, by_layer) in zip(figure.subplots(1, 2, sharey=True), norms.items(), strict=True):
        curves: dict[str, Any] = {}
        for name, values in by_layer.items():
            title = name.split("/")[0]
            label, style = (f"{title}, dL/ds", "--") if "/" in name else (title, "-")
            curves[label] = np.arange(1, len(values) + 1), values / values[-1], style, COLORS[title]
        draw_curves(axes, curves, yscale="log", xlabel="time step t", title=when)
    figure.supylabel("norm of dL/dh at t over that at the last step")
    figure.suptitle("Gates that have learned to remember let the gradient through to the first step")


# --- the three clippings ----------------------------------------------------------------------------------------------


def clipping_table(seed: int) -> list[dict[str, Any]]:
    """The three clippings at the book's limits, on random gradients of the norms that the book prints.

    The book draws its tensors without a seed: only the limits and the norms before (5.380655 and 4.1547523) and after
    can be reproduced. ``cosine`` is that of the angle between all gradients before and after.
    """
    rng = np.random.default_rng(seed)
    value = [rng.uniform(0, 1, (2, 2))]
    norm = _scaled([rng.uniform(0, 5, (2, 2))], 5.380655)
    several = _scaled([rng.normal(size=(3, 3)), rng.normal(size=(3, 3))], 4.1547523)
    rows = [
        ("clip_by_value(0.4, 0.6)", value, [clip_by_value(value[0], 0.4, 0.6)]),
        ("clip_by_norm(5)", norm, [clip_by_norm(norm[0], 5)]),
        ("clip_by_value(-0.6, 0.6), two tensors", several, [clip_by_value(array, -0.6, 0.6) for array in several]),
        ("clip_by_norm(1), two tensors", several, [clip_by_norm(array, 1) for array in several]),
        ("clip_by_global_norm(2), two tensors", several, clip_by_global_norm(several, 2)[0]),
    ]
    return [{"way": name, **_compared(before, after)} for name, before, after in rows]


def _scaled(arrays: list[Array], norm: float) -> list[Array]:
    total = np.linalg.norm(_flat(arrays))
    return [array * (norm / total) for array in arrays]


def _flat(arrays: list[Any]) -> Array:
    return np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])


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
    """The limit of a clipping: a tenth for each of the thousand numbers, which together make the norm."""
    return limit / 10 if clipping == "value" else limit


def train_to_sum(clipping: str, limit: float, batches: int, seed: int) -> tuple[Array, Array]:
    """Train a SimpleRNN of rectifiers by plain SGD with a tape, as in the book; losses and gradient norms by batch.

    It stops where the loss is no longer finite: nothing can be learned from there on.
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


def compare_clippings(run: Run, limit: float, batches: int) -> None:
    """The four trainings and their losses; those that explode end early."""
    run.log(
        f"sum of {EXPLODING_STEPS} numbers by a SimpleRNN of rectifiers, recurrent eigenvalues at {RADIUS}, SGD "
        f"{EXPLODING_RATE} (always guessing the mean: loss 1):"
    )
    curves: dict[str, Any] = {}
    for clipping, color in zip(CLIPPINGS, CLIPPING_COLORS, strict=True):
        costs, norms = train_to_sum(clipping, limit, batches, run.arguments.seed)
        key = f"{clipping.replace(' ', '_')}_clipping" if clipping != "none" else "no_clipping"
        last = costs[-max(1, batches // 10) :].mean() if len(costs) == batches else math.nan
        finite = int(np.isfinite(costs).sum())
        largest = float(norms[np.isfinite(norms)].max())
        run.metrics |= {f"{key}_final_loss": float(last), f"{key}_batches": finite}
        run.metrics[f"{key}_largest_gradient_norm"] = largest
        for i in range(0, len(costs), 10):
            run.history.append({"part": "sum", "clipping": clipping, "batch": i + 1, "loss": float(costs[i])})
        end = f"loss {last:.3f} at the end" if math.isfinite(last) else f"not finite after {len(costs) - 1} batches"
        label = "no clipping" if clipping == "none" else f"by {clipping}, {limit_of(clipping, limit):g}"
        run.log(f"{label:22}{end}; largest gradient norm {largest:.3g}")
        steps = np.arange(1, finite + 1)
        curves[label] = steps, costs[:finite], "-", color
        if finite < len(costs):
            curves[f"{label}: then infinite"] = steps[-1:], costs[finite - 1 : finite], "x", color
    title, levels = "Without clipping the loss explodes", {"guessing the mean": 1.0}
    run.plot_curves("clipping.png", title, "batch", "mean squared error", curves, levels, yscale="log")


# --- the cliff --------------------------------------------------------------------------------------------------------


def cliff_loss(w: Array, b: Array) -> Array:
    """The loss at each w and b (arrays of one shape)."""
    h = np.full(np.broadcast_shapes(np.shape(w), np.shape(b)), 0.5)
    for _ in range(CLIFF_STEPS):
        h = 1 / (1 + np.exp(-(w * h + b)))
    return (h - CLIFF_TARGET) ** 2


def descend_cliff(start: tuple[float, float], limit: float | None, rate: float, updates: int) -> Array:
    """(updates + 1, 2) path of (w, b) down the gradient; ``limit`` clips it by its global norm."""
    cell = layers.SimpleRNN(1, activation="sigmoid", dtype="float64")
    cell.build((None, None, 1))
    cell.set_weights([np.zeros((1, 1)), [[start[0]]], [start[1]]])
    x, h = np.zeros((1, CLIFF_STEPS, 1)), np.full((1, 1), 0.5)
    optimizer = optimizers.SGD(rate, global_clipnorm=limit)
    weights = cell.trainable_variables[1:]  # w and b; the input is zero
    path = [start]
    for _ in range(updates):
        with GradientTape() as tape:
            loss = reduce_mean((cell(x, initial_state=[h]) - CLIFF_TARGET) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        path.append((float(weights[0].numpy()[0, 0]), float(weights[1].numpy()[0])))
    return np.array(path)


# --- the run ----------------------------------------------------------------------------------------------------------


def main(run: Run) -> int:
    """Measure, train, draw and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    arguments = run.arguments
    if not 0 < arguments.clip < math.inf:
        raise ValueError(f"--clip: expected a number > 0, got {arguments.clip}")
    settings = override(SETTINGS[arguments.preset], arguments)
    run.start("generated: the book's matrices, symbols to recall after noise, sums of numbers")
    _powers(run)
    _clippings(run)
    compare_cells(run, settings, arguments.units)
    compare_clippings(run, arguments.clip, settings.batches)
    _cliff(run)
    return run.finish(units=arguments.units, steps=settings.steps, clip=arguments.clip)


def _powers(run: Run) -> None:
    curves: dict[str, Any] = {}
    run.log(f"{'W':22}{'eigenvalues':>14}{'norm of W':>12}{f'W^{POWERS}':>12}{'by eigenvalues':>16}")
    for (largest, matrix), color in zip(MATRICES.items(), ("#ee6677", "#4477aa"), strict=True):
        norms, exact = power_norms(matrix), power_norms_by_eigenvalues(matrix)
        steps = linear_gradient_norms(matrix)
        low, high = np.linalg.eigvalsh(matrix)
        run.log(
            f"{np.array2string(matrix, separator=' ').replace(chr(10), ''):22}{f'{abs(low):.1f}, {high:.1f}':>14}"
            f"{norms[0]:12.4g}{norms[-1]:12.4g}{exact[-1]:16.4g}"
        )
        name = f"{largest:g}".replace(".", "_")
        run.metrics[f"power_norm_{name}"] = float(norms[-1])
        run.metrics[f"linear_gradient_ratio_{name}"] = float(steps[0] / steps[-1])
        run.log(
            f"  as the recurrent kernel of a linear SimpleRNN: dL/dh_1 is {steps[0] / steps[-1]:.4g} times "
            f"dL/dh_{POWERS} ({largest:g}^{POWERS - 1})"
        )
        powers = np.arange(1, POWERS + 1)
        curves[f"by eigenvalues: {largest:g}ⁿ"] = powers, exact, "-", color
        curves[f"repeated products, largest eigenvalue {largest:g}"] = powers, norms, "o", color
    title = "Powers grow or vanish with the largest eigenvalue"
    run.plot_curves("powers.png", title, "power n", "norm of Wⁿ", curves, yscale="log")


def _clippings(run: Run) -> None:
    run.log(f"{'clipping':40}{'norm before':>12}{'after':>10}{'cosine of the angle':>21}")
    run.metrics["clippings"] = table = clipping_table(run.arguments.seed)
    for row in table:
        run.log(f"{row['way']:40}{row['norm_before']:12.6g}{row['norm_after']:10.6g}{row['cosine']:21.4f}")


def _cliff(run: Run) -> None:
    """Descend from the same point with and without clipping."""
    curves: dict[str, Any] = {}
    for key, name, limit, color in (
        ("unclipped", "no clipping", None, "#ee6677"),
        ("clipped", "clipped by norm 0.3", 0.3, "#4477aa"),
    ):
        path = descend_cliff((5.5, -2.6), limit, 0.5, 120)
        longest, loss = float(np.linalg.norm(np.diff(path, axis=0), axis=1).max()), float(cliff_loss(*path[-1]))
        run.metrics |= {f"cliff_{key}_longest_step": longest, f"cliff_{key}_final_loss": loss}
        run.log(f"cliff, {name:20} longest step {longest:10.4g}, loss at the end {loss:.2g}")
        curves[name] = path[:, 0], path[:, 1], "o-", color
    curves["start"] = [5.5], [-2.6], "*", "#228833"
    run.plot("cliff.png", lambda figure: _draw_cliff(figure, curves))


def _draw_cliff(figure: Any, curves: Curves) -> None:
    axes = figure.add_subplot()
    w, b = np.meshgrid(np.linspace(3.4, 6, 260), np.linspace(-3, -1.2, 260))
    surface = axes.contourf(w, b, cliff_loss(w, b), 24, cmap="Greys", vmax=0.7)
    figure.colorbar(surface, label="loss J(w, b)")
    title = f"One step off the cliff leaves the picture\nh(t) = σ(w h(t-1) + b), {CLIFF_STEPS} time steps"
    labels: dict[str, Any] = {"xlabel": "recurrent weight w", "ylabel": "bias b", "title": title}
    draw_curves(axes, curves, xlim=(3.4, 6), ylim=(-3, -1.2), **labels)
