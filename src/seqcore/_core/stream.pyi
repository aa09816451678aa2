"""Streaming inference: a stack of layers that is advanced one time step at a time."""

from collections.abc import Sequence

from ..typing import Array

class Stream:
    """Layers with packed weights and their state, advanced one time step at a time on one thread."""

    def __init__(self, batch_size: int, dtype: str = "float32") -> None: ...
    def add_embedding(self, table: Array) -> None:
        """Only as the first layer: then `step` takes ids (batch,)."""

    def add_recurrent(
        self,
        cell: str,
        kernel: Array,
        recurrent: Array,
        bias: Array | None,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
    ) -> None: ...
    def add_context(
        self,
        context_kernel: Array,
        kernel: Array,
        context_recurrent: Array,
        recurrent: Array,
        bias: Array | None,
        alpha: float,
        activation: str = "tanh",
    ) -> None:
        """RNN-CF: B (D, C), A (D, H), P (C, H), R (H, H); its output is [h, s]."""

    def add_dense(self, kernel: Array, bias: Array | None, activation: str = "linear") -> None:
        """activation: one of `dense_forward`, or softmax."""

    def add_activation(self, activation: str) -> None: ...
    def step(self, x: Array) -> Array:
        """One time step: x (batch, features) of the stream's type, or ids (batch,); returns (batch, outputs)."""

    def reset(self) -> None: ...
    def get_state(self) -> list[tuple[Array, ...]]:
        """Copies of the states of the recurrent layers: (h,), (h, c) or, for RNN-CF, (h, s)."""

    def set_state(self, state: Sequence[tuple[Array, ...]]) -> None: ...
