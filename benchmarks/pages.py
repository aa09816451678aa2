"""``python -m benchmarks.pages``: write the tables of README.md and docs/ from the records in benchmarks/results.

A table is between ``<!-- record: NAME -->`` and ``<!-- end -->``. NAME is a record, whose table is that of
``benchmarks.tables``; or one of BLOCKS, which combine several; or a block of the same name in benchmarks/templates, for
the records of ``benchmarks.reproduce``. There ``{RUN.metric:FORMAT}`` is a number of the record NAME, and
``{OTHER/RUN.metric:FORMAT}`` one of another (:mod:`benchmarks.spread`). ``--check`` writes nothing and ends with status
1 where a page and its records differ.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from seqcore.distributed import Network, exchange_seconds

from . import scaling
from .cases import KINDS, Case
from .everything import PARTS
from .jobs import JOBS
from .records import read_records
from .report import machine, processor, row_of, time_of
from .spread import Runs, Values
from .tables import NAMES, best_peer, geometric_mean, markdown, ratio, section

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))))
_BLOCK = re.compile(r"(<!-- record: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Record = Mapping[str, Any]
Records = Mapping[str, Record]


def _source(record: Record) -> str:
    """Machine and command of a record in one line."""
    where = f"{processor(record)}, {record['isa']}, {record['threads']} threads, {str(record['date'])[:10]}"
    return f"{where}, commit {record['commit']}: `{record['command']}`"


def networks(records: Records) -> list[str]:
    """The core against the same networks in NumPy."""
    record = records["recurrent"]
    rows, lines = record["rows"], []
    for case in dict.fromkeys(row["case"] for row in rows):
        ours, numpy = (row_of(rows, case=case, measure="train", contender=name) for name in ("seqcore", "numpy"))
        if ours is not None and numpy is not None:
            lines.append([case, time_of(ours["min_us"]), time_of(numpy["min_us"]), ratio(numpy, ours)])
    return [*markdown(["training step", "seqcore", "NumPy", "ratio"], lines), "", _source(record)]


def _rates(record: Record, contender: str, key: str) -> list[float]:
    return [row[key] for row in record["rows"] if row["contender"] == contender]


def words(records: Records) -> list[str]:
    """Speeds of Word2Vec and gensim, and of the NCE step and TensorFlow: the best round and the median."""
    lines, sources = [], []
    for name, title, peer, key, unit in (
        ("word2vec-skipgram", "Word2Vec, skip-gram", "gensim", "words_per_second", "words/s"),
        ("word2vec-cbow", "Word2Vec, CBOW", "gensim", "words_per_second", "words/s"),
        ("sampled", "training step by NCE", "tensorflow", "steps_per_second", "steps/s"),
    ):
        ours, theirs = (_rates(records[name], contender, key) for contender in ("seqcore", peer))
        best, best_of_peer = max(ours), max(theirs)
        other = f"{best_of_peer:,.0f} ({NAMES.get(peer, peer)})"
        line = [f"{title}, {unit}", f"{best:,.0f}", f"{median(ours):,.0f}", other, f"{median(theirs):,.0f}"]
        lines.append([*line, f"{best / best_of_peer:.2f}"])
        sources += [_source(records[name]), ""]
    return [*markdown(["", "seqcore", "median", "peer", "its median", "ratio"], lines), "", *sources]


def torch_layers(records: Records) -> list[str]:
    """Training steps of the layers for PyTorch and of PyTorch's own, and the cost of a call with nothing to compute."""
    record = records["torch_layers"]
    rows, lines, found = record["rows"], [], {False: list[float](), True: list[float]()}
    for case in dict.fromkeys(row["case"] for row in rows if row["measure"] == "train"):
        line = [case]
        for packed in (False, True):
            wanted = {"case": case, "measure": "train", "packed": packed}
            ours, torch = (row_of(rows, contender=name, **wanted) for name in ("seqcore", "torch"))
            if ours is None or torch is None:
                line += [""] * 3
                continue
            line += [time_of(ours["min_us"]), time_of(torch["min_us"]), ratio(torch, ours)]
            found[packed].append(torch["min_us"] / ours["min_us"])
        lines.append(line)
    means = ["geometric mean"]
    for packed in (False, True):
        means += ["", "", f"{geometric_mean(found[packed]):.2f}"]
    columns = ["training step", "seqcore", "PyTorch", "ratio", "packed: seqcore", "PyTorch", "ratio"]
    us = {row["contender"]: row["min_us"] for row in rows if row["measure"] == "gradients"}
    least = (
        f"With four units a forward and a backward pass take {us['seqcore']:.0f} us, in PyTorch {us['torch']:.0f} us. "
        f"Without the module around it the operator takes {us['seqcore, operator']:.0f} us, one of the same signature "
        f"that only allocates its results {us['empty operator']:.0f} us."
    )
    return [*markdown(columns, [*lines, means]), "", least, "", _source(record)]


def readme(records: Records) -> list[str]:
    """Six rows for the README."""
    rows = records["recurrent"]["rows"]
    train = [row for row in rows if row["measure"] == "train"]
    ours = row_of(train, case="imdb/LSTM", contender="seqcore")
    numpy = row_of(train, case="imdb/LSTM", contender="numpy")
    peer = best_peer(train, "imdb/LSTM", "train")
    assert ours is not None and numpy is not None and peer is not None
    ratios = []
    for row in train:
        other = best_peer(train, row["case"], "train")
        if row["contender"] == "seqcore" and other is not None:
            ratios.append(other["min_us"] / row["min_us"])
    ptb = records["ptb"]["rows"]
    small, torch = (row_of(ptb, case="small/LSTM", contender=name) for name in ("seqcore", "torch"))
    stream = records["stream"]["rows"]
    step, onnx = (row_of(stream, case="stream-64/LSTM", contender=name) for name in ("seqcore", "onnxruntime"))
    assert small is not None and torch is not None and step is not None and onnx is not None
    vectors = [max(_rates(records["word2vec-skipgram"], name, "words_per_second")) for name in ("seqcore", "gensim")]
    size = "LSTM of two layers, batch 128, 80 steps, 100 inputs, 64 units: one training step"
    lines = [
        [size, time_of(ours["min_us"]), f"NumPy {time_of(numpy['min_us'])}", ratio(numpy, ours)],
        ["the same", time_of(ours["min_us"]), f"{NAMES[peer['library']]} {time_of(peer['min_us'])}", ratio(peer, ours)],
        [
            f"training steps of {len(ratios)} networks of the books (geometric mean; least)",
            "",
            "fastest of PyTorch, TensorFlow, JAX",
            f"{geometric_mean(ratios):.2f}; {min(ratios):.2f}",
        ],
        [
            "small Penn Treebank model, words/s",
            f"{small['words_per_second']:,.0f}",
            f"PyTorch {torch['words_per_second']:,.0f}",
            ratio(torch, small),
        ],
        [
            "Word2Vec, skip-gram, words/s",
            f"{vectors[0]:,.0f}",
            f"gensim {vectors[1]:,.0f}",
            f"{vectors[0] / vectors[1]:.1f}",
        ],
        [
            "one step of a streaming LSTM, p50",
            f"{step['median_us']:.2f} us",
            f"ONNX Runtime {onnx['median_us']:.2f} us",
            f"{onnx['median_us'] / step['median_us']:.1f}",
        ],
    ]
    about = f"{machine(records['recurrent'])} (the stream: {records['stream']['threads']}); peak "
    about += f"{records['recurrent']['peak_gflops']:.0f} GFLOP/s."
    return [*markdown(["what", "seqcore", "compared with", "ratio"], lines), "", about]


def quality(records: Records) -> list[str]:
    """Analogies and correlations of Word2Vec and gensim: mean, and least to largest of the seeds."""
    tests = {
        "analogies": "analogies",
        "EN-WS-353-ALL": "WordSim-353",
        "EN-MEN-TR-3k": "MEN",
        "EN-SIMLEX-999": "SimLex-999",
    }
    lines = []
    for name, contender, title in (
        ("quality-skipgram", "seqcore", "skip-gram, seqcore"),
        ("quality-skipgram", "gensim", "skip-gram, gensim"),
        ("quality-cbow", "seqcore", "CBOW, seqcore"),
        ("quality-cbow-decay", "seqcore", "CBOW, seqcore with gensim's rates"),
        ("quality-cbow", "gensim", "CBOW, gensim"),
    ):
        rates = {test: Values(_rates(records[name], contender, test)) for test in tests}
        lines.append([title, *(f"{values:.3f|range}" for values in rates.values())])
    names = ("quality-skipgram", "quality-cbow", "quality-cbow-decay")
    sources = [line for name in names for line in ("", _source(records[name]))]
    return [*markdown(["", *tests.values()], lines), *sources]


def accuracy(records: Records) -> list[str]:
    """Deviations of the core from the float64 reference, forward and backward, by instruction set."""
    record = records["accuracy"]
    isas = list(dict.fromkeys(row["isa"] for row in record["rows"]))
    lines: dict[str, list[str]] = {}
    for row in record["rows"]:
        name = f"{row['cell']}, {row['dtype']}"
        lines.setdefault(name, [name]).append(f"{row['forward']:.1e} / {row['backward']:.1e}")
    return [*markdown(["", *isas], lines.values()), "", _source(record)]


def distributed(records: Records) -> list[str]:
    """Steps of one process, and of processes that share the batch."""
    record = records["distributed"]
    rows, lines = record["rows"], []
    several = max(row["processes"] for row in rows)
    for case in dict.fromkeys(row["case"] for row in rows):
        alone, threads, processes = (
            row_of(rows, case=case, processes=number, threads=threads)
            for number, threads in ((1, 1), (1, several), (several, 1))
        )
        assert alone is not None and threads is not None and processes is not None
        times = [time_of(row["min_us"]) for row in (alone, threads, processes)]
        lines.append([case, *times, ratio(alone, processes)])
    titles = ["one process", f"one process, {several} threads", f"{several} processes", "speed-up by processes"]
    return [*markdown(["step of the whole batch", *titles], lines), "", _source(record)]


def distributed_cost(records: Records) -> list[str]:
    """The formula of the exchange over networks, for the measured steps."""
    record = records["distributed"]
    networks = {"1 Gbit/s": Network(125e6, 50e-6), "10 Gbit/s": Network(1.25e9, 20e-6)}
    networks["100 Gbit/s"] = Network(12.5e9, 5e-6)
    lines = []
    for case in dict.fromkeys(row["case"] for row in record["rows"]):
        row = row_of(record["rows"], case=case, processes=1, threads=record["threads"])
        assert row is not None
        touched = {int(number): rows for number, rows in row["touched_rows"].items()}
        for computers in sorted(touched.keys() - {1}):
            cells = []
            for network in networks.values():
                slices = touched[computers] * row["row_bytes"]
                exchange = exchange_seconds(network, computers, row["dense_bytes"], slices, touched[1])
                whole = row["min_us"] + 1e6 * exchange
                cells.append(f"{time_of(whole)}, {row['min_us'] / whole:.0%}")
            lines.append([case, str(computers), *cells])
    return [*markdown(["step", "computers", *networks], lines), "", _source(record)]


def keras_layers(records: Records) -> list[str]:
    """Keras's training of the film reviews with its own layers and with those of interop.keras, per backend."""
    record = records["keras_layers"]
    epoch = 25_000 / 128 / 1000  # batches of 128 reviews; the figures are milliseconds
    lines = []
    for backend in dict.fromkeys(row["backend"] for row in record["rows"]):
        for cell in dict.fromkeys(row["cell"] for row in record["rows"]):
            ours, theirs = (
                next(
                    row["ms_per_batch"]
                    for row in record["rows"]
                    if (row["backend"], row["cell"], row["contender"]) == (backend, cell, contender)
                )
                for contender in ("seqcore", "keras")
            )
            seconds = [f"{min(turns) * epoch:.1f} / {median(turns) * epoch:.1f}" for turns in (ours, theirs)]
            ratios = f"{min(theirs) / min(ours):.2f} / {median(theirs) / median(ours):.2f}"
            lines.append([f"{NAMES.get(backend, backend)}, {cell}", *seconds, ratios])
    return [*markdown(["", "with seqcore's layers", "with Keras's own", "ratio"], lines), "", _source(record)]


def thread_plan(records: Records) -> list[str]:
    """How the books' LSTM layers divide for 2 to 64 threads: arithmetic, no measurement."""
    counts = (2, 4, 8, 16, 32, 64)
    lines = []
    for name, shape in KINDS["recurrent"].shapes.items():
        case = Case("recurrent", name, "LSTM", shape)
        cells = []
        for threads in counts:
            plan = scaling.shares(case, "train", threads, "avx512")[-1].plan
            loop = "{} x {}".format(*plan["loop"])
            even = scaling.balance(case, "train", threads, "avx512")
            cells.append(f"{loop}, {even:.2f}, {scaling.barriers(case, plan)}")
        lines.append([name, *cells])
    return markdown(["LSTM", *(f"{threads} threads" for threads in counts)], lines)


BLOCKS: dict[str, Callable[[Records], list[str]]] = {
    "readme": readme,
    "networks": networks,
    "words": words,
    "torch_layers": torch_layers,
    "quality": quality,
    "accuracy": accuracy,
    "distributed": distributed,
    "distributed-cost": distributed_cost,
    "keras_layers": keras_layers,
    "thread-plan": thread_plan,
}
# The records that a block needs, and the command that makes them.
_COMMANDS = {
    **{name: f"python -m benchmarks.everything --out benchmarks/results --parts {name}" for name in PARTS},
    "torch_layers": "python -m benchmarks.torch_layers --json benchmarks/results/torch_layers.json",
    "accuracy": "python -m tests.helpers.accuracy_table",
    "distributed": "python -m benchmarks.distributed --json benchmarks/results/distributed.json",
    "quality-skipgram": "python -m benchmarks.word2vec CORPUS --tests DIR --epochs 5 --seeds 1,2,3 --json FILE",
}


class Numbers(dict[str, Runs]):
    """The runs that a template names, by ``RUN`` or ``RECORD/RUN``; ``used`` are the records that they are of."""

    def __init__(self, block: str, records: Records) -> None:
        self._block, self._records = block, records
        self.used: dict[str, None] = {}

    def __missing__(self, key: str) -> Runs:
        name, _, run = key.rpartition("/")
        name = name or self._block
        job = next((job for job in JOBS if job.name == name), None)
        if job is None or run not in job.runs:
            raise ValueError(f"template {self._block}: expected RECORD/RUN of a job, got {key!r}")
        self.used[name] = None
        return Runs(row for row in self._records.get(name, {"rows": []})["rows"] if row["run"] == run)


def read_templates() -> dict[str, str]:
    """The blocks of benchmarks/templates by name."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("templates/*.md"))]
    return {match[2]: match[0][len(match[1]) : -len(match[3])] for text in texts for match in _BLOCK.finditer(text)}


def from_template(name: str, template: str, records: Records) -> list[str]:
    """The lines of a block: its template with the numbers of the records, and a line about each, its own first."""
    numbers = Numbers(name, records)
    try:
        text = template.strip().format_map(numbers)
    except (KeyError, IndexError) as error:
        raise ValueError(f"template {name}: no number {error} in its record") from None
    missing = [used for used in numbers.used if used not in records]
    if name in missing or len(missing) == len(numbers.used):
        return [f"*Not yet recorded: `python -m benchmarks.reproduce --only {','.join(missing)}`.*"]
    if name not in numbers.used:  # a summary of other pages
        return [text]
    named = [name, *sorted(numbers.used.keys() - {name, *missing})]
    return [text, *(line for record in named for line in ("", _source_of_runs(records[record])))]


def _source_of_runs(record: Record) -> str:
    """Machine, commands and seeds of the runs of a record in one line."""
    rows = record["rows"]
    words = [row["command"].rpartition(" --seed ")[0].split(" ") for row in rows]
    differing = [n for n, column in enumerate(zip(*words)) if len(set(column)) > 1]
    # An option stays with its value.
    common = differing[0] - words[0][differing[0] - 1].startswith("--") if differing else min(map(len, words))
    start = " ".join(words[0][:common])
    options = dict.fromkeys(" ".join(line[common:]) for line in words)
    numbers = sorted({row["seed"] for row in rows})
    is_range = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    seeds = f"{numbers[0]} to {numbers[-1]}" if is_range else ", ".join(map(str, numbers))
    threads = ", ".join(str(number) for number in sorted({row["threads"] for row in rows}))
    where = f"{record['cpu']}, {record['isa']}, {threads} thread{'' if threads == '1' else 's'}, "
    where += f"{str(record['date'])[:10]}, commit {record['commit']}"
    line = f"{where}: `{start}`"
    if len(options) > 1:
        line += " with " + "; ".join(f"`{option}`" if option else "nothing more" for option in options)
    return f"{line}; seed{'s' * (len(numbers) > 1)} {seeds}."


def filled(text: str, records: Records) -> str:
    """A page with all tables filled in.

    >>> filled("no table", {})
    'no table'
    """
    templates = read_templates()

    def block(match: re.Match[str]) -> str:
        name = match[2]
        needed = {"quality": "quality-skipgram", "distributed-cost": "distributed"}.get(name, name)
        if needed in _COMMANDS and needed not in records:
            return f"{match[1]}\n*Not yet recorded: `{_COMMANDS[needed]}`.*\n\n{match[3]}"
        if name not in {**BLOCKS, **templates, **records}:
            raise ValueError(f"record: expected {', '.join({**BLOCKS, **templates, **records})}, got {name!r}")
        if name in templates:
            lines = from_template(name, templates[name], records)
        else:
            lines = BLOCKS[name](records) if name in BLOCKS else [*section(records[name]), _source(records[name])]
        return match[1] + "\n" + "\n".join(lines).strip() + "\n\n" + match[3]

    return _BLOCK.sub(block, text)


def changes(records: Records) -> dict[str, str]:
    """The pages that differ from the records, as they have to be."""
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    return {page: new for page, text in texts.items() if (new := filled(text, records)) != text}


def write(records: Records) -> None:
    """Write the pages that differ from the records."""
    for page, text in changes(records).items():
        (ROOT / page).write_text(text, encoding="utf-8")
        print(f"written: {page}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m benchmarks.pages``. Returns 0, or 1 where ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description="Tables of the pages from records.")
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args(argv)
    records = read_records()
    if not arguments.check:
        write(records)
        return 0
    differing = changes(records)
    for page in differing:
        print(f"{page}: differs from benchmarks/results; python -m benchmarks.pages writes it", file=sys.stderr)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
