"""SequenceClassifier and SequenceRegressor.

N: sequences, T: time steps, D: features of a time step, C: classes, K: targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from ...autograd import Tensor
from ...losses import MeanSquaredError, SparseCategoricalCrossentropy
from ...typing import Array
from .base import SequenceEstimator, cut_rows


class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
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
        """Probabilities of the classes.

        Args:
            X: N sequences; see the class.

        Returns:
            (N, C) float64, in the order of ``classes_``.

        Raises:
            NotFittedError: before ``fit`` and ``partial_fit``.
            ValueError: naming X.
        """
        logits = self._outputs(X)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> Array:
        """The most probable label of each sequence.

        Args:
            X: N sequences; see the class.

        Returns:
            (N,) labels.

        Raises:
            NotFittedError: before ``fit`` and ``partial_fit``.
            ValueError: naming X.
        """
        best = self._outputs(X).argmax(axis=1)
        labels: Array = self.classes_[best]
        return labels


class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
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
        """The predicted numbers.

        Args:
            X: N sequences; see the class.

        Returns:
            (N,) or (N, K) float64, as y was in ``fit``.

        Raises:
            NotFittedError: before ``fit`` and ``partial_fit``.
            ValueError: naming X.
        """
        y = self._outputs(X)
        return y[:, 0] if self._flat else y


_CROSS_ENTROPY = SparseCategoricalCrossentropy(from_logits=True)
_SQUARED_ERROR = MeanSquaredError()


def _given(estimator: Any, y: Any) -> Any:
    """y, which must not be None."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    return y


def _drop_weightless(x: Tensor, y: Array, weight: Array | None) -> tuple[Tensor, Array, Array | None]:
    """The sequences whose weight is not zero."""
    return (x, y, weight) if weight is None or weight.all() else cut_rows(x, y, weight, np.flatnonzero(weight))
