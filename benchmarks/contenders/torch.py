"""PyTorch: nn.RNN, nn.LSTM, nn.GRU and their cells, packed sequences for lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from .task import OUTPUT, Array, Runner, Task, streamed, trained, two_steps


def start(threads: int) -> str:
    """Imports it."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    return str(torch.__version__)


def _swap_gates(cell: str, weight: Array) -> Array:
    """Rows of a GRU's weight between Keras's order z r h and PyTorch's r z h; others as they are."""
    if cell != "GRU":
        return weight
    z, r, h = np.split(weight, 3)
    return np.concatenate([r, z, h])


def _to_torch(cell: str, weights: Sequence[Array]) -> list[Array]:
    """Keras's (kernel, recurrent, bias) as PyTorch's (W_ih, W_hh, b_ih, b_hh)."""
    kernel, recurrent, bias = weights
    biases = bias if cell == "GRU" else np.stack([bias, np.zeros_like(bias)])
    return [_swap_gates(cell, weight) for weight in (kernel.T, recurrent.T, *biases)]


def _from_torch(cell: str, parameters: Sequence[Any]) -> list[Array]:
    """The inverse of `_to_torch`; where Keras has one bias, it is b_ih."""
    w_ih, w_hh, b_ih, b_hh = (_swap_gates(cell, weight.detach().numpy()) for weight in parameters)
    return [w_ih.T, w_hh.T, np.stack([b_ih, b_hh]) if cell == "GRU" else b_ih.copy()]


def _dtype(task: Task) -> Any:
    return getattr(import_module("torch"), task.dtype)


def _network(task: Task, inputs: int, weights: Sequence[Array]) -> Any:
    torch: Any = import_module("torch")
    name = {"SimpleRNN": "RNN"}.get(task.cell, task.cell)
    network = getattr(torch.nn, name)(inputs, task.units, task.layers, bidirectional=task.both, dtype=_dtype(task))
    values = [weight for i in range(0, len(weights), 3) for weight in _to_torch(task.cell, weights[i : i + 3])]
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return network


def _weights(cell: str, network: Any) -> list[Array]:
    parameters = list(network.parameters())
    return [weight for i in range(0, len(parameters), 4) for weight in _from_torch(cell, parameters[i : i + 4])]


def _updater(task: Task, parameters: Sequence[Any]) -> Callable[[], None]:
    torch: Any = import_module("torch")

    def update() -> None:
        with torch.no_grad():
            torch._foreach_add_(parameters, [parameter.grad for parameter in parameters], alpha=-task.rate)

    return update


def recurrent(task: Task) -> Runner:
    """Whole sequences, time-major."""
    torch: Any = import_module("torch")
    network = _network(task, task.inputs, task.weights)
    parameters = list(network.parameters())
    update = _updater(task, parameters)
    x, dy = (torch.from_numpy(task.arrays[name].swapaxes(0, 1).copy()) for name in ("x", "dy"))
    x.requires_grad_()

    def forward() -> Any:
        with torch.inference_mode():
            return network(x)[0]

    def gradients() -> Any:
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        network(x)[0].backward(dy)
        return x.grad

    def train() -> Any:
        dx = gradients()
        update()
        return dx

    def answer() -> dict[str, Array]:
        output = forward().numpy().swapaxes(0, 1).copy()
        dx = train().numpy().swapaxes(0, 1)
        return trained(task, output, dx, _weights(task.cell, network))

    return Runner({"forward": forward, "train": train, "gradients": gradients}, answer)


def ragged(task: Task) -> Runner:
    """Packed sequences in the order of the user's batch, and of a batch that was sorted beforehand."""
    torch: Any = import_module("torch")
    utilities: Any = import_module("torch.nn.utils.rnn")
    network = _network(task, task.inputs, task.weights)
    parameters = list(network.parameters())
    update = _updater(task, parameters)
    order = np.argsort(-task.arrays["lengths"], kind="stable")

    def arrays(rows: Any) -> tuple[Any, Any, Any]:
        x, dy = (torch.from_numpy(task.arrays[name][rows].swapaxes(0, 1).copy()) for name in ("x", "dy"))
        return x.requires_grad_(), dy, torch.from_numpy(task.arrays["lengths"][rows].astype(np.int64))

    given, ordered = arrays(slice(None)), arrays(order)

    def run(x: Any, lengths: Any, in_order: bool) -> Any:
        packed = utilities.pack_padded_sequence(x, lengths, enforce_sorted=in_order)
        return utilities.pad_packed_sequence(network(packed)[0], total_length=task.steps)[0]

    def whole(x: Any, lengths: Any, in_order: bool) -> Any:
        return network(x)[0]

    def forward(batch: Any, how: Callable[..., Any], in_order: bool = False) -> Any:
        with torch.inference_mode():
            return how(batch[0], batch[2], in_order)

    def train(batch: Any, how: Callable[..., Any], in_order: bool = False) -> Any:
        x, dy, lengths = batch
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        how(x, lengths, in_order).backward(dy)
        update()
        return x.grad

    def answer() -> dict[str, Array]:
        output = forward(given, run).numpy().swapaxes(0, 1).copy()
        back = np.argsort(order)
        again = forward(ordered, run, True).numpy().swapaxes(0, 1)[back]
        if not np.allclose(output, again, atol=1e-4):
            return {OUTPUT: again}  # a wrong answer of the sorted batch ends the run too
        dx = train(given, run).numpy().swapaxes(0, 1)
        return trained(task, output, dx, _weights(task.cell, network))

    return Runner(
        {
            "forward": partial(forward, given, run),
            "forward/sorted": partial(forward, ordered, run, True),
            "train": partial(train, given, run),
            "train/sorted": partial(train, ordered, run, True),
            "full forward": partial(forward, given, whole),
            "full train": partial(train, given, whole),
        },
        answer,
    )


def stream(task: Task) -> Runner:
    """One layer step by step."""
    torch: Any = import_module("torch")
    name = {"SimpleRNN": "RNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}[task.cell]
    cell = getattr(torch.nn, name)(task.inputs, task.units, dtype=_dtype(task))
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), _to_torch(task.cell, task.weights), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    zero = torch.zeros(task.batch, task.units, dtype=_dtype(task))
    state: Any = (zero, zero) if task.cell == "LSTM" else zero
    first = torch.from_numpy(task.arrays["x"][0])

    def step(x: Any) -> Any:
        nonlocal state
        with torch.inference_mode():
            state = cell(x, state)
        return state[0] if task.cell == "LSTM" else state

    return Runner({"step": lambda: step(first)}, lambda: streamed(task, lambda x: step(torch.from_numpy(x)).numpy()))


def ptb(task: Task) -> Runner:
    """The language model's training step."""
    torch: Any = import_module("torch")
    embeddings, *inside, kernel, bias = task.weights
    embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(embeddings.copy()), freeze=False)
    network = _network(task, task.units, inside)
    dense = torch.nn.Linear(task.units, task.inputs, dtype=_dtype(task))
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(kernel.T.copy()))
        dense.bias.copy_(torch.from_numpy(bias))
    every = [named for module in (embedding, network, dense) for named in module.named_parameters()]
    # Keras has one bias where PyTorch has two; the second stays unchanged and does not count in the norm.
    parameters = [parameter for name, parameter in every if not name.startswith("bias_hh")]
    words, targets = (torch.from_numpy(task.arrays[name].T.astype(np.int64)) for name in ("words", "targets"))
    state: Any = None

    def train() -> Any:
        nonlocal state
        for _, parameter in every:
            parameter.grad = None
        y, after = network(embedding(words), state)
        state = tuple(state.detach() for state in after)
        logits = dense(y).view(-1, task.inputs)
        loss = torch.nn.functional.cross_entropy(logits, targets.reshape(-1), reduction="sum") / task.batch
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, task.clip)
        with torch.no_grad():
            torch._foreach_add_(parameters, [parameter.grad for parameter in parameters], alpha=-task.rate)
        return loss.detach()

    def weights() -> list[Any]:
        ends = [embedding.weight, dense.weight.T, dense.bias]
        table, *softmax = (weight.detach().numpy() for weight in ends)
        return [table, *_weights(task.cell, network), *softmax]

    return Runner({"train": train}, lambda: two_steps(task, train, weights))


PARTS = {"recurrent": recurrent, "ragged": ragged, "stream": stream, "ptb": ptb}
