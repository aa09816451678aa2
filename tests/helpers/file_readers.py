"""Every reader of the package with valid files of its own: where the tests of damaged and of packed files start."""

import importlib.util
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import seqcore as sc
from seqcore import callbacks, datasets, layers, models, text
from seqcore.datasets import numpy_files
from seqcore.datasets.series import read_column
from seqcore.interop import keras, onnx
from seqcore.saving import describe_foreign_file, safetensors
from seqcore.word_vectors import LineSentence, PathLineSentences, Text8Corpus


@dataclass
class Reader:
    """A reader of the package.

    Attributes:
        read: takes the folder of the files.
        files: name -> valid content; all are written, and any may be damaged.
        covers: the public names that it stands for, as ``function`` or ``Class.method``.
        state: what a failed call must leave as it was, in a form that can be compared.
        packed: whether plain files may also come packed by gzip.
    """

    read: Callable[[Path], Any]
    files: dict[str, bytes]
    covers: tuple[str, ...]
    state: Callable[[], Any] | None = None
    packed: bool = False


def _npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def _npy_of_lists(rows: list[list[int]], protocol: int) -> bytes:
    array = np.empty(len(rows), object)
    array[:] = rows
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": array.shape})
    pickle.dump(array, buffer, protocol=protocol)
    return buffer.getvalue()


def _npz(protocol: int, compression: int) -> bytes:
    buffer = io.BytesIO()
    rows = [[1, 2, 3, 300, 0], [], [2, 70000], [5] * 40]
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for split in ("train", "test"):
            archive.writestr(f"x_{split}.npy", _npy_of_lists(rows, protocol))
            archive.writestr(f"y_{split}.npy", _npy([0, 1, 1, 0]))
    return buffer.getvalue()


def _idx(values: Any) -> bytes:
    array = np.asarray(values, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def _written(write: Callable[[str], Any]) -> bytes:
    """The bytes that a function writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(str(path))
        return path.read_bytes()


_SENTENCES = "the cat saw the dog\nthe dog saw a caf\u00e9\n" * 12
_TALE = "once upon a time there was a king who had a daughter . " * 130
_PTB = {f"ptb.{split}.txt": (_SENTENCES + "the <unk> saw\n").encode() for split in ("train", "valid", "test")}
_TSV = "".join(f"{i % 2}\t{7 + i}\tpos/{i}_{i}\tgood film {i}, <br />bad plot\n" for i in range(20)).encode()
_TWEETS = 'id,airline_sentiment,text\n1,positive,"thanks, @fly\nagain"\n2,neutral,\n3,0,late\n4,Negative,bad\n'
_WORDS = ["the", "cat", "dog", "saw", "caf\u00e9", "king", "queen", "man", "woman", "of"]
_RNG = np.random.default_rng(5)
_VECTORS = sc.KeyedVectors(
    _RNG.standard_normal((len(_WORDS), 4)).astype(np.float32), _WORDS, range(len(_WORDS) * 3, 0, -3)
)
_MERGED = sc.KeyedVectors(np.zeros((3, 4), np.float32), ["cat", "of", "unseen"])
_QUESTIONS = ": family\nking queen man woman\nman woman king queen\n: animals\ncat dog dog cat\nsaw of cat dog\n"
_PAIRS = "# word 1, word 2, mean\nking\tqueen\t8.5\ncat\tdog\t7.35\nman\twoman\t8.3\nsaw\tof\t0.5\nman\tking\t5\n"
_COUNTS = "".join(f"{word} {3 * (10 - i)}\n" for i, word in enumerate(_WORDS))
_SUMS = {
    "ptb": [{"file": "ptb.train.txt", "url": "https://example.org/ptb.train.txt", "sha256": "0123456789abcdef" * 4}],
    "mine": [{"file": "a.txt", "url": "http://example.org/a", "sha256": "f" * 64}] * 2,
}


def _vectors_as(**options: Any) -> bytes:
    return _written(lambda path: _VECTORS.save_word2vec_format(path, **options))


def _network() -> models.Sequential:
    sc.set_seed(3)
    model = models.Sequential(
        [
            layers.Embedding(7, 3),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True, stateful=False)),
            layers.Dropout(0.1),
            layers.GRU(2),
            layers.Dense(3, activation="softmax"),
        ],
        name="network",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.arange(8).reshape(2, 4) % 7, np.array([0, 2]), epochs=1, verbose=0)
    return model


_MODEL = _network()


def _model_state() -> Any:
    """Weights, optimizer, layer states and generator: all that a checkpoint may change."""
    values = [weight.numpy().tobytes() for weight in _MODEL.weights]
    return repr((values, _MODEL.optimizer.get_state(), _MODEL.get_layer_state(), sc.random.get_state()))


def _keras_model() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.keras"
        keras.save_keras(_MODEL, path)
        return path.read_bytes()


def _word2vec() -> sc.Word2Vec:
    sentences = [line.split() for line in _SENTENCES.splitlines()]
    return sc.Word2Vec(sentences, vector_size=3, min_count=1, epochs=1, seed=1, workers=1)


def _train_by_file(folder: Path) -> Any:
    model = sc.Word2Vec(corpus_file=str(folder / "words.txt"), vector_size=2, min_count=1, epochs=1, workers=1)
    return model.wv.index_to_key


def _append_to_log(folder: Path) -> Any:
    logger = callbacks.CSVLogger(folder / "log.csv", append=True)
    logger.on_train_begin()
    logger.on_epoch_end(2, {"loss": 0.25})
    return None


def _archive(folder: Path) -> Any:
    with numpy_files.open_archive(folder / "a.npz") as archive:
        return [numpy_files.read_npy(numpy_files.read_member(archive, f"{x}.npy", 1 << 20)) for x in "ab"]


def _two_arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(12.0).reshape(3, 4), b=np.arange(3, dtype=">i2"))
    return buffer.getvalue()


def _imdb_folder() -> dict[str, bytes]:
    names = [
        f"{split}/{label}/{i}_{i}.txt" for split in ("train", "test") for label in ("pos", "neg") for i in range(2)
    ]
    return {name: f"a review, {name}".encode() for name in names}


_FEW = json.dumps({word: rank for rank, word in enumerate(_WORDS, 1)}).encode()
_MNIST = {
    "train-images-idx3-ubyte": _idx(np.arange(12 * 20).reshape(12, 5, 4) % 256),
    "train-labels-idx1-ubyte": _idx(np.arange(12) % 10),
    "t10k-images-idx3-ubyte": _idx(np.arange(4 * 20).reshape(4, 5, 4)),
    "t10k-labels-idx1-ubyte": _idx(np.arange(4)),
}
_CSV = "day,close,note\n" + "".join(f'{i},{i * 0.5 - 3:.2f},"a, b"\n' for i in range(40))
_LOG = "epoch,accuracy,loss\n0,0.5,1.25\n1,0.75,1.0\n"


def _onnx_model() -> bytes:
    model = models.Sequential([layers.Input((None, 3)), layers.GRU(4), layers.Dense(2, activation="softmax")])
    return _written(lambda path: onnx.export_onnx(model, path))


READERS: dict[str, Reader] = {
    # text
    "read_text": Reader(lambda f: text.read_text(f / "a"), {"a": _SENTENCES.encode()}, ("read_text",), packed=True),
    "read_lines": Reader(lambda f: text.read_lines(f / "a"), {"a": _SENTENCES.encode()}, ("read_lines",), packed=True),
    "read_words": Reader(
        lambda f: text.read_words(f / "a", "<eos>"), {"a": _SENTENCES.encode()}, ("read_words",), packed=True
    ),
    "iterate_words": Reader(
        lambda f: sum(map(len, text.iterate_words(f / "a", 4096))),
        {"a": _SENTENCES.encode()},
        ("iterate_words", "open_plain"),
        packed=True,
    ),
    "read_json": Reader(lambda f: text.read_json(f / "a.json"), {"a.json": _FEW}, ("read_json",), packed=True),
    "Vocabulary.load": Reader(
        lambda f: text.Vocabulary.load(f / "words.json"),
        {"words.json": _written(text.Vocabulary(_WORDS, "of", range(10)).save)},
        ("Vocabulary.load",),
    ),
    "Vocabulary.from_file": Reader(
        lambda f: text.Vocabulary.from_file(f / "a", "<eos>"),
        {"a": _SENTENCES.encode()},
        ("Vocabulary.from_file",),
        packed=True,
    ),
    "TextVectorization": Reader(
        lambda f: sc.TextVectorization(vocabulary=str(f / "words.txt"))(["the cat saw"]),
        {"words.txt": "\n".join(_WORDS).encode()},
        ("TextVectorization.__init__", "TextVectorization.set_vocabulary"),
        packed=True,
    ),
    # data sets
    "load_ptb": Reader(datasets.load_ptb, _PTB, ("load_ptb",), packed=True),
    "read_idx": Reader(
        lambda f: datasets.read_idx(f / "a", 3), {"a": _MNIST["train-images-idx3-ubyte"]}, ("read_idx",), packed=True
    ),
    "load_mnist": Reader(lambda f: datasets.load_mnist(f, valid=2), _MNIST, ("load_mnist",), packed=True),
    "load_imdb/tables": Reader(datasets.load_imdb, {"train.tsv": _TSV, "test.tsv": _TSV}, ("load_imdb",), packed=True),
    "load_imdb/reviews": Reader(datasets.load_imdb, _imdb_folder(), ("load_imdb",)),
    "load_imdb/npz": Reader(
        datasets.load_imdb, {"imdb.npz": _npz(2, zipfile.ZIP_STORED)}, ("load_imdb", "open_archive")
    ),
    "load_imdb/deflated": Reader(datasets.load_imdb, {"imdb.npz": _npz(5, zipfile.ZIP_DEFLATED)}, ("load_imdb",)),
    "load_imdb/index": Reader(
        datasets.load_imdb, {"train.tsv": _TSV, "test.tsv": _TSV, "imdb_word_index.json": _FEW}, ("load_imdb",)
    ),
    "load_imdb_ids": Reader(
        lambda f: (datasets.load_imdb_ids(f), datasets.load_imdb_word_index(f)),
        {"train.tsv": _TSV, "test.tsv": _TSV, "imdb_word_index.json": _FEW},
        ("load_imdb_ids", "load_imdb_word_index"),
    ),
    "load_airline": Reader(datasets.load_airline, {"Tweets.csv": _TWEETS.encode()}, ("load_airline",), packed=True),
    "read_column": Reader(
        lambda f: read_column(f / "a.csv", "close"), {"a.csv": _CSV.encode()}, ("read_column", "read_csv"), packed=True
    ),
    "load_stories": Reader(
        lambda f: datasets.load_stories(f, 2),
        {"a.txt": _TALE.encode(), "b.txt": _TALE[:600].encode()},
        ("load_stories",),
        packed=True,
    ),
    "load_text": Reader(lambda f: datasets.load_text(f / "a"), {"a": _TALE.encode()}, ("load_text",), packed=True),
    "load_sources": Reader(
        lambda f: datasets.load_sources(f / "s.json"), {"s.json": json.dumps(_SUMS).encode()}, ("load_sources",)
    ),
    "npz": Reader(_archive, {"a.npz": _two_arrays()}, ("open_archive",)),
    # word vectors
    "sentences": Reader(
        lambda f: [list(cls(f / "a")) for cls in (LineSentence, PathLineSentences, Text8Corpus)],
        {"a": _TALE.encode()},
        ("LineSentence.__init__", "PathLineSentences.__init__", "Text8Corpus.__init__", "iterate_lines"),
        packed=True,
    ),
    "word2vec/text": Reader(
        lambda f: sc.KeyedVectors.load_word2vec_format(f / "v.txt"),
        {"v.txt": _vectors_as()},
        ("KeyedVectors.load_word2vec_format", "read_word2vec"),
        packed=True,
    ),
    "word2vec/binary": Reader(
        lambda f: sc.KeyedVectors.load_word2vec_format(f / "v.bin", binary=True),
        {"v.bin": _vectors_as(binary=True)},
        ("KeyedVectors.load_word2vec_format",),
        packed=True,
    ),
    "word2vec/counts": Reader(
        lambda f: sc.KeyedVectors.load_word2vec_format(f / "v.txt", fvocab=f / "counts.txt"),
        {"v.txt": _vectors_as(), "counts.txt": _COUNTS.encode()},
        ("KeyedVectors.load_word2vec_format", "read_counts"),
        packed=True,
    ),
    "glove": Reader(
        lambda f: sc.KeyedVectors.load_glove(f / "glove.txt"),
        {"glove.txt": _vectors_as(write_header=False)},
        ("KeyedVectors.load_glove",),
        packed=True,
    ),
    "intersect": Reader(
        lambda f: _MERGED.intersect_word2vec_format(f / "v.txt"),
        {"v.txt": _vectors_as()},
        ("KeyedVectors.intersect_word2vec_format",),
        lambda: (_MERGED.index_to_key, _MERGED.vectors.tobytes()),
        packed=True,
    ),
    "KeyedVectors": Reader(
        lambda f: sc.KeyedVectors.load(f / "v"), {"v": _written(_VECTORS.save)}, ("KeyedVectors.load", "read_vectors")
    ),
    "KeyedVectors/mapped": Reader(
        lambda f: sc.KeyedVectors.load(f / "v", mmap=True)["cat"].sum(),
        {"v": _written(_VECTORS.save)},
        ("KeyedVectors.load",),
    ),
    "analogies": Reader(
        lambda f: _VECTORS.evaluate_word_analogies(f / "q.txt"),
        {"q.txt": _QUESTIONS.encode()},
        ("Evaluation.evaluate_word_analogies", "read_questions"),
        packed=True,
    ),
    "pairs": Reader(
        lambda f: _VECTORS.evaluate_word_pairs(f / "p.tsv"),
        {"p.tsv": _PAIRS.encode()},
        ("Evaluation.evaluate_word_pairs",),
        packed=True,
    ),
    "Word2Vec": Reader(lambda f: sc.Word2Vec.load(f / "w"), {"w": _written(_word2vec().save)}, ("SavedModel.load",)),
    "corpus_file": Reader(
        _train_by_file,
        {"words.txt": _SENTENCES.encode()},
        (
            "Word2Vec.__init__",
            "WordTables.build_vocab",
            "Word2Vec.train",
            "TrainableTables.build_vocab",
            "TrainableTables.encode",
            "WordTables.encode",
            "read",
            "encode_file",
        ),
    ),
    # models
    "safetensors": Reader(
        lambda f: (safetensors.read_header(f / "m"), safetensors.read_tensors(f / "m")),
        {"m": _written(_MODEL.save_weights)},
        ("read_header", "read_tensors"),
    ),
    "load_weights": Reader(
        lambda f: _MODEL.load_weights(f / "w"),
        {"w": _written(_MODEL.save_weights)},
        ("load_weights", "Model.load_weights"),
        _model_state,
    ),
    "load_model": Reader(
        lambda f: sc.load_model(f / "m"),
        {"m": _written(lambda p: sc.saving.save_model(_MODEL, p, extra={"words": _WORDS}))},
        ("load_model",),
    ),
    "load_checkpoint": Reader(
        lambda f: (sc.saving.read_position(f / "c"), _MODEL.load_checkpoint(f / "c")),
        {"c": _written(lambda p: _MODEL.save_checkpoint(p, {"epoch": 2, "best": 0.5}))},
        ("load_checkpoint", "Model.load_checkpoint", "read_position", "read_file"),
        _model_state,
    ),
    # others
    "describe_foreign_file": Reader(
        lambda f: describe_foreign_file(f / "a"), {"a": _two_arrays()}, ("describe_foreign_file",)
    ),
    "read_array": Reader(
        lambda f: numpy_files.read_array(f / "x.npy"),
        {"x.npy": _npy(np.arange(24.0).reshape(2, 3, 4))},
        ("read_array",),
    ),
    "CSVLogger": Reader(_append_to_log, {"log.csv": _LOG.encode()}, ("CSVLogger.__init__",)),
}

#: Public names with an argument that names a file and that read none, or read it only by another reader of the table.
if importlib.util.find_spec("onnx") is not None:
    READERS["import_onnx"] = Reader(
        lambda f: onnx.import_onnx(f / "a.onnx"), {"a.onnx": _onnx_model()}, ("import_onnx",)
    )

if importlib.util.find_spec("h5py") is not None:
    READERS["load_keras"] = Reader(
        # Settings of training that seqcore lacks are a warning.
        lambda f: keras.load_keras(f / "a.keras", compile=False),
        {"a.keras": _keras_model()},
        ("load_keras",),
    )

EXCUSED = {
    "CountedText.__init__": "names the file that was read",
    **dict.fromkeys(("find_file", "find_files"), "look for a file by its name"),
    **dict.fromkeys(
        (
            "KeyedVectors.save",
            "KeyedVectors.save_word2vec_format",
            "Model.save",
            "Model.save_checkpoint",
            "Model.save_weights",
            "ModelCheckpoint.__init__",
            "TensorBoard.__init__",
            "Vocabulary.save",
            "SavedModel.save",
            "atomic_write",
            "export_onnx",
            "save_checkpoint",
            "save_keras",
            "save_model",
            "save_weights",
            "write_counts",
            "write_groups",
            "write_questions",
            "write_sentences",
            "write_tensors",
            "write_vectors",
            "write_word2vec",
        ),
        "writes",
    ),
    **dict.fromkeys(("as_path", "check_one", "path_of", "refuse_foreign_suffix"), "looks at the name alone"),
    **dict.fromkeys(
        (
            *(f"Hdf5File.{name}" for name in ("array", "has", "has_texts", "keys", "text", "texts")),
            "read_groups",
            "read_layers",
            "read_optimizer",
            "weight_groups",
        ),
        "read parts of a file that load_keras opens",
    ),
    **dict.fromkeys(("DataParallel.file", "OneProcess.file"), "give every process the main one's file, a checkpoint"),
    "Source.__init__": "a name for load_sources and download",
    "download": "what it fetches must have a known sha256",
}
for name, library in (("import_onnx", "onnx"), ("load_keras", "h5py")):
    if name not in READERS:
        EXCUSED[name] = f"needs the library {library}"
