"""What the experiments on sentiment share: baselines without word order, pictures, and a few predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.sentiment import LabelledTexts
from ..models import Model
from ..text import TextVectorization, classify_texts
from ._run import Run

Ids = Sequence[NDArray[np.int32]]


def hold_back(texts: LabelledTexts, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
    """Nine tenths to train on, and the tenth, chosen by the seed, that chooses the epoch."""
    order = np.random.default_rng(seed).permutation(len(texts))
    held = len(order) // 10
    return texts[order[held:]], texts[order[:held]]


def tfidf_accuracy(train: Ids, labels: NDArray[Any], test: Ids, test_labels: NDArray[Any], words: int) -> float:
    """Test accuracy of logistic regression on TF-IDF: which words a text has and how often, not their order.

    Args:
        train, test: ids of the words of each text, 0 for padding.
        labels, test_labels: (N,) of them.
        words: number of ids.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise ImportError("the TF-IDF baseline needs scikit-learn: pip install 'seqcore[experiments]'") from None

    def counts(texts: Ids) -> Any:
        rows = np.repeat(np.arange(len(texts)), [len(ids) for ids in texts])
        columns = np.concatenate([np.asarray(ids) for ids in texts])
        kept = columns > 0
        found = np.ones(int(kept.sum()), np.float64), (rows[kept], columns[kept])
        return csr_matrix(found, shape=(len(texts), words))  # equal places are summed

    classifier = make_pipeline(TfidfTransformer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    return float(classifier.fit(counts(train), labels).score(counts(test), test_labels))


def report_baselines(run: Run, bayes: float | None) -> None:
    """Prints the baselines among the metrics beside the result, and the best accuracy possible where it is known."""
    names = {
        "majority_accuracy": "always the more frequent label",
        "tfidf_accuracy": "TF-IDF with logistic regression, the words that the network reads",
        "tfidf_whole_accuracy": "TF-IDF with logistic regression, whole texts",
        "bayes_accuracy": "best accuracy possible (some labels are turned round by chance)",
    }
    if bayes is not None:
        run.metrics["bayes_accuracy"] = bayes
    for key, name in names.items():
        if key in run.metrics:
            run.say(f"{run.metrics[key]:8.4f}  {name}")


def plot_accuracy(run: Run, curves: Mapping[str, Sequence[Mapping[str, float]]], test: float, title: str) -> None:
    """``accuracy.png``: training and validation accuracy by epoch, the test accuracy at the chosen one, baselines.

    Args:
        run: its metrics hold the epoch and the baselines.
        curves: name of a model -> its rows of epochs; the first is the one the test accuracy belongs to.
        test: that test accuracy.
        title: of the picture.
    """

    def draw(figure: Any) -> None:
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        axes = figure.add_subplot()
        for (name, rows), colour in zip(curves.items(), ("#4477aa", "#ee6677", "#228833")):
            epochs, lead = [row["epoch"] for row in rows], f"{name}, " if len(curves) > 1 else ""
            axes.plot(epochs, [row["accuracy"] for row in rows], "--", color=colour, label=f"{lead}training")
            axes.plot(epochs, [row["val_accuracy"] for row in rows], "-", color=colour, label=f"{lead}validation")
        best = run.metrics["best_epoch"]
        axes.plot([best], [test], "*", color="#222222", markersize=13, label=f"test, epoch {best}: {test:.1%}")
        for key, name, style in (
            ("bayes_accuracy", "best possible", "-."),
            ("tfidf_accuracy", "TF-IDF, same words", ":"),
            ("majority_accuracy", "majority", (0, (1, 4))),
        ):
            if key in run.metrics:
                value = run.metrics[key]
                axes.axhline(value, color="#777777", linestyle=style, label=f"{name}: {value:.1%}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy")
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    run.plot("accuracy.png", draw, width=8.5)


def reading_curve(model: Model, vectorize: TextVectorization, text: str) -> tuple[list[str], list[float]]:
    """The words of a text, and the probability of the positive label after each of them."""
    words = vectorize.tokens(text)
    prefixes = [" ".join(words[: count + 1]) for count in range(len(words))]
    found = classify_texts(model, prefixes)
    positive = str(model.extra["labels"][1])
    return words, [one.probability if one.prediction == positive else 1 - one.probability for one in found]


def plot_reading(run: Run, model: Model, vectorize: TextVectorization, texts: Sequence[str], title: str) -> None:
    """``reading.png``: what the model thinks after each word of texts that have the same words in another order."""
    curves = [reading_curve(model, vectorize, text) for text in texts]

    def draw(figure: Any) -> None:
        panels = figure.subplots(len(curves), 1, sharey=True, squeeze=False)[:, 0]
        for axes, (words, values) in zip(panels, curves):
            places = range(len(words))
            axes.bar(places, [p - 0.5 for p in values], bottom=0.5, width=0.8,
                     color=["#228833" if p > 0.5 else "#cc3311" for p in values])  # fmt: skip
            axes.axhline(0.5, color="#222222", linewidth=0.8)
            axes.set_xticks(places, words, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_ylim(0, 1)
            axes.set_ylabel("P(positive)")
        panels[0].set_title(title)
        panels[-1].set_xlabel("after reading the text up to this word")

    run.plot("reading.png", draw, width=8, height=2.4 * len(curves))


def say_examples(run: Run, model: Model, texts: Sequence[str]) -> None:
    """Prints what the model says of a few texts."""
    for one in classify_texts(model, texts):
        run.say(f"{one.probability:8.4f}  {one.prediction}: {one.text}")
