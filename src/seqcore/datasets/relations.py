"""The built-in corpus of word vectors: sentences in which word pairs have known relations, and the questions.

Every pair, such as Norland and its capital, has topic words of its own; every role, such as being a country or being a
capital, has words that go with all words in that role. A sentence is about one word: it mixes words of the pair's topic
with words of the role. So the two words of a pair differ in nothing but the role, and the words of a role in nothing
but the topic: "a is to b as c is to d" holds in the text by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._validation import integer
from ..typing import PathLike

Question = tuple[str, str, str, str]

#: The pairs of each relation.
PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    name: tuple((first, second) for first, second in (pair.split(":") for pair in pairs.split()))
    for name, pairs in {
        "capital-of-country": "france:paris italy:rome spain:madrid japan:tokyo egypt:cairo norway:oslo peru:lima "
        "cuba:havana kenya:nairobi poland:warsaw greece:athens austria:vienna",
        "singular-plural": "apple:apples bottle:bottles candle:candles dragon:dragons engine:engines finger:fingers "
        "garden:gardens hammer:hammers insect:insects jacket:jackets kitten:kittens ladder:ladders",
        "male-female": "king:queen father:mother brother:sister uncle:aunt actor:actress prince:princess "
        "nephew:niece waiter:waitress husband:wife grandson:granddaughter",
        "adjective-comparative": "warm:warmer cheap:cheaper loud:louder young:younger sharp:sharper thick:thicker "
        "bright:brighter clean:cleaner deep:deeper soft:softer",
        "present-past": "sing:sang write:wrote drive:drove throw:threw swim:swam break:broke choose:chose "
        "draw:drew fly:flew grow:grew",
    }.items()
}

# Words that go with every word of a role, the first role's and the second's.
_ROLES = {
    "capital-of-country": (
        "border nation treaty population constitution continent army",
        "city mayor downtown airport subway suburb district",
    ),
    "singular-plural": ("a one this single every another each", "many several few these those various both"),
    "male-female": ("he his himself man boy mister gentleman", "she her herself woman girl lady madam"),
    "adjective-comparative": ("very quite so rather extremely fairly really", "than even much still ever slightly far"),
    "present-past": (
        "now today usually often daily will tomorrow",
        "yesterday ago formerly once earlier previously before",
    ),
}
_FILLERS = "the of and in to with for on at by from near about".split()
_TOPIC_WORDS = 5

# Patterns of sentences: X the word it is about, t of its topic, r of its role, f a filler. Neighbours of X are
# words of its topic and its role, so that the narrowest window shows both.
_PATTERNS = "ftXrft ftrXtf rXtfrt trXtrf ftXrtXrf rtfrXt tXrft frtXrt".split()


_CONSONANTS, _VOWELS = "bdfgklmnprst", "aeiou"
_BLOCK = 4096  # sentences made at once


def topic_words(pair: int) -> list[str]:
    """The invented words that belong to one pair only; pairs are numbered through all relations.

    >>> topic_words(0)
    ['babedi', 'dosesu', 'gipipe', 'lemolo', 'nakuga']
    """
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    words = []
    for number in range(pair * _TOPIC_WORDS, (pair + 1) * _TOPIC_WORDS):
        # A step that has no divisor in common with the number of words of three syllables: none comes twice.
        code, word = (number * 31_847 + 67) % len(syllables) ** 3, ""
        for _ in range(3):
            code, syllable = divmod(code, len(syllables))
            word = syllables[syllable] + word
        words.append(word)
    return words


def questions() -> dict[str, list[Question]]:
    """For each relation the questions "a is to b as c is to d": every pair (a, b) with every other pair (c, d).

    >>> asked = questions()
    >>> asked["male-female"][0], sum(map(len, asked.values()))
    (('king', 'queen', 'father', 'mother'), 534)
    """
    return {name: [(*first, *second) for first, second in permutations(pairs, 2)] for name, pairs in PAIRS.items()}


def write_questions(path: PathLike) -> None:
    """Write :func:`questions` in the format of questions-words.txt."""
    lines = [
        line for name, asked in questions().items() for line in (f": {name}", *(" ".join(words) for words in asked))
    ]
    atomic_write(path, ["\n".join(lines).encode(), b"\n"])


def sentences(words: int = 1_000_000, seed: int = 1) -> list[list[str]]:
    """Sentences with ``words`` words or a few more, the last one whole.

    Args:
        words: least number of words.
        seed: same seed, same text; a longer text starts with the shorter one.

    Raises:
        ValueError: fewer than one word, or a negative seed.

    >>> [len(sentence) for sentence in sentences(10)]
    [6, 6]
    """
    return list(_sentences(words, seed))


def write_sentences(path: PathLike, words: int = 1_000_000, seed: int = 1) -> None:
    """Write :func:`sentences`, one per line."""
    atomic_write(path, (f"{' '.join(sentence)}\n".encode() for sentence in _sentences(words, seed)))


@cache
def _tables() -> tuple[NDArray[np.object_], dict[str, NDArray[np.intp]]]:
    """All words, and as their numbers by the letter of the slot: the words of each pair (P, 2), of its topic (P, 5),
    of its roles (P, 2, 7), and the fillers."""
    names = [name for name, pairs in PAIRS.items() for _ in pairs]
    lists: dict[str, list[Any]] = {
        "X": [pair for pairs in PAIRS.values() for pair in pairs],
        "t": [topic_words(number) for number in range(len(names))],
        "r": [[words.split() for words in _ROLES[name]] for name in names],
        "f": _FILLERS,
    }
    words = np.unique(np.concatenate([np.ravel(listed) for listed in lists.values()]))
    return words.astype(object), {slot: np.searchsorted(words, listed) for slot, listed in lists.items()}


def _sentences(words: int, seed: int) -> Iterator[list[str]]:
    for name, value, least in (("words", words, 1), ("seed", seed, 0)):
        integer(name, value, least)
    names, tables = _tables()
    letters = np.array(list("".join(_PATTERNS)))
    lengths = np.array([len(pattern) for pattern in _PATTERNS])
    starts = np.cumsum(lengths) - lengths
    count = len(tables["X"])
    # Zipf's law, flattened so that the rarest word still comes often enough to be learned; dealt over the relations.
    shares = 1 / (np.argsort(np.argsort(np.arange(count) * 17 % count)) + 20.0)
    shares /= shares.sum()
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 7))))
    left = words
    while left > 0:
        pair, role = generator.choice(count, _BLOCK, p=shares), generator.integers(0, 2, _BLOCK)
        pattern = generator.integers(0, len(_PATTERNS), _BLOCK)
        ends = np.cumsum(lengths[pattern])
        about = np.repeat(np.arange(_BLOCK), lengths[pattern])
        slot = np.arange(ends[-1]) - (ends - lengths[pattern])[about] + starts[pattern][about]
        letter, p, r = letters[slot], pair[about], role[about]
        draw = generator.random(len(slot))
        ids = tables["X"][p, r]
        fillers = np.broadcast_to(tables["f"], (len(slot), len(_FILLERS)))
        for place, table in (("t", tables["t"][p]), ("r", tables["r"][p, r]), ("f", fillers)):
            chosen = (draw * table.shape[1]).astype(np.intp)
            ids = np.where(letter == place, table[np.arange(len(slot)), chosen], ids)
        used = min(int(np.searchsorted(ends, left)) + 1, _BLOCK)
        listed, stops = names[ids].tolist(), ends[:used].tolist()
        yield from (listed[start:stop] for start, stop in zip([0, *stops], stops))
        left -= stops[-1]
