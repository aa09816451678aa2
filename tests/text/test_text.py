"""Vocabularies, padding, one-hot labels and truncated-BPTT batches."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqcore.text import iterate_words, read_words
from seqcore.text.bptt import bptt_batches, evaluation_windows
from seqcore.text.sequences import pad_sequences, to_categorical
from seqcore.text.vocabulary import Vocabulary, check_ids

WORDS = st.text(st.characters(exclude_categories=("Cs", "Z", "Cc")), min_size=1, max_size=4)
TEXTS = st.lists(WORDS, min_size=1, max_size=60)


# ---------------------------------------------------------------- vocabularies


def test_order_is_by_count_then_word():
    v = Vocabulary.from_tokens("b a c b a d".split())
    assert v.words == ("a", "b", "c", "d")
    assert v.counts.tolist() == [2, 2, 1, 1]
    assert (v.size, len(v), list(v)) == (4, 4, ["a", "b", "c", "d"])
    assert "a" in v and "z" not in v


def test_specials_come_first_and_unknown_is_used():
    v = Vocabulary.from_tokens("b a b".split(), specials=("<pad>", "<s>"), unknown="<unk>")
    assert v.words == ("<pad>", "<s>", "<unk>", "b", "a")
    assert v.encode("a zebra b").tolist() == [4, 2, 3]
    assert v.id("zebra") == 2


def test_unknown_that_occurs_keeps_its_rank():
    v = Vocabulary.from_tokens("the <unk> the cat".split(), unknown="<unk>")
    assert v.words == ("the", "<unk>", "cat")


def test_max_size_counts_everything_and_keeps_unknown():
    tokens = "a a a b b c <unk>".split()
    assert Vocabulary.from_tokens(tokens, max_size=3).words == ("a", "b", "<unk>")
    assert Vocabulary.from_tokens(tokens, max_size=2, unknown="<unk>").words == ("a", "<unk>")
    assert Vocabulary.from_tokens(tokens, max_size=2, specials=("<unk>",), unknown="<unk>").words == ("<unk>", "a")
    assert Vocabulary.from_tokens(tokens, max_size=2, unknown="UNK").words == ("UNK", "a")
    assert Vocabulary.from_tokens(tokens, min_count=2).words == ("a", "b")


def test_words_outside_without_unknown_are_an_error():
    v = Vocabulary(["a", "b"])
    with pytest.raises(ValueError, match="word: expected one of the 2 words.*'z'"):
        v.encode("a z b y")
    assert v.encode("a z", default=-1).tolist() == [0, -1] and v.encode([]).tolist() == []


@pytest.mark.parametrize("ids", [[2], [-1], [0, 5]])
def test_decode_refuses_ids_outside(ids):
    with pytest.raises(ValueError, match=r"ids: expected integers 0\.\.\.1"):
        Vocabulary(["a", "b"]).decode(ids)


def test_decode_refuses_other_kinds():
    v = Vocabulary(["a", "b"])
    with pytest.raises(TypeError, match="ids: expected integers"):
        v.decode([0.0])
    with pytest.raises(ValueError, match="ids: expected one axis"):
        v.decode([[0]])
    assert v.decode([]) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary([]), "words: expected at least one"),
        (lambda: Vocabulary(["a", "a"]), "words: expected each word once"),
        (lambda: Vocabulary(["a"], unknown="u"), "unknown: expected one of the words"),
        (lambda: Vocabulary(["a"], counts=[1, 2]), "counts: expected 1 integers"),
        (lambda: Vocabulary.from_tokens([]), "tokens: expected at least one word"),
        (lambda: Vocabulary.from_tokens(["a"], max_size=0), "max_size: expected at least 1"),
        (lambda: Vocabulary.from_tokens(["a"], max_size=1, specials=("p", "q")), "max_size: expected at least 2"),
    ],
)
def test_bad_vocabularies(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_string_is_not_a_list_of_words():
    with pytest.raises(TypeError, match="tokens: expected a sequence of words"):
        Vocabulary.from_tokens("the cat")
    with pytest.raises(TypeError, match="words: expected strings"):
        Vocabulary(["a", 1])


@given(TEXTS, st.booleans())
@settings(max_examples=50, deadline=None)
def test_round_trips(tokens, with_unknown):
    v = Vocabulary.from_tokens(tokens, unknown="<unknown>" if with_unknown else None)
    ids = v.encode(tokens)
    assert ids.dtype == np.int32
    assert v.decode(ids) == tokens
    again = Vocabulary.from_dict(json.loads(json.dumps(v.to_dict())))
    assert again == v and hash(again) == hash(v)
    assert np.array_equal(again.counts, v.counts)
    counts = [tokens.count(word) for word in v.words if word != "<unknown>"]
    assert counts == sorted(counts, reverse=True)


def test_save_and_load(tmp_path):
    v = Vocabulary.from_tokens("naïve café naïve 猫".split(), unknown="<unk>")
    path = tmp_path / "words.json"
    v.save(path)
    assert Vocabulary.load(path) == v
    assert [p.name for p in tmp_path.iterdir()] == ["words.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "other"}', b"\xff\xfe", b"[" * 5000])
def test_load_refuses_other_files(tmp_path, content):
    path = tmp_path / "words.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="path: expected a vocabulary file"):
        Vocabulary.load(path)


@pytest.mark.parametrize(
    "change", [{"words": "abc"}, {"words": [1]}, {"unknown": 3}, {"counts": ["x"]}, {"version": 2}]
)
def test_from_dict_checks(change):
    config = Vocabulary(["a"]).to_dict() | change
    with pytest.raises(ValueError, match="config: expected"):
        Vocabulary.from_dict(config)


def test_save_into_a_missing_folder(tmp_path):
    with pytest.raises(OSError):
        Vocabulary(["a"]).save(tmp_path / "none" / "words.json")


def test_from_file_plain_and_gzip(tmp_path):
    text = " the cat \n the dog\x85x \n\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    expected = ["the", "cat", "<eos>", "the", "dog", "x", "<eos>", "<eos>"]
    assert read_words(tmp_path / "a.txt", "<eos>") == expected
    assert read_words(tmp_path / "a.gz", "<eos>") == expected
    assert Vocabulary.from_file(tmp_path / "a.gz", "<eos>").words[:2] == ("<eos>", "the")


@pytest.mark.parametrize("content", [b"\xff\xff", gzip.compress(b"abc " * 100)[:-9], b"\x1f\x8b\x08\x00garbage......"])
def test_damaged_text_files(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match="a.txt: expected"):
        read_words(tmp_path / "a.txt")


def test_empty_text_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b" \n")
    with pytest.raises(ValueError, match="path: expected a text with words"):
        Vocabulary.from_file(tmp_path / "a.txt")


# ---------------------------------------------------------------- padding


def test_padding_as_in_keras():
    rows = [[1, 2, 3], [4, 5], [6]]
    assert pad_sequences(rows).tolist() == [[1, 2, 3], [0, 4, 5], [0, 0, 6]]
    assert pad_sequences(rows, padding="post", value=9).tolist() == [[1, 2, 3], [4, 5, 9], [6, 9, 9]]
    assert pad_sequences(rows, maxlen=2).tolist() == [[2, 3], [4, 5], [0, 6]]
    assert pad_sequences(rows, maxlen=2, truncating="post").tolist() == [[1, 2], [4, 5], [0, 6]]
    assert pad_sequences(rows, dtype="float32").dtype == np.float32
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([[], []], maxlen=2).tolist() == [[0, 0], [0, 0]]
    assert pad_sequences(rows, maxlen=0).shape == (3, 0)


def test_padding_of_vectors():
    rows = [np.ones((2, 3)), np.zeros((0, 3)), [[5, 6, 7]]]
    padded = pad_sequences(rows, dtype="float64", padding="post", value=-1)
    assert padded.shape == (3, 2, 3)
    assert padded[2].tolist() == [[5, 6, 7], [-1, -1, -1]]


@given(
    st.lists(st.lists(st.integers(1, 99), max_size=8), max_size=6),
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
)
@settings(max_examples=150, deadline=None)
def test_padding_keeps_what_fits(rows, maxlen, padding, truncating):
    padded = pad_sequences(rows, maxlen=maxlen, padding=padding, truncating=truncating)
    length = max(map(len, rows), default=0) if maxlen is None else maxlen
    assert padded.shape == (len(rows), length)
    for out, row in zip(padded, rows, strict=True):
        kept = row[max(0, len(row) - length) :] if truncating == "pre" else row[:length]
        fill = [0] * (length - len(kept))
        assert out.tolist() == (fill + kept if padding == "pre" else kept + fill)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_sequences([[1]], padding="left"), "padding: expected 'pre' or 'post', got 'left'"),
        (lambda: pad_sequences([[1]], truncating="x"), "truncating: expected"),
        (lambda: pad_sequences([1, 2]), "sequences: expected a sequence at position 0, got 1"),
        (lambda: pad_sequences(["ab"]), "sequences: expected a sequence at position 0"),
        (lambda: pad_sequences([[1]], maxlen=-1), "maxlen: expected None or an integer >= 0"),
        (lambda: pad_sequences([[[1, 2]], [[1, 2, 3]]]), "sequences: expected elements of one shape"),
        (lambda: pad_sequences([[[1, 2], [1]]]), "sequences: expected elements of one shape in sequence 0"),
    ],
)
def test_bad_padding(call, message):
    with pytest.raises(ValueError, match=message):
        call()


INTEGERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def bounds(dtype):
    return (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", [list, np.asarray, lambda x: np.asarray(x, object)], ids=["list", "array", "objects"])
def test_integers_that_do_not_fit_are_refused(dtype, kind):
    low, high = bounds(dtype)
    padded = pad_sequences([np.array([low, high], dtype)], 3, dtype)
    assert padded.dtype == dtype and padded[0].tolist() == [0, low, high]
    for outside in (low - 1, high + 1):
        if -(2**63) <= outside < 2**64:
            with pytest.raises(ValueError, match=r"\Asequences\[1\]: expected [^\n]+\Z"):
                pad_sequences([[1], kind([outside, 1])], dtype=dtype)
            with pytest.raises(ValueError, match=r"\Avalue: expected [^\n]+\Z"):
                pad_sequences([[1], [1, 0]], dtype=dtype, value=outside)
    for bad in (0.5, np.nan, np.inf, 1e30, "1", None, "<pad>"):
        with pytest.raises(ValueError, match=r"\Asequences\[0\]: expected [^\n]+\Z"):
            pad_sequences([[bad]], dtype=dtype)
        with pytest.raises(ValueError, match=r"\Avalue: expected [^\n]+\Z"):
            pad_sequences([[1]], dtype=dtype, value=bad)


def test_what_is_cut_off_need_not_fit():
    assert pad_sequences([[70000, 1]], 1, "int16").tolist() == [[1]]
    assert pad_sequences([[1, 70000]], 1, "int16", truncating="post").tolist() == [[1]]


def test_padding_of_words():
    words = [["ab", "c"], ["def"], []]
    for dtype in (object, str, "U3", "<U10"):
        padded = pad_sequences(words, dtype=dtype, padding="post", value="<>")
        assert padded.tolist() == [["ab", "c"], ["def", "<>"], ["<>", "<>"]]
    assert pad_sequences([[b"ab"]], 2, "S2", value=b"-").tolist() == [[b"-", b"ab"]]
    assert pad_sequences([[1.5, None]], 3, object, value="x").tolist() == [["x", 1.5, None]]
    for dtype, value in (("U2", "<>"), ("U3", "<pad>")):
        with pytest.raises(ValueError, match=r"\A(sequences\[1\]|value): expected words that fit dtype <U[23], got"):
            pad_sequences(words, dtype=dtype, value=value)
    with pytest.raises(ValueError, match="value: expected a number for dtype int32, got '<pad>'; use dtype=object"):
        pad_sequences([[1]], value="<pad>")


@pytest.mark.parametrize(
    "sequences", [5, None, "ab", b"ab", {1: [2]}, np.ma.masked_array([[1]]), [{1, 2}], [{1: 2}]], ids=str
)
def test_what_is_no_list_of_sequences(sequences):
    with pytest.raises((ValueError, TypeError), match=r"\Asequences: expected [^\n]+\Z"):
        pad_sequences(sequences)
    with pytest.raises(TypeError, match=r"\Asequences\[1\]: expected an array without a mask"):
        pad_sequences([[1], np.ma.masked_array([1], [True])])


@pytest.mark.parametrize("maxlen", [-1, 2.5, 2.0, True, "3", np.nan], ids=str)
def test_a_length_is_a_whole_number(maxlen):
    with pytest.raises(ValueError, match=r"\Amaxlen: expected None or an integer"):
        pad_sequences([[1]], maxlen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 2.5}, "max_size: expected an integer"),
        ({"max_size": True}, "max_size: expected an integer"),
        ({"min_count": np.nan}, "min_count: expected an integer"),
        ({"min_count": -1}, "min_count: expected an integer"),
        ({"ties": "reverse"}, "ties: expected 'a to z' or 'z to a'"),
        ({"tokens": ["a", np.nan, "b"]}, "tokens: expected strings, got nan"),
        ({"tokens": [b"a", "b"]}, "tokens: expected strings, got b'a'"),
        ({"tokens": b"a b"}, "tokens: expected a sequence of words"),
    ],
)
def test_vocabulary_arguments(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Vocabulary.from_tokens(**{"tokens": ["a", "b"], **options})


def test_counts_and_tokens_of_a_vocabulary():
    for counts in ([1, 1.5], [1, np.nan], ["a", 1], [1]):
        with pytest.raises((ValueError, TypeError), match=r"\Acounts: expected [^\n]+\Z"):
            Vocabulary(["a", "b"], counts=counts)
    for tokens in (None, 3, b"a b", {"a": 1}, float("nan")):
        with pytest.raises(TypeError, match=r"\Atokens: expected a text or a sequence of words, got [^\n]+\Z"):
            Vocabulary(["a", "b"]).encode(tokens)


@given(st.lists(st.text("abé語z", min_size=1, max_size=2), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_order_of_words_of_equal_count(words):
    """By count, then by code points, which is the order of the bytes in UTF-8 that Keras sorts by."""
    counts = {word: words.count(word) for word in words}
    up = sorted(counts, key=lambda word: (-counts[word], word.encode()))
    down = sorted(counts, key=lambda word: (counts[word], word.encode()), reverse=True)
    assert Vocabulary.from_tokens(words).words == tuple(up)
    assert Vocabulary.from_tokens(words, ties="z to a").words == tuple(down)


# ---------------------------------------------------------------- one-hot


def test_to_categorical_shapes():
    assert to_categorical([1, 0]).tolist() == [[0, 1], [1, 0]]
    assert to_categorical([[1], [0]], 3).shape == (2, 3)
    assert to_categorical([[1, 0, 2]], 4).shape == (1, 3, 4)
    assert to_categorical(2, 3).tolist() == [0, 0, 1]
    assert to_categorical([1.0, 0.0]).tolist() == [[0, 1], [1, 0]]
    assert to_categorical([], 3).shape == (0, 3)


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.integers(0, 6)))
@settings(max_examples=50, deadline=None)
def test_to_categorical_inverts_argmax(labels):
    hot = to_categorical(labels, 7)
    expected = labels[..., 0] if labels.ndim > 1 and labels.shape[-1] == 1 else labels
    assert np.array_equal(hot.argmax(-1), expected)
    assert np.array_equal(hot.sum(-1), np.ones(expected.shape))


@pytest.mark.parametrize(
    ("x", "classes", "error"),
    [
        ([3], 3, ValueError),
        ([-1], None, ValueError),
        ([], None, ValueError),
        ([0.5], 2, ValueError),
        ([np.nan], 2, ValueError),
        ([np.inf], 2, ValueError),
        ([1e300], None, ValueError),
        (["1"], 2, TypeError),
        ([None], 2, TypeError),
        ([[1], [1, 2]], 2, ValueError),
        ([1], 2.5, ValueError),
        ([1], np.nan, ValueError),
        ([1], True, ValueError),
        ([1], "2", ValueError),
        ([], 0, ValueError),
        (np.array([2**63], np.uint64), 3, ValueError),
        (np.array([-1], np.int8), 3, ValueError),
        (np.ma.masked_array([1], [True]), 3, TypeError),
    ],
)
def test_bad_labels(x, classes, error):
    with pytest.raises(error, match=r"\A(x|num_classes): expected [^\n]+\Z"):
        to_categorical(x, classes)


def test_to_categorical_takes_any_type_of_whole_numbers():
    for dtype in ("int8", "uint8", "int16", "uint64", "float16", "float64"):
        assert to_categorical(np.array([127, 0], dtype)).shape == (2, 128)
    assert to_categorical([True, False]).tolist() == [[0, 1], [1, 0]]


# ---------------------------------------------------------------- truncated BPTT


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 80))
@settings(max_examples=150, deadline=None)
def test_batches_are_contiguous_and_shifted(batch_size, steps, extra):
    ids = np.arange(batch_size * (steps + 1) + extra, dtype=np.int32)
    batches = bptt_batches(ids, batch_size, steps)
    row = len(ids) // batch_size
    assert len(batches) == (row - 1) // steps == len(list(batches))
    for x, y in batches:
        assert x.shape == y.shape == (batch_size, steps)
        assert x.dtype == y.dtype == np.int32
        assert np.array_equal(y, x + 1)
        assert np.shares_memory(x, ids) and np.shares_memory(y, ids)
    joined = np.concatenate([x for x, _ in batches], axis=1)
    assert np.array_equal(joined, ids[: row * batch_size].reshape(batch_size, row)[:, : len(batches) * steps])


def test_resume_goes_on_where_it_stood():
    batches = bptt_batches(np.arange(41), 2, 4)
    whole = [x.tolist() for x, _ in batches]
    assert batches.position == len(batches) == 4
    seen = []
    for x, _ in batches:
        seen.append(x.tolist())
        if batches.position == 2:
            break
    seen += [x.tolist() for x, _ in batches.resume(batches.position)]
    assert seen == whole
    assert list(batches.resume(len(batches))) == []
    assert [x.tolist() for x, _ in batches] == whole
    assert batches[-1][0].tolist() == whole[-1]
    with pytest.raises(IndexError):
        batches[4]
    with pytest.raises(ValueError, match=r"position: expected 0\.\.\.4, got 5"):
        batches.resume(5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], 2, 3), ValueError, "ids: expected at least 8 words"),
        ((np.arange(7), 2, 3), ValueError, "ids: expected at least 8 words"),
        ((np.arange(5), 20, 1), ValueError, "ids: expected at least 40 words"),
        ((np.arange(9), 0, 3), ValueError, "batch_size: expected an integer >= 1, got 0"),
        ((np.arange(9), 2, 0), ValueError, "steps: expected an integer >= 1, got 0"),
        ((np.arange(9), 2.5, 2), ValueError, "batch_size: expected an integer >= 1, got 2.5"),
        ((np.arange(9.0), 2, 2), TypeError, "ids: expected integers, got float64"),
        ((np.zeros((3, 3), int), 2, 2), ValueError, "ids: expected one axis"),
        (([0, 1, -1, 2, 3, 4], 2, 2), ValueError, "ids: expected integers 0...2147483646, got -1"),
        (([0, 1, 9, 2, 3, 4], 2, 2, 9), ValueError, r"ids: expected integers 0\.\.\.8, got 9"),
    ],
)
def test_bad_batches(arguments, error, message):
    with pytest.raises(error, match=message):
        bptt_batches(*arguments)


@given(st.integers(2, 70), st.integers(1, 90))
@settings(max_examples=80, deadline=None)
def test_windows_cover_every_target_once(length, steps):
    ids = np.arange(length, dtype=np.int32)
    windows = list(evaluation_windows(ids, steps))
    assert all(x.shape == y.shape and len(x) == 1 and x.shape[1] <= steps for x, y in windows)
    assert np.concatenate([x[0] for x, _ in windows]).tolist() == list(range(length - 1))
    assert np.concatenate([y[0] for _, y in windows]).tolist() == list(range(1, length))


def test_windows_need_two_words():
    with pytest.raises(ValueError, match="ids: expected at least 2 words"):
        evaluation_windows([1])


def test_check_ids_does_not_copy():
    ids = np.arange(5, dtype=np.int32)
    assert check_ids(ids) is ids
    assert check_ids([1, 2]).dtype == np.int32


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("text", ["", " \n", "a", " aé  數\u2003b\tcc dd", "one two "])
def test_words_of_a_long_file(tmp_path, text, size):
    """Pieces cut words and characters anywhere."""
    for name, data in (("plain", text.encode()), ("packed", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        pieces = list(iterate_words(tmp_path / name, size))
        assert [word for piece in pieces for word in piece] == text.split() and all(pieces)


def test_long_files_that_are_no_text(tmp_path):
    path = tmp_path / "bad"
    for data in (b"abc \xff", b"abc \xe6\x95", gzip.compress(b"a " * 9999)[:-9], b"\x1f\x8bxxxxxxxxxxxxx"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="bad") as error:
            list(iterate_words(path, 100))
        assert "\n" not in str(error.value)
