"""Initial values of weights, with Keras's names, defaults and formulas.

An initializer is called with a shape and gives an array. With ``seed=None`` it draws from ``random.generator()``; with
an integer seed it gives the same values at each call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import random as _random
from ._pickling import Pickled
from ._registry import Registry
from ._validation import NUMBERS, choice, default_only, integer, plain_array, positive, real, seed_or_none, short_repr
from .autograd import float_dtype
from .typing import Array


class Initializer(Pickled):
    """Base of all initializers: a subclass defines ``_values(shape)``, in float64."""

    _pickle_family = "initializer"
    _fields: tuple[str, ...] = ()

    def __call__(self, shape: Sequence[int], dtype: DTypeLike | None = None) -> Array:
        """New values of ``shape`` in ``dtype``, by default ``floatx``."""
        return np.array(self._values(_sizes(shape)), float_dtype(dtype), order="C")

    def _values(self, shape: tuple[int, ...]) -> Array:
        raise TypeError(f"{type(self).__name__}: an initializer must define _values(shape)")

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        try:
            return cls(**config)
        except TypeError as error:
            raise ValueError(f"config: expected the arguments of {cls.__name__} ({error})") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


INITIALIZERS = Registry("initializer", Initializer)


def _sizes(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple; a number is the size of a vector."""
    return tuple(integer("shape", n, 0) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))


class _Drawn(Initializer):
    """An initializer with random values."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed_or_none(seed)

    def _generator(self) -> np.random.Generator:
        return _random.generator() if self.seed is None else np.random.Generator(np.random.Philox(self.seed))


@INITIALIZERS.register("zeros")
class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def _values(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape)


@INITIALIZERS.register("ones")
class Ones(Initializer):
    """All ones.

    >>> Ones()((2,))
    array([1., 1.], dtype=float32)
    """

    def _values(self, shape: tuple[int, ...]) -> Array:
        return np.ones(shape)


@INITIALIZERS.register("constant")
class Constant(Initializer):
    """One value everywhere, or given values.

    Args:
        value: a number, or an array of the weight's shape; 0 by default.

    >>> Constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    """

    _fields = ("value",)

    def __init__(self, value: Any = 0.0) -> None:
        array = plain_array("value", value)
        if array.dtype.kind not in NUMBERS:
            raise ValueError(f"value: expected a number or an array of numbers, got {short_repr(value)}")
        self.value = array.tolist()

    def _values(self, shape: tuple[int, ...]) -> Array:
        value = np.asarray(self.value, np.float64)
        if value.ndim and value.shape != shape:
            raise ValueError(f"value: expected a number or an array of shape {shape}, got shape {value.shape}")
        return np.full(shape, value)


@INITIALIZERS.register("random_normal", "normal")
class RandomNormal(_Drawn):
    """Normally distributed values.

    Args:
        mean: their mean, 0 by default.
        stddev: their standard deviation >= 0, 0.05 by default.
        seed: None draws from the global generator; an integer gives the same values at each call.

    >>> RandomNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    _fields = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = real("mean", mean), real("stddev", stddev, 0)

    def _values(self, shape: tuple[int, ...]) -> Array:
        return self._generator().normal(self.mean, self.stddev, shape)


@INITIALIZERS.register("random_uniform", "uniform")
class RandomUniform(_Drawn):
    """Uniformly distributed values.

    Args:
        minval, maxval: the bounds, -0.05 and 0.05 by default.
        seed: None draws from the global generator; an integer gives the same values at each call.

    >>> bool(abs(RandomUniform(seed=1)((2, 3))).max() <= 0.05)
    True
    """

    _fields = ("minval", "maxval", "seed")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = real("minval", minval), real("maxval", maxval)
        if self.minval > self.maxval:
            raise ValueError(f"maxval: expected at least minval={self.minval}, got {self.maxval}")

    def _values(self, shape: tuple[int, ...]) -> Array:
        return self._generator().uniform(self.minval, self.maxval, shape)


@INITIALIZERS.register("truncated_normal")
class TruncatedNormal(RandomNormal):
    """Normally distributed values; those more than two standard deviations from the mean are drawn again.

    Args:
        mean: the mean, 0 by default.
        stddev: the standard deviation >= 0 before truncation, 0.05 by default.
        seed: None draws from the global generator; an integer gives the same values at each call.

    >>> bool(abs(TruncatedNormal(seed=1)((2, 3))).max() <= 0.1)
    True
    """

    def _values(self, shape: tuple[int, ...]) -> Array:
        return self.mean + self.stddev * truncated_noise(self._generator(), shape)


def truncated_noise(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers; those beyond 2 are drawn again."""
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inputs and outputs of a weight; leading axes before the last two are a receptive field."""
    if len(shape) < 2:
        n = float(shape[0]) if shape else 1.0
        return n, n
    field = math.prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)


@INITIALIZERS.register("variance_scaling")
class VarianceScaling(_Drawn):
    """Random values with variance ``scale / n``, where n counts the inputs or outputs of a unit.

    Args:
        scale: positive factor, 1 by default.
        mode: n is the number of inputs ("fan_in", the default) or outputs ("fan_out"), or their mean ("fan_avg").
        distribution: "truncated_normal" (the default; with that variance after truncation), "untruncated_normal" or
            "uniform".
        seed: None draws from the global generator; an integer gives the same values at each call.
        input_axes, output_axes: accepted only as None.

    >>> w = VarianceScaling(3.0, distribution="uniform", seed=1)((100, 50))
    >>> bool(abs(w).max() <= 0.3)
    True
    """

    _fields: tuple[str, ...] = ("scale", "mode", "distribution", "seed")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: None = None,
        output_axes: None = None,
    ) -> None:
        super().__init__(seed)
        default_only("input_axes", input_axes, None, "inputs are counted by the shape only")
        default_only("output_axes", output_axes, None, "outputs are counted by the shape only")
        choice("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        if distribution == "normal":
            distribution = "truncated_normal"
        choice("distribution", distribution, ("truncated_normal", "untruncated_normal", "uniform"))
        self.scale, self.mode, self.distribution = positive("scale", scale), mode, distribution

    def _values(self, shape: tuple[int, ...]) -> Array:
        fan_in, fan_out = _fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        generator = self._generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return generator.normal(0, math.sqrt(variance), shape)
        # The standard deviation of a standard normal cut at +-2.
        return math.sqrt(variance) / 0.87962566103423978 * truncated_noise(generator, shape)


class _Scaled(VarianceScaling):
    """Base of the initializers that fix everything of :class:`VarianceScaling` but the seed."""

    _fields: tuple[str, ...] = ("seed",)
    _scaling: tuple[float, str, str]

    def __init__(self, seed: int | None = None, input_axes: None = None, output_axes: None = None) -> None:
        super().__init__(*self._scaling, seed=seed, input_axes=input_axes, output_axes=output_axes)


@INITIALIZERS.register("glorot_uniform")
class GlorotUniform(_Scaled):
    """Uniformly distributed values within +-sqrt(6 / (inputs + outputs)).

    Args:
        seed, input_axes, output_axes: see :class:`VarianceScaling`; so for the five that follow.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    >>> w = GlorotUniform(seed=1)((2, 4))
    >>> bool(abs(w).max() <= 1)
    True
    """

    _scaling = (1.0, "fan_avg", "uniform")


@INITIALIZERS.register("glorot_normal")
class GlorotNormal(_Scaled):
    """Truncated normal values with variance 2 / (inputs + outputs). Source: Glorot and Bengio, 2010."""

    _scaling = (1.0, "fan_avg", "truncated_normal")


@INITIALIZERS.register("he_uniform")
class HeUniform(_Scaled):
    """Uniformly distributed values within +-sqrt(6 / inputs). Source: He et al., Delving deep into rectifiers, 2015."""

    _scaling = (2.0, "fan_in", "uniform")


@INITIALIZERS.register("he_normal")
class HeNormal(_Scaled):
    """Truncated normal values with variance 2 / inputs. Source: He et al., Delving deep into rectifiers, 2015."""

    _scaling = (2.0, "fan_in", "truncated_normal")


@INITIALIZERS.register("lecun_uniform")
class LecunUniform(_Scaled):
    """Uniformly distributed values within +-sqrt(3 / inputs). Source: LeCun et al., Efficient backprop, 1998."""

    _scaling = (1.0, "fan_in", "uniform")


@INITIALIZERS.register("lecun_normal")
class LecunNormal(_Scaled):
    """Truncated normal values with variance 1 / inputs. Source: LeCun et al., Efficient backprop, 1998."""

    _scaling = (1.0, "fan_in", "truncated_normal")


@INITIALIZERS.register("orthogonal")
class Orthogonal(_Drawn):
    """A matrix with orthonormal rows or columns (whichever are fewer), from the QR decomposition of a normal matrix.

    Args:
        gain: factor, 1 by default.
        seed: None draws from the global generator; an integer gives the same values at each call.

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, 2013.

    >>> q = Orthogonal(seed=0)((3, 3), "float64")
    >>> bool(abs(q @ q.T - np.eye(3)).max() < 1e-12)
    True
    """

    _fields = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = real("gain", gain)

    def _values(self, shape: tuple[int, ...]) -> Array:
        if len(shape) < 2:
            raise ValueError(f"shape: expected at least 2 axes for an orthogonal matrix, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self._generator().standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


@INITIALIZERS.register("identity")
class Identity(Initializer):
    """The identity matrix, for weights with two axes.

    Args:
        gain: factor, 1 by default.

    >>> Identity(2.0)((2, 2))
    array([[2., 0.],
           [0., 2.]], dtype=float32)
    """

    _fields = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real("gain", gain)

    def _values(self, shape: tuple[int, ...]) -> Array:
        if len(shape) != 2:
            raise ValueError(f"shape: expected 2 axes for an identity matrix, got {shape}")
        return self.gain * np.eye(*shape)


class _Function(Initializer):
    """A custom function ``f(shape, dtype)``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, shape: Sequence[int], dtype: DTypeLike | None = None) -> Array:
        values = np.asarray(self.function(tuple(shape), dtype=float_dtype(dtype).name))
        if values.shape != tuple(shape):
            raise ValueError(f"initializer: expected values of shape {tuple(shape)}, got {values.shape}")
        if values.dtype.kind not in NUMBERS:
            raise ValueError(f"initializer: expected numbers, got values of type {values.dtype}")
        return values.astype(float_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        raise ValueError(f"initializer: the function {self.function!r} cannot be saved; use a class of initializers")


def get(identifier: Any, argument: str = "initializer") -> Initializer:
    """Initializer from a name, a class, a function, a config dict or an initializer.

    Args:
        identifier: "glorot_uniform", "GlorotUniform", ``GlorotUniform(seed=1)``, ``serialize(...)``, ...
        argument: its name in errors.

    Raises:
        ValueError: for anything unknown.

    >>> get("ones")((2,))
    array([1., 1.], dtype=float32)
    """
    initializer = INITIALIZERS.get(identifier, argument)
    if initializer is not None:
        return initializer
    if callable(identifier):
        return _Function(identifier)
    raise ValueError(f"{argument}: expected a name, an Initializer or a function, got {short_repr(identifier)}")


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Class name and config, for files.

    >>> serialize(Zeros())
    {'class_name': 'Zeros', 'config': {}}
    """
    return INITIALIZERS.serialize(initializer)
