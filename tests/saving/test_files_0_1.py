"""Files of version 0.1, kept in tests/files_0.1: today's library reads each of them and computes the same bits.

Run as a program, this file computes what the tests compare and writes it to a file: the tests do so in one process with
the instruction set ``base``, where the bits must be those of the old version. In the tests' own process, on the
processor's own instruction set, the values must be close.
"""

import contextlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli, layers
from seqcore.language_model import generate
from seqcore.models import Model, register
from seqcore.text import Vocabulary

FOLDER = Path(__file__).resolve().parent.parent / "files_0.1"
EXPECTED = FOLDER / "expected.npz"


@register("files/Loop")
class Loop(Model):
    """Cells of each kind in a loop, as a user would write it."""

    def __init__(self, units):
        super().__init__()
        cells = (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell)
        self.cells = [*(cell(units) for cell in cells), layers.ContextRNNCell(units, 2, 0.8)]
        self.head = layers.Dense(3)

    def get_config(self):
        return {"units": self.cells[0].units}

    def call(self, inputs, training=False):
        states = [cell.get_initial_state(inputs.shape[0]) for cell in self.cells]
        for x in sc.unstack(inputs, axis=1):
            for number, cell in enumerate(self.cells):
                x, states[number] = cell(x, states[number], training)
        return self.head(x)


@register("files/Attention")
class Attention(Model):
    """A recurrent layer that looks back at its own outputs, their mask included."""

    def __init__(self, units):
        super().__init__()
        self.units = units
        self.table = layers.Embedding(9, units, mask_zero=True)
        self.recurrent = layers.GRU(units, return_sequences=True, dropout=0.1, seed=3)
        self.attention = layers.AdditiveAttention(dropout=0.1, seed=4)
        self.pool, self.head = layers.GlobalAveragePooling1D(), layers.Dense(2, "softmax")

    def get_config(self):
        return {"units": self.units}

    def call(self, inputs, training=False):
        values = self.recurrent(self.table(inputs), training=training)
        return self.head(self.pool(self.attention([values, values], training=training)))


def stored(name, file="inputs.npz"):
    """The arrays ``name|key`` of a file as a dict by key."""
    with np.load(FOLDER / file) as arrays:
        return {key.split("|")[1]: arrays[key] for key in arrays.files if key.split("|")[0] == name}


def as_text(values):
    """Nested values as JSON."""
    return json.dumps(values, sort_keys=True, default=np.ndarray.tolist)


def flat(model):
    """All weights in one row."""
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def call_of(name):
    """Positional and named arguments of a call of a model."""
    given = stored(name)
    x = [given[key] for key in ("x0", "x1") if key in given]
    return (x[0] if len(x) == 1 else x), {key: given[key] for key in ("lengths",) if key in given}, given.get("y")


def train(model, x, y, options):
    """Two steps: the losses and the weights."""
    losses = [np.asarray(model.train_on_batch(x, y, **options)) for _ in range(2)]
    return {"losses": np.array(losses), "weights": flat(model)}


def load(name):
    sc.set_seed(17)
    return sc.load_model(FOLDER / f"model-{name}.safetensors")


def model_case(name):
    """A whole model: outputs, what was saved with it, and two training steps as it was compiled."""
    model = load(name)
    x, options, y = call_of(name)
    values = {"outputs": np.asarray(model(x, **options)), "extra": as_text(model.extra)}
    if y is not None:
        values |= train(model, x, y, options)
    return values


def weights_case(name):
    """A file of weights, and those of the model's own file, into a model whose weights are others."""
    x, options, _ = call_of(name)
    values = {}
    for file in (f"weights-{name}", f"model-{name}"):
        model = load(name)
        model.set_weights([weight + 1 for weight in model.get_weights()])
        model.load_weights(FOLDER / f"{file}.safetensors")
        values[file] = np.asarray(model(x, **options))
    return values


def checkpoint_case(name):
    """A resumed run: position, slots of the optimizer, random state, dropout, carried states."""
    model = load(name)
    x, options, y = call_of(name)
    position = model.load_checkpoint(FOLDER / f"checkpoint-{name}.safetensors")
    return {
        "position": as_text(position),
        "rate": np.asarray(float(np.asarray(model.optimizer.learning_rate))),
        **train(model, x, y, options),
        "next": sc.random.generator().normal(size=3),
    }


def seq2seq_case(name):
    model = load(name)
    sources, targets = ["21 may", "3 june", "11 may"], ["05-21", "06-03", "05-11"]
    texts = [*model.translate(sources), *model.translate(sources, beam_width=3)]
    values = {
        "texts": as_text([[text[0], text[2]] for text in texts]),
        "log_p": np.array([text.log_probability for text in texts]),
    }
    batches = sc.seq2seq.PairBatches(model, sources, targets, batch_size=3, shuffle=False)
    x, y = next(iter(batches))
    return {**values, **train(model, x, y, {}), "extra": as_text(model.extra)}


def language_parts():
    try:
        from seqcore.language import Schedule, Trainer
    except ImportError:
        from seqcore.language_model import Schedule, Trainer
    return Schedule, Trainer


def trainer_case(name):
    """A checkpoint of ``seqcore.language.Trainer``, in the middle of an epoch: the run continues to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        schedule, trainer = language_parts()
        model, given = load("ptb"), stored("trainer")
        run = trainer(
            model, given["train"], given["valid"], batch_size=3, steps=4, epochs=3,
            schedule=schedule(1.0, hold=1, decay=0.5),
        )  # fmt: skip
        run.restore(model.load_checkpoint(FOLDER / "checkpoint-trainer.safetensors"))
        place = [run.epoch, run.batch]
        history = run.run()
    keys = ("epoch", "learning_rate", "train_perplexity", "valid_perplexity")
    return {
        "place": as_text(place),
        "history": np.array([[row[key] for key in keys] for row in history]),
        "weights": flat(model),
    }


def ptb_run_case(name):
    """A stopped ``seqcore run ptb``: it continues to the same bits, or refuses the old checkpoint in one line."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        out.mkdir()
        shutil.copy(FOLDER / "checkpoint-ptb-run.safetensors", out / "checkpoint.safetensors")
        options = ("--size=test", f"--data={FOLDER}", "--epochs=3", f"--out={out}")
        code, _, errors = command("run", "ptb", *options)
        if code:
            assert (code, errors.count("\n")) == (2, 1), errors
            return stored("checkpoint-ptb-run.safetensors", EXPECTED.name)
        return {"weights": flat(sc.load_model(out / "last.safetensors"))}


def vocabulary_case(name):
    """A vocabulary: words, counts, the word that replaces others."""
    vocabulary = Vocabulary.load(FOLDER / f"vocabulary-{name}.json")
    counts = vocabulary.counts
    facts = [list(vocabulary.words), vocabulary.unknown, None if counts is None else np.asarray(counts).tolist()]
    return {"facts": as_text(facts), "ids": vocabulary.encode("the cat saw the dog")}


def word2vec_case(name):
    """A Word2Vec model saved between two passes continues exactly; vectors, counts and settings are kept."""
    model = sc.Word2Vec.load(FOLDER / f"{name}.safetensors")
    words = list(model.wv.index_to_key)
    values = {
        "words": as_text([words, [int(model.wv.get_vecattr(word, "count")) for word in words], model.epochs]),
        "vectors": np.array(model.wv.vectors),
        "targets": np.array(model.syn1neg),
    }
    model.train(sentences(), resume=True)
    return {**values, "trained": np.array(model.wv.vectors), "losses": np.array([row["loss"] for row in model.history])}


def sentences():
    """A small text, the same in each version."""
    words = json.loads((FOLDER / "vocabulary-counts.json").read_text())["words"]
    return [[words[(i * j + j) % len(words)] for j in range(2, 9)] for i in range(30)]


def vectors_case(name):
    """Word vectors in each format."""
    path, vectors = FOLDER / name, sc.KeyedVectors
    counts = FOLDER / "vectors-counts.txt"
    if name.endswith(".safetensors"):
        kv = vectors.load(path)
        assert np.array_equal(vectors.load(path, mmap=True).vectors, kv.vectors)
    elif "glove" in name:
        kv = vectors.load_glove(path)
    else:
        kv = vectors.load_word2vec_format(path, fvocab=counts, binary=".bin" in name)
    words = list(kv.index_to_key)
    facts = [words, None if "glove" in name else [int(kv.get_vecattr(word, "count")) for word in words]]
    near = kv.most_similar(words[0], topn=3)
    return {
        "facts": as_text([facts, [word for word, _ in near]]),
        "vectors": np.array(kv.vectors),
        "near": np.array([similarity for _, similarity in near]),
    }


def command(*words):
    """Exit status, output and errors of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = cli.main([str(word) for word in words])
    return code, output.getvalue(), errors.getvalue()


def command_case(name):
    """The output of ``seqcore predict`` and ``seqcore generate`` for a model."""
    code, output, errors = command(*(word.replace("FOLDER", str(FOLDER)) for word in COMMANDS[name]))
    assert code == 0, errors
    return {"output": re.sub(r"\d+\.\d{6,}", lambda number: f"{float(number[0]):.5f}", output)}


def sampled_words_case(name):
    """Words drawn by a language model. ``seqcore generate`` drew the unknown word too, and leaves it out since 0.2."""
    model = sc.load_model(FOLDER / "model-ptb.safetensors")
    vocabulary = Vocabulary.from_dict(model.extra["vocabulary"])
    prompt = ["the", "cat"]
    return {"output": " ".join(prompt + generate(model, vocabulary, prompt, 9, seed=3)) + "\n"}


COMMANDS = {
    "predict-imdb": ["predict", "FOLDER/model-imdb.safetensors", "--text", "the cat saw the dog", "--json"],
    "predict-imdb-cells": ["predict", "FOLDER/model-imdb-cells.safetensors", "--text", "a dog saw", "--json"],
    "predict-airline": ["predict", "FOLDER/model-airline.safetensors", "--text", "the cat", "--text", "dog", "--json"],
    "predict-tagging": ["predict", "FOLDER/model-tagging.safetensors", "--text", "The cat saw the dog.", "--json"],
    "predict-ptb": ["predict", "FOLDER/model-ptb.safetensors", "the cat saw", "--json"],
    "predict-seq2seq": ["predict", "FOLDER/model-seq2seq.safetensors", "--text", "21 may", "--json"],
    "predict-mnist": ["predict", "FOLDER/model-mnist.safetensors", "--input", "FOLDER/images.npy", "--json"],
    "predict-caption": ["predict", "FOLDER/model-caption.safetensors", "--input", "FOLDER/images.npy", "--json"],
    "predict-forecast": ["predict", "FOLDER/model-forecast.safetensors", "--input", "FOLDER/windows.npy", "--json"],
    "generate-greedy": ["generate", "FOLDER/model-ptb.safetensors", "--prompt", "the", "--greedy", "--length", "5"],
    "generate-beam": ["generate", "FOLDER/model-ptb.safetensors", "--prompt", "the", "--beam", "3", "--length", "5"],
    "generate-stories": ["generate", "FOLDER/model-stories-lstm.safetensors", "--prompt", "the ", "--seed", "2"],
}


def cases():
    """Name -> function and its argument, from the files that there are."""
    table = {}
    for path in sorted(FOLDER.iterdir()):
        kind, _, name = path.name.partition(".")[0].partition("-")
        if kind == "model":
            table[path.name] = (seq2seq_case if name == "seq2seq" else model_case), name
        elif kind == "weights":
            table[path.name] = weights_case, name
        elif kind == "checkpoint":
            table[path.name] = {"trainer": trainer_case, "ptb-run": ptb_run_case}.get(name, checkpoint_case), name
        elif kind == "vocabulary":
            table[path.name] = vocabulary_case, name
        elif kind == "word2vec":
            table[path.name] = word2vec_case, path.name.partition(".")[0]
        elif kind == "vectors" and name != "counts":
            table[path.name] = vectors_case, path.name
    table["generate-ptb"] = sampled_words_case, "ptb"
    return table | {name: (command_case, name) for name in COMMANDS}


CASES = cases()


def compute(name):
    """The values of a case by key, arrays and texts."""
    function, argument = CASES[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*bfloat16")
        return function(argument)


def main(path):
    """Computes all cases and writes them: arrays ``name|key``; a case that fails is the text ``name|error``."""
    arrays = {}
    for name in CASES:
        try:
            values = compute(name)
        except Exception:
            values = {"error": traceback.format_exc()}
        arrays |= {f"{name}|{key}": np.asarray(value) for key, value in values.items()}
    np.savez_compressed(path, **arrays)


@pytest.fixture(scope="module")
def on_base(tmp_path_factory):
    """All values, computed by one process with the instruction set ``base``."""
    path = tmp_path_factory.mktemp("files") / "values.npz"
    environment = {**os.environ, "SEQCORE_ISA": "base"}
    subprocess.run([sys.executable, __file__, str(path)], env=environment, check=True, timeout=300)
    return dict(np.load(path))


def values_of(arrays, name):
    return {key.split("|")[1]: value for key, value in arrays.items() if key.split("|")[0] == name}


# NumPy's exp and BLAS take part in these, and their last bits depend on its version and on the processor.
THROUGH_NUMPY = {
    "checkpoint-lstm.safetensors",
    *(f"model-{name}.safetensors" for name in ("attention", "bidirectional", "caption", "loop", "lstm")),
    *(f"model-{name}.safetensors" for name in ("seq2seq", "time-distributed")),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits(name, on_base):
    values, wanted = values_of(on_base, name), stored(name, EXPECTED.name)
    assert "error" not in values, str(values["error"])
    assert sorted(values) == sorted(wanted)
    for key, value in wanted.items():
        got = values[key]
        assert (got.dtype.kind, got.shape) == (value.dtype.kind, value.shape), key
        if value.dtype.kind == "U":
            assert str(got) == str(value), key
        elif name in THROUGH_NUMPY or platform.machine() not in ("x86_64", "AMD64"):
            assert got == pytest.approx(value, rel=1e-5, abs=1e-6), key
        else:
            assert got.dtype == value.dtype and got.tobytes() == value.tobytes(), f"{key}: {np.abs(got - value).max()}"


@pytest.mark.parametrize("name", [name for name in CASES if name not in COMMANDS])
def test_close_on_this_processor(name):
    values, wanted = compute(name), stored(name, EXPECTED.name)
    for key, value in wanted.items():
        if value.dtype.kind != "U":
            tolerance = 0.05 if "mixed" in name else 2e-4
            assert np.asarray(values[key]) == pytest.approx(value, rel=tolerance, abs=tolerance), key


def test_every_file_is_used():
    with np.load(EXPECTED) as arrays:
        assert {key.split("|")[0] for key in arrays.files} == set(CASES)


if __name__ == "__main__":
    main(sys.argv[1])
