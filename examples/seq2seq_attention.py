"""Sequence to sequence with attention: words are reversed, letter by letter.

python examples/seq2seq_attention.py --words 3000 --epochs 5
"""

import argparse

import numpy as np

import seqcore as sc

SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()

    sc.set_seed(0)
    rng = np.random.default_rng(0)
    words = sorted({"".join(rng.choice(SYLLABLES, rng.integers(1, 5))) for _ in range(arguments.words)})
    rng.shuffle(words)
    reversed_words = [word[::-1] for word in words]
    held = len(words) // 10

    letters = sorted(set("".join(words)))
    model = sc.language_model.Seq2Seq(letters, letters, units=32, embedding=16)
    model.compile(
        sc.optimizers.Adam(0.005, global_clipnorm=1.0),
        sc.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sequence_accuracy"],
    )
    model.fit(
        sc.language_model.PairBatches(model, words[held:], reversed_words[held:], batch_size=32),
        epochs=arguments.epochs,
        validation_data=sc.language_model.PairBatches(
            model, words[:held], reversed_words[:held], batch_size=256, shuffle=False
        ),
        verbose=2,
    )

    translations = model.translate(words[:held], beam_width=3)
    right = np.mean([translation.text == word for translation, word in zip(translations, reversed_words)])
    print(f"unseen words reversed: {right:.3f}")
    for word, translation in zip(words[:3], translations):
        print(f"{word} -> {translation.text}  (probability {np.exp(translation.log_probability):.3f})")

    # The letter that the decoder attends to while it writes each one: the last first.
    word = max(words[:held], key=len)
    [weights] = model.attention_weights([word], [word[::-1]])
    looks = "".join(word[j] for j in weights[:-1].argmax(axis=1))
    print(f"{word}: looks at {looks}")


if __name__ == "__main__":
    main()
