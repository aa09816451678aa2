"""The layers of the batteries: recurrent layers by name, and every layer with its shapes and number of weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from seqcore import layers
from seqcore.autograd.tensor import Tensor

RNG = np.random.default_rng(3)
BATCH, STEPS, FEATURES, UNITS = 3, 5, 4, 6

SEQUENCE = (BATCH, STEPS, FEATURES)
# Arguments of a recurrent layer next to the units.
OPTIONS: dict[str, dict[str, Any]] = {"ContextRNN": {"context_units": 2}}
RECURRENT = [name for name in layers.rnn.__all__ if f"{name}Cell" in layers.rnn.__all__]
CELLS: dict[str, Callable[..., Any]] = {
    name: partial(getattr(layers, name), **OPTIONS.get(name, {})) for name in RECURRENT
} | {"GRU reset before": partial(layers.GRU, reset_after=False)}
WIDTH = {name: make(UNITS).output_size for name, make in CELLS.items()}

# Name: constructor, shape of the input, shape of the output, number of weight arrays.
BATTERY: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], int]] = {
    "Dense": (lambda **kw: layers.Dense(UNITS, "tanh", **kw), (BATCH, FEATURES), (BATCH, UNITS), 2),
    "Dense over time": (lambda **kw: layers.Dense(UNITS, **kw), SEQUENCE, (BATCH, STEPS, UNITS), 2),
    "Dense softmax": (lambda **kw: layers.Dense(UNITS, "softmax", **kw), SEQUENCE, (BATCH, STEPS, UNITS), 2),
    "Dense gelu": (lambda **kw: layers.Dense(UNITS, "gelu", **kw), SEQUENCE, (BATCH, STEPS, UNITS), 2),
    "Dense without bias": (
        lambda **kw: layers.Dense(UNITS, use_bias=False, **kw),
        (BATCH, 2, 2, FEATURES),
        (BATCH, 2, 2, UNITS),
        1,
    ),
    "Conv1D": (lambda **kw: layers.Conv1D(UNITS, 3, activation="tanh", **kw), SEQUENCE, (BATCH, STEPS - 2, UNITS), 2),
    "Conv1D same": (
        lambda **kw: layers.Conv1D(UNITS, 4, 2, "same", use_bias=False, **kw),
        SEQUENCE,
        (BATCH, 3, UNITS),
        1,
    ),
    "Conv1D causal": (
        lambda **kw: layers.Conv1D(UNITS, 2, 1, "causal", dilation_rate=3, activation="softmax", **kw),
        SEQUENCE,
        (BATCH, STEPS, UNITS),
        2,
    ),
    "Conv1D pads": (
        lambda **kw: layers.Conv1D(UNITS, 3, 3, (4, 2), dilation_rate=2, activation="sigmoid", **kw),
        SEQUENCE,
        (BATCH, 3, UNITS),
        2,
    ),
    "Embedding": (lambda **kw: layers.Embedding(9, UNITS, **kw), (BATCH, STEPS), (BATCH, STEPS, UNITS), 1),
    "Embedding of one id": (lambda **kw: layers.Embedding(9, UNITS, **kw), (BATCH,), (BATCH, UNITS), 1),
    "Embedding of 3 axes": (lambda **kw: layers.Embedding(9, 2, **kw), (BATCH, 2, 4), (BATCH, 2, 4, 2), 1),
    "LayerNormalization": (lambda **kw: layers.LayerNormalization(**kw), SEQUENCE, SEQUENCE, 2),
    "LayerNormalization of rows": (
        lambda **kw: layers.LayerNormalization(epsilon=0.1, center=False, **kw),
        (BATCH, FEATURES),
        (BATCH, FEATURES),
        1,
    ),
    "LayerNormalization without weights": (
        lambda **kw: layers.LayerNormalization(center=False, scale=False, **kw),
        SEQUENCE,
        SEQUENCE,
        0,
    ),
    "Masking": (lambda **kw: layers.Masking(0.5, **kw), SEQUENCE, SEQUENCE, 0),
    "Dropout": (lambda **kw: layers.Dropout(0.5, **kw), SEQUENCE, SEQUENCE, 0),
    "Activation": (lambda **kw: layers.Activation("sigmoid", **kw), SEQUENCE, SEQUENCE, 0),
    "ReLU": (lambda **kw: layers.ReLU(1.0, 0.1, 0.2, **kw), SEQUENCE, SEQUENCE, 0),
    "Softmax": (lambda **kw: layers.Softmax(**kw), SEQUENCE, SEQUENCE, 0),
    "Flatten": (lambda **kw: layers.Flatten(**kw), SEQUENCE, (BATCH, STEPS * FEATURES), 0),
    "GlobalAveragePooling1D": (lambda **kw: layers.GlobalAveragePooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "GlobalMaxPooling1D": (lambda **kw: layers.GlobalMaxPooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "GlobalSumPooling1D": (lambda **kw: layers.GlobalSumPooling1D(**kw), SEQUENCE, (BATCH, FEATURES), 0),
    "TimeDistributed": (
        lambda **kw: layers.TimeDistributed(layers.Dense(UNITS, **kw), **kw),
        SEQUENCE,
        (BATCH, STEPS, UNITS),
        2,
    ),
}
for _name, _make in CELLS.items():
    _count = 5 if _name == "ContextRNN" else 3
    BATTERY[_name] = (
        lambda make=_make, **kw: make(UNITS, dropout=0.1, recurrent_dropout=0.1, **kw),
        SEQUENCE,
        (BATCH, WIDTH[_name]),
        _count,
    )
    BATTERY[f"{_name} sequences"] = (
        lambda make=_make, **kw: make(UNITS, return_sequences=True, go_backwards=True, **kw),
        SEQUENCE,
        (BATCH, STEPS, WIDTH[_name]),
        _count,
    )
    BATTERY[f"Bidirectional {_name}"] = (
        lambda make=_make, **kw: layers.Bidirectional(make(UNITS, return_sequences=True, **kw), **kw),
        SEQUENCE,
        (BATCH, STEPS, 2 * WIDTH[_name]),
        2 * _count,
    )
BATTERY["Bidirectional of two classes"] = (
    lambda **kw: layers.Bidirectional(
        layers.LSTM(UNITS, **kw), "sum", backward_layer=layers.GRU(UNITS, go_backwards=True, **kw), **kw
    ),
    SEQUENCE,
    (BATCH, UNITS),
    6,
)
for _name in RECURRENT:
    BATTERY[f"{_name}Cell"] = (
        partial(getattr(layers, f"{_name}Cell"), UNITS, dropout=0.1, recurrent_dropout=0.1, **OPTIONS.get(_name, {})),
        (BATCH, FEATURES),
        (BATCH, WIDTH[_name]),
        5 if _name == "ContextRNN" else 3,
    )


def data(shape: tuple[int, ...], name: str, dtype: str = "float32") -> np.ndarray:
    if name.startswith("Embedding"):
        return RNG.integers(0, 9, shape)
    return RNG.normal(size=shape).astype(dtype)


def output(y: Any) -> Tensor:
    return y[0] if isinstance(y, (tuple, list)) else y
