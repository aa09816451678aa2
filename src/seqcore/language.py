"""Language models: building, training by truncated back-propagation, perplexity and generation.

B: rows of the text read side by side, T: words per window, V: words of the vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import random
from ._validation import MALFORMED, at_least, boolean, integer_in, one_line, positive, real, short_repr
from .beam import WIDEST, beam_search, log_softmax
from .text import Ids, Vocabulary, bptt_batches, check_ids

if TYPE_CHECKING:
    from .callbacks import Callback
    from .losses import Loss
    from .models import Sequential

Array = NDArray[Any]

# Rows of a window times words: enough for the products to be fast, few enough to keep memory small.
_WINDOW = 1000


@dataclass(frozen=True)
class Schedule:
    """A learning rate that is held for ``hold`` epochs and then multiplied by ``decay`` each epoch.

    >>> [Schedule(1.0, hold=2, decay=0.5).at(epoch) for epoch in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    learning_rate: float = 1.0
    hold: int = 4
    decay: float = 0.5

    def __post_init__(self) -> None:
        for name in ("learning_rate", "decay"):
            positive(name, getattr(self, name))
        at_least("hold", self.hold, 0)

    def at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.decay ** max(epoch + 1 - self.hold, 0)


def build_model(
    vocabulary_size: int,
    units: int = 200,
    layers: int = 2,
    keep_prob: float = 1.0,
    init_scale: float = 0.1,
    clip: float = 5.0,
    learning_rate: float = 1.0,
    dtype: str | None = None,
    loss: Loss | None = None,
) -> Sequential:
    """The LSTM language model of W. Zaremba, I. Sutskever, O. Vinyals, Recurrent neural network regularization, 2014.

    Embedding, ``layers`` stateful LSTM layers, Dense, with dropout after the embedding and after each LSTM layer.
    Weights, the output's bias included, start uniform in +-init_scale; the LSTMs' biases start at zero, the forget
    gate's too. The model is compiled with SGD clipped by global norm, and the cross-entropy summed over time and
    averaged over the batch.

    Args:
        vocabulary_size: words V.
        units: size of the embedding and of each LSTM layer.
        layers: LSTM layers.
        keep_prob: share of values that dropout keeps; 1 means no dropout.
        init_scale: largest absolute value of an initial weight.
        clip: largest global norm of the gradient.
        learning_rate: of SGD.
        dtype: "float32", "float64" or "mixed_bfloat16"; None takes :func:`seqcore.dtype_policy`.
        loss: another loss than the cross-entropy of the softmax, for instance ``NCELoss(512, reduction="batch_mean")``.

    Raises:
        ValueError: sizes below 1, ``keep_prob`` outside (0, 1], other numbers that are not positive.
    """
    from .initializers import RandomUniform
    from .layers import LSTM, Dense, Dropout, Embedding
    from .losses import SparseCategoricalCrossentropy
    from .models import Sequential
    from .optimizers import SGD

    for name, count in (("vocabulary_size", vocabulary_size), ("units", units), ("layers", layers)):
        at_least(name, count, 1)
    _share("keep_prob", keep_prob)
    for name, value in (("init_scale", init_scale), ("clip", clip), ("learning_rate", learning_rate)):
        positive(name, value)

    def uniform() -> RandomUniform:
        return RandomUniform(-init_scale, init_scale)

    stack: list[Any] = [Embedding(vocabulary_size, units, embeddings_initializer=uniform(), dtype=dtype)]
    for _ in range(layers):
        if keep_prob < 1:
            stack.append(Dropout(1 - keep_prob, dtype=dtype))
        stack.append(
            LSTM(
                units,
                kernel_initializer=uniform(),
                recurrent_initializer=uniform(),
                unit_forget_bias=False,
                return_sequences=True,
                stateful=True,
                dtype=dtype,
            )
        )
    if keep_prob < 1:
        stack.append(Dropout(1 - keep_prob, dtype=dtype))
    stack.append(Dense(vocabulary_size, kernel_initializer=uniform(), bias_initializer=uniform(), dtype=dtype))
    model = Sequential(stack)
    model.compile(
        optimizer=SGD(learning_rate, global_clipnorm=clip),
        loss=loss or SparseCategoricalCrossentropy(from_logits=True, reduction="batch_mean"),
    )
    return model


def _share(name: str, value: Any) -> float:
    """A number in (0, 1]."""
    try:
        share = positive(name, value)
    except ValueError:
        share = math.inf
    if share > 1:
        raise ValueError(f"{name}: expected a number in (0, 1], got {short_repr(value)}")
    return share


class Interrupted(Exception):
    """Raised out of a run by its ``on_batch`` or ``check`` hook to stop it at a place it can be resumed from."""


class Trainer:
    """Trains a stateful language model epoch by epoch over one text; where it stands can be saved at any batch.

    Args:
        model: a compiled Sequential with stateful recurrent layers and a Dense output over V words; its loss must be
            summed over time and averaged over the batch ("batch_mean"), as :func:`build_model` sets it. With a sampled
            loss the history has ``train_loss`` (per word) in place of ``train_perplexity``.
        train, valid: (N,) ids of the texts.
        batch_size: rows B read side by side.
        steps: words T per window, the reach of the gradient.
        epochs: passes over the text.
        schedule: the learning rate of each epoch.
        callbacks: objects of ``seqcore.callbacks``; logs have loss, perplexity, learning_rate and, at the end of an
            epoch, val_perplexity. Setting ``model.stop_training`` ends the run after the epoch.
        on_batch: called with the trainer after each batch; may raise :class:`Interrupted`.
        on_epoch: called with the trainer after each epoch and its validation; the epoch's figures are ``history[-1]``.
        check: called with nothing now and then while the validation text is read; may raise :class:`Interrupted`.

    Attributes: ``epoch`` and ``batch`` (what comes next, from 0), ``history`` (one dict per epoch), ``batches``.

    The model's state is zeroed at the start of each epoch. Perplexities are exp(loss per word); the validation's is
    computed as in training, B rows and windows of T words, with the words left over at the end of each row left out.

    Raises:
        ValueError: a text too short for one batch.
    """

    def __init__(
        self,
        model: Sequential,
        train: Any,
        valid: Any,
        *,
        batch_size: int,
        steps: int,
        epochs: int,
        schedule: Schedule,
        callbacks: Iterable[Callback] = (),
        on_batch: Callable[[Trainer], None] | None = None,
        on_epoch: Callable[[Trainer], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        from .callbacks import CallbackList

        if model.optimizer is None:
            raise ValueError("model: expected a compiled model; call compile(optimizer, loss)")
        self.model, self.schedule, self.epochs = model, schedule, at_least("epochs", epochs, 0)
        self._optimizer = model.optimizer
        self.batches = bptt_batches(train, batch_size, steps)
        bptt_batches(valid, batch_size, steps)
        self.valid = check_ids(valid)
        self.epoch = self.batch = 0
        self.history: list[dict[str, Any]] = []
        self._costs = 0.0
        self._clock = _Clock()
        self._callbacks = CallbackList(callbacks, model=model, epochs=self.epochs, steps=len(self.batches), verbose=0)
        self._on_batch, self._on_epoch, self._check = on_batch, on_epoch, check

    @property
    def learning_rate(self) -> float:
        """Of the current epoch."""
        return self.schedule.at(min(self.epoch, self.epochs - 1))

    @property
    def sampled(self) -> bool:
        """Whether the model trains on sampled classes, so that its training loss is no perplexity."""
        from .losses import SampledLoss

        return isinstance(self.model.loss, SampledLoss)

    @property
    def loss_per_word(self) -> float:
        """Training loss of the current epoch so far."""
        return self._costs / (self.batch * self.batches.steps) if self.batch else math.nan

    @property
    def perplexity(self) -> float:
        """Training perplexity of the current epoch so far; without meaning where the loss is ``sampled``."""
        return _exp(self.loss_per_word)

    @property
    def words_per_second(self) -> float:
        """Words trained on per second since the epoch (or the resumed part of it) began."""
        return self._clock.rate()

    def position(self) -> dict[str, Any]:
        """Where the run stands, as JSON can hold it: for ``model.save_checkpoint``."""
        return {"epoch": self.epoch, "batch": self.batch, "costs": self._costs, "history": self.history}

    def restore(self, position: Mapping[str, Any]) -> None:
        """Goes on from a :meth:`position`; the model's own state comes from its checkpoint.

        Raises:
            ValueError: not a position of such a run; nothing is changed then.
        """
        try:
            history = [self._entry(number, entry) for number, entry in enumerate(position["history"])]
            epoch = integer_in("epoch", position["epoch"], len(history), len(history))
            batch = integer_in("batch", position["batch"], 0, len(self.batches))
            costs = _number("costs", position["costs"])
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"position: expected what Trainer.position gave, got another ({reason})") from None
        self.epoch, self.batch, self._costs, self.history = epoch, batch, costs, history

    def _entry(self, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The figures of an epoch, as :meth:`run` notes them; those of others are kept."""
        train = "train_loss" if self.sampled else "train_perplexity"
        for key in ("learning_rate", train, "valid_perplexity", "words_per_second", "seconds"):
            _number(key, entry[key])
        integer_in("epoch", entry["epoch"], number + 1, number + 1)
        return dict(entry)

    def run(self) -> list[dict[str, Any]]:
        """Trains to the end and returns the history.

        Raises:
            FloatingPointError: the loss is no finite number.
            Interrupted: a hook stopped the run; :meth:`position` tells where.
        """
        self.model.stop_training = False
        self._callbacks.on_train_begin()
        while self.epoch < self.epochs and not self.model.stop_training:
            self._callbacks.on_epoch_begin(self.epoch)
            self._run_epoch()
        self._callbacks.on_train_end()
        return self.history

    def _run_epoch(self) -> None:
        rate = self.learning_rate
        self._optimizer.learning_rate = rate
        if self.batch == 0:
            self.model.reset_states()
            self._costs = 0.0
        sampled, begin, words = self.sampled, time.perf_counter(), self.batches.batch_size * self.batches.steps
        self._clock.start()
        for x, y in self.batches.resume(self.batch):
            self._callbacks.on_train_batch_begin(self.batch)
            loss = float(self.model.train_on_batch(x, y))
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"loss: got {loss} in epoch {self.epoch + 1}, batch {self.batch + 1}; try a lower learning rate"
                )
            self._costs += loss
            self.batch = self.batches.position
            self._clock.count(words)
            logs = {"loss": loss} if sampled else {"loss": loss, "perplexity": self.perplexity}
            self._callbacks.on_train_batch_end(self.batch - 1, logs)
            if self._on_batch is not None:
                self._on_batch(self)
        speed = self.words_per_second
        train = {"train_loss": self.loss_per_word} if sampled else {"train_perplexity": self.perplexity}
        valid = evaluate_perplexity(
            self.model, self.valid, self.batches.batch_size, self.batches.steps, drop_tail=True, check=self._check
        )
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "learning_rate": rate,
                **train,
                "valid_perplexity": valid,
                "words_per_second": speed,
                "seconds": time.perf_counter() - begin,
            }
        )
        self.epoch, self.batch = self.epoch + 1, 0
        logs = {"loss": self._costs / len(self.batches), "val_perplexity": valid, "learning_rate": rate}
        if not sampled:
            logs["perplexity"] = train["train_perplexity"]
        self._costs = 0.0
        if self._on_epoch is not None:
            self._on_epoch(self)
        self._callbacks.on_epoch_end(self.epoch - 1, logs)


def _number(name: str, value: Any) -> float:
    """A float of any size: a run may have diverged."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ValueError(f"{name}: expected a number, got {short_repr(value)}")
    return float(value)


class _Clock:
    """Counts words against time."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._begin, self._words = time.perf_counter(), 0

    def count(self, words: int) -> None:
        self._words += words

    def rate(self) -> float:
        return self._words / max(time.perf_counter() - self._begin, 1e-9)


def word_losses(
    model: Sequential,
    ids: Any,
    batch_size: int = 1,
    steps: int = 1,
    drop_tail: bool = False,
    check: Callable[[], None] | None = None,
) -> NDArray[np.float64]:
    """-log p of each word given all words before it in its row, in nats.

    The text is cut into ``batch_size`` rows; within a row the state is carried from the first word to the last,
    starting at zero, so how the row is cut into windows changes nothing: with batch 1 this is exactly the evaluation
    word by word (batch 1, one step). The model's own carried state is left alone.

    Args:
        model: a Sequential whose last layer is Dense over the V words.
        ids: (N,) integers 0...V-1.
        batch_size: rows B; N % B words at the end are not read.
        steps: used with ``drop_tail`` alone.
        drop_tail: reads whole windows of ``steps`` words only, as training does.
        check: called between windows.

    Returns:
        (B, words per row) float64.

    Raises:
        ValueError: too few words, ids outside, a model that does not end in Dense.
    """
    from .layers import Dense
    from .ops import linear_softmax_cross_entropy

    output = model.layers[-1]
    activation = _activation_name(output)
    if not isinstance(output, Dense) or activation not in ("linear", "softmax"):
        raise ValueError("model: expected a Sequential that ends in Dense, linear or softmax, over the words")
    stream = check_ids(ids, output.units)
    rows = at_least("batch_size", batch_size, 1)
    length = len(stream) // rows
    steps = at_least("steps", steps, 1)
    width = steps if boolean("drop_tail", drop_tail) else 1
    covered = (length - 1) // width * width
    if covered < 1:
        raise ValueError(f"ids: expected at least {rows * (width + 1)} words for {rows} rows, got {len(stream)}")
    table = stream[: rows * length].reshape(rows, length)
    window = max(1, _WINDOW // rows)
    losses = np.empty((rows, covered))
    with model.state_scope():
        for begin in range(0, covered, window):
            end = min(begin + window, covered)
            hidden: Any = np.ascontiguousarray(table[:, begin:end])
            for layer in model.layers[:-1]:
                hidden = layer(hidden, training=False)
            targets = np.ascontiguousarray(table[:, begin + 1 : end + 1])
            losses[:, begin:end] = np.asarray(
                linear_softmax_cross_entropy(
                    hidden, output.kernel, output.bias, targets, reduction="none", mixed=output._mixed
                )
            )
            if check is not None:
                check()
    return losses


def evaluate_perplexity(
    model: Sequential,
    ids: Any,
    batch_size: int = 1,
    steps: int = 1,
    drop_tail: bool = False,
    check: Callable[[], None] | None = None,
) -> float:
    """exp(mean of :func:`word_losses`): by default over the whole text as one stream, word by word."""
    return _exp(float(np.mean(word_losses(model, ids, batch_size, steps, drop_tail, check))))


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
    width = 4 if beam_width is None else integer_in("beam_width", beam_width, 1, WIDEST)
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


def _start(
    model: Sequential,
    vocabulary: Vocabulary,
    prompt: str | Sequence[str],
    noise: float = 0.0,
    generator: np.random.Generator | None = None,
) -> tuple[Any, Array]:
    """A stream that has read the prompt, and the log-probabilities (1, V) of the next word."""
    words = _words("prompt", prompt)
    if not words:
        if "<eos>" not in vocabulary:
            raise ValueError("prompt: expected at least one word, got none")
        words = ["<eos>"]
    ids = [_known("prompt", vocabulary, word) for word in words]
    units = getattr(model.layers[-1], "units", None)
    if units is not None and units != vocabulary.size:
        raise ValueError(f"vocabulary: expected {units} words, as many as the model's outputs, got {vocabulary.size}")
    stream = model.stream()
    if noise:
        draw = random.generator() if generator is None else generator
        start = [[draw.normal(0, noise, part.shape).astype(part.dtype) for part in one] for one in stream.get_state()]
        stream.set_state([tuple(one) for one in start])
    for number in ids:
        output = stream.step(np.array([number], np.int32))
    return stream, _log_probabilities(model, output)


def _words(name: str, text: Any) -> list[str]:
    """The words of a text, or of a list of them."""
    if isinstance(text, str):
        return text.split()
    if isinstance(text, (bytes, dict)) or not isinstance(text, Iterable):
        raise TypeError(f"{name}: expected a text or a sequence of words, got {short_repr(text)}")
    return list(text)


def _known(name: str, vocabulary: Vocabulary, word: str) -> int:
    try:
        return vocabulary.id(word)
    except ValueError:
        raise ValueError(f"{name}: expected words of the model's vocabulary, got {word!r}") from None


def _log_probabilities(model: Sequential, output: Array) -> Array:
    """log p (rows, V) float64 from one step's output, logits or probabilities."""
    if _activation_name(model.layers[-1]) == "softmax":
        with np.errstate(divide="ignore"):
            return np.log(output.astype(np.float64))
    return log_softmax(output)


def _activation_name(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return activation if isinstance(activation, str) else getattr(activation, "__name__", str(activation))


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


def _exp(value: float) -> float:
    """exp without an error where a model that learned nothing would overflow it."""
    return math.exp(value) if value < 700 else math.inf


def encode_text(vocabulary: Vocabulary, text: str | Sequence[str]) -> Ids:
    """Ids of a text to be judged: its words with ``<eos>`` in front, if the vocabulary has it.

    Raises:
        ValueError: fewer words than it takes to predict one, or unknown ones.
    """
    words = _words("text", text)
    if not words:
        raise ValueError("text: expected at least one word, got none")
    if "<eos>" in vocabulary and words[0] != "<eos>":
        words = ["<eos>", *words]
    return np.array([_known("text", vocabulary, word) for word in words], np.int32)
