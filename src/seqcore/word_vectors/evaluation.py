"""Evaluation of word vectors: analogy questions, word pairs with human scores, and correlations in NumPy.

Q: questions, D: dimensions of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import boolean, default_only, integer, short_repr
from ..text.files import path_of, read_lines
from ..typing import Array, PathLike
from .similarity import SimilarityQueries

Question = tuple[str, str, str, str]
Questions = Mapping[str, Sequence[Question]]
_TRIED = 5


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
    for number, line in enumerate(read_lines(path, max_bytes=max_bytes), 1):
        if line.startswith(": "):
            section = sections.setdefault(line[2:].strip(), [])
        elif section is None:
            raise ValueError(f"{path}, line {number}: expected ': section' before the questions, got {line[:40]!r}")
        elif len(words := line.split()) == 4:
            a, b, c, d = words
            section.append((a, b, c, d))
    if not any(sections.values()):
        raise ValueError(f"{path}: expected lines of four words, got none")
    return sections


class Evaluation(SimilarityQueries):
    """The evaluation of :class:`seqcore.KeyedVectors`."""

    def evaluate_word_analogies(
        self,
        analogies: PathLike | Questions,
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
        *,
        max_bytes: int | None = None,
    ) -> tuple[float, list[dict[str, Any]]]:
        """The share of questions "a is to b as c is to ?" that the word nearest to b - a + c answers.

        Args:
            analogies: a file in the format of questions-words.txt, plain or gzip, or {section: [(a, b, c, d), ...]}.
            restrict_vocab: uses the first words only; questions with others count as unknown.
            case_insensitive: compares words in upper case; of several spellings the first one's vector counts.
            dummy4unknown: questions with unknown words count as wrong instead of being left out.
            similarity_function: "most_similar", the one that gensim uses.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        Returns:
            The score, and for each section and for "Total accuracy" a dict of section, correct and incorrect.

        Raises:
            ValueError: no such file of questions.
        """
        default_only("similarity_function", similarity_function, "most_similar", "questions are answered by cosines")
        questions = analogies if isinstance(analogies, Mapping) else read_questions(analogies, max_bytes=max_bytes)
        dummy4unknown = boolean("dummy4unknown", dummy4unknown)
        rows, first, spell = self._spellings(restrict_vocab, case_insensitive)
        sections: list[dict[str, Any]] = []
        counted: list[tuple[dict[str, Any], Any, bool]] = []
        for name, asked in questions.items():
            if isinstance(asked, str) or not isinstance(asked, Sequence) or any(len(words) != 4 for words in asked):
                raise TypeError(f"analogies: expected lists of four words in {name!r}, got {short_repr(asked)}")
            sections.append({"section": name, "correct": [], "incorrect": []})
            for question in asked:
                words = tuple(map(spell, question))
                known = all(word in rows for word in words)
                if known or dummy4unknown:
                    counted.append((sections[-1], words, known))
        ids = np.array([[rows[word] for word in words] for _, words, known in counted if known], np.intp)
        answers = iter(self._are_answered(ids, first) if len(ids) else ())
        for section, words, known in counted:
            section["correct" if known and next(answers) else "incorrect"].append(words)
        total: dict[str, Any] = {"section": "Total accuracy"}
        for outcome in ("correct", "incorrect"):
            total[outcome] = [words for section in sections for words in section[outcome]]
        return len(total["correct"]) / (len(counted) or 1), [*sections, total]

    def evaluate_word_pairs(
        self,
        pairs: PathLike,
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        *,
        max_bytes: int | None = None,
    ) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The correlation of cosines with human scores.

        Args:
            pairs: lines of word, word, score, plain or gzip; lines that start with # and others are left out.
            delimiter: between the three.
            encoding: of the file.
            restrict_vocab, case_insensitive: as in :meth:`evaluate_word_analogies`.
            dummy4unknown: pairs with unknown words count with cosine 0 instead of being left out.
            max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

        Returns:
            Pearson's and Spearman's correlation, each with its two-sided p-value (NaN unless SciPy is installed), and
            the percentage of pairs with unknown words.

        Raises:
            ValueError: no pair left, or a score that is not finite.
        """
        if not isinstance(delimiter, str) or not delimiter:
            raise ValueError(f"delimiter: expected the text between words, such as a tab, got {short_repr(delimiter)}")
        dummy4unknown = boolean("dummy4unknown", dummy4unknown)
        index, _, spell = self._spellings(restrict_vocab, case_insensitive)
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
                raise ValueError(
                    f"{path_of(pairs)}, line {number}: expected a finite score, got {short_repr(parts[2])}"
                )
            pair = [index.get(spell(word), -1) for word in parts[:2]]
            unknown += min(pair) < 0
            if min(pair) >= 0 or dummy4unknown:
                gold.append(score)
                rows.append(pair)
        if not gold:
            raise ValueError(
                f"{pairs}: expected lines of two known words and a score, got none ({unknown} with unknown words)"
            )
        table = np.array(rows)
        cosines = np.einsum("ij,ij->i", self.unit_vectors(table[:, 0]), self.unit_vectors(table[:, 1]))
        model = np.where(table.min(axis=1) < 0, 0.0, cosines)
        share = 100.0 * unknown / (len(gold) if dummy4unknown else len(gold) + unknown)
        return pearson(gold, model), spearman(gold, model), share

    def _spellings(
        self, restrict_vocab: int | None, case_insensitive: bool
    ) -> tuple[dict[str, int], NDArray[np.intp], Callable[[str], str]]:
        """The row of each spelling among the first words, for each row that of the first word so spelled, and the
        spelling of a word."""
        spell: Callable[[str], str] = str.upper if boolean("case_insensitive", case_insensitive) else str
        end = None if restrict_vocab is None else integer("restrict_vocab", restrict_vocab, 0)
        rows: dict[Any, int] = {}
        spelled = (spell(word) if isinstance(word, str) else word for word in self.index_to_key[:end])
        first = [rows.setdefault(word, row) for row, word in enumerate(spelled)]
        return rows, np.array(first, np.intp), spell

    def _are_answered(self, asked: NDArray[np.intp], first: NDArray[np.intp]) -> list[bool]:
        """For each row (a, b, c, d) of ``asked`` (Q, 4), True where b - a + c leads to d."""
        used, where = np.unique(asked[:, :3], return_inverse=True)
        unit = self.unit_vectors(used)
        a, b, c = (unit[where.reshape(-1, 3)[:, i]] for i in range(3))
        nearest = self.nearest_rows(b - a + c, _TRIED + 3, len(first))[0]
        # Of the rows but a, b, c themselves, the first of the best ones that is not another spelling of them.
        same = (first[nearest][:, :, None] == asked[:, None, :3]).any(axis=2)
        exact = (nearest[:, :, None] == asked[:, None, :3]).any(axis=2)
        tried = np.cumsum(~exact, axis=1) <= _TRIED
        free = ~same & tried
        answer = first[nearest[np.arange(len(nearest)), free.argmax(axis=1)]]
        return list(free.any(axis=1) & (answer == asked[:, 3]))


def ranks(values: Any) -> Array:
    """Ranks 1 ... N of numbers (N,), ties sharing their mean rank.

    >>> ranks([10, 30, 10, 20]).tolist()
    [1.5, 4.0, 1.5, 3.0]
    """
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse])


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
