"""Tales as bigrams of characters: from a folder, from any text, or from a built-in teller of tales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._validation import integer
from ..text import read_lines
from ..text.tokenizer import Tokenizer
from ..text.vocabulary import Vocabulary
from ..typing import Ids, PathLike
from .corpora import UNKNOWN
from .grammar import END, Grammar, parse_rules

#: Two characters, not overlapping, in lower case: the tokens of the book's tales.
BIGRAMS = Tokenizer(2, lower=True)

# A story longer than this many tokens gives its last ones for validation: at most a tenth of it.
_LONG, _HELD_BACK = 2500, 250
# A token must be seen more often than ten times to be a word of the vocabulary.
_MIN_COUNT = 11


@dataclass(frozen=True)
class Stories:
    """Stories as ids of one vocabulary.

    ``train`` has an array (N,) int32 for each story, ``valid`` the held-back ends as rows (R, L): each row is the last
    L tokens of a long story. ``description`` is one line about them.
    """

    description: str
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    train: tuple[Ids, ...]
    valid: NDArray[np.int32]

    @property
    def tokens(self) -> int:
        """Tokens of all training stories."""
        return sum(map(len, self.train))


def load_stories(
    folder: PathLike, count: int = 20, tokenizer: Tokenizer = BIGRAMS, *, max_bytes: int | None = None
) -> Stories:
    """The first stories of a folder by name, one text file each.

    Args:
        folder: holds ``*.txt`` in ``grimm/`` or itself.
        count: how many.
        tokenizer: makes the tokens.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: no such files or too few, one that is empty or no text, none long enough to validate on.
        OSError: a file cannot be read.
    """
    places = [Path(folder) / "grimm", Path(folder)]
    paths = next((files for place in places if (files := sorted(place.glob("*.txt")))), [])
    if not paths:
        raise ValueError(f"folder: expected stories *.txt in {str(places[0])!r} or {str(places[1])!r}, got none")
    if len(paths) < integer("stories", count, 1):
        raise ValueError(f"stories: expected at most {len(paths)}, the files in {str(paths[0].parent)!r}, got {count}")
    texts = [_read(path, max_bytes) for path in paths[:count]]
    return make_stories(f"the first {count} stories of {paths[0].parent}", texts, tokenizer)


def load_text(path: PathLike, tokenizer: Tokenizer = BIGRAMS, *, max_bytes: int | None = None) -> Stories:
    """Any text as one long story; the last tenth is cut into rows for validation.

    Args:
        path: the file, plain or packed.
        tokenizer: makes the tokens.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: the file is empty, no text or too short.
        OSError: it cannot be read.
    """
    tokens = tokenizer.split(_read(path, max_bytes))
    rows = len(tokens) // 10 // _HELD_BACK
    if not rows:
        raise ValueError(f"text: expected at least {10 * _HELD_BACK} tokens, got {len(tokens)} in {str(path)!r}")
    border = len(tokens) - rows * _HELD_BACK
    held = [tokens[i : i + _HELD_BACK] for i in range(border, len(tokens), _HELD_BACK)]
    return _number(f"the text {path}", tokenizer, [tokens[:border]], held)


def _read(path: PathLike, max_bytes: int | None) -> str:
    """A text with one kind of line end and none at the end."""
    text = "\n".join(line.removesuffix("\r") for line in read_lines(path, max_bytes=max_bytes)).strip()
    if not text:
        raise ValueError(f"path: expected text in {str(path)!r}, got an empty file")
    return text


def make_stories(description: str, texts: Sequence[str], tokenizer: Tokenizer = BIGRAMS) -> Stories:
    """Stories from texts: the ends of the long ones are held back.

    Raises:
        ValueError: no text long enough to validate on.

    >>> stories = make_stories("two", ["so it went on and on. " * 400, "a short one, and so on. " * 20])
    >>> [len(story) for story in stories.train], stories.valid.shape
    ([4150, 240], (1, 250))
    """
    train, held = [], []
    for tokens in map(tokenizer.split, texts):
        if len(tokens) > _LONG:
            held.append(tokens[-_HELD_BACK:])
            tokens = tokens[:-_HELD_BACK]
        train.append(tokens)
    if not held:
        raise ValueError(f"stories: expected one of more than {_LONG} tokens to hold back the end of, got none")
    return _number(description, tokenizer, train, held)


def _number(description: str, tokenizer: Tokenizer, train: list[list[str]], held: list[list[str]]) -> Stories:
    """Ids of tokens, the vocabulary being that of the training part; the unknown token has the id 0, as in the book."""
    if min(map(len, train)) < 2:
        raise ValueError("stories: expected two tokens or more in each story, one to read and one to predict")
    words = [token for tokens in train for token in tokens]
    vocabulary = Vocabulary.from_tokens(words, min_count=_MIN_COUNT, specials=(UNKNOWN,), unknown=UNKNOWN)
    if vocabulary.size == 1:
        raise ValueError(f"stories: expected tokens that occur {_MIN_COUNT} times or more, got none")
    valid = np.array([vocabulary.encode(tokens) for tokens in held], np.int32)
    return Stories(description, tokenizer, vocabulary, tuple(map(vocabulary.encode, train)), valid)


# --- the built-in teller ---------------------------------------------------------------------------------------------


def builtin_stories(count: int = 20, seed: int = 1, tokenizer: Tokenizer = BIGRAMS) -> Stories:
    """Tales told by a seeded generator, of lengths like those of fairy tales; see :func:`tell`.

    >>> stories = builtin_stories(4)
    >>> len(stories.train), stories.valid.shape[1]
    (4, 250)
    """
    integer("stories", count, 1)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 0))))
    lengths = np.clip(generator.lognormal(7.0, 0.7, count), 150, 2600).astype(int)
    # Without a long one there would be nothing to validate on.
    lengths[0] = max(lengths[0], 1500)
    texts = [tell(int(length), (seed, number + 1)) for number, length in enumerate(lengths)]
    return make_stories(f"built-in tales, {count} of them, told by a grammar", texts, tokenizer)


def tell(words: int, seed: int | Sequence[int]) -> str:
    """An English-like tale of about that many words.

    Who it is about, their name and kind, what they look for, where it lies, who helps and who hinders stay the same
    from the first sentence to the last, and so does "he" or "she": a model that forgets them must guess. The sentences
    between are drawn from a probabilistic grammar.

    Args:
        words: least number of words; the tale ends with a whole sentence.
        seed: same seed, same tale.

    >>> tell(1, 3).startswith("once upon a time there was a ")
    True
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    cast = {slot: choices[int(generator.integers(len(choices)))] for slot, choices in _CAST.items()}
    she = bool(generator.integers(2))
    cast["KIND"], cast["NAME"] = (str(generator.choice(people[she].split())) for people in (_KINDS, _NAMES))
    cast |= dict(zip(("HE", "HIM", "HIS"), ("she", "her", "her") if she else ("he", "him", "his"), strict=True))
    middle, _ = _GRAMMAR.sample(words, (*np.atleast_1d(seed).tolist(), 1))
    return _write(f"{_OPENING} {' '.join(middle)} {_ENDING}".split(), cast)


def _write(words: list[str], cast: Mapping[str, str]) -> str:
    """The words with the cast put in, signs close to the word before them, a paragraph after every eighth sentence."""
    text, sentences = "", 0
    for word in words:
        if word in (",", ".", ":", "!"):
            text += word
        elif word == END:
            sentences += 1
            text += ".\n" if sentences % 8 == 0 else "."
        else:
            text += ("" if not text or text.endswith("\n") else " ") + cast.get(word, word)
    return text


_KINDS = ("miller soldier tailor woodcutter fisherman prince shepherd hunter", "queen maiden widow spinner princess")
_NAMES = (
    "hans frederick martin conrad peter kaspar rupert wilhelm",
    "gretel clara margaret elsa rosamund ottilie anna",
)
_CAST = {
    "PLACE": ["dark forest", "glass mountain", "old mill", "deep well", "lonely castle", "stone bridge", "wide lake"],
    "THING": ["golden ring", "silver spoon", "red apple", "magic harp", "little key", "blue cloak", "wooden crown"],
    "FRIEND": ["fox", "raven", "white horse", "grey dwarf", "toad", "hedgehog", "swan"],
    "FOE": ["wolf", "witch", "giant", "robber", "dragon", "cruel king", "wicked cook"],
}
_OPENING = (
    f"once upon a time there was a KIND whose name was NAME , and HE had nothing in the world but a THING {END} "
    f"one day the FOE came and stole the THING and carried it to the PLACE {END} then NAME wept and said : "
    f"i will go and find my THING {END} on the way HE met a FRIEND , and the FRIEND went with HIM {END}"
)
_ENDING = (
    f"at last NAME came to the PLACE , and there lay the THING {END} the FRIEND bit the FOE until the FOE fled {END} "
    f"so the KIND took HIS THING and went home with the FRIEND , and if they are not dead they live there still {END}"
)


# Words in capital letters are put in by the cast of a tale.
_RULES = """
S -> 0.3 Deed <eos> | 0.2 When Deed <eos> | 0.15 Deed , and Then <eos> | 0.2 Talk <eos> | 0.15 Scene <eos>
Deed -> 0.3 Hero HeroDoes | 0.25 the FRIEND FriendDoes | 0.25 the FOE FoeDoes | 0.2 Other OtherDoes
Hero -> NAME | HE | the KIND
HeroDoes -> thought of HIS THING | went on towards the PLACE | sat down Near and ate Food
    | asked Other the way to the PLACE | gave Other Food | could not sleep for grief | called the FRIEND to HIM
    | was afraid of the FOE
FriendDoes -> walked before HIM through the night | brought NAME Food from the village
    | knew where the THING was hidden | watched while NAME slept | said nothing and shook its head
FoeDoes -> sat in the PLACE and counted Number pieces of gold | heard the step of NAME
    | locked the THING in a chest | fell asleep Near | laughed at the FRIEND
Other -> an old Person | a poor Person | the Person | Number Creature
Person -> woman | man | goose girl | innkeeper | beggar | child
Creature -> birds | mice | bees | ants | ducks
Number -> two | three | seven | nine | twelve
OtherDoes -> came along the road | asked for Food | had seen the FOE go by | sang Near | went into the house
    | pointed to the PLACE
Near -> under a tree | by the fire | beside the road | on a stone | near the water | in the grass
Food -> a piece of bread | some milk | an egg | a cup of wine | a handful of nuts
When -> in the morning | when night fell | after Number days | when it grew cold | before the sun was up
    | when they had gone a long way
Then -> NAME was glad | nobody spoke | HE wept again | they went on | the moon shone | it began to rain
Talk -> 0.35 the FRIEND said : FriendSays | 0.35 NAME Answered : HeroSays | 0.3 Other said : OtherSays
Answered -> answered | said | cried
FriendSays -> do not weep , NAME | the FOE has your THING | give me Food and i will carry you to the PLACE
    | be still , for the FOE is near
HeroSays -> i must have my THING again | come with me , dear FRIEND | who has seen the FOE | what shall i do now
    | i am not afraid of the PLACE
OtherSays -> turn back , NAME | no one comes home from the PLACE | take Food with you
    | i have not seen the FRIEND nor the FOE
Scene -> the wind blew over the PLACE | it was so dark that nobody could see the road
    | Number Creature slept Near | there was snow on the ground
    | the door of the house stood open , and Other looked out
"""
_GRAMMAR = Grammar(parse_rules(_RULES), "S")
