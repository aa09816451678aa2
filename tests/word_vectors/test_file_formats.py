"""Files of word vectors: round trips, what is refused and how, damaged files from Hypothesis, bounded memory."""

import bz2
import gzip
import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqcore import KeyedVectors, Word2Vec, saving
from seqcore.word_vectors import file_formats

WORDS = ["the", "Katze", "été", "数", "a_b", "1.5", "\u00a0"]


@pytest.fixture
def kv(rng):
    vectors = (rng.normal(size=(len(WORDS), 5)) * 10.0 ** rng.integers(-30, 30, (len(WORDS), 5))).astype(np.float32)
    return KeyedVectors(vectors, WORDS, np.arange(len(WORDS), 0, -1))


def load(path, **options):
    return KeyedVectors.load_word2vec_format(path, **options)


def same(one, other):
    assert one.index_to_key == other.index_to_key
    np.testing.assert_array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("binary", [False, True])
def test_word2vec_round_trip(tmp_path, kv, binary, suffix):
    path, counts = tmp_path / f"v{suffix}", tmp_path / "counts"
    kv.save_word2vec_format(path, counts, binary=binary)
    found = load(path, fvocab=counts, binary=binary)
    same(kv, found)
    assert found.counts.tolist() == kv.counts.tolist() and found.duplicates == 0
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".gz")
    first = load(path, binary=binary, limit=2)
    assert first.index_to_key == WORDS[:2] and first.counts is None
    same(load(path, binary=binary, limit=100), found)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_glove_round_trip(tmp_path, kv, suffix):
    path = tmp_path / f"glove.txt{suffix}"
    kv.save_word2vec_format(path, write_header=False)
    same(kv, KeyedVectors.load_glove(path))
    assert KeyedVectors.load_glove(path, limit=3).index_to_key == WORDS[:3]
    plain = (gzip.open if suffix else open)(path, "rb").read()
    assert plain.startswith(b"the ") and plain.count(b"\n") == len(WORDS)


@pytest.mark.parametrize("mmap", [False, True])
def test_safetensors_round_trip(tmp_path, kv, mmap):
    path = tmp_path / "v.safetensors"
    strange = KeyedVectors(kv.vectors, ["", " ", "a\nb", *WORDS[3:]], kv.counts)
    strange.save(path)
    found = KeyedVectors.load(path, mmap=mmap)
    same(strange, found)
    assert found.counts.tolist() == kv.counts.tolist()
    assert isinstance(found.vectors, np.memmap) == mmap
    assert found.most_similar("数", topn=3) == strange.most_similar("数", topn=3)
    KeyedVectors(kv.vectors, WORDS).save(path)
    assert KeyedVectors.load(path, mmap=mmap).counts is None


def test_other_writers(tmp_path):
    """word2vec.c ends text rows with a space and binary rows with a line end, gensim with neither."""
    (tmp_path / "c").write_bytes(b"2 2\na 1 2 \nb 3 4 \r\n\n")
    assert load(tmp_path / "c").vectors.tolist() == [[1, 2], [3, 4]]
    rows = np.array([[1, 2], [3, 4]], "<f4")
    for end in (b"", b"\n"):
        (tmp_path / "b").write_bytes(b"2 2\na " + rows[0].tobytes() + end + b"b " + rows[1].tobytes() + end)
        assert load(tmp_path / "b", binary=True).vectors.tolist() == rows.tolist()
    (tmp_path / "g").write_bytes(b"x 1 2\n. . . 3 4\n")
    assert KeyedVectors.load_glove(tmp_path / "g").index_to_key == ["x", ". . ."]
    (tmp_path / "l").write_bytes("1 1\né 2\n".encode("latin-1"))
    assert load(tmp_path / "l", encoding="latin-1").index_to_key == ["é"]
    assert load(tmp_path / "l", unicode_errors="replace").index_to_key == ["\ufffd"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("options", [{}, {"binary": True}, {"write_header": False}])
def test_the_empty_word(tmp_path, options, suffix):
    """gensim writes and reads it: texts that are split at single spaces have it."""
    path = tmp_path / f"v{suffix}"
    kv = KeyedVectors([[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]], ["sat", "", "the"])
    kv.save_word2vec_format(path, **options)
    same(load(path, binary="binary" in options, no_header="write_header" in options), kv)
    plain = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}[suffix](path.read_bytes())
    if not options:
        assert plain == b"3 2\nsat 1.5 2.5\n 3.5 4.5\nthe 5.5 6.5\n"


def test_a_byte_order_mark_is_no_part_of_a_word(tmp_path):
    (tmp_path / "v").write_bytes(b"\xef\xbb\xbf1 2\na 1 2\n")
    (tmp_path / "g").write_bytes(b"\xef\xbb\xbfa 1 2\n")
    assert load(tmp_path / "v").index_to_key == load(tmp_path / "g", no_header=True).index_to_key == ["a"]


@pytest.mark.parametrize("word", ["", "a b", "a\tb", "\ud800"])
def test_words_that_counts_cannot_hold(tmp_path, word):
    with pytest.raises(ValueError, match="fvocab: expected words without white space"):
        file_formats.write_counts(tmp_path / "counts", ["a", word], [2, 1])
    assert not os.listdir(tmp_path)


FOREIGN = {
    "zip": (b"PK\x05\x06" + b"\0" * 18, "a zip archive|a damaged zip archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "an HDF5 file"),
    "gensim": (
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x1agensim.models.keyedvectors\x94\x8c\x0cKeyedVectors\x94",
        "gensim's word vectors",
    ),
    "torch": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n", "a PyTorch file"),
    "npy": (b"\x93NUMPY\x01\0v\0", "a NumPy array"),
    "xz": (b"\xfd7zXZ\0", "an xz file"),
    "page": (b"<!DOCTYPE html><html>", "a web page"),
}


@pytest.mark.parametrize("options", [{}, {"binary": True}, {"no_header": True}, {"fvocab": True}])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named(tmp_path, kv, name, options):
    content, expected = FOREIGN[name]
    (tmp_path / "x").write_bytes(content)
    if "fvocab" in options:
        kv.save_word2vec_format(tmp_path / "v")
        options = {"fvocab": tmp_path / "x"}
    with pytest.raises(ValueError, match=f"x: expected a file of word vectors, got ({expected})") as error:
        load(tmp_path / ("v" if options.get("fvocab") else "x"), **options)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=f"x: expected .*, got ({expected})"):
        KeyedVectors.load(tmp_path / "x")


def test_other_files_of_vectors_are_named(tmp_path, kv):
    """The line says which method reads them."""
    kv.save_word2vec_format(tmp_path / "text")
    kv.save_word2vec_format(tmp_path / "binary", binary=True)
    kv.save_word2vec_format(tmp_path / "packed.gz")
    kv.save_word2vec_format(tmp_path / "glove", write_header=False)
    Word2Vec([["a", "b"]] * 5, min_count=1, vector_size=2, epochs=1).save(tmp_path / "model")
    for name, expected in (
        ("text", "one of word2vec; read it by load_word2vec_format"),
        ("binary", "one of word2vec; read it by load_word2vec_format, with binary=True"),
        ("packed.gz", "one of word2vec; read it by load_word2vec_format"),
        ("glove", "one of GloVe; read it by load_glove"),
        ("model", r"one of Word2Vec.save; Word2Vec.load\(path\).wv has its vectors"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected a file of KeyedVectors.save, got {expected}"):
            KeyedVectors.load(tmp_path / name)


def test_duplicates_keep_the_first(tmp_path):
    (tmp_path / "t").write_bytes(b"4 1\na 1\nb 2\na 3\nb 4\n")
    found = load(tmp_path / "t")
    assert found.index_to_key == ["a", "b"] and found.vectors.tolist() == [[1], [2]] and found.duplicates == 2


TEXT = [
    (b"", "line 1: expected number of rows and of columns"),
    (b"the 0.1 0.2\n", "got b'the 0.1 0.2\\n'; files without that line are read by no_header=True or load_glove"),
    (b"-1 2\na 1 2\n", "line 1"),
    (b"0 2\n", "line 1: expected at least 1 row"),
    (b"1 0\na\n", "line 1: expected at least 1 row"),
    (b"1000000000000 2\na 1 2\n", "line 1: expected a file of at least 5000000000000 bytes"),
    (b"1 1000000000\na 1\n", "line 1"),
    (b"99999999999999999999999 1\na 1\n", "line 1"),
    (b"2 2\na 1 2\n    ", "line 3: expected 2 rows as the first line says, got the end after 1"),
    (b"2 2\na 1 2\nb 3\n\n\n", "line 3: expected a word and 2 numbers, got 1 numbers"),
    (b"2 2\na 1 2\nb 3 4 5\n", "line 3: expected a word and 2 numbers, got 3 numbers"),
    (b"2 2\na 1 2\n\nb 3 4\n", "line 3: expected 2 rows"),
    (
        b"1 2\na 1 2\nb 3 4\n",
        "line 3: expected the end of the file after 1 rows, got more than the first line says; limit=1 reads only",
    ),
    (b"1 2\na 1 x\n", "line 2: expected a word and 2 numbers, got b'x'"),
    (b"1 2\na 1 1_0\n", "line 2: expected a word and 2 numbers, got b'1_0'"),
    (b"1 2\na  1\n", "line 2"),
    (b"1 2\na 1 nan\n", "line 2: expected finite float32 numbers for 'a', got NaN or infinity"),
    (b"1 2\na 1 1e39\n", "line 2: expected finite float32 numbers"),
    (b"1 2\na  1 2\n", "line 2: expected a word and 2 numbers with single spaces between them, got two spaces or more"),
    (b"1 2\na 1  2\n", "line 2: expected a word and 2 numbers with single spaces between them, got two spaces or more"),
    (b"1 2\n  1 2\n", "line 2: expected a word and 2 numbers with single spaces between them, got two spaces or more"),
    (
        b"1 2\na  b 1 2\n",
        "line 2: expected a word and 2 numbers with single spaces between them, got two spaces or more",
    ),
    (
        b"1 2\na b  1 2\n",
        "line 2: expected a word and 2 numbers with single spaces between them, got two spaces or more",
    ),
    (b"1 2\na\t1\t2\n", "line 2: expected a word and 2 numbers, got 0 numbers"),
    (
        b"1 2\na \0\0\x80?\0\0\0@",
        "line 2: expected a word and 2 numbers, got 1 numbers; binary=True reads binary files",
    ),
    (b"1 2\n\xff 1 2\n", "line 2: expected a word in utf-8"),
    (b"1 1\n" + b"a" * 100_000 + b" 1\n", "line 2: expected at most"),
]


@pytest.mark.parametrize(("content", "expected"), TEXT)
def test_bad_text(tmp_path, content, expected):
    for name, data in (("bad", content), ("bad.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        if name == "bad.gz" and "bytes for" not in expected and "bytes" in expected and "at least" in expected:
            expected = "line 3: expected 1000000000000 rows"
        with pytest.raises(ValueError, match="bad") as error:
            load(tmp_path / name)
        assert expected in str(error.value) and "\n" not in str(error.value)


ROW = np.array([1, 2], "<f4").tobytes()
BINARY = [
    (b"2 2\na " + ROW, "line 1: expected a file of at least 18 bytes"),
    (b"2 2\na " + ROW + b"b " + ROW[:-1], "byte 10 after line 1: expected 2 rows"),
    (b"1 2\na " + ROW + b"b " + ROW, "byte 10 after line 1: expected the end of the file"),
    (b"1 2\na " + np.array([1, np.inf], "<f4").tobytes(), "byte 0 after line 1: expected finite"),
    (b"1 2\n" + b"a" * 100_000, "byte 0 after line 1: expected a word of at most"),
    (b"1 2\n\xff " + ROW, "byte 0 after line 1: expected a word in utf-8"),
    (b"1000000000000 300\na " + ROW, "line 1: expected a file of at least"),
    (b"\x00" * 1000, "line 1: expected at most 256 bytes"),
]


@pytest.mark.parametrize(("content", "expected"), BINARY)
def test_bad_binary(tmp_path, content, expected):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match="bad") as error:
        load(tmp_path / "bad", binary=True)
    assert expected in str(error.value)


def test_bad_glove(tmp_path):
    path = tmp_path / "bad"
    for content, expected in (
        (b"", "expected at least one row, got none"),
        (b"word\n", "line 1: expected a word and 1"),
        (b"a 1 2\nb 1\n", "line 2: expected a word and 2 numbers"),
        (b"a  1 2\nb 1 2\n", "line 1: expected a word and 3 numbers with single spaces"),
        (b"a 1 2\n. .  1 2\n", "line 2: expected a word and 2 numbers with single spaces"),
        (b"a 1 2\nb 1 2 3\n", "line 2: expected a word and 2 numbers, got 3 numbers"),
        (b"a 1 2\n\nb 1 2\n", "line 2: expected the end of the file after 1 rows"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="bad") as error:
            KeyedVectors.load_glove(path)
        assert expected in str(error.value)


def test_bad_arguments(tmp_path, kv):
    kv.save_word2vec_format(tmp_path / "v")
    for options, expected in (
        ({"limit": 0}, "limit: expected"),
        ({"limit": 1.5}, "limit: expected an integer >= 1, got 1.5"),
        ({"encoding": "no such"}, "encoding: expected"),
        ({"encoding": "utf-16"}, "encoding: expected a known one that has ASCII in it"),
        ({"encoding": "hex"}, "encoding: expected"),
        ({"encoding": None}, "encoding: expected a name, got None"),
        ({"unicode_errors": "no such"}, "unicode_errors: expected a known handler"),
        ({"binary": True, "no_header": True}, "no_header: expected"),
    ):
        with pytest.raises(ValueError, match=expected):
            load(tmp_path / "v", **options)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    (tmp_path / "counts").write_text("the 1\n")
    with pytest.raises(ValueError, match="fvocab: expected a count for every word, got none for 'Katze'"):
        load(tmp_path / "v", fvocab=tmp_path / "counts")
    (tmp_path / "counts").write_text("the 1\nx y\n")
    with pytest.raises(ValueError, match="counts, line 2: expected a word and its count"):
        load(tmp_path / "v", fvocab=tmp_path / "counts")


@pytest.mark.parametrize("word", ["a b", "a\nb", "\ud800"])
def test_words_that_text_cannot_hold(tmp_path, word):
    path = tmp_path / "v"
    path.write_text("old")
    for binary in (False, True):
        with pytest.raises(ValueError, match="words: expected"):
            KeyedVectors([[1.0]], [word]).save_word2vec_format(path, binary=binary)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["v"]


def test_bad_safetensors(tmp_path, kv):
    path = tmp_path / "v.safetensors"
    kv.save(path)
    tensors, texts = saving.read_tensors(path)

    def changed(**arrays):
        saving.write_tensors(path, {k: v for k, v in (tensors | arrays).items() if v is not None}, texts)

    for arrays, expected in (
        ({"words": None}, "expected an array 'words'"),
        ({"vectors": tensors["vectors"].astype(np.float64)}, "float32"),
        ({"vectors": tensors["vectors"][0]}, "vectors"),
        ({"vectors": tensors["vectors"][:-1]}, "other lengths"),
        ({"words": tensors["words"][:-1]}, "other lengths"),
        ({"word_bytes": np.full(len(WORDS), 2**32 - 1, np.uint32)}, "other lengths"),
        ({"words": np.full_like(tensors["words"], 255)}, "UTF-8"),
        ({"counts": tensors["counts"][:-1]}, "counts"),
        ({"counts": tensors["counts"].astype(np.int32)}, "counts"),
    ):
        changed(**arrays)
        for mmap in (False, True):
            with pytest.raises(ValueError, match=expected):
                KeyedVectors.load(path, mmap=mmap)
    broken = tensors["vectors"].copy()
    broken[3, 1] = np.nan
    changed(vectors=broken)
    with pytest.raises(ValueError, match="row 3: expected finite numbers for '数'"):
        KeyedVectors.load(path)
    with pytest.raises(ValueError, match="expected finite rows, got NaN, infinity or too large numbers for '数'"):
        KeyedVectors.load(path, mmap=True).most_similar("the")
    saving.write_tensors(path, tensors, {"format": "seqcore-model", "version": "1"})
    with pytest.raises(ValueError, match="expected a seqcore-vectors file, got a seqcore-model file"):
        KeyedVectors.load(path)


def test_promised_rows_are_not_allocated(tmp_path):
    """Neither a header of 10**12 rows nor a gzip file that could hold them takes memory."""
    for name, wrap, binary in (("t", bytes, False), ("g.gz", gzip.compress, False), ("b.gz", gzip.compress, True)):
        (tmp_path / name).write_bytes(wrap(b"1000000000000 1000\na " + b"1 " * 2000))
        tracemalloc.start()
        with pytest.raises(ValueError, match=name):
            load(tmp_path / name, binary=binary)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20


def test_a_line_without_end_is_given_up(tmp_path):
    """100 MB of one letter behind 100 kB of gzip."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"2 10\n" + b"a" * 100_000_000, 1))
    for options in ({}, {"binary": True}, {"no_header": True}):
        tracemalloc.start()
        with pytest.raises(ValueError, match="bomb"):
            load(path, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 32 << 20


def damaged(draw, content):
    """A few bytes changed, put in or taken out, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["set", "insert", "delete", "cut", "double"]))
        if kind == "set" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b" ", b"\n", b"9" * 13, b"nan"]))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 30))]
        elif kind == "cut":
            del data[at:]
        else:
            data += data[at : at + 50]
    return bytes(data)


FORMATS = {
    "text": lambda kv, path: kv.save_word2vec_format(path),
    "text.gz": lambda kv, path: kv.save_word2vec_format(path),
    "binary": lambda kv, path: kv.save_word2vec_format(path, binary=True),
    "glove": lambda kv, path: kv.save_word2vec_format(path, write_header=False),
    "safetensors": lambda kv, path: kv.save(path),
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(tmp_path, name, data):
    """Only ValueError or OSError come out, memory stays small, and what is read is finite and fits together."""
    path = tmp_path / name
    vectors = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    FORMATS[name](KeyedVectors(vectors, WORDS[:6], np.arange(6)), path)
    path.write_bytes(damaged(data.draw, path.read_bytes()))
    for mmap in (False, True) if name == "safetensors" else (False,):
        tracemalloc.start()
        try:
            if name == "safetensors":
                found = KeyedVectors.load(path, mmap=mmap)
                found.fill_norms()
            else:
                found = load(path, binary=name == "binary", no_header=name == "glove")
        except (ValueError, OSError) as error:
            assert "\n" not in str(error)
        else:
            assert found.vectors.shape == (len(found.index_to_key), found.vector_size)
            assert np.isfinite(found.vectors).all()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 16 << 20


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_anything_at_all(content, binary, header):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")
        with open(path, "wb") as file:
            file.write(content)
        for reader in (
            lambda: file_formats.read_word2vec(path, binary, header=header or binary),
            lambda: KeyedVectors.load(path),
            lambda: KeyedVectors.load(path, mmap=True),
        ):
            try:
                reader()
            except (ValueError, OSError) as error:
                assert "\n" not in str(error)


def test_a_header_with_other_kinds(tmp_path, kv):
    """A safetensors header whose JSON is valid but not what it should be."""
    path = tmp_path / "v"
    kv.save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    for version in ("[]", "nothing", "99"):
        header["__metadata__"]["version"] = version
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
        with pytest.raises(ValueError, match="v: expected"):
            KeyedVectors.load(path)
