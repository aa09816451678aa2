"""Calls of a stack of recurrent layers on arrays, for a library with a tape of its own.

Everything that the backward pass reads lies in one array, the reserve, which that library keeps, copies or frees like
any other of its arrays.

B: batch, T: time steps, R: rows (time steps of all sequences together), D: input features, H: units, L: layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..._core.recurrent import new_reserve, recurrent_backward, recurrent_forward, reserve_columns
from ...typing import Array


class Stack(NamedTuple):
    """The properties of a stack of layers that do not change from call to call.

    Args:
        cell: a cell of the core, ``"rnn"``, ``"lstm"`` or ``"gru"``.
        directions: 1, or 2, whose outputs the layer above reads side by side.
        activation: of the states.
    """

    cell: str
    directions: int = 1
    activation: str = "tanh"


# The arrays of one direction of one layer: weight_ih, weight_hh, bias_ih, bias_hh.
Weights = tuple[Array | None, ...]


@cache
def stack_columns(stack: Stack, layers: int, units: int, dtype: str) -> tuple[int, int]:
    """Elements of a reserve for each row and each sequence: of a layer below the last, and of all layers."""
    inner, last = (reserve_columns(stack.cell, units, stack.directions, own_y, dtype) for own_y in (False, True))
    return inner, (layers - 1) * inner + last


class StackCall:
    """The arguments of a forward pass, and of the backward pass that follows it.

    Args:
        stack: the stack.
        x: (B, T, D), contiguous features; with batch_sizes (R, D), the rows of a batch without padding, step after
            step.
        weights: of each direction of each layer.
        states: h, of the LSTM also c, at the start, (L * directions, B, H) each; None for zeros.
        batch_sizes: (T,) int64, the number of sequences that are active at each step, longest first.
    """

    def __init__(
        self,
        stack: Stack,
        x: Array,
        weights: Sequence[Weights],
        states: Sequence[Array] | None,
        batch_sizes: Array | None,
    ) -> None:
        self.stack, self.x, self.weights, self.states = stack, x, weights, states
        self.layers = len(weights) // stack.directions
        batch = len(x) if batch_sizes is None else int(batch_sizes[0])
        self.rows = batch + (batch * x.shape[1] if batch_sizes is None else len(x))
        # The name of a dtype takes longer than the rest of this function.
        self.dtype = "float32" if x.itemsize == 4 else "float64"
        recurrent: Any = weights[0][1]
        self.inner, self.all = stack_columns(stack, self.layers, recurrent.shape[1], self.dtype)
        # Arguments with their default values are left out: each costs time on the way into the core.
        self.given: dict[str, Any] = {"layout": "torch"}
        if stack.activation != "tanh":
            self.given["activation"] = stack.activation
        if stack.directions == 2:
            self.given["reverse"] = (False, True)
        if batch_sizes is not None:
            self.given["batch_sizes"] = batch_sizes

    def _numbers(self, layer: int) -> slice:
        """The directions of a layer among those of all layers."""
        return slice(layer * self.stack.directions, (layer + 1) * self.stack.directions)

    def _run(self, layer: int, x: Array, reserve: Array | None, restore: bool = False) -> Any:
        """One layer: its output, its states at the end and the argument of its backward pass."""
        numbers = self._numbers(layer)
        if self.states is not None:
            self.given["initial"] = list(zip(*(state[numbers] for state in self.states)))
        if reserve is not None:
            begin, last = layer * self.inner, layer == self.layers - 1
            self.given["reserve"] = reserve[self.rows * begin : self.rows * (self.all if last else begin + self.inner)]
            # The layer above reads its input where it is saved.
            self.given["own_y"], self.given["restore"] = last, restore
        return recurrent_forward(
            self.stack.cell, x, self.weights[numbers], True, reserve is not None, not restore, None, **self.given
        )

    def forward(self, save: bool) -> tuple[Array, list[Array], Array | None]:
        """Compute the output and the states at the end.

        Args:
            save: keep everything that :meth:`backward` reads.

        Returns:
            The output of the last layer, (B, T, directions * H), a view of time-major memory, or (R, directions * H);
            the states, like those at the start; the reserve, if ``save``.
        """
        reserve = new_reserve(self.rows * self.all, self.dtype) if save else None
        y, finals = self.x, list[Any]()
        for layer in range(self.layers):
            y, final, _ = self._run(layer, y, reserve)
            finals += final
        return y, _join(finals), reserve

    def backward(
        self,
        reserve: Array,
        dy: Array | None,
        dstates: Sequence[Array | None],
        need_dx: bool,
        need_weights: bool,
        need_states: bool,
    ) -> tuple[Array | None, list[Weights], list[Array]]:
        """Compute the gradients of x, of the weights and of the states at the start.

        Args:
            reserve: of the forward pass with the same arguments. The first backward pass overwrites a part of it;
                another one computes that part again.
            dy: the gradient of the output; None for zeros.
            dstates: those of the states at the end.

        Returns:
            The three, None or empty where they are not needed.
        """
        saved, x = [], self.x
        for layer in range(self.layers):
            x, _, forward = self._run(layer, x, reserve, restore=True)
            saved.append(forward)
        dweights: list[Weights] = []
        starts: list[Any] = []
        for layer in reversed(range(self.layers)):
            dfinals: Any = None
            if any([dstate is not None for dstate in dstates]):
                numbers = range(*self._numbers(layer).indices(self.layers * self.stack.directions))
                dfinals = [tuple([None if dstate is None else dstate[n] for dstate in dstates]) for n in numbers]
            dy, dlayer, dstarts, _ = recurrent_backward(
                saved[layer], dy, dfinals, need_dx or layer > 0, need_weights, need_states
            )
            dweights[:0] = dlayer or ()
            starts[:0] = dstarts or ()
        return dy if need_dx else None, dweights, _join(starts) if need_states else []


def _join(states: Sequence[Sequence[Array]]) -> list[Array]:
    """The states of each direction of each layer as (L * directions, B, H) arrays."""
    if len(states) == 1:
        return [state[None] for state in states[0]]
    return [np.stack(each) for each in zip(*states)]
