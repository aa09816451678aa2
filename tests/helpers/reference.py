"""NumPy float64 cells, loops, losses and optimizers, written from the equations; never imports the library.

B, T, D, H: batch, time steps, input features, units. Everything is computed one time step after the other, with each
backward pass written out, so that a reader can compare every line with its formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

F = np.float64


# Activations ----------------------------------------------------------------------------------------------------------


def activate(name, a):
    """The activation `name` of a."""
    if name == "tanh":
        return np.tanh(a)
    if name == "relu":
        return np.maximum(a, 0.0)
    if name == "sigmoid":
        small = np.exp(-np.abs(a))
        return np.where(a >= 0, 1.0, small) / (1.0 + small)
    if name == "linear":
        return a
    if name == "hard_sigmoid":
        return np.clip(a / 6.0 + 0.5, 0.0, 1.0)
    raise ValueError(name)


def slope(name, y):
    """Derivative of the activation `name` where its value is y."""
    if name == "tanh":
        return 1.0 - y * y
    if name == "relu":
        return (y > 0).astype(F)
    if name == "sigmoid":
        return y * (1.0 - y)
    if name == "linear":
        return np.ones_like(y)
    if name == "hard_sigmoid":
        return ((y > 0) & (y < 1)) / 6.0
    raise ValueError(name)


def softmax(x):
    """Softmax along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Cells: one step forward and backward --------------------------------------------------------------------------------
#
# step(x, state, scale, w, act, gate) -> (new state, cache). `scale` multiplies h_{t-1} where it enters a product
# (recurrent dropout of Keras 3: the GRU's z * h_{t-1} takes the h without it). `gate` is the recurrent activation.
# back(cache, dstate, w, act, gate) -> (dx, gradients of the previous state, gradients of the weights).


def _plus(a, bias):
    return a if bias is None else a + bias


class SimpleRNN:
    """h = act(x W + h' U + b)."""

    gates, states = 1, 1

    @staticmethod
    def step(x, state, scale, w, act, gate):
        kernel, recurrent, bias = w
        hs = state[0] * scale
        h = activate(act, _plus(x @ kernel + hs @ recurrent, bias))
        return (h,), (x, hs, scale, h)

    @staticmethod
    def back(cache, dstate, w, act, gate):
        kernel, recurrent, _ = w
        x, hs, scale, h = cache
        da = dstate[0] * slope(act, h)
        return da @ kernel.T, (da @ recurrent.T * scale,), (x.T @ da, hs.T @ da, da.sum(0))


class LSTM:
    """i, f, o = gate(.), g = act(.); c = f c' + i g; h = o act(c). Gate order i f c o."""

    gates, states = 4, 2

    @staticmethod
    def step(x, state, scale, w, act, gate):
        kernel, recurrent, bias = w
        hs, before = state[0] * scale, state[1]
        i, f, g, o = np.split(_plus(x @ kernel + hs @ recurrent, bias), 4, axis=1)
        i, f, g, o = activate(gate, i), activate(gate, f), activate(act, g), activate(gate, o)
        c = f * before + i * g
        u = activate(act, c)
        return (o * u, c), (x, hs, scale, before, i, f, g, o, u)

    @staticmethod
    def back(cache, dstate, w, act, gate):
        kernel, recurrent, _ = w
        x, hs, scale, before, i, f, g, o, u = cache
        dh, dc = dstate
        dc = dc + dh * o * slope(act, u)
        di, df = dc * g * slope(gate, i), dc * before * slope(gate, f)
        dg, do = dc * i * slope(act, g), dh * u * slope(gate, o)
        da = np.concatenate([di, df, dg, do], axis=1)
        return da @ kernel.T, (da @ recurrent.T * scale, dc * f), (x.T @ da, hs.T @ da, da.sum(0))


class GRU:
    """Reset after the product: n = act(x W_n + b_n + r (h' U_n + b'_n)); h = z h' + (1 - z) n. Bias (2, 3H)."""

    gates, states = 3, 1

    @staticmethod
    def step(x, state, scale, w, act, gate):
        kernel, recurrent, bias = w
        before = state[0]
        hs = before * scale
        xz, xr, xn = np.split(_plus(x @ kernel, None if bias is None else bias[0]), 3, axis=1)
        hz, hr, hn = np.split(_plus(hs @ recurrent, None if bias is None else bias[1]), 3, axis=1)
        z, r = activate(gate, xz + hz), activate(gate, xr + hr)
        n = activate(act, xn + r * hn)
        return (z * before + (1 - z) * n,), (x, hs, scale, before, z, r, n, hn)

    @staticmethod
    def back(cache, dstate, w, act, gate):
        kernel, recurrent, _ = w
        x, hs, scale, before, z, r, n, hn = cache
        dh = dstate[0]
        dn = dh * (1 - z) * slope(act, n)
        dz = dh * (before - n) * slope(gate, z)
        dr = dn * hn * slope(gate, r)
        dax = np.concatenate([dz, dr, dn], axis=1)
        dah = np.concatenate([dz, dr, dn * r], axis=1)
        weights = (x.T @ dax, hs.T @ dah, np.stack([dax.sum(0), dah.sum(0)]))
        return dax @ kernel.T, (dah @ recurrent.T * scale + dh * z,), weights


class GRUResetBefore:
    """Reset before the product: n = act(x W_n + (r h') U_n + b_n); h = z h' + (1 - z) n. Bias (3H,)."""

    gates, states = 3, 1

    @staticmethod
    def step(x, state, scale, w, act, gate):
        kernel, recurrent, bias = w
        before = state[0]
        hs = before * scale
        units = hs.shape[1]
        xz, xr, xn = np.split(_plus(x @ kernel, bias), 3, axis=1)
        z = activate(gate, xz + hs @ recurrent[:, :units])
        r = activate(gate, xr + hs @ recurrent[:, units : 2 * units])
        n = activate(act, xn + (r * hs) @ recurrent[:, 2 * units :])
        return (z * before + (1 - z) * n,), (x, hs, scale, before, z, r, n)

    @staticmethod
    def back(cache, dstate, w, act, gate):
        kernel, recurrent, _ = w
        x, hs, scale, before, z, r, n = cache
        units = hs.shape[1]
        dh = dstate[0]
        dn = dh * (1 - z) * slope(act, n)
        drh = dn @ recurrent[:, 2 * units :].T
        dz = dh * (before - n) * slope(gate, z)
        dr = drh * hs * slope(gate, r)
        dgates = np.concatenate([dz, dr], axis=1)
        da = np.concatenate([dz, dr, dn], axis=1)
        dhs = dgates @ recurrent[:, : 2 * units].T + drh * r
        drecurrent = np.concatenate([hs.T @ dgates, (r * hs).T @ dn], axis=1)
        return da @ kernel.T, (dhs * scale + dh * z,), (x.T @ da, drecurrent, da.sum(0))


class ContextRNN:
    """RNN-CF: s = (1 - alpha) x B + alpha s'; h = act(x A + s P + h' R + b); output [h, s].

    Weights (B (D, C), A (D, H), P (C, H), R (H, H), b or None). Mikolov et al., "Learning longer memory in recurrent
    neural networks", 2014.
    """

    states = 2

    def __init__(self, alpha):
        self.alpha = alpha

    def step(self, x, state, scale, w, act, gate):
        b_kernel, a_kernel, p, r, bias = w
        hs = state[0] * scale
        s = (1 - self.alpha) * (x @ b_kernel) + self.alpha * state[1]
        h = activate(act, _plus(x @ a_kernel + s @ p + hs @ r, bias))
        return (h, s), (x, hs, scale, h, s)

    def back(self, cache, dstate, w, act, gate):
        b_kernel, a_kernel, p, r, _ = w
        x, hs, scale, h, s = cache
        da = dstate[0] * slope(act, h)
        ds = dstate[1] + da @ p.T
        dz = (1 - self.alpha) * ds
        weights = (x.T @ dz, x.T @ da, s.T @ da, hs.T @ da, da.sum(0))
        return da @ a_kernel.T + dz @ b_kernel.T, (da @ r.T * scale, self.alpha * ds), weights


CELLS = {"rnn": SimpleRNN, "lstm": LSTM, "gru": GRU, "gru_reset_before": GRUResetBefore}


# The loop over time ---------------------------------------------------------------------------------------------------


@dataclass
class Tape:
    """Values that `forward` keeps for `backward`."""

    cell: object
    x: np.ndarray
    weights: list
    options: dict
    directions: list = field(default_factory=list)


def _order(batch, steps, reverse, lengths, mask):
    """For scan step k: the time index of each row (B,) and which rows compute a step (B,)."""
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    rows = np.arange(batch)
    for k in range(steps):
        inside = k < lengths
        time = np.where(inside, lengths - 1 - k, k) if reverse else np.full(batch, k)
        yield time, inside, inside if mask is None else inside & np.asarray(mask)[rows, time]


def _outputs(cell, state):
    return np.concatenate(state, axis=1) if isinstance(cell, ContextRNN) else state[0]


def forward(
    cell,
    x,
    weights,
    *,
    initial=None,
    reverse=(False,),
    lengths=None,
    mask=None,
    input_dropout=None,
    state_dropout=None,
    activation="tanh",
    recurrent_activation="sigmoid",
    sequences=True,
    processing_order=False,
    zero_masked=False,
):
    """A whole sequence x (B, T, D) in one direction for each entry of `weights`.

    Returns y (B, T, outputs of all directions), or (B, outputs) without `sequences`; the final states; the tape.
    `lengths`: outputs are zero past the end, and the state, also the last output, is the one at the end. `mask`: a
    masked step repeats the last output (zeros before the first valid step; always zeros with `zero_masked`) and carries
    the state.
    """
    cell = CELLS[cell] if isinstance(cell, str) else cell
    x = np.asarray(x, F)
    batch, steps, _ = x.shape
    rows = np.arange(batch)
    weights = [[None if w is None else np.asarray(w, F) for w in ws] for ws in weights]
    options = {"act": activation, "gate": recurrent_activation, "sequences": sequences, "zero": zero_masked}
    tape = Tape(cell, x, weights, {**options, "lengths": lengths is not None})
    ys, states = [], []
    for n, w in enumerate(weights):
        units = w[3].shape[0] if isinstance(cell, ContextRNN) else w[1].shape[0]
        widths = (units, w[0].shape[1]) if isinstance(cell, ContextRNN) else (units,) * cell.states
        start = None if initial is None else initial[n]
        state = [np.zeros((batch, size)) for size in widths] if start is None else [np.array(s, F) for s in start]
        xs = None if input_dropout is None or input_dropout[n] is None else np.asarray(input_dropout[n], F)
        hs = (
            np.ones((batch, units))
            if state_dropout is None or state_dropout[n] is None
            else np.asarray(state_dropout[n], F)
        )
        y = np.zeros((batch, steps, sum(widths) if isinstance(cell, ContextRNN) else units))
        last = np.zeros_like(y[:, 0]) if steps else None
        caches, started = [], np.zeros(batch, bool)
        for k, (time, inside, valid) in enumerate(_order(batch, steps, reverse[n], lengths, mask)):
            row = rows[valid]
            xt = x[row, time[row]] if xs is None else x[row, time[row]] * xs[row]
            new, cache = cell.step(xt, tuple(s[row] for s in state), hs[row], w, activation, recurrent_activation)
            for s, value in zip(state, new, strict=True):
                s[row] = value
            last[row] = _outputs(cell, new)
            if zero_masked:
                last[~valid] = 0.0
            at = np.full(batch, k) if processing_order else time
            y[rows[inside], at[inside]] = last[inside]
            started = started | valid
            caches.append((cache, row, at, inside, valid, started, time))
        tape.directions.append((caches, widths, xs))
        states.append(tuple(s.copy() for s in state))
        if sequences:
            ys.append(y)
        else:
            ys.append(_outputs(cell, state) if lengths is not None else last.copy())
    return np.concatenate(ys, axis=-1), states, tape


def backward(tape, dy=None, dstates=None):
    """Backpropagation through time of `forward`.

    Returns dx (B, T, D), the weights' gradients and the initial states' gradients of each direction, and for each
    direction dL/dh_t (B, T, H) in the order of y: the whole derivative by the h that a step leaves behind (at a masked
    step the h it carries; zeros past a length).
    """
    cell, options = tape.cell, tape.options
    batch, steps, _ = tape.x.shape
    dx = np.zeros_like(tape.x)
    all_weights, all_states, all_steps = [], [], []
    offset = 0
    for n, (w, (caches, widths, xs)) in enumerate(zip(tape.weights, tape.directions, strict=True)):
        context = isinstance(cell, ContextRNN)
        width = sum(widths) if context else widths[0]
        part = None if dy is None else np.asarray(dy, F)[..., offset : offset + width]
        offset += width
        given = None if dstates is None else dstates[n]
        given = (None,) * len(widths) if given is None else given
        pairs = zip(given, widths, strict=True)
        dstate = [np.zeros((batch, size)) if g is None else np.array(g, F) for g, size in pairs]
        dweights = [None if a is None else np.zeros_like(a) for a in w]
        dsteps = np.zeros((batch, steps, widths[0]))
        repeated = np.zeros((batch, width))
        if part is not None and not options["sequences"]:
            if options["lengths"]:
                pieces = np.split(part, np.cumsum(widths)[:-1], axis=1) if context else [part]
                for s, d in zip(dstate, pieces, strict=False):
                    s += d
            else:
                repeated += part
        for cache, row, at, inside, valid, started, time in reversed(caches):
            if part is not None and options["sequences"]:
                repeated[inside] += part[np.arange(batch)[inside], at[inside]]
            if options["zero"]:
                repeated[~valid] = 0.0
            carried = inside & ~valid
            shown = np.where(started[:, None], repeated, 0.0)[:, : widths[0]]
            dsteps[carried, at[carried]] = (dstate[0] + shown)[carried]
            out = repeated[row]
            repeated[row] = 0.0
            here = [s[row] for s in dstate]
            if context:
                here = [h + o for h, o in zip(here, np.split(out, np.cumsum(widths)[:-1], axis=1), strict=True)]
            else:
                here[0] = here[0] + out
            dsteps[row, at[row]] = here[0]
            dxt, before, gradients = cell.back(cache, here, w, options["act"], options["gate"])
            dx[row, time[row]] += dxt if xs is None else dxt * xs[row]
            for s, value in zip(dstate, before, strict=True):
                s[row] = value
            for total, gradient in zip(dweights, gradients, strict=True):
                if total is not None:
                    total += gradient
        all_weights.append(dweights)
        all_states.append(tuple(dstate))
        all_steps.append(dsteps)
    return dx, all_weights, all_states, all_steps


def scan_forward(z, alpha, initial=None, lengths=None, mask=None, reverse=False):
    """s_t = (1 - alpha) z_t + alpha s_{t-1}; zero past a length, carried where masked. Returns s and the final s."""
    batch, steps, columns = z.shape
    s = np.zeros((batch, columns)) if initial is None else np.array(initial, F)
    out = np.zeros((batch, steps, columns))
    for b in range(batch):
        times = range(steps if lengths is None else int(lengths[b]))
        for t in reversed(times) if reverse else times:
            if mask is None or mask[b, t]:
                s[b] = (1 - alpha) * z[b, t] + alpha * s[b]
            out[b, t] = s[b]
    return out, s


def scan_backward(ds, ds_last, alpha, shape, lengths=None, mask=None, reverse=False):
    """Backward pass of `scan_forward`: dz and the gradient of the initial s."""
    batch, steps, columns = shape
    dz = np.zeros(shape)
    d = np.zeros((batch, columns)) if ds_last is None else np.array(ds_last, F)
    for b in range(batch):
        times = range(steps if lengths is None else int(lengths[b]))
        for t in times if reverse else reversed(times):
            if ds is not None:
                d[b] += ds[b, t]
            if mask is None or mask[b, t]:
                dz[b, t] = (1 - alpha) * d[b]
                d[b] *= alpha
    return dz, d


# Dense, embedding, loss -----------------------------------------------------------------------------------------------


def dense_forward(x, kernel, bias=None, activation="linear"):
    """act(x W + b)."""
    bias = None if bias is None else np.asarray(bias, F)
    return activate(activation, _plus(np.asarray(x, F) @ np.asarray(kernel, F), bias))


def dense_backward(x, kernel, y, dy, activation="linear"):
    """Gradients of x, W and b."""
    da = np.asarray(dy, F) * slope(activation, np.asarray(y, F))
    return da @ np.asarray(kernel, F).T, np.asarray(x, F).T @ da, da.sum(0)


def _windows(steps, kernel_size, stride, dilation, pads):
    """For each output the pairs (k, t) of kernel rows and time steps that meet in it; the zeros around are left out."""
    windows, first = [], -pads[0]
    while first + (kernel_size - 1) * dilation < steps + pads[1]:
        pairs = [(k, first + k * dilation) for k in range(kernel_size)]
        windows.append([(k, t) for k, t in pairs if 0 <= t < steps])
        first += stride
    return windows


def conv1d_forward(x, kernel, bias=None, stride=1, dilation=1, pads=(0, 0), activation="linear"):
    """y_u = act(sum over k of x_{u stride + k dilation - pads[0]} W_k + b), x (B, T, D), W (K, D, N)."""
    x, kernel = np.asarray(x, F), np.asarray(kernel, F)
    windows = _windows(x.shape[1], len(kernel), stride, dilation, pads)
    y = np.zeros((len(x), len(windows), kernel.shape[2]))
    for u, window in enumerate(windows):
        for k, t in window:
            y[:, u] += x[:, t] @ kernel[k]
    return activate(activation, _plus(y, None if bias is None else np.asarray(bias, F)))


def conv1d_backward(x, kernel, y, dy, stride=1, dilation=1, pads=(0, 0), activation="linear"):
    """Gradients of x, W and b."""
    x, kernel = np.asarray(x, F), np.asarray(kernel, F)
    da = np.asarray(dy, F) * slope(activation, np.asarray(y, F))
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for u, window in enumerate(_windows(x.shape[1], len(kernel), stride, dilation, pads)):
        for k, t in window:
            dx[:, t] += da[:, u] @ kernel[k].T
            dkernel[k] += x[:, t].T @ da[:, u]
    return dx, dkernel, da.sum((0, 1))


def embedding_backward(ids, dy, rows):
    """Gradient of the table (rows, D) for flat ids (N,) and dy (N, D)."""
    gradient = np.zeros((rows, dy.shape[1]))
    for i, d in zip(ids, np.asarray(dy, F), strict=True):
        gradient[i] += d
    return gradient


def linear_softmax(x, kernel, bias, targets, weights=None):
    """Losses -log p(target), hits, and gradients of x, W, b for the loss sum(weights * losses)."""
    x, kernel = np.asarray(x, F), np.asarray(kernel, F)
    logits = _plus(x @ kernel, None if bias is None else np.asarray(bias, F))
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, F)
    rows = np.arange(len(x))
    high = logits.max(axis=1)
    losses = high + np.log(np.exp(logits - high[:, None]).sum(axis=1)) - logits[rows, targets]
    d = softmax(logits)
    d[rows, targets] -= 1.0
    d *= weights[:, None]
    return losses, logits.argmax(axis=1) == targets, d @ kernel.T, x.T @ d, d.sum(0)


# Optimizers (formulas of Keras 3), one array at a time, in place ------------------------------------------------------


def prepared(gradient, scale=1.0, clipvalue=None):
    """The gradient times `scale`, then clipped to +-clipvalue."""
    g = np.asarray(gradient, F) * scale
    return g if clipvalue is None else np.clip(g, -clipvalue, clipvalue)


def sgd(w, g, velocity=None, *, learning_rate, momentum=0.0, nesterov=False):
    """v = m v - lr g; w += v, or with Nesterov w += m v - lr g; without momentum w -= lr g."""
    if velocity is None:
        w -= learning_rate * g
        return
    velocity[...] = momentum * velocity - learning_rate * g
    w += momentum * velocity - learning_rate * g if nesterov else velocity


def adam(w, g, m, v, highest=None, *, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, step=1):
    """Kingma and Ba, 2015, in the form with the step's correction inside the rate; AMSGrad with `highest`."""
    rate = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    m += (g - m) * (1 - beta_1)
    v += (g * g - v) * (1 - beta_2)
    if highest is not None:
        np.maximum(highest, v, out=highest)
        v = highest
    w -= rate * m / (np.sqrt(v) + epsilon)


def rmsprop(w, g, v, momentums=None, averages=None, *, learning_rate, rho=0.9, momentum=0.0, epsilon=1e-7):
    """v = rho v + (1 - rho) g^2; step = lr g / sqrt(v [- average^2] + epsilon), through a momentum if there is one."""
    v[...] = rho * v + (1 - rho) * g * g
    under = v + epsilon
    if averages is not None:
        averages[...] = rho * averages + (1 - rho) * g
        under = v - averages**2 + epsilon
    step = learning_rate * g / np.sqrt(under)
    if momentums is not None:
        momentums[...] = momentum * momentums + step
        step = momentums
    w -= step


def adagrad(w, g, total, *, learning_rate, epsilon=1e-7):
    """a += g^2; w -= lr g / sqrt(a + epsilon)."""
    total += g * g
    w -= learning_rate * g / np.sqrt(total + epsilon)


# --- sampled losses --------------------------------------------------------------------------------------------------


def additive_attention(query, value, key, scale, allowed=None):
    """Bahdanau's additive attention in plain loops.

    Args:
        query, value, key: (B, Tq, D), (B, Tv, E), (B, Tv, D).
        scale: (D,).
        allowed: (B, Tq, Tv) bool, what may be seen; None for all.

    Returns:
        (B, Tq, E) outputs and (B, Tq, Tv) weights, zeros where nothing may be seen.
    """
    (batch, steps, _), width = query.shape, value.shape[1]
    outputs, weights = np.zeros((batch, steps, value.shape[2])), np.zeros((batch, steps, width))
    for b in range(batch):
        for i in range(steps):
            seen = [j for j in range(width) if allowed is None or allowed[b, i, j]]
            e = np.array([np.exp(np.sum(scale * np.tanh(query[b, i] + key[b, j]))) for j in seen])
            for j, p in zip(seen, e / e.sum()):
                weights[b, i, j] = p
                outputs[b, i] += p * value[b, j]
    return outputs, weights


def sampled_loss(kind, weights, biases, labels, x, sampled, true_expected=None, sampled_expected=None, remove=False):
    """Losses (B,) and gradient of each loss by its logits (true classes, then samples), by the published formulas.

    kind: "nce" (Gutmann and Hyvarinen 2010), "softmax" (Jean et al. 2015), "negative" (Mikolov et al. 2013).
    """
    B, N = labels.shape
    losses, slopes = np.zeros(B), np.zeros((B, N + len(sampled)))
    for r in range(B):
        ids = [*labels[r], *sampled]
        logits = np.array([x[r] @ weights[j] + (0 if biases is None else biases[j]) for j in ids])
        if true_expected is not None:
            logits -= np.log([*true_expected[r], *sampled_expected])
        z = np.array([1.0 if kind == "negative" else 1 / N] * N + [0.0] * len(sampled))
        counts = np.array([True] * N + [not (remove and j in labels[r]) for j in sampled])
        if kind == "softmax":
            e = np.where(counts, np.exp(logits - logits.max()), 0)
            losses[r] = np.log(e.sum()) + logits.max() - z @ logits
            slopes[r] = e / e.sum() - z
        else:
            losses[r] = (np.logaddexp(0, logits) - z * logits)[counts].sum()
            slopes[r] = np.where(counts, 1 / (1 + np.exp(-logits)) - z, 0)
    return losses, slopes


def sampled_gradients(slopes, dy, weights, labels, x, sampled):
    """Dense gradients of sum(dy * losses) by weights, biases and x."""
    dw, db, dx = np.zeros_like(weights, float), np.zeros(len(weights)), np.zeros_like(x, float)
    for r in range(len(x)):
        for slope, j in zip(slopes[r], [*labels[r], *sampled], strict=True):
            dw[j] += dy[r] * slope * x[r]
            db[j] += dy[r] * slope
            dx[r] += dy[r] * slope * weights[j]
    return dw, db, dx
