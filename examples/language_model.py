"""Trains a language model on the built-in sentences and sets its perplexity against the one of the grammar itself.

python examples/language_model.py --words 200000 --units 100 --epochs 5
"""

import argparse

import seqcore as sc
from seqcore.datasets import grammar_corpus
from seqcore.language_model.evaluation import evaluate_perplexity
from seqcore.language_model.generation import generate
from seqcore.language_model.model import build_model
from seqcore.language_model.trainer import Schedule, Trainer


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

    def report(trainer: Trainer) -> None:
        print("epoch {epoch}: valid perplexity {valid_perplexity:.2f}".format(**trainer.history[-1]))

    trainer = Trainer(
        model,
        corpus.train,
        corpus.valid,
        batch_size=20,
        steps=20,
        epochs=arguments.epochs,
        schedule=Schedule(1.0, hold=2, decay=0.5),
        on_epoch=report,
    )
    trainer.run()

    print(f"test perplexity {evaluate_perplexity(model, corpus.test):.2f}")
    print(f"the grammar's own on this text {corpus.true_perplexity['test']:.2f}, in the long run {corpus.bound:.2f}")
    words = generate(model, corpus.vocabulary, "the", 30, seed=arguments.seed, stop="<eos>")
    print("generated: the " + " ".join(words))


if __name__ == "__main__":
    main()
