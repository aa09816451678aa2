"""``seqcore run ptb``: the Penn Treebank LSTM language model, on the treebank or on sentences of known entropy.

Settings and learning-rate schedule are those of W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network
regularization (2014), in the form of the TensorFlow tutorial that the books print.
"""

from __future__ import annotations

import hashlib
import math
import shlex
import time
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import takewhile
from statistics import median
from typing import Any

from .. import Sequential, get_num_threads, info, load_model, saving
from .._validation import MALFORMED, integer, one_line
from ..callbacks import BackupAndRestore, EpochDecay, Logs, ModelCheckpoint, ResetStates
from ..datasets import Corpus, grammar_corpus, load_ptb
from ..distributed import RaisedByAll, Ranks
from ..language_model import ValidationPerplexity, build_model, evaluate_perplexity, generate, perplexity
from ..losses import NCELoss, SampledLoss, SampledSoftmaxLoss
from ..text import bptt_batches
from ..training.stop_signals import StopSignals
from ._plots import by_epoch
from ._run import DISTRIBUTED, Run, choice, data_folder, number, option, override

BEST, LAST, CHECKPOINT = "best.safetensors", "last.safetensors", "checkpoint.safetensors"


@dataclass(frozen=True)
class Settings:
    """One size of the model and how it is trained; the names are the book's where it has one."""

    units: int
    layers: int
    steps: int
    keep_prob: float
    init_scale: float
    clip: float
    hold: int
    epochs: int
    decay: float
    batch_size: int = 20
    learning_rate: float = 1.0


BOOK = {
    "test": Settings(2, 1, 2, 1.0, 0.1, 1.0, hold=1, epochs=1, decay=0.5),
    "small": Settings(200, 2, 20, 1.0, 0.1, 5.0, hold=4, epochs=13, decay=0.5),
    "medium": Settings(650, 2, 35, 0.5, 0.05, 5.0, hold=6, epochs=39, decay=0.8),
    "large": Settings(1500, 2, 35, 0.35, 0.04, 10.0, hold=14, epochs=55, decay=1 / 1.15),
}

LOSSES: dict[str, Any] = {"softmax": None, "nce": NCELoss, "sampled": SampledSoftmaxLoss}

# Built-in text: words of the training part. The book's preset takes as many as the treebank has.
_QUICK_WORDS = {"test": 20_000, "small": 400_000, "medium": 100_000, "large": 50_000}
_BOOK_WORDS = 929_589


OPTIONS = (
    choice("--size", BOOK, "the book's model sizes", "small"),
    choice("--loss", LOSSES, "softmax over all words, noise-contrastive estimation, or over sampled words", "softmax"),
    option("--learning-rate", "the full learning rate of SGD (default: the preset's)", type=float, metavar="X"),
    number("--hold", "epochs at the full learning rate (default: the preset's)"),
    option("--num-sampled", "words sampled for each batch (default: V / 8, at most 512)", type=int, metavar="N"),
    choice(
        "--dtype-policy", ("float32", "mixed_bfloat16"), "mixed: products of bfloat16, if the processor can", "float32"
    ),
    option("--resume", "go on from the checkpoint in --out (default: if unfinished)", action=BooleanOptionalAction),
    option("--checkpoint-minutes", "time between checkpoints inside an epoch", 5.0, type=float, metavar="X"),
    DISTRIBUTED,
)


def settings_of(size: str, preset: str, builtin: bool) -> Settings:
    """The settings of a size: the book's, or with a schedule cut down to minutes.

    >>> settings_of("small", "book", builtin=False).epochs, settings_of("small", "quick", builtin=True).epochs
    (13, 5)
    """
    book = BOOK[size]
    if preset == "book" or size == "test":
        return book
    if size == "large":
        book = replace(book, learning_rate=0.5)  # at 1 the outputs of its second layer vanish
    return replace(book, hold=2, epochs=5, decay=0.4) if builtin else replace(book, hold=1, epochs=2)


def loss_of(name: str, num_sampled: int | None, words: int) -> Any:
    """The loss that ``--loss`` names for a vocabulary of that many words; None is the softmax.

    Raises:
        ValueError: ``--num-sampled`` without a sampled loss, or out of range.

    >>> loss_of("nce", None, 10_000).num_sampled
    512
    """
    if name == "softmax":
        if num_sampled is not None:
            raise ValueError("--num-sampled: expected with --loss nce or --loss sampled, got it with softmax")
        return None
    count = max(1, min(512, words // 8)) if num_sampled is None else num_sampled
    if not 1 <= count <= words:
        raise ValueError(f"--num-sampled: expected 1...{words}, the words of the vocabulary, got {count}")
    return LOSSES[name](count, reduction="batch_mean")


def load_corpus(data: str, size: str, preset: str) -> Corpus:
    """The text that ``--data`` names.

    Raises:
        ValueError, OSError, ImportError: the data are missing, damaged or cannot be fetched.
    """
    folder = data_folder(data, "ptb")
    if folder is None:
        words = _BOOK_WORDS if preset == "book" else _QUICK_WORDS[size]
        return grammar_corpus(words, max(words // 10, 2000), max(words // 10, 2000))
    return load_ptb(folder)


class Stopped(RaisedByAll):
    """Raised where a signal has asked for a stop."""


def main(run: Run) -> int:
    """Train, evaluate and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(settings_of(arguments.size, arguments.preset, arguments.data == "builtin"), arguments)
    corpus = load_corpus(arguments.data, arguments.size, arguments.preset)
    run.open(arguments.size, data=corpus.name)
    loss = loss_of(arguments.loss, arguments.num_sampled, corpus.vocabulary.size)
    sizes = settings.units, settings.layers, settings.keep_prob, settings.init_scale, settings.clip
    options: dict[str, Any] = {"learning_rate": settings.learning_rate, "dtype": arguments.dtype_policy, "loss": loss}
    model = build_model(corpus.vocabulary.size, *sizes, **options)
    model.build((None, None))
    identity = identity_of(arguments, settings, corpus, loss)
    model.extra = {"experiment": "ptb", "run": identity, "vocabulary": corpus.vocabulary.to_dict()}
    batches = bptt_batches(corpus.train, settings.batch_size, settings.steps)
    with StopSignals() as signals:

        def check(ranks: Ranks | None = run.ranks) -> None:
            # A signal may reach one process before another.
            if signals.received if ranks is None else ranks.any(bool(signals.received)):
                raise Stopped

        report = Report(run, settings, corpus, check)
        place = place_to_resume(run, identity)
        if run.ranks is not None:
            # The folder of the first process counts.
            place = run.ranks.broadcast(place)
        run.start(corpus.description)
        describe(run, model, corpus, settings, loss)
        if place is None:
            (run.folder / CHECKPOINT).unlink(missing_ok=True)
        else:
            report.epoch, report.batch = place
            run.log(f"resumed {report.place(len(batches))}")
        minutes = max(arguments.checkpoint_minutes, 1e-9)
        backup = BackupAndRestore(run.folder, delete_checkpoint=False, save_every=minutes, extra={"run": identity})
        # A folder may have braces in its name.
        path = str(run.folder / BEST).replace("{", "{{").replace("}", "}}")
        best = ModelCheckpoint(path, "val_perplexity", save_best_only=True, mode="min")
        decay = EpochDecay(settings.learning_rate, settings.hold, settings.decay)
        try:
            callbacks = [decay, ResetStates(), report, best, backup]
            model.fit(batches, epochs=settings.epochs, verbose=0, callbacks=callbacks, distribute=run.distribute)
            if not run.is_main:
                return 0
            test(run, model, corpus, report.rows, partial(check, None))
        except Stopped:
            if report.epoch < settings.epochs:
                backup.save()
            run.log(f"stopped {report.place(len(batches))}; the same command goes on from there")
            return 128 + signals.received
    plot(run, corpus)
    sampled = {"num_sampled": loss.num_sampled} if isinstance(loss, SampledLoss) else {}
    # The beginning of the test text.
    words = takewhile(lambda word: not word.startswith("<"), corpus.vocabulary.decode(corpus.test[:3]))
    run.log(f"try: seqcore generate {shlex.quote(str(run.folder))} --prompt {shlex.quote(' '.join(words))}")
    return run.finish(size=arguments.size, loss=arguments.loss, dtype_policy=arguments.dtype_policy, **sampled)


def identity_of(arguments: Namespace, settings: Settings, corpus: Corpus, loss: Any) -> dict[str, Any]:
    """Settings that two runs must share for one to continue from the checkpoint of the other."""
    text = hashlib.sha256()
    for ids in (corpus.train, corpus.valid):
        text.update(ids.tobytes())
    given = {key: getattr(arguments, key) for key in ("size", "loss", "seed")}
    if isinstance(loss, SampledLoss):
        given["num_sampled"] = loss.num_sampled
    if arguments.dtype_policy != "float32":
        given["dtype_policy"] = arguments.dtype_policy
    chosen = {key: value for key, value in asdict(settings).items() if key != "epochs"}
    return {**given, "text": text.hexdigest(), **chosen}


def place_to_resume(run: Run, identity: dict[str, Any]) -> tuple[int, int] | None:
    """Epoch and batch of the checkpoint in the folder of the run, if it is to go on from there."""
    path, wanted = run.folder / CHECKPOINT, run.arguments.resume
    if wanted is False or not path.exists() or (wanted is None and run.was_finished):
        return None
    position = saving.read_position(path)
    if position.get("run") != identity:
        raise ValueError(
            f"--out: {str(run.folder)!r} holds a checkpoint of other settings; take another folder or --no-resume"
        )
    if "trainer" in position:
        raise ValueError(f"--out: {str(path)!r} is of seqcore 0.1; take another folder or --no-resume")
    try:
        epoch, batch = (integer(name, position["fit"][name], 0) for name in ("epoch", "batch"))
    except MALFORMED as error:
        raise ValueError(f"--out: {str(path)!r} holds no position of a run ({one_line(error)})") from error
    return epoch, batch


def describe(run: Run, model: Sequential, corpus: Corpus, settings: Settings, loss: Any) -> None:
    """Print the sizes of the text and of the model."""
    sizes = ", ".join(f"{split} {len(getattr(corpus, split)):,}" for split in ("train", "valid", "test"))
    run.log(f"words: {sizes}; vocabulary {corpus.vocabulary.size:,}")
    layers = "1 LSTM layer" if settings.layers == 1 else f"{settings.layers} LSTM layers"
    threads = get_num_threads()
    run.log(
        f"model: {layers} of {settings.units} units, {model.count_params():,} parameters; "
        f"seed {run.arguments.seed}, {threads} thread{'s' * (threads > 1)}, {info()['isa']}"
    )
    if isinstance(loss, SampledLoss):
        run.log(f"loss: {loss.name} over {loss.num_sampled:,} sampled words; perplexities by the full softmax")


class Report(ValidationPerplexity):
    """The lines of the run, and a row of figures per epoch in ``rows``; ``epoch`` and ``batch`` come next."""

    def __init__(self, run: Run, settings: Settings, corpus: Corpus, check: Callable[[], None]) -> None:
        super().__init__(corpus.valid, settings.batch_size, settings.steps, check)
        self._run, self._settings, self._bound, self._stop = run, settings, corpus.bound, check
        self.rows: list[dict[str, Any]] = []
        self.epoch = self.batch = 0

    def get_state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        rows = [{name: float(value) for name, value in row.items()} for row in state["rows"]]
        names = ["epoch", "learning_rate", f"train_{self.cost()[0]}", "valid_perplexity", "words_per_second", "seconds"]
        if [row["epoch"] for row in rows] != list(range(1, self.epoch + 1)) or any(list(row) != names for row in rows):
            raise ValueError("rows: expected a row for each epoch, got others")
        self.rows = [{**row, "epoch": int(row["epoch"])} for row in rows]

    def place(self, batches: int) -> str:
        """Place of the run, as text."""
        if self.batch == 0:
            return f"after epoch {self.epoch}"
        return f"in epoch {self.epoch + 1} after {self.batch} of {batches} batches"

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        self.batch = done = batch + 1
        total, epochs, speed = self.params["steps"], self._settings.epochs, self.words_per_second
        cost = "{} {:.3f}".format(*self.cost())
        if done * 10 // total != (done - 1) * 10 // total:
            rate = self.model.optimizer.learning_rate
            self._run.log(
                f"epoch {self.epoch + 1}/{epochs}  {done / total:.2f}  {cost}  learning rate {rate:.4g}  "
                f"{speed:,.0f} words/s"
            )
        words = self.batches.batch_size * self.batches.steps
        left = ((epochs - self.epoch) * total - done) * words / max(speed, 1e-9)
        self._run.progress.update(done, total, f"{speed:,.0f} words/s", left, cost)
        self._stop()

    def cost(self) -> tuple[str, float]:
        """Name and value of the training figure of the epoch so far: perplexity, or loss per word of a sampled loss."""
        if isinstance(self.model.loss, SampledLoss):
            return "loss", self.loss_per_word
        return "perplexity", perplexity(self.loss_per_word)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        name, cost = self.cost()
        super().on_epoch_end(epoch, logs)
        row = {"epoch": epoch + 1, "learning_rate": logs["learning_rate"], f"train_{name}": cost}
        row |= {"valid_perplexity": logs["val_perplexity"], "words_per_second": logs["words_per_second"]}
        self.rows.append({**row, "seconds": time.perf_counter() - self._begin})
        self.epoch, self.batch = epoch + 1, 0
        bound = f"  (bound {self._bound:.3f})" if self._bound else ""
        self._run.log(
            f"epoch {epoch + 1}/{self._settings.epochs}  train {name} {cost:.3f}  valid perplexity "
            f"{row['valid_perplexity']:.3f}{bound}  {self.rows[-1]['seconds']:.1f} s"
        )


def test(run: Run, model: Sequential, corpus: Corpus, rows: list[dict[str, Any]], check: Callable[[], None]) -> None:
    """Test perplexity of the last model, as in the book, and of the best; saves the last model and samples."""
    model.save(run.folder / LAST)
    perplexities = [(row["valid_perplexity"], row["epoch"]) for row in rows if row["valid_perplexity"] < math.inf]
    best_valid, best_epoch = min(perplexities, default=(math.inf, 0))
    best: Any = load_model(run.folder / BEST) if best_epoch else model
    last_test = best_test = evaluate_perplexity(model, corpus.test, check=check)
    if best_epoch not in (0, rows[-1]["epoch"]):
        best_test = evaluate_perplexity(best, corpus.test, check=check)
    run.history = rows
    run.metrics = {
        "test_perplexity": last_test,
        "valid_perplexity": rows[-1]["valid_perplexity"],
        **{key: rows[-1][key] for key in ("train_perplexity", "train_loss") if key in rows[-1]},
        "best_valid_perplexity": best_valid,
        "best_test_perplexity": best_test,
        "best_epoch": best_epoch,
        "words_per_second": median(row["words_per_second"] for row in rows),
        "parameters": model.count_params(),
    }
    run.log(f"test perplexity {last_test:.3f} (model of the last epoch)")
    if best_epoch != len(rows):
        run.log(f"test perplexity {best_test:.3f} (model of epoch {best_epoch}, the best on the valid text)")
    if corpus.bound:
        true = corpus.true_perplexity["test"]
        run.metrics |= {"bound_perplexity": corpus.bound, "true_test_perplexity": true}
        run.log(f"bound {corpus.bound:.3f} in the long run; the true distribution has {true:.3f} on this test text")
    write_samples(run, best, corpus)


def write_samples(run: Run, model: Sequential, corpus: Corpus) -> None:
    """Texts that the model generates, each without a prompt and after "the"; the word for unknown ones is left out."""
    seed, unknown = run.arguments.seed, corpus.vocabulary.unknown
    exclude = [] if unknown is None else [unknown]
    methods: dict[str, dict[str, Any]] = {
        "greedy": {"method": "greedy"},
        "sampled": {"seed": seed},
        "sampled, temperature 0.7": {"temperature": 0.7, "seed": seed},
        "beam search of width 4": {"method": "beam", "beam_width": 4},
    }
    prompts = ["", "the"] if "the" in corpus.vocabulary else [""]
    lines = [
        f"{title}: "
        + format_words(prompt.split() + generate(model, corpus.vocabulary, prompt, 40, exclude=exclude, **options))
        for title, options in methods.items()
        for prompt in prompts
    ]
    run.write_text("samples.txt", "\n".join(lines))
    run.log(lines[min(2, len(lines) - 1)])


def plot(run: Run, corpus: Corpus) -> None:
    """``perplexity.png``: perplexities by epoch; with a sampled loss there are none of the training text."""
    rows, test = run.history, run.metrics["test_perplexity"]
    curves: dict[str, Any] = {
        split: by_epoch(rows, f"{split}_perplexity", style, color)
        for split, style, color in (("train", "o-", "#4477aa"), ("valid", "s-", "#ee6677"))
        if f"{split}_perplexity" in rows[0]
    }
    scale = "log" if all(math.isfinite(y) for _, values, *_ in curves.values() for y in values) else "linear"
    curves["test"] = [rows[-1]["epoch"]], [test], "*", "#228833"
    levels = {f"bound {corpus.bound:.2f}": corpus.bound} if corpus.bound else {}
    title = f"{run.arguments.size} model on {corpus.name}: test perplexity {test:.2f}"
    run.plot_curves("perplexity.png", title, "epoch", "perplexity", curves, levels, yscale=scale)


def format_words(words: list[str]) -> str:
    """Words as one line of text; ``<eos>`` becomes a slash between sentences.

    >>> format_words(["the", "boat", "sinks", "<eos>", "this"])
    'the boat sinks / this'
    """
    return " ".join("/" if word == "<eos>" else word for word in words)
