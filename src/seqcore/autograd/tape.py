"""A small tape over coarse operations: Tensor, Variable, IndexedSlices, GradientTape.

One operation is a whole layer call or a whole array operation, so the tape holds tens of nodes, not thousands. An
operation computes its result with NumPy or ``_core`` and calls :func:`record` with a function that maps the gradients
of its outputs to the gradients of its inputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._validation import boolean, choice, default_only
from ..typing import Array
from .tensor import Gradient, IndexedSlices, Tensor, Variable, as_array, unchecked_tensor

Backward = Callable[..., Sequence[Gradient]]


# One recorded operation: its outputs, its inputs, its backward function, whether that takes the gradient buffers, and
# the versions of the inputs that are variables (None for the others). A plain tuple, since one is made at every call
# of a layer.
_Node = tuple[Sequence[Tensor], Sequence[Any], Backward, bool, list[int | None]]


class GradientBuffers:
    """Arrays into which a backward pass writes the gradients of variables.

    Args:
        arrays: the buffer of each variable, by the ``id`` of the variable.
    """

    __slots__ = ("_left",)

    def __init__(self, arrays: Mapping[int, Array]) -> None:
        self._left = dict(arrays)

    def take(self, variable: Any) -> Array | None:
        """The buffer of ``variable``, or None for a new array.

        Each buffer is used at most once per backward pass: a variable that is used twice gets a new array the second
        time, and the tape writes the sum into the buffer at the end.
        """
        return self._left.pop(id(variable), None)


NO_BUFFERS = GradientBuffers({})


class _TapeContext(threading.local):
    """The tapes that record in this thread."""

    def __init__(self) -> None:
        self.tapes: list[GradientTape] = []


_context = _TapeContext()


def is_recording(inputs: Iterable[Any]) -> bool:
    """True where an active tape follows one of ``inputs``: the operation saves what its backward pass needs."""
    for tape in _context.tapes:
        tracked = tape._tracked
        for x in inputs:
            # follows(), here and in record without the call: 0.3 of the 12.5 us of a recorded call of LSTM and Dense.
            if id(x) in tracked or (type(x) is Variable and x._trainable):
                return True
    return False


def any_tape() -> bool:
    """True where a tape of this thread records."""
    return bool(_context.tapes)


def record(outputs: Sequence[Tensor], inputs: Sequence[Any], backward: Backward, takes_buffers: bool = False) -> None:
    """Record an operation on every active tape that follows one of its inputs.

    Args:
        outputs: the tensors it made.
        inputs: its inputs; the gradients are returned in this order. Entries that are not tensors are allowed
            and get no gradient.
        backward: called with one gradient (array or None) per output, returns one gradient (array, IndexedSlices or
            None) per input.
        takes_buffers: call ``backward(*gradients, buffers=...)`` with :class:`GradientBuffers`, from which it may take
            the array to write the gradient of a variable into.

    ``outputs`` and ``inputs`` are kept as they are.
    """
    node: _Node | None = None
    for tape in _context.tapes:
        tracked = tape._tracked
        for x in inputs:
            if id(x) in tracked or (type(x) is Variable and x._trainable):
                if node is None:
                    versions = [x.version if type(x) is Variable else None for x in inputs]
                    node = outputs, inputs, backward, takes_buffers, versions
                tape._add(node)
                break


def recorded(array: Any, inputs: Sequence[Any], backward: Backward) -> Tensor:
    """The result of an operation as a tensor, recorded with its backward function; see :func:`record`."""
    out = unchecked_tensor(array) if type(array) is np.ndarray else Tensor(array)
    for tensor in inputs:
        if not tensor._array.ndim:
            backward = _with_arrays(backward)
            break
    record((out,), inputs, backward)
    return out


def _with_arrays(backward: Backward) -> Backward:
    """NumPy's arithmetic on arrays without axes gives scalars; the tape expects arrays."""
    return lambda *gs: [g if g is None or isinstance(g, IndexedSlices) else np.asarray(g) for g in backward(*gs)]


@contextmanager
def stop_recording() -> Iterator[None]:
    """Context in which no tape of this thread records anything."""
    tapes, _context.tapes = _context.tapes, []
    try:
        yield
    finally:
        _context.tapes = tapes


def pop_once(fresh: list[Any]) -> Any:
    """Pop the entry of ``fresh``, or return None: of several threads, one gets it."""
    try:
        return fresh.pop()
    except IndexError:
        return None


class GradientTape:
    """Recorder of the operations on trainable variables and watched tensors, which computes gradients.

    Args:
        persistent: allows more than one call of :meth:`gradient`.
        watch_accessed_variables: accepted only as True.

    >>> w = Variable(3.0)
    >>> with GradientTape() as tape:
    ...     loss = w * w
    >>> float(tape.gradient(loss, w))
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        if watch_accessed_variables is not True:
            reason = "trainable=False keeps a variable off all tapes"
            default_only("watch_accessed_variables", watch_accessed_variables, True, reason)
        self._persistent = persistent if persistent is False else boolean("persistent", persistent)
        # What was recorded, in order.
        self.operations: list[_Node] = []
        self._tracked: set[int] = set()
        self._watched: list[Tensor] = []
        # Emptied by the first call of gradient.
        self._unused = [True]

    def __enter__(self) -> GradientTape:
        if self in _context.tapes:
            raise RuntimeError("GradientTape: the tape is already recording")
        _context.tapes.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _context.tapes.remove(self)

    def watch(self, tensor: Tensor | Iterable[Tensor]) -> None:
        """Follow ``tensor`` (or each of several), which need not be a trainable variable."""
        for x in (tensor,) if isinstance(tensor, Tensor) else list(tensor):
            if not isinstance(x, Tensor):
                raise TypeError(f"tensor: expected a Tensor, got {type(x).__name__}; wrap arrays with Tensor(...)")
            self._watched.append(x)
            self._tracked.add(id(x))

    def follows(self, inputs: Iterable[Any]) -> bool:
        """True where the tape records what is computed from ``inputs``, since it follows one of them."""
        tracked = self._tracked
        for x in inputs:
            if id(x) in tracked or (type(x) is Variable and x._trainable):
                return True
        return False

    def _add(self, node: _Node) -> None:
        # The node holds its outputs, so an id in the set stays theirs as long as the tape lives.
        self.operations.append(node)
        for out in node[0]:
            self._tracked.add(id(out))

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: str = "none"
    ) -> Any:
        """Gradients of ``target`` with respect to ``sources``.

        Args:
            target: a tensor, or a list of tensors whose sum is meant.
            sources: a tensor or variable, or a (nested) list or dict of them.
            output_gradients: gradient of each target (same shape), ones by default.
            unconnected_gradients: "none", or "zero" for zeros where the target does not depend on the source.

        Returns:
            In the structure of ``sources``: a Tensor, an :class:`IndexedSlices`, or None where the target does not
            depend on the source.

        Raises:
            RuntimeError: on a second call without ``persistent=True``, for a weight that was changed after it was used,
                and for gradients of gradients.
        """
        if unconnected_gradients != "none":
            choice("unconnected_gradients", unconnected_gradients, ("none", "zero"))
        flat: Any = sources
        flat_already = isinstance(sources, (list, tuple)) and _are_tensors(sources)
        if not flat_already:
            flat = []
            _flatten(sources, flat)
            if not _are_tensors(flat):
                wrong = next(x for x in flat if not isinstance(x, Tensor))
                raise TypeError(f"sources: expected Tensors and Variables, got {type(wrong).__name__}")
        targets = target if isinstance(target, (list, tuple)) else (target,)
        given = output_gradients
        if not isinstance(given, (list, tuple)):
            given = (given,) * len(targets)
        if len(given) != len(targets):
            raise ValueError(f"output_gradients: expected {len(targets)} gradients, one per target, got {len(given)}")
        gradients = self._run(targets, given, flat, NO_BUFFERS)
        results = [unchecked_tensor(g) if isinstance(g, np.ndarray) else g for g in gradients]
        if unconnected_gradients == "zero":
            results = [Tensor(np.zeros_like(x._array)) if g is None else g for g, x in zip(results, flat, strict=True)]
        for tape in _context.tapes:
            if tape is not self and tape.follows(targets):
                dense = tuple(g for g in results if isinstance(g, Tensor))
                tape._add((dense, tuple(flat), _refuse_second_order, False, [None] * len(flat)))
        return results if flat_already else _unflatten(sources, iter(results))

    def gradients_into_buffers(
        self, target: Tensor, variables: Sequence[Variable], buffers: Sequence[Array | None]
    ) -> list[Gradient]:
        """Like :meth:`gradient` for the variables of a model, each gradient written into its buffer.

        Args:
            target: the loss.
            variables: the variables to differentiate by.
            buffers: an array of the shape and type of each variable. It is zero afterwards where the target does not
                depend on the variable. None leaves the gradient as it comes, an array, ``IndexedSlices`` or None.

        Returns:
            The gradient of each variable: its buffer, or where it has none the gradient as it came.
        """
        arrays = {id(v): buffer for v, buffer in zip(variables, buffers) if buffer is not None}
        return filled_buffers(buffers, self._run([target], [None], variables, GradientBuffers(arrays)))

    def _run(
        self, targets: Sequence[Any], given: Sequence[Any], sources: Sequence[Tensor], buffers: GradientBuffers
    ) -> list[Gradient]:
        if not self._unused and not self._persistent:
            raise _used_up()
        gradients: dict[int, Gradient] = {}
        for y, dy in zip(targets, given):
            if not isinstance(y, Tensor):
                hint = "; functions of NumPy leave the tape, those of seqcore.ops stay on it"
                numbers = isinstance(y, (np.ndarray, np.generic))
                raise TypeError(f"target: expected a Tensor, got {type(y).__name__}{hint if numbers else ''}")
            array = y._array
            if dy is None:
                dy = np.ones(array.shape, array.dtype) if array.ndim else np.array(1, array.dtype)
            elif type(dy) is not np.ndarray or dy.dtype is not array.dtype:
                dy = as_array(dy, array.dtype)
            if dy.shape != array.shape:
                raise ValueError(f"output_gradients: expected shape {y.shape}, got {dy.shape}")
            before = gradients.get(id(y))
            gradients[id(y)] = dy if before is None else add_gradients(before, dy)
        kept = set(map(id, sources))
        tracked = self._tracked
        if not pop_once(self._unused) and not self._persistent:
            raise _used_up()
        for outputs, inputs, backward, takes_buffers, versions in reversed(self.operations):
            dys = []
            reached = False
            for out in outputs:
                key = id(out)
                gradient = gradients.get(key) if key in kept else gradients.pop(key, None)
                reached = reached or gradient is not None
                dys.append(gradient)
            if not reached:
                continue
            for variable, version in zip(inputs, versions):
                if version is not None and variable.version != version:
                    raise RuntimeError(
                        f"GradientTape: variable {variable.name!r} was changed after the operation that used it; "
                        "call gradient before assigning to it"
                    )
            for x, dx in zip(inputs, backward(*dys, buffers=buffers) if takes_buffers else backward(*dys)):
                if dx is None:
                    continue
                key = id(x)
                if key in tracked or (type(x) is Variable and x._trainable):
                    before = gradients.get(key)
                    gradients[key] = dx if before is None else add_gradients(before, dx)
        if not self._persistent:
            self.operations.clear()
        return list(map(gradients.get, map(id, sources)))


def filled_buffers(buffers: Sequence[Array | None], gradients: list[Gradient]) -> list[Gradient]:
    """The gradients, those that are not in their buffer written into it, with zeros for None."""
    for i, buffer in enumerate(buffers):
        gradient = gradients[i]
        if buffer is not None and gradient is not buffer:
            buffer[...] = 0 if gradient is None else np.asarray(gradient)
            gradients[i] = buffer
    return gradients


def add_gradients(a: Gradient, b: Gradient) -> Gradient:
    """The sum of two gradients, either of which may be None or touch few rows."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, IndexedSlices) and isinstance(b, IndexedSlices) and a.axis == b.axis:
        joined = np.concatenate([a.values, b.values]), np.concatenate([a.indices, b.indices])
        return IndexedSlices(*joined, a.shape, a.axis).unique()
    return np.asarray(np.add(np.asarray(a), np.asarray(b)))


def _used_up() -> RuntimeError:
    return RuntimeError("GradientTape: gradient was called already; use GradientTape(persistent=True) to call it again")


def _refuse_second_order(*_: Gradient) -> Sequence[Gradient]:
    raise RuntimeError("GradientTape: gradients of gradients are not supported")


def _are_tensors(values: Iterable[Any]) -> bool:
    """True where all values are tensors; a loop, since a generator costs more than the few there are."""
    for value in values:
        if not isinstance(value, Tensor):
            return False
    return True


def _flatten(structure: Any, flat: list[Any]) -> None:
    if isinstance(structure, (list, tuple, dict)):
        for item in structure.values() if isinstance(structure, dict) else structure:
            _flatten(item, flat)
    else:
        flat.append(structure)


def _unflatten(structure: Any, values: Any) -> Any:
    if isinstance(structure, (list, tuple)):
        return [_unflatten(item, values) for item in structure]
    if isinstance(structure, dict):
        return {key: _unflatten(item, values) for key, item in structure.items()}
    return next(values)
