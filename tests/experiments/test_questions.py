"""seqcore run questions: the sentences, their labels and what is possible without their order; a run and predict."""

from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.experiments import questions
from tests.helpers import runs

run = partial(runs.run, "questions")
KIND = {noun: kind for kind, nouns in enumerate(questions.KINDS) for noun in questions.NOUNS[nouns]}


def test_sentences(rng):
    """The noun after the verb gives the label; nouns of all kinds stand before and after it."""
    made, blind = questions.sentences(3000, rng)
    verbs = [verb.split()[-1] for verb in questions.VERBS]
    best, places = [], set()
    for text, label in zip(made.texts, made.labels):
        words = text.split()
        kinds = [KIND[word] for word in words if word in KIND]
        (verb,) = [place for place, word in enumerate(words) if word in verbs + ["about", "of"]][-1:]
        assert KIND[words[verb + 2]] == label and 2 <= len(kinds) <= 1 + questions.MOST
        best.append(np.bincount(kinds).max() / len(kinds))
        places.add(sum(word in KIND for word in words[:verb]))
    assert places == set(range(1 + questions.MOST)) and np.bincount(made.labels).min() > 900
    assert blind == pytest.approx(np.mean(best)) and 0.55 < blind < 0.65
    assert len(set(KIND)) == sum(map(len, questions.NOUNS.values()))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_order_is_learned(tmp_path, capsys, cell):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert run("--cell", cell, "--out", tmp_path) == 0
    assert "without their order" in capsys.readouterr().out
    metrics = runs.results(tmp_path)["metrics"]
    assert metrics["test_accuracy"] > 0.97 > 0.67 > metrics["tfidf_accuracy"] > metrics["majority_accuracy"]
    assert metrics["tfidf_accuracy"] < metrics["blind_accuracy"] + 0.05
    assert (tmp_path / "reading.png").read_bytes()[:8] == runs.PNG
    for text, kind in (
        ("near the doctor behind the bridge i saw the violin", "thing"),
        ("near the violin behind the bridge i saw the doctor", "person"),
        ("he remembers the bridge near the violin behind the doctor", "place"),
    ):
        assert cli.main(["predict", str(tmp_path), "--text", text]) == 0
        assert capsys.readouterr().out.startswith(kind)
    assert sc.load_model(tmp_path / "model.safetensors").extra["labels"] == list(questions.KINDS)


def test_bad_options(capsys):
    assert run("--units", 0) == 2
    assert "--units: expected an integer >= 1, got 0" in capsys.readouterr().err
