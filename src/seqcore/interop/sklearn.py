"""scikit-learn's estimators over sequences: SequenceClassifier, SequenceRegressor, sequences_from_frame.

N: sequences, T: time steps, D: features of a time step, C: classes, K: targets.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import assert_all_finite, check_array, check_consistent_length, check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "seqcore.interop.sklearn needs scikit-learn 1.6 or later: pip install 'seqcore[sklearn]'"
    ) from error

from .. import random
from .._locks import ForkSafeLock
from .._validation import (
    as_dtype,
    boolean,
    choice,
    integer,
    is_array,
    plain_array,
    positive,
    real,
    refuse_masked,
    short_repr,
)
from ..autograd import Tensor
from ..callbacks import EarlyStopping
from ..layers import GRU, LSTM, Bidirectional, Dense, Input, SimpleRNN
from ..layers.registry import deserialize, serialize
from ..losses import Loss, MeanSquaredError, SparseCategoricalCrossentropy
from ..models import Model, Sequential
from ..optimizers import Adam
from ..saving import load_checkpoint, read_position, save_checkpoint
from ..text.sequences import pad_sequences
from ..typing import Array

__all__ = ["SequenceClassifier", "SequenceRegressor", "sequences_from_frame"]

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


class _SequenceEstimator(BaseEstimator):  # type: ignore[misc]
    """The common part of both estimators: parameters, reading of X, the network, its training and its pickle."""

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

    # Set by fit; the last is true where the columns of a table are the time steps.
    n_features_in_: int
    _columns_are_steps: bool

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
        rows, axes = _as_rows(X)
        lengths = {len(row) for row in rows or ()}
        if reset:
            arrays = any(map(is_array, rows or ()))
            columns = axes <= 2 and len(lengths) <= 1 and not arrays
        else:
            columns = self._columns_are_steps
        if columns:
            if axes > 2 or len(lengths) > 1:
                got = f"{axes} axes" if axes > 2 else f"{min(lengths)} to {max(lengths)}"
                raise ValueError(f"X: expected {self.n_features_in_} numbers for each sequence, as in fit, got {got}")
            table = validate_data(self, X, dtype=dtype, reset=reset)
            self._columns_are_steps = True
            return Tensor(table[:, :, None])
        if rows is not None:
            x = _pad_rows(rows, dtype)
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
                validation = tuple(part for part in _cut(x, y, weight, held_out) if part is not None)
                x, y, weight = _cut(x, y, weight, train)
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

    # ------------------------------------------------------------ pickle and copy

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = _to_bytes(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            state = {**state, "model_": _from_bytes(state["model_"])}
        super().__setstate__(state)


class SequenceClassifier(ClassifierMixin, _SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that classifies sequences, as a scikit-learn estimator.

    Recurrent layers, of whose last the output at the end of the sequence goes into a dense layer with one output per
    class; trained with Adam on the cross-entropy.

    Args:
        cell: "lstm" (the default), "gru" or "rnn".
        units: units of each recurrent layer, and of each direction, 32 by default.
        layers: number of recurrent layers, 1 by default.
        bidirectional: read each sequence in both directions; False by default.
        dropout: share of the inputs of each recurrent layer left out in training, 0 by default.
        epochs: passes over the data, 50 by default.
        batch_size: sequences of a batch, 32 by default.
        learning_rate: of Adam, 0.01 by default.
        clipnorm: largest norm of the gradient of all weights together, 1 by default; None for no limit.
        early_stopping: hold out a part of the data, stop when the loss on it no longer improves, and keep the weights
            of the best epoch; False by default.
        validation_fraction: that part, 0.1 by default; stratified by class.
        n_iter_no_change: epochs without improvement after which training stops, 10 by default.
        tol: smallest change of the loss that counts as an improvement, 1e-4 by default.
        dtype: type of weights and computation: "float32", which is the faster one, "float64", or None (the
            default) for that of X in the first fit: float32 where X is, else float64.
        random_state: None, a seed, or a ``numpy.random.RandomState``; a seed gives the same bits each time.
        verbose: 0 silent (the default), 1 progress bar, 2 one line per epoch.

    Attributes:
        classes_: (C,) labels in ascending order.
        n_features_in_: D of sequences, T where X is a table.
        feature_names_in_: names of the columns where X is a data frame.
        model_: the trained :class:`seqcore.Sequential`; its outputs are the logarithms of the odds of the classes.
        n_iter_: epochs trained.
        history_: list per epoch of each loss: "loss", with early stopping "val_loss" too.

    X is, in every method, one of

    - a list of N sequences (T, D), arrays or nested lists, each with a T of its own, or a one-dimensional object array
      of them; sequences (T,) have one feature;
    - an array (N, T, D): N sequences of one length;
    - a table: an array (N, T), a data frame or a list of equally long lists of numbers: the columns are the T time
      steps of one feature. T must then be the same in ``predict`` as in ``fit``, as for any scikit-learn estimator.

    Inputs are best standardized, such as by ``StandardScaler`` before a table.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(length, 2)) for length in rng.integers(3, 9, size=60)]
    >>> y = np.array(["up" if x[-1, 0] > 0 else "down" for x in X])
    >>> classifier = SequenceClassifier("gru", units=8, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    >>> classifier.predict_proba(X[:3]).shape
    (3, 2)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceClassifier:
        """Train new weights.

        Args:
            X: N sequences; see the class.
            y: (N,) labels: numbers, texts or booleans.
            sample_weight: (N,) weights >= 0; their mean counts as 1. Sequences of weight 0 are left out.

        Raises:
            ValueError: naming the argument, also for only one class; the estimator is then unchanged.
        """
        with self._unchanged_on_failure():
            labels = self._read_labels(y)
            x = self._read_sequences(X, reset=True)
            check_consistent_length(X, labels)
            self.classes_, ids = np.unique(labels, return_inverse=True)
            x, ids, weight = _drop_weightless(x, ids, self._read_weights(sample_weight, ids))
            if len(np.unique(ids)) < 2:
                raise ValueError("y: expected at least two classes, got one class with weight")
            self._fit_whole(x, ids, weight, len(self.classes_), _CROSS_ENTROPY, True)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> SequenceClassifier:
        """Train for one epoch on these sequences, continuing from the weights that are there.

        ``learning_rate`` and ``batch_size`` may change between the calls; the network and ``clipnorm`` are those of
        the first call, or of the ``fit`` before.

        Args:
            X: N sequences; see the class.
            y: (N,) labels.
            classes: all labels that will come, in the first call; later None or the same.
            sample_weight: (N,) weights >= 0; their mean counts as 1.

        Raises:
            ValueError: naming the argument.
        """
        with self._unchanged_on_failure():
            labels, first = self._read_labels(y), not hasattr(self, "model_")
            if first and classes is None:
                raise ValueError("classes: expected all labels in the first call of partial_fit, got None")
            if classes is not None:
                known = np.unique(column_or_1d(classes))
                if not first and not np.array_equal(known, self.classes_):
                    raise ValueError(f"classes: expected {self.classes_}, as in the first call, got {known}")
                self.classes_ = known
            x = self._read_sequences(X, reset=first)
            check_consistent_length(X, labels)
            unknown = np.setdiff1d(labels, self.classes_)
            if unknown.size:
                raise ValueError(f"y: expected labels of the classes {self.classes_}, got {unknown.tolist()[0]!r}")
            ids = np.searchsorted(self.classes_, labels)
            x, ids, weight = _drop_weightless(x, ids, self._read_weights(sample_weight, ids))
            self._fit_further(x, ids, weight, len(self.classes_), _CROSS_ENTROPY)
        return self

    def _read_labels(self, y: Any) -> Array:
        labels: Array = column_or_1d(_given(self, y), warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (N, C) of the classes, in the order of ``classes_``, float64."""
        logits = self._outputs(X)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> Array:
        """The most probable label of each sequence, (N,)."""
        best = self._outputs(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels


class SequenceRegressor(RegressorMixin, _SequenceEstimator):  # type: ignore[misc]
    """A recurrent network that predicts one or several numbers for each sequence, as a scikit-learn estimator.

    Recurrent layers, of whose last the output at the end of the sequence goes into a dense layer; trained with Adam on
    the mean squared error. The targets are best near zero with a variance near one:
    ``sklearn.compose.TransformedTargetRegressor`` scales others.

    Args:
        cell, units, layers, bidirectional, dropout, epochs, batch_size, learning_rate, clipnorm, early_stopping,
        validation_fraction, n_iter_no_change, tol, dtype, random_state, verbose: see :class:`SequenceClassifier`.

    Attributes:
        n_features_in_, feature_names_in_, n_iter_, history_: see :class:`SequenceClassifier`.
        model_: the trained :class:`seqcore.Sequential`.

    X is what it is for :class:`SequenceClassifier`.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 6, 2))
    >>> y = X[:, -1, 0]
    >>> SequenceRegressor("gru", units=8, random_state=0).fit(X, y).score(X, y) > 0.8
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train new weights.

        Args:
            X: N sequences; see the class.
            y: (N,) or (N, K) numbers.
            sample_weight: (N,) weights >= 0; their mean counts as 1. Sequences of weight 0 are left out.

        Raises:
            ValueError: naming the argument; the estimator is then unchanged.
        """
        with self._unchanged_on_failure():
            targets = self._read_targets(y)
            x = self._read_sequences(X, reset=True)
            check_consistent_length(X, targets)
            self._flat = targets.ndim == 1
            targets = targets.reshape(len(targets), -1)
            x, targets, weight = _drop_weightless(x, targets, self._read_weights(sample_weight, targets))
            self._fit_whole(x, targets, weight, targets.shape[1], _SQUARED_ERROR, False)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train for one epoch on these sequences, continuing from the weights that are there.

        ``learning_rate`` and ``batch_size`` may change between the calls; the network and ``clipnorm`` are those of
        the first call, or of the ``fit`` before.

        Args:
            X: N sequences; see the class.
            y: (N,) or (N, K) numbers, with the same K in every call.
            sample_weight: (N,) weights >= 0; their mean counts as 1.

        Raises:
            ValueError: naming the argument.
        """
        with self._unchanged_on_failure():
            targets, first = self._read_targets(y), not hasattr(self, "model_")
            x = self._read_sequences(X, reset=first)
            check_consistent_length(X, targets)
            if first:
                self._flat = targets.ndim == 1
            targets = targets.reshape(len(targets), -1)
            if not first:
                known = self.model_.layers[-1].get_config()["units"]
                if targets.shape[1] != known:
                    raise ValueError(f"y: expected {known} targets, as in the first call, got {targets.shape[1]}")
            x, targets, weight = _drop_weightless(x, targets, self._read_weights(sample_weight, targets))
            self._fit_further(x, targets, weight, targets.shape[1], _SQUARED_ERROR)
        return self

    def _read_targets(self, y: Any) -> Array:
        """y as (N,) or (N, K) float64."""
        targets: Array = check_array(_given(self, y), dtype=np.float64, ensure_2d=False, input_name="y")
        if targets.ndim > 2 or 0 in targets.shape:
            raise ValueError(f"y: expected numbers (N,) or (N, K), got shape {targets.shape}")
        return targets

    def predict(self, X: Any) -> Array:
        """The predicted numbers, (N,) or (N, K) as y was in ``fit``, float64."""
        y = self._outputs(X)
        return y[:, 0] if self._flat else y


_CROSS_ENTROPY = SparseCategoricalCrossentropy(from_logits=True)
_SQUARED_ERROR = MeanSquaredError()


def sequences_from_frame(frame: Any, group: str, order: str | None = None, columns: Sequence[str] | None = None) -> Any:
    """Sequences of a long data frame, which has a row for each time step.

    Args:
        frame: a pandas or polars data frame, or anything else that gives a column for its name (a dict of arrays).
        group: the column that tells the sequences apart.
        order: the column by whose ascending values the time steps of a sequence are sorted; where they are equal, or
            for None (the default), the rows stay in their order.
        columns: names of the D columns with the features; None (the default) takes all others.

    Returns:
        A list of N arrays (T, D), in ascending order of the group. That is the order of pandas's ``groupby``:
        ``frame.groupby(group)["label"].first()`` has the labels that belong to them.

    Raises:
        ValueError: naming the argument: an unknown column, a missing value in ``group`` or ``order``, values that are
            no numbers in ``columns``.

    >>> frame = {"id": ["b", "a", "b"], "day": [2, 1, 1], "x": [0.5, 1.5, 2.5], "y": [1, 2, 3]}
    >>> for sequence in sequences_from_frame(frame, "id", "day", ["x", "y"]):
    ...     print(sequence.tolist())
    [[1.5, 2.0]]
    [[2.5, 3.0], [0.5, 1.0]]
    """
    if not hasattr(frame, "columns") and not isinstance(frame, Mapping):
        raise TypeError(f"frame: expected a data frame or a dict of columns, got {type(frame).__name__}")
    names = list(frame.columns if hasattr(frame, "columns") else frame)

    def column(argument: str, name: Any) -> Array:
        if name not in names:
            raise ValueError(f"{argument}: expected one of the columns {', '.join(map(str, names))}, got {name!r}")
        return np.asarray(frame[name])

    keys = column("group", group)
    _refuse_missing("group", keys)
    times = None if order is None else column("order", order)
    if columns is None:
        columns = [name for name in names if name not in (group, order)]
    if isinstance(columns, str) or not len(columns):
        raise ValueError(f"columns: expected a list of at least one column, got {columns!r}")
    features = np.stack([_as_feature(name, column("columns", name)) for name in columns], axis=1)
    try:
        # Stable sorts: of the time steps first, then of the groups.
        rows = np.arange(len(keys))
        if times is not None:
            _refuse_missing("order", times)
            rows = np.argsort(times, kind="stable")
        rows = rows[np.argsort(keys[rows], kind="stable")]
    except TypeError as error:
        raise ValueError(f"group, order: expected values that can be sorted ({error})") from None
    keys = keys[rows]
    borders = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.split(features[rows], borders) if len(keys) else []


def _refuse_missing(name: str, values: Array) -> None:
    """Refuse NaN, NaT, None and pandas's NA, which have no place in an order."""
    if values.dtype.kind == "O":
        missing = np.array([_is_missing(value) for value in values], bool)
    else:
        missing = values != values
    if missing.any():
        raise ValueError(f"{name}: expected a value in every row, got a missing one in row {missing.argmax()}")


def _is_missing(value: Any) -> bool:
    # NaN and NaT are not equal to themselves; a comparison with pandas's NA is neither true nor false.
    equal = value is not None and value == value
    return not (isinstance(equal, (bool, np.bool_)) and bool(equal))


def _as_feature(name: Any, values: Array) -> Array:
    """A column of numbers."""
    if values.dtype.kind == "O":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            pass
    if values.dtype.kind not in "biuf" or values.ndim != 1:
        raise ValueError(f"columns: expected numbers in column {name!r}, got {values.dtype} of shape {values.shape}")
    return values


def _given(estimator: Any, y: Any) -> Any:
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    return y


def _as_rows(X: Any) -> tuple[list[Any] | None, int]:
    """The sequences of a list, or None for arrays, frames and lists of anything else; and the number of axes of X."""
    axes = len(X.shape) if hasattr(X, "shape") else 2
    if axes == 1 and getattr(X.dtype, "kind", "") == "O":
        X = list(X)
    if not isinstance(X, (list, tuple)):
        return None, axes
    if not X:
        raise ValueError("X: expected at least one sequence, got an empty list")
    sequences = [is_array(row) or isinstance(row, (list, tuple)) for row in X]
    if not any(sequences):
        return None, 1
    if not all(sequences):
        number = sequences.index(False)
        raise ValueError(f"X: expected a sequence at position {number}, got {short_repr(X[number])}")
    first = X[0]
    if is_array(first):
        return list(X), 1 + len(first.shape)
    return list(X), 3 if first and hasattr(first[0], "__len__") else 2


def _pad_rows(rows: list[Any], dtype: Any) -> Tensor:
    """Sequences (T, D) or (T,) as one tensor with their lengths."""
    arrays = [plain_array(f"X[{number}]", row) for number, row in enumerate(rows)]
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    for number, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1:] != arrays[0].shape[1:]:
            wanted = f"(T, {arrays[0].shape[1]})" if arrays[0].ndim == 2 else "(T, D)"
            raise ValueError(f"X: expected sequences of shape {wanted}, got {array.shape} at position {number}")
        if not array.size:
            raise ValueError(f"X: expected at least one time step in each sequence, got {array.shape} at {number}")
    lengths = np.array([len(array) for array in arrays], np.int32)
    steps = check_array(np.concatenate(arrays), dtype=dtype, input_name="X")
    x = Tensor(pad_sequences(np.split(steps, np.cumsum(lengths)[:-1]), dtype=steps.dtype, padding="post"))
    if lengths.min() < lengths.max():
        x.lengths = lengths
    return x


def _cut(x: Tensor, y: Array, weight: Array | None, rows: Array) -> tuple[Tensor, Array, Array | None]:
    """Some of the sequences, with their targets and weights."""
    part = Tensor(x.numpy()[rows])
    part.lengths = None if x.lengths is None else x.lengths[rows]
    return part, y[rows], None if weight is None else weight[rows]


def _drop_weightless(x: Tensor, y: Array, weight: Array | None) -> tuple[Tensor, Array, Array | None]:
    """The sequences whose weight is not zero."""
    return (x, y, weight) if weight is None or weight.all() else _cut(x, y, weight, np.flatnonzero(weight))


def _to_bytes(model: Model) -> bytes:
    """A checkpoint of the model, with its architecture, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        save_checkpoint(path, model, {"architecture": serialize(model), "compiled": model.get_compile_config()})
        with open(path, "rb") as file:
            return file.read()


def _from_bytes(checkpoint: bytes) -> Model:
    """The model of :func:`_to_bytes`, with its optimizer's slots."""
    with tempfile.TemporaryDirectory() as folder, _random_scope():
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(checkpoint)
        position = read_position(path)
        model: Model = deserialize(position["architecture"])
        model.compile_from_config(position["compiled"])
        load_checkpoint(path, model)
    return model
