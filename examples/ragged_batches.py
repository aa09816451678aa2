"""Sequences of different lengths in one batch: which of two words is the more frequent one?

python examples/ragged_batches.py --sequences 4000 --epochs 6
"""

import argparse

import numpy as np

import seqcore as sc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=2000)
    parser.add_argument("--longest", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()

    sc.set_seed(0)
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 6, rng.integers(1, arguments.longest + 1)).tolist() for _ in range(arguments.sequences)]
    labels = np.array([words.count(1) > words.count(2) for words in lists], np.float32)[:, None]
    x = sc.pad_sequences(lists, padding="post")  # (N, T), zeros at the end
    lengths = np.array([len(words) for words in lists], np.int32)

    model = sc.Sequential(
        [
            sc.layers.Embedding(6, 8),
            sc.layers.Bidirectional(sc.layers.GRU(16)),
            sc.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(sc.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    held = len(x) // 5
    model.fit(x[held:], labels[held:], lengths=lengths[held:], epochs=arguments.epochs, verbose=2)
    loss, accuracy = model.evaluate(x[:held], labels[:held], lengths=lengths[:held], verbose=0)
    print(f"held out: loss {loss:.3f}, accuracy {accuracy:.3f}")

    # Steps past a length are never computed: their values do not matter.
    other = np.where(np.arange(x.shape[1]) < lengths[:, None], x, 3)
    same = np.array_equal(
        model.predict(x[:held], lengths=lengths[:held], verbose=0),
        model.predict(other[:held], lengths=lengths[:held], verbose=0),
    )
    print(f"other padding, same predictions: {same}")


if __name__ == "__main__":
    main()
