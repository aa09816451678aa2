"""seqcore: recurrent networks at the speed of the CPU, in Keras's words.

>>> import numpy as np
>>> import seqcore as sc
>>> model = sc.Sequential([sc.layers.LSTM(8), sc.layers.Dense(1)])
>>> model(np.zeros((2, 5, 3), "float32")).shape
(2, 1)
"""

from . import (
    autograd,
    callbacks,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    random,
    sampling,
    seq2seq,
    text,
)
from ._core import __version__, get_num_threads, info, set_num_threads
from .autograd import GradientTape, IndexedSlices, Tensor, Variable, floatx, set_floatx
from .models import Model, Sequential, load_model
from .ops import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
    reduce_mean,
    reduce_sum,
    sigmoid,
    tanh,
    unstack,
)
from .policies import dtype_policy, set_dtype_policy
from .random import set_seed
from .sampled import nce_loss, negative_sampling_loss, sampled_softmax_loss
from .text import pad_sequences, to_categorical
from .vectorization import TextVectorization
from .vectors import KeyedVectors
from .word2vec import Word2Vec

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
    "floatx",
    "get_num_threads",
    "global_norm",
    "info",
    "initializers",
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
    "seq2seq",
    "set_dtype_policy",
    "set_floatx",
    "set_num_threads",
    "set_seed",
    "sigmoid",
    "tanh",
    "text",
    "to_categorical",
    "unstack",
]
