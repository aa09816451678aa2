"""Trainings that go wrong in one process; run by test_faults.py: ``python faults_program.py FILE FAULT FOLDER``.

FAULT is an entry of ``FAULTS``, "batches", "none", or "alone" for one process without MPI. Without a fault, or with one
that comes late, FOLDER holds the backups of a stateful model; "-" is none. At the end the first process writes the
final weights.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import seqcore as sc
from seqcore import callbacks
from seqcore._core import system
from tests.distributed.training_program import IDS, NEXT, ragged, stateful


class At(callbacks.Callback):
    """Does something in rank 1 after so many batches."""

    def __init__(self, batches, action):
        self.left, self.action = batches, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


def fail():
    raise RuntimeError("the disk\nis full")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def change_version():
    system.__version__ = "0.0.1"


def other_data(model, options):
    options["x"] = IDS + (np.arange(43) == 40)[:, None]


def batch_size(model, options):
    options["batch_size"] = 8


def optimizer(model, options):
    model.optimizer.learning_rate = 0.5


def bad_argument(model, options):
    options["epochs"] = "many"


def other_weights(model, options):
    model.layers[-1].units = 41


FAULTS = {
    "fails": lambda model, options: options["callbacks"].append(At(17, fail)),
    "is killed": lambda model, options: options["callbacks"].append(At(17, kill)),
    "version": lambda model, options: change_version(),
    "data": other_data,
    "batch size": batch_size,
    "optimizer": optimizer,
    "weights": other_weights,
    "argument": bad_argument,
}


def main(path, fault, folder):
    comm, rank = None, 0
    if fault != "alone":
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
        rank = comm.rank
    sc.set_floatx("float64")
    sc.random.set_seed(11)
    resumes = folder != "-"
    model, options = (stateful if resumes else ragged)()
    given = options["callbacks"] = list(options.get("callbacks", ()))
    if fault == "batches":
        # An iterable of the same batches, except in rank 1.
        options = {"x": [(IDS[:8], NEXT[:8]), (IDS[8:], NEXT[8:] * (rank != 1))]}
    elif fault in FAULTS and rank == 1:
        FAULTS[fault](model, options)
    if resumes:
        # Rank 1 has its folder on another computer.
        own = folder if rank == 0 else f"{folder}-of-rank-{rank}"
        given.append(callbacks.BackupAndRestore(own, save_freq=3))
    model.fit(**options, verbose=0, distribute=comm)
    if rank == 0:
        Path(path).write_text(json.dumps([array.tolist() for array in model.get_weights()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
