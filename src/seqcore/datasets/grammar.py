"""Probabilistic grammars whose entropy is known exactly, and the English-like one behind the built-in corpus."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

Rule = tuple[float, tuple[str, ...]]
END = "<eos>"


class Grammar:
    """A probabilistic context-free grammar.

    Args:
        rules: for each nonterminal its rules (probability, right-hand side); the probabilities of one nonterminal sum
            to 1. Symbols without rules are words. An empty right-hand side is allowed.
        start: the nonterminal of a whole sentence.

    All entropies are in nats. They are exact if no sentence has two derivations (see :meth:`derivations`): then the
    entropy of the sentence is that of its derivation, which solves H(A) = h(A) + sum over the rules of A of p times the
    entropies of the nonterminals on the right, with h(A) the entropy of the choice among the rules of A (U. Grenander,
    Syntax-controlled probabilities, 1967).

    Raises:
        ValueError: probabilities that do not sum to 1, an unknown start, sentences of infinite mean length.

    >>> g = Grammar({"S": [(0.5, ("a", "S")), (0.5, ("b",))]}, "S")
    >>> round(g.entropy() / math.log(2), 6), round(g.expected_length(), 6)
    (2.0, 2.0)
    >>> round(g.log_probability(["a", "b"]) / math.log(2), 6)
    -2.0
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]], start: str) -> None:
        if start not in rules:
            raise ValueError(f"start: expected a symbol with rules, got {start!r}")
        self.start = start
        self.rules = {name: tuple((float(p), tuple(right)) for p, right in choices) for name, choices in rules.items()}
        for symbol, choices in self.rules.items():
            total = math.fsum(p for p, _ in choices)
            if not all(p > 0 for p, _ in choices) or abs(total - 1) > 1e-9:
                raise ValueError(f"rules: expected positive probabilities that sum to 1 for {symbol!r}, got {total}")
            if len({right for _, right in choices}) != len(choices):
                raise ValueError(f"rules: expected each right-hand side of {symbol!r} once")
        self._number = {symbol: i for i, symbol in enumerate(self.rules)}
        self._visits = self._expected_visits()
        # A nonterminal that only names words is looked up instead of tried rule by rule.
        self._lexicon = {
            symbol: {right[0]: math.log(p) for p, right in choices}
            for symbol, choices in self.rules.items()
            if all(len(right) == 1 and right[0] not in self.rules for _, right in choices)
        }

    def _parts(self) -> Iterator[tuple[str, float, str]]:
        """Each part of a right-hand side, after its nonterminal and the probability of the rule."""
        return ((symbol, p, part) for symbol, choices in self.rules.items() for p, right in choices for part in right)

    def _expected_visits(self) -> dict[str, float]:
        """Expected number of expansions of each nonterminal in a sentence: the solution v of v = e_start + v M."""
        size = len(self.rules)
        mean = np.zeros((size, size))
        for symbol, p, part in self._parts():
            if part in self.rules:
                mean[self._number[symbol], self._number[part]] += p
        if np.abs(np.linalg.eigvals(mean)).max() >= 1 - 1e-9:
            raise ValueError("rules: expected sentences of finite mean length, got a grammar that grows without end")
        first = np.zeros(size)
        first[self._number[self.start]] = 1
        visits = np.linalg.solve(np.eye(size) - mean.T, first)
        return {symbol: float(visits[i]) for symbol, i in self._number.items()}

    def entropy(self) -> float:
        """Entropy of a sentence in nats."""
        return math.fsum(
            -self._visits[symbol] * p * math.log(p) for symbol, choices in self.rules.items() for p, _ in choices
        )

    def expected_counts(self) -> dict[str, float]:
        """Expected number of each word in a sentence."""
        counts: dict[str, float] = {}
        for symbol, p, part in self._parts():
            if part not in self.rules:
                counts[part] = counts.get(part, 0.0) + p * self._visits[symbol]
        return counts

    def expected_length(self) -> float:
        """Mean number of words of a sentence."""
        return math.fsum(self.expected_counts().values())

    def entropy_per_word(self) -> float:
        """Entropy rate in nats of a text of independent sentences: :meth:`entropy` over :meth:`expected_length`."""
        return self.entropy() / self.expected_length()

    def bound(self) -> float:
        """The perplexity exp(entropy per word): no model of such texts can have a lower one in the long run."""
        return math.exp(self.entropy_per_word())

    def words(self) -> list[str]:
        """All words, the most frequent first, words of equal expected count in alphabetical order."""
        counts = self.expected_counts()
        return sorted(counts, key=lambda word: (-round(counts[word], 12), word))

    def sample(self, length: int, seed: int | Sequence[int]) -> tuple[list[str], float]:
        """Whole sentences, one after the other, until there are ``length`` words or more.

        Args:
            length: least number of words.
            seed: same seed, same text.

        Returns:
            The words, and the log-probability of the derivations they were made by.
        """
        table = {}
        for symbol, choices in self.rules.items():
            limits = [*np.cumsum([p for p, _ in choices])[:-1].tolist(), 2.0]
            table[symbol] = limits, [(math.log(p), right[::-1]) for p, right in choices]
        uniform = _uniform(seed)
        text: list[str] = []
        total = 0.0
        while len(text) < length:
            sentence, stack = 0.0, [self.start]
            while stack:
                symbol = stack.pop()
                if symbol in table:
                    limits, sides = table[symbol]
                    log_p, right = sides[bisect(limits, next(uniform))]
                    sentence += log_p
                    stack += right
                else:
                    text.append(symbol)
            total += sentence
        return text, total

    def templates(self) -> list[tuple[float, tuple[str, ...]]]:
        """All kinds of sentences of a grammar without recursion, by falling probability.

        Returns:
            (probability, the classes of its words): a class is a nonterminal that only names words, or a word itself.

        Raises:
            ValueError: a recursive grammar, which has no end of them.

        >>> g = Grammar({"S": [(0.25, ("a", "X")), (0.75, ("X",))], "X": [(0.5, ("b",)), (0.5, ("c",))]}, "S")
        >>> g.templates()
        [(0.75, ('X',)), (0.25, ('a', 'X'))]
        """
        expansions: dict[str, list[tuple[float, tuple[str, ...]]]] = {}

        def expand(symbol: str, above: tuple[str, ...]) -> list[tuple[float, tuple[str, ...]]]:
            if symbol in above:
                raise ValueError(f"rules: expected a grammar without recursion, got one at {symbol!r}")
            if symbol not in self.rules or symbol in self._lexicon:
                return [(1.0, (symbol,))]
            if symbol not in expansions:
                sums: dict[tuple[str, ...], float] = {}
                for p, right in self.rules[symbol]:
                    parts = [expand(part, (*above, symbol)) for part in right]
                    for chosen in itertools.product(*parts):
                        classes = tuple(name for _, part in chosen for name in part)
                        sums[classes] = sums.get(classes, 0.0) + p * math.prod(q for q, _ in chosen)
                expansions[symbol] = [(p, classes) for classes, p in sums.items()]
            return expansions[symbol]

        return sorted(expand(self.start, ()), key=lambda template: (-template[0], template[1]))

    def class_words(self, name: str) -> dict[str, float]:
        """The words of a class of :meth:`templates` with their probabilities."""
        if name not in self.rules:
            return {name: 1.0}
        return {word: math.exp(log_p) for word, log_p in self._lexicon[name].items()}

    def log_probability(self, sentence: Iterable[str]) -> float:
        """Log-probability of one sentence, summed over its derivations; -inf if it has none.

        Raises:
            ValueError: the grammar is left-recursive.
        """
        return self._parse(list(sentence))[0]

    def derivations(self, sentence: Iterable[str]) -> int:
        """The number of derivations of a sentence: at most 1 for an unambiguous grammar."""
        return self._parse(list(sentence))[1]

    def _parse(self, sentence: list[str]) -> tuple[float, int]:
        table: dict[tuple[str, int], dict[int, tuple[float, int]] | None] = {}

        def spans(symbol: str, begin: int) -> dict[int, tuple[float, int]]:
            """The ends of parts from `begin` that derive from `symbol`: {end: (log-probability, derivations)}."""
            word = sentence[begin] if begin < len(sentence) else None
            if symbol not in self.rules:
                return {begin + 1: (0.0, 1)} if symbol == word else {}
            if symbol in self._lexicon:
                log_p = self._lexicon[symbol].get(word) if word is not None else None
                return {} if log_p is None else {begin + 1: (log_p, 1)}
            key = symbol, begin
            if key in table:
                known = table[key]
                if known is None:
                    raise ValueError(f"rules: expected no left recursion, got one at {symbol!r}")
                return known
            table[key] = None
            result: dict[int, tuple[float, int]] = {}
            for p, right in self.rules[symbol]:
                ends = {begin: (math.log(p), 1)}
                for part in right:
                    longer: dict[int, tuple[float, int]] = {}
                    for middle, left in ends.items():
                        for end, rest in spans(part, middle).items():
                            _add(longer, end, left[0] + rest[0], left[1] * rest[1])
                    ends = longer
                for end, (log_p, count) in ends.items():
                    _add(result, end, log_p, count)
            table[key] = result
            return result

        return spans(self.start, 0).get(len(sentence), (-math.inf, 0))


def parse_rules(text: str) -> dict[str, list[Rule]]:
    """Rules of a grammar from their notation.

    Args:
        text: ``A -> 0.4 x y | 0.6 z`` for each symbol, continued in indented lines; without numbers the right-hand
            sides of a symbol are equally probable.

    >>> parse_rules("S -> 0.25 a S | 0.75 b")
    {'S': [(0.25, ('a', 'S')), (0.75, ('b',))]}
    """
    rules: dict[str, list[Rule]] = {}
    for rule in re.split(r"\n(?=\S)", text.strip()):
        symbol, _, right = rule.partition(" -> ")
        sides = [side.split() for side in right.split("|")]
        if sides[0][0][0].isdigit():
            rules[symbol] = [(float(p), tuple(words)) for p, *words in sides]
        else:
            rules[symbol] = [(1 / len(sides), tuple(words)) for words in sides]
    return rules


def _add(sums: dict[int, tuple[float, int]], key: int, log_p: float, count: int) -> None:
    old = sums.get(key)
    sums[key] = (log_p, count) if old is None else (float(np.logaddexp(old[0], log_p)), old[1] + count)


def _uniform(seed: int | Sequence[int]) -> Iterator[float]:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    while True:
        yield from generator.random(4096).tolist()


# topic: (weight, nouns, intransitive verbs, transitive verbs, adjectives), each list the most frequent first.
_TOPICS = {
    "sea": (
        4,
        "sailor boat captain ship harbor island whale gull anchor pirate "
        "diver dolphin lighthouse reef tide crab raft pilot turtle lagoon",
        "drift sink float swim dive glide surface capsize",
        "steer follow tow rescue spot chase circle load signal board",
        "salty deep calm stormy blue distant wooden rusty",
    ),
    "kitchen": (
        3,
        "cook pot guest waiter table chef soup oven cake apple "
        "plate baker spoon onion sauce kettle recipe lemon carrot biscuit",
        "boil burn cool simmer melt steam rise bubble",
        "stir taste serve slice order heat peel roast season grate",
        "hot sweet fresh warm sour spicy crisp bitter",
    ),
    "music": (
        2,
        "singer song band guitar piano dancer violin choir stage concert "
        "drummer conductor chord tune album flute trumpet composer rhythm cello",
        "play sing dance perform rehearse pause fade resonate",
        "hear lead write record praise admire conduct compose applaud interrupt",
        "loud slow quiet famous gentle modern rapid solemn",
    ),
    "forest": (
        1,
        "bear hunter tree owl river rabbit ranger trail stone hawk "
        "squirrel oak cabin snake frog badger pine beetle mushroom meadow",
        "sleep hide grow wander climb rest crawl howl",
        "find track hunt avoid feed guard scare protect surround shelter",
        "dark tall wild green hidden silent ancient hungry",
    ),
}
_DETERMINERS = {"sg": "the one this every", "pl": "the some these many"}
_PREPOSITIONS = "near with behind beside above below under opposite"
_ADVERBS = "often never always quickly slowly rarely usually suddenly"
_CLAUSE_VERBS = "think say believe know hope"

# Rules of each topic t: 55 of 100 nouns are in the singular.
_TOPIC_RULES = """
Sentence_{t} -> 0.55 NP_{t}_sg VP_{t}_sg Tail_{t}_sg | 0.45 NP_{t}_pl VP_{t}_pl Tail_{t}_pl
Clause_{t} -> 0.55 NP_{t}_sg VP_{t}_sg | 0.45 NP_{t}_pl VP_{t}_pl
Object_{t} -> 0.55 NP_{t}_sg | 0.45 NP_{t}_pl
"""
# Those of each topic t and number n, together "own".
_NUMBER_RULES = """
Tail_{own} -> 0.75 <eos> | 0.25 and VP_{own} <eos>
NP_{own} -> 1 Det_{n} Noun_{own}
Noun_{own} -> 0.25 Adj_{t} Noun_{own} | 0.75 N_{own} Post_{own}
Post_{own} -> 0.6 | 0.2 Prep Object_{t} | 0.2 Rel_{own}
Rel_{own} -> 0.5 that VP_{own} | 0.275 that NP_{t}_sg Vt_{t}_sg | 0.225 that NP_{t}_pl Vt_{t}_pl
VP_{own} -> 0.2 Adv Verb_{own} | 0.8 Verb_{own}
Verb_{own} -> 0.4 Vi_{own} | 0.5 Vt_{own} Object_{t} | 0.1 Vs_{n} that Clause_{t}
"""


def english() -> Grammar:
    """The grammar of the built-in corpus: short English-like sentences, each ended by ``<eos>``.

    A model has to remember more than its last words: a verb agrees in number with its noun across
    prepositional phrases and nested relative clauses; a second verb after "and" still agrees with the first noun; and
    all nouns, verbs and adjectives of a sentence belong to one of four topics. Within a class, words follow Zipf's law.
    No word but "the" belongs to two classes, and each sentence has one derivation.
    """
    rules: dict[str, list[Rule]] = {"S": []}
    weights = sum(topic[0] for topic in _TOPICS.values())
    for number, determiners in _DETERMINERS.items():
        rules[f"Det_{number}"] = _zipf(determiners.split())
        rules[f"Vs_{number}"] = _zipf([_inflect(verb, number == "sg") for verb in _CLAUSE_VERBS.split()])
    rules["Prep"] = _zipf(_PREPOSITIONS.split())
    rules["Adv"] = _zipf(_ADVERBS.split())
    for topic, (weight, nouns, intransitive, transitive, adjectives) in _TOPICS.items():
        rules["S"].append((weight / weights, (f"Sentence_{topic}",)))
        rules |= parse_rules(_TOPIC_RULES.format(t=topic))
        rules[f"Adj_{topic}"] = _zipf(adjectives.split())
        for number in _DETERMINERS:
            own = f"{topic}_{number}"
            rules[f"N_{own}"] = _zipf([_inflect(noun, number == "pl") for noun in nouns.split()])
            rules[f"Vi_{own}"] = _zipf([_inflect(verb, number == "sg") for verb in intransitive.split()])
            rules[f"Vt_{own}"] = _zipf([_inflect(verb, number == "sg") for verb in transitive.split()])
            rules |= parse_rules(_NUMBER_RULES.format(t=topic, n=number, own=own))
    return Grammar(rules, "S")


def _inflect(word: str, with_s: bool) -> str:
    return word + "s" if with_s else word


def _zipf(words: Sequence[str]) -> list[Rule]:
    """Words with probabilities proportional to 1 / rank."""
    total = math.fsum(1 / rank for rank in range(1, len(words) + 1))
    return [(1 / (rank * total), (word,)) for rank, word in enumerate(words, 1)]
