"""The runs whose figures the pages show: a table of jobs, each of which gives one record."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Job(NamedTuple):
    """Runs of one experiment, whose numbers are one record.

    name: of the record and of the block in the pages. command: arguments of ``seqcore``; DIR is the folder of the data.
    runs: further arguments by the name of the run. seeds: of each run. families: of the bits that its numbers depend
    on. history: the record keeps the rows by epoch too. pictures: files of ``RUN-seedN`` by their names in docs/images.
    """

    name: str
    command: str
    runs: Mapping[str, str]
    seeds: Sequence[int]
    families: tuple[str, ...] = ("recurrent", "optimizer")
    history: bool = False
    pictures: Mapping[str, str] = {}

    def line(self, run: str, seed: int | str) -> str:
        """The command line of a run.

        >>> Job("a", "run toy", {"book": "--preset book"}, [1]).line("book", 1)
        'seqcore run toy --preset book --seed 1'
        """
        return " ".join(["seqcore", *shlex.split(f"{self.command} {self.runs[run]}"), "--seed", str(seed)])

    @property
    def needs_data(self) -> bool:
        """Tells whether a run reads the folder of the data."""
        return any("DIR" in self.line(run, 0) for run in self.runs)


# Shared by the experiments on Grimm's tales.
_TALES = "run stories --preset book --data DIR"
_PAIR = {"rnn": "--model rnn", "context": "--model context"}
_FOUR = {**_PAIR, "lstm": "--model lstm", "gru": "--model gru"}
_GLOVE = "run imdb --preset book --data DIR --glove DIR/glove/glove.6B.50d.10k.txt.gz"
_TABLES = {"frozen": "--embedding frozen", "tuned": "--embedding tuned", "random": "--embedding random"}
_SENTIMENT = {"rnn": "--cell rnn", "lstm": "--cell lstm", "gru": "--cell gru"}

JOBS = (
    Job(
        "toy",
        "run toy",
        {"quick": "", "book": "--preset book"},
        range(16),
        pictures={"toy.png": "quick-seed3/gates.png"},
    ),
    Job("order", "run order", {"quick": ""}, (0, 1, 2), pictures={"order.png": "quick-seed0/order.png"}),
    Job("rtrl", "run rtrl", {"quick": ""}, (0, 1, 2), pictures={"rtrl.png": "quick-seed0/rtrl.png"}),
    Job(
        "forget_gate",
        "run forget_gate",
        {"quick": "--repeats 5"},
        (0,),
        history=True,
        pictures={"forget_gate.png": "quick-seed0/accuracy.png"},
    ),
    Job(
        "gradients",
        "run gradients",
        {"quick": "", "book": "--preset book"},
        range(5),
        pictures={
            "gradients.png": "quick-seed2/norms.png",
            "gradients_powers.png": "quick-seed2/powers.png",
            "gradients_clipping.png": "quick-seed2/clipping.png",
            "gradients_cliff.png": "quick-seed2/cliff.png",
        },
    ),
    Job(
        "memory",
        "run memory",
        {"quick": "--repeats 5"},
        (0,),
        history=True,
        pictures={
            "memory_recall.png": "quick-seed0/recall.png",
            "memory_truncated.png": "quick-seed0/truncated.png",
            "memory_remedies.png": "quick-seed0/remedies.png",
            "memory_gates.png": "quick-seed0/gates.png",
        },
    ),
    Job(
        "airline-builtin",
        "run airline",
        {"rnn": "--model rnn", "lstm": "--model lstm", "lstm2": "--model lstm2"},
        (0, 1, 2),
        pictures={"airline.png": "lstm-seed0/accuracy.png"},
    ),
    Job(
        "airline-tweets",
        "run airline --preset book --data DIR",
        {
            "rnn": "--model rnn",
            "lstm": "--model lstm",
            "lstm2": "--model lstm2",
            "all-words": "--model lstm --stop-words none --epochs 10",
        },
        (0, 1, 2),
    ),
    Job(
        "airline-books",
        "run airline --preset book --data DIR --validate test --stop-words nltk",
        {"rnn": "--model rnn", "lstm": "--model lstm", "lstm2": "--model lstm2", "gru": "--model gru"},
        (0, 1, 2),
        pictures={"airline_loss.png": "lstm-seed0/loss.png"},
    ),
    Job(
        "airline-sizes",
        "run airline --preset book --data DIR --model lstm",
        {
            **{f"samples{count}": f"--samples {count}" for count in (1000, 2000, 4000)},
            **{f"units{count}": f"--units {count}" for count in (10, 20, 80, 160)},
        },
        (0, 1, 2),
    ),
    Job(
        "imdb-builtin",
        "run imdb",
        {**_SENTIMENT, "book": "--preset book --epochs 10"},
        (0, 1, 2),
        pictures={"imdb.png": "gru-seed0/reading.png"},
    ),
    Job(
        "imdb-reviews",
        "run imdb --preset book --data DIR",
        {**_SENTIMENT, "mlp": "--cell rnn --head mlp"},
        (0, 1, 2),
    ),
    Job("imdb-glove", _GLOVE, _TABLES, (0, 1, 2)),
    Job(
        "imdb-books",
        "run imdb --preset book --data DIR --validate test",
        {**_SENTIMENT, **{f"{cell}-mlp": f"{options} --head mlp" for cell, options in _SENTIMENT.items()}},
        (0, 1, 2),
    ),
    Job("imdb-few", f"{_GLOVE} --samples 1000", _TABLES, (0, 1, 2)),
    Job(
        "tagging",
        "run tagging",
        {"quick": "--cell all"},
        (0, 1, 2),
        pictures={"tagging.png": "quick-seed0/accuracy.png", "tagging_confusion.png": "quick-seed0/confusion.png"},
    ),
    Job("tagging-book", "run tagging --preset book", {"lstm": "--cell lstm"}, (0, 1, 2)),
    Job(
        "forecast",
        "run forecast",
        {
            "lstm": "--cell lstm",
            "gru": "--cell gru",
            "rnn": "--cell rnn",
            "change": "--series price --target change",
            "price": "--series price --target value",
        },
        (1, 2, 3),
        pictures={"forecast.png": "lstm-seed1/forecast.png", "forecast_errors.png": "lstm-seed1/errors.png"},
    ),
    Job(
        "caption-digits",
        "run caption",
        {"lstm": "", "dense": "--encoder dense", "three-epochs": "--epochs 3"},
        (1, 2, 3),
        pictures={"caption.png": "lstm-seed1/captions.png"},
    ),
    Job("caption-mnist", "run caption --preset book --data DIR", {"lstm": ""}, (1, 2, 3)),
    Job(
        "questions",
        "run questions",
        {"rnn": "--cell rnn", "lstm": "", "gru": "--cell gru"},
        (0, 1, 2),
        pictures={"questions.png": "lstm-seed0/reading.png"},
    ),
    Job(
        "attend",
        "run attend",
        {"additive": "", "mean": "--look mean"},
        (0, 1, 2),
        pictures={"attend.png": "additive-seed0/attention.png"},
    ),
    Job(
        "attend-mnist",
        "run attend --preset book --data DIR",
        {"additive": "", "mean": "--look mean"},
        (0,),
        pictures={"attend_mnist.png": "additive-seed0/attention.png"},
    ),
    Job("mnist-digits", "run mnist", {"quick": ""}, (1, 2, 3), pictures={"mnist.png": "quick-seed1/accuracy.png"}),
    Job("mnist-cells", "run mnist", {"rnn": "--cell rnn", "lstm": "", "gru": "--cell gru"}, (1, 2, 3)),
    Job("mnist", "run mnist --data DIR", {"book": "--preset book", "best": "--preset best"}, (1, 2, 3)),
    Job(
        "seq2seq",
        "run seq2seq",
        {
            "iso": "--direction to-iso --attention additive",
            "iso-none": "--direction to-iso --attention none",
            "words": "--direction to-words --attention additive",
            "words-none": "--direction to-words --attention none",
        },
        (1, 2, 3),
        pictures={"seq2seq.png": "iso-seed1/attention.png"},
    ),
    Job("seq2seq-book", "run seq2seq --preset book", {"none": "--attention none"}, (1, 2, 3), history=True),
    Job("stories", "run stories", {"quick": ""}, (0, 1, 2), pictures={"stories.png": "quick-seed0/perplexity.png"}),
    Job(
        "stories-20",
        f"{_TALES} --stories 20",
        {"unroll1": "--unroll 1", "unroll50": "--unroll 50"},
        (0, 1, 2),
        pictures={"stories_20.png": "unroll50-seed0/perplexity.png"},
    ),
    Job("stories-100-unroll1", f"{_TALES} --stories 100 --unroll 1", _FOUR, (0, 1, 2)),
    Job(
        "stories-100",
        f"{_TALES} --stories 100 --unroll 50",
        {"pair": "--model pair"},
        (0, 1, 2),
        pictures={"stories_pair.png": "pair-seed0/perplexity.png"},
    ),
    Job(
        "stories-100-alpha",
        f"{_TALES} --stories 100 --unroll 50",
        {"learned": "--model context --learn-alpha"},
        (0, 1, 2),
    ),
    Job(
        "stories-100-gates",
        f"{_TALES} --stories 100 --unroll 50",
        {"lstm": "--model lstm", "gru": "--model gru"},
        (0,),
    ),
    Job("stories-stream", f"{_TALES} --stories 100 --order stream --unroll 50", _FOUR, (0, 1, 2)),
    Job(
        "stories-sizes",
        f"{_TALES} --stories 100 --order stream",
        {
            **{f"unroll{steps}": f"--model rnn --unroll {steps}" for steps in (1, 10, 100)},
            **{f"batch{rows}": f"--model rnn --unroll 50 --batch-size {rows}" for rows in (16, 256)},
            **{
                f"{name}{units}": f"{model} --unroll 50 --units {units}"
                for units in (32, 128)
                for name, model in _PAIR.items()
            },
        },
        (0, 1, 2),
    ),
    Job(
        "stories-shakespeare",
        "run stories --preset book --text DIR/tinyshakespeare/input.txt --order stream --unroll 50",
        _PAIR,
        (0, 1, 2),
    ),
    Job("ptb-grammar", "run ptb", {"quick": ""}, (0, 1, 2)),
    Job(
        "ptb-small",
        "run ptb --size small --preset book --data DIR",
        {"float32": "", "bfloat16": "--dtype-policy mixed_bfloat16"},
        (1, 2, 3),
        pictures={"ptb_small.png": "float32-seed1/perplexity.png"},
    ),
    Job("ptb-small-hold5", "run ptb --size small --preset book --data DIR", {"float32": "--hold 5"}, (1,)),
    Job(
        "ptb-sampled",
        "run ptb --size small --preset book --data DIR",
        {"sampled": "--loss sampled", "nce": "--loss nce"},
        (1, 2, 3),
        families=("recurrent", "sampled", "optimizer"),
    ),
    Job(
        "ptb-medium",
        "run ptb --size medium --preset book --data DIR",
        {"book-bf16": "--dtype-policy mixed_bfloat16"},
        (1,),
        history=True,
        pictures={"ptb_medium.png": "book-bf16-seed1/perplexity.png"},
    ),
    Job(
        "ptb-large",
        "run ptb --size large --preset book --data DIR --epochs 2 --dtype-policy mixed_bfloat16",
        {"book": ""},
        (1,),
        history=True,
    ),
    Job(
        "ptb-large-half",
        "run ptb --size large --preset book --data DIR --epochs 12 --learning-rate 0.5",
        {"bfloat16": "--dtype-policy mixed_bfloat16"},
        (1,),
        history=True,
        pictures={"ptb_large.png": "bfloat16-seed1/perplexity.png"},
    ),
    Job(
        "word2vec-builtin",
        "run word2vec",
        {"estimator": "", "book": "--preset book", "book-cbow": "--preset book --architecture cbow"},
        (0, 1, 2),
        families=("word2vec", "sampled", "optimizer"),
    ),
    Job(
        "word2vec-wiki",
        "run word2vec --data DIR",
        {"skipgram": "--architecture skipgram", "cbow": "--architecture cbow"},
        (1, 2, 3),
        families=("word2vec",),
        pictures={"words.png": "skipgram-seed1/words.png", "relations.png": "skipgram-seed1/relations.png"},
    ),
    Job(
        "word2vec-wiki-book",
        "run word2vec --data DIR --preset book",
        {"skipgram": "--architecture skipgram", "cbow": "--architecture cbow"},
        (1, 2, 3),
        families=("sampled", "optimizer"),
    ),
)
