"""Images of digits: idx files, whole and damaged; the built-in digits; shifts and draws."""

import gzip
import tracemalloc

import numpy as np
import pytest

import seqcore as sc
from seqcore.datasets import drawn_batches, load_digits, load_mnist, read_idx, shifted
from seqcore.datasets.images import Part
from tests.helpers.mnist_files import idx, write_mnist


@pytest.mark.parametrize("where", ["mnist", ".", "MNIST/raw"])
@pytest.mark.parametrize(("compress", "dots"), [((), False), ((0, 1, 2, 3), False), ((2,), True)])
def test_mnist_is_found_plain_or_compressed(tmp_path, where, compress, dots):
    arrays = write_mnist(tmp_path / where, compress=compress, dots=dots)
    digits = load_mnist(tmp_path, valid=2)
    assert (len(digits.valid), len(digits.train), len(digits.test), digits.shape) == (2, 10, 4, (5, 4))
    images = arrays["train-images-idx3-ubyte"]
    np.testing.assert_allclose(digits.valid.images, images[:2] / 255, rtol=1e-6)
    np.testing.assert_allclose(digits.train.images, images[2:] / 255, rtol=1e-6)
    assert digits.train.images.dtype == np.float32 and digits.train.labels.dtype == np.int32
    assert digits.train.labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="missing train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images"):
        load_mnist(tmp_path)
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="missing t10k-labels-idx1-ubyte$"):
        load_mnist(tmp_path)


IMAGES = np.zeros((12, 5, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": b""}, "train-images.*expected an idx file, got one that starts with nothing"),
        ({"train_images": b"\x89PNG\r\n"}, "expected an idx file, got one that starts with 89 50 4e 47"),
        ({"train_images": idx(IMAGES)[:10]}, "expected 16 bytes of header, got 10"),
        ({"train_images": idx(IMAGES)[:-1]}, "expected 240 values as its header says, got 239"),
        ({"train_images": idx(IMAGES) + b"\0"}, "expected 240 values as its header says, got more"),
        ({"train_images": idx(IMAGES, 0x0D)}, r"expected unsigned bytes \(type 8\) with 3 axes, got type 13 with 3"),
        ({"train_images": idx(np.zeros(12))}, "with 3 axes, got type 8 with 1 axes"),
        ({"train_images": idx(np.zeros((0, 5, 4)))}, r"expected 1...1,073,741,824 values, got .* \(0, 5, 4\)"),
        ({"train_images": bytes([0, 0, 8, 3]) + b"\xff" * 12}, "expected 1...1,073,741,824 values"),
        ({"train_labels": idx(np.zeros(11))}, "expected 12 labels, one for each image, got 11"),
        ({"train_labels": idx(np.full(12, 10))}, "expected labels 0...9, got 10"),
        ({"t10k_images": idx(np.zeros((4, 5, 5)))}, r"expected images of \(5, 4\) pixels as in training, got \(5, 5\)"),
    ],
)
@pytest.mark.parametrize("compress", [(), (0, 1, 2, 3)])
def test_damaged_files_are_refused(tmp_path, changes, message, compress):
    write_mnist(tmp_path, compress=compress, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_mnist(tmp_path, valid=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_truncated_gzip(tmp_path, cut):
    whole = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (12, 5, 4))))
    (tmp_path / "images.gz").write_bytes(whole[:-cut])
    with pytest.raises(ValueError, match="images.gz: expected a whole gzip file, got a damaged one"):
        read_idx(tmp_path / "images.gz", 3)


def test_a_header_that_lies_costs_no_memory(tmp_path):
    """A gigabyte promised and not there is not asked for."""
    head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (1 << 20, 32, 32))
    for name, content in (("plain", head + b"x" * 99), ("packed", gzip.compress(head + b"x" * 99))):
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match="expected 1,073,741,824 values as its header says, got 99"):
            read_idx(tmp_path / name, 3)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 << 20


def test_valid_must_leave_something(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(ValueError, match="valid: expected 1...11 of the training images, got 12"):
        load_mnist(tmp_path, valid=12)


def test_builtin_digits():
    pytest.importorskip("sklearn")
    digits = load_digits()
    assert [len(part) for part in (digits.train, digits.valid, digits.test)] == [1197, 300, 300]
    for part in (digits.train, digits.valid, digits.test):
        assert part.images.min() == 0 and part.images.max() == 1 and set(part.labels) == set(range(10))
    rows = {image.tobytes() for part in (digits.train, digits.valid, digits.test) for image in part.images}
    assert len(rows) == 1797  # no image stands in two parts
    np.testing.assert_array_equal(load_digits().test.labels, digits.test.labels)


def test_shifts_move_and_lose_what_leaves():
    sc.set_seed(0)
    images = np.zeros((500, 5, 5), np.float32)
    images[:, 2, 2] = 1
    moved = shifted(images, 2)
    places = np.argwhere(moved)
    assert len(places) == 500 and moved.shape == images.shape
    counts = np.bincount(places[:, 1] * 5 + places[:, 2], minlength=25)
    assert counts.min() > 5  # each of the 25 shifts comes about 20 times
    corner = np.zeros((200, 5, 5), np.float32)
    corner[:, 0, 0] = 1
    left = shifted(corner, 1).sum((1, 2))
    assert 0 < (left == 0).sum() < 200
    assert shifted(images, 0) is images


def test_draws_pass_over_all_images_before_one_comes_again():
    sc.set_seed(3)
    part = Part(
        np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32), np.arange(10, dtype=np.int32)
    )
    batches = drawn_batches(part, 4)
    drawn = [next(batches) for _ in range(5)]
    labels = np.concatenate([labels for _, labels in drawn])
    assert (
        sorted(labels[:10]) == sorted(labels[10:]) == list(range(10)) and labels[:10].tolist() != labels[10:].tolist()
    )
    for images, of_batch in drawn:
        assert images.shape == (4, 2, 2)
        np.testing.assert_array_equal(images[:, 0, 0], of_batch)
    assert len(next(drawn_batches(part, 25))[1]) == 25
