"""``seqcore run caption``: from the image of a digit to its name, letter by letter.

One input, many outputs: an encoder reads the image once and gives the first state of an LSTM over letters, which then
spells "seven" and ends. In training it sees the right letter at each step (teacher forcing), afterwards its own: the
likeliest (greedy), or those of the likeliest whole word (beam search). The two differ where the image leaves doubt: "f"
may be the likeliest first letter because "four" and "five" share it, though "nine" is the likeliest word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import Model, Tensor, pad_sequences
from ..datasets.images import Images, Labels, Part
from ..language_model.beam_search import beam_search
from ..layers import LSTM, Bidirectional, Dense, Dropout, Embedding, Flatten, register
from ..optimizers import CosineDecay
from ..text import Vocabulary
from ..typing import Array, Ids
from ._plots import draw_images
from ._run import Run, choice, compile_classifier, number, override
from .mnist import baselines, load_data

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PAD, END = "<pad>", "<end>"
VOCABULARY = Vocabulary([PAD, END, *sorted(set("".join(NAMES)))])
LONGEST = max(map(len, NAMES)) + 1
_SHOWN = 16


@dataclass(frozen=True)
class Settings:
    """Of a run."""

    encoder: str = "lstm"
    units: int = 64
    embedding: int = 16
    dropout: float = 0.3
    batch_size: int = 32
    learning_rate: float = 0.005
    epochs: int = 25


SETTINGS = {"quick": Settings(), "book": Settings(units=128, batch_size=128, learning_rate=0.002, epochs=10)}


OPTIONS = (
    choice("--encoder", ("lstm", "dense"), "of the image: an LSTM in both directions, or a dense layer", "lstm"),
    number("--units", "of the LSTM over letters (default: the preset's)"),
    number("--beam", "width of the beam search", 4),
)


def spell(labels: Labels) -> tuple[Ids, Ids]:
    """Inputs and target outputs of the LSTM over letters; L is the length of the longest name with its end.

    Args:
        labels: (N,) digits.

    Returns:
        (N, L) letters before, a name starting after ``<end>``, and (N, L) letters; padded with 0.

    >>> before, letters = spell(np.array([2]))
    >>> VOCABULARY.decode(before[0]), VOCABULARY.decode(letters[0])
    (['<end>', 't', 'w', 'o', '<pad>', '<pad>'], ['t', 'w', 'o', '<end>', '<pad>', '<pad>'])
    """
    table = pad_sequences([VOCABULARY.encode([END, *name, END]) for name in NAMES], LONGEST + 1, padding="post")
    rows = table[labels]
    letters = rows[:, 1:]
    return np.where(letters > 0, rows[:, :-1], 0), letters


@register("seqcore.experiments.caption/Captioner")
class Captioner(Model):
    """Images and the letters before in, probabilities of the letters out.

    e = encoder(image); h_0 = tanh(W_h·e + b_h), c_0 = W_c·e + b_c; h_t, c_t = LSTM(E[letter_{t-1}], h_{t-1}, c_{t-1});
    p_t = softmax(V·h_t + b). O. Vinyals, A. Toshev, S. Bengio, D. Erhan, Show and tell, 2015, with the image as the
    first state.

    Args:
        units: H, of the LSTM over letters and of the encoder.
        encoder: "lstm" (both directions over the rows) or "dense".
        embedding: numbers per letter.
        dropout: of the encoder's outputs, in training.
    """

    def __init__(self, units: int = 64, encoder: str = "lstm", embedding: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.flatten = Flatten()
        self.encoder: Any = Bidirectional(LSTM(units)) if encoder == "lstm" else Dense(2 * units, activation="relu")
        self.drop = Dropout(dropout)
        self.to_h, self.to_c = Dense(units, activation="tanh"), Dense(units)
        self.letters = Embedding(VOCABULARY.size, embedding, mask_zero=True)
        self.speller = LSTM(units, return_sequences=True, return_state=True)
        self.head = Dense(VOCABULARY.size, activation="softmax")

    def encode(self, images: Any, training: Any = False) -> list[Tensor]:
        """First state [h, c], each (B, H), from images (B, R, C)."""
        seen = images if isinstance(self.encoder, Bidirectional) else self.flatten(images)
        summary = self.drop(self.encoder(seen, training=training), training=training)
        return [self.to_h(summary), self.to_c(summary)]

    def step(self, letters: Any, state: Any) -> tuple[Tensor, list[Tensor]]:
        """Probabilities (B, L, V) after letters (B, L), and the state at their end."""
        outputs, *state = self.speller(self.letters(letters), initial_state=state)
        return self.head(outputs), state

    def call(self, inputs: Any, training: Any = False) -> Tensor:
        images, letters = inputs
        return self.step(letters, self.encode(images, training))[0]


def describe(model: Captioner, images: Any, width: int = 4, batch_size: int = 500) -> list[str]:
    """The name of each image (N, R, C), by beam search of that width; 1 is the greedy choice.

    Raises:
        ValueError: no images.
    """
    images = np.asarray(images, np.float32)
    if images.ndim != 3 or not len(images):
        raise ValueError(f"images: expected shape (N, rows, columns), got {images.shape}")
    starts = range(0, len(images), batch_size)
    return [name for start in starts for name in _spell_out(model, images[start : start + batch_size], width)]


def _spell_out(model: Captioner, images: Images, width: int) -> list[str]:
    """The words that a beam search over the letters finds."""

    def step(letters: Ids, state: Any) -> tuple[Array, Any]:
        p, state = model.step(letters[:, None], state)
        with np.errstate(divide="ignore"):
            log_p = np.log(p.numpy()[:, 0].astype(np.float64))
        log_p[:, VOCABULARY.id(PAD)] = -np.inf
        return log_p, state

    end = VOCABULARY.id(END)
    log_p, state = step(np.full(len(images), end, np.int32), model.encode(images))
    beams = beam_search(log_p, state, step, width=width, length=LONGEST, end=end)
    return ["".join(VOCABULARY.decode(beam.tokens[:-1] if beam.finished else beam.tokens)) for beam in beams]


def _examples(part: Part) -> tuple[list[Array], Ids]:
    before, letters = spell(part.labels)
    return [part.images, before], letters


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    settings = SETTINGS[arguments.preset]
    if arguments.preset == "quick" and arguments.data != "builtin":
        settings = replace(settings, batch_size=128, epochs=2)
    settings = override(settings, arguments)
    digits = load_data(arguments.data)
    run.start(digits.summary, settings.encoder)
    run.metrics |= baselines(digits)
    model = Captioner(settings.units, settings.encoder, settings.embedding, settings.dropout)
    steps = settings.epochs * -(-len(digits.train) // settings.batch_size)
    compile_classifier(model, CosineDecay(settings.learning_rate, steps), from_logits=False)
    run.fit(model, settings, _examples(digits.train), _examples(digits.valid))
    run.metrics["parameters"] = model.count_params()
    names = _test(run, model, digits.test, arguments.beam)
    run.plot("captions.png", lambda figure: _draw_captions(figure, digits.test, names), height=3.6)
    lines = [f"{NAMES[label]}\t{name}" for label, name in zip(digits.test.labels, names, strict=True)]
    run.write_text("captions.txt", "\n".join(["true\tsaid", *lines]))
    run.save_model(model, images=digits.name)
    return run.finish(encoder=settings.encoder, units=settings.units, beam=arguments.beam)


def _test(run: Run, model: Captioner, test: Part, width: int) -> list[str]:
    """Print the share of names that are right, by greedy choice and by beam search; the names of the latter."""
    true = [NAMES[label] for label in test.labels]
    greedy, beam = (describe(model, test.images, kept) for kept in (1, width))
    share_greedy, share_beam = (sum(map(str.__eq__, words, true)) / len(true) for words in (greedy, beam))
    differ = sum(map(str.__ne__, greedy, beam))
    strange = [name for name in greedy if name not in NAMES]
    run.metrics |= {"test_exact_match": share_beam, "test_exact_match_greedy": share_greedy}
    run.metrics |= {"greedy_beam_differ": differ, "greedy_no_names": len(strange)}
    run.log(
        f"baselines: always the commonest name {run.metrics['majority_accuracy']:.2%}, the name of the digit that "
        f"logistic regression on the pixels says {run.metrics['logistic_accuracy']:.2%}"
    )
    run.log(
        f"whole names right on the test images: {share_greedy:.2%} letter by letter, {share_beam:.2%} by beam "
        f"search of width {width}; they differ for {differ} of {len(true):,} images"
    )
    if strange:
        run.log(f"letter by letter {len(strange)} words are no name of a digit, such as {strange[0]!r}")
    return beam


def _draw_captions(figure: Any, test: Part, names: list[str]) -> None:
    """The first images that are wrong, up to half of the picture, among the first that are right."""
    right = np.array([name == NAMES[label] for name, label in zip(names, test.labels, strict=True)])
    wrong = np.flatnonzero(~right)[: _SHOWN // 2]
    shown = [*np.flatnonzero(right)[: _SHOWN - len(wrong)], *wrong]
    figure.suptitle(f"Images and the names that the network gives them: {right.mean():.1%} of {len(test):,} right")
    titles = [names[row] if right[row] else f"{names[row]}\n(is {NAMES[test.labels[row]]})" for row in shown]
    colors = ["#117733" if right[row] else "#cc3311" for row in shown]
    draw_images(figure, test.images[shown], titles, -(-len(shown) // 2), colors)
