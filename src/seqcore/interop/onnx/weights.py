"""Weights and activations of recurrent layers, between the layout of seqcore and that of ONNX.

D: input features, H: units, G: gates. ONNX has W (G H, D), R (G H, H) and B (2 G H), the bias of the input and then
that of the state; its gates are i, o, f, c in the LSTM and z, r, h in the GRU.

Source: the operators RNN, LSTM and GRU of the ONNX specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...typing import Array

# The place of each gate of ONNX among ours (i f c o; z r h).
_GATES = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}
# ONNX's name of each activation of the kernels, with its alpha and beta.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
}
# Values where a file gives none; the other activations have neither.
_DEFAULTS: dict[str, tuple[float | None, float | None]] = {"Affine": (1.0, 0.0), "HardSigmoid": (0.2, 0.5)}


def _reorder(array: Array, gates: Sequence[int]) -> Array:
    """The G blocks of the first axis in another order."""
    blocks = np.split(array, len(gates))
    return np.concatenate([blocks[gate] for gate in gates])


def weights_to_onnx(op: str, kernel: Array, recurrent: Array, bias: Array | None) -> tuple[Array, Array, Array]:
    """W, R and B of one direction of the operator ``op`` from the weights of a cell.

    >>> w, r, b = weights_to_onnx("LSTM", np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8))
    >>> w.shape, r.shape, b.shape
    ((8, 3), (8, 2), (16,))
    """
    gates = _GATES[op]
    rows = np.zeros((2, kernel.shape[1]), kernel.dtype)
    if bias is not None:
        # One bias stands with the input; the second row is that of a GRU that resets after the product.
        rows[: bias.ndim] = bias
    biases = [_reorder(row, gates) for row in rows]
    return _reorder(kernel.T, gates), _reorder(recurrent.T, gates), np.concatenate(biases)


def weights_from_onnx(op: str, w: Array, r: Array, b: Array | None, two_biases: bool) -> list[Array]:
    """The weights of a cell from W, R and B of one direction.

    Args:
        two_biases: keep both biases, as a GRU with ``reset_after=True`` needs them, instead of their sum.

    >>> [array.shape for array in weights_from_onnx("GRU", np.zeros((6, 3)), np.zeros((6, 2)), np.zeros(12), True)]
    [(3, 6), (2, 6), (2, 6)]
    """
    gates = _GATES[op]
    back = [gates.index(gate) for gate in range(len(gates))]
    arrays = [np.ascontiguousarray(_reorder(array, back).T) for array in (w, r)]
    if b is not None:
        first, second = (_reorder(half, back) for half in np.split(b, 2))
        arrays.append(np.stack([first, second]) if two_biases else first + second)
    return arrays


def activations_to_onnx(names: Sequence[str]) -> dict[str, Any]:
    """The attributes for the activations of all functions of all directions, in ONNX's order.

    >>> activations_to_onnx(["sigmoid", "linear"])
    {'activations': ['Sigmoid', 'Affine'], 'activation_alpha': [1.0], 'activation_beta': [0.0]}
    """
    rows = [_ACTIVATIONS[name] for name in names]
    attributes: dict[str, Any] = {"activations": [name for name, _, _ in rows]}
    for place, key in ((1, "activation_alpha"), (2, "activation_beta")):
        values = [row[place] for row in rows if row[place] is not None]
        if values:
            attributes[key] = values
    return attributes


def activations_from_onnx(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[str]:
    """Our names of the activations of a node; ``alphas`` and ``betas`` are used up by the functions that have them.

    Raises:
        ValueError: for one that the kernels do not have.

    >>> activations_from_onnx(["Sigmoid", "Affine"], [], [])
    ['sigmoid', 'linear']
    """
    known = {name.lower(): (ours, name, alpha, beta) for ours, (name, alpha, beta) in _ACTIVATIONS.items()}
    parameters = iter(alphas), iter(betas)
    result = []
    for name in names:
        if name.lower() not in known:
            expected = ", ".join(row[1] for row in known.values())
            raise ValueError(f"activations: expected {expected}, got {name!r}")
        ours, name, *wanted = known[name.lower()]
        for letter, values, value, default in zip(
            ("alpha", "beta"), parameters, wanted, _DEFAULTS.get(name, (None, None))
        ):
            got = None if value is None else next(values, default)
            if got is not None and value is not None and abs(got - value) > 1e-6:
                raise ValueError(f"activation_{letter}: expected {value:.6g} for {name}, got {got:.6g}")
        result.append(ours)
    return result
