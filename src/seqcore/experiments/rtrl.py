"""``seqcore run rtrl``: the gradient of a recurrent network backward and forward in time, BPTT and RTRL.

R. Williams, D. Zipser, A learning algorithm for continually running fully recurrent neural networks (1989). Real-time
recurrent learning carries dh_t/dw along with the state, so that the gradient is known at each step and nothing of the
past is kept; backpropagation through time keeps the past instead and walks back.

B: sequences of a batch, T: time steps, D: input features, H: units, P: parameters of the recurrent layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import GradientTape, layers, ops, random
from ..optimizers import Adam
from ..typing import Array
from ._plots import draw_curves
from ._run import Run, number, override

UNITS, BATCH, RATE = 12, 16, 0.01
# Recurrent weights of one linear unit, and the steps over which the book takes their powers.
WEIGHTS, FAR = (1e-5, 0.9, 1.0, 1.1, 1000.0), 100
WAYS = {"rtrl": "RTRL", "bptt": "BPTT, whole sequence", "truncated": "BPTT cut to one step"}


@dataclass(frozen=True)
class Settings:
    """The delay of the echo, time steps of a sequence, and updates."""

    delay: int
    steps: int
    updates: int


SETTINGS = {"quick": Settings(6, 16, 800), "book": Settings(10, 30, 3000)}


OPTIONS = (
    number("--delay", "steps back of the input to repeat (default: quick 6, book 10)", metavar="K"),
    number("--updates", "updates of each training (default: quick 800, book 3000)"),
)


# --- the gradient in two ways -----------------------------------------------------------------------------------------


class Echo:
    """A SimpleRNN of H units and a linear output y_t = h_t·v + c: the input of K steps ago, to be repeated.

    Loss: the squared error, mean over batch and steps.
    """

    def __init__(self, units: int, dtype: str = "float64") -> None:
        self.layer = layers.SimpleRNN(units, return_sequences=True, dtype=dtype)
        self.head = layers.Dense(1, dtype=dtype)
        self.layer.build((None, None, 1))
        self.head.build((None, None, units))
        self.variables = [*self.layer.trainable_variables, *self.head.trainable_variables]

    def bptt(self, x: Array, target: Array, reach: int | None = None) -> tuple[float, list[Array]]:
        """Loss and gradients of x (B, T, 1); with ``reach`` the gradient ends that many steps back."""
        pieces = range(0, x.shape[1], reach or x.shape[1])
        state, losses = None, []
        with GradientTape() as tape:
            for begin in pieces:
                at = slice(begin, begin + (reach or x.shape[1]))
                h = self.layer(x[:, at], initial_state=state)
                losses.append(ops.reduce_sum(ops.square(ops.subtract(self.head(h), target[:, at]))))
                state = None if h is None else [h.numpy()[:, -1]]
            loss = losses[0]
            for other in losses[1:]:
                loss = ops.add(loss, other)
        gradients = [np.asarray(g) / target.size for g in tape.gradient(loss, self.variables)]
        return float(loss) / target.size, gradients

    def rtrl(self, x: Array, target: Array) -> tuple[float, list[Array]]:
        """The same, walking forward once: J_t = dh_t/dw (B, H, P) is all that is kept of the past.

        J_t = diag(1 - h_t²)·(∂h_t/∂w + Uᵀ·J_{t-1}), where ∂ takes h_{t-1} as given; dL/dw = Σ_t dL/dh_t·J_t.
        """
        (w, u, b), (v, c) = (
            [variable.numpy() for variable in layer.trainable_variables] for layer in (self.layer, self.head)
        )
        (batch, steps, features), units = x.shape, len(u)
        h, loss = np.zeros((batch, units)), 0.0
        jacobian = np.zeros((batch, units, (features + units + 1) * units))
        total, dv, dc = np.zeros(jacobian.shape[2]), np.zeros_like(v), np.zeros_like(c)
        for t in range(steps):
            seen = np.concatenate([x[:, t], h, np.ones((batch, 1))], axis=1)
            h = np.tanh(x[:, t] @ w + h @ u + b)
            # The rows of [W; U; b] one after the other: element (i, j) moves unit j by the i-th thing seen.
            direct = (seen[:, None, :, None] * np.eye(units)[:, None, :]).reshape(batch, units, -1)
            jacobian = (1 - h**2)[:, :, None] * (direct + u.T @ jacobian)
            error = h @ v + c - target[:, t]
            loss += float((error**2).sum())
            dy = 2 * error / target.size
            total += np.einsum("bh,bhp->p", dy @ v.T, jacobian)
            dv, dc = dv + h.T @ dy, dc + dy.sum(axis=0)
        ends = [features * units, (features + units) * units]
        dw, du, db = np.split(total, ends)
        return loss / target.size, [dw.reshape(w.shape), du.reshape(u.shape), db, dv, dc]


def numbers_kept(units: int, features: int, steps: int) -> dict[str, int]:
    """Numbers that one sequence needs beyond the weights: the states of all steps, or dh/dw of the last one.

    >>> numbers_kept(16, 1, 100), numbers_kept(64, 1, 100)
    ({'bptt': 1600, 'rtrl': 4608}, {'bptt': 6400, 'rtrl': 270336})
    """
    return {"bptt": steps * units, "rtrl": units * (features + units + 1) * units}


def contributions(model: Echo, x: Array) -> Array:
    """(T,) norms of the parts of dh_T/dU that the steps 1...T contribute; their sum is the whole derivative.

    The part of step i is Σ ∂h_i/∂U carried on to T by the derivatives dh_T/dh_i, in the direction of all units.
    """
    u = model.layer.recurrent_kernel.numpy()
    h = np.concatenate([np.zeros((len(x), 1, len(u))), model.layer(x).numpy()], axis=1)
    back, norms = np.ones((len(x), len(u))), np.zeros(x.shape[1])
    for t in range(x.shape[1], 0, -1):
        back = back * (1 - h[:, t] ** 2)
        norms[t - 1] = np.linalg.norm(np.einsum("bi,bj->ij", h[:, t - 1], back) / len(x))
        back = back @ u.T
    return norms


def power_table(dtype: Any) -> dict[float, float]:
    """dh_n/dh_0 = w^n of one linear unit after n = 100 steps, as that type of number computes it.

    >>> power_table(np.float64)[1e-5], power_table(np.float32)[1000.0]
    (0.0, inf)
    """
    table = {}
    with np.errstate(over="ignore", under="ignore"):
        for weight in WEIGHTS:
            product = dtype(1)
            for _ in range(FAR):
                product = dtype(product * dtype(weight))
            table[weight] = float(product)
    return table


# --- training ---------------------------------------------------------------------------------------------------------


def batch_of(rng: np.random.Generator, settings: Settings) -> tuple[Array, Array]:
    """x (B, T, 1), signs by chance, and the target: x of K steps ago, 0 before that."""
    x = rng.choice([-1.0, 1.0], (BATCH, settings.steps, 1))
    target = np.zeros_like(x)
    target[:, settings.delay :] = x[:, : -settings.delay]
    return x, target


def train(way: str, settings: Settings, seed: int) -> tuple[Echo, list[float]]:
    """Train with the gradients of one of :data:`WAYS`; the model and its losses."""
    random.set_seed(seed)
    rng, model, optimizer, losses = np.random.default_rng(seed), Echo(UNITS), Adam(RATE), []
    for _ in range(settings.updates):
        x, target = batch_of(rng, settings)
        if way == "rtrl":
            loss, gradients = model.rtrl(x, target)
        else:
            loss, gradients = model.bptt(x, target, None if way == "bptt" else 1)
        losses.append(loss)
        optimizer.apply_gradients(zip(gradients, model.variables, strict=True))
    return model, losses


def main(run: Run) -> int:
    """Compare the gradients, train with each and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    seed, settings = run.arguments.seed, override(SETTINGS[run.arguments.preset], run.arguments)
    if settings.delay >= settings.steps:
        raise ValueError(f"--delay: expected less than the {settings.steps} time steps, got {settings.delay}")
    run.start(f"signs by chance, to be repeated {settings.delay} steps later")
    x, target = batch_of(np.random.default_rng(seed), settings)
    model = Echo(UNITS)
    pairs = zip(model.bptt(x, target)[1], model.rtrl(x, target)[1], strict=True)
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    kept = numbers_kept(UNITS, 1, settings.steps)
    run.metrics |= {"largest_difference": difference, **{f"{way}_numbers_kept": n for way, n in kept.items()}}
    run.log(f"largest difference of a gradient, RTRL and BPTT, {settings.steps} steps: {difference:.1e}")
    run.log(f"numbers kept for each sequence: BPTT {kept['bptt']:,}, RTRL {kept['rtrl']:,}")
    run.log(f"w^{FAR} in float64 and in float32, the derivative of one linear unit over {FAR} steps:")
    double, single = power_table(np.float64), power_table(np.float32)
    for weight in WEIGHTS:
        run.log(f"  w = {weight:<8g}{double[weight]:>12.4g}{single[weight]:>12.4g}")
    curves: dict[str, Any] = {}
    norms: dict[str, Any] = {}
    for (way, title), color in zip(WAYS.items(), ("#4477aa", "#ee6677", "#228833"), strict=True):
        model, losses = train(way, settings, seed)
        run.metrics[f"{way}_final_loss"] = float(np.mean(losses[-50:]))
        run.history += [{"way": way, "update": i + 1, "loss": losses[i]} for i in range(0, len(losses), 10)]
        run.log(f"{title:24}loss {run.metrics[f'{way}_final_loss']:.4f} after {settings.updates:,} updates")
        # RTRL and BPTT lie on each other: a line and points. The first step contributes nothing, since h_0 is 0.
        every, style = (25, "o") if way == "bptt" else (1, "-")
        curves[title] = range(1, len(losses) + 1, every), losses[::every], style, color
        norms[title] = range(2, settings.steps + 1), contributions(model, x)[1:], style, color
    run.plot("rtrl.png", lambda figure: _draw(figure, curves, norms, settings), 10, 4)
    return run.finish(delay=settings.delay, updates=settings.updates)


def _draw(figure: Any, curves: dict[str, Any], norms: dict[str, Any], settings: Settings) -> None:
    left, right = figure.subplots(1, 2)
    knowing = 1 - settings.delay / settings.steps
    title = f"Repeating the input of {settings.delay} steps ago"
    draw_curves(
        left, curves, {"always 0": knowing}, yscale="log", xlabel="update", ylabel="mean squared error", title=title
    )
    title = "Parts of the derivative of the last state by U"
    draw_curves(right, norms, yscale="log", xlabel="time step that contributes", ylabel="norm", title=title)
