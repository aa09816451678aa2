"""LineSentence, PathLineSentences and Text8Corpus against plain Python: packed files, folders, open files."""

import bz2
import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqcore import Word2Vec
from seqcore.word_vectors import LineSentence, PathLineSentences, Text8Corpus
from tests.helpers.refusals import refused

TEXT = "the cat  saw\tthe dog \n\n a \xe9 b\r\nlast line without end"
PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}


def expected(text, longest, limit=None):
    """Pieces of each line, of at most ``longest`` words."""
    lines = [line.split() for line in text.split("\n")[:limit]]
    return [words[at : at + longest] for words in lines for at in range(0, len(words), longest)]


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("longest", [1, 2, 10_000])
@pytest.mark.parametrize("limit", [None, 0, 1, 3, 100])
def test_lines(packer, longest, limit, tmp_path):
    (tmp_path / "text").write_bytes(PACKERS[packer](TEXT.encode()))
    sources = tmp_path / "text", str(tmp_path / "text"), io.BytesIO(TEXT.encode()), io.StringIO(TEXT, newline="")
    for source in sources:
        sentences = LineSentence(source, longest, limit)
        assert list(sentences) == list(sentences) == expected(TEXT, longest, limit)


def test_a_folder(tmp_path):
    """Files in the order of their names, a subfolder left out; a single file works too."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "hidden.txt").write_text("never")
    for name, packer in (("b.txt", bytes), ("a.gz", gzip.compress), ("c.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(packer(f"{name} x y\nsecond\nthird".encode()))
    sentences = PathLineSentences(tmp_path, max_sentence_length=2, limit=2)
    lines = [[[name, "x"], ["y"], ["second"]] for name in ("a.gz", "b.txt", "c.bz2")]
    assert list(sentences) == list(sentences) == sum(lines, [])
    sentences.input_files = sentences.input_files[1:2]
    assert list(sentences) == lines[1]
    assert list(PathLineSentences(tmp_path / "b.txt", limit=1)) == [["b.txt", "x", "y"]]


@given(st.lists(st.sampled_from(["a", "bc", "\xe9"]), min_size=0, max_size=40), st.integers(1, 9))
def test_one_long_line(tmp_path_factory, words, longest):
    path = tmp_path_factory.getbasetemp() / "text8"
    path.write_text(" " + " ".join(words), encoding="utf-8")
    pieces = Text8Corpus(path, longest)
    assert list(pieces) == list(pieces) == [words[at : at + longest] for at in range(0, len(words), longest)]


def test_a_limit_reads_no_further(tmp_path):
    """The first lines of a file whose end is damaged."""
    path = tmp_path / "text"
    path.write_bytes(b"the cat\n" * (1 << 18) + b"\xff\xfe")
    assert list(LineSentence(path, limit=2)) == [["the", "cat"]] * 2
    with pytest.raises(ValueError, match="text: expected UTF-8 text"):
        list(LineSentence(path))


def test_they_train_as_lists_do(tmp_path):
    path = tmp_path / "text"
    path.write_text("cats chase mice\ndogs chase cats\n" * 20)
    lists = [line.split() for line in path.read_text().split("\n")]
    settings = dict(vector_size=4, min_count=1, workers=1, epochs=2)
    one, other = Word2Vec(LineSentence(path), **settings), Word2Vec(lists[:-1], **settings)
    np.testing.assert_array_equal(one.wv.vectors, other.wv.vectors)


@pytest.mark.parametrize("cls", [LineSentence, PathLineSentences, Text8Corpus])
def test_wrong_arguments(cls, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(b"a b\n" * 100))
    name = "fname" if cls is Text8Corpus else "source"
    refused("max_sentence_length", cls, path, 0)
    refused("max_sentence_length", cls, path, "3")
    refused("max_bytes", cls, path, max_bytes=0)
    refused(name, cls, 3)
    refused(name, cls, "")
    if cls is not Text8Corpus:
        refused("limit", cls, path, limit=-1)
    with pytest.raises(ValueError, match="at most 10 bytes unpacked"):
        list(cls(path, max_bytes=10))
    if cls is PathLineSentences:
        assert "a file or a folder" in refused("source", cls, tmp_path / "none")
    else:
        with pytest.raises(FileNotFoundError):
            list(cls(tmp_path / "none"))
    with pytest.raises(ValueError, match="source, line 2: expected UTF-8"):
        list(LineSentence(io.BytesIO(b"a\n\xff\n")))
