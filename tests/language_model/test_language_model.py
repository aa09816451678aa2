"""Language models: the network, training and exact resume, perplexity, generation and beam search."""

import itertools
import json
import math

import numpy as np
import pytest

from seqcore import random
from seqcore.callbacks import BackupAndRestore, Callback, EpochDecay, ResetStates
from seqcore.datasets import grammar_corpus
from seqcore.initializers import truncated_noise
from seqcore.language_model import (
    ValidationPerplexity,
    build_model,
    encode_text,
    evaluate_perplexity,
    generate,
    next_words,
    word_losses,
)
from seqcore.layers import LSTM, Dense, Dropout, Embedding
from seqcore.losses import NCELoss
from seqcore.models import Sequential, load_model
from seqcore.text import bptt_batches
from seqcore.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<eos>", "a", "b", "c", "<unk>"], unknown="<unk>")


def small_model(seed=3, **options):
    """A model whose next word clearly depends on what it has read."""
    random.set_seed(seed)
    model = build_model(VOCABULARY.size, units=8, layers=2, init_scale=1.5, **options)
    model.build((None, None))
    return model


def tokens(length, seed=0, size=5):
    return np.random.default_rng(seed).integers(0, size, length).astype(np.int32)


# ---------------------------------------------------------------- the model


def test_the_model_of_the_book():
    random.set_seed(1)
    model = build_model(50, units=12, layers=2, keep_prob=0.5, init_scale=0.05, clip=10.0)
    model.build((None, None))
    assert [type(layer) for layer in model.layers] == [Embedding, Dropout, LSTM, Dropout, LSTM, Dropout, Dense]
    assert [layer.rate for layer in model.layers if isinstance(layer, Dropout)] == [0.5] * 3
    for layer in model.layers:
        for weight in layer.weights:
            values = weight.numpy()
            if isinstance(layer, LSTM) and weight is layer.bias:
                assert not values.any()
            else:
                assert 0.04 < np.abs(values).max() <= 0.05
                assert abs(values.mean()) < 0.02
    lstms = [layer for layer in model.layers if isinstance(layer, LSTM)]
    assert not np.array_equal(lstms[0].kernel.numpy(), lstms[1].kernel.numpy())
    assert all(layer.stateful and layer.return_sequences for layer in lstms)
    assert model.optimizer.global_clipnorm == 10.0 and model.optimizer.learning_rate == 1.0
    assert model.loss.reduction == "batch_mean"
    assert model.count_params() == 50 * 12 + 2 * (12 * 48 * 2 + 48) + 12 * 50 + 50


def test_no_dropout_layers_without_dropout():
    assert not [layer for layer in build_model(5, 3).layers if isinstance(layer, Dropout)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 0}, "units: expected an integer >= 1, got 0"),
        ({"layers": 1.5}, "layers: expected an integer >= 1, got 1.5"),
        ({"keep_prob": 0.0}, r"keep_prob: expected a number in \(0, 1\], got 0.0"),
        ({"keep_prob": math.nan}, "keep_prob: expected a number"),
        ({"init_scale": -1.0}, "init_scale: expected a positive number, got -1.0"),
        ({"clip": math.inf}, "clip: expected a positive number, got inf"),
    ],
)
def test_bad_models(change, message):
    with pytest.raises(ValueError, match=message):
        build_model(**({"vocabulary_size": 5} | change))


def test_schedules_of_the_book():
    small, large = EpochDecay(1.0, 4, 0.5), EpochDecay(1.0, 14, 1 / 1.15)
    assert [small.at(epoch) for epoch in range(13)] == [1.0] * 4 + [0.5**n for n in range(1, 10)]
    assert large.at(13) == 1.0 and large.at(15) == pytest.approx(1 / 1.15**2)


# ---------------------------------------------------------------- perplexity


def test_long_windows_equal_single_steps():
    """Batch 1 with long windows against the book's way, word by word, on the model's own stream."""
    model, ids = small_model(), tokens(2600)
    losses = word_losses(model, ids)
    assert losses.shape == (1, 2599)
    stream, expected = model.stream(1), []
    for now, then in itertools.pairwise(ids):
        logits = stream.step(now[None])[0].astype(np.float64)
        expected.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[then])
    assert np.abs(losses[0] - expected).max() < 1e-5
    assert evaluate_perplexity(model, ids) == pytest.approx(math.exp(np.mean(expected)), rel=1e-6)


def test_windows_do_not_change_a_bit(monkeypatch):
    model, ids = small_model(), tokens(300)
    losses = []
    for window in (1, 7, 64, 1000):
        monkeypatch.setattr("seqcore.language_model.evaluation._WINDOW", window)
        losses.append(word_losses(model, ids))
    assert all(np.array_equal(losses[0], other) for other in losses[1:])


def test_rows_and_dropped_tail():
    model, ids = small_model(), tokens(103)
    losses = word_losses(model, ids, batch_size=4, steps=6, drop_tail=True)
    assert losses.shape == (4, 24)
    assert np.allclose(losses[2], word_losses(model, ids[50:75])[0][:24], atol=1e-6)
    assert word_losses(model, ids, batch_size=4).shape == (4, 24)
    assert word_losses(model, ids, batch_size=5).shape == (5, 19)


def test_evaluation_leaves_the_carried_state_alone():
    model, ids = small_model(keep_prob=0.5), tokens(60)
    model.train_on_batch(ids[:20].reshape(2, 10), ids[1:21].reshape(2, 10))
    before = json.dumps(model.get_layer_state(), default=lambda array: np.asarray(array).tolist())
    assert np.array_equal(word_losses(model, ids), word_losses(model, ids))
    assert json.dumps(model.get_layer_state(), default=lambda array: np.asarray(array).tolist()) == before


def test_softmax_output_gives_the_same():
    logits = small_model()
    stack = [
        Embedding(5, 8),
        LSTM(8, return_sequences=True, stateful=True),
        LSTM(8, return_sequences=True, stateful=True),
    ]
    probabilities = Sequential([*stack, Dense(5, activation="softmax")])
    probabilities.build((None, None))
    probabilities.set_weights(logits.get_weights())
    ids = tokens(50)
    assert np.allclose(word_losses(logits, ids), word_losses(probabilities, ids), atol=1e-6)
    for options in ({"method": "greedy"}, {"method": "beam"}, {"seed": 4}):
        assert generate(logits, VOCABULARY, "a b", 12, **options) == generate(
            probabilities, VOCABULARY, "a b", 12, **options
        )


@pytest.mark.parametrize(
    ("ids", "options", "error", "message"),
    [
        ([1], {}, ValueError, "ids: expected at least 2 words"),
        ([], {}, ValueError, "ids: expected at least 2 words"),
        ([1, 5], {}, ValueError, r"ids: expected integers 0\.\.\.4, got 5"),
        ([1, -1], {}, ValueError, r"ids: expected integers 0\.\.\.4, got -1"),
        ([1.0, 2.0], {}, TypeError, "ids: expected integers"),
        (list(range(5)), {"batch_size": 9}, ValueError, "ids: expected at least 18 words for 9 rows"),
        (list(range(5)), {"batch_size": 0}, ValueError, "batch_size: expected an integer >= 1"),
    ],
)
def test_bad_evaluations(ids, options, error, message):
    with pytest.raises(error, match=message):
        evaluate_perplexity(small_model(), ids, **options)


def test_other_models_are_refused():
    model = Sequential([Embedding(5, 4), LSTM(4, return_sequences=True)])
    model.build((None, None))
    with pytest.raises(ValueError, match="model: expected a Sequential that ends in Dense"):
        word_losses(model, [1, 2])


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def corpus():
    return grammar_corpus(1200, 200, 200)


def train(corpus, folder=None, stop=(), seed=5, keep_prob=0.5, epochs=3, loss=None):
    """The logs of a fit and its model; ``stop`` are further callbacks."""
    random.set_seed(seed)
    model = build_model(corpus.vocabulary.size, units=6, layers=2, keep_prob=keep_prob, loss=loss)
    watchers = [EpochDecay(1.0, 1, 0.5), ResetStates(), ValidationPerplexity(corpus.valid, 4, 5), *stop]
    if folder is not None:
        watchers.append(BackupAndRestore(folder, save_freq=1))
    model.fit(bptt_batches(corpus.train, 4, 5), epochs=epochs, verbose=0, callbacks=watchers)
    return {name: values for name, values in model.history.history.items() if name != "words_per_second"}, model


def test_training_lowers_perplexity(corpus):
    logs, model = train(corpus, seed=0, keep_prob=1.0)
    assert model.history.epoch == [0, 1, 2]
    assert logs["learning_rate"] == [1.0, 0.5, 0.25]
    assert logs["perplexity"][-1] < 0.5 * corpus.vocabulary.size
    assert logs["val_perplexity"][-1] < logs["val_perplexity"][0]
    assert logs["perplexity"] == pytest.approx([math.exp(loss / 5) for loss in logs["loss"]])
    assert logs["val_perplexity"][-1] == evaluate_perplexity(model, corpus.valid, 4, 5, drop_tail=True)
    assert model.history.history["words_per_second"][0] > 0


def test_a_sampled_loss_tells_no_perplexity(corpus):
    logs, _ = train(corpus, loss=NCELoss(20, reduction="batch_mean"))
    assert "perplexity" not in logs and logs["loss_per_word"] == pytest.approx([loss / 5 for loss in logs["loss"]])
    assert logs["val_perplexity"][-1] < logs["val_perplexity"][0]


class Stop(Callback):
    """Leaves fit after a batch of an epoch."""

    runs_last = True

    def __init__(self, epoch, batch):
        self.place = epoch, batch

    def on_train_batch_end(self, batch, logs=None):
        if (self.model.fit_state.epoch, batch) == self.place:
            raise KeyboardInterrupt


@pytest.mark.parametrize("place", [(0, 0), (0, 28), (1, 29), (2, 58)])
def test_resume_is_exact(corpus, tmp_path, place):
    """Stopped after any batch, with dropout: a new process would get the same figures to the last digit."""
    expected, whole = train(corpus)
    with pytest.raises(KeyboardInterrupt):
        random.set_seed(5)
        model = build_model(corpus.vocabulary.size, units=6, layers=2, keep_prob=0.5)
        watchers = [EpochDecay(1.0, 1, 0.5), ResetStates(), ValidationPerplexity(corpus.valid, 4, 5)]
        watchers += [BackupAndRestore(tmp_path, save_freq=1), Stop(*place)]
        model.fit(bptt_batches(corpus.train, 4, 5), epochs=3, verbose=0, callbacks=watchers)
    logs, second = train(corpus, tmp_path, seed=99)
    assert logs == expected
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_a_stop_in_the_validation(corpus, tmp_path):
    expected, _ = train(corpus)

    def check():
        raise KeyboardInterrupt

    random.set_seed(5)
    model = build_model(corpus.vocabulary.size, units=6, layers=2, keep_prob=0.5)
    backup = BackupAndRestore(tmp_path)
    watchers = [EpochDecay(1.0, 1, 0.5), ResetStates(), ValidationPerplexity(corpus.valid, 4, 5, check), backup]
    with pytest.raises(KeyboardInterrupt):
        model.fit(bptt_batches(corpus.train, 4, 5), epochs=3, verbose=0, callbacks=watchers)
    backup.save()
    assert train(corpus, tmp_path, seed=99)[0] == expected


def test_a_loss_that_is_no_number_stops_the_training(corpus):
    class Spoil(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                self.model.layers[-1].bias.assign(np.full(corpus.vocabulary.size, np.nan))

    with pytest.raises(FloatingPointError, match="loss: got nan in epoch 1, batch 3"):
        train(corpus, stop=[Spoil()])


def test_a_validation_text_smaller_than_a_batch(corpus):
    with pytest.raises(ValueError, match="ids: expected at least 420 words for one batch of 20 x 20"):
        ValidationPerplexity(corpus.valid, 20, 20)


# ---------------------------------------------------------------- generation


def sequence_log_probability(model, prompt, words):
    ids = VOCABULARY.encode([*prompt.split(), *words])
    return -word_losses(model, ids)[0][len(prompt.split()) - 1 :].sum()


def test_greedy_takes_the_likeliest_word():
    model = small_model()
    words = generate(model, VOCABULARY, "a", 6, method="greedy")
    for n, word in enumerate(words):
        assert next_words(model, VOCABULARY, ["a", *words[:n]], 1)[0][0] == word


def test_greedy_is_what_the_limits_of_the_others_give():
    model = small_model()
    greedy = generate(model, VOCABULARY, "a b", 15, method="greedy")
    assert generate(model, VOCABULARY, "a b", 15, method="beam", beam_width=1) == greedy
    assert generate(model, VOCABULARY, "a b", 15, top_k=1, seed=1) == greedy
    assert generate(model, VOCABULARY, "a b", 15, top_p=1e-9, seed=1) == greedy
    assert generate(model, VOCABULARY, "a b", 15, temperature=1e-6, seed=1) == greedy


@pytest.mark.parametrize("seed", range(4))
def test_wide_beams_find_the_likeliest_sequence(seed):
    model = small_model(seed)
    words = generate(model, VOCABULARY, "c", 3, method="beam", beam_width=25)
    every = itertools.product(VOCABULARY.words, repeat=3)
    best = max(every, key=lambda words: sequence_log_probability(model, "c", words))
    assert words == list(best)


@pytest.mark.parametrize("seed", range(4))
def test_beams_with_an_end_find_the_likeliest_finished_or_full_sequence(seed):
    model = small_model(seed)
    words = generate(model, VOCABULARY, "c", 3, method="beam", beam_width=25, stop="b")
    every = [words for n in (1, 2, 3) for words in itertools.product(VOCABULARY.words, repeat=n)]
    every = [w for w in every if "b" not in w[:-1] and (len(w) == 3 or w[-1] == "b")]
    best = max(every, key=lambda words: sequence_log_probability(model, "c", words))
    assert words == list(best)


def test_samples_follow_the_distribution():
    model = small_model()
    expected = dict(next_words(model, VOCABULARY, "b", 5))
    assert sum(expected.values()) == pytest.approx(1)
    words = [generate(model, VOCABULARY, "b", 1, seed=seed)[0] for seed in range(2000)]
    chi_square = sum((words.count(word) - 2000 * p) ** 2 / (2000 * p) for word, p in expected.items())
    assert chi_square < 23.5  # 4 degrees of freedom, 0.01 percent
    ranked = [word for word, _ in next_words(model, VOCABULARY, "b", 5)]
    assert {generate(model, VOCABULARY, "b", 1, top_k=2, seed=seed)[0] for seed in range(200)} == set(ranked[:2])
    nucleus = expected[ranked[0]] + 0.5 * expected[ranked[1]]
    assert {generate(model, VOCABULARY, "b", 1, top_p=nucleus, seed=seed)[0] for seed in range(200)} == set(ranked[:2])


def test_seeds_and_the_global_generator():
    model = small_model()
    assert generate(model, VOCABULARY, "a", 20, seed=7) == generate(model, VOCABULARY, "a", 20, seed=7)
    assert generate(model, VOCABULARY, "a", 20, seed=7) != generate(model, VOCABULARY, "a", 20, seed=8)
    random.set_seed(2)
    first = generate(model, VOCABULARY, "a", 20)
    assert first != generate(model, VOCABULARY, "a", 20)
    random.set_seed(2)
    assert generate(model, VOCABULARY, "a", 20) == first


@pytest.mark.parametrize("seed", range(3))
def test_excluded_words_never_come(seed):
    """The others keep their order and their odds; the beam is the likeliest sequence without them."""
    model, banned = small_model(seed), ["b", "<unk>"]
    assert not set(generate(model, VOCABULARY, "a", 200, seed=seed, exclude=banned)) & set(banned)
    words = generate(model, VOCABULARY, "a", 6, method="greedy", exclude=banned)
    for n, word in enumerate(words):
        ranked = [likely for likely, _ in next_words(model, VOCABULARY, ["a", *words[:n]], 5) if likely not in banned]
        assert ranked[0] == word
    words = generate(model, VOCABULARY, "c", 3, method="beam", beam_width=25, exclude=banned)
    every = itertools.product([word for word in VOCABULARY.words if word not in banned], repeat=3)
    assert words == list(max(every, key=lambda words: sequence_log_probability(model, "c", words)))
    with pytest.raises(ValueError, match="exclude: expected to leave one of the 5 words"):
        generate(model, VOCABULARY, "a", exclude=VOCABULARY.words)


def test_noise_is_where_the_state_starts():
    """Truncated normal noise of the seed in every state, alike in all rows of a beam."""
    model, words = small_model(), {}
    for seed in range(8):
        options = {"noise": 1.0, "seed": seed}
        words[seed] = generate(model, VOCABULARY, "a", 10, method="greedy", **options)
        assert words[seed] == generate(model, VOCABULARY, "a", 10, method="beam", beam_width=1, **options)
        wide = [generate(model, VOCABULARY, "a", 10, method="beam", **options) for _ in range(2)]
        assert wide[0] == wide[1]
        stream, generator = model.stream(), np.random.Generator(np.random.Philox(seed))
        noise = [[truncated_noise(generator, part.shape) for part in layer] for layer in stream.get_state()]
        stream.set_state([tuple(part.astype(np.float32) for part in layer) for layer in noise])
        last = "a"
        for word in words[seed]:
            last = VOCABULARY.words[int(np.argmax(stream.step(VOCABULARY.encode([last]))))]
            assert word == last
    assert len({tuple(text) for text in words.values()}) > 1
    tiny = generate(model, VOCABULARY, "a", 10, method="greedy", noise=1e-9, seed=1)
    assert tiny == generate(model, VOCABULARY, "a", 10, method="greedy")


def test_prompt_length_and_stop():
    model = small_model()
    assert generate(model, VOCABULARY, "a", 0) == []
    assert generate(model, VOCABULARY, "a", 0, method="beam") == []
    assert generate(model, VOCABULARY, "", 5, seed=1) == generate(model, VOCABULARY, "<eos>", 5, seed=1)
    assert generate(model, VOCABULARY, "zebra", 5, seed=1) == generate(model, VOCABULARY, "<unk>", 5, seed=1)
    for seed in range(10):
        words = generate(model, VOCABULARY, "a", 30, seed=seed, stop="b")
        assert "b" not in words[:-1] and (len(words) == 30 or words[-1] == "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method: expected 'greedy', 'sample' or 'beam', got 'best'"),
        ({"temperature": 0.0}, "temperature: expected a positive number, got 0.0"),
        ({"temperature": math.nan}, "temperature: expected a positive number"),
        ({"top_k": 0}, "top_k: expected an integer >= 1, got 0"),
        ({"top_k": 1.5}, "top_k: expected an integer >= 1, got 1.5"),
        ({"top_p": 0.0}, r"top_p: expected a number in \(0, 1\], got 0.0"),
        ({"top_p": 1.1}, "top_p: expected a number"),
        ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
        ({"length": -1}, "length: expected an integer >= 0, got -1"),
        ({"method": "beam", "beam_width": 0}, "beam_width: expected an integer 1...1000, got 0"),
        ({"beam_width": 3}, "beam_width: expected none for method 'sample'"),
        ({"method": "greedy", "temperature": 1.0}, "temperature: expected none for method 'greedy'"),
        ({"method": "beam", "seed": 1}, "seed: expected none for method 'beam'"),
        ({"stop": 3}, "stop: expected"),
        ({"noise": -0.1}, "noise: expected a number >= 0, got -0.1"),
        ({"noise": math.inf}, "noise: expected a number >= 0, got inf"),
    ],
)
def test_bad_generation(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        generate(small_model(), VOCABULARY, "a", **options)


def test_words_and_vocabularies_that_do_not_fit():
    model = small_model()
    strict = Vocabulary(["a", "b", "c", "d", "e"])
    with pytest.raises(ValueError, match="prompt: expected words of the model's vocabulary, got 'zebra'"):
        generate(model, strict, "a zebra")
    with pytest.raises(ValueError, match="prompt: expected at least one word"):
        generate(model, strict, "")
    with pytest.raises(ValueError, match="vocabulary: expected 5 words, as many as the model's outputs, got 2"):
        generate(model, Vocabulary(["a", "b"]), "a")
    with pytest.raises(ValueError, match="top: expected an integer >= 1, got 0"):
        next_words(model, strict, "a", 0)


def test_encode_text():
    assert encode_text(VOCABULARY, "a zebra").tolist() == [0, 1, 4]
    assert encode_text(VOCABULARY, ["<eos>", "a"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="text: expected at least one word"):
        encode_text(VOCABULARY, " ")


def test_saved_models_generate_the_same(tmp_path):
    model = small_model()
    model.save(tmp_path / "m.safetensors", vocabulary=VOCABULARY.to_dict())
    again = load_model(tmp_path / "m.safetensors")
    assert Vocabulary.from_dict(again.extra["vocabulary"]) == VOCABULARY
    assert generate(again, VOCABULARY, "a", 20, seed=3) == generate(model, VOCABULARY, "a", 20, seed=3)
