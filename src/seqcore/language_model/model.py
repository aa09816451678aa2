"""Language models of words: the network, and the ids of a text.

B: rows of the text that are read in parallel, T: words per window, V: words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._validation import integer, positive
from ..initializers import RandomUniform
from ..layers import LSTM, Dense, Dropout, Embedding
from ..losses import Loss, SparseCategoricalCrossentropy
from ..models import Sequential
from ..optimizers import SGD
from ..text.vocabulary import Vocabulary, split_words
from ..typing import Ids


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
    """Language model of stacked LSTM layers, compiled for truncated backpropagation through time.

    Embedding, ``layers`` stateful LSTM layers, Dense, with dropout after the embedding and after each LSTM layer.
    Weights, the output's bias included, start uniform in +-init_scale; the LSTMs' biases start at zero, the forget
    gate's too. The model is compiled with SGD clipped by global norm, and the cross-entropy summed over time and
    averaged over the batch.

    Args:
        vocabulary_size: number of words V.
        units: size of the embedding and of each LSTM layer, 200 by default.
        layers: number of LSTM layers, 2 by default.
        keep_prob: share of values that dropout keeps, in (0, 1]; 1, the default, means no dropout.
        init_scale: largest absolute value of an initial weight, 0.1 by default.
        clip: largest global norm of the gradient, 5 by default.
        learning_rate: learning rate of SGD, 1 by default.
        dtype: "float32", "float64" or "mixed_bfloat16"; None takes :func:`seqcore.dtype_policy`.
        loss: another loss than the cross-entropy of the softmax, for instance ``NCELoss(512, reduction="batch_mean")``.

    Returns:
        A compiled model of ids (B, T) and logits (B, T, V).

    Raises:
        ValueError: sizes below 1, ``keep_prob`` outside (0, 1], other numbers that are not positive.

    Source: W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization", 2014.

    >>> from seqcore.callbacks import EpochDecay, ResetStates
    >>> from seqcore.text import bptt_batches
    >>> model = build_model(vocabulary_size=5, units=8, layers=1)
    >>> batches = bptt_batches(np.arange(100) % 5, batch_size=4, steps=6)
    >>> callbacks = [EpochDecay(1.0, hold=2, factor=0.5), ResetStates()]
    >>> history = model.fit(batches, epochs=3, callbacks=callbacks, verbose=0).history
    >>> history["loss"][2] < history["loss"][0], history["learning_rate"]
    (True, [1.0, 1.0, 0.5])
    """
    for name, count in (("vocabulary_size", vocabulary_size), ("units", units), ("layers", layers)):
        integer(name, count, 1)
    positive("keep_prob", keep_prob, 1)
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


def known_id(name: str, vocabulary: Vocabulary, word: str) -> int:
    """The id of a word of the vocabulary, or a ValueError that names the argument."""
    try:
        return vocabulary.id(word)
    except ValueError:
        raise ValueError(f"{name}: expected words of the model's vocabulary, got {word!r}") from None


def output_activation(model: Sequential) -> str:
    """Name of the activation of the model's last layer: "linear" for logits, "softmax" for probabilities."""
    activation = getattr(model.layers[-1], "activation", None)
    return activation if isinstance(activation, str) else getattr(activation, "__name__", str(activation))


def encode_text(vocabulary: Vocabulary, text: str | Sequence[str]) -> Ids:
    """Ids of a text whose words are to be predicted: ``<eos>``, if the vocabulary has it, and the words.

    Args:
        vocabulary: the words of the model.
        text: words, or a text that is split at white space.

    Raises:
        ValueError: an empty text, or unknown words.
    """
    words = split_words("text", text)
    if not words:
        raise ValueError("text: expected at least one word, got none")
    if "<eos>" in vocabulary and words[0] != "<eos>":
        words = ["<eos>", *words]
    return np.array([known_id("text", vocabulary, word) for word in words], np.int32)
