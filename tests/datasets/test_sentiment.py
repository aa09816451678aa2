"""Texts with labels: the loaders on small files, the built-in texts and why a bag of words must lose on them."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest

from seqcore.datasets import load_airline, load_imdb, sentiment_corpus
from seqcore.datasets.numpy_files import read_npy
from seqcore.datasets.sentiment import REVIEWS, TWEETS, LabelledTexts, contrast_pair

REVIEW_ROWS = {
    "train": [
        (0, 2, "neg/0_2", "Bad.\tReally <br />bad\x85"),
        (1, 9, "pos/0_9", "Good!"),
        (0, 1, "neg/1_1", "so dull"),
    ],
    "test": [(1, 7, "pos/0_7", "good enough"), (0, 4, "neg/0_4", "dull")],
}


def write_tables(folder):
    folder.mkdir(exist_ok=True)
    for split, rows in REVIEW_ROWS.items():
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8", newline="")


def write_reviews(folder):
    for split, rows in REVIEW_ROWS.items():
        for _, _, name, text in rows:
            path = folder / split / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())


def npy_of_objects(rows, protocol=2, core=None):
    """The bytes of a .npy file of objects, with the names of NumPy 1 (core="core") or 2 (core="_core")."""
    array = np.empty(len(rows), object)
    array[:] = rows
    raw = pickle.dumps(array, protocol)
    return npy_of_pickle(raw if core is None else with_names_of(raw, core), array.shape)


def npy_of_pickle(raw, shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + raw


def with_names_of(raw, core):
    """A pickle with another name of NumPy's inner package: old protocols end names by lines, new ones count letters."""
    grown = 0
    for module in ("multiarray", "numeric"):
        new = f"numpy.{core}.{module}".encode()
        old = f"numpy.{'_core' if core == 'core' else 'core'}.{module}".encode()
        raw = raw.replace(b"c" + old + b"\n", b"c" + new + b"\n")
        before, after = (b"\x8c" + bytes([len(name)]) + name for name in (old, new))
        grown += raw.count(before) * (len(new) - len(old))
        raw = raw.replace(before, after)
    if raw[2:3] == b"\x95":  # the frame of protocols 4 and 5
        raw = raw[:3] + (int.from_bytes(raw[3:11], "little") + grown).to_bytes(8, "little") + raw[11:]
    return raw


def write_archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def write_npz(path, lists, protocol=2, core=None):
    """Arrays of lists in a pickle, as Keras's file has them."""
    members = {}
    for split, (x, y) in lists.items():
        members |= {f"x_{split}.npy": npy_of_objects(x, protocol, core), f"y_{split}.npy": npy(y)}
    write_archive(path, members)


LISTS = {"train": ([[2, 1, 3], [1, 1]], [1, 0]), "test": ([[3], [2, 2, 1]], [0, 1])}


# ---------------------------------------------------------------- IMDB reviews


@pytest.mark.parametrize("place", [".", "imdb"])
def test_reviews_of_tables(tmp_path, place):
    """Fields are cut at the first three tabs, lines at the newline character alone."""
    write_tables(tmp_path / place)
    data = load_imdb(tmp_path)
    assert data.train.texts == [row[3] for row in REVIEW_ROWS["train"]] and data.train.labels.tolist() == [0, 1, 0]
    assert len(data.test) == 2 and data.ranked is None and data.bayes is None
    (tmp_path / place / "imdb_word_index.json").write_text(json.dumps({"bad": 2, "good": 1}))
    assert load_imdb(tmp_path).ranked == ["good", "bad"]


@pytest.mark.parametrize("place", [".", "aclImdb"])
def test_reviews_of_the_archive(tmp_path, place):
    """The folders of the original archive give the same reviews in the same order."""
    write_reviews(tmp_path / place)
    write_tables(tmp_path / "other")
    files, tables = load_imdb(tmp_path), load_imdb(tmp_path / "other")
    assert files.train.texts == tables.train.texts and files.train.labels.tolist() == [0, 1, 0]
    assert sorted(files.test.texts) == sorted(tables.test.texts)


CORES = ["core", "_core"]
PROTOCOLS = [2, 3, 4, 5]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reviews_of_ids(tmp_path, protocol, core):
    """Keras's lists of ranks become words again; without the table of ranks, the ranks as words."""
    write_npz(tmp_path / "imdb.npz", LISTS, protocol, core)
    assert load_imdb(tmp_path).train.texts == ["2 1 3", "1 1"]
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"good": 2, "the": 1, "film": 3}))
    data = load_imdb(tmp_path)
    assert data.train.texts == ["good the film", "the the"] and data.test.labels.tolist() == [0, 1]


ROWS = [[0, 1, 255, 256, 65535], [], [65536, 2**31 - 1], [1], list(range(300))]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda row: [np.int64(rank) for rank in row],
        lambda row: [np.uint32(rank) for rank in row],
        lambda row: np.array(row, np.int64),
        lambda row: np.array(row, ">i4"),
        lambda row: np.array(row, np.uint32),
    ],
    ids=["lists", "scalars", "unsigned", "arrays", "big-endian", "unsigned-arrays"],
)
def test_object_arrays_are_read_as_numpy_reads_them(form, protocol, core):
    """Lists of integers, of NumPy's integers, and arrays, by the names and the protocols of NumPy 1 and 2."""
    raw = npy_of_objects([form(row) for row in ROWS], protocol, core)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2 has the old names still, and NumPy 1.26 the new ones
        expected = np.load(io.BytesIO(raw), allow_pickle=True)
    assert [list(map(int, row)) for row in expected] == ROWS
    assert read_npy(raw) == ROWS


def test_object_arrays_of_python_2():
    """Its texts and bytes are one type, its truth values are integers; NumPy reads it with encoding="latin1"."""
    start = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02"
    start += b"K\x00\x85q\x03U\x01bq\x04\x87q\x05Rq\x06"
    dtype = (
        b"cnumpy\ndtype\nq\x08U\x02O8q\x09K\x00K\x01\x87q\x0aRq\x0b(K\x03U\x01|NNN" + b"J\xff\xff\xff\xff" * 2 + b"K?tb"
    )
    raw = start + b"(K\x01K\x02\x85q\x07" + dtype + b"\x89]q\x0c(]q\x0d(K\x01M\x2c\x01e]q\x0eJ\x00\x00\x01\x00aetb."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pickle.loads(raw, encoding="latin1").tolist() == [[1, 300], [65536]]
    assert read_npy(npy_of_pickle(raw, (2,))) == [[1, 300], [65536]]


def test_labels_may_be_objects(tmp_path):
    members = {}
    for split, (x, y) in LISTS.items():
        labels = np.empty(len(y), object)
        labels[:] = [np.int64(y[0]), *y[1:]]
        members |= {f"x_{split}.npy": npy_of_objects(x), f"y_{split}.npy": npy_of_objects(labels, 4)}
    write_archive(tmp_path / "imdb.npz", members)
    assert load_imdb(tmp_path).train.labels.tolist() == LISTS["train"][1]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i8", "|u1", "?", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), (2, 1, 2), ()])
def test_arrays_of_numbers(shape, dtype, order):
    values = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype, order)
    for version in ((1, 0), (2, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, values, version)
        found = read_npy(buffer.getvalue())
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype.newbyteorder("=") and found.flags.writeable


class _Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _pointer(count, where):
    return _Calls(np.ndarray, (count,), "O", struct.pack("<Q", where) * count)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "content",
    [
        _Calls(os.mkdir, "evil"),
        _Calls(eval, "__import__('os').mkdir('evil')"),
        _pointer(2, 0x41414140),
        _Calls(np.ndarray, (2,), "O"),
        _Calls(np.ndarray, (1 << 40,), "i8"),
        _Calls(np.dtype, "O"),
        _Calls(bytearray, 1 << 40),
        _Calls(bytes, 1 << 40),
        _Calls(list, (1, 2)),
        np.ones((2, 2), int),
        np.array(["a"]),
        np.array([1.5]),
        np.float64(2),
        {1: 2},
        "text",
        b"bytes",
        None,
        1.5,
        [[1]],
        (1, 2),
        ["a"],
        [True],
        [2.0],
    ],
    ids=lambda content: type(content).__name__ + (content.call[0].__name__ if isinstance(content, _Calls) else ""),
)
@pytest.mark.parametrize("inside", [True, False], ids=["row", "whole"])
def test_a_pickle_of_anything_else_is_refused(tmp_path, monkeypatch, content, protocol, inside):
    """Nothing of it is called and nothing is made of it, whether it stands for a review or for the whole array."""
    monkeypatch.chdir(tmp_path)
    raw = npy_of_objects([content, [1]], protocol) if inside else npy_of_pickle(pickle.dumps(content, protocol), (2,))
    members = {"x_train.npy": raw, "y_train.npy": npy([0, 1]), "x_test.npy": raw, "y_test.npy": npy([0, 1])}
    write_archive(tmp_path / "imdb.npz", members)
    tracemalloc.start()
    with pytest.raises(ValueError, match="imdb.npz: expected Keras's imdb.npz, got another file") as caught:
        load_imdb(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and not (tmp_path / "evil").exists() and peak < 8 << 20


def test_no_object_of_numpy_is_looked_up(monkeypatch):
    """Reading needs no unpickler at all."""

    def fail(*arguments, **options):
        raise AssertionError("unpickled")

    raw = npy_of_objects(ROWS, 4)
    for module, name in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler"), (np, "load")):
        monkeypatch.setattr(module, name, fail)
    assert read_npy(raw) == ROWS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_rows_are_refused(protocol):
    """A short file that names one long list over and over would stand for any number of words."""
    row = list(range(1000))
    with pytest.raises(ValueError, match="nothing but names, types and numbers to stand in it twice"):
        read_npy(npy_of_objects([row] * 1000, protocol))


_LISTS = npy_of_objects([[1], [2]], 4)


@pytest.mark.parametrize(
    "steps",
    [
        b"\x94",
        b"]",
        b"]\x94",
        b"]q\x00",
        b"N",
        b")",
        b"(",
        b"\x85",
        b"N\x85",
        b"]]a",
        b"]a",
        b"K\x01q\x00",
        b"K\x01\x94",
        b"](Nte",
    ]
    + [
        b"K\x01r\xff\xff\xff\x7f",
        b"h\x00",
        b"X\x01\x00\x00\x00a",
        b"((",
        b"(t",
        b"\x88\x86",
        b"C\x01a\x94",
        b"\x95" + b"\0" * 8,
    ],
    ids=repr,
)
@pytest.mark.parametrize("place", ["start", "rows", "row"])
def test_steps_over_and_over_cost_little(place, steps):
    """Each repeated by the hundred thousand: an error, or a little memory for each byte."""
    at = {
        "start": _LISTS.index(b"\x80\x04\x95") + 11,
        "rows": _LISTS.index(b"]\x94(") + 3,
        "row": _LISTS.index(b"K\x01a") + 2,
    }
    raw = _LISTS[: at[place]] + steps * (400_000 // len(steps)) + _LISTS[at[place] :]
    tracemalloc.start()
    try:
        assert read_npy(raw) == [[1], [2]]  # some steps may be repeated: they change nothing
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20


def test_more_rows_than_any_data_set_has():
    with pytest.raises(ValueError, match="expected one axis of at most 1,048,576 rows of objects"):
        read_npy(npy_of_pickle(b"\x80\x04].", (1 << 21,)))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999,), }", "expected 799,999,999,992 bytes"),
        ("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }", "a .npy header of numbers or objects"),
        ("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (1,), }", "a .npy header of numbers or objects"),
        ("{'descr': '<U999999999', 'fortran_order': False, 'shape': (1,), }", "a .npy header of numbers or objects"),
        ("{'descr': '<i3', 'fortran_order': False, 'shape': (1,), }", "expected numbers, got type i3"),
        (f"{'(' * 9000}", "a .npy header of numbers or objects"),
        ("__import__('os').mkdir('evil')", "a .npy header of numbers or objects"),
        (f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({'1, ' * 90}), }}", "at most 8 axes, got 90"),
    ],
)
def test_headers_that_lie(header, message):
    """A header is compared with the one form that NumPy writes and never evaluated."""
    raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"x" * 8
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_npy(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_archives_that_unpack_to_more_than_they_hold(tmp_path):
    """The limit is 16 MiB or 16 times the file, and the caller's to raise."""
    rows, labels = np.zeros((100, 200_000), np.uint8), np.arange(100) % 2
    members = {f"{name}_{split}.npy": npy(value) for name, value in (("x", rows), ("y", labels)) for split in LISTS}
    write_archive(tmp_path / "imdb.npz", members, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "imdb.npz").stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"at most 16,777,216 bytes in x_train.npy, got 20,000,128; raise max_bytes"):
        load_imdb(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert load_imdb(tmp_path, max_bytes=30_000_000).train.texts == [""] * 100


def test_names_that_are_too_long(tmp_path):
    """Ranks take two bytes each and would stand for a megabyte each."""
    write_npz(tmp_path / "imdb.npz", {split: ([[1] * 1000, [1]], [0, 1]) for split in LISTS})
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"a" * (1 << 20): 1}))
    with pytest.raises(
        ValueError, match="x_train.npy: expected shorter texts, got words that are too long up to review"
    ):
        load_imdb(tmp_path)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("form", [np.array, lambda rows: rows], ids=["padded", "lists"])
def test_padding_is_left_out(tmp_path, form, named):
    """Files saved after pad_sequences hold zeros."""
    rows = {"train": ([[0, 0, 1, 2], [0, 3, 1, 1]], [0, 1]), "test": ([[0, 1], [0, 0]], [1, 0])}
    members = {}
    for split, (x, y) in rows.items():
        members[f"x_{split}.npy"] = npy_of_objects(x) if form is not np.array else npy(x)
        members[f"y_{split}.npy"] = npy(y)
    write_archive(tmp_path / "imdb.npz", members)
    if named:
        (tmp_path / "imdb_word_index.json").write_text('{"the": 1, "a": 2, "film": 3}')
    data = load_imdb(tmp_path)
    assert data.train.texts == (["the a", "film the the"] if named else ["1 2", "3 1 1"])
    assert data.test.texts == (["the", ""] if named else ["1", ""])


@pytest.mark.parametrize(
    ("rank", "named", "message"),
    [
        (-1, True, r"x_train.npy: expected ranks 0...3, got -1 in review 1"),
        (-1, False, r"expected ranks 0...2147483647, got -1 in review 1"),
        (4, True, r"expected ranks 0...3, got 4 in review 1"),
        (10**8, True, r"expected ranks 0...3, got 1e\+08 in review 1"),
        (2**31, False, r"expected ranks 0...2147483647, got 2.14748e\+09 in review 1"),
        (10**300, False, r"expected ranks 0...2147483647, got 1e\+300 in review 1"),
    ],
)
def test_ranks_outside(tmp_path, rank, named, message):
    write_npz(tmp_path / "imdb.npz", {**LISTS, "train": ([[1], [2, rank]], [0, 1])})
    if named:
        (tmp_path / "imdb_word_index.json").write_text('{"the": 1, "a": 2, "film": 3}')
    with pytest.raises(ValueError, match=message):
        load_imdb(tmp_path)


def test_a_high_rank_costs_no_memory(tmp_path):
    write_npz(tmp_path / "imdb.npz", {**LISTS, "train": ([[1], [2, 10**8]], [0, 1])})
    tracemalloc.start()
    assert load_imdb(tmp_path).train.texts == ["1", "2 100000000"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], "imdb.npz: expected labels 0 and 1, got 2"),
        ([0.5, 1], "imdb.npz: expected labels 0 and 1, got 0.5"),
        ([0, np.nan], "imdb.npz: expected labels 0 and 1, got nan"),
        ([0, 1, 1], "imdb.npz: expected a label for each of 2 texts, got 3"),
        ([[0, 1]], "y_train.npy: expected a label for each review"),
        ([1, 1], "imdb.npz: expected texts of both labels"),
    ],
)
def test_other_labels(tmp_path, labels, message):
    write_npz(tmp_path / "imdb.npz", {**LISTS, "train": (LISTS["train"][0], labels)})
    with pytest.raises(ValueError, match=message):
        load_imdb(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.tsv", "2\t1\tx\ttext\n", r"train.tsv, line 1: expected label 0 or 1, rating, name, text, got '2"),
        ("train.tsv", "1\t1\tx\n", "train.tsv, line 1: expected label 0 or 1"),
        ("train.tsv", "1\t1\tx\tgood\n", "train.tsv: expected texts of both labels, got 1 texts of 1"),
        ("train.tsv", "", "train.tsv: expected texts of both labels, got 0 texts of 0"),
        ("imdb_word_index.json", "[1]", "imdb_word_index.json: expected a JSON object of words and their ranks"),
        ("imdb_word_index.json", '{"a": 1, "b": 3}', r"imdb_word_index.json: .*\(ranks that are not 1, 2, 3"),
    ],
)
def test_damaged_tables(tmp_path, file, content, message):
    write_tables(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_imdb(tmp_path)


def test_other_damage(tmp_path):
    with pytest.raises(ValueError, match="folder: expected train.tsv and test.tsv"):
        load_imdb(tmp_path)
    (tmp_path / "imdb.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="expected Keras's imdb.npz, got another file"):
        load_imdb(tmp_path)
    write_npz(tmp_path / "imdb.npz", LISTS)
    (tmp_path / "imdb_word_index.json").write_text('{"the": 1}')
    with pytest.raises(ValueError, match="imdb.npz: expected Keras's imdb.npz"):
        load_imdb(tmp_path)
    write_reviews(tmp_path)
    (tmp_path / "train" / "pos" / "7_7.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="7_7.txt: expected UTF-8 text"):
        load_imdb(tmp_path)


# ---------------------------------------------------------------- airline tweets


@pytest.mark.parametrize("name", ["airline_sentiment.csv", "Tweets.csv"])
@pytest.mark.parametrize("place", [".", "airline"])
def test_tweets(tmp_path, name, place):
    """Words and numbers as labels, quoted texts over two lines, neutral rows left out."""
    (tmp_path / place).mkdir(exist_ok=True)
    text = '\ufeffid,airline_sentiment,text\n1,positive,"thanks, @fly\nagain"\n2,neutral,\n3,0,late\n4,Negative,bad\n'
    (tmp_path / place / name).write_text(text, encoding="utf-8")
    tweets = load_airline(tmp_path)
    assert tweets.texts == ["thanks, @fly\nagain", "late", "bad"] and tweets.labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentiment,text\n1,a\n", "columns airline_sentiment and text, got no 'airline_sentiment'"),
        ("airline_sentiment\n1\n", "got no 'text'"),
        ("", "got no 'airline_sentiment'"),
        (
            "airline_sentiment,text\nhappy,a\n",
            "line 2: expected positive, negative, neutral, 1 or 0 and a text, got 'h",
        ),
        ("airline_sentiment,text\n1\n", "line 2: expected positive"),
        ("airline_sentiment,text\n1,a,b\n", "line 2: expected positive.* got 3 cells for 2 columns"),
        ("airline_sentiment,text,text\n1,a,b\n", "got no 'text' or two"),
        ('airline_sentiment,text\n1,"a\n', "expected a CSV file, got one that is not"),
        ("airline_sentiment,text\n1,a\n1,b\n", "expected texts of both labels, got 2 texts of 1"),
    ],
)
def test_damaged_tweets(tmp_path, content, message):
    (tmp_path / "airline_sentiment.csv").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_airline(tmp_path)
    assert "airline_sentiment.csv" in str(caught.value)


def test_many_columns_and_many_rows_take_no_table(tmp_path):
    """Short rows are not filled up: 100,000 columns by 100,000 rows would be a table of 10 billion cells."""
    content = "airline_sentiment,text" + "," * 100_000 + "\n" + "1,a\n0,b\n" * 50_000
    (tmp_path / "Tweets.csv").write_text(content)
    assert load_airline(tmp_path).texts == ["a", "b"] * 50_000


def test_no_tweets(tmp_path):
    with pytest.raises(ValueError, match="folder: expected airline_sentiment.csv or Tweets.csv"):
        load_airline(tmp_path)
    (tmp_path / "Tweets.csv").write_bytes(b"airline_sentiment,text\n1,\xff\n")
    with pytest.raises(ValueError, match=r"Tweets.csv: .*utf-8"):
        load_airline(tmp_path)


# ---------------------------------------------------------------- built-in texts


@pytest.mark.parametrize("style", [REVIEWS, TWEETS], ids=["reviews", "tweets"])
def test_pairs_have_the_same_words(style):
    """The two texts of a pair differ, and only in the order of their words."""
    generator = np.random.default_rng(0)
    for _ in range(500):
        negative, positive = contrast_pair(style, generator)
        assert negative != positive
        strip = str.maketrans("", "", ",.:")
        assert Counter(negative.translate(strip).split()) == Counter(positive.translate(strip).split())


def judged(text, style):
    """The label as a reader finds it: which statement decides, what its adjective says, whether it is negated."""
    contrast = next(word for word in ("but", "although", "tho", "despite") if word in text.split())
    before, after = text.split(contrast, 1)
    if contrast == "but":
        decides = after
    elif contrast == "tho" or "," in after:  # "a, b tho"; "although a , b"
        decides = (before if contrast == "tho" else after).rsplit(",", 1)[1]
    else:
        decides = before
    words = {word.strip(".,:") for word in decides.split()}
    good = len(words & set(style.good)) == 1
    assert good != (len(words & set(style.bad)) == 1)
    return good != bool(words & {"not", "never", "nobody", "far", "wasnt", "hardly", "didnt"})


@pytest.mark.parametrize("style", [REVIEWS, TWEETS], ids=["reviews", "tweets"])
def test_labels_mean_what_the_words_say(style):
    generator = np.random.default_rng(6)
    for _ in range(500):
        negative, positive = contrast_pair(style, generator)
        assert judged(positive, style) and not judged(negative, style), (negative, positive)


def test_tweets_survive_the_stop_words():
    """Cleaned as in the experiment, the two texts of a pair still differ in order alone."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    from seqcore import TextVectorization

    clean = TextVectorization(standardize="alphanumeric", stop_words=text.ENGLISH_STOP_WORDS).tokens
    generator = np.random.default_rng(1)
    for _ in range(500):
        negative, positive = (clean(one) for one in contrast_pair(TWEETS, generator))
        assert negative != positive and sorted(negative) == sorted(positive)
    cleaned = {word for form in TWEETS.negated for word in clean(form.format(subject="seat", word="great"))}
    assert {"wasnt", "hardly", "didnt"} <= cleaned


def test_corpus():
    """Same seed, same texts; labels even; the share of wrong ones is the noise."""
    data, again, other = (sentiment_corpus(2000, 500, seed=seed) for seed in (3, 3, 4))
    assert data.train.texts == again.train.texts and data.train.texts != other.train.texts
    assert np.array_equal(data.test.labels, again.test.labels) and data.bayes == 0.95
    assert abs(data.train.labels.mean() - 0.5) < 0.04
    clean = sentiment_corpus(2000, 500, noise=0.0, seed=3)
    assert clean.train.texts == data.train.texts and clean.bayes == 1.0
    assert abs(np.mean(clean.train.labels != data.train.labels) - 0.05) < 0.02
    longer = sentiment_corpus(10, 500, seed=3)
    assert longer.test.texts == data.test.texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 1}, "train: expected an integer >= 2, got 1"),
        ({"noise": 0.5}, "noise: expected a share"),
    ],
)
def test_corpus_errors(options, message):
    with pytest.raises(ValueError, match=message):
        sentiment_corpus(**options)


def test_rows_of_labelled_texts():
    texts = LabelledTexts(["a", "b", "c"], np.array([0, 1, 0], np.int32))
    assert texts[1:].texts == ["b", "c"] and texts[np.array([2, 0])].labels.tolist() == [0, 0] and len(texts) == 3
