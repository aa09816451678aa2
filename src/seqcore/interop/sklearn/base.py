"""The common part of both estimators.

N: sequences, T: time steps, D: features of a time step, C: classes, K: targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ... import random
from ..._locks import ForkSafeLock
from ..._validation import as_dtype, boolean, choice, integer, is_array, positive, real, refuse_masked
from ...autograd import Tensor
from ...callbacks import EarlyStopping
from ...layers import GRU, LSTM, Bidirectional, Dense, Input, SimpleRNN
from ...losses import Loss
from ...models import Model, Sequential
from ...optimizers import Adam
from ...typing import Array
from .rows import pad_rows, split_rows

_CELLS = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}

# Fits in several threads take turns: the seeded random generator is one for the process.
_random_lock = ForkSafeLock()


@contextmanager
def _random_scope() -> Iterator[None]:
    """Context in which the global random generator may be seeded; afterwards it continues as if nothing had been."""
    with _random_lock:
        before = random.get_state()
        try:
            yield
        finally:
            random.set_state(before)


class SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part of both estimators: parameters, reading of X, the network, its training and its pickle."""

    # Set by fit; the last is true where the columns of a table are the time steps.
    n_features_in_: int
    _columns_are_steps: bool

    def __init__(
        self,
        cell: str = "lstm",
        units: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        *,
        dropout: float = 0.0,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        clipnorm: float | None = 1.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        dtype: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.cell = cell
        self.units = units
        self.layers = layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clipnorm = clipnorm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # ------------------------------------------------------------ reading of X

    def _read_sequences(self, X: Any, *, reset: bool) -> Tensor:
        """X as (N, T, D) numbers, with the lengths of ragged sequences on it.

        Args:
            X: (N, T) or (N, T, D) array, or a list of N sequences.
            reset: note the number of features and names of columns; False compares with those of ``fit``.
        """
        refuse_masked("X", X)
        # The first of the types where X has none of them.
        dtype = [np.float64, np.float32] if self.dtype is None else as_dtype("dtype", self.dtype)
        rows, axes = split_rows(X)
        lengths = {len(row) for row in rows or ()}
        if reset:
            arrays = any(map(is_array, rows or ()))
            is_table = axes <= 2 and len(lengths) <= 1 and not arrays
        else:
            is_table = self._columns_are_steps
        if is_table:
            if axes > 2 or len(lengths) > 1:
                got = f"{axes} axes" if axes > 2 else f"{min(lengths)} to {max(lengths)}"
                raise ValueError(f"X: expected {self.n_features_in_} numbers for each sequence, as in fit, got {got}")
            table = validate_data(self, X, dtype=dtype, reset=reset)
            self._columns_are_steps = True
            return Tensor(table[:, :, None])
        if rows is not None:
            x = pad_rows(rows, dtype)
        else:
            array = check_array(X, dtype=dtype, allow_nd=True, input_name="X")
            if array.ndim > 3:
                raise ValueError(f"X: expected 2 or 3 axes, got shape {array.shape}")
            x = Tensor(array[:, :, None] if array.ndim == 2 else array)
        if 0 in x.shape:
            raise ValueError(f"X: expected at least one time step and one feature, got shape {x.shape}")
        features = x.shape[2]
        if reset:
            # Names of columns come from a table only.
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_, self._columns_are_steps = features, False
        elif features != self.n_features_in_:
            raise ValueError(
                f"X has {features} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input"
            )
        return x

    def _read_weights(self, sample_weight: Any, y: Array) -> Array | None:
        """Weights (N,) with a mean of 1 over the rows that have one, or None."""
        if sample_weight is None:
            return None
        weight = check_array(
            sample_weight, dtype=np.float64, ensure_2d=False, ensure_min_samples=0, input_name="sample_weight"
        )
        if weight.shape != y.shape[:1]:
            raise ValueError(f"sample_weight: expected {len(y)} numbers, one for each sequence, got {weight.shape}")
        if weight.min() < 0:
            raise ValueError(f"sample_weight: expected weights >= 0, got {weight.min():g}")
        if not weight.any():
            raise ValueError("sample_weight: expected a weight that is not zero, got only zeros")
        scaled: Array = weight * (np.count_nonzero(weight) / weight.sum())
        return scaled

    # ------------------------------------------------------------ the network

    def _make_model(self, dtype: np.dtype[Any], outputs: int, loss: Loss) -> Sequential:
        """A compiled network with new weights."""
        cell = _CELLS[choice("cell", self.cell, tuple(_CELLS))]
        depth = integer("layers", self.layers, 1)
        bidirectional = boolean("bidirectional", self.bidirectional)
        stack: list[Any] = [Input((None, 1 if self._columns_are_steps else self.n_features_in_))]
        for number in range(depth):
            layer: Any = cell(self.units, return_sequences=number < depth - 1, dropout=self.dropout, dtype=dtype)
            stack.append(Bidirectional(layer) if bidirectional else layer)
        model = Sequential([*stack, Dense(outputs, dtype=dtype)])
        clipnorm = None if self.clipnorm is None else positive("clipnorm", self.clipnorm)
        model.compile(Adam(positive("learning_rate", self.learning_rate), global_clipnorm=clipnorm), loss)
        return model

    def _fit_whole(self, x: Tensor, y: Array, weight: Array | None, outputs: int, loss: Loss, stratify: bool) -> None:
        """Train new weights for all epochs."""
        epochs = integer("epochs", self.epochs, 1)
        tol, patience = real("tol", self.tol), integer("n_iter_no_change", self.n_iter_no_change, 1)
        share = real("validation_fraction", self.validation_fraction, 0, 1, open_high=True)
        share = positive("validation_fraction", share)
        validation = None
        with _random_scope():
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            random.set_seed(seed)
            if boolean("early_stopping", self.early_stopping):
                train, held_out = train_test_split(
                    np.arange(len(y)), test_size=share, random_state=seed, stratify=y if stratify else None
                )
                validation = tuple(part for part in cut_rows(x, y, weight, held_out) if part is not None)
                x, y, weight = cut_rows(x, y, weight, train)
            model = self._make_model(x.dtype, outputs, loss)
            history = model.fit(
                x, y, self.batch_size, epochs, self.verbose,
                callbacks=EarlyStopping("val_loss", tol, patience, restore_best_weights=True) if validation else None,
                validation_data=validation, sample_weight=weight,
            )  # fmt: skip
            self._random = random.get_state()
        self.model_: Model = model
        self.n_iter_ = len(history.epoch)
        self.history_ = {name: list(values) for name, values in history.history.items()}

    def _fit_further(self, x: Tensor, y: Array, weight: Array | None, outputs: int, loss: Loss) -> None:
        """Train for one more epoch; at first with new weights."""
        with _random_scope():
            if hasattr(self, "model_"):
                random.set_state(self._random)
                model, done, losses = self.model_, self.n_iter_, self.history_["loss"]
                assert model.optimizer is not None
                model.optimizer.learning_rate = positive("learning_rate", self.learning_rate)
            else:
                random.set_seed(int(check_random_state(self.random_state).randint(2**31 - 1)))
                model, done, losses = self._make_model(x.dtype, outputs, loss), 0, []
            history = model.fit(x, y, self.batch_size, 1, self.verbose, sample_weight=weight)
            self._random = random.get_state()
        self.model_, self.n_iter_ = model, done + 1
        self.history_ = {"loss": [*losses, *history.history["loss"]]}

    def _outputs(self, X: Any) -> Array:
        """The network's outputs (N, C) or (N, K), float64."""
        check_is_fitted(self)
        x = self._read_sequences(X, reset=False)
        return np.asarray(self.model_.predict(x, self.batch_size, verbose=0), np.float64)

    @contextmanager
    def _unchanged_on_failure(self) -> Iterator[None]:
        """Context after whose failure the estimator has its attributes of before."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise


def cut_rows(x: Tensor, y: Array, weight: Array | None, rows: Array) -> tuple[Tensor, Array, Array | None]:
    """Some of the sequences, with their targets and weights."""
    part = Tensor(x.numpy()[rows])
    part.lengths = None if x.lengths is None else x.lengths[rows]
    return part, y[rows], None if weight is None else weight[rows]
