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
        mixed: bool = False,
    ) -> None:
        """mixed, here and below: products of bfloat16 pairs, as in `recurrent_forward`."""

    def add_context(
        self,
        context_kernel: Array,
        kernel: Array,
        context_recurrent: Array,
        recurrent: Array,
        bias: Array | None,
        alpha: float,
        activation: str = "tanh",
        mixed: bool = False,
    ) -> None:
        """RNN-CF: B (D, C), A (D, H), P (C, H), R (H, H); its output is [h, s]."""

    def add_dense(self, kernel: Array, bias: Array | None, activation: str = "linear", mixed: bool = False) -> None:
        """activation: one of `dense_forward`, or softmax."""

    def add_conv1d(
        self,
        kernel: Array,
        bias: Array | None,
        activation: str = "linear",
        dilation_rate: int = 1,
        mixed: bool = False,
    ) -> None:
        """A causal convolution: kernel (K, D, N); activation as in `add_dense`."""

    def add_activation(self, activation: str) -> None: ...
    def add_layer_normalization(self, gamma: Array | None, beta: Array | None, epsilon: float = 0.001) -> None:
        """gamma, beta: (D,), or None for ones and zeros, but not both as the first layer."""

    def step(self, x: Array, out: Array | None = None) -> Array:
        """One time step: x (batch, features), float32 or float64 with any strides, or ids (batch,); see `Stream`."""

    def reset(self, rows: Array | None = None) -> None:
        """Zero the state, or that of the sequences `rows` (int64)."""

    def get_state(self) -> list[tuple[Array, ...]]:
        """Copies of the states, layer by layer: (h,), (h, c), for RNN-CF (h, s), for a convolution its last inputs."""

    def set_state(self, state: Sequence[tuple[Array, ...]]) -> None: ...
