"""Training of several models by one process or by all of MPI; run by test_training.py.

``python training_program.py [--alone] FILE NAME ...`` writes for each model and type the losses after every batch, the
logs of every epoch and the final weights, and a digest of the weights of each process.
"""

import json
import sys
from pathlib import Path

import numpy as np

import seqcore as sc
from seqcore import callbacks, layers, losses, metrics, ops, optimizers
from seqcore.distributed import digest
from seqcore.text import bptt_batches

DATA = np.random.default_rng(0)
IDS = DATA.integers(1, 40, size=(43, 7))
NEXT = DATA.integers(0, 40, size=(43, 7))
LENGTHS = DATA.integers(1, 8, size=43)
VECTORS = DATA.normal(size=(43, 7, 5))
LABELS = DATA.integers(0, 2, size=(43, 1))
WEIGHTS = DATA.uniform(0.5, 2, size=43)
STREAM = DATA.integers(0, 30, size=6 * 61)


def ragged():
    """A language model over rows of different lengths, gradients clipped by their global norm."""
    model = sc.Sequential(
        [
            layers.Embedding(40, 6),
            layers.LSTM(5, return_sequences=True, dropout=0.3, recurrent_dropout=0.2),
            layers.Dropout(0.3),
            layers.Dense(40),
        ]
    )
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizers.Adam(0.02, global_clipnorm=0.1), loss, metrics=["accuracy", metrics.Perplexity(from_logits=True)]
    )
    return model, {
        "x": IDS,
        "y": NEXT,
        "lengths": LENGTHS,
        "batch_size": 9,
        "epochs": 10,
        "validation_data": (IDS[:5], NEXT[:5]),
    }


def masked():
    """A classifier over padded rows, with weights of samples and classes."""
    model = sc.Sequential(
        [
            layers.Embedding(40, 6, mask_zero=True),
            layers.Bidirectional(layers.GRU(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)),
            layers.SimpleRNN(4),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizers.RMSprop(0.01, clipnorm=0.05), "binary_crossentropy", weighted_metrics=["accuracy"])
    ids = np.where(np.arange(7) < LENGTHS[:, None], IDS, 0)
    weights = {"sample_weight": WEIGHTS, "class_weight": {0: 1.0, 1: 1.5}}
    return model, {"x": ids, "y": LABELS, "batch_size": 8, "epochs": 10, "validation_split": 0.2, **weights}


def sampled(loss, optimizer):
    """A language model with a sampled loss: rows of the embedding and columns of the output change alone."""
    model = sc.Sequential([layers.Embedding(40, 6), layers.GRU(5, return_sequences=True), layers.Dense(40)])
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, {"x": IDS, "y": NEXT, "batch_size": 10, "epochs": 10}


def nce():
    return sampled(losses.NCELoss(6, reduction="batch_mean"), optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5))


def sampled_softmax():
    return sampled(losses.SampledSoftmaxLoss(8), optimizers.Adam(0.02, lazy=True))


def stateful():
    """Truncated backpropagation through time from an iterable of batches: the rows of the text are shared out."""
    model = sc.Sequential(
        [
            layers.Embedding(30, 6),
            layers.LSTM(5, return_sequences=True, stateful=True, dropout=0.2),
            layers.GRU(5, return_sequences=True, stateful=True),
            layers.Dense(30),
        ]
    )
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="batch_mean")
    model.compile(optimizers.SGD(0.5, global_clipnorm=1.0), loss)
    batches = bptt_batches(STREAM, 6, 5)

    class Noise(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.reset_states(stddev=0.1 * epoch)

    return model, {"x": batches, "epochs": 5, "callbacks": [Noise()], "validation_data": batches}


def few_rows():
    """Batches with fewer rows than processes, and a loss that is summed."""
    model = sc.Sequential(
        [
            layers.LSTM(4, return_sequences=True, dropout=0.3),
            layers.TimeDistributed(layers.Dense(2)),
            layers.Dropout(0.2),
        ]
    )
    model.compile(optimizers.Adagrad(0.05, clipvalue=0.01), losses.MeanSquaredError(reduction="sum"), metrics=["mae"])
    one_row = VECTORS[:1], VECTORS[:1, :, :2]
    return model, {
        "x": VECTORS[:19],
        "y": VECTORS[:19, :, :2],
        "batch_size": 3,
        "epochs": 8,
        "validation_data": one_row,
    }


class Attending(sc.Model):
    """A model with a loss of its own."""

    def __init__(self):
        super().__init__()
        self.cell, self.attention = layers.LSTMCell(4, dropout=0.3), layers.AdditiveAttention(dropout=0.2)
        self.head = layers.Dense(1)

    def call(self, inputs, training=None):
        state, outputs = self.cell.get_initial_state(inputs.shape[0]), []
        for step in ops.unstack(inputs, axis=1):
            output, state = self.cell(step, state, training)
            outputs.append(output)
        steps = ops.stack(outputs, axis=1)
        return self.head(self.attention([steps, steps], training=training)[:, -1])

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return ops.reduce_mean((y_pred - y) * (y_pred - y))


def own_loss():
    model = Attending()
    model.compile(optimizers.Adam(0.01))
    return model, {"x": VECTORS, "y": VECTORS[:, 0, :1], "batch_size": 12, "epochs": 13}


CASES = {
    "ragged": ragged,
    "masked": masked,
    "nce": nce,
    "sampled softmax": sampled_softmax,
    "stateful": stateful,
    "few rows": few_rows,
    "own loss": own_loss,
}


class Losses(callbacks.Callback):
    """The losses after every batch."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def train(name, dtype, comm=None):
    """Results of a model."""
    sc.set_floatx(dtype)
    # The weights and random numbers of the first process shall be those of all.
    sc.random.set_seed(7 if comm is None else 7 + comm.rank)
    model, options = CASES[name]()
    seen = Losses()
    given = [seen, *options.pop("callbacks", ())]
    history = model.fit(**options, verbose=0, callbacks=given, distribute=comm)
    weights = model.get_weights()
    # The carried states are again those of all rows.
    states = [np.asarray(state) for layer in model.layers for state in getattr(layer, "states", None) or ()]
    mine = digest(*weights, *states, np.array(seen.losses))
    return {
        "losses": seen.losses,
        "history": history.history,
        "weights": [array.tolist() for array in weights],
        "digests": [mine] if comm is None else comm.allgather(mine),
    }


def main(alone, path, *names):
    comm = None
    if not alone:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    results = {f"{name} {dtype}": train(name, dtype, comm) for name in names for dtype in ("float64", "float32")}
    if comm is None or comm.rank == 0:
        Path(path).write_text(json.dumps(results))


if __name__ == "__main__":
    words = sys.argv[1:]
    main("--alone" in words, *(word for word in words if word != "--alone"))
