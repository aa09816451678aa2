"""Files of Word2Vec: settings, tables and the progress of a training run, in safetensors.

V: words of the vocabulary, D: dimensions of a vector.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from .. import saving
from .._json import parse_json
from .._validation import MALFORMED, default_only, integer, one_line, real
from ..text.files import path_of
from ..typing import Array, PathLike
from .keyed_table import one_file
from .safetensors_format import ATTRIBUTE
from .settings import RateSchedule, Settings
from .trainable_tables import TrainableTables

Model = TypeVar("Model", bound="SavedModel")


class SavedModel(TrainableTables):
    """The part of :class:`seqcore.Word2Vec` that its files keep: tables, settings, and how far the training is."""

    def _reset(self) -> None:
        super()._reset()
        self.history: list[dict[str, Any]] = []
        self.running_training_loss = 0.0
        self._passes = 0
        self._schedule: RateSchedule | None = None

    def save(
        self,
        fname: PathLike,
        separately: None = None,
        sep_limit: int = 10 * 1024**2,
        ignore: frozenset[str] = frozenset(),
        pickle_protocol: int = 4,
    ) -> None:
        """Write the whole model and the state of an unfinished run, so that :meth:`load` can resume it exactly.

        Args:
            fname: the file.
            separately, sep_limit, ignore, pickle_protocol: arguments of gensim's, only at their defaults.

        Raises:
            OSError: naming ``fname``; the old file is untouched.
        """
        one_file(separately, sep_limit, ignore, pickle_protocol)
        self._need_words()
        tensors, state = self.file_parts()
        saving.write_tensors(
            path_of(fname, "fname"), tensors, {"seqcore": "word2vec", "version": "1", "state": json.dumps(state)}
        )

    def file_parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The arrays of a file, none for a model without words, and the state in its header, JSON-able."""
        self._align_tables()
        words = json.dumps(self.words, ensure_ascii=False).encode("utf-8", "surrogatepass")
        tensors = {
            "input": self._input,
            "output": self._output,
            "counts": self.counts,
            "words": np.frombuffer(words, np.uint8),
            "lockf": self._wv.vectors_lockf,
            **{ATTRIBUTE + name: array for name, array in self._wv.numeric_attributes().items()},
        }
        state = {
            "settings": asdict(self.settings),
            "schedule": asdict(self._schedule) if self._schedule else None,
            "passes": self._passes,
            "corpus": [self.corpus_count, self.corpus_total_words],
            "history": self.history,
            "effective_min_count": self.effective_min_count,
            "sampled": self._sampled,
            "running_training_loss": self.running_training_loss,
        }
        return tensors if self.words else {}, state

    @classmethod
    def load(cls: type[Model], fname: PathLike, mmap: None = None, *, rethrow: bool = False) -> Model:
        """Read a file of :meth:`save`.

        Args:
            fname: the file.
            mmap, rethrow: arguments of gensim's, only at their defaults.

        Raises:
            ValueError: the file is another kind of file, or damaged.
        """
        default_only("mmap", mmap, None, "training writes to the vectors; KeyedVectors.load maps files")
        default_only("rethrow", rethrow, False, "errors are raised")
        fname = path_of(fname, "fname")
        tensors, texts = saving.read_tensors(fname)
        if texts.get("seqcore") != "word2vec" or texts.get("version") != "1":
            described = saving.describe_format(texts)
            raise ValueError(f"{fname}: expected a file of Word2Vec.save, version 1, got {described}")
        try:
            if not tensors:
                raise ValueError("no words")
            return cls.from_file_parts(tensors, parse_json(texts["state"]))
        except MALFORMED as error:
            reason = one_line(error)
            raise ValueError(f"{fname}: expected a file of Word2Vec.save, got another ({reason})") from None

    @classmethod
    def from_file_parts(cls: type[Model], tensors: dict[str, Array], state: dict[str, Any]) -> Model:
        """A new model from what :meth:`file_parts` returned."""
        # Only settings: a file cannot name a corpus to train on.
        model = cls(**asdict(Settings(**state["settings"])))
        if tensors:
            words = parse_json(tensors["words"].tobytes().decode("utf-8", "surrogatepass"))
            model._restore(words, tensors, state)
        return model

    def _restore(self, words: Any, tensors: dict[str, Array], state: dict[str, Any]) -> None:
        if not isinstance(words, list) or not words:
            raise ValueError("words: expected a list of words, got something else")
        shape, counts = (len(words), self._stride), tensors["counts"]
        for name in ("input", "output"):
            if tensors[name].shape != shape or tensors[name].dtype != np.float32:
                raise ValueError(f"{name}: expected float32 of shape {shape}, got {tensors[name].shape}")
        if counts.dtype != np.int64 or counts.min() < 1:
            raise ValueError("counts: expected a count >= 1 for each word, got others")
        self.history = [{**entry, "loss": float(entry["loss"])} for entry in state["history"]]
        self.corpus_count, self.corpus_total_words = (integer("corpus", n, 0) for n in state["corpus"])
        self._passes = integer("passes", state["passes"], 0)
        if state["schedule"] is not None:
            self._schedule = RateSchedule(**state["schedule"])
        self.effective_min_count = integer("effective_min_count", state.get("effective_min_count", self.min_count), 0)
        self.running_training_loss = real("running_training_loss", state.get("running_training_loss", 0.0), 0)
        self._sampled = real("sampled", state.get("sampled", self.sample), 0)
        extras = {name[len(ATTRIBUTE) :]: tensors[name] for name in tensors if name.startswith(ATTRIBUTE)}
        if extras.get("sample_int", np.zeros(0, np.uint32)).dtype != np.uint32:
            raise ValueError("sample_int: expected uint32, got another type")
        self._wv.add_vectors(words, tensors["input"][:, : self.vector_size], {"count": counts, **extras})
        self._wv.vectors_lockf = tensors.get("lockf", np.ones(1, np.float32))
        self._align_tables()
        self._output[...] = tensors["output"]
