"""seqcore run tagging: the sentences, what can be known of their tags, what the models learn of it, predict."""

import itertools
import json

import numpy as np
import pytest

from seqcore import cli, load_model
from seqcore.datasets import TagPosteriors, tagged_corpus, tagged_grammar, tagged_sentences
from seqcore.datasets.grammar import Grammar
from seqcore.experiments import tagging as experiment

AMBIGUOUS = {"old", "man", "moved", "sailed", "her", "duck", "that", "walks", "rests"}


@pytest.fixture(scope="module")
def posteriors():
    return TagPosteriors(tagged_grammar())


def test_sentences():
    """Drawn by seed, prefix of longer draws, ended by a stop; the words that wait for others have two tags."""
    some = tagged_sentences(300, 5)
    assert some == tagged_sentences(300, 5) != tagged_sentences(300, 6)
    assert some[:40] == tagged_sentences(40, 5) and len(some) == 300
    assert all(len(words) == len(tags) and words[-1] == "." and words.count(".") == 1 for words, tags in some)
    assert AMBIGUOUS <= experiment.ambiguous_words(tagged_sentences(3000, 0))
    corpus = tagged_corpus(30, 20, 10, seed=4)
    assert [len(part) for part in (corpus.train, corpus.valid, corpus.test)] == [30, 20, 10]
    assert corpus.vocabulary.words[:2] == ("<pad>", "<unk>") and corpus.train[:10] != corpus.test
    with pytest.raises(ValueError, match="count: expected an integer >= 1, got 0"):
        tagged_sentences(0, 0)


def test_templates():
    """Kinds of sentences: their probabilities sum to one, and their lengths to the grammar's own mean."""
    grammar = tagged_grammar()
    kinds = grammar.templates()
    assert sum(p for p, _ in kinds) == pytest.approx(1, abs=1e-12)
    assert sum(p * len(names) for p, names in kinds) == pytest.approx(grammar.expected_length(), rel=1e-12)
    with pytest.raises(ValueError, match="without recursion, got one at 'S'"):
        Grammar({"S": [(0.5, ("a", "S")), (0.5, ("b",))]}, "S").templates()


def test_whole_sentences_leave_no_doubt():
    """No two kinds of sentences with different tags can make the same words."""
    grammar = tagged_grammar()
    words = {
        name: {token.rpartition("/")[0] for token in grammar.class_words(name)}
        for _, names in grammar.templates()
        for name in names
    }
    tag = {name: next(iter(grammar.class_words(name))).rpartition("/")[2] for name in words}
    for (_, a), (_, b) in itertools.combinations(grammar.templates(), 2):
        if len(a) == len(b) and [tag[x] for x in a] != [tag[x] for x in b]:
            assert not all(words[x] & words[y] for x, y in zip(a, b)), (a, b)


def test_posteriors_of_a_grammar_done_by_hand():
    """Two kinds: "x a" with probability 3/4 and tags X A, "x b" with Y B; the first tag is known afterwards."""
    grammar = Grammar(
        {"S": [(0.75, ("X", "a/A")), (0.25, ("Y", "b/B"))], "X": [(1, ("x/X",))], "Y": [(1, ("x/Y",))]}, "S"
    )
    known = TagPosteriors(grammar)
    assert known.tags == ["A", "B", "X", "Y"]
    np.testing.assert_allclose(known.posteriors(["x", "b"], "forward"), [[0, 0, 0.75, 0.25], [0, 1, 0, 0]])
    for direction in ("backward", "both"):
        np.testing.assert_allclose(known.posteriors(["x", "b"], direction), [[0, 0, 0, 1], [0, 1, 0, 0]])
    assert known.ceiling("forward") == pytest.approx((0.75 + 1) / 2) and known.ceiling("backward") == pytest.approx(1)
    with pytest.raises(ValueError, match="words: expected a sentence of the grammar, got 'x'"):
        known.posteriors(["x"])
    with pytest.raises(ValueError, match="direction: expected one of forward, backward, both, got 'up'"):
        known.posteriors(["x", "b"], "up")
    with pytest.raises(ValueError, match="direction: expected forward or backward, got 'both'"):
        known.ceiling("both")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_ceiling_is_that_of_many_sentences(posteriors, direction):
    """The exact figure against the best tagger's on 3000 sentences, within four standard errors."""
    right = np.array(
        [np.mean([a == b for a, b in zip(posteriors.best(words, direction), tags)]) for words, tags in SENTENCES]
    )
    lengths = np.array([len(words) for words, _ in SENTENCES])
    ceiling, measured = posteriors.ceiling(direction), float((right * lengths).sum() / lengths.sum())
    error = np.std(lengths * (right - ceiling)) / lengths.mean() / len(lengths) ** 0.5
    assert abs(measured - ceiling) < 4 * error and ceiling < 0.999


SENTENCES = tagged_sentences(3000, 99)


def test_garden_paths(posteriors):
    """What was likeliest is taken back when the later words come."""
    for text, place, first, after in (
        ("the old man the boats .", 1, "ADJ", "NOUN"),
        ("the boat sailed past the bridge near the red gate sank .", 2, "VERB", "PART"),
        ("the teacher saw her duck again .", 4, None, "VERB"),
        ("the farmer knows that fish sank .", 3, None, "CONJ"),
    ):
        words = text.split()
        early, late = (posteriors.posteriors(words, direction)[place] for direction in ("forward", "both"))
        assert 0.05 < early[posteriors.tags.index(after)] < 0.95 and late[posteriors.tags.index(after)] == 1
        assert first is None or posteriors.tags[early.argmax()] in (first, after)


def test_scores():
    """Baseline, shares and table on sentences done by hand."""
    train = [(["a", "b"], ["X", "Y"]), (["b"], ["Y"]), (["b"], ["X"])]
    test = [(["b", "new"], ["X", "Y"]), (["a"], ["X"])]
    assert experiment.ambiguous_words(train) == {"b"}
    guesses = experiment.most_frequent_tags(train, test)
    assert guesses[0][0] == "Y" and guesses[1] == ["X"]
    found = experiment.score(test, [["Y", "Y"], ["X"]], {"b"})
    assert (found.words, found.ambiguous, found.sentences) == (pytest.approx(2 / 3), 0, 0.5)
    table = experiment.confusion_table(test, [["Y", "Y"], ["X"]], ["X", "Y"])
    assert table.tolist() == [[1, 1], [0, 1]]
    assert experiment.format_table(table, ["X", "Y"]).splitlines()[1].split() == ["X", "1", "1"]


def run(folder, *options):
    assert cli.main(["run", "tagging", "--threads", "1", "--out", str(folder), *options]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A GRU in both ways of reading, 3 epochs."""
    folder = tmp_path_factory.mktemp("tagging")
    return folder, run(folder, "--cell", "gru", "--epochs", "3", "--seed", "1")


@pytest.mark.slow
def test_both_directions_learn_what_one_cannot(finished):
    """One direction stays under its ceiling, above the baseline; both get nearly all."""
    folder, result = finished
    metrics = result["metrics"]
    ceiling, baseline = metrics["ceiling_forward_test_accuracy"], metrics["baseline_test_accuracy"]
    assert baseline < metrics["gru_forward_test_accuracy"] <= ceiling + 0.003
    assert metrics["gru_forward_test_accuracy"] > ceiling - 0.012
    assert metrics["gru_both_test_accuracy"] > 0.995 and metrics["ceiling_both_test_accuracy"] == 1
    assert metrics["gru_both_ambiguous_accuracy"] > 0.98 > 0.75 > metrics["ceiling_forward_ambiguous_accuracy"]
    assert metrics["test_accuracy"] == metrics["gru_both_test_accuracy"]
    for name in ("accuracy.png", "confusion.png", "gru_forward.safetensors", "samples.txt", "confusion.txt"):
        assert (folder / name).stat().st_size > 300
    assert {row["model"] for row in result["history"]} == {"gru_forward", "gru_both"}


@pytest.mark.slow
def test_predict(finished, capsys):
    """The saved model tags texts, known words or not, from the command line and in Python."""
    folder, _ = finished
    assert cli.main(["predict", str(folder), "--text", "The old man the boats.", "--text", "the man rests ."]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "the/DET old/NOUN man/VERB the/DET boats/NOUN ./PUNCT  " in first and " 0." in first
    assert "the/DET man/NOUN rests/VERB ./PUNCT  " in second and " 0." in second
    assert cli.main(["predict", str(folder), "the teacher saw her duck again .", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["prediction"].endswith("her/PRON duck/VERB again/ADV ./PUNCT") and 0.5 < found["probability"] <= 1
    model = load_model(folder / "model.safetensors")
    (found,) = model.predict_text(["the zebra repairs the boats ."])
    assert found["prediction"].startswith("the/DET zebra/NOUN")
    for words in (["--text", " "], ["--text", "."]):
        status = cli.main(["predict", str(folder), *words])
        printed = capsys.readouterr()
        assert status == (2 if words[1] == " " else 0)
        assert words[1] == "." or "text: expected at least one word" in printed.err


def test_predict_from_a_file(tmp_path, capsys):
    """A line is a text; an untrained model suffices to show it."""
    corpus = tagged_corpus(5, 1, 1)
    model = experiment.build_tagger("rnn", "both", 4, corpus.vocabulary.size, len(corpus.tags))
    model.build((None, None))
    model.save(tmp_path / "m.safetensors", vocabulary=corpus.vocabulary.to_dict(), extra={"tags": list(corpus.tags)})
    (tmp_path / "texts.txt").write_text("the boat .\n\nthe old man\n")
    assert cli.main(["predict", str(tmp_path / "m.safetensors"), "--file", str(tmp_path / "texts.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("the/") and lines[1].endswith("  the old man")
    assert len(lines[0].split("  ")[0].split()) == 3
    (tmp_path / "empty.txt").write_text("\n")
    assert cli.main(["predict", str(tmp_path / "m.safetensors"), "--file", str(tmp_path / "empty.txt")]) == 2
    assert "--file: expected a text in each line" in capsys.readouterr().err


def test_padding_does_not_count():
    """Tags, loss and accuracy of short sentences are the same beside a long one."""
    corpus = tagged_corpus(60, 1, 1)
    long = max(corpus.train, key=lambda one: len(one[0]))
    short = min(corpus.train, key=lambda one: len(one[0]))
    model = experiment.build_tagger("lstm", "both", 8, corpus.vocabulary.size, len(corpus.tags))
    alone = experiment.encode_sentences([short], corpus.vocabulary, corpus.tags)
    beside = experiment.encode_sentences([short, long], corpus.vocabulary, corpus.tags)
    assert beside[0].shape[1] > alone[0].shape[1]
    first = experiment.predict_tags(model, beside[0], corpus.tags)
    assert first[0] == experiment.predict_tags(model, alone[0], corpus.tags)[0]
    assert [len(tags) for tags in first] == [len(short[0]), len(long[0])]
    other = experiment.encode_sentences([long], corpus.vocabulary, corpus.tags)
    losses = [model.evaluate(*data, verbose=0) for data in (alone, other, beside)]
    n, m = len(short[0]), len(long[0])
    for i in range(2):  # loss, accuracy
        assert losses[2][i] == pytest.approx((n * losses[0][i] + m * losses[1][i]) / (n + m), rel=1e-5)


def test_same_seed_same_model(tmp_path, monkeypatch):
    """Twice the same, and another with another seed."""
    monkeypatch.setattr(experiment.Run, "plot", lambda *_, **__: None)
    monkeypatch.setitem(experiment.SETTINGS, "quick", experiment.Settings(300, 1))
    small = ("--cell", "rnn", "--direction", "forward", "--units", "4", "--epochs", "1")
    results = [run(tmp_path / name, *small, "--seed", seed) for name, seed in (("a", "3"), ("b", "3"), ("c", "4"))]
    found = [{k: v for k, v in one["metrics"].items() if "seconds" not in k} for one in results]
    assert found[0] == found[1] != found[2]
    first, again, other = (load_model(tmp_path / name / "model.safetensors").get_weights() for name in "abc")
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--units", "3"], "--units: expected an even number, since two directions share them, got 3"),
        (["--units", "0"], "--units: expected an integer >= 2, got 0"),
        (["--cell", "cnn"], "argument --cell: invalid choice: 'cnn'"),
        (["--direction", "backward"], "argument --direction: invalid choice: 'backward'"),
        (["--data", "somewhere"], "--data: expected builtin"),
    ],
)
def test_bad_options(tmp_path, capsys, options, expected):
    assert cli.main(["run", "tagging", "--out", str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and not (tmp_path / "out").exists()
