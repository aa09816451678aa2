"""The reader of corpora: counting and numbering files against bytes.split, odd texts, refused files, fuzzing."""

import collections
import os
import resource
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqcore import Word2Vec, _core
from seqcore.word_vectors import corpus as corpora
from tests.helpers.refusals import refused


def count(data):
    """Words, the most frequent first, equal ones in the order of their first appearance; their counts."""
    return list(zip(*collections.Counter(data.split()).most_common())) or [(), ()]


def encode(data, words, longest=10_000):
    """ids, offsets and words of the text, line by line."""
    numbers = {word: number for number, word in enumerate(words) if word}
    ids, offsets = [], [0]
    for line in data.split(b"\n"):
        found = [numbers[word] for word in line.split() if word in numbers]
        for start in range(0, len(found), longest):
            ids += found[start : start + longest]
            offsets.append(len(ids))
    return ids, offsets, len(data.split())


def check(path, data, words=None, longest=10_000):
    """Both functions on a file of ``data`` against Python."""
    path.write_bytes(data)
    raw, counts = _core.corpus.count_words(str(path))
    expected_words, expected_counts = count(data)
    assert raw == list(expected_words) and counts.tolist() == list(expected_counts) and counts.dtype == np.int64
    chosen = raw[::2] if words is None else words
    ids, offsets, total = _core.corpus.encode_words(str(path), chosen, longest)
    assert (ids.tolist(), offsets.tolist(), total) == encode(data, chosen, longest)
    assert (ids.dtype, offsets.dtype) == (np.int32, np.int64)


TEXTS = {
    "empty": b"",
    "one word": b"word",
    "white space": b" \t\r\n\v\f \n\n",
    "no final newline": b"a b\nc",
    "CRLF": b"one two\r\nthree one\r\n\r\n",
    "tabs": b"a\tb\t\ta\n\tb",
    "empty lines": b"\n\na\n\n\nb a\n\n",
    "beyond ASCII": "straße größer 東京 東京 naïve\nπ α π \U0001f600\n".encode(),
    "white space beyond ASCII": "a\u00a0b a\u2003b \u3000 \x85\n".encode(),
    "separators that str.split knows": b"a\x1cb a\x1db\x1e c\x1f\n",
    "not UTF-8": b"\xff\xfe \x80 \xff\xfe\n",
    "words of eight bytes and around": b"1234567 12345678 123456789 1234567812345678 12345678 1234567 12345678\xff",
    "words that differ in the middle": b"abcdefghXijklmnop abcdefghYijklmnop abcdefghXijklmnop",
    "very long words": b"x" * 100_000 + b" " + b"x" * 99_999 + b"y " + b"x" * 100_000,
    "control characters": b"\x01 \x7f \x01\x02\n",
    "byte order mark": b"\xef\xbb\xbfa a",
}


@pytest.mark.parametrize("name", TEXTS)
def test_odd_texts(name, tmp_path):
    check(tmp_path / "text", TEXTS[name])


@pytest.mark.parametrize("longest", [1, 3, 10_000])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads(threads, longest, rng, tmp_path):
    """A text that is cut among threads: words and lines that lie across the cuts are whole."""
    words = [b"w" * (n % 12 + 1) + str(n).encode() for n in rng.zipf(1.2, 60_000) % 5_000]
    spaces = [b" ", b"\n", b"\t", b"  ", b"\r\n"]
    data = b"".join(word + spaces[n] for word, n in zip(words, rng.integers(0, 5, len(words))))
    _core.system.set_num_threads(threads)
    check(tmp_path / "text", data, longest=longest)
    check(tmp_path / "text", b"z" * 300_000 + b" " + data[:1000])
    check(tmp_path / "text", data.replace(b"\n", b" ").replace(b"\r", b" "), longest=longest)


BLOCK = 1 << 18  # bytes that the core reads at a time


@pytest.mark.parametrize(("threads", "shift"), [(1, -9), (1, -1), (1, 0), (2, -8), (2, 0), (7, 1)])
def test_words_and_lines_at_the_ends_of_blocks(shift, threads, tmp_path):
    """Words and lines across the ends of the blocks of a file, or ending there, are whole and come once."""
    _core.system.set_num_threads(threads)
    data = bytearray(b"\n".join(b"w%d a" % n for n in range(130_000)))
    for number, end in enumerate(range(BLOCK, len(data) - 40, BLOCK)):
        piece = (b" across ", b"\nab\n", b" 12345678 ", b" a-longer-word-than-eight-bytes\n\n")[number % 4]
        data[end + shift : end + shift + len(piece)] = piece
    check(tmp_path / "text", bytes(data))
    for tail in (b"", b"\n", b"x"):
        check(tmp_path / "text", bytes(data[: BLOCK + shift]) + tail)


@pytest.mark.parametrize("threads", [1, 3])
def test_words_longer_than_blocks(threads, tmp_path):
    """Words of several blocks, up to the longest that is taken; one more byte is too much."""
    _core.system.set_num_threads(threads)
    longest = 1 << 24
    check(tmp_path / "text", b"a b\n" + b"x" * (5 * BLOCK + 3) + b"\nc d\n" + b"y" * (2 * BLOCK) + b" a")
    (tmp_path / "text").write_bytes(b"a\n" + b"x" * longest + b"\nb")
    words, counts = _core.corpus.count_words(str(tmp_path / "text"))
    assert [len(word) for word in words] == [1, longest, 1] and counts.tolist() == [1, 1, 1]
    (tmp_path / "text").write_bytes(b"a\n" + b"x" * (longest + 1) + b"\nb")
    for function, more in ((_core.corpus.count_words, ()), (_core.corpus.encode_words, ([b"a"],))):
        assert "longer" in refused("corpus_file", function, str(tmp_path / "text"), *more)


BYTES = st.lists(
    st.sampled_from([b" ", b"\n", b"\r", b"\t", b"\v", b"\f", b"a", b"b", b"ab", b"\xc3\xa9", b"\xff", b"abcdefgh"])
    | st.binary(max_size=10).map(lambda data: data.replace(b"\0", b"\1"))
).map(b"".join)


@given(data=BYTES, words=st.lists(st.binary(max_size=9), unique=True, max_size=20), longest=st.integers(1, 5))
@settings(max_examples=200)
def test_fuzz(tmp_path_factory, data, words, longest):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    check(path, data, longest=longest)
    check(path, data, words, longest)
    check(path, data, list(dict.fromkeys([*words, *data.split()])), longest)


@given(data=st.binary(max_size=200), at=st.integers(0, 200))
def test_nul_bytes_are_no_text(tmp_path_factory, data, at):
    path = tmp_path_factory.getbasetemp() / "binary"
    path.write_bytes(data[:at] + b"\0" + data[at:])
    text = refused("corpus_file", _core.corpus.count_words, str(path))
    assert "NUL" in text and str(path) in text


@pytest.mark.native
def test_many_lines_without_words_take_no_memory(tmp_path):
    """A file of 60 million line ends does not become 60 million offsets."""
    path = tmp_path / "lines"
    path.write_bytes(b"a\n" + b"\n" * 60_000_000 + b"a")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids, offsets, total = _core.corpus.encode_words(str(path), [b"a"])
    assert (ids.tolist(), offsets.tolist(), total) == ([0, 0], [0, 1, 2], 2)
    # The file has 60 MB; its offsets would be 480 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


# Refused --------------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for path, what in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "regular"),
        (pipe, "regular"),
        ("/dev/zero", "regular"),
        (tmp_path / "none" / "x", "No such file"),
        ("", "No such file"),
    ):
        for function, more in ((_core.corpus.count_words, ()), (_core.corpus.encode_words, ([b"a"],))):
            text = refused("corpus_file", function, str(path), *more)
            assert what in text and f"'{path}'" in text


@pytest.mark.native
def test_endless_files_and_huge_words(tmp_path):
    """A file of a petabyte that is not there, and a text without white space, are refused at once in little memory."""
    hole, word = tmp_path / "hole", tmp_path / "word"
    hole.touch()
    for size in (1 << 50, 1 << 43, 1 << 40):
        try:
            os.truncate(hole, size)
            break
        except OSError:  # more than the file system can name
            pass
    with word.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, what in ((hole, "NUL"), (word, "longer")):
        for function, more in ((_core.corpus.count_words, ()), (_core.corpus.encode_words, ([b"a"],))):
            assert what in refused("corpus_file", function, str(path), *more)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000


SHRINKING = """
import os, sys, threading
import seqcore as sc
from seqcore import _core

path = sys.argv[1]
messages = set()
for function, more in ((_core.corpus.count_words, ()), (_core.corpus.encode_words, ([b"word"],))) * 3:
    with open(path, "wb") as file:
        file.write(b"word another third \\n" * 1_000_000)
    timer = threading.Timer(0.01, os.truncate, (path, 10))
    timer.start()
    try:
        function(path, *more)
    except ValueError as error:
        messages.add(str(error))
    timer.join()
print(*messages, sep="\\n")
"""


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    """One line says so; the process goes on."""
    path = str(tmp_path / "shrinking")
    done = subprocess.run([sys.executable, "-c", SHRINKING, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]
    expected = f"corpus_file: expected a file that stays as it is while it is read, got '{path}' (it became shorter)"
    assert done.stdout.strip() in ("", expected)


def test_a_file_that_changes_between_counting_and_numbering(tmp_path):
    """The vocabulary and the text would not be of the same file."""
    path = tmp_path / "text"
    path.write_text("a b c a\n")
    text = corpora.read(None, path)
    assert text.encode(["a", "b"]).ids.tolist() == [0, 1, 0]
    path.write_text("a b c a a\n")
    assert "stays as it is" in refused("corpus_file", text.encode, ["a", "b"])


WRONG = {
    "a number as path": ("corpus_file", (3, [b"a"])),
    "no path": ("corpus_file", (None, [b"a"])),
    "no list": ("words", ("file", None)),
    "text as words": ("words", ("file", "abc")),
    "text as a word": ("words", ("file", [b"a", "b"])),
    "a number as a word": ("words", ("file", [1])),
    "None as a word": ("words", ("file", [None])),
    "a word twice": ("words", ("file", [b"a", b"b", b"a"])),
    "a long word twice": ("words", ("file", [b"a" * 20, b"a" * 20])),
    "longest 0": ("longest", ("file", [b"a"], 0)),
    "longest below 0": ("longest", ("file", [b"a"], -5)),
    "longest no number": ("longest", ("file", [b"a"], "x")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"a b")
    argument, arguments = WRONG[name]
    refused(argument, _core.corpus.encode_words, *arguments)


# Lists and files ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.text("abé東 ".replace(" ", ""), min_size=1, max_size=3), max_size=8), min_size=1, max_size=20)
)
def test_lists_and_files_agree(tmp_path_factory, sentences):
    """The same words from lists and from a file: the same vocabulary, the same numbers."""
    path = tmp_path_factory.getbasetemp() / "sentences"
    path.write_text("\n".join(" ".join(sentence) for sentence in sentences), encoding="utf-8")
    words = [word for sentence in sentences for word in sentence]
    if not words:
        refused("sentences", corpora.read, sentences, None)
        refused("corpus_file", corpora.read, None, path)
        return
    models = [Word2Vec(min_count=1, vector_size=2) for _ in range(2)]
    models[0].build_vocab(sentences)
    models[1].build_vocab(corpus_file=path)
    counted = collections.Counter(words).most_common()
    for model in models:
        assert (model.words, model.counts.tolist()) == tuple(map(list, zip(*counted)))
        assert model.corpus_total_words == len(words)
    # Lists know their empty sentences, lines without words are none.
    assert [model.corpus_count for model in models] == [len(sentences), sum(map(bool, sentences))]
    one, two = models[0].encode(sentences), models[1].encode(corpus_file=path)
    for name in ("ids", "offsets", "total_words"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_words_that_no_file_holds():
    """Lists may hold empty words, white space and lone surrogates; a file then simply does not match them."""
    words = ["", " ", "a b", "\ud800", "a", "\0"]
    model = Word2Vec(min_count=1, vector_size=2)
    model.build_vocab([words])
    assert model.words == words
    path = __file__
    assert model.encode(corpus_file=path).total_words == len(open(path, "rb").read().split())
