"""``seqcore run forget_gate``: an LSTM with nothing but its forget gate, next to the LSTM and the GRU.

J. van der Westhuizen, J. Lasenby, The unreasonable effectiveness of the forget gate (2018), on two tasks over long
sequences: a symbol recalled after noise, and digits read pixel by pixel.

B: sequences of a batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops, random
from ..autograd.tensor import Tensor
from ..callbacks import EarlyStopping
from ..datasets.images import load_digits
from ..layers import Dense, Input, register
from ..layers.rnn.base import RNNCell, RNNLayer
from ..models import Sequential
from ..typing import Array
from . import memory
from ._plots import draw_bars
from ._run import Run, compile_classifier, number, override, recurrent_layer

UNITS, BATCH, RATE = 32, 32, 0.005
# sigmoid(40) is 1 in float64, so that r∘h is h.
OPEN = 40.0
CELLS = {"lstm": "LSTM", "forget_gate": "forget gate alone", "gru": "GRU"}
COLUMNS = ("lstm", "lstm, chrono", "forget_gate", "forget_gate, chrono", "gru")


@dataclass(frozen=True)
class Settings:
    """Time steps and epochs of the recall, epochs of the digits, seeds of each model."""

    steps: int
    recall_epochs: int
    epochs: int
    repeats: int


SETTINGS = {"quick": Settings(80, 5, 20, 3), "book": Settings(160, 15, 60, 5)}


class ForgetGateCell(RNNCell):
    """f = σ(x·W_f + h'·U_f + b_f), h = f∘h' + (1 - f)∘tanh(x·W_c + h'·U_c + b_c); columns in the order f, c.

    It is a GRU whose reset gate stays open, and runs as that in the core.
    """

    _config_arguments = ("units",)
    _gates = 2
    core_cell = "gru_reset_before"
    recurrent_activation = "sigmoid"

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(units, "tanh", True, 0.0, 0.0, None, **options)
        self._set_initializers("glorot_uniform", "orthogonal", "zeros")

    def core_variables(self) -> tuple[Any, Any, Any]:
        kernel, recurrent = (self._with_reset(weight, 0.0) for weight in (self.kernel, self.recurrent_kernel))
        return kernel, recurrent, self._with_reset(self.bias, OPEN)

    def _with_reset(self, weight: Any, value: float) -> Tensor:
        """(..., 2 H) with the columns of a reset gate between the two: (..., 3 H)."""
        f, c = ops.split(weight, 2, axis=-1)
        return ops.concat([f, np.full(f.shape, value, self._dtype), c], axis=-1)

    def packed_weights(self, variables: Sequence[Any]) -> None:
        # The weights are joined anew in each call, so nothing is packed.
        return None


@register("seqcore.experiments.forget_gate/ForgetGateLSTM")
class ForgetGateLSTM(RNNLayer):
    """LSTM of H units with the forget gate alone; inputs (B, T, D), ``options`` as those of ``GRU``.

    >>> ForgetGateLSTM(4)(np.zeros((2, 5, 3))).shape
    (2, 4)
    """

    _config_arguments = ("units", *RNNLayer._config_arguments)
    cell: ForgetGateCell

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self._make_cell(ForgetGateCell, units)


def chrono_bias(cell: str, units: int, longest: int, rng: np.random.Generator) -> Array:
    """A first bias with forget gates for memories of 1...``longest`` steps; those of a full LSTM's input gate close.

    b_f = log(u), u uniform in 1...longest - 1, and b_i = -b_f: C. Tallec, Y. Ollivier, Can recurrent neural networks
    warp time?, 2018.
    """
    forget, zeros = np.log(rng.uniform(1, longest - 1, units)), np.zeros(units)
    return np.concatenate([forget, zeros] if cell == "forget_gate" else [-forget, forget, zeros, zeros])


def make_layer(column: str, longest: int, features: int, rng: np.random.Generator) -> Any:
    """The built layer of a column of the tables."""
    cell, _, chrono = column.partition(", ")
    layer: Any = ForgetGateLSTM(UNITS) if cell == "forget_gate" else recurrent_layer(CELLS[cell], UNITS)
    layer.build((None, None, features))
    if chrono:
        layer.bias.assign(chrono_bias(cell, UNITS, longest, rng))
    return layer


OPTIONS = (
    number("--repeats", "seeds of each model, from --seed on (default: quick 3, book 5)"),
    number("--steps", "time steps of the recall (default: quick 80, book 160)", least=3, metavar="T"),
)


def recall(run: Run, settings: Settings, column: str, seed: int) -> float:
    """Accuracy of the symbol that came first, after T - 1 steps of noise; the task is that of ``memory``."""
    model = memory.build_model(make_layer(column, settings.steps, memory.WIDTH, np.random.default_rng(seed)))
    memory.train(model, settings.steps, settings.recall_epochs, seed)
    return memory.accuracy(model, settings.steps, settings.steps - 1)


def digits(run: Run, settings: Settings, column: str, seed: int) -> float:
    """Test accuracy of scikit-learn's digits, read pixel by pixel; the weights are those of the best epoch."""
    data = load_digits()
    parts = [(part.images.reshape(len(part), -1, 1), part.labels) for part in (data.train, data.valid, data.test)]
    (x, y), valid, test = parts
    layer = make_layer(column, x.shape[1], 1, np.random.default_rng(seed))
    model = Sequential([Input((None, 1)), layer, Dense(10)])
    compile_classifier(model, RATE)
    best = EarlyStopping("val_accuracy", patience=settings.epochs, restore_best_weights=True)
    options: dict[str, Any] = {"epochs": settings.epochs, "batch_size": BATCH, "validation_data": valid, "verbose": 0}
    model.fit(x, y, callbacks=[best], **options)
    if column == "forget_gate, chrono" and seed == run.arguments.seed:
        run.save_model(model)
    return float(model.evaluate(*test, verbose=0, return_dict=True)["accuracy"])


def main(run: Run) -> int:
    """Train all layers on both tasks and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    run.start(f"one of {memory.SYMBOLS} symbols to recall after noise, and the digits of scikit-learn, pixel by pixel")
    tasks = {
        f"recall after {settings.steps - 1} steps": (recall, memory.WIDTH),
        "digits, 64 pixels": (digits, 1),
    }
    tables: dict[str, dict[str, list[float]]] = {}
    for title, (task, features) in tasks.items():
        run.log(f"{title:26}{'weights':>9}{'mean':>8}  each seed")
        table = tables[title] = {}
        for column in COLUMNS:
            row = table[column] = []
            for seed in range(arguments.seed, arguments.seed + settings.repeats):
                random.set_seed(seed)
                row.append(task(run, settings, column, seed))
                entry = {"part": task.__name__, "layer": column, "seed": seed, "test_accuracy": row[-1]}
                run.history.append(entry)
            count = make_layer(column, 9, features, np.random.default_rng(0)).count_params()
            run.metrics |= {f"{task.__name__}_{column.replace(', ', '_')}_parameters": count}
            run.log(f"{_title(column):26}{count:>9,}{np.mean(row):>8.3f}  {' '.join(f'{a:.3f}' for a in row)}")
        run.metrics[f"{task.__name__}_accuracy"] = {column: float(np.mean(row)) for column, row in table.items()}
    run.plot("accuracy.png", lambda figure: _draw(figure, tables), 9, 3.4)
    return run.finish(repeats=settings.repeats, steps=settings.steps)


def _title(column: str) -> str:
    cell, comma, chrono = column.partition(", ")
    return f"{CELLS[cell]}{comma}{chrono}"


def _draw(figure: Any, tables: dict[str, dict[str, list[float]]]) -> None:
    for axes, (title, table) in zip(figure.subplots(1, 2), tables.items(), strict=True):
        colors = ["#4477aa", "#4477aa", "#ee6677", "#ee6677", "#ccaa22"]
        means = {_title(column): float(np.mean(row)) for column, row in table.items()}
        draw_bars(axes, means, colors, xlim=(0, 1.03), xlabel="test accuracy (dots: seeds)", title=title)
        for place, row in enumerate(table.values()):
            axes.plot(row, [place] * len(row), ".", color="#222222")
        axes.grid(alpha=0.3, axis="x")
