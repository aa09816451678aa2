"""RMSprop, with momentum and centered; Keras 3's formula and defaults."""

from __future__ import annotations

from typing import Any

from .._core.optimizer import rmsprop
from .._validation import boolean, real
from ..typing import Arrays
from .optimizer import OPTIMIZERS, Optimizer, Rate


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

    >>> import numpy as np
    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = RMSprop(0.1, rho=0.0).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    _config_names = ("rho", "momentum", "epsilon", "centered", "lazy")

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
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.rho = real("rho", rho, 0.0, 1.0, open_high=True)
        self.momentum = real("momentum", momentum, 0.0, 1.0)
        self.epsilon = real("epsilon", epsilon, 0.0)
        self.centered, self.lazy = boolean("centered", centered), boolean("lazy", lazy)
        self._updates_sparse_rows = self.lazy

    def slot_values(self) -> dict[str, float]:
        names = ["velocity"] + ["momentum"] * (self.momentum > 0) + ["average_gradient"] * self.centered
        return dict.fromkeys(names, 0.0)

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], **common: Any) -> None:
        by_name = dict(zip(self.slot_values(), slots, strict=True))
        rmsprop(
            params,
            grads,
            by_name["velocity"],
            by_name.get("momentum"),
            by_name.get("average_gradient"),
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            **common,
        )
