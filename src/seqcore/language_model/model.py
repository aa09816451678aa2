"""Language models of words: the network, and ids of a text.

B: rows of the text read in parallel, T: words per window, V: words of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from .._validation import at_least, positive, short_repr
from ..text.vocabulary import Vocabulary
from .beam_search import log_softmax

if TYPE_CHECKING:
    from ..losses import Loss
    from ..models import Sequential
from ..typing import Array, Ids

# Rows of a window times words: enough for the products to be fast, few enough to keep memory small.
_WINDOW = 1000


def build_model(
    vocabulary_size: int,
    units: int = 200,
    layers: int = 2,
    keep_prob: float = 1.0,
    init_scale: float = 0.1,
    clip: float = 5.0,
    learning_rate: float = 1.0,
    dtype: str | None = None,
    loss: Loss | None = None,
) -> Sequential:
    """The LSTM language model of W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network regularization, 2014.

    Embedding, ``layers`` stateful LSTM layers, Dense, with dropout after the embedding and after each LSTM layer.
    Weights, the output's bias included, start uniform in +-init_scale; the LSTMs' biases start at zero, the forget
    gate's too. The model is compiled with SGD clipped by global norm, and the cross-entropy summed over time and
    averaged over the batch.

    Args:
        vocabulary_size: words V.
        units: size of the embedding and of each LSTM layer.
        layers: LSTM layers.
        keep_prob: share of values that dropout keeps; 1 means no dropout.
        init_scale: largest absolute value of an initial weight.
        clip: largest global norm of the gradient.
        learning_rate: of SGD.
        dtype: "float32", "float64" or "mixed_bfloat16"; None takes :func:`seqcore.dtype_policy`.
        loss: another loss than the cross-entropy of the softmax, for instance ``NCELoss(512, reduction="batch_mean")``.

    Raises:
        ValueError: sizes below 1, ``keep_prob`` outside (0, 1], other numbers that are not positive.
    """
    from ..initializers import RandomUniform
    from ..layers import LSTM, Dense, Dropout, Embedding
    from ..losses import SparseCategoricalCrossentropy
    from ..models import Sequential
    from ..optimizers import SGD

    for name, count in (("vocabulary_size", vocabulary_size), ("units", units), ("layers", layers)):
        at_least(name, count, 1)
    _share("keep_prob", keep_prob)
    for name, value in (("init_scale", init_scale), ("clip", clip), ("learning_rate", learning_rate)):
        positive(name, value)

    def uniform() -> RandomUniform:
        return RandomUniform(-init_scale, init_scale)

    stack: list[Any] = [Embedding(vocabulary_size, units, embeddings_initializer=uniform(), dtype=dtype)]
    for _ in range(layers):
        if keep_prob < 1:
            stack.append(Dropout(1 - keep_prob, dtype=dtype))
        stack.append(
            LSTM(
                units,
                kernel_initializer=uniform(),
                recurrent_initializer=uniform(),
                unit_forget_bias=False,
                return_sequences=True,
                stateful=True,
                dtype=dtype,
            )
        )
    if keep_prob < 1:
        stack.append(Dropout(1 - keep_prob, dtype=dtype))
    stack.append(Dense(vocabulary_size, kernel_initializer=uniform(), bias_initializer=uniform(), dtype=dtype))
    model = Sequential(stack)
    model.compile(
        optimizer=SGD(learning_rate, global_clipnorm=clip),
        loss=loss or SparseCategoricalCrossentropy(from_logits=True, reduction="batch_mean"),
    )
    return model


def _share(name: str, value: Any) -> float:
    """A number in (0, 1]."""
    try:
        share = positive(name, value)
    except ValueError:
        share = math.inf
    if share > 1:
        raise ValueError(f"{name}: expected a number in (0, 1], got {short_repr(value)}")
    return share


def _number(name: str, value: Any) -> float:
    """A float of any size: a run may have diverged."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ValueError(f"{name}: expected a number, got {short_repr(value)}")
    return float(value)


def _start(
    model: Sequential,
    vocabulary: Vocabulary,
    prompt: str | Sequence[str],
    noise: float = 0.0,
    generator: np.random.Generator | None = None,
) -> tuple[Any, Array]:
    """A stream that has read the prompt, and the log-probabilities (1, V) of the next word."""
    words = _words("prompt", prompt)
    if not words:
        if "<eos>" not in vocabulary:
            raise ValueError("prompt: expected at least one word, got none")
        words = ["<eos>"]
    ids = [_known("prompt", vocabulary, word) for word in words]
    units = getattr(model.layers[-1], "units", None)
    if units is not None and units != vocabulary.size:
        raise ValueError(f"vocabulary: expected {units} words, as many as the model's outputs, got {vocabulary.size}")
    stream = model.stream()
    if noise:
        draw = random.generator() if generator is None else generator
        start = [[draw.normal(0, noise, part.shape).astype(part.dtype) for part in one] for one in stream.get_state()]
        stream.set_state([tuple(one) for one in start])
    for number in ids:
        output = stream.step(np.array([number], np.int32))
    return stream, _log_probabilities(model, output)


def _words(name: str, text: Any) -> list[str]:
    """The words of a text, or of a list of them."""
    if isinstance(text, str):
        return text.split()
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise TypeError(f"{name}: expected a text or a sequence of words, got {short_repr(text)}")
    return list(text)


def _known(name: str, vocabulary: Vocabulary, word: str) -> int:
    try:
        return vocabulary.id(word)
    except ValueError:
        raise ValueError(f"{name}: expected words of the model's vocabulary, got {word!r}") from None


def _log_probabilities(model: Sequential, output: Array) -> Array:
    """log p (rows, V) float64 from one step's output, logits or probabilities."""
    if _activation_name(model.layers[-1]) == "softmax":
        with np.errstate(divide="ignore"):
            return np.log(output.astype(np.float64))
    return log_softmax(output)


def _activation_name(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return activation if isinstance(activation, str) else getattr(activation, "__name__", str(activation))


def _exp(value: float) -> float:
    """exp without an error where a model that learned nothing would overflow it."""
    return math.exp(value) if value < 700 else math.inf


def encode_text(vocabulary: Vocabulary, text: str | Sequence[str]) -> Ids:
    """Ids of a text to be judged: its words with ``<eos>`` in front, if the vocabulary has it.

    Raises:
        ValueError: fewer words than it takes to predict one, or unknown ones.
    """
    words = _words("text", text)
    if not words:
        raise ValueError("text: expected at least one word, got none")
    if "<eos>" in vocabulary and words[0] != "<eos>":
        words = ["<eos>", *words]
    return np.array([_known("text", vocabulary, word) for word in words], np.int32)
