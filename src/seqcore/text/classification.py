"""Labels of texts by a model that was saved with its preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .vectorization import TextVectorization, as_texts


@dataclass(frozen=True)
class TextPrediction:
    """A model's prediction for one text.

    ``prediction`` is the label and ``probability`` its probability; ``words`` and ``unknown`` count the words of the
    text and those outside the vocabulary.
    """

    text: str
    prediction: str
    probability: float
    words: int
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def classify_texts(model: Any, texts: Sequence[str]) -> list[TextPrediction]:
    """Labels of texts by a model that was saved with its preprocessing.

    Args:
        model: a :class:`seqcore.Model`; its ``extra`` holds "text_vectorization" (:meth:`TextVectorization.to_dict`)
            and "labels", a name for each class; it gives the probability of the second class (N, 1), or one for each
            class (N, C).
        texts: N of them.

    Raises:
        ValueError: a model without these, or a text without words.
    """
    if "text_vectorization" not in model.extra or "labels" not in model.extra:
        raise ValueError(f"model: expected one saved with text_vectorization and labels, got {model.name!r} without")
    vectorize = TextVectorization.from_dict(model.extra["text_vectorization"])
    labels = [str(label) for label in model.extra["labels"]]
    texts = as_texts(texts)
    words = [vectorize.tokens(text) for text in texts]
    for text, read in zip(texts, words):
        if not read:
            raise ValueError(f"text: expected words after the cleaning, got none in {text!r}")
    y = np.asarray(model.predict(vectorize(texts), verbose=0), np.float64)
    if y.ndim == 2 and y.shape[1] == 1 and len(labels) == 2:
        y = np.concatenate([1 - y, y], axis=1)
    if y.shape != (len(words), len(labels)) or not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"model: expected probabilities of {len(labels)} labels, got an output of shape {y.shape[1:]}")
    known = vectorize.vocabulary
    return [
        TextPrediction(text, labels[best], float(row[best]), len(read), sum(word not in known for word in read))
        for text, read, row, best in zip(texts, words, y, y.argmax(axis=1))
    ]
