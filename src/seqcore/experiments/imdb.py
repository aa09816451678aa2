"""Sentiment of film reviews with SimpleRNN, LSTM and GRU, as layers or as cells in a loop; with GloVe's vectors too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import KeyedVectors, Model, Sequential, TextVectorization, layers, ops, optimizers, random
from ..datasets.sentiment import SentimentData, load_imdb, sentiment_corpus
from ..models import register
from ..typing import Floats
from ._run import CELLS, DISTRIBUTED, LAYERS, Run, choice, data_folder, option, override
from ._sentiment import OPTIONS as SHARED
from ._sentiment import SentimentRun, variant_of

CELL_TYPES = {"rnn": layers.SimpleRNNCell, "lstm": layers.LSTMCell, "gru": layers.GRUCell}
POOLS: dict[str, type[layers.Layer]] = {
    "mean": layers.GlobalAveragePooling1D,
    "max": layers.GlobalMaxPooling1D,
    "sum": layers.GlobalSumPooling1D,
}
SAME_WORDS = (
    "the acting was great although the plot was terrible",
    "the acting was terrible although the plot was great",
)


@dataclass(frozen=True)
class Settings:
    """Words of the vocabulary, time steps, width of a word vector, units of a layer, and how it is trained."""

    words: int = 10_000
    steps: int = 80
    width: int = 100
    units: int = 64
    dropout: float = 0.5
    learning_rate: float = 0.001
    batch_size: int = 128
    epochs: int = 20


def settings_of(preset: str, builtin: bool, glove: bool) -> Settings:
    """The book's settings, or for ``quick`` fewer epochs; the built-in reviews are shorter and fewer.

    >>> settings_of("book", builtin=False, glove=True).epochs
    50
    """
    book = Settings(epochs=50 if glove else 20)
    if preset == "book":
        return book
    if not builtin:
        return replace(book, epochs=3)
    return replace(book, steps=40, dropout=0.2, learning_rate=0.002, batch_size=64, epochs=10)


OPTIONS = (
    choice("--cell", CELLS, "recurrent cell", "lstm"),
    choice("--style", ("layers", "cells"), "layers one after the other, or cells in a loop", "layers"),
    choice("--head", ("simple", "mlp"), "Dense(1), or Dense, Dropout, ReLU, Dense(1)", "simple"),
    choice("--pool", ("last", *POOLS), "which outputs the head reads", "last"),
    option("--glove", "pretrained word vectors, GloVe's text, plain or .gz", metavar="FILE"),
    choice("--embedding", ("frozen", "tuned", "random"), "a model each (with --glove: frozen random)", nargs="+"),
    *SHARED,
    DISTRIBUTED,
)


# ---------------------------------------------------------------- the model in two styles


def build_head(kind: str, units: int, dropout: float) -> list[layers.Layer]:
    """From the outputs of the recurrent layers to the probability of a positive review."""
    last = layers.Dense(1, activation="sigmoid")
    if kind == "simple":
        return [last]
    return [layers.Dense(units), layers.Dropout(dropout), layers.ReLU(), last]


def build_layers(settings: Settings, cell: str, head: str = "simple", pool: str = "last") -> Sequential:
    """The model as a Sequential: Embedding, two recurrent layers, the head."""
    layer, pooled = LAYERS[CELLS[cell]], pool != "last"
    embedding = layers.Embedding(settings.words, settings.width, input_length=settings.steps)
    recurrent = [layer(settings.units, dropout=settings.dropout, return_sequences=every) for every in (True, pooled)]
    pooling = [POOLS[pool]()] if pooled else []
    return Sequential([embedding, *recurrent, *pooling, *build_head(head, settings.units, settings.dropout)])


@register("seqcore.experiments.imdb/CellLoop")
class CellLoop(Model):
    """The same model, its time loop written by hand with cells.

    Args:
        words: number of ids.
        width: of a word vector.
        units: of each of the two cells.
        cell: "rnn", "lstm" or "gru".
        head: "simple" or "mlp".
        pool: "last", "mean", "max" or "sum".
        dropout: of the inputs of both cells.
    """

    def __init__(
        self,
        words: int,
        width: int,
        units: int,
        cell: str,
        head: str = "simple",
        pool: str = "last",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = layers.Embedding(words, width)
        self.cell0, self.cell1 = (CELL_TYPES[cell](units, dropout=dropout) for _ in range(2))
        self.pool = None if pool == "last" else POOLS[pool]()
        self.head = Sequential(build_head(head, units, dropout))

    def call(self, inputs: Any, training: Any = None) -> Any:
        """(B, T) ids to (B, 1) probabilities."""
        x = self.embedding(inputs)
        state0, state1 = (cell.get_initial_state(inputs.shape[0]) for cell in (self.cell0, self.cell1))
        outputs = []
        for word in ops.unstack(x, axis=1):
            out0, state0 = self.cell0(word, state0, training)
            out1, state1 = self.cell1(out0, state1, training)
            outputs.append(out1)
        y = outputs[-1] if self.pool is None else self.pool(ops.stack(outputs, axis=1))
        return self.head(y, training=training)


def build_cells(settings: Settings, cell: str, head: str = "simple", pool: str = "last") -> CellLoop:
    """The model with cells, its weights made."""
    model = CellLoop(settings.words, settings.width, settings.units, cell, head, pool, settings.dropout)
    model.build((None, settings.steps))
    return model


def embedding_of(model: Model) -> layers.Embedding:
    """The layer with the table of word vectors."""
    return next(layer for layer in model.layers_inside() if isinstance(layer, layers.Embedding))


# ---------------------------------------------------------------- data


def make_vectorizer(data: SentimentData, settings: Settings) -> TextVectorization:
    """Reviews to rows of ids, short ones filled up and long ones cut at the front.

    With Keras's list of ranks the ids are Keras's: rank + 3; 0 padding, 1 start, 2 out of vocabulary, 3 unused.
    Otherwise the training reviews give the vocabulary.
    """
    vectorize = TextVectorization(
        max_tokens=settings.words,
        standardize="lower_and_split_punctuation",
        output_sequence_length=settings.steps,
        start_token="<START>",
        oov_token="<UNK>",
        padding="pre",
        truncating="pre",
    )
    if data.ranked is None:
        vectorize.adapt(data.train.texts)
    else:
        vectorize.set_vocabulary(["", "<START>", "<UNK>", "<UNUSED>", *data.ranked][: settings.words])
    return vectorize


def load_data(data: str, preset: str) -> SentimentData:
    """The reviews that ``--data`` names.

    Raises:
        ValueError, OSError, ImportError: the data are missing, damaged or cannot be fetched.
    """
    folder = data_folder(data, "imdb")
    if folder is not None:
        return load_imdb(folder)
    return sentiment_corpus(25_000, 5_000) if preset == "book" else sentiment_corpus(5_000, 1_000)


# ---------------------------------------------------------------- the run


def main(run: Run) -> int:
    """Train, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    glove = arguments.glove is not None
    tables = arguments.embedding or (["frozen", "random"] if glove else ["random"])
    if not glove and tables != ["random"]:
        raise ValueError(f"--embedding: expected --glove FILE with it, got {' '.join(tables)} without")
    if len(set(tables)) != len(tables):
        raise ValueError(f"--embedding: expected each kind once, got {' '.join(tables)}")
    vectors = KeyedVectors.load_glove(arguments.glove) if glove else None
    settings = override(settings_of(arguments.preset, arguments.data == "builtin", glove), arguments)
    data = load_data(arguments.data, arguments.preset)
    shown = {name: getattr(arguments, name) for name in ("cell", "style", "head", "pool")}
    variant = [word for word in shown.values() if word not in ("layers", "simple", "last")]
    run.start(data.description, *variant, *tables[:glove], *variant_of(arguments))
    vectorize = make_vectorizer(data, settings)
    settings = replace(settings, words=vectorize.vocabulary_size())
    pretrained = None
    if vectors is not None:
        pretrained, missing = vectors.embedding_matrix(vectorize.get_vocabulary())
        settings = replace(settings, width=vectors.vector_size)
        run.metrics["words_without_vector"] = len(missing)
        count = f"{len(missing):,} of {settings.words:,} words"
        run.log(f"GloVe: {len(vectors):,} vectors of {settings.width} dimensions; {count} have none and get zeros")
    texts = SentimentRun(run, data, vectorize, lambda labels: labels[:, None].astype(np.float32), "review", SAME_WORDS)
    run.log(f"reviews: {texts.sizes}; {settings.words:,} words, {settings.steps} steps")
    texts.show_words()
    texts.measure_baselines(settings.words, padded=True)
    _train(texts, settings, tables, pretrained)
    texts.report(CELLS[arguments.cell], "built-in reviews" if arguments.data == "builtin" else "IMDB reviews")
    return run.finish(**shown, **texts.facts())


def _train(texts: SentimentRun, settings: Settings, tables: Sequence[str], pretrained: Floats | None) -> None:
    """Train a model for each kind of table; the first one is the result."""
    run, arguments = texts.run, texts.run.arguments
    build = build_layers if arguments.style == "layers" else build_cells
    for table in tables:
        random.set_seed(arguments.seed)
        model = build(settings, arguments.cell, arguments.head, arguments.pool)
        if table != "random":
            embedding_of(model).set_weights([pretrained])
            embedding_of(model).trainable = table == "tuned"
        model.compile(optimizers.Adam(settings.learning_rate), "binary_crossentropy", metrics=["accuracy"])
        is_first = table == tables[0]
        if is_first:
            model.summary(print_fn=run.log)
        if len(tables) > 1:
            run.log(f"word vectors: {table}")
        texts.fit(model, settings, table, embedding=table)
        if is_first:
            texts.keep(model)
