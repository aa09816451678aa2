"""``seqcore run questions``: is a sentence about a person, a thing or a place? Many words in, one answer out.

The sentences are made here: "behind the mill we found the baker near the lamp" is about a baker; the mill and the lamp
only say where. Any number of such places may stand before and after, so the words without their order tell little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.sentiment import LabelledTexts
from ..layers import Dense, Embedding
from ..models import Sequential
from ..text import classify_texts
from ..text.vectorization import TextVectorization
from ._plots import draw_curves
from ._run import CELLS, Run, choice, compile_classifier, majority_accuracy, number, override, recurrent_layer
from ._sentiment import tfidf_accuracy

KINDS = ("person", "thing", "place")
WIDTH, RATE, MOST = 32, 0.005, 4
NOUNS = {
    "person": "baker painter teacher sailor queen doctor farmer singer child pilot judge neighbour".split(),
    "thing": "lamp letter clock boat violin map ring kettle mirror ladder coin basket".split(),
    "place": "town harbour village garden island castle market valley station bridge library square".split(),
}
VERBS = ("i saw", "we found", "they asked about", "she talks of", "he remembers")
PREPOSITIONS = ("near", "behind", "beside", "past", "before")
EXAMPLES = (
    "behind the castle we found the baker near the lamp",
    "near the lamp behind the baker we found the castle",
)
COLORS = ("#4477aa", "#ee6677", "#228833")


@dataclass(frozen=True)
class Settings:
    """Sentences to train on and to test on, and passes."""

    train: int
    test: int
    epochs: int
    batch_size: int = 64


SETTINGS = {"quick": Settings(4_000, 1_000, 8), "book": Settings(20_000, 5_000, 10)}


OPTIONS = (
    choice("--cell", CELLS, "recurrent layer", "lstm"),
    number("--units", "of the recurrent layer", 32),
)


def sentences(count: int, rng: np.random.Generator) -> tuple[LabelledTexts, float]:
    """Sentences about a noun, the numbers of its kind in KINDS, and the best accuracy without the order of the words.

    Each of the 1...4 other nouns may be of any kind and stands before or after. All nouns of a sentence are as likely
    to be the one it is about, so that without their order the best guess is the kind that most of them have.
    """
    labels, texts, blind = rng.integers(len(KINDS), size=count), [], 0.0
    for label in labels:
        others = rng.integers(len(KINDS), size=rng.integers(1, MOST + 1))
        phrases = [f"{rng.choice(PREPOSITIONS)} the {rng.choice(NOUNS[KINDS[kind]])}" for kind in others]
        phrases.insert(int(rng.integers(len(others) + 1)), f"{rng.choice(VERBS)} the {rng.choice(NOUNS[KINDS[label]])}")
        texts.append(" ".join(phrases))
        blind += np.bincount([label, *others]).max() / len(phrases)
    return LabelledTexts(texts, labels.astype(np.int32)), blind / count


def build_model(cell: str, units: int, words: int) -> Sequential:
    """Embedding, one recurrent layer whose last state is read, Dense(3, softmax); compiled."""
    layer = recurrent_layer(CELLS[cell], units)
    model = Sequential([Embedding(words, WIDTH, mask_zero=True), layer, Dense(len(KINDS), "softmax")])
    compile_classifier(model, RATE, from_logits=False)
    return model


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    rng = np.random.default_rng(arguments.seed)
    made = [sentences(count, rng) for count in (settings.train, settings.test, settings.test)]
    parts = train, valid, test = [texts for texts, _ in made]
    run.start(f"made here: sentences about a {', a '.join(KINDS)}: {EXAMPLES[0]!r}", arguments.cell)
    vectorize = TextVectorization(oov_token="<unk>")
    vectorize.adapt(train.texts)
    vectorize.output_sequence_length = max(len(vectorize.encode(text)) for part in parts for text in part.texts)
    x, x_valid, x_test = (vectorize(part.texts) for part in parts)
    words = vectorize.vocabulary_size()
    model = build_model(arguments.cell, arguments.units, words)
    run.fit(model, settings, (x, train.labels), (x_valid, valid.labels), verbose=0)
    result = model.evaluate(x_test, test.labels, verbose=0, return_dict=True)
    run.metrics |= {
        "test_accuracy": result["accuracy"],
        "test_loss": result["loss"],
        "tfidf_accuracy": tfidf_accuracy(list(x), train.labels, list(x_test), test.labels, words),
        "blind_accuracy": made[2][1],
        "majority_accuracy": majority_accuracy(train.labels, test.labels),
    }
    for key, name in (
        ("test_accuracy", f"{CELLS[arguments.cell]}({arguments.units})"),
        ("tfidf_accuracy", "TF-IDF with logistic regression: the words without their order"),
        ("blind_accuracy", "the best that is possible without their order, in the long run"),
        ("majority_accuracy", "always the most frequent kind"),
    ):
        run.log(f"{run.metrics[key]:8.4f}  {name}")
    model.extra = {"text_vectorization": vectorize.to_dict(), "labels": list(KINDS)}
    run.save_model(model)
    for answer in classify_texts(model, EXAMPLES):
        run.log(f"{answer.probability:8.4f}  {answer.prediction}: {answer.text}")
    run.plot("reading.png", lambda figure: _draw(figure, model, vectorize), 9, 6)
    run.log(f'try: seqcore predict {run.folder} --text "{EXAMPLES[0]}"')
    return run.finish(cell=arguments.cell, units=arguments.units)


def _draw(figure: Any, model: Sequential, vectorize: TextVectorization) -> None:
    """The probability of each kind after each word of the two examples."""
    for axes, text in zip(figure.subplots(len(EXAMPLES), 1, sharey=True), EXAMPLES, strict=True):
        words = text.split()
        p = np.asarray(model.predict(vectorize([" ".join(words[: n + 1]) for n in range(len(words))]), verbose=0))
        curves: Any = {f"a {kind}": (range(len(words)), p[:, i], "o-", COLORS[i]) for i, kind in enumerate(KINDS)}
        draw_curves(axes, curves, ylim=(-0.03, 1.03), ylabel="probability")
        axes.set_xticks(range(len(words)), words, rotation=40, ha="right", rotation_mode="anchor")
