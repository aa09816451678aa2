"""``seqcore run seq2seq``: dates written in English to ISO dates and back, with and without attention.

Many to many with different lengths: an encoder reads the source, a decoder writes the target letter by letter. The
models and their sources: :class:`seqcore.language_model.seq2seq.Seq2Seq`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .. import get_num_threads, info
from ..callbacks import EpochDecay
from ..datasets.dates import DIRECTIONS, SPOKEN, DatePairs, date_pairs
from ..language_model.seq2seq import PairBatches, Seq2Seq, Translation
from ..metrics import SequenceAccuracy
from ._plots import by_epoch, draw_matrix
from ._run import Run, choice, compile_classifier, number, override

# Pairs to validate and to test with.
VALID, TEST = 1_000, 2_000


@dataclass(frozen=True)
class Settings:
    """Training pairs, epochs, and the rest; the rate is halved in each epoch of the second half."""

    pairs: int
    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.004
    clip: float = 1.0


SETTINGS = {"quick": Settings(pairs=10_000, epochs=8), "book": Settings(pairs=40_000, epochs=12)}


OPTIONS = (
    choice("--direction", DIRECTIONS, "to ISO dates or back to words", DIRECTIONS[0]),
    choice("--attention", ("additive", "none"), "additive attention, or the encoder's last state alone", "additive"),
    number("--units", "units of the encoder in each direction", 64),
    number("--beam-width", "of the beam search, next to the greedy one", 4, least=2, metavar="K"),
    number("--pairs", "training pairs (quick 10000, book 40000)"),
)


def main(run: Run) -> int:
    """Train, translate the test dates and write the results; the exit status.

    Raises:
        ValueError, OSError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    try:
        train, valid, test = date_pairs(arguments.direction, (settings.pairs, VALID, TEST), arguments.seed)
    except ValueError as error:
        raise ValueError(f"--pairs: {error}") from None
    sizes = f"{len(train):,} pairs to train, {len(valid):,} to validate, {len(test):,} to test, all of different dates"
    data = f"built-in dates from 1900 to 2099, {arguments.direction}: {sizes}"
    run.start(data, arguments.direction, arguments.attention)
    run.log(f"for example: {train.source[0]} -> {train.target[0]}")
    model = build_model(train, arguments.units, arguments.attention, settings)
    run.log(
        f"model: bidirectional LSTM of {arguments.units} units, LSTM of {2 * arguments.units}, attention "
        f"{arguments.attention}, {model.count_params():,} parameters; seed {arguments.seed}, "
        f"{get_num_threads()} threads, {info()['isa']}"
    )
    decay = EpochDecay(settings.learning_rate, hold=(settings.epochs + 1) // 2, factor=0.5)
    batches = PairBatches(model, train.source, train.target, settings.batch_size)
    held = PairBatches(model, valid.source, valid.target, 256, shuffle=False)
    rows = run.fit(model, settings, batches, held, "val_loss", [decay])
    run.metrics["valid_accuracy"] = rows[run.metrics["best_epoch"] - 1]["val_accuracy"]
    run.metrics["parameters"] = model.count_params()
    run.save_model(model)
    evaluate(run, model, train, test, arguments.beam_width)
    curves = {
        "training dates, during the epoch": by_epoch(rows, "accuracy", "o-", "#4477aa", 100),
        "validation dates": by_epoch(rows, "val_accuracy", "o-", "#ee6677", 100),
    }
    title = f"Dates {arguments.direction}, attention {arguments.attention}"
    run.plot_curves("learning.png", title, "epoch", "dates right in every letter (%)", curves, ylim=(-3, 103))
    if model.attention is not None:
        shown = test.forms.index(SPOKEN) if SPOKEN in test.forms else 0
        source, target = test.source[shown], test.target[shown]
        # Inches for a picture in which each letter has its place.
        width, height = max(6.5, 0.19 * len(source) + 2.5), max(4.0, 0.24 * len(target) + 1.5)
        run.plot("attention.png", lambda figure: draw_attention(figure, model, source), width, height)
    run.log(f"try: seqcore predict {run.folder} --text '{test.source[0]}'")
    return run.finish(direction=arguments.direction, attention=arguments.attention, units=arguments.units)


def build_model(train: DatePairs, units: int, attention: str, settings: Settings) -> Seq2Seq:
    """A compiled model for the letters of the training pairs; capitals of a source make no difference."""
    source = sorted(set("".join(train.source).lower()))
    target = sorted(set("".join(train.target)))
    longest = max(map(len, train.target)) + 1
    model = Seq2Seq("".join(source), "".join(target), units, attention=attention, lower=True, max_length=longest)
    compile_classifier(model, settings.learning_rate, settings.clip, [SequenceAccuracy("accuracy")])
    # One pair builds it.
    inputs, _ = next(iter(PairBatches(model, train.source[:1], train.target[:1])))
    model(inputs)
    return model


def evaluate(run: Run, model: Seq2Seq, train: DatePairs, test: DatePairs, width: int) -> None:
    """Exact match on the test dates, greedy and by beam search, with a baseline and the table by ways of writing."""
    greedy, beam = model.translate(test.source), model.translate(test.source, width)
    texts, constant = [translation.text for translation in greedy], commonest_letters(train.target)
    run.metrics |= {
        "test_accuracy": exact_match(greedy, test.target),
        "test_accuracy_beam": exact_match(beam, test.target),
        "test_letter_accuracy": letter_accuracy(texts, test.target),
        "baseline_accuracy": test.target.count(constant) / len(test),
        "baseline_letter_accuracy": letter_accuracy([constant] * len(test), test.target),
    }
    metrics = run.metrics
    run.log(
        f"exact match on {len(test):,} unseen dates: greedy {metrics['test_accuracy']:.4f}, "
        f"beam of {width} {metrics['test_accuracy_beam']:.4f}"
    )
    run.log(
        f"letters in their place {metrics['test_letter_accuracy']:.4f}; the commonest in each place, {constant!r}: "
        f"letters {metrics['baseline_letter_accuracy']:.4f}, exact match {metrics['baseline_accuracy']:.4f}"
    )
    right = Counter(form for form, text, target in zip(test.forms, texts, test.target) if text == target)
    total = Counter(test.forms)
    for form in sorted(total, key=lambda form: (right[form] / total[form], form)):
        run.log(f"  {right[form]:5} of {total[form]:5}  {form}")
    marks = [
        f"   {source} -> {text}" if text == target else f"no {source} -> {text}, expected {target}"
        for source, text, target in zip(test.source, texts, test.target)
    ]
    wrong = [line for line in marks if line.startswith("no ")]
    run.write_text("translations.txt", "\n".join(wrong + marks[:40]))


def exact_match(translations: Sequence[Translation], target: Sequence[str]) -> float:
    """Share of translations that are right in every letter."""
    return sum(t.text == text for t, text in zip(translations, target, strict=True)) / len(target)


def commonest_letters(texts: Sequence[str]) -> str:
    """In each place the letter that most texts have there, or none where most have ended.

    >>> commonest_letters(["abc", "abd", "abd", "x"])
    'abd'
    """
    columns = zip_longest(*texts, fillvalue="")
    return "".join(Counter(column).most_common(1)[0][0] for column in columns)


def letter_accuracy(texts: Sequence[str], target: Sequence[str]) -> float:
    """Share of the targets' letters that are right, place by place.

    >>> letter_accuracy(["1997", "19"], ["1998", "1919"])
    0.625
    """
    right = sum(a == b for pair in zip(texts, target, strict=True) for a, b in zip(*pair))
    return right / sum(map(len, target))


def draw_attention(figure: Any, model: Seq2Seq, source: str) -> None:
    """The attention of each letter of the translation to each letter of the source."""
    written = model.translate([source])[0].text
    weights = model.attention_weights([source], [written])[0]
    axes = figure.add_subplot()
    read = [letter.replace(" ", "␣") for letter in model.tokenize(source)]
    rows = [*written.replace(" ", "␣"), "end"]
    title = f"Where the decoder looks while it writes\n{source} → {written}"
    image = draw_matrix(axes, weights, rows, read, xlabel="letter read", ylabel="letter written", title=title)
    figure.colorbar(image, ax=axes, label="attention weight (each row sums to 1)")
