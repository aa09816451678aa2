"""``seqcore run word2vec``: word vectors, as the book trains them and as the estimator does.

``--preset book`` is the skip-gram of the TensorFlow books (noise-contrastive estimation, plain SGD), step by step under
a tape; ``--preset quick`` trains :class:`seqcore.Word2Vec` on the same text. The built-in text holds relations that are
known (:mod:`seqcore.datasets.relations`), so its runs end with the share of analogy questions answered right.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .. import initializers, layers, ops, optimizers, random, saving
from .._core import system
from ..autograd.tape import GradientTape
from ..autograd.tensor import Tensor, Variable
from ..datasets import relations
from ..ops.sampled_losses import nce_loss
from ..text import iterate_words
from ..text.vocabulary import Vocabulary
from ..typing import Floats, Ids
from ..word_vectors import word2vec as estimator
from ..word_vectors.corpus import LONGEST
from ..word_vectors.evaluation import Questions, read_questions
from ..word_vectors.keyed_vectors import KeyedVectors
from ..word_vectors.window_batches import WindowBatches, cbow_batches, skipgram_batches
from ..word_vectors.word2vec import Word2Vec
from ._plots import new_figure, save_figure
from ._run import Progress, open_folder, record, write_results

UNKNOWN = "UNK"
VECTORS = "vectors.safetensors"
# Where a folder may have its text, the first that exists.
_TEXTS = ("wiki/enwiki2015-100m.txt.gz", "wiki/enwiki2015-100m.txt", "text8", "text8.gz")
_QUESTIONS = "questions-words.txt"
_BUILTIN_WORDS = {"quick": 300_000, "book": 1_000_000}
_RESTRICT = 30_000  # analogies among the most frequent words, as word2vec's own script asks them


@dataclass(frozen=True)
class Settings:
    """The book's program; the names are the book's."""

    vocabulary_size: int = 50_000
    embedding_size: int = 128
    skip_window: int = 1
    num_skips: int = 2
    batch_size: int = 128
    num_sampled: int = 64
    learning_rate: float = 1.0
    steps: int = 100_000
    report_steps: int = 2_000
    nearest_steps: int = 10_000
    valid_size: int = 16
    valid_window: int = 100
    top_k: int = 8


BOOK = Settings()


@dataclass(frozen=True)
class Source:
    """A text, read anew for each pass, and what its vectors are tested with."""

    name: str
    description: str
    path: Path | None
    sentences: list[list[str]]
    questions: Questions | None
    pairs: tuple[Path, ...]

    def pieces(self) -> Iterator[list[str]]:
        """The words in order, in lists of any length."""
        return iter(self.sentences) if self.path is None else iterate_words(self.path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this experiment beside the common ones."""
    parser.add_argument(
        "--architecture", choices=("skipgram", "cbow"), default="skipgram", help="what predicts what (default skipgram)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="batches of the book's program (default 100,000)")
    parser.add_argument(
        "--plot-words", type=int, default=100, metavar="N", help="most frequent words in the picture (default 100)"
    )


def load_source(data: str, preset: str, seed: int) -> Source:
    """The text that ``--data`` names.

    Raises:
        ValueError: there is none.
    """
    if data == "builtin":
        words = _BUILTIN_WORDS[preset]
        text, questions = relations.sentences(words, seed), relations.questions()
        asked = sum(map(len, questions.values()))
        description = f"built-in sentences with known relations, {words:,} words, {asked} analogy questions"
        return Source("relations", description, None, text, questions, ())
    place = Path(data)
    tests = place / "wordsim"
    if place.is_dir():
        found = [place / name for name in _TEXTS if (place / name).is_file()]
        if not found:
            raise ValueError(f"--data: expected {', '.join(_TEXTS)} in folder {data!r}, got none of them")
        place = found[0]
    elif not place.is_file():
        raise ValueError(f"--data: expected builtin, a folder or a text file, got {data!r}")
    asked_file = tests / _QUESTIONS
    questions_of_file = read_questions(asked_file) if asked_file.is_file() else None
    pairs = tuple(sorted(path for path in tests.glob("*.t[xs][tv]") if path.name != _QUESTIONS))
    return Source(place.name.split(".")[0], f"text from {place}", place, [], questions_of_file, pairs)


def build_dataset(source: Source, size: int) -> tuple[Vocabulary, Ids]:
    """The ``size`` most frequent words, with ``UNK`` as number 0 for the others if there are more, and the text.

    The text is read once: words get numbers as they come, which are then exchanged for their ranks.
    """
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    pieces = [np.fromiter(map(numbers.__getitem__, piece), np.int32, len(piece)) for piece in source.pieces()]
    if not pieces:
        raise ValueError(f"--data: expected a text with words, got an empty one ({source.description})")
    first, seen = np.concatenate(pieces), list(numbers)
    counts = np.bincount(first, minlength=len(seen))
    order = sorted(range(len(seen)), key=lambda number: (-int(counts[number]), seen[number]))
    if len(seen) <= size:
        ranks = np.empty(len(seen), np.int32)
        ranks[order] = np.arange(len(seen))
        return Vocabulary((seen[i] for i in order), counts=counts[order]), ranks[first]
    kept = [i for i in order if seen[i] != UNKNOWN][: size - 1]
    ranks = np.zeros(len(seen), np.int32)
    ranks[kept] = np.arange(1, size)
    others = int(len(first) - counts[kept].sum())
    vocabulary = Vocabulary([UNKNOWN, *(seen[i] for i in kept)], UNKNOWN, [others, *counts[kept].tolist()])
    return vocabulary, ranks[first]


def run(arguments: argparse.Namespace) -> int:
    """Trains, tests and writes the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with one line that says what to do.
    """
    for name, value in (("steps", arguments.steps), ("plot-words", arguments.plot_words)):
        if value is not None and value < 2:
            raise ValueError(f"--{name}: expected an integer >= 2, got {value}")
    if arguments.steps is not None and (arguments.preset != "book" or arguments.epochs is not None):
        raise ValueError("--steps: expected --preset book and no --epochs, got another combination")
    source = load_source(arguments.data, arguments.preset, arguments.seed)
    name = f"word2vec-{arguments.architecture}-{arguments.preset}-{source.name}-seed{arguments.seed}"
    folder = open_folder(arguments.out or Path("runs") / name)
    return _Run(arguments, source, folder).run()


class SkipGram:
    """The book's model: an embedding, and the weights and biases of its noise-contrastive loss.

    Args:
        words: V, ids in the order of falling frequency, which the log-uniform noise supposes.
        settings: sizes and learning rate.
    """

    def __init__(self, words: int, settings: Settings) -> None:
        size = settings.embedding_size
        self.settings, self.words = settings, words
        self.samples = min(settings.num_sampled, words)
        self.embedding = layers.Embedding(words, size, embeddings_initializer=initializers.RandomUniform(-1.0, 1.0))
        self.embedding.build(None)
        spread = initializers.TruncatedNormal(stddev=1 / math.sqrt(size))
        self.weights = Variable(spread((words, size)), name="nce_weights")
        self.biases = Variable(np.zeros(words, np.float32), name="nce_biases")
        self.variables = [self.embedding.embeddings, self.weights, self.biases]
        self.optimizer = optimizers.SGD(settings.learning_rate)

    def loss(self, inputs: Ids, labels: Ids) -> Tensor:
        """The mean loss of centres (B,), or of contexts (B, 2w) whose vectors are averaged, and labels (B, 1)."""
        hidden = self.embedding(inputs)
        if inputs.ndim == 2:
            hidden = ops.reduce_mean(hidden, axis=1)
        return ops.reduce_mean(nce_loss(self.weights, self.biases, labels, hidden, self.samples, self.words))

    def step(self, inputs: Ids, labels: Ids) -> float:
        """One step of SGD; the loss before it."""
        with GradientTape() as tape:
            loss = self.loss(inputs, labels)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self.variables), self.variables))
        return float(loss._array)

    def vectors(self) -> Floats:
        """(V, D) a copy of the embedding."""
        return self.embedding.embeddings.numpy()


class _Run:
    """One run: what is trained, printed and saved."""

    def __init__(self, arguments: argparse.Namespace, source: Source, folder: Path) -> None:
        self.arguments, self.source, self.folder = arguments, source, folder
        self.progress, self.begin = Progress(), time.perf_counter()
        self.history: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.neighbours: list[str] = []
        random.set_seed(arguments.seed)

    def run(self) -> int:
        say = self.progress.line
        say(f"data: {self.source.description}")
        say(f"results: {self.folder}")
        (self.folder / "metrics.json").unlink(missing_ok=True)
        kv = self._book() if self.arguments.preset == "book" else self._estimator()
        kv.save(self.folder / VECTORS)
        if not self.neighbours:
            self._show_nearest(kv, self._valid_words(kv), "")
        saving.atomic_write(self.folder / "nearest.txt", ["\n".join(self.neighbours).encode(), b"\n"])
        self._test(kv)
        self._plot_losses()
        self._plot_words(kv)
        results = record(self.arguments, "word2vec", self.metrics, self.history, time.perf_counter() - self.begin)
        results["architecture"] = self.arguments.architecture
        write_results(self.arguments, self.folder, results)
        say(f"{results['seconds']:.1f} s in all")
        return 0

    # --- the book's program ---

    def _book(self) -> KeyedVectors:
        settings, arguments = BOOK, self.arguments
        vocabulary, ids = build_dataset(self.source, settings.vocabulary_size)
        if arguments.architecture == "skipgram":
            sizes = settings.batch_size, settings.num_skips, settings.skip_window
            batches = skipgram_batches(ids, *sizes, seed=arguments.seed)
            centres = settings.batch_size // settings.num_skips
        else:
            batches = cbow_batches(ids, settings.batch_size, settings.skip_window)
            centres = settings.batch_size
        steps = arguments.steps or settings.steps
        if arguments.epochs is not None:
            steps = max(1, arguments.epochs * len(ids) // centres)
        model = SkipGram(vocabulary.size, settings)
        self.progress.line(
            f"{len(ids):,} words, vocabulary {vocabulary.size:,}; {arguments.architecture} of "
            f"{settings.embedding_size} dimensions, {steps:,} steps of {settings.batch_size}, "
            f"{model.samples} noise words"
        )
        seconds = self._train(model, batches, steps, vocabulary)
        self.metrics = {
            "average_loss": self.history[-1]["average_loss"],
            "steps": steps,
            "steps_per_second": steps / seconds,
            "words_per_second": steps * centres / seconds,
            "training_seconds": seconds,
            "vocabulary_size": vocabulary.size,
        }
        return KeyedVectors(model.vectors(), vocabulary.words, vocabulary.counts)

    def _train(self, model: SkipGram, batches: WindowBatches, steps: int, vocabulary: Vocabulary) -> float:
        """Seconds of the training loop, without those for showing neighbours."""
        settings, say = model.settings, self.progress.line
        valid: list[str] = []
        total, counted, begin, shown = 0.0, 0, time.perf_counter(), 0.0
        for step in range(1, steps + 1):
            total += model.step(*next(batches))
            counted += 1
            if step % settings.report_steps == 0 or step == steps:
                spent = time.perf_counter() - begin - shown
                average, total, counted = total / counted, 0.0, 0
                if not math.isfinite(average):
                    raise FloatingPointError(f"the loss became {average} before step {step:,}")
                self.history.append({"step": step, "average_loss": average, "seconds": spent})
                say(f"step {step:,}: average loss {average:.4f}, {step / spent:,.0f} steps/s")
            if step % settings.nearest_steps == 0 or step == steps:
                pause = time.perf_counter()
                kv = KeyedVectors(model.vectors(), vocabulary.words, vocabulary.counts)
                valid = valid or self._valid_words(kv)
                self._show_nearest(kv, valid, f"step {step:,}")
                shown += time.perf_counter() - pause
            if step % 64 == 0:
                rate = step / (time.perf_counter() - begin - shown)
                self.progress.update(step, steps, f"{rate:,.0f} steps/s", (steps - step) / rate)
        return time.perf_counter() - begin - shown

    # --- the estimator ---

    def _estimator(self) -> KeyedVectors:
        builtin = self.source.path is None
        model = Word2Vec(
            vector_size=64 if builtin else 100,
            window=5,
            min_count=5,
            sample=1e-3 if builtin else 1e-4,
            sg=int(self.arguments.architecture == "skipgram"),
            negative=5,
            epochs=self.arguments.epochs or 5,
            workers=system.get_num_threads(),
            seed=self.arguments.seed,
        )
        begin = time.perf_counter()
        corpus = model.build_vocab(_Sentences(self.source))
        seconds = time.perf_counter() - begin
        self.progress.line(
            f"{model.corpus_total_words:,} words, vocabulary {len(model.words):,}, in {seconds:.1f} s; "
            f"{self.arguments.architecture} of {model.vector_size} dimensions, {model.epochs} epochs"
        )
        begin = time.perf_counter()
        model.train(corpus, on_progress=self._show_progress)
        seconds = time.perf_counter() - begin
        self.history = model.history
        self.metrics = {
            "loss": model.history[-1]["loss"],
            "words_per_second": model.corpus_total_words * model.epochs / seconds,
            "training_seconds": seconds,
            "vocabulary_size": len(model.words),
            "epochs": model.epochs,
        }
        return model.wv

    def _show_progress(self, now: estimator.Progress) -> None:
        if now.share >= 1:
            self.progress.line(
                f"epoch {now.epoch + 1}/{now.epochs}  loss {now.loss:.4f}  {now.words_per_second:,.0f} words/s"
            )
        else:
            self.progress.update(
                int(1000 * (now.epoch + now.share)),
                1000 * now.epochs,
                f"loss {now.loss:.4f}  {now.words_per_second:,.0f} words/s",
                now.seconds_left,
            )

    # --- what all runs end with ---

    def _valid_words(self, kv: KeyedVectors) -> list[str]:
        """Some of the most frequent words, drawn by the seed."""
        window = min(BOOK.valid_window, len(kv))
        generator = np.random.Generator(np.random.Philox(self.arguments.seed))
        rows = generator.choice(window, min(BOOK.valid_size, window), replace=False)
        return [kv.index_to_key[row] for row in rows]

    def _show_nearest(self, kv: KeyedVectors, words: list[str], title: str) -> None:
        self.neighbours += [title] if title else []
        found = kv.nearest_rows(kv.unit_vectors([kv.get_index(word) for word in words]), BOOK.top_k + 1)[0]
        for word, rows in zip(words, found.tolist()):
            near = [kv.index_to_key[row] for row in rows if kv.index_to_key[row] != word][: BOOK.top_k]
            self.neighbours.append(f"nearest to {word}: {', '.join(near)}")
            self.progress.line(self.neighbours[-1])

    def _test(self, kv: KeyedVectors) -> None:
        say = self.progress.line
        if self.source.questions is not None:
            restrict = None if self.source.path is None else _RESTRICT
            score, sections = kv.evaluate_word_analogies(self.source.questions, restrict)
            total = sections.pop()
            asked = len(total["correct"]) + len(total["incorrect"])
            self.metrics |= {"analogy_accuracy": score, "analogy_questions": asked}
            self.metrics["analogy_sections"] = {
                one["section"]: len(one["correct"]) / max(1, len(one["correct"]) + len(one["incorrect"]))
                for one in sections
            }
            known = sum(map(len, self.source.questions.values()))
            say(f"analogy accuracy {score:.4f} ({len(total['correct'])} of {asked} questions, {known} in all)")
        for path in self.source.pairs:
            try:
                _, (spearman, _), unknown = kv.evaluate_word_pairs(path)
            except ValueError as error:
                say(f"note: {error}")
                continue
            name = path.stem.lower().replace("-", "_")
            self.metrics[f"{name}_spearman"] = spearman
            say(f"{path.name}: Spearman's correlation {spearman:.4f}, {unknown:.1f} % of the pairs with unknown words")

    def _plot_losses(self) -> None:
        if not self.history:
            return
        try:
            figure = new_figure(7, 4.5)
        except ImportError:
            self.progress.line("note: no pictures without matplotlib (pip install 'seqcore[experiments]')")
            return
        axes = figure.add_subplot()
        x, y = ("step", "average_loss") if "step" in self.history[0] else ("epoch", "loss")
        axes.plot([one[x] for one in self.history], [one[y] for one in self.history], color="#4477aa")
        axes.set(xlabel=x, ylabel="average loss", title=f"{self.arguments.architecture} on {self.source.name}")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        save_figure(figure, self.folder / "loss.png")

    def _plot_words(self, kv: KeyedVectors) -> None:
        shown = min(self.arguments.plot_words, len(kv))
        if shown < 2:
            return
        try:
            figure = new_figure(12, 12)
        except ImportError:
            return
        axes = figure.add_subplot()
        points, method = flatten(kv.unit_vectors(np.arange(shown)), self.arguments.seed)
        if method == "PCA":
            self.progress.line("note: PCA instead of t-SNE without scikit-learn (pip install 'seqcore[experiments]')")
        axes.scatter(points[:, 0], points[:, 1], s=12, color="#4477aa")
        for word, point in zip(kv.index_to_key, points):
            axes.annotate(word, point, xytext=(4, 2), textcoords="offset points", fontsize=9)
        axes.set_title(f"{method} of the {shown} most frequent words of {self.source.name}")
        axes.set_axis_off()
        save_figure(figure, self.folder / "words.png")
        self.progress.line(f"picture: {self.folder / 'words.png'}")


class _Sentences:
    """The text for the estimator, which reads it several times: sentences, or pieces of a long stream."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Iterator[list[str]]:
        for piece in self.source.pieces():
            for start in range(0, len(piece), LONGEST):
                yield piece[start : start + LONGEST]


def flatten(vectors: Any, seed: int) -> tuple[Any, str]:
    """Points (N, 2) for vectors (N, D), N >= 2, and the method: t-SNE as in the book, PCA without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        centred = vectors - vectors.mean(axis=0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        return (u[:, :2] * s[:2]) if len(s) > 1 else np.column_stack([u * s, np.zeros(len(u))]), "PCA"
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # The exact method takes half a second for 100 words; the other one's threads stall where cores are shared.
    way = "exact" if len(vectors) <= 500 else "barnes_hut"
    tsne = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed, method=way)
    return tsne.fit_transform(vectors), "t-SNE"
