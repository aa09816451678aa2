"""Texts with a label, positive or negative: IMDB reviews, airline tweets, and built-in ones that word order decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from .._validation import MALFORMED, integer, short_repr
from ..text.files import read_csv, read_json, read_lines, read_text, unpacked_limit
from ..typing import PathLike
from ._folders import find_file
from .numpy_files import open_archive, read_member, read_npy

LABELS = ("negative", "positive")

_MAX_RANK = 2**31 - 1


@dataclass(frozen=True)
class LabelledTexts:
    """N texts and their labels (N,) int32: 1 for positive, 0 for negative."""

    texts: list[str]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: Any) -> LabelledTexts:
        """The texts of some rows: a slice, or an array of numbers."""
        chosen = np.arange(len(self.texts))[rows]
        return LabelledTexts([self.texts[row] for row in chosen.tolist()], self.labels[chosen])


@dataclass(frozen=True)
class SentimentData:
    """Texts to learn from and texts to test on.

    ``description`` is one line about them; ``ranked`` are the words by rank, the most frequent first, where the
    data set comes with such a list; ``bayes`` is the best accuracy any classifier can reach in the long run, where it
    is known.
    """

    description: str
    train: LabelledTexts
    test: LabelledTexts
    ranked: list[str] | None = None
    bayes: float | None = None


# ---------------------------------------------------------------- IMDB reviews


def load_imdb(folder: PathLike, *, max_bytes: int | None = None) -> SentimentData:
    """The film reviews of A. Maas et al., Learning word vectors for sentiment analysis, 2011: 25,000 and 25,000.

    Args:
        folder: holds, itself or in ``imdb/``, one of

            - ``train.tsv`` and ``test.tsv``, plain or ``.gz``: label (1 or 0), rating, name and text of a review, with
              tabs between them;
            - ``train/pos``, ``train/neg``, ``test/pos``, ``test/neg`` with a text file for each review, as the original
              archive unpacks (its folder may be called ``aclImdb``);
            - ``imdb.npz``, Keras's file of word ranks.

            ``imdb_word_index.json`` next to them, Keras's table of ranks, numbers the words as Keras does. With
            ``imdb.npz`` and without it the words are their ranks; rank 0 is padding and left out.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: files that are missing or damaged, unpack to more than allowed, or hold other ranks.
        OSError: they cannot be read.

    ``imdb.npz`` holds pickled lists. They are read without pickle: nothing that the file names is called.
    """
    places = [place for place in (Path(folder) / "imdb", Path(folder) / "aclImdb", Path(folder)) if place.is_dir()]
    for place in places:
        tables = [find_file(place, f"{split}.tsv") for split in ("train", "test")]
        ranked = _read_ranks(place, max_bytes)
        if all(tables):
            train, test = (_read_table(str(path), max_bytes) for path in tables)
            return SentimentData(f"IMDB reviews from {place}", train, test, ranked)
        if all((place / split / label).is_dir() for split in ("train", "test") for label in ("pos", "neg")):
            train, test = (_read_reviews(place / split, max_bytes) for split in ("train", "test"))
            return SentimentData(f"IMDB reviews from {place}", train, test, ranked)
        if (place / "imdb.npz").is_file():
            train, test = _read_npz(place / "imdb.npz", ranked, max_bytes)
            return SentimentData(f"IMDB reviews as ids from {place / 'imdb.npz'}", train, test, ranked)
    raise ValueError(
        f"folder: expected train.tsv and test.tsv (plain or .gz), train/pos ... test/neg, or imdb.npz in "
        f"{str(folder)!r} or its folder imdb, got none of them"
    )


def _read_ranks(place: Path, max_bytes: int | None) -> list[str] | None:
    """Words by rank, of ``imdb_word_index.json``."""
    path = place / "imdb_word_index.json"
    if not path.is_file():
        return None
    try:
        ranks = read_json(path, max_bytes=max_bytes)
        words = sorted(ranks, key=ranks.__getitem__)
        if sorted(ranks.values()) != list(range(1, len(words) + 1)):
            raise ValueError("ranks that are not 1, 2, 3, ...")
    except MALFORMED as error:
        raise ValueError(f"{path}: expected a JSON object of words and their ranks ({error})") from None
    return words


def _read_table(path: str, max_bytes: int | None) -> LabelledTexts:
    texts, labels = [], []
    for number, line in enumerate(read_lines(path, max_bytes=max_bytes), 1):
        fields = line.split("\t", 3)
        if len(fields) != 4 or fields[0] not in ("0", "1"):
            raise ValueError(f"{path}, line {number}: expected label 0 or 1, rating, name, text, got {line[:40]!r}")
        texts.append(fields[3])
        labels.append(int(fields[0]))
    return _labelled(path, texts, labels)


def _read_reviews(place: Path, max_bytes: int | None) -> LabelledTexts:
    """The files ``pos/17_8.txt`` and ``neg/...``, by their numbers."""
    reviews = []
    for label, name in enumerate(("neg", "pos")):
        for path in (place / name).glob("*.txt"):
            number = path.stem.partition("_")[0]
            reviews.append((int(number) if number.isdecimal() else 0, label, path.name, path))
    reviews.sort(key=lambda review: review[:3])
    texts = [read_text(path, max_bytes=max_bytes) for *_, path in reviews]
    return _labelled(str(place), texts, [label for _, label, *_ in reviews])


def _read_npz(path: Path, ranked: list[str] | None, max_bytes: int | None) -> tuple[LabelledTexts, LabelledTexts]:
    """Reviews as lists of ranks, turned into words again; rank 0 is padding."""
    most = unpacked_limit(path.stat().st_size, max_bytes)
    parts = []
    try:
        with open_archive(path) as archive:
            for split in ("train", "test"):
                rows, labels = (_read_list(archive, f"{part}_{split}.npy", most) for part in "xy")
                if not all(isinstance(row, list) and (not row or type(row[0]) is int) for row in rows):
                    raise ValueError(f"x_{split}.npy: expected a list of ranks for each review, got other values")
                if not set(map(type, labels)) <= {int, bool, float}:
                    raise ValueError(f"y_{split}.npy: expected a label for each review, got other values")
                parts.append((_texts_of_ranks(rows, ranked, split, most), labels))
    except ValueError as error:
        raise ValueError(f"{path}: expected Keras's imdb.npz, got another file ({error})") from None
    train, test = (_labelled(str(path), *part) for part in parts)
    return train, test


def _read_list(archive: ZipFile, name: str, most: int) -> list[Any]:
    values = read_npy(read_member(archive, name, most))
    return values if isinstance(values, list) else np.atleast_1d(values).tolist()


def _texts_of_ranks(rows: list[list[int]], ranked: list[str] | None, split: str, longest: int) -> list[str]:
    """Words of ranks 1, 2, ...; without their names the ranks as words; ``longest`` characters at most in all."""
    most = _MAX_RANK if ranked is None else len(ranked)
    texts = []
    for number, row in enumerate(rows):
        if row and not (min(row) >= 0 and max(row) <= most):
            wrong = min(row) if min(row) < 0 else max(row)
            raise ValueError(f"x_{split}.npy: expected ranks 0...{most}, got {wrong:.6g} in review {number}")
        words = [str(rank) if ranked is None else ranked[rank - 1] for rank in row if rank]
        longest -= sum(map(len, words)) + len(words)
        if longest < 0:
            raise ValueError(
                f"x_{split}.npy: expected shorter texts, got words that are too long up to review {number}"
            )
        texts.append(" ".join(words))
    return texts


def _labelled(place: str, texts: list[str], labels: Sequence[float]) -> LabelledTexts:
    if len(labels) != len(texts):
        raise ValueError(f"{place}: expected a label for each of {len(texts)} texts, got {len(labels)}")
    strange = next((label for label in labels if label not in (0, 1)), None)
    if strange is not None:
        raise ValueError(f"{place}: expected labels 0 and 1, got {strange:.6g}")
    if len(set(labels)) != 2:
        raise ValueError(f"{place}: expected texts of both labels, got {len(texts)} texts of {len(set(labels))}")
    return LabelledTexts(texts, np.asarray(labels, np.int32))


# ---------------------------------------------------------------- airline tweets


def load_airline(folder: PathLike, *, max_bytes: int | None = None) -> LabelledTexts:
    """The positive and negative tweets about US airlines (CrowdFlower, 2015), in the order of the file.

    Args:
        folder: holds ``airline_sentiment.csv`` or ``Tweets.csv``, plain or ``.gz``, itself or in ``airline/``, with the
            columns ``airline_sentiment`` (positive, negative, or 1, 0; neutral rows are left out) and ``text``.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: a file, a column or a label that is missing or of another kind.
        OSError: it cannot be read.
    """
    names = ("airline_sentiment.csv", "Tweets.csv")
    candidates = (find_file(place, name) for name in names for place in (Path(folder) / "airline", Path(folder)))
    path = next(filter(None, candidates), None)
    if path is None:
        raise ValueError(f"folder: expected {' or '.join(names)} in {str(folder)!r} or its folder airline, got neither")
    known = {"positive": 1, "1": 1, "negative": 0, "0": 0, "neutral": None}
    texts, labels = [], []
    rows = read_csv(path, max_bytes=max_bytes)
    _, header = next(rows, (0, []))
    for column in ("airline_sentiment", "text"):
        if header.count(column) != 1:
            raise ValueError(f"{path}: expected columns airline_sentiment and text, got no {column!r} or two")
    places = header.index("airline_sentiment"), header.index("text")
    for line, row in rows:
        label, text = (row[place] if place < len(row) else None for place in places)
        label = (label or "").strip().lower()
        if label not in known or text is None or len(row) > len(header):
            got = f"{len(row)} cells for {len(header)} columns" if len(row) > len(header) else short_repr(label)
            raise ValueError(f"{path}, line {line}: expected positive, negative, neutral, 1 or 0 and a text, got {got}")
        if known[label] is not None:
            texts.append(text)
            labels.append(int(known[label] or 0))
    return _labelled(str(path), texts, labels)


# ---------------------------------------------------------------- built-in texts


@dataclass(frozen=True)
class _Style:
    """Pieces of the built-in texts. ``{a}`` and ``{b}`` are the statements, the one that decides is ``{b}``."""

    subjects: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    plain: str
    negated: tuple[str, ...]
    contrasts: tuple[tuple[float, str], ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


REVIEWS = _Style(
    subjects=("plot", "story", "acting", "cast", "music", "script", "photography", "ending", "dialogue", "pace",
              "humour", "first half", "main character", "villain"),
    good=("good", "great", "wonderful", "brilliant", "moving", "clever", "charming", "superb", "funny", "convincing"),
    bad=("bad", "awful", "dull", "terrible", "boring", "clumsy", "weak", "tedious", "silly", "forgettable"),
    plain="the {subject} was {word}",
    negated=("the {subject} was not {word} at all", "the {subject} was never {word}",
             "nobody called the {subject} {word}", "the {subject} was far from {word}"),
    contrasts=((0.55, "{a} but {b}"), (0.2, "although {a} , {b}"), (0.25, "{b} although {a}")),
    before=("i saw this film last night .", "we watched it on a long flight .", "my sister lent me the disc .",
            "it was shown at our local cinema .", "this is the second film of its director .", "", ""),
    after=("it runs for two hours .", "that is all i can say .", "my friends want to see it next week .",
           "it was shot in a small town .", "", "", ""),
)  # fmt: skip

# Every word that matters here is left by scikit-learn's list of stop words, which takes "not", "never" and "but" away.
TWEETS = _Style(
    subjects=("flight", "crew", "seat", "lunch", "luggage service", "boarding", "staff", "app", "wifi", "lounge",
              "check-in", "captain", "landing"),
    good=("great", "excellent", "perfect", "lovely", "fantastic", "amazing", "brilliant", "superb"),
    bad=("awful", "terrible", "horrible", "ridiculous", "disappointing", "poor", "dreadful", "useless"),
    plain="{subject} was {word}",
    negated=("{subject} wasnt {word}", "{subject} was hardly {word}", "{subject} didnt feel {word}"),
    contrasts=((0.5, "{a}, {b} tho"), (0.2, "despite the rumour that {a}, {b}"),
               (0.3, "{b} despite the rumour that {a}")),
    before=("@skyway", "@skyway hi,", "@bluejet", "@bluejet today:", "@transpolar"),
    after=("#travel", "see you in oslo", "from lisbon", "", "", ""),
)  # fmt: skip


def contrast_pair(style: _Style, generator: np.random.Generator) -> tuple[str, str]:
    """Two texts of the same words in another order: a negative and a positive one.

    Each has two statements of opposite sense and a word of contrast that says which of them decides. A statement may be
    negated, which reverses its adjective. The second text has the two predicates exchanged.

    >>> contrast_pair(REVIEWS, np.random.default_rng(4))[1]
    'this is the second film of its director . the pace was clumsy but the villain was never weak'
    """

    def choose(items: Sequence[Any]) -> Any:
        return items[int(generator.integers(len(items)))]

    subjects = [style.subjects[i] for i in generator.choice(len(style.subjects), 2, replace=False)]
    predicates = []
    for good in (False, True):
        negated = bool(generator.random() < 0.3)
        form = choose(style.negated) if negated else style.plain
        predicates.append((form, choose(style.good if good != negated else style.bad)))
    shares, forms = zip(*style.contrasts)
    contrast, before, after = forms[generator.choice(len(forms), p=shares)], choose(style.before), choose(style.after)
    pair = []
    for first, second in ((predicates[1], predicates[0]), predicates):
        statements = [form.format(subject=name, word=word) for name, (form, word) in zip(subjects, (first, second))]
        pair.append(" ".join(f"{before} {contrast.format(a=statements[0], b=statements[1])} {after}".split()))
    return pair[0], pair[1]


def sentiment_corpus(
    train: int = 4000, test: int = 1000, style: _Style = REVIEWS, noise: float = 0.05, seed: int = 1
) -> SentimentData:
    """Built-in texts whose label only the word order decides.

    Each text is one of a :func:`contrast_pair`, chosen by a coin, so that every bag of words is equally likely under
    both labels: no classifier that looks at the words without their order can be right in more than half of the cases.
    A share ``noise`` of the labels is flipped, so that the best accuracy possible is 1 - noise.

    Args:
        train, test: numbers of texts.
        style: :data:`REVIEWS` or :data:`TWEETS`.
        noise: share of wrong labels, at least 0 and below 1/2.
        seed: same seed, same texts.

    Raises:
        ValueError: fewer than two texts, or another share.

    >>> data = sentiment_corpus(100, 10, seed=2)
    >>> len(data.train), data.bayes, data.test.labels.tolist()
    (100, 0.95, [0, 1, 0, 0, 0, 0, 0, 1, 1, 0])
    """
    if not 0 <= noise < 0.5:
        raise ValueError(f"noise: expected a share of at least 0 and below 0.5, got {noise}")
    parts = []
    for number, (name, count) in enumerate((("train", train), ("test", test))):
        integer(name, count, 2)
        generator = np.random.default_rng((seed, number))
        labels = generator.integers(0, 2, count)
        texts = [contrast_pair(style, generator)[label] for label in labels.tolist()]
        wrong = generator.random(count) < noise
        parts.append(LabelledTexts(texts, np.where(wrong, 1 - labels, labels).astype(np.int32)))
    texts_of = "tweets" if style is TWEETS else "reviews"
    description = (
        f"built-in {texts_of} that word order decides, {train:,} + {test:,} "
        f"(best accuracy possible {1 - noise:.3f}; from the words without their order 0.500)"
    )
    return SentimentData(description, parts[0], parts[1], bayes=1 - noise)
