"""One label per time step: the tags of words whose meaning later words decide, in one direction and in both.

N: sentences, T: time steps, V: words, K: tags.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import Sequential, Tensor, layers, ops, pad_sequences, random
from ..datasets import TaggedCorpus, TagPosteriors, tagged_corpus, tagged_grammar
from ..datasets.tagged import Sentence
from ..text import Vocabulary
from ..typing import Array, Ids
from ._plots import COLORS, by_epoch, draw_matrix
from ._run import CELLS, Run, choice, compile_classifier, number, override, recurrent_layer

EMBEDDING, RATE = 32, 0.005
# Share of the words that training replaces by <unk>, so that a new word gets its tag from its neighbours.
HIDDEN_WORDS = 0.02
EXAMPLES = (
    "the old man the boats .",
    "the old man paints the boats .",
    "the boat sailed past the bridge near the red gate .",
    "the boat sailed past the bridge near the red gate sank .",
    "the teacher saw her duck .",
    "the teacher saw her duck again .",
)


@dataclass(frozen=True)
class Settings:
    """Sentences to train on, and epochs."""

    sentences: int
    epochs: int
    batch_size: int = 64


SETTINGS = {"quick": Settings(4000, 12), "book": Settings(20000, 20)}


OPTIONS = (
    choice("--cell", (*CELLS, "all"), "recurrent layer", "lstm"),
    choice("--direction", ("forward", "both", "compare"), "which way to read, or compare", "compare"),
    number("--units", "units, of both directions together", 64, least=2),
)


# --- data -------------------------------------------------------------------------------------------------------------


def encode_sentences(sentences: Sequence[Sentence], vocabulary: Vocabulary, tags: Sequence[str]) -> tuple[Tensor, Ids]:
    """Ids (N, T) that carry the ``lengths`` of the sentences, and the tags' numbers (N, T); zeros past the end."""
    numbers = {tag: i for i, tag in enumerate(tags)}
    y = pad_sequences([[numbers[tag] for tag in given] for _, given in sentences], padding="post")
    return encode_words([words for words, _ in sentences], vocabulary), y


def encode_words(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary) -> Tensor:
    """Ids (N, T) with the ``lengths`` of the sentences on them."""
    x = Tensor(pad_sequences([vocabulary.encode(words) for words in sentences], padding="post"))
    x.lengths = np.array([len(words) for words in sentences], np.int32)
    return x


def hide_words(x: Tensor, unknown: int, seed: int) -> Tensor:
    """A small part of the words replaced by the unknown one."""
    ids = x.numpy()
    hidden = Tensor(np.where(np.random.default_rng(seed).random(ids.shape) < HIDDEN_WORDS, unknown, ids))
    hidden.lengths = x.lengths
    return hidden


# --- model ------------------------------------------------------------------------------------------------------------


@layers.register("seqcore.experiments.tagging/Tagger")
class Tagger(Sequential):
    """Embedding, recurrent layer over the sentence, Dense at every step; with its words and tags when saved."""

    def predict_text(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each text its words with their tags and the probability of them all; used by ``seqcore predict``.

        Raises:
            ValueError: a text without words.
        """
        vocabulary, tags = Vocabulary.from_dict(self.extra["vocabulary"]), list(self.extra["tags"])
        sentences = [split_words(text) for text in texts]
        x = encode_words(sentences, vocabulary)
        results = []
        probabilities = ops.softmax(self.predict(x, verbose=0).astype(np.float64)).numpy()
        for words, p in zip(sentences, probabilities, strict=True):
            best = p[: len(words)].argmax(axis=1)
            pairs = [f"{word}/{tags[i]}" for word, i in zip(words, best, strict=True)]
            probability = float(p[np.arange(len(words)), best].prod())
            results.append({"text": " ".join(words), "prediction": " ".join(pairs), "probability": probability})
        return results


def split_words(text: str) -> list[str]:
    """Words and stops in small letters.

    >>> split_words("The old man the boats.")
    ['the', 'old', 'man', 'the', 'boats', '.']
    """
    words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:!?]", text.lower())
    if not words:
        raise ValueError(f"text: expected at least one word, got {text!r}")
    return words


def build_tagger(cell: str, direction: str, units: int, words: int, tags: int) -> Tagger:
    """A compiled tagger; ``both`` directions share the units, so that its outputs have the same size as ``forward``."""
    recurrent = recurrent_layer(CELLS[cell], units // 2 if direction == "both" else units, return_sequences=True)
    if direction == "both":
        recurrent = layers.Bidirectional(recurrent)
    model = Tagger([layers.Embedding(words, EMBEDDING), recurrent, layers.Dense(tags)])
    compile_classifier(model, RATE)
    return model


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """Shares that are right: of all words, of the words that have several tags, of whole sentences."""

    words: float
    ambiguous: float
    sentences: float


def ambiguous_words(sentences: Sequence[Sentence]) -> set[str]:
    """The words that were seen with more than one tag."""
    return {word for word, counts in _tag_counts(sentences).items() if len(counts) > 1}


def most_frequent_tags(train: Sequence[Sentence], sentences: Sequence[Sentence]) -> list[list[str]]:
    """The baseline: each word has the tag that it had most often, new ones the most frequent of all."""
    counts = _tag_counts(train)
    total = sum(counts.values(), Counter())
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    return [[best.get(word, total.most_common(1)[0][0]) for word in words] for words, _ in sentences]


def _tag_counts(sentences: Sequence[Sentence]) -> dict[str, Counter[str]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in sentences:
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    return counts


def score(sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]], ambiguous: set[str]) -> Score:
    """Compare predicted tags with the true ones.

    >>> score([(["a", "b"], ["X", "Y"]), (["b"], ["X"])], [["X", "Y"], ["Y"]], {"b"})
    Score(words=0.6666666666666666, ambiguous=0.5, sentences=0.5)
    """
    right = [
        (word in ambiguous, tag == guess)
        for (words, tags), guesses in zip(sentences, predicted, strict=True)
        for word, tag, guess in zip(words, tags, guesses, strict=True)
    ]
    hard = [ok for is_hard, ok in right if is_hard]
    whole = [list(tags) == list(guesses) for (_, tags), guesses in zip(sentences, predicted, strict=True)]
    return Score(
        float(np.mean([ok for _, ok in right])), float(np.mean(hard)) if hard else math.nan, float(np.mean(whole))
    )


def predict_tags(model: Sequential, x: Tensor, tags: Sequence[str]) -> list[list[str]]:
    """The tags of each sentence, as many as it has words."""
    best = model.predict(x, batch_size=256, verbose=0).argmax(axis=-1)
    assert x.lengths is not None
    return [[tags[i] for i in row[:length]] for row, length in zip(best.tolist(), x.lengths, strict=True)]


def confusion_table(sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]], tags: Sequence[str]) -> Array:
    """(K, K) how often the tag of the row was taken for that of the column."""
    number = {tag: i for i, tag in enumerate(tags)}
    table = np.zeros((len(tags), len(tags)), np.int64)
    for (_, given), guesses in zip(sentences, predicted, strict=True):
        for tag, guess in zip(given, guesses, strict=True):
            table[number[tag], number[guess]] += 1
    return table


def format_table(table: Array, tags: Sequence[str]) -> str:
    """The table as text."""
    lines = [f"{'':8}" + "".join(f"{tag:>7}" for tag in tags)]
    lines += [f"{tag:8}" + "".join(f"{n:>7}" for n in row) for tag, row in zip(tags, table.tolist(), strict=True)]
    return "\n".join(lines)


# --- the run ----------------------------------------------------------------------------------------------------------


def main(run: Run) -> int:
    """Train, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    arguments = run.arguments
    if arguments.units % 2:
        raise ValueError(f"--units: expected an even number, since two directions share them, got {arguments.units}")
    settings = override(SETTINGS[arguments.preset], arguments)
    corpus = tagged_corpus(settings.sentences, seed=arguments.seed)
    run.start(corpus.description, arguments.cell, arguments.direction)
    run.log(f"{'tags right, %':34}{'all words':>10}{'ambiguous':>11}{'sentences':>11}")
    _report_bounds(run, corpus)
    parts = (corpus.train, corpus.valid, corpus.test)
    (x, y), valid, (x_test, _) = (encode_sentences(part, corpus.vocabulary, corpus.tags) for part in parts)
    models: dict[str, Tagger] = {}
    curves: dict[str, Any] = {}
    tables: dict[str, Array] = {}
    for cell in CELLS if arguments.cell == "all" else [arguments.cell]:
        for direction in ("forward", "both") if arguments.direction == "compare" else (arguments.direction,):
            key = f"{cell}_{direction}"
            random.set_seed(arguments.seed)
            model = build_tagger(cell, direction, arguments.units, corpus.vocabulary.size, len(corpus.tags))
            hidden = hide_words(x, corpus.vocabulary.id("<unk>"), arguments.seed)
            rows = run.fit(model, settings, (hidden, y), valid, prefix=f"{key}_", labels={"model": key}, verbose=0)
            predicted = predict_tags(model, x_test, corpus.tags)
            title = f"{CELLS[cell]}, {'both directions' if direction == 'both' else 'left to right'}"
            _report(run, corpus, key, title, predicted)
            style = "o-" if direction == "both" else "s--"
            curves[title] = by_epoch(rows, "val_accuracy", style, COLORS[CELLS[cell]], 100)
            tables[title] = confusion_table(corpus.test, predicted, corpus.tags)
            models[key] = model
    _save(run, corpus, models)
    texts = [f"{title}\n{format_table(table, corpus.tags)}\n" for title, table in tables.items()]
    run.write_text("confusion.txt", "rows: true tag, columns: predicted\n\n" + "\n".join(texts))
    baseline, ceiling = (100 * run.metrics[name] for name in ("baseline_test_accuracy", "ceiling_forward_long_run"))
    levels = {"best possible from left to right": ceiling, "most frequent tag of each word": baseline}
    title, limits = "Only reading both ways gives every tag", (min(90.0, baseline - 1), 100.3)
    run.plot_curves(
        "accuracy.png", title, "epoch", "tags right on validation sentences (%)", curves, levels, ylim=limits
    )
    columns = min(2, len(tables))
    height = 4.4 * -(-len(tables) // columns) + 0.4
    run.plot(
        "confusion.png", lambda figure: _draw_confusion(figure, corpus.tags, tables, columns), 5.2 * columns, height
    )
    return run.finish(cell=arguments.cell, direction=arguments.direction, units=arguments.units)


def _report_bounds(run: Run, corpus: TaggedCorpus) -> None:
    """Print the baseline, and the scores of the best taggers that know the grammar."""
    _report(run, corpus, "baseline", "most frequent tag of each word", most_frequent_tags(corpus.train, corpus.test))
    posteriors = TagPosteriors(tagged_grammar())
    for direction, title in (("forward", " from left to right"), ("both", ", whole sentence")):
        predicted = [posteriors.best(words, direction) for words, _ in corpus.test]
        _report(run, corpus, f"ceiling_{direction}", f"best possible{title}", predicted)
    run.metrics["ceiling_forward_long_run"] = ceiling = posteriors.ceiling("forward")
    run.log(f"in the long run nobody gets more than {100 * ceiling:.2f} % of the words right from left to right")


def _report(run: Run, corpus: TaggedCorpus, key: str, title: str, predicted: Sequence[Sequence[str]]) -> None:
    result = score(corpus.test, predicted, ambiguous_words(corpus.train))
    values = {"test_accuracy": result.words, "ambiguous_accuracy": result.ambiguous}
    if key != "ceiling_forward":  # the best word by word is not the best for whole sentences
        values["sentence_accuracy"] = result.sentences
    run.metrics |= {f"{key}_{name}": value for name, value in values.items()}
    run.log(f"{title:33}" + "".join(f"{100 * value:11.2f}" for value in values.values()))


def _save(run: Run, corpus: TaggedCorpus, models: dict[str, Tagger]) -> None:
    """Save the models, the one best on the validation sentences as the result, and their tags of the examples.

    The result is a model of both directions if there is one.
    """
    keys = [key for key in models if key.endswith("both")] or list(models)
    chosen = max(keys, key=lambda key: float(run.metrics[f"{key}_valid_accuracy"]))
    lines = []
    for key, model in models.items():
        model.extra = {"vocabulary": corpus.vocabulary.to_dict(), "tags": list(corpus.tags)}
        run.save_model(model, "model.safetensors" if key == chosen else f"{key}.safetensors")
        lines += [key, *(result["prediction"] for result in model.predict_text(EXAMPLES)), ""]
    of_chosen = {name: value for name, value in run.metrics.items() if name.startswith(f"{chosen}_")}
    run.metrics |= {name.removeprefix(f"{chosen}_"): value for name, value in of_chosen.items()}
    run.write_text("samples.txt", "\n".join(lines))
    run.log(models[chosen].predict_text(EXAMPLES[:1])[0]["prediction"])
    run.log(f"try: seqcore predict {run.folder} --text '{EXAMPLES[3]}'")


def _draw_confusion(figure: Any, tags: Sequence[str], tables: dict[str, Array], columns: int) -> None:
    labels: dict[str, Any] = {"xlabel": "predicted tag", "ylabel": "true tag"}
    panels = figure.subplots(-(-len(tables) // columns), columns, squeeze=False)
    for axes, (title, table) in zip(panels.flat, tables.items(), strict=True):
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        texts = np.where(table > 0, table.astype(str), "")
        draw_matrix(axes, share, tags, tags, texts, title=title, **labels)
        axes.tick_params(labelsize=8)
    figure.suptitle("Test words by true and predicted tag: from left to right what later words decide is a guess")
