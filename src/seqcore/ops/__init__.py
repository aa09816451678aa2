"""Differentiable operations on tensors and arrays.

Every function takes tensors, arrays or numbers and returns a Tensor. Where a tensor meets a plain array or number, the
tensor's float type wins; of two tensors the wider type does. Masks and lengths belong to layers: operations drop them.
"""

from . import _operators as _operators
from . import activations, clipping, elementwise, reduction, sampled_losses, shape
from ._broadcast import as_ids, as_tensor, flatten_like, flatten_steps
from .activations import *  # noqa: F403
from .clipping import *  # noqa: F403
from .cross_entropy import linear_softmax_cross_entropy
from .elementwise import *  # noqa: F403
from .matmul import matmul
from .reduction import *  # noqa: F403
from .sampled_losses import *  # noqa: F403
from .shape import *  # noqa: F403

__all__ = ["as_ids", "as_tensor", "flatten_like", "flatten_steps", "linear_softmax_cross_entropy", "matmul"]
__all__ += activations.__all__
__all__ += clipping.__all__
__all__ += elementwise.__all__
__all__ += reduction.__all__
__all__ += sampled_losses.__all__
__all__ += shape.__all__
