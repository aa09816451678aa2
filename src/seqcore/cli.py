"""The ``seqcore`` command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ._core import system
from ._validation import one_line
from .datasets import SOURCES, cache_folder, download, load_sources
from .datasets.numpy_files import read_array
from .experiments import EXPERIMENTS
from .experiments._run import PRESETS, add_options, run_experiment
from .language_model import encode_text, evaluate_perplexity, generate, next_words
from .models import Model, load_model
from .text import Tokenizer, Vocabulary, classify_texts, read_lines, read_words

# The model in the folder of a run: the first of these that exists.
_MODELS_OF_A_RUN = ("best.safetensors", "last.safetensors", "model.safetensors")

# Data sets that need no file.
_BUILT_IN = {
    "grammar": "sentences of a probabilistic grammar of known entropy",
    "digits": "images of digits, with scikit-learn",
    "seasonal": "noisy sums of seasons whose best forecast is known",
    "price": "a random walk like a price",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the words after ``seqcore``; None takes those of the process.

    Returns:
        The exit status: 0, 2 after an error (one line on standard error), 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["bench"]:
            raise ValueError("bench: removed; run python -m benchmarks from a checkout")
        arguments = _parser(words).parse_args(words)
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except KeyboardInterrupt:
        print("seqcore: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; the flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError) as error:
        print(f"seqcore: {_message(error)}", file=sys.stderr)
        return 2


def _message(error: BaseException) -> str:
    """The message for the user: without the type, which :func:`one_line` tells as the reason in another message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="seqcore", description="Recurrent sequence models on the CPU.")
    parser.set_defaults(command=_help)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    commands.add_parser("list", help="the experiments that run knows").set_defaults(command=_list)

    info = commands.add_parser("info", help="version, instruction set, threads, compiler")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(command=_info)

    run = commands.add_parser("run", help="run an experiment and write its results")
    names = run.add_subparsers(metavar="NAME", required=True, parser_class=_Parser)
    for experiment in EXPERIMENTS.values():
        summary = experiment.summary
        command = names.add_parser(experiment.name, help=summary, description=summary)
        if experiment.name in words[1:2]:
            module = experiment.load()
            add_options(command, module.OPTIONS, bool(experiment.data), getattr(module, "PRESETS", PRESETS))
            command.set_defaults(command=partial(run_experiment, experiment.name, module))

    generation = commands.add_parser("generate", help="text from a language model")
    generation.add_argument("model", metavar="MODEL", help="model file, or the folder of a run")
    generation.add_argument("--prompt", default="", help="words, or text, to continue")
    generation.add_argument(
        "--length", type=int, default=40, metavar="N", help="words, or bigrams, to add (default 40)"
    )
    search = generation.add_mutually_exclusive_group()
    search.add_argument("--greedy", action="store_true", help="the most probable word each time")
    search.add_argument("--beam", type=int, metavar="N", help="beam search of width N")
    generation.add_argument(
        "--temperature", type=float, metavar="X", help="below 1 more conservative, above 1 more random (default 1)"
    )
    generation.add_argument("--top-k", type=int, metavar="K", help="sample from the K most probable words")
    generation.add_argument(
        "--top-p", type=float, metavar="P", help="sample from the most probable words of total probability P"
    )
    generation.add_argument("--seed", type=int, metavar="N", help="same seed, same text")
    generation.add_argument(
        "--noise", type=float, default=0.0, metavar="X", help="standard deviation of the state's start (default 0)"
    )
    generation.add_argument("--stop", metavar="WORD", help="end at this word, such as '<eos>'")
    generation.set_defaults(command=partial(_with_model, _generate))

    predict = commands.add_parser("predict", help="labels of texts, perplexity of a text, or class probabilities")
    predict.add_argument("model", metavar="MODEL", help="model file, or the folder of a run")
    predict.add_argument("words", nargs="?", metavar="TEXT", help="a text")
    predict.add_argument("--text", action="append", metavar="TEXT", help="a text; may be given again for more texts")
    predict.add_argument("--file", metavar="FILE", help="the text is in this file, or a text to label in each line")
    predict.add_argument("--input", metavar="FILE.npy", help="an array (N, ...) for another model")
    predict.add_argument("--top", type=int, default=5, metavar="N", help="how many words or classes to show")
    predict.add_argument("--json", action="store_true", help="as JSON")
    predict.set_defaults(command=partial(_with_model, _predict))

    commands.add_parser("bench", help="moved: python -m benchmarks, from a checkout")

    data = commands.add_parser("data", help="list the data sets, or fetch one")
    data.add_argument("fetch", nargs="?", metavar="NAME", help="data set to fetch")
    data.add_argument("--dir", metavar="DIR", help="where to keep it (default: the user's cache)")
    data.add_argument("--sources", metavar="FILE", help="JSON table of other addresses and sha256 sums")
    data.set_defaults(command=_data)
    return parser


def _help(_: argparse.Namespace) -> int:
    _parser([]).print_help()
    return 0


def _list(_: argparse.Namespace) -> int:
    width = 2 + max(map(len, EXPERIMENTS))
    for experiment in EXPERIMENTS.values():
        data = f"built-in data or {experiment.data}" if experiment.data else "makes its own data"
        print(f"{experiment.name:<{width}}{experiment.summary} [{data}]")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    facts = {**system.info(), "python": platform.python_version(), "numpy": np.__version__}
    if arguments.json:
        print(json.dumps(facts))
        return 0
    for key, value in facts.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        print(f"{key:<10}{' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    return 0


def _with_model(command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Runs a command on a model file; mismatched vocabulary, labels or experiment become one error."""
    try:
        return command(arguments)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(
            f"MODEL: expected a model whose parts fit together, got {arguments.model!r} ({one_line(error)})"
        ) from error


def _load(path: str) -> Model:
    place = Path(path)
    if place.is_dir():
        models = [place / name for name in _MODELS_OF_A_RUN if (place / name).is_file()]
        if not models:
            raise ValueError(f"MODEL: expected {', '.join(_MODELS_OF_A_RUN)} in folder {path!r}, got none of them")
        place = models[0]
    return load_model(place)


def _language_parts(model: Any, path: str) -> tuple[Vocabulary, Tokenizer]:
    """The vocabulary and the tokenizer that a language model was saved with."""

    if "vocabulary" not in model.extra:
        raise ValueError(f"MODEL: expected a language model with its vocabulary, got {path!r} without one")
    return Vocabulary.from_dict(model.extra["vocabulary"]), Tokenizer.from_dict(model.extra.get("tokens"))


def _generate(arguments: argparse.Namespace) -> int:
    model: Any = _load(arguments.model)
    vocabulary, tokenizer = _language_parts(model, arguments.model)
    method = "greedy" if arguments.greedy else "sample" if arguments.beam is None else "beam"
    prompt = tokenizer.known(arguments.prompt, vocabulary, "--prompt")
    words = generate(
        model,
        vocabulary,
        prompt,
        arguments.length,
        method=method,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        beam_width=arguments.beam,
        seed=arguments.seed,
        stop=arguments.stop,
        noise=arguments.noise,
        exclude=[] if vocabulary.unknown is None else [vocabulary.unknown],
    )
    text = tokenizer.join(prompt + words).lstrip(" ")
    print(re.sub(r"(?: <eos>)+ ?", "\n", text).rstrip("\n"))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    texts = [*([] if arguments.words is None else [arguments.words]), *(arguments.text or [])]
    given = [source for source in (texts or None, arguments.file, arguments.input) if source is not None]
    if len(given) != 1:
        raise ValueError(f"predict: expected one of TEXT or --text, --file and --input, got {len(given)}")
    if arguments.input is not None:
        return _predict_array(arguments)
    model = _load(arguments.model)
    if hasattr(model, "predict_text") or "text_vectorization" in model.extra:
        return _predict_labels(arguments, model, texts)
    if len(texts) > 1:
        raise ValueError(f"--text: expected one text for a language model, got {len(texts)}")
    return _predict_language(arguments, model, texts)


def _predict_labels(arguments: argparse.Namespace, model: Any, texts: list[str]) -> int:
    """Prints the labels of texts, by the model's own ``predict_text`` or by the preprocessing saved with it."""

    if arguments.file is not None:
        texts = [line for line in read_lines(arguments.file) if line.strip()]
        if not texts:
            raise ValueError(f"--file: expected a text in each line, got the empty {arguments.file!r}")
    if hasattr(model, "predict_text"):
        predictions = model.predict_text(texts)
    else:
        predictions = [prediction.to_dict() for prediction in classify_texts(model, texts)]
    if arguments.json:
        print(json.dumps(predictions))
        return 0
    width = max(len(prediction["prediction"]) for prediction in predictions)
    for prediction in predictions:
        text = " ".join(prediction["text"].split())
        print(f"{prediction['prediction']:<{width}}  {prediction['probability']:.4f}  {text}")
    return 0


def _predict_language(arguments: argparse.Namespace, model: Any, texts: list[str]) -> int:
    vocabulary, tokenizer = _language_parts(model, arguments.model)
    if tokenizer.characters:
        text = texts[0] if arguments.file is None else "\n".join(read_lines(arguments.file))
        words = tokenizer.known(text, vocabulary, "text")
    elif arguments.file is None:
        words = texts[0].split()
    else:
        words = read_words(arguments.file, "<eos>" if "<eos>" in vocabulary else None)
    ids = encode_text(vocabulary, words)
    result: dict[str, Any] = {"words": len(ids) - 1, "perplexity": evaluate_perplexity(model, ids)}
    result["next"] = [[word, p] for word, p in next_words(model, vocabulary, vocabulary.decode(ids), arguments.top)]
    if arguments.json:
        print(json.dumps(result))
        return 0
    unit = "token" if tokenizer.characters else "word"
    print(f"perplexity {result['perplexity']:.3f} per {unit} over {result['words']} {unit}s")
    for word, p in result["next"]:
        print(f"{p:8.4f}  {word!r}" if tokenizer.characters else f"{p:8.4f}  {word}")
    return 0


def _predict_array(arguments: argparse.Namespace) -> int:
    model = _load(arguments.model)
    try:
        x = read_array(arguments.input)
    except ValueError as error:
        raise ValueError(f"--input: {error}") from None
    describe = _describe_of(model)
    if describe is not None:
        rows = describe(model, x)
        print(json.dumps(rows) if arguments.json else "\n".join(f"{i}: {row}" for i, row in enumerate(rows)))
        return 0
    y = np.asarray(model.predict(x, verbose=0))
    if arguments.json:
        print(json.dumps(y.tolist()))
        return 0
    for number, row in enumerate(y.reshape(len(y), -1)):
        best = np.argsort(-row, kind="stable")[: arguments.top]
        print(f"{number}: " + "  ".join(f"{label} {row[label]:.4f}" for label in best))
    return 0


def _describe_of(model: Model) -> Callable[[Model, Any], list[Any]] | None:
    """The function by which the experiment that saved a model describes its outputs, where it has one."""

    name = model.extra.get("experiment")
    experiment = EXPERIMENTS.get(name) if isinstance(name, str) else None
    return None if experiment is None else getattr(experiment.load(), "describe", None)


def _data(arguments: argparse.Namespace) -> int:
    sources = SOURCES if arguments.sources is None else load_sources(arguments.sources)
    folder = cache_folder() if arguments.dir is None else Path(arguments.dir)
    if arguments.fetch is not None:
        print(download(arguments.fetch, folder, None if arguments.sources is None else sources))
        return 0
    width = 1 + max(map(len, [*sources, *_BUILT_IN]))
    for name, description in _BUILT_IN.items():
        print(f"{name:<{width}}built in: {description}")
    for name, files in sources.items():
        missing = [source.file for source in files if not (folder / name / source.file).is_file()]
        state = f"missing {', '.join(missing)}: seqcore data {name}" if missing else "there"
        print(f"{name:<{width}}{folder / name}: {state}")
    return 0
