"""Sentiment in 30 lines: texts to ids, an LSTM, labels for new texts. Word order decides the label.

python examples/sentiment.py --texts 8000 --units 64
"""

import argparse

import seqcore as sc
from seqcore.datasets import sentiment_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()

    sc.set_seed(0)
    data = sentiment_corpus(arguments.texts, 1000)  # reviews; "..., but ..." and "not ... at all" decide
    vectorize = sc.TextVectorization(output_sequence_length=40, padding="pre", truncating="pre")
    vectorize.adapt(data.train.texts)
    model = sc.Sequential(
        [
            sc.layers.Embedding(vectorize.vocabulary_size(), 32),
            sc.layers.GRU(arguments.units),
            sc.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(sc.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    model.fit(vectorize(data.train.texts), data.train.labels[:, None], epochs=arguments.epochs, verbose=2)
    _, accuracy = model.evaluate(vectorize(data.test.texts), data.test.labels[:, None], verbose=0)
    print(f"test accuracy {accuracy:.3f}; the best possible is {data.bayes:.3f}, by words without their order 0.500")

    texts = ["The plot was great but the cast was awful.", "The plot was awful but the cast was great."]
    for text, [probability] in zip(texts, model.predict(vectorize(texts), verbose=0), strict=True):
        print(f"{'positive' if probability > 0.5 else 'negative'} {probability:.3f}: {text}")


if __name__ == "__main__":
    main()
