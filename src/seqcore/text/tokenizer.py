"""Tokenizer: texts as words or as runs of characters such as bigrams, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._pickling import Pickled
from .._validation import boolean, integer, short_repr
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Tokenizer(Pickled):
    """Words separated by white space, or runs of ``characters`` characters that do not overlap.

    Args:
        characters: length of a run: 2 for bigrams, 1 for single characters; 0 for words.
        lower: whether the text is put into lower case first.

    >>> bigrams = Tokenizer(2, lower=True)
    >>> bigrams.split("Once upon")
    [' o', 'nc', 'e ', 'up', 'on']
    >>> bigrams.join(["on", "ce", " u"])
    'once u'
    >>> Tokenizer().join(Tokenizer().split("the  cat"))
    'the cat'
    """

    _pickle_family = "tokenizer"
    characters: int = 0
    lower: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "characters", integer("characters", self.characters, 0))
        object.__setattr__(self, "lower", boolean("lower", self.lower))

    def split(self, text: str) -> list[str]:
        """The tokens of a text; a text whose length is not a multiple of the run is padded with spaces in front."""
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {short_repr(text)}")
        text = text.lower() if self.lower else text
        if not self.characters:
            return text.split()
        size = self.characters
        text = " " * (-len(text) % size) + text
        return [text[i : i + size] for i in range(0, len(text), size)]

    def join(self, tokens: Iterable[str]) -> str:
        """The text of tokens."""
        return ("" if self.characters else " ").join(tokens)

    def known(self, text: str, vocabulary: Vocabulary, name: str = "prompt") -> list[str]:
        """The tokens of a text that a model is to continue or to evaluate.

        Raises:
            ValueError: runs of characters outside the vocabulary. Words outside are left to the vocabulary, which may
                have a word for them.
        """
        tokens = self.split(text)
        missing = [token for token in tokens if token not in vocabulary] if self.characters else []
        if missing:
            units = "bigrams" if self.characters == 2 else f"runs of {self.characters} characters"
            raise ValueError(f"{name}: expected {units} that the model knows, got {', '.join(map(repr, missing[:5]))}")
        return tokens

    def to_dict(self) -> dict[str, Any]:
        """A description for :meth:`from_dict`, of values that JSON can hold."""
        return {"characters": self.characters, "lower": self.lower}

    @classmethod
    def from_dict(cls, config: Any) -> Tokenizer:
        """The tokenizer that :meth:`to_dict` described; None means words.

        Raises:
            ValueError: not such a description.
        """
        if config is None:
            return cls()
        if not isinstance(config, dict) or set(config) != {"characters", "lower"}:
            raise ValueError(f"config: expected characters and lower, got {str(config)[:60]!r}")
        return cls(config["characters"], config["lower"])
