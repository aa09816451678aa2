"""A language model of the built-in sentences; its perplexity compared with that of the grammar itself.

python examples/language_model.py --words 200000 --units 100 --epochs 5
"""

import argparse

import seqcore as sc
from seqcore.callbacks import Callback, EpochDecay, ResetStates
from seqcore.datasets import grammar_corpus
from seqcore.language_model import ValidationPerplexity, build_model, evaluate_perplexity, generate
from seqcore.text import bptt_batches


class Report(Callback):
    """Prints the perplexity of the validation text after each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        print(f"epoch {epoch + 1}: valid perplexity {logs['val_perplexity']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=100_000, help="words of the training text")
    parser.add_argument("--units", type=int, default=64, help="units of the LSTM layer")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    corpus = grammar_corpus(arguments.words, 5_000, 5_000)
    print(corpus.description)
    sc.set_seed(arguments.seed)
    model = build_model(corpus.vocabulary.size, arguments.units, layers=1)

    batches = bptt_batches(corpus.train, batch_size=20, steps=20)
    decay = EpochDecay(1.0, hold=2, factor=0.5)
    valid = ValidationPerplexity(corpus.valid, batch_size=20, steps=20)
    model.fit(batches, epochs=arguments.epochs, callbacks=[decay, ResetStates(), valid, Report()], verbose=0)

    print(f"test perplexity {evaluate_perplexity(model, corpus.test):.2f}")
    print(f"the grammar's own on this text {corpus.true_perplexity['test']:.2f}, in the long run {corpus.bound:.2f}")
    words = generate(model, corpus.vocabulary, "the", 30, seed=arguments.seed, stop="<eos>")
    print("generated: the " + " ".join(words))


if __name__ == "__main__":
    main()
