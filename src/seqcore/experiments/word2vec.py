"""``seqcore run word2vec``: word vectors, as the book trains them and as the estimator does.

``--preset book`` is the skip-gram of the TensorFlow books (noise-contrastive estimation, plain SGD), step by step under
a tape; ``--preset quick`` trains :class:`seqcore.Word2Vec` on the same text. The built-in text holds relations that are
known (:mod:`seqcore.datasets.relations`), so its runs end with the share of analogy questions answered right.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from .. import GradientTape, Tensor, Variable, get_num_threads, initializers, layers, ops, optimizers
from ..datasets import download, relations
from ..distributed import Refused
from ..text import Vocabulary, iterate_words, number_words
from ..typing import Ids
from ..word_vectors import KeyedVectors, Progress, Word2Vec, cbow_batches, read_questions, skipgram_batches
from ..word_vectors.corpus import LONGEST
from ..word_vectors.evaluation import Questions
from ._plots import by_epoch
from ._run import DISTRIBUTED, Run, choice, number

UNKNOWN = "UNK"
VECTORS = "vectors.safetensors"
# Where a folder may have its text, the first that exists.
_TEXTS = ("wiki/enwiki2015-100m.txt.gz", "wiki/enwiki2015-100m.txt", "text8", "text8.gz")
_QUESTIONS = "questions-words.txt"
_BUILTIN_WORDS = {"quick": 300_000, "book": 1_000_000}
# Relations of the book's picture: the built-in ones, and those of questions-words.txt.
_DRAWN = ("male-female", "present-past", "capital-of-country", "family", "gram7-past-tense", "capital-common-countries")
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
    """A text, and what its vectors are tested with; ``pieces`` reads it anew, as lists of words of any length."""

    name: str
    description: str
    builtin: bool
    pieces: Callable[[], Iterable[list[str]]]
    questions: Questions | None
    pairs: Sequence[Path] = ()

    def __iter__(self) -> Iterator[list[str]]:
        """Sentences, or pieces of a long stream."""
        for piece in self.pieces():
            for start in range(0, len(piece), LONGEST):
                yield piece[start : start + LONGEST]


OPTIONS = (
    choice("--architecture", ("skipgram", "cbow"), "what predicts what", "skipgram"),
    number("--steps", "batches of the book's program (default 100,000)", least=2),
    number("--plot-words", "most frequent words in the picture", 100, least=2),
    DISTRIBUTED,
)


def load_source(data: str, preset: str, seed: int) -> Source:
    """The text that ``--data`` names.

    Raises:
        ValueError, OSError, ImportError: there is none, or it cannot be fetched.
    """
    if data == "builtin":
        words = _BUILTIN_WORDS[preset]
        text, questions = relations.sentences(words, seed), relations.questions()
        asked = sum(map(len, questions.values()))
        description = f"built-in sentences with known relations, {words:,} words, {asked} analogy questions"
        return Source("relations", description, True, lambda: text, questions)
    if data == "download":
        data = str(download("text8"))
    place, tests = Path(data), Path(data, "wordsim")
    if place.is_dir():
        texts = [place / name for name in _TEXTS if (place / name).is_file()]
        if not texts:
            raise ValueError(f"--data: expected {', '.join(_TEXTS)} in folder {data!r}, got none of them")
        place = texts[0]
    elif not place.is_file():
        raise ValueError(f"--data: expected builtin, download, a folder or a text file, got {data!r}")
    asked_here = read_questions(tests / _QUESTIONS) if (tests / _QUESTIONS).is_file() else None
    pairs = sorted(path for path in tests.glob("*.t[xs][tv]") if path.name != _QUESTIONS)
    name, read = place.name.split(".")[0], partial(iterate_words, place)
    return Source(name, f"text from {place}", False, read, asked_here, pairs)


def build_dataset(source: Source, size: int) -> tuple[Vocabulary, Ids]:
    """The ``size`` most frequent words, with ``UNK`` as number 0 for the others if there are more, and the text.

    The text is read once: words get numbers as they come, which are then exchanged for their ranks.
    """
    pieces = iter(source.pieces())
    start = next(pieces, None)
    if start is None:
        raise ValueError(f"--data: expected a text with words, got an empty one ({source.description})")
    seen, ids, _ = number_words(chain([start], pieces))
    words, counts = seen.words, np.asarray(seen.counts)
    kept = sorted(range(len(words)), key=lambda word: (-int(counts[word]), words[word]))
    first: list[str] = []
    if len(words) > size:
        first = [UNKNOWN]
        kept = [word for word in kept if words[word] != UNKNOWN][: size - 1]
    ranks = np.zeros(len(words), np.int32)
    ranks[kept] = np.arange(len(first), len(first) + len(kept))
    ids = ranks[ids]
    vocabulary = [*first, *(words[word] for word in kept)]
    return Vocabulary(vocabulary, UNKNOWN if first else None, np.bincount(ids)), ids


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    if arguments.steps is not None and (arguments.preset != "book" or arguments.epochs is not None):
        raise ValueError("--steps: expected --preset book and no --epochs, got another combination")
    if arguments.distributed and arguments.preset == "book":
        raise Refused("--distributed: expected --preset quick, whose Word2Vec shares its corpus, got --preset book")
    source = load_source(arguments.data, arguments.preset, arguments.seed)
    run.start(source.description, arguments.architecture, data=source.name)
    neighbors: list[str] = []
    kv = train_book(run, source, neighbors) if arguments.preset == "book" else train_estimator(run, source, neighbors)
    kv.save(run.folder / VECTORS)
    run.write_text("nearest.txt", "\n".join(neighbors))
    test(run, kv, source)
    key, loss = ("step", "average_loss") if arguments.preset == "book" else ("epoch", "loss")
    curves = {"average loss": by_epoch(run.history, loss, "-", "#4477aa", x=key)}
    title = f"{arguments.architecture} on {source.name}"
    run.plot_curves("loss.png", title, key, "average loss", curves, yscale="log")
    if len(kv) > 1:
        run.plot("words.png", lambda figure: draw_words(figure, kv, run, source.name), 12, 12)
    if relations_drawn := pairs_to_draw(kv, source.questions or {}):
        run.plot("relations.png", lambda figure: draw_relations(figure, kv, relations_drawn), 13, 4.5)
    return run.finish(architecture=arguments.architecture)


class SkipGram:
    """The book's model: an embedding, and the weights and biases of its noise-contrastive loss.

    Args:
        words: number of words V; their ids are in the order of descending frequency, as the log-uniform noise needs.
        settings: sizes and learning rate.
    """

    def __init__(self, words: int, settings: Settings) -> None:
        size = settings.embedding_size
        self.words, self.samples = words, min(settings.num_sampled, words)
        self.embedding = layers.Embedding(words, size, embeddings_initializer=initializers.RandomUniform(-1.0, 1.0))
        self.embedding.build(None)
        spread = initializers.TruncatedNormal(stddev=1 / math.sqrt(size))
        self.weights = Variable(spread((words, size)), name="nce_weights")
        self.biases = Variable(np.zeros(words, np.float32), name="nce_biases")
        self.variables = [self.embedding.embeddings, self.weights, self.biases]
        self.optimizer = optimizers.SGD(settings.learning_rate)

    def loss(self, inputs: Ids, labels: Ids) -> Tensor:
        """The mean loss of centers (B,), or of contexts (B, 2w) whose vectors are averaged, and labels (B, 1)."""
        hidden = self.embedding(inputs)
        if inputs.ndim == 2:
            hidden = ops.reduce_mean(hidden, axis=1)
        return ops.reduce_mean(ops.nce_loss(self.weights, self.biases, labels, hidden, self.samples, self.words))

    def step(self, inputs: Ids, labels: Ids) -> float:
        """One step of SGD; the loss before it."""
        with GradientTape() as tape:
            loss = self.loss(inputs, labels)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self.variables), self.variables))
        return float(loss._array)


def train_book(run: Run, source: Source, neighbors: list[str]) -> KeyedVectors:
    """The book's program: batches, steps of SGD, and neighbors now and then, which ``neighbors`` gets too."""
    settings, arguments = BOOK, run.arguments
    vocabulary, ids = build_dataset(source, settings.vocabulary_size)
    centers, window = settings.batch_size, settings.skip_window
    if arguments.architecture == "skipgram":
        batches = skipgram_batches(ids, centers, settings.num_skips, window, seed=arguments.seed)
        centers //= settings.num_skips
    else:
        batches = cbow_batches(ids, centers, window)
    steps = arguments.steps or settings.steps
    if arguments.epochs is not None:
        steps = max(1, arguments.epochs * len(ids) // centers)
    model = SkipGram(vocabulary.size, settings)
    run.log(
        f"{len(ids):,} words, vocabulary {vocabulary.size:,}; {arguments.architecture} of "
        f"{settings.embedding_size} dimensions, {steps:,} steps of {settings.batch_size}, {model.samples} noise words"
    )
    _introduce(run, vocabulary, ids)

    def show(step: int) -> KeyedVectors:
        kv = KeyedVectors(model.embedding.embeddings.numpy(), vocabulary.words, vocabulary.counts)
        neighbors.append(f"step {step:,}")
        show_nearest(run, kv, neighbors)
        return kv

    kv = show(0)
    total, counted, begin, paused = 0.0, 0, time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        total, counted = total + model.step(*next(batches)), counted + 1
        # Without the seconds for showing neighbors.
        seconds = time.perf_counter() - begin - paused
        if step % settings.report_steps == 0 or step == steps:
            average, total, counted = total / counted, 0.0, 0
            if not math.isfinite(average):
                raise FloatingPointError(f"the loss became {average} before step {step:,}")
            run.history.append({"step": step, "average_loss": average, "seconds": seconds})
            run.log(f"step {step:,}: average loss {average:.4f}, {step / seconds:,.0f} steps/s")
        if step % settings.nearest_steps == 0 or step == steps:
            kv = show(step)
            paused = time.perf_counter() - begin - seconds
        if step % 64 == 0:
            run.progress.update(step, steps, f"{step / seconds:,.0f} steps/s", (steps - step) * seconds / step)
    run.metrics = {"average_loss": run.history[-1]["average_loss"], "steps": steps, "steps_per_second": steps / seconds}
    run.metrics |= {"words_per_second": steps * centers / seconds, "training_seconds": seconds}
    run.metrics["vocabulary_size"] = vocabulary.size
    return kv


def _introduce(run: Run, vocabulary: Vocabulary, ids: Ids) -> None:
    """Print counts, the first words with their numbers, and pairs of skip-gram, as the book does."""
    assert vocabulary.counts is not None
    counts = zip(vocabulary.words[:5], vocabulary.counts[:5].tolist())
    run.log("counts: " + ", ".join(f"{word} {count:,}" for word, count in counts))
    first = zip(vocabulary.decode(ids[:10]), ids[:10].tolist())
    run.log("first words: " + ", ".join(f"{word} {number}" for word, number in first))
    centers, labels = next(skipgram_batches(ids, 8, BOOK.num_skips, BOOK.skip_window))
    pairs = zip(vocabulary.decode(centers), vocabulary.decode(labels[:, 0]))
    run.log("skip-gram pairs: " + ", ".join(f"{center} -> {label}" for center, label in pairs))


def train_estimator(run: Run, source: Source, neighbors: list[str]) -> KeyedVectors:
    """:class:`seqcore.Word2Vec` on the same text."""
    arguments = run.arguments
    how: dict[str, Any] = (
        {"vector_size": 64, "sample": 1e-3} if source.builtin else {"vector_size": 100, "sample": 1e-4}
    )
    how |= {"sg": int(arguments.architecture == "skipgram"), "epochs": arguments.epochs or 5, "seed": arguments.seed}
    model = Word2Vec(window=5, min_count=5, negative=5, workers=get_num_threads(), **how)
    begin = time.perf_counter()
    corpus = model.build_vocab(source)
    run.log(
        f"{model.corpus_total_words:,} words, vocabulary {len(model.words):,}, in {time.perf_counter() - begin:.1f} s; "
        f"{arguments.architecture} of {model.vector_size} dimensions, {model.epochs} epochs"
    )

    def show(now: Progress) -> None:
        rate = f"{now.words_per_second:,.0f} words/s"
        if now.share >= 1:
            run.log(f"epoch {now.epoch + 1}/{now.epochs}  loss {now.loss:.4f}  {rate}")
        else:
            done = int(1000 * (now.epoch + now.share))
            run.progress.update(done, 1000 * now.epochs, rate, now.seconds_left, f"loss {now.loss:.4f}")

    begin = time.perf_counter()
    model.train(corpus, on_progress=show, distribute=run.distribute)
    seconds = time.perf_counter() - begin
    run.history = model.history
    speed = model.corpus_total_words * model.epochs / seconds
    run.metrics = {"loss": model.history[-1]["loss"], "words_per_second": speed, "training_seconds": seconds}
    run.metrics |= {"vocabulary_size": len(model.words), "epochs": model.epochs}
    show_nearest(run, model.wv, neighbors)
    return model.wv


def show_nearest(run: Run, kv: KeyedVectors, neighbors: list[str]) -> None:
    """Print the neighbors of some of the most frequent words, drawn by the seed, and adds the lines to a list."""
    window = min(BOOK.valid_window, len(kv))
    generator = np.random.Generator(np.random.Philox(run.arguments.seed))
    words = [kv.index_to_key[row] for row in generator.choice(window, min(BOOK.valid_size, window), replace=False)]
    nearest = kv.nearest_rows(kv.unit_vectors([kv.get_index(word) for word in words]), BOOK.top_k + 1)[0]
    for word, rows in zip(words, nearest.tolist()):
        near = [kv.index_to_key[row] for row in rows if kv.index_to_key[row] != word][: BOOK.top_k]
        neighbors.append(f"nearest to {word}: {', '.join(near)}")
        run.log(neighbors[-1])


def test(run: Run, kv: KeyedVectors, source: Source) -> None:
    """Analogies and word pairs, as far as the data have them."""
    if source.questions is not None:
        score, sections = kv.evaluate_word_analogies(source.questions, None if source.builtin else _RESTRICT)
        right = {section["section"]: len(section["correct"]) for section in sections}
        asked = {section["section"]: right[section["section"]] + len(section["incorrect"]) for section in sections}
        *names, total = right
        run.metrics |= {"analogy_accuracy": score, "analogy_questions": asked[total]}
        run.metrics["analogy_sections"] = {name: right[name] / max(1, asked[name]) for name in names}
        known = sum(map(len, source.questions.values()))
        run.log(f"analogy accuracy {score:.4f} ({right[total]} of {asked[total]} questions, {known} in all)")
    for path in source.pairs:
        try:
            _, (spearman, _), unknown = kv.evaluate_word_pairs(path)
        except ValueError as error:
            run.log(f"note: {error}")
            continue
        run.metrics[f"{path.stem.lower().replace('-', '_')}_spearman"] = spearman
        run.log(f"{path.name}: Spearman's correlation {spearman:.4f}, {unknown:.1f} % of the pairs with unknown words")


def draw_words(figure: Any, kv: KeyedVectors, run: Run, text: str) -> None:
    """The most frequent words in the plane."""
    shown = min(run.arguments.plot_words, len(kv))
    axes = figure.add_subplot()
    iterations = 5000 if run.arguments.preset == "book" else 1000
    points, method = flatten(kv.unit_vectors(np.arange(shown)), run.arguments.seed, iterations)
    if method == "PCA":
        run.log("note: PCA instead of t-SNE without scikit-learn (pip install 'seqcore[experiments]')")
    axes.scatter(points[:, 0], points[:, 1], s=12, color="#4477aa")
    for word, point in zip(kv.index_to_key, points):
        axes.annotate(word, point, xytext=(4, 2), textcoords="offset points", fontsize=9)
    axes.set_title(f"{method} of the {shown} most frequent words of {text}")
    axes.set_axis_off()
    run.log(f"picture: {run.folder / 'words.png'}")


def pairs_to_draw(kv: KeyedVectors, questions: Questions, most: int = 8) -> dict[str, list[tuple[str, str]]]:
    """Of the relations of the book's picture the pairs that stand first in the table, which begins with frequent words.

    >>> table = KeyedVectors(np.eye(4), ["king", "queen", "uncle", "aunt"])
    >>> pairs_to_draw(table, relations.questions())
    {'male-female': [('king', 'queen'), ('uncle', 'aunt')]}
    """
    drawn = {}
    for name in _DRAWN:
        asked = [tuple(word.lower() for word in words) for words in questions.get(name, [])]
        pairs = dict.fromkeys(pair for words in asked for pair in (words[:2], words[2:]))
        known = [(a, b) for a, b in pairs if a in kv and b in kv]
        if len(known) > 1:
            drawn[name] = sorted(known, key=lambda pair: max(map(kv.get_index, pair)))[:most]
    return drawn


def draw_relations(figure: Any, kv: KeyedVectors, drawn: dict[str, list[tuple[str, str]]]) -> None:
    """An arrow from word to word of each pair, a panel per relation, in the plane of its two main components."""
    for axes, (name, pairs) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        words = [word for pair in pairs for word in pair]
        points = _main_components(kv.unit_vectors([kv.get_index(word) for word in words]))
        axes.scatter(points[:, 0], points[:, 1], s=12, color=["#4477aa", "#ee6677"] * len(pairs))
        for word, point in zip(words, points):
            axes.annotate(word, point, xytext=(4, 2), textcoords="offset points", fontsize=9)
        for first, second in points.reshape(-1, 2, 2):
            axes.annotate("", second, first, arrowprops={"arrowstyle": "->", "color": "#bbbbbb"})
        axes.set_title(name)
        axes.set_axis_off()


def _main_components(vectors: Any) -> Any:
    """Points (N, 2) for vectors (N, D): their two main components, the second 0 for D = 1."""
    centered = vectors - vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    return (u[:, :2] * s[:2]) if len(s) > 1 else np.column_stack([u * s, np.zeros(len(u))])


def flatten(vectors: Any, seed: int, iterations: int) -> tuple[Any, str]:
    """Points (N, 2) for vectors (N, D), N >= 2, and the method: t-SNE as in the book, PCA without scikit-learn.

    t-SNE takes at most ``iterations`` steps; it ends before them where it makes no more progress.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return _main_components(vectors), "PCA"
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # The exact method takes half a second for 100 words; the threads of the other one stall where cores are shared.
    method = "exact" if len(vectors) <= 500 else "barnes_hut"
    # scikit-learn before 1.5 calls them n_iter.
    most = "max_iter" if "max_iter" in signature(TSNE).parameters else "n_iter"
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, method=method, **{most: iterations})
    return tsne.fit_transform(vectors), "t-SNE"
