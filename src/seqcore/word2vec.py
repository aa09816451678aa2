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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _core, io
from ._validation import MALFORMED, FixedAttributes, at_least, default_only, one_line, short_repr
from .callbacks.progress import is_terminal, write
from .corpus import Corpus, Sentences, Text, TrimRule, check_one, encode_file, kept, read
from .keyed_table import one_file
from .saving.files import parse_json
from .text.files import path_of
from .vectors import KeyedVectors
from .word2vec_settings import CONSTANTS, Constant, Schedule, Setting, Settings, integer, keep_limits, number, truth

Array = NDArray[Any]

_PIECE = 400_000
"""Words between two looks at the learning rate, the progress and Ctrl-C."""
_LANES = 16
_MASK = 2**64 - 1
_ATTRIBUTE = "attribute."


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


class Word2Vec(FixedAttributes):
    """Learns a vector for each word of a corpus.

    Arguments, their order and their defaults are gensim's; those after ``shrink_windows`` are added. All settings are
    attributes, too: they are checked when they are set and used from the next training (``min_count`` and
    ``max_final_vocab``: the next vocabulary) on.

    Args:
        sentences: lists of words; any iterable, also one that can be walked through only once. One list holding all
            words is one stream. With it (or ``corpus_file``) vocabulary and vectors are made at once.
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
        trim_rule: ``rule(word, count, min_count)`` says what becomes of a word: 1 leaves it out, 2 keeps it, 0 or None
            leaves it to ``min_count``.
        callbacks: objects with any of gensim's methods on_train_begin, on_epoch_begin, on_epoch_end and
            on_train_end(model).
        comment: a text that goes into the model's file.
        max_final_vocab: raises ``min_count`` until at most so many words are left.
        shrink_windows: draw the window of each centre from 1...window.
        max_vocab_size, hs, hashfxn, null_word, sorted_vocab, batch_words, compute_loss: settings of gensim's, accepted
            at the value that says what happens here anyway.
        loss: "negative_sampling", or "nce", which takes log(negative · P(word)) from each logit.
        deterministic: the same bits for any number of workers, at the price of working on one thread. Otherwise
            threads write to the shared vectors without locks, and only one worker gives the same bits again.
        verbose: 1 prints a line of progress with rate, loss and time left.

    Attributes:
        corpus_count, corpus_total_words: of the corpus that the vocabulary came from, the sentences (of a file, those
            that hold words of the vocabulary), and the words, all of them.
        effective_min_count: what ``min_count`` was raised to by ``max_final_vocab``.
        history: one dict per pass: epoch, loss (mean per pair over every 64th block; NaN if no pair was learnt), pairs,
            seconds, words_per_second.
        running_training_loss: what :meth:`get_latest_training_loss` returns; may be set to 0 between passes.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what came.

    >>> text = [["cats", "chase", "mice"], ["dogs", "chase", "cats"]] * 50
    >>> model = Word2Vec(text, vector_size=8, min_count=1, window=2, sg=1, epochs=3, workers=1)
    >>> len(model.wv), model.wv["cats"].shape
    (4, (8,))
    """

    _attributes = frozenset(
        {
            "settings", "history", "corpus_count", "corpus_total_words", "effective_min_count", "running_training_loss",
        }
    )  # fmt: skip
    _elsewhere: ClassVar[Mapping[str, str]] = {
        "layer1_size": "vector_size",
        "train_count": "history has an entry for each pass",
        "total_train_time": "history has the seconds of each pass",
        "min_alpha_yet_reached": "alpha and min_alpha",
        "random": "seed; every draw depends on it, the pass and the sentence alone",
        "cum_table": "the noise words are drawn by counts and ns_exponent at each pass",
        "raw_vocab": "wv.key_to_index and wv.get_vecattr(word, 'count'); words that are left out are not kept",
        "syn1": "syn1neg; there is no hierarchical softmax",
        "syn0": "wv.vectors",
        "score": "there is no hierarchical softmax, which it needs",
        "reset_from": "build_vocab_from_freq with the counts of the other model's wv",
        "scan_vocab": "build_vocab",
        "prepare_vocab": "build_vocab",
        "prepare_weights": "build_vocab",
        "init_weights": "a new model",
        "update_weights": "build_vocab(update=True)",
        "estimate_memory": "2 * 4 bytes * words * vector_size",
        "create_binary_tree": "there is no hierarchical softmax",
        "make_cum_table": "the noise words are drawn by counts and ns_exponent at each pass",
        "add_null_word": "there is no word for padding",
        "seeded_vector": "the first vectors are drawn by seed",
        "init_sims": "wv.fill_norms, or wv.unit_normalize_all to overwrite the vectors",
        "add_lifecycle_event": "nothing is logged here; comment goes into the file",
        "most_similar": "wv.most_similar",
        "similarity": "wv.similarity",
    }

    vector_size, alpha, min_alpha, window, min_count = Setting(), Setting(), Setting(), Setting(), Setting()
    max_final_vocab, sample, seed, workers, sg = Setting(), Setting(), Setting(), Setting(), Setting()
    negative, ns_exponent, cbow_mean, epochs = Setting(), Setting(), Setting(), Setting()
    shrink_windows, loss, deterministic, comment = Setting(), Setting(), Setting(), Setting()
    max_vocab_size, hs, hashfxn, null_word = Constant(), Constant(), Constant(), Constant()
    sorted_vocab, batch_words, compute_loss = Constant(), Constant(), Constant()

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
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
        constants: tuple[Any, ...] = (max_vocab_size, hs, hashfxn, null_word, sorted_vocab, batch_words, compute_loss)
        for (name, allowed), given in zip(CONSTANTS.items(), constants):
            default_only(name, given, *allowed)
        self.settings = Settings(
            vector_size, alpha, window, min_count, max_final_vocab, sample, seed, workers, min_alpha, sg, negative,
            ns_exponent, cbow_mean, epochs, shrink_windows, loss, deterministic, comment,
        )  # fmt: skip
        self.settings.check()
        self.corpus_count = self.corpus_total_words = 0
        self.effective_min_count = self.settings.min_count
        self.history: list[dict[str, Any]] = []
        self.running_training_loss = 0.0
        self._wv = KeyedVectors(vector_size=self.settings.vector_size)
        self._rows: list[str] = []
        self._input = self._output = _table(0, self._stride)
        self._passes = 0
        self._sampled = self.settings.sample
        self._schedule: Schedule | None = None
        if sentences is None and corpus_file is None:
            reason = "without sentences; give it to build_vocab or train"
            default_only("trim_rule", trim_rule, None, reason)
            default_only("callbacks", callbacks, ((), []), reason)
            default_only("verbose", verbose, 0, reason)
            return
        corpus = self._take(read(sentences, corpus_file), False, trim_rule, self.settings)
        self._train(corpus, self._schedule_of(None, None, None), callbacks, verbose, None)

    def __repr__(self) -> str:
        kind = "skip-gram" if self.settings.sg else "CBOW"
        return f"<Word2Vec {kind}, {len(self.words)} words, vector_size={self.settings.vector_size}>"

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy take; the vectors once, as those of ``wv``."""
        return {**self.__dict__, "_input": _table(0, self._stride)}

    # --- what was learnt ---

    @property
    def wv(self) -> KeyedVectors:
        """The words' vectors: the table that is trained, so that a ``wv`` that is held shows the training, and what is
        written into ``wv.vectors`` is trained on and saved. Empty before :meth:`build_vocab`.

        Assigning takes vectors with counts, of the same size, in their place; words that stay keep their targets.
        """
        return self._wv

    @wv.setter
    def wv(self, wv: KeyedVectors) -> None:
        if not isinstance(wv, KeyedVectors):
            raise TypeError(f"wv: expected KeyedVectors, got {short_repr(wv)}")
        if wv.vector_size != self.vector_size:
            raise ValueError(f"wv: expected vectors of {self.vector_size} numbers, got {wv.vector_size}")
        if not len(wv) or wv.counts is None:
            raise ValueError("wv: expected words with counts, by which the noise words are drawn, got none")
        self._wv = wv

    @property
    def words(self) -> list[str]:
        """The words of the vocabulary by their rows."""
        return self._wv.index_to_key

    @property
    def counts(self) -> Array:
        """(V,) int64, how often each word was seen."""
        counts = self._wv.counts
        return np.zeros(0, np.int64) if counts is None else counts

    @property
    def syn1neg(self) -> Array:
        """(V, D) the words' vectors as targets; writing into them and assigning others reaches the training."""
        self._settle()
        return self._output[:, : self.vector_size]

    @syn1neg.setter
    def syn1neg(self, targets: Any) -> None:
        self._settle()
        array = np.asarray(targets)
        if array.dtype.kind not in "fiu" or array.shape != self._wv.vectors.shape:
            raise ValueError(
                f"syn1neg: expected numbers of shape {self._wv.vectors.shape}, got {array.dtype} of shape {array.shape}"
            )
        self._output[:, : self.vector_size] = array

    def get_latest_training_loss(self) -> float:
        """The loss summed over all pairs of the latest :meth:`train`, its passes so far; 0 before.

        Every 64th block of pairs is measured; the sum is their mean times the number of pairs. For the mean of a pass
        see ``history``.
        """
        return float(self.running_training_loss)

    def predict_output_word(
        self, context_words_list: Sequence[str | int], topn: int = 10
    ) -> list[tuple[str, float]] | None:
        """The words likeliest between others, as CBOW sees them, with their probabilities; None for unknown words."""
        self._need_words()
        rows = [self._wv.get_index(word) for word in context_words_list if word in self._wv]
        if not rows:
            return None
        mean = self._wv.vectors[rows].sum(axis=0) / (len(rows) if self.settings.cbow_mean else 1)
        logits = self.syn1neg @ mean
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        best = np.argsort(-chances, kind="stable")[: at_least("topn", topn, 0)]
        return [(self.words[row], float(chances[row])) for row in best.tolist()]

    # --- vocabulary ---

    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        update: bool = False,
        progress_per: int = 10_000,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        min_count: int | None = None,
        sample: float | None = None,
        dry_run: bool = False,
    ) -> Corpus:
        """Counts the words of a corpus and makes the first vectors.

        Args:
            corpus_iterable, corpus_file: as in the constructor.
            update: adds the words that come ``min_count`` times in this corpus to those there are, the most frequent
                first, and adds up the counts of all; ``sample`` takes the frequencies of this corpus for its words.
            trim_rule: as in the constructor.
            min_count, sample: instead of the settings; without ``update`` they become the settings.
            progress_per, keep_raw_vocab, dry_run: arguments of gensim's, at their defaults alone.

        Returns:
            The corpus as numbers, which :meth:`train` takes in place of the words.

        Raises:
            ValueError: no word comes ``min_count`` times, the file is empty or no text, or there is a vocabulary
                already.
        """
        default_only("progress_per", progress_per, 10_000, "nothing is logged")
        default_only("keep_raw_vocab", keep_raw_vocab, False, "words that are left out are not kept")
        default_only("dry_run", dry_run, False, "the vocabulary is made")
        given: dict[str, Any] = {"min_count": min_count, "sample": sample}
        settings = replace(self.settings, **{name: value for name, value in given.items() if value is not None})
        settings.check()
        self._check_update(update)
        return self._take(read(corpus_iterable, corpus_file, "corpus_iterable"), bool(update), trim_rule, settings)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[str, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Makes the vocabulary from counts of words; arguments otherwise as for :meth:`build_vocab`.

        Args:
            word_freq: how often each word comes.
            corpus_count: what the attribute ``corpus_count`` shall be; 0 without it.

        >>> model = Word2Vec(vector_size=4, min_count=2)
        >>> model.build_vocab_from_freq({"cat": 3, "dog": 2, "owl": 1})
        >>> model.words
        ['cat', 'dog']
        """
        default_only("keep_raw_vocab", keep_raw_vocab, False, "words that are left out are not kept")
        sentences = 0 if corpus_count is None else integer("corpus_count", corpus_count, 0)
        self._check_update(update)
        if not isinstance(word_freq, Mapping) or not word_freq:
            raise TypeError(f"word_freq: expected a dict of words and their counts, got {short_repr(word_freq)}")
        for word, count in word_freq.items():
            if not isinstance(word, str):
                raise TypeError(f"word_freq: expected words, got {short_repr(word)}")
            integer(f"word_freq[{word!r}]", count, 1, 2**53)
        text = Text(list(word_freq), np.array(list(word_freq.values()), np.int64))
        self._grow(text, *self._choose(text, bool(update), trim_rule, self.settings), self.settings)
        self.corpus_count = sentences

    def _check_update(self, update: Any) -> None:
        if truth("update", update):
            self._need_words()
        elif self.words:
            raise ValueError("update: expected True, which adds words, got False where there is a vocabulary already")

    def _take(self, text: Text, update: bool, trim_rule: TrimRule | None, settings: Settings) -> Corpus:
        """Vocabulary and vectors from a corpus, and the corpus as numbers."""
        self._settle()
        chosen, least = self._choose(text, update, trim_rule, settings)
        known = self._wv.key_to_index
        corpus = text.encode([*self.words, *(text.words[n] for n in chosen if text.words[n] not in known)])
        self._grow(text, chosen, least, settings)
        if not update:
            self.settings = settings
        self.corpus_total_words, self.corpus_count = corpus.total_words, corpus.sentences
        return corpus

    def _choose(
        self, text: Text, update: bool, trim_rule: TrimRule | None, settings: Settings
    ) -> tuple[list[int], int]:
        """Numbers of the words to take in, the most frequent first, and the count that they must have."""
        words, counts, most = text.words, text.counts, settings.max_final_vocab
        order = np.argsort(-counts, kind="stable")
        least = settings.min_count
        if most is not None and most < len(words):
            # Of words that come equally often all stay or none.
            least = max(least, int(counts[order[most]]) + 1)
        if trim_rule is None:
            chosen = order[counts[order] >= least].tolist()
        else:
            chosen = [n for n in order.tolist() if kept(trim_rule, words[n], int(counts[n]), least)]
        if not chosen and not update:
            raised = f", as max_final_vocab={most} wants" if least > settings.min_count else ""
            raise ValueError(
                f"min_count: expected words that come {least} times{raised}, got none; "
                f"the most frequent, {words[int(counts.argmax())]!r:.60}, comes {int(counts.max())} times"
            )
        return chosen, least

    def _grow(self, text: Text, chosen: list[int], least: int, settings: Settings) -> None:
        """Takes in the chosen words of a text behind those there are, and adds the counts of all."""
        self._settle()
        wv, first = self._wv, len(self._wv)
        new = [word for n in chosen if (word := text.words[n]) not in wv]
        # The first vectors of words that are added differ from those that came before.
        rng = np.random.Generator(np.random.Philox(key=[settings.seed, first]))
        start = 2 * rng.random((len(new), self.vector_size), np.float32) - 1
        wv.add_vectors(new, start / self.vector_size)
        counts = np.zeros(len(wv), np.int64) if wv.counts is None else wv.counts
        limits = wv.expandos.get("sample_int", np.zeros(len(wv), np.uint32))
        if not first:
            counts[:] = text.counts[chosen]
        else:
            for word, count in zip(text.words, text.counts.tolist()):
                if word in wv:
                    counts[wv.key_to_index[word]] += count
        if chosen:
            limits[[wv.key_to_index[text.words[n]] for n in chosen]] = keep_limits(text.counts[chosen], settings.sample)
        wv.expandos |= {"count": counts, "sample_int": limits}
        self._sampled, self.effective_min_count = settings.sample, least
        self._settle()

    def _settle(self) -> None:
        """Lays the vectors of ``wv`` out as the core trains them, and gives each word its row of targets.

        Since the last time ``wv`` may have got other vectors, more words or another order, or may be a copy.
        """
        wv, shape = self._wv, (len(self._wv), self._stride)
        if self._rows != wv.index_to_key:
            before = {word: row for row, word in enumerate(self._rows)}
            rows = np.array([before.get(word, -1) for word in wv.index_to_key], np.intp)
            targets = _table(*shape)
            targets[rows >= 0] = self._output[rows[rows >= 0]]
            self._output, self._rows = targets, list(wv.index_to_key)
        elif self._output.ctypes.data % 64:
            targets = _table(*shape)
            targets[...] = self._output
            self._output = targets
        if not _same_memory(wv.vectors, self._input[:, : self.vector_size]):
            table = _table(*shape)
            table[:, : self.vector_size] = wv.vectors
            self._input = table
            wv._lay_out(table[:, : self.vector_size])
        # A word that was added by hand counts as seen once and always stays.
        if len(wv) and (blank := self.counts < 1).any():
            self.counts[blank] = 1
            if "sample_int" in wv.expandos:
                wv.expandos["sample_int"][blank] = 2**32 - 1

    def _take_settings(self, settings: Settings) -> None:
        """Settings that were changed by an attribute."""
        if settings.vector_size != self.settings.vector_size:
            if self.words:
                size = self.settings.vector_size
                raise ValueError(f"vector_size: expected {size}, which the vectors have, got {settings.vector_size}")
            self._wv._lay_out(np.zeros((0, settings.vector_size), np.float32))
        self.settings = settings
        if not self.words:
            self._input = self._output = _table(0, self._stride)

    @property
    def _stride(self) -> int:
        return -(-self.settings.vector_size // _LANES) * _LANES

    def _need_words(self) -> None:
        if not self.words:
            raise ValueError("Word2Vec: expected a vocabulary, got none; call build_vocab first")

    # --- corpora ---

    def encode(self, sentences: Sentences | None = None, corpus_file: str | os.PathLike[str] | None = None) -> Corpus:
        """A corpus as numbers of this vocabulary, for several calls of :meth:`train`; other words are left out."""
        return self._encode(sentences, corpus_file, "sentences")

    def _encode(self, sentences: Any, corpus_file: Any, name: str) -> Corpus:
        self._need_words()
        check_one(sentences, corpus_file, name)
        if corpus_file is not None:
            return encode_file(path_of(corpus_file, "corpus_file"), self.words)
        return read(sentences, None, name).encode(self.words)

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
        word_count: int = 0,
        queue_factor: int = 2,
        report_delay: float = 1.0,
        compute_loss: bool = False,
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
            total_examples, total_words: sentences or words in all (the first goes before); as in gensim, the learning
                rate falls as if the corpus had so many. Without them, and for ``corpus_count``, as many as it has.
            epochs, start_alpha, end_alpha: by default the settings ``epochs``, ``alpha`` and ``min_alpha``.
            word_count, queue_factor, report_delay, compute_loss: arguments of gensim's, at the values that say what
                happens here anyway.
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
        default_only("word_count", word_count, 0, "all words are learnt")
        default_only("queue_factor", queue_factor, 2, "there is no queue of batches")
        default_only("report_delay", report_delay, 1.0, "nothing is logged; see on_progress and verbose")
        default_only("compute_loss", compute_loss, *CONSTANTS["compute_loss"])
        self.settings.check()
        scheduled = (epochs, start_alpha, end_alpha, total_examples, total_words)
        if resume and any(given is not None for given in scheduled):
            raise ValueError("resume: expected epochs, learning rates and totals of the saved run alone, got others")
        if isinstance(corpus_iterable, Corpus):
            check_one(corpus_iterable, corpus_file, "corpus_iterable")
            corpus = corpus_iterable
        else:
            corpus = self._encode(corpus_iterable, corpus_file, "corpus_iterable")
        corpus.check(len(self.words))
        scale = 1.0
        for name, total, there in (
            ("total_words", total_words, corpus.total_words),
            ("total_examples", total_examples, corpus.sentences),
        ):
            if total is not None:
                scale = there / integer(name, total, 1)
        if resume:
            if self._schedule is None or self._schedule.done >= self._schedule.epochs:
                raise ValueError("resume: expected a model saved before its last pass, got one with nothing left to do")
            schedule = self._schedule
        else:
            schedule = self._schedule_of(epochs, start_alpha, end_alpha, scale)
        if checkpoint is not None:
            _check_place(checkpoint)
        return self._train(corpus, schedule, callbacks, verbose, checkpoint, on_progress)

    def _schedule_of(
        self, epochs: int | None, start_alpha: float | None, end_alpha: float | None, scale: float = 1.0
    ) -> Schedule:
        settings = self.settings
        schedule = Schedule(
            settings.epochs if epochs is None else epochs,
            settings.alpha if start_alpha is None else start_alpha,
            settings.min_alpha if end_alpha is None else end_alpha,
            scale=scale,
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
        if not first:
            self.running_training_loss = 0.0
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
        self._settle()
        settings, count = self.settings, len(corpus.ids)
        threads = 1 if settings.deterministic else settings.workers or _core.get_num_threads()
        noise, keep, shift = self._distributions()
        marks = np.arange(0, count + _PIECE, _PIECE)
        cuts = np.unique(np.minimum(np.searchsorted(corpus.offsets, marks), len(corpus.offsets) - 1))
        seed = (settings.seed * 0x9E3779B97F4A7C15 + self._passes) & _MASK
        began, loss, looked, pairs, told = time.perf_counter(), 0.0, 0, 0, started
        for first, last in zip(cuts[:-1], cuts[1:]):
            at, end = (float(corpus.offsets[n]) / count for n in (first, last))
            self._settle()  # someone may have given wv other vectors between two pieces
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
                    rate_begin=schedule.rate(epoch, at),
                    rate_end=schedule.rate(epoch, end),
                    seed=seed,
                    threads=threads,
                )
            finally:
                self._wv.norms = None
            loss, looked, pairs = loss + found[0], looked + found[1], pairs + found[2]
            self.running_training_loss += found[0] / max(found[1], 1) * found[2]
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
            if settings.sample != self._sampled or "sample_int" not in self._wv.expandos:
                self._wv.expandos["sample_int"] = keep_limits(self.counts, settings.sample)
                self._sampled = settings.sample
            keep = self._wv.expandos["sample_int"]
        if settings.loss == "nce":
            shift = (np.log(settings.negative) + logarithms).astype(np.float32)
        return noise, keep, shift

    # --- files ---

    def save(
        self,
        fname: str | os.PathLike[str],
        separately: None = None,
        sep_limit: int = 10 * 1024**2,
        ignore: frozenset[str] = frozenset(),
        pickle_protocol: int = 4,
    ) -> None:
        """Writes the whole model, what is left of a run included, so that :meth:`load` can go on exactly.

        Args:
            fname: the file.
            separately, sep_limit, ignore, pickle_protocol: arguments of gensim's, at their defaults alone.

        Raises:
            OSError: naming ``fname``; the old file is untouched.
        """
        one_file(separately, sep_limit, ignore, pickle_protocol)
        self._need_words()
        self._settle()
        words = json.dumps(self.words, ensure_ascii=False).encode("utf-8", "surrogatepass")
        tensors = {
            "input": self._input,
            "output": self._output,
            "counts": self.counts,
            "words": np.frombuffer(words, np.uint8),
            **{_ATTRIBUTE + name: array for name, array in self._wv.numeric_attributes().items()},
        }
        state = {
            "settings": asdict(self.settings),
            "schedule": asdict(self._schedule) if self._schedule else None,
            "passes": self._passes,
            "corpus": [self.corpus_count, self.corpus_total_words],
            "history": self.history,
            "effective_min_count": self.effective_min_count,
            "sampled": self._sampled,
            "running_training_loss": self.running_training_loss,
        }
        io.write_tensors(fname, tensors, {"seqcore": "word2vec", "version": "1", "state": json.dumps(state)})

    @classmethod
    def load(cls, fname: str | os.PathLike[str], mmap: None = None, *, rethrow: bool = False) -> Word2Vec:
        """Reads a file of :meth:`save`.

        Args:
            fname: the file.
            mmap, rethrow: arguments of gensim's, at their defaults alone.

        Raises:
            ValueError: the file is another kind of file, or damaged.
        """
        default_only("mmap", mmap, None, "training writes to the vectors; KeyedVectors.load maps files")
        default_only("rethrow", rethrow, False, "errors are raised")
        tensors, texts = io.read_tensors(fname)
        if texts.get("seqcore") != "word2vec" or texts.get("version") != "1":
            kind = io.kind_of(texts)
            raise ValueError(f"{os.fspath(fname)}: expected a file of Word2Vec.save, version 1, got {kind}")
        try:
            state = parse_json(texts["state"])
            # Only settings: a file cannot name a corpus to train on.
            model = cls(**asdict(Settings(**state["settings"])))
            words = parse_json(tensors["words"].tobytes().decode("utf-8", "surrogatepass"))
            model._restore(words, tensors, state)
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"{os.fspath(fname)}: expected a file of Word2Vec.save, got another ({reason})") from None
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
        self.effective_min_count = integer("effective_min_count", state.get("effective_min_count", self.min_count), 0)
        self.running_training_loss = number("running_training_loss", state.get("running_training_loss", 0.0), 0)
        self._sampled = number("sampled", state.get("sampled", self.sample), 0)
        extras = {name[len(_ATTRIBUTE) :]: tensors[name] for name in tensors if name.startswith(_ATTRIBUTE)}
        if extras.get("sample_int", np.zeros(0, np.uint32)).dtype != np.uint32:
            raise ValueError("sample_int: expected uint32, got another type")
        self._wv.add_vectors(words, tensors["input"][:, : self.vector_size], {"count": counts, **extras})
        self._settle()
        self._output[...] = tensors["output"]


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


def _table(rows: int, columns: int) -> Array:
    """Zeros (rows, columns) float32 whose rows start at whole cache lines."""
    memory = np.zeros(rows * columns + _LANES, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + rows * columns].reshape(rows, columns)


def _same_memory(one: Array, other: Array) -> bool:
    places = ((a.ctypes.data, a.shape, a.strides, a.dtype) for a in (one, other))
    return next(places) == next(places)


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
