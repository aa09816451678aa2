"""``seqcore run stories``: fairy tales by bigrams of characters, written by SimpleRNN, RNN-CF, LSTM and GRU.

RNN-CF, the recurrent network with contextual features, is that of T. Mikolov, A. Joulin, S. Chopra, M. Mathieu,
M. Ranzato, Learning longer memory in recurrent neural networks (2014). Sizes, optimizer, clipping, initial weights and
the order of reading are those of the book.

B: rows read in parallel, T: tokens per window (the reach of the gradient), V: tokens of the vocabulary.
"""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .. import Model, Sequential, get_num_threads, random
from ..callbacks import Callback, Logs, ResetStates
from ..datasets import Stories, builtin_stories, load_stories, load_text
from ..initializers import TruncatedNormal
from ..language_model.generation import generate
from ..layers import Dense, Embedding, SimpleRNN
from ..text.bptt import bptt_batches
from ..typing import Ids
from ._plots import COLORS, by_epoch, draw_curves, legend_below
from ._run import Run, choice, compile_classifier, data_folder, number, option, override, recurrent_layer

MODELS = {"rnn": "SimpleRNN", "rnn3": "3 SimpleRNN layers", "context": "RNN-CF", "lstm": "LSTM", "gru": "GRU"}
# Several models by one word: the pair that the book compares.
_GROUPS = {"all": tuple(MODELS), "pair": ("rnn", "context")}
ALPHA, CLIP, NOISE = 0.9, 5.0, 0.01


@dataclass(frozen=True)
class Settings:
    """The training of the models; ``windows`` are the updates at each visit to a story."""

    batch_size: int
    learning_rate: float
    windows: int
    epochs: int
    units: int = 64


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
    return override(settings, arguments)


OPTIONS = (
    choice("--model", (*_GROUPS, *MODELS), "which model; pair: SimpleRNN and RNN-CF", "all"),
    number("--stories", "the first N stories", 20),
    option("--text", "any text in place of stories", metavar="FILE"),
    number("--unroll", "tokens that the gradient reaches back", 50, metavar="T"),
    choice(
        "--order",
        ("stories", "stream"),
        "visits to some stories in turn (default), or all text in one stream (with --text)",
    ),
    number("--windows", "updates at each visit to a story (default: quick 25, book 100)"),
    number("--batch-size", "rows read in parallel (default: quick 16, book 64)", metavar="B"),
    number("--units", "of each layer, and of the context (default 64)"),
    option("--learn-alpha", "RNN-CF learns its alpha, from 0.9 on", action="store_true"),
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

    def __init__(self, model: Model, stories: Sequence[Ids], steps: int, windows: int, batch_size: int = 64) -> None:
        self.model, self.stories, self.steps, self.windows = model, stories, steps, windows
        self.per_epoch = max(1, min(10, len(stories) // 4))
        self._places = [np.arange(batch_size) * (len(story) - 1) // batch_size for story in stories]

    def __len__(self) -> int:
        return self.per_epoch * self.windows

    def __iter__(self) -> Iterator[tuple[Ids, Ids]]:
        for chosen in random.generator().permutation(len(self.stories))[: self.per_epoch].tolist():
            story = self.stories[chosen]
            self.model.reset_states()
            for _ in range(self.windows):
                at = (self._places[chosen][:, None] + np.arange(self.steps)) % (len(story) - 1)
                self._places[chosen] = (self._places[chosen] + self.steps) % (len(story) - 1)
                yield story[at], story[at + 1]


# --- models ----------------------------------------------------------------------------------------------------------


def build_model(
    name: str, vocabulary_size: int, learning_rate: float = 0.001, units: int = 64, learn_alpha: bool = False
) -> Sequential:
    """One of :data:`MODELS`, compiled: s_t, h_t and the logits of y_t as in the book, without biases.

    A one-hot x_t times a matrix is a row of that matrix, so A x_t (and B x_t, or the four products of an LSTM) is
    looked up: the joined matrices are the Embedding, and the first layer's own input kernel is the identity and
    stays it.
    """

    def small(*weights: str) -> dict[str, Any]:
        return {f"{weight}_initializer": TruncatedNormal(stddev=0.02) for weight in weights}

    options: dict[str, Any] = {"use_bias": False, "return_sequences": True, "stateful": True}
    context = {"alpha": ALPHA, "learn_alpha": learn_alpha, **small("context")} if name == "context" else {}
    first: Any = recurrent_layer(MODELS[name.rstrip("3")], units, **context, **options, **small("kernel", "recurrent"))
    width = units * {"context": 2, "lstm": 4, "gru": 3}.get(name, 1)
    deeper = [SimpleRNN(units, **options, **small("kernel", "recurrent")) for _ in range(2)] if name == "rnn3" else []
    table = Embedding(vocabulary_size, width, **small("embeddings"))
    model = Sequential([table, first, *deeper, Dense(vocabulary_size, use_bias=False, **small("kernel"))])
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
    return math.exp(-np.log(_frequencies(stories))[stories.valid[:, 1:]].mean())


def _frequencies(stories: Stories) -> Any:
    counts = np.bincount(np.concatenate(stories.train), minlength=stories.vocabulary.size) + 1.0
    return counts / counts.sum()


def markov_perplexity(stories: Stories) -> float:
    """Validation perplexity of a model that knows one token back: pairs' counts, smoothed towards single ones.

    p(b | a) = (n(a, b) + k p(b)) / (n(a) + k), with the best k of a few on the validation text itself.
    """
    size, single = stories.vocabulary.size, _frequencies(stories)
    pairs = np.zeros((size, size))
    for story in stories.train:
        np.add.at(pairs, (story[:-1], story[1:]), 1)
    before, after = stories.valid[:, :-1], stories.valid[:, 1:]
    seen, total = pairs[before, after], pairs.sum(axis=1)[before]
    costs = [-np.log((seen + k * single[after]) / (total + k)).mean() for k in (1, 3, 10, 30, 100, 300)]
    return math.exp(min(costs))


# --- the run ---------------------------------------------------------------------------------------------------------


def main(run: Run) -> int:
    """Train the models, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    order = arguments.order or ("stream" if arguments.text or arguments.data == "download" else "stories")
    if order == "stream" and arguments.windows is not None:
        raise ValueError("--windows: expected with --order stories, got it with stream")
    settings, steps, stories = settings_of(arguments), arguments.unroll, load(arguments)
    names = list(_GROUPS.get(arguments.model, [arguments.model]))
    if arguments.learn_alpha and "context" not in names:
        raise ValueError(f"--learn-alpha: expected --model context, pair or all, got {arguments.model}")
    run.start(stories.description, arguments.model, str(arguments.stories), f"unroll{steps}")
    baselines = {"unigram": unigram_perplexity(stories), "markov": markov_perplexity(stories)}
    _introduce(run, stories, order, baselines)
    _show_windows(run, stories, min(steps, 5))
    extra: dict[str, Any] = {"vocabulary": stories.vocabulary.to_dict(), "tokens": stories.tokenizer.to_dict()}
    # The first known tokens of the first story.
    prompt = stories.vocabulary.decode(stories.train[0][stories.train[0] != 0][:8])
    models: dict[str, Sequential] = {}
    tales: list[str] = []
    told = "\0".join(stories.tokenizer.join(stories.vocabulary.decode(story)) for story in stories.train)
    for name in names:
        random.set_seed(arguments.seed)
        models[name] = model = build_model(
            name, stories.vocabulary.size, settings.learning_rate, settings.units, bool(arguments.learn_alpha)
        )
        if order == "stories":
            batches: Any = Visits(model, stories.train, steps, settings.windows, settings.batch_size)
        else:
            batches = bptt_batches(np.concatenate(stories.train), settings.batch_size, steps)
        figures = _fit(run, name, model, stories, batches, settings)
        run.metrics |= {_prefix(name, names) + key: value for key, value in figures.items()}
        if name == "context" and arguments.learn_alpha:
            recurrent: Any = model.layers[1]
            run.metrics["alpha"] = recurrent.current_alpha
            run.log(f"alpha of {MODELS[name]}: {ALPHA} at first, {run.metrics['alpha']:.4f} learned")
        written = _write_tales(model, stories, prompt, arguments.seed)
        tales += [f"--- {MODELS[name]}, {title} ---\n{tale}" for title, tale in written.items()]
        likeliest = next(iter(written.values()))
        run.metrics[_prefix(name, names) + "distinct_words"] = distinct_words(likeliest)
        run.metrics[_prefix(name, names) + "copied_characters"] = longest_copy(likeliest, told)
        if len(names) > 1:
            run.save_model(model, f"{name}.safetensors", network=name, **extra)
    best = min(names, key=lambda name: float(run.metrics[_prefix(name, names) + "valid_perplexity"]))
    run.save_model(models[best], network=best, **extra)
    run.write_text("tales.txt", "\n\n".join(tales))
    run.metrics |= {f"{key}_valid_perplexity": value for key, value in baselines.items()}
    _table(run, names)
    run.plot("perplexity.png", lambda figure: _draw(figure, run.history, names, baselines), 9, 5)
    text = stories.tokenizer.join(prompt).replace("\n", " ").lstrip()
    run.log(f"try: seqcore generate {shlex.quote(str(run.folder))} --prompt {shlex.quote(text)}")
    return run.finish(order=order, unroll=steps, stories=len(stories.train), **asdict(settings))


def _prefix(name: str, names: Sequence[str]) -> str:
    """Beginning of the names of a model's metrics."""
    return f"{name}_" if len(names) > 1 else ""


def _introduce(run: Run, stories: Stories, order: str, baselines: dict[str, float]) -> None:
    run.log(
        f"bigrams: {stories.tokens:,} to train on, {stories.valid.size:,} held back from {len(stories.valid)} ends; "
        f"vocabulary {stories.vocabulary.size:,}"
    )
    threads = get_num_threads()
    run.log(f"order: {order}; seed {run.arguments.seed}, {threads} thread{'s' * (threads > 1)}")
    run.log("valid perplexity of frequencies {unigram:.2f}, of pairs {markov:.2f}".format(**baselines))


def _show_windows(run: Run, stories: Stories, steps: int) -> None:
    """Print the first three windows of a story with their targets, which are one token ahead, as the book does."""
    tokens = [repr(token) for token in stories.vocabulary.decode(stories.train[0][: 3 * steps + 1])]
    for start in range(0, len(tokens) - steps, steps):
        inputs, targets = tokens[start : start + steps], tokens[start + 1 : start + 1 + steps]
        run.log(f"window of {steps}: {' '.join(inputs)} -> {' '.join(targets)}")


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


def _fit(run: Run, name: str, model: Sequential, stories: Stories, batches: Any, settings: Settings) -> dict[str, Any]:
    """Train; the figures of the training. The model is left as it was after the best epoch.

    ``valid_change_stddev`` is measured on the second half of the epochs, when the fall of the first ones is over.
    """
    held, report = (stories.valid[:, :-1], stories.valid[:, 1:]), _Report(run, MODELS[name], settings.epochs)
    options: dict[str, Any] = {"validation_batch_size": len(stories.valid), "verbose": 0}
    rows = run.fit(
        model, settings, batches, held, "val_loss", [ResetStates(), report], labels={"model": name}, **options
    )
    for row in rows:
        row |= {"train_perplexity": _exp(row.pop("loss")), "valid_perplexity": _exp(row.pop("val_loss"))}
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


def distinct_words(tale: str) -> float:
    """Share of the words of a tale that are not repetitions.

    >>> distinct_words("the king and the king")
    0.6
    """
    words = tale.split()
    return len(set(words)) / len(words)


def longest_copy(tale: str, text: str) -> int:
    """Length of the longest passage of a tale that is in a text.

    >>> longest_copy("a big cat", "the big dog")
    5
    """
    longest = 0
    for start in range(len(tale)):
        while start + longest < len(tale) and tale[start : start + longest + 1] in text:
            longest += 1
    return longest


def _write_tales(model: Sequential, stories: Stories, prompt: list[str], seed: int) -> dict[str, str]:
    """Tales that start with the same words: the likeliest token each time as in the book, drawn ones, beam search.

    The state starts from the book's noise, which is too small to change the likeliest tale.
    """
    vocabulary = stories.vocabulary
    methods: dict[str, dict[str, Any]] = {
        "the likeliest bigram each time": {"length": 150, "method": "greedy"},
        "drawn": {"length": 300, "method": "sample"},
        "drawn at temperature 0.7": {"length": 300, "method": "sample", "temperature": 0.7},
        "beam search of width 5": {"length": 150, "method": "beam", "beam_width": 5},
    }
    exclude = [] if vocabulary.unknown is None else [vocabulary.unknown]
    same: dict[str, Any] = {"noise": NOISE, "seed": seed, "exclude": exclude}
    tales = {}
    for title, options in methods.items():
        tokens = generate(model, vocabulary, prompt, **options, **same)
        tales[title] = stories.tokenizer.join([*prompt, *tokens])
    return tales


def _table(run: Run, names: Sequence[str]) -> None:
    run.log(f"{'':<20}{'train':>10}{'best valid':>12}{'last valid':>12}{'change':>10}{'distinct':>10}{'copied':>8}")
    for name in names:
        keys = ("train_perplexity", "valid_perplexity", "last_valid_perplexity", "valid_change_stddev")
        a, b, c, d = (run.metrics[_prefix(name, names) + key] for key in keys)
        distinct, copied = (run.metrics[_prefix(name, names) + key] for key in ("distinct_words", "copied_characters"))
        run.log(f"{MODELS[name]:<20}{a:>10.2f}{b:>12.2f}{c:>12.2f}{d:>10.2f}{distinct:>10.0%}{copied:>8}")
    run.log("change: standard deviation of its changes from epoch to epoch, second half of the epochs")
    run.log("distinct, copied: words of the likeliest tale, characters of its longest passage from a training tale")


def _draw(figure: Any, history: list[dict[str, Any]], names: Sequence[str], baselines: dict[str, float]) -> None:
    """Perplexity by epoch of all models: of the training text, and of the text held back."""
    labels: dict[str, Any] = {"xlabel": "epoch", "ylabel": "perplexity per bigram", "yscale": "log"}
    for axes, title in zip(figure.subplots(1, 2, sharey=True), ("training", "validation"), strict=True):
        curves = {}
        for name in names:
            rows = [row for row in history if row["model"] == name]
            style = "o-" if len(rows) < 16 else "-"
            curves[MODELS[name]] = by_epoch(rows, f"{title[:5]}_perplexity", style, COLORS[MODELS[name]])
        levels = {"pairs of bigrams, counted": baselines["markov"]} if title == "validation" else {}
        draw_curves(axes, curves, levels, legend=False, title=title, **labels)
    legend_below(axes, 3)
