"""Adam, with amsgrad; Keras 3's formula and defaults."""

from __future__ import annotations

from typing import Any

from .._core.optimizer import adam
from .._validation import boolean, real
from ..typing import Arrays
from .optimizer import OPTIMIZERS, Optimizer, Rate


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

    >>> import numpy as np
    >>> from seqcore import Variable
    >>> w = Variable([1.0], name="w")
    >>> _ = Adam(0.1).apply_gradients([(np.array([2.0], np.float32), w)])
    >>> w.numpy().round(4)
    array([0.9], dtype=float32)
    """

    _config_names = ("beta_1", "beta_2", "epsilon", "amsgrad", "lazy")

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
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.beta_1 = real("beta_1", beta_1, 0.0, 1.0, open_high=True)
        self.beta_2 = real("beta_2", beta_2, 0.0, 1.0, open_high=True)
        self.epsilon = real("epsilon", epsilon, 0.0)
        self.amsgrad, self.lazy = boolean("amsgrad", amsgrad), boolean("lazy", lazy)
        self._updates_sparse_rows = self.lazy

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0} | ({"velocity_hat": 0.0} if self.amsgrad else {})

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], **common: Any) -> None:
        adam(
            params,
            grads,
            *slots,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            step=self._iterations + 1,
            **common,
        )
