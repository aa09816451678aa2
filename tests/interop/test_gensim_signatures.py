"""The arguments of gensim 4.4: honoured, or accepted at one value and refused by name with the reason otherwise."""

import copy
import inspect
import os

import numpy as np
import pytest

from seqcore import KeyedVectors, Word2Vec, word_vectors
from seqcore.word_vectors.corpus import Corpus
from tests.helpers import gensim_signatures as table
from tests.helpers.gensim_signatures import COUNTS, OTHER, ROWS, SIGNATURES, TEXT, Honoured, Required
from tests.helpers.refusals import refused

SMALL = dict(vector_size=4, min_count=1, workers=1, alpha=0.1, epochs=1, sample=0)
LETTERS = ["a", "b", "c", "d", "e", "f", "a\xe9"]


def vectors(seed=0, words=LETTERS):
    kv = KeyedVectors(np.random.default_rng(seed).normal(size=(len(words), 3)), words, range(len(words), 0, -1))
    for row, word in enumerate(words):
        kv.set_vecattr(word, "score", (row * 5) % 7)
    return kv


def trained(text=TEXT, **settings):
    return Word2Vec(text, **{**SMALL, **settings})


def untrained():
    model = Word2Vec(**SMALL)
    model.build_vocab(TEXT)
    return model


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("a.txt", TEXT), ("b.txt", OTHER)):
        (tmp_path / name).write_text("\n".join(map(" ".join, text)))
    trained().save("model")
    trained(OTHER).save("model2")
    for number, name in enumerate(("v", "v2")):
        vectors(number).save(f"{name}.kv")
        vectors(number).save_word2vec_format(f"{name}.txt", "counts.txt")
    vectors(1).save_word2vec_format("v.bin", binary=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.txt").write_text("f a\nb a c\n")
    (tmp_path / "v.latin").write_bytes("2 3\na\xe9 1 2 3\nb 1 2 4\n".encode("latin-1"))
    (tmp_path / "glove.txt").write_text("2 3\n4 5\n5 6\n")
    (tmp_path / "questions.txt").write_text(": one\na b c d\nA B C E\nb c a f\na b c none\n")
    (tmp_path / "questions2.txt").write_text(": two\nb c e f\n")
    (tmp_path / "pairs.tsv").write_text("a\tb\t1\nC\td\t2\ne\tf\t5\nb\tf\t3\nb\tnone\t4\n")
    (tmp_path / "pairs2.tsv").write_text("a\tb\t3\nc\td\t2\ne\tf\t1\n")
    (tmp_path / "pairs.both").write_text("a;b;1\nc;d;2\ne;f;5\na,b,3\nc,d,2\nb,f,7\n")
    (tmp_path / "pairs.latin").write_bytes("a\tb\t1\nc\td\t2\na\xe9\tb\t5\nb\tf\t7\n".encode("latin-1"))
    return tmp_path


BASE = {
    "Word2Vec": {"sentences": TEXT, **SMALL},
    "Word2Vec.build_vocab": {"corpus_iterable": TEXT},
    "Word2Vec.build_vocab_from_freq": {"word_freq": COUNTS},
    "Word2Vec.train": {"corpus_iterable": TEXT},
    "Word2Vec.predict_output_word": {"context_words_list": ["a"]},
    "Word2Vec.reset_from": {"other_model": table.Counted(TEXT)},
    "Word2Vec.save": {"fname": "one"},
    "Word2Vec.load": {"fname": "model"},
    "KeyedVectors": {"vector_size": 3},
    "KeyedVectors.__contains__": {"key": "a"},
    "KeyedVectors.__getitem__": {"key_or_keys": "a"},
    "KeyedVectors.__setitem__": {"keys": ["a", "new"], "weights": ROWS},
    "KeyedVectors.add_vector": {"key": "new", "vector": ROWS[0]},
    "KeyedVectors.add_vectors": {"keys": ["a", "new"], "weights": ROWS},
    "KeyedVectors.closer_than": {"key1": "a", "key2": "e"},
    "KeyedVectors.cosine_similarities": {"vector_1": ROWS[0], "vectors_all": ROWS},
    "KeyedVectors.distance": {"w1": "a", "w2": "c"},
    "KeyedVectors.distances": {"word_or_vector": "a"},
    "KeyedVectors.doesnt_match": {"words": ["a", "b", "c"]},
    "KeyedVectors.evaluate_word_analogies": {"analogies": "questions.txt"},
    "KeyedVectors.evaluate_word_pairs": {"pairs": "pairs.tsv"},
    "KeyedVectors.get_index": {"key": "a"},
    "KeyedVectors.get_mean_vector": {"keys": ["a", "b"]},
    "KeyedVectors.get_vecattr": {"key": "a", "attr": "count"},
    "KeyedVectors.get_vector": {"key": "a"},
    "KeyedVectors.has_index_for": {"key": "a"},
    "KeyedVectors.intersect_word2vec_format": {"fname": "v2.txt"},
    "KeyedVectors.load": {"fname": "v.kv"},
    "KeyedVectors.load_word2vec_format": {"fname": "v.txt"},
    "KeyedVectors.most_similar": {"positive": "a"},
    "KeyedVectors.most_similar_cosmul": {"positive": "a"},
    "KeyedVectors.most_similar_to_given": {"key1": "a", "keys_list": ["b", "c", "d"]},
    "KeyedVectors.n_similarity": {"ws1": ["a"], "ws2": ["c"]},
    "KeyedVectors.rank": {"key1": "a", "key2": "e"},
    "KeyedVectors.rank_by_centrality": {"words": ["a", "b"]},
    "KeyedVectors.relative_cosine_similarity": {"wa": "a", "wb": "c"},
    "KeyedVectors.save": {"fname": "one"},
    "KeyedVectors.save_word2vec_format": {"fname": "one"},
    "KeyedVectors.set_vecattr": {"key": "a", "attr": "count", "val": 3},
    "KeyedVectors.similar_by_key": {"key": "a"},
    "KeyedVectors.similar_by_vector": {"vector": ROWS[0]},
    "KeyedVectors.similar_by_word": {"word": "a"},
    "KeyedVectors.similarity": {"w1": "a", "w2": "c"},
    "KeyedVectors.vectors_for_all": {"keys": ["a", 1]},
    "LineSentence": {"source": "a.txt"},
    "PathLineSentences": {"source": "a.txt"},
    "Text8Corpus": {"fname": "a.txt"},
}


READERS = (word_vectors.LineSentence, word_vectors.PathLineSentences, word_vectors.Text8Corpus)


def seen(result):
    """A result as lists, numbers and texts, which can be compared."""
    if isinstance(result, Word2Vec):
        about = [result.comment, result.corpus_count, result.get_latest_training_loss()]
        return [seen(result.wv), result.syn1neg.tolist(), *about]
    if isinstance(result, KeyedVectors):
        attributes = {name: array.tolist() for name, array in result.expandos.items()}
        kind = type(result.vectors).__name__
        numbers = (result.vectors.tolist(), result.norms.tolist(), result.vectors_lockf.tolist())
        return [result.index_to_key, result.vectors.shape, numbers, attributes, kind]
    if isinstance(result, np.ndarray):
        return result.tolist()
    if isinstance(result, READERS):
        return list(result)
    return None if isinstance(result, Corpus) else result


def outcome(name, arguments):
    """Results, changes and files of a call; of a refusal its type."""
    owner, _, method = name.partition(".")
    arguments = {table.RENAMED.get(key, key): copy.deepcopy(value) for key, value in arguments.items()}
    there = set(os.listdir())
    try:
        if not method:
            target = result = getattr(word_vectors, owner)(**arguments)
        elif owner == "Word2Vec":
            fresh = "build_vocab" in method and not arguments.get("update")
            target = Word2Vec(**SMALL) if fresh else untrained()
            if method not in ("train", "load") and not fresh:
                target.train(TEXT)
            result = getattr(target, method)(**arguments)
        else:
            target = vectors()
            target.norms.sum()
            target._vectors[5] *= 3  # as one writes into vectors: the norms stay
            result = getattr(target, method)(**arguments)
    except (ValueError, KeyError) as error:
        return type(error).__name__
    written = {}
    for path in sorted(set(os.listdir()) - there):
        with open(path, "rb") as file:
            written[path] = file.read() if owner == "KeyedVectors" else seen(Word2Vec.load(path))
        os.remove(path)
    return repr([seen(result), seen(target), written])


def callable_of(name):
    owner, _, method = name.partition(".")
    cls = getattr(word_vectors, owner)
    return getattr(cls, method) if method else cls


ROWS_OF_TABLE = [(name, argument) for name, arguments in SIGNATURES.items() for argument in arguments]


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_argument_has_gensims_name_place_and_default(name):
    ours = [p for p in inspect.signature(callable_of(name)).parameters.values() if p.name != "self"]
    theirs = SIGNATURES[name]
    by_name = {parameter.name: parameter for parameter in ours}
    for argument, row in theirs.items():
        parameter = by_name[table.RENAMED.get(argument, argument)]
        if (name, argument) == ("KeyedVectors", "vector_size"):
            continue  # the first argument is the vectors, or gensim's vector_size
        default = table.OTHER_DEFAULTS.get((name, argument), row.default)
        assert parameter.default == (inspect.Parameter.empty if default is Required else default), argument
    if name == "KeyedVectors":
        return
    behind = table.BEHIND.get(name, [])
    assert all(by_name[argument].kind is inspect.Parameter.KEYWORD_ONLY for argument in behind)
    places = [table.RENAMED.get(argument, argument) for argument in theirs if argument not in behind]
    assert [parameter.name for parameter in ours][: len(places)] == places
    added = [parameter for parameter in ours[len(places) :] if parameter.name not in behind]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in added), "would take gensim's place"


@pytest.mark.parametrize(("name", "argument"), ROWS_OF_TABLE)
def test_argument(name, argument, files):
    """Honoured: two values give two results. Default only: the default changes nothing, others are refused."""
    row, base = SIGNATURES[name][argument], BASE.get(name, {})
    alias = table.RENAMED.get(argument, argument)
    if isinstance(row, Honoured):
        one, other = (outcome(name, {**base, **row.others, alias: value}) for value in (row.one, row.other))
        if row.one is row.other:  # the other one is the default
            with_it, without = one, outcome(name, {**base, **row.others})
            assert with_it != without
            return
        assert one != other
        assert "Error" not in one or "Error" not in other
        return
    usual = outcome(name, base)
    assert "Error" not in usual
    for accepted in (row.default, *row.also):
        assert outcome(name, {**base, alias: accepted}) == usual
    before = sorted(os.listdir())
    target = {"Word2Vec": untrained, "KeyedVectors": vectors}[name.split(".")[0]]
    method = callable_of(name)
    fresh = Word2Vec(**SMALL) if "build_vocab" in name else target()
    bound = method if "." not in name or inspect.ismethod(method) else getattr(fresh, name.split(".")[1])
    text = refused(alias, bound, **{**base, alias: row.refused})
    assert row.reason in text and text.startswith(f"{alias}: expected") and "got" in text
    assert sorted(os.listdir()) == before


WRONG = [object(), {"a": 1}, np.zeros((2, 2)), np.array("x"), 1.5, -1, "", True]


@pytest.mark.parametrize(("name", "argument"), ROWS_OF_TABLE)
def test_wrong_values_are_taken_or_refused_in_a_line(name, argument, files):
    """Values that hardly make sense: whatever is not taken is refused by what was expected, on one line."""
    row, base = SIGNATURES[name][argument], BASE.get(name, {})
    others = row.others if isinstance(row, Honoured) else {}
    target = Word2Vec(**SMALL) if "build_vocab" in name else (untrained if "Word2Vec" in name else vectors)()
    method = callable_of(name) if "." not in name else getattr(target, name.split(".")[1])
    for wrong in WRONG:
        try:
            method(**{**base, **others, table.RENAMED.get(argument, argument): wrong})
        except OSError as error:
            assert isinstance(wrong, (str, np.ndarray)), error
        except (ValueError, TypeError, KeyError) as error:
            assert "expected" in str(error) and "\n" not in str(error), (wrong, error)
            continue
        if "build_vocab" in name or name == "KeyedVectors.add_vector":
            target = Word2Vec(**SMALL) if "build_vocab" in name else vectors()
            method = getattr(target, name.split(".")[1])


@pytest.mark.parametrize("name", SIGNATURES)
def test_defaults_by_name_change_nothing(name, files):
    """All arguments that have a default, given by name with gensim's, at once."""
    base = BASE.get(name, {})
    defaults = {argument: row.default for argument, row in SIGNATURES[name].items() if row.default is not Required}
    defaults = {argument: value for argument, value in defaults.items() if argument not in ("workers", *base)}
    assert outcome(name, {**base, **defaults}) == outcome(name, base)


@pytest.mark.parametrize("owner", table.MISSING)
def test_what_there_is_not_says_what_to_use(owner):
    target = untrained() if owner == "Word2Vec" else vectors()
    for name, advice in table.MISSING[owner].items():
        for ask in (lambda: getattr(target, name), lambda: setattr(target, name, None)):  # noqa: B023
            with pytest.raises(AttributeError) as caught:
                ask()
            text = str(caught.value)
            assert text.startswith(f"{name}: expected") and advice in text and "\n" not in text, text
    for name in table.ATTRIBUTES[owner]:
        assert getattr(target, name) is not None or name in ("comment", "max_final_vocab", "max_vocab_size", "workers")


def test_totals_of_the_table():
    """The totals in the documentation."""
    words = [row.word for arguments in SIGNATURES.values() for row in arguments.values()]
    totals = {word: words.count(word) for word in set(words)}
    text = open(
        os.path.join(os.path.dirname(__file__), "..", "..", "docs", "guide", "word_vectors.md"), encoding="utf-8"
    ).read()
    missing = sum(map(len, table.MISSING.values()))
    expected = (
        f"{len(words)} arguments of {len(SIGNATURES)} classes and methods: {totals['honoured']} are honoured,\n"
        f"{totals['default only']} are accepted at one value; {missing} methods and attributes"
    )
    assert " ".join(expected.split()) in " ".join(text.split())


def test_the_table_is_gensims():
    """Names, order and defaults as gensim has them, no method left out; where it is installed."""
    models, utils = pytest.importorskip("gensim.models"), pytest.importorskip("gensim.utils")
    for name, rows in SIGNATURES.items():
        owner, _, method = name.partition(".")
        theirs = getattr(models, owner, None) or getattr(models.word2vec, owner)
        function = getattr(theirs, method) if method else theirs
        if method in ("save", "load"):
            function = getattr(utils.SaveLoad, method)
        parameters = inspect.signature(function).parameters.values()
        parameters = [p for p in parameters if p.name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD]
        if name == "Word2Vec.build_vocab":
            further = inspect.signature(models.Word2Vec.prepare_vocab).parameters
            parameters += [further[argument] for argument in table.BEHIND[name]]
        if name == "Word2Vec.load":
            parameters += [inspect.signature(models.Word2Vec.load).parameters["rethrow"]]
        assert list(rows) == [p.name for p in parameters], name
        for parameter, row in zip(parameters, rows.values()):
            assert row.default == (Required if parameter.default is parameter.empty else parameter.default), name
    model = models.Word2Vec(TEXT, min_count=1)
    for owner, theirs in (("Word2Vec", model), ("KeyedVectors", model.wv)):
        public = {name for name in {*dir(type(theirs)), *vars(theirs)} if not name.startswith("_")}
        methods = {name.split(".")[1] for name in SIGNATURES if name.startswith(f"{owner}.")}
        assert public - methods == {*table.MISSING[owner], *table.ATTRIBUTES[owner]}
