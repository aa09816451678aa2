"""Cost of a file: packed files that unpack to far more, other encodings, devices, for every reader of text."""

import bz2
import gzip
import inspect
import os
import socket
import threading
import tracemalloc

import numpy as np
import pytest

from seqcore import KeyedVectors, datasets, text
from seqcore.datasets.series import read_column
from seqcore.text import files
from seqcore.word_vectors import LineSentence, PathLineSentences, Text8Corpus, evaluation, file_formats
from tests.helpers.file_readers import READERS

TEXTS = [name for name, reader in READERS.items() if reader.packed]


def write(folder, reader, change):
    """The valid files of a reader, each put through ``change``."""
    for name, content in reader.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(change(content))


def one_line(error):
    return "\n" not in str(error.value) and 0 < len(str(error.value)) < 600


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
@pytest.mark.parametrize("name", TEXTS)
def test_packed_files_are_read(tmp_path, name, pack):
    """Files are known by their first bytes, whatever they are called."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    write(tmp_path / "plain", READERS[name], bytes)
    write(tmp_path / "packed", READERS[name], pack)
    plain, packed = (READERS[name].read(tmp_path / place) for place in ("plain", "packed"))
    assert type(plain) is type(packed)
    if isinstance(plain, (list, dict, int, str, tuple)):
        assert plain == packed


_TAILS = {
    "lines": lambda content: content[content.rstrip(b"\n").rfind(b"\n") + 1 :] or b"\n",
    "line ends": lambda content: b"\n",
    "words": lambda content: b"ab ",
    "zeros": lambda content: b"\0",
}


@pytest.mark.parametrize("tail", _TAILS)
@pytest.mark.parametrize("name", TEXTS)
def test_small_files_cannot_fill_the_memory(tmp_path, monkeypatch, name, tail):
    """Far more than the limit behind some kilobytes of gzip: refused on the way, whatever it holds."""
    monkeypatch.setattr(files, "_UNPACKED", 1 << 20)

    def grow(content):
        piece = _TAILS[tail](content)
        file = gzip.compress(content + piece * ((8 << 20) // len(piece)), 1)
        assert len(file) < 1 << 16
        return file

    reader = READERS[name]
    write(tmp_path, reader, bytes)
    first = next(iter(reader.files))
    (tmp_path / first).write_bytes(grow(reader.files[first]))
    tracemalloc.start()
    with pytest.raises(ValueError) as error:
        reader.read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert one_line(error) and peak < 24 << 20


def test_the_limit_can_be_raised(tmp_path):
    """By the number that the message names; a limit below what is there refuses."""
    content = b"a b\n" * (5 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(ValueError, match="a.gz: expected at most 16,777,216 bytes unpacked, got more; .*max_bytes"):
        text.read_lines(tmp_path / "a.gz")
    assert len(text.read_lines(tmp_path / "a.gz", max_bytes=len(content))) == 5 << 20
    with pytest.raises(ValueError, match="expected at most 20,971,519 bytes unpacked"):
        text.read_lines(tmp_path / "a.gz", max_bytes=len(content) - 1)
    (tmp_path / "plain").write_bytes(content)
    assert len(text.read_lines(tmp_path / "plain", max_bytes=1)) == 5 << 20
    for bad in (0, -1, 1.5, "1", True):
        with pytest.raises(ValueError, match="max_bytes: expected an integer >= 1"):
            text.read_lines(tmp_path / "plain", max_bytes=bad)


def test_a_large_file_may_unpack_to_sixteen_times_its_size(tmp_path):
    noise = np.random.default_rng(0).integers(97, 123, 3 << 20, np.uint8).tobytes() + b"\n"
    (tmp_path / "a.gz").write_bytes(gzip.compress(noise, 1) + gzip.compress(b"\n" * (20 << 20), 1))
    assert len(text.read_lines(tmp_path / "a.gz")) == (20 << 20) + 1


@pytest.mark.parametrize(
    "reader",
    [
        text.read_text,
        text.read_lines,
        text.read_words,
        text.iterate_words,
        text.iterate_lines,
        text.read_json,
        text.open_plain,
        text.Vocabulary.from_file,
        datasets.load_ptb,
        datasets.load_imdb,
        datasets.load_airline,
        datasets.load_mnist,
        datasets.read_idx,
        datasets.load_stories,
        datasets.load_text,
        read_column,
        file_formats.read_word2vec,
        file_formats.read_counts,
        evaluation.read_questions,
        LineSentence,
        PathLineSentences,
        Text8Corpus,
        KeyedVectors.load_word2vec_format,
        KeyedVectors.load_glove,
        KeyedVectors.intersect_word2vec_format,
        KeyedVectors.evaluate_word_analogies,
        KeyedVectors.evaluate_word_pairs,
    ],
    ids=lambda reader: reader.__qualname__,
)
def test_every_reader_takes_the_limit(reader):
    assert inspect.signature(reader).parameters["max_bytes"].default is None


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_named(tmp_path, name, encoding):
    """Text in another encoding is one line, never mojibake; a file that is not text is refused too."""
    reader = READERS[name]
    first = next(iter(reader.files))
    write(tmp_path, reader, bytes)
    try:
        content = reader.files[first].decode()
    except UnicodeDecodeError:  # bytes: any text will do
        content = "abc " * 50
    (tmp_path / first).write_bytes(content.replace("a", "\u00e9").encode(encoding))
    if name == "read_json" and encoding != "latin-1":
        assert reader.read(tmp_path)  # JSON says which of the three it is in
        return
    with pytest.raises(ValueError) as error:
        reader.read(tmp_path)
    assert one_line(error)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfthe cat\n")
    assert text.read_lines(tmp_path / "a") == ["the cat"]
    assert text.read_words(tmp_path / "a", "<eos>") == ["the", "cat", "<eos>"]
    assert list(text.iterate_words(tmp_path / "a", 1)) == [["the"], ["cat"]]


def test_words_of_pieces_of_any_size(tmp_path):
    """Words, their line ends and letters of several bytes go on from one piece to the next."""
    content = "caf\u00e9 \u6570 x\n\n y\u00a0z \r\nlast"
    (tmp_path / "a").write_text(content, encoding="utf-8", newline="")
    for size in range(1, 12):
        assert sum(text.iterate_words(tmp_path / "a", size), []) == content.split()
    expected = [word for line in content.split("\n") for word in [*line.split(), "<eos>"]]
    assert text.read_words(tmp_path / "a", "<eos>") == expected
    (tmp_path / "a").write_text(content + "\n", encoding="utf-8", newline="")
    assert text.read_words(tmp_path / "a", "<eos>") == expected


def test_a_word_without_end_is_given_up(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * (3 << 20))
    for read in (text.read_words, lambda path: list(text.iterate_words(path))):
        with pytest.raises(ValueError, match="a: expected words of at most 1,048,576 characters, got a longer one"):
            read(tmp_path / "a")


def test_devices_sockets_and_pipes(tmp_path):
    """Endless files are refused before they are read; a pipe is read to its end."""
    with pytest.raises(ValueError, match="/dev/zero: expected a file, got a device or a socket"):
        text.read_lines("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(ValueError, match="socket: expected a file, got a device or a socket"):
            text.read_words(tmp_path / "socket")
    with pytest.raises(IsADirectoryError):
        text.read_lines(tmp_path)
    for content in (b"the cat\nsaw", gzip.compress(b"the cat\nsaw")):
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
        writer.start()
        assert text.read_lines(tmp_path / "pipe") == ["the cat", "saw"]
        writer.join()
        (tmp_path / "pipe").unlink()


@pytest.mark.parametrize("path", [3, 0, None, True, ["a"], "", "a\0b"])
@pytest.mark.parametrize("read", [text.read_lines, text.read_words, text.read_json, KeyedVectors.load_glove])
def test_what_is_no_path(read, path):
    """A number would be taken for an open file: 0 for standard input."""
    with pytest.raises((TypeError, ValueError), match="path: expected a path"):
        read(path)
