"""Sentiment of tweets about airlines with SimpleRNN, LSTM, two LSTMs or GRU, cleaned and padded as in the book."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import Sequential, TextVectorization, layers, optimizers, to_categorical
from .._extras import import_extra
from ..datasets.sentiment import TWEETS, LabelledTexts, SentimentData, load_airline, sentiment_corpus
from ..text import read_words
from ._run import LAYERS, Run, choice, data_folder, option, override
from ._sentiment import OPTIONS as SHARED
from ._sentiment import SentimentRun, variant_of

BOOK_WORDS = 12_532
NLTK = "pip install nltk && python -m nltk.downloader stopwords"
# Layer and number of layers of a model by its name on the command line.
MODELS = {"rnn": ("SimpleRNN", 1), "lstm": ("LSTM", 1), "lstm2": ("LSTM", 2), "gru": ("GRU", 1)}
SAME_WORDS = (
    "crew was great despite the rumour that seat was awful",
    "crew was awful despite the rumour that seat was great",
)


@dataclass(frozen=True)
class Settings:
    """Width of a word vector, units of a layer, time steps, and how the model is trained.

    The 26 steps are the longest tweet of the book's data; built-in tweets are filled up to their longest too.
    """

    width: int = 32
    units: int = 40
    steps: int = 26
    batch_size: int = 32
    epochs: int = 50
    learning_rate: float = 0.001


def settings_of(preset: str, builtin: bool, model: str) -> Settings:
    """The book's settings: 10 epochs for the SimpleRNN, 50 for the LSTMs; fewer for ``quick``.

    >>> settings_of("book", builtin=False, model="rnn").epochs
    10
    """
    book = Settings(epochs=10 if model == "rnn" else 50)
    if preset == "book":
        return book
    return replace(book, learning_rate=0.005, epochs=15) if builtin else replace(book, epochs=5)


OPTIONS = (
    choice("--model", MODELS, "recurrent layer, or two of them", "lstm"),
    option("--stop-words", "words to leave out: the list of sklearn or nltk, none, or those of a file", "sklearn"),
    *SHARED,
)


def build_model(model: str, words: int, settings: Settings | None = None) -> Sequential:
    """Embedding, one or two recurrent layers, Dense(2, softmax).

    Args:
        model: "rnn", "lstm", "lstm2" or "gru".
        words: of the vocabulary, padding not counted.
        settings: the book's by default.

    >>> [layer.count_params() for layer in build_model("lstm2", BOOK_WORDS).layers]
    [401056, 11680, 12960, 82]
    """
    chosen = settings or Settings()
    layer, count = MODELS[model]
    recurrent = [LAYERS[layer](chosen.units, return_sequences=place + 1 < count) for place in range(count)]
    table = layers.Embedding(words + 1, chosen.width, input_length=chosen.steps)
    return Sequential([table, *recurrent, layers.Dense(2, activation="softmax")])


def stop_words(name: str) -> tuple[frozenset[str], str]:
    """The words that ``--stop-words`` names, and what to call them.

    Raises:
        ValueError, OSError: the file has no words or cannot be read.
        ImportError: scikit-learn or NLTK is not installed, or NLTK without its stop words.
    """
    if name == "none":
        return frozenset(), "no stop words left out"
    if name == "sklearn":
        words = import_extra(
            "sklearn.feature_extraction.text", "--stop-words sklearn needs scikit-learn"
        ).ENGLISH_STOP_WORDS
        return frozenset(words), f"scikit-learn's ENGLISH_STOP_WORDS ({len(words)}) left out"
    if name == "nltk":
        try:
            words = frozenset(importlib.import_module("nltk.corpus").stopwords.words("english"))
        except (ImportError, LookupError):
            raise ImportError(f"--stop-words nltk needs NLTK and its list: {NLTK}") from None
        return words, f"NLTK's English stop words ({len(words)}) left out"
    if not Path(name).is_file():
        raise ValueError(f"--stop-words: expected sklearn, nltk, none or a file, got {name!r}")
    words = frozenset(read_words(name))
    if not words:
        raise ValueError(f"--stop-words: expected words in it, got the empty file {name!r}")
    return words, f"the {len(words)} stop words of {name} left out"


def load_data(data: str, preset: str) -> SentimentData:
    """The tweets that ``--data`` names, 70 % to learn from and 30 % to test on.

    Raises:
        ValueError, OSError: the data are missing or damaged.
    """
    if data == "download":
        raise ValueError(
            "--data: expected builtin or a folder, since Kaggle gives the tweets to registered users only "
            "(crowdflower/twitter-airline-sentiment), got 'download'"
        )
    folder = data_folder(data, "airline")
    if folder is None:
        sizes = (8_400, 3_600) if preset == "book" else (4_900, 2_100)
        return sentiment_corpus(*sizes, style=TWEETS)
    return SentimentData(f"airline tweets from {folder}", *split_book(load_airline(folder)))


def split_book(tweets: LabelledTexts) -> tuple[LabelledTexts, LabelledTexts]:
    """The book's parts: those of scikit-learn's ``train_test_split(test_size=0.3, random_state=42)``."""
    order = np.random.RandomState(42).permutation(len(tweets))
    held = math.ceil(0.3 * len(tweets))
    return tweets[order[held:]], tweets[order[:held]]


def main(run: Run) -> int:
    """Train, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    words, phrase = stop_words(arguments.stop_words)
    settings = override(settings_of(arguments.preset, arguments.data == "builtin", arguments.model), arguments)
    data = load_data(arguments.data, arguments.preset)
    run.start(data.description, arguments.model, *variant_of(arguments))
    # As in the book the words of all tweets are numbered; those of the test part alone keep their first vectors.
    vectorize = TextVectorization(standardize="alphanumeric", stop_words=words, oov_token=None)
    vectorize.adapt([*data.train.texts, *data.test.texts])
    texts = SentimentRun(run, data, vectorize, lambda labels: to_categorical(labels, 2), "tweet", SAME_WORDS)
    count, longest = vectorize.vocabulary_size() - 1, max(len(ids) for part in texts.ids.values() for ids in part)
    if arguments.data == "builtin":
        settings = replace(settings, steps=longest)
    vectorize.output_sequence_length = settings.steps
    run.log(f"tweets: {texts.sizes}; {phrase}: {count:,} words, the longest tweet has {longest}")
    run.metrics |= {"vocabulary": count, "longest": longest}
    texts.show_words()
    texts.measure_baselines(count + 1, padded=False)
    model = build_model(arguments.model, count, settings)
    model.compile(optimizers.Adam(settings.learning_rate), "categorical_crossentropy", metrics=["accuracy"])
    model.summary(print_fn=run.log)
    texts.fit(model, settings)
    texts.keep(model)
    layer, layers_of_it = MODELS[arguments.model]
    title = f"{'two ' if layers_of_it == 2 else ''}{layer}({settings.units})"
    texts.report(title, "built-in tweets" if arguments.data == "builtin" else "airline tweets")
    return run.finish(model=arguments.model, stop_words=arguments.stop_words, **texts.facts())
