"""Word vectors from built-in sentences: nearest words, analogies, the word that does not belong.

python examples/word_vectors.py --sentences 60000 --words paris queen
"""

import argparse

from seqcore import Word2Vec
from seqcore.datasets import relations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=60_000)
    parser.add_argument("--size", type=int, default=50, help="dimensions of a word vector")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--words", nargs="+", default=["paris", "queen", "warmer"], help="words whose neighbours to show"
    )
    arguments = parser.parse_args()

    # Lists of words, as from any text: [line.split() for line in open(...)].
    text = relations.sentences(arguments.sentences, seed=1)
    print("a sentence:", " ".join(text[0]))
    model = Word2Vec(text, vector_size=arguments.size, window=5, sg=1, epochs=arguments.epochs, seed=1, workers=1)
    vectors = model.wv  # seqcore.KeyedVectors
    for word in arguments.words:
        print(f"nearest to {word}:", ", ".join(f"{other} {p:.2f}" for other, p in vectors.most_similar(word, topn=5)))

    # king - man + woman = queen, here for each relation: a is to b as c is to ?
    right, questions = 0, [question for section in relations.questions().values() for question in section]
    for a, b, c, d in questions:
        right += vectors.most_similar(positive=[b, c], negative=[a], topn=1)[0][0] == d
    print(f"analogies: {right} of {len(questions)} right ({right / len(questions):.1%})")
    print("does not belong:", vectors.doesnt_match(["france", "italy", "spain", "sister"]))


if __name__ == "__main__":
    main()
