"""Shared parts of the experiments on sentiment: data as arrays, baselines without word order, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets._extras import import_extra
from ..datasets.sentiment import LABELS, SentimentData
from ..models import Model
from ..text import TextVectorization, classify_texts
from ._plots import by_epoch
from ._run import Run, majority_accuracy

Ids = Sequence[NDArray[np.int32]]


def tfidf_accuracy(train: Ids, labels: NDArray[Any], test: Ids, test_labels: NDArray[Any], words: int) -> float:
    """Test accuracy of logistic regression on TF-IDF: which words a text has and how often, not their order.

    Args:
        train, test: ids of the words of each text, 0 for padding.
        labels, test_labels: (N,) of them.
        words: number of ids.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    names = "scipy.sparse", "sklearn.feature_extraction.text", "sklearn.linear_model", "sklearn.pipeline"
    sparse, text, linear, pipeline = (import_extra(name, "the TF-IDF baseline needs scikit-learn") for name in names)

    def counts(texts: Ids) -> Any:
        rows = np.repeat(np.arange(len(texts)), [len(ids) for ids in texts])
        columns = np.concatenate([np.asarray(ids) for ids in texts])
        kept = columns > 0
        ones = np.ones(int(kept.sum()), np.float64)
        return sparse.csr_matrix(
            (ones, (rows[kept], columns[kept])), shape=(len(texts), words)
        )  # equal places are summed

    tfidf, regression = text.TfidfTransformer(sublinear_tf=True), linear.LogisticRegression(max_iter=1000)
    classifier = pipeline.make_pipeline(tfidf, regression)
    return float(classifier.fit(counts(train), labels).score(counts(test), test_labels))


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


# Baselines by their names among the metrics: as a line says it, and as a picture does, if it shows it.
_BASELINES = {
    "majority_accuracy": ("always the more frequent label", "majority"),
    "tfidf_accuracy": ("TF-IDF with logistic regression, the words that the network reads", "TF-IDF, same words"),
    "tfidf_whole_accuracy": ("TF-IDF with logistic regression, whole texts", ""),
    "bayes_accuracy": ("best accuracy possible (some labels are flipped by chance)", "best possible"),
}


class SentimentRun:
    """Texts in their three parts as arrays, and the steps that both experiments share.

    Args:
        run: of the experiment.
        data: the texts; a tenth of the training part, chosen by the seed, is held back to choose the epoch.
        vectorize: adapted to them.
        target: makes the targets of the model from labels (N,).
    """

    def __init__(
        self, run: Run, data: SentimentData, vectorize: TextVectorization, target: Callable[[Any], NDArray[Any]]
    ) -> None:
        self.run, self.vectorize, self._target, self._bayes = run, vectorize, target, data.bayes
        order = np.random.default_rng(run.arguments.seed).permutation(len(data.train))
        held = len(order) // 10
        self.parts = {"train": data.train[order[held:]], "valid": data.train[order[:held]], "test": data.test}
        self.ids = {name: [vectorize.encode(text) for text in part.texts] for name, part in self.parts.items()}
        self.sizes = ", ".join(f"{name} {len(part):,}" for name, part in self.parts.items())

    def pair(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Padded ids and targets of a part."""
        return self.vectorize.pad(self.ids[name]), self._target(self.parts[name].labels)

    def measure_baselines(self, words: int, padded: bool) -> None:
        """Measure the accuracies without word order.

        Args:
            words: number of ids.
            padded: TF-IDF gets the texts as the network does, and a second one the whole texts if some are longer.
        """
        labels = np.concatenate([self.parts[name].labels for name in ("train", "valid")])
        ids, test, test_labels = [*self.ids["train"], *self.ids["valid"]], self.ids["test"], self.parts["test"].labels
        metrics = self.run.metrics
        metrics["majority_accuracy"] = majority_accuracy(labels, test_labels)
        seen, seen_test = ([*self.vectorize.pad(rows)] if padded else rows for rows in (ids, test))
        metrics["tfidf_accuracy"] = tfidf_accuracy(seen, labels, seen_test, test_labels, words)
        if padded and max(map(len, ids)) > len(seen[0]):
            metrics["tfidf_whole_accuracy"] = tfidf_accuracy(ids, labels, test, test_labels, words)

    def fit(self, model: Model, settings: Any, prefix: str = "", **labels: Any) -> list[dict[str, Any]]:
        """Train and test a compiled model; a row per epoch, and test accuracy and loss among the metrics.

        ``prefix`` and ``labels`` are those of :meth:`.Run.fit`.
        """
        train, valid, (x, y) = map(self.pair, self.parts)
        rows = self.run.fit(model, settings, train, valid, prefix=prefix, labels=labels, validation_batch_size=512)
        test = model.evaluate(x, y, batch_size=512, verbose=0, return_dict=True)
        self.run.metrics |= {f"{prefix}test_{name}": test[name] for name in ("accuracy", "loss")}
        return rows

    def keep(self, model: Model, examples: Sequence[str], title: str) -> None:
        """Save the model, print its predictions for a few texts, and draw how it reads them."""
        model.extra = {"text_vectorization": self.vectorize.to_dict(), "labels": list(LABELS)}
        self.run.save_model(model)
        for example in classify_texts(model, examples):
            self.run.log(f"{example.probability:8.4f}  {example.prediction}: {example.text}")
        plot_reading(self.run, model, self.vectorize, examples, title)

    def report(self, curves: Mapping[str, Sequence[Mapping[str, Any]]], title: str, texts: str) -> None:
        """Print the baselines and draw ``accuracy.png``: training, validation and test accuracy, and the baselines.

        Args:
            curves: name of a model -> its rows of epochs; the first is the one the test accuracy belongs to.
            title: of the model.
            texts: the word for them.
        """
        run, metrics = self.run, self.run.metrics
        if self._bayes is not None:
            metrics["bayes_accuracy"] = self._bayes
        levels: dict[str, float] = {}
        for key, (line, label) in _BASELINES.items():
            if key in metrics:
                run.log(f"{metrics[key]:8.4f}  {line}")
                levels |= {f"{label}: {metrics[key]:.1%}": metrics[key]} if label else {}
        best, test = metrics["best_epoch"], metrics["test_accuracy"]
        lines: dict[str, Any] = {}
        for (name, rows), color in zip(curves.items(), ("#4477aa", "#ee6677", "#228833")):
            lead = f"{name}, " if len(curves) > 1 else ""
            lines[f"{lead}training"] = by_epoch(rows, "accuracy", "--", color)
            lines[f"{lead}validation"] = by_epoch(rows, "val_accuracy", "-", color)
        lines[f"test, epoch {best}: {test:.1%}"] = [best], [test], "*", "#222222"
        title = f"{title} on {texts}: test accuracy {test:.1%}"
        run.plot_curves("accuracy.png", title, "epoch", "accuracy", lines, levels)
