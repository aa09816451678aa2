"""Texts for language models: the Penn Treebank and the built-in corpus with a known entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._validation import integer
from ..text import read_words
from ..text.vocabulary import Vocabulary
from ..typing import Ids, PathLike
from ._folders import find_files
from .grammar import END, Grammar, english

UNKNOWN = "<unk>"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """A text in three parts, as ids (N,) int32 of one vocabulary.

    ``description`` is one line about it. ``bound`` is the lowest perplexity any model can reach in the long run,
    where it is known, and ``true_perplexity`` that of the true distribution on each part itself; ``grammar`` made it.
    """

    name: str
    description: str
    vocabulary: Vocabulary
    train: Ids
    valid: Ids
    test: Ids
    bound: float | None = None
    true_perplexity: Mapping[str, float] = field(default_factory=dict)
    grammar: Grammar | None = None


def load_ptb(folder: PathLike, *, max_bytes: int | None = None) -> Corpus:
    """The Penn Treebank text with Mikolov's preprocessing.

    Args:
        folder: holds ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``, each plain or with ``.gz``, itself or
            in ``ptb/``, ``data/`` or ``simple-examples/data/``.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Each line ends with the word ``<eos>``. The vocabulary is that of the training text, the most frequent word first
    and words of equal count in alphabetical order (W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network
    regularization, 2014). Words of the other parts outside it count as ``<unk>``, if the training text has that word.

    Raises:
        ValueError: files that are missing, empty or not text, and words outside where there is no ``<unk>``.
    """
    names = [f"ptb.{split}.txt" for split in SPLITS]
    places = "ptb", "", "data", "simple-examples/data"
    paths = find_files(folder, places, [(name,) for name in names], ", ".join(names))
    texts = []
    for path in paths:
        words = read_words(path, END, max_bytes=max_bytes)
        if not words:
            raise ValueError(f"folder: expected text in {str(path)!r}, got an empty file")
        texts.append(words)
    unknown = UNKNOWN if UNKNOWN in texts[0] else None
    vocabulary = Vocabulary.from_tokens(texts[0], unknown=unknown)
    try:
        ids = [vocabulary.encode(words) for words in texts]
    except ValueError as error:
        raise ValueError(
            f"folder: expected a training text with {UNKNOWN} or with all words of the others ({error})"
        ) from None
    return Corpus("ptb", f"Penn Treebank text from {paths[0].parent}", vocabulary, ids[0], ids[1], ids[2])


def grammar_corpus(
    train_words: int = 400_000, valid_words: int = 40_000, test_words: int = 40_000, seed: int = 1
) -> Corpus:
    """The built-in corpus: sentences of :func:`.grammar.english`, whose entropy per word is known exactly.

    Args:
        train_words, valid_words, test_words: least number of words of each part; each ends with a whole sentence.
        seed: same seed, same text; a longer part starts with the shorter one.

    Returns:
        A :class:`Corpus` with all words of the grammar in its vocabulary, ``bound`` = exp(entropy per word, ``<eos>``
        included), and ``true_perplexity`` of each part, which differs from the bound by chance only.

    Raises:
        ValueError: a part without words.

    >>> corpus = grammar_corpus(1000, 100, 100)
    >>> corpus.vocabulary.size, round(corpus.bound, 3)
    (372, 12.766)
    """
    grammar = english()
    vocabulary = Vocabulary(grammar.words())
    ids: list[Ids] = []
    true: dict[str, float] = {}
    for number, (split, length) in enumerate(zip(SPLITS, (train_words, valid_words, test_words), strict=True)):
        integer(f"{split}_words", length, 1)
        text, log_p = grammar.sample(length, (seed, number))
        ids.append(vocabulary.encode(text))
        true[split] = math.exp(-log_p / len(text))
    description = (
        f"built-in sentences of a probabilistic grammar, {vocabulary.size} words, "
        f"{grammar.entropy_per_word():.4f} nats per word (no model can beat perplexity {grammar.bound():.3f})"
    )
    return Corpus("grammar", description, vocabulary, ids[0], ids[1], ids[2], grammar.bound(), true, grammar)
