"""seqcore: recurrent networks at the speed of the CPU, with the Keras API.

>>> import numpy as np
>>> import seqcore as sc
>>> model = sc.Sequential([sc.layers.LSTM(8), sc.layers.Dense(1)])
>>> model(np.zeros((2, 5, 3), "float32")).shape
(2, 1)
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import (
    autograd,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    random,
    saving,
    text,
)
from ._core.system import __version__, get_num_threads, info, set_num_threads
from ._registry import register_loader
from .autograd import GradientTape, IndexedSlices, Tensor, Variable, dtype_policy, floatx, set_dtype_policy, set_floatx
from .models import Model, Sequential, load_model
from .ops import candidate_samplers as sampling
from .ops import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from .ops.activations import sigmoid, tanh
from .ops.reduction import reduce_mean, reduce_sum
from .ops.sampled_losses import nce_loss, negative_sampling_loss, sampled_softmax_loss
from .ops.shape import unstack
from .random import set_seed
from .text.sequences import pad_sequences, to_categorical
from .text.vectorization import TextVectorization

if TYPE_CHECKING:
    from . import datasets, experiments, inspection, interop, language_model, tf, word_vectors
    from .language_model import seq2seq
    from .word_vectors import KeyedVectors, Word2Vec

__all__ = [
    "GradientTape",
    "IndexedSlices",
    "KeyedVectors",
    "Model",
    "Sequential",
    "Tensor",
    "TextVectorization",
    "Variable",
    "Word2Vec",
    "__version__",
    "autograd",
    "callbacks",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "datasets",
    "dtype_policy",
    "experiments",
    "floatx",
    "get_num_threads",
    "global_norm",
    "info",
    "initializers",
    "inspection",
    "interop",
    "language_model",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "nce_loss",
    "negative_sampling_loss",
    "ops",
    "optimizers",
    "pad_sequences",
    "random",
    "reduce_mean",
    "reduce_sum",
    "sampled_softmax_loss",
    "sampling",
    "saving",
    "seq2seq",
    "set_dtype_policy",
    "set_floatx",
    "set_num_threads",
    "set_seed",
    "sigmoid",
    "tanh",
    "text",
    "tf",
    "to_categorical",
    "unstack",
    "word_vectors",
]

# Imported when they are first used: many programs need none of them. Name -> its module.
_LAZY = {
    **{
        name: name
        for name in ("datasets", "experiments", "inspection", "interop", "language_model", "tf", "word_vectors")
    },
    "seq2seq": "language_model",
    "KeyedVectors": "word_vectors",
    "Word2Vec": "word_vectors",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_LAZY[name]}", __name__)
    return globals().setdefault(name, module if name == _LAZY[name] else getattr(module, name))


def __dir__() -> list[str]:
    return __all__


# A model file may name a class of a module that is not imported yet, and so may a pickle.
register_loader("Seq2Seq", lambda name: __getattr__("language_model"))
saving.pickles.ROOMS |= dict.fromkeys(("keyed_vectors", "word2vec"), lambda: __getattr__("word_vectors"))
register_loader("seqcore.experiments.", lambda name: __getattr__("experiments").load_class(name))
