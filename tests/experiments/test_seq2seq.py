"""Sequence to sequence: dates, the model against plain programs, greedy and beam search, seqcore run seq2seq."""

import datetime
import itertools
import json
import re
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import GradientTape, cli, losses, metrics, ops
from seqcore.datasets import dates
from seqcore.experiments import seq2seq as experiment
from seqcore.language_model.seq2seq import END, START, PairBatches, Seq2Seq
from tests.helpers import runs
from tests.helpers.cases import central_difference

SOURCES, TARGETS = ["abca", "b", "ca", "aabbc"], ["xy", "", "zzy", "x"]
BOTH = pytest.mark.parametrize("attention", ["additive", "none"])


def make(attention="additive", **options):
    """A small model in float64 with weights large enough to tell tokens apart."""
    sc.set_seed(2)
    options = {"units": 3, "embedding": 4, "dtype": "float64", **options}
    model = Seq2Seq("abc", "xyz", attention=attention, **options)
    model(next(iter(PairBatches(model, SOURCES, TARGETS)))[0])
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def log_p(model, source, ids):
    """log p (len(ids) + 1, V) of each token after the start token and the first of ``ids``, by one call."""
    read = ops.as_tensor(np.array([[model.target.id(START), *ids]]))
    read.lengths = np.array([len(ids) + 1], np.int32)
    return log_softmax(model([model.encode_sources([source]), read]).numpy()[0])


# --- dates -----------------------------------------------------------------------------------------------------------


def test_each_form_is_the_one_that_names_it_and_tells_all_dates_apart():
    example = datetime.date(1997, 5, 3)
    assert all(write(example) == name for name, write in dates.FORMS.items())
    days = [dates.FIRST + datetime.timedelta(n) for n in range((dates.LAST - dates.FIRST).days + 1)]
    for write in dates.FORMS.values():
        assert len({write(day) for day in days}) == len(days) == 73_049


@pytest.mark.parametrize("name", [name for name in dates.FORMS if "1997" in name])
def test_written_dates_can_be_read_again(name):
    """By another program: the month by its first letters, the year of four figures, the day of at most two."""
    months = [month[:3] for month in dates.MONTHS]
    for n in range(0, 73_049, 97):
        day = dates.FIRST + datetime.timedelta(n)
        text = dates.FORMS[name](day)
        found = next(months.index(word[:3]) + 1 for word in re.findall("[A-Z][a-z]+", text) if word[:3] in months)
        numbers = [int(one) for one in re.findall(r"\d+", text)]
        assert datetime.date(max(numbers), found, min(numbers)) == day
        weekday = re.match("(Mon|Tue|Wed|Thu|Fri|Sat|Sun)", text)
        assert weekday is None or weekday[1] == day.strftime("%a")


@pytest.mark.parametrize("direction", dates.DIRECTIONS)
def test_pairs_have_no_date_in_common_and_repeat_themselves(direction):
    parts = dates.date_pairs(direction, (500, 50, 60), seed=3)
    assert [len(one) for one in parts] == [500, 50, 60]
    iso = [date for one in parts for date in (one.target if direction == "to-iso" else one.source)]
    assert len(set(iso)) == 610
    for one in parts:
        for source, target, form in zip(one.source, one.target, one.forms, strict=True):
            english, date = (source, target) if direction == "to-iso" else (target, source)
            assert english == dates.FORMS[form](datetime.date.fromisoformat(date))
    forms = set(parts[0].forms)
    assert forms == set(dates.FORMS) if direction == "to-iso" else forms == {dates.SPOKEN}
    assert dates.date_pairs(direction, (500, 50, 60), seed=3) == parts
    assert dates.date_pairs(direction, (500, 50, 60), seed=4) != parts


def test_wrong_sizes_of_dates_are_refused():
    with pytest.raises(ValueError, match="direction: expected 'to-iso' or 'to-words', got 'back'"):
        dates.date_pairs("back")
    for sizes in ((0, 1, 1), (73_000, 25, 25)):
        with pytest.raises(ValueError, match="sizes: expected three integers >= 1 that sum to at most 73049"):
            dates.date_pairs("to-iso", sizes)


# --- the metric ------------------------------------------------------------------------------------------------------


def test_sequence_accuracy(rng):
    """Against a plain program, over batches, with lengths, a mask, weights; it can be written to a file."""
    metric, total, count = metrics.SequenceAccuracy(), 0.0, 0.0
    for _ in range(4):
        scores, ids = ops.as_tensor(rng.normal(size=(9, 2, 3))), rng.integers(0, 3, (9, 2))
        scores.lengths, weights = rng.integers(0, 3, 9).astype(np.int32), rng.random(9)
        metric.update_state(ids, scores, weights)
        best = scores.numpy().argmax(-1)
        for row in range(9):
            length = scores.lengths[row]
            total += weights[row] * all(best[row, :length] == ids[row, :length])
            count += weights[row]
    assert metric.result() == pytest.approx(total / count)
    metric.reset_state()
    assert metric([[0, 1]], [[[1, 0], [1, 0]]]) == 0.0
    assert metric([[0, 1]], [[[1, 0], [1, 0]]], mask=np.array([[True, False]])) == 0.5
    with pytest.raises(ValueError, match="y_pred: expected shape"):
        metric([0], [[1, 0]])
    twin = metrics.get(json.loads(json.dumps(metrics.serialize(metrics.SequenceAccuracy("exact")))))
    assert type(twin) is metrics.SequenceAccuracy and twin.name == "exact"
    assert type(metrics.get("sequence_accuracy")) is metrics.SequenceAccuracy


# --- the model -------------------------------------------------------------------------------------------------------


@BOTH
def test_the_network_is_that_of_its_formulas(attention):
    """The logits of one pair, step by step from the weights: two LSTMs, their states, attention, the output layer."""
    model = make(attention)

    def lstm(layer, x, h, c):
        kernel, recurrent, bias = layer.get_weights()
        found = []
        for one in x:
            i, f, g, o = np.split(one @ kernel + h @ recurrent + bias, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            found.append(h)
        return np.array(found), h, c

    x = model.source_embedding.get_weights()[0][model.source.encode(list("abca"))]
    zero = np.zeros(3)
    forward, h1, c1 = lstm(model.encoder.forward_layer, x, zero, zero)
    backward, h2, c2 = lstm(model.encoder.backward_layer, x[::-1], zero, zero)
    values = np.concatenate([forward, backward[::-1]], axis=1)
    ids = [model.target.id(START), *model.target.encode(list("xy"))]
    read = model.target_embedding.get_weights()[0][ids]
    s, _, _ = lstm(model.decoder, read, np.concatenate([h1, h2]), np.concatenate([c1, c2]))
    hidden = s
    if attention == "additive":
        (keys,), (query,) = model.key_projection.get_weights(), model.query_projection.get_weights()
        scale = model.attention.get_weights()[0]
        score = (np.tanh((s @ query)[:, None] + (values @ keys)[None]) * scale).sum(-1)
        weights = np.exp(log_softmax(score))
        kernel, bias = model.combine.get_weights()
        hidden = np.tanh(np.concatenate([weights @ values, s], axis=1) @ kernel + bias)
        np.testing.assert_allclose(model.attention_weights(["abca"], ["xy"])[0], weights, rtol=1e-10)
    kernel, bias = model.output_layer.get_weights()
    wanted = hidden @ kernel + bias
    [source, target], _ = next(iter(PairBatches(model, SOURCES, TARGETS)))
    row = source.lengths.tolist().index(4)
    np.testing.assert_allclose(model([source, target]).numpy()[row, :3], wanted, rtol=1e-10)


@BOTH
def test_padding_changes_nothing(attention):
    """Logits, loss and gradients of a batch are those of its pairs one by one."""
    model = make(attention)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")

    def loss_and_gradients(sources, targets):
        inputs, y = next(iter(PairBatches(model, sources, targets)))
        with GradientTape() as tape:
            value = loss(y, model(inputs))
        return float(value), [np.asarray(one) for one in tape.gradient(value, model.weights)]

    together, gradients = loss_and_gradients(SOURCES, TARGETS)
    apart = [loss_and_gradients([a], [b]) for a, b in zip(SOURCES, TARGETS)]
    assert together == pytest.approx(sum(value for value, _ in apart), rel=1e-12)
    for one, others in zip(gradients, zip(*[g for _, g in apart])):
        np.testing.assert_allclose(one, sum(others), rtol=1e-9, atol=1e-12)


@BOTH
def test_gradients_against_central_differences(attention, rng):
    model = make(attention)
    model.set_weights([w / 2 for w in model.get_weights()])
    inputs, y = next(iter(PairBatches(model, SOURCES, TARGETS)))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    with GradientTape() as tape:
        value = loss(y, model(inputs))
    for variable, gradient in zip(model.weights, tape.gradient(value, model.weights), strict=True):
        found = np.asarray(gradient)
        for flat in rng.permutation(found.size)[:6]:
            place = np.unravel_index(flat, found.shape)
            wanted = central_difference(lambda: loss(y, model(inputs)), variable, place)
            assert found[place] == pytest.approx(wanted, abs=1e-9, rel=1e-5), variable.name


@BOTH
def test_greedy_search_takes_the_likeliest_token_each_time(attention):
    model = make(attention, max_length=6)
    found = model.translate(SOURCES * 2, batch_size=3)
    assert found[:4] == found[4:]
    for source, one in zip(SOURCES, found):
        ids, total = [], 0.0
        for _ in range(6):
            p = log_p(model, source, ids)[-1]
            p[model.target.id(START)] = -np.inf
            ids.append(int(p.argmax()))
            total += p.max()
            if ids[-1] == model.target.id(END):
                break
        assert one.finished == (ids[-1] == model.target.id(END)) == (len(one.text) < 6)
        assert one.text == "".join(model.target.words[i] for i in ids[: len(one.text)])
        assert one.log_probability == pytest.approx(total, rel=1e-9)


@BOTH
def test_a_wide_beam_finds_the_best_of_all_and_a_narrow_one_no_worse_than_greedy(attention):
    """Against all sequences of at most 3 tokens; a beam that never drops one cannot miss it."""
    model = make(attention, max_length=3)
    end = model.target.id(END)
    letters = [model.target.id(one) for one in "xyz"]
    wide, narrow, greedy = (model.translate(SOURCES, beam_width=width) for width in (60, 2, 1))
    for source, one, two, first in zip(SOURCES, wide, narrow, greedy):
        best = -np.inf, ()
        for n in range(4):
            for ids in itertools.product(letters, repeat=n):
                p = log_p(model, source, ids)
                whole = [*ids, end] if n < 3 else ids
                best = max(best, (sum(p[t, i] for t, i in enumerate(whole)), ids))
        assert one.log_probability == pytest.approx(best[0], rel=1e-9)
        assert one.text == "".join(model.target.words[i] for i in best[1])
        assert one.log_probability >= two.log_probability - 1e-12
        assert one.log_probability >= first.log_probability - 1e-12


def test_words_as_tokens():
    model = Seq2Seq(["the", "dog"], ["le", "chien"], units=2, separator=" ", max_length=3)
    [read, _], said = next(iter(PairBatches(model, ["the  dog"], ["le chien"])))
    assert read.numpy().tolist() == [[0, 1]] and said.tolist() == [[2, 3, 1]]
    assert set(model.translate(["dog"])[0].text.split()) <= {"le", "chien"}
    with pytest.raises(ValueError, match="text: expected some of '2 known words', got 'cat' in 'the cat'"):
        model.translate(["the cat"])


def test_a_saved_model_goes_on(tmp_path):
    model = make(lower=True, dropout=0.1, max_length=7)
    model.save(tmp_path / "model.safetensors", extra={"experiment": "mine"})
    twin = sc.load_model(tmp_path / "model.safetensors")
    assert twin.get_config() == model.get_config() and twin.extra == {"experiment": "mine"}
    assert twin.translate(["CAb", " a  "], 3) == model.translate(["cab", "a"], 3)
    [one] = twin.predict_text(["cab"])
    assert one["text"] == "cab" and one["prediction"] == model.translate(["cab"], 4)[0].text
    assert one["probability"] == pytest.approx(np.exp(model.translate(["cab"], 4)[0].log_probability))


def test_batches_hold_each_pair_once_in_a_new_order():
    model, rng = make(), np.random.default_rng(1)
    source = ["".join(rng.choice(list("abc"), rng.integers(1, 9))) for _ in range(103)]
    target = [one.translate(str.maketrans("abc", "xyz"))[::-1] for one in source]
    sc.set_seed(3)
    batches, orders = PairBatches(model, source, target, 8), []
    assert len(batches) == 13
    for _ in range(2):
        found, widths = [], []
        for [read, begun], said in batches:
            assert read.shape == (len(said), read.lengths.max()) and begun.shape == said.shape
            widths.append(np.ptp(read.lengths))
            for row, n in enumerate(read.lengths.tolist()):
                text = "".join(model.target.decode(said[row, :n]))
                assert said[row, n] == model.target.id(END) and begun.lengths[row] == n + 1
                assert begun.numpy()[row, : n + 1].tolist() == [model.target.id(START), *said[row, :n].tolist()]
                found.append(("".join(model.source.decode(read.numpy()[row, :n])), text))
        assert sorted(found) == sorted(zip(source, target)) and max(widths) <= 3
        orders.append(found)
    assert orders[0] != orders[1]
    sc.set_seed(3)
    again = next(iter(PairBatches(model, source, target, 8)))[1]
    assert "".join(model.target.decode(again[0][: len(orders[0][0][1])])) == orders[0][0][1]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="attention: expected 'additive' or 'none', got 'dot'"):
        Seq2Seq("a", "b", attention="dot")
    with pytest.raises(ValueError, match="separator: expected"):
        Seq2Seq("a", "b", separator=",")
    with pytest.raises(ValueError, match="max_length: expected an integer 1...100000, got 0"):
        Seq2Seq("a", "b", max_length=0)
    model = make()
    with pytest.raises(ValueError, match="text: expected some of 'abc', got '-', 'd' in 'a-d'"):
        model.translate(["a", "a-d"])
    with pytest.raises(ValueError, match="text: expected some of 'abc', got the empty '  '"):
        model.translate(["  "])
    with pytest.raises(ValueError, match="beam_width: expected an integer 1...1000, got 0"):
        model.translate(["a"], 0)
    with pytest.raises(ValueError, match="target: expected as many texts as sources, at least 1, got 1 of 2"):
        PairBatches(model, ["a", "b"], ["x"])
    with pytest.raises(ValueError, match="word: expected one of the 5 words of the vocabulary, got 'a'"):
        PairBatches(model, ["a"], ["a"])
    with pytest.raises(ValueError, match="attention_weights: expected a model with attention='additive'"):
        make("none").attention_weights(["a"], ["x"])


# --- seqcore run seq2seq ---------------------------------------------------------------------------------------------

SMALL = ("--pairs", 3_000, "--epochs", 10, "--units", 32, "--seed", 1, "--threads", 1)


run = partial(runs.run, "seq2seq")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dates")
    assert run(*SMALL, "--out", folder, "--json", folder / "figures.json") == 0
    return folder


@pytest.mark.slow
def test_attention_learns_what_the_last_state_alone_does_not(finished, tmp_path, capsys):
    results = json.loads((finished / "metrics.json").read_text())
    assert results == json.loads((finished / "figures.json").read_text())
    assert (results["experiment"], results["direction"], results["attention"]) == ("seq2seq", "to-iso", "additive")
    found = results["metrics"]
    assert found["test_accuracy"] > 0.5 and found["test_accuracy_beam"] > 0.5 and found["valid_accuracy"] > 0.5
    assert found["test_letter_accuracy"] > 0.9 > 0.6 > found["baseline_letter_accuracy"]
    assert found["baseline_accuracy"] < 0.01 and found["best_epoch"] >= 8
    # Greedy decoding is right where teacher forcing is: the metric of fit says what translate does.
    assert abs(found["test_accuracy"] - found["valid_accuracy"]) < 0.06
    assert (finished / "translations.txt").read_text().count(" -> ") > 40
    for name in ("learning.png", "attention.png"):
        pytest.importorskip("matplotlib")
        assert (finished / name).read_bytes()[:8] == runs.PNG
    assert run(*SMALL, "--attention", "none", "--out", tmp_path) == 0
    assert "exact match on 2,000 unseen dates" in capsys.readouterr().out
    none = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert none["test_accuracy"] < 0.25 and none["test_letter_accuracy"] < found["test_letter_accuracy"]
    assert not (tmp_path / "attention.png").exists()


def test_the_saved_model_predicts(finished, capsys, tmp_path):
    capsys.readouterr()
    assert cli.main(["predict", str(finished), "--text", "June 30, 1950"]) == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\d  0\.\d{4}  June 30, 1950\n", capsys.readouterr().out)
    assert cli.main(["predict", str(finished), "JUNE  30, 1950", "--json"]) == 0
    [result] = json.loads(capsys.readouterr().out)
    assert result["text"] == "JUNE  30, 1950" and 0 < result["probability"] <= 1
    (tmp_path / "dates.txt").write_text("3 May 1997\n4 May 1997\n")
    assert cli.main(["predict", str(finished), "--file", str(tmp_path / "dates.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].endswith("  3 May 1997")
    (tmp_path / "empty.txt").touch()
    assert cli.main(["predict", str(finished), "--file", str(tmp_path / "empty.txt")]) == 2
    assert "--file: expected a text in each line, got the empty" in capsys.readouterr().err
    for text, message in (("3/5/1997", "got '/' in '3/5/1997'"), ("", "got the empty ''")):
        assert cli.main(["predict", str(finished), "--text", text]) == 2
        error = capsys.readouterr().err
        assert error.startswith("seqcore: text: expected some of ' ,-0123456789abc") and message in error
    assert cli.main(["predict", str(finished), "3 May 1997", "--text", "4 May 1997"]) == 0
    assert [line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()] == ["3 May 1997", "4 May 1997"]


@pytest.mark.parametrize("direction", dates.DIRECTIONS)
def test_runs_repeat_themselves(tmp_path, direction, monkeypatch):
    monkeypatch.setattr(experiment, "TEST", 40)
    monkeypatch.setattr(experiment, "VALID", 40)
    found = []
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        words = ("--pairs", 150, "--epochs", 2, "--units", 8, "--direction", direction)
        assert run(*words, "--seed", seed, "--threads", threads, "--out", tmp_path / name) == 0
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())["metrics"]
        found.append({key: value for key, value in metrics.items() if "seconds" not in key})
    assert found[0] == found[1] != found[2]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert models[0] == models[1] != models[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pairs", "0"], "--pairs: expected an integer >= 1, got 0"),
        (["--pairs", "80000"], "--pairs: sizes: expected three integers >= 1 that sum to at most 73049"),
        (["--units", "0"], "--units: expected an integer >= 1, got 0"),
        (["--beam-width", "1"], "--beam-width: expected an integer >= 2, got 1"),
        (["--data", "download"], "--data: expected builtin"),
        (["--direction", "back"], "--direction: invalid choice"),
        (["--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
    ],
)
def test_wrong_options_end_before_any_work(words, message, tmp_path, capsys):
    assert run(*words, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_presets():
    assert {name: (one.pairs, one.epochs) for name, one in experiment.SETTINGS.items()} == {
        "quick": (10_000, 8),
        "book": (40_000, 12),
    }
