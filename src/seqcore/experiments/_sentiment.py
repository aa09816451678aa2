"""Shared parts of the experiments on sentiment: data as arrays, baselines without word order, pictures."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import import_extra
from ..datasets.sentiment import LABELS, SentimentData
from ..models import Model
from ..text import TextVectorization, classify_texts
from ._plots import by_epoch
from ._run import Run, choice, majority_accuracy, number

Ids = Sequence[NDArray[np.int32]]

OPTIONS = (
    number("--units", "of a recurrent layer"),
    number("--samples", "texts to train on, drawn with the seed, the validation included; all by default", least=20),
    choice("--validate", ("train", "test"), "choose the epoch on a tenth of these, or on the test texts", "train"),
)


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


class TextParts:
    """Labelled texts in their parts "train", "valid" and "test", as arrays.

    Args:
        data: the texts.
        vectorize: adapted to them.
        target: makes the targets of the model from labels (N,).
        seed: draws which texts are held back or left out.
        samples: texts to train on, those held back included; all by default.
        validate: "train" holds a tenth of them back to choose the epoch; with "test" there is no part "valid".

    Raises:
        ValueError: more samples than there are, or texts of one label.
    """

    def __init__(
        self,
        data: SentimentData,
        vectorize: TextVectorization,
        target: Callable[[Any], NDArray[Any]],
        seed: int,
        samples: int | None = None,
        validate: str = "train",
    ) -> None:
        self.vectorize, self._target = vectorize, target
        if samples is not None and samples > len(data.train):
            raise ValueError(f"--samples: expected at most {len(data.train):,} for these data, got {samples:,}")
        order = np.random.default_rng(seed).permutation(len(data.train))[:samples]
        held = len(order) // 10 if validate == "train" else 0
        self.parts = {"train": data.train[order[held:]], "valid": data.train[order[:held]], "test": data.test}
        if validate == "test":
            del self.parts["valid"]
        for name in ("train", "test"):
            if len(set(self.parts[name].labels.tolist())) < 2:
                count = len(self.parts[name])
                raise ValueError(f"--data, --samples: expected {name} texts of both labels, got {count:,} of one label")
        self.ids = {name: [vectorize.encode(text) for text in part.texts] for name, part in self.parts.items()}
        self.sizes = ", ".join(f"{name} {len(part):,}" for name, part in self.parts.items())

    def pair(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Padded ids and targets of a part."""
        return self.vectorize.pad(self.ids[name]), self._target(self.parts[name].labels)


class SentimentRun(TextParts):
    """The steps that both experiments share.

    Args:
        run: of the experiment, with the options of :data:`OPTIONS`.
        data, vectorize, target: those of :class:`TextParts`.
        noun: a text of the data, such as "review".
        same_words: built-in texts for the demonstration, of the same words in another order.

    ``examples`` are the texts of the demonstration: ``same_words`` for the built-in data, otherwise a negative and a
    positive text of the test part.
    """

    def __init__(
        self,
        run: Run,
        data: SentimentData,
        vectorize: TextVectorization,
        target: Callable[[Any], NDArray[Any]],
        noun: str,
        same_words: Sequence[str],
    ) -> None:
        options = run.arguments
        super().__init__(data, vectorize, target, options.seed, options.samples, options.validate)
        self.run, self._bayes, self._noun = run, data.bayes, noun
        self._curves: dict[str, list[dict[str, Any]]] = {}
        self._is_tested_by_epoch = options.validate == "test"
        if self._is_tested_by_epoch:
            run.log(f"NOTE: --validate test: the test {noun}s choose the epoch, so the test accuracy is too good")
        self.examples = list(same_words)
        if options.data != "builtin":
            self.examples = [self._test_text(label) for label in (0, 1)]

    def _test_text(self, label: int, words: int = 12) -> str:
        """The first of the test texts with this label whose number of words is nearest to ``words``."""
        rows = np.flatnonzero(self.parts["test"].labels == label)
        return self.parts["test"].texts[min(rows, key=lambda row: abs(len(self.ids["test"][row]) - words))]

    def show_words(self, rows: int = 8) -> None:
        """Print the most frequent words with their counts and ids, and a text next to its ids."""
        counts = np.bincount(np.concatenate([ids for part in self.ids.values() for ids in part]))
        names, log = self.vectorize.get_vocabulary(), self.run.log
        log("      id     count  word")
        for word in np.argsort(-counts, kind="stable")[:rows].tolist():
            log(f"{word:8,}{counts[word]:10,}  {names[word]}")
        ids = self.vectorize.encode(self.examples[0])
        log(f"a {self._noun}: {self.examples[0]}")
        log(f"its ids: {' '.join(map(str, ids))}")
        log(f"its words: {' '.join(self.vectorize.decode(ids))}")

    def measure_baselines(self, words: int, padded: bool) -> None:
        """Measure the accuracies without word order.

        Args:
            words: number of ids.
            padded: TF-IDF gets the texts as the network does, and a second one the whole texts if some are longer.
        """
        known = [name for name in self.parts if name != "test"]
        labels = np.concatenate([self.parts[name].labels for name in known])
        ids = [row for name in known for row in self.ids[name]]
        test, test_labels = self.ids["test"], self.parts["test"].labels
        metrics = self.run.metrics
        metrics["majority_accuracy"] = majority_accuracy(labels, test_labels)
        seen, seen_test = ([*self.vectorize.pad(rows)] if padded else rows for rows in (ids, test))
        metrics["tfidf_accuracy"] = tfidf_accuracy(seen, labels, seen_test, test_labels, words)
        if padded and max(map(len, ids)) > len(seen[0]):
            metrics["tfidf_whole_accuracy"] = tfidf_accuracy(ids, labels, test, test_labels, words)

    def fit(self, model: Model, settings: Any, name: str = "", **labels: Any) -> None:
        """Train and test a compiled model; the metrics get its test accuracy and loss.

        Args:
            model: it ends with the weights of the best epoch.
            settings: those of :meth:`.Run.fit`.
            name: of the model, where a run trains several; the metrics of all but the first begin with it.
            labels: further entries of each row of the history.
        """
        pairs, prefix = {part: self.pair(part) for part in self.parts}, f"{name}_" if self._curves else ""
        valid, (x, y) = pairs.get("valid", pairs["test"]), pairs["test"]
        rows = self.run.fit(
            model, settings, pairs["train"], valid, prefix=prefix, labels=labels, validation_batch_size=512
        )
        test = model.evaluate(x, y, batch_size=512, verbose=0, return_dict=True)
        self.run.metrics |= {f"{prefix}test_{key}": test[key] for key in ("accuracy", "loss")}
        if self._is_tested_by_epoch:
            self.run.metrics[f"{prefix}last_epoch_test_accuracy"] = rows[-1]["val_accuracy"]
        self._curves[name] = rows

    def keep(self, model: Model) -> None:
        """Save the model, print its predictions for a few texts, and draw how it reads them."""
        model.extra = {"text_vectorization": self.vectorize.to_dict(), "labels": list(LABELS)}
        self.run.save_model(model)
        for example in classify_texts(model, self.examples):
            self.run.log(f"{example.probability:8.4f}  {example.prediction}: {example.text}")
        texts = f"Two {self._noun}s of the same words"
        if self.run.arguments.data != "builtin":
            texts = f"A negative and a positive {self._noun} of the test part"
        plot_reading(self.run, model, self.vectorize, self.examples, f"{texts}: the prediction after each word")

    def report(self, title: str, texts: str) -> None:
        """Print the results and the baselines; draw ``accuracy.png`` and ``loss.png`` by epoch.

        Args:
            title: of the model.
            texts: the word for the data.
        """
        run, metrics, several = self.run, self.run.metrics, len(self._curves) > 1
        chosen_on = "test" if self._is_tested_by_epoch else "validation"
        for place, name in enumerate(self._curves):
            prefix, named = f"{name}_" if place else "", f"{title}, {name}" if several else title
            best, accuracy = metrics[f"{prefix}best_epoch"], metrics[f"{prefix}test_accuracy"]
            run.log(
                f"{accuracy:8.4f}  test accuracy, {named} (epoch {best}, the best on the {chosen_on} {self._noun}s)"
            )
            if self._is_tested_by_epoch:
                last = metrics[f"{prefix}last_epoch_test_accuracy"]
                run.log(f"{last:8.4f}  test accuracy, {named}, after the last epoch")
        if self._bayes is not None:
            metrics["bayes_accuracy"] = self._bayes
        levels: dict[str, float] = {}
        for key, (line, label) in _BASELINES.items():
            if key in metrics:
                run.log(f"{metrics[key]:8.4f}  {line}")
                levels |= {f"{label}: {metrics[key]:.1%}": metrics[key]} if label else {}
        best = metrics["best_epoch"]
        title = f"{title} on {texts}: test accuracy {metrics['test_accuracy']:.1%}"
        for key, form in (("accuracy", ".1%"), ("loss", ".3f")):
            lines: dict[str, Any] = {}
            for (name, rows), color in zip(self._curves.items(), ("#4477aa", "#ee6677", "#228833")):
                lead = f"{name}, " if several else ""
                lines[f"{lead}training"] = by_epoch(rows, key, "--", color)
                lines[f"{lead}{chosen_on}"] = by_epoch(rows, f"val_{key}", "-", color)
            value = metrics[f"test_{key}"]
            lines[f"test, epoch {best}: {value:{form}}"] = [best], [value], "*", "#222222"
            run.plot_curves(f"{key}.png", title, "epoch", key, lines, levels if key == "accuracy" else None)
        run.log(f"try: seqcore predict {run.folder} --text {shlex.quote(self.examples[0])}")

    def facts(self) -> dict[str, Any]:
        """The shared options among the figures."""
        return {name: getattr(self.run.arguments, name) for name in ("units", "samples", "validate")}


def variant_of(arguments: argparse.Namespace) -> list[str]:
    """Words for the name of the folder of results: the shared options that change what is measured.

    >>> variant_of(argparse.Namespace(units=None, samples=500, validate="test"))
    ['samples500', 'validate-test']
    """
    numbers = [f"{name}{value}" for name in ("units", "samples") if (value := getattr(arguments, name)) is not None]
    return [*numbers, *["validate-test"][: arguments.validate == "test"]]
