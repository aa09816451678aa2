"""PyTorch: its recurrent layers on seqcore's kernels, its modules as models, its weights in and out of layers.

Each name is imported when it is first used, so that weights need no PyTorch.
"""

from ..._extras import names_when_used

# The module of each name.
_NAMES = {
    "GRU": "layers",
    "LSTM": "layers",
    "RNN": "layers",
    "accelerate": "layers",
    "convert": "conversion",
    "from_torch": "weights",
    "restore": "layers",
    "to_torch": "weights",
}

__all__ = list(_NAMES)
__getattr__, __dir__ = names_when_used(__name__, _NAMES)
