"""Recurrent layers over whole sequences."""

from collections.abc import Sequence
from typing import Any

from ..typing import Array

# (kernel, recurrent, bias), in PyTorch's layout (weight_ih, weight_hh, bias_ih, bias_hh).
Weights = tuple[Array | None, ...]

class SavedForward:
    """A forward pass that a backward pass may follow; only `recurrent_forward` makes one."""

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
    input_dropout: Sequence[Array | None] | None = None,
    state_dropout: Sequence[Array | None] | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    processing_order: bool = False,
    zero_masked: bool = False,
    mixed: bool = False,
    layout: str = "keras",
    batch_sizes: Array | None = None,
    reserve: Array | None = None,
    restore: bool = False,
    own_y: bool = False,
) -> tuple[Any, list[tuple[Array, ...]], SavedForward | None]:
    """One recurrent layer over a whole sequence, in one or two directions at the same time.

    cell: a name in bindings/cell_shapes.h, such as "lstm" or "gru" (reset-after). weights: per direction (kernel
    (D, gH), recurrent (H, gH), bias or None) with g = 1, 4, 3 and Keras's gate order (i f c o; z r h); the bias is
    (gH,), for "gru" (2, 3H). initial: per direction (h (B, H),) or (h, c), or None for zeros. reverse: per direction;
    None: one direction, forwards.

    lengths: (B,) int32, 0...T; mask: (B, T) bool. input_dropout: per direction a mask (B, D); state_dropout: (B, H).
    processing_order: outputs in the order of processing instead of time. zero_masked: outputs at masked steps are zero
    instead of the last output. packed: keeps the packed weights for the next call with the same, unchanged weights.

    layout: "keras", or "torch": per direction (weight_ih (gH, D), weight_hh (gH, H), bias_ih (gH,) or None, bias_hh)
    with PyTorch's gate order (i f g o; r z n). batch_sizes: (T,) int64, the number of sequences that are active at each
    step, longest first, as in PyTorch's PackedSequence: x, y and their gradients are then (R, features), the rows of
    all steps without padding.

    reserve: (size,) array of (R + B) * `reserve_columns` elements, as from `new_reserve`, R the valid time steps of all
    sequences: everything that a backward pass reads is written there, and no argument of `recurrent_backward` is
    returned. A call with the same arguments and `restore` makes that argument from the reserve, without computing
    anything; the first one takes the gates, which its backward pass overwrites, any other computes them again.
    own_y: y shares no memory with the reserve; without, `restore` returns it too.

    Returns y (B, T, directions * H), a time-major view, or (B, directions * H) without `sequences`; the final state of
    each direction, if `states`; the argument of `recurrent_backward`, if `save`.
    """

def reserve_columns(cell: str, units: int, directions: int = 1, own_y: bool = True, dtype: str = "float32") -> int:
    """Elements of a reserve for each row and each sequence."""

def new_reserve(size: int, dtype: str = "float32") -> Array:
    """A new (size,) array on memory of the pool, not initialized."""

def recurrent_backward(
    saved: SavedForward,
    dy: Array | None,
    dstates: Sequence[tuple[Array | None, ...] | None] | None = None,
    need_dx: bool = True,
    need_weights: bool = True,
    need_initial: bool = True,
    step_gradients: bool = False,
    out: Sequence[Weights | None] | None = None,
) -> tuple[Array | None, list[Weights] | None, list[tuple[Array, ...]] | None, list[Array] | None]:
    """The backward pass of the forward pass `saved`.

    Returns dx (B, T, D), per direction the gradients of (kernel, recurrent, bias), per direction those of the initial
    state (with `need_initial`), and with `step_gradients` per direction dL/dh_t (B, T, H). `out`: arrays for the
    weights' gradients, in their layout, undefined after an exception.
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
    busy: int = 0,
    lanes: int | None = None,
) -> dict[str, Any]:
    """The threads that `recurrent_forward` would use of `threads`, and how they share the layer.

    rows: time steps of all sequences together, padded ones left out. busy: processors that other programs lately had.
    lanes: elements of a vector register, whose units are shared as one block; None: those of the instruction set in
    use.

    A dictionary: "threads"; "loop", the parts of the sequences of a direction and the parts of the units in the time
    loop; "barriers_per_step"; "shares_products", whether all threads share the products before and after the time
    loop; "reason", why the time loop has this many threads.
    """

def plan_product(
    rows: int, units: int, gates: int = 1, *, threads: int, dtype: str = "float32", lanes: int | None = None
) -> tuple[int, int]:
    """How threads share a product with a weight of gates * units columns: parts of the rows, parts of the columns.

    The input of a recurrent layer times its kernel, all time steps at once, or the gradient of that input (gates=1,
    as many units as features). The columns are cut between blocks of units, a vector of each gate.
    """

def plan_gradients(
    columns: int, units: int, gates: int = 1, *, threads: int, dtype: str = "float32", lanes: int | None = None
) -> tuple[int, int]:
    """How threads share the gradient of a weight (columns, gates * units): parts of its rows, parts of its columns.

    The rows are those of the weights, which are the columns of the input; the columns are cut between panels of four
    vectors (three of the GRU).
    """
