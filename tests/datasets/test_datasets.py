"""The PTB loader, the grammar and its exact entropy, and downloads from a local server."""

import gzip
import hashlib
import http.server
import itertools
import json
import math
import os
import threading
import zipfile

import numpy as np
import pytest

from seqcore import datasets
from seqcore.datasets import SOURCES, Source, download, grammar_corpus, load_ptb, load_sources
from seqcore.datasets.grammar import END, Grammar, english

TEXTS = {
    "train": " the cat sat \n the dog <unk> N \n",
    "valid": " the dog sat \n",
    "test": " a cat \n",
}


def write_ptb(folder, compress=(), texts=TEXTS):
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in texts.items():
        if split in compress:
            (folder / f"ptb.{split}.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"ptb.{split}.txt").write_text(text)


# ---------------------------------------------------------------- PTB


@pytest.mark.parametrize("where", ["ptb", ".", "data", "simple-examples/data"])
@pytest.mark.parametrize("compress", [(), ("train",), ("train", "valid", "test")])
def test_ptb_is_found_plain_or_compressed(tmp_path, where, compress):
    write_ptb(tmp_path / where, compress)
    corpus = load_ptb(tmp_path)
    assert corpus.vocabulary.words == ("<eos>", "the", "<unk>", "N", "cat", "dog", "sat")
    assert corpus.vocabulary.decode(corpus.valid) == ["the", "dog", "sat", "<eos>"]
    assert corpus.vocabulary.decode(corpus.test) == ["<unk>", "cat", "<eos>"]
    assert len(corpus.train) == 9 and corpus.train.dtype == np.int32
    assert corpus.bound is None


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="missing ptb.train.txt, ptb.valid.txt, ptb.test.txt"):
        load_ptb(tmp_path)
    write_ptb(tmp_path / "ptb")
    (tmp_path / "ptb" / "ptb.valid.txt").unlink()
    with pytest.raises(ValueError) as error:
        load_ptb(tmp_path)
    assert str(error.value).endswith("missing ptb.valid.txt") and "\n" not in str(error.value)


def test_empty_file(tmp_path):
    write_ptb(tmp_path, texts=TEXTS | {"test": ""})
    with pytest.raises(ValueError, match="folder: expected text in '.*ptb.test.txt'"):
        load_ptb(tmp_path)


def test_words_outside_need_unk(tmp_path):
    write_ptb(tmp_path, texts={"train": "a b\n", "valid": "a\n", "test": "c\n"})
    with pytest.raises(ValueError, match="folder: expected a training text with <unk>.*'c'"):
        load_ptb(tmp_path)


# ---------------------------------------------------------------- grammars


def toy():
    """Nested brackets with a choice of words: a recursive grammar small enough to enumerate."""
    return Grammar(
        {"S": [(0.3, ("(", "S", ")")), (0.5, ("W",)), (0.2, ())], "W": [(0.75, ("x",)), (0.25, ("y",))]}, "S"
    )


def test_entropy_of_a_small_grammar_by_enumeration():
    grammar = toy()
    entropy = length = total = 0.0
    for depth, middle in itertools.product(range(60), ([], ["x"], ["y"])):
        sentence = ["("] * depth + middle + [")"] * depth
        p = 0.3**depth * {0: 0.2, 1: 0.375 if middle == ["x"] else 0.125}[len(middle)]
        assert grammar.log_probability(sentence) == pytest.approx(math.log(p), abs=1e-9)
        entropy -= p * math.log(p)
        length += p * len(sentence)
        total += p
    assert total == pytest.approx(1)
    assert grammar.entropy() == pytest.approx(entropy, abs=1e-10)
    assert grammar.expected_length() == pytest.approx(length, abs=1e-10)
    assert grammar.entropy_per_word() == pytest.approx(entropy / length)


def test_sentences_outside_have_no_probability():
    grammar = toy()
    assert grammar.log_probability(["(", "x"]) == -math.inf
    assert grammar.log_probability(["z"]) == -math.inf
    assert grammar.derivations(["x", "y"]) == 0


def test_ambiguous_derivations_are_counted_and_summed():
    grammar = Grammar(
        {"S": [(0.5, ("A", "A")), (0.5, ("B",))], "A": [(0.5, ()), (0.5, ("a",))], "B": [(1, ("a",))]}, "S"
    )
    assert grammar.derivations(["a"]) == 3
    assert grammar.log_probability(["a"]) == pytest.approx(math.log(0.5 * 0.25 * 2 + 0.5))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"S": [(0.5, ("a",))]}, "sum to 1 for 'S'"),
        ({"S": [(1.5, ("a",)), (-0.5, ("b",))]}, "positive probabilities"),
        ({"S": [(0.5, ("a",)), (0.5, ("a",))]}, "each right-hand side of 'S' once"),
        ({"S": [(0.5, ("S", "S")), (0.5, ("a",))]}, "finite mean length"),
        ({"T": [(1.0, ("a",))]}, "start: expected a symbol with rules, got 'S'"),
    ],
)
def test_bad_grammars(rules, message):
    with pytest.raises(ValueError, match=message):
        Grammar(rules, "S")


def test_left_recursion_is_refused_when_parsing():
    grammar = Grammar({"S": [(0.3, ("S", "a")), (0.7, ("b",))]}, "S")
    with pytest.raises(ValueError, match="no left recursion"):
        grammar.log_probability(["b", "a"])


def sentences(words):
    found, current = [], []
    for word in words:
        current.append(word)
        if word == END:
            found.append(current)
            current = []
    assert not current
    return found


def test_the_bound_agrees_with_a_monte_carlo_estimate():
    grammar = english()
    words, log_p = grammar.sample(30_000, 5)
    found = sentences(words)
    each = np.array([grammar.log_probability(sentence) for sentence in found])
    assert each.sum() == pytest.approx(log_p, rel=1e-12)
    assert all(grammar.derivations(sentence) == 1 for sentence in found[:500])
    lengths = np.array([len(sentence) for sentence in found])
    error = each.std() / math.sqrt(len(each))
    assert abs(-each.mean() - grammar.entropy()) < 4 * error
    assert abs(lengths.mean() - grammar.expected_length()) < 4 * lengths.std() / math.sqrt(len(lengths))
    assert math.exp(-log_p / len(words)) == pytest.approx(grammar.bound(), rel=0.02)


def test_words_have_their_expected_frequency():
    grammar = english()
    words, _ = grammar.sample(100_000, 3)
    counts = grammar.expected_counts()
    for word in ("the", "that", "<eos>", "sailor", "think"):
        expected = counts[word] / grammar.expected_length()
        assert words.count(word) / len(words) == pytest.approx(expected, rel=0.12)


def test_agreement_is_part_of_the_grammar():
    grammar = english()
    assert grammar.log_probability("the boat near the islands sinks <eos>".split()) > -math.inf
    assert grammar.log_probability("the boat near the islands sink <eos>".split()) == -math.inf
    assert grammar.log_probability("the boats that the sailor tows sink <eos>".split()) > -math.inf
    assert grammar.log_probability("the boats that the sailor tows sinks <eos>".split()) == -math.inf
    assert grammar.log_probability("the boats sink and drift <eos>".split()) > -math.inf
    assert grammar.log_probability("the boats sink and burn <eos>".split()) == -math.inf


def test_each_word_but_the_has_one_class():
    classes, grammar = {}, english()
    for symbol, rules in grammar.rules.items():
        for _, right in rules:
            if len(right) == 1 and right[0] not in grammar.rules:
                classes.setdefault(right[0], set()).add(symbol.split("_")[0])
    assert {word for word, found in classes.items() if len(found) > 1} <= {"the"}


def test_corpus_is_seeded_and_whole():
    one, two = grammar_corpus(2000, 300, 300), grammar_corpus(4000, 300, 300)
    assert np.array_equal(one.train, two.train[: len(one.train)])
    assert np.array_equal(one.test, two.test)
    assert not np.array_equal(grammar_corpus(2000, 300, 300, seed=2).train, one.train)
    assert one.vocabulary.words[one.train[-1]] == END and one.vocabulary.words[0] == "the"
    assert set(one.true_perplexity) == {"train", "valid", "test"}
    grammar, words = one.grammar, one.vocabulary.decode(one.test)
    log_p = sum(grammar.log_probability(sentence) for sentence in sentences(words))
    assert one.true_perplexity["test"] == pytest.approx(math.exp(-log_p / len(words)))
    assert one.bound == pytest.approx(12.766, abs=1e-3)


def test_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="valid_words: expected an integer >= 1, got 0"):
        grammar_corpus(100, 0, 100)


# ---------------------------------------------------------------- downloads


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "served"
    write_ptb(root)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(root))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()
        thread.join()


def sources(address, **changes):
    return {
        "ptb": tuple(
            Source(
                f"ptb.{split}.txt",
                f"{address}ptb.{split}.txt",
                changes.get(split, hashlib.sha256(text.encode()).hexdigest()),
            )
            for split, text in TEXTS.items()
        )
    }


def test_download_from_a_server_and_load(server, tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    folder = download("ptb", tmp_path / "cache", sources(server))
    assert folder == tmp_path / "cache" / "ptb"
    assert load_ptb(folder).vocabulary.size == load_ptb(tmp_path / "cache").vocabulary.size == 7
    (folder / "ptb.test.txt").write_text("damaged")
    assert download("ptb", tmp_path / "cache", sources(server)) == folder
    assert (folder / "ptb.test.txt").read_text() == TEXTS["test"]
    table = {"ptb": [vars(source) for source in sources(server)["ptb"]]}
    (tmp_path / "sources.json").write_text(json.dumps(table))
    monkeypatch.setenv("SEQCORE_SOURCES", str(tmp_path / "sources.json"))
    monkeypatch.setenv("SEQCORE_CACHE", str(tmp_path / "other"))
    assert download("ptb") == tmp_path / "other" / "ptb"


def test_download_of_an_archive(server, tmp_path):
    """Its files stand next to it, whole again where they were cut or led elsewhere; names stay in the folder."""
    pytest.importorskip("pooch")
    served, cache, outside = tmp_path / "served", tmp_path / "cache", tmp_path / "outside"

    def serve(content):
        if isinstance(content, dict):
            with zipfile.ZipFile(served / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in content.items():
                    archive.writestr(name, text)
        else:
            (served / "t.zip").write_bytes(content)
        sha256 = hashlib.sha256((served / "t.zip").read_bytes()).hexdigest()
        return {"text8": (Source("t.zip", f"{server}t.zip", sha256),)}

    table = serve({"text8": "to be or " * 300_000, "empty": ""})
    folder = download("text8", cache, table)
    assert sorted(os.listdir(folder)) == ["empty", "t.zip", "text8"]
    assert (folder / "text8").read_text() == "to be or " * 300_000 and (folder / "empty").read_bytes() == b""
    written = (folder / "text8").stat().st_mtime_ns
    assert download("text8", cache, table) == folder and (folder / "text8").stat().st_mtime_ns == written
    (folder / "text8").write_text("to be")
    outside.write_text("")
    (folder / "empty").unlink()
    (folder / "empty").symlink_to(outside)
    download("text8", cache, table)
    assert (folder / "text8").stat().st_size == 2_700_000 and not (folder / "empty").is_symlink()
    for content, message in (
        ({"../x": "y"}, "file: expected a name without folders"),
        (b"no archive", "t.zip: expected a ZIP archive, got a damaged one"),
    ):
        with pytest.raises(ValueError, match=message):
            download("text8", cache, serve(content))
    assert sorted(os.listdir(tmp_path)) == ["cache", "outside", "served"]


def test_download_refuses_a_wrong_sum(server, tmp_path):
    pytest.importorskip("pooch")
    with pytest.raises(ValueError, match="ptb.valid.txt: expected sha256 " + "0" * 64) as error:
        download("ptb", tmp_path / "cache", sources(server, valid="0" * 64))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache" / "ptb" / "ptb.valid.txt").exists()


@pytest.mark.parametrize("address", ["{server}missing/", "http://127.0.0.1:9/"])
def test_download_that_fails(server, tmp_path, address):
    pytest.importorskip("pooch")
    with pytest.raises(OSError, match="ptb.train.txt: cannot download from") as error:
        download("ptb", tmp_path / "cache", sources(address.format(server=server)))
    assert "\n" not in str(error.value)


def test_unknown_download():
    with pytest.raises(ValueError, match="name: expected one of .*ptb.*, got 'nothing'"):
        download("nothing")


@pytest.mark.parametrize("content", ["[]", "{", '{"ptb": [{"file": "a"}]}', '{"ptb": 3}'])
def test_bad_source_tables(tmp_path, content):
    (tmp_path / "sources.json").write_text(content)
    with pytest.raises(ValueError, match="path: expected a JSON table of sources"):
        load_sources(tmp_path / "sources.json")


_LEADS_ELSEWHERE = [
    "../x",
    "..",
    ".",
    "",
    "/etc/x",
    "a/b",
    "a\\b",
    "..\\x",
    "C:x",
    "C:\\x",
    "a\0b",
    "a\nb",
    "\\\\host\\x",
]
_LEADS_ELSEWHERE += ["~/x", "a/../../b", 3, None, ["a"]]


@pytest.mark.parametrize("where", ["file", "name"])
@pytest.mark.parametrize("bad", _LEADS_ELSEWHERE)
def test_names_stay_in_their_folder(tmp_path, bad, where):
    """From a table and from Python, for files and for whole data sets; nothing is made or fetched."""
    good = {"file": "a.txt", "url": "https://127.0.0.1:9/a", "sha256": "0" * 64}
    table = {"x": [good | {"file": bad}]} if where == "file" else {str(bad): [good]}
    (tmp_path / "sources.json").write_text(json.dumps(table))
    if where == "file" or isinstance(bad, str):
        with pytest.raises(ValueError, match=f"path: expected a JSON table.*{where}: expected a name without folders"):
            load_sources(tmp_path / "sources.json")
    with pytest.raises(ValueError, match=f"{where}: expected a name without folders, got"):
        if where == "file":
            Source(bad, good["url"], good["sha256"])
        else:
            bad = tuple(bad) if isinstance(bad, list) else bad
            download(bad, tmp_path / "cache", {bad: (Source(**good),)})
    assert os.listdir(tmp_path) == ["sources.json"]


@pytest.mark.parametrize("link", ["ptb", "ptb/ptb.train.txt"])
def test_links_that_lead_out_are_refused(tmp_path, link):
    pytest.importorskip("pooch")
    (tmp_path / "outside").mkdir()
    place = tmp_path / "cache" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "outside" / "x")
    with pytest.raises(ValueError, match="folder: expected no link that leads out of"):
        download("ptb", tmp_path / "cache", sources("http://127.0.0.1:9/"))
    assert not os.listdir(tmp_path / "outside")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "file:///etc/hostname"}, "url: expected an address of https://, http://, ftp://, got 'file:"),
        ({"url": "../a"}, "url: expected an address"),
        ({"url": 3}, "url: expected an address"),
        ({"sha256": ""}, "sha256: expected 64 hexadecimal digits, got ''"),
        ({"sha256": "0" * 63}, "sha256: expected 64 hexadecimal digits"),
        ({"sha256": None}, "sha256: expected 64 hexadecimal digits, got None"),
        ({"mode": 1}, "x: expected file, url and sha256, got"),
    ],
)
def test_bad_sources(tmp_path, change, message):
    entry = {"file": "a.txt", "url": "https://127.0.0.1:9/a", "sha256": "0" * 64} | change
    (tmp_path / "sources.json").write_text(json.dumps({"x": [entry]}))
    with pytest.raises(ValueError, match=message):
        load_sources(tmp_path / "sources.json")


def test_sources_are_complete():
    for entries in SOURCES.values():
        for source in entries:
            assert source.url.startswith("https://") and len(source.sha256) == 64


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SEQCORE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_folder() == tmp_path / "seqcore"
