"""Outputs of a model as arrays, in lists and dicts too."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_arrays(outputs: Any) -> Any:
    """Tensors as arrays, in lists and dicts too."""
    if isinstance(outputs, (list, tuple)):
        return [to_arrays(output) for output in outputs]
    if isinstance(outputs, dict):
        return {key: to_arrays(output) for key, output in outputs.items()}
    if outputs is None:
        raise TypeError("model: expected call to return a Tensor, or several in a list or dict, got None")
    return np.ascontiguousarray(outputs)


def concatenate(parts: list[Any]) -> Any:
    """Outputs of all batches, concatenated, in lists and dicts too."""
    if isinstance(parts[0], list):
        return [concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    if isinstance(parts[0], dict):
        return {key: concatenate([part[key] for part in parts]) for key in parts[0]}
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise ValueError(f"x: expected batches whose outputs can be joined, got rows {shapes[0]} and {shapes[-1]}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
