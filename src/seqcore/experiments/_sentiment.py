"""Shared parts of the experiments on sentiment: data as arrays, baselines without word order, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.sentiment import LABELS, LabelledTexts
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
        ones = np.ones(int(kept.sum()), np.float64)
        return csr_matrix((ones, (rows[kept], columns[kept])), shape=(len(texts), words))  # equal places are summed

    classifier = make_pipeline(TfidfTransformer(sublinear_tf=True), LogisticRegression(max_iter=1000))
    return float(classifier.fit(counts(train), labels).score(counts(test), test_labels))


def report_baselines(run: Run, bayes: float | None) -> None:
    """Print the baselines among the metrics, and the best accuracy possible where it is known."""
    names = {
        "majority_accuracy": "always the more frequent label",
        "tfidf_accuracy": "TF-IDF with logistic regression, the words that the network reads",
        "tfidf_whole_accuracy": "TF-IDF with logistic regression, whole texts",
        "bayes_accuracy": "best accuracy possible (some labels are flipped by chance)",
    }
    if bayes is not None:
        run.metrics["bayes_accuracy"] = bayes
    for key, name in names.items():
        if key in run.metrics:
            run.log(f"{run.metrics[key]:8.4f}  {name}")


def plot_accuracy(run: Run, curves: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> None:
    """``accuracy.png``: training and validation accuracy by epoch, the test accuracy at the chosen one, baselines.

    Args:
        run: its metrics hold the epoch, the test accuracy and the baselines.
        curves: name of a model -> its rows of epochs; the first is the one the test accuracy belongs to.
        title: of the picture.
    """
    metrics = run.metrics
    best, test = metrics["best_epoch"], metrics["test_accuracy"]
    lines: dict[str, Any] = {}
    for (name, rows), color in zip(curves.items(), ("#4477aa", "#ee6677", "#228833")):
        epochs, lead = [row["epoch"] for row in rows], f"{name}, " if len(curves) > 1 else ""
        lines[f"{lead}training"] = epochs, [row["accuracy"] for row in rows], "--", color
        lines[f"{lead}validation"] = epochs, [row["val_accuracy"] for row in rows], "-", color
    lines[f"test, epoch {best}: {test:.1%}"] = [best], [test], "*", "#222222"
    names = {"majority_accuracy": "majority", "tfidf_accuracy": "TF-IDF, same words", "bayes_accuracy": "best possible"}
    levels = {f"{name}: {metrics[key]:.1%}": metrics[key] for key, name in names.items() if key in metrics}
    run.plot_curves("accuracy.png", lines, levels, xlabel="epoch", ylabel="accuracy", title=title)


def reading_curve(model: Model, vectorize: TextVectorization, text: str) -> tuple[list[str], list[float]]:
    """The words of a text, and the probability of the positive label after each of them."""
    words = vectorize.tokens(text)
    prefixes = [" ".join(words[: count + 1]) for count in range(len(words))]
    labels = classify_texts(model, prefixes)
    positive = str(model.extra["labels"][1])
    return words, [p.probability if p.prediction == positive else 1 - p.probability for p in labels]


def plot_reading(run: Run, model: Model, vectorize: TextVectorization, texts: Sequence[str], title: str) -> None:
    """``reading.png``: the prediction after each word of texts that have the same words in another order."""
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


class SentimentRun:
    """Texts in their three parts as arrays, and the steps that both experiments share.

    Args:
        run: of the experiment.
        train, valid, test: the parts.
        vectorize: adapted to them.
    """

    def __init__(
        self, run: Run, train: LabelledTexts, valid: LabelledTexts, test: LabelledTexts, vectorize: TextVectorization
    ) -> None:
        self.run, self.vectorize = run, vectorize
        self.parts = {"train": train, "valid": valid, "test": test}
        self.ids = {name: [vectorize.encode(text) for text in part.texts] for name, part in self.parts.items()}
        self.rows: dict[str, NDArray[Any]] = {}
        self.targets: dict[str, NDArray[Any]] = {}

    @property
    def sizes(self) -> str:
        """The number of texts in each part, as a line."""
        return ", ".join(f"{name} {len(part):,}" for name, part in self.parts.items())

    @property
    def learned(self) -> tuple[list[NDArray[np.int32]], NDArray[Any]]:
        """Ids and labels of the training and validation texts together."""
        labels = np.concatenate([self.parts[name].labels for name in ("train", "valid")])
        return [*self.ids["train"], *self.ids["valid"]], labels

    def fit(self, model: Model, epochs: int, batch_size: int) -> list[dict[str, Any]]:
        """Train and test a compiled model; a row per epoch, and test accuracy and loss among the metrics."""
        rows = self.run.fit(
            model,
            self.rows["train"],
            self.targets["train"],
            epochs=epochs,
            batch_size=batch_size,
            validation_data=(self.rows["valid"], self.targets["valid"]),
            validation_batch_size=512,
        )
        test = model.evaluate(self.rows["test"], self.targets["test"], batch_size=512, verbose=0, return_dict=True)
        self.run.metrics |= {"test_accuracy": test["accuracy"], "test_loss": test["loss"]}
        return rows

    def keep(self, model: Model, examples: Sequence[str], title: str) -> None:
        """Save the model, print its predictions for a few texts, and draw how it reads them."""
        model.extra = {"text_vectorization": self.vectorize.to_dict(), "labels": list(LABELS)}
        self.run.save_model(model)
        for example in classify_texts(model, examples):
            self.run.log(f"{example.probability:8.4f}  {example.prediction}: {example.text}")
        plot_reading(self.run, model, self.vectorize, examples, title)
