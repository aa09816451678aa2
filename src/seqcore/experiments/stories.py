"""``seqcore run stories``: fairy tales by bigrams of characters, written by SimpleRNN, RNN-CF, LSTM and GRU.

RNN-CF, the recurrent network with contextual features, is that of T. Mikolov, A. Joulin, S. Chopra, M. Mathieu,
M. Ranzato, Learning longer memory in recurrent neural networks (2014). Sizes, optimizer, clipping, initial weights and
the order of reading are those of the book.

B: rows read in parallel, T: tokens per window (the reach of the gradient), V: tokens of the vocabulary.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import random
from .._core import system
from ..callbacks import Callback, Logs
from ..datasets import Stories, builtin_stories, load_stories, load_text
from ..initializers import TruncatedNormal
from ..language_model.generation import generate
from ..layers import Dense, Embedding, SimpleRNN
from ..models import Sequential
from ..text.bptt import bptt_batches
from ..typing import Ids
from ._plots import COLORS, draw_curves
from ._run import Run, check_at_least, compile_classifier, data_folder, override, recurrent_layer

MODELS = {"rnn": "SimpleRNN", "rnn3": "3 SimpleRNN layers", "context": "RNN-CF", "lstm": "LSTM", "gru": "GRU"}
UNITS, ALPHA, CLIP, NOISE = 64, 0.9, 5.0, 0.01


@dataclass(frozen=True)
class Settings:
    """The training of the models; ``windows`` are the updates at each visit to a story."""

    batch_size: int
    learning_rate: float
    windows: int
    epochs: int


# quick: fewer rows and larger steps learn from a hundredth of the book's text.
SETTINGS = {
    "quick": Settings(batch_size=16, learning_rate=0.005, windows=25, epochs=8),
    "book": Settings(batch_size=64, learning_rate=0.001, windows=100, epochs=10),
}


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings of a preset with the options put over them; the book trains longer on 100 stories.

    >>> given = argparse.Namespace(preset="book", epochs=None, windows=None, text=None, stories=100)
    >>> settings_of(given).epochs
    50
    """
    settings = SETTINGS[arguments.preset]
    if arguments.preset == "book" and arguments.text is None and arguments.stories >= 100:
        settings = replace(settings, epochs=50)
    return override(settings, arguments, "epochs", "windows")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    parser.add_argument("--model", choices=("all", *MODELS), default="all", help="which model (default all)")
    parser.add_argument("--stories", type=int, default=20, metavar="N", help="the first N stories (default 20)")
    parser.add_argument("--text", metavar="FILE", help="any text in place of stories")
    parser.add_argument(
        "--unroll", type=int, default=50, metavar="T", help="tokens that the gradient reaches back (default 50)"
    )
    parser.add_argument(
        "--order",
        choices=("stories", "stream"),
        help="stories: an epoch visits some of them, one after the other, as the book's program does (default); "
        "stream: an epoch reads the whole text once (default for --text)",
    )
    parser.add_argument(
        "--windows", type=int, metavar="N", help="updates at each visit to a story (default: quick 25, book 100)"
    )


# --- data ------------------------------------------------------------------------------------------------------------


def load(arguments: argparse.Namespace) -> Stories:
    """The stories or the text that the options name.

    Raises:
        ValueError, OSError, ImportError: they are missing, damaged or cannot be fetched.
    """
    if arguments.text is not None:
        return load_text(arguments.text)
    folder = data_folder(arguments.data, "tinyshakespeare")
    if folder is None:
        return builtin_stories(arguments.stories)
    if arguments.data == "download":
        return load_text(folder / "input.txt")
    return load_stories(folder, arguments.stories)


class Visits:
    """An epoch of the book's program: 5 of 20 stories or 10 of 100, by chance, and ``windows`` updates on each.

    The B rows start at B places of the story, evenly spread, and read on from there; a row that reaches the end of the
    story continues at its beginning, and a later visit continues where the last one stopped. The state is zero at the
    start of a visit.
    """

    def __init__(
        self, model: Sequential, stories: Sequence[Ids], steps: int, windows: int, batch_size: int = 64
    ) -> None:
        self.model, self.stories, self.steps, self.windows = model, stories, steps, windows
        self.per_epoch = max(1, min(10, len(stories) // 4))
        self._places = [np.arange(batch_size) * (len(story) - 1) // batch_size for story in stories]

    def __len__(self) -> int:
        return self.per_epoch * self.windows

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        for number in random.generator().permutation(len(self.stories))[: self.per_epoch].tolist():
            story = self.stories[number]
            self.model.reset_states()
            for _ in range(self.windows):
                at = (self._places[number][:, None] + np.arange(self.steps)) % (len(story) - 1)
                self._places[number] = (self._places[number] + self.steps) % (len(story) - 1)
                yield story[at], story[at + 1]


class Stream:
    """An epoch over all stories, joined and cut into B rows; the state is zero at its start."""

    def __init__(self, model: Sequential, stories: Sequence[Ids], steps: int, batch_size: int = 64) -> None:
        self.model, self.batches = model, bptt_batches(np.concatenate(stories), batch_size, steps)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        self.model.reset_states()
        yield from self.batches


# --- models ----------------------------------------------------------------------------------------------------------


def build_model(name: str, vocabulary_size: int, learning_rate: float = 0.001) -> Sequential:
    """One of :data:`MODELS`, compiled: s_t, h_t and the logits of y_t as in the book, without biases.

    A one-hot x_t times a matrix is a row of that matrix, so A x_t (and B x_t, or the four products of an LSTM) is
    looked up: the joined matrices are the Embedding, and the first layer's own input kernel is the identity and
    stays it.
    """

    def small() -> TruncatedNormal:
        return TruncatedNormal(stddev=0.02)

    def options() -> dict[str, Any]:
        return {
            "use_bias": False,
            "kernel_initializer": small(),
            "recurrent_initializer": small(),
            "return_sequences": True,
            "stateful": True,
        }

    context = {"alpha": ALPHA, "context_initializer": small()} if name == "context" else {}
    first: Any = recurrent_layer(MODELS[name.rstrip("3")], UNITS, **context, **options())
    width = UNITS * {"context": 2, "lstm": 4, "gru": 3}.get(name, 1)
    deeper = [SimpleRNN(UNITS, **options()) for _ in range(2)] if name == "rnn3" else []
    model = Sequential(
        [
            Embedding(vocabulary_size, width, embeddings_initializer=small()),
            first,
            *deeper,
            Dense(vocabulary_size, use_bias=False, kernel_initializer=small()),
        ]
    )
    model.build((None, None))
    columns = np.eye(width, dtype=np.float32)
    kernels = [first.context_kernel, first.kernel] if name == "context" else [first.kernel]
    for kernel in kernels:
        columns, part = columns[:, kernel.shape[1] :], columns[:, : kernel.shape[1]]
        kernel.assign(np.ascontiguousarray(part))
        kernel.trainable = False
    compile_classifier(model, learning_rate, CLIP, metrics=())
    return model


# --- baselines -------------------------------------------------------------------------------------------------------


def unigram_perplexity(stories: Stories) -> float:
    """Validation perplexity of the frequencies of tokens, each seen once more than it was."""
    counts = np.bincount(np.concatenate(stories.train), minlength=stories.vocabulary.size) + 1.0
    return math.exp(-np.log(counts / counts.sum())[stories.valid[:, 1:]].mean())


def markov_perplexity(stories: Stories) -> float:
    """Validation perplexity of a model that knows one token back: pairs' counts, smoothed towards single ones.

    p(b | a) = (n(a, b) + k p(b)) / (n(a) + k), with the best k of a few on the validation text itself.
    """
    size = stories.vocabulary.size
    single = np.bincount(np.concatenate(stories.train), minlength=size) + 1.0
    single /= single.sum()
    pairs = np.zeros((size, size))
    for story in stories.train:
        np.add.at(pairs, (story[:-1], story[1:]), 1)
    before, after = stories.valid[:, :-1], stories.valid[:, 1:]
    seen, total = pairs[before, after], pairs.sum(axis=1)[before]
    costs = [-np.log((seen + k * single[after]) / (total + k)).mean() for k in (1, 3, 10, 30, 100, 300)]
    return math.exp(min(costs))


# --- the run ---------------------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """Train the models, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    check_at_least(1, stories=arguments.stories, unroll=arguments.unroll, windows=arguments.windows)
    order = arguments.order or ("stream" if arguments.text or arguments.data == "download" else "stories")
    if order == "stream" and arguments.windows is not None:
        raise ValueError("--windows: expected with --order stories, got it with stream")
    settings, steps, stories = settings_of(arguments), arguments.unroll, load(arguments)
    names = list(MODELS) if arguments.model == "all" else [arguments.model]
    run = Run(arguments, "stories", arguments.model, str(arguments.stories), f"unroll{steps}")
    run.start(stories.description)
    baselines = {"unigram": unigram_perplexity(stories), "markov": markov_perplexity(stories)}
    _introduce(run, stories, order, baselines)
    extra: dict[str, Any] = {"vocabulary": stories.vocabulary.to_dict(), "tokens": stories.tokenizer.to_dict()}
    # The first known tokens of the first story.
    prompt = stories.vocabulary.decode(stories.train[0][stories.train[0] != 0][:8])
    best: tuple[float, str, Sequential] | None = None
    tales: list[str] = []
    for name in names:
        random.set_seed(arguments.seed)
        model = build_model(name, stories.vocabulary.size, settings.learning_rate)
        batches: Visits | Stream
        if order == "stories":
            batches = Visits(model, stories.train, steps, settings.windows, settings.batch_size)
        else:
            batches = Stream(model, stories.train, steps, settings.batch_size)
        figures = _train(run, name, model, stories, batches, settings.epochs)
        prefix = f"{name}_" if len(names) > 1 else ""
        run.metrics |= {prefix + key: value for key, value in figures.items()}
        tales += _write_tales(name, model, stories, prompt, arguments.seed)
        if len(names) > 1:
            run.save_model(model, f"{name}.safetensors", network=name, **extra)
        if best is None or figures["valid_perplexity"] < best[0]:
            best = figures["valid_perplexity"], name, model
    assert best is not None
    run.save_model(best[2], network=best[1], **extra)
    run.write_text("tales.txt", "\n\n".join(tales))
    run.metrics |= {f"{key}_valid_perplexity": value for key, value in baselines.items()}
    _table(run, names)
    run.plot("perplexity.png", lambda figure: _draw(figure, run.history, names, baselines), 9, 4.5)
    text = stories.tokenizer.join(prompt).replace("\n", " ").lstrip()
    run.log(f"try: seqcore generate {run.folder} --prompt '{text}'")
    return run.finish(order=order, unroll=arguments.unroll, stories=len(stories.train), epochs=settings.epochs)


def _introduce(run: Run, stories: Stories, order: str, baselines: dict[str, float]) -> None:
    run.log(
        f"bigrams: {stories.tokens:,} to train on, {stories.valid.size:,} held back from {len(stories.valid)} ends; "
        f"vocabulary {stories.vocabulary.size:,}"
    )
    threads = system.get_num_threads()
    run.log(f"order: {order}; seed {run.arguments.seed}, {threads} thread{'s' * (threads > 1)}")
    run.log("valid perplexity of frequencies {unigram:.2f}, of pairs {markov:.2f}".format(**baselines))


class _Report(Callback):
    """A line per epoch, and a bar over all of them where the output is a terminal."""

    def __init__(self, run: Run, title: str, epochs: int) -> None:
        self.run, self.title, self.epochs = run, title, epochs
        self._done, self._begin = 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._done += 1
        total, seconds = self.epochs * self.params["steps"], time.perf_counter() - self._begin
        left = (total - self._done) * seconds / self._done
        self.run.progress.update(self._done, total, f"{self._done / seconds:,.0f} updates/s", left, title=self.title)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert logs is not None
        self.run.log(
            f"{self.title}: epoch {epoch + 1}/{self.epochs}  train perplexity {_exp(logs['loss']):.3f}  "
            f"valid perplexity {_exp(logs['val_loss']):.3f}"
        )


def _train(
    run: Run, name: str, model: Sequential, stories: Stories, batches: Visits | Stream, epochs: int
) -> dict[str, Any]:
    """Train; the figures of the training. The model is left as it was after the best epoch.

    ``valid_change_stddev`` is measured on the second half of the epochs, when the fall of the first ones is over.
    """
    rows = run.fit(
        model,
        batches,
        epochs=epochs,
        validation_data=(stories.valid[:, :-1], stories.valid[:, 1:]),
        validation_batch_size=len(stories.valid),
        monitor="val_loss",
        callbacks=[_Report(run, MODELS[name], epochs)],
        verbose=0,
    )
    for row in rows:
        row |= {"model": name, "train_perplexity": _exp(row["loss"]), "valid_perplexity": _exp(row["val_loss"])}
        del row["loss"], row["val_loss"]
    valid = [row["valid_perplexity"] for row in rows]
    best = int(np.argmin(valid))
    late = valid[len(valid) // 2 :] if len(valid) > 3 else valid
    return {
        "valid_perplexity": valid[best],
        "best_epoch": best + 1,
        "last_valid_perplexity": valid[-1],
        "train_perplexity": rows[-1]["train_perplexity"],
        "valid_change_stddev": float(np.std(np.diff(late))) if len(late) > 1 else math.nan,
        "parameters": sum(weight.size for weight in model.trainable_weights),
        "seconds_per_epoch": run.metrics["seconds_per_epoch"],
    }


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _write_tales(name: str, model: Sequential, stories: Stories, prompt: list[str], seed: int) -> list[str]:
    """Tales that start with the same words: the likeliest token each time as in the book, drawn ones, beam search.

    The state starts from small noise, so that texts differ.
    """
    vocabulary = stories.vocabulary
    methods: dict[str, tuple[int, dict[str, Any]]] = {
        "the likeliest bigram each time": (150, {"method": "greedy"}),
        "drawn": (300, {"method": "sample"}),
        "drawn at temperature 0.7": (300, {"method": "sample", "temperature": 0.7}),
        "beam search of width 5": (150, {"method": "beam", "beam_width": 5}),
    }
    tales = []
    for title, (length, options) in methods.items():
        exclude = [] if vocabulary.unknown is None else [vocabulary.unknown]
        tokens = generate(model, vocabulary, prompt, length, noise=NOISE, seed=seed, exclude=exclude, **options)
        tales.append(f"--- {MODELS[name]}, {title} ---\n{stories.tokenizer.join([*prompt, *tokens])}")
    return tales


def _table(run: Run, names: Sequence[str]) -> None:
    run.log(f"{'':<20}{'train':>10}{'best valid':>12}{'last valid':>12}{'change':>10}")
    for name in names:
        prefix = f"{name}_" if len(names) > 1 else ""
        keys = ("train_perplexity", "valid_perplexity", "last_valid_perplexity", "valid_change_stddev")
        a, b, c, d = (run.metrics[prefix + key] for key in keys)
        run.log(f"{MODELS[name]:<20}{a:>10.2f}{b:>12.2f}{c:>12.2f}{d:>10.2f}")
    run.log("change: standard deviation of its changes from epoch to epoch, second half of the epochs")


def _draw(figure: Any, history: list[dict[str, Any]], names: Sequence[str], baselines: dict[str, float]) -> None:
    """Perplexity by epoch of all models: of the training text, and of the text held back."""
    for axes, title in zip(figure.subplots(1, 2, sharey=True), ("training", "validation"), strict=True):
        curves = {}
        for name in names:
            rows = [row for row in history if row["model"] == name]
            values = [row[f"{title[:5]}_perplexity"] for row in rows]
            style = "o-" if len(rows) < 16 else "-"
            curves[MODELS[name]] = [row["epoch"] for row in rows], values, style, COLORS[MODELS[name]]
        levels = {"pairs of bigrams, counted": baselines["markov"]} if title == "validation" else {}
        draw_curves(axes, curves, levels, title=title, xlabel="epoch", ylabel="perplexity per bigram", yscale="log")
