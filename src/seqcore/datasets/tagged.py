"""Sentences with a tag for each word, some of which only later words decide, and the accuracy of the best tagger.

T: words of a sentence, K: kinds of sentences, V: words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._validation import integer
from ..text.vocabulary import Vocabulary
from ..typing import Array
from .grammar import Grammar, parse_rules

Sentence = tuple[list[str], list[str]]

PADDING, UNKNOWN = "<pad>", "<unk>"
DIRECTIONS = ("forward", "backward", "both")
_STOP = "."

# Words by class; a word in two classes of different tags is ambiguous. The first word of a class is its tag.
_CLASSES = {
    "DET": "the",
    "DET_this": "this that",
    "DET_these": "these those",
    "ADJ_human": "tall kind tired old young poor rich wise",
    "NOUN_humans": "old young poor rich wise",
    "NOUN_human": "sailor teacher farmer doctor baker man guide pilot guard nurse judge coach",
    "VERB_act": "man guide pilot guard nurse judge coach",
    "VERB_acts": "repairs paints sells washes hides",
    "ADJ_thing": "red heavy broken new small",
    "NOUN_things": "boats lamps doors carts barrels sheep fish",
    "NOUN_thing": "boat lamp door cart barrel sheep fish",
    "NOUN_mover": "boat cart sailor horse parade wagon",
    "VERB_moved": "moved raced sailed drove marched floated",
    "PART_moved": "moved raced sailed driven marched floated",
    "VERB_fell": "fell sank stopped vanished froze",
    "ADP": "past near behind under along",
    "NOUN_place": "barn harbor bridge wall river gate",
    "VERB_saw": "saw heard watched filmed",
    "DET_her": "her",
    "PRON_her": "her him",
    "VERB_duck": "duck answer call dance swim jump",
    "NOUN_duck": "duck answer call dance swim jump coat song",
    "ADV": "again quickly twice often",
    "VERB_know": "knows thinks believes says",
    "VERB_mean": "wants likes takes knows",
    "CONJ": "that",
    "DET_that": "that",
    "NOUN_turns": "walks turns rests drifts falls doors boats",
    "VERB_turns": "walks turns rests drifts falls sleeps",
}

# Kinds of sentences: classes of words, each of which draws its words independently.
_RULES = """
S -> 0.14 Person VERB_acts Things ./PUNCT | 0.14 DET NOUN_humans VERB_act Things ./PUNCT
    | 0.16 Mover VERB_moved Places ./PUNCT | 0.12 Mover PART_moved Places VERB_fell ./PUNCT
    | 0.04 Mover VERB_fell Place ./PUNCT | 0.1 Person VERB_saw DET_her NOUN_duck ./PUNCT
    | 0.1 Person VERB_saw PRON_her VERB_duck ADV ./PUNCT | 0.04 Person VERB_saw PRON_her ADV ./PUNCT
    | 0.05 Person VERB_know CONJ NOUN_things VERB_fell ./PUNCT
    | 0.05 Person VERB_mean DET_that NOUN_thing ./PUNCT | 0.03 Person VERB_turns ./PUNCT
    | 0.03 Person VERB_saw DET NOUN_turns ./PUNCT
Person -> 0.55 DET NOUN_human | 0.45 DET ADJ_human NOUN_human
Things -> 0.6 DET NOUN_things | 0.2 DET_these NOUN_things | 0.2 DET ADJ_thing NOUN_things
Mover -> 0.5 DET NOUN_mover | 0.3 DET_this NOUN_mover | 0.2 DET ADJ_thing NOUN_mover
Place -> 0.8 ADP DET NOUN_place | 0.2 ADP DET ADJ_thing NOUN_place
Places -> 0.5 Place | 0.35 Place Place | 0.15 Place Place Place
"""


def tagged_grammar() -> Grammar:
    """The grammar of the tagged sentences, without recursion; its words are ``word/TAG``.

    The words that decide on the tag of another word follow it (in the last example they precede it):

    - "the old man the boats" against "the old man paints the boats": adjective and noun, or noun and verb;
    - "the boat raced past the barn" against "the boat raced past the barn sank": verb or participle;
    - "saw her duck" against "saw her duck again": determiner and noun, or pronoun and verb;
    - "knows that boat" against "knows that boats sank": determiner or conjunction;
    - "knows that fish" against "knows that fish sank": the same, decided one word later still;
    - "the pilot rests" against "saw the rests": verb or noun, which a reader from the right cannot tell at first.

    The tags of a whole sentence are never in doubt.
    """
    rules = parse_rules(_RULES)
    for name, words in _CLASSES.items():
        listed = words.split()
        rules[name] = [(1 / len(listed), (f"{word}/{name.partition('_')[0]}",)) for word in listed]
    return Grammar(rules, "S")


def tagged_sentences(count: int, seed: int | Sequence[int]) -> list[Sentence]:
    """Sentences of :func:`tagged_grammar`, each a list of words and the list of their tags.

    Args:
        count: how many.
        seed: same seed, same sentences; more sentences start with the fewer.

    Raises:
        ValueError: a count below 1.

    >>> words, tags = tagged_sentences(1, 0)[0]
    >>> " ".join(words), " ".join(tags)
    ('the teacher hides the lamps .', 'DET NOUN VERB DET NOUN PUNCT')
    """
    integer("count", count, 1)
    grammar = tagged_grammar()
    length = math.ceil(count * grammar.expected_length())
    sentences: list[Sentence] = []
    while len(sentences) < count:
        tokens = [token.rpartition("/")[::2] for token in grammar.sample(length, seed)[0]]
        ends = [place for place, (word, _) in enumerate(tokens, 1) if word == _STOP]
        parts = [tokens[start:end] for start, end in zip([0, *ends], ends)]
        sentences = [([word for word, _ in part], [tag for _, tag in part]) for part in parts]
        length += length // 4 + 20
    return sentences[:count]


@dataclass(frozen=True)
class TaggedCorpus:
    """Sentences in three parts; ``vocabulary`` has all words of the grammar after ``padding``, ``tags`` all tags."""

    train: list[Sentence]
    valid: list[Sentence]
    test: list[Sentence]
    vocabulary: Vocabulary
    tags: tuple[str, ...]
    description: str


def tagged_corpus(train: int = 4000, valid: int = 500, test: int = 2000, seed: int = 0) -> TaggedCorpus:
    """The built-in sentences for tagging.

    Args:
        train, valid, test: how many sentences; those of different parts are drawn independently.
        seed: same seed, same sentences.
    """
    parts = [tagged_sentences(count, (seed, number)) for number, count in enumerate((train, valid, test))]
    tokens = [token.rpartition("/") for token in tagged_grammar().words()]
    words = list(dict.fromkeys(word for word, _, _ in tokens))
    tags = tuple(sorted({tag for _, _, tag in tokens}))
    ambiguous = len(tokens) - len(words)
    description = (
        f"built-in sentences: {len(words)} words, {ambiguous} of them with two tags or more, {len(tags)} tags; "
        f"{train} to train, {valid} to validate, {test} to test"
    )
    vocabulary = Vocabulary([PADDING, UNKNOWN, *words], UNKNOWN)
    return TaggedCorpus(parts[0], parts[1], parts[2], vocabulary, tags, description)


class TagPosteriors:
    """Exact probabilities of the tags of a sentence, given the grammar.

    Args:
        grammar: without recursion, its words ``word/TAG``.

    A kind of sentence k (see :meth:`.grammar.Grammar.templates`) has the probability p_k and the classes
    c_k1 ... c_kT; each class draws its words independently. So the probability of kind k and of the words read so far
    is p_k times the product of P(w_t | c_kt), and P(tag | words) sums it over the kinds with that tag in that place,
    divided by the sum over all kinds (Bayes' rule). No tagger that has read the same words can be right more often than
    one who names the most probable tag.

    >>> p = TagPosteriors(tagged_grammar())
    >>> words = "the old man the boats .".split()
    >>> " ".join(p.best(words, "forward")), " ".join(p.best(words, "both"))
    ('DET ADJ VERB DET NOUN PUNCT', 'DET NOUN VERB DET NOUN PUNCT')
    """

    def __init__(self, grammar: Grammar) -> None:
        kinds = grammar.templates()
        classes = sorted({name for _, names in kinds for name in names})
        number = {name: i for i, name in enumerate(classes)}
        self.prior = np.array([p for p, _ in kinds])
        self.lengths = np.array([len(names) for _, names in kinds])
        self.classes = np.full((len(kinds), self.lengths.max()), -1)
        for row, (_, names) in zip(self.classes, kinds, strict=True):
            row[: len(names)] = [number[name] for name in names]
        tokens = {name: grammar.class_words(name) for name in classes}
        split = {token.rpartition("/")[::2] for class_tokens in tokens.values() for token in class_tokens}
        self.words, self.tags = (sorted(set(parts)) for parts in zip(*split))
        self._word = {word: i for i, word in enumerate(self.words)}
        self._emission = np.zeros((len(classes), len(self.words)))
        self._tag_of = np.zeros(len(classes), int)
        for name, class_tokens in tokens.items():
            for token, p in class_tokens.items():
                word, _, tag = token.rpartition("/")
                self._emission[number[name], self._word[word]] = p
                self._tag_of[number[name]] = self.tags.index(tag)

    def _kinds(self, backward: bool) -> Array:
        """(K, T) classes in the order of reading, -1 past the end."""
        if not backward:
            return self.classes
        turned = np.full_like(self.classes, -1)
        for row, names, length in zip(turned, self.classes, self.lengths, strict=True):
            row[:length] = names[:length][::-1]
        return turned

    def posteriors(self, words: Sequence[str], direction: str = "both") -> Array:
        """P(tag | words read so far), (T, tags): ``forward`` and ``backward`` readers have read up to that word.

        Raises:
            ValueError: an unknown direction, a sentence that the grammar cannot make.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction: expected one of {', '.join(DIRECTIONS)}, got {direction!r}")
        backward = direction == "backward"
        read = list(words)[::-1] if backward else list(words)
        kinds, steps = self._kinds(backward), len(read)
        joint = np.zeros((steps + 1, len(kinds)))
        joint[0] = self.prior
        if steps <= kinds.shape[1] and all(word in self._word for word in read):
            for t, word in enumerate(read):
                p = np.append(self._emission[:, self._word[word]], 0.0)  # class -1: the end has been passed
                joint[t + 1] = joint[t] * p[kinds[:, t]]
        whole = joint[-1] * (self.lengths == steps)
        if not whole.any():
            raise ValueError(f"words: expected a sentence of the grammar, got {' '.join(words)!r}")
        posteriors = np.zeros((steps, len(self.tags)))
        for t in range(steps):
            weight = whole if direction == "both" else joint[t + 1]
            here = weight > 0
            np.add.at(posteriors[t], self._tag_of[kinds[here, t]], weight[here])
        posteriors /= posteriors.sum(axis=1, keepdims=True)
        return posteriors[::-1] if backward else posteriors

    def best(self, words: Sequence[str], direction: str = "both") -> list[str]:
        """The most probable tags."""
        return [self.tags[i] for i in self.posteriors(words, direction).argmax(axis=1)]

    def ceiling(self, direction: str = "forward") -> float:
        """Share of words that the best tagger of that direction gets right in the long run, exactly.

        It follows all beliefs about the kind of sentence that the words read so far can lead to, with their
        probabilities; equal beliefs are followed as one, and words that say the same about the classes are one word.

        Raises:
            ValueError: another direction than forward and backward.
        """
        if direction not in DIRECTIONS[:2]:
            raise ValueError(f"direction: expected forward or backward, got {direction!r}")
        kinds = self._kinds(direction == "backward")
        signals = _merged(self._emission.T).T
        beliefs, right = self.prior[None, :], 0.0
        for t in range(kinds.shape[1]):
            here = kinds[:, t] >= 0
            told = np.where(here[:, None], signals[kinds[:, t]], 0.0)  # (K, words): P(word | kind) at t
            joint = beliefs[:, :, None] * told
            by_tag = np.zeros((len(beliefs), len(self.tags), joint.shape[2]))
            for tag in range(len(self.tags)):
                by_tag[:, tag] = joint[:, here & (self._tag_of[kinds[:, t]] == tag)].sum(axis=1)
            right += float(by_tag.max(axis=1).sum())
            beliefs = _merged(joint.transpose(0, 2, 1).reshape(-1, len(kinds)))
        return right / float(self.prior @ self.lengths)


def _merged(rows: Array) -> Array:
    """Rows that are multiples of each other added up; rows of zeros left out."""
    totals = rows.sum(axis=1)
    rows, totals = rows[totals > 0], totals[totals > 0]
    _, first, group = np.unique((rows / totals[:, None]).round(9), axis=0, return_index=True, return_inverse=True)
    weight = np.bincount(group.reshape(-1), totals)
    merged: Array = rows[first] / totals[first][:, None] * weight[:, None]
    return merged
