"""Signatures of gensim 4.4 for the classes and methods that seqcore has too, with one word for each argument.

honoured: two values that give different results; default only: what is accepted, one that is refused, and words of the
reason. The texts and tables that the values refer to are those of test_gensim_signatures.
"""

from typing import Any, NamedTuple

import numpy as np

from seqcore import Word2Vec


class Honoured(NamedTuple):
    """An argument that does what it does in gensim."""

    default: Any
    one: Any
    other: Any
    others: dict[str, Any] = {}  # other arguments of both calls
    word = "honoured"


class DefaultOnly(NamedTuple):
    """An argument that is accepted at the value that says what happens anyway."""

    default: Any
    refused: Any
    reason: str
    also: tuple[Any, ...] = ()  # further values that are accepted
    word = "default only"


class Required:
    """The default of an argument that has none."""


def keep_b(word, count, min_count):
    """A rule of trimming: 2 keeps, 1 leaves out."""
    return 2 if word == "b" else 1


class Comments:
    """A callback that can be seen afterwards."""

    def on_train_end(self, model):
        model.comment = "seen"


class Index:
    """An index as gensim's similarities.annoy has it."""

    def most_similar(self, vector, topn):
        return [("found", topn)]


class Counted(Word2Vec):
    """A model with a vocabulary."""

    def __init__(self, text):
        super().__init__(vector_size=2, min_count=1)
        self.build_vocab(text)

    def __deepcopy__(self, memo):
        return self


TEXT = [["a", "b", "c", "a", "d"], ["b", "a", "c", "c", "e", "a"]] * 8
OTHER = [["a", "b", "d", "d", "d"], ["e", "c", "c", "a"]] * 9
COUNTS = {"a": 40, "b": 24, "c": 24, "d": 8, "e": 2}
ROWS = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])
LIMIT = 10 * 1024**2

_files = {
    "separately": DefaultOnly(None, ["vectors"], "one file"),
    "sep_limit": DefaultOnly(LIMIT, 1000, "one file"),
    "ignore": DefaultOnly(frozenset(), {"vectors"}, "nothing is left out"),
    "pickle_protocol": DefaultOnly(4, 2, "no pickle"),
}
_loss = DefaultOnly(False, "yes", "always measured", (True,))
_raw = DefaultOnly(False, True, "not kept")
_topn = Honoured(10, 1, 2)
_first_rows = Honoured(None, None, 3)
_length, _first_lines = Honoured(10_000, 10_000, 3), Honoured(None, None, 3)

SIGNATURES: dict[str, dict[str, Honoured | DefaultOnly]] = {
    "Word2Vec": {
        "sentences": Honoured(None, TEXT, OTHER),
        "corpus_file": Honoured(None, "a.txt", "b.txt", {"sentences": None}),
        "vector_size": Honoured(100, 4, 5),
        "alpha": Honoured(0.025, 0.1, 0.2),
        "window": Honoured(5, 1, 3),
        "min_count": Honoured(5, 1, 9),
        "max_vocab_size": DefaultOnly(None, 100, "all words are counted"),
        "sample": Honoured(1e-3, 0.01, 3),
        "seed": Honoured(1, 1, 2),
        "workers": Honoured(3, 1, 0),  # test_word2vec.py counts the threads
        "min_alpha": Honoured(0.0001, 0.0, 0.05),
        "sg": Honoured(0, 0, 1),
        "hs": DefaultOnly(0, 1, "no hierarchical softmax"),
        "negative": Honoured(5, 1, 7),
        "ns_exponent": Honoured(0.75, 0.75, -1.0),
        "cbow_mean": Honoured(1, 0, 1),
        "hashfxn": DefaultOnly(hash, len, "drawn by seed"),
        "epochs": Honoured(5, 1, 2),
        "null_word": DefaultOnly(0, 1, "no word for padding"),
        "trim_rule": Honoured(None, None, keep_b),
        "sorted_vocab": DefaultOnly(1, 0, "order of their counts"),
        "batch_words": DefaultOnly(10_000, 500, "without batches"),
        "compute_loss": _loss,
        "callbacks": Honoured((), (), [Comments()]),
        "comment": Honoured(None, None, "first try"),
        "max_final_vocab": Honoured(None, None, 2),
        "shrink_windows": Honoured(True, True, False),
    },
    "Word2Vec.build_vocab": {
        "corpus_iterable": Honoured(None, TEXT, OTHER),
        "corpus_file": Honoured(None, "a.txt", "b.txt", {"corpus_iterable": None}),
        "update": Honoured(False, True, True, {"corpus_iterable": [["new"] * 2]}),
        "progress_per": DefaultOnly(10_000, 100, "nothing is logged"),
        "keep_raw_vocab": _raw,
        "trim_rule": Honoured(None, None, keep_b),
        # Passed on to prepare_vocab:
        "min_count": Honoured(None, None, 20),
        "sample": Honoured(None, None, 0.1),
        "dry_run": DefaultOnly(False, True, "the vocabulary is made"),
    },
    "Word2Vec.build_vocab_from_freq": {
        "word_freq": Honoured(Required, COUNTS, {"a": 9}),
        "keep_raw_vocab": _raw,
        "corpus_count": Honoured(None, None, 7),
        "trim_rule": Honoured(None, None, keep_b),
        "update": Honoured(False, True, True, {"word_freq": {"new": 2}}),
    },
    "Word2Vec.train": {
        "corpus_iterable": Honoured(None, TEXT, OTHER),
        "corpus_file": Honoured(None, "a.txt", "b.txt", {"corpus_iterable": None}),
        "total_examples": Honoured(None, 16, 32),
        "total_words": Honoured(None, 88, 176),
        "epochs": Honoured(None, 1, 2),
        "start_alpha": Honoured(None, 0.1, 0.2),
        "end_alpha": Honoured(None, 0.01, 0.02),
        "word_count": DefaultOnly(0, 5, "all words are trained on"),
        "queue_factor": DefaultOnly(2, 5, "no queue"),
        "report_delay": DefaultOnly(1.0, 5.0, "nothing is logged", (1,)),
        "compute_loss": _loss,
        "callbacks": Honoured((), (), [Comments()]),
    },
    "Word2Vec.get_latest_training_loss": {},
    "Word2Vec.init_sims": {"replace": Honoured(False, False, True)},
    "Word2Vec.reset_from": {"other_model": Honoured(Required, Counted(TEXT), Counted(OTHER))},
    "Word2Vec.predict_output_word": {
        "context_words_list": Honoured(Required, ["a"], ["b", "c"]),
        "topn": _topn,
    },
    "Word2Vec.save": {"fname_or_handle": Honoured(Required, "one", "other"), **_files},
    "Word2Vec.load": {
        "fname": Honoured(Required, "model", "model2"),
        "mmap": DefaultOnly(None, "r", "training writes"),
        "rethrow": DefaultOnly(False, True, "errors are raised"),
    },
    "KeyedVectors": {
        "vector_size": Honoured(Required, 3, 4),
        "count": DefaultOnly(0, 5, "add_vectors"),
        "dtype": DefaultOnly(np.float32, np.float64, "type of all vectors", ("float32",)),
        "mapfile_path": DefaultOnly(None, "x", "mmap=True"),
    },
    "KeyedVectors.__contains__": {"key": Honoured(Required, "a", "none")},
    "KeyedVectors.__getitem__": {"key_or_keys": Honoured(Required, "a", ["b", 2])},
    "KeyedVectors.__len__": {},
    "KeyedVectors.__setitem__": {
        "keys": Honoured(Required, ["a", "b"], ["b", "new"]),
        "weights": Honoured(Required, ROWS, ROWS + 1),
    },
    "KeyedVectors.add_vector": {
        "key": Honoured(Required, "new", "newer"),
        "vector": Honoured(Required, ROWS[0], ROWS[1]),
    },
    "KeyedVectors.add_vectors": {
        "keys": Honoured(Required, ["a", "new"], ["new", "newer"]),
        "weights": Honoured(Required, ROWS, ROWS + 1),
        "extras": Honoured(None, None, {"count": np.array([7, 8])}),
        "replace": Honoured(False, False, True),
    },
    "KeyedVectors.closer_than": {"key1": Honoured(Required, "a", "b"), "key2": Honoured(Required, "e", "d")},
    "KeyedVectors.cosine_similarities": {
        "vector_1": Honoured(Required, ROWS[0], ROWS[1]),
        "vectors_all": Honoured(Required, ROWS, ROWS + 1),
    },
    "KeyedVectors.distance": {"w1": Honoured(Required, "a", "b"), "w2": Honoured(Required, "c", "d")},
    "KeyedVectors.distances": {
        "word_or_vector": Honoured(Required, "a", ROWS[0]),
        "other_words": Honoured((), (), ["b", "c"]),
    },
    "KeyedVectors.doesnt_match": {"words": Honoured(Required, ["a", "b", "c"], ["a", "b", "d", "f"])},
    "KeyedVectors.evaluate_word_analogies": {
        "analogies": Honoured(Required, "questions.txt", "questions2.txt"),
        "restrict_vocab": Honoured(300_000, 300_000, 3),
        "case_insensitive": Honoured(True, True, False),
        "dummy4unknown": Honoured(False, False, True),
        "similarity_function": DefaultOnly("most_similar", "most_similar_cosmul", "cosines"),
    },
    "KeyedVectors.evaluate_word_pairs": {
        "pairs": Honoured(Required, "pairs.tsv", "pairs2.tsv"),
        "delimiter": Honoured("\t", ";", ",", {"pairs": "pairs.both"}),
        "encoding": Honoured("utf8", "latin-1", "cp437", {"pairs": "pairs.latin"}),
        "restrict_vocab": Honoured(300_000, 300_000, 4),
        "case_insensitive": Honoured(True, True, False),
        "dummy4unknown": Honoured(False, False, True),
    },
    "KeyedVectors.fill_norms": {"force": Honoured(False, False, True)},
    "KeyedVectors.get_index": {"key": Honoured(Required, "a", 3), "default": Honoured(None, 7, 8, {"key": "none"})},
    "KeyedVectors.get_mean_vector": {
        "keys": Honoured(Required, ["a", "b"], ["c", "b"]),
        "weights": Honoured(None, None, [1.0, -2.0]),
        "pre_normalize": Honoured(True, True, False),
        "post_normalize": Honoured(False, False, True),
        "ignore_missing": Honoured(True, True, False, {"keys": ["a", "none"]}),
    },
    "KeyedVectors.get_normed_vectors": {},
    "KeyedVectors.get_vecattr": {"key": Honoured(Required, "a", "b"), "attr": Honoured(Required, "count", "score")},
    "KeyedVectors.get_vector": {"key": Honoured(Required, "a", 2), "norm": Honoured(False, False, True)},
    "KeyedVectors.has_index_for": {"key": Honoured(Required, 0, "none")},
    "KeyedVectors.init_sims": {"replace": Honoured(False, False, True)},
    "KeyedVectors.intersect_word2vec_format": {
        "fname": Honoured(Required, "v.txt", "v2.txt"),
        "lockf": Honoured(0.0, 0.0, 0.5),
        "binary": Honoured(False, True, False, {"fname": "v.bin"}),
        "encoding": Honoured("utf8", "latin-1", "cp437", {"fname": "v.latin"}),
        "unicode_errors": Honoured("strict", "strict", "ignore", {"fname": "v.latin"}),
    },
    "KeyedVectors.load": {
        "fname": Honoured(Required, "v.kv", "v2.kv"),
        "mmap": Honoured(None, None, "r"),
    },
    "KeyedVectors.load_word2vec_format": {
        "fname": Honoured(Required, "v.txt", "v2.txt"),
        "fvocab": Honoured(None, None, "counts.txt"),
        "binary": Honoured(False, True, False, {"fname": "v.bin"}),
        "encoding": Honoured("utf8", "latin-1", "cp437", {"fname": "v.latin"}),
        "unicode_errors": Honoured("strict", "strict", "ignore", {"fname": "v.latin"}),
        "limit": Honoured(None, None, 1),
        "datatype": DefaultOnly(np.float32, np.float16, "type of all vectors"),
        "no_header": Honoured(False, True, False, {"fname": "glove.txt"}),
    },
    "KeyedVectors.most_similar": {
        "positive": Honoured(None, "a", ["b", ("c", 0.5)]),
        "negative": Honoured(None, None, ["b"]),
        "topn": _topn,
        "clip_start": Honoured(0, 0, 2),
        "clip_end": Honoured(None, None, 3),
        "restrict_vocab": _first_rows,
        "indexer": Honoured(None, None, Index()),
    },
    "KeyedVectors.most_similar_cosmul": {
        "positive": Honoured(None, "a", ["b", "c"]),
        "negative": Honoured(None, None, ["b"]),
        "topn": _topn,
        "restrict_vocab": _first_rows,
    },
    "KeyedVectors.most_similar_to_given": {
        "key1": Honoured(Required, "a", "c"),
        "keys_list": Honoured(Required, ["b", "c", "d"], ["f"]),
    },
    "KeyedVectors.n_similarity": {
        "ws1": Honoured(Required, ["a"], ["b"]),
        "ws2": Honoured(Required, ["c"], ["c", "d"]),
    },
    "KeyedVectors.rank": {"key1": Honoured(Required, "a", "b"), "key2": Honoured(Required, "e", "d")},
    "KeyedVectors.rank_by_centrality": {
        "words": Honoured(Required, ["a", "b"], ["a", "c"]),
        "use_norm": Honoured(True, True, False),
    },
    "KeyedVectors.relative_cosine_similarity": {
        "wa": Honoured(Required, "a", "b"),
        "wb": Honoured(Required, "c", "d"),
        "topn": _topn,
    },
    "KeyedVectors.save": {"fname_or_handle": Honoured(Required, "one", "other"), **_files},
    "KeyedVectors.save_word2vec_format": {
        "fname": Honoured(Required, "one", "other"),
        "fvocab": Honoured(None, None, "vocabulary"),
        "binary": Honoured(False, False, True),
        "total_vec": DefaultOnly(None, 1000, "how many rows", (7,)),
        "write_header": Honoured(True, True, False),
        "prefix": Honoured("", "", "word:"),
        "append": DefaultOnly(False, True, "writes are atomic"),
        "sort_attr": Honoured("count", "count", "score"),
    },
    "KeyedVectors.set_vecattr": {
        "key": Honoured(Required, "a", "b"),
        "attr": Honoured(Required, "count", "other"),
        "val": Honoured(Required, 3, 4),
    },
    "KeyedVectors.similar_by_key": {
        "key": Honoured(Required, "a", "b"),
        "topn": _topn,
        "restrict_vocab": _first_rows,
    },
    "KeyedVectors.similar_by_vector": {
        "vector": Honoured(Required, ROWS[0], ROWS[1]),
        "topn": _topn,
        "restrict_vocab": _first_rows,
    },
    "KeyedVectors.similar_by_word": {
        "word": Honoured(Required, "a", "b"),
        "topn": _topn,
        "restrict_vocab": _first_rows,
    },
    "KeyedVectors.similarity": {"w1": Honoured(Required, "a", "b"), "w2": Honoured(Required, "c", "d")},
    "KeyedVectors.sort_by_descending_frequency": {},
    "KeyedVectors.unit_normalize_all": {},
    "KeyedVectors.vectors_for_all": {
        "keys": Honoured(Required, ["a", 1], ["c", "none"]),
        "allow_inference": Honoured(True, True, False),
        "copy_vecattrs": Honoured(False, False, True),
    },
    "LineSentence": {
        "source": Honoured(Required, "a.txt", "b.txt"),
        "max_sentence_length": _length,
        "limit": _first_lines,
    },
    "PathLineSentences": {
        "source": Honoured(Required, "a.txt", "folder"),
        "max_sentence_length": _length,
        "limit": _first_lines,
    },
    "Text8Corpus": {"fname": Honoured(Required, "a.txt", "b.txt"), "max_sentence_length": _length},
}  # fmt: skip

RENAMED = {"fname_or_handle": "fname"}
"""Arguments that go by another name here, the one in gensim's documentation; nothing is written to open files."""

OTHER_DEFAULTS = {("Word2Vec", "workers"): None}
"""Defaults that are not gensim's: all threads instead of 3."""

BEHIND = {"Word2Vec.build_vocab": ["min_count", "sample", "dry_run"], "Word2Vec.load": ["rethrow"]}
"""Arguments by name alone, here as in gensim."""

MISSING: dict[str, dict[str, str]] = {
    "Word2Vec": {
        "add_lifecycle_event": "nothing is logged",
        "add_null_word": "no word for padding",
        "create_binary_tree": "no hierarchical softmax",
        "cum_table": "counts and ns_exponent",
        "estimate_memory": "bytes",
        "init_weights": "a new model",
        "layer1_size": "vector_size",
        "lifecycle_events": "nothing is logged",
        "make_cum_table": "counts and ns_exponent",
        "min_alpha_yet_reached": "alpha and min_alpha",
        "prepare_vocab": "build_vocab",
        "prepare_weights": "build_vocab",
        "random": "seed",
        "raw_vocab": "get_vecattr",
        "scan_vocab": "build_vocab",
        "score": "no hierarchical softmax",
        "seeded_vector": "seed",
        "total_train_time": "history",
        "train_count": "history",
        "update_weights": "build_vocab(update=True)",
    },
    "KeyedVectors": {
        "add_lifecycle_event": "nothing is logged",
        "allocate_vecattrs": "set_vecattr",
        "index2entity": "index_to_key",
        "index2word": "index_to_key",
        "log_accuracy": "evaluate_word_analogies",
        "log_evaluate_word_pairs": "evaluate_word_pairs",
        "mapfile_path": "mmap=True",
        "next_index": "len()",
        "resize_vectors": "add_vectors",
        "similarity_unseen_docs": "no vectors of documents",
        "vectors_norm": "get_normed_vectors",
        "vocab": "key_to_index",
        "wmdistance": "n_similarity",
        "word_vec": "get_vector",
        "words_closer_than": "closer_than",
    },
}
"""Methods and attributes of gensim's that there are not, with words of the message that says what to use."""

ATTRIBUTES = {
    "Word2Vec": [
        "alpha", "batch_words", "cbow_mean", "comment", "compute_loss", "corpus_count", "corpus_total_words",
        "effective_min_count", "epochs", "hashfxn", "hs", "max_final_vocab", "max_vocab_size", "min_alpha", "min_count",
        "negative", "ns_exponent", "null_word", "running_training_loss", "sample", "seed", "sg", "shrink_windows",
        "sorted_vocab", "syn1neg", "vector_size", "window", "workers", "wv",
    ],
    "KeyedVectors": ["expandos", "index_to_key", "key_to_index", "norms", "vector_size", "vectors", "vectors_lockf"],
}  # fmt: skip
"""Attributes of gensim's objects that there are."""
