"""Windows of word2vec against a program that reads one word after the other, at the ends of the text too."""

import collections

import numpy as np
import pytest

from seqcore.word_vectors.window_batches import cbow_batches, skipgram_batches


class Reader:
    """The books' way: a queue of one window, filled again for each batch, that slides by one word per centre."""

    def __init__(self, text, window, continuous=False):
        self.text, self.window, self.continuous, self.next = list(text), window, continuous, 0

    def read(self, queue):
        queue.append(self.text[self.next])
        self.next = (self.next + 1) % len(self.text)

    def batch(self, centres):
        """For each centre the word, and the words around it."""
        span = 2 * self.window + 1
        queue = collections.deque(maxlen=span)
        for _ in range(span):
            self.read(queue)
        found = []
        for _ in range(centres):
            words = list(queue)
            found.append((words[self.window], words[: self.window] + words[self.window + 1 :]))
            self.read(queue)
        if self.continuous:
            self.next = (self.next - span) % len(self.text)
        return found


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize(("window", "skips"), [(1, 1), (1, 2), (2, 3), (3, 6), (5, 4)])
@pytest.mark.parametrize("words", [11, 12, 64, 101])
def test_skipgrams(words, window, skips, continuous):
    """Three rounds and more: the same centres in the same order, labels drawn without repetition from their windows."""
    centres = 8
    batches = skipgram_batches(np.arange(words), centres * skips, skips, window, seed=5, continuous=continuous)
    reader = Reader(range(words), window, continuous)
    for _ in range(3 * words // centres + 5):
        inputs, labels = next(batches)
        assert inputs.shape == (centres * skips,) and labels.shape == (centres * skips, 1)
        assert inputs.dtype == labels.dtype == np.int32
        for (centre, around), ours, drawn in zip(
            reader.batch(centres), inputs.reshape(-1, skips), labels.reshape(-1, skips), strict=True
        ):
            assert ours.tolist() == [centre] * skips
            assert len(set(drawn.tolist())) == skips and set(drawn.tolist()) <= set(around)
            if skips == 2 * window:
                assert sorted(drawn.tolist()) == sorted(around)


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("words", [9, 10, 50])
def test_contexts(words, window):
    batches, reader = cbow_batches(np.arange(words) * 3, 4, window), Reader(np.arange(words) * 3, window, True)
    for _ in range(2 * words):
        contexts, labels = next(batches)
        expected = reader.batch(4)
        assert contexts.tolist() == [around for _, around in expected]
        assert labels.tolist() == [[centre] for centre, _ in expected]


def test_every_word_is_a_centre_equally_often():
    text = np.arange(60)
    for batches, repeats in ((skipgram_batches(text, 12, 2, 2, continuous=True), 2), (cbow_batches(text, 6, 2), 1)):
        centres = [next(batches)[0 if repeats == 2 else 1].ravel() for _ in range(30)]
        assert (np.bincount(np.concatenate(centres)) == 3 * repeats).all()


def test_neighbours_are_drawn_evenly():
    """Chi-square over the offsets and over the ordered pairs of offsets."""
    words, window = 1009, 2
    batches = skipgram_batches(np.arange(words), 64, 2, window, seed=1)
    offsets = []
    for _ in range(1500):
        inputs, labels = next(batches)
        offsets.append((labels[:, 0] - inputs + window) % words)
    pairs = np.concatenate(offsets).reshape(-1, 2)
    counts = np.unique(pairs @ [10, 1], return_counts=True)[1]
    assert len(counts) == 12
    expected = len(pairs) / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # 11 degrees of freedom, p = 0.001


def test_seeds_and_positions():
    text = np.arange(500)
    first = [next(batches) for batches in [skipgram_batches(text, 8, 2, 2, seed=3)] for _ in range(9000)]
    again, other = skipgram_batches(text, 8, 2, 2, seed=3), skipgram_batches(text, 8, 2, 2, seed=4)
    assert any((next(other)[1] != labels).any() for _, labels in first[:3])
    again.position = 8500
    for inputs, labels in first[8500:]:
        ours = next(again)
        np.testing.assert_array_equal(ours[0], inputs)
        np.testing.assert_array_equal(ours[1], labels)
    assert again.position == 9000
    np.testing.assert_array_equal(again[17][1], first[17][1])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((range(10), 8, 3, 1), "num_skips: expected at most 2"),
        ((range(10), 7, 2, 1), "batch_size: expected a multiple of num_skips"),
        ((range(10), 0, 1, 1), "batch_size: expected an integer >= 1"),
        ((range(10), 8, 2, 0), "skip_window: expected"),
        ((range(4), 8, 2, 2), "ids: expected at least 5 words"),
        (([], 8, 2, 2), "ids: expected at least 5 words"),
        ((range(10), 8, 2, 1, -1), "seed: expected"),
    ],
)
def test_bad_arguments(arguments, expected):
    ids, *rest = arguments
    with pytest.raises(ValueError, match=expected):
        skipgram_batches(list(ids), *rest)
    with pytest.raises(IndexError):
        cbow_batches(range(10), 2, 1)[-1]
