"""``seqcore run order``: classifiers of sentences without a state, and what they miss of the order of the words.

The way to recurrent networks in the books: a network that sees one word, the sum of all words, a dense layer for each
position, one dense layer that all positions share, and at last a layer with a state.

B: reviews of a batch, T: positions, D: width of a word vector, H: units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..datasets.sentiment import LABELS, sentiment_corpus
from ..initializers import GlorotUniform
from ..layers import Dense, Embedding, GlobalSumPooling1D, Layer, register
from ..models import Sequential
from ..text.vectorization import TextVectorization
from ..typing import Array, Ids
from ._run import Run, compile_classifier, majority_accuracy, override, recurrent_layer
from ._sentiment import TextParts
from .mnist import ReadOut

WIDTH, UNITS, RATE = 32, 32, 0.003


@dataclass(frozen=True)
class Settings:
    """Reviews to learn from and to test on, and passes."""

    train: int
    test: int
    epochs: int
    batch_size: int = 64


SETTINGS = {"quick": Settings(5_000, 1_000, 12), "book": Settings(25_000, 5_000, 20)}


OPTIONS = ()


@register("seqcore.experiments.order/DensePerPosition")
class DensePerPosition(Layer):
    """A dense layer of its own for each position: y_t = relu(x_t·W_t + b_t), (B, T, D) to (B, T, H).

    Args:
        units: H.
    """

    _config_arguments = ("units",)
    supports_masking = True

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Any) -> None:
        _, steps, width = input_shape
        glorot = GlorotUniform()

        def kernels(shape: Any, dtype: Any) -> Array:
            return np.stack([glorot(shape[1:], dtype) for _ in range(shape[0])])

        self.kernel = self.add_weight((steps, width, self.units), kernels, name="kernel")
        self.bias = self.add_weight((steps, 1, self.units), "zeros", name="bias")
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        by_position = ops.transpose(inputs, (1, 0, 2))
        y = ops.relu(ops.add(ops.matmul(by_position, self.kernel), self.bias))
        return ops.transpose(y, (1, 0, 2))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:2], self.units)


# The layers between the word vectors and the classifier Dense(H, relu), Dense(2, softmax).
NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "last word alone": lambda: [ReadOut()],
    "sum of the words": lambda: [GlobalSumPooling1D()],
    "a dense layer per position": lambda: [DensePerPosition(UNITS), GlobalSumPooling1D()],
    "one shared dense layer": lambda: [Dense(UNITS, activation="relu"), GlobalSumPooling1D()],
    "SimpleRNN": lambda: [recurrent_layer("SimpleRNN", UNITS)],
}


def build_model(name: str, words: int, steps: int) -> Sequential:
    """One of :data:`NETWORKS`, compiled.

    >>> [build_model(name, 50, 20).count_params() for name in ("a dense layer per position", "one shared dense layer")]
    [23842, 3778]
    """
    table = Embedding(words, WIDTH, mask_zero=True, input_length=steps)
    model = Sequential([table, *NETWORKS[name](), Dense(UNITS, activation="relu"), Dense(len(LABELS), "softmax")])
    model.build((None, steps))
    compile_classifier(model, RATE, from_logits=False)
    return model


def shuffle_words(rows: Ids, rng: np.random.Generator) -> Ids:
    """The words of each row in random order; the padding in front stays.

    >>> shuffle_words(np.array([[0, 0, 7, 7]]), np.random.default_rng(0)).tolist()
    [[0, 0, 7, 7]]
    """
    shuffled: Ids = rows.copy()
    for row in shuffled:
        row[row > 0] = rng.permutation(row[row > 0])
    return shuffled


def main(run: Run) -> int:
    """Train the networks, test them on sentences as they are and shuffled, write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    settings = override(SETTINGS[run.arguments.preset], run.arguments)
    data = sentiment_corpus(settings.train, settings.test)
    run.start(data.description)
    vectorize = TextVectorization(standardize="lower_and_split_punctuation", padding="pre", truncating="pre")
    vectorize.adapt(data.train.texts)
    texts = TextParts(data, vectorize, np.asarray, run.arguments.seed)
    vectorize.output_sequence_length = steps = max(len(ids) for part in texts.ids.values() for ids in part)
    train, valid, (x, y) = map(texts.pair, texts.parts)
    shuffled = shuffle_words(x, np.random.default_rng(run.arguments.seed))
    run.metrics |= {"majority_accuracy": majority_accuracy(train[1], y), "bayes_accuracy": data.bayes}
    run.log(f"reviews: {texts.sizes}; {steps} positions")
    run.log(f"{'':28}{'parameters':>11}{'accuracy':>10}{'shuffled':>10}{'largest change':>16}")
    table: dict[str, tuple[float, float]] = {}
    for name in NETWORKS:
        key = name.replace(" ", "_").lower()
        model = build_model(name, vectorize.vocabulary_size(), steps)
        run.fit(model, settings, train, valid, prefix=f"{key}_", labels={"network": name}, verbose=0)
        p, p_shuffled = (np.asarray(model.predict(rows, verbose=0)) for rows in (x, shuffled))
        right, blind = (float((outputs.argmax(axis=1) == y).mean()) for outputs in (p, p_shuffled))
        table[name], count, change = (right, blind), model.count_params(), float(np.abs(p - p_shuffled).max())
        run.metrics |= {f"{key}_test_accuracy": right, f"{key}_shuffled_accuracy": blind}
        run.metrics |= {f"{key}_parameters": count, f"{key}_largest_change": change}
        run.log(f"{name:28}{count:>11,}{right:>10.3f}{blind:>10.3f}{change:>16.2g}")
    run.save_model(model, text_vectorization=vectorize.to_dict(), labels=list(LABELS))
    run.plot("order.png", lambda figure: _draw(figure, table, run.metrics), 8, 3.6)
    return run.finish()


def _draw(figure: Any, table: dict[str, tuple[float, float]], metrics: dict[str, Any]) -> None:
    axes, places = figure.add_subplot(), np.arange(len(table))
    for shift, label, color, column in ((-0.2, "as written", "#4477aa", 0), (0.2, "words shuffled", "#bbbbbb", 1)):
        axes.barh(places + shift, [row[column] for row in table.values()], 0.38, label=label, color=color)
    axes.set_yticks(places, list(table))
    axes.invert_yaxis()
    for name, style in (("majority", ":"), ("bayes", "--")):
        label = {"majority": "always the same label", "bayes": "best possible"}[name]
        axes.axvline(metrics[f"{name}_accuracy"], color="#222222", linestyle=style, label=label)
    axes.set(xlim=(0, 1), xlabel="test accuracy", title="Reviews whose label is in the order of their words")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(alpha=0.3, axis="x")
