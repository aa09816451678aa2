"""Word2Vec: vectors of words from the words around them, with gensim's names and arguments.

V: words of the vocabulary, D: dimensions of a vector.

Skip-gram and CBOW of Mikolov et al. 2013 ("Efficient estimation of word representations in vector space"; "Distributed
representations of words and phrases and their compositionality") with negative sampling or noise-contrastive estimation
(Mnih & Kavukcuoglu 2013). The random choices for a centre word - which frequent words are left out, the window, the
noise - depend only on the seed, the pass and the sentence.

The contexts of a centre share its noise words, so that a block of small products replaces one dot product after
another; and the rows that all threads want, those of frequent words as targets, are written once per centre instead of
once per pair.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .._core import system
from .._core.sampling import AliasTable
from .._core.word2vec import train_word2vec
from .._pickling import Pickled
from .._validation import boolean, default_only, integer, short_repr
from ..distributed import Ranks, digest, ends_together
from ..text.files import path_of
from ..typing import Array, PathLike
from .corpus import Corpus, Sentences, TrimRule, check_one, read
from .keys import as_list
from .reporting import Report, RunProgress, notify
from .saved_model import SavedModel
from .settings import RateSchedule, Settings, keep_limits
from .sharing import SharedTables, check_alike
from .trainable_tables import same_memory

WORDS_PER_CALL = 400_000
"""Words per call of the core: between two updates of the learning rate, of the progress and checks for Ctrl-C."""
CALLS_PER_AVERAGE = 10
"""Calls of the core after which several processes average their vectors within a pass."""
_MASK = 2**64 - 1


class Word2Vec(SavedModel, Pickled):
    """A model that learns a vector for each word of a corpus.

    Arguments, their order and their defaults are gensim's; those after ``shrink_windows`` are added. All settings are
    attributes, too: they are checked when they are set and used from the next training (``min_count`` and
    ``max_final_vocab``: the next vocabulary) on.

    Args:
        sentences: lists of words or integers; any iterable, also one that can be walked through only once. One list
            holding all words is one stream. With it (or ``corpus_file``) vocabulary and vectors are made at once.
        corpus_file: path of a text file, one sentence a line, words between ASCII white space; read by the C++ core.
        vector_size: D.
        alpha, min_alpha: learning rate at the beginning and at the end; linear in between, over all passes.
        window: most words between centre and context on each side.
        min_count: rarer words are left out.
        sample: s; frequent words are left out by chance: one of relative frequency f stays with probability
            (sqrt(f/s) + 1)·s/f. From 1 on, a count instead of a frequency. 0: all stay.
        seed: of the first vectors, uniform in ±1/D, and of every draw.
        workers: threads; by default :func:`seqcore.get_num_threads`.
        sg: 1 for skip-gram, 0 for CBOW.
        negative: noise words per centre, drawn by count**ns_exponent.
        cbow_mean: 1: CBOW takes the mean of the contexts, 0: their sum.
        epochs: passes over the corpus.
        trim_rule: ``rule(word, count, min_count)`` decides on each word: 1 leaves it out, 2 keeps it, 0 or None
            applies ``min_count``.
        callbacks: objects with any of gensim's methods on_train_begin, on_epoch_begin, on_epoch_end and
            on_train_end(model).
        comment: a text that goes into the model's file.
        max_final_vocab: raises ``min_count`` until at most so many words are left.
        shrink_windows: draw the window of each centre from 1...window.
        max_vocab_size, hs, hashfxn, null_word, sorted_vocab, batch_words, compute_loss: settings of gensim's, accepted
            at the one value that they can have here.
        loss: "negative_sampling", or "nce", which takes log(negative · P(word)) from each logit.
        deterministic: the same bits for any number of workers, of which at most 16 are used: they work on fixed shards
            of the text with rows of their own, which are merged in a fixed order after every 32 centre words. The
            price is half of the speed, with CBOW three fifths. Without it, threads write to the shared vectors
            without locks, and only one worker gives the same bits again.
        verbose: 1 prints a line of progress with rate, loss and time left.

    Attributes:
        corpus_count, corpus_total_words: of the corpus that the vocabulary came from, the sentences (of a file, those
            that hold words of the vocabulary), and the words, all of them.
        effective_min_count: ``min_count`` after ``max_final_vocab`` raised it.
        history: one dict per pass: epoch, loss (mean per pair over every 64th block; NaN without pairs), pairs,
            seconds, words_per_second.
        running_training_loss: the result of :meth:`get_latest_training_loss`; may be set to 0 between passes.

    Raises:
        ValueError, TypeError: naming the argument, with the expected and the given value.

    >>> text = [["cats", "chase", "mice"], ["dogs", "chase", "cats"]] * 50
    >>> model = Word2Vec(text, vector_size=8, min_count=1, window=2, sg=1, epochs=3, workers=1)
    >>> len(model.wv), model.wv["cats"].shape
    (4, (8,))
    """

    _pickle_family = "word2vec"
    _attributes = frozenset(
        {
            "settings", "history", "corpus_count", "corpus_total_words", "effective_min_count", "running_training_loss",
        }
    )  # fmt: skip

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: PathLike | None = None,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int | None = None,
        min_alpha: float = 0.0001,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: Callable[[Any], int] = hash,
        epochs: int = 5,
        null_word: int = 0,
        trim_rule: TrimRule | None = None,
        sorted_vocab: int = 1,
        batch_words: int = 10_000,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
        comment: str | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
        *,
        loss: str = "negative_sampling",
        deterministic: bool = False,
        verbose: int = 0,
    ) -> None:
        self.max_vocab_size, self.hs, self.hashfxn, self.null_word = max_vocab_size, hs, hashfxn, null_word
        self.sorted_vocab, self.batch_words, self.compute_loss = sorted_vocab, batch_words, compute_loss
        self.settings = Settings(
            vector_size, alpha, window, min_count, max_final_vocab, sample, seed, workers, min_alpha, sg, negative,
            ns_exponent, cbow_mean, epochs, shrink_windows, loss, deterministic, comment,
        )  # fmt: skip
        self._reset()
        if sentences is None and corpus_file is None:
            reason = "without sentences; give it to build_vocab or train"
            default_only("trim_rule", trim_rule, None, reason)
            default_only("callbacks", callbacks, ((), []), reason)
            default_only("verbose", verbose, 0, reason)
            return
        corpus = self._build_vocabulary(read(sentences, corpus_file), False, trim_rule, self.settings)
        self.train(corpus, callbacks=callbacks, verbose=verbose)

    def __repr__(self) -> str:
        architecture = "skip-gram" if self.settings.sg else "CBOW"
        return f"<Word2Vec {architecture}, {len(self.words)} words, vector_size={self.settings.vector_size}>"

    # --- loss ---

    def get_latest_training_loss(self) -> float:
        """The loss summed over all pairs of the latest :meth:`train`, its passes so far; 0 before.

        Every 64th block of pairs is measured; the sum is their mean times the number of pairs. For the mean of a pass
        see ``history``.
        """
        return float(self.running_training_loss)

    # --- training ---

    @ends_together
    def train(
        self,
        corpus_iterable: Sentences | Corpus | None = None,
        corpus_file: PathLike | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
        *,
        resume: bool = False,
        checkpoint: PathLike | None = None,
        on_progress: Report | None = None,
        verbose: int = 0,
        distribute: Any = None,
    ) -> tuple[int, int]:
        """Train for ``epochs`` passes over a corpus.

        Args:
            corpus_iterable: sentences, or a :class:`Corpus` of :meth:`encode`.
            corpus_file: a text file instead.
            total_examples, total_words: sentences or words in all (the first goes before); as in gensim, the learning
                rate falls as if the corpus had so many. Without them, and for ``corpus_count``, as many as it has.
            epochs, start_alpha, end_alpha: by default the settings ``epochs``, ``alpha`` and ``min_alpha``.
            word_count, queue_factor, report_delay, compute_loss: arguments of gensim's, at the one value that they can
                have here.
            callbacks: as in the constructor.
            resume: do the remaining passes of the run that was saved in a checkpoint; with one worker (or
                ``deterministic``) the result has the same bits as that of an uninterrupted run.
            checkpoint: file to save the model in after each pass.
            on_progress: called with a :class:`Progress` a few times per second.
            verbose: 1 prints a line of progress.
            distribute: communicator of mpi4py, such as ``MPI.COMM_WORLD``, whose processes all call this with the same
                vocabulary, settings and corpus: each trains with its part of the sentences, and the vectors are
                averaged after each pass and within long ones. The first process's vectors are taken at the start; it
                alone saves, reports and calls the callbacks. See docs/guide/distributed.md.

        Returns:
            (words of the vocabulary, words of the text) that were read, over all passes.

        Raises:
            ValueError: no vocabulary, an empty corpus, arguments out of range. Nothing is changed then.
            KeyboardInterrupt: the training until then stays.
        """
        self._need_words()
        listeners = as_list("callbacks", callbacks, "objects with on_epoch_end, ...")
        if on_progress is not None and not callable(on_progress):
            raise TypeError(f"on_progress: expected a function, got {short_repr(on_progress)}")
        verbose, resume = boolean("verbose", verbose), boolean("resume", resume)
        default_only("word_count", word_count, 0, "all words are trained on")
        default_only("queue_factor", queue_factor, 2, "there is no queue of batches")
        default_only("report_delay", report_delay, 1.0, "nothing is logged; see on_progress and verbose")
        self.compute_loss = compute_loss
        self.settings.check()
        scheduled = (epochs, start_alpha, end_alpha, total_examples, total_words)
        if resume and any(given is not None for given in scheduled):
            raise ValueError("resume: expected only epochs, learning rates and totals of the saved run, got others")
        check_one(corpus_iterable, corpus_file, "corpus_iterable")
        corpus = corpus_iterable
        if not isinstance(corpus, Corpus):
            corpus = self._encode(corpus_iterable, corpus_file, "corpus_iterable")
        corpus.check(len(self.words))
        scale = 1.0
        if total_words is not None:
            scale = corpus.total_words / integer("total_words", total_words, 1)
        if total_examples is not None:
            scale = corpus.sentences / integer("total_examples", total_examples, 1)
        if resume:
            if self._schedule is None or self._schedule.done >= self._schedule.epochs:
                raise ValueError("resume: expected a model saved before its last pass, got one with nothing left to do")
            schedule = self._schedule
        else:
            schedule = RateSchedule(
                self.epochs if epochs is None else epochs,
                self.alpha if start_alpha is None else start_alpha,
                self.min_alpha if end_alpha is None else end_alpha,
                scale=scale,
            )
        if checkpoint is not None:
            _check_place(checkpoint)
        ranks = None if distribute is None else Ranks(distribute)
        if ranks is not None:
            vocabulary = digest(np.array([*map(repr, self.words)]), self.counts, self._wv.vectors_lockf)
            check_alike(ranks, corpus, self.settings, schedule, vocabulary=vocabulary, passes=self._passes)
            if not ranks.is_main:
                listeners, checkpoint, on_progress, verbose = [], None, None, False
        progress = RunProgress(len(corpus.ids), schedule, on_progress, verbose)
        return self._train(corpus, schedule, progress, listeners, checkpoint, ranks)

    def _train(
        self,
        corpus: Corpus,
        schedule: RateSchedule,
        progress: RunProgress,
        listeners: list[Any],
        checkpoint: Any,
        ranks: Ranks | None,
    ) -> tuple[int, int]:
        self._schedule, passes = schedule, schedule.epochs - schedule.done
        if not schedule.done:
            self.running_training_loss = 0.0
        notify(listeners, "on_train_begin", self)
        for epoch in range(schedule.done, schedule.epochs):
            notify(listeners, "on_epoch_begin", self)
            self._pass(corpus, schedule, epoch, progress, ranks)
            schedule.done = epoch + 1
            if checkpoint is not None:
                self.save(checkpoint)
            notify(listeners, "on_epoch_end", self)
        notify(listeners, "on_train_end", self)
        return passes * len(corpus.ids), passes * corpus.total_words

    def _pass(
        self, corpus: Corpus, schedule: RateSchedule, epoch: int, progress: RunProgress, ranks: Ranks | None
    ) -> None:
        """One pass, in pieces of whole sentences."""
        self._align_tables()
        settings, count = self.settings, len(corpus.ids)
        threads = settings.workers or system.get_num_threads()
        noise, subsample_threshold, log_noise = self._distributions()
        factors = self._wv.vectors_lockf
        lock = None if (factors == 1).all() else np.ascontiguousarray(factors)
        shared = None if ranks is None else SharedTables(ranks, (self._input, self._output))
        words_per_call = WORDS_PER_CALL * (1 if ranks is None else ranks.size)
        marks = np.arange(0, count + words_per_call, words_per_call)
        cuts = np.unique(np.minimum(np.searchsorted(corpus.offsets, marks), len(corpus.offsets) - 1))
        seed = (settings.seed * 0x9E3779B97F4A7C15 + self._passes) & _MASK
        began, loss_sum, measured, pairs = time.perf_counter(), 0.0, 0, 0
        for number, (first, last) in enumerate(zip(cuts[:-1], cuts[1:])):
            at, end = (float(corpus.offsets[n]) / count for n in (first, last))
            own_first, own_last = (first, last) if shared is None else shared.sentences(corpus, first, last)
            if not same_memory(self._wv.vectors, self._input[:, : settings.vector_size]):
                self._align_tables()  # someone gave wv other vectors between two pieces
            try:
                piece_loss, piece_measured, piece_pairs = train_word2vec(
                    corpus.ids,
                    corpus.offsets,
                    int(own_first),
                    int(own_last),
                    self._input,
                    self._output,
                    settings.vector_size,
                    subsample_threshold,
                    noise,
                    log_noise,
                    window=settings.window,
                    negatives=settings.negative,
                    shrink=settings.shrink_windows,
                    cbow=not settings.sg,
                    mean=bool(settings.cbow_mean),
                    rate_begin=schedule.rate(epoch, at),
                    rate_end=schedule.rate(epoch, end),
                    seed=seed,
                    threads=threads,
                    lock=lock,
                    deterministic=settings.deterministic,
                )
            finally:
                self._wv.norms = None
            if shared is not None:
                if (number + 1) % CALLS_PER_AVERAGE == 0 or last == cuts[-1]:
                    shared.average((self._input, self._output))
                sums = shared.sum(piece_loss, piece_measured, piece_pairs)
                piece_loss, piece_measured, piece_pairs = sums[0], int(sums[1]), int(sums[2])
            loss_sum, measured, pairs = loss_sum + piece_loss, measured + piece_measured, pairs + piece_pairs
            mean_loss = piece_loss / max(piece_measured, 1)
            self.running_training_loss += mean_loss * piece_pairs
            progress.update(epoch, end, mean_loss)
        self._passes += 1
        seconds = time.perf_counter() - began
        self.history.append(
            {
                "epoch": self._passes,
                "loss": loss_sum / measured if measured else float("nan"),
                "pairs": pairs,
                "seconds": seconds,
                "words_per_second": corpus.total_words / seconds,
            }
        )

    def _distributions(self) -> tuple[AliasTable, Array | None, Array | None]:
        """The table of the noise, 32-bit thresholds of the words to keep, and the logarithms of NCE's noise."""
        settings = self.settings
        powers = settings.ns_exponent * np.log(self.counts.astype(np.float64))
        powers -= powers.max()
        logarithms = powers - np.log(np.exp(powers).sum())
        noise = AliasTable(np.exp(logarithms))
        subsample_threshold = log_noise = None
        if settings.sample > 0:
            if settings.sample != self._sampled or "sample_int" not in self._wv.expandos:
                self._wv.expandos["sample_int"] = keep_limits(self.counts, settings.sample)
                self._sampled = settings.sample
            subsample_threshold = self._wv.expandos["sample_int"]
        if settings.loss == "nce":
            log_noise = (np.log(settings.negative) + logarithms).astype(np.float32)
        return noise, subsample_threshold, log_noise


def _check_place(checkpoint: Any) -> None:
    """Raise OSError for a path that cannot be written, before hours are spent."""
    place = path_of(checkpoint, "checkpoint")
    folder = os.path.dirname(os.path.realpath(place))
    if os.path.isdir(place):
        raise IsADirectoryError(errno.EISDIR, "checkpoint: expected a file, got a folder", place)
    if not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EACCES if os.path.isdir(folder) else errno.ENOENT
        raise OSError(number, "checkpoint: expected a folder that can be written, got", folder)
