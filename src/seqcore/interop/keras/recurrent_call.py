"""One call of a recurrent layer on NumPy arrays, for every backend of Keras.

B: batch, T: time steps, D: input features, H: units.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._core.recurrent import recurrent_backward, recurrent_forward
from ..._locks import ForkSafeLock
from ...layers.rnn.run import contiguous_features
from ...typing import Array

# Inputs of a call in their order; all but the first three and h may be missing. Those from the mask on have no
# gradient.
INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "h", "c", "mask", "input_dropout", "state_dropout")


@dataclass(frozen=True)
class RecurrentCall:
    """The options of a call, and its forward and backward pass in the core.

    Args:
        cell: its name in the core.
        activation, recurrent_activation: their names in the core.
        go_backwards: walk from the last step to the first; outputs come in the order of processing.
        sequences: return all outputs, (B, T, H), instead of the last, (B, H).
        states: return the final states too.
        zero_masked: the output of a masked step is zero instead of the output before it.
        inputs: those of INPUTS that the call gets, in that order.
    """

    cell: str
    activation: str
    recurrent_activation: str
    go_backwards: bool
    sequences: bool
    states: bool
    zero_masked: bool
    inputs: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """The inputs that have gradients: those before the masks."""
        return tuple(name for name in self.inputs if name in INPUTS[:6])

    def result_shapes(self, shapes: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Shapes of the results, given those of the inputs."""
        batch, steps = shapes[0][:2]
        units = shapes[2][0]
        y = (batch, steps, units) if self.sequences else (batch, units)
        count = ("c" in self.inputs) + 1
        return [y, *[(batch, units)] * (count if self.states else 0)]

    def forward(self, arrays: Sequence[Array], save: bool) -> tuple[list[Array], Any]:
        """Run the layer.

        Args:
            arrays: one per name in ``inputs``, of one floating-point type (the mask is boolean).
            save: whether a backward pass may follow.

        Returns:
            The output and the final states, and the argument ``saved`` of :meth:`backward` or None.
        """
        given = dict(zip(self.inputs, arrays, strict=True))
        x = contiguous_features(given.pop("x"))
        rest = {name: np.ascontiguousarray(array) for name, array in given.items()}
        kernel, recurrent, bias = rest["kernel"], rest["recurrent_kernel"], rest.get("bias")
        initial = tuple(rest[name] for name in ("h", "c") if name in rest)
        y, finals, saved = recurrent_forward(
            self.cell,
            x,
            [(kernel, recurrent, bias)],
            self.sequences,
            save,
            self.states,
            initial=[initial],
            reverse=[self.go_backwards],
            mask=rest.get("mask"),
            input_dropout=[rest.get("input_dropout")],
            state_dropout=[rest.get("state_dropout")],
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            processing_order=self.go_backwards,
            zero_masked=self.zero_masked and "mask" in rest,
        )
        return [y, *(finals[0] if self.states else ())], saved

    def backward(
        self, saved: Any, dresults: Sequence[Array | None], needed: Sequence[bool] | None = None
    ) -> list[Array | None]:
        """Gradients of :attr:`variables`; None for one that ``needed`` leaves out.

        Args:
            saved: of the forward pass.
            dresults: gradients of its results, None for zero.
            needed: whether each gradient is needed; None: all.
        """
        need = dict.fromkeys(self.variables, True) if needed is None else dict(zip(self.variables, needed))
        dy, *dstates = dresults
        dfinals = None
        if any(dstate is not None for dstate in dstates):
            dfinals = [tuple(None if dstate is None else np.ascontiguousarray(dstate) for dstate in dstates)]
        dx, dweights, dinitial, _ = recurrent_backward(
            saved,
            None if dy is None else contiguous_features(dy),
            dfinals,
            need["x"],
            any(need.get(name) for name in ("kernel", "recurrent_kernel", "bias")),
            any(need.get(name) for name in ("h", "c")),
        )
        gradients: dict[str, Array | None] = {"x": dx}
        if dweights is not None:
            gradients.update(zip(("kernel", "recurrent_kernel", "bias"), dweights[0], strict=True))
        if dinitial is not None:
            gradients.update(zip(("h", "c"), dinitial[0], strict=False))
        return [gradients.get(name) for name in self.variables]


class SavedCalls:
    """Forward passes that wait for their backward pass in a compiled graph, which holds numbers and no objects.

    A forward pass whose backward pass never comes must not stay. A backward pass that does not find its own
    computes it again.

    Args:
        limit: bytes that all may have together, before the oldest go.
    """

    def __init__(self, limit: int = 2**30) -> None:
        self._limit = limit
        self._last = 0
        self._calls: OrderedDict[int, Any] = OrderedDict()
        self._nbytes = 0
        self._lock = ForkSafeLock()

    def put(self, saved: Any) -> int:
        """Keep a forward pass; returns its number."""
        with self._lock:
            # From 1 to the largest int32, and round again.
            number = self._last = self._last % (2**31 - 1) + 1
            self._calls[number] = saved
            self._nbytes += saved.nbytes
            while self._nbytes > self._limit and len(self._calls) > 1:
                self._nbytes -= self._calls.popitem(last=False)[1].nbytes
        return number

    def take(self, number: int) -> Any:
        """The forward pass of that number, or None; it is kept no longer."""
        with self._lock:
            saved = self._calls.pop(number, None)
            if saved is not None:
                self._nbytes -= saved.nbytes
        return saved


SAVED_CALLS = SavedCalls()


def numbered_forward(call: RecurrentCall, arrays: Sequence[Array], save: bool) -> list[Array]:
    """The results of a forward pass in a compiled graph, and last its number as an int32 array, 0 for none."""
    results, saved = call.forward(arrays, save)
    return [*results, np.array(SAVED_CALLS.put(saved) if save else 0, np.int32)]


def numbered_backward(
    call: RecurrentCall, arrays: Sequence[Array], number: Any, dresults: Sequence[Array]
) -> list[Any]:
    """Gradients of the call's variables in a compiled graph."""
    saved = SAVED_CALLS.take(int(number))
    if saved is None:
        _, saved = call.forward(arrays, True)
    return call.backward(saved, dresults)
