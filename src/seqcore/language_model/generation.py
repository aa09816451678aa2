"""Generating text from a language model: greedy, sampled, or by beam search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from .._validation import at_least, integer, positive, real
from ..text.vocabulary import Vocabulary
from .beam_search import WIDEST, beam_search

if TYPE_CHECKING:
    from ..models import Sequential
from ..typing import Array, Ids
from .model import _known, _log_probabilities, _share, _start


def next_words(
    model: Sequential, vocabulary: Vocabulary, text: str | Sequence[str], top: int = 5
) -> list[tuple[str, float]]:
    """The likeliest next words after a text, with their probabilities.

    Raises:
        ValueError: an empty text, unknown words, ``top`` below 1.
    """
    best = at_least("top", top, 1)
    _, log_p = _start(model, vocabulary, text)
    order = np.argsort(-log_p[0], kind="stable")[:best]
    return [(vocabulary.words[i], float(math.exp(log_p[0, i]))) for i in order.tolist()]


def generate(
    model: Sequential,
    vocabulary: Vocabulary,
    prompt: str | Sequence[str] = "",
    length: int = 20,
    *,
    method: str = "sample",
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    beam_width: int | None = None,
    seed: int | None = None,
    stop: str | None = None,
    noise: float = 0.0,
    exclude: Sequence[str] = (),
) -> list[str]:
    """Words that continue a prompt, drawn from a language model one time step at a time.

    Args:
        model: a Sequential that ``model.stream`` can run, over the V words of the vocabulary.
        vocabulary: its words.
        prompt: words, or a text that is split at white space; an empty one stands for ``<eos>``, after which a sentence
            starts.
        length: number of words.
        method: "greedy" takes the likeliest word each time; "sample" draws; "beam" searches for the likeliest sequence.
        temperature: for "sample": above 1 flattens the distribution, below 1 sharpens it; 1 by default.
        top_k: for "sample": only the k likeliest words.
        top_p: for "sample": only the smallest set of likeliest words that has this probability (A. Holtzman et al., The
            curious case of neural text degeneration, 2020).
        beam_width: for "beam": sequences kept at a time, 1...1000, 4 by default.
        seed: for "sample" and for noise: same seed, same words; None draws from the global generator.
        stop: a word that ends the text.
        noise: standard deviation of normal noise that the state starts from instead of zero, so that texts differ.
        exclude: words that are never produced, such as the one for unknown words.

    Returns:
        The new words, ``stop`` included where it was reached.

    Raises:
        ValueError: options outside their range or of another method, unknown words, a model of another vocabulary.
    """
    if method not in ("greedy", "sample", "beam"):
        raise ValueError(f"method: expected 'greedy', 'sample' or 'beam', got {method!r}")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    for name, value in options.items():
        if value is not None and method != "sample" and not (name == "seed" and noise):
            raise ValueError(f"{name}: expected none for method {method!r}, got {value!r}")
    if beam_width is not None and method != "beam":
        raise ValueError(f"beam_width: expected none for method {method!r}, got {beam_width!r}")
    if stop is not None and stop not in vocabulary:
        raise ValueError(f"stop: expected a word of the model's vocabulary, got {stop!r}")
    steps, end = at_least("length", length, 0), None if stop is None else vocabulary.id(stop)
    noise = real("noise", noise, 0)
    barred = [_known("exclude", vocabulary, word) for word in exclude]
    if len(set(barred)) == vocabulary.size:
        raise ValueError(f"exclude: expected to leave one of the {vocabulary.size} words, got all of them")
    if seed is None:
        generator = random.generator()
    else:
        generator = np.random.Generator(np.random.Philox(at_least("seed", seed, 0)))
    width = 4 if beam_width is None else integer("beam_width", beam_width, 1, WIDEST)
    choose = _greedy if method == "greedy" else _sampler(temperature, top_k, top_p, generator)
    stream, log_p = _start(model, vocabulary, prompt, noise, generator)
    if method == "beam":
        ids = _likeliest(model, stream, log_p, width, steps, end, barred)
        return vocabulary.decode(np.array(ids, np.int32))
    ids = []
    while len(ids) < steps:
        log_p[:, barred] = -math.inf
        ids.append(choose(log_p[0]))
        if ids[-1] == end or len(ids) == steps:
            break
        log_p = _log_probabilities(model, stream.step(np.array(ids[-1:], np.int32)))
    return vocabulary.decode(np.array(ids, np.int32))


def _greedy(log_p: Array) -> int:
    return int(np.argmax(log_p))


def _sampler(
    temperature: float | None, top_k: int | None, top_p: float | None, generator: np.random.Generator
) -> Callable[[Array], int]:
    heat = 1.0 if temperature is None else positive("temperature", temperature)
    most = None if top_k is None else at_least("top_k", top_k, 1)
    if top_p is not None:
        top_p = _share("top_p", top_p)

    def draw(log_p: Array) -> int:
        order = np.argsort(-log_p, kind="stable")[:most]
        p = np.exp((log_p[order] - log_p[order[0]]) / heat)
        sums = np.cumsum(p / p.sum())
        kept = len(sums) if top_p is None else int(np.searchsorted(sums, top_p)) + 1
        sums = sums[:kept]
        return int(order[min(int(np.searchsorted(sums, generator.random() * sums[-1], "right")), len(sums) - 1)])

    return draw


def _likeliest(
    model: Sequential, stream: Any, log_p: Array, width: int, length: int, end: int | None, barred: Sequence[int]
) -> list[int]:
    """The continuation that a beam search finds, from a stream that has read the prompt."""
    log_p[:, barred] = -math.inf
    beams = model.stream(width)

    def step(ids: Ids, state: Any) -> tuple[Array, Any]:
        beams.set_state(state)
        log_p = _log_probabilities(model, beams.step(ids))
        log_p[:, barred] = -math.inf
        return log_p, beams.get_state()

    return beam_search(log_p, stream.get_state(), step, width=width, length=length, end=end)[0].tokens
