"""From one sequence to another with attention: words are turned around, letter by letter.

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
    turned = [word[::-1] for word in words]
    held = len(words) // 10

    letters = sorted(set("".join(words)))
    model = sc.seq2seq.Seq2Seq(letters, letters, units=32, embedding=16)
    model.compile(
        sc.optimizers.Adam(0.005, global_clipnorm=1.0),
        sc.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sequence_accuracy"],
    )
    model.fit(
        sc.seq2seq.PairBatches(model, words[held:], turned[held:], batch_size=32),
        epochs=arguments.epochs,
        validation_data=sc.seq2seq.PairBatches(model, words[:held], turned[:held], batch_size=256, shuffle=False),
        verbose=2,
    )

    found = model.translate(words[:held], beam_width=3)
    right = np.mean([one.text == word for one, word in zip(found, turned)])
    print(f"unseen words turned around: {right:.3f}")
    for word, one in zip(words[:3], found):
        print(f"{word} -> {one.text}  (probability {np.exp(one.log_probability):.3f})")

    # Which letter the decoder looks at while it writes each one: the last first.
    word = max(words[:held], key=len)
    [weights] = model.attention_weights([word], [word[::-1]])
    looks = "".join(word[j] for j in weights[:-1].argmax(axis=1))
    print(f"{word}: looks at {looks}")


if __name__ == "__main__":
    main()
