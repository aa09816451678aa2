"""From one sequence to another of a different length: encoder, decoder, additive attention, greedy and beam search.

B: batch, S: source steps, T: target steps, V: target tokens with the two that begin and end, K: beam width, H: units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops, random
from .._validation import at_least, boolean, integer
from ..autograd.tensor import Tensor
from ..layers import LSTM, AdditiveAttention, Bidirectional, Dense, Dropout, Embedding
from ..layers.arguments import check_rate
from ..layers.registry import register
from ..models import Model
from ..text.sequences import pad_sequences
from ..text.vocabulary import Vocabulary
from ..typing import Array
from .beam_search import WIDEST, Beam, beam_search, log_softmax

START, END = "<start>", "<end>"
# Batches of one pool are cut from it in the order of length: little padding, and still a random order.
_POOL = 32


class Translation(NamedTuple):
    """What a source became, and the natural logarithm of its probability; ``ended`` unless the longest was reached."""

    text: str
    log_probability: float
    ended: bool


class _Memory(NamedTuple):
    """What the decoder sees of the source: values (B, S, 2H) and their keys (B, S, H), if there is attention."""

    values: Tensor | None
    keys: Tensor | None


@register()
class Seq2Seq(Model):
    """Encoder and decoder, by default with additive attention.

    Args:
        source: tokens that a source is made of: a string of letters, or a list.
        target: tokens that a target is made of.
        units: H, of the encoder in each direction; the decoder has 2 H, the attention H.
        embedding: width of the embeddings.
        attention: "additive" or "none".
        dropout: in training, of the embeddings and of what the output layer sees.
        separator: what stands between two tokens of a text: "" (a token is a letter) or " ".
        lower: whether sources are turned into lower case first.
        max_length: tokens at which a translation ends, if it has not done so itself.

    A bidirectional LSTM reads the source, x_1 ... x_S; its outputs are h_1 ... h_S, and its last states, those of the
    two directions side by side, are where the decoder, an LSTM, starts. That one reads the target so far (in training
    the true one: teacher forcing), and its output s_t gives with ``attention="none"`` the logits W·s_t + b. That is the
    encoder-decoder of Sutskever, Vinyals and Le (Sequence to sequence learning with neural networks, 2014). With
    attention::

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
        if attention not in ("additive", "none"):
            raise ValueError(f"attention: expected 'additive' or 'none', got {attention!r}")
        if separator not in ("", " "):
            raise ValueError(f"separator: expected '' or ' ', got {separator!r}")
        self.max_length = at_least("max_length", max_length, 1)
        at_least("embedding", embedding, 1)
        check_rate("dropout", dropout)
        self.source, self.target = Vocabulary(source), Vocabulary([START, END, *target])
        self.separator, self.lower = separator, boolean("lower", lower)
        kind: dict[str, Any] = {"dtype": self.dtype}
        self.source_embedding = Embedding(self.source.size, embedding, **kind)
        self.encoder = Bidirectional(LSTM(units, return_sequences=True, return_state=True, **kind))
        self.target_embedding = Embedding(self.target.size, embedding, **kind)
        self.decoder = LSTM(2 * units, return_sequences=True, return_state=True, **kind)
        self.attention = None
        if attention == "additive":
            self.key_projection = Dense(units, use_bias=False, **kind)
            self.query_projection = Dense(units, use_bias=False, **kind)
            self.attention = AdditiveAttention(**kind)
            self.combine = Dense(2 * units, "tanh", **kind)
        self.dropout = Dropout(dropout, **kind)
        self.output_layer = Dense(self.target.size, **kind)

    # ------------------------------------------------------------ the network

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        source, target = inputs
        memory, state = self._encode(source)
        outputs, _, _ = self.decoder(self.dropout(self.target_embedding(target)), initial_state=state)
        logits: Tensor = self.output_layer(self.dropout(self._attend(outputs, memory)[0]))
        logits.lengths = target.lengths
        return logits

    def _encode(self, source: Tensor) -> tuple[_Memory, list[Tensor]]:
        """What attention looks at, and the state in which the decoder starts."""
        values, *states = self.encoder(self.dropout(self.source_embedding(source)))
        forward, backward = states[:2], states[2:]
        state = [ops.concat(pair, axis=-1) for pair in zip(forward, backward)]
        if self.attention is None:
            return _Memory(None, None), state
        return _Memory(values, self.key_projection(values)), state

    def _attend(self, outputs: Tensor, memory: _Memory) -> tuple[Tensor, Tensor | None]:
        """What the output layer reads of the decoder's outputs (B, T, 2H), and the attention's weights (B, T, S)."""
        if self.attention is None:
            return outputs, None
        context, weights = self.attention(
            [self.query_projection(outputs), memory.values, memory.keys], return_attention_scores=True
        )
        return self.combine(ops.concat([context, outputs], axis=-1)), weights

    # ------------------------------------------------------------ texts

    def split(self, text: str, is_source: bool = True) -> list[str]:
        """The tokens of a text."""
        plain = " ".join(text.split()) if is_source else text
        plain = plain.lower() if is_source and self.lower else plain
        return plain.split() if self.separator else list(plain)

    def encode_sources(self, texts: Sequence[str]) -> Tensor:
        """Ids (B, S) int32 with their lengths.

        Raises:
            ValueError: an empty text, or tokens outside the vocabulary.
        """
        rows = []
        for text in texts:
            tokens = self.split(text)
            strange = sorted({token for token in tokens if token not in self.source})
            if strange or not tokens:
                known = "".join(self.source.words) if not self.separator else f"{self.source.size} known words"
                got = f"{', '.join(map(repr, strange))} in {text!r}" if strange else f"the empty {text!r}"
                raise ValueError(f"text: expected some of {known!r}, got {got}")
            rows.append(self.source.encode(tokens))
        return _padded(rows)

    def encode_targets(self, texts: Sequence[str]) -> tuple[Tensor, Array]:
        """What the decoder reads, start token first, and what it shall say, end token last: ids (B, T) both.

        Raises:
            ValueError: tokens outside the vocabulary.
        """
        start, end = self.target.id(START), self.target.id(END)
        rows = [self.target.encode(self.split(text, is_source=False)).tolist() for text in texts]
        read = _padded([[start, *row] for row in rows])
        said = _padded([[*row, end] for row in rows])
        return read, said._array

    # ------------------------------------------------------------ translating

    def translate(self, texts: Sequence[str], beam_width: int = 1, batch_size: int = 256) -> list[Translation]:
        """The likeliest targets that a search finds.

        Args:
            texts: sources.
            beam_width: K, how many beginnings are kept at a time; 1 is greedy search, the likeliest token each time.
            batch_size: sources searched together.

        Raises:
            ValueError: texts that are empty or have tokens outside the vocabulary, numbers below 1.

        The search is :func:`seqcore.language_model.beam_search.beam_search`.
        """
        integer("beam_width", beam_width, 1, WIDEST)
        at_least("batch_size", batch_size, 1)
        source = self.encode_sources(texts)
        assert source.lengths is not None
        found: list[Translation] = []
        for start in range(0, len(texts), batch_size):
            lengths = source.lengths[start : start + batch_size]
            part = Tensor(np.ascontiguousarray(source._array[start : start + batch_size, : lengths.max()]))
            part.lengths = lengths
            found += self._search(part, beam_width)
        return found

    def _search(self, source: Tensor, width: int) -> list[Translation]:
        """Beam search for all rows of a batch at a time."""
        memory, tensors = self._encode(source)
        first = np.full(source.shape[0], self.target.id(START), np.int32)
        log_p, state = self._next(first, [one.numpy() for one in tensors], memory)
        # All beams of a row look at the same source.
        memory = _Memory(*(None if one is None else _repeated(one, width) for one in memory))
        found = beam_search(
            log_p,
            state,
            lambda ids, state: self._next(ids, state, memory),
            width=width,
            length=self.max_length,
            end=self.target.id(END),
        )
        return [Translation(self._text(one), one.log_probability, one.ended) for one in found]

    def _next(self, ids: Array, state: list[Array], memory: _Memory) -> tuple[Array, list[Array]]:
        """log p (B, V) float64 of the token after ``ids`` (B,), and the decoder's state after them."""
        output, h, c = self.decoder(self.target_embedding(ids[:, None]), initial_state=state)
        log_p = log_softmax(self.output_layer(self._attend(output, memory)[0]).numpy()[:, 0])
        log_p[:, self.target.id(START)] = -np.inf
        return log_p, [h.numpy(), c.numpy()]

    def _text(self, found: Beam) -> str:
        kept = found.tokens[:-1] if found.ended else found.tokens
        return self.separator.join(self.target.words[i] for i in kept)

    def predict_text(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """For each text its translation by a beam search of width 4, with its probability; used by ``seqcore predict``.

        Raises:
            ValueError: see :meth:`encode_sources`.
        """
        return [
            {"text": text, "prediction": one.text, "probability": math.exp(one.log_probability)}
            for text, one in zip(texts, self.translate(texts, beam_width=4))
        ]

    def attention_weights(self, sources: Sequence[str], targets: Sequence[str]) -> list[Array]:
        """For each pair how much each token of the target looked at those of the source.

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
        return [one[:t, :s] for one, t, s in zip(weights.numpy(), target.lengths.tolist(), source.lengths.tolist())]


class PairBatches:
    """Batches of pairs for :meth:`Seq2Seq.fit`, of texts of similar length, so that there is little padding.

    Args:
        model: knows the tokens.
        source, target: N texts each.
        batch_size: pairs of a batch.
        shuffle: a new order each epoch, from the seeded global generator.

    Each batch is ([source ids, target ids read], target ids to be said), cut to its longest texts.

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
        self.batch_size, self.shuffle = at_least("batch_size", batch_size, 1), boolean("shuffle", shuffle)
        self._source = model.encode_sources(source)
        self._read, self._said = model.encode_targets(target)
        assert self._source.lengths is not None and self._read.lengths is not None
        self._lengths = self._source.lengths, self._read.lengths

    def __len__(self) -> int:
        return -(-len(self._said) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[list[Tensor], Array]]:
        return (self._cut(rows) for rows in self._rows())

    def _rows(self) -> list[Array]:
        """Rows of each batch."""
        count, size = len(self._said), self.batch_size
        total = self._lengths[0] + self._lengths[1]
        if not self.shuffle:
            order = np.argsort(total, kind="stable")
            return [order[start : start + size] for start in range(0, count, size)]
        generator = random.generator()
        order = generator.permutation(count)
        found = []
        for start in range(0, count, _POOL * size):
            pool = order[start : start + _POOL * size]
            pool = pool[np.argsort(total[pool], kind="stable")]
            found += [pool[i : i + size] for i in range(0, len(pool), size)]
        return [found[i] for i in generator.permutation(len(found))]

    def _cut(self, rows: Array) -> tuple[list[Tensor], Array]:
        source, read = (
            _with_lengths(one._array[rows, : lengths[rows].max()], lengths[rows])
            for one, lengths in zip((self._source, self._read), self._lengths)
        )
        return [source, read], np.ascontiguousarray(self._said[rows, : read.shape[1]])


def _padded(rows: Sequence[Any]) -> Tensor:
    """Ids of all rows (B, longest) with lengths; zeros behind them."""
    return _with_lengths(pad_sequences(rows, padding="post"), np.array([len(row) for row in rows], np.int32))


def _with_lengths(ids: Array, lengths: Array) -> Tensor:
    tensor = Tensor(np.ascontiguousarray(ids))
    tensor.lengths = lengths
    return tensor


def _repeated(x: Tensor, times: int) -> Tensor:
    """Each row that many times, one after the other."""
    if times == 1:
        return x
    return _with_lengths(np.repeat(x._array, times, axis=0), np.repeat(np.asarray(x.lengths), times))
