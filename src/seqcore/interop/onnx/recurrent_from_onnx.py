"""RecurrentOperator: ONNX's RNN, LSTM and GRU by the kernels.

B: batch, T: time steps, D: features, H: units, G: gates, N: directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers
from ..._validation import as_lengths
from ...autograd import Tensor
from ...layers.rnn.base import RNNCell
from ...layers.rnn.run import contiguous_features, run_sequence, sequence_options
from ...typing import Array
from .weights import activations_from_onnx, weights_from_onnx

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
# The activations of one direction where a node names none.
_ACTIVATIONS = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}


class RecurrentOperator:
    """One node RNN, LSTM or GRU.

    Args:
        op: the operator.
        attributes: those of the node; the ones that are honoured are removed.

    Raises:
        ValueError: for an attribute that the kernels do not have: ``clip``, ``input_forget``, other activations.
    """

    def __init__(self, op: str, attributes: dict[str, Any]) -> None:
        self._op, self._units = op, attributes.pop("hidden_size", None)
        direction = attributes.pop("direction", "forward")
        if direction not in _DIRECTIONS:
            raise ValueError(f"direction: expected one of {', '.join(_DIRECTIONS)}, got {direction!r}")
        self.reverse = _DIRECTIONS[direction]
        self._batch_first = bool(attributes.pop("layout", 0))
        self._reset_after = bool(attributes.pop("linear_before_reset", 0))
        if attributes.pop("input_forget", 0):
            raise ValueError("input_forget: expected 0, an LSTM with a forget gate of its own, got 1")
        own = _ACTIVATIONS[op]
        names = attributes.pop("activations", own * len(self.reverse))
        if len(names) != len(own) * len(self.reverse):
            raise ValueError(f"activations: expected {len(own) * len(self.reverse)}, got {len(names)}")
        alphas, betas = (attributes.pop(f"activation_{letter}", ()) for letter in ("alpha", "beta"))
        functions = activations_from_onnx(names, alphas, betas)
        self._activations = [tuple(functions[i : i + len(own)]) for i in range(0, len(functions), len(own))]
        for chosen in self._activations:
            if op == "LSTM" and chosen[1] != chosen[2]:
                raise ValueError(f"activations: expected one function for c and h of an LSTM, got {chosen[1:]}")
        # True where the weights are constants of the graph: the cells, with their packed weights, are made once.
        self.constant_weights = False
        self._known_cells: list[RNNCell] = []

    def __call__(
        self,
        x: Array,
        w: Array,
        r: Array,
        b: Array | None = None,
        lengths: Array | None = None,
        h: Array | None = None,
        c: Array | None = None,
        peepholes: Array | None = None,
    ) -> tuple[Array, ...]:
        """Outputs and final states.

        Args:
            x: (T, B, D), or (B, T, D) with ``layout`` 1, as all that follows.
            w, r, b: (N, G H, D), (N, G H, H), (N, 2 G H).
            lengths: (B,), the valid steps of each row.
            h, c: (N, B, H), the states at the start; (B, N, H).

        Returns:
            Y (T, N, B, H) or (B, T, N, H), and the final h and c, of the shape of the states.
        """
        if peepholes is not None:
            raise ValueError("P: expected no peepholes, got some")
        cells = self.cells(w, r, b)
        x = contiguous_features(x if self._batch_first else x.transpose(1, 0, 2))
        lengths = None if lengths is None else as_lengths(lengths, x.shape)
        starts = self._starts([h, c][: len(cells[0].state_sizes())], x)
        joint = len(set(self._activations)) == 1
        groups = [list(range(len(cells)))] if joint else [[i] for i in range(len(cells))]
        parts, finals = [], []
        for group in groups:
            options = sequence_options(True, False, True, tuple([self.reverse[i] for i in group]))
            y, states, _ = run_sequence(
                [cells[i] for i in group], Tensor(x), [starts[i] for i in group], options, None, lengths
            )
            parts.append(y.numpy())
            finals += states
        outputs = parts[0] if joint else np.concatenate(parts, 2)
        batch, steps, _ = x.shape
        if self._batch_first:
            outputs = outputs.reshape(batch, steps, len(cells), -1)
        else:
            outputs = outputs.transpose(1, 0, 2).reshape(steps, batch, len(cells), -1).transpose(0, 2, 1, 3)
        axis = 1 if self._batch_first else 0
        return outputs, *(np.stack(states, axis) for states in zip(*finals))

    def _starts(self, given: list[Array | None], x: Array) -> list[list[Tensor] | None]:
        """The states at the start of each direction, None for zeros."""
        count = len(self.reverse)
        if all(state is None for state in given):
            return [None] * count
        units = next(state.shape[2] for state in given if state is not None)
        shape = (x.shape[0], count, units) if self._batch_first else (count, x.shape[0], units)
        states = [np.zeros(shape, x.dtype) if state is None else state for state in given]
        for name, state in zip(("initial_h", "initial_c"), states):
            if state.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {state.shape}")
        directions = [np.moveaxis(state, 1, 0) if self._batch_first else state for state in states]
        return [[Tensor(np.ascontiguousarray(state[i])) for state in directions] for i in range(count)]

    def cells(self, w: Array, r: Array, b: Array | None) -> list[RNNCell]:
        """The cells of the directions."""
        if self._known_cells:
            return self._known_cells
        units = r.shape[-1]
        count, gates = len(self.reverse), {"RNN": 1, "LSTM": 4, "GRU": 3}[self._op]
        rows = gates * units
        shapes = {"W": (w, (count, rows, w.shape[-1])), "R": (r, (count, rows, units)), "B": (b, (count, 2 * rows))}
        for name, (array, shape) in shapes.items():
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        if self._units not in (None, units):
            raise ValueError(f"hidden_size: expected {units}, the columns of R, got {self._units}")
        cells = []
        for i, functions in enumerate(self._activations):
            cell = self._new_cell(units, functions, b is not None, w.dtype.name)
            cell.build((None, w.shape[-1]))
            two = self._op == "GRU" and self._reset_after
            cell.set_weights(weights_from_onnx(self._op, w[i], r[i], None if b is None else b[i], two))
            cells.append(cell)
        if self.constant_weights:
            self._known_cells = cells
        return cells

    def _new_cell(self, units: int, functions: tuple[str, ...], use_bias: bool, dtype: str) -> RNNCell:
        # No random numbers are drawn: the weights come from the file.
        options: dict[str, Any] = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
        options |= {"use_bias": use_bias, "dtype": dtype, "name": "onnx", "trainable": False}
        if self._op == "RNN":
            return layers.SimpleRNNCell(units, functions[0], **options)
        if self._op == "LSTM":
            return layers.LSTMCell(units, functions[1], functions[0], **options)
        return layers.GRUCell(units, functions[1], functions[0], reset_after=self._reset_after, **options)
