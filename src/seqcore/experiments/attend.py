"""``seqcore run attend``: the names of two digits, letter by letter, with attention over windows of their image.

K. Xu and others, Show, attend and tell: neural image caption generation with visual attention (2015), its soft
attention; the image is looked at in windows anew for each letter, instead of being read once as in ``caption``.

N: images, R: rows, P: windows, L: letters, H: units, V: size of the alphabet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..datasets.images import Images, Part
from ..layers import LSTM, AdditiveAttention, Dense, Embedding, register
from ..models import Model
from ..optimizers import CosineDecay
from ..text import Vocabulary, pad_sequences
from ..typing import Array, Ids
from ._plots import draw_matrix
from ._run import Run, choice, compile_classifier, number, override
from .caption import NAMES
from .mnist import load_data

PAD, END = "<pad>", "<end>"
VOCABULARY = Vocabulary([PAD, END, " ", *sorted(set("".join(NAMES)))])
# Two names with a space, and the end.
LONGEST = 2 * max(map(len, NAMES)) + 2
EMBEDDING, RATE = 16, 0.004
WAYS = {"additive": "attention", "mean": "the mean of all windows"}


@dataclass(frozen=True)
class Settings:
    """Pairs of digits to train on and to test on, units, and epochs."""

    pairs: int
    test_pairs: int
    units: int
    epochs: int
    batch_size: int = 64


SETTINGS = {"quick": Settings(6_000, 1_000, 64, 12), "book": Settings(20_000, 5_000, 128, 15)}


OPTIONS = (
    choice("--look", WAYS, "at each letter: attention, or the mean of all windows", "additive"),
    number("--units", "of the LSTM over letters (default: the preset's)"),
)


# --- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """images (N, R, 3 R), two digits in each; labels (N, 2); starts (N, 2), the first column of each digit."""

    images: Images
    labels: Ids
    starts: Ids


def draw_pairs(part: Part, count: int, rng: np.random.Generator) -> Pairs:
    """Two digits by chance next to each other, at random places of an image three digits wide."""
    rows = part.images.shape[1]
    chosen = rng.integers(len(part), size=(count, 2))
    first = rng.integers(rows // 2 + 1, size=count)
    starts = np.stack([first, rng.integers(first + rows, 2 * rows + 1)], axis=1)
    images = np.zeros((count, rows, 3 * rows), np.float32)
    for image, pair, places in zip(images, chosen, starts):
        for row, start in zip(pair, places):
            image[:, start : start + rows] = part.images[row]
    return Pairs(images, part.labels[chosen], starts.astype(np.int32))


def windows(images: Images) -> Array:
    """(N, P, R²) windows as wide as high, a quarter of it apart: (N, R, C) images of 8 × 24 give 9 of them."""
    rows = images.shape[1]
    views = np.lib.stride_tricks.sliding_window_view(images, rows, axis=2)[:, :, :: max(1, rows // 4)]
    return np.ascontiguousarray(views.transpose(0, 2, 1, 3)).reshape(len(images), views.shape[2], -1)


def spell(labels: Ids) -> tuple[Ids, Ids]:
    """Letters before and letters (N, L) of the names of two digits each, as in ``caption``.

    >>> VOCABULARY.decode(spell(np.array([[2, 6]]))[1][0])[:8]
    ['t', 'w', 'o', ' ', 's', 'i', 'x', '<end>']
    """
    texts = [f"{NAMES[a]} {NAMES[b]}" for a, b in labels]
    letters = pad_sequences([VOCABULARY.encode([*text, END]) for text in texts], LONGEST, padding="post")
    before = np.concatenate([np.full((len(letters), 1), VOCABULARY.id(END), np.int32), letters[:, :-1]], axis=1)
    return np.where(letters > 0, before, 0), letters


# --- the model --------------------------------------------------------------------------------------------------------


@register("seqcore.experiments.attend/Attender")
class Attender(Model):
    """Windows and the letters before in, probabilities of the letters out.

    v_p = relu(W·window_p + e_p); q_l = LSTM(E[letter_{l-1}], q_{l-1}); a_l = softmax_p(w·tanh(A·q_l + B·v_p));
    z_l = Σ_p a_lp v_p; p_l = softmax(V·[q_l, z_l] + b). In the paper z_l is also an input of the LSTM.

    Args:
        windows: P.
        units: H, of the LSTM, of the windows and of the attention.
        look: "additive", or "mean" for equal weights.
    """

    def __init__(self, windows: int, units: int = 64, look: str = "additive") -> None:
        super().__init__()
        self.look = look
        self.see, self.places = Dense(units), Embedding(windows, units)
        self.letters, self.speller = Embedding(VOCABULARY.size, EMBEDDING), LSTM(units, return_sequences=True)
        self.query, self.key = Dense(units, use_bias=False), Dense(units, use_bias=False)
        self.attention, self.head = AdditiveAttention(), Dense(VOCABULARY.size, activation="softmax")

    def attend(self, seen: Any, before: Any) -> tuple[Tensor, Tensor]:
        """Probabilities (N, L, V) and the weights of the windows (N, L, P)."""
        values = ops.relu(ops.add(self.see(seen), self.places(np.arange(seen.shape[1])[None])))
        outputs = self.speller(self.letters(before))
        if self.look == "additive":
            queries = [self.query(outputs), values, self.key(values)]
            context, weights = self.attention(queries, return_attention_scores=True)
        else:
            weights = Tensor(np.full((*before.shape, seen.shape[1]), 1 / seen.shape[1], np.float32))
            context = ops.matmul(weights, values)
        return self.head(ops.concat([outputs, context], axis=-1)), weights

    def call(self, inputs: Any, training: Any = False) -> Tensor:
        seen, before = inputs
        p, _ = self.attend(seen, before)
        p.mask = np.asarray(before) > 0
        return p


def describe(model: Attender, images: Any) -> list[str]:
    """The names in each image (N, R, 3 R), the likeliest letter each time."""
    return read_out(model, windows(np.asarray(images, np.float32)))[0]


def read_out(model: Attender, seen: Array) -> tuple[list[str], Array]:
    """The texts, and the weights of the windows at each letter (N, L, P)."""
    before = np.full((len(seen), 1), VOCABULARY.id(END), np.int32)
    for _ in range(LONGEST):
        p, weights = model.attend(seen, before)
        before = np.concatenate([before, p.numpy()[:, -1:].argmax(axis=-1).astype(np.int32)], axis=1)
    texts = ["".join(VOCABULARY.decode(row)).partition(END)[0].replace(PAD, "") for row in before[:, 1:]]
    return texts, weights.numpy()


def attention_on_the_digit(weights: Array, pairs: Pairs) -> float:
    """Share of the weight, at the first letter of each name, of the windows nearer to its digit than to the other."""
    stride = max(1, pairs.images.shape[1] // 4)
    begins = stride * np.arange(weights.shape[2])
    distance = np.abs(begins[None, None, :] - pairs.starts[:, :, None])
    nearer = distance < distance[:, ::-1]
    second = np.array([len(NAMES[label]) + 1 for label in pairs.labels[:, 0]])
    at = np.stack([weights[:, 0], weights[np.arange(len(weights)), second]], axis=1)
    return float((at * nearer).sum(axis=2).mean())


# --- the run ----------------------------------------------------------------------------------------------------------


def main(run: Run) -> int:
    """Train, test and write the results; the exit status.

    Raises:
        ValueError, OSError, ImportError: with a message of one line.
    """
    arguments = run.arguments
    settings = override(SETTINGS[arguments.preset], arguments)
    digits = load_data(arguments.data)
    run.start(f"{digits.description}, two at random places of one image", arguments.look)
    rng = np.random.default_rng(arguments.seed)
    counts = {"train": settings.pairs, "valid": settings.test_pairs, "test": settings.test_pairs}
    parts = {name: draw_pairs(getattr(digits, name), count, rng) for name, count in counts.items()}
    data: dict[str, Any] = {}
    for name, pairs in parts.items():
        before, letters = spell(pairs.labels)
        data[name] = [windows(pairs.images), before], letters
    seen = data["train"][0][0]
    run.log(f"{len(seen):,} images to train on, {settings.test_pairs:,} to test on; {seen.shape[1]} windows in each")
    model = Attender(seen.shape[1], settings.units, arguments.look)
    steps = settings.epochs * -(-len(seen) // settings.batch_size)
    compile_classifier(model, CosineDecay(RATE, steps), from_logits=False)
    run.fit(model, settings, data["train"], data["valid"], verbose=0)
    pairs = parts["test"]
    texts, weights = read_out(model, data["test"][0][0])
    true = [f"{NAMES[a]} {NAMES[b]}" for a, b in pairs.labels]
    right = np.array(list(map(str.__eq__, texts, true)))
    # Under teacher forcing, so that the letters are those of the true names.
    forced = model.attend(*data["test"][0])[1].numpy()
    run.metrics |= {
        "test_exact_match": float(right.mean()),
        "attention_on_the_digit": attention_on_the_digit(forced, pairs),
        "parameters": model.count_params(),
    }
    run.log(f"both names right: {right.mean():.2%} of the test images, with {WAYS[arguments.look]}")
    share = run.metrics["attention_on_the_digit"]
    run.log(f"at the first letter of a name {share:.1%} of the weight is nearer to its digit than to the other")
    run.write_text("names.txt", "\n".join(["true\tsaid", *map("\t".join, zip(true, texts))]))
    run.save_model(model, images=digits.name)
    run.plot("attention.png", lambda figure: _draw(figure, pairs, texts, true, weights), 10, 7)
    return run.finish(look=arguments.look, units=settings.units)


def _draw(figure: Any, pairs: Pairs, texts: list[str], true: list[str], weights: Array) -> None:
    """Three images, each above the weights of its windows at each letter."""
    for column, panels in enumerate(figure.subplots(2, 3, gridspec_kw={"height_ratios": (1, 3)}).T):
        text = texts[column]
        panels[0].imshow(pairs.images[column], cmap="gray_r", vmin=0, vmax=1)
        panels[0].set_title(text if text == true[column] else f"{text} (is {true[column]})")
        panels[0].set_axis_off()
        letters = ["space" if letter == " " else letter for letter in text] + ["end"]
        shown = weights[column, : len(letters)]
        places = [str(place) for place in range(1, shown.shape[1] + 1)]
        draw_matrix(panels[1], shown, letters, places, xlabel="window, from left to right")
