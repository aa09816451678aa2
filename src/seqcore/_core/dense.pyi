"""Dense layers, softmax with its loss, and the normal distribution of GELU."""

from collections.abc import Sequence

from ..typing import Array

def dense_forward(
    x: Array, kernel: Array, bias: Array | None = None, activation: str = "linear", *, mixed: bool = False
) -> Array:
    """activation(x (R, K) · kernel (K, N) + bias (N,)); activation: linear, tanh, relu, sigmoid or hard_sigmoid."""

def dense_backward(
    x: Array,
    kernel: Array,
    y: Array,
    dy: Array,
    activation: str = "linear",
    *,
    use_bias: bool = True,
    need_dx: bool = True,
    need_weights: bool = True,
    out: Sequence[Array | None] | None = None,
    mixed: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dkernel, dbias), None for those that are not needed. `out`: arrays for (dkernel, dbias)."""

def linear_softmax(
    x: Array,
    kernel: Array,
    bias: Array | None,
    targets: Array,
    weights: Array | None = None,
    *,
    gradients: bool = True,
    need_dx: bool = True,
    out: Sequence[Array | None] | None = None,
    mixed: bool = False,
) -> tuple[Array, Array, Array | None, Array | None, Array | None]:
    """Softmax cross-entropy of x (R, K) · kernel (K, V) + bias with bounded memory.

    targets: (R,) int32 in 0...V-1. Returns per row the loss -log p(target) and whether the largest logit is the target
    (bool), then the gradients (dx, dkernel, dbias) of sum(weights * losses), weights (R,) being ones by default.
    """

def softmax(x: Array) -> Array:
    """Softmax of the rows of x (R, N)."""

def normal_cdf(x: Array) -> Array:
    """The probability that a number of the standard normal distribution is below x (N,)."""
