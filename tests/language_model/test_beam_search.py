"""Beam search against exhaustive search and a plain program, on models that look back at all tokens before."""

import itertools

import numpy as np
import pytest

from seqcore.language_model.beam_search import beam_search, log_softmax

V, END, LENGTH = 4, 2, 4


class Model:
    """Of N searches: random log-probabilities of the next token for each search and each beginning."""

    def __init__(self, seed, searches, barred=()):
        self.barred, self.rng, self.tables = list(barred), np.random.default_rng(seed), [{} for _ in range(searches)]

    def log_p(self, number, beginning):
        table = self.tables[number]
        if beginning not in table:
            table[beginning] = log_softmax(2 * self.rng.normal(size=V))
            table[beginning][self.barred] = -np.inf
        return table[beginning]

    def search(self, numbers, **options):
        """The library's search; the state is (numbers of the searches, what they have read), one row per beam."""

        def step(tokens, state):
            which, [read] = state
            read = np.concatenate([read, tokens[:, None]], axis=1)
            return np.stack([self.log_p(n, tuple(row)) for n, row in zip(which, read.tolist())]), (which, [read])

        first = np.stack([self.log_p(number, ()) for number in numbers])
        return beam_search(first, (np.array(numbers), [np.empty((len(numbers), 0), int)]), step, **options)

    def score(self, number, tokens):
        return sum(self.log_p(number, tuple(tokens[:t]))[one] for t, one in enumerate(tokens))


def plain(model, number, width, end):
    """One search in lists."""
    alive, ended = [()], []
    for _ in range(LENGTH):
        grown = [(*one, token) for one in alive for token in range(V)]
        grown = sorted(grown, key=lambda one: -model.score(number, one))[:width]
        ended += [one for one in grown if one[-1] == end]
        alive = [one for one in grown if one[-1] != end]
    return max(ended + alive, key=lambda one: model.score(number, one))


@pytest.mark.parametrize("end", [None, END])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_all_beginnings_finds_the_best_sequence(seed, end):
    model = Model(seed, 3)
    found = model.search(range(3), width=V**LENGTH, length=LENGTH, end=end)
    for number, one in enumerate(found):
        every = [tokens for n in range(1, LENGTH + 1) for tokens in itertools.product(range(V), repeat=n)]
        every = [w for w in every if end not in w[:-1] and (len(w) == LENGTH or w[-1] == end)]
        best = max(every, key=lambda tokens: model.score(number, tokens))
        assert one.tokens == list(best) and one.finished == (best[-1] == end)
        assert one.log_probability == pytest.approx(model.score(number, best), rel=1e-12)


@pytest.mark.parametrize("end", [None, END])
@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_narrow_beams_equal_a_plain_program_alone_and_in_a_batch(width, end):
    """One beam is greedy search; wider ones differ from it somewhere, and the searches do not touch each other."""
    model = Model(9, 40)
    found = model.search(range(40), width=width, length=LENGTH, end=end)
    greedy = []
    for number, one in enumerate(found):
        assert tuple(one.tokens) == plain(model, number, width, end)
        assert [one] == model.search([number], width=width, length=LENGTH, end=end)
        greedy.append([])
        while len(greedy[-1]) < LENGTH and end not in greedy[-1]:
            greedy[-1].append(int(model.log_p(number, tuple(greedy[-1])).argmax()))
    assert ([one.tokens for one in found] == greedy) == (width == 1)


def test_impossible_tokens_never_come():
    """Not even where the beam is wider than the tokens that are left."""
    model = Model(4, 5, barred=[0, 3])
    for end in (None, END):
        for one in model.search(range(5), width=9, length=LENGTH, end=end):
            assert set(one.tokens) <= {1, 2} and np.isfinite(one.log_probability)


def test_a_search_stops_when_nothing_can_be_better():
    """The model is not asked again once all searches are decided, and never for a token past the last."""
    calls = []

    def step(tokens, state):
        calls.append(len(tokens))
        return np.log(np.tile([0.1, 0.9], (len(tokens), 1))), state

    [first] = beam_search(np.log([[0.2, 0.8]]), (), step, width=2, length=50, end=1)
    assert first.tokens == [1] and first.finished and not calls
    long, short = beam_search(np.log([[0.9, 0.1], [0.2, 0.8]]), (), step, width=2, length=50, end=1)
    assert long.tokens == [0, 1] and short.tokens == [1] and calls == [4]
    [full] = beam_search(np.log([[0.9, 0.1]]), (), step, width=2, length=1, end=1)
    assert full == ([0], pytest.approx(np.log(0.9)), False) and calls == [4]
    assert beam_search(np.log([[0.9, 0.1]]), (), step, width=2, length=0) == [([], 0.0, False)]
