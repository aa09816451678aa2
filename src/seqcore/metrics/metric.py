"""Metric base classes: weighted means over batches, with sample weights and masks.

B, T, V: batch, time steps, classes. S: shape of the per-sample values, (B,) or (B, T). Sums are kept in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import initializers
from .._registry import Configurable, Registry, snake_case
from .._validation import NUMBERS, as_dtype, as_sizes, default_only, short_repr
from ..autograd import Tensor, Variable, as_array
from ..ops.targets import mask_of, same_rank, step_weights
from ..typing import Array

# The types of attributes that are sums over batches: numbers, texts, arrays, lists.
_STATE = ((int, float, np.generic), (str,), (np.ndarray, Variable), (list,))


def _state_types(value: Any) -> tuple[type, ...] | None:
    return next((types for types in _STATE if isinstance(value, types)), None)


class Metric(Configurable):
    """A number gathered over batches.

    Args:
        dtype: "float32" or "float64": predictions are cast to it before they are compared, and the result is rounded to
            it; by default predictions keep their type, and the result is a Python float.
        name: name in logs; by default the class's name in snake case.

    A subclass defines ``update_state``, ``result`` and ``reset_state``, the last unless :meth:`add_variable` has made
    all of its sums. ``direction`` says whether "up" or "down" is better, for callbacks with ``mode="auto"``.

    >>> class Batches(Metric):
    ...     def __init__(self, name="batches"):
    ...         super().__init__(name=name)
    ...         self.seen = self.add_variable(shape=(), initializer="zeros", name="seen")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.seen.assign_add(1.0)
    ...
    ...     def result(self):
    ...         return self.seen
    >>> metric = Batches()
    >>> float(metric([1], [2])), float(metric([1], [2]))
    (1.0, 2.0)
    """

    _pickle_family = "metric"
    direction: str | None = None
    dtype: str | None = None
    _variables: tuple[Variable, ...] = ()
    _config_names: tuple[str, ...] = ("name", "dtype")

    def __init__(self, dtype: DTypeLike | None = None, name: str | None = None) -> None:
        self.dtype = None if dtype is None else as_dtype("dtype", dtype).name
        self.name = name or snake_case(type(self).__name__)

    @property
    def variables(self) -> list[Variable]:
        """The variables that :meth:`add_variable` has made."""
        return list(self._variables)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: DTypeLike | None = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A new variable for a sum over batches, to be kept as an attribute.

        Args:
            shape: sizes of its axes; () for a number.
            initializer: see ``initializers.get``.
            dtype: the metric's type by default, "float32" if it has none.
            aggregation: accepted only as "sum".
            name: name of the variable.

        Raises:
            ValueError, TypeError: naming the argument.
        """
        default_only("aggregation", aggregation, "sum", "there are no replicas of a variable")
        numbers = as_dtype("dtype", dtype or self.dtype or "float32", NUMBERS)
        sizes = [size for size in as_sizes("shape", shape) if size is not None]
        if len(sizes) < len(shape):
            raise ValueError(f"shape: expected sizes, got {shape!r}")
        values = initializers.get(initializer)(sizes, "float64")
        variable = Variable(values, trainable=False, name=name or "variable", dtype=numbers)
        self._variables += (variable,)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> Variable:
        """The same as :meth:`add_variable`, by default a number that begins at zero."""
        return self.add_variable(shape, "zeros" if initializer is None else initializer, dtype, name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Update with one batch."""
        raise TypeError(f"{type(self).__name__}: a metric must define update_state")

    def result(self) -> float:
        """The value over all batches since :meth:`reset_state`."""
        raise TypeError(f"{type(self).__name__}: a metric must define result")

    def reset_state(self) -> None:
        """Forget all batches; by default all variables are set to zeros, as in Keras."""
        if not self.variables:
            raise TypeError(f"{type(self).__name__}: a metric must define reset_state")
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        self.update_state(*args, **kwargs)
        return self.result()

    def get_state(self) -> dict[str, Any]:
        """Sums over the batches so far: the attributes that hold numbers and arrays, by name."""
        return {
            name: value.numpy() if isinstance(value, Variable) else value
            for name, value in vars(self).items()
            if _state_types(value)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`get_state`.

        Raises:
            ValueError: for the state of another metric; nothing is changed then.
        """
        for name, value in state.items():
            if name not in vars(self) or _state_types(vars(self)[name]) not in (None, _state_types(value)):
                raise ValueError(f"state: expected that of a metric like {self.name!r}, got {name}={short_repr(value)}")
        for name, value in state.items():
            if isinstance(vars(self)[name], Variable):
                vars(self)[name].assign(value)
            else:
                setattr(self, name, np.array(value) if isinstance(value, np.ndarray) else value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}={self.result():.6g}>"


METRICS = Registry("metric", Metric)


class WeightedMean(Metric):
    """A mean that keeps the weighted sum and the sum of weights."""

    def __init__(self, name: str | None = None, dtype: DTypeLike | None = None) -> None:
        super().__init__(dtype, name)
        self.total = self.count = 0.0

    def reset_state(self) -> None:
        self.total = self.count = 0.0

    def result(self) -> float:
        return self._rounded(self.total / self.count) if self.count else 0.0

    def _rounded(self, value: float) -> float:
        """``value`` in the precision of the metric's dtype."""
        return value if self.dtype is None else float(np.dtype(self.dtype).type(value))

    def _cast(self, values: Any) -> Array:
        """``values`` as an array, in the metric's dtype if it has one."""
        array = as_array(values)
        return array if self.dtype is None else array.astype(self.dtype, copy=False)

    def update_values(self, values: Any, sample_weight: Any = None, mask: Array | None = None) -> None:
        """Update with per-sample values (S), with weights and a mask of S or its leading axes."""
        array = as_array(values)
        if sample_weight is None and mask is None:
            total, count = float(array.sum(dtype=np.float64)), float(array.size)
        else:
            weights = step_weights("none", array.shape, sample_weight, mask, np.float64)
            # A step that is left out may hold anything, NaN too.
            total = float(np.where(weights == 0, 0, array * weights).sum(dtype=np.float64))
            count = float(weights.sum())
        self.total, self.count = self.total + total, self.count + count


@METRICS.register("mean")
class Mean(WeightedMean):
    """The weighted mean of the values given.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0, 5.0, 7.0])
    >>> mean.result()
    4.0
    """

    def update_state(  # type: ignore[override]  # takes values, not targets and predictions
        self, values: Any, sample_weight: Any = None
    ) -> None:
        self.update_values(self._cast(values), sample_weight)


class MeanOfPairs(WeightedMean):
    """The mean of per-sample values computed from targets and predictions."""

    # True where a y_pred with one axis holds one number for each sample, not the classes of one sample.
    _elementwise = True

    def _values(self, y_true: Any, y_pred: Array, mask: Array | None) -> Array:
        raise TypeError(f"{type(self).__name__}: a metric must define _values")

    def _shape(self, y_true: Any, y_pred: Array) -> tuple[int, ...]:
        """S."""
        return y_pred.shape if y_pred.ndim == 1 and self._elementwise else y_pred.shape[:-1]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        """Update with one batch.

        Args:
            y_true, y_pred: targets and predictions; a ``mask`` or ``lengths`` on the tensor y_pred leave steps out.
            sample_weight: S or its leading axes.
            mask: S or its leading axes, bool; replaces that of y_pred.
        """
        x = self._cast(y_pred)
        if not x.ndim:
            raise ValueError("y_pred: expected at least one axis, got a single number")
        kept = mask_of(y_pred, self._shape(y_true, x), mask) if mask is not None or isinstance(y_pred, Tensor) else None
        self.update_values(self._values(y_true, x, kept), sample_weight, kept)


class MeanMetricWrapper(MeanOfPairs):
    """The mean of the values of a function ``f(y_true, y_pred, **arguments)``.

    Args:
        fn: called with the targets and the predictions, arrays of one rank where they differ by a last axis of size 1;
            returns per-sample values, or one number for the batch.
        name, dtype: see :class:`Metric`.
        kwargs: passed on to ``fn``.
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: DTypeLike | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", "metric"), dtype)
        self._fn, self._kwargs = fn, kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> None:
        values = as_array(
            self._fn(*same_rank(y_true, self._cast(y_pred)), **self._kwargs), name=f"metric {self.name!r}"
        )
        if not values.ndim and sample_weight is not None:
            raise ValueError(
                f"weighted_metrics: expected {self.name!r} to return a value to weight for each sample, got one number"
            )
        self.update_values(values, sample_weight, mask_of(y_pred, values.shape, mask) if values.ndim else None)

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"metric: the function {self.name!r} cannot be written to a file; use a Metric class")
