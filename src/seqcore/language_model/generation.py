"""Text generation from a language model: greedy, sampled, or by beam search.

V: words of the vocabulary, K: beam width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from .._validation import choice, integer, positive, real
from ..initializers import truncated_noise
from ..models import Sequential, Stream
from ..text.vocabulary import Vocabulary, split_words
from ..typing import Array, Ids
from .beam_search import WIDEST, beam_search, log_softmax
from .model import known_id, output_activation


def next_words(
    model: Sequential, vocabulary: Vocabulary, text: str | Sequence[str], top: int = 5
) -> list[tuple[str, float]]:
    """The likeliest next words after a text, with their probabilities.

    Args:
        model: a Sequential that ``model.stream`` can run, over the V words of the vocabulary.
        vocabulary: the words of the model.
        text: words, or a text that is split at white space.
        top: number of words, 5 by default.

    Returns:
        Pairs of a word and its probability, the likeliest first.

    Raises:
        ValueError: an empty text, unknown words, or ``top`` below 1.
    """
    top = integer("top", top, 1)
    _, log_p = _read_prompt(model, vocabulary, text)
    order = np.argsort(-log_p[0], kind="stable")[:top]
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
    """Continue a prompt with words of a language model, one time step at a time.

    Args:
        model: a Sequential that ``model.stream`` can run, over the V words of the vocabulary.
        vocabulary: the words of the model.
        prompt: words, or a text that is split at white space; an empty one, the default, stands for ``<eos>``, after
            which a sentence starts.
        length: number of new words, 20 by default.
        method: "greedy" takes the likeliest word each time, "sample" (the default) draws one, "beam" searches for the
            likeliest sequence.
        temperature: for "sample": above 1 flattens the distribution, below 1 sharpens it; 1 by default.
        top_k: for "sample": draw among the k likeliest words only.
        top_p: for "sample": draw among the smallest set of likeliest words of this probability only (A. Holtzman et
            al., "The curious case of neural text degeneration", 2020).
        beam_width: for "beam": number of sequences kept at a time, 1...1000, 4 by default.
        seed: for "sample" and for noise: same seed, same words; None draws from the global generator.
        stop: a word that ends the text.
        noise: standard deviation of the noise that the state starts from instead of zero, so that texts differ: normal
            numbers, truncated at two standard deviations.
        exclude: words that are never produced, such as the one for unknown words.

    Returns:
        The new words, ``stop`` included where it was reached.

    Raises:
        ValueError: options outside their range or of another method, unknown words, a model of another vocabulary.
    """
    choice("method", method, ("greedy", "sample", "beam"))
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "beam_width": beam_width}
    for name, value in options.items():
        used = method == ("beam" if name == "beam_width" else "sample") or (name == "seed" and noise)
        if value is not None and not used:
            raise ValueError(f"{name}: expected none for method {method!r}, got {value!r}")
    if stop is not None and stop not in vocabulary:
        raise ValueError(f"stop: expected a word of the model's vocabulary, got {stop!r}")
    steps, end = integer("length", length, 0), None if stop is None else vocabulary.id(stop)
    noise = real("noise", noise, 0)
    banned_ids = [known_id("exclude", vocabulary, word) for word in exclude]
    if len(set(banned_ids)) == vocabulary.size:
        raise ValueError(f"exclude: expected to leave one of the {vocabulary.size} words, got all of them")
    generator = random.generator(seed)
    width = 4 if beam_width is None else integer("beam_width", beam_width, 1, WIDEST)
    choose: Callable[[Array], Any] = np.argmax
    if method == "sample":
        choose = _sampler(temperature, top_k, top_p, generator)
    stream, log_p = _read_prompt(model, vocabulary, prompt, noise, generator)
    log_p[:, banned_ids] = -math.inf
    if method == "beam":
        step = _beam_step(model, width, banned_ids)
        [best] = beam_search(log_p, stream.get_state(), step, width=width, length=steps, end=end)
        return vocabulary.decode(best.tokens)
    ids: list[int] = []
    while len(ids) < steps and ids[-1:] != [end]:
        if ids:
            log_p = _next_log_probabilities(model, stream, ids[-1:], banned_ids)
        ids.append(choose(log_p[0]))
    return vocabulary.decode(ids)


def _read_prompt(
    model: Sequential,
    vocabulary: Vocabulary,
    prompt: str | Sequence[str],
    noise: float = 0.0,
    generator: np.random.Generator | None = None,
) -> tuple[Stream, Array]:
    """A stream that has read the prompt, and the log-probabilities (1, V) of the next word."""
    words = split_words("prompt", prompt)
    if not words:
        if "<eos>" not in vocabulary:
            raise ValueError("prompt: expected at least one word, got none")
        words = ["<eos>"]
    ids = [known_id("prompt", vocabulary, word) for word in words]
    units = getattr(model.layers[-1], "units", None)
    if units is not None and units != vocabulary.size:
        raise ValueError(f"vocabulary: expected {units} words, as many as the model's outputs, got {vocabulary.size}")
    stream = model.stream()
    if noise and generator is not None:
        states = [
            tuple((noise * truncated_noise(generator, state.shape)).astype(state.dtype) for state in layer)
            for layer in stream.get_state()
        ]
        stream.set_state(states)
    for word_id in ids:
        log_p = _next_log_probabilities(model, stream, [word_id])
    return stream, log_p


def _next_log_probabilities(
    model: Sequential, stream: Stream, ids: Sequence[int] | Ids, banned_ids: Sequence[int] = ()
) -> Array:
    """Log-probabilities (K, V) float64 of the next word after one more time step of ids (K,)."""
    output = stream.step(np.asarray(ids, np.int32))
    if output_activation(model) == "softmax":
        with np.errstate(divide="ignore"):
            log_p = np.log(output.astype(np.float64))
    else:
        log_p = log_softmax(output)
    log_p[:, banned_ids] = -math.inf
    return log_p


def _sampler(
    temperature: float | None, top_k: int | None, top_p: float | None, generator: np.random.Generator
) -> Callable[[Array], int]:
    """A function that draws an id from log-probabilities (V,)."""
    temperature = 1.0 if temperature is None else positive("temperature", temperature)
    top_k = None if top_k is None else integer("top_k", top_k, 1)
    top_p = None if top_p is None else positive("top_p", top_p, 1)

    def draw(log_p: Array) -> int:
        order = np.argsort(-log_p, kind="stable")[:top_k]
        p = np.exp((log_p[order] - log_p[order[0]]) / temperature)
        sums = np.cumsum(p / p.sum())
        kept = len(sums) if top_p is None else int(np.searchsorted(sums, top_p)) + 1
        sums = sums[:kept]
        return int(order[min(int(np.searchsorted(sums, generator.random() * sums[-1], "right")), len(sums) - 1)])

    return draw


def _beam_step(model: Sequential, width: int, banned_ids: Sequence[int]) -> Callable[[Ids, Any], tuple[Array, Any]]:
    """The step of a beam search: a function of the latest words (K,) and the state of the model before them."""
    beams = model.stream(width)

    def step(ids: Ids, state: Any) -> tuple[Array, Any]:
        beams.set_state(state)
        return _next_log_probabilities(model, beams, ids, banned_ids), beams.get_state()

    return step
