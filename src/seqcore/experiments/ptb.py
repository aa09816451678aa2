"""``seqcore run ptb``: the Penn Treebank LSTM language model, on the treebank or on sentences of known entropy.

Settings and learning-rate schedule are those of W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network
regularization (2014), in the form of the TensorFlow tutorial that the books print.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from .. import random, saving
from .._core import system
from .._validation import MALFORMED, at_least, one_line
from ..datasets import Corpus, grammar_corpus, load_ptb
from ..language_model.evaluation import evaluate_perplexity, word_losses
from ..language_model.generation import generate
from ..language_model.model import build_model
from ..language_model.trainer import Interrupted, Schedule, Trainer
from ..losses import Loss, NCELoss, SampledLoss, SampledSoftmaxLoss
from ..models import load_model
from ._plots import new_figure, save_figure
from ._run import Progress, StopSignals, data_folder, open_folder, override, record, write_results

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

# Built-in text: words of the training part. The book's preset takes as many as the treebank has.
_QUICK_WORDS = {"test": 20_000, "small": 400_000, "medium": 100_000, "large": 50_000}
_BOOK_WORDS = 929_589


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this experiment beside the common ones."""
    parser.add_argument("--size", choices=tuple(BOOK), default="small", help="the book's model sizes (default small)")
    parser.add_argument(
        "--loss",
        choices=("softmax", "nce", "sampled"),
        default="softmax",
        help="how to train: softmax over all words, noise-contrastive estimation, or softmax over sampled words; "
        "perplexities are always those of the full softmax",
    )
    parser.add_argument(
        "--num-sampled",
        type=int,
        metavar="N",
        help="words sampled for each batch (default: an eighth of the vocabulary, at most 512)",
    )
    parser.add_argument(
        "--dtype-policy",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="mixed_bfloat16: products of bfloat16 where the processor has AVX-512 BF16, all else float32",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        help="go on from the checkpoint in --out, also with more epochs; by default an unfinished run goes on",
    )
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="X", help="time between checkpoints inside an epoch"
    )


def settings_of(size: str, preset: str, builtin: bool) -> Settings:
    """The settings of a size: the book's, or with a schedule cut down to minutes.

    >>> settings_of("small", "book", builtin=False).epochs, settings_of("small", "quick", builtin=True).epochs
    (13, 5)
    """
    book = BOOK[size]
    if preset == "book" or size == "test":
        return book
    return replace(book, hold=2, epochs=5, decay=0.4) if builtin else replace(book, hold=1, epochs=2)


def loss_of(name: str, num_sampled: int | None, words: int) -> Loss | None:
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
    kind = {"nce": NCELoss, "sampled": SampledSoftmaxLoss}[name]
    return kind(count, reduction="batch_mean")


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


def run(arguments: argparse.Namespace) -> int:
    """Trains, evaluates and writes the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with one line that says what to do.
    """
    settings = settings_of(arguments.size, arguments.preset, arguments.data == "builtin")
    settings = override(settings, arguments, "epochs")
    corpus = load_corpus(arguments.data, arguments.size, arguments.preset)
    name = f"ptb-{arguments.size}-{arguments.preset}-{corpus.name}-seed{arguments.seed}"
    folder = open_folder(arguments.out or Path("runs") / name)
    with StopSignals() as signals:
        return _Run(arguments, settings, corpus, folder, signals).run()


class _Run:
    """One run: model, trainer, what is printed and saved."""

    def __init__(
        self, arguments: argparse.Namespace, settings: Settings, corpus: Corpus, folder: Path, signals: StopSignals
    ) -> None:
        self.arguments, self.settings, self.corpus, self.folder = arguments, settings, corpus, folder
        self.signals, self.progress, self.begin = signals, Progress(), time.perf_counter()
        random.set_seed(arguments.seed)
        self.loss = loss_of(arguments.loss, arguments.num_sampled, corpus.vocabulary.size)
        self.model = build_model(
            corpus.vocabulary.size,
            settings.units,
            settings.layers,
            settings.keep_prob,
            settings.init_scale,
            settings.clip,
            settings.learning_rate,
            dtype=arguments.dtype_policy,
            loss=self.loss,
        )
        self.model.build((None, None))
        self.trainer = Trainer(
            self.model,
            corpus.train,
            corpus.valid,
            batch_size=settings.batch_size,
            steps=settings.steps,
            epochs=settings.epochs,
            schedule=Schedule(settings.learning_rate, settings.hold, settings.decay),
            on_batch=self._after_batch,
            on_epoch=self._after_epoch,
            check=self._stop_if_asked,
        )
        self.saved = time.perf_counter()
        self.best: dict[str, Any] = {"epoch": 0, "valid_perplexity": math.inf}

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must share for one to go on from the other's checkpoint."""
        text = hashlib.sha256()
        for ids in (self.corpus.train, self.corpus.valid):
            text.update(ids.tobytes())
        chosen = {key: value for key, value in asdict(self.settings).items() if key != "epochs"}
        given = {key: getattr(self.arguments, key) for key in ("size", "loss", "seed")}
        if isinstance(self.loss, SampledLoss):
            given["num_sampled"] = self.loss.num_sampled
        if self.arguments.dtype_policy != "float32":
            given["dtype_policy"] = self.arguments.dtype_policy
        return {**given, "text": text.hexdigest(), **chosen}

    def run(self) -> int:
        say = self.progress.line
        say(f"data: {self.corpus.description}")
        sizes = ", ".join(f"{split} {len(getattr(self.corpus, split)):,}" for split in ("train", "valid", "test"))
        say(f"words: {sizes}; vocabulary {self.corpus.vocabulary.size:,}")
        layers = "1 LSTM layer" if self.settings.layers == 1 else f"{self.settings.layers} LSTM layers"
        threads = system.get_num_threads()
        say(
            f"model: {layers} of {self.settings.units} units, {self.model.count_params():,} parameters; "
            f"seed {self.arguments.seed}, {threads} thread{'s' * (threads > 1)}, {system.info()['isa']}"
        )
        if isinstance(self.loss, SampledLoss):
            say(
                f"loss: {self.loss.name} over {self.loss.num_sampled:,} sampled words; perplexities by the full softmax"
            )
        if importlib.util.find_spec("matplotlib") is None:
            say("note: no plot without matplotlib (pip install 'seqcore[experiments]')")
        self._resume()
        say(f"results: {self.folder}")
        (self.folder / "metrics.json").unlink(missing_ok=True)
        try:
            self.trainer.run()
            self._finish()
        except Interrupted:
            self._save()
            say(f"stopped {self._place()}; the same command goes on from there")
            return 128 + (self.signals.received or int(signal.SIGINT))
        return 0

    # --- what the trainer calls ---

    def _stop_if_asked(self) -> None:
        if self.signals.received:
            raise Interrupted

    def _after_batch(self, trainer: Trainer) -> None:
        done, total = trainer.batch, len(trainer.batches)
        speed = trainer.words_per_second
        words = trainer.batches.batch_size * trainer.batches.steps
        left = ((self.settings.epochs - trainer.epoch) * total - done) * words / max(speed, 1e-9)
        if done * 10 // total != (done - 1) * 10 // total:
            self.progress.line(
                f"epoch {trainer.epoch + 1}/{self.settings.epochs}  {done / total:.2f}  {self._cost()}  learning "
                f"rate {trainer.learning_rate:.4g}  {speed:,.0f} words/s"
            )
        self.progress.update(done, total, f"{speed:,.0f} words/s  {self._cost()}", left)
        if time.perf_counter() - self.saved > 60 * self.arguments.checkpoint_minutes:
            self._save()
        self._stop_if_asked()

    def _cost(self) -> str:
        """The training cost so far, in words."""
        trainer = self.trainer
        one = {"train_loss": trainer.loss_per_word} if trainer.sampled else {"train_perplexity": trainer.perplexity}
        return _training_cost(one)

    def _after_epoch(self, trainer: Trainer) -> None:
        last = trainer.history[-1]
        bound = f"  (bound {self.corpus.bound:.3f})" if self.corpus.bound else ""
        self.progress.line(
            f"epoch {last['epoch']}/{self.settings.epochs}  train {_training_cost(last)}  "
            f"valid perplexity {last['valid_perplexity']:.3f}{bound}  {last['seconds']:.1f} s"
        )
        if last["valid_perplexity"] < self.best["valid_perplexity"]:
            self.best = {"epoch": last["epoch"], "valid_perplexity": last["valid_perplexity"]}
            self._save_model(BEST)
        self._save()

    # --- files ---

    def _save(self) -> None:
        position = {"run": self.identity, "trainer": self.trainer.position(), "best": self.best}
        self.model.save_checkpoint(self.folder / CHECKPOINT, position)
        self.saved = time.perf_counter()

    def _save_model(self, name: str) -> None:
        extra = {"experiment": "ptb", "run": self.identity}
        self.model.save(self.folder / name, vocabulary=self.corpus.vocabulary.to_dict(), extra=extra)

    def _resume(self) -> None:
        """Goes on from the checkpoint in the folder if there is one to go on from."""
        path, wanted = self.folder / CHECKPOINT, self.arguments.resume
        finished = (self.folder / "metrics.json").exists()
        if wanted is False or not path.exists() or (wanted is None and finished):
            return
        position = saving.read_position(path)
        if position.get("run") != self.identity:
            raise ValueError(
                f"--out: {str(self.folder)!r} holds a checkpoint of other settings; take another folder or --no-resume"
            )
        try:
            best = {
                "epoch": at_least("epoch", position["best"]["epoch"], 0),
                "valid_perplexity": float(position["best"]["valid_perplexity"]),
            }
            # Changes nothing of the model, which is read last.
            self.trainer.restore(position["trainer"])
        except MALFORMED as error:
            raise ValueError(f"--out: {str(path)!r} holds no position of a run ({one_line(error)})") from error
        self.model.load_checkpoint(path)
        self.best = best
        self.progress.line(f"resumed {self._place()}")

    def _place(self) -> str:
        epoch, batch = self.trainer.epoch, self.trainer.batch
        if batch == 0:
            return f"after epoch {epoch}"
        return f"in epoch {epoch + 1} after {batch} of {len(self.trainer.batches)} batches"

    def _finish(self) -> None:
        """Test perplexity of the last model, as in the book, and of the best; all files."""
        test, history = self.corpus.test, self.trainer.history
        self._save_model(LAST)
        last_test = evaluate_perplexity(self.model, test, check=self._stop_if_asked)
        metrics: dict[str, Any] = {
            "test_perplexity": last_test,
            "valid_perplexity": history[-1]["valid_perplexity"],
            **{key: history[-1][key] for key in ("train_perplexity", "train_loss") if key in history[-1]},
            "best_valid_perplexity": self.best["valid_perplexity"],
            "best_test_perplexity": last_test,
            "best_epoch": self.best["epoch"],
            "words_per_second": median(one["words_per_second"] for one in history),
            "parameters": self.model.count_params(),
        }
        if self.corpus.bound:
            metrics["bound_perplexity"] = self.corpus.bound
            metrics["true_test_perplexity"] = self.corpus.true_perplexity["test"]
        best: Any = load_model(self.folder / BEST) if self.best["epoch"] else self.model
        if self.best["epoch"] not in (0, history[-1]["epoch"]):
            losses = word_losses(best, test, check=self._stop_if_asked)
            metrics["best_test_perplexity"] = math.exp(float(losses.mean()))
        self._report(metrics)
        self._write_samples(best)
        self._plot(metrics)
        results = record(self.arguments, "ptb", metrics, history, time.perf_counter() - self.begin)
        results["size"], results["loss"] = self.arguments.size, self.arguments.loss
        results["dtype_policy"] = self.arguments.dtype_policy
        if isinstance(self.loss, SampledLoss):
            results["num_sampled"] = self.loss.num_sampled
        write_results(self.arguments, self.folder, results)
        self.progress.line(f"try: seqcore generate {self.folder} --prompt 'the'")

    def _report(self, metrics: dict[str, Any]) -> None:
        say = self.progress.line
        say(f"test perplexity {metrics['test_perplexity']:.3f} (model of the last epoch)")
        if metrics["best_epoch"] != len(self.trainer.history):
            best, epoch = metrics["best_test_perplexity"], metrics["best_epoch"]
            say(f"test perplexity {best:.3f} (model of epoch {epoch}, the best on the valid text)")
        if self.corpus.bound:
            true = metrics["true_test_perplexity"]
            say(
                f"bound {self.corpus.bound:.3f} in the long run; the true distribution has {true:.3f} on this test text"
            )

    def _write_samples(self, model: Any) -> None:
        vocabulary = self.corpus.vocabulary
        ways = (
            ("greedy", {"method": "greedy"}),
            ("sampled", {"method": "sample", "seed": self.arguments.seed}),
            ("sampled, temperature 0.7", {"method": "sample", "temperature": 0.7, "seed": self.arguments.seed}),
            ("beam search of width 4", {"method": "beam", "beam_width": 4}),
        )
        lines = []
        for title, options in ways:
            for prompt in ("", "the"):
                if prompt and prompt not in vocabulary:
                    continue
                words = generate(model, vocabulary, prompt, 40, **options)
                lines.append(f"{title}: {format_words(prompt.split() + words)}")
        saving.atomic_write(self.folder / "samples.txt", ["\n".join(lines).encode(), b"\n"])
        self.progress.line(lines[min(2, len(lines) - 1)])

    def _plot(self, metrics: dict[str, Any]) -> None:
        try:
            figure = new_figure(7, 4.5)
            from matplotlib.ticker import FormatStrFormatter, MaxNLocator
        except ImportError:
            return
        history = self.trainer.history
        epochs = [one["epoch"] for one in history]
        axes = figure.add_subplot()
        curves = ["valid_perplexity"] if self.trainer.sampled else ["train_perplexity", "valid_perplexity"]
        if not self.trainer.sampled:
            axes.plot(epochs, [one["train_perplexity"] for one in history], "o-", color="#4477aa", label="train")
        axes.plot(epochs, [one["valid_perplexity"] for one in history], "s-", color="#ee6677", label="valid")
        axes.plot(epochs[-1:], [metrics["test_perplexity"]], "*", color="#228833", markersize=12, label="test")
        if self.corpus.bound:
            axes.axhline(self.corpus.bound, color="#555555", linestyle="--", label=f"bound {self.corpus.bound:.2f}")
        if all(math.isfinite(one[key]) for one in history for key in curves):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
        axes.set_xlabel("epoch")
        axes.set_ylabel("perplexity")
        title = f"{self.arguments.size} model on {self.corpus.name}: test perplexity {metrics['test_perplexity']:.2f}"
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
        save_figure(figure, self.folder / "perplexity.png")


def _training_cost(one: dict[str, Any]) -> str:
    """Perplexity, or the loss per word of a sampled loss."""
    if "train_loss" in one:
        return f"loss {one['train_loss']:.3f}"
    return f"perplexity {one['train_perplexity']:.3f}"


def format_words(words: list[str]) -> str:
    """Words as one line of text; ``<eos>`` becomes a slash between sentences.

    >>> format_words(["the", "boat", "sinks", "<eos>", "this"])
    'the boat sinks / this'
    """
    return " ".join("/" if word == "<eos>" else word for word in words)
