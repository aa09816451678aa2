"""Word2Vec by one process or by all of MPI; run by test_word2vec.py.

``word2vec_program.py [--alone] [--other] FILE``: with ``--other`` the second process has another corpus.
"""

import json
import sys
from pathlib import Path

import seqcore as sc
from seqcore.datasets import relations
from seqcore.distributed import digest
from seqcore.word_vectors import word2vec


def main(alone, other, path):
    comm = None
    if not alone:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    # Several pieces per pass, and averages within it.
    word2vec.WORDS_PER_CALL, word2vec.CALLS_PER_AVERAGE = 4_000, 2
    seen = []

    class Passes:
        def on_epoch_end(self, model):
            seen.append(len(model.history))

    rank = 0 if comm is None else comm.rank
    model = sc.Word2Vec(vector_size=48, sample=1e-3, sg=1, epochs=5, seed=3, workers=1)
    sentences = relations.sentences(200_000, 0)
    corpus = model.build_vocab(sentences)
    if other and rank:
        corpus = model.encode(sentences[:-1])
    # The vectors of the first process shall be those of all.
    model.wv.vectors *= 1 + rank
    counted = model.train(corpus, callbacks=[Passes()], distribute=comm)
    score, _ = model.wv.evaluate_word_analogies(relations.questions())
    mine = digest(model.wv.vectors, model.syn1neg)
    result = {
        "digests": [mine] if comm is None else comm.allgather(mine),
        "callbacks": [seen] if comm is None else comm.allgather(seen),
        "counted": counted,
        "pairs": [row["pairs"] for row in model.history],
        "losses": [row["loss"] for row in model.history],
        "score": score,
    }
    if rank == 0:
        Path(path).write_text(json.dumps(result))


if __name__ == "__main__":
    words = sys.argv[1:]
    main("--alone" in words, "--other" in words, words[-1])
