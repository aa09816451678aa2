"""seqcore run stories: the data, the models against the equations, what is learnt, what is written, bad input."""

import json
from functools import partial

import numpy as np
import pytest

import seqcore as sc
from seqcore import cli
from seqcore.datasets import BIGRAMS, builtin_stories, load_stories, load_text, make_stories, stories, tell
from seqcore.experiments import stories as experiment
from tests.helpers import runs

run = partial(runs.run, "stories")


# ---------------------------------------------------------------- data


@pytest.mark.parametrize("seed", range(6))
def test_a_tale_stays_with_its_cast(seed):
    """One name, thing, place, friend and foe from the first sentence to the last; he or she, not both."""
    tale = tell(400, seed)
    words = set(tale.replace(".", " ").replace(",", " ").replace(":", " ").split())
    names = words & set(" ".join(stories._NAMES).split())
    assert len(names) == 1
    for choices in stories._CAST.values():
        assert sum(one in tale for one in choices) == 1
    assert len(words & {"he", "she"}) == 1
    assert not any(word.isupper() for word in words)
    assert 400 < len(tale.split()) < 600 and tale == tell(400, seed) != tell(400, seed + 1)


def test_builtin_stories():
    few, more = builtin_stories(3), builtin_stories(5)
    assert [len(one) for one in few.train] == [len(one) for one in more.train[:3]]
    assert few.vocabulary.words[0] == "<unk>" and few.valid.shape[1] == 250
    many = builtin_stories(20)
    text = BIGRAMS.join(many.vocabulary.decode(many.train[1]))
    assert text.lstrip().startswith("once upon a time there was a")


def write(folder, count=4, words=1100):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.txt").write_text(tell(words if number % 2 else 100, number).upper())
    return folder


def test_stories_of_a_folder(tmp_path):
    """The first by name, in lower case; the ends of the long ones are held back and not trained on."""
    write(tmp_path / "grimm")
    found = load_stories(tmp_path, 4)
    inside = load_stories(tmp_path / "grimm", 4)
    assert [one.tolist() for one in found.train] == [one.tolist() for one in inside.train]
    tokens = [BIGRAMS.split((tmp_path / "grimm" / f"{n}.txt").read_text()) for n in range(4)]
    assert [len(one) for one in found.train] == [len(t) - 250 * (len(t) > 2500) for t in tokens]
    assert found.valid.shape == (2, 250)
    for row, number in zip(found.valid, (1, 3)):
        decoded = found.vocabulary.decode(row)
        assert all(a in (b, "<unk>") for a, b in zip(decoded, tokens[number][-250:]))
    counts = np.bincount(np.concatenate(found.train), minlength=found.vocabulary.size)
    assert counts[1:].min() > 10 and found.tokens == counts.sum()
    assert len(load_stories(tmp_path, 2).train) == 2


def test_line_ends_do_not_matter(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").glob("*.txt"):
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    a, b = load_stories(tmp_path / "a", 4), load_stories(tmp_path / "b", 4)
    assert a.vocabulary == b.vocabulary and (a.valid == b.valid).all()


def test_any_text(tmp_path):
    path = tmp_path / "text"
    path.write_text(tell(4000, 1))
    found = load_text(path)
    total = len(BIGRAMS.split(path.read_text()))
    assert len(found.train) == 1 and found.valid.size == total // 10 // 250 * 250
    assert len(found.train[0]) + found.valid.size == total


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "expected stories"),
        ({"a.txt": b"x"}, "stories: expected at most 1"),
        ({"a.txt": b"", "b.txt": b"x"}, "expected text in .*a.txt"),
        ({"a.txt": b"\xff\xfe", "b.txt": b"x"}, "expected UTF-8 text"),
        ({"a.txt": b"too short", "b.txt": b"this too"}, "more than 2500 tokens"),
        ({"a.txt": b"go", "b.txt": bytes(range(32, 127)) * 90}, "two tokens or more in each"),
        ({"a.txt": bytes(range(32, 127)) * 40, "b.txt": "".join(map(chr, range(200, 9000))).encode()}, ""),
    ],
)
def test_bad_folders(tmp_path, content, expected):
    for name, raw in content.items():
        (tmp_path / name).write_bytes(raw)
    if expected:
        with pytest.raises(ValueError, match=expected):
            load_stories(tmp_path, 2)
    else:
        assert (load_stories(tmp_path, 2).train[1] == 0).all()


def test_text_without_a_frequent_token():
    with pytest.raises(ValueError, match="occur 11 times or more"):
        make_stories("x", ["".join(map(chr, range(200, 9000)))])


# ---------------------------------------------------------------- order of reading


class Watched:
    """Counts the resets a model would get."""

    def __init__(self):
        self.resets = 0

    def reset_states(self):
        self.resets += 1


def test_visits_read_on():
    """Each row reads its story from window to window and from visit to visit, round the end; targets are one ahead."""
    texts, model = [np.arange(97, dtype=np.int32), np.arange(1000, 1041, dtype=np.int32)], Watched()
    visits = experiment.Visits(model, texts, steps=7, windows=3, batch_size=4)
    assert visits.per_epoch == 1 and len(visits) == 3
    expected = {0: None, 1000: None}
    for _ in range(12):
        before = model.resets
        for x, y in visits:
            assert model.resets == before + 1
            assert x.shape == y.shape == (4, 7) and (y == x + 1).all()
            base = int(x[0, 0]) // 1000 * 1000
            length = len(texts[base > 0]) - 1
            if expected[base] is None:
                assert (x[:, 0] - base).tolist() == [b * length // 4 for b in range(4)]
            else:
                assert (x[:, 0] == expected[base]).all()
            assert ((x - base) == (x[:, :1] - base + np.arange(7)) % length).all()
            expected[base] = (x[:, -1] - base + 1) % length + base
    assert all(one is not None for one in expected.values())


def test_an_epoch_visits_a_quarter():
    for count, visited in ((1, 1), (20, 5), (100, 10), (39, 9)):
        one = experiment.Visits(Watched(), [np.arange(30)] * count, 2, 5, 4)
        assert (one.per_epoch, len(one), len(list(one))) == (visited, 5 * visited, 5 * visited)


# ---------------------------------------------------------------- models


def one_hot(ids, size):
    return np.eye(size)[ids]


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_context_is_the_book_s_equations():
    """s_t = (1-a) B x_t + a s_{t-1}, h_t = tanh(A x_t + P s_t + R h_{t-1}), y = softmax(U h + V s), x_t one-hot."""
    sc.set_seed(4)
    size, ids = 30, np.random.default_rng(1).integers(30, size=(3, 12))
    model = experiment.build_model("context", size)
    for one in model.trainable_weights:
        one.assign(one.numpy() * 20)
    table, _, _, p, r, out = (one.numpy().astype(np.float64) for one in model.weights)
    b, a = table[:, :64], table[:, 64:]
    u, v = out[:64], out[64:]
    s, h = np.zeros((3, 64)), np.zeros((3, 64))
    got = softmax(model.predict(ids, batch_size=3, verbose=0))
    for t in range(12):
        x = one_hot(ids[:, t], size)
        s = 0.1 * x @ b + 0.9 * s
        h = np.tanh(x @ a + s @ p + h @ r)
        np.testing.assert_allclose(got[:, t], softmax(h @ u + s @ v), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "layers"), [("rnn", 1), ("rnn3", 3)])
def test_simple_rnn_is_the_book_s_equations(name, layers):
    sc.set_seed(5)
    size, ids = 30, np.random.default_rng(1).integers(30, size=(3, 9))
    model = experiment.build_model(name, size)
    for one in model.trainable_weights:
        one.assign(one.numpy() * 10)
    table, _, *rest, out = (one.numpy().astype(np.float64) for one in model.weights)
    states = [np.zeros((3, 64)) for _ in range(layers)]
    got = softmax(model.predict(ids, batch_size=3, verbose=0))
    for t in range(9):
        z = one_hot(ids[:, t], size) @ table + states[0] @ rest[0]
        for number in range(layers):
            if number:
                w, r = rest[2 * number - 1 : 2 * number + 1]
                z = states[number - 1] @ w + states[number] @ r
            states[number] = np.tanh(z)
        np.testing.assert_allclose(got[:, t], softmax(states[-1] @ out), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", experiment.MODELS)
def test_weights_start_small_and_the_identity_stays(name):
    sc.set_seed(2)
    model = experiment.build_model(name, 40)
    for one in model.trainable_weights:
        values = one.numpy()
        assert abs(values).max() <= 0.04 + 1e-6 and 0.014 < values.std() < 0.02
    frozen = [one.numpy() for one in model.weights if not one.trainable]
    width = model.weights[0].shape[1]
    np.testing.assert_array_equal(np.concatenate(frozen, axis=1), np.eye(width))
    counts = {"rnn": 2 * 40 * 64 + 64**2, "context": 4 * 40 * 64 + 2 * 64**2, "rnn3": 2 * 40 * 64 + 5 * 64**2}
    counts |= {"lstm": 5 * 40 * 64 + 4 * 64**2, "gru": 4 * 40 * 64 + 3 * 64**2}
    assert sum(one.size for one in model.trainable_weights) == counts[name]
    before = [one.numpy() for one in model.trainable_weights]
    x = np.random.default_rng(0).integers(40, size=(8, 6))
    model.train_on_batch(x, x)
    np.testing.assert_array_equal([one.numpy() for one in model.weights if not one.trainable], frozen)
    assert all((old != one.numpy()).any() for old, one in zip(before, model.trainable_weights))


def test_baselines():
    data = stories.Stories(
        "x", BIGRAMS, sc.text.Vocabulary("abc"), (np.array([0, 1, 0, 1, 0, 2]),), np.array([[0, 1, 0]])
    )
    p = np.array([4, 3, 2]) / 9
    assert experiment.unigram_perplexity(data) == pytest.approx((p[1] * p[0]) ** -0.5)
    found = [((2 + k * p[1]) / (3 + k) * (2 + k * p[0]) / (2 + k)) ** -0.5 for k in (1, 3, 10, 30, 100, 300)]
    assert experiment.markov_perplexity(data) == pytest.approx(min(found))


# ---------------------------------------------------------------- runs


@pytest.mark.slow
def test_the_models_learn(tmp_path, capsys):
    """A few hundred updates: far better than frequencies, and than pairs of bigrams; all files; text that goes on."""
    pytest.importorskip("matplotlib")
    for name in ("rnn", "context"):
        words = ("--model", name, "--epochs", 6, "--threads", 1, "--out", tmp_path / name, "--seed", 1)
        assert run(*words) == 0
        found = json.loads((tmp_path / name / "metrics.json").read_text())
        metrics, history = found["metrics"], found["history"]
        assert metrics["valid_perplexity"] < metrics["markov_valid_perplexity"] < metrics["unigram_valid_perplexity"]
        assert metrics["valid_perplexity"] == min(row["valid_perplexity"] for row in history) < 10
        assert metrics["train_perplexity"] == history[-1]["train_perplexity"] < 4
        assert [row["epoch"] for row in history] == list(range(1, 7)) and history[0]["model"] == name
        assert (tmp_path / name / "perplexity.png").read_bytes()[:8] == runs.PNG
    capsys.readouterr()
    tales = (tmp_path / "rnn" / "tales.txt").read_text()
    assert tales.count("once upon a time") >= 4 and "beam search" in tales and "<unk>" not in tales
    words = ["generate", str(tmp_path / "rnn"), "--prompt", "Once upon a time", "--length", "60", "--seed", "1"]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    assert first.startswith("once upon a time") and len(first.rstrip("\n")) >= 16 + 110
    assert cli.main(words) == 0 and capsys.readouterr().out == first
    known = set(" ".join(tell(500, seed) for seed in range(40)).split())
    told = first.split()[4:-1]
    assert np.mean([word in known for word in told]) > 0.5
    assert cli.main(["generate", str(tmp_path / "rnn"), "--prompt", "the ", "--beam", "3", "--noise", "0.1"]) == 0
    capsys.readouterr()
    # The book's noise does not change the likeliest tale; larger noise does.
    greedy = ["generate", str(tmp_path / "rnn"), "--prompt", "once upon a time", "--greedy", "--length", "100"]
    told = {noise: set() for noise in ("0.01", "1")}
    for noise, tales_of_seeds in told.items():
        for seed in "123":
            assert cli.main([*greedy, "--noise", noise, "--seed", seed]) == 0
            tales_of_seeds.add(capsys.readouterr().out)
    assert len(told["0.01"]) == 1 < len(told["1"])
    assert cli.main(["generate", str(tmp_path / "rnn"), "--prompt", "qqzz"]) == 2
    assert "--prompt: expected bigrams that the model knows, got 'qq', 'zz'" in capsys.readouterr().err
    assert cli.main(["predict", str(tmp_path / "rnn"), "once upon a time"]) == 0
    assert "per token over 7 tokens" in capsys.readouterr().out


SHORT = ("--epochs", 2, "--windows", 2, "--unroll", 5, "--stories", 4)


def test_runs_repeat_themselves_alone_and_beside_others(tmp_path):
    """Same seed, same figures and same text for any number of threads, and whichever models run with it."""
    for name, seed, threads in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        assert run(*SHORT, "--model", "context", "--seed", seed, "--threads", threads, "--out", tmp_path / name) == 0
    a, b, c = (runs.results(tmp_path / name) for name in "abc")
    assert a["metrics"] == b["metrics"] != c["metrics"] and a["history"] == b["history"]
    texts = [(tmp_path / name / "tales.txt").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    assert run(*SHORT, "--seed", 3, "--out", tmp_path / "all") == 0
    everything = runs.results(tmp_path / "all")
    assert [row for row in everything["history"] if row["model"] == "context"] == a["history"]
    assert everything["metrics"]["context_valid_perplexity"] == a["metrics"]["valid_perplexity"]
    best = min(experiment.MODELS, key=lambda name: everything["metrics"][f"{name}_valid_perplexity"])
    assert sc.load_model(tmp_path / "all" / "model.safetensors").extra["network"] == best
    for name in experiment.MODELS:
        assert sc.load_model(tmp_path / "all" / f"{name}.safetensors").extra["tokens"]["characters"] == 2


def test_a_pair_with_a_learned_alpha(tmp_path, capsys):
    """The two models of the book in one run, of the given size; alpha moves, and generation uses the learned one."""
    words = (*SHORT, "--model", "pair", "--learn-alpha", "--units", 5, "--batch-size", 3)
    assert run(*words, "--out", tmp_path) == 0
    found = runs.results(tmp_path)
    metrics = found["metrics"]
    assert (found["batch_size"], found["units"]) == (3, 5)
    assert {row["model"] for row in found["history"]} == {"rnn", "context"}
    assert 0.5 < metrics["alpha"] < 1 and abs(metrics["alpha"] - 0.9) > 1e-4
    printed = capsys.readouterr().out
    assert f"{metrics['alpha']:.4f} learned" in printed
    windows = [line.split(": ", 1)[1] for line in printed.splitlines() if line.startswith("window of 5: ")]
    assert 0 < metrics["rnn_distinct_words"] <= 1 and 0 < metrics["context_copied_characters"] <= 316
    inputs, targets = zip(*([part.strip("'").split("' '") for part in line.split(" -> ")] for line in windows))
    assert len(windows) == 3 and inputs[0] == ["on", "<unk>", "<unk>", "po", "n "]
    assert [row[1:] for row in inputs] == [row[:-1] for row in targets]
    assert [row[0] for row in inputs[1:]] == [row[-1] for row in targets[:-1]]
    model = sc.load_model(tmp_path / "context.safetensors")
    size = model.layers[-1].units
    assert metrics["context_parameters"] == 4 * size * 5 + 2 * 5**2 + 1
    assert metrics["rnn_parameters"] == 2 * size * 5 + 5**2
    ids = np.random.default_rng(0).integers(size, size=(1, 30))
    stream = model.stream()
    steps = [stream.step(ids[0, t : t + 1]) for t in range(30)]
    np.testing.assert_allclose(np.concatenate(steps), model.predict(ids, verbose=0)[0], rtol=1e-4, atol=1e-6)
    assert run(*SHORT, "--model", "lstm", "--learn-alpha") == 2
    assert "--learn-alpha: expected --model context, pair or all, got lstm" in capsys.readouterr().err


def test_stream_of_any_text_and_a_folder(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text(tell(4000, 1))
    assert run("--text", path, "--model", "rnn", "--epochs", 1, "--out", tmp_path / "a") == 0
    assert runs.results(tmp_path / "a")["order"] == "stream"
    write(tmp_path / "grimm")
    words = ("--data", tmp_path, "--stories", 4, "--model", "gru", "--epochs", 1, "--windows", 2, "--unroll", 1)
    assert run(*words, "--out", tmp_path / "b") == 0
    found = runs.results(tmp_path / "b")
    assert (found["order"], found["unroll"], found["stories"], found["epochs"]) == ("stories", 1, 4, 1)
    assert found["metrics"]["valid_change_stddev"] is None
    assert run(*words[:-2], "--order", "stream", "--unroll", 3, "--out", tmp_path / "c") == 2
    assert "--windows: expected with --order stories" in capsys.readouterr().err


def test_settings_of_the_book():
    def of(*words):
        arguments = cli._parser(["run", "stories"]).parse_args(["run", "stories", "--preset", "book", *words])
        return experiment.settings_of(arguments)

    assert of() == experiment.Settings(64, 0.001, 100, 10)
    assert of("--stories", "100").epochs == 50 and of("--stories", "100", "--text", "x").epochs == 10
    assert of("--epochs", "3", "--windows", "7") == experiment.Settings(64, 0.001, 7, 3)
    assert of("--units", "9", "--batch-size", "2") == experiment.Settings(2, 0.001, 100, 10, units=9)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stories", "0"], "--stories: expected an integer >= 1, got 0"),
        (["--unroll", "0"], "--unroll: expected an integer >= 1, got 0"),
        (["--units", "0"], "--units: expected an integer >= 1, got 0"),
        (["--windows", "-1"], "--windows: expected an integer >= 1, got -1"),
        (["--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["--data", "no/such/place"], "--data: expected builtin, download or a folder, got 'no/such/place'"),
        (["--text", "no/such/file"], "no/such/file: No such file or directory"),
        (["--data", "."], "folder: expected stories *.txt"),
    ],
)
def test_bad_options(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
