"""Images of digits: MNIST from its idx files, and the small ones that come with scikit-learn.

N: images, R: rows, C: columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .. import random
from .._extras import import_extra
from .._validation import integer
from ..text.files import open_plain, path_of
from ..typing import Floats, Ids, PathLike
from ._folders import find_files

Images = Floats
Labels = Ids
Bytes = NDArray[np.uint8]

_CLASSES = 10
_LARGEST = 1 << 30  # bytes of pixels; the training images have 47 million
_PIECE = 1 << 20
# The same four files go by either name.
_STEMS = {
    "training images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "training labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}


@dataclass(frozen=True)
class Part:
    """images: (N, R, C) float32 in 0...1; labels: (N,) int32, the digits."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Digits:
    """Images of digits in three parts; ``description`` is one line about them."""

    name: str
    description: str
    train: Part
    valid: Part
    test: Part

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)."""
        return self.train.images.shape[1], self.train.images.shape[2]

    @property
    def summary(self) -> str:
        """The description, and how many images each part has."""
        return f"{self.description}; train {len(self.train):,}, valid {len(self.valid):,}, test {len(self.test):,}"


def read_idx(path: PathLike, rank: int, *, max_bytes: int | None = None) -> Bytes:
    """Unsigned bytes of an idx file, plain or gzip.

    Args:
        path: the file: two zero bytes, 8 for the type, the number of axes, their sizes as 32-bit big-endian integers,
            then the values, the last axis fastest (Y. LeCun, C. Cortes, C. Burges, The MNIST database, 1998).
        rank: number of axes it must have.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    No more memory is taken than the file has values, whatever its header says, and never more than a gibibyte.

    Raises:
        ValueError: naming the file: another format, another rank or type, too few or too many values.
        OSError: it cannot be read.
    """
    name = path_of(path)
    integer("rank", rank, 1)
    with open_plain(path, max_bytes) as file:
        head = _read(file, 4 + 4 * rank)
        if len(head) < 4 or head[:2] != b"\0\0":
            raise ValueError(f"{name}: expected an idx file, got one that starts with {head[:4].hex(' ') or 'nothing'}")
        if head[2] != 8 or head[3] != rank:
            raise ValueError(
                f"{name}: expected unsigned bytes (type 8) with {rank} axes, got type {head[2]} with {head[3]} axes"
            )
        if len(head) < 4 + 4 * rank:
            raise ValueError(f"{name}: expected {4 + 4 * rank} bytes of header, got {len(head)}")
        shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
        count = math.prod(shape)
        if not 0 < count <= _LARGEST:
            raise ValueError(f"{name}: expected 1...{_LARGEST:,} values, got a header that says {shape}")
        values = _read(file, count)
        if len(values) < count:
            raise ValueError(f"{name}: expected {count:,} values as its header says, got {len(values):,}")
        if file.read(1):
            raise ValueError(f"{name}: expected {count:,} values as its header says, got more")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read(file: IO[bytes], count: int) -> bytearray:
    """The next ``count`` bytes or the rest, piece by piece: a wrong count costs no memory."""
    content = bytearray()
    while piece := file.read(min(_PIECE, count - len(content))):
        content += piece
    return content


def load_mnist(folder: PathLike, valid: int = 5000, *, max_bytes: int | None = None) -> Digits:
    """MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels.

    Args:
        folder: holds the four idx files, each plain or with ``.gz``, itself or in ``mnist/`` or ``MNIST/raw/``.
        valid: how many of the training images, from the first on, become the validation part, as in TensorFlow's
            loader.
        max_bytes: most bytes that a packed file may unpack to; see :func:`seqcore.text.open_plain`.

    Raises:
        ValueError: files that are missing, damaged, or do not belong together.
        OSError: files that cannot be read.
    """
    paths = find_files(folder, ("mnist", "", "MNIST/raw"), list(_STEMS.values()), "the idx files of MNIST")
    train, test = (_read_part(paths[i], paths[i + 1], max_bytes) for i in (0, 2))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{paths[2]}: expected images of {train.images.shape[1:]} pixels as in training, "
            f"got {test.images.shape[1:]}"
        )
    if not 0 < integer("valid", valid, 1) < len(train):
        raise ValueError(f"valid: expected 1...{len(train) - 1} of the training images, got {valid}")
    held = Part(train.images[:valid], train.labels[:valid])
    rest = Part(train.images[valid:], train.labels[valid:])
    return Digits("mnist", f"MNIST from {paths[0].parent}", rest, held, test)


def _read_part(images_path: Path, labels_path: Path, max_bytes: int | None) -> Part:
    images, labels = (read_idx(path, rank, max_bytes=max_bytes) for path, rank in ((images_path, 3), (labels_path, 1)))
    if len(images) != len(labels):
        raise ValueError(f"{labels_path}: expected {len(images):,} labels, one for each image, got {len(labels):,}")
    if labels.max() >= _CLASSES:
        raise ValueError(f"{labels_path}: expected labels 0...{_CLASSES - 1}, got {labels.max()}")
    return Part(images.astype(np.float32) / np.float32(255), labels.astype(np.int32))


def load_digits() -> Digits:
    """The handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels.

    300 each are for validation and test. They are in a fixed random order here, so that all writers are in all parts.
    From E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI machine learning repository, 1998.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    bunch = import_extra("sklearn.datasets", "the built-in digits need scikit-learn").load_digits()
    order = np.random.Generator(np.random.Philox(0)).permutation(len(bunch.target))
    images = np.asarray(bunch.images, np.float32)[order] / np.float32(16)
    labels = np.asarray(bunch.target, np.int32)[order]
    parts = [Part(images[a:b], labels[a:b]) for a, b in ((0, -600), (-600, -300), (-300, None))]
    return Digits("digits", "digits of scikit-learn, 1,797 images of 8 x 8 pixels", *parts)


def shifted(images: Images, most: int) -> Images:
    """Images moved by up to ``most`` pixels up or down and left or right, each its own way; black comes in.

    Args:
        images: (N, R, C).
        most: pixels; 0 leaves them as they are.

    Drawn from the seeded global generator.

    >>> random.set_seed(1)
    >>> image = np.zeros((1, 3, 3), np.float32)
    >>> image[0, 1, 1] = 1
    >>> moved = shifted(image, 1)
    >>> moved.shape, float(moved.sum())
    ((1, 3, 3), 1.0)
    """
    if not most:
        return images
    count, rows, columns = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    down, right = random.generator().integers(0, 2 * most + 1, (2, count, 1, 1))
    row, column = np.arange(rows)[None, :, None] + down, np.arange(columns)[None, None, :] + right
    moved: Images = padded[np.arange(count)[:, None, None], row, column]
    return moved


def drawn_batches(part: Part, batch_size: int, shift: int = 0) -> Iterator[tuple[Images, Labels]]:
    """Batches without end, images (B, R, C) and labels (B,): the part in one random order after another.

    Args:
        part: where they are drawn from; a batch may span the end of one order and the beginning of the next.
        batch_size: B.
        shift: see :func:`shifted`.
    """
    left = np.empty(0, np.intp)
    while True:
        while len(left) < batch_size:
            left = np.concatenate([left, random.generator().permutation(len(part))])
        rows, left = left[:batch_size], left[batch_size:]
        yield shifted(part.images[rows], shift), part.labels[rows]
