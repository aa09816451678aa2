"""SGD: gradient descent, with momentum and Nesterov's form; Keras 3's formula and defaults."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core.optimizer import sgd, sgd_slices
from .._validation import boolean, real
from ..typing import Arrays
from .optimizer import OPTIMIZERS, Optimizer, Rate
from .updates import Update


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

    _config_names = ("momentum", "nesterov", "lazy")

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
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.momentum = real("momentum", momentum, 0.0, 1.0)
        self.nesterov, self.lazy = boolean("nesterov", nesterov), boolean("lazy", lazy)
        self._updates_sparse_rows = self.lazy or self.momentum == 0.0

    def slot_values(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def _update(self, params: Arrays, grads: Arrays, slots: list[Arrays], **common: Any) -> None:
        sgd(params, grads, *slots, momentum=self.momentum, nesterov=self.nesterov, **common)

    def _update_rows(self, tables: list[Update], **common: Any) -> None:
        if self.momentum:
            super()._update_rows(tables, **common)
            return
        params, values, indices, columns = [], [], [], []
        for param, gradient, _ in tables:
            params.append(param)
            values.append(gradient.values)
            indices.append(np.ascontiguousarray(gradient.indices))
            columns.append(gradient.axis == 1)
        sgd_slices(params, values, indices, columns=columns, **common)
