"""Adagrad; Keras 3's formula and defaults."""

from __future__ import annotations

from typing import Any

from .._core.optimizer import adagrad
from .._validation import real
from ..typing import Arrays
from .optimizer import OPTIMIZERS, Optimizer, Rate


@OPTIMIZERS.register("adagrad")
class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients so far.

    a += g^2; w -= learning_rate * g / sqrt(a + epsilon), a starting at ``initial_accumulator_value``.

    Args:
        learning_rate: see :class:`Optimizer`.
        initial_accumulator_value: >= 0.
        epsilon: >= 0.
        weight_decay, clipnorm, ..., name: see :class:`Optimizer`.

    A row without gradient does not change, so sparse gradients always visit only the rows they touch.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.

    >>> import numpy as np
    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = Adagrad(0.1, initial_accumulator_value=0.0).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    _updates_sparse_rows = True

    _config_names = ("initial_accumulator_value", "epsilon")

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
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.initial_accumulator_value = real("initial_accumulator_value", initial_accumulator_value, 0.0)
        self.epsilon = real("epsilon", epsilon, 0.0)

    def slot_values(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], **common: Any) -> None:
        adagrad(params, grads, *slots, epsilon=self.epsilon, **common)
