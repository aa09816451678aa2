"""The tables that Word2Vec trains: vectors of words and of targets, with the settings and the vocabulary.

V: words of the vocabulary, D: dimensions of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from .._validation import boolean, default_only, integer, short_repr
from ..ops.activations import softmax
from ..text.files import path_of
from ..typing import Array, PathLike
from .corpus import Corpus, CountedText, Sentences, TrimRule, check_one, choose_words, encode_file, read
from .fixed_attributes import FixedAttributes
from .keyed_vectors import KeyedVectors
from .keys import Key, as_keys, as_list, index_keys
from .settings import Constant, Setting, Settings, keep_limits

_LANES = 16


class TrainableTables(FixedAttributes):
    """The part of :class:`seqcore.Word2Vec` without the training: settings, tables, vocabulary."""

    settings: Settings

    _elsewhere: ClassVar[Mapping[str, str]] = {
        "words": "build_vocab(update=True) and wv.add_vectors add words",
        "counts": "wv.set_vecattr(word, 'count', number)",
        "layer1_size": "vector_size",
        "train_count": "history has an entry for each pass",
        "total_train_time": "history has the seconds of each pass",
        "min_alpha_yet_reached": "alpha and min_alpha",
        "random": "seed; every draw depends only on it, the pass and the sentence",
        "raw_vocab": "wv.key_to_index and wv.get_vecattr(word, 'count'); words that are left out are not kept",
        "syn1": "syn1neg; there is no hierarchical softmax",
        "syn0": "wv.vectors",
        "score": "there is no hierarchical softmax, which it needs",
        **dict.fromkeys(("scan_vocab", "prepare_vocab", "prepare_weights"), "build_vocab"),
        "init_weights": "a new model",
        "update_weights": "build_vocab(update=True)",
        "estimate_memory": "2 * 4 bytes * words * vector_size",
        "create_binary_tree": "there is no hierarchical softmax",
        **dict.fromkeys(
            ("cum_table", "make_cum_table"), "the noise words are drawn by counts and ns_exponent at each pass"
        ),
        "add_null_word": "there is no word for padding",
        "seeded_vector": "the first vectors are drawn by seed",
        "add_lifecycle_event": "nothing is logged here; comment goes into the file",
        "most_similar": "wv.most_similar",
        "lifecycle_events": "nothing is logged here",
        "similarity": "wv.similarity",
    }

    vector_size, alpha, min_alpha, window, min_count = Setting(), Setting(), Setting(), Setting(), Setting()
    max_final_vocab, sample, seed, workers, sg = Setting(), Setting(), Setting(), Setting(), Setting()
    negative, ns_exponent, cbow_mean, epochs = Setting(), Setting(), Setting(), Setting()
    shrink_windows, loss, deterministic, comment = Setting(), Setting(), Setting(), Setting()
    max_vocab_size = Constant(None, "all words are counted; min_count and max_final_vocab leave out the rare ones")
    hs = Constant(0, "there is negative sampling and NCE, no hierarchical softmax")
    hashfxn = Constant(hash, "the first vectors are drawn by seed")
    null_word = Constant(0, "there is no word for padding")
    sorted_vocab = Constant(1, "words are in the order of their counts")
    batch_words = Constant(10_000, "sentences are shared out among the threads without batches")
    compute_loss = Constant((False, True), "the loss is always measured")

    def _reset(self) -> None:
        """Make the model empty, for the settings."""
        self.corpus_count = self.corpus_total_words = 0
        self.effective_min_count = self.settings.min_count
        self._wv = KeyedVectors(vector_size=self.settings.vector_size)
        self._words: list[Any] = []
        self._input = self._output = _table(0, self._stride)
        self._sampled = self.settings.sample

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and copy, with the vectors once, as those of ``wv``."""
        return {**self.__dict__, "_input": _table(0, self._stride)}

    # --- tables ---

    @property
    def wv(self) -> KeyedVectors:
        """The words' vectors: the table that is trained. Training shows in a ``wv`` that the caller holds, and values
        written into ``wv.vectors`` are trained on and saved. Empty before :meth:`build_vocab`; another ``vector_size``
        makes a new one.

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
    def words(self) -> list[Any]:
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
        self._align_tables()
        return self._output[:, : self.vector_size]

    @syn1neg.setter
    def syn1neg(self, targets: Any) -> None:
        self._align_tables()
        array = np.asarray(targets)
        if array.dtype.kind not in "fiu" or array.shape != self._wv.vectors.shape:
            raise ValueError(
                f"syn1neg: expected numbers of shape {self._wv.vectors.shape}, got {array.dtype} of shape {array.shape}"
            )
        self._output[:, : self.vector_size] = array

    def init_sims(self, replace: bool = False) -> None:
        """:meth:`seqcore.KeyedVectors.init_sims` of ``wv``."""
        self._wv.init_sims(replace)

    def predict_output_word(self, context_words_list: Sequence[Key], topn: int = 10) -> list[tuple[Any, float]] | None:
        """The most probable centre words of a CBOW context, with their probabilities; None for unknown words."""
        self._need_words()
        words = as_list("context_words_list", context_words_list)
        rows = [self._wv.get_index(word) for word in words if word in self._wv]
        if not rows:
            return None
        mean = self._wv.vectors[rows].sum(axis=0) / (len(rows) if self.settings.cbow_mean else 1)
        chances = softmax(self.syn1neg @ mean).numpy()
        best = np.argsort(-chances, kind="stable")[: integer("topn", topn, 0)]
        return [(self.words[row], float(chances[row])) for row in best.tolist()]

    # --- vocabulary ---

    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: PathLike | None = None,
        update: bool = False,
        progress_per: int = 10_000,
        keep_raw_vocab: bool = False,
        trim_rule: TrimRule | None = None,
        *,
        min_count: int | None = None,
        sample: float | None = None,
        dry_run: bool = False,
    ) -> Corpus:
        """Count the words of a corpus and make the first vectors.

        Args:
            corpus_iterable, corpus_file: as in the constructor.
            update: adds the words that come ``min_count`` times in this corpus to those there are, the most frequent
                first, and adds up the counts of all; ``sample`` takes the frequencies of this corpus for its words.
            trim_rule: as in the constructor.
            min_count, sample: instead of the settings; without ``update`` they become the settings.
            progress_per, keep_raw_vocab, dry_run: arguments of gensim's, only at their defaults.

        Returns:
            The corpus as ids, which :meth:`train` takes in place of the words.

        Raises:
            ValueError: no word comes ``min_count`` times, the file is empty or no text, or there is a vocabulary
                already.
        """
        default_only("progress_per", progress_per, 10_000, "nothing is logged")
        default_only("keep_raw_vocab", keep_raw_vocab, False, "words that are left out are not kept")
        default_only("dry_run", dry_run, False, "the vocabulary is made")
        given: dict[str, Any] = {"min_count": min_count, "sample": sample}
        settings = replace(self.settings, **{name: value for name, value in given.items() if value is not None})
        update = self._check_update(update)
        text = read(corpus_iterable, corpus_file, "corpus_iterable")
        return self._build_vocabulary(text, update, trim_rule, settings)

    def build_vocab_from_freq(
        self,
        word_freq: Mapping[Any, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """Make the vocabulary from counts of words; arguments otherwise as for :meth:`build_vocab`.

        Args:
            word_freq: how often each word comes.
            corpus_count: value of the attribute ``corpus_count``; 0 without it.

        >>> from seqcore import Word2Vec
        >>> model = Word2Vec(vector_size=4, min_count=2)
        >>> model.build_vocab_from_freq({"cat": 3, "dog": 2, "owl": 1})
        >>> model.words
        ['cat', 'dog']
        """
        default_only("keep_raw_vocab", keep_raw_vocab, False, "words that are left out are not kept")
        sentences = 0 if corpus_count is None else integer("corpus_count", corpus_count, 0)
        update = self._check_update(update)
        if not isinstance(word_freq, Mapping) or not word_freq:
            raise TypeError(f"word_freq: expected a dict of words and their counts, got {short_repr(word_freq)}")
        words, settings = as_keys("word_freq", word_freq), self.settings
        index_keys("word_freq", words)
        counts = [integer(f"word_freq[{word!r}]", count, 1, 2**53) for word, count in word_freq.items()]
        text = CountedText(words, np.array(counts, np.int64))
        self._add_words(text, *choose_words(text, settings, trim_rule, needed=not update), settings)
        self.corpus_count = sentences

    def reset_from(self, other_model: TrainableTables) -> None:
        """Start anew with the vocabulary of another model and first vectors by the settings of this one.

        The words with their counts and other attributes, ``corpus_count`` and ``corpus_total_words`` are copied, so
        that several models train on one text without counting it again; the training so far is forgotten.

        Raises:
            ValueError, TypeError: no model, or one without a vocabulary. Nothing is changed then.

        >>> from seqcore import Word2Vec
        >>> counted, model = Word2Vec(min_count=1), Word2Vec(vector_size=4)
        >>> corpus = counted.build_vocab([["cat", "dog", "cat"]])
        >>> model.reset_from(counted)
        >>> model.words, model.wv.vectors.shape
        (['cat', 'dog'], (2, 4))
        """
        if not isinstance(other_model, TrainableTables):
            raise TypeError(f"other_model: expected a Word2Vec, got {short_repr(other_model)}")
        other_model._need_words()
        words, extras = list(other_model.words), dict(other_model.wv.expandos)
        copied = {
            name: getattr(other_model, name)
            for name in ("corpus_count", "corpus_total_words", "effective_min_count", "_sampled")
        }
        self._reset()
        self._wv.add_vectors(words, self._first_vectors(len(words), 0), extras)
        for name, value in copied.items():
            setattr(self, name, value)
        self._align_tables()

    def _check_update(self, update: Any) -> bool:
        if boolean("update", update):
            self._need_words()
            return True
        if self.words:
            raise ValueError("update: expected True, which adds words, got False where there is a vocabulary already")
        return False

    def _build_vocabulary(
        self, text: CountedText, update: bool, trim_rule: TrimRule | None, settings: Settings
    ) -> Corpus:
        """Vocabulary and vectors from a text, and the text as ids."""
        chosen, least = choose_words(text, settings, trim_rule, needed=not update)
        new = [word for n in chosen if (word := text.words[n]) not in self._wv.key_to_index]
        corpus = text.encode([*self.words, *new])
        self._add_words(text, chosen, least, settings)
        if not update:
            self.settings = settings
        self.corpus_total_words, self.corpus_count = corpus.total_words, corpus.sentences
        return corpus

    def _add_words(self, text: CountedText, chosen: list[int], least: int, settings: Settings) -> None:
        """Add the chosen words of a text behind those there are, and the counts of all."""
        self._align_tables()
        wv, first, words = self._wv, len(self._wv), text.words
        new = [words[n] for n in chosen if words[n] not in wv.key_to_index]
        wv.add_vectors(new, self._first_vectors(len(new), first))
        counts = np.zeros(len(wv), np.int64) if wv.counts is None else wv.counts
        limits = wv.expandos.get("sample_int", np.zeros(len(wv), np.uint32))
        rows = wv.rows_of(words)
        known = rows >= 0
        counts[rows[known]] += text.counts[known]
        if chosen:
            limits[rows[chosen]] = keep_limits(text.counts[chosen], settings.sample)
        wv.expandos |= {"count": counts, "sample_int": limits}
        self._sampled, self.effective_min_count = settings.sample, least
        self._align_tables()

    def _first_vectors(self, words: int, first: int) -> Array:
        """(words, D) vectors drawn for new words from row ``first`` on; words that are added later get other ones."""
        rng = np.random.Generator(np.random.Philox(key=[self.settings.seed, first]))
        return np.asarray((2 * rng.random((words, self.vector_size), np.float32) - 1) / self.vector_size)

    def _align_tables(self) -> None:
        """Lay the vectors of ``wv`` out as the core trains them, and give each word its row of targets.

        Since the last time ``wv`` may have got other vectors, more words or another order, or may be a copy.
        """
        wv, shape = self._wv, (len(self._wv), self._stride)
        if self._words != wv.index_to_key or self._output.ctypes.data % 64:
            targets, rows = _table(*shape), wv.rows_of(self._words)
            targets[rows[rows >= 0]] = self._output[rows >= 0]
            self._output, self._words = targets, list(wv.index_to_key)
        if not same_memory(wv.vectors, self._input[:, : self.vector_size]):
            table = _table(*shape)
            table[:, : self.vector_size] = wv.vectors
            self._input = table
            wv.vectors = table[:, : self.vector_size]
        # A word from wv.add_vectors counts as seen once and is never left out.
        if len(wv) and (blank := self.counts < 1).any():
            self.counts[blank] = 1
            if "sample_int" in wv.expandos:
                wv.expandos["sample_int"][blank] = 2**32 - 1

    def _take_settings(self, settings: Settings) -> None:
        """Use settings of which an attribute was changed."""
        if settings.vector_size != self.settings.vector_size:
            if self.words:
                size = self.settings.vector_size
                raise ValueError(f"vector_size: expected {size}, which the vectors have, got {settings.vector_size}")
            self.settings = settings
            self._reset()
        self.settings = settings

    @property
    def _stride(self) -> int:
        return -(-self.settings.vector_size // _LANES) * _LANES

    def _need_words(self) -> None:
        if not self.words:
            raise ValueError("Word2Vec: expected a vocabulary, got none; call build_vocab first")

    # --- corpora ---

    def encode(self, sentences: Sentences | None = None, corpus_file: PathLike | None = None) -> Corpus:
        """A corpus as ids of this vocabulary, for several calls of :meth:`train`; other words are left out."""
        return self._encode(sentences, corpus_file, "sentences")

    def _encode(self, sentences: Any, corpus_file: Any, name: str) -> Corpus:
        self._need_words()
        check_one(sentences, corpus_file, name)
        if corpus_file is not None:
            return encode_file(path_of(corpus_file, "corpus_file"), self.words)
        return read(sentences, None, name).encode(self.words)


def _table(rows: int, columns: int) -> Array:
    """Zeros (rows, columns) float32 whose rows start at whole cache lines."""
    memory = np.zeros(rows * columns + _LANES, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + rows * columns].reshape(rows, columns)


def same_memory(a: Array, b: Array) -> bool:
    """True if two arrays are the same elements in the same place."""
    return bool(a.__array_interface__ == b.__array_interface__)
