"""The compiled core: what the Python layer may call. Arrays are float32 or float64, all of one type within a call.

B, T, D, H: batch, time steps, input features, units. R: rows of a matrix; K, N: its input and output columns; V:
classes.
A sequence (B, T, D) may have any strides for batch and time (a time-major view costs nothing); its features are
contiguous. Other arrays are C-contiguous. Nothing is converted: an array is a NumPy array of the named type, a list of
arrays a list or tuple, an integer an int or NumPy integer and no bool. Whatever is wrong raises ValueError or
TypeError, one line that names the argument, and changes nothing; MemoryError says how much was asked for. Arrays that
are written share memory with no other array of the call.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Weights = tuple[Array, Array, Array | None]

__version__: str

def info() -> dict[str, Any]:
    """version, isa, isas (those this CPU can run), compiler, eigen, openmp (bool), threads."""

def memory() -> dict[str, int]:
    """held: bytes that wait in the pool for later calls; made: blocks that the system was asked for since the start."""

def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def peak_gflops(dtype: str = "float32", seconds: float = 0.2) -> float:
    """Multiply-add peak of one thread under the current instruction set."""

class Saved:
    """What a forward call keeps for its backward pass; only a forward call makes one."""

    @property
    def nbytes(self) -> int: ...

class PackedWeights:
    """The packed weights of one layer, filled by the first call that gets it; with other sizes it is filled anew."""

    def __init__(self) -> None: ...

def recurrent_forward(
    cell: str,
    x: Array,
    weights: Sequence[Weights],
    sequences: bool = True,
    save: bool = True,
    states: bool = True,
    packed: PackedWeights | None = None,
    *,
    initial: Sequence[tuple[Array, ...] | None] | None = None,
    reverse: Sequence[bool] | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    x_scale: Sequence[Array | None] | None = None,
    h_scale: Sequence[Array | None] | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    scan_order: bool = False,
    zero_masked: bool = False,
    mixed: bool = False,
) -> tuple[Array, list[tuple[Array, ...]], Saved | None]:
    """One recurrent layer over a whole sequence, in one or two directions at the same time.

    cell: "rnn", "lstm", "gru" (reset-after) or "gru_reset_before". weights: per direction (kernel (D, gH), recurrent
    (H, gH), bias or None) with g = 1, 4, 3 and Keras's gate order (i f c o; z r h); the bias is (gH,), for "gru"
    (2, 3H). initial: per direction (h (B, H),) or (h, c), or None for zeros. reverse: per direction; None: one
    direction, forwards.

    lengths: (B,) int32, 0...T; mask: (B, T) bool. x_scale (B, D), h_scale (B, H): dropout masks, per direction.
    scan_order: outputs in the order of processing instead of time. zero_masked: outputs at masked steps are zero
    instead of the last output. packed: keeps the packed weights for the next call with the same, unchanged weights.

    Returns y (B, T, directions * H), a time-major view, or (B, directions * H) without `sequences`; the final state of
    each direction, if `states`; what `recurrent_backward` needs, if `save`.
    """

def recurrent_backward(
    saved: Saved,
    dy: Array | None,
    dstates: Sequence[tuple[Array | None, ...] | None] | None = None,
    need_dx: bool = True,
    need_weights: bool = True,
    need_initial: bool = True,
    step_gradients: bool = False,
    out: Sequence[Weights | None] | None = None,
) -> tuple[Array | None, list[Weights] | None, list[tuple[Array, ...]] | None, list[Array] | None]:
    """Gradients of what `saved` is from.

    Returns dx (B, T, D), per direction the gradients of (kernel, recurrent, bias), per direction those of the initial
    state (with `need_initial`), and with `step_gradients` per direction dL/dh_t (B, T, H). `out`: arrays for the
    weights' gradients, undefined after an exception.
    """

def plan_threads(
    cell: str,
    batch: int,
    rows: int,
    features: int,
    units: int,
    *,
    directions: int = 1,
    dtype: str = "float32",
    save: bool = True,
    threads: int,
    oversubscribed: bool = False,
) -> tuple[int, str]:
    """The threads that `recurrent_forward` would use of `threads`, and how they share the layer.

    rows: time steps of all sequences together, padded ones left out. oversubscribed: other programs lately had the
    processors of this one. The second is "sequences", "products" or "units".
    """

def context_scan_forward(
    z: Array,
    alpha: float,
    initial: Array | None = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    """s_t = (1 - alpha) z_t + alpha s_{t-1} for z (B, T, C); returns s (B, T, C) and the final s (B, C).

    Past a length s is 0; at masked steps s is carried.
    """

def context_scan_backward(
    ds: Array | None,
    ds_last: Array | None,
    alpha: float,
    shape: tuple[int, int, int],
    lengths: Array | None = None,
    mask: Array | None = None,
    reverse: bool = False,
    dtype: str = "float32",
) -> tuple[Array, Array]:
    """Returns dz (B, T, C) and the gradient of the initial s (B, C)."""

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
    """Gradients (dx, dkernel, dbias); what is not needed is None. `out`: arrays for (dkernel, dbias)."""

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

def embedding_forward(table: Array, ids: Array) -> Array:
    """Rows of table (V, D) for ids (int32 or int64, 0 to 2 axes): ids.shape + (D,); two axes give a time-major view."""

def embedding_backward(ids: Array, dy: Array, rows: int) -> tuple[Array, Array]:
    """For ids (N,), dy (N, D): (values (U, D), indices (U,) int64), indices ascending, duplicates summed in order."""

def dropout_mask(
    shape: tuple[int, ...], rate: float, seed: int, stream: int, call: int, dtype: str = "float32"
) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate); element i depends on (seed, stream, call, i) alone."""

def sum_squares(arrays: Sequence[Array]) -> float:
    """Sum of the squares of all elements, by a fixed tree in float64."""

def sgd(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's SGD in place. Every gradient is first multiplied by `scale`, then clipped to +-clipvalue."""

def rising_below(indices: Array, bound: int) -> bool:
    """Whether indices (N,) int64 are within 0...bound-1 and each is larger than the one before."""

def sgd_slices(
    params: Sequence[Array],
    values: Sequence[Array],
    indices: Sequence[Array],
    *,
    learning_rate: float,
    scale: float = 1.0,
    clipvalue: float | None = None,
    columns: Sequence[bool] | None = None,
) -> None:
    """SGD on the rows `indices` (int64, rising) of each param alone, or with `columns` on its columns.

    values: what is taken off each of them, one row of values per index.
    """

def adam(
    params: Sequence[Array],
    grads: Sequence[Array],
    momentums: Sequence[Array],
    velocities: Sequence[Array],
    max_velocities: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    step: int = 1,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's Adam (AMSGrad with max_velocities) in place; `step` counts from 1."""

def rmsprop(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array],
    momentums: Sequence[Array] | None = None,
    averages: Sequence[Array] | None = None,
    *,
    learning_rate: float,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's RMSprop in place; `averages` (of the gradients) make it the centered form."""

def adagrad(
    params: Sequence[Array],
    grads: Sequence[Array],
    accumulators: Sequence[Array],
    *,
    learning_rate: float,
    epsilon: float = 1e-7,
    scale: float = 1.0,
    clipvalue: float | None = None,
) -> None:
    """Keras's Adagrad in place."""

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
        """Activations of `dense_forward`, and softmax."""

    def add_activation(self, activation: str) -> None: ...
    def step(self, x: Array) -> Array:
        """One time step: x (batch, features) of the stream's type, or ids (batch,); returns (batch, outputs)."""

    def reset(self) -> None: ...
    def get_state(self) -> list[tuple[Array, ...]]:
        """Copies of the states of the recurrent layers: (h,), (h, c) or, for RNN-CF, (h, s)."""

    def set_state(self, state: Sequence[tuple[Array, ...]]) -> None: ...

class AliasTable:
    """A distribution over 0...N-1 in proportion to weights (N,) float64, drawn from in constant time."""

    def __init__(self, weights: Array) -> None: ...
    @property
    def size(self) -> int: ...

def sample_classes(
    distribution: str | AliasTable,
    range_max: int,
    true_classes: Array,
    num_sampled: int,
    unique: bool,
    seed: int,
    call: int,
) -> tuple[Array, Array, Array]:
    """Draws from "log_uniform", "uniform" or a table over 0...range_max-1; the same for the same (seed, call).

    true_classes: (N,) int64. Returns the samples (S,) int64, and the expected counts of the true classes and of the
    samples.
    """

def accidental_hits(true_classes: Array, sampled_candidates: Array) -> tuple[Array, Array]:
    """(rows, places): sampled_candidates[place] is one of true_classes[row]; (R, N) and (S,) int64."""

def sampled_loss(
    weights: Array,
    biases: Array | None,
    labels: Array,
    inputs: Array,
    sampled_values: tuple[Array, Array, Array] | None,
    num_sampled: int,
    *,
    softmax: bool,
    target: float = 1.0,
    correct: bool = True,
    remove_hits: bool = False,
    by_columns: bool = False,
    gradients: bool = True,
    need_dx: bool = True,
    need_weights: bool = True,
    weight: float = 1.0,
    row_weights: Array | None = None,
    seed: int = 0,
    call: int = 0,
) -> tuple[Array, Array | None, Array | None, Array | None, Array | None]:
    """Loss over sampled classes for inputs (R, K) and labels (R, N): logistic per class, or softmax over them all.

    weights: (V, K), or (K, V) with `by_columns`; biases (V,). sampled_values: what `sample_classes` returned, or None
    to draw log-uniformly without replacement from (seed, call). target: the label of a true class; correct:
    log(expected count) is taken off the logits. Returns the losses (R,) and the gradients of
    weight * sum(row_weights * losses): of the inputs, of the classes used (U, K) and their biases (U,), and which those
    are (U,) int64.
    """

def count_words(corpus_file: str) -> tuple[list[bytes], Array]:
    """The words of a text file, between ASCII white space, and their counts; the most frequent first."""

def encode_words(corpus_file: str, words: list[bytes], longest: int = 10000) -> tuple[Array, Array, int]:
    """(ids (N,) int32, offsets (S + 1,) int64, words of the text) of a file's lines over `words`.

    Other words are left out, lines without any leave no sentence, longer ones than `longest` are cut.
    """

def train_word2vec(
    words: Array,
    sentences: Array,
    first: int,
    last: int,
    input: Array,
    output: Array,
    size: int,
    keep: Array | None,
    noise: AliasTable,
    shift: Array | None,
    *,
    window: int,
    negatives: int,
    shrink: bool,
    cbow: bool,
    mean: bool,
    rate_begin: float,
    rate_end: float,
    seed: int,
    threads: int,
    lock: Array | None = None,
) -> tuple[float, int, int]:
    """Goes over sentences first...last-1 of `encode_words` once and changes input and output (V, stride) in place.

    stride: a multiple of 16, numbers past `size` being zero. keep: (V,) uint32, a word stays where a draw of 32 bits
    is not above it. shift: (V,) what is taken off a word's logits. The learning rate falls from rate_begin to
    rate_end. lock: (V,) float32, factors of the steps of the words' vectors. Returns (loss summed over the pairs looked
    at, how many those were, how many pairs were learnt).
    """
