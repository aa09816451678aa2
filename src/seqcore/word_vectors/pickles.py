"""Pickles and copies of word vectors and of Word2Vec: what their files hold."""

from __future__ import annotations

from typing import Any

from ..saving.format import header_field
from ..saving.pickles import FAMILIES, PLACE, Family, Tensors
from .keyed_vectors import KeyedVectors
from .safetensors_format import vector_tensors, vectors_in
from .word2vec import Word2Vec


def dump_vectors(kv: KeyedVectors, tensors: Tensors) -> dict[str, Any]:
    """Words with their vectors and attributes, and what a file leaves out."""
    tensors["lockf"] = kv.vectors_lockf
    if len(kv):
        tensors |= vector_tensors(kv)
    return {"vector_size": kv.vector_size, "duplicates": kv.duplicates}


def load_vectors(tensors: Tensors, metadata: dict[str, Any]) -> KeyedVectors:
    """New word vectors from the fields of :func:`dump_vectors`."""
    lockf = tensors.pop("lockf")
    if tensors:
        vectors, words, attributes = vectors_in(PLACE, tensors)
        kv = KeyedVectors(vectors, words)
        kv.expandos |= attributes
        kv.vectors_lockf = lockf
    else:
        kv = KeyedVectors(vector_size=header_field(metadata, "vector_size"))
    kv.duplicates = header_field(metadata, "duplicates")
    return kv


def dump_word2vec(model: Word2Vec, tensors: Tensors) -> dict[str, Any]:
    """Settings, tables and the state of an unfinished run."""
    tables, state = model.file_parts()
    tensors |= tables
    return {"state": state}


def load_word2vec(tensors: Tensors, metadata: dict[str, Any]) -> Word2Vec:
    """A new model from the fields of :func:`dump_word2vec`."""
    return Word2Vec.from_file_parts(tensors, header_field(metadata, "state"))


FAMILIES["keyed_vectors"] = Family(dump_vectors, load_vectors, {KeyedVectors}.__contains__)
FAMILIES["word2vec"] = Family(dump_word2vec, load_word2vec, {Word2Vec}.__contains__)
