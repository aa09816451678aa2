"""The book's model of film reviews in Keras: with the layers of seqcore.interop.keras, and with Keras's own.

    python -m benchmarks.keras_layers --rounds 3

10,000 words, 80 time steps, batches of 128, Embedding 100, two layers of 64 units with dropout 0.5, Adam, by ``fit``;
the ids are random. Each backend has a process, in which the contenders take turns. A backend is left out where it is
not installed; ``--python tensorflow=INTERPRETER`` names another one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

BACKENDS = ("torch", "tensorflow", "jax")
CELLS = ("SimpleRNN", "LSTM", "GRU")
WORDS, STEPS, BATCH, FEATURES, UNITS = 10_000, 80, 128, 100, 64


def limit_threads(backend: str, threads: int) -> None:
    """Let the backend and the core use so many threads; JAX has no such setting."""
    import seqcore as sc

    sc.set_num_threads(threads)
    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    elif backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)


def reviews_model(layer: Any) -> Any:
    """The compiled model with one kind of layer."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((STEPS,), dtype="int32"),
            keras.layers.Embedding(WORDS, FEATURES),
            layer(UNITS, dropout=0.5, return_sequences=True),
            layer(UNITS, dropout=0.5),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
    return model


def measure(backend: str, cells: list[str], rounds: int, batches: int, threads: int) -> dict[str, Any]:
    """Milliseconds per batch of each turn, in the backend's process."""
    limit_threads(backend, threads)
    import keras

    from seqcore.interop.keras import layers

    rng = np.random.default_rng(0)
    ids = rng.integers(0, WORDS, (batches * BATCH, STEPS)).astype("int32")
    labels = rng.integers(0, 2, len(ids)).astype("float32")
    rows = []
    for cell in cells:
        models = {"seqcore": reviews_model(getattr(layers, cell)), "keras": reviews_model(getattr(keras.layers, cell))}
        for model in models.values():
            model.fit(ids[: 2 * BATCH], labels[: 2 * BATCH], batch_size=BATCH, verbose=0)
        times: dict[str, list[float]] = {contender: [] for contender in models}
        for _ in range(rounds):
            for contender, model in models.items():
                begin = time.perf_counter()
                model.fit(ids, labels, batch_size=BATCH, verbose=0)
                times[contender].append((time.perf_counter() - begin) * 1000 / batches)
        rows += [
            {"backend": backend, "cell": cell, "contender": contender, "ms_per_batch": turns}
            for contender, turns in times.items()
        ]
    versions = {name: importlib.import_module(name).__version__ for name in ("keras", backend)}
    return {"rows": rows, "versions": versions}


def report(ours: list[float], theirs: list[float]) -> str:
    """The best turns of both, and their ratio."""
    best, middle = (f(theirs) / f(ours) for f in (min, median))
    return f"{min(ours):6.1f} ms a batch, Keras's own {min(theirs):6.1f}: {best:.2f} times (medians {middle:.2f})"


def main() -> int:
    """Measure and print one line per backend and cell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_layers", description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=20, help="of one turn (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--python", action="append", default=[], metavar="BACKEND=INTERPRETER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    rows: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    for backend in BACKENDS:
        if backend not in interpreters and importlib.util.find_spec(backend) is None:
            print(f"left out: {backend}: not installed")
            continue
        given = (arguments.rounds, arguments.batches, arguments.threads)
        call = [interpreters.get(backend, sys.executable), __file__, "--turns", backend, *map(str, given)]
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([*call, *arguments.cells], check=True, stdout=subprocess.PIPE, text=True, env=environment)
        result = json.loads(done.stdout.splitlines()[-1])
        rows += result["rows"]
        versions |= result["versions"]
        for ours, theirs in zip(result["rows"][::2], result["rows"][1::2]):
            print(f"{backend:10} {ours['cell']:9} {report(ours['ms_per_batch'], theirs['ms_per_batch'])}", flush=True)
    if arguments.json:
        # Here, since this file also runs in a backend's interpreter, which may lack the package.
        from benchmarks.records import write_record
        from benchmarks.runner import machine_facts

        command = f"python -m benchmarks.keras_layers --rounds {arguments.rounds} --batches {arguments.batches}"
        facts = {**machine_facts(arguments.threads), "versions": versions}
        write_record(arguments.json, command, {**facts, "rows": rows})
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--turns"]:
        turns, batches_each, thread_count = map(int, sys.argv[3:6])
        print(json.dumps(measure(sys.argv[2], sys.argv[6:], turns, batches_each, thread_count)))
    else:
        sys.exit(main())
