"""The deprecated ``seqcore.language.Trainer``: the figures, hooks and exact resume of version 0.1."""

import json
import math

import numpy as np
import pytest

from seqcore import random
from seqcore.callbacks import Callback
from seqcore.datasets import grammar_corpus
from seqcore.language import Interrupted, Schedule, Trainer, build_model

pytestmark = pytest.mark.filterwarnings("ignore:seqcore.language.Trainer:DeprecationWarning")


def test_it_says_what_to_use():
    corpus = grammar_corpus(1200, 200, 200)
    with pytest.warns(DeprecationWarning, match="use model.fit.*BackupAndRestore"):
        trainer_for(0, corpus)


def test_schedules():
    assert [Schedule(1.0, 2, 0.5).at(epoch) for epoch in range(4)] == [1.0, 1.0, 0.5, 0.25]
    for bad in ({"learning_rate": 0.0}, {"decay": math.nan}, {"hold": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}: expected"):
            Schedule(**bad)


def trainer_for(seed, corpus, epochs=3, keep_prob=0.5, **hooks):
    random.set_seed(seed)
    model = build_model(corpus.vocabulary.size, units=6, layers=2, keep_prob=keep_prob)
    options = {"batch_size": 4, "steps": 5, "epochs": epochs, "schedule": Schedule(1.0, 1, 0.5)}
    return Trainer(model, corpus.train, corpus.valid, **options, **hooks)


@pytest.fixture(scope="module")
def corpus():
    return grammar_corpus(1200, 200, 200)


def figures(history):
    return [(row["epoch"], row["learning_rate"], row["train_perplexity"], row["valid_perplexity"]) for row in history]


def test_training_lowers_perplexity(corpus):
    history = trainer_for(0, corpus, keep_prob=1.0).run()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["learning_rate"] for row in history] == [1.0, 0.5, 0.25]
    assert history[-1]["train_perplexity"] < 0.5 * corpus.vocabulary.size
    assert history[-1]["valid_perplexity"] < history[0]["valid_perplexity"]


def test_training_perplexity_is_what_the_losses_say(corpus):
    losses, figures = [], []

    class Note(Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs["loss"])

    trainer = trainer_for(0, corpus, epochs=1, callbacks=[Note()], on_batch=lambda run: figures.append(run.perplexity))
    history = trainer.run()
    assert len(losses) == len(figures) == len(trainer.batches) and trainer.words_per_second > 0
    # The logs hold the mean over the batches so far.
    assert figures == pytest.approx([math.exp(loss / 5) for loss in losses])
    assert history[0]["train_perplexity"] == figures[-1]


def test_same_seed_same_figures(corpus):
    first, second, other = (figures(trainer_for(seed, corpus).run()) for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize("stop_at", [(0, 1), (0, 29), (1, 30), (2, 59)])
def test_resume_is_exact(corpus, tmp_path, stop_at):
    """Stopped after any batch, with dropout: a new process would get the same figures to the last digit."""
    whole = trainer_for(5, corpus)
    expected = figures(whole.run())

    def stop(trainer):
        if (trainer.epoch, trainer.batch) == stop_at:
            raise Interrupted

    first = trainer_for(5, corpus, on_batch=stop)
    with pytest.raises(Interrupted):
        first.run()
    path = tmp_path / "checkpoint.safetensors"
    first.model.save_checkpoint(path, json.loads(json.dumps(first.position())))
    second = trainer_for(99, corpus)
    second.restore(second.model.load_checkpoint(path))
    assert figures(second.run()) == expected
    for a, b in zip(whole.model.get_weights(), second.model.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_stop_during_validation_is_exact(corpus, tmp_path):
    expected = figures(trainer_for(5, corpus).run())

    def stop():
        raise Interrupted

    first = trainer_for(5, corpus, check=stop)
    with pytest.raises(Interrupted):
        first.run()
    assert first.batch == len(first.batches) and first.history == []
    first.model.save_checkpoint(tmp_path / "c", first.position())
    second = trainer_for(5, corpus)
    second.restore(second.model.load_checkpoint(tmp_path / "c"))
    assert figures(second.run()) == expected


def test_callbacks_and_stopping(corpus):
    seen = []

    class Stop(Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")

        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs)))
            self.model.stop_training = True

        def on_train_end(self, logs=None):
            seen.append("end")

    trainer = trainer_for(0, corpus, callbacks=[Stop()])
    assert len(trainer.run()) == 1
    assert seen == ["begin", (0, ["learning_rate", "loss", "perplexity", "val_perplexity", "words_per_second"]), "end"]


def test_a_loss_that_is_no_number_stops_the_run(corpus):
    trainer = trainer_for(0, corpus)
    trainer.model.build((None, None))
    trainer.model.layers[-1].bias.assign(np.full(corpus.vocabulary.size, np.nan))
    with pytest.raises(FloatingPointError, match="loss: got nan in epoch 1, batch 1"):
        trainer.run()


@pytest.mark.parametrize("change", [{"epoch": -1}, {"batch": 10**6}, {"history": None}, {"epoch": 2}, {"costs": "x"}])
def test_bad_positions(corpus, change):
    trainer = trainer_for(0, corpus)
    with pytest.raises(ValueError, match="position: expected"):
        trainer.restore(trainer.position() | change)


def test_corpus_smaller_than_a_batch(corpus):
    model = build_model(corpus.vocabulary.size, 3)
    with pytest.raises(ValueError, match="ids: expected at least 420 words for one batch of 20 x 20"):
        Trainer(model, corpus.train, corpus.valid, batch_size=20, steps=20, epochs=1, schedule=Schedule())
