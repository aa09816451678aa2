"""Metrics: running means over batches, with sample weights and masks; names and formulas of Keras 3.

B, T, V: batch, time steps, classes. S: shape of the single values, (B,) or (B, T). Every metric is the weighted mean of
its single values over all batches since ``reset_state``, or a function of it; sums are kept in float64.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import losses
from .autograd import Array, Tensor, as_array
from .losses import expand_to, mask_of, same_shape


class Metric:
    """A number gathered over batches.

    Args:
        name: name in logs; by default the class's name in small letters.

    A subclass defines ``update_state``, ``result`` and ``reset_state``. ``direction`` says whether "up" or "down" is
    better, for callbacks with ``mode="auto"``.
    """

    direction: str | None = None

    def __init__(self, name: str | None = None) -> None:
        self.name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Takes one batch in."""
        raise TypeError(f"{type(self).__name__}: a metric must define update_state")

    def result(self) -> float:
        """The value over all batches since :meth:`reset_state`."""
        raise TypeError(f"{type(self).__name__}: a metric must define result")

    def reset_state(self) -> None:
        """Forgets all batches."""
        raise TypeError(f"{type(self).__name__}: a metric must define reset_state")

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same metric again; JSON-able."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}={self.result():.6g}>"


class _Average(Metric):
    """Weighted sum and sum of weights."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.total = self.count = 0.0

    def reset_state(self) -> None:
        self.total = self.count = 0.0

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0

    def update_values(self, values: Any, sample_weight: Any = None, mask: Array | None = None) -> None:
        """Takes single values (S) in, with weights and a mask of S or its leading axes."""
        array = as_array(values)
        if sample_weight is None and mask is None:
            total, count = float(array.sum(dtype=np.float64)), float(array.size)
        else:
            weights = np.ones(array.shape) if mask is None else np.array(mask, np.float64)
            if sample_weight is not None:
                weights *= expand_to("sample_weight", sample_weight, array.shape)
            # A step left out may hold anything, NaN too.
            total = float(np.where(weights == 0, 0, array * weights).sum(dtype=np.float64))
            count = float(weights.sum())
        self.total, self.count = self.total + total, self.count + count


class Mean(_Average):
    """The weighted mean of the values given.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0, 5.0, 7.0])
    >>> mean.result()
    4.0
    """

    def update_state(  # type: ignore[override]  # takes values, not targets and predictions
        self, values: Any, sample_weight: Any = None
    ) -> None:
        self.update_values(values, sample_weight)


class _PairMean(_Average):
    """The mean of single values computed from targets and predictions."""

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        raise TypeError(f"{type(self).__name__}: a metric must define _values")

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        """S."""
        return y_pred.shape if y_pred.ndim == 1 else y_pred.shape[:-1]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Takes one batch in.

        Args:
            y_true, y_pred: targets and predictions; a ``mask`` or ``lengths`` on the tensor y_pred leave steps out.
            sample_weight: S or its leading axes.
            mask: S or its leading axes, bool; replaces that of y_pred.
        """
        x = as_array(y_pred)
        if not x.ndim:
            raise ValueError("y_pred: expected at least one axis, got a single number")
        kept = mask_of(y_pred, self._shape(y_true, x), mask) if mask is not None or isinstance(y_pred, Tensor) else None
        self.update_values(self._values(y_true, x, kept), sample_weight, kept)


# --- accuracies -------------------------------------------------------------------------------------------------------


class Accuracy(_PairMean):
    """How often y_pred equals y_true, element by element.

    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    direction = "up"

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        return same_shape(y_true, y_pred)[1].shape

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(t == x)


class BinaryAccuracy(_PairMean):
    """How often ``y_pred > threshold`` equals y_true.

    Args:
        name: name in logs.
        threshold: 0.5 for probabilities; 0 for logits.

    y_true and y_pred: (B, n) or (B, T, n); a last axis of size 1 may be missing.

    >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
    0.75
    """

    direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = float(threshold)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(((x > self.threshold) == t).mean(axis=-1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"threshold": self.threshold}


class CategoricalAccuracy(_PairMean):
    """How often the largest prediction stands where the largest (one-hot) target does.

    y_true and y_pred: (B, V) or (B, T, V).

    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        return y_pred.shape[:-1]

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t = as_array(y_true)
        if t.shape != y_pred.shape:
            raise ValueError(f"y_true: expected the shape of y_pred, {y_pred.shape}, got {t.shape}")
        return np.asarray(t.argmax(axis=-1) == y_pred.argmax(axis=-1))


class SparseCategoricalAccuracy(_PairMean):
    """How often the largest prediction stands at the class id.

    y_true: (B,) or (B, T) ids, also with a last axis of size 1; y_pred: (B, V) or (B, T, V).

    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
    0.5
    """

    direction = "up"

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        return y_pred.shape[:-1]

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        return np.asarray(_ids(y_true, y_pred.shape[:-1]) == y_pred.argmax(axis=-1))

    def update_correct(self, correct: Any, weights: Any = None) -> None:
        """Takes in whether each prediction (S) was right, where a fused operation knows it already."""
        self.update_values(correct, weights)


class SequenceAccuracy(_Average):
    """How often the largest predictions stand at the class ids in all steps of a sequence.

    y_true: (B, T) ids; y_pred: (B, T, V), whose ``lengths`` or ``mask`` leave steps out.

    For a decoder under teacher forcing it is the exact match of greedy decoding: while all letters before it are right,
    a letter is chosen from the same state either way.

    >>> SequenceAccuracy()([[1, 0], [1, 1]], [[[0, 1], [1, 0]], [[0, 1], [1, 0]]])
    0.5
    """

    direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Takes one batch in; ``sample_weight``: (B,), ``mask``: (B, T) bool, which replaces that of y_pred."""
        x = as_array(y_pred)
        if x.ndim != 3:
            raise ValueError(f"y_pred: expected shape (batch, time, classes), got {x.shape}")
        right = _ids(y_true, x.shape[:2]) == x.argmax(axis=-1)
        kept = mask_of(y_pred, x.shape[:2], mask)
        self.update_values((right if kept is None else right | ~kept).all(axis=1), sample_weight)


def _ids(y_true: Any, shape: tuple[int, ...]) -> Array:
    ids = as_array(y_true)
    if ids.ndim == len(shape) + 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    if ids.shape != shape:
        raise ValueError(f"y_true: expected class ids of shape {shape}, got shape {ids.shape}")
    return ids


def _among_top(ids: Array, y_pred: Array, k: int) -> Array:
    """Whether fewer than k classes score above class ``ids``. Ids out of range and scores that are not finite are never
    among the top."""
    inside = (ids >= 0) & (ids < y_pred.shape[-1])
    score = np.take_along_axis(y_pred, np.where(inside, ids, 0).astype(np.int64)[..., None], -1)
    return np.asarray(inside & np.isfinite(score[..., 0]) & ((y_pred > score).sum(axis=-1) < k))


class SparseTopKCategoricalAccuracy(SparseCategoricalAccuracy):
    """How often the class id is among the k largest predictions.

    >>> SparseTopKCategoricalAccuracy(k=2)([2, 0], [[0.1, 0.6, 0.3], [0.01, 0.95, 0.04]])
    0.5
    """

    def __init__(self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = _check_k(k)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        return _among_top(_ids(y_true, y_pred.shape[:-1]), y_pred, self.k)

    def update_correct(self, correct: Any, weights: Any = None) -> None:
        """Takes in whether each target (S) was among the k largest."""
        self.update_values(correct, weights)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"k": self.k}


class TopKCategoricalAccuracy(CategoricalAccuracy):
    """How often the class of the (one-hot) target is among the k largest predictions.

    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1]], [[0.1, 0.6, 0.3]])
    1.0
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = _check_k(k)

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t = as_array(y_true)
        if t.shape != y_pred.shape:
            raise ValueError(f"y_true: expected the shape of y_pred, {y_pred.shape}, got {t.shape}")
        return _among_top(t.argmax(axis=-1), y_pred, self.k)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"k": self.k}


def _check_k(k: int) -> int:
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"k: expected an int >= 1, got {k!r}")
    return int(k)


# --- losses as metrics ------------------------------------------------------------------------------------------------


class _LossMean(_PairMean):
    """The mean of a loss's single values."""

    direction = "down"
    loss: losses.Loss

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        single = isinstance(self.loss, (losses.BinaryCrossentropy, losses.MeanSquaredError))
        return y_pred.shape if y_pred.ndim == 1 and single else y_pred.shape[:-1]

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        if mask is not None and isinstance(self.loss, losses.SparseCategoricalCrossentropy):
            # Ids of steps left out are not looked at.
            y_true = np.where(mask, _ids(y_true, y_pred.shape[:-1]), 0)
        return self.loss.call(y_true, y_pred).numpy()

    def update_losses(self, values: Any, weights: Any = None) -> None:
        """Takes single losses (S) in, where a fused operation knows them already."""
        self.update_values(values, weights)

    def get_config(self) -> dict[str, Any]:
        return self.loss.get_config() | {"name": self.name}


class _Crossentropy(_LossMean):
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["reduction"]
        return config


class BinaryCrossentropy(_Crossentropy):
    """Mean of :class:`seqcore.losses.BinaryCrossentropy`.

    >>> round(BinaryCrossentropy()([[0.0], [1.0]], [[0.5], [0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.loss = losses.BinaryCrossentropy(from_logits, label_smoothing, axis)


class CategoricalCrossentropy(_Crossentropy):
    """Mean of :class:`seqcore.losses.CategoricalCrossentropy`.

    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name)
        self.loss = losses.CategoricalCrossentropy(from_logits, label_smoothing, axis)


class _SparseMean(_Crossentropy):
    def __init__(self, name: str | None, from_logits: bool, ignore_class: int | None, axis: int) -> None:
        super().__init__(name)
        self.loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        assert isinstance(self.loss, losses.SparseCategoricalCrossentropy)
        if self.loss.ignore_class is not None:
            shape = as_array(y_pred).shape[:-1]
            kept = mask_of(y_pred, shape, mask)
            counted = _ids(y_true, shape) != self.loss.ignore_class
            mask = counted if kept is None else counted & kept
        super().update_state(y_true, y_pred, sample_weight, mask)


class SparseCategoricalCrossentropy(_SparseMean):
    """Mean of :class:`seqcore.losses.SparseCategoricalCrossentropy`.

    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, from_logits, ignore_class, axis)


class Perplexity(_SparseMean):
    """exp of the mean cross-entropy of class ids: among how many classes the model hesitates.

    Args:
        name: name in logs.
        from_logits: y_pred are logits instead of probabilities.
        ignore_class: an id that is left out.
        axis: the axis of the classes.

    Before the first update it is NaN; overflow gives inf.

    >>> round(Perplexity()([1, 0], [[0.5, 0.5], [0.5, 0.5]]), 4)
    2.0
    """

    def __init__(
        self,
        name: str | None = "perplexity",
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, from_logits, ignore_class, axis)

    def result(self) -> float:
        if not self.count:
            return math.nan
        try:
            return math.exp(self.total / self.count)
        except OverflowError:
            return math.inf


class MeanSquaredError(_LossMean):
    """Mean of the squared differences.

    >>> MeanSquaredError()([[0.0, 1.0]], [[0.0, 3.0]])
    2.0
    """

    def __init__(self, name: str | None = "mean_squared_error") -> None:
        super().__init__(name)
        self.loss = losses.MeanSquaredError()

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean of the squared differences.

    >>> RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [3.0]])
    3.0
    """

    def __init__(self, name: str | None = "root_mean_squared_error") -> None:
        super().__init__(name)

    def result(self) -> float:
        return math.sqrt(super().result())


class MeanAbsoluteError(_PairMean):
    """Mean of the absolute differences.

    >>> MeanAbsoluteError()([[0.0, 1.0]], [[0.0, 3.0]])
    1.0
    """

    direction = "down"

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        t, x = same_shape(y_true, y_pred)
        return np.asarray(np.abs(x - t).mean(axis=-1))


class MeanMetricWrapper(_PairMean):
    """The mean of what a function ``f(y_true, y_pred, **arguments)`` returns.

    Args:
        fn: called with the targets and the predictions (an array); returns single values.
        name: name in logs.
        kwargs: passed on to ``fn``.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name or getattr(fn, "__name__", "metric"))
        self._fn, self._kwargs = fn, kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        values = as_array(self._fn(y_true, as_array(y_pred), **self._kwargs))
        kept = mask_of(y_pred, values.shape, mask) if values.ndim else None
        self.update_values(values, sample_weight if values.ndim else None, kept)

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"metric: the function {self.name!r} cannot be written to a file; use a Metric class")


class _AccuracyByShape(_Average):
    """Accuracy in the form that fits the first batch: sparse, binary or categorical, as Keras chooses."""

    direction = "up"

    def __init__(self, name: str | None = "accuracy") -> None:
        super().__init__(name)
        self._form: _PairMean | None = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        if self._form is None:
            t, x = as_array(y_true).shape, as_array(y_pred).shape
            if len(x) < 2 or x[-1] == 1:
                self._form = BinaryAccuracy()
            else:
                sparse = len(t) < len(x) or t[-1] == 1
                self._form = SparseCategoricalAccuracy() if sparse else CategoricalAccuracy()
        self._form.update_state(y_true, y_pred, sample_weight, mask)
        self.total, self.count = self._form.total, self._form.count

    def reset_state(self) -> None:
        super().reset_state()
        if self._form is not None:
            self._form.reset_state()


_CLASSES: dict[str, type[Metric]] = {
    "mean": Mean,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sequence_accuracy": SequenceAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "perplexity": Perplexity,
    "mean_squared_error": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
}
_ALIASES = {
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "bce": "binary_crossentropy",
    "cce": "categorical_crossentropy",
}
_BY_CLASS: dict[str, type[Metric]] = {cls.__name__: cls for cls in (*_CLASSES.values(), Accuracy)}


def _from_loss(name: str, loss: losses.Loss | None) -> Metric:
    """The accuracy that fits a loss."""
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(name)
    if isinstance(loss, losses.CategoricalCrossentropy):
        return CategoricalAccuracy(name)
    if isinstance(loss, losses.BinaryCrossentropy):
        # A probability above 1/2 is a logit above 0.
        return BinaryAccuracy(name, 0.0 if loss.from_logits else 0.5)
    return _AccuracyByShape(name)


def get(identifier: Any, loss: losses.Loss | None = None) -> Metric:
    """The metric meant by a name, a class, a function, a configuration or a metric.

    Args:
        identifier: "accuracy" and "acc" become the accuracy that fits ``loss``; without a loss, or with one that does
            not say, the shapes of the first batch decide as in Keras. Names of cross-entropies and "perplexity" take
            ``from_logits``, ``ignore_class`` and ``axis`` from a loss of that kind.
        loss: the loss of the model.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> type(get("acc", losses.BinaryCrossentropy())).__name__
    'BinaryAccuracy'
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str):
        if identifier.lower() in ("accuracy", "acc"):
            return _from_loss(identifier, loss)
        name = _ALIASES.get(identifier.lower(), identifier)
        found = _CLASSES.get(name) or _BY_CLASS.get(name)
        if found is None:
            raise ValueError(f"metric: expected one of accuracy, {', '.join(sorted(_CLASSES))}, got {identifier!r}")
        made: Metric = found(name=identifier)
        if isinstance(made, _Crossentropy) and loss is not None and type(loss) is type(made.loss):
            known = {"from_logits", "ignore_class", "axis"}
            made = found(name=identifier, **{k: v for k, v in loss.get_config().items() if k in known})
        return made
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        plain: Metric = identifier()
        return plain
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    raise TypeError(f"metric: expected a name, a Metric or a function, got {type(identifier).__name__}")


def serialize(metric: Metric) -> dict[str, Any]:
    """``{"class_name", "config"}`` of a metric, without its state; JSON-able.

    >>> serialize(Perplexity(from_logits=True))["config"]["from_logits"]
    True
    """
    return {"class_name": type(metric).__name__, "config": metric.get_config()}


def deserialize(config: dict[str, Any]) -> Metric:
    """The metric that :func:`serialize` described.

    Raises:
        ValueError: for a class this module does not have.
    """
    name = config.get("class_name", "")
    found: type[Metric] | None = _AccuracyByShape if name == "_AccuracyByShape" else _BY_CLASS.get(name)
    if found is None:
        raise ValueError(f"metric: expected a class name out of {', '.join(_BY_CLASS)}, got {name!r}")
    return found.from_config(config.get("config", {}))
