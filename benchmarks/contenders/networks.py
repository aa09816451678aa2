"""Recurrent networks in fast NumPy: the reference for measuring and checking the compiled core.

The product of the input is taken for all time steps at once, the gates of a step are one product and one tanh, the
gradients of the weights are one product over all steps, and every buffer is reused from call to call. Nothing here
imports the rest of the package, so that the file also runs under an interpreter that has NumPy alone.

T: time steps, B: batch, D: input features, H: units, V: words; g = 1, 4, 3 gates. Sequences are time-major (T, B, D);
weights have the layout of Keras: kernel (D, gH), recurrent (H, gH), bias (gH,), of the GRU (2, 3H); gates i f c o and z
r h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = tuple[Array, Array, Array]

# Elements of the gates for which the backward pass prepares its factors at once: few enough to stay in the cache.
_BLOCK = 1 << 16


class _Direction:
    """One layer in one direction: buffers for one (T, B), the products over all steps, `_forward` and `_backward`."""

    def __init__(self, weights: Weights, steps: int, batch: int, reverse: bool = False) -> None:
        self.kernel, self.recurrent, self.bias = weights
        self.steps, self.batch, self.units, self.reverse = steps, batch, self.recurrent.shape[0], reverse
        self.saved_gates = self._empty(steps, batch, self.recurrent.shape[1])
        self.dgates = self._empty(steps, batch, self.recurrent.shape[1])
        self.saved_h, self.h_before, self.h = self._states()
        self.scratch_product = self._empty(batch, self.recurrent.shape[1])
        self.dh, self.dx = self._empty(batch, self.units), self._empty(steps, batch, self.kernel.shape[0])
        self.gradients = tuple(np.empty_like(weight) for weight in weights)

    def _empty(self, *shape: int) -> Array:
        return np.empty(shape, self.kernel.dtype)

    def _states(self) -> tuple[Array, Array, Array]:
        """(T + 1, B, H) for a state, and views of it (T, B, H): the state before step t, and the one after it."""
        states = np.zeros((self.steps + 1, self.batch, self.units), self.kernel.dtype)
        return (states, states[1:], states[:-1]) if self.reverse else (states, states[:-1], states[1:])

    def _start(self, states: Array, carry: bool) -> None:
        first, last = (-1, 0) if self.reverse else (0, -1)
        states[first] = states[last] if carry else 0.0

    def _times(self) -> range:
        """Time steps in the order of processing."""
        return range(self.steps - 1, -1, -1) if self.reverse else range(self.steps)

    def _blocks(self) -> list[tuple[slice, range]]:
        """Blocks of time steps in the order of the backward pass, each as a slice and as its steps in that order."""
        size = max(1, _BLOCK // self.dgates[0].size)
        starts = range(0, self.steps, size)
        turn = 1 if self.reverse else -1
        return [(slice(s, s + size), range(s, min(s + size, self.steps))[::turn]) for s in starts[::turn]]

    def forward(self, x: Array, carry: bool) -> Array:
        """x (T, B, D) -> h (T, B, H), valid until the next call."""
        self._start(self.saved_h, carry)
        rows = self.steps * self.batch
        np.matmul(x.reshape(rows, -1), self.kernel, out=self.saved_gates.reshape(rows, -1))
        self._forward(carry)
        return self.h

    def backward(self, x: Array, dy: Array) -> Array:
        """x of the last `forward`, dy (T, B, H) -> dx (T, B, D); the weights' go to `gradients`."""
        rows = self.steps * self.batch
        self.dh[:] = 0.0
        self._backward(dy)
        flat = self.dgates.reshape(rows, -1)
        dkernel, drecurrent, dbias = self.gradients
        np.matmul(self.h_before.reshape(rows, -1).T, flat, out=drecurrent)
        self._input_side(dbias)
        np.matmul(x.reshape(rows, -1).T, flat, out=dkernel)
        np.matmul(flat, self.kernel.T, out=self.dx.reshape(rows, -1))
        return self.dx

    def _input_side(self, dbias: Array) -> None:
        np.sum(self.dgates.reshape(-1, self.dgates.shape[2]), axis=0, out=dbias)

    def _forward(self, carry: bool) -> None:
        raise TypeError(f"{type(self).__name__}: expected a cell's own class")

    def _backward(self, dy: Array) -> None:
        raise TypeError(f"{type(self).__name__}: expected a cell's own class")


class _SimpleRNN(_Direction):
    """h_t = tanh(x_t W + h_{t-1} U + b); J. Elman, Finding structure in time, 1990."""

    def _forward(self, carry: bool) -> None:
        self.saved_gates += self.bias
        product = self.scratch_product
        for t in self._times():
            np.matmul(self.h_before[t], self.recurrent, out=product)
            product += self.saved_gates[t]
            np.tanh(product, out=self.h[t])

    def _backward(self, dy: Array) -> None:
        back, dh = self.recurrent.T, self.dh
        for block, times in self._blocks():
            factor = self.dgates[block]
            np.multiply(self.h[block], self.h[block], out=factor)
            np.subtract(1.0, factor, out=factor)
            for t in times:
                da = self.dgates[t]
                dh += dy[t]
                da *= dh
                np.matmul(da, back, out=dh)


class _LSTM(_Direction):
    """c_t = f c_{t-1} + i tanh(.), h_t = o tanh(c_t); S. Hochreiter, J. Schmidhuber, 1997, with F. Gers's forget gate.

    sigmoid(a) = 1/2 tanh(a/2) + 1/2, so that one tanh serves all gates.
    """

    def __init__(self, weights: Weights, steps: int, batch: int, reverse: bool = False) -> None:
        super().__init__(weights, steps, batch, reverse)
        self.saved_c, self.c_before, self.c = self._states()
        self.saved_u, self.dc = self._empty(steps, batch, self.units), self._empty(batch, self.units)
        self.scratch = self._empty(batch, self.units)
        ones = np.ones(self.units, self.kernel.dtype)
        self.scale = np.concatenate([ones / 2, ones / 2, ones, ones / 2])
        self.offset = 1 - self.scale
        self.gates = self.saved_gates.reshape(steps, batch, 4, self.units)
        self.dgates4 = self.dgates.reshape(steps, batch, 4, self.units)

    def _forward(self, carry: bool) -> None:
        self._start(self.saved_c, carry)
        self.saved_gates += self.bias
        product, scratch, scale, offset = self.scratch_product, self.scratch, self.scale, self.offset
        for t in self._times():
            a, c, u = self.saved_gates[t], self.c[t], self.saved_u[t]
            np.matmul(self.h_before[t], self.recurrent, out=product)
            a += product
            a *= scale
            np.tanh(a, out=a)
            a *= scale
            a += offset
            gates = self.gates[t]
            np.multiply(gates[:, 1], self.c_before[t], out=c)
            np.multiply(gates[:, 0], gates[:, 2], out=scratch)
            c += scratch
            np.tanh(c, out=u)
            np.multiply(gates[:, 3], u, out=self.h[t])

    def _backward(self, dy: Array) -> None:
        back, dh, dc, scratch = self.recurrent.T, self.dh, self.dc, self.scratch
        dc[:] = 0.0
        for block, times in self._blocks():
            self._factors(block)
            for t in times:
                d = self.dgates4[t]
                dh += dy[t]
                np.multiply(dh, self.saved_u[t], out=scratch)
                dc += scratch
                d[:, :3] *= dc[:, None]
                d[:, 3] *= dh
                dc *= self.gates[t, :, 1]
                np.matmul(self.dgates[t], back, out=dh)

    def _factors(self, block: slice) -> None:
        """Factors of dc_t and dh_t: those of the gates into dgates, that of dh_t in dc_t over u."""
        a, d, u = self.gates[block], self.dgates4[block], self.saved_u[block]
        i, g, o = a[:, :, 0], a[:, :, 2], a[:, :, 3]
        np.subtract(1.0, a, out=d)
        d *= a
        d[:, :, 0] *= g
        d[:, :, 1] *= self.c_before[block]
        np.multiply(g, g, out=d[:, :, 2])
        np.subtract(1.0, d[:, :, 2], out=d[:, :, 2])
        d[:, :, 2] *= i
        d[:, :, 3] *= u
        np.multiply(u, u, out=u)
        np.subtract(1.0, u, out=u)
        u *= o


class _GRU(_Direction):
    """h_t = z h_{t-1} + (1 - z) n, n = tanh(x_t W_h + b_h + r (h_{t-1} U_h + b'_h)); K. Cho et al., 2014.

    The reset gate is applied after the product, as in Keras's default and cuDNN.
    """

    def __init__(self, weights: Weights, steps: int, batch: int, reverse: bool = False) -> None:
        super().__init__(weights, steps, batch, reverse)
        self.saved_q, self.dn = self._empty(steps, batch, self.units), self._empty(steps, batch, self.units)
        self.scratch = self._empty(batch, self.units)
        self.dgates3 = self.dgates.reshape(steps, batch, 3, self.units)

    def _forward(self, carry: bool) -> None:
        units, product, scratch = self.units, self.scratch_product, self.scratch
        bias = self.bias[0].copy()
        bias[: 2 * units] += self.bias[1, : 2 * units]
        self.saved_gates += bias
        for t in self._times():
            a, q, h, before = self.saved_gates[t], self.saved_q[t], self.h[t], self.h_before[t]
            np.matmul(before, self.recurrent, out=product)
            zr, n = a[:, : 2 * units], a[:, 2 * units :]
            zr += product[:, : 2 * units]
            zr *= 0.5
            np.tanh(zr, out=zr)
            zr *= 0.5
            zr += 0.5
            np.add(product[:, 2 * units :], self.bias[1, 2 * units :], out=q)
            np.multiply(zr[:, units:], q, out=scratch)
            n += scratch
            np.tanh(n, out=n)
            np.subtract(before, n, out=h)
            h *= zr[:, :units]
            h += n

    def _backward(self, dy: Array) -> None:
        back, dh, product = self.recurrent.T, self.dh, self.scratch
        for block, times in self._blocks():
            self._factors(block)
            for t in times:
                d = self.dgates3[t]
                dh += dy[t]
                d *= dh[:, None]
                self.dn[t] *= dh
                dh *= self.saved_gates[t, :, : self.units]
                np.matmul(self.dgates[t], back, out=product)
                dh += product

    def _factors(self, block: slice) -> None:
        """Factors of dh_t: those of z, r and the reset product into dgates, that of n into dn."""
        units = self.units
        a, d, dn = self.saved_gates[block], self.dgates[block], self.dn[block]
        z, n = a[..., :units], a[..., 2 * units :]
        dz, dr, dq = d[..., :units], d[..., units : 2 * units], d[..., 2 * units :]
        np.subtract(1.0, a[..., : 2 * units], out=d[..., : 2 * units])
        np.multiply(n, n, out=dn)
        np.subtract(1.0, dn, out=dn)
        dn *= dz
        dz *= z
        np.subtract(self.h_before[block], n, out=dq)
        dz *= dq
        np.multiply(dn, a[..., units : 2 * units], out=dq)
        dr *= dq
        dr *= self.saved_q[block]

    def _input_side(self, dbias: Array) -> None:
        # dU has been computed from [dz, dr, r dn]; from here on dn is in the third place, for W.
        units = self.units
        np.sum(self.dgates.reshape(-1, 3 * units), axis=0, out=dbias[1])
        dbias[0, : 2 * units] = dbias[1, : 2 * units]
        np.sum(self.dn.reshape(-1, units), axis=0, out=dbias[0, 2 * units :])
        self.dgates[..., 2 * units :] = self.dn


_CELLS: dict[str, type[_Direction]] = {"SimpleRNN": _SimpleRNN, "LSTM": _LSTM, "GRU": _GRU}


class Network:
    """Layers of one cell on top of each other, each in one direction or both (outputs side by side).

    Args:
        cell: "SimpleRNN", "LSTM" or "GRU" (reset after).
        layers: per layer one weights triple, or two: forward in time, backward in time. Used as they are, not copied.
        steps, batch: T and B of every call.

    >>> random = np.random.default_rng(0).standard_normal
    >>> network = Network("LSTM", [[(random((3, 8)), random((2, 8)), random(8))]], steps=5, batch=4)
    >>> network.forward(random((5, 4, 3))).shape, network.backward(random((5, 4, 2))).shape
    ((5, 4, 2), (5, 4, 3))
    """

    def __init__(self, cell: str, layers: Sequence[Sequence[Weights]], steps: int, batch: int) -> None:
        self.layers = [
            [_CELLS[cell](weights, steps, batch, reverse=bool(i)) for i, weights in enumerate(layer)]
            for layer in layers
        ]
        self._inputs: list[Array] = []

    def forward(self, x: Array, carry: bool = False) -> Array:
        """x (T, B, D) -> y (T, B, directions * H), valid until the next call.

        ``carry`` continues from the states of the last call.
        """
        self._inputs = []
        for layer in self.layers:
            self._inputs.append(x)
            outputs = [direction.forward(x, carry) for direction in layer]
            x = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=2)
        return x

    def backward(self, dy: Array) -> Array:
        """dy (T, B, directions * H) for the last `forward`, once -> dx (T, B, D)."""
        for layer, x in zip(reversed(self.layers), reversed(self._inputs), strict=True):
            units = layer[0].units
            dx = layer[0].backward(x, dy[..., :units])
            if len(layer) > 1:
                dx += layer[1].backward(x, dy[..., units:])
            dy = dx
        return dy

    @property
    def weights(self) -> list[Array]:
        """Kernel, recurrent, bias of each direction of each layer."""
        return [
            weight for layer in self.layers for part in layer for weight in (part.kernel, part.recurrent, part.bias)
        ]

    @property
    def gradients(self) -> list[Array]:
        """As `weights`, from the last `backward`."""
        return [gradient for layer in self.layers for part in layer for gradient in part.gradients]

    def update(self, learning_rate: float) -> None:
        """Gradient descent in place; overwrites the gradients."""
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            gradient *= learning_rate
            weight -= gradient


class Stepper:
    """One layer, one time step at a time: [input, state] times the stacked kernel and recurrent kernel.

    Args:
        cell: as for `Network`.
        weights: of the layer; copied.
        batch: B.
    """

    def __init__(self, cell: str, weights: Weights, batch: int) -> None:
        kernel, recurrent, bias = weights
        units = recurrent.shape[0]
        if cell == "GRU":
            # Four blocks of columns: z, r, and of n the input's part and the state's part, which r keeps apart.
            gates, last = slice(2 * units), slice(2 * units, None)
            kernel = np.hstack([kernel, np.zeros_like(kernel[:, :units])])
            recurrent = np.hstack([recurrent[:, gates], np.zeros_like(recurrent[:, :units]), recurrent[:, last]])
            bias = np.concatenate([bias[0, gates] + bias[1, gates], bias[0, last], bias[1, last]])
        self.stacked, self.bias = np.vstack([kernel, recurrent]), bias
        self.inputs, self.units = kernel.shape[0], units
        self.row = np.zeros((batch, kernel.shape[0] + units), kernel.dtype)
        self.gates = np.empty((batch, self.stacked.shape[1]), kernel.dtype)
        self.c, self.u, self.scratch = (np.zeros((batch, units), kernel.dtype) for _ in range(3))
        half = np.full(units, 0.5, kernel.dtype)
        self.scale = np.concatenate([half, half, 2 * half, half])
        self.offset = 1 - self.scale
        self.step = {"SimpleRNN": self._simple, "LSTM": self._lstm, "GRU": self._gru}[cell]

    def _product(self, x: Array) -> Array:
        self.row[:, : self.inputs] = x
        np.matmul(self.row, self.stacked, out=self.gates)
        self.gates += self.bias
        return self.row[:, self.inputs :]

    def _simple(self, x: Array) -> Array:
        h = self._product(x)
        np.tanh(self.gates, out=h)
        result: Array = h.copy()
        return result

    def _lstm(self, x: Array) -> Array:
        h, a, units = self._product(x), self.gates, self.units
        a *= self.scale
        np.tanh(a, out=a)
        a *= self.scale
        a += self.offset
        self.c *= a[:, units : 2 * units]
        np.multiply(a[:, :units], a[:, 2 * units : 3 * units], out=self.scratch)
        self.c += self.scratch
        np.tanh(self.c, out=self.u)
        np.multiply(a[:, 3 * units :], self.u, out=h)
        result: Array = h.copy()
        return result

    def _gru(self, x: Array) -> Array:
        h, a, units = self._product(x), self.gates, self.units
        zr, n, q = a[:, : 2 * units], a[:, 2 * units : 3 * units], a[:, 3 * units :]
        zr *= 0.5
        np.tanh(zr, out=zr)
        zr *= 0.5
        zr += 0.5
        q *= zr[:, units:]
        n += q
        np.tanh(n, out=n)
        h -= n
        h *= zr[:, :units]
        h += n
        result: Array = h.copy()
        return result


class LanguageModel:
    """Embedding, recurrent layers, softmax over V words; loss summed over time and averaged over the batch.

    The training step of W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network regularization, 2014, without
    dropout: states carried from call to call, gradient clipped by its global norm, plain gradient descent.

    Args:
        weights: embeddings (V, H), kernel, recurrent, bias of each LSTM layer, kernel (H, V) and bias (V,) of the
            softmax; used as they are.
        steps, batch: T and B of every call.
        clip: largest global norm.
        learning_rate: of the update.
    """

    def __init__(self, weights: Sequence[Array], steps: int, batch: int, clip: float, learning_rate: float) -> None:
        self.weights = list(weights)
        self.embeddings, *inside, self.kernel, self.bias = self.weights
        layers: list[list[Weights]] = [[(inside[i], inside[i + 1], inside[i + 2])] for i in range(0, len(inside), 3)]
        self.network = Network("LSTM", layers, steps, batch)
        self.steps, self.batch, self.clip, self.learning_rate = steps, batch, clip, learning_rate
        self.logits = np.empty((steps * batch, len(self.bias)), self.kernel.dtype)
        self.dkernel, self.dbias = np.empty_like(self.kernel), np.empty_like(self.bias)
        self._begun = False

    def step(self, words: Array, targets: Array) -> float:
        """One update on words and targets (T, B); the loss before it."""
        y = self.network.forward(self.embeddings[words], carry=self._begun)
        self._begun = True
        flat = y.reshape(len(self.logits), -1)
        loss = self._softmax(flat, targets.reshape(-1))
        np.matmul(flat.T, self.logits, out=self.dkernel)
        np.sum(self.logits, axis=0, out=self.dbias)
        dy = np.matmul(self.logits, self.kernel.T).reshape(y.shape)
        values, rows = _sum_rows(words.reshape(-1), self.network.backward(dy).reshape(len(flat), -1))
        dense = [*self.network.gradients, self.dkernel, self.dbias]
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in [values, *dense]))
        rate = self.learning_rate * min(1.0, self.clip / norm)
        self.embeddings[rows] -= rate * values
        self.network.update(rate)
        for weight, gradient in ((self.kernel, self.dkernel), (self.bias, self.dbias)):
            gradient *= rate
            weight -= gradient
        return loss

    def _softmax(self, flat: Array, targets: Array) -> float:
        """The loss; leaves its gradient by the logits in their place."""
        logits, rows = self.logits, np.arange(len(targets))
        np.matmul(flat, self.kernel, out=logits)
        logits += self.bias
        logits -= logits.max(axis=1, keepdims=True)
        picked = logits[rows, targets]
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1)
        logits *= (1 / (sums * self.batch))[:, None]
        logits[rows, targets] -= 1 / self.batch
        return float((np.log(sums) - picked).sum()) / self.batch


def _sum_rows(ids: Array, values: Array) -> tuple[Array, Array]:
    """Values (N, D) of equal ids (N,) summed: (values (U, D), ids (U,)).

    >>> [array.tolist() for array in _sum_rows(np.array([2, 0, 2]), np.array([[1.0], [2.0], [3.0]]))]
    [[[2.0], [4.0]], [0, 2]]
    """
    order = np.argsort(ids, kind="stable")
    rows, starts = np.unique(ids[order], return_index=True)
    return np.add.reduceat(values[order], starts, axis=0), rows


class Classifier:
    """Embedding, two recurrent layers, the last output through a dense sigmoid: binary cross-entropy over the batch.

    Args:
        weights: embeddings (V, D), kernel, recurrent, bias of both layers, kernel (H, 1) and bias (1,) of the dense
            layer; changed in place.
        cell: as for `Network`.
        steps, batch: T and B of every call.
        learning_rate: of plain gradient descent.
    """

    def __init__(self, weights: Sequence[Array], cell: str, steps: int, batch: int, learning_rate: float) -> None:
        self.weights = list(weights)
        self.embeddings, *inside, self.kernel, self.bias = self.weights
        layers: list[list[Weights]] = [[(inside[i], inside[i + 1], inside[i + 2])] for i in range(0, len(inside), 3)]
        self.network = Network(cell, layers, steps, batch)
        self.batch, self.learning_rate = batch, learning_rate
        self.dy = np.zeros((steps, batch, self.kernel.shape[0]), self.kernel.dtype)

    def step(self, words: Array, labels: Array) -> tuple[Array, float]:
        """One update on words (T, B) and labels (B, 1): probabilities (B, 1) and loss before it."""
        last = self.network.forward(self.embeddings[words])[-1]
        logits = last @ self.kernel + self.bias
        p = 1 / (1 + np.exp(-logits))
        loss = float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())
        d = (p - labels) / self.batch
        dkernel, dbias = last.T @ d, d.sum(axis=0)
        self.dy[-1] = d @ self.kernel.T
        dx = self.network.backward(self.dy).reshape(words.size, -1)
        values, rows = _sum_rows(np.ascontiguousarray(words).reshape(-1), dx)
        self.embeddings[rows] -= self.learning_rate * values
        self.network.update(self.learning_rate)
        self.kernel -= self.learning_rate * dkernel
        self.bias -= self.learning_rate * dbias
        return p, loss
