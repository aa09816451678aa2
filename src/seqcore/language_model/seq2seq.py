"""Sequence-to-sequence models: encoder, decoder, additive attention, greedy and beam search.

B: batch, S: source steps, T: target steps, V: target tokens, start and end included, K: beam width, H: units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops, random
from .._validation import boolean, choice, dropout_rate, integer
from ..autograd.tensor import Tensor
from ..layers import LSTM, AdditiveAttention, Bidirectional, Dense, Dropout, Embedding
from ..layers.registry import register
from ..models import Model
from ..text import Tokenizer, Vocabulary, pad_sequences
from ..typing import Array
from .beam_search import WIDEST, Beam, beam_search, log_softmax

START, END = "<start>", "<end>"
# The most tokens of a translation: a number of a few bytes in a file must not cost hours.
_LONGEST = 100_000
# Batches of one pool are cut from it in the order of length: little padding, and still a random order.
_POOL = 32


class Translation(NamedTuple):
    """A translation.

    Attributes:
        text: the target text.
        log_probability: natural logarithm of its probability.
        finished: True if the model ended it, False if it reached ``max_length``.
    """

    text: str
    log_probability: float
    finished: bool


@register()
class Seq2Seq(Model):
    """Encoder and decoder, by default with additive attention.

    Args:
        source: tokens of the sources: a string of letters, or a list.
        target: tokens of the targets.
        units: H, of the encoder in each direction; the decoder has 2 H, the attention H.
        embedding: width of the embeddings.
        attention: "additive" or "none".
        dropout: rate in training, of the embeddings and of the input of the output layer; 0 by default.
        separator: between two tokens of a text: "" (a token is a letter) or " ".
        lower: True turns sources into lower case first.
        max_length: most tokens of a translation, 1...100,000.

    A bidirectional LSTM reads the source, x_1 ... x_S; its outputs are h_1 ... h_S, and its last states, those of the
    two directions concatenated, are the initial state of the decoder, an LSTM. The decoder reads the target so far (in
    training the true one: teacher forcing), and its output s_t gives with ``attention="none"`` the logits W·s_t + b.
    That is the encoder-decoder of Sutskever, Vinyals and Le (Sequence to sequence learning with neural networks, 2014).
    With attention::

        score[t, j] = v · tanh(W_q s_t + W_k h_j)      a[t] = softmax(score[t]) over j
        context_t   = sum_j a[t, j] h_j                logits_t = W tanh(W_c [context_t, s_t]) + b

    This is the global attention of Luong, Pham and Manning (Effective approaches to attention-based neural machine
    translation, 2015) without input feeding, with their "concat" score, which is the additive score of Bahdanau, Cho
    and Bengio (Neural machine translation by jointly learning to align and translate, 2015). In Bahdanau's model the
    score comes from the state before the step, s_{t-1}, and the context enters the step itself, so that it must be
    computed step by step; here it does not, and the decoder runs over the whole target in one call.

    Call: ``model([source, target])`` with ids (B, S) and (B, T), both with ``lengths``, target beginning with the start
    token, gives logits (B, T, V). :class:`PairBatches` makes such batches.

    >>> model = Seq2Seq("abc", "xyz", units=4)
    >>> batches = PairBatches(model, ["ab", "c"], ["x", "yz"], batch_size=2, shuffle=False)
    >>> [source, target], y = next(iter(batches))
    >>> model([source, target]).shape
    (2, 3, 5)
    >>> len(model.translate(["abc", "a"], beam_width=3))
    2
    """

    def __init__(
        self,
        source: str | Sequence[str],
        target: str | Sequence[str],
        units: int = 64,
        embedding: int = 32,
        attention: str = "additive",
        dropout: float = 0.0,
        separator: str = "",
        lower: bool = False,
        max_length: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        choice("attention", attention, ("additive", "none"))
        choice("separator", separator, ("", " "))
        self.max_length = integer("max_length", max_length, 1, _LONGEST)
        integer("embedding", embedding, 1)
        dropout_rate("dropout", dropout)
        self.source, self.target = Vocabulary(source), Vocabulary([START, END, *target])
        self.separator, self.lower = separator, boolean("lower", lower)
        self._tokenizer = Tokenizer(0 if separator else 1)
        options: dict[str, Any] = {"dtype": self.dtype}
        self.source_embedding = Embedding(self.source.size, embedding, **options)
        self.encoder = Bidirectional(LSTM(units, return_sequences=True, return_state=True, **options))
        self.target_embedding = Embedding(self.target.size, embedding, **options)
        self.decoder = LSTM(2 * units, return_sequences=True, return_state=True, **options)
        self.attention = None
        if attention == "additive":
            self.key_projection = Dense(units, use_bias=False, **options)
            self.query_projection = Dense(units, use_bias=False, **options)
            self.attention = AdditiveAttention(**options)
            self.combine = Dense(2 * units, "tanh", **options)
        self.dropout = Dropout(dropout, **options)
        self.output_layer = Dense(self.target.size, **options)

    # ------------------------------------------------------------ the network

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        source, target = inputs
        memory, state = self._encode(source)
        outputs, _, _ = self.decoder(self.dropout(self.target_embedding(target)), initial_state=state)
        logits: Tensor = self.output_layer(self.dropout(self._attend(outputs, memory)[0]))
        logits.lengths = target.lengths
        return logits

    def _encode(self, source: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The memory of the attention, if there is one, and the initial state of the decoder.

        The memory: values (B, S, 2H) and their keys (B, S, H).
        """
        values, *states = self.encoder(self.dropout(self.source_embedding(source)))
        forward, backward = states[:2], states[2:]
        state = [ops.concat(pair, axis=-1) for pair in zip(forward, backward)]
        return [] if self.attention is None else [values, self.key_projection(values)], state

    def _attend(self, outputs: Tensor, memory: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The input (B, T, 2H) of the output layer from the decoder's outputs, and the attention weights (B, T, S)."""
        if self.attention is None:
            return outputs, None
        query = self.query_projection(outputs)
        context, weights = self.attention([query, *memory], return_attention_scores=True)
        return self.combine(ops.concat([context, outputs], axis=-1)), weights

    # ------------------------------------------------------------ texts

    def tokenize(self, text: str, is_source: bool = True) -> list[str]:
        """The tokens of a text; a source gets single spaces, and lower case with ``lower``."""
        if is_source:
            text = " ".join(text.split())
            text = text.lower() if self.lower else text
        return self._tokenizer.split(text)

    def encode_sources(self, texts: Sequence[str]) -> Tensor:
        """Ids (B, S) int32 with their lengths.

        Raises:
            ValueError: an empty text, or tokens outside the vocabulary.
        """
        rows = []
        for text in texts:
            tokens = self.tokenize(text)
            unknown = sorted({token for token in tokens if token not in self.source})
            if unknown or not tokens:
                known = "".join(self.source.words) if not self.separator else f"{self.source.size} known words"
                got = f"{', '.join(map(repr, unknown))} in {text!r}" if unknown else f"the empty {text!r}"
                raise ValueError(f"text: expected some of {known!r}, got {got}")
            rows.append(self.source.encode(tokens))
        return _padded(rows)

    def encode_targets(self, texts: Sequence[str]) -> tuple[Tensor, Array]:
        """Inputs of the decoder, start token first, and target outputs, end token last: ids (B, T) both.

        Raises:
            ValueError: tokens outside the vocabulary.
        """
        start, end = self.target.id(START), self.target.id(END)
        rows = [self.target.encode(self.tokenize(text, is_source=False)).tolist() for text in texts]
        outputs = pad_sequences([[*row, end] for row in rows], padding="post")
        return _padded([[start, *row] for row in rows]), outputs

    # ------------------------------------------------------------ translating

    def translate(self, texts: Sequence[str], beam_width: int = 1, batch_size: int = 256) -> list[Translation]:
        """The likeliest targets that a beam search finds.

        Args:
            texts: sources.
            beam_width: K, beginnings kept at a time; 1 is greedy search, the likeliest token each time.
            batch_size: sources searched together.

        Raises:
            ValueError: texts that are empty or have tokens outside the vocabulary, numbers below 1.

        The search is :func:`seqcore.language_model.beam_search.beam_search`.
        """
        integer("beam_width", beam_width, 1, WIDEST)
        integer("batch_size", batch_size, 1)
        source = self.encode_sources(texts)
        batches = _cut(np.arange(len(texts)), batch_size)
        return [beam for rows in batches for beam in self._search(_rows_of(source, rows), beam_width)]

    def _search(self, source: Tensor, width: int) -> list[Translation]:
        """Beam search for all rows of a batch at once."""
        memory, tensors = self._encode(source)
        first = np.full(source.shape[0], self.target.id(START), np.int32)
        log_p, state = self._next(first, [tensor.numpy() for tensor in tensors], memory)
        # All beams of a row attend to the same source.
        memory = [_rows_of(part, np.repeat(np.arange(len(first)), width)) for part in memory]
        beams = beam_search(
            log_p,
            state,
            lambda ids, state: self._next(ids, state, memory),
            width=width,
            length=self.max_length,
            end=self.target.id(END),
        )
        return [Translation(self._text(beam), beam.log_probability, beam.finished) for beam in beams]

    def _next(self, ids: Array, state: list[Array], memory: list[Tensor]) -> tuple[Array, list[Array]]:
        """log p (B, V) float64 of the token after ``ids`` (B,), and the decoder's state after them."""
        output, h, c = self.decoder(self.target_embedding(ids[:, None]), initial_state=state)
        log_p = log_softmax(self.output_layer(self._attend(output, memory)[0]).numpy()[:, 0])
        log_p[:, self.target.id(START)] = -np.inf
        return log_p, [h.numpy(), c.numpy()]

    def _text(self, beam: Beam) -> str:
        return self._tokenizer.join(self.target.decode(beam.tokens[:-1] if beam.finished else beam.tokens))

    def predict_text(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each text its translation by a beam search of width 4, with its probability; used by ``seqcore predict``.

        Raises:
            ValueError: see :meth:`encode_sources`.
        """
        return [
            {"text": text, "prediction": translation.text, "probability": math.exp(translation.log_probability)}
            for text, translation in zip(texts, self.translate(texts, beam_width=4))
        ]

    def attention_weights(self, sources: Sequence[str], targets: Sequence[str]) -> list[Array]:
        """The attention weights of each pair: of each target token over the source tokens.

        Returns:
            Arrays (target tokens + 1 for the end, source tokens); rows sum to 1.

        Raises:
            ValueError: a model without attention, tokens outside the vocabularies.
        """
        if self.attention is None:
            raise ValueError("attention_weights: expected a model with attention='additive', got one without")
        source, (target, _) = self.encode_sources(sources), self.encode_targets(targets)
        memory, state = self._encode(source)
        outputs, _, _ = self.decoder(self.target_embedding(target), initial_state=state)
        weights = self._attend(outputs, memory)[1]
        assert weights is not None and source.lengths is not None and target.lengths is not None
        return [rows[:t, :s] for rows, t, s in zip(weights.numpy(), target.lengths.tolist(), source.lengths.tolist())]


class PairBatches:
    """Batches of pairs for :meth:`Seq2Seq.fit`, of texts of similar length, so that there is little padding.

    Args:
        model: its vocabularies number the tokens.
        source, target: N texts each.
        batch_size: pairs of a batch.
        shuffle: a new order each epoch, from the seeded global generator.

    Each batch is ([source ids, inputs of the decoder], target outputs), cut to its longest texts; see
    :meth:`Seq2Seq.encode_sources` and :meth:`Seq2Seq.encode_targets`.

    Raises:
        ValueError: no pairs or lists of different length, tokens outside the vocabularies.
    """

    def __init__(
        self, model: Seq2Seq, source: Sequence[str], target: Sequence[str], batch_size: int = 64, shuffle: bool = True
    ) -> None:
        if len(source) != len(target) or not source:
            raise ValueError(
                f"target: expected as many texts as sources, at least 1, got {len(target)} of {len(source)}"
            )
        self.batch_size, self.shuffle = integer("batch_size", batch_size, 1), boolean("shuffle", shuffle)
        self._source = model.encode_sources(source)
        self._inputs, self._outputs = model.encode_targets(target)

    def __len__(self) -> int:
        return -(-len(self._outputs) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[list[Tensor], Array]]:
        return map(self._batch, self._batches())

    def _batch(self, rows: Array) -> tuple[list[Tensor], Array]:
        source, inputs = _rows_of(self._source, rows), _rows_of(self._inputs, rows)
        return [source, inputs], np.ascontiguousarray(self._outputs[rows, : inputs.shape[1]])

    def _batches(self) -> list[Array]:
        """Row numbers of each batch."""
        assert self._source.lengths is not None and self._inputs.lengths is not None
        total, size = self._source.lengths + self._inputs.lengths, self.batch_size
        if not self.shuffle:
            return _cut(np.argsort(total, kind="stable"), size)
        generator = random.generator()
        batches = []
        for pool in _cut(generator.permutation(len(total)), _POOL * size):
            batches += _cut(pool[np.argsort(total[pool], kind="stable")], size)
        return [batches[i] for i in generator.permutation(len(batches))]


def _cut(rows: Array, size: int) -> list[Array]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _padded(rows: Sequence[Any]) -> Tensor:
    """Ids of all rows (B, longest) with lengths, padded with zeros."""
    return _with_lengths(pad_sequences(rows, padding="post"), np.array([len(row) for row in rows], np.int32))


def _rows_of(ids: Tensor, rows: Any) -> Tensor:
    """Some rows of a padded tensor, cut to the longest of them."""
    assert ids.lengths is not None
    lengths = ids.lengths[rows]
    return _with_lengths(ids._array[rows, : lengths.max()], lengths)


def _with_lengths(ids: Array, lengths: Array) -> Tensor:
    tensor = Tensor(np.ascontiguousarray(ids))
    tensor.lengths = lengths
    return tensor
