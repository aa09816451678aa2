"""Word2Vec: vectors of words from the words around them, with gensim's names and arguments.

V, D: words of the vocabulary, numbers per vector. Skip-gram and CBOW of Mikolov et al. 2013 ("Efficient estimation of
word representations in vector space"; "Distributed representations of words and phrases and their compositionality")
with negative sampling or noise-contrastive estimation (Mnih & Kavukcuoglu 2013). What a centre word draws - which
frequent words are left out, the window, the noise - depends on the seed, the pass and the sentence alone.

The contexts of a centre share its noise words, so that a block of small products replaces one dot product after
another; and the rows that all threads want, those of frequent words as targets, are written once per centre instead of
once per pair.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, io
from .callbacks.progress import is_terminal, write
from .corpus import Corpus, Sentences, Text, check_one, encode_file, path_of, read
from .vectors import KeyedVectors
from .word2vec_settings import Schedule, Settings, integer

Array = NDArray[Any]

_PIECE = 400_000
"""Words between two looks at the learning rate, the progress and Ctrl-C."""
_LANES = 16
_MASK = 2**64 - 1


@dataclass
class Progress:
    """What ``on_progress`` is told: the pass (from 0) of how many, the share of it that is done, mean loss per pair
    of the latest piece, words per second since ``train`` began, seconds left."""

    epoch: int
    epochs: int
    share: float
    loss: float
    words_per_second: float
    seconds_left: float


class Word2Vec:
    """Learns a vector for each word of a corpus.

    Args:
        sentences: lists of words; any iterable, also one that can be walked through only once. One list holding all
            words is one stream. With it (or ``corpus_file``) vocabulary and vectors are made at once.
        corpus_file: path of a text file, one sentence a line, words between ASCII white space; read by the C++ core.
        vector_size: D.
        alpha, min_alpha: learning rate at the beginning and at the end; linear in between, over all passes.
        window: most words between centre and context on each side.
        min_count: rarer words are left out.
        max_final_vocab: keep only so many of the most frequent words.
        sample: s; frequent words are left out by chance: one of relative frequency f stays with probability
            (sqrt(f/s) + 1)·s/f. 0: all stay.
        seed: of the first vectors, uniform in ±1/D, and of every draw.
        workers: threads; by default :func:`seqcore.get_num_threads`.
        sg: 1 for skip-gram, 0 for CBOW.
        negative: noise words per centre, drawn by count**ns_exponent.
        cbow_mean: 1: CBOW takes the mean of the contexts, 0: their sum.
        epochs: passes over the corpus.
        shrink_windows: draw the window of each centre from 1...window.
        loss: "negative_sampling", or "nce", which takes log(negative · P(word)) from each logit.
        deterministic: the same bits for any number of workers, at the price of working on one thread. Otherwise
            threads write to the shared vectors without locks, and only one worker gives the same bits again.
        callbacks: objects with any of gensim's methods on_train_begin, on_epoch_begin, on_epoch_end and
            on_train_end(model).
        verbose: 1 prints a line of progress with rate, loss and time left.

    Attributes:
        corpus_count, corpus_total_words: of the corpus that the vocabulary came from, the sentences that hold words of
            it (long ones cut), and the words, all of them.
        history: one dict per pass: epoch, loss (mean per pair over every 64th block), pairs, seconds, words_per_second.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what came.

    >>> text = [["cats", "chase", "mice"], ["dogs", "chase", "cats"]] * 50
    >>> model = Word2Vec(text, vector_size=8, min_count=1, window=2, sg=1, epochs=3, workers=1)
    >>> len(model.wv), model.wv["cats"].shape
    (4, (8,))
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        *,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_final_vocab: int | None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int | None = None,
        min_alpha: float = 0.0001,
        sg: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        epochs: int = 5,
        shrink_windows: bool = True,
        callbacks: Iterable[Any] = (),
        loss: str = "negative_sampling",
        deterministic: bool = False,
        verbose: int = 0,
    ) -> None:
        self.settings = Settings(
            vector_size, alpha, window, min_count, max_final_vocab, sample, seed, workers, min_alpha, sg, negative,
            ns_exponent, cbow_mean, epochs, bool(shrink_windows), loss, bool(deterministic),
        )  # fmt: skip
        self.settings.check()
        self.words: list[str] = []
        self.counts: Array = np.zeros(0, np.int64)
        self.corpus_count = self.corpus_total_words = 0
        self.history: list[dict[str, Any]] = []
        self._input = self._output = np.zeros((0, self._stride), np.float32)
        self._passes = 0
        self._schedule: Schedule | None = None
        self._wv: KeyedVectors | None = None
        if sentences is None and corpus_file is None:
            return
        corpus = self._take(sentences, corpus_file, update=False)
        self._train(corpus, self._schedule_of(None, None, None), callbacks, verbose, None)

    def __repr__(self) -> str:
        kind = "skip-gram" if self.settings.sg else "CBOW"
        return f"<Word2Vec {kind}, {len(self.words)} words, vector_size={self.settings.vector_size}>"

    # --- what was learnt ---

    @property
    def vector_size(self) -> int:
        """D."""
        return self.settings.vector_size

    @property
    def epochs(self) -> int:
        """Passes that :meth:`train` makes unless told otherwise."""
        return self.settings.epochs

    @property
    def wv(self) -> KeyedVectors:
        """The words' vectors as they stand now; a copy, made anew after training.

        Raises:
            ValueError: there is no vocabulary yet.
        """
        self._need_words()
        if self._wv is None:
            self._wv = KeyedVectors(self._input[:, : self.vector_size].copy(), self.words, self.counts)
        return self._wv

    @property
    def syn1neg(self) -> Array:
        """(V, D) the words' vectors as targets, read-only."""
        view: Array = self._output[:, : self.vector_size]
        view.flags.writeable = False
        return view

    def get_latest_training_loss(self) -> float:
        """Mean loss per pair of the latest pass; nan before the first."""
        return float(self.history[-1]["loss"]) if self.history else float("nan")

    # --- vocabulary ---

    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        update: bool = False,
    ) -> Corpus:
        """Counts the words of a corpus and makes the first vectors; ``update`` adds its new words to those there are.

        Returns:
            The corpus as numbers, which :meth:`train` takes in place of the words.

        Raises:
            ValueError: no word comes ``min_count`` times, the file is empty or no text, or there is a vocabulary
                already.
        """
        return self._take(corpus_iterable, corpus_file, update)

    def _take(self, sentences: Any, corpus_file: Any, update: bool) -> Corpus:
        """Vocabulary and vectors from a corpus, and the corpus as numbers."""
        if self.words and not update:
            raise ValueError("update: expected True, which adds words, got False where there is a vocabulary already")
        if update:
            self._need_words()
        text = read(sentences, corpus_file)
        chosen = self._choose(text, update)
        known = set(self.words)
        words = self.words + [text.words[n] for n in chosen if text.words[n] not in known]
        corpus = text.encode(words)
        self._grow(words, {text.words[n]: int(text.counts[n]) for n in chosen})
        self.corpus_total_words = corpus.total_words
        self.corpus_count = len(corpus.offsets) - 1
        return corpus

    def _choose(self, text: Text, update: bool) -> list[int]:
        """Numbers of the words to take in, the most frequent first."""
        words, counts = text.words, text.counts
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= max(1, self.settings.min_count)]
        if self.settings.max_final_vocab is not None:
            order = order[: self.settings.max_final_vocab]
        if not len(order) and not update:
            raise ValueError(
                f"min_count: expected words that come {self.settings.min_count} times, got none; "
                f"the most frequent, {words[int(counts.argmax())]!r:.60}, comes {int(counts.max())} times"
            )
        return [int(n) for n in order]

    def _grow(self, words: list[str], counts: dict[str, int]) -> None:
        """Takes in the words behind those there are, and adds counts."""
        first, shape = len(self.words), (len(words), self._stride)
        table, output = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        table[:first], output[:first] = self._input, self._output
        # The first vectors of words that are added differ from those that came before.
        rng = np.random.Generator(np.random.Philox(key=[self.settings.seed, first]))
        start = 2 * rng.random((len(words) - first, self.vector_size), np.float32) - 1
        table[first:, : self.vector_size] = start / self.vector_size
        total = np.array([counts.get(word, 0) for word in words], np.int64)
        total[:first] += self.counts
        self._input, self._output = _aligned(table), _aligned(output)
        self.words, self.counts, self._wv = words, total, None

    @property
    def _stride(self) -> int:
        return -(-self.settings.vector_size // _LANES) * _LANES

    def _need_words(self) -> None:
        if not self.words:
            raise ValueError("Word2Vec: expected a vocabulary, got none; call build_vocab first")

    # --- corpora ---

    def encode(self, sentences: Sentences | None = None, corpus_file: str | os.PathLike[str] | None = None) -> Corpus:
        """A corpus as numbers of this vocabulary, for several calls of :meth:`train`; other words are left out."""
        self._need_words()
        check_one(sentences, corpus_file)
        if corpus_file is not None:
            return encode_file(path_of(corpus_file), self.words)
        return read(sentences, None).encode(self.words)

    # --- training ---

    def train(
        self,
        corpus_iterable: Sentences | Corpus | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        callbacks: Iterable[Any] = (),
        *,
        resume: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        verbose: int = 0,
    ) -> tuple[int, int]:
        """Goes ``epochs`` times over a corpus.

        Args:
            corpus_iterable: sentences, or a :class:`Corpus` of :meth:`encode`.
            corpus_file: a text file instead.
            total_examples, total_words: as in gensim; checked against the corpus where given, never needed.
            epochs, start_alpha, end_alpha: by default those of the constructor.
            callbacks: as in the constructor.
            resume: go on with the passes that the run saved in a checkpoint still had to do; with one worker (or
                ``deterministic``) the result is that of a run which was never stopped, to the last bit.
            checkpoint: file to save the model in after each pass.
            on_progress: called with a :class:`Progress` a few times per second.
            verbose: 1 prints a line of progress.

        Returns:
            (words of the vocabulary that were gone through, words of the text), over all passes.

        Raises:
            ValueError: no vocabulary, an empty corpus, arguments out of range. Nothing is changed then.
            KeyboardInterrupt: what was learnt until then stays.
        """
        self._need_words()
        if resume and (epochs is not None or start_alpha is not None or end_alpha is not None):
            raise ValueError("resume: expected epochs and learning rates of the saved run alone, got others")
        if isinstance(corpus_iterable, Corpus):
            check_one(corpus_iterable, corpus_file)
            corpus = corpus_iterable
        else:
            corpus = self.encode(corpus_iterable, corpus_file)
        corpus.check(len(self.words))
        for name, given in (("total_examples", total_examples), ("total_words", total_words)):
            if given is not None:
                integer(name, given, 1)
        if resume:
            if self._schedule is None or self._schedule.done >= self._schedule.epochs:
                raise ValueError("resume: expected a model saved before its last pass, got one with nothing left to do")
            schedule = self._schedule
        else:
            schedule = self._schedule_of(epochs, start_alpha, end_alpha)
        if checkpoint is not None:
            _check_place(checkpoint)
        return self._train(corpus, schedule, callbacks, verbose, checkpoint, on_progress)

    def _schedule_of(self, epochs: int | None, start_alpha: float | None, end_alpha: float | None) -> Schedule:
        settings = self.settings
        schedule = Schedule(
            settings.epochs if epochs is None else epochs,
            settings.alpha if start_alpha is None else start_alpha,
            settings.min_alpha if end_alpha is None else end_alpha,
        )
        schedule.check()
        return schedule

    def _train(
        self,
        corpus: Corpus,
        schedule: Schedule,
        callbacks: Iterable[Any],
        verbose: int,
        checkpoint: str | os.PathLike[str] | None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> tuple[int, int]:
        listeners = list(callbacks)
        self._schedule = schedule
        first = schedule.done
        tell = _printer(on_progress) if verbose else on_progress
        started = time.perf_counter()
        _call(listeners, "on_train_begin", self)
        for epoch in range(first, schedule.epochs):
            _call(listeners, "on_epoch_begin", self)
            self._pass(corpus, schedule, epoch, started, (epoch - first) * len(corpus.ids), tell)
            schedule.done = epoch + 1
            if checkpoint is not None:
                self.save(checkpoint)
            _call(listeners, "on_epoch_end", self)
        _call(listeners, "on_train_end", self)
        passes = schedule.epochs - first
        return passes * len(corpus.ids), passes * corpus.total_words

    def _pass(
        self,
        corpus: Corpus,
        schedule: Schedule,
        epoch: int,
        started: float,
        before: int,
        tell: Callable[[Progress], None] | None,
    ) -> None:
        """One pass, in pieces of whole sentences."""
        settings, count = self.settings, len(corpus.ids)
        threads = 1 if settings.deterministic else settings.workers or _core.get_num_threads()
        noise, keep, shift = self._distributions()
        marks = np.arange(0, count + _PIECE, _PIECE)
        cuts = np.unique(np.minimum(np.searchsorted(corpus.offsets, marks), len(corpus.offsets) - 1))
        fall = (schedule.end_alpha - schedule.start_alpha) / schedule.epochs
        seed = (settings.seed * 0x9E3779B97F4A7C15 + self._passes) & _MASK
        began, loss, looked, pairs, told = time.perf_counter(), 0.0, 0, 0, started
        for first, last in zip(cuts[:-1], cuts[1:]):
            at, end = (float(corpus.offsets[n]) / count for n in (first, last))
            try:
                found = _core.train_word2vec(
                    corpus.ids,
                    corpus.offsets,
                    int(first),
                    int(last),
                    self._input,
                    self._output,
                    settings.vector_size,
                    keep,
                    noise,
                    shift,
                    window=settings.window,
                    negatives=settings.negative,
                    shrink=settings.shrink_windows,
                    cbow=not settings.sg,
                    mean=bool(settings.cbow_mean),
                    rate_begin=schedule.start_alpha + fall * (epoch + at),
                    rate_end=schedule.start_alpha + fall * (epoch + end),
                    seed=seed,
                    threads=threads,
                )
            finally:
                self._wv = None  # someone may have looked between two pieces
            loss, looked, pairs = loss + found[0], looked + found[1], pairs + found[2]
            now = time.perf_counter()
            if tell and (now - told > 0.2 or last == cuts[-1]):
                told = now
                rate = (before + end * count) / max(now - started, 1e-9)
                left = ((schedule.epochs - epoch - end) * count) / max(rate, 1e-9)
                tell(Progress(epoch, schedule.epochs, end, found[0] / max(found[1], 1), rate, left))
        self._passes += 1
        seconds = time.perf_counter() - began
        self.history.append(
            {
                "epoch": self._passes,
                "loss": loss / looked if looked else float("nan"),
                "pairs": pairs,
                "seconds": seconds,
                "words_per_second": corpus.total_words / seconds,
            }
        )

    def _distributions(self) -> tuple[_core.AliasTable, Array | None, Array | None]:
        """The noise's table, the chance of each word to stay as 32-bit limits, and NCE's shifts."""
        settings = self.settings
        counts = self.counts.astype(np.float64)
        noise = _core.AliasTable(np.exp(logarithms := _log_powers(counts, settings.ns_exponent)))
        keep = shift = None
        if settings.sample > 0:
            limit = settings.sample * counts.sum()
            chance = np.minimum(np.sqrt(limit / counts) + limit / counts, 1.0)
            keep = np.minimum(chance * 2.0**32, 2.0**32 - 1).astype(np.uint32)
        if settings.loss == "nce":
            shift = (np.log(settings.negative) + logarithms).astype(np.float32)
        return noise, keep, shift

    # --- files ---

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole model, what is left of a run included, so that :meth:`load` can go on exactly.

        Raises:
            OSError: naming ``path``; the old file is untouched.
        """
        self._need_words()
        words = json.dumps(self.words, ensure_ascii=False).encode("utf-8", "surrogatepass")
        tensors = {
            "input": self._input,
            "output": self._output,
            "counts": self.counts,
            "words": np.frombuffer(words, np.uint8),
        }
        state = {
            "settings": asdict(self.settings),
            "schedule": asdict(self._schedule) if self._schedule else None,
            "passes": self._passes,
            "corpus": [self.corpus_count, self.corpus_total_words],
            "history": self.history,
        }
        io.write_tensors(path, tensors, {"seqcore": "word2vec", "version": "1", "state": json.dumps(state)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Word2Vec:
        """Reads a file of :meth:`save`.

        Raises:
            ValueError: the file is another kind of file, or damaged.
        """
        tensors, texts = io.read_tensors(path)
        try:
            if texts["seqcore"] != "word2vec" or texts["version"] != "1":
                raise ValueError(f"{texts['seqcore']!r}, version {texts['version']!r}")
            state = json.loads(texts["state"])
            # Only settings: a file cannot name a corpus to train on.
            model = cls(**asdict(Settings(**state["settings"])))
            model._restore(json.loads(tensors["words"].tobytes().decode("utf-8", "surrogatepass")), tensors, state)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{os.fspath(path)}: expected a file of Word2Vec.save, got another ({reason})") from None
        return model

    def _restore(self, words: Any, tensors: dict[str, Array], state: dict[str, Any]) -> None:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ValueError("words: expected a list of words, got something else")
        shape, counts = (len(words), self._stride), tensors["counts"]
        for name in ("input", "output"):
            if tensors[name].shape != shape or tensors[name].dtype != np.float32:
                raise ValueError(f"{name}: expected float32 of shape {shape}, got {tensors[name].shape}")
        if counts.shape != shape[:1] or counts.dtype != np.int64 or len(set(words)) != len(words) or counts.min() < 1:
            raise ValueError("counts: expected different words with a count >= 1 each, got others")
        self.history = [{**entry, "loss": float(entry["loss"])} for entry in state["history"]]
        self.corpus_count, self.corpus_total_words = (integer("corpus", n, 0) for n in state["corpus"])
        self._passes = integer("passes", state["passes"], 0)
        if state["schedule"] is not None:
            self._schedule = Schedule(**state["schedule"])
            self._schedule.check()
        self.words, self.counts = words, counts
        self._input, self._output = _aligned(tensors["input"]), _aligned(tensors["output"])


def _check_place(checkpoint: Any) -> None:
    """Raises OSError for a path that cannot be written, before hours are spent."""
    if not isinstance(checkpoint, (str, bytes, os.PathLike)):
        raise TypeError(f"checkpoint: expected a path, got {checkpoint!r:.60}")
    path = os.path.realpath(os.fspath(checkpoint))
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "checkpoint: expected a file, got a folder", os.fspath(checkpoint))
    if not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EACCES if os.path.isdir(folder) else errno.ENOENT
        raise OSError(number, "checkpoint: expected a folder that can be written, got", folder)


def _log_powers(counts: Array, exponent: float) -> Array:
    """log of counts**exponent / Σ counts**exponent."""
    powers = exponent * np.log(counts)
    powers -= powers.max()
    found: Array = powers - np.log(np.exp(powers).sum())
    return found


def _aligned(table: Array) -> Array:
    """A copy whose rows start at whole cache lines."""
    memory = np.empty(table.size + _LANES, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    placed: Array = memory[start : start + table.size].reshape(table.shape)
    placed[...] = table
    return placed


def _call(listeners: list[Any], method: str, model: Word2Vec) -> None:
    for listener in listeners:
        if hasattr(listener, method):
            getattr(listener, method)(model)


def _printer(also: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """Prints each progress over the last one; one line a pass where the output is no terminal."""
    terminal = is_terminal(sys.stdout)

    def tell(now: Progress) -> None:
        if also:
            also(now)
        whole = now.share >= 1
        if not (terminal or whole):
            return
        line = (
            f"epoch {now.epoch + 1}/{now.epochs}  {now.share:4.0%}  loss {now.loss:.3f}  "
            f"{now.words_per_second:,.0f} words/s  {now.seconds_left:,.0f} s left"
        )
        write((f"\r{line}\x1b[K" if terminal else line) + ("\n" if whole or not terminal else ""))

    return tell
