"""LSTM, GRU and RNN of ``torch.nn`` on seqcore's kernels, and the exchange of one for the other in a model.

B: batch, T: time steps, R: rows (time steps of all sequences together), D: input features, H: units, L: layers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop_out
from torch.nn.utils.rnn import PackedSequence

from .operators import recurrent

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)

_DTYPES = (torch.float32, torch.float64)


class _Layers(torch.nn.RNNBase):  # type: ignore[misc]
    """The forward pass that the three modules share.

    Not subclasses of ``torch.nn.LSTM``, ``GRU`` and ``RNN``: ``torch.compile`` refuses those by their class.
    """

    def __init__(self, mode: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(mode, *args, **kwargs)
        reason = _refusal(self)
        if reason:
            raise ValueError(reason)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layers over a batch of sequences.

        Args:
            input: (T, B, D) of the dtype of the weights, (B, T, D) with ``batch_first``, (T, D) without a batch, or a
                ``PackedSequence`` of R rows.
            hx: the states at the start, h_0, for the LSTM (h_0, c_0), each (L * directions, B, H), without a batch
                (L * directions, H). Default: zeros.

        Returns:
            The output of the last layer in the form of ``input`` with directions * H features, and the states at the
            end in the form of ``hx``.
        """
        parameters = self._parameters
        if any(
            [parameters.get(name) is not weight for name, weight in zip(self._flat_weights_names, self._flat_weights)]
        ):
            self._update_flat_weights()  # takes longer
        states = self._states(hx)
        if isinstance(input, PackedSequence):
            x, batch_sizes, order, order_back = input
            self._check(x, states, 2, int(batch_sizes[0]) if states else 0)
            if order is not None:
                states = [state.index_select(1, order) for state in states]
            y, finals = self._run(x, states, batch_sizes, False)
            if order_back is not None:
                finals = [state.index_select(1, order_back) for state in finals]
            y = PackedSequence(y, batch_sizes, order, order_back)
        elif not isinstance(input, Tensor):
            raise TypeError(f"input: expected a tensor or a PackedSequence, got {type(input).__name__}")
        elif input.dim() == 2:
            self._check(input, states, 2, None)
            y, finals = self._run(input.unsqueeze(1), [state.unsqueeze(1) for state in states], None, False)
            y, finals = y.squeeze(1), [state.squeeze(1) for state in finals]
        else:
            self._check(input, states, 3, input.shape[0 if self.batch_first else 1] if input.dim() == 3 else None)
            y, finals = self._run(input, states, None, self.batch_first)
        return y, (tuple(finals) if self.mode == "LSTM" else finals[0])

    def _states(self, hx: Any) -> list[Tensor]:
        if hx is None:
            return []
        if self.mode != "LSTM":
            hx = (hx,)
        if not (isinstance(hx, (tuple, list)) and all(isinstance(state, Tensor) for state in hx)) or len(hx) != (
            2 if self.mode == "LSTM" else 1
        ):
            expected = "a tuple of two tensors (h_0, c_0)" if self.mode == "LSTM" else "a tensor h_0"
            given = hx if self.mode == "LSTM" else hx[0]
            parts = (
                f" of {', '.join(type(part).__name__ for part in given)}" if isinstance(given, (tuple, list)) else ""
            )
            raise TypeError(f"hx: expected {expected}, got {type(given).__name__}{parts}")
        return list(hx)

    def _check(self, x: Tensor, states: list[Tensor], rank: int, batch: int | None) -> None:
        """Refuse arguments that the operator cannot take; ``batch``: of the states, None: they have no such axis."""
        weight: Any = self._flat_weights[0]
        if not weight.is_cpu:
            raise ValueError(f"device: expected the CPU for {type(self).__name__} of seqcore, got {weight.device}")
        if weight.dtype not in _DTYPES:
            raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {weight.dtype}")
        if x.dim() != rank or x.shape[-1] != self.input_size:
            ranks = "two" if rank == 2 else "two or three"
            raise ValueError(
                f"input: expected {ranks} axes, the last of {self.input_size} features, got {tuple(x.shape)}"
            )
        if not x.numel():
            raise ValueError(f"input: expected at least one sequence and one time step, got {tuple(x.shape)}")
        count = self.num_layers * (2 if self.bidirectional else 1)
        shape = (count, self.hidden_size) if batch is None else (count, batch, self.hidden_size)
        for name, tensor in (("input", x), *zip(("h_0", "c_0"), states)):
            if tensor.dtype != weight.dtype or not tensor.is_cpu:
                raise ValueError(
                    f"{name}: expected {weight.dtype} on the CPU, as the weights, got {tensor.dtype} on {tensor.device}"
                )
            if tensor is not x and tuple(tensor.shape) != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")

    def _run(
        self, x: Tensor, states: list[Tensor], batch_sizes: Tensor | None, batch_first: bool
    ) -> tuple[Any, list[Tensor]]:
        """The output and the states at the end: one call of the operator, with dropout between layers one a layer."""
        weights: Any = self._flat_weights
        save = torch.is_grad_enabled() and any([tensor.requires_grad for tensor in (x, *weights, *states)])
        options = (batch_sizes, self.mode, self.bidirectional)
        if not (self.dropout and self.training and self.num_layers > 1):
            y, h, c, _ = recurrent(x, weights, states, *options, batch_first, save)
            return y, [h, c] if self.mode == "LSTM" else [h]
        # PyTorch draws its masks for the time-major sequence.
        x = x.transpose(0, 1) if batch_first else x
        directions = 2 if self.bidirectional else 1
        size = directions * (4 if self.bias else 2)
        finals = []
        for layer in range(self.num_layers):
            if layer:
                x = drop_out(x, self.dropout)
            part = [state[layer * directions : (layer + 1) * directions] for state in states]
            x, *final, _ = recurrent(x, weights[layer * size : (layer + 1) * size], part, *options, False, save)
            finals.append(final if self.mode == "LSTM" else final[:1])
        return (x.transpose(0, 1) if batch_first else x), [torch.cat(each) for each in zip(*finals)]


class LSTM(_Layers):
    """A drop-in for ``torch.nn.LSTM`` on seqcore's kernels: its arguments, parameters, shapes and results.

    Args:
        input_size: D, the features of a time step.
        hidden_size: H, the units of each layer and direction.
        num_layers: L, the layers on top of each other.
        bias: add ``bias_ih`` and ``bias_hh``.
        batch_first: the sequences are (B, T, D) instead of (T, B, D).
        dropout: rate of dropout between the layers in training.
        bidirectional: each layer reads its input in both directions; their outputs lie side by side.
        proj_size: only 0; projections are refused.
        device: only the CPU, or ``"meta"``.
        dtype: ``torch.float32`` (the default) or ``torch.float64``.

    Raises:
        ValueError: for a projection, another device or another dtype.

    >>> layer = LSTM(3, 4, batch_first=True)
    >>> y, (h, c) = layer(torch.ones(2, 5, 3))
    >>> y.shape, h.shape, c.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )


class GRU(_Layers):
    """A drop-in for ``torch.nn.GRU`` on seqcore's kernels; the arguments of :class:`LSTM` without ``proj_size``.

    >>> layer = GRU(3, 4, bidirectional=True)
    >>> y, h = layer(torch.ones(5, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )


class RNN(_Layers):
    """A drop-in for ``torch.nn.RNN`` on seqcore's kernels; the arguments of :class:`LSTM` without ``proj_size``.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.

    >>> layer = RNN(3, 4, nonlinearity="relu")
    >>> y, h = layer(torch.ones(5, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity


_CLASSES: dict[type, type] = {torch.nn.LSTM: LSTM, torch.nn.GRU: GRU, torch.nn.RNN: RNN}


def _refusal(layer: Any) -> str:
    """The reason why a layer cannot run on the kernels, or an empty text."""
    if layer.proj_size:
        return f"proj_size: expected 0, as the kernels have no projections, got {layer.proj_size}"
    for weight in layer.parameters():
        if weight.device.type not in ("cpu", "meta"):
            return f"device: expected the CPU, got {weight.device}"
        if weight.dtype not in _DTYPES:
            return f"dtype: expected torch.float32 or torch.float64, got {weight.dtype}"
    return ""


def _check_module(module: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")


def accelerate(module: ModuleT) -> ModuleT:
    """Turn each ``torch.nn.LSTM``, ``GRU`` and ``RNN`` in a model into that of seqcore, in place.

    Only the class of each object changes: parameters, hooks, the training flag and references to it stay as they are,
    and an optimizer goes on. Subclasses of the three, which have a forward pass of their own, are left alone.

    Args:
        module: a model, or one of the three itself.

    Returns:
        The same object.

    Raises:
        TypeError: for anything but a module.
        ValueError: where there is nothing to turn, or for a projection, another device than the CPU and other dtypes
            than float32 and float64; no layer has changed then.

    >>> model = torch.nn.ModuleDict({"encoder": torch.nn.LSTM(3, 4), "head": torch.nn.Linear(4, 1)})
    >>> type(accelerate(model)["encoder"]).__module__
    'seqcore.interop.torch.layers'
    >>> type(restore(model)["encoder"]).__module__
    'torch.nn.modules.rnn'
    """
    _check_module(module)
    layers = {name: layer for name, layer in module.named_modules() if type(layer) in _CLASSES}
    if not layers and not any(isinstance(layer, _Layers) for layer in module.modules()):
        raise ValueError("module: expected a model with torch.nn.LSTM, GRU or RNN, got none of them")
    for name, layer in layers.items():
        reason = _refusal(layer)
        if reason:
            raise ValueError(f"module: {name or type(layer).__name__}: {reason}")
    for layer in layers.values():
        layer.__class__ = _CLASSES[type(layer)]
    return module


def restore(module: ModuleT) -> ModuleT:
    """Turn the layers of seqcore in a model back into those of ``torch.nn``, in place: :func:`accelerate` undone.

    Args:
        module: a model, or a layer.

    Returns:
        The same object.

    Raises:
        TypeError: for anything but a module.
        ValueError: where there is nothing to turn.
    """
    _check_module(module)
    classes = {ours: theirs for theirs, ours in _CLASSES.items()}
    layers = [layer for layer in module.modules() if type(layer) in classes]
    if not layers and not any(type(layer) in _CLASSES for layer in module.modules()):
        raise ValueError("module: expected a model with LSTM, GRU or RNN of seqcore, got none of them")
    for layer in layers:
        layer.__class__ = classes[type(layer)]
    return module
