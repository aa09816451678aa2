"""word2vec in plain NumPy loops and float64, written from the description in word2vec.h; never imports the library.

V, D: words, numbers per vector. The draws are the documented ones: SplitMix64, seeded by the pass and the sentence.
"""

from collections import Counter
from itertools import islice

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
CONTEXTS, TARGETS, LOSS_EVERY, LONGEST = 32, 6, 64, 10_000


def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


class SplitMix:
    def __init__(self, state):
        self.state = state

    def next(self):
        self.state = (self.state + GOLDEN) & MASK
        return mix(self.state)


def alias_slots(weights):
    """(threshold, other number) of each slot, by Vose's method."""
    largest = max(weights)
    shares = [weight / largest for weight in weights]
    total = 0.0
    for share in shares:
        total += share
    shares = [share / total * len(shares) for share in shares]
    slots = [(2**32 - 1, number) for number in range(len(shares))]
    small = [n for n, share in enumerate(shares) if share < 1]
    large = [n for n, share in enumerate(shares) if share >= 1]
    while small and large:
        less, more = small.pop(), large[-1]
        slots[less] = min(max(int(np.floor(shares[less] * 2.0**32 + 0.5)), 1), 2**32 - 1), more
        shares[more] -= 1 - shares[less]
        if shares[more] < 1:
            small.append(large.pop())
    return slots


def keep_limits(counts, sample):
    """The largest draw of 32 bits with which a word stays."""
    share = counts / counts.sum()
    chance = (np.sqrt(share / sample) + 1) * sample / share
    return [int(min(one, 1.0) * (2**32 - 1)) for one in chance]


def noise_weights(counts, exponent):
    return (counts / counts.max()) ** exponent


def nce_shift(counts, exponent, negatives):
    weights = noise_weights(counts, exponent)
    return np.log(negatives * weights / weights.sum())


def block_loss(x, y, labels, counts, shift):
    """-log σ(l) of true pairs, -log σ(-l) of noise, l = x·yᵀ - shift, over the targets that count."""
    logits = x @ y.T - shift
    return float((np.logaddexp(0, np.where(labels, -logits, logits)) * counts).sum())


class Pass:
    """One pass over sentences on one thread; ``input`` and ``output`` (V, D) float64 are changed in place."""

    def __init__(self, input, output, *, window, negatives, slots, keep=None, shift=None, shrink=True, cbow=False,
                 mean=True, seed=0, lock=None):  # fmt: skip
        self.input, self.output, self.window, self.negatives = input, output, window, negatives
        self.slots, self.keep, self.shrink, self.cbow, self.mean = slots, keep, shrink, cbow, mean
        self.shift = np.zeros(len(input)) if shift is None else shift
        self.lock = np.ones(len(input)) if lock is None else lock
        self.seed = seed
        self.blocks = self.pairs = self.looked_at = 0
        self.loss = 0.0
        self.forget()

    def forget(self):
        """What was met since the last call: words by their places in the text, and targets of blocks."""
        self.met_inputs, self.met_outputs = {}, Counter()

    def sentences(self, ids, offsets, rate_of_word):
        """``rate_of_word(n)``: the learning rate of the sentence that starts at word n."""
        for _ in self.centres(ids, offsets, range(len(offsets) - 1), rate_of_word):
            pass

    def centres(self, ids, offsets, numbers, rate_of_word):
        """Train on the sentences of these numbers; stops after each centre word."""
        for number in numbers:
            begin, end = offsets[number], offsets[number + 1]
            self.random = SplitMix(mix(self.seed ^ mix((number + GOLDEN) & MASK)))
            self.rate = float(np.float32(rate_of_word(begin)))
            for start in range(begin, end, LONGEST):
                yield from self.part([int(word) for word in ids[start : min(end, start + LONGEST)]], start)

    def part(self, words, start):
        if self.keep is not None:
            words = [word for word in words if self.random.next() >> 32 <= self.keep[word]]
        for i, word in enumerate(words):
            reach = self.window
            if self.shrink:
                reach -= (self.random.next() >> 32) * self.window >> 32
            noise = [self.draw() for _ in range(self.negatives)]
            around = [n for n in range(max(0, i - reach), min(len(words), i + reach + 1)) if n != i]
            contexts = [words[n] for n in around]
            self.met_inputs |= {(start, n): words[n] for n in around}
            if contexts:
                (self.cbow_centre if self.cbow else self.skipgram_centre)(contexts, word, noise)
            yield

    def draw(self):
        bits = self.random.next()
        slot = (bits >> 32) * len(self.slots) >> 32
        threshold, other = self.slots[slot]
        return slot if bits & 0xFFFFFFFF < threshold else other

    def skipgram_centre(self, contexts, word, noise):
        for start in range(0, len(contexts), CONTEXTS):
            some = contexts[start : start + CONTEXTS]
            self.block([self.input[context] for context in some], word, noise, self.lock[some])

    def cbow_centre(self, contexts, word, noise):
        x = self.input[contexts].sum(axis=0)
        if self.mean:
            x /= len(contexts)
        before = x.copy()
        self.block([x], word, noise, [1.0])
        change = (x - before) / (1 if self.mean else len(contexts))
        for context in contexts:
            self.input[context] += self.lock[context] * change

    def block(self, rows, word, noise, factors):
        """``rows``: views of vectors, changed in place by ``factors`` of their steps; one may stand there twice."""
        look = self.blocks % LOSS_EVERY == 0
        self.blocks += 1
        self.pairs += len(rows)
        self.looked_at += len(rows) * look
        targets = [word, *noise]
        self.met_outputs.update(targets)
        for start in range(0, len(targets), TARGETS):
            some = targets[start : start + TARGETS]
            labels = np.arange(start, start + len(some)) == 0
            counts = labels | (np.array(some) != word)
            x, y = np.array(rows), self.output[some]
            if look:
                self.loss += block_loss(x, y, labels, counts, self.shift[some])
            g = self.rate * (labels - 1 / (1 + np.exp(self.shift[some] - x @ y.T))) * counts
            change = np.zeros_like(y)
            for row, weights, factor in zip(rows, g, factors):
                change += np.outer(weights, row)
                row += factor * (weights @ y)
            for target, one in zip(some, change):
                self.output[target] += one


class Shards:
    """A pass in shards of whole sentences, each with copies of the tables that are merged after every turn."""

    def __init__(self, count, input, output, **settings):
        self.input, self.output = input, output
        self.passes = [Pass(input, output, **settings) for _ in range(count)]

    def sentences(self, ids, offsets, rate_of_word, *, turn, damping):
        """``turn``: centre words of a shard between two merges."""
        count, words = len(self.passes), offsets[-1]
        cuts = [int(np.searchsorted(offsets, words * n // count)) for n in range(count)] + [len(offsets) - 1]
        runs = [
            one.centres(ids, offsets, range(*cut), rate_of_word) for one, cut in zip(self.passes, zip(cuts, cuts[1:]))
        ]
        h, busy = damping * rate_of_word(0), True
        while busy:
            busy = False
            for one, run in zip(self.passes, runs):
                one.input, one.output = self.input.copy(), self.output.copy()
                one.forget()
                busy |= sum(1 for _ in islice(run, turn)) == turn
            self.merge("input", [Counter(one.met_inputs.values()) for one in self.passes], h)
            self.merge("output", [one.met_outputs for one in self.passes], h)

    def merge(self, name, met, h):
        table = getattr(self, name)
        for row in set().union(*met):
            times = np.array([counter[row] for counter in met])
            steps = np.array([getattr(one, name)[row] - table[row] for one in self.passes])
            weight = times.sum() / (1 + h * times.sum()) / (times / (1 + h * times)).sum()
            table[row] += weight * steps.sum(axis=0)
