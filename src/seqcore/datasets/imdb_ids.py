"""Film reviews as ids of their words, numbered as ``keras.datasets.imdb`` numbers them.

N: reviews.
"""

from __future__ import annotations

import os

import numpy as np

from .._validation import integer
from ..text.vectorization import TextVectorization
from ..typing import Array, PathLike
from .downloads import download
from .sentiment import SentimentData, load_imdb, sentiment_corpus


def load_imdb_ids(
    path: PathLike | None = None,
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The film reviews of :func:`load_imdb` as lists of ids; an id is the rank of a word plus ``index_from``.

    Args:
        path: the folder of :func:`load_imdb`, "download", or "builtin" for reviews of :func:`sentiment_corpus`; None
            takes ``SEQCORE_DATA``, and without it "download".
        num_words: ids from here on become ``oov_char``; None keeps all.
        skip_top: ids below it become ``oov_char``.
        maxlen: reviews that are not shorter are left out; None keeps all.
        seed: of the order of the reviews.
        start_char: id in front of each review; None puts nothing.
        oov_char: id of the words left out; None drops them.
        index_from: the most frequent word has the next id.

    Returns:
        (x_train, y_train), (x_test, y_test): (N,) lists of ids and (N,) int64 labels, 1 for positive.

    Raises:
        ValueError: data that are missing or damaged or have no ``imdb_word_index.json``, or a ``maxlen`` that leaves
            no review.
        OSError: they cannot be read or fetched.
        ImportError: for a download without pooch.

    >>> (x_train, y_train), _ = load_imdb_ids("builtin", num_words=20)
    >>> x_train.shape, x_train[0][:4], int(y_train[0])
    ((4000,), [1, 4, 2, 5], 1)
    """
    reviews, ranked = _reviews(path)
    tokenizer, seed = _tokenizer(), integer("seed", seed, 0, 2**32 - 1)
    low, first = integer("skip_top", skip_top, 0), integer("index_from", index_from, 0) + 1
    high = len(ranked) + first if num_words is None else integer("num_words", num_words, 1)
    longest = None if maxlen is None else integer("maxlen", maxlen, 1)
    for name, value in (("start_char", start_char), ("oov_char", oov_char)):
        if value is not None:
            integer(name, value, 0, alternative="None")
    ids = {word: number for number, word in enumerate(ranked, first) if low <= number < high}
    start = [] if start_char is None else [start_char if low <= start_char < high else oov_char]
    parts = []
    for part in (reviews.train, reviews.test):
        rows = [start + [ids.get(word, oov_char) for word in tokenizer.tokens(text)] for text in part.texts]
        if oov_char is None:
            rows = [[number for number in row if number is not None] for row in rows]
        order = np.arange(len(rows))
        np.random.RandomState(seed).shuffle(order)
        chosen = [i for i in order if longest is None or len(rows[i]) < longest]
        if not chosen:
            raise ValueError(f"maxlen: expected a length that some reviews are below, got {maxlen}")
        x = np.empty(len(chosen), object)
        x[:] = [rows[i] for i in chosen]
        parts.append((x, part.labels[chosen].astype(np.int64)))
    return parts[0], parts[1]


def load_imdb_word_index(path: PathLike | None = None) -> dict[str, int]:
    """The rank of each word of the reviews, from 1, the most frequent.

    Args:
        path: see :func:`load_imdb_ids`.

    >>> load_imdb_word_index("builtin")["the"]
    1
    """
    return {word: rank for rank, word in enumerate(_reviews(path)[1], 1)}


def _tokenizer() -> TextVectorization:
    return TextVectorization(standardize="lower_and_split_punctuation")


def _reviews(path: PathLike | None) -> tuple[SentimentData, list[str]]:
    """The reviews, and their words by rank."""
    place = path or os.environ.get("SEQCORE_DATA") or "download"
    if place == "builtin":
        reviews, tokenizer = sentiment_corpus(), _tokenizer()
        tokenizer.adapt(reviews.train.texts)
        return reviews, tokenizer.get_vocabulary(include_special_tokens=False)
    try:
        reviews = load_imdb(download("imdb") if place == "download" else place)
    except OSError as error:
        raise OSError(
            f"{error}; SEQCORE_DATA=DIR names a folder that has the reviews, builtin generates some"
        ) from None
    if reviews.ranked is None:
        raise ValueError(
            f"path: expected imdb_word_index.json, which numbers the words, next to the reviews in {str(place)!r}"
        )
    return reviews, reviews.ranked
