"""SGD, Adam, RMSprop and Adagrad: Keras 3's formulas and defaults, each update one call of the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.optimizer import adagrad, adam, rmsprop, sgd, sgd_slices
from .._validation import boolean, real
from ..typing import Array
from .optimizer import OPTIMIZERS, Optimizer, Rate, Rows, Work


def _columns(work: list[Work], count: int) -> list[list[Array]]:
    """Per slot the list of its arrays."""
    return [[w.slots[k] for w in work] for k in range(count)]


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's form.

    w -= learning_rate * g; with momentum m: v = m * v - learning_rate * g, then w += v, or with ``nesterov``
    w += m * v - learning_rate * g.

    Args:
        learning_rate: see :class:`Optimizer`.
        momentum: 0...1.
        nesterov: only matters with momentum.
        weight_decay, clipnorm, ..., name: see :class:`Optimizer`.
        lazy: with momentum, sparse gradients move and decay only the rows they touch. Without momentum only these rows
            change anyway, and only they are visited.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> SGD(0.1).apply_gradients([(np.array([2.0], np.float32), w)])
    1
    >>> w.numpy()
    array([0.8], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = "sgd",
        *,
        lazy: bool = False,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.momentum = real("momentum", momentum, 0.0, 1.0)
        self.nesterov, self.lazy = boolean("nesterov", nesterov), boolean("lazy", lazy)
        self._by_rows = self.lazy or self.momentum == 0.0

    def _slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def _update(self, work: list[Work], learning_rate: float, scale: float) -> None:
        sgd(
            [w.param for w in work],
            [w.gradient for w in work],
            *_columns(work, 1 if self.momentum else 0),
            learning_rate=learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            scale=scale,
            clipvalue=self.clipvalue,
        )

    def _update_rows(self, tables: list[Rows], learning_rate: float, scale: float) -> None:
        if self.momentum:
            super()._update_rows(tables, learning_rate, scale)
            return
        gradients = [one.gradient for one in tables]
        sgd_slices(
            [one.param for one in tables],
            [one.values for one in gradients],
            [np.ascontiguousarray(one.indices) for one in gradients],
            learning_rate=learning_rate,
            scale=scale,
            clipvalue=self.clipvalue,
            columns=[one.axis == 1 for one in gradients],
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"momentum": self.momentum, "nesterov": self.nesterov, "lazy": self.lazy}


@OPTIMIZERS.register("adam")
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    m += (1 - beta_1) * (g - m); v += (1 - beta_2) * (g^2 - v);
    w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon), t counting from 1.

    Args:
        learning_rate: see :class:`Optimizer`.
        beta_1, beta_2: 0...1, 1 excluded.
        epsilon: >= 0.
        amsgrad: divide by the largest v so far.
        weight_decay, clipnorm, ..., name: see :class:`Optimizer`.
        lazy: sparse gradients update only the rows they touch; otherwise every row moves on by its running means.

    Sources: Kingma and Ba, "Adam", 2015; Reddi et al., "On the convergence of Adam and beyond", 2018.

    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = Adam(0.1).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = "adam",
        *,
        lazy: bool = False,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.beta_1 = real("beta_1", beta_1, 0.0, 1.0, open_high=True)
        self.beta_2 = real("beta_2", beta_2, 0.0, 1.0, open_high=True)
        self.epsilon = real("epsilon", epsilon, 0.0)
        self.amsgrad, self.lazy = boolean("amsgrad", amsgrad), boolean("lazy", lazy)
        self._by_rows = self.lazy

    def _slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0} | ({"velocity_hat": 0.0} if self.amsgrad else {})

    def _update(self, work: list[Work], learning_rate: float, scale: float) -> None:
        momentums, velocities, *largest = _columns(work, 3 if self.amsgrad else 2)
        adam(
            [w.param for w in work],
            [w.gradient for w in work],
            momentums,
            velocities,
            *largest,
            learning_rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            step=self._iterations + 1,
            scale=scale,
            clipvalue=self.clipvalue,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return super().get_config() | own | {"amsgrad": self.amsgrad, "lazy": self.lazy}


@OPTIMIZERS.register("rmsprop")
class RMSprop(Optimizer):
    """Steps scaled by a running mean of the squared gradient.

    v = rho * v + (1 - rho) * g^2; with ``centered`` a = rho * a + (1 - rho) * g and d = v - a^2, else d = v;
    step = learning_rate * g / sqrt(d + epsilon); with momentum m = momentum * m + step; w -= m (or step).

    Args:
        learning_rate: see :class:`Optimizer`.
        rho: 0...1, 1 excluded.
        momentum: 0...1.
        epsilon: >= 0.
        centered: subtract the square of the running mean.
        weight_decay, clipnorm, ..., name: see :class:`Optimizer`.
        lazy: sparse gradients update only the rows they touch.

    Source: Hinton, "Neural networks for machine learning", lecture 6e, 2012; centered: Graves, "Generating sequences
    with recurrent neural networks", 2013.

    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = RMSprop(0.1, rho=0.0).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = "rmsprop",
        *,
        lazy: bool = False,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.rho = real("rho", rho, 0.0, 1.0, open_high=True)
        self.momentum = real("momentum", momentum, 0.0, 1.0)
        self.epsilon = real("epsilon", epsilon, 0.0)
        self.centered, self.lazy = boolean("centered", centered), boolean("lazy", lazy)
        self._by_rows = self.lazy

    def _slot_values(self) -> dict[str, float]:
        names = ["velocity"] + ["momentum"] * (self.momentum > 0) + ["average_gradient"] * self.centered
        return dict.fromkeys(names, 0.0)

    def _update(self, work: list[Work], learning_rate: float, scale: float) -> None:
        slots = dict(zip(self._slot_values(), _columns(work, len(self._slot_values())), strict=True))
        rmsprop(
            [w.param for w in work],
            [w.gradient for w in work],
            slots["velocity"],
            slots.get("momentum"),
            slots.get("average_gradient"),
            learning_rate=learning_rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            scale=scale,
            clipvalue=self.clipvalue,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}
        return super().get_config() | own | {"centered": self.centered, "lazy": self.lazy}


@OPTIMIZERS.register("adagrad")
class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients so far.

    a += g^2; w -= learning_rate * g / sqrt(a + epsilon), a starting at ``initial_accumulator_value``.

    Args:
        learning_rate: see :class:`Optimizer`.
        initial_accumulator_value: >= 0.
        epsilon: >= 0.
        weight_decay, clipnorm, ..., name: see :class:`Optimizer`.

    A row without gradient does not change, so sparse gradients always visit the rows they touch alone.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.

    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = Adagrad(0.1, initial_accumulator_value=0.0).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    _by_rows = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = "adagrad",
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        self.initial_accumulator_value = real("initial_accumulator_value", initial_accumulator_value, 0.0)
        self.epsilon = real("epsilon", epsilon, 0.0)

    def _slot_values(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def _update(self, work: list[Work], learning_rate: float, scale: float) -> None:
        adagrad(
            [w.param for w in work],
            [w.gradient for w in work],
            *_columns(work, 1),
            learning_rate=learning_rate,
            epsilon=self.epsilon,
            scale=scale,
            clipvalue=self.clipvalue,
        )

    def get_config(self) -> dict[str, Any]:
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return super().get_config() | own


def get(identifier: Any) -> Optimizer:
    """The optimizer meant by a name, a class, a configuration or an optimizer.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.

    >>> get("adam").learning_rate
    0.001
    """
    optimizer = None if identifier is Optimizer else OPTIMIZERS.get(identifier)
    if optimizer is None:
        raise TypeError(f"optimizer: expected a name or an Optimizer, got {type(identifier).__name__}")
    return optimizer


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """``{"class_name", "config"}`` of an optimizer; JSON-able.

    >>> serialize(SGD(0.5))["config"]["learning_rate"]
    0.5
    """
    return OPTIMIZERS.serialize(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, type[Optimizer]] | None = None) -> Optimizer:
    """The optimizer that :func:`serialize` described, without its state.

    Args:
        config: what :func:`serialize` gave.
        custom_objects: further classes by name.

    Raises:
        ValueError: for a class that neither has.
    """
    return OPTIMIZERS.deserialize(config, custom_objects)
