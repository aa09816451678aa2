"""Made the files beside it with version 0.1 (commit 0adf111); they are not made again.

    SEQCORE_ISA=base PYTHONPATH=<checkout of 0adf111, core built>/src python tests/files_0.1/make.py

model-*, weights-*, checkpoint-*, vocabulary-*, word2vec-* and vectors-* are what tests/saving/test_files_0_1.py reads.
inputs.npz holds the arrays that models are called with, expected.npz what the old version computed from each file with
the instruction set ``base``. ptb.*.txt are a text for ``seqcore run ptb``; images.npy and windows.npy are inputs of
``seqcore predict``. Every layer, loss, metric, optimizer, schedule and initializer that 0.1 can save is in one of the
models, and so is each kind of model that its experiments save. Made anew, the files differ only in the seconds and the
words per second that Word2Vec and runs of language models note.
"""

# ruff: noqa: I001 - some of the modules are gone
import dataclasses
import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

import seqcore as sc
from seqcore import layers, losses, metrics, optimizers
from seqcore.experiments import airline, caption, forecast, imdb, memory, mnist, ptb, stories, tagging
from seqcore.language import Interrupted, Schedule, Trainer, build_model
from seqcore.text import Vocabulary
from seqcore.tokens import Tokenizer

HERE = Path(__file__).resolve().parent
INPUTS = {}
TEXT = "the cat saw the dog and a dog saw the old cat . the dog ran , the cat ran after the dog . a bird saw them all ."


def tests():
    """The module of the tests, whose cases say what is computed of each file."""
    spec = importlib.util.spec_from_file_location("test_files_0_1", HERE.parent / "saving/test_files_0_1.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def integers(high, *shape, seed=0, low=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int32)


def path(name):
    return HERE / f"{name}.safetensors"


def save(name, model, x, y=None, lengths=None, **extra):
    """Builds a model by a call; saves it and what it is called with."""
    options = {} if lengths is None else {"lengths": lengths}
    model(x, **options)
    model.save(path(f"model-{name}"), **extra)
    given = {"x0": x} if isinstance(x, np.ndarray) else dict(zip(("x0", "x1"), x))
    INPUTS.update({f"{name}|{key}": value for key, value in given.items()})
    for key, value in (("y", y), ("lengths", lengths)):
        if value is not None:
            INPUTS[f"{name}|{key}"] = value
    return model


def checkpoint(name, model, x, y, lengths=None):
    """Two training steps, then a checkpoint and the weights alone."""
    options = {} if lengths is None else {"lengths": lengths}
    for _ in range(2):
        model.train_on_batch(x, y, **options)
    position = {"epoch": 1, "best": 0.5, "note": "half", "seen": [1, 2], "row": np.arange(3)}
    model.save_checkpoint(path(f"checkpoint-{name}"), position)
    INPUTS[f"{name}|y"] = y


def layer_models():
    """Every layer, optimizer, schedule, loss, metric and initializer."""
    B, T, D, H, V = 3, 4, 3, 5, 9
    real, ids, lengths = numbers(B, T, D), integers(V, B, T, low=1), np.array([4, 2, 1])
    ids[1, 2:] = 0
    steps, classes = integers(V, B, T, seed=1), integers(V, B, seed=2)
    sparse = losses.SparseCategoricalCrossentropy
    table = {
        "rnn": (
            [
                layers.Embedding(V, D, mask_zero=True), layers.SimpleRNN(H, go_backwards=True),
                layers.Dense(V, "softmax"),
            ],
            optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0), sparse(), ["accuracy"], ids, classes, None,
        ),
        "lstm": (
            [
                layers.Input((None, D)),
                layers.LSTM(H, return_sequences=True, dropout=0.2, recurrent_dropout=0.2, seed=1),
                layers.Dense(V), layers.Activation("softmax"),
            ],
            optimizers.Adam(optimizers.CosineDecay(0.05, 10), amsgrad=True, global_clipnorm=1.0), sparse(),
            [metrics.Perplexity(), metrics.SparseTopKCategoricalAccuracy(2), metrics.SparseCategoricalCrossentropy()],
            real, steps, lengths,
        ),
        "gru": (
            [
                layers.GRU(H, return_sequences=True), layers.GRU(H, reset_after=False, use_bias=False),
                layers.Dense(V), layers.Softmax(),
            ],
            optimizers.RMSprop(optimizers.ExponentialDecay(0.01, 5, 0.5), momentum=0.5, centered=True),
            sparse(), [metrics.SparseCategoricalAccuracy()],
            real, classes, None,
        ),
        "context": (
            [layers.ContextRNN(H, 2, 0.8, return_sequences=True), layers.ContextRNN(H, 3), layers.Dense(D)],
            optimizers.Adagrad(optimizers.PolynomialDecay(0.1, 10), clipvalue=0.5), "mse",
            [metrics.MeanAbsoluteError(), metrics.RootMeanSquaredError(), metrics.MeanSquaredError()],
            real, numbers(B, D, seed=3), lengths,
        ),
        "bidirectional": (
            [
                layers.Bidirectional(layers.LSTM(H, return_sequences=True), merge_mode="sum"),
                layers.Bidirectional(layers.GRU(H, return_sequences=True), merge_mode="mul"),
                layers.Bidirectional(layers.SimpleRNN(H, return_sequences=True), merge_mode="ave"),
                layers.Bidirectional(layers.LSTM(H), backward_layer=layers.GRU(H, go_backwards=True)),
                layers.Dense(1, "sigmoid"),
            ],
            optimizers.SGD(optimizers.InverseTimeDecay(0.1, 5, 0.5)), losses.BinaryCrossentropy(label_smoothing=0.1),
            [metrics.BinaryAccuracy(), metrics.BinaryCrossentropy()],
            real, integers(2, B, 1).astype(np.float32), lengths,
        ),
        "pools": (
            [
                layers.Embedding(V, D), layers.Dropout(0.2, seed=2),
                layers.SimpleRNN(H, return_sequences=True, activation="relu"),
                layers.GlobalMaxPooling1D(), layers.Dense(4), layers.ReLU(), layers.Dense(V, "softmax"),
            ],
            optimizers.SGD(optimizers.PiecewiseConstantDecay([1, 2], [0.1, 0.05, 0.01])),
            losses.CategoricalCrossentropy(),
            [metrics.CategoricalAccuracy(), metrics.TopKCategoricalAccuracy(2), metrics.CategoricalCrossentropy()],
            ids, sc.to_categorical(classes, V), None,
        ),
        "flatten": (
            [layers.Input((T, D)), layers.GlobalSumPooling1D(), layers.Flatten(), layers.Dense(2, "tanh")],
            optimizers.Adam(0.01, lazy=True), losses.MeanSquaredError(reduction="sum"), ["mae"],
            real, numbers(B, 2), None,
        ),
        "average": (
            [
                layers.LSTM(H, return_sequences=True, unit_forget_bias=False), layers.GlobalAveragePooling1D(),
                layers.Dense(V),
            ],
            optimizers.RMSprop(0.01), sparse(from_logits=True, ignore_class=1), None,
            real, classes, lengths,
        ),
        "nce": (
            [layers.Embedding(V, D), layers.LSTM(H, return_sequences=True), layers.Dense(V)],
            optimizers.SGD(0.5, lazy=True), losses.NCELoss(3, reduction="batch_mean"), None, ids, steps, None,
        ),
        "sampled-softmax": (
            [layers.Embedding(V, D), layers.GRU(H, return_sequences=True), layers.Dense(V)],
            optimizers.Adagrad(0.1), losses.SampledSoftmaxLoss(3), None, ids, steps, None,
        ),
        "float64": (
            [
                layers.Embedding(V, D, dtype="float64"), layers.LSTM(H, dtype="float64"),
                layers.Dense(V, dtype="float64"),
            ],
            optimizers.Adam(0.01), sparse(from_logits=True), ["accuracy"], ids, classes, None,
        ),
        "mixed": (
            [
                layers.Embedding(V, D, dtype="mixed_bfloat16"), layers.LSTM(H, dtype="mixed_bfloat16"),
                layers.Dense(V, dtype="mixed_bfloat16"),
            ],
            optimizers.Adam(0.01), sparse(from_logits=True), ["accuracy"], ids, classes, None,
        ),
    }  # fmt: skip
    initializers = sc.initializers
    table["initializers"] = (
        [
            layers.Dense(4, kernel_initializer=initializer, bias_initializer=bias)
            for initializer, bias in (
                (initializers.GlorotNormal(1), initializers.Constant(0.1)),
                (initializers.HeNormal(2), initializers.RandomNormal(seed=1)),
                (initializers.HeUniform(3), initializers.RandomUniform(-0.1, 0.1, 2)),
                (initializers.LecunNormal(4), initializers.TruncatedNormal(seed=3)),
                (initializers.LecunUniform(5), initializers.Ones()),
                (initializers.Orthogonal(1.1, 6), initializers.Zeros()),
                (initializers.Identity(), initializers.Zeros()),
                (initializers.VarianceScaling(0.5, "fan_out", "uniform", 7), initializers.Zeros()),
            )
        ],
        optimizers.SGD(0.01), "mse", None, numbers(B, 4), numbers(B, 4, seed=5), None,
    )  # fmt: skip
    for name, (stack, optimizer, loss, measured, x, y, given) in table.items():
        sc.set_seed(1)
        model = sc.Sequential(stack)
        model.compile(optimizer, loss, measured)
        save(name, model, x, y, given, words=["a", "b"], row=np.arange(3))
        if name in ("rnn", "lstm", "gru", "context", "pools", "nce"):
            checkpoint(name, model, x, y, given)
    model.save_weights(path("weights-initializers"))
    stateful()


def time_distributed(test):
    """A model that 0.1 writes but cannot read: what is expected of it comes from the model itself."""
    sc.set_seed(17)
    model = sc.Sequential([layers.GRU(4, return_sequences=True), layers.TimeDistributed(layers.Dense(5))])
    model.compile(optimizers.Adam(0.01), losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = numbers(2, 3, 2), integers(5, 2, 3)
    save("time-distributed", model, x, y)
    values = {"outputs": np.asarray(model(x)), "extra": "{}", **test.train(model, x, y, {})}
    return {f"model-time-distributed.safetensors|{key}": np.asarray(value) for key, value in values.items()}


def spread(model):
    """Larger weights, so that what the model says is not the same for all inputs."""
    model.set_weights([numbers(*weight.shape, seed=number) for number, weight in enumerate(model.get_weights())])


def stateful():
    """Carried states are part of a checkpoint."""
    sc.set_seed(2)
    cells = [layers.SimpleRNN, layers.LSTM, layers.GRU]
    stack = [cell(4, return_sequences=True, stateful=True) for cell in cells]
    model = sc.Sequential([*stack, layers.ContextRNN(4, 2, stateful=True), layers.Dense(2)])
    model.compile(optimizers.Adam(0.01), "mse")
    x, y = numbers(2, 3, 2), numbers(2, 2, seed=1)
    save("stateful", model, x)
    checkpoint("stateful", model, x, y)
    model.save_weights(path("weights-stateful"))


def own_models(test):
    """Subclassed models, registered by whoever reads them."""
    sc.set_seed(3)
    model = test.Loop(4)
    model.compile("rmsprop", losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    save("loop", model, numbers(3, 4, 2), integers(3, 3))
    model.save_weights(path("weights-loop"))
    sc.set_seed(4)
    model = test.Attention(4)
    model.compile("adam", "sparse_categorical_crossentropy")
    x = integers(9, 3, 5, low=1)
    x[1, 3:] = 0
    save("attention", model, x, integers(2, 3))


def experiments():
    """Models as the experiments save them, small."""
    words = [line.split() for line in TEXT.split(".") if line.strip()]
    texts = [" ".join(line) for line in words]
    sc.set_seed(5)
    settings = imdb.Settings(words=20, steps=6, width=4, units=3, dropout=0.2)
    vectorize = sc.TextVectorization(
        max_tokens=20, standardize="lower_and_split_punctuation", output_sequence_length=6, start_token="<START>",
        oov_token="<UNK>", padding="pre", truncating="pre",
    )  # fmt: skip
    vectorize.adapt(texts)
    ids, labels = vectorize(texts[:3]), integers(2, 3, 1).astype(np.float32)
    for name, build in (("imdb", imdb.build_layers), ("imdb-cells", imdb.build_cells)):
        model = build(settings, "lstm" if name == "imdb" else "gru", "mlp", "mean")
        model.compile(optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
        model.extra = {"text_vectorization": vectorize.to_dict(), "labels": list(imdb.LABELS)}
        save(name, model, ids, labels, experiment="imdb")
    vectorize = sc.TextVectorization(output_sequence_length=5, stop_words=["and", "a"])
    vectorize.adapt(texts)
    model = airline.build_model("lstm2", vectorize.vocabulary_size(), airline.Settings(width=4, units=3, steps=5))
    model.compile(optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    model.extra = {"text_vectorization": vectorize.to_dict(), "labels": list(airline.LABELS)}
    save("airline", model, vectorize(texts[:3]), sc.to_categorical(integers(2, 3), 2), experiment="airline")
    toy()
    vocabulary = Vocabulary.from_tokens(TEXT.split(), specials=["<pad>"], unknown="<unk>")
    model = tagging.build_tagger("gru", "both", 6, vocabulary.size, 3)
    model.extra = {"vocabulary": vocabulary.to_dict(), "tags": ["DET", "NOUN", "VERB"]}
    ids = integers(vocabulary.size, 2, 5)
    model(ids)
    spread(model)
    save("tagging", model, ids, integers(3, 2, 5), np.array([5, 3]), experiment="tagging")
    tellers()
    images = np.random.default_rng(1).uniform(size=(4, 6, 5)).astype(np.float32)
    np.save(HERE / "images.npy", images)
    model = mnist.build_model((6, 5), dataclasses.replace(mnist.BOOK, units=3))
    model.compile(optimizers.RMSprop(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    save("mnist", model, images, integers(10, 4), experiment="mnist", images="digits")
    model = caption.Captioner(3, "lstm", 3, 0.2)
    model.compile(optimizers.Adam(0.01), losses.SparseCategoricalCrossentropy(), ["accuracy"])
    before, letters = caption.spell(np.array([2, 7, 3, 0]))
    model([images, before])
    spread(model)
    save("caption", model, [images, before], letters, experiment="caption", images="digits")
    model = forecast.build_model("lstm", 3, 6)
    model.compile(optimizers.Adam(optimizers.CosineDecay(0.01, 9), global_clipnorm=1.0), "mse")
    model.extra = {"window": 6, "target": "change", "mean": 1.5, "scale": 2.0, "series": "seasonal"}
    np.save(HERE / "windows.npy", numbers(3, 6).astype(np.float64))
    save("forecast", model, numbers(3, 6, 1), numbers(3, 1, seed=1), experiment="forecast", **model.extra)
    seq2seq()


def toy():
    sc.set_seed(6)
    for cell, kind in (("rnn", layers.SimpleRNN), ("gru", layers.GRU)):
        options = {"dtype": "float64"}
        model = sc.Sequential(
            [
                layers.Input((2, 1), **options),
                kind(1, recurrent_initializer="zeros", **options),
                layers.Dense(5, "softmax", **options),
            ]
        )
        accuracy = metrics.CategoricalAccuracy("accuracy")
        model.compile(optimizers.Adam(0.05), losses.get("categorical_crossentropy"), [accuracy])
        x = np.array([[[3.0], [1.0]], [[1.0], [2.0]]])
        y = np.eye(5, dtype=np.float32)[[2, 4]]
        save(f"toy-{cell}", model, x, y, experiment="toy", words=["", "is", "an", "this"])


def tellers():
    """stories, memory and ptb."""
    stories.UNITS = stories.CONTEXT_UNITS = memory.UNITS = 4
    memory.WIDTH = 3
    told = sc.datasets.make_stories("a text", [TEXT * 30] * 2, Tokenizer(1))
    size = told.vocabulary.size
    for name in ("context", "lstm", "rnn3"):
        sc.set_seed(7)
        model = stories.build_model(name, size)
        spread(model)
        extra = {"network": name, "vocabulary": told.vocabulary.to_dict(), "tokens": told.tokenizer.to_dict()}
        x, y = integers(size, 2, 5), integers(size, 2, 5, seed=1)
        save(f"stories-{name}", model, x, y, experiment="stories", **extra)
    model = memory.build_model(memory.make_layer("context"))
    save("memory", model, integers(16, 2, 5), integers(8, 2), experiment="memory", cell="context", steps=5)
    sc.set_seed(8)
    vocabulary = Vocabulary.from_tokens([*TEXT.split(), "<eos>"], unknown="<unk>")
    model = build_model(vocabulary.size, units=5, layers=2, keep_prob=0.8, init_scale=0.5)
    ids = integers(vocabulary.size, 3, 4)
    targets = integers(vocabulary.size, 3, 4, seed=1)
    save("ptb", model, ids, targets, vocabulary=vocabulary.to_dict(), experiment="ptb", run={})
    train, valid = integers(vocabulary.size, 150), integers(vocabulary.size, 40, seed=1)
    INPUTS.update({"trainer|train": train, "trainer|valid": valid})

    def stop(run):
        if (run.epoch, run.batch) == (1, 5):
            raise Interrupted

    options = {"batch_size": 3, "steps": 4, "epochs": 3, "schedule": Schedule(1.0, hold=1, decay=0.5)}
    run = Trainer(model, train, valid, on_batch=stop, **options)
    try:
        run.run()
    except Interrupted:
        model.save_checkpoint(path("checkpoint-trainer"), run.position())


def seq2seq():
    sc.set_seed(9)
    letters, digits = "0123456789 abcdefghijklmnopqrstuvwxyz", "0123456789-"
    model = sc.seq2seq.Seq2Seq(letters, digits, units=4, embedding=3, lower=True, max_length=6)
    model.compile(
        optimizers.Adam(0.004, global_clipnorm=1.0), losses.SparseCategoricalCrossentropy(from_logits=True),
        [metrics.SequenceAccuracy("accuracy")],
    )  # fmt: skip
    inputs, _ = next(iter(sc.seq2seq.PairBatches(model, ["21 may"], ["05-21"])))
    model(inputs)
    spread(model)
    model.save(path("model-seq2seq"), experiment="seq2seq")


def ptb_run():
    """A run of ``seqcore run ptb`` that was stopped in its second epoch."""
    words = TEXT.split()
    for part, count in (("train", 60), ("valid", 24), ("test", 24)):
        lines = [" ".join(words[(i * 3 + j) % len(words)] for j in range(5)) for i in range(count)]
        (HERE / f"ptb.{part}.txt").write_text("\n".join(lines) + "\n")
    after = ptb._Run._after_batch

    def stop(run, trainer):
        after(run, trainer)
        if (trainer.epoch, trainer.batch) == (1, 3):
            raise Interrupted

    ptb._Run._after_batch = stop
    with tempfile.TemporaryDirectory() as folder:
        sc.cli.main(["run", "ptb", "--size=test", f"--data={HERE}", "--epochs=3", f"--out={folder}"])
        path("checkpoint-ptb-run").write_bytes(Path(folder, "checkpoint.safetensors").read_bytes())
    ptb._Run._after_batch = after


def words(test):
    """Vocabularies, word vectors in each format, Word2Vec between two passes."""
    vocabulary = Vocabulary.from_tokens(TEXT.split(), specials=["<pad>"], unknown="<unk>")
    vocabulary.save(HERE / "vocabulary-counts.json")
    Vocabulary(["the", "cat", "saw", "dog", "Grüße"]).save(HERE / "vocabulary-plain.json")
    kv = sc.KeyedVectors(numbers(6, 4), ["the", "cat", "Grüße", "a_b", "dog", "x"], [9, 5, 4, 3, 2, 1])
    kv.save(HERE / "vectors-keyed.safetensors")
    kv.save_word2vec_format(HERE / "vectors-text.txt", fvocab=HERE / "vectors-counts.txt")
    kv.save_word2vec_format(HERE / "vectors-binary.bin", binary=True)
    kv.save_word2vec_format(HERE / "vectors-text.txt.gz")
    kv.save_word2vec_format(HERE / "vectors-binary.bin.gz", binary=True)
    kv.save_word2vec_format(HERE / "vectors-glove.txt", write_header=False)

    for name, options in (
        ("word2vec-skipgram", {"sg": 1}), ("word2vec-cbow", {"sg": 0}), ("word2vec-nce", {"sg": 1, "loss": "nce"}),
    ):  # fmt: skip
        model = sc.Word2Vec(vector_size=6, min_count=1, epochs=3, workers=1, negative=3, **options)
        model.build_vocab(test.sentences())

        def stop(progress):
            if progress.epoch == 1:
                raise KeyboardInterrupt

        try:
            model.train(test.sentences(), on_progress=stop, checkpoint=path(name))
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    assert sc.info()["isa"] == "base"
    test = tests()
    layer_models()
    unreadable = time_distributed(test)
    own_models(test)
    experiments()
    ptb_run()
    words(test)
    np.savez_compressed(HERE / "inputs.npz", **INPUTS)
    test.CASES = test.cases()
    test.main(HERE / "expected.npz")
    values = dict(np.load(HERE / "expected.npz")) | unreadable
    del values["model-time-distributed.safetensors|error"]
    assert not [key for key in values if key.endswith("|error")]
    np.savez_compressed(HERE / "expected.npz", **values)
