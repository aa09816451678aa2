"""The training step of the book's word2vec, by noise-contrastive estimation, against TensorFlow.

    python -m benchmarks.sampled --rounds 3

50,000 words, 128 dimensions, batches of 128, 64 noise words, SGD with learning rate 1.0; words and contexts follow
Zipf's law. Contenders take turns, each in its own process. TensorFlow is left out where it is not installed;
``--python tensorflow=INTERPRETER`` names another one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

CONTENDERS = ("seqcore", "tensorflow")
WORDS, SIZE, BATCH, SAMPLED, RATE = 50_000, 128, 128, 64, 1.0


def seqcore_step(start: list[Any], threads: int) -> Callable[[Any, Any], Any]:
    """One step under a tape."""
    import seqcore as sc

    sc.set_num_threads(threads)
    table = sc.layers.Embedding(WORDS, SIZE, weights=start[0])
    table.build((None,))
    weights, biases = sc.Variable(start[1]), sc.Variable(start[2])
    variables, optimizer = [*table.trainable_variables, weights, biases], sc.optimizers.SGD(RATE)

    def step(words: Any, contexts: Any) -> Any:
        with sc.GradientTape() as tape:
            loss = sc.reduce_mean(sc.nce_loss(weights, biases, contexts, table(words), SAMPLED, WORDS))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    return step


def tensorflow_step(start: list[Any], threads: int) -> Callable[[Any, Any], Any]:
    """One step as a graph that updates only the used rows."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    table, weights, biases = variables = [tf.Variable(value) for value in start]

    @tf.function  # type: ignore[untyped-decorator]
    def step(words: Any, contexts: Any) -> Any:
        with tf.GradientTape() as tape:
            inputs = tf.nn.embedding_lookup(table, words)
            loss = tf.reduce_mean(tf.nn.nce_loss(weights, biases, contexts, inputs, SAMPLED, WORDS))
        for variable, gradient in zip(variables, tape.gradient(loss, variables)):
            variable.scatter_sub(tf.IndexedSlices(RATE * gradient.values, gradient.indices))
        return loss

    return cast(Callable[[Any, Any], Any], step)


def turn(contender: str, steps: int, threads: int) -> float:
    """Steps per second, in the contender's process."""
    rng = np.random.default_rng(0)
    start = [
        rng.uniform(-1, 1, (WORDS, SIZE)).astype("float32"),
        rng.normal(0, SIZE**-0.5, (WORDS, SIZE)).astype("float32"),
        np.zeros(WORDS, "float32"),
    ]
    zipf = 1.0 / np.arange(1, WORDS + 1)
    words, contexts = (rng.choice(WORDS, (steps, BATCH), p=zipf / zipf.sum()).astype("int64") for _ in range(2))
    contexts = contexts[..., None]
    step = (seqcore_step if contender == "seqcore" else tensorflow_step)(start, threads)
    for i in range(min(20, steps)):
        step(words[i], contexts[i])
    begin = time.perf_counter()
    for i in range(steps):
        loss = step(words[i], contexts[i])
    rate = steps / (time.perf_counter() - begin)
    if not np.isfinite(float(np.asarray(loss))):
        raise FloatingPointError(f"the loss became {loss}")
    return rate


def main() -> int:
    """Measure and print one line per turn, then the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampled", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="of one turn (default 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=INTERPRETER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    names = list(CONTENDERS)
    if "tensorflow" not in interpreters and importlib.util.find_spec("tensorflow") is None:
        print("left out: tensorflow: not installed")
        names.remove("tensorflow")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            call = [interpreters.get(name, sys.executable), __file__, "--turn", name]
            call += [str(arguments.steps), str(arguments.threads)]
            done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
            rates[name].append(float(done.stdout.splitlines()[-1]))
            print(f"{name:10} {rates[name][-1]:,.0f} steps/s", flush=True)
    if len(names) == 2:
        best, middle = (f(rates["seqcore"]) / f(rates["tensorflow"]) for f in (max, median))
        print(f"seqcore makes {best:.2f} times TensorFlow's steps (best turns; medians {middle:.2f})")
    if arguments.json:
        # Here, since this file also runs in a peer's interpreter, which lacks the package.
        from benchmarks.records import write_record
        from benchmarks.runner import machine_facts

        command = f"python -m benchmarks.sampled --rounds {arguments.rounds} --steps {arguments.steps}"
        rows = [{"contender": name, "steps_per_second": rate} for name in names for rate in rates[name]]
        write_record(arguments.json, command, {**machine_facts(arguments.threads), "rows": rows})
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--turn"]:
        print(turn(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        sys.exit(main())
