"""Rows of a batch: what is drawn for them is the part of what is drawn for the whole batch."""

import numpy as np
import pytest

from seqcore import layers, random

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _whole_batches():
    yield
    random.set_rows(None)


def attention(**options):
    layer = layers.AdditiveAttention(dropout=0.4, **options)
    return lambda x, training: layer([x, x], training=training)


LAYERS = {
    "Dropout": lambda: layers.Dropout(0.5),
    "shared by the steps": lambda: layers.Dropout(0.5, noise_shape=(None, 1, None)),
    "shared by the rows": lambda: layers.Dropout(0.5, noise_shape=(1, None, None)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dropout(0.5)),
    "AdditiveAttention": attention,
    "LSTM": lambda: layers.LSTM(3, dropout=0.3, recurrent_dropout=0.3),
    "GRU": lambda: layers.GRU(3, dropout=0.3, recurrent_dropout=0.3, return_sequences=True),
    "Bidirectional": lambda: layers.Bidirectional(layers.SimpleRNN(3, dropout=0.3, recurrent_dropout=0.3)),
}


def outputs(build, parts):
    """The outputs of a new layer for parts (first, end) of the rows of X, and for them again."""
    random.set_seed(3)
    layer, results = build(), []
    for _ in range(2):
        for first, end in parts:
            random.set_rows(random.Rows(first, end - first, len(X)))
            results.append(np.asarray(layer(X[first:end], training=True)))
    return results


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("part", [(0, 2), (1, 2), (3, 6), (2, 5)], ids=str)
def test_the_mask_of_rows_is_their_part_of_the_whole(name, part):
    whole, again = outputs(LAYERS[name], [(0, len(X))])
    rows, rows_again = outputs(LAYERS[name], [part])
    np.testing.assert_array_equal(rows, whole[slice(*part)])
    np.testing.assert_array_equal(rows_again, again[slice(*part)])
    assert not np.array_equal(whole, again)


@pytest.mark.parametrize("part", [(0, 2), (1, 2), (3, 6)], ids=str)
def test_the_noise_of_carried_states_is_drawn_for_the_whole_batch(part):
    """Rows get their part of the noise, and the generator goes on as after the noise of the whole batch."""

    def states(first, end):
        random.set_seed(3)
        layer = layers.LSTM(3, stateful=True)
        layer.build((None, None, 4))
        random.set_rows(random.Rows(first, end - first, len(X)))
        layer(X[first:end])
        layer.reset_states(stddev=0.5)
        return [np.asarray(state) for state in layer.states], random.generator().random()

    (whole, after), (rows, after_rows) = states(0, len(X)), states(*part)
    for all_rows, some in zip(whole, rows, strict=True):
        np.testing.assert_array_equal(some, all_rows[slice(*part)])
    assert after == after_rows
