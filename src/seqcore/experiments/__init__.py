"""Experiments of the books behind ``seqcore run``: the registry.

An experiment is a module with ``OPTIONS``, those it has besides the common ones, and ``main(run) -> int``, which gets a
:class:`._run.Run` and returns the exit status. It is imported when it is used, also by a model file that names a class
registered as ``seqcore.experiments.NAME/Class``.
The frame of one, with the parts of :mod:`._run`::

    OPTIONS = (choice("--cell", CELLS, "the recurrent layer", "lstm"), number("--units", "units of it"))
    SETTINGS = {"quick": Settings(units=32, epochs=5), "book": Settings(units=64, epochs=50)}

    def main(run: Run) -> int:
        settings = override(SETTINGS[run.arguments.preset], run.arguments)
        data = load_data(run.arguments.data)
        run.start(data.description, run.arguments.cell)
        model = build_model(run.arguments.cell, settings.units)
        compile_classifier(model, 0.001)
        rows = run.fit(model, settings, data.train, data.valid)
        curves = {"validation": by_epoch(rows, "val_accuracy", "o-", "#4477aa")}
        run.plot_curves("accuracy.png", "What the network learns", "epoch", "accuracy", curves)
        run.save_model(model)
        return run.finish(cell=run.arguments.cell, units=settings.units)

``PRESETS`` in it names its presets where they are not ``quick`` and ``book``; ``describe(model, x) -> list``, where it
has one, is what ``seqcore predict MODEL --input`` shows instead of the model's largest outputs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """Name on the command line, one line about it, and the data it can take besides the built-in."""

    name: str
    summary: str
    data: str

    def load(self) -> Any:
        """The module that does it."""
        return importlib.import_module(f"{__name__}.{self.name}")


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("toy", "a toy sentence, its predictions recomputed step by step", ""),
        Experiment("order", "sentences read without a state, and with one", ""),
        Experiment("gradients", "vanishing and exploding gradients, and clipping", ""),
        Experiment("rtrl", "the gradient forward in time next to backpropagation", ""),
        Experiment("imdb", "sentiment of film reviews", "IMDB reviews, GloVe"),
        Experiment("airline", "sentiment of tweets about airlines", "airline tweets"),
        Experiment("stories", "fairy tales by bigrams of characters: RNN-CF next to the others", "Grimm, any text"),
        Experiment("memory", "how far back each cell remembers", ""),
        Experiment("forget_gate", "an LSTM with the forget gate alone", ""),
        Experiment("tagging", "one label per word of a sentence, in one direction and in both", ""),
        Experiment("questions", "sentences about a person, a thing or a place", ""),
        Experiment("ptb", "LSTM language model", "Penn Treebank"),
        Experiment("word2vec", "word vectors", "any text"),
        Experiment("mnist", "digits read row by row in both directions", "MNIST"),
        Experiment("forecast", "the next value of a series", "a CSV column"),
        Experiment("caption", "from the image of a digit to its name, letter by letter", "MNIST"),
        Experiment("attend", "the names of two digits, with attention over their image", "MNIST"),
        Experiment("seq2seq", "dates in words to ISO dates, with attention", ""),
    )
}


def load_class(name: str) -> None:
    """Import the experiment of a class that a model file names ``EXPERIMENT/Class``."""
    experiment = EXPERIMENTS.get(name.partition("/")[0])
    if experiment is not None:
        experiment.load()
