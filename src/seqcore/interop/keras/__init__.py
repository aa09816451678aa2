"""Keras: its files in and out of a model, by h5py alone (extra ``keras``); its recurrent layers on seqcore's core.

Each name is imported when it is first used, so that the files need no Keras, and the layers no h5py. Where Keras was
imported before this package, the layers are registered, and Keras opens models with them.
"""

import contextlib
import importlib
import sys

from ..._extras import names_when_used

# The module of each name.
_NAMES = {
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "to_keras_layers", "to_seqcore_layers"), "layers"),
    **dict.fromkeys(("load_keras", "save_keras"), "files"),
}

__all__ = list(_NAMES)
__getattr__, __dir__ = names_when_used(__name__, _NAMES)


if "keras" in sys.modules:
    with contextlib.suppress(ImportError):  # a backend without these layers
        importlib.import_module(".layers", __name__)
