"""Import lines, names that are refused, the page that lists the others, and misuse told in one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seqcore as sc
import seqcore.tf as sc_tf

ROOT = Path(__file__).parents[2]
X = np.ones((3, 4), "float32")
slices = sc_tf.data.Dataset.from_tensor_slices


def named(module, path):
    for name in path.split("."):
        module = getattr(module, name)
    return module


def test_the_page_lists_the_names():
    page = (ROOT / "docs/guide/tensorflow.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(tf[\w.]*)` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 8
    for owner, cell in rows:
        offered = {name for name in dir(named(sc, owner)) if not name.startswith("_")}
        assert set(re.findall(r"`(\w+)`", cell)) == offered, owner


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "import seqcore.tf as tf",
        "from seqcore.tf import keras",
        "import seqcore.tf.keras as keras",
        "from seqcore.tf.keras import Model, Sequential, Input, layers, losses, metrics, optimizers, callbacks",
        "from seqcore.tf.keras.layers import LSTM, Dense, Embedding",
        "from seqcore.tf.keras.models import Sequential, load_model",
        "from seqcore.tf.keras.utils import to_categorical, pad_sequences, set_random_seed",
        "from seqcore.tf.keras.preprocessing.sequence import pad_sequences",
        "from seqcore.tf.keras.datasets import imdb",
        "from seqcore.tf.keras.datasets.imdb import load_data, get_word_index",
        "from seqcore.tf.keras.initializers import Zeros",
    ],
)
def test_import_lines(line):
    """Each in a process of its own: nothing was imported before."""
    run_python(line)


def test_keras_is_seqcore():
    from seqcore.tf.keras import layers

    assert layers is sc.layers and sc.tf is sc_tf and sc_tf.keras.Model is sc.Model
    assert sc_tf.keras.utils.pad_sequences is sc_tf.keras.preprocessing.sequence.pad_sequences is sc.pad_sequences
    assert sc_tf.Tensor is sc.Tensor and sc_tf.IndexedSlices is sc.IndexedSlices


def test_seqcore_alone_does_not_import_it():
    assert run_python("import sys, seqcore; print('seqcore.tf' in sys.modules, 'seqcore.datasets' in sys.modules)") == (
        "False False\n"
    )


@pytest.mark.parametrize(
    "owner, name, hint",
    [
        ("tf", "einsum", r"dir\(tf\) lists them"),
        ("tf", "reduce_maximum", "did you mean 'reduce_max'"),
        ("tf", "placeholder", "it belongs to TensorFlow 1"),
        ("tf.keras", "applications", r"dir\(tf.keras\)"),
        ("tf.keras.datasets", "cifar10", "dir"),
        ("tf.keras.preprocessing", "text", "dir"),
        ("tf.data", "TFRecordDataset", "dir"),
        ("tf.linalg", "eig", "did you mean 'eigh'"),
        ("tf.math", "lgamma", "dir"),
        ("tf.nn", "conv2d", "dir"),
        ("tf.random", "gamma", "dir"),
    ],
)
def test_missing_names_are_refused(owner, name, hint):
    place = named(sc, owner)
    with pytest.raises(
        AttributeError, match=rf"\A{re.escape(owner)}: expected [^\n]+, got '{name}'; [^\n]*{hint}[^\n]*\Z"
    ):
        getattr(place, name)
    assert not hasattr(place, name) and name not in dir(place)


def test_missing_methods_of_a_data_set_are_refused():
    with pytest.raises(AttributeError, match="tf.data.Dataset: expected .*, got 'prefetch'"):
        slices([1, 2]).prefetch(1)
    with pytest.raises(AttributeError, match="did you mean 'shuffle'"):
        slices([1, 2]).suffle(1)


RAGGED = np.empty(2, object)
RAGGED[:] = [[1, 2], [3]]
MISUSES = {
    "strings": (lambda: sc_tf.constant("a"), TypeError, "value: expected numbers"),
    "fractions as integers": (lambda: sc_tf.constant([1.5], "int32"), ValueError, "value: expected whole numbers"),
    "an unknown type": (lambda: sc_tf.constant([1], "int99"), ValueError, "dtype: expected"),
    "a shape that does not fit": (lambda: sc_tf.constant([1, 2, 3], shape=[2]), ValueError, "shape: expected 3"),
    "a step of 0": (lambda: sc_tf.range(0, 5, 0), ValueError, "delta: expected a step from 0 towards 5"),
    "a step away": (lambda: sc_tf.range(5, 2), ValueError, "delta: expected a step"),
    "no number": (lambda: sc_tf.range("a"), ValueError, "limit: expected"),
    "a matrix that is not square": (lambda: sc_tf.linalg.eigh(X), ValueError, "tensor: expected square"),
    "another norm": (lambda: sc_tf.norm(X, 1), ValueError, "ord: expected 'euclidean'"),
    "an axis too far": (lambda: sc_tf.norm(X, axis=2), ValueError, "axis: expected"),
    "normal integers": (lambda: sc_tf.random.normal([2], dtype="int32"), ValueError, "dtype: expected"),
    "a seed of an operation": (lambda: sc_tf.random.normal([2], seed=1), ValueError, "seed: expected None"),
    "integers without end": (lambda: sc_tf.random.uniform([2], dtype="int32"), ValueError, "maxval: expected"),
    "an empty interval": (lambda: sc_tf.random.uniform([2], 3, 3, "int64"), ValueError, "maxval: expected"),
    "one number shuffled": (lambda: sc_tf.random.shuffle(3), ValueError, "value: expected"),
    "ragged rows": (lambda: slices([[1], [2, 3]]), ValueError, "tensors: expected rows of one length"),
    "lists in an array": (lambda: slices(RAGGED), TypeError, "tensors: expected numbers"),
    "different lengths": (lambda: slices(([1, 2], [3])), ValueError, "tensors: expected arrays of one length"),
    "nothing": (lambda: slices(()), ValueError, "tensors: expected arrays"),
    "a number": (lambda: slices(3), ValueError, "tensors: expected arrays"),
    "batches of 0": (lambda: slices([1]).batch(0), ValueError, "batch_size: expected"),
    "a word for True": (lambda: slices([1]).batch(1, drop_remainder="yes"), ValueError, "drop_remainder: expected"),
    "an empty buffer": (lambda: slices([1]).shuffle(0), ValueError, "buffer_size: expected"),
    "a seed of a shuffle": (lambda: slices([1]).shuffle(1, seed=2), ValueError, "seed: expected None"),
    "no function": (lambda: slices([1]).map(3), TypeError, "map_func: expected a function"),
    "a function without result": (lambda: list(slices([1]).map(print)), TypeError, "map_func: expected numbers"),
    "elements of two shapes": (lambda: list(slices([1, 2]).map(sc_tf.range).batch(2)), ValueError, "batch: expected"),
    "take without number": (lambda: slices([1]).take("all"), ValueError, "count: expected"),
    "a list without end": (lambda: list(slices([1]).repeat()), ValueError, "count: expected a number in repeat"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_told_in_one_line(name, capsys):
    call, kind, message = MISUSES[name]
    with pytest.raises(kind, match=rf"\A{message}[^\n]*\Z"):
        call()


def test_film_reviews_by_keras_names(tmp_path, monkeypatch):
    """SEQCORE_DATA names the folder, as for seqcore run."""
    rows = ["1\t9\ta\tGood film, good!", "0\t2\tb\tBad film."]
    for split in ("train", "test"):
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "imdb_word_index.json").write_text(json.dumps({"film": 1, "good": 2, "bad": 3}))
    monkeypatch.setenv("SEQCORE_DATA", str(tmp_path))
    imdb = sc_tf.keras.datasets.imdb
    (x, y), _ = imdb.load_data()
    assert sorted(zip(map(tuple, x), y.tolist())) == [((1, 5, 4, 5), 1), ((1, 6, 4), 0)]
    assert imdb.get_word_index() == {"film": 1, "good": 2, "bad": 3}
    padded = sc_tf.keras.preprocessing.sequence.pad_sequences(x, maxlen=3)
    assert sorted(padded.tolist()) == [[1, 6, 4], [5, 4, 5]]
