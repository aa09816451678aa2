"""Word2Vec against gensim on a text file: speed of vocabulary and training, and quality of the vectors.

    python -m benchmarks.word2vec corpus.txt --tests DIR --epochs 5 --seeds 1,2,3

The text has one sentence per line. DIR holds ``questions-words.txt`` (analogies, asked among the 30,000 most frequent
words) and files of word pairs with human scores (``*.txt``, ``*.tsv``; Spearman's correlation). Contenders take turns,
each in its own process. gensim is left out where it is not installed; ``--python gensim=INTERPRETER`` names
another one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

CONTENDERS = ("seqcore", "gensim")
_RESTRICT = 30_000


def train(contender: str, settings: dict[str, Any], corpus: str, vectors: str) -> dict[str, float]:
    """Run in the contender's process: seconds of vocabulary and training, words of the text; write the vectors."""
    threads, epochs, gensim_decay = (settings.pop(key) for key in ("threads", "epochs", "gensim_decay"))
    settings |= {"workers": threads, "min_count": 5}
    if contender == "seqcore":
        import seqcore

        seqcore.set_num_threads(threads)
        model: Any = seqcore.Word2Vec(**settings)
    else:
        from gensim.models import Word2Vec

        model = Word2Vec(**settings)
    begin = time.perf_counter()
    encoded = model.build_vocab(corpus_file=corpus)
    middle = time.perf_counter()
    if contender == "gensim":
        totals = {"total_words": model.corpus_total_words, "total_examples": model.corpus_count}
        model.train(corpus_file=corpus, epochs=epochs, **totals)
    elif gensim_decay:
        high, fall = model.settings.alpha, (model.settings.alpha - model.settings.min_alpha) / epochs
        for epoch in range(epochs):
            first, last = high - fall * epoch, high - fall * (epoch + 1 / threads)
            model.train(encoded, epochs=1, start_alpha=first, end_alpha=last)
    else:
        model.train(encoded, epochs=epochs)
    end = time.perf_counter()
    model.wv.save_word2vec_format(vectors, binary=True)
    words = model.corpus_total_words
    return {
        "vocabulary_seconds": middle - begin,
        "training_seconds": end - middle,
        "words_per_second": epochs * words / (end - middle),
    }


def evaluate(vectors: str, tests: Path) -> dict[str, float]:
    """Analogy accuracy and correlations, by file."""
    from seqcore import KeyedVectors

    kv = KeyedVectors.load_word2vec_format(vectors, binary=True)
    scores = {}
    for path in sorted(tests.glob("*.t[xs][tv]")):
        if path.name == "questions-words.txt":
            scores["analogies"] = kv.evaluate_word_analogies(path, _RESTRICT)[0]
        else:
            scores[path.stem] = kv.evaluate_word_pairs(path)[1][0]
    return scores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.word2vec", description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="text file, one sentence per line")
    parser.add_argument("--tests", type=Path, metavar="DIR", help="folder of questions-words.txt and word pairs")
    parser.add_argument("--architecture", choices=("skipgram", "cbow"), default="skipgram")
    for option, default, kind in (
        ("--size", 100, int),
        ("--window", 5, int),
        ("--negative", 5, int),
        ("--sample", 1e-4, float),
        ("--epochs", 1, int),
        ("--threads", 2, int),
        ("--max-final-vocab", None, int),
    ):
        parser.add_argument(option, type=kind, default=default, help=f"default {default}")
    parser.add_argument(
        "--gensim-decay",
        action="store_true",
        help="seqcore takes the learning rates that gensim 4 really uses when it reads a file with several workers: in "
        "each pass they fall by 1/workers of what is documented, as each worker sets its own words against all words",
    )
    parser.add_argument("--seeds", default="1", help="joined by commas; one turn each (default 1)")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="default seqcore,gensim")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=INTERPRETER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser


def main() -> int:
    """Measure and print one line per turn, then the means."""
    arguments = _parser().parse_args()
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    names = arguments.contenders.split(",")
    if "gensim" not in interpreters and importlib.util.find_spec("gensim") is None and "gensim" in names:
        print("left out: gensim: not installed")
        names.remove("gensim")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in map(int, arguments.seeds.split(",")):
            for name in names:
                vectors = str(Path(folder) / f"{name}.bin")
                settings = {
                    "vector_size": arguments.size,
                    "window": arguments.window,
                    "negative": arguments.negative,
                    "max_final_vocab": arguments.max_final_vocab,
                    "sample": arguments.sample,
                    "sg": int(arguments.architecture == "skipgram"),
                    "seed": seed,
                    "epochs": arguments.epochs,
                    "threads": arguments.threads,
                    "gensim_decay": arguments.gensim_decay,
                }
                call = [interpreters.get(name, sys.executable), __file__, "--turn", name, json.dumps(settings)]
                done = subprocess.run([*call, arguments.corpus, vectors], check=True, stdout=subprocess.PIPE, text=True)
                row = {"contender": name, "seed": seed, **json.loads(done.stdout.splitlines()[-1])}
                row |= evaluate(vectors, arguments.tests) if arguments.tests else {}
                rows.append(row)
                print(_line(row), flush=True)
    for name in names:
        of_name = [row for row in rows if row["contender"] == name]
        keys = [key for key in of_name[0] if key not in ("contender", "seed")]
        print(_line({"contender": name, "seed": "mean", **{key: mean(row[key] for row in of_name) for key in keys}}))
    if len(names) == 2:
        rates = [[row["words_per_second"] for row in rows if row["contender"] == name] for name in names]
        ratios = max(rates[0]) / max(rates[1]), median(rates[0]) / median(rates[1])
        print(f"{names[0]} trains {ratios[0]:.2f} times as fast as {names[1]} (best turns; medians {ratios[1]:.2f})")
    if arguments.json:
        # Here, since this file also runs in a peer's interpreter, which lacks the package.
        from benchmarks.records import write_record
        from benchmarks.runner import machine_facts

        epochs = f"--architecture {arguments.architecture} --epochs {arguments.epochs} --seeds {arguments.seeds}"
        command = f"python -m benchmarks.word2vec CORPUS{' --tests DIR' if arguments.tests else ''} {epochs}"
        command += " --gensim-decay" * arguments.gensim_decay
        command += f" --contenders {arguments.contenders}" * (arguments.contenders != ",".join(CONTENDERS))
        write_record(arguments.json, command, {**machine_facts(arguments.threads), "rows": rows})
    return 0


def _line(row: dict[str, Any]) -> str:
    start = f"{row['contender']:8} seed {row['seed']}: vocabulary {row['vocabulary_seconds']:.2f} s, training "
    start += f"{row['training_seconds']:.2f} s, {row['words_per_second']:,.0f} words/s"
    known = ("contender", "seed", "vocabulary_seconds", "training_seconds", "words_per_second")
    return start + "".join(f", {key} {value:.4f}" for key, value in row.items() if key not in known)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--turn"]:
        print(json.dumps(train(sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:6])))
    else:
        sys.exit(main())
