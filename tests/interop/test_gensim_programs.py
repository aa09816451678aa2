"""Programs written for gensim run on seqcore under its name, and find about the neighbours that they find on gensim.

Needs gensim, node2vec, pecanpy and, for its test, karateclub; last run with gensim 4.4.0, node2vec 0.5.0, pecanpy 2.0.9
and karateclub 1.3.3.
"""

import importlib
import random
import sys
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from seqcore import word_vectors

pytest.importorskip("gensim")
networkx = pytest.importorskip("networkx")
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ["gensim.models", "gensim.models.word2vec", "gensim.models.keyedvectors"]
OURS = {"gensim": SimpleNamespace(models=word_vectors), **dict.fromkeys(NAMES, word_vectors)}


def program(name, engine):
    """A module that imports gensim, or seqcore under gensim's name, imported anew."""
    package = name.split(".")[0]
    pytest.importorskip(package)
    with patch.dict(sys.modules, OURS if engine == "seqcore" else {}):
        for loaded in [other for other in sys.modules if other.split(".")[0] == package]:
            del sys.modules[loaded]
        return importlib.import_module(name)


def node2vec(engine, graph, seed):
    model = program("node2vec", engine).Node2Vec(
        graph, dimensions=32, walk_length=30, num_walks=20, workers=1, quiet=True, seed=5
    )
    vectors = model.fit(window=5, min_count=1, seed=seed, sg=1, epochs=5).wv
    return vectors[[str(node) for node in graph]]


def pecanpy(engine, graph, seed):
    walker = program("pecanpy.pecanpy", engine).SparseOTF(p=1, q=0.5, workers=1, random_state=5)
    walker.read_edg("edges", weighted=True, directed=False)
    walks, walker.random_state = walker.simulate_walks(20, 30), seed
    walker.simulate_walks = lambda *sizes: walks
    embedding = walker.embed(dim=32, window_size=5, epochs=5)
    return embedding[np.argsort([int(node) for node in walker.nodes])]


def walklets(engine, graph, seed):
    model = program("karateclub.node_embedding.neighbourhood.walklets", engine).Walklets(
        walk_number=10, walk_length=30, dimensions=32, epochs=5, learning_rate=0.05, workers=1, seed=seed
    )
    model._set_seed = lambda: (random.seed(5), np.random.seed(5))  # of the walks
    model.fit(graph)
    return model.get_embedding()


def neighbours(embedding):
    """The ten nearest nodes of each node, by cosine."""
    units = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    return [set(row) for row in np.argsort(-cosines)[:, :10].tolist()]


def overlap(one, other):
    return np.mean([len(a & b) / 10 for a, b in zip(one, other)])


@pytest.mark.parametrize("run", [node2vec, pecanpy, walklets])
def test_neighbours(run, tmp_path, monkeypatch):
    """The same walks: seqcore's neighbours differ from gensim's little more than gensim's with another seed do."""
    monkeypatch.chdir(tmp_path)
    graph = networkx.planted_partition_graph(6, 20, 0.35, 0.01, seed=1)
    (tmp_path / "edges").write_text("".join(f"{a}\t{b}\t1\n" for a, b in graph.edges))
    theirs = [neighbours(run("gensim", graph, seed)) for seed in (1, 2)]
    ours = neighbours(run("seqcore", graph, 1))
    among, between = overlap(*theirs), np.mean([overlap(ours, other) for other in theirs])
    inside = [
        np.mean([other // 20 == node // 20 for node, near in enumerate(nodes) for other in near])
        for nodes in (ours, *theirs)
    ]
    print(f"{run.__name__}: overlap {between:.3f}, of two runs of gensim {among:.3f}; inside the groups {inside}")
    assert between > among - 0.06 and inside[0] > min(inside[1:]) - 0.03
