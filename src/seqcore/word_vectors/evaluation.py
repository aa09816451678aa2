"""Evaluation of word vectors: analogy questions, word pairs with human scores, and correlations in NumPy.

Q: questions, D: dimensions of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import at_least, boolean, short_repr
from ..text.files import path_of, read_lines
from ..typing import Array, Floats, PathLike

Question = tuple[str, str, str, str]
Questions = Mapping[str, Sequence[Question]]
_TRIED = 5


class WordIndex(Protocol):
    """Word vectors as the evaluation needs them; :class:`seqcore.KeyedVectors` is one."""

    @property
    def index_to_key(self) -> list[str]:
        """The words by their rows."""

    def unit_vectors(self, rows: Any) -> Floats:
        """(N, D) the vectors of some rows, scaled to length 1."""

    def nearest_rows(self, queries: Any, topn: int, restrict_vocab: int | None = None) -> tuple[Any, Floats]:
        """Rows and cosines (Q, topn) of the vectors nearest to each query (Q, D)."""


def read_questions(path: PathLike, *, max_bytes: int | None = None) -> dict[str, list[Question]]:
    """Analogy questions in the format of word2vec: ``: section`` lines, then lines of four words.

    Other lines are left out, as gensim does.

    Args:
        path: the file, plain or packed.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: naming file and line, for questions before the first section, or no question at all.
    """
    sections: dict[str, list[Question]] = {}
    section: list[Question] | None = None
    known: dict[str, str] = {}  # equal words are one string
    for number, line in enumerate(read_lines(path, max_bytes=max_bytes), 1):
        if line.startswith(": "):
            section = sections.setdefault(line[2:].strip(), [])
        elif section is None:
            raise ValueError(f"{path}, line {number}: expected ': section' before the questions, got {line[:40]!r}")
        elif len(words := line.split()) == 4:
            a, b, c, d = map(known.setdefault, words, words)
            section.append((a, b, c, d))
    if not any(sections.values()):
        raise ValueError(f"{path}: expected lines of four words, got none")
    return sections


def _folded(kv: WordIndex, restrict_vocab: int | None, fold: bool) -> tuple[dict[str, int], NDArray[np.intp]]:
    """Row of each word among the first ones, and for each row the row of its first spelling."""
    words = kv.index_to_key[: None if restrict_vocab is None else at_least("restrict_vocab", restrict_vocab, 0)]
    names = [word.upper() for word in words] if fold else words
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, row)
    return rows, np.fromiter((rows[name] for name in names), np.intp, len(names))


def evaluate_analogies(
    kv: WordIndex,
    analogies: PathLike | Questions,
    restrict_vocab: int | None = 300_000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    *,
    max_bytes: int | None = None,
) -> tuple[float, list[dict[str, Any]]]:
    """Share of analogy questions answered right; see :meth:`seqcore.KeyedVectors.evaluate_word_analogies`."""
    questions = analogies if isinstance(analogies, Mapping) else read_questions(analogies, max_bytes=max_bytes)
    dummy4unknown = boolean("dummy4unknown", dummy4unknown)
    case_insensitive = boolean("case_insensitive", case_insensitive)
    rows, first = _folded(kv, restrict_vocab, case_insensitive)
    sections: list[dict[str, Any]] = []
    counted: list[tuple[dict[str, Any], Any, bool]] = []
    upper: dict[str, str] = {}
    for name, asked in questions.items():
        if isinstance(asked, str) or not isinstance(asked, Sequence) or any(len(words) != 4 for words in asked):
            raise TypeError(f"analogies: expected lists of four words in {name!r}, got {short_repr(asked)}")
        section: dict[str, Any] = {"section": name, "correct": [], "incorrect": []}
        sections.append(section)
        for question in asked:
            words: Any = tuple(question)
            if case_insensitive:
                words = tuple(upper.get(word) or upper.setdefault(word, word.upper()) for word in words)
            known = all(word in rows for word in words)
            if known or dummy4unknown:
                counted.append((section, words, known))
    ids = np.array([[rows[word] for word in words] for _, words, known in counted if known], np.intp)
    answers = iter(_answers(kv, ids, first))
    for section, words, known in counted:
        section["correct" if known and next(answers) else "incorrect"].append(words)
    total: dict[str, Any] = {"section": "Total accuracy"}
    for outcome in ("correct", "incorrect"):
        total[outcome] = [words for section in sections for words in section[outcome]]
    return len(total["correct"]) / (len(counted) or 1), [*sections, total]


def _answers(kv: WordIndex, asked: NDArray[np.intp], first: NDArray[np.intp]) -> list[bool]:
    """For each row (a, b, c, d) of ``asked`` (Q, 4), True where b - a + c leads to d."""
    if not len(asked):
        return []
    used, where = np.unique(asked[:, :3], return_inverse=True)
    unit = kv.unit_vectors(used)
    a, b, c = (unit[where.reshape(-1, 3)[:, i]] for i in range(3))
    nearest = kv.nearest_rows(b - a + c, _TRIED + 3, len(first))[0]
    # Of the rows but a, b, c themselves, the first of the best ones that is not another spelling of them.
    same = (first[nearest][:, :, None] == asked[:, None, :3]).any(axis=2)
    exact = (nearest[:, :, None] == asked[:, None, :3]).any(axis=2)
    tried = np.cumsum(~exact, axis=1) <= _TRIED
    free = ~same & tried
    answer = first[nearest[np.arange(len(nearest)), free.argmax(axis=1)]]
    right: list[bool] = (free.any(axis=1) & (answer == asked[:, 3])).tolist()
    return right


def evaluate_pairs(
    kv: WordIndex,
    pairs: PathLike,
    delimiter: str = "\t",
    encoding: str = "utf8",
    restrict_vocab: int | None = 300_000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    *,
    max_bytes: int | None = None,
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Correlation of cosines with human scores; see :meth:`seqcore.KeyedVectors.evaluate_word_pairs`."""
    if not isinstance(delimiter, str) or not delimiter:
        raise ValueError(f"delimiter: expected the text between words, such as a tab, got {short_repr(delimiter)}")
    dummy4unknown = boolean("dummy4unknown", dummy4unknown)
    case_insensitive = boolean("case_insensitive", case_insensitive)
    index, _ = _folded(kv, restrict_vocab, case_insensitive)
    gold: list[float] = []
    rows: list[list[int]] = []
    unknown = 0
    for number, line in enumerate(read_lines(pairs, max_bytes=max_bytes, encoding=encoding), 1):
        parts = line.split(delimiter)
        if line.startswith("#") or len(parts) != 3:
            continue
        try:
            score = float(parts[2])
        except ValueError:
            continue
        if not math.isfinite(score):
            raise ValueError(f"{path_of(pairs)}, line {number}: expected a finite score, got {short_repr(parts[2])}")
        pair = [index.get(part.upper() if case_insensitive else part, -1) for part in parts[:2]]
        unknown += min(pair) < 0
        if min(pair) >= 0 or dummy4unknown:
            gold.append(score)
            rows.append(pair)
    if not gold:
        raise ValueError(
            f"{pairs}: expected lines of two known words and a score, got none ({unknown} with unknown words)"
        )
    table = np.array(rows)
    cosines = np.einsum("ij,ij->i", kv.unit_vectors(table[:, 0]), kv.unit_vectors(table[:, 1]))
    model = np.where(table.min(axis=1) < 0, 0.0, cosines)
    share = 100.0 * unknown / (len(gold) if dummy4unknown else len(gold) + unknown)
    return pearson(gold, model), spearman(gold, model), share


def ranks(values: Any) -> Array:
    """Ranks 1 ... N of numbers (N,), ties sharing their mean rank.

    >>> ranks([10, 30, 10, 20]).tolist()
    [1.5, 4.0, 1.5, 3.0]
    """
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    result: Array = (ends - (counts - 1) / 2)[inverse]
    return result


def pearson(x: Any, y: Any) -> tuple[float, float]:
    """Pearson's correlation of two lists of N numbers, and the two-sided p-value.

    The p-value needs SciPy and is NaN without it. Both are NaN where one list is constant or N < 2.

    >>> round(pearson([1, 2, 3, 4], [2, 1, 4, 3])[0], 3)
    0.6
    """
    a, b = (np.asarray(values, np.float64) for values in (x, y))
    if len(a) < 2:
        return math.nan, math.nan
    # Divided by the largest, so that no square is too large for a float.
    a, b = (values / (np.abs(values).max() or 1.0) for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if scale == 0:
        return math.nan, math.nan
    r = min(1.0, max(-1.0, float(a @ b) / scale))
    return r, _p_value(r, len(a))


def spearman(x: Any, y: Any) -> tuple[float, float]:
    """Spearman's rank correlation of two lists of N numbers with ties, and the p-value as in :func:`pearson`."""
    return pearson(ranks(x), ranks(y))


def _p_value(r: float, count: int) -> float:
    try:
        from scipy.stats import t
    except ImportError:
        return math.nan
    if count < 3 or abs(r) == 1:
        return 1.0 if count < 3 else 0.0
    return float(2 * t.sf(abs(r) * math.sqrt((count - 2) / ((1 - r) * (1 + r))), count - 2))
