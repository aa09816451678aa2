"""Numbers that rise when results change in their last bits, one per family of kernels.

    python -m benchmarks.bits                      # compares the hashes with benchmarks/bits.json
    python -m benchmarks.bits --write              # raises the number of each family whose hash differs
    python -m benchmarks.bits --write recurrent    # and of those that are named

A record keeps the numbers that it was made with; ``python -m benchmarks.reproduce --stale`` compares them. A hash is of
the weights after three training steps, for each instruction set. The bits of one instruction set are the same for any
number of threads, but another compiler may round differently: hashes are compared only with those of the same one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import seqcore as sc
from seqcore import _core
from seqcore.experiments._run import write_json

FILE = Path(__file__).with_suffix(".json")
STEPS, WORDS = 3, 40


def _train(*layers: Any, optimizer: Any = None, loss: Any = None, mask_zero: bool = False) -> list[Any]:
    """Weights of a model of words after three steps on the same batch."""
    sc.set_seed(1)
    model = sc.Sequential([sc.layers.Embedding(WORDS, 9, mask_zero=mask_zero), *layers, sc.layers.Dense(WORDS)])
    model.compile(
        optimizer or sc.optimizers.SGD(0.5), loss or sc.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, WORDS, (2, 5, 7))
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return list(model.get_weights())


def _cell(make: Any, units: int = 17, **options: Any) -> Any:
    return make(units, return_sequences=True, recurrent_initializer="glorot_uniform", **options)


class _Attend(sc.layers.Layer):
    """Attention of each step over all."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = sc.layers.AdditiveAttention()

    def call(self, inputs: Any) -> Any:
        return self.attention([inputs, inputs])


def recurrent() -> Iterable[Any]:
    """Each cell, in both directions, in bfloat16, with several blocks of units, dropout and a mask; attention."""
    for make in (sc.layers.SimpleRNN, sc.layers.LSTM, sc.layers.GRU):
        yield from _train(_cell(make), _cell(make, dtype="mixed_bfloat16"))
        yield from _train(sc.layers.Bidirectional(_cell(make)))
        yield from _train(_cell(make, 70, dropout=0.2), sc.layers.Dropout(0.3), mask_zero=True)
    yield from _train(_cell(sc.layers.LSTM), sc.layers.LayerNormalization(), _Attend())
    yield from _train(sc.layers.ContextRNN(17, 6, return_sequences=True, recurrent_initializer="glorot_uniform"))


def sampled() -> Iterable[Any]:
    """The two losses over sampled words."""
    for loss in (sc.losses.NCELoss, sc.losses.SampledSoftmaxLoss):
        yield from _train(sc.layers.Dense(17, "tanh"), loss=loss(11))


def optimizer() -> Iterable[Any]:
    """Each optimizer, with clipped gradients."""
    for make in (sc.optimizers.SGD, sc.optimizers.RMSprop, sc.optimizers.Adam, sc.optimizers.Adagrad):
        yield from _train(optimizer=make(0.1, global_clipnorm=0.5))
    yield from _train(optimizer=sc.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=0.5))


def word2vec() -> Iterable[Any]:
    """Skip-gram and CBOW."""
    rng = np.random.default_rng(3)
    sentences = [[str(word) for word in row] for row in rng.integers(0, WORDS, (50, 12))]
    for skipgram in (0, 1):
        options: dict[str, Any] = {"vector_size": 20, "min_count": 1, "epochs": STEPS, "seed": 1}
        yield sc.Word2Vec(sentences, sg=skipgram, deterministic=True, **options).wv.vectors


FAMILIES: dict[str, Callable[[], Iterable[Any]]] = {
    function.__name__: function for function in (recurrent, sampled, word2vec, optimizer)
}


def hash_of(family: str) -> str:
    """A hash of the weights that the training steps of a family end with, on the instruction set in use."""
    digest = hashlib.sha256()
    for array in FAMILIES[family]():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def hashes() -> dict[str, dict[str, str]]:
    """Hashes by family and instruction set, each set in a process of its own."""
    result: dict[str, dict[str, str]] = {family: {} for family in FAMILIES}
    isas = _core.system.info()["isas"]
    # Attention and RNN-CF multiply with NumPy, and OpenBLAS would choose its kernels by the processor.
    blas = {"OPENBLAS_CORETYPE": "Haswell"} if "avx2" in isas else {}
    for isa in isas:
        words = [sys.executable, "-W", "ignore", "-m", "benchmarks.bits", "--this"]
        env = {**os.environ, **blas, "SEQCORE_ISA": isa, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
        for family, value in json.loads(done.stdout).items():
            result[family][isa] = value
    return result


def place() -> str:
    """The compiler and the kind of processor, which the hashes hold for."""
    return f"{platform.machine()}, {_core.system.info()['compiler']}"


def read() -> dict[str, Any]:
    """The numbers and hashes on file."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def numbers() -> dict[str, int]:
    """The number of each family."""
    return {family: int(read()["families"][family]["number"]) for family in FAMILIES}


def moved(on_file: dict[str, Any], now: dict[str, dict[str, str]]) -> list[str]:
    """Families whose hashes differ from those on file, of the instruction sets that both have."""
    known = {family: on_file["families"].get(family, {}).get("hashes", {}) for family in now}
    return [
        family
        for family, of_isa in now.items()
        if any(of_isa[isa] != known[family][isa] for isa in of_isa.keys() & known[family].keys())
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m benchmarks.bits``. Returns 1 where bits have moved and no number was raised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bits", description="Numbers of the bits of results.")
    parser.add_argument("--write", nargs="*", choices=tuple(FAMILIES), help="raise the numbers of what has moved")
    parser.add_argument("--this", action="store_true", help="print the hashes of the instruction set in use")
    arguments = parser.parse_args(argv)
    if arguments.this:
        print(json.dumps({family: hash_of(family) for family in FAMILIES}))
        return 0
    on_file, now = read(), hashes()
    changed = moved(on_file, now) if on_file["place"] == place() else []
    if arguments.write is None:
        print("\n".join(f"{family}: the bits have moved" for family in changed) or "no bits have moved")
        return bool(changed)
    for family in {*changed, *arguments.write}:
        on_file["families"][family]["number"] += 1
    for family, of_isa in now.items():
        kept = {} if family in changed or on_file["place"] != place() else on_file["families"][family]["hashes"]
        on_file["families"][family]["hashes"] = {**kept, **of_isa}
    write_json(FILE, {**on_file, "place": place()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
