"""The words of a text file: counted, and encoded as ids."""

from ..typing import Array

def count_words(corpus_file: str) -> tuple[list[bytes], Array]:
    """The words of a text file, between ASCII white space, and their counts; the most frequent first."""

def encode_words(corpus_file: str, words: list[bytes], longest: int = 10000) -> tuple[Array, Array, int]:
    """(ids (N,) int32, offsets (S + 1,) int64, words of the text) of a file's lines over `words`.

    Other words are left out, lines without any leave no sentence, longer ones than `longest` are cut.
    """
